//! What neighbours say to each other of bundles: offered, wanted, declined. Knows no store.

use super::super::bundle::{BundleDigest, BundleHead, Direction};
use super::super::frame::{Code, Refusal, Versions};
use super::super::limits;
use super::super::wire::{FrameError, Reader, Writer};
use crate::ids::{HistoryId, LogId, Seq};
use crate::time::Timestamp;

/// The most bytes of a bundle that goes through neighbours: the largest group of the largest facts
/// fits. Usual ones are far smaller.
pub const CARRIED_BYTES_MAX: u64 = 5 * 1024 * 1024;

/// The most bytes of a piece.
pub const PIECE_BYTES: usize = 64 * 1024;

/// The most bytes of a program's name.
const PROGRAM_BYTES_MAX: usize = 64;

/// What either side of a meeting opens with; its certificate says who it is. The range of versions
/// comes first in every version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meet {
    /// The versions it speaks.
    pub versions: Versions,
    /// Its own clock.
    pub time: Timestamp,
    /// Program and version, for people.
    pub program: String,
}

/// A bundle that one side could hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What stands outside of it.
    pub head: BundleHead,
    /// How large it is.
    pub bytes: u64,
    /// What its sender signed.
    pub digest: BundleDigest,
}

/// A bundle that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// Which.
    pub digest: BundleDigest,
    /// The side that declines has the log's facts up to this one, or knows that HQ has.
    pub held: Seq,
    /// Why, for programs.
    pub code: Code,
    /// Why, for people.
    pub text: String,
}

impl Meet {
    pub(in crate::sync) fn write(&self, out: &mut Writer) {
        self.versions.write(out);
        out.signed(self.time.0);
        out.bytes(self.program.as_bytes());
    }

    pub(in crate::sync) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            versions: Versions::read_common(input)?,
            time: Timestamp(input.signed()?),
            program: input.text(PROGRAM_BYTES_MAX, "a program's name")?,
        })
    }
}

impl Offer {
    pub(in crate::sync) fn write(&self, out: &mut Writer) {
        let BundleHead { direction, history, log, after, last } = self.head;
        direction.write(out);
        out.raw(&history.0);
        out.raw(&log.0);
        out.unsigned(after);
        out.unsigned(last);
        out.unsigned(self.bytes);
        out.raw(&self.digest.0);
    }

    pub(in crate::sync) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let direction = Direction::read(input)?;
        let (history, log) = (HistoryId(input.array()?), LogId(input.array()?));
        let (after, last) = (Seq(input.unsigned()?), Seq(input.unsigned()?));
        let bytes = input.unsigned()?;
        if after > last {
            return Err(FrameError::BadValue("the range of facts"));
        }
        if bytes == 0 || bytes > CARRIED_BYTES_MAX {
            return Err(FrameError::BadValue("the size of a bundle"));
        }
        let head = BundleHead { direction, history, log, after, last };
        Ok(Self { head, bytes, digest: BundleDigest(input.array()?) })
    }
}

impl Declined {
    /// An offer is declined. A text that is too long is cut.
    pub fn new(offer: &Offer, held: Seq, code: Code, text: impl Into<String>) -> Self {
        let text = Refusal::new(code, text).text;
        Self { digest: offer.digest, held, code, text }
    }

    pub(in crate::sync) fn write(&self, out: &mut Writer) {
        out.raw(&self.digest.0);
        out.unsigned(self.held);
        out.unsigned(self.code.0);
        out.bytes(self.text.as_bytes());
    }

    pub(in crate::sync) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            digest: BundleDigest(input.array()?),
            held: Seq(input.unsigned()?),
            code: Code(input.small("a code")?),
            text: input.text(limits::TEXT_BYTES_MAX, "why a bundle is declined")?,
        })
    }
}
