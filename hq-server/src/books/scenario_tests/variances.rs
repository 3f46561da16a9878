//! Stories of standard cost whose variances stock carries, worked by hand.

use shared::fact::statement::{LateCost, PeriodStep, StandardVariance};

use super::months::{FEBRUARY, JANUARY};
use super::*;
use crate::report::cost::{CostDraft, CostFilter};
use crate::report::figure::Figure;
use crate::report::lens::Lens;
use crate::report::stock::{StockBalance, StockFilter};

const MARCH: shared::time::Month = shared::time::Month(FEBRUARY.0 + 1);

fn of_partner(kind: Kind, quantity: &str) -> Movement {
    Movement { partner: Some(PartnerNo(1)), ..movement(kind, quantity) }
}

/// Everything costs 10.00 at standard, at every site; stock carries what it costs beyond that.
fn carrying() -> Story {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &costing(CostMethod::Standard));
    story.choose(None, PolicyKind::StandardVariance, StandardVariance::Allocate as i64);
    for site in 1..4 {
        story.standard(site, 0, "10");
    }
    story.text.clear();
    story
}

impl Story {
    fn choose(&mut self, from: Option<i64>, policy: PolicyKind, setting: i64) {
        let data = MasterData::Policy { company: Some(CompanyNo(1)), site: None, policy, setting };
        let valid_from = from.map(|day| Timestamp(day * DAY));
        self.tell(0, from.unwrap_or(0), &Statement::MasterData { valid_from, data });
    }

    fn standard(&mut self, site: u32, day: i64, cost: &str) {
        let pool = PoolName { item: ITEM, site: Some(SiteNo(site)), lot: None };
        let stated = StandardCost { pool, cost: price(cost), reason: None };
        self.tell(0, day, &Statement::StandardCost(stated));
    }

    /// What a site's pool is worth at standard, and what it carries beyond.
    fn worth(&self, site: u32) -> (i64, i64) {
        let pool = self.books.pool(CompanyNo(1), SiteNo(site), ITEM).expect("goods moved there");
        (pool.state.stock.value(), pool.state.stock.beyond())
    }

    fn balances<const N: usize>(&self, roles: [Role; N]) -> [i128; N] {
        roles.map(|role| self.books.role_balance(role))
    }

    fn returned(&mut self, day: i64, quantity: &str, sale: Capture) {
        let back = of_partner(Kind::CustomerReturn, quantity);
        self.movement(1, day, Movement { refers_to: Some(sale), ..back });
    }
}

/// January: 10 come for 106.00, 4 are sold: 6.00 / 100.00 of 40.00 are 2.40.
///
/// February begins with 3.60 on 60.00. 10 come for 110.00, invoiced at 114.00, 10 for 95.00, and one
/// of January's four comes back for 10.60: 14.00 - 5.00 + 0.60 on 210.00. The rate is 13.20 / 270.00.
/// The 5 sold bear 2.44, one of them brings 0.49 back; 3 for own use bear 1.47; 4 go to site 2 with
/// 1.96, of which the 2 sold there bear 0.98.
///
/// After the close 10 come late for 103.50: 16.70 / 370.00 makes 2.26, 0.45, 1.35 and 1.81, and
/// at site 2 0.91. From March on variances are expensed: 20.00 of 10 that come for 120.00. What is
/// there goes on: 11.73 / 360.00 of 90.00 are 2.93.
#[test]
fn variances_are_shared_over_what_left_and_what_stayed() {
    let mut story = carrying();
    story.movement(1, 1, receipt("10", "10.60"));
    let sold = story.movement(1, 5, of_partner(Kind::SaleIssue, "4"));
    story.expect(
        "1 fact | Dr inventory@1 100.00 | Dr stock_variance@1 6.00 | Cr received_not_invoiced@1 106.00
         2 fact | Cr inventory@1 40.00 | Dr cost_of_sales@1 40.00",
    );
    story.step(JANUARY, PeriodStep::CloseStock);
    story.expect("3 month_end | Dr cost_of_sales@1 2.40 | Dr stock_variance@1 -2.40");
    assert_eq!(story.worth(1), (6_000, 360));

    let first = story.movement(1, 32, receipt("10", "11"));
    story.movement(1, 33, receipt("10", "9.50"));
    story.tell(0, 34, &invoice(first, "10", "11.40"));
    let again = story.movement(1, 36, of_partner(Kind::SaleIssue, "5"));
    story.movement(1, 37, movement(Kind::Issue, "3"));
    story.moved(1, 2, 38, "4");
    story.movement(2, 40, of_partner(Kind::SaleIssue, "2"));
    story.returned(41, "1", again);
    story.returned(42, "1", sold);
    assert_eq!((story.worth(1), story.worth(2)), ((16_000, 1_320), (2_000, 0)));
    story.step(FEBRUARY, PeriodStep::CloseStock);
    assert_eq!((story.worth(1), story.worth(2)), ((16_000, 782), (2_000, 98)));
    let sales = |story: &Story| [1, 2].map(|site| story.cost_of_sales(site));
    // 42.40 and 52.44, less 10.49 and 10.60; 20.98.
    assert_eq!(sales(&story), [4_240 + 5_244 - 1_049 - 1_060, 2_098]);
    let roles = [Role::OwnUse, Role::StockVariance, Role::InterSiteTransit, Role::PriceVariance];
    assert_eq!(story.balances(roles), [3_147, 880, 0, 0]);

    story.movement(1, 35, receipt("10", "10.35"));
    assert_eq!((story.worth(1), story.worth(2)), ((26_000, 1_173), (2_000, 90)));
    assert_eq!(sales(&story), [4_240 + 5_226 - 1_045 - 1_060, 2_091]);
    assert_eq!(story.net(FEBRUARY, Role::OwnUse), 3_147);
    assert_eq!(story.net(MARCH, Role::OwnUse), -12);

    story.choose(Some(59), PolicyKind::StandardVariance, StandardVariance::Expense as i64);
    story.movement(1, 60, receipt("10", "12"));
    story.movement(1, 61, movement(Kind::Issue, "9"));
    assert_eq!(story.balances([Role::PriceVariance]), [2_000]);
    story.step(MARCH, PeriodStep::RunAverages);
    assert_eq!(story.worth(1), (27_000, 1_173 - 293));
    assert_eq!(story.net(MARCH, Role::OwnUse), -12 + 9_293);
}

#[test]
fn reports_show_what_stock_carries_and_the_rate_that_shared_it() {
    let mut story = carrying();
    story.movement(1, 1, receipt("10", "10.60"));
    story.movement(1, 5, of_partner(Kind::SaleIssue, "4"));
    story.step(JANUARY, PeriodStep::CloseStock);
    let pool = PoolName { item: ITEM, site: Some(SiteNo(1)), lot: None };
    let loss = WriteDown { pool, amount: money("1"), reason: None };
    story.tell(0, 40, &Statement::WriteDown(loss));
    let lens = Lens::new(&story.books, CompanyNo(1));
    let text = |figure: Option<Figure>| figure.map(|figure| figure.to_string());
    for at in [None, Some(Timestamp(50 * DAY).day(OffsetMinutes(0)))] {
        let filter = StockFilter { at, ..StockFilter::default() };
        let stock = StockBalance::of(&lens, filter, 1);
        let row = &stock.rows[0];
        let shown = [Some(row.value), row.variance, row.allowance, row.carrying].map(text);
        assert_eq!(shown, ["60.00", "3.60", "1.00", "62.60"].map(|each| Some(each.to_owned())));
        let sums = [Some(stock.value), stock.variance, stock.allowance, stock.carrying];
        assert_eq!(sums.map(text), shown);
        assert!(stock.tie.is_none_or(|tie| tie.word() == "even"));
    }
    let filter = CostFilter { item: ITEM, site: SiteNo(1), lot: None, at: None, page: 1 };
    let draft = CostDraft::of(&lens, &filter).expect("the pool is there");
    let cost = draft.with(&lens, &[]);
    assert_eq!(text(cost.variance), Some("3.60".to_owned()));
    let sold = cost.lines.last().and_then(|line| line.variance.clone()).expect("it bears some");
    let figures = [Some(sold.amount), Some(sold.balance), sold.shared, sold.over].map(text);
    assert_eq!(figures, ["-2.40", "3.60", "6.00", "100.00"].map(|each| Some(each.to_owned())));
}

/// 0.03 on 40.00: three issues of 10.00 bear 0.01 each, nothing is left for the fourth.
#[test]
fn the_last_issue_takes_what_the_rate_leaves() {
    let mut story = carrying();
    story.movement(1, 1, receipt("3", "10.01"));
    story.movement(1, 2, receipt("1", "10"));
    for day in 3..7 {
        story.movement(1, day, movement(Kind::Issue, "1"));
    }
    story.text.clear();
    story.step(JANUARY, PeriodStep::RunAverages);
    // Until then the last one bore all of it.
    story.expect("");
    assert_eq!((story.worth(1), story.balances([Role::OwnUse])), ((0, 0), [4_003]));
    let borne = |story: &Story| -> Vec<i64> {
        let facts = story.books.facts().iter();
        let issues = facts.filter(|(_, record)| record.kind == Kind::Issue);
        issues.map(|(_, record)| record.target.counter).collect()
    };
    assert_eq!(borne(&story), [1_001, 1_001, 1_001, 1_000]);
}

#[test]
fn goods_go_back_to_a_supplier_with_what_they_came_with() {
    let mut story = carrying();
    let received = story.movement(1, 1, receipt("10", "11"));
    let freight = LandedCost {
        refers_to: received,
        amount: money("5"),
        shared_by: None,
        partner: None,
        document: None,
        document_date: None,
        due_date: None,
    };
    story.tell(0, 2, &Statement::LandedCost(freight));
    assert_eq!(story.worth(1), (10_000, 1_500));
    story.text.clear();
    let back = of_partner(Kind::SupplierReturn, "4");
    story.movement(1, 3, Movement { refers_to: Some(received), ..back });
    story.expect(
        "3 fact | Cr inventory@1 40.00 | Dr stock_variance@1 -6.00 | Dr received_not_invoiced@1 44.00 | Dr return_difference@1 2.00",
    );
    story.movement(1, 4, movement(Kind::Issue, "3"));
    story.step(JANUARY, PeriodStep::RunAverages);
    // 9.00 / 60.00 of 30.00.
    assert_eq!((story.worth(1), story.balances([Role::OwnUse])), ((3_000, 450), [3_450]));
}

/// Without anything at standard there is no rate: the last one holds, and the rest is expensed.
#[test]
fn without_a_divisor_the_last_rate_holds_and_the_rest_is_expensed() {
    let mut story = carrying();
    story.movement(1, 1, receipt("2", "11"));
    story.movement(1, 2, movement(Kind::Issue, "5"));
    story.step(JANUARY, PeriodStep::RunAverages);
    // 2.00 / 20.00 of 50.00.
    assert_eq!((story.worth(1), story.balances([Role::OwnUse])), ((-3_000, -300), [5_500]));
    story.movement(1, 33, receipt("3", "12"));
    story.movement(1, 34, movement(Kind::Issue, "1"));
    story.step(FEBRUARY, PeriodStep::RunAverages);
    // -3.00 + 6.00 on nothing: 1.00 of the issue, -1.00 stays with what is missing, 3.00 is expensed.
    let roles = [Role::OwnUse, Role::PriceVariance];
    assert_eq!((story.worth(1), story.balances(roles)), ((-1_000, -100), [6_600, 300]));
}

#[test]
fn a_new_standard_leaves_what_goods_cost_beyond_the_old_one() {
    let mut story = carrying();
    story.movement(1, 1, receipt("10", "11"));
    story.movement(1, 2, movement(Kind::Issue, "2"));
    story.text.clear();
    story.standard(1, 10, "12");
    story.expect("3 fact | Dr inventory@1 16.00 | Cr revaluation@1 16.00");
    story.movement(1, 11, movement(Kind::Issue, "4"));
    story.step(JANUARY, PeriodStep::RunAverages);
    // 10.00 / 100.00 of 20.00; what is left, 8.00 / 96.00, of 48.00.
    assert_eq!((story.worth(1), story.balances([Role::OwnUse])), ((4_800, 400), [2_200 + 5_200]));
    // A count with a cost restates all of it.
    let counted = Movement { price: Some(price("11")), ..movement(Kind::Count, "4") };
    story.movement(1, 20, counted);
    let roles = [Role::StockAdjustment, Role::StockVariance];
    assert_eq!((story.worth(1), story.balances(roles)), ((4_400, 0), [800, 0]));
}

/// Of 6 that left at 10.00 two arrived before the new standard: 4 on their way and 4 that stayed
/// cost 2.00 more. What arrives at site 2's 10.00 costs 2.00 beyond it.
#[test]
fn a_new_standard_restates_goods_on_their_way() {
    let mut story = carrying();
    story.movement(1, 1, receipt("10", "10"));
    let ship = Movement { other_site: Some(SiteNo(2)), ..movement(Kind::TransferShip, "6") };
    let ship = story.movement(1, 2, ship);
    let arrives = |quantity| Movement {
        refers_to: Some(ship),
        other_site: Some(SiteNo(1)),
        ..movement(Kind::TransferReceive, quantity)
    };
    story.movement(2, 4, arrives("2"));
    story.text.clear();
    story.standard(1, 10, "12");
    story.expect(
        "4 fact | Dr inventory@1 8.00 | Cr revaluation@1 8.00 | Dr inter_site_transit@1 8.00 | Cr revaluation@1 8.00",
    );
    story.movement(2, 12, arrives("3"));
    let roles = [Role::InterSiteTransit, Role::Revaluation];
    assert_eq!((story.worth(2), story.balances(roles)), ((5_000, 600), [1_200, -1_600]));
    let open = story.books.facts().find(ship).expect("it left");
    assert_eq!(story.books.open_items().of(Role::InterSiteTransit, open), 1_200);
    // One more had arrived before.
    story.movement(2, 5, arrives("1"));
    assert_eq!((story.worth(2), story.balances(roles)), ((6_000, 600), [0, -1_400]));
    story.tell(0, 20, &Statement::Reversal { refers_to: ship, reason: None });
    assert_eq!(story.balances(roles), [0, -2_000]);
}

#[test]
fn under_another_method_goods_keep_what_they_cost() {
    let mut story = carrying();
    story.movement(1, 1, receipt("10", "11"));
    let data = MasterData::Costing {
        company: CompanyNo(1),
        category: None,
        method: CostMethod::MovingAverage,
    };
    let valid_from = Some(Timestamp(5 * DAY));
    story.tell(0, 5, &Statement::MasterData { valid_from, data });
    story.text.clear();
    story.movement(1, 6, movement(Kind::Issue, "4"));
    story.expect("2 fact | Cr inventory@1 34.00 | Dr stock_variance@1 -10.00 | Dr own_use@1 44.00");
    assert_eq!(story.worth(1), (6_600, 0));
}

#[test]
fn the_open_month_bears_what_a_late_bill_costs_beyond_the_standard() {
    let mut story = carrying();
    story.choose(None, PolicyKind::LateCost, LateCost::Forward as i64);
    let received = story.movement(1, 1, receipt("10", "11"));
    story.movement(1, 5, movement(Kind::Issue, "5"));
    story.movement(1, 20, movement(Kind::Count, "4"));
    story.step(JANUARY, PeriodStep::CloseStock);
    // 10.00 / 100.00 of 50.00 and of the 10.00 that were missing.
    assert_eq!((story.worth(1), story.balances([Role::OwnUse])), ((4_000, 400), [5_500]));
    story.tell(0, 40, &invoice(received, "10", "11.80"));
    assert_eq!((story.worth(1), story.balances([Role::PriceVariance])), ((4_000, 1_200), [0]));
    // One was taken before the count found four: the count had missed it for nothing.
    story.movement(1, 10, movement(Kind::Issue, "1"));
    story.movement(1, 41, movement(Kind::Issue, "2"));
    story.step(FEBRUARY, PeriodStep::CloseStock);
    // 12.00 / 40.00 of 10.00 out and back in, and of 20.00.
    assert_eq!(story.worth(1), (2_000, 600));
    let roles = [Role::OwnUse, Role::StockAdjustment];
    assert_eq!(story.balances(roles), [5_500 + 1_300 + 2_600, 1_100 - 1_300]);
}

#[test]
fn stock_carries_variances_from_rules_3_on_and_once_they_have_an_account() {
    let mut story = Story::new(CostScope::Site);
    let rules = |number| {
        let data = MasterData::Rules { number };
        Statement::MasterData { valid_from: None, data }
    };
    story.tell(0, 0, &rules(2));
    story.tell(0, 0, &costing(CostMethod::Standard));
    story.choose(None, PolicyKind::StandardVariance, StandardVariance::Allocate as i64);
    story.standard(1, 0, "10");
    story.movement(1, 1, receipt("10", "11"));
    assert_eq!((story.worth(1), story.balances([Role::PriceVariance])), ((10_000, 0), [1_000]));
    story.text.clear();
    story.tell(0, 2, &rules(3));
    story.expect("2 settings | Dr price_variance@1 -10.00 | Dr stock_variance@1 10.00");
    assert_eq!((story.worth(1), story.balances([Role::PriceVariance])), ((10_000, 1_000), [0]));
}
