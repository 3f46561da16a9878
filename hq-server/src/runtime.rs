//! The running server: opens the installation, takes its addresses, serves until told to stop. With
//! the adapters the only place that knows sockets, signals and threads of a runtime.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

use crate::api::{self, Access};
use crate::clock::Clock;
use crate::gateway::link::{BindError, Link, LinkSettings};
use crate::headquarters::{ConfigError, Headquarters, HeadquartersError, token, write_private};
use crate::store::FileError;
use crate::web::books_desk::{log_text, posted};
use crate::web::desk::{Change, Posted, SitePosted};

/// Says where a running server listens; commands look for it.
const RUNNING_FILE: &str = "running.json";

/// HQ's newest statements are signed within this time.
const SEAL_EVERY: Duration = Duration::from_secs(10);

/// How long open pages get to end when the server stops.
const CLOSING: Duration = Duration::from_secs(2);

/// The most threads for what waits for a disk or takes long. Each keeps what it packs with (zstd, 200 to
/// 400 KiB), and by tokio's own limit a thousand sites that come back at once had hundreds of them.
pub(crate) const BLOCKING_THREADS_MAX: usize = 32;

/// What a server, and every command, runs on.
pub fn threads() -> io::Result<tokio::runtime::Runtime> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()
}

/// Addresses that win over the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Where pages and API are served.
    pub api: Option<SocketAddr>,
    /// Where sites connect.
    pub link: Option<SocketAddr>,
}

/// Why the server does not run, or ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The installation.
    #[error(transparent)]
    Headquarters(#[from] HeadquartersError),
    /// The API's address.
    #[error(
        "TCP port {0} is in use: stop the other program (another hq-server?), or choose another address with --api"
    )]
    ApiInUse(SocketAddr),
    /// The API's address, otherwise.
    #[error("can't listen at {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The link's address.
    #[error(transparent)]
    Link(#[from] BindError),
    /// Files beside the store.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Account determination has gaps.
    #[error(
        "the mapping is not complete, so the first posting could not find its account: {0}; see \
         'hq-server mapping check', then 'hq-server mapping add'"
    )]
    MappingGaps(String),
    /// No room for facts or postings.
    #[error(
        "the disk is full, so HQ has stopped: free space and start it again. Nothing that was \
         acknowledged is lost, and sites keep what was not"
    )]
    DiskFull,
    /// Posting stopped.
    #[error(
        "posting has stopped: {0}. What was acknowledged is safe: start HQ again, and see \
         'hq-server verify' if it stops again"
    )]
    Posting(String),
    /// The intake stopped.
    #[error(
        "nothing more can be received: {0}. What was acknowledged is safe: start HQ again, and see \
         'hq-server verify' if it stops again"
    )]
    Intake(String),
    /// The operating system.
    #[error("the runtime fails: {0}")]
    Runtime(#[from] io::Error),
}

impl RunError {
    /// A thread that stops tells in words why.
    fn stopped(why: String, otherwise: fn(String) -> Self) -> Self {
        if why == FileError::DiskFull.to_string() { Self::DiskFull } else { otherwise(why) }
    }
}

/// Where a running server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Pages and API.
    pub api: SocketAddr,
    /// The link.
    pub link: SocketAddr,
    /// The process.
    pub process: u32,
}

impl Running {
    /// What the last server of an installation wrote down, should one run.
    pub fn read(directory: &Path) -> Option<Self> {
        let text = std::fs::read(directory.join(RUNNING_FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Where this machine reaches the API.
    pub fn base(&self) -> String {
        let ip = match self.api.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.api.port()))
    }
}

/// A server that has taken its addresses and not served yet.
#[derive(Debug)]
pub struct Server {
    hq: Headquarters,
    listener: TcpListener,
    link: Link<Headquarters>,
    access: Access,
    running: Running,
}

impl Server {
    /// Opens the installation and takes its addresses.
    pub async fn start(
        directory: &Path,
        options: RunOptions,
        clock: Clock,
    ) -> Result<Self, RunError> {
        let opening = {
            let (directory, clock) = (directory.to_owned(), clock.clone());
            tokio::task::spawn_blocking(move || Headquarters::open(&directory, clock))
        };
        let hq = opening.await.map_err(io::Error::other)??;
        Self::with(hq, options, clock).await
    }

    /// Takes the addresses of an open installation.
    pub async fn with(
        hq: Headquarters,
        options: RunOptions,
        clock: Clock,
    ) -> Result<Self, RunError> {
        hq.follow_newest_rules().await?;
        check_mapping(&hq)?;
        let api = options.api.unwrap_or(hq.config().api);
        let listener = TcpListener::bind(api).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => RunError::ApiInUse(api),
            _ => RunError::Listen { address: api, error },
        })?;
        let api = listener.local_addr()?;
        let access = if api.ip().is_loopback() {
            Access::Loopback
        } else {
            Access::Token(token(hq.directory())?)
        };
        let settings = LinkSettings::at(options.link.unwrap_or(hq.config().link));
        let link = Link::bind(settings, hq.authority().clone(), Arc::new(hq.clone()), clock)?;
        let running = Running { api, link: link.local_addr()?, process: std::process::id() };
        let text = serde_json::to_vec(&running).expect("addresses are JSON");
        write_private(&hq.directory().join(RUNNING_FILE), &text)?;
        Ok(Self { hq, listener, link, access, running })
    }

    /// Where it listens.
    pub const fn running(&self) -> &Running {
        &self.running
    }

    /// The installation.
    pub const fn headquarters(&self) -> &Headquarters {
        &self.hq
    }

    /// Serves until `shutdown` is done or posting stops.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let Self { hq, listener, link, access, .. } = self;
        let (stop, stopped) = watch::channel(false);
        let until_stop = |mut stopped: watch::Receiver<bool>| async move {
            // The sender lives as long as this function.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        // Whom an older program revoked, or one that ended before it said so.
        if let Err(error) = hq.agree_on_revoked().await {
            tracing::warn!("neighbours are not told who was revoked: {error}");
        }
        let router = api::router(&hq, access);
        let serving = axum::serve(listener, router)
            .with_graceful_shutdown(until_stop(stopped.clone()))
            .into_future();
        let serving = tokio::spawn(serving);
        let linking = tokio::spawn(link.run(until_stop(stopped.clone())));
        let telling = tokio::spawn(tell_changes(hq.clone()));
        let sealing = tokio::spawn(seal_often(hq.clone()));
        let placing = tokio::spawn(place_what_is_known(hq.clone()));

        let (mut posting, mut intake) = (hq.published().failure(), hq.intake().failure());
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            why = failed(&mut posting) => Err(RunError::stopped(why, RunError::Posting)),
            why = failed(&mut intake) => Err(RunError::stopped(why, RunError::Intake)),
        };
        stop.send_replace(true);
        telling.abort();
        sealing.abort();
        placing.abort();
        let _ = linking.await;
        // Pages keep their live streams open: they end with the process.
        let _ = tokio::time::timeout(CLOSING, serving).await;
        let _ = std::fs::remove_file(running_file(hq.directory()));
        hq.close().await;
        ended
    }
}

/// Done when something has failed; why.
async fn failed(failure: &mut watch::Receiver<Option<String>>) -> String {
    let why = failure.wait_for(Option::is_some).await;
    why.ok().and_then(|why| why.clone()).unwrap_or_default()
}

fn running_file(directory: &Path) -> PathBuf {
    directory.join(RUNNING_FILE)
}

/// Before the first posting every account must be found; later a gap makes only its postings wait.
fn check_mapping(hq: &Headquarters) -> Result<(), RunError> {
    let gaps = hq.mapping_gaps();
    let Some(first) = gaps.first() else { return Ok(()) };
    if hq.published().ledgers().books.voucher_counts().next().is_none() {
        return Err(RunError::MappingGaps(first.clone()));
    }
    for gap in gaps {
        tracing::warn!("{gap}: see 'hq-server mapping add'");
    }
    Ok(())
}

/// Passes every commit on to pages and streams.
async fn tell_changes(hq: Headquarters) {
    let mut events = hq.published().events();
    loop {
        let moved = match events.recv().await {
            Ok(event) => Posted {
                position: event.last.0,
                sites: event
                    .logs
                    .iter()
                    .map(|(site, log, seq)| SitePosted {
                        site: *site,
                        log: log_text(*log),
                        seq: seq.0,
                    })
                    .collect(),
            },
            // Some were missed: the state of every site makes up for them.
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let ledgers = hq.published().ledgers();
                posted(&ledgers.books, ledgers.tally.position())
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        // Nobody may be looking.
        drop(hq.changes().send(Change::Posted(Arc::new(moved))));
    }
}

/// Says when facts in doubt happened, wherever a commit tells it.
async fn place_what_is_known(hq: Headquarters) {
    let mut events = hq.published().events();
    loop {
        match hq.place_what_is_known().await {
            Ok(0) => {}
            Ok(count) => tracing::info!("HQ said {count} times when facts in doubt happened"),
            Err(error) => tracing::warn!("HQ did not say when facts in doubt happened: {error}"),
        }
        if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
            return;
        }
    }
}

async fn seal_often(hq: Headquarters) {
    let mut ticks = tokio::time::interval(SEAL_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = hq.own_log().seal().await {
            tracing::warn!("HQ's own log was not sealed: {error}");
        }
    }
}

/// Hears from now on that the process is asked to end; done when it is.
pub fn asked_to_end() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
