//! Keyed state on its way from HQ to a site: master data and open work, newest version per key, in
//! signed batches. Knows no key and no meaning of a fact. Invariant: a batch speaks to one site,
//! takes it from one cursor to the next of the same handle, and is HQ's word as a whole.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::limits;
use super::payload::{self, PayloadError};
use super::place::{StateCursor, Step};
use super::wire::{self, FrameError, Reader, Writer};
use crate::fact::Fact;
use crate::ids::SiteNo;
use crate::segment::context::{self, BadSignature};

/// A step of a site's keyed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateBatch {
    /// The site it is for.
    pub site: SiteNo,
    /// Where it starts: `at` 0 is a snapshot's first batch, and what the site knew under another
    /// handle goes.
    pub from: StateCursor,
    /// Where it ends, under the same handle.
    pub to: StateCursor,
    /// Where the checkpoint ends that it belongs to. A checkpoint counts as a whole: with the batch
    /// that reaches it.
    pub checkpoint: u64,
    /// The facts, packed.
    packed: Vec<u8>,
    count: u64,
}

/// How a batch stands to what a site has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// It goes on from there, or begins another handle.
    Next,
    /// The site has all of it.
    Known,
    /// What comes before it is missing.
    Gap,
}

impl Following {
    /// How a step from one cursor to another stands to what is stored.
    pub(super) const fn of(from: StateCursor, to: StateCursor, stored: StateCursor) -> Self {
        if from.handle != stored.handle {
            return if from.at == 0 { Self::Next } else { Self::Gap };
        }
        match (from.at <= stored.at, to.at <= stored.at) {
            (_, true) => Self::Known,
            (true, false) => Self::Next,
            (false, false) => Self::Gap,
        }
    }
}

/// A batch with HQ's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStateBatch {
    /// What HQ says.
    pub batch: StateBatch,
    /// By HQ's log key.
    pub signature: [u8; 64],
}

impl StateBatch {
    /// A batch of `facts` that takes `site` from one cursor to the next.
    ///
    /// # Panics
    /// Where the cursors have two handles or run backwards: HQ made them.
    pub fn new(
        site: SiteNo,
        from: StateCursor,
        to: StateCursor,
        checkpoint: u64,
        facts: &[Fact],
    ) -> Self {
        let batch = Self {
            site,
            from,
            to,
            checkpoint,
            packed: payload::pack(facts),
            count: facts.len() as u64,
        };
        assert!(batch.is_possible(), "a batch of state runs forwards under one handle");
        batch
    }

    fn is_possible(&self) -> bool {
        self.from.handle == self.to.handle
            && self.from.at <= self.to.at
            && self.to.at <= self.checkpoint
    }

    /// The facts, in the order in which they apply.
    pub fn facts(&self) -> Result<Vec<Fact>, PayloadError> {
        payload::unpack(&self.packed, self.count)
    }

    /// How many facts it says it has.
    pub const fn facts_count(&self) -> u64 {
        self.count
    }

    /// Whether the checkpoint is reached with it.
    pub const fn reaches_checkpoint(&self) -> bool {
        self.to.at == self.checkpoint
    }

    /// How it stands to what is stored up to `stored`.
    ///
    /// A batch that begins before `stored` and ends after it goes on as well: it brings the newest
    /// version of each of its keys, so what is stored already comes once more, and nothing older.
    pub fn following(&self, stored: StateCursor) -> Following {
        Following::of(self.from, self.to, stored)
    }

    /// Signs with HQ's log key.
    pub fn sign(self, key: &SigningKey) -> SignedStateBatch {
        let signature = context::sign(key, context::STATE_BATCH, &self.encode());
        SignedStateBatch { batch: self, signature }
    }

    fn write(&self, out: &mut Writer) {
        out.unsigned(self.site);
        self.from.write(out);
        self.to.write(out);
        out.unsigned(self.checkpoint);
        out.unsigned(self.count);
        out.bytes(&self.packed);
    }

    fn encode(&self) -> Vec<u8> {
        wire::written(|out| self.write(out))
    }
}

impl Step for SignedStateBatch {
    fn from(&self) -> StateCursor {
        self.batch.from
    }

    fn to(&self) -> StateCursor {
        self.batch.to
    }
}

impl SignedStateBatch {
    /// Checks HQ's signature.
    pub fn verify(&self, hq_key: &VerifyingKey) -> Result<(), BadSignature> {
        let content = self.batch.encode();
        context::verify(hq_key, context::STATE_BATCH, &content, &self.signature)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.batch.write(out);
        out.raw(&self.signature);
    }

    /// The canonical bytes, for stores: what is kept can be given back to HQ.
    pub fn encode(&self) -> Vec<u8> {
        wire::written(|out| self.write(out))
    }

    /// Reads [`SignedStateBatch::encode`]. Says nothing of the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        wire::read_whole(bytes, Self::read)
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let batch = StateBatch {
            site: SiteNo(input.small("a site")?),
            from: StateCursor::read(input)?,
            to: StateCursor::read(input)?,
            checkpoint: input.unsigned()?,
            count: input.unsigned()?,
            packed: input.bytes(limits::STATE_BYTES_MAX, "a batch's facts")?.to_vec(),
        };
        if !batch.is_possible() {
            return Err(FrameError::BadValue("a batch's cursor"));
        }
        Ok(Self { batch, signature: input.array()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Kind, Value};

    #[test]
    fn a_batch_goes_on_is_known_or_leaves_a_gap() {
        let cursor = |handle, at| StateCursor { handle, at };
        for (from, to, stored, expected) in [
            (10, 20, cursor(3, 10), Following::Next),
            (10, 20, cursor(3, 15), Following::Next),
            (0, 20, cursor(3, 15), Following::Next),
            (10, 20, cursor(3, 20), Following::Known),
            (10, 20, cursor(3, 90), Following::Known),
            (10, 20, cursor(3, 9), Following::Gap),
            (0, 20, cursor(2, 90), Following::Next),
            (10, 20, cursor(2, 10), Following::Gap),
            (0, 20, StateCursor::START, Following::Next),
        ] {
            let batch = StateBatch::new(SiteNo(4), cursor(3, from), cursor(3, to), 20, &[]);
            assert_eq!(batch.following(stored), expected, "{from} to {to} after {stored:?}");
        }
    }

    #[test]
    fn a_batch_is_signed_as_a_whole() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let mut fact = Fact::new(Kind::Item);
        fact.push(11, Value::Unsigned(7)).expect("a legal field");
        let (from, to) = (StateCursor { handle: 3, at: 10 }, StateCursor { handle: 3, at: 12 });
        let signed = StateBatch::new(SiteNo(4), from, to, 20, &[fact.clone()]).sign(&key);
        let bytes = wire::written(|out| signed.write(out));
        let read = SignedStateBatch::read(&mut Reader::new(&bytes)).expect("a batch");
        assert_eq!(read.batch.facts(), Ok(vec![fact]));
        assert_eq!(
            (read.verify(&key.verifying_key()), read.batch.reaches_checkpoint()),
            (Ok(()), false)
        );
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let accepted = SignedStateBatch::read(&mut Reader::new(&changed))
                .is_ok_and(|changed| changed.verify(&key.verifying_key()).is_ok());
            assert!(!accepted, "byte {index} is not covered");
        }
    }
}
