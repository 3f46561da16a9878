//! Idempotency keys: what a client names a request by, so that a retry is harmless. They stay at
//! the edge and never travel. Invariant: one key has one input and one answer.

use shared::ids::Seq;

/// A client's key, hashed: 96 bits, so that two of a billion keys meet once in 10^11 stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 12]);

/// What was recorded under a key, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputHash(pub [u8; 7]);

/// A key and the input it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key.
    pub key: KeyHash,
    /// The input.
    pub input: InputHash,
}

impl IdempotencyKey {
    /// Hashes a client's key and the input.
    pub fn new(key: &str, input: &[u8]) -> Self {
        let first = |hash: blake3::Hash| *hash.as_bytes();
        let key = first(blake3::hash(key.as_bytes()));
        let input = first(blake3::hash(input));
        Self {
            key: KeyHash(*key.first_chunk().expect("a hash has 32 bytes")),
            input: InputHash(*input.first_chunk().expect("a hash has 32 bytes")),
        }
    }
}

/// What stands under a key in the store: five bytes of place, seven of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyEntry {
    pub(super) first: Seq,
    pub(super) input: InputHash,
}

impl KeyEntry {
    pub(super) fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        assert!(self.first.0 < 1 << 40, "a log of 10^12 facts is beyond any disk here");
        bytes[..5].copy_from_slice(&self.first.0.to_be_bytes()[3..]);
        bytes[5..].copy_from_slice(&self.input.0);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; 12]) -> Self {
        let mut first = [0; 8];
        first[3..].copy_from_slice(&bytes[..5]);
        let mut input = [0; 7];
        input.copy_from_slice(&bytes[5..]);
        Self { first: Seq(u64::from_be_bytes(first)), input: InputHash(input) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back() {
        let key = IdempotencyKey::new("scan-1", b"input");
        let entry = KeyEntry { first: Seq((1 << 40) - 1), input: key.input };
        assert_eq!(KeyEntry::from_bytes(&entry.to_bytes()), entry);
        assert_ne!(IdempotencyKey::new("scan-2", b"input").key, key.key);
        assert_ne!(IdempotencyKey::new("scan-1", b"Input").input, key.input);
    }
}
