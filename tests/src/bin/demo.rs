//! `deploy/demo`: plays a trading month against real processes and checks the books.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use shared::time::{OffsetMinutes, Timestamp};
use tests::demo::closing::closing;
use tests::demo::stage::Stage;
use tests::demo::story::{self, DAYS};
use tests::processes::ProcessError;

/// Plays a trading month of a company with three warehouses, one of them cut off for a while.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Arguments {
    /// Print the closing table, check it and exit.
    #[arg(long)]
    once: bool,
    /// Where the data goes; removed first.
    #[arg(long, default_value = "demo-data")]
    data: PathBuf,
    /// Another seed tells another month.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match play(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            eprintln!("the processes' own words are in {}/*.log", arguments.data.display());
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments) -> Result<bool, ProcessError> {
    let started = Instant::now();
    if arguments.data.exists() {
        std::fs::remove_dir_all(&arguments.data)?;
    }
    std::fs::create_dir_all(&arguments.data)?;
    let root = std::fs::canonicalize(&arguments.data)?;
    let say = |text: &str| println!("{:>6.1} s  {text}", started.elapsed().as_secs_f32());
    let mut stage = Stage::set(&root, say)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now = Timestamp(i64::try_from(now).unwrap_or(i64::MAX));
    let mut first = now.day(OffsetMinutes(480));
    first.0 -= DAYS;
    let story = story::month(arguments.seed, first);
    stage.nodes[0].record(&story[0].body)?;
    stage.nodes[0].wait_until_posted(std::time::Duration::from_secs(60))?;
    say("the first movement is posted and on the page");
    stage.play(&story, say)?;
    stage.catch_up()?;
    say("everything is posted");
    let closing = closing(&stage)?;
    println!("\n{}", closing.text);
    for wrong in &closing.wrong {
        println!("WRONG: {wrong}");
    }
    if closing.wrong.is_empty() {
        println!("subledger = ledger, debits = credits, open items = their accounts");
    }
    if arguments.once {
        for node in &mut stage.nodes {
            node.node.stop()?;
        }
        stage.hq.server.stop()?;
        return Ok(closing.wrong.is_empty());
    }
    println!(
        "\ndashboard: http://{}/   (Ctrl-C ends the demo; data in {})",
        stage.hq.api,
        root.display()
    );
    loop {
        std::thread::park();
    }
}
