//! Exchange rates over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::ids::CompanyNo;
use shared::money::Currency;
use shared::time::{Day, Timestamp};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::finance::day;
use super::master::{Recorded, state};
use super::problem::ApiError;
use crate::books::Company;
use crate::headquarters::Headquarters;

/// What one unit of a currency costs in the currency of the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateBody {
    /// The other currency.
    #[schema(example = "USD")]
    pub currency: String,
    /// Units of the books' currency for one of it, taken exactly.
    #[schema(example = "7.1234")]
    pub rate: String,
    /// The first day it holds, YEAR-MONTH-DAY.
    pub from: String,
    /// The last day; the first where absent. A day that no rate covers has none.
    #[serde(default)]
    pub until: Option<String>,
    /// Whose books take it: a company's code; the first company where absent.
    #[serde(default)]
    pub company: Option<String>,
}

/// A rate as it was stated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RateLine {
    /// Whose books take it: the company's code.
    pub company: String,
    /// The other currency.
    pub currency: String,
    /// Units of the books' currency for one of it.
    pub rate: String,
    /// The first day it holds; absent where it holds from the beginning.
    pub from: Option<String>,
    /// The last day.
    pub until: String,
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new().routes(routes!(rate_list, rate_set))
}

/// Every rate as it was stated. Of those that cover a day the one that begins last counts.
#[utoipa::path(get, path = "/api/rates", tag = "master",
    responses((status = 200, body = Vec<RateLine>)))]
async fn rate_list(State(hq): State<Headquarters>) -> Json<Vec<RateLine>> {
    let ledgers = hq.published().ledgers();
    let settings = ledgers.books.settings();
    let of_company = |(no, company): (CompanyNo, &Company)| {
        let (code, zone) = (company.code.clone(), company.zone);
        let line =
            move |(currency, from, until, rate): (Currency, Timestamp, Timestamp, _)| RateLine {
                company: code.clone(),
                currency: currency.to_string(),
                rate: shared::quantity::Scaled::to_string(&rate),
                from: (from.0 != i64::MIN).then(|| from.day(zone).to_string()),
                until: Timestamp(until.0.saturating_sub(1)).day(zone).to_string(),
            };
        settings.rates(no).map(line)
    };
    Json(settings.companies().flat_map(of_company).collect())
}

/// Sets rates. What was stated in their currency on their days is converted again.
#[utoipa::path(post, path = "/api/rates", tag = "master", request_body = Vec<RateBody>,
    responses((status = 200, body = Recorded)))]
async fn rate_set(
    State(hq): State<Headquarters>,
    Json(bodies): Json<Vec<RateBody>>,
) -> Result<Json<Recorded>, ApiError> {
    let rates = bodies.iter().map(Stated::of).collect::<Result<Vec<_>, _>>()?;
    state(&hq, |draft| {
        for Stated { company, currency, rate, from, until } in rates {
            draft.of_company(company)?;
            draft.rate(currency, rate, from, until)?;
        }
        Ok(Vec::new())
    })
    .await
}

/// A rate that reads.
struct Stated<'a> {
    company: Option<&'a str>,
    currency: Currency,
    rate: &'a str,
    from: Day,
    until: Option<Day>,
}

impl<'a> Stated<'a> {
    fn of(body: &'a RateBody) -> Result<Self, ApiError> {
        let currency = body.currency.parse().map_err(|_| {
            let text = "is no currency: three capital letters, for example USD";
            ApiError::refused(format!("'{}' {text}", body.currency))
        })?;
        let from = body.from.parse::<Day>().map_err(|why| ApiError::refused(why.to_string()))?;
        let (company, until) = (body.company.as_deref(), day(body.until.as_ref())?);
        Ok(Self { company, currency, rate: &body.rate, from, until })
    }
}
