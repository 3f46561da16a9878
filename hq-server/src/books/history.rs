//! The facts of a pool in effective order. Knows when each takes effect, so that a place is found
//! without a look at the facts, and nothing else of them.
//!
//! Invariant: the times ascend, and each is that of the fact at the same place.

use std::ops::Deref;

use shared::fact::effective::EffectiveKey;
use shared::time::Timestamp;

use super::valuation::FactId;

/// A pool's facts in effective order.
#[derive(Clone, Debug, Default)]
pub struct History {
    facts: Vec<FactId>,
    times: Vec<Timestamp>,
}

impl Deref for History {
    type Target = [FactId];

    fn deref(&self) -> &[FactId] {
        &self.facts
    }
}

impl History {
    /// Adds a fact that comes last.
    pub(super) fn push(&mut self, id: FactId, key: EffectiveKey) {
        self.facts.push(id);
        self.times.push(key.effective_at());
    }

    /// Where a fact with this key belongs; `key_of` is asked where times are equal only.
    pub(super) fn place_of(
        &self,
        key: EffectiveKey,
        key_of: impl Fn(FactId) -> EffectiveKey,
    ) -> usize {
        let at = key.effective_at();
        let first = self.times.partition_point(|time| *time < at);
        let equal = self.times[first..].partition_point(|time| *time == at);
        first + self.facts[first..first + equal].partition_point(|id| key_of(*id) < key)
    }

    /// Puts facts at places of it, the places ascending: each before what stands there.
    pub(super) fn insert_all(&mut self, late: &[(usize, EffectiveKey, FactId)]) {
        insert_all(&mut self.facts, late.iter().map(|(at, _, id)| (*at, *id)));
        insert_all(&mut self.times, late.iter().map(|(at, key, _)| (*at, key.effective_at())));
    }

    /// Takes some facts out.
    pub(super) fn retain(&mut self, keeps: impl Fn(&FactId) -> bool) {
        let mut kept = self.facts.iter().map(&keeps);
        self.times.retain(|_| kept.next().unwrap_or(false));
        self.facts.retain(keeps);
    }

    /// Takes a fact out.
    pub(super) fn remove(&mut self, id: FactId) {
        if let Some(at) = self.facts.iter().position(|other| *other == id) {
            self.facts.remove(at);
            self.times.remove(at);
        }
    }
}

fn insert_all<T: Copy>(
    list: &mut Vec<T>,
    new: impl DoubleEndedIterator<Item = (usize, T)> + ExactSizeIterator + Clone,
) {
    let mut end = list.len();
    // Room for them; each is put into its place below.
    list.extend(new.clone().map(|(_, element)| element));
    for (before, (at, element)) in new.enumerate().rev() {
        list.copy_within(at..end, at + before + 1);
        list[at + before] = element;
        end = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::fact::effective::{LogRank, OwnPlace};
    use shared::ids::Seq;

    /// A fact whose number says when it takes effect: several share a time.
    fn key(number: u32) -> EffectiveKey {
        let occurred_at = Timestamp(i64::from(number) / 10);
        let seq = Seq(u64::from(number));
        EffectiveKey::own(OwnPlace { occurred_at, recorded_at: occurred_at, log: LogRank(1), seq })
    }

    #[test]
    fn late_facts_stand_in_effective_order() {
        let mut history = History::default();
        let mut put = |numbers: &[u32]| {
            let placed = numbers.iter().map(|number| {
                let at = history.place_of(key(*number), |id| key(id.0));
                (at, key(*number), FactId(*number))
            });
            let placed: Vec<_> = placed.collect();
            history.insert_all(&placed);
            history.iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(put(&[11, 24, 30]), [11, 24, 30]);
        assert_eq!(put(&[2, 21, 22, 25, 41]), [2, 11, 21, 22, 24, 25, 30, 41]);
        assert_eq!(put(&[]).len(), 8);
        history.remove(FactId(24));
        history.push(FactId(57), key(57));
        assert_eq!(
            history.iter().map(|id| id.0).collect::<Vec<_>>(),
            [2, 11, 21, 22, 25, 30, 41, 57]
        );
        assert_eq!(history.place_of(key(24), |id| key(id.0)), 4);
        history.retain(|id| id.0 % 2 == 1);
        assert_eq!(history.iter().map(|id| id.0).collect::<Vec<_>>(), [11, 21, 25, 41, 57]);
        assert_eq!(history.place_of(key(40), |id| key(id.0)), 3);
    }
}
