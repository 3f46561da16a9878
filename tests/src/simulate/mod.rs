//! A company in one thread of control: edge nodes, HQ and its books on virtual time, with everything
//! going wrong that a seed says.
//!
//! What is real: the sessions of both sides (`shared::sync`), the journal, the intake, the sequencer,
//! the books, HQ's own log, shared documents on both sides with HQ's gate between them (`writing`,
//! `rubbish`), on disks that lose what was not synced, bundles both ways, what neighbours say to each
//! other and keep (`neighbours`), and what HQ's people rule (`reentry`). What is played: the network,
//! the clocks, keepers, HQ's people and whoever carries bundles (`stick`), and the two link drivers.
//! The journal, the intake and the sequencer work when they are given their turn, so a seed always
//! gives the same history; its trace has a hash.
//!
//! A history goes through its troubles (`plan`, `faults`), is healed, must agree within
//! [`CONVERGENCE`], and is checked (`check`). What nodes, HQ and keepers were promised is checked all
//! the time (`node`, `hq`, `expect`).

mod asked;
mod check;
mod check_documents;
mod clock;
mod expect;
mod faults;
mod gate;
mod handled;
mod hostile;
mod hq;
mod keeper;
mod link;
mod losses;
mod neighbours;
mod network;
mod newer;
mod node;
mod plan;
mod rebuild;
mod reentry;
mod rubbish;
mod stick;
mod trace;
mod world;
mod writing;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

pub use trace::{Figures, Span, Trace};
use world::World;

/// How long all may take to agree once nothing is wrong any more, in virtual time.
pub const CONVERGENCE: Duration = Duration::from_millis(world::CONVERGENCE_MS.unsigned_abs());

/// What must not be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// A history that went wrong, and how to see it again.
#[derive(Debug, thiserror::Error)]
#[error(
    "seed {seed}, {at} after the beginning: {why}\nthe last lines:\n{lines}again: cargo run --release -p tests --bin simulate -- --first-seed {seed} --seeds 1 --sites {sites}{options}"
)]
pub struct Failure {
    seed: u64,
    sites: u32,
    at: Span,
    why: String,
    lines: String,
    options: String,
}

/// What a history was, and what its trace hashes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Stands for every event.
    pub hash: blake3::Hash,
    /// What it was made of.
    pub figures: Figures,
}

/// One history.
pub fn run(seed: u64, sites: u32) -> Result<Outcome, Box<Failure>> {
    let trace = Rc::new(RefCell::new(Trace::default()));
    let history = || World::new(seed, sites, Rc::clone(&trace)).and_then(|mut world| world.run());
    let ended = catch_unwind(AssertUnwindSafe(history));
    let why = match ended {
        Ok(Ok(())) => None,
        Ok(Err(wrong)) => Some(wrong.0),
        Err(panic) => Some(format!("a panic: {}", panic_text(&*panic))),
    };
    let trace = trace.borrow();
    match why {
        None => Ok(Outcome { hash: trace.hash(), figures: trace.figures }),
        Some(why) => Err(Box::new(Failure {
            seed,
            sites,
            at: trace.now(),
            why,
            lines: trace.told(),
            options: String::new(),
        })),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("an unnamed fault").to_owned()
}
