//! What the link needs of the node's journal, so that it can be tried with another one. Knows no
//! file. Invariant: what a position or a reply names is durable already.

use std::sync::Arc;

use shared::ids::{Capture, Head, Seq};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::{
    DocumentChange, GivenDocuments, Lives, Position, PostingsKnown, Run, SignedAcknowledgement,
    SignedDocumentBatch, SignedPostings, SignedStateBatch, StateCursor,
};
use tokio::sync::watch;

use super::status::LinkStatus;

/// Why the journal could not do what the link asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EdgeStoreError {
    /// The journal's file fails, or the disk is full.
    #[error("{0}")]
    Failed(String),
    /// HQ's keyed state can't be read by this program.
    #[error("HQ's master data can't be read: {0}; update edge-node")]
    BadState(String),
    /// A bundle brought documents of another life of HQ meanwhile.
    #[error("documents came another way meanwhile, and HQ's do not go on from there")]
    Overtaken,
}

/// The journal as the link sees it. Methods may block; the link calls them where that is allowed.
pub trait EdgeStore: Send + Sync + 'static {
    /// What the log starts with.
    fn genesis(&self) -> Genesis;

    /// How far the log is durable; changes with every record.
    fn position(&self) -> watch::Receiver<Position>;

    /// How far the log is sealed; changes with every seal.
    fn sealed(&self) -> watch::Receiver<Seq>;

    /// Facts from `first` on: whole groups, one at least, else at most `facts_max`; `None` where
    /// there are none.
    fn run_from(&self, first: Seq, facts_max: usize) -> Result<Option<Run>, EdgeStoreError>;

    /// The chain's head after a fact of the log.
    fn head_at(&self, seq: Seq) -> Result<Head, EdgeStoreError>;

    /// Seals whose first fact is `first` or later, in order, at most `seals_max`.
    fn seals_from(&self, first: Seq, seals_max: usize) -> Result<Vec<SignedSeal>, EdgeStoreError>;

    /// The newest acknowledgement that was noted.
    fn acknowledgement(&self) -> Option<SignedAcknowledgement>;

    /// Keeps an acknowledgement whose signature was checked; need not be durable at once.
    fn note_acknowledgement(&self, signed: SignedAcknowledgement) -> Result<(), EdgeStoreError>;

    /// How far keyed state is applied.
    fn state_cursor(&self) -> StateCursor;

    /// Applies a batch of keyed state whose signature, site and cursor were checked: durable, as a
    /// whole, and the cursor with it.
    fn apply_state(&self, signed: SignedStateBatch) -> Result<(), EdgeStoreError>;

    /// The next batch of keyed state after `after` with a fact that is not among `known`, which says for
    /// each installation of HQ how far it goes; `None` where there is no more.
    fn given(
        &self,
        known: &[Capture],
        after: StateCursor,
    ) -> Result<Option<SignedStateBatch>, EdgeStoreError>;

    /// A log of this node that was set aside, and that HQ may not have all of: it is sent before this
    /// one. Each is given once, unless it is put back.
    fn next_earlier(&self) -> Option<Arc<Self>> {
        None
    }

    /// The connection was lost before HQ had all of it: another one will do.
    fn put_back(&self, earlier: Arc<Self>) {
        drop(earlier);
    }

    /// HQ has all of this log, which was set aside.
    fn note_delivered(&self) {}

    /// How far shared documents are known; `None` where there are none, and then none of the
    /// following is called.
    fn documents_cursor(&self) -> Option<StateCursor> {
        None
    }

    /// Changes when a document was changed here.
    fn document_edits(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Changes of documents that were made here and that HQ did not decide on, numbered higher than
    /// `after`, in order: durable.
    fn changes_after(
        &self,
        _after: u64,
        _changes_max: usize,
    ) -> Result<Vec<(u64, DocumentChange)>, EdgeStoreError> {
        Ok(Vec::new())
    }

    /// Applies what HQ says of documents, whose signature, site and cursor were checked: durable,
    /// as a whole, and the cursor with it.
    fn apply_documents(&self, _signed: SignedDocumentBatch) -> Result<(), EdgeStoreError> {
        Ok(())
    }

    /// What HQ told of documents in lives that are over and may lack now, the first of it after `after`,
    /// with its number; `None` where there is no more. `back` is what it has again: that is kept no longer.
    fn told(
        &self,
        _lives: &Lives,
        _after: u64,
        _back: Option<u64>,
    ) -> Result<Option<(u64, GivenDocuments)>, EdgeStoreError> {
        Ok(None)
    }

    /// How far HQ has told what became of the facts.
    fn postings_known(&self) -> PostingsKnown;

    /// Keeps what became of facts, whose signature was checked.
    fn note_postings(&self, signed: SignedPostings) -> Result<(), EdgeStoreError>;

    /// Keeps how the link stands, for people; may forget it when the program ends.
    fn set_link_status(&self, status: LinkStatus);
}
