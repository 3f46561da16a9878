//! `bench NAME`: figures of speed and size, each beside its aim and a reference of the same run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tests::bench::figure::table;
use tests::bench::machine::Machine;
use tests::bench::{
    Outcome, Settings, edge_record, hq_post, late, latency, memory, sites, sync, valuation, wire,
};

/// Measures what BENCHMARKS.md states.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Which one.
    #[arg(value_enum)]
    name: Name,
    /// One JSON line a figure; words go to the other stream.
    #[arg(long)]
    json: bool,
    /// How long each measurement takes, about.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where files go: on the disk that figures of durability are for [default: the system's folder
    /// for temporary files]
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Durable movements a second at the edge.
    EdgeRecord,
    /// Facts a second from frames to durable postings at HQ.
    HqPost,
    /// Bytes of a movement on the wire and in files.
    Wire,
    /// From a keeper's movement to HQ's live stream.
    Latency,
    /// Goods valued in order on one core.
    Valuation,
    /// Facts that become known late, to every difference posted.
    Late,
    /// Bytes of a fact and of a pool in the books.
    Memory,
    /// From connecting to HQ's acknowledgement over bad networks.
    Sync,
    /// A thousand sites at one HQ.
    Sites,
    /// All of them.
    All,
}

type Bench = fn(&Settings) -> Outcome;

const EACH: [(Name, &str, Bench); 9] = [
    (Name::EdgeRecord, "edge-record", edge_record::run),
    (Name::HqPost, "hq-post", hq_post::run),
    (Name::Wire, "wire", wire::run),
    (Name::Latency, "latency", latency::run),
    (Name::Valuation, "valuation", valuation::run),
    (Name::Late, "late", late::run),
    (Name::Memory, "memory", memory::run),
    (Name::Sync, "sync", sync::run),
    (Name::Sites, "sites", sites::run),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = Settings {
        measure: Duration::from_secs(arguments.seconds),
        folder: arguments.folder.unwrap_or_else(std::env::temp_dir),
        json: arguments.json,
    };
    let machine = Machine::here(&settings.folder);
    settings.say(&format!("{}; commit {}", machine.text, machine.commit));
    let wanted = |name: Name| arguments.name == Name::All || arguments.name == name;
    let mut failed = false;
    for (_, name, run) in EACH.into_iter().filter(|(name, ..)| wanted(*name)) {
        match run(&settings) {
            Ok(figures) if settings.json => {
                for figure in &figures {
                    println!("{}", figure.json(name, &machine));
                }
            }
            Ok(figures) => println!("\n{}", table(name, &figures)),
            Err(error) => {
                eprintln!("bench {name}: {error}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
