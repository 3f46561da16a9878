//! The installation over HTTP: how it stands, whether everything is proved, a backup.

use std::collections::BTreeMap;
use std::path::Path;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::fact::effective::LogRank;
use shared::ids::SiteNo;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiError;
use crate::beside;
use crate::gateway::branches::Branches;
use crate::headquarters::{Headquarters, VerifyReport};
use crate::report::dashboard::LinkQuality;

/// How the installation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Program and version.
    pub program: String,
    /// The life of the store, in hex.
    pub history: String,
    /// The last entry of the sequence.
    pub position: u64,
    /// Why posting stopped, should it.
    pub failure: Option<String>,
    /// Groups that wait for something.
    pub waiting: u64,
    /// What HQ had stated and lost when it was restored from backups, as far as that is known.
    #[serde(default)]
    pub lost: Vec<LostLine>,
    /// Every log.
    pub logs: Vec<LogLine>,
}

/// How a log stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The site's number; 0 for HQ's own.
    pub site: u32,
    /// The site's code.
    pub code: String,
    /// The installation.
    pub device: u32,
    /// The log's id, in hex.
    pub log: String,
    /// The last fact that the installation said it has.
    pub announced: Option<u64>,
    /// The last durable fact.
    pub received: u64,
    /// The chain's head after it, in hex.
    pub head: String,
    /// The last fact under a seal.
    pub sealed: u64,
    /// The last fact in the books.
    pub posted: u64,
    /// The last fact that a verified backup has.
    pub safe: u64,
    /// Connected now.
    pub connected: bool,
    /// Its program and version, where it connected since HQ started.
    pub program: Option<String>,
    /// How far its clock was ahead of HQ's when it connected.
    pub clock_ahead_ms: Option<i64>,
    /// Facts of it that are not in the books, as far as HQ knows of them.
    #[serde(default)]
    pub behind: u64,
    /// Facts of it that were set aside: they wait for something.
    #[serde(default)]
    pub set_aside: u64,
    /// When the last fact was recorded that HQ has.
    pub complete_to: Option<String>,
    /// When anything was last heard from it since HQ started.
    pub heard_at: Option<String>,
    /// When the open connection began.
    pub connected_since: Option<String>,
    /// Where the open connection comes from.
    pub address: Option<String>,
    /// How good the open connection has been so far.
    pub quality: Option<LinkQuality>,
    /// When the last connection ended otherwise than meant since HQ started.
    pub last_error_at: Option<String>,
    /// Why.
    pub last_error: Option<String>,
    /// When the newest bundle was made that came from it since HQ started, by its clock.
    pub bundle_made_at: Option<String>,
    /// When that bundle came.
    pub bundle_taken_at: Option<String>,
    /// The code of the neighbouring site that brought it; absent where it came in a file.
    pub bundle_by: Option<String>,
    /// What it brought of another site that was not what its author signed, since HQ started.
    pub forged: Option<String>,
    /// Why something of it was refused: the site is doubtful.
    pub refusal: Option<String>,
    /// It is what an installation recorded otherwise than its log says: the site is doubtful.
    #[serde(default)]
    pub branch: Option<BranchLine>,
}

/// Where a branch leaves the log of its installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BranchLine {
    /// The log that it leaves, in hex.
    pub of: String,
    /// The last fact that the two have in common, as the installation counts.
    pub after: u64,
    /// A person has compared all of it with that log.
    #[serde(default)]
    pub ruled: bool,
}

/// What HQ had stated and lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostLine {
    /// The fact that says so.
    pub stated: String,
    /// When that was.
    pub stated_at: String,
    /// HQ's log, in hex.
    pub log: String,
    /// Its last fact that is not lost.
    pub after: u64,
    /// How many numbers of new things were left out.
    pub skipped: u32,
    /// The newest lost fact that a node told of; absent where this is what was known at the restore.
    pub lost: Option<String>,
}

/// Where a backup goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupBody {
    /// A folder on HQ's machine; it must not exist yet.
    pub to: String,
}

/// A backup that was made and read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupReport {
    /// Where it lies.
    pub to: String,
    /// Its last entry of the sequence.
    pub position: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new().routes(routes!(status)).routes(routes!(verify)).routes(routes!(backup))
}

/// How the installation stands.
#[utoipa::path(get, path = "/api/status", tag = "installation",
    responses((status = 200, body = Status)))]
async fn status(State(hq): State<Headquarters>) -> Result<Json<Status>, ApiError> {
    let published = hq.published();
    let position = published.last().borrow().0;
    let failure = published.failure().borrow().clone();
    let ledgers = published.ledgers();
    let lost = ledgers.books.losses().own().iter().map(|loss| LostLine {
        stated: loss.stated.to_string(),
        stated_at: loss.at.to_string(),
        log: loss.log.to_string(),
        after: loss.after.0,
        skipped: loss.skipped,
        lost: loss.lost.map(|lost| lost.to_string()),
    });
    let lost = lost.collect();
    drop(ledgers);
    let (waiting, set_aside) = waiting(&hq);
    let catalogue = published.catalogue();
    let code = |site: SiteNo| match (site, catalogue.site(site)) {
        (SiteNo::HQ, _) => "HQ".to_owned(),
        (number, None) => number.to_string(),
        (_, Some(site)) => site.code.clone(),
    };
    let line = |log: crate::gateway::intake::LogStatus| {
        let link = hq.link(log.record.device);
        let ruled = published.ruled(&log.record.log) >= log.received.last;
        let quality = link.quality.filter(|_| link.connected);
        LogLine {
            site: log.record.site.0,
            code: code(log.record.site),
            device: log.record.device.0,
            log: log.record.log.to_string(),
            announced: log.announced.map(|last| last.0),
            received: log.received.last.0,
            head: log.received.head.to_string(),
            sealed: log.sealed.0,
            posted: log.posted.0,
            safe: log.safe.0,
            connected: link.connected,
            program: link.program,
            clock_ahead_ms: link.clock_ahead_ms,
            behind: log.announced.unwrap_or_default().max(log.received.last).0 - log.posted.0,
            set_aside: set_aside.get(&LogRank::of(&log.record.log)).copied().unwrap_or(0),
            complete_to: log.complete_to.map(|at| at.to_string()),
            heard_at: log.heard_at.map(|at| at.to_string()),
            connected_since: link.since.filter(|_| link.connected).map(|at| at.to_string()),
            address: quality.map(|quality| quality.address.to_string()),
            quality: quality.as_ref().map(LinkQuality::of),
            last_error_at: link.last_error.as_ref().map(|(at, _)| at.to_string()),
            last_error: link.last_error.map(|(_, why)| why),
            bundle_made_at: link.bundle.map(|bundle| bundle.made_at.to_string()),
            bundle_taken_at: link.bundle.map(|bundle| bundle.taken_at.to_string()),
            bundle_by: link.bundle.and_then(|bundle| bundle.by).map(|by| code(by.site)),
            forged: link.forged,
            refusal: log.refusal,
            branch: Branches::left(&log.record).map(|(of, after)| BranchLine {
                of: of.to_string(),
                after: after.0,
                ruled,
            }),
        }
    };
    Ok(Json(Status {
        program: concat!("hq-server ", env!("CARGO_PKG_VERSION")).to_owned(),
        history: hq.store().history().to_string(),
        position,
        failure,
        waiting,
        lost,
        logs: hq.intake().logs().into_iter().map(line).collect(),
    }))
}

/// How many groups wait, and the facts of each log among them.
fn waiting(hq: &Headquarters) -> (u64, BTreeMap<LogRank, u64>) {
    let ledgers = hq.published().ledgers();
    let mut facts = BTreeMap::new();
    for (_, group) in ledgers.books.waiting() {
        *facts.entry(group.log).or_default() += group.facts.len() as u64;
    }
    (ledgers.books.waiting().count() as u64, facts)
}

/// Proves everything that is stored: chains, seals, journal documents, the sequence, the books.
#[utoipa::path(post, path = "/api/verify", tag = "installation",
    responses((status = 200, body = VerifyReport)))]
async fn verify(State(hq): State<Headquarters>) -> Result<Json<VerifyReport>, ApiError> {
    blocking(move || hq.verify().map_err(|error| ApiError::failed(error.to_string()))).await
}

/// Copies everything to a new folder and reads it back.
#[utoipa::path(post, path = "/api/backup", tag = "installation", request_body = BackupBody,
    responses((status = 200, body = BackupReport)))]
async fn backup(
    State(hq): State<Headquarters>,
    Json(body): Json<BackupBody>,
) -> Result<Json<BackupReport>, ApiError> {
    blocking(move || {
        let made = hq.backup(Path::new(&body.to));
        let manifest = made.map_err(|error| ApiError::refused(error.to_string()))?;
        let bytes = manifest.files.iter().map(|file| file.bytes).sum();
        Ok(BackupReport { to: body.to, position: manifest.position, bytes })
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<Json<T>, ApiError> {
    let done = beside::run(work).await;
    done.map_err(|error| ApiError::failed(error.to_string()))?.map(Json)
}
