//! Which pools are to be folded again, what changed in them, and what came too late to be in their
//! histories. Knows keys, and nothing of what facts cost.

use std::collections::BTreeMap;

use shared::fact::effective::EffectiveKey;

use super::fact_table::PoolId;
use super::valuation::FactId;

/// What changed in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The fact with this key, or what it takes over.
    At(EffectiveKey),
    /// It may be anything.
    Anywhere,
}

/// Everything that changed in a pool: the keys of its facts, ascending; `None` where it may be
/// anything.
pub(super) type Changes = Option<Vec<EffectiveKey>>;

/// The first change from a key on.
pub(super) fn next_change(changes: &[EffectiveKey], from: EffectiveKey) -> Option<EffectiveKey> {
    changes.get(changes.partition_point(|key| *key < from)).copied()
}

/// What is to be done about a pool.
#[derive(Clone, Debug, Default)]
struct Redo {
    anywhere: bool,
    changed: Vec<EffectiveKey>,
    /// Not yet in its history.
    late: Vec<FactId>,
}

/// Pools that are to be folded again.
#[derive(Clone, Debug, Default)]
pub(super) struct Dirty(BTreeMap<PoolId, Redo>);

impl Dirty {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(super) fn pools(&self) -> Vec<PoolId> {
        self.0.keys().copied().collect()
    }

    /// Something changed in a pool.
    pub(super) fn mark(&mut self, pool: PoolId, change: Change) {
        let redo = self.0.entry(pool).or_default();
        match change {
            Change::At(key) => redo.changed.push(key),
            Change::Anywhere => redo.anywhere = true,
        }
    }

    /// A fact of a marked pool is yet to be put into its history.
    pub(super) fn add_late(&mut self, pool: PoolId, id: FactId) {
        let redo = self.0.get_mut(&pool).expect("a pool is marked before what came late is noted");
        redo.late.push(id);
    }

    /// What came too late, by pool; it is nobody's afterwards.
    pub(super) fn take_late(&mut self) -> Vec<(PoolId, Vec<FactId>)> {
        let late = self.0.iter_mut().map(|(pool, redo)| (*pool, std::mem::take(&mut redo.late)));
        late.filter(|(_, late)| !late.is_empty()).collect()
    }

    /// What changed in a pool; anything, where nobody said.
    pub(super) fn changes_of(&self, pool: PoolId) -> Changes {
        let redo = self.0.get(&pool).filter(|redo| !redo.anywhere)?;
        let mut changed = redo.changed.clone();
        changed.sort_unstable();
        Some(changed)
    }

    /// A pool is folded.
    pub(super) fn remove(&mut self, pool: PoolId) {
        let done = self.0.remove(&pool);
        assert!(
            done.is_none_or(|redo| redo.late.is_empty()),
            "what came late is folded with its pool"
        );
    }
}
