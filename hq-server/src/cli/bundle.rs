//! `bundle import` and `bundle export`. Knows no log: what goes in and out is the API's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use shared::ids::{LogId, Seq};
use shared::sync::bundle::{BundleScan, Scanned};

use super::arguments::BundleCommand;
use super::call::Client;
use super::{CliError, print};
use crate::address::encoded;

/// Enough for everything that stands outside before the first chunk.
const HEAD_BYTES: usize = 512;

pub(super) fn run(
    client: &Client<'_>,
    command: &BundleCommand,
    json: bool,
) -> Result<ExitCode, CliError> {
    match command {
        BundleCommand::Import { files } => Ok(import(client, files, json)),
        BundleCommand::Export { site, device, force, anew, file } => {
            let device = device.map_or_else(String::new, |device| format!("&device={device}"));
            let address = format!("/api/sites/{}/bundle?anew={anew}{device}", encoded(site));
            export(client, site, &address, *force, file, json)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Each file on its own: one that is refused holds the others up in nothing.
fn import(client: &Client<'_>, files: &[PathBuf], json: bool) -> ExitCode {
    let mut worst = 0;
    for file in in_order(files) {
        let name = file.display();
        let taken = File::open(file)
            .map_err(|error| CliError::Refused(format!("it can't be read: {error}")))
            .and_then(|opened| client.send("/api/bundles", opened));
        match taken {
            Ok(report) if json => print::json(&with_file(file, report)),
            Ok(report) => print::line(format_args!("{name}: {}", told(&report))),
            Err(error) => {
                worst = worst.max(error.code());
                let mut view = error.view();
                view["file"] = json!(name.to_string());
                let text =
                    if json { view.to_string() } else { format!("hq-server: {name}: {error}") };
                drop(writeln!(io::stderr(), "{text}"));
            }
        }
    }
    ExitCode::from(worst)
}

/// By log and place, so that files that were named in another order are taken all the same.
fn in_order(files: &[PathBuf]) -> Vec<&PathBuf> {
    let mut files: Vec<_> = files.iter().map(|file| (place(file), file)).collect();
    files.sort_by_key(|(place, _)| *place);
    files.into_iter().map(|(_, file)| file).collect()
}

/// What the outside says; nothing of what can't be read.
fn place(file: &Path) -> Option<(LogId, Seq, Seq)> {
    let mut head = Vec::new();
    File::open(file).ok()?.take(HEAD_BYTES as u64).read_to_end(&mut head).ok()?;
    let mut scan = BundleScan::new();
    scan.push(&head).ok()?;
    scan.head().map(|head| (head.log, head.after, head.last))
}

fn with_file(file: &Path, mut report: Value) -> Value {
    report["file"] = json!(file.display().to_string());
    report
}

fn told(report: &Value) -> String {
    let (new, facts) = (&report["new_facts"], &report["facts"]);
    let (after, last) = (report["after"].as_u64().unwrap_or(0), &report["last"]);
    let site = report["site"].as_str().unwrap_or_default();
    let which =
        format!("facts {} to {last} of site '{site}', device {}", after + 1, report["device"]);
    let what = match (new.as_u64().unwrap_or(0), facts.as_u64().unwrap_or(0)) {
        (_, 0) => format!("no facts of site '{site}', device {}", report["device"]),
        (0, _) => format!("{which}: nothing new, HQ has all of them already"),
        (new, facts) if new == facts => format!("{which}: {new} new"),
        (new, _) => format!("{which}: {new} new, the others are known"),
    };
    let (received, posted) = (&report["received"], &report["posted"]);
    let note = report["seal_missing"].as_u64().map_or_else(String::new, |missing| {
        let after = missing - 1;
        format!(
            "\nnote: the seal that begins at fact {missing} is missing, so later seals were not \
             taken; to bring it along: edge-node bundle export --after {after} FILE"
        )
    });
    format!(
        "{what}; HQ has this log up to {received}, posted up to {posted}{note}\nnext: hq-server bundle \
         export --site {site} FILE carries the acknowledgement back"
    )
}

fn export(
    client: &Client<'_>,
    site: &str,
    address: &str,
    force: bool,
    file: &Path,
    json: bool,
) -> Result<(), CliError> {
    if file.exists() && !force {
        return Err(CliError::Refused(format!(
            "{} exists: it is left as it is; give another name, or --force to replace it",
            file.display()
        )));
    }
    let scanned = whole_file(file, |out| client.fetch(address, out))?;
    let (head, bytes) = (scanned.head(), scanned.bytes());
    if json {
        print::json(&json!({
            "file": file.display().to_string(), "site": site, "log": head.log.to_string(),
            "received": head.last.0, "bytes": bytes
        }));
    } else {
        print::line(format_args!(
            "{}: acknowledges facts up to {}, with the master data that site '{site}' does not know, {bytes} \
             bytes\nnext: carry it there and run 'edge-node bundle import FILE'",
            file.display(),
            head.last
        ));
    }
    Ok(())
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
    sync_folder(to)?;
    Ok(scanned)
}

fn write_part(
    part: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError>,
) -> Result<Scanned, CliError> {
    let file = File::create(part)
        .map_err(|error| CliError::Refused(format!("{} can't be made: {error}", part.display())))?;
    let mut out = Scanning { file, scan: BundleScan::new() };
    write(&mut out)?;
    let Scanning { file, scan } = out;
    file.sync_all()?;
    scan.finish().map_err(|error| CliError::Unanswered(format!("no bundle was made: {error}")))
}

/// Makes a new name durable, where the file system can: those of sticks often can't.
fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    match File::open(folder)?.sync_all() {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        synced => synced,
    }
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
