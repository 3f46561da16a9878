//! Real processes that play the story: HQ, three edge nodes, a relay before each node.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::story::{
    CUT_OFF, DAYS, ITEMS, Mark, PARTNERS, RETURN, Recording, STOCKTAKE, TRANSFER, WAREHOUSES, fen,
};
use crate::processes::{self, ProcessError, Running, run, run_json, wait_for};
use crate::relay::Relay;

const PATIENCE: Duration = Duration::from_secs(60);

/// HQ's process and addresses.
#[derive(Debug)]
pub struct Headquarters {
    /// Its directory.
    pub data: PathBuf,
    /// The server.
    pub server: Running,
    /// Pages and API.
    pub api: String,
    /// Where sites connect.
    pub link: SocketAddr,
}

/// An edge node's process and address.
#[derive(Debug)]
pub struct EdgeNode {
    /// Its directory.
    pub data: PathBuf,
    /// The node.
    pub node: Running,
    /// Its local API.
    pub api: String,
    /// The relay between it and HQ.
    pub relay: Relay,
}

/// Everything that runs.
#[derive(Debug)]
pub struct Stage {
    /// HQ.
    pub hq: Headquarters,
    /// The nodes, as in [`WAREHOUSES`].
    pub nodes: Vec<EdgeNode>,
    marks: Vec<(Mark, Vec<String>)>,
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests and of the demo are UTF-8")
}

/// A line that finds goods at 2.00 each.
fn found(item: &str, quantity: &str) -> Value {
    json!({
        "kind": "adjustment", "item": item, "quantity": quantity, "price": "2.00", "reason": "found",
    })
}

fn record_at(api: &str, body: &Value) -> Result<Vec<String>, ProcessError> {
    let (code, answer) = processes::post(api, "/v1/movements", body)?;
    let captures = answer["captures"].as_array();
    let captures = captures
        .filter(|_| code < 300)
        .ok_or_else(|| ProcessError::Answer(format!("{code} for {body}: {answer}")))?;
    Ok(captures.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Goods are found, by the node whose API this is.
pub fn find_at(api: &str, key: &str, item: &str, quantity: &str) -> Result<(), ProcessError> {
    record_at(api, &json!({ "key": key, "lines": [found(item, quantity)] })).map(drop)
}

impl Headquarters {
    /// A company of its own in a folder: where nothing about it matters.
    pub fn of_a_company(folder: &Path) -> Result<Self, ProcessError> {
        let init = ["--company", "C", "--currency", "CNY", "--utc-offset", "+08:00"];
        Self::start(&folder.join("hq"), &init)
    }

    /// Makes a new installation and starts it.
    pub fn start(data: &Path, init: &[&str]) -> Result<Self, ProcessError> {
        let mut arguments = vec!["--data", text(data), "init"];
        arguments.extend(init);
        run("hq-server", &arguments)?;
        Self::run(data)
    }

    /// Starts an installation that exists, on free ports.
    pub fn run(data: &Path) -> Result<Self, ProcessError> {
        Self::run_at(data, "127.0.0.1:0", "127.0.0.1:0")
    }

    /// Starts it again where it was before, so that its sites find it.
    pub fn restart(&mut self) -> Result<(), ProcessError> {
        self.server.kill();
        *self = Self::run_at(&self.data, &self.api, &self.link.to_string())?;
        Ok(())
    }

    /// Another machine takes its place, with a backup, under the same addresses.
    pub fn restored(&mut self, backup: &Path, data: &Path) -> Result<(), ProcessError> {
        self.server.kill();
        run("hq-server", &["--data", text(data), "restore", text(backup)])?;
        *self = Self::run_at(data, &self.api, &self.link.to_string())?;
        Ok(())
    }

    fn run_at(data: &Path, api: &str, link: &str) -> Result<Self, ProcessError> {
        let running = data.join("running.json");
        drop(std::fs::remove_file(&running));
        let arguments = ["--data", text(data), "run", "--api", api, "--link", link];
        let log = data.with_extension("log");
        let mut server = Running::start("hq-server", &arguments, &log)?;
        let found = wait_for("HQ to start", PATIENCE, || {
            if !server.is_alive() {
                let printed = std::fs::read_to_string(&log).unwrap_or_default();
                let command = "hq-server run".to_owned();
                return Err(ProcessError::Failed { command, output: printed });
            }
            let text = std::fs::read(&running).ok();
            Ok(text.and_then(|text| serde_json::from_slice::<Value>(&text).ok()))
        })?;
        let address = |key: &str| {
            let text = found[key].as_str().unwrap_or_default().to_owned();
            text.parse::<SocketAddr>().map_err(|_| ProcessError::Answer(found.to_string()))
        };
        let (api, link) = (address("api")?.to_string(), address("link")?);
        wait_for("HQ to answer", PATIENCE, || {
            Ok(processes::get(&api, "/api/reports/dashboard").ok())
        })?;
        Ok(Self { data: data.to_owned(), server, api, link })
    }

    /// Runs one of its commands.
    pub fn command(&self, arguments: &[&str]) -> Result<Value, ProcessError> {
        let mut all = vec!["--data", text(&self.data)];
        all.extend(arguments);
        run_json("hq-server", &all)
    }

    /// Adds a site and returns its one-time code.
    pub fn add_site(&self, code: &str, title: &str) -> Result<String, ProcessError> {
        let added = self.command(&["site", "add", code, "--title", title])?;
        added["enrol"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| ProcessError::Answer(added.to_string()))
    }

    /// How much there is, by the first row of the stock report.
    pub fn quantity(&self) -> Result<String, ProcessError> {
        let stock = processes::get(&self.api, "/api/reports/stock")?;
        Ok(stock["rows"][0]["quantity"].as_str().unwrap_or_default().replace(',', ""))
    }
}

impl EdgeNode {
    /// Makes a node, enrols it and starts it.
    pub fn start(data: &Path, code: &str, hq: SocketAddr) -> Result<Self, ProcessError> {
        let relay = Relay::start(hq)?;
        let address = relay.address().to_string();
        let zone = ["--zone", "Asia/Shanghai"];
        let mut init = vec!["--data", text(data), "init", "--hq", &address];
        init.extend(zone);
        run("edge-node", &init)?;
        run("edge-node", &["--data", text(data), "enrol", code])?;
        let (node, api) = Self::run(data)?;
        Ok(Self { data: data.to_owned(), node, api, relay })
    }

    /// Starts a node that is enrolled; returns the process and its API's address.
    pub fn run(data: &Path) -> Result<(Running, String), ProcessError> {
        let address = data.join("api.addr");
        drop(std::fs::remove_file(&address));
        let log = data.with_extension("log");
        let mut node = Running::start("edge-node", &["--data", text(data), "run"], &log)?;
        let api = wait_for("the node to start", PATIENCE, || {
            if !node.is_alive() {
                let printed = std::fs::read_to_string(&log).unwrap_or_default();
                let command = "edge-node run".to_owned();
                return Err(ProcessError::Failed { command, output: printed });
            }
            Ok(std::fs::read_to_string(&address).ok().filter(|text| !text.trim().is_empty()))
        })?;
        Ok((node, api.trim().to_owned()))
    }

    /// kill -9 and start again.
    pub fn restart(&mut self) -> Result<(), ProcessError> {
        self.node.kill();
        (self.node, self.api) = Self::run(&self.data)?;
        Ok(())
    }

    /// Stops it in good order.
    pub fn stop(&mut self) -> Result<(), ProcessError> {
        self.node.stop()
    }

    /// How the node stands.
    pub fn status(&self) -> Result<Value, ProcessError> {
        processes::get(&self.api, "/v1/status")
    }

    /// Waits until the node knows `items` items.
    pub fn wait_for_items(&self, items: u64) -> Result<(), ProcessError> {
        wait_for("the catalogue to arrive", PATIENCE, || {
            Ok((self.status()?["items"].as_u64() >= Some(items)).then_some(()))
        })
    }

    /// Waits until all that the node recorded is posted at HQ.
    pub fn wait_until_posted(&self, limit: Duration) -> Result<Value, ProcessError> {
        wait_for("everything to be posted", limit, || {
            let status = self.status()?;
            Ok((status["last"] == status["posted"]).then_some(status))
        })
    }

    /// Records a group and returns its captures.
    pub fn record(&self, body: &Value) -> Result<Vec<String>, ProcessError> {
        record_at(&self.api, body)
    }

    /// Goods are found.
    pub fn find(&self, key: &str, item: &str, quantity: &str) -> Result<(), ProcessError> {
        find_at(&self.api, key, item, quantity)
    }

    /// One of item A is found, again and again, under the keys of these numbers.
    pub fn find_each(&self, numbers: RangeInclusive<u64>) -> Result<(), ProcessError> {
        let group =
            |number| json!({ "key": format!("movement-{number}"), "lines": [found("A", "1")] });
        let groups: Vec<Value> = numbers.map(group).collect();
        let (code, answer) =
            processes::post(&self.api, "/v1/batches", &json!({ "groups": groups }))?;
        let outcomes = answer["outcomes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let refused = outcomes.iter().find(|outcome| !outcome["error"].is_null());
        if code == 200 && refused.is_none() {
            return Ok(());
        }
        Err(ProcessError::Answer(format!("{code}: {refused:?}")))
    }
}

impl Stage {
    /// Starts HQ and the nodes under `root`, with master data.
    pub fn set(root: &Path, mut say: impl FnMut(&str)) -> Result<Self, ProcessError> {
        let init = [
            "--company",
            "HDSM",
            "--name",
            "华东商贸",
            "--currency",
            "CNY",
            "--utc-offset",
            "+08:00",
        ];
        let hq = Headquarters::start(&root.join("hq"), &init)?;
        say(&format!("HQ runs; dashboard: http://{}/", hq.api));
        for (code, name, unit, decimals, cost, _) in ITEMS {
            let (decimals, cost) = (decimals.to_string(), fen(cost));
            let options = ["--unit", unit, "--decimals", &decimals, "--cost", &cost];
            let mut arguments = vec!["item", "add", code, name];
            arguments.extend(options);
            hq.command(&arguments)?;
        }
        for (code, name, customer, supplier) in PARTNERS {
            let mut arguments = vec!["partner", "add", code, name];
            arguments.extend(customer.then_some("--customer"));
            arguments.extend(supplier.then_some("--supplier"));
            hq.command(&arguments)?;
        }
        hq.command(&["policy", "set", "backdating_days", "60"])?;
        let mut nodes = Vec::new();
        for warehouse in WAREHOUSES {
            let code = hq.add_site(warehouse.code, warehouse.name)?;
            let node = EdgeNode::start(&root.join(warehouse.code), &code, hq.link)?;
            say(&format!("{} {} is enrolled and runs", warehouse.code, warehouse.name));
            nodes.push(node);
        }
        for node in &nodes {
            node.wait_for_items(ITEMS.len() as u64)?;
        }
        Ok(Self { hq, nodes, marks: Vec::new() })
    }

    /// Plays the month.
    pub fn play(
        &mut self,
        story: &[Recording],
        mut say: impl FnMut(&str),
    ) -> Result<(), ProcessError> {
        let cut_off = WAREHOUSES[CUT_OFF.0].name;
        for day in 0..DAYS {
            if day == CUT_OFF.1 {
                self.nodes[CUT_OFF.0].relay.set_cut(true);
                say(&format!("day {day}: {cut_off} loses its link and goes on recording"));
            }
            if day == CUT_OFF.2 {
                self.show_waiting(&mut say)?;
                self.nodes[CUT_OFF.0].relay.set_cut(false);
                say(&format!("day {day}: the link of {cut_off} is back"));
            }
            for recording in story.iter().filter(|recording| recording.day == day) {
                let captures = self.nodes[recording.site].record(&recording.body)?;
                if let Some(mark) = recording.mark {
                    self.marks.push((mark, captures));
                }
            }
            self.answers(story, day, &mut say)?;
        }
        Ok(())
    }

    fn show_waiting(&self, say: &mut impl FnMut(&str)) -> Result<(), ProcessError> {
        let status = self.nodes[CUT_OFF.0].status()?;
        say(&format!(
            "{} holds {} movements that HQ has not seen",
            WAREHOUSES[CUT_OFF.0].name, status["waiting"]
        ));
        Ok(())
    }

    fn captures(&self, wanted: Mark) -> &[String] {
        let found = self.marks.iter().find(|(mark, _)| *mark == wanted);
        found.map_or(&[], |(_, captures)| captures.as_slice())
    }

    /// What refers to earlier steps: the transfer's arrival, the return, invoice and payment.
    fn answers(
        &self,
        story: &[Recording],
        day: i32,
        say: &mut impl FnMut(&str),
    ) -> Result<(), ProcessError> {
        let marked = |mark| {
            let found = story.iter().find(|recording| recording.mark == Some(mark));
            found.expect("every mark is in the story")
        };
        if day == TRANSFER.1 {
            let ship = self.captures(Mark::Ship);
            self.receive(marked(Mark::Ship), ship, day)?;
            say(&format!("day {day}: the transfer arrives at {}", WAREHOUSES[1].name));
        }
        if day == RETURN {
            let sale = &marked(Mark::ReturnedSale).body["lines"][0];
            let line = json!({
                "kind": "customer_return", "item": sale["item"], "quantity": "1",
                "price": sale["price"], "partner": sale["partner"],
                "refers_to": self.captures(Mark::ReturnedSale)[0],
            });
            self.nodes[1].record(&json!({ "key": "demo-return", "lines": [line] }))?;
            say(&format!("day {day}: a customer brings goods back"));
        }
        if day == STOCKTAKE {
            say(&format!("day {day}: every warehouse takes stock"));
        }
        match day {
            17 => self.invoice(marked(Mark::InvoicedReceipt), say),
            24 => self.payment(marked(Mark::PaidSale), say),
            _ => Ok(()),
        }
    }

    fn receive(&self, ship: &Recording, captures: &[String], day: i32) -> Result<(), ProcessError> {
        let site = &self.nodes[1];
        let lines: Vec<Value> = ship.body["lines"]
            .as_array()
            .into_iter()
            .flatten()
            .zip(captures)
            .map(|(line, capture)| {
                json!({
                    "kind": "transfer_receive", "item": line["item"],
                    "quantity": line["quantity"], "refers_to": capture,
                })
            })
            .collect();
        wait_for("the transfer to be announced", PATIENCE, || {
            Ok((site.status()?["open_transfers"].as_u64() >= Some(2)).then_some(()))
        })?;
        let shipped = ship.body["occurred_at"].as_str().unwrap_or_default();
        let first: shared::time::Day = shipped
            .get(..10)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ProcessError::Answer(shipped.to_owned()))?;
        let arrived = shared::time::Day(first.0 + day - TRANSFER.0);
        let body = json!({
            "key": "demo-receive", "lines": lines,
            "occurred_at": format!("{arrived}T10:00:00+08:00"),
        });
        site.record(&body).map(drop)
    }

    /// The supplier asks for 4 % more than the receipt said.
    fn invoice(&self, receipt: &Recording, say: &mut impl FnMut(&str)) -> Result<(), ProcessError> {
        self.nodes[0].wait_until_posted(PATIENCE)?;
        let captures = self.captures(Mark::InvoicedReceipt);
        let lines = receipt.body["lines"].as_array().into_iter().flatten();
        let mut arguments = vec!["invoice".to_owned(), "supplier".to_owned()];
        arguments.push(receipt.body["lines"][0]["partner"].as_str().unwrap_or("?").to_owned());
        for (line, capture) in lines.zip(captures) {
            let price = shared::decimal::parse(line["price"].as_str().unwrap_or_default());
            let price = price.ok().and_then(|price| price.units(2).ok()).unwrap_or(0);
            arguments.push("--line".to_owned());
            arguments.push(format!("{capture}@{}", fen(price * 104 / 100)));
        }
        arguments.extend(["--document".to_owned(), "INV-7001".to_owned()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.hq.command(&arguments)?;
        say("day 17: the supplier's invoice is 4 % above the receipt");
        Ok(())
    }

    fn payment(&self, sale: &Recording, say: &mut impl FnMut(&str)) -> Result<(), ProcessError> {
        self.nodes[0].wait_until_posted(PATIENCE)?;
        let total: i64 = sale.body["lines"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|line| {
                let figure = |key: &str, decimals| {
                    shared::decimal::parse(line[key].as_str()?).ok()?.units(decimals).ok()
                };
                Some(figure("quantity", 0)? * figure("price", 2)?)
            })
            .sum();
        let customer = sale.body["lines"][0]["partner"].as_str().unwrap_or("?");
        let settles = format!("{}={}", self.captures(Mark::PaidSale)[0], fen(total));
        let amount = fen(total);
        self.hq.command(&["payment", "in", customer, &amount, "--for", &settles])?;
        say(&format!("day 24: {customer} pays {amount}"));
        Ok(())
    }

    /// Waits until HQ has posted everything.
    pub fn catch_up(&self) -> Result<(), ProcessError> {
        for node in &self.nodes {
            node.wait_until_posted(Duration::from_secs(120))?;
        }
        Ok(())
    }
}
