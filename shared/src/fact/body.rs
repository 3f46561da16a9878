//! The encoded fields of one fact: appended, walked and searched. Knows tags and values, and no
//! limit of a fact. Invariant: the bytes are fields in their one legal form, ascending, so reading
//! them never fails.
//!
//! Every fact that a site sends is put together here and walked over several times, so this file is
//! written for the processor: words instead of bytes, and branches that it guesses right.

#![expect(clippy::cast_possible_truncation, reason = "lengths are of parts of a fact: small")]
#![expect(
    clippy::inline_always,
    reason = "else parts of a field go through memory: twice the time"
)]

use super::record::{Tag, Value, WireType};
use crate::varint::{self, Word};

/// Fields up to this many bytes stand in the fact itself. A movement has 30 to 50, with a lot and
/// an outside document's number up to 70; a fact is 80 bytes then.
const INLINE: usize = 70;

pub(super) const LEGAL: &str = "fields are checked before they become a fact's";

/// Encoded fields.
#[derive(Clone)]
pub(super) enum Body {
    /// The first `length` bytes.
    Inline { length: u8, bytes: [u8; INLINE] },
    /// More than fit inline.
    Spilled(Vec<u8>),
}

/// An encoded field, ready to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded<'a> {
    /// The first eight bytes, mostly all of them: lowest first; those beyond `length` are 0.
    bits: u64,
    /// The second eight.
    more: u64,
    /// How many of these.
    length: u8,
    /// The bytes that follow.
    rest: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// What fits in two words behind a tag of up to 3 bytes and a length of up to 2.
    const TEXT_MAX: usize = 16 - 5;

    /// A tag and an integer as it stands in a varint.
    #[inline]
    pub(crate) fn integer(tag: Word, value: u64) -> Self {
        let value = Word::new(value);
        let length = tag.length + value.length;
        // A tag has 1 to 3 bytes.
        let more = if length > 8 { value.bits >> (64 - 8 * tag.length) } else { 0 };
        Self { bits: tag.bits | value.bits << (8 * tag.length), more, length, rest: &[] }
    }

    /// A tag and bytes.
    #[inline]
    pub(crate) fn bytes(tag: Word, bytes: &'a [u8]) -> Self {
        let head = Self::integer(tag, bytes.len() as u64);
        if bytes.len() > Self::TEXT_MAX {
            return Self { rest: bytes, ..head };
        }
        let mut text = [0; 16];
        text[..bytes.len()].copy_from_slice(bytes);
        let text = u128::from_le_bytes(text) << (8 * head.length) | u128::from(head.bits);
        let [bits, more] = [text as u64, (text >> 64) as u64];
        Self { bits, more, length: head.length + bytes.len() as u8, rest: &[] }
    }

    /// How many bytes.
    pub(super) fn len(self) -> usize {
        usize::from(self.length) + self.rest.len()
    }
}

impl Body {
    /// No fields.
    pub(super) const EMPTY: Self = Self::Inline { length: 0, bytes: [0; INLINE] };

    /// The bytes.
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Spilled(bytes) => bytes,
        }
    }

    /// How many bytes.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Inline { length, .. } => usize::from(*length),
            Self::Spilled(bytes) => bytes.len(),
        }
    }

    /// Appends a field.
    ///
    /// To store eight bytes and count fewer takes a fraction of the time of copying a few.
    #[inline(always)]
    pub(super) fn append(&mut self, field: Encoded<'_>) {
        if field.length <= 8
            && let Self::Inline { length, bytes } = self
            && let Some(free) = bytes.get_mut(usize::from(*length)..)
            && let Some(free) = free.first_chunk_mut()
        {
            *free = field.bits.to_le_bytes();
            *length += field.length;
        } else {
            self.append_long(field.bits, field.more, field.length);
        }
        if !field.rest.is_empty() {
            self.extend(field.rest);
        }
    }

    /// The same for up to sixteen bytes, or where there is no room for eight.
    fn append_long(&mut self, bits: u64, more: u64, count: u8) {
        let chunks = [bits.to_le_bytes(), more.to_le_bytes()];
        if let Self::Inline { length, bytes } = self
            && let Some(free) = bytes.get_mut(usize::from(*length)..)
            && let Some([first, second, ..]) = free.as_chunks_mut().0.get_mut(..2)
        {
            [*first, *second] = chunks;
            *length += count;
        } else {
            self.extend(&chunks.as_flattened()[..count.into()]);
        }
    }

    /// Appends bytes.
    pub(super) fn extend(&mut self, more: &[u8]) {
        match self {
            Self::Inline { length, bytes } => {
                let (start, end) = (usize::from(*length), usize::from(*length) + more.len());
                if let Some(free) = bytes.get_mut(start..end) {
                    free.copy_from_slice(more);
                    *length = end as u8;
                } else {
                    let mut spilled = Vec::with_capacity(end.next_power_of_two());
                    spilled.extend_from_slice(&bytes[..start]);
                    spilled.extend_from_slice(more);
                    *self = Self::Spilled(spilled);
                }
            }
            Self::Spilled(bytes) => bytes.extend_from_slice(more),
        }
    }

    /// Walks over the fields.
    #[inline]
    pub(super) fn walk(&self) -> Walk<'_> {
        match self {
            // With the room behind them, so that the last ones too are taken eight bytes at once.
            Self::Inline { length, bytes } => Walk { bytes, at: 0, end: usize::from(*length) },
            Self::Spilled(bytes) => Walk { bytes, at: 0, end: bytes.len() },
        }
    }

    /// The value of a field.
    pub(super) fn find(&self, number: u16) -> Option<Value<'_>> {
        let mut walk = self.walk();
        while let Some(found) = walk.next() {
            if found.tag.number >= number {
                return (found.tag.number == number).then(|| found.value(walk.bytes));
            }
        }
        None
    }

    /// Where a field stands or would stand: its first byte and the first byte behind it.
    pub(super) fn range_of(&self, number: u16) -> (usize, usize) {
        let mut walk = self.walk();
        let mut start = 0;
        while let Some(found) = walk.next() {
            if found.tag.number == number {
                return (start, found.end);
            }
            if found.tag.number > number {
                break;
            }
            start = found.end;
        }
        (start, start)
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match inline.get_mut(..bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => return Self::Spilled(bytes.to_vec()),
        }
        Self::Inline { length: bytes.len() as u8, bytes: inline }
    }
}

/// A field as it is found: its value is a number, or the place of bytes.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub tag: Tag,
    /// Unsigned as it is; signed in zigzag form; for bytes their length.
    pub number: u64,
    /// The first byte behind the number: where the bytes of a field of bytes begin.
    pub behind: usize,
    /// The first byte behind the field.
    pub end: usize,
}

impl Found {
    /// The value, where `bytes` are those that were walked over.
    #[inline]
    fn value(self, bytes: &[u8]) -> Value<'_> {
        match self.tag.wire {
            WireType::Unsigned => Value::Unsigned(self.number),
            WireType::Signed => Value::Signed(varint::unzigzag(self.number)),
            WireType::Bytes => Value::Bytes(&bytes[self.behind..self.end]),
        }
    }
}

/// Walks over encoded fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Walk<'_> {
    /// The next field.
    ///
    /// One branch for each form that fields mostly have: the processor guesses it from the fields
    /// before and goes on without waiting for the length.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Found> {
        if self.at >= self.end {
            return None;
        }
        let found = match near::<1>(self.bytes, self.at) {
            Some(found) => found,
            None => match near::<2>(self.bytes, self.at) {
                Some(found) => found,
                None => far(self.bytes, self.at),
            },
        };
        self.at = found.end;
        Some(found)
    }
}

/// The field at `at`, where its tag of `TAG` bytes, one or two, and its number stand within eight.
#[inline(always)]
fn near<const TAG: usize>(bytes: &[u8], at: usize) -> Option<Found> {
    let word = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    let code = match TAG {
        1 if word & 0x80 == 0 => word & 0x7f,
        2 if word & 0x8080 == 0x80 => (word & 0x7f) | (word >> 1 & 0x3f80),
        _ => return None,
    };
    let tag = tag_of(code);
    let number = word >> (8 * TAG);
    let behind = at + TAG + 1;
    if tag.wire == WireType::Bytes {
        let number = number & 0xff;
        let end = behind + usize::try_from(number).expect(LEGAL);
        return (number < 0x80).then_some(Found { tag, number, behind, end });
    }
    if number & 0x80 == 0 {
        return Some(Found { tag, number: number & 0x7f, behind, end: behind });
    }
    if number & 0x8000 == 0 {
        let number = (number & 0x7f) | (number >> 1 & 0x3f80);
        return Some(Found { tag, number, behind: behind + 1, end: behind + 1 });
    }
    // The bytes shifted in are 0 and end a varint, but none of this field.
    let length = Word::length_of(number).filter(|length| usize::from(*length) + TAG <= 8)?;
    let number = Word::of(number, length).value();
    let behind = at + TAG + usize::from(length);
    Some(Found { tag, number, behind, end: behind })
}

/// Any other field.
#[inline(never)]
fn far(bytes: &[u8], at: usize) -> Found {
    let mut rest = &bytes[at..];
    let mut take = || varint::read_raw(&mut rest).expect(LEGAL);
    let (tag, number) = (tag_of(take()), take());
    let behind = bytes.len() - rest.len();
    let text = if tag.wire == WireType::Bytes { usize::try_from(number).expect(LEGAL) } else { 0 };
    Found { tag, number, behind, end: behind + text }
}

#[inline]
fn tag_of(code: u64) -> Tag {
    let wire = match code & 3 {
        0 => WireType::Unsigned,
        1 => WireType::Signed,
        _ => WireType::Bytes,
    };
    Tag { number: u16::try_from(code >> 2).expect(LEGAL), wire }
}

/// The fields of a fact in ascending order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    walk: Walk<'a>,
    left: u16,
}

impl<'a> Fields<'a> {
    pub(super) fn new(body: &'a Body, count: u16) -> Self {
        Self { walk: body.walk(), left: count }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Tag, Value<'a>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let found = self.walk.next()?;
        self.left -= 1;
        Some((found.tag, found.value(self.walk.bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for Fields<'_> {}
