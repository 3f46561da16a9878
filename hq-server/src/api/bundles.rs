//! Bundles over HTTP: what a warehouse without a link sent in a file, and the answer. Invariant:
//! memory does not grow with a bundle.

use std::io::{self, Write};
use std::path::Path as FilePath;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shared::ids::{DeviceNo, LogId, Seq, SiteNo};
use shared::sync::StateCursor;
use shared::sync::bundle::{BUNDLE_BYTES_MAX, Seed};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiError;
use super::sites;
use crate::beside;
use crate::gateway::bundle::{BundleRefused, Desk, Known, PIECE_BYTES, Taken};
use crate::gateway::store::HqStore as _;
use crate::headquarters::Headquarters;

/// How many pieces may wait for whoever receives them.
const PIECES_WAITING_MAX: usize = 4;

/// How long an import waits until the books have what it brought.
const POSTING: Duration = Duration::from_secs(30);

/// Whoever receives a bundle takes a piece of it within this time.
const RECEIVING: Duration = Duration::from_secs(60);

/// What came of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleReport {
    /// The site's code.
    pub site: String,
    /// The installation that made it.
    pub device: u32,
    /// The log's id, in hex.
    pub log: String,
    /// When it was made, by the installation's clock.
    pub made_at: String,
    /// Facts after this one are in it.
    pub after: u64,
    /// Up to this one.
    pub last: u64,
    /// How many.
    pub facts: u64,
    /// How many of them HQ did not have.
    pub new_facts: u64,
    /// How many seals HQ did not have.
    pub new_seals: u64,
    /// A seal that begins at this fact is missing: seals after it were not taken.
    pub seal_missing: Option<u64>,
    /// HQ has the log up to this fact now.
    pub received: u64,
    /// Sealed up to this one.
    pub sealed: u64,
    /// In the books up to this one.
    pub posted: u64,
    /// The bundle's size.
    pub bytes: u64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerQuery {
    /// The installation, where the site has several.
    device: Option<u32>,
    /// After a restore of HQ: tell master data from the beginning, although the site may hold some that
    /// HQ lost.
    #[serde(default)]
    anew: bool,
}

impl From<BundleRefused> for ApiError {
    fn from(error: BundleRefused) -> Self {
        match error {
            BundleRefused::UnknownLog(_) => Self::missing(error.to_string()),
            BundleRefused::Io(_) => Self::failed(error.to_string()),
            _ => Self::refused(error.to_string()),
        }
    }
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new().routes(routes!(bundle_take)).routes(routes!(bundle_answer))
}

fn desk_of(hq: &Headquarters) -> Desk<'_, Headquarters> {
    Desk { store: hq, authority: hq.authority(), clock: hq.clock() }
}

/// Takes a bundle that a warehouse made. A file that is damaged anywhere changes nothing; an older
/// one, or the same one twice, is harmless.
#[utoipa::path(post, path = "/api/bundles", tag = "sites",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = BundleReport),
        (status = 422, description = "damaged, revoked, forked, or an earlier one is missing"),
        (status = 404, description = "the log is not known")))]
async fn bundle_take(
    State(hq): State<Headquarters>,
    body: Body,
) -> Result<Json<BundleReport>, ApiError> {
    let mut file = receive(body, hq.directory()).await?;
    let taken = desk_of(&hq).take(&mut file, None).await?;
    let log = taken.head.log;
    if let Some(mut posted) = hq.intake().posted(&log) {
        // Where the books take longer, the report says how far they are.
        let reached = posted.wait_for(|posted| *posted >= taken.received);
        drop(tokio::time::timeout(POSTING, reached).await);
    }
    Ok(Json(report(&hq, &taken)))
}

fn report(hq: &Headquarters, taken: &Taken) -> BundleReport {
    let catalogue = hq.published().catalogue();
    let site = catalogue.site(taken.peer.site);
    let status = hq.intake().log(&taken.head.log);
    let of = |level: Option<Seq>| level.unwrap_or(taken.received).0;
    BundleReport {
        site: site.map_or_else(|| taken.peer.site.to_string(), |site| site.code.clone()),
        device: taken.peer.device.0,
        log: taken.head.log.to_string(),
        made_at: taken.carried.made_at.to_string(),
        after: taken.head.after.0,
        last: taken.head.last.0,
        facts: taken.head.facts(),
        new_facts: taken.new_facts(),
        new_seals: taken.seals,
        seal_missing: taken.seal_missing.map(|seq| seq.0),
        received: of(status.as_ref().map(|status| status.received.last)),
        sealed: of(status.as_ref().map(|status| status.sealed)),
        posted: of(status.as_ref().map(|status| status.posted)),
        bytes: taken.bytes,
    }
}

/// What HQ answers an installation that has no link: its newest acknowledgement and the master data
/// that it does not know, encrypted to it.
#[utoipa::path(get, path = "/api/sites/{code}/bundle", tag = "sites",
    params(("code" = String, Path), AnswerQuery),
    responses((status = 200, content_type = "application/octet-stream"),
        (status = 404, description = "no such site, or nothing is enrolled there"),
        (status = 422, description = "several installations: choose one")))]
async fn bundle_answer(
    State(hq): State<Headquarters>,
    Path(code): Path<String>,
    Query(query): Query<AnswerQuery>,
) -> Result<Response, ApiError> {
    let (site, _) = sites::find(&hq, &code)?;
    let (device, log) = installation(&hq, &code, site, query.device.map(DeviceNo))?;
    let known = known(&hq, device, query.anew)?;
    let mut seed = Seed([0; 32]);
    getrandom::fill(&mut seed.0).map_err(|error| ApiError::failed(error.to_string()))?;
    let (begun, begins) = oneshot::channel();
    let (pieces, stream) = mpsc::channel(PIECES_WAITING_MAX);
    let making = beside::start(move || {
        let desk = desk_of(&hq);
        let answer = match desk.answer(&log, known, &seed) {
            Ok(answer) => answer,
            Err(error) => return drop(begun.send(Err(ApiError::from(error)))),
        };
        drop(begun.send(Ok(())));
        if let Err(error) = answer.write(&mut Pieces(pieces.clone()), None) {
            tracing::warn!("a bundle was not made to its end: {error}");
            // The body ends by an error, so that nobody takes it for whole.
            drop(pieces.try_send(Err(io::Error::other(error.to_string()))));
        }
    });
    drop(making.await);
    begins.await.map_err(|error| ApiError::failed(error.to_string()))??;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(ReceiverStream::new(stream))).into_response())
}

/// From where on an installation is answered. It forgets what it knew of an earlier life of HQ when it is
/// told of this one; what HQ asks back goes over a connection.
fn known(hq: &Headquarters, device: DeviceNo, anew: bool) -> Result<Known, ApiError> {
    let known = hq.link(device).bundle.map(|bundle| bundle.known);
    let may_hold = |known: Known| hq.asks_back(known.state).is_some();
    if !anew && hq.was_restored() && known.is_none_or(may_hold) {
        let text = "HQ was restored from a backup, and this warehouse may hold master data that HQ lost: let \
                    it connect once, and it gives that back; where it can't, --anew tells it everything from \
                    the beginning, and what it alone holds is lost";
        return Err(ApiError::refused(text.to_owned()));
    }
    let known = known.unwrap_or_default();
    Ok(if anew { Known { state: StateCursor::START, ..known } } else { known })
}

/// The installation meant: the only one that is not revoked, or the one that was named.
fn installation(
    hq: &Headquarters,
    code: &str,
    site: SiteNo,
    wanted: Option<DeviceNo>,
) -> Result<(DeviceNo, LogId), ApiError> {
    let logs = hq.intake().logs().into_iter();
    let logs =
        logs.filter(|log| log.record.site == site && hq.writer_of(&log.record.log).is_some());
    let devices = hq.authority().devices();
    let is_revoked = |device: DeviceNo| {
        devices.iter().any(|record| record.device == device && record.revoked_at.is_some())
    };
    let found: Vec<_> = logs
        .map(|log| (log.record.device, log.record.log))
        .filter(|(device, _)| match wanted {
            Some(wanted) => *device == wanted,
            None => !is_revoked(*device),
        })
        .collect();
    match found.as_slice() {
        [] => Err(ApiError::missing(format!(
            "site '{code}' has no such installation: see 'hq-server site list', and 'hq-server site code \
             {code}' for a new one"
        ))),
        [one] => Ok(*one),
        several => {
            let numbers: Vec<_> = several.iter().map(|(device, _)| device.to_string()).collect();
            Err(ApiError::refused(format!(
                "site '{code}' has several installations (device {}), and a bundle is encrypted to one: choose \
                 with --device",
                numbers.join(", ")
            )))
        }
    }
}

/// Hands on what is written, piece by piece, as fast as it is received.
struct Pieces(mpsc::Sender<io::Result<Vec<u8>>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        // It has one of the few places for what people ask.
        let sending = tokio::time::timeout(RECEIVING, self.0.send(Ok(piece.to_vec())));
        let sent = tokio::runtime::Handle::current().block_on(sending);
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "nobody receives it any more");
        sent.map_err(|_| gone())?.map_err(|_| gone())?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps a body in a file that has no name any more: it goes with the handle.
async fn receive(body: Body, folder: &FilePath) -> Result<tokio::fs::File, ApiError> {
    let keep = |error: io::Error| {
        ApiError::failed(format!("HQ can't keep the bundle while it comes in: {error}"))
    };
    let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(folder).map_err(keep)?);
    let (mut stream, mut bytes) = (body.into_data_stream(), 0);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| ApiError::refused(error.to_string()))?;
        bytes += piece.len() as u64;
        if bytes > BUNDLE_BYTES_MAX {
            let text = format!("a bundle has at most {BUNDLE_BYTES_MAX} bytes: give another file");
            return Err(ApiError::refused(text));
        }
        file.write_all(&piece).await.map_err(keep)?;
    }
    file.flush().await.map_err(keep)?;
    file.rewind().await.map_err(keep)?;
    Ok(file)
}
