//! Costing methods, landed cost, revaluations, standard costs and write-downs over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::fact::statement::CostMethod;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::finance::{day, state, state_all};
use super::master::Recorded;
use super::problem::ApiError;
use super::whose::{Company, Whose};
use crate::headquarters::Headquarters;
use crate::own_log::{
    LandedCostDraft, LandedOnDraft, PoolDraft, RevaluationDraft, StandardCostDraft, WriteDownDraft,
};

/// How goods are costed, in the company or in one category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CostingBody {
    /// `moving_average`, `month_end_average`, `fifo`, `standard`, `specific` or `lifo`.
    pub method: String,
    /// Only for this category.
    #[serde(default)]
    pub category: Option<String>,
    /// For all goods that ever moved: what they cost is computed again and the differences are
    /// posted. Otherwise from now on: what is there keeps its value, but goods that begin to be
    /// costed at standard are restated to the cost of their item.
    #[serde(default)]
    pub from_the_beginning: bool,
}

/// A bill of freight, duty or the like that belongs to receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LandedCostBody {
    /// How much, without tax; negative where it is taken back.
    pub amount: String,
    /// Its currency; that of the books where absent.
    #[serde(default)]
    pub currency: Option<String>,
    /// `quantity` (where absent), `value`, `weight` or `volume`.
    #[serde(default)]
    pub by: Option<String>,
    /// The receipts that share it. The last one takes what rounding leaves.
    pub receipts: Vec<LandedOnBody>,
    /// Whom it is owed to; accrued where absent.
    #[serde(default)]
    pub partner: Option<String>,
    /// The bill's number.
    #[serde(default)]
    pub document: Option<String>,
    /// Its date, YEAR-MONTH-DAY; today where absent.
    #[serde(default)]
    pub date: Option<String>,
    /// When it is due.
    #[serde(default)]
    pub due: Option<String>,
}

/// A receipt that shares in a bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LandedOnBody {
    /// The receipt.
    #[schema(example = "3-1042")]
    pub of: String,
    /// The weight or volume of all of it, where the bill is shared by that; what its item has
    /// where absent.
    #[serde(default)]
    pub weight: Option<String>,
}

/// An amount added to the value of what is on hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevaluationBody {
    /// The item's code.
    pub item: String,
    /// The site's code, where each site costs its own goods.
    #[serde(default)]
    pub site: Option<String>,
    /// The lot, where each lot is costed by itself.
    #[serde(default)]
    pub lot: Option<String>,
    /// How much; negative where it is taken off.
    pub amount: String,
    /// Only the goods of these receipts, where the method tells goods apart.
    #[serde(default)]
    pub receipts: Vec<String>,
    /// Why: a reason's code.
    #[serde(default)]
    pub reason: Option<String>,
    /// When, YEAR-MONTH-DAY; now where absent.
    #[serde(default)]
    pub date: Option<String>,
}

/// A new standard cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StandardCostBody {
    /// The item's code.
    pub item: String,
    /// The site's code; every site that ever had the item where absent.
    #[serde(default)]
    pub site: Option<String>,
    /// The lot, where each lot is costed by itself.
    #[serde(default)]
    pub lot: Option<String>,
    /// The cost of one base unit.
    pub cost: String,
    /// Why: a reason's code.
    #[serde(default)]
    pub reason: Option<String>,
    /// When, YEAR-MONTH-DAY; now where absent.
    #[serde(default)]
    pub date: Option<String>,
}

/// What goods are worth less on the market than they cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteDownBody {
    /// The item's code.
    pub item: String,
    /// The site's code, where each site costs its own goods.
    #[serde(default)]
    pub site: Option<String>,
    /// The lot, where each lot is costed by itself.
    #[serde(default)]
    pub lot: Option<String>,
    /// By how much; negative where earlier write-downs are taken back.
    pub amount: String,
    /// Why: a reason's code.
    #[serde(default)]
    pub reason: Option<String>,
    /// When, YEAR-MONTH-DAY; now where absent.
    #[serde(default)]
    pub date: Option<String>,
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new()
        .routes(routes!(costing_set))
        .routes(routes!(landed_cost))
        .routes(routes!(revaluation))
        .routes(routes!(standard_cost))
        .routes(routes!(write_down))
}

/// Sets how goods are costed.
#[utoipa::path(post, path = "/api/costing", tag = "costs", request_body = CostingBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn costing_set(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<CostingBody>,
) -> Result<Json<Recorded>, ApiError> {
    let method = CostMethod::from_word(&body.method).ok_or_else(|| {
        let words: Vec<_> = CostMethod::ALL.iter().map(|method| method.word()).collect();
        let words = words.join(", ");
        ApiError::refused(format!("'{}' is no costing method: write one of {words}", body.method))
    })?;
    let category = body.category.as_deref();
    state_all(&hq, whose, |desk, _| desk.costing(method, category, body.from_the_beginning)).await
}

/// Adds a bill to what receipts cost, and shares it among them.
#[utoipa::path(post, path = "/api/landed-costs", tag = "costs", request_body = LandedCostBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn landed_cost(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<LandedCostBody>,
) -> Result<Json<Recorded>, ApiError> {
    let receipt = |LandedOnBody { of, weight }| LandedOnDraft { of, weight };
    let draft = LandedCostDraft {
        date: day(body.date.as_ref())?,
        due: day(body.due.as_ref())?,
        amount: body.amount,
        currency: body.currency,
        by: body.by,
        receipts: body.receipts.into_iter().map(receipt).collect(),
        partner: body.partner,
        document: body.document,
    };
    state(&hq, whose, |desk, _| desk.landed_cost(&draft)).await
}

/// Adds an amount to the value of what is on hand.
#[utoipa::path(post, path = "/api/revaluations", tag = "costs", request_body = RevaluationBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn revaluation(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<RevaluationBody>,
) -> Result<Json<Recorded>, ApiError> {
    let RevaluationBody { item, site, lot, amount, receipts, reason, date } = body;
    let (pool, date) = (PoolDraft { item, site, lot }, day(date.as_ref())?);
    let draft = RevaluationDraft { pool, amount, receipts, reason, date };
    state(&hq, whose, |desk, _| desk.revaluation(&draft)).await
}

/// Sets a new standard cost and restates what is on hand to it.
#[utoipa::path(post, path = "/api/standard-costs", tag = "costs", request_body = StandardCostBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn standard_cost(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<StandardCostBody>,
) -> Result<Json<Recorded>, ApiError> {
    let StandardCostBody { item, site, lot, cost, reason, date } = body;
    let (pool, date) = (PoolDraft { item, site, lot }, day(date.as_ref())?);
    let draft = StandardCostDraft { pool, cost, reason, date };
    state(&hq, whose, |desk, _| desk.standard_cost(&draft)).await
}

/// Writes goods down to what they are worth on the market, or takes that back. What they cost stays.
#[utoipa::path(post, path = "/api/write-downs", tag = "costs", request_body = WriteDownBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn write_down(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<WriteDownBody>,
) -> Result<Json<Recorded>, ApiError> {
    let WriteDownBody { item, site, lot, amount, reason, date } = body;
    let (pool, date) = (PoolDraft { item, site, lot }, day(date.as_ref())?);
    let draft = WriteDownDraft { pool, amount, reason, date };
    state(&hq, whose, |desk, _| desk.write_down(&draft)).await
}
