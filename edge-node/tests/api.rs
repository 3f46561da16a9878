//! The local API over a real socket: records, answers, refuses, and lets in whom it should.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use common::{NOON, bundles, create, documents, hq_key, log_key, recorder, teach};
use edge_node::api::{self, Api};
use edge_node::journal::{FixedClock, Journal};
use edge_node::link::{LinkStatus, questions};
use serde_json::{Value, json};
use shared::ids::{HistoryId, Seq};
use shared::sync::bundle::{BundleHead, BundleScan, BundleWriter, Direction, Seed};
use shared::sync::{Acknowledgement, Frame, Given, Welcome};

struct Server {
    address: SocketAddr,
    journal: Journal,
    runtime: tokio::runtime::Runtime,
    agent: ureq::Agent,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = FixedClock::at(NOON);
        let journal = create(&folder.path().join("journal.redb"), &clock);
        teach(&journal, common::master_data());
        let (_, link) = tokio::sync::watch::channel(LinkStatus::default());
        let api = Api {
            recorder: recorder(&journal, &clock),
            bundles: bundles(&journal),
            documents: documents(&folder.path().join("documents.redb"), &journal),
            link,
            neighbours: None,
            hq: questions().0,
            backups: folder.path().join("backups"),
            folder: folder.path().to_owned(),
            token: token.map(Arc::from),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move { axum::serve(listener, api::router(api)).await });
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { address, journal, runtime, agent, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let mut answer = self.agent.get(self.url(path)).call().expect("answers");
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or(Value::Null))
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.post(self.url(path));
        // A body that nobody reads makes the server close the connection, which is used again.
        let answer = if body.is_null() { request.send_empty() } else { request.send_json(body) };
        let mut answer = answer.expect("answers");
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or(Value::Null))
    }
}

fn receipt() -> Value {
    json!({ "key": "r-1", "lines": [
        { "kind": "receipt", "item": "PEN", "quantity": "2", "unit": "box", "price": "38.40", "partner": "SUPP" },
        { "kind": "receipt", "item": "INK", "quantity": "0.750", "price": "40", "partner": "SUPP" },
    ]})
}

#[test]
fn a_movement_goes_in_and_is_seen() {
    let server = Server::start(None);
    let (status, recorded) = server.post("/v1/movements", &receipt());
    assert_eq!((status, &recorded["captures"]), (201, &json!(["5-1", "5-2"])));
    assert_eq!(recorded["recorded_at"], "2026-11-24T20:00:00+08:00");
    let (status, again) = server.post("/v1/movements", &receipt());
    assert_eq!((status, &again["captures"]), (200, &recorded["captures"]));
    assert_eq!(again["already_recorded"], true);
    let mut other = receipt();
    other["lines"][0]["quantity"] = json!("3");
    let (status, problem) = server.post("/v1/movements", &other);
    assert_eq!((status, problem["error"]["code"].as_str()), (409, Some("key_reused")));

    let (_, stock) = server.get("/v1/stock");
    let on_hand: Vec<_> = stock
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| (&line["item"], &line["on_hand"]))
        .collect();
    assert_eq!(on_hand, [(&json!("INK"), &json!("0.750")), (&json!("PEN"), &json!("24"))]);
    let (_, only) = server.get("/v1/stock?item=PEN");
    assert_eq!(only.as_array().map(Vec::len), Some(1));
    let (_, page) = server.get("/v1/log?count=1");
    assert_eq!((page["last"].as_u64(), page["facts"][0]["seq"].as_u64()), (Some(2), Some(2)));
    assert_eq!(
        (&page["facts"][0]["item"], &page["facts"][0]["price"]),
        (&json!("INK"), &json!("40"))
    );
    assert_eq!(page["facts"][0]["progress"], "recorded");
    let (_, status) = server.get("/v1/status");
    assert_eq!((status["last"].as_u64(), status["waiting"].as_u64()), (Some(2), Some(2)));
    assert_eq!((&status["site"], &status["link"]["state"]), (&json!("S3"), &json!("waiting")));
    let (_, items) = server.get("/v1/items?search=pe");
    assert_eq!(items[0]["units"], json!(["EA", "box"]));
    let (status, verified) = server.post("/v1/verify", &json!(null));
    assert_eq!((status, verified["facts"].as_u64()), (200, Some(2)));
    let (status, backup) = server.post("/v1/backups", &json!(null));
    assert_eq!((status, backup["last"].as_u64()), (201, Some(2)));
    let document = server.agent.get(server.url("/v1/documents/0")).call().expect("answers");
    let bytes = document.into_body().read_to_vec().expect("reads");
    assert!(automerge::Automerge::load(&bytes).is_ok());
    assert_eq!(server.get("/v1/documents/7").0, 404);
    assert_eq!(server.get("/readyz").0, 200);
    server.runtime.shutdown_background();
    server.journal.close_blocking().expect("closes");
}

#[test]
fn what_is_refused_says_why() {
    let server = Server::start(None);
    let body = json!({ "lines": [{ "kind": "count", "item": "PEN", "quantity": "1" },
        { "kind": "count", "item": "PENCIL", "quantity": "1" }]});
    let (status, problem) = server.post("/v1/movements", &body);
    let error = &problem["error"];
    assert_eq!((status, &error["code"], &error["line"]), (422, &json!("unknown_item"), &json!(2)));
    for (body, status, code) in [
        (json!({ "lines": [] }), 422, "group_size"),
        (json!({ "key": "", "lines": [] }), 422, "bad_key"),
        (json!({ "line": [] }), 422, "bad_request"),
        (
            json!({ "lines": [{ "kind": "count", "item": "PEN", "quantity": 1 }] }),
            422,
            "bad_request",
        ),
        (json!({ "lines": [], "occurred_at": "today" }), 422, "bad_request"),
    ] {
        let (found, problem) = server.post("/v1/movements", &body);
        assert_eq!((found, problem["error"]["code"].as_str()), (status, Some(code)), "{body}");
    }
    let (status, batch) =
        server.post("/v1/batches", &json!({ "groups": [receipt(), body, receipt()] }));
    assert_eq!(status, 200);
    let outcomes = batch["outcomes"].as_array().expect("a list");
    assert_eq!(outcomes[0]["recorded"]["already_recorded"], false);
    assert_eq!(outcomes[1]["error"]["code"], "unknown_item");
    assert_eq!(outcomes[2]["recorded"]["already_recorded"], true);
    assert_eq!(server.get("/v1/nothing").0, 404);
    server.runtime.shutdown_background();
    server.journal.close_blocking().expect("closes");
}

/// HQ's answer to a journal: it has and posted everything.
fn answer(journal: &Journal) -> Vec<u8> {
    let (received, log, history) = (journal.position(), journal.log(), HistoryId([6; 32]));
    let head = BundleHead {
        direction: Direction::FromHq,
        history,
        log,
        after: Seq(0),
        last: received.last,
    };
    let seed = Seed([3; 32]);
    let mut bundle = BundleWriter::new(&head, &log_key().verifying_key(), hq_key(), &seed)
        .expect("a key to encrypt to");
    bundle.push(&Frame::Welcome(Welcome {
        version: 1,
        history,
        cursor: received,
        sealed: received.last,
        time: NOON,
        program: "hq-server".to_owned(),
    }));
    let (safe, posted, at) = (Seq(0), received.last, NOON);
    let said =
        Acknowledgement { history, log, received, safe, posted, at, given: Given::default() };
    bundle.push(&Frame::Acknowledgement(said.sign(&hq_key())));
    bundle.finish()
}

#[test]
fn a_bundle_goes_out_and_the_answer_comes_in() {
    let server = Server::start(None);
    server.post("/v1/movements", &receipt());
    let mut out = server.agent.get(server.url("/v1/bundle")).call().expect("answers");
    let bytes = out.body_mut().read_to_vec().expect("whole");
    let mut scan = BundleScan::new();
    scan.push(&bytes).expect("a bundle");
    let verified = scan.finish().and_then(|scanned| scanned.verify(&log_key().verifying_key()));
    let verified = verified.expect("signed by the log's key");
    assert_eq!((verified.head().after, verified.head().last), (Seq(0), Seq(2)));

    let (status, refused) = server.get("/v1/bundle?after=3");
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("beyond_end")));
    let send = |bytes: &[u8]| {
        let mut answer = server.agent.post(server.url("/v1/bundle")).send(bytes).expect("answers");
        let body: Value = answer.body_mut().read_json().expect("JSON");
        (answer.status().as_u16(), body)
    };
    let (status, refused) = send(&bytes);
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("wrong_way")));
    let whole = answer(&server.journal);
    let (status, refused) = send(&whole[..whole.len() - 1]);
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("bundle_cut")));
    let (status, taken) = send(&whole);
    assert_eq!((status, &taken["posted"], &taken["known_before"]), (200, &json!(2), &json!(false)));
    assert_eq!(server.get("/v1/status").1["posted"], 2);
    let (status, taken) = send(&whole);
    assert_eq!((status, &taken["known_before"]), (200, &json!(true)));
    server.journal.close_blocking().expect("closes");
}

#[test]
fn only_who_should_gets_in() {
    let server = Server::start(None);
    let call = |server: &Server, name: &str, value: &str| {
        let request = server.agent.get(server.url("/v1/status")).header(name, value);
        request.call().expect("answers").status().as_u16()
    };
    assert_eq!(call(&server, "host", "localhost:1"), 200);
    assert_eq!(call(&server, "host", "[::1]:80"), 200);
    assert_eq!(
        call(&server, "host", "warehouse.example.com"),
        401,
        "another name for this machine"
    );
    assert_eq!(call(&server, "origin", "http://localhost"), 401, "a page in a browser");
    let server = Server::start(Some("0123456789abcdef"));
    assert_eq!(server.get("/v1/status").0, 401);
    assert_eq!(call(&server, "authorization", "Bearer 0123456789abcdeX"), 401);
    assert_eq!(call(&server, "authorization", "Bearer 0123456789abcdef"), 200);
    assert_eq!(server.get("/livez").0, 200);
}

#[test]
fn the_document_is_the_one_that_is_kept() {
    let document = serde_json::to_value(api::document()).expect("JSON");
    let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&kept, &text).expect("writes");
    }
    let kept = std::fs::read_to_string(kept).unwrap_or_default();
    assert!(kept == text, "the API changed: look at it, then run with UPDATE_OPENAPI=1");
    let server = Server::start(None);
    assert_eq!(server.get("/v1/openapi.json"), (200, document));
}
