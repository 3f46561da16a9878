//! Variable-length integers: 7 bits a byte, low first, high bit set on all but the last byte.
//! One legal form each: the shortest. Magnitudes stay below 2^53.

/// Every integer in a fact is smaller than this, so sums in `i128` can't overflow.
pub const LIMIT: u64 = 1 << 53;

/// Bytes that are no shortest varint below the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside a number.
    #[error("the bytes end inside a number")]
    Truncated,
    /// A longer form than needed.
    #[error("a number is written longer than needed")]
    NotShortest,
    /// 2^53 or more.
    #[error("a number is 2^53 or more")]
    TooLarge,
}

/// Appends `value`.
pub fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// The lowest eight bits.
const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Appends `value` zigzag-mapped: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, zigzag(value));
}

/// How many bytes [`write_unsigned`] appends.
pub const fn encoded_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    // The same as rounding bits / 7 up, for 1 to 64 bits, without a division.
    (bits * 9 + 64) / 64
}

/// Maps small magnitudes of either sign to small numbers.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Takes an unsigned number below 2^53 off the front of `input`.
pub fn read_unsigned(input: &mut &[u8]) -> Result<u64, VarintError> {
    match read_raw(input)? {
        value if value < LIMIT => Ok(value),
        _ => Err(VarintError::TooLarge),
    }
}

/// Takes a signed number with magnitude below 2^53 off the front of `input`.
pub fn read_signed(input: &mut &[u8]) -> Result<i64, VarintError> {
    let value = unzigzag(read_raw(input)?);
    if value.unsigned_abs() < LIMIT { Ok(value) } else { Err(VarintError::TooLarge) }
}

/// Takes any shortest varint of up to 63 bits off the front of `input`.
pub fn read_raw(input: &mut &[u8]) -> Result<u64, VarintError> {
    let mut value = 0u64;
    for (index, &byte) in input.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err(VarintError::NotShortest);
            }
            *input = &input[index + 1..];
            return Ok(value);
        }
    }
    Err(if input.len() >= 9 { VarintError::TooLarge } else { VarintError::Truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_form() {
        for value in [0, 1, 127, 128, 300, LIMIT - 1] {
            let mut bytes = Vec::new();
            write_unsigned(&mut bytes, value);
            let mut rest = bytes.as_slice();
            assert_eq!(read_unsigned(&mut rest), Ok(value));
            assert!(rest.is_empty());
            assert_eq!(encoded_len(value), bytes.len());
        }
        for value in [0, -1, 1, 63, -64, 64, -(1 << 53) + 1] {
            let mut bytes = Vec::new();
            write_signed(&mut bytes, value);
            assert_eq!(read_signed(&mut bytes.as_slice()), Ok(value));
        }
        assert_eq!(read_unsigned(&mut [0x80, 0x00].as_slice()), Err(VarintError::NotShortest));
        assert_eq!(read_unsigned(&mut [0x80].as_slice()), Err(VarintError::Truncated));
        assert_eq!(read_unsigned(&mut [0xff; 12].as_slice()), Err(VarintError::TooLarge));
        let mut bytes = Vec::new();
        write_unsigned(&mut bytes, LIMIT);
        assert_eq!(read_unsigned(&mut bytes.as_slice()), Err(VarintError::TooLarge));
    }
}
