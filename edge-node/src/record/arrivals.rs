//! Goods on their way here that their sender told of itself, by a dispatch note, before HQ did. Knows
//! no bundle and no network. Invariants: HQ's word on a transfer replaces the sender's; what was
//! received is not announced any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use shared::catalogue::{Catalogue, OpenTransfer};
use shared::ids::{Capture, LogId};
use shared::money::Price;

/// A transfer as its sender tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What is coming.
    pub transfer: OpenTransfer,
    /// The price of one unit, where the sender is another company.
    pub price: Option<Price>,
}

/// See the module; clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<RwLock<Announced>>);

#[derive(Debug, Default)]
struct Announced {
    by_sender: BTreeMap<LogId, Vec<Arrival>>,
    received: BTreeSet<Capture>,
}

impl Arrivals {
    /// A sender's newest note: everything that it has shipped here and HQ had not posted.
    pub fn announce(&self, sender: LogId, arrivals: Vec<Arrival>) {
        let mut announced = self.0.write().unwrap_or_else(PoisonError::into_inner);
        announced.by_sender.insert(sender, arrivals);
    }

    /// What is coming that HQ has not told of, by ship movement.
    pub fn coming(&self, catalogue: &Catalogue) -> Vec<Arrival> {
        let announced = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let all = announced.by_sender.values().flatten();
        let open = all.filter(|arrival| {
            let ship = arrival.transfer.ship;
            !catalogue.knows_transfer(ship) && !announced.received.contains(&ship)
        });
        let mut open: Vec<Arrival> = open.cloned().collect();
        open.sort_by_key(|arrival| arrival.transfer.ship);
        open
    }

    /// A receive of a transfer was recorded here.
    pub fn receive(&self, ship: Capture) {
        let mut announced = self.0.write().unwrap_or_else(PoisonError::into_inner);
        announced.received.insert(ship);
    }
}
