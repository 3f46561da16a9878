//! The local HTTP API: what the commands do, for programs. Every handler is a translation; checks
//! are in `record`. Invariant: without a token only this machine is served.

mod bundles;
pub mod documents;
pub mod views;

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Deserialize;
use shared::catalogue::Catalogue;
use shared::ids::Seq;
use tokio::sync::watch;
use utoipa::{IntoParams, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::bundle::Bundles;
use crate::documents::Documents;
use crate::journal::{BackupError, Journal, StoreError};
use crate::link::{Asker, LinkStatus, NoAnswer};
use crate::neighbour::Neighbours;
use crate::record::{GroupInput, Origin, Recorder, Refused};
use crate::web;
use views::{
    BackupView, BatchInput, BatchOutcome, BatchView, FoundView, HandledInput, ItemView, LogPage,
    Problem, ProblemView, RecordedView, StatusView, StockView, TransferView, VerifiedView,
};

/// The largest request: some thousand movements of an import.
const BODY_BYTES_MAX: usize = 8 << 20;
/// The most groups of one batch.
pub const BATCH_GROUPS_MAX: usize = 4_096;
const LOG_PAGE_DEFAULT: usize = 100;
const LOG_PAGE_MAX: usize = 1_000;
const ITEMS_MAX: usize = 1_000;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    /// Checks and records.
    pub recorder: Recorder,
    /// Makes files for HQ and takes its answers.
    pub bundles: Bundles,
    /// What the site's people coordinate.
    pub documents: Documents,
    /// How the link stands.
    pub link: watch::Receiver<LinkStatus>,
    /// Who carries this node's data, and what it carries; `None` where nobody runs that.
    pub neighbours: Option<Neighbours>,
    /// Asks HQ.
    pub hq: Asker,
    /// Where backups go.
    pub backups: PathBuf,
    /// Where a bundle from HQ lies while it comes in, without a name.
    pub folder: PathBuf,
    /// What a caller must show; `None` serves this machine alone.
    pub token: Option<Arc<str>>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Warebook edge node",
        description = "Records stock movements at a warehouse. Figures are texts with a decimal \
                       point. Every answer that is no success has a body with code, message and \
                       line."
    ),
    components(schemas(ProblemView))
)]
struct Document;

/// The OpenAPI document.
pub fn document() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(record))
        .routes(routes!(record_batch))
        .routes(routes!(stock))
        .routes(routes!(log))
        .routes(routes!(items))
        .routes(routes!(items_at_hq))
        .routes(routes!(take_items))
        .routes(routes!(transfers))
        .routes(routes!(status))
        .routes(routes!(verify))
        .routes(routes!(back_up))
        .routes(routes!(export_documents))
        .routes(routes!(documents::shared_list))
        .routes(routes!(documents::shared_show, documents::shared_edit))
        .routes(routes!(documents::shared_refused))
        .routes(routes!(documents::sheet_begin))
        .routes(routes!(documents::sheet_figure))
        .routes(routes!(documents::sheet_record))
        .routes(routes!(bundles::export_bundle, bundles::import_bundle))
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// The routes and who may use them.
pub fn router(api: Api) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = Arc::new(document);
    router
        .route(
            "/v1/openapi.json",
            axum::routing::get(move || async move { Json((*document).clone()) }),
        )
        .merge(web::router())
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// A problem and its status.
#[derive(Debug)]
struct Failure(StatusCode, Problem);

impl Failure {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self(status, Problem { code: code.to_owned(), message: message.into(), line: None })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ProblemView { error: self.1 })).into_response()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            StoreError::Disk(_) | StoreError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "store"),
            StoreError::Damaged(_) => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let status = match refused.code() {
            "key_reused" => StatusCode::CONFLICT,
            "disk_full" => StatusCode::INSUFFICIENT_STORAGE,
            "store" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self(status, Problem::of(&refused))
    }
}

/// JSON whose faults have our form.
struct Body<T>(T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(bad_body(&rejection)),
        }
    }
}

fn bad_body(rejection: &JsonRejection) -> Failure {
    Failure::new(rejection.status(), "bad_request", rejection.body_text())
}

/// Lets in who shows the token; without one, who speaks to this machine by its own name, so that a
/// page in a browser can't reach through it.
async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    if is_admitted(&api, request.uri().path(), request.headers()) {
        return next.run(request).await;
    }
    let message = match &api.token {
        Some(_) => "show the token: 'Authorization: Bearer TOKEN', from the node's token file",
        None => "this API serves programs on this machine only: call it as 127.0.0.1",
    };
    Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response()
}

fn is_admitted(api: &Api, path: &str, headers: &HeaderMap) -> bool {
    if path == "/livez" || path == "/readyz" || web::PATHS.contains(&path) {
        return true;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match &api.token {
        Some(token) => text(header::AUTHORIZATION)
            .and_then(|value| value.strip_prefix("Bearer "))
            .is_some_and(|shown| same(shown.as_bytes(), token.as_bytes())),
        None => text(header::HOST).is_none_or(is_this_machine) && text(header::ORIGIN).is_none(),
    }
}

/// Compares without telling by time how much is right.
fn same(one: &[u8], other: &[u8]) -> bool {
    blake3::hash(one) == blake3::hash(other)
}

fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let name = name.trim_matches(['[', ']']);
    name == "localhost"
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not_found", "there is no such path: see /v1/openapi.json")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "bug",
            "the work panicked: see the log",
        ))
    })
}

/// Record a group of movements. When this answers, it is durable.
#[utoipa::path(post, path = "/v1/movements", request_body = GroupInput, responses(
    (status = 201, body = RecordedView), (status = 200, description = "The key was known", body = RecordedView),
    (status = 409, description = "The key was used for something else", body = ProblemView),
    (status = 422, description = "Refused", body = ProblemView),
    (status = 503, description = "Try again with the same key", body = ProblemView),
    (status = 507, description = "The disk is full", body = ProblemView),
))]
async fn record(
    State(api): State<Api>,
    Body(group): Body<GroupInput>,
) -> Result<(StatusCode, Json<RecordedView>), Failure> {
    let recorded = api.recorder.record(group).await?;
    let status = if recorded.again { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(RecordedView::of(&recorded, &api.recorder))))
}

/// Record many groups of an import, under its own back-dating policy. Each has its own outcome.
#[utoipa::path(post, path = "/v1/batches", request_body = BatchInput, responses(
    (status = 200, body = BatchView), (status = 422, body = ProblemView),
))]
async fn record_batch(
    State(api): State<Api>,
    Body(batch): Body<BatchInput>,
) -> Result<Json<BatchView>, Failure> {
    if batch.groups.len() > BATCH_GROUPS_MAX {
        let message = format!("a batch has at most {BATCH_GROUPS_MAX} groups: split it");
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "batch_size", message));
    }
    let answers = api.recorder.record_many(&batch.groups, Origin::Import).await;
    let outcome = |answer| match answer {
        Ok(recorded) => {
            BatchOutcome { recorded: Some(RecordedView::of(&recorded, &api.recorder)), error: None }
        }
        Err(refused) => BatchOutcome { recorded: None, error: Some(Problem::of(&refused)) },
    };
    Ok(Json(BatchView { outcomes: answers.into_iter().map(outcome).collect() }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct StockQuery {
    /// Only this item's code.
    item: Option<String>,
}

/// What is on hand, by this node's own log.
#[utoipa::path(get, path = "/v1/stock", params(StockQuery), responses((status = 200, body = [StockView])))]
async fn stock(
    State(api): State<Api>,
    Query(query): Query<StockQuery>,
) -> Result<Json<Vec<StockView>>, Failure> {
    let lines = api.recorder.journal().stock().await?;
    Ok(Json(views::stock(&api.recorder, lines, query.item.as_deref())))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// The first place wanted; without it the newest facts.
    from: Option<u64>,
    /// How many, at most 1,000; 100 where absent.
    count: Option<usize>,
}

/// Facts of this node's log, in order.
#[utoipa::path(get, path = "/v1/log", params(LogQuery), responses((status = 200, body = LogPage)))]
async fn log(
    State(api): State<Api>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogPage>, Failure> {
    let count = query.count.unwrap_or(LOG_PAGE_DEFAULT).clamp(1, LOG_PAGE_MAX);
    let page = blocking(move || {
        let last = api.recorder.journal().position().last.0;
        let newest = (last + 1).saturating_sub(count as u64).max(1);
        let first = Seq(query.from.unwrap_or(newest));
        Ok(views::log(&api.recorder, first, count)?)
    });
    Ok(Json(page.await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ItemsQuery {
    /// A part of code or name.
    search: Option<String>,
}

/// Items that can be moved or sold here, at most 1,000.
#[utoipa::path(get, path = "/v1/items", params(ItemsQuery), responses((status = 200, body = [ItemView])))]
async fn items(State(api): State<Api>, Query(query): Query<ItemsQuery>) -> Json<Vec<ItemView>> {
    Json(views::items(&api.recorder, query.search.as_deref().unwrap_or(""), ITEMS_MAX))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    /// A part of code or name.
    search: String,
}

impl From<NoAnswer> for Failure {
    fn from(error: NoAnswer) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_link", error.to_string())
    }
}

/// What HQ finds, as a catalogue of its own.
async fn found_at_hq(api: &Api, text: String) -> Result<(Catalogue, bool), Failure> {
    let found = api.hq.look_up(text).await?;
    let facts = found.facts().map_err(|error| {
        let message = format!("HQ's answer does not read: {error}; update edge-node");
        Failure::new(StatusCode::BAD_GATEWAY, "protocol", message)
    })?;
    let mut catalogue = Catalogue::new();
    for fact in &facts {
        catalogue.apply(fact);
    }
    Ok((catalogue, found.more))
}

/// Items at HQ, also those that this site does not handle, at most 20.
#[utoipa::path(get, path = "/v1/items/at-hq", params(SearchQuery), responses(
    (status = 200, body = FoundView), (status = 503, description = "No link", body = ProblemView),
))]
async fn items_at_hq(
    State(api): State<Api>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<FoundView>, Failure> {
    let (catalogue, more) = found_at_hq(&api, query.search).await?;
    Ok(Json(FoundView { items: views::found(&api.recorder, &catalogue), more }))
}

/// Let this site handle items of HQ, by their codes. They come as soon as HQ sends them.
#[utoipa::path(post, path = "/v1/items/handled", request_body = HandledInput, responses(
    (status = 202, body = HandledInput), (status = 422, description = "HQ has no such item", body = ProblemView),
    (status = 503, description = "No link", body = ProblemView),
))]
async fn take_items(
    State(api): State<Api>,
    Body(input): Body<HandledInput>,
) -> Result<(StatusCode, Json<HandledInput>), Failure> {
    let mut items = Vec::new();
    for code in &input.items {
        let (catalogue, _) = found_at_hq(&api, code.clone()).await?;
        let item = catalogue.item_by_code(code).ok_or_else(|| {
            let message = format!("HQ has no item '{code}': look with 'edge-node items --at-hq'");
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_item", message)
        })?;
        items.push(item.item);
    }
    api.hq.handle(items).await?;
    Ok((StatusCode::ACCEPTED, Json(input)))
}

/// Goods on their way to this site.
#[utoipa::path(get, path = "/v1/transfers", responses((status = 200, body = [TransferView])))]
async fn transfers(State(api): State<Api>) -> Json<Vec<TransferView>> {
    Json(views::transfers(&api.recorder))
}

/// How this node stands.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = StatusView)))]
async fn status(State(api): State<Api>) -> Result<Json<StatusView>, Failure> {
    let view = blocking(move || {
        let link = api.link.borrow().clone();
        let neighbours = api.neighbours.as_ref().map(Neighbours::status);
        Ok(views::status(&api.recorder, &api.documents, Some(&link), neighbours.as_ref())?)
    });
    Ok(Json(view.await?))
}

/// Prove the log from its file: chain, signatures, document heads.
#[utoipa::path(post, path = "/v1/verify", responses(
    (status = 200, body = VerifiedView), (status = 500, body = ProblemView),
))]
async fn verify(State(api): State<Api>) -> Result<Json<VerifiedView>, Failure> {
    let verified = blocking(move || {
        api.recorder.journal().verify().map_err(|fault| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", fault.to_string())
        })
    });
    Ok(Json(verified.await?.into()))
}

/// Make a backup in the node's own folder while it runs.
#[utoipa::path(post, path = "/v1/backups", responses(
    (status = 201, body = BackupView), (status = 500, body = ProblemView),
))]
async fn back_up(State(api): State<Api>) -> Result<(StatusCode, Json<BackupView>), Failure> {
    let made = blocking(move || {
        back_up_into(api.recorder.journal(), &api.backups).map_err(|error| match error {
            BackupError::Store(error) => error.into(),
            BackupError::DiskFull => {
                Failure::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", error.to_string())
            }
            error => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "backup", error.to_string()),
        })
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

/// Makes a backup in `folder`, named by log and place.
fn back_up_into(journal: &Journal, folder: &std::path::Path) -> Result<BackupView, BackupError> {
    std::fs::create_dir_all(folder)?;
    let name = format!("{}-{}.backup", journal.log().short(), journal.position().last);
    let file = folder.join(name);
    if file.exists() {
        std::fs::remove_file(&file)?; // the same facts: made again, checksum and all
    }
    let summary = journal.backup_blocking(&file)?;
    Ok(BackupView {
        file: file.display().to_string(),
        log: summary.log.to_string(),
        last: summary.last.0,
        bytes: summary.bytes,
    })
}

/// A journal document as an Automerge file: facts 65,536 x chunk + 1 and following, sealed now.
#[utoipa::path(get, path = "/v1/documents/{chunk}", params(("chunk" = u64, Path)), responses(
    (status = 200, content_type = "application/octet-stream"), (status = 404, body = ProblemView),
))]
async fn export_documents(
    State(api): State<Api>,
    Path(chunk): Path<u64>,
) -> Result<Response, Failure> {
    let documents = blocking(move || {
        let journal = api.recorder.journal();
        journal.seal_now_blocking()?;
        journal.export_documents().map_err(|error| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", error.to_string())
        })
    });
    let found = documents.await?.into_iter().find(|(number, _)| *number == chunk);
    let (_, bytes) = found.ok_or_else(|| {
        Failure::new(StatusCode::NOT_FOUND, "not_found", format!("there is no chunk {chunk} yet"))
    })?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, bytes).into_response())
}

/// The process lives.
#[utoipa::path(get, path = "/livez", responses((status = 200)))]
async fn live() -> &'static str {
    "ok\n"
}

/// The store is open. An HQ out of reach is no reason to be unready.
#[utoipa::path(get, path = "/readyz", responses((status = 200), (status = 503)))]
async fn ready(State(api): State<Api>) -> Result<&'static str, Failure> {
    api.recorder.journal().fact(Seq(1))?;
    Ok("ok\n")
}
