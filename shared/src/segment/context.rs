//! The context of every hash and signature, so that none made for one purpose stands for another.
//! Knows no keys and no formats. Invariant: no two strings here are equal and none ever changes.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Hash of a genesis record: names a log and is its first head.
pub const GENESIS: &str = "warebook 2026-11 genesis";
/// Hash of the facts since a window's start: a head.
pub const CHAIN: &str = "warebook 2026-11 chain";
/// Hash that gives a journal document its actor.
pub const JOURNAL_ACTOR: &str = "warebook 2026-11 journal actor";
/// Salted hash of a text that stands beside a fact.
pub const TEXT: &str = "warebook 2026-11 text";
/// Hash of the first fact of a branch: stands for the random bytes in its log's genesis.
pub const BRANCH: &str = "warebook 2026-11 branch";
/// A writer's signature under a seal.
pub const SEAL: &str = "warebook 2026-11 seal";
/// HQ's signature under an acknowledgement.
pub const ACKNOWLEDGEMENT: &str = "warebook 2026-11 acknowledgement";
/// HQ's signature under a batch of keyed state.
pub const STATE_BATCH: &str = "warebook 2026-11 state batch";
/// HQ's signature under a site's stock.
pub const SITE_STOCK: &str = "warebook 2026-11 site stock";
/// Hash that gives an installation its actor in shared documents.
pub const DOCUMENT_ACTOR: &str = "warebook 2026-11 document actor";
/// Hash that gives a shared document's beginning its actor.
pub const DOCUMENT_GENESIS: &str = "warebook 2026-11 document genesis";
/// HQ's signature under a batch of changes of shared documents.
pub const DOCUMENT_BATCH: &str = "warebook 2026-11 document batch";

/// HQ's signature under what became of facts.
pub const POSTINGS: &str = "warebook 2026-11 postings";

/// Every context: hashes first, then signatures.
pub const ALL: &[&str] = &[
    GENESIS,
    CHAIN,
    JOURNAL_ACTOR,
    TEXT,
    BRANCH,
    DOCUMENT_ACTOR,
    DOCUMENT_GENESIS,
    SEAL,
    ACKNOWLEDGEMENT,
    STATE_BATCH,
    SITE_STOCK,
    DOCUMENT_BATCH,
    POSTINGS,
];

/// How many random bytes salt the hash of a text.
pub const SALT_BYTES: usize = 16;

/// A signature that does not belong to this key, context and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by this key over this body: ask the sender for the original")]
pub struct BadSignature;

/// BLAKE3 in key-derivation mode: the context becomes the key.
pub fn hash(context: &str, body: &[u8]) -> [u8; 32] {
    blake3::derive_key(context, body)
}

/// The hash that stands in a fact for a text beside it.
pub fn text_hash(salt: &[u8; SALT_BYTES], text: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(TEXT);
    hasher.update(salt).update(text.as_bytes());
    hasher.finalize().into()
}

/// What is signed: length of the context (one byte), context, body. No two pairs of context and
/// content make the same bytes.
pub fn signed_bytes(context: &str, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(context.len()).expect("contexts are short constants");
    let mut bytes = Vec::with_capacity(1 + context.len() + body.len());
    bytes.push(length);
    bytes.extend_from_slice(context.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Signs content for one purpose.
pub fn sign(key: &SigningKey, context: &str, body: &[u8]) -> [u8; 64] {
    key.sign(&signed_bytes(context, body)).to_bytes()
}

/// Checks a signature made by [`sign`]; refuses weak keys and second forms of a signature.
pub fn verify(
    key: &VerifyingKey,
    context: &str,
    body: &[u8],
    signature: &[u8; 64],
) -> Result<(), BadSignature> {
    key.verify_strict(&signed_bytes(context, body), &Signature::from_bytes(signature))
        .map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_distinct() {
        let distinct: std::collections::BTreeSet<_> = ALL.iter().collect();
        assert_eq!(distinct.len(), ALL.len());
    }

    #[test]
    fn a_signature_holds_for_its_context_only() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signature = sign(&key, SEAL, b"content");
        let public = key.verifying_key();
        assert_eq!(verify(&public, SEAL, b"content", &signature), Ok(()));
        for (context, body) in
            [(ACKNOWLEDGEMENT, b"content".as_slice()), (SEAL, b"Content"), (SEAL, b"")]
        {
            assert_eq!(verify(&public, context, body, &signature), Err(BadSignature));
        }
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        assert_eq!(verify(&other, SEAL, b"content", &signature), Err(BadSignature));
    }
}
