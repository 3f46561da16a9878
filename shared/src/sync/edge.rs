//! The edge's side of a connection as a pure state machine: frames, store replies and time in;
//! frames, store requests and notices out. Knows no transport, no store and no clock, so that a
//! simulator can drive thousands. Invariants: facts leave in order and at most a window of them is
//! unacknowledged; state is confirmed only when the store says it is durable; what HQ says counts
//! only with HQ's signature; facts leave only after a place where HQ's log and the node's are one,
//! or say which place that must be.
//!
//! A driver calls `handle_*` for whatever happens and then empties `poll_request`, `poll_notice`
//! and, as often as the transport takes one, `poll_frame`. Frames are chosen at the moment they
//! are sent: confirmations first, then what a person waits for, facts, seals, other questions.
//! A first run leaves with the hello, for an HQ that has just what it acknowledged last: that saves
//! a round trip.

use std::collections::{BTreeMap, VecDeque};

use ed25519_dalek::VerifyingKey;

use super::acknowledgement::{Acknowledgement, SignedAcknowledgement};
use super::document::{DocumentChange, DocumentNews, GivenDocuments, Lives, SignedDocumentBatch};
use super::frame::{Code, FactsFrame, Frame, Hello, Refusal, Versions, Welcome};
use super::limits;
use super::look_up::{Found, HANDLED_MAX, SEARCH_BYTES_MAX};
use super::moment::{Moment, Now};
use super::place::{Position, Run, StateCursor, Step};
use super::postings::{Asking, PostingsKnown, SignedPostings};
use super::state::SignedStateBatch;
use super::wire::FrameError;
use crate::fact::Fact;
use crate::fact::statement::GROUP_MAX;
use crate::ids::{Capture, ChangeHash, Head, HistoryId, ItemNo, LogId, Seq, SiteNo};
use crate::planted::{self, Fault};
use crate::segment::SEGMENT_FACTS_MAX;
use crate::segment::seal::SignedSeal;

/// How an edge behaves on a link.
#[derive(Clone, Copy, Debug)]
pub struct EdgeSettings {
    /// The most facts that are on their way and not acknowledged.
    pub window_facts: u64,
    /// The most facts of one frame.
    pub run_facts_max: usize,
    /// How long HQ may take to welcome or refuse.
    pub welcome_ms: u64,
    /// How long nothing may come from the network while something is awaited.
    pub silence_ms: u64,
    /// How long HQ may say nothing while something is awaited and the network lives.
    pub stall_ms: u64,
    /// After how much waiting HQ is asked whether it is there.
    pub ping_ms: u64,
}

impl Default for EdgeSettings {
    fn default() -> Self {
        Self {
            window_facts: 131_072,
            run_facts_max: SEGMENT_FACTS_MAX,
            welcome_ms: 20_000,
            silence_ms: 30_000,
            stall_ms: 120_000,
            ping_ms: 10_000,
        }
    }
}

/// What an edge brings to a connection.
#[derive(Clone, Debug)]
pub struct EdgeStart {
    /// The site.
    pub site: SiteNo,
    /// Its log.
    pub log: LogId,
    /// How far the log goes.
    pub position: Position,
    /// How far it is sealed.
    pub sealed: Seq,
    /// HQ refused this log as another installation's before: it goes as a branch from the beginning.
    pub is_copied: bool,
    /// How far keyed state is known.
    pub state: StateCursor,
    /// How far shared documents are known; `None` for a node that has none.
    pub documents: Option<StateCursor>,
    /// How far HQ has told what became of the facts.
    pub postings: PostingsKnown,
    /// The newest acknowledgement held.
    pub witness: Option<SignedAcknowledgement>,
    /// The key that signs what HQ says.
    pub hq_key: VerifyingKey,
    /// Versions of the protocol it speaks.
    pub versions: Versions,
    /// Program and version.
    pub program: String,
}

/// What happens at the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeEvent {
    /// Facts are durable up to this one.
    Recorded(Seq),
    /// The log is sealed up to this fact.
    Sealed(Seq),
    /// Reply to [`EdgeRequest::ReadRun`]; `None` where nothing is there.
    RunRead(Option<Run>),
    /// Reply to [`EdgeRequest::ReadSeals`].
    SealsRead(Vec<SignedSeal>),
    /// Reply to [`EdgeRequest::ReadHead`].
    HeadRead(Head),
    /// Reply to [`EdgeRequest::NoteAcknowledgement`], whether it could be stored or not.
    AcknowledgementNoted,
    /// Reply to [`EdgeRequest::ApplyState`]: the batch is durable.
    StateApplied,
    /// Reply to [`EdgeRequest::ApplyState`]: it could not be stored. Facts go on; state waits for
    /// the next connection.
    StateFailed,
    /// Reply to [`EdgeRequest::ReadGiven`]; `None` where there is no more.
    GivenRead(Option<SignedStateBatch>),
    /// There may be changes of documents that HQ did not decide on.
    DocumentsChanged,
    /// Reply to [`EdgeRequest::ReadChanges`], each with its number.
    ChangesRead(Vec<(u64, DocumentChange)>),
    /// Reply to [`EdgeRequest::ApplyDocuments`]: the batch is durable.
    DocumentsApplied,
    /// Reply to [`EdgeRequest::ApplyDocuments`], [`EdgeRequest::ReadChanges`] or
    /// [`EdgeRequest::ReadTold`]: it could not be done. Facts go on; documents wait for the next connection.
    DocumentsFailed,
    /// Reply to [`EdgeRequest::ApplyDocuments`]: another way brought documents of another life of HQ
    /// meanwhile, and the connection's steps do not go on from there.
    Overtaken,
    /// Reply to [`EdgeRequest::ReadTold`], with its number; `None` where there is no more.
    ToldRead(Option<(u64, Box<GivenDocuments>)>),
    /// Reply to [`EdgeRequest::NotePostings`], whether they could be stored or not: what is known now.
    PostingsNoted(PostingsKnown),
    /// The log can't be read; the connection makes no sense.
    LogUnreadable,
    /// Something came from the network, a part of a frame at least.
    NetworkAlive,
    /// Somebody looks for an item at HQ. Answers come in order.
    LookUp(String),
    /// The site handles these items from now on.
    Handle(Vec<ItemNo>),
    /// Nothing comes from the network although something is awaited: it may be lost.
    Silent,
    /// The node stops.
    Leave,
}

/// What the session wants of the store. At most one of each is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeRequest {
    /// Facts from `first` on: at most `facts_max`, but one whole group at least.
    ReadRun {
        /// The first fact wanted.
        first: Seq,
        /// The most facts wanted.
        facts_max: usize,
    },
    /// Seals that begin at `first` or later, in order.
    ReadSeals {
        /// The first fact of the first seal wanted.
        first: Seq,
        /// The most seals wanted.
        seals_max: usize,
    },
    /// The chain's head after a fact of the log.
    ReadHead(Seq),
    /// Keep the newest acknowledgement, as a witness and for people.
    NoteAcknowledgement(SignedAcknowledgement),
    /// Apply keyed state durably, as a whole.
    ApplyState(SignedStateBatch),
    /// The next batch of keyed state after `after` with a fact that is not among `known`, which says
    /// for each installation of HQ how far it goes.
    ReadGiven {
        /// What HQ has.
        known: Vec<Capture>,
        /// The end of the batch given last.
        after: StateCursor,
    },
    /// Changes of documents that were made here and that HQ did not decide on, in order.
    ReadChanges {
        /// Those with a higher number than this.
        after: u64,
        /// The most changes wanted.
        changes_max: usize,
    },
    /// Apply what HQ says of documents durably, as a whole.
    ApplyDocuments(SignedDocumentBatch),
    /// Give what HQ told of documents in lives that are over and may lack now; what it has need not
    /// be kept any longer.
    ReadTold {
        /// What HQ says of its lives.
        lives: Lives,
        /// What was told later than this one.
        after: u64,
        /// HQ has all of this one back.
        back: Option<u64>,
    },
    /// Keep what became of facts, for people.
    NotePostings(SignedPostings),
}

/// What people and the node's other parts should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeNotice {
    /// HQ takes part. Its time shows how far the node's clock is off.
    Welcomed(Welcome),
    /// HQ has more than before.
    Acknowledged(Acknowledgement),
    /// HQ lives on after a restore, or lost what it had acknowledged: it has less than the node
    /// holds an acknowledgement for. The facts are sent again.
    HqLost {
        /// Whether HQ itself says that its history is another one.
        restored: bool,
        /// What HQ had acknowledged.
        acknowledged: Seq,
        /// What HQ has now.
        has: Seq,
    },
    /// What HQ has of what was looked for.
    Found(Found),
    /// HQ holds another log under this node's name: the node was copied, or restored and used on.
    /// What this one records HQ keeps as a branch of its own.
    Forked {
        /// Up to here at least the two are one.
        common: Seq,
    },
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeEnd {
    /// The node stopped.
    #[error("this node is stopping")]
    Left,
    /// HQ said good-bye.
    #[error("HQ closed the connection: {0}")]
    HqLeft(Code),
    /// HQ refuses.
    #[error("HQ refuses: {}", .0.text)]
    Refused(Refusal),
    /// HQ does not keep to the protocol.
    #[error("HQ does not keep to the protocol ({0}): compare the versions of both programs")]
    Protocol(String),
    /// Something is not signed by HQ's key.
    #[error(
        "{0} is not signed by the HQ that this node enrolled with: check the HQ address, or enrol again"
    )]
    BadSignature(&'static str),
    /// HQ and this node have two heads at one place.
    #[error(
        "HQ holds another log under this node's name, or other seals of it, from fact {0} or earlier: this node was copied or restored; ask HQ for a code and enrol it anew"
    )]
    Fork(Seq),
    /// HQ holds facts that this node does not.
    #[error(
        "HQ holds this node's facts up to {hq}, but this node ends at {own}: it was restored from an older copy; enrol it again with a new code, so that it starts a new log"
    )]
    Restored {
        /// What HQ has.
        hq: Seq,
        /// What this node has.
        own: Seq,
    },
    /// Another way brought documents of another life of HQ.
    #[error("a bundle brought documents of another life of HQ; HQ is asked anew")]
    Overtaken,
    /// No progress.
    #[error("HQ did not answer in time")]
    Stalled,
    /// The node's own log can't be read.
    #[error("this node's log can't be read: run `edge-node verify`")]
    LogUnreadable,
}

impl EdgeEnd {
    /// Another installation has the log too.
    pub fn is_fork(&self) -> bool {
        match self {
            Self::Fork(_) => true,
            Self::Refused(refusal) => refusal.code == Code::FORK,
            _ => false,
        }
    }
}

/// One connection's session at the edge.
#[derive(Debug)]
pub struct EdgeSession {
    start: EdgeStart,
    settings: EdgeSettings,
    phase: Phase,
    /// The node's log and HQ's differ, and HQ was told.
    forked: bool,
    /// Leaves before everything else.
    farewell: Option<Frame>,
    notices: VecDeque<EdgeNotice>,
    pong: Option<u64>,
    facts: Uplink,
    seals: Seals,
    state: Downlink<SignedStateBatch>,
    back: Back,
    documents: Downlink<SignedDocumentBatch>,
    changes: Changes,
    giving: Giving,
    witness: Witness,
    postings: Asking,
    look_ups: LookUps,
    waiting: Waiting,
}

/// What HQ told of documents, on its way back to an HQ that was restored.
#[derive(Debug, Default)]
struct Giving {
    /// What HQ asked.
    lives: Option<Lives>,
    /// All is given, as far as HQ could take it.
    is_over: bool,
    reading: bool,
    /// The number of the last one read.
    after: u64,
    ready: Option<Box<GivenDocuments>>,
    in_flight: Option<StateCursor>,
    back: Option<u64>,
    /// HQ lacks what some of it builds on.
    some_wait: bool,
}

/// Keyed state that a restored HQ asks back.
#[derive(Debug, Default)]
struct Back {
    /// What HQ has, once it asked.
    known: Option<Vec<Capture>>,
    after: StateCursor,
    reading: bool,
    ready: Option<SignedStateBatch>,
    is_over: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Fresh,
    Joining,
    /// HQ has facts of the log: are they ours? The store is asked for the head there.
    Comparing {
        welcome: Box<Welcome>,
        asked: bool,
    },
    /// They are not; HQ is to be told up to where they may be.
    Branching,
    Open(HistoryId),
    Ended(EdgeEnd),
}

/// Facts on their way to HQ.
#[derive(Debug)]
struct Uplink {
    tip: Seq,
    sent: Seq,
    acknowledged: Seq,
    in_flight: VecDeque<SentRun>,
    /// The first fact that the store was asked for.
    reading: Option<Seq>,
    ready: Option<Ready>,
    /// The last fact that went, and its place: HQ reads a few by what differs from it.
    before: Option<(Seq, Fact)>,
    early: Early,
    /// Grows while acknowledgements come soon, shrinks on slow links.
    run_facts: usize,
}

/// A run that is packed.
#[derive(Debug)]
struct Ready {
    frame: FactsFrame,
    last: Seq,
    last_fact: Fact,
}

/// A run that does not wait for the welcome.
#[derive(Debug)]
struct Early {
    /// Where HQ must stand for it: where it last said it does.
    after: Position,
    asked: bool,
    sent: Option<SentRun>,
}

#[derive(Clone, Copy, Debug)]
struct SentRun {
    position: Position,
    sent_at: Moment,
}

#[derive(Debug)]
struct Seals {
    tip: Seq,
    read: Seq,
    reading: bool,
    ready: VecDeque<SignedSeal>,
}

/// Keyed state, or documents, on their way from HQ.
#[derive(Debug)]
struct Downlink<B> {
    cursor: StateCursor,
    arrived: Option<B>,
    applying: Option<StateCursor>,
    taken: Option<StateCursor>,
    failed: bool,
}

/// Changes of documents on their way to HQ.
#[derive(Debug, Default)]
struct Changes {
    /// There may be more than was read.
    dirty: bool,
    reading: Reading,
    /// The number of the last one read.
    read: u64,
    ready: VecDeque<DocumentChange>,
    /// Sent, and HQ did not decide yet; with their bytes, for HQ may send one back whole.
    in_flight: BTreeMap<ChangeHash, Vec<u8>>,
    /// HQ lacks what some of them build on.
    some_wait: bool,
    /// How many had to wait since HQ decided on one.
    waits: usize,
}

/// Whether the store reads changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    No,
    Yes,
    /// It does, and HQ has decided on something meanwhile.
    Stale,
}

/// What a person waits for.
#[derive(Debug, Default)]
struct LookUps {
    texts: VecDeque<String>,
    /// One is on its way.
    open: bool,
    handle: VecDeque<Vec<ItemNo>>,
}

#[derive(Debug, Default)]
struct Witness {
    newest: Option<SignedAcknowledgement>,
    noting: bool,
}

#[derive(Debug)]
struct Waiting {
    /// The last frame from HQ, or when something began to be awaited.
    heard: Moment,
    /// The last sign of life of the network.
    alive: Moment,
    ping_due: bool,
    ping_open: bool,
    pings: u64,
}

/// The facts of a connection's first run, and of the early one: some packets.
const FIRST_RUN_FACTS: usize = 1_024;
/// A run that was acknowledged within this time may be longer next time.
const SOON_MS: u64 = 2_000;
/// A run that took longer than this should be shorter next time.
const LATE_MS: u64 = 8_000;
/// The most seals read at once.
const SEALS_READ_MAX: usize = 64;

impl EdgeSession {
    /// A session on a fresh connection; its first frame is a hello.
    pub fn new(start: EdgeStart, settings: EdgeSettings, now: Moment) -> Self {
        Self {
            facts: Uplink::new(start.position.last, start.acknowledged()),
            seals: Seals {
                tip: start.sealed,
                read: Seq::ZERO,
                reading: false,
                ready: VecDeque::new(),
            },
            state: Downlink::new(start.state),
            back: Back::default(),
            documents: Downlink::new(start.documents.unwrap_or(StateCursor::START)),
            changes: Changes::default(),
            giving: Giving::default(),
            witness: Witness::default(),
            postings: Asking::new(start.postings.clone(), now),
            look_ups: LookUps::default(),
            waiting: Waiting {
                heard: now,
                alive: now,
                ping_due: false,
                ping_open: false,
                pings: 0,
            },
            start,
            settings,
            phase: Phase::Fresh,
            forked: false,
            farewell: None,
            notices: VecDeque::new(),
            pong: None,
        }
    }

    /// Why the session ended, once it has. A last frame may still be polled.
    pub const fn end(&self) -> Option<&EdgeEnd> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// Whether HQ takes part.
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether HQ has everything that the node has, and nobody waits for an answer.
    pub fn is_complete(&self) -> bool {
        let is_acknowledged = self.facts.acknowledged == self.facts.tip;
        let writes = self.start.documents.is_some() && !self.documents.failed;
        let is_decided = !writes || (self.changes.is_idle() && self.giving.is_idle());
        let is_all = is_acknowledged && is_decided && self.look_ups.is_idle();
        self.is_open() && (is_all || planted::is(Fault::LeavesEarly))
    }

    /// Whether HQ has everything that the node has, and every seal was sent.
    pub fn is_done(&self) -> bool {
        // The seals of a branch prove nothing, and stay here.
        let is_sealed = self.seals.read >= self.seals.tip && self.seals.ready.is_empty();
        self.is_complete() && (self.forked || is_sealed)
    }

    /// How many facts HQ has not acknowledged.
    pub const fn unacknowledged(&self) -> u64 {
        self.facts.tip.0.saturating_sub(self.facts.acknowledged.0)
    }

    /// Whether the driver should go on reading frames.
    pub const fn wants_frames(&self) -> bool {
        !matches!(self.phase, Phase::Comparing { .. } | Phase::Branching)
    }

    /// Takes a frame from HQ.
    pub fn handle_frame(&mut self, frame: Frame, now: Moment) {
        self.waiting.heard(now);
        match (&self.phase, frame) {
            (Phase::Ended(_), _) => {}
            (_, Frame::Bye(code)) => self.phase = Phase::Ended(EdgeEnd::HqLeft(code)),
            (_, Frame::Refuse(refusal)) => self.phase = Phase::Ended(EdgeEnd::Refused(refusal)),
            (_, Frame::Ping(nonce)) => self.pong = Some(nonce),
            (_, Frame::Pong(..)) => self.waiting.ping_open = false,
            (Phase::Joining, Frame::Welcome(welcome)) => self.handle_welcome(welcome),
            // Said before HQ knew that this is a branch.
            (Phase::Joining, Frame::Acknowledgement(_) | Frame::State(_) | Frame::AskBack(_))
                if self.forked => {}
            (Phase::Open(_), Frame::Acknowledgement(signed)) => {
                self.handle_acknowledgement(signed, now);
            }
            (Phase::Open(_), Frame::State(signed)) => self.handle_state(signed),
            (Phase::Open(_), Frame::AskBack(known)) if self.back.known.is_none() => {
                self.back.known = Some(known);
            }
            (Phase::Open(_), Frame::Documents(signed)) => self.handle_documents(signed),
            (Phase::Open(_), Frame::AskDocuments(lives)) if self.may_be_asked() => {
                self.giving.lives = Some(lives);
            }
            (Phase::Open(_), Frame::DocumentsBack(cursor, is_whole))
                if self.giving.in_flight == Some(cursor) =>
            {
                self.giving.handle_back(is_whole);
            }
            (Phase::Open(_), Frame::DocumentWaits(hash)) => self.changes.handle_waits(hash),
            (Phase::Open(_), Frame::Postings(signed)) => self.handle_postings(signed),
            (Phase::Open(_), Frame::Found(found)) if self.look_ups.open => {
                self.look_ups.open = false;
                self.notices.push_back(EdgeNotice::Found(found));
            }
            (_, frame) => {
                self.break_off(EdgeEnd::Protocol(format!("a {} frame came", frame.name())));
            }
        }
    }

    /// Takes what was no frame.
    pub fn handle_broken(&mut self, error: &FrameError) {
        self.break_off(EdgeEnd::Protocol(error.to_string()));
    }

    /// Takes what happened at the edge.
    pub fn handle_event(&mut self, event: EdgeEvent, now: Moment) {
        if self.end().is_some() {
            return;
        }
        let was_waiting = self.is_waiting();
        match event {
            EdgeEvent::Recorded(last) => self.facts.tip = self.facts.tip.max(last),
            EdgeEvent::Sealed(last) => self.seals.tip = self.seals.tip.max(last),
            EdgeEvent::RunRead(run) => self.handle_run(run),
            EdgeEvent::SealsRead(seals) => {
                let known = self.seals.read;
                if !self.seals.handle_read(seals) {
                    self.break_off(EdgeEnd::Fork(known));
                }
            }
            EdgeEvent::HeadRead(head) => self.handle_head(head),
            EdgeEvent::AcknowledgementNoted => self.witness.noting = false,
            EdgeEvent::StateApplied => self.state.handle_applied(),
            EdgeEvent::StateFailed => self.state.failed = true,
            EdgeEvent::GivenRead(batch) => self.back.handle_read(batch),
            EdgeEvent::DocumentsChanged => self.changes.dirty = true,
            EdgeEvent::ChangesRead(changes) => self.changes.handle_read(changes),
            EdgeEvent::DocumentsApplied => {
                let is_other = self.documents.is_of_another_history();
                self.documents.handle_applied();
                self.changes.handle_applied(is_other);
                self.giving.handle_applied();
            }
            EdgeEvent::DocumentsFailed => self.documents.failed = true,
            EdgeEvent::Overtaken => self.break_off(EdgeEnd::Overtaken),
            EdgeEvent::ToldRead(given) => self.giving.handle_read(given),
            EdgeEvent::PostingsNoted(known) => self.postings.noted(known),
            EdgeEvent::LogUnreadable => self.break_off(EdgeEnd::LogUnreadable),
            EdgeEvent::NetworkAlive => self.waiting.alive = now,
            EdgeEvent::LookUp(mut text) => {
                limits::cut(&mut text, SEARCH_BYTES_MAX);
                self.look_ups.texts.push_back(text);
            }
            EdgeEvent::Handle(items) => {
                let parts = items.chunks(HANDLED_MAX).map(<[ItemNo]>::to_vec);
                self.look_ups.handle.extend(parts);
            }
            EdgeEvent::Silent => self.waiting.ping_due = was_waiting,
            EdgeEvent::Leave => self.break_off(EdgeEnd::Left),
        }
        if !was_waiting && self.is_waiting() {
            self.waiting.heard(now);
        }
    }

    /// Takes note that time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        if self.end().is_some() || !self.is_waiting() {
            return;
        }
        let waited = now.ms_since(self.waiting.heard);
        let limit = if self.is_open() { self.settings.stall_ms } else { self.settings.welcome_ms };
        if waited >= limit || now.ms_since(self.waiting.alive) >= self.settings.silence_ms {
            return self.break_off(EdgeEnd::Stalled);
        }
        if self.is_open() && waited >= self.settings.ping_ms && !self.waiting.ping_open {
            self.waiting.ping_due = true;
        }
    }

    /// When `handle_timeout` should be called next; `None` while nothing is awaited.
    pub fn timeout(&self) -> Option<Moment> {
        if self.end().is_some() || !self.is_waiting() {
            return None;
        }
        let Waiting { heard, alive, ping_due, ping_open, .. } = self.waiting;
        let silence = alive.after_ms(self.settings.silence_ms);
        Some(if !self.is_open() {
            heard.after_ms(self.settings.welcome_ms).min(silence)
        } else if ping_due || ping_open {
            heard.after_ms(self.settings.stall_ms).min(silence)
        } else {
            heard.after_ms(self.settings.ping_ms).min(silence)
        })
    }

    /// The frame that should leave now, most urgent first.
    pub fn poll_frame(&mut self, now: Now) -> Option<Frame> {
        if let Some(farewell) = self.farewell.take() {
            return Some(farewell);
        }
        match self.phase {
            // What leaves with the hello is on its way from the store.
            Phase::Fresh if self.facts.reading.is_some() => None,
            Phase::Fresh => Some(self.hello(now)),
            Phase::Branching => Some(self.branch(now.moment)),
            Phase::Joining if self.has_early() => self.facts.take_early(now.moment),
            Phase::Joining => self.take_ping(),
            Phase::Comparing { .. } | Phase::Ended(_) => None,
            Phase::Open(_) => self.poll_open(now),
        }
    }

    fn poll_open(&mut self, now: Now) -> Option<Frame> {
        if let Some(nonce) = self.pong.take() {
            return Some(Frame::Pong(nonce, now.wall));
        }
        if let Some(cursor) = self.state.taken.take() {
            return Some(Frame::StateTaken(cursor));
        }
        if let Some(cursor) = self.documents.taken.take() {
            return Some(Frame::DocumentsTaken(cursor));
        }
        // What facts refer to goes before them.
        if let Some(frame) = self.back.take_ready() {
            return Some(frame);
        }
        if let Some(frame) = self.look_ups.take() {
            return Some(frame);
        }
        if let Some(facts) = self.facts.take_ready(now.moment) {
            return Some(Frame::Facts(facts));
        }
        if let Some(seal) = self.seals.take_ready(self.facts.sent) {
            return Some(Frame::Seal(seal));
        }
        // What a change builds on goes before it.
        if let Some(given) = self.giving.take_ready() {
            return Some(Frame::GivenDocuments(given));
        }
        if let Some(change) = self.changes.take_ready() {
            return Some(Frame::DocumentChange(change));
        }
        // Where logs differ, HQ's places are not ours.
        if !self.forked
            && let Some(asked) = self.postings.take_question()
        {
            return Some(Frame::AskPostings(asked));
        }
        self.take_ping()
    }

    fn take_ping(&mut self) -> Option<Frame> {
        std::mem::take(&mut self.waiting.ping_due).then(|| Frame::Ping(self.waiting.open_ping()))
    }

    /// A known copy says first that it is one: HQ takes no branch of a log that went on meanwhile.
    const fn has_early(&self) -> bool {
        !self.forked && !self.start.is_copied && self.facts.ready.is_some()
    }

    /// Whether `poll_frame` would give one.
    pub fn has_frame(&self) -> bool {
        self.farewell.is_some()
            || match self.phase {
                Phase::Fresh => self.facts.reading.is_none(),
                Phase::Branching => true,
                Phase::Joining => self.has_early() || self.waiting.ping_due,
                Phase::Comparing { .. } | Phase::Ended(_) => false,
                Phase::Open(_) => {
                    self.pong.is_some()
                        || self.state.taken.is_some()
                        || self.back.is_ready()
                        || self.documents.taken.is_some()
                        || self.giving.ready.is_some()
                        || !self.changes.ready.is_empty()
                        || self.look_ups.has_frame()
                        || self.facts.ready.is_some()
                        || self.seals.is_ready(self.facts.sent)
                        || (!self.forked && self.postings.has_question())
                        || self.waiting.ping_due
                }
            }
    }

    /// What the store should do next.
    pub fn poll_request(&mut self) -> Option<EdgeRequest> {
        if let Phase::Comparing { welcome, asked } = &mut self.phase
            && !std::mem::replace(asked, true)
        {
            return Some(EdgeRequest::ReadHead(welcome.cursor.last));
        }
        if matches!(self.phase, Phase::Fresh) {
            return self.facts.request_early(&self.settings);
        }
        if !self.is_open() {
            // Acknowledgements that came before the end are still worth keeping.
            return self.witness.request();
        }
        self.witness
            .request()
            .or_else(|| self.back.request())
            .or_else(|| self.facts.request(&self.settings))
            .or_else(|| if self.forked { None } else { self.seals.request() })
            .or_else(|| self.document_request())
            .or_else(|| self.state.next().map(EdgeRequest::ApplyState))
            .or_else(|| self.postings.take_arrived().map(EdgeRequest::NotePostings))
    }

    fn document_request(&mut self) -> Option<EdgeRequest> {
        if self.start.documents.is_none() || self.documents.failed {
            return None;
        }
        // What HQ tells may take the place of what it is to be given.
        let batch = if self.giving.is_idle() { self.documents.next() } else { None };
        let batch = batch.map(EdgeRequest::ApplyDocuments);
        // What HQ decided on is no more to be read once it is applied.
        let is_applying = self.documents.applying.is_some();
        let batch = batch.or_else(|| self.giving.request());
        batch.or_else(|| if is_applying { None } else { self.changes.request() })
    }

    /// What people should know.
    pub fn poll_notice(&mut self) -> Option<EdgeNotice> {
        self.notices.pop_front()
    }

    fn hello(&mut self, now: Now) -> Frame {
        self.phase = Phase::Joining;
        self.waiting.heard(now.moment);
        Frame::Hello(Hello {
            versions: self.start.versions,
            log: self.start.log,
            position: self.start.position,
            state: self.start.state,
            witness: self.start.witness,
            time: now.wall,
            program: self.start.program.clone(),
        })
    }

    /// Up to where HQ had this log, by what it acknowledged; else the log's beginning.
    fn branch(&mut self, now: Moment) -> Frame {
        (self.phase, self.forked) = (Phase::Joining, true);
        self.waiting.heard(now);
        Frame::Branch(self.start.acknowledged())
    }

    fn handle_welcome(&mut self, welcome: Welcome) {
        let Position { last, head } = welcome.cursor;
        let own = self.start.position;
        let spoken = Versions { lowest: welcome.version, highest: welcome.version };
        if self.start.versions.common(spoken).is_none() {
            let text = format!("HQ chose version {}", welcome.version);
            return self.break_off(EdgeEnd::Protocol(text));
        }
        let is_known_copy = self.start.is_copied && !self.forked;
        if is_known_copy || last > own.last || (last == own.last && head != own.head) {
            return self.differ(last);
        }
        let is_expected =
            self.facts.early.sent.is_some() && welcome.cursor == self.facts.early.after;
        let is_told = is_expected || planted::is(Fault::DroppedForkCheck);
        if last == own.last || last == Seq::ZERO || is_told {
            return self.open(welcome);
        }
        self.phase = Phase::Comparing { welcome: Box::new(welcome), asked: false };
    }

    fn handle_head(&mut self, head: Head) {
        let phase = std::mem::replace(&mut self.phase, Phase::Joining);
        let Phase::Comparing { welcome, .. } = phase else {
            self.phase = phase;
            return;
        };
        if head == welcome.cursor.head {
            self.open(*welcome);
        } else {
            self.differ(welcome.cursor.last);
        }
    }

    /// HQ is told once; a place that it then names must be common.
    fn differ(&mut self, last: Seq) {
        if self.forked {
            return self.break_off(EdgeEnd::Fork(last));
        }
        // HQ, which stands elsewhere, passed over it.
        self.facts.early.sent = None;
        self.phase = Phase::Branching;
    }

    fn open(&mut self, welcome: Welcome) {
        let last = welcome.cursor.last;
        if self.forked {
            self.notices.push_back(EdgeNotice::Forked { common: last });
        } else {
            self.notice_losses(&welcome);
        }
        let acknowledged = self.start.acknowledged();
        let is_behind = welcome.cursor.last < acknowledged.last;
        let is_wrong = is_behind && planted::is(Fault::WrongCursorAfterRestore);
        self.facts.open(if is_wrong { acknowledged } else { welcome.cursor });
        self.seals.read = welcome.sealed;
        self.postings.opened(welcome.history);
        // HQ sends documents from there on to whoever asks.
        self.documents.taken = self.start.documents;
        self.changes.dirty = true;
        self.phase = Phase::Open(welcome.history);
        self.notices.push_back(EdgeNotice::Welcomed(welcome));
    }

    /// The node keeps all its facts, so that whatever HQ lost can be sent again.
    fn notice_losses(&mut self, welcome: &Welcome) {
        let Some(witness) = &self.start.witness else { return };
        let acknowledged = witness.acknowledgement.received.last;
        let restored = witness.acknowledgement.history != welcome.history;
        let has = welcome.cursor.last;
        if restored || has < acknowledged {
            self.notices.push_back(EdgeNotice::HqLost { restored, acknowledged, has });
        }
    }

    fn handle_acknowledgement(&mut self, signed: SignedAcknowledgement, now: Moment) {
        let acknowledgement = signed.acknowledgement;
        if signed.verify(&self.start.hq_key).is_err() && !planted::is(Fault::BelievedAnybody) {
            return self.break_off(EdgeEnd::BadSignature("an acknowledgement"));
        }
        if acknowledgement.log != self.start.log
            || self.phase != Phase::Open(acknowledgement.history)
        {
            let text = "an acknowledgement of another log or history";
            return self.break_off(EdgeEnd::Protocol(text.to_owned()));
        }
        let received = acknowledgement.received;
        if received.last > self.facts.tip {
            return self.break_off(EdgeEnd::Restored { hq: received.last, own: self.facts.tip });
        }
        if self.facts.differs(received) {
            return self.break_off(EdgeEnd::Fork(received.last));
        }
        if received.last < self.facts.acknowledged {
            return;
        }
        self.facts.acknowledge(received.last, now, &self.settings);
        self.postings.posted(acknowledgement.posted, now);
        self.witness.newest = Some(signed);
        self.notices.push_back(EdgeNotice::Acknowledged(acknowledgement));
    }

    fn handle_state(&mut self, signed: SignedStateBatch) {
        if signed.verify(&self.start.hq_key).is_err() {
            return self.break_off(EdgeEnd::BadSignature("keyed state"));
        }
        if signed.batch.site != self.start.site || !self.state.accepts(&signed) {
            let text = "keyed state of another site or cursor";
            return self.break_off(EdgeEnd::Protocol(text.to_owned()));
        }
        self.state.arrived = Some(signed);
    }

    fn handle_documents(&mut self, signed: SignedDocumentBatch) {
        if signed.verify(&self.start.hq_key).is_err() {
            return self.break_off(EdgeEnd::BadSignature("a batch of documents"));
        }
        let is_ours = signed.batch.site == self.start.site && self.start.documents.is_some();
        if !is_ours || !self.documents.accepts(&signed) {
            let text = "documents of another site or cursor";
            return self.break_off(EdgeEnd::Protocol(text.to_owned()));
        }
        self.changes.handle_decided(&signed.batch.news);
        self.documents.arrived = Some(signed);
    }

    /// HQ may ask documents back once, of a node that has some.
    const fn may_be_asked(&self) -> bool {
        self.start.documents.is_some() && self.giving.lives.is_none()
    }

    fn handle_postings(&mut self, signed: SignedPostings) {
        if signed.verify(&self.start.hq_key).is_err() {
            return self.break_off(EdgeEnd::BadSignature("what became of facts"));
        }
        let is_ours = signed.postings.log == self.start.log
            && self.phase == Phase::Open(signed.postings.history);
        if !is_ours || !self.postings.take_answer(signed) {
            let text = "postings of another log or of facts that were not asked about";
            self.break_off(EdgeEnd::Protocol(text.to_owned()));
        }
    }

    fn handle_run(&mut self, run: Option<Run>) {
        let asked = self.facts.reading.take();
        let Some(run) = run else {
            // Nothing to read although something was recorded: wait for the next record.
            self.facts.tip = self.facts.sent;
            return;
        };
        assert_eq!(Some(run.first), asked, "the store reads from where it was asked");
        // HQ may have acknowledged some of it meanwhile, or less than was expected.
        let Some(run) = run.after(self.facts.sent) else { return };
        if run.first != self.facts.sent.next() {
            return;
        }
        self.facts.tip = self.facts.tip.max(run.last);
        self.facts.pack(run);
    }

    fn is_waiting(&self) -> bool {
        match self.phase {
            Phase::Fresh | Phase::Joining | Phase::Branching => true,
            Phase::Open(_) => {
                self.facts.acknowledged < self.facts.sent
                    || !self.changes.in_flight.is_empty()
                    || self.giving.in_flight.is_some()
                    || self.waiting.ping_open
            }
            // The node's own store is no network.
            Phase::Comparing { .. } | Phase::Ended(_) => false,
        }
    }

    fn break_off(&mut self, end: EdgeEnd) {
        let code = match &end {
            EdgeEnd::Left | EdgeEnd::Overtaken | EdgeEnd::HqLeft(_) | EdgeEnd::Refused(_) => {
                Code::LEAVING
            }
            EdgeEnd::Protocol(_) | EdgeEnd::BadSignature(_) => Code::PROTOCOL,
            EdgeEnd::Fork(_) => Code::FORK,
            EdgeEnd::Restored { .. } => Code::RESTORED,
            EdgeEnd::Stalled => Code::STALLED,
            EdgeEnd::LogUnreadable => Code::STORAGE,
        };
        if self.end().is_none() {
            self.farewell = Some(Frame::Bye(code));
            self.phase = Phase::Ended(end);
        }
    }
}

impl EdgeStart {
    /// Up to where HQ has this log by its own word; else the log's beginning.
    fn acknowledged(&self) -> Position {
        let witness = self.witness.map(|signed| signed.acknowledgement.received);
        let known = witness.filter(|known| known.last <= self.position.last);
        known.unwrap_or(Position { last: Seq::ZERO, head: Head(self.log.0) })
    }
}

impl Uplink {
    const fn new(tip: Seq, after: Position) -> Self {
        Self {
            tip,
            // The early run is read after this; a welcome may set it back.
            sent: after.last,
            acknowledged: after.last,
            in_flight: VecDeque::new(),
            reading: None,
            ready: None,
            before: None,
            early: Early { after, asked: false, sent: None },
            run_facts: FIRST_RUN_FACTS,
        }
    }

    /// HQ took the early run where its cursor is just before it, and nowhere else.
    fn open(&mut self, cursor: Position) {
        (self.sent, self.acknowledged) = (cursor.last, cursor.last);
        if cursor != self.early.after {
            self.ready = None;
        } else if let Some(run) = self.early.sent {
            self.sent = run.position.last;
            self.in_flight.push_back(run);
        }
    }

    fn request_early(&mut self, settings: &EdgeSettings) -> Option<EdgeRequest> {
        if std::mem::replace(&mut self.early.asked, true) {
            return None;
        }
        self.request(settings)
    }

    /// HQ may pass over it, so nothing is told by what differs from it.
    fn take_early(&mut self, now: Moment) -> Option<Frame> {
        let Ready { frame, last, .. } = self.ready.take()?;
        let position = Position { last, head: frame.head };
        self.early.sent = Some(SentRun { position, sent_at: now });
        Some(Frame::Early(self.early.after.head, frame))
    }

    fn request(&mut self, settings: &EdgeSettings) -> Option<EdgeRequest> {
        let in_flight = self.sent.0 - self.acknowledged.0;
        let room = settings.window_facts.saturating_sub(in_flight);
        let has_room = room >= GROUP_MAX as u64 || in_flight == 0;
        if self.reading.is_some() || self.ready.is_some() || self.sent >= self.tip || !has_room {
            return None;
        }
        self.reading = Some(self.sent.next());
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let facts_max = self.run_facts.min(settings.run_facts_max).min(room).max(1);
        Some(EdgeRequest::ReadRun { first: self.sent.next(), facts_max })
    }

    fn pack(&mut self, run: Run) {
        let before = self.before.as_ref().filter(|(seq, _)| seq.next() == run.first);
        let frame = FactsFrame::pack_after(&run, before.map(|(_, fact)| fact));
        self.adapt_to_size(frame.packed.len());
        let last = run.last;
        let last_fact = run.facts.into_iter().next_back().expect("a run has facts");
        self.ready = Some(Ready { frame, last, last_fact });
    }

    fn take_ready(&mut self, now: Moment) -> Option<FactsFrame> {
        let Ready { frame, last, last_fact } = self.ready.take()?;
        let position = Position { last, head: frame.head };
        self.sent = last;
        self.before = Some((last, last_fact));
        self.in_flight.push_back(SentRun { position, sent_at: now });
        Some(frame)
    }

    fn differs(&self, received: Position) -> bool {
        self.in_flight
            .iter()
            .any(|run| run.position.last == received.last && run.position.head != received.head)
    }

    /// HQ may have more than was sent here: what an earlier connection sent last.
    fn acknowledge(&mut self, received: Seq, now: Moment, settings: &EdgeSettings) {
        self.acknowledged = received;
        if received > self.sent {
            self.sent = received;
            self.ready = None;
        }
        while self.in_flight.front().is_some_and(|run| run.position.last <= received) {
            let run = self.in_flight.pop_front().expect("there is a front");
            self.adapt_to_delay(now.ms_since(run.sent_at), settings);
        }
    }

    fn adapt_to_delay(&mut self, delay_ms: u64, settings: &EdgeSettings) {
        if delay_ms <= SOON_MS {
            self.run_facts = (self.run_facts * 2).min(settings.run_facts_max);
        } else if delay_ms > LATE_MS {
            self.run_facts = (self.run_facts / 2).max(GROUP_MAX);
        }
    }

    fn adapt_to_size(&mut self, packed: usize) {
        if packed > limits::FACTS_BYTES_AIM {
            self.run_facts = (self.run_facts / 2).max(1);
        }
    }
}

impl Seals {
    fn request(&mut self) -> Option<EdgeRequest> {
        if self.reading || !self.ready.is_empty() || self.read >= self.tip {
            return None;
        }
        self.reading = true;
        Some(EdgeRequest::ReadSeals { first: self.read.next(), seals_max: SEALS_READ_MAX })
    }

    /// Whether they go on from what HQ has: of a node's own seals HQ has a beginning.
    fn handle_read(&mut self, seals: Vec<SignedSeal>) -> bool {
        self.reading = false;
        let (Some(first), Some(last)) = (seals.first(), seals.last()) else { return false };
        if first.seal.first != self.read.next() {
            return false;
        }
        self.read = last.seal.last;
        self.ready.extend(seals);
        true
    }

    fn is_ready(&self, sent: Seq) -> bool {
        self.ready.front().is_some_and(|signed| signed.seal.last <= sent)
    }

    fn take_ready(&mut self, sent: Seq) -> Option<SignedSeal> {
        if self.is_ready(sent) { self.ready.pop_front() } else { None }
    }
}

impl<B: Step> Downlink<B> {
    const fn new(cursor: StateCursor) -> Self {
        Self { cursor, arrived: None, applying: None, taken: None, failed: false }
    }

    /// HQ sends one batch and waits: from the cursor on, or another handle's beginning.
    fn accepts(&self, batch: &B) -> bool {
        let from = batch.from();
        let continues = from == self.cursor || (from.at == 0 && from.handle != self.cursor.handle);
        continues && self.arrived.is_none() && self.applying.is_none() && self.taken.is_none()
    }

    /// What the store should apply next.
    fn next(&mut self) -> Option<B> {
        if self.failed || self.applying.is_some() {
            return None;
        }
        let batch = self.arrived.take()?;
        self.applying = Some(batch.to());
        Some(batch)
    }

    /// What is being applied begins anew, after a history that is over.
    fn is_of_another_history(&self) -> bool {
        self.applying.is_some_and(|cursor| cursor.handle != self.cursor.handle)
    }

    fn handle_applied(&mut self) {
        if let Some(cursor) = self.applying.take() {
            self.cursor = cursor;
            self.taken = Some(cursor);
        }
    }
}

impl Back {
    fn request(&mut self) -> Option<EdgeRequest> {
        if self.reading || self.ready.is_some() || self.is_over {
            return None;
        }
        let known = self.known.clone()?;
        self.reading = true;
        Some(EdgeRequest::ReadGiven { known, after: self.after })
    }

    fn handle_read(&mut self, batch: Option<SignedStateBatch>) {
        self.reading = false;
        self.is_over = batch.is_none();
        if let Some(signed) = batch {
            self.after = signed.batch.to;
            self.ready = Some(signed);
        }
    }

    const fn is_ready(&self) -> bool {
        self.ready.is_some() || (self.is_over && self.known.is_some())
    }

    /// HQ may ask once; what it said it has is forgotten with the last word.
    fn take_ready(&mut self) -> Option<Frame> {
        match self.ready.take() {
            Some(signed) => Some(Frame::GivenBack(signed)),
            None if self.is_ready() => {
                self.known = None;
                Some(Frame::AllGiven)
            }
            None => None,
        }
    }
}

impl Giving {
    const fn is_idle(&self) -> bool {
        self.lives.is_none() || self.is_over
    }

    fn request(&mut self) -> Option<EdgeRequest> {
        if self.is_over || self.reading || self.ready.is_some() || self.in_flight.is_some() {
            return None;
        }
        let lives = self.lives.clone()?;
        self.reading = true;
        Some(EdgeRequest::ReadTold { lives, after: self.after, back: self.back.take() })
    }

    fn handle_read(&mut self, given: Option<(u64, Box<GivenDocuments>)>) {
        self.reading = false;
        self.is_over = given.is_none();
        if let Some((number, given)) = given {
            (self.after, self.ready) = (number, Some(given));
        }
    }

    fn handle_back(&mut self, is_whole: bool) {
        self.in_flight = None;
        if is_whole {
            self.back = Some(self.after);
        } else {
            self.some_wait = true;
        }
    }

    /// Documents moved at HQ: perhaps what was missing there has come.
    fn handle_applied(&mut self) {
        if std::mem::take(&mut self.some_wait) {
            (self.after, self.is_over) = (0, false);
        }
    }

    fn take_ready(&mut self) -> Option<Box<GivenDocuments>> {
        let given = self.ready.take()?;
        self.in_flight = Some(given.told.to());
        Some(given)
    }
}

impl Changes {
    fn request(&mut self) -> Option<EdgeRequest> {
        let room = limits::DOCUMENT_CHANGES_WINDOW.saturating_sub(self.in_flight.len());
        let is_reading = self.reading != Reading::No;
        if !self.dirty || self.rests() || is_reading || !self.ready.is_empty() || room == 0 {
            return None;
        }
        (self.dirty, self.reading) = (false, Reading::Yes);
        Some(EdgeRequest::ReadChanges { after: self.read, changes_max: room })
    }

    fn handle_read(&mut self, changes: Vec<(u64, DocumentChange)>) {
        if std::mem::take(&mut self.reading) == Reading::Stale {
            // Some of it may be decided on.
            self.dirty = true;
            return;
        }
        // After some there may be more.
        self.dirty |= !changes.is_empty();
        for (number, change) in changes {
            self.read = self.read.max(number);
            if !self.in_flight.contains_key(&change.hash) {
                self.ready.push_back(change);
            }
        }
    }

    fn take_ready(&mut self) -> Option<DocumentChange> {
        let change = self.ready.pop_front()?;
        self.in_flight.insert(change.hash, change.bytes.clone());
        Some(change)
    }

    /// HQ has decided on all of them, or can't yet.
    fn is_idle(&self) -> bool {
        (!self.dirty || self.rests())
            && self.reading == Reading::No
            && self.ready.is_empty()
            && self.in_flight.is_empty()
    }

    /// HQ says nothing more of what it decided on: none of that is waited for, or sent again.
    fn handle_decided(&mut self, news: &[DocumentNews]) {
        for news in news {
            match news {
                DocumentNews::Taken { hash, .. } | DocumentNews::Refused { hash, .. } => {
                    self.in_flight.remove(hash);
                    self.waits = 0;
                }
                // An earlier connection brought it to HQ, and broke.
                DocumentNews::Change { bytes, .. } => {
                    self.in_flight.retain(|_, sent| sent != bytes);
                }
            }
        }
        if self.reading == Reading::Yes {
            self.reading = Reading::Stale;
        }
        if !self.ready.is_empty() {
            self.ready.clear();
            (self.read, self.dirty) = (0, true);
        }
    }

    /// A whole window had to wait: what comes after it need not be sent to hear the same.
    const fn rests(&self) -> bool {
        self.waits >= limits::DOCUMENT_CHANGES_WINDOW
    }

    fn handle_waits(&mut self, hash: ChangeHash) {
        self.some_wait |= self.in_flight.remove(&hash).is_some();
        self.waits += 1;
    }

    /// Documents moved at HQ: perhaps what was missing there has come. Another history lacks what was
    /// decided in the one before: that is offered again.
    fn handle_applied(&mut self, is_other: bool) {
        if std::mem::take(&mut self.some_wait) || is_other {
            (self.read, self.dirty, self.waits) = (0, true, 0);
        }
    }
}

impl LookUps {
    fn is_idle(&self) -> bool {
        !self.open && !self.has_frame()
    }

    fn has_frame(&self) -> bool {
        !self.handle.is_empty() || (!self.open && !self.texts.is_empty())
    }

    fn take(&mut self) -> Option<Frame> {
        if let Some(items) = self.handle.pop_front() {
            return Some(Frame::Handle(items));
        }
        if self.open {
            return None;
        }
        let text = self.texts.pop_front()?;
        self.open = true;
        Some(Frame::LookUp(text))
    }
}

impl Witness {
    fn request(&mut self) -> Option<EdgeRequest> {
        if self.noting {
            return None;
        }
        let newest = self.newest.take()?;
        self.noting = true;
        Some(EdgeRequest::NoteAcknowledgement(newest))
    }
}

impl Waiting {
    const fn heard(&mut self, now: Moment) {
        (self.heard, self.alive, self.ping_due) = (now, now, false);
    }

    const fn open_ping(&mut self) -> u64 {
        self.ping_open = true;
        self.pings += 1;
        self.pings
    }
}
