//! How long to wait before the next attempt. Pure: randomness comes in. Invariant: never below
//! 50 ms, never above 30 s.

use std::time::Duration;

const FIRST_MS: u64 = 100;
const LAST_MS: u64 = 30_000;

/// Doubles with every failure, and forgets them with a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits the longest next time: a person has to act first.
    pub(crate) const fn exhaust(&mut self) {
        self.failures = u32::MAX;
    }

    /// How many failures there were in a row.
    pub(crate) const fn failures(self) -> u32 {
        self.failures
    }

    /// Another failure: how long to wait. Half of it is random, so that many nodes that lost the
    /// same HQ do not come back in step.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let whole = FIRST_MS.checked_shl(self.failures).unwrap_or(LAST_MS).min(LAST_MS);
        self.failures = self.failures.saturating_add(1).min(64);
        Duration::from_millis(whole / 2 + random % (whole / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..12).map(|_| backoff.next(u64::MAX).as_millis()).collect();
        assert!(waits.iter().all(|wait| (50..=30_000).contains(wait)), "{waits:?}");
        assert!(waits[0] <= 100 && waits[11] >= 15_000, "{waits:?}");
        backoff.reset();
        assert!(backoff.next(0) == Duration::from_millis(50));
        backoff.exhaust();
        assert!(backoff.next(0) == Duration::from_secs(15));
        assert!(backoff.next(0) == Duration::from_secs(15));
    }
}
