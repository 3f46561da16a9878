//! HQ's side of a connection as a pure state machine: frames, store replies and time in; frames and
//! store requests out. Knows no transport, no store and no clock. Invariants: only what the store
//! called durable is acknowledged; facts reach the store in order, without gaps, in whole groups;
//! what one site can make HQ hold is bounded.
//!
//! Driven like [`super::edge`]; besides, a driver stops reading frames while `wants_frames` says
//! no, so that back-pressure reaches the edge through the transport.

use std::collections::{BTreeSet, VecDeque};

use super::acknowledgement::SignedAcknowledgement;
use super::document::{DocumentChange, DocumentNews, GivenDocuments, Lives, SignedDocumentBatch};
use super::frame::{Code, FactsFrame, Frame, Hello, Refusal, VERSIONS, Versions, Welcome};
use super::limits;
use super::look_up::Found;
use super::moment::{Moment, Now};
use super::place::{Position, Run, StateCursor, Step};
use super::postings::{PostingsAsked, SignedPostings};
use super::state::SignedStateBatch;
use super::wire::FrameError;
use crate::fact::Fact;
use crate::ids::{Capture, ChangeHash, Head, HistoryId, ItemNo, LogId, Seq};
use crate::segment::SEGMENT_FACTS_MAX;
use crate::segment::seal::SignedSeal;
use crate::time::Timestamp;

/// How HQ treats a connection.
#[derive(Clone, Copy, Debug)]
pub struct HqSettings {
    /// The most facts that wait for the store before no more frames are read.
    pub queue_facts: usize,
    /// The most facts that are handed to the store at once, unless a single run has more.
    pub store_facts: usize,
    /// How long an edge may take to say hello.
    pub hello_ms: u64,
    /// How long a newly posted fact may wait before an acknowledgement says so.
    pub posted_ms: u64,
}

impl Default for HqSettings {
    fn default() -> Self {
        Self {
            queue_facts: 16_384,
            store_facts: SEGMENT_FACTS_MAX,
            hello_ms: 20_000,
            posted_ms: 200,
        }
    }
}

/// What HQ brings to a connection.
#[derive(Clone, Debug)]
pub struct HqStart {
    /// What a hello is answered with, where the certificate does not allow to sync.
    pub refusal: Option<Refusal>,
    /// Versions of the protocol it speaks.
    pub versions: Versions,
    /// Program and version.
    pub program: String,
}

/// A log as HQ's store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedLog {
    /// The life of the store.
    pub history: HistoryId,
    /// How far the log is durable.
    pub cursor: Position,
    /// The last fact under the seals that the store has.
    pub sealed: Seq,
}

/// What happens at HQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HqEvent {
    /// Reply to [`HqRequest::Open`] and [`HqRequest::OpenBranch`].
    Opened(OpenedLog),
    /// Reply to [`HqRequest::Store`]: durable up to there, as the edge counts.
    Stored(Position),
    /// Reply to [`HqRequest::StoreSeal`].
    SealStored,
    /// Reply to any request: the store does not take it, and the edge is told why.
    Refused(Refusal),
    /// Reply to [`HqRequest::ReadAcknowledgement`].
    AcknowledgementRead(SignedAcknowledgement),
    /// The books, or a second machine, have more of the log.
    LevelsChanged,
    /// HQ was restored, and the edge may have keyed state of a life that is lost: it is asked back, as
    /// far as it is not among these, before it is told anything.
    AskBack(Vec<Capture>),
    /// Reply to [`HqRequest::TakeBack`].
    TakenBack,
    /// HQ was restored: what the edge was told of documents in lives that are over is asked back,
    /// once it has asked for documents.
    AskDocuments(Lives),
    /// Reply to [`HqRequest::TakeDocuments`]: durable, as a whole or but for what builds on changes that
    /// are not here.
    DocumentsBack(bool),
    /// There may be keyed state that the site does not have.
    StateChanged,
    /// Reply to [`HqRequest::ReadState`]; `None` where the site has everything.
    StateRead(Option<SignedStateBatch>),
    /// Reply to [`HqRequest::TakeChanges`]: what was decided is durable, and these wait for changes
    /// that are not here.
    ChangesTaken(Vec<ChangeHash>),
    /// There may be changes of documents that the site does not have.
    DocumentsChanged,
    /// Reply to [`HqRequest::ReadDocuments`]; `None` where the site has everything.
    DocumentsRead(Option<SignedDocumentBatch>),
    /// Reply to [`HqRequest::ReadPostings`].
    PostingsRead(SignedPostings),
    /// Reply to [`HqRequest::LookUp`].
    Found(Found),
    /// Reply to [`HqRequest::Handle`]: durable.
    Handled,
}

/// What the session wants of the store. At most one of each is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HqRequest {
    /// How far do we have the log that this edge brings?
    Open(Box<Hello>),
    /// The edge's log is not what we have, but was up to `common`: up to where do we know what it
    /// holds?
    OpenBranch {
        /// What the edge opened with.
        hello: Box<Hello>,
        /// What it says HQ once had.
        common: Position,
    },
    /// Make these facts durable. They follow what is stored, directly; after
    /// [`Self::OpenBranch`] wherever the edge's log goes on from what we know of it.
    Store(Run),
    /// Check and keep a seal over facts that are stored.
    StoreSeal(SignedSeal),
    /// Sign how far the log is received, safe and posted.
    ReadAcknowledgement,
    /// Keyed state after this cursor.
    ReadState(StateCursor),
    /// What HQ once said, and may have lost.
    TakeBack(SignedStateBatch),
    /// What HQ once told of documents, and may have lost.
    TakeDocuments(Box<GivenDocuments>),
    /// Decide on changes of documents, in order.
    TakeChanges(Vec<DocumentChange>),
    /// What became of documents after a cursor.
    ReadDocuments {
        /// What the edge has.
        cursor: StateCursor,
        /// Changes that the edge sent on this connection: they need not be sent back.
        sent: Vec<ChangeHash>,
    },
    /// What became of these facts.
    ReadPostings(PostingsAsked),
    /// Which items are like this?
    LookUp(String),
    /// The site handles these items from now on.
    Handle(Vec<ItemNo>),
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HqEnd {
    /// The edge said good-bye.
    #[error("the edge left: {0}")]
    EdgeLeft(Code),
    /// HQ refused.
    #[error("refused: {}", .0.text)]
    Refused(Refusal),
}

/// One connection's session at HQ.
#[derive(Debug)]
pub struct HqSession {
    start: HqStart,
    settings: HqSettings,
    phase: Phase,
    since: Moment,
    farewell: Option<Frame>,
    welcome: Option<OpenedLog>,
    pong: Option<u64>,
    facts: Intake,
    seals: SealIntake,
    acknowledging: Acknowledging,
    state: Feed<SignedStateBatch>,
    documents: Feed<SignedDocumentBatch>,
    changes: ChangeIntake,
    postings: Telling,
    look_up: Finding,
    back: Back,
    documents_back: DocumentsBack,
}

/// Documents that are asked back, a step at a time.
#[derive(Debug, Default)]
struct DocumentsBack {
    /// What is asked.
    lives: Option<Lives>,
    asked: bool,
    waiting: Option<Box<GivenDocuments>>,
    storing: Option<StateCursor>,
    stored: Option<(StateCursor, bool)>,
}

/// Keyed state that is asked back. The site is told nothing before: it would forget what it has.
#[derive(Debug, Default)]
struct Back {
    /// What HQ has, as long as the edge has not given back everything else.
    known: Option<Vec<Capture>>,
    due: bool,
    waiting: VecDeque<SignedStateBatch>,
    storing: bool,
}

#[derive(Debug)]
enum Phase {
    /// No hello yet.
    Fresh,
    /// The store is asked about the log.
    Opening {
        hello: Box<Hello>,
        /// Where the edge says that its log leaves ours.
        common: Option<Position>,
        asked: bool,
    },
    Open {
        hello: Box<Hello>,
        /// The edge's log is a branch of the one that HQ has.
        forked: bool,
    },
    Ended(HqEnd),
}

/// Facts on their way to the store.
#[derive(Debug)]
struct Intake {
    /// Where the edge was told to go on from.
    opened: Position,
    /// The last fact that came in order, stored or waiting.
    arrived: Seq,
    stored: Seq,
    /// The last fact that came after a welcome, and its place: a few that follow say what differs.
    before: Option<(Seq, Fact)>,
    waiting: VecDeque<Run>,
    waiting_facts: usize,
    storing: bool,
}

#[derive(Debug, Default)]
struct SealIntake {
    waiting: VecDeque<SignedSeal>,
    storing: bool,
}

/// Acknowledgements on their way to the edge.
#[derive(Debug, Default)]
struct Acknowledging {
    due: bool,
    /// When the levels that do not hurry are told.
    due_at: Option<Moment>,
    reading: bool,
    ready: Option<SignedAcknowledgement>,
}

/// Changes of documents on their way to the store.
#[derive(Debug, Default)]
struct ChangeIntake {
    /// The edge has asked for documents.
    is_open: bool,
    waiting: VecDeque<DocumentChange>,
    storing: bool,
    /// Sent on this connection, and not yet sent back as decided.
    sent: BTreeSet<ChangeHash>,
    /// What is to be said of those that wait.
    waits: VecDeque<ChangeHash>,
}

/// Keyed state, or documents, on their way to the edge.
#[derive(Debug)]
struct Feed<B> {
    cursor: StateCursor,
    /// There may be more than was read.
    dirty: bool,
    reading: bool,
    ready: Option<B>,
    /// Sent and not confirmed.
    in_flight: Option<StateCursor>,
}

/// What became of facts, on its way to the edge: one question at a time.
#[derive(Debug, Default)]
struct Telling {
    asked: Option<PostingsAsked>,
    reading: bool,
    ready: Option<SignedPostings>,
}

/// What a person at the site waits for: one question at a time.
#[derive(Debug, Default)]
struct Finding {
    asked: Option<String>,
    reading: bool,
    ready: Option<Found>,
    handle: VecDeque<Vec<ItemNo>>,
    handling: bool,
}

/// The most times that a site may take up items before HQ has stored the first of them.
const HANDLES_WAITING_MAX: usize = 64;

/// The most seals that wait for the store before no more frames are read.
const SEALS_WAITING_MAX: usize = 64;

/// The most batches given back that wait for the store.
const BACK_WAITING_MAX: usize = 2;

impl HqSession {
    /// A session on a fresh connection; the edge speaks first.
    pub fn new(start: HqStart, settings: HqSettings, now: Moment) -> Self {
        Self {
            start,
            settings,
            phase: Phase::Fresh,
            since: now,
            farewell: None,
            welcome: None,
            pong: None,
            facts: Intake::default(),
            seals: SealIntake::default(),
            acknowledging: Acknowledging::default(),
            state: Feed::new(StateCursor::START),
            back: Back::default(),
            documents_back: DocumentsBack::default(),
            documents: Feed::new(StateCursor::START),
            changes: ChangeIntake::default(),
            postings: Telling::default(),
            look_up: Finding::default(),
        }
    }

    /// Why the session ended, once it has. A last frame may still be polled.
    pub const fn end(&self) -> Option<&HqEnd> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// Whether the driver should go on reading frames.
    pub fn wants_frames(&self) -> bool {
        let opening = matches!(self.phase, Phase::Opening { .. });
        !opening
            && self.facts.waiting_facts < self.settings.queue_facts
            && self.seals.waiting.len() < SEALS_WAITING_MAX
            && self.back.waiting.len() < BACK_WAITING_MAX
            && self.changes.waiting.len() < limits::DOCUMENT_CHANGES_WINDOW
    }

    /// Takes a frame from the edge.
    pub fn handle_frame(&mut self, frame: Frame) {
        match (&self.phase, frame) {
            (Phase::Ended(_), _) | (_, Frame::Pong(..)) => {}
            (_, Frame::Bye(code)) => self.phase = Phase::Ended(HqEnd::EdgeLeft(code)),
            (_, Frame::Ping(nonce)) => self.pong = Some(nonce),
            (Phase::Fresh, Frame::Hello(hello)) => self.handle_hello(hello),
            (Phase::Open { .. }, Frame::Facts(facts)) => self.handle_facts(&facts),
            (Phase::Open { .. }, Frame::Early(before, facts)) => self.handle_early(before, &facts),
            (Phase::Open { hello, forked }, Frame::Seal(seal)) => {
                // A key that two installations have proves nothing any more.
                if !*forked {
                    let log = hello.log;
                    self.handle_seal(seal, log);
                }
            }
            (Phase::Open { hello, forked: false }, Frame::Branch(common))
                if self.facts.arrived == self.facts.opened.last =>
            {
                let (hello, common) = (hello.clone(), Some(common));
                self.phase = Phase::Opening { hello, common, asked: false };
            }
            (Phase::Open { .. }, Frame::StateTaken(cursor)) => self.handle_taken(cursor),
            (Phase::Open { .. }, Frame::GivenBack(signed)) if self.back.known.is_some() => {
                self.back.waiting.push_back(signed);
            }
            (Phase::Open { .. }, Frame::AllGiven) if self.back.known.is_some() => {
                self.back.known = None;
            }
            (Phase::Open { .. }, Frame::GivenDocuments(given))
                if self.documents_back.is_awaited() =>
            {
                self.documents_back.waiting = Some(given);
            }
            (Phase::Open { .. }, Frame::DocumentsTaken(cursor)) => {
                self.handle_documents_taken(cursor);
            }
            (Phase::Open { .. }, Frame::DocumentChange(change)) if self.changes.is_open => {
                self.changes.waiting.push_back(change);
            }
            (Phase::Open { forked: false, .. }, Frame::AskPostings(asked))
                if self.postings.is_idle() =>
            {
                self.postings.asked = Some(asked);
            }
            (Phase::Open { .. }, Frame::LookUp(text)) if self.look_up.is_idle() => {
                self.look_up.asked = Some(text);
            }
            (Phase::Open { .. }, Frame::Handle(items))
                if self.look_up.handle.len() < HANDLES_WAITING_MAX =>
            {
                self.look_up.handle.push_back(items);
            }
            (_, frame) => {
                let text = format!("a {} frame came where none may be", frame.name());
                self.refuse(Refusal::new(Code::PROTOCOL, text));
            }
        }
    }

    /// Takes what was no frame.
    pub fn handle_broken(&mut self, error: &FrameError) {
        self.refuse(match error {
            FrameError::OtherVersion(versions) => self.wrong_version(*versions),
            error => Refusal::new(Code::PROTOCOL, format!("HQ can't read a frame: {error}")),
        });
    }

    /// Takes what happened at HQ.
    pub fn handle_event(&mut self, event: HqEvent, now: Moment) {
        match event {
            HqEvent::Stored(position) if self.end().is_some() => {
                self.facts.handle_stored(position);
            }
            HqEvent::SealStored => self.seals.storing = false,
            _ if self.end().is_some() => {}
            HqEvent::Opened(opened) => self.handle_opened(opened),
            HqEvent::Stored(position) => {
                self.facts.handle_stored(position);
                self.acknowledging.due = true;
            }
            HqEvent::Refused(refusal) => self.refuse(refusal),
            HqEvent::AcknowledgementRead(signed) => {
                self.acknowledging.reading = false;
                self.acknowledging.ready = Some(signed);
            }
            HqEvent::LevelsChanged => {
                let due_at = now.after_ms(self.settings.posted_ms);
                self.acknowledging.due_at.get_or_insert(due_at);
            }
            HqEvent::AskBack(known) => self.back.known = Some(known),
            HqEvent::TakenBack => self.back.storing = false,
            HqEvent::AskDocuments(lives) => self.documents_back.lives = Some(lives),
            HqEvent::DocumentsBack(is_whole) => self.documents_back.handle_stored(is_whole),
            HqEvent::StateChanged => self.state.dirty = true,
            HqEvent::StateRead(batch) => self.state.handle_read(batch),
            HqEvent::ChangesTaken(waits) => {
                self.changes.handle_taken(waits);
                self.documents.dirty = true;
            }
            HqEvent::DocumentsChanged => self.documents.dirty = true,
            HqEvent::DocumentsRead(batch) => {
                self.changes.handle_decided(batch.as_ref());
                self.documents.handle_read(batch);
            }
            HqEvent::PostingsRead(signed) => {
                (self.postings.reading, self.postings.ready) = (false, Some(signed));
            }
            HqEvent::Found(found) => {
                (self.look_up.reading, self.look_up.ready) = (false, Some(found));
            }
            HqEvent::Handled => self.look_up.handling = false,
        }
    }

    /// Takes note that time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Fresh) && now.ms_since(self.since) >= self.settings.hello_ms
        {
            self.refuse(Refusal::new(Code::STALLED, "no hello came in time"));
        }
        if self.acknowledging.due_at.is_some_and(|due_at| due_at <= now) {
            self.acknowledging.due = true;
        }
    }

    /// When `handle_timeout` should be called next.
    pub fn timeout(&self) -> Option<Moment> {
        match self.phase {
            Phase::Fresh => Some(self.since.after_ms(self.settings.hello_ms)),
            Phase::Open { .. } if !self.acknowledging.due => self.acknowledging.due_at,
            _ => None,
        }
    }

    /// The frame that should leave now, most urgent first.
    pub fn poll_frame(&mut self, now: Now) -> Option<Frame> {
        if let Some(farewell) = self.farewell.take() {
            return Some(farewell);
        }
        if !matches!(self.phase, Phase::Open { .. }) {
            return None;
        }
        if let Some(opened) = self.welcome.take() {
            return Some(self.welcome_frame(opened, now.wall));
        }
        if let Some(known) = self.back.ask() {
            return Some(Frame::AskBack(known));
        }
        if let Some(signed) = self.acknowledging.ready.take() {
            return Some(Frame::Acknowledgement(signed));
        }
        if let Some(nonce) = self.pong.take() {
            return Some(Frame::Pong(nonce, now.wall));
        }
        if let Some(found) = self.look_up.ready.take() {
            return Some(Frame::Found(found));
        }
        let postings = self.postings.ready.take().map(Frame::Postings);
        if postings.is_some() {
            return postings;
        }
        if self.asks_documents() {
            self.documents_back.asked = true;
            return self.documents_back.lives.clone().map(Frame::AskDocuments);
        }
        if let Some((cursor, is_whole)) = self.documents_back.stored.take() {
            return Some(Frame::DocumentsBack(cursor, is_whole));
        }
        if let Some(hash) = self.changes.waits.pop_front() {
            return Some(Frame::DocumentWaits(hash));
        }
        let documents = self.documents.take_ready().map(Frame::Documents);
        documents.or_else(|| self.state.take_ready().map(Frame::State))
    }

    /// Whether `poll_frame` would give one.
    pub fn has_frame(&self) -> bool {
        self.farewell.is_some()
            || matches!(self.phase, Phase::Open { .. })
                && (self.welcome.is_some()
                    || self.back.due
                    || self.acknowledging.ready.is_some()
                    || self.pong.is_some()
                    || self.asks_documents()
                    || self.documents_back.stored.is_some()
                    || !self.changes.waits.is_empty()
                    || self.documents.ready.is_some()
                    || self.look_up.ready.is_some()
                    || self.postings.ready.is_some()
                    || self.state.ready.is_some())
    }

    /// What the store should do next.
    pub fn poll_request(&mut self) -> Option<HqRequest> {
        match &mut self.phase {
            Phase::Opening { hello, common, asked } if !*asked && !self.acknowledging.reading => {
                *asked = true;
                let hello = hello.clone();
                Some(match *common {
                    None => HqRequest::Open(hello),
                    Some(common) => HqRequest::OpenBranch { hello, common },
                })
            }
            Phase::Open { .. } => self
                .acknowledging
                .request()
                .or_else(|| self.facts.request(self.settings.store_facts))
                .or_else(|| self.seals.request(self.facts.stored))
                .or_else(|| self.look_up.request())
                .or_else(|| self.postings.request())
                .or_else(|| self.back.request())
                .or_else(|| self.documents_back.request())
                .or_else(|| self.changes.request())
                .or_else(|| self.document_request())
                .or_else(|| {
                    let is_over = self.back.is_over();
                    is_over.then(|| self.state.next()).flatten().map(HqRequest::ReadState)
                }),
            // What came before the end was sent in good faith and is stored all the same.
            Phase::Ended(HqEnd::EdgeLeft(_)) => self
                .facts
                .request(self.settings.store_facts)
                .or_else(|| self.seals.request(self.facts.stored))
                .or_else(|| self.documents_back.request())
                .or_else(|| self.changes.request()),
            _ => None,
        }
    }

    /// Whether it is time to ask documents back: of an edge that has some, and knows the question.
    fn asks_documents(&self) -> bool {
        let Phase::Open { hello, .. } = &self.phase else { return false };
        let DocumentsBack { lives, asked, .. } = &self.documents_back;
        let is_due = lives.is_some() && !asked && self.changes.is_open;
        is_due && Versions::gives_documents_back(self.version(hello))
    }

    fn document_request(&mut self) -> Option<HqRequest> {
        // Until the edge asks, and while it may hear more of what it sent, there is time.
        if !self.changes.is_open || self.changes.storing {
            return None;
        }
        let cursor = self.documents.next()?;
        Some(HqRequest::ReadDocuments { cursor, sent: self.changes.sent.iter().copied().collect() })
    }

    fn handle_hello(&mut self, hello: Hello) {
        if let Some(refusal) = self.start.refusal.clone() {
            return self.refuse(refusal);
        }
        if self.start.versions.common(hello.versions).is_none() {
            let refusal = self.wrong_version(hello.versions);
            return self.refuse(refusal);
        }
        self.state = Feed::new(hello.state);
        self.phase = Phase::Opening { hello: Box::new(hello), common: None, asked: false };
    }

    fn wrong_version(&self, theirs: Versions) -> Refusal {
        let ours = self.start.versions;
        let older = if theirs.highest < ours.lowest { "edge-node" } else { "hq-server" };
        let text = format!(
            "HQ speaks protocol version {ours}, this node speaks {theirs}: update {older}; nothing is lost meanwhile"
        );
        Refusal { versions: ours, ..Refusal::new(Code::WRONG_VERSION, text) }
    }

    fn handle_opened(&mut self, opened: OpenedLog) {
        let Phase::Opening { hello, common, .. } = &self.phase else { return };
        self.facts.open(opened.cursor);
        // The edge may not know the levels that were reached while it was away; of a log that
        // differs from ours they say nothing.
        let is_ours = hello.position.last >= opened.cursor.last;
        self.acknowledging.due = opened.cursor.last > Seq::ZERO && is_ours;
        self.acknowledging.ready = None;
        self.state.restart();
        // What was asked before a welcome is not answered.
        self.back.due = self.back.known.is_some();
        self.documents.restart();
        self.changes.is_open = false;
        self.phase = Phase::Open { hello: hello.clone(), forked: common.is_some() };
        self.welcome = Some(opened);
    }

    /// The version that is spoken with an edge.
    fn version(&self, hello: &Hello) -> u32 {
        self.start.versions.highest.min(VERSIONS.highest).min(hello.versions.highest)
    }

    fn welcome_frame(&self, opened: OpenedLog, time: Timestamp) -> Frame {
        let version = match &self.phase {
            Phase::Open { hello, .. } => self.version(hello),
            _ => self.start.versions.highest.min(VERSIONS.highest),
        };
        Frame::Welcome(Welcome {
            version,
            history: opened.history,
            cursor: opened.cursor,
            sealed: opened.sealed,
            time,
            program: self.start.program.clone(),
        })
    }

    /// Facts for a place where the edge could not know that HQ stands. The welcome told it where HQ
    /// does, and so whether they were taken.
    fn handle_early(&mut self, before: Head, frame: &FactsFrame) {
        if self.facts.begins_after(frame.first, before)
            && let Some(run) = self.unpacked(frame)
        {
            self.handle_run(run);
        }
    }

    fn handle_facts(&mut self, frame: &FactsFrame) {
        let Some(run) = self.unpacked(frame) else { return };
        self.facts.before = run.facts.last().map(|fact| (run.last, fact.clone()));
        self.handle_run(run);
    }

    /// A frame's run; `None` where there is none, and the edge was told.
    fn unpacked(&mut self, frame: &FactsFrame) -> Option<Run> {
        let before = self.facts.before.as_ref().filter(|(seq, _)| seq.next() == frame.first);
        let unpacked = frame.unpack_after(before.map(|(_, fact)| fact));
        if let Err(error) = &unpacked {
            let text = format!("HQ can't read the facts from {} on: {error}", frame.first);
            self.refuse(Refusal::new(Code::BAD_FACTS, text));
        }
        unpacked.ok()
    }

    fn handle_run(&mut self, run: Run) {
        if run.first > self.facts.arrived.next() {
            let text = format!("facts {} to {} are missing", self.facts.arrived.next(), run.first);
            return self.refuse(Refusal::new(Code::PROTOCOL, text));
        }
        // Facts that came before are not stored again; saying so again helps an edge that
        // missed it.
        match run.after(self.facts.arrived) {
            Some(run) => self.facts.queue(run),
            None => self.acknowledging.due = true,
        }
    }

    fn handle_seal(&mut self, signed: SignedSeal, log: LogId) {
        if signed.seal.log != log || signed.seal.last > self.facts.arrived {
            let text = "a seal covers another log or facts that were not sent";
            return self.refuse(Refusal::new(Code::PROTOCOL, text));
        }
        self.seals.waiting.push_back(signed);
    }

    fn handle_taken(&mut self, cursor: StateCursor) {
        if !self.state.handle_taken(cursor) {
            let text = "state was confirmed that was not sent";
            self.refuse(Refusal::new(Code::PROTOCOL, text));
        }
    }

    /// The first one says where to begin.
    fn handle_documents_taken(&mut self, cursor: StateCursor) {
        if !std::mem::replace(&mut self.changes.is_open, true) {
            self.documents.cursor = cursor;
        } else if !self.documents.handle_taken(cursor) {
            let text = "documents were confirmed that were not sent";
            self.refuse(Refusal::new(Code::PROTOCOL, text));
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if self.end().is_none() {
            self.farewell = Some(Frame::Refuse(refusal.clone()));
            self.phase = Phase::Ended(HqEnd::Refused(refusal));
        }
    }
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            opened: Position { last: Seq::ZERO, head: Head([0; 32]) },
            arrived: Seq::ZERO,
            stored: Seq::ZERO,
            before: None,
            waiting: VecDeque::new(),
            waiting_facts: 0,
            storing: false,
        }
    }
}

impl Intake {
    fn open(&mut self, cursor: Position) {
        (self.opened, self.arrived, self.stored) = (cursor, cursor.last, cursor.last);
    }

    fn begins_after(&self, first: Seq, before: Head) -> bool {
        self.arrived == self.opened.last
            && first == self.opened.last.next()
            && before == self.opened.head
    }

    fn queue(&mut self, run: Run) {
        self.arrived = run.last;
        self.waiting_facts += run.facts.len();
        self.waiting.push_back(run);
    }

    fn next_run(&mut self) -> Option<Run> {
        loop {
            let run = self.waiting.pop_front()?;
            self.waiting_facts -= run.facts.len();
            if let Some(run) = run.after(self.stored) {
                return Some(run);
            }
        }
    }

    /// What waits goes to the store together: one commit for many small runs.
    fn request(&mut self, store_facts: usize) -> Option<HqRequest> {
        if self.storing {
            return None;
        }
        let mut run = self.next_run()?;
        while let Some(next) = self.waiting.front() {
            if run.facts.len() + next.facts.len() > store_facts {
                break;
            }
            let next = self.waiting.pop_front().expect("there is a front");
            self.waiting_facts -= next.facts.len();
            run.extend(next);
        }
        self.storing = true;
        Some(HqRequest::Store(run))
    }

    /// The store may have more than it was given here: an earlier connection's last run.
    fn handle_stored(&mut self, position: Position) {
        assert!(position.last >= self.stored, "the store never loses facts");
        self.stored = position.last;
        self.arrived = self.arrived.max(position.last);
        self.storing = false;
    }
}

impl SealIntake {
    fn request(&mut self, stored: Seq) -> Option<HqRequest> {
        let next = self.waiting.front()?;
        if self.storing || next.seal.last > stored {
            return None;
        }
        self.storing = true;
        self.waiting.pop_front().map(HqRequest::StoreSeal)
    }
}

impl Back {
    fn request(&mut self) -> Option<HqRequest> {
        if self.storing {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.storing = true;
        Some(HqRequest::TakeBack(next))
    }

    fn ask(&mut self) -> Option<Vec<Capture>> {
        std::mem::take(&mut self.due).then(|| self.known.clone()).flatten()
    }

    fn is_over(&self) -> bool {
        self.known.is_none() && self.waiting.is_empty() && !self.storing
    }
}

impl DocumentsBack {
    /// One step at a time: the next one comes after this one's word.
    const fn is_awaited(&self) -> bool {
        self.asked && self.waiting.is_none() && self.storing.is_none() && self.stored.is_none()
    }

    fn request(&mut self) -> Option<HqRequest> {
        let given = self.waiting.take()?;
        self.storing = Some(given.told.to());
        Some(HqRequest::TakeDocuments(given))
    }

    fn handle_stored(&mut self, is_whole: bool) {
        self.stored = self.storing.take().map(|cursor| (cursor, is_whole));
    }
}

impl Acknowledging {
    fn request(&mut self) -> Option<HqRequest> {
        if !self.due || self.reading {
            return None;
        }
        // One reading tells all levels, also those that were not in a hurry.
        (self.due, self.due_at, self.reading) = (false, None, true);
        Some(HqRequest::ReadAcknowledgement)
    }
}

impl Finding {
    const fn is_idle(&self) -> bool {
        self.asked.is_none() && !self.reading && self.ready.is_none()
    }

    fn request(&mut self) -> Option<HqRequest> {
        if let Some(text) = self.asked.take() {
            self.reading = true;
            return Some(HqRequest::LookUp(text));
        }
        if self.handling {
            return None;
        }
        let items = self.handle.pop_front()?;
        self.handling = true;
        Some(HqRequest::Handle(items))
    }
}

impl Telling {
    const fn is_idle(&self) -> bool {
        self.asked.is_none() && !self.reading && self.ready.is_none()
    }

    fn request(&mut self) -> Option<HqRequest> {
        let asked = self.asked.take()?;
        self.reading = true;
        Some(HqRequest::ReadPostings(asked))
    }
}

impl ChangeIntake {
    /// What waits goes to the store together.
    fn request(&mut self) -> Option<HqRequest> {
        if self.storing || self.waiting.is_empty() {
            return None;
        }
        self.storing = true;
        self.sent.extend(self.waiting.iter().map(|change| change.hash));
        Some(HqRequest::TakeChanges(self.waiting.drain(..).collect()))
    }

    fn handle_taken(&mut self, waits: Vec<ChangeHash>) {
        self.storing = false;
        for hash in &waits {
            self.sent.remove(hash);
        }
        self.waits.extend(waits);
    }

    fn handle_decided(&mut self, batch: Option<&SignedDocumentBatch>) {
        let news = batch.into_iter().flat_map(|signed| &signed.batch.news);
        for hash in news.filter_map(DocumentNews::decided) {
            self.sent.remove(&hash);
        }
    }
}

impl<B: Step> Feed<B> {
    const fn new(cursor: StateCursor) -> Self {
        Self { cursor, dirty: false, reading: false, ready: None, in_flight: None }
    }

    /// The cursor after which the store should be asked.
    fn next(&mut self) -> Option<StateCursor> {
        if !self.dirty || self.reading || self.ready.is_some() || self.in_flight.is_some() {
            return None;
        }
        (self.dirty, self.reading) = (false, true);
        Some(self.cursor)
    }

    /// Whether it is what was sent.
    fn handle_taken(&mut self, cursor: StateCursor) -> bool {
        let is_sent = self.in_flight.take() == Some(cursor);
        if is_sent {
            self.cursor = cursor;
        }
        is_sent
    }

    /// What was sent before a welcome is not taken.
    fn restart(&mut self) {
        (self.ready, self.in_flight, self.dirty) = (None, None, true);
    }

    fn handle_read(&mut self, batch: Option<B>) {
        self.reading = false;
        // After a batch there may be more.
        self.dirty |= batch.is_some();
        self.ready = batch;
    }

    fn take_ready(&mut self) -> Option<B> {
        let batch = self.ready.take()?;
        self.in_flight = Some(batch.to());
        Some(batch)
    }
}
