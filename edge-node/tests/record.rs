//! The checks at the edge: which movements of each kind are taken, and in which order faults are
//! named.

mod common;

use common::{NOON, SITE, fact_of, group, line, policy, receipt, sale, transfer};
use edge_node::record::check::{Context, Origin, check_group};
use edge_node::record::{GroupInput, LineInput, Moment};
use shared::catalogue::Catalogue;
use shared::fact::kind::Kind;
use shared::fact::statement::{MasterData, PolicyKind, Statement};
use shared::ids::{Capture, CompanyNo, DeviceNo, SiteNo};
use shared::time::{OffsetMinutes, Timestamp};

fn ship(counter: u64) -> Capture {
    Capture { device: DeviceNo(8), counter }
}

fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    for data in common::master_data() {
        catalogue.apply(&fact_of(data));
    }
    let (code, name) = ("H1".to_owned(), "A site of another company".to_owned());
    let (site, company) = (SiteNo(9), CompanyNo(2));
    catalogue.apply(&fact_of(MasterData::Site { site, company, code, name }));
    catalogue.apply(&fact_of(policy(PolicyKind::BackdatingDays, 2)));
    catalogue.apply(&fact_of(policy(PolicyKind::ImportBackdatingDays, 4_000)));
    catalogue.apply(&transfer(ship(1), 1, "4", "EA").to_fact().expect("short texts"));
    catalogue.apply(&transfer(ship(2), 2, "1", "kg").to_fact().expect("short texts"));
    catalogue.apply(&transfer(ship(3), 2, "2", "kg").to_fact().expect("short texts"));
    catalogue
}

fn check(group: &GroupInput) -> Result<Vec<Statement>, String> {
    check_as(group, Origin::Keeper)
}

fn check_as(group: &GroupInput, origin: Origin) -> Result<Vec<Statement>, String> {
    let catalogue = catalogue();
    let offset = OffsetMinutes(480);
    let context =
        Context { catalogue: &catalogue, site: SITE, now: NOON, offset, origin, arrivals: &[] };
    match check_group(&context, group) {
        Ok(lines) => Ok(lines.into_iter().map(|line| line.statement).collect()),
        Err(refused) => {
            let line = refused.line().expect("checks name the line");
            Err(format!("{} {line}", refused.code()))
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "fields of an input are optional texts")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn every_kind_is_taken_with_what_it_needs() {
    let with = |kind, item, quantity, set: fn(&mut LineInput)| {
        let mut line = line(kind, item, quantity);
        set(&mut line);
        group(vec![line])
    };
    let cases = [
        group(vec![receipt("PEN", "12", "3.20"), receipt("INK", "1.250", "48")]),
        group(vec![sale("PEN", "2", "5")]),
        with("issue", "PEN", "1", |_| {}),
        with("customer_return", "PEN", "1", |line| {
            (line.partner, line.refers_to) = (some("CUST"), some("5-12"));
        }),
        with("customer_return", "PEN", "1", |line| {
            (line.partner, line.price, line.cost) = (some("CUST"), some("5"), some("3"));
        }),
        with("supplier_return", "PEN", "1", |line| {
            (line.partner, line.price) = (some("SUPP"), some("3.20"));
        }),
        with("transfer_ship", "PEN", "1", |line| line.site = some("S4")),
        with("transfer_ship", "PEN", "1", |line| {
            (line.site, line.price) = (some("H1"), some("4.10"));
        }),
        with("transfer_receive", "PEN", "4", |_| {}),
        with("transfer_receive", "INK", "1", |line| line.refers_to = some("8-2")),
        with("transfer_receive", "INK", "1", |line| line.refers_to = some("8-77")),
        with("transfer_receive", "", "", |line| {
            (line.item, line.quantity, line.refers_to) = (None, None, some("8-3"));
        }),
        with("count", "PEN", "0", |_| {}),
        with("adjustment", "PEN", "-3", |line| line.reason = some("FOUND")),
        with("scrap", "PEN", "3", |line| line.reason = some("BROKEN")),
        with("production_in", "PEN", "3", |line| line.price = some("0")),
        with("production_out", "INK", "0.5", |_| {}),
        group(vec![line("repack_out", "PEN", "12"), line("repack_in", "INK", "1")]),
        with("service_sale", "FIT", "1", |line| {
            (line.partner, line.price) = (some("CUST"), some("90"));
        }),
        with("service_sale", "FIT", "-1", |line| {
            (line.partner, line.price) = (some("CUST"), some("90"));
        }),
        with("reversal", "", "", |line| {
            (line.item, line.quantity, line.refers_to) = (None, None, some("5-12"));
        }),
        with("status_change", "PEN", "2", |line| line.status = some("held")),
        with("receipt", "PEN", "2", |line| {
            (line.unit, line.partner, line.price) = (some("box"), some("SUPP"), some("38.4"));
            (line.currency, line.lot, line.expiry) = (some("USD"), some("L1"), some("2027-01-31"));
            (line.document, line.serial, line.tax_code) = (some("DN 7"), some("S1"), some("13"));
        }),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for group in &cases {
        let statements = check(group).unwrap_or_else(|code| panic!("{code}: {group:?}"));
        seen.extend(statements.iter().map(Statement::kind));
    }
    let movements: std::collections::BTreeSet<Kind> =
        Kind::ALL.iter().copied().filter(|kind| kind.is_movement()).collect();
    assert_eq!(seen, movements);
}

#[test]
fn a_receive_takes_from_the_transfer_what_is_not_stated() {
    let mut line = line("transfer_receive", "", "");
    (line.item, line.quantity, line.refers_to) = (None, None, some("8-3"));
    let statements = check(&group(vec![line])).expect("taken");
    let Statement::Movement(movement) = &statements[0] else { panic!("a movement") };
    assert_eq!(movement.quantity, common::measure("2", "kg"));
    assert_eq!(
        (movement.refers_to, movement.other_site.map(|site| site.0)),
        (Some(ship(3)), Some(4))
    );
}

/// Each step mends one fault of the line; the next one is named then.
#[test]
fn faults_are_named_in_order_of_precedence() {
    type Mend = fn(&mut LineInput);
    let mut line = LineInput {
        kind: "sale".to_owned(),
        partner: some("NOBODY"),
        reason: some("NOTHING"),
        site: some("NOWHERE"),
        quantity: some("1e3"),
        unit: some("a b"),
        price: some("x"),
        cost: some("0.123456789012"),
        currency: some("yuan"),
        refers_to: some("x"),
        order: some("y"),
        lot: Some("L".repeat(101)),
        expiry: some("soon"),
        tax_code: some("VAT"),
        status: some("odd"),
        occurred_at: Some(Moment { at: Timestamp(NOON.0 + 3_600_000), offset: OffsetMinutes(480) }),
        ..LineInput::default()
    };
    let steps: &[(&str, Mend)] = &[
        ("unknown_kind", |line| line.kind = "sale_issue".to_owned()),
        ("missing_field", |line| line.item = some("PENCIL")),
        ("unknown_item", |line| line.item = some("FIT")),
        ("service_moved", |line| line.item = some("PEN")),
        ("unknown_partner", |line| line.partner = some("SUPP")),
        ("partner_role", |line| line.partner = some("CUST")),
        ("unknown_reason", |line| line.reason = some("BROKEN")),
        ("reason_kind", |line| line.reason = some("FOUND")),
        ("unknown_site", |line| line.site = some("S3")),
        ("own_site", |line| line.site = some("S4")),
        ("bad_quantity", |line| line.quantity = some("1000000000000000000000000000000")),
        ("bad_quantity", |line| line.quantity = some("1.5")),
        ("bad_unit", |line| line.unit = some("kg")),
        ("unknown_unit", |line| line.unit = some("EA")),
        ("too_many_decimals", |line| {
            (line.unit, line.quantity) = (some("box"), some("0.33"));
        }),
        ("not_whole", |line| line.quantity = some("-1")),
        ("bad_price", |line| line.price = some("9000000000000000")),
        ("bad_currency", |line| line.currency = None),
        ("price_decimals", |line| line.cost = None),
        ("amount_too_large", |line| line.price = some("12")),
        ("bad_reference", |line| line.refers_to = None),
        ("bad_reference", |line| line.order = None),
        ("too_long", |line| line.lot = None),
        ("bad_date", |line| line.expiry = None),
        ("bad_tax_code", |line| line.tax_code = None),
        ("unknown_status", |line| line.status = None),
        ("bad_form", |line| line.quantity = some("1")),
        ("future_date", |line| {
            let three_days = Timestamp(NOON.0 - 3 * 86_400_000);
            line.occurred_at = Some(Moment { at: three_days, offset: OffsetMinutes(480) });
        }),
        ("too_far_back", |line| {
            let two_days = Timestamp(NOON.0 - 2 * 86_400_000);
            line.occurred_at = Some(Moment { at: two_days, offset: OffsetMinutes(480) });
        }),
    ];
    for (expected, mend) in steps {
        let found = check(&group(vec![line.clone()])).expect_err(expected);
        assert_eq!(found, format!("{expected} 1"), "{line:?}");
        mend(&mut line);
    }
    check(&group(vec![line])).expect("every fault is mended");
}

#[test]
fn other_faults_are_named_too() {
    let with = |kind, item, quantity, set: fn(&mut LineInput)| {
        let mut line = line(kind, item, quantity);
        set(&mut line);
        line
    };
    let cases = [
        ("missing_field", with("receipt", "PEN", "1", |_| {})),
        ("missing_field", with("scrap", "PEN", "1", |_| {})),
        ("missing_field", with("transfer_ship", "PEN", "1", |_| {})),
        ("missing_field", with("reversal", "PEN", "1", |_| {})),
        ("missing_field", with("count", "PEN", "1", |line| line.quantity = None)),
        ("goods_as_service", with("service_sale", "PEN", "1", |line| line.partner = some("CUST"))),
        (
            "bad_form",
            with("service_sale", "FIT", "0", |line| {
                (line.partner, line.price) = (some("CUST"), some("90"));
            }),
        ),
        ("no_open_transfer", with("transfer_receive", "FIT", "1", |_| {})),
        ("which_transfer", with("transfer_receive", "INK", "1", |_| {})),
        ("missing_field", with("transfer_receive", "INK", "1", |line| line.item = None)),
        (
            "transfer_item",
            with("transfer_receive", "PEN", "1", |line| line.refers_to = some("8-2")),
        ),
        (
            "missing_reference",
            with("customer_return", "PEN", "1", |line| line.partner = some("CUST")),
        ),
        (
            "missing_reference",
            with("supplier_return", "PEN", "1", |line| line.partner = some("SUPP")),
        ),
        ("one_sided_repack", with("repack_out", "PEN", "1", |_| {})),
        ("one_sided_repack", with("repack_in", "PEN", "1", |_| {})),
        ("bad_form", with("adjustment", "PEN", "0", |line| line.reason = some("FOUND"))),
        ("bad_form", with("count", "PEN", "-1", |_| {})),
        ("bad_form", with("status_change", "PEN", "1", |_| {})),
        ("unknown_kind", with("retime", "PEN", "1", |_| {})),
        ("unknown_kind", with("supplier_invoice", "PEN", "1", |_| {})),
        (
            "price_within_company",
            with("transfer_ship", "PEN", "1", |line| {
                (line.site, line.price) = (some("S4"), some("4"));
            }),
        ),
        (
            "price_between_companies",
            with("transfer_ship", "PEN", "1", |line| line.site = some("H1")),
        ),
        (
            "transfer_currency",
            with("transfer_ship", "PEN", "1", |line| {
                (line.site, line.price) = (some("H1"), some("4"));
                line.currency = some("HKD");
            }),
        ),
    ];
    for (expected, faulty) in cases {
        let good = line("count", "PEN", "1");
        let found = check(&group(vec![good, faulty.clone()])).expect_err(expected);
        assert_eq!(found, format!("{expected} 2"), "{faulty:?}");
    }
}

#[test]
fn dates_follow_the_policy_of_who_records() {
    let days_back = |days: i64| GroupInput {
        occurred_at: Some(Moment {
            at: Timestamp(NOON.0 - days * 86_400_000),
            offset: OffsetMinutes(480),
        }),
        ..group(vec![line("count", "PEN", "1")])
    };
    for (days, origin, expected) in [
        (2, Origin::Keeper, true),
        (3, Origin::Keeper, false),
        (4_000, Origin::Import, true),
        (4_001, Origin::Import, false),
    ] {
        assert_eq!(check_as(&days_back(days), origin).is_ok(), expected, "{days} {origin:?}");
    }
}

#[test]
fn messages_say_what_to_do() {
    let catalogue = catalogue();
    let offset = OffsetMinutes(480);
    let origin = Origin::Keeper;
    let context =
        Context { catalogue: &catalogue, site: SITE, now: NOON, offset, origin, arrivals: &[] };
    let message = |line: LineInput| {
        check_group(&context, &group(vec![line])).expect_err("refused").to_string()
    };
    let mut unit = receipt("PEN", "1", "2");
    unit.unit = some("kg");
    let mut cost = receipt("PEN", "1", "0.123456789012");
    cost.currency = some("CNY");
    for (line, expected) in [
        (
            line("count", "PENCIL", "1"),
            "line 1: there is no item 'PENCIL': see 'edge-node items', or create it at HQ and wait for the link",
        ),
        (
            line("count", "INK", "1.2345"),
            "line 1: the quantity 1.2345 of item 'INK' has more decimals than allowed (3): round it, or state it in a smaller unit",
        ),
        (
            line("count", "PEN", "1000000000000000000000000000000"),
            "line 1: the quantity '1000000000000000000000000000000' is too large: the limit is about 9 x 10^15 smallest units; check the figure",
        ),
        (
            line("count", "INK", "1.00000000000000000001"),
            "line 1: the quantity '1.00000000000000000001' has more decimals than allowed (12): round it where it comes from",
        ),
        (
            receipt("PEN", "1", "1.123456789012345"),
            "line 1: the price 1.123456789012345 has more decimals than allowed (8): round it where it comes from",
        ),
        (
            receipt("PEN", "90071992547410", "1"),
            "line 1: quantity x price is too large: the limit is about 9 x 10^15 of the currency's smallest units; check both figures",
        ),
        (unit, "line 1: item 'PEN' has no unit 'kg': use 'EA' or 'box'"),
        (
            cost,
            "line 1: the price 0.123456789012 has more decimals than allowed (8): round it where it comes from",
        ),
        (
            line("transfer_receive", "INK", "1"),
            "line 1: several transfers of item 'INK' are on their way: state which (refers_to): 8-2, 8-3",
        ),
    ] {
        assert_eq!(message(line), expected);
    }
    let taken = check_group(&context, &group(vec![receipt("PEN", "90071992547", "0.12345678")]));
    assert!(taken.is_ok(), "eight decimals are taken as they are");
}
