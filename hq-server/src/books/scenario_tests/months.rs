//! Stories of months: closes, late facts after them, month-end averages.

use shared::fact::statement::{LateCost, PeriodAction, PeriodStep, PolicyKind};
use shared::time::Month;

use super::*;

/// January 1970, where day 0 lies.
pub(super) const JANUARY: Month = Month(1_970 * 12);
pub(super) const FEBRUARY: Month = Month(JANUARY.0 + 1);
const CLOSED_ON: i64 = 60;

impl Story {
    pub(super) fn step(&mut self, month: Month, step: PeriodStep) {
        let action = PeriodAction { month, step, reason: None };
        self.tell(0, CLOSED_ON, &Statement::PeriodAction(action));
    }

    pub(super) fn moved(&mut self, from: u32, to: u32, day: i64, quantity: &str) {
        let mut ship = movement(Kind::TransferShip, quantity);
        ship.other_site = Some(SiteNo(to));
        let ship = self.movement(from, day, ship);
        let mut receive = movement(Kind::TransferReceive, quantity);
        receive.refers_to = Some(ship);
        receive.other_site = Some(SiteNo(from));
        self.movement(to, day + 1, receive);
    }

    /// Quantity and value of a site's pool.
    fn holds(&self, site: u32) -> (i64, i64) {
        let pool = self.books.pool(CompanyNo(1), SiteNo(site), ITEM).expect("goods moved there");
        (pool.state.stock.quantity(), pool.state.stock.value())
    }

    pub(super) fn cost_of_sales(&self, site: u32) -> i128 {
        self.books.ledger().balance_at(AccountNo(Role::CostOfSales as u32), SiteNo(site))
    }

    /// Net postings to a role in a month.
    pub(super) fn net(&self, month: Month, role: Role) -> i128 {
        let rows = self.books.ledger().rows();
        let rows = rows.filter(|(account, held, ..)| (account.0, *held) == (role as u32, month));
        rows.map(|(.., turnover)| turnover.net()).sum()
    }
}

#[test]
fn a_late_fact_of_a_closed_month_is_posted_in_the_first_open_one() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 5, sale("4", "30"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.text.clear();
    story.movement(1, 2, receipt("10", "20"));
    story.expect(
        "1 fact | Dr inventory@1 200.00 | Cr received_not_invoiced@1 200.00
         2 late_fact | Cr inventory@1 20.00 | Dr cost_of_sales@1 20.00",
    );
    assert_eq!(story.net(JANUARY, Role::CostOfSales), 4_000);
    assert_eq!(story.net(FEBRUARY, Role::CostOfSales), 2_000);
    // What January would have been stands beside what it is.
    let month = story.books.month(CompanyNo(1), JANUARY);
    let of = |role: Role| {
        let line = month[&AccountNo(role as u32)];
        (line.posted.net(), line.happened.net())
    };
    assert_eq!(of(Role::CostOfSales), (4_000, 6_000));
    assert_eq!(of(Role::Inventory), (6_000, 24_000));
    assert_eq!(of(Role::ReceivedNotInvoiced), (-10_000, -30_000));
    // Open again, it takes its own.
    story.step(JANUARY, PeriodStep::ReopenTrade);
    story.text.clear();
    story.movement(1, 3, receipt("1", "20"));
    assert_eq!(story.net(FEBRUARY, Role::CostOfSales), 2_000);
    assert!(story.net(JANUARY, Role::ReceivedNotInvoiced) == -12_000, "{}", story.text);
}

#[test]
fn an_area_is_closed_before_the_next() {
    let mut story = Story::new(CostScope::Site);
    let received = story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 2, movement(Kind::Issue, "5"));
    story.step(JANUARY, PeriodStep::CloseTrade);
    // The invoice is posted in February; what it does to January's stock still in January.
    story.text.clear();
    story.tell(0, 20, &invoice(received, "10", "12"));
    story.movement(1, 21, movement(Kind::Issue, "1"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.movement(1, 22, movement(Kind::Issue, "1"));
    assert_eq!(story.net(FEBRUARY, Role::Payable), -12_000);
    assert_eq!(story.net(JANUARY, Role::OwnUse), 7_200);
    assert_eq!(story.net(FEBRUARY, Role::OwnUse), 1_200);
    assert_eq!(story.books.check(), Ok(()));
}

#[test]
fn a_close_settles_before_it_locks() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 5, receipt("1", "10"));
    // A late fact and the close come in one run: no settle entry stands between them.
    let stamp = |counter, day: i64| Stamp {
        capture: Capture { device: DeviceNo(9), counter },
        recorded_at: Timestamp(day * DAY),
        occurred_at: Timestamp(day * DAY),
        utc_offset: OffsetMinutes(0),
        group_left: 0,
        person: None,
        time_in_doubt: 0,
        company: None,
    };
    let late = Statement::Movement(receipt("1", "30")).to_fact(&stamp(1, 2)).expect("legal");
    let issue =
        Statement::Movement(movement(Kind::Issue, "1")).to_fact(&stamp(2, 6)).expect("legal");
    let run = |facts| Run {
        site: SiteNo(1),
        log: LogRank(77),
        first: Seq(1),
        received_at: Timestamp(0),
        facts,
    };
    story.books.apply(&Entry::Run(run(&[issue, late])));
    assert!(story.books.is_dirty());
    story.step(JANUARY, PeriodStep::CloseStock);
    assert_eq!(story.net(JANUARY, Role::OwnUse), 2_000);
    assert_eq!(story.net(FEBRUARY, Role::OwnUse), 0);
}

#[test]
fn a_month_end_average_is_taken_by_its_run() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &costing(CostMethod::MonthEndAverage));
    story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 5, sale("4", "30"));
    let second = story.movement(1, 9, receipt("10", "16"));
    assert_eq!(story.holds(1), (16, 22_000));
    story.step(JANUARY, PeriodStep::RunAverages);
    // 260.00 / 20 = 13.00.
    assert_eq!((story.holds(1), story.cost_of_sales(1)), ((16, 20_800), 5_200));
    // February leaves at January's until it has its own; an invoice goes on into both.
    story.movement(1, 40, sale("6", "30"));
    assert_eq!(story.cost_of_sales(1), 5_200 + 7_800);
    story.movement(1, 41, receipt("4", "20"));
    story.tell(0, 42, &invoice(second, "10", "18"));
    assert_eq!(story.cost_of_sales(1), 5_600 + 8_400);
    story.step(FEBRUARY, PeriodStep::CloseStock);
    // (224.00 + 80.00) / 20 = 15.20.
    assert_eq!((story.holds(1), story.cost_of_sales(1)), ((14, 21_280), 5_600 + 9_120));
    // What is late is averaged too, and posted in the first open month.
    story.movement(1, 35, receipt("20", "15.70"));
    assert_eq!(story.net(FEBRUARY, Role::CostOfSales), 9_120);
    assert_eq!(story.cost_of_sales(1), 5_600 + 9_270);
}

/// Worked by hand. January: site 1 has 10 at 10.00, site 2 has 10 at 20.00.
///
/// February around the loop 1 -> 2 -> 1, at the senders' January costs: 5 at 10.00, 4 at 20.00.
/// Site 1: (100.00 + 160.00 + 80.00 - 50.00) / (10 + 10 + 4 - 5) = 290.00 / 19; 6 cost 91.58.
/// Site 2: (200.00 + 50.00 - 80.00) / (10 + 5 - 4) = 170.00 / 11; 3 cost 46.36, and the 2 that go
/// on to site 3, outside the loop, 30.91. Site 3: 30.91 / 2; 1 costs 15.46.
#[test]
fn month_end_averages_around_a_loop_of_transfers() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &costing(CostMethod::MonthEndAverage));
    story.movement(1, 1, receipt("10", "10"));
    story.movement(2, 1, receipt("10", "20"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.movement(1, 32, receipt("10", "16"));
    story.moved(1, 2, 33, "5");
    story.moved(2, 1, 35, "4");
    story.movement(1, 37, sale("6", "30"));
    story.movement(2, 37, sale("3", "30"));
    story.moved(2, 3, 38, "2");
    story.movement(3, 40, sale("1", "30"));
    let costs = |story: &Story| [1, 2, 3].map(|site| story.cost_of_sales(site));
    assert_eq!(costs(&story), [6_000, 6_000, 2_000]);
    story.step(FEBRUARY, PeriodStep::CloseStock);
    assert_eq!(costs(&story), [9_158, 4_636, 1_546]);
    assert_eq!([1, 2, 3].map(|site| story.holds(site)), [(13, 19_842), (6, 9_273), (1, 1_545)]);
    assert_eq!(story.books.role_balance(Role::InterSiteTransit), 0);
    // Without the way back there is no loop: site 2 gets what site 1's month costs.
    let back = story
        .books
        .facts()
        .iter()
        .find(|(_, record)| record.kind == Kind::TransferReceive && record.site == SiteNo(1));
    let back = back.map(|(_, record)| record.capture).expect("it came back");
    story.tell(0, 61, &Statement::Reversal { refers_to: back, reason: None });
    // Site 1: 260.00 / 20 = 13.00; site 2: (200.00 + 65.00) / 15 = 17.67; site 3: 35.33 / 2.
    assert_eq!(costs(&story), [7_800, 5_300, 1_767]);
    assert_eq!(story.books.role_balance(Role::InterSiteTransit), 7_067);
}

#[test]
fn a_month_without_an_average_keeps_the_last_known_cost() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &costing(CostMethod::MonthEndAverage));
    story.movement(1, 1, receipt("2", "10"));
    story.movement(1, 2, sale("5", "30"));
    story.step(JANUARY, PeriodStep::CloseStock);
    // 20.00 / 2: what is missing costs the same.
    assert_eq!((story.holds(1), story.cost_of_sales(1)), ((-3, -3_000), 5_000));
    story.movement(1, 33, receipt("3", "12"));
    story.text.clear();
    story.step(FEBRUARY, PeriodStep::CloseStock);
    assert_eq!((story.holds(1), story.cost_of_sales(1)), ((0, 0), 5_000));
    assert_eq!(story.books.role_balance(Role::PriceVariance), 600);
}

#[test]
fn newer_rules_hold_from_their_place_on() {
    let mut story = Story::new(CostScope::Site);
    let rules = |number| {
        let data = MasterData::Rules { number };
        Statement::MasterData { valid_from: None, data }
    };
    story.tell(0, 0, &rules(1));
    story.movement(1, 1, receipt("10", "10"));
    story.text.clear();
    story.step(JANUARY, PeriodStep::CloseStock);
    story.expect("waits: it is understood from rules 2 on: they begin when this program serves HQ");
    story.movement(1, 2, receipt("1", "10"));
    assert_eq!(story.net(JANUARY, Role::ReceivedNotInvoiced), -11_000);
    story.tell(0, CLOSED_ON, &rules(2));
    assert_eq!(story.books.waiting().count(), 0);
    story.movement(1, 3, receipt("1", "10"));
    assert_eq!(story.net(FEBRUARY, Role::ReceivedNotInvoiced), -1_000);
}

/// A story whose company lets the first open month bear what is late.
fn forwarding() -> Story {
    let mut story = Story::new(CostScope::Site);
    let (policy, setting) = (PolicyKind::LateCost, LateCost::Forward as i64);
    let data = MasterData::Policy { company: Some(CompanyNo(1)), site: None, policy, setting };
    story.tell(0, 0, &Statement::MasterData { valid_from: None, data });
    story
}

impl Story {
    /// What item there was at a site at the end of January, by all that is known now.
    fn held_in_january(&self) -> i64 {
        let standing = self.books.standing(PoolId(0), Timestamp(31 * DAY - 1));
        standing.quantity()
    }
}

#[test]
fn the_open_month_bears_a_late_receipt() {
    let mut story = forwarding();
    story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 5, sale("4", "30"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.text.clear();
    story.movement(1, 2, receipt("10", "20"));
    story.expect("1 fact | Dr inventory@1 200.00 | Cr received_not_invoiced@1 200.00");
    assert_eq!((story.holds(1), story.held_in_january()), ((16, 26_000), 16));
    // 260.00 / 16: February's goods cost what January's late ones make of them.
    story.movement(1, 40, sale("4", "30"));
    assert_eq!(
        [JANUARY, FEBRUARY].map(|month| story.net(month, Role::CostOfSales)),
        [4_000, 6_500]
    );
}

#[test]
fn the_open_month_bears_a_late_bill() {
    let mut story = forwarding();
    let received = story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 5, sale("4", "30"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.text.clear();
    let billed = story.tell(0, 40, &invoice(received, "10", "12"));
    story.expect(
        "1 fact | Cr payable@0 120.00 | Dr received_not_invoiced@1 120.00
         2 invoice | Dr inventory@1 20.00 | Cr received_not_invoiced@1 20.00",
    );
    let freight = LandedCost {
        refers_to: received,
        amount: money("4"),
        shared_by: None,
        partner: Some(PartnerNo(1)),
        document: None,
        document_date: None,
        due_date: None,
    };
    story.tell(0, 41, &Statement::LandedCost(freight));
    assert_eq!(story.holds(1), (6, 8_400));
    let taken = story.tell(0, 41, &discount(billed, "2.40", PurchaseCashDiscount::Cost));
    assert_eq!(story.holds(1), (6, 8_160));
    story.tell(0, 41, &Statement::Reversal { refers_to: taken, reason: None });
    assert_eq!(story.holds(1), (6, 8_400));
    story.movement(1, 42, sale("6", "30"));
    assert_eq!(
        [JANUARY, FEBRUARY].map(|month| story.net(month, Role::CostOfSales)),
        [4_000, 8_400]
    );
    // Nothing is left to take what comes now; what was billed is not billed any more.
    let Statement::SupplierInvoice(note) = invoice(received, "10", "1") else {
        panic!("an invoice is one")
    };
    story.tell(0, 43, &Statement::CreditNote(note));
    assert_eq!(story.holds(1), (0, 0));
    assert_eq!(story.books.role_balance(Role::ReceivedNotInvoiced), -10_000);
    assert_eq!(story.books.role_balance(Role::PriceVariance), 9_000);
    story.tell(0, 44, &Statement::Reversal { refers_to: billed, reason: None });
    assert_eq!(story.net(JANUARY, Role::CostOfSales), 4_000);
}

#[test]
fn what_the_rate_moved_is_no_cost_of_a_late_bill_either() {
    let mut story = forwarding();
    story.tell(0, 0, &rate("7", 0, 31));
    story.tell(0, 0, &rate("8", 31, 90));
    let received = story.movement(1, 1, abroad("10", "10"));
    story.step(JANUARY, PeriodStep::CloseStock);
    let bill = invoice_abroad(received, "10", "12");
    story.tell(0, 40, &Statement::SupplierInvoice(bill));
    // 10 x 12.00 x 7 belong to the goods, 10 x 12.00 x 1 to the rate.
    assert_eq!(story.holds(1), (10, 84_000));
    let balances = [Role::ExchangeDifference, Role::PriceVariance, Role::ReceivedNotInvoiced];
    assert_eq!(balances.map(|role| story.books.role_balance(role)), [12_000, 0, 0]);
}

#[test]
fn a_closed_count_keeps_what_it_found() {
    let mut story = forwarding();
    story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 20, movement(Kind::Count, "8"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.text.clear();
    // The issue explains a part of what was missing.
    story.movement(1, 10, movement(Kind::Issue, "1"));
    story.expect(
        "1 fact | Cr inventory@1 10.00 | Dr own_use@1 10.00
         2 late_fact | Cr inventory@1 -10.00 | Dr stock_adjustment@1 -10.00",
    );
    assert_eq!((story.holds(1), story.held_in_january()), ((8, 8_000), 8));
    assert_eq!(story.net(JANUARY, Role::StockAdjustment), 2_000);
}

/// February: 8 at 10.00 and 10 at 20.00 make 280.00 / 18; the count takes 10 of them back. Issues of
/// 3, 3 and 2 would leave a cent too little: the last one takes it.
#[test]
fn a_month_end_average_counts_what_a_closed_count_takes_back() {
    let mut story = forwarding();
    story.tell(0, 0, &costing(CostMethod::MonthEndAverage));
    story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 20, movement(Kind::Count, "8"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.movement(1, 10, receipt("10", "20"));
    for (day, quantity) in [(40, "3"), (41, "3"), (42, "2")] {
        story.movement(1, day, movement(Kind::Issue, quantity));
    }
    story.step(FEBRUARY, PeriodStep::CloseStock);
    assert_eq!(story.net(FEBRUARY, Role::StockAdjustment), 15_556);
    assert_eq!(story.holds(1), (0, 0));
}

#[test]
fn a_late_count_compares_with_its_own_time() {
    let mut story = forwarding();
    story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 25, movement(Kind::Issue, "3"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.movement(1, 40, movement(Kind::Issue, "2"));
    // Nine were there when ten should have been; what left since left.
    story.movement(1, 20, movement(Kind::Count, "9"));
    assert_eq!((story.holds(1), story.held_in_january()), ((4, 4_000), 6));
    assert_eq!(story.net(FEBRUARY, Role::StockAdjustment), 1_000);
}

#[test]
fn a_reversal_of_what_is_closed_is_traced() {
    let mut story = forwarding();
    let wrong = story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 2, receipt("10", "20"));
    story.movement(1, 5, sale("4", "30"));
    story.step(JANUARY, PeriodStep::CloseStock);
    story.tell(0, 45, &Statement::Reversal { refers_to: wrong, reason: None });
    assert_eq!(story.holds(1), (6, 12_000));
    assert_eq!(
        [JANUARY, FEBRUARY].map(|month| story.net(month, Role::CostOfSales)),
        [6_000, 2_000]
    );
}

/// Goods of January, paid with a discount that is theirs, and all of them sold.
fn discounted() -> (Story, Capture, Capture) {
    let mut story = forwarding();
    let received = story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 5, sale("10", "30"));
    let bill = story.tell(0, 6, &invoice(received, "10", "10"));
    let taken = story.tell(0, 7, &discount(bill, "2.40", PurchaseCashDiscount::Cost));
    assert_eq!(story.net(JANUARY, Role::CostOfSales), 9_760);
    story.step(JANUARY, PeriodStep::CloseStock);
    (story, bill, taken)
}

#[test]
fn a_discount_that_was_in_time_is_traced_whatever_is_voided_later() {
    let reversal = |of| Statement::Reversal { refers_to: of, reason: None };
    let roles = [Role::CostOfSales, Role::PriceVariance, Role::LandedCostClearing, Role::Payable];
    let balances = |story: &Story| roles.map(|role| story.books.role_balance(role));
    for voided in [0, 1] {
        let (mut story, bill, taken) = discounted();
        let before = balances(&story);
        let void = story.tell(0, 40, &reversal([bill, taken][voided]));
        assert_eq!(story.books.role_balance(Role::CostOfSales), 10_000);
        story.tell(0, 41, &reversal(void));
        assert_eq!(balances(&story), before);
    }
    // The receipt of others' goods is none of the discount's.
    let (mut story, ..) = discounted();
    story.movement(1, 39, receipt("5", "10"));
    let received = Capture { device: DeviceNo(2), counter: 1 };
    story.tell(1, 40, &reversal(received));
    assert_eq!(story.books.role_balance(Role::LandedCostClearing), -240);
}

#[test]
fn a_closed_month_does_not_move_by_a_late_discount() {
    let mut story = forwarding();
    let received = story.movement(1, 1, receipt("10", "10"));
    story.step(JANUARY, PeriodStep::CloseStock);
    let bill = story.tell(0, 40, &invoice(received, "10", "10"));
    let taken = story.tell(0, 41, &discount(bill, "2.40", PurchaseCashDiscount::Cost));
    assert_eq!(story.net(FEBRUARY, Role::Inventory), -240);
    story.step(FEBRUARY, PeriodStep::CloseStock);
    story.tell(0, 70, &Statement::Reversal { refers_to: taken, reason: None });
    assert_eq!(story.net(FEBRUARY, Role::Inventory), -240);
    assert_eq!((story.holds(1), story.books.check()), ((10, 10_000), Ok(())));
    // On a bill that is void already it does nothing from the beginning.
    let mut story = forwarding();
    let received = story.movement(1, 1, receipt("10", "10"));
    story.step(JANUARY, PeriodStep::CloseStock);
    let bill = story.tell(0, 40, &invoice(received, "10", "10"));
    story.tell(0, 41, &Statement::Reversal { refers_to: bill, reason: None });
    story.text.clear();
    story.tell(0, 42, &discount(bill, "2.40", PurchaseCashDiscount::Cost));
    story.expect("");
}
