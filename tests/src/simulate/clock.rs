//! Virtual time, and what each machine's clock makes of it. Nothing here moves by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use shared::time::Timestamp;

/// 2026-11-24T12:00Z: when every history begins.
pub(super) const START: i64 = 1_795_521_600_000;

/// How many milliseconds have gone; clones tell the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Time(Arc<AtomicI64>);

impl Time {
    pub(super) fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, now: i64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

/// A machine's clock: wrong by what its owner, its battery or a fault made of it.
#[derive(Debug)]
pub(super) struct MachineClock {
    time: Time,
    ahead: AtomicI64,
}

impl MachineClock {
    pub(super) fn new(time: &Time) -> Arc<Self> {
        Arc::new(Self { time: time.clone(), ahead: AtomicI64::new(0) })
    }

    /// Wrong by so many milliseconds from now on.
    pub(super) fn set_ahead(&self, ms: i64) {
        self.ahead.store(ms, Ordering::Relaxed);
    }

    pub(super) fn wall(&self) -> Timestamp {
        Timestamp(START + self.time.now() + self.ahead.load(Ordering::Relaxed))
    }
}

impl edge_node::journal::Clock for MachineClock {
    fn now(&self) -> Timestamp {
        self.wall()
    }

    fn steady_ms(&self) -> i64 {
        self.time.now()
    }
}
