//! What is done with bytes from a stranger: every decoder of `shared`, and both session machines over
//! stores in memory. Used by the fuzzer, and by a test that gives it every kept input again. Invariant:
//! whatever comes, nothing panics, and what was decoded encodes to the same bytes.

use std::collections::VecDeque;
use std::convert::Infallible;

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};
use shared::catalogue::{Catalogue, OpenOrder, OpenTransfer, StateKey};
use shared::document::journal::JournalTip;
use shared::document::{Actor, Change, DocumentId, DocumentKey, Replica, count_sheet, transfer};
use shared::fact::statement::{Stamp, Statement};
use shared::fact::{Fact, Kind, field};
use shared::ids::{ChangeHash, DeviceNo, Head, HistoryId, LogId, Seq, SiteNo};
use shared::segment::chain::{Chain, Genesis};
use shared::segment::seal::{Seal, SignedSeal};
use shared::segment::{columns, packing};
use shared::sync::bundle::{BundleReader, BundleScan};
use shared::sync::edge::{EdgeEvent, EdgeRequest, EdgeSession, EdgeSettings, EdgeStart};
use shared::sync::hq::{HqEvent, HqRequest, HqSession, HqSettings, HqStart, OpenedLog};
use shared::sync::{
    Acknowledgement, DocumentBatch, DocumentNews, EnrolCode, FactsFrame, Found, Frame, FrameBuffer,
    Given, GivenDocuments, Lives, Moment, Now, Outcome, Position, Postings, PostingsKnown, Run,
    SignedAcknowledgement, Span, StateBatch, StateCursor, VERSIONS, next_frame,
};
use shared::time::{Month, Timestamp};
use shared::varint;

const SITE: SiteNo = SiteNo(7);

/// A fact, and everything that is made of one.
pub fn facts(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(fact) = Fact::decode(&mut rest) {
        let used = bytes.len() - rest.len();
        assert!(bytes[..used].ends_with(&fact.to_bytes()), "a fact has one form");
        look_at(&fact);
        if rest.is_empty() {
            break;
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<EnrolCode>();
        drop(shared::decimal::parse(text));
    }
}

fn look_at(fact: &Fact) {
    drop(Stamp::parse(fact));
    drop(Statement::parse(fact));
    let mut catalogue = Catalogue::new();
    catalogue.apply(fact);
    drop(OpenTransfer::parse(fact));
    drop(OpenOrder::parse(fact));
    drop(StateKey::of(fact));
}

/// Columns, packed columns, seals, genesis records and tips of documents.
pub fn segments(bytes: &[u8]) {
    for bytes in [Some(bytes.to_vec()), packing::unpack(bytes).ok()].into_iter().flatten() {
        if let Ok(facts) = columns::decode(&bytes) {
            assert_eq!(columns::encode(&facts), bytes, "columns have one form");
            facts.iter().take(64).for_each(look_at);
        }
    }
    if let Ok(seal) = SignedSeal::decode(bytes) {
        assert_eq!(seal.encode(), bytes, "a seal has one form");
    }
    if let Ok(genesis) = Genesis::decode(bytes) {
        assert_eq!(genesis.encode(), bytes, "a genesis record has one form");
    }
    let _ = JournalTip::decode(bytes);
}

/// A frame of every type, and a stream of frames.
pub fn frames(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    if let Ok(frame) = Frame::decode(*kind, body) {
        let mut again = FrameBuffer::new();
        again.push(&frame.encode());
        let again = next_frame(&mut again).expect("a frame").expect("it is all there");
        assert_eq!(again, frame, "a frame has one form");
        match &frame {
            Frame::Facts(facts) => drop(facts.unpack()),
            Frame::State(signed) => drop(signed.batch.facts()),
            Frame::Found(found) => drop(found.facts()),
            _ => {}
        }
    }
    drop(Span::decode(bytes));
    drop(SignedAcknowledgement::decode(bytes));
    let mut stream = FrameBuffer::new();
    for piece in bytes.chunks(7) {
        stream.push(piece);
        while let Ok(Some(frame)) = next_frame(&mut stream) {
            drop(frame.encode());
        }
    }
}

/// The most changes that one input offers to the gate.
const CHANGES_MAX: usize = 16;

/// Changes of a shared document: as they came, and one after the other through the gate with checksums
/// that hold, each behind its length. Whatever comes in, the document loads as it is.
pub fn documents(bytes: &[u8]) {
    drop(Change::read(bytes));
    if let Some(key) = DocumentKey::decode(bytes) {
        assert_eq!(key.encode(), bytes, "a name has one form");
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if let Ok(id) = text.parse::<DocumentId>() {
        assert_eq!(id.to_string(), text, "a name has one form");
    }
    let mut document = disputed();
    let mut rest = bytes;
    for _ in 0..CHANGES_MAX {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { break };
        let length = after.len().min(u16::from_le_bytes(*length).into());
        let (contents, after) = after.split_at(length);
        rest = after;
        if let Ok(change) = Change::read(&chunk(contents)) {
            document.admit([change]);
        }
    }
    let kept = document.changes().map(Change::bytes);
    let loaded = Replica::load(document.key(), kept).expect("what came in loads");
    assert_eq!(loaded.heads(), document.heads());
    for key in document.keys() {
        assert_eq!(loaded.values(&key), document.values(&key));
        drop(document.conflict(&key));
    }
    drop(count_sheet::lines(&document));
    drop(transfer::lines(&document));
    let _ = transfer::progress(&document);
}

/// A document with two remarks, neither of which was seen by the author of the other.
pub(crate) fn disputed() -> Replica {
    let begun = Replica::begin(DocumentKey::first(DocumentId::SiteNotes { site: SITE }));
    let mut document = begun.clone();
    for device in [1, 2] {
        let change =
            edited(&begun, device, &[("topic/door", "sticks"), ("topic/fork-lift", "due")]);
        document.admit([change]);
    }
    document
}

/// What somebody puts who has seen a document.
pub(crate) fn edited(seen: &Replica, device: u32, puts: &[(&str, &str)]) -> Change {
    let puts: Vec<_> = puts.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
    let actor = Actor::of(SITE, DeviceNo(device), &log_id());
    seen.clone().edit(actor, 1_795_519_885, &puts).expect("short texts")
}

/// A change chunk with these contents, whose checksum holds.
pub(crate) fn chunk(contents: &[u8]) -> Vec<u8> {
    let mut hashed = vec![1];
    varint::write_unsigned(&mut hashed, contents.len() as u64);
    hashed.extend_from_slice(contents);
    let hash: [u8; 32] = Sha256::digest(&hashed).into();
    [&[0x85, 0x6f, 0x4a, 0x83], &hash[..4], &hashed].concat()
}

/// A bundle: its outside, and where somebody signed it rightly, its inside.
pub fn bundles(bytes: &[u8]) {
    let mut scan = BundleScan::new();
    if bytes.chunks(1_000).any(|piece| scan.push(piece).is_err()) {
        return;
    }
    let Ok(scanned) = scan.finish() else { return };
    let Ok(verified) = scanned.verify(&key(1).verifying_key()) else { return };
    let Ok(mut reader) = BundleReader::new(verified, &key(2)) else { return };
    for piece in bytes.chunks(1_000) {
        if reader.push(piece).is_err() {
            return;
        }
        while let Ok(Some(frame)) = reader.next_frame() {
            drop(frame.encode());
        }
    }
    drop(reader.finish());
}

pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn log_id() -> LogId {
    LogId([3; 32])
}

fn history() -> HistoryId {
    HistoryId([1; 32])
}

pub(crate) fn fact(number: u64) -> Fact {
    let mut fact = Fact::new(Kind::Receipt);
    field::CAPTURE_COUNTER.put(&mut fact, Some(number)).expect("a legal field");
    fact
}

pub(crate) fn position(last: u64) -> Position {
    let mut chain = Chain::start(log_id());
    chain.extend(&(1..=last).map(fact).collect::<Vec<_>>());
    Position { last: Seq(last), head: chain.head() }
}

pub(crate) fn run(first: u64, count: u64) -> Run {
    let head = position(first + count - 1).head;
    Run::new(Seq(first), (first..first + count).map(fact).collect(), head).expect("a run")
}

/// What a script of bytes says happens next.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Small numbers are what sessions are about.
    fn number(&mut self) -> u64 {
        self.byte().map_or(0, |byte| u64::from(byte % 40))
    }

    fn bytes(&mut self) -> &[u8] {
        let wanted = usize::from(self.byte().unwrap_or(0)) * 2;
        let (taken, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A frame of some type around bytes of the script; its length is right.
    fn framed(&mut self) -> Vec<u8> {
        let kind = self.byte().unwrap_or(0) % 32;
        let body = self.bytes();
        let mut out = Vec::new();
        varint::write_unsigned(&mut out, body.len() as u64 + 1);
        out.push(kind);
        out.extend_from_slice(body);
        out
    }
}

/// The longest history that a script tells.
const STEPS_MAX: usize = 400;

/// An edge whose HQ may be anybody. Whoever it is, only HQ's own signature makes the edge keep
/// something.
pub fn edge_session(bytes: &[u8]) {
    let mut script = Script(bytes);
    let tip = script.number();
    let start = EdgeStart {
        site: SITE,
        log: log_id(),
        position: position(tip),
        sealed: Seq(tip),
        is_copied: false,
        state: StateCursor::START,
        documents: (tip % 3 == 0).then_some(StateCursor::START),
        postings: PostingsKnown::nothing(history()),
        witness: None,
        hq_key: key(2).verifying_key(),
        versions: VERSIONS,
        program: "edge-node fuzzed".to_owned(),
    };
    let mut moment = Moment(0);
    let mut session = EdgeSession::new(start, EdgeSettings::default(), moment);
    let mut buffer = FrameBuffer::new();
    let mut requests = VecDeque::new();
    for _ in 0..STEPS_MAX {
        let Some(what) = script.byte() else { break };
        match what % 12 {
            0 => buffer.push(script.bytes()),
            1 => buffer.push(&script.framed()),
            2 => buffer.push(&welcome(script.number(), tip).encode()),
            3 => {
                let received = script.number();
                buffer.push(&Frame::Acknowledgement(acknowledgement(received)).encode());
            }
            4 => {
                let (from, to) = (script.number(), script.number());
                buffer.push(&Frame::State(state(from.min(to), from.max(to))).encode());
            }
            5 => {
                let (first, groups) = (script.number() + 1, script.number() + 1);
                buffer.push(&Frame::Postings(postings(first, groups).sign(&key(2))).encode());
            }
            6 => moment = moment.after_ms(script.number() * 1_000),
            7 => session.handle_event(EdgeEvent::Recorded(Seq(tip)), moment),
            8 if tip % 2 == 0 => session.handle_event(EdgeEvent::LookUp("é".repeat(40)), moment),
            8 => session.handle_event(EdgeEvent::NetworkAlive, moment),
            9 => session.handle_timeout(moment),
            _ => {
                if let Some(request) = requests.pop_front() {
                    session.handle_event(edge_answer(request, tip), moment);
                }
            }
        }
        while session.wants_frames() && session.end().is_none() {
            match next_frame(&mut buffer) {
                Ok(Some(frame)) => session.handle_frame(frame, moment),
                Ok(None) => break,
                Err(error) => session.handle_broken(&error),
            }
        }
        requests.extend(std::iter::from_fn(|| session.poll_request()));
        assert!(requests.len() <= 10, "one request of each kind is open");
        while session.poll_notice().is_some() {}
        let now = Now { moment, wall: Timestamp(0) };
        let has_frame = session.has_frame();
        assert_eq!(has_frame, session.poll_frame(now).map(|frame| frame.encode()).is_some());
    }
}

pub(crate) fn welcome(cursor: u64, tip: u64) -> Frame {
    Frame::Welcome(shared::sync::Welcome {
        version: 1,
        history: history(),
        cursor: position(cursor),
        sealed: Seq(cursor.min(tip)),
        time: Timestamp(0),
        program: "hq-server fuzzed".to_owned(),
    })
}

pub(crate) fn acknowledgement(received: u64) -> SignedAcknowledgement {
    Acknowledgement {
        history: history(),
        log: log_id(),
        received: position(received),
        safe: Seq(received / 2),
        posted: Seq(received),
        given: Given::default(),
        at: Timestamp(0),
    }
    .sign(&key(2))
}

pub(crate) fn state(from: u64, to: u64) -> shared::sync::SignedStateBatch {
    let at = |at| StateCursor { handle: 9, at };
    StateBatch::new(SITE, at(from), at(to), to, &[fact(to + 1)]).sign(&key(2))
}

/// A restored HQ's.
pub(crate) fn lives() -> Lives {
    Lives { now: 9, before: vec![StateCursor { handle: 8, at: 1 }] }
}

/// What it told in the life before.
pub(crate) fn given_documents() -> GivenDocuments {
    let key = DocumentKey::first(DocumentId::SiteNotes { site: SITE });
    let at = |at| StateCursor { handle: 8, at };
    let news = vec![
        DocumentNews::Change { key, bytes: vec![1, 2, 3] },
        DocumentNews::Taken { key, hash: ChangeHash([5; 32]) },
    ];
    let told = DocumentBatch { site: SITE, from: at(0), to: at(3), news, heads: Vec::new() };
    let own = |_, _| Ok::<_, Infallible>(Some(vec![4, 5, 6]));
    let Ok(given) = GivenDocuments::new(told.sign(&self::key(2)), own);
    given
}

pub(crate) fn postings(first: u64, groups: u64) -> Postings {
    let mut told = Postings::new(history(), log_id(), Seq(first));
    let outcome = Outcome::Vouchers { month: Month(24_318), first: 1 };
    assert!(told.push(Span { groups, facts_each: 1, outcome }), "there is room");
    told
}

fn edge_answer(request: EdgeRequest, tip: u64) -> EdgeEvent {
    let hq_key = key(2).verifying_key();
    match request {
        EdgeRequest::ReadRun { first, facts_max } => {
            let count = (tip + 1).saturating_sub(first.0).min(facts_max as u64);
            EdgeEvent::RunRead((count > 0).then(|| run(first.0, count)))
        }
        EdgeRequest::ReadSeals { first, .. } => {
            let seal = |last| {
                let Position { last, head } = position(last);
                Seal { log: log_id(), first, last, head, document_head: ChangeHash([0; 32]) }
                    .sign(&key(1))
            };
            EdgeEvent::SealsRead((first.0 <= tip).then(|| seal(tip)).into_iter().collect())
        }
        EdgeRequest::ReadHead(at) => {
            EdgeEvent::HeadRead(if at.0 <= tip { position(at.0).head } else { Head([0; 32]) })
        }
        EdgeRequest::NoteAcknowledgement(signed) => {
            assert!(signed.verify(&hq_key).is_ok(), "HQ said it");
            EdgeEvent::AcknowledgementNoted
        }
        EdgeRequest::ApplyState(signed) => {
            assert!(signed.verify(&hq_key).is_ok(), "HQ said it");
            EdgeEvent::StateApplied
        }
        EdgeRequest::ReadGiven { .. } => EdgeEvent::GivenRead(None),
        EdgeRequest::ReadTold { lives, after: 0, back: None }
            if lives.lack(StateCursor { handle: 8, at: 3 }) =>
        {
            EdgeEvent::ToldRead(Some((1, Box::new(given_documents()))))
        }
        EdgeRequest::ReadTold { .. } => EdgeEvent::ToldRead(None),
        EdgeRequest::ReadChanges { .. } => EdgeEvent::ChangesRead(Vec::new()),
        EdgeRequest::ApplyDocuments(signed) => {
            assert!(signed.verify(&hq_key).is_ok(), "HQ said it");
            EdgeEvent::DocumentsApplied
        }
        EdgeRequest::NotePostings(signed) => {
            assert!(signed.verify(&hq_key).is_ok(), "HQ said it");
            let mut known = PostingsKnown::nothing(history());
            known.take(&signed.postings);
            EdgeEvent::PostingsNoted(known)
        }
    }
}

/// HQ, whose edge may be anybody with a certificate. Whoever it is, facts reach the store in order,
/// once, and only what is stored is acknowledged.
pub fn hq_session(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut stored = script.number();
    let start =
        HqStart { refusal: None, versions: VERSIONS, program: "hq-server fuzzed".to_owned() };
    let mut moment = Moment(0);
    let mut session = HqSession::new(start, HqSettings::default(), moment);
    session.handle_event(HqEvent::AskDocuments(lives()), moment);
    let mut buffer = FrameBuffer::new();
    let mut requests = VecDeque::new();
    for _ in 0..STEPS_MAX {
        let Some(what) = script.byte() else { break };
        match what % 12 {
            0 => buffer.push(script.bytes()),
            1 => buffer.push(&script.framed()),
            2 => buffer.push(&hello(script.number()).encode()),
            3 | 4 => {
                let (first, count) = (script.number() + 1, script.number() + 1);
                buffer.push(&Frame::Facts(FactsFrame::pack(&run(first, count))).encode());
            }
            5 => {
                let cursor = StateCursor { handle: 9, at: script.number() };
                buffer.push(&Frame::StateTaken(cursor).encode());
            }
            6 => moment = moment.after_ms(script.number() * 1_000),
            7 => session.handle_event(HqEvent::LevelsChanged, moment),
            8 => session.handle_event(HqEvent::StateChanged, moment),
            9 => session.handle_timeout(moment),
            _ => {
                if let Some(request) = requests.pop_front() {
                    session.handle_event(hq_answer(request, &mut stored), moment);
                }
            }
        }
        while session.wants_frames() && session.end().is_none() {
            match next_frame(&mut buffer) {
                Ok(Some(frame)) => session.handle_frame(frame),
                Ok(None) => break,
                Err(error) => session.handle_broken(&error),
            }
        }
        requests.extend(std::iter::from_fn(|| session.poll_request()));
        assert!(requests.len() <= 10, "one request of each kind is open");
        let has_frame = session.has_frame();
        let frame = session.poll_frame(Now { moment, wall: Timestamp(0) });
        assert_eq!(has_frame, frame.is_some());
        if let Some(Frame::Acknowledgement(signed)) = frame {
            assert!(signed.acknowledgement.received.last <= Seq(stored), "what is stored");
        }
    }
}

pub(crate) fn hello(last: u64) -> Frame {
    Frame::Hello(shared::sync::Hello {
        versions: VERSIONS,
        log: log_id(),
        position: position(last),
        state: StateCursor::START,
        witness: None,
        time: Timestamp(0),
        program: "edge-node fuzzed".to_owned(),
    })
}

fn hq_answer(request: HqRequest, stored: &mut u64) -> HqEvent {
    match request {
        HqRequest::Open(_) | HqRequest::OpenBranch { .. } => HqEvent::Opened(OpenedLog {
            history: history(),
            cursor: position(*stored),
            sealed: Seq::ZERO,
        }),
        HqRequest::Store(run) => {
            assert_eq!(run.first.0, *stored + 1, "facts come in order, once");
            *stored = run.last.0;
            HqEvent::Stored(run.position())
        }
        HqRequest::StoreSeal(seal) => {
            assert!(seal.seal.last <= Seq(*stored), "seals cover stored facts");
            HqEvent::SealStored
        }
        HqRequest::ReadAcknowledgement => HqEvent::AcknowledgementRead(acknowledgement(*stored)),
        HqRequest::ReadState(cursor) => {
            let at = if cursor.handle == 9 { cursor.at } else { 0 };
            HqEvent::StateRead((at < 20).then(|| state(at, 20)))
        }
        HqRequest::TakeBack(_) => HqEvent::TakenBack,
        HqRequest::TakeDocuments(_) => HqEvent::DocumentsBack(true),
        HqRequest::TakeChanges(_) => HqEvent::ChangesTaken(Vec::new()),
        HqRequest::ReadDocuments { .. } => HqEvent::DocumentsRead(None),
        HqRequest::LookUp(_) => HqEvent::Found(Found::new(&[fact(1)], false)),
        HqRequest::Handle(_) => HqEvent::Handled,
        HqRequest::ReadPostings(asked) => {
            let told = Postings::new(history(), log_id(), asked.first);
            HqEvent::PostingsRead(told.sign(&key(2)))
        }
    }
}
