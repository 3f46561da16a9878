//! Every page and report over a made-up trading month: pages are whole, reports tie with each
//! other, and the stream says where the books stand.

#[path = "../examples/pages/papers.rs"]
mod papers;
#[path = "../examples/pages/sample.rs"]
mod sample;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use hq_server::clock::Clock;
use hq_server::report::cost::CostReport;
use hq_server::report::dashboard::Dashboard;
use hq_server::report::ledger::{AccountLedger, TrialBalance};
use hq_server::report::open_items::OpenItems;
use hq_server::report::stock::{ItemLedger, StockBalance};
use hq_server::report::table::text_of;
use hq_server::report::voucher::{VoucherList, VoucherReport};
use hq_server::report::words::Language;
use hq_server::web::books_desk::BooksDesk;
use hq_server::web::desk::{Desk, Posted};
use sample::Sample;
use serde::de::DeserializeOwned;
use shared::ids::CompanyNo;
use shared::time::Timestamp;
use tokio_stream::StreamExt as _;
use tower_service::Service as _;

/// 2026-11-24 20:00 in Shanghai.
const NOW: Timestamp = Timestamp(1_795_521_600_000);

struct Site {
    sample: Arc<Sample>,
    router: Router,
}

impl Site {
    fn new() -> Self {
        let sample = Sample::trading_month(NOW);
        let links = Arc::clone(&sample);
        let desk: Arc<dyn Desk> = Arc::new(BooksDesk {
            company: CompanyNo::FIRST,
            books: sample.clone(),
            archive: sample.clone(),
            documents: Arc::new(papers::shared_documents(NOW)),
            links: Arc::new(move || links.links(NOW)),
            clock: Clock::from_fn(|| NOW),
            changes: sample.changes.clone(),
        });
        let (reports, _) = hq_server::web::read_api(Arc::clone(&desk)).split_for_parts();
        let router = hq_server::web::pages(desk).merge(reports);
        Self { sample, router }
    }

    async fn ask(&self, address: &str, language: &str) -> Response {
        let request = Request::get(address)
            .header(header::ACCEPT_LANGUAGE, language)
            .body(Body::empty())
            .expect("a legal address");
        self.router.clone().call(request).await.expect("a router always answers")
    }

    async fn page(&self, address: &str, language: &str) -> String {
        let response = self.ask(address, language).await;
        assert_eq!(response.status(), StatusCode::OK, "{address}");
        text(response).await
    }

    async fn report<T: DeserializeOwned>(&self, address: &str) -> T {
        let text = self.page(address, "en").await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{address}: {error}"))
    }
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn pages_are_whole_in_every_language_and_load_nothing_foreign() {
    let site = Site::new();
    let vouchers: VoucherList = site.report("/api/reports/vouchers").await;
    let voucher: VoucherReport =
        site.report(&format!("/api/reports/vouchers/{}", vouchers.rows[0].id)).await;
    let fact = voucher.facts[0].capture;
    let addresses = [
        "/".to_owned(),
        "/vouchers?month=2026-11&page=2".to_owned(),
        format!("/vouchers/{}", voucher.head.id),
        format!("/facts/{fact}"),
        "/facts/3-1".to_owned(),
        "/stock?site=2&q=kt".to_owned(),
        "/items/3?site=1".to_owned(),
        "/accounts?from=2026-11&to=".to_owned(),
        "/accounts/1".to_owned(),
        "/open-items".to_owned(),
        "/open-items?partner=4".to_owned(),
        "/documents".to_owned(),
        "/documents/transfer:2-1042:1:2".to_owned(),
        "/documents/notes:4".to_owned(),
        "/sites".to_owned(),
    ];
    for address in &addresses {
        for (language, tag) in [("zh-TW,zh;q=0.9", "zh-CN"), ("en-GB", "en"), ("", "zh-CN")] {
            let page = site.page(address, language).await;
            assert!(page.contains(&format!("<html lang=\"{tag}\">")), "{address} in {tag}");
            assert!(page.trim_end().ends_with("</html>"), "{address} is cut off");
            for foreign in ["style=", "<script>", "onclick", "http://", "https://"] {
                assert!(!page.contains(foreign), "{address} has {foreign}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let site = Site::new();
    for address in [
        "/vouchers/1-2026-11-99999",
        "/facts/9-9",
        "/items/77",
        "/accounts/x",
        "/documents/x",
        "/nothing",
    ] {
        let response = site.ask(address, "en").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{address}");
        let policy = response.headers().get(header::CONTENT_SECURITY_POLICY).expect("a policy");
        assert!(policy.to_str().expect("text").starts_with("default-src 'none'"));
        assert!(text(response).await.contains("There is no"), "{address}");
    }
    let response = site.ask("/api/reports/items/77", "en").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(text(response).await, r#"{"error":"there is no item 77"}"#);
}

#[tokio::test]
async fn documents_show_what_people_have_to_settle_and_what_was_refused() {
    let site = Site::new();
    let list = site.page("/documents", "en").await;
    for told in ["/documents/transfer:2-1042:1:2", "On its way", "A 区年终盘点", "SH-01, SZ-02"]
    {
        assert!(list.contains(told), "no {told}");
    }
    for things in 1..=2 {
        let cell = format!("<td class=\"num due\">{things}</td>");
        assert_eq!(list.matches(&cell).count(), 1, "{things} in one of the two");
    }
    let sheet = site.page("/documents/count-sheet:4-1:3", "en").await;
    // The figures of a line that differ, and the remarks.
    for text in ["118", "121", "请于周五前交表", "B 架下层未点"] {
        assert!(sheet.contains(&format!("<td class=\"break due\">{text}</td>")), "{text}");
    }
    assert!(list.contains("Refused changes <span class=\"soft\">1</span>"));
    let transfer = site.page("/documents/transfer:2-1042:1:2", "zh").await;
    assert!(transfer.contains("有 1 处") || transfer.contains("1 处内容"), "{transfer}");
    // Both remarks stand there, each with its site.
    for remark in ["箱 3 受潮，请先验", "收货口今天关闭，明早再送"] {
        assert!(transfer.contains(&format!("<td class=\"break due\">{remark}</td>")), "{remark}");
    }
}

#[tokio::test]
async fn a_chosen_language_is_remembered() {
    let site = Site::new();
    let response = site.ask("/stock?lang=en", "zh").await;
    let cookie = response.headers().get(header::SET_COOKIE).expect("a cookie").clone();
    assert!(text(response).await.contains("<html lang=\"en\">"));
    let request = Request::get("/")
        .header(header::COOKIE, cookie)
        .header(header::ACCEPT_LANGUAGE, "zh")
        .body(Body::empty())
        .expect("a legal address");
    let response = site.router.clone().call(request).await.expect("an answer");
    assert!(text(response).await.contains("<html lang=\"en\">"));
}

#[tokio::test]
async fn reports_tie_with_each_other() {
    let site = Site::new();
    let dashboard: Dashboard = site.report("/api/reports/dashboard").await;
    let stock: StockBalance = site.report("/api/reports/stock").await;
    let trial: TrialBalance = site.report("/api/reports/trial-balance").await;
    let open: OpenItems = site.report("/api/reports/open-items").await;

    assert!(dashboard.stock.difference.is_zero() && !dashboard.stock.total.is_zero());
    assert_eq!(stock.tie, Some(dashboard.stock));
    assert_eq!(stock.value, dashboard.stock.on_hand);
    let sites: i128 = dashboard.sites.iter().map(|site| site.value.units()).sum();
    assert_eq!(sites, dashboard.stock.on_hand.units());
    assert_eq!(dashboard.days.last().map(|day| day.value), Some(dashboard.stock.total));
    assert!(trial.is_even());
    assert!(open.sides.iter().all(|side| side.difference.is_zero()));
    assert!(open.received_not_invoiced.difference.is_zero());
    assert_eq!(open.received_not_invoiced.total, dashboard.received_not_invoiced);
    for side in &open.sides {
        let partners: i128 = side.partners.iter().map(|partner| partner.total.units()).sum();
        assert_eq!(partners, side.total.units(), "{}", side.role);
    }

    for row in &stock.rows {
        let address = format!("/api/reports/items/{}?site={}", row.item.no, row.site.no);
        let ledger: ItemLedger = site.report(&address).await;
        assert_eq!((ledger.closing.quantity, ledger.closing.value), (row.quantity, row.value));
    }
    for row in &stock.rows {
        let address = format!("/api/reports/costs/{}?site={}", row.item.no, row.site.no);
        let cost: CostReport = site.report(&address).await;
        assert_eq!((cost.closing.quantity, cost.closing.value), (row.quantity, row.value));
        let last = cost.lines.last().expect("steps");
        assert_eq!(last.balance, cost.closing);
        assert!(cost.lines.iter().all(|line| line.voucher.is_some()), "{address}");
    }
    let past: StockBalance = site.report("/api/reports/stock?at=2001-01-01").await;
    assert_eq!((past.rows.len(), past.tie), (0, None));
    let today: StockBalance = site.report("/api/reports/stock?at=2030-01-01").await;
    assert_eq!(today.rows, stock.rows);
    for row in &trial.rows {
        let ledger: AccountLedger =
            site.report(&format!("/api/reports/accounts/{}", row.account.no)).await;
        assert_eq!(ledger.closing, row.sides.closing.balance(), "{}", row.account.code);
    }
}

#[tokio::test]
async fn every_voucher_can_be_reached_and_balances() {
    let site = Site::new();
    let first: VoucherList = site.report("/api/reports/vouchers").await;
    let mut seen = Vec::new();
    for page in 1..=first.pages {
        let list: VoucherList = site.report(&format!("/api/reports/vouchers?page={page}")).await;
        seen.extend(list.rows.into_iter().map(|row| (row.month, row.number)));
    }
    assert_eq!(seen.len() as u64, first.count);
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    for head in first.rows.iter().take(20) {
        let voucher: VoucherReport =
            site.report(&format!("/api/reports/vouchers/{}", head.id)).await;
        let debit: i128 = voucher.lines.iter().map(|line| line.debit.units()).sum();
        let credit: i128 = voucher.lines.iter().map(|line| line.credit.units()).sum();
        assert_eq!((debit, credit), (head.total.units(), head.total.units()));
    }
}

#[tokio::test]
async fn tables_say_what_the_reports_say() {
    let site = Site::new();
    let names = [
        "dashboard",
        "vouchers",
        "stock",
        "items/3",
        "costs/3?site=1",
        "trial-balance",
        "months/2026-11",
        "accounts/1",
        "open-items",
        "set-aside",
    ];
    for name in names {
        let report: serde_json::Value = site.report(&format!("/api/reports/{name}")).await;
        let kind = name.split(['/', '?']).next().expect("a name");
        for language in Language::ALL {
            let table = text_of(kind, &report, language.words()).expect("a known report");
            assert!(table.lines().count() >= 3, "{name}: {table}");
        }
    }
}

#[tokio::test]
async fn the_stream_says_where_the_books_stand_and_what_moves() {
    let site = Site::new();
    let response = site.ask("/events", "en").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let mut event = async || {
        let bytes = stream.next().await.expect("an event").expect("bytes");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        assert_eq!(field("event:"), "posted");
        let posted: Posted = serde_json::from_str(&field("data:")).expect("JSON");
        assert_eq!(field("id:"), posted.position.to_string());
        posted
    };
    let start = event().await;
    assert!(start.sites.len() >= 4, "the first event names every site");
    site.sample.one_more(NOW);
    let next = event().await;
    assert!(next.position > start.position);
    let sum = |posted: &Posted| posted.sites.iter().map(|site| site.seq).sum::<u64>();
    assert_eq!(sum(&next), sum(&start) + 1);
}

#[tokio::test]
async fn the_dashboard_moves_with_the_books() {
    let site = Site::new();
    let response = site.ask("/events/dashboard?lang=en", "zh").await;
    let mut stream = response.into_body().into_data_stream();
    let mut fragment = async || {
        let bytes = stream.next().await.expect("an event").expect("bytes");
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    };
    let first = fragment().await;
    assert!(first.contains("hx-target=\"#hero\"") && first.contains("Stock value"));
    site.sample.one_more(NOW);
    let second = fragment().await;
    assert_ne!(first, second);
}
