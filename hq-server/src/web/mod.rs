//! The dashboard, the report pages, the read API and the live stream. Renders what `report` finds
//! and knows neither store nor sequencer: all it asks goes through [`desk::Desk`].
//!
//! Invariant: every page is whole without scripts, and no page loads anything from elsewhere.

pub mod books_desk;
pub mod desk;

mod assets;
mod chart;
mod cookie;
mod language;
mod live;
mod pages;
mod read_api;
mod whose;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use crate::beside;
use desk::{Desk, DeskError};
pub(crate) use whose::Company;

/// The reports, shared by all connections.
pub(crate) type Desks = Arc<dyn Desk>;

/// The pages' addresses. Says once when they were built without their moving parts.
pub fn pages(desk: Arc<dyn Desk>) -> Router {
    if !assets::is_live() {
        tracing::info!(
            "pages are served without live figures: this program was built without the files that \
             deploy/assets fetches (it needs Node.js)"
        );
    }
    Router::new()
        .route("/", get(pages::dashboard))
        .route("/vouchers", get(pages::vouchers))
        .route("/vouchers/{id}", get(pages::voucher))
        .route("/facts/{capture}", get(pages::fact))
        .route("/stock", get(pages::stock))
        .route("/items/{no}", get(pages::item))
        .route("/accounts", get(pages::accounts))
        .route("/accounts/{no}", get(pages::account))
        .route("/open-items", get(pages::open_items))
        .route("/documents", get(pages::documents))
        .route("/documents/{name}", get(pages::document))
        .route("/sites", get(pages::sites))
        .route("/events/dashboard", get(live::dashboard_events))
        .route("/livez", get(pages::alive))
        .fallback(pages::nothing_here)
        .with_state(desk)
        .route("/assets/{name}", get(assets::serve))
        .layer(from_fn(with_policies))
}

/// The read API and the stream of positions, with their OpenAPI document.
pub fn read_api(desk: Arc<dyn Desk>) -> OpenApiRouter {
    read_api::router().with_state(desk)
}

/// Asks for a report beside the event loop: reports read the store.
async fn ask<T, F>(desk: &Desks, question: F) -> Result<T, DeskError>
where
    T: Send + 'static,
    F: FnOnce(&dyn Desk) -> Result<T, DeskError> + Send + 'static,
{
    let desk = Arc::clone(desk);
    beside::run(move || question(desk.as_ref()))
        .await
        .map_err(|error| DeskError::Store(error.to_string()))?
}

/// Pages run only our own scripts, are framed by nobody and are never kept by a cache.
async fn with_policies(request: Request, next: Next) -> Response {
    const CONTENT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
        img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
        frame-ancestors 'none'";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
