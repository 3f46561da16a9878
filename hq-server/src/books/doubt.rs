//! Facts whose clock was in doubt: they wait until HQ states when they happened, by a retime. Knows
//! places in logs and times, and nothing of what facts cost.
//!
//! Invariant: where a fact stands depends on the retimes that are known, never on which of them came
//! first, nor whether they came before the fact. What stands elsewhere is taken back with everything
//! that refers to it, and taken anew.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use shared::fact::effective::LogRank;
use shared::fact::statement::{Allocation, Retime, Stamp, Statement};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, Seq, SiteNo};
use shared::time::Timestamp;
use smallvec::SmallVec;

use super::flows::Flows;
use super::redo::Change;
use super::rules::RETIMES;
use super::valuation::FactId;
use super::voucher::Cause;
use super::{Books, Effects, Parsed, Waiting, Waits};

/// The log and the first fact of a group.
type GroupPlace = (LogRank, Seq);

/// What HQ stated about a range of a log.
#[derive(Clone, Copy, Debug)]
struct Placement {
    /// When and where HQ's log says so: the last one holds.
    stated: (Timestamp, LogRank, Seq),
    retime: Retime,
    at: Timestamp,
}

/// Facts in doubt that follow each other in a log.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    first: Seq,
    last: Seq,
    /// They were recorded after this.
    since: Option<Timestamp>,
    /// And before this, once a fact follows whose clock is trusted.
    until: Option<Timestamp>,
}

/// A group in the books that may have to be taken back.
#[derive(Clone, Debug)]
struct Standing {
    group: Waiting,
    captures: Vec<Capture>,
    refers_to: Vec<Capture>,
}

impl Standing {
    fn is_in_doubt(&self) -> bool {
        self.group.facts.iter().any(is_in_doubt)
    }
}

/// What is known of facts in doubt.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt {
    /// By log, in the order of HQ's logs.
    placed: BTreeMap<LogRank, Vec<Placement>>,
    stretches: BTreeMap<LogRank, Vec<Stretch>>,
    /// Groups that stand at a time that was in doubt, those that refer to one, and those that refer
    /// to what nobody knows yet: it may be in doubt.
    standing: BTreeMap<GroupPlace, Standing>,
    /// Their facts.
    captures: BTreeSet<Capture>,
    /// Facts that wait for a retime.
    waiting: BTreeSet<Capture>,
}

impl Doubt {
    /// When a fact in doubt happened, as HQ says.
    fn time_of(&self, log: LogRank, seq: Seq) -> Option<Timestamp> {
        let mut newest_first = self.placed.get(&log)?.iter().rev();
        newest_first.find(|placed| placed.retime.covers(seq)).map(|placed| placed.at)
    }

    /// How many groups may have to be taken back.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.standing.len()
    }

    fn forget(&mut self, standing: &Standing) {
        for capture in &standing.captures {
            self.captures.remove(capture);
        }
    }

    fn place(&mut self, placement: Placement) {
        let held = self.placed.entry(LogRank::of(&placement.retime.log)).or_default();
        let at = held.partition_point(|other| other.stated < placement.stated);
        held.insert(at, placement);
    }

    /// A fact in doubt came after one that was recorded after `since`.
    pub(super) fn note(&mut self, log: LogRank, seq: Seq, since: Option<Timestamp>) {
        let stretches = self.stretches.entry(log).or_default();
        match stretches.last_mut() {
            Some(open) if open.until.is_none() => open.last = seq,
            _ => stretches.push(Stretch { first: seq, last: seq, since, until: None }),
        }
    }

    /// The clock is trusted again, at a fact that was recorded before `until`.
    pub(super) fn end_stretch(&mut self, log: LogRank, until: Timestamp) {
        if let Some(open) = self.stretches.get_mut(&log).and_then(|all| all.last_mut()) {
            open.until.get_or_insert(until);
        }
    }

    fn stretch_of(&self, log: LogRank, seq: Seq) -> Option<&Stretch> {
        let stretches = self.stretches.get(&log)?;
        let after = stretches.partition_point(|stretch| stretch.first <= seq);
        stretches[..after].last().filter(|stretch| seq <= stretch.last)
    }

    /// A group begins to wait for a retime.
    pub(super) fn begin_waiting(&mut self, group: &Waiting) {
        self.waiting.extend(group.facts.iter().filter_map(field::capture));
    }

    /// It waits no more.
    pub(super) fn stop_waiting(&mut self, group: &Waiting) {
        for capture in group.facts.iter().filter_map(field::capture) {
            self.waiting.remove(&capture);
        }
    }

    /// These groups and all that refer to them, and so on.
    fn with_followers(&self, groups: BTreeSet<GroupPlace>) -> BTreeSet<GroupPlace> {
        let mut followers: BTreeMap<Capture, Vec<GroupPlace>> = BTreeMap::new();
        for (place, standing) in &self.standing {
            for named in &standing.refers_to {
                followers.entry(*named).or_default().push(*place);
            }
        }
        let mut open: Vec<GroupPlace> = groups.iter().copied().collect();
        let mut all = groups;
        while let Some(place) = open.pop() {
            let named = self.standing.get(&place).map_or(&[][..], |it| &it.captures);
            let following = named.iter().filter_map(|capture| followers.get(capture)).flatten();
            open.extend(following.copied().filter(|place| all.insert(*place)));
        }
        all
    }

    /// Groups in doubt that retimes speak of, with the times that hold for their facts.
    fn times_of_standing(
        &self,
        of: impl Fn(&Waiting) -> bool,
    ) -> BTreeMap<GroupPlace, Vec<Option<Timestamp>>> {
        let concerned = self.standing.iter().filter(|(_, standing)| standing.is_in_doubt());
        let concerned = concerned.filter(|(_, standing)| of(&standing.group));
        let times = concerned.map(|((log, first), standing)| {
            let doubtful = (first.0..).zip(&standing.group.facts).filter(|(_, it)| is_in_doubt(it));
            let times = doubtful.map(|(seq, _)| self.time_of(*log, Seq(seq))).collect();
            ((*log, *first), times)
        });
        times.collect()
    }
}

/// A group that waits for a retime, and how closely its time is known.
#[derive(Clone, Copy, Debug)]
pub struct Doubtful<'a> {
    /// The group.
    pub group: &'a Waiting,
    /// It was recorded after this; `None` where no earlier fact of its log says when.
    pub since: Option<Timestamp>,
    /// And before this: when HQ received it, or when a later fact of its log was recorded.
    pub until: Timestamp,
}

impl Books {
    /// Whether anything waits for its time to be stated.
    pub fn has_doubts(&self) -> bool {
        !self.doubt.waiting.is_empty()
    }

    /// Groups that have no value because nobody knows when they happened.
    pub fn in_doubt(&self) -> impl Iterator<Item = Doubtful<'_>> {
        self.waiting.values().filter_map(|group| self.doubt_of(group))
    }

    /// What is known of the time of a group that waits for it.
    pub fn doubt_of<'a>(&self, group: &'a Waiting) -> Option<Doubtful<'a>> {
        if group.why != Waits::TimeInDoubt {
            return None;
        }
        let stretch = self.doubt.stretch_of(group.log, group.first);
        let until = stretch.and_then(|stretch| stretch.until);
        Some(Doubtful {
            group,
            since: stretch.and_then(|stretch| stretch.since),
            until: until.map_or(group.received_at, |until| until.min(group.received_at)),
        })
    }

    /// What HQ stated about facts in doubt: log, range, time; by log, in the order of HQ's logs.
    pub(super) fn placements(&self) -> impl Iterator<Item = (LogRank, Seq, Seq, Timestamp)> {
        self.doubt.placed.iter().flat_map(|(log, placed)| {
            placed.iter().map(|it| (*log, it.retime.first, it.retime.last, it.at))
        })
    }

    /// When a fact in doubt happened, where HQ says so.
    pub fn placed_at(&self, log: LogRank, seq: Seq) -> Option<Timestamp> {
        self.doubt.time_of(log, seq).filter(|_| self.was_in_doubt(log, seq))
    }

    /// Whether a fact that was received was in doubt when it was recorded.
    pub fn was_in_doubt(&self, log: LogRank, seq: Seq) -> bool {
        self.doubt.stretch_of(log, seq).is_some()
    }

    /// When HQ received the group of a fact that was in doubt.
    pub fn doubt_received_at(&self, log: LogRank, seq: Seq) -> Option<Timestamp> {
        let holds = |group: &Waiting| {
            group.log == log && group.first <= seq && seq.0 < group.first.0 + group.len()
        };
        let standing = self.doubt.standing.range(..=(log, seq)).next_back();
        let standing = standing.map(|(_, standing)| &standing.group);
        let mut found = standing.into_iter().chain(self.waiting.values());
        found.find(|group| holds(group)).map(|group| group.received_at)
    }

    /// Why a group waits: what refers to a fact in doubt waits for its time, too.
    pub fn reason(&self, group: &Waiting) -> Waits {
        match group.why {
            Waits::NoReference(capture) if self.doubt.waiting.contains(&capture) => {
                Waits::ReferenceInDoubt(capture)
            }
            _ => group.why.clone(),
        }
    }

    /// The stamps of a group, at the times that HQ states where the clock was in doubt.
    pub(super) fn placed<'s>(
        &self,
        group: &Waiting,
        stamps: &'s [Stamp],
    ) -> Result<Cow<'s, [Stamp]>, Waits> {
        let doubted =
            group.site != SiteNo::HQ && stamps.iter().any(|stamp| stamp.time_in_doubt > 0);
        if !doubted || self.settings.rules() < RETIMES {
            return Ok(Cow::Borrowed(stamps));
        }
        let mut placed = stamps.to_vec();
        for (stamp, seq) in placed.iter_mut().zip(group.first.0..) {
            if stamp.time_in_doubt > 0 {
                let at = self.doubt.time_of(group.log, Seq(seq));
                stamp.occurred_at = at.ok_or(Waits::TimeInDoubt)?;
            }
        }
        Ok(Cow::Owned(placed))
    }

    /// Keeps a group that has effect from now on, where it may have to be taken back one day.
    pub(super) fn note_standing(&mut self, group: &Waiting, facts: &[Fact], parsed: &Parsed) {
        let doubted = group.site != SiteNo::HQ && facts.iter().any(is_in_doubt);
        let named = || parsed.statements.iter().flat_map(references);
        let mut follows = named().any(|(named, kind)| {
            // Only bills are taken before what they name.
            let is_bill = matches!(kind, Kind::SupplierInvoice | Kind::CreditNote);
            let is_early = is_bill && self.facts.find(named).is_none();
            is_early || self.doubt.captures.contains(&named)
        });
        follows |= doubted;
        if !follows {
            return;
        }
        let refers_to = named().map(|(capture, _)| capture).collect();
        let captures: Vec<Capture> = parsed.stamps.iter().map(|stamp| stamp.capture).collect();
        self.doubt.captures.extend(captures.iter().copied());
        let group = Waiting { facts: facts.to_vec(), ..group.clone() };
        let standing = Standing { group, captures, refers_to };
        self.doubt.standing.insert((standing.group.log, standing.group.first), standing);
    }

    /// A bill found what it names: it and what refers to it are kept on only where something is in
    /// doubt.
    pub(super) fn stop_keeping(&mut self, bill: FactId) {
        let mut found = vec![bill];
        while let Some(id) = found.pop() {
            let first = self.facts[self.facts[id].group].key.own_place();
            let place = (first.log, first.seq);
            let Some(standing) = self.doubt.standing.get(&place) else { continue };
            let is_certain = |named: &Capture| {
                self.facts.find(*named).is_some() && !self.doubt.captures.contains(named)
            };
            if standing.is_in_doubt() || !standing.refers_to.iter().all(is_certain) {
                continue;
            }
            if let Some(standing) = self.doubt.standing.remove(&place) {
                self.doubt.forget(&standing);
                let named = standing.captures.iter().filter_map(|named| self.facts.find(*named));
                found.extend(named.flat_map(|named| self.facts.dependents(named)));
            }
        }
    }

    /// Takes HQ's word on when facts happened.
    pub(super) fn take_retimes(
        &mut self,
        group: &Waiting,
        parsed: &Parsed,
        effects: &mut Effects,
    ) -> Result<(), Waits> {
        if group.site != SiteNo::HQ {
            return Err(Waits::NotForASite(Kind::Retime));
        }
        let retimes: Vec<Retime> = parsed.statements.iter().filter_map(retime).collect();
        let concerns = |other: &Waiting| {
            let last = Seq((other.first.0 + other.len()).saturating_sub(1));
            let meets = |retime: &Retime| retime.first <= last && other.first <= retime.last;
            retimes.iter().any(|it| LogRank::of(&it.log) == other.log && meets(it))
        };
        let before = self.doubt.times_of_standing(concerns);
        for ((stamp, retime), seq) in parsed.stamps.iter().zip(&retimes).zip(group.first.0..) {
            let stated = (stamp.recorded_at, group.log, Seq(seq));
            self.doubt.place(Placement { stated, retime: *retime, at: stamp.occurred_at });
        }
        self.master.extend(parsed.stamps.iter().map(|stamp| stamp.capture));
        let mut moved = self.doubt.times_of_standing(concerns);
        moved.retain(|place, times| before.get(place) != Some(&*times));
        let waiting = self.waiting.iter().filter(|(_, other)| concerns(other));
        let mut again: BTreeSet<u64> = waiting.map(|(number, _)| *number).collect();
        again.extend(self.take_back(moved.into_keys().collect(), effects));
        self.release(effects, again);
        Ok(())
    }

    /// Rules that know retimes begin: what older ones took at a time in doubt waits for one.
    pub(super) fn doubt_what_stands(&mut self, effects: &mut Effects) {
        let mut doubted = self.doubt.times_of_standing(|_| true);
        doubted.retain(|_, times| times.contains(&None));
        let again = self.take_back(doubted.into_keys().collect(), effects);
        self.release(effects, again);
    }

    /// Takes groups out of the books, with everything that refers to them, as if none of it had ever
    /// come; they wait from now on, under these numbers.
    fn take_back(&mut self, groups: BTreeSet<GroupPlace>, effects: &mut Effects) -> BTreeSet<u64> {
        if groups.is_empty() {
            return BTreeSet::new();
        }
        let groups = self.doubt.with_followers(groups);
        let standing = groups.iter().filter_map(|place| self.doubt.standing.remove(place));
        let standing: Vec<Standing> = standing.collect();
        let captures = standing.iter().flat_map(|standing| &standing.captures);
        let members: BTreeSet<FactId> =
            captures.filter_map(|capture| self.facts.find(*capture)).collect();
        for standing in &standing {
            self.doubt.forget(standing);
        }
        if self.is_dirty() {
            self.settle(effects);
        }
        self.undo(&members);
        self.settle(effects);
        self.forget(&members);
        let waits = |Standing { group, .. }: Standing| {
            let number = self.waited;
            self.waited += 1;
            self.wait(number, Waiting { why: Waits::TimeInDoubt, again: true, ..group });
            effects.waiting.push(number);
            number
        };
        standing.into_iter().map(waits).collect()
    }

    /// Facts did not happen: what follows from that is posted with the next settle.
    fn undo(&mut self, members: &BTreeSet<FactId>) {
        for id in members {
            self.facts[*id].reversed = true;
            self.touched.insert(*id, Cause::LateFact);
            if let Some(pool) = self.facts[*id].pool {
                self.mark_dirty(pool, Cause::LateFact, Change::Anywhere);
            }
        }
        for id in members {
            let origin = self.facts[*id].origin;
            let is_reversal = self.facts[*id].kind == Kind::Reversal;
            if is_reversal && origin.is_some_and(|origin| !members.contains(&origin)) {
                self.reverse(*id);
            }
            self.follow_reversal(*id);
        }
    }

    /// Takes facts without effect out of everything that knows them.
    fn forget(&mut self, members: &BTreeSet<FactId>) {
        let keeps = |id: &FactId| !members.contains(id);
        let pools: BTreeSet<_> = members.iter().filter_map(|id| self.facts[*id].pool).collect();
        for pool in pools {
            let held = &mut self.pools[pool.index()];
            held.history.retain(keeps);
            held.kept.clear();
            held.last = held.history.last().map(|id| self.facts[*id].key).unwrap_or_default();
            self.mark_dirty(pool, Cause::LateFact, Change::Anywhere);
        }
        for id in members {
            self.layers_out.remove(id);
            self.layers_in.remove(id);
            self.fills.remove(id);
            self.looped.remove(id);
            self.in_transit.forget(*id);
        }
        for list in [&mut self.foreign, &mut self.write_downs, &mut self.between, &mut self.unasked]
        {
            list.retain(keeps);
        }
        for invoices in self.awaited.values_mut() {
            invoices.retain(|(id, _)| keeps(id));
        }
        self.awaited.retain(|_, invoices| !invoices.is_empty());
        for id in members {
            self.facts.forget(*id, keeps);
        }
        self.note_all_flows_again();
    }

    /// Which pools pass costs on to which, from the facts that are left.
    fn note_all_flows_again(&mut self) {
        self.flows = Flows::default();
        for pool in &mut self.pools {
            pool.folding.in_one_pass = !pool.history.iter().any(|id| self.facts[*id].forwarded);
        }
        for id in (0..self.facts.next().0).map(FactId) {
            self.note_flows(id);
        }
        self.note_by_month_again();
    }
}

/// The facts that a statement refers to, and its kind.
fn references(statement: &Statement) -> SmallVec<[(Capture, Kind); 2]> {
    let named: SmallVec<[Capture; 2]> = match statement {
        Statement::Movement(movement) => movement.refers_to.into_iter().collect(),
        Statement::Reversal { refers_to, .. } => [*refers_to].into_iter().collect(),
        Statement::SameAs { dropped, kept } => [*dropped, *kept].into_iter().collect(),
        Statement::SupplierInvoice(line)
        | Statement::CustomerInvoice(line)
        | Statement::CreditNote(line) => [line.refers_to].into_iter().collect(),
        Statement::Allocation(Allocation { open_item, payment, .. }) => {
            [*open_item, *payment].into_iter().collect()
        }
        Statement::LandedCost(landed) => [landed.refers_to].into_iter().collect(),
        Statement::CashDiscount(discount) => [discount.refers_to].into_iter().collect(),
        Statement::Revaluation(stated) => stated.refers_to.into_iter().collect(),
        Statement::Retime(_)
        | Statement::Payment(_)
        | Statement::StandardCost(_)
        | Statement::PeriodAction(_)
        | Statement::WriteDown(_)
        | Statement::MasterData { .. } => SmallVec::new(),
    };
    named.into_iter().map(|capture| (capture, statement.kind())).collect()
}

fn retime(statement: &Statement) -> Option<Retime> {
    match statement {
        Statement::Retime(retime) => Some(*retime),
        _ => None,
    }
}

fn is_in_doubt(fact: &Fact) -> bool {
    field::TIME_IN_DOUBT.of(fact).is_some_and(|doubt| doubt > 0)
}
