//! Warehouses on one local network, real processes in network namespaces: nodes that nobody told of
//! each other find each other, and one that does not reach HQ has its log carried. Nobody is met for
//! what it announces.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::namespaces::{Namespaces, OUTSIDE};
use tests::processes::{Place, ProcessError, Running, run, run_at, run_json_at, wait_for};

/// Where HQ is, for everybody on the network.
const HQ: &str = "198.18.1.1:7420";
/// Another company's HQ on the same machine.
const OTHER_HQ: &str = "198.18.1.1:7520";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(250);

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// A program with its folder, in a network.
struct Installed {
    program: &'static str,
    data: PathBuf,
    place: Place,
    process: Option<Running>,
}

impl Installed {
    fn new(program: &'static str, data: PathBuf, place: Place) -> Self {
        Self { program, data, place, process: None }
    }

    fn start(&mut self, more: &[&str], ready: &str) -> Result<(), ProcessError> {
        let (ready, log) = (self.data.join(ready), self.data.with_extension("log"));
        drop(std::fs::remove_file(&ready));
        let arguments = [&["--data", text(&self.data), "run"], more].concat();
        let process = Running::start_at(&self.place, self.program, &arguments, &log)?;
        let process = self.process.insert(process);
        wait_for("the program to start", PATIENCE, || {
            let printed = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.is_alive(), "{}", printed());
            Ok(ready.exists().then_some(()))
        })?;
        wait_for("the program to answer", PATIENCE, || Ok(self.ask(&["status"]).ok().map(drop)))
    }

    fn ask(&self, command: &[&str]) -> Result<Value, ProcessError> {
        run_json_at(&self.place, self.program, &[&["--data", text(&self.data)], command].concat())
    }

    fn stop(&mut self) -> Result<(), ProcessError> {
        self.process.take().map_or(Ok(()), |mut process| process.stop())
    }

    /// HQ of a company of its own.
    fn headquarters(data: PathBuf, place: Place, link: &str) -> Result<Self, ProcessError> {
        let init = ["--company", "C", "--currency", "CNY", "--utc-offset", "+08:00"];
        run("hq-server", &[&["--data", text(&data), "init"][..], &init].concat())?;
        let mut hq = Self::new("hq-server", data, place);
        hq.start(&["--api", "127.0.0.1:0", "--link", link], "running.json")?;
        hq.ask(&["item", "add", "A", "Article"])?;
        Ok(hq)
    }

    /// A node of a new site, that looks for neighbours; it is named nobody.
    fn node(&self, site: &str, place: Place, hq: &str) -> Result<Self, ProcessError> {
        let data = self.data.with_file_name(site);
        let added = self.ask(&["site", "add", site, "--title", site])?;
        let code = added["enrol"].as_str().unwrap_or_default().to_owned();
        run("edge-node", &["--data", text(&data), "init", "--hq", hq])?;
        set(&data, "discover = false", "discover = true")?;
        set(&data, "after_seconds = 60", "after_seconds = 1")?;
        run_at(&place, "edge-node", &["--data", text(&data), "enrol", &code])?;
        let mut node = Self::new("edge-node", data, place);
        node.start(&[], "api.addr")?;
        Ok(node)
    }

    /// Who it found, by the name that each announces.
    fn found(&self, name: &str) -> Result<Option<Value>, ProcessError> {
        let status = self.ask(&["status"])?;
        let found = status["neighbours"]["discovery"]["found"].as_array().into_iter().flatten();
        Ok(found.into_iter().find(|each| each["name"] == name).cloned())
    }

    fn announced_as(&self) -> Result<String, ProcessError> {
        let status = self.ask(&["status"])?;
        let name = status["neighbours"]["discovery"]["name"].as_str();
        name.map(str::to_owned).ok_or_else(|| ProcessError::Answer(status.to_string()))
    }

    fn wait_for_items(&self, items: u64) -> Result<(), ProcessError> {
        wait_for("the catalogue", PATIENCE, || {
            std::thread::park_timeout(LOOK);
            Ok((self.ask(&["status"])?["items"] == items).then_some(()))
        })
    }
}

/// Changes the operator's file.
fn set(data: &Path, before: &str, after: &str) -> Result<(), ProcessError> {
    let file = data.join("node.toml");
    let now = std::fs::read_to_string(&file)?;
    assert!(now.contains(before), "{before:?} is not in {now}");
    Ok(std::fs::write(&file, now.replace(before, after))?)
}

fn waits<T>(
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>, ProcessError>,
) -> Result<T, ProcessError> {
    wait_for(what, PATIENCE, || {
        std::thread::park_timeout(LOOK);
        look()
    })
}

#[test]
fn nodes_of_one_network_find_each_other_and_meet_whom_hq_allows() -> Result<(), ProcessError> {
    let Some(namespaces) = Namespaces::make_or_skip("discovery")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let (one, other) = (|| namespaces.between(), || namespaces.edge());
    let hq = Installed::headquarters(folder.path().join("hq"), one(), HQ)?;
    let other_hq = Installed::headquarters(folder.path().join("other/hq"), one(), OTHER_HQ)?;
    let mut near = hq.node("NEAR", one(), HQ)?;
    let mut far = hq.node("FAR", other(), HQ)?;
    let odd = hq.node("ODD", one(), HQ)?;
    let stranger = other_hq.node("STRANGER", one(), OTHER_HQ)?;
    hq.ask(&["site", "carry", "FAR", "--by", "NEAR"])?;
    hq.ask(&["item", "add", "Z", "The last one"])?;
    [&near, &far, &odd].iter().try_for_each(|node| node.wait_for_items(2))?;

    // From here on FAR does not reach HQ, and nothing but the network tells it who is there.
    far.stop()?;
    set(&far.data, &format!("address = \"{HQ}\""), "address = \"198.18.1.1:9\"")?;
    far.start(&[], "api.addr")?;
    let movement = ["record", "adjustment", "A=7@2.00", "--reason", "found"];
    far.ask(&movement)?;
    waits("NEAR to carry FAR's log to HQ and its answer back", || {
        Ok((far.ask(&["status"])?["posted"] == 1).then_some(()))
    })?;
    let status = hq.ask(&["status"])?;
    let mut logs = status["logs"].as_array().into_iter().flatten();
    let log = logs.find(|log| log["code"] == "FAR").expect("the site is known");
    assert_eq!(log["bundle_by"], "NEAR", "{log}");

    let met = far.found(&near.announced_as()?)?.expect("it carried for FAR");
    assert_eq!((&met["connected"], &met["site"]), (&true.into(), &"NEAR".into()), "{met}");
    let address = met["addresses"][0].as_str().unwrap_or_default();
    assert!(!OUTSIDE.contains(address) && !address.ends_with(":7421"), "a free port: {met}");
    let said = run_at(&far.place, "edge-node", &["--data", text(&far.data), "status"])?;
    assert!(said.contains(&format!("{address} (NEAR) connected, discovered")), "{said}");

    // Both are announced like any node. What they show when they are asked decides.
    for (who, site, why) in [(&odd, "ODD", "site carry"), (&stranger, "", "does not answer")] {
        let name = who.announced_as()?;
        let met = waits("the other one to be tried", || {
            Ok(far.found(&name)?.filter(|found| found["problem"].is_string()))
        })?;
        assert_eq!(met["connected"], false, "{met}");
        assert_eq!(met["site"].as_str().unwrap_or_default(), site, "{met}");
        assert!(met["problem"].as_str().unwrap_or_default().contains(why), "{met}");
    }

    let name = near.announced_as()?;
    near.stop()?;
    waits("NEAR to be gone", || Ok(far.found(&name)?.is_none().then_some(())))
}

#[test]
fn a_node_without_multicast_says_so_and_records_all_the_same() -> Result<(), ProcessError> {
    let Some(namespaces) = Namespaces::make_or_skip("silent")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let hq = Installed::headquarters(folder.path().join("hq"), namespaces.between(), HQ)?;
    let mut node = hq.node("S", namespaces.edge(), HQ)?;
    node.wait_for_items(1)?;
    node.stop()?;
    namespaces.silence_edge()?;
    node.start(&[], "api.addr")?;
    waits("the node to say so", || {
        let status = node.ask(&["status"])?;
        let problem = status["neighbours"]["discovery"]["problem"].as_str().unwrap_or_default();
        Ok(problem.contains("does not hear its own announcement").then_some(()))
    })?;
    node.ask(&["record", "adjustment", "A=7@2.00", "--reason", "found"])?;
    let log = std::fs::read_to_string(node.data.with_extension("log"))?;
    assert_eq!(log.matches("neighbours are not discovered").count(), 1, "{log}");
    Ok(())
}
