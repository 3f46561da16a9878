//! `init`, `enrol`, `run`, `restore`: commands about the node itself.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use shared::sync::SiteStock;
use tokio::sync::watch;

use super::CliError;
use super::output::Output;
use crate::config::{self, Config};
use crate::data_dir::DataDir;
use crate::journal::{self, Clock, Journal, OpenError, Options, SystemClock};
use crate::link::{self, Choice, EnrolError, Identity, KeyFileError, Wall};
use crate::runtime::{self, Node, StartError};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where HQ listens: HOST:PORT.
    #[arg(long, value_name = "HOST:PORT")]
    hq: Option<String>,
    /// The network to HQ: auto (what connections measure), normal, lossy, satellite or metered.
    #[arg(long, value_name = "PROFILE", value_parser = |text: &str| text.parse::<Choice>().map(|_| text.to_owned()))]
    network: Option<String>,
    /// Where the local API listens.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// The time zone of dates that state none, for example Asia/Shanghai.
    #[arg(long)]
    zone: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct EnrolArgs {
    /// The one-time code that HQ printed: wb1.…
    code: String,
    /// Where HQ listens; kept in node.toml.
    #[arg(long, value_name = "HOST:PORT")]
    hq: Option<String>,
}

#[derive(Serialize)]
struct Initialised<'a> {
    data: &'a Path,
    log_key: String,
}

impl From<KeyFileError> for CliError {
    fn from(error: KeyFileError) -> Self {
        let code = if matches!(error, KeyFileError::Missing(_)) { 4 } else { 1 };
        Self::new(code, "keys", error.to_string())
    }
}

pub(super) fn init(data: &DataDir, args: &InitArgs, output: Output) -> Result<(), CliError> {
    let identity = make(data, args)?;
    let log_key = data_encoding::HEXLOWER.encode(identity.log_key().verifying_key().as_bytes());
    let line = format!(
        "{}: made; next: edge-node enrol CODE, with a code of 'hq-server site add NAME'",
        data.root().display()
    );
    output.say(&line, &Initialised { data: data.root(), log_key });
    Ok(())
}

/// Keys and node.toml.
fn make(data: &DataDir, args: &InitArgs) -> Result<Identity, CliError> {
    std::fs::create_dir_all(data.root()).map_err(|error| {
        CliError::failed(format!("{} can't be made: {error}", data.root().display()))
    })?;
    let _lock = data.lock()?;
    let text = template(args);
    Config::parse(&data.config(), &text)?;
    let identity = Identity::create(&data.identity())?;
    if !data.config().exists() {
        std::fs::write(data.config(), text)?;
    }
    Ok(identity)
}

fn template(args: &InitArgs) -> String {
    let mut text = config::TEMPLATE.to_owned();
    if let Some(hq) = &args.hq {
        text = set_key(&text, "hq", "address", hq);
    }
    if let Some(network) = &args.network {
        text = set_key(&text, "link", "profile", network);
    }
    if let Some(listen) = &args.listen {
        text = set_key(&text, "api", "listen", &listen.to_string());
    }
    if let Some(zone) = &args.zone {
        text = set_key(&text, "site", "zone", zone);
    }
    text
}

/// Sets a key of a section in the text of node.toml, comments kept.
fn set_key(text: &str, section: &str, key: &str, value: &str) -> String {
    let line = format!("{key} = {}", toml::Value::String(value.to_owned()));
    let header = format!("[{section}]");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let Some(start) = lines.iter().position(|line| line.trim() == header) else {
        lines.extend([String::new(), header, line]);
        return lines.join("\n") + "\n";
    };
    let end = lines[start + 1..].iter().position(|line| line.trim_start().starts_with('['));
    let end = end.map_or(lines.len(), |end| start + 1 + end);
    let is_key = |line: &String| {
        let bare = line.trim_start_matches(['#', ' ']);
        bare.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let active = |line: &String| is_key(line) && !line.trim_start().starts_with('#');
    let at = lines[start + 1..end].iter().position(active);
    match at.or_else(|| lines[start + 1..end].iter().position(is_key)) {
        Some(at) => lines[start + 1 + at] = line,
        None => lines.insert(start + 1, line),
    }
    lines.join("\n") + "\n"
}

#[derive(Serialize)]
struct EnrolledView {
    site: u32,
    site_name: String,
    device: u32,
    log: String,
}

pub(super) fn enrol(data: &DataDir, args: &EnrolArgs, output: Output) -> Result<(), CliError> {
    let config = Config::read(&data.config())?;
    let _lock = data.lock()?;
    let hq = hq_address(args, &config)?;
    set_restored_aside(data, &config)?;
    let mut identity = Identity::open(&data.identity())?;
    // An enrolment that was cut before there was a journal is finished without HQ.
    let is_half_done =
        identity.enrolment().is_some() && !identity.has_journal() && !data.journal().exists();
    let clock_ahead_ms = if is_half_done { 0 } else { enrol_at(&mut identity, &args.code, &hq)? };
    let clock = Arc::new(SystemClock::default());
    runtime::open_journal(data, &mut identity, &config, clock)?.close_blocking()?;
    keep_address(data, args, &config)?;
    say_enrolled(&identity, output);
    if let Some(warning) = link::clock_warning(clock_ahead_ms) {
        eprintln!("edge-node: {warning}");
    }
    Ok(())
}

fn hq_address(args: &EnrolArgs, config: &Config) -> Result<String, CliError> {
    args.hq.clone().or_else(|| config.hq_address.clone()).ok_or_else(|| {
        CliError::new(2, "usage", "state where HQ listens: edge-node enrol CODE --hq HOST:PORT")
    })
}

/// An address that was stated is kept.
fn keep_address(data: &DataDir, args: &EnrolArgs, config: &Config) -> Result<(), CliError> {
    if let Some(hq) = args.hq.as_ref().filter(|hq| config.hq_address.as_ref() != Some(*hq)) {
        let text = std::fs::read_to_string(data.config())?;
        std::fs::write(data.config(), set_key(&text, "hq", "address", hq))?;
    }
    Ok(())
}

/// Asks HQ; how far this node's clock is ahead of HQ's.
fn enrol_at(identity: &mut Identity, code: &str, hq: &str) -> Result<i64, CliError> {
    let clock = SystemClock::default();
    let wall = Wall::from_fn(move || clock.now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let enrolled = runtime.block_on(link::enrol(identity, code, hq, &wall));
    Ok(enrolled.map_err(|error| enrol_failed(&error))?.clock_ahead_ms)
}

fn say_enrolled(identity: &Identity, output: Output) {
    let enrolment = identity.enrolment().expect("it was enrolled above");
    let genesis = identity.genesis().expect("it was enrolled above");
    let view = EnrolledView {
        site: enrolment.site.0,
        site_name: enrolment.site_name.clone(),
        device: enrolment.device.0,
        log: genesis.log_id().to_string(),
    };
    let line = format!(
        "enrolled as site {} ({}), device {}; next: edge-node run",
        view.site, view.site_name, view.device
    );
    output.say(&line, &view);
}

fn enrol_failed(error: &EnrolError) -> CliError {
    let (code, word) = match error {
        EnrolError::NotACode(_) => (2, "usage"),
        EnrolError::AlreadyEnrolled(_) => (4, "already_enrolled"),
        EnrolError::Connect(_) | EnrolError::Lost(_) => (1, "unreachable"),
        EnrolError::KeyFile(_) => (1, "keys"),
        _ => (3, "refused"),
    };
    CliError::new(code, word, error.to_string())
}

#[derive(Serialize)]
struct RebuiltView {
    site: u32,
    site_name: String,
    device: u32,
    /// Items and lots that are on hand.
    lines: usize,
    /// HQ's time.
    at: String,
    complete_to: Vec<CompleteView>,
}

/// Up to where a log of the site is in the stock.
#[derive(Serialize)]
struct CompleteView {
    device: u32,
    last: u64,
    recorded_at: String,
}

/// A new box in the place of one that is lost.
pub(super) fn rebuild(data: &DataDir, args: &EnrolArgs, output: Output) -> Result<(), CliError> {
    if !data.config().exists() {
        let hq = args.hq.clone();
        make(data, &InitArgs { hq, network: None, listen: None, zone: None })?;
    }
    let config = Config::read(&data.config())?;
    let _lock = data.lock()?;
    let hq = hq_address(args, &config)?;
    if data.journal().exists() {
        let text = "there is a log here already: a lost warehouse is set up again in an empty folder \
                    (--data DIR); with a backup, use 'edge-node restore'";
        return Err(CliError::new(1, "exists", text));
    }
    let mut identity = Identity::open(&data.identity())?;
    identity.note_rebuilding()?;
    if identity.enrolment().is_none() {
        enrol_at(&mut identity, &args.code, &hq)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stock = runtime.block_on(link::site_stock(&identity, &hq));
    let stock = stock.map_err(|error| enrol_failed(&error))?;
    let genesis = identity.genesis().expect("it was enrolled above");
    let mut options = Options::new(Some(identity.log_key().clone()));
    options.cache_bytes = config.cache_bytes;
    let made = Journal::create_with_stock(&data.journal(), &genesis, &stock.levels, options);
    made.map_err(StartError::from)?.close_blocking()?;
    identity.note_journal()?;
    keep_address(data, args, &config)?;
    say_rebuilt(&identity, &stock, output);
    Ok(())
}

fn say_rebuilt(identity: &Identity, stock: &SiteStock, output: Output) {
    let enrolment = identity.enrolment().expect("it is enrolled");
    let complete = stock.logs.iter().map(|log| CompleteView {
        device: log.device.0,
        last: log.last.0,
        recorded_at: log.recorded_at.to_string(),
    });
    let view = RebuiltView {
        site: enrolment.site.0,
        site_name: enrolment.site_name.clone(),
        device: enrolment.device.0,
        lines: stock.levels.len(),
        at: stock.at.to_string(),
        complete_to: complete.collect(),
    };
    let logs = view.complete_to.iter().map(|log| {
        let CompleteView { device, last, recorded_at } = log;
        format!("\n  device {device} up to fact {last}, recorded at {recorded_at}")
    });
    let line = format!(
        "site {} ({}) is set up again as device {}, with {} lines of stock as HQ has them:{}\nWhat was \
         recorded there later never reached HQ: enter it again, or count. Next: edge-node run",
        view.site,
        view.site_name,
        view.device,
        view.lines,
        logs.collect::<String>()
    );
    output.say(&line, &view);
}

/// A restored node, or one whose log forked, becomes a new device, whose log goes on from the stock of
/// the old one: that log and its keys are kept under the log's name. Cut anywhere, it goes on from
/// there.
fn set_restored_aside(data: &DataDir, config: &Config) -> Result<(), CliError> {
    let mut options = Options::new(None);
    options.cache_bytes = config.cache_bytes;
    let journal = match Journal::open(&data.journal(), options) {
        Ok(journal) => journal,
        Err(OpenError::Missing(_)) => return Ok(()),
        Err(error) => return Err(StartError::from(error).into()),
    };
    let (is_restored, name, unsent) =
        (journal.is_restored(), journal.log().short(), unsent(&journal));
    journal.close_blocking()?;
    // The name stays free until the last step, so a second try finds the keys of the first.
    let old_journal = free_name(data, &format!("journal-{name}"), ".redb");
    let identity = match Identity::open(&data.identity()) {
        Err(KeyFileError::Missing(_)) => None,
        identity => Some(identity?),
    };
    let are_keys_made = identity.as_ref().is_some_and(|identity| {
        identity.predecessor() == Some(&old_journal) && !identity.has_journal()
    });
    let is_forked = identity.as_ref().is_some_and(Identity::is_forked);
    if is_forked && unsent > 0 {
        return Err(CliError::new(
            3,
            "unsent",
            format!(
                "HQ does not have {unsent} facts of this node yet, and a new device does not send \
                 them: run 'edge-node run' until 'edge-node status' shows them at HQ, then enrol"
            ),
        ));
    }
    if !is_restored && !is_forked && !are_keys_made {
        return Ok(());
    }
    if !are_keys_made {
        if identity.is_some() {
            let old_identity = free_name(data, &format!("identity-{name}"), "");
            std::fs::rename(data.identity(), data.root().join(old_identity))?;
        }
        Identity::create_after(&data.identity(), &old_journal)?;
    }
    std::fs::rename(data.journal(), data.root().join(old_journal))?;
    Ok(())
}

/// How many facts of a log HQ has not acknowledged.
fn unsent(journal: &Journal) -> u64 {
    let held = journal.acknowledgement().map(|signed| signed.acknowledgement);
    let held = held.filter(|held| held.log == journal.log());
    let held = held.map_or(0, |held| held.received.last.0);
    journal.position().last.0.saturating_sub(held)
}

/// A name in the folder that nothing has: nothing that was set aside is ever overwritten.
fn free_name(data: &DataDir, stem: &str, ending: &str) -> String {
    let names = (1..).map(|number| match number {
        1 => format!("{stem}{ending}"),
        number => format!("{stem}-{number}{ending}"),
    });
    let mut free = names.filter(|name| !data.root().join(name).exists());
    free.next().expect("a folder has not every name")
}

#[derive(Serialize)]
struct RestoredView {
    log: String,
    last: u64,
}

/// What a log that is there holds that HQ does not have, in words; `None` where there is none.
fn kept_from_hq(data: &DataDir) -> Option<String> {
    match Journal::open(&data.journal(), Options::new(None)) {
        Err(OpenError::Missing(_)) => None,
        Err(error) => Some(format!("it does not open ({error})")),
        Ok(journal) => {
            let (last, unsent) = (journal.position().last, unsent(&journal));
            drop(journal.close_blocking());
            Some(format!("it has {last} facts, {unsent} of which HQ does not have"))
        }
    }
}

pub(super) fn restore(
    data: &DataDir,
    file: &Path,
    set_aside: bool,
    output: Output,
) -> Result<(), CliError> {
    std::fs::create_dir_all(data.root())?;
    let _lock = data.lock()?;
    if let Some(held) = kept_from_hq(data) {
        if !set_aside {
            let text = format!(
                "there is a log in {} already, and it is left as it is: {held}. If this node still \
                 runs, run it until 'edge-node status' shows all at HQ. To put the backup in its \
                 place, add --set-aside: the log is kept under another name, and what HQ does not have \
                 of it is sent once this node is enrolled again",
                data.root().display()
            );
            return Err(CliError::new(1, "exists", text));
        }
        let aside = free_name(data, "journal-aside", ".redb");
        std::fs::rename(data.journal(), data.root().join(&aside))?;
        eprintln!("edge-node: the log that was here is {aside} now: {held}");
    }
    let summary = journal::restore(file, &data.journal(), &Options::new(None))?;
    if !data.config().exists() {
        std::fs::write(data.config(), config::TEMPLATE)?;
    }
    if !data.identity().exists() {
        Identity::create(&data.identity())?;
    }
    let line = format!(
        "restored and proved: {} facts of log {}. This node must become a new device before it \
         records: get a code at HQ ('hq-server site code') and run 'edge-node enrol CODE'",
        summary.last,
        summary.log.short()
    );
    output.say(&line, &RestoredView { log: summary.log.to_string(), last: summary.last.0 });
    Ok(())
}

#[derive(Serialize)]
struct ReadyView {
    ready: bool,
    api: String,
    site: u32,
    device: u32,
    hq: Option<String>,
}

pub(super) fn run(data: &DataDir, output: Output) -> Result<(), CliError> {
    log_to_stderr();
    let node = Node::open(data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop_in, stop) = watch::channel(false);
        tokio::spawn(stop_on_signal(stop_in)?);
        let ready = |node: &Node, ready: &runtime::Ready| {
            let genesis = node.journal().genesis();
            let view = ReadyView {
                ready: true,
                api: format!("http://{}", ready.api),
                site: genesis.site.0,
                device: genesis.device.0,
                hq: node.config.hq_address.clone(),
            };
            let hq = view.hq.as_deref().unwrap_or("none configured");
            let line = format!(
                "edge-node ready: site {}, device {}, API {}, HQ {hq}",
                view.site, view.device, view.api
            );
            let value = serde_json::to_string(&view).expect("a view becomes JSON");
            let line = if output.json { value } else { line };
            drop(std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes()));
        };
        runtime::run(node, stop, ready).await?;
        Ok(())
    })
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WAREBOOK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    drop(subscriber.try_init());
}

/// Waits for Ctrl-C or a stop by the service manager.
fn stop_on_signal(stop: watch::Sender<bool>) -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.send_replace(true);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_set_where_they_stand() {
        let text = "version = 1\n[hq]\n# address = \"x\"\n[api]\nlisten = \"a\"\n";
        let set = set_key(text, "hq", "address", "h:1");
        assert_eq!(set, "version = 1\n[hq]\naddress = \"h:1\"\n[api]\nlisten = \"a\"\n");
        let again = set_key(&set, "hq", "address", "h:2");
        assert!(again.contains("address = \"h:2\"") && !again.contains("h:1"));
        let added = set_key("version = 1\n", "hq", "address", "h");
        assert_eq!(added, "version = 1\n\n[hq]\naddress = \"h\"\n");
        let within = set_key("[hq]\n[api]\n", "hq", "address", "h");
        assert_eq!(within, "[hq]\naddress = \"h\"\n[api]\n");
    }
}
