//! Stores in memory behind the link's two traits, a clock that a test moves, and a relay that can
//! be cut. What the stores hold is compared at the end of a test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};
use edge_node::link::{EdgeStore, EdgeStoreError, LinkStatus};
use hq_server::gateway::store::{HqStore, LinkNews, LogWriter, Peer, Place};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, ChangeHash, CompanyNo, Head, HistoryId, ItemNo, LogId, Seq, SiteNo};
use shared::segment::chain::{Chain, Genesis};
use shared::segment::seal::{Seal, SignedSeal, last_sealable};
use shared::sync::hq::OpenedLog;
use shared::sync::{
    Acknowledgement, Code, Found, Given, Hello, Position, Postings, PostingsAsked, PostingsKnown,
    Refusal, Run, SignedAcknowledgement, SignedPostings, SignedSiteStock, SignedStateBatch,
    StateBatch, StateCursor,
};
use shared::time::Timestamp;
use tokio::net::UdpSocket;
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

pub(crate) fn fact(number: u64, group_left: u64) -> Fact {
    let mut fact = Fact::new(Kind::Receipt);
    field::CAPTURE_COUNTER.put(&mut fact, Some(number)).expect("a legal field");
    field::GROUP_LEFT
        .put(&mut fact, (group_left > 0).then_some(group_left))
        .expect("a legal field");
    fact
}

/// A log with the head after every fact.
struct Log {
    chain: Chain,
    facts: Vec<Fact>,
    heads: Vec<Head>,
    seals: Vec<SignedSeal>,
}

impl Log {
    fn new(id: LogId) -> Self {
        let chain = Chain::start(id);
        Self { heads: vec![chain.head()], chain, facts: Vec::new(), seals: Vec::new() }
    }

    fn position(&self) -> Position {
        Position { last: self.chain.seq(), head: self.chain.head() }
    }

    fn sealed(&self) -> Seq {
        self.seals.last().map_or(Seq::ZERO, |signed| signed.seal.last)
    }

    fn extend(&mut self, facts: &[Fact]) {
        for fact in facts {
            self.chain.extend(std::slice::from_ref(fact));
            self.heads.push(self.chain.head());
            self.facts.push(fact.clone());
        }
    }
}

/// An edge's journal.
pub(crate) struct EdgeFake {
    genesis: Genesis,
    key: SigningKey,
    log: Mutex<Log>,
    position: watch::Sender<Position>,
    sealed: watch::Sender<Seq>,
    acknowledged: watch::Sender<Option<SignedAcknowledgement>>,
    state: watch::Sender<(StateCursor, Vec<Fact>)>,
    status: watch::Sender<LinkStatus>,
}

impl EdgeFake {
    pub(crate) fn new(genesis: Genesis, key: &SigningKey) -> Arc<Self> {
        let log = Log::new(genesis.log_id());
        Arc::new(Self {
            position: watch::Sender::new(log.position()),
            sealed: watch::Sender::new(Seq::ZERO),
            acknowledged: watch::Sender::new(None),
            state: watch::Sender::new((StateCursor::START, Vec::new())),
            status: watch::Sender::new(LinkStatus::default()),
            log: Mutex::new(log),
            genesis,
            key: key.clone(),
        })
    }

    pub(crate) fn record(&self, groups: u64, lines: u64) {
        let mut log = self.log.lock().expect("no test panics with it");
        for _ in 0..groups {
            let next = log.position().last.0 + 1;
            let group: Vec<_> =
                (0..lines).map(|line| fact(next + line, lines - 1 - line)).collect();
            log.extend(&group);
        }
        self.position.send_replace(log.position());
    }

    pub(crate) fn seal(&self) {
        let mut log = self.log.lock().expect("no test panics with it");
        while log.sealed() < log.position().last {
            let first = log.sealed().next();
            let last = last_sealable(first, log.position().last);
            let head = log.heads[usize::try_from(last.0).expect("small")];
            let log_id = self.genesis.log_id();
            let seal = Seal { log: log_id, first, last, head, document_head: ChangeHash([0; 32]) };
            log.seals.push(seal.sign(&self.key));
        }
        self.sealed.send_replace(log.sealed());
    }

    pub(crate) fn status(&self) -> watch::Receiver<LinkStatus> {
        self.status.subscribe()
    }

    pub(crate) fn state_facts(&self) -> Vec<Fact> {
        self.state.borrow().1.clone()
    }

    /// Waits until HQ has acknowledged everything.
    pub(crate) async fn acknowledged(&self) -> Acknowledgement {
        let position = *self.position.borrow();
        let mut watched = self.acknowledged.subscribe();
        let is = |signed: &Option<SignedAcknowledgement>| {
            signed.is_some_and(|signed| signed.acknowledgement.received == position)
        };
        wait_for(&mut watched, "the acknowledgement", is).await;
        let found = *watched.borrow();
        found.expect("waited for").acknowledgement
    }
}

impl EdgeStore for EdgeFake {
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
        let log = self.log.lock().expect("no test panics with it");
        let start = usize::try_from(first.0).expect("small") - 1;
        let rest = &log.facts[start.min(log.facts.len())..];
        let mut end = 0;
        for (index, fact) in rest.iter().enumerate() {
            if end > 0 && index >= facts_max {
                break;
            }
            if field::GROUP_LEFT.of(fact).is_none() {
                end = index + 1;
            }
        }
        let head = log.heads[start + end];
        Ok((end > 0).then(|| Run::new(first, rest[..end].to_vec(), head).expect("whole groups")))
    }

    fn head_at(&self, seq: Seq) -> Result<Head, EdgeStoreError> {
        let log = self.log.lock().expect("no test panics with it");
        Ok(log.heads[usize::try_from(seq.0).expect("small")])
    }

    fn seals_from(&self, first: Seq, seals_max: usize) -> Result<Vec<SignedSeal>, EdgeStoreError> {
        let log = self.log.lock().expect("no test panics with it");
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
            known.extend(facts);
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

struct HqLog {
    peer: Peer,
    key: VerifyingKey,
    log: Log,
    posted: watch::Sender<Seq>,
}

/// HQ's intake.
pub(crate) struct HqFake {
    key: SigningKey,
    history: HistoryId,
    logs: Mutex<HashMap<LogId, HqLog>>,
    state: watch::Sender<u64>,
    state_facts: Mutex<Vec<Fact>>,
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
    pub(crate) fn assert_equals(&self, edge: &EdgeFake) {
        let expected = edge.log.lock().expect("no test panics with it");
        self.with(&edge.genesis.log_id(), |found| {
            assert_eq!(found.log.position(), expected.position());
            assert!(found.log.facts == expected.facts, "the same facts");
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

    fn asks_back(&self, _hello: &Hello) -> Option<Vec<Capture>> {
        None
    }

    async fn take_back(&self, _batch: SignedStateBatch) {}

    fn stock(&self, _site: SiteNo) -> Result<SignedSiteStock, Refusal> {
        Err(Refusal::new(Code::STORAGE, "nothing is on hand here"))
    }

    fn open_log(&self, peer: Peer, log: &LogId) -> Result<OpenedLog, Refusal> {
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
            let mut chain = known.log.chain.clone();
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
            known.log.seals.push(seal);
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
        logs.entry(id).or_insert_with(|| HqLog { peer, key, log: Log::new(id), posted });
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

/// Passes datagrams between one edge and HQ, until it is cut or led elsewhere.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    route: Arc<Mutex<Option<SocketAddr>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(hq: SocketAddr) -> Self {
        let outside = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let inside = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = outside.local_addr().expect("bound");
        let route = Arc::new(Mutex::new(Some(hq)));
        let task = tokio::spawn(pass(outside, inside, Arc::clone(&route)));
        Self { address, route, task }
    }

    /// From here on datagrams go there, or nowhere.
    pub(crate) fn lead(&self, hq: Option<SocketAddr>) {
        *self.route.lock().expect("no test panics with it") = hq;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(outside: UdpSocket, inside: UdpSocket, route: Arc<Mutex<Option<SocketAddr>>>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut edge = None;
    let leads_to = || *route.lock().expect("no test panics with it");
    loop {
        tokio::select! {
            Ok((length, from)) = outside.recv_from(&mut up) => {
                edge = Some(from);
                if let Some(hq) = leads_to() {
                    let _ = inside.send_to(&up[..length], hq).await;
                }
            }
            Ok((length, from)) = inside.recv_from(&mut down) => {
                if let Some(edge) = edge.filter(|_| leads_to() == Some(from)) {
                    let _ = outside.send_to(&down[..length], edge).await;
                }
            }
        }
    }
}
