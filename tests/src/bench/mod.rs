//! Benchmarks: what the product does in a second, in a byte and in a blink, beside a reference
//! measured in the same run. Knows the product from outside, as its callers do. Invariant: nothing
//! here decides whether a test passes; a figure that misses its aim is printed as it is.

pub mod company;
pub mod edge_record;
pub mod figure;
pub mod hq_post;
pub mod late;
pub mod latency;
pub mod links;
pub mod machine;
pub mod memory;
pub mod mix;
pub mod postgresql;
pub mod sites;
pub mod stages;
pub mod sync;
pub mod trade;
pub mod valuation;
pub mod wire;

use std::path::PathBuf;
use std::time::Duration;

use figure::Figure;

/// How a benchmark is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long each measurement takes, about.
    pub measure: Duration,
    /// Where files go; the disk under it is what durable means.
    pub folder: PathBuf,
    /// Figures go on as JSON lines and words to the other stream.
    pub json: bool,
}

impl Settings {
    /// Says what is going on: to people only.
    pub fn say(&self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    /// A folder that goes when the benchmark is over.
    pub fn scratch(&self) -> Result<tempfile::TempDir, BenchError> {
        Ok(tempfile::Builder::new().prefix("warebook-bench-").tempdir_in(&self.folder)?)
    }
}

/// A benchmark: its figures, in the order of its table.
pub type Outcome = Result<Vec<Figure>, BenchError>;

/// Why a benchmark gives no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The operating system.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A part of the product refused what it was given.
    #[error("{what}: {why}")]
    Product {
        /// What was done.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// A process.
    #[error(transparent)]
    Process(#[from] crate::processes::ProcessError),
}

impl BenchError {
    /// Names what was done when something of the product failed.
    pub fn of(what: &'static str, error: &dyn std::error::Error) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        Self::Product { what, why }
    }
}

/// Shortens `map_err` of the product's many errors.
pub trait Within<T> {
    /// The value, or which step failed.
    fn within(self, what: &'static str) -> Result<T, BenchError>;
}

impl<T, E: std::error::Error> Within<T> for Result<T, E> {
    fn within(self, what: &'static str) -> Result<T, BenchError> {
        self.map_err(|error| BenchError::of(what, &error))
    }
}
