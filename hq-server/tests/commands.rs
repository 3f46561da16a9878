//! The commands as real processes: with and without a running server, and with bad input. Every
//! error says what to do next, and nothing is lost.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// An installation in a temporary folder.
struct Place {
    _folder: tempfile::TempDir,
    directory: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("hq");
        let place = Self { _folder: folder, directory };
        let made = place.run(&["init", "--company", "demo", "--currency", "CNY"]);
        assert!(made.status.success(), "{made:?}");
        place
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hq-server"));
        command
            .arg("--data")
            .arg(&self.directory)
            .env_remove("RUST_LOG")
            .env("LANG", "en_US.UTF-8");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().expect("the program starts")
    }

    /// The answer of a command that succeeds.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command().arg("--json").args(arguments).output().expect("starts");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The error of a command that fails.
    fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} should fail");
        String::from_utf8(output.stderr).expect("text")
    }

    fn serve(&self) -> Server {
        let arguments = ["--json", "run", "--api", "127.0.0.1:0", "--link", "127.0.0.1:0"];
        let mut process =
            self.command().args(arguments).stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("says where it listens");
        Server { addresses: serde_json::from_str(&line).expect("JSON"), process }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.parent().expect("inside the folder").join(name);
        std::fs::write(&path, text).expect("writes");
        path.to_str().expect("text").to_owned()
    }
}

struct Server {
    process: Child,
    addresses: Value,
}

impl Server {
    fn end(mut self) -> bool {
        let process = i32::try_from(self.process.id()).expect("a process id").to_string();
        let asked = Command::new("kill").args(["-TERM", &process]).status().expect("kill is there");
        assert!(asked.success());
        self.process.wait().expect("ends").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already where the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_same_commands_with_and_without_a_server() {
    let place = Place::new();
    let added = place.json(&["item", "add", "bolt", "Bolt M6", "--cost", "1.25"]);
    assert_eq!(added["numbers"], serde_json::json!([1]));
    let server = place.serve();
    assert_eq!(place.json(&["item", "add", "nut", "Nut M6"])["numbers"], serde_json::json!([2]));
    place.json(&["item", "unit", "nut", "box", "100"]);
    let site = place.json(&["site", "add", "north"]);
    let code = site["enrol"].as_str().expect("a code");
    assert!(code.starts_with("wb1."), "{code}");
    assert_eq!(place.json(&["mapping", "check"])["complete"], true);
    let position = &place.json(&["status"])["position"];
    assert!(position.as_u64().is_some_and(|position| position > 0));
    assert!(server.end(), "a server that is asked to end ends well");
    let items = place.json(&["item", "list"]);
    let codes: Vec<_> =
        items.as_array().expect("a list").iter().map(|item| &item["code"]).collect();
    assert_eq!(codes, ["bolt", "nut"]);
    assert_eq!(place.json(&["verify"])["ok"], true);
    assert!(!place.directory.join("running.json").exists());
}

#[test]
fn a_server_that_was_killed_leaves_everything() {
    let place = Place::new();
    let mut server = place.serve();
    place.json(&["partner", "add", "acme", "Acme", "--supplier"]);
    server.process.kill().expect("is killed");
    server.process.wait().expect("ends");
    // What the dead server wrote down about its address misleads nobody.
    assert_eq!(place.json(&["partner", "list"]).as_array().map(Vec::len), Some(1));
    assert_eq!(place.json(&["verify"])["ok"], true);
}

#[test]
fn what_is_refused_says_what_to_do() {
    let place = Place::new();
    place.json(&["item", "add", "bolt", "Bolt"]);
    place.json(&["partner", "add", "acme", "Acme", "--supplier"]);
    let cases: &[(&[&str], &str)] = &[
        (&["init", "--company", "x", "--currency", "CNY"], "nothing was changed"),
        (&["item", "add", "bolt", "Bolt"], "choose another code"),
        (
            &["item", "add", "x", "X", "--cost", "1.0000000000001"],
            "more decimals than allowed (12)",
        ),
        (&["item", "add", "x", "X", "--cost", "1000000000000000000000000000000"], "is too large"),
        (&["item", "change", "bolt", "Bolt", "--decimals", "2"], "make a new one instead"),
        (&["item", "add", "x", "X", "--category", "none"], "there is no category 'none'"),
        (&["site", "revoke", "nowhere"], "see 'hq-server site list'"),
        (&["partner", "add", "p", "P"], "say --customer or --supplier"),
        (&["mapping", "add", "revenue", "2110"], "account 16 already is payable"),
        (&["mapping", "add", "profit", "2110"], "there is no role 'profit'"),
        (
            &["policy", "set", "nothing", "1"],
            "'nothing' is no policy: write one of backdating_days",
        ),
        (&["reason", "add", "r", "R", "--movement", "jump"], "'jump' is no movement kind"),
        (&["account", "add", "9", "N", "--type", "thing"], "write asset, liability"),
        (&["invoice", "supplier", "acme", "--line", "3-1@5"], "3-1 is not in the books"),
        (&["invoice", "customer", "acme", "--line", "3-1@5"], "is no customer"),
        (&["payment", "out", "acme", "0"], "must be more than nothing"),
        (&["payment", "out", "acme", "5", "--date", "24.11.2026"], "write YEAR-MONTH-DAY"),
        (&["report", "account", "9999"], "there is no account '9999'"),
    ];
    for (arguments, expected) in cases {
        let error = place.error(arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert_eq!(place.json(&["verify"])["ok"], true);
}

#[test]
fn imports_are_all_or_nothing_and_name_the_line() {
    let place = Place::new();
    let good = "code,name,category,unit,decimals,cost\nA,Bolt,goods,EA,0,1.25\nB,Paint,,kg,3,\n";
    assert_eq!(place.json(&["item", "import", &place.write("good.csv", good)])["added"], 2);
    let cases = [
        ("code,name,category,unit,decimals,cost\nC,x,goods,EA,many,1\n", "line 2"),
        ("code,name,category,unit,decimals,cost\nC,x,goods\n", "line 2"),
        ("code,title\nC,x\n", "title"),
        ("code,name\nC,x\nA,again\n", "there is an item 'A' already"),
        ("code,name,cost\nC,x,ten\n", "'ten' is not a decimal number"),
    ];
    for (text, expected) in cases {
        let error = place.error(&["item", "import", &place.write("bad.csv", text)]);
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(place.json(&["item", "list"]).as_array().map(Vec::len), Some(2));
    let partners = "code,name,customer,supplier\nP,Acme,yes,\nQ,Bolts Ltd,,1\n";
    place.json(&["partner", "import", &place.write("partners.csv", partners)]);
    let error = place.error(&["item", "import", "nowhere.csv"]);
    assert!(error.contains("nowhere.csv"), "{error}");
}

#[test]
fn a_taken_port_and_a_missing_installation() {
    let place = Place::new();
    let server = place.serve();
    let second = Place::new();
    let api = server.addresses["api"].as_str().expect("an address");
    let link = server.addresses["link"].as_str().expect("an address");
    let error = second.error(&["run", "--api", api, "--link", "127.0.0.1:0"]);
    assert!(error.contains("is in use") && error.contains("--api"), "{error}");
    let error = second.error(&["run", "--api", "127.0.0.1:0", "--link", link]);
    assert!(error.contains("is in use"), "{error}");
    let error = place.error(&["run", "--api", "127.0.0.1:0", "--link", "127.0.0.1:0"]);
    assert!(error.contains("in use by another process"), "{error}");
    assert!(server.end());
    let nowhere = Command::new(env!("CARGO_BIN_EXE_hq-server"))
        .args(["--data", "/nonexistent/hq", "status"])
        .output()
        .expect("starts");
    let error = String::from_utf8(nowhere.stderr).expect("text");
    assert!(error.contains("make one with 'hq-server init'"), "{error}");
}

fn damage(file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = std::fs::read(file).expect("reads");
    change(&mut bytes);
    std::fs::write(file, &bytes).expect("writes");
    bytes
}

#[test]
fn a_damaged_file_is_named_and_left_as_it_is() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 3] =
        [|bytes| bytes[..64].fill(0xff), |bytes| bytes.truncate(5_000), |bytes| bytes.clear()];
    for name in ["books.redb", "intake.redb"] {
        for change in damages {
            let place = Place::new();
            let file = place.directory.join(name);
            let bytes = damage(&file, change);
            let error = place.error(&["status"]);
            assert!(error.contains("restore a backup"), "{name}: {error}");
            assert_eq!(std::fs::read(&file).expect("reads"), bytes, "{name} is left as it is");
        }
    }
}
