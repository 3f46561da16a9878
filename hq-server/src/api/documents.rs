//! Shared documents over HTTP: as HQ decided them, with every value that people have to settle;
//! HQ's own edits, the next generation, and what was refused. Knows no file.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::document::{
    Change, DocumentId, DocumentKey, DocumentKind, Value, count_sheet, field, transfer,
};
use shared::ids::SiteNo;
use shared::time::Timestamp;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiError;
use super::sites::find;
use crate::gateway::documents::{ChangeError, DocumentState, RefusedChange};
use crate::headquarters::Headquarters;

/// A document in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentLine {
    /// Its name.
    pub document: String,
    /// `transfer`, `order`, `count-sheet`, `notes`.
    pub kind: String,
    /// The codes of the sites that handle it.
    pub sites: Vec<String>,
    /// The generation that takes changes.
    pub generation: u32,
    /// What it is called, or how far a transfer has come.
    pub state: Option<String>,
    /// How many changes it has.
    pub changes: usize,
    /// When the last one came.
    pub changed_at: String,
    /// How many of its keys have values that a person has to settle.
    pub to_settle: usize,
}

/// A value that somebody put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentValue {
    /// The key.
    pub key: String,
    /// The text.
    pub text: String,
    /// The code of the site that put it; `HQ`.
    pub site: String,
    /// The installation.
    pub device: u32,
    /// When, by its clock.
    pub at: String,
    /// It differs from what others put who did not know of it: a person has to settle.
    pub to_settle: bool,
}

/// A document whole: every value that nothing replaces, those that hold first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentShown {
    /// As in lists.
    #[serde(flatten)]
    pub line: DocumentLine,
    /// The changes that nothing builds on.
    pub heads: Vec<String>,
    /// What it says.
    pub values: Vec<DocumentValue>,
}

/// An edit: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentEdit {
    /// Texts by key; each replaces all that HQ has there.
    pub puts: std::collections::BTreeMap<String, String>,
}

/// A change that HQ refused, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineLine {
    /// The document that it was for.
    pub document: String,
    /// The code of the site that sent it.
    pub site: String,
    /// The installation.
    pub device: u32,
    /// When it came.
    pub at: String,
    /// Why it was refused.
    pub reason: String,
    /// What it would have put, where it reads.
    pub puts: Vec<String>,
    /// Its size.
    pub bytes: usize,
    /// The name that it was announced with.
    pub hash: String,
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

fn line(hq: &Headquarters, state: &DocumentState) -> DocumentLine {
    let (replica, key) = (&state.replica, state.replica.key());
    let progress = || transfer::progress(replica).word().to_owned();
    DocumentLine {
        document: key.id.to_string(),
        kind: key.id.kind().to_string(),
        sites: key.id.sites().map(|site| code(hq, site)).collect(),
        generation: key.generation,
        state: match key.id.kind() {
            DocumentKind::Transfer => Some(progress()),
            _ => replica.text(field::TITLE),
        },
        changes: replica.len() - 1,
        changed_at: state.changed_at.to_string(),
        to_settle: to_settle(key, state),
    }
}

/// Figures by counter differ line by line; elsewhere keys do.
fn to_settle(key: DocumentKey, state: &DocumentState) -> usize {
    if key.id.kind() != DocumentKind::CountSheet {
        return state.conflicts().count();
    }
    let lines = count_sheet::lines(&state.replica);
    let differs = Some(count_sheet::Standing::Differs);
    lines.values().filter(|line| line.standing() == differs).count()
}

fn shown(hq: &Headquarters, id: DocumentId) -> Result<DocumentShown, ApiError> {
    let state = hq.documents().get(id)?;
    let value = |key: &String, value: Value, to_settle| DocumentValue {
        key: key.clone(),
        text: value.text,
        site: code(hq, value.actor.site()),
        device: value.actor.device().0,
        at: Timestamp(value.time.saturating_mul(1_000)).to_string(),
        to_settle,
    };
    let mut values = Vec::new();
    for key in state.replica.keys() {
        let all = state.replica.conflict(&key);
        let to_settle = all.is_some();
        let holds = || state.replica.values(&key).into_iter().take(1).collect();
        let all = all.unwrap_or_else(holds);
        values.extend(all.into_iter().map(|one| value(&key, one, to_settle)));
    }
    let heads = state.replica.heads().iter().map(ToString::to_string).collect();
    Ok(DocumentShown { line: line(hq, &state), heads, values })
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
        let mut lines = Vec::new();
        for key in hq.documents().names() {
            if site.is_none_or(|site| key.id.is_of(site)) {
                lines.push(line(&hq, &hq.documents().get(key.id)?));
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
        let line = |refused: RefusedChange| {
            let read = Change::read(&refused.bytes);
            let puts = read.map(|change| change.puts).unwrap_or_default();
            QuarantineLine {
                document: refused.key.to_string(),
                site: code(&hq, refused.site),
                device: refused.device.0,
                at: refused.at.to_string(),
                reason: refused.reason,
                puts: puts.into_iter().map(|put| format!("{}: {}", put.key, put.text)).collect(),
                bytes: refused.bytes.len(),
                hash: refused.hash.to_string(),
            }
        };
        let refused = hq.documents().refused();
        let refused = refused.map_err(|error| ApiError::failed(error.to_string()))?;
        Ok(refused.into_iter().map(line).collect())
    });
    Ok(Json(lines.await?))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ApiError::failed(error.to_string())))
}
