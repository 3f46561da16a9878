//! Bundles on a stick: a site that has no way out hands its log to somebody, who carries it for hours
//! or days, loses it, copies it, spills coffee over it; HQ takes what comes and makes an answer, which
//! travels back as badly. Export, import and answer are the real ones, over the journal and the intake
//! of the simulation.

use edge_node::bundle::{ExportError, ImportError, Imported, Since};
use hq_server::gateway::bundle::{BundleRefused, Known, Taken};
use shared::ids::{LogId, Seq};
use shared::sync::{Code, Position};

use super::Wrong;
use super::hostile::mutated;
use super::trace::note;
use super::world::{Event, NodeNo, World};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// A bundle under way.
#[derive(Clone, Debug)]
pub(super) struct Stick {
    /// Who made it, or whom it is for.
    node: NodeNo,
    log: LogId,
    bytes: Vec<u8>,
    /// As it was made.
    is_whole: bool,
    /// It begins where HQ was known to be.
    follows: bool,
}

/// Which way a bundle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    ForHq,
    Home,
}

impl World {
    /// A person makes a bundle of a node's log.
    pub(super) fn export(&mut self, no: NodeNo) -> Result<(), Wrong> {
        self.finish_turns(no)?;
        let since = self.since(no);
        let (keys, place) = (self.hq.keys_of(&self.places[no.0].node), &mut self.places[no.0]);
        let Some(before) = place.node.reached().filter(|_| !place.is_retired) else {
            return Ok(());
        };
        let made = place.node.export(keys, since)?;
        let log = place.node.genesis.log_id();
        if !place.node.has_power() {
            self.node_lost_power(no);
            return Ok(());
        }
        self.after_node_turn(no, before)?;
        match made {
            Ok((head, bytes)) => {
                let (after, last) = (head.after, head.last);
                note!(self.trace(), "node {}: {} on a stick, {after} to {last}", no.0, bytes.len());
                self.trace().figures.bundles += 1;
                let follows = since == Since::Acknowledged;
                let stick = Stick { node: no, log, bytes, is_whole: true, follows };
                self.carry(&stick, Bound::ForHq);
                Ok(())
            }
            Err(ExportError::BeyondEnd { .. }) if self.places[no.0].is_doubtful => Ok(()),
            Err(error) => Err(Wrong(format!("node {}: no bundle is made: {error}", no.0))),
        }
    }

    /// What waits for a journal is done before: bundles ask it alone.
    pub(super) fn finish_turns(&mut self, no: NodeNo) -> Result<(), Wrong> {
        while self.places[no.0].node.is_asked() {
            self.node_turn(no)?;
        }
        Ok(())
    }

    /// Mostly what HQ does not have; some make it of everything, or of what is new to them.
    fn since(&mut self, no: NodeNo) -> Since {
        let last = self.places[no.0].node.position().last.0;
        match self.random.below(8) {
            0 => Since::Fact(Seq::ZERO),
            1 => Since::Fact(Seq(self.random.below(last + 1))),
            _ => Since::Acknowledged,
        }
    }

    /// It is lost, or arrives some time later, or twice, or not as it left.
    fn carry(&mut self, stick: &Stick, bound: Bound) {
        let copies = *self.random.pick(&[0, 1, 1, 1, 1, 2]);
        let slowest = (self.plan.duration_ms / 4).min(10 * DAY);
        for _ in 0..copies {
            let longest = *self.random.pick(&[slowest / 20, slowest / 5, slowest]);
            let longest = longest.max(MINUTE);
            let mut stick = stick.clone();
            if self.random.chance(1, 8) {
                let spoilt = mutated(&stick.bytes, &mut self.random);
                stick.is_whole = spoilt == stick.bytes;
                stick.bytes = spoilt;
            }
            let way =
                if self.is_healed { 2 * SECOND } else { self.random.between(MINUTE, longest) };
            self.after(way, Event::Arrives(Box::new(stick), bound));
        }
    }

    /// Nobody carries anything for long any more; what is under way comes late, but comes.
    pub(super) fn hasten_sticks(&mut self) {
        for event in self.take_events(|event| matches!(event, Event::Arrives(..))) {
            let way = self.random.between(0, 20 * SECOND);
            self.after(way, event);
        }
    }

    /// Somebody is there with a stick.
    pub(super) fn arrives(&mut self, stick: Box<Stick>, bound: Bound) -> Result<(), Wrong> {
        let done = match bound {
            Bound::ForHq => self.bring_to_hq(&stick)?,
            Bound::Home => self.bring_home(&stick)?,
        };
        if !done {
            // He comes again.
            let later = if self.is_healed { SECOND } else { self.random.between(MINUTE, DAY / 4) };
            self.after(later, Event::Arrives(stick, bound));
        }
        Ok(())
    }

    /// HQ takes a bundle; false where it does not run, or its power goes.
    fn bring_to_hq(&mut self, stick: &Stick) -> Result<bool, Wrong> {
        let Some(taken) = self.hq.take_bundle(&stick.bytes) else {
            self.after_hq_turn()?;
            return Ok(false);
        };
        self.sequencer_turn_soon();
        let no = stick.node;
        match taken {
            Ok(taken) => {
                self.trace().figures.carried += taken.new_facts();
                let Taken { before, received, .. } = taken;
                note!(self.trace(), "HQ: node {} on a stick, {received} after {before}", no.0);
                if !stick.is_whole {
                    return Err(Wrong("HQ takes a bundle that is not what was made".to_owned()));
                }
                self.hq.promised_by_bundle(stick.log, received)?;
                let known = taken.carried.known();
                // The books may have it by then, or not.
                let wait = self.random.between(0, MINUTE);
                self.after(wait, Event::AnswerDue(no, stick.log, known));
            }
            Err(refused) => {
                note!(self.trace(), "HQ: a stick of node {} is refused", no.0);
                self.may_be_refused(stick, &refused)?;
            }
        }
        Ok(true)
    }

    fn may_be_refused(&self, stick: &Stick, refused: &BundleRefused) -> Result<(), Wrong> {
        let is_doubtful = self.places[stick.node.0].is_doubtful;
        let may_be = match refused {
            BundleRefused::Gap { .. } => !stick.follows || self.hq_restores() > 0 || is_doubtful,
            BundleRefused::Refused(refusal) => refusal.code == Code::FORK && is_doubtful,
            _ => false,
        };
        if may_be || !stick.is_whole {
            return Ok(());
        }
        Err(Wrong(format!("HQ refuses a bundle of node {}: {refused}", stick.node.0)))
    }

    /// HQ makes an answer, for the way back.
    pub(super) fn answer_due(&mut self, no: NodeNo, log: LogId, known: Known) -> Result<(), Wrong> {
        let seed = super::hq::bytes(&mut self.random);
        let Some(made) = self.hq.bundle_answer(&log, known, seed) else { return Ok(()) };
        let bytes = made.map_err(|error| Wrong(format!("HQ makes no answer: {error}")))?;
        note!(self.trace(), "HQ: an answer to node {}, {}", no.0, bytes.len());
        let stick = Stick { node: no, log, bytes, is_whole: true, follows: false };
        self.carry(&stick, Bound::Home);
        Ok(())
    }

    /// A node takes HQ's answer; false where it does not run, or its power goes.
    fn bring_home(&mut self, stick: &Stick) -> Result<bool, Wrong> {
        let no = stick.node;
        if self.places[no.0].is_retired {
            return Ok(true);
        }
        self.finish_turns(no)?;
        let (keys, place) = (self.hq.keys_of(&self.places[no.0].node), &mut self.places[no.0]);
        let Some(before) = place.node.reached() else { return Ok(false) };
        let taken = place.node.import(keys, &stick.bytes)?;
        if !place.node.has_power() {
            self.node_lost_power(no);
            return Ok(false);
        }
        self.after_node_turn(no, before)?;
        match taken {
            Ok(imported) => self.answer_taken(stick, &imported)?,
            Err(error) => {
                note!(self.trace(), "node {}: an answer is refused", no.0);
                self.answer_may_be_refused(stick, &error)?;
            }
        }
        Ok(true)
    }

    fn answer_taken(&mut self, stick: &Stick, imported: &Imported) -> Result<(), Wrong> {
        let (no, said) = (stick.node, imported.said);
        let Position { last, .. } = said.received;
        note!(self.trace(), "node {}: HQ's answer, {last}, old: {}", no.0, imported.is_old);
        self.trace().figures.answers += 1;
        if !stick.is_whole {
            return Err(Wrong(format!("node {}: it takes an answer that was spoilt", no.0)));
        }
        let place = &self.places[no.0];
        if !place.node.has(said.received) {
            return Err(Wrong(format!("node {}: HQ's answer is of another log", no.0)));
        }
        if place.is_forked { Ok(()) } else { self.hq.said(&said) }
    }

    fn answer_may_be_refused(&self, stick: &Stick, error: &ImportError) -> Result<(), Wrong> {
        let no = stick.node;
        let differs = matches!(error, ImportError::Session(_)) && self.places[no.0].is_doubtful;
        if differs || !stick.is_whole {
            return Ok(());
        }
        Err(Wrong(format!("node {}: it refuses HQ's answer: {error}", no.0)))
    }
}
