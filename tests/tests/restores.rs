//! HQ restored from a backup, as real processes: sites that were enrolled later come back by themselves,
//! nothing that was acknowledged is lost, and no voucher number is given twice without saying so.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tests::demo::stage::{EdgeNode, Headquarters, text};
use tests::processes::{ProcessError, get, post, run, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_restored_hq_takes_up_again_whom_it_forgot() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let mut hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let code = hq.add_site("S", "South")?;
    let south = EdgeNode::start(&folder.path().join("S"), &code, hq.link)?;
    south.wait_for_items(1)?;
    south.find("1", "A", "1")?;
    south.wait_until_posted(PATIENCE)?;
    let backup = folder.path().join("backup");
    hq.command(&["backup", text(&backup)])?;
    // What comes now is in no backup.
    hq.command(&["item", "add", "B", "Box"])?;
    south.wait_for_items(2)?;
    let code = hq.add_site("N", "North")?;
    let north = EdgeNode::start(&folder.path().join("N"), &code, hq.link)?;
    north.wait_for_items(2)?;
    north.find("1", "B", "7")?;
    for key in ["2", "3"] {
        south.find(key, "A", "10")?;
        north.find(key, "A", "100")?;
    }
    south.wait_until_posted(PATIENCE)?;
    north.wait_until_posted(PATIENCE)?;
    hq.command(&["document", "set", "notes:1", "topic/gate", "closed on Mondays"])?;
    wait_for("the node to hear of HQ's note", PATIENCE, || {
        let notes = run("edge-node", &["--data", text(&south.data), "note", "list"])?;
        Ok(notes.contains("closed on Mondays").then_some(()))
    })?;
    hq.restored(&backup, &folder.path().join("restored"))?;
    south.find("4", "A", "1000")?;
    north.find("4", "A", "1000")?;
    north.find("5", "B", "70")?;
    south.wait_until_posted(PATIENCE)?;
    north.wait_until_posted(PATIENCE)?;
    let stock = wait_for("everything to be in the books", PATIENCE, || {
        let stock = get(&hq.api, "/api/reports/stock")?;
        let total = stock["total"]["quantity"].clone();
        let rows = stock["rows"].as_array().map(Vec::len);
        Ok((rows == Some(3)).then_some((stock, total)))
    })?;
    wait_for("HQ to have its note again", PATIENCE, || {
        let notes = run("hq-server", &["--data", text(&hq.data), "document", "list"])?;
        if !notes.contains("notes:1") {
            return Ok(None);
        }
        let notes = hq.command(&["document", "show", "notes:1"])?;
        Ok(notes.to_string().contains("closed on Mondays").then_some(()))
    })?;
    let quantities: Vec<String> = stock.0["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| row["quantity"].as_str().unwrap_or_default().replace(',', ""))
        .collect();
    assert_eq!(quantities, ["1021", "1200", "77"], "{}", stock.0);
    let status = run("hq-server", &["--data", text(&hq.data), "status"])?;
    assert!(status.contains("restored from a backup at"), "{status}");
    assert!(status.contains("HQ had stated facts up to 1-"), "{status}");
    let vouchers = run("hq-server", &["--data", text(&hq.data), "report", "vouchers"])?;
    assert!(vouchers.contains("left out") || vouchers.contains("given twice"), "{vouchers}");
    let verified = hq.command(&["verify"])?;
    assert_eq!(verified["ok"], true, "{verified}");
    Ok(())
}

#[test]
fn a_box_from_a_backup_sends_what_the_old_one_had_not() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let code = hq.add_site("S", "South")?;
    let mut south = EdgeNode::start(&folder.path().join("S"), &code, hq.link)?;
    south.wait_for_items(1)?;
    south.find("1", "A", "1")?;
    south.wait_until_posted(PATIENCE)?;
    // The link is down: what is recorded now is on this box alone, and in its backup.
    south.relay.set_cut(true);
    south.find("2", "A", "10")?;
    let backup = folder.path().join("south.backup");
    run("edge-node", &["--data", text(&south.data), "backup", text(&backup)])?;
    south.find("3", "A", "100")?;
    south.stop()?;
    let refused = run("edge-node", &["--data", text(&south.data), "restore", text(&backup)]);
    let refused = refused.expect_err("there is a log").to_string();
    assert!(refused.contains("it has 3 facts, 2 of which HQ does not have"), "{refused}");
    // Its disk is gone, and another box gets the backup.
    let new_box = folder.path().join("new");
    run("edge-node", &["--data", text(&new_box), "restore", text(&backup)])?;
    enrol(&hq, &new_box)?;
    let (node, api) = EdgeNode::run(&new_box)?;
    wait_for("what the backup had to arrive", PATIENCE, || {
        Ok((hq.quantity()? == "11").then_some(()))
    })?;
    drop((node, api));
    // The old disk turns up, and is put beside: nothing was lost.
    run("edge-node", &["--data", text(&south.data), "restore", text(&backup), "--set-aside"])?;
    enrol(&hq, &south.data)?;
    let (mut node, api) = EdgeNode::run(&south.data)?;
    wait_for("what was recorded after the backup to arrive", PATIENCE, || {
        Ok((hq.quantity()? == "111").then_some(()))
    })?;
    wait_for("the new log to be at HQ", PATIENCE, || {
        let status = get(&api, "/v1/status")?;
        Ok((status["items"] == 1 && status["link"]["state"] == "online").then_some(()))
    })?;
    // Sent once: a start later nothing is sent again.
    node.stop()?;
    let at_hq = std::fs::read_dir(&south.data)?.filter_map(Result::ok);
    let at_hq =
        at_hq.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "at-hq"));
    assert_eq!(at_hq.count(), 2);
    let verified = hq.command(&["verify"])?;
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(hq.quantity()?, "111");
    Ok(())
}

/// Enrols a folder as another installation of the site.
fn enrol(hq: &Headquarters, data: &Path) -> Result<(), ProcessError> {
    let code = hq.command(&["site", "code", "S"])?;
    let code = code["enrol"].as_str().unwrap_or_default().to_owned();
    let link = hq.link.to_string();
    run("edge-node", &["--data", text(data), "enrol", &code, "--hq", &link]).map(drop)
}

#[test]
fn a_lost_warehouse_is_set_up_again_from_hq() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    hq.command(&["item", "add", "B", "Box", "--decimals", "2"])?;
    let code = hq.add_site("S", "South")?;
    let mut south = EdgeNode::start(&folder.path().join("S"), &code, hq.link)?;
    south.wait_for_items(2)?;
    south.find("1", "A", "12")?;
    south.find("2", "B", "1.25")?;
    south.wait_until_posted(PATIENCE)?;
    south.stop()?;
    // The box is gone, with its folder.
    let code = hq.command(&["site", "code", "S"])?;
    let code = code["enrol"].as_str().unwrap_or_default().to_owned();
    let new_box = folder.path().join("new");
    let link = hq.link.to_string();
    let rebuild = ["--data", text(&new_box), "rebuild", &code, "--hq", &link];
    let said = run("edge-node", &rebuild)?;
    assert!(said.contains("with 2 lines of stock") && said.contains("up to fact 2"), "{said}");
    let again = run("edge-node", &rebuild).expect_err("there is a log").to_string();
    assert!(again.contains("in an empty folder"), "{again}");
    let (_node, api) = EdgeNode::run(&new_box)?;
    wait_for("the catalogue to arrive", PATIENCE, || {
        Ok((get(&api, "/v1/status")?["items"] == 2).then_some(()))
    })?;
    let on_hand = || -> Result<Vec<String>, ProcessError> {
        let stock = get(&api, "/v1/stock")?;
        let lines = stock.as_array().cloned().unwrap_or_default();
        Ok(lines.iter().map(|line| line["on_hand"].as_str().unwrap_or_default().into()).collect())
    };
    assert_eq!(on_hand()?, ["12", "1.25"]);
    let sale = json!({ "key": "3", "lines": [{ "kind": "adjustment", "item": "A", "quantity": "-2",
        "reason": "found" }] });
    let (status, answer) = post(&api, "/v1/movements", &sale)?;
    assert!(status < 300, "{answer}");
    assert_eq!(on_hand()?, ["10", "1.25"]);
    wait_for("HQ to have it", PATIENCE, || Ok((hq.quantity()? == "10").then_some(())))
}
