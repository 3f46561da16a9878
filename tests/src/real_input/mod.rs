//! Real data from file to closing table: through edge nodes, QUIC and HQ, or, where it is about what
//! goods cost, through the books alone beside a computation by hand. The data is not part of the
//! project: without its folder there is nothing to do, and that is said.

pub mod adventureworks;
pub mod adventureworks_fifo;
mod books_alone;
pub mod fifo_by_hand;
pub mod freight_by_hand;
pub mod online_retail;
mod online_retail_books;
pub mod online_retail_lines;
pub mod scms;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hq_server::books::Books;
use hq_server::clock::Clock;
use hq_server::headquarters::Headquarters as OpenHq;
use shared::fact::effective::LogRank;
use shared::ids::Seq;

use crate::agreement::Standing;
use crate::demo::stage::{EdgeNode, Headquarters};
use crate::model::{Model, Written};
use crate::processes::ProcessError;

/// The folder of a data set: `WAREBOOK_DATA_SETS`, else beside the project. `None`, with a word on
/// it, where it is absent.
pub fn data_set(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("WAREBOOK_DATA_SETS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: the data set '{name}' is not at {}", folder.display());
    None
}

#[expect(clippy::needless_pass_by_value, reason = "an error handler for map_err")]
fn csv_error(error: csv::Error) -> ProcessError {
    ProcessError::Answer(error.to_string())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of data and of temporary folders are UTF-8")
}

fn print_measures(hq: &Headquarters, nodes: &[EdgeNode], rows: u64, took: Duration, sent: u64) {
    let per_second = u128::from(rows) * 1_000 / took.as_millis().max(1);
    let memory = |bytes: Option<u64>| bytes.map_or(0, |bytes| bytes >> 20);
    println!(
        "\n{rows} movements from file to posted in {:.1} s: {per_second}/s",
        took.as_secs_f32()
    );
    println!(
        "{sent} bytes of datagrams sent up: {}.{} a movement",
        sent / rows,
        sent * 10 / rows % 10
    );
    println!("peak memory of HQ: {} MiB", memory(hq.server.peak_memory()));
    let nodes: Vec<u64> = nodes.iter().map(|node| memory(node.node.peak_memory())).collect();
    let (least, most) = (nodes.iter().min().unwrap_or(&0), nodes.iter().max().unwrap_or(&0));
    let together: u64 = nodes.iter().sum();
    println!("peak memory of the nodes: {least} to {most} MiB, {together} MiB together");
}

/// Ends HQ and opens its files here.
fn open(mut hq: Headquarters) -> Result<OpenHq, ProcessError> {
    hq.server.stop()?;
    OpenHq::open(&hq.data, Clock::system()).map_err(|error| ProcessError::Answer(error.to_string()))
}

/// Every fact of every log, as the model takes them.
fn written(hq: &OpenHq) -> Result<Vec<Written>, ProcessError> {
    let mut written = Vec::new();
    for log in hq.intake().logs() {
        let facts = hq.intake().facts(log.record.no, Seq(1), log.received.last);
        let facts = facts.map_err(|error| ProcessError::Answer(error.to_string()))?;
        written.extend(facts.into_iter().enumerate().map(|(index, fact)| Written {
            site: log.record.site,
            log: LogRank::of(&log.record.log),
            seq: Seq(index as u64 + 1),
            fact,
        }));
    }
    Ok(written)
}

/// Whether the books hold, and say what the model says of the same facts.
fn check_books(books: &Books, written: &[Written], wrong: &mut Vec<String>) {
    if let Err(broken) = books.check() {
        wrong.push(broken.to_string());
    }
    let differences =
        Standing::of_books(books).differences(&Standing::of_model(&Model::of(written)));
    if differences.is_empty() {
        println!("every balance, pool and open item equals the naive model's");
    } else {
        let first: Vec<&str> = differences.lines().take(20).collect();
        wrong.push(format!("the naive model differs:\n{}", first.join("\n")));
    }
}
