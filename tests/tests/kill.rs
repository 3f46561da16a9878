//! kill -9 of the edge node or of HQ, fifty times while movements are recorded and synced: every
//! acknowledged movement is posted exactly once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tests::demo::stage::{EdgeNode, Headquarters};
use tests::processes::{ProcessError, get, post, wait_for};
use tests::random::Random;

const KILLS: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// A keeper who records one movement after the other and asks again until it is acknowledged.
struct Keeper {
    api: Mutex<String>,
    acknowledged: AtomicU64,
    ended: AtomicBool,
}

impl Keeper {
    fn work(&self) -> u64 {
        let mut number = 0;
        while !self.ended.load(Ordering::Relaxed) {
            number += 1;
            let body = json!({
                "key": format!("movement-{number}"),
                "lines": [{
                    "kind": "adjustment", "item": "A", "quantity": "1", "price": "2.00",
                    "reason": "found",
                }],
            });
            while !self.ask(&body) {}
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        number
    }

    fn ask(&self, body: &serde_json::Value) -> bool {
        let api = self.api.lock().expect("no holder panics").clone();
        match post(&api, "/v1/movements", body) {
            Ok((200 | 201, _)) => true,
            Ok((status, answer)) => {
                assert!(status >= 500, "a movement is refused: {status} {answer}");
                false
            }
            // The node is down: ask where it listens after its restart.
            Err(_) => false,
        }
    }
}

fn figure(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().replace(',', "")
}

#[test]
fn every_acknowledged_movement_is_posted_exactly_once() -> Result<(), ProcessError> {
    let folder = tempfile::tempdir()?;
    let mut hq = Headquarters::of_a_company(folder.path())?;
    hq.command(&["item", "add", "A", "Article"])?;
    let code = hq.add_site("S", "Site")?;
    let mut node = EdgeNode::start(&folder.path().join("S"), &code, hq.link)?;
    node.wait_for_items(1)?;

    let keeper = Arc::new(Keeper {
        api: Mutex::new(node.api.clone()),
        acknowledged: AtomicU64::new(0),
        ended: AtomicBool::new(false),
    });
    let worker = std::thread::spawn({
        let keeper = keeper.clone();
        move || keeper.work()
    });
    let mut random = Random::new(7);
    for _ in 0..KILLS {
        // Kills fall between, before and inside commits: some movements after the last one.
        let until = keeper.acknowledged.load(Ordering::Relaxed) + 1 + random.below(25);
        wait_for("movements to be recorded", PATIENCE, || {
            Ok((keeper.acknowledged.load(Ordering::Relaxed) >= until).then_some(()))
        })?;
        if random.below(2) == 0 {
            node.restart()?;
            keeper.api.lock().expect("no holder panics").clone_from(&node.api);
        } else {
            hq.restart()?;
        }
    }
    keeper.ended.store(true, Ordering::Relaxed);
    let recorded = worker.join().expect("the keeper does not panic");

    let status = node.wait_until_posted(PATIENCE)?;
    assert_eq!(status["last"], recorded, "every key stands in the log once");
    let stock = get(&hq.api, "/api/reports/stock")?;
    let row = &stock["rows"][0];
    assert_eq!(figure(&row["quantity"]), recorded.to_string());
    assert_eq!(figure(&row["value"]), format!("{}.00", recorded * 2));
    assert_eq!(figure(&stock["tie"]["difference"]).trim_end_matches(['0', '.']), "");
    Ok(())
}
