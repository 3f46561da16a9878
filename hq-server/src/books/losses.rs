//! What was lost when HQ was restored from a backup: statements of its own, and numbers that it had
//! given. Says which voucher numbers are left out, and which two histories gave. Knows no node and no
//! backup: HQ's facts say all of it.
//!
//! Invariant: once it is stated that a lost history gave a number, no voucher gets it any more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use shared::fact::statement::{MasterData, Stamp};
use shared::ids::{Capture, CompanyNo, LogId, Seq};
use shared::sync::VouchersGiven;
use shared::time::{Month, Timestamp};

/// The last voucher number of each company's month.
type Numbers = BTreeMap<(CompanyNo, Month), u32>;

/// Statements of HQ that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnLoss {
    /// The fact that says so.
    pub stated: Capture,
    /// When that was recorded.
    pub at: Timestamp,
    /// HQ's log.
    pub log: LogId,
    /// Its last fact that is not lost.
    pub after: Seq,
    /// How many numbers of things were left out.
    pub skipped: u32,
    /// The newest lost fact that a node told of.
    pub lost: Option<Capture>,
}

/// Voucher numbers of a company's month that a lost history gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoucherLoss {
    /// The fact that says so.
    pub stated: Capture,
    /// When that was recorded.
    pub at: Timestamp,
    /// The company.
    pub company: CompanyNo,
    /// The ledger month.
    pub month: Month,
    /// The first number that the lost history gave, as far as it was not stated before.
    pub first: u32,
    /// The first of them that was not given again before this was known; above `last` where all were.
    pub free: u32,
    /// The last number that the lost history gave.
    pub last: u32,
}

impl VoucherLoss {
    /// Numbers that no voucher has.
    pub const fn left_out(&self) -> RangeInclusive<u32> {
        self.free..=self.last
    }

    /// Numbers that both histories gave: another voucher than this one carried them before.
    pub fn given_twice(&self) -> RangeInclusive<u32> {
        self.first..=(self.free - 1).min(self.last)
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    own: Vec<OwnLoss>,
    vouchers: Vec<VoucherLoss>,
    /// The numbers at the last restore; `None` where there was none.
    restored: Option<Numbers>,
}

impl Losses {
    /// What HQ stated and lost, in the order in which that was known.
    pub fn own(&self) -> &[OwnLoss] {
        &self.own
    }

    /// Voucher numbers, in the order in which they were known.
    pub fn vouchers(&self) -> &[VoucherLoss] {
        &self.vouchers
    }

    /// Takes a statement of HQ; numbers that it leaves out are gone.
    pub(super) fn take(&mut self, data: &MasterData, stamp: &Stamp, numbers: &mut Numbers) {
        let (stated, at) = (stamp.capture, stamp.recorded_at);
        match *data {
            MasterData::Restored { log, after, skipped, lost } => {
                if lost.is_none() {
                    self.restored = Some(numbers.clone());
                }
                self.own.push(OwnLoss { stated, at, log, after, skipped, lost });
            }
            MasterData::VoucherGap { company, month, last } => {
                let number = numbers.entry((company, month)).or_default();
                let first = self.known(company, month, *number) + 1;
                let free = *number + 1;
                if first <= last {
                    let loss = VoucherLoss { stated, at, company, month, first, free, last };
                    self.vouchers.push(loss);
                }
                *number = last.max(*number);
            }
            _ => {}
        }
    }

    /// Up to which number of a month nothing is to be said: it stood at the restore, or was stated.
    /// `number` is its last voucher's.
    fn known(&self, company: CompanyNo, month: Month, number: u32) -> u32 {
        let at = |restored: &Numbers| restored.get(&(company, month)).copied().unwrap_or_default();
        let stood = self.restored.as_ref().map_or(number, at);
        let of_month = |loss: &&VoucherLoss| (loss.company, loss.month) == (company, month);
        let stated = self.vouchers.iter().filter(of_month).map(|loss| loss.last);
        stated.fold(stood, u32::max)
    }

    pub(super) fn is_news(&self, told: VouchersGiven, number: u32) -> bool {
        told.last > self.known(told.company, told.month, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::ids::DeviceNo;
    use shared::time::OffsetMinutes;

    fn take(losses: &mut Losses, numbers: &mut Numbers, data: &MasterData) {
        let stamp = Stamp {
            capture: Capture { device: DeviceNo(9), counter: 1 },
            recorded_at: Timestamp(5),
            occurred_at: Timestamp(5),
            utc_offset: OffsetMinutes(0),
            group_left: 0,
            person: None,
            time_in_doubt: 0,
            company: None,
        };
        losses.take(data, &stamp, numbers);
    }

    #[test]
    fn numbers_are_left_out_or_were_given_twice() {
        let (company, month) = (CompanyNo(1), Month(24_322));
        let mut numbers = Numbers::from([((company, month), 57)]);
        let mut losses = Losses::default();
        let told = |last| VouchersGiven { company, month, last };
        assert!(!losses.is_news(told(57), 57));
        let log = LogId([7; 32]);
        let restored = MasterData::Restored { log, after: Seq(4), skipped: 1_000, lost: None };
        take(&mut losses, &mut numbers, &restored);
        let ends = |numbers: RangeInclusive<u32>| (*numbers.start(), *numbers.end());
        // Three were given before a node told of 71, and four before another told of 74.
        numbers.insert((company, month), 60);
        for (last, is_news, twice, left_out, next) in [
            (71, true, (58, 60), (61, 71), 71),
            (71, false, (58, 60), (61, 71), 71),
            (74, true, (72, 74), (76, 74), 75),
        ] {
            if last == 74 {
                numbers.insert((company, month), 75);
            }
            let number = numbers[&(company, month)];
            assert_eq!(losses.is_news(told(last), number), is_news, "{last}");
            take(&mut losses, &mut numbers, &MasterData::VoucherGap { company, month, last });
            let loss = losses.vouchers().last().expect("stated");
            assert_eq!(
                (ends(loss.given_twice()), ends(loss.left_out())),
                (twice, left_out),
                "{last}"
            );
            assert_eq!(numbers[&(company, month)], next);
        }
        assert_eq!(losses.vouchers().len(), 2);
    }
}
