//! A fact as it is written, hashed and signed: a kind and numbered fields. This file knows the
//! form of fields and nothing of their meaning, so that a node stores and relays kinds and fields
//! of later versions unchanged. Invariant: a fact has exactly one encoding (`FORMAT.md`).

use smallvec::SmallVec;

use super::kind::{Kind, KindNo};
use crate::quantity::ShortText;
use crate::varint::{self, VarintError};

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
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Unsigned),
            1 => Some(Self::Signed),
            2 => Some(Self::Bytes),
            _ => None,
        }
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

    /// The tag of a code; `None` for field 0, wire type 3 and numbers over 16 bits.
    pub fn from_code(code: u64) -> Option<Self> {
        let number = u16::try_from(code >> 2).ok().filter(|number| *number != 0)?;
        Some(Self { number, wire: WireType::from_number(code & 3)? })
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Below 2^53.
    Unsigned(u64),
    /// Magnitude below 2^53.
    Signed(i64),
    /// 1 to [`FIELD_BYTES_MAX`] bytes.
    Bytes(ShortText),
}

impl Value {
    /// How the value is written.
    pub const fn wire(&self) -> WireType {
        match self {
            Self::Unsigned(_) => WireType::Unsigned,
            Self::Signed(_) => WireType::Signed,
            Self::Bytes(_) => WireType::Bytes,
        }
    }

    /// Whether it may stand as the value of this field.
    fn check(&self, number: u16) -> Result<(), Malformed> {
        if number == 0 {
            return Err(Malformed::BadTag);
        }
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => Err(Malformed::EmptyField),
            Self::Bytes(bytes) if bytes.len() > FIELD_BYTES_MAX => Err(Malformed::TooLarge),
            Self::Unsigned(value) if *value >= varint::LIMIT => {
                Err(Malformed::Varint(VarintError::TooLarge))
            }
            Self::Signed(value) if value.unsigned_abs() >= varint::LIMIT => {
                Err(Malformed::Varint(VarintError::TooLarge))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unsigned(value) => varint::write_unsigned(out, *value),
            Self::Signed(value) => varint::write_signed(out, *value),
            Self::Bytes(bytes) => {
                varint::write_unsigned(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
    }

    /// How many bytes [`Value::write`] appends.
    fn encoded_len(&self) -> usize {
        match self {
            Self::Unsigned(value) => varint::encoded_len(*value),
            Self::Signed(value) => varint::encoded_len(varint::zigzag(*value)),
            Self::Bytes(bytes) => varint::encoded_len(bytes.len() as u64) + bytes.len(),
        }
    }

    fn read(wire: WireType, input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(match wire {
            WireType::Unsigned => Self::Unsigned(varint::read_unsigned(input)?),
            WireType::Signed => Self::Signed(varint::read_signed(input)?),
            WireType::Bytes => {
                let length = varint::read_unsigned(input)?;
                let length = usize::try_from(length).map_err(|_| Malformed::TooLarge)?;
                if length == 0 {
                    return Err(Malformed::EmptyField);
                }
                if length > FIELD_BYTES_MAX {
                    return Err(Malformed::TooLarge);
                }
                let bytes = input.get(..length).ok_or(Malformed::Truncated)?;
                *input = &input[length..];
                Self::Bytes(ShortText::from_slice(bytes))
            }
        })
    }
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

type FieldVec = SmallVec<[(Tag, Value); 16]>;

/// A kind and its fields, ascending by number, each number at most once, at most
/// [`FACT_BYTES_MAX`] bytes in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    kind: KindNo,
    fields: FieldVec,
}

impl Fact {
    /// A fact without fields.
    pub fn new(kind: Kind) -> Self {
        Self::with_number(kind.number())
    }

    /// A fact of a kind that may be unknown.
    pub fn with_number(kind: KindNo) -> Self {
        assert!(kind.0 != 0, "kind 0 is not a kind");
        Self { kind, fields: FieldVec::new() }
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
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (Tag, &Value)> {
        self.fields.iter().map(|(tag, value)| (*tag, value))
    }

    /// The value of a field.
    pub fn value(&self, number: u16) -> Option<&Value> {
        self.fields.iter().find(|(tag, _)| tag.number == number).map(|(_, value)| value)
    }

    /// Appends a field with a higher number than all before.
    pub fn push(&mut self, number: u16, value: Value) -> Result<(), Malformed> {
        value.check(number)?;
        self.push_legal(number, value)?;
        if self.encoded_len() > FACT_BYTES_MAX {
            self.fields.pop();
            return Err(Malformed::TooLarge);
        }
        Ok(())
    }

    /// Appends a field that is known to be legal by itself; the caller sees to the fact's size.
    #[expect(clippy::inline_always, reason = "else values go through the stack: 11 ns each, not 5")]
    #[inline(always)]
    pub(crate) fn push_legal(&mut self, number: u16, value: Value) -> Result<(), Malformed> {
        if self.fields.last().is_some_and(|(last, _)| last.number >= number) {
            return Err(Malformed::NotAscending);
        }
        self.fields.push((Tag { number, wire: value.wire() }, value));
        Ok(())
    }

    /// Sets a field, replacing an earlier value. A refused value leaves the fact as it was.
    pub fn set(&mut self, number: u16, value: Value) -> Result<(), Malformed> {
        value.check(number)?;
        let field = (Tag { number, wire: value.wire() }, value);
        let at = self.fields.partition_point(|(tag, _)| tag.number < number);
        let replaced = match self.fields.get_mut(at) {
            Some(known) if known.0.number == number => Some(std::mem::replace(known, field)),
            _ => {
                self.fields.insert(at, field);
                None
            }
        };
        if self.encoded_len() <= FACT_BYTES_MAX {
            return Ok(());
        }
        match replaced {
            Some(known) => self.fields[at] = known,
            None => drop(self.fields.remove(at)),
        }
        Err(Malformed::TooLarge)
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::write_unsigned(out, self.kind.0.into());
        varint::write_unsigned(out, self.fields.len() as u64);
        for (tag, value) in &self.fields {
            varint::write_unsigned(out, tag.code());
            value.write(out);
        }
    }

    /// How many bytes [`Fact::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let head =
            varint::encoded_len(self.kind.0.into()) + varint::encoded_len(self.fields.len() as u64);
        let field =
            |(tag, value): &(Tag, Value)| varint::encoded_len(tag.code()) + value.encoded_len();
        head + self.fields.iter().map(field).sum::<usize>()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
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
        let mut fact = Self::with_number(KindNo(kind));
        for _ in 0..varint::read_unsigned(input)? {
            let tag = Tag::from_code(varint::read_unsigned(input)?).ok_or(Malformed::BadTag)?;
            fact.push_legal(tag.number, Value::read(tag.wire, input)?)?;
            if before - input.len() > FACT_BYTES_MAX {
                return Err(Malformed::TooLarge);
            }
        }
        Ok(fact)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(ShortText::from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn setting_a_field_twice_keeps_the_last() {
        let mut fact = sample();
        fact.set(12, Value::Signed(9)).expect("a legal field");
        assert_eq!(fact.value(12), Some(&Value::Signed(9)));
        assert_eq!(fact.fields().len(), 4);
    }

    #[test]
    fn a_refused_value_leaves_the_fact_as_it_was() {
        let text = |length: usize| Value::from(vec![b'x'; length].as_slice());
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
            assert_eq!(fact.set(number, value.clone()), Err(refusal));
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
