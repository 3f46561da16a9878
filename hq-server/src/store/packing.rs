//! Columns of small numbers, packed for the disk: one zstd frame per column where that is smaller.
//! Knows no meaning of a column. Never hashed: two zstd versions give different bytes.

use zstd::bulk::{Compressor, Decompressor};

/// Columns shorter than this are stored as they are: a frame's own bytes would cost more.
const COMPRESS_FROM: usize = 48;

/// The largest column that is read back.
const COLUMN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that are no packed columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packed columns do not read")]
pub(super) struct Unpackable;

/// Appends any number of 64 bits, low bits first.
pub(super) fn write_number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Appends a signed number: 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
pub(super) fn write_signed(out: &mut Vec<u8>, value: i64) {
    write_number(out, shared::varint::zigzag(value));
}

/// Takes what [`write_number`] wrote off the front.
pub(super) fn read_number(input: &mut &[u8]) -> Result<u64, Unpackable> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or(Unpackable)?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unpackable)
}

/// Takes what [`write_signed`] wrote off the front.
pub(super) fn read_signed(input: &mut &[u8]) -> Result<i64, Unpackable> {
    read_number(input).map(shared::varint::unzigzag)
}

/// Takes `length` bytes off the front.
pub(super) fn read_bytes<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], Unpackable> {
    let (bytes, rest) = input.split_at_checked(length).ok_or(Unpackable)?;
    *input = rest;
    Ok(bytes)
}

/// Packs columns; keeps its compressor's memory between calls.
pub(super) struct Packer(Compressor<'static>);

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// Level 1: higher ones are no smaller on short columns of small numbers.
    pub(super) fn new() -> Self {
        Self(Compressor::new(1).expect("zstd has the memory for its smallest level"))
    }

    /// Appends the columns.
    pub(super) fn pack<const N: usize>(&mut self, columns: &[Vec<u8>; N], out: &mut Vec<u8>) {
        for column in columns {
            let packed = (column.len() >= COMPRESS_FROM)
                .then(|| {
                    self.0.compress(column).expect("zstd compresses any bytes into a new buffer")
                })
                .filter(|packed| packed.len() + 2 < column.len());
            if let Some(packed) = packed {
                write_number(out, (column.len() as u64) << 1 | 1);
                write_number(out, packed.len() as u64);
                out.extend_from_slice(&packed);
            } else {
                write_number(out, (column.len() as u64) << 1);
                out.extend_from_slice(column);
            }
        }
    }
}

/// Takes `N` columns off the front.
pub(super) fn unpack<const N: usize>(input: &mut &[u8]) -> Result<[Vec<u8>; N], Unpackable> {
    let mut decompressor = Decompressor::new().map_err(|_| Unpackable)?;
    let mut columns = [const { Vec::new() }; N];
    for column in &mut columns {
        let header = read_number(input)?;
        let length = usize::try_from(header >> 1).map_err(|_| Unpackable)?;
        if length > COLUMN_BYTES_MAX {
            return Err(Unpackable);
        }
        if header & 1 == 0 {
            *column = read_bytes(input, length)?.to_vec();
            continue;
        }
        let packed = usize::try_from(read_number(input)?).map_err(|_| Unpackable)?;
        let packed = read_bytes(input, packed)?;
        *column = decompressor.decompress(packed, length).map_err(|_| Unpackable)?;
        if column.len() != length {
            return Err(Unpackable);
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_64_bits() {
        for value in [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, value);
            assert_eq!(read_number(&mut bytes.as_slice()), Ok(value));
            assert_eq!(read_number(&mut &bytes[..bytes.len() - 1]), Err(Unpackable));
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            write_signed(&mut bytes, value);
            assert_eq!(read_signed(&mut bytes.as_slice()), Ok(value));
        }
    }

    #[test]
    fn columns_read_back() {
        let columns = [Vec::new(), vec![7], vec![3; 5_000], (0..=255).collect()];
        let mut out = Vec::new();
        Packer::new().pack(&columns, &mut out);
        assert!(out.len() < 400);
        let mut rest = out.as_slice();
        assert_eq!(unpack::<4>(&mut rest), Ok(columns));
        assert!(rest.is_empty());
        assert_eq!(unpack::<4>(&mut &out[..out.len() - 1]), Err(Unpackable));
    }
}
