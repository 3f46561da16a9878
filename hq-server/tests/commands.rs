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
            .env_remove("WAREBOOK_LOG")
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
        self.fails(arguments).1
    }

    /// The exit code of a command that fails, and its error, which speaks to people.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success(), "{arguments:?} should fail");
        assert!(!error.contains("panicked") && !error.contains("BACKTRACE"), "{error}");
        (output.status.code().expect("not killed"), error)
    }

    fn serve(&self) -> Server {
        Self::start(self.command())
    }

    /// A server whose files can't grow beyond some bytes, as if the disk were full there.
    fn serve_within(&self, bytes: u64) -> Server {
        let mut command = Command::new("env");
        command.args(["--ignore-signal=XFSZ", "prlimit", &format!("--fsize={bytes}:unlimited")]);
        command.arg(env!("CARGO_BIN_EXE_hq-server")).arg("--data").arg(&self.directory);
        command.stderr(Stdio::piped());
        Self::start(command)
    }

    fn start(mut command: Command) -> Server {
        command.args(["--json", "run", "--api", "127.0.0.1:0", "--link", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("starts");
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
fn a_file_that_is_no_bundle_is_refused_and_the_others_are_looked_at() {
    let place = Place::new();
    place.json(&["site", "add", "north"]);
    let (one, two) = (place.write("one", "no bundle"), place.write("two", "neither is this"));
    for running in [false, true] {
        let server = running.then(|| place.serve());
        let (code, error) = place.fails(&["bundle", "import", &one, &two, "not-there"]);
        assert_eq!((code, error.matches("this is no bundle").count()), (3, 2), "{error}");
        assert!(error.contains("not-there"), "{error}");
        let export = |site| ["bundle", "export", "--site", site, &one];
        let (code, error) = place.fails(&export("north"));
        assert_eq!((code, error.contains("--force")), (3, true), "{error}");
        let export = |site| ["bundle", "export", "--force", "--site", site, &one];
        let (code, error) = place.fails(&export("south"));
        assert_eq!((code, error.contains("site list")), (3, true), "{error}");
        let (code, error) = place.fails(&export("north"));
        assert_eq!((code, error.contains("no such installation")), (3, true), "{error}");
        assert_eq!(std::fs::read_to_string(&one).expect("reads"), "no bundle");
        if let Some(server) = server {
            assert!(server.end());
        }
    }
}

#[test]
fn a_second_company_has_its_own_chart_and_sites() {
    let place = Place::new();
    let added =
        place.json(&["company", "add", "hk", "--currency", "HKD", "--utc-offset", "+08:00"]);
    assert_eq!(added["numbers"], serde_json::json!([2]));
    place.json(&["site", "add", "north"]);
    place.json(&["site", "add", "kowloon", "--company", "hk"]);
    place.json(&["rate", "set", "CNY", "1.08", "--from", "2026-11-01", "--company", "hk"]);
    assert_eq!(place.json(&["rate", "list"])[0]["company"], "hk");
    assert_eq!(place.json(&["mapping", "check"])["complete"], true);
    for company in ["demo", "hk"] {
        let accounts = place.json(&["account", "list", "--company", company]);
        let stock = accounts.as_array().expect("a list").iter();
        let stock: Vec<_> = stock.filter(|account| account["role"] == "inventory").collect();
        assert_eq!(stock.len(), 1, "each company has its own");
        assert_eq!(stock[0]["company"], company);
    }
    let group = place.json(&["report", "group"]);
    let companies: Vec<_> = group["companies"].as_array().expect("a list").iter().collect();
    assert_eq!(companies.len(), 2);
    assert_eq!(companies[1]["currency"], "HKD");
    let again = place.error(&["company", "add", "hk", "--currency", "HKD"]);
    assert!(again.contains("there is a company 'hk' already"), "{again}");
    let nowhere = place.error(&["site", "add", "south", "--company", "tw"]);
    assert!(nowhere.contains("there is no company 'tw'"), "{nowhere}");
}

#[test]
fn finance_works_in_the_books_of_the_company_that_is_named() {
    let place = Place::new();
    place.json(&["company", "add", "hk", "--currency", "HKD"]);
    place.json(&["site", "add", "north"]);
    place.json(&["site", "add", "kowloon", "--company", "hk"]);
    place.json(&["item", "add", "bolt", "Bolt M6"]);
    let of = |company: &'static str, arguments: &[&'static str]| {
        place.json(&[&["--company", company], arguments].concat())
    };
    of("hk", &["policy", "set", "receipt_fx", "cost"]);
    let chosen = |company| {
        let policies = of(company, &["policy", "list"]);
        policies
            .as_array()
            .expect("a list")
            .iter()
            .find(|line| line["policy"] == "receipt_fx")
            .expect("stated")["setting"]
            .clone()
    };
    assert_eq!((chosen("demo"), chosen("hk")), ("exchange".into(), "cost".into()));
    of("hk", &["account", "add", "1499", "Consignment", "--type", "asset"]);
    let accounts = |company| of(company, &["account", "list"]).as_array().map_or(0, Vec::len);
    assert_eq!(accounts("hk"), accounts("demo") + 1);
    of("hk", &["mapping", "add", "inventory", "1499", "--site", "kowloon"]);
    of("hk", &["costing", "set", "fifo"]);
    of("hk", &["period", "close", "2026-01"]);
    let closed = |company| of(company, &["period", "list"])["closed"][3]["through"].clone();
    assert_eq!((closed("demo"), closed("hk")), (Value::Null, "2026-01".into()));
    assert_eq!(of("hk", &["report", "trial-balance"])["currency"], "HKD");
    assert_eq!(of("hk", &["report", "account", "1499"])["account"]["code"], "1499");
    let elsewhere = place.error(&["report", "account", "1499"]);
    assert!(elsewhere.contains("there is no account '1499'"), "{elsewhere}");
    let other = place.error(&["standard-cost", "bolt", "2", "--site", "kowloon"]);
    assert!(other.contains("site 'kowloon' is of company 'hk': add --company hk"), "{other}");
    let nobody = place.error(&["--company", "tw", "report", "stock"]);
    assert!(nobody.contains("there is no company tw"), "{nobody}");
    let nobody = place.error(&["--company", "tw", "costing", "set", "fifo"]);
    assert!(nobody.contains("there is no company 'tw'"), "{nobody}");
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
fn a_full_disk_ends_the_server_and_loses_nothing() {
    let place = Place::new();
    place.json(&["site", "add", "north"]);
    let size = |name: &str| {
        let length = std::fs::metadata(place.directory.join(name)).expect("is there").len();
        usize::try_from(length).expect("small")
    };
    let room = size("books.redb").max(size("intake.redb")) + 100_000;
    let mut server = place.serve_within(room as u64);
    let code = |number: u32| blake3::hash(&number.to_le_bytes()).to_hex().to_string();
    let name = |number: u32| blake3::hash(&(!number).to_le_bytes()).to_hex().to_string();
    let added = |number: u32| {
        let rows = (0..200).map(|row| code(number * 200 + row) + "," + &name(number * 200 + row));
        let rows: Vec<String> = rows.collect();
        let file = place.write("items.csv", &format!("code,name\n{}\n", rows.join("\n")));
        place.run(&["item", "import", &file]).status.success()
    };
    let acknowledged = (0..1_000).take_while(|number| added(*number)).count() * 200;
    assert!(acknowledged > 0, "there was some room");
    let ended = server.process.wait().expect("ends");
    assert_eq!(ended.code(), Some(5), "a full disk has its own exit code");
    let mut told = String::new();
    let mut stderr = server.process.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut stderr, &mut told).expect("text");
    let last = told.lines().last().expect("says why");
    assert!(last.contains("the disk is full") && last.contains("free space"), "{told}");
    assert!(!told.contains("panicked"), "{told}");

    let server = place.serve();
    let items = place.json(&["item", "list"]).as_array().map_or(0, Vec::len);
    assert!(items >= acknowledged, "{items} of {acknowledged} acknowledged");
    assert_eq!(place.json(&["verify"])["ok"], true);
    place.json(&["item", "add", "bolt", "Bolt"]);
    assert!(server.end());
}

#[test]
fn every_failure_has_its_exit_code_and_is_json_where_that_was_asked_for() {
    let place = Place::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["report", "account", "9999"], 3, "refused"),
        (&["site", "revoke", "nowhere"], 3, "refused"),
        (&["item", "import", "nowhere.csv"], 3, "refused"),
        (&["restore", "nowhere"], 3, "refused"),
        (&["init", "--company", "x", "--currency", "CNY"], 3, "refused"),
    ];
    for (arguments, code, word) in cases {
        assert_eq!(place.fails(arguments).0, *code, "{arguments:?}");
        let (found, error) = place.fails(&[&["--json"], *arguments].concat());
        let error: Value = serde_json::from_str(&error).expect("JSON");
        assert_eq!((found, &error["error"]["code"]), (*code, &Value::from(*word)));
        assert!(error["error"]["message"].as_str().is_some_and(|text| text.len() > 20));
    }
    assert_eq!(place.fails(&["item"]).0, 2, "wrong usage");
    let server = place.serve();
    let busy = place.fails(&["run", "--api", "127.0.0.1:0", "--link", "127.0.0.1:0"]);
    assert_eq!(busy.0, 4);
    assert!(server.end());
    std::fs::remove_file(place.directory.join("hq.toml")).expect("is there");
    assert_eq!(place.fails(&["status"]).0, 4);
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
        (&["mapping", "add", "revenue", "2110"], "account 18 already is payable"),
        (&["mapping", "add", "profit", "2110"], "'hq-server account list' shows the roles"),
        (
            &["policy", "set", "nothing", "1"],
            "'nothing' is no policy: write one of backdating_days",
        ),
        (&["policy", "set", "lifo", "0"], "lifo is allowed or barred, not '0'"),
        (&["policy", "set", "lifo", "barred", "--site", "x"], "leave out the site"),
        (&["rate", "set", "CNY", "1", "--from", "2026-01-05"], "a rate is of another currency"),
        (&["rate", "set", "USD", "0", "--from", "2026-01-05"], "more than nothing, not '0'"),
        (&["rate", "set", "usd", "7", "--from", "2026-01-05"], "'usd' is no currency"),
        (
            &["rate", "set", "USD", "7", "--from", "2026-01-05", "--until", "2026-01-04"],
            "name a later day",
        ),
        (&["item", "set-measure", "bolt"], "say what one unit weighs or takes up"),
        (&["item", "set-measure", "bolt", "--weight", "0"], "more than nothing, not '0'"),
        (&["write-down", "bolt", "5", "--site", "x"], "there is no site 'x'"),
        (&["reason", "add", "r", "R", "--movement", "jump"], "'jump' is no movement kind"),
        (&["account", "add", "9", "N", "--type", "thing"], "write asset, liability"),
        (&["invoice", "supplier", "acme", "--line", "3-1@5"], "3-1 is not in the books"),
        (&["invoice", "customer", "acme", "--line", "3-1@5"], "is no customer"),
        (&["payment", "out", "acme", "0"], "must be more than nothing"),
        (&["payment", "out", "acme", "5", "--date", "24.11.2026"], "write YEAR-MONTH-DAY"),
        (&["report", "account", "9999"], "there is no account '9999'"),
        (&["report", "trial-balance", "--from", "2026"], "write YEAR-MONTH"),
        (&["restore", "."], "there is no backup.json in it"),
    ];
    for (arguments, expected) in cases {
        let error = place.error(arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert_eq!(place.json(&["verify"])["ok"], true);
}

#[test]
fn a_company_states_its_choices_and_its_rates() {
    let place = Place::new();
    let chosen = |policy: &str| {
        let list = place.json(&["policy", "list"]);
        let lines = list.as_array().expect("a list").iter();
        let line = lines.clone().find(|line| line["policy"] == policy).expect("a policy");
        line["setting"].as_str().expect("a word").to_owned()
    };
    assert_eq!([chosen("receipt_fx"), chosen("lifo")], ["exchange", "allowed"]);
    place.json(&["costing", "set", "lifo", "--category", "goods"]);
    place.json(&["policy", "set", "lifo", "barred", "--from", "2026-01-01"]);
    place.json(&["policy", "set", "receipt_fx", "cost"]);
    place.json(&["policy", "set", "backdating_days", "30"]);
    assert_eq!([chosen("receipt_fx"), chosen("lifo")], ["cost", "barred"]);
    let error = place.error(&["costing", "set", "lifo"]);
    assert!(error.contains("barred") && error.contains("choose moving_average"), "{error}");

    place.json(&["rate", "set", "USD", "7.12", "--from", "2026-01-05"]);
    let rates = "currency,rate,from,until\nEUR,8.25,2026-01-05,2026-01-11\nUSD,7.13,2026-01-06,\n";
    assert_eq!(place.json(&["rate", "import", &place.write("rates.csv", rates)])["added"], 2);
    let list = place.json(&["rate", "list"]);
    let lines = list.as_array().expect("a list").iter();
    let lines = lines.map(|line| {
        ["currency", "rate", "from", "until"].map(|key| line[key].as_str().unwrap_or_default())
    });
    let expected = [
        ["EUR", "8.25", "2026-01-05", "2026-01-11"],
        ["USD", "7.12", "2026-01-05", "2026-01-05"],
        ["USD", "7.13", "2026-01-06", "2026-01-06"],
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
    place.json(&["item", "add", "bolt", "Bolt"]);
    place.json(&["item", "set-measure", "bolt", "--weight", "0.25"]);
    place.json(&["item", "set-measure", "bolt", "--volume", "1.5"]);
    let bolt = &place.json(&["item", "list"])[0];
    assert_eq!([&bolt["weight"], &bolt["volume"]], ["0.25", "1.5"]);
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
        ("", "the file is empty; its first line names the columns"),
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
    assert!(error.contains("is in use") && error.contains("--link"), "{error}");
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
            let (code, error) = place.fails(&["status"]);
            assert!(error.contains("restore a backup") && error.contains(name), "{error}");
            assert_eq!(code, 5);
            assert!(std::fs::read(&file).expect("reads") == bytes, "{name} is left as it is");
        }
    }
}

#[test]
fn a_byte_that_flipped_is_noticed_before_anything_is_written() {
    let place = Place::new();
    let rows: Vec<String> = (0..4_000).map(|row| format!("item-{row},Item {row}")).collect();
    let file = place.write("items.csv", &format!("code,name\n{}\n", rows.join("\n")));
    place.json(&["item", "import", &file]);
    for name in ["books.redb", "intake.redb"] {
        let file = place.directory.join(name);
        let whole = std::fs::read(&file).expect("reads");
        let mut seed = 3u64;
        let mut noticed = 0;
        for _ in 0..40 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(seed >> 20).expect("44 bits") % whole.len();
            let bytes = damage(&file, |bytes| bytes[at] ^= 1 << (seed % 8));
            let output = place.run(&["verify"]);
            // In a page that is free a byte means nothing.
            if !output.status.success() {
                noticed += 1;
                let error = String::from_utf8(output.stderr).expect("text");
                assert!(error.contains("nothing was changed"), "{name}, byte {at}: {error}");
                assert!(!error.contains("panicked"), "{name}, byte {at}: {error}");
                assert!(std::fs::read(&file).expect("reads") == bytes, "{name} is left as it is");
            }
            std::fs::write(&file, &whole).expect("writes");
        }
        assert!(noticed > 3, "{name}: only {noticed} of 40 hits noticed");
    }
}

#[test]
fn a_retime_names_a_site_and_a_time() {
    let place = Place::new();
    place.json(&["site", "add", "EAST"]);
    let retime = |site: &str, at: &str| {
        place.error(&["retime", "--site", site, "--from", "1", "--to", "3", "--at", at])
    };
    let unknown = retime("WEST", "2026-11-24T16:30");
    assert!(unknown.contains("there is no site 'WEST': see 'hq-server site list'"), "{unknown}");
    let not_there = retime("EAST", "2026-11-24T16:30");
    assert!(not_there.contains("HQ has no fact 3 of site 'EAST': wait"), "{not_there}");
    assert_eq!(place.json(&["report", "in-doubt"])["count"], 0);
}
