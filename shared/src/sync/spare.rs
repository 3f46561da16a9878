//! What a link's rate leaves unused, for copies of packets where many get lost: a bucket that fills at the
//! rate and that packets empty. Knows no socket and no clock. Invariant: in any while, packets and copies
//! together are no more than the rate carries in it and a first amount, unless packets alone are more.

use super::moment::Moment;

/// See the module.
#[derive(Clone, Debug)]
pub struct Spare {
    /// Bytes a second, and so thousandths of a byte a millisecond.
    rate: i64,
    /// How much is kept of what was not used, in thousandths of a byte; as much may be owed.
    most: i64,
    left: i64,
    at: Moment,
}

impl Spare {
    /// Of a link that carries `rate` bytes a second: `first` bytes at once, later at most `most`.
    pub fn new(rate: u64, first: u64, most: u64, now: Moment) -> Self {
        let rate = i64::try_from(rate).unwrap_or(i64::MAX);
        Self { rate, most: thousandths(most), left: thousandths(first), at: now }
    }

    /// A packet leaves; says whether there is room for a copy of it, and takes that.
    pub fn takes_copy(&mut self, bytes: usize, now: Moment) -> bool {
        let millis = i64::try_from(now.ms_since(self.at)).unwrap_or(i64::MAX);
        self.at = now;
        let filled = self.left.saturating_add(self.rate.saturating_mul(millis));
        // What it had at first is no reason to gather as much again.
        self.left = filled.min(self.left.max(self.most));
        let bytes = thousandths(bytes as u64);
        self.left = self.left.saturating_sub(bytes).max(-self.most);
        let has_room = self.left >= bytes;
        if has_room {
            self.left -= bytes;
        }
        has_room
    }
}

fn thousandths(bytes: u64) -> i64 {
    i64::try_from(bytes.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the packets that leave every so many milliseconds are copied.
    fn copied(spare: &mut Spare, packets: u64, every_ms: u64) -> usize {
        let start = spare.at.0;
        let times = (1..=packets).map(|number| Moment(start + number * every_ms));
        times.filter(|now| spare.takes_copy(1_200, *now)).count()
    }

    #[test]
    fn the_first_packets_are_copied_and_then_what_the_rate_leaves_room_for() {
        let mut spare = Spare::new(120_000, 24_000, 12_000, Moment(0));
        assert_eq!(copied(&mut spare, 20, 0), 10);
        // At the link's rate, and faster, nothing is left.
        assert_eq!(copied(&mut spare, 200, 10), 0);
        assert_eq!(copied(&mut spare, 200, 5), 0);
        // At half of it or less each packet is.
        spare.takes_copy(1_200, Moment(10_000));
        assert_eq!(copied(&mut spare, 200, 20), 200);
        // Between, some are: what leaves is never more than the rate.
        let some = copied(&mut spare, 1_000, 15);
        assert!((490..=510).contains(&some), "{some}");
    }

    #[test]
    fn a_pause_gathers_no_more_than_the_most() {
        let mut spare = Spare::new(120_000, 24_000, 12_000, Moment(0));
        assert_eq!(copied(&mut spare, 20, 0), 10);
        spare.takes_copy(0, Moment(3_600_000));
        assert_eq!(copied(&mut spare, 20, 0), 5);
    }

    #[test]
    fn a_link_of_unknown_rate_has_the_first_amount_only() {
        let mut spare = Spare::new(0, 2_400, 12_000, Moment(0));
        assert_eq!(copied(&mut spare, 1_000, 1_000), 1);
    }
}
