//! Shared documents between real processes: a transfer that two warehouses edit without a link, a
//! count sheet of two boxes of one warehouse, an edit that comes too late.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tests::demo::stage::{EdgeNode, Headquarters, text};
use tests::processes::{ProcessError, get, run, run_json, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

fn node(
    folder: &Path,
    name: &str,
    code: &str,
    hq: &Headquarters,
) -> Result<EdgeNode, ProcessError> {
    let node = EdgeNode::start(&folder.join(name), code, hq.link)?;
    node.wait_for_items(1)?;
    Ok(node)
}

fn edge(node: &EdgeNode, arguments: &[&str]) -> Result<Value, ProcessError> {
    run_json("edge-node", &[&["--data", text(&node.data)], arguments].concat())
}

/// The texts at a key of a document, those that wait for a person or the one that holds.
fn values(document: &Value, key: &str) -> Vec<String> {
    let fields = document["fields"].as_array().into_iter().flatten();
    let field = fields.filter(|field| field["key"] == key);
    let values = field.flat_map(|field| field["values"].as_array().into_iter().flatten());
    sorted(values.filter_map(|value| value["text"].as_str()))
}

fn values_at_hq(hq: &Headquarters, id: &str, key: &str) -> Result<Vec<String>, ProcessError> {
    let document = hq.command(&["document", "show", id])?;
    let values = document["values"].as_array().into_iter().flatten();
    let at_key = values.filter(|value| value["key"] == key);
    Ok(sorted(at_key.filter_map(|value| value["text"].as_str())))
}

fn sorted<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut texts: Vec<_> = texts.map(str::to_owned).collect();
    texts.sort();
    texts
}

fn wait_for_values(
    node: &EdgeNode,
    id: &str,
    key: &str,
    wanted: &[&str],
) -> Result<(), ProcessError> {
    let mut last = Value::Null;
    let found = wait_for(&format!("{wanted:?} at {key} of {id}"), PATIENCE, || {
        // A document that is not there yet is no failure.
        last = edge(node, &["document", "show", id]).unwrap_or(Value::Null);
        Ok((values(&last, key) == wanted).then_some(()))
    });
    found.inspect_err(|_| println!("{last:#}"))
}

fn ship(node: &EdgeNode, to: &str) -> Result<String, ProcessError> {
    let line = |quantity: &str| json!({ "kind": "transfer_ship", "item": "A", "quantity": quantity, "site": to });
    let captures = node.record(&json!({ "key": "ship", "lines": [line("10"), line("2")] }))?;
    Ok(captures[0].clone())
}

#[test]
fn a_transfer_is_coordinated_over_a_link_that_comes_and_goes() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let mut hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let code = hq.add_site("NORTH", "North")?;
    let mut north = node(folder.path(), "north", &code, &hq)?;
    let code = hq.add_site("SOUTH", "South")?;
    let south = node(folder.path(), "south", &code, &hq)?;

    north.record(&json!({ "key": "in", "lines": [{
        "kind": "adjustment", "item": "A", "quantity": "50", "price": "2", "reason": "found",
    }] }))?;
    let first = ship(&north, "SOUTH")?;
    let id = format!("transfer:{first}");
    // The ship movement opens the document; it reaches the other end.
    let there = wait_for("the transfer's document at its other end", PATIENCE, || {
        let list = edge(&south, &["transfer", "list"])?;
        Ok(list.as_array().and_then(|list| list.first().cloned()))
    })?;
    assert_eq!((&there["progress"], &there["waiting"]), (&json!("on its way"), &json!(0)));
    let shown = edge(&south, &["transfer", "show", &first])?;
    let goods = shown["goods"].as_array().cloned().unwrap_or_default();
    assert_eq!(
        (goods.len(), &goods[0]["item"], &goods[0]["quantity"]),
        (2, &json!("A"), &json!("10"))
    );

    // Both ends are cut off, and both go on writing: HQ is restarted meanwhile.
    north.relay.set_cut(true);
    south.relay.set_cut(true);
    edge(&north, &["transfer", "set", &first, "--carrier", "SF", "--remark", "call before noon"])?;
    edge(&south, &["transfer", "set", &first, "--remark", "gate 3"])?;
    let alone = edge(&south, &["transfer", "show", &first])?;
    assert_eq!(
        (values(&alone, "remark"), &alone["waiting"]),
        (vec!["gate 3".to_owned()], &json!(1))
    );
    north.restart()?;
    hq.restart()?;
    north.relay.set_cut(false);
    south.relay.set_cut(false);
    let both = ["call before noon", "gate 3"];
    for place in [&north, &south] {
        wait_for_values(place, &id, "remark", &both)?;
        wait_for_values(place, &id, "carrier", &["SF"])?;
    }
    assert_eq!(values_at_hq(&hq, &id, "remark")?, both);
    let page = run("edge-node", &["--data", text(&north.data), "transfer", "show", &first])?;
    assert!(page.contains("TO SETTLE"), "{page}");
    let list = hq.command(&["document", "list", "--site", "SOUTH"])?;
    assert_eq!((&list[0]["to_settle"], &list[0]["state"]), (&json!(1), &json!("on its way")));

    // One person settles, everybody sees it.
    edge(&south, &["transfer", "set", &first, "--remark", "gate 3, call before noon"])?;
    for place in [&north, &south] {
        wait_for_values(place, &id, "remark", &["gate 3, call before noon"])?;
    }
    assert_eq!(values_at_hq(&hq, &id, "remark")?, ["gate 3, call before noon"]);

    // What is received is named there, and closes it.
    wait_for("both lines to be told of", PATIENCE, || {
        let open = get(&south.api, "/v1/transfers")?;
        Ok((open.as_array().map(Vec::len) == Some(2)).then_some(()))
    })?;
    for goods in &goods {
        let (ship, quantity) = (&goods["ship"], &goods["quantity"]);
        south.record(&json!({ "lines": [{
            "kind": "transfer_receive", "item": "A", "quantity": quantity, "refers_to": ship,
        }] }))?;
    }
    edge(&south, &["transfer", "set", &first, "--difference", &first, "one box is wet"])?;
    wait_for("the sender to see it received", PATIENCE, || {
        let shown = edge(&north, &["transfer", "show", &first])?;
        let told = !values(&shown, &format!("difference/{first}")).is_empty();
        Ok((shown["progress"] == "received" && told).then_some(()))
    })?;
    // Nothing of all this moved anything.
    let stock = hq.command(&["report", "stock"])?;
    let quantities: Vec<_> =
        stock["rows"].as_array().into_iter().flatten().map(|row| &row["quantity"]).collect();
    assert_eq!(quantities.len(), 2, "{stock}");
    Ok(())
}

#[test]
fn two_counters_differ_until_a_person_settles_and_the_count_is_a_fact() -> Result<(), ProcessError>
{
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    for item in ["A", "B"] {
        hq.command(&["item", "add", item, item])?;
    }
    let code = hq.add_site("S", "Site")?;
    let one = node(folder.path(), "one", &code, &hq)?;
    let code = hq.command(&["site", "code", "S"])?;
    let other = node(folder.path(), "other", code["enrol"].as_str().unwrap_or_default(), &hq)?;

    let sheet = edge(&one, &["count-sheet", "new", "shelf 4"])?;
    let id = sheet["id"].as_str().unwrap_or_default().to_owned();
    wait_for("the sheet at the other box", PATIENCE, || {
        Ok(edge(&other, &["document", "show", &id]).ok())
    })?;
    one.relay.set_cut(true);
    other.relay.set_cut(true);
    let count = |node: &EdgeNode, counter: &str, item: &str, figure: &str| {
        edge(node, &["count-sheet", "count", &id, item, figure, "--counter", counter])
    };
    count(&one, "Li", "A", "10")?;
    count(&one, "Li", "B", "4")?;
    count(&other, "Wang", "A", "12")?;
    count(&other, "Wang", "B", "4.0")?;
    one.relay.set_cut(false);
    other.relay.set_cut(false);
    for box_of in [&one, &other] {
        wait_for("both figures at both boxes", PATIENCE, || {
            let shown = edge(box_of, &["count-sheet", "show", &id])?;
            let counts = shown["sheet"][0]["counts"].as_array().map(Vec::len);
            let standing = (&shown["sheet"][0]["standing"], &shown["sheet"][1]["standing"]);
            let both = counts == Some(2) && standing == (&json!("differs"), &json!("agreed"));
            Ok(both.then_some(()))
        })?;
    }
    let at_hq = hq.command(&["document", "list"])?;
    assert_eq!(at_hq[0]["to_settle"], 1, "{at_hq}");
    let early = edge(&one, &["count-sheet", "record", &id]).expect_err("people differ").to_string();
    assert!(early.contains("1 lines wait for a person, the first is item 'A'"), "{early}");

    edge(&other, &["count-sheet", "settle", &id, "A", "12"])?;
    wait_for("the settled figure at the first box", PATIENCE, || {
        let shown = edge(&one, &["count-sheet", "show", &id])?;
        Ok((shown["sheet"][0]["standing"] == "settled").then_some(()))
    })?;
    let recorded = edge(&one, &["count-sheet", "record", &id])?;
    assert_eq!(recorded["captures"].as_array().map(Vec::len), Some(2), "{recorded}");
    let again =
        edge(&one, &["count-sheet", "record", &id]).expect_err("it is recorded").to_string();
    assert!(again.contains("nothing to record"), "{again}");
    let status = one.wait_until_posted(PATIENCE)?;
    assert_eq!(status["last"], 2);
    let stock = get(&hq.api, "/api/reports/stock")?;
    let figures: Vec<_> = stock["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| row["quantity"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(figures, ["12", "4"], "{stock}");
    Ok(())
}

#[test]
fn an_edit_that_comes_too_late_goes_back_to_its_author() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let code = hq.add_site("S", "Site")?;
    let edge_node = node(folder.path(), "S", &code, &hq)?;
    edge(&edge_node, &["note", "set", "--item", "A", "leaks"])?;
    let list = wait_for("the note at HQ", PATIENCE, || {
        let list = hq.command(&["document", "list"])?;
        Ok(list[0]["document"].as_str().map(str::to_owned))
    })?;
    edge_node.relay.set_cut(true);
    hq.command(&["document", "renew", &list])?;
    edge(&edge_node, &["note", "set", "--item", "A", "does not leak"])?;
    edge_node.relay.set_cut(false);
    let refused = wait_for("the refusal", PATIENCE, || {
        let refused = edge(&edge_node, &["document", "refused"])?;
        Ok(refused.as_array().and_then(|refused| refused.first().cloned()))
    })?;
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("goes on in generation 2"), "{refused}");
    assert_eq!(refused["puts"][0]["text"], "does not leak");
    let status = edge_node.status()?;
    assert_eq!((&status["edits_refused"], &status["edits_waiting"]), (&json!(1), &json!(0)));
    let notes = edge(&edge_node, &["note", "list"])?;
    assert_eq!(
        (&notes["generation"], &notes["fields"][0]["values"][0]["text"]),
        (&json!(2), &json!("leaks"))
    );
    let quarantine = hq.command(&["document", "quarantine"])?;
    assert_eq!(
        (&quarantine[0]["site"], quarantine.as_array().map(Vec::len)),
        (&json!("S"), Some(1))
    );

    // A backup has documents, too.
    let backup: PathBuf = folder.path().join("backup");
    hq.command(&["backup", text(&backup)])?;
    let restored = folder.path().join("restored");
    run("hq-server", &["--data", text(&restored), "restore", text(&backup)])?;
    let there = run_json("hq-server", &["--data", text(&restored), "document", "list"])?;
    assert_eq!((&there[0]["document"], &there[0]["generation"]), (&json!(list), &json!(2)));
    Ok(())
}

#[test]
fn documents_are_carried_on_a_stick() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let code = hq.add_site("S", "Site")?;
    let alone = node(folder.path(), "S", &code, &hq)?;
    alone.relay.set_cut(true);
    edge(&alone, &["note", "set", "--topic", "gate", "closed on Mondays"])?;
    edge(&alone, &["note", "set", "--topic", "gate", "closed on Mondays and Fridays"])?;
    let (up, down) = (folder.path().join("up"), folder.path().join("down"));
    edge(&alone, &["bundle", "export", text(&up)])?;
    for _ in 0..2 {
        hq.command(&["bundle", "import", text(&up)])?;
    }
    let id =
        hq.command(&["document", "list"])?[0]["document"].as_str().unwrap_or_default().to_owned();
    assert_eq!(values_at_hq(&hq, &id, "topic/gate")?, ["closed on Mondays and Fridays"]);
    hq.command(&["document", "set", &id, "topic/gate", "open every day from May on"])?;
    hq.command(&["bundle", "export", "--site", "S", text(&down)])?;
    for _ in 0..2 {
        edge(&alone, &["bundle", "import", text(&down)])?;
        let notes = edge(&alone, &["note", "list"])?;
        assert_eq!(values(&notes, "topic/gate"), ["open every day from May on"]);
        assert_eq!(notes["waiting"], 0, "HQ decided on both edits: {notes}");
    }
    Ok(())
}
