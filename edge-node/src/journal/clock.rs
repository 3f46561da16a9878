//! The node's clock and when it is doubted. Takes nothing from peers but HQ's time as a floor.
//! Invariant: recorded-at never runs backwards within a log.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shared::time::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Now, by the wall.
    fn now(&self) -> Timestamp;

    /// Milliseconds since some fixed moment, never running backwards or jumping.
    fn steady_ms(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let ms = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => ms(since),
            Err(before) => -ms(before.duration()),
        })
    }

    fn steady_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands where it is put.
#[derive(Debug, Default)]
pub struct FixedClock {
    now: std::sync::atomic::AtomicI64,
    steady: std::sync::atomic::AtomicI64,
}

impl FixedClock {
    /// Stands at `now`.
    pub fn at(now: Timestamp) -> Arc<Self> {
        let clock = Self::default();
        clock.set(now);
        Arc::new(clock)
    }

    /// Moves the wall alone: what an operator or a flat battery does.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, std::sync::atomic::Ordering::SeqCst);
    }

    /// Lets time pass.
    pub fn pass_ms(&self, ms: i64) {
        self.now.fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
        self.steady.fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn steady_ms(&self) -> i64 {
        self.steady.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// No fact can be older than this program: 2026-11-01.
pub const RELEASED: Timestamp = Timestamp(1_793_491_200_000);

/// The field `TIME_IN_DOUBT`: the clock is below its floor.
pub const BELOW_FLOOR: u8 = 1;
/// The field `TIME_IN_DOUBT`: the clock jumped while the program ran.
pub const JUMPED: u8 = 2;
/// The field `TIME_IN_DOUBT`: the clock is ahead of HQ by a day or more.
pub const AHEAD_OF_HQ: u8 = 4;

/// A clock may be set back by this much without doubt: what time servers correct.
const SLEW_MS: i64 = 2_000;
/// A wall that moves this much against the steady clock has jumped.
const JUMP_MS: i64 = 5 * 60_000;
pub(super) const DAY_MS: i64 = 86_400_000;

/// The newest fact's recorded-at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastStamp {
    /// As it stands in the log.
    pub at: Timestamp,
    /// The same, if the clock was not in doubt.
    pub trusted: Option<Timestamp>,
}

/// Gives recorded-at and says when it is in doubt.
pub struct Timekeeper {
    clock: Arc<dyn Clock>,
    /// Wall and steady clock when they were last compared.
    compared: (i64, i64),
    last: LastStamp,
    /// What HQ last said.
    hq_floor: Timestamp,
    jumped: bool,
    ahead: bool,
    /// The clock agreed with HQ's when they were last compared, and has not jumped since.
    agrees: bool,
}

/// What a fact made now says of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Never runs backwards in a log.
    pub recorded_at: Timestamp,
    /// When it happens that is recorded now: the same, but where the log once stood at a time that
    /// has not come yet.
    pub now: Timestamp,
    /// Bits as in the field `TIME_IN_DOUBT`.
    pub in_doubt: u8,
}

impl fmt::Debug for Timekeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timekeeper").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Timekeeper {
    /// `last` is the newest fact's stamp, `hq_floor` the last time that HQ stated.
    pub fn new(clock: Arc<dyn Clock>, last: LastStamp, hq_floor: Timestamp) -> Self {
        let compared = (clock.now().0, clock.steady_ms());
        let (jumped, ahead, agrees) = (false, false, false);
        Self { clock, compared, last, hq_floor, jumped, ahead, agrees }
    }

    /// Recorded-at for a fact made now, and the bits of doubt.
    pub fn stamp(&mut self) -> Moment {
        let now = self.notice_jump();
        // HQ knows better than a log whose clock once was ahead.
        let last = if self.agrees { 0 } else { self.last.at.0 };
        let floor = last.max(RELEASED.0).max(self.hq_floor.0);
        let mut doubt = 0;
        if now < floor - SLEW_MS {
            doubt |= BELOW_FLOOR;
        }
        if self.jumped {
            doubt |= JUMPED;
        }
        if self.ahead {
            doubt |= AHEAD_OF_HQ;
        }
        self.last.at = Timestamp(now.max(self.last.at.0));
        let happens = if doubt == 0 { Timestamp(now) } else { self.last.at };
        if doubt == 0 {
            self.last.trusted = Some(happens);
        }
        Moment { recorded_at: self.last.at, now: happens, in_doubt: doubt }
    }

    /// Looks whether the wall moved otherwise than the steady clock; gives the wall.
    fn notice_jump(&mut self) -> i64 {
        let (now, steady) = (self.clock.now().0, self.clock.steady_ms());
        let drift = (now - self.compared.0) - (steady - self.compared.1);
        if drift.abs() > JUMP_MS {
            (self.jumped, self.agrees) = (true, false);
        }
        self.compared = (now, steady);
        now
    }

    /// The newest recorded-at whose clock was not in doubt, since this journal was opened; the
    /// beginning of time where there is none.
    pub fn trusted(&self) -> Timestamp {
        self.last.trusted.unwrap_or_default()
    }

    /// Compares the clock with HQ's, heard just now over an authenticated connection.
    ///
    /// A clock that agrees with HQ's is trusted again after a jump. What HQ says now replaces what it
    /// said before: it may have been HQ's clock that was wrong.
    pub fn compare_with_hq(&mut self, hq: Timestamp) {
        let difference = self.clock.now().0 - hq.0;
        self.ahead = difference >= DAY_MS;
        self.notice_jump();
        self.agrees = difference.abs() < JUMP_MS;
        if self.agrees {
            self.jumped = false;
        }
        self.hq_floor = hq;
    }

    /// HQ stated this time, some while ago perhaps.
    pub fn raise_floor(&mut self, hq: Timestamp) {
        self.hq_floor = self.hq_floor.max(hq);
    }

    /// The last time that HQ stated.
    pub const fn hq_floor(&self) -> Timestamp {
        self.hq_floor
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_795_519_800_000);

    fn keeper(clock: &Arc<FixedClock>, last: Timestamp) -> Timekeeper {
        let last = LastStamp { at: last, trusted: None };
        Timekeeper::new(Arc::clone(clock) as Arc<dyn Clock>, last, Timestamp(0))
    }

    fn said(keeper: &mut Timekeeper) -> (Timestamp, u8) {
        let said = keeper.stamp();
        (said.recorded_at, said.in_doubt)
    }

    #[test]
    fn a_log_that_was_in_2099_goes_on_at_the_right_time_once_hq_agrees() {
        let clock = FixedClock::at(NOON);
        let mut keeper = keeper(&clock, NOON);
        let far = Timestamp(4_070_908_800_000);
        clock.set(far);
        assert_eq!(said(&mut keeper), (far, JUMPED));
        clock.set(NOON);
        assert_eq!(said(&mut keeper), (far, BELOW_FLOOR | JUMPED));
        keeper.compare_with_hq(NOON);
        clock.pass_ms(60_000);
        let now = Timestamp(NOON.0 + 60_000);
        assert_eq!(keeper.stamp(), Moment { recorded_at: far, now, in_doubt: 0 });
        assert_eq!(keeper.trusted(), now);
    }

    #[test]
    fn recorded_at_never_runs_backwards() {
        let clock = FixedClock::at(NOON);
        let mut keeper = keeper(&clock, Timestamp(NOON.0 + 1_000));
        assert_eq!(said(&mut keeper), (Timestamp(NOON.0 + 1_000), 0));
        clock.pass_ms(5_000);
        assert_eq!(said(&mut keeper), (Timestamp(NOON.0 + 5_000), 0));
        clock.set(Timestamp(NOON.0 - 60_000));
        assert_eq!(said(&mut keeper), (Timestamp(NOON.0 + 5_000), BELOW_FLOOR));
    }

    #[test]
    fn a_clock_a_year_off_is_doubted_either_way() {
        let year = 365 * DAY_MS;
        let clock = FixedClock::at(Timestamp(NOON.0 - year));
        let mut behind = keeper(&clock, Timestamp(0));
        assert_eq!(said(&mut behind), (Timestamp(NOON.0 - year), BELOW_FLOOR));

        let clock = FixedClock::at(Timestamp(NOON.0 + year));
        let mut ahead = keeper(&clock, NOON);
        ahead.compare_with_hq(NOON);
        assert_eq!(ahead.stamp().in_doubt, AHEAD_OF_HQ);
        clock.set(NOON);
        ahead.compare_with_hq(NOON);
        let recorded_at = Timestamp(NOON.0 + year);
        assert_eq!(ahead.stamp(), Moment { recorded_at, now: NOON, in_doubt: 0 });
    }

    #[test]
    fn a_jump_is_doubted_until_hq_agrees() {
        let clock = FixedClock::at(NOON);
        let mut keeper = keeper(&clock, NOON);
        clock.set(Timestamp(NOON.0 + 3_600_000));
        assert_eq!(keeper.stamp().in_doubt, JUMPED);
        clock.pass_ms(1_000);
        assert_eq!(keeper.stamp().in_doubt, JUMPED);
        keeper.compare_with_hq(clock.now());
        assert_eq!(keeper.stamp().in_doubt, 0);
    }

    #[test]
    fn hqs_time_is_a_floor() {
        let clock = FixedClock::at(NOON);
        let mut keeper = keeper(&clock, Timestamp(0));
        keeper.compare_with_hq(Timestamp(NOON.0 + 86_400_000));
        assert_eq!(said(&mut keeper), (NOON, BELOW_FLOOR));
    }

    #[test]
    fn an_hq_whose_clock_was_wrong_is_forgiven_once_it_is_right() {
        let clock = FixedClock::at(NOON);
        let mut keeper = keeper(&clock, Timestamp(0));
        keeper.compare_with_hq(Timestamp(NOON.0 + 500 * DAY_MS));
        assert_eq!(said(&mut keeper), (NOON, BELOW_FLOOR));
        assert_eq!(keeper.trusted(), Timestamp(0), "nothing doubtful is trusted");
        keeper.compare_with_hq(NOON);
        assert_eq!(said(&mut keeper), (NOON, 0));
        assert_eq!(keeper.trusted(), NOON);
    }
}
