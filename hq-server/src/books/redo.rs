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

/// Puts facts into a history at places of it, both ascending: each before what stands there.
pub(super) fn insert_all(history: &mut Vec<FactId>, late: &[(usize, FactId)]) {
    let mut end = history.len();
    history.resize(end + late.len(), FactId(0));
    for (before, (at, id)) in late.iter().enumerate().rev() {
        history.copy_within(*at..end, at + before + 1);
        history[at + before] = *id;
        end = *at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_facts_stand_before_what_was_there() {
        let ids = |numbers: &[u32]| numbers.iter().copied().map(FactId).collect::<Vec<_>>();
        let mut history = ids(&[1, 2, 3]);
        let late = [(0, 4), (1, 5), (1, 6), (3, 7)].map(|(at, id)| (at, FactId(id)));
        insert_all(&mut history, &late);
        assert_eq!(history, ids(&[4, 1, 5, 6, 2, 3, 7]));
        insert_all(&mut history, &[]);
        assert_eq!(history.len(), 7);
    }
}
