//! Online Retail: 541,909 lines of a year, a site per country, 38 in all. Every line is a movement;
//! what was on stock before the first of them is recorded last and dated before it, so that the cost
//! of everything changes once all is posted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::online_retail_books::check;
use super::online_retail_lines::{Input, Item, Site, is_stock_code, read};
use super::{csv_error, print_measures, text};
use crate::demo::stage::{EdgeNode, Headquarters};
use crate::processes::{self, ProcessError, run_json, wait_for};

const MAP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/maps/online-retail.toml");
const OPENING_MAP: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/maps/online-retail-opening.toml");
/// The day before the first line.
const OPENING_DAY: &str = "2010-11-30";
/// Cost of goods before their opening stock is known, and of goods without a price.
const LEAST_COST: &str = "0.01";
/// Imported twice: the second time nothing changes.
const AGAIN: &str = "france";
const PATIENCE: Duration = Duration::from_secs(1_800);

/// What services are, and the accounts that take what is charged for them: code, name, type. Those
/// of no other category are sales.
const CATEGORIES: [(&str, &str, [&str; 3]); 5] = [
    ("carriage", "Postage and carriage", ["4130", "Carriage charged", "income"]),
    ("marketplace-fees", "Fees of marketplaces", ["5230", "Marketplace fees", "expense"]),
    ("bank-charges", "Charges of banks", ["5231", "Bank charges", "expense"]),
    ("donations", "Given away", ["5232", "Donations", "expense"]),
    ("bad-debts", "Debts given up", ["5240", "Bad debts", "expense"]),
];

fn category(code: &str) -> &'static str {
    match code {
        _ if is_stock_code(code) => "goods",
        "POST" | "DOT" | "C2" => "carriage",
        "AMAZONFEE" => "marketplace-fees",
        "BANK CHARGES" => "bank-charges",
        "CRUK" => "donations",
        "B" => "bad-debts",
        _ => "services",
    }
}

/// Plays the set, prints what came of it and returns what is wrong.
pub fn run(folder: &Path) -> Result<Vec<String>, ProcessError> {
    let root = tempfile::tempdir()?;
    let started = Instant::now();
    let say = |text: &str| println!("{:>7.1} s  {text}", started.elapsed().as_secs_f32());
    let input = read(&folder.join("online-retail.csv.zst"), root.path())?;
    say(&format!("the set is split into {} countries", input.sites.len()));
    let hq = headquarters(root.path(), &input)?;
    say("HQ has its items and partners");
    let nodes = start_nodes(root.path(), &hq, &input)?;
    say("every site is enrolled and has the catalogue");
    let mut wrong = Vec::new();
    let lines: u64 = input.sites.iter().map(Site::rows).sum();
    let before = sent_up(&nodes);
    let from_file = Instant::now();
    let totals = import_all(&nodes, &input.sites, |site| &site.file, MAP)?;
    say("every line is recorded");
    wait_until_posted(&hq, &nodes)?;
    let took = from_file.elapsed();
    say("every movement is posted");
    let sent = sent_up(&nodes) - before;
    for (site, totals) in input.sites.iter().zip(&totals) {
        compare_totals(site, totals, &mut wrong);
    }
    import_again(&nodes, &input.sites, &mut wrong)?;
    let openings = write_openings(&input).map_err(csv_error)?;
    let from_file = Instant::now();
    import_all(&nodes, &input.sites, opening_file, OPENING_MAP)?;
    wait_until_posted(&hq, &nodes)?;
    let repriced = from_file.elapsed();
    say("the opening stock is posted and everything has its cost");
    print_measures(&hq, &nodes, lines, took, sent);
    println!(
        "{} opening receipts from file to everything repriced: {:.1} s",
        openings.receipts,
        repriced.as_secs_f32()
    );
    compare_logs(&nodes, &input.sites, &mut wrong)?;
    verify(&hq, &mut wrong)?;
    for mut node in nodes {
        node.node.stop()?;
    }
    check(hq, folder, &input, openings, &mut wrong)?;
    say("everything is checked");
    Ok(wrong)
}

fn headquarters(root: &Path, input: &Input) -> Result<Headquarters, ProcessError> {
    let init =
        ["--company", "OR", "--name", "Online Retail", "--currency", "GBP", "--utc-offset=+00:00"];
    let hq = Headquarters::start(&root.join("hq"), &init)?;
    for (category, name, [account, title, account_type]) in CATEGORIES {
        hq.command(&["category", "add", category, name])?;
        hq.command(&["account", "add", account, title, "--type", account_type])?;
        hq.command(&["mapping", "add", "revenue", account, "--category", category])?;
    }
    let items = root.join("items.csv");
    let partners = root.join("partners.csv");
    write_items(input, &items).map_err(csv_error)?;
    write_partners(input, &partners).map_err(csv_error)?;
    hq.command(&["item", "import", text(&items)])?;
    hq.command(&["partner", "import", text(&partners)])?;
    hq.command(&["policy", "set", "import_backdating_days", "10000"])?;
    hq.command(&["policy", "set", "negative_stock", "1"])?;
    Ok(hq)
}

fn write_items(input: &Input, to: &Path) -> csv::Result<()> {
    let mut out = csv::Writer::from_path(to)?;
    out.write_record(["code", "name", "category", "unit", "decimals", "cost", "service"])?;
    for (code, item) in &input.items {
        let name = if item.name.is_empty() { code } else { &item.name };
        let (cost, service) = if is_stock_code(code) { (LEAST_COST, "no") } else { ("", "yes") };
        out.write_record([code, name, category(code), "EA", "0", cost, service])?;
    }
    out.flush()?;
    Ok(())
}

fn write_partners(input: &Input, to: &Path) -> csv::Result<()> {
    let mut out = csv::Writer::from_path(to)?;
    out.write_record(["code", "name", "customer", "supplier"])?;
    for number in &input.customers {
        out.write_record([&format!("C{number}"), number, "yes", "no"])?;
    }
    for site in &input.sites {
        let name = format!("Cash customers, {}", site.country);
        out.write_record([&cash_customer(site), &name, "yes", "no"])?;
    }
    out.write_record(["OPENING", "Opening stock", "no", "yes"])?;
    out.flush()?;
    Ok(())
}

fn cash_customer(site: &Site) -> String {
    format!("CASH-{}", site.code)
}

fn start_nodes(
    root: &Path,
    hq: &Headquarters,
    input: &Input,
) -> Result<Vec<EdgeNode>, ProcessError> {
    let mut nodes = Vec::new();
    for site in &input.sites {
        let code = hq.add_site(&site.code, &site.country)?;
        nodes.push(EdgeNode::start(&root.join("nodes").join(&site.code), &code, hq.link)?);
    }
    for node in &nodes {
        node.wait_for_items(input.items.len() as u64)?;
    }
    Ok(nodes)
}

fn sent_up(nodes: &[EdgeNode]) -> u64 {
    nodes.iter().map(|node| node.relay.bytes_up()).sum()
}

/// Every site imports its file, all sites at once; gives what each import says it did.
fn import_all<'a, P: AsRef<Path>>(
    nodes: &[EdgeNode],
    sites: &'a [Site],
    file: impl Fn(&'a Site) -> P,
    map: &str,
) -> Result<Vec<Value>, ProcessError> {
    std::thread::scope(|scope| {
        let works: Vec<_> = nodes
            .iter()
            .zip(sites)
            .map(|(node, site)| {
                let file = file(site).as_ref().to_owned();
                scope.spawn(move || import(node, site, &file, map))
            })
            .collect();
        works.into_iter().map(|work| work.join().expect("an import does not panic")).collect()
    })
}

fn import(node: &EdgeNode, site: &Site, file: &Path, map: &str) -> Result<Value, ProcessError> {
    let rejects = file.with_extension("rejects.csv");
    let cash = format!("cash={}", cash_customer(site));
    let mut arguments = vec!["--data", text(&node.data), "import", "--map", map];
    if map == MAP {
        arguments.extend(["--set", &cash]);
    }
    arguments.extend(["--rejects", text(&rejects), text(file)]);
    run_json("edge-node", &arguments)
}

/// Until HQ has posted what every node recorded, and the differences that came of it.
fn wait_until_posted(hq: &Headquarters, nodes: &[EdgeNode]) -> Result<(), ProcessError> {
    for node in nodes {
        node.wait_until_posted(PATIENCE)?;
    }
    wait_for("every difference to be posted", PATIENCE, || {
        let dashboard = processes::get(&hq.api, "/api/reports/dashboard")?;
        Ok((dashboard["stock"]["settling"] == false).then_some(()))
    })
}

/// The map must see in every line what the set's rules see.
fn compare_totals(site: &Site, totals: &Value, wrong: &mut Vec<String>) {
    let kinds = totals["kinds"].as_object().into_iter().flatten();
    let recorded: BTreeMap<&str, u64> =
        kinds.map(|(kind, view)| (kind.as_str(), view["recorded"].as_u64().unwrap_or(0))).collect();
    let expected = site.kinds.iter().map(|(kind, rows)| (kind.word(), *rows)).collect();
    if recorded != expected {
        wrong.push(format!("{} imported {recorded:?}, not {expected:?}", site.country));
    }
}

/// A file that comes again changes nothing, copies among its lines included.
fn import_again(
    nodes: &[EdgeNode],
    sites: &[Site],
    wrong: &mut Vec<String>,
) -> Result<(), ProcessError> {
    let found = nodes.iter().zip(sites).find(|(_, site)| site.code == AGAIN);
    let (node, site) = found.ok_or_else(|| ProcessError::Answer(format!("no site {AGAIN}")))?;
    let totals = import(node, site, &site.file, MAP)?;
    let [recorded, again] =
        ["recorded", "already_there"].map(|key| totals[key].as_u64().unwrap_or(u64::MAX));
    println!("{}, imported again: {recorded} recorded, {again} there already", site.country);
    if (recorded, again) != (0, site.rows()) {
        wrong.push(format!("{} imported again: {totals}", site.country));
    }
    Ok(())
}

/// The opening receipts of all sites.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Openings {
    /// How many.
    pub(super) receipts: u64,
    /// Of how many units.
    pub(super) units: i64,
}

fn opening_file(site: &Site) -> PathBuf {
    site.file.with_extension("opening.csv")
}

fn write_openings(input: &Input) -> csv::Result<Openings> {
    let mut openings = Openings::default();
    for site in &input.sites {
        let mut out = csv::Writer::from_path(opening_file(site))?;
        out.write_record(["Date", "Item", "Quantity", "Price"])?;
        for (code, units) in site.openings() {
            let cost = opening_cost(&input.items[code]);
            out.write_record([OPENING_DAY, code, &units.to_string(), &cost])?;
            openings.receipts += 1;
            openings.units += units;
        }
        out.flush()?;
    }
    Ok(openings)
}

/// Half of the first price.
fn opening_cost(item: &Item) -> String {
    item.price.map_or_else(
        || LEAST_COST.to_owned(),
        |thousandths| format!("{}.{:04}", thousandths / 2_000, thousandths * 5 % 10_000),
    )
}

/// Every node holds its lines and its opening receipts, and HQ has posted as many.
fn compare_logs(
    nodes: &[EdgeNode],
    sites: &[Site],
    wrong: &mut Vec<String>,
) -> Result<(), ProcessError> {
    println!("\n{:<22}{:>10}{:>10}{:>10}{:>10}", "site", "lines", "openings", "held", "posted");
    for (node, site) in nodes.iter().zip(sites) {
        let status = node.status()?;
        let [held, posted] = ["last", "posted"].map(|key| status[key].as_u64().unwrap_or(0));
        let (lines, openings) = (site.rows(), site.openings().len() as u64);
        println!("{:<22}{lines:>10}{openings:>10}{held:>10}{posted:>10}", site.country);
        if held != lines + openings || posted != held {
            wrong.push(format!("{} holds {held} movements, {posted} posted", site.country));
        }
    }
    Ok(())
}

/// HQ folds its sequence again from its files.
fn verify(hq: &Headquarters, wrong: &mut Vec<String>) -> Result<(), ProcessError> {
    let report = hq.command(&["verify"])?;
    let [facts, vouchers] = ["facts", "vouchers"].map(|key| report[key].as_u64().unwrap_or(0));
    println!("\nhq-server verify: {facts} facts, {vouchers} vouchers, ok {}", report["ok"]);
    if report["ok"] != true {
        wrong.push(format!("hq-server verify: {report}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hq_server::chart::GENERIC;

    use super::*;

    #[test]
    fn services_have_accounts_that_the_chart_does_not_have() {
        for (_, name, [code, ..]) in CATEGORIES {
            let taken = GENERIC.accounts.iter().find(|account| account.code == code);
            assert_eq!(taken.map(|account| account.name), None, "{name}: {code}");
        }
    }
}
