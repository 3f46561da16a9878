//! The captures of a branch. Its installation went on counting where the log that it left went on
//! counting, too, so that two facts carry one capture id. HQ gives the branch an installation
//! number of its own and keeps its facts under that. Pure.
//!
//! Invariant: `recorded(booked(fact)) == fact`: what was recorded, and so its chain, is never lost.

use shared::fact::Fact;
use shared::fact::field::{
    BASIS_COUNTER, BASIS_DEVICE, CAPTURE_COUNTER, CAPTURE_DEVICE, Field, REF_COUNTER, REF_DEVICE,
    Unsigned,
};
use shared::ids::DeviceNo;

/// Which captures of an installation stand under another number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Renames {
    device: DeviceNo,
    /// From which counter on under which number, ascending.
    from: Vec<(u64, DeviceNo)>,
}

/// Where a fact names captures: its own, and those that it refers to.
const CAPTURES: [(Field<Unsigned>, Field<Unsigned>); 3] =
    [(CAPTURE_DEVICE, CAPTURE_COUNTER), (REF_DEVICE, REF_COUNTER), (BASIS_DEVICE, BASIS_COUNTER)];

impl Renames {
    /// None yet.
    pub(super) const fn of(device: DeviceNo) -> Self {
        Self { device, from: Vec::new() }
    }

    /// A branch that begins with a fact stands under another number.
    pub(super) fn add(&mut self, first: &Fact, number: DeviceNo) {
        let counter = CAPTURE_COUNTER.of(first).unwrap_or(0);
        self.from.push((counter, number));
    }

    /// A fact as HQ keeps it.
    pub(super) fn booked(&self, fact: &Fact) -> Fact {
        rename(fact, |device, counter| {
            let is_own = device == u64::from(self.device.0);
            let found = self.from.iter().rfind(|(first, _)| *first <= counter);
            found.filter(|_| is_own).map(|(_, number)| *number)
        })
    }

    /// A fact as its installation recorded it.
    pub(super) fn recorded(&self, fact: &Fact) -> Fact {
        rename(fact, |device, _| {
            let was_given = |(_, number): &(u64, DeviceNo)| u64::from(number.0) == device;
            self.from.iter().any(was_given).then_some(self.device)
        })
    }
}

fn rename(fact: &Fact, number: impl Fn(u64, u64) -> Option<DeviceNo>) -> Fact {
    let mut renamed = fact.clone();
    for (device, counter) in CAPTURES {
        if let (Some(own), Some(counter)) = (device.of(fact), counter.of(fact))
            && let Some(number) = number(own, counter)
        {
            let put = device.put(&mut renamed, Some(number.0));
            put.expect("a number in the place of another keeps the form");
        }
    }
    renamed
}

#[cfg(test)]
mod tests {
    use shared::fact::Kind;

    use super::*;

    fn fact(captures: [(u32, u64); 3]) -> Fact {
        let mut fact = Fact::new(Kind::Receipt);
        for ((device, counter), (of_device, of_counter)) in captures.into_iter().zip(CAPTURES) {
            of_device.put(&mut fact, Some(device)).expect("a legal field");
            of_counter.put(&mut fact, Some(counter)).expect("a legal field");
        }
        fact
    }

    #[test]
    fn what_is_renamed_comes_back() {
        let mut renames = Renames::of(DeviceNo(3));
        renames.add(&fact([(3, 901), (0, 0), (0, 0)]), DeviceNo(7));
        renames.add(&fact([(3, 950), (0, 0), (0, 0)]), DeviceNo(9));
        let cases = [
            ([(3, 901), (3, 900), (3, 901)], [(7, 901), (3, 900), (7, 901)]),
            ([(3, 1_000), (3, 949), (4, 999)], [(9, 1_000), (7, 949), (4, 999)]),
            ([(3, 2), (2, 950), (3, 950)], [(3, 2), (2, 950), (9, 950)]),
        ];
        for (recorded, booked) in cases {
            let (recorded, booked) = (fact(recorded), fact(booked));
            assert_eq!(renames.booked(&recorded), booked);
            assert_eq!(renames.recorded(&booked), recorded);
        }
        let without = Fact::new(Kind::Receipt);
        assert_eq!(renames.booked(&without), without);
    }
}
