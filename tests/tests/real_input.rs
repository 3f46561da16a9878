//! The maps of real data sets on lines made up here: what kind of movement each becomes, of how
//! much, at which price, with whom. Reads the maps that the project ships, and no data set.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use edge_node::api::views::Problem;
use edge_node::cli::CliError;
use edge_node::import::{ImportArgs, Sink, import};
use edge_node::record::{GroupInput, LineInput};
use tests::real_input::online_retail_lines::{Line, figure, read};

/// Takes every group and keeps it.
struct Kept {
    groups: Mutex<Vec<GroupInput>>,
    zone: jiff::tz::TimeZone,
}

impl Sink for Kept {
    fn record(&self, groups: Vec<GroupInput>) -> Result<Vec<Result<bool, Problem>>, CliError> {
        let outcomes = groups.iter().map(|_| Ok(false)).collect();
        self.groups.lock().expect("no holder panics").extend(groups);
        Ok(outcomes)
    }

    fn zone(&self) -> &jiff::tz::TimeZone {
        &self.zone
    }
}

const HEADER: &str =
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

/// Invoice, code, quantity, price, customer; then kind, quantity, price, partner, reason.
const CASES: &[([&str; 5], [&str; 5])] = &[
    (["1", "85123A", "6", "2.55", "17850.0"], ["sale_issue", "6", "2.55", "C17850", ""]),
    (["1", "85123a", "6", "2.55", "17850.0"], ["sale_issue", "6", "2.55", "C17850", ""]),
    (["1", "15056BL", "1", "0.001", ""], ["sale_issue", "1", "0.001", "CASH-X", ""]),
    (["C1", "22423", "-2", "12.75", "17850.0"], ["customer_return", "2", "12.75", "C17850", ""]),
    (["C1", "22423", "-2", "12.75", ""], ["customer_return", "2", "12.75", "CASH-X", ""]),
    (["1", "22423", "-30", "0.0", ""], ["adjustment", "-30", "", "", "lost"]),
    (["1", "22423", "-30", "1.5", "17850.0"], ["adjustment", "-30", "", "", "lost"]),
    (["1", "22423", "56", "0.0", ""], ["adjustment", "56", "", "", "found"]),
    (["1", "22423", "4", "0.0", "12647.0"], ["issue", "4", "", "C12647", "sample"]),
    (["1", "POST", "3", "18.0", "12583.0"], ["service_sale", "3", "18", "C12583", ""]),
    (["1", "DOT", "1", "569.77", ""], ["service_sale", "1", "569.77", "CASH-X", ""]),
    (["1", "m", "1", "2.55", ""], ["service_sale", "1", "2.55", "CASH-X", ""]),
    (["1", "gift_0001_10", "1", "8.33", ""], ["service_sale", "1", "8.33", "CASH-X", ""]),
    (["1", "DCGS0003", "1", "0.0", ""], ["service_sale", "1", "0", "CASH-X", ""]),
    (["1", "DCGS0057", "-6", "0.0", ""], ["service_sale", "-6", "0", "CASH-X", ""]),
    (["C1", "D", "-1", "27.5", "14527.0"], ["service_sale", "-1", "27.5", "C14527", ""]),
    (["C1", "AMAZONFEE", "-1", "13541.33", ""], ["service_sale", "-1", "13541.33", "CASH-X", ""]),
    (["C1", "BANK CHARGES", "-1", "0.5", ""], ["service_sale", "-1", "0.5", "CASH-X", ""]),
    (["A1", "B", "1", "11062.06", ""], ["service_sale", "1", "11062.06", "CASH-X", ""]),
    (["A1", "B", "1", "-11062.06", ""], ["service_sale", "-1", "11062.06", "CASH-X", ""]),
];

fn import_with(map: &str, file: &Path, parameters: &[&str]) -> Vec<GroupInput> {
    let maps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/maps");
    let args = ImportArgs {
        map: maps.join(map),
        file: file.to_owned(),
        parameters: parameters.iter().map(|&text| text.to_owned()).collect(),
        rejects: Some(file.with_extension("rejects.csv")),
    };
    let sink = Kept { groups: Mutex::default(), zone: jiff::tz::TimeZone::UTC };
    let totals = import(&args, &sink, false).expect("imports").view();
    assert_eq!(totals.rejected, 0, "{totals}");
    sink.groups.into_inner().expect("no holder panics")
}

fn retail_file(folder: &Path, country: &str) -> PathBuf {
    let mut text = HEADER.to_owned();
    for &([invoice, code, quantity, price, customer], _) in CASES {
        let time = "2011-07-01 09:30:00";
        let row = [invoice, code, "X", quantity, time, price, customer, country];
        text += &(row.join(",") + "\n");
    }
    let file = folder.join("online-retail.csv");
    std::fs::write(&file, text).expect("writes");
    file
}

fn only_line(group: &GroupInput) -> &LineInput {
    assert_eq!(group.lines.len(), 1);
    &group.lines[0]
}

#[test]
fn each_line_of_online_retail_becomes_the_movement_that_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = retail_file(folder.path(), "France");
    let groups = import_with("online-retail.toml", &file, &["cash=CASH-X", "country=France"]);
    assert_eq!(groups.len(), CASES.len());
    for (group, (told, [kind, quantity, price, partner, reason])) in groups.iter().zip(CASES) {
        let line = only_line(group);
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        let found = [&line.quantity, &line.partner, &line.reason].map(or_empty);
        assert_eq!(line.kind, *kind, "{told:?}");
        assert_eq!(
            found.each_ref().map(String::as_str),
            [*quantity, *partner, *reason],
            "{told:?}"
        );
        let cents = |text: &str| (!text.is_empty()).then(|| figure(text, 3).expect("a price"));
        assert_eq!(cents(&or_empty(&line.price)), cents(price), "{told:?}");
        assert_eq!(line.item.as_deref(), Some(told[1]), "codes keep their case");
        let at = group.occurred_at.expect("the line's time").to_string();
        assert_eq!(at, "2011-07-01T09:30:00+01:00");
    }
    let elsewhere = import_with("online-retail.toml", &file, &["country=Spain"]);
    assert!(elsewhere.is_empty(), "lines of another country are left out");
}

#[test]
fn the_rules_of_the_run_are_those_of_the_map() {
    for ([invoice, code, quantity, price, customer], [kind, moved, ..]) in CASES {
        let [quantity, price] = [(quantity, 0), (price, 3)]
            .map(|(text, decimals)| figure(text, decimals).expect("a figure"));
        let line = Line { invoice, code, quantity, price, has_customer: !customer.is_empty() };
        assert_eq!(line.kind().word(), *kind, "{line:?}");
        let moved = figure(moved, 0).expect("a figure");
        let change = match *kind {
            "service_sale" => 0,
            "customer_return" | "adjustment" => moved,
            _ => -moved,
        };
        assert_eq!(line.stock_change(), change, "{line:?}");
    }
}

#[test]
fn copies_of_a_line_are_movements_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("online-retail.csv");
    let row = "1,85123A,X,6,2010-12-01 08:26:00,2.55,17850.0,France\n";
    std::fs::write(&file, format!("{HEADER}{row}{row}")).expect("writes");
    let keys = |groups: Vec<GroupInput>| groups.into_iter().map(|group| group.key);
    let first: Vec<_> = keys(import_with("online-retail.toml", &file, &[])).collect();
    assert_eq!(first.len(), 2);
    assert_ne!(first[0], first[1]);
    assert!(
        first.iter().eq(&keys(import_with("online-retail.toml", &file, &[])).collect::<Vec<_>>())
    );
}

#[test]
fn an_opening_row_is_a_receipt_of_the_day_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("opening.csv");
    std::fs::write(&file, "Date,Item,Quantity,Price\n2010-11-30,85123a,7,1.275\n").expect("writes");
    let groups = import_with("online-retail-opening.toml", &file, &[]);
    let line = only_line(&groups[0]);
    let texts = [&line.item, &line.quantity, &line.price, &line.partner, &line.currency];
    let texts = texts.map(|text| text.as_deref().unwrap_or_default());
    assert_eq!(
        (line.kind.as_str(), texts),
        ("receipt", ["85123a", "7", "1.275", "OPENING", "GBP"])
    );
    let at = groups[0].occurred_at.expect("a time").to_string();
    assert_eq!(at, "2010-11-30T00:00:00+00:00");
}

#[test]
fn the_set_is_split_by_country_and_opens_with_what_it_lacks() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = [
        "1,85123A,LIGHT,6,2010-12-01 09:00:00,2.55,17850.0,United Kingdom",
        "1,85123A,LIGHT,5,2010-12-02 09:00:00,2.55,,United Kingdom",
        "C1,85123A,LIGHT,-4,2010-12-01 10:00:00,2.55,17850.0,United Kingdom",
        "1,85123a,LIGHT,-1,2010-12-02 09:00:00,0.0,,United Kingdom",
        "2,85123A,LIGHT,1,2010-12-01 09:00:00,0.333,1.0,EIRE",
        "2,POST,POSTAGE,1,2010-12-01 09:00:00,18,1.0,EIRE",
    ];
    let text = format!("{HEADER}{}\n", rows.join("\n"));
    let file = folder.path().join("set.csv.zst");
    let packed = zstd::encode_all(text.as_bytes(), 1).expect("packs");
    std::fs::write(&file, packed).expect("writes");
    let input = read(&file, folder.path()).expect("reads");
    let [kingdom, eire] = &input.sites[..] else { panic!("two countries") };
    assert_eq!((kingdom.code.as_str(), kingdom.rows()), ("united-kingdom", 4));
    assert_eq!((eire.code.as_str(), eire.rows(), eire.pools()), ("eire", 2, 1));
    // 6 out, 4 back, 5 out in the order of time: 7 are lacking.
    assert_eq!(Vec::from_iter(kingdom.openings()), [("85123A", 7), ("85123a", 1)]);
    let own = std::fs::read_to_string(&eire.file).expect("reads");
    assert_eq!(own, format!("{HEADER}{}\n{}\n", rows[4], rows[5]));
    assert_eq!(input.items["85123A"].price, Some(2_550));
    assert_eq!(input.items["85123a"].price, None);
    let first = input.days.values().next().expect("a day");
    assert_eq!((first.lines, first.exact, first.rounded), (4, 23_433, 2_343));
}
