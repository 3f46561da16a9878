//! Columns of integers: plain, constant or differences.

use super::{ColumnsError, ValueForm, read_varints};
use crate::varint::{self, VarintError, unzigzag, zigzag};

/// The one legal form.
pub(super) fn form(values: &[i64], signed: bool) -> ValueForm {
    if is_constant(values) {
        return ValueForm::Constant;
    }
    let mut plain = LengthSum::default();
    for value in values {
        plain.add(plain_code(*value, signed));
    }
    // Differences take a byte each at least.
    let differ = plain.sum > values.len() && differences_len(values) < plain.sum;
    if differ { ValueForm::Related } else { ValueForm::Plain }
}

fn is_constant(values: &[i64]) -> bool {
    values.len() > 1 && values.iter().all(|value| *value == values[0])
}

fn plain_len(value: i64, signed: bool) -> usize {
    varint::encoded_len(plain_code(value, signed))
}

/// What stands for a value as a varint.
#[inline]
const fn plain_code(value: i64, signed: bool) -> u64 {
    if signed { zigzag(value) } else { value.cast_unsigned() }
}

#[inline]
const fn of_plain_code(code: u64, signed: bool) -> i64 {
    if signed { unzigzag(code) } else { code.cast_signed() }
}

pub(super) fn write(values: &[i64], signed: bool, form: ValueForm, out: &mut Vec<u8>) {
    match form {
        ValueForm::Plain => {
            for &value in values {
                varint::write_unsigned(out, plain_code(value, signed));
            }
        }
        ValueForm::Constant => varint::write_unsigned(out, plain_code(values[0], signed)),
        ValueForm::Related => {
            let mut before = 0;
            for &value in values {
                varint::write_signed(out, value - before);
                before = value;
            }
        }
    }
}

/// Reads `count` values, or the one that stands for all, into `values`, which is empty; gives the
/// length of all in plain form.
pub(super) fn read(
    count: usize,
    signed: bool,
    form: ValueForm,
    input: &mut &[u8],
    values: &mut Vec<i64>,
) -> Result<usize, ColumnsError> {
    let (plain, legal) = match form {
        ValueForm::Plain => read_plain(count, signed, input, values)?,
        ValueForm::Constant => {
            let value = read_value(signed, input)?;
            values.push(value);
            (count * plain_len(value, signed), count > 1)
        }
        ValueForm::Related => read_differences(count, signed, input, values)?,
    };
    if legal { Ok(plain) } else { Err(ColumnsError::NotShortest) }
}

/// The length in plain form, and whether no other form is to be taken.
fn read_plain(
    count: usize,
    signed: bool,
    input: &mut &[u8],
    values: &mut Vec<i64>,
) -> Result<(usize, bool), ColumnsError> {
    let mut rest = *input;
    values.reserve(count);
    read_varints(count, &mut rest, |raw| {
        values.push(within_limit(of_plain_code(raw, signed), signed)?);
        Ok(())
    })?;
    let plain = input.len() - rest.len();
    *input = rest;
    // Differences take a byte each at least.
    let shortest = plain == count || differences_len(values) >= plain;
    Ok((plain, shortest && !is_constant(values)))
}

fn differences_len(values: &[i64]) -> usize {
    let mut before = 0;
    let difference = |value: &i64| zigzag(value - std::mem::replace(&mut before, *value));
    values.iter().map(difference).map(varint::encoded_len).sum()
}

/// The length in plain form, and whether no other form is to be taken.
fn read_differences(
    count: usize,
    signed: bool,
    input: &mut &[u8],
    values: &mut Vec<i64>,
) -> Result<(usize, bool), ColumnsError> {
    let mut rest = *input;
    let mut value = 0;
    let mut plain = LengthSum::default();
    values.reserve(count);
    read_varints(count, &mut rest, |raw| {
        // Both are far below 2^62, so the sum can't overflow.
        value = within_limit(value + unzigzag(raw), signed)?;
        plain.add(plain_code(value, signed));
        values.push(value);
        Ok(())
    })?;
    let differences = input.len() - rest.len();
    *input = rest;
    Ok((plain.sum, differences < plain.sum && !is_constant(values)))
}

/// Adds up the lengths of varints that differ little: most are as long as the one before.
#[derive(Default)]
struct LengthSum {
    sum: usize,
    /// The length of `from` and the `width` - 1 numbers after it.
    length: usize,
    from: u64,
    width: u64,
}

impl LengthSum {
    #[inline]
    fn add(&mut self, code: u64) {
        if code.wrapping_sub(self.from) >= self.width {
            self.length = varint::encoded_len(code);
            self.from = if self.length == 1 { 0 } else { 1 << (7 * (self.length - 1)) };
            self.width = (1 << (7 * self.length)) - self.from;
        }
        self.sum += self.length;
    }
}

#[inline]
fn read_value(signed: bool, input: &mut &[u8]) -> Result<i64, ColumnsError> {
    within_limit(of_plain_code(varint::read_raw(input)?, signed), signed)
}

#[inline]
fn within_limit(value: i64, signed: bool) -> Result<i64, ColumnsError> {
    let fits = value.unsigned_abs() < varint::LIMIT && (signed || value >= 0);
    if fits { Ok(value) } else { Err(ColumnsError::Number(VarintError::TooLarge)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up_around_every_length() {
        let edges: Vec<u64> =
            (0..=54).map(|bit| 1 << bit).flat_map(|edge| [edge - 1, edge, edge + 1]).collect();
        // Up, down, and each after each other.
        let pairs = edges.iter().flat_map(|first| edges.iter().flat_map(|then| [*first, *then]));
        let codes: Vec<u64> =
            edges.iter().copied().chain(edges.iter().rev().copied()).chain(pairs).collect();
        let (mut sum, mut expected) = (LengthSum::default(), 0);
        for code in codes {
            sum.add(code);
            expected += varint::encoded_len(code);
            assert_eq!(sum.sum, expected, "up to {code}");
        }
    }

    #[test]
    fn forms_are_the_shortest_of_all() {
        for seed in 0..2_000 {
            let mut chance = crate::fact::generated::Chance::new(seed);
            let signed = chance.below(2) == 1;
            let (bits, spread) = (chance.below(50), 1 << chance.below(20));
            let base = chance.below(1 << bits);
            let count = usize::try_from(chance.below(12) + 1).expect("small");
            let value = |_| (base + chance.below(spread)).cast_signed();
            let values: Vec<i64> = (0..count).map(value).collect();
            let len = |form| {
                let mut out = Vec::new();
                write(&values, signed, form, &mut out);
                out.len()
            };
            let equal = count > 1 && values.iter().all(|value| *value == values[0]);
            let expected = match (len(ValueForm::Plain), len(ValueForm::Related)) {
                _ if equal => ValueForm::Constant,
                (plain, related) if related < plain => ValueForm::Related,
                _ => ValueForm::Plain,
            };
            assert_eq!(form(&values, signed), expected, "seed {seed}: {values:?}");
            for written in [ValueForm::Plain, ValueForm::Related] {
                let mut out = Vec::new();
                write(&values, signed, written, &mut out);
                let mut back = Vec::new();
                let read = read(count, signed, written, &mut out.as_slice(), &mut back);
                let refused = Err(ColumnsError::NotShortest);
                let allowed = if written == expected { Ok(len(ValueForm::Plain)) } else { refused };
                assert_eq!(read, allowed, "seed {seed}: {values:?}");
                assert_eq!(back, values);
            }
        }
    }
}
