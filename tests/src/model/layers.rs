//! A pool under first in, first out, or last in, first out: each inflow is a layer.

use num_traits::{Signed, Zero};
use shared::fact::statement::CostMethod;
use shared::ids::Capture;

use super::figure::{Figure, share};
use super::pool::{Layer, Part, Pool, Repriced};

impl Pool {
    /// What covers nothing becomes the newest layer. Goods that all go to what is missing were a
    /// layer too: their cost is the last known.
    pub(super) fn put_layer(&mut self, inflow: Capture, mut part: Part) -> Vec<Repriced> {
        self.last_cost = &part.value / &part.quantity;
        let repriced = self.cover(&mut part);
        if part.quantity.is_positive() {
            self.quantity += &part.quantity;
            self.value += &part.value;
            let inflow = part.came_with.unwrap_or(inflow);
            self.layers.push(Layer { inflow, part });
        }
        repriced
    }

    /// What came with `came_with` leaves first, then the oldest or the newest. Gives what left, the
    /// oldest first.
    pub(super) fn take_layers(
        &mut self,
        quantity: &Figure,
        came_with: Option<Capture>,
    ) -> Vec<Part> {
        let of_inflow = |layer: &Layer| Some(layer.inflow) == came_with;
        let mut order: Vec<usize> = (0..self.layers.len()).collect();
        if self.method == CostMethod::Lifo {
            order.reverse();
        }
        // A stable sort: the method decides among the others.
        order.sort_by_key(|index| !of_inflow(&self.layers[*index]));
        let mut left = quantity.clone();
        let mut taken: Vec<(usize, Part)> = Vec::new();
        for index in order {
            let Layer { inflow, part } = &mut self.layers[index];
            let leaves = part.quantity.clone().min(left.clone());
            if leaves.is_positive() {
                self.last_cost = &part.value / &part.quantity;
                left -= &leaves;
                let came_with = Some(*inflow);
                taken.push((index, Part { came_with, ..part.split(&leaves) }));
            }
        }
        self.layers.retain(|layer| layer.part.quantity.is_positive());
        taken.sort_by_key(|(index, _)| *index);
        let parts: Vec<Part> = taken.into_iter().map(|(_, part)| part).collect();
        self.quantity -= quantity;
        self.value -= Part::sum(&parts).value;
        parts
    }

    /// Shares an amount by quantity; the last layer takes the rest.
    pub(super) fn revalue_layers(&mut self, amount: &Figure, receipts: &[Capture]) -> Figure {
        let named = |layer: &&mut Layer| receipts.is_empty() || receipts.contains(&layer.inflow);
        let mut layers: Vec<&mut Layer> = self.layers.iter_mut().filter(named).collect();
        let units: Figure = layers.iter().map(|layer| &layer.part.quantity).sum();
        let mut left = if layers.is_empty() { Figure::zero() } else { amount.clone() };
        let added = left.clone();
        let last = layers.len().saturating_sub(1);
        for (index, layer) in layers.iter_mut().enumerate() {
            let own = share(amount, &layer.part.quantity, &units);
            let own = if index == last { left.clone() } else { own };
            layer.part.value += &own;
            left -= own;
        }
        added
    }
}
