//! A site's machine is lost with its disk. Another one is set up from HQ and begins with the stock that
//! HQ's books have; a clerk enters again from his papers what HQ has not. What neighbours carry of the
//! lost log may come to HQ later, and HQ's people rule then. Stock, journal and depots are the program's
//! own. Invariant: what the copy of HQ's files has of a lost log is at HQ in the end, and what neighbours
//! carry from there on, if they know that HQ copies its files.

use std::collections::BTreeMap;

use hq_server::gateway::answers;
use shared::fact::effective::LogRank;
use shared::ids::{LogId, Seq, SiteNo};
use shared::sync::StockLevel;

use super::Wrong;
use super::faults::Fault;
use super::hq::Running;
use super::trace::note;
use super::world::{Event, NodeNo, Place, World};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A part of a log that lies at a neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    pub(super) by: NodeNo,
    pub(super) log: LogId,
    pub(super) after: Seq,
    pub(super) last: Seq,
}

/// What HQ had when a machine was set up from it.
#[derive(Debug)]
pub(super) struct Rebuilt {
    /// The site's logs; empty where something of them waited, and was not in the stock.
    logs: BTreeMap<LogId, Seq>,
    /// How often HQ's people had ruled.
    ruled: u64,
}

impl Rebuilt {
    /// Whether the books have had no other news of the site's older logs since.
    pub(super) fn holds(&self, log: &LogId, received: Seq, ruled: u64) -> bool {
        self.logs.get(log) == Some(&received) && self.ruled == ruled
    }
}

impl World {
    /// A machine has not long to live; before, some have no way out and meet a neighbour.
    pub(super) fn doom(&mut self, no: NodeNo) {
        if self.places[no.0].is_retired || self.places[no.0].is_doubtful {
            return;
        }
        let wait = self.random.between(MINUTE, self.plan.duration_ms / 10);
        if self.plan.neighbours && self.random.chance(2, 3) {
            self.backup();
            self.cut_off(no);
            let gone = self.time.now() + wait;
            let until = &mut self.places[no.0].offline_until;
            *until = gone.max(*until);
            let met = self.random.between(wait / 2, wait);
            self.after(met / 2, Event::Record(no));
            self.after(met, Event::Meet(no));
            if self.plan.hq_restores && self.random.chance(1, 2) {
                // What the neighbour has handed over by then is in no copy of HQ's files.
                let restored = met + self.random.between(HOUR, 2 * HOUR);
                self.after(restored, Event::Fault(Fault::HqRestore));
            }
        }
        self.after(wait, Event::Lose(no));
    }

    /// It is gone, with everything that lay on it.
    pub(super) fn lose_machine(&mut self, no: NodeNo) {
        let place = &mut self.places[no.0];
        if place.is_retired || place.is_doubtful || self.is_healed {
            return;
        }
        place.node.stop();
        place.node.keeper.open.clear();
        place.is_retired = true;
        let log = place.node.genesis.log_id();
        place.lost = Some(self.copy.as_ref().map_or(Seq::ZERO, |copy| copy.received(&log)));
        note!(self.trace(), "node {}: its machine is lost", no.0);
        self.trace().figures.lost += 1;
        self.node_is_down(no);
        let wait = self.random.between(MINUTE, 3 * HOUR);
        self.after(wait, Event::Rebuild(no));
    }

    /// A new machine is set up from HQ.
    pub(super) fn rebuild(&mut self, old: NodeNo) -> Result<(), Wrong> {
        if !self.hq_can_let_in() {
            self.after(20_000, Event::Rebuild(old));
            return Ok(());
        }
        // Whoever sets it up waits until the books have what HQ has.
        self.hq.flush();
        while self.hq.sequencer_turn() {}
        self.after_hq_turn()?;
        self.tell_sessions()?;
        let (site, groups) = (self.places[old.0].node.site, self.places[old.0].groups_left);
        let Some(hq) = &self.hq.running else {
            // Its power had gone before, and nobody had noticed.
            self.after(20_000, Event::Rebuild(old));
            return Ok(());
        };
        let (levels, logs) = (stock(hq, site, self.hq.now())?, received(hq, site));
        let device = self.hq.give_device();
        let new = self.install(site, device, groups, Some(levels))?;
        let ruled = self.trace().figures.ruled;
        self.places[new.0].rebuilt = Some(Rebuilt { logs, ruled });
        note!(self.trace(), "site {site}: node {} is set up in place of node {}", new.0, old.0);
        let lost = &self.places[old.0].node;
        let has = self.hq.cursor(&lost.genesis.log_id()).map_or(Seq::ZERO, |has| has.last);
        let has = usize::try_from(has.0).expect("a small log");
        let lost = lost.facts.get(has..).unwrap_or_default().to_vec();
        self.enter_again(new, &lost);
        self.restate();
        self.hq_turn_soon();
        // Whoever enrols takes a backup: a restore must not forget the register.
        self.back_up();
        Ok(())
    }

    /// Up to where HQ must have the logs of lost machines in the end.
    pub(super) fn lost_logs(&self) -> Vec<(&Place, Seq)> {
        let lost = self.places.iter().filter_map(|place| Some((place, place.lost?)));
        lost.map(|(place, floor)| {
            let log = place.node.genesis.log_id();
            let live = |it: &&Carried| it.log == log && !self.places[it.by.0].is_retired;
            let mut carried: Vec<&Carried> = self.carried.iter().filter(live).collect();
            carried.sort_unstable_by_key(|it| it.after);
            let goes_on = |at: Seq, it: &Carried| if it.after <= at { at.max(it.last) } else { at };
            (place, carried.into_iter().fold(floor, goes_on))
        })
        .collect()
    }
}

/// What HQ's books have on hand at a site.
fn stock(
    hq: &Running,
    site: SiteNo,
    at: shared::time::Timestamp,
) -> Result<Vec<StockLevel>, Wrong> {
    let stock = answers::site_stock(&hq.intake, hq.sequencer.published(), site, at);
    Ok(stock.map_err(|refusal| Wrong(format!("HQ tells no stock: {}", refusal.text)))?.levels)
}

/// How far HQ has the logs of a site, where its books have all of it.
fn received(hq: &Running, site: SiteNo) -> BTreeMap<LogId, Seq> {
    let logs = hq.intake.logs().into_iter().filter(|log| log.record.site == site);
    let logs: BTreeMap<LogId, Seq> = logs.map(|log| (log.record.log, log.received.last)).collect();
    let ledgers = hq.sequencer.published().ledgers();
    let is_of_site = |rank: LogRank| logs.keys().any(|log| LogRank::of(log) == rank);
    let waits = ledgers.books.waiting().any(|(_, group)| is_of_site(group.log));
    if waits { BTreeMap::new() } else { logs }
}
