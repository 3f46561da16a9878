//! Canonical columns: facts transposed, one column per field, uncompressed. Knows the form of
//! fields and nothing of their meaning, so kinds and fields of later versions go through unchanged.
//! Invariant: facts and columns stand for each other one to one; [`decode`] takes only what
//! [`encode`] writes.
//!
//! ```text
//! columns = version (1 byte), count of facts, kind column, field columns by rising tag
//! column  = head, presence, values
//! head    = (((number - number before) x 3 + wire type) x 4 + presence form) x 3 + value form
//! ```
//!
//! Of the forms that say the same, the shortest is the legal one, and of equally short ones that
//! with the lowest number. `FORMAT.md` has every byte.

mod bytes;
mod decode;
mod encode;
mod integers;
mod presence;

pub use decode::{decode, split};
pub use encode::encode;

use crate::fact::{Tag, WireType};
use crate::varint::{self, VarintError, Word};

/// The version that columns begin with.
pub const VERSION: u8 = 1;

/// More bytes than the columns of any legal segment have: a limit for readers.
pub const COLUMNS_BYTES_MAX: usize = 4 * super::SEGMENT_BYTES_MAX;

/// The tag of the column of kinds, which no field has.
const KINDS: Tag = Tag { number: 0, wire: WireType::Unsigned };

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueForm {
    /// One after the other.
    Plain = 0,
    /// One for all of them.
    Constant = 1,
    /// Integers: differences. Bytes: a dictionary and places in it.
    Related = 2,
}

/// How a column says which facts have the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PresenceForm {
    /// All of them.
    All = 0,
    /// The same as in the column before.
    AsBefore = 1,
    /// A bit each.
    Bitmap = 2,
    /// Lengths of runs, absent first.
    Runs = 3,
}

/// What a column starts with.
#[derive(Clone, Copy, Debug)]
struct ColumnHead {
    number: u16,
    wire: WireType,
    presence: PresenceForm,
    values: ValueForm,
}

impl ColumnHead {
    fn write(self, before: u16, out: &mut Vec<u8>) {
        let step = u64::from(self.number - before);
        let code = (step * 3 + self.wire as u64) * 4 + self.presence as u64;
        varint::write_unsigned(out, code * 3 + self.values as u64);
    }

    fn read(before: u16, input: &mut &[u8]) -> Result<Self, ColumnsError> {
        let code = varint::read_raw(input)?;
        let number = u16::try_from(code / 36)
            .ok()
            .and_then(|step| before.checked_add(step))
            .ok_or(ColumnsError::BadField)?;
        Ok(Self {
            number,
            wire: WireType::from_number(code / 12 % 3).expect("a rest of 3 is a wire type"),
            presence: match code / 3 % 4 {
                0 => PresenceForm::All,
                1 => PresenceForm::AsBefore,
                2 => PresenceForm::Bitmap,
                _ => PresenceForm::Runs,
            },
            values: match code % 3 {
                0 => ValueForm::Plain,
                1 => ValueForm::Constant,
                _ => ValueForm::Related,
            },
        })
    }

    const fn tag(self) -> Tag {
        Tag { number: self.number, wire: self.wire }
    }
}

/// Bytes that are no columns in their one legal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// Columns of a later version.
    #[error("columns of version {0} are not known: update the program")]
    UnknownVersion(u8),
    /// The bytes end inside a column.
    #[error("the bytes end inside a column")]
    Truncated,
    /// A number has no legal form or is out of range.
    #[error("{0}")]
    Number(#[from] VarintError),
    /// More facts than a segment may have.
    #[error("a segment of {0} facts is over the limit of 4,096")]
    TooManyFacts(u64),
    /// Facts, a fact or a field over their limits.
    #[error("a fact of a segment is over 1,024 bytes or a field over 512")]
    TooLarge,
    /// The kind column is not the first, or a kind is 0 or over 16 bits.
    #[error("the kind column is missing or has no legal kind")]
    BadKind,
    /// A field of number 0 or over 16 bits, or columns that do not ascend.
    #[error("columns are not in ascending order of legal fields")]
    BadField,
    /// Run lengths that do not add up, or bits beyond the last fact.
    #[error("a column says of more or fewer facts than there are whether they have the field")]
    BadPresence,
    /// A column without values.
    #[error("a column has no values: it should be absent")]
    EmptyColumn,
    /// A field of bytes is empty; it should be absent.
    #[error("a field of bytes is empty instead of absent")]
    EmptyField,
    /// A dictionary that repeats an entry, has one unused, or is not in order of first use.
    #[error("a dictionary is not the distinct values in order of first use")]
    BadDictionary,
    /// A shorter form says the same.
    #[error("a column is not in its shortest form")]
    NotShortest,
    /// One fact has a number twice, with two wire types.
    #[error("a fact has one field twice")]
    FieldTwice,
}

/// Takes `count` shortest varints off the front of `input`, one after the other.
#[inline]
fn read_varints(
    count: usize,
    input: &mut &[u8],
    mut take: impl FnMut(u64) -> Result<(), ColumnsError>,
) -> Result<(), ColumnsError> {
    let mut left = count;
    while left > 0 {
        // Eight of one byte each, as they often come.
        if left >= 8
            && let Some((bytes, rest)) = input.split_first_chunk()
            && u64::from_le_bytes(*bytes) & Word::CONTINUED == 0
        {
            bytes.iter().try_for_each(|byte| take(u64::from(*byte)))?;
            *input = rest;
            left -= 8;
        } else {
            take(varint::read_raw(input)?)?;
            left -= 1;
        }
    }
    Ok(())
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], ColumnsError> {
    let (taken, rest) = input.split_at_checked(length).ok_or(ColumnsError::Truncated)?;
    *input = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::record::FACT_BYTES_MAX;
    use crate::fact::{Fact, KindNo, Value, generated};

    fn fact(kind: u16, fields: &[(u16, Value<'_>)]) -> Fact {
        let mut fact = Fact::with_number(KindNo(kind));
        for (number, value) in fields {
            fact.push(*number, *value).expect("a legal field");
        }
        fact
    }

    fn unsigned(value: u64) -> Value<'static> {
        Value::Unsigned(value)
    }

    fn signed(value: i64) -> Value<'static> {
        Value::Signed(value)
    }

    fn text(value: &str) -> Value<'_> {
        Value::from(value.as_bytes())
    }

    /// Facts of one kind, each with the value that `value` gives it, if any.
    fn one_column<'a>(count: usize, value: impl Fn(usize) -> Option<Value<'a>>) -> Vec<Fact> {
        let fields = |index| value(index).map(|value| (1, value)).into_iter().collect::<Vec<_>>();
        (0..count).map(|index| fact(1, &fields(index))).collect()
    }

    /// What stands after version, count and kinds.
    fn field_bytes(facts: &[Fact]) -> Vec<u8> {
        let columns = encode(facts);
        assert_eq!(decode(&columns).as_deref(), Ok(facts));
        let parts = split(&columns).expect("just written");
        assert_eq!(parts.concat(), columns);
        parts[1..].concat()
    }

    #[test]
    fn one_fact_takes_a_byte_more_for_each_field() {
        let facts = [fact(1, &[(1, unsigned(5)), (3, signed(-1)), (14, text("EA"))])];
        #[rustfmt::skip]
        let expected = [
            1, 1, // version, count
            0, 1, // kind: plain, 1
            36, 5, // field 1, unsigned, all, plain
            84, 1, // 2 further, signed
            0xa4, 0x03, 2, b'E', b'A', // 11 further, bytes
        ];
        assert_eq!(encode(&facts), expected);
        assert_eq!(decode(&expected).as_deref(), Ok(facts.as_slice()));
        assert_eq!((encode(&[]), decode(&[1, 0])), (vec![1, 0], Ok(Vec::new())));
        assert_eq!(split(&[1, 0]), Ok(vec![[1, 0].as_slice()]));
    }

    #[test]
    fn values_take_the_shortest_form() {
        let column = |values: &[Value<'_>]| {
            field_bytes(&one_column(values.len(), |index| Some(values[index])))
        };
        let head = |wire: u8, form: u8| (3 + wire) * 12 + form;
        assert_eq!(column(&[unsigned(7), unsigned(7)]), [head(0, 1), 7]);
        assert_eq!(column(&[unsigned(7), unsigned(8)]), [head(0, 0), 7, 8]);
        assert_eq!(column(&[unsigned(300), unsigned(301)]), [head(0, 2), 0xd8, 0x04, 2]);
        assert_eq!(column(&[signed(300), signed(299)]), [head(1, 2), 0xd8, 0x04, 1]);
        assert_eq!(column(&[text("A"), text("A")]), [head(2, 1), 1, b'A']);
        assert_eq!(column(&[text("A"), text("B")]), [head(2, 0), 1, 1, b'A', b'B']);
        let repeated = [text("AB"), text("CD"), text("CD"), text("AB")];
        let expected = [head(2, 2), 2, 2, 2, b'A', b'B', b'C', b'D', 0, 1, 1, 0];
        assert_eq!(column(&repeated), expected);
    }

    #[test]
    fn presence_takes_the_shortest_form() {
        let column = |count, present: &dyn Fn(usize) -> bool| {
            field_bytes(&one_column(count, |index| {
                present(index).then(|| unsigned(index as u64 % 2))
            }))
        };
        assert_eq!(column(3, &|index| index != 1), [42 + 1, 0b101, 0]);
        let last = column(20, &|index| index == 19);
        assert_eq!(last, [45, 19, 1, 1], "runs of absent, present");
        let first = column(20, &|index| index == 0);
        assert_eq!(first, [42, 1, 0, 0, 0], "runs are no shorter");
        let both = [
            fact(1, &[(1, unsigned(1)), (2, signed(1))]),
            fact(1, &[]),
            fact(1, &[(1, unsigned(2)), (2, signed(2))]),
        ];
        assert_eq!(field_bytes(&both), [42, 0b101, 1, 2, 51, 2, 4], "the second as the first");
        for count in [1, 63, 64, 65, 127, 128, 129, 1_000, SEGMENT_FACTS] {
            for step in [1, 2, 3, 63, 64, 65, 200, 5_000] {
                column(count, &|index| index % step == 0);
                column(count, &|index| index % step != 0 || index == 0);
                column(count, &|index| index / step % 2 == 0);
                column(count, &|index| index + 1 == count);
            }
        }
    }

    const SEGMENT_FACTS: usize = crate::segment::SEGMENT_FACTS_MAX;

    #[test]
    fn one_number_with_two_wire_types_is_two_columns() {
        let facts = [
            fact(9_000, &[(60_000, unsigned(1))]),
            fact(9_001, &[(60_000, text("x"))]),
            fact(9_002, &[(60_000, signed(-1)), (65_535, unsigned(varint::LIMIT - 1))]),
        ];
        let columns = encode(&facts);
        assert_eq!(decode(&columns).as_deref(), Ok(facts.as_slice()));
        assert_eq!(split(&columns).map(|parts| parts.len()), Ok(5));
    }

    #[test]
    fn more_columns_than_a_byte_counts() {
        // Each number with each wire type, in other facts each time.
        let fields = |shift: u16| {
            (1..=127).map(move |number| match (number + shift) % 3 {
                0 => (number, unsigned(number.into())),
                1 => (number, signed(-i64::from(number))),
                _ => (number, text("x")),
            })
        };
        let facts: Vec<_> =
            (0..6).map(|shift| fact(1, &fields(shift).collect::<Vec<_>>())).collect();
        let columns = encode(&facts);
        assert_eq!(split(&columns).map(|parts| parts.len()), Ok(1 + 3 * 127));
        assert_eq!(decode(&columns), Ok(facts));
    }

    #[test]
    fn facts_of_every_length_come_out_as_they_went_in() {
        let long = "x".repeat(120);
        let facts: Vec<_> = (1..=120)
            .map(|length| {
                let fields = [
                    (7, signed(-1)),
                    (8, text(&long[..length])),
                    (9, unsigned(varint::LIMIT - 1)),
                    (31, unsigned(300)),
                    (5_000, signed(1 - varint::LIMIT.cast_signed())),
                    (5_001, unsigned(5)),
                ];
                fact(1, &fields)
            })
            .collect();
        let columns = encode(&facts);
        assert_eq!(decode(&columns).as_deref(), Ok(facts.as_slice()));
        for fact in facts {
            assert_eq!(decode(&encode(std::slice::from_ref(&fact))), Ok(vec![fact]));
        }
    }

    #[test]
    fn any_facts_come_out_as_they_went_in() {
        for seed in 0..200 {
            let facts: Vec<_> =
                (0..seed % 80).map(|step| generated::fact(seed << 8 | step)).collect();
            let columns = encode(&facts);
            assert_eq!(decode(&columns), Ok(facts), "seed {seed}");
        }
    }

    #[test]
    fn the_largest_segment_fits() {
        let large = |seed: u16| {
            let [low, high] = seed.to_le_bytes();
            let noise = |place: u8| low.wrapping_mul(place) ^ high.wrapping_add(place);
            let bytes: Vec<_> = (0..=255).chain(0..=255).map(noise).collect();
            let mut fact = fact(seed + 1, &[(1, Value::from(bytes.as_slice()))]);
            let rest = FACT_BYTES_MAX - fact.encoded_len() - 3;
            fact.push(2, Value::from(&bytes[..rest])).expect("a legal field");
            fact
        };
        let facts: Vec<_> = (0..4_096).map(large).collect();
        let bytes: usize = facts.iter().map(Fact::encoded_len).sum();
        assert_eq!(bytes, crate::segment::SEGMENT_BYTES_MAX);
        let columns = encode(&facts);
        assert!(columns.len() < COLUMNS_BYTES_MAX);
        assert_eq!(decode(&columns), Ok(facts));
    }

    fn with_count(count: u64, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        varint::write_unsigned(&mut bytes, count);
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one line per case")]
    fn other_forms_are_refused() {
        let kind = |rest: &[u8]| [&[1, 1][..], rest].concat();
        let cases: Vec<(&str, Vec<u8>, ColumnsError)> = vec![
            ("nothing", vec![], ColumnsError::Truncated),
            ("version", vec![2, 0], ColumnsError::UnknownVersion(2)),
            ("no count", vec![1], ColumnsError::Number(VarintError::Truncated)),
            ("4,097 facts", with_count(4_097, &[1, 1]), ColumnsError::TooManyFacts(4_097)),
            ("no facts, a column", with_count(0, &[1, 1]), ColumnsError::BadKind),
            ("no kinds", with_count(1, &[]), ColumnsError::Number(VarintError::Truncated)),
            ("kinds with a number", with_count(1, &[36, 1]), ColumnsError::BadKind),
            ("signed kinds", with_count(1, &[12, 1]), ColumnsError::BadKind),
            ("kinds with a bitmap", with_count(1, &[6, 1, 1]), ColumnsError::BadKind),
            ("kind 0", with_count(1, &[0, 0]), ColumnsError::BadKind),
            ("kind 65,536", with_count(1, &[0, 0x80, 0x80, 4]), ColumnsError::BadKind),
            ("equal kinds, plain", with_count(2, &[0, 1, 1]), ColumnsError::NotShortest),
            ("one kind, constant", with_count(1, &[1, 1]), ColumnsError::NotShortest),
            ("field 0", with_count(2, &kind(&[12, 1, 2])), ColumnsError::BadField),
            ("a field again", with_count(2, &kind(&[36, 1, 2, 0, 1, 2])), ColumnsError::BadField),
            (
                "field 65,536",
                with_count(2, &kind(&[0x80, 0x80, 0x90, 1, 1, 2])),
                ColumnsError::BadField,
            ),
            ("nobody's field", with_count(2, &kind(&[42, 0])), ColumnsError::EmptyColumn),
            ("a third of two", with_count(2, &kind(&[42, 5, 1])), ColumnsError::BadPresence),
            ("as kinds", with_count(2, &kind(&[39, 1, 2])), ColumnsError::NotShortest),
            ("bitmap of all", with_count(2, &kind(&[42, 3, 1, 2])), ColumnsError::NotShortest),
            (
                "bitmap as before",
                with_count(3, &kind(&[42, 5, 1, 2, 54, 5, 1, 2])),
                ColumnsError::NotShortest,
            ),
            (
                "bitmap over runs",
                with_count(20, &kind(&[42, 0, 0, 8, 1])),
                ColumnsError::NotShortest,
            ),
            (
                "runs over bitmap",
                with_count(3, &kind(&[45, 0, 1, 1, 1, 1, 2])),
                ColumnsError::NotShortest,
            ),
            ("runs too long", with_count(20, &kind(&[45, 19, 2, 1, 1])), ColumnsError::BadPresence),
            (
                "an empty run",
                with_count(20, &kind(&[45, 9, 0, 10, 1, 1])),
                ColumnsError::BadPresence,
            ),
            ("constant of one", with_count(20, &kind(&[46, 19, 1, 1])), ColumnsError::NotShortest),
            (
                "differences no shorter",
                with_count(2, &kind(&[38, 2, 2])),
                ColumnsError::NotShortest,
            ),
            (
                "plain over differences",
                with_count(2, &kind(&[36, 0xac, 2, 0xad, 2])),
                ColumnsError::NotShortest,
            ),
            (
                "below 0",
                with_count(2, &kind(&[38, 2, 5])),
                ColumnsError::Number(VarintError::TooLarge),
            ),
            (
                "a long number",
                with_count(2, &kind(&[37, 0x80, 0])),
                ColumnsError::Number(VarintError::NotShortest),
            ),
            ("an empty text", with_count(2, &kind(&[61, 0])), ColumnsError::EmptyField),
            ("a cut text", with_count(2, &kind(&[61, 2, 65])), ColumnsError::Truncated),
            ("a text of 513", with_count(2, &kind(&[61, 0x81, 0x04, 65])), ColumnsError::TooLarge),
            ("no entries", with_count(2, &kind(&[62, 0, 0, 0])), ColumnsError::BadDictionary),
            (
                "an entry twice",
                with_count(3, &kind(&[62, 2, 1, 1, 65, 65, 0, 1, 0])),
                ColumnsError::BadDictionary,
            ),
            (
                "an entry unused",
                with_count(3, &kind(&[62, 2, 1, 1, 65, 66, 0, 0, 0])),
                ColumnsError::BadDictionary,
            ),
            (
                "entries out of order",
                with_count(3, &kind(&[62, 2, 1, 1, 65, 66, 1, 0, 0])),
                ColumnsError::BadDictionary,
            ),
            (
                "entries out of order, all used",
                with_count(3, &kind(&[62, 2, 4, 4, 65, 65, 65, 65, 66, 66, 66, 66, 1, 0, 1])),
                ColumnsError::BadDictionary,
            ),
            (
                "no such entry",
                with_count(3, &kind(&[62, 1, 1, 65, 0, 1, 0])),
                ColumnsError::BadDictionary,
            ),
            (
                "dictionary no shorter",
                with_count(2, &kind(&[62, 2, 1, 1, 65, 66, 0, 1])),
                ColumnsError::NotShortest,
            ),
            (
                "a field twice",
                with_count(2, &kind(&[36, 1, 2, 12, 1, 2])),
                ColumnsError::FieldTwice,
            ),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(decode(&bytes), Err(expected), "{name}: {bytes:?}");
        }
    }

    #[test]
    fn little_bytes_never_stand_for_many() {
        // Three constant fields of 512 bytes for 4,096 facts: 6 MiB of facts.
        let text = |form: u8| [&[60 + form, 0x80, 0x04][..], &[65; 512]].concat();
        let mut fields = [vec![1, 1], text(1), text(1), text(1)].concat();
        assert_eq!(decode(&with_count(4_096, &fields)), Err(ColumnsError::TooLarge));
        // Refused at once, not after the rest is read.
        fields.extend_from_slice(&[0, 0, 0]);
        assert_eq!(decode(&with_count(4_096, &fields)), Err(ColumnsError::TooLarge));
        // Two fields of 512 bytes make a fact over 1,024.
        let fields = [vec![0, 1], text(0), text(0)].concat();
        assert_eq!(decode(&with_count(1, &fields)), Err(ColumnsError::TooLarge));
        // Every legal field, present in all facts.
        let mut fields = vec![1, 1];
        (0..65_535).for_each(|_| fields.extend_from_slice(&[37, 1]));
        assert_eq!(decode(&with_count(4_096, &fields)), Err(ColumnsError::TooLarge));
        assert_eq!(decode(&vec![1; COLUMNS_BYTES_MAX + 1]), Err(ColumnsError::TooLarge));
    }
}
