//! Inputs that the fuzzer found worth keeping, given again to every decoder and to both ends of a
//! session: nothing panics, nothing takes long. `tests/fuzz` has the fuzzer.

use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../fuzz/src/targets.rs"]
pub mod targets;

/// What a fuzzer may need for one input.
const PATIENCE: Duration = Duration::from_secs(1);

fn give_again(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files =
        std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut count = 0;
    for file in files {
        let path = file.expect("the folder reads").path();
        let bytes = std::fs::read(&path).expect("the file reads");
        let started = Instant::now();
        run(&bytes);
        assert!(started.elapsed() < PATIENCE, "{} takes too long", path.display());
        count += 1;
    }
    assert!(count > 0, "{target} has no inputs");
}

#[test]
fn kept_inputs_do_no_harm() {
    give_again("facts", targets::facts);
    give_again("segments", targets::segments);
    give_again("frames", targets::frames);
    give_again("documents", targets::documents);
    give_again("bundles", targets::bundles);
    give_again("edge_session", targets::edge_session);
    give_again("hq_session", targets::hq_session);
}
