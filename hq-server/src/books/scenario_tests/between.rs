//! Goods that one company of the group sells to another: what both books say, and what the goods cost
//! the group. Worked by hand.

use super::super::{OnTheWay, Sold};
use super::*;

/// Sites 1 to 3 are of companies 1 to 3.
fn group() -> Story {
    Story::of(CostScope::Site, [1, 2, 3], &[(1, currency()), (2, currency()), (3, currency())])
}

fn dollars() -> Currency {
    "USD".parse().expect("a code")
}

fn ship(to: u32, quantity: &str, at: &str) -> Movement {
    let price = Some(price(at));
    Movement { other_site: Some(SiteNo(to)), price, ..movement(Kind::TransferShip, quantity) }
}

fn receive(ship: Capture, quantity: &str) -> Movement {
    Movement { refers_to: Some(ship), ..movement(Kind::TransferReceive, quantity) }
}

fn reversal(refers_to: Capture) -> Statement {
    Statement::Reversal { refers_to, reason: None }
}

impl Story {
    /// Value and group cost of the goods of each pool, in the order in which the pools came up.
    fn group_costs(&self) -> Vec<(i64, i64)> {
        let group = self.books.group();
        let pools = (0..).map(PoolId).zip(self.books.pools());
        pools.map(|(id, pool)| (pool.state.stock.value(), group.cost(id))).collect()
    }

    fn sold(&self) -> Vec<Sold> {
        self.books.group().sold()
    }
}

#[test]
fn a_ship_to_another_company_is_a_sale_and_its_receive_a_purchase() {
    let mut story = group();
    let bought = story.movement(1, 1, receipt("20", "6"));
    let ship = story.movement(1, 2, ship(2, "10", "9"));
    let on_the_way = OnTheWay { units: 10, price: 90_00, group_cost: 60_00 };
    let sold = story.sold();
    assert_eq!(sold[0].on_the_way, Some(on_the_way));
    story.movement(2, 3, receive(ship, "10"));
    story.movement(2, 4, sale("4", "12"));
    story.expect(
        "1 fact | Dr inventory@1 120.00 | Cr received_not_invoiced@1 120.00
         2 fact | Cr inventory@1 60.00 | Dr inter_company_cost@1 60.00 | Dr inter_company_receivable@1 90.00 | Cr inter_company_revenue@1 90.00
         1 fact | Dr inventory@2 90.00 | Cr inter_company_payable@2 90.00
         2 fact | Cr inventory@2 36.00 | Dr cost_of_sales@2 36.00 | Dr receivable@2 48.00 | Cr revenue@2 48.00",
    );
    // Six of ten are left: 54.00 in the books, 36.00 to the group.
    assert_eq!(story.group_costs(), [(60_00, 60_00), (54_00, 36_00)]);
    // A bill later, the goods cost 7.00: the sender's cost of sales, and the group's cost.
    story.tell(0, 5, &invoice(bought, "20", "7"));
    story.expect(
        "3 fact | Cr payable@0 140.00 | Dr received_not_invoiced@1 140.00
         4 invoice | Dr inventory@1 20.00 | Cr inventory@1 10.00 | Cr received_not_invoiced@1 20.00 | Dr inter_company_cost@1 10.00",
    );
    assert_eq!(story.group_costs(), [(70_00, 70_00), (54_00, 42_00)]);
    let found = story.sold()[0];
    assert_eq!((found.from, found.to), (CompanyNo(1), CompanyNo(2)));
    assert_eq!((found.revenue, found.cost, found.on_the_way), (90_00, 70_00, None));
    assert_eq!((found.receivable, found.payable), (90_00, 90_00));
}

#[test]
fn what_never_arrives_is_the_receivers_loss_until_it_does() {
    let mut story = group();
    story.movement(1, 1, receipt("10", "6"));
    let ship = story.movement(1, 2, ship(2, "10", "9.01"));
    story.text.clear();
    story.movement(2, 3, receive(ship, "7"));
    // 90.10 x 7 / 10 = 63.07, and the rest of what is owed.
    story.expect(
        "1 fact | Dr inventory@2 63.07 | Cr inter_company_payable@2 90.10 | Dr transfer_difference@2 27.03",
    );
    assert_eq!(story.group_costs(), [(0, 0), (63_07, 42_00)]);
    let late = story.movement(2, 5, receive(ship, "2"));
    story.expect(
        "2 fact | Dr inventory@2 18.02 | Cr inter_company_payable@2 27.03 | Dr transfer_difference@2 9.01
         3 followed | Dr transfer_difference@2 -27.03 | Cr inter_company_payable@2 -27.03",
    );
    story.tell(2, 6, &reversal(late));
    assert_eq!(story.books.role_balance(Role::TransferDifference), 27_03);
    assert_eq!(story.books.role_balance(Role::InterCompanyPayable), -90_10);
    // More than was shipped comes at the same price, and is owed to nobody.
    story.movement(2, 4, receive(ship, "4"));
    assert_eq!(story.books.role_balance(Role::InterCompanyPayable), -90_10);
    assert_eq!(story.books.role_balance(Role::TransferDifference), -9_01);
    assert_eq!(story.group_costs(), [(0, 0), (99_11, 66_00)]);
}

#[test]
fn a_ship_that_did_not_happen_sold_nothing() {
    let mut story = group();
    story.movement(1, 1, receipt("10", "6"));
    let ship = story.movement(1, 2, ship(2, "5", "9"));
    story.movement(2, 3, receive(ship, "5"));
    story.text.clear();
    let undo = story.tell(1, 4, &reversal(ship));
    // What came of nothing has no cost here: nobody else ever had such goods.
    story.expect(
        "3 reversal | Cr inventory@1 -30.00 | Dr inter_company_receivable@1 -45.00 | Cr inter_company_revenue@1 -45.00 | Dr inter_company_cost@1 -30.00
         2 followed | Dr inventory@2 -45.00 | Cr inter_company_payable@2 -45.00",
    );
    assert_eq!(story.group_costs(), [(60_00, 60_00), (0, 0)]);
    assert_eq!(story.sold(), []);
    story.tell(1, 5, &reversal(undo));
    assert_eq!(story.group_costs(), [(30_00, 30_00), (45_00, 30_00)]);
    assert_eq!(story.books.role_balance(Role::InterCompanyReceivable), 45_00);
    assert_eq!(story.books.role_balance(Role::InterCompanyPayable), -45_00);
}

#[test]
fn group_cost_goes_through_chains_of_companies_and_their_own_transfers() {
    let mut story = Story::of(CostScope::Company, [1, 2, 3], &[1, 2, 3].map(|no| (no, currency())));
    let bought = story.movement(1, 1, receipt("10", "6"));
    let first = story.movement(1, 2, ship(2, "10", "9"));
    story.movement(2, 3, receive(first, "10"));
    let second = story.movement(2, 4, ship(3, "5", "12"));
    story.movement(3, 5, receive(second, "5"));
    // 45.00 and 60.00 in the books, at 6.00 each to the group.
    assert_eq!(story.group_costs(), [(0, 0), (45_00, 30_00), (60_00, 30_00)]);
    story.tell(0, 6, &invoice(bought, "10", "8"));
    assert_eq!(story.group_costs(), [(0, 0), (45_00, 40_00), (60_00, 40_00)]);
    assert_eq!(story.books.role_balance(Role::InterCompanyCost), 80_00 + 45_00);
}

#[test]
fn goods_that_go_around_companies_cost_the_group_what_they_cost() {
    let mut story = group();
    let bought = story.movement(1, 1, receipt("10", "6"));
    let there = story.movement(1, 2, ship(2, "10", "9"));
    story.movement(2, 3, receive(there, "10"));
    let back = story.movement(2, 4, ship(1, "4", "10"));
    story.movement(1, 5, receive(back, "4"));
    assert_eq!(story.group_costs(), [(40_00, 24_00), (54_00, 36_00)]);
    // In the books the later cost stops at each sale; to the group it goes around.
    story.tell(0, 6, &invoice(bought, "10", "7"));
    assert_eq!(story.group_costs(), [(40_00, 28_00), (54_00, 42_00)]);
}

#[test]
fn what_comes_from_abroad_is_taken_at_the_rate_of_its_day() {
    let mut story =
        Story::of(CostScope::Site, [1, 2, 3], &[(1, currency()), (2, dollars()), (3, currency())]);
    story.movement(1, 1, receipt("10", "6"));
    let ship = story.movement(1, 2, ship(2, "10", "9"));
    story.text.clear();
    story.movement(2, 3, receive(ship, "10"));
    story.expect(
        "waits: there is no rate of CNY for 1970-01-04: 'hq-server rate set CNY RATE --from 1970-01-04'",
    );
    let rate = |rate: &str| {
        let rate = shared::decimal::parse(rate).expect("a figure");
        let (company, until) = (CompanyNo(2), Timestamp(9 * DAY));
        let data = MasterData::Rate { company, currency: currency(), rate, until };
        Statement::MasterData { valid_from: None, data }
    };
    // 90.00 CNY at 0.14; to the group 60.00 CNY.
    story.tell(0, 4, &rate("0.14"));
    assert_eq!(story.group_costs(), [(0, 0), (12_60, 8_40)]);
    let found = story.sold()[0];
    assert_eq!((found.receivable, found.payable), (90_00, 12_60));
    story.tell(0, 5, &rate("0.15"));
    assert_eq!(story.group_costs(), [(0, 0), (13_50, 9_00)]);
}

#[test]
fn goods_go_to_the_company_they_were_sold_to_and_have_a_price_only_between_companies() {
    let mut story = group();
    story.movement(1, 1, receipt("10", "6"));
    story.text.clear();
    let ship = story.movement(1, 2, ship(2, "5", "9"));
    story.text.clear();
    story.movement(3, 3, receive(ship, "5"));
    let free = Movement { price: None, ..super::between::ship(2, "1", "9") };
    story.movement(1, 4, free);
    let mut same = Story::new(CostScope::Site);
    same.movement(1, 1, super::between::ship(2, "1", "9"));
    same.movement(1, 2, super::between::ship(9, "1", "9"));
    story.text += &same.text;
    story.expect(
        "waits: it refers to 2-2, whose goods go to a site of another company: reverse that first
         waits: site 2 is of another company, and the ship states no price: record it again with one (--price)
         waits: site 2 is of the same company, and the ship states a price: record it again without one
         waits: site 9 is not known at that time: add it at HQ",
    );
}

#[test]
fn what_older_rules_sent_to_another_company_is_sold_once_the_rules_know() {
    let mut story = group();
    let rules = |number| {
        let data = MasterData::Rules { number };
        Statement::MasterData { valid_from: None, data }
    };
    story.tell(0, 0, &rules(2));
    story.movement(1, 1, receipt("10", "6"));
    let sent = story.movement(1, 2, ship(2, "5", "9"));
    story.text.clear();
    story.movement(2, 3, receive(sent, "5"));
    story.expect("waits: it refers to 2-2, which is of another company");
    assert_eq!(story.books.role_balance(Role::InterSiteTransit), 30_00);
    story.tell(0, 4, &rules(3));
    story.expect(
        "3 settings | Cr inventory@1 -30.00 | Dr inter_site_transit@1 -30.00
         1 fact | Dr inventory@2 45.00 | Cr inter_company_payable@2 45.00
         4 settings | Cr inventory@1 30.00 | Dr inter_company_receivable@1 45.00 | Cr inter_company_revenue@1 45.00 | Dr inter_company_cost@1 30.00",
    );
    assert_eq!(story.group_costs(), [(30_00, 30_00), (45_00, 30_00)]);
}
