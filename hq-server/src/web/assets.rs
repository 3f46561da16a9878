//! The pages' files inside the binary, by names that change with their content.
//!
//! Own files are always there; third-party ones only where they had been fetched before the build.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(super) struct Asset {
    name: &'static str,
    hashed: &'static str,
    mime: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The third-party files without which pages stand still.
const FETCHED: [&str; 4] = ["htmx.js", "htmx-sse.js", "uplot.js", "uplot.css"];

/// Whether the pages move by themselves.
pub(super) fn is_live() -> bool {
    FETCHED.iter().all(|name| ASSETS.iter().any(|asset| asset.name == *name))
}

/// The address of a file.
pub(super) fn address(name: &str) -> String {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    format!("/assets/{}", asset.map_or(name, |asset| asset.hashed))
}

/// Serves a file. The name stands for the content, so it is kept for a year.
pub(super) async fn serve(Path(name): Path<String>, request: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.hashed == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", asset.hashed);
    let headers = [
        (header::CONTENT_TYPE, asset.mime),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::ETAG, tag.as_str()),
        (header::VARY, "accept-encoding"),
    ];
    let says = |name, word: &str| {
        request.get(name).and_then(|value| value.to_str().ok()).is_some_and(|v| v.contains(word))
    };
    if says(header::IF_NONE_MATCH, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    if says(header::ACCEPT_ENCODING, "gzip") {
        return (headers, [(header::CONTENT_ENCODING, "gzip")], asset.gzip).into_response();
    }
    (headers, asset.plain).into_response()
}
