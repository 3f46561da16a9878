//! The order in which things happened: what value follows. Made of what the writers recorded and
//! never of arrival, so that every replica agrees (ARCHITECTURE, "Order").

use crate::ids::{LogId, Seq};
use crate::time::Timestamp;

/// Where a fact stands by its own word: (occurred-at, recorded-at, log, seq).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnPlace {
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Ranks logs among each other.
    pub log: LogRank,
    /// The place in that log.
    pub seq: Seq,
}

/// Ranks logs where times are equal: the first eight bytes of the log's id.
///
/// HQ registers no two logs with the same rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogRank(pub u64);

impl LogRank {
    /// The rank of a log.
    pub fn of(log: &LogId) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&log.0[..8]);
        Self(u64::from_be_bytes(first))
    }
}

/// The effective order: a fact's own place, moved just after the facts it refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectiveKey {
    /// The place it stands at: its own or that of what it refers to.
    anchor: OwnPlace,
    /// How many references lie between the anchor and this fact.
    depth: u32,
    /// Its own place: orders facts that were moved to the same anchor.
    own: OwnPlace,
}

impl EffectiveKey {
    /// The key of a fact that refers to nothing.
    pub const fn own(own: OwnPlace) -> Self {
        Self { anchor: own, depth: 0, own }
    }

    /// The later of the fact's own place and just after `referred`.
    #[must_use]
    pub fn after(self, referred: Self) -> Self {
        let moved = Self { anchor: referred.anchor, depth: referred.depth + 1, own: self.own };
        self.max(moved)
    }

    /// The later of the key and the first instant of a time, before everything that happened then.
    #[must_use]
    pub fn not_before(self, instant: Timestamp) -> Self {
        let recorded_at = Timestamp(i64::MIN);
        let first = OwnPlace { occurred_at: instant, recorded_at, log: LogRank(0), seq: Seq(0) };
        self.max(Self { anchor: first, depth: 0, own: self.own })
    }

    /// The fact's own place, wherever it was moved to.
    pub const fn own_place(&self) -> OwnPlace {
        self.own
    }

    /// When the fact takes effect; its day in the company's zone decides the ledger month.
    pub const fn effective_at(&self) -> Timestamp {
        self.anchor.occurred_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(occurred: i64, recorded: i64, log: u64, seq: u64) -> OwnPlace {
        OwnPlace {
            occurred_at: Timestamp(occurred),
            recorded_at: Timestamp(recorded),
            log: LogRank(log),
            seq: Seq(seq),
        }
    }

    #[test]
    fn a_receive_never_sorts_before_its_ship() {
        let ship = EffectiveKey::own(place(100, 100, 1, 7));
        let between = EffectiveKey::own(place(100, 100, 1, 8));
        let clock_behind = EffectiveKey::own(place(40, 40, 2, 3)).after(ship);
        let later = EffectiveKey::own(place(200, 200, 2, 4)).after(ship);
        assert!(ship < clock_behind && clock_behind < between && between < later);
        assert_eq!(later, EffectiveKey::own(place(200, 200, 2, 4)));
        let returned = EffectiveKey::own(place(30, 30, 3, 1)).after(clock_behind);
        assert!(clock_behind < returned && returned < between);
        assert_eq!(returned.effective_at(), Timestamp(100));
    }

    #[test]
    fn what_may_not_be_earlier_comes_first_at_that_instant_in_its_own_order() {
        let moved =
            |occurred, seq| EffectiveKey::own(place(occurred, 1, 9, seq)).not_before(Timestamp(50));
        let there = EffectiveKey::own(place(50, -7, 1, 1));
        assert!(moved(10, 2) < moved(11, 1) && moved(11, 1) < there);
        assert_eq!(moved(10, 2).effective_at(), Timestamp(50));
        assert_eq!(moved(60, 1), EffectiveKey::own(place(60, 1, 9, 1)));
        let answered = EffectiveKey::own(place(20, 1, 2, 2)).after(moved(10, 2));
        assert!(moved(11, 1) < answered && answered < there);
    }

    #[test]
    fn equal_times_go_by_log_and_place_not_by_arrival() {
        let first = EffectiveKey::own(place(5, 5, 1, 9));
        let second = EffectiveKey::own(place(5, 5, 2, 1));
        assert!(first < second);
    }
}
