//! An edge and HQ in memory: both sessions over a wire of bytes, stores that lose what is not yet
//! durable, time that a test moves. Every history here is made from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use ed25519_dalek::SigningKey;

use super::edge::{
    EdgeEnd, EdgeEvent, EdgeNotice, EdgeRequest, EdgeSession, EdgeSettings, EdgeStart,
};
use super::hq::{HqEnd, HqEvent, HqRequest, HqSession, HqSettings, HqStart, OpenedLog};
use super::*;
use crate::document::{DocumentId, DocumentKey};
use crate::fact::{Fact, Kind, field};
use crate::ids::{Capture, ChangeHash, DeviceNo, Head, HistoryId, LogId, Seq, SiteNo};
use crate::segment::chain::Chain;
use crate::segment::seal::{Seal, SignedSeal, last_sealable};
use crate::time::{Month, Timestamp};

/// Places are small here.
fn index(place: u64) -> usize {
    usize::try_from(place).expect("small")
}

const SITE: SiteNo = SiteNo(7);

/// xorshift64*: enough for choosing what happens next.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

fn fact(number: u64, group_left: u64) -> Fact {
    let mut fact = Fact::new(Kind::Receipt);
    field::CAPTURE_COUNTER.put(&mut fact, Some(number)).expect("a legal field");
    field::GROUP_LEFT
        .put(&mut fact, (group_left > 0).then_some(group_left))
        .expect("a legal field");
    fact
}

/// A log with the head after every fact.
#[derive(Clone)]
struct Log {
    id: LogId,
    facts: Vec<Fact>,
    heads: Vec<Head>,
    sealed: Seq,
    seals: Vec<SignedSeal>,
}

impl Log {
    fn new(id: LogId) -> Self {
        Self {
            id,
            facts: Vec::new(),
            heads: vec![Head(id.0)],
            sealed: Seq::ZERO,
            seals: Vec::new(),
        }
    }

    fn last(&self) -> Seq {
        Seq(self.facts.len() as u64)
    }

    fn position(&self) -> Position {
        Position { last: self.last(), head: self.heads[self.facts.len()] }
    }

    fn extend(&mut self, facts: &[Fact]) {
        let mut chain = Chain::start(self.id);
        chain.extend(&self.facts);
        for fact in facts {
            chain.extend(std::slice::from_ref(fact));
            self.facts.push(fact.clone());
            self.heads.push(chain.head());
        }
    }

    fn record(&mut self, lines: u64) {
        let next = self.last().0 + 1;
        let group: Vec<_> = (0..lines).map(|line| fact(next + line, lines - 1 - line)).collect();
        self.extend(&group);
    }

    fn run_from(&self, first: Seq, facts_max: usize) -> Option<Run> {
        let rest = self.facts.get(index(first.0) - 1..)?;
        let ends = |fact: &Fact| field::GROUP_LEFT.of(fact).is_none();
        let mut end = 0;
        for (index, _) in rest.iter().enumerate().filter(|(_, fact)| ends(fact)) {
            if end > 0 && index + 1 > facts_max {
                break;
            }
            end = index + 1;
        }
        let head = self.heads[index(first.0) - 1 + end];
        (end > 0).then(|| Run::new(first, rest[..end].to_vec(), head).expect("a run"))
    }

    fn seal(&mut self, key: &SigningKey) {
        while self.sealed < self.last() {
            let first = self.sealed.next();
            let last = last_sealable(first, self.last());
            let head = self.heads[index(last.0)];
            let seal = Seal { log: self.id, first, last, head, document_head: ChangeHash([0; 32]) };
            self.seals.push(seal.sign(key));
            self.sealed = last;
        }
    }
}

struct Edge {
    log: Log,
    key: SigningKey,
    witness: Option<SignedAcknowledgement>,
    /// HQ refused the log before.
    is_copied: bool,
    state: StateCursor,
    applied: Vec<Fact>,
    /// Keyed state of an earlier life of HQ.
    given: Vec<SignedStateBatch>,
    /// What HQ told of documents in an earlier life.
    told_before: BTreeMap<u64, SignedDocumentBatch>,
    /// Changes that were made here, by number, that HQ did not decide on.
    changes: BTreeMap<u64, DocumentChange>,
    /// Every one that was made here.
    made: BTreeMap<u64, DocumentChange>,
    changes_made: u64,
    documents: StateCursor,
    /// What HQ says of documents, change by change.
    told: Vec<Told>,
    postings: PostingsKnown,
    /// Vouchers that HQ told, by fact.
    vouchers: Vec<u32>,
}

/// What HQ decided on a change: is it in, and whose is it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    change: ChangeHash,
    is_in: bool,
    is_own: bool,
}

const DOCUMENT: DocumentKey = DocumentKey::first(DocumentId::SiteNotes { site: SITE });

fn change(number: u64, word: &[u8]) -> DocumentChange {
    let bytes = [word, &number.to_be_bytes()].concat();
    DocumentChange { key: DOCUMENT, hash: hash_of(&bytes), bytes }
}

/// Stands for a change's hash.
fn hash_of(bytes: &[u8]) -> ChangeHash {
    let mut hash = [0; 32];
    hash[..bytes.len()].copy_from_slice(bytes);
    ChangeHash(hash)
}

/// HQ refuses it.
const BAD: &[u8] = b"bad";
/// HQ lacks what it builds on until another site's change has come.
const EARLY: &[u8] = b"early";

impl Edge {
    fn apply_documents(&mut self, batch: &DocumentBatch) {
        if batch.from.at == 0 {
            self.told.clear();
        }
        if batch.from.handle != self.documents.handle {
            // As a node offers again what another life of HQ may lack.
            self.changes = self.made.clone();
        }
        for news in &batch.news {
            let (change, is_in) = match news {
                DocumentNews::Change { bytes, .. } => (hash_of(bytes), true),
                DocumentNews::Taken { hash, .. } => (*hash, true),
                DocumentNews::Refused { hash, .. } => (*hash, false),
            };
            let is_own = !change.0.starts_with(b"other");
            self.told.push(Told { change, is_in, is_own });
            self.changes.retain(|_, waiting| waiting.hash != change);
        }
        self.documents = batch.to;
    }

    fn take_postings(&mut self, told: &Postings) {
        self.postings.take(told);
        for (first, span) in told.placed() {
            assert_eq!(index(first.0), self.vouchers.len() + 1, "told in order, once");
            let Outcome::Vouchers { first, .. } = span.outcome else { panic!("all have vouchers") };
            let numbers =
                (0..span.groups).map(|group| first + u32::try_from(group).expect("small"));
            for number in numbers {
                self.vouchers.extend((0..span.facts_each).map(|_| number));
            }
        }
    }
}

struct Hq {
    log: Log,
    /// What installations with the log's key hold otherwise, each from its first fact on.
    branches: Vec<Log>,
    key: SigningKey,
    history: HistoryId,
    posted: Seq,
    handle: u64,
    state: Vec<Fact>,
    /// What HQ has of its own logs, where it asks for the rest.
    asks: Option<Vec<Capture>>,
    taken: Vec<SignedStateBatch>,
    /// Where it was restored, and asks back documents.
    lives: Option<Lives>,
    documents_taken: Vec<GivenDocuments>,
    takes_back_whole: bool,
    /// Decisions on changes of documents, in order; the bytes of those that are in.
    decided: Vec<(Told, Vec<u8>)>,
}

impl Hq {
    fn acknowledgement(&self, of: Option<Position>) -> SignedAcknowledgement {
        let received = of.unwrap_or_else(|| self.log.position());
        let (safe, posted, at) = (Seq::ZERO, self.posted.min(received.last), Timestamp(5));
        Acknowledgement {
            history: self.history,
            log: self.log.id,
            received,
            safe,
            posted,
            at,
            given: Given::default(),
        }
        .sign(&self.key)
    }

    /// Decides on changes once; those that are early wait for another site's.
    fn take(&mut self, changes: &[DocumentChange]) -> Vec<ChangeHash> {
        let mut waits = Vec::new();
        for change in changes {
            let others = self.decided.iter().any(|(told, _)| !told.is_own);
            if self.decided.iter().any(|(told, _)| told.change == change.hash) {
                continue;
            }
            if change.bytes.starts_with(EARLY) && !others {
                waits.push(change.hash);
                continue;
            }
            let is_in = !change.bytes.starts_with(BAD);
            let told = Told { change: change.hash, is_in, is_own: true };
            self.decided.push((told, change.bytes.clone()));
        }
        waits
    }

    fn documents_since(
        &self,
        cursor: StateCursor,
        sent: &[ChangeHash],
    ) -> Option<SignedDocumentBatch> {
        let known = if cursor.handle == self.handle { cursor.at } else { 0 };
        let end = self.decided.len() as u64;
        if known == end {
            return None;
        }
        let to = (known + 3).min(end);
        let news = |(told, bytes): &(Told, Vec<u8>)| {
            let (key, hash) = (DOCUMENT, told.change);
            match (told.is_in, sent.contains(&hash)) {
                (false, _) => DocumentNews::Refused { key, hash, reason: "bad".to_owned() },
                (true, true) => DocumentNews::Taken { key, hash },
                (true, false) => DocumentNews::Change { key, bytes: bytes.clone() },
            }
        };
        let news = self.decided[index(known)..index(to)].iter().map(news).collect();
        let at = |at| StateCursor { handle: self.handle, at };
        let batch =
            DocumentBatch { site: SITE, from: at(known), to: at(to), news, heads: Vec::new() };
        Some(batch.sign(&self.key))
    }

    fn logs(&self) -> impl Iterator<Item = &Log> {
        std::iter::once(&self.log).chain(&self.branches)
    }

    /// Where a log that is not ours may go on: where it says, or where it ends, if we know that.
    fn common(&self, edge: Position, common: Position) -> Position {
        let knows = |at: &Position| {
            self.logs().any(|log| log.heads.get(index(at.last.0)) == Some(&at.head))
        };
        let start = Position { last: Seq::ZERO, head: self.log.heads[0] };
        [edge, common].into_iter().find(knows).unwrap_or(start)
    }

    /// Facts of a log that is not ours: those that a log here does not have begin or extend a
    /// branch.
    fn store_branch(&mut self, run: &Run) -> Position {
        let before = index(run.first.0) - 1;
        let of_run = |log: &Log| {
            let mut whole = Log { seals: Vec::new(), ..log.clone() };
            whole.facts.truncate(before);
            whole.heads.truncate(before + 1);
            whole.extend(&run.facts);
            whole
        };
        let wholes = self.logs().filter(|log| log.facts.len() >= before).map(of_run);
        let whole = wholes.into_iter().find(|whole| whole.position() == run.position());
        let whole = whole.expect("an edge goes on from what HQ knows");
        let begins = |log: &&mut Log, other: &Log| other.facts.starts_with(&log.facts);
        if self.logs().any(|log| log.facts.starts_with(&whole.facts)) {
            return run.position();
        }
        if whole.facts.starts_with(&self.log.facts) {
            self.log.extend(&whole.facts[self.log.facts.len()..]);
            return run.position();
        }
        match self.branches.iter_mut().find(|log| begins(log, &whole)) {
            Some(branch) => *branch = whole,
            None => self.branches.push(whole),
        }
        run.position()
    }

    /// Every group has a voucher; an answer says a few.
    fn postings(&self, asked: PostingsAsked) -> SignedPostings {
        let mut told = Postings::new(self.history, self.log.id, asked.first);
        let last = asked.last.min(self.posted).min(Seq(asked.first.0 + 40));
        let facts = &self.log.facts[index(asked.first.0) - 1..index(last.0)];
        for group in facts.split_inclusive(|fact| field::GROUP_LEFT.of(fact).is_none()) {
            if group.last().is_none_or(|fact| field::GROUP_LEFT.of(fact).is_some()) {
                break;
            }
            let number = field::CAPTURE_COUNTER.of(&group[0]).expect("stated");
            let first = u32::try_from(number).expect("small");
            let outcome = Outcome::Vouchers { month: Month(5), first };
            assert!(told.push(Span { groups: 1, facts_each: group.len() as u64, outcome }));
        }
        told.sign(&self.key)
    }

    fn state_since(&self, cursor: StateCursor) -> Option<SignedStateBatch> {
        let known = if cursor.handle == self.handle { cursor.at } else { 0 };
        let end = self.state.len() as u64;
        if known == end {
            return None;
        }
        let to = (known + 3).min(end);
        let facts = &self.state[index(known)..index(to)];
        let at = |at| StateCursor { handle: self.handle, at };
        Some(StateBatch::new(SITE, at(known), at(to), end, facts).sign(&self.key))
    }
}

/// A connection: both sessions and the bytes under way.
struct Link {
    edge: EdgeSession,
    hq: HqSession,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    up_buffer: FrameBuffer,
    down_buffer: FrameBuffer,
    /// How far HQ has the log, where it is a branch.
    branch: Option<Position>,
    /// Requests that the stores have not done yet: lost with the connection.
    edge_requests: VecDeque<EdgeRequest>,
    hq_requests: VecDeque<HqRequest>,
    notices: Vec<EdgeNotice>,
}

struct Pair {
    edge: Edge,
    hq: Hq,
    link: Option<Link>,
    settings: EdgeSettings,
    versions: Versions,
    now: Moment,
}

impl Pair {
    fn new() -> Self {
        let id = LogId([3; 32]);
        let key = |byte| SigningKey::from_bytes(&[byte; 32]);
        Self {
            edge: Edge {
                log: Log::new(id),
                key: key(1),
                witness: None,
                is_copied: false,
                state: StateCursor::START,
                applied: Vec::new(),
                given: Vec::new(),
                told_before: BTreeMap::new(),
                changes: BTreeMap::new(),
                made: BTreeMap::new(),
                changes_made: 0,
                documents: StateCursor::START,
                told: Vec::new(),
                postings: PostingsKnown::nothing(HistoryId([1; 32])),
                vouchers: Vec::new(),
            },
            hq: Hq {
                log: Log::new(id),
                branches: Vec::new(),
                key: key(2),
                history: HistoryId([1; 32]),
                posted: Seq::ZERO,
                handle: 9,
                state: Vec::new(),
                asks: None,
                lives: None,
                documents_taken: Vec::new(),
                takes_back_whole: true,
                taken: Vec::new(),
                decided: Vec::new(),
            },
            link: None,
            settings: EdgeSettings::default(),
            versions: VERSIONS,
            now: Moment(1_000),
        }
    }

    fn connect(&mut self) {
        let start = EdgeStart {
            site: SITE,
            log: self.edge.log.id,
            position: self.edge.log.position(),
            sealed: self.edge.log.sealed,
            is_copied: self.edge.is_copied,
            state: self.edge.state,
            documents: Some(self.edge.documents),
            postings: self.edge.postings.clone(),
            witness: self.edge.witness,
            hq_key: self.hq.key.verifying_key(),
            versions: self.versions,
            program: "edge-node test".to_owned(),
        };
        let hq_start =
            HqStart { refusal: None, versions: VERSIONS, program: "hq-server test".to_owned() };
        let mut hq = HqSession::new(hq_start, HqSettings::default(), self.now);
        if let Some(known) = self.hq.asks.clone() {
            hq.handle_event(HqEvent::AskBack(known), self.now);
        }
        if let Some(lives) = self.hq.lives.clone() {
            hq.handle_event(HqEvent::AskDocuments(lives), self.now);
        }
        self.link = Some(Link {
            edge: EdgeSession::new(start, self.settings, self.now),
            hq,
            up: VecDeque::new(),
            down: VecDeque::new(),
            up_buffer: FrameBuffer::new(),
            down_buffer: FrameBuffer::new(),
            branch: None,
            edge_requests: VecDeque::new(),
            hq_requests: VecDeque::new(),
            notices: Vec::new(),
        });
    }

    fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("there is a connection")
    }

    fn record(&mut self, lines: u64) {
        self.edge.log.record(lines);
        let (last, now) = (self.edge.log.last(), self.now);
        if let Some(link) = &mut self.link {
            link.edge.handle_event(EdgeEvent::Recorded(last), now);
        }
    }

    fn seal(&mut self) {
        self.edge.log.seal(&self.edge.key.clone());
        let (sealed, now) = (self.edge.log.sealed, self.now);
        if let Some(link) = &mut self.link {
            link.edge.handle_event(EdgeEvent::Sealed(sealed), now);
        }
    }

    fn post(&mut self) {
        self.hq.posted = self.hq.log.last();
        let now = self.now;
        if let Some(link) = &mut self.link {
            link.hq.handle_event(HqEvent::LevelsChanged, now);
        }
    }

    fn change_state(&mut self, number: u64) {
        self.hq.state.push(fact(number, 0));
        let now = self.now;
        if let Some(link) = &mut self.link {
            link.hq.handle_event(HqEvent::StateChanged, now);
        }
    }

    fn edit(&mut self, word: &[u8]) {
        self.edge.changes_made += 1;
        let number = self.edge.changes_made;
        self.edge.changes.insert(number, change(number, word));
        self.edge.made.insert(number, change(number, word));
        let now = self.now;
        if let Some(link) = &mut self.link {
            link.edge.handle_event(EdgeEvent::DocumentsChanged, now);
        }
    }

    /// Another site's change has come to HQ.
    fn edit_elsewhere(&mut self, number: u64) {
        let change = change(number, b"other");
        let told = Told { change: change.hash, is_in: true, is_own: false };
        self.hq.decided.push((told, change.bytes));
        let now = self.now;
        if let Some(link) = &mut self.link {
            link.hq.handle_event(HqEvent::DocumentsChanged, now);
        }
    }

    /// One thing happens, if there is any: a frame leaves, arrives, or a store does its work.
    fn step(&mut self, dice: &mut Dice) -> bool {
        let first = dice.below(6);
        (0..6).any(|offset| match (first + offset) % 6 {
            0 => self.edge_sends(),
            1 => self.hq_sends(),
            2 => self.hq_receives(dice),
            3 => self.edge_receives(dice),
            4 => self.edge_store_works(),
            _ => self.hq_store_works(),
        })
    }

    fn settle(&mut self, dice: &mut Dice) {
        while self.step(dice) {}
    }

    fn wall(&self) -> Now {
        Now { moment: self.now, wall: Timestamp(1_795_519_885_123) }
    }

    fn edge_sends(&mut self) -> bool {
        let now = self.wall();
        let link = self.link();
        let announced = link.edge.has_frame();
        let frame = link.edge.poll_frame(now);
        assert_eq!(announced, frame.is_some());
        frame.map(|frame| link.up.push_back(frame.encode())).is_some()
    }

    fn hq_sends(&mut self) -> bool {
        let now = self.wall();
        let link = self.link();
        let announced = link.hq.has_frame();
        let frame = link.hq.poll_frame(now);
        assert_eq!(announced, frame.is_some());
        frame.map(|frame| link.down.push_back(frame.encode())).is_some()
    }

    fn hq_receives(&mut self, dice: &mut Dice) -> bool {
        let link = self.link();
        if link.hq.end().is_some() || !link.hq.wants_frames() {
            return false;
        }
        match next_frame(&mut link.up_buffer) {
            Ok(Some(frame)) => link.hq.handle_frame(frame),
            Err(error) => link.hq.handle_broken(&error),
            Ok(None) => return deliver(&mut link.up, &mut link.up_buffer, dice),
        }
        true
    }

    fn edge_receives(&mut self, dice: &mut Dice) -> bool {
        let now = self.now;
        let link = self.link();
        if link.edge.end().is_some() || !link.edge.wants_frames() {
            return false;
        }
        match next_frame(&mut link.down_buffer) {
            Ok(Some(frame)) => link.edge.handle_frame(frame, now),
            Err(error) => link.edge.handle_broken(&error),
            Ok(None) => return deliver(&mut link.down, &mut link.down_buffer, dice),
        }
        link.notices.extend(std::iter::from_fn(|| link.edge.poll_notice()));
        true
    }

    fn edge_store_works(&mut self) -> bool {
        let now = self.now;
        let link = self.link.as_mut().expect("there is a connection");
        link.edge_requests.extend(std::iter::from_fn(|| link.edge.poll_request()));
        let Some(request) = link.edge_requests.pop_front() else { return false };
        let event = match request {
            EdgeRequest::ReadRun { first, facts_max } => {
                EdgeEvent::RunRead(self.edge.log.run_from(first, facts_max))
            }
            EdgeRequest::ReadSeals { first, seals_max } => {
                let from = self.edge.log.seals.iter().filter(|signed| signed.seal.first >= first);
                EdgeEvent::SealsRead(from.take(seals_max).copied().collect())
            }
            EdgeRequest::ReadHead(at) => EdgeEvent::HeadRead(self.edge.log.heads[index(at.0)]),
            EdgeRequest::NoteAcknowledgement(signed) => {
                self.edge.witness = Some(signed);
                EdgeEvent::AcknowledgementNoted
            }
            EdgeRequest::ApplyState(signed) => {
                if signed.batch.from.at == 0 {
                    self.edge.applied.clear();
                }
                self.edge.applied.extend(signed.batch.facts().expect("facts"));
                self.edge.state = signed.batch.to;
                EdgeEvent::StateApplied
            }
            EdgeRequest::ReadGiven { known, after } => {
                assert_eq!(Some(&known), self.hq.asks.as_ref());
                let mut given = self.edge.given.iter();
                let place = |cursor: StateCursor| (cursor.handle, cursor.at);
                let next = given.find(|signed| place(signed.batch.to) > place(after));
                EdgeEvent::GivenRead(next.cloned())
            }
            EdgeRequest::ReadChanges { after, changes_max } => {
                let rest = self.edge.changes.range(after + 1..).take(changes_max);
                EdgeEvent::ChangesRead(rest.map(|(no, change)| (*no, change.clone())).collect())
            }
            EdgeRequest::ReadTold { lives, after, back } => {
                if let Some(number) = back {
                    self.edge.told_before.remove(&number);
                }
                let mut told = self.edge.told_before.range(after + 1..);
                let next = told.find(|(_, told)| lives.lack(told.batch.to));
                EdgeEvent::ToldRead(next.map(|(number, told)| {
                    let own = |_, _| Ok::<_, Infallible>(None);
                    let Ok(given) = GivenDocuments::new(told.clone(), own);
                    (*number, Box::new(given))
                }))
            }
            EdgeRequest::ApplyDocuments(signed) => {
                self.edge.apply_documents(&signed.batch);
                EdgeEvent::DocumentsApplied
            }
            EdgeRequest::NotePostings(signed) => {
                self.edge.take_postings(&signed.postings);
                EdgeEvent::PostingsNoted(self.edge.postings.clone())
            }
        };
        link.edge.handle_event(event, now);
        true
    }

    fn hq_store_works(&mut self) -> bool {
        let now = self.now;
        let link = self.link.as_mut().expect("there is a connection");
        link.hq_requests.extend(std::iter::from_fn(|| link.hq.poll_request()));
        let Some(request) = link.hq_requests.pop_front() else { return false };
        let event = match request {
            HqRequest::Open(_) => HqEvent::Opened(OpenedLog {
                history: self.hq.history,
                cursor: self.hq.log.position(),
                sealed: self.hq.log.sealed,
            }),
            HqRequest::OpenBranch { hello, common } => {
                let cursor = self.hq.common(hello.position, common);
                link.branch = Some(cursor);
                let sealed = self.hq.log.sealed;
                HqEvent::Opened(OpenedLog { history: self.hq.history, cursor, sealed })
            }
            HqRequest::Store(run) if link.branch.is_some() => {
                let position = self.hq.store_branch(&run);
                link.branch = Some(position);
                HqEvent::Stored(position)
            }
            HqRequest::Store(run) => {
                assert_eq!(run.first, self.hq.log.last().next(), "facts come in order, once");
                let mut after = self.hq.log.clone();
                after.extend(&run.facts);
                if after.position().head == run.head {
                    self.hq.log = after;
                    HqEvent::Stored(self.hq.log.position())
                } else {
                    panic!("a log that differs comes as a branch")
                }
            }
            HqRequest::StoreSeal(signed) if signed.seal.first != self.hq.log.sealed.next() => {
                HqEvent::Refused(Refusal::new(Code::FORK, "another seal was taken before"))
            }
            HqRequest::StoreSeal(signed) => {
                assert!(signed.verify(&self.edge.key.verifying_key()).is_ok());
                assert!(signed.seal.last <= self.hq.log.last(), "seals cover stored facts");
                self.hq.log.seals.push(signed);
                self.hq.log.sealed = signed.seal.last;
                HqEvent::SealStored
            }
            HqRequest::ReadAcknowledgement => {
                HqEvent::AcknowledgementRead(self.hq.acknowledgement(link.branch))
            }
            HqRequest::ReadState(cursor) => {
                let back = self.hq.asks.as_ref().map_or(0, |_| self.edge.given.len());
                assert_eq!(self.hq.taken.len(), back, "nothing is told before all is back");
                HqEvent::StateRead(self.hq.state_since(cursor))
            }
            HqRequest::TakeBack(signed) => {
                self.hq.taken.push(signed);
                HqEvent::TakenBack
            }
            HqRequest::TakeDocuments(given) => {
                // Now and then it lacks what something builds on, until its documents have moved.
                let is_whole = self.hq.takes_back_whole || !self.hq.decided.is_empty();
                self.hq.documents_taken.push(*given);
                HqEvent::DocumentsBack(is_whole)
            }
            HqRequest::TakeChanges(changes) => {
                assert!(changes.len() <= limits::DOCUMENT_CHANGES_WINDOW, "the window holds");
                HqEvent::ChangesTaken(self.hq.take(&changes))
            }
            HqRequest::ReadDocuments { cursor, sent } => {
                HqEvent::DocumentsRead(self.hq.documents_since(cursor, &sent))
            }
            HqRequest::LookUp(text) => HqEvent::Found(Found::new(&self.hq.state, text.is_empty())),
            HqRequest::Handle(items) => {
                let items = items.iter().map(|item| fact(item.0.into(), 0));
                self.hq.state.extend(items);
                HqEvent::Handled
            }
            HqRequest::ReadPostings(asked) => HqEvent::PostingsRead(self.hq.postings(asked)),
        };
        link.hq.handle_event(event, now);
        true
    }

    fn assert_equal(&self) {
        assert_eq!(self.hq.log.position(), self.edge.log.position());
        assert_eq!(self.hq.log.facts, self.edge.log.facts);
        assert_eq!(self.hq.log.sealed, self.edge.log.sealed);
        assert_eq!(self.edge.applied, self.hq.state);
        let decided: Vec<_> = self.hq.decided.iter().map(|(told, _)| *told).collect();
        assert_eq!(self.edge.told, decided);
        let witness = self.edge.witness.map(|signed| signed.acknowledgement.received);
        assert_eq!(witness, Some(self.edge.log.position()).filter(|at| at.last > Seq::ZERO));
    }

    fn edge_end(&self) -> Option<&EdgeEnd> {
        self.link.as_ref().and_then(|link| link.edge.end())
    }

    fn hq_end(&self) -> Option<&HqEnd> {
        self.link.as_ref().and_then(|link| link.hq.end())
    }
}

/// Part of what is under way arrives, cut anywhere.
fn deliver(wire: &mut VecDeque<Vec<u8>>, buffer: &mut FrameBuffer, dice: &mut Dice) -> bool {
    let Some(mut bytes) = wire.pop_front() else { return false };
    let cut = index(dice.below(bytes.len() as u64)) + 1;
    let rest = bytes.split_off(cut);
    if !rest.is_empty() {
        wire.push_front(rest);
    }
    buffer.push(&bytes);
    true
}

#[test]
fn everything_arrives_whatever_is_cut() {
    for seed in 1..=60 {
        let mut dice = Dice(seed);
        let mut pair = Pair::new();
        for number in 0..20 {
            if dice.below(2) == 0 {
                // Bytes under way and work the stores had not done are lost.
                pair.connect();
            }
            (0..dice.below(30)).for_each(|_| pair.record(dice.below(4) + 1));
            match dice.below(4) {
                0 => pair.seal(),
                1 => pair.change_state(number),
                2 => {
                    pair.post();
                    (0..dice.below(100)).for_each(|_| pair.edit(b"good"));
                    pair.edit([BAD, EARLY][index(dice.below(2))]);
                    if dice.below(2) == 0 {
                        pair.edit_elsewhere(number);
                    }
                }
                _ => {}
            }
            if pair.link.is_some() {
                let steps = dice.below(200);
                (0..steps).take_while(|_| pair.step(&mut dice)).for_each(drop);
            }
        }
        pair.edit_elsewhere(99);
        pair.connect();
        pair.seal();
        pair.settle(&mut dice);
        pair.assert_equal();
        assert!(pair.edge.changes.is_empty(), "seed {seed}: HQ decided on every change");
        assert!(pair.link().edge.is_complete(), "seed {seed}");
        assert_eq!((pair.edge_end(), pair.hq_end()), (None, None), "seed {seed}");
    }
}

/// What the edge has to say, HQ's answer to it, and no more.
fn exchange_once(pair: &mut Pair) {
    let mut dice = Dice(1);
    while pair.edge_store_works() || pair.edge_sends() {}
    while pair.hq_receives(&mut dice) || pair.hq_store_works() || pair.hq_sends() {}
    while pair.edge_receives(&mut dice) {}
}

#[test]
fn facts_come_with_the_hello_where_hq_is_as_expected() {
    let mut pair = Pair::new();
    for _ in 0..3 {
        (0..500).for_each(|_| pair.record(1));
        pair.connect();
        exchange_once(&mut pair);
        assert_eq!(pair.link().edge.unacknowledged(), 0);
        pair.settle(&mut Dice(1));
    }
    // An acknowledgement that was lost: HQ has more than was expected, and passes over the run.
    pair.record(1);
    while pair.edge_store_works() || pair.edge_sends() {}
    while pair.hq_receives(&mut Dice(1)) || pair.hq_store_works() {}
    pair.record(1);
    pair.connect();
    exchange_once(&mut pair);
    assert!(pair.link().edge.unacknowledged() > 0);
    pair.seal();
    pair.settle(&mut Dice(1));
    pair.assert_equal();
}

#[test]
fn every_posted_fact_gets_to_know_its_voucher() {
    for seed in 1..=40 {
        let mut dice = Dice(seed);
        let mut pair = Pair::new();
        for _ in 0..12 {
            if dice.below(2) == 0 {
                pair.connect();
            }
            (0..dice.below(30)).for_each(|_| pair.record(dice.below(4) + 1));
            if pair.link.is_some() {
                let steps = dice.below(200);
                (0..steps).take_while(|_| pair.step(&mut dice)).for_each(drop);
                pair.post();
            }
        }
        pair.connect();
        pair.settle(&mut dice);
        pair.post();
        pair.settle(&mut dice);
        pair.now = pair.link().hq.timeout().expect("an acknowledgement is due");
        let now = pair.now;
        pair.link().hq.handle_timeout(now);
        pair.settle(&mut dice);
        assert_eq!((pair.edge_end(), pair.hq_end()), (None, None), "seed {seed}");
        let last = pair.edge.log.last();
        assert_eq!((pair.edge.postings.up_to, pair.edge.vouchers.len() as u64), (last, last.0));
        let mut first = 1;
        for (place, (fact, voucher)) in
            (1..).zip(pair.edge.log.facts.iter().zip(&pair.edge.vouchers))
        {
            assert_eq!(*voucher, first, "seed {seed}, fact {place}");
            if field::GROUP_LEFT.of(fact).is_none() {
                first = place + 1;
            }
        }
    }
}

#[test]
fn a_window_limits_what_is_not_acknowledged() {
    let mut pair = Pair::new();
    pair.settings.window_facts = 1_000;
    pair.edge.log.extend(&(0..5_000).map(|number| fact(number, 0)).collect::<Vec<_>>());
    pair.connect();
    let mut dice = Dice(1);
    while pair.edge_store_works() || pair.edge_sends() {}
    let mut frames = FrameBuffer::new();
    pair.link().up.iter().for_each(|bytes| frames.push(bytes));
    let mut sent = 0;
    while let Some(frame) = next_frame(&mut frames).expect("good frames") {
        if let Frame::Facts(facts) | Frame::Early(_, facts) = frame {
            sent += facts.count;
        }
    }
    assert!((700..=1_000).contains(&sent), "{sent}");
    // HQ says nothing but its welcome.
    while !pair.link().hq.has_frame() {
        assert!(pair.hq_receives(&mut dice) || pair.hq_store_works());
    }
    while pair.hq_sends() || pair.edge_receives(&mut dice) {}
    let before = pair.link().up.len();
    while pair.edge_store_works() || pair.edge_sends() {}
    let mut frames = FrameBuffer::new();
    pair.link().up.iter().skip(before).for_each(|bytes| frames.push(bytes));
    while let Some(frame) = next_frame(&mut frames).expect("good frames") {
        assert!(!matches!(frame, Frame::Facts(_)), "the window is full");
    }
    pair.settle(&mut dice);
    pair.seal();
    pair.settle(&mut dice);
    pair.assert_equal();
}

#[test]
fn posted_comes_back_after_a_moment() {
    let mut dice = Dice(5);
    let mut pair = Pair::new();
    pair.connect();
    pair.record(3);
    pair.settle(&mut dice);
    pair.post();
    pair.settle(&mut dice);
    let posted = |pair: &Pair| pair.edge.witness.expect("acknowledged").acknowledgement.posted;
    assert_eq!(posted(&pair), Seq::ZERO);
    pair.now = pair.link().hq.timeout().expect("an acknowledgement is due");
    let now = pair.now;
    pair.link().hq.handle_timeout(now);
    pair.settle(&mut dice);
    assert_eq!(posted(&pair), Seq(3));
}

#[test]
fn other_versions_are_refused_in_words() {
    for (lowest, highest) in [(VERSION + 1, VERSION + 2), (VERSION + 4, VERSION + 4)] {
        let mut pair = Pair::new();
        pair.versions = Versions { lowest, highest };
        pair.connect();
        pair.settle(&mut Dice(1));
        let Some(EdgeEnd::Refused(refusal)) = pair.edge_end() else { panic!("refused") };
        assert_eq!((refusal.code, refusal.versions), (Code::WRONG_VERSION, VERSIONS));
        assert!(refusal.text.contains("update hq-server"), "{}", refusal.text);
    }
    let mut pair = Pair::new();
    pair.versions = Versions { lowest: 1, highest: 9 };
    pair.connect();
    pair.settle(&mut Dice(1));
    assert!(pair.link().edge.is_open(), "a newer program speaks the older version too");
    let mut pair = Pair::new();
    pair.versions = Versions { lowest: 1, highest: 1 };
    pair.connect();
    pair.settle(&mut Dice(1));
    assert!(pair.link().edge.is_open(), "HQ speaks the version of an older program");
}

/// A node's log as it was after some facts, with the acknowledgement that it held then.
fn image(pair: &Pair, facts: usize, acknowledged: Option<usize>) -> (Log, Option<Position>) {
    let log = &pair.edge.log;
    let mut older = Log::new(log.id);
    older.extend(&log.facts[..facts]);
    let at = |facts: usize| Position { last: Seq(facts as u64), head: log.heads[facts] };
    (older, acknowledged.map(at))
}

#[test]
fn a_forked_log_becomes_a_branch() {
    for seed in 1..=40 {
        let mut dice = Dice(seed);
        let mut pair = Pair::new();
        pair.connect();
        let facts = 3 + index(dice.below(2_100));
        (0..facts).for_each(|_| pair.record(1));
        pair.settle(&mut dice);
        // An image of some facts, of which HQ had acknowledged some, or none.
        let kept = index(dice.below(facts as u64));
        let acknowledged = (dice.below(3) > 0).then(|| index(dice.below(kept as u64 + 1)));
        let (copy, witness) = image(&pair, kept, acknowledged);
        let original = std::mem::replace(&mut pair.edge.log, copy);
        let first_witness = pair.edge.witness;
        pair.edge.witness = witness.map(|at| pair.hq.acknowledgement(Some(at)));
        let more = index(dice.below(2 * (facts - kept) as u64)) + 1;
        pair.edge.log.extend(&[fact(9_999_999, 0)]);
        (0..more).for_each(|_| pair.record(dice.below(3) + 1));
        for _ in 0..3 {
            pair.connect();
            let steps = dice.below(60);
            (0..steps).take_while(|_| pair.step(&mut dice)).for_each(drop);
            pair.record(1);
        }
        pair.seal();
        pair.connect();
        pair.settle(&mut dice);
        assert_eq!((pair.edge_end(), pair.hq_end()), (None, None), "seed {seed}");
        let common = witness.map_or(Seq::ZERO, |at| at.last);
        let said = |notice: &EdgeNotice| matches!(notice, EdgeNotice::Forked { common: found } if *found >= common);
        assert!(pair.link().notices.iter().any(said), "seed {seed}");
        assert_eq!(pair.hq.log.facts, original.facts, "the other log stays as it was");
        assert_eq!(pair.hq.branches.len(), 1, "seed {seed}");
        assert_eq!(pair.hq.branches[0].facts, pair.edge.log.facts, "seed {seed}");
        let held = pair.edge.witness.map(|signed| signed.acknowledgement.received);
        assert_eq!(held, Some(pair.edge.log.position()), "seed {seed}");
        // The node that was copied goes on meanwhile.
        let branch = std::mem::replace(&mut pair.edge.log, original);
        pair.edge.witness = first_witness;
        pair.record(2);
        pair.connect();
        pair.settle(&mut dice);
        assert_eq!(pair.hq.log.facts, pair.edge.log.facts, "seed {seed}");
        assert_eq!(pair.hq.branches[0].facts, branch.facts, "seed {seed}");
    }
}

#[test]
fn live_movements_say_what_differs_from_the_one_before() {
    let mut dice = Dice(1);
    let mut pair = Pair::new();
    pair.record(3);
    pair.connect();
    pair.settle(&mut dice);
    let mut leads = Vec::new();
    for lines in [1, 1, 2, 40, 1] {
        pair.record(lines);
        while pair.edge_store_works() {}
        assert!(pair.edge_sends());
        let sent = pair.link().up.back().expect("it was sent").clone();
        let mut buffer = FrameBuffer::new();
        buffer.push(&sent);
        let Ok(Some(Frame::Facts(facts))) = next_frame(&mut buffer) else {
            panic!("no facts went")
        };
        leads.push((facts.packed[0] == 2, facts.packed.len()));
        pair.settle(&mut dice);
    }
    // The first ones went with the hello, which HQ might have passed over.
    assert_eq!(
        leads.iter().map(|lead| lead.0).collect::<Vec<_>>(),
        [false, true, true, false, true]
    );
    assert!(leads[1].1 <= 4, "{leads:?}");
    assert_eq!(pair.hq.log.facts, pair.edge.log.facts);
}

#[test]
fn a_copy_that_differs_in_its_seals_alone_goes_on_without_them() {
    let mut dice = Dice(1);
    let mut pair = Pair::new();
    pair.connect();
    (0..4).for_each(|_| pair.record(1));
    pair.settle(&mut dice);
    let (mut copy, _) = image(&pair, 4, None);
    pair.seal();
    pair.settle(&mut dice);
    // The copy's first seal covers what the other one's does, and more.
    copy.extend(&[fact(77, 0)]);
    copy.seal(&pair.edge.key);
    pair.edge.log = copy;
    pair.connect();
    pair.settle(&mut dice);
    assert_eq!(pair.edge_end(), Some(&EdgeEnd::Fork(Seq(4))));
    pair.edge.is_copied = true;
    pair.connect();
    pair.settle(&mut dice);
    assert!(pair.link().notices.contains(&EdgeNotice::Forked { common: Seq(5) }));
    pair.record(2);
    pair.seal();
    pair.settle(&mut dice);
    assert_eq!((pair.edge_end(), pair.hq.branches.len()), (None, 0));
    assert_eq!(pair.hq.log.facts, pair.edge.log.facts);
    assert_eq!(pair.hq.log.sealed, Seq(4));
    // What HQ is expected to want comes after it heard that this is the copy.
    pair.record(1);
    pair.connect();
    exchange_once(&mut pair);
    pair.settle(&mut dice);
    assert_eq!((pair.edge_end(), pair.hq_end()), (None, None));
    assert_eq!(pair.hq.log.facts, pair.edge.log.facts);
}

#[test]
fn a_restored_log_goes_on_as_a_branch() {
    let mut dice = Dice(1);
    let mut pair = Pair::new();
    pair.connect();
    (0..4).for_each(|_| pair.record(1));
    pair.settle(&mut dice);
    let (older, witness) = image(&pair, 2, Some(1));
    pair.edge.log = older;
    pair.edge.witness = witness.map(|at| pair.hq.acknowledgement(Some(at)));
    pair.connect();
    pair.settle(&mut dice);
    assert!(pair.link().edge.is_open());
    assert!(pair.link().notices.contains(&EdgeNotice::Forked { common: Seq(2) }));
    pair.edge.log.extend(&[fact(77, 0)]);
    pair.record(1);
    pair.settle(&mut dice);
    assert_eq!(pair.hq.log.last(), Seq(4));
    assert_eq!(pair.hq.branches[0].facts, pair.edge.log.facts);
    assert_eq!(pair.edge_end(), None);
}

#[test]
fn early_facts_count_only_after_their_own_head() {
    let mut dice = Dice(1);
    let mut pair = Pair::new();
    pair.connect();
    (0..2).for_each(|_| pair.record(1));
    pair.settle(&mut dice);
    // HQ was put back to the first fact, and a copy of the node came first.
    let mut other = Log::new(pair.hq.log.id);
    other.extend(&[fact(1, 0), fact(77, 0)]);
    pair.hq.log = other.clone();
    pair.record(1);
    pair.connect();
    pair.settle(&mut dice);
    assert_eq!((pair.edge_end(), pair.hq_end()), (None, None));
    assert_eq!(pair.hq.log.facts, other.facts);
    assert_eq!(pair.hq.branches[0].facts, pair.edge.log.facts);
}

#[test]
fn what_hq_lost_is_sent_again_and_said() {
    for restored in [false, true] {
        let mut pair = Pair::new();
        pair.connect();
        pair.record(1);
        pair.record(1);
        pair.settle(&mut Dice(1));
        pair.hq.log = Log::new(pair.hq.log.id);
        if restored {
            pair.hq.history = HistoryId([2; 32]);
        }
        pair.connect();
        pair.settle(&mut Dice(1));
        let expected = EdgeNotice::HqLost { restored, acknowledged: Seq(2), has: Seq::ZERO };
        assert!(pair.link().notices.contains(&expected));
        pair.assert_equal();
    }
}

#[test]
fn a_restored_hq_gets_back_what_it_told_of_documents() {
    let place = |handle, at| StateCursor { handle, at };
    let all = [(3, 0), (3, 4), (3, 9), (5, 0), (8, 2), (9, 0)];
    // HQ lives as 9; of its life as 3 it has what was decided up to 4, and knows nothing of those as 5 and 8.
    let lives = Lives { now: 9, before: vec![place(3, 4)] };
    let lacking = [(3, 9), (5, 2), (8, 4)];
    for (seed, newest) in (1..=40).zip([3, 2].into_iter().cycle()) {
        let (mut pair, mut dice) = (Pair::new(), Dice(seed));
        pair.versions = Versions { lowest: 1, highest: newest };
        pair.hq.lives = Some(lives.clone());
        pair.hq.takes_back_whole = seed % 4 != 0;
        for (number, (handle, at)) in (1..).zip(all) {
            let news = vec![DocumentNews::Change { key: DOCUMENT, bytes: vec![1; 40] }];
            let (from, to) = (place(handle, at), place(handle, at + 2));
            let to = if handle == 3 { place(handle, at.max(4)) } else { to };
            let batch = DocumentBatch { site: SITE, from, to, news, heads: Vec::new() };
            pair.edge.told_before.insert(number, batch.sign(&pair.hq.key));
        }
        pair.connect();
        (0..4).for_each(|_| pair.edit(b"good"));
        for _ in 0..2 {
            for _ in 0..dice.below(60) {
                pair.step(&mut dice);
            }
            pair.connect();
        }
        pair.settle(&mut dice);
        let back = pair.hq.documents_taken.iter().map(|given| given.told.batch.to);
        let mut back: Vec<_> = back.collect();
        let expected = lacking.map(|(handle, at)| place(handle, at)).to_vec();
        let expected = if newest == 3 { expected } else { Vec::new() };
        if pair.hq.takes_back_whole {
            // A connection that broke before the edge heard of it brings one again.
            back.dedup();
            assert_eq!(back, expected);
        }
        assert!(expected.iter().all(|step| back.contains(step)));
        let kept = pair.edge.told_before.values().any(|told| lives.lack(told.batch.to));
        assert_eq!(kept, newest != 3, "what HQ has again need not be kept");
        pair.assert_equal();
    }
}

#[test]
fn a_restored_hq_gets_back_what_it_asks_before_it_tells_anything() {
    for (seed, count) in (1..=40).zip([0, 1, 2, 5].iter().cycle()) {
        let (mut pair, mut dice) = (Pair::new(), Dice(seed));
        pair.hq.asks = Some(vec![Capture { device: DeviceNo(1), counter: 4 }]);
        for at in 0..*count {
            let place = |at| StateCursor { handle: 3, at };
            let batch = StateBatch::new(SITE, place(at), place(at + 1), 9, &[fact(at, 0)]);
            pair.edge.given.push(batch.sign(&pair.hq.key));
        }
        pair.edge.state = StateCursor { handle: 3, at: *count };
        (0..4).for_each(|number| pair.change_state(number));
        (0..30).for_each(|_| pair.record(2));
        pair.connect();
        pair.settle(&mut dice);
        assert_eq!(pair.hq.taken, pair.edge.given);
        pair.assert_equal();
    }
}

#[test]
fn another_selection_starts_from_a_snapshot() {
    let mut pair = Pair::new();
    pair.connect();
    (0..5).for_each(|number| pair.change_state(number));
    pair.settle(&mut Dice(1));
    assert_eq!(pair.edge.applied, pair.hq.state);
    (pair.hq.handle, pair.hq.state) = (10, vec![fact(50, 0), fact(51, 0)]);
    pair.connect();
    pair.settle(&mut Dice(1));
    assert_eq!(pair.edge.applied, pair.hq.state);
    assert_eq!(pair.edge.state, StateCursor { handle: 10, at: 2 });
}

#[test]
fn what_hq_can_not_decide_on_yet_is_offered_again() {
    let mut pair = Pair::new();
    let mut dice = Dice(1);
    pair.connect();
    pair.edit(EARLY);
    pair.edit(b"good");
    pair.settle(&mut dice);
    assert_eq!(pair.edge.changes.len(), 1, "it waits, and what follows does not");
    assert_eq!(pair.link().edge.timeout(), None, "nobody waits for it");
    pair.edit_elsewhere(7);
    pair.settle(&mut dice);
    assert!(pair.edge.changes.is_empty());
    pair.assert_equal();
}

#[test]
fn a_node_has_not_said_all_before_hq_decides_on_its_edits() {
    let mut pair = Pair::new();
    let mut dice = Dice(1);
    pair.connect();
    pair.settle(&mut dice);
    assert!(pair.link().edge.is_complete());
    pair.edit(b"good");
    assert!(!pair.link().edge.is_complete(), "it is to be read");
    while pair.edge_store_works() {}
    assert!(!pair.link().edge.is_complete(), "it is to be sent");
    while pair.edge_sends() {}
    assert!(!pair.link().edge.is_complete(), "it is under way");
    pair.edit(EARLY);
    pair.settle(&mut dice);
    assert!(pair.link().edge.is_complete(), "HQ can't decide on the other one");
}

#[test]
fn another_history_tells_of_documents_from_the_beginning() {
    let mut pair = Pair::new();
    let mut dice = Dice(1);
    pair.connect();
    (0..5).for_each(|_| pair.edit(b"good"));
    pair.settle(&mut dice);
    assert_eq!((pair.edge.told.len(), pair.edge.documents.at), (5, 5));
    (pair.hq.handle, pair.hq.decided) = (10, Vec::new());
    pair.edit_elsewhere(8);
    pair.connect();
    pair.settle(&mut dice);
    pair.assert_equal();
    assert_eq!(pair.edge.documents, StateCursor { handle: 10, at: 6 }, "its own are offered again");
}

#[test]
fn a_change_that_comes_back_whole_is_not_waited_for() {
    for seed in 1..=40 {
        let mut pair = Pair::new();
        let mut dice = Dice(seed);
        pair.connect();
        (0..5).for_each(|_| pair.edit(b"good"));
        pair.settle(&mut dice);
        // The node did not hear what HQ decided: its connection broke.
        pair.edge.changes = pair.edge.made.clone();
        (pair.edge.documents, pair.edge.told) = (StateCursor::START, Vec::new());
        pair.connect();
        pair.settle(&mut dice);
        assert!(pair.edge.changes.is_empty(), "seed {seed}");
        assert_eq!(pair.link().edge.timeout(), None, "seed {seed}: nobody waits for anything");
        pair.assert_equal();
    }
}

#[test]
fn another_history_is_offered_what_was_made_before() {
    for seed in 1..=40 {
        let mut pair = Pair::new();
        let mut dice = Dice(seed);
        pair.connect();
        (0..5).for_each(|_| pair.edit(b"good"));
        pair.settle(&mut dice);
        (pair.hq.handle, pair.hq.decided) = (10, Vec::new());
        pair.edit_elsewhere(8);
        pair.edit(b"good");
        pair.connect();
        pair.settle(&mut dice);
        assert!(pair.edge.changes.is_empty(), "seed {seed}");
        assert_eq!(pair.hq.decided.len(), 7, "seed {seed}");
        pair.assert_equal();
    }
}

#[test]
fn documents_go_before_keyed_state_and_after_facts() {
    let mut pair = Pair::new();
    let mut dice = Dice(1);
    pair.connect();
    pair.settle(&mut dice);
    pair.change_state(1);
    pair.edit_elsewhere(2);
    pair.record(1);
    pair.edit(b"good");
    let sent = |wire: &VecDeque<Vec<u8>>| {
        let mut frames = FrameBuffer::new();
        for bytes in wire {
            frames.push(bytes);
        }
        let names = std::iter::from_fn(|| next_frame(&mut frames).expect("good frames"));
        names.map(|frame| frame.name()).collect::<Vec<_>>()
    };
    while pair.edge_store_works() || pair.hq_store_works() {}
    while pair.edge_sends() || pair.hq_sends() {}
    assert_eq!(sent(&pair.link().up), ["facts", "document change"]);
    assert_eq!(sent(&pair.link().down), ["documents", "state"]);
    pair.settle(&mut dice);
    pair.assert_equal();
}

#[test]
fn only_hqs_key_speaks_for_hq() {
    let mut pair = Pair::new();
    pair.connect();
    pair.record(1);
    pair.hq.key = SigningKey::from_bytes(&[99; 32]);
    pair.settle(&mut Dice(1));
    assert_eq!(pair.edge_end(), Some(&EdgeEnd::BadSignature("an acknowledgement")));
    assert_eq!(pair.hq_end(), Some(&HqEnd::EdgeLeft(Code::PROTOCOL)));
}

#[test]
fn silence_ends_a_session() {
    let mut pair = Pair::new();
    pair.connect();
    pair.edge_sends();
    pair.now = pair.link().edge.timeout().expect("a welcome is awaited");
    let now = pair.now;
    pair.link().edge.handle_timeout(now);
    assert_eq!(pair.edge_end(), Some(&EdgeEnd::Stalled));

    pair.connect();
    pair.settle(&mut Dice(1));
    assert_eq!(pair.link().edge.timeout(), None, "nothing is awaited");
    pair.record(1);
    while pair.edge_store_works() || pair.edge_sends() {}
    for expected in [None, Some(EdgeEnd::Stalled)] {
        // First a ping, then the end.
        pair.now = pair.link().edge.timeout().expect("an acknowledgement is awaited");
        let now = pair.now;
        pair.link().edge.handle_timeout(now);
        pair.edge_sends();
        assert_eq!(pair.edge_end(), expected.as_ref());
    }
}

#[test]
fn frames_out_of_place_end_a_session() {
    let frames = [
        Frame::StateTaken(StateCursor { handle: 1, at: 1 }),
        Frame::DocumentsTaken(StateCursor { handle: 1, at: 1 }),
        Frame::Hello(Hello {
            versions: VERSIONS,
            log: LogId([3; 32]),
            position: Position { last: Seq(0), head: Head([3; 32]) },
            state: StateCursor::START,
            witness: None,
            time: Timestamp(0),
            program: String::new(),
        }),
        Frame::Facts(FactsFrame::pack(
            &Run::new(Seq(9), vec![fact(1, 0)], Head([0; 32])).expect("a run"),
        )),
        Frame::Facts(FactsFrame {
            first: Seq(1),
            count: 1,
            head: Head([0; 32]),
            packed: vec![9, 9],
        }),
    ];
    for frame in frames {
        let mut pair = Pair::new();
        pair.connect();
        pair.settle(&mut Dice(1));
        pair.link().up.push_back(frame.encode());
        pair.settle(&mut Dice(1));
        assert!(matches!(pair.hq_end(), Some(HqEnd::Refused(_))), "{}", frame.name());
        assert!(matches!(pair.edge_end(), Some(EdgeEnd::Refused(_))), "{}", frame.name());
    }
}
