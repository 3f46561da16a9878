//! Shared documents over HTTP: shown with every value that people have to settle, edited, and what
//! HQ refused. Knows no file.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::document::{
    DocumentId, DocumentKey, DocumentKind, ToSettle, Value, count_sheet, field, transfer,
};
use shared::ids::Capture;
use utoipa::{IntoParams, ToSchema};

use super::views::{ProblemView, moment};
use super::{Api, Body, Failure, blocking};
use crate::counting::{self, SheetError};
use crate::documents::{ChangeError, DocumentState, Documents};
use crate::journal::StoreError;
use crate::record::Recorder;

/// A document in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentLineView {
    /// Its name.
    #[schema(example = "transfer:3-1042:5:7")]
    pub id: String,
    /// `transfer`, `order`, `count-sheet`, `notes`.
    pub kind: String,
    /// HQ may begin the next one.
    pub generation: u32,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How far a transfer has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// How many changes it has.
    pub changes: usize,
    /// How many of them HQ did not decide on.
    pub waiting: usize,
    /// How many things a person has to settle in it.
    pub conflicts: usize,
}

/// A value that somebody put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValueView {
    /// The text.
    pub text: String,
    /// The code of the site that put it; `HQ`.
    pub site: String,
    /// The installation.
    pub device: u32,
    /// When, by its clock.
    pub at: String,
    /// HQ did not decide on it yet.
    pub waiting: bool,
}

/// What is said at a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldView {
    /// The key.
    pub key: String,
    /// The code of the item that the key is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// What the key is for, where this program knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// The one that holds first; more where people did not know of each other.
    pub values: Vec<ValueView>,
    /// A person has to settle.
    pub conflict: bool,
}

/// A line of a count sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SheetLineView {
    /// The item's code.
    pub item: String,
    /// Lot or batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    /// Figures, by counter.
    pub counts: Vec<CountView>,
    /// `differs`, `agreed`, `settled` or `recorded`.
    pub standing: String,
    /// The figure agreed or settled on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figure: Option<String>,
    /// The facts that were recorded.
    pub recorded: Vec<String>,
}

/// A counter's figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountView {
    /// Who counted.
    pub counter: String,
    /// The figure, with where it was put.
    #[serde(flatten)]
    pub value: ValueView,
}

/// A line of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GoodsView {
    /// The ship movement.
    pub ship: String,
    /// The item's code.
    pub item: String,
    /// How much was shipped.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// Lot or batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    /// What was received of it: movement, quantity, unit.
    pub received: Vec<String>,
}

/// A document as this node has it: HQ's, with its own waiting edits on top.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SharedDocumentView {
    /// As in lists.
    #[serde(flatten)]
    pub line: DocumentLineView,
    /// Every key but those of lines below.
    pub fields: Vec<FieldView>,
    /// A count sheet's lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sheet: Vec<SheetLineView>,
    /// A transfer's lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goods: Vec<GoodsView>,
}

/// A text to put at a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutInput {
    /// The key.
    #[schema(example = "carrier")]
    pub key: String,
    /// The text; it replaces all that are seen there.
    pub text: String,
}

/// An edit: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditInput {
    /// Up to 128 puts.
    pub puts: Vec<PutInput>,
}

/// A sheet to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SheetInput {
    /// What it is called.
    pub title: String,
}

/// A figure of a counter, or one to settle on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FigureInput {
    /// The item's code.
    pub item: String,
    /// Lot or batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    /// Who counted; absent to settle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<String>,
    /// The figure, in the item's unit.
    pub figure: String,
}

/// An edit that HQ refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedEditView {
    /// The document.
    pub id: String,
    /// When this node heard of it.
    pub at: String,
    /// Why.
    pub reason: String,
    /// What it would have put: key and text.
    pub puts: Vec<PutInput>,
}

/// The facts that a sheet became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SheetRecordedView {
    /// Their capture ids.
    pub captures: Vec<String>,
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            error => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "document", error.to_string()),
        }
    }
}

impl From<SheetError> for Failure {
    fn from(error: SheetError) -> Self {
        match error {
            SheetError::Document(error) => error.into(),
            SheetError::Unknown(_) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string())
            }
            error => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "document", error.to_string()),
        }
    }
}

fn unknown(text: &str) -> Failure {
    let message = format!("there is no document '{text}': see 'edge-node document list'");
    Failure::new(StatusCode::NOT_FOUND, "not_found", message)
}

/// The document that a text names: its name, the beginning of one, or `notes` for this site's.
pub fn find(documents: &Documents, text: &str) -> Option<DocumentId> {
    if let Ok(id) = text.parse() {
        return Some(id);
    }
    if text == DocumentKind::SiteNotes.word() {
        return Some(DocumentId::SiteNotes { site: documents.owner().site });
    }
    let beginning = format!("{text}:");
    let mut names = documents.names(None).into_iter().map(|key| key.id);
    names.find(|id| id.to_string().starts_with(&beginning))
}

fn value(recorder: &Recorder, state: &DocumentState, value: Value) -> ValueView {
    let at = value.put_at();
    let site = value.actor.site();
    let catalogue = recorder.journal().catalogue();
    let code = catalogue.site(site).map(|site| site.code.clone());
    let hq = (site == shared::ids::SiteNo::HQ).then(|| "HQ".to_owned());
    ValueView {
        text: value.text,
        site: hq.or(code).unwrap_or_else(|| site.to_string()),
        device: value.actor.device().0,
        at: moment(at, recorder.offset(at)),
        waiting: state.waiting.contains(&value.change),
    }
}

fn line(key: DocumentKey, state: &DocumentState) -> DocumentLineView {
    let replica = &state.replica;
    let is_transfer = key.id.kind() == DocumentKind::Transfer;
    DocumentLineView {
        id: key.id.to_string(),
        kind: key.id.kind().to_string(),
        generation: key.generation,
        title: replica.text(field::TITLE),
        progress: is_transfer.then(|| transfer::progress(replica).word().to_owned()),
        changes: replica.len() - 1,
        waiting: state.waiting.len(),
        conflicts: ToSettle::of(replica).things,
    }
}

/// Documents in a list.
pub fn list(
    documents: &Documents,
    kind: Option<DocumentKind>,
) -> Result<Vec<DocumentLineView>, StoreError> {
    let mut lines = Vec::new();
    for key in documents.names(kind) {
        if let Some(state) = documents.get(key.id)? {
            lines.push(line(key, &state));
        }
    }
    Ok(lines)
}

/// A document whole; `None` where it is not here.
pub fn show(
    recorder: &Recorder,
    documents: &Documents,
    id: DocumentId,
) -> Result<Option<SharedDocumentView>, StoreError> {
    let Some(state) = documents.get(id)? else { return Ok(None) };
    let replica = &state.replica;
    let key = replica.key();
    let is_of_lines = |key: &&String| {
        [field::LINE, field::RECEIVED, field::COUNT, field::SETTLED, field::RECORDED]
            .iter()
            .any(|beginning| key.starts_with(beginning))
    };
    let keys = replica.keys();
    let fields = keys.iter().filter(|key| !is_of_lines(key)).map(|name| FieldView {
        key: name.clone(),
        item: item_of(recorder, id.kind(), name),
        meaning: field::of(id.kind(), name).map(|field| field.meaning.to_owned()),
        conflict: replica.conflict(name).is_some(),
        values: replica
            .values(name)
            .into_iter()
            .map(|found| value(recorder, &state, found))
            .take(if replica.conflict(name).is_some() { usize::MAX } else { 1 })
            .collect(),
    });
    Ok(Some(SharedDocumentView {
        line: line(key, &state),
        fields: fields.collect(),
        sheet: sheet(recorder, &state),
        goods: goods(recorder, &state),
    }))
}

/// The item that a note's key is about.
fn item_of(recorder: &Recorder, kind: DocumentKind, key: &str) -> Option<String> {
    let number = key.strip_prefix(field::ITEM).filter(|_| kind == DocumentKind::SiteNotes)?;
    Some(item(recorder, shared::ids::ItemNo(number.parse().ok()?)))
}

fn item(recorder: &Recorder, item: shared::ids::ItemNo) -> String {
    let catalogue = recorder.journal().catalogue();
    catalogue.item(item).map_or_else(|| item.to_string(), |item| item.code.clone())
}

fn sheet(recorder: &Recorder, state: &DocumentState) -> Vec<SheetLineView> {
    use count_sheet::Standing;
    let lines = count_sheet::lines(&state.replica).into_iter();
    let view = |(bucket, line): (count_sheet::Bucket, count_sheet::SheetLine)| {
        let (standing, figure) = match line.standing() {
            Some(Standing::Differs) => ("differs", None),
            Some(Standing::Agreed(figure)) => ("agreed", Some(figure)),
            Some(Standing::Settled(figure)) => ("settled", Some(figure)),
            Some(Standing::Recorded) => ("recorded", None),
            None => ("no figure", None),
        };
        SheetLineView {
            item: item(recorder, bucket.item),
            lot: bucket.lot,
            counts: line
                .counts
                .into_iter()
                .map(|(counter, count)| CountView { counter, value: value(recorder, state, count) })
                .collect(),
            standing: standing.to_owned(),
            figure: figure.map(|figure| figure.to_string()),
            recorded: line.recorded.into_iter().map(|value| value.text).collect(),
        }
    };
    lines.map(view).collect()
}

fn goods(recorder: &Recorder, state: &DocumentState) -> Vec<GoodsView> {
    let received = transfer::received(&state.replica);
    let view = |line: transfer::Line| GoodsView {
        received: received
            .iter()
            .filter(|one| one.ship == line.ship)
            .map(|one| format!("{}: {} {}", one.receive, one.quantity, one.unit))
            .collect(),
        ship: line.ship.to_string(),
        item: item(recorder, line.item),
        quantity: line.quantity,
        unit: line.unit,
        lot: line.lot,
    };
    transfer::lines(&state.replica).into_iter().map(view).collect()
}

/// Edits that HQ refused.
pub fn refused(
    recorder: &Recorder,
    documents: &Documents,
) -> Result<Vec<RefusedEditView>, StoreError> {
    let view = |row: crate::documents::RefusedRow| {
        let puts = shared::document::Change::read(&row.bytes).map(|change| change.puts);
        let put = |put: shared::document::Put| PutInput { key: put.key, text: put.text };
        RefusedEditView {
            id: row.key.id.to_string(),
            at: moment(row.at, recorder.offset(row.at)),
            reason: row.reason,
            puts: puts.unwrap_or_default().into_iter().map(put).collect(),
        }
    };
    Ok(documents.refused()?.into_iter().map(view).collect())
}

/// Puts texts at keys. Of a note on an item the key names its code; what is kept is its number.
pub fn edit(
    recorder: &Recorder,
    documents: &Documents,
    id: DocumentId,
    edit: &EditInput,
) -> Result<(), InputError> {
    let catalogue = recorder.journal().catalogue();
    let key = |put: &PutInput| {
        let code = put.key.strip_prefix(field::ITEM);
        let Some(code) = code.filter(|_| id.kind() == DocumentKind::SiteNotes) else {
            return Ok(put.key.clone());
        };
        let item = catalogue.item_by_code(code);
        let item = item.ok_or_else(|| InputError::UnknownItem(code.to_owned()))?.item;
        Ok(format!("{}{item}", field::ITEM))
    };
    let keys = edit.puts.iter().map(key).collect::<Result<Vec<_>, InputError>>()?;
    let texts = edit.puts.iter().map(|put| put.text.clone());
    let puts: Vec<_> = keys.iter().map(String::as_str).zip(texts).collect();
    Ok(documents.edit(id, recorder.now(), &puts)?)
}

/// Begins a sheet: its name.
pub fn begin_sheet(
    recorder: &Recorder,
    documents: &Documents,
    title: &str,
) -> Result<DocumentId, ChangeError> {
    let owner = documents.owner();
    let number = |key: &DocumentKey| match key.id {
        DocumentId::CountSheet { sheet, .. } if sheet.device == owner.device => Some(sheet.counter),
        _ => None,
    };
    let names = documents.names(Some(DocumentKind::CountSheet));
    let last = names.iter().filter_map(number).max().unwrap_or(0);
    let sheet = Capture { device: owner.device, counter: last + 1 };
    let id = DocumentId::CountSheet { site: owner.site, sheet };
    documents.edit(id, recorder.now(), &[(field::TITLE, title.to_owned())])?;
    Ok(id)
}

/// Why something is not put in a document.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// No such item.
    #[error("there is no item '{0}': see 'edge-node items'")]
    UnknownItem(String),
    /// No figure.
    #[error("{0}")]
    Figure(#[from] shared::decimal::DecimalError),
    /// A counter's name that can't be part of a key.
    #[error("'{0}' can't be a counter's name: write a name without '/'")]
    Counter(String),
    /// The document.
    #[error("{0}")]
    Change(#[from] ChangeError),
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Change(error) => error.into(),
            error => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "document", error.to_string()),
        }
    }
}

/// Puts a counter's figure, or the one that a person settles on.
pub fn put_figure(
    recorder: &Recorder,
    documents: &Documents,
    id: DocumentId,
    input: &FigureInput,
) -> Result<(), InputError> {
    let catalogue = recorder.journal().catalogue();
    let item = catalogue.item_by_code(&input.item);
    let item = item.ok_or_else(|| InputError::UnknownItem(input.item.clone()))?.item;
    let figure = shared::decimal::parse(&input.figure)?;
    let bucket = count_sheet::Bucket { item, lot: input.lot.clone() };
    let key = match &input.counter {
        Some(name) if name.is_empty() || name.contains('/') => {
            return Err(InputError::Counter(name.clone()));
        }
        Some(name) => bucket.count_key(name),
        None => bucket.settled_key(),
    };
    Ok(documents.edit(id, recorder.now(), &[(key.as_str(), figure.to_string())])?)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct KindQuery {
    /// `transfer`, `order`, `count-sheet`, `notes`.
    kind: Option<String>,
}

pub(crate) fn kind_of(text: Option<&str>) -> Result<Option<DocumentKind>, String> {
    let Some(text) = text else { return Ok(None) };
    let found = DocumentKind::ALL.into_iter().find(|kind| kind.word() == text);
    let words = DocumentKind::ALL.map(DocumentKind::word).join(", ");
    found.map(Some).ok_or_else(|| format!("'{text}' is no kind of document: there are {words}"))
}

/// Shared documents of this site.
#[utoipa::path(get, path = "/v1/shared", params(KindQuery), responses((status = 200, body = [DocumentLineView])))]
pub(super) async fn shared_list(
    State(api): State<Api>,
    Query(query): Query<KindQuery>,
) -> Result<Json<Vec<DocumentLineView>>, Failure> {
    let kind = kind_of(query.kind.as_deref())
        .map_err(|why| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", why))?;
    Ok(Json(blocking(move || Ok(list(&api.documents, kind)?)).await?))
}

fn found(api: &Api, text: &str) -> Result<DocumentId, Failure> {
    find(&api.documents, text).ok_or_else(|| unknown(text))
}

fn shown(api: &Api, id: DocumentId) -> Result<SharedDocumentView, Failure> {
    show(&api.recorder, &api.documents, id)?.ok_or_else(|| unknown(&id.to_string()))
}

/// A shared document. A name may be cut after its number: `transfer:3-1042`.
#[utoipa::path(get, path = "/v1/shared/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = SharedDocumentView), (status = 404, body = ProblemView),
))]
pub(super) async fn shared_show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<SharedDocumentView>, Failure> {
    let view = blocking(move || {
        let id = found(&api, &id)?;
        shown(&api, id)
    });
    Ok(Json(view.await?))
}

/// Put texts at keys of a shared document, which begins with it where it is not here. When this
/// answers, it is durable; HQ decides later.
#[utoipa::path(post, path = "/v1/shared/{id}", params(("id" = String, Path)), request_body = EditInput, responses(
    (status = 200, body = SharedDocumentView), (status = 422, body = ProblemView),
))]
pub(super) async fn shared_edit(
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(input): Body<EditInput>,
) -> Result<Json<SharedDocumentView>, Failure> {
    let view = blocking(move || {
        let id = found(&api, &id)?;
        edit(&api.recorder, &api.documents, id, &input)?;
        shown(&api, id)
    });
    Ok(Json(view.await?))
}

/// Edits that HQ refused, the newest first.
#[utoipa::path(get, path = "/v1/shared-refused", responses((status = 200, body = [RefusedEditView])))]
pub(super) async fn shared_refused(
    State(api): State<Api>,
) -> Result<Json<Vec<RefusedEditView>>, Failure> {
    Ok(Json(blocking(move || Ok(refused(&api.recorder, &api.documents)?)).await?))
}

/// Begin a count sheet.
#[utoipa::path(post, path = "/v1/count-sheets", request_body = SheetInput, responses(
    (status = 200, body = SharedDocumentView), (status = 422, body = ProblemView),
))]
pub(super) async fn sheet_begin(
    State(api): State<Api>,
    Body(input): Body<SheetInput>,
) -> Result<Json<SharedDocumentView>, Failure> {
    let view = blocking(move || {
        let id = begin_sheet(&api.recorder, &api.documents, &input.title)?;
        shown(&api, id)
    });
    Ok(Json(view.await?))
}

/// Put a counter's figure in a sheet, or the one that a person settles on.
#[utoipa::path(post, path = "/v1/count-sheets/{id}/figures", params(("id" = String, Path)),
    request_body = FigureInput, responses(
    (status = 200, body = SharedDocumentView), (status = 422, body = ProblemView),
))]
pub(super) async fn sheet_figure(
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(input): Body<FigureInput>,
) -> Result<Json<SharedDocumentView>, Failure> {
    let view = blocking(move || {
        let id = found(&api, &id)?;
        put_figure(&api.recorder, &api.documents, id, &input)?;
        shown(&api, id)
    });
    Ok(Json(view.await?))
}

/// Record what people agreed or settled on as counts.
#[utoipa::path(post, path = "/v1/count-sheets/{id}/record", params(("id" = String, Path)), responses(
    (status = 200, body = SheetRecordedView), (status = 422, body = ProblemView),
))]
pub(super) async fn sheet_record(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<SheetRecordedView>, Failure> {
    let view = blocking(move || {
        let id = found(&api, &id)?;
        let captures = counting::record_blocking(&api.recorder, &api.documents, id)?;
        Ok(SheetRecordedView { captures: captures.iter().map(ToString::to_string).collect() })
    });
    Ok(Json(view.await?))
}
