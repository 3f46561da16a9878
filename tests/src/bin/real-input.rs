//! `cargo run --release -p tests --bin real-input -- adventureworks`: real data, end to end.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tests::real_input::{adventureworks, data_set};

/// Plays a real data set through edge nodes, QUIC and HQ and checks the books to the cent.
#[derive(Debug, Parser)]
#[command(name = "real-input")]
struct Arguments {
    /// Which data set.
    set: DataSet,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataSet {
    /// 202,696 movements over three sites.
    Adventureworks,
}

fn main() -> ExitCode {
    let DataSet::Adventureworks = Arguments::parse().set;
    let Some(folder) = data_set("adventureworks") else { return ExitCode::SUCCESS };
    match adventureworks::run(&folder) {
        Ok(wrong) if wrong.is_empty() => {
            println!("\nall as expected");
            ExitCode::SUCCESS
        }
        Ok(wrong) => {
            for wrong in wrong {
                println!("WRONG: {wrong}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("real-input: {error}");
            ExitCode::FAILURE
        }
    }
}
