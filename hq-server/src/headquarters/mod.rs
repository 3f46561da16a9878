//! One installation of HQ: its directory, and everything in it put together. What the commands, the
//! API and the link work on. Knows no socket and no page.
//!
//! ```text
//! hq.toml         addresses; version = 1
//! api.token       for callers from other machines
//! authority/      keys, certificates, the site register
//! intake.redb     facts of every log, seals
//! documents.redb  what was decided on shared documents
//! books.redb      the sequence and what it led to
//! ```

mod backup;
mod config;
mod doubt;
mod gate;
pub mod losses;
pub mod postings;
mod reading;
mod revoked;
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use shared::fact::effective::LogRank;
use shared::fact::statement::CostScope;
use shared::ids::{Capture, CompanyNo, DeviceNo, HistoryId, Seq, SiteNo};
use shared::money::Currency;
use shared::time::{OffsetMinutes, Timestamp};
use tokio::sync::broadcast;

pub use backup::{BackupError, Manifest, restore};
pub use config::{Config, ConfigError, token, write_private};

pub use revoked::RevokedError;
pub use verify::VerifyReport;

use crate::authority::{Authority, AuthorityError};
use crate::books::{Company, RULES};
use crate::chart::Chart;
use crate::clock::Clock;
use crate::gateway::branches::Branches;
use crate::gateway::bundle::Known;
use crate::gateway::documents::{Documents, Sender};
use crate::gateway::intake::{Intake, IntakeError, IntakeOptions, LogStatus};
use crate::gateway::store::{Peer, Quality};
use crate::own_log::{Draft, DraftError, Missing, OpenError, OwnLog, RecordError, check_mapping};
use crate::report::dashboard::LogLink;
use crate::sequencer::{Published, Sequencer, StartError};
use crate::store::{FileError, RedbStore, Store};
use crate::web::books_desk::BooksDesk;
use crate::web::desk::Change;

/// The intake file's name.
pub const INTAKE_FILE: &str = "intake.redb";
/// The documents file's name.
pub const DOCUMENTS_FILE: &str = "documents.redb";
/// The books file's name.
pub const BOOKS_FILE: &str = "books.redb";
/// The authority's folder.
pub const AUTHORITY_DIRECTORY: &str = "authority";

/// How much of the documents' file is kept in memory.
const DOCUMENTS_CACHE_BYTES: usize = 16 * 1024 * 1024;

/// How much of each file is kept in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// How many changes a slow page may be behind before it asks anew.
const CHANGES_KEPT: usize = 256;

/// What a new installation starts with.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The company's code.
    pub code: String,
    /// The company's name.
    pub name: String,
    /// Its currency.
    pub currency: Currency,
    /// Its zone.
    pub zone: OffsetMinutes,
    /// Its cost pools.
    pub scope: CostScope,
    /// Its chart of accounts.
    pub chart: &'static Chart,
    /// Addresses.
    pub config: Config,
}

/// Why an installation can't be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum HeadquartersError {
    /// There is one already.
    #[error("{} already is an installation of HQ: nothing was changed", .0.display())]
    Exists(PathBuf),
    /// An init that was cut short.
    #[error(
        "{} holds an installation that was never finished: delete the folder and start again",
        .0.display()
    )]
    Unfinished(PathBuf),
    /// There is none.
    #[error("{} is no installation of HQ: make one with 'hq-server init'", .0.display())]
    Missing(PathBuf),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory.
    #[error("can't use {}: {error}", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sequence.
    #[error(transparent)]
    Start(#[from] StartError),
    /// HQ's own log.
    #[error(transparent)]
    OwnLog(#[from] OpenError),
    /// The intake.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The first statements.
    #[error("the first statements were refused: {0}")]
    First(String),
    /// No random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl From<RecordError<DraftError>> for HeadquartersError {
    fn from(error: RecordError<DraftError>) -> Self {
        Self::First(error.to_string())
    }
}

/// What is known of an installation's connection.
#[derive(Clone, Debug, Default)]
pub struct LinkState {
    /// A connection is open.
    pub connected: bool,
    /// Program and version, since HQ started.
    pub program: Option<String>,
    /// How far its clock was ahead of HQ's when it connected.
    pub clock_ahead_ms: Option<i64>,
    /// The newest bundle that came from it since HQ started.
    pub bundle: Option<BundleNews>,
    /// What it brought of another site that was not what its author signed, since HQ started.
    pub forged: Option<String>,
    /// When the newest connection began.
    pub since: Option<Timestamp>,
    /// How good that connection is, or was.
    pub quality: Option<Quality>,
    /// The last connection that ended otherwise than meant since HQ started: when, and why.
    pub last_error: Option<(Timestamp, String)>,
}

/// A bundle that came from an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleNews {
    /// When it was made, by the installation's clock; not after it came.
    pub made_at: Timestamp,
    /// When it came.
    pub taken_at: Timestamp,
    /// What the installation knew, and from where on it is answered.
    pub known: Known,
    /// The neighbour that brought it; `None` for a file.
    pub by: Option<Peer>,
}

/// An open installation; clones share everything.
#[derive(Clone, Debug)]
pub struct Headquarters {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    config: Config,
    clock: Clock,
    authority: Authority,
    store: Arc<dyn Store>,
    intake: Intake,
    branches: Branches,
    documents: Documents,
    sequencer: Sequencer,
    own_log: OwnLog,
    links: Mutex<BTreeMap<DeviceNo, LinkState>>,
    changes: broadcast::Sender<Change>,
}

impl Headquarters {
    /// Makes a new installation with its company, chart and default mapping.
    pub async fn init(
        directory: &Path,
        options: InitOptions,
        clock: Clock,
    ) -> Result<Self, HeadquartersError> {
        if directory.join(config::FILE).exists() {
            return Err(HeadquartersError::Exists(directory.to_owned()));
        }
        if directory.join(BOOKS_FILE).exists() || directory.join(AUTHORITY_DIRECTORY).exists() {
            return Err(HeadquartersError::Unfinished(directory.to_owned()));
        }
        std::fs::create_dir_all(directory).map_err(|error| HeadquartersError::Directory {
            directory: directory.to_owned(),
            error,
        })?;
        let authority = Authority::create(&directory.join(AUTHORITY_DIRECTORY))?;
        config::make_token(directory, random()?)?;
        let history = HistoryId(random()?);
        let store = RedbStore::create(&directory.join(BOOKS_FILE), history, CACHE_BYTES)?;
        let options_of = intake_options(&authority, history, &clock);
        let intake = Intake::create(&directory.join(INTAKE_FILE), options_of)?;
        OwnLog::create(&intake, authority.hq_key()).await?;
        let config = options.config.clone();
        let hq = Self::assemble(directory, config, clock, authority, Arc::new(store), intake)?;
        hq.own_log()
            .record(|published, _| {
                let mut draft = Draft::new(&published.catalogue());
                let InitOptions { code, name, currency, zone, scope, chart, .. } = &options;
                draft.rules(RULES);
                draft.company(code, name, *currency, *zone, *scope)?;
                draft.chart(chart)?;
                Ok::<_, DraftError>((draft.into_groups(), ()))
            })
            .await?;
        // Last: where it is there, everything is.
        options.config.write(directory)?;
        Ok(hq)
    }

    /// Opens an installation and rebuilds its books.
    pub fn open(directory: &Path, clock: Clock) -> Result<Self, HeadquartersError> {
        if !directory.join(config::FILE).exists() {
            return Err(HeadquartersError::Missing(directory.to_owned()));
        }
        let config = Config::read(directory)?;
        let store = RedbStore::open(&directory.join(BOOKS_FILE), CACHE_BYTES)?;
        let authority = Authority::open(&directory.join(AUTHORITY_DIRECTORY))?;
        let options = intake_options(&authority, store.history(), &clock);
        let intake = Intake::open(&directory.join(INTAKE_FILE), options)?;
        let (key, skipped) = (authority.hq_key(), authority.skipped());
        let device = || authority.hq_device().map_err(HeadquartersError::from);
        waited_for(OwnLog::go_on(&intake, key, &clock, skipped, device))?;
        Self::assemble(directory, config, clock, authority, Arc::new(store), intake)
    }

    fn assemble(
        directory: &Path,
        config: Config,
        clock: Clock,
        authority: Authority,
        store: Arc<dyn Store>,
        intake: Intake,
    ) -> Result<Self, HeadquartersError> {
        let sequencer = Sequencer::start(Arc::clone(&store), intake.clone())?;
        let key = authority.hq_key().clone();
        let documents_file = directory.join(DOCUMENTS_FILE);
        let documents =
            Documents::open(&documents_file, &store.history(), key.clone(), DOCUMENTS_CACHE_BYTES)?;
        let own_log = OwnLog::open(&intake, sequencer.published(), key, clock.clone())?;
        let directory = directory.to_owned();
        let (links, changes) = (Mutex::default(), broadcast::Sender::new(CHANGES_KEPT));
        Ok(Self {
            inner: Arc::new(Inner {
                directory,
                config,
                clock,
                authority,
                store,
                branches: Branches::new(&intake),
                documents,
                intake,
                sequencer,
                own_log,
                links,
                changes,
            }),
        })
    }

    /// Lets the books follow the newest rules from here on, where they do not yet.
    pub async fn follow_newest_rules(&self) -> Result<(), HeadquartersError> {
        let outcome = self.own_log().record(|published, _| {
            let mut draft = Draft::new(&published.catalogue());
            if published.ledgers().books.settings().rules() < RULES {
                draft.rules(RULES);
            }
            Ok::<_, DraftError>((draft.into_groups(), ()))
        });
        outcome.await.map(drop).map_err(HeadquartersError::from)
    }

    /// Seals HQ's own log, writes a checkpoint, and lets go of the files once all clones are gone.
    pub async fn close(&self) {
        if let Err(error) = self.inner.own_log.seal().await {
            tracing::error!("HQ's own log was not sealed: {error}");
        }
        let inner = Arc::clone(&self.inner);
        let closing = tokio::task::spawn_blocking(move || {
            inner.sequencer.close();
            inner.intake.close();
        });
        if closing.await.is_err() {
            tracing::error!("closing failed");
        }
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Who may connect.
    pub fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    /// Facts of every log.
    pub fn intake(&self) -> &Intake {
        &self.inner.intake
    }

    /// Shared documents.
    pub fn documents(&self) -> &Documents {
        &self.inner.documents
    }

    /// Whose an installation is that may connect, or could once.
    pub fn site_of(&self, device: DeviceNo) -> Option<SiteNo> {
        let devices = self.inner.authority.devices();
        let found = devices.into_iter().find(|known| known.device == device);
        found.filter(|known| known.branch_of.is_none()).map(|known| known.site)
    }

    /// HQ as it writes in documents.
    pub fn document_sender(&self) -> Sender {
        self.inner.own_log.sender()
    }

    /// The sequence with its vouchers.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The books as of the last durable commit.
    pub fn published(&self) -> &Arc<Published> {
        self.inner.sequencer.published()
    }

    /// What HQ itself states.
    pub fn own_log(&self) -> &OwnLog {
        &self.inner.own_log
    }

    /// Postings that would find no account, as sentences.
    pub fn mapping_gaps(&self) -> Vec<String> {
        let ledgers = self.published().ledgers();
        let settings = ledgers.books.settings();
        let now = self.inner.clock.now();
        let several = settings.companies().count() > 1;
        let of_company = |(no, company): (CompanyNo, &Company)| {
            let missing = check_mapping(settings, no, now);
            let whose = if several { format!("{}: ", company.code) } else { String::new() };
            let say = move |gap: &Missing| format!("{whose}{}", gap.sentence(settings));
            missing.iter().map(say).collect::<Vec<_>>()
        };
        settings.companies().flat_map(of_company).collect()
    }

    /// Tells of postings and connections.
    pub fn changes(&self) -> &broadcast::Sender<Change> {
        &self.inner.changes
    }

    /// What is known of an installation's connection.
    pub fn link(&self, device: DeviceNo) -> LinkState {
        let links = self.inner.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(&device).cloned().unwrap_or_default()
    }

    /// How every site's log and connection stand.
    pub fn log_links(&self) -> Vec<LogLink> {
        let logs = self.inner.intake.logs().into_iter();
        let sites = logs.filter(|log| log.record.site != SiteNo::HQ);
        sites
            .map(|log| {
                let link = self.link(log.record.device);
                let made_at = link.bundle.map(|bundle| bundle.made_at);
                LogLink {
                    branch: self.is_doubtful(&log),
                    site: log.record.site,
                    log: LogRank::of(&log.record.log),
                    connected: link.connected,
                    last_heard: log.heard_at,
                    by_bundle: made_at.is_some() && made_at == log.heard_at,
                    brought_by: link.bundle.and_then(|bundle| bundle.by).map(|by| by.site),
                    known: log.announced.unwrap_or(Seq::ZERO).max(log.received.last),
                    quality: link.quality.filter(|_| link.connected),
                    last_error: link.last_error,
                }
            })
            .collect()
    }

    /// Warehouses whose log was continued twice, with when the last fact of a branch was recorded.
    pub fn doubtful_sites(&self) -> Vec<(SiteNo, Timestamp)> {
        let logs = self.inner.intake.logs().into_iter();
        let branches = logs.filter(|log| self.is_doubtful(log));
        branches.filter_map(|log| Some((log.record.site, log.complete_to?))).collect()
    }

    /// Whether a log is a branch, and has more than a person has compared with the log that it leaves.
    fn is_doubtful(&self, log: &LogStatus) -> bool {
        let is_branch = Branches::left(&log.record).is_some();
        is_branch && self.published().ruled(&log.record.log) < log.received.last
    }

    /// A person has compared a branch, by its installation number, with the log that it leaves: nothing
    /// of it is in doubt any more. Fails with what to do instead.
    pub async fn rule(&self, device: DeviceNo) -> Result<Vec<Capture>, String> {
        let mut logs = self.inner.intake.logs().into_iter();
        let branch =
            logs.find(|log| log.record.device == device && Branches::left(&log.record).is_some());
        let branch = branch.ok_or_else(|| {
            format!("there is no branch with number {device}: 'hq-server status' names them")
        })?;
        let stated = self.inner.own_log.record(|published, _| {
            let mut draft = Draft::new(&published.catalogue());
            draft.ruling(branch.record.log, branch.received.last);
            Ok::<_, DraftError>((draft.into_groups(), ()))
        });
        stated.await.map(|(captures, ())| captures).map_err(|error| error.to_string())
    }

    /// The reports over this installation.
    pub fn desk(&self) -> BooksDesk {
        let links = self.clone();
        BooksDesk {
            company: CompanyNo::FIRST,
            books: Arc::new(self.clone()),
            archive: Arc::new(self.clone()),
            documents: Arc::new(self.documents().clone()),
            links: Arc::new(move || links.log_links()),
            clock: self.inner.clock.clone(),
            changes: self.inner.changes.clone(),
        }
    }
}

fn intake_options(authority: &Authority, history: HistoryId, clock: &Clock) -> IntakeOptions {
    IntakeOptions {
        key: authority.hq_key().clone(),
        history,
        clock: clock.clone(),
        cache_bytes: CACHE_BYTES,
    }
}

/// What the intake answers, for a caller that may be anywhere, also where nothing may block.
fn waited_for<T: Send>(answer: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("a runtime without drivers needs nothing").block_on(answer)
        });
        waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn random() -> Result<[u8; 32], HeadquartersError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(HeadquartersError::Random)?;
    Ok(bytes)
}
