//! Whose books a reader sees: `?company=CODE`; on pages else the choice made before; else the first
//! company's.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::{HeaderName, HeaderValue, header, request::Parts};
use serde::Deserialize;
use utoipa::IntoParams;

use super::desk::{Desk, DeskError};
use super::{Desks, ask};
use crate::report::figure::Named;

const COOKIE: &str = "warebook_company";

/// As it stands in an address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Company {
    /// Whose books: a company's code; the first company's where absent.
    company: Option<String>,
}

/// The reports of the company that a program names.
pub(super) struct Whose(pub(super) Desks);

impl FromRequestParts<Desks> for Whose {
    type Rejection = DeskError;

    async fn from_request_parts(parts: &mut Parts, desk: &Desks) -> Result<Self, DeskError> {
        match named(parts) {
            None => Ok(Self(Arc::clone(desk))),
            Some(code) => of_company(desk, code).await.map(Self),
        }
    }
}

/// The reports of the company that a page's reader chose.
pub(super) struct Reader {
    pub(super) desk: Desks,
    /// Every company, the chosen one first.
    pub(super) companies: Vec<Named>,
    /// It was chosen in this address and is to be remembered.
    now: bool,
}

impl FromRequestParts<Desks> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, desk: &Desks) -> Result<Self, Infallible> {
        let (asked, before) = (named(parts), remembered(parts));
        let now = asked.is_some();
        // A company that is not there any more is no reason to show nothing.
        let chosen = match asked.or(before) {
            None => Arc::clone(desk),
            Some(code) => of_company(desk, code).await.unwrap_or_else(|_| Arc::clone(desk)),
        };
        let companies = ask(&chosen, |desk| Ok(desk.companies())).await.unwrap_or_default();
        Ok(Self { desk: chosen, companies, now })
    }
}

impl Reader {
    /// The header that remembers the choice.
    pub(super) fn cookie(&self) -> Option<(HeaderName, HeaderValue)> {
        let company = self.companies.first().filter(|_| self.now)?;
        let code = data_encoding::HEXLOWER.encode(company.code.as_bytes());
        let text = format!("{COOKIE}={code}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly");
        let value = HeaderValue::from_str(&text).expect("hex is plain ASCII");
        Some((header::SET_COOKIE, value))
    }
}

async fn of_company(desk: &Desks, code: String) -> Result<Desks, DeskError> {
    ask(desk, move |desk: &dyn Desk| {
        desk.of_company(&code).ok_or(DeskError::NotFound { what: "company", key: code })
    })
    .await
}

fn named(parts: &Parts) -> Option<String> {
    let Query(Company { company }) = Query::try_from_uri(&parts.uri).unwrap_or_default();
    company.filter(|code| !code.is_empty())
}

fn remembered(parts: &Parts) -> Option<String> {
    let cookies = parts.headers.get(header::COOKIE)?.to_str().ok()?;
    let code = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))?;
    String::from_utf8(data_encoding::HEXLOWER.decode(code.as_bytes()).ok()?).ok()
}
