//! Whose books a request speaks of: `?company=CODE`, the first company's where it names none.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use shared::ids::CompanyNo;

use super::problem::ApiError;
use crate::headquarters::Headquarters;
pub(super) use crate::web::Company;

/// The company that a request names, else the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose(pub(super) CompanyNo);

impl FromRequestParts<Headquarters> for Whose {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, hq: &Headquarters) -> Result<Self, ApiError> {
        let named = Query::<Company>::try_from_uri(&parts.uri);
        let Query(Company { company }) =
            named.map_err(|error| ApiError::refused(error.to_string()))?;
        let find = |code: String| {
            let catalogue = hq.published().catalogue();
            let found = catalogue.company_by_code(&code).map(|company| company.company);
            found.ok_or_else(|| {
                let text = format!("there is no company '{code}': see 'hq-server company list'");
                ApiError::missing(text)
            })
        };
        Ok(Self(company.map_or(Ok(CompanyNo::FIRST), find)?))
    }
}
