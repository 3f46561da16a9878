//! What HQ says, signed, of how far it has a log. The same over a connection, through a relay and
//! in a file. Knows no transport. Invariant: the levels never overtake each other, posted and safe
//! stay at or below received.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::place::Position;
use super::wire::{FrameError, Reader, Writer};
use crate::ids::{HistoryId, LogId, Seq};
use crate::segment::context::{self, BadSignature};
use crate::time::Timestamp;

/// How far HQ has a log, in three levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The life of HQ's store that says so; a restore starts another.
    pub history: HistoryId,
    /// The log spoken of.
    pub log: LogId,
    /// Durable at HQ, up to and including this fact.
    pub received: Position,
    /// Also on a second machine or in a verified backup.
    pub safe: Seq,
    /// In the books.
    pub posted: Seq,
    /// HQ's time when it said so.
    pub at: Timestamp,
}

/// An acknowledgement with HQ's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedAcknowledgement {
    /// What HQ says.
    pub acknowledgement: Acknowledgement,
    /// By HQ's log key.
    pub signature: [u8; 64],
}

/// The most bytes of [`SignedAcknowledgement::encode`].
pub(super) const ACKNOWLEDGEMENT_BYTES_MAX: usize = 4 * 32 + 4 * 9 + 64;

impl Acknowledgement {
    fn write(&self, out: &mut Writer) {
        out.raw(&self.history.0);
        out.raw(&self.log.0);
        self.received.write(out);
        out.unsigned(self.safe);
        out.unsigned(self.posted);
        out.signed(self.at.0);
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.into_bytes()
    }

    /// Signs with HQ's log key.
    ///
    /// # Panics
    /// Where `safe` or `posted` are beyond `received`: HQ would state what it can't know.
    pub fn sign(self, key: &SigningKey) -> SignedAcknowledgement {
        assert!(self.is_possible(), "safe and posted are at or below received");
        let signature = context::sign(key, context::ACKNOWLEDGEMENT, &self.encode());
        SignedAcknowledgement { acknowledgement: self, signature }
    }

    fn is_possible(&self) -> bool {
        self.safe <= self.received.last && self.posted <= self.received.last
    }
}

impl SignedAcknowledgement {
    /// Checks HQ's signature.
    pub fn verify(&self, hq_key: &VerifyingKey) -> Result<(), BadSignature> {
        let content = self.acknowledgement.encode();
        context::verify(hq_key, context::ACKNOWLEDGEMENT, &content, &self.signature)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.acknowledgement.write(out);
        out.raw(&self.signature);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let acknowledgement = Acknowledgement {
            history: HistoryId(input.array()?),
            log: LogId(input.array()?),
            received: Position::read(input)?,
            safe: Seq(input.unsigned()?),
            posted: Seq(input.unsigned()?),
            at: Timestamp(input.signed()?),
        };
        if !acknowledgement.is_possible() {
            return Err(FrameError::BadValue("an acknowledgement's safe or posted place"));
        }
        Ok(Self { acknowledgement, signature: input.array()? })
    }

    /// The canonical bytes: for stores and files.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.into_bytes()
    }

    /// Reads [`SignedAcknowledgement::encode`]. Says nothing of the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut input = Reader::new(bytes);
        let signed = Self::read(&mut input)?;
        input.finish()?;
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Head;

    fn sample() -> Acknowledgement {
        Acknowledgement {
            history: HistoryId([1; 32]),
            log: LogId([2; 32]),
            received: Position { last: Seq(4_000), head: Head([3; 32]) },
            safe: Seq(3_000),
            posted: Seq(4_000),
            at: Timestamp(1_795_519_885_123),
        }
    }

    #[test]
    fn every_byte_is_signed() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let signed = sample().sign(&key);
        let bytes = signed.encode();
        assert!(bytes.len() <= ACKNOWLEDGEMENT_BYTES_MAX);
        assert_eq!(SignedAcknowledgement::decode(&bytes), Ok(signed));
        assert_eq!(signed.verify(&key.verifying_key()), Ok(()));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let accepted = SignedAcknowledgement::decode(&changed)
                .is_ok_and(|changed| changed.verify(&key.verifying_key()).is_ok());
            assert!(!accepted, "byte {index} is not covered");
        }
    }

    #[test]
    fn levels_beyond_received_are_impossible() {
        let impossible = Acknowledgement { posted: Seq(4_001), ..sample() };
        let bytes =
            SignedAcknowledgement { acknowledgement: impossible, signature: [0; 64] }.encode();
        let expected = FrameError::BadValue("an acknowledgement's safe or posted place");
        assert_eq!(SignedAcknowledgement::decode(&bytes), Err(expected));
    }
}
