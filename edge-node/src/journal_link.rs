//! The journal as the link sees it: joins `journal` and `link`, which know nothing of each other.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::Connection;
use shared::ids::{Capture, Head, Seq};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::{
    DocumentChange, Following, GivenDocuments, Lives, Position, PostingsKnown, Run,
    SignedAcknowledgement, SignedDocumentBatch, SignedPostings, SignedStateBatch, StateCursor,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::documents::Documents;
use crate::journal::{Journal, StateError, StoreError};
use crate::link::{
    self, EdgeStore, EdgeStoreError, LinkConfig, LinkState, LinkStatus, Questions, Wall,
};
use crate::record::Recorder;
use crate::runtime::{Earlier, Node};

/// See the module.
#[derive(Debug)]
pub struct JournalLink {
    journal: Journal,
    documents: Option<(Documents, Recorder)>,
    status: watch::Sender<LinkStatus>,
    /// Logs that were set aside, and that HQ may not have all of.
    earlier: Mutex<VecDeque<Arc<Self>>>,
    /// Where it is noted that HQ has all of this log, which was set aside.
    delivered: Option<PathBuf>,
}

impl JournalLink {
    /// Gives the link what it needs of `journal`; how it stands goes to `status`.
    pub const fn new(journal: Journal, status: watch::Sender<LinkStatus>) -> Self {
        let earlier = Mutex::new(VecDeque::new());
        Self { journal, documents: None, status, earlier, delivered: None }
    }

    /// Sends shared documents, too; what HQ refuses is noted at the time of `recorder`.
    fn with_documents(self, documents: Documents, recorder: Recorder) -> Self {
        Self { documents: Some((documents, recorder)), ..self }
    }

    /// Sends logs that were set aside, too.
    fn with_earlier(self, earlier: &[Earlier]) -> Self {
        let link = |earlier: &Earlier| {
            let delivered = Some(earlier.delivered.clone());
            let status = watch::Sender::new(LinkStatus::default());
            Arc::new(Self { delivered, ..Self::new(earlier.journal.clone(), status) })
        };
        *self.waiting() = earlier.iter().map(link).collect();
        self
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Self>>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<StoreError> for EdgeStoreError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl EdgeStore for JournalLink {
    fn genesis(&self) -> Genesis {
        self.journal.genesis().clone()
    }

    fn position(&self) -> watch::Receiver<Position> {
        self.journal.watch()
    }

    fn sealed(&self) -> watch::Receiver<Seq> {
        self.journal.watch_sealed()
    }

    fn run_from(&self, first: Seq, facts_max: usize) -> Result<Option<Run>, EdgeStoreError> {
        Ok(self.journal.run_from(first, facts_max)?)
    }

    fn head_at(&self, seq: Seq) -> Result<Head, EdgeStoreError> {
        Ok(self.journal.head_at(seq)?)
    }

    fn seals_from(&self, first: Seq, seals_max: usize) -> Result<Vec<SignedSeal>, EdgeStoreError> {
        Ok(self.journal.seals_from(first, seals_max)?)
    }

    fn acknowledgement(&self) -> Option<SignedAcknowledgement> {
        self.journal.acknowledgement()
    }

    fn note_acknowledgement(&self, signed: SignedAcknowledgement) -> Result<(), EdgeStoreError> {
        Ok(self.journal.note_acknowledgement_blocking(signed)?)
    }

    fn state_cursor(&self) -> StateCursor {
        self.journal.state_cursor()
    }

    fn apply_state(&self, signed: SignedStateBatch) -> Result<(), EdgeStoreError> {
        match self.journal.apply_state_blocking(signed) {
            Ok(_) => Ok(()),
            Err(StateError::Store(error)) => Err(error.into()),
            Err(error) => Err(EdgeStoreError::BadState(error.to_string())),
        }
    }

    fn given(
        &self,
        known: &[Capture],
        after: StateCursor,
    ) -> Result<Option<SignedStateBatch>, EdgeStoreError> {
        Ok(self.journal.given(known, after)?)
    }

    fn documents_cursor(&self) -> Option<StateCursor> {
        let (documents, _) = self.documents.as_ref()?;
        let cursor = documents.cursor();
        cursor.inspect_err(|error| tracing::error!("shared documents: {error}")).ok()
    }

    fn document_edits(&self) -> watch::Receiver<u64> {
        let edits = self.documents.as_ref().map(|(documents, _)| documents.edits());
        edits.unwrap_or_else(|| watch::channel(0).1)
    }

    fn changes_after(
        &self,
        after: u64,
        changes_max: usize,
    ) -> Result<Vec<(u64, DocumentChange)>, EdgeStoreError> {
        let Some((documents, _)) = &self.documents else { return Ok(Vec::new()) };
        Ok(documents.waiting_changes(after, changes_max)?)
    }

    fn apply_documents(&self, signed: SignedDocumentBatch) -> Result<(), EdgeStoreError> {
        let Some((documents, recorder)) = &self.documents else { return Ok(()) };
        match documents.apply(&signed, recorder.now())? {
            Following::Next | Following::Known => Ok(()),
            Following::Gap => Err(EdgeStoreError::Overtaken),
        }
    }

    fn told(
        &self,
        lives: &Lives,
        after: u64,
        back: Option<u64>,
    ) -> Result<Option<(u64, GivenDocuments)>, EdgeStoreError> {
        let Some((documents, _)) = &self.documents else { return Ok(None) };
        Ok(documents.give(lives, after, back)?)
    }

    fn next_earlier(&self) -> Option<Arc<Self>> {
        self.waiting().pop_front()
    }

    fn put_back(&self, earlier: Arc<Self>) {
        self.waiting().push_front(earlier);
    }

    fn note_delivered(&self) {
        let noted = self.delivered.as_ref().map(|file| std::fs::write(file, b"HQ has all of it\n"));
        if let Some(Err(error)) = noted {
            tracing::warn!("that HQ has a log that was set aside can't be noted: {error}");
        }
    }

    fn postings_known(&self) -> PostingsKnown {
        self.journal.postings_known()
    }

    fn note_postings(&self, signed: SignedPostings) -> Result<(), EdgeStoreError> {
        Ok(self.journal.note_postings_blocking(signed)?)
    }

    fn set_link_status(&self, status: LinkStatus) {
        let known = self.status.borrow().hq_time;
        if let Some(at) = status.hq_time.filter(|_| status.hq_time != known) {
            self.journal.note_hq_time(at);
        }
        self.status.send_replace(status);
    }
}

/// The link of a running node.
#[derive(Debug)]
pub struct LinkTask(Option<JoinHandle<()>>);

impl LinkTask {
    /// Starts the link; where no HQ is configured, says so and does nothing.
    pub fn spawn(
        node: &Node,
        status: watch::Sender<LinkStatus>,
        open: watch::Sender<Option<Connection>>,
        questions: Questions,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let Some(hq) = node.config.hq_address.clone() else {
            let problem = "no HQ is configured: state 'address' under [hq] in node.toml";
            status.send_replace(LinkStatus {
                state: LinkState::Waiting,
                problem: Some(problem.to_owned()),
                ..LinkStatus::default()
            });
            return Self(None);
        };
        let recorder = node.recorder.clone();
        let wall = Wall::from_fn(move || recorder.now());
        let config = LinkConfig {
            network: node.config.network,
            measured: Some(node.data.link_measured()),
            open,
            ..LinkConfig::to(hq, wall)
        };
        let store = JournalLink::new(node.journal().clone(), status)
            .with_documents(node.documents.clone(), node.recorder.clone())
            .with_earlier(&node.earlier);
        let store = Arc::new(store);
        let identity = node.identity.clone();
        Self(Some(tokio::spawn(async move {
            if let Err(error) = link::run(store, identity, config, questions, stop).await {
                tracing::error!(%error, "the link does not run");
            }
        })))
    }

    /// Waits until the link has taken its leave.
    pub async fn finish(self) {
        if let Some(task) = self.0
            && task.await.is_err()
        {
            tracing::error!("the link's task panicked");
        }
    }
}
