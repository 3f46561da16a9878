//! Columns of bytes: plain, constant, or a dictionary in order of first use.

#![expect(
    clippy::cast_possible_truncation,
    reason = "counts and lengths are checked against limits before they are cast"
)]

use std::collections::BTreeMap;

use super::{ColumnsError, ValueForm, read_varints, take};
use crate::fact::record::FIELD_BYTES_MAX;
use crate::varint;

/// Distinct values in order of first use, and each value's place among them; empty for less than two
/// values, where it is never shorter.
#[derive(Default)]
pub(super) struct Dictionary<'a> {
    entries: Vec<&'a [u8]>,
    places: Vec<u16>,
}

impl<'a> Dictionary<'a> {
    pub(super) fn of(values: &[&'a [u8]]) -> Self {
        if values.len() < 2 {
            return Self::default();
        }
        let mut known = Known::default();
        let mut dictionary = Self { entries: Vec::new(), places: Vec::with_capacity(values.len()) };
        for value in values {
            dictionary.places.push(known.place(value, &mut dictionary.entries));
        }
        dictionary
    }

    fn encoded_len(&self) -> usize {
        let places = self.places.iter().map(|place| varint::encoded_len((*place).into()));
        varint::encoded_len(self.entries.len() as u64)
            + plain_len(&self.entries)
            + places.sum::<usize>()
    }

    /// The length of the values in plain form and the one legal form.
    pub(super) fn measure(&self, values: &[&[u8]]) -> (usize, ValueForm) {
        let plain = plain_len(values);
        let form = match values.len() {
            2.. if self.entries.len() == 1 => ValueForm::Constant,
            2.. if self.encoded_len() < plain => ValueForm::Related,
            _ => ValueForm::Plain,
        };
        (plain, form)
    }

    pub(super) fn write(&self, values: &[&[u8]], form: ValueForm, out: &mut Vec<u8>) {
        match form {
            ValueForm::Plain => write_plain(values, out),
            ValueForm::Constant => write_plain(&values[..1], out),
            ValueForm::Related => {
                varint::write_unsigned(out, self.entries.len() as u64);
                write_plain(&self.entries, out);
                for place in &self.places {
                    varint::write_unsigned(out, (*place).into());
                }
            }
        }
    }
}

/// How many marks tell values apart at first sight.
const MARKS: usize = 64;

/// The places of entries by value. Most values were used a moment ago, so they are looked for among
/// the last ones first.
struct Known<'a> {
    by_value: BTreeMap<&'a [u8], u16>,
    /// The last entry of each mark.
    last: [u16; MARKS],
}

impl Default for Known<'_> {
    fn default() -> Self {
        Self { by_value: BTreeMap::new(), last: [0; MARKS] }
    }
}

impl<'a> Known<'a> {
    /// The place of a value; one that is new goes to the end.
    fn place(&mut self, value: &'a [u8], entries: &mut Vec<&'a [u8]>) -> u16 {
        let last = &mut self.last[Self::mark(value)];
        if entries.get(usize::from(*last)).is_some_and(|entry| *entry == value) {
            return *last;
        }
        *last = *self.by_value.entry(value).or_insert_with(|| {
            entries.push(value);
            entries.len() as u16 - 1
        });
        *last
    }

    /// Differs for most values that stand in one column: they differ in length or last bytes.
    fn mark(value: &[u8]) -> usize {
        let (end, before) = match value {
            [.., before, end] => (*end, *before),
            [end] => (*end, 0),
            [] => (0, 0),
        };
        (usize::from(end) + usize::from(before) * 10 + value.len()) % MARKS
    }
}

fn plain_len(values: &[&[u8]]) -> usize {
    values.iter().map(|value| value_len(value)).sum()
}

fn value_len(value: &[u8]) -> usize {
    varint::encoded_len(value.len() as u64) + value.len()
}

/// All lengths, then all bytes: lengths repeat, so they pack better on their own.
fn write_plain(values: &[&[u8]], out: &mut Vec<u8>) {
    for value in values {
        varint::write_unsigned(out, value.len() as u64);
    }
    out.extend(values.iter().copied().flatten());
}

/// The values of a column as they are written.
#[derive(Default)]
pub(super) struct Texts<'a> {
    /// Plain: all of them. Constant: the one. Related: the dictionary.
    pub entries: Vec<&'a [u8]>,
    /// Related: the place of each in the dictionary.
    pub places: Vec<u16>,
}

impl Texts<'_> {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
    }
}

/// Reads `count` values into `texts`, which are empty; gives their length in plain form.
pub(super) fn read<'a>(
    count: usize,
    form: ValueForm,
    input: &mut &'a [u8],
    texts: &mut Texts<'a>,
) -> Result<usize, ColumnsError> {
    let (plain, legal) = match form {
        ValueForm::Plain => {
            read_plain(count, input, &mut texts.entries)?;
            let (plain, form) = Dictionary::of(&texts.entries).measure(&texts.entries);
            (plain, form == ValueForm::Plain)
        }
        ValueForm::Constant => {
            read_plain(1, input, &mut texts.entries)?;
            (count * value_len(texts.entries[0]), count > 1)
        }
        ValueForm::Related => {
            let before = input.len();
            let plain = read_dictionary(count, input, texts)?;
            let constant = count > 1 && texts.entries.len() == 1;
            (plain, !constant && before - input.len() < plain)
        }
    };
    if legal { Ok(plain) } else { Err(ColumnsError::NotShortest) }
}

fn read_plain<'a>(
    count: usize,
    input: &mut &'a [u8],
    values: &mut Vec<&'a [u8]>,
) -> Result<(), ColumnsError> {
    let mut lengths = *input;
    for _ in 0..count {
        match varint::read_raw(input)? {
            0 => return Err(ColumnsError::EmptyField),
            length if length > FIELD_BYTES_MAX as u64 => return Err(ColumnsError::TooLarge),
            _ => {}
        }
    }
    for _ in 0..count {
        let length = varint::read_raw(&mut lengths)? as usize;
        values.push(take(input, length)?);
    }
    Ok(())
}

/// The length of the values in plain form.
fn read_dictionary<'a>(
    count: usize,
    input: &mut &'a [u8],
    texts: &mut Texts<'a>,
) -> Result<usize, ColumnsError> {
    let entries_count = varint::read_raw(input)?;
    if entries_count == 0 || entries_count > count as u64 {
        return Err(ColumnsError::BadDictionary);
    }
    read_plain(entries_count as usize, input, &mut texts.entries)?;
    let lengths: Vec<_> = texts.entries.iter().map(|entry| value_len(entry)).collect();
    let (mut used, mut plain) = (0, 0);
    texts.places.reserve(count);
    read_varints(count, input, |place| {
        if place > used || place >= entries_count {
            return Err(ColumnsError::BadDictionary);
        }
        used += u64::from(place == used);
        plain += lengths[place as usize];
        texts.places.push(place as u16);
        Ok(())
    })?;
    let mut sorted = texts.entries.clone();
    sorted.sort_unstable();
    let distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    if used == entries_count && distinct { Ok(plain) } else { Err(ColumnsError::BadDictionary) }
}
