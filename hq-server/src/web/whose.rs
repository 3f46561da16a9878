//! Whose books a reader sees: `?company=CODE`; on pages else the choice made before; else the first
//! company's.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::{HeaderName, HeaderValue, header, request::Parts};
use serde::Deserialize;
use utoipa::IntoParams;

use super::desk::DeskError;
use super::{Desks, ask, cookie};
use crate::report::figure::Named;

const COOKIE: &str = "warebook_company";

/// As it stands in an address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Company {
    /// Whose books: a company's code; the first company's where absent.
    pub(crate) company: Option<String>,
}

/// The reports of the company that a program names.
pub(super) struct Whose(pub(super) Desks);

impl FromRequestParts<Desks> for Whose {
    type Rejection = DeskError;

    async fn from_request_parts(parts: &mut Parts, desk: &Desks) -> Result<Self, DeskError> {
        let Some(code) = named(parts) else { return Ok(Self(Arc::clone(desk))) };
        let missing = DeskError::NotFound { what: "company", key: code.clone() };
        ask(desk, move |desk| desk.of_company(&code).ok_or(missing)).await.map(Self)
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
        let found = ask(desk, move |desk| {
            let chosen = asked.or(before).and_then(|code| desk.of_company(&code));
            let companies = chosen.as_deref().unwrap_or(desk).companies();
            Ok((chosen, companies))
        });
        let (chosen, companies) = found.await.unwrap_or_default();
        Ok(Self { desk: chosen.unwrap_or_else(|| Arc::clone(desk)), companies, now })
    }
}

impl Reader {
    /// The header that remembers the choice.
    pub(super) fn cookie(&self) -> Option<(HeaderName, HeaderValue)> {
        let company = self.companies.first().filter(|_| self.now)?;
        let code = data_encoding::HEXLOWER.encode(company.code.as_bytes());
        Some(cookie::set(COOKIE, &code))
    }
}

fn named(parts: &Parts) -> Option<String> {
    let Query(Company { company }) = Query::try_from_uri(&parts.uri).unwrap_or_default();
    company.filter(|code| !code.is_empty())
}

fn remembered(parts: &Parts) -> Option<String> {
    let cookies = parts.headers.get(header::COOKIE)?.to_str().ok()?;
    let code = cookie::find(cookies, COOKIE)?;
    String::from_utf8(data_encoding::HEXLOWER.decode(code.as_bytes()).ok()?).ok()
}
