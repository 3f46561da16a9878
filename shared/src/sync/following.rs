//! Few facts as what differs from the fact before each: what live movements are sent as, whose fields
//! hardly change from one to the next. Knows the form of fields and nothing of their meaning.
//! Invariant: whoever has the fact before gets the same facts back; the chain's head in the frame
//! proves that both had the same one.
//!
//! ```text
//! fact   = marks, values
//! marks  = a bit each, the lowest of the first byte first: the kind differs, each field of the fact
//!          before differs, there are other fields; filled up with zeros
//! values = kind; for each field that differs 0 where it is gone, else zigzag(difference) of
//!          numbers, length and bytes of bytes; how many others, and each as in a fact
//! ```

use std::collections::BTreeMap;

use crate::fact::record::FIELD_BYTES_MAX;
use crate::fact::{Fact, KindNo, Malformed, Tag, Value, WireType};
use crate::varint::{self, VarintError};

/// More facts than this are smaller as columns; and a reader makes no more of a few bytes.
pub(super) const FOLLOWING_MAX: usize = 16;

/// Bytes that are no facts after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFollowing {
    /// The reader has no fact that they follow.
    #[error("they say what differs from a fact that did not come before them")]
    NothingBefore,
    /// More than are written so.
    #[error("{0} facts are written as differences: at most {FOLLOWING_MAX} may be")]
    TooMany(u64),
    /// A fact would not be in its one legal form.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Bytes follow the last fact.
    #[error("bytes follow the last fact")]
    Trailing,
}

impl From<VarintError> for BadFollowing {
    fn from(error: VarintError) -> Self {
        Self::Malformed(error.into())
    }
}

/// Appends facts; at most [`FOLLOWING_MAX`].
pub(super) fn write(before: &Fact, facts: &[Fact], out: &mut Vec<u8>) {
    assert!(facts.len() <= FOLLOWING_MAX, "more facts go as columns");
    let mut before = before;
    for fact in facts {
        write_one(before, fact, out);
        before = fact;
    }
}

/// Reads exactly `count` facts.
pub(super) fn read(
    before: Option<&Fact>,
    count: u64,
    mut input: &[u8],
) -> Result<Vec<Fact>, BadFollowing> {
    let before = before.ok_or(BadFollowing::NothingBefore)?;
    if count > FOLLOWING_MAX as u64 {
        return Err(BadFollowing::TooMany(count));
    }
    let mut facts: Vec<Fact> = Vec::new();
    for _ in 0..count {
        let fact = read_one(facts.last().unwrap_or(before), &mut input)?;
        facts.push(fact);
    }
    if input.is_empty() { Ok(facts) } else { Err(BadFollowing::Trailing) }
}

fn write_one(before: &Fact, fact: &Fact, out: &mut Vec<u8>) {
    let mut others: BTreeMap<u16, Value<'_>> = BTreeMap::new();
    others.extend(fact.fields().map(|(tag, value)| (tag.number, value)));
    let kind_differs = fact.kind_no() != before.kind_no();
    let (mut marks, mut values) = (vec![kind_differs], Vec::new());
    if kind_differs {
        varint::write_unsigned(&mut values, fact.kind_no().0.into());
    }
    for (tag, was) in before.fields() {
        let is = others.get(&tag.number).copied().filter(|is| is.wire() == tag.wire);
        if is.is_some() {
            others.remove(&tag.number);
        }
        marks.push(is != Some(was));
        if is != Some(was) {
            write_difference(was, is, &mut values);
        }
    }
    marks.push(!others.is_empty());
    if !others.is_empty() {
        varint::write_unsigned(&mut values, others.len() as u64);
        for (number, value) in others {
            varint::write_unsigned(&mut values, Tag { number, wire: value.wire() }.code());
            value.write(&mut values);
        }
    }
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    out.extend(marks.chunks(8).map(byte));
    out.append(&mut values);
}

fn write_difference(was: Value<'_>, is: Option<Value<'_>>, out: &mut Vec<u8>) {
    match (was, is) {
        (Value::Unsigned(was), Some(Value::Unsigned(is))) => {
            varint::write_signed(out, is.cast_signed() - was.cast_signed());
        }
        (Value::Signed(was), Some(Value::Signed(is))) => varint::write_signed(out, is - was),
        (Value::Bytes(_), Some(value @ Value::Bytes(_))) => value.write(out),
        _ => out.push(0),
    }
}

fn read_one<'a, 'b: 'a>(before: &'a Fact, input: &mut &'b [u8]) -> Result<Fact, BadFollowing> {
    let known: Vec<_> = before.fields().collect();
    let length = (known.len() + 2).div_ceil(8);
    let (marks, rest) = input.split_at_checked(length).ok_or(Malformed::Truncated)?;
    *input = rest;
    let is_marked = |place: usize| marks[place / 8] >> (place % 8) & 1 == 1;
    let kind = if is_marked(0) {
        let kind = u16::try_from(varint::read_unsigned(input)?).map_err(|_| Malformed::BadKind)?;
        KindNo(Some(kind).filter(|kind| *kind != 0).ok_or(Malformed::BadKind)?)
    } else {
        before.kind_no()
    };
    let mut fields: BTreeMap<u16, Value<'_>> = BTreeMap::new();
    for (place, (tag, was)) in (1..).zip(&known) {
        let is = if is_marked(place) { read_difference(*was, input)? } else { Some(*was) };
        fields.extend(is.map(|is| (tag.number, is)));
    }
    if is_marked(known.len() + 1) {
        for _ in 0..varint::read_unsigned(input)? {
            let code = varint::read_unsigned(input)?;
            let tag = Tag::from_code(code).ok_or(Malformed::BadTag)?;
            if fields.insert(tag.number, read_value(tag.wire, input)?).is_some() {
                return Err(Malformed::NotAscending.into());
            }
        }
    }
    let mut fact = Fact::with_number(kind);
    for (number, value) in fields {
        fact.push(number, value)?;
    }
    Ok(fact)
}

/// The value now; `None` where the field is gone.
fn read_difference<'a, 'b: 'a>(
    was: Value<'a>,
    input: &mut &'b [u8],
) -> Result<Option<Value<'a>>, BadFollowing> {
    if let Value::Bytes(_) = was {
        let is = read_bytes(input)?;
        return Ok(Some(is).filter(|is| !is.is_empty()).map(Value::Bytes));
    }
    let difference = varint::unzigzag(varint::read_raw(input)?);
    if difference == 0 {
        return Ok(None);
    }
    let too_large = || Malformed::Varint(VarintError::TooLarge);
    // What `push` checks is smaller; this is so that no sum wraps.
    let value = match was {
        Value::Unsigned(was) => was.checked_add_signed(difference).map(Value::Unsigned),
        Value::Signed(was) => was.checked_add(difference).map(Value::Signed),
        Value::Bytes(_) => None,
    };
    Ok(Some(value.ok_or_else(too_large)?))
}

fn read_value<'a>(wire: WireType, input: &mut &'a [u8]) -> Result<Value<'a>, BadFollowing> {
    Ok(match wire {
        WireType::Unsigned => Value::Unsigned(varint::read_unsigned(input)?),
        WireType::Signed => Value::Signed(varint::read_signed(input)?),
        WireType::Bytes => Value::Bytes(read_bytes(input)?),
    })
}

fn read_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], BadFollowing> {
    let length = usize::try_from(varint::read_unsigned(input)?).ok();
    let length = length.filter(|length| *length <= FIELD_BYTES_MAX).ok_or(Malformed::TooLarge)?;
    let (bytes, rest) = input.split_at_checked(length).ok_or(Malformed::Truncated)?;
    *input = rest;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Kind;
    use crate::fact::generated::{self, Chance};

    fn bytes_of(before: &Fact, facts: &[Fact]) -> Vec<u8> {
        let mut out = Vec::new();
        write(before, facts, &mut out);
        out
    }

    fn fact(kind: Kind, fields: &[(u16, Value<'_>)]) -> Fact {
        let mut fact = Fact::new(kind);
        for (number, value) in fields {
            fact.push(*number, *value).expect("legal");
        }
        fact
    }

    #[test]
    fn what_differs_is_written() {
        type Fields<'a> = &'a [(u16, Value<'a>)];
        let (unsigned, signed) = (Value::Unsigned, Value::Signed);
        let text = |text: &'static str| Value::Bytes(text.as_bytes());
        let before = fact(
            Kind::Receipt,
            &[(1, unsigned(7)), (3, signed(-4)), (5, text("A")), (9, unsigned(2))],
        );
        let cases: [(Kind, Fields<'_>, &[u8]); 5] = [
            (
                Kind::Receipt,
                &[(1, unsigned(7)), (3, signed(-4)), (5, text("A")), (9, unsigned(2))],
                &[0],
            ),
            // Numbers by their difference, bytes as they are.
            (
                Kind::Receipt,
                &[(1, unsigned(8)), (3, signed(-6)), (5, text("BC")), (9, unsigned(2))],
                &[0b0000_1110, 2, 3, 2, b'B', b'C'],
            ),
            // One is gone, one is new.
            (
                Kind::Receipt,
                &[(1, unsigned(7)), (3, signed(-4)), (5, text("A")), (6, unsigned(1))],
                &[0b0011_0000, 0, 1, 6 << 2, 1],
            ),
            // Of another type: gone, and new.
            (
                Kind::Issue,
                &[(1, signed(1)), (3, signed(-4)), (5, text("A")), (9, unsigned(2))],
                &[0b0010_0011, 2, 0, 1, 1 << 2 | 1, 2],
            ),
            (Kind::Receipt, &[], &[0b0001_1110, 0, 0, 0, 0]),
        ];
        for (kind, fields, expected) in cases {
            let fact = fact(kind, fields);
            let mut expected = expected.to_vec();
            if kind == Kind::Issue {
                expected[1] = u8::try_from(Kind::Issue.number().0).expect("small");
            }
            assert_eq!(bytes_of(&before, std::slice::from_ref(&fact)), expected, "{fact:?}");
            assert_eq!(read(Some(&before), 1, &expected), Ok(vec![fact]));
        }
    }

    #[test]
    fn any_facts_come_back() {
        let text = generated::text();
        for seed in 0..60 {
            let mut chance = Chance::new(seed);
            let mut facts = vec![Fact::new(Kind::Count)];
            for _ in 0..FOLLOWING_MAX {
                let mut next = facts.last().expect("there is one").clone();
                for _ in 0..chance.below(6) {
                    // A value that would make it too large leaves it as it was.
                    let _legal = next.set(chance.number(), chance.value(&text));
                }
                facts.push(next);
            }
            facts.push(Fact::new(Kind::Receipt));
            let facts = &facts[facts.len() - FOLLOWING_MAX - 1..];
            let bytes = bytes_of(&facts[0], &facts[1..]);
            let count = FOLLOWING_MAX as u64;
            assert_eq!(read(Some(&facts[0]), count, &bytes).as_deref(), Ok(&facts[1..]));
            for cut in (0..bytes.len()).step_by(11) {
                assert!(read(Some(&facts[0]), count, &bytes[..cut]).is_err(), "cut at {cut}");
            }
            // Whatever somebody makes of them, facts that come out are legal.
            for _ in 0..40 {
                let mut changed = bytes.clone();
                let length = changed.len() as u64;
                let place = usize::try_from(chance.below(length)).expect("small");
                changed[place] =
                    changed[place].wrapping_add(chance.below(255).to_le_bytes()[0] + 1);
                for fact in read(Some(&facts[0]), count, &changed).into_iter().flatten() {
                    assert_eq!(Fact::decode(&mut fact.to_bytes().as_slice()), Ok(fact));
                }
            }
        }
    }

    #[test]
    fn what_can_not_be_is_said() {
        let before = Fact::new(Kind::Receipt);
        let bytes = bytes_of(&before, &[before.clone(), before.clone()]);
        assert_eq!(read(None, 2, &bytes), Err(BadFollowing::NothingBefore));
        assert_eq!(read(Some(&before), 1, &bytes), Err(BadFollowing::Trailing));
        let many = FOLLOWING_MAX as u64 + 1;
        assert_eq!(read(Some(&before), many, &[0; 40]), Err(BadFollowing::TooMany(many)));
        let again = [0b10, 1, 0];
        assert_eq!(
            read(Some(&before), 1, &again),
            Err(BadFollowing::Malformed(Malformed::BadTag)),
            "field 0"
        );
    }
}
