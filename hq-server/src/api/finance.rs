//! Invoices and payments over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use shared::fact::statement::Stamp;
use shared::ids::{Capture, DeviceNo, Seq};
use shared::time::Day;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::master::{Recorded, recorded};
use super::problem::ApiError;
use super::whose::{Company, Whose};
use crate::headquarters::Headquarters;
use crate::own_log::{
    AllocationDraft, Desk, DiscountDraft, FinanceError, Group, InvoiceDraft, InvoiceLineDraft,
    PaymentDraft, RetimeDraft,
};

/// An invoice, either side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceBody {
    /// The partner's code.
    pub partner: String,
    /// The invoice's number.
    #[serde(default)]
    pub document: Option<String>,
    /// Its date, YEAR-MONTH-DAY; today where absent.
    #[serde(default)]
    pub date: Option<String>,
    /// When it is due.
    #[serde(default)]
    pub due: Option<String>,
    /// The currency of its prices; that of the books where absent. For suppliers' documents.
    #[serde(default)]
    pub currency: Option<String>,
    /// Its lines.
    pub lines: Vec<InvoiceLineBody>,
}

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceLineBody {
    /// The receipt or the shipment it invoices.
    #[schema(example = "3-1042")]
    pub of: String,
    /// How much; all of it where absent.
    #[serde(default)]
    pub quantity: Option<String>,
    /// The unit of the quantity; the item's base unit where absent.
    #[serde(default)]
    pub unit: Option<String>,
    /// The price of one unit, without tax.
    pub price: String,
}

/// Money in from a customer or out to a supplier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentBody {
    /// The partner's code.
    pub partner: String,
    /// `in` or `out`.
    pub direction: String,
    /// How much.
    pub amount: String,
    /// The bank or cash account's code; the mapping decides where absent.
    #[serde(default)]
    pub account: Option<String>,
    /// The bank statement's number.
    #[serde(default)]
    pub document: Option<String>,
    /// The bank's date, YEAR-MONTH-DAY; today where absent.
    #[serde(default)]
    pub date: Option<String>,
    /// What it settles.
    #[serde(default)]
    pub allocations: Vec<AllocationBody>,
    /// What the supplier lets the company off for early payment, bill by bill.
    #[serde(default)]
    pub discounts: Vec<AllocationBody>,
}

/// What a supplier lets the company off for early payment of a bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscountBody {
    /// The bill: one of its lines.
    #[schema(example = "1-77")]
    pub of: String,
    /// How much less is owed for it; its lines share that by value.
    pub amount: String,
    /// The number of the supplier's note.
    #[serde(default)]
    pub document: Option<String>,
    /// Its date, YEAR-MONTH-DAY; today where absent.
    #[serde(default)]
    pub date: Option<String>,
}

/// Part of a payment that settles an open item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AllocationBody {
    /// The invoice or priced sale.
    #[schema(example = "1-77")]
    pub of: String,
    /// How much.
    pub amount: String,
}

/// What never happened, or was told twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidBody {
    /// The fact: a movement, a document or a payment.
    #[schema(example = "3-1042")]
    pub of: String,
    /// Why: a reason's code.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Two facts that are one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SameAsBody {
    /// The one that has no effect any more.
    #[schema(example = "5-12")]
    pub dropped: String,
    /// The one that has.
    #[schema(example = "3-1042")]
    pub kept: String,
}

/// When facts in doubt happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetimeBody {
    /// The site's code.
    #[schema(example = "EAST")]
    pub site: String,
    /// The installation's number, where more than one of the site has such facts.
    #[serde(default)]
    pub device: Option<u32>,
    /// The first fact, by its place in the site's log.
    #[schema(example = 118)]
    pub from: u64,
    /// The last one; the first alone where absent.
    #[serde(default)]
    pub to: Option<u64>,
    /// When they happened, in the company's zone.
    #[schema(example = "2026-11-24T16:30")]
    pub at: String,
    /// Why: a reason's code.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A branch that a person has compared with the log that it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RulingBody {
    /// The branch's installation number.
    pub device: u32,
}

/// Every address of this file.
pub(super) fn router() -> OpenApiRouter<Headquarters> {
    OpenApiRouter::new()
        .routes(routes!(supplier_invoice))
        .routes(routes!(customer_invoice))
        .routes(routes!(supplier_credit))
        .routes(routes!(payment))
        .routes(routes!(discount))
        .routes(routes!(allocate))
        .routes(routes!(void))
        .routes(routes!(same_as))
        .routes(routes!(retime))
        .routes(routes!(rule))
}

pub(super) async fn state(
    hq: &Headquarters,
    whose: Whose,
    make: impl FnOnce(&Desk<'_>, Capture) -> Result<Group, FinanceError>,
) -> Result<Json<Recorded>, ApiError> {
    state_all(hq, whose, |desk, next| Ok(vec![make(desk, next)?])).await
}

/// Records what the desk makes of a draft, each group by itself.
pub(super) async fn state_all(
    hq: &Headquarters,
    Whose(company): Whose,
    make: impl FnOnce(&Desk<'_>, Capture) -> Result<Vec<Group>, FinanceError>,
) -> Result<Json<Recorded>, ApiError> {
    let now = hq.clock().now();
    let done = hq.own_log().record(|published, next| {
        let ledgers = published.ledgers();
        let catalogue = published.catalogue();
        let desk = Desk::new(&catalogue, &ledgers.books, company, now)?;
        Ok::<_, FinanceError>((make(&desk, next)?, ()))
    });
    let (captures, ()) = done.await?;
    let Json(recorded) = recorded(&captures, Vec::new());
    Ok(Json(Recorded { waits: why_waiting(hq, &captures), ..recorded }))
}

/// Why facts that were just recorded wait, where they do.
fn why_waiting(hq: &Headquarters, captures: &[Capture]) -> Vec<String> {
    let ledgers = hq.published().ledgers();
    let is_new = |fact| Stamp::parse(fact).is_ok_and(|stamp| captures.contains(&stamp.capture));
    let waiting = ledgers.books.waiting().filter(|(_, group)| group.facts.iter().any(is_new));
    waiting.map(|(_, group)| ledgers.books.reason(group).to_string()).collect()
}

pub(super) fn day(written: Option<&String>) -> Result<Option<Day>, ApiError> {
    let day = written.map(|written| written.parse::<Day>()).transpose();
    day.map_err(|error| ApiError::refused(error.to_string()))
}

fn invoice(body: InvoiceBody) -> Result<InvoiceDraft, ApiError> {
    let line = |line: InvoiceLineBody| {
        let InvoiceLineBody { of, quantity, unit, price } = line;
        InvoiceLineDraft { of, quantity, unit, price }
    };
    Ok(InvoiceDraft {
        date: day(body.date.as_ref())?,
        due: day(body.due.as_ref())?,
        partner: body.partner,
        document: body.document,
        currency: body.currency,
        lines: body.lines.into_iter().map(line).collect(),
    })
}

/// Records a supplier's invoice for receipts.
#[utoipa::path(post, path = "/api/invoices/supplier", tag = "finance", request_body = InvoiceBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn supplier_invoice(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<InvoiceBody>,
) -> Result<Json<Recorded>, ApiError> {
    let draft = invoice(body)?;
    state(&hq, whose, |desk, _| desk.supplier_invoice(&draft)).await
}

/// Records a supplier's credit note for receipts.
#[utoipa::path(post, path = "/api/invoices/supplier-credit", tag = "finance",
    request_body = InvoiceBody,
    params(Company), responses((status = 200, body = Recorded)))]
async fn supplier_credit(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<InvoiceBody>,
) -> Result<Json<Recorded>, ApiError> {
    let draft = invoice(body)?;
    state(&hq, whose, |desk, _| desk.supplier_credit(&draft)).await
}

/// Records an invoice to a customer for shipments that were to be invoiced later.
#[utoipa::path(post, path = "/api/invoices/customer", tag = "finance", request_body = InvoiceBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn customer_invoice(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<InvoiceBody>,
) -> Result<Json<Recorded>, ApiError> {
    let draft = invoice(body)?;
    state(&hq, whose, |desk, _| desk.customer_invoice(&draft)).await
}

/// Records a payment and what it settles.
#[utoipa::path(post, path = "/api/payments", tag = "finance", request_body = PaymentBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn payment(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<PaymentBody>,
) -> Result<Json<Recorded>, ApiError> {
    let inward = match body.direction.as_str() {
        "in" => true,
        "out" => false,
        other => {
            let text = format!("'{other}' is no direction: write in (from a customer) or out");
            return Err(ApiError::refused(text));
        }
    };
    let draft = PaymentDraft {
        date: day(body.date.as_ref())?,
        partner: body.partner,
        inward,
        amount: body.amount,
        account: body.account,
        document: body.document,
        allocations: body.allocations.into_iter().map(allocation).collect(),
        discounts: body.discounts.into_iter().map(allocation).collect(),
    };
    state(&hq, whose, |desk, next| desk.payment(&draft, next)).await
}

fn allocation(body: AllocationBody) -> AllocationDraft {
    AllocationDraft { of: body.of, amount: body.amount }
}

/// Settles an open item with a payment that was recorded before.
#[utoipa::path(post, path = "/api/payments/{capture}/allocations", tag = "finance",
    request_body = AllocationBody,
    params(Company), responses((status = 200, body = Recorded)))]
async fn allocate(
    State(hq): State<Headquarters>,
    whose: Whose,
    Path(payment): Path<String>,
    Json(body): Json<AllocationBody>,
) -> Result<Json<Recorded>, ApiError> {
    let draft = allocation(body);
    state(&hq, whose, |desk, _| desk.allocate(&payment, &draft)).await
}

/// Records what a supplier lets the company off for early payment. By the company's policy of the day
/// the bill's goods cost less, or it is finance income.
#[utoipa::path(post, path = "/api/discounts", tag = "finance", request_body = DiscountBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn discount(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<DiscountBody>,
) -> Result<Json<Recorded>, ApiError> {
    let draft = DiscountDraft {
        date: day(body.date.as_ref())?,
        of: AllocationDraft { of: body.of, amount: body.amount },
        document: body.document,
    };
    state(&hq, whose, |desk, _| desk.cash_discount(&draft)).await
}

/// Makes a fact one that never happened, or that was told twice. What it posted is taken back in its
/// month while that is open. A void of a void brings back what that named.
#[utoipa::path(post, path = "/api/voids", tag = "finance", request_body = VoidBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn void(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<VoidBody>,
) -> Result<Json<Recorded>, ApiError> {
    state(&hq, whose, |desk, _| desk.void(&body.of, body.reason.as_deref())).await
}

/// Says that two facts are one event that was told twice: one of them has no effect any more.
#[utoipa::path(post, path = "/api/same-as", tag = "finance", request_body = SameAsBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn same_as(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<SameAsBody>,
) -> Result<Json<Recorded>, ApiError> {
    state(&hq, whose, |desk, _| desk.same_as(&body.dropped, &body.kept)).await
}

/// Says when facts happened that were recorded by a clock in doubt: from then on they have a value. Said
/// again it holds instead of what was said before.
#[utoipa::path(post, path = "/api/retimes", tag = "finance", request_body = RetimeBody,
    params(Company),
    responses((status = 200, body = Recorded)))]
async fn retime(
    State(hq): State<Headquarters>,
    whose: Whose,
    Json(body): Json<RetimeBody>,
) -> Result<Json<Recorded>, ApiError> {
    let (first, last) = (Seq(body.from), Seq(body.to.unwrap_or(body.from)));
    let device = body.device.map(DeviceNo);
    let RetimeBody { site, at, reason, .. } = body;
    let draft = RetimeDraft { site, device, logs: hq.logs_of_sites(), first, last, at, reason };
    state(&hq, whose, |desk, _| desk.retime(&draft)).await
}

/// Says that a branch was compared with the log that it leaves, and is not in doubt any more.
#[utoipa::path(post, path = "/api/rulings", tag = "finance", request_body = RulingBody,
    responses((status = 200, body = Recorded)))]
async fn rule(
    State(hq): State<Headquarters>,
    Json(body): Json<RulingBody>,
) -> Result<Json<Recorded>, ApiError> {
    let captures = hq.rule(DeviceNo(body.device)).await.map_err(ApiError::refused)?;
    Ok(recorded(&captures, Vec::new()))
}
