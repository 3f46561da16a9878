//! Columns made small for wire and disk: zstd level 1, or as they are where that is smaller.
//! Knows where columns begin, nothing of facts. Never hashed or signed: two zstd versions may give
//! different bytes. Invariant: [`unpack`] gives back what [`pack`] got, within a limit known first.

use std::borrow::Cow;
use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use super::columns::{self, COLUMNS_BYTES_MAX};
use crate::varint::{self, VarintError};

/// The bytes follow as they are.
const RAW: u8 = 0;
/// Parts follow: one for each column, or one for all.
const PARTS: u8 = 1;

/// How a part is packed: the low two bits of its head.
const PART_RAW: u64 = 0;
const PART_FRAME: u64 = 1;
const PART_PLANES: u64 = 2;

/// Below this, a frame is hardly ever smaller than the bytes in it.
const FRAME_BYTES_MIN: usize = 24;

/// Up to this, one frame for all columns may be smaller than one for each.
const ONE_FRAME_BYTES_MAX: usize = 4 * 1024;

/// The most planes: places of a byte within its number.
const PLANES_MAX: usize = 10;

const ZSTD_LEVEL: i32 = 1;

/// Every zstd frame begins with this; it is left out.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes that do not unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackingError {
    /// Packed in a way of a later version.
    #[error("packing {0} is not known: update the program")]
    UnknownPacking(u8),
    /// The bytes end inside a part.
    #[error("the bytes end inside a packed part")]
    Truncated,
    /// A length has no legal form.
    #[error("a length of a packed part is out of range: {0}")]
    Number(#[from] VarintError),
    /// More than columns may have.
    #[error("the bytes unpack to more than a segment's columns may have")]
    TooLarge,
    /// A frame does not unpack to the length stated, or planes do not fit together.
    #[error("a packed part is damaged: ask for it again")]
    Damaged,
}

thread_local! {
    // A context takes longer to make than a small segment to pack.
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::new(compressor());
    static DECOMPRESSOR: RefCell<Decompressor<'static>> =
        RefCell::new(Decompressor::new().expect("zstd gives a context unless memory is out"));
}

fn compressor() -> Compressor<'static> {
    let mut compressor =
        Compressor::new(ZSTD_LEVEL).expect("zstd gives a context unless memory is out");
    compressor.include_contentsize(false).expect("a known parameter");
    compressor.include_checksum(false).expect("a known parameter");
    compressor
}

/// Columns for wire or disk. Takes any bytes; what is no columns packs as one part.
pub fn pack(columns: &[u8]) -> Vec<u8> {
    let mut best = [&[RAW], columns].concat();
    let mut attempt = |parts: &[&[u8]]| {
        let mut out = Vec::with_capacity(columns.len() / 2 + 64);
        out.push(PARTS);
        for part in parts {
            pack_part(part, &mut out);
        }
        if out.len() < best.len() {
            best = out;
        }
    };
    if columns.len() < FRAME_BYTES_MIN {
        return best;
    }
    let parts = columns::split(columns);
    if let Ok(parts) = &parts {
        attempt(parts);
    }
    if parts.is_err() || columns.len() <= ONE_FRAME_BYTES_MAX {
        attempt(&[columns]);
    }
    best
}

/// The smallest of: as it is, a frame, a frame for each plane.
fn pack_part(part: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    pack_plain_part(part, out);
    // Numbers of several bytes mix digits that vary with digits that hardly do.
    let continued = part.iter().filter(|byte| **byte >= 0x80).count();
    if part.len() < FRAME_BYTES_MIN || continued * 8 < part.len() {
        return;
    }
    let mut planes = Vec::new();
    varint::write_unsigned(&mut planes, (part.len() as u64) << 2 | PART_PLANES);
    for plane in &split_planes(part) {
        pack_plain_part(plane, &mut planes);
    }
    if planes.len() < out.len() - start {
        out.truncate(start);
        out.append(&mut planes);
    }
}

fn pack_plain_part(part: &[u8], out: &mut Vec<u8>) {
    let head = |kind| (part.len() as u64) << 2 | kind;
    if part.len() >= FRAME_BYTES_MIN {
        let frame = compress(part);
        if frame.len() + 2 < part.len() {
            varint::write_unsigned(out, head(PART_FRAME));
            varint::write_unsigned(out, frame.len() as u64);
            out.extend_from_slice(&frame);
            return;
        }
    }
    varint::write_unsigned(out, head(PART_RAW));
    out.extend_from_slice(part);
}

/// Bytes by their place in the number they belong to: all first bytes, all second bytes, ...
fn split_planes(part: &[u8]) -> [Vec<u8>; PLANES_MAX] {
    let mut planes = [const { Vec::new() }; PLANES_MAX];
    let mut place = 0;
    for &byte in part {
        planes[place].push(byte);
        place = next_place(place, byte);
    }
    planes
}

fn join_planes(planes: &[Vec<u8>], length: usize) -> Option<Vec<u8>> {
    let mut rest: Vec<_> = planes.iter().map(|plane| plane.iter()).collect();
    let mut part = Vec::with_capacity(length);
    let mut place = 0;
    for _ in 0..length {
        let byte = *rest.get_mut(place)?.next()?;
        part.push(byte);
        place = next_place(place, byte);
    }
    // All are used up: the planes have no more bytes than the part.
    Some(part)
}

fn next_place(place: usize, byte: u8) -> usize {
    if byte < 0x80 { 0 } else { (place + 1).min(PLANES_MAX - 1) }
}

fn compress(part: &[u8]) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        let frame = compressor.compress(part).expect("the buffer is of zstd's own bound");
        frame.strip_prefix(&MAGIC).expect("a frame begins with its magic number").to_vec()
    })
}

/// The columns that were packed, at most [`COLUMNS_BYTES_MAX`]: every length is checked before
/// anything of that size is allocated. The result is not checked to be columns.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, PackingError> {
    unpack_within(packed, COLUMNS_BYTES_MAX)
}

/// As [`unpack`], at most `max` bytes.
pub fn unpack_within(packed: &[u8], max: usize) -> Result<Vec<u8>, PackingError> {
    let (packing, mut input) = packed.split_first().ok_or(PackingError::Truncated)?;
    match *packing {
        RAW if input.len() > max => Err(PackingError::TooLarge),
        RAW => Ok(input.to_vec()),
        PARTS => {
            let mut out = Vec::with_capacity(packed.len());
            while !input.is_empty() {
                let room = max - out.len();
                let part = match read_head(&mut input, room)? {
                    (PART_PLANES, length) => unpack_planes(&mut input, length)?,
                    (kind, length) => unpack_plain_part(&mut input, kind, length)?,
                };
                out.extend_from_slice(&part);
            }
            Ok(out)
        }
        other => Err(PackingError::UnknownPacking(other)),
    }
}

/// A part's kind and the length it unpacks to.
fn read_head(input: &mut &[u8], room: usize) -> Result<(u64, usize), PackingError> {
    let head = varint::read_unsigned(input)?;
    match usize::try_from(head >> 2) {
        Ok(length) if length <= room => Ok((head & 3, length)),
        _ => Err(PackingError::TooLarge),
    }
}

fn unpack_plain_part<'a>(
    input: &mut &'a [u8],
    kind: u64,
    length: usize,
) -> Result<Cow<'a, [u8]>, PackingError> {
    match kind {
        PART_RAW => take(input, length).map(Cow::Borrowed),
        PART_FRAME => {
            let frame_len = usize::try_from(varint::read_unsigned(input)?);
            let frame = take(input, frame_len.map_err(|_| PackingError::Truncated)?)?;
            decompress(frame, length).map(Cow::Owned)
        }
        _ => Err(PackingError::Damaged),
    }
}

fn unpack_planes<'a>(input: &mut &'a [u8], length: usize) -> Result<Cow<'a, [u8]>, PackingError> {
    let mut room = length;
    let mut planes = Vec::with_capacity(PLANES_MAX);
    for _ in 0..PLANES_MAX {
        let (kind, plane_len) = read_head(input, room).map_err(|_| PackingError::Damaged)?;
        room -= plane_len;
        planes.push(unpack_plain_part(input, kind, plane_len)?.into_owned());
    }
    join_planes(&planes, length).map(Cow::Owned).ok_or(PackingError::Damaged)
}

fn decompress(frame: &[u8], length: usize) -> Result<Vec<u8>, PackingError> {
    let whole = [&MAGIC[..], frame].concat();
    let part = DECOMPRESSOR
        .with_borrow_mut(|decompressor| decompressor.decompress(&whole, length))
        .map_err(|_| PackingError::Damaged)?;
    if part.len() == length { Ok(part) } else { Err(PackingError::Damaged) }
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], PackingError> {
    let (taken, rest) = input.split_at_checked(length).ok_or(PackingError::Truncated)?;
    *input = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        let noise: Vec<u8> = (0u32..9_000)
            .map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[1])
            .collect();
        let text = "仓库".repeat(400).into_bytes();
        for bytes in [&[][..], &[1], &noise, &noise[..23], &noise[..24], &text, &[0x80; 40]] {
            let packed = pack(bytes);
            assert!(packed.len() <= bytes.len() + 1);
            assert_eq!(unpack(&packed).as_deref(), Ok(bytes));
        }
    }

    #[test]
    fn numbers_of_several_bytes_pack_by_plane() {
        let mut part = Vec::new();
        (0..1_000u64)
            .for_each(|number| varint::write_unsigned(&mut part, 1_000 + number * 37 % 900));
        let mut out = Vec::new();
        pack_part(&part, &mut out);
        assert_eq!(u64::from(out[0]) & 3, PART_PLANES);
        let packed = [&[PARTS][..], &out].concat();
        assert_eq!(unpack(&packed), Ok(part));
    }

    #[test]
    fn bytes_beyond_the_tenth_of_a_number_share_a_plane() {
        let planes: Vec<u8> = (0x80..0x89).flat_map(|byte| [1 << 2, byte]).collect();
        let packed = [&[PARTS, 13 << 2 | 2][..], &planes, &[4 << 2, 0x89, 0x8a, 0x8b, 1]].concat();
        let part = [0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 1];
        assert_eq!(unpack(&packed).as_deref(), Ok(&part[..]));
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused_before_it_is_made() {
        let mut bomb = vec![PARTS];
        let frame = compress(&vec![0; COLUMNS_BYTES_MAX]);
        assert!(frame.len() < 4_096, "a small frame of a large part");
        let full = COLUMNS_BYTES_MAX as u64;
        let short = compress(&[7; 400]);
        for (length, frame) in [(full + 1, &frame), (5, &frame), (0, &frame), (401, &short)] {
            bomb.truncate(1);
            varint::write_unsigned(&mut bomb, length << 2 | PART_FRAME);
            varint::write_unsigned(&mut bomb, frame.len() as u64);
            bomb.extend_from_slice(frame);
            let expected =
                if length > full { PackingError::TooLarge } else { PackingError::Damaged };
            assert_eq!(unpack(&bomb), Err(expected), "said to be {length}");
        }
    }

    #[test]
    fn damaged_parts_are_refused() {
        let cases: &[(&[u8], PackingError)] = &[
            (&[], PackingError::Truncated),
            (&[2], PackingError::UnknownPacking(2)),
            (&[PARTS, 4 << 2, 1, 2, 3], PackingError::Truncated),
            (&[PARTS, 4 << 2 | 1, 3, 1, 2], PackingError::Truncated),
            (&[PARTS, 4 << 2 | 1, 2, 1, 2], PackingError::Damaged),
            (&[PARTS, 1 << 2 | 3, 0], PackingError::Damaged),
            (&[PARTS, 1 << 2 | 2, 2 << 2], PackingError::Damaged),
            (&[PARTS, 1 << 2 | 2, 0, 1 << 2, 9, 0, 0, 0, 0, 0, 0, 0, 0], PackingError::Damaged),
            (&[PARTS, 0x80, 0], PackingError::Number(VarintError::NotShortest)),
        ];
        for (packed, expected) in cases {
            assert_eq!(unpack(packed), Err(*expected), "{packed:?}");
        }
    }
}
