//! Columns to facts, and where each column lies.

use std::iter::repeat;

use super::presence::Presence;
use super::{
    COLUMNS_BYTES_MAX, ColumnHead, ColumnsError, KINDS, PresenceForm, VERSION, ValueForm, bytes,
    integers,
};
use crate::fact::record::FACT_BYTES_MAX;
use crate::fact::{Encoded, Fact, KindNo, Tag, Value, WireType};
use crate::segment::{SEGMENT_BYTES_MAX, SEGMENT_FACTS_MAX};
use crate::varint::{self, unzigzag, zigzag};

/// The facts of canonical columns; refuses every other form.
pub fn decode(columns: &[u8]) -> Result<Vec<Fact>, ColumnsError> {
    let mut reader = Reader::open(columns)?;
    if reader.facts == 1
        && let Some(fact) = read_one(reader.input)
    {
        return Ok(vec![fact]);
    }
    let mut facts = Vec::with_capacity(reader.facts);
    let mut values = Values::default();
    while let Some(head) = reader.next(&mut values)? {
        if head.number == 0 {
            facts.extend(values.kinds(head.values, reader.facts).map(Fact::with_number));
        } else {
            place(&mut facts, head, &reader.presence, &values)?;
        }
    }
    if reader.widest > FACT_BYTES_MAX
        && facts.iter().any(|fact| fact.encoded_len() > FACT_BYTES_MAX)
    {
        return Err(ColumnsError::TooLarge);
    }
    Ok(facts)
}

/// The columns of one fact, where they are legal. What is not gets its refusal from the reader of
/// many.
fn read_one(mut input: &[u8]) -> Option<Fact> {
    let kinds = plain_head(0, &mut input).filter(|tag| *tag == KINDS);
    let kind = kinds.and_then(|_| varint::read_raw(&mut input).ok())?;
    let kind = u16::try_from(kind).ok().filter(|kind| *kind != 0)?;
    let mut fact = Fact::with_number(KindNo(kind));
    let mut before = 0;
    while !input.is_empty() {
        let tag = plain_head(before, &mut input)?;
        let number = varint::read_raw(&mut input).ok()?;
        let value = match tag.wire {
            WireType::Unsigned => Value::Unsigned(number),
            WireType::Signed => Value::Signed(unzigzag(number)),
            WireType::Bytes => {
                let (bytes, rest) = input.split_at_checked(usize::try_from(number).ok()?)?;
                input = rest;
                Value::Bytes(bytes)
            }
        };
        fact.push(tag.number, value).ok()?;
        before = tag.number;
    }
    Some(fact)
}

fn plain_head(before: u16, input: &mut &[u8]) -> Option<Tag> {
    let head = ColumnHead::read(before, input).ok()?;
    let plain = head.presence == PresenceForm::All && head.values == ValueForm::Plain;
    plain.then_some(head.tag())
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
    head: ColumnHead,
    presence: &Presence,
    values: &Values<'_>,
) -> Result<(), ColumnsError> {
    let tag = head.tag().word();
    let (integers, texts) = (&values.integers, &values.texts);
    let give = Give { facts, number: head.number, presence };
    match (head.wire, head.values) {
        (WireType::Unsigned, ValueForm::Constant) => {
            give.each(repeat(Encoded::integer(tag, integers[0].cast_unsigned())))
        }
        (WireType::Signed, ValueForm::Constant) => {
            give.each(repeat(Encoded::integer(tag, zigzag(integers[0]))))
        }
        (WireType::Bytes, ValueForm::Constant) => {
            give.each(repeat(Encoded::bytes(tag, texts.entries[0])))
        }
        (WireType::Unsigned, _) => {
            give.each(integers.iter().map(|value| Encoded::integer(tag, value.cast_unsigned())))
        }
        (WireType::Signed, _) => {
            give.each(integers.iter().map(|value| Encoded::integer(tag, zigzag(*value))))
        }
        (WireType::Bytes, ValueForm::Plain) => {
            give.each(texts.entries.iter().map(|bytes| Encoded::bytes(tag, bytes)))
        }
        (WireType::Bytes, ValueForm::Related) => {
            let entries = texts.entries.iter().map(|bytes| Encoded::bytes(tag, bytes));
            let entries: Vec<_> = entries.collect();
            give.each(texts.places.iter().map(|place| entries[usize::from(*place)]))
        }
    }
}

/// Where the fields of one column go.
struct Give<'a> {
    facts: &'a mut [Fact],
    number: u16,
    presence: &'a Presence,
}

impl Give<'_> {
    #[inline]
    fn each<'b>(self, mut fields: impl Iterator<Item = Encoded<'b>>) -> Result<(), ColumnsError> {
        if self.presence.count() == self.facts.len() {
            return self
                .facts
                .iter_mut()
                .zip(fields)
                .try_for_each(|(fact, field)| give(fact, self.number, field));
        }
        for (block, word) in self.facts.chunks_mut(64).zip(self.presence.words()) {
            let mut word = *word;
            while word != 0 {
                let field = fields.next().expect("one was read for each bit");
                give(&mut block[word.trailing_zeros() as usize], self.number, field)?;
                word &= word - 1;
            }
        }
        Ok(())
    }
}

/// Everything else about the field is checked already.
#[inline]
fn give(fact: &mut Fact, number: u16, field: Encoded<'_>) -> Result<(), ColumnsError> {
    fact.push_encoded(number, field).map_err(|_| ColumnsError::FieldTwice)
}

/// The values of one column.
#[derive(Default)]
struct Values<'a> {
    /// One for each fact that has the field, or one for all.
    integers: Vec<i64>,
    texts: bytes::Texts<'a>,
}

impl Values<'_> {
    fn kinds(&self, form: ValueForm, facts: usize) -> impl Iterator<Item = KindNo> {
        let repeat = if form == ValueForm::Constant { facts } else { 1 };
        self.integers
            .iter()
            .map(|kind| KindNo(u16::try_from(*kind).expect("checked when read")))
            .flat_map(move |kind| std::iter::repeat_n(kind, repeat))
    }
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
        let count = varint::read_raw(&mut input)?;
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
        values.texts.clear();
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
        if self.facts == 0 || head.tag() != KINDS || head.presence != PresenceForm::All {
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
                let texts = &mut values.texts;
                let size = bytes::read(count, head.values, &mut self.input, texts)?;
                let longest = texts.entries.iter().map(|bytes| bytes.len()).max();
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
