//! A whole installation without a network: stated at HQ, recorded at sites, posted, proved, closed
//! and opened again, backed up and restored.

mod common;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, header};
use common::{Hands, Site, currency, init, measure, populate, price, receipt, sale};
use hq_server::books::{Books, Settings};
use hq_server::chart::GENERIC;
use hq_server::gateway::documents::Allowance;
use hq_server::gateway::store::HqStore as _;
use hq_server::headquarters::{Headquarters, restore};
use hq_server::own_log::{
    AllocationDraft, Desk, Draft, DraftError, FinanceError, InvoiceDraft, InvoiceLineDraft,
    LandedCostDraft, LandedOnDraft, PaymentDraft, PoolDraft, RevaluationDraft, StandardCostDraft,
    WriteDownDraft,
};
use hq_server::report::figure::Figure;
use hq_server::report::table::text_of;
use hq_server::report::words::Language;
use hq_server::web::books_desk::Lender as _;
use hq_server::web::desk::Desk as _;
use shared::catalogue::{Catalogue, OpenTransfer};
use shared::document::{Actor, DocumentId, DocumentKey, Replica};
use shared::fact::Kind;
use shared::fact::statement::{CostMethod, CostScope, Movement, PolicyKind, Role, SharedBy};
use shared::ids::{Capture, CompanyNo, DeviceNo, ItemNo, SiteNo};
use shared::sync::{DocumentChange, StateCursor};
use shared::time::OffsetMinutes;
use tower_service::Service as _;

fn check_costs(desk: &Desk<'_>, received: Capture, sold: Capture) {
    let on = |of: Capture| LandedOnDraft { of: of.to_string(), weight: None };
    let bill = |amount: &str, receipts: Vec<LandedOnDraft>| LandedCostDraft {
        amount: amount.to_owned(),
        receipts,
        ..LandedCostDraft::default()
    };
    let good = bill("-3", vec![on(received)]);
    let by = |word: &str| Some(word.to_owned());
    let not_a_receipt =
        FinanceError::WrongKind { capture: sold, found: Kind::SaleIssue, needed: "receipt" };
    let no_weight =
        FinanceError::NoWeight { by: SharedBy::Weight, receipt: received, item: "bolt".to_owned() };
    let of_own = |weight: &str| LandedOnDraft { weight: Some(weight.to_owned()), ..on(received) };
    let cases = [
        (good.clone(), None),
        (bill("0", vec![on(received)]), Some(FinanceError::Nothing)),
        (bill("3", vec![]), Some(FinanceError::NoLines)),
        (bill("3", vec![on(sold)]), Some(not_a_receipt)),
        (bill("3", vec![on(received), on(received)]), Some(FinanceError::Twice(received))),
        (LandedCostDraft { by: by("weight"), ..good.clone() }, Some(no_weight)),
        (LandedCostDraft { by: by("weight"), ..bill("3", vec![of_own("2.5")]) }, None),
        // What one of the item takes up is known.
        (LandedCostDraft { by: by("volume"), ..good.clone() }, None),
        (LandedCostDraft { currency: by("USD"), ..good.clone() }, None),
        (
            LandedCostDraft { currency: by("usd"), ..good.clone() },
            Some(FinanceError::BadCurrency("usd".to_owned())),
        ),
        (
            LandedCostDraft { by: by("size"), ..good },
            Some(FinanceError::UnknownBasis("size".to_owned())),
        ),
    ];
    for (draft, expected) in cases {
        assert_eq!(desk.landed_cost(&draft).err(), expected);
    }
    let pool = |item: &str, site: Option<&str>| PoolDraft {
        item: item.to_owned(),
        site: site.map(str::to_owned),
        lot: None,
    };
    let revalue =
        |pool| RevaluationDraft { pool, amount: "5".to_owned(), ..RevaluationDraft::default() };
    let unknown = FinanceError::UnknownItem("nothing".to_owned());
    assert_eq!(desk.revaluation(&revalue(pool("nothing", None))).err(), Some(unknown));
    let (item, site) = ("bolt", "site-1");
    assert_eq!(desk.revaluation(&revalue(pool(item, None))).err(), Some(FinanceError::NameASite));
    assert_eq!(desk.revaluation(&revalue(pool(item, Some(site)))).err(), None);
    let standard = StandardCostDraft {
        pool: pool(item, None),
        cost: "4.5".to_owned(),
        ..StandardCostDraft::default()
    };
    let group = desk.standard_cost(&standard).expect("the item has a pool");
    assert_eq!(group.statements.len(), 1, "a statement for each pool");
    let write_down = |amount: &str| WriteDownDraft {
        pool: pool(item, Some(site)),
        amount: amount.to_owned(),
        ..WriteDownDraft::default()
    };
    // Six are left, at 100 each.
    let cases = [
        ("600", None),
        ("600.01", Some(FinanceError::MoreThanCarried("600.00 CNY".to_owned()))),
        ("-0.01", Some(FinanceError::MoreThanWrittenDown("0.00 CNY".to_owned()))),
        ("0", Some(FinanceError::Nothing)),
    ];
    for (amount, expected) in cases {
        assert_eq!(desk.write_down(&write_down(amount)).err(), expected, "{amount}");
    }
    let lots = desk.costing(CostMethod::Specific, None, false).err();
    assert_eq!(lots, Some(FinanceError::LotsFromTheBeginning));
    // What is there begins at the standard of its item.
    let groups = desk.costing(CostMethod::Standard, None, false).expect("a method");
    assert_eq!(groups.len(), 2);
}

#[test]
fn stock_carries_variances_only_where_an_account_takes_them() {
    let choose = |with_chart: bool| {
        let mut draft = Draft::new(&Catalogue::new());
        let currency = "CNY".parse().expect("a code");
        draft.company("1", "First", currency, OffsetMinutes(480), CostScope::Site).expect("new");
        if with_chart {
            draft.chart(&GENERIC).expect("the chart is whole");
        }
        draft.policy(PolicyKind::StandardVariance, "allocate", None).expect("a choice");
        draft.check(&Settings::default())
    };
    assert_eq!(choose(true), Ok(()));
    assert_eq!(choose(false), Err(DraftError::NoVarianceAccount));
}

/// Balance of every role's accounts, debits positive.
fn balances(books: &Books) -> BTreeMap<Role, i128> {
    let mut balances = BTreeMap::new();
    for (account, _, _, turnover) in books.ledger().rows() {
        let role = books.settings().role_of(account).expect("only mapped accounts are posted to");
        *balances.entry(role).or_default() += turnover.net();
    }
    balances.retain(|_, balance| *balance != 0);
    balances
}

async fn invoice(hq: &Headquarters, of: Capture, price: &str) -> Capture {
    invoice_in(hq, None, of, price).await
}

async fn invoice_in(
    hq: &Headquarters,
    currency: Option<&str>,
    of: Capture,
    price: &str,
) -> Capture {
    let draft = InvoiceDraft {
        partner: "acme".to_owned(),
        document: Some("R-1".to_owned()),
        currency: currency.map(str::to_owned),
        lines: vec![InvoiceLineDraft {
            of: of.to_string(),
            price: price.to_owned(),
            ..InvoiceLineDraft::default()
        }],
        ..InvoiceDraft::default()
    };
    let now = hq.clock().now();
    let recorded = hq.own_log().record(|published, _| {
        let (ledgers, catalogue) = (published.ledgers(), published.catalogue());
        let desk = Desk::new(&catalogue, &ledgers.books, CompanyNo::FIRST, now)?;
        Ok::<_, FinanceError>((vec![desk.supplier_invoice(&draft)?], ()))
    });
    recorded.await.expect("recorded").0[0]
}

async fn pay(hq: &Headquarters, invoice: Capture, amount: &str) {
    let draft = PaymentDraft {
        partner: "acme".to_owned(),
        amount: amount.to_owned(),
        allocations: vec![AllocationDraft { of: invoice.to_string(), amount: amount.to_owned() }],
        ..PaymentDraft::default()
    };
    let now = hq.clock().now();
    let recorded = hq.own_log().record(|published, next| {
        let (ledgers, catalogue) = (published.ledgers(), published.catalogue());
        let desk = Desk::new(&catalogue, &ledgers.books, CompanyNo::FIRST, now)?;
        Ok::<_, FinanceError>((vec![desk.payment(&draft, next)?], ()))
    });
    recorded.await.expect("recorded");
}

/// A receipt, a sale of a part, an invoice that differs, a payment.
async fn trade(hq: &Headquarters, site: &mut Site) {
    let received = site.record(receipt(1, "10", "100"));
    site.record(sale(1, "4", "150"));
    site.send(hq, 100).await;
    site.posted(hq).await;
    let invoice = invoice(hq, received, "105").await;
    pay(hq, invoice, "1050").await;
}

fn expected() -> BTreeMap<Role, i128> {
    BTreeMap::from([
        (Role::Inventory, 63_000),
        (Role::CostOfSales, 42_000),
        (Role::Receivable, 60_000),
        (Role::Revenue, -60_000),
        (Role::Bank, -105_000),
    ])
}

fn assert_whole(hq: &Headquarters) {
    let report = hq.verify().expect("reads");
    assert_eq!(report.problems, Vec::<String>::new());
    let ledgers = hq.published().ledgers();
    ledgers.books.check().expect("the books hold");
}

/// Site 2 is of a second company with a chart of its own.
async fn second_company(hq: &Headquarters) {
    let made = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        draft.company("hk", "Hong Kong", currency(), OffsetMinutes(480), CostScope::Site)?;
        draft.chart(&GENERIC)?;
        draft.site(SiteNo(2), "site-2", "Site 2")?;
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    made.await.expect("recorded");
}

/// Pages go on with the company that was chosen; programs name it each time.
async fn a_reader_chooses_a_company(hq: &Headquarters) {
    let mut router = hq_server::api::router(hq, hq_server::api::Access::Loopback);
    let mut page = async |address: &str, cookie: &str| {
        let request = Request::get(address).header(header::COOKIE, cookie).body(Body::empty());
        let response = router.call(request.expect("an address")).await.expect("answers");
        let cookie = response.headers().get(header::SET_COOKIE).cloned();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let cookie = cookie.map(|cookie| cookie.to_str().expect("text").to_owned());
        (String::from_utf8(bytes.to_vec()).expect("text"), cookie)
    };
    let (first, cookie) = page("/accounts?lang=en", "").await;
    assert!(first.contains("/accounts?company=hk") && first.contains("Hong Kong"), "{first}");
    assert!(cookie.is_some_and(|cookie| !cookie.contains("company")));
    let (chosen, cookie) = page("/stock?company=hk", "").await;
    assert!(chosen.contains("54.00") && !chosen.contains("48.00"), "{chosen}");
    let cookie = cookie.expect("is remembered");
    let (name, _) = cookie.split_once(';').expect("with attributes");
    let (later, again) = page("/stock", name).await;
    assert!(later.contains("54.00") && again.is_none(), "{later}");
    let (program, _) = page("/api/reports/stock", name).await;
    assert!(program.contains("48.00"), "{program}");
}

fn another_companys_receipt_is_not_invoiced(hq: &Headquarters, unknown: Capture) {
    let (ledgers, catalogue) = (hq.published().ledgers(), hq.published().catalogue());
    let now = hq.clock().now();
    let line = |of: &str| InvoiceLineDraft {
        of: of.to_owned(),
        price: "6".to_owned(),
        ..InvoiceLineDraft::default()
    };
    let draft = |of: &str| InvoiceDraft {
        partner: "acme".to_owned(),
        lines: vec![line(of)],
        ..InvoiceDraft::default()
    };
    let invoice = |company, of: &str| {
        let desk = Desk::new(&catalogue, &ledgers.books, company, now).expect("a company");
        desk.supplier_invoice(&draft(of)).map_err(|error| error.to_string())
    };
    let mut facts = ledgers.books.facts().iter();
    let first = facts.find(|(_, record)| record.kind == Kind::Receipt);
    let first = first.expect("a receipt").1.capture.to_string();
    assert!(invoice(CompanyNo::FIRST, &first).is_ok());
    let other = invoice(CompanyNo(2), &first).expect_err("of the first company");
    assert!(other.ends_with("is of company 'demo': add --company demo"), "{other}");
    let none = invoice(CompanyNo(2), &unknown.to_string()).expect_err("was never sent");
    assert!(none.contains("is not in the books"), "{none}");
}

#[tokio::test]
async fn what_one_company_sells_to_another_costs_the_group_what_it_cost() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    populate(&hq, 1).await;
    second_company(&hq).await;
    assert_eq!(hq.mapping_gaps(), Vec::<String>::new());
    let (mut north, mut south) = (Site::new(1, 2), Site::new(2, 3));
    north.register(&hq).await;
    south.register(&hq).await;
    north.record(receipt(1, "20", "6"));
    let ship = |quantity: &str| {
        let mut ship = Movement::new(Kind::TransferShip, ItemNo(1), measure(quantity));
        (ship.other_site, ship.price) = (Some(SiteNo(2)), Some(price("9")));
        ship
    };
    let arrives = north.record(ship("10"));
    north.record(ship("2"));
    north.send(&hq, 100).await;
    north.posted(&hq).await;
    let mut receive = Movement::new(Kind::TransferReceive, ItemNo(1), measure("10"));
    receive.refers_to = Some(arrives);
    south.record(receive);
    south.record(sale(1, "4", "12"));
    south.send(&hq, 100).await;
    south.posted(&hq).await;
    let desk = hq.desk();
    let group = desk.group(1).expect("reads");
    let figures = |figures: &[Figure]| figures.iter().map(Figure::to_string).collect::<Vec<_>>();
    let stock = group.companies.iter();
    let stock: Vec<_> =
        { stock }.map(|row| figures(&[row.value, row.group_cost, row.unrealised])).collect();
    assert_eq!(stock, [["48.00", "48.00", "0.00"], ["54.00", "36.00", "18.00"]]);
    let row = &group.rows[0];
    assert_eq!((row.company.code.as_str(), row.quantity.to_string().as_str()), ("hk", "6"));
    let sold = &group.sales[0];
    let sold = figures(&[
        sold.revenue,
        sold.cost,
        sold.receivable,
        sold.payable,
        sold.on_the_way,
        sold.on_the_way_cost,
    ]);
    assert_eq!(sold, ["108.00", "72.00", "108.00", "90.00", "18.00", "12.00"]);
    // Each company's stock ties to its own accounts, and nobody owes anybody outside.
    let dashboard = desk.dashboard().expect("reads");
    assert_eq!(
        (dashboard.stock.total.to_string().as_str(), dashboard.stock.word()),
        ("48.00", "even")
    );
    assert!(dashboard.receivable.is_zero(), "the customer is the other company's");
    let hong_kong = desk.of_company("hk").expect("is there").dashboard().expect("reads");
    assert_eq!(
        (hong_kong.company.code.as_str(), hong_kong.stock.total.to_string().as_str()),
        ("hk", "54.00")
    );
    a_reader_chooses_a_company(&hq).await;
    another_companys_receipt_is_not_invoiced(&hq, south.record(receipt(1, "1", "9")));
    assert_whole(&hq);
    let text = serde_json::to_value(&group).expect("JSON");
    let chinese = text_of("group", &text, Language::Chinese.words()).expect("a table");
    assert!(chinese.contains("未实现内部利润") && chinese.contains("18.00"), "{chinese}");
    hq.close().await;
}

#[tokio::test]
async fn from_a_warehouse_to_the_ledger_and_through_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let hands = Hands::new();
    let hq = init(folder.path(), CostScope::Site, hands.clock()).await;
    populate(&hq, 1).await;
    assert_eq!(hq.mapping_gaps(), Vec::<String>::new());
    let mut site = Site::new(1, 2);
    site.register(&hq).await;
    trade(&hq, &mut site).await;
    site.seal(&hq).await;
    assert_eq!(balances(&hq.published().ledgers().books), expected());
    let last = *hq.published().last().borrow();
    let state = hq.published().ledgers().books.state_hash();
    assert_whole(&hq);
    let told = hq.intake().posted(&site.log()).expect("registered");
    hq.backup(&folder.path().join("backup")).expect("copied");
    assert!(told.has_changed().expect("HQ runs"), "whoever is connected hears that it is safe");
    let safe = |hq: &Headquarters| hq.intake().log(&site.log()).expect("known").safe.0;
    assert_eq!(safe(&hq), 2);
    hq.close().await;
    drop(hq);

    let hq = Headquarters::open(folder.path(), hands.clock()).expect("opens");
    assert_eq!(safe(&hq), 2, "what was safe stays safe");
    assert_eq!(*hq.published().last().borrow(), last);
    assert_eq!(hq.published().ledgers().books.state_hash(), state);
    assert_eq!(balances(&hq.published().ledgers().books), expected());
    site.record(sale(1, "6", "150"));
    site.send(&hq, 1).await;
    site.posted(&hq).await;
    assert_eq!(balances(&hq.published().ledgers().books).get(&Role::Inventory), None);
    site.seal(&hq).await;
    hq.own_log().seal().await.expect("sealed");
    assert_whole(&hq);
    hq.close().await;
}

#[tokio::test]
async fn what_was_known_on_a_day_stays_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let hands = Hands::new();
    let hq = init(folder.path(), CostScope::Site, hands.clock()).await;
    populate(&hq, 1).await;
    let mut site = Site::new(1, 2);
    site.register(&hq).await;
    let received = site.record(receipt(1, "10", "100"));
    site.record(sale(1, "4", "150"));
    site.send(&hq, 100).await;
    site.posted(&hq).await;
    let then = hands.clock().now();
    let state = hq.published().ledgers().books.state_hash();
    hands.move_ms(1);
    // An invoice of a later day changes what the goods had cost.
    invoice(&hq, received, "105").await;
    assert_ne!(hq.published().ledgers().books.state_hash(), state);
    assert_eq!(hq.as_known(then).expect("a readable sequence").state_hash(), state);
    let now = hq.as_known(hands.clock().now()).expect("a readable sequence").state_hash();
    assert_eq!(now, hq.published().ledgers().books.state_hash());
    hq.close().await;
}

#[tokio::test]
async fn how_runs_are_cut_changes_nothing() {
    let mut states = Vec::new();
    for cut in [1, 7, 1_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let hq = init(folder.path(), CostScope::Company, Hands::new().clock()).await;
        populate(&hq, 3).await;
        let mut sites = [Site::new(1, 2), Site::new(2, 3), Site::new(3, 4)];
        for site in &mut sites {
            site.register(&hq).await;
            for round in 0..30 {
                site.record(receipt(1, "10", &format!("{}.10", 10 + round)));
                site.record(sale(1, "7", "20"));
            }
            site.send(&hq, cut).await;
            site.posted(&hq).await;
        }
        assert_whole(&hq);
        states.push(balances(&hq.published().ledgers().books));
        hq.close().await;
    }
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "{states:?}");
}

#[tokio::test]
async fn a_site_is_told_what_is_on_its_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let hands = Hands::new();
    let hq = init(folder.path(), CostScope::Site, hands.clock()).await;
    populate(&hq, 2).await;
    let (mut from, mut to) = (Site::new(1, 2), Site::new(2, 3));
    from.register(&hq).await;
    to.register(&hq).await;
    from.record(receipt(1, "10", "100"));
    let mut ship = Movement::new(Kind::TransferShip, ItemNo(1), common::measure("6"));
    ship.other_site = Some(SiteNo(2));
    let ship = from.record(ship);
    from.send(&hq, 100).await;
    from.posted(&hq).await;

    let told = |hq: &Headquarters, site: u32, since: StateCursor| {
        let mut at = since;
        let mut transfers = Vec::new();
        while let Some(signed) = hq.intake().state_since(SiteNo(site), at, 10) {
            signed.verify(&hq.authority().hq_key().verifying_key()).expect("signed by HQ");
            let facts = signed.batch.facts().expect("packed by HQ");
            transfers.extend(facts.iter().filter_map(OpenTransfer::parse));
            at = signed.batch.to;
        }
        (at, transfers)
    };
    let (at, transfers) = told(&hq, 2, StateCursor::START);
    let found: Vec<_> = transfers
        .iter()
        .map(|each| (each.ship, each.quantity.figure.to_string(), each.open))
        .collect();
    assert_eq!(found, [(ship, "6".to_owned(), true)]);
    assert_eq!(told(&hq, 1, StateCursor::START).1, []);

    let mut receive = Movement::new(Kind::TransferReceive, ItemNo(1), common::measure("6"));
    receive.refers_to = Some(ship);
    to.record(receive);
    to.send(&hq, 100).await;
    to.posted(&hq).await;
    hq.close().await;
    drop(hq);
    // A restart numbers every version as before: the cursor goes on where it was.
    let hq = Headquarters::open(folder.path(), hands.clock()).expect("opens");
    let (_, transfers) = told(&hq, 2, at);
    assert_eq!(transfers.iter().map(|each| each.open).collect::<Vec<_>>(), [false]);
    hq.close().await;
}

#[tokio::test]
async fn a_site_that_writes_too_much_in_documents_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    populate(&hq, 1).await;
    let site = Site::new(1, 2);
    site.enrol(&hq).await;
    hq.documents().allow(Allowance { at_once: 1, a_day: 1 });
    let actor = Actor::of(site.peer.site, site.peer.device, &site.log());
    let key = DocumentKey::first(DocumentId::SiteNotes { site: site.peer.site });
    let mut notes = Replica::begin(key);
    let mut offer = |text: &str| {
        let change = notes.edit(actor, 0, &[("topic/a", text.to_owned())]).expect("an edit");
        let (hash, bytes) = (change.hash, change.bytes().to_vec());
        let offered = vec![DocumentChange { key, hash, bytes }];
        hq.take_changes(site.peer, &site.log(), offered).expect("decides").len()
    };
    let told = || hq.link(site.peer.device).last_error.map(|(_, why)| why);
    assert_eq!((offer("first"), told()), (0, None));
    assert_eq!(offer("second"), 1, "it waits");
    let told = told().expect("people are told");
    assert!(told.contains("revoke the installation"), "{told}");
    hq.close().await;
}

#[tokio::test]
async fn a_backup_restores_into_another_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let hands = Hands::new();
    let hq = init(&first, CostScope::Site, hands.clock()).await;
    populate(&hq, 1).await;
    let mut site = Site::new(1, 2);
    site.register(&hq).await;
    trade(&hq, &mut site).await;
    let made = hq.backup(&folder.path().join("backup")).expect("copied");
    assert_eq!(hq.intake().log(&site.log()).expect("known").safe.0, 2);
    site.record(sale(1, "1", "150"));
    site.send(&hq, 1).await;
    site.posted(&hq).await;
    let history = hq.store().history();
    hq.close().await;

    let now = hands.clock().now();
    let restored = restore(&folder.path().join("backup"), &second, now).expect("restored");
    assert_eq!(restored, made);
    let hq = Headquarters::open(&second, hands.clock()).expect("opens");
    assert_ne!(hq.store().history(), history);
    // HQ may have stated by now that it was restored.
    assert!(hq.published().last().borrow().0 >= made.position);
    assert_eq!(balances(&hq.published().ledgers().books), expected());
    site.send(&hq, 1).await;
    site.posted(&hq).await;
    assert_whole(&hq);
    hq.close().await;

    let again = restore(&folder.path().join("backup"), &second, now).expect_err("is there");
    assert!(again.to_string().contains("nothing was changed"), "{again}");
    let file = folder.path().join("backup/books.redb");
    let mut bytes = std::fs::read(&file).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("writes");
    let third = folder.path().join("third");
    let damaged =
        restore(&folder.path().join("backup"), &third, now).expect_err("damaged").to_string();
    assert!(damaged.contains("books.redb is damaged"), "{damaged}");
    assert!(!third.exists());
}

#[tokio::test]
async fn an_invoice_in_another_currency_waits_for_its_rate() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    populate(&hq, 1).await;
    let mut site = Site::new(1, 2);
    site.register(&hq).await;
    let received = site.record(receipt(1, "10", "70"));
    site.send(&hq, 100).await;
    site.posted(&hq).await;
    invoice_in(&hq, Some("USD"), received, "11").await;
    let waiting = |hq: &Headquarters| hq.published().ledgers().books.waiting().count();
    assert_eq!(waiting(&hq), 1);
    let usd = "USD".parse().expect("a code");
    let rate = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        let day = |text: &str| text.parse().expect("a day");
        draft.rate(usd, "7.1", day("1970-01-01"), Some(day("2200-12-31")))?;
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    rate.await.expect("recorded");
    assert_eq!(waiting(&hq), 0);
    let expected = [(Role::Inventory, 78_100), (Role::Payable, -78_100)];
    assert_eq!(balances(&hq.published().ledgers().books), BTreeMap::from(expected));
    assert_whole(&hq);
    hq.close().await;
}

#[tokio::test]
async fn invoices_and_payments_are_checked_before_they_are_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    populate(&hq, 1).await;
    let measured = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        draft.item_measure("bolt", None, Some("0.02"))?;
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    measured.await.expect("recorded");
    let mut site = Site::new(1, 2);
    site.register(&hq).await;
    let received = site.record(receipt(1, "10", "100"));
    let sold = site.record(sale(1, "4", "150"));
    site.send(&hq, 100).await;
    site.posted(&hq).await;
    check_finance(&hq, received, sold);
    hq.close().await;
}

fn check_finance(hq: &Headquarters, received: Capture, sold: Capture) {
    let now = hq.clock().now();
    let (ledgers, catalogue) = (hq.published().ledgers(), hq.published().catalogue());
    let desk = Desk::new(&catalogue, &ledgers.books, CompanyNo::FIRST, now).expect("a company");
    let line = |of: Capture, quantity: &str, price: &str| InvoiceDraft {
        partner: "acme".to_owned(),
        lines: vec![InvoiceLineDraft {
            of: of.to_string(),
            quantity: Some(quantity.to_owned()),
            price: price.to_owned(),
            unit: None,
        }],
        ..InvoiceDraft::default()
    };
    let nowhere = Capture { device: DeviceNo(2), counter: 99 };
    let cases = [
        (line(received, "10", "105"), None),
        (line(nowhere, "10", "105"), Some(FinanceError::NotInBooks(nowhere))),
        (
            line(sold, "10", "105"),
            Some(FinanceError::WrongKind {
                capture: sold,
                found: Kind::SaleIssue,
                needed: "receipt",
            }),
        ),
        (
            line(received, "0", "105"),
            Some(FinanceError::NotPositive { what: "a quantity", written: "0".to_owned() }),
        ),
        (
            InvoiceDraft { partner: "nobody".to_owned(), ..line(received, "1", "1") },
            Some(FinanceError::UnknownPartner("nobody".to_owned())),
        ),
        (InvoiceDraft { lines: vec![], ..line(received, "1", "1") }, Some(FinanceError::NoLines)),
    ];
    for (draft, expected) in cases {
        assert_eq!(desk.supplier_invoice(&draft).err(), expected);
    }
    check_costs(&desk, received, sold);
    let payment = PaymentDraft {
        partner: "acme".to_owned(),
        inward: true,
        amount: "500".to_owned(),
        allocations: vec![AllocationDraft { of: sold.to_string(), amount: "600".to_owned() }],
        ..PaymentDraft::default()
    };
    let next = Capture { device: DeviceNo(1), counter: 1 };
    let over = desk.payment(&payment, next).err();
    assert_eq!(over, Some(FinanceError::OverAllocated("500".to_owned())));
    let discounts = vec![AllocationDraft { of: sold.to_string(), amount: "1".to_owned() }];
    let customers = PaymentDraft { allocations: vec![], discounts, ..payment.clone() };
    assert_eq!(desk.payment(&customers, next).err(), Some(FinanceError::NoDiscountInward));
    let third_of_a_cent = PaymentDraft { amount: "0.001".to_owned(), ..payment };
    let written = "0.001".to_owned();
    let expected = FinanceError::TooManyDecimals { currency: common::currency(), written };
    assert_eq!(desk.payment(&third_of_a_cent, next).err(), Some(expected));
}
