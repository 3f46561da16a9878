//! Costs that go on from one fact to another: from a ship to what arrived, from what was repacked
//! to what it became, from a sale to its return. Changes what facts take over, and no pool.

use std::collections::{BTreeMap, VecDeque};

use shared::fact::Kind;

use super::Books;
use super::fact_table::{FactRecord, PoolId, TakenOver};
use super::pool::{share, share_by_weight};
use super::prepare::rate_between;
use super::redo::Change;
use super::valuation::{FactId, Layer, in_range, take_from_front};
use super::voucher::Cause;

/// What facts took over before it changed.
pub(super) type Before = BTreeMap<FactId, TakenOver>;

/// Stands for an amount beyond what the books hold: whatever takes it over is out of range too.
const BEYOND: i64 = i64::MAX;

impl Books {
    /// Notes that costs go from the fact that a new fact answers to the new fact's pool.
    pub(super) fn note_flows(&mut self, id: FactId) {
        let record = &self.facts[id];
        let Some(to) = record.pool else { return };
        let from: Vec<FactId> = match record.kind {
            Kind::RepackIn => {
                let members = self.effect_group(id).into_iter();
                members.filter(|id| self.facts[*id].kind == Kind::RepackOut).collect()
            }
            // What another company paid for the goods is no cost of the receiver's.
            Kind::TransferReceive if record.between => return,
            Kind::TransferReceive | Kind::CustomerReturn | Kind::SupplierReturn | Kind::Receipt => {
                record.origin.into_iter().collect()
            }
            _ => return,
        };
        // Units that stay in their pool bring no cost along, and a return stands after its sale.
        let goes_around = record.kind == Kind::RepackIn
            || (record.kind == Kind::TransferReceive && !record.one_pool);
        for pool in from.into_iter().filter_map(|id| self.facts[id].pool) {
            self.flows.add(pool, to);
            if pool == to && goes_around {
                self.pools[to.index()].folding.in_one_pass = false;
            }
        }
    }

    /// What a new fact takes over from the fact it answers.
    pub(super) fn take_over(&mut self, id: FactId, before: &mut Before) {
        let record = &self.facts[id];
        match (record.kind, record.origin) {
            (Kind::TransferReceive, Some(ship)) => {
                self.share_ship(ship, before);
            }
            (Kind::RepackIn, _) => {
                self.share_repack(id, before);
            }
            (Kind::CustomerReturn | Kind::Receipt, Some(answered)) => {
                let key = record.key;
                let named = &self.facts[answered];
                let (cost, pool) = (named.cost(), named.pool.filter(|_| self.may_change(answered)));
                let named_at = named.key;
                self.facts[id].taken_over.cost = Some(cost);
                // The answered fact's cost may have changed after this one's time: fold it again
                // so that it hands over what it cost then.
                if let Some(pool_id) = pool.filter(|pool| self.pools[pool.index()].last > key) {
                    self.mark_dirty(pool_id, Cause::Followed, Change::At(named_at));
                }
            }
            _ => {}
        }
    }

    /// Whether what a fact cost may be another thing now than when it moved its pool.
    fn may_change(&self, id: FactId) -> bool {
        let record = &self.facts[id];
        let alone = record.pool.is_some_and(|pool| self.pools[pool.index()].folding.in_one_pass);
        record.short || !alone || self.settings.costs_by_month()
    }

    /// Sets what a fact takes over; whether that is something else than before.
    fn set_taken_over(&mut self, id: FactId, taken: TakenOver, before: &mut Before) -> bool {
        let record = &mut self.facts[id];
        let changed = record.taken_over != taken;
        if changed {
            before.entry(id).or_insert(record.taken_over);
            record.taken_over = taken;
        }
        changed
    }

    /// Marks the pools of facts that take over something else than before; those in `folded` know.
    pub(super) fn mark_changed(&mut self, before: &Before, folded: &[PoolId]) {
        for (id, held) in before {
            let record = &self.facts[*id];
            let knows = record.pool.is_some_and(|pool| folded.contains(&pool));
            if record.taken_over != *held && !knows {
                self.mark_own_pool(*id, Cause::Followed);
            }
        }
    }

    /// Hands a fact's cost to what comes back of it. A return costs what its sale cost at the
    /// return's time: only returns after `now` take it.
    pub(super) fn hand_over(&mut self, id: FactId, now: FactId, before: &mut Before) {
        if self.facts.dependents(id).is_empty() {
            return;
        }
        let now = self.facts[now].key;
        let cost = Some(self.facts[id].cost());
        for index in 0..self.facts.dependents(id).len() {
            let dependent = self.facts.dependents(id)[index];
            let record = &self.facts[dependent];
            if matches!(record.kind, Kind::CustomerReturn | Kind::Receipt) && record.key > now {
                let taken = TakenOver { cost, ..record.taken_over };
                self.set_taken_over(dependent, taken, before);
            }
        }
    }

    /// Shares a fact's cost over what arrives of it or becomes of it, whenever the cost became
    /// known: what leaves is what arrives. Whether any share changed.
    pub(super) fn share_out(&mut self, id: FactId, before: &mut Before) -> bool {
        match self.facts[id].kind {
            Kind::TransferShip => self.share_ship(id, before),
            Kind::RepackOut => self.share_repack(id, before),
            Kind::StandardCost => self.share_restated(id, before),
            _ => false,
        }
    }

    /// Over what arrived, in effective order: the last takes the rest, and what was never shipped
    /// comes at the ship's unit cost. To another company it is the price that is shared, whatever
    /// the goods cost; what never arrived by the last receive is the receiver's loss.
    pub(super) fn share_ship(&mut self, ship: FactId, before: &mut Before) -> bool {
        let named = &self.facts[ship];
        let (mut units, mut value) = worth_on_the_way(named);
        let (whole_units, whole_value) = (units, value);
        let layers = self.layers_out.get(&ship).filter(|_| named.is_active() && !named.between);
        let mut on_the_way: Option<VecDeque<Layer>> =
            layers.map(|layers| layers.iter().copied().collect());
        let mut receives: Vec<FactId> = self.facts.dependents(ship).to_vec();
        receives.retain(|id| self.facts[*id].kind == Kind::TransferReceive);
        receives.sort_unstable_by_key(|id| self.facts[*id].key);
        let last = receives.iter().rposition(|id| !self.facts[*id].reversed);
        let mut changed = false;
        let mut restated = self.restated_on_the_way(ship).into_iter().peekable();
        for (place, id) in receives.into_iter().enumerate() {
            let record = &self.facts[id];
            while let Some((_, more)) = restated.next_if(|(at, _)| *at < record.key) {
                value += more;
            }
            let wanted = if record.reversed { 0 } else { record.quantity.0 };
            let arrived = wanted.min(units);
            let mut layers = on_the_way
                .as_mut()
                .map_or_else(Vec::new, |on_the_way| take_from_front(on_the_way, arrived));
            let cost = if layers.is_empty() {
                share(value, arrived, units).unwrap_or(0)
            } else {
                layers.iter().map(|layer| layer.value).sum()
            };
            let mut excess = match wanted - arrived {
                0 => 0,
                excess => share(whole_value, excess, whole_units).unwrap_or(BEYOND),
            };
            units -= arrived;
            value -= cost;
            if record.between && Some(place) == last && units > 0 {
                excess = -value;
            }
            let (cost, excess) = self.to_receiver(ship, id, &mut layers, (cost, excess));
            if layers.is_empty() && arrived > 0 && wanted > arrived {
                // What was never shipped has a cost of its own.
                layers.push(Layer { inflow: id, units: arrived, value: cost });
            }
            if !layers.is_empty() && wanted > arrived {
                layers.push(Layer { inflow: id, units: wanted - arrived, value: excess });
            }
            let print = fingerprint(&layers);
            if layers.is_empty() {
                self.layers_in.remove(&id);
            } else {
                self.layers_in.insert(id, layers);
            }
            let taken = TakenOver { cost: Some(cost), units: arrived, excess, layers: print };
            changed |= self.set_taken_over(id, taken, before);
        }
        changed
    }

    /// Cost and excess in the currency of the receiver's company; in another than the sender's the
    /// goods arrive as one layer.
    fn to_receiver(
        &self,
        ship: FactId,
        receive: FactId,
        layers: &mut Vec<Layer>,
        (cost, excess): (i64, i64),
    ) -> (i64, i64) {
        let (from, to) = (&self.facts[ship], &self.facts[receive]);
        let Some((rate, decimals)) = rate_between(&self.settings, from, to) else {
            return (cost, excess);
        };
        layers.clear();
        let converted = |amount| match amount {
            BEYOND => BEYOND,
            amount => rate.of_minor(amount, decimals).unwrap_or(BEYOND),
        };
        (converted(cost), converted(excess))
    }

    /// Over what the goods became, by quantity in base units; the last takes the rest.
    fn share_repack(&mut self, member: FactId, before: &mut Before) -> bool {
        let mut members = self.effect_group(member);
        members.retain(|id| !self.facts[*id].reversed);
        let (ins, outs): (Vec<FactId>, Vec<FactId>) =
            members.into_iter().partition(|id| self.facts[*id].kind == Kind::RepackIn);
        let mut value: i128 = outs.iter().map(|id| i128::from(self.facts[*id].cost())).sum();
        if in_range(value).is_err() {
            value = 0;
        }
        let mut units: i128 = ins.iter().map(|id| self.base_weight(*id)).sum();
        let mut changed = false;
        for id in ins {
            let part = self.base_weight(id);
            let cost = share_by_weight(value, part, units);
            value -= cost;
            units -= part;
            let cost = Some(i64::try_from(cost).expect("a part of a value in range is in range"));
            changed |= self.set_taken_over(id, TakenOver { cost, ..TakenOver::default() }, before);
        }
        changed
    }

    /// A quantity in base units, scaled so that items of any decimals compare.
    fn base_weight(&self, id: FactId) -> i128 {
        let record = &self.facts[id];
        let at = record.key.effective_at();
        let item = record.item.and_then(|item| self.settings.item(item, at));
        let decimals = item.map_or(0, |item| u32::from(item.decimals));
        // Decimals are at most 6, quantities below 2^53.
        i128::from(record.quantity.0) * 10i128.pow(6 - decimals.min(6))
    }

    /// The facts that have effect together: both sides of a repack, a revaluation with the receipts
    /// it names, else the fact alone.
    pub(super) fn effect_group(&self, id: FactId) -> Vec<FactId> {
        let record = &self.facts[id];
        if !self.has_effect_in_a_group(id) {
            return vec![id];
        }
        let together = |kind| {
            if record.kind == Kind::Revaluation { kind == record.kind } else { is_repack(kind) }
        };
        let members = record.group.0..record.group.0 + u32::from(record.group_len);
        let members = members.map(FactId).filter(|member| member.0 < self.facts.next().0);
        members.filter(|member| together(self.facts[*member].kind)).collect()
    }

    /// Whether a fact may have effect only together with others.
    pub(super) fn has_effect_in_a_group(&self, id: FactId) -> bool {
        let kind = self.facts[id].kind;
        kind == Kind::Revaluation || is_repack(kind)
    }

    /// Balances a repack. What came of it is worth what went into it, except around a circle that
    /// never comes to rest or beyond what the books hold: such a difference goes to the price
    /// variance.
    pub(super) fn balance_repack(&mut self, member: FactId) {
        let members = self.effect_group(member);
        let went_in = |id: &FactId| self.facts[*id].kind == Kind::RepackOut;
        let outs = members.iter().filter(|id| went_in(id));
        let total: i128 = outs.map(|id| i128::from(self.facts[*id].cost())).sum();
        let first_in = members.iter().find(|id| !went_in(id)).copied();
        let became: i128 = members
            .iter()
            .filter(|id| !went_in(id))
            .map(|id| i128::from(self.facts[*id].worth()))
            .sum();
        let rest = in_range(total).and_then(|_| in_range(total - became));
        for id in members {
            let residue = match rest {
                Ok(rest) if Some(id) == first_in => rest,
                Ok(_) => 0,
                // Too much for one line: every member stands for itself.
                Err(_) => -self.facts[id].worth(),
            };
            self.facts[id].target.residue = residue;
        }
    }
}

/// Units of a ship and what is shared of them: their cost, or what another company pays.
fn worth_on_the_way(ship: &FactRecord) -> (i64, i64) {
    match ship.between {
        true if ship.reversed => (0, 0),
        true => (ship.quantity.0, ship.stated.unwrap_or(0)),
        false if ship.is_active() => (ship.quantity.0, ship.cost()),
        false => (0, 0),
    }
}

/// Tells lists of layers apart; 0 for none.
///
/// Source: FNV-1a, Fowler, Noll and Vo, 64 bits.
fn fingerprint(layers: &[Layer]) -> u64 {
    if layers.is_empty() {
        return 0;
    }
    let figures = layers.iter().flat_map(|layer| {
        [u64::from(layer.inflow.0), layer.units.cast_unsigned(), layer.value.cast_unsigned()]
    });
    figures.fold(0xcbf2_9ce4_8422_2325, |hash, figure| {
        (hash ^ figure).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
    }) | 1
}

/// Whether facts of this kind turn goods into other goods.
pub(super) const fn is_repack(kind: Kind) -> bool {
    matches!(kind, Kind::RepackIn | Kind::RepackOut)
}
