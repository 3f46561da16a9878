//! The pages: one handler and one template each. Every page is a plain address that works with
//! links and forms alone; scripts only add life.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use shared::ids::{AccountNo, Capture, ItemNo, PartnerNo, SiteNo};
use shared::time::{Day, Month};

use super::chart::Chart;
use super::desk::{Desk, DeskError};
use super::language::Chosen;
use super::whose::Reader;
use super::{Desks, ask, assets};
use crate::address::encoded;
use crate::report::cost::CostFilter;
use crate::report::dashboard::Dashboard;
use crate::report::documents::{DocumentList, DocumentShown};
use crate::report::fact::FactReport;
use crate::report::figure::{Figure, Named};
use crate::report::ledger::{AccountLedger, AccountLine, Months, TrialBalance};
use crate::report::open_items::{AGE_BUCKETS, OpenFilter, OpenItems};
use crate::report::set_aside::SetAside;
use crate::report::stock::{ItemLedger, StockBalance, StockFilter};
use crate::report::voucher::{VoucherList, VoucherReport};
use crate::report::words::{Language, Words};

/// A part of the site, in the order of the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Dashboard,
    Vouchers,
    Stock,
    Accounts,
    OpenItems,
    Documents,
    Sites,
}

impl Section {
    const ALL: [Self; 7] = [
        Self::Dashboard,
        Self::Vouchers,
        Self::Stock,
        Self::Accounts,
        Self::OpenItems,
        Self::Documents,
        Self::Sites,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::Dashboard => "/",
            Self::Vouchers => "/vouchers",
            Self::Stock => "/stock",
            Self::Accounts => "/accounts",
            Self::OpenItems => "/open-items",
            Self::Documents => "/documents",
            Self::Sites => "/sites",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Dashboard => "nav-dashboard",
            Self::Vouchers => "nav-vouchers",
            Self::Stock => "nav-stock",
            Self::Accounts => "nav-accounts",
            Self::OpenItems => "nav-open-items",
            Self::Documents => "nav-documents",
            Self::Sites => "nav-sites",
        }
    }
}

/// What stands around every page.
struct Frame {
    language: Language,
    /// Every company, the one whose books are shown first.
    companies: Vec<Named>,
    section: Section,
    here: Uri,
    live: bool,
}

#[expect(clippy::unused_self, clippy::trivially_copy_pass_by_ref, reason = "called by templates")]
impl Frame {
    fn asset(&self, name: &str) -> String {
        assets::address(name)
    }

    fn sections(&self) -> impl Iterator<Item = &'static Section> {
        Section::ALL.iter()
    }

    fn other_languages(&self) -> impl Iterator<Item = Language> {
        let mine = self.language;
        Language::ALL.into_iter().filter(move |language| *language != mine)
    }

    /// The company whose books are shown, where there is more than one.
    fn company(&self) -> Option<&Named> {
        self.companies.first().filter(|_| self.companies.len() > 1)
    }

    fn other_companies(&self) -> &[Named] {
        self.companies.get(1..).unwrap_or_default()
    }

    /// The same part of the site over another company's books.
    fn address_of(&self, company: &Named) -> String {
        let here = self.section.path().parse().expect("a path is an address");
        with_parameter(&here, "company", &encoded(&company.code))
    }

    fn address_in(&self, language: &Language) -> String {
        with_parameter(&self.here, "lang", language.tag())
    }
}

/// This address with one parameter set.
fn with_parameter(here: &Uri, name: &str, value: &str) -> String {
    let others = here.query().unwrap_or_default().split('&').filter(|pair| {
        !pair.is_empty() && pair.split('=').next().is_some_and(|found| found != name)
    });
    let mut address = format!("{}?", here.path());
    for pair in others {
        address.push_str(pair);
        address.push('&');
    }
    address.push_str(name);
    address.push('=');
    address.push_str(value);
    address
}

/// Leads from one part of a long list to the next.
struct Pager {
    here: Uri,
    page: u64,
    pages: u64,
}

impl Pager {
    fn before(&self) -> Option<String> {
        (self.page > 1).then(|| with_parameter(&self.here, "page", &(self.page - 1).to_string()))
    }

    fn after(&self) -> Option<String> {
        let next = self.page + 1;
        (next <= self.pages).then(|| with_parameter(&self.here, "page", &next.to_string()))
    }
}

/// What every handler knows of its request.
pub(super) struct Request {
    desk: Desks,
    reader: Reader,
    chosen: Chosen,
    here: Uri,
}

impl axum::extract::FromRequestParts<Desks> for Request {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        desk: &Desks,
    ) -> Result<Self, Self::Rejection> {
        let chosen = Chosen::from_request_parts(parts, desk).await?;
        let reader = Reader::from_request_parts(parts, desk).await?;
        Ok(Self { desk: Desks::clone(&reader.desk), reader, chosen, here: parts.uri.clone() })
    }
}

impl Request {
    fn words(&self) -> &'static Words {
        self.chosen.language.words()
    }

    fn frame(&self, section: Section) -> Frame {
        Frame {
            language: self.chosen.language,
            companies: self.reader.companies.clone(),
            section,
            here: self.here.clone(),
            live: assets::is_live(),
        }
    }

    fn pager(&self, page: u64, pages: u64) -> Pager {
        Pager { here: self.here.clone(), page, pages }
    }

    fn show(&self, page: &impl Template) -> Response {
        self.answer(StatusCode::OK, page)
    }

    fn answer(&self, status: StatusCode, page: &impl Template) -> Response {
        let html = match page.render() {
            Ok(html) => html,
            Err(error) => {
                tracing::error!(%error, "a page can't be written");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        };
        let mut response = (status, Html(html)).into_response();
        for (name, value) in self.chosen.cookie().into_iter().chain(self.reader.cookie()) {
            response.headers_mut().append(name, value);
        }
        response
    }

    fn problem(&self, error: &DeskError) -> Response {
        let words = self.words();
        let (status, message) = match error {
            DeskError::NotFound { key, .. } => {
                (StatusCode::NOT_FOUND, words.with("not-found", key))
            }
            DeskError::Store(why) => {
                tracing::error!(why, "a report can't be read");
                (StatusCode::INTERNAL_SERVER_ERROR, words.with("store-unreadable", why))
            }
        };
        self.answer(status, &Problem { frame: self.frame(Section::Dashboard), t: words, message })
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Problem {
    frame: Frame,
    t: &'static Words,
    message: String,
}

/// An address that names nothing.
pub(super) async fn nothing_here(request: Request) -> Response {
    let key = request.here.path().to_owned();
    request.problem(&DeskError::NotFound { what: "page", key })
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage {
    frame: Frame,
    t: &'static Words,
    chart: Chart,
    d: Dashboard,
}

/// The parts of the dashboard that move.
#[derive(Template)]
#[template(path = "dashboard/live.html")]
pub(super) struct LiveDashboard {
    t: &'static Words,
    chart: Chart,
    d: Dashboard,
}

impl LiveDashboard {
    pub(super) fn new(d: Dashboard, language: Language) -> Self {
        Self { t: language.words(), chart: Chart::of(&d.days), d }
    }
}

pub(super) async fn dashboard(request: Request) -> Response {
    match ask(&request.desk, Desk::dashboard).await {
        Err(error) => request.problem(&error),
        Ok(d) => request.show(&DashboardPage {
            frame: request.frame(Section::Dashboard),
            t: request.words(),
            chart: Chart::of(&d.days),
            d,
        }),
    }
}

#[derive(Template)]
#[template(path = "sites.html")]
struct SitesPage {
    frame: Frame,
    t: &'static Words,
    pager: Pager,
    d: Dashboard,
    waiting: SetAside,
}

pub(super) async fn sites(request: Request, Query(filter): Query<Filter>) -> Response {
    let found =
        ask(&request.desk, move |desk| Ok((desk.dashboard()?, desk.set_aside(filter.page())?)));
    match found.await {
        Err(error) => request.problem(&error),
        Ok((d, waiting)) => request.show(&SitesPage {
            frame: request.frame(Section::Sites),
            t: request.words(),
            pager: request.pager(waiting.page, waiting.pages),
            d,
            waiting,
        }),
    }
}

/// What filters and page links send. A field left blank is no filter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    pub(super) month: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) site: String,
    pub(super) q: String,
    pub(super) partner: String,
    pub(super) page: String,
    pub(super) lot: String,
    pub(super) at: String,
    pub(super) known_at: String,
}

impl Filter {
    pub(super) fn page(&self) -> u64 {
        self.page.parse().unwrap_or(0)
    }

    pub(super) fn month(&self) -> Option<Month> {
        self.month.parse().ok()
    }

    pub(super) fn months(&self) -> Months {
        Months { from: self.from.parse().ok(), to: self.to.parse().ok() }
    }

    pub(super) fn site(&self) -> Option<SiteNo> {
        self.site.parse().ok().map(SiteNo)
    }

    /// What is on hand where and when.
    pub(super) fn stock(&self) -> StockFilter<'_> {
        let (site, search) = (self.site(), self.search());
        StockFilter { site, search, at: self.at.parse().ok(), known_at: self.known_at() }
    }

    pub(super) fn known_at(&self) -> Option<Day> {
        self.known_at.parse().ok()
    }

    pub(super) fn cost(&self, item: ItemNo) -> CostFilter {
        CostFilter {
            item,
            site: self.site().unwrap_or(SiteNo::HQ),
            lot: Some(self.lot.clone()).filter(|lot| !lot.is_empty()),
            at: self.at.parse().ok(),
            page: self.page(),
        }
    }

    pub(super) fn open(&self) -> OpenFilter {
        OpenFilter { partner: self.partner.parse().ok().map(PartnerNo), page: self.page() }
    }

    pub(super) fn search(&self) -> Option<&str> {
        Some(self.q.trim()).filter(|text| !text.is_empty())
    }
}

#[derive(Template)]
#[template(path = "vouchers.html")]
struct VouchersPage {
    frame: Frame,
    t: &'static Words,
    pager: Pager,
    r: VoucherList,
}

pub(super) async fn vouchers(request: Request, Query(filter): Query<Filter>) -> Response {
    let found = ask(&request.desk, move |desk| desk.vouchers(filter.month(), filter.page())).await;
    match found {
        Err(error) => request.problem(&error),
        Ok(r) => request.show(&VouchersPage {
            frame: request.frame(Section::Vouchers),
            t: request.words(),
            pager: request.pager(r.page, r.pages),
            r,
        }),
    }
}

#[derive(Template)]
#[template(path = "voucher.html")]
struct VoucherPage {
    frame: Frame,
    t: &'static Words,
    r: VoucherReport,
}

pub(super) async fn voucher(request: Request, Path(id): Path<String>) -> Response {
    match ask(&request.desk, move |desk| desk.voucher(&id)).await {
        Err(error) => request.problem(&error),
        Ok(r) => {
            let frame = request.frame(Section::Vouchers);
            request.show(&VoucherPage { frame, t: request.words(), r })
        }
    }
}

#[derive(Template)]
#[template(path = "fact.html")]
struct FactPage {
    frame: Frame,
    t: &'static Words,
    r: FactReport,
}

pub(super) async fn fact(request: Request, Path(capture): Path<String>) -> Response {
    let found = ask(&request.desk, move |desk| {
        let missing = || DeskError::NotFound { what: "fact", key: capture.clone() };
        desk.fact(capture.parse::<Capture>().map_err(|_| missing())?)
    });
    match found.await {
        Err(error) => request.problem(&error),
        Ok(r) => {
            let frame = request.frame(Section::Vouchers);
            request.show(&FactPage { frame, t: request.words(), r })
        }
    }
}

#[derive(Template)]
#[template(path = "stock.html")]
struct StockPage {
    frame: Frame,
    t: &'static Words,
    pager: Pager,
    sites: Vec<Named>,
    r: StockBalance,
}

impl StockPage {
    fn is_chosen(&self, site: &Named) -> bool {
        self.r.site.as_ref().is_some_and(|chosen| chosen.no == site.no)
    }
}

pub(super) async fn stock(request: Request, Query(filter): Query<Filter>) -> Response {
    let found = ask(&request.desk, move |desk| desk.stock(filter.stock(), filter.page()));
    match found.await {
        Err(error) => request.problem(&error),
        Ok(r) => request.show(&StockPage {
            frame: request.frame(Section::Stock),
            t: request.words(),
            pager: request.pager(r.page, r.pages),
            sites: request.desk.sites(),
            r,
        }),
    }
}

#[derive(Template)]
#[template(path = "item.html")]
struct ItemPage {
    frame: Frame,
    t: &'static Words,
    pager: Pager,
    sites: Vec<Named>,
    r: ItemLedger,
}

impl ItemPage {
    fn is_chosen(&self, site: &Named) -> bool {
        self.r.site.as_ref().is_some_and(|chosen| chosen.no == site.no)
    }
}

pub(super) async fn item(
    request: Request,
    Path(number): Path<String>,
    Query(filter): Query<Filter>,
) -> Response {
    let found = ask(&request.desk, move |desk| {
        let number = numbered("item", &number)?;
        desk.item(ItemNo(number), filter.site(), filter.page())
    });
    match found.await {
        Err(error) => request.problem(&error),
        Ok(r) => request.show(&ItemPage {
            frame: request.frame(Section::Stock),
            t: request.words(),
            pager: request.pager(r.page, r.pages),
            sites: request.desk.sites(),
            r,
        }),
    }
}

/// A permanent number out of an address.
pub(super) fn numbered(what: &'static str, text: &str) -> Result<u32, DeskError> {
    text.parse().map_err(|_| DeskError::NotFound { what, key: text.to_owned() })
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    frame: Frame,
    t: &'static Words,
    r: TrialBalance,
}

pub(super) async fn accounts(request: Request, Query(filter): Query<Filter>) -> Response {
    match ask(&request.desk, move |desk| desk.trial_balance(filter.months())).await {
        Err(error) => request.problem(&error),
        Ok(r) => {
            let frame = request.frame(Section::Accounts);
            request.show(&AccountsPage { frame, t: request.words(), r })
        }
    }
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    t: &'static Words,
    pager: Pager,
    r: AccountLedger,
}

impl AccountPage {
    fn label(&self, line: &AccountLine) -> String {
        crate::report::voucher::label(self.t, line.voucher_number)
    }

    /// 借, 贷 or 平: the side a balance stands on.
    fn side_key(balance: &Figure) -> &'static str {
        match balance.units() {
            0 => "side-even",
            1.. => "debit",
            _ => "credit",
        }
    }

    fn without_sign(balance: &Figure) -> Figure {
        if balance.is_negative() { balance.negated() } else { *balance }
    }
}

pub(super) async fn account(
    request: Request,
    Path(number): Path<String>,
    Query(filter): Query<Filter>,
) -> Response {
    let found = ask(&request.desk, move |desk| {
        let number = numbered("account", &number)?;
        desk.account(AccountNo(number), filter.months(), filter.page())
    });
    match found.await {
        Err(error) => request.problem(&error),
        Ok(r) => request.show(&AccountPage {
            frame: request.frame(Section::Accounts),
            t: request.words(),
            pager: request.pager(r.page, r.pages),
            r,
        }),
    }
}

#[derive(Template)]
#[template(path = "open_items.html")]
struct OpenItemsPage {
    frame: Frame,
    pager: Pager,
    t: &'static Words,
    r: OpenItems,
}

impl OpenItemsPage {
    fn tie_word(&self, difference: &Figure) -> &'static str {
        match (difference.is_zero(), self.r.settling) {
            (true, _) => "even",
            (false, true) => "settling",
            (false, false) => "odd",
        }
    }

    fn bucket_keys() -> [&'static str; AGE_BUCKETS] {
        ["age-30", "age-60", "age-90", "age-180", "age-older"]
    }
}

pub(super) async fn open_items(request: Request, Query(filter): Query<Filter>) -> Response {
    match ask(&request.desk, move |desk| desk.open_items(filter.open())).await {
        Err(error) => request.problem(&error),
        Ok(r) => {
            let frame = request.frame(Section::OpenItems);
            let pager = request.pager(r.page, r.pages);
            request.show(&OpenItemsPage { frame, t: request.words(), pager, r })
        }
    }
}

#[derive(Template)]
#[template(path = "documents.html")]
struct DocumentsPage {
    frame: Frame,
    t: &'static Words,
    pager: Pager,
    r: DocumentList,
}

pub(super) async fn documents(request: Request, Query(filter): Query<Filter>) -> Response {
    match ask(&request.desk, move |desk| desk.documents(filter.page())).await {
        Err(error) => request.problem(&error),
        Ok(r) => {
            let frame = request.frame(Section::Documents);
            let pager = request.pager(r.page, r.pages);
            request.show(&DocumentsPage { frame, t: request.words(), pager, r })
        }
    }
}

#[derive(Template)]
#[template(path = "document.html")]
struct DocumentPage {
    frame: Frame,
    t: &'static Words,
    r: DocumentShown,
}

pub(super) async fn document(request: Request, Path(name): Path<String>) -> Response {
    match ask(&request.desk, move |desk| desk.document(&name)).await {
        Err(error) => request.problem(&error),
        Ok(r) => {
            let frame = request.frame(Section::Documents);
            request.show(&DocumentPage { frame, t: request.words(), r })
        }
    }
}

/// Health of the process, for supervisors.
pub(super) async fn alive(State(_): State<Desks>) -> &'static str {
    "ok\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_set_once() {
        let cases = [
            ("/stock", "/stock?page=2"),
            ("/stock?page=7", "/stock?page=2"),
            ("/stock?site=1&page=7&q=a%20b", "/stock?site=1&q=a%20b&page=2"),
            ("/stock?", "/stock?page=2"),
        ];
        for (before, after) in cases {
            let here: Uri = before.parse().expect("an address");
            assert_eq!(with_parameter(&here, "page", "2"), after);
        }
    }
}
