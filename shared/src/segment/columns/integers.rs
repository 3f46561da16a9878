//! Columns of integers: plain, constant or differences.

use super::{ColumnsError, ValueForm, read_varint};
use crate::varint::{self, VarintError, unzigzag, zigzag};

/// The length of the values in plain form and the one legal form.
pub(super) fn measure(values: &[i64], signed: bool) -> (usize, ValueForm) {
    let (mut plain, mut differences, mut before) = (0, 0, 0);
    let mut equal = true;
    for &value in values {
        plain += plain_len(value, signed);
        differences += varint::encoded_len(zigzag(value - before));
        equal &= value == values[0];
        before = value;
    }
    let form = match values.len() {
        2.. if equal => ValueForm::Constant,
        _ if differences < plain => ValueForm::Related,
        _ => ValueForm::Plain,
    };
    (plain, form)
}

fn plain_len(value: i64, signed: bool) -> usize {
    varint::encoded_len(if signed { zigzag(value) } else { value.cast_unsigned() })
}

pub(super) fn write(values: &[i64], signed: bool, form: ValueForm, out: &mut Vec<u8>) {
    let plain = |value: i64, out: &mut Vec<u8>| {
        varint::write_unsigned(out, if signed { zigzag(value) } else { value.cast_unsigned() });
    };
    match form {
        ValueForm::Plain => values.iter().for_each(|value| plain(*value, out)),
        ValueForm::Constant => plain(values[0], out),
        ValueForm::Related => {
            let mut before = 0;
            for &value in values {
                varint::write_signed(out, value - before);
                before = value;
            }
        }
    }
}

/// Appends `count` values and gives their length in plain form.
pub(super) fn read(
    count: usize,
    signed: bool,
    form: ValueForm,
    input: &mut &[u8],
    values: &mut Vec<i64>,
) -> Result<usize, ColumnsError> {
    let start = values.len();
    match form {
        ValueForm::Plain => {
            for _ in 0..count {
                values.push(read_plain(signed, input)?);
            }
        }
        ValueForm::Constant => {
            let value = read_plain(signed, input)?;
            values.extend(std::iter::repeat_n(value, count));
        }
        ValueForm::Related => {
            let mut before = 0;
            for _ in 0..count {
                // Both are far below 2^62, so the sum can't overflow.
                before += unzigzag(read_varint(input)?);
                values.push(within_limit(before, signed)?);
            }
        }
    }
    let (plain, legal) = measure(&values[start..], signed);
    if form == legal { Ok(plain) } else { Err(ColumnsError::NotShortest) }
}

fn read_plain(signed: bool, input: &mut &[u8]) -> Result<i64, ColumnsError> {
    let raw = read_varint(input)?;
    within_limit(if signed { unzigzag(raw) } else { raw.cast_signed() }, signed)
}

fn within_limit(value: i64, signed: bool) -> Result<i64, ColumnsError> {
    let fits = value.unsigned_abs() < varint::LIMIT && (signed || value >= 0);
    if fits { Ok(value) } else { Err(ColumnsError::Number(VarintError::TooLarge)) }
}
