//! The read API: the reports of the pages as JSON. Amounts and quantities are decimal strings.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shared::ids::{AccountNo, Capture, ItemNo};
use shared::time::Month;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::desk::{Desk, DeskError};
use super::pages::{Filter, numbered};
use super::whose::{Company, Whose};
use super::{Desks, ask, live};
use crate::report::cost::CostReport;
use crate::report::dashboard::Dashboard;
use crate::report::fact::FactReport;
use crate::report::group::GroupReport;
use crate::report::ledger::{AccountLedger, TrialBalance};
use crate::report::month::MonthReport;
use crate::report::open_items::OpenItems;
use crate::report::set_aside::SetAside;
use crate::report::stock::{ItemLedger, StockBalance};
use crate::report::voucher::{VoucherList, VoucherReport};

/// Every report, with its OpenAPI document.
pub(super) fn router() -> OpenApiRouter<Desks> {
    OpenApiRouter::new()
        .routes(routes!(dashboard))
        .routes(routes!(vouchers))
        .routes(routes!(voucher))
        .routes(routes!(fact))
        .routes(routes!(stock))
        .routes(routes!(item))
        .routes(routes!(cost))
        .routes(routes!(trial_balance))
        .routes(routes!(month))
        .routes(routes!(group))
        .routes(routes!(account))
        .routes(routes!(open_items))
        .routes(routes!(set_aside))
        .routes(routes!(in_doubt))
        .routes(routes!(live::events))
}

/// What went wrong, for programs.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct Problem {
    /// The sentence to show.
    error: String,
}

impl IntoResponse for DeskError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(Problem { error: self.to_string() })).into_response()
    }
}

type Answer<T> = Result<Json<T>, DeskError>;

/// Stock value, freshness of the sites, latest vouchers.
#[utoipa::path(get, path = "/api/reports/dashboard", tag = "read", params(Company),
    responses((status = 200, body = Dashboard)))]
async fn dashboard(Whose(desk): Whose) -> Answer<Dashboard> {
    ask(&desk, Desk::dashboard).await.map(Json)
}

/// Vouchers, newest first.
#[utoipa::path(get, path = "/api/reports/vouchers", tag = "read",
    params(Company, ("month" = Option<String>, Query, description = "only this month: 2026-11"),
        ("page" = Option<u64>, Query, description = "from 1")),
    responses((status = 200, body = VoucherList)))]
async fn vouchers(Whose(desk): Whose, Query(filter): Query<Filter>) -> Answer<VoucherList> {
    ask(&desk, move |desk| desk.vouchers(filter.month(), filter.page())).await.map(Json)
}

/// One voucher with its lines and the facts behind it.
#[utoipa::path(get, path = "/api/reports/vouchers/{id}", tag = "read",
    params(Company, ("id" = String, Path)),
    responses((status = 200, body = VoucherReport), (status = 404, body = Problem)))]
async fn voucher(Whose(desk): Whose, Path(id): Path<String>) -> Answer<VoucherReport> {
    ask(&desk, move |desk| desk.voucher(&id)).await.map(Json)
}

/// One signed fact: fields, place in its chain, seal, vouchers.
#[utoipa::path(get, path = "/api/reports/facts/{capture}", tag = "read",
    params(Company, ("capture" = String, Path, example = "3-1042")),
    responses((status = 200, body = FactReport), (status = 404, body = Problem)))]
async fn fact(Whose(desk): Whose, Path(capture): Path<String>) -> Answer<FactReport> {
    let found = ask(&desk, move |desk| {
        let missing = || DeskError::NotFound { what: "fact", key: capture.clone() };
        desk.fact(capture.parse::<Capture>().map_err(|_| missing())?)
    });
    found.await.map(Json)
}

/// What is on hand and what it is worth.
#[utoipa::path(get, path = "/api/reports/stock", tag = "read",
    params(Company, ("site" = Option<u32>, Query, description = "only this site"),
        ("q" = Option<String>, Query, description = "part of an item's code or name"),
        ("at" = Option<String>, Query, description = "at the end of this day: 2026-11-24"),
        ("known_at" = Option<String>, Query, description = "as HQ knew it at the end of this day"),
        ("page" = Option<u64>, Query, description = "from 1")),
    responses((status = 200, body = StockBalance)))]
async fn stock(Whose(desk): Whose, Query(filter): Query<Filter>) -> Answer<StockBalance> {
    let found = ask(&desk, move |desk| desk.stock(filter.stock(), filter.page()));
    found.await.map(Json)
}

/// How the cost of an item came to be, step by step.
#[utoipa::path(get, path = "/api/reports/costs/{no}", tag = "read",
    params(Company, ("no" = u32, Path, description = "the item"),
        ("site" = Option<u32>, Query, description = "the site, where each costs its own goods"),
        ("lot" = Option<String>, Query, description = "the lot, where each is costed by itself"),
        ("at" = Option<String>, Query, description = "up to the end of this day: 2026-11-24"),
        ("known_at" = Option<String>, Query, description = "as HQ knew it at the end of this day"),
        ("page" = Option<u64>, Query, description = "from 1; the last one when absent")),
    responses((status = 200, body = CostReport), (status = 404, body = Problem)))]
async fn cost(
    Whose(desk): Whose,
    Path(number): Path<String>,
    Query(filter): Query<Filter>,
) -> Answer<CostReport> {
    let found = ask(&desk, move |desk| {
        let item = ItemNo(numbered("item", &number)?);
        desk.cost(&filter.cost(item), filter.known_at())
    });
    found.await.map(Json)
}

/// One item's movements with the running balance.
#[utoipa::path(get, path = "/api/reports/items/{no}", tag = "read",
    params(Company, ("no" = u32, Path), ("site" = Option<u32>, Query, description = "only this site"),
        ("page" = Option<u64>, Query, description = "from 1; the last one when absent")),
    responses((status = 200, body = ItemLedger), (status = 404, body = Problem)))]
async fn item(
    Whose(desk): Whose,
    Path(number): Path<String>,
    Query(filter): Query<Filter>,
) -> Answer<ItemLedger> {
    let found = ask(&desk, move |desk| {
        desk.item(ItemNo(numbered("item", &number)?), filter.site(), filter.page())
    });
    found.await.map(Json)
}

/// Opening balance, turnover and closing balance of every account.
#[utoipa::path(get, path = "/api/reports/trial-balance", tag = "read",
    params(Company, ("from" = Option<String>, Query, description = "first month: 2026-11"),
        ("to" = Option<String>, Query, description = "last month: 2026-11")),
    responses((status = 200, body = TrialBalance)))]
async fn trial_balance(Whose(desk): Whose, Query(filter): Query<Filter>) -> Answer<TrialBalance> {
    ask(&desk, move |desk| desk.trial_balance(filter.months())).await.map(Json)
}

/// A month as it stands in the ledger, beside what it would have been had everything been known.
#[utoipa::path(get, path = "/api/reports/months/{month}", tag = "read",
    params(Company, ("month" = String, Path, description = "YEAR-MONTH: 2026-11")),
    responses((status = 200, body = MonthReport), (status = 404, body = Problem)))]
async fn month(Whose(desk): Whose, Path(month): Path<String>) -> Answer<MonthReport> {
    let found = ask(&desk, move |desk| {
        let missing = || DeskError::NotFound { what: "month", key: month.clone() };
        desk.month(month.parse::<Month>().map_err(|_| missing())?)
    });
    found.await.map(Json)
}

/// All companies as one: what goods cost the group, and what one company sold to another.
#[utoipa::path(get, path = "/api/reports/group", tag = "read",
    params(Company, ("page" = Option<u64>, Query, description = "from 1")),
    responses((status = 200, body = GroupReport)))]
async fn group(Whose(desk): Whose, Query(filter): Query<Filter>) -> Answer<GroupReport> {
    ask(&desk, move |desk| desk.group(filter.page())).await.map(Json)
}

/// One account's lines with the running balance.
#[utoipa::path(get, path = "/api/reports/accounts/{no}", tag = "read",
    params(Company, ("no" = u32, Path), ("from" = Option<String>, Query, description = "first month"),
        ("to" = Option<String>, Query, description = "last month"),
        ("page" = Option<u64>, Query, description = "from 1; the last one when absent")),
    responses((status = 200, body = AccountLedger), (status = 404, body = Problem)))]
async fn account(
    Whose(desk): Whose,
    Path(number): Path<String>,
    Query(filter): Query<Filter>,
) -> Answer<AccountLedger> {
    let found = ask(&desk, move |desk| {
        desk.account(AccountNo(numbered("account", &number)?), filter.months(), filter.page())
    });
    found.await.map(Json)
}

/// Receivables, payables and receipts not yet invoiced.
#[utoipa::path(get, path = "/api/reports/open-items", tag = "read",
    params(Company, ("partner" = Option<u32>, Query, description = "only this customer or supplier"),
        ("page" = Option<u64>, Query, description = "page of every list, from 1")),
    responses((status = 200, body = OpenItems)))]
async fn open_items(Whose(desk): Whose, Query(filter): Query<Filter>) -> Answer<OpenItems> {
    ask(&desk, move |desk| desk.open_items(filter.open())).await.map(Json)
}

/// Facts that wait because something they need is missing, and why.
#[utoipa::path(get, path = "/api/reports/set-aside", tag = "read",
    params(Company, ("page" = Option<u64>, Query, description = "from 1")),
    responses((status = 200, body = SetAside)))]
async fn set_aside(Whose(desk): Whose, Query(filter): Query<Filter>) -> Answer<SetAside> {
    ask(&desk, move |desk| desk.set_aside(filter.page())).await.map(Json)
}

/// Facts whose time is in doubt: they have a quantity and no value until a retime says when they
/// happened.
#[utoipa::path(get, path = "/api/reports/in-doubt", tag = "read",
    params(Company, ("page" = Option<u64>, Query, description = "from 1")),
    responses((status = 200, body = SetAside)))]
async fn in_doubt(Whose(desk): Whose, Query(filter): Query<Filter>) -> Answer<SetAside> {
    ask(&desk, move |desk| desk.in_doubt(filter.page())).await.map(Json)
}
