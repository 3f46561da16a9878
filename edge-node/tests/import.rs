//! Imports end to end in one process: a CSV file, a map, a journal.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use common::{NOON, create, recorder, teach};
use edge_node::api::views::Problem;
use edge_node::cli::CliError;
use edge_node::import::{ImportArgs, Sink, TotalsView, import};
use edge_node::journal::{FixedClock, Journal};
use edge_node::record::{GroupInput, Origin, Recorder};
use shared::fact::statement::{MasterData, PolicyKind};
use shared::ids::{CategoryNo, ItemNo, PartnerNo, ReasonNo, Seq};

struct IntoJournal {
    recorder: Recorder,
    zone: jiff::tz::TimeZone,
}

impl Sink for IntoJournal {
    fn record(&self, groups: Vec<GroupInput>) -> Result<Vec<Result<bool, Problem>>, CliError> {
        let answers = self.recorder.record_many_blocking(&groups, Origin::Import);
        let outcome = |answer: Result<edge_node::journal::Recorded, edge_node::record::Refused>| {
            answer.map(|recorded| recorded.again).map_err(|refused| Problem::of(&refused))
        };
        Ok(answers.into_iter().map(outcome).collect())
    }

    fn zone(&self) -> &jiff::tz::TimeZone {
        &self.zone
    }
}

struct Site {
    folder: tempfile::TempDir,
    journal: Journal,
    sink: IntoJournal,
}

impl Site {
    fn new(extra: Vec<MasterData>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = FixedClock::at(NOON);
        let journal = create(&folder.path().join("journal.redb"), &clock);
        let mut data = common::master_data();
        data.extend(extra);
        teach(&journal, data);
        let sink =
            IntoJournal { recorder: recorder(&journal, &clock), zone: jiff::tz::TimeZone::UTC };
        Self { folder, journal, sink }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path
    }

    fn args(&self, map: &Path, file: &Path, parameters: &[&str]) -> ImportArgs {
        ImportArgs {
            map: map.to_owned(),
            file: file.to_owned(),
            parameters: parameters.iter().map(|&text| text.to_owned()).collect(),
            rejects: Some(self.folder.path().join("rejects.csv")),
        }
    }

    fn import(&self, map: &Path, file: &Path, parameters: &[&str]) -> TotalsView {
        let args = self.args(map, file, parameters);
        import(&args, &self.sink, false).expect("imports").view()
    }

    fn fails(&self, map: &Path, file: &Path) -> String {
        match import(&self.args(map, file, &[]), &self.sink, false) {
            Ok(totals) => panic!("imports: {:?}", totals.view()),
            Err(error) => error.to_string(),
        }
    }
}

const MAP: &str = r#"
version = 1
name = "till"
[parameters]
shop = "1"
[key]
columns = ["No"]
[time]
column = "When"
format = "%d.%m.%Y %H:%M"
zone = "Europe/Berlin"
[filter]
where = "row.Shop == shop"
[kind]
column = "What"
values = { in = "receipt", out = "sale_issue" }
[lookup.article]
file = "articles.csv"
key = "Article"
columns = ["Code"]
[fields]
item = { lookup = "article", key = "Article", column = "Code" }
quantity = { column = "Pieces" }
[kinds.receipt]
partner = { constant = "SUPP" }
price = { expression = "div(number(row.Cents), 100, 2)" }
[kinds.sale_issue]
partner = { constant = "CUST" }
price = { expression = "number(row.Cents) / 100" }
"#;

const ROWS: &str = "\
No,Shop,When,What,Article,Pieces,Cents
1,1,23.11.2026 10:00,in,77,10,250
2,1,23.11.2026 11:30,out,77,3,499
3,2,23.11.2026 11:30,out,77,3,499
4,1,23.11.2026 11:30,swap,77,3,499
5,1,23.11.2026 11:30,out,78,3,499
6,1,23.11.2026 11:30,out,79,1.5,499
7,1,23.11.2026 11:30,out,77,1000000000000000000000000000000,499
8,1,31.11.2026 11:30,out,77,1,499
9,1,25.11.2026 11:30,out,77,1,499
10,1,23.11.2026 11:30,out,77
,1,23.11.2026 11:30,out,77,1,499
12,1,23.11.2026 12:00,in,77,2,5
";

const ARTICLES: &str = "Article,Name,Code\n77,Pen,PEN\n79,Ink,FIT\n";

#[test]
fn rows_become_movements_or_say_why_not() {
    let site = Site::new(Vec::new());
    let (map, file) = (site.write("map.toml", MAP), site.write("rows.csv", ROWS));
    site.write("articles.csv", ARTICLES);
    let totals = site.import(&map, &file, &[]);
    let rejects =
        std::fs::read_to_string(totals.rejects.clone().expect("there are some")).expect("reads");
    assert_eq!((totals.read, totals.recorded, totals.already_there), (12, 3, 0), "{rejects}");
    assert_eq!((totals.filtered, totals.rejected), (1, 8));
    let (receipts, sales) = (&totals.kinds["receipt"], &totals.kinds["sale_issue"]);
    assert_eq!((receipts.quantity.as_str(), receipts.amount.as_str()), ("12", "25.1"));
    assert_eq!((sales.quantity.as_str(), sales.amount.as_str()), ("3", "14.97"));

    let rejects: Vec<&str> = rejects.lines().collect();
    assert_eq!(rejects[0], "line,code,reason,No,Shop,When,What,Article,Pieces,Cents");
    for (line, expected) in [
        (5, "the map's [kind] says nothing of 'swap'"),
        (6, "item: look-up 'article' has no row '78'"),
        (7, "item 'FIT' is a service and never on stock"),
        (8, "the quantity '1000000000000000000000000000000' is too large"),
        (9, "'31.11.2026 11:30' is no time of the form"),
        (10, "2026-11-25 lies ahead of this node's clock (2026-11-24)"),
        (11, "the row has 5 cells, the header 7"),
        (12, "the key column 'No' is empty"),
    ] {
        let row = rejects.iter().find(|row| row.starts_with(&format!("{line},")));
        assert!(row.is_some_and(|row| row.contains(expected)), "line {line}: {row:?}");
    }
    let fact = site.journal.fact(Seq(1)).expect("reads").expect("is there");
    let stamp = shared::fact::statement::Stamp::parse(&fact).expect("a stamp");
    assert_eq!(stamp.occurred_at.to_string(), "2026-11-23T09:00:00.000Z");
    assert_eq!(stamp.utc_offset.0, 60);
}

#[test]
fn the_same_file_twice_changes_nothing_and_a_longer_one_goes_on() {
    let site = Site::new(Vec::new());
    site.write("articles.csv", ARTICLES);
    let by_line = MAP.replace("columns = [\"No\"]", "line = true");
    for (name, map) in [("columns", MAP.to_owned()), ("line", by_line.replace("till", "other"))] {
        let before = site.journal.position().last.0;
        let map = site.write(&format!("{name}.toml"), &map);
        let good: Vec<&str> = ROWS.lines().take(3).collect();
        let file = site.write("rows.csv", &good.join("\n"));
        assert_eq!(site.import(&map, &file, &[]).recorded, 2);
        let again = site.import(&map, &file, &[]);
        assert_eq!((again.recorded, again.already_there), (0, 2), "{name}");
        // Compressed, under another name: the same rows.
        let gz = site.folder.path().join("renamed.csv.gz");
        let out = std::fs::File::create(&gz).expect("creates");
        let mut out = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
        out.write_all(good.join("\n").as_bytes()).expect("writes");
        out.finish().expect("finishes");
        let again = site.import(&map, &gz, &[]);
        assert_eq!((again.recorded, again.already_there), (0, 2), "{name}");
        let longer = format!("{}\n12,1,23.11.2026 12:00,in,77,2,5\n", good.join("\n"));
        let zst = site.folder.path().join("longer.csv.zst");
        std::fs::write(&zst, zstd::encode_all(longer.as_bytes(), 1).expect("packs"))
            .expect("writes");
        let again = site.import(&map, &zst, &[]);
        assert_eq!((again.recorded, again.already_there), (1, 2), "{name}");
        assert_eq!(site.journal.position().last.0, before + 3);
    }
    // The same key with other content is refused, not doubled.
    let changed = ROWS.lines().take(2).collect::<Vec<_>>().join("\n").replace(",10,", ",11,");
    let file = site.write("rows.csv", &changed);
    let map = site.folder.path().join("columns.toml");
    let again = site.import(&map, &file, &[]);
    assert_eq!((again.recorded, again.rejected), (0, 1));
    // Another parameter takes other rows.
    let all = site.write("rows.csv", ROWS);
    assert_eq!(site.import(&map, &all, &["shop=2"]).recorded, 1);
}

#[test]
fn an_import_has_its_own_limit_for_old_dates() {
    let policies = [(PolicyKind::BackdatingDays, 400), (PolicyKind::ImportBackdatingDays, 0)];
    let policies = policies.map(|(policy, days)| common::policy(policy, days));
    let site = Site::new(policies.to_vec());
    site.write("articles.csv", ARTICLES);
    let map = site.write("map.toml", MAP);
    let file = site.write("rows.csv", &ROWS.lines().take(2).collect::<Vec<_>>().join("\n"));
    assert_eq!(site.import(&map, &file, &[]).rejected, 1);
}

#[test]
fn a_map_or_file_that_does_not_hold_is_named() {
    let site = Site::new(Vec::new());
    site.write("articles.csv", ARTICLES);
    let file = site.write("rows.csv", ROWS);
    for (from, to, expected) in [
        (
            "column = \"When\"",
            "column = \"Whem\"",
            "the file has no column 'Whem', did you mean 'When'?",
        ),
        (
            "quantity = { column = \"Pieces\" }",
            "pieces = { column = \"Pieces\" }",
            "there is no field 'pieces', only: item",
        ),
        ("[kinds.receipt]", "[kinds.receit]", "there is no movement kind 'receit'"),
        (
            "\"sale_issue\"",
            "\"sale_isue\"",
            "there is no movement kind 'sale_isue' ([kind]), did you mean 'sale_issue'?",
        ),
        (
            "key = \"Article\"\ncolumns",
            "key = \"Articel\"\ncolumns",
            "there is no column 'Articel', only: Article, Name, Code",
        ),
        ("\"Europe/Berlin\"", "\"Europe/Bonn\"", "'Europe/Bonn' is no time zone"),
        ("row.Shop == shop", "row.Shop = ", "does not read"),
        ("file = \"articles.csv\"", "file = \"nowhere.csv\"", "nowhere.csv can't be used"),
    ] {
        let map = site.write("map.toml", &MAP.replace(from, to));
        let found = site.fails(&map, &file);
        assert!(found.contains(expected), "{to}: {found}");
    }
    let map = site.write("map.toml", MAP);
    let found = site.fails(&map, &site.folder.path().join("missing.csv"));
    assert!(found.contains("missing.csv can't be used: No such file"), "{found}");
    let twice = site.write("twice.csv", "No,No\n1,2\n");
    assert!(site.fails(&map, &twice).contains("two columns are named 'No'"));
    let broken = site.write("rows.csv.gz", "no gzip at all");
    assert!(site.fails(&map, &broken).contains("rows.csv.gz can't be used"));
    let empty = site.write("empty.csv", "");
    assert!(site.fails(&map, &empty).contains("it is empty; its first line names the columns"));
    let binary = site.folder.path().join("binary.csv");
    std::fs::write(&binary, b"N\xff\xfe,x\n").expect("writes");
    assert!(site.fails(&map, &binary).contains("save the file as UTF-8"));
    assert_eq!(site.journal.position().last, Seq(0));
}

#[test]
fn a_quote_that_is_not_closed_is_named_with_its_lines() {
    let site = Site::new(Vec::new());
    site.write("articles.csv", ARTICLES);
    let map = site.write("map.toml", MAP);
    let mut lines: Vec<String> = ROWS.lines().map(str::to_owned).take(3).collect();
    lines.insert(2, lines[1].replacen("1,", "\"11,", 1));
    let totals = site.import(&map, &site.write("rows.csv", &lines.join("\n")), &[]);
    assert_eq!((totals.recorded, totals.rejected), (1, 1));
    let rejects = std::fs::read_to_string(totals.rejects.expect("there is one")).expect("reads");
    assert!(rejects.contains("lines 3 to 4 read as one row"), "{rejects}");
}

#[test]
fn rejects_stand_in_the_order_of_the_file() {
    let site = Site::new(Vec::new());
    site.write("articles.csv", ARTICLES);
    let totals = site.import(&site.write("map.toml", MAP), &site.write("rows.csv", ROWS), &[]);
    let rejects = std::fs::read_to_string(totals.rejects.expect("there are some")).expect("reads");
    let lines = rejects.lines().skip(1).map(|row| row.split(',').next().expect("a line number"));
    let lines: Vec<u32> = lines.map(|line| line.parse().expect("a number")).collect();
    assert!(lines.len() > 4 && lines.is_sorted(), "{lines:?}");
}

#[test]
fn a_file_that_breaks_off_is_imported_so_far_and_goes_on_once_it_is_whole() {
    let site = Site::new(Vec::new());
    site.write("articles.csv", ARTICLES);
    let map = site.write("map.toml", MAP);
    let mut lines: Vec<String> = ROWS.lines().take(1).map(str::to_owned).collect();
    let row = |number: u32| format!("{number},1,23.11.2026 12:00,in,77,{},5", number % 97 + 1);
    lines.extend((1..=3_000).map(row));
    let whole = zstd::encode_all(lines.join("\n").as_bytes(), 1).expect("packs");
    let file = site.folder.path().join("rows.csv.zst");
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    out.write_all(lines.join("\n").as_bytes()).expect("writes");
    let gz = out.finish().expect("finishes");
    let cut = site.folder.path().join("rows.csv.gz");
    std::fs::write(&cut, &gz[..gz.len() - 2_000]).expect("writes");
    let found = site.fails(&map, &cut);
    assert!(found.contains("breaks off after line 29"), "{found}");
    let so_far = site.journal.position().last.0;
    assert!((2_900..3_000).contains(&so_far), "{so_far} rows of those that could be read");
    std::fs::write(&file, whole).expect("writes");
    let totals = site.import(&map, &file, &[]);
    assert_eq!((totals.already_there, totals.recorded), (so_far, 3_000 - so_far));
}

fn data(folder: &str) -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(folder);
    if shared.is_dir() {
        return Some(shared);
    }
    eprintln!("skipped: {} is not there", shared.display());
    None
}

fn map_named(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/maps").join(name)
}

fn column(file: &Path, name: &str) -> std::collections::BTreeSet<String> {
    let raw = std::fs::read(file).expect("reads");
    let bytes = match file.extension().and_then(|ending| ending.to_str()) {
        Some("zst") => zstd::decode_all(raw.as_slice()).expect("unpacks"),
        Some("gz") => {
            let mut bytes = Vec::new();
            std::io::copy(&mut flate2::read::GzDecoder::new(raw.as_slice()), &mut bytes)
                .expect("unpacks");
            bytes
        }
        _ => raw,
    };
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let at = reader.headers().expect("a header").iter().position(|each| each == name).expect(name);
    reader.records().map(|row| row.expect("a row")[at].to_owned()).collect()
}

fn items(codes: impl IntoIterator<Item = String>, unit: &str) -> Vec<MasterData> {
    let currency = "USD".parse().expect("a code");
    let zero = shared::decimal::parse("0").expect("a figure");
    let item = |(code, number): (String, u32)| MasterData::Item {
        item: ItemNo(number),
        category: CategoryNo(1),
        name: code.clone(),
        code,
        unit: common::unit(unit),
        decimals: 0,
        service: false,
        fallback_cost: Some(shared::money::Price { figure: zero, currency }),
    };
    codes.into_iter().zip(1_000..).map(item).collect()
}

fn partners(codes: impl IntoIterator<Item = String>) -> Vec<MasterData> {
    let partner = |(code, number): (String, u32)| MasterData::Partner {
        partner: PartnerNo(number),
        name: code.clone(),
        code,
        customer: true,
        supplier: true,
    };
    codes.into_iter().zip(1_000..).map(partner).collect()
}

#[test]
fn adventureworks_comes_in_whole() {
    let Some(folder) = data("adventureworks") else { return };
    let mut extra = items(column(&folder.join("Production.Product.csv"), "ProductID"), "EA");
    let vendors = column(&folder.join("Purchasing.Vendor.csv"), "BusinessEntityID");
    let customers = column(&folder.join("Sales.Customer.csv"), "CustomerID");
    let vendors = vendors.into_iter().map(|id| format!("V{id}"));
    extra.extend(partners(vendors.chain(customers.into_iter().map(|id| format!("C{id}")))));
    let site = Site::new(extra);
    let map = map_named("adventureworks-transactions.toml");
    let mut rows = [0; 3];
    let mut sums = std::collections::BTreeMap::<String, (u64, i128, i128)>::new();
    let hundredths = |text: &str| {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}{part:0<2}").parse::<i128>().expect("an amount")
    };
    for (remainder, rows) in rows.iter_mut().enumerate() {
        for file in ["TransactionHistoryArchive", "TransactionHistory"] {
            let file = folder.join(format!("Production.{file}.csv.gz"));
            let totals = site.import(&map, &file, &[&format!("remainder={remainder}")]);
            assert_eq!((totals.rejected, totals.already_there), (0, 0));
            *rows += totals.recorded;
            for (kind, view) in totals.kinds {
                let sum = sums.entry(kind).or_default();
                sum.0 += view.recorded;
                sum.1 += view.quantity.parse::<i128>().expect("whole");
                sum.2 += hundredths(&view.amount);
            }
        }
    }
    assert_eq!(rows, [76_876, 65_232, 60_588]);
    assert_eq!(sums["receipt"], (8_788, 2_252_382, 6_162_766_702));
    assert_eq!(sums["sale_issue"], (121_317, 274_914, 12_839_141_201));
    assert_eq!((sums["production_in"].0, sums["production_in"].1), (72_591, 4_507_721));
    let verified = site.journal.verify().expect("proves");
    assert_eq!(verified.facts, 202_696);
    site.journal.close_blocking().expect("closes");
    let bytes = std::fs::metadata(site.folder.path().join("journal.redb")).expect("is there").len();
    eprintln!("{} bytes a movement in the file", bytes / 202_696);
}

/// A week of the year: the whole takes minutes without optimisation.
const RETAIL_ROWS: usize = 20_000;

#[test]
fn the_other_example_maps_hold() {
    let reason = |(code, number): (&str, u32)| MasterData::Reason {
        reason: ReasonNo(number),
        code: code.to_owned(),
        name: code.to_owned(),
        movement: None,
    };
    if let Some(folder) = data("online-retail") {
        let whole = folder.join("online-retail.csv.zst");
        let file = tempfile::tempdir().expect("a folder").keep().join("online-retail.csv");
        let text =
            zstd::decode_all(std::fs::read(&whole).expect("reads").as_slice()).expect("unpacks");
        let text = String::from_utf8(text).expect("UTF-8");
        let rows: Vec<&str> = text.lines().take(1 + RETAIL_ROWS).collect();
        std::fs::write(&file, rows.join("\n")).expect("writes");
        let mut extra = items(column(&file, "StockCode"), "EA");
        for data in &mut extra {
            if let MasterData::Item { code, service, .. } = data {
                *service = !code.starts_with(|first: char| first.is_ascii_digit());
            }
        }
        let customers = column(&file, "CustomerID").into_iter().filter(|id| !id.is_empty());
        let customers = customers.map(|id| format!("C{}", id.trim_end_matches(".0")));
        extra.extend(partners(customers.chain(["CASH".to_owned()])));
        extra.extend(["lost", "found", "sample"].into_iter().zip(9..).map(reason));
        let totals = Site::new(extra).import(&map_named("online-retail.toml"), &file, &[]);
        assert_eq!((totals.read, totals.rejected), (RETAIL_ROWS as u64, 0), "see the reject file");
        assert_eq!((totals.recorded, totals.filtered), (RETAIL_ROWS as u64, 0));
        assert!((50..1_000).contains(&totals.kinds["service_sale"].recorded), "{totals:?}");
        std::fs::remove_dir_all(file.parent().expect("its folder")).expect("cleans up");
    }
    if let Some(folder) = data("scms") {
        let file = folder.join("SCMS_Delivery_History_Dataset.csv");
        let mut extra = items(column(&file, "Item Description"), "PACK");
        let names = column(&file, "Country").into_iter().chain(column(&file, "Vendor"));
        extra.extend(partners(names));
        let totals = Site::new(extra).import(&map_named("scms-deliveries.toml"), &file, &[]);
        assert_eq!((totals.read, totals.recorded, totals.rejected), (10_324, 10_324, 0));
        assert_eq!(totals.kinds["sale_issue"].recorded, 5_404);
    }
}
