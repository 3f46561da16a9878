//! Month-end averages: planning what goods leave at in a month before its facts move their pools, or
//! what they bear of a variance that stock carries beyond a standard. Reads facts and pools, and
//! changes neither but to begin a span.
//!
//! Pools stand in dependency order: what arrives in a month from another pool cost there what that
//! pool's month cost. Where transfers or repacks of one month go around a loop, or back into their
//! own pool, what passes around it leaves at the sender's provisional cost.

use std::collections::{BTreeMap, BTreeSet};

use shared::fact::Kind;
use shared::fact::statement::CostMethod;
use shared::ids::CompanyNo;
use shared::time::Month;

use super::Books;
use super::fact_table::{FactRecord, PoolId, PoolStep};
use super::flows::Flows;
use super::pool::{self, PoolState, StockTarget, Traces};
use super::valuation::{Covered, FactId, Plan, Span, SpanCost, Stock, UnitCost};
use super::voucher::Cause;

impl Books {
    /// Averages of a company's months are taken: its pools are folded again.
    pub(super) fn mark_averaged(&mut self, company: CompanyNo) {
        if self.settings.costs_by_month() {
            self.mark_pools(Cause::MonthEnd, |held| held.company == company);
        }
    }

    /// Whether a fact's pool is costed by months, and its month's average is taken.
    pub(super) fn is_averaged(&self, id: FactId) -> bool {
        self.settings.costs_by_month() && {
            let record = &self.facts[id];
            self.is_taken(record) && self.is_by_month(record)
        }
    }

    fn is_taken(&self, record: &FactRecord) -> bool {
        self.periods.of(record.company).averaged() >= Some(record.month)
    }

    fn is_by_month(&self, record: &FactRecord) -> bool {
        match self.method_of(record) {
            Some(CostMethod::MonthEndAverage) => true,
            Some(CostMethod::Standard) => self.settings.carries(record.company),
            _ => false,
        }
    }

    pub(super) fn method_of(&self, record: &FactRecord) -> Option<CostMethod> {
        let at = record.key.effective_at();
        record.category.map(|category| self.settings.method(record.company, category, at))
    }

    /// Whether a fact is costed by months.
    pub(super) fn is_costed_by_month(&self, id: FactId) -> bool {
        self.settings.costs_by_month() && self.is_by_month(&self.facts[id])
    }

    /// Facts may be costed otherwise than when they were placed: notes of every pool whether any of
    /// its facts is costed by months.
    pub(super) fn note_by_month_again(&mut self) {
        for index in 0..self.pools.len() {
            let mut history = self.pools[index].history.iter();
            self.pools[index].folding.by_month = history.any(|id| self.is_costed_by_month(*id));
        }
    }

    /// A fact that is the first of its month in a pool that is costed by months begins the month
    /// there.
    pub(super) fn begin_span(&self, history: &[FactId], state: &mut PoolState, id: FactId) {
        let Some(pool) = state.stock.by_month_mut() else { return };
        let record = &self.facts[id];
        if pool::restates(record) {
            pool.end_span();
            return;
        }
        if pool.month() == Some(record.month) {
            return;
        }
        pool.end_span();
        let span = if self.is_taken(record) {
            self.plan(history, state, record)
        } else {
            Span { month: record.month, cost: pool.provisional(), rest: None }
        };
        if let Some(pool) = state.stock.by_month_mut() {
            pool.begin(span);
        }
    }

    /// The span that begins with a fact: all facts of its month up to one that restates cost, or
    /// goes on by another method.
    fn plan(&self, history: &[FactId], state: &PoolState, first: &FactRecord) -> Span {
        let mut tally = state.clone();
        let carries = tally.stock.carries();
        let pool = tally.stock.by_month_mut().expect("only what is costed by months has spans");
        let (mut plan, earlier) = if carries {
            // Before any month has a rate nothing is borne.
            (Plan::of_variance(pool), pool.last_average().unwrap_or(UnitCost::ZERO))
        } else {
            (Plan::from_opening(pool), pool.earlier_cost())
        };
        pool.begin(Span::tally(first.month, earlier));
        let mut seen = BTreeMap::new();
        let at = history.partition_point(|other| self.facts[*other].key < first.key);
        for id in &history[at..] {
            let record = &self.facts[*id];
            if record.reversed {
                continue;
            }
            let goes_on = record.month == first.month && !pool::restates(record);
            if !goes_on || self.leaves_method(first, record) {
                break;
            }
            self.tally(history, *id, &mut tally, &mut plan, &mut seen);
        }
        plan.span(first.month, earlier)
    }

    fn leaves_method(&self, first: &FactRecord, record: &FactRecord) -> bool {
        let costs = self.settings.methods_vary() && record.step != PoolStep::MoveOut;
        costs && self.method_of(record) != self.method_of(first)
    }

    /// One fact of a span, at no cost but its own.
    fn tally(
        &self,
        history: &[FactId],
        id: FactId,
        tally: &mut PoolState,
        plan: &mut Plan,
        seen: &mut BTreeMap<FactId, StockTarget>,
    ) {
        let record = &self.facts[id];
        let (units, value) = stands_by_month(&tally.stock);
        let held = tally.on_hand(record.site);
        let inflows = self.revalued(id);
        let mut given = self.given(id, &inflows);
        given.counted_from = self.counted_from(history, record);
        // What it answers within the span has no cost yet but this.
        if let Some((answered, origin)) = record.origin.zip(given.origin.as_mut())
            && let Some(target) = seen.get(&answered)
        {
            match record.kind {
                Kind::SupplierReturn => {
                    (origin.cost, origin.price) = (target.worth_of_pool(), -target.counter);
                }
                Kind::Receipt => origin.cost = -(target.worth_of_pool() + target.residue),
                _ => {}
            }
        }
        let stepped = pool::step(tally, id, record, &given, &mut Traces::default());
        let Ok(target) = stepped else { return };
        seen.insert(id, target);
        let (after, worth) = stands_by_month(&tally.stock);
        let (units, value) = (after - units, worth - value);
        if pool::has_own_cost(record, &given) {
            plan.at_own_cost(id, units, value);
        } else {
            plan.at_cost_of_span(id, units);
        }
        // What a closed count takes back leaves, or comes, at the cost of the span.
        let mut traces = Traces::default();
        if self.pin_to_count(history, tally, id, held, &mut traces).is_ok()
            && let Some(Covered { fact: count, .. }) = traces.covered.last()
        {
            plan.at_cost_of_span(*count, stands_by_month(&tally.stock).0 - after);
        }
    }

    /// Finds what passes costs around a loop of one month, among the facts of a ring of pools;
    /// whether its pools pass costs to each other, or to themselves, in any.
    pub(super) fn find_loops(&mut self, ring: &[PoolId], order: &[FactId]) -> bool {
        for id in order {
            self.looped.remove(id);
        }
        let mut around = ring.len() > 1;
        let mut by_month: BTreeMap<Month, Vec<(FactId, PoolId, PoolId)>> = BTreeMap::new();
        for id in order {
            for (from, pools) in self.passed_on(*id) {
                around |= ring.contains(&pools.0);
                let (left, arrived) = (&self.facts[from], &self.facts[*id]);
                if left.month == arrived.month && self.is_by_month(left) {
                    by_month.entry(left.month).or_default().push((from, pools.0, pools.1));
                }
            }
        }
        for links in by_month.into_values() {
            let mut flows = Flows::default();
            for (_, from, to) in &links {
                flows.add(*from, *to);
            }
            let pools: BTreeSet<PoolId> = links.iter().map(|(_, from, _)| *from).collect();
            let rings = flows.rings(&pools.into_iter().collect::<Vec<_>>());
            let together = |from: PoolId, to: PoolId| {
                rings.iter().any(|ring| ring.contains(&from) && ring.contains(&to))
            };
            let looped = links.iter().filter(|(_, from, to)| together(*from, *to));
            self.looped.extend(looped.map(|(id, _, _)| *id));
        }
        around
    }

    /// What left that a fact brings in, from which pool to which.
    fn passed_on(&self, id: FactId) -> Vec<(FactId, (PoolId, PoolId))> {
        let record = &self.facts[id];
        let Some(to) = record.pool.filter(|_| record.is_active()) else { return Vec::new() };
        let from: Vec<FactId> = match record.kind {
            Kind::TransferReceive if record.step == PoolStep::In && !record.between => {
                record.origin.into_iter().collect()
            }
            Kind::RepackIn => {
                let members = self.effect_group(id).into_iter();
                members.filter(|id| self.facts[*id].kind == Kind::RepackOut).collect()
            }
            _ => Vec::new(),
        };
        let left = |from: FactId| {
            let named = &self.facts[from];
            let pool = named.pool.filter(|_| !named.reversed)?;
            Some((from, (pool, to)))
        };
        from.into_iter().filter_map(left).collect()
    }
}

/// Units and value of what is costed by months.
fn stands_by_month(stock: &Stock) -> (i64, i64) {
    stock.by_month().map_or((0, 0), |pool| (pool.quantity(), pool.value()))
}

impl Span {
    /// A span in which only what has a cost of its own costs anything.
    const fn tally(month: Month, earlier: UnitCost) -> Self {
        let cost = SpanCost::Average { average: UnitCost::ZERO, earlier };
        Self { month, cost, rest: None }
    }
}
