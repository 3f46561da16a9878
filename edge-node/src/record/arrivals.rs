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

#[cfg(test)]
mod tests {
    use shared::fact::statement::Measure;
    use shared::ids::{DeviceNo, ItemNo, SiteNo};
    use shared::quantity::{Scaled, Unit};
    use shared::time::Timestamp;

    use super::*;

    fn ship(counter: u64) -> Capture {
        Capture { device: DeviceNo(4), counter }
    }

    fn arrival(counter: u64) -> Arrival {
        let unit = Unit::from_bytes(b"EA").expect("a unit");
        let quantity = Measure { figure: Scaled::new(3, 0).expect("three"), unit };
        let transfer = OpenTransfer {
            ship: ship(counter),
            from: SiteNo(4),
            to: SiteNo(3),
            item: ItemNo(1),
            quantity,
            lot: None,
            document: None,
            shipped_at: Timestamp(0),
            open: true,
        };
        Arrival { transfer, price: None }
    }

    fn told(catalogue: &mut Catalogue, counter: u64, open: bool) {
        let transfer = OpenTransfer { open, ..arrival(counter).transfer };
        catalogue.apply(&transfer.to_fact().expect("a legal fact"));
    }

    #[test]
    fn hqs_word_and_a_receive_end_what_a_sender_announced() {
        let (arrivals, mut catalogue) = (Arrivals::default(), Catalogue::new());
        let (one, other) = (LogId([1; 32]), LogId([2; 32]));
        let coming = |catalogue: &Catalogue| -> Vec<u64> {
            arrivals.coming(catalogue).iter().map(|each| each.transfer.ship.counter).collect()
        };
        arrivals.announce(one, vec![arrival(9), arrival(2), arrival(5)]);
        arrivals.announce(other, vec![arrival(7)]);
        assert_eq!(coming(&catalogue), [2, 5, 7, 9]);
        told(&mut catalogue, 2, true);
        told(&mut catalogue, 9, false);
        assert_eq!(coming(&catalogue), [5, 7], "HQ knows of 2, and that 9 has arrived");
        arrivals.receive(ship(5));
        assert_eq!(coming(&catalogue), [7]);
        // A newer note says everything anew; what is not in it was taken back.
        arrivals.announce(one, vec![arrival(5), arrival(11)]);
        arrivals.announce(other, vec![]);
        assert_eq!(coming(&catalogue), [11]);
    }
}
