//! Some histories of a company in virtual time; `cargo run --release -p tests --bin simulate` runs any
//! number.

use tests::simulate::{Figures, run};

/// Each history of this many sites.
const SITES: u32 = 3;

const SEEDS: u64 = 30;

#[test]
fn whatever_goes_wrong_all_agree_in_the_end() {
    let mut figures = Figures::default();
    for seed in 1..=SEEDS {
        match run(seed, SITES) {
            Ok(outcome) => figures.add(&outcome.figures),
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(figures.crashes > 0 && figures.broken > 0 && figures.facts > 0, "{figures:?}");
    assert!(figures.hq_restores > 0 && figures.given_back > 0, "{figures:?}");
    assert!(figures.lost > 0, "{figures:?}");
    assert!(figures.carried > 0 && figures.answers > 0, "{figures:?}");
    assert!(figures.meetings > 0 && figures.relayed > 0, "{figures:?}");
    assert!(figures.edits > 0 && figures.changes > 0, "{figures:?}");
    assert!(figures.again > 0 && figures.ruled > 0, "{figures:?}");
    assert!(figures.taken_up > 0 && figures.rests > 0, "{figures:?}");
}

#[test]
fn a_seed_repeats_itself() {
    let mut bundles = 0;
    for seed in 5..9 {
        let once = run(seed, SITES).expect("it goes well");
        assert_eq!(run(seed, SITES).expect("it goes well"), once);
        bundles += once.figures.bundles;
    }
    assert!(bundles > 0, "bundles are made in a thread of their own");
}
