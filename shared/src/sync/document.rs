//! Changes of shared documents on their way: from a site to HQ one by one, from HQ to the sites
//! that handle a document in signed batches, which also say what became of a site's own. Knows no
//! document and no content of a change. Invariant: a batch speaks to one site, takes it from one
//! cursor to the next of the same handle, and is HQ's word as a whole: what it takes is final. A site
//! can prove later what HQ told it, and gives it back to an HQ that was restored.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::limits;
use super::place::{StateCursor, Step};
use super::state::Following;
use super::wire::{FrameError, Reader, Writer};
use crate::document::DocumentKey;
use crate::document::limits::{CHANGE_BYTES_MAX, CHANGE_DEPENDENCIES_MAX};
use crate::ids::{ChangeHash, SiteNo};
use crate::segment::context::{self, BadSignature};
use crate::segment::packing;

/// A change that its author sends to HQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentChange {
    /// The document's generation.
    pub key: DocumentKey,
    /// The change's name.
    pub hash: ChangeHash,
    /// The change: whatever came, before anybody looked at it.
    pub bytes: Vec<u8>,
}

/// What HQ says of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentNews {
    /// A change that is in it now.
    Change {
        /// The document's generation.
        key: DocumentKey,
        /// The change.
        bytes: Vec<u8>,
    },
    /// The same of a change that the site sent on this connection.
    Taken {
        /// The document's generation.
        key: DocumentKey,
        /// The change's name.
        hash: ChangeHash,
    },
    /// A change of this site's that never comes in.
    Refused {
        /// The document's generation.
        key: DocumentKey,
        /// The change's name.
        hash: ChangeHash,
        /// Why, for people.
        reason: String,
    },
}

/// The changes of a document that nothing builds on, as HQ accepted them: a batch's last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedHeads {
    /// The document's generation.
    pub key: DocumentKey,
    /// The heads, in order.
    pub heads: Vec<ChangeHash>,
}

/// A step of what a site knows of its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentBatch {
    /// The site it is for.
    pub site: SiteNo,
    /// Where it starts: `at` 0 under another handle begins anew.
    pub from: StateCursor,
    /// Where it ends, under the same handle.
    pub to: StateCursor,
    /// In the order in which HQ accepted or refused.
    pub news: Vec<DocumentNews>,
    /// Of every document with changes here, as of its last change here.
    pub heads: Vec<AcceptedHeads>,
}

/// A batch with HQ's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDocumentBatch {
    /// What HQ says.
    pub batch: DocumentBatch,
    /// By HQ's log key.
    pub signature: [u8; 64],
    /// Its content as it goes over the wire; packed by whoever made it.
    packed: Vec<u8>,
}

/// The lives of an HQ that was restored, by the handles of their decisions: it asks back what it has
/// told in those that are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lives {
    /// This one.
    pub now: u64,
    /// How far it has the decisions of others.
    pub before: Vec<StateCursor>,
}

/// What HQ once told a site, given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenDocuments {
    /// As HQ signed it.
    pub told: SignedDocumentBatch,
    /// The site's own changes that it names as taken, in its order; empty where one is not at hand.
    own: Vec<Vec<u8>>,
}

impl Lives {
    /// Whether HQ may lack some of what it told in steps that end there.
    pub fn lack(&self, told: StateCursor) -> bool {
        let has = self.before.iter().find(|before| before.handle == told.handle);
        told.handle != self.now && has.is_none_or(|has| has.at < told.at)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.unsigned(self.now);
        out.unsigned(self.before.len() as u64);
        self.before.iter().for_each(|before| before.write(out));
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let now = input.unsigned()?;
        let count = input.count(limits::HQ_LOGS_MAX, "how many lives HQ had")?;
        let before: Result<_, _> = (0..count).map(|_| StateCursor::read(input)).collect();
        Ok(Self { now, before: before? })
    }
}

impl GivenDocuments {
    /// What HQ told, with the site's own changes in it as far as `own` has them and there is room.
    pub fn new<E>(
        told: SignedDocumentBatch,
        mut own: impl FnMut(DocumentKey, ChangeHash) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let (mut found, mut room) = (Vec::new(), limits::DOCUMENTS_BYTES_MAX);
        for (key, hash) in told.batch.taken() {
            let bytes = own(key, hash)?.filter(|bytes| bytes.len() + 8 <= room);
            let bytes = bytes.unwrap_or_default();
            room -= (bytes.len() + 8).min(room);
            found.push(bytes);
        }
        Ok(Self { told, own: found })
    }

    /// Every change that HQ took, in its order, with its bytes; and its name, where HQ signed that alone:
    /// then the bytes prove nothing until they are compared with it.
    pub fn changes(&self) -> impl Iterator<Item = (DocumentKey, Option<ChangeHash>, &[u8])> {
        let mut own = self.own.iter();
        self.told.batch.news.iter().filter_map(move |news| match news {
            DocumentNews::Change { key, bytes } => Some((*key, None, bytes.as_slice())),
            DocumentNews::Taken { key, hash } => {
                own.next().map(|bytes| (*key, Some(*hash), bytes.as_slice()))
            }
            DocumentNews::Refused { .. } => None,
        })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.told.write(out);
        self.own.iter().for_each(|bytes| out.bytes(bytes));
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let told = SignedDocumentBatch::read(input)?;
        let count = told.batch.taken().count();
        let own = |_| Ok(input.bytes(CHANGE_BYTES_MAX, "a change's length")?.to_vec());
        let own: Result<_, FrameError> = (0..count).map(own).collect();
        Ok(Self { told, own: own? })
    }
}

impl DocumentChange {
    pub(super) fn write(&self, out: &mut Writer) {
        out.raw(&self.key.encode());
        out.raw(&self.hash.0);
        out.raw(&self.bytes);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let (key, hash) = (input.document()?, ChangeHash(input.array()?));
        Ok(Self { key, hash, bytes: input.rest().to_vec() })
    }
}

const CHANGE: u64 = 1;
const TAKEN: u64 = 2;
const REFUSED: u64 = 3;

impl DocumentNews {
    /// The document's generation.
    pub const fn key(&self) -> DocumentKey {
        match self {
            Self::Change { key, .. } | Self::Taken { key, .. } | Self::Refused { key, .. } => *key,
        }
    }

    /// The name of a change of this site's that HQ decided on.
    pub const fn decided(&self) -> Option<ChangeHash> {
        match self {
            Self::Change { .. } => None,
            Self::Taken { hash, .. } | Self::Refused { hash, .. } => Some(*hash),
        }
    }

    fn write(&self, out: &mut Writer) {
        let (kind, key) = match self {
            Self::Change { key, .. } => (CHANGE, key),
            Self::Taken { key, .. } => (TAKEN, key),
            Self::Refused { key, .. } => (REFUSED, key),
        };
        out.unsigned(kind);
        out.raw(&key.encode());
        match self {
            Self::Change { bytes, .. } => out.bytes(bytes),
            Self::Taken { hash, .. } => out.raw(&hash.0),
            Self::Refused { hash, reason, .. } => {
                out.raw(&hash.0);
                out.bytes(reason.as_bytes());
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let (kind, key) = (input.unsigned()?, input.document()?);
        Ok(match kind {
            CHANGE => {
                let bytes = input.bytes(CHANGE_BYTES_MAX, "a change's length")?.to_vec();
                Self::Change { key, bytes }
            }
            TAKEN => Self::Taken { key, hash: ChangeHash(input.array()?) },
            REFUSED => {
                let hash = ChangeHash(input.array()?);
                Self::Refused { key, hash, reason: input.text(limits::TEXT_BYTES_MAX, "a reason")? }
            }
            _ => return Err(FrameError::BadValue("news of a document")),
        })
    }
}

impl AcceptedHeads {
    fn write(&self, out: &mut Writer) {
        out.raw(&self.key.encode());
        out.unsigned(self.heads.len() as u64);
        self.heads.iter().for_each(|head| out.raw(&head.0));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let key = input.document()?;
        let count = input.count(limits::DOCUMENT_HEADS_MAX, "how many heads")?;
        let heads: Result<Vec<_>, _> = (0..count).map(|_| input.array().map(ChangeHash)).collect();
        let heads = heads?;
        if heads.is_sorted_by(|one, next| one < next) {
            Ok(Self { key, heads })
        } else {
            Err(FrameError::BadValue("the order of heads"))
        }
    }
}

impl DocumentBatch {
    /// The site's own changes that HQ took, and that the site has.
    fn taken(&self) -> impl Iterator<Item = (DocumentKey, ChangeHash)> {
        self.news.iter().filter_map(|news| match news {
            DocumentNews::Taken { key, hash } => Some((*key, *hash)),
            DocumentNews::Change { .. } | DocumentNews::Refused { .. } => None,
        })
    }

    fn is_possible(&self) -> bool {
        self.from.handle == self.to.handle && self.from.at <= self.to.at
    }

    /// The changes and the heads: what is packed on the wire, and signed as it is.
    fn content(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.unsigned(self.news.len() as u64);
        self.news.iter().for_each(|news| news.write(&mut out));
        out.unsigned(self.heads.len() as u64);
        self.heads.iter().for_each(|heads| heads.write(&mut out));
        out.into_bytes()
    }

    fn signed(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.unsigned(self.site);
        self.from.write(&mut out);
        self.to.write(&mut out);
        out.raw(&self.content());
        out.into_bytes()
    }

    /// How it stands to what is stored up to `stored`. What is stored already may come once more.
    pub const fn following(&self, stored: StateCursor) -> Following {
        Following::of(self.from, self.to, stored)
    }

    /// Signs with HQ's log key.
    ///
    /// # Panics
    /// Where the cursors have two handles or run backwards: HQ made them.
    pub fn sign(self, key: &SigningKey) -> SignedDocumentBatch {
        assert!(self.is_possible(), "a batch of changes runs forwards under one handle");
        let signature = context::sign(key, context::DOCUMENT_BATCH, &self.signed());
        SignedDocumentBatch { packed: packing::pack(&self.content()), batch: self, signature }
    }
}

impl SignedDocumentBatch {
    /// Checks HQ's signature.
    pub fn verify(&self, hq_key: &VerifyingKey) -> Result<(), BadSignature> {
        let content = self.batch.signed();
        context::verify(hq_key, context::DOCUMENT_BATCH, &content, &self.signature)
    }

    /// The canonical bytes, for stores: what is kept can be given back to HQ.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.into_bytes()
    }

    /// Reads [`Self::encode`]. Says nothing of the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut input = Reader::new(bytes);
        let signed = Self::read(&mut input)?;
        input.finish()?;
        Ok(signed)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.unsigned(self.batch.site);
        self.batch.from.write(out);
        self.batch.to.write(out);
        out.bytes(&self.packed);
        out.raw(&self.signature);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let site = SiteNo(input.small("a site")?);
        let (from, to) = (StateCursor::read(input)?, StateCursor::read(input)?);
        let packed = input.bytes(limits::DOCUMENTS_BYTES_MAX, "a batch's changes")?;
        let bad = || FrameError::BadValue("a batch's changes");
        let content =
            packing::unpack_within(packed, limits::DOCUMENTS_UNPACKED_MAX).map_err(|_| bad())?;
        let mut content = Reader::new(&content);
        let count = content.count(limits::DOCUMENT_NEWS_MAX, "how much news")?;
        let news: Result<_, _> = (0..count).map(|_| DocumentNews::read(&mut content)).collect();
        let news = news?;
        let count = content.count(limits::DOCUMENT_NEWS_MAX, "how many documents")?;
        let heads: Result<_, _> = (0..count).map(|_| AcceptedHeads::read(&mut content)).collect();
        let heads = heads?;
        content.finish()?;
        let batch = DocumentBatch { site, from, to, news, heads };
        if !batch.is_possible() {
            return Err(FrameError::BadValue("a batch's cursor"));
        }
        Ok(Self { batch, signature: input.array()?, packed: packed.to_vec() })
    }
}

impl Step for SignedDocumentBatch {
    fn from(&self) -> StateCursor {
        self.batch.from
    }

    fn to(&self) -> StateCursor {
        self.batch.to
    }
}

/// The most heads that a document can have: each is a change.
const _: () = assert!(limits::DOCUMENT_HEADS_MAX >= CHANGE_DEPENDENCIES_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::DocumentId;

    fn batch() -> SignedDocumentBatch {
        let key = DocumentKey::first(DocumentId::SiteNotes { site: SiteNo(4) });
        let cursor = |at| StateCursor { handle: 3, at };
        DocumentBatch {
            site: SiteNo(4),
            from: cursor(10),
            to: cursor(13),
            news: vec![
                DocumentNews::Change { key, bytes: vec![7; 300] },
                DocumentNews::Taken { key, hash: ChangeHash([5; 32]) },
                DocumentNews::Refused { key, hash: ChangeHash([6; 32]), reason: "no".to_owned() },
            ],
            heads: vec![AcceptedHeads {
                key,
                heads: vec![ChangeHash([1; 32]), ChangeHash([2; 32])],
            }],
        }
        .sign(&SigningKey::from_bytes(&[5; 32]))
    }

    #[test]
    fn a_batch_is_signed_as_a_whole() {
        let (signed, key) = (batch(), SigningKey::from_bytes(&[5; 32]).verifying_key());
        let mut out = Writer::new();
        signed.write(&mut out);
        let bytes = out.into_bytes();
        let read = SignedDocumentBatch::read(&mut Reader::new(&bytes)).expect("a batch");
        assert_eq!((read.verify(&key), &read), (Ok(()), &signed));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let accepted = SignedDocumentBatch::read(&mut Reader::new(&changed))
                .is_ok_and(|read| read.verify(&key).is_ok() && read.batch != signed.batch);
            assert!(!accepted, "byte {index} is not covered");
        }
    }
}
