//! Bytes of the protocol: canonical reading and writing of a frame's parts, and the cutting of a
//! stream into frames. Knows no frame's meaning. Invariant: nothing is kept of a frame that is
//! longer than its type allows; a peer can't make the reader hold more than one frame.

use crate::document::DocumentKey;
use crate::varint::{self, VarintError};

/// The longest length prefix: enough for [`FRAME_BYTES_MAX`].
const LENGTH_BYTES_MAX: usize = 4;

/// The largest frame of any type, type byte and body together: the largest group of the largest
/// facts fits. Everyday frames are far smaller; see [`super::limits`].
pub const FRAME_BYTES_MAX: usize = 5 * 1024 * 1024;

/// Bytes that are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The body ends inside a value.
    #[error("the frame ends too early")]
    Truncated,
    /// A number is out of range or not in its shortest form.
    #[error("{0}")]
    Varint(#[from] VarintError),
    /// Longer than its type allows.
    #[error("a frame of type {kind} may have {max} bytes, not {length}")]
    TooLarge {
        /// The type byte; 0 where the length alone is too much.
        kind: u8,
        /// What was announced.
        length: usize,
        /// What is allowed.
        max: usize,
    },
    /// No such type in this version.
    #[error("there is no frame type {0}")]
    UnknownType(u8),
    /// Bytes follow the last value of the body.
    #[error("bytes follow the end of the frame")]
    Trailing,
    /// A value that this place can't have.
    #[error("{0} has an impossible value")]
    BadValue(&'static str),
    /// The other side speaks other versions of the protocol only.
    #[error("the other side speaks protocol version {0} only")]
    OtherVersion(super::frame::Versions),
}

/// Appends the parts of a frame.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer with nothing in it.
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A number below 2^53.
    pub(super) fn unsigned(&mut self, value: impl Into<u64>) {
        varint::write_unsigned(&mut self.bytes, value.into());
    }

    /// A signed number of magnitude below 2^53.
    pub(super) fn signed(&mut self, value: i64) {
        varint::write_signed(&mut self.bytes, value);
    }

    /// Bytes of a length that both sides know.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.unsigned(bytes.len() as u64);
        self.raw(bytes);
    }
}

/// What `write` writes, by itself.
pub(super) fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::new();
    write(&mut out);
    out.into_bytes()
}

/// What `read` makes of `bytes`, of which nothing may be left.
pub(super) fn read_whole<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, FrameError>,
) -> Result<T, FrameError> {
    let mut input = Reader::new(bytes);
    let value = read(&mut input)?;
    input.finish()?;
    Ok(value)
}

/// Takes the parts of a frame off its front.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the beginning.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A number below 2^53.
    pub(super) fn unsigned(&mut self) -> Result<u64, FrameError> {
        Ok(varint::read_unsigned(&mut self.rest)?)
    }

    /// A number that fits 32 bits.
    pub(super) fn small(&mut self, what: &'static str) -> Result<u32, FrameError> {
        u32::try_from(self.unsigned()?).map_err(|_| FrameError::BadValue(what))
    }

    /// How many of something follow, at most `max`.
    pub(super) fn count(&mut self, max: usize, what: &'static str) -> Result<usize, FrameError> {
        let count = usize::try_from(self.unsigned()?).ok().filter(|count| *count <= max);
        count.ok_or(FrameError::BadValue(what))
    }

    /// The key of a document's generation.
    pub(super) fn document(&mut self) -> Result<DocumentKey, FrameError> {
        DocumentKey::read(&mut self.rest).ok_or(FrameError::BadValue("a document's key"))
    }

    /// A signed number of magnitude below 2^53.
    pub(super) fn signed(&mut self) -> Result<i64, FrameError> {
        Ok(varint::read_signed(&mut self.rest)?)
    }

    /// `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(FrameError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length of at most `max` and that many bytes.
    pub(super) fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], FrameError> {
        let length = usize::try_from(self.unsigned()?)
            .ok()
            .filter(|length| *length <= max)
            .ok_or(FrameError::BadValue(what))?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(FrameError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A length of at most `max` and that many bytes of UTF-8.
    pub(super) fn text(&mut self, max: usize, what: &'static str) -> Result<String, FrameError> {
        let bytes = self.bytes(max, what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| FrameError::BadValue(what))
    }

    /// 0 or 1.
    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool, FrameError> {
        match self.unsigned()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError::BadValue(what)),
        }
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub(super) const fn finish(&self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FrameError::Trailing) }
    }
}

/// Cuts a stream of bytes into frames: bytes in, (type, body) out. Between frames it holds no memory
/// once `next` has said so.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    taken: usize,
}

impl FrameBuffer {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), taken: 0 }
    }

    /// Adds what the stream brought.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame's type and body; `None` while it is not all there.
    ///
    /// `max` gives the largest body of a type, `None` for a type that does not exist. It is asked
    /// as soon as the type is known, so an oversized frame is refused before it is held.
    pub fn next(
        &mut self,
        max: impl Fn(u8) -> Option<usize>,
    ) -> Result<Option<(u8, &[u8])>, FrameError> {
        if self.is_between_frames() {
            *self = Self::new();
            return Ok(None);
        }
        let mut rest = &self.bytes[self.taken..];
        let Some(length) = frame_length(&mut rest)? else { return Ok(None) };
        let Some(&kind) = rest.first() else { return Ok(None) };
        let max = max(kind).ok_or(FrameError::UnknownType(kind))?;
        if length - 1 > max {
            return Err(FrameError::TooLarge { kind, length: length - 1, max });
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.bytes.len() - rest.len();
        self.taken = start + length;
        Ok(Some((kind, &self.bytes[start + 1..start + length])))
    }

    /// Whether the stream may end here: no frame has begun.
    pub const fn is_between_frames(&self) -> bool {
        self.taken == self.bytes.len()
    }
}

/// The length of type and body, taken off `rest`; `None` while the prefix is not all there.
fn frame_length(rest: &mut &[u8]) -> Result<Option<usize>, FrameError> {
    let too_large = FrameError::TooLarge { kind: 0, length: usize::MAX, max: FRAME_BYTES_MAX };
    match varint::read_unsigned(rest) {
        Ok(0) => Err(FrameError::BadValue("a frame's length")),
        Ok(length) => usize::try_from(length)
            .ok()
            .filter(|length| *length <= FRAME_BYTES_MAX)
            .map(Some)
            .ok_or(too_large),
        Err(VarintError::Truncated) if rest.len() < LENGTH_BYTES_MAX => Ok(None),
        Err(VarintError::Truncated) => Err(too_large),
        Err(error) => Err(error.into()),
    }
}

/// A whole frame from its type and body.
///
/// # Panics
/// Where the body is larger than any frame may be: whoever builds bodies keeps them small.
pub(super) fn frame_bytes(kind: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < FRAME_BYTES_MAX, "a frame's body is larger than any frame may be");
    let mut bytes = Vec::with_capacity(body.len() + LENGTH_BYTES_MAX + 1);
    varint::write_unsigned(&mut bytes, body.len() as u64 + 1);
    bytes.push(kind);
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: fn(u8) -> Option<usize> = |kind| (kind < 9).then_some(300);

    #[test]
    fn frames_come_out_however_the_stream_is_cut() {
        let stream =
            [frame_bytes(1, b""), frame_bytes(2, &[7; 200]), frame_bytes(3, b"abc")].concat();
        for step in 1..stream.len() {
            let mut buffer = FrameBuffer::new();
            let mut kinds = Vec::new();
            for piece in stream.chunks(step) {
                buffer.push(piece);
                while let Some((kind, body)) = buffer.next(SMALL).expect("good frames") {
                    kinds.push((kind, body.len()));
                }
            }
            assert_eq!(kinds, [(1, 0), (2, 200), (3, 3)], "pieces of {step}");
            assert!(buffer.is_between_frames());
        }
    }

    #[test]
    fn between_frames_nothing_is_held() {
        let mut buffer = FrameBuffer::new();
        buffer.push(&frame_bytes(2, &[7; 200]));
        assert!(matches!(buffer.next(SMALL), Ok(Some((2, _)))));
        assert_eq!(buffer.next(SMALL), Ok(None));
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    #[test]
    fn bad_prefixes_are_refused_at_once() {
        let cases: &[(&[u8], FrameError)] = &[
            (&[0], FrameError::BadValue("a frame's length")),
            (&[0x80, 0], FrameError::Varint(VarintError::NotShortest)),
            (&[1, 9], FrameError::UnknownType(9)),
            (&[0xae, 2, 1], FrameError::TooLarge { kind: 1, length: 301, max: 300 }),
            (
                &[0xff, 0xff, 0xff, 0xff],
                FrameError::TooLarge { kind: 0, length: usize::MAX, max: FRAME_BYTES_MAX },
            ),
        ];
        for (bytes, expected) in cases {
            let mut buffer = FrameBuffer::new();
            buffer.push(bytes);
            assert_eq!(buffer.next(SMALL).map(|_| ()), Err(expected.clone()), "{bytes:?}");
        }
    }

    #[test]
    fn half_a_frame_is_no_frame_yet() {
        for bytes in [&[][..], &[0x80], &[5], &[5, 1, 2]] {
            let mut buffer = FrameBuffer::new();
            buffer.push(bytes);
            assert_eq!(buffer.next(SMALL), Ok(None));
            assert_eq!(buffer.is_between_frames(), bytes.is_empty());
        }
    }
}
