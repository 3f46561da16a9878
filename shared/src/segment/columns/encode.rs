//! Facts to columns.

use std::collections::BTreeMap;

use super::bytes::Dictionary;
use super::presence::Presence;
use super::{ColumnHead, KINDS, PresenceForm, VERSION, ValueForm, integers};
use crate::fact::{Fact, Tag, Value, WireType};
use crate::segment::SEGMENT_FACTS_MAX;
use crate::varint;

/// One field of all the facts that have it.
struct Column<'a> {
    tag: Tag,
    presence: Presence,
    integers: Vec<i64>,
    bytes: Vec<&'a [u8]>,
}

/// The canonical columns of 0 to [`SEGMENT_FACTS_MAX`] facts; more are a mistake in the program.
pub fn encode(facts: &[Fact]) -> Vec<u8> {
    assert!(facts.len() <= SEGMENT_FACTS_MAX, "a segment has at most {SEGMENT_FACTS_MAX} facts");
    let mut out = vec![VERSION];
    varint::write_unsigned(&mut out, facts.len() as u64);
    match facts {
        [] => {}
        [fact] => write_one(fact, &mut out),
        facts => write_columns(facts, &mut out),
    }
    out
}

/// One fact: each field is present in all and plain, so there is nothing to choose.
fn write_one(fact: &Fact, out: &mut Vec<u8>) {
    let (presence, values) = (PresenceForm::All, ValueForm::Plain);
    let head = |tag: Tag| ColumnHead { number: tag.number, wire: tag.wire, presence, values };
    head(KINDS).write(0, out);
    varint::write_unsigned(out, fact.kind_no().0.into());
    let mut number = 0;
    for (tag, value) in fact.fields() {
        head(tag).write(number, out);
        value.write(out);
        number = tag.number;
    }
}

fn write_columns(facts: &[Fact], out: &mut Vec<u8>) {
    let mut before = write_kinds(facts, out);
    let mut number = 0;
    for column in transpose(facts) {
        column.write(facts.len(), number, &before, out);
        (number, before) = (column.tag.number, column.presence);
    }
}

/// The kinds are written as a column of unsigned integers with number 0.
fn write_kinds(facts: &[Fact], out: &mut Vec<u8>) -> Presence {
    let kinds = Column {
        tag: KINDS,
        presence: Presence::all(facts.len()),
        integers: facts.iter().map(|fact| fact.kind_no().0.into()).collect(),
        bytes: Vec::new(),
    };
    kinds.write(facts.len(), 0, &kinds.presence, out);
    kinds.presence
}

fn transpose(facts: &[Fact]) -> Vec<Column<'_>> {
    let mut columns = Columns::default();
    for (index, fact) in facts.iter().enumerate() {
        for (tag, value) in fact.fields() {
            columns.of(tag, facts.len()).push(index, value);
        }
    }
    columns.made.sort_unstable_by_key(|column| column.tag);
    columns.made
}

/// Tags of codes below this are looked up without a search.
const NEAR: usize = 512;
/// No place of a column.
const NOWHERE: u8 = u8::MAX;

/// Columns in the order in which they came up.
struct Columns<'a> {
    made: Vec<Column<'a>>,
    /// Places of the first columns, by code of their tag where that is small.
    near: [u8; NEAR],
    /// Places of all others.
    far: BTreeMap<Tag, usize>,
}

impl Default for Columns<'_> {
    fn default() -> Self {
        let near = [NOWHERE; NEAR];
        Self { made: Vec::with_capacity(16), near, far: BTreeMap::new() }
    }
}

impl<'a> Columns<'a> {
    #[inline]
    fn of(&mut self, tag: Tag, facts: usize) -> &mut Column<'a> {
        let near = usize::try_from(tag.code()).ok().and_then(|code| self.near.get(code));
        match near {
            Some(place) if *place != NOWHERE => &mut self.made[usize::from(*place)],
            _ => self.seldom(tag, facts),
        }
    }

    /// A column that is new, or not among the first.
    #[cold]
    fn seldom(&mut self, tag: Tag, facts: usize) -> &mut Column<'a> {
        let next = self.made.len();
        let near = usize::try_from(tag.code()).ok().and_then(|code| self.near.get_mut(code));
        let place = match (near, u8::try_from(next)) {
            (Some(near), Ok(place)) if place != NOWHERE => {
                *near = place;
                // So few columns may have room for all facts.
                self.made.push(Column::new(tag, facts, facts));
                next
            }
            _ => *self.far.entry(tag).or_insert_with(|| {
                self.made.push(Column::new(tag, facts, 0));
                next
            }),
        };
        &mut self.made[place]
    }
}

impl<'a> Column<'a> {
    /// Without a value, and room for some.
    fn new(tag: Tag, facts: usize, room: usize) -> Self {
        let (integers, bytes) = if tag.wire == WireType::Bytes { (0, room) } else { (room, 0) };
        Self {
            tag,
            presence: Presence::none(facts),
            integers: Vec::with_capacity(integers),
            bytes: Vec::with_capacity(bytes),
        }
    }

    #[inline]
    fn push(&mut self, fact: usize, value: Value<'a>) {
        self.presence.set(fact);
        match value {
            Value::Unsigned(value) => self.integers.push(value.cast_signed()),
            Value::Signed(value) => self.integers.push(value),
            Value::Bytes(bytes) => self.bytes.push(bytes),
        }
    }

    fn write(&self, facts: usize, number: u16, before: &Presence, out: &mut Vec<u8>) {
        let presence = self.presence.form(facts, before);
        let head =
            |values| ColumnHead { number: self.tag.number, wire: self.tag.wire, presence, values };
        if self.tag.wire == WireType::Bytes {
            let dictionary = Dictionary::of(&self.bytes);
            let (_, values) = dictionary.measure(&self.bytes);
            head(values).write(number, out);
            self.presence.write(presence, facts, out);
            dictionary.write(&self.bytes, values, out);
        } else {
            let signed = self.tag.wire == WireType::Signed;
            let values = integers::form(&self.integers, signed);
            head(values).write(number, out);
            self.presence.write(presence, facts, out);
            integers::write(&self.integers, signed, values, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::generated;

    #[test]
    fn one_fact_is_written_as_many_are() {
        for seed in 0..3_000 {
            let fact = generated::fact(seed);
            let (mut one, mut many) = (Vec::new(), Vec::new());
            write_one(&fact, &mut one);
            write_columns(&[fact], &mut many);
            assert_eq!(one, many, "seed {seed}");
        }
    }
}
