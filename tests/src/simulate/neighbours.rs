//! Neighbours meet: a node that does not reach HQ hands its log to another one, which hands it to HQ
//! when it can, and brings HQ's words back. The meetings, what nodes give, take and believe, and HQ's
//! counter are the real ones; a meeting takes no time, and may break off after any frame.

use edge_node::neighbour::{Counterpart, Peer, Post};
use hq_server::gateway::carry::Counter;
use hq_server::gateway::store;
use shared::ids::Seq;
use shared::sync::bundle::{BundleHead, Direction};
use shared::sync::carry::{CarryEvent, CarryRequest, CarrySession, Declined, Offer};
use shared::sync::{Code, FrameBuffer, Moment, Now, next_frame};
use shared::time::Timestamp;

use super::Wrong;
use super::gate::Gate;
use super::rebuild::Carried;
use super::trace::note;
use super::world::{Event, NodeNo, Place, World};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// All of a meeting happens then.
const MOMENT: Moment = Moment(1);
const NOW: Now = Now { moment: MOMENT, wall: Timestamp(0) };

/// One end of a meeting.
struct End {
    session: CarrySession,
    buffer: FrameBuffer,
    frames: u32,
}

impl End {
    fn new() -> Self {
        let session = CarrySession::new("simulated", MOMENT);
        Self { session, buffer: FrameBuffer::new(), frames: 0 }
    }

    /// What it says goes to the other end; whether there was anything. Nothing comes after so many
    /// frames.
    fn speak(&mut self, other: &mut Self, frames_max: u32) -> bool {
        let mut spoke = false;
        while self.frames < frames_max
            && let Some(frame) = self.session.poll_frame(NOW)
        {
            (spoke, self.frames) = (true, self.frames + 1);
            other.buffer.push(&frame.encode());
        }
        spoke
    }

    fn listen(&mut self) -> bool {
        let mut heard = false;
        while self.session.end().is_none() && self.session.wants_frames() {
            match next_frame(&mut self.buffer) {
                Ok(Some(frame)) => self.session.handle_frame(frame, MOMENT),
                Ok(None) => break,
                Err(error) => self.session.handle_broken(&error),
            }
            heard = true;
        }
        heard
    }
}

/// A node at a meeting.
struct Guest {
    no: NodeNo,
    post: Post,
    with: Counterpart,
    away: bool,
}

impl World {
    /// A node meets another one, which may have a way out.
    pub(super) fn meet_any(&mut self, no: NodeNo) -> Result<(), Wrong> {
        let site = self.places[no.0].node.site;
        let others = self.live_nodes().into_iter();
        let others: Vec<_> = others.filter(|it| self.places[it.0].node.site != site).collect();
        if others.is_empty() || self.places[no.0].is_retired {
            return Ok(());
        }
        let other = *self.random.pick(&others);
        self.meet(no, other)?;
        let wait = self.random.between(SECOND, HOUR);
        self.after(wait, Event::ToHq(other));
        Ok(())
    }

    fn meet(&mut self, one: NodeNo, other: NodeNo) -> Result<(), Wrong> {
        let ends = [(one, other), (other, one)];
        let mut guests = Vec::new();
        for (no, with) in ends {
            let peer = &self.places[with.0].node;
            let peer = Peer::Neighbour(peer.site, peer.device);
            let Some(guest) = self.guest(no, peer)? else { return Ok(()) };
            guests.push(guest);
        }
        let frames_max = self.frames_max();
        let mut ends = [End::new(), End::new()];
        loop {
            let mut goes_on = false;
            for (at, guest) in guests.iter_mut().enumerate() {
                let [mine, theirs] = ends.get_disjoint_mut([at, 1 - at]).expect("two ends");
                goes_on |= mine.listen();
                while let Some(request) = mine.session.poll_request() {
                    goes_on = true;
                    let Some(events) = self.ask_guest(guest, request)? else { return Ok(()) };
                    for event in events {
                        mine.session.handle_event(event, MOMENT);
                    }
                }
                goes_on |= mine.speak(theirs, frames_max);
            }
            if !goes_on {
                break;
            }
        }
        let said = ends.each_ref().map(|end| end.frames);
        note!(self.trace(), "node {} meets node {}: {said:?} frames", one.0, other.0);
        self.trace().figures.meetings += 1;
        for (end, guest) in ends.into_iter().zip(guests) {
            self.leaves(end, &guest)?;
        }
        Ok(())
    }

    fn leaves(&mut self, end: End, guest: &Guest) -> Result<(), Wrong> {
        if let Some(unfinished) = end.session.into_unfinished() {
            guest.post.park(&guest.with, unfinished);
        }
        let accused = guest.post.accused();
        if !accused.is_empty() {
            return Err(Wrong(format!("node {} accuses {accused:?}", guest.no.0)));
        }
        let place = &self.places[guest.no.0];
        let journal = place.node.running.as_ref().map(|running| running.journal.clone());
        let known = journal.and_then(|journal| journal.acknowledgement());
        let Some(said) = known.map(|signed| signed.acknowledgement) else { return Ok(()) };
        if !place.node.has(said.received) {
            return Err(Wrong(format!("node {}: HQ's word is of another log", guest.no.0)));
        }
        if place.is_forked { Ok(()) } else { self.hq.said(&said) }
    }

    /// Some meetings break off.
    fn frames_max(&mut self) -> u32 {
        if !self.is_healed && self.random.chance(1, 4) { self.random.number(12) } else { u32::MAX }
    }

    /// A node for a meeting; `None` where it does not run.
    fn guest(&mut self, no: NodeNo, peer: Peer) -> Result<Option<Guest>, Wrong> {
        let place = &mut self.places[no.0];
        let away = place.link.is_none();
        let keys = self.hq.keys_of(&place.node);
        let post = place.node.post(keys)?;
        Ok(post.map(|post| Guest { no, post, with: Counterpart::new(peer, false), away }))
    }

    /// A node does what a meeting asks, and mostly has an event for it; `None` where its power goes.
    fn ask_guest(
        &mut self,
        guest: &mut Guest,
        request: CarryRequest,
    ) -> Result<Option<Vec<CarryEvent>>, Wrong> {
        let no = guest.no;
        self.finish_turns(no)?;
        let place = &mut self.places[no.0];
        let Some(before) = place.node.reached() else { return Ok(None) };
        let Guest { post, with, away, .. } = guest;
        let said =
            place.node.running.as_ref().and_then(|running| running.journal.acknowledgement());
        let knows_copies = said.is_some_and(|said| said.acknowledgement.safe > Seq::ZERO);
        let kept = match &request {
            CarryRequest::Keep(offer, _) if offer.head.direction == Direction::ToHq => {
                Some(offer.head)
            }
            _ => None,
        };
        let event = place.node.while_served(|| post.perform(with, *away, request))?;
        if let (Some(BundleHead { log, after, last, .. }), Some(CarryEvent::Kept(Ok(())))) =
            (kept, &event)
            && knows_copies
        {
            self.carried.push(Carried { by: no, log, after, last });
        }
        if !place.node.has_power() {
            self.node_lost_power(no);
            return Ok(None);
        }
        self.after_node_turn(no, before)?;
        Ok(Some(event.into_iter().collect()))
    }

    /// A node that reaches HQ hands over what lies there, and takes HQ's answers along.
    pub(super) fn meet_hq(&mut self, no: NodeNo) -> Result<(), Wrong> {
        if self.places[no.0].is_retired {
            return Ok(());
        }
        let link = self.places[no.0].link.and_then(|link| self.links.get(&link));
        let is_there = link.is_some_and(|link| !link.is_cut && link.hq.is_some());
        let (gate, guest) = (self.hq.gate(), self.guest(no, Peer::Hq)?);
        let (Some(gate), Some(mut guest), true) = (gate, guest, is_there) else {
            let later = if self.is_healed { SECOND } else { self.random.between(MINUTE, HOUR) };
            self.after(later, Event::ToHq(no));
            return Ok(());
        };
        self.hand_over(&gate, &mut guest)?;
        // Where HQ's power went meanwhile, everybody notices.
        self.after_hq_turn()?;
        self.sequencer_turn_soon();
        Ok(())
    }

    fn hand_over(&mut self, gate: &Gate, guest: &mut Guest) -> Result<(), Wrong> {
        let node = &self.places[guest.no.0].node;
        let carrier = store::Peer { site: node.site, device: node.device };
        let mut counter = Counter::new(gate.desk(), carrier);
        let frames_max = self.frames_max();
        let (mut edge, mut hq) = (End::new(), End::new());
        loop {
            let mut goes_on = edge.listen();
            while let Some(request) = edge.session.poll_request() {
                goes_on = true;
                let Some(events) = self.ask_guest(guest, request)? else { return Ok(()) };
                for event in events {
                    edge.session.handle_event(event, MOMENT);
                }
            }
            goes_on |= edge.speak(&mut hq, frames_max);
            goes_on |= hq.listen();
            while let Some(request) = hq.session.poll_request() {
                goes_on = true;
                let Some(events) = self.ask_counter(&mut counter, request)? else {
                    return Ok(());
                };
                for event in events {
                    hq.session.handle_event(event, MOMENT);
                }
            }
            goes_on |= hq.speak(&mut edge, frames_max);
            if !goes_on {
                break;
            }
        }
        let said = [edge.frames, hq.frames];
        note!(self.trace(), "node {} meets HQ: {said:?} frames", guest.no.0);
        self.leaves(edge, guest)
    }

    /// HQ does what a meeting asks; `None` where its power goes.
    fn ask_counter(
        &mut self,
        counter: &mut Counter<'_, Gate>,
        request: CarryRequest,
    ) -> Result<Option<Vec<CarryEvent>>, Wrong> {
        Ok(Some(match request {
            CarryRequest::Next => vec![counter.next_event()],
            CarryRequest::Judge(offer) => {
                let judged = counter.judge(&offer);
                if let Err(declined) = &judged {
                    self.may_be_declined(&offer, declined)?;
                }
                vec![CarryEvent::Judged(judged.map(|()| Vec::new()))]
            }
            CarryRequest::Keep(offer, bytes) => {
                let Some(taken) = self.hq.serve(counter.take(&offer, bytes)) else {
                    return Ok(None);
                };
                match taken {
                    Ok(taken) => {
                        self.trace().figures.relayed += taken.new_facts();
                        self.hq.promised_by_bundle(taken.head.log, taken.received)?;
                        if self.random.chance(1, 2) {
                            self.sequencer_turn()?;
                        }
                        counter.answer(&taken);
                        vec![CarryEvent::Kept(Ok(())), CarryEvent::News]
                    }
                    Err(declined) => {
                        self.may_be_declined(&offer, &declined)?;
                        vec![CarryEvent::Kept(Err(declined))]
                    }
                }
            }
            CarryRequest::Note(_) => vec![CarryEvent::Noted(Ok(()))],
            CarryRequest::Given(_) | CarryRequest::Refused(..) => Vec::new(),
        }))
    }

    fn may_be_declined(&self, offer: &Offer, declined: &Declined) -> Result<(), Wrong> {
        let wrote = |place: &Place| place.node.genesis.log_id() == offer.head.log;
        let is_doubtful = self.places.iter().any(|place| place.is_doubtful && wrote(place));
        let may_be = match declined.code {
            Code::HELD => true,
            Code::GAP => self.hq_restores() > 0 || is_doubtful,
            Code::FORK => is_doubtful,
            _ => false,
        };
        if may_be { Ok(()) } else { Err(Wrong(format!("HQ declines a bundle: {}", declined.text))) }
    }
}
