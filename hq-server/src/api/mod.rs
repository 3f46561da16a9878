//! HQ's HTTP interface: what commands and other programs ask and state. Knows no rule of its own:
//! every refusal comes from `own_log`, the authority or the intake; here it gets its status code.

mod access;
mod bundles;
mod companies;
mod costs;
mod documents;
mod finance;
mod installation;
mod master;
mod periods;
mod problem;
mod rates;
mod sites;
mod whose;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use access::Access;
pub use bundles::BundleReport;
pub use costs::{
    CostingBody, LandedCostBody, LandedOnBody, RevaluationBody, StandardCostBody, WriteDownBody,
};
pub use documents::DocumentEdit;
pub use finance::{
    AllocationBody, DiscountBody, InvoiceBody, InvoiceLineBody, PaymentBody, RetimeBody,
    RulingBody, SameAsBody, VoidBody,
};
pub use installation::{BackupBody, BackupReport, BranchLine, LogLine, Status};
pub use master::{
    AccountBody, AccountLine, CategoryBody, ItemBody, ItemLine, MappingBody, MappingGaps,
    MeasureBody, NamedLine, PartnerBody, PartnerLine, PolicyBody, PolicyLine, ReasonBody, Recorded,
    Setting, UnitBody,
};
pub use periods::{ClosedLine, PeriodBody, PeriodsState};
pub use problem::ApiError;
pub use rates::{RateBody, RateLine};
pub use sites::{HandledBody, SiteBody, SiteCode, SiteLine};

use crate::headquarters::Headquarters;
use crate::web;

/// The largest request: a bulk import of some ten thousand items.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "HQ",
        description = "Master data, invoices, payments, sites and reports. Amounts and quantities \
                       are decimal strings. Beyond this machine every request carries the token of \
                       api.token as 'Authorization: Bearer TOKEN'."
    ),
    tags(
        (name = "read", description = "Reports and the live stream"),
        (name = "master", description = "Items, partners, accounts, mapping, policies, rates"),
        (name = "finance", description = "Invoices, payments, closing of months"),
        (name = "costs", description = "Costing methods, landed cost, revaluations, standard costs, write-downs"),
        (name = "sites", description = "Warehouses and their installations"),
        (name = "documents", description = "What sites' people coordinate: transfers, orders, count sheets, notes"),
        (name = "installation", description = "Status, verification, backup")
    )
)]
struct Document;

/// Everything under one roof: pages, reports, and what changes master data.
pub fn router(hq: &Headquarters, access: Access) -> Router {
    let desk: Arc<dyn web::desk::Desk> = Arc::new(hq.desk());
    let (api, document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(master::router())
        .merge(companies::router())
        .merge(finance::router())
        .merge(costs::router())
        .merge(periods::router())
        .merge(rates::router())
        .merge(sites::router())
        .merge(bundles::router())
        .merge(documents::router())
        .merge(installation::router())
        .with_state(hq.clone())
        .merge(web::read_api(Arc::clone(&desk)))
        .split_for_parts();
    api.route("/openapi.json", get(move || async move { Json(document) }))
        .merge(web::pages(desk))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(access, access::check))
}
