//! Closing and reopening months over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::fact::statement::PeriodStep;
use shared::time::Month;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::finance::state;
use super::master::Recorded;
use super::problem::ApiError;
use super::whose::{Company, Whose};
use crate::books::Area;
use crate::headquarters::Headquarters;
use crate::own_log::PeriodDraft;

/// A step of a ledger month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeriodBody {
    /// The month, YEAR-MONTH.
    #[schema(example = "2026-11")]
    pub month: String,
    /// `run_averages`; `close_trade`, `close_stock`, `close_open_items` or `close_ledger`: each
    /// also closes those before it and every earlier month; `reopen_` and one of these: also
    /// reopens those after it and every later month.
    pub step: String,
    /// Why: a reason's code. A reopening needs one.
    #[serde(default)]
    pub reason: Option<String>,
    /// Close stock or ledger although facts wait.
    #[serde(default)]
    pub despite_waiting: bool,
    /// Close stock or ledger although a site's log was continued twice.
    #[serde(default)]
    pub despite_doubt: bool,
}

/// How far months are closed. A voucher goes into the first month, not before its own, in which
/// everything that it touches is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeriodsState {
    /// The last closed month by area, in the order of closing.
    pub closed: Vec<ClosedLine>,
    /// The last month whose month-end averages are taken.
    pub averaged: Option<String>,
}

/// How far an area is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosedLine {
    /// `trade`, `stock`, `open_items` or `ledger`.
    pub area: String,
    /// The last closed month, YEAR-MONTH.
    pub through: Option<String>,
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new().routes(routes!(period_state, period_step))
}

/// How far months are closed.
#[utoipa::path(get, path = "/api/periods", tag = "finance", params(Company),
    responses((status = 200, body = PeriodsState)))]
async fn period_state(State(hq): State<Headquarters>, Whose(company): Whose) -> Json<PeriodsState> {
    let closed = hq.published().ledgers().books.closed(company);
    let written = |month: Option<Month>| month.map(|month| month.to_string());
    let line = |area: &Area| ClosedLine {
        area: area.word().to_owned(),
        through: written(closed.through(*area)),
    };
    let (closed, averaged) = (Area::ALL.iter().map(line).collect(), closed.averaged());
    Json(PeriodsState { closed, averaged: written(averaged) })
}

/// Takes a month's averages, closes it or reopens it.
#[utoipa::path(post, path = "/api/periods", tag = "finance", request_body = PeriodBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn period_step(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<PeriodBody>,
) -> Result<Json<Recorded>, ApiError> {
    let PeriodBody { month, step, reason, despite_waiting, despite_doubt } = body;
    let month = month.parse::<Month>().map_err(|_| {
        ApiError::refused(format!("'{month}' is no month: write YEAR-MONTH, for example 2026-11"))
    })?;
    let step = PeriodStep::from_word(&step).ok_or_else(|| {
        let words: Vec<_> = PeriodStep::ALL.iter().map(|step| step.word()).collect();
        let words = words.join(", ");
        ApiError::refused(format!("'{step}' is no step of a month: write one of {words}"))
    })?;
    let doubtful = hq.doubtful_sites();
    let draft = PeriodDraft { month, step, reason, despite_waiting, doubtful, despite_doubt };
    state(&hq, whose, |desk, _| desk.period(&draft)).await
}
