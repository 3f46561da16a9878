//! Calls of the API: over HTTP to the running server, or in memory over the opened store.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use super::CliError;
use crate::api::{self, Access};
use crate::clock::Clock;
use crate::headquarters::{Headquarters, HeadquartersError, token};
use crate::runtime::Running;
use crate::store::FileError;

/// How long the running server may take to answer: a bulk import posts as it goes.
const ANSWER: Duration = Duration::from_secs(600);

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
        format!("{path}{mark}company={}", super::path(company))
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
                let mut request = request.uri(format!("{base}{path}"));
                if let Some(token) = token {
                    request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
                }
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
        let answer = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        if status.is_success() {
            return Ok(answer);
        }
        let text =
            answer["error"].as_str().or(answer.as_str()).unwrap_or("refused without a reason");
        Err(CliError::Answer { status, text: text.to_owned() })
    }

    /// Lets go of the store.
    pub(super) fn close(self) {
        if let Way::Store { hq, .. } = self.way {
            self.runtime.block_on(hq.close());
        }
    }
}

fn usage(error: &dyn std::fmt::Display) -> CliError {
    CliError::Unanswered(format!(
        "the running server does not answer as expected ({error}): see its log, or start it again"
    ))
}

fn is_in_use(error: &HeadquartersError) -> bool {
    matches!(error, HeadquartersError::File(FileError::InUse))
}
