//! The commands as a keeper calls them: the real program, in a folder of its own, with and without
//! a node that runs.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use edge_node::journal::{Journal, Options};
use edge_node::link::Identity;
use serde_json::{Value, json};

fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-node"));
    command.env("WAREBOOK_DATA", data).env_remove("RUST_BACKTRACE");
    command
}

fn call(data: &Path, arguments: &[&str]) -> Output {
    program(data).args(arguments).output().expect("the program starts")
}

/// The JSON that a command prints.
fn ask(data: &Path, arguments: &[&str]) -> Value {
    let output = call(data, &[&["--json"], arguments].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("prints JSON")
}

/// The exit code and message of a command that fails.
fn fails(data: &Path, arguments: &[&str]) -> (i32, String) {
    let output = call(data, arguments);
    let code = output.status.code().expect("not killed");
    assert_ne!(code, 0, "{arguments:?} must fail");
    (code, String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// A folder that looks as if HQ had enrolled it, with master data.
fn enrolled(data: &Path) {
    ask(data, &["init", "--zone", "Asia/Shanghai"]);
    let tls = data.join("identity/tls.pem");
    let key_text = std::fs::read_to_string(&tls).expect("reads");
    let key = rcgen::KeyPair::from_pem(&key_text).expect("a key");
    let mut certificate = rcgen::CertificateParams::default();
    certificate.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = certificate.self_signed(&key).expect("signs").pem();
    std::fs::write(&tls, key_text + &certificate[..]).expect("writes");
    let hq_key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key();
    let enrolment = format!(
        "version = 1\nsite = 3\ndevice = 5\ncompany = 1\nsite_name = \"Three\"\nhq_key = \"{}\"\n\
         history = \"{}\"\nauthority = \"\"\"{certificate}\"\"\"\n",
        data_encoding::HEXLOWER.encode(hq_key.as_bytes()),
        "02".repeat(32),
    );
    std::fs::write(data.join("identity/enrolment.toml"), enrolment).expect("writes");
    let identity = Identity::open(&data.join("identity")).expect("reads");
    let genesis = identity.genesis().expect("enrolled");
    let options = Options::new(Some(identity.log_key().clone()));
    let path = data.join("journal.redb");
    let journal = Journal::create(&path, &genesis, None, options).expect("a new journal");
    common::teach(&journal, common::master_data());
    journal.close_blocking().expect("closes");
}

/// A map for files of counts.
const MAP: &str = "version = 1\nname = \"m\"\n[key]\ncolumns = [\"No\"]\n[time]\n\
    column = \"When\"\nformat = \"%Y-%m-%d\"\n[kind]\nconstant = \"count\"\n[fields]\n\
    item = { column = \"What\" }\nquantity = { column = \"Pieces\" }\n";

/// A node that runs; killed when the test ends.
struct Node {
    child: Child,
    ready: Value,
}

impl Node {
    fn run(data: &Path) -> Self {
        let mut command = program(data);
        command.args(["--json", "run"]);
        Self::start(command)
    }

    /// A node whose files can't grow beyond some bytes, as if the disk were full there.
    fn run_within(data: &Path, bytes: u64) -> Self {
        let mut command = Command::new("env");
        command.args(["--ignore-signal=XFSZ", "prlimit", &format!("--fsize={bytes}:unlimited")]);
        command.arg(env!("CARGO_BIN_EXE_edge-node")).args(["--json", "run"]);
        command.env("WAREBOOK_DATA", data);
        Self::start(command)
    }

    /// Makes room for the files of [`Node::run_within`].
    fn make_room(&self) {
        let process = format!("--pid={}", self.child.id());
        let freed = Command::new("prlimit").args([&process, "--fsize=unlimited"]).status();
        assert!(freed.expect("prlimit starts").success());
    }

    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("is piped");
        BufReader::new(out).read_line(&mut line).expect("says when it is ready");
        Self { child, ready: serde_json::from_str(&line).expect("JSON") }
    }

    fn kill(&mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("ends");
    }

    fn terminate(mut self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("kill starts");
        assert!(sent.success());
        assert!(self.child.wait().expect("ends").success(), "a stopped node exits with 0");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn commands_do_the_same_with_and_without_a_running_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("node");
    enrolled(&data);
    let receipt = ["record", "receipt", "--partner", "SUPP", "PEN=2box@38.40", "INK=1.5@40"];
    let sale = ["record", "sale-issue", "--partner", "CUST", "PEN=3@5", "--key", "till-1"];
    for running in [false, true] {
        let node = running.then(|| Node::run(&data));
        let before = ask(&data, &["status"])["last"].as_u64().expect("a number");
        let recorded = ask(&data, &receipt);
        assert_eq!(
            recorded["captures"],
            json!([format!("5-{}", before + 1), format!("5-{}", before + 2)])
        );
        assert_eq!(ask(&data, &sale)["already_recorded"], running);
        let (code, message) = fails(&data, &["record", "count", "PENCIL=1"]);
        assert_eq!((code, message.contains("there is no item 'PENCIL'")), (3, true), "{message}");
        let stock = ask(&data, &["stock", "PEN"]);
        assert_eq!(stock[0]["on_hand"], if running { "45" } else { "21" });
        let log = ask(&data, &["log", "--from", "1", "--count", "2"]);
        assert_eq!(
            (&log["facts"][0]["unit"], &log["facts"][1]["item"]),
            (&json!("box"), &json!("INK"))
        );
        let verified = ask(&data, &["verify"]);
        assert_eq!(verified["facts"].as_u64(), ask(&data, &["status"])["last"].as_u64());
        let document = folder.path().join(format!("{running}.automerge"));
        ask(&data, &["document", "export", document.to_str().expect("UTF-8")]);
        let bytes = std::fs::read(document).expect("reads");
        assert!(automerge::Automerge::load(&bytes).is_ok());
        let backup = folder.path().join(format!("{running}.backup"));
        let made = ask(&data, &["backup", backup.to_str().expect("UTF-8")]);
        assert_eq!(made["last"], verified["facts"]);
        let state = if running { "waiting" } else { "stopped" };
        assert_eq!(ask(&data, &["status"])["link"]["state"], state);
        if let Some(node) = node {
            let (code, message) = fails(&data, &["run"]);
            assert_eq!((code, message.contains("another process has")), (4, true), "{message}");
            node.terminate();
            assert!(!data.join("api.addr").exists());
        }
    }
    let text = String::from_utf8(call(&data, &["stock"]).stdout).expect("UTF-8");
    assert!(text.contains("PEN") && text.contains("45"), "{text}");
}

#[test]
fn a_bundle_is_made_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("node");
    enrolled(&data);
    ask(&data, &["record", "count", "PEN=7"]);
    let file = folder.path().join("to hq.bundle");
    let name = file.to_str().expect("UTF-8");
    for running in [false, true] {
        let node = running.then(|| Node::run(&data));
        let export = ["bundle", "export", name, "--force"];
        let made = ask(&data, &export);
        assert_eq!((&made["facts"], &made["last"]), (&json!(1), &json!(1)));
        let size = std::fs::metadata(&file).expect("is there").len();
        assert_eq!(made["bytes"], size);
        let (code, message) = fails(&data, &export[..3]);
        assert_eq!((code, message.contains("--force")), (3, true), "{message}");
        let (code, message) = fails(&data, &["bundle", "export", name, "--force", "--after", "9"]);
        assert_eq!((code, message.contains("ends at fact 1")), (3, true), "{message}");
        assert_eq!(std::fs::metadata(&file).expect("still there").len(), size);
        assert!(!folder.path().join("to hq.bundle.part").exists());
        // Not meant for this side, and no bundle at all.
        let (code, message) = fails(&data, &["bundle", "import", name]);
        assert_eq!((code, message.contains("hq-server bundle import")), (3, true), "{message}");
        let toml = data.join("node.toml");
        let (code, message) = fails(&data, &["bundle", "import", toml.to_str().expect("UTF-8")]);
        assert_eq!((code, message.contains("no bundle")), (3, true), "{message}");
        assert!(!data.join("bundle.part").exists());
        if let Some(node) = node {
            node.terminate();
        }
    }
}

#[test]
fn a_killed_node_keeps_what_it_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("node");
    enrolled(&data);
    for round in 1..=3 {
        let mut node = Node::run(&data);
        let url = format!("{}/v1/movements", node.ready["api"].as_str().expect("an address"));
        let lines = json!([{ "kind": "receipt", "item": "PEN", "quantity": "1", "price": "2", "partner": "SUPP" }]);
        for _ in 0..20 {
            let answer = ureq::post(&url).send_json(json!({ "lines": lines })).expect("answers");
            assert_eq!(answer.status(), 201);
        }
        node.kill();
        // The address file is still there, but nobody answers: the command opens the folder.
        assert_eq!(ask(&data, &["status"])["last"], 20 * round);
        assert_eq!(ask(&data, &["verify"])["facts"], 20 * round);
    }
}

/// Sends a group whose packed bytes don't shrink; the status and the answer.
fn send_bulky(url: &str, number: u64) -> (u16, Value) {
    let line = |line: u64| {
        let document = blake3::hash(&(number << 8 | line).to_le_bytes()).to_hex().to_string();
        json!({
            "kind": "receipt", "item": "PEN", "quantity": "1", "price": "2", "partner": "SUPP",
            "document": document
        })
    };
    let lines: Vec<Value> = (0..100).map(line).collect();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent: ureq::Agent = agent.into();
    let body = json!({ "key": format!("bulk-{number}"), "lines": lines });
    let answer = agent.post(url).send_json(body).expect("answers");
    (answer.status().as_u16(), answer.into_body().read_json().expect("JSON"))
}

#[test]
fn a_full_disk_loses_nothing_and_recording_goes_on_once_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("node");
    enrolled(&data);
    let size = std::fs::metadata(data.join("journal.redb")).expect("is there").len();
    let node = Node::run_within(&data, size + 400_000);
    let url = format!("{}/v1/movements", node.ready["api"].as_str().expect("an address"));
    let refused = (0..1_000).find_map(|number| match send_bulky(&url, number) {
        (201, _) => None,
        (status, answer) => Some((number, status, answer)),
    });
    let (number, status, answer) = refused.expect("the file can't grow for ever");
    assert!(number > 10, "there was some room");
    assert_eq!((status, &answer["error"]["code"]), (507, &json!("disk_full")));
    let message = answer["error"]["message"].as_str().expect("a text");
    assert!(message.contains("free some space and try again with the same key"), "{message}");
    for _ in 0..3 {
        assert_eq!(send_bulky(&url, number).0, 507, "the node stays and says so");
    }
    let (code, message) =
        fails(&data, &["backup", folder.path().join("b").to_str().expect("UTF-8")]);
    assert_eq!((code, message.contains("disk is full")), (5, true), "{message}");
    assert_eq!(ask(&data, &["status"])["last"], number * 100);
    assert_eq!(ask(&data, &["verify"])["facts"], number * 100);
    let file = folder.path().join("rows.csv");
    let rows: Vec<String> = (0..5_000).map(|row| format!("{row},2026-11-02,PEN,{row}")).collect();
    std::fs::write(&file, format!("No,When,What,Pieces\n{}\n", rows.join("\n"))).expect("writes");
    let map = folder.path().join("map.toml");
    std::fs::write(&map, MAP).expect("writes");
    let [map, file] = [&map, &file].map(|path| path.to_str().expect("UTF-8"));
    let (code, message) = fails(&data, &["import", "--map", map, file]);
    let goes_on = message.contains("the same command goes on from here");
    assert_eq!((code, goes_on), (5, true), "{message}");

    node.make_room();
    for number in 0..number + 20 {
        let (status, answer) = send_bulky(&url, number);
        assert!(matches!(status, 200 | 201), "{answer}");
        assert_eq!(answer["first"], number * 100 + 1, "each group once, in its place");
    }
    node.terminate();
    assert_eq!(ask(&data, &["verify"])["facts"], (number + 20) * 100);
    assert_eq!(ask(&data, &["stock", "PEN"])[0]["on_hand"], ((number + 20) * 100).to_string());
}

#[test]
fn an_import_goes_through_a_running_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("node");
    enrolled(&data);
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path.to_str().expect("UTF-8").to_owned()
    };
    let map = write("map.toml", MAP);
    let file =
        write("rows.csv", "No,When,What,Pieces\n1,2026-11-02,PEN,7\n2,2026-11-03,INK,0.25\n");
    let rejects = folder.path().join("rejects.csv");
    let rejects = rejects.to_str().expect("UTF-8");
    let import = ["import", "--map", &map, &file, "--rejects", rejects];
    let node = Node::run(&data);
    let totals = ask(&data, &import);
    assert_eq!((&totals["recorded"], &totals["already_there"]), (&json!(2), &json!(0)));
    node.terminate();
    let totals = ask(&data, &import);
    assert_eq!((&totals["recorded"], &totals["already_there"]), (&json!(0), &json!(2)));
    write("rows.csv", "No,When,What,Pieces\n3,2026-11-03,PENCIL,1\n");
    let (code, message) = fails(&data, &import);
    assert_eq!((code, message.contains("1 rows were rejected")), (3, true), "{message}");
}

#[test]
fn a_restored_node_records_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("node");
    enrolled(&data);
    ask(&data, &["record", "count", "PEN=7"]);
    let backup = folder.path().join("it.backup");
    let backup = backup.to_str().expect("UTF-8");
    ask(&data, &["backup", backup]);
    let (code, message) = fails(&data, &["restore", backup]);
    assert_eq!((code, message.contains("is left as it is")), (1, true), "{message}");
    let other = folder.path().join("other");
    assert_eq!(ask(&other, &["restore", backup])["last"], 1);
    let (code, message) = fails(&other, &["record", "count", "PEN=7"]);
    assert_eq!((code, message.contains("enrol CODE")), (4, true), "{message}");
}

/// Seen from the store's side all these nodes are enrolled and have no journal.
#[test]
fn a_journal_is_made_after_a_cut_enrolment_and_never_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("node");
    let journal = data.join("journal.redb");
    for finish in [&["status"][..], &["enrol", "wb1.x", "--hq", "127.0.0.1:1"]] {
        drop(std::fs::remove_dir_all(&data));
        enrolled(&data);
        // Cut after HQ's answer was kept and before there was a journal.
        std::fs::remove_file(&journal).expect("is there");
        assert!(!data.join("identity/journal.id").exists());
        ask(&data, finish);
        assert_eq!(ask(&data, &["verify"])["facts"], 0);
        assert!(data.join("identity/journal.id").exists());
    }
    let (code, message) = fails(&data, &["enrol", "wb1.x"]);
    assert_eq!((code, message.contains("this is not a one-time code")), (2, true), "{message}");
    std::fs::remove_file(&journal).expect("is there");
    for lost in [&["status"][..], &["run"], &["record", "count", "PEN=1"]] {
        let (code, message) = fails(&data, lost);
        assert_eq!((code, message.contains("Put the file back")), (5, true), "{message}");
    }
    assert!(!journal.exists(), "HQ may have acknowledged what was in it");
}

#[test]
fn a_restored_node_goes_on_from_its_stock_after_a_cut_enrolment() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("node");
    enrolled(&data);
    ask(&data, &["record", "count", "PEN=7"]);
    let old = data.join("journal-old.redb");
    std::fs::rename(data.join("journal.redb"), &old).expect("is there");
    std::fs::remove_file(data.join("identity/journal.id")).expect("is there");
    std::fs::write(data.join("identity/journal.predecessor"), "journal-old.redb").expect("writes");
    assert_eq!(ask(&data, &["stock"])[0]["on_hand"], "7");
    assert_eq!(ask(&data, &["verify"])["facts"], 0);
    for file in ["journal.redb", "identity/journal.id"] {
        std::fs::remove_file(data.join(file)).expect("is there");
    }
    std::fs::remove_file(old).expect("is there");
    let (code, message) = fails(&data, &["stock"]);
    assert_eq!((code, message.contains("begin with no stock")), (5, true), "{message}");
}

#[test]
fn slips_exit_with_their_code_and_say_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let data: PathBuf = folder.path().join("node");
    for (arguments, code, expected) in [
        (&["status"][..], 4, "run 'edge-node init' first"),
        (&["record"], 2, "Usage"),
        (&["init", "--zone", "Mars"], 1, "'Mars' is no time zone"),
    ] {
        let (found, message) = fails(&data, arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(found, code, "{arguments:?}");
    }
    ask(&data, &["init"]);
    for (arguments, code, expected) in [
        (&["init"][..], 1, "exists already"),
        (&["run"], 4, "edge-node enrol CODE --hq HOST:PORT"),
        (&["enrol", "wb1.x"], 2, "state where HQ listens"),
        (&["enrol", "wb1.x", "--hq", "127.0.0.1:1"], 2, "this is not a one-time code"),
    ] {
        let (found, message) = fails(&data, arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(found, code, "{arguments:?}");
    }
    enrolled(&folder.path().join("enrolled"));
    let data = folder.path().join("enrolled");
    let config = data.join("node.toml");
    let text = std::fs::read_to_string(&config).expect("reads");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let busy = listener.local_addr().expect("an address").to_string();
    for (listen, expected) in [
        (busy.as_str(), "the API can't listen on"),
        ("0.0.0.0:0", "state 'token_file' under [api]"),
    ] {
        std::fs::write(&config, text.replace("127.0.0.1:0", listen)).expect("writes");
        let (code, message) = fails(&data, &["run"]);
        assert_eq!((code, message.contains(expected)), (1, true), "{message}");
    }
    std::fs::write(&config, &text).expect("writes");
    std::fs::write(data.join("journal.redb"), "rubbish").expect("writes");
    let (code, message) = fails(&data, &["run"]);
    assert_eq!((code, message.contains("Nothing was changed")), (5, true), "{message}");
}
