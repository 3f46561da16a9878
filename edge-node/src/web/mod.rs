//! One page for people at the node: how it stands, and what became of its newest movements. Knows the
//! local API alone: the page asks it. Invariant: the page loads nothing from elsewhere.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Where the page and its parts are; they hold nothing that is the site's.
pub const PATHS: [&str; 3] = ["/", "/status.css", "/status.js"];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'";

/// The page.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let [page, style, script] = PATHS;
    Router::new()
        .route(
            page,
            get(|| async { part("text/html; charset=utf-8", include_str!("status.html")) }),
        )
        .route(style, get(|| async { part("text/css", include_str!("status.css")) }))
        .route(script, get(|| async { part("text/javascript", include_str!("status.js")) }))
}

fn part(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
