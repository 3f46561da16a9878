//! What becomes known after the stock of its month was closed, where the company lets the first
//! open month bear it (向后处理, prospective): a movement enters its pool at the first instant of that
//! month, a bill for goods received earlier adds to what is there. Units moved when they moved.
//!
//! Invariant: what a closed count found stays what was there. What a late movement before it moves,
//! the count's difference takes back, in the open month too.

use shared::fact::Kind;
use shared::fact::statement::Role;

use super::Books;
use super::fact_table::{FactRecord, PoolStep};
use super::pool::{self, Given, PoolState, StockTarget, Traces, share};
use super::posting::Roles;
use super::valuation::{Covered, FactId, OutOfRange, in_range};
use super::voucher::Cause;

impl Books {
    /// A bill for a receipt whose month is closed becomes a step of its own in the receipt's pool.
    pub(super) fn forward_document(&mut self, id: FactId, receipt: FactId) {
        let (record, named) = (&self.facts[id], &self.facts[receipt]);
        let at = named.key.effective_at();
        let opens = self.periods.bears_from(&self.settings, named.company, at);
        let Some(opens) = opens.filter(|_| named.pool.is_some()) else { return };
        let Some(company) = self.settings.company(named.company, at) else { return };
        let key = record.key.not_before(opens);
        let month = key.effective_at().day(company.zone).month();
        let (pool, one_pool, accounts) = (named.pool, named.one_pool, named.accounts);
        let record = &mut self.facts[id];
        let clears = matches!(record.kind, Kind::LandedCost | Kind::CashDiscount);
        let counter = if clears { Role::LandedCostClearing } else { Role::ReceivedNotInvoiced };
        record.roles = Roles {
            stock: Some(Role::Inventory),
            counter: Some(counter),
            difference: Some(Role::PriceVariance),
            beyond: Some(Role::StockVariance),
            ..record.roles
        };
        record.accounts.stock = accounts.stock;
        record.accounts.beyond = accounts.beyond;
        record.accounts.counter = if clears { accounts.main } else { accounts.counter };
        record.accounts.difference = accounts.difference;
        record.origin = Some(receipt);
        (record.key, record.month, record.pool, record.one_pool) = (key, month, pool, one_pool);
        (record.step, record.forwarded) = (PoolStep::AddLate, true);
        self.land_late(id);
        self.place(id);
    }

    /// What landed cost or a discount that became a step of its own moves its pool by.
    pub(super) fn land_late(&mut self, id: FactId) {
        let record = &self.facts[id];
        let cost = record.lands(&self.facts).filter(|_| record.forwarded);
        if cost.is_some() {
            self.facts[id].taken_over.cost = cost;
        }
    }

    /// What an invoice or credit note adds that is taken for so many units, beyond what they were
    /// received at.
    pub(super) fn add_late(&mut self, id: FactId, receipt: FactId, units: i64, amount: i64) {
        let named = &self.facts[receipt];
        let own = match named.unit_cost {
            Some(cost) => cost.times(units),
            None => share(-named.target.counter, units, named.quantity.0),
        };
        let added = own.and_then(|own| in_range(i128::from(amount) - i128::from(own)));
        let added = Some(added.unwrap_or(0));
        if self.facts[id].taken_over.cost != added {
            self.facts[id].taken_over.cost = added;
            self.mark_own_pool(id, Cause::Invoice);
        }
    }

    /// Moves a pool by a fact that takes effect later than it happened.
    pub(super) fn step_forwarded(
        &self,
        history: &[FactId],
        state: &mut PoolState,
        id: FactId,
        given: &Given<'_>,
        traces: &mut Traces,
    ) -> Result<StockTarget, OutOfRange> {
        let before = state.clone();
        let held = state.on_hand(self.facts[id].site);
        let stepped = pool::step(state, id, &self.facts[id], given, traces);
        let pinned = stepped.and_then(|target| {
            self.pin_to_count(history, state, id, held, traces).map(|()| target)
        });
        if pinned.is_err() {
            *state = before;
        }
        pinned
    }

    /// Where a closed count followed at the site, its difference takes back what a late movement
    /// moved; `held` is what the site held before the movement.
    pub(super) fn pin_to_count(
        &self,
        history: &[FactId],
        state: &mut PoolState,
        id: FactId,
        held: i64,
        traces: &mut Traces,
    ) -> Result<(), OutOfRange> {
        let record = &self.facts[id];
        let moved = in_range(i128::from(state.on_hand(record.site)) - i128::from(held))?;
        if !record.forwarded || moved == 0 {
            return Ok(());
        }
        let Some(count) = self.pinning_count(history, record) else { return Ok(()) };
        let change = if moved > 0 {
            -state.stock.take_out(count, moved, &mut Vec::new())?
        } else {
            let value = state.stock.current_cost().times(-moved)?;
            state.stock.bring_in(count, -moved, value, &mut traces.covered)?
        };
        state.set_units(record.site, held);
        traces.covered.push(Covered { fact: count, change: -change });
        let beyond = state.stock.carry(count, None, false)?;
        if beyond != 0 {
            traces.covered_beyond.push(Covered { fact: count, change: -beyond });
        }
        Ok(())
    }

    /// The first count of a closed month at the site, after a late movement.
    fn pinning_count(&self, history: &[FactId], record: &FactRecord) -> Option<FactId> {
        let own = record.moved_at();
        let counts = history.iter().copied().filter(|id| {
            let count = &self.facts[*id];
            count.kind == Kind::Count && count.site == record.site && count.is_active()
        });
        let closed = counts.filter(|id| {
            let count = &self.facts[*id];
            !count.forwarded && count.key < record.key && count.key > own
        });
        closed.min_by_key(|id| self.facts[*id].key)
    }

    /// What a late count compares with: the site's units at its own time, by all that is known.
    pub(super) fn counted_from(&self, history: &[FactId], record: &FactRecord) -> Option<i128> {
        let is_late_count = record.forwarded && record.step == PoolStep::Count;
        let own = record.moved_at();
        is_late_count.then(|| {
            let earlier = history.iter().map(|id| &self.facts[*id]);
            let mut earlier: Vec<&FactRecord> = earlier
                .filter(|other| other.is_active() && other.site == record.site)
                .filter(|other| other.moved_at() < own)
                .collect();
            earlier.sort_by_key(|other| other.moved_at());
            earlier.into_iter().fold(0, |held, other| {
                let units = i128::from(other.quantity.0);
                match other.step {
                    PoolStep::In | PoolStep::MoveIn => held + units,
                    PoolStep::Out => held - units.abs(),
                    PoolStep::MoveOut => held - units,
                    PoolStep::Count => units,
                    PoolStep::None | PoolStep::Revalue | PoolStep::Restate | PoolStep::AddLate => {
                        held
                    }
                }
            })
        })
    }
}
