//! What HQ says, signed, of how far it has a log. The same over a connection, through a relay and
//! in a file; and which numbers HQ had given by then. Knows no transport. Invariant: the levels never
//! overtake each other, posted and safe stay at or below received.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::place::Position;
use super::wire::{self, FrameError, Reader, Writer};
use crate::ids::{Capture, CompanyNo, DeviceNo, HistoryId, LogId, Seq};
use crate::segment::context::{self, BadSignature};
use crate::time::{Month, Timestamp};

/// How many ledger months an acknowledgement tells of.
pub const MONTHS_TOLD: usize = 4;

/// Numbers that HQ has given. A node that holds an acknowledgement is a witness of them: an HQ that
/// was restored from a backup goes on above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The newest fact of HQ's own log: how many things it had stated, and so numbered.
    pub stated: Capture,
    /// Voucher numbers of the ledger months that were posted to last; what is left tells of none.
    pub vouchers: [VouchersGiven; MONTHS_TOLD],
}

/// The last voucher of a company's month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VouchersGiven {
    /// The company.
    pub company: CompanyNo,
    /// The ledger month.
    pub month: Month,
    /// Its number; 0 where there is none.
    pub last: u32,
}

impl Given {
    /// The months that are told of.
    pub fn vouchers(&self) -> impl Iterator<Item = VouchersGiven> {
        self.vouchers.iter().filter(|told| told.last > 0).copied()
    }

    fn write(&self, out: &mut Writer) {
        out.unsigned(self.stated.device);
        out.unsigned(self.stated.counter);
        out.unsigned(self.vouchers().count() as u64);
        for VouchersGiven { company, month, last } in self.vouchers() {
            out.unsigned(company);
            out.signed(month.0.into());
            out.unsigned(last);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let device = DeviceNo(input.small("an installation")?);
        let stated = Capture { device, counter: input.unsigned()? };
        let mut given = Self { stated, ..Self::default() };
        let count = usize::try_from(input.unsigned()?).ok().filter(|count| *count <= MONTHS_TOLD);
        let count = count.ok_or(FrameError::BadValue("how many ledger months are told of"))?;
        for told in &mut given.vouchers[..count] {
            let company = CompanyNo(input.small("a company")?);
            let month = i32::try_from(input.signed()?);
            let month = Month(month.map_err(|_| FrameError::BadValue("a ledger month"))?);
            let last = input.small("a voucher number")?;
            if last == 0 {
                return Err(FrameError::BadValue("a voucher number"));
            }
            *told = VouchersGiven { company, month, last };
        }
        Ok(given)
    }
}

/// How far HQ has a log, in three levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The life of HQ's store that says so; a restore starts another.
    pub history: HistoryId,
    /// The log spoken of.
    pub log: LogId,
    /// Durable at HQ, up to and including this fact.
    pub received: Position,
    /// Also on a second machine or in a verified backup.
    pub safe: Seq,
    /// In the books.
    pub posted: Seq,
    /// HQ's time when it said so.
    pub at: Timestamp,
    /// The numbers that it had given by then.
    pub given: Given,
}

/// An acknowledgement with HQ's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedAcknowledgement {
    /// What HQ says.
    pub acknowledgement: Acknowledgement,
    /// By HQ's log key.
    pub signature: [u8; 64],
}

/// The most bytes of [`SignedAcknowledgement::encode`].
pub(super) const ACKNOWLEDGEMENT_BYTES_MAX: usize = 384;

impl Acknowledgement {
    fn write(&self, out: &mut Writer) {
        out.raw(&self.history.0);
        out.raw(&self.log.0);
        self.received.write(out);
        out.unsigned(self.safe);
        out.unsigned(self.posted);
        out.signed(self.at.0);
        self.given.write(out);
    }

    fn encode(&self) -> Vec<u8> {
        wire::written(|out| self.write(out))
    }

    /// Signs with HQ's log key.
    ///
    /// # Panics
    /// Where `safe` or `posted` are beyond `received`: HQ would state what it can't know.
    pub fn sign(self, key: &SigningKey) -> SignedAcknowledgement {
        assert!(self.is_possible(), "safe and posted are at or below received");
        let signature = context::sign(key, context::ACKNOWLEDGEMENT, &self.encode());
        SignedAcknowledgement { acknowledgement: self, signature }
    }

    fn is_possible(&self) -> bool {
        self.safe <= self.received.last && self.posted <= self.received.last
    }
}

impl SignedAcknowledgement {
    /// Checks HQ's signature.
    pub fn verify(&self, hq_key: &VerifyingKey) -> Result<(), BadSignature> {
        let content = self.acknowledgement.encode();
        context::verify(hq_key, context::ACKNOWLEDGEMENT, &content, &self.signature)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.acknowledgement.write(out);
        out.raw(&self.signature);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let acknowledgement = Acknowledgement {
            history: HistoryId(input.array()?),
            log: LogId(input.array()?),
            received: Position::read(input)?,
            safe: Seq(input.unsigned()?),
            posted: Seq(input.unsigned()?),
            at: Timestamp(input.signed()?),
            given: Given::read(input)?,
        };
        if !acknowledgement.is_possible() {
            return Err(FrameError::BadValue("an acknowledgement's safe or posted place"));
        }
        Ok(Self { acknowledgement, signature: input.array()? })
    }

    /// The canonical bytes: for stores and files.
    pub fn encode(&self) -> Vec<u8> {
        wire::written(|out| self.write(out))
    }

    /// Reads [`SignedAcknowledgement::encode`]. Says nothing of the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        wire::read_whole(bytes, Self::read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Head;

    fn sample() -> Acknowledgement {
        Acknowledgement {
            history: HistoryId([1; 32]),
            log: LogId([2; 32]),
            received: Position { last: Seq(4_000), head: Head([3; 32]) },
            safe: Seq(3_000),
            posted: Seq(4_000),
            at: Timestamp(1_795_519_885_123),
            given: Given {
                stated: Capture { device: DeviceNo(1), counter: 812 },
                vouchers: std::array::from_fn(|index| {
                    let last = u32::MAX - u32::try_from(index).expect("few");
                    let (company, month) = (CompanyNo(u32::MAX), Month(24_322));
                    VouchersGiven { company, month, last }
                }),
            },
        }
    }

    #[test]
    fn fewer_months_may_be_told_of_and_none_more() {
        let mut vouchers = [VouchersGiven::default(); MONTHS_TOLD];
        vouchers[0] = sample().given.vouchers[0];
        for given in [Given::default(), Given { vouchers, ..sample().given }] {
            let said = Acknowledgement { given, ..sample() };
            let signed = said.sign(&SigningKey::from_bytes(&[5; 32]));
            let bytes = signed.encode();
            assert_eq!(SignedAcknowledgement::decode(&bytes), Ok(signed));
        }
        let mut bytes = Acknowledgement { given: Given::default(), ..sample() }.encode();
        let count = bytes.len() - 1;
        bytes[count] = u8::try_from(MONTHS_TOLD).expect("few") + 1;
        bytes.extend([0; 200]);
        let expected = FrameError::BadValue("how many ledger months are told of");
        assert_eq!(SignedAcknowledgement::decode(&bytes), Err(expected));
    }

    #[test]
    fn every_byte_is_signed() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let signed = sample().sign(&key);
        let bytes = signed.encode();
        assert!(bytes.len() <= ACKNOWLEDGEMENT_BYTES_MAX);
        assert_eq!(SignedAcknowledgement::decode(&bytes), Ok(signed));
        assert_eq!(signed.verify(&key.verifying_key()), Ok(()));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let accepted = SignedAcknowledgement::decode(&changed)
                .is_ok_and(|changed| changed.verify(&key.verifying_key()).is_ok());
            assert!(!accepted, "byte {index} is not covered");
        }
    }

    #[test]
    fn levels_beyond_received_are_impossible() {
        let impossible = Acknowledgement { posted: Seq(4_001), ..sample() };
        let bytes =
            SignedAcknowledgement { acknowledgement: impossible, signature: [0; 64] }.encode();
        let expected = FrameError::BadValue("an acknowledgement's safe or posted place");
        assert_eq!(SignedAcknowledgement::decode(&bytes), Err(expected));
    }
}
