//! Two warehouses without a link, real processes: what they recorded is carried to HQ in files, in
//! the wrong order and more than once, and HQ's answer is carried back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tests::demo::stage::{EdgeNode, Headquarters, text};
use tests::processes::{ProcessError, get, run, run_json, wait_for};
use tests::relay::Relay;

const MOVEMENTS: u64 = 2_500;
/// Where the first and the second bundle of a warehouse end.
const ENDS: [u64; 3] = [900, 1_700, MOVEMENTS];
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that is enrolled and from then on alone.
fn alone(data: &Path, hq: &Headquarters, code: &str) -> Result<EdgeNode, ProcessError> {
    let relay = Relay::start(hq.link)?;
    let address = relay.address().to_string();
    run("edge-node", &["--data", text(data), "init", "--hq", &address])?;
    run("edge-node", &["--data", text(data), "enrol", code])?;
    relay.set_cut(true);
    let (node, api) = EdgeNode::run(data)?;
    Ok(EdgeNode { data: data.to_owned(), node, api, relay })
}

fn export(node: &EdgeNode, file: &Path, more: &[&str]) -> Result<Value, ProcessError> {
    let mut arguments = vec!["--data", text(&node.data), "bundle", "export", text(file)];
    arguments.extend(more);
    run_json("edge-node", &arguments)
}

/// HQ's answer, carried back.
fn answer(
    hq: &Headquarters,
    site: &str,
    node: &EdgeNode,
    to: &Path,
) -> Result<Value, ProcessError> {
    hq.command(&["bundle", "export", "--site", site, "--force", text(to)])?;
    run_json("edge-node", &["--data", text(&node.data), "bundle", "import", text(to)])
}

/// What HQ says when it refuses a file.
fn refused(hq: &Headquarters, file: &Path) -> String {
    match hq.command(&["bundle", "import", text(file)]) {
        Err(ProcessError::Failed { output, .. }) => output,
        other => panic!("it is taken: {other:?}"),
    }
}

fn figure(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace(',', "")
}

#[test]
fn what_is_carried_on_a_stick_is_posted_once_and_acknowledged() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let mut nodes = Vec::new();
    for site in ["N", "S"] {
        let code = hq.add_site(site, site)?;
        nodes.push((site, alone(&folder.path().join(site), &hq, &code)?));
    }
    let file = |site: &str, part: usize| -> PathBuf {
        folder.path().join(format!("{site}-{part}.bundle"))
    };
    for (site, node) in &nodes {
        // Without a link even the items come on the stick.
        let taken = answer(&hq, site, node, &file(site, 9))?;
        assert!(taken["master_data"].as_u64() > Some(0), "{taken}");
        let mut before = 0;
        for (part, end) in ENDS.into_iter().enumerate() {
            node.find_each(before + 1..=end)?;
            let after = before.to_string();
            let made = export(node, &file(site, part), &["--after", &after])?;
            assert_eq!((&made["facts"], &made["last"]), (&json!(end - before), &json!(end)));
            before = end;
        }
        // Nothing was acknowledged yet, so the usual export has everything.
        assert_eq!(export(node, &file(site, 3), &[])?["facts"], MOVEMENTS);
    }

    for (site, _) in &nodes {
        for (part, has) in [(2, 0), (1, 0)] {
            let why = refused(&hq, &file(site, part));
            let missing =
                format!("facts {} to {} of this log are missing", has + 1, ENDS[part - 1]);
            assert!(why.contains(&missing), "{why}");
        }
        for (part, new) in [(0, 900), (0, 0), (1, 800), (0, 0), (2, 800), (1, 0), (3, 0), (2, 0)] {
            let report = hq.command(&["bundle", "import", text(&file(site, part))])?;
            assert_eq!(report["new_facts"], new, "bundle {part}: {report}");
        }
    }

    let stock = wait_for("everything to be posted", PATIENCE, || {
        let stock = get(&hq.api, "/api/reports/stock")?;
        let rows = stock["rows"].as_array().into_iter().flatten();
        let whole = rows.filter(|row| figure(&row["quantity"]) == MOVEMENTS.to_string()).count();
        Ok((whole == nodes.len()).then_some(stock))
    })?;
    for row in stock["rows"].as_array().into_iter().flatten() {
        assert_eq!(figure(&row["value"]), format!("{}.00", 2 * MOVEMENTS));
    }
    assert_eq!(figure(&stock["tie"]["difference"]).trim_end_matches(['0', '.']), "");
    let dashboard = get(&hq.api, "/api/reports/dashboard")?;
    for row in dashboard["sites"].as_array().into_iter().flatten() {
        assert_eq!(row["freshness"]["by_bundle"], true, "{row}");
    }
    assert_eq!(hq.command(&["verify"])?["ok"], true);

    for (site, node) in &nodes {
        assert_eq!(node.status()?["received"], 0);
        let taken = answer(&hq, site, node, &file(site, 9))?;
        let levels = (&taken["received"], &taken["posted"], &taken["known_before"]);
        assert_eq!(levels, (&json!(MOVEMENTS), &json!(MOVEMENTS), &json!(false)));
        let status = node.wait_until_posted(PATIENCE)?;
        assert_eq!((&status["received"], &status["waiting"]), (&json!(MOVEMENTS), &json!(0)));
        assert_eq!((&status["told"], &status["set_aside"]), (&json!(MOVEMENTS), &json!(0)));
        let log = get(&node.api, "/v1/log?count=1")?;
        let voucher = log["facts"][0]["voucher"].as_str().unwrap_or_default();
        assert!(voucher.starts_with("20"), "{log}");
        let again = answer(&hq, site, node, &file(site, 9))?;
        assert_eq!(again["known_before"], true, "{again}");
        // What comes now begins after HQ's word.
        let made = export(node, &file(site, 4), &[])?;
        assert_eq!((&made["facts"], &made["after"]), (&json!(0), &json!(MOVEMENTS)));
    }
    // The other warehouse's answer is not this one's.
    let (data, wrong) = (text(&nodes[0].1.data).to_owned(), file("S", 9));
    let taken = run("edge-node", &["--data", &data, "bundle", "import", text(&wrong)]);
    assert!(matches!(taken, Err(ProcessError::Failed { .. })), "{taken:?}");
    Ok(())
}

#[test]
fn a_restored_hq_tells_master_data_on_a_stick_only_when_asked_to() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let mut hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let code = hq.add_site("S", "South")?;
    let south = alone(&folder.path().join("S"), &hq, &code)?;
    let (up, down) = (folder.path().join("up"), folder.path().join("down"));
    let backup = folder.path().join("backup");
    hq.command(&["backup", text(&backup)])?;
    hq.command(&["item", "add", "B", "Box"])?;
    answer(&hq, "S", &south, &down)?;
    let items = || run_json("edge-node", &["--data", text(&south.data), "items"]);
    assert_eq!(items()?.as_array().map(Vec::len), Some(2));
    hq.restored(&backup, &folder.path().join("restored"))?;
    let export_at_hq = |more: &[&str]| {
        hq.command(&[&["bundle", "export", "--site", "S", "--force", text(&down)], more].concat())
    };
    // Neither before nor after HQ knows what it holds.
    for _ in 0..2 {
        let refused = export_at_hq(&[]).expect_err("it may hold what HQ lost").to_string();
        assert!(refused.contains("--anew"), "{refused}");
        export(&south, &up, &["--force"])?;
        hq.command(&["bundle", "import", text(&up)])?;
    }
    export_at_hq(&["--anew"])?;
    run_json("edge-node", &["--data", text(&south.data), "bundle", "import", text(&down)])?;
    assert_eq!(items()?.as_array().map(Vec::len), Some(1), "HQ has no more");
    Ok(())
}
