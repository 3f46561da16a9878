//! What the writer of a log signs: a range of facts, the head after it and the head of the journal
//! document that holds it. Knows no facts. Invariant: only the writer packages; one seal per
//! range, and none crosses a chunk boundary.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::SEGMENT_FACTS_MAX;
use super::context::{self, BadSignature};
use crate::ids::{ChangeHash, Head, LogId, Seq};
use crate::varint::{self, VarintError};

/// How many facts of a log one journal document holds.
pub const CHUNK_FACTS: u64 = 65_536;

/// The chunk that a fact belongs to: 0 for facts 1 to [`CHUNK_FACTS`].
pub fn chunk_of(seq: Seq) -> u64 {
    assert!(seq > Seq::ZERO, "the first fact of a log is 1");
    (seq.0 - 1) / CHUNK_FACTS
}

/// The last fact that one seal may cover when it starts at `first` and `last` is the newest: none
/// crosses a chunk boundary or covers more than [`SEGMENT_FACTS_MAX`] facts.
///
/// A seal may end inside a group (a chunk boundary may lie in one): it says what was written, not
/// what is taken together. Runs are what never cuts a group.
pub fn last_sealable(first: Seq, last: Seq) -> Seq {
    assert!(first <= last, "a seal covers at least one fact");
    let chunk_end = (chunk_of(first) + 1) * CHUNK_FACTS;
    Seq(last.0.min(first.0 + SEGMENT_FACTS_MAX as u64 - 1).min(chunk_end))
}

/// A range of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The log.
    pub log: LogId,
    /// Its first fact in the range.
    pub first: Seq,
    /// Its last fact in the range.
    pub last: Seq,
    /// The chain's head after the last fact.
    pub head: Head,
    /// The hash of the change that holds the range in the chunk's journal document.
    pub document_head: ChangeHash,
}

/// A seal and the writer's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedSeal {
    /// What is signed.
    pub seal: Seal,
    /// By the log's key.
    pub signature: [u8; 64],
}

/// Bytes that are no seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The bytes end inside the seal.
    #[error("the bytes end inside a seal")]
    Truncated,
    /// Bytes follow the seal.
    #[error("{0} bytes follow a seal")]
    Trailing(usize),
    /// A number has no legal form.
    #[error("a place in a seal is out of range: {0}")]
    Number(#[from] VarintError),
    /// The range is empty, too long, or in two chunks.
    #[error(
        "a seal covers facts {first} to {last}: at most {SEGMENT_FACTS_MAX} facts of one chunk"
    )]
    BadRange {
        /// Its first fact.
        first: Seq,
        /// Its last fact.
        last: Seq,
    },
}

impl Seal {
    /// The bytes that are signed, behind their context.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(176);
        out.extend_from_slice(&self.log.0);
        varint::write_unsigned(&mut out, self.first.0);
        varint::write_unsigned(&mut out, self.last.0);
        out.extend_from_slice(&self.head.0);
        out.extend_from_slice(&self.document_head.0);
        out
    }

    /// Signs with the log's key.
    pub fn sign(self, key: &SigningKey) -> SignedSeal {
        let signature = context::sign(key, context::SEAL, &self.encode());
        SignedSeal { seal: self, signature }
    }

    fn take(input: &mut &[u8]) -> Result<Self, SealError> {
        let log = LogId(take(input)?);
        let first = Seq(varint::read_unsigned(input)?);
        let last = Seq(varint::read_unsigned(input)?);
        if first == Seq::ZERO || first > last || last_sealable(first, last) != last {
            return Err(SealError::BadRange { first, last });
        }
        Ok(Self {
            log,
            first,
            last,
            head: Head(take(input)?),
            document_head: ChangeHash(take(input)?),
        })
    }
}

impl SignedSeal {
    /// Checks the signature against the log's key.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        context::verify(key, context::SEAL, &self.seal.encode(), &self.signature)
    }

    /// The seal's bytes, then the signature.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.seal.encode();
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads a seal in its one legal form. Says nothing of the signature: [`SignedSeal::verify`].
    pub fn decode(mut input: &[u8]) -> Result<Self, SealError> {
        let input = &mut input;
        let signed = Self { seal: Seal::take(input)?, signature: take(input)? };
        if input.is_empty() { Ok(signed) } else { Err(SealError::Trailing(input.len())) }
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], SealError> {
    let (bytes, rest) = input.split_first_chunk().ok_or(SealError::Truncated)?;
    *input = rest;
    Ok(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Seal {
        Seal {
            log: LogId([1; 32]),
            first: Seq(1_000),
            last: Seq(1_255),
            head: Head([2; 32]),
            document_head: ChangeHash([3; 32]),
        }
    }

    #[test]
    fn ranges_end_with_their_chunk() {
        for (first, last, expected) in [
            (1, 1, 1),
            (1, 4_096, 4_096),
            (1, 4_097, 4_096),
            (65_000, 70_000, 65_536),
            (65_536, 65_537, 65_536),
            (65_537, 65_540, 65_540),
            (131_072, 200_000, 131_072),
        ] {
            assert_eq!(last_sealable(Seq(first), Seq(last)), Seq(expected), "{first} to {last}");
        }
    }

    #[test]
    fn signed_and_read_back() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let signed = sample().sign(&key);
        let bytes = signed.encode();
        assert_eq!(SignedSeal::decode(&bytes), Ok(signed));
        assert_eq!(SignedSeal::decode(&[&bytes[..], &[0]].concat()), Err(SealError::Trailing(1)));
        assert_eq!(signed.verify(&key.verifying_key()), Ok(()));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let accepted = SignedSeal::decode(&changed)
                .is_ok_and(|changed| changed.verify(&key.verifying_key()).is_ok());
            assert!(!accepted, "byte {index} is not covered");
            assert!(SignedSeal::decode(&bytes[..index]).is_err());
        }
    }

    #[test]
    fn illegal_ranges_are_refused() {
        for (first, last) in [(0, 1), (5, 4), (1, 4_097), (65_536, 65_537)] {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&[1; 32]);
            varint::write_unsigned(&mut bytes, first);
            varint::write_unsigned(&mut bytes, last);
            bytes.extend_from_slice(&[0; 128]);
            let expected = SealError::BadRange { first: Seq(first), last: Seq(last) };
            assert_eq!(SignedSeal::decode(&bytes), Err(expected));
        }
    }
}
