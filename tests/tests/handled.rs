//! A warehouse that is told only the items that it handles, as real processes: what moves there comes
//! by itself, anything else is looked up at HQ and taken up.

use std::time::Duration;

use serde_json::{Value, json};
use tests::demo::stage::{EdgeNode, Headquarters};
use tests::processes::{ProcessError, get, post, run, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

fn codes(node: &EdgeNode) -> Result<Vec<String>, ProcessError> {
    let items = get(&node.api, "/v1/items")?;
    let code = |item: &Value| item["code"].as_str().map(str::to_owned);
    Ok(items.as_array().into_iter().flatten().filter_map(code).collect())
}

fn wait_for_codes(node: &EdgeNode, wanted: &[&str]) -> Result<(), ProcessError> {
    let what = format!("the items {wanted:?}");
    wait_for(&what, PATIENCE, || Ok((codes(node)? == wanted).then_some(())))
}

#[test]
fn a_site_is_told_what_it_handles_and_looks_up_the_rest() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    for code in ["BOLT", "NUT", "SCREW", "WASHER"] {
        hq.command(&["item", "add", code, &format!("{code} of steel")])?;
    }
    let [east, west] = [hq.add_site("EAST", "East")?, hq.add_site("WEST", "West")?];
    hq.command(&["policy", "set", "handled_only", "1", "--site", "EAST"])?;
    hq.command(&["site", "handles", "EAST", "NUT"])?;
    let east = EdgeNode::start(&folder.path().join("E"), &east, hq.link)?;
    let west = EdgeNode::start(&folder.path().join("W"), &west, hq.link)?;
    wait_for_codes(&east, &["NUT"])?;
    wait_for_codes(&west, &["BOLT", "NUT", "SCREW", "WASHER"])?;

    // What is on its way to it comes by itself.
    west.record(&json!({ "key": "1", "lines": [{
        "kind": "adjustment", "item": "BOLT", "quantity": "9", "price": "2.00", "reason": "found",
    }]}))?;
    west.record(&json!({ "key": "2", "lines": [{
        "kind": "transfer_ship", "item": "BOLT", "quantity": "4", "site": "EAST",
    }]}))?;
    wait_for_codes(&east, &["BOLT", "NUT"])?;

    // Anything else is looked up.
    let data = east.data.to_str().expect("UTF-8");
    let found = run("edge-node", &["--data", data, "items", "steel", "--at-hq"])?;
    let lines: Vec<&str> = found.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines.len(), 4, "{found}");
    assert!(lines[1].starts_with("NUT") && lines[1].ends_with("yes"), "{found}");
    assert!(lines[3].starts_with("WASHER") && lines[3].ends_with("no"), "{found}");
    let (status, answer) = post(&east.api, "/v1/items/handled", &json!({ "items": ["NAIL"] }))?;
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("unknown_item")));
    run("edge-node", &["--data", data, "items", "--take", "WASHER"])?;
    wait_for_codes(&east, &["BOLT", "NUT", "WASHER"])?;

    // A change reaches those who handle the item.
    hq.command(&["policy", "set", "handled_only", "0", "--site", "EAST"])?;
    wait_for_codes(&east, &["BOLT", "NUT", "SCREW", "WASHER"])?;
    Ok(())
}
