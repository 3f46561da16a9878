//! The outside of a bundle: its parts as bytes come, and the proof that all of them are the
//! sender's. Knows no key that decrypts and no frame. Invariant: every byte before the signature is
//! under it.

use ed25519_dalek::VerifyingKey;

use super::super::wire::{FrameError, Reader, Writer};
use super::{
    BUNDLE_MAGIC, BUNDLE_VERSION, BundleDigest, BundleError, BundleHead, CHUNK_BYTES, CONTENT,
    Direction, SIGNATURE,
};
use crate::ids::{HistoryId, LogId, Seq};
use crate::segment::context;
use crate::varint::VarintError;

/// How much longer a chunk is encrypted.
pub(super) const TAG_BYTES: usize = 16;

/// The most bytes before the first chunk.
const HEAD_BYTES_MAX: usize = BUNDLE_MAGIC.len() + 5 + 1 + 3 * 32 + 2 * 8 + 32;

/// What makes the receiver's key schedule.
pub(super) type Encapsulated = [u8; 32];

impl BundleHead {
    /// Everything before the encapsulated key; it also goes into the key schedule.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(&BUNDLE_MAGIC);
        out.unsigned(BUNDLE_VERSION);
        self.direction.write(&mut out);
        out.raw(&self.history.0);
        out.raw(&self.log.0);
        out.unsigned(self.after);
        out.unsigned(self.last);
        out.into_bytes()
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BundleError> {
        if input.array::<16>().map_err(BundleError::Outside)? != BUNDLE_MAGIC {
            return Err(BundleError::NotABundle);
        }
        let version = input.small("the version").map_err(BundleError::Outside)?;
        if version != BUNDLE_VERSION {
            return Err(BundleError::OtherVersion(version));
        }
        Self::read_rest(input).map_err(BundleError::Outside)
    }

    fn read_rest(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let direction = Direction::read(input)?;
        let (history, log) = (HistoryId(input.array()?), LogId(input.array()?));
        let (after, last) = (Seq(input.unsigned()?), Seq(input.unsigned()?));
        if after > last {
            return Err(FrameError::BadValue("the range of facts"));
        }
        Ok(Self { direction, history, log, after, last })
    }
}

/// One part of a bundle.
pub(super) enum Part {
    /// The first one.
    Head(BundleHead, Encapsulated),
    /// Encrypted frames; whether they are the last ones.
    Chunk(Vec<u8>, bool),
    /// The last one.
    Signature([u8; 64]),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    Head,
    Chunk,
    Signature,
    Nothing,
}

/// Cuts the bytes of a bundle into its parts, and hashes what comes before the signature.
pub(super) struct Cutter {
    bytes: Vec<u8>,
    taken: usize,
    count: u64,
    expects: Expects,
    hasher: blake3::Hasher,
}

impl Cutter {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            taken: 0,
            count: 0,
            expects: Expects::Head,
            hasher: blake3::Hasher::new_derive_key(CONTENT),
        }
    }

    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        self.bytes.extend_from_slice(bytes);
        self.count += bytes.len() as u64;
    }

    /// The next part; `None` while it is not all there.
    pub(super) fn next(&mut self) -> Result<Option<Part>, BundleError> {
        let rest = &self.bytes[self.taken..];
        if self.expects == Expects::Head && !could_begin(rest) {
            return Err(BundleError::NotABundle);
        }
        let mut input = Reader::new(rest);
        let part = match self.expects {
            Expects::Head => read_head(&mut input),
            Expects::Chunk => read_chunk(&mut input).map_err(BundleError::Outside),
            Expects::Signature => input.array().map(Part::Signature).map_err(BundleError::Outside),
            Expects::Nothing if rest.is_empty() => return Ok(None),
            Expects::Nothing => return Err(BundleError::Trailing),
        };
        match part {
            Ok(part) => {
                let length = rest.len() - input.rest().len();
                self.take(&part, length);
                Ok(Some(part))
            }
            Err(BundleError::Outside(error)) if is_short(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, part: &Part, length: usize) {
        self.expects = match part {
            Part::Head(..) | Part::Chunk(_, false) => Expects::Chunk,
            Part::Chunk(_, true) => Expects::Signature,
            Part::Signature(_) => Expects::Nothing,
        };
        if !matches!(part, Part::Signature(_)) {
            self.hasher.update(&self.bytes[self.taken..self.taken + length]);
        }
        self.taken += length;
    }

    /// The hash of everything before the signature, once that has come.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.hasher.finalize().into()
    }

    /// Nothing may be missing.
    pub(super) fn finish(&self) -> Result<(), BundleError> {
        if self.expects == Expects::Nothing {
            return Ok(());
        }
        let begun = self.count >= BUNDLE_MAGIC.len() as u64;
        Err(if begun { BundleError::Truncated } else { BundleError::NotABundle })
    }
}

/// Whether the bytes agree with the beginning of every bundle as far as they go.
fn could_begin(bytes: &[u8]) -> bool {
    let known = bytes.len().min(BUNDLE_MAGIC.len());
    bytes[..known] == BUNDLE_MAGIC[..known]
}

fn read_head(input: &mut Reader<'_>) -> Result<Part, BundleError> {
    let head = BundleHead::read(input)?;
    Ok(Part::Head(head, input.array().map_err(BundleError::Outside)?))
}

fn read_chunk(input: &mut Reader<'_>) -> Result<Part, FrameError> {
    let is_last = input.flag("whether a chunk is the last")?;
    let sealed = input.bytes(CHUNK_BYTES + TAG_BYTES, "a chunk's length")?;
    let is_whole =
        if is_last { sealed.len() >= TAG_BYTES } else { sealed.len() == CHUNK_BYTES + TAG_BYTES };
    if is_whole {
        Ok(Part::Chunk(sealed.to_vec(), is_last))
    } else {
        Err(FrameError::BadValue("a chunk's length"))
    }
}

/// Whether only more bytes are wanted. What comes next is never longer than a chunk.
fn is_short(error: &FrameError) -> bool {
    matches!(error, FrameError::Truncated | FrameError::Varint(VarintError::Truncated))
}

/// The bytes of a chunk.
pub(super) fn chunk_bytes(sealed: &[u8], is_last: bool) -> Vec<u8> {
    let mut out = Writer::new();
    out.unsigned(is_last);
    out.bytes(sealed);
    out.into_bytes()
}

/// The first pass: is all of it there, and what does the outside say?
pub struct BundleScan {
    cutter: Cutter,
    head: Option<(BundleHead, Encapsulated)>,
    signature: Option<[u8; 64]>,
}

impl Default for BundleScan {
    fn default() -> Self {
        Self::new()
    }
}

impl BundleScan {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self { cutter: Cutter::new(), head: None, signature: None }
    }

    /// Takes the next bytes, however they are cut.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.cutter.push(bytes);
        while let Some(part) = self.cutter.next()? {
            match part {
                Part::Head(head, encapsulated) => self.head = Some((head, encapsulated)),
                Part::Chunk(..) => {}
                Part::Signature(signature) => self.signature = Some(signature),
            }
        }
        Ok(())
    }

    /// What the outside says, as soon as it was read; nothing is proved by then.
    pub fn head(&self) -> Option<&BundleHead> {
        self.head.as_ref().map(|(head, _)| head)
    }

    /// No more bytes come.
    pub fn finish(self) -> Result<Scanned, BundleError> {
        self.cutter.finish()?;
        let (head, encapsulated) = self.head.ok_or(BundleError::Truncated)?;
        let signature = self.signature.ok_or(BundleError::Truncated)?;
        let (digest, bytes) = (self.cutter.digest(), self.cutter.count);
        Ok(Scanned { verified: Verified { head, encapsulated, digest, bytes }, signature })
    }
}

/// A bundle that is whole by its outside, from whomever.
#[derive(Clone, Debug)]
pub struct Scanned {
    verified: Verified,
    signature: [u8; 64],
}

impl Scanned {
    /// What the outside says; not proved.
    pub const fn head(&self) -> &BundleHead {
        &self.verified.head
    }

    /// How large it is.
    pub const fn bytes(&self) -> u64 {
        self.verified.bytes
    }

    /// What the signature is over.
    pub const fn digest(&self) -> BundleDigest {
        BundleDigest(self.verified.digest)
    }

    /// The way it goes is the receiver's.
    pub fn check_direction(&self, wanted: Direction) -> Result<(), BundleError> {
        let found = self.verified.head.direction;
        if found == wanted { Ok(()) } else { Err(BundleError::WrongWay(found)) }
    }

    /// Proves that `sender` made all of it: the log's own key on the way to HQ, HQ's on the way
    /// back.
    pub fn verify(self, sender: &VerifyingKey) -> Result<Verified, BundleError> {
        let Self { verified, signature } = self;
        context::verify(sender, SIGNATURE, &verified.digest, &signature)
            .map_err(|_| BundleError::BadSignature)?;
        Ok(verified)
    }
}

/// The outside of a bundle whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub(super) head: BundleHead,
    pub(super) encapsulated: Encapsulated,
    pub(super) digest: [u8; 32],
    bytes: u64,
}

impl Verified {
    /// What the outside says.
    pub const fn head(&self) -> &BundleHead {
        &self.head
    }

    /// How large it is.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

const _: () = assert!(HEAD_BYTES_MAX < CHUNK_BYTES, "a head is held as a chunk is");
