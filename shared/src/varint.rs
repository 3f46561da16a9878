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
#[inline]
pub const fn encoded_len(value: u64) -> usize {
    if value < 1 << 21 {
        return 1 + (value >= 1 << 7) as usize + (value >= 1 << 14) as usize;
    }
    let bits = 64 - value.leading_zeros() as usize;
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
#[inline]
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
#[inline]
pub fn read_raw(input: &mut &[u8]) -> Result<u64, VarintError> {
    // Most numbers are one byte.
    if let [byte, rest @ ..] = *input
        && *byte < 0x80
    {
        *input = rest;
        return Ok(u64::from(*byte));
    }
    let Some(bytes) = input.first_chunk() else { return read_byte_by_byte(input) };
    let word = u64::from_le_bytes(*bytes);
    let Some(length) = Word::length_of(word) else { return read_byte_by_byte(input) };
    let number = Word::of(word, length);
    if number.bits >> (8 * (length - 1)) == 0 {
        return Err(VarintError::NotShortest);
    }
    *input = &input[usize::from(length)..];
    Ok(number.value())
}

/// For the end of the input, and for numbers of nine bytes.
#[cold]
fn read_byte_by_byte(input: &mut &[u8]) -> Result<u64, VarintError> {
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

/// The bytes of a varint of one to eight bytes, the first one lowest: what a machine can make and
/// take apart without a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The bytes; those beyond `length` are 0.
    pub bits: u64,
    /// How many bytes.
    pub length: u8,
}

impl Word {
    /// The bits that say that another byte follows.
    pub(crate) const CONTINUED: u64 = 0x8080_8080_8080_8080;

    /// The varint of a number below 2^56.
    #[inline]
    pub(crate) const fn new(value: u64) -> Self {
        debug_assert!(value >> 56 == 0, "eight bytes of seven bits");
        if value < 1 << 14 {
            // No branch between one byte and two: numbers are of either length by chance.
            let two = (value >= 1 << 7) as u64;
            let bits = (value & 0x7f) | two << 7 | (value & 0x3f80) << 1;
            return Self { bits, length: 1 + low_byte(two) };
        }
        let length = low_byte(encoded_len(value) as u64);
        let spread = (value & 0x0fff_ffff) | (value & 0x00ff_ffff_f000_0000) << 4;
        let spread = (spread & 0x0000_3fff_0000_3fff) | (spread & 0x0fff_c000_0fff_c000) << 2;
        let spread = (spread & 0x007f_007f_007f_007f) | (spread & 0x3f80_3f80_3f80_3f80) << 1;
        Self { bits: spread | (Self::CONTINUED & !(u64::MAX << (8 * (length - 1)))), length }
    }

    /// The length of the varint that `word` begins with; `None` where it has more than eight bytes.
    #[inline]
    pub(crate) const fn length_of(word: u64) -> Option<u8> {
        let ends = !word & Self::CONTINUED;
        if ends == 0 { None } else { Some(low_byte(ends.trailing_zeros() as u64 / 8 + 1)) }
    }

    /// The first `length` bytes of `word`, 1 to 8.
    #[inline]
    pub(crate) const fn of(word: u64, length: u8) -> Self {
        Self { bits: word & (u64::MAX >> (64 - 8 * length)), length }
    }

    /// The number that it stands for.
    #[inline]
    pub(crate) const fn value(self) -> u64 {
        let bits = self.bits & !Self::CONTINUED;
        let bits = (bits & 0x007f_007f_007f_007f) | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
        let bits = (bits & 0x0000_3fff_0000_3fff) | (bits & 0x3fff_0000_3fff_0000) >> 2;
        (bits & 0x0fff_ffff) | (bits & 0x0fff_ffff_0000_0000) >> 4
    }
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

    /// Bit by bit: every length, and the numbers around each.
    fn around_every_length() -> impl Iterator<Item = u64> {
        let edges = (0..63).map(|bit| 1u64 << bit);
        edges.flat_map(|edge| [edge - 1, edge, edge + 1, edge | (edge / 3)])
    }

    #[test]
    fn words_and_bytes_say_the_same() {
        for value in around_every_length() {
            let mut bytes = Vec::new();
            write_unsigned(&mut bytes, value);
            for behind in [[].as_slice(), &[0; 8], &[0x80; 8], &[0xff; 8]] {
                let input = [&bytes, behind].concat();
                let (mut fast, mut slow) = (input.as_slice(), input.as_slice());
                assert_eq!(read_raw(&mut fast), Ok(value));
                assert_eq!(read_byte_by_byte(&mut slow), Ok(value));
                assert_eq!((fast, slow), (behind, behind));
            }
            if value >> 56 == 0 {
                let word = Word::new(value);
                assert_eq!(word.bits.to_le_bytes()[..word.length.into()], bytes, "{value}");
                assert_eq!((word.value(), encoded_len(value)), (value, word.length.into()));
            }
        }
    }

    #[test]
    fn long_forms_are_refused_wherever_they_stand() {
        for length in 1..12 {
            for last in [0, 1, 0x7f] {
                for behind in [0, 8] {
                    let bytes = [vec![0x80; length], vec![last], vec![7; behind]].concat();
                    let (mut fast, mut slow) = (bytes.as_slice(), bytes.as_slice());
                    assert_eq!(read_raw(&mut fast), read_byte_by_byte(&mut slow), "{bytes:?}");
                    assert_eq!(fast, slow);
                    let refused = length > 8 || last == 0;
                    assert_eq!(read_raw(&mut bytes.as_slice()).is_err(), refused, "{bytes:?}");
                }
            }
        }
    }
}
