//! Clocks in doubt, and what HQ says of them.

use shared::fact::statement::{Retime, Statement};
use shared::ids::{LogId, Seq};

use super::{DAY, HOUR, Writer};

impl Writer {
    /// How far off the clock of a site is that writes a group of so many facts, and why it is in doubt.
    pub(super) fn doubt(&mut self, log: usize, facts: u64) -> (i64, u8) {
        if log == 0 || !self.shape.doubts || !self.chance(1, 5) {
            return (0, 0);
        }
        let first = self.logs[log].facts.len() as u64 + 1;
        self.doubted.push((log, first, first + facts - 1));
        match self.random.below(4) {
            0 => (-50 * 365 * DAY, 1),
            1 => (70 * 365 * DAY, 6),
            2 => (self.random.between(-40, 40) * DAY, 2),
            _ => (0, 2),
        }
    }

    /// HQ says when facts of a log happened: of some that it may have, or of the next ones.
    pub(super) fn retime(&mut self) {
        let last = self.doubted.len();
        let (log, first, last) = if last > 0 && !self.chance(1, 5) {
            let from = if self.chance(2, 3) { last.saturating_sub(4) } else { 0 };
            self.doubted[from + self.random.index(last - from)]
        } else {
            let log = 1 + self.random.index(self.logs.len() - 1);
            let next = self.logs[log].facts.len() as u64 + 1;
            (log, next, next + self.random.below(3))
        };
        let earlier = if self.chance(1, 3) { self.random.below(first) } else { 0 };
        let later = if self.chance(1, 3) { self.random.below(6) } else { 0 };
        let mut id = [0; 32];
        id[..8].copy_from_slice(&self.logs[log].rank.0.to_be_bytes());
        let (first, last) = (Seq(first - earlier), Seq(last + later));
        let retime = Retime { log: LogId(id), first, last, reason: None };
        let back = self.random.between(0, 20 * 24) * HOUR;
        self.write(0, &[Statement::Retime(retime)], back);
    }
}
