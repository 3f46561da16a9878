//! Some histories of a company in virtual time; `cargo run --release -p tests --bin simulate` runs any
//! number.

use tests::simulate::{Figures, run};

/// Each history of this many sites.
const SITES: u32 = 3;

const SEEDS: u64 = 12;

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
}

#[test]
fn a_seed_repeats_itself() {
    let once = run(5, SITES).expect("it goes well");
    assert_eq!(run(5, SITES).expect("it goes well"), once);
}
