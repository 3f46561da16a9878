//! Companies over HTTP: further ones beside the first, each with a chart of accounts of its own. Items,
//! partners, categories and reasons all companies share.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::fact::statement::CostScope;
use shared::time::OffsetMinutes;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::master::{Recorded, state};
use super::problem::ApiError;
use crate::chart;
use crate::headquarters::Headquarters;

/// A new company.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompanyBody {
    /// Its code.
    pub code: String,
    /// Its name; the code where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// The currency of its books.
    #[schema(example = "HKD")]
    pub currency: String,
    /// Its zone, minutes ahead of UTC: decides days and ledger months.
    #[serde(default)]
    pub utc_offset: i16,
    /// Goods of one item share one cost in the whole company, not site by site.
    #[serde(default)]
    pub one_cost: bool,
    /// Its chart of accounts.
    #[serde(default = "generic")]
    pub chart: String,
}

fn generic() -> String {
    chart::GENERIC.name.to_owned()
}

/// A company as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct CompanyLine {
    /// Its number.
    pub number: u32,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// The currency of its books.
    pub currency: String,
    /// Goods of one item share one cost in the whole company.
    pub one_cost: bool,
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new().routes(routes!(company_list, company_add))
}

/// Every company.
#[utoipa::path(get, path = "/api/companies", tag = "master",
    responses((status = 200, body = Vec<CompanyLine>)))]
async fn company_list(State(hq): State<Headquarters>) -> Json<Vec<CompanyLine>> {
    let catalogue = hq.published().catalogue();
    let line = |company: &shared::catalogue::Company| CompanyLine {
        number: company.company.0,
        code: company.code.clone(),
        name: company.name.clone(),
        currency: company.currency.to_string(),
        one_cost: company.scope == CostScope::Company,
    };
    Json(catalogue.companies().map(line).collect())
}

/// Adds a company with its chart of accounts and complete mapping.
#[utoipa::path(post, path = "/api/companies", tag = "master", request_body = CompanyBody,
    responses((status = 200, body = Recorded), (status = 409, description = "the code is taken")))]
async fn company_add(
    State(hq): State<Headquarters>,
    Json(body): Json<CompanyBody>,
) -> Result<Json<Recorded>, ApiError> {
    let currency = body.currency.parse().map_err(|_| {
        let text = "is no currency: three capital letters, for example HKD";
        ApiError::refused(format!("'{}' {text}", body.currency))
    })?;
    let chart = chart::find(&body.chart).ok_or_else(|| {
        let names: Vec<_> = chart::CHARTS.iter().map(|chart| chart.name).collect();
        ApiError::refused(format!("charts are: {}", names.join(", ")))
    })?;
    let scope = if body.one_cost { CostScope::Company } else { CostScope::Site };
    let (zone, name) = (OffsetMinutes(body.utc_offset), body.name.as_ref().unwrap_or(&body.code));
    state(&hq, |draft| {
        let company = draft.company(&body.code, name, currency, zone, scope)?;
        draft.chart(chart)?;
        Ok(vec![company.0])
    })
    .await
}
