//! A connection between an edge node and HQ: the real sessions on both ends, bytes under way between
//! them. Moves frames and requests as the two link drivers do, and decides nothing itself.

use shared::ids::{LogId, Seq};
use shared::segment::packing;
use shared::sync::edge::{
    EdgeEvent, EdgeNotice, EdgeRequest, EdgeSession, EdgeSettings, EdgeStart,
};
use shared::sync::hq::{HqEnd, HqEvent, HqRequest, HqSession, HqSettings, HqStart};
use shared::sync::{
    FactsFrame, Frame, FrameBuffer, Moment, Now, Refusal, VERSIONS, limits, next_frame,
};
use shared::time::Timestamp;

use super::network::{Pipe, Quality};
use super::trace::note;
use super::world::{Event, NodeNo, World};
use super::{Wrong, expect, losses};
use hq_server::gateway::answers;
use hq_server::gateway::store::{HqStore as _, Peer, Place};

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkNo(pub(super) u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) node: NodeNo,
    pub(super) peer: Peer,
    opened: i64,
    pub(super) edge: Option<EdgeHalf>,
    pub(super) hq: Option<HqHalf>,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// Another connection of the installation took its place.
    pub(super) is_taken_over: bool,
    /// Nothing goes through any more, whoever knows it.
    pub(super) is_cut: bool,
}

/// The edge's end.
#[derive(Debug)]
pub(super) struct EdgeHalf {
    pub(super) session: EdgeSession,
    buffer: FrameBuffer,
    timer: Option<i64>,
    /// When it last said or heard something, or something happened at the node.
    spoke: i64,
    quiet_is_due: bool,
}

/// A metered link that is quiet for so long has said everything.
const QUIET_MS: i64 = 3_000;

/// HQ's end.
#[derive(Debug)]
pub(super) struct HqHalf {
    pub(super) session: HqSession,
    buffer: FrameBuffer,
    timer: Option<i64>,
    log: Option<LogId>,
    /// Where facts go, once the edge's log turned out to differ.
    pub(super) branch: Option<Place>,
    pub(super) posted: Seq,
    pub(super) state_at: u64,
    pub(super) documents_at: u64,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

impl Link {
    fn moment(&self, now: i64) -> Moment {
        Moment((now - self.opened).unsigned_abs())
    }

    fn wait(&self, due: Option<Moment>) -> Option<i64> {
        due.map(|due| self.opened + due.0.cast_signed())
    }
}

impl World {
    /// Both ends of a new connection.
    pub(super) fn open_link(&mut self, node: NodeNo, quality: Quality) {
        let no = LinkNo(self.next_link);
        self.next_link += 1;
        self.trace().figures.connections += 1;
        let now = self.time.now();
        let held = &self.places[node.0].node;
        let running = held.running.as_ref().expect("only a running node dials");
        let journal = &running.journal;
        let log = held.genesis.log_id();
        let start = EdgeStart {
            site: held.site,
            log,
            position: journal.position(),
            sealed: journal.sealed(),
            is_copied: self.places[node.0].is_refused,
            state: journal.state_cursor(),
            documents: running.documents.cursor().ok(),
            postings: journal.postings_known(),
            witness: journal.acknowledgement().filter(|signed| signed.acknowledgement.log == log),
            hq_key: self.hq.key.verifying_key(),
            versions: held.versions,
            program: "edge-node simulated".to_owned(),
        };
        let peer = Peer { site: held.site, device: held.device };
        let hq_start = HqStart {
            refusal: None,
            versions: VERSIONS,
            program: "hq-server simulated".to_owned(),
        };
        let (edge, hq) = (
            EdgeSession::new(start, EdgeSettings::default(), Moment(0)),
            HqSession::new(hq_start, HqSettings::default(), Moment(0)),
        );
        self.close_older(peer);
        self.links.retain(|_, link| link.edge.is_some() || link.hq.is_some());
        note!(self.trace(), "node {} connects as link {}", node.0, no.0);
        self.places[node.0].link = Some(no);
        self.links.insert(
            no,
            Link {
                node,
                peer,
                opened: now,
                edge: Some(EdgeHalf {
                    session: edge,
                    buffer: FrameBuffer::new(),
                    timer: None,
                    spoke: now,
                    quiet_is_due: false,
                }),
                hq: Some(HqHalf {
                    session: hq,
                    buffer: FrameBuffer::new(),
                    timer: None,
                    log: None,
                    branch: None,
                    posted: Seq::ZERO,
                    state_at: 0,
                    documents_at: 0,
                }),
                up: Pipe::new(quality, now),
                down: Pipe::new(quality, now),
                is_taken_over: false,
                is_cut: false,
            },
        );
        self.after(0, Event::EdgeTimer(no));
        self.after(0, Event::HqTimer(no));
        if self.places[node.0].rests_ms.is_some() && self.random.chance(1, 8) {
            // Whoever pays for every byte often has a network that stands still.
            let from = now + self.random.between(0, 2_000);
            self.at(from, Event::Stands(no));
        }
    }

    /// Nothing of what a node says arrives for a while.
    pub(super) fn stands(&mut self, no: LinkNo) {
        let until = self.time.now() + self.random.between(2_000, 30_000);
        let Some(link) = self.links.get_mut(&no).filter(|_| !self.is_healed) else { return };
        for at in link.up.hold_until(until) {
            self.at(at, Event::Deliver(no, Way::Up));
        }
    }

    /// A newer connection of an installation takes over.
    fn close_older(&mut self, peer: Peer) {
        let older: Vec<LinkNo> = self
            .links
            .iter()
            .filter(|(_, link)| link.peer == peer && link.hq.is_some())
            .map(|(no, _)| *no)
            .collect();
        for no in older {
            self.links.get_mut(&no).expect("just listed").is_taken_over = true;
            // Until it hears of it the older session goes on with what has arrived.
            let delay = self.random.between(0, 40);
            self.after(delay, Event::HqGone(no));
        }
    }

    fn frame_now(&self, no: LinkNo, wall: Timestamp) -> Now {
        Now { moment: self.links[&no].moment(self.time.now()), wall }
    }

    /// Bytes arrive.
    pub(super) fn deliver(&mut self, no: LinkNo, way: Way) -> Result<(), Wrong> {
        let now = self.time.now();
        let Some(link) = self.links.get_mut(&no).filter(|link| !link.is_cut) else {
            return Ok(());
        };
        match way {
            Way::Up => {
                let bytes = link.up.arrived(now);
                if let Some(hq) = &mut link.hq {
                    hq.buffer.push(&bytes);
                }
                self.pump_hq(no)?;
                // There is room again.
                self.pump_edge(no)
            }
            Way::Down => {
                let bytes = link.down.arrived(now);
                if let Some(edge) = &mut link.edge {
                    edge.buffer.push(&bytes);
                    edge.spoke = now;
                }
                self.pump_edge(no)?;
                self.pump_hq(no)
            }
        }
    }

    fn send(&mut self, no: LinkNo, way: Way, frame: &Frame) {
        let now = self.time.now();
        let link = self.links.get(&no).expect("a session sends on its link");
        let packs_otherwise = self.places[link.node.0].node.device.0.is_multiple_of(3);
        let other = if packs_otherwise && way == Way::Up { packed_otherwise(frame) } else { None };
        let bytes = other.as_ref().unwrap_or(frame).encode();
        self.seen.keep(way, &bytes);
        note!(self.trace(), "link {}: {way:?} {} {}", no.0, frame.name(), bytes.len());
        self.trace().figures.given_back += u64::from(matches!(frame, Frame::GivenBack(_)));
        let link = self.links.get_mut(&no).expect("a session sends on its link");
        if link.is_cut {
            return;
        }
        if let (Way::Up, Some(edge)) = (way, &mut link.edge) {
            edge.spoke = now;
        }
        let pipe = if way == Way::Up { &mut link.up } else { &mut link.down };
        for at in pipe.send(bytes, now, &mut self.random) {
            self.at(at, Event::Deliver(no, way));
        }
    }

    /// The edge's end does whatever it can.
    pub(super) fn pump_edge(&mut self, no: LinkNo) -> Result<(), Wrong> {
        self.edge_takes_frames(no);
        self.edge_notices(no)?;
        self.edge_asks(no)?;
        self.edge_sends(no);
        let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
        let Some(half) = &link.edge else { return Ok(()) };
        if let Some(end) = half.session.end().cloned()
            && !half.session.has_frame()
        {
            let arrival = link.up.last_arrival().max(self.time.now()) + 1;
            link.edge = None;
            self.at(arrival, Event::HqGone(no));
            return expect::edge_ended(self, no, &end);
        }
        let due = link.wait(half.session.timeout());
        self.set_edge_timer(no, due);
        self.set_quiet(no);
        Ok(())
    }

    /// A metered link looks whether it was quiet for long enough.
    fn set_quiet(&mut self, no: LinkNo) {
        let Some(link) = self.links.get_mut(&no) else { return };
        let is_metered = self.places[link.node.0].rests_ms.is_some();
        let Some(half) = link.edge.as_mut().filter(|_| is_metered) else { return };
        let is_new = half.session.is_complete() && !half.quiet_is_due;
        if is_new {
            half.quiet_is_due = true;
            let quiet = half.spoke + QUIET_MS;
            self.at(quiet, Event::EdgeQuiet(no));
        }
    }

    fn set_edge_timer(&mut self, no: LinkNo, due: Option<i64>) {
        let Some(due) = due else { return };
        let half = self.links.get_mut(&no).and_then(|link| link.edge.as_mut());
        let half = half.expect("just looked at");
        if half.timer.is_none_or(|timer| due < timer) {
            half.timer = Some(due);
            self.at(due, Event::EdgeTimer(no));
        }
    }

    fn edge_takes_frames(&mut self, no: LinkNo) {
        let now = self.time.now();
        let Some(link) = self.links.get_mut(&no) else { return };
        let moment = link.moment(now);
        let Some(half) = &mut link.edge else { return };
        while half.session.end().is_none() && half.session.wants_frames() {
            match next_frame(&mut half.buffer) {
                Ok(Some(frame)) => half.session.handle_frame(frame, moment),
                Ok(None) => return,
                Err(error) => half.session.handle_broken(&error),
            }
        }
    }

    fn edge_notices(&mut self, no: LinkNo) -> Result<(), Wrong> {
        loop {
            let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
            let node = link.node;
            let Some(notice) = link.edge.as_mut().and_then(|half| half.session.poll_notice())
            else {
                return Ok(());
            };
            match notice {
                EdgeNotice::Welcomed(welcome) => {
                    note!(self.trace(), "link {}: welcome, {}", no.0, welcome.cursor.last);
                    expect::welcomed(self, node, welcome.cursor)?;
                    let place = &mut self.places[node.0];
                    place.failures = 0;
                    place.node.hear_time(welcome.time);
                    self.node_turn_soon(node);
                }
                EdgeNotice::Acknowledged(said) => expect::acknowledged(self, node, &said)?,
                EdgeNotice::Found(found) => self.found(no, node, &found)?,
                EdgeNotice::HqLost { restored, acknowledged, has } => {
                    note!(self.trace(), "node {}: HQ has {has} of {acknowledged}", node.0);
                    expect::hq_lost(self, restored, acknowledged, has)?;
                }
                EdgeNotice::Forked { common } => expect::forked(self, node, common)?,
            }
        }
    }

    fn edge_asks(&mut self, no: LinkNo) -> Result<(), Wrong> {
        loop {
            let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
            let node = link.node;
            let Some(request) = link.edge.as_mut().and_then(|half| half.session.poll_request())
            else {
                return Ok(());
            };
            let place = &mut self.places[node.0];
            let Some(running) = &place.node.running else { return Ok(()) };
            let reply = match request {
                EdgeRequest::ReadRun { first, facts_max } => {
                    let run = running.journal.run_from(first, facts_max);
                    run.map_or(EdgeEvent::LogUnreadable, EdgeEvent::RunRead)
                }
                EdgeRequest::ReadSeals { first, seals_max } => {
                    let seals = running.journal.seals_from(first, seals_max);
                    seals.map_or(EdgeEvent::LogUnreadable, EdgeEvent::SealsRead)
                }
                EdgeRequest::ReadHead(at) => {
                    let head = running.journal.head_at(at);
                    head.map_or(EdgeEvent::LogUnreadable, EdgeEvent::HeadRead)
                }
                EdgeRequest::NoteAcknowledgement(signed) => {
                    place.node.note(no, signed);
                    self.node_turn_soon(node);
                    continue;
                }
                EdgeRequest::ApplyState(batch) => {
                    losses::may_forget(&self.hq, &place.node, batch.batch.to)?;
                    place.node.apply(no, batch);
                    self.node_turn_soon(node);
                    continue;
                }
                EdgeRequest::ReadGiven { known, after } => {
                    let batch = running.journal.given(&known, after);
                    batch.map_or(EdgeEvent::LogUnreadable, EdgeEvent::GivenRead)
                }
                EdgeRequest::ReadChanges { after, changes_max } => {
                    let changes = running.documents.waiting_changes(after, changes_max);
                    changes.map_or(EdgeEvent::DocumentsFailed, EdgeEvent::ChangesRead)
                }
                EdgeRequest::ReadTold { lives, after, back } => {
                    let given = running.documents.give(&lives, after, back);
                    let given = given.map(|found| found.map(|(no, given)| (no, Box::new(given))));
                    given.map_or(EdgeEvent::DocumentsFailed, EdgeEvent::ToldRead)
                }
                EdgeRequest::ApplyDocuments(signed) => {
                    self.hear_documents(no, node, &signed)?;
                    continue;
                }
                EdgeRequest::NotePostings(signed) => {
                    place.node.note_postings(no, signed);
                    self.node_turn_soon(node);
                    continue;
                }
            };
            let delay = self.random.between(0, 3);
            self.after(delay, Event::EdgeReply(no, Box::new(reply)));
        }
    }

    fn edge_sends(&mut self, no: LinkNo) {
        loop {
            let Some(link) = self.links.get(&no) else { return };
            let wall = self.places[link.node.0].node.clock.wall();
            let now = self.frame_now(no, wall);
            let Some(link) = self.links.get_mut(&no).filter(|link| link.up.has_room()) else {
                return;
            };
            let Some(frame) = link.edge.as_mut().and_then(|half| half.session.poll_frame(now))
            else {
                return;
            };
            self.send(no, Way::Up, &frame);
        }
    }

    /// Tells the edge's end what happened at the edge.
    pub(super) fn edge_event(&mut self, no: LinkNo, event: EdgeEvent) -> Result<(), Wrong> {
        let now = self.time.now();
        let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
        let moment = link.moment(now);
        let Some(half) = &mut link.edge else { return Ok(()) };
        half.session.handle_event(event, moment);
        half.spoke = now;
        self.pump_edge(no)
    }

    /// A metered link leaves once nothing was said for a while and HQ has all.
    pub(super) fn edge_quiet(&mut self, no: LinkNo) -> Result<(), Wrong> {
        let now = self.time.now();
        let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
        let node = link.node;
        let (Some(half), Some(rests)) = (&mut link.edge, self.places[node.0].rests_ms) else {
            return Ok(());
        };
        half.quiet_is_due = false;
        if !half.session.is_complete() {
            return Ok(());
        }
        if now < half.spoke + QUIET_MS || now - self.places[node.0].edited_at < QUIET_MS {
            half.quiet_is_due = true;
            let quiet = half.spoke.max(self.places[node.0].edited_at) + QUIET_MS;
            self.at(quiet, Event::EdgeQuiet(no));
            return Ok(());
        }
        expect::left(self, no)?;
        note!(self.trace(), "link {}: node {} has said everything", no.0, node.0);
        self.trace().figures.rests += 1;
        let link = self.links.get_mut(&no).expect("just looked at");
        link.edge = None;
        let arrival = link.up.last_arrival().max(now) + 1;
        self.at(arrival, Event::HqGone(no));
        self.places[node.0].link = None;
        self.dial_later(node, rests);
        Ok(())
    }

    pub(super) fn edge_timer(&mut self, no: LinkNo) -> Result<(), Wrong> {
        let now = self.time.now();
        let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
        let (moment, is_alive) = (link.moment(now), !link.is_cut && link.hq.is_some());
        let Some(half) = &mut link.edge else { return Ok(()) };
        half.timer = None;
        if is_alive {
            half.session.handle_event(EdgeEvent::NetworkAlive, moment);
        }
        half.session.handle_timeout(moment);
        self.pump_edge(no)
    }

    /// HQ's end does whatever it can.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "what happens ends with what went wrong, here as elsewhere"
    )]
    pub(super) fn pump_hq(&mut self, no: LinkNo) -> Result<(), Wrong> {
        loop {
            let took = self.hq_takes_frames(no);
            let asked = self.hq_asks(no);
            if !took && !asked {
                break;
            }
        }
        self.hq_sends(no);
        let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
        let Some(half) = &link.hq else { return Ok(()) };
        if let Some(end) = half.session.end().cloned()
            && !half.session.has_frame()
        {
            if let HqEnd::Refused(refusal) = &end {
                let (code, node) = (refusal.code, link.node);
                note!(self.trace(), "link {}: HQ refuses node {}: {code}", no.0, node.0);
            }
            self.drop_hq_half(no);
            return Ok(());
        }
        let due = link.wait(half.session.timeout());
        if let Some(due) = due {
            let half = self.links.get_mut(&no).and_then(|link| link.hq.as_mut());
            let half = half.expect("just looked at");
            if half.timer.is_none_or(|timer| due < timer) {
                half.timer = Some(due);
                self.at(due, Event::HqTimer(no));
            }
        }
        Ok(())
    }

    /// HQ's end is closed: the edge hears of it after everything that was sent.
    pub(super) fn drop_hq_half(&mut self, no: LinkNo) {
        let now = self.time.now();
        let Some(link) = self.links.get_mut(&no) else { return };
        link.hq = None;
        let heard_at = link.down.last_arrival().max(now) + 1;
        if !link.is_cut {
            self.at(heard_at, Event::EdgeGone(no));
        }
    }

    fn hq_takes_frames(&mut self, no: LinkNo) -> bool {
        let Some(half) = self.links.get_mut(&no).and_then(|link| link.hq.as_mut()) else {
            return false;
        };
        let mut took = false;
        while half.session.end().is_none() && half.session.wants_frames() {
            match next_frame(&mut half.buffer) {
                Ok(Some(frame)) => half.session.handle_frame(frame),
                Ok(None) => return took,
                Err(error) => half.session.handle_broken(&error),
            }
            took = true;
        }
        took
    }

    fn hq_asks(&mut self, no: LinkNo) -> bool {
        let mut asked = false;
        loop {
            let Some(link) = self.links.get_mut(&no) else { return asked };
            let (moment, peer) = (link.moment(self.time.now()), link.peer);
            let Some(half) = &mut link.hq else { return asked };
            let Some(request) = half.session.poll_request() else { return asked };
            asked = true;
            let log = half.log;
            let event = match (request, log) {
                (HqRequest::Open(hello), _) => {
                    half.log = Some(hello.log);
                    let running = self.hq.running.as_ref().expect("sessions live while HQ runs");
                    if let Some(lives) = running.documents.lives() {
                        half.session.handle_event(HqEvent::AskDocuments(lives), moment);
                    }
                    if let Some(known) = self.hq.asks_back(hello.state) {
                        half.session.handle_event(HqEvent::AskBack(known), moment);
                    }
                    self.hq.open(no, peer, &hello);
                    None
                }
                (HqRequest::OpenBranch { hello, common }, Some(log)) => {
                    self.hq.open_branch(no, log, [hello.position, common]);
                    None
                }
                (HqRequest::Store(run), Some(log)) => {
                    if half.branch.is_some() {
                        self.hq.accept_branch(no, log, run);
                    } else {
                        self.hq.accept(no, log, run);
                    }
                    None
                }
                (HqRequest::StoreSeal(seal), _) => {
                    self.hq.accept_seal(no, seal);
                    None
                }
                (HqRequest::ReadAcknowledgement, Some(log)) => {
                    let running = self.hq.running.as_ref().expect("sessions live while HQ runs");
                    let read = match &half.branch {
                        Some(place) => {
                            running.intake.acknowledgement_at(&log, &place.log, place.position)
                        }
                        None => running.intake.acknowledgement(&log),
                    };
                    read.map(HqEvent::AcknowledgementRead)
                }
                (HqRequest::TakeBack(batch), _) => {
                    self.hq.take_back(no, batch);
                    None
                }
                (HqRequest::ReadState(cursor), _) => {
                    let running = self.hq.running.as_ref().expect("sessions live while HQ runs");
                    let facts_max = *self.random.pick(&[3, 40, limits::STATE_FACTS_MAX]);
                    Some(HqEvent::StateRead(
                        running.intake.state_since(peer.site, cursor, facts_max),
                    ))
                }
                (HqRequest::TakeDocuments(given), _) => {
                    let taken = self.hq.gate().map(|gate| gate.take_documents(&given));
                    self.hq_replies(no, taken.map(|taken| taken.map(HqEvent::DocumentsBack)));
                    continue;
                }
                (HqRequest::TakeChanges(changes), Some(log)) => {
                    let taken = self.hq.gate().map(|gate| gate.take_changes(peer, &log, changes));
                    self.hq_replies(no, taken.map(|taken| taken.map(HqEvent::ChangesTaken)));
                    continue;
                }
                (HqRequest::ReadDocuments { cursor, sent }, Some(log)) => {
                    let gate = self.hq.gate();
                    let read = gate.map(|gate| gate.documents_since(peer, &log, cursor, &sent));
                    self.hq_replies(no, read.map(|read| read.map(HqEvent::DocumentsRead)));
                    continue;
                }
                (HqRequest::LookUp(text), _) => {
                    let running = self.hq.running.as_ref().expect("sessions live while HQ runs");
                    let known = running.sequencer.published().catalogue();
                    Some(HqEvent::Found(answers::look_up(&running.intake, &known, &text)))
                }
                (HqRequest::Handle(items), _) => {
                    self.hq.handle(no, peer.site, items);
                    None
                }
                (HqRequest::ReadPostings(asked), Some(log)) => Some(self.hq.postings(&log, asked)),
                (request, None) => unreachable!("{request:?} comes after the log was opened"),
            };
            match event {
                Some(event) => half.session.handle_event(event, moment),
                None => self.hq_turn_soon(),
            }
        }
    }

    /// What takes HQ a while; `None` where its power is gone.
    fn hq_replies(&mut self, no: LinkNo, reply: Option<Result<HqEvent, Refusal>>) {
        let event = match reply {
            Some(Ok(event)) => event,
            Some(Err(refusal)) => HqEvent::Refused(refusal),
            None => HqEvent::DocumentsChanged,
        };
        let delay = self.random.between(0, 8);
        self.after(delay, Event::HqReply(no, Box::new(event)));
    }

    fn hq_sends(&mut self, no: LinkNo) {
        loop {
            let now = self.time.now();
            let wall = self.hq_clock.wall();
            let Some(link) = self.links.get_mut(&no).filter(|link| link.down.has_room()) else {
                return;
            };
            let now = Now { moment: link.moment(now), wall };
            let Some(frame) = link.hq.as_mut().and_then(|half| half.session.poll_frame(now)) else {
                return;
            };
            self.send(no, Way::Down, &frame);
        }
    }

    /// Tells HQ's end what happened at HQ.
    pub(super) fn hq_event(&mut self, no: LinkNo, event: HqEvent) -> Result<(), Wrong> {
        let now = self.time.now();
        let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
        let moment = link.moment(now);
        let Some(half) = &mut link.hq else { return Ok(()) };
        half.session.handle_event(event, moment);
        self.pump_hq(no)
    }

    pub(super) fn hq_timer(&mut self, no: LinkNo) -> Result<(), Wrong> {
        let now = self.time.now();
        let Some(link) = self.links.get_mut(&no) else { return Ok(()) };
        let moment = link.moment(now);
        let Some(half) = &mut link.hq else { return Ok(()) };
        half.timer = None;
        half.session.handle_timeout(moment);
        self.pump_hq(no)
    }

    /// The books, the keyed state or documents moved: every session that it concerns is told.
    pub(super) fn tell_sessions(&mut self) -> Result<(), Wrong> {
        let Some(running) = &self.hq.running else { return Ok(()) };
        let state_at = *running.intake.state_watch().borrow();
        let documents_at = *running.documents.watch().borrow();
        let mut told = Vec::new();
        for (no, link) in &mut self.links {
            let Some(half) = &mut link.hq else { continue };
            let log = half.branch.map(|place| place.log).or(half.log);
            let posted = log.and_then(|log| running.intake.posted(&log));
            let posted = posted.map_or(Seq::ZERO, |posted| *posted.borrow());
            if std::mem::replace(&mut half.posted, posted) != posted {
                told.push((*no, HqEvent::LevelsChanged));
            }
            if std::mem::replace(&mut half.state_at, state_at) != state_at {
                told.push((*no, HqEvent::StateChanged));
            }
            if std::mem::replace(&mut half.documents_at, documents_at) != documents_at {
                told.push((*no, HqEvent::DocumentsChanged));
            }
        }
        told.into_iter().try_for_each(|(no, event)| self.hq_event(no, event))
    }
}

/// The same facts in other bytes, as another library for compression gives them: here as they are.
fn packed_otherwise(frame: &Frame) -> Option<Frame> {
    const AS_THEY_ARE: u8 = 0;
    let otherwise = |facts: &FactsFrame| {
        let columns = packing::unpack(&facts.packed).ok()?;
        Some(FactsFrame { packed: [&[AS_THEY_ARE], &columns[..]].concat(), ..facts.clone() })
    };
    match frame {
        Frame::Facts(facts) => otherwise(facts).map(Frame::Facts),
        Frame::Early(before, facts) => otherwise(facts).map(|facts| Frame::Early(*before, facts)),
        _ => None,
    }
}
