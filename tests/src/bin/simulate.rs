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
    /// Break one promise on purpose, by its word, or each in turn with "all": every history must
    /// be found out within the seeds.
    #[cfg(feature = "planted-faults")]
    #[arg(long, value_name = "FAULT")]
    planted: Option<String>,
    /// After how many seeds a line says how far it is.
    #[arg(long, default_value_t = 50)]
    tell_every: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[cfg(feature = "planted-faults")]
    if let Some(word) = &arguments.planted {
        return planted::run(word, &arguments);
    }
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

#[cfg(feature = "planted-faults")]
mod planted {
    use std::process::ExitCode;

    use shared::planted::{Fault, plant};
    use tests::simulate;

    use super::Arguments;

    /// Each fault must be found by one of the seeds.
    pub(super) fn run(word: &str, arguments: &Arguments) -> ExitCode {
        let faults: Vec<Fault> = match word {
            "all" => Fault::ALL.to_vec(),
            word => Fault::from_word(word).into_iter().collect(),
        };
        if faults.is_empty() {
            let words: Vec<_> = Fault::ALL.iter().map(|fault| fault.word()).collect();
            eprintln!("there is no fault '{word}': say all, or one of {}", words.join(", "));
            return ExitCode::from(2);
        }
        // Histories that panic are found, too: their traces are not for reading.
        std::panic::set_hook(Box::new(|_| {}));
        let missed = faults.into_iter().filter(|fault| !is_found(*fault, arguments)).count();
        if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn is_found(fault: Fault, arguments: &Arguments) -> bool {
        plant(Some(fault));
        let seeds = arguments.first_seed..arguments.first_seed + arguments.seeds;
        let found = seeds.clone().find_map(|seed| {
            simulate::run(seed, arguments.sites).err().map(|failure| (seed, failure))
        });
        plant(None);
        match &found {
            Some((seed, failure)) => {
                let text = failure.to_string();
                let why = text.lines().next().unwrap_or_default();
                println!(
                    "{}: found with the {}. seed: {why}",
                    fault.word(),
                    seed + 1 - seeds.start
                );
            }
            None => println!("{}: NOT found with {} seeds", fault.word(), arguments.seeds),
        }
        found.is_some()
    }
}
