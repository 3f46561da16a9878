//! The world of a history: virtual time, one event after the other, everything in one thread of
//! control. What happens when is drawn from the seed and from nothing else.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hq_server::gateway::bundle::Known;
use shared::ids::{DeviceNo, LogId, Seq, SiteNo};
use shared::sync::edge::EdgeEvent;
use shared::sync::hq::HqEvent;
use shared::sync::{Position, StockLevel};

use super::clock::{MachineClock, Time};
use super::faults::Fault;
use super::hostile::Seen;
use super::hq::{Backup, Hq, bytes};
use super::keeper::Keeper;
use super::link::{Link, LinkNo, Way};
use super::network::Quality;
use super::newer::Newer;
use super::node::{Answer, Image, Installation, Node};
use super::plan::Plan;
use super::rebuild::{Carried, Rebuilt};
use super::rubbish::Intruder;
use super::stick::{Bound, Stick};
use super::trace::{Trace, note};
use super::{Wrong, check};
use crate::power_cut::{Power, Sync};
use crate::random::Random;

/// How long all may take to agree once nothing is wrong any more.
pub(super) const CONVERGENCE_MS: i64 = 10 * 60_000;

/// How long metered links stay closed once everything is well.
const HEALED_REST_MS: i64 = 20_000;

/// More events than any history has: something goes round in a circle.
const EVENTS_MAX: u64 = 3_000_000;

/// Names a node; also what stays of those that were replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeNo(pub(super) usize);

/// A node and what is around it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing that the others don't")]
pub(super) struct Place {
    pub(super) node: Node,
    pub(super) link: Option<LinkNo>,
    quality: Quality,
    /// How long its disk takes for a commit, at most.
    disk_ms: u64,
    /// No way out before.
    pub(super) offline_until: i64,
    pub(super) failures: u32,
    turn_is_due: bool,
    seal_is_due: bool,
    pub(super) follow_is_due: bool,
    /// When something was last written into its documents.
    pub(super) edited_at: i64,
    /// How long its link stays closed once all is said; it stays open where this is `None`.
    pub(super) rests_ms: Option<i64>,
    pub(super) dials: bool,
    /// How many groups its keeper will still record.
    pub(super) groups_left: u64,
    /// Its file was put back or copied: its log may be another one than HQ has.
    pub(super) is_doubtful: bool,
    /// HQ refused its log as another installation's: from now on it says so.
    pub(super) is_refused: bool,
    /// HQ keeps what it records as a branch, until it is enrolled anew.
    pub(super) is_forked: bool,
    /// Copies of its disk, to be put back.
    pub(super) images: Vec<Image>,
    /// Its machine is lost: the copy of HQ's files has its log up to here.
    pub(super) lost: Option<Seq>,
    /// It was set up from HQ.
    pub(super) rebuilt: Option<Rebuilt>,
    /// It was refused for good, and another installation takes its place.
    pub(super) is_retired: bool,
}

/// What can happen.
#[derive(Debug)]
pub(super) enum Event {
    Record(NodeNo),
    NodeTurn(NodeNo),
    Seal(NodeNo),
    Write(NodeNo),
    Follow(NodeNo),
    StartNode(NodeNo),
    Dial(NodeNo),
    Enrol(NodeNo),
    Replace(NodeNo),
    Lose(NodeNo),
    Rebuild(NodeNo),
    StopCopy(NodeNo),
    Export(NodeNo),
    Meet(NodeNo),
    ToHq(NodeNo),
    Arrives(Box<Stick>, Bound),
    AnswerDue(NodeNo, LogId, Known),
    EdgeReply(LinkNo, Box<EdgeEvent>),
    EdgeTimer(LinkNo),
    EdgeQuiet(LinkNo),
    Stands(LinkNo),
    EdgeGone(LinkNo),
    HqReply(LinkNo, Box<HqEvent>),
    HqTimer(LinkNo),
    HqGone(LinkNo),
    Deliver(LinkNo, Way),
    IntakeTurn,
    SequencerTurn,
    StartHq,
    Desk,
    WriteAtHq,
    LookUp(NodeNo),
    Rule,
    Backup,
    ClockRights(NodeNo),
    Fault(Fault),
    Heal,
    Look,
}

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "each says one thing that the others don't")]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) time: Time,
    queue: BTreeMap<(i64, u64), Event>,
    ticket: u64,
    trace: Rc<RefCell<Trace>>,
    pub(super) plan: Plan,
    pub(super) places: Vec<Place>,
    pub(super) hq: Hq,
    pub(super) hq_clock: Arc<MachineClock>,
    pub(super) links: BTreeMap<LinkNo, Link>,
    pub(super) next_link: u64,
    /// When HQ's people last looked for what was told twice, at the end.
    pub(super) ruled_at: i64,
    /// Tells texts in documents from each other.
    pub(super) next_text: u64,
    intake_turn_is_due: bool,
    sequencer_turn_is_due: bool,
    hq_starts: bool,
    /// What HQ is put back to; `None` before there is any.
    pub(super) copy: Option<Backup>,
    /// What neighbours have taken.
    pub(super) carried: Vec<Carried>,
    pub(super) seen: Seen,
    pub(super) is_healed: bool,
    healed_at: i64,
    pub(super) has_other_versions: bool,
    /// Of the first site, beside its own.
    pub(super) newer: Option<Newer>,
    pub(super) intruder: Option<Intruder>,
}

impl World {
    pub(super) fn new(seed: u64, sites: u32, trace: Rc<RefCell<Trace>>) -> Result<Self, Wrong> {
        let mut random = Random::new(seed);
        let time = Time::default();
        let plan = Plan::draw(sites, &mut random);
        let hq_clock = MachineClock::new(&time);
        let hq = Hq::new(&mut random, Arc::clone(&hq_clock), Sync::Keeps);
        let mut world = Self {
            random,
            time,
            queue: BTreeMap::new(),
            ticket: 0,
            trace,
            plan,
            places: Vec::new(),
            hq,
            hq_clock,
            links: BTreeMap::new(),
            next_link: 1,
            ruled_at: 0,
            next_text: 0,
            intake_turn_is_due: false,
            sequencer_turn_is_due: false,
            hq_starts: false,
            copy: None,
            carried: Vec::new(),
            seen: Seen::default(),
            is_healed: false,
            healed_at: 0,
            has_other_versions: false,
            newer: None,
            intruder: None,
        };
        world.begin()?;
        Ok(world)
    }

    /// How often HQ was put back to a backup.
    pub(super) fn hq_restores(&self) -> u64 {
        self.trace().figures.hq_restores
    }

    pub(super) fn trace(&self) -> RefMut<'_, Trace> {
        self.trace.borrow_mut()
    }

    /// HQ is founded, and each site has an installation.
    fn begin(&mut self) -> Result<(), Wrong> {
        let sites = self.plan.sites;
        let only = self.plan.handled_only;
        let only = (1..=sites).filter(|_| only && self.random.chance(1, 3)).map(SiteNo);
        self.hq.found(sites, only.collect())?;
        for site in 1..=sites {
            let device = self.hq.give_device();
            self.install(SiteNo(site), device, self.plan.groups_each, None)?;
        }
        self.hq.restate(false);
        self.hq_turn_soon();
        self.back_up();
        for (at, fault) in self.plan.faults(&mut self.random) {
            self.at(at, Event::Fault(fault));
        }
        let mut at = 0;
        while at < self.plan.duration_ms {
            at += self.plan.backup_every_ms;
            self.at(at, Event::Backup);
        }
        for _ in 0..self.plan.statements {
            let at = self.random.below(self.plan.duration_ms.unsigned_abs()).cast_signed();
            self.at(at, Event::Desk);
        }
        for _ in 0..self.plan.writes_at_hq {
            let at = self.random.below(self.plan.duration_ms.unsigned_abs()).cast_signed();
            self.at(at, Event::WriteAtHq);
        }
        self.at(self.plan.duration_ms, Event::Heal);
        Ok(())
    }

    /// A new installation of a site, in HQ's register.
    pub(super) fn install(
        &mut self,
        site: SiteNo,
        device: DeviceNo,
        groups: u64,
        levels: Option<Vec<StockLevel>>,
    ) -> Result<NodeNo, Wrong> {
        let new = Installation {
            site,
            device,
            key: SigningKey::from_bytes(&bytes(&mut self.random)),
            random: bytes(&mut self.random),
            levels,
        };
        let keeper = Keeper::new(format!("{}", device.0), &mut self.random);
        let clock = MachineClock::new(&self.time);
        let node = Node::new(new, clock, keeper, Sync::Keeps);
        self.hq.register(&node.genesis)?;
        Ok(self.add(node, groups))
    }

    /// A machine joins the world and starts.
    pub(super) fn add(&mut self, node: Node, groups: u64) -> NodeNo {
        let no = NodeNo(self.places.len());
        let quality = if self.is_healed { Quality::GOOD } else { Quality::draw(&mut self.random) };
        let is_metered = self.plan.metered && self.random.chance(1, 2);
        let rests_ms = (self.plan.duration_ms / *self.random.pick(&[30, 200])).max(60_000);
        let rests_ms = if self.is_healed { HEALED_REST_MS } else { rests_ms };
        self.places.push(Place {
            node,
            link: None,
            quality,
            disk_ms: *self.random.pick(&[2, 10, 40, 900]),
            offline_until: 0,
            failures: 0,
            turn_is_due: false,
            seal_is_due: false,
            follow_is_due: false,
            edited_at: 0,
            rests_ms: is_metered.then_some(rests_ms),
            dials: false,
            groups_left: groups,
            is_doubtful: false,
            is_refused: false,
            is_forked: false,
            images: Vec::new(),
            lost: None,
            rebuilt: None,
            is_retired: false,
        });
        self.after(0, Event::StartNode(no));
        self.record_later(no);
        self.write_later(no);
        if self.plan.handled_only {
            let wait = self.random.between(1_000, self.plan.duration_ms / 4);
            self.after(wait, Event::LookUp(no));
        }
        no
    }

    pub(super) fn at(&mut self, at: i64, event: Event) {
        self.ticket += 1;
        self.queue.insert((at.max(self.time.now()), self.ticket), event);
    }

    pub(super) fn after(&mut self, ms: i64, event: Event) {
        self.at(self.time.now() + ms, event);
    }

    /// Takes events out of what is to come, in their order.
    pub(super) fn take_events(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let wanted: Vec<_> =
            self.queue.iter().filter(|(_, event)| wanted(event)).map(|(key, _)| *key).collect();
        wanted.iter().filter_map(|key| self.queue.remove(key)).collect()
    }

    /// Lets everything happen until all agree.
    pub(super) fn run(&mut self) -> Result<(), Wrong> {
        let mut events = 0;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.time.set(at);
            self.trace().set_now(at);
            events += 1;
            self.trace().figures.events = events;
            if events > EVENTS_MAX {
                return Err(Wrong("the history does not come to an end".to_owned()));
            }
            if matches!(event, Event::Look) && self.look()? {
                break;
            }
            self.happen(event)?;
        }
        let site_ms = self.time.now().unsigned_abs() * u64::from(self.plan.sites);
        self.trace().figures.site_ms = site_ms;
        check::at_the_end(self)
    }

    /// Whether all agree; wrong where that takes too long.
    fn look(&mut self) -> Result<bool, Wrong> {
        match check::agreement(self) {
            Ok(()) => Ok(true),
            Err(why) if self.time.now() - self.healed_at > CONVERGENCE_MS => {
                Err(Wrong(format!("no agreement {CONVERGENCE_MS} ms after healing: {}", why.0)))
            }
            Err(_) => {
                self.send_newer()?;
                self.rule_in_the_end();
                self.after(2_000, Event::Look);
                Ok(false)
            }
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Wrong> {
        match event {
            Event::Record(node) => self.record(node),
            Event::NodeTurn(node) => return self.node_turn(node),
            Event::Seal(node) => self.seal(node),
            Event::Write(node) => return self.write(node),
            Event::Follow(node) => return self.follow(node),
            Event::StartNode(node) => return self.start_node(node),
            Event::Dial(node) => self.dial(node),
            Event::Enrol(node) => return self.enrol_anew(node),
            Event::Replace(node) => self.replace(node),
            Event::Lose(node) => self.lose_machine(node),
            Event::Rebuild(node) => return self.rebuild(node),
            Event::StopCopy(node) => self.stop_copy(node),
            Event::Export(node) => return self.export(node),
            Event::Meet(node) => return self.meet_any(node),
            Event::ToHq(node) => return self.meet_hq(node),
            Event::Arrives(stick, bound) => return self.arrives(stick, bound),
            Event::AnswerDue(node, log, known) => return self.answer_due(node, log, known),
            Event::EdgeReply(link, event) => return self.edge_event(link, *event),
            Event::EdgeTimer(link) => return self.edge_timer(link),
            Event::Stands(link) => self.stands(link),
            Event::EdgeQuiet(link) => return self.edge_quiet(link),
            Event::EdgeGone(link) => self.edge_gone(link),
            Event::HqReply(link, event) => return self.hq_reply(link, *event),
            Event::HqTimer(link) => return self.hq_timer(link),
            Event::HqGone(link) => self.drop_hq_half(link),
            Event::Deliver(link, way) => return self.deliver(link, way),
            Event::IntakeTurn => return self.intake_turn(),
            Event::SequencerTurn => return self.sequencer_turn(),
            Event::StartHq => return self.start_hq(),
            Event::Desk => self.desk(),
            Event::Rule => self.rule(),
            Event::LookUp(node) => return self.look_up(node),
            Event::WriteAtHq => return self.write_at_hq(),
            Event::Backup => self.backup(),
            Event::ClockRights(node) => self.places[node.0].node.clock.set_ahead(0),
            Event::Fault(fault) => return self.strike(fault),
            Event::Heal => self.heal(),
            Event::Look => {}
        }
        Ok(())
    }

    // Nodes.

    fn record_later(&mut self, no: NodeNo) {
        let mean = (self.plan.duration_ms / self.plan.groups_each.cast_signed().max(1)).max(1);
        let delay = match self.random.below(4) {
            0 => self.random.between(0, 200),
            1 => self.random.between(0, mean / 4),
            _ => self.random.between(0, 2 * mean),
        };
        self.after(delay, Event::Record(no));
    }

    fn record(&mut self, no: NodeNo) {
        let sites = self.plan.sites;
        let place = &mut self.places[no.0];
        if place.is_retired || (self.is_healed && place.node.keeper.open.is_empty()) {
            return;
        }
        let groups = if self.random.chance(1, 4) { 1 + self.random.index(8) } else { 1 };
        if place.node.keeper.open.is_empty() {
            if place.groups_left == 0 {
                return;
            }
            place.groups_left -= (groups as u64).min(place.groups_left);
        }
        if place.images.len() < 2 && self.random.chance(1, 10) {
            place.images.push(place.node.image());
        }
        let open = place.node.keeper.open.len();
        place.node.record(groups, sites, &mut self.random);
        if place.node.running.is_some() {
            note!(self.trace(), "node {}: a keeper records, {open} open", no.0);
            self.node_turn_soon(no);
        }
        if self.is_healed {
            return self.after(2_000, Event::Record(no));
        }
        self.record_later(no);
    }

    fn seal(&mut self, no: NodeNo) {
        self.places[no.0].seal_is_due = false;
        let all = self.random.chance(1, 6);
        self.places[no.0].node.seal(all);
        self.node_turn_soon(no);
    }

    /// The disk takes its time; whatever is asked meanwhile goes into the same commit.
    pub(super) fn node_turn_soon(&mut self, no: NodeNo) {
        let place = &mut self.places[no.0];
        if place.node.running.is_none() || std::mem::replace(&mut place.turn_is_due, true) {
            return;
        }
        let delay = self.random.below(place.disk_ms).cast_signed();
        self.after(delay, Event::NodeTurn(no));
    }

    pub(super) fn node_turn(&mut self, no: NodeNo) -> Result<(), Wrong> {
        let place = &mut self.places[no.0];
        place.turn_is_due = false;
        let Some(before) = place.node.reached() else { return Ok(()) };
        let answers = place.node.turn()?;
        if !place.node.has_power() {
            self.node_lost_power(no);
            return Ok(());
        }
        for answer in answers {
            self.answer(no, answer)?;
        }
        self.after_node_turn(no, before)
    }

    /// What came into the journal is told to its connection.
    pub(super) fn after_node_turn(
        &mut self,
        no: NodeNo,
        before: (Position, Seq),
    ) -> Result<(), Wrong> {
        let place = &self.places[no.0];
        let Some(after) = place.node.reached() else { return Ok(()) };
        let link = place.link;
        if after != before {
            let (last, sealed) = (after.0.last, after.1);
            note!(self.trace(), "node {}: {last} recorded, {sealed} sealed", no.0);
        }
        if let Some(link) = link {
            if after.0.last != before.0.last {
                self.edge_event(link, EdgeEvent::Recorded(after.0.last))?;
            }
            if after.1 != before.1 {
                self.edge_event(link, EdgeEvent::Sealed(after.1))?;
            }
        }
        if after.0.last != before.0.last {
            self.follow_later(no);
        }
        self.seal_later(no);
        Ok(())
    }

    /// As the node's own timer does while something is unsealed.
    fn seal_later(&mut self, no: NodeNo) {
        let place = &mut self.places[no.0];
        let Some(running) = &place.node.running else { return };
        let is_unsealed = running.journal.sealed() < running.journal.position().last;
        if is_unsealed && !std::mem::replace(&mut place.seal_is_due, true) {
            let delay = self.random.between(500, 10_000);
            self.after(delay, Event::Seal(no));
        }
    }

    fn answer(&mut self, no: NodeNo, answer: Answer) -> Result<(), Wrong> {
        match answer {
            Answer::Recorded(numbers, answers) => self.places[no.0].node.settle(&numbers, &answers),
            Answer::Sealed(sealed) => {
                sealed.map_err(|error| Wrong(format!("node {}: it does not seal: {error}", no.0)))
            }
            Answer::Noted(link) => self.edge_event(link, EdgeEvent::AcknowledgementNoted),
            Answer::PostingsNoted(link, known) => {
                self.edge_event(link, EdgeEvent::PostingsNoted(known))
            }
            Answer::Applied(link, Ok(_)) => self.edge_event(link, EdgeEvent::StateApplied),
            Answer::Applied(link, Err(error)) => {
                note!(self.trace(), "node {}: state is not taken: {error}", no.0);
                self.edge_event(link, EdgeEvent::StateFailed)
            }
        }
    }

    fn start_node(&mut self, no: NodeNo) -> Result<(), Wrong> {
        if self.places[no.0].is_retired || self.places[no.0].node.running.is_some() {
            return Ok(());
        }
        let power = self.power_for_start();
        let place = &mut self.places[no.0];
        (place.turn_is_due, place.follow_is_due) = (false, false);
        if !place.node.start(&power)? {
            note!(self.trace(), "node {}: the power goes while it starts", no.0);
            self.node_lost_power(no);
            return Ok(());
        }
        let hash = place.node.disk_hash();
        let last = place.node.position().last;
        note!(self.trace(), "node {}: starts with {last} facts, disk {}", no.0, hash.to_hex());
        self.seal_later(no);
        // Before anybody records anything.
        self.follow(no)?;
        if self.places[no.0].node.running.is_none() {
            return Ok(());
        }
        self.dial_later(no, 0);
        if !self.places[no.0].node.keeper.open.is_empty() {
            // A keeper does not wait long before he asks again.
            self.after(3_000, Event::Record(no));
        }
        Ok(())
    }

    /// Some starts do not get far.
    fn power_for_start(&mut self) -> Power {
        let power = Power::steady();
        if !self.is_healed && self.plan.power_cuts && self.random.chance(1, 12) {
            power.fail_after(self.random.below(30));
        }
        power
    }

    pub(super) fn node_lost_power(&mut self, no: NodeNo) {
        self.trace().figures.crashes += 1;
        self.places[no.0].node.lose_power(&mut self.random);
        let hash = self.places[no.0].node.disk_hash();
        note!(self.trace(), "node {}: lost its power, disk {}", no.0, hash.to_hex());
        self.node_is_down(no);
    }

    /// Its connection is gone with it; it starts again some time later.
    pub(super) fn node_is_down(&mut self, no: NodeNo) {
        self.places[no.0].turn_is_due = false;
        if let Some(link) = self.places[no.0].link.take()
            && let Some(held) = self.links.get_mut(&link)
        {
            held.edge = None;
            let noticed = self.random.between(0, 90_000);
            self.after(noticed, Event::HqGone(link));
        }
        let down =
            if self.is_healed { 1_000 } else { self.random.between(200, self.plan.repair_ms) };
        self.after(down, Event::StartNode(no));
    }

    // Connections.

    pub(super) fn dial_later(&mut self, no: NodeNo, ms: i64) {
        if !std::mem::replace(&mut self.places[no.0].dials, true) {
            self.after(ms, Event::Dial(no));
        }
    }

    /// As the link's own backoff does.
    pub(super) fn dial_after_failure(&mut self, no: NodeNo, needs_person: bool) {
        let place = &mut self.places[no.0];
        place.failures = if needs_person { 20 } else { place.failures + 1 };
        let whole = (100u64 << place.failures.min(9)).min(30_000);
        let wait = whole / 2 + self.random.below(whole / 2 + 1);
        self.dial_later(no, wait.cast_signed());
    }

    fn dial(&mut self, no: NodeNo) {
        let now = self.time.now();
        let place = &mut self.places[no.0];
        place.dials = false;
        if place.is_retired || place.node.running.is_none() || place.link.is_some() {
            return;
        }
        if now < place.offline_until {
            // What it tries in between fails.
            let until = place.offline_until - now + self.random.between(0, 30_000);
            return self.dial_later(no, until);
        }
        if self.hq.running.is_none() {
            return self.dial_after_failure(no, false);
        }
        let quality = place.quality;
        self.open_link(no, quality);
    }

    /// The edge hears that its connection is gone.
    fn edge_gone(&mut self, no: LinkNo) {
        let Some(link) = self.links.get_mut(&no) else { return };
        if link.edge.take().is_none() {
            return;
        }
        let (node, taken_over) = (link.node, link.is_taken_over);
        note!(self.trace(), "link {}: node {} hears that it is gone", no.0, node.0);
        self.places[node.0].link = None;
        self.dial_after_failure(node, taken_over);
    }

    // HQ.

    pub(super) fn hq_turn_soon(&mut self) {
        if self.hq.running.is_some() && !std::mem::replace(&mut self.intake_turn_is_due, true) {
            let delay = self.random.between(0, 25);
            self.after(delay, Event::IntakeTurn);
        }
    }

    pub(super) fn sequencer_turn_soon(&mut self) {
        if self.hq.running.is_some() && !std::mem::replace(&mut self.sequencer_turn_is_due, true) {
            let delay = if self.random.chance(1, 20) { 5_000 } else { self.random.between(0, 60) };
            self.after(delay, Event::SequencerTurn);
        }
    }

    fn intake_turn(&mut self) -> Result<(), Wrong> {
        self.intake_turn_is_due = false;
        if self.hq.running.is_none() {
            return Ok(());
        }
        let answers = self.hq.intake_turn();
        if self.hq.is_asked() {
            self.hq_turn_soon();
        }
        for answer in answers {
            if let Some(place) = answer.place
                && let Some(half) = self.links.get_mut(&answer.link).and_then(|it| it.hq.as_mut())
            {
                half.branch = Some(place);
            }
            if let HqEvent::Stored(position) = &answer.event {
                note!(self.trace(), "HQ: has {} of link {}", position.last, answer.link.0);
            }
            self.hq_event(answer.link, answer.event)?;
        }
        // What was answered before the power went has left.
        self.after_hq_turn()?;
        self.sequencer_turn_soon();
        Ok(())
    }

    pub(super) fn sequencer_turn(&mut self) -> Result<(), Wrong> {
        self.sequencer_turn_is_due = false;
        if self.hq.running.is_none() {
            return Ok(());
        }
        let again = self.hq.sequencer_turn();
        self.after_hq_turn()?;
        if again {
            self.tell_sessions()?;
            self.sequencer_turn_soon();
        }
        Ok(())
    }

    /// The power may be gone; the desk may go on.
    pub(super) fn after_hq_turn(&mut self) -> Result<(), Wrong> {
        let Some(running) = &self.hq.running else { return Ok(()) };
        if !running.power.is_on() {
            self.hq_lost_power();
            return Ok(());
        }
        self.hq.check_running()?;
        let told = self.hq.desk_turn()?;
        if self.hq.desk_waits() {
            self.hq_turn_soon();
        }
        told.map_or(Ok(()), |link| self.hq_event(link, HqEvent::Handled))
    }

    fn hq_lost_power(&mut self) {
        self.trace().figures.crashes += 1;
        self.hq.lose_power(&mut self.random);
        note!(self.trace(), "HQ: lost its power, {}", self.hq.disk_hashes());
        self.hq_is_down();
    }

    /// Its ends of all connections are gone; the edges notice sooner or later.
    pub(super) fn hq_is_down(&mut self) {
        let live: Vec<LinkNo> =
            self.links.iter().filter(|(_, link)| link.hq.is_some()).map(|(no, _)| *no).collect();
        for no in live {
            // What left it before may still arrive.
            let is_cut = self.random.chance(1, 2);
            let link = self.links.get_mut(&no).expect("just listed");
            link.hq = None;
            link.is_cut |= is_cut;
            let noticed = self.random.between(0, 90_000);
            self.after(noticed, Event::EdgeGone(no));
        }
        let down =
            if self.is_healed { 1_000 } else { self.random.between(500, self.plan.repair_ms) };
        if !std::mem::replace(&mut self.hq_starts, true) {
            self.after(down, Event::StartHq);
        }
    }

    fn start_hq(&mut self) -> Result<(), Wrong> {
        self.hq_starts = false;
        if self.hq.running.is_some() {
            return Ok(());
        }
        (self.intake_turn_is_due, self.sequencer_turn_is_due) = (false, false);
        let power = self.power_for_start();
        if !self.hq.start(&power)? {
            note!(self.trace(), "HQ: the power goes while it starts");
            self.hq_lost_power();
            return Ok(());
        }
        note!(self.trace(), "HQ: starts, {}", self.hq.disk_hashes());
        self.call_safe();
        // A statement that was cut is made again.
        self.restate();
        self.hq_turn_soon();
        self.sequencer_turn_soon();
        Ok(())
    }

    fn desk(&mut self) {
        match self.random.below(5) {
            0 | 1 => {
                let with_lost = self.nobody_has_more();
                self.hq.want_item(with_lost);
            }
            2 if self.plan.handled_only => {
                let site = SiteNo(1 + self.random.number(self.plan.sites));
                let only = self.random.chance(3, 4);
                self.hq.tell_only_handled(site, only);
            }
            _ => self.hq.rename_item(&mut self.random),
        }
        self.hq_turn_soon();
    }

    /// HQ's people state what is missing.
    pub(super) fn restate(&mut self) {
        let with_lost = self.nobody_has_more();
        self.hq.restate(with_lost);
    }

    /// No node has anything to give back to an HQ that was put back.
    fn nobody_has_more(&self) -> bool {
        let Some(hq) = &self.hq.running else { return false };
        let has_none = |no: &NodeNo| {
            let edge = self.places[no.0].node.running.as_ref();
            edge.is_some_and(|edge| hq.intake.tells(edge.journal.state_cursor()))
        };
        self.live_nodes().iter().all(has_none)
    }

    pub(super) fn backup(&mut self) {
        if self.hq.running.is_some() && !self.is_healed {
            self.back_up();
        }
    }

    /// HQ's files are copied: to this copy it is put back, should it be lost.
    pub(super) fn back_up(&mut self) {
        self.copy = Some(self.hq.backup());
        self.call_safe();
    }

    /// What the copy of HQ's files has is safe.
    fn call_safe(&self) {
        if let Some(copy) = &self.copy {
            self.hq.call_safe(copy);
        }
    }

    /// A person gives a site a new installation in the place of one that was refused.
    fn enrol_anew(&mut self, old: NodeNo) -> Result<(), Wrong> {
        if !self.hq_can_let_in() {
            self.after(20_000, Event::Enrol(old));
            return Ok(());
        }
        let device = self.hq.give_device();
        let (site, groups) = (self.places[old.0].node.site, self.places[old.0].groups_left);
        let new = self.install(site, device, groups, None)?;
        if self.random.chance(1, 2) {
            // On the same machine, with what people wrote there.
            let [old, new] =
                self.places.get_disjoint_mut([old.0, new.0]).expect("two installations");
            new.node.take_over(&old.node);
        }
        note!(self.trace(), "site {site}: node {} takes the place of node {}", new.0, old.0);
        self.restate();
        self.hq_turn_soon();
        // Whoever enrols takes a backup: a restore must not forget the register.
        self.back_up();
        Ok(())
    }

    /// A person enrols a node anew whose log forked, once HQ has all of it.
    fn replace(&mut self, no: NodeNo) {
        if self.places[no.0].is_retired {
            return;
        }
        let link = self.places[no.0].link.and_then(|link| self.links.get(&link));
        // What an HQ that is gone has said does not count: it may have been put back since.
        let link = link.filter(|link| link.hq.is_some());
        let is_at_hq =
            link.and_then(|link| link.edge.as_ref()).is_some_and(|half| half.session.is_complete());
        if !is_at_hq || !self.places[no.0].node.keeper.open.is_empty() || !self.hq_can_let_in() {
            self.after(5_000, Event::Replace(no));
            return;
        }
        note!(self.trace(), "node {} is taken out of use: HQ has all of it", no.0);
        self.places[no.0].node.stop();
        self.node_is_down(no);
        self.places[no.0].is_retired = true;
        let site = self.places[no.0].node.site;
        let lives = self.places.iter().any(|it| it.node.site == site && !it.is_retired);
        if !lives {
            let delay = self.random.between(1_000, 60_000);
            self.after(delay, Event::Enrol(no));
        }
        // What it recorded is nowhere else from here on.
        self.back_up();
    }

    /// A person finds a second machine under one name, and takes it away.
    fn stop_copy(&mut self, no: NodeNo) {
        if self.places[no.0].is_retired {
            return;
        }
        let site = self.places[no.0].node.site;
        let live = self.live_nodes().into_iter();
        if live.filter(|other| self.places[other.0].node.site == site).count() < 2 {
            return;
        }
        if self.places[no.0].is_forked {
            // HQ knows of it, and gets all of it first.
            return self.replace(no);
        }
        note!(self.trace(), "node {} is taken away", no.0);
        self.places[no.0].node.stop();
        self.node_is_down(no);
        self.places[no.0].is_retired = true;
    }

    /// A power that is about to go must not go in the middle of an enrolment.
    pub(super) fn hq_can_let_in(&self) -> bool {
        self.hq.running.as_ref().is_some_and(|running| !running.power.is_failing())
    }

    /// A newer program is enrolled beside the first site's own, and records something.
    pub(super) fn record_newer(&mut self) -> Result<(), Wrong> {
        if self.newer.is_none() {
            if !self.hq_can_let_in() {
                return Ok(());
            }
            let device = self.hq.give_device();
            let newer = Newer::new(SiteNo(1), device, &mut self.random);
            self.hq.register(&newer.genesis)?;
            self.newer = Some(newer);
            self.back_up();
        }
        let now = self.time.now();
        let newer = self.newer.as_mut().expect("just made");
        (0..=self.random.below(3)).for_each(|_| newer.record(now));
        self.send_newer()
    }

    /// What HQ does not have of it, or lost, is sent again.
    fn send_newer(&mut self) -> Result<(), Wrong> {
        if let Some(newer) = &self.newer {
            newer.send(&mut self.hq)?;
            self.hq_turn_soon();
        }
        Ok(())
    }

    // The end.

    /// Nothing is wrong from here on.
    fn heal(&mut self) {
        note!(self.trace(), "everything is well from here on");
        (self.is_healed, self.healed_at) = (true, self.time.now());
        self.take_events(|event| matches!(event, Event::Fault(_)));
        self.hasten_sticks();
        for event in self.take_events(|event| matches!(event, Event::Rebuild(_))) {
            self.after(3_000, event);
        }
        for no in (0..self.places.len()).map(NodeNo) {
            let place = &mut self.places[no.0];
            (place.offline_until, place.quality, place.disk_ms) = (0, Quality::GOOD, 10);
            place.rests_ms = place.rests_ms.map(|_| HEALED_REST_MS);
            place.node.versions = shared::sync::VERSIONS;
            place.node.clock.set_ahead(0);
            place.node.steady();
            if place.is_retired {
                continue;
            }
            self.after(500, Event::StartNode(no));
            // Whoever carries something for a neighbour hands it over, in whatever order.
            for round in 1..=3 {
                self.after(round * 30_000, Event::ToHq(no));
            }
            // A dial may be planned for much later.
            self.places[no.0].dials = false;
            self.dial_later(no, 1_000);
            if !self.places[no.0].node.keeper.open.is_empty() {
                self.after(2_000, Event::Record(no));
            }
        }
        self.hq.steady();
        self.hq_clock.set_ahead(0);
        for no in self.links.keys().copied().collect::<Vec<_>>() {
            self.break_link(no, 1_000);
        }
        self.after(400, Event::StartHq);
        self.after(5_000, Event::Look);
    }

    /// A connection breaks; both ends notice within some time.
    pub(super) fn break_link(&mut self, no: LinkNo, noticed_ms: i64) {
        let Some(link) = self.links.get_mut(&no) else { return };
        if std::mem::replace(&mut link.is_cut, true) {
            return;
        }
        self.trace().figures.broken += 1;
        let (edge, hq) = (self.random.between(0, noticed_ms), self.random.between(0, noticed_ms));
        self.after(edge, Event::EdgeGone(no));
        self.after(hq, Event::HqGone(no));
    }
}
