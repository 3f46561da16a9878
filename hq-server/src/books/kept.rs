//! States of a pool kept along its history: it is folded again from the last one before each change up
//! to the first one after it that is as it was. Knows no facts.
//!
//! Invariant: in a kept state nothing waits for a cost, so what comes after it changes nothing
//! before it; something happened before it, for a pool's first fact decides what it begins with.
//! The states of a pool that is not to be folded again are those that a fold comes by.

use shared::fact::effective::EffectiveKey;

use super::pool::PoolState;

/// A state is kept at most once in so many facts, and less often where it is large. No figure
/// depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptEvery(pub usize);

impl Default for KeptEvery {
    fn default() -> Self {
        Self(64)
    }
}

/// A state of so many sites and layers is kept half as often.
const WEIGHTY: usize = 64;

/// A state before a fact.
#[derive(Clone, Debug)]
struct Kept {
    /// The fact's place in the history.
    at: usize,
    key: EffectiveKey,
    state: PoolState,
}

/// The kept states of one pool, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptStates(Vec<Kept>);

impl KeptStates {
    /// Keeps the state before the fact at a place, among those from `next` on, where one is due and
    /// something happened before it. Whether it does.
    pub(super) fn offer(
        &mut self,
        KeptEvery(every): KeptEvery,
        at: usize,
        key: impl FnOnce() -> EffectiveKey,
        next: usize,
        state: &PoolState,
        happened: impl FnOnce() -> bool,
    ) -> bool {
        let before = next.checked_sub(1).map_or(0, |last| self.0[last].at);
        let since = at - before;
        let due = since >= every && since >= every * (1 + state.weight() / WEIGHTY);
        let keep = due && state.waits_for_nothing() && happened();
        if keep {
            self.0.insert(next, Kept { at, key: key(), state: state.clone() });
        }
        keep
    }

    /// The last state before a change, with the place of the fact it stands before.
    pub(super) fn last_before(&self, changed: EffectiveKey) -> Option<(usize, &PoolState)> {
        let known = self.0.partition_point(|kept| kept.key <= changed);
        let last = self.0[..known].last();
        last.map(|kept| (kept.at, &kept.state))
    }

    /// The number of the first state after a place.
    pub(super) fn after(&self, at: usize) -> usize {
        self.0.partition_point(|kept| kept.at <= at)
    }

    /// The place that a state stands at.
    pub(super) fn place(&self, number: usize) -> Option<usize> {
        self.0.get(number).map(|kept| kept.at)
    }

    /// Takes what a fold came by instead of a state; whether that is what it was.
    pub(super) fn replace(&mut self, number: usize, state: &PoolState, is_good: bool) -> Replaced {
        if !is_good || !state.waits_for_nothing() {
            self.0.remove(number);
            return Replaced::Gone;
        }
        let held = &mut self.0[number].state;
        if held == state {
            return Replaced::Same;
        }
        held.clone_from(state);
        Replaced::Other
    }

    /// Facts with these keys, ascending, came into the history.
    pub(super) fn make_room(&mut self, late: &[EffectiveKey]) {
        for kept in &mut self.0 {
            kept.at += late.partition_point(|key| *key < kept.key);
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What became of a kept state that a fold came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaced {
    /// It is as it was.
    Same,
    /// It is another.
    Other,
    /// It can't be kept any more.
    Gone,
}
