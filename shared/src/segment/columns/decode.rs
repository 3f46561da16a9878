//! Columns to facts, and where each column lies.

use super::presence::Presence;
use super::{COLUMNS_BYTES_MAX, ColumnHead, ColumnsError, VERSION, bytes, integers, read_varint};
use crate::fact::record::FACT_BYTES_MAX;
use crate::fact::{Fact, KindNo, Tag, Value, WireType};
use crate::quantity::ShortText;
use crate::segment::{SEGMENT_BYTES_MAX, SEGMENT_FACTS_MAX};
use crate::varint;

/// The facts of canonical columns; refuses every other form.
pub fn decode(columns: &[u8]) -> Result<Vec<Fact>, ColumnsError> {
    let mut reader = Reader::open(columns)?;
    let mut facts = Vec::with_capacity(reader.facts);
    let mut values = Values::default();
    while let Some(head) = reader.next(&mut values)? {
        if head.number == 0 {
            let number = |kind: &i64| u16::try_from(*kind).expect("checked when read");
            facts
                .extend(values.integers.iter().map(|kind| Fact::with_number(KindNo(number(kind)))));
        } else {
            place(&mut facts, head.tag(), &reader.presence, &values)?;
        }
    }
    if reader.widest > FACT_BYTES_MAX
        && facts.iter().any(|fact| fact.encoded_len() > FACT_BYTES_MAX)
    {
        return Err(ColumnsError::TooLarge);
    }
    Ok(facts)
}

/// One part for each column: what packing cuts at. The first holds version, count and kinds.
pub fn split(columns: &[u8]) -> Result<Vec<&[u8]>, ColumnsError> {
    let mut reader = Reader::open(columns)?;
    let mut values = Values::default();
    if reader.facts == 0 {
        return reader.next(&mut values).map(|_| vec![columns]);
    }
    let mut parts = Vec::new();
    let mut start = 0;
    while reader.next(&mut values)?.is_some() {
        let end = columns.len() - reader.input.len();
        parts.push(&columns[start..end]);
        start = end;
    }
    Ok(parts)
}

/// Gives the values of one column to the facts that have it.
fn place(
    facts: &mut [Fact],
    tag: Tag,
    presence: &Presence,
    values: &Values<'_>,
) -> Result<(), ColumnsError> {
    let integers = values.integers.iter();
    match tag.wire {
        WireType::Unsigned => {
            give(facts, tag, presence, integers.map(|value| Value::Unsigned(value.cast_unsigned())))
        }
        WireType::Signed => give(facts, tag, presence, integers.map(|value| Value::Signed(*value))),
        WireType::Bytes => {
            let bytes = values.bytes.iter();
            give(
                facts,
                tag,
                presence,
                bytes.map(|bytes| Value::Bytes(ShortText::from_slice(bytes))),
            )
        }
    }
}

#[inline]
fn give(
    facts: &mut [Fact],
    tag: Tag,
    presence: &Presence,
    mut values: impl Iterator<Item = Value>,
) -> Result<(), ColumnsError> {
    for (block, word) in facts.chunks_mut(64).zip(presence.words()) {
        let mut word = *word;
        while word != 0 {
            let value = values.next().expect("one was read for each bit");
            let fact = &mut block[word.trailing_zeros() as usize];
            // Everything else about the field is checked already.
            fact.push_legal(tag.number, value).map_err(|_| ColumnsError::FieldTwice)?;
            word &= word - 1;
        }
    }
    Ok(())
}

/// The values of one column.
#[derive(Default)]
struct Values<'a> {
    integers: Vec<i64>,
    bytes: Vec<&'a [u8]>,
}

/// Reads column by column.
struct Reader<'a> {
    input: &'a [u8],
    facts: usize,
    /// The last column's tag; `None` before the kinds.
    last: Option<Tag>,
    /// Of the last column.
    presence: Presence,
    /// Canonical bytes of the facts so far, without their counts of fields.
    size: usize,
    /// No fact is larger than this.
    widest: usize,
}

impl<'a> Reader<'a> {
    fn open(mut input: &'a [u8]) -> Result<Self, ColumnsError> {
        if input.len() > COLUMNS_BYTES_MAX {
            return Err(ColumnsError::TooLarge);
        }
        let (version, rest) = input.split_first().ok_or(ColumnsError::Truncated)?;
        if *version != VERSION {
            return Err(ColumnsError::UnknownVersion(*version));
        }
        input = rest;
        let count = read_varint(&mut input)?;
        let facts = match usize::try_from(count) {
            Ok(facts) if facts <= SEGMENT_FACTS_MAX => facts,
            _ => return Err(ColumnsError::TooManyFacts(count)),
        };
        // A count of fields takes 3 bytes at most.
        Ok(Self { input, facts, last: None, presence: Presence::all(facts), size: 0, widest: 3 })
    }

    /// The next column; `None` at the end.
    fn next(&mut self, values: &mut Values<'a>) -> Result<Option<ColumnHead>, ColumnsError> {
        values.integers.clear();
        values.bytes.clear();
        if self.input.is_empty() && (self.facts == 0 || self.last.is_some()) {
            return Ok(None);
        }
        let before = self.last.map_or(0, |tag| tag.number);
        let head = ColumnHead::read(before, &mut self.input)?;
        if self.last.is_none() {
            self.read_kinds(head, values)?;
        } else if self.last >= Some(head.tag()) || head.number == 0 || self.facts == 0 {
            return Err(ColumnsError::BadField);
        } else {
            self.read_field(head, values)?;
        }
        self.last = Some(head.tag());
        Ok(Some(head))
    }

    fn read_kinds(
        &mut self,
        head: ColumnHead,
        values: &mut Values<'a>,
    ) -> Result<(), ColumnsError> {
        use super::PresenceForm::All;
        if self.facts == 0
            || head.number != 0
            || head.wire != WireType::Unsigned
            || head.presence != All
        {
            return Err(ColumnsError::BadKind);
        }
        self.size +=
            integers::read(self.facts, false, head.values, &mut self.input, &mut values.integers)?;
        self.widest += 3;
        let legal = values.integers.iter().all(|kind| (1..=i64::from(u16::MAX)).contains(kind));
        if legal { Ok(()) } else { Err(ColumnsError::BadKind) }
    }

    fn read_field(
        &mut self,
        head: ColumnHead,
        values: &mut Values<'a>,
    ) -> Result<(), ColumnsError> {
        self.presence.read(head.presence, self.facts, &mut self.input)?;
        let count = self.presence.count();
        let (size, widest) = match head.wire {
            WireType::Bytes => {
                let size = bytes::read(count, head.values, &mut self.input, &mut values.bytes)?;
                let longest = values.bytes.iter().map(|bytes| bytes.len()).max();
                (size, longest.unwrap_or(0) + 2)
            }
            wire => {
                let signed = wire == WireType::Signed;
                let into = &mut values.integers;
                (integers::read(count, signed, head.values, &mut self.input, into)?, 8)
            }
        };
        self.size += size + count * varint::encoded_len(head.tag().code());
        self.widest += widest + 3;
        if self.size > SEGMENT_BYTES_MAX { Err(ColumnsError::TooLarge) } else { Ok(()) }
    }
}
