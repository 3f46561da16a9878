//! Entered again by hand: the file of a node was put back, and a clerk enters from his papers what is
//! not there any more, whether HQ has it or not. HQ's people find what was told twice by the number
//! on the paper, and rule: one is the same as the other, or never happened. The rulings are HQ's
//! real ones.

use std::collections::{BTreeMap, BTreeSet};

use edge_node::journal::Line;
use hq_server::gateway::branches::Branches;
use hq_server::gateway::intake::Intake;
use hq_server::own_log::{Desk, Draft, Group};
use hq_server::sequencer::Published;
use shared::fact::statement::{Movement, Statement, parse_fact};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, CompanyNo, LogId, Seq, SiteNo};

use super::Wrong;
use super::hq::{Hq, Running};
use super::keeper::is_unbearable;
use super::trace::note;
use super::world::{NodeNo, World};

const MINUTE: i64 = 60_000;

/// How long HQ's people let pass before they look again, at the end.
const LOOK_MS: i64 = 10_000;

/// Kinds that name nothing else, so that whoever has the paper can enter them.
const BY_HAND: [Kind; 5] =
    [Kind::Receipt, Kind::SaleIssue, Kind::Issue, Kind::Scrap, Kind::Adjustment];

/// What stands on a group's paper, to be entered once more; `None` where nobody could.
fn lines(group: &[Fact]) -> Option<Vec<Line>> {
    let line = |fact: &Fact| {
        let (Ok(stamp), Ok(statement)) = parse_fact(fact) else { return None };
        let Statement::Movement(Movement { kind, .. }) = &statement else { return None };
        let is_by_hand = BY_HAND.contains(kind) && stamp.time_in_doubt == 0;
        let is_known = field::DOCUMENT.of(fact).is_some() && !is_unbearable(fact);
        let line = Line { statement, occurred_at: Some(stamp.occurred_at) };
        (is_by_hand && is_known).then_some(line)
    };
    group.iter().map(line).collect()
}

impl World {
    /// Some of what was lost is entered again, as soon as the node runs.
    pub(super) fn enter_again(&mut self, no: NodeNo, lost: &[Fact]) {
        if self.random.chance(1, 2) {
            return;
        }
        let node = &mut self.places[no.0].node;
        let ends = |fact: &Fact| field::GROUP_LEFT.of(fact).unwrap_or(0) == 0;
        let groups: Vec<_> = lost.split_inclusive(ends).filter_map(lines).collect();
        let mut count = 0;
        for group in groups {
            if self.random.chance(1, 2) {
                node.keeper.enter_again(group);
                count += 1;
            }
        }
        note!(self.trace(), "node {}: a clerk enters {count} groups again", no.0);
        self.trace().figures.again += count;
        let wait = self.random.between(MINUTE, self.plan.duration_ms);
        self.after(wait, super::world::Event::Rule);
    }

    /// Whether a log may have been continued twice, or something entered again.
    pub(super) fn may_count_twice(&self) -> bool {
        let figures = self.trace().figures;
        figures.restores > 0 || figures.again > 0
    }

    /// HQ's people look at logs that were continued twice.
    pub(super) fn rule(&mut self) {
        if !self.may_count_twice() {
            return;
        }
        let chance = self.random.bits();
        if let Some(ruled) = self.hq.rule(chance) {
            note!(self.trace(), "HQ: {ruled}");
            self.trace().figures.ruled += 1;
            self.hq_turn_soon();
        }
    }

    /// The same once everything is well, until nothing is in doubt.
    pub(super) fn rule_in_the_end(&mut self) {
        if self.time.now() - self.ruled_at > LOOK_MS {
            self.ruled_at = self.time.now();
            self.rule();
        }
    }
}

/// A group of a site, as HQ has it.
struct Told {
    log: LogId,
    facts: Vec<Capture>,
}

/// Groups by what stands on their paper, as far as they have an effect. What waits has none yet.
fn with_effect(hq: &Running) -> Result<BTreeMap<Vec<u8>, Vec<Told>>, Wrong> {
    let mut told: BTreeMap<Vec<u8>, Vec<Told>> = BTreeMap::new();
    let ledgers = hq.sequencer.published().ledgers();
    let books = ledgers.books.facts();
    for log in hq.intake.logs().into_iter().filter(|log| log.record.site != SiteNo::HQ) {
        let facts = hq.intake.facts(log.record.no, Seq(1), log.received.last);
        let facts = facts.map_err(|error| Wrong(format!("HQ can't read a log: {error}")))?;
        let ends = |fact: &Fact| field::GROUP_LEFT.of(fact).unwrap_or(0) == 0;
        for group in facts.split_inclusive(ends) {
            let Some(paper) = group.first().and_then(|fact| field::DOCUMENT.of(fact)) else {
                continue;
            };
            let captures = group.iter().filter_map(field::capture);
            let counts =
                |capture: &Capture| books.find(*capture).is_some_and(|id| !books[id].reversed);
            let facts: Vec<_> = captures.filter(counts).collect();
            if !facts.is_empty() {
                told.entry(paper.to_vec()).or_default().push(Told { log: log.record.log, facts });
            }
        }
    }
    told.retain(|_, groups| groups.len() > 1);
    Ok(told)
}

/// Branches that nobody has ruled on.
fn doubtful(intake: &Intake, published: &Published) -> Vec<(LogId, Seq)> {
    let logs = intake.logs().into_iter();
    let branches = logs.filter(|log| Branches::left(&log.record).is_some());
    let open = branches.filter(|log| published.ruled(&log.record.log) < log.received.last);
    open.map(|log| (log.record.log, log.received.last)).collect()
}

/// Whether everything that was told twice counts once, and nothing is in doubt; why not.
pub(super) fn nothing_in_doubt(hq: &Running) -> Result<(), Wrong> {
    if let Some((paper, groups)) = with_effect(hq)?.into_iter().next() {
        let (paper, count) = (String::from_utf8_lossy(&paper).into_owned(), groups.len());
        return Err(Wrong(format!("group {paper} counts {count} times")));
    }
    match doubtful(&hq.intake, hq.sequencer.published()).first() {
        Some((log, last)) => {
            Err(Wrong(format!("nobody has ruled on branch {} up to {last}", log.short())))
        }
        None => Ok(()),
    }
}

/// Facts that HQ's people ruled out, with the rulings: without them all is as it is with them.
pub(super) fn ruled_out<'a>(facts: impl Iterator<Item = &'a Fact>) -> BTreeSet<Capture> {
    let mut out = BTreeSet::new();
    for fact in facts {
        if let Ok(Statement::SameAs { dropped, .. }) = Statement::parse(fact) {
            out.extend([Some(dropped), field::capture(fact)].into_iter().flatten());
        }
    }
    out
}

impl Hq {
    /// Rules on what was told twice, or on branches of which nothing counts twice; what was done, if
    /// there was anything to do and time for it.
    fn rule(&mut self, chance: u64) -> Option<&'static str> {
        let running = self.running.as_ref().filter(|running| running.power.is_on())?;
        if self.desk_waits() {
            return None;
        }
        let twice = with_effect(running).ok()?;
        if twice.is_empty() {
            let branches = doubtful(&running.intake, running.sequencer.published());
            if branches.is_empty() {
                return None;
            }
            self.state_groups(move |published| {
                let mut draft = Draft::new(&published.catalogue());
                for (log, upto) in branches {
                    draft.ruling(log, upto);
                }
                Ok(draft.into_groups())
            });
            return Some("branches were looked at");
        }
        let now = self.now();
        self.state_groups(move |published| {
            let (known, ledgers) = (published.catalogue(), published.ledgers());
            let desk = Desk::new(&known, &ledgers.books, CompanyNo::FIRST, now)
                .map_err(|error| error.to_string())?;
            let mut groups: Vec<Group> = Vec::new();
            for (number, told) in (0..).zip(twice.values()) {
                let is_void = chance >> (number % 64) & 1 == 1;
                let (kept, dropped) = told.split_first().expect("there are two");
                for copy in dropped {
                    groups.extend(drop_copy(&desk, kept, copy, is_void)?);
                }
            }
            Ok(groups)
        });
        Some("what was entered again counts once")
    }
}

/// What drops a copy of a group: line by line the same as the other, or as if it had not happened.
fn drop_copy(
    desk: &Desk<'_>,
    kept: &Told,
    copy: &Told,
    is_void: bool,
) -> Result<Vec<Group>, String> {
    let is_whole = kept.facts.len() == copy.facts.len();
    let of = |(at, capture): (usize, &Capture)| {
        let dropped = capture.to_string();
        let group = if is_void || !is_whole {
            desk.void(&dropped, None)
        } else {
            desk.same_as(&dropped, &kept.facts[at].to_string())
        };
        let log = copy.log.short();
        group.map_err(|error| format!("{dropped} of log {log} is not ruled out: {error}"))
    };
    copy.facts.iter().enumerate().map(of).collect()
}
