//! Permanent small numbers and hashes that name things. HQ gives every number once; none is ever
//! used again. Knows nothing of what the named things are.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }
    )*};
}

number! {
    /// A company: one set of books, one functional currency.
    CompanyNo(u32);
    /// A warehouse. Site 0 is HQ itself.
    SiteNo(u32);
    /// An installation that records facts. Device 1 is HQ's own first installation.
    DeviceNo(u32);
    /// An article that is stocked or sold.
    ItemNo(u32);
    /// A group of items that share accounts and costing method.
    CategoryNo(u32);
    /// A customer or supplier.
    PartnerNo(u32);
    /// Why an adjustment, issue or scrap happened.
    ReasonNo(u32);
    /// Who recorded a fact.
    PersonNo(u32);
    /// A ledger account. Its code and name are master data.
    AccountNo(u32);
    /// The place of a fact in its log; the first fact is 1.
    Seq(u64);
}

impl CompanyNo {
    /// The company that every installation starts with.
    pub const FIRST: Self = Self(1);
}

impl SiteNo {
    /// HQ's own log belongs to no warehouse.
    pub const HQ: Self = Self(0);
}

impl Seq {
    /// The place before the first fact.
    pub const ZERO: Self = Self(0);

    /// The next place.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Identifies what was done, for ever, through retries and restores: (device, device counter).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Capture {
    /// The installation that recorded it.
    pub device: DeviceNo,
    /// Counts the device's facts from 1.
    pub counter: u64,
}

impl fmt::Display for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.device, self.counter)
    }
}

/// A text that is no capture id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a capture id: write DEVICE-COUNTER, for example 3-1042")]
pub struct NotACapture(pub String);

impl std::str::FromStr for Capture {
    type Err = NotACapture;

    fn from_str(text: &str) -> Result<Self, NotACapture> {
        let fail = || NotACapture(text.to_owned());
        let (device, counter) = text.split_once('-').ok_or_else(fail)?;
        Ok(Self {
            device: DeviceNo(device.parse().map_err(|_| fail())?),
            counter: counter.parse().map_err(|_| fail())?,
        })
    }
}

macro_rules! hash32 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl $name {
            /// The first eight bytes in hex, enough for a person to compare.
            pub fn short(&self) -> String {
                self.0[..8].iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }
    )*};
}

hash32! {
    /// Names a log: the hash of its genesis record.
    LogId;
    /// The chain's head after a fact: commits to the log's genesis and every fact so far.
    Head;
    /// The hash of an Automerge change, the head of a journal document.
    ChangeHash;
    /// Names one life of HQ's store; a restore from a backup starts another.
    HistoryId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_ids_read_back() {
        let capture = Capture { device: DeviceNo(3), counter: 1042 };
        assert_eq!(capture.to_string().parse(), Ok(capture));
        for wrong in ["", "3", "3-", "-4", "3-x", "3-4-5", "-1-4"] {
            assert_eq!(wrong.parse::<Capture>(), Err(NotACapture(wrong.to_owned())));
        }
    }
}
