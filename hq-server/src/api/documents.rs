//! Shared documents over HTTP: as HQ decided them, with every value that people have to settle;
//! HQ's own edits, the next generation, and what was refused. Knows no file.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::document::DocumentId;
use shared::ids::SiteNo;
use shared::time::Timestamp;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiError;
use super::sites::find;
use crate::beside;
use crate::gateway::documents::ChangeError;
use crate::headquarters::Headquarters;
use crate::report::documents::{DocumentLine, DocumentShown, QuarantineLine, Writing};

/// An edit: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentEdit {
    /// Texts by key; each replaces all that HQ has there.
    pub puts: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only documents of the site with this code.
    site: Option<String>,
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unknown(_) => Self::missing(error.to_string()),
            ChangeError::File(_) => Self::failed(error.to_string()),
            ChangeError::Unsettled(..) => {
                Self { status: StatusCode::CONFLICT, text: error.to_string() }
            }
            ChangeError::Edit(_) => Self::refused(error.to_string()),
        }
    }
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new()
        .routes(routes!(document_list))
        .routes(routes!(document_quarantine))
        .routes(routes!(document_show, document_edit))
        .routes(routes!(document_generation))
}

fn code(hq: &Headquarters, site: SiteNo) -> String {
    if site == SiteNo::HQ {
        return "HQ".to_owned();
    }
    let catalogue = hq.published().catalogue();
    catalogue.site(site).map_or_else(|| site.to_string(), |site| site.code.clone())
}

/// The document that a text names: its name, or the beginning of one.
fn named(hq: &Headquarters, text: &str) -> Result<DocumentId, ApiError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let beginning = format!("{text}:");
    let mut names = hq.documents().names().into_iter().map(|key| key.id);
    names.find(|id| id.to_string().starts_with(&beginning)).ok_or_else(|| {
        ApiError::missing(format!("there is no document '{text}': see 'hq-server document list'"))
    })
}

fn shown(hq: &Headquarters, id: DocumentId) -> Result<DocumentShown, ApiError> {
    let state = hq.documents().get(id)?;
    Ok(DocumentShown::of(&state, Writing { code: &|site| code(hq, site), time: &universal }))
}

fn universal(at: Timestamp) -> String {
    at.to_string()
}

/// Every shared document.
#[utoipa::path(get, path = "/api/documents", tag = "documents", params(ListQuery),
    responses((status = 200, body = Vec<DocumentLine>)))]
async fn document_list(
    State(hq): State<Headquarters>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<DocumentLine>>, ApiError> {
    let site = query.site.map(|code| find(&hq, &code)).transpose()?.map(|(site, _)| site);
    let lines = blocking(move || {
        let writing = Writing { code: &|site| code(&hq, site), time: &universal };
        let mut lines = Vec::new();
        for key in hq.documents().names() {
            if site.is_none_or(|site| key.id.is_of(site)) {
                let state = hq.documents().get(key.id)?;
                lines.push(DocumentLine::of(&state, writing));
            }
        }
        Ok(lines)
    });
    Ok(Json(lines.await?))
}

/// A shared document. A name may be cut after its number: `transfer:3-1042`.
#[utoipa::path(get, path = "/api/documents/{id}", tag = "documents", params(("id" = String, Path)),
    responses((status = 200, body = DocumentShown), (status = 404, description = "there is none")))]
async fn document_show(
    State(hq): State<Headquarters>,
    Path(id): Path<String>,
) -> Result<Json<DocumentShown>, ApiError> {
    Ok(Json(blocking(move || shown(&hq, named(&hq, &id)?)).await?))
}

/// Puts texts at keys in HQ's name.
#[utoipa::path(post, path = "/api/documents/{id}", tag = "documents", params(("id" = String, Path)),
    request_body = DocumentEdit, responses((status = 200, body = DocumentShown)))]
async fn document_edit(
    State(hq): State<Headquarters>,
    Path(id): Path<String>,
    Json(edit): Json<DocumentEdit>,
) -> Result<Json<DocumentShown>, ApiError> {
    let done = blocking(move || {
        let id = named(&hq, &id)?;
        let catalogue = hq.published().catalogue();
        if let Some(site) = id.sites().find(|site| catalogue.site(*site).is_none()) {
            return Err(ApiError::missing(format!("there is no site {site}")));
        }
        let puts: Vec<_> =
            edit.puts.iter().map(|(key, text)| (key.as_str(), text.clone())).collect();
        hq.documents().edit(id, &hq.document_sender(), hq.clock().now(), &puts)?;
        shown(&hq, id)
    });
    Ok(Json(done.await?))
}

/// Begins a document's next generation with what this one says; this one takes no more changes.
#[utoipa::path(post, path = "/api/documents/{id}/generation", tag = "documents",
    params(("id" = String, Path)), responses((status = 200, body = DocumentShown),
    (status = 409, description = "people have to settle something first")))]
async fn document_generation(
    State(hq): State<Headquarters>,
    Path(id): Path<String>,
) -> Result<Json<DocumentShown>, ApiError> {
    let done = blocking(move || {
        let id = named(&hq, &id)?;
        hq.documents().renew(id, &hq.document_sender(), hq.clock().now())?;
        shown(&hq, id)
    });
    Ok(Json(done.await?))
}

/// Changes that HQ refused, the newest first.
#[utoipa::path(get, path = "/api/documents-refused", tag = "documents",
    responses((status = 200, body = Vec<QuarantineLine>)))]
async fn document_quarantine(
    State(hq): State<Headquarters>,
) -> Result<Json<Vec<QuarantineLine>>, ApiError> {
    let lines = blocking(move || {
        let refused = hq.documents().refused();
        let refused = refused.map_err(|error| ApiError::failed(error.to_string()))?;
        let writing = Writing { code: &|site| code(&hq, site), time: &universal };
        Ok(refused.into_iter().map(|each| QuarantineLine::of(each, writing)).collect())
    });
    Ok(Json(lines.await?))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = beside::run(work).await;
    done.unwrap_or_else(|error| Err(ApiError::failed(error.to_string())))
}
