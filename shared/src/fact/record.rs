//! A fact as it is written, hashed and signed: a kind and numbered fields. This file knows the
//! form of fields and nothing of their meaning, so that a node stores and relays kinds and fields
//! of later versions unchanged. Invariant: a fact has exactly one encoding (`FORMAT.md`).

use std::fmt;

use super::body::{Body, Encoded};
use super::by_number::ByNumber;
use super::kind::{Kind, KindNo};
use crate::varint::{self, VarintError, Word};

pub use super::body::Fields;

/// The largest fact, in encoded bytes. Longer texts stand beside a fact, which holds their hash.
pub const FACT_BYTES_MAX: usize = 1024;

/// The largest field of bytes.
pub const FIELD_BYTES_MAX: usize = 512;

/// How a field's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum WireType {
    /// A varint.
    Unsigned = 0,
    /// A zigzag varint.
    Signed = 1,
    /// A length and that many bytes; never empty.
    Bytes = 2,
}

impl WireType {
    /// The wire type with this number.
    #[inline]
    pub fn from_number(number: u64) -> Option<Self> {
        // A table: a match becomes a jump that the processor guesses wrong.
        const ALL: [WireType; 3] = [WireType::Unsigned, WireType::Signed, WireType::Bytes];
        ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A field's number and wire type. Orders by number, then type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// 1 to 65,535.
    pub number: u16,
    /// How the value is written.
    pub wire: WireType,
}

impl Tag {
    /// The varint that stands for it: number x 4 + wire type.
    pub const fn code(self) -> u64 {
        (self.number as u64) << 2 | self.wire as u64
    }

    /// The same as a varint.
    pub(crate) const fn word(self) -> Word {
        Word::new(self.code())
    }

    /// The tag of a code; `None` for field 0, wire type 3 and numbers over 16 bits.
    #[inline]
    pub fn from_code(code: u64) -> Option<Self> {
        let number = u16::try_from(code >> 2).ok().filter(|number| *number != 0)?;
        Some(Self { number, wire: WireType::from_number(code & 3)? })
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// Below 2^53.
    Unsigned(u64),
    /// Magnitude below 2^53.
    Signed(i64),
    /// 1 to [`FIELD_BYTES_MAX`] bytes.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// How the value is written.
    pub const fn wire(self) -> WireType {
        match self {
            Self::Unsigned(_) => WireType::Unsigned,
            Self::Signed(_) => WireType::Signed,
            Self::Bytes(_) => WireType::Bytes,
        }
    }

    /// The number, where it is unsigned.
    pub const fn unsigned(self) -> Option<u64> {
        if let Self::Unsigned(value) = self { Some(value) } else { None }
    }

    /// The number, where it is signed.
    pub const fn signed(self) -> Option<i64> {
        if let Self::Signed(value) = self { Some(value) } else { None }
    }

    /// The bytes, where it is bytes.
    pub const fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    /// Appends the value's bytes, as they stand behind a tag.
    #[inline]
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Unsigned(value) => varint::write_unsigned(out, value),
            Self::Signed(value) => varint::write_signed(out, value),
            Self::Bytes(bytes) => {
                varint::write_unsigned(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
    }

    /// Whether it may stand as the value of this field.
    fn check(self, number: u16) -> Result<(), Malformed> {
        if number == 0 {
            return Err(Malformed::BadTag);
        }
        match self {
            Self::Bytes([]) => Err(Malformed::EmptyField),
            Self::Bytes(bytes) if bytes.len() > FIELD_BYTES_MAX => Err(Malformed::TooLarge),
            Self::Unsigned(value) if value >= varint::LIMIT => {
                Err(Malformed::Varint(VarintError::TooLarge))
            }
            Self::Signed(value) if value.unsigned_abs() >= varint::LIMIT => {
                Err(Malformed::Varint(VarintError::TooLarge))
            }
            _ => Ok(()),
        }
    }

    /// The field's bytes. The value is checked.
    fn encoded(self, number: u16) -> Encoded<'a> {
        let tag = Tag { number, wire: self.wire() }.word();
        match self {
            Self::Unsigned(value) => Encoded::integer(tag, value),
            Self::Signed(value) => Encoded::integer(tag, varint::zigzag(value)),
            Self::Bytes(bytes) => Encoded::bytes(tag, bytes),
        }
    }
}

/// Takes a value off the front that is legal by itself.
#[inline]
fn check_value(wire: WireType, input: &mut &[u8]) -> Result<(), Malformed> {
    let number = varint::read_raw(input)?;
    let magnitude = match wire {
        WireType::Signed => varint::unzigzag(number).unsigned_abs(),
        WireType::Unsigned | WireType::Bytes => number,
    };
    if magnitude >= varint::LIMIT {
        return Err(Malformed::Varint(VarintError::TooLarge));
    }
    if wire == WireType::Bytes {
        let length = usize::try_from(number).map_err(|_| Malformed::TooLarge)?;
        if length == 0 {
            return Err(Malformed::EmptyField);
        }
        if length > FIELD_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        *input = input.get(length..).ok_or(Malformed::Truncated)?;
    }
    Ok(())
}

/// Bytes that are no fact in its one legal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside the fact.
    #[error("the bytes end inside a fact")]
    Truncated,
    /// A number is out of range or not in shortest form.
    #[error("{0}")]
    Varint(#[from] VarintError),
    /// The kind is 0 or over 16 bits.
    #[error("a fact's kind is 1 to 65,535")]
    BadKind,
    /// Field 0, wire type 3, or a field number over 16 bits.
    #[error("a field has no such number or wire type")]
    BadTag,
    /// Fields are not strictly ascending by number.
    #[error("fields are not in ascending order")]
    NotAscending,
    /// A field of bytes is empty; it should be absent.
    #[error("a field of bytes is empty instead of absent")]
    EmptyField,
    /// Larger than a fact may be.
    #[error("a fact is larger than 1,024 bytes or a field than 512: shorten its texts")]
    TooLarge,
}

/// A kind and its fields, ascending by number, each number at most once, at most
/// [`FACT_BYTES_MAX`] bytes in all.
///
/// It holds its fields as they are written, hashed and sent.
#[derive(Clone)]
pub struct Fact {
    kind: KindNo,
    /// How many fields.
    count: u16,
    /// The highest number of a field; 0 before the first.
    last: u16,
    body: Body,
}

impl Fact {
    /// A fact without fields.
    pub fn new(kind: Kind) -> Self {
        Self::with_number(kind.number())
    }

    /// A fact of a kind that may be unknown.
    pub fn with_number(kind: KindNo) -> Self {
        assert!(kind.0 != 0, "kind 0 is not a kind");
        Self { kind, count: 0, last: 0, body: Body::EMPTY }
    }

    /// The kind's number.
    pub const fn kind_no(&self) -> KindNo {
        self.kind
    }

    /// The kind, if this version knows it.
    pub const fn kind(&self) -> Option<Kind> {
        Kind::from_number(self.kind)
    }

    /// The fields in ascending order.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.body, self.count)
    }

    /// The value of a field.
    pub fn value(&self, number: u16) -> Option<Value<'_>> {
        if number > self.last { None } else { self.body.find(number) }
    }

    /// The known fields, for those who ask for many.
    #[inline]
    pub(super) fn by_number(&self) -> ByNumber<'_> {
        ByNumber::of(&self.body)
    }

    /// Appends a field with a higher number than all before.
    pub fn push(&mut self, number: u16, value: Value<'_>) -> Result<(), Malformed> {
        value.check(number)?;
        if number <= self.last {
            return Err(Malformed::NotAscending);
        }
        let field = value.encoded(number);
        if head_len(self.kind, self.count + 1) + self.body.len() + field.len() > FACT_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        self.push_encoded(number, field)
    }

    /// Appends a field that is known to be legal by itself; the caller sees to the fact's size.
    #[expect(clippy::inline_always, reason = "else the field goes through memory: twice the time")]
    #[inline(always)]
    pub(crate) fn push_encoded(
        &mut self,
        number: u16,
        field: Encoded<'_>,
    ) -> Result<(), Malformed> {
        if number <= self.last {
            return Err(Malformed::NotAscending);
        }
        self.last = number;
        // Numbers ascend, so there are no more fields than numbers.
        self.count += 1;
        self.body.append(field);
        Ok(())
    }

    /// Sets a field, replacing an earlier value. A refused value leaves the fact as it was.
    pub fn set(&mut self, number: u16, value: Value<'_>) -> Result<(), Malformed> {
        if number > self.last {
            return self.push(number, value);
        }
        value.check(number)?;
        let (from, to) = self.body.range_of(number);
        let count = self.count + u16::from(from == to);
        let field = value.encoded(number);
        let bytes = self.body.len() - (to - from) + field.len();
        if head_len(self.kind, count) + bytes > FACT_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        let known = self.body.as_slice();
        let mut body = Body::from(&known[..from]);
        body.append(field);
        body.extend(&known[to..]);
        (self.count, self.body) = (count, body);
        Ok(())
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::write_unsigned(out, self.kind.0.into());
        varint::write_unsigned(out, self.count.into());
        out.extend_from_slice(self.body.as_slice());
    }

    /// How many bytes [`Fact::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        head_len(self.kind, self.count) + self.body.len()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.encode(&mut out);
        out
    }

    /// Takes one fact off the front of `input`.
    pub fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        let before = input.len();
        let kind = u16::try_from(varint::read_unsigned(input)?).map_err(|_| Malformed::BadKind)?;
        if kind == 0 {
            return Err(Malformed::BadKind);
        }
        let count = varint::read_unsigned(input)?;
        let fields = *input;
        let mut last = 0;
        for _ in 0..count {
            let tag = Tag::from_code(varint::read_unsigned(input)?).ok_or(Malformed::BadTag)?;
            check_value(tag.wire, input)?;
            if tag.number <= last {
                return Err(Malformed::NotAscending);
            }
            last = tag.number;
            if before - input.len() > FACT_BYTES_MAX {
                return Err(Malformed::TooLarge);
            }
        }
        let count = u16::try_from(count).expect("as many fields as were read");
        let body = Body::from(&fields[..fields.len() - input.len()]);
        Ok(Self { kind: KindNo(kind), count, last, body })
    }
}

/// How many bytes stand before the fields.
const fn head_len(kind: KindNo, count: u16) -> usize {
    varint::encoded_len(kind.0 as u64) + varint::encoded_len(count as u64)
}

impl PartialEq for Fact {
    fn eq(&self, other: &Self) -> bool {
        // Equal fields have equal counts and last numbers.
        self.kind == other.kind && self.body.as_slice() == other.body.as_slice()
    }
}

impl Eq for Fact {}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fact {} ", self.kind.0)?;
        f.debug_map().entries(self.fields().map(|(tag, value)| (tag.number, value))).finish()
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fact::generated::{self, Chance};

    fn sample() -> Fact {
        let mut fact = Fact::new(Kind::Receipt);
        for (number, value) in [
            (3, Value::Signed(1_795_519_885_123)),
            (1, Value::Unsigned(2)),
            (14, Value::from(b"EA".as_slice())),
            (12, Value::Signed(-7)),
        ] {
            fact.set(number, value).expect("a legal field");
        }
        fact
    }

    #[test]
    fn one_encoding_each_way() {
        let bytes = sample().to_bytes();
        let mut rest = bytes.as_slice();
        assert_eq!(Fact::decode(&mut rest), Ok(sample()));
        assert!(rest.is_empty());
        assert_eq!(sample().encoded_len(), bytes.len());
        for cut in 0..bytes.len() {
            assert!(Fact::decode(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_fact_is_small() {
        // Runs of thousands pass from hand to hand.
        assert!(size_of::<Fact>() <= 80, "{} bytes", size_of::<Fact>());
    }

    /// A fact as the page of the format defines it, by numbers.
    #[derive(Clone, Default)]
    struct Naive<'a>(BTreeMap<u16, Value<'a>>);

    impl Naive<'_> {
        fn bytes(&self, kind: u16) -> Vec<u8> {
            let mut out = Vec::new();
            varint::write_unsigned(&mut out, kind.into());
            varint::write_unsigned(&mut out, self.0.len() as u64);
            for (number, value) in &self.0 {
                varint::write_unsigned(&mut out, u64::from(*number) * 4 + value.wire() as u64);
                match value {
                    Value::Unsigned(value) => varint::write_unsigned(&mut out, *value),
                    Value::Signed(value) => varint::write_signed(&mut out, *value),
                    Value::Bytes(bytes) => {
                        varint::write_unsigned(&mut out, bytes.len() as u64);
                        out.extend_from_slice(bytes);
                    }
                }
            }
            out
        }
    }

    #[test]
    fn set_in_any_order_is_as_a_map() {
        let text = generated::text();
        let [mut refused, mut replaced] = [0, 0];
        for seed in 0..3_000 {
            let mut chance = Chance::new(seed);
            let kind = u16::try_from(chance.below(300) + 1).expect("small");
            let mut fact = Fact::with_number(KindNo(kind));
            let mut naive = Naive::default();
            for step in 0..chance.below(40) {
                let (number, value) = (chance.number(), chance.value(&text));
                let mut next = naive.clone();
                let known = next.0.insert(number, value);
                let fits = next.bytes(kind).len() <= FACT_BYTES_MAX;
                let expected = if fits { Ok(()) } else { Err(Malformed::TooLarge) };
                assert_eq!(fact.set(number, value), expected, "seed {seed}, step {step}");
                if fits {
                    replaced += u32::from(known.is_some());
                    naive = next;
                } else {
                    refused += 1;
                }
                let bytes = naive.bytes(kind);
                assert_eq!(fact.to_bytes(), bytes, "seed {seed}, step {step}");
                assert_eq!(fact.encoded_len(), bytes.len());
                assert_eq!(fact.value(number), naive.0.get(&number).copied());
            }
            let fields = fact.fields();
            assert_eq!(fields.len(), naive.0.len());
            let fields: Vec<_> = fields.map(|(tag, value)| (tag.number, value)).collect();
            assert_eq!(fields, naive.0.into_iter().collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(Fact::decode(&mut fact.to_bytes().as_slice()), Ok(fact));
        }
        assert!(refused > 100 && replaced > 1_000, "{refused} refused, {replaced} replaced");
    }

    #[test]
    fn what_was_decoded_goes_on_as_what_was_built() {
        for seed in 0..3_000 {
            let mut built = generated::fact(seed);
            let mut decoded = Fact::decode(&mut built.to_bytes().as_slice()).expect("a fact");
            let mut chance = Chance::new(seed);
            let number = chance.number();
            let value = Value::Unsigned(chance.below(1 << 50));
            assert_eq!(built.push(number, value), decoded.push(number, value), "seed {seed}");
            assert_eq!(built, decoded, "seed {seed}");
            assert_eq!(built.set(number, value), decoded.set(number, value), "seed {seed}");
            assert_eq!(built.to_bytes(), decoded.to_bytes(), "seed {seed}");
        }
    }

    #[test]
    fn setting_a_field_twice_keeps_the_last() {
        let mut fact = sample();
        fact.set(12, Value::Signed(9)).expect("a legal field");
        assert_eq!(fact.value(12), Some(Value::Signed(9)));
        assert_eq!(fact.fields().len(), 4);
    }

    #[test]
    fn a_refused_value_leaves_the_fact_as_it_was() {
        let long = [b'x'; FIELD_BYTES_MAX + 1];
        let text = |length: usize| Value::from(&long[..length]);
        let mut fact = sample();
        fact.set(30, text(FIELD_BYTES_MAX)).expect("a legal field");
        let before = fact.clone();
        for (number, value, refusal) in [
            (0, Value::Unsigned(1), Malformed::BadTag),
            (14, text(0), Malformed::EmptyField),
            (14, text(FIELD_BYTES_MAX + 1), Malformed::TooLarge),
            (14, text(FIELD_BYTES_MAX), Malformed::TooLarge),
            (20, text(FIELD_BYTES_MAX), Malformed::TooLarge),
            (12, Value::Signed(1 << 53), Malformed::Varint(VarintError::TooLarge)),
        ] {
            assert_eq!(fact.set(number, value), Err(refusal));
            assert_eq!(fact, before);
        }
        assert_eq!(fact.push(31, text(FIELD_BYTES_MAX)), Err(Malformed::TooLarge));
        assert_eq!(fact, before);
        let room = FACT_BYTES_MAX - fact.encoded_len() - 3;
        fact.push(31, text(room)).expect("just fits");
        assert_eq!(fact.encoded_len(), FACT_BYTES_MAX);
        assert_eq!(Fact::decode(&mut fact.to_bytes().as_slice()), Ok(fact));
    }

    #[test]
    fn other_forms_are_malformed() {
        let cases: &[(&[u8], Malformed)] = &[
            (&[0, 0], Malformed::BadKind),
            (&[1, 1, 3, 0], Malformed::BadTag),
            (&[1, 1, 0, 0], Malformed::BadTag),
            (&[1, 2, 8, 0, 4, 0], Malformed::NotAscending),
            (&[1, 2, 4, 0, 4, 0], Malformed::NotAscending),
            (&[1, 2, 4, 0, 5, 0], Malformed::NotAscending),
            (&[1, 1, 6, 0], Malformed::EmptyField),
            (&[1, 1, 6, 2, 65], Malformed::Truncated),
            (&[1, 1, 4, 0x80, 0], Malformed::Varint(VarintError::NotShortest)),
            (&[0x81, 0x80, 0], Malformed::Varint(VarintError::NotShortest)),
            (&[1], Malformed::Varint(VarintError::Truncated)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Fact::decode(&mut &**bytes), Err(*expected), "{bytes:?}");
        }
    }
}
