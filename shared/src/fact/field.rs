//! The fields of facts: numbers, wire types and meaning. Numbers are signed for ever: none is ever
//! changed or used again, and a field keeps its wire type. `FORMAT.md` has the same table.

use super::by_number::ByNumber;
use super::record::{Fact, Malformed, Value};
use crate::ids::{Capture, DeviceNo};

macro_rules! fields {
    ($($(#[$doc:meta])* $number:literal $name:ident $wire:ident;)*) => {
        $($(#[$doc])* pub const $name: Field<$wire> = Field { number: $number, name: stringify!($name), wire: std::marker::PhantomData };)*

        /// Every field: number, name, wire type.
        pub const ALL: &[(u16, &str, &str)] = &[$(($number, stringify!($name), stringify!($wire))),*];
    };
}

/// A field whose value has the Rust type of `W`.
#[derive(Clone, Copy, Debug)]
pub struct Field<W> {
    /// The number in the encoding.
    pub number: u16,
    /// The name, for messages.
    pub name: &'static str,
    wire: std::marker::PhantomData<W>,
}

/// Marks an unsigned field.
#[derive(Clone, Copy, Debug)]
pub enum Unsigned {}
/// Marks a signed field.
#[derive(Clone, Copy, Debug)]
pub enum Signed {}
/// Marks a field of bytes.
#[derive(Clone, Copy, Debug)]
pub enum Bytes {}

impl Field<Unsigned> {
    /// The field's value; absent also where a stranger wrote another wire type.
    pub fn of(self, fact: &Fact) -> Option<u64> {
        fact.value(self.number).and_then(Value::unsigned)
    }

    /// The same out of places that were found before.
    #[inline]
    pub(super) fn at(self, fields: &ByNumber<'_>) -> Option<u64> {
        fields.unsigned(self.number)
    }

    /// Sets the field, or leaves it absent.
    pub fn put(self, fact: &mut Fact, value: Option<impl Into<u64>>) -> Result<(), Malformed> {
        value.map_or(Ok(()), |value| fact.set(self.number, Value::Unsigned(value.into())))
    }
}

impl Field<Signed> {
    /// The field's value; absent also where a stranger wrote another wire type.
    pub fn of(self, fact: &Fact) -> Option<i64> {
        fact.value(self.number).and_then(Value::signed)
    }

    /// The same out of places that were found before.
    #[inline]
    pub(super) fn at(self, fields: &ByNumber<'_>) -> Option<i64> {
        fields.signed(self.number)
    }

    /// Sets the field, or leaves it absent.
    pub fn put(self, fact: &mut Fact, value: Option<impl Into<i64>>) -> Result<(), Malformed> {
        value.map_or(Ok(()), |value| fact.set(self.number, Value::Signed(value.into())))
    }
}

impl Field<Bytes> {
    /// The field's value; absent also where a stranger wrote another wire type.
    pub fn of(self, fact: &Fact) -> Option<&[u8]> {
        fact.value(self.number).and_then(Value::bytes)
    }

    /// The same out of places that were found before.
    #[inline]
    pub(super) fn at<'a>(self, fields: &ByNumber<'a>) -> Option<&'a [u8]> {
        fields.bytes(self.number)
    }

    /// The field's value as text; absent where it is no UTF-8.
    pub fn text(self, fact: &Fact) -> Option<&str> {
        self.of(fact).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Sets the field, or leaves it absent.
    pub fn put(self, fact: &mut Fact, value: Option<&[u8]>) -> Result<(), Malformed> {
        value.map_or(Ok(()), |value| fact.set(self.number, Value::Bytes(value)))
    }
}

/// The capture id that a fact states, where it states one.
pub fn capture(fact: &Fact) -> Option<Capture> {
    let device = u32::try_from(CAPTURE_DEVICE.of(fact)?).ok()?;
    Some(Capture { device: DeviceNo(device), counter: CAPTURE_COUNTER.of(fact)? })
}

fields! {
    /// The installation that recorded the fact: half of the capture id.
    1 CAPTURE_DEVICE Unsigned;
    /// Counts the device's facts from 1: the other half.
    2 CAPTURE_COUNTER Unsigned;
    /// When it was recorded, by the node's own clock: UTC milliseconds; never backwards in a log.
    3 RECORDED_AT Signed;
    /// When it happened: UTC milliseconds; absent when that is when it was recorded.
    4 OCCURRED_AT Signed;
    /// The recorder's local time ahead of UTC, in minutes.
    5 UTC_OFFSET Signed;
    /// How many facts of the same group follow; absent on the last or only one.
    6 GROUP_LEFT Unsigned;
    /// Who recorded it.
    7 PERSON Unsigned;
    /// Why the clock is doubted: 1 below its floor, 2 after a jump, 4 ahead of HQ; sums of these.
    8 TIME_IN_DOUBT Unsigned;
    /// The company that owns the goods or keeps the book.
    9 COMPANY Unsigned;
    /// The other site of a transfer; in master data the site spoken of.
    10 SITE Unsigned;
    /// The item.
    11 ITEM Unsigned;
    /// Digits of the quantity.
    12 QUANTITY Signed;
    /// Power of ten that the quantity's digits are multiplied by; absent means none is stated: 0.
    13 QUANTITY_EXPONENT Signed;
    /// The unit as the keeper saw it.
    14 UNIT Bytes;
    /// Digits of the price of one unit: cost for what comes in, selling price for what is sold.
    15 PRICE Signed;
    /// Power of ten of the price; as field 13.
    16 PRICE_EXPONENT Signed;
    /// Digits of an amount of money.
    17 AMOUNT Signed;
    /// Power of ten of the amount; as field 13.
    18 AMOUNT_EXPONENT Signed;
    /// The currency of price, cost and amount.
    19 CURRENCY Bytes;
    /// Digits of an exchange rate: units of the company's currency for one of `CURRENCY`.
    20 RATE Signed;
    /// Power of ten of the rate; as field 13.
    21 RATE_EXPONENT Signed;
    /// Digits of the cost of one unit where a price stands beside it.
    22 COST Signed;
    /// Power of ten of the cost; as field 13.
    23 COST_EXPONENT Signed;
    /// The tax code.
    24 TAX_CODE Unsigned;
    /// Digits of the tax amount.
    25 TAX_AMOUNT Signed;
    /// Power of ten of the tax amount; as field 13.
    26 TAX_EXPONENT Signed;
    /// Customer or supplier.
    27 PARTNER Unsigned;
    /// Lot or batch.
    28 LOT Bytes;
    /// Serial number.
    29 SERIAL Bytes;
    /// Last day of use, in days since 1970-01-01.
    30 EXPIRY Signed;
    /// Place within the site.
    31 BIN Unsigned;
    /// Why.
    32 REASON Unsigned;
    /// An outside document's number: delivery note, invoice, statement.
    33 DOCUMENT Bytes;
    /// The outside document's date, in days since 1970-01-01.
    34 DOCUMENT_DATE Signed;
    /// When money is due, in days since 1970-01-01.
    35 DUE_DATE Signed;
    /// The fact that this one refers to: device of its capture id.
    36 REF_DEVICE Unsigned;
    /// The fact that this one refers to: counter of its capture id.
    37 REF_COUNTER Unsigned;
    /// The fact it is based on (the order fulfilled, the payment allocated): device of its capture id.
    38 BASIS_DEVICE Unsigned;
    /// The fact it is based on: counter of its capture id.
    39 BASIS_COUNTER Unsigned;
    /// Salted hash of free text that stands beside the fact and can be erased.
    40 TEXT_HASH Bytes;
    /// 1: the customer is invoiced later.
    41 INVOICE_LATER Unsigned;
    /// How landed cost is shared: 1 quantity, 2 value, 3 weight, 4 volume.
    42 SHARED_BY Unsigned;
    /// 1 money in or debit, 2 money out or credit.
    43 DIRECTION Unsigned;
    /// A ledger account.
    44 ACCOUNT Unsigned;
    /// What an account is for.
    45 ROLE Unsigned;
    /// A kind of movement, in mappings and policies.
    46 MOVEMENT Unsigned;
    /// An item category.
    47 CATEGORY Unsigned;
    /// A code that people type.
    48 CODE Bytes;
    /// A name that people read. Names of persons stand beside the fact (`TEXT_HASH`).
    49 NAME Bytes;
    /// From when a setting holds: UTC milliseconds; absent means from the beginning.
    50 VALID_FROM Signed;
    /// Decimals of an item's smallest unit.
    51 DECIMALS Unsigned;
    /// One of this unit is numerator / denominator base units.
    52 FACTOR_NUMERATOR Unsigned;
    /// See `FACTOR_NUMERATOR`.
    53 FACTOR_DENOMINATOR Unsigned;
    /// Which policy.
    54 POLICY Unsigned;
    /// A policy's value, or a `rules` number.
    55 SETTING Signed;
    /// A number that something is given where no other field has it.
    56 NUMBER Unsigned;
    /// 1 in use, 2 held, 3 blocked; of a period action what is done.
    57 STATUS Unsigned;
    /// 1 asset, 2 liability, 3 equity, 4 income, 5 expense.
    58 ACCOUNT_TYPE Unsigned;
    /// An Ed25519 key.
    59 PUBLIC_KEY Bytes;
    /// A log's id.
    60 LOG Bytes;
    /// A place in that log.
    61 LOG_SEQ Unsigned;
    /// Costing: 1 moving average, 2 FIFO, 3 month-end average, 4 standard, 5 specific, 6 LIFO.
    62 METHOD Unsigned;
    /// Cost pools: 1 per site, 2 per company.
    63 SCOPE Unsigned;
    /// A ledger month: year x 12 + month - 1.
    64 PERIOD Unsigned;
    /// A barcode, digits as printed.
    65 BARCODE Bytes;
    /// Digits of the weight of one base unit, in kilograms.
    66 WEIGHT Signed;
    /// Power of ten of the weight; as field 13.
    67 WEIGHT_EXPONENT Signed;
    /// Digits of the volume of one base unit, in litres.
    68 VOLUME Signed;
    /// Power of ten of the volume; as field 13.
    69 VOLUME_EXPONENT Signed;
    /// A company's zone: ahead of UTC by this many minutes.
    70 ZONE_OFFSET Signed;
    /// 1: the item is a service and is not stocked.
    71 SERVICE Unsigned;
    /// 1 customer, 2 supplier, 3 both.
    72 PARTNER_ROLE Unsigned;
    /// Until when a rate holds: UTC milliseconds; what happens at that time is no longer covered.
    73 VALID_UNTIL Signed;
}
