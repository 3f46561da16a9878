//! What a keeper, a program or an import states: texts as they were typed. Knows no master data.
//! Invariant: the JSON of an input without its key is the same for the same request, for a retry
//! is recognised by it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::time::{OffsetMinutes, Timestamp};
use utoipa::ToSchema;

/// A moment with the zone it was stated in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// The zone's distance from UTC.
    pub offset: OffsetMinutes,
}

/// A text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no moment: write date, time and zone, for example 2026-11-24T14:30:00+08:00")]
pub struct NotAMoment(pub String);

impl std::str::FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let fail = || NotAMoment(text.to_owned());
        let pieces = jiff::fmt::temporal::Pieces::parse(text).map_err(|_| fail())?;
        let offset = pieces.to_numeric_offset().ok_or_else(fail)?;
        let time = pieces.time().ok_or_else(fail)?;
        let moment = pieces.date().to_datetime(time);
        let instant = offset.to_timestamp(moment).map_err(|_| fail())?;
        let minutes = i16::try_from(offset.seconds() / 60).map_err(|_| fail())?;
        Ok(Self { at: Timestamp(instant.as_millisecond()), offset: OffsetMinutes(minutes) })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at.ms_of_day(self.offset);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}", self.at.day(self.offset))?;
        if ms % 1_000 != 0 {
            write!(f, ".{:03}", ms % 1_000)?;
        }
        let sign = if self.offset.0 < 0 { '-' } else { '+' };
        let minutes = self.offset.0.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A group of movements that belong together: recorded whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupInput {
    /// Made by the client before it asks: a retry with the same key records nothing again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, example = "till-3/2026-11-24/0017")]
    pub key: Option<String>,
    /// Who records: the person's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<u32>,
    /// When it happened, for all lines that don't say otherwise; now where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2026-11-24T14:30:00+08:00")]
    pub occurred_at: Option<Moment>,
    /// The lines of a receipt, both sides of a repack: 1 to 256.
    pub lines: Vec<LineInput>,
}

macro_rules! optional_texts {
    ($(#[$sdoc:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$sdoc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// A movement kind: `receipt`, `sale_issue`, `issue`, `customer_return`,
            /// `supplier_return`, `transfer_ship`, `transfer_receive`, `count`, `adjustment`,
            /// `scrap`, `production_in`, `production_out`, `repack_out`, `repack_in`,
            /// `service_sale`, `reversal`, `status_change`.
            #[schema(example = "receipt")]
            pub kind: String,
            /// When it happened, where it differs from the group's.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>)]
            pub occurred_at: Option<Moment>,
            /// The customer is invoiced later: a sale posts no receivable yet.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub invoice_later: bool,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<String>,
            )*
        }
    };
}

optional_texts! {
    /// One movement. Figures are texts with a decimal point, never JSON numbers.
    LineInput {
        /// The item's code.
        #[schema(example = "PEN-01")]
        item,
        /// How much: positive, signed for an adjustment and a service, what is there for a count.
        #[schema(example = "12.5")]
        quantity,
        /// The unit; the item's own where absent.
        unit,
        /// Of one unit: cost of what comes in, selling price of what is sold or brought back, or
        /// shipped to a site of another company.
        price,
        /// Of one unit, where the price is a selling price: a return of unknown origin.
        cost,
        /// Of price and cost; the company's where absent.
        currency,
        /// The code of the customer or supplier.
        partner,
        /// The code of the reason.
        reason,
        /// The capture id of the movement it answers: the ship of a receive, the sale of a return,
        /// what a reversal undoes.
        #[schema(example = "3-1042")]
        refers_to,
        /// The capture id of the order it fulfils.
        order,
        /// The code of the other site of a transfer.
        site,
        /// Lot or batch.
        lot,
        /// Serial number.
        serial,
        /// Last day of use: YEAR-MONTH-DAY.
        expiry,
        /// An outside document's number: delivery note, invoice.
        document,
        /// The tax code's number.
        tax_code,
        /// For a status change: `in_use`, `held`, `blocked`.
        status,
    }
}

impl GroupInput {
    /// What a retry must state again: everything but the key.
    pub fn content(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Content<'a> {
            person: Option<u32>,
            occurred_at: Option<Moment>,
            lines: &'a [LineInput],
        }
        let Self { key: _, person, occurred_at, lines } = self;
        let content = Content { person: *person, occurred_at: *occurred_at, lines };
        serde_json::to_vec(&content).expect("texts and numbers become JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_back_in_their_own_zone() {
        for (text, at, offset) in [
            ("2026-11-24T14:30:00+08:00", 1_795_501_800_000, 480),
            ("2026-11-24T06:30:00.250+00:00", 1_795_501_800_250, 0),
            ("1969-12-31T23:00:00-01:30", 1_800_000, -90),
        ] {
            let moment: Moment = text.parse().expect(text);
            assert_eq!((moment.at, moment.offset), (Timestamp(at), OffsetMinutes(offset)));
            assert_eq!(moment.to_string(), text);
        }
        assert_eq!("2026-11-24T06:30:00Z".parse::<Moment>().map(|moment| moment.offset.0), Ok(0));
        for wrong in ["2026-11-24", "2026-11-24T14:30:00", "24.11.2026", "2026-02-30T00:00:00Z", ""]
        {
            assert_eq!(wrong.parse::<Moment>(), Err(NotAMoment(wrong.to_owned())));
        }
    }

    #[test]
    fn the_key_is_no_part_of_the_content() {
        let line = LineInput { kind: "receipt".to_owned(), ..LineInput::default() };
        let group = GroupInput { lines: vec![line], ..GroupInput::default() };
        let keyed = GroupInput { key: Some("k".to_owned()), ..group.clone() };
        assert_eq!(keyed.content(), group.content());
        let other = GroupInput { person: Some(1), ..group.clone() };
        assert_ne!(other.content(), group.content());
        let unknown = r#"{"lines":[{"kind":"receipt","itme":"A"}]}"#;
        assert!(serde_json::from_str::<GroupInput>(unknown).is_err());
    }
}
