//! One signed fact: every field, its place in its site's chain, and what it was posted as.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use shared::fact::effective::LogRank;
use shared::fact::kind::KindNo;
use shared::fact::statement::{Role, Stamp, Unreadable};
use shared::fact::{Fact, Kind, Value, field};
use shared::ids::{AccountNo, Capture, ItemNo, PartnerNo, SiteNo};
use shared::time::{Day, Month, Timestamp};
use utoipa::ToSchema;

use super::archive::{StoredFact, StoredSeal};
use super::figure::{Moment, Named, as_text};
use super::lens::Lens;
use super::voucher::VoucherHead;

/// Everything that is known of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FactReport {
    /// Names it for ever.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// The word of its kind, or its number where this version does not know it.
    pub kind: String,
    /// Where it was recorded.
    pub site: Named,
    /// When it happened.
    #[schema(value_type = String)]
    pub occurred_at: Moment,
    /// When it was recorded, by the node's clock.
    #[schema(value_type = String)]
    pub recorded_at: Moment,
    /// When HQ received it.
    #[schema(value_type = Option<String>)]
    pub received_at: Option<Moment>,
    /// The clock was doubted.
    pub time_in_doubt: bool,
    /// When it happened as HQ says, where the clock was doubted.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub placed_at: Option<Moment>,
    /// Its fields in the order in which they are signed.
    pub fields: Vec<FieldLine>,
    /// Its canonical bytes, in hex.
    pub bytes: String,
    /// Where it stands in its log.
    pub chain: ChainPlace,
    /// The other facts recorded with it.
    pub group: Vec<String>,
    /// The vouchers it was posted in.
    pub vouchers: Vec<VoucherHead>,
    /// Why it is not posted, where it is not.
    pub set_aside: Option<String>,
}

/// One field of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldLine {
    /// The number that is signed.
    pub number: u16,
    /// The field's name, where this version knows it.
    pub name: Option<String>,
    /// The value as it is written.
    pub value: String,
    /// What it names, where it names something.
    pub meaning: Option<String>,
}

/// A fact's place in its site's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainPlace {
    /// The log, in hex.
    pub log: String,
    /// The place in it.
    pub seq: u64,
    /// The chain's head after the fact, in hex.
    pub head: Option<String>,
    /// The seal that covers it.
    pub seal: Option<SealLine>,
}

/// A signed seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealLine {
    /// The first place it covers.
    pub first: u64,
    /// The last place it covers.
    pub last: u64,
    /// The head it signs, in hex.
    pub head: String,
    /// The head of the journal document, in hex.
    pub document_head: String,
    /// The signature, in hex.
    pub signature: String,
    /// The key that signed it, in hex.
    pub public_key: String,
    /// The signature and the head were checked against the facts as this page was made.
    pub verified: bool,
}

impl FactReport {
    /// A stored fact; `set_aside` says why it is not posted, where it is not.
    pub fn of(
        lens: &Lens<'_>,
        stored: &StoredFact,
        set_aside: Option<String>,
    ) -> Result<Self, Unreadable> {
        let fact = &stored.fact;
        let stamp = Stamp::parse(fact)?;
        let kind =
            fact.kind().map_or_else(|| fact.kind_no().0.to_string(), |kind| kind.word().to_owned());
        Ok(Self {
            capture: stamp.capture,
            kind,
            site: lens.site(stored.site),
            occurred_at: lens.moment(stamp.occurred_at),
            recorded_at: lens.moment(stamp.recorded_at),
            received_at: stored.received_at.map(|at| lens.moment(at)),
            time_in_doubt: stamp.time_in_doubt != 0,
            placed_at: lens
                .books
                .placed_at(LogRank::of(&stored.log), stored.seq)
                .map(|at| lens.moment(at)),
            fields: fact
                .fields()
                .map(|(tag, value)| FieldLine::of(lens, fact, tag.number, value))
                .collect(),
            bytes: hex(&fact.to_bytes()),
            chain: ChainPlace {
                log: stored.log.to_string(),
                seq: stored.seq.0,
                head: Some(stored.head.to_string()),
                seal: stored.seal.as_ref().map(SealLine::of),
            },
            group: stored.group.iter().map(Capture::to_string).collect(),
            vouchers: stored.vouchers.iter().map(|voucher| lens.voucher_head(voucher)).collect(),
            set_aside,
        })
    }
}

impl SealLine {
    fn of(stored: &StoredSeal) -> Self {
        let seal = &stored.seal.seal;
        Self {
            first: seal.first.0,
            last: seal.last.0,
            head: seal.head.to_string(),
            document_head: seal.document_head.to_string(),
            signature: hex(&stored.seal.signature),
            public_key: hex(&stored.public_key),
            verified: stored.verified,
        }
    }
}

impl FieldLine {
    fn of(lens: &Lens<'_>, fact: &Fact, number: u16, value: Value<'_>) -> Self {
        let known = field::ALL.iter().find(|(known, ..)| *known == number);
        Self {
            number,
            name: known.map(|(_, name, _)| (*name).to_owned()),
            value: written(value),
            meaning: meaning(lens, fact, number, value).filter(|meaning| !meaning.is_empty()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every character");
        text
    })
}

/// A value as text where it is text, else as digits.
fn written(value: Value<'_>) -> String {
    match value {
        Value::Unsigned(value) => value.to_string(),
        Value::Signed(value) => value.to_string(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
            _ => hex(bytes),
        },
    }
}

/// What a number names.
fn meaning(lens: &Lens<'_>, fact: &Fact, number: u16, value: Value<'_>) -> Option<String> {
    match value {
        Value::Unsigned(value) => named(lens, number, value),
        Value::Signed(value) => dated(lens, fact, number, value),
        Value::Bytes(_) => None,
    }
}

fn named(lens: &Lens<'_>, number: u16, value: u64) -> Option<String> {
    let small = u32::try_from(value).ok()?;
    let both = |named: Named| format!("{} {}", named.code, named.name);
    match number {
        n if n == field::SITE.number => Some(both(lens.site(SiteNo(small)))),
        n if n == field::ITEM.number => Some(both(lens.item(ItemNo(small)))),
        n if n == field::PARTNER.number => Some(both(lens.partner(PartnerNo(small)))),
        n if n == field::ACCOUNT.number => Some(both(lens.account(AccountNo(small)))),
        n if n == field::ROLE.number => Role::from_number(value).map(|role| role.word().to_owned()),
        n if n == field::MOVEMENT.number => {
            let kind = Kind::from_number(KindNo(u16::try_from(value).ok()?));
            kind.map(|kind| kind.word().to_owned())
        }
        n if n == field::PERIOD.number => Some(Month(i32::try_from(value).ok()?).to_string()),
        _ => None,
    }
}

/// Digits with their power of ten, times and days.
fn dated(lens: &Lens<'_>, fact: &Fact, number: u16, value: i64) -> Option<String> {
    let scaled = [
        (field::QUANTITY, field::QUANTITY_EXPONENT),
        (field::PRICE, field::PRICE_EXPONENT),
        (field::AMOUNT, field::AMOUNT_EXPONENT),
        (field::COST, field::COST_EXPONENT),
        (field::RATE, field::RATE_EXPONENT),
        (field::TAX_AMOUNT, field::TAX_EXPONENT),
    ];
    if let Some((_, power)) = scaled.iter().find(|(digits, _)| digits.number == number) {
        let power = i8::try_from(power.of(fact).unwrap_or(0)).ok()?;
        return shared::quantity::Scaled::new(value, power).ok().map(|figure| figure.to_string());
    }
    match number {
        n if n == field::RECORDED_AT.number
            || n == field::OCCURRED_AT.number
            || n == field::VALID_FROM.number =>
        {
            Some(lens.moment(Timestamp(value)).to_string())
        }
        n if n == field::EXPIRY.number
            || n == field::DOCUMENT_DATE.number
            || n == field::DUE_DATE.number =>
        {
            i32::try_from(value).ok().map(|day| Day(day).to_string())
        }
        _ => None,
    }
}
