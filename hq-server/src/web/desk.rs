//! What pages and the read API ask of HQ. They know nothing else of it: neither store nor
//! sequencer, so that sample data can stand in for a whole installation.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::ids::{AccountNo, Capture, ItemNo, SiteNo};
use shared::time::{Day, Month};
use tokio::sync::broadcast;

use crate::report::cost::{CostFilter, CostReport};
use crate::report::dashboard::Dashboard;
use crate::report::documents::{DocumentList, DocumentShown};
use crate::report::fact::FactReport;
use crate::report::figure::Named;
use crate::report::group::GroupReport;
use crate::report::ledger::{AccountLedger, Months, TrialBalance};
use crate::report::month::MonthReport;
use crate::report::open_items::{OpenFilter, OpenItems};
use crate::report::set_aside::SetAside;
use crate::report::stock::{ItemLedger, StockBalance, StockFilter};
use crate::report::voucher::{VoucherList, VoucherReport};

/// Why a report can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// There is no such thing.
    #[error("there is no {what} {key}")]
    NotFound {
        /// What was asked for.
        what: &'static str,
        /// By which name.
        key: String,
    },
    /// The store can't be read.
    #[error("{0}")]
    Store(String),
}

/// Where the books stand: enough to see that a fact has been posted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Posted {
    /// The place in the sequence.
    pub position: u64,
    /// The sites that moved, or all of them at the start of a stream.
    pub sites: Vec<SitePosted>,
}

/// The last posted place of a site's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SitePosted {
    /// The site.
    #[schema(value_type = u32)]
    pub site: SiteNo,
    /// The first eight bytes of the log's id, in hex.
    pub log: String,
    /// The last place of the log that is posted.
    pub seq: u64,
}

/// What moved.
#[derive(Clone, Debug)]
pub enum Change {
    /// The books.
    Posted(Arc<Posted>),
    /// A site's connection, or what is known of it.
    Links,
}

/// The reports, as they stand at the moment of asking.
pub trait Desk: Send + Sync + 'static {
    /// The first page.
    fn dashboard(&self) -> Result<Dashboard, DeskError>;
    /// Vouchers, newest first.
    fn vouchers(&self, month: Option<Month>, page: u64) -> Result<VoucherList, DeskError>;
    /// One voucher by its name in addresses.
    fn voucher(&self, id: &str) -> Result<VoucherReport, DeskError>;
    /// One fact.
    fn fact(&self, capture: Capture) -> Result<FactReport, DeskError>;
    /// What is on hand.
    fn stock(&self, filter: StockFilter<'_>, page: u64) -> Result<StockBalance, DeskError>;
    /// How a cost came to be, as HQ knew it at the end of a day, or as it knows it now.
    fn cost(&self, filter: &CostFilter, known_at: Option<Day>) -> Result<CostReport, DeskError>;
    /// One item's movements; page 0 is the last one.
    fn item(&self, item: ItemNo, site: Option<SiteNo>, page: u64) -> Result<ItemLedger, DeskError>;
    /// Every account.
    fn trial_balance(&self, months: Months) -> Result<TrialBalance, DeskError>;
    /// A month as posted, and as it would be.
    fn month(&self, month: Month) -> Result<MonthReport, DeskError>;
    /// All companies as one.
    fn group(&self, page: u64) -> Result<GroupReport, DeskError>;
    /// One account's lines; page 0 is the last one.
    fn account(
        &self,
        account: AccountNo,
        months: Months,
        page: u64,
    ) -> Result<AccountLedger, DeskError>;
    /// What is owed.
    fn open_items(&self, filter: OpenFilter) -> Result<OpenItems, DeskError>;
    /// Facts that wait because something is missing.
    fn set_aside(&self, page: u64) -> Result<SetAside, DeskError>;
    /// Of those, facts whose time is in doubt.
    fn in_doubt(&self, page: u64) -> Result<SetAside, DeskError>;
    /// Shared documents, and changes of them that were refused.
    fn documents(&self, page: u64) -> Result<DocumentList, DeskError>;
    /// One shared document by its name.
    fn document(&self, name: &str) -> Result<DocumentShown, DeskError>;
    /// Every site, for filters.
    fn sites(&self) -> Vec<Named>;
    /// Every company, the one whose books these are first.
    fn companies(&self) -> Vec<Named>;
    /// The same over the books of another company, by its code.
    fn of_company(&self, code: &str) -> Option<Arc<dyn Desk>>;
    /// Where the books stand, with every site.
    fn posted(&self) -> Posted;
    /// Tells of every change from now on. Who falls behind asks [`Desk::posted`] again.
    fn changes(&self) -> broadcast::Receiver<Change>;
}
