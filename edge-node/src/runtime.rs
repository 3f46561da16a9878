//! The running node: opens everything, serves the API, keeps the link, seals on time, and stops in
//! order. The one place that knows all parts. Invariant: the journal closes last, after everybody
//! who records has gone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::{self, Api};
use crate::bundle::{Bundles, Keys};
use crate::config::{Config, ConfigError};
use crate::data_dir::{DataDir, Lock, LockError};
use crate::documents::{Documents, Owner};
use crate::journal::{Clock, Journal, OpenError, Options, StoreError, SystemClock};
use crate::journal_link::LinkTask;
use crate::link::{Identity, KeyFileError, LinkStatus, Wall, questions};
use crate::neighbour::{NeighbourError, NeighbourParts, Neighbours};
use crate::record::Recorder;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// It has no certificate yet.
    #[error(
        "this node is not enrolled: get a code at HQ (hq-server site add NAME) and run 'edge-node enrol CODE --hq HOST:PORT'"
    )]
    NotEnrolled,
    /// Its journal.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The shared documents' file.
    #[error("the shared documents can't be opened: {0}")]
    Documents(#[source] OpenError),
    /// The journal is gone.
    #[error(
        "the journal {} is gone, and these keys had one: a new one would contradict what HQ may have \
         acknowledged. Put the file back; or restore the newest backup (edge-node restore FILE) and \
         enrol again with a new code; without a backup make a new node in another folder. HQ has \
         what it acknowledged", .0.display()
    )]
    JournalLost(PathBuf),
    /// A rebuild was cut short.
    #[error(
        "this node was to begin with the stock that HQ has, and that was cut short: run 'edge-node \
         rebuild CODE' again, with the same code"
    )]
    Rebuilding,
    /// The journal that this node's goes on from is gone.
    #[error(
        "the journal {} is gone, whose stock this restored node goes on from: put the file back, or \
         delete identity/journal.predecessor to begin with no stock and count it", .0.display()
    )]
    PredecessorLost(PathBuf),
    /// The writer's thread is gone.
    #[error(
        "the journal stopped by a fault in the program (see the log above); what was acknowledged is \
         safe: start the node again, and report the fault"
    )]
    JournalEnded,
    /// The journal is of another installation.
    #[error(
        "the journal belongs to device {journal}, the keys to device {keys}: they come from two installations; restore a backup into a fresh folder and enrol it"
    )]
    OtherDevice {
        /// By its genesis.
        journal: u32,
        /// By the enrolment.
        keys: u32,
    },
    /// The API's address.
    #[error(
        "the API can't listen on {address}: {why}. Change 'listen' under [api] in node.toml, or stop who has the port"
    )]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// Its neighbours.
    #[error(transparent)]
    Neighbours(#[from] NeighbourError),
    /// The API does not serve any more.
    #[error("the API stopped by itself ({0}): start the node again")]
    ApiEnded(String),
    /// The API is bound wide without a token.
    #[error(
        "the API would be open to the network on {0}: state 'token_file' under [api] in node.toml, or listen on 127.0.0.1"
    )]
    OpenToAll(SocketAddr),
    /// The token.
    #[error(
        "the token file {} can't be used ({why}): write one line of 16 or more random characters \
         into it", .file.display()
    )]
    Token {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A file of the folder.
    #[error("the folder can't be written: {0}")]
    Io(#[from] std::io::Error),
}

/// An enrolled node whose journal is open in this process.
#[derive(Debug)]
pub struct Node {
    /// Its folder.
    pub data: DataDir,
    /// What the operator set.
    pub config: Config,
    /// Who it is.
    pub identity: Identity,
    /// Checks and records.
    pub recorder: Recorder,
    /// What the site's people coordinate.
    pub documents: Documents,
    /// Makes files for HQ and takes its answers.
    pub bundles: Bundles,
    /// Logs of this folder that were set aside, and that HQ may not have all of.
    pub earlier: Vec<Earlier>,
    _lock: Lock,
}

/// A log that was set aside when this node became another device: what HQ lacks of it is sent by the
/// new one.
#[derive(Debug)]
pub struct Earlier {
    /// Its journal; nothing is recorded in it any more.
    pub journal: Journal,
    /// The file that says that HQ has all of it.
    pub delivered: PathBuf,
}

impl Earlier {
    /// Those of a folder that are not noted as delivered. One that does not open is left, and told.
    fn all(data: &DataDir, options: &Options) -> Result<Vec<Self>, std::io::Error> {
        let mut found = Vec::new();
        for path in data.set_aside()? {
            let delivered = path.with_extension("at-hq");
            if delivered.exists() {
                continue;
            }
            match Journal::open(&path, Options { signing_key: None, ..options.clone() }) {
                Ok(journal) => found.push(Self { journal, delivered }),
                Err(error) => tracing::warn!(
                    "{} was set aside and can't be sent to HQ: {error}",
                    path.display()
                ),
            }
        }
        Ok(found)
    }
}

impl Node {
    /// Takes the folder and opens the journal.
    pub fn open(data: &DataDir) -> Result<Self, StartError> {
        Self::open_with_clock(data, Arc::new(SystemClock::default()))
    }

    /// As [`Node::open`], on another clock.
    pub fn open_with_clock(data: &DataDir, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let config = Config::read(&data.config())?;
        let lock = data.lock()?;
        let mut identity = Identity::open(&data.identity())?;
        let journal = open_journal(data, &mut identity, &config, Arc::clone(&clock))?;
        let mut options = Options::new(None);
        (options.clock, options.cache_bytes) = (Arc::clone(&clock), 1 << 20);
        let earlier = Earlier::all(data, &options)?;
        let keys = Keys::of(&identity).ok_or(StartError::NotEnrolled)?;
        let genesis = journal.genesis();
        let owner = Owner { site: genesis.site, device: genesis.device, log: journal.log() };
        let documents = Documents::open(&data.documents(), owner).map_err(StartError::Documents)?;
        let recorder = Recorder::new(journal.clone(), clock, config.time_zone());
        let wall = recorder.clone();
        let bundles = Bundles::new(journal, keys, Wall::from_fn(move || wall.now()))
            .with_documents(documents.clone());
        let data = data.clone();
        Ok(Self { data, config, identity, recorder, documents, bundles, earlier, _lock: lock })
    }

    /// The journal.
    pub const fn journal(&self) -> &Journal {
        self.recorder.journal()
    }

    /// Seals and closes the journal, once its documents name what was recorded.
    pub fn close_blocking(self) -> Result<(), StoreError> {
        let followed = self.documents.follow(self.journal());
        self.journal().close_blocking()?;
        followed
    }
}

/// Opens the journal of an enrolled node. Where enrolment was cut before there was one, makes it;
/// where there was one, never.
pub fn open_journal(
    data: &DataDir,
    identity: &mut Identity,
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<Journal, StartError> {
    let genesis = identity.genesis().ok_or(StartError::NotEnrolled)?;
    let options = Options {
        signing_key: Some(identity.log_key().clone()),
        clock,
        cache_bytes: config.cache_bytes,
        keys_kept_days: config.keys_kept_days,
    };
    let journal = match Journal::open(&data.journal(), options.clone()) {
        Err(OpenError::Missing(path)) if identity.has_journal() => {
            return Err(StartError::JournalLost(path));
        }
        Err(OpenError::Missing(_)) if identity.is_rebuilding() => {
            return Err(StartError::Rebuilding);
        }
        Err(OpenError::Missing(path)) => {
            let predecessor = predecessor(data, identity, &options)?;
            let made = Journal::create(&path, &genesis, predecessor.as_ref(), options)?;
            predecessor
                .map_or(Ok(()), |journal| journal.close_blocking())
                .map_err(OpenError::from)?;
            made
        }
        opened => opened?,
    };
    if !journal.is_restored() {
        let (of_journal, of_keys) = (journal.genesis().device, genesis.device);
        if of_journal != of_keys {
            return Err(StartError::OtherDevice { journal: of_journal.0, keys: of_keys.0 });
        }
        identity.note_journal()?;
    }
    Ok(journal)
}

/// The journal that a restored node's goes on from.
fn predecessor(
    data: &DataDir,
    identity: &Identity,
    options: &Options,
) -> Result<Option<Journal>, StartError> {
    let Some(name) = identity.predecessor() else { return Ok(None) };
    let options = Options { signing_key: None, ..options.clone() };
    match Journal::open(&data.root().join(name), options) {
        Err(OpenError::Missing(path)) => Err(StartError::PredecessorLost(path)),
        opened => Ok(Some(opened?)),
    }
}

/// What a program that starts a node wants to know.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where the API listens.
    pub api: SocketAddr,
}

fn token(config: &Config, address: SocketAddr) -> Result<Option<Arc<str>>, StartError> {
    let Some(file) = &config.api_token_file else {
        return if address.ip().is_loopback() {
            Ok(None)
        } else {
            Err(StartError::OpenToAll(address))
        };
    };
    let unusable = |why: String| StartError::Token { file: file.clone(), why };
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    match text.trim() {
        token if token.len() >= 16 => Ok(Some(token.into())),
        _ => Err(unusable("it has fewer than 16 characters".to_owned())),
    }
}

/// Runs an open node until `stop` says so: API, link, sealing. Calls `ready` once all is up.
pub async fn run(
    node: Node,
    mut stop: watch::Receiver<bool>,
    ready: impl FnOnce(&Node, &Ready),
) -> Result<(), StartError> {
    let wanted = node.config.api_listen;
    let token = token(&node.config, wanted)?;
    let listen =
        |error: std::io::Error| StartError::Listen { address: wanted, why: error.to_string() };
    let listener = TcpListener::bind(wanted).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let (status_in, status) = watch::channel(LinkStatus::default());
    let open = watch::Sender::new(None);
    let wall = node.recorder.clone();
    let neighbours = Neighbours::start(
        node.config.neighbours.clone(),
        NeighbourParts {
            journal: node.journal().clone(),
            bundles: node.bundles.clone(),
            arrivals: node.recorder.arrivals().clone(),
            identity: node.identity.clone(),
            wall: Wall::from_fn(move || wall.now()),
            folder: node.data.carried(),
            link: status.clone(),
            hq: open.subscribe(),
            stop: stop.clone(),
        },
    )?;
    let (hq, questions) = questions();
    let api = Api {
        recorder: node.recorder.clone(),
        bundles: node.bundles.clone(),
        documents: node.documents.clone(),
        link: status,
        neighbours: Some(neighbours),
        hq,
        backups: node.data.backups(),
        folder: node.data.root().to_owned(),
        token,
    };
    let link = LinkTask::spawn(&node, status_in, open, questions, stop.clone());
    let journal = node.journal().clone();
    let sealing = tokio::spawn(seal_on_time(journal.clone(), stop.clone()));
    let following = tokio::spawn(follow(journal.clone(), node.documents.clone()));
    node.data.write_address(address)?;
    ready(&node, &Ready { api: address });

    let mut api_stop = stop.clone();
    let server = axum::serve(listener, api::router(api)).with_graceful_shutdown(async move {
        stopped(&mut api_stop).await;
    });
    let mut server = tokio::spawn(server.into_future());
    let ended = tokio::select! {
        () = stopped(&mut stop) => {
            // Requests on their way are answered; a client that holds its connection open is not
            // waited for longer.
            drop(tokio::time::timeout(Duration::from_secs(5), &mut server).await);
            Ok(())
        }
        ended = &mut server => {
            let fault = ended.map_err(|fault| fault.to_string()).and_then(|ended| {
                ended.map_err(|fault| fault.to_string())
            });
            fault.map_err(StartError::ApiEnded)
        }
        // A node that can't record must not look as if it could.
        () = journal.ended() => Err(StartError::JournalEnded),
    };
    server.abort();
    drop(std::fs::remove_file(node.data.address_file()));
    if ended.is_ok() {
        link.finish().await;
    }
    sealing.abort();
    following.abort();
    // Where the journal ended by itself it says so again: that is told already.
    if let Err(error) = node.journal().close().await
        && ended.is_ok()
    {
        tracing::error!("the last facts are safe but not sealed: {error}");
    }
    ended
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can say stop any more: then it is time.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Transfers' documents name what is recorded, soon after it is.
async fn follow(journal: Journal, documents: Documents) {
    let mut position = journal.watch();
    position.mark_changed();
    while position.changed().await.is_ok() {
        let (journal, documents) = (journal.clone(), documents.clone());
        let followed = tokio::task::spawn_blocking(move || documents.follow(&journal));
        if let Ok(Err(error)) = followed.await {
            tracing::warn!("transfers' documents do not name what was recorded: {error}");
        }
    }
}

/// The newest head is signed within ten seconds.
async fn seal_on_time(journal: Journal, mut stop: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut told = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped(&mut stop) => return,
        }
        let fault = journal.seal_due().await.err();
        // A full disk stays full for a while: it is told once.
        if let Some(error) = fault.as_ref().filter(|_| fault != told) {
            tracing::warn!("facts can't be sealed, trying again every second: {error}");
        }
        told = fault;
    }
}
