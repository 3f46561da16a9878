//! The facts, columns, chains, seals and documents of the golden files, and what must be refused.
//! Every kind and every field stands in at least one fact.

use shared::fact::statement::{
    AccountType, Allocation, CashDiscount, CostMethod, CostScope, Direction, DoubtfulTime,
    InvoiceLine, LandedCost, MasterData, Measure, Money, Movement, Payment, PeriodAction,
    PeriodStep, PolicyKind, PoolName, PurchaseCashDiscount, Retime, Revaluation, Role, SharedBy,
    Stamp, StandardCost, Statement, WriteDown,
};
use shared::fact::{Fact, Kind, KindNo, Value, field};
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, LogId, PartnerNo, PersonNo,
    ReasonNo, Seq, SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, ShortText, Unit};
use shared::time::{Day, Month, OffsetMinutes, Timestamp};

const DEVICE: DeviceNo = DeviceNo(3);
const RECORDED_AT: i64 = 1_795_519_885_491;

/// Names, facts.
pub(crate) struct Facts {
    pub named: Vec<(String, Fact)>,
}

impl Facts {
    fn add(&mut self, name: &str, fact: Fact) {
        assert!(self.named.iter().all(|(known, _)| known != name), "{name} stands twice");
        self.named.push((name.to_owned(), fact));
    }

    /// The stamp of the next fact: a minute and a counter further.
    fn stamp(&self) -> Stamp {
        let counter = self.named.len() as u64;
        Stamp {
            capture: Capture { device: DEVICE, counter: 1_042 + counter },
            recorded_at: Timestamp(RECORDED_AT + 61_003 * counter.cast_signed()),
            occurred_at: Timestamp(RECORDED_AT + 61_003 * counter.cast_signed()),
            utc_offset: OffsetMinutes(480),
            group_left: 0,
            person: Some(PersonNo(4)),
            time_in_doubt: 0,
            company: None,
        }
    }

    fn say(&mut self, name: &str, statement: &Statement) {
        let fact = statement.to_fact(&self.stamp()).expect("a legal fact");
        assert_eq!(Statement::parse(&fact).as_ref(), Ok(statement), "{name}");
        self.add(name, fact);
    }

    fn movement(&mut self, name: &str, movement: Movement) {
        movement.check().expect("what the kind needs");
        self.say(name, &Statement::Movement(movement));
    }

    /// A fact of a kind whose needs are not settled: a stamp and these fields.
    fn reserved(&mut self, kind: Kind, fields: &[(u16, Value<'_>)]) {
        let mut fact = Fact::new(kind);
        self.stamp().put(&mut fact).expect("a legal stamp");
        for (number, value) in fields {
            fact.set(*number, *value).expect("a legal field");
        }
        self.add(kind.word(), fact);
    }
}

fn scaled(mantissa: i64, exponent: i8) -> Scaled {
    Scaled::new(mantissa, exponent).expect("in range")
}

fn unit(text: &str) -> Unit {
    Unit::from_bytes(text.as_bytes()).expect("a unit")
}

fn measure(mantissa: i64, exponent: i8, text: &str) -> Measure {
    Measure { figure: scaled(mantissa, exponent), unit: unit(text) }
}

fn currency(code: &str) -> Currency {
    code.parse().expect("a currency")
}

fn price(mantissa: i64, exponent: i8, code: &str) -> Price {
    Price { figure: scaled(mantissa, exponent), currency: currency(code) }
}

fn money(mantissa: i64, exponent: i8, code: &str) -> Money {
    Money { figure: scaled(mantissa, exponent), currency: currency(code) }
}

fn short(text: &str) -> ShortText {
    ShortText::from_slice(text.as_bytes())
}

fn capture(counter: u64) -> Capture {
    Capture { device: DEVICE, counter }
}

fn text(value: &str) -> Value<'_> {
    Value::from(value.as_bytes())
}

/// Every fact of the golden file, in order.
pub(crate) fn facts() -> Facts {
    let mut facts = Facts { named: Vec::new() };
    example(&mut facts);
    movements(&mut facts);
    finance(&mut facts);
    master_data(&mut facts);
    reserved(&mut facts);
    groups(&mut facts);
    strangers(&mut facts);
    costing(&mut facts);
    costs(&mut facts);
    periods(&mut facts);
    company_policies(&mut facts);
    rates(&mut facts);
    write_downs(&mut facts);
    item_measures(&mut facts);
    carriers(&mut facts);
    restores(&mut facts);
    handled_items(&mut facts);
    doubts(&mut facts);
    discounts(&mut facts);
    revoked_log(&mut facts);
    facts
}

/// New vectors stand at the end, so that the lines before stay as they are.
fn costing(facts: &mut Facts) {
    let data = MasterData::Costing {
        company: CompanyNo(1),
        category: Some(CategoryNo(3)),
        method: CostMethod::Fifo,
    };
    facts.say("costing", &Statement::MasterData { valid_from: Some(Timestamp(-1)), data });
}

fn company_policies(facts: &mut Facts) {
    let data = MasterData::Policy {
        company: Some(CompanyNo(1)),
        site: None,
        policy: PolicyKind::ReceiptFx,
        setting: 2,
    };
    let stated = Statement::MasterData { valid_from: Some(Timestamp(86_400_000)), data };
    facts.say("policy of a company", &stated);
}

fn rates(facts: &mut Facts) {
    let data = MasterData::Rate {
        company: CompanyNo(1),
        currency: currency("USD"),
        rate: scaled(71_234, -4),
        until: Timestamp(1_795_622_400_000),
    };
    let valid_from = Some(Timestamp(1_795_536_000_000));
    facts.say("rate of a day", &Statement::MasterData { valid_from, data });
}

fn write_downs(facts: &mut Facts) {
    let pool = PoolName { item: ItemNo(7), site: Some(SiteNo(8)), lot: None };
    let amount = money(12_050, -2, "CNY");
    let stated = WriteDown { pool: pool.clone(), amount, reason: Some(ReasonNo(1)) };
    facts.say("write-down", &Statement::WriteDown(stated));
    let back = WriteDown { pool, amount: money(-5, 0, "CNY"), reason: None };
    facts.say("write-down taken back", &Statement::WriteDown(back));
}

fn handled_items(facts: &mut Facts) {
    let data = MasterData::HandledItem { site: SiteNo(8), item: ItemNo(7) };
    facts.say("handled item", &Statement::MasterData { valid_from: None, data });
}

fn item_measures(facts: &mut Facts) {
    let (item, weight, volume) = (ItemNo(7), Some(scaled(1_250, -3)), Some(scaled(8, -1)));
    let data = MasterData::ItemMeasure { item, weight, volume };
    facts.say("weight and volume", &Statement::MasterData { valid_from: None, data });
    let data = MasterData::ItemMeasure { item, weight: None, volume };
    facts.say("volume", &Statement::MasterData { valid_from: Some(Timestamp(-1)), data });
}

fn carriers(facts: &mut Facts) {
    for (name, allowed) in [("carrier", true), ("carrier no more", false)] {
        let data = MasterData::Carrier { site: SiteNo(8), carrier: SiteNo(9), allowed };
        facts.say(name, &Statement::MasterData { valid_from: None, data });
    }
}

fn revoked_log(facts: &mut Facts) {
    let (site, device) = (SiteNo(8), DEVICE);
    let (log, public_key) = (LogId([0xab; 32]), [0xcd; 32]);
    let data = MasterData::SiteLog { site, device, log, public_key, revoked: true };
    facts.say("site_log revoked", &Statement::MasterData { valid_from: None, data });
}

fn restores(facts: &mut Facts) {
    let mut say = |name, data| {
        facts.say(name, &Statement::MasterData { valid_from: None, data });
    };
    let (log, after) = (LogId([0xab; 32]), Seq(800));
    say("restored", MasterData::Restored { log, after, skipped: 1_000, lost: None });
    let lost = Some(Capture { device: DeviceNo(1), counter: 812 });
    say("more was lost", MasterData::Restored { log, after, skipped: 0, lost });
    let (company, month) = (CompanyNo(1), Month(24_322));
    say("voucher_gap", MasterData::VoucherGap { company, month, last: 71 });
    say("ruling", MasterData::Ruling { log, upto: Seq(12) });
    let dropped = Capture { device: DeviceNo(5), counter: 12 };
    facts.say("told twice", &Statement::SameAs { dropped, kept: capture(1_042) });
}

fn doubts(facts: &mut Facts) {
    let log = LogId([0xab; 32]);
    let one = Retime { log, first: Seq(118), last: Seq(118), reason: None };
    facts.say("retime of one", &Statement::Retime(one));
    let stamp = facts.stamp();
    let stamp = Stamp { occurred_at: Timestamp(stamp.occurred_at.0 - 86_400_000), ..stamp };
    let range = Retime { last: Seq(121), reason: Some(ReasonNo(1)), ..one };
    let range = Statement::Retime(range).to_fact(&stamp).expect("a legal fact");
    facts.add("retime of four to the day before", range);
    let (company, policy) = (Some(CompanyNo(1)), PolicyKind::DoubtfulTime);
    let setting = DoubtfulTime::ByHand as i64;
    let data = MasterData::Policy { company, site: None, policy, setting };
    facts.say("times in doubt by hand", &Statement::MasterData { valid_from: None, data });
}

fn discounts(facts: &mut Facts) {
    let discount = CashDiscount {
        refers_to: capture(1_061),
        amount: money(2, 1, "CNY"),
        of: PurchaseCashDiscount::Cost,
        document: Some(short("2/10 n/30")),
        document_date: Some(Day(20_791)),
    };
    facts.say("cash discount of the goods", &Statement::CashDiscount(discount.clone()));
    let income = CashDiscount {
        of: PurchaseCashDiscount::Finance,
        document: None,
        document_date: None,
        ..discount
    };
    facts.say("cash discount as income", &Statement::CashDiscount(income));
    let (company, policy) = (Some(CompanyNo(1)), PolicyKind::PurchaseCashDiscount);
    let setting = PurchaseCashDiscount::Finance as i64;
    let data = MasterData::Policy { company, site: None, policy, setting };
    facts.say("discounts are income", &Statement::MasterData { valid_from: None, data });
}

fn costs(facts: &mut Facts) {
    let line = InvoiceLine {
        partner: PartnerNo(21),
        refers_to: capture(1_043),
        quantity: measure(2, 0, "kg"),
        price: price(1_260, -2, "CNY"),
        document: Some(short("CN-9")),
        document_date: Some(Day(20_790)),
        due_date: None,
        tax_code: None,
    };
    facts.say("credit note of a supplier", &Statement::CreditNote(line));
    let landed = LandedCost {
        refers_to: capture(1_043),
        amount: money(-1_999, -2, "CNY"),
        shared_by: Some(SharedBy::Volume),
        partner: Some(PartnerNo(22)),
        document: Some(short("AWB 176-1")),
        document_date: Some(Day(20_790)),
        due_date: Some(Day(20_820)),
    };
    facts.say("landed cost taken back", &Statement::LandedCost(landed.clone()));
    let accrued =
        LandedCost { shared_by: None, partner: None, document: None, due_date: None, ..landed };
    facts.say("landed cost accrued", &Statement::LandedCost(accrued));
    let pool = PoolName { item: ItemNo(7), site: Some(SiteNo(8)), lot: Some(short("L-2026-11")) };
    let revaluation = Revaluation {
        pool: pool.clone(),
        amount: Some(money(-5, 0, "CNY")),
        refers_to: Some(capture(1_043)),
        reason: Some(ReasonNo(1)),
    };
    facts.say("revaluation of a receipt", &Statement::Revaluation(revaluation.clone()));
    let further = Revaluation { amount: None, reason: None, ..revaluation };
    facts.say("revaluation of a further receipt", &Statement::Revaluation(further));
    let cost = price(455, -2, "CNY");
    let everywhere = PoolName { site: None, lot: None, ..pool };
    let standard = StandardCost { pool: everywhere, cost, reason: None };
    facts.say("standard cost of a company's pool", &Statement::StandardCost(standard));
}

fn periods(facts: &mut Facts) {
    let month = Day(20_790).month();
    let close = PeriodAction { month, step: PeriodStep::CloseStock, reason: None };
    facts.say("stock closed", &Statement::PeriodAction(close));
    let reopen = PeriodAction { step: PeriodStep::ReopenTrade, reason: Some(ReasonNo(1)), ..close };
    facts.say("trade reopened", &Statement::PeriodAction(reopen));
    let data = MasterData::Costing {
        company: CompanyNo(1),
        category: None,
        method: CostMethod::MonthEndAverage,
    };
    facts.say("costing at month-end", &Statement::MasterData { valid_from: None, data });
}

/// The example of `FORMAT.md`.
fn example(facts: &mut Facts) {
    let stamp = Stamp { person: None, ..facts.stamp() };
    let movement = Movement {
        price: Some(price(4_523, -2, "CNY")),
        partner: Some(PartnerNo(21)),
        ..Movement::new(Kind::Receipt, ItemNo(7), measure(125, -1, "kg"))
    };
    let fact = Statement::Movement(movement).to_fact(&stamp).expect("a legal fact");
    facts.add("example", fact);
}

fn movements(facts: &mut Facts) {
    let base = |kind, item, quantity| Movement::new(kind, ItemNo(item), quantity);
    let partner = Some(PartnerNo(21));
    facts.movement(
        "receipt",
        Movement {
            price: Some(price(1_250, -2, "CNY")),
            partner,
            order: Some(capture(9)),
            lot: Some(short("L-2026-11")),
            serial: Some(short("SN 000017 of a long-named maker")),
            expiry: Some(Day(20_999)),
            document: Some(short("送货单-88")),
            tax_code: Some(13),
            ..base(Kind::Receipt, 7, measure(1_200, -2, "箱"))
        },
    );
    facts.movement(
        "sale_issue",
        Movement {
            price: Some(price(19, 0, "JPY")),
            partner,
            invoice_later: true,
            ..base(Kind::SaleIssue, 300, measure(5, 2, "EA"))
        },
    );
    facts.movement(
        "issue",
        Movement { reason: Some(ReasonNo(2)), ..base(Kind::Issue, 7, measure(1, 0, "kg")) },
    );
    facts.movement(
        "customer_return",
        Movement {
            price: Some(price(19, 0, "CNY")),
            cost: Some(price(1_105, -2, "CNY")),
            partner,
            refers_to: Some(capture(1_044)),
            ..base(Kind::CustomerReturn, 300, measure(1, 0, "EA"))
        },
    );
    facts.movement(
        "supplier_return",
        Movement { partner, ..base(Kind::SupplierReturn, 7, measure(3, 0, "kg")) },
    );
    facts.movement(
        "transfer_ship",
        Movement {
            other_site: Some(SiteNo(9)),
            ..base(Kind::TransferShip, 7, measure(40, 0, "kg"))
        },
    );
    facts.movement(
        "transfer_receive",
        Movement {
            other_site: Some(SiteNo(8)),
            refers_to: Some(Capture { device: DeviceNo(77), counter: 100_000 }),
            ..base(Kind::TransferReceive, 7, measure(39, 0, "kg"))
        },
    );
    facts.movement("count", base(Kind::Count, 7, measure(0, 0, "kg")));
    let reason = Some(ReasonNo(1));
    facts.movement(
        "adjustment",
        Movement { reason, ..base(Kind::Adjustment, 7, measure(-5, -1, "kg")) },
    );
    facts.movement("scrap", Movement { reason, ..base(Kind::Scrap, 7, measure(1, 0, "kg")) });
    facts.movement("production_in", base(Kind::ProductionIn, 12, measure(10, 0, "EA")));
    facts.movement("production_out", base(Kind::ProductionOut, 7, measure(2, 0, "kg")));
    facts.movement("repack_out", base(Kind::RepackOut, 12, measure(1, 0, "CTN")));
    facts.movement("repack_in", base(Kind::RepackIn, 13, measure(24, 0, "EA")));
    facts.movement(
        "service_sale",
        Movement {
            partner,
            price: Some(price(80_000, -2, "EUR")),
            ..base(Kind::ServiceSale, 900, measure(15, -1, "h"))
        },
    );
    facts.movement(
        "status_change",
        Movement { status: Some(2), ..base(Kind::StatusChange, 7, measure(1, 0, "kg")) },
    );
    let reversal = Statement::Reversal { refers_to: capture(1_043), reason };
    facts.say("reversal", &reversal);
    let mut late = facts.stamp();
    late.occurred_at = Timestamp(late.recorded_at.0 - 86_400_000);
    late.time_in_doubt = 5;
    late.utc_offset = OffsetMinutes(-210);
    late.company = Some(CompanyNo(1));
    late.person = None;
    let late = reversal.to_fact(&late).expect("a legal fact");
    facts.add("reversal of yesterday by a doubtful clock", late);
}

fn finance(facts: &mut Facts) {
    let line = InvoiceLine {
        partner: PartnerNo(21),
        refers_to: capture(1_043),
        quantity: measure(12, 0, "箱"),
        price: price(1_260, -2, "CNY"),
        document: Some(short("INV-2026/000451")),
        document_date: Some(Day(20_781)),
        due_date: Some(Day(20_811)),
        tax_code: Some(13),
    };
    facts.say("supplier_invoice", &Statement::SupplierInvoice(line.clone()));
    facts.say(
        "customer_invoice",
        &Statement::CustomerInvoice(InvoiceLine {
            document: None,
            document_date: None,
            due_date: Some(Day(-1)),
            tax_code: None,
            ..line
        }),
    );
    facts.say(
        "payment",
        &Statement::Payment(Payment {
            partner: PartnerNo(21),
            direction: Direction::Out,
            amount: money(15_120, -2, "CNY"),
            account: Some(AccountNo(1_002)),
            document: Some(short("BANK 7")),
            document_date: Some(Day(20_790)),
        }),
    );
    facts.say(
        "allocation",
        &Statement::Allocation(Allocation {
            open_item: capture(1_061),
            payment: capture(1_063),
            amount: money(9_007_199_254_740_991, -12, "CNY"),
        }),
    );
}

fn master_data(facts: &mut Facts) {
    let named = |code: &str, name: &str| (code.to_owned(), name.to_owned());
    let company = CompanyNo(1);
    let mut say = |name: &str, valid_from: Option<i64>, data: MasterData| {
        facts.say(name, &Statement::MasterData { valid_from: valid_from.map(Timestamp), data });
    };
    let (code, name) = named("C1", "仓册有限公司");
    let currency = currency("CNY");
    let scope = CostScope::Company;
    say(
        "company",
        None,
        MasterData::Company { company, code, name, currency, zone: OffsetMinutes(480), scope },
    );
    let (code, name) = named("SH", "Shanghai");
    say("site", None, MasterData::Site { site: SiteNo(8), company, code, name });
    let (code, name) = named("RAW", "Raw materials");
    say("category", None, MasterData::Category { category: CategoryNo(2), code, name });
    let (code, name) = named("A-7", "Flour");
    let item = ItemNo(7);
    let (category, decimals) = (CategoryNo(2), 3);
    let fallback_cost = Some(price(4, 0, "CNY"));
    let item_data = MasterData::Item {
        item,
        category,
        code,
        name,
        unit: unit("kg"),
        decimals,
        service: false,
        fallback_cost,
    };
    say("item", Some(1_790_000_000_000), item_data);
    let (code, name) = named("S", "Consulting");
    let item_data = MasterData::Item {
        item: ItemNo(900),
        category,
        code,
        name,
        unit: unit("h"),
        decimals: 1,
        service: true,
        fallback_cost: None,
    };
    say("item that is a service", None, item_data);
    say(
        "unit_conversion",
        Some(0),
        MasterData::UnitConversion {
            item,
            unit: unit("箱"),
            numerator: 12_500,
            denominator: 1_000,
        },
    );
    let (code, name) = named("P21", "Mill & Sons");
    say(
        "partner",
        None,
        MasterData::Partner { partner: PartnerNo(21), code, name, customer: true, supplier: true },
    );
    let (code, name) = named("DMG", "Damaged");
    let reason_data =
        MasterData::Reason { reason: ReasonNo(1), code, name, movement: Some(Kind::Scrap) };
    say("reason", None, reason_data);
    let (code, name) = named("1405", "库存商品");
    let account = AccountNo(1_405);
    say(
        "account",
        None,
        MasterData::Account { account, company, code, name, account_type: AccountType::Asset },
    );
    let mapping = MasterData::Mapping {
        company,
        role: Role::Inventory,
        account,
        category: Some(category),
        site: Some(SiteNo(8)),
        movement: Some(Kind::Receipt),
        reason: Some(ReasonNo(1)),
    };
    say("mapping", None, mapping);
    let policy = PolicyKind::BackdatingDays;
    say("policy", Some(-1), MasterData::Policy { company: None, site: None, policy, setting: 30 });
    say(
        "site_log",
        None,
        MasterData::SiteLog {
            site: SiteNo(8),
            device: DEVICE,
            log: LogId([0xab; 32]),
            public_key: [0xcd; 32],
            revoked: false,
        },
    );
    say("rules", None, MasterData::Rules { number: 2 });
}

/// Kinds and fields that have their number and meaning before a version reads them.
fn reserved(facts: &mut Facts) {
    use Value::{Signed, Unsigned};
    const REFERENCE: [(u16, Value<'static>); 2] = [(36, Unsigned(3)), (37, Unsigned(1_043))];
    fn with<'a>(fields: &[(u16, Value<'a>)]) -> Vec<(u16, Value<'a>)> {
        [&REFERENCE[..], fields].concat()
    }
    facts.reserved(Kind::Retime, &with(&[(4, Signed(RECORDED_AT - 5))]));
    facts.reserved(Kind::Proposal, &[(65, text("4006381333931")), (49, text("Pen"))]);
    facts
        .reserved(Kind::PurchaseOrder, &[(27, Unsigned(21)), (11, Unsigned(7)), (12, Signed(100))]);
    facts.reserved(Kind::SalesOrder, &[(27, Unsigned(21)), (31, Unsigned(5))]);
    facts.reserved(Kind::CreditNote, &with(&[(25, Signed(-13)), (26, Signed(-2))]));
    facts.reserved(Kind::LandedCost, &with(&[(17, Signed(900)), (42, Unsigned(2))]));
    facts.reserved(Kind::Revaluation, &[(11, Unsigned(7)), (17, Signed(-1)), (18, Signed(-2))]);
    facts.reserved(Kind::WriteDown, &[(11, Unsigned(7)), (40, Value::from([9; 32].as_slice()))]);
    facts.reserved(Kind::StandardCost, &[(11, Unsigned(7)), (22, Signed(455)), (23, Signed(-2))]);
    facts.reserved(Kind::HandVoucher, &[(43, Unsigned(1)), (44, Unsigned(1_405))]);
    facts.reserved(Kind::OpeningBalance, &[(9, Unsigned(1)), (44, Unsigned(1_001))]);
    facts.reserved(Kind::Approval, &REFERENCE);
    facts.reserved(Kind::PeriodAction, &[(64, Unsigned(2_026 * 12 + 10)), (57, Unsigned(3))]);
    facts.reserved(Kind::SameAs, &with(&[(38, Unsigned(4)), (39, Unsigned(1))]));
    facts.reserved(
        Kind::Void,
        &with(&[(60, Value::from([1; 32].as_slice())), (61, Unsigned(65_537))]),
    );
    facts.reserved(Kind::Person, &[(56, Unsigned(4)), (40, Value::from([8; 32].as_slice()))]);
    facts.reserved(Kind::Rate, &[(19, text("USD")), (20, Signed(71_234)), (21, Signed(-4))]);
    facts.reserved(Kind::PriceEntry, &[(11, Unsigned(7)), (15, Signed(19)), (62, Unsigned(1))]);
    facts.reserved(Kind::TaxCode, &[(24, Unsigned(13)), (20, Signed(13)), (21, Signed(-2))]);
    let sizes = [(66, Signed(25)), (67, Signed(-3)), (68, Signed(33)), (69, Signed(-2))];
    facts.reserved(Kind::Barcode, &[&[(65, text("4006381333931"))][..], &sizes].concat());
    facts.reserved(Kind::OpenTransfer, &with(&[(10, Unsigned(9))]));
    facts.reserved(Kind::OpenOrder, &with(&[(28, text("L"))]));
}

fn groups(facts: &mut Facts) {
    for (item, left) in [(7, 2), (8, 1), (9, 0)] {
        let stamp = Stamp { group_left: left, ..facts.stamp() };
        let movement = Movement {
            partner: Some(PartnerNo(21)),
            ..Movement::new(Kind::Receipt, ItemNo(item), measure(1, 0, "kg"))
        };
        let fact = Statement::Movement(movement).to_fact(&stamp).expect("a legal fact");
        facts.add(&format!("group of three, {left} follow"), fact);
    }
}

/// What a later version may write, and the edges of what may be written at all.
fn strangers(facts: &mut Facts) {
    use Value::{Signed, Unsigned};
    let fact = |kind: u16, fields: &[(u16, Value<'_>)]| {
        let mut fact = Fact::with_number(KindNo(kind));
        for (number, value) in fields {
            fact.push(*number, *value).expect("a legal field");
        }
        fact
    };
    let limit = (1i64 << 53) - 1;
    facts.add("no fields", fact(1, &[]));
    facts.add("unknown kind", fact(40, &[(1, Unsigned(3)), (2, Unsigned(9))]));
    facts.add("the last kind", fact(65_535, &[(65_535, text("the last field"))]));
    facts.add(
        "unknown fields",
        fact(1, &[(1, Unsigned(3)), (73, Signed(-9)), (4_000, text("?")), (60_000, Unsigned(0))]),
    );
    facts.add(
        "a known field with another wire type",
        fact(1, &[(11, text("seven")), (14, Signed(-1)), (19, Unsigned(5))]),
    );
    facts.add(
        "zeros",
        fact(1, &[(1, Unsigned(0)), (3, Signed(0)), (14, Value::from([0].as_slice()))]),
    );
    facts.add(
        "the largest numbers",
        fact(1, &[(1, Unsigned(limit.cast_unsigned())), (3, Signed(limit)), (4, Signed(-limit))]),
    );
    for (index, value) in (0u16..).zip([63, 64, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152]) {
        let name = format!("around {value}");
        let fields = [
            (1, Unsigned(value)),
            (3, Signed(value.cast_signed())),
            (4, Signed(-(value.cast_signed()))),
        ];
        facts.add(&name, fact(200 + index, &fields));
    }
    facts.add("not UTF-8", fact(1, &[(14, Value::from([0xff, 0xfe, 0x80].as_slice()))]));
    for length in [16usize, 17, 127, 128, 512] {
        facts.add(
            &format!("a text of {length}"),
            fact(1, &[(33, Value::from(vec![b'x'; length].as_slice()))]),
        );
    }
    facts.add(
        "many fields",
        fact(1, &(1..=60).map(|number| (number, Unsigned(u64::from(number)))).collect::<Vec<_>>()),
    );
    let mut largest = fact(7, &[(1, Value::from(vec![b'y'; 512].as_slice()))]);
    let rest = 1_024 - largest.encoded_len() - 3;
    largest.push(2, Value::from(vec![b'z'; rest].as_slice())).expect("a legal field");
    assert_eq!(largest.encoded_len(), 1_024);
    facts.add("the largest fact", largest);
}

/// Runs of facts whose columns use every form: names, facts.
pub(crate) fn runs(facts: &[Fact]) -> Vec<(String, Vec<Fact>)> {
    let mut runs = vec![("no facts".to_owned(), Vec::new())];
    for (index, fact) in facts.iter().enumerate().take(20) {
        runs.push((format!("fact {} alone", index + 1), vec![fact.clone()]));
    }
    runs.push(("all golden facts".to_owned(), facts.to_vec()));
    runs.push(("all of them twice".to_owned(), [facts, facts].concat()));
    for count in [2, 8, 9, 64, 65, 300] {
        runs.push((format!("a day of {count}"), day(count)));
    }
    runs
}

/// A day at a warehouse, without chance: kinds, items, texts and absences that vary.
pub(crate) fn day(count: u64) -> Vec<Fact> {
    let mut time = RECORDED_AT;
    let one = |index: u64| {
        // A multiplicative hash: the same spread in any language.
        let spread = index.wrapping_mul(2_654_435_761) % (1 << 32);
        time += 1_000 + (spread % 40_000).cast_signed();
        let kind = [Kind::SaleIssue, Kind::SaleIssue, Kind::Receipt, Kind::Count]
            [(spread >> 8) as usize % 4];
        let mut fact = Fact::new(kind);
        let put = |fact: &mut Fact, number: u16, value: Value<'_>| {
            fact.push(number, value).expect("a legal field");
        };
        put(&mut fact, field::CAPTURE_DEVICE.number, Value::Unsigned(3));
        put(&mut fact, field::CAPTURE_COUNTER.number, Value::Unsigned(2_000 + index));
        put(&mut fact, field::RECORDED_AT.number, Value::Signed(time));
        put(&mut fact, field::UTC_OFFSET.number, Value::Signed(480));
        if index % 50 > 46 {
            put(&mut fact, field::GROUP_LEFT.number, Value::Unsigned(50 - index % 50));
        }
        put(&mut fact, field::ITEM.number, Value::Unsigned(1 + (spread >> 4) % 300));
        put(&mut fact, field::QUANTITY.number, Value::Signed((spread >> 12).cast_signed() % 90));
        put(&mut fact, field::UNIT.number, text(["EA", "kg", "箱"][(spread >> 20) as usize % 3]));
        if kind != Kind::Count {
            put(
                &mut fact,
                field::PRICE.number,
                Value::Signed(100 + (spread >> 6).cast_signed() % 9_000),
            );
            put(&mut fact, field::PRICE_EXPONENT.number, Value::Signed(-2));
            put(&mut fact, field::CURRENCY.number, text("CNY"));
            put(&mut fact, field::PARTNER.number, Value::Unsigned(1 + (spread >> 3) % 40));
        }
        if index == 17 || index == 250 {
            put(&mut fact, field::DOCUMENT.number, text(&format!("DN-{index}")));
        }
        fact
    };
    (0..count).map(one).collect()
}

/// Bytes that are no fact: names, bytes.
pub(crate) fn malformed_facts() -> Vec<(&'static str, Vec<u8>)> {
    let text =
        |count: usize, declared: &[u8]| [&[1, 1, 6][..], declared, &vec![65; count]].concat();
    let mut too_large = vec![1, 2];
    for tag in [6, 10] {
        too_large.extend([tag, 0x80, 4]);
        too_large.extend([65; 512]);
    }
    vec![
        ("nothing", vec![]),
        ("no count of fields", vec![1]),
        ("kind 0", vec![0, 0]),
        ("kind 65,536", vec![0x80, 0x80, 4, 0]),
        ("a long kind", vec![0x81, 0, 0]),
        ("fewer fields than said", vec![1, 1]),
        ("a field without value", vec![1, 1, 4]),
        ("field 0", vec![1, 1, 0, 0]),
        ("field 65,536", vec![1, 1, 0x80, 0x80, 0x10, 0]),
        ("wire type 3", vec![1, 1, 7, 0]),
        ("fields that fall", vec![1, 2, 8, 0, 4, 0]),
        ("a field twice", vec![1, 2, 4, 0, 4, 0]),
        ("a field twice with two wire types", vec![1, 2, 4, 0, 5, 0]),
        ("a long number", vec![1, 1, 4, 0x80, 0]),
        ("a number cut", vec![1, 1, 4, 0x80]),
        ("2^53", vec![1, 1, 4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]),
        ("-2^53", vec![1, 1, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]),
        (
            "a number of ten bytes",
            vec![1, 1, 4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
        ),
        ("an empty text", vec![1, 1, 6, 0]),
        ("a text cut", text(4, &[5])),
        ("a text of 513", text(513, &[0x81, 4])),
        ("a fact of over 1,024 bytes", too_large),
    ]
}

/// Bytes that are no columns: names, bytes.
pub(crate) fn malformed_columns() -> Vec<(&'static str, Vec<u8>)> {
    // Version 1, two facts of kind 1; then the field columns.
    let two = |fields: &[u8]| [&[1, 2, 1, 1][..], fields].concat();
    let twenty = |fields: &[u8]| [&[1, 20, 1, 1][..], fields].concat();
    let filled = |count: &[u8], kinds: &[u8], form: u8, fields: usize| {
        let text = [&[60 + form, 0x80, 4][..], &[65; 512]].concat();
        [&[1], count, kinds, &text.repeat(fields)].concat()
    };
    vec![
        ("nothing", vec![]),
        ("version 2", vec![2, 0]),
        ("no count", vec![1]),
        ("4,097 facts", vec![1, 0x81, 0x20, 1, 1]),
        ("no facts and kinds", vec![1, 0, 0]),
        ("no kinds", vec![1, 1]),
        ("kinds numbered 1", vec![1, 1, 36, 1]),
        ("signed kinds", vec![1, 1, 12, 1]),
        ("kind 0", vec![1, 1, 0, 0]),
        ("equal kinds one by one", vec![1, 2, 0, 1, 1]),
        ("one kind as a constant", vec![1, 1, 1, 1]),
        ("more bytes", two(&[37, 1, 0])),
        ("a column twice", two(&[36, 1, 2, 0, 1, 2])),
        ("field 0", two(&[12, 1, 2])),
        ("field 65,536", two(&[0x80, 0x80, 0x90, 1, 1, 2])),
        ("nobody's field", two(&[42, 0])),
        ("a third of two", two(&[42, 5, 1])),
        ("as before where that is all", two(&[39, 1, 2])),
        ("a bitmap of all", two(&[42, 3, 1, 2])),
        ("a bitmap where runs are shorter", twenty(&[42, 0, 0, 8, 1])),
        ("runs where a bitmap is as short", twenty(&[45, 0, 1, 19, 1])),
        ("runs beyond the last fact", twenty(&[45, 19, 2, 1])),
        ("an empty run", twenty(&[45, 9, 0, 10, 1])),
        ("a constant of one", twenty(&[46, 19, 1, 1])),
        ("differences where plain is as short", two(&[38, 2, 2])),
        ("plain where differences are shorter", two(&[36, 0xac, 2, 0xad, 2])),
        ("a difference to below 0", two(&[38, 2, 5])),
        ("a long number", two(&[37, 0x80, 0])),
        (
            "a number of ten bytes",
            two(&[37, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
        ),
        ("an empty text", two(&[61, 0])),
        ("a text cut", two(&[61, 2, 65])),
        ("a text of 513", two(&[61, 0x81, 4, 65])),
        ("a dictionary of nothing", two(&[62, 0, 0, 0])),
        ("an entry twice", [&[1, 3, 1, 1, 62][..], &[2, 1, 1, 65, 65, 0, 1, 0]].concat()),
        ("an entry unused", [&[1, 3, 1, 1, 62][..], &[2, 1, 1, 65, 66, 0, 0, 0]].concat()),
        ("entries out of order", [&[1, 3, 1, 1, 62][..], &[2, 1, 1, 65, 66, 1, 0, 0]].concat()),
        (
            "entries out of order, all used",
            [&[1, 3, 1, 1, 62, 2, 4, 4][..], b"AAAABBBB", &[1, 0, 1]].concat(),
        ),
        ("no such entry", [&[1, 3, 1, 1, 62][..], &[1, 1, 65, 0, 1, 0]].concat()),
        ("a dictionary where plain is as short", two(&[62, 2, 1, 1, 65, 66, 0, 1])),
        ("one fact has a number twice", two(&[36, 1, 2, 12, 1, 2])),
        ("a fact of over 1,024 bytes", filled(&[1], &[0, 1], 0, 2)),
        ("facts of over 4,194,304 bytes", filled(&[0x80, 0x20], &[1, 1], 1, 3)),
    ]
}
