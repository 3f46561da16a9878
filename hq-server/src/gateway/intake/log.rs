//! What a log's next facts must satisfy: they follow the last one, keep the chain, cut no group
//! and carry the log's own device. Pure: knows no file and no connection.

use shared::fact::statement::GROUP_MAX;
use shared::fact::{Fact, field};
use shared::ids::{DeviceNo, Head, LogId, Seq};
use shared::segment::SEGMENT_FACTS_MAX;
use shared::segment::chain::{Chain, WINDOW};
use shared::sync::{Position, Run};

/// Why HQ does not take a run of facts. The first failed rule wins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunRefused {
    /// No fact, or more than a segment holds.
    #[error("a run has 1 to {SEGMENT_FACTS_MAX} facts, not {0}")]
    Size(usize),
    /// The places and the number of facts do not fit together.
    #[error("a run from {first} to {last} does not have {facts} facts")]
    Places {
        /// Its first place.
        first: Seq,
        /// Its last place.
        last: Seq,
        /// How many facts came.
        facts: usize,
    },
    /// Facts between are missing.
    #[error("facts {expected} to {} are missing: send from {expected} on", first.0 - 1)]
    Gap {
        /// The next place HQ can take.
        expected: Seq,
        /// Where the run starts.
        first: Seq,
    },
    /// A group is cut or too large.
    #[error("fact {0} is not where its group says")]
    CutsGroup(Seq),
    /// A fact of another installation.
    #[error("fact {seq} was captured by device {found}, but the log is that of device {expected}")]
    ForeignDevice {
        /// The fact.
        seq: Seq,
        /// What it says.
        found: u64,
        /// Whose log it is.
        expected: DeviceNo,
    },
    /// The chain's heads differ: a restored, cloned or damaged installation.
    #[error(
        "the log differs from what HQ has at or before fact {0}: its installation was restored \
         or cloned; stop it and enrol it anew"
    )]
    Fork(Seq),
}

/// A run that was found good: what is to be stored.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    /// The part that is new.
    pub(super) run: Run,
    /// Heads at the multiples of the window in it.
    pub(super) windows: Vec<(Seq, Head)>,
    /// The chain after it.
    pub(super) chain: Chain,
}

/// Checks the part of `run` that follows `chain`. The caller has dealt with runs that bring
/// nothing new.
pub(super) fn check(chain: &Chain, device: DeviceNo, run: Run) -> Result<Accepted, RunRefused> {
    let known = chain.seq();
    assert!(run.last > known, "a run without new facts is not checked here");
    if run.first > known.next() {
        return Err(RunRefused::Gap { expected: known.next(), first: run.first });
    }
    let run = run.after(known).expect("the run ends after what is known");
    whole_groups(run.first, &run.facts)?;
    own_device(run.first, &run.facts, device)?;
    let (chain, windows) = follow(chain, &run.facts);
    if chain.head() != run.head {
        return Err(RunRefused::Fork(run.last));
    }
    Ok(Accepted { run, windows, chain })
}

/// Size and places, before anything else is looked at.
pub(super) fn check_size(run: &Run) -> Result<(), RunRefused> {
    let facts = run.facts.len();
    if facts == 0 || facts > SEGMENT_FACTS_MAX {
        return Err(RunRefused::Size(facts));
    }
    if run.first == Seq::ZERO || run.first.0.checked_add(facts as u64 - 1) != Some(run.last.0) {
        return Err(RunRefused::Places { first: run.first, last: run.last, facts });
    }
    Ok(())
}

fn whole_groups(first: Seq, facts: &[Fact]) -> Result<(), RunRefused> {
    let mut left = 0;
    for (seq, fact) in (first.0..).zip(facts) {
        let now = field::GROUP_LEFT.of(fact).unwrap_or(0);
        if now >= GROUP_MAX as u64 || (left > 0 && now != left - 1) {
            return Err(RunRefused::CutsGroup(Seq(seq)));
        }
        left = now;
    }
    if left == 0 {
        Ok(())
    } else {
        Err(RunRefused::CutsGroup(Seq(first.0 + facts.len() as u64 - 1)))
    }
}

fn own_device(first: Seq, facts: &[Fact], expected: DeviceNo) -> Result<(), RunRefused> {
    for (seq, fact) in (first.0..).zip(facts) {
        let found = field::CAPTURE_DEVICE.of(fact).unwrap_or(0);
        if found != u64::from(expected.0) {
            return Err(RunRefused::ForeignDevice { seq: Seq(seq), found, expected });
        }
    }
    Ok(())
}

/// The chain after `facts`, and its heads at the multiples of the window on the way.
pub(super) fn follow(chain: &Chain, facts: &[Fact]) -> (Chain, Vec<(Seq, Head)>) {
    let (mut chain, mut windows, mut rest) = (chain.clone(), Vec::new(), facts);
    while !rest.is_empty() {
        let room = usize::try_from(WINDOW - chain.seq().0 % WINDOW).expect("at most the window");
        let (now, later) = rest.split_at(room.min(rest.len()));
        chain.extend(now);
        if chain.seq().0.is_multiple_of(WINDOW) {
            windows.push(chain.window());
        }
        rest = later;
    }
    (chain, windows)
}

/// How far a chain is.
pub(super) fn position(chain: &Chain) -> Position {
    Position { last: chain.seq(), head: chain.head() }
}

/// A chain at the start of a log.
pub(super) fn start(log: LogId) -> Chain {
    Chain::start(log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::fact::Kind;

    fn fact(device: u32, counter: u64, group_left: u64) -> Fact {
        let mut fact = Fact::new(Kind::Receipt);
        field::CAPTURE_DEVICE.put(&mut fact, Some(device)).expect("a legal field");
        field::CAPTURE_COUNTER.put(&mut fact, Some(counter)).expect("a legal field");
        let left = (group_left > 0).then_some(group_left);
        field::GROUP_LEFT.put(&mut fact, left).expect("a legal field");
        fact
    }

    fn run(chain: &Chain, facts: Vec<Fact>) -> Run {
        let first = chain.seq().next();
        let (after, _) = follow(chain, &facts);
        Run { first, last: after.seq(), head: after.head(), facts }
    }

    #[test]
    fn the_first_failed_rule_is_named() {
        let chain = start(LogId([7; 32]));
        let device = DeviceNo(3);
        let good = run(&chain, vec![fact(3, 1, 0), fact(3, 2, 1), fact(3, 3, 0)]);
        let mut gap = good.clone();
        (gap.first, gap.last) = (Seq(5), Seq(7));
        let mut other_head = good.clone();
        other_head.head = Head([0; 32]);
        let cases = [
            (good, None),
            (gap, Some(RunRefused::Gap { expected: Seq(1), first: Seq(5) })),
            (run(&chain, vec![fact(3, 1, 2), fact(3, 2, 0)]), Some(RunRefused::CutsGroup(Seq(2)))),
            (run(&chain, vec![fact(3, 1, 0), fact(3, 2, 1)]), Some(RunRefused::CutsGroup(Seq(2)))),
            (run(&chain, vec![fact(3, 1, 999)]), Some(RunRefused::CutsGroup(Seq(1)))),
            (
                run(&chain, vec![fact(3, 1, 0), fact(4, 2, 0)]),
                Some(RunRefused::ForeignDevice { seq: Seq(2), found: 4, expected: device }),
            ),
            (other_head, Some(RunRefused::Fork(Seq(3)))),
        ];
        for (run, expected) in cases {
            assert_eq!(check(&chain, device, run).err(), expected);
        }
    }

    #[test]
    fn overlaps_are_cut_and_windows_kept() {
        let chain = start(LogId([7; 32]));
        let facts: Vec<Fact> = (1..=2_100).map(|counter| fact(3, counter, 0)).collect();
        let (known, _) = follow(&chain, &facts[..1_000]);
        let (_, windows) = follow(&chain, &facts);
        let whole = run(&chain, facts);
        let accepted = check(&known, DeviceNo(3), whole.clone()).expect("follows");
        assert_eq!(accepted.run.first, Seq(1_001));
        assert_eq!(accepted.windows, windows);
        assert_eq!(windows.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), [1_024, 2_048]);
        assert_eq!(position(&accepted.chain), whole.position());
    }
}
