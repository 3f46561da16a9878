//! The commands: parse, do, print. Knows every part by its public face and no store. Talks to the
//! running node through its API; where none runs, opens the folder itself.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage; 3 refused, with the reason; 4 not enrolled or in
//! use; 5 the store is damaged or the disk is full.

mod access;
mod bundle;
mod output;
mod record;
mod setup;
mod shared;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::api::views::Problem;
use crate::config::ConfigError;
use crate::data_dir::{DataDir, LockError};
use crate::import;
use crate::journal::{BackupError, OpenError, StoreError, is_full};
use crate::runtime::StartError;
use access::Access;
use output::Output;

/// The options that every command has.
const EVERYWHERE: &str = "Everywhere";

const IMPORT_TWICE: &str = "\
The same rows again change nothing: what was recorded stays, what was refused is tried again, and an \
import that was cut goes on. That holds until a row's key is forgotten: 30 days after HQ has what was \
recorded (keys_kept_days in node.toml). Example maps stand in deploy/maps of the source.

Example:
  edge-node import --map deploy/maps/adventureworks-transactions.toml --set remainder=0 \\\n    Production.TransactionHistory.csv.gz";

const BUNDLE: &str = "\
Without a link:
  edge-node bundle export /media/stick/south.bundle      here, then carry the stick to HQ
  hq-server bundle import /media/stick/south.bundle      at HQ
  hq-server bundle export --site SOUTH /media/stick/answer.bundle
  edge-node bundle import /media/stick/answer.bundle     here again

Whoever finds the stick sees which log it is, which facts and how much; nothing else. The same file twice,
an older one, or files in another order do no harm.";

const NETWORKS: &str = "\
Networks: [link] in node.toml says how the link to HQ is treated.
  profile = \"auto\"        what the last connections measured chooses (the default)
  profile = \"normal\"      wires, good mobile networks
  profile = \"lossy\"       many packets get lost, whatever is sent
  profile = \"satellite\"   long round trips; state rate_kbits, and that much is sent whatever gets lost
  profile = \"metered\"     every byte is paid for: connects every metered_minutes, leaves when all is said

'edge-node status' shows the profile, round trip, loss and rate of the last connection. A change of address
begins nothing anew.";

const FIRST_STEPS: &str = "\
First steps:
  edge-node init                            make the folder, here: edge-data
  edge-node enrol CODE --hq HOST:PORT       with a code of 'hq-server site add NAME'
  edge-node run                             in a terminal of its own, or as a service
  edge-node record receipt --help           and 'items' for what can be recorded

Commands talk to the node that runs; where none runs they open the folder themselves.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 refused, with the reason; 4 not enrolled or in use;
5 the store is damaged or the disk is full.";

/// Records stock movements at a warehouse, alone for weeks if it must, and sends them to HQ.
#[derive(Debug, Parser)]
#[command(name = "edge-node", version, max_term_width = 100, after_help = FIRST_STEPS)]
struct Cli {
    /// The node's folder.
    #[arg(
        long,
        short,
        global = true,
        env = "WAREBOOK_DATA",
        default_value = "edge-data",
        value_name = "DIR",
        help_heading = EVERYWHERE
    )]
    data: PathBuf,
    /// Print JSON instead of text, errors too.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the folder of a new node: its keys and node.toml.
    Init(setup::InitArgs),
    /// Turn a one-time code from HQ into this node's certificate and log.
    Enrol(setup::EnrolArgs),
    /// Set a lost warehouse up again on a new box: enrol it, and begin with the stock that HQ has.
    Rebuild(setup::EnrolArgs),
    /// Run the node: serve the local API, keep the link to HQ.
    #[command(after_help = NETWORKS)]
    Run,
    /// Record a movement, or a group of them.
    #[command(subcommand)]
    Record(Box<record::RecordCommand>),
    /// Record the rows of a CSV file, as a map says.
    #[command(after_help = IMPORT_TWICE)]
    Import(import::ImportArgs),
    /// Show what is on hand, by this node's own log.
    Stock {
        /// Only the item with this code.
        item: Option<String>,
    },
    /// Show facts of this node's log, the newest where nothing else is said.
    Log {
        /// The first place to show, counted from 1.
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        /// How many.
        #[arg(long, default_value_t = 20, value_name = "NUMBER")]
        count: usize,
    },
    /// Show items that can be moved or sold here.
    Items {
        /// A part of code or name.
        search: Option<String>,
        /// Look at HQ, where this site is told only the items that it handles.
        #[arg(long, requires = "search")]
        at_hq: bool,
        /// Let this site handle these items of HQ from now on.
        #[arg(long, value_name = "CODE", num_args = 1.., conflicts_with = "search")]
        take: Vec<String>,
    },
    /// Show goods on their way to this site.
    Transfers,
    /// Show how the node stands: what waits for HQ, what is posted.
    Status,
    /// Prove the log from its file: chain, signatures, document heads.
    Verify,
    /// Copy the log to a file while the node runs; the node's keys are not in it.
    Backup {
        /// The file to make.
        file: PathBuf,
    },
    /// Put a backup back; the node must then be enrolled again. A log that is there is left as it is,
    /// unless it is to be set aside.
    Restore {
        /// The backup.
        file: PathBuf,
        /// Keep the log that is there under another name: what HQ does not have of it is sent once
        /// the node is enrolled again.
        #[arg(long)]
        set_aside: bool,
    },
    /// Carry data to HQ and its answer back in a file, where there is no link.
    #[command(subcommand, after_help = BUNDLE)]
    Bundle(bundle::BundleCommand),
    /// What people note of items and of the place, seen by everybody of this site and by HQ.
    #[command(subcommand)]
    Note(shared::NoteCommand),
    /// What the two ends of a transfer tell each other: when, by whom, what is different.
    #[command(subcommand)]
    Transfer(shared::TransferCommand),
    /// Count together: several counters' figures, settled by a person, recorded as counts.
    #[command(subcommand)]
    CountSheet(shared::CountSheetCommand),
    /// Shared documents, and the log as documents.
    #[command(subcommand)]
    Document(DocumentCommand),
}

#[derive(Debug, Subcommand)]
enum DocumentCommand {
    /// Write the log as Automerge documents that any Automerge program loads.
    Export(ExportArgs),
    #[command(flatten)]
    Shared(shared::SharedCommand),
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// The file to make; later chunks of 65,536 facts get their number before the ending.
    file: PathBuf,
}

/// What a command fails with: the text for people, the exit code, the word for programs.
#[derive(Debug)]
pub struct CliError {
    code: u8,
    problem: Problem,
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl CliError {
    /// A failure with its exit code and word.
    pub fn new(code: u8, word: &str, message: impl Into<String>) -> Self {
        let problem = Problem { code: word.to_owned(), message: message.into(), line: None };
        Self { code, problem }
    }

    /// Whether what was asked for is not there.
    fn is_not_found(&self) -> bool {
        self.problem.code == "not_found"
    }

    /// A plain failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(1, "failed", message)
    }

    /// What the node refuses, with the exit code that its word has.
    pub fn refused(problem: Problem) -> Self {
        let code = match problem.code.as_str() {
            "disk_full" | "damaged" => 5,
            "restored" => 4,
            "store" | "backup" | "bug" | "unauthorized" | "not_found" | "bad_request" => 1,
            _ => 3,
        };
        Self { code, problem }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        let (code, word) = match &error {
            StartError::Lock(_)
            | StartError::NotEnrolled
            | StartError::Journal(OpenError::InUse | OpenError::Missing(_))
            | StartError::Config(ConfigError::Unreadable { .. }) => (4, "not_ready"),
            StartError::Journal(OpenError::DiskFull)
            | StartError::Documents(OpenError::DiskFull) => (5, "disk_full"),
            StartError::Journal(OpenError::Io(_)) | StartError::Documents(_) => (1, "store"),
            StartError::Journal(_)
            | StartError::JournalLost(_)
            | StartError::PredecessorLost(_)
            | StartError::JournalEnded => (5, "damaged"),
            _ => (1, "failed"),
        };
        Self::new(code, word, error.to_string())
    }
}

impl From<LockError> for CliError {
    fn from(error: LockError) -> Self {
        StartError::from(error).into()
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        StartError::from(error).into()
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let (code, word) = match error {
            StoreError::DiskFull => (5, "disk_full"),
            StoreError::Damaged(_) => (5, "damaged"),
            StoreError::Disk(_) | StoreError::Closed => (1, "store"),
        };
        Self::new(code, word, error.to_string())
    }
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => error.into(),
            BackupError::DiskFull => Self::new(5, "disk_full", error.to_string()),
            BackupError::Damaged(_) | BackupError::Open(_) => {
                Self::new(5, "damaged", error.to_string())
            }
            other => Self::new(1, "backup", other.to_string()),
        }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if is_full(&error) {
            return Self::new(5, "disk_full", "the disk is full: free some space and try again");
        }
        Self::failed(error.to_string())
    }
}

/// Runs the command line and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let output = Output { json: cli.json };
    match run(&cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.problem(&error.problem);
            ExitCode::from(error.code)
        }
    }
}

fn run(cli: &Cli, output: Output) -> Result<(), CliError> {
    let data = DataDir::new(&cli.data);
    match &cli.command {
        Command::Init(args) => setup::init(&data, args, output),
        Command::Enrol(args) => setup::enrol(&data, args, output),
        Command::Rebuild(args) => setup::rebuild(&data, args, output),
        Command::Run => setup::run(&data, output),
        Command::Restore { file, set_aside } => setup::restore(&data, file, *set_aside, output),
        Command::Import(args) => {
            let access = Access::open(&data)?;
            let imported = import::run(args, &access.import_sink(), output.json);
            finish(access, imported)
        }
        command => {
            let access = Access::open(&data)?;
            let done = with_node(command, &access, output);
            finish(access, done)
        }
    }
}

/// Closes what was opened, whatever came of the command; its own failure goes first.
fn finish<T>(access: Access, done: Result<T, CliError>) -> Result<T, CliError> {
    let closed = access.close();
    let done = done?;
    closed?;
    Ok(done)
}

fn with_node(command: &Command, access: &Access, output: Output) -> Result<(), CliError> {
    match command {
        Command::Record(command) => {
            let group = record::group(command, &access.zone())?;
            output.recorded(&access.record(&group)?);
        }
        Command::Stock { item } => output.stock(&access.stock(item.as_deref())?),
        Command::Log { from, count } => output.log(&access.log(*from, *count)?),
        Command::Items { take, .. } if !take.is_empty() => output.taken(&access.take_items(take)?),
        Command::Items { search: Some(search), at_hq: true, .. } => {
            output.found(&access.items_at_hq(search)?);
        }
        Command::Items { search, .. } => output.items(&access.items(search.as_deref())?),
        Command::Transfers => output.transfers(&access.transfers()?),
        Command::Status => output.status(&access.status()?),
        Command::Verify => output.verified(&access.verify()?),
        Command::Backup { file } => output.backup(&access.backup(file)?),
        Command::Bundle(command) => command.run(access, output)?,
        Command::Document(DocumentCommand::Export(args)) => {
            output.exported(&access.export(&args.file)?);
        }
        Command::Document(DocumentCommand::Shared(command)) => command.run(access, output)?,
        Command::Note(command) => command.run(access, output)?,
        Command::Transfer(command) => command.run(access, output)?,
        Command::CountSheet(command) => command.run(access, output)?,
        Command::Init(_)
        | Command::Enrol(_)
        | Command::Run
        | Command::Rebuild(_)
        | Command::Restore { .. }
        | Command::Import(_) => unreachable!("these don't come here"),
    }
    Ok(())
}
