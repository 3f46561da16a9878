//! Rows of a CSV file become movements, as a map says. Knows no journal and no HTTP: groups go to a
//! [`Sink`]. Invariant: a row's key names it for ever, so the same file twice changes nothing, and
//! an import that was cut goes on where it stopped.

mod exact;
mod expression;
mod lookup;
mod map;
mod rows;
mod source;
mod totals;

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::api::views::Problem;
use crate::cli::CliError;
use crate::record::GroupInput;
use map::Map;
use rows::{Row, RowOutcome};
use totals::Totals;

pub use totals::{KindTotals, TotalsView};

/// Groups that go to the sink together: one commit of the journal.
const BATCH_ROWS: usize = 2_048;
/// Batches that are read ahead.
const AHEAD: usize = 4;

/// Where an import's groups go.
pub trait Sink {
    /// Records groups: whether each was known already, or why it is refused. An error ends the
    /// import.
    fn record(&self, groups: Vec<GroupInput>) -> Result<Vec<Result<bool, Problem>>, CliError>;

    /// The zone of dates that state none.
    fn zone(&self) -> &jiff::tz::TimeZone;
}

/// What `edge-node import` is told.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The map: what the columns mean.
    #[arg(long, value_name = "MAP.toml")]
    pub map: PathBuf,
    /// The rows: a CSV file, plain, .gz or .zst.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Gives a parameter of the map another value.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Where rows go that are refused, with the reason; NAME.rejects.csv in the current folder where
    /// nothing is said.
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
}

/// Why an import does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file can't be read or written.
    #[error("{} can't be used: {why}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A file ends where a row does not, or can't be read further.
    #[error(
        "{} breaks off after line {line} ({why}): rows up to there are recorded; get the whole file \
         and run the same command again, it goes on from there", .file.display()
    )]
    BreaksOff {
        /// The file.
        file: PathBuf,
        /// The last line that could be read.
        line: u64,
        /// Why.
        why: String,
    },
    /// The map does not hold.
    #[error("{}: {why}", .map.display())]
    Map {
        /// The map.
        map: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl From<ImportError> for CliError {
    fn from(error: ImportError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Imports a file and prints the totals. Rows that are refused go to the reject file, and the exit
/// code says so.
pub fn run(args: &ImportArgs, sink: &impl Sink, json: bool) -> Result<(), CliError> {
    let totals = import(args, sink, !json)?;
    let view = totals.view();
    if json {
        let text = serde_json::to_string_pretty(&view).expect("totals become JSON");
        println!("{text}");
    } else {
        print!("{view}");
    }
    match &view.rejects {
        None => Ok(()),
        Some(file) => Err(CliError::new(
            3,
            "rows_rejected",
            format!(
                "{} rows were rejected: {file} has them, with the reasons; mend what they name and \
                 import the file again, rows that are recorded stay as they are",
                view.rejected
            ),
        )),
    }
}

/// Imports a file; a progress bar where `shows_progress` and there is a terminal.
pub fn import(
    args: &ImportArgs,
    sink: &impl Sink,
    shows_progress: bool,
) -> Result<Totals, CliError> {
    let map = Map::read(&args.map, &args.parameters)?;
    let mut rows = rows::Rows::open(&map, &args.file, sink.zone())?;
    let bar = progress_bar(rows.bytes(), shows_progress);
    let mut rejects = Rejects::new(args);
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        let (batches, ready) = mpsc::sync_channel::<Batch>(AHEAD);
        let header = rows.header().to_vec();
        let reader = scope.spawn(move || read_batches(&mut rows, &batches));
        for batch in ready {
            bar.set_position(batch.bytes);
            batch.record(sink, &mut totals, &mut rejects, &header)?;
        }
        reader.join().expect("the reader does not panic").map_err(CliError::from)
    })?;
    bar.finish_and_clear();
    totals.rejects = rejects.finish()?;
    Ok(totals)
}

fn progress_bar(bytes: u64, shown: bool) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    if !shown {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = "{bar:40} {percent}%  {bytes} of {total_bytes}  {elapsed} ({eta} left)";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
    bar
}

/// Rows that go to the sink together.
struct Batch {
    rows: Vec<Row>,
    /// How far the file is read.
    bytes: u64,
}

fn read_batches(
    rows: &mut rows::Rows<'_>,
    batches: &mpsc::SyncSender<Batch>,
) -> Result<(), ImportError> {
    loop {
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        let mut end = None;
        while batch.len() < BATCH_ROWS && end.is_none() {
            match rows.next_row() {
                Ok(Some(row)) => batch.push(row),
                Ok(None) => end = Some(Ok(())),
                Err(error) => end = Some(Err(error)),
            }
        }
        // Nobody takes batches any more once the import failed: its error is told there.
        if batches.send(Batch { rows: batch, bytes: rows.bytes_read() }).is_err() {
            return Ok(());
        }
        if let Some(end) = end {
            return end;
        }
    }
}

impl Batch {
    fn record(
        self,
        sink: &impl Sink,
        totals: &mut Totals,
        rejects: &mut Rejects,
        header: &[String],
    ) -> Result<(), CliError> {
        let mut groups = Vec::with_capacity(self.rows.len());
        let mut sent = Vec::with_capacity(self.rows.len());
        let mut rejected = Vec::new();
        for row in self.rows {
            totals.read += 1;
            match row.outcome {
                RowOutcome::Filtered => totals.filtered += 1,
                RowOutcome::Rejected(problem) => rejected.push((row.line, row.cells, problem)),
                RowOutcome::Movement(group) => {
                    let line = group.lines.first().expect("a row is one line").clone();
                    sent.push((row.line, row.cells, line));
                    groups.push(*group);
                }
            }
        }
        let outcomes = if groups.is_empty() { Vec::new() } else { sink.record(groups)? };
        assert_eq!(outcomes.len(), sent.len(), "one outcome per group");
        for ((line, cells, movement), outcome) in sent.into_iter().zip(outcomes) {
            match outcome {
                Ok(again) => totals.add(&movement, again),
                Err(problem) if stops(&problem) => {
                    let message = format!(
                        "at line {line}: {}. Rows before it are recorded; the same command goes on \
                         from here",
                        problem.message
                    );
                    return Err(CliError::refused(Problem { message, ..problem }));
                }
                Err(problem) => rejected.push((line, cells, problem)),
            }
        }
        rejected.sort_by_key(|(line, ..)| *line);
        for (line, cells, problem) in rejected {
            totals.rejected += 1;
            rejects.add(header, line, &cells, &problem)?;
        }
        Ok(())
    }
}

/// Faults of the node and not of the row.
fn stops(problem: &Problem) -> bool {
    matches!(problem.code.as_str(), "disk_full" | "store" | "restored" | "damaged" | "bug")
}

/// Rows that are refused, in a file that is made with the first of them.
struct Rejects {
    file: PathBuf,
    writer: Option<csv::Writer<std::fs::File>>,
}

impl Rejects {
    fn new(args: &ImportArgs) -> Self {
        let named = args.rejects.clone();
        let beside = || {
            let name = args.file.file_name().unwrap_or_default().to_string_lossy();
            let stem = ["gz", "zst", "csv"].iter().fold(name.as_ref(), |name, ending| {
                name.strip_suffix(&format!(".{ending}")).unwrap_or(name)
            });
            Path::new(&format!("{stem}.rejects.csv")).to_owned()
        };
        Self { file: named.unwrap_or_else(beside), writer: None }
    }

    fn add(
        &mut self,
        header: &[String],
        line: u64,
        cells: &csv::StringRecord,
        problem: &Problem,
    ) -> Result<(), ImportError> {
        self.write(header, line, cells, problem)
            .map_err(|error| ImportError::File { file: self.file.clone(), why: error.to_string() })
    }

    fn write(
        &mut self,
        header: &[String],
        line: u64,
        cells: &csv::StringRecord,
        problem: &Problem,
    ) -> Result<(), csv::Error> {
        let writer = if let Some(writer) = &mut self.writer {
            writer
        } else {
            let made = csv::WriterBuilder::new().flexible(true).from_path(&self.file)?;
            let writer = self.writer.insert(made);
            let ours = ["line", "code", "reason"];
            writer.write_record(ours.into_iter().chain(header.iter().map(String::as_str)))?;
            writer
        };
        let line = line.to_string();
        // One row is one group of one line: its number says nothing.
        let reason = problem.message.strip_prefix("line 1: ").unwrap_or(&problem.message);
        let ours = [line.as_str(), &problem.code, reason];
        writer.write_record(ours.into_iter().chain(cells.iter()))
    }

    fn finish(self) -> Result<Option<PathBuf>, ImportError> {
        let Some(mut writer) = self.writer else { return Ok(None) };
        writer.flush().map_err(|error| ImportError::File {
            file: self.file.clone(),
            why: error.to_string(),
        })?;
        Ok(Some(self.file))
    }
}
