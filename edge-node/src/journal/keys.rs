//! Idempotency keys: what a client names a request by, so that a retry is harmless. They stay at
//! the edge and never travel. Knows no store. Invariant: while a key is remembered, it has one
//! input and one answer.

use shared::ids::Seq;

/// A client's key, hashed: 96 bits, so that two of a billion keys meet once in 10^11 stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 12]);

/// What was recorded under a key, hashed: enough to notice a key that is used twice by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputHash(pub [u8; 4]);

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

/// What stands under a key: the first fact of the answer, and the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyEntry {
    pub(super) first: Seq,
    pub(super) input: InputHash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_texts_are_other_hashes() {
        let key = IdempotencyKey::new("scan-1", b"input");
        assert_ne!(IdempotencyKey::new("scan-2", b"input").key, key.key);
        assert_ne!(IdempotencyKey::new("scan-1", b"Input").input, key.input);
        assert_eq!(IdempotencyKey::new("scan-1", b"input"), key);
    }
}
