//! A warehouse sees what becomes of its movements, as real processes: the voucher of each, and why one
//! waits at HQ until a person there does what is missing.

use std::time::Duration;

use serde_json::{Value, json};
use tests::demo::stage::{EdgeNode, Headquarters};
use tests::processes::{ProcessError, get, post, run, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

fn receive(api: &str, key: &str, currency: &str) -> Result<(), ProcessError> {
    let line = json!({
        "kind": "receipt", "item": "A", "quantity": "5", "price": "2.00", "currency": currency,
        "partner": "P",
    });
    let (status, answer) = post(api, "/v1/movements", &json!({ "key": key, "lines": [line] }))?;
    assert!(status < 300, "{status} {answer}");
    Ok(())
}

/// What the node's log says, once it says it of its three facts.
fn told(api: &str, what: &str, is: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>, ProcessError> {
    wait_for(what, PATIENCE, || {
        let page = get(api, "/v1/log")?;
        let facts = page["facts"].as_array().cloned().unwrap_or_default();
        Ok(is(&facts).then_some(facts))
    })
}

#[test]
fn the_keeper_sees_vouchers_and_what_waits() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    hq.command(&["partner", "add", "P", "Partner", "--supplier"])?;
    let code = hq.add_site("S", "Site")?;
    let mut node = EdgeNode::start(&folder.path().join("S"), &code, hq.link)?;
    node.wait_for_items(1)?;
    receive(&node.api, "1", "CNY")?;
    receive(&node.api, "2", "USD")?;
    receive(&node.api, "3", "CNY")?;

    let waits = |facts: &[Value]| facts.len() == 3 && facts[1]["progress"] == "waits";
    let facts = told(&node.api, "what waits at HQ", waits)?;
    assert!(facts[1]["waits_for"].as_str().is_some_and(|why| why.contains("USD")), "{facts:?}");
    let has = |fact: &Value| fact["voucher"].is_string();
    told(&node.api, "the vouchers", |facts| has(&facts[0]) && has(&facts[2]) && !has(&facts[1]))?;
    assert_eq!(get(&node.api, "/v1/status")?["set_aside"], 1);
    let data = node.data.to_str().expect("UTF-8");
    let shown = run("edge-node", &["--data", data, "log"])?;
    assert!(shown.contains("waits at HQ"), "{shown}");
    let status = run("hq-server", &["--data", hq.data.to_str().expect("UTF-8"), "status"])?;
    assert!(status.contains(" % lost"), "{status}");

    hq.command(&["rate", "set", "USD", "7.1", "--from", "2020-01-01", "--until", "2099-12-31"])?;
    // HQ is asked again about what waited when the node connects anew.
    node.stop()?;
    node.restart()?;
    let facts = told(&node.api, "all vouchers", |facts| facts.iter().all(has))?;
    let numbers: Vec<&str> =
        facts.iter().filter_map(|fact| fact["voucher"].as_str()?.rsplit('-').next()).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!((numbers.len(), sorted.len()), (3, 3), "a voucher each: {facts:?}");
    assert_eq!(get(&node.api, "/v1/status")?["set_aside"], 0);
    Ok(())
}
