//! Peers that do not keep to the protocol, on either side. Whatever they say, the session ends with a
//! reason or comes to nothing, and no store holds anything of it.

use std::collections::VecDeque;

use ed25519_dalek::SigningKey;
use hq_server::gateway::answers::open_log;
use hq_server::gateway::store::{HqStore as _, Peer};
use shared::document::{DocumentId, DocumentKey};
use shared::ids::{ChangeHash, DeviceNo, Head, HistoryId, LogId, Seq, SiteNo};
use shared::sync::edge::{EdgeRequest, EdgeSession, EdgeSettings, EdgeStart};
use shared::sync::hq::{HqEvent, HqRequest, HqSession, HqSettings, HqStart};
use shared::sync::{
    Acknowledgement, Code, DocumentBatch, DocumentNews, Frame, FrameBuffer, Given, Hello, Moment,
    Now, Position, StateBatch, StateCursor, VERSIONS, Welcome, next_frame,
};
use shared::time::Timestamp;

use super::Wrong;
use super::hq::bytes;
use super::link::Way;
use super::trace::note;
use super::world::{NodeNo, World};
use crate::random::Random;

/// How many frames of each way are remembered, to be changed and sent again.
const KEPT: usize = 24;

/// Frames that went over some connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
}

impl Seen {
    pub(super) fn keep(&mut self, way: Way, bytes: &[u8]) {
        let kept = if way == Way::Up { &mut self.up } else { &mut self.down };
        if bytes.len() > 20_000 {
            return;
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(bytes.to_vec());
    }
}

/// Changes some bytes, cuts or repeats.
pub(super) fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.index(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, u8::try_from(random.below(256)).expect("a byte")),
            2 => drop(bytes.remove(at)),
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}

fn noise(random: &mut Random) -> Vec<u8> {
    let length = 1 + random.index(600);
    (0..length).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect()
}

/// Somebody talks to HQ: without a log, with another's, or as a node that lost its mind.
pub(super) fn stranger(world: &mut World) -> Result<(), Wrong> {
    if world.hq.running.is_none() {
        return Ok(());
    }
    world.trace().figures.hostile += 1;
    world.hq.flush();
    world.hq_turn_soon();
    let before = cursors(world);
    let no = world.live_nodes().first().copied().unwrap_or(NodeNo(0));
    let (site, device, log, position) = {
        let node = &world.places[no.0].node;
        (node.site, node.device, node.genesis.log_id(), node.position())
    };
    // Another's log under a certificate of its own.
    let claims = world.random.chance(1, 3);
    let peer = if claims {
        Peer { site: SiteNo(site.0 + 1), device: DeviceNo(device.0 + 90) }
    } else {
        Peer { site, device }
    };
    let hello = Frame::Hello(Hello {
        versions: VERSIONS,
        log,
        position,
        state: StateCursor::START,
        witness: None,
        time: Timestamp(0),
        program: "stranger".to_owned(),
    });
    let mut said: Vec<Vec<u8>> = Vec::new();
    match world.random.below(4) {
        0 => said.push(noise(&mut world.random)),
        1 => {
            // Out of order: what comes later comes first.
            said.push(Frame::StateTaken(StateCursor { handle: 9, at: 9 }).encode());
            said.push(hello.encode());
        }
        2 => {
            said.extend([hello.encode(), hello.encode()]);
        }
        _ => {
            said.push(hello.encode());
            for bytes in world.seen.up.clone() {
                said.push(mutated(&bytes, &mut world.random));
            }
        }
    }
    let end = hear(world, peer, said);
    note!(world.trace(), "a stranger says what HQ answers with: {end}");
    if cursors(world) != before {
        return Err(Wrong("HQ stored what a stranger said".to_owned()));
    }
    Ok(())
}

fn cursors(world: &World) -> Vec<(Seq, Head, Seq)> {
    let Some(running) = &world.hq.running else { return Vec::new() };
    let logs = running.intake.logs().into_iter();
    logs.map(|log| (log.received.last, log.received.head, log.sealed)).collect()
}

/// A session at HQ with a peer that only talks; how it ended.
pub(super) fn hear(world: &mut World, peer: Peer, said: Vec<Vec<u8>>) -> String {
    let start =
        HqStart { refusal: None, versions: VERSIONS, program: "hq-server simulated".to_owned() };
    let mut session = HqSession::new(start, HqSettings::default(), Moment(0));
    let mut buffer = FrameBuffer::new();
    let now = Now { moment: Moment(1), wall: Timestamp(0) };
    let mut log = None;
    let link = super::link::LinkNo(u64::MAX);
    for bytes in said {
        buffer.push(&bytes);
        while session.end().is_none() {
            match next_frame(&mut buffer) {
                Ok(Some(frame)) => session.handle_frame(frame),
                Ok(None) => break,
                Err(error) => session.handle_broken(&error),
            }
            while let Some(request) = session.poll_request() {
                let event = match (request, log) {
                    (HqRequest::Open(hello), _) => {
                        log = Some(hello.log);
                        let running = world.hq.running.as_ref();
                        let running = running.expect("somebody talks while HQ runs");
                        let opened = open_log(&running.intake, peer, &hello.log);
                        opened.map_or_else(HqEvent::Refused, HqEvent::Opened)
                    }
                    (HqRequest::Store(run), Some(log)) => {
                        // Facts of the node itself may come again, and are known.
                        world.hq.accept(link, log, run);
                        match world.hq.answer_to(link) {
                            Some(event) => event,
                            None => return "the power went".to_owned(),
                        }
                    }
                    (HqRequest::StoreSeal(seal), _) => {
                        world.hq.accept_seal(link, seal);
                        match world.hq.answer_to(link) {
                            Some(event) => event,
                            None => return "the power went".to_owned(),
                        }
                    }
                    (HqRequest::ReadState(_), _) => HqEvent::StateRead(None),
                    (HqRequest::TakeChanges(changes), Some(log)) => {
                        let Some(gate) = world.hq.gate() else {
                            return "the power went".to_owned();
                        };
                        let taken = gate.take_changes(peer, &log, changes);
                        world.hq.note_decisions();
                        taken.map_or_else(HqEvent::Refused, HqEvent::ChangesTaken)
                    }
                    (HqRequest::ReadDocuments { .. }, _) => HqEvent::DocumentsRead(None),
                    _ => continue,
                };
                session.handle_event(event, now.moment);
            }
            while session.poll_frame(now).is_some() {}
        }
    }
    if session.end().is_none() {
        // Whoever says no hello, or half of one, is sent away.
        session.handle_timeout(Moment(60_000));
    }
    session.end().map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

/// Somebody who is not HQ talks to an edge node.
pub(super) fn false_hq(world: &mut World, no: NodeNo) -> Result<(), Wrong> {
    let node = &world.places[no.0].node;
    let Some(running) = &node.running else { return Ok(()) };
    let journal = running.journal.clone();
    let (position, log, site) = (journal.position(), node.genesis.log_id(), node.site);
    let documents = running.documents.clone();
    let told = || documents.cursor().ok();
    let before = (position, journal.state_cursor(), journal.acknowledgement(), told());
    let start = EdgeStart {
        site,
        log,
        position,
        sealed: journal.sealed(),
        is_copied: false,
        state: journal.state_cursor(),
        documents: told(),
        postings: journal.postings_known(),
        witness: journal.acknowledgement(),
        hq_key: world.hq.key.verifying_key(),
        versions: VERSIONS,
        program: "edge-node simulated".to_owned(),
    };
    world.trace().figures.hostile += 1;
    let history = world.hq.history;
    let mut session = EdgeSession::new(start, EdgeSettings::default(), Moment(0));
    let now = Now { moment: Moment(1), wall: Timestamp(0) };
    drop(session.poll_frame(now));
    let said = false_words(world, &before, (log, history), site);
    let mut buffer = FrameBuffer::new();
    for bytes in said {
        buffer.push(&bytes);
        while session.end().is_none() {
            match next_frame(&mut buffer) {
                Ok(Some(frame)) => session.handle_frame(frame, now.moment),
                Ok(None) => break,
                Err(error) => session.handle_broken(&error),
            }
            while let Some(request) = session.poll_request() {
                let stores = match &request {
                    EdgeRequest::NoteAcknowledgement(signed) => {
                        signed.verify(&world.hq.key.verifying_key()).is_err()
                    }
                    EdgeRequest::ApplyState(signed) => {
                        signed.verify(&world.hq.key.verifying_key()).is_err()
                    }
                    EdgeRequest::NotePostings(signed) => {
                        signed.verify(&world.hq.key.verifying_key()).is_err()
                    }
                    EdgeRequest::ApplyDocuments(signed) => {
                        signed.verify(&world.hq.key.verifying_key()).is_err()
                    }
                    _ => false,
                };
                if stores {
                    return Err(Wrong(format!("node {}: it would keep {request:?}", no.0)));
                }
            }
            while session.poll_frame(now).is_some() {}
        }
    }
    session.handle_timeout(Moment(60_000));
    let end = session.end().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    note!(world.trace(), "somebody is not HQ: {end}");
    let after = (journal.position(), journal.state_cursor(), journal.acknowledgement(), told());
    if after == before { Ok(()) } else { Err(Wrong("a false HQ changed a journal".to_owned())) }
}

type Standing =
    (Position, StateCursor, Option<shared::sync::SignedAcknowledgement>, Option<StateCursor>);

fn false_words(
    world: &mut World,
    (position, state, _, documents): &Standing,
    (log, history): (LogId, HistoryId),
    site: SiteNo,
) -> Vec<Vec<u8>> {
    let other_key = SigningKey::from_bytes(&bytes(&mut world.random));
    let cursor = if world.random.chance(1, 2) {
        *position
    } else {
        Position { last: Seq::ZERO, head: Head([7; 32]) }
    };
    let welcome = Frame::Welcome(Welcome {
        version: VERSIONS.highest,
        history,
        cursor,
        sealed: Seq::ZERO,
        time: Timestamp(0),
        program: "hq-server".to_owned(),
    });
    let forged = Acknowledgement {
        history,
        log,
        received: *position,
        safe: Seq::ZERO,
        posted: position.last,
        at: Timestamp(0),
        given: Given::default(),
    };
    let mut said = vec![welcome.encode()];
    match world.random.below(6) {
        0 => said = vec![noise(&mut world.random)],
        1 => said.push(Frame::Acknowledgement(forged.sign(&other_key)).encode()),
        2 => {
            let to = StateCursor { handle: state.handle + 1, at: 1 };
            let from = StateCursor { handle: state.handle + 1, at: 0 };
            let batch = StateBatch::new(site, from, to, 1, &[]);
            said.push(Frame::State(batch.sign(&other_key)).encode());
        }
        3 => said.push(Frame::Bye(Code::LEAVING).encode()),
        4 => {
            let known = documents.unwrap_or(StateCursor::START);
            let to = StateCursor { at: known.at + 1, ..known };
            let hash = ChangeHash([7; 32]);
            let key = DocumentKey::first(DocumentId::SiteNotes { site });
            let news = vec![DocumentNews::Refused { key, hash, reason: "no".to_owned() }];
            let batch = DocumentBatch { site, from: known, to, news, heads: Vec::new() };
            said.push(Frame::Documents(batch.sign(&other_key)).encode());
        }
        _ => {
            for bytes in world.seen.down.clone() {
                said.push(mutated(&bytes, &mut world.random));
            }
        }
    }
    said
}
