//! What goes wrong: power, programs, networks, clocks, files put back or copied, strangers. Each
//! fault picks its victim when it strikes.

use shared::sync::{VERSIONS, Versions};

use super::Wrong;
use super::clock::{MachineClock, START};
use super::hostile;
use super::link::LinkNo;
use super::trace::note;
use super::world::{Event, NodeNo, World};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// 2099-01-01T00:00Z.
const FAR: i64 = 4_070_908_800_000;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An edge node loses its power within its next writes.
    NodePowerCut,
    /// An edge node's program is killed; its machine goes on.
    NodeKill,
    /// An edge node is stopped and started.
    NodeStop,
    HqPowerCut,
    HqKill,
    HqStop,
    /// A connection breaks, at any byte.
    Break,
    /// A connection breaks, and nobody is told.
    Silence,
    /// Packets are lost, or an address changes: the connection goes on later.
    Hold,
    /// A site has no way out, for up to weeks.
    Partition,
    /// Somebody carries a bundle of a site that may have a way out or not.
    Stick,
    /// An edge node meets a neighbour's.
    Meeting,
    /// An edge node's clock is wrong.
    NodeClock,
    /// HQ's clock is wrong.
    HqClock,
    /// An edge node's file is put back to an earlier image.
    PutBack,
    /// A second machine runs with a copy of a node's disk.
    Twin,
    /// An edge node's machine is lost with its disk.
    NodeLost,
    /// HQ is put back to a backup.
    HqRestore,
    /// Somebody who does not keep to the protocol talks to HQ.
    Stranger,
    /// Somebody who is not HQ talks to an edge node.
    FalseHq,
    /// Somebody sends changes of documents that no honest program makes.
    Rubbish,
    /// An edge node speaks a newer version too, or only a newer one for a while.
    OtherVersion,
    /// An installation of a newer program records what HQ does not understand.
    NewerFacts,
}

/// All of them; what happens often stands here often.
pub(super) const FAULTS: &[Fault] = &[
    Fault::NodePowerCut,
    Fault::NodePowerCut,
    Fault::NodeKill,
    Fault::NodeStop,
    Fault::HqPowerCut,
    Fault::HqPowerCut,
    Fault::HqKill,
    Fault::HqStop,
    Fault::Break,
    Fault::Break,
    Fault::Silence,
    Fault::Hold,
    Fault::Partition,
    Fault::Stick,
    Fault::Meeting,
    Fault::NodeClock,
    Fault::HqClock,
    Fault::PutBack,
    Fault::Twin,
    Fault::NodeLost,
    Fault::HqRestore,
    Fault::Stranger,
    Fault::FalseHq,
    Fault::Rubbish,
    Fault::OtherVersion,
    Fault::NewerFacts,
];

impl World {
    pub(super) fn strike(&mut self, fault: Fault) -> Result<(), Wrong> {
        let no = self.any_node();
        note!(self.trace(), "{fault:?} (node {})", no.0);
        match fault {
            Fault::NodePowerCut => self.cut_node(no),
            Fault::NodeKill => {
                if self.places[no.0].node.running.is_some() {
                    self.trace().figures.crashes += 1;
                    self.places[no.0].node.stop();
                    self.node_is_down(no);
                }
            }
            Fault::NodeStop => {
                let was_running = self.places[no.0].node.running.is_some();
                self.places[no.0].node.leave(&mut self.random)?;
                if was_running {
                    self.node_is_down(no);
                }
            }
            Fault::HqPowerCut => {
                if let Some(running) = &self.hq.running {
                    running.power.fail_after(self.random.below(60));
                }
            }
            Fault::HqKill => {
                if self.hq.running.is_some() {
                    self.trace().figures.crashes += 1;
                    self.hq.stop();
                    self.hq_is_down();
                }
            }
            Fault::HqStop => {
                if self.hq.running.is_some() {
                    self.hq.leave();
                    self.hq_is_down();
                }
            }
            Fault::Break => self.break_any(3_000),
            Fault::Silence => self.break_any(90_000),
            Fault::Hold => self.hold_any(),
            Fault::Partition => self.cut_off(no),
            Fault::Stick => {
                if self.random.chance(1, 2) {
                    self.cut_off(no);
                }
                return self.export(no);
            }
            Fault::Meeting => {
                if self.random.chance(1, 2) {
                    self.cut_off(no);
                }
                return self.meet_any(no);
            }
            Fault::NodeClock => self.upset_clock(no),
            Fault::HqClock => {
                let off = *self.random.pick(&[-20 * MINUTE, -DAY, 7 * MINUTE, 3 * HOUR, 0]);
                self.hq_clock.set_ahead(off);
            }
            Fault::PutBack => self.put_back(no),
            Fault::Twin => self.add_twin(no),
            Fault::NodeLost => self.doom(no),
            Fault::HqRestore => return self.restore_hq(),
            Fault::Stranger => return hostile::stranger(self),
            Fault::FalseHq => return hostile::false_hq(self, no),
            Fault::Rubbish => return self.rubbish(),
            Fault::NewerFacts => return self.record_newer(),
            Fault::OtherVersion => {
                let newer = VERSIONS.highest + 1;
                let lowest = if self.random.chance(1, 3) { newer } else { VERSIONS.lowest };
                self.has_other_versions = true;
                self.places[no.0].node.versions = Versions { lowest, highest: newer };
            }
        }
        Ok(())
    }

    /// A site has no way out for a while, but for whoever comes by.
    pub(super) fn cut_off(&mut self, no: NodeNo) {
        let longest = (self.plan.duration_ms / 3).min(40 * DAY);
        let until = self.time.now() + self.random.between(MINUTE, longest);
        self.places[no.0].offline_until = until;
        if let Some(link) = self.places[no.0].link {
            self.break_link(link, 90_000);
        }
        let bundles = if self.plan.sticks { self.random.below(4) } else { 0 };
        for _ in 0..bundles {
            let at = self.random.between(self.time.now(), until);
            self.at(at, Event::Export(no));
        }
        let meetings = if self.plan.neighbours { self.random.below(6) } else { 0 };
        for _ in 0..meetings {
            let at = self.random.between(self.time.now(), until);
            self.at(at, Event::Meet(no));
        }
    }

    fn any_node(&mut self) -> NodeNo {
        let live: Vec<NodeNo> = self.live_nodes();
        // Between two installations a site may have none.
        if live.is_empty() { NodeNo(0) } else { *self.random.pick(&live) }
    }

    pub(super) fn live_nodes(&self) -> Vec<NodeNo> {
        let all = self.places.iter().enumerate();
        all.filter(|(_, place)| !place.is_retired).map(|(no, _)| NodeNo(no)).collect()
    }

    fn cut_node(&mut self, no: NodeNo) {
        if let Some(running) = &self.places[no.0].node.running {
            running.power.fail_after(self.random.below(25));
            // Something is written soon, or it would never go.
            self.after(0, Event::Seal(no));
        }
    }

    fn any_link(&mut self) -> Option<LinkNo> {
        let live: Vec<LinkNo> =
            self.links.iter().filter(|(_, link)| !link.is_cut).map(|(no, _)| *no).collect();
        if live.is_empty() { None } else { Some(*self.random.pick(&live)) }
    }

    fn break_any(&mut self, noticed_ms: i64) {
        if let Some(link) = self.any_link() {
            self.break_link(link, noticed_ms);
        }
    }

    fn hold_any(&mut self) {
        let Some(no) = self.any_link() else { return };
        let until = self.time.now() + self.random.between(100, 80_000);
        let link = self.links.get_mut(&no).expect("just picked");
        let (up, down) = (link.up.hold_until(until), link.down.hold_until(until));
        for at in up {
            self.at(at, Event::Deliver(no, super::link::Way::Up));
        }
        for at in down {
            self.at(at, Event::Deliver(no, super::link::Way::Down));
        }
    }

    fn upset_clock(&mut self, no: NodeNo) {
        let wall = START + self.time.now();
        let (ahead, lasts) = match self.random.below(6) {
            // A board without a battery, until a time server answers.
            0 => (self.random.between(0, HOUR) - wall, self.random.between(MINUTE, 3 * DAY)),
            1 => (FAR - wall, HOUR),
            2 => (-self.random.between(MINUTE, 26 * HOUR), 2 * DAY),
            3 => (self.random.between(MINUTE, 26 * HOUR), 2 * DAY),
            _ => (self.random.between(-9 * MINUTE, 9 * MINUTE), self.plan.duration_ms),
        };
        self.places[no.0].node.clock.set_ahead(ahead);
        self.after(lasts, Event::ClockRights(no));
    }

    /// The file of a node is an earlier one from now on.
    fn put_back(&mut self, no: NodeNo) {
        let Some(image) = self.places[no.0].images.pop() else { return };
        let place = &mut self.places[no.0];
        if place.is_retired {
            return;
        }
        let was_running = place.node.running.is_some();
        place.node.stop();
        place.node.keeper.open.clear();
        let lost = place.node.facts[image.facts()..].to_vec();
        self.enter_again(no, &lost);
        let place = &mut self.places[no.0];
        place.node.put_back(&image);
        place.is_doubtful = true;
        self.hq.forget_levels(no);
        self.trace().figures.restores += 1;
        if self.random.chance(1, 2) {
            // Its way out is mended later: it has recorded more by then than was lost.
            let longest = self.plan.duration_ms / 6;
            let until = self.time.now() + self.random.between(MINUTE, longest);
            self.places[no.0].offline_until = until;
        }
        // What was to be acknowledged later is acknowledged to a node that knows less.
        if was_running {
            self.node_is_down(no);
        }
    }

    fn add_twin(&mut self, no: NodeNo) {
        let place = &mut self.places[no.0];
        if place.is_retired || place.is_doubtful {
            return;
        }
        place.is_doubtful = true;
        let image = place.node.image();
        let name = format!("{}b", place.node.device.0);
        let keeper = place.node.keeper.renamed(name);
        let groups = place.groups_left;
        let clock = MachineClock::new(&self.time);
        let twin = self.places[no.0].node.twin(&image, clock, keeper);
        let twin = self.add(twin, groups);
        self.places[twin.0].is_doubtful = true;
        let found = self.random.between(MINUTE, HOUR);
        self.after(found, Event::StopCopy(twin));
        self.trace().figures.restores += 1;
    }

    fn restore_hq(&mut self) -> Result<(), Wrong> {
        let backup = self.copy.clone().expect("HQ's files are copied from the beginning");
        self.hq.stop();
        self.hq.put_back(&backup, &mut self.random)?;
        // The copy is of this history from here on.
        self.copy = Some(self.hq.backup_of(&backup));
        self.trace().figures.hq_restores += 1;
        self.hq_is_down();
        Ok(())
    }
}
