//! A bundle: what two sides say to each other, in a file that anybody may carry (`PROTOCOL.md`, "In
//! a file"). Knows no file system, no clock and no store. Invariants: whoever carries a bundle sees
//! log, range and size, and can change nothing of it unnoticed; no bytes make a reader hold more
//! than a chunk and a frame.
//!
//! Reading goes in two passes over the bytes. [`BundleScan`] reads the outside alone and proves,
//! by the sender's signature, that nothing is missing and nothing was changed. Only then
//! [`BundleReader`] decrypts and gives the frames, so that a damaged file has no effect at all.

mod inside;
mod note;
mod outside;
#[cfg(test)]
mod tests;

pub use inside::{BundleReader, BundleWriter, Seed};
pub use note::{NOTE_FACTS_MAX, read_note, write_note};
pub use outside::{BundleScan, Scanned, Verified};

use super::wire::{FrameError, Reader, Writer};
use crate::ids::{HistoryId, LogId, Seq};

/// The version of bundles that this program reads and writes: of the file and of the frames in it.
pub const BUNDLE_VERSION: u32 = 1;

/// Every bundle begins with this: one line of text, so that whoever opens it sees what it is.
pub const BUNDLE_MAGIC: [u8; 16] = *b"warebook bundle\n";

/// How many bytes of frames one chunk holds; only the last one may hold fewer.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// The most bytes of a bundle that a program takes: more than a hundred million movements.
pub const BUNDLE_BYTES_MAX: u64 = 1 << 30;

/// Hash of a bundle, from its first byte to its signature.
const CONTENT: &str = "warebook 2026-11 bundle content";
/// The sender's signature under that hash.
const SIGNATURE: &str = "warebook 2026-11 bundle";
/// What the keys of the encryption are derived for.
const KEY: &str = "warebook 2026-11 bundle key";

/// Which way a bundle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From an installation to HQ: facts and seals.
    ToHq,
    /// From HQ to an installation: acknowledgement and keyed state.
    FromHq,
    /// From an installation to another one, which writes this log: a dispatch note, what the one has
    /// shipped to the other.
    ToSite(LogId),
}

impl Direction {
    /// As it is written, but for the receiver.
    const fn number(self) -> u64 {
        match self {
            Self::ToHq => 1,
            Self::FromHq => 2,
            Self::ToSite(_) => 3,
        }
    }

    pub(super) fn write(self, out: &mut Writer) {
        out.unsigned(self.number());
        if let Self::ToSite(receiver) = self {
            out.raw(&receiver.0);
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        match input.unsigned()? {
            1 => Ok(Self::ToHq),
            2 => Ok(Self::FromHq),
            3 => Ok(Self::ToSite(LogId(input.array()?))),
            _ => Err(FrameError::BadValue("the direction")),
        }
    }
}

/// What a bundle's sender signed: the hash of everything before the signature. Names the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleDigest(pub [u8; 32]);

/// What stands outside, for everybody to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleHead {
    /// Which way it goes.
    pub direction: Direction,
    /// The life of HQ's store that the sender knows, or lives.
    pub history: HistoryId,
    /// The log it is about.
    pub log: LogId,
    /// Facts after this one are in it. From HQ, and of a dispatch note: 0.
    pub after: Seq,
    /// Up to this one. From HQ: what it acknowledges. Of a dispatch note: up to where its log was
    /// looked through.
    pub last: Seq,
}

/// Why a bundle is not read. What to do next is the carrier's or the sender's, never the reader's:
/// nothing was taken of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Other bytes.
    #[error(
        "this is no bundle: give the file that 'edge-node bundle export' or 'hq-server bundle \
         export' made"
    )]
    NotABundle,
    /// A later program made it.
    #[error(
        "this bundle is of version {0}, and this program reads version {BUNDLE_VERSION}: update the \
         program, then import it again"
    )]
    OtherVersion(u32),
    /// It ends before its end.
    #[error(
        "this bundle ends too early: copy it again from where it was made, and wait until the stick \
         may be taken out; else export it anew"
    )]
    Truncated,
    /// Something follows its end.
    #[error(
        "bytes follow the end of this bundle: it was changed on its way; copy it again from where it \
         was made, or export it anew"
    )]
    Trailing,
    /// The outside is not in its one legal form.
    #[error(
        "the outside of this bundle is damaged ({0}): copy it again from where it was made, or export \
         it anew"
    )]
    Outside(FrameError),
    /// The signature is not the sender's over these bytes.
    #[error(
        "this bundle was damaged or changed on its way, or somebody else made it: its signature does \
         not hold; copy it again from where it was made, or export it anew"
    )]
    BadSignature,
    /// It goes the other way.
    #[error("{}", wrong_way(*.0))]
    WrongWay(Direction),
    /// Encrypted to another key.
    #[error("this bundle is encrypted to somebody else: import it where it was sent to")]
    OtherReceiver,
    /// The receiver's key can't be encrypted to.
    #[error("the receiver's key can't be used for encryption: enrol the installation anew")]
    UnusableKey,
    /// The file is another one than was proved a moment ago.
    #[error("the file changed while it was read: import it again once nobody writes to it")]
    Changed,
    /// Signed and encrypted well, and still no frames of this protocol.
    #[error(
        "this bundle was made by a program that does not keep to the protocol ({0}): compare the \
         versions of both programs, and export it anew"
    )]
    Inside(String),
}

fn wrong_way(found: Direction) -> &'static str {
    match found {
        Direction::ToHq => {
            "this bundle goes to HQ: import it there, with 'hq-server bundle import'"
        }
        Direction::FromHq => {
            "this bundle comes from HQ and goes to a warehouse: import it there, with 'edge-node \
             bundle import'"
        }
        Direction::ToSite(_) => {
            "this bundle is a dispatch note between two warehouses: it goes by way of their neighbours"
        }
    }
}

impl BundleHead {
    /// How many facts are in it.
    pub const fn facts(&self) -> u64 {
        self.last.0.saturating_sub(self.after.0)
    }
}
