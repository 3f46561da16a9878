//! The link to HQ: finds HQ, proves who this node is, and keeps a session going for as long as the
//! node runs. Knows no redb and no movement; what it needs of the journal is [`EdgeStore`].
//! Invariant: recording never waits for the link.

mod backoff;
mod connect;
mod controller;
mod driver;
mod enrol;
mod files;
mod frames;
mod identity;
mod meter;
mod profile;
mod question;
mod socket;
mod status;
mod store;
mod tls;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use shared::ids::LogId;
use shared::sync::edge::{EdgeEnd, EdgeNotice, EdgeSession, EdgeSettings, EdgeStart};
use shared::sync::{Code, Frame, VERSIONS, Versions, Welcome};
use shared::time::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use driver::{Driver, Over};
use identity::TlsIdentity;
use meter::Meter;
use profile::{Seen, Terms};

pub(crate) use backoff::Backoff;
pub(crate) use connect::resolve;
pub(crate) use frames::{Incoming, Outgoing};
pub(crate) use identity::roots_of;
pub(crate) use tls::CERTIFICATE_TIME;

pub use connect::{ConnectError, DEFAULT_PORT};
pub use enrol::{EnrolError, Enrolled, enrol, site_stock};
pub use files::KeyFileError;
pub use identity::{Enrolment, Identity};
pub use profile::{Choice, Measured, Network, NoProfile, Profile};
pub use question::{Asker, NoAnswer, Question, Questions, questions};
pub use status::{LinkState, LinkStatus};
pub use store::{EdgeStore, EdgeStoreError};

/// Program and version, as HQ sees it.
pub(crate) const PROGRAM: &str = concat!("edge-node ", env!("CARGO_PKG_VERSION"));

/// A certificate is renewed when it has less than this left.
const RENEW_MS: i64 = 365 * 86_400_000;

/// More than this, and people are told that the node's clock is off.
const CLOCK_MS: i64 = 5 * 60_000;

/// Where the node's time comes from.
#[derive(Clone)]
pub struct Wall(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Wall {
    /// A clock of the caller's.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}

/// How the link behaves.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// HQ's address, "host:port" or "host".
    pub hq: String,
    /// How sessions behave.
    pub session: EdgeSettings,
    /// The versions of the protocol to speak.
    pub versions: Versions,
    /// The node's clock.
    pub wall: Wall,
    /// Has the connection while HQ takes part, for whoever else has something for HQ.
    pub open: watch::Sender<Option<Connection>>,
    /// What the operator says of the network.
    pub network: Network,
    /// Where the last connection's measurement is kept.
    pub measured: Option<PathBuf>,
}

impl LinkConfig {
    /// Usual settings for an HQ.
    pub fn to(hq: impl Into<String>, wall: Wall) -> Self {
        Self {
            hq: hq.into(),
            session: EdgeSettings::default(),
            versions: VERSIONS,
            wall,
            network: Network::default(),
            measured: None,
            open: watch::Sender::new(None),
        }
    }
}

/// The node is not enrolled, so it has no HQ to link to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node is not enrolled: run `edge-node enrol CODE` with a code from HQ")]
pub struct NotEnrolled;

/// What people are told when the node's clock is far from HQ's; `None` where it is near.
pub fn clock_warning(ahead_ms: i64) -> Option<String> {
    let minutes = ahead_ms.unsigned_abs() / 60_000;
    let span = match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    };
    let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
    (ahead_ms.unsigned_abs() > CLOCK_MS.unsigned_abs()).then(|| {
        format!(
            "this node's clock is {span} {way} HQ's: set it (timedatectl), or movements will stand at the wrong time"
        )
    })
}

/// Keeps the link until `shutdown` becomes true: connects, syncs, waits and tries again.
pub async fn run<S: EdgeStore>(
    store: Arc<S>,
    identity: Identity,
    config: LinkConfig,
    questions: Questions,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), NotEnrolled> {
    let enrolment = identity.enrolment().ok_or(NotEnrolled)?.clone();
    let measured = config.measured.as_deref().and_then(Measured::read);
    let mut link = Link {
        store,
        identity,
        enrolment,
        config,
        questions,
        backoff: Backoff::default(),
        copied: BTreeSet::new(),
        errand: None,
        measured,
        rests: None,
        status: LinkStatus::default(),
    };
    while !*shutdown.borrow() {
        let stopped = link.connect_once(&mut shutdown).await;
        if stopped {
            break;
        }
        let wait = link.rests.take().unwrap_or_else(|| link.backoff.next(random()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = driver::stopped(&mut shutdown) => {}
        }
    }
    Ok(())
}

struct Link<S> {
    store: Arc<S>,
    identity: Identity,
    enrolment: Enrolment,
    config: LinkConfig,
    questions: Questions,
    backoff: Backoff,
    /// Logs that HQ refused as another installation's: they go as branches.
    copied: BTreeSet<LogId>,
    /// What the next connection is for, where that is no session.
    errand: Option<Errand>,
    /// How the link was when last connected.
    measured: Option<Measured>,
    /// How long a metered link stays closed.
    rests: Option<Duration>,
    status: LinkStatus,
}

impl<S: EdgeStore> Link<S> {
    /// One connection from beginning to end; says whether the node stops.
    async fn connect_once(&mut self, shutdown: &mut watch::Receiver<bool>) -> bool {
        let terms = Terms::new(&self.config.network, self.measured, self.backoff.failures());
        self.status.profile = terms.profile;
        self.set_state(LinkState::Connecting);
        let mut meter = Meter::new(&self.config.network, terms.profile);
        let transport = terms.transport(meter.tally());
        let (pin, identity) = (self.enrolment.pin, Some(&self.identity));
        let settings = match tls::client(pin, identity, terms.wants_copies(), transport) {
            Ok(settings) => settings,
            Err(error) => {
                self.fail(format!("this node's certificate can't be used: {error}"), true);
                return false;
            }
        };
        let patience = terms.patience(self.backoff.failures());
        let care = terms.care(meter.tally());
        let connected = tokio::select! {
            connected = connect::connect(&self.config.hq, &settings, patience, care.as_ref()) => connected,
            () = driver::stopped(shutdown) => return true,
        };
        let connected = match connected {
            Ok(connected) => connected,
            Err(error) => {
                self.fail_connecting(error);
                return false;
            }
        };
        let stopped = if let Some(errand) = self.errand {
            tokio::select! {
                () = self.renew(errand, &connected.connection) => false,
                () = driver::stopped(shutdown) => true,
            }
        } else if let Some(earlier) = self.store.next_earlier() {
            self.deliver(earlier, &connected.connection, &mut meter, shutdown).await
        } else {
            let stopped = self.sync(&connected.connection, &terms, &mut meter, shutdown).await;
            self.note_measured(&meter.seen(&connected.connection)).await;
            stopped
        };
        connected.close(Code::LEAVING, "this node closes the connection").await;
        stopped
    }

    async fn sync(
        &mut self,
        connection: &Connection,
        terms: &Terms,
        meter: &mut Meter,
        shutdown: &mut watch::Receiver<bool>,
    ) -> bool {
        let Ok((send, recv)) = connection.open_bi().await else {
            self.over(lost(connection));
            return false;
        };
        let started = Instant::now();
        let start = self.start(&*self.store);
        let session = EdgeSession::new(start, self.config.session, driver::moment_since(started));
        let driver = Driver::new(
            Arc::clone(&self.store),
            connection,
            self.config.wall.clone(),
            session,
            started,
            Incoming::new(recv),
            Outgoing::new(send),
        );
        // The closure below has the rest of the link.
        let mut questions = std::mem::replace(&mut self.questions, question::questions().1);
        let driver = driver
            .leaving_after(terms.leaves.map(|(quiet, _)| quiet))
            .nudging(terms.nudges(), meter.tally());
        let mut renewal = None;
        let over = driver
            .run(shutdown, &mut questions, meter, |notice| {
                if let EdgeNotice::Welcomed(welcome) = &notice
                    && self.is_renewal_due(welcome)
                {
                    let (connection, identity) = (connection.clone(), self.identity.clone());
                    renewal = Some(tokio::spawn(renew(Errand::Renew, connection, identity)));
                }
                if matches!(notice, EdgeNotice::Welcomed(_)) {
                    self.config.open.send_replace(Some(connection.clone()));
                }
                self.note(notice);
            })
            .await;
        self.config.open.send_replace(None);
        self.questions = questions;
        if let Some(renewal) = renewal
            && let Ok(Err(error)) = renewal.await
        {
            tracing::warn!("the certificate was not renewed: {error}; it is tried again later");
        }
        if matches!(over, Over::Quiet) {
            self.rests = terms.leaves.map(|(_, rest)| rest);
        }
        self.over(over)
    }

    async fn note_measured(&mut self, seen: &Seen) {
        let measured = Measured::after(self.measured, seen);
        self.measured = Some(measured);
        self.status.measured = Some(measured);
        let Some(file) = self.config.measured.clone() else { return };
        let kept = tokio::task::spawn_blocking(move || measured.write(&file)).await;
        // Nothing is lost with it but a better guess next time.
        if let Err(error) = kept.expect("writing a file does not panic") {
            tracing::info!("how the link is can't be kept: {error}");
        }
    }

    /// Sends a log that was set aside; says whether the node stops.
    async fn deliver(
        &mut self,
        earlier: Arc<S>,
        connection: &Connection,
        meter: &mut Meter,
        shutdown: &mut watch::Receiver<bool>,
    ) -> bool {
        let Ok((send, recv)) = connection.open_bi().await else {
            self.store.put_back(earlier);
            self.over(lost(connection));
            return false;
        };
        let started = Instant::now();
        let start = self.start(&*earlier);
        let log = start.log;
        let session = EdgeSession::new(start, self.config.session, driver::moment_since(started));
        let driver = Driver::new(
            Arc::clone(&earlier),
            connection,
            self.config.wall.clone(),
            session,
            started,
            Incoming::new(recv),
            Outgoing::new(send),
        );
        // Nobody asks a log that was set aside.
        let (_, mut nobody) = question::questions();
        let over = driver.until_done().run(shutdown, &mut nobody, meter, |_| {}).await;
        match over {
            Over::Ended(EdgeEnd::Left) if !*shutdown.borrow() => {
                tracing::info!(log = %log.short(), "HQ has all of a log that was set aside");
                earlier.note_delivered();
                self.backoff.reset();
                false
            }
            // It goes again, as a branch.
            Over::Ended(end) if end.is_fork() && self.copied.insert(log) => {
                self.store.put_back(earlier);
                self.fail(end.to_string(), false);
                false
            }
            Over::Ended(EdgeEnd::Refused(refusal)) if is_about_log(refusal.code) => {
                let text = format!(
                    "HQ does not take the log {} that was set aside: {}; keep its file",
                    log.short(),
                    refusal.text
                );
                tracing::warn!("{text}");
                self.status.warning = Some(text);
                false
            }
            over => {
                self.store.put_back(earlier);
                self.over(over)
            }
        }
    }

    fn start(&self, store: &S) -> EdgeStart {
        let log = store.genesis().log_id();
        let position = *store.position().borrow();
        EdgeStart {
            site: self.enrolment.site,
            log,
            position,
            sealed: *store.sealed().borrow(),
            is_copied: self.copied.contains(&log),
            state: store.state_cursor(),
            documents: store.documents_cursor(),
            postings: store.postings_known(),
            // An acknowledgement of an earlier log says nothing of this one.
            witness: store.acknowledgement().filter(|signed| signed.acknowledgement.log == log),
            hq_key: self.enrolment.hq_key,
            versions: self.config.versions,
            program: PROGRAM.to_owned(),
        }
    }

    fn is_renewal_due(&self, welcome: &Welcome) -> bool {
        let left = |until: Timestamp| until.0.saturating_sub(welcome.time.0);
        self.identity.valid_until().is_some_and(|until| left(until) < RENEW_MS)
    }

    fn note(&mut self, notice: EdgeNotice) {
        match notice {
            EdgeNotice::Welcomed(welcome) => self.note_welcome(welcome),
            EdgeNotice::Acknowledged(_) | EdgeNotice::Found(_) => {}
            EdgeNotice::HqLost { restored, acknowledged, has } => {
                let why = if restored { "was restored from a backup" } else { "lost facts" };
                let text = format!(
                    "HQ {why}: it had acknowledged facts up to {acknowledged} and has {has} now; this node sends the rest again"
                );
                tracing::warn!("{text}");
                self.status.warning = Some(text);
            }
            EdgeNotice::Forked { common } => {
                let text = format!(
                    "HQ holds another log under this node's name, the same up to fact {common}: this node was copied, or restored from an older image. HQ books what it records as a branch and compares the two; ask HQ for a code and enrol this node anew"
                );
                tracing::warn!("{text}");
                if let Err(error) = self.identity.note_forked() {
                    tracing::warn!("that this node was copied can't be noted: {error}");
                }
                self.status.warning = Some(text);
            }
        }
        self.status.heard_at = Some(self.config.wall.now());
        self.store.set_link_status(self.status.clone());
    }

    fn note_welcome(&mut self, welcome: Welcome) {
        self.backoff.reset();
        let ahead_ms = self.config.wall.now().0.saturating_sub(welcome.time.0);
        if let Some(warning) = clock_warning(ahead_ms) {
            tracing::warn!("{warning}");
        }
        self.status.state = LinkState::Online;
        self.status.problem = None;
        self.status.clock_ahead_ms = Some(ahead_ms);
        self.status.hq_time = Some(welcome.time);
        self.status.hq_program = Some(welcome.program);
    }

    /// What follows from the end of a session; says whether the node stops.
    fn over(&mut self, over: Over) -> bool {
        match over {
            Over::Ended(EdgeEnd::Left) => {
                self.set_state(LinkState::Waiting);
                return true;
            }
            Over::Ended(EdgeEnd::Refused(refusal)) => self.refused(refusal.code, refusal.text),
            Over::Ended(end @ EdgeEnd::Fork(_)) => self.refused(Code::FORK, end.to_string()),
            Over::Ended(EdgeEnd::HqLeft(code)) => {
                self.refused(code, EdgeEnd::HqLeft(code).to_string());
            }
            Over::Ended(end @ (EdgeEnd::Stalled | EdgeEnd::Overtaken)) => {
                self.fail(end.to_string(), false);
            }
            Over::Ended(end) => self.fail(end.to_string(), true),
            Over::Lost(reason) => match connect::refusal(&reason) {
                Some(ConnectError::Refused { code, text }) => self.refused(code, text),
                _ => self.fail(format!("the connection to HQ was lost: {reason}"), false),
            },
            Over::StreamEnded => self.fail("HQ closed the stream".to_owned(), false),
            Over::Quiet => self.set_state(LinkState::Waiting),
            Over::Misfit => {
                tracing::info!("link: another profile fits this network; connecting again");
                self.set_state(LinkState::Waiting);
            }
        }
        false
    }

    fn fail_connecting(&mut self, error: ConnectError) {
        match error {
            ConnectError::Refused { code, text } => self.refused(code, text),
            ConnectError::OtherHq { .. } | ConnectError::WrongVersion { .. } => {
                self.fail(error.to_string(), true);
            }
            error => self.fail(format!("{error}; this node goes on recording meanwhile"), false),
        }
    }

    fn refused(&mut self, code: Code, text: String) {
        match code {
            Code::CERTIFICATE_EXPIRED => {
                self.errand = Some(Errand::Renew);
                self.fail(text, false);
            }
            Code::FORGOTTEN => {
                self.errand = Some(Errand::Introduce);
                self.fail(text, false);
            }
            Code::LEAVING | Code::BUSY | Code::STORAGE | Code::STALLED => self.fail(text, false),
            // HQ takes what this node records as a branch, once it is told so.
            Code::FORK if self.copied.insert(self.store.genesis().log_id()) => {
                self.fail(text, false);
            }
            _ => self.fail(text, true),
        }
    }

    /// Where a person has to act, attempts go on, rarely: perhaps HQ's side was put right.
    fn fail(&mut self, problem: String, needs_person: bool) {
        tracing::info!("link: {problem}");
        self.status.problem = Some(problem);
        if needs_person {
            self.backoff.exhaust();
        }
        self.set_state(if needs_person { LinkState::Refused } else { LinkState::Waiting });
    }

    async fn renew(&mut self, errand: Errand, connection: &Connection) {
        // Where it fails, perhaps the certificate is good again by HQ's clock.
        self.errand = None;
        match renew(errand, connection.clone(), self.identity.clone()).await {
            Ok(()) => self.backoff.reset(),
            Err(error) => {
                self.fail(format!("the certificate was not renewed: {error}"), true);
            }
        }
    }

    fn set_state(&mut self, state: LinkState) {
        self.status.state = state;
        self.store.set_link_status(self.status.clone());
    }
}

/// What a connection may be for beside a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    /// The certificate has expired, or soon will.
    Renew,
    /// HQ was restored from a backup and lost that it had let this node in.
    Introduce,
}

/// Gets a certificate for a fresh TLS key, over a connection of the present one.
async fn renew(
    errand: Errand,
    connection: Connection,
    identity: Identity,
) -> Result<(), EnrolError> {
    let next = TlsIdentity::fresh();
    let frame = match errand {
        Errand::Renew => Frame::Renew(next.request()),
        Errand::Introduce => Frame::Introduce(identity.introduction(next.request())),
    };
    match enrol::ask(&connection, frame).await? {
        Frame::Renewed(chain, valid_until) => {
            let next = next.with_chain(&chain, valid_until);
            let replaced = tokio::task::spawn_blocking(move || identity.replace_tls(next)).await;
            Ok(replaced.expect("writing a file does not panic")?)
        }
        frame => Err(EnrolError::BadAnswer(format!("a {} frame", frame.name()))),
    }
}

/// Whether HQ refuses a log itself; all else passes, or is about this node.
const fn is_about_log(code: Code) -> bool {
    matches!(
        code,
        Code::PROTOCOL | Code::UNKNOWN_LOG | Code::FORK | Code::RESTORED | Code::BAD_FACTS
    )
}

fn lost(connection: &Connection) -> Over {
    connection.close_reason().map_or(Over::StreamEnded, Over::Lost)
}

fn random() -> u64 {
    // Without randomness nodes come back in step, which is harmless.
    getrandom::u64().unwrap_or(0)
}
