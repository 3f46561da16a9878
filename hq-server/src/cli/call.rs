//! Calls of the API: over HTTP to the running server, or in memory over the opened store.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header, request};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;
use tower::ServiceExt as _;

use super::CliError;
use crate::address::encoded;
use crate::api::{self, Access};
use crate::clock::Clock;
use crate::gateway::bundle::PIECE_BYTES;
use crate::headquarters::{Headquarters, HeadquartersError, token};
use crate::runtime::Running;
use crate::store::FileError;

/// How long the running server may take to answer: a bulk import posts as it goes.
const ANSWER: Duration = Duration::from_secs(600);

/// What a bundle is sent as.
const BYTES: &str = "application/octet-stream";

/// The largest answer.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where calls go.
pub(super) struct Client<'a> {
    runtime: &'a Runtime,
    way: Way,
    /// Whose books are spoken of.
    company: Option<String>,
}

enum Way {
    Server { agent: ureq::Agent, base: String, token: Option<String> },
    Store { hq: Headquarters, router: Router },
}

impl<'a> Client<'a> {
    /// Finds the running server, else opens the store.
    pub(super) fn open(
        directory: &Path,
        company: Option<String>,
        runtime: &'a Runtime,
    ) -> Result<Self, CliError> {
        let opened = {
            let _inside = runtime.enter();
            Headquarters::open(directory, Clock::system())
        };
        let way = match opened {
            Ok(hq) => {
                runtime.block_on(hq.follow_newest_rules())?;
                let router = api::router(&hq, Access::Loopback);
                Way::Store { hq, router }
            }
            Err(error) if is_in_use(&error) => Self::server(directory)?,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { runtime, way, company })
    }

    fn server(directory: &Path) -> Result<Way, CliError> {
        let running = Running::read(directory).ok_or_else(|| {
            let text = "another command has the store open: wait until it ends, then try again";
            CliError::Unanswered(text.to_owned())
        })?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER))
            .build();
        let token = (!running.api.ip().is_loopback()).then(|| token(directory)).transpose();
        let token = token.map_err(HeadquartersError::from)?;
        Ok(Way::Server { agent: config.into(), base: running.base(), token })
    }

    /// The code of the company that was named.
    pub(super) fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, CliError> {
        self.call(&Method::GET, path, &Value::Null)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        self.call(&Method::POST, path, body)
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        self.call(&Method::PUT, path, body)
    }

    /// The number of a thing by its code, out of a list.
    pub(super) fn number(&self, list: &str, what: &str, code: &str) -> Result<String, CliError> {
        let lines = self.get(list)?;
        let found = lines.as_array().into_iter().flatten().find(|line| line["code"] == code);
        found.map(|line| line["number"].to_string()).ok_or_else(|| {
            CliError::Refused(format!("there is no {what} '{code}': see 'hq-server {what} list'"))
        })
    }

    /// An address with the company whose books are meant.
    fn address(&self, path: &str) -> String {
        let Some(company) = &self.company else { return path.to_owned() };
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("{path}{mark}company={}", encoded(company))
    }

    fn call(&self, method: &Method, path: &str, body: &Value) -> Result<Value, CliError> {
        let path = self.address(path);
        let request = Request::builder()
            .method(method)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, bytes) = match &self.way {
            Way::Server { agent, base, token } => {
                let request = with_token(request.uri(format!("{base}{path}")), token.as_deref());
                let request = request.body(text).map_err(|error| usage(&error))?;
                let answer = agent.run(request).map_err(|error| usage(&error))?;
                let status = answer.status();
                let mut body = answer.into_body();
                let limit = ANSWER_BYTES_MAX as u64;
                let bytes = body.with_config().limit(limit).read_to_vec();
                (status, bytes.map_err(|error| usage(&error))?)
            }
            Way::Store { router, .. } => {
                let request = request.uri(path).body(Body::from(text));
                let request = request.map_err(|error| usage(&error))?;
                let router = router.clone();
                self.runtime.block_on(async {
                    let answer = router.oneshot(request).await.expect("a router never fails");
                    let status = answer.status();
                    let bytes = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
                    bytes.map(|bytes| (status, bytes.to_vec())).map_err(|error| usage(&error))
                })?
            }
        };
        read(status, &bytes)
    }

    /// Sends a file, piece by piece.
    pub(super) fn send(&self, path: &str, file: File) -> Result<Value, CliError> {
        let request = Request::builder().method(Method::POST).header(header::CONTENT_TYPE, BYTES);
        match &self.way {
            Way::Server { agent, base, token } => {
                let request = with_token(request.uri(format!("{base}{path}")), token.as_deref());
                let request = request.body(file).map_err(|error| usage(&error))?;
                let answer = agent.run(request).map_err(|error| usage(&error))?;
                let status = answer.status();
                let mut body = answer.into_body();
                read(status, &body.read_to_vec().map_err(|error| usage(&error))?)
            }
            Way::Store { router, .. } => {
                let body = Body::from_stream(tokio_stream::iter(Pieces { file }));
                let request = request.uri(path).body(body).map_err(|error| usage(&error))?;
                let router = router.clone();
                let (status, bytes) = self.runtime.block_on(async {
                    let answer = router.oneshot(request).await.expect("a router never fails");
                    let status = answer.status();
                    let bytes = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
                    bytes.map(|bytes| (status, bytes)).map_err(|error| usage(&error))
                })?;
                read(status, &bytes)
            }
        }
    }

    /// Writes an answer's bytes, piece by piece.
    pub(super) fn fetch(&self, path: &str, out: &mut dyn Write) -> Result<(), CliError> {
        let request = Request::builder().method(Method::GET);
        match &self.way {
            Way::Server { agent, base, token } => {
                let request = with_token(request.uri(format!("{base}{path}")), token.as_deref());
                let request = request.body(()).map_err(|error| usage(&error))?;
                let answer = agent.run(request).map_err(|error| usage(&error))?;
                let status = answer.status();
                let mut body = answer.into_body();
                if !status.is_success() {
                    return read(status, &body.read_to_vec().map_err(|error| usage(&error))?)
                        .map(drop);
                }
                let mut body = body.into_reader();
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    let length = body.read(&mut piece).map_err(|error| usage(&error))?;
                    if length == 0 {
                        return Ok(());
                    }
                    out.write_all(&piece[..length]).map_err(|error| unwritten(&error))?;
                }
            }
            Way::Store { router, .. } => {
                let request =
                    request.uri(path).body(Body::empty()).map_err(|error| usage(&error))?;
                let router = router.clone();
                self.runtime.block_on(async {
                    let answer = router.oneshot(request).await.expect("a router never fails");
                    let status = answer.status();
                    if !status.is_success() {
                        let bytes = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
                        return read(status, &bytes.map_err(|error| usage(&error))?).map(drop);
                    }
                    let mut pieces = answer.into_body().into_data_stream();
                    while let Some(piece) = pieces.next().await {
                        let piece = piece.map_err(|error| usage(&error))?;
                        out.write_all(&piece).map_err(|error| unwritten(&error))?;
                    }
                    Ok(())
                })
            }
        }
    }

    /// Lets go of the store.
    pub(super) fn close(self) {
        if let Way::Store { hq, .. } = self.way {
            self.runtime.block_on(hq.close());
        }
    }
}

fn with_token(request: request::Builder, token: Option<&str>) -> request::Builder {
    match token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    }
}

/// The answer, or why there is none.
fn read(status: StatusCode, bytes: &[u8]) -> Result<Value, CliError> {
    let answer = serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()));
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer["error"].as_str().or(answer.as_str()).unwrap_or("refused without a reason");
    Err(CliError::Answer { status, text: text.to_owned() })
}

/// A file as it is sent.
struct Pieces {
    file: File,
}

impl Iterator for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = vec![0; PIECE_BYTES];
        match self.file.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some(Ok(piece))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

fn unwritten(error: &io::Error) -> CliError {
    CliError::Refused(format!("the file can't be written: {error}"))
}

fn usage(error: &dyn std::fmt::Display) -> CliError {
    CliError::Unanswered(format!(
        "the running server does not answer as expected ({error}): see its log, or start it again"
    ))
}

fn is_in_use(error: &HeadquartersError) -> bool {
    matches!(error, HeadquartersError::File(FileError::InUse))
}
