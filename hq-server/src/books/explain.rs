//! How the cost of a pool came to be: its facts folded once more, up to a time, each step kept.
//! Changes nothing. Invariant: without an end the last step stands where the pool stands.

use std::collections::BTreeMap;

use shared::ids::SiteNo;
use shared::time::Timestamp;

use super::Books;
use super::fact_table::{FactRecord, PoolId, PoolStep};
use super::pool::{PoolState, Traces};
use super::valuation::{Covered, FactId, Layer, UnitCost};

/// What a fact did in its pool when it was its turn.
#[derive(Clone, Debug)]
pub struct CostStep {
    /// The fact.
    pub fact: FactId,
    /// In, or negative out.
    pub units: i64,
    /// What it brought or took; what was missing provisionally.
    pub value: i64,
    /// Units after it.
    pub quantity_after: i64,
    /// And their value.
    pub value_after: i64,
    /// What it brought or took beyond the standard.
    pub beyond: i64,
    /// And what stands of that after it.
    pub beyond_after: i64,
    /// What is shared of that with a unit of value at standard, where the month's rate is taken.
    pub rate: Option<UnitCost>,
    /// Earlier movements that it gave another cost.
    pub covered: Vec<Covered>,
    /// The layers that left, where the method has layers.
    pub taken: Vec<Layer>,
}

impl Books {
    /// A pool's steps up to a time, that time included, and where it stands then.
    pub fn explain(&self, pool: PoolId, until: Timestamp) -> (Vec<CostStep>, PoolState) {
        let mut state = self.empty(pool);
        let mut steps = Vec::new();
        let history = &self.pools[pool.index()].history;
        for id in history.iter() {
            let record = &self.facts[*id];
            if record.key.effective_at() > until {
                break;
            }
            if !record.is_active() {
                continue;
            }
            let (units, value) = (state.stock.quantity(), state.stock.value());
            let beyond = state.stock.beyond();
            self.make_ready(history, &mut state, *id);
            let mut traces = Traces::default();
            if self.move_pool(history, &mut state, *id, &mut traces).is_err() {
                continue;
            }
            let (quantity_after, value_after) = (state.stock.quantity(), state.stock.value());
            let beyond_after = state.stock.beyond();
            steps.push(CostStep {
                fact: *id,
                units: quantity_after - units,
                value: value_after - value,
                quantity_after,
                value_after,
                beyond: beyond_after - beyond,
                beyond_after,
                rate: state.stock.rate_beyond(),
                covered: traces.covered,
                taken: traces.taken,
            });
        }
        (steps, state)
    }

    /// Units by site, units on their way within the pool, and the value at a time as it is known
    /// now: what the ledger holds of the pool at that time.
    pub fn standing(&self, pool: PoolId, at: Timestamp) -> PoolStanding {
        let mut standing = PoolStanding::default();
        let history = &self.pools[pool.index()].history;
        let active = history.iter().map(|id| &self.facts[*id]).filter(|record| record.is_active());
        let borne = active.clone().filter(|record| record.key.effective_at() <= at);
        for record in borne {
            standing.value += record.target.stock;
            standing.beyond += record.target.beyond;
        }
        // Units move when they moved, whichever month bears what they cost.
        let moved = active.filter(|record| record.moved_at().effective_at() <= at);
        let mut moved: Vec<&FactRecord> = moved.collect();
        moved.sort_by_key(|record| record.moved_at());
        for record in moved {
            standing.take(record);
        }
        standing
    }
}

/// What a pool held at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolStanding {
    /// By site.
    pub sites: BTreeMap<SiteNo, i64>,
    /// Between sites of the pool.
    pub on_the_way: i64,
    /// Minor units.
    pub value: i64,
    /// What is carried beyond the standard.
    pub beyond: i64,
}

impl PoolStanding {
    /// Takes the units of the next fact.
    fn take(&mut self, record: &FactRecord) {
        let held = self.sites.entry(record.site).or_default();
        let units = record.quantity.0;
        match record.step {
            PoolStep::None | PoolStep::Revalue | PoolStep::Restate | PoolStep::AddLate => {}
            PoolStep::In => *held += units,
            PoolStep::Out => *held -= units.abs(),
            PoolStep::Count => *held = units,
            PoolStep::MoveOut => {
                *held -= units;
                self.on_the_way += units;
            }
            PoolStep::MoveIn => {
                *held += units;
                self.on_the_way -= record.taken_over.units;
            }
        }
    }

    /// Units in all.
    pub fn quantity(&self) -> i64 {
        self.sites.values().sum::<i64>() + self.on_the_way
    }
}
