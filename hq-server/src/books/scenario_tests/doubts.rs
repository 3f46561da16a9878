//! Stories of clocks in doubt: quantities without value, and what a retime does.

use shared::fact::statement::{LateCost, PeriodStep, PolicyKind, Retime};
use shared::ids::LogId;
use shared::time::Month;

use super::super::{Held, Waits};
use super::months::{FEBRUARY, JANUARY};
use super::*;

const SOLD: &str = "the clock was in doubt when it was recorded, so it has a quantity and no value: say when \
                    it happened with 'hq-server retime'";

impl Story {
    /// A movement by a clock that is fifty years off, received on a day.
    fn doubted(&mut self, site: u32, day: i64, movement: Movement) -> Capture {
        let far = Timestamp(20_000 * DAY);
        let received = Timestamp(day * DAY);
        self.tell_by(site, received, (far, far, 4), &Statement::Movement(movement))
    }

    /// HQ says that facts of a site happened on a day.
    fn retime(&mut self, site: u32, (first, last): (u64, u64), day: i64) {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&u64::from(site).to_be_bytes());
        let retime = Retime { log: LogId(id), first: Seq(first), last: Seq(last), reason: None };
        let now = Timestamp(70 * DAY + i64::try_from(self.next[0]).expect("a short story"));
        let stamps = (Timestamp(day * DAY), now, 0);
        self.tell_by(0, now, stamps, &Statement::Retime(retime));
    }

    /// Net postings to every account, by month and site, where there are any.
    fn turnovers(&self) -> Vec<(u32, Month, SiteNo, i128, i128)> {
        let rows = self.books.ledger().rows();
        let rows = rows
            .map(|(account, month, site, sums)| (account.0, month, site, sums.debit, sums.credit));
        rows.filter(|(.., debit, credit)| (*debit, *credit) != (0, 0)).collect()
    }

    /// Units without value at a site.
    fn without_value(&self, site: u32) -> i128 {
        let (company, site) = (CompanyNo(1), SiteNo(site));
        let held = Held { company, site, item: ITEM, lot: None };
        self.books.without_value().get(&held).copied().unwrap_or(0)
    }

    fn on_hand(&self, site: u32) -> i64 {
        self.books.on_hand(CompanyNo(1), SiteNo(site), ITEM).0
    }
}

#[test]
fn what_a_clock_in_doubt_recorded_has_a_quantity_and_a_value_once_it_is_placed() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    story.doubted(1, 8, sale("4", "30"));
    assert_eq!((story.on_hand(1), story.without_value(1)), (10, -4));
    story.movement(1, 6, receipt("10", "20"));
    story.expect(&format!(
        "1 fact | Dr inventory@1 100.00 | Cr received_not_invoiced@1 100.00
         waits: {SOLD}
         2 fact | Dr inventory@1 200.00 | Cr received_not_invoiced@1 200.00"
    ));
    story.retime(1, (2, 2), 3);
    story.expect(
        "3 fact | Cr inventory@1 60.00 | Dr cost_of_sales@1 60.00 | Dr receivable@1 120.00 | Cr revenue@1 120.00
         4 late_fact | Cr inventory@1 -20.00 | Dr cost_of_sales@1 -20.00",
    );
    assert_eq!((story.on_hand(1), story.without_value(1)), (16, 0));
    // Said again, what it has posted is taken back and posted anew: both are differences.
    story.retime(1, (2, 2), 7);
    assert!(
        story.text.contains(" late_fact |") && !story.text.contains(" fact |"),
        "{}",
        story.text
    );
    assert_eq!(story.cost_of_sales(1), 6_000);
}

#[test]
fn what_refers_to_a_fact_in_doubt_waits_and_says_so() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    let mut ship = movement(Kind::TransferShip, "4");
    ship.other_site = Some(SiteNo(2));
    let ship = story.doubted(1, 8, ship);
    let mut receive = movement(Kind::TransferReceive, "4");
    receive.refers_to = Some(ship);
    let received = story.movement(2, 3, receive);
    story.tell(2, 4, &Statement::Reversal { refers_to: received, reason: None });
    let reasons = |story: &Story| {
        let waiting = story.books.waiting();
        waiting.map(|(_, group)| story.books.reason(group)).collect::<Vec<_>>()
    };
    let told = [Waits::TimeInDoubt, Waits::ReferenceInDoubt(ship), Waits::NoReference(received)];
    assert_eq!(reasons(&story), told);
    assert_eq!((story.without_value(1), story.without_value(2)), (-4, 0));
    story.text.clear();
    story.retime(1, (2, 2), 2);
    assert_eq!(reasons(&story), []);
    assert_eq!((story.on_hand(1), story.on_hand(2)), (6, 0));
}

#[test]
fn a_retime_may_come_before_its_fact_and_speaks_of_no_other() {
    let mut story = Story::new(CostScope::Site);
    story.retime(1, (1, 9), 40);
    story.movement(1, 1, receipt("10", "10"));
    story.doubted(1, 8, sale("4", "30"));
    story.expect(
        "1 fact | Dr inventory@1 100.00 | Cr received_not_invoiced@1 100.00
         1 fact | Cr inventory@1 40.00 | Dr cost_of_sales@1 40.00 | Dr receivable@1 120.00 | Cr revenue@1 120.00",
    );
    assert_eq!(story.net(FEBRUARY, Role::CostOfSales), 4_000, "the sale is placed in February");
    assert_eq!(story.net(JANUARY, Role::Inventory), 10_000, "the receipt's own time stands");
}

/// A doubtful receipt with whatever may refer to it, told in an order, with retimes to these days.
fn told(bill_first: bool, days: &[i64]) -> Story {
    let mut story = Story::new(CostScope::Site);
    let received = Capture { device: DeviceNo(2), counter: 2 };
    let bill = |story: &mut Story| story.tell(0, 9, &invoice(received, "10", "15"));
    let billed = bill_first.then(|| bill(&mut story));
    story.movement(1, 1, receipt("10", "10"));
    story.doubted(1, 8, receipt("10", "14"));
    story.movement(1, 5, sale("15", "30"));
    let days = if bill_first {
        days
    } else {
        story.retime(1, (2, 2), days[0]);
        &days[1..]
    };
    let billed = billed.unwrap_or_else(|| bill(&mut story));
    let payment = Payment {
        partner: PartnerNo(1),
        direction: Direction::Out,
        amount: money("100"),
        account: None,
        document: None,
        document_date: None,
    };
    let payment = story.tell(0, 10, &Statement::Payment(payment));
    let amount = money("100");
    story.tell(0, 10, &Statement::Allocation(Allocation { open_item: billed, payment, amount }));
    let mut back = movement(Kind::SupplierReturn, "2");
    (back.refers_to, back.partner) = (Some(received), Some(PartnerNo(1)));
    let back = story.movement(1, 12, back);
    story.tell(1, 13, &Statement::Reversal { refers_to: back, reason: None });
    for day in days {
        story.retime(1, (1, 2), *day);
    }
    story
}

#[test]
fn the_last_word_holds_whatever_was_said_before_and_whatever_referred_to_it() {
    for bill_first in [false, true] {
        let expected = told(bill_first, &[33]);
        for days in [&[2, 33][..], &[40, 4, 33], &[33, 33], &[33, 3, 33]] {
            let story = told(bill_first, days);
            assert_eq!(story.turnovers(), expected.turnovers(), "{bill_first}, {days:?}");
            assert_eq!(story.books.stock_value(), expected.books.stock_value());
            assert_eq!(story.on_hand(1), 5);
            assert_eq!(story.books.waiting().count(), 0);
        }
    }
}

fn rules(story: &mut Story, number: i64) {
    let data = MasterData::Rules { number };
    story.tell(0, 0, &Statement::MasterData { valid_from: None, data });
}

#[test]
fn what_older_rules_took_waits_where_nobody_says_when_it_happened() {
    let mut story = Story::new(CostScope::Site);
    rules(&mut story, 4);
    let received = story.movement(1, 1, receipt("10", "10"));
    story.doubted(1, 8, sale("4", "30"));
    let back = Statement::Reversal { refers_to: received, reason: None };
    let far = Timestamp(20_000 * DAY);
    story.tell_by(1, Timestamp(9 * DAY), (far, far, 4), &back);
    assert_eq!((story.on_hand(1), story.books.waiting().count()), (-4, 0));
    rules(&mut story, 5);
    assert_eq!((story.on_hand(1), story.books.stock_value()), (10, 10_000));
    assert!(story.turnovers().iter().all(|(_, month, ..)| *month == JANUARY));
    assert_eq!((story.books.waiting().count(), story.without_value(1)), (2, -14));
}

#[test]
fn older_rules_took_the_stated_time_and_newer_ones_take_it_back() {
    let mut story = Story::new(CostScope::Site);
    rules(&mut story, 4);
    story.movement(1, 1, receipt("10", "10"));
    let sold = story.doubted(1, 8, sale("4", "30"));
    let mut back = movement(Kind::CustomerReturn, "1");
    (back.refers_to, back.partner) = (Some(sold), Some(PartnerNo(1)));
    story.movement(2, 9, back);
    story.retime(1, (2, 2), 3);
    let mut story_end = story.turnovers();
    assert!(story_end.iter().any(|(_, month, ..)| *month > FEBRUARY), "at the time it states");
    rules(&mut story, 5);
    story_end = story.turnovers();
    assert!(story_end.iter().all(|(_, month, ..)| *month == JANUARY), "{story_end:?}");
    assert_eq!((story.on_hand(1), story.on_hand(2), story.books.waiting().count()), (6, 1, 0));
}

#[test]
fn placed_in_a_closed_month_it_is_a_late_fact() {
    for (policy, january) in [(LateCost::Trace, 10_000), (LateCost::Forward, 10_000)] {
        let mut story = Story::new(CostScope::Site);
        let data = MasterData::Policy {
            company: Some(CompanyNo(1)),
            site: None,
            policy: PolicyKind::LateCost,
            setting: policy as i64,
        };
        story.tell(0, 0, &Statement::MasterData { valid_from: None, data });
        story.movement(1, 1, receipt("10", "10"));
        story.doubted(1, 50, sale("4", "30"));
        story.step(JANUARY, PeriodStep::CloseStock);
        story.retime(1, (2, 2), 5);
        assert_eq!(story.net(JANUARY, Role::Inventory), january);
        assert_eq!(story.net(FEBRUARY, Role::Inventory), -4_000, "{policy:?}");
        // Said again, it is a later change: what February has moves on, January stays.
        story.retime(1, (2, 2), 62);
        assert_eq!(story.net(JANUARY, Role::Inventory), january);
        assert_eq!(story.net(FEBRUARY, Role::Inventory), 0);
        assert_eq!(story.net(Month(FEBRUARY.0 + 1), Role::Inventory), -4_000);
    }
}

#[test]
fn quantities_without_value_go_by_the_order_of_their_log() {
    // Recorded in this order; true is in doubt. What is on hand in the end, with and without value.
    let count = |counted| movement(Kind::Count, counted);
    let cases = [
        (vec![(receipt("10", "1"), false), (sale("3", "9"), true)], (10, -3)),
        (vec![(sale("3", "9"), true), (receipt("10", "1"), false)], (10, -3)),
        (vec![(receipt("10", "1"), false), (count("7"), true)], (10, -3)),
        (vec![(receipt("10", "1"), false), (count("7"), true), (sale("2", "9"), false)], (8, -3)),
        (vec![(receipt("10", "1"), false), (sale("3", "9"), true), (count("6"), false)], (6, 0)),
        (vec![(count("7"), true), (receipt("5", "1"), false), (count("1"), true)], (5, -4)),
        (vec![(receipt("9", "1"), true), (count("4"), true), (sale("1", "9"), true)], (0, 3)),
    ];
    for (number, (movements, expected)) in cases.into_iter().enumerate() {
        let mut story = Story::new(CostScope::Site);
        for (day, (movement, in_doubt)) in (1..).zip(movements) {
            if in_doubt {
                story.doubted(1, day, movement);
            } else {
                story.movement(1, day, movement);
            }
        }
        assert_eq!((i128::from(story.on_hand(1)), story.without_value(1)), expected, "{number}");
    }
}

#[test]
fn a_reversal_in_doubt_counts_while_no_other_one_that_stands_names_it() {
    let mut story = Story::new(CostScope::Site);
    let received = story.movement(1, 1, receipt("10", "1"));
    let undone = story.tell(1, 2, &Statement::Reversal { refers_to: received, reason: None });
    let far = Timestamp(20_000 * DAY);
    let mut reverse = |refers_to, expected: (i64, i128)| {
        let reversal = Statement::Reversal { refers_to, reason: None };
        let capture = story.tell_by(1, Timestamp(3 * DAY), (far, far, 4), &reversal);
        assert_eq!((story.on_hand(1), story.without_value(1)), expected);
        capture
    };
    let second = reverse(undone, (0, 10));
    let third = reverse(second, (0, 0));
    reverse(received, (0, 0));
    reverse(third, (0, 0));
}

#[test]
fn a_time_lies_between_what_the_log_had_and_what_came_after() {
    let mut story = Story::new(CostScope::Site);
    let known = |story: &Story| {
        let doubts = story.books.in_doubt();
        let day = |at: Timestamp| at.0 / DAY;
        doubts.map(|doubt| (doubt.since.map(day), day(doubt.until))).collect::<Vec<_>>()
    };
    story.doubted(1, 3, receipt("1", "1"));
    assert_eq!(known(&story), [(None, 3)], "nothing says since when");
    story.movement(1, 4, receipt("10", "10"));
    story.doubted(1, 9, sale("1", "30"));
    story.doubted(1, 9, sale("1", "30"));
    assert_eq!(known(&story), [(None, 3), (Some(4), 9), (Some(4), 9)]);
    // The clock is right again on day 6, which HQ hears on day 11; the log stands far ahead since.
    let (six, far) = (Timestamp(6 * DAY), Timestamp(20_000 * DAY));
    let next = Statement::Movement(receipt("1", "10"));
    story.tell_by(1, Timestamp(11 * DAY), (six, six, 0), &next);
    assert_eq!(known(&story), [(None, 3), (Some(4), 6), (Some(4), 6)]);
    story.tell_by(1, Timestamp(12 * DAY), (Timestamp(7 * DAY), far, 0), &next);
    story.doubted(1, 13, sale("1", "30"));
    assert_eq!(known(&story)[3], (Some(7), 13));
}

/// A repack of four into one, by a clock that is right or in doubt.
fn repacked(story: &mut Story, day: i64, in_doubt: bool) -> Capture {
    let group = [(Kind::RepackOut, "4"), (Kind::RepackIn, "1")];
    let group = group.map(|(kind, quantity)| Statement::Movement(movement(kind, quantity)));
    let (received, far) = (Timestamp(day * DAY), Timestamp(20_000 * DAY));
    let stamps = if in_doubt { (far, far, 4) } else { (received, received, 0) };
    story.tell_group(1, received, stamps, &group)
}

fn reversal(refers_to: Capture) -> Statement {
    Statement::Reversal { refers_to, reason: None }
}

#[test]
fn a_reversal_in_doubt_takes_back_the_whole_repack() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    let booked = repacked(&mut story, 2, false);
    let (received, far) = (Timestamp(3 * DAY), Timestamp(20_000 * DAY));
    let taken_back = story.tell_by(1, received, (far, far, 4), &reversal(booked));
    assert_eq!((story.on_hand(1), story.without_value(1)), (7, 3));
    story.tell_by(1, received, (far, far, 4), &reversal(taken_back));
    assert_eq!(story.without_value(1), 0);
    let doubted = repacked(&mut story, 4, true);
    assert_eq!(story.without_value(1), -3);
    story.tell_by(1, received, (far, far, 4), &reversal(doubted));
    assert_eq!(story.without_value(1), 0);
}

#[test]
fn a_reversal_in_doubt_follows_the_reversals_in_the_books() {
    let mut story = Story::new(CostScope::Site);
    let received = story.movement(1, 1, receipt("10", "10"));
    let first = story.tell(1, 2, &reversal(received));
    let second = story.tell(1, 3, &reversal(first));
    let (at, far) = (Timestamp(4 * DAY), Timestamp(20_000 * DAY));
    story.tell_by(1, at, (far, far, 4), &reversal(second));
    assert_eq!((story.on_hand(1), story.without_value(1)), (10, -10));
    // Named twice, a fact needs both taken back to count.
    let mut story = Story::new(CostScope::Site);
    let received = story.movement(1, 1, receipt("10", "10"));
    let both = [2, 3].map(|day| story.tell(1, day, &reversal(received)));
    story.tell_by(1, at, (far, far, 4), &reversal(both[0]));
    assert_eq!((story.on_hand(1), story.without_value(1)), (0, 0));
}

#[test]
fn a_reversal_by_hq_takes_back_what_is_in_doubt_at_a_site() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    let sold = story.doubted(1, 8, sale("4", "30"));
    assert_eq!(story.without_value(1), -4);
    story.tell(0, 9, &reversal(sold));
    assert_eq!(story.without_value(1), 0);
    // A reversal of itself says nothing about anything.
    let (at, far) = (Timestamp(9 * DAY), Timestamp(20_000 * DAY));
    let itself = Capture { device: DeviceNo(2), counter: story.next[1] };
    assert_eq!(story.tell_by(1, at, (far, far, 4), &reversal(itself)), itself);
    assert_eq!((story.on_hand(1), story.without_value(1)), (10, 0));
}

#[test]
fn a_reversal_that_does_not_count_keeps_nothing_undone() {
    let mut story = Story::new(CostScope::Site);
    let received = story.movement(1, 1, receipt("10", "10"));
    let first = story.tell(1, 2, &reversal(received));
    story.tell(1, 3, &reversal(first));
    let second = story.tell(1, 4, &reversal(received));
    let (at, far) = (Timestamp(5 * DAY), Timestamp(20_000 * DAY));
    story.tell_by(1, at, (far, far, 4), &reversal(second));
    assert_eq!((story.on_hand(1), story.without_value(1)), (0, 10));
}

#[test]
fn a_bill_that_came_before_its_goods_and_what_refers_to_it_are_kept_until_they_are_certain() {
    for (in_doubt, kept) in [(false, 0), (true, 6)] {
        let mut story = Story::new(CostScope::Site);
        let received = Capture { device: DeviceNo(2), counter: 1 };
        let bill = story.tell(0, 2, &invoice(received, "10", "10"));
        let taken = story.tell(0, 3, &discount(bill, "2", PurchaseCashDiscount::Cost));
        story.tell(0, 4, &reversal(taken));
        story.tell(0, 5, &discount(bill, "3", PurchaseCashDiscount::Finance));
        story.tell(0, 6, &invoice(received, "1", "10"));
        assert_eq!(story.books.doubt.kept(), 5, "nobody knows yet what they are about");
        if in_doubt {
            story.retime(1, (1, 1), 7);
            story.doubted(1, 7, receipt("10", "9"));
        } else {
            story.movement(1, 7, receipt("10", "9"));
        }
        assert_eq!(story.books.doubt.kept(), kept);
        story.tell(0, 8, &discount(bill, "1", PurchaseCashDiscount::Cost));
        assert_eq!(story.books.doubt.kept(), kept + usize::from(in_doubt));
    }
}
