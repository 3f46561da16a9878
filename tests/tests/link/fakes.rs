//! HQ's store in memory behind the link's trait, and a clock that a test moves. What the stores of both
//! sides hold is compared at the end of a test.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};
use edge_node::link::EdgeStore;
use hq_server::gateway::store::{HqStore, LinkNews, LogWriter, Peer, Place};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, CompanyNo, HistoryId, ItemNo, LogId, Seq, SiteNo};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::hq::OpenedLog;
use shared::sync::{
    Acknowledgement, Code, Found, Given, Position, Postings, PostingsAsked, Refusal, Run,
    SignedAcknowledgement, SignedPostings, SignedSiteStock, SignedStateBatch, StateBatch,
    StateCursor,
};
use shared::time::Timestamp;
use tests::memory_edge::{MemoryEdge, MemoryLog};
use tokio::sync::watch;

/// How long anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a watched value is as wanted.
pub(crate) async fn wait_for<T>(
    watched: &mut watch::Receiver<T>,
    what: &str,
    is: impl FnMut(&T) -> bool,
) {
    let found = tokio::time::timeout(PATIENCE, watched.wait_for(is)).await;
    assert!(found.is_ok_and(|found| found.is_ok()), "{what} did not come");
}

/// A node's journal, filled with facts of no meaning.
pub(crate) trait Recorded {
    fn record(&self, groups: u64, lines: u64);
}

impl Recorded for MemoryEdge {
    fn record(&self, groups: u64, lines: u64) {
        let last = self.log().position().last.0;
        let group = |group| {
            let next = last + group * lines + 1;
            (0..lines).map(move |line| fact(next + line, lines - 1 - line))
        };
        self.append(&(0..groups).flat_map(group).collect::<Vec<_>>());
    }
}

pub(crate) fn fact(number: u64, group_left: u64) -> Fact {
    let mut fact = Fact::new(Kind::Receipt);
    field::CAPTURE_COUNTER.put(&mut fact, Some(number)).expect("a legal field");
    field::GROUP_LEFT
        .put(&mut fact, (group_left > 0).then_some(group_left))
        .expect("a legal field");
    fact
}

struct HqLog {
    peer: Peer,
    key: VerifyingKey,
    log: MemoryLog,
    posted: watch::Sender<Seq>,
}

/// HQ's intake.
pub(crate) struct HqFake {
    key: SigningKey,
    history: HistoryId,
    logs: Mutex<HashMap<LogId, HqLog>>,
    state: watch::Sender<u64>,
    state_facts: Mutex<Vec<Fact>>,
    /// What whoever comes next with a log is told.
    pub(crate) refuses: Mutex<Option<Refusal>>,
    pub(crate) news: watch::Sender<Vec<(Peer, LinkNews)>>,
}

impl HqFake {
    pub(crate) fn new(key: &SigningKey) -> Arc<Self> {
        Arc::new(Self {
            key: key.clone(),
            history: HistoryId([7; 32]),
            logs: Mutex::new(HashMap::new()),
            state: watch::Sender::new(0),
            state_facts: Mutex::new(Vec::new()),
            refuses: Mutex::default(),
            news: watch::Sender::new(Vec::new()),
        })
    }

    pub(crate) fn add_state(&self, facts: Vec<Fact>) {
        self.state_facts.lock().expect("no test panics with it").extend(facts);
        self.state.send_modify(|count| *count += 1);
    }

    fn with<T>(&self, log: &LogId, look: impl FnOnce(&mut HqLog) -> T) -> Result<T, Refusal> {
        let mut logs = self.logs.lock().expect("no test panics with it");
        logs.get_mut(log).map(look).ok_or_else(|| Refusal::new(Code::UNKNOWN_LOG, "no such log"))
    }

    /// Everything the edge has, in the same place.
    pub(crate) fn assert_equals(&self, edge: &MemoryEdge) {
        let expected = edge.log();
        self.with(&edge.genesis().log_id(), |found| {
            assert_eq!(found.log.position(), expected.position());
            assert!(found.log.facts() == expected.facts(), "the same facts");
        })
        .expect("the log is known");
    }

    pub(crate) fn sealed(&self, log: &LogId) -> Seq {
        self.with(log, |found| found.log.sealed()).expect("the log is known")
    }

    pub(crate) fn received(&self, log: &LogId) -> Seq {
        self.with(log, |found| found.log.position().last).expect("the log is known")
    }
}

fn no_branches() -> Refusal {
    Refusal::new(Code::FORK, "these logs are continued once")
}

impl HqStore for HqFake {
    fn may_carry(&self, _carrier: SiteNo, _of: SiteNo) -> bool {
        false
    }

    async fn hear_witness(&self, _witness: SignedAcknowledgement) {}

    fn asks_back(&self, _known: StateCursor) -> Option<Vec<Capture>> {
        None
    }

    async fn take_back(&self, _batch: SignedStateBatch) {}

    fn stock(&self, _site: SiteNo) -> Result<SignedSiteStock, Refusal> {
        Err(Refusal::new(Code::STORAGE, "nothing is on hand here"))
    }

    fn open_log(&self, peer: Peer, log: &LogId) -> Result<OpenedLog, Refusal> {
        if let Some(refusal) = self.refuses.lock().expect("no test panics with it").take() {
            return Err(refusal);
        }
        let history = self.history;
        self.with(log, |known| {
            (known.peer == peer).then(|| OpenedLog {
                history,
                cursor: known.log.position(),
                sealed: known.log.sealed(),
            })
        })?
        .ok_or_else(|| Refusal::new(Code::UNKNOWN_LOG, "another installation's log"))
    }

    fn writer_of(&self, log: &LogId) -> Option<LogWriter> {
        self.with(log, |known| LogWriter { peer: known.peer, key: known.key }).ok()
    }

    async fn accept(&self, log: LogId, run: Run) -> Result<Position, Refusal> {
        self.with(&log, |known| {
            let Some(run) = run.after(known.log.position().last) else {
                return Ok(known.log.position());
            };
            assert_eq!(run.first, known.log.position().last.next());
            let mut chain = known.log.chain().clone();
            chain.extend(&run.facts);
            if chain.head() != run.head {
                return Err(no_branches());
            }
            known.log.extend(&run.facts);
            known.posted.send_replace(run.last);
            Ok(known.log.position())
        })?
    }

    async fn open_branch(
        &self,
        _peer: Peer,
        _log: LogId,
        _places: [Position; 2],
    ) -> Result<(OpenedLog, Place), Refusal> {
        Err(no_branches())
    }

    async fn accept_branch(&self, _: Peer, _: LogId, _: Run) -> Result<Place, Refusal> {
        Err(no_branches())
    }

    fn branch_acknowledgement(
        &self,
        _log: &LogId,
        _place: &Place,
    ) -> Result<SignedAcknowledgement, Refusal> {
        Err(no_branches())
    }

    async fn accept_seal(&self, seal: SignedSeal) -> Result<(), Refusal> {
        self.with(&seal.seal.log, |known| {
            seal.verify(&known.key)
                .map_err(|error| Refusal::new(Code::BAD_FACTS, error.to_string()))?;
            known.log.push_seal(seal);
            Ok(())
        })?
    }

    fn acknowledgement(&self, log: &LogId) -> Result<SignedAcknowledgement, Refusal> {
        self.with(log, |known| {
            let (received, posted) = (known.log.position(), *known.posted.borrow());
            let (history, log) = (self.history, *log);
            let (safe, at) = (Seq::ZERO, Timestamp(1));
            Acknowledgement { history, log, received, safe, posted, at, given: Given::default() }
                .sign(&self.key)
        })
    }

    fn posted(&self, log: &LogId) -> Result<watch::Receiver<Seq>, Refusal> {
        self.with(log, |known| known.posted.subscribe())
    }

    fn state_since(
        &self,
        site: SiteNo,
        cursor: StateCursor,
        facts_max: usize,
    ) -> Result<Option<SignedStateBatch>, Refusal> {
        let facts = self.state_facts.lock().expect("no test panics with it");
        let known = if cursor.handle == 5 { cursor.at } else { 0 };
        let end = facts.len() as u64;
        let to = end.min(known + facts_max as u64);
        let at = |at| StateCursor { handle: 5, at };
        let range = usize::try_from(known).expect("small")..usize::try_from(to).expect("small");
        Ok((known < end)
            .then(|| StateBatch::new(site, at(known), at(to), end, &facts[range]).sign(&self.key)))
    }

    fn postings(&self, log: &LogId, asked: PostingsAsked) -> Result<SignedPostings, Refusal> {
        Ok(Postings::new(self.history, *log, asked.first).sign(&self.key))
    }

    fn look_up(&self, _text: &str) -> Found {
        Found::new(&self.state_facts.lock().expect("no test panics with it"), false)
    }

    async fn handle_items(&self, _site: SiteNo, _items: Vec<ItemNo>) -> Result<(), Refusal> {
        Ok(())
    }

    fn state_changes(&self) -> watch::Receiver<u64> {
        self.state.subscribe()
    }

    async fn register_log(
        &self,
        peer: Peer,
        _company: CompanyNo,
        genesis: Genesis,
    ) -> Result<(), Refusal> {
        let key = VerifyingKey::from_bytes(&genesis.public_key)
            .map_err(|error| Refusal::new(Code::BAD_REQUEST, error.to_string()))?;
        let mut logs = self.logs.lock().expect("no test panics with it");
        let id = genesis.log_id();
        let posted = watch::Sender::new(Seq::ZERO);
        logs.entry(id).or_insert_with(|| HqLog { peer, key, log: MemoryLog::new(id), posted });
        Ok(())
    }

    fn hq_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn history(&self) -> HistoryId {
        self.history
    }

    fn note_link(&self, peer: Peer, _log: Option<&LogId>, news: LinkNews) {
        if !matches!(news, LinkNews::Heard(_)) {
            self.news.send_modify(|all| all.push((peer, news)));
        }
    }
}

/// A wall clock that a test moves.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// 2026-11-24, about noon.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_795_519_885_123)))
    }

    pub(crate) fn move_days(&self, days: i64) {
        self.0.fetch_add(days * 86_400_000, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
