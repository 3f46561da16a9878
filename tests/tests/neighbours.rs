//! Warehouses that do not reach HQ, real processes: what they recorded comes to HQ by way of their
//! neighbours, sealed, and HQ's answers come back. Carriers that change it are found out.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::demo::stage::{EdgeNode, Headquarters, text};
use tests::processes::{ProcessError, get, run, wait_for};
use tests::relay::Relay;

const PATIENCE: Duration = Duration::from_secs(60);
const MOVEMENTS: u64 = 2_500;

fn headquarters(folder: &Path, sites: &[&str]) -> Result<Headquarters, ProcessError> {
    let hq = Headquarters::of_a_company(folder)?;
    hq.command(&["item", "add", "A", "Article"])?;
    for site in sites {
        hq.add_site(site, site)?;
    }
    Ok(hq)
}

/// Sets values under `[neighbours]`.
fn configure(data: &Path, listen: bool, neighbour: Option<&str>) -> Result<(), ProcessError> {
    let file = data.join("node.toml");
    let mut set =
        std::fs::read_to_string(&file)?.replace("after_seconds = 60", "after_seconds = 1");
    if listen {
        set = set.replace("# listen = \"0.0.0.0:7421\"", "listen = \"127.0.0.1:0\"");
    }
    if let Some(address) = neighbour {
        let ours = format!("addresses = [\"{address}\"]");
        set = set.replace("# addresses = [\"10.0.3.2:7421\"]", &ours);
    }
    std::fs::write(&file, set)?;
    Ok(())
}

/// A node that knows the items, and is cut off from HQ where `alone`.
fn node(
    folder: &Path,
    hq: &Headquarters,
    site: &str,
    neighbour: Option<&str>,
    alone: bool,
) -> Result<EdgeNode, ProcessError> {
    let data = folder.join(site);
    let code = hq.command(&["site", "code", site])?;
    let code = code["enrol"].as_str().unwrap_or_default().to_owned();
    let relay = Relay::start(hq.link)?;
    run("edge-node", &["--data", text(&data), "init", "--hq", &relay.address().to_string()])?;
    configure(&data, true, neighbour)?;
    run("edge-node", &["--data", text(&data), "enrol", &code])?;
    let (process, api) = EdgeNode::run(&data)?;
    let node = EdgeNode { data, node: process, api, relay };
    // Others find it again where it is now, after a restart too.
    let file = node.data.join("node.toml");
    let here = format!("listen = \"{}\"\n# For how many seconds", listens(&node)?);
    let set = std::fs::read_to_string(&file)?;
    std::fs::write(&file, set.replace("listen = \"127.0.0.1:0\"\n# For how many seconds", &here))?;
    node.wait_for_items(1)?;
    node.relay.set_cut(alone);
    Ok(node)
}

/// Waits until nodes know what HQ has stated so far, each other's logs among it: that comes in order.
fn know_everything(hq: &Headquarters, nodes: &[&EdgeNode]) -> Result<(), ProcessError> {
    hq.command(&["item", "add", "Z", "The last one"])?;
    nodes.iter().try_for_each(|node| node.wait_for_items(2))
}

fn listens(node: &EdgeNode) -> Result<String, ProcessError> {
    let status = node.status()?;
    let address = status["neighbours"]["listen"].as_str().unwrap_or_default();
    let address: Result<SocketAddr, _> = address.parse();
    address.map(|address| address.to_string()).map_err(|_| ProcessError::Answer(status.to_string()))
}

/// Waits until `by` has all of the node's log, by the node's own word.
fn wait_until_carried(node: &EdgeNode, by: &str, last: u64) -> Result<(), ProcessError> {
    wait_for("a neighbour to take everything", PATIENCE, || {
        let carried = node.status()?["neighbours"]["carried_by"].clone();
        let carried = carried.as_array().cloned().unwrap_or_default();
        let has = |each: &Value| each["site"] == by && each["last"] == last;
        Ok(carried.iter().any(has).then_some(()))
    })
}

fn carries(node: &EdgeNode) -> Result<Vec<Value>, ProcessError> {
    Ok(node.status()?["neighbours"]["carries"].as_array().cloned().unwrap_or_default())
}

fn quantities(hq: &Headquarters) -> Result<Vec<String>, ProcessError> {
    let stock = get(&hq.api, "/api/reports/stock")?;
    let rows = stock["rows"].as_array().into_iter().flatten();
    Ok(rows.map(|row| row["quantity"].as_str().unwrap_or_default().replace(',', "")).collect())
}

/// The log of a site, by HQ's status.
fn log_of(hq: &Headquarters, site: &str) -> Result<Value, ProcessError> {
    let status = hq.command(&["status"])?;
    let logs = status["logs"].as_array().cloned().unwrap_or_default();
    let found = logs.into_iter().find(|log| log["code"] == site);
    found.ok_or_else(|| ProcessError::Answer(status.to_string()))
}

#[test]
fn two_neighbours_carry_a_log_to_hq_and_its_answer_back() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = headquarters(folder.path(), &["NEAR", "MIDDLE", "FAR"])?;
    for (site, by) in [("FAR", "MIDDLE"), ("FAR", "NEAR"), ("MIDDLE", "NEAR")] {
        hq.command(&["site", "carry", site, "--by", by])?;
    }
    let near = node(folder.path(), &hq, "NEAR", None, false)?;
    let mut middle = node(folder.path(), &hq, "MIDDLE", Some(&listens(&near)?), false)?;
    let far = node(folder.path(), &hq, "FAR", Some(&listens(&middle)?), true)?;
    know_everything(&hq, &[&near, &middle])?;
    for node in [&near, &middle] {
        node.find_each(1..=1)?;
        node.wait_until_posted(PATIENCE)?;
    }
    near.relay.set_cut(true);
    middle.relay.set_cut(true);
    // A node that was just started knows at once that HQ is not there.
    middle.restart()?;

    far.find_each(1..=MOVEMENTS)?;
    middle.find_each(2..=3)?;
    wait_until_carried(&far, "MIDDLE", MOVEMENTS)?;
    wait_until_carried(&middle, "NEAR", 3)?;
    assert_eq!(far.status()?["received"], 0);
    let carried = wait_for("both logs to lie at NEAR", PATIENCE, || {
        let carried = carries(&near)?;
        let whole = |site: &str, last: u64| {
            carried.iter().any(|each| each["site"] == site && each["last"] == last)
        };
        Ok((whole("FAR", MOVEMENTS) && whole("MIDDLE", 3)).then_some(carried))
    })?;
    let bytes: u64 = carried.iter().filter_map(|each| each["bytes"].as_u64()).sum();
    assert!(bytes > 0, "{carried:?}");
    // The facts themselves are readable to nobody on the way.
    let said = run("edge-node", &["--data", text(&near.data), "status"])?;
    assert!(said.contains(&format!("facts 1 to {MOVEMENTS} of FAR")), "{said}");

    near.relay.set_cut(false);
    let status = far.wait_until_posted(PATIENCE)?;
    assert_eq!(status["received"], MOVEMENTS, "{status}");
    assert_eq!(status["neighbours"]["carried_by"], json!([]), "{status}");
    assert_ne!(status["link"]["state"], "online");
    middle.wait_until_posted(PATIENCE)?;
    wait_for("the carriers to let go what HQ has", PATIENCE, || {
        let left = carries(&near)?.len() + carries(&middle)?.len();
        Ok((left == 0).then_some(()))
    })?;
    let mut quantities = quantities(&hq)?;
    quantities.sort_by_key(String::len);
    assert_eq!(quantities, ["1", "3", &MOVEMENTS.to_string()]);
    assert_eq!(log_of(&hq, "FAR")?["bundle_by"], "NEAR");
    assert_eq!(hq.command(&["verify"])?["ok"], true);

    // What HQ states comes back with its next answer.
    hq.command(&["item", "add", "B", "Another"])?;
    far.find_each(MOVEMENTS + 1..=MOVEMENTS + 1)?;
    far.wait_for_items(3)?;
    far.wait_until_posted(PATIENCE)?;
    Ok(())
}

#[test]
fn a_carrier_that_changes_a_bundle_is_named_and_the_author_sends_it_again()
-> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = headquarters(folder.path(), &["NEAR", "FAR"])?;
    let mut near = node(folder.path(), &hq, "NEAR", None, false)?;
    let address = listens(&near)?;
    let far = node(folder.path(), &hq, "FAR", Some(&address), true)?;
    far.find_each(1..=10)?;
    // Without HQ's leave nobody carries anything.
    wait_for("NEAR to decline", PATIENCE, || {
        let warnings = far.status()?["neighbours"]["warnings"].to_string();
        Ok(warnings.contains("does not carry for this node").then_some(()))
    })?;
    hq.command(&["site", "carry", "FAR", "--by", "NEAR"])?;
    near.find_each(1..=1)?;
    near.wait_until_posted(PATIENCE)?;
    near.relay.set_cut(true);
    wait_until_carried(&far, "NEAR", 10)?;

    near.stop()?;
    let carried: Vec<_> = std::fs::read_dir(near.data.join("carried"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    let [bundle] = carried.as_slice() else { panic!("one bundle: {carried:?}") };
    let mut bytes = std::fs::read(bundle)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(bundle, bytes)?;
    // The author finds it again at the same address.
    near.relay.set_cut(false);
    near.restart()?;

    let named = wait_for("HQ to name the carrier", PATIENCE, || {
        let log = log_of(&hq, "NEAR")?;
        Ok(log["forged"].as_str().map(str::to_owned))
    })?;
    assert!(named.contains("changed on its way"), "{named}");
    far.wait_until_posted(PATIENCE)?;
    assert_eq!(log_of(&hq, "FAR")?["received"], 10);
    Ok(())
}

#[test]
fn hq_asks_for_its_own_leave_once_more() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = headquarters(folder.path(), &["NEAR", "FAR"])?;
    hq.command(&["site", "carry", "FAR", "--by", "NEAR"])?;
    let mut near = node(folder.path(), &hq, "NEAR", None, false)?;
    let mut far = node(folder.path(), &hq, "FAR", Some(&listens(&near)?), false)?;
    know_everything(&hq, &[&near])?;
    for node in [&mut near, &mut far] {
        node.relay.set_cut(true);
        node.restart()?;
    }
    far.find_each(1..=5)?;
    wait_until_carried(&far, "NEAR", 5)?;
    let who = hq.command(&["site", "carry", "FAR", "--by", "NEAR", "--no-more"])?;
    assert_eq!(who, json!([]));
    near.relay.set_cut(false);
    wait_for("HQ to decline", PATIENCE, || {
        let problem = carries(&near)?.first().map(|carried| carried["problem"].to_string());
        Ok(problem.filter(|why| why.contains("may not carry")))
    })?;
    assert_eq!(log_of(&hq, "FAR")?["received"], 0);
    let who = hq.command(&["site", "carry", "FAR", "--by", "NEAR"])?;
    assert_eq!(who, json!(["NEAR"]));
    far.wait_until_posted(PATIENCE)?;
    Ok(())
}

#[test]
fn a_neighbour_that_hq_has_revoked_is_turned_away_also_by_whom_a_stick_told()
-> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = headquarters(folder.path(), &["NEAR", "FAR"])?;
    hq.command(&["site", "carry", "FAR", "--by", "NEAR"])?;
    let near = node(folder.path(), &hq, "NEAR", None, false)?;
    let mut far = node(folder.path(), &hq, "FAR", Some(&listens(&near)?), false)?;
    know_everything(&hq, &[&near, &far])?;
    near.find_each(1..=1)?;
    near.wait_until_posted(PATIENCE)?;
    near.relay.set_cut(true);
    far.relay.set_cut(true);
    far.restart()?;
    far.find_each(1..=5)?;
    wait_until_carried(&far, "NEAR", 5)?;

    assert_eq!(hq.command(&["site", "revoke", "FAR"])?, json!([3]));
    let answer = folder.path().join("near.bundle");
    hq.command(&["bundle", "export", "--site", "NEAR", text(&answer)])?;
    run("edge-node", &["--data", text(&near.data), "bundle", "import", text(&answer)])?;
    // The connection that they have ends, and the next one is none.
    let said = wait_for("FAR to be turned away", PATIENCE, || {
        let neighbours = far.status()?["neighbours"]["addresses"].clone();
        let problem = neighbours[0]["problem"].as_str().unwrap_or_default().to_owned();
        Ok(problem.contains("HQ has revoked").then_some(problem))
    })?;
    assert!(said.contains("the other side refuses"), "{said}");
    let warnings = near.status()?["neighbours"]["warnings"].to_string();
    assert!(warnings.contains("HQ has revoked the installation 3 of site FAR"), "{warnings}");
    far.find_each(6..=7)?;
    far.restart()?;
    wait_for("FAR to be turned away once more", PATIENCE, || {
        let neighbours = far.status()?["neighbours"]["addresses"].to_string();
        Ok(neighbours.contains("HQ has revoked").then_some(()))
    })?;
    let lasts: Vec<_> = carries(&near)?.iter().map(|each| each["last"].clone()).collect();
    assert_eq!(lasts, [5]);
    near.relay.set_cut(false);
    wait_for("HQ to refuse it as well", PATIENCE, || Ok(carries(&near)?.is_empty().then_some(())))?;
    assert_eq!(log_of(&hq, "FAR")?["received"], 0);
    Ok(())
}

fn transfers(node: &EdgeNode) -> Result<Vec<Value>, ProcessError> {
    Ok(get(&node.api, "/v1/transfers")?.as_array().cloned().unwrap_or_default())
}

#[test]
fn two_warehouses_without_hq_ship_and_receive_between_them() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = headquarters(folder.path(), &["EAST", "WEST"])?;
    hq.command(&["site", "carry", "EAST", "--by", "WEST"])?;
    let mut east = node(folder.path(), &hq, "EAST", None, false)?;
    let mut west = node(folder.path(), &hq, "WEST", Some(&listens(&east)?), false)?;
    know_everything(&hq, &[&east, &west])?;
    east.find_each(1..=10)?;
    east.wait_until_posted(PATIENCE)?;
    east.relay.set_cut(true);
    west.relay.set_cut(true);
    east.restart()?;
    west.restart()?;

    let ship = json!({
        "key": "ship", "lines": [
            { "kind": "transfer_ship", "item": "A", "quantity": "4", "site": "WEST", "lot": "L7" },
            { "kind": "transfer_ship", "item": "A", "quantity": "1", "site": "WEST" },
        ],
    });
    let ships = east.record(&ship)?;
    let told = wait_for("EAST's dispatch note", PATIENCE, || {
        let told = transfers(&west)?;
        Ok((told.len() == 2).then_some(told))
    })?;
    assert_eq!(
        (&told[0]["ship"], &told[0]["quantity"]),
        (&json!(ships[0]), &json!("4")),
        "{told:?}"
    );
    assert_eq!((&told[0]["from"], &told[0]["announced"]), (&json!("EAST"), &json!(true)));
    // A ship that never left is taken back before it can arrive.
    east.record(
        &json!({ "key": "back", "lines": [{ "kind": "reversal", "refers_to": ships[1] }] }),
    )?;
    wait_for("the next note", PATIENCE, || Ok((transfers(&west)?.len() == 1).then_some(())))?;
    west.restart()?;
    assert_eq!(transfers(&west)?.len(), 1, "a note is kept");
    // The keeper names the item: what comes, how much and of which lot the note says.
    let receive =
        json!({ "key": "receive", "lines": [{ "kind": "transfer_receive", "item": "A" }] });
    west.record(&receive)?;
    assert_eq!(transfers(&west)?.len(), 0);
    west.restart()?;
    assert_eq!(transfers(&west)?.len(), 0, "what was received is not announced again");
    let again = west.record(&json!({ "key": "again", "lines": receive["lines"] }));
    assert!(again.expect_err("nothing is coming").to_string().contains("no_open_transfer"));

    // WEST's receive reaches HQ before the ship, which it brings along.
    wait_until_carried(&east, "WEST", 13)?;
    west.relay.set_cut(false);
    west.wait_until_posted(PATIENCE)?;
    east.wait_until_posted(PATIENCE)?;
    wait_for("both to be in the books", PATIENCE, || {
        let mut quantities = quantities(&hq)?;
        quantities.sort();
        Ok((quantities == ["4", "6"]).then_some(()))
    })?;
    assert_eq!(hq.command(&["verify"])?["ok"], true);
    assert_eq!(hq.command(&["status"])?["waiting"], 0);
    Ok(())
}
