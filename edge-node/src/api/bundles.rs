//! Bundles over HTTP: made while they are sent, taken once they came whole. Invariant: memory does
//! not grow with a bundle.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::ids::Seq;
use shared::sync::bundle::BUNDLE_BYTES_MAX;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::views::{BundleTakenView, Problem, ProblemView};
use super::{Api, Failure, blocking};
use crate::bundle::{ExportError, ImportError, PIECE_BYTES, Since};

/// How many pieces may wait for whoever receives them.
const PIECES_WAITING_MAX: usize = 4;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct BundleQuery {
    /// Facts after this place; without it, after HQ's newest acknowledgement.
    after: Option<u64>,
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            error => {
                let problem = Problem::of_export(&error);
                Self(StatusCode::UNPROCESSABLE_ENTITY, problem)
            }
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => error.into(),
            error => {
                let problem = Problem::of_import(&error);
                Self(StatusCode::UNPROCESSABLE_ENTITY, problem)
            }
        }
    }
}

/// What HQ does not have, as a file to carry there: the newest head is sealed first.
#[utoipa::path(get, path = "/v1/bundle", params(BundleQuery), responses(
    (status = 200, content_type = "application/octet-stream"), (status = 422, body = ProblemView),
))]
pub(super) async fn export_bundle(
    State(api): State<Api>,
    Query(query): Query<BundleQuery>,
) -> Result<Response, Failure> {
    let since = query.after.map_or(Since::Acknowledged, |after| Since::Fact(Seq(after)));
    let export = blocking(move || Ok(api.bundles.export(since)?)).await?;
    let (pieces, stream) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = export.write(&mut Pieces(pieces.clone())) {
            tracing::warn!("a bundle was not made to its end: {error}");
            // The body ends by an error, so that nobody takes it for whole.
            drop(pieces.blocking_send(Err(io::Error::other(error.to_string()))));
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(ReceiverStream::new(stream))).into_response())
}

/// Hands on what is written, piece by piece, as fast as it is received.
struct Pieces(mpsc::Sender<io::Result<Vec<u8>>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        let sent = self.0.blocking_send(Ok(piece.to_vec()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody receives it any more"))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Take HQ's answer: acknowledgement and master data. A file that is damaged anywhere changes
/// nothing; an older one is harmless.
#[utoipa::path(post, path = "/v1/bundle",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 200, body = BundleTakenView), (status = 422, body = ProblemView),
    (status = 507, description = "The disk is full", body = ProblemView),
))]
pub(super) async fn import_bundle(
    State(api): State<Api>,
    body: Body,
) -> Result<Json<BundleTakenView>, Failure> {
    let mut file = receive(body, &api.folder).await?;
    let imported = blocking(move || {
        let imported = api.bundles.import(&mut file)?;
        Ok(BundleTakenView::of(&imported, &api.recorder))
    });
    Ok(Json(imported.await?))
}

/// Keeps a body in a file that has no name any more: it goes with the handle.
async fn receive(body: Body, folder: &Path) -> Result<File, Failure> {
    let file = tempfile::tempfile_in(folder).map_err(|error| cannot_keep(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let (mut stream, mut bytes) = (body.into_data_stream(), 0);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| {
            Failure::new(StatusCode::BAD_REQUEST, "bad_request", error.to_string())
        })?;
        bytes += piece.len() as u64;
        if bytes > BUNDLE_BYTES_MAX {
            let message =
                format!("a bundle has at most {BUNDLE_BYTES_MAX} bytes: give another file");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "not_a_bundle", message));
        }
        let written = tokio::io::AsyncWriteExt::write_all(&mut file, &piece).await;
        written.map_err(|error| cannot_keep(&error))?;
    }
    let rewound = async {
        tokio::io::AsyncWriteExt::flush(&mut file).await?;
        tokio::io::AsyncSeekExt::rewind(&mut file).await
    };
    rewound.await.map_err(|error| cannot_keep(&error))?;
    Ok(file.into_std().await)
}

fn cannot_keep(error: &io::Error) -> Failure {
    if crate::journal::is_full(error) {
        let message = "the disk is full: free some space and import the bundle again";
        return Failure::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", message);
    }
    let message = format!("the node can't keep the bundle while it comes in: {error}");
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "store", message)
}
