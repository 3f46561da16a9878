//! A box whose disk is copied, and both used on, as real processes: what either recorded is booked
//! once, people on both sides are told, and the copy becomes an installation of its own.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::demo::stage::{EdgeNode, Headquarters, find_at, text};
use tests::processes::{ProcessError, Running, get, run, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that the node recorded is in HQ's books, as far as it was told.
fn posted(api: &str) -> Result<Value, ProcessError> {
    wait_for("everything to be posted", PATIENCE, || {
        let status = get(api, "/v1/status")?;
        Ok((status["last"] == status["posted"]).then_some(status))
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), ProcessError> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A node that is enrolled already, in its folder.
struct Copy {
    node: Running,
    api: String,
}

impl Copy {
    fn run(folder: &Path) -> Result<Self, ProcessError> {
        let (node, api) = EdgeNode::run(folder)?;
        Ok(Self { node, api })
    }
}

#[test]
fn a_copied_box_is_booked_as_a_branch_and_enrolled_anew() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let code = hq.add_site("S", "Site")?;
    let mut box_a = EdgeNode::start(&folder.path().join("S"), &code, hq.link)?;
    box_a.wait_for_items(1)?;
    find_at(&box_a.api, "before", "A", "1")?;
    box_a.wait_until_posted(PATIENCE)?;
    box_a.stop()?;
    let copied = folder.path().join("copy");
    copy(&box_a.data, &copied)?;

    box_a.restart()?;
    find_at(&box_a.api, "a-1", "A", "10")?;
    find_at(&box_a.api, "a-2", "A", "10")?;
    box_a.wait_until_posted(PATIENCE)?;
    box_a.stop()?;
    // The copy was used on, without a link: not all of it is at HQ when it is to be enrolled.
    box_a.relay.set_cut(true);
    let mut box_b = Copy::run(&copied)?;
    find_at(&box_b.api, "b-1", "A", "100")?;
    find_at(&box_b.api, "b-2", "A", "100")?;
    find_at(&box_b.api, "b-3", "A", "100")?;
    box_a.relay.set_cut(false);
    let status = posted(&box_b.api)?;
    let warning = status["link"]["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("copied, or restored from an older image"), "{status}");
    assert_eq!(hq.quantity()?, "321");
    let said = run("hq-server", &["--data", text(&hq.data), "status"])?;
    assert!(said.contains("a branch, the same log up to fact 1"), "{said}");

    let dashboard = get(&hq.api, "/api/reports/dashboard")?;
    assert_eq!(dashboard["sites"][0]["freshness"]["doubtful"], true, "{dashboard}");
    let page = run("hq-server", &["--data", text(&hq.data), "report", "dashboard"])?;
    assert!(page.contains("in doubt"), "{page}");
    let close = ["period", "close", "2026-01"];
    let refused = hq.command(&close).expect_err("in doubt").to_string();
    assert!(refused.contains("with --despite-doubt"), "{refused}");
    hq.command(&[&close[..], &["--despite-doubt"]].concat())?;
    // What was told twice a person voids: the copy's facts carry a number of their own.
    hq.command(&["void", "3-2", "--reason", "found"])?;
    assert_eq!(hq.quantity()?, "221");
    let again = hq.command(&["void", "3-2"]).expect_err("is void").to_string();
    assert!(again.contains("3-2 is void already"), "{again}");

    hq.command(&["same-as", "3-3", "2-3"])?;
    assert_eq!(hq.quantity()?, "121");
    let void = hq.command(&["same-as", "3-3", "2-3"]).expect_err("has no effect").to_string();
    assert!(void.contains("3-3 is void already"), "{void}");
    let other = hq.command(&["same-as", "3-4", "3-4"]).expect_err("is one").to_string();
    assert!(other.contains("they can't be one event"), "{other}");
    let nothing = hq.command(&["rule", "2"]).expect_err("is no branch").to_string();
    assert!(nothing.contains("there is no branch with number 2"), "{nothing}");
    hq.command(&["rule", "3"])?;
    let doubtful = || -> Result<Value, ProcessError> {
        let dashboard = get(&hq.api, "/api/reports/dashboard")?;
        Ok(dashboard["sites"][0]["freshness"]["doubtful"].clone())
    };
    assert_eq!(doubtful()?, false, "a person has looked at all of it");
    hq.command(&["period", "close", "2026-02"])?;

    box_a.relay.set_cut(true);
    find_at(&box_b.api, "b-4", "A", "100")?;
    box_b.node.stop()?;
    let code = hq.command(&["site", "code", "S"])?;
    let code = code["enrol"].as_str().unwrap_or_default().to_owned();
    let enrol = ["--data", text(&copied), "enrol", &code];
    let early = run("edge-node", &enrol).expect_err("a fact is not at HQ").to_string();
    assert!(early.contains("HQ does not have 1 facts of this node yet"), "{early}");
    box_a.relay.set_cut(false);
    box_b = Copy::run(&copied)?;
    posted(&box_b.api)?;
    assert_eq!(doubtful()?, true, "there is more of it");
    box_b.node.stop()?;
    run("edge-node", &enrol)?;
    box_b = Copy::run(&copied)?;
    wait_for("the catalogue to arrive", PATIENCE, || {
        Ok((get(&box_b.api, "/v1/status")?["items"] == 1).then_some(()))
    })?;
    find_at(&box_b.api, "b-5", "A", "1000")?;
    let status = posted(&box_b.api)?;
    assert_eq!(status["last"], 1, "a log of its own: {status}");
    assert_eq!(hq.quantity()?, "1221");
    box_b.node.stop()?;
    // The box that was copied goes on as if nothing had happened.
    box_a.restart()?;
    find_at(&box_a.api, "a-3", "A", "10")?;
    box_a.wait_until_posted(PATIENCE)?;
    assert_eq!(hq.quantity()?, "1231");
    Ok(())
}
