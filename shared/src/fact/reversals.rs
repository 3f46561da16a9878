//! Which facts count: one counts while no reversal that counts names it. Where what is named is a
//! reversal itself, what that one names counts again, and so on. Knows neither facts nor what they
//! do; a fact is what its reader calls it by.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// What reversals say about the facts of a log, or of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reversals<K> {
    /// The reversals of each fact, also those that do not count themselves.
    of: BTreeMap<K, BTreeSet<K>>,
    /// Facts that do not count.
    undone: BTreeSet<K>,
}

impl<K> Default for Reversals<K> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), undone: BTreeSet::new() }
    }
}

/// A fact that begins to count, or does no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toggled<K> {
    /// The fact.
    pub fact: K,
    /// Whether it counts no more.
    pub undone: bool,
}

impl<K: Copy + Ord> Reversals<K> {
    /// Whether a fact does not count.
    pub fn is_undone(&self, fact: K) -> bool {
        self.undone.contains(&fact)
    }

    /// The reversals that name each fact, and the facts that do not count: what is kept of it.
    pub const fn parts(&self) -> (&BTreeMap<K, BTreeSet<K>>, &BTreeSet<K>) {
        (&self.of, &self.undone)
    }

    /// What [`Reversals::parts`] gave.
    pub const fn from_parts(of: BTreeMap<K, BTreeSet<K>>, undone: BTreeSet<K>) -> Self {
        Self { of, undone }
    }

    /// What is known of a fact from elsewhere: the reversals that name it, of which as much has to be
    /// known, and whether it counts. Does nothing where the fact is known already; says whether not.
    pub fn know(&mut self, fact: K, reversals: impl IntoIterator<Item = K>, undone: bool) -> bool {
        let Entry::Vacant(unknown) = self.of.entry(fact) else { return false };
        unknown.insert(reversals.into_iter().collect());
        if undone {
            self.undone.insert(fact);
        }
        true
    }

    /// A reversal takes effect. `together` gives the facts that have effect with one, itself among
    /// them, and `named_by` what a fact names where it is a reversal. Returns what changes, in order. A
    /// circle of reversals, which only a liar writes, is gone through once.
    pub fn reverse(
        &mut self,
        reversal: K,
        named: K,
        together: impl Fn(K) -> Vec<K>,
        named_by: impl Fn(K) -> Option<K>,
    ) -> Vec<Toggled<K>> {
        self.of.entry(named).or_default().insert(reversal);
        let (mut toggled, mut next) = (Vec::new(), Some(named));
        while let Some(named) = next.take() {
            if toggled.iter().any(|each: &Toggled<K>| each.fact == named) {
                break;
            }
            let members = together(named);
            let undone = members.iter().any(|member| self.is_named(*member));
            for fact in members {
                let changes =
                    if undone { self.undone.insert(fact) } else { self.undone.remove(&fact) };
                if changes {
                    toggled.push(Toggled { fact, undone });
                    next = named_by(fact);
                }
            }
        }
        toggled
    }

    /// Whether a reversal that counts names a fact.
    fn is_named(&self, fact: K) -> bool {
        let reversals = self.of.get(&fact).into_iter().flatten();
        reversals.into_iter().any(|reversal| !self.undone.contains(reversal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts 1 and 2 have effect together; what is over 10 names what is 10 less.
    fn reverse(reversals: &mut Reversals<u32>, reversal: u32) -> Vec<(u32, bool)> {
        let together = |fact| if fact < 3 { vec![1, 2] } else { vec![fact] };
        let named_by = |fact: u32| fact.checked_sub(10);
        let toggled = reversals.reverse(reversal, reversal - 10, together, named_by);
        toggled.into_iter().map(|each| (each.fact, each.undone)).collect()
    }

    #[test]
    fn what_a_reversal_names_counts_again_where_that_is_reversed() {
        let mut reversals = Reversals::default();
        assert_eq!(reverse(&mut reversals, 12), [(1, true), (2, true)]);
        // A second one changes nothing, and the first one's reversal alone does not either.
        assert_eq!(reverse(&mut reversals, 11), []);
        assert_eq!(reverse(&mut reversals, 22), [(12, true)]);
        assert!(reversals.is_undone(1));
        assert_eq!(reverse(&mut reversals, 21), [(11, true), (1, false), (2, false)]);
        assert_eq!(reverse(&mut reversals, 32), [(22, true), (12, false), (1, true), (2, true)]);
    }

    #[test]
    fn a_circle_ends() {
        let mut reversals = Reversals::default();
        let alone = |fact| vec![fact];
        let toggled = reversals.reverse(7, 7, alone, |_| Some(7));
        assert_eq!(toggled, [Toggled { fact: 7, undone: true }]);
    }

    #[test]
    fn what_is_known_counts_for_what_follows() {
        let mut reversals = Reversals::default();
        reversals.know(1, [], true);
        reversals.know(2, [12], true);
        reversals.know(12, [], false);
        assert_eq!(reverse(&mut reversals, 22), [(12, true), (1, false), (2, false)]);
        // Known already: nothing is undone anew.
        reversals.know(1, [], true);
        assert!(!reversals.is_undone(1));
    }
}
