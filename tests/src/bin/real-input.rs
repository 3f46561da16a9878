//! `cargo run --release -p tests --bin real-input -- SET`: real data, end to end.

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tests::real_input::{adventureworks, adventureworks_fifo, data_set, online_retail, scms};

/// Plays a real data set and checks the books to the cent.
#[derive(Debug, Parser)]
#[command(name = "real-input")]
struct Arguments {
    /// Which data set.
    set: DataSet,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataSet {
    /// 202,696 movements over three sites, through edge nodes, QUIC and HQ.
    Adventureworks,
    /// What is bought and sold of it under FIFO: the books alone beside cards by hand.
    AdventureworksFifo,
    /// 541,909 movements over 38 sites, through edge nodes, QUIC and HQ.
    OnlineRetail,
    /// 10,324 deliveries that share 6,198 freights: the books alone beside a clerk's list.
    Scms,
}

fn main() -> ExitCode {
    let (name, run): (_, fn(&Path) -> _) = match Arguments::parse().set {
        DataSet::Adventureworks => ("adventureworks", adventureworks::run),
        DataSet::AdventureworksFifo => ("adventureworks", adventureworks_fifo::run),
        DataSet::OnlineRetail => ("online-retail", online_retail::run),
        DataSet::Scms => ("scms", scms::run),
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
