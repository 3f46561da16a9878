//! Short stories and the vouchers they make, as text.

use std::fmt::Write as _;

use shared::fact::Kind;
use shared::fact::effective::LogRank;
use shared::fact::statement::{
    AccountType, Allocation, CashDiscount, CostMethod, CostScope, Direction, InvoiceLine,
    LandedCost, MasterData, Measure, Money, Movement, Payment, PolicyKind, PoolName,
    PurchaseCashDiscount, ReceiptFx, Revaluation, Role, Stamp, StandardCost, Statement, WriteDown,
};
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::Unit;
use shared::time::{OffsetMinutes, Timestamp};

use super::{Books, Effects, Entry, PoolId, Run, Waits};

mod between;
mod doubts;
mod months;
mod variances;

const ITEM: ItemNo = ItemNo(1);
const DAY: i64 = 86_400_000;

struct Story {
    books: Books,
    next: [u64; 4],
    text: String,
}

fn currency() -> Currency {
    "CNY".parse().expect("a code")
}

fn price(text: &str) -> Price {
    Price { figure: shared::decimal::parse(text).expect("a figure"), currency: currency() }
}

fn money(text: &str) -> Money {
    Money { figure: shared::decimal::parse(text).expect("a figure"), currency: currency() }
}

fn pieces(text: &str) -> Measure {
    Measure {
        figure: shared::decimal::parse(text).expect("a figure"),
        unit: Unit::from_bytes(b"EA").expect("a unit"),
    }
}

/// An account for every role.
fn accounts(company: CompanyNo) -> Vec<MasterData> {
    let of_role = |role: &Role| {
        let (role, account) = (*role, AccountNo(company.0 * 100 - 100 + *role as u32));
        let (code, account_type) = (role.word().into(), AccountType::Asset);
        let (category, site, movement, reason) = (None, None, None, None);
        let name = String::from("name");
        [
            MasterData::Account { account, company, code, name, account_type },
            MasterData::Mapping { company, role, account, category, site, movement, reason },
        ]
    };
    Role::ALL.iter().flat_map(of_role).collect()
}

fn movement(kind: Kind, quantity: &str) -> Movement {
    Movement::new(kind, ITEM, pieces(quantity))
}

impl Story {
    /// One company with three sites.
    fn new(scope: CostScope) -> Self {
        Self::of(scope, [1; 3], &[(1, currency())])
    }

    /// Sites 1 to 3 of these companies, which keep their books in these currencies.
    fn of(scope: CostScope, sites: [u32; 3], companies: &[(u32, Currency)]) -> Self {
        let mut story = Self { books: Books::new(), next: [1; 4], text: String::new() };
        let name = || String::from("name");
        let mut master = vec![
            MasterData::Category { category: CategoryNo(1), code: "G".into(), name: name() },
            MasterData::Item {
                item: ITEM,
                category: CategoryNo(1),
                code: "A".into(),
                name: name(),
                unit: Unit::from_bytes(b"EA").expect("a unit"),
                decimals: 0,
                service: false,
                fallback_cost: None,
            },
            MasterData::Partner {
                partner: PartnerNo(1),
                code: "P".into(),
                name: name(),
                customer: true,
                supplier: true,
            },
            MasterData::Reason {
                reason: ReasonNo(1),
                code: "R".into(),
                name: name(),
                movement: None,
            },
        ];
        for (company, currency) in companies {
            let (company, zone) = (CompanyNo(*company), OffsetMinutes(0));
            let (code, currency) = ("C".into(), *currency);
            master.push(MasterData::Company { company, code, name: name(), currency, zone, scope });
            master.extend(accounts(company));
        }
        for (site, company) in (1..4).zip(sites) {
            master.push(MasterData::Site {
                site: SiteNo(site),
                company: CompanyNo(company),
                code: site.to_string(),
                name: name(),
            });
        }
        for data in master {
            story.tell(0, 0, &Statement::MasterData { valid_from: None, data });
        }
        story
    }

    /// A statement in the log of a site, `day` days after the epoch.
    fn tell(&mut self, site: u32, day: i64, statement: &Statement) -> Capture {
        let at = Timestamp(day * DAY);
        self.tell_by(site, at, (at, at, 0), statement)
    }

    /// A statement that HQ receives at a time, by a clock that says when it happened, when it was
    /// recorded, and why it is in doubt.
    fn tell_by(
        &mut self,
        site: u32,
        received_at: Timestamp,
        (occurred_at, recorded_at, time_in_doubt): (Timestamp, Timestamp, u8),
        statement: &Statement,
    ) -> Capture {
        let stamps = (occurred_at, recorded_at, time_in_doubt);
        self.tell_group(site, received_at, stamps, std::slice::from_ref(statement))
    }

    /// The same of a group; returns the capture of its first.
    fn tell_group(
        &mut self,
        site: u32,
        received_at: Timestamp,
        (occurred_at, recorded_at, time_in_doubt): (Timestamp, Timestamp, u8),
        group: &[Statement],
    ) -> Capture {
        let counter = self.next[site as usize];
        self.next[site as usize] += group.len() as u64;
        let capture = Capture { device: DeviceNo(site + 1), counter };
        let mut facts = Vec::new();
        let left = (0..u16::try_from(group.len()).expect("a short group")).rev();
        for ((counter, group_left), statement) in (counter..).zip(left).zip(group) {
            let stamp = Stamp {
                capture: Capture { counter, ..capture },
                recorded_at,
                occurred_at,
                utc_offset: OffsetMinutes(0),
                group_left,
                person: None,
                time_in_doubt,
                company: None,
            };
            facts.push(statement.to_fact(&stamp).expect("a legal fact"));
        }
        let run = Run {
            site: SiteNo(site),
            log: LogRank(site.into()),
            first: Seq(counter),
            received_at,
            facts: &facts,
        };
        let effects = self.books.apply(&Entry::Run(run));
        self.write(&effects);
        if self.books.is_dirty() {
            let effects = self.books.apply(&Entry::Settle);
            self.write(&effects);
        }
        self.books.check().expect("the invariants hold");
        self.check_explanations();
        capture
    }

    /// A pool explained to the end stands where it stands, and so do its targets.
    fn check_explanations(&self) {
        for (id, pool) in (0u32..).map(PoolId).zip(self.books.pools()) {
            let (steps, state) = self.books.explain(id, Timestamp(i64::MAX));
            assert_eq!(state, pool.state);
            let after = steps.last().map_or((0, 0), |step| (step.quantity_after, step.value_after));
            assert_eq!(after, (pool.state.stock.quantity(), pool.state.stock.value()));
            let standing = self.books.standing(id, Timestamp(i64::MAX));
            assert_eq!((standing.quantity(), standing.value), after);
            assert_eq!(standing.beyond, pool.state.stock.beyond());
        }
    }

    fn movement(&mut self, site: u32, day: i64, movement: Movement) -> Capture {
        self.tell(site, day, &Statement::Movement(movement))
    }

    fn write(&mut self, effects: &Effects) {
        for voucher in &effects.vouchers {
            write!(self.text, "{} {}", voucher.number, voucher.cause.word()).expect("to a string");
            for line in &voucher.lines {
                let account = &self.books.settings().accounts().find(|(no, _)| *no == line.account);
                let code = account.as_ref().map_or("?", |(_, account)| account.code.as_str());
                let side = if line.side == super::Side::Debit { "Dr" } else { "Cr" };
                let amount = line.amount.display(2);
                write!(self.text, " | {side} {code}@{} {amount}", line.site).expect("to a string");
            }
            self.text.push('\n');
        }
        for number in &effects.waiting {
            // What was taken back may be there again.
            if let Some((_, waiting)) = self.books.waiting().find(|(no, _)| no == number) {
                let why = self.books.reason(waiting);
                writeln!(self.text, "waits: {why}").expect("to a string");
            }
        }
    }

    fn expect(&mut self, expected: &str) {
        let lines: Vec<&str> = expected.lines().map(str::trim).collect();
        assert_eq!(self.text.trim(), lines.join("\n"));
        self.text.clear();
    }
}

fn receipt(quantity: &str, cost: &str) -> Movement {
    Movement {
        price: Some(price(cost)),
        partner: Some(PartnerNo(1)),
        ..movement(Kind::Receipt, quantity)
    }
}

fn sale(quantity: &str, at: &str) -> Movement {
    Movement {
        price: Some(price(at)),
        partner: Some(PartnerNo(1)),
        ..movement(Kind::SaleIssue, quantity)
    }
}

fn invoice(receipt: Capture, quantity: &str, at: &str) -> Statement {
    Statement::SupplierInvoice(InvoiceLine {
        partner: PartnerNo(1),
        refers_to: receipt,
        quantity: pieces(quantity),
        price: price(at),
        document: None,
        document_date: None,
        due_date: None,
        tax_code: None,
    })
}

#[test]
fn an_invoice_belongs_to_its_receipt_and_follows_its_goods() {
    let mut story = Story::new(CostScope::Site);
    let first = story.movement(1, 1, receipt("10", "100"));
    story.movement(1, 2, sale("4", "150"));
    story.tell(0, 3, &invoice(first, "10", "105"));
    story.expect(
        "1 fact | Dr inventory@1 1000.00 | Cr received_not_invoiced@1 1000.00
         2 fact | Cr inventory@1 400.00 | Dr cost_of_sales@1 400.00 | Dr receivable@1 600.00 | Cr revenue@1 600.00
         3 fact | Cr payable@0 1050.00 | Dr received_not_invoiced@1 1050.00
         4 invoice | Dr inventory@1 50.00 | Cr inventory@1 20.00 | Cr received_not_invoiced@1 50.00 | Dr cost_of_sales@1 20.00",
    );
}

#[test]
fn an_invoice_before_its_goods_is_in_transit() {
    let mut story = Story::new(CostScope::Site);
    let coming = Capture { device: DeviceNo(2), counter: 1 };
    story.tell(0, 1, &invoice(coming, "10", "105"));
    story.movement(1, 2, receipt("10", "100"));
    story.expect(
        "1 fact | Cr payable@0 1050.00 | Dr bought_in_transit@0 1050.00
         2 invoice | Cr payable@0 -1050.00 | Dr bought_in_transit@0 -1050.00
         3 fact | Dr inventory@1 1050.00 | Cr received_not_invoiced@1 1050.00
         4 invoice | Dr received_not_invoiced@1 1050.00 | Cr payable@0 1050.00",
    );
}

#[test]
fn goods_sold_before_they_came_are_re_priced() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("1", "10"));
    story.movement(1, 2, sale("3", "20"));
    story.movement(1, 3, receipt("5", "12"));
    story.expect(
        "1 fact | Dr inventory@1 10.00 | Cr received_not_invoiced@1 10.00
         2 fact | Cr inventory@1 30.00 | Dr cost_of_sales@1 30.00 | Dr receivable@1 60.00 | Cr revenue@1 60.00
         3 fact | Dr inventory@1 60.00 | Cr received_not_invoiced@1 60.00
         4 negative_stock | Cr inventory@1 4.00 | Dr cost_of_sales@1 4.00",
    );
    assert_eq!(story.books.stock_value(), 36_00);
}

#[test]
fn a_late_receipt_re_prices_what_left_since_and_what_went_on() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 2, receipt("10", "10"));
    let ship = story.movement(
        1,
        3,
        Movement { other_site: Some(SiteNo(2)), ..movement(Kind::TransferShip, "5") },
    );
    story.movement(
        2,
        4,
        Movement { refers_to: Some(ship), ..movement(Kind::TransferReceive, "5") },
    );
    story.movement(2, 5, sale("5", "30"));
    story.text.clear();
    story.movement(1, 1, receipt("10", "20"));
    story.expect(
        "5 fact | Dr inventory@1 200.00 | Cr received_not_invoiced@1 200.00
         6 late_fact | Cr inventory@1 25.00 | Dr inter_site_transit@1 25.00
         7 followed | Dr inventory@2 25.00 | Cr inventory@2 25.00 | Cr inter_site_transit@2 25.00 | Dr cost_of_sales@2 25.00",
    );
}

#[test]
fn a_count_holds_when_older_movements_arrive() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    story.movement(1, 5, movement(Kind::Count, "8"));
    story.movement(1, 3, sale("3", "20"));
    story.expect(
        "1 fact | Dr inventory@1 100.00 | Cr received_not_invoiced@1 100.00
         2 fact | Cr inventory@1 20.00 | Dr stock_adjustment@1 20.00
         3 fact | Cr inventory@1 30.00 | Dr cost_of_sales@1 30.00 | Dr receivable@1 60.00 | Cr revenue@1 60.00
         4 late_fact | Dr inventory@1 10.00 | Cr inventory@1 -20.00 | Dr stock_adjustment@1 -20.00 | Cr stock_adjustment@1 10.00",
    );
    assert_eq!(story.books.stock_value(), 80_00);
}

#[test]
fn a_reversal_leaves_nothing_and_its_reversal_restores() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    let sold = story.movement(1, 2, sale("4", "20"));
    story.text.clear();
    let undo = story.tell(1, 3, &Statement::Reversal { refers_to: sold, reason: None });
    story.tell(1, 4, &Statement::Reversal { refers_to: undo, reason: None });
    story.expect(
        "3 reversal | Cr inventory@1 -40.00 | Dr cost_of_sales@1 -40.00 | Cr revenue@1 -80.00 | Dr receivable@1 -80.00
         4 reversal | Cr inventory@1 40.00 | Dr cost_of_sales@1 40.00 | Cr revenue@1 80.00 | Dr receivable@1 80.00",
    );
}

#[test]
fn a_payment_settles_what_it_is_allocated_to() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    let sold = story.movement(1, 2, sale("4", "20"));
    story.text.clear();
    let paid = story.tell(
        0,
        3,
        &Statement::Payment(Payment {
            partner: PartnerNo(1),
            direction: Direction::In,
            amount: money("100"),
            account: None,
            document: None,
            document_date: None,
        }),
    );
    story.tell(
        0,
        3,
        &Statement::Allocation(Allocation { open_item: sold, payment: paid, amount: money("80") }),
    );
    story.expect(
        "3 fact | Dr bank@0 100.00 | Cr customer_advance@0 100.00
         4 fact | Cr receivable@1 80.00 | Dr customer_advance@0 80.00",
    );
    let receivables: Vec<_> = story.books.open_items().of_role(Role::Receivable).collect();
    assert!(receivables.is_empty());
}

#[test]
fn what_is_missing_waits_and_posts_by_itself_once_it_comes() {
    let mut story = Story::new(CostScope::Site);
    let other = Movement { item: ItemNo(2), ..receipt("10", "10") };
    story.movement(1, 1, other);
    story.expect("waits: item 2 is not known at that time: add it at HQ");
    story.tell(
        0,
        1,
        &Statement::MasterData {
            valid_from: None,
            data: MasterData::Item {
                item: ItemNo(2),
                category: CategoryNo(1),
                code: "B".into(),
                name: "B".into(),
                unit: Unit::from_bytes(b"EA").expect("a unit"),
                decimals: 0,
                service: false,
                fallback_cost: None,
            },
        },
    );
    story.expect("1 fact | Dr inventory@1 100.00 | Cr received_not_invoiced@1 100.00");
    assert_eq!(story.books.waiting().count(), 0);
}

#[test]
fn one_pool_for_all_sites_moves_no_value_between_them() {
    let mut story = Story::new(CostScope::Company);
    story.movement(1, 1, receipt("10", "10"));
    let ship = story.movement(
        1,
        2,
        Movement { other_site: Some(SiteNo(2)), ..movement(Kind::TransferShip, "6") },
    );
    story.movement(
        2,
        3,
        Movement { refers_to: Some(ship), ..movement(Kind::TransferReceive, "6") },
    );
    story.movement(2, 4, sale("5", "20"));
    story.expect(
        "1 fact | Dr inventory@0 100.00 | Cr received_not_invoiced@1 100.00
         2 fact | Cr inventory@0 50.00 | Dr cost_of_sales@2 50.00 | Dr receivable@2 100.00 | Cr revenue@2 100.00",
    );
    let on_hand = |site| story.books.on_hand(CompanyNo(1), SiteNo(site), ITEM).0;
    assert_eq!([on_hand(1), on_hand(2)], [4, 1]);
}

fn costing(method: CostMethod) -> Statement {
    let data = MasterData::Costing { company: CompanyNo(1), category: None, method };
    Statement::MasterData { valid_from: None, data }
}

#[test]
fn under_fifo_goods_keep_their_layers_on_their_way() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &costing(CostMethod::Fifo));
    story.movement(1, 1, receipt("2", "10"));
    story.movement(1, 2, receipt("3", "20"));
    let mut ship = movement(Kind::TransferShip, "4");
    ship.other_site = Some(SiteNo(2));
    let ship = story.movement(1, 3, ship);
    let mut receive = movement(Kind::TransferReceive, "4");
    receive.refers_to = Some(ship);
    receive.other_site = Some(SiteNo(1));
    story.movement(2, 4, receive);
    story.movement(2, 5, sale("1", "30"));
    let layers = |books: &Books, site| {
        let pool = books.pool(CompanyNo(1), SiteNo(site), ITEM).expect("goods moved there");
        pool.state.stock.layers().map(|layer| (layer.units, layer.value)).collect::<Vec<_>>()
    };
    assert_eq!(layers(&story.books, 1), [(1, 2_000)]);
    assert_eq!(layers(&story.books, 2), [(1, 1_000), (2, 4_000)]);
    // An invoice for the first receipt follows its goods into the other site.
    let first = Capture { device: DeviceNo(2), counter: 1 };
    story.tell(0, 6, &invoice(first, "2", "13"));
    assert_eq!(layers(&story.books, 2), [(1, 1_300), (2, 4_000)]);
    assert_eq!(story.books.check(), Ok(()));
}

#[test]
fn another_method_from_the_beginning_costs_everything_again() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("1", "10"));
    story.movement(1, 2, receipt("1", "20"));
    story.movement(1, 3, movement(Kind::Issue, "1"));
    let value = |story: &Story| story.books.stock_value();
    assert_eq!(value(&story), 1_500);
    for (method, expected) in
        [(CostMethod::Fifo, 2_000), (CostMethod::Lifo, 1_000), (CostMethod::MovingAverage, 1_500)]
    {
        story.tell(0, 4, &costing(method));
        assert_eq!(value(&story), expected, "{method:?}");
        assert_eq!(story.books.check(), Ok(()));
    }
}

fn lot(mut movement: Movement, lot: &str) -> Movement {
    movement.lot = Some(shared::quantity::ShortText::from_slice(lot.as_bytes()));
    movement
}

#[test]
fn lots_get_pools_of_their_own_and_lose_them() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, lot(receipt("1", "10"), "a"));
    story.movement(1, 2, lot(receipt("1", "30"), "b"));
    let sold = story.movement(1, 3, lot(sale("1", "50"), "a"));
    let back = Movement { refers_to: Some(sold), ..movement(Kind::CustomerReturn, "1") };
    story.movement(1, 4, Movement { partner: Some(PartnerNo(1)), ..back });
    story.movement(1, 5, lot(movement(Kind::Issue, "1"), "b"));
    let value = |story: &Story| story.books.stock_value();
    assert_eq!(value(&story), 2_000);
    for (method, expected) in [(CostMethod::Specific, 1_000), (CostMethod::MovingAverage, 2_000)] {
        story.tell(0, 6, &costing(method));
        assert_eq!(value(&story), expected, "{method:?}");
        assert_eq!(story.books.check(), Ok(()));
    }
}

#[test]
fn landed_cost_waits_on_the_clearing_account_for_its_bill() {
    let mut story = Story::new(CostScope::Site);
    let received = story.movement(1, 1, receipt("4", "10"));
    story.movement(1, 2, sale("1", "20"));
    story.text.clear();
    let landed = |amount: &str, partner| {
        Statement::LandedCost(LandedCost {
            refers_to: received,
            amount: money(amount),
            shared_by: None,
            partner,
            document: None,
            document_date: None,
            due_date: None,
        })
    };
    let bill = story.tell(0, 3, &landed("8", Some(PartnerNo(1))));
    story.expect(
        "3 fact | Cr payable@0 8.00 | Dr landed_cost_clearing@1 8.00
         4 landed_cost | Dr inventory@1 8.00 | Cr inventory@1 2.00 | Dr cost_of_sales@1 2.00 | Cr landed_cost_clearing@1 8.00",
    );
    story.text.clear();
    story.tell(0, 4, &Statement::Reversal { refers_to: bill, reason: None });
    assert_eq!(story.books.role_balance(Role::LandedCostClearing), 0);
    story.tell(0, 5, &landed("-4", None));
    assert_eq!(story.books.role_balance(Role::LandedCostClearing), 400);
    // Goods that go back leave with their landed cost; the supplier owes their price.
    story.text.clear();
    let back = Movement { refers_to: Some(received), ..movement(Kind::SupplierReturn, "3") };
    story.movement(1, 6, Movement { partner: Some(PartnerNo(1)), ..back });
    story.expect(
        "8 fact | Cr inventory@1 27.00 | Dr received_not_invoiced@1 30.00 | Dr return_difference@1 -3.00",
    );
    assert_eq!(story.books.check(), Ok(()));
}

/// A discount on a bill: the goods', unless it is income.
fn discount(bill: Capture, amount: &str, of: PurchaseCashDiscount) -> Statement {
    let (amount, document, document_date) = (money(amount), None, None);
    Statement::CashDiscount(CashDiscount { refers_to: bill, amount, of, document, document_date })
}

#[test]
fn a_discount_follows_its_goods_or_is_income() {
    let mut story = Story::new(CostScope::Site);
    let received = story.movement(1, 1, receipt("4", "10"));
    story.movement(1, 2, sale("1", "20"));
    let bill = story.tell(0, 3, &invoice(received, "4", "10"));
    story.text.clear();
    let taken = story.tell(0, 4, &discount(bill, "0.80", PurchaseCashDiscount::Cost));
    story.expect(
        "4 fact | Dr payable@0 0.80 | Cr landed_cost_clearing@1 0.80
         5 cash_discount | Dr inventory@1 -0.80 | Cr inventory@1 -0.20 | Dr cost_of_sales@1 -0.20 | Cr landed_cost_clearing@1 -0.80",
    );
    story.text.clear();
    story.tell(0, 5, &discount(bill, "0.40", PurchaseCashDiscount::Finance));
    story.expect("6 fact | Dr payable@0 0.40 | Cr cash_discount@0 0.40");
    let facts = story.books.facts();
    let owed = facts[facts.find(bill).expect("taken")].main_item;
    assert_eq!(story.books.open_items().of(Role::Payable, owed), -3_880);
    story.tell(0, 6, &Statement::Reversal { refers_to: taken, reason: None });
    assert_eq!((story.books.stock_value(), story.books.check()), (3_000, Ok(())));
    // Without its bill a discount is none, of either kind.
    story.tell(0, 7, &discount(bill, "2", PurchaseCashDiscount::Cost));
    story.tell(0, 8, &Statement::Reversal { refers_to: bill, reason: None });
    let roles = [Role::Payable, Role::CashDiscount, Role::LandedCostClearing, Role::Inventory];
    assert_eq!(roles.map(|role| story.books.role_balance(role)), [0, 0, 0, 3_000]);
    assert_eq!(story.books.check(), Ok(()));
}

#[test]
fn a_discount_on_goods_that_are_on_the_way_waits_for_them() {
    let mut story = Story::new(CostScope::Site);
    let to_come = Capture { device: DeviceNo(2), counter: 1 };
    let bill = story.tell(0, 1, &invoice(to_come, "4", "10"));
    story.tell(0, 2, &discount(bill, "0.80", PurchaseCashDiscount::Cost));
    assert_eq!(story.books.role_balance(Role::LandedCostClearing), -80);
    assert_eq!(story.movement(1, 3, receipt("4", "9")), to_come);
    assert_eq!(story.books.role_balance(Role::LandedCostClearing), 0);
    assert_eq!((story.books.stock_value(), story.books.check()), (3_920, Ok(())));
    // A discount on freight is one on the goods that the freight is of, and no bill is no reference.
    let freight = LandedCost {
        refers_to: to_come,
        amount: money("3"),
        shared_by: None,
        partner: Some(PartnerNo(1)),
        document: None,
        document_date: None,
        due_date: None,
    };
    let freight = story.tell(0, 4, &Statement::LandedCost(freight));
    story.tell(0, 5, &discount(freight, "0.50", PurchaseCashDiscount::Cost));
    assert_eq!((story.books.stock_value(), story.books.check()), (4_170, Ok(())));
    story.tell(0, 6, &discount(to_come, "0.50", PurchaseCashDiscount::Cost));
    let why: Vec<_> = story.books.waiting().map(|(_, group)| group.why.clone()).collect();
    assert_eq!(why, [Waits::WrongReference(to_come, "supplier's bill")]);
}

#[test]
fn under_standard_cost_the_rest_is_a_variance() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &costing(CostMethod::Standard));
    let pool = || PoolName { item: ITEM, site: Some(SiteNo(1)), lot: None };
    let standard = |cost| {
        Statement::StandardCost(StandardCost { pool: pool(), cost: price(cost), reason: None })
    };
    story.tell(0, 1, &standard("12"));
    story.movement(1, 2, receipt("5", "10"));
    story.movement(1, 3, movement(Kind::Issue, "1"));
    story.tell(0, 4, &standard("11"));
    story.expect(
        "1 fact | Dr inventory@1 60.00 | Cr received_not_invoiced@1 50.00 | Dr price_variance@1 -10.00
         2 fact | Cr inventory@1 12.00 | Dr own_use@1 12.00
         3 fact | Cr inventory@1 4.00 | Dr revaluation@1 4.00",
    );
    let revaluation =
        Revaluation { pool: pool(), amount: Some(money("6")), refers_to: None, reason: None };
    story.tell(0, 5, &Statement::Revaluation(revaluation));
    assert_eq!((story.books.stock_value(), story.books.check()), (5_000, Ok(())));
}

#[test]
fn a_method_holds_from_its_day_on() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("1", "10"));
    story.movement(1, 2, receipt("1", "30"));
    story.movement(1, 5, receipt("2", "50"));
    story.movement(1, 6, movement(Kind::Issue, "3"));
    assert_eq!(story.books.stock_value(), 3_500);
    let data =
        MasterData::Costing { company: CompanyNo(1), category: None, method: CostMethod::Fifo };
    let valid_from = Some(Timestamp(4 * DAY));
    story.tell(0, 7, &Statement::MasterData { valid_from, data });
    // What was there on day 4 is one layer of two at 20.
    assert_eq!((story.books.stock_value(), story.books.check()), (5_000, Ok(())));
}

#[test]
fn a_past_day_stands_as_the_ledger_has_it_and_as_it_was_explained() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("2", "10"));
    let sold = story.movement(1, 3, sale("3", "20"));
    story.movement(1, 5, receipt("4", "16"));
    let (id, day) = (PoolId(0), |day| Timestamp(day * DAY));
    let standing = |story: &Story, at| {
        let standing = story.books.standing(id, at);
        (standing.quantity(), standing.value)
    };
    let explained = |story: &Story, at| {
        let (steps, state) = story.books.explain(id, at);
        (steps.len(), state.stock.quantity(), state.stock.value())
    };
    assert_eq!(standing(&story, day(2)), (2, 2_000));
    // On day 4 one was missing at 10; now it is known to cost 16.
    assert_eq!(explained(&story, day(4)), (2, -1, -1_000));
    assert_eq!(standing(&story, day(4)), (-1, -1_600));
    let (steps, _) = story.books.explain(id, Timestamp(i64::MAX));
    let covered: Vec<_> = steps[2].covered.iter().map(|covered| covered.change).collect();
    assert_eq!(covered, [600]);
    assert_eq!(story.books.facts().find(sold), Some(steps[1].fact));
    assert_eq!(steps.iter().map(|step| step.value).collect::<Vec<_>>(), [2_000, -3_000, 5_800]);
}

fn usd(text: &str) -> Price {
    Price { currency: "USD".parse().expect("a code"), ..price(text) }
}

/// A rate of USD that holds from a day until before another.
fn rate(text: &str, from: i64, until: i64) -> Statement {
    let figure = shared::decimal::parse(text).expect("a figure");
    let (currency, until) = (usd("1").currency, Timestamp(until * DAY));
    let data = MasterData::Rate { company: CompanyNo(1), currency, rate: figure, until };
    Statement::MasterData { valid_from: Some(Timestamp(from * DAY)), data }
}

fn abroad(quantity: &str, cost: &str) -> Movement {
    Movement { price: Some(usd(cost)), ..receipt(quantity, cost) }
}

fn invoice_abroad(receipt: Capture, quantity: &str, at: &str) -> InvoiceLine {
    let Statement::SupplierInvoice(line) = invoice(receipt, quantity, at) else {
        unreachable!("an invoice is a supplier's")
    };
    InvoiceLine { price: usd(at), ..line }
}

#[test]
fn goods_keep_the_rate_of_the_day_they_came_and_the_rest_is_exchange_difference() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &rate("7", 1, 3));
    story.tell(0, 0, &rate("7.2", 3, 9));
    let came = story.movement(1, 1, abroad("10", "10"));
    story.movement(1, 2, sale("4", "90"));
    let line = invoice_abroad(came, "10", "11");
    story.tell(0, 3, &Statement::SupplierInvoice(line));
    story.expect(
        "1 fact | Dr inventory@1 700.00 | Cr received_not_invoiced@1 700.00
         2 fact | Cr inventory@1 280.00 | Dr cost_of_sales@1 280.00 | Dr receivable@1 360.00 | Cr revenue@1 360.00
         3 fact | Dr exchange_difference@1 22.00 | Cr payable@0 792.00 | Dr received_not_invoiced@1 770.00
         4 invoice | Dr inventory@1 70.00 | Cr inventory@1 28.00 | Cr received_not_invoiced@1 70.00 | Dr cost_of_sales@1 28.00",
    );
    // A credit note for a part: the payable falls at its own day's rate, the goods at theirs.
    let credit = invoice_abroad(came, "5", "1");
    story.tell(0, 4, &Statement::CreditNote(credit));
    story.expect(
        "5 fact | Cr exchange_difference@1 1.00 | Dr payable@0 36.00 | Cr received_not_invoiced@1 35.00
         6 invoice | Dr inventory@1 315.00 | Cr inventory@1 126.00 | Cr received_not_invoiced@1 315.00 | Dr cost_of_sales@1 126.00",
    );
    // What the supplier is owed beyond what came is on its way at the rate of the bill.
    let more = invoice_abroad(came, "7", "10");
    story.tell(0, 5, &Statement::SupplierInvoice(more));
    assert_eq!(story.books.role_balance(Role::BoughtInTransit), 14_400);
    assert_eq!(story.books.role_balance(Role::ReceivedNotInvoiced), 0);
}

#[test]
fn a_company_may_let_goods_bear_what_the_rate_moved() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &rate("7", 1, 3));
    story.tell(0, 0, &rate("7.2", 3, 9));
    let came = story.movement(1, 1, abroad("10", "10"));
    let line = invoice_abroad(came, "10", "11");
    story.tell(0, 3, &Statement::SupplierInvoice(line));
    story.text.clear();
    let data = MasterData::Policy {
        company: Some(CompanyNo(1)),
        site: None,
        policy: PolicyKind::ReceiptFx,
        setting: ReceiptFx::Cost as i64,
    };
    story.tell(0, 4, &Statement::MasterData { valid_from: None, data });
    story.expect(
        "4 settings | Dr inventory@1 22.00 | Dr received_not_invoiced@1 22.00 | Cr received_not_invoiced@1 22.00 | Dr exchange_difference@1 -22.00",
    );
    assert_eq!(story.books.stock_value(), 79_200);
}

#[test]
fn without_a_rate_it_waits_and_a_corrected_rate_prices_it_again() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &rate("7", 0, 1));
    let came = story.movement(1, 1, abroad("10", "10"));
    story.expect(
        "waits: there is no rate of USD for 1970-01-02: 'hq-server rate set USD RATE --from 1970-01-02'",
    );
    story.tell(0, 2, &rate("7.1", 1, 2));
    story.expect("1 fact | Dr inventory@1 710.00 | Cr received_not_invoiced@1 710.00");
    story.movement(1, 2, movement(Kind::Issue, "5"));
    let bill = LandedCost {
        refers_to: came,
        amount: Money { currency: usd("1").currency, ..money("3") },
        shared_by: None,
        partner: Some(PartnerNo(1)),
        document: None,
        document_date: Some(shared::time::Day(1)),
        due_date: None,
    };
    story.tell(0, 4, &Statement::LandedCost(bill));
    story.text.clear();
    story.tell(0, 5, &rate("8", 1, 2));
    story.expect(
        "5 settings | Dr inventory@1 92.70 | Cr inventory@1 46.35 | Cr received_not_invoiced@1 90.00 | Cr payable@0 2.70 | Dr own_use@1 46.35 | Dr landed_cost_clearing@1 2.70 | Cr landed_cost_clearing@1 2.70",
    );
    assert_eq!(story.books.stock_value(), 41_200);
    // What is sold is stated in the currency of the books.
    story.movement(1, 6, Movement { price: Some(usd("9")), ..sale("1", "9") });
    story.expect(
        "waits: the price is in USD and the company's books are in another currency: enter it in the books' currency",
    );
}

#[test]
fn an_invoice_is_goods_on_their_way_until_the_rate_of_the_receipt_is_known() {
    let mut story = Story::new(CostScope::Site);
    story.tell(0, 0, &rate("7.2", 3, 9));
    let came = story.movement(1, 1, receipt("10", "70"));
    let line = invoice_abroad(came, "10", "11");
    story.tell(0, 3, &Statement::SupplierInvoice(line));
    story.text.clear();
    assert_eq!(story.books.role_balance(Role::BoughtInTransit), 79_200);
    story.tell(0, 5, &rate("7", 1, 2));
    assert_eq!(story.books.role_balance(Role::BoughtInTransit), 0);
    assert_eq!(story.books.role_balance(Role::ExchangeDifference), 2_200);
    assert_eq!(story.books.stock_value(), 77_000);
}

#[test]
fn a_write_down_stands_beside_what_goods_cost() {
    let mut story = Story::new(CostScope::Site);
    story.movement(1, 1, receipt("10", "10"));
    story.text.clear();
    let write_down = |amount: &str| {
        let pool = PoolName { item: ITEM, site: Some(SiteNo(1)), lot: None };
        Statement::WriteDown(WriteDown { pool, amount: money(amount), reason: Some(ReasonNo(1)) })
    };
    story.tell(0, 2, &write_down("30"));
    let back = story.tell(0, 3, &write_down("-12"));
    story.expect(
        "2 fact | Dr write_down@1 30.00 | Cr allowance@1 30.00
         3 fact | Cr write_down@1 12.00 | Dr allowance@1 12.00",
    );
    // Goods that leave take their cost; what was decided stays until somebody decides again.
    story.movement(1, 4, movement(Kind::Issue, "10"));
    let left = |story: &Story, day| {
        let pool = story.books.pool(CompanyNo(1), SiteNo(1), ITEM).expect("goods moved there");
        story.books.allowances(Timestamp(day * DAY)).of(pool)
    };
    assert_eq!([1, 2, 3, 9].map(|day| left(&story, day)), [0, 3_000, 1_800, 1_800]);
    assert_eq!(story.books.stock_value(), 0);
    story.tell(0, 5, &Statement::Reversal { refers_to: back, reason: None });
    assert_eq!(left(&story, 9), 3_000);
    assert_eq!(story.books.role_balance(Role::Allowance), -3_000);
}
