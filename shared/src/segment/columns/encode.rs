//! Facts to columns.

use super::bytes::Dictionary;
use super::presence::Presence;
use super::{ColumnHead, VERSION, integers};
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
    if facts.is_empty() {
        return out;
    }
    let mut before = write_kinds(facts, &mut out);
    let mut number = 0;
    for column in transpose(facts) {
        column.write(facts.len(), number, &before, &mut out);
        (number, before) = (column.tag.number, column.presence);
    }
    out
}

/// The kinds are written as a column of unsigned integers with number 0.
fn write_kinds(facts: &[Fact], out: &mut Vec<u8>) -> Presence {
    let kinds = Column {
        tag: Tag { number: 0, wire: WireType::Unsigned },
        presence: Presence::all(facts.len()),
        integers: facts.iter().map(|fact| fact.kind_no().0.into()).collect(),
        bytes: Vec::new(),
    };
    kinds.write(facts.len(), 0, &kinds.presence, out);
    kinds.presence
}

fn transpose(facts: &[Fact]) -> Vec<Column<'_>> {
    let mut columns: Vec<Column<'_>> = Vec::new();
    for (index, fact) in facts.iter().enumerate() {
        let mut at = 0;
        for (tag, value) in fact.fields() {
            while columns.get(at).is_some_and(|column| column.tag < tag) {
                at += 1;
            }
            if columns.get(at).is_none_or(|column| column.tag != tag) {
                columns.insert(at, Column::new(tag, facts.len()));
            }
            columns[at].push(index, value);
            at += 1;
        }
    }
    columns
}

impl<'a> Column<'a> {
    fn new(tag: Tag, facts: usize) -> Self {
        Self { tag, presence: Presence::none(facts), integers: Vec::new(), bytes: Vec::new() }
    }

    fn push(&mut self, fact: usize, value: &'a Value) {
        self.presence.set(fact);
        match value {
            Value::Unsigned(value) => self.integers.push(value.cast_signed()),
            Value::Signed(value) => self.integers.push(*value),
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
            let (_, values) = integers::measure(&self.integers, signed);
            head(values).write(number, out);
            self.presence.write(presence, facts, out);
            integers::write(&self.integers, signed, values, out);
        }
    }
}
