//! Bundles between a real journal and a real intake, without a command: any order, any damage,
//! anybody's file.

use std::io::Cursor;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use edge_node::bundle::{ImportError, Imported, Since};
use edge_node::config;
use edge_node::data_dir::DataDir;
use edge_node::link::{self, Identity, Wall};
use edge_node::record::{GroupInput, Origin};
use edge_node::runtime::Node;
use hq_server::chart::GENERIC;
use hq_server::clock::Clock;
use hq_server::gateway::bundle::{BundleRefused, Desk, Known, Taken};
use hq_server::gateway::link::{Link, LinkSettings};
use hq_server::gateway::store::HqStore as _;
use hq_server::headquarters::{Config, Headquarters, InitOptions};
use hq_server::own_log::{Draft, DraftError, ItemDraft};
use serde_json::json;
use shared::fact::statement::CostScope;
use shared::ids::{CompanyNo, DeviceNo, Seq, SiteNo};
use shared::sync::bundle::{BundleError, BundleScan, Direction, Seed};
use shared::sync::edge::EdgeEnd;
use shared::sync::{Code, Outcome, StateCursor, limits};
use shared::time::OffsetMinutes;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// An HQ that nobody is connected to.
struct Stage {
    runtime: Runtime,
    hq: Headquarters,
    folder: TempDir,
}

fn system_wall() -> Wall {
    let clock = Clock::system();
    Wall::from_fn(move || clock.now())
}

impl Stage {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let options = InitOptions {
            code: "C".to_owned(),
            name: "C".to_owned(),
            currency: "CNY".parse().expect("a code"),
            zone: OffsetMinutes(480),
            scope: CostScope::Site,
            chart: &GENERIC,
            config: Config::default(),
        };
        let directory = folder.path().join("hq");
        let made = Headquarters::init(&directory, options, Clock::system());
        let hq = runtime.block_on(made).expect("a new installation");
        let stage = Self { runtime, hq, folder };
        stage.state_items(1..=3);
        stage
    }

    /// Items by number, and the sites 1 and 2 with the first ones.
    fn state_items(&self, numbers: std::ops::RangeInclusive<u32>) {
        let begins = *numbers.start() == 1;
        let made = self.hq.own_log().record(|published, _| {
            let mut draft = Draft::new(&published.catalogue());
            for number in numbers.clone() {
                draft.item(&ItemDraft {
                    code: format!("item-{number}"),
                    name: format!("Item {number}"),
                    category: "goods".to_owned(),
                    unit: "EA".to_owned(),
                    decimals: 0,
                    service: false,
                    cost: None,
                })?;
            }
            for site in [1, 2].into_iter().filter(|_| begins) {
                draft.site(SiteNo(site), &format!("site-{site}"), "A site")?;
            }
            Ok::<_, DraftError>((draft.into_groups(), ()))
        });
        self.runtime.block_on(made).expect("recorded");
    }

    /// A node that is enrolled and has the items.
    fn node(&self, site: u32, name: &str) -> Node {
        let data = DataDir::new(self.folder.path().join(name));
        std::fs::create_dir_all(data.root()).expect("a folder");
        std::fs::write(data.config(), config::TEMPLATE).expect("writes");
        let mut identity = Identity::create(&data.identity()).expect("fresh keys");
        let now = self.hq.clock().now();
        let authority = self.hq.authority();
        let code = authority.site_add(SiteNo(site), "A site", CompanyNo::FIRST, now);
        let code = code.expect("a code").to_string();
        self.runtime.block_on(async {
            let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
            let (settings, store) = (LinkSettings::at(any), Arc::new(self.hq.clone()));
            let link = Link::bind(settings, authority.clone(), store, Clock::system());
            let link = link.expect("a free port");
            let address = link.local_addr().expect("bound").to_string();
            let serving = tokio::spawn(link.run(std::future::pending()));
            let enrolled = link::enrol(&mut identity, &code, &address, &system_wall()).await;
            enrolled.expect("let in");
            serving.abort();
        });
        let node = Node::open(&data).expect("an enrolled node");
        let first = self.answer(&node, StateCursor::START);
        import(&node, &first).expect("HQ's first word");
        node
    }

    fn take(&self, bytes: &[u8]) -> Result<Taken, BundleRefused> {
        let path = self.folder.path().join("carried");
        std::fs::write(&path, bytes).expect("writes");
        self.runtime.block_on(async {
            let mut file = tokio::fs::File::open(&path).await.expect("opens");
            self.desk().take(&mut file, None).await
        })
    }

    fn desk(&self) -> Desk<'_, Headquarters> {
        Desk { store: &self.hq, authority: self.hq.authority(), clock: self.hq.clock() }
    }

    fn answer(&self, node: &Node, known: StateCursor) -> Vec<u8> {
        self.answer_to(node, Known { state: known, ..Known::default() })
    }

    fn answer_to(&self, node: &Node, known: Known) -> Vec<u8> {
        let mut bytes = Vec::new();
        let log = node.journal().log();
        let desk = self.desk();
        let answer = desk.answer(&log, known, &Seed([4; 32])).expect("an answer");
        answer.write(&mut bytes, None).expect("memory takes it");
        bytes
    }

    /// As the API answers: from the cursor that the newest bundle brought along.
    fn usual_answer(&self, node: &Node) -> Vec<u8> {
        self.answer_to(node, self.known(node))
    }

    fn known(&self, node: &Node) -> Known {
        self.hq.link(device(node)).bundle.map(|bundle| bundle.known).unwrap_or_default()
    }

    /// Records, carries a bundle to HQ and waits until the books have it.
    fn carry(&self, node: &Node, movements: u64) {
        record(node, movements);
        let taken = self.take(&export(node, Since::Acknowledged)).expect("good");
        let mut posted = self.hq.intake().posted(&taken.head.log).expect("registered");
        let reached = posted.wait_for(|posted| *posted >= taken.received);
        self.runtime.block_on(async { reached.await.map(drop) }).expect("HQ runs");
    }

    fn received(&self, node: &Node) -> u64 {
        self.hq.intake().cursor(&node.journal().log()).expect("registered").last.0
    }

    fn close(self) {
        self.runtime.block_on(self.hq.close());
    }
}

fn device(node: &Node) -> DeviceNo {
    node.journal().genesis().device
}

fn record(node: &Node, movements: u64) {
    record_of(node, movements, "2");
}

fn record_of(node: &Node, movements: u64, quantity: &str) {
    let group = |_| {
        let line = json!({
            "kind": "adjustment", "item": "item-1", "quantity": quantity, "price": "3", "reason": "found",
        });
        let group: GroupInput =
            serde_json::from_value(json!({ "lines": [line.clone(), line] })).expect("a group");
        group
    };
    // Two lines each.
    let groups: Vec<_> = (0..movements / 2).map(group).collect();
    for answer in node.recorder.record_many_blocking(&groups, Origin::Keeper) {
        answer.expect("recorded");
    }
}

fn export(node: &Node, since: Since) -> Vec<u8> {
    let mut bytes = Vec::new();
    node.bundles.export(since).expect("a bundle").write(&mut bytes).expect("memory takes it");
    bytes
}

fn since(after: u64) -> Since {
    Since::Fact(Seq(after))
}

fn import(node: &Node, bytes: &[u8]) -> Result<Imported, ImportError> {
    node.bundles.import(&mut Cursor::new(bytes))
}

/// What HQ knows of a node's log is what the node has.
fn assert_same(stage: &Stage, node: &Node) {
    let (journal, intake) = (node.journal(), stage.hq.intake());
    let status = intake.log(&journal.log()).expect("registered");
    assert_eq!(status.received, journal.position());
    assert_eq!(status.sealed, journal.sealed());
    let mut own = Vec::new();
    let visited = journal.for_each_fact(Seq(1), |_, fact| {
        own.push(fact.clone());
        std::ops::ControlFlow::Continue(())
    });
    visited.expect("reads");
    let facts = intake.facts(status.record.no, Seq(1), status.received.last).expect("reads");
    assert!(facts == own, "the same facts");
}

#[test]
fn in_any_order_and_more_than_once() {
    let stage = Stage::new();
    let node = stage.node(1, "one");
    let mut parts = Vec::new();
    for after in [0, 4_600, 9_000] {
        record(&node, if after == 0 { 4_600 } else { 4_400 });
        parts.push(export(&node, since(after)));
    }
    let gap = |found: Result<Taken, BundleRefused>| match found {
        Err(BundleRefused::Gap { has, after }) => (has.0, after.0),
        other => panic!("no gap: {other:?}"),
    };
    assert_eq!(gap(stage.take(&parts[2])), (0, 9_000));
    assert_eq!(gap(stage.take(&parts[1])), (0, 4_600));
    for (part, new) in [(0, 4_600), (0, 0), (1, 4_400), (0, 0), (2, 4_400), (1, 0), (2, 0)] {
        let taken = stage.take(&parts[part]).expect("good");
        assert_eq!((taken.new_facts(), taken.seal_missing), (new, None), "bundle {part}");
        // Said to be durable: another reader of the store sees it.
        assert_eq!(stage.received(&node), taken.received.0);
    }
    assert_same(&stage, &node);
    let all = export(&node, since(0));
    assert_eq!(stage.take(&all).expect("good").new_facts(), 0);
    // A bundle that begins within what HQ has brings the rest alone.
    record(&node, 10);
    assert_eq!(stage.take(&export(&node, since(9_001))).expect("good").new_facts(), 10);
    assert_same(&stage, &node);
    node.close_blocking().expect("closes");
    stage.close();
}

#[test]
fn a_bundle_that_is_damaged_anywhere_changes_nothing() {
    let stage = Stage::new();
    let (node, other) = (stage.node(1, "one"), stage.node(2, "two"));
    record(&node, 6);
    record(&other, 4);
    let bytes = export(&node, since(0));
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x10;
        let taken = stage.take(&changed);
        let named = matches!(taken, Err(BundleRefused::Bundle(_) | BundleRefused::UnknownLog(_)));
        assert!(named, "byte {index}: {taken:?}");
        assert!(stage.take(&bytes[..index]).is_err(), "cut at {index}");
    }
    assert_eq!(stage.received(&node), 0);
    // Nobody else waits, and the good file is still good.
    assert_eq!(stage.take(&export(&other, since(0))).expect("good").new_facts(), 4);
    assert_eq!(stage.take(&bytes).expect("good").new_facts(), 6);

    let answer = stage.usual_answer(&node);
    for index in 0..answer.len() {
        let mut changed = answer.clone();
        changed[index] ^= 0x10;
        assert!(import(&node, &changed).is_err(), "byte {index}");
        assert!(import(&node, &answer[..index]).is_err(), "cut at {index}");
    }
    let held = node.journal().acknowledgement().expect("HQ's first word");
    assert_eq!(held.acknowledgement.received.last, Seq(0));
    let imported = import(&node, &answer).expect("good");
    assert_eq!((imported.said.received.last, imported.is_old), (Seq(6), false));
    for node in [node, other] {
        node.close_blocking().expect("closes");
    }
    stage.close();
}

#[test]
fn strangers_revoked_nodes_and_wrong_ways_are_refused_by_name() {
    let (stage, elsewhere) = (Stage::new(), Stage::new());
    let (node, other) = (stage.node(1, "one"), stage.node(2, "two"));
    record(&node, 4);
    let bytes = export(&node, since(0));
    assert!(matches!(elsewhere.take(&bytes), Err(BundleRefused::UnknownLog(_))));
    let wrong_way = |error| matches!(error, BundleError::WrongWay(_));
    match import(&node, &bytes) {
        Err(ImportError::Bundle(error)) => assert!(wrong_way(error)),
        taken => panic!("{taken:?}"),
    }
    let answer = stage.usual_answer(&node);
    match stage.take(&answer) {
        Err(BundleRefused::Bundle(error)) => assert!(wrong_way(error)),
        taken => panic!("{taken:?}"),
    }
    assert!(matches!(import(&other, &answer), Err(ImportError::OtherLog { .. })));

    let now = stage.hq.clock().now();
    stage.hq.authority().device_revoke(device(&node), now).expect("revoked");
    match stage.take(&bytes) {
        Err(BundleRefused::Refused(refusal)) => assert_eq!(refusal.code, Code::REVOKED),
        taken => panic!("{taken:?}"),
    }
    let log = node.journal().log();
    assert!(stage.desk().answer(&log, Known::default(), &Seed([5; 32])).is_err());
    assert_eq!(stage.received(&node), 0);
    record(&other, 2);
    assert_eq!(stage.take(&export(&other, since(0))).expect("good").new_facts(), 2);
    for node in [node, other] {
        node.close_blocking().expect("closes");
    }
    stage.close();
    elsewhere.close();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

#[test]
fn a_copied_node_is_a_fork_and_holds_nobody_up() {
    let stage = Stage::new();
    let (node, other) = (stage.node(1, "one"), stage.node(2, "two"));
    record(&node, 4);
    let root = node.data.root().to_owned();
    node.close_blocking().expect("closes");
    let copy = DataDir::new(stage.folder.path().join("copy"));
    copy_folder(&root, copy.root());
    let node = Node::open(&DataDir::new(root)).expect("opens");
    let copy = Node::open(&copy).expect("opens");
    record(&node, 6);
    // Within one millisecond the same movement would be the same fact.
    record_of(&copy, 8, "5");
    stage.take(&export(&node, since(0))).expect("good");
    for after in [0, 4, 8] {
        match stage.take(&export(&copy, since(after))) {
            Err(BundleRefused::Refused(refusal)) => assert_eq!(refusal.code, Code::FORK),
            taken => panic!("after {after}: {taken:?}"),
        }
    }
    let answer = stage.usual_answer(&node);
    match import(&copy, &answer) {
        Err(ImportError::Session(end)) => assert_eq!(end, EdgeEnd::Fork(Seq(10))),
        taken => panic!("{taken:?}"),
    }
    assert_same(&stage, &node);
    record(&other, 2);
    assert_eq!(stage.take(&export(&other, since(0))).expect("good").new_facts(), 2);
    for node in [node, copy, other] {
        node.close_blocking().expect("closes");
    }
    stage.close();
}

#[test]
fn old_answers_are_skipped_and_said() {
    let stage = Stage::new();
    let node = stage.node(1, "one");
    let mut answers = Vec::new();
    for item in [4, 5] {
        record(&node, 4);
        stage.take(&export(&node, Since::Acknowledged)).expect("good");
        stage.state_items(item..=item);
        answers.push(stage.usual_answer(&node));
    }
    let items = || node.journal().catalogue().items().count();
    assert_eq!(items(), 3);
    let imported = import(&node, &answers[1]).expect("good");
    assert_eq!((imported.said.received.last, imported.is_old, items()), (Seq(8), false, 5));
    for answer in &answers {
        let imported = import(&node, answer).expect("good");
        assert_eq!((imported.is_old, imported.state_facts, imported.state_gap), (true, 0, false));
    }
    let held = node.journal().acknowledgement().expect("HQ's word");
    assert_eq!(held.acknowledgement.received.last, Seq(8));
    // HQ has forgotten what the node knows: everything comes again, the new with it.
    stage.state_items(6..=6);
    let imported = import(&node, &stage.answer(&node, StateCursor::START)).expect("good");
    assert_eq!((items(), imported.state_facts > 1), (6, true));
    assert_eq!(import(&node, &stage.usual_answer(&node)).expect("good").state_facts, 0);
    node.close_blocking().expect("closes");
    stage.close();
}

#[test]
fn what_became_of_facts_comes_with_the_answer() {
    let stage = Stage::new();
    let node = stage.node(1, "one");
    let told = || node.journal().postings_known().up_to.0;
    stage.carry(&node, 4);
    let first = stage.usual_answer(&node);
    import(&node, &first).expect("good");
    let spans = node.journal().postings(Seq(1), 9).expect("reads");
    let [(Seq(1), span)] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((told(), span.facts()), (4, 4));
    assert!(matches!(span.outcome, Outcome::Vouchers { .. }), "{span:?}");

    // A program that does not read it is not told.
    stage.carry(&node, 4);
    let older = Known { postings: None, ..stage.known(&node) };
    let imported = import(&node, &stage.answer_to(&node, older)).expect("good");
    assert_eq!((imported.said.received.last, told()), (Seq(8), 4));
    // What an answer that was lost told comes again.
    stage.carry(&node, 2);
    import(&node, &stage.usual_answer(&node)).expect("good");
    assert_eq!(told(), 10);
    assert!(import(&node, &first).expect("good").is_old);
    assert_eq!(told(), 10);
    // A neighbour brings HQ's word before the answer that belongs to it.
    stage.carry(&node, 2);
    let word = stage.hq.acknowledgement(&node.journal().log()).expect("known");
    assert!(node.bundles.take_word(word).expect("HQ's"));
    let imported = import(&node, &stage.usual_answer(&node)).expect("good");
    assert_eq!((imported.is_old, told()), (true, 12));
    node.close_blocking().expect("closes");
    stage.close();
}

#[test]
fn many_items_come_in_batches() {
    let stage = Stage::new();
    let node = stage.node(1, "one");
    let more = u32::try_from(limits::STATE_FACTS_MAX).expect("small") + 200;
    for first in (4..=more).step_by(100) {
        stage.state_items(first..=(first + 99).min(more));
    }
    import(&node, &stage.usual_answer(&node)).expect("good");
    assert_eq!(node.journal().catalogue().items().count(), more as usize);
    node.close_blocking().expect("closes");
    stage.close();
}

#[test]
fn a_seal_that_never_came_is_asked_for_and_holds_no_fact_up() {
    let stage = Stage::new();
    let node = stage.node(1, "one");
    record(&node, 4);
    // Over a link that was lost before the seals: facts came, and were acknowledged.
    let run = node.journal().run_from(Seq(1), 100).expect("reads").expect("there");
    stage.runtime.block_on(stage.hq.accept(node.journal().log(), run)).expect("taken");
    import(&node, &stage.usual_answer(&node)).expect("good");
    record(&node, 4);
    let taken = stage.take(&export(&node, Since::Acknowledged)).expect("good");
    assert_eq!((taken.new_facts(), taken.seals, taken.seal_missing), (4, 0, Some(Seq(1))));
    let taken = stage.take(&export(&node, since(0))).expect("good");
    assert_eq!((taken.new_facts(), taken.seal_missing), (0, None));
    assert_same(&stage, &node);
    node.close_blocking().expect("closes");
    stage.close();
}

#[test]
fn an_export_while_movements_are_recorded_ends_with_a_sealed_group() {
    let stage = Stage::new();
    let node = stage.node(1, "one");
    std::thread::scope(|scope| {
        let recording = scope.spawn(|| (0..200).for_each(|_| record(&node, 2)));
        let mut exports = 0;
        while !recording.is_finished() || exports == 0 {
            exports += 1;
            let bytes = export(&node, Since::Acknowledged);
            let taken = stage.take(&bytes).expect("good");
            assert_eq!(taken.received.0 % 2, 0, "a group is whole");
            let status = stage.hq.intake().log(&node.journal().log()).expect("registered");
            assert_eq!(status.sealed, taken.received);
            import(&node, &stage.usual_answer(&node)).expect("good");
        }
    });
    stage.take(&export(&node, Since::Acknowledged)).expect("good");
    assert_same(&stage, &node);
    node.close_blocking().expect("closes");
    stage.close();
}

#[test]
fn whoever_carries_it_sees_log_range_and_size() {
    let stage = Stage::new();
    let node = stage.node(1, "one");
    record(&node, 4);
    let bytes = export(&node, since(2));
    let mut scan = BundleScan::new();
    scan.push(&bytes).expect("good");
    let scanned = scan.finish().expect("whole");
    let head = scanned.head();
    assert_eq!((head.direction, head.log), (Direction::ToHq, node.journal().log()));
    assert_eq!((head.after, head.last), (Seq(2), Seq(4)));
    assert_eq!(scanned.bytes(), bytes.len() as u64);
    node.close_blocking().expect("closes");
    stage.close();
}
