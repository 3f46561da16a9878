//! Columns of bytes: plain, constant, or a dictionary in order of first use.

#![expect(
    clippy::cast_possible_truncation,
    reason = "counts and lengths are checked against limits before they are cast"
)]

use std::collections::BTreeMap;

use super::{ColumnsError, ValueForm, read_varint, take};
use crate::fact::record::FIELD_BYTES_MAX;
use crate::varint;

/// Distinct values in order of first use, and each value's place among them.
pub(super) struct Dictionary<'a> {
    entries: Vec<&'a [u8]>,
    places: Vec<u16>,
}

impl<'a> Dictionary<'a> {
    pub(super) fn of(values: &[&'a [u8]]) -> Self {
        let mut known = BTreeMap::new();
        let mut dictionary = Self { entries: Vec::new(), places: Vec::with_capacity(values.len()) };
        for (index, value) in values.iter().enumerate() {
            // Most values repeat the one before.
            let place = if index > 0 && values[index - 1] == *value {
                dictionary.places[index - 1]
            } else {
                *known.entry(*value).or_insert_with(|| {
                    dictionary.entries.push(value);
                    dictionary.entries.len() as u16 - 1
                })
            };
            dictionary.places.push(place);
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
            _ if self.encoded_len() < plain => ValueForm::Related,
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

fn plain_len(values: &[&[u8]]) -> usize {
    values.iter().map(|value| varint::encoded_len(value.len() as u64) + value.len()).sum()
}

/// All lengths, then all bytes: lengths repeat, so they pack better on their own.
fn write_plain(values: &[&[u8]], out: &mut Vec<u8>) {
    for value in values {
        varint::write_unsigned(out, value.len() as u64);
    }
    out.extend(values.iter().copied().flatten());
}

/// Appends `count` values and gives their length in plain form.
pub(super) fn read<'a>(
    count: usize,
    form: ValueForm,
    input: &mut &'a [u8],
    values: &mut Vec<&'a [u8]>,
) -> Result<usize, ColumnsError> {
    let start = values.len();
    match form {
        ValueForm::Plain => read_plain(count, input, values)?,
        ValueForm::Constant => {
            read_plain(1, input, values)?;
            values.extend(std::iter::repeat_n(values[start], count - 1));
        }
        ValueForm::Related => read_dictionary(count, input, values)?,
    }
    let values = &values[start..];
    let (plain, legal) = Dictionary::of(values).measure(values);
    if form == legal { Ok(plain) } else { Err(ColumnsError::NotShortest) }
}

fn read_plain<'a>(
    count: usize,
    input: &mut &'a [u8],
    values: &mut Vec<&'a [u8]>,
) -> Result<(), ColumnsError> {
    let mut lengths = *input;
    for _ in 0..count {
        match read_varint(input)? {
            0 => return Err(ColumnsError::EmptyField),
            length if length > FIELD_BYTES_MAX as u64 => return Err(ColumnsError::TooLarge),
            _ => {}
        }
    }
    for _ in 0..count {
        let length = read_varint(&mut lengths)? as usize;
        values.push(take(input, length)?);
    }
    Ok(())
}

fn read_dictionary<'a>(
    count: usize,
    input: &mut &'a [u8],
    values: &mut Vec<&'a [u8]>,
) -> Result<(), ColumnsError> {
    let entries_count = read_varint(input)?;
    if entries_count == 0 || entries_count > count as u64 {
        return Err(ColumnsError::BadDictionary);
    }
    let mut entries = Vec::new();
    read_plain(entries_count as usize, input, &mut entries)?;
    let mut used = 0;
    for _ in 0..count {
        let place = read_varint(input)?;
        if place > used || place >= entries_count {
            return Err(ColumnsError::BadDictionary);
        }
        used += u64::from(place == used);
        values.push(entries[place as usize]);
    }
    let mut sorted = entries;
    sorted.sort_unstable();
    let distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    if used == entries_count && distinct { Ok(()) } else { Err(ColumnsError::BadDictionary) }
}
