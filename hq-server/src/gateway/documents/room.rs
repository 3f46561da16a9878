//! How much HQ takes of a site's changes of shared documents, and how many it refuses: so that an
//! installation that is enrolled and means ill fills neither HQ's disk nor those of the sites it writes to.
//! Knows no document. Invariant: what is too much waits, and comes in once there is room; nothing is
//! refused for it, and no facts wait.

use std::collections::BTreeMap;

use shared::ids::SiteNo;
use shared::time::Timestamp;

const DAY_MILLIS: u128 = 86_400_000;

/// What HQ takes of one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// At once.
    pub at_once: u64,
    /// More with each day.
    pub a_day: u64,
}

/// Bytes of changes. A site that opens 500 transfers a day writes less than 1 MiB in them, so six weeks of
/// it come in at once; 4 MiB a day are 1.5 GB a year.
pub(super) const BYTES: Allowance = Allowance { at_once: 64 << 20, a_day: 4 << 20 };

/// Changes that are refused. Programs that are right bring hardly any, and people look at each.
pub const REFUSALS: Allowance = Allowance { at_once: 1_000, a_day: 50 };

/// Why changes of a site wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeldBack {
    /// It wrote so much.
    #[error(
        "{taken} bytes of changes of documents came from this site in a short time: more of them wait, and \
         {a_day} a day come in; look at what it writes ('hq-server document list'), and revoke the \
         installation that means ill"
    )]
    Bytes {
        /// Bytes that count still.
        taken: u64,
        /// Bytes that come in each day.
        a_day: u64,
    },
    /// So many were refused.
    #[error(
        "HQ refused {taken} changes of documents of this site in a short time: more of its changes wait, and \
         {a_day} a day are looked at; see 'hq-server document quarantine', and update the node or revoke it"
    )]
    Refusals {
        /// Refusals that count still.
        taken: u64,
        /// Refusals that are possible each day.
        a_day: u64,
    },
}

/// What was taken lately.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) allowance: Allowance,
    taken: BTreeMap<SiteNo, Taken>,
}

/// How much still counted at a time.
#[derive(Clone, Copy, Debug)]
struct Taken {
    much: u64,
    at: Timestamp,
}

impl Room {
    pub(super) const fn new(allowance: Allowance) -> Self {
        Self { allowance, taken: BTreeMap::new() }
    }

    /// Takes note of what came of a site. A clock that goes back gives no room, and takes none.
    pub(super) fn take(&mut self, site: SiteNo, at: Timestamp, much: u64) {
        let much = self.taken_by(site, at).saturating_add(much);
        self.taken.insert(site, Taken { much, at });
    }

    /// How much counts still, where no more is taken of the site now.
    pub(super) fn is_full(&self, site: SiteNo, now: Timestamp) -> Option<u64> {
        Some(self.taken_by(site, now)).filter(|taken| *taken >= self.allowance.at_once)
    }

    fn taken_by(&self, site: SiteNo, now: Timestamp) -> u64 {
        let Some(Taken { much, at }) = self.taken.get(&site) else { return 0 };
        let passed = u128::try_from(now.0.saturating_sub(at.0)).unwrap_or(0);
        let gone = passed * u128::from(self.allowance.a_day) / DAY_MILLIS;
        much.saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_may_write_so_much_at_once_and_more_each_day() {
        let hour = |hour: i64| Timestamp(hour * 3_600_000);
        // When, and bytes; whether the site is full after them.
        let cases: [(&[(i64, u64)], bool); 7] = [
            (&[], false),
            (&[(0, 999)], false),
            (&[(0, 600), (0, 400)], true),
            (&[(0, 1_000), (24, 0)], false),
            (&[(0, 1_000), (24, 239)], false),
            (&[(0, 1_000), (24, 240)], true),
            // A clock that was a year ahead for a while.
            (&[(0, 900), (9_000, 900), (1, 99), (12, 109)], false),
        ];
        for (number, (writes, is_full)) in cases.into_iter().enumerate() {
            let mut room = Room::new(Allowance { at_once: 1_000, a_day: 240 });
            let mut now = hour(0);
            for (at, bytes) in writes {
                now = hour(*at);
                room.take(SiteNo(1), now, *bytes);
            }
            assert_eq!(room.is_full(SiteNo(1), now).is_some(), is_full, "{number}");
            assert!(room.is_full(SiteNo(2), now).is_none(), "{number}");
        }
    }
}
