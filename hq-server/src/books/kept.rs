//! States of a pool kept along its history, so that it is folded again from the last one before
//! what changed. Knows no facts.
//!
//! Invariant: in a kept state nothing waits for a cost, so what comes after it changes nothing
//! before it; something happened before it, for a pool's first fact decides what it begins with;
//! and it is kept only while nothing before it changed.

use shared::fact::effective::EffectiveKey;

use super::pool::PoolState;
use super::redo::From;

/// A state is kept at most once in so many facts, and less often where it is large. No figure
/// depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptEvery(pub usize);

impl Default for KeptEvery {
    fn default() -> Self {
        Self(128)
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
    /// Whether a state before the fact at a place is one to keep.
    pub(super) fn is_due(&self, every: KeptEvery, at: usize, state: &PoolState) -> bool {
        let KeptEvery(every) = every;
        let since = at - self.0.last().map_or(0, |last| last.at);
        let enough = since >= every && since >= every * (1 + state.weight() / WEIGHTY);
        enough && state.waits_for_nothing()
    }

    /// Keeps the state before the fact at a place.
    pub(super) fn keep(&mut self, at: usize, key: EffectiveKey, state: &PoolState) {
        self.0.push(Kept { at, key, state: state.clone() });
    }

    /// Forgets what is no longer so, and gives the last state that is, with the place of the fact
    /// it stands before.
    pub(super) fn last_before(&mut self, from: From) -> Option<(usize, &PoolState)> {
        self.0.retain(|kept| Some(kept.key) <= from);
        self.0.last().map(|kept| (kept.at, &kept.state))
    }
}
