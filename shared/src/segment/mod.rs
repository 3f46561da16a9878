//! Facts packed together: the unit of the edge log, of the wire, of the file on a stick and of
//! HQ's archive. Knows the form of facts and, but for the length of a group, no field's meaning.
//! Invariant: one run of facts has one form as columns, and one head of its chain.
//!
//! * [`columns`]: canonical, uncompressed: what journal documents hold and hashes stand on;
//! * [`packing`]: the same bytes made small for wire and disk, never hashed;
//! * [`chain`]: the head after every fact;
//! * [`seal`]: what the writer signs;
//! * [`context`]: what keeps every hash and signature for its own purpose.

pub mod chain;
pub mod columns;
pub mod context;
pub mod packing;
pub mod seal;

use crate::fact::record::FACT_BYTES_MAX;
use crate::fact::{Fact, field};

/// The most facts that one segment holds.
pub const SEGMENT_FACTS_MAX: usize = 4096;

/// The most canonical fact bytes that one segment holds: as many facts as may be, all as large as
/// may be.
pub const SEGMENT_BYTES_MAX: usize = SEGMENT_FACTS_MAX * FACT_BYTES_MAX;

/// How many facts from the front go into one segment: at most `facts_max`, at most
/// [`SEGMENT_FACTS_MAX`], and no group is cut.
///
/// 0 when the first group is not complete in `facts`, or larger than `facts_max`.
pub fn whole_groups(facts: &[Fact], facts_max: usize) -> usize {
    let limit = facts_max.min(SEGMENT_FACTS_MAX).min(facts.len());
    let ends_group = |fact: &Fact| field::GROUP_LEFT.of(fact).unwrap_or(0) == 0;
    facts[..limit].iter().rposition(ends_group).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Kind;

    fn fact(group_left: u64) -> Fact {
        let mut fact = Fact::new(Kind::Receipt);
        field::GROUP_LEFT.put(&mut fact, (group_left > 0).then_some(group_left)).expect("legal");
        fact
    }

    #[test]
    fn segments_end_with_groups() {
        let group_lefts = [0, 2, 1, 0, 1, 0, 1];
        let facts: Vec<_> = group_lefts.iter().map(|left| fact(*left)).collect();
        for (facts_max, expected) in
            [(0, 0), (1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 6), (9, 6)]
        {
            assert_eq!(whole_groups(&facts, facts_max), expected, "at most {facts_max}");
        }
        assert_eq!(whole_groups(&facts[1..3], 9), 0, "the first group is not complete");
        let many: Vec<_> = (0..5_000).map(|_| fact(0)).collect();
        assert_eq!(whole_groups(&many, usize::MAX), SEGMENT_FACTS_MAX);
    }
}
