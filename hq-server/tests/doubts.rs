//! Clocks in doubt at an installation: what HQ says by itself, what a person may say, and what a close
//! makes of the rest.

mod common;

use common::{Hands, START, Site, init, populate, receipt, sale};
use hq_server::headquarters::Headquarters;
use hq_server::own_log::{Desk, FinanceError, PeriodDraft, RetimeDraft};
use shared::catalogue::OpenTransfer;
use shared::fact::Kind;
use shared::fact::effective::LogRank;
use shared::fact::statement::{CostScope, DoubtfulTime, Movement, PeriodStep, PolicyKind};
use shared::ids::{Capture, CompanyNo, DeviceNo, ItemNo, Seq, SiteNo};
use shared::sync::StateCursor;
use shared::time::Timestamp;
use tempfile::TempDir;

const HOUR: i64 = 3_600_000;

/// When HQ receives everything: 2026-12-02T16:00 in the company's zone.
const RECEIVED: i64 = START + 30 * 24 * HOUR;

/// HQ with one site that sold something by a clock in doubt, this long after its last word.
async fn doubted(hours_before: i64) -> (TempDir, Headquarters, Capture) {
    received_at(RECEIVED, hours_before).await
}

/// The same where HQ receives it at another time.
async fn received_at(received: i64, hours_before: i64) -> (TempDir, Headquarters, Capture) {
    let folder = tempfile::tempdir().expect("a folder");
    let hands = Hands::new();
    hands.move_ms(received - RECEIVED);
    let hq = init(folder.path(), CostScope::Site, hands.clock()).await;
    populate(&hq, 1).await;
    let mut site = Site::new(1, 2);
    site.register(&hq).await;
    site.record_at(receipt(1, "10", "100"), received - hours_before * HOUR);
    site.doubt = 4;
    let sold = site.record_at(sale(1, "4", "150"), received + 70 * 365 * 24 * HOUR);
    site.send(&hq, 100).await;
    site.posted(&hq).await;
    assert_eq!(in_doubt(&hq), 1);
    (folder, hq, sold)
}

fn in_doubt(hq: &Headquarters) -> usize {
    hq.published().ledgers().books.in_doubt().count()
}

/// When a fact counts, where it does.
fn counts_at(hq: &Headquarters, fact: Capture) -> Option<i64> {
    let ledgers = hq.published().ledgers();
    let facts = ledgers.books.facts();
    facts.find(fact).map(|id| facts[id].key.effective_at().0)
}

fn on_hand(hq: &Headquarters) -> (i64, i128) {
    let ledgers = hq.published().ledgers();
    let held = ledgers.books.on_hand(CompanyNo::FIRST, SiteNo(1), ItemNo(1)).0;
    (held, ledgers.books.without_value().values().sum())
}

/// A person says when facts happened.
async fn retime(hq: &Headquarters, (first, last): (u64, u64), at: &str) -> Result<(), String> {
    let draft = RetimeDraft {
        site: "site-1".to_owned(),
        device: None,
        logs: hq.logs_of_sites(),
        first: Seq(first),
        last: Seq(last),
        at: at.to_owned(),
        reason: None,
    };
    let now = hq.clock().now();
    let stated = hq.own_log().record(|published, _| {
        let (ledgers, catalogue) = (published.ledgers(), published.catalogue());
        let desk = Desk::new(&catalogue, &ledgers.books, CompanyNo::FIRST, now)?;
        Ok::<_, FinanceError>((vec![desk.retime(&draft)?], ()))
    });
    stated.await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn hq_places_what_it_knows_to_within_a_day_of_one_month() {
    // Two in the afternoon on the second of December, by the newest word before: its log tells.
    let (folder, hq, sold) = doubted(2).await;
    assert_eq!((on_hand(&hq), counts_at(&hq, sold)), ((10, -4), None));
    assert_eq!(hq.place_what_is_known().await, Ok(1));
    let placed = Some(RECEIVED - 2 * HOUR);
    assert_eq!((on_hand(&hq), counts_at(&hq, sold)), ((6, 0), placed));
    assert_eq!(hq.place_what_is_known().await, Ok(0));
    let hash = hq.published().ledgers().books.state_hash();
    hq.close().await;
    drop(hq);
    // The decision stands in HQ's log.
    let again = Headquarters::open(folder.path(), Hands::new().clock()).expect("opens");
    assert_eq!(again.published().ledgers().books.state_hash(), hash);
    assert_eq!((counts_at(&again, sold), again.place_what_is_known().await), (placed, Ok(0)));
    again.close().await;
}

#[tokio::test]
async fn hq_leaves_to_people_what_it_does_not_know() {
    // More than a day is too much; six hours of two months as well.
    let new_month = RECEIVED - 36 * HOUR;
    for (received, hours) in [(RECEIVED, 72), (RECEIVED + 240 * HOUR, 25), (new_month, 6)] {
        let (_folder, hq, sold) = received_at(received, hours).await;
        assert_eq!(hq.place_what_is_known().await, Ok(0), "{hours}");
        retime(&hq, (2, 2), "2026-12-01T03:30").await.expect("said");
        let half_past_three = new_month - HOUR / 2;
        assert_eq!((on_hand(&hq), counts_at(&hq, sold)), ((6, 0), Some(half_past_three)));
        // Said again, it moves.
        retime(&hq, (2, 2), "2026-11-30T08:00").await.expect("said");
        assert_eq!(counts_at(&hq, sold), Some(new_month - 20 * HOUR));
        hq.published().ledgers().books.check().expect("whole");
        hq.close().await;
    }
}

#[tokio::test]
async fn a_company_may_leave_every_time_to_people() {
    let (_folder, hq, _) = doubted(2).await;
    let stated = hq.own_log().record(|published, _| {
        let mut draft = hq_server::own_log::Draft::new(&published.catalogue());
        let by_hand = DoubtfulTime::ByHand.word();
        draft.policy(PolicyKind::DoubtfulTime, by_hand, None)?;
        Ok::<_, hq_server::own_log::DraftError>((draft.into_groups(), ()))
    });
    stated.await.expect("recorded");
    assert_eq!(hq.place_what_is_known().await, Ok(0));
    hq.close().await;
}

#[tokio::test]
async fn a_retime_is_refused_where_it_says_nothing() {
    let (_folder, hq, _) = doubted(2).await;
    let cases = [
        ((2, 1), "2026-12-02T09:30", "fact 1 stands before fact 2"),
        ((2, 9), "2026-12-02T09:30", "HQ has no fact 9 of site 'site-1': wait"),
        ((1, 1), "2026-12-02T09:30", "was not in doubt at fact 1: its time stands"),
        ((1, 2), "2026-12-02T09:30", "was not in doubt at fact 1: its time stands"),
        ((2, 2), "2026-12-02", "'2026-12-02' is no time: write YEAR-MONTH-DAYTHOUR:MINUTE"),
        ((2, 2), "2026-12-02T16:01", "HQ received fact 2 at 2026-12-02T08:00:00.000Z"),
    ];
    for (range, at, expected) in cases {
        let refused = retime(&hq, range, at).await.expect_err("refused");
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(retime(&hq, (2, 2), "2026-12-02T16:00").await, Ok(()));
    let rank = LogRank::of(&Site::new(1, 2).log());
    assert!(hq.published().ledgers().books.was_in_doubt(rank, Seq(2)), "also once it is placed");
    hq.close().await;
}

#[tokio::test]
async fn stock_closes_where_nothing_in_doubt_may_be_of_the_month() {
    let close = |hq: &Headquarters, despite_waiting: bool| {
        let (ledgers, catalogue) = (hq.published().ledgers(), hq.published().catalogue());
        let now = Timestamp(RECEIVED);
        let desk = Desk::new(&catalogue, &ledgers.books, CompanyNo::FIRST, now).expect("a company");
        let draft = PeriodDraft {
            month: "2026-11".parse().expect("a month"),
            step: PeriodStep::CloseStock,
            reason: None,
            despite_waiting,
            doubtful: Vec::new(),
            despite_doubt: false,
        };
        desk.period(&draft).map(drop)
    };
    let month = "2026-11".parse().expect("a month");
    // Known to be of December; or of either month.
    for (hours, refused) in [(2, false), (72, true)] {
        let (_folder, hq, _) = doubted(hours).await;
        let expected =
            if refused { Err(FinanceError::TimeInDoubt { month, waiting: 1 }) } else { Ok(()) };
        assert_eq!(close(&hq, false), expected);
        assert_eq!(close(&hq, true), Ok(()));
        hq.close().await;
    }
}

#[tokio::test]
async fn two_installations_of_a_site_are_told_apart() {
    let (_folder, hq, _) = doubted(2).await;
    let mut second = Site::new(1, 3);
    second.register(&hq).await;
    second.doubt = 1;
    second.record(receipt(1, "1", "1"));
    second.record(receipt(1, "1", "1"));
    second.send(&hq, 100).await;
    second.posted(&hq).await;
    let now = hq.clock().now();
    let draft = |device: Option<u32>| RetimeDraft {
        site: "site-1".to_owned(),
        device: device.map(DeviceNo),
        logs: hq.logs_of_sites(),
        first: Seq(2),
        last: Seq(2),
        at: "2026-12-01T08:00".to_owned(),
        reason: None,
    };
    let said = |device: Option<u32>| {
        let (ledgers, catalogue) = (hq.published().ledgers(), hq.published().catalogue());
        let desk = Desk::new(&catalogue, &ledgers.books, CompanyNo::FIRST, now)?;
        desk.retime(&draft(device)).map(drop)
    };
    let refused = said(None).expect_err("of which?").to_string();
    assert!(refused.ends_with("name one with --device"), "{refused}");
    assert_eq!((said(Some(2)), said(Some(3))), (Ok(()), Ok(())));
    hq.close().await;
}

#[tokio::test]
async fn goods_that_left_at_a_time_in_doubt_are_told_and_may_be_received() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    populate(&hq, 2).await;
    let (mut from, mut to) = (Site::new(1, 2), Site::new(2, 3));
    from.register(&hq).await;
    to.register(&hq).await;
    from.doubt = 4;
    let mut ship = Movement::new(Kind::TransferShip, ItemNo(1), common::measure("6"));
    ship.other_site = Some(SiteNo(2));
    let ship = from.record(ship);
    from.send(&hq, 100).await;
    from.posted(&hq).await;
    let told = |hq: &Headquarters| {
        let signed = hq.intake().state_since(SiteNo(2), StateCursor::START, 1_000);
        let facts = signed.expect("something").batch.facts().expect("packed by HQ");
        let transfers = facts.iter().filter_map(OpenTransfer::parse);
        let open = transfers.map(|it| (it.ship, it.quantity.figure.to_string(), it.open));
        open.collect::<Vec<_>>()
    };
    assert_eq!(told(&hq), [(ship, "6".to_owned(), true)]);
    let mut receive = Movement::new(Kind::TransferReceive, ItemNo(1), common::measure("4"));
    receive.refers_to = Some(ship);
    to.record(receive);
    to.send(&hq, 100).await;
    to.posted(&hq).await;
    assert_eq!(told(&hq), [(ship, "2".to_owned(), true)]);
    retime(&hq, (1, 1), "2026-11-02T09:00").await.expect("said");
    assert_eq!(told(&hq), [(ship, "2".to_owned(), true)]);
    assert_eq!((in_doubt(&hq), hq.published().ledgers().books.waiting().count()), (0, 0));
    hq.close().await;
}
