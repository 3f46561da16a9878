//! Time as sessions get it: a driver's monotonic milliseconds for waiting, HQ's or the node's wall
//! clock for people. Knows no clock.

use crate::time::Timestamp;

/// Milliseconds since a start that the driver chose; never runs backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// This many milliseconds later.
    #[must_use]
    pub const fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How many milliseconds ago `earlier` was.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For waiting.
    pub moment: Moment,
    /// For people: may be wrong, may jump.
    pub wall: Timestamp,
}
