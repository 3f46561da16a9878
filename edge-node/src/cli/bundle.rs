//! `bundle export` and `bundle import`. Knows no log: what goes in and out is the API's.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use shared::ids::Seq;
use shared::sync::bundle::{BundleScan, Scanned};

use super::CliError;
use super::access::Access;
use super::output::Output;
use crate::api::views::BundleMadeView;
use crate::bundle::Since;
use crate::journal::sync_folder;

#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Write what HQ does not have into a file for it: encrypted to HQ, signed by this node.
    Export(ExportArgs),
    /// Take HQ's answer out of a file: what it has and posted, master data.
    Import {
        /// The file that 'hq-server bundle export' made.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The file to make.
    file: PathBuf,
    /// Write what comes after this fact, instead of what HQ has not acknowledged.
    #[arg(long, value_name = "SEQ", conflicts_with = "all")]
    after: Option<u64>,
    /// Write the whole log.
    #[arg(long)]
    all: bool,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

impl BundleCommand {
    pub(super) fn run(&self, access: &Access, output: Output) -> Result<(), CliError> {
        match self {
            Self::Export(args) => output.bundle_made(&export(args, access)?),
            Self::Import { file } => {
                let opened = File::open(file).map_err(|error| {
                    CliError::failed(format!("{} can't be read: {error}", file.display()))
                })?;
                output.bundle_taken(&access.bundle_in(opened)?);
            }
        }
        Ok(())
    }
}

fn export(args: &ExportArgs, access: &Access) -> Result<BundleMadeView, CliError> {
    let since = match (args.after, args.all) {
        (Some(after), _) => Since::Fact(Seq(after)),
        (None, true) => Since::Fact(Seq::ZERO),
        (None, false) => Since::Acknowledged,
    };
    if args.file.exists() && !args.force {
        let text = format!(
            "{} exists: it is left as it is; give another name, or --force to replace it",
            args.file.display()
        );
        return Err(CliError::new(3, "exists", text));
    }
    let scanned = whole_file(&args.file, |out| access.bundle_out(since, out))?;
    Ok(BundleMadeView::of(&args.file, &scanned))
}

/// Makes a file whole or not at all: under another name until it is durable.
fn whole_file(
    to: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError>,
) -> Result<Scanned, CliError> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = write_part(&part, write);
    let scanned = written.inspect_err(|_| drop(std::fs::remove_file(&part)))?;
    std::fs::rename(&part, to)?;
    sync_name(to)?;
    Ok(scanned)
}

/// Makes a new name durable, where the file system can: those of sticks often can't.
fn sync_name(of: &Path) -> io::Result<()> {
    match sync_folder(of) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

fn write_part(
    part: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError>,
) -> Result<Scanned, CliError> {
    let file = File::create(part)
        .map_err(|error| CliError::failed(format!("{} can't be made: {error}", part.display())))?;
    let mut out = Scanning { file, scan: BundleScan::new() };
    write(&mut out)?;
    let Scanning { file, scan } = out;
    file.sync_all()?;
    let broken = |error| CliError::failed(format!("no bundle was made: {error}"));
    scan.finish().map_err(broken)
}

/// Looks at what is written, so that only a whole bundle gets its name.
struct Scanning {
    file: File,
    scan: BundleScan,
}

impl Write for Scanning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.scan.push(&bytes[..written]).map_err(io::Error::other)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
