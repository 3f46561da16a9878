//! An edge node and HQ, each in a network of its own, and a relay between them that is as bad as the
//! networks of warehouses: whatever it does, every movement is posted exactly once.
//!
//! `WAREBOOK_MOVEMENTS=100000 cargo test -p tests --test bad_network -- --nocapture` is the whole test:
//! so many movements, and the link's times as they are. Without it there are fewer, and times are shorter.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::namespaces::{EDGE, HQ, Namespaces, OUTSIDE, RELAY};
use tests::processes::{ProcessError, Running, run, run_at, run_json_at, wait_for};
use tests::random::Random;

const ITEMS: u64 = 10;
/// A whole run may take its time; a short one that takes so long is stuck.
fn patience() -> Duration {
    Duration::from_secs(if whole().is_some() { 1_800 } else { 90 })
}

const LOOK: Duration = Duration::from_millis(250);

const MAP: &str = r#"
version = 1
name = "bad-network"
[key]
columns = ["number"]
[time]
column = "time"
format = "%Y-%m-%d %H:%M:%S"
zone = "UTC"
[kind]
constant = "production_in"
[fields]
item = { column = "item" }
unit = { constant = "EA" }
quantity = { column = "quantity" }
price = { constant = "2.00" }
currency = { constant = "CNY" }
"#;

/// The whole test, where somebody asked for it.
fn whole() -> Option<u64> {
    std::env::var("WAREBOOK_MOVEMENTS").ok()?.parse().ok()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// What takes part in one test.
struct Stage {
    namespaces: Namespaces,
    folder: tempfile::TempDir,
    hq: Running,
    relay: Option<Running>,
    node: Option<Running>,
}

impl Stage {
    /// Nothing where this machine makes no namespaces; then it is said.
    fn set(name: &str) -> Result<Option<Self>, ProcessError> {
        let Some(namespaces) = Namespaces::make_or_skip(name)? else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("hq");
        let init = ["--company", "C", "--currency", "CNY", "--utc-offset", "+08:00"];
        run("hq-server", &[&["--data", text(&data), "init"][..], &init].concat())?;
        let arguments = ["--data", text(&data), "run", "--api", "127.0.0.1:0", "--link", HQ];
        let log = data.with_extension("log");
        let hq = Running::start_at(&namespaces.hq(), "hq-server", &arguments, &log)?;
        let mut stage = Self { namespaces, folder, hq, relay: None, node: None };
        wait_for("HQ to start", patience(), || {
            let started = data.join("running.json").exists();
            let answers = started && stage.at_hq(&["status"]).is_ok();
            assert!(stage.hq.is_alive(), "{}", stage.log("hq"));
            Ok(answers.then_some(()))
        })?;
        for item in 1..=ITEMS {
            stage.at_hq(&["item", "add", &format!("A{item}"), &format!("Article {item}")])?;
        }
        Ok(Some(stage))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name).with_extension("log")).unwrap_or_default()
    }

    fn at_hq(&self, command: &[&str]) -> Result<Value, ProcessError> {
        let data = self.path("hq");
        run_json_at(
            &self.namespaces.hq(),
            "hq-server",
            &[&["--data", text(&data)], command].concat(),
        )
    }

    fn at_node(&self, command: &[&str]) -> Result<Value, ProcessError> {
        let data = self.path("node");
        let command = [&["--data", text(&data)], command].concat();
        run_json_at(&self.namespaces.edge(), "edge-node", &command)
    }

    fn between(&mut self, conditions: &[&str]) -> Result<(), ProcessError> {
        let ways = ["--listen", RELAY, "--hq", HQ, "--outside", OUTSIDE];
        let log = self.path("relay").with_extension("log");
        let arguments = [&ways[..], conditions].concat();
        let relay = Running::start_at(&self.namespaces.between(), "relay", &arguments, &log)?;
        self.relay = Some(relay);
        wait_for("the relay to listen", patience(), || {
            Ok(self.log("relay").contains("listening").then_some(()))
        })
    }

    /// Enrols the node over the network as it is, and starts it with a profile.
    fn start_node(&mut self, network: &str) -> Result<(), ProcessError> {
        let added = self.at_hq(&["site", "add", "S", "--title", "Site"])?;
        let code = added["enrol"].as_str().unwrap_or_default().to_owned();
        let data = self.path("node");
        let init = ["--data", text(&data), "init", "--hq", RELAY, "--network", network];
        run("edge-node", &init)?;
        let enrol = ["--data", text(&data), "enrol", &code];
        // A link that is down for a while is tried again, as a person would.
        wait_for("the node to be enrolled", patience(), || {
            Ok(run_at(&self.namespaces.edge(), "edge-node", &enrol).ok())
        })?;
        let arguments = ["--data", text(&data), "run"];
        let log = data.with_extension("log");
        let place = self.namespaces.edge();
        self.node = Some(Running::start_at(&place, "edge-node", &arguments, &log)?);
        // Until then a command would open the folder itself, and the node would not have it.
        wait_for("the node to start", patience(), || {
            Ok(self.path("node").join("api.addr").exists().then_some(()))
        })?;
        wait_for("the catalogue", patience(), || {
            std::thread::park_timeout(LOOK);
            let items = self.at_node(&["status"]).ok().and_then(|status| status["items"].as_u64());
            Ok((items == Some(ITEMS)).then_some(()))
        })
    }

    /// Records so many movements; what each item has afterwards.
    fn record(&self, movements: u64) -> Result<Vec<u64>, ProcessError> {
        let mut rows = "number,time,item,quantity\n".to_owned();
        let (mut random, mut after) = (Random::new(movements), 0);
        let yesterday = jiff::Timestamp::now() - jiff::Span::new().hours(24);
        let mut expected = vec![0; usize::try_from(ITEMS).expect("few")];
        for number in 0..movements {
            let (item, quantity) = (random.below(ITEMS), random.below(18) + 1);
            after += random.between(0, 1_400);
            let time = yesterday + jiff::Span::new().milliseconds(after);
            let time = time.strftime("%Y-%m-%d %H:%M:%S");
            writeln!(rows, "{number},{time},A{},{quantity}", item + 1).expect("a string");
            expected[usize::try_from(item).expect("few")] += quantity;
        }
        let (map, file) = (self.path("map.toml"), self.path("rows.csv"));
        std::fs::write(&map, MAP)?;
        std::fs::write(&file, rows)?;
        let rejects = self.path("rejects.csv");
        self.at_node(&["import", "--map", text(&map), "--rejects", text(&rejects), text(&file)])?;
        Ok(expected)
    }

    /// Waits until HQ has posted everything, and compares count and stock.
    fn arrives(&self, movements: u64, expected: &[u64]) -> Result<(), ProcessError> {
        wait_for("everything to be posted", patience(), || {
            std::thread::park_timeout(LOOK);
            let status = self.at_node(&["status"])?;
            let (last, posted) = (&status["last"], &status["posted"]);
            Ok((*last == movements && posted == last).then_some(()))
        })?;
        let stock = self.at_hq(&["report", "stock"])?;
        for (item, expected) in (1..).zip(expected) {
            let rows = stock["rows"].as_array().into_iter().flatten();
            let mut of_item = rows.filter(|row| row["item"]["code"] == format!("A{item}"));
            let row = of_item.next().expect("every item has stock");
            let figure = |key: &str| row[key].as_str().unwrap_or_default().replace(',', "");
            assert_eq!(figure("quantity"), expected.to_string(), "{row}");
            assert_eq!(figure("value"), format!("{}.00", expected * 2), "{row}");
        }
        let status = self.at_hq(&["status"])?;
        let logs = status["logs"].as_array().into_iter().flatten();
        let log = logs.into_iter().find(|log| log["code"] == "S").expect("the site is known");
        assert_eq!((&log["received"], &log["posted"]), (&movements.into(), &movements.into()));
        Ok(())
    }

    /// How often HQ let the node in.
    fn connections(&self) -> usize {
        self.log("hq").lines().filter(|line| line.contains(" connected ")).count()
    }

    fn tell(&self, what: &str, movements: u64, started: Instant) {
        let passed = self.log("relay");
        eprintln!(
            "{what}: {movements} movements in {:?}, {} connections, {}",
            started.elapsed(),
            self.connections(),
            passed.lines().last().unwrap_or_default(),
        );
    }
}

#[test]
fn a_satellite_in_a_storm() -> Result<(), ProcessError> {
    let Some(mut stage) = Stage::set("storm")? else { return Ok(()) };
    let movements = whole().unwrap_or(2_000);
    let storm = ["--delay", "295", "--jitter", "10", "--lost", "300", "--doubled", "10"];
    stage.between(&[&storm[..], &["--rate", "2000"]].concat())?;
    stage.start_node("auto")?;
    let started = Instant::now();
    let expected = stage.record(movements)?;
    stage.arrives(movements, &expected)?;
    stage.tell("600 ms, 30 % lost, 2 Mbit/s", movements, started);
    Ok(())
}

#[test]
fn a_phone_whose_address_changes() -> Result<(), ProcessError> {
    let Some(mut stage) = Stage::set("phone")? else { return Ok(()) };
    let (movements, moves_every) = whole().map_or((4_000, "1500"), |whole| (whole, "4000"));
    let phone = ["--delay", "100", "--jitter", "20", "--lost", "20", "--rate", "128"];
    stage.between(&[&phone[..], &["--moves-every", moves_every]].concat())?;
    stage.start_node("normal")?;
    let started = Instant::now();
    let before = stage.connections();
    let expected = stage.record(movements)?;
    // The machine itself gets another address, too.
    stage.namespaces.move_edge(EDGE[0], EDGE[1])?;
    stage.arrives(movements, &expected)?;
    stage.tell("128 kbit/s, 2 % lost, moving", movements, started);
    assert_eq!(stage.connections(), before, "another address begins nothing anew");
    let moved = stage.log("hq");
    assert!(
        stage.log("relay").lines().last().is_some_and(|line| !line.ends_with(" 0 moves")),
        "{moved}"
    );
    Ok(())
}

#[test]
fn a_link_that_is_there_now_and_then() -> Result<(), ProcessError> {
    let Some(mut stage) = Stage::set("sometimes")? else { return Ok(()) };
    let (movements, [up, every], rate) =
        whole().map_or((6_000, ["4000", "8000"], "48"), |whole| (whole, ["20000", "120000"], "64"));
    // So thin that one time of it is not enough.
    let thin = ["--delay", "50", "--lost", "10", "--rate", rate];
    stage.between(&[&thin[..], &["--up", up, "--every", every]].concat())?;
    stage.start_node("auto")?;
    let started = Instant::now();
    let expected = stage.record(movements)?;
    stage.arrives(movements, &expected)?;
    stage.tell(&format!("up {up} of every {every} ms"), movements, started);
    Ok(())
}
