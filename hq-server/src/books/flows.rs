//! Which pools pass costs on to which: along transfers, returns and repacks. Knows no figures.
//! Invariant: a link that once was stays, whether its facts are reversed or not.

use std::collections::{BTreeMap, BTreeSet, btree_set};

use super::fact_table::PoolId;

/// Links from a pool to those that take over its costs.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows(BTreeMap<PoolId, BTreeSet<PoolId>>);

impl Flows {
    /// Costs of `from` go on to `to`.
    pub(super) fn add(&mut self, from: PoolId, to: PoolId) {
        if from != to {
            self.0.entry(from).or_default().insert(to);
        }
    }

    /// Every pool that costs of `from` can reach, in rings: pools that pass costs around to each
    /// other stand together, and a ring stands before the rings it passes costs on to.
    pub(super) fn rings(&self, from: &[PoolId]) -> Vec<Vec<PoolId>> {
        let mut search = Search::new(self);
        for pool in from {
            search.visit(*pool);
        }
        search.rings.reverse();
        search.rings
    }

    fn links(&self, from: PoolId) -> btree_set::Iter<'_, PoolId> {
        static NONE: BTreeSet<PoolId> = BTreeSet::new();
        self.0.get(&from).unwrap_or(&NONE).iter()
    }
}

/// Strongly connected components in one walk, without recursion: a chain of pools may be long.
///
/// Source: Robert Tarjan, "Depth-first search and linear graph algorithms", 1972.
struct Search<'a> {
    flows: &'a Flows,
    /// When a pool was first seen, and the earliest pool known to be in its ring.
    seen: BTreeMap<PoolId, (usize, usize)>,
    /// Seen, and not yet in a ring.
    open: Vec<PoolId>,
    /// The walk: pools with the links still to follow.
    path: Vec<(PoolId, btree_set::Iter<'a, PoolId>)>,
    rings: Vec<Vec<PoolId>>,
}

/// The place of a pool whose ring is found.
const CLOSED: usize = usize::MAX;

impl<'a> Search<'a> {
    const fn new(flows: &'a Flows) -> Self {
        Self { flows, seen: BTreeMap::new(), open: Vec::new(), path: Vec::new(), rings: Vec::new() }
    }

    fn visit(&mut self, start: PoolId) {
        if self.seen.contains_key(&start) {
            return;
        }
        self.enter(start);
        while let Some((pool, links)) = self.path.last_mut() {
            let pool = *pool;
            match links.next().copied() {
                Some(to) if self.seen.contains_key(&to) => self.lower(pool, to),
                Some(to) => self.enter(to),
                None => self.leave(pool),
            }
        }
    }

    fn enter(&mut self, pool: PoolId) {
        let number = self.seen.len();
        self.seen.insert(pool, (number, number));
        self.open.push(pool);
        self.path.push((pool, self.flows.links(pool)));
    }

    /// `pool` reaches `to`: it is in the same ring as the earliest pool that `to` reaches.
    fn lower(&mut self, pool: PoolId, to: PoolId) {
        let (_, reached) = self.seen[&to];
        if let Some((_, earliest)) = self.seen.get_mut(&pool) {
            *earliest = reached.min(*earliest);
        }
    }

    fn leave(&mut self, pool: PoolId) {
        self.path.pop();
        let (number, earliest) = self.seen[&pool];
        if number == earliest {
            let at = self.open.iter().rposition(|held| *held == pool).unwrap_or(0);
            let ring = self.open.split_off(at);
            for member in &ring {
                self.seen.insert(*member, (CLOSED, CLOSED));
            }
            self.rings.push(ring);
        }
        if let Some((before, _)) = self.path.last() {
            self.lower(*before, pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(links: &[(u32, u32)], from: &[u32]) -> Vec<Vec<u32>> {
        let mut flows = Flows::default();
        for (from, to) in links {
            flows.add(PoolId(*from), PoolId(*to));
        }
        let from: Vec<_> = from.iter().copied().map(PoolId).collect();
        let numbers = |ring: Vec<PoolId>| {
            let mut numbers: Vec<_> = ring.into_iter().map(|pool| pool.0).collect();
            numbers.sort_unstable();
            numbers
        };
        flows.rings(&from).into_iter().map(numbers).collect()
    }

    #[test]
    fn pools_in_a_circle_stand_together_before_those_they_feed() {
        let links = [(1, 2), (2, 3), (3, 1), (3, 4), (4, 5), (5, 4), (6, 1), (7, 6)];
        assert_eq!(rings(&links, &[1]), [vec![1, 2, 3], vec![4, 5]]);
        assert_eq!(rings(&links, &[5, 6]), [vec![6], vec![1, 2, 3], vec![4, 5]]);
        assert_eq!(rings(&links, &[9]), [vec![9]]);
    }

    #[test]
    fn agree_with_reachability() {
        let mut state = 1u64;
        for _ in 0..300 {
            let mut draw = |limit: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 33) % limit) as u32
            };
            let links: Vec<_> = (0..10).map(|_| (draw(8), draw(8))).collect();
            let reaches = |from: u32, to: u32| {
                let mut known = BTreeSet::from([from]);
                for _ in 0..8 {
                    known.extend(
                        links
                            .iter()
                            .filter(|(a, _)| known.contains(a))
                            .map(|(_, b)| *b)
                            .collect::<Vec<_>>(),
                    );
                }
                known.contains(&to)
            };
            let found = rings(&links, &[0, 1, 2, 3, 4, 5, 6, 7]);
            let place = |pool: u32| found.iter().position(|ring| ring.contains(&pool));
            for (a, b) in (0..8).flat_map(|a| (0..8).map(move |b| (a, b))) {
                let together = reaches(a, b) && reaches(b, a);
                assert_eq!(place(a) == place(b), together, "{a} and {b} of {links:?}");
                assert!(!reaches(a, b) || place(a) <= place(b), "{a} before {b} of {links:?}");
            }
        }
    }
}
