//! `AdventureWorks`: 202,696 transactions over three sites by product number modulo 3. P is a
//! receipt from the order's vendor, S a sale to the order's customer, W a production in at standard
//! cost. 48 products are sold without any inflow and stay negative.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use shared::fact::Kind;
use shared::fact::statement::Role;

use super::{check_books, csv_error, open, print_measures, text, written};
use crate::demo::stage::{EdgeNode, Headquarters};
use crate::processes::{ProcessError, run_json};

const SITES: usize = 3;
/// Rows of each site, by product number modulo 3.
const SITE_ROWS: [u64; SITES] = [76_876, 65_232, 60_588];
/// Payable and received-not-invoiced together, in cents: quantity x cost rounded per row.
const OWED: i128 = 6_162_766_702;
/// Revenue in cents: quantity x price rounded per row.
const REVENUE: i128 = 12_839_141_201;
const FILES: [&str; 2] =
    ["Production.TransactionHistoryArchive.csv.gz", "Production.TransactionHistory.csv.gz"];
const MAP: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/maps/adventureworks-transactions.toml");

/// Plays the set, prints what came of it and returns what is wrong.
pub fn run(folder: &Path) -> Result<Vec<String>, ProcessError> {
    let root = tempfile::tempdir()?;
    let started = Instant::now();
    let say = |text: &str| println!("{:>7.1} s  {text}", started.elapsed().as_secs_f32());
    let hq = headquarters(root.path(), folder)?;
    say("HQ has its items and partners");
    let mut nodes = Vec::new();
    for site in 0..SITES {
        let code = hq.add_site(&format!("AW-{site}"), &format!("AdventureWorks {site}"))?;
        nodes.push(EdgeNode::start(&root.path().join(format!("site-{site}")), &code, hq.link)?);
    }
    for node in &nodes {
        node.wait_for_items(504)?;
    }
    say("three sites are enrolled and have the catalogue");
    let before: Vec<u64> = nodes.iter().map(|node| node.relay.bytes_up()).collect();
    let from_file = Instant::now();
    import_all(&nodes, folder)?;
    say("every row is recorded");
    for node in &nodes {
        node.wait_until_posted(Duration::from_secs(600))?;
    }
    let took = from_file.elapsed();
    say("every movement is posted");
    let rows: u64 = SITE_ROWS.iter().sum();
    let sent: u64 =
        nodes.iter().zip(before).map(|(node, before)| node.relay.bytes_up() - before).sum();
    print_measures(&hq, &nodes, rows, took, sent);
    let mut wrong = Vec::new();
    for (node, expected) in nodes.iter_mut().zip(SITE_ROWS) {
        if node.status()?["last"].as_u64() != Some(expected) {
            wrong
                .push(format!("a site holds {} movements, not {expected}", node.status()?["last"]));
        }
        node.node.stop()?;
    }
    check(hq, folder, &mut wrong)?;
    Ok(wrong)
}

fn headquarters(root: &Path, folder: &Path) -> Result<Headquarters, ProcessError> {
    let init =
        ["--company", "AW", "--name", "AdventureWorks", "--currency", "USD", "--utc-offset=-07:00"];
    let hq = Headquarters::start(&root.join("hq"), &init)?;
    let items = root.join("items.csv");
    let partners = root.join("partners.csv");
    write_items(folder, &items).map_err(csv_error)?;
    write_partners(folder, &partners).map_err(csv_error)?;
    hq.command(&["item", "import", text(&items)])?;
    hq.command(&["partner", "import", text(&partners)])?;
    hq.command(&["policy", "set", "import_backdating_days", "10000"])?;
    hq.command(&["policy", "set", "negative_stock", "1"])?;
    Ok(hq)
}

fn write_items(folder: &Path, to: &Path) -> csv::Result<()> {
    let mut out = csv::Writer::from_path(to)?;
    out.write_record(["code", "name", "category", "unit", "decimals", "cost"])?;
    for product in rows(&folder.join("Production.Product.csv"))? {
        let cell = |name: &str| product.get(name).map_or("", String::as_str);
        let row = [cell("ProductID"), cell("Name"), "goods", "EA", "0", cell("StandardCost")];
        out.write_record(row)?;
    }
    out.flush()?;
    Ok(())
}

fn write_partners(folder: &Path, to: &Path) -> csv::Result<()> {
    let mut out = csv::Writer::from_path(to)?;
    out.write_record(["code", "name", "customer", "supplier"])?;
    for vendor in rows(&folder.join("Purchasing.Vendor.csv"))? {
        let code = format!("V{}", vendor["BusinessEntityID"]);
        out.write_record([code.as_str(), vendor["Name"].as_str(), "no", "yes"])?;
    }
    for customer in rows(&folder.join("Sales.Customer.csv"))? {
        let code = format!("C{}", customer["CustomerID"]);
        out.write_record([code.as_str(), customer["AccountNumber"].as_str(), "yes", "no"])?;
    }
    out.flush()?;
    Ok(())
}

fn rows(file: &Path) -> csv::Result<Vec<BTreeMap<String, String>>> {
    csv::Reader::from_path(file)?.deserialize().collect()
}

/// Each site imports its third of both files, all sites at once.
fn import_all(nodes: &[EdgeNode], folder: &Path) -> Result<(), ProcessError> {
    std::thread::scope(|scope| {
        let works: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(site, node)| scope.spawn(move || import(site, node, folder)))
            .collect();
        works.into_iter().try_for_each(|work| work.join().expect("an import does not panic"))
    })
}

fn import(site: usize, node: &EdgeNode, folder: &Path) -> Result<(), ProcessError> {
    let data = text(&node.data);
    let remainder = format!("remainder={site}");
    for file in FILES {
        let file = folder.join(file);
        let map = ["--map", MAP, "--set", &remainder, text(&file)];
        run_json("edge-node", &[&["--data", data, "import"], &map[..]].concat())?;
    }
    Ok(())
}

/// Opens HQ's files and compares the books with the sums, the data's own facts and the model.
fn check(hq: Headquarters, folder: &Path, wrong: &mut Vec<String>) -> Result<(), ProcessError> {
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    let hq = open(hq)?;
    let written = written(&hq)?;
    let ledgers = hq.published().ledgers();
    let books = &ledgers.books;
    let mut must = |name: &str, found: i128, expected: i128| {
        println!(
            "{name:<38}{:>18}",
            shared::money::Amount(i64::try_from(found).unwrap_or(i64::MAX)).display(2)
        );
        if found != expected {
            wrong.push(format!("{name} is {found}, not {expected}"));
        }
    };
    println!();
    let owed = books.role_balance(Role::Payable) + books.role_balance(Role::ReceivedNotInvoiced);
    must("payable + received not invoiced", -owed, OWED);
    must("revenue", -books.role_balance(Role::Revenue), REVENUE);
    must(
        "inventory accounts = stock value",
        books.role_balance(Role::Inventory),
        books.stock_value(),
    );
    let totals = books.ledger().totals();
    must("trial balance, debit = credit", totals.debit, totals.credit);
    compare_counts(books, folder, wrong)?;
    check_books(books, &written, wrong);
    Ok(())
}

/// Rows and quantities per transaction type, as the data set's own facts state them.
fn compare_counts(
    books: &hq_server::books::Books,
    folder: &Path,
    wrong: &mut Vec<String>,
) -> Result<(), ProcessError> {
    let text = std::fs::read_to_string(folder.join("facts.json"))?;
    let facts: Value =
        serde_json::from_str(&text).map_err(|error| ProcessError::Answer(error.to_string()))?;
    let stated = &facts["TransactionHistory+Archive"];
    let kinds = [("P", Kind::Receipt), ("S", Kind::SaleIssue), ("W", Kind::ProductionIn)];
    for (letter, kind) in kinds {
        let of_kind = || books.facts().iter().filter(|(_, record)| record.kind == kind);
        let rows = of_kind().count() as u64;
        let units: i64 = of_kind().map(|(_, record)| record.quantity.0).sum();
        println!("{:<38}{rows:>18} rows, {units} units", format!("{letter}: {kind}"));
        let expected = &stated[letter];
        if expected["rows"].as_u64() != Some(rows) || expected["qty"].as_i64() != Some(units) {
            wrong.push(format!("{letter} has {rows} rows and {units} units, not {expected}"));
        }
    }
    Ok(())
}
