//! `simulate`: histories of a company from seeds, everything going wrong, in virtual time.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::simulate::{self, Figures};

/// Runs edge nodes, HQ and the books through histories made of seeds.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// How many sites each history has.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    sites: u32,
    /// After how many seeds a line says how far it is.
    #[arg(long, default_value_t = 50)]
    tell_every: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut figures = Figures::default();
    let seeds = arguments.first_seed..arguments.first_seed + arguments.seeds;
    for (done, seed) in (1..).zip(seeds) {
        match simulate::run(seed, arguments.sites) {
            Ok(outcome) => figures.add(&outcome.figures),
            Err(failure) => {
                eprintln!("{failure}");
                return ExitCode::FAILURE;
            }
        }
        if done % arguments.tell_every == 0 {
            println!("{done} seeds, {} s", started.elapsed().as_secs());
        }
    }
    println!("{}", figures.told(arguments.seeds, started.elapsed()));
    ExitCode::SUCCESS
}
