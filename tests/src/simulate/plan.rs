//! What a history will hold, drawn from the seed before it begins: how long, how busy, and which
//! troubles. Not every history has every trouble, so that each is also seen without the others.

use super::faults::{FAULTS, Fault};
use crate::random::Random;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// See the module.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing that the others don't")]
pub(super) struct Plan {
    pub(super) sites: u32,
    /// Until everything is well.
    pub(super) duration_ms: i64,
    /// Groups that each site's keeper records.
    pub(super) groups_each: u64,
    /// How long a machine may be down.
    pub(super) repair_ms: i64,
    pub(super) backup_every_ms: i64,
    /// What HQ's people state while it runs.
    pub(super) statements: u64,
    /// Some links are metered: they close when all is said, and open again some time later.
    pub(super) metered: bool,
    /// Some sites are told only what they handle.
    pub(super) handled_only: bool,
    /// How often each site's people write into documents, about.
    pub(super) writes_each: i64,
    /// How often HQ's do.
    pub(super) writes_at_hq: u64,
    /// Machines may lose their power again while they start.
    pub(super) power_cuts: bool,
    /// Sites without a way out send bundles.
    pub(super) sticks: bool,
    /// Sites without a way out are visited by neighbours.
    pub(super) neighbours: bool,
    /// HQ may be put back.
    pub(super) hq_restores: bool,
    kinds: Vec<Fault>,
    strikes: u64,
}

impl Plan {
    pub(super) fn draw(sites: u32, random: &mut Random) -> Self {
        let duration_ms = *random.pick(&[HOUR, 12 * HOUR, 5 * DAY, 30 * DAY, 120 * DAY]);
        let kinds: Vec<Fault> = FAULTS.iter().copied().filter(|_| random.chance(1, 2)).collect();
        let cuts = kinds.iter().any(|kind| matches!(kind, Fault::NodePowerCut | Fault::HqPowerCut));
        Self {
            sites,
            duration_ms,
            groups_each: *random.pick(&[8, 25, 60]),
            repair_ms: *random.pick(&[2_000, MINUTE, 30 * MINUTE]),
            backup_every_ms: (duration_ms / 20).max(DAY).min(duration_ms),
            statements: random.below(12),
            metered: random.chance(1, 3),
            handled_only: random.chance(1, 2),
            writes_each: *random.pick(&[0, 5, 15]),
            writes_at_hq: random.below(8),
            power_cuts: cuts,
            sticks: kinds.contains(&Fault::Stick),
            neighbours: kinds.contains(&Fault::Meeting),
            hq_restores: kinds.contains(&Fault::HqRestore),
            strikes: if kinds.is_empty() { 0 } else { 4 + random.below(40) },
            kinds,
        }
    }

    /// What goes wrong, and when.
    pub(super) fn faults(&self, random: &mut Random) -> Vec<(i64, Fault)> {
        let strike = |_| {
            let at = random.below(self.duration_ms.unsigned_abs()).cast_signed();
            (at, *random.pick(&self.kinds))
        };
        (0..self.strikes).map(strike).collect()
    }
}
