//! `cargo run --release -p tests --bin real-input -- SET`: real data, end to end.

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tests::real_input::{adventureworks, data_set, online_retail};

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
    /// 541,909 movements over 38 sites.
    OnlineRetail,
}

fn main() -> ExitCode {
    let (name, run): (_, fn(&Path) -> _) = match Arguments::parse().set {
        DataSet::Adventureworks => ("adventureworks", adventureworks::run),
        DataSet::OnlineRetail => ("online-retail", online_retail::run),
    };
    let Some(folder) = data_set(name) else { return ExitCode::SUCCESS };
    match run(&folder) {
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
