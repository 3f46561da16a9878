//! An edge node's journal in memory, for the real link: what is on trial is the link, or HQ with a thousand
//! of them. Knows no file. Invariant: positions and heads are those of a real chain.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use edge_node::link::{EdgeStore, EdgeStoreError, LinkStatus};
use shared::fact::{Fact, field};
use shared::ids::{Capture, ChangeHash, Head, HistoryId, LogId, Seq};
use shared::segment::chain::{Chain, Genesis};
use shared::segment::seal::{Seal, SignedSeal, last_sealable};
use shared::sync::{
    Acknowledgement, Position, PostingsKnown, Run, SignedAcknowledgement, SignedPostings,
    SignedStateBatch, StateCursor,
};
use tokio::sync::watch;

/// A log with the head after every fact.
#[derive(Debug)]
pub struct MemoryLog {
    chain: Chain,
    facts: Vec<Fact>,
    heads: Vec<Head>,
    seals: Vec<SignedSeal>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(id: LogId) -> Self {
        let chain = Chain::start(id);
        Self { heads: vec![chain.head()], chain, facts: Vec::new(), seals: Vec::new() }
    }

    /// How far it goes.
    pub fn position(&self) -> Position {
        Position { last: self.chain.seq(), head: self.chain.head() }
    }

    /// How far it is sealed.
    pub fn sealed(&self) -> Seq {
        self.seals.last().map_or(Seq::ZERO, |signed| signed.seal.last)
    }

    /// All of it.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Its chain, where it ends.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Adds facts.
    pub fn extend(&mut self, facts: &[Fact]) {
        for fact in facts {
            self.chain.extend(std::slice::from_ref(fact));
            self.heads.push(self.chain.head());
            self.facts.push(fact.clone());
        }
    }

    /// Adds a seal that was checked.
    pub fn push_seal(&mut self, seal: SignedSeal) {
        self.seals.push(seal);
    }

    fn run_from(&self, first: Seq, facts_max: usize) -> Option<Run> {
        let start = index(first) - 1;
        let rest = &self.facts[start.min(self.facts.len())..];
        let mut end = 0;
        let _ = rest.iter().enumerate().try_for_each(|(index, fact)| {
            if end > 0 && index >= facts_max {
                return ControlFlow::Break(());
            }
            if field::GROUP_LEFT.of(fact).is_none() {
                end = index + 1;
            }
            ControlFlow::Continue(())
        });
        let run = || Run::new(first, rest[..end].to_vec(), self.heads[start + end]);
        (end > 0).then(|| run().expect("whole groups"))
    }
}

fn index(seq: Seq) -> usize {
    usize::try_from(seq.0).expect("what lies in memory has small places")
}

/// See the module.
#[derive(Debug)]
pub struct MemoryEdge {
    genesis: Genesis,
    key: SigningKey,
    log: Mutex<MemoryLog>,
    position: watch::Sender<Position>,
    sealed: watch::Sender<Seq>,
    acknowledged: watch::Sender<Option<SignedAcknowledgement>>,
    state: watch::Sender<(StateCursor, Vec<Fact>)>,
    /// Keyed state is kept, and not only counted.
    keeps_state: bool,
    status: watch::Sender<LinkStatus>,
    /// Logs that were set aside.
    earlier: Mutex<Vec<Arc<Self>>>,
}

impl MemoryEdge {
    /// The journal of an enrolled node.
    pub fn new(genesis: Genesis, key: &SigningKey) -> Arc<Self> {
        Arc::new(Self::made(genesis, key, true))
    }

    /// As [`MemoryEdge::new`], but what HQ sends is confirmed and forgotten.
    pub fn forgetful(genesis: Genesis, key: &SigningKey) -> Arc<Self> {
        Arc::new(Self::made(genesis, key, false))
    }

    fn made(genesis: Genesis, key: &SigningKey, keeps_state: bool) -> Self {
        let log = MemoryLog::new(genesis.log_id());
        Self {
            position: watch::Sender::new(log.position()),
            sealed: watch::Sender::new(Seq::ZERO),
            acknowledged: watch::Sender::new(None),
            state: watch::Sender::new((StateCursor::START, Vec::new())),
            keeps_state,
            status: watch::Sender::new(LinkStatus::default()),
            earlier: Mutex::default(),
            log: Mutex::new(log),
            genesis,
            key: key.clone(),
        }
    }

    /// Records facts.
    pub fn append(&self, facts: &[Fact]) {
        let mut log = self.log();
        log.extend(facts);
        self.position.send_replace(log.position());
    }

    /// Signs everything that is recorded.
    pub fn seal(&self) {
        let mut log = self.log();
        while log.sealed() < log.position().last {
            let first = log.sealed().next();
            let last = last_sealable(first, log.position().last);
            let head = log.heads[index(last)];
            let id = self.genesis.log_id();
            let seal = Seal { log: id, first, last, head, document_head: ChangeHash([0; 32]) };
            log.seals.push(seal.sign(&self.key));
        }
        self.sealed.send_replace(log.sealed());
    }

    /// The log; nothing is recorded while it is held.
    pub fn log(&self) -> MutexGuard<'_, MemoryLog> {
        // It is whole after every operation.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the link stands.
    pub fn status(&self) -> watch::Receiver<LinkStatus> {
        self.status.subscribe()
    }

    /// What HQ sent, where it is kept.
    pub fn state_facts(&self) -> Vec<Fact> {
        self.state.borrow().1.clone()
    }

    /// Waits until HQ has acknowledged everything; `None` where that takes longer than `patience`.
    pub async fn acknowledged(&self, patience: Duration) -> Option<Acknowledgement> {
        let position = *self.position.borrow();
        let mut watched = self.acknowledged.subscribe();
        let is = |signed: &Option<SignedAcknowledgement>| {
            signed.is_some_and(|signed| signed.acknowledgement.received == position)
        };
        let found = tokio::time::timeout(patience, watched.wait_for(is)).await.ok()?.ok()?;
        found.map(|signed| signed.acknowledgement)
    }
}

impl EdgeStore for MemoryEdge {
    fn genesis(&self) -> Genesis {
        self.genesis.clone()
    }

    fn position(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    fn sealed(&self) -> watch::Receiver<Seq> {
        self.sealed.subscribe()
    }

    fn run_from(&self, first: Seq, facts_max: usize) -> Result<Option<Run>, EdgeStoreError> {
        Ok(self.log().run_from(first, facts_max))
    }

    fn head_at(&self, seq: Seq) -> Result<Head, EdgeStoreError> {
        Ok(self.log().heads[index(seq)])
    }

    fn seals_from(&self, first: Seq, seals_max: usize) -> Result<Vec<SignedSeal>, EdgeStoreError> {
        let log = self.log();
        let from = log.seals.iter().filter(|signed| signed.seal.first >= first);
        Ok(from.take(seals_max).copied().collect())
    }

    fn acknowledgement(&self) -> Option<SignedAcknowledgement> {
        *self.acknowledged.borrow()
    }

    fn note_acknowledgement(&self, signed: SignedAcknowledgement) -> Result<(), EdgeStoreError> {
        self.acknowledged.send_replace(Some(signed));
        Ok(())
    }

    fn next_earlier(&self) -> Option<Arc<Self>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, earlier: Arc<Self>) {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner).push(earlier);
    }

    fn state_cursor(&self) -> StateCursor {
        self.state.borrow().0
    }

    fn apply_state(&self, signed: SignedStateBatch) -> Result<(), EdgeStoreError> {
        let batch = signed.batch;
        let facts = batch.facts().map_err(|error| EdgeStoreError::BadState(error.to_string()))?;
        self.state.send_modify(|(cursor, known)| {
            if batch.from.at == 0 {
                known.clear();
            }
            if self.keeps_state {
                known.extend(facts);
            }
            *cursor = batch.to;
        });
        Ok(())
    }

    fn given(
        &self,
        _known: &[Capture],
        _after: StateCursor,
    ) -> Result<Option<SignedStateBatch>, EdgeStoreError> {
        Ok(None)
    }

    fn postings_known(&self) -> PostingsKnown {
        PostingsKnown::nothing(HistoryId([7; 32]))
    }

    fn note_postings(&self, _: SignedPostings) -> Result<(), EdgeStoreError> {
        Ok(())
    }

    fn set_link_status(&self, status: LinkStatus) {
        self.status.send_replace(status);
    }
}
