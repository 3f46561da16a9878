//! One face for two ways to the log: through the running node's API, or by opening the folder.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::document::{DocumentId, DocumentKind};
use shared::ids::Seq;

use super::CliError;
use crate::api::documents::{
    self, DocumentLineView, EditInput, FigureInput, RefusedEditView, SharedDocumentView,
    SheetInput, SheetRecordedView,
};
use crate::api::views::{
    self, BackupView, BatchInput, BatchView, BundleTakenView, FoundView, HandledInput, ItemView,
    LogPage, Problem, ProblemView, RecordedView, StatusView, StockView, TransferView, VerifiedView,
};
use crate::bundle::{PIECE_BYTES, Since};
use crate::config::Config;
use crate::counting;
use crate::data_dir::DataDir;
use crate::import::Sink;
use crate::journal::BackupError;
use crate::record::{GroupInput, Origin};
use crate::runtime::Node;

const ITEMS_MAX: usize = 1_000;
/// How often a request whose answer was lost is sent again, with the same key.
const TRIES: usize = 3;

/// A way to the log.
pub(super) enum Access {
    /// A node runs.
    Api(Box<Client>),
    /// None runs: this process has the folder.
    Direct(Box<Node>),
}

/// Calls the API of the running node.
#[derive(Clone, Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
    config: Config,
}

impl Access {
    /// Finds the running node, or opens the folder.
    pub(super) fn open(data: &DataDir) -> Result<Self, CliError> {
        let config = Config::read(&data.config())?;
        if let Some(client) = Client::find(data, config)? {
            return Ok(Self::Api(Box::new(client)));
        }
        Ok(Self::Direct(Box::new(Node::open(data)?)))
    }

    /// Closes what was opened.
    pub(super) fn close(self) -> Result<(), CliError> {
        match self {
            Self::Api(_) => Ok(()),
            Self::Direct(node) => Ok(node.close_blocking()?),
        }
    }

    /// The zone of dates that state none.
    pub(super) fn zone(&self) -> jiff::tz::TimeZone {
        match self {
            Self::Api(client) => client.config.time_zone(),
            Self::Direct(node) => node.recorder.zone().clone(),
        }
    }

    pub(super) fn record(&self, group: &GroupInput) -> Result<RecordedView, CliError> {
        match self {
            Self::Api(client) => client.post("/v1/movements", group),
            Self::Direct(node) => {
                let groups = std::slice::from_ref(group);
                let answer = node.recorder.record_many_blocking(groups, Origin::Keeper);
                let answer = answer.into_iter().next().expect("one answer per group");
                let recorded =
                    answer.map_err(|refused| CliError::refused(Problem::of(&refused)))?;
                Ok(RecordedView::of(&recorded, &node.recorder))
            }
        }
    }

    pub(super) fn import_sink(&self) -> AccessSink<'_> {
        AccessSink { access: self, zone: self.zone() }
    }

    pub(super) fn stock(&self, item: Option<&str>) -> Result<Vec<StockView>, CliError> {
        match self {
            Self::Api(client) => client.get("/v1/stock", &[("item", item.map(str::to_owned))]),
            Self::Direct(node) => {
                Ok(views::stock(&node.recorder, node.journal().stock_blocking()?, item))
            }
        }
    }

    pub(super) fn log(&self, from: Option<u64>, count: usize) -> Result<LogPage, CliError> {
        match self {
            Self::Api(client) => {
                let query = [
                    ("from", from.map(|from| from.to_string())),
                    ("count", Some(count.to_string())),
                ];
                client.get("/v1/log", &query)
            }
            Self::Direct(node) => {
                let newest = node.journal().position().last.0.next_newest(count);
                Ok(views::log(&node.recorder, Seq(from.unwrap_or(newest)), count)?)
            }
        }
    }

    pub(super) fn items(&self, search: Option<&str>) -> Result<Vec<ItemView>, CliError> {
        match self {
            Self::Api(client) => client.get("/v1/items", &[("search", search.map(str::to_owned))]),
            Self::Direct(node) => Ok(views::items(&node.recorder, search.unwrap_or(""), ITEMS_MAX)),
        }
    }

    /// Items at HQ; only a running node has a link.
    pub(super) fn items_at_hq(&self, search: &str) -> Result<FoundView, CliError> {
        self.client()?.get("/v1/items/at-hq", &[("search", Some(search.to_owned()))])
    }

    pub(super) fn take_items(&self, codes: &[String]) -> Result<HandledInput, CliError> {
        self.client()?.post("/v1/items/handled", &HandledInput { items: codes.to_vec() })
    }

    fn client(&self) -> Result<&Client, CliError> {
        match self {
            Self::Api(client) => Ok(client),
            Self::Direct(_) => {
                let message =
                    "no node runs here, so there is no link to HQ: start it with 'edge-node run'";
                Err(CliError::new(4, "not_ready", message))
            }
        }
    }

    pub(super) fn transfers(&self) -> Result<Vec<TransferView>, CliError> {
        match self {
            Self::Api(client) => client.get("/v1/transfers", &[]),
            Self::Direct(node) => Ok(views::transfers(&node.recorder)),
        }
    }

    pub(super) fn status(&self) -> Result<StatusView, CliError> {
        match self {
            Self::Api(client) => client.get("/v1/status", &[]),
            Self::Direct(node) => Ok(views::status(&node.recorder, &node.documents, None, None)?),
        }
    }

    pub(super) fn verify(&self) -> Result<VerifiedView, CliError> {
        match self {
            Self::Api(client) => client.post("/v1/verify", &()),
            Self::Direct(node) => {
                let verified = node.journal().verify();
                let damaged =
                    |fault: crate::journal::Fault| CliError::new(5, "damaged", fault.to_string());
                Ok(verified.map_err(damaged)?.into())
            }
        }
    }

    pub(super) fn backup(&self, to: &Path) -> Result<BackupView, CliError> {
        match self {
            Self::Api(client) => {
                if to.exists() {
                    return Err(BackupError::Exists(to.to_owned()).into());
                }
                let made: BackupView = client.post("/v1/backups", &())?;
                move_file(Path::new(&made.file), to)?;
                Ok(BackupView { file: to.display().to_string(), ..made })
            }
            Self::Direct(node) => {
                let made = node.journal().backup_blocking(to)?;
                Ok(BackupView {
                    file: to.display().to_string(),
                    log: made.log.to_string(),
                    last: made.last.0,
                    bytes: made.bytes,
                })
            }
        }
    }

    /// Writes what HQ does not have.
    pub(super) fn bundle_out(&self, since: Since, out: &mut dyn Write) -> Result<(), CliError> {
        match self {
            Self::Api(client) => client.bundle(since, out),
            Self::Direct(node) => {
                let refused = |error| CliError::refused(Problem::of_export(&error));
                let export = node.bundles.export(since).map_err(refused)?;
                export.write(out).map(drop).map_err(refused)
            }
        }
    }

    /// Takes HQ's answer.
    pub(super) fn bundle_in(&self, mut file: File) -> Result<BundleTakenView, CliError> {
        match self {
            Self::Api(client) => client.send("/v1/bundle", &file),
            Self::Direct(node) => {
                let imported = node.bundles.import(&mut file);
                let refused = |error| CliError::refused(Problem::of_import(&error));
                Ok(BundleTakenView::of(&imported.map_err(refused)?, &node.recorder))
            }
        }
    }

    pub(super) fn documents(
        &self,
        kind: Option<DocumentKind>,
    ) -> Result<Vec<DocumentLineView>, CliError> {
        match self {
            Self::Api(client) => {
                let kind = kind.map(|kind| kind.word().to_owned());
                client.get("/v1/shared", &[("kind", kind)])
            }
            Self::Direct(node) => Ok(documents::list(&node.documents, kind)?),
        }
    }

    pub(super) fn document(&self, id: &str) -> Result<SharedDocumentView, CliError> {
        match self {
            Self::Api(client) => client.get(&shared_path(id)?, &[]),
            Self::Direct(node) => shown(node, found(node, id)?),
        }
    }

    pub(super) fn document_edit(
        &self,
        id: &str,
        edit: &EditInput,
    ) -> Result<SharedDocumentView, CliError> {
        match self {
            Self::Api(client) => client.post(&shared_path(id)?, edit),
            Self::Direct(node) => {
                let id = found(node, id)?;
                documents::edit(&node.recorder, &node.documents, id, edit).map_err(refused)?;
                shown(node, id)
            }
        }
    }

    pub(super) fn refused_edits(&self) -> Result<Vec<RefusedEditView>, CliError> {
        match self {
            Self::Api(client) => client.get("/v1/shared-refused", &[]),
            Self::Direct(node) => Ok(documents::refused(&node.recorder, &node.documents)?),
        }
    }

    pub(super) fn sheet_begin(&self, sheet: &SheetInput) -> Result<SharedDocumentView, CliError> {
        match self {
            Self::Api(client) => client.post("/v1/count-sheets", sheet),
            Self::Direct(node) => {
                let begun = documents::begin_sheet(&node.recorder, &node.documents, &sheet.title);
                shown(node, begun.map_err(refused)?)
            }
        }
    }

    pub(super) fn sheet_figure(
        &self,
        id: &str,
        figure: &FigureInput,
    ) -> Result<SharedDocumentView, CliError> {
        match self {
            Self::Api(client) => {
                let path = format!("/v1/count-sheets/{}/figures", checked_name(id)?);
                client.post(&path, figure)
            }
            Self::Direct(node) => {
                let id = found(node, id)?;
                documents::put_figure(&node.recorder, &node.documents, id, figure)
                    .map_err(refused)?;
                shown(node, id)
            }
        }
    }

    pub(super) fn sheet_record(&self, id: &str) -> Result<SheetRecordedView, CliError> {
        match self {
            Self::Api(client) => {
                let path = format!("/v1/count-sheets/{}/record", checked_name(id)?);
                client.post(&path, &())
            }
            Self::Direct(node) => {
                let id = found(node, id)?;
                let recorded = counting::record_blocking(&node.recorder, &node.documents, id);
                let captures = recorded.map_err(refused)?;
                let captures = captures.iter().map(ToString::to_string).collect();
                Ok(SheetRecordedView { captures })
            }
        }
    }

    /// Writes every journal document; the files made.
    pub(super) fn export(&self, to: &Path) -> Result<Vec<PathBuf>, CliError> {
        let documents = match self {
            Self::Api(client) => client.documents(self.verify()?.documents.len())?,
            Self::Direct(node) => {
                node.journal().seal_now_blocking()?;
                let exported = node.journal().export_documents();
                exported.map_err(|error| CliError::new(5, "damaged", error.to_string()))?
            }
        };
        if documents.is_empty() {
            return Err(CliError::failed("the log is empty: there is no document to export yet"));
        }
        let write = |(chunk, bytes): (u64, Vec<u8>)| {
            let file = numbered(to, chunk);
            let mut options = std::fs::OpenOptions::new();
            let made = options.write(true).create_new(true).open(&file);
            let mut out = made.map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    CliError::from(BackupError::Exists(file.clone()))
                }
                _ => CliError::failed(format!("{} can't be made: {error}", file.display())),
            })?;
            std::io::Write::write_all(&mut out, &bytes)?;
            Ok(file)
        };
        documents.into_iter().map(write).collect()
    }
}

/// What the node refuses of a document.
fn refused(error: impl std::fmt::Display) -> CliError {
    CliError::new(3, "document", error.to_string())
}

fn no_document(id: &str) -> CliError {
    let text = format!("there is no document '{id}': see 'edge-node document list'");
    CliError::new(1, "not_found", text)
}

fn found(node: &Node, id: &str) -> Result<DocumentId, CliError> {
    documents::find(&node.documents, id).ok_or_else(|| no_document(id))
}

fn shown(node: &Node, id: DocumentId) -> Result<SharedDocumentView, CliError> {
    let view = documents::show(&node.recorder, &node.documents, id)?;
    view.ok_or_else(|| no_document(&id.to_string()))
}

/// A name as it may stand in a path: no other is one.
fn checked_name(id: &str) -> Result<&str, CliError> {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-');
    if !id.is_empty() && id.bytes().all(may_be) { Ok(id) } else { Err(no_document(id)) }
}

fn shared_path(id: &str) -> Result<String, CliError> {
    Ok(format!("/v1/shared/{}", checked_name(id)?))
}

/// The first place of the newest `count` facts.
trait Newest {
    fn next_newest(self, count: usize) -> u64;
}

impl Newest for u64 {
    fn next_newest(self, count: usize) -> u64 {
        (self + 1).saturating_sub(count as u64).max(1)
    }
}

fn numbered(file: &Path, chunk: u64) -> PathBuf {
    if chunk == 0 {
        return file.to_owned();
    }
    let ending = file.extension().map(|ending| ending.to_string_lossy().into_owned());
    let ending = ending.map_or_else(|| chunk.to_string(), |ending| format!("{chunk}.{ending}"));
    file.with_extension(ending)
}

fn move_file(from: &Path, to: &Path) -> std::io::Result<()> {
    if std::fs::rename(from, to).is_ok() {
        return Ok(());
    }
    // Another file system: copy, then remove.
    std::fs::copy(from, to)?;
    std::fs::remove_file(from)
}

impl Client {
    /// The running node's API, if it answers.
    fn find(data: &DataDir, config: Config) -> Result<Option<Self>, CliError> {
        let Some(mut address) = data.read_address() else { return Ok(None) };
        if address.ip().is_unspecified() {
            let loopback: std::net::IpAddr = if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            };
            address.set_ip(loopback);
        }
        let token = match &config.api_token_file {
            None => None,
            Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
                CliError::failed(format!(
                    "the token file {} can't be read: {error}",
                    file.display()
                ))
            })?),
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(2)))
            .build();
        let client = Self {
            agent: agent.into(),
            base: format!("http://{address}"),
            token: token.map(|token| token.trim().to_owned()),
            config,
        };
        // A file of a process that died, or a port that somebody else has since.
        let alive = client.agent.get(format!("{}/livez", client.base)).call();
        Ok(alive.is_ok_and(|answer| answer.status() == 200).then_some(client))
    }

    fn authorization(&self) -> String {
        self.token.as_ref().map_or_else(String::new, |token| format!("Bearer {token}"))
    }

    fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<T, CliError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in query {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        if self.token.is_some() {
            request = request.header("authorization", self.authorization());
        }
        read(request.call().map_err(|error| unreachable_node(&error))?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        let mut tries = 1;
        loop {
            let mut request = self.agent.post(format!("{}{path}", self.base));
            if self.token.is_some() {
                request = request.header("authorization", self.authorization());
            }
            match request.send_json(body) {
                Ok(answer) => return read(answer),
                // The same key makes it harmless to ask again.
                Err(_) if tries < TRIES => tries += 1,
                Err(error) => return Err(unreachable_node(&error)),
            }
        }
    }

    /// Sends a file, once: what is in it may be taken only in part when the answer is lost, and
    /// sending it again is harmless.
    fn send<T: DeserializeOwned>(&self, path: &str, file: &File) -> Result<T, CliError> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if self.token.is_some() {
            request = request.header("authorization", self.authorization());
        }
        let request = request.content_type("application/octet-stream");
        read(request.send(file).map_err(|error| unreachable_node(&error))?)
    }

    fn bundle(&self, since: Since, out: &mut dyn Write) -> Result<(), CliError> {
        let mut request = self.agent.get(format!("{}/v1/bundle", self.base));
        if let Since::Fact(after) = since {
            request = request.query("after", after.to_string());
        }
        if self.token.is_some() {
            request = request.header("authorization", self.authorization());
        }
        let answer = request.call().map_err(|error| unreachable_node(&error))?;
        if answer.status() != 200 {
            return read::<()>(answer);
        }
        let mut body = answer.into_body().into_reader();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = body.read(&mut piece).map_err(|error| unreachable_node(&error))?;
            if length == 0 {
                return Ok(());
            }
            out.write_all(&piece[..length])?;
        }
    }

    fn documents(&self, count: usize) -> Result<Vec<(u64, Vec<u8>)>, CliError> {
        let mut documents = Vec::new();
        // The seal that export makes may begin one more chunk than was verified.
        for chunk in 0..=count as u64 {
            let mut request = self.agent.get(format!("{}/v1/documents/{chunk}", self.base));
            if self.token.is_some() {
                request = request.header("authorization", self.authorization());
            }
            let answer = request.call().map_err(|error| unreachable_node(&error))?;
            if answer.status() == 404 {
                break;
            }
            if answer.status() != 200 {
                return read::<()>(answer).map(|()| Vec::new());
            }
            let mut bytes = Vec::new();
            answer.into_body().into_reader().read_to_end(&mut bytes)?;
            documents.push((chunk, bytes));
        }
        Ok(documents)
    }
}

fn unreachable_node(error: &dyn std::fmt::Display) -> CliError {
    CliError::failed(format!(
        "the running node does not answer ({error}): see its log, or start it again"
    ))
}

fn read<T: DeserializeOwned>(answer: ureq::http::Response<ureq::Body>) -> Result<T, CliError> {
    let status = answer.status();
    let mut body = answer.into_body();
    let body = body.with_config().limit(64 << 20);
    if status.is_success() {
        return body.read_json().map_err(|error| unreachable_node(&error));
    }
    let text = body.read_to_string().unwrap_or_default();
    Err(match serde_json::from_str::<ProblemView>(&text) {
        Ok(view) => CliError::refused(view.error),
        Err(_) => CliError::failed(format!("the running node answers {status}: {text}")),
    })
}

/// Where an import's groups go.
pub(super) struct AccessSink<'a> {
    access: &'a Access,
    zone: jiff::tz::TimeZone,
}

impl Sink for AccessSink<'_> {
    fn record(&self, groups: Vec<GroupInput>) -> Result<Vec<Result<bool, Problem>>, CliError> {
        match self.access {
            Access::Api(client) => {
                let view: BatchView = client.post("/v1/batches", &BatchInput { groups })?;
                let outcome = |outcome: views::BatchOutcome| match (outcome.recorded, outcome.error)
                {
                    (Some(recorded), _) => Ok(recorded.already_recorded),
                    (None, Some(problem)) => Err(problem),
                    (None, None) => Err(Problem {
                        code: "bug".to_owned(),
                        message: "the node gave no outcome".to_owned(),
                        line: None,
                    }),
                };
                Ok(view.outcomes.into_iter().map(outcome).collect())
            }
            Access::Direct(node) => {
                let answers = node.recorder.record_many_blocking(&groups, Origin::Import);
                let outcome = |answer: Result<crate::journal::Recorded, crate::record::Refused>| {
                    answer.map(|recorded| recorded.again).map_err(|refused| Problem::of(&refused))
                };
                Ok(answers.into_iter().map(outcome).collect())
            }
        }
    }

    fn zone(&self) -> &jiff::tz::TimeZone {
        &self.zone
    }
}
