//! Valuing facts in their pools, and folding pools again when something became known late.
//!
//! A fact that comes last in a clean pool moves the pool's state at once. Anything else marks the
//! pool dirty; [`Books::settle`] folds dirty pools again, follows changed costs into the pools
//! that goods went on to, and posts the differences, summed. Invariant: after a settle every
//! target is posted and no pool is dirty.
//!
//! Pools that pass costs around a circle are folded together, always from nothing and in rounds:
//! roundings can let such a circle come to rest in more than one place, and the order of arrival
//! must not choose.

use shared::fact::Kind;
use shared::fact::effective::EffectiveKey;
use shared::fact::statement::{CostMethod, StandardVariance};

use super::differences::Differences;
use super::fact_table::{FactRecord, LOOK_AHEAD, PoolId, PoolStep, Target};
use super::follow::{Before, is_repack};
use super::kept::Replaced;
use super::ledger::OpenItems;
use super::pool::{self, Given, Origin, Pool, PoolState, StockTarget, Traces};
use super::posting::{Postings, difference_lines};
use super::redo::{Change, next_change};
use super::touched::cause_of;
use super::valuation::{Covered, FactId, Layer, OutOfRange, Stock, UnitCost};
use super::voucher::Cause;
use super::{Area, Books, Effects, Head};

/// How often a circle of pools is folded before it counts as one that never comes to rest.
const ROUNDS_MAX: usize = 64;

/// Facts of a ring of pools to be folded, in effective order.
#[derive(Clone, Copy)]
struct Fold<'a> {
    order: &'a [FactId],
    /// What leaves by these of them arrives by others.
    sharing: &'a [FactId],
    /// From here on nothing is known of what they cost.
    fresh: usize,
    /// Some are costed by months.
    by_month: bool,
}

/// Facts of pools that are folded from the beginning, and whom others take their cost from.
#[derive(Default)]
struct Started {
    /// Receipts, with what stood for them: goods go back to a supplier at the receipt's cost.
    receipts: Vec<(FactId, Target)>,
    /// What leaves by these arrives by others.
    sharing: Vec<FactId>,
}

/// How far a pool that is folded alone is folded.
#[derive(Default)]
struct Walk {
    /// The place of the next fact.
    at: usize,
    /// The number of the next kept state.
    next: usize,
    /// Facts before this place are looked at.
    seen: usize,
    /// Something happened before.
    happened: bool,
}

impl Walk {
    /// Goes on from the last state that was kept before a change; whether there is one ahead.
    fn leap(&mut self, held: &mut Pool, changed: EffectiveKey) -> bool {
        let kept = held.kept.last_before(changed).filter(|(at, _)| *at > self.at);
        let Some((at, state)) = kept else { return false };
        held.state = state.clone();
        *self = Self { at, next: held.kept.after(at), happened: true, ..*self };
        true
    }
}

/// What a pool that is folded alone passes on.
#[derive(Default)]
struct PassedOn {
    /// What facts took over before.
    before: Before,
    /// Receipts that are worth something else.
    receipts: Vec<FactId>,
    /// Room for what a fact covers.
    covered: Vec<Covered>,
}

impl Books {
    /// Puts a new fact into its pool: at once where it comes last, else by folding again.
    pub(super) fn place(&mut self, id: FactId) {
        let mut before = Before::new();
        self.note_flows(id);
        self.restate_after(id);
        self.take_over(id, &mut before);
        before.remove(&id);
        let by_month = self.is_costed_by_month(id);
        let record = &self.facts[id];
        let pool_id = record.pool.expect("only facts with a pool are placed");
        let key = record.key;
        let held = &mut self.pools[pool_id.index()];
        held.folding.by_month |= by_month;
        // What it moves may be taken back by an earlier count.
        held.folding.in_one_pass &= !record.forwarded;
        let late = held.history.last().is_some_and(|_| held.last > key);
        if held.dirty || held.restless || late || self.is_averaged(id) {
            self.place_late(pool_id, id, &mut before);
        } else {
            self.place_last(pool_id, id, &mut before);
        }
        self.mark_changed(&before, &[]);
    }

    fn place_last(&mut self, pool_id: PoolId, id: FactId, before: &mut Before) {
        let key = self.facts[id].key;
        let held = &mut self.pools[pool_id.index()];
        let at = held.history.len();
        held.history.push(id, key);
        held.last = key;
        let (next, history) = (held.kept.len(), &held.history[..at]);
        let happened = || history.iter().any(|id| !self.facts[*id].reversed);
        held.kept.offer(self.kept_every, at, || key, next, &held.state, happened);
        // Where a site is known something happened before.
        let may_be_first = held.state.sites.is_empty();
        if may_be_first && self.first_active(pool_id) == Some(id) {
            self.pools[pool_id.index()].state = self.empty(pool_id);
        }
        let value = self.value_of(pool_id);
        let mut covered = Vec::new();
        self.step(pool_id, id, &mut covered);
        self.pool_value += self.value_of(pool_id) - value;
        for Covered { fact, .. } in covered {
            // A count of a closed month takes back what moved before it.
            let late = self.facts[id].forwarded && self.facts[fact].kind == Kind::Count;
            let cause = if late { Cause::LateFact } else { Cause::NegativeStock };
            self.touched.note(fact, cause);
            self.hand_over(fact, id, before);
            self.share_out(fact, before);
            if passes_on(self.facts[fact].kind) {
                // Goods may have gone around on this cost: a circle starts from nothing.
                self.mark_own_pool(fact, Cause::NegativeStock);
            }
        }
        self.hand_over(id, id, before);
        self.share_out(id, before);
    }

    fn place_late(&mut self, pool_id: PoolId, id: FactId, before: &mut Before) {
        let state = &self.pools[pool_id.index()].state;
        let guess = pool::provisional(state, &self.facts[id], &self.given(id, &[]));
        set_target(&mut self.facts[id], guess);
        self.mark_own_pool(id, Cause::LateFact);
        self.dirty.add_late(pool_id, id);
        self.touched.insert(id, Cause::LateFact);
        // A late ship or sale may already be answered by facts in other pools.
        self.hand_over(id, id, before);
        self.share_out(id, before);
    }

    /// Where a fact with this key belongs in a pool's history.
    pub(super) fn place_in(&self, pool_id: PoolId, key: EffectiveKey) -> usize {
        self.pools[pool_id.index()].history.place_of(key, |other| self.facts[other].key)
    }

    /// Puts what came late into the histories.
    pub(super) fn place_what_came_late(&mut self) {
        for (pool_id, late) in self.dirty.take_late() {
            self.facts.look_ahead(late.iter().copied());
            let placed = late.into_iter().map(|id| {
                let key = self.facts[id].key;
                (self.place_in(pool_id, key), key, id)
            });
            let mut placed: Vec<(usize, EffectiveKey, FactId)> = placed.collect();
            placed.sort_unstable_by_key(|(_, key, _)| *key);
            let keys: Vec<EffectiveKey> = placed.iter().map(|(_, key, _)| *key).collect();
            let held = &mut self.pools[pool_id.index()];
            held.kept.make_room(&keys);
            held.history.insert_all(&placed);
        }
    }

    /// What a pool is worth, at standard and beyond.
    fn value_of(&self, pool_id: PoolId) -> i128 {
        let stock = &self.pools[pool_id.index()].state.stock;
        i128::from(stock.value()) + i128::from(stock.beyond())
    }

    /// The first fact of a pool that happened.
    fn first_active(&self, pool_id: PoolId) -> Option<FactId> {
        let history = self.pools[pool_id.index()].history.iter().copied();
        history.into_iter().find(|id| !self.facts[*id].reversed)
    }

    /// A pool before its first fact: the method is that of the category at that fact.
    pub(super) fn empty(&self, pool_id: PoolId) -> PoolState {
        let first = self.first_active(pool_id).map(|id| &self.facts[id]);
        let method = first.and_then(|first| {
            let (category, at) = (first.category?, first.key.effective_at());
            Some(self.settings.method(first.company, category, at))
        });
        let method = method.unwrap_or(CostMethod::MovingAverage);
        PoolState::new(Stock::from((method, self.initial_cost(pool_id))))
    }

    /// The cost assumed before any inflow: the item's fallback cost at the pool's first fact.
    fn initial_cost(&self, pool_id: PoolId) -> UnitCost {
        let held = &self.pools[pool_id.index()];
        let found = self.first_active(pool_id).and_then(|first| {
            let at = self.facts[first].key.effective_at();
            let item = self.settings.item(held.item, at)?;
            let price = item.fallback_cost.as_ref()?;
            let currency = self.settings.company(held.company, at)?.currency;
            (price.currency == currency)
                .then(|| UnitCost::of_price(price, currency.decimals(), item.decimals))?
        });
        found.unwrap_or(UnitCost::ZERO)
    }

    /// Moves a pool's state by one fact and sets the fact's target and those it covered.
    fn step(&mut self, pool_id: PoolId, id: FactId, covered: &mut Vec<Covered>) {
        let mut traces = Traces { covered: std::mem::take(covered), ..Traces::default() };
        // Lent, so that the rest of the books can be read beside the pool.
        let mut pools = std::mem::take(&mut self.pools);
        let held = &mut pools[pool_id.index()];
        let state = &mut held.state;
        let joins = self.make_ready(&held.history, state, id);
        let restates = self.facts[id].step == PoolStep::Restate;
        let carries = restates && state.stock.carries() && self.allocates(&self.facts[id]);
        let old_standard = carries.then(|| state.stock.current_cost());
        let stepped = self.move_pool(&held.history, state, id, &mut traces);
        self.pools = pools;
        *covered = traces.covered;
        self.note_layers_out(id, if stepped.is_ok() { traces.taken } else { Vec::new() });
        let record = &mut self.facts[id];
        record.short = traces.short && stepped.is_ok();
        // A fact beyond what the pool can hold has no effect in it.
        record.out_of_range = stepped.is_err();
        set_target(record, stepped.unwrap_or_default());
        // What was carried beyond a standard that holds no more is part of the value now.
        record.target.stock += joins;
        record.target.beyond -= joins;
        if stepped.is_err() {
            covered.clear();
            traces.covered_beyond.clear();
        }
        for Covered { fact, change } in traces.covered_beyond {
            let target = &mut self.facts[fact].target;
            target.beyond -= change;
            target.counter += change;
        }
        if restates {
            self.restate_in_transit(id, old_standard.filter(|_| stepped.is_ok()));
        }
        for Covered { fact, change } in covered.iter() {
            let record = &mut self.facts[*fact];
            record.target.stock -= change;
            // A repack's and a variance's difference is what the sides leave.
            let leaves_difference = match record.kind {
                Kind::RepackOut | Kind::RepackIn | Kind::Receipt => true,
                Kind::TransferReceive => record.step == PoolStep::In,
                _ => false,
            };
            if !leaves_difference {
                record.target.counter += change;
            }
            // What was missing stands at the end.
            if let Some(missing) =
                self.layers_out.get_mut(fact).and_then(|layers| layers.last_mut())
            {
                missing.value += change;
            }
        }
    }

    /// A pool goes on by the method, and at the month's cost, of its next fact. Returns what was
    /// carried beyond a standard and is part of the value from here on.
    pub(super) fn make_ready(&self, history: &[FactId], state: &mut PoolState, id: FactId) -> i64 {
        let joins = self.follow_method(state, id);
        if let Stock::Standard(pool) = &mut state.stock
            && self.allocates(&self.facts[id])
        {
            pool.begin_to_carry();
        }
        self.begin_span(history, state, id);
        joins
    }

    /// Whether what a fact's goods cost beyond their standard is carried with them.
    fn allocates(&self, record: &FactRecord) -> bool {
        self.settings.carries(record.company) && {
            let at = record.key.effective_at();
            self.settings.standard_variance(record.company, at) == StandardVariance::Allocate
        }
    }

    /// Moves a pool's state by its next fact. An error leaves it as it was.
    pub(super) fn move_pool(
        &self,
        history: &[FactId],
        state: &mut PoolState,
        id: FactId,
        traces: &mut Traces,
    ) -> Result<StockTarget, OutOfRange> {
        let record = &self.facts[id];
        let inflows = self.revalued(id);
        let mut given = self.given(id, &inflows);
        if !record.forwarded {
            return pool::step(state, id, record, &given, traces);
        }
        given.counted_from = self.counted_from(history, record);
        self.step_forwarded(history, state, id, &given, traces)
    }

    /// What a fact's cost depends on beside itself and its pool.
    pub(super) fn given<'a>(&'a self, id: FactId, inflows: &'a [FactId]) -> Given<'a> {
        // Only receipts that a bill names are invoiced, and few transfers bring layers.
        let record = &self.facts[id];
        let is_billed = record.kind == Kind::Receipt && record.answers.is_some();
        let fills = is_billed.then(|| self.fills.get(&id)).flatten();
        let has_layers = record.taken_over.layers != 0;
        let arriving = has_layers.then(|| self.layers_in.get(&id)).flatten();
        Given {
            origin: origin(&self.facts, id),
            fills: fills.map_or(&[][..], Vec::as_slice),
            arriving: arriving.map_or(&[][..], Vec::as_slice),
            inflows,
            looped: self.looped.contains(&id),
            allocates: self.settings.carries_any() && self.allocates(&self.facts[id]),
            counted_from: None,
        }
    }

    /// A pool goes on by the method that holds at its next fact; as [`Self::make_ready`].
    fn follow_method(&self, state: &mut PoolState, id: FactId) -> i64 {
        let record = &self.facts[id];
        // What leaves for another site of the pool has no cost, and no account to put one on.
        let costs = self.settings.methods_vary() && record.step != PoolStep::MoveOut;
        let Some(category) = record.category.filter(|_| costs) else { return 0 };
        let at = record.key.effective_at();
        state.stock.go_on_by(self.settings.method(record.company, category, at), id)
    }

    /// The receipts that a revaluation names.
    pub(super) fn revalued(&self, id: FactId) -> Vec<FactId> {
        match self.facts[id].step {
            PoolStep::Revalue => {}
            PoolStep::AddLate => return self.facts[id].origin.into_iter().collect(),
            _ => return Vec::new(),
        }
        self.effect_group(id).into_iter().filter_map(|member| self.facts[member].origin).collect()
    }

    /// Remembers the layers that a ship took: they arrive as they left.
    fn note_layers_out(&mut self, id: FactId, taken: Vec<Layer>) {
        if self.facts[id].kind != Kind::TransferShip {
            return;
        }
        if taken.is_empty() {
            self.layers_out.remove(&id);
        } else {
            self.layers_out.insert(id, taken);
        }
    }

    /// Something changed in a pool.
    pub(super) fn mark_dirty(&mut self, pool_id: PoolId, cause: Cause, change: Change) {
        let held = &mut self.pools[pool_id.index()];
        if !held.dirty {
            (held.dirty, held.cause) = (true, cause);
        }
        self.dirty.mark(pool_id, change);
    }

    /// Marks whole pools that something concerns.
    pub(super) fn mark_pools(&mut self, cause: Cause, concerns: impl Fn(&Pool) -> bool) {
        for index in 0..self.pools.len() {
            if concerns(&self.pools[index]) {
                let pool = PoolId(u32::try_from(index).expect("fewer than 2^32 pools"));
                self.mark_dirty(pool, cause, Change::Anywhere);
            }
        }
    }

    /// Something changed about a fact.
    pub(super) fn mark_own_pool(&mut self, id: FactId, cause: Cause) {
        let record = &self.facts[id];
        if let Some(pool_id) = record.pool {
            let key = record.key;
            self.mark_dirty(pool_id, cause, Change::At(key));
        }
    }

    /// Folds every dirty pool again and posts the differences.
    pub(super) fn settle(&mut self, effects: &mut Effects) {
        let mut sums = Differences::default();
        self.place_what_came_late();
        self.find_accounts_again(&mut sums);
        self.convert_again();
        self.fold_by_new_methods();
        self.fold_dirty(&mut sums);
        self.post_differences(sums, effects);
        self.assert_ties();
    }

    /// Folds every dirty pool again, and those that costs go on to from there.
    pub(super) fn fold_dirty(&mut self, sums: &mut Differences) {
        let dirty = self.dirty.pools();
        for ring in self.flows.rings(&dirty) {
            if ring.iter().any(|pool| self.pools[pool.index()].dirty) {
                self.fold(&ring, sums);
            }
        }
    }

    fn fold(&mut self, ring: &[PoolId], sums: &mut Differences) {
        for pool in ring {
            self.pool_value -= self.value_of(*pool);
        }
        let restless = match ring {
            [pool] if self.folds_in_one_pass(*pool) => {
                self.fold_on(*pool, sums);
                false
            }
            _ => self.fold_ring(ring),
        };
        for pool in ring {
            self.pool_value += self.value_of(*pool);
            let last = self.pools[pool.index()].history.last();
            let last = last.map(|id| self.facts[*id].key).unwrap_or_default();
            let held = &mut self.pools[pool.index()];
            (held.last, held.dirty, held.restless) = (last, false, restless);
            self.dirty.remove(*pool);
        }
    }

    /// Whether nothing that a pool passes on comes back to it, and no cost waits for a month's end.
    fn folds_in_one_pass(&self, pool_id: PoolId) -> bool {
        let held = &self.pools[pool_id.index()];
        debug_assert!(
            held.folding.by_month == held.history.iter().any(|id| self.is_costed_by_month(*id)),
            "a pool knows whether any of its facts is costed by months"
        );
        held.folding.in_one_pass && !held.folding.by_month
    }

    /// Folds a pool alone, in one pass: from the last state that was kept before each change, up to
    /// one after it that is as it was.
    fn fold_on(&mut self, pool_id: PoolId, sums: &mut Differences) {
        let changes = self.dirty.changes_of(pool_id);
        let first = changes.as_ref().and_then(|changes| changes.first().copied());
        let held = &mut self.pools[pool_id.index()];
        let last_state = std::mem::take(&mut held.state);
        let mut walk = Walk::default();
        if !first.is_some_and(|first| walk.leap(held, first)) {
            self.pools[pool_id.index()].state = self.empty(pool_id);
        }
        let mut passed_on = PassedOn::default();
        while let Some(id) = self.pools[pool_id.index()].history.get(walk.at).copied() {
            self.look_ahead(pool_id, &mut walk);
            let as_it_was = self.comes_by(pool_id, id, &mut walk);
            if let Some(changes) = changes.as_ref().filter(|_| as_it_was) {
                let key = self.facts[id].key;
                let next = next_change(changes, key);
                let reached = self.first_reached(&passed_on, pool_id, key);
                let Some(ahead) = next.into_iter().chain(reached).min() else {
                    self.pools[pool_id.index()].state = last_state;
                    break;
                };
                if walk.leap(&mut self.pools[pool_id.index()], ahead) {
                    continue;
                }
            }
            walk.happened |= !self.facts[id].reversed;
            self.fold_fact(id, sums, &mut passed_on);
            walk.at += 1;
        }
        self.mark_changed(&passed_on.before, &[pool_id]);
        for receipt in passed_on.receipts {
            self.mark_supplier_returns(receipt, &[pool_id]);
        }
    }

    fn look_ahead(&self, pool_id: PoolId, walk: &mut Walk) {
        if walk.at < walk.seen {
            return;
        }
        let history = &self.pools[pool_id.index()].history;
        let next = &history[walk.at..history.len().min(walk.at + LOOK_AHEAD)];
        walk.seen = walk.at + LOOK_AHEAD;
        // Of records that stand together the next ones come by themselves.
        let apart = |two: &[FactId]| two[0].0.abs_diff(two[1].0) > 1;
        if next.windows(2).any(apart) {
            self.facts.look_ahead(next.iter().copied());
        }
    }

    /// A fold comes by a place: keeps its state there where one is due or was kept; whether it is
    /// the one that was kept.
    fn comes_by(&mut self, pool_id: PoolId, id: FactId, walk: &mut Walk) -> bool {
        let held = &mut self.pools[pool_id.index()];
        if held.kept.place(walk.next) == Some(walk.at) {
            let replaced = held.kept.replace(walk.next, &held.state, walk.happened);
            walk.next += usize::from(replaced != Replaced::Gone);
            return replaced == Replaced::Same;
        }
        let (key, happened) = (|| self.facts[id].key, || walk.happened);
        let kept = held.kept.offer(self.kept_every, walk.at, key, walk.next, &held.state, happened);
        walk.next += usize::from(kept);
        false
    }

    /// Moves a pool by its next fact, hands on what it cost and adds up the difference.
    fn fold_fact(&mut self, id: FactId, sums: &mut Differences, passed_on: &mut PassedOn) {
        let target = self.facts[id].target;
        let mut covered = std::mem::take(&mut passed_on.covered);
        self.move_on(id, &mut covered);
        for Covered { fact, .. } in covered.drain(..) {
            self.hand_over(fact, id, &mut passed_on.before);
            self.share_out(fact, &mut passed_on.before);
            self.touch(fact);
            if self.facts[fact].kind == Kind::Receipt {
                passed_on.receipts.push(fact);
            }
        }
        passed_on.covered = covered;
        self.hand_over(id, id, &mut passed_on.before);
        self.share_out(id, &mut passed_on.before);
        if !self.post_goods(id, sums) {
            self.touch(id);
        }
        let record = &self.facts[id];
        if record.kind == Kind::Receipt && !costs_the_same(&record.target, &target) {
            passed_on.receipts.push(id);
        }
    }

    /// The first fact from a key on to which something that a pool passed on comes back.
    fn first_reached(
        &self,
        passed_on: &PassedOn,
        pool_id: PoolId,
        from: EffectiveKey,
    ) -> Option<EffectiveKey> {
        let taken = passed_on.before.iter();
        let taken = taken.filter(|(id, held)| self.facts[**id].taken_over != **held);
        let receipts = passed_on.receipts.iter();
        let returns = receipts.flat_map(|id| self.facts.dependents(*id));
        let returns = returns.filter(|id| self.facts[**id].kind == Kind::SupplierReturn);
        let reached = taken.map(|(id, _)| *id).chain(returns.copied()).map(|id| &self.facts[id]);
        let reached = reached.filter(|record| record.pool == Some(pool_id) && record.key >= from);
        reached.map(|record| record.key).min()
    }

    /// Adds up what a fact of a pool that is being folded is to have beyond what it has, where goods
    /// changed their cost and nothing else is to be said about it.
    fn post_goods(&mut self, id: FactId, sums: &mut Differences) -> bool {
        let record = &self.facts[id];
        let Some(pool) = record.pool.filter(|_| record.target != record.posted) else {
            return false;
        };
        if self.touched.holds(id) {
            return false;
        }
        let cause = self.pools[pool.index()].cause;
        let group = (record.company, self.month_of(record, Area::Stock), cause);
        let added = sums.add_goods(group, id, record, &self.settings);
        if added {
            let record = &mut self.facts[id];
            record.posted = record.target;
        }
        added
    }

    /// Moves a fact's pool by it, unless it did not happen.
    fn move_on(&mut self, id: FactId, covered: &mut Vec<Covered>) {
        let record = &self.facts[id];
        match record.pool {
            Some(pool) if !record.reversed => self.step(pool, id, covered),
            _ => {
                let record = &mut self.facts[id];
                record.out_of_range = false;
                set_target(record, StockTarget::default());
                let restates = record.step == PoolStep::Restate;
                self.layers_out.remove(&id);
                if restates {
                    self.restate_in_transit(id, None);
                }
            }
        }
    }

    /// Folds pools that pass costs around from their first facts, until what they pass around is
    /// what they got; whether it never is.
    fn fold_ring(&mut self, ring: &[PoolId]) -> bool {
        for pool in ring {
            self.pools[pool.index()].kept.clear();
        }
        let order = self.in_effective_order(ring);
        let mut before = Before::new();
        let Started { receipts, sharing } = self.start_over(&order);
        self.share_all(&sharing, &mut before);
        let by_month = ring.iter().any(|pool| self.pools[pool.index()].folding.by_month);
        let restless = if by_month && self.find_loops(ring, &order) {
            self.fold_months(ring, &order, &mut before)
        } else {
            let all = Fold { order: &order, sharing: &sharing, fresh: 0, by_month };
            self.fold_until_rest(ring, all, &mut before)
        };
        self.mark_changed(&before, ring);
        for (id, held) in receipts {
            if !costs_the_same(&self.facts[id].target, &held) {
                self.mark_supplier_returns(id, ring);
            }
        }
        for id in order {
            self.touch(id);
        }
        restless
    }

    /// Folds facts from nothing until what the pools of a ring pass around is what they got; whether
    /// it never is.
    fn fold_until_rest(&mut self, ring: &[PoolId], fold: Fold<'_>, before: &mut Before) -> bool {
        let empty: Vec<PoolState> = ring.iter().map(|pool| self.empty(*pool)).collect();
        for round in 0..ROUNDS_MAX {
            for (pool, empty) in ring.iter().zip(&empty) {
                self.pools[pool.index()].state = empty.clone();
            }
            let held = self.stocks_of(ring, &fold);
            let fresh = if round == 0 { fold.fresh } else { fold.order.len() };
            let moved = self.fold_once(fold.order, fresh, before);
            // A month is planned before its goods move: what moved since asks for another plan.
            let moved = moved || held != self.stocks_of(ring, &fold);
            let asks_again = self.share_all(fold.sharing, before) || (fold.by_month && moved);
            if !asks_again {
                return false;
            }
        }
        true
    }

    /// What the facts of several pools that are costed by months changed in stock.
    fn stocks_of(&self, ring: &[PoolId], fold: &Fold<'_>) -> Vec<(i64, i64)> {
        let compared = fold.by_month && ring.len() > 1;
        let order = fold.order.iter().filter(|_| compared);
        let targets = order.map(|id| &self.facts[*id].target);
        targets.map(|target| (target.stock, target.beyond)).collect()
    }

    /// Folds a ring up to each month in turn, so that each comes to rest on what the one before it
    /// closed with; whether the last never does.
    fn fold_months(&mut self, ring: &[PoolId], order: &[FactId], before: &mut Before) -> bool {
        let facts = &self.facts;
        let same_month = |a: &FactId, b: &FactId| facts[*a].month == facts[*b].month;
        let months: Vec<usize> = order.chunk_by(same_month).map(<[_]>::len).collect();
        let (mut fresh, mut restless) = (0, false);
        for len in months {
            let order = &order[..fresh + len];
            let passes_on = |id: &&FactId| passes_on(self.facts[**id].kind);
            let sharing: Vec<FactId> = order.iter().filter(passes_on).copied().collect();
            let fold = Fold { order, sharing: &sharing, fresh, by_month: true };
            restless = self.fold_until_rest(ring, fold, before);
            fresh += len;
        }
        restless
    }

    fn in_effective_order(&self, ring: &[PoolId]) -> Vec<FactId> {
        let histories = ring.iter().map(|pool| &*self.pools[pool.index()].history);
        let mut order: Vec<FactId> = histories.collect::<Vec<_>>().concat();
        if ring.len() > 1 {
            order.sort_unstable_by_key(|id| self.facts[*id].key);
        }
        order
    }

    /// Forgets what the facts cost, and finds those that others take their cost from: in one walk.
    fn start_over(&mut self, order: &[FactId]) -> Started {
        let mut started = Started::default();
        for id in order {
            let record = &mut self.facts[*id];
            match record.kind {
                Kind::Receipt => started.receipts.push((*id, record.target)),
                kind if passes_on(kind) => started.sharing.push(*id),
                _ => {}
            }
            record.out_of_range = false;
            set_target(record, StockTarget::default());
            if record.kind == Kind::TransferShip {
                self.layers_out.remove(id);
            }
        }
        started
    }

    /// Shares what leaves over what arrives; whether any share changed.
    fn share_all(&mut self, sharing: &[FactId], before: &mut Before) -> bool {
        sharing.iter().fold(false, |changed, id| self.share_out(*id, before) | changed)
    }

    /// One round. What arrives of fresh facts, from that place on, costs what the goods left with;
    /// of others what they cost at the end of the round before. Whether anything was shared
    /// otherwise than before.
    fn fold_once(&mut self, order: &[FactId], fresh: usize, before: &mut Before) -> bool {
        let mut moved = false;
        let mut covered = Vec::new();
        for (place, id) in order.iter().enumerate() {
            covered.clear();
            self.move_on(*id, &mut covered);
            for Covered { fact, .. } in &covered {
                self.hand_over(*fact, *id, before);
            }
            self.hand_over(*id, *id, before);
            if place >= fresh {
                moved |= self.share_out(*id, before);
            }
        }
        moved
    }

    /// Goods that go back to a supplier cost what their receipt is worth.
    fn mark_supplier_returns(&mut self, receipt: FactId, folded: &[PoolId]) {
        if self.facts[receipt].kind != Kind::Receipt {
            return;
        }
        for index in 0..self.facts.dependents(receipt).len() {
            let id = self.facts.dependents(receipt)[index];
            let record = &self.facts[id];
            let knows = record.pool.is_none_or(|pool| folded.contains(&pool));
            if record.kind == Kind::SupplierReturn && !knows {
                self.mark_own_pool(id, Cause::Followed);
            }
        }
    }

    /// Notes that a fact's target may have changed.
    fn touch(&mut self, id: FactId) {
        let record = &self.facts[id];
        let restates = record.step == PoolStep::Restate;
        if record.target != record.posted || (restates && self.has_unposted_transit(id)) {
            let held = record.pool.map(|pool| &self.pools[pool.index()]);
            let cause = held.filter(|held| held.dirty).map_or(Cause::Followed, |held| held.cause);
            self.touched.note(id, cause);
        }
    }

    /// Both sides of a repack balance only together: they share one cause, the settings' where
    /// accounts moved, since what stood on the old accounts is taken back under it.
    fn shared_cause(&self, id: FactId, cause: Cause, touched: &[(FactId, Cause)]) -> Cause {
        if !self.has_effect_in_a_group(id) {
            return cause;
        }
        let members = self.effect_group(id).into_iter();
        let causes = members.filter_map(|member| cause_of(touched, member));
        causes.max_by_key(|cause| (*cause == Cause::Settings, *cause)).unwrap_or(cause)
    }

    /// Balances the repacks among the touched facts; that may touch other members.
    fn balance_repacks(&mut self) {
        let mut touched = self.touched.in_order();
        touched.retain(|(id, _)| is_repack(self.facts[*id].kind));
        for (id, _) in touched {
            self.balance_repack(id);
            for member in self.effect_group(id) {
                self.touch(member);
            }
        }
    }

    fn post_differences(&mut self, mut sums: Differences, effects: &mut Effects) {
        self.balance_repacks();
        let touched = self.touched.take();
        let mut postings = Postings::new();
        for (place, (id, cause)) in touched.iter().enumerate() {
            if place.is_multiple_of(LOOK_AHEAD) {
                let next = touched[place..].iter().take(LOOK_AHEAD);
                self.facts.look_ahead(next.map(|(id, _)| *id));
            }
            let cause = self.shared_cause(*id, *cause, &touched);
            let month = self.month_of(&self.facts[*id], area_of_difference(&self.facts[*id]));
            let record = &mut self.facts[*id];
            difference_lines(*id, record, false, &mut postings);
            record.posted = record.target;
            let group = (record.company, month, cause);
            let at = record.key.effective_at();
            self.post_transit(*id, false, &mut postings);
            sums.add(group, at, &mut postings, (&self.settings, &mut self.open_items));
        }
        let vouchers = sums.into_vouchers(&mut self.open_items);
        for ((company, month, cause), at, lines) in vouchers {
            if lines.is_empty() {
                continue;
            }
            for line in &lines {
                self.ledger.post(month, line);
            }
            self.number(Head { company, month, cause, fact: None, at }, lines, effects);
        }
    }

    /// The open items of every role, for checks.
    pub(super) const fn items(&self) -> &OpenItems {
        &self.open_items
    }
}

/// Whether goods that go back of a receipt cost the same under both of its targets.
fn costs_the_same(a: &Target, b: &Target) -> bool {
    (a.stock, a.counter, a.beyond) == (b.stock, b.counter, b.beyond)
}

/// What a difference touches: costs, or the document itself.
fn area_of_difference(record: &FactRecord) -> Area {
    let document = |target: &Target| (target.main, target.against);
    // What waits in `main` of a receipt is its landed cost, less discounts.
    let changed = document(&record.target) != document(&record.posted);
    if changed && record.kind != Kind::Receipt { record.area() } else { Area::Stock }
}

/// Whether what leaves by a fact of this kind arrives by another.
const fn passes_on(kind: Kind) -> bool {
    matches!(kind, Kind::TransferShip | Kind::RepackOut)
}

fn set_target(record: &mut FactRecord, target: StockTarget) {
    record.target.stock = target.stock;
    record.target.counter = target.counter;
    record.target.beyond = target.beyond;
    // A bill that takes effect late keeps its exchange difference there.
    if !matches!(record.kind, Kind::SupplierInvoice | Kind::CreditNote) {
        record.target.residue = target.residue;
    }
}

/// Cost and units of what a fact answers, where its kind takes the cost from there. What was out
/// of range cost nothing.
fn origin(facts: &super::FactTable, id: FactId) -> Option<Origin> {
    let record = &facts[id];
    let answered = &facts[record.origin?];
    if answered.reversed {
        return None;
    }
    let units = answered.quantity.0;
    let same_month = answered.month == record.month;
    match record.kind {
        Kind::TransferReceive => {
            let cost = answered.cost();
            Some(Origin { cost, price: cost, units, same_month })
        }
        Kind::CustomerReturn | Kind::Receipt => {
            let cost = record.taken_over.cost?;
            Some(Origin { cost, price: cost, units, same_month })
        }
        // The receipt's value as it stands, invoices included, holds from its own time on.
        Kind::SupplierReturn if answered.kind == Kind::Receipt => {
            let price = -answered.target.counter;
            Some(Origin { cost: answered.worth(), price, units, same_month })
        }
        _ => None,
    }
}
