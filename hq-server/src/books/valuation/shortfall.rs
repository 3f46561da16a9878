//! Units that left before they were there, oldest first. Knows no way of costing: whoever holds
//! the queue says what an inflow is worth. Invariant: the sums equal the entries.

use std::collections::VecDeque;

use super::{FactId, OutOfRange, in_range, share};

/// Units that left beyond what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The movement that took them.
    pub fact: FactId,
    /// Units not yet covered.
    pub missing: i64,
    /// Their provisional cost.
    pub provisional: i64,
    /// What the whole movement costs so far.
    pub cost: i64,
}

/// A movement whose provisional cost was replaced by an inflow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The movement that had taken too much.
    pub fact: FactId,
    /// By how much its cost changed.
    pub change: i64,
}

impl Shortfall {
    /// What is left of it when an inflow of `units` worth `value` covers it, and how much of that
    /// value it takes.
    fn cover(&self, units: i64, value: i64) -> Result<(i64, Self), OutOfRange> {
        let covered = units.min(self.missing);
        let priced = share(value, covered, units);
        let released = share(self.provisional, covered, self.missing);
        let cost = i128::from(self.cost) + i128::from(priced) - i128::from(released);
        let rest = Self {
            fact: self.fact,
            missing: self.missing - covered,
            provisional: self.provisional - released,
            cost: in_range(cost)?,
        };
        Ok((priced, rest))
    }
}

/// What is left of an inflow after it covered shortfalls; applied by [`Shortfalls::apply`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// Units not needed.
    pub units: i64,
    /// What they are worth.
    pub value: i64,
    /// Units that covered something.
    pub used: i64,
    /// The provisional cost that this released.
    pub released: i64,
    ended: usize,
    in_part: Option<Shortfall>,
}

/// Open shortfalls, oldest first; by themselves, for few pools have any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shortfalls(Option<Box<Open>>);

/// At least one open shortfall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Open {
    queue: VecDeque<Shortfall>,
    missing: i64,
    provisional: i64,
}

impl Shortfalls {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Units missing in all.
    pub(super) fn missing(&self) -> i64 {
        self.0.as_ref().map_or(0, |open| open.missing)
    }

    /// Their provisional cost in all.
    pub(super) fn provisional(&self) -> i64 {
        self.0.as_ref().map_or(0, |open| open.provisional)
    }

    /// Adds the youngest. The pool has checked that quantity and value stay in range.
    pub(super) fn push(&mut self, shortfall: Shortfall) {
        let open = self.0.get_or_insert_default();
        open.missing += shortfall.missing;
        open.provisional += shortfall.provisional;
        open.queue.push_back(shortfall);
    }

    /// What an inflow of `units` worth `value` covers; changes nothing but `covered`.
    pub(super) fn cover(
        &self,
        units: i64,
        value: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<Rest, OutOfRange> {
        let mut rest = Rest { units, value, used: 0, released: 0, ended: 0, in_part: None };
        for shortfall in self.0.iter().flat_map(|open| &open.queue) {
            if rest.units == 0 {
                break;
            }
            let (priced, left) = shortfall.cover(rest.units, rest.value)?;
            let used = shortfall.missing - left.missing;
            rest.units -= used;
            rest.value -= priced;
            rest.used += used;
            rest.released += shortfall.provisional - left.provisional;
            covered.push(Covered { fact: shortfall.fact, change: left.cost - shortfall.cost });
            rest.ended += usize::from(left.missing == 0);
            rest.in_part = Some(left).filter(|left| left.missing > 0);
        }
        Ok(rest)
    }

    /// Makes what [`Self::cover`] found true.
    pub(super) fn apply(&mut self, rest: &Rest) {
        let Some(open) = &mut self.0 else { return };
        open.missing -= rest.used;
        open.provisional -= rest.released;
        open.queue.drain(..rest.ended);
        match (rest.in_part, open.queue.front_mut()) {
            (Some(left), Some(oldest)) => *oldest = left,
            (_, None) => self.end(),
            _ => {}
        }
    }

    /// Ends all of them: their provisional cost is final.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}
