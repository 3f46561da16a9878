//! The layers of a pool in the order in which they came. Knows no costing and no sums.
//!
//! The oldest stands in the pool itself: many pools have no other, goods that leave by their age
//! leave from it, and where there are millions of pools each step aside waits for memory.
//! Invariant: younger ones stand behind an oldest one.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use super::Layer;

/// Layers, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LayerQueue {
    oldest: Option<Layer>,
    younger: VecDeque<Layer>,
}

impl LayerQueue {
    pub(super) fn len(&self) -> usize {
        usize::from(self.oldest.is_some()) + self.younger.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Layer> {
        self.oldest.iter().chain(&self.younger)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Layer> {
        self.oldest.iter_mut().chain(&mut self.younger)
    }

    /// Adds the youngest.
    pub(super) fn push(&mut self, layer: Layer) {
        if self.oldest.is_none() {
            self.oldest = Some(layer);
        } else {
            self.younger.push_back(layer);
        }
    }

    /// Takes off what has no units any more at either end.
    pub(super) fn take_off_ends(&mut self) {
        let gone = |layer: Option<&Layer>| layer.is_some_and(|layer| layer.units == 0);
        while gone(self.oldest.as_ref()) {
            self.oldest = self.younger.pop_front();
        }
        while gone(self.younger.back()) {
            self.younger.pop_back();
        }
    }

    /// Takes out what has no units any more, wherever it stands.
    pub(super) fn take_out_empty(&mut self) {
        self.younger.retain(|layer| layer.units > 0);
        self.take_off_ends();
    }

    pub(super) fn clear(&mut self) {
        (self.oldest, self.younger) = (None, VecDeque::new());
    }
}

impl Index<usize> for LayerQueue {
    type Output = Layer;

    fn index(&self, at: usize) -> &Layer {
        match (at.checked_sub(1), &self.oldest) {
            (None, Some(oldest)) => oldest,
            (None, None) => panic!("a queue without an oldest layer is empty"),
            (Some(at), _) => &self.younger[at],
        }
    }
}

impl IndexMut<usize> for LayerQueue {
    fn index_mut(&mut self, at: usize) -> &mut Layer {
        match (at.checked_sub(1), &mut self.oldest) {
            (None, Some(oldest)) => oldest,
            (None, None) => panic!("a queue without an oldest layer is empty"),
            (Some(at), _) => &mut self.younger[at],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FactId;
    use super::*;

    fn queue(units: &[i64]) -> LayerQueue {
        let mut queue = LayerQueue::default();
        for units in units {
            queue.push(Layer { inflow: FactId(1), units: *units, value: 0 });
        }
        queue
    }

    fn units(queue: &LayerQueue) -> Vec<i64> {
        let all: Vec<i64> = queue.iter().map(|layer| layer.units).collect();
        let by_place: Vec<i64> = (0..queue.len()).map(|at| queue[at].units).collect();
        assert_eq!((all.len(), &all), (by_place.len(), &by_place));
        assert_eq!(all.is_empty(), queue.is_empty());
        all
    }

    #[test]
    fn what_is_empty_goes_and_the_next_is_the_oldest() {
        let mut ends = queue(&[0, 0, 3, 0, 2, 0]);
        ends.take_off_ends();
        assert_eq!(units(&ends), [3, 0, 2]);
        ends.take_out_empty();
        assert_eq!(units(&ends), [3, 2]);
        ends[0].units = 0;
        ends[1].units = 7;
        ends.take_off_ends();
        assert_eq!((units(&ends), &ends), (vec![7], &queue(&[7])));
        ends[0].units = 0;
        ends.take_out_empty();
        assert_eq!((units(&ends), &ends), (vec![], &queue(&[])));
        let mut cleared = queue(&[1, 2]);
        cleared.clear();
        assert_eq!(cleared, queue(&[]));
    }
}
