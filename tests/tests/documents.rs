//! Shared documents of sites and HQ, stores and gates without a network: whatever is edited where,
//! and in whatever pieces it travels, every place ends with what HQ decided, and what HQ refused is
//! with its author.

use std::path::Path;

use ed25519_dalek::SigningKey;
use edge_node::documents::{Documents as EdgeDocuments, Owner};
use hq_server::gateway::documents::{Allowance, Documents as HqDocuments, REFUSALS, Sender};
use shared::document::{Actor, DocumentId, DocumentKey, Replica};
use shared::ids::{ChangeHash, DeviceNo, HistoryId, LogId, SiteNo};
use shared::sync::{DocumentChange, Following, GivenDocuments, StateCursor};
use shared::time::Timestamp;

const NOW: Timestamp = Timestamp(1_795_521_600_000);
const CACHE: usize = 4 << 20;

/// xorshift64*: enough for choosing what happens next.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// Device 10 x site + n is an installation of the site.
fn site_of(device: DeviceNo) -> Option<SiteNo> {
    (device.0 >= 10).then_some(SiteNo(device.0 / 10))
}

fn sender(device: u32) -> Sender {
    let log = LogId([u8::try_from(device).expect("small"); 32]);
    let site = site_of(DeviceNo(device)).unwrap_or(SiteNo::HQ);
    Sender { site, device: DeviceNo(device), log }
}

const OWN: u32 = 1;

struct Hq {
    documents: HqDocuments,
}

impl Hq {
    fn open(folder: &Path, history: u8) -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let path = folder.join("hq.redb");
        let documents = HqDocuments::open(&path, &HistoryId([history; 32]), key, CACHE);
        Self { documents: documents.expect("opens") }
    }

    fn put(&self, id: &str, key: &str, text: &str) {
        let id = id.parse().expect("an id");
        self.documents.edit(id, &sender(OWN), NOW, &[(key, text.to_owned())]).expect("an edit");
    }

    fn text(&self, id: &str, key: &str) -> Option<String> {
        let id = id.parse().expect("an id");
        self.documents.get(id).ok().and_then(|state| state.replica.text(key))
    }
}

struct Edge {
    documents: EdgeDocuments,
    device: u32,
}

impl Edge {
    fn open(folder: &Path, device: u32) -> Self {
        let Sender { site, log, .. } = sender(device);
        let owner = Owner { site, device: DeviceNo(device), log };
        let path = folder.join(format!("{device}.redb"));
        Self { documents: EdgeDocuments::open(&path, owner).expect("opens"), device }
    }

    fn put(&self, id: &str, key: &str, text: &str) {
        let id = id.parse().expect("an id");
        self.documents.edit(id, NOW, &[(key, text.to_owned())]).expect("an edit");
    }

    fn replica(&self, id: &str) -> Option<Replica> {
        let id = id.parse().expect("an id");
        Some(self.documents.get(id).expect("reads")?.replica)
    }

    fn text(&self, id: &str, key: &str) -> Option<String> {
        self.replica(id)?.text(key)
    }

    /// Offers some changes; gives those that HQ was given.
    fn send(&self, hq: &Hq, count_max: usize) -> Vec<ChangeHash> {
        let changes = self.documents.waiting_changes(0, count_max).expect("reads");
        let changes: Vec<_> = changes.into_iter().map(|(_, change)| change).collect();
        let sent = changes.iter().map(|change| change.hash).collect();
        let taken = hq.documents.take(&sender(self.device), changes, NOW, site_of);
        taken.expect("decides");
        sent
    }

    /// Hears what HQ says, one batch; says whether there was any.
    fn hear(&self, hq: &Hq, sent: &[ChangeHash]) -> bool {
        let Sender { site, log, .. } = sender(self.device);
        let cursor = self.documents.cursor().expect("reads");
        let batch = hq.documents.since(site, &log, cursor, sent).expect("reads");
        if let Some(signed) = &batch {
            self.documents.apply(signed, NOW).expect("applies");
        }
        batch.is_some()
    }

    fn sync(&self, hq: &Hq) {
        let mut before = Vec::new();
        loop {
            let sent = self.send(hq, 64);
            // What waits for others waits on.
            if !self.hear(hq, &sent) && sent == before {
                return;
            }
            before = sent;
        }
    }

    /// Gives back what HQ asks; how many times it takes.
    fn give(&self, hq: &Hq) -> usize {
        let Some(lives) = hq.documents.lives() else { return 0 };
        let (mut after, mut back, mut count) = (0, None, 0);
        while let Some((number, given)) = self.documents.give(&lives, after, back).expect("reads") {
            let is_whole = hq.documents.take_back(&given, NOW).expect("takes");
            (after, back, count) = (number, is_whole.then_some(number), count + 1);
        }
        count
    }

    fn reasons(&self) -> Vec<String> {
        let refused = self.documents.refused().expect("reads");
        refused.into_iter().map(|row| row.reason).collect()
    }
}

const TRANSFER: &str = "transfer:10-1:1:2";

#[test]
fn a_transfer_is_edited_at_both_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    let (one, two) = (Edge::open(folder.path(), 10), Edge::open(folder.path(), 20));
    let other = Edge::open(folder.path(), 30);
    one.put(TRANSFER, "line/10-1", "5\npc\n1");
    one.put(TRANSFER, "remark", "fragile");
    one.sync(&hq);
    two.sync(&hq);
    other.sync(&hq);
    assert_eq!(two.text(TRANSFER, "remark").as_deref(), Some("fragile"));
    assert!(other.replica(TRANSFER).is_none(), "none of its business");
    assert_eq!(one.documents.waiting(), Ok(0));

    // Both say something, apart; both see both, and HQ too.
    one.put(TRANSFER, "remark", "ten boxes");
    two.put(TRANSFER, "remark", "nine boxes");
    assert_eq!(two.documents.waiting(), Ok(1));
    for place in [&one, &two, &one] {
        place.sync(&hq);
    }
    let texts = |replica: &Replica| {
        let conflict = replica.conflict("remark").expect("two values");
        conflict.into_iter().map(|value| (value.text, value.actor.site())).collect::<Vec<_>>()
    };
    let known = texts(&one.replica(TRANSFER).expect("there"));
    assert_eq!(known.len(), 2);
    assert_eq!(texts(&two.replica(TRANSFER).expect("there")), known);
    let id = TRANSFER.parse().expect("an id");
    assert_eq!(texts(&hq.documents.get(id).expect("there").replica), known);
    // One person settles, at HQ this time.
    hq.put(TRANSFER, "remark", "ten boxes, one was behind the door");
    for place in [&one, &two] {
        place.sync(&hq);
        assert_eq!(place.replica(TRANSFER).expect("there").conflict("remark"), None);
        assert_eq!(place.text(TRANSFER, "remark"), hq.text(TRANSFER, "remark"));
    }
}

#[test]
fn what_hq_refuses_goes_back_to_its_author() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    let edge = Edge::open(folder.path(), 10);
    edge.put("notes:1", "topic/a", "first");
    edge.sync(&hq);
    // HQ begins the next generation while the site is away, which edits the one before.
    let id = "notes:1".parse().expect("an id");
    let renewed = hq.documents.renew(id, &sender(OWN), NOW).expect("begins");
    assert_eq!(renewed.generation, 2);
    edge.put("notes:1", "topic/a", "second");
    edge.put("notes:1", "topic/b", "third");
    edge.sync(&hq);
    let expected = "notes:1 goes on in generation 2: make the change there";
    assert_eq!(edge.reasons(), [expected, expected]);
    assert_eq!(edge.documents.waiting(), Ok(0));
    let replica = edge.replica("notes:1").expect("there");
    assert_eq!((replica.key().generation, replica.text("topic/a").as_deref()), (2, Some("first")));
    edge.put("notes:1", "topic/a", "second");
    edge.sync(&hq);
    assert_eq!(hq.text("notes:1", "topic/a").as_deref(), Some("second"));
    assert_eq!(hq.documents.refused().expect("reads").len(), 2);
}

#[test]
fn what_is_in_is_not_refused_when_it_is_offered_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hq, edge) = (Hq::open(folder.path(), 1), Edge::open(folder.path(), 10));
    edge.put("notes:1", "topic/a", "first");
    // The node does not hear that HQ took it, and HQ begins the next generation.
    edge.send(&hq, 64);
    let id = "notes:1".parse().expect("an id");
    hq.documents.renew(id, &sender(OWN), NOW).expect("begins");
    edge.sync(&hq);
    assert_eq!(edge.documents.waiting(), Ok(0));
    assert_eq!(edge.reasons(), Vec::<String>::new());
    assert_eq!(hq.documents.refused().expect("reads"), []);
}

fn sync_all(edges: &[&Edge], hq: &Hq) {
    for edge in edges {
        edge.sync(hq);
    }
}

/// HQ as it is put back to a backup that was made before it decided on anything else, and two sites.
struct Restored {
    folder: tempfile::TempDir,
    hq: Hq,
    two: Edge,
}

impl Restored {
    fn new(meanwhile: impl FnOnce(&Hq, &Edge, &Edge)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (Edge::open(folder.path(), 10), Edge::open(folder.path(), 20));
        let backup = folder.path().join("backup");
        {
            let hq = Hq::open(folder.path(), 1);
            assert_eq!(hq.documents.lives(), None);
            one.put(TRANSFER, "line/10-1", "5\npc\n1");
            sync_all(&[&one, &two], &hq);
            hq.documents.copy_to(&backup).expect("copies");
            meanwhile(&hq, &one, &two);
            sync_all(&[&one, &two], &hq);
        }
        std::fs::rename(backup, folder.path().join("hq.redb")).expect("put back");
        let hq = Hq::open(folder.path(), 2);
        Self { folder, hq, two }
    }
}

#[test]
fn a_restored_hq_takes_back_what_it_had_decided() {
    let meanwhile = |hq: &Hq, one: &Edge, two: &Edge| {
        hq.put(TRANSFER, "remark", "by sea");
        sync_all(&[one, two], hq);
        one.put(TRANSFER, "remark", "by air");
        two.put(TRANSFER, "expected", "tomorrow");
        sync_all(&[one, two, one], hq);
        hq.put("notes:2", "topic/a", "kept");
        hq.documents.renew("notes:2".parse().expect("an id"), &sender(OWN), NOW).expect("begins");
    };
    let Restored { folder, hq, two } = Restored::new(meanwhile);
    // What it was told stands at the site; HQ has none of it, and site 1 is gone.
    let shown = two.replica(TRANSFER).expect("there");
    assert_eq!((hq.text(TRANSFER, "remark"), hq.text("notes:2", "topic/a")), (None, None));
    two.put(TRANSFER, "remark", "by rail");
    two.sync(&hq);
    assert_eq!((hq.text(TRANSFER, "remark"), two.documents.waiting()), (None, Ok(2)));
    assert!(two.give(&hq) > 0);
    two.sync(&hq);
    assert_eq!(two.documents.waiting(), Ok(0), "what it builds on has come");
    assert_eq!(hq.text(TRANSFER, "remark").as_deref(), Some("by rail"));
    assert_eq!(hq.text(TRANSFER, "expected").as_deref(), Some("tomorrow"));
    let known = hq.documents.get(TRANSFER.parse().expect("an id")).expect("there").replica;
    assert!(shown.changes().all(|change| known.has(&change.hash)));
    let notes = hq.documents.get("notes:2".parse().expect("an id")).expect("there").replica;
    assert_eq!((notes.key().generation, notes.text("topic/a").as_deref()), (2, Some("kept")));
    assert_eq!(two.replica("notes:2").expect("there").heads(), notes.heads());
    // It is kept no longer, and what it says now is, for the next time.
    assert_eq!(two.give(&hq), 0);
    drop(hq);
    let hq = Hq::open(folder.path(), 3);
    two.sync(&hq);
    assert_eq!(two.give(&hq), 0, "nothing is lost");
    std::fs::remove_file(folder.path().join("hq.redb")).expect("lost");
    drop(hq);
    Hq::open(folder.path(), 4);
    let hq = Hq::open(folder.path(), 5);
    assert!(two.give(&hq) > 0);
    assert_eq!(hq.text(TRANSFER, "remark").as_deref(), Some("by rail"));
}

#[test]
fn a_restored_hq_refuses_nothing_for_what_it_lost() {
    let meanwhile = |hq: &Hq, _: &Edge, two: &Edge| {
        hq.put("notes:2", "topic/a", "kept");
        hq.documents.renew("notes:2".parse().expect("an id"), &sender(OWN), NOW).expect("begins");
        two.sync(hq);
        two.put("notes:2", "topic/b", "mine");
        two.sync(hq);
        hq.put("notes:2", "topic/b", "ours");
    };
    let Restored { hq, two, .. } = Restored::new(meanwhile);
    // Its own edit goes out again before what it builds on can be given back.
    two.sync(&hq);
    assert_eq!((two.documents.waiting(), two.reasons()), (Ok(1), Vec::new()));
    assert!(two.give(&hq) > 0);
    two.sync(&hq);
    assert_eq!((two.documents.waiting(), two.reasons()), (Ok(0), Vec::new()));
    for text in [hq.text("notes:2", "topic/b"), two.text("notes:2", "topic/b")] {
        assert_eq!(text.as_deref(), Some("ours"));
    }
}

#[test]
fn what_hq_named_comes_back_as_itself_or_not_at_all() {
    let meanwhile = |hq: &Hq, one: &Edge, _: &Edge| {
        one.put(TRANSFER, "remark", "by sea");
        // Told on the connection that brought it: by its name alone.
        let sent = one.send(hq, 64);
        while one.hear(hq, &sent) {}
    };
    let Restored { folder, hq, .. } = Restored::new(meanwhile);
    let one = Edge::open(folder.path(), 10);
    let (_, honest) = {
        let lives = hq.documents.lives().expect("it was restored");
        one.documents.give(&lives, 0, None).expect("reads").expect("some")
    };
    // In the name of another site.
    let forged = Edge::open(tempfile::tempdir().expect("a folder").path(), 20);
    forged.put(TRANSFER, "remark", "by whoever forges");
    let (_, other) = forged.documents.waiting_changes(0, 1).expect("reads").remove(0);
    let exchanged = |_, _| Ok::<_, std::convert::Infallible>(Some(other.bytes.clone()));
    let Ok(given) = GivenDocuments::new(honest.told.clone(), exchanged);
    assert_ne!(given, honest);
    assert!(hq.documents.take_back(&given, NOW).expect("leaves it"));
    assert_eq!(hq.text(TRANSFER, "remark"), None);
    assert!(hq.documents.take_back(&honest, NOW).expect("takes"));
    assert_eq!(hq.text(TRANSFER, "remark").as_deref(), Some("by sea"));
}

#[test]
fn what_builds_on_what_is_not_back_yet_is_kept_until_it_is() {
    let meanwhile = |hq: &Hq, one: &Edge, two: &Edge| {
        one.put(TRANSFER, "remark", "by sea");
        sync_all(&[one, two], hq);
        hq.put(TRANSFER, "remark", "by sea, ten boxes");
    };
    let Restored { folder, hq, two } = Restored::new(meanwhile);
    let lives = hq.documents.lives().expect("it was restored");
    // The node kept nothing of what its program before was told.
    let (first, _) = two.documents.give(&lives, 0, None).expect("reads").expect("some");
    let (second, given) =
        two.documents.give(&lives, first, Some(first)).expect("reads").expect("some more");
    assert!(!hq.documents.take_back(&given, NOW).expect("can't take it yet"));
    // Its author offers what is missing.
    let one = Edge::open(folder.path(), 10);
    one.sync(&hq);
    let (again, given) = two.documents.give(&lives, 0, None).expect("reads").expect("still there");
    assert_eq!(again, second);
    assert!(hq.documents.take_back(&given, NOW).expect("takes"));
    assert_eq!(hq.text(TRANSFER, "remark").as_deref(), Some("by sea, ten boxes"));
    assert_eq!(two.documents.give(&lives, 0, Some(again)).expect("reads"), None);
}

#[test]
fn only_what_hq_signed_comes_back_and_in_time() {
    let meanwhile = |hq: &Hq, _: &Edge, _: &Edge| hq.put(TRANSFER, "remark", "by sea");
    let Restored { hq, two, .. } = Restored::new(meanwhile);
    let lives = hq.documents.lives().expect("it was restored");
    let (_, mut given) = two.documents.give(&lives, 0, None).expect("reads").expect("some");
    let untouched = given.clone();
    given.told.batch.site = SiteNo(1);
    // Nobody wants it, and nobody is turned away for it.
    assert!(hq.documents.take_back(&given, NOW).expect("leaves it"));
    assert_eq!(hq.text(TRANSFER, "remark"), None);
    assert!(hq.documents.take_back(&untouched, NOW).expect("takes"));
    assert!(hq.documents.take_back(&untouched, NOW).expect("takes again"));
    assert_eq!(hq.text(TRANSFER, "remark").as_deref(), Some("by sea"));
    let changes = |hq: &Hq| {
        let known = hq.documents.get(TRANSFER.parse().expect("an id")).expect("there");
        known.replica.changes().count()
    };
    assert_eq!(changes(&hq), 2);

    // Another HQ, whose people did not wait.
    let Restored { hq, two, .. } = Restored::new(meanwhile);
    let id = TRANSFER.parse().expect("an id");
    hq.documents.renew(id, &sender(OWN), NOW).expect("begins");
    assert!(two.give(&hq) > 0);
    assert_eq!(hq.text(TRANSFER, "remark"), None);
    two.sync(&hq);
    assert_eq!(two.text(TRANSFER, "remark"), None);
}

#[test]
fn an_answer_of_an_earlier_life_of_hq_that_comes_late_is_no_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let edge = Edge::open(folder.path(), 10);
    let Sender { site, log, .. } = sender(10);
    let old = {
        let hq = Hq::open(folder.path(), 1);
        edge.put("notes:1", "topic/a", "first");
        edge.sync(&hq);
        hq.documents.since(site, &log, StateCursor::START, &[]).expect("reads").expect("news")
    };
    let hq = Hq::open(folder.path(), 2);
    edge.sync(&hq);
    let cursor = edge.documents.cursor().expect("reads");
    // A bundle brings it, while a connection goes on from where it is.
    edge.documents.apply(&old, NOW).expect("applies");
    hq.put("notes:1", "topic/b", "second");
    let next = hq.documents.since(site, &log, cursor, &[]).expect("reads").expect("news");
    let applied = edge.documents.apply(&next, NOW).expect("reads");
    assert_eq!(applied, Following::Gap, "what is between would never come");
    edge.sync(&hq);
    assert_eq!(edge.documents.waiting(), Ok(0));
    assert_eq!(edge.text("notes:1", "topic/b").as_deref(), Some("second"));
}

#[test]
fn what_hq_took_stays_whatever_comes_under_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    let edge = Edge::open(folder.path(), 10);
    edge.put("notes:1", "topic/a", "first");
    let mut changes = edge.documents.waiting_changes(0, 1).expect("reads");
    edge.sync(&hq);
    let (_, mut change) = changes.pop().expect("one waits");
    *change.bytes.last_mut().expect("it has bytes") ^= 1;
    hq.documents.take(&sender(10), vec![change], NOW, site_of).expect("decides");
    assert_eq!(hq.documents.refused().expect("reads").len(), 1);
    edge.sync(&hq);
    assert_eq!(edge.text("notes:1", "topic/a").as_deref(), Some("first"));
    assert_eq!(edge.reasons(), Vec::<String>::new());
}

#[test]
fn what_builds_on_a_refused_edit_is_refused_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    let edge = Edge::open(folder.path(), 10);
    edge.put("notes:1", "topic/a", "first");
    edge.sync(&hq);
    edge.put("notes:1", "topic/a", "second");
    edge.put("notes:1", "topic/a", "third");
    // Only the first of the two comes to HQ before the next generation; and that is too late.
    hq.documents.renew("notes:1".parse().expect("an id"), &sender(OWN), NOW).expect("begins");
    let sent = edge.send(&hq, 1);
    while edge.hear(&hq, &sent) {}
    let reasons = edge.reasons();
    assert!(reasons.iter().any(|why| why.contains("generation 2")), "{reasons:?}");
    assert!(reasons.iter().any(|why| why == "it builds on an edit that HQ refused"), "{reasons:?}");
    assert_eq!((edge.documents.waiting(), reasons.len()), (Ok(0), 2));
}

#[test]
fn hq_lets_nobody_write_for_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    let edge = Edge::open(folder.path(), 10);
    edge.put("notes:1", "topic/a", "mine");
    let change = edge.documents.waiting_changes(0, 1).expect("reads").remove(0).1;
    let key = |text: &str| DocumentKey::first(text.parse().expect("an id"));
    let cases = [
        (20, change.clone(), "this site does not handle notes:1"),
        (11, change.clone(), "it is written in the name of another installation"),
        (10, DocumentChange { key: key("notes:2"), ..change.clone() }, "does not handle notes:2"),
        (
            10,
            DocumentChange { hash: ChangeHash([1; 32]), ..change.clone() },
            "not the change that was announced",
        ),
        (
            10,
            DocumentChange { key: key("notes:1").next(), ..change.clone() },
            "HQ began no generation 2",
        ),
        (
            10,
            DocumentChange { key: key("transfer:20-1:1:2"), ..change.clone() },
            "names an installation that its site does not have",
        ),
        (
            10,
            DocumentChange { bytes: vec![0; 40], hash: ChangeHash([2; 32]), ..change.clone() },
            "no plain change chunk",
        ),
    ];
    for (device, change, reason) in cases {
        let taken = hq.documents.take(&sender(device), vec![change], NOW, site_of);
        assert_eq!(taken.expect("decides"), []);
        let refused = hq.documents.refused().expect("reads").remove(0);
        assert!(refused.reason.contains(reason), "{}", refused.reason);
        assert_eq!(refused.device, DeviceNo(device));
    }
    assert!(hq.documents.names().is_empty());
    // Of another document: it has a name of its own, but does not build on this one's beginning.
    let other = DocumentChange { key: key("count-sheet:10-1:1"), ..change.clone() };
    let waits = hq.documents.take(&sender(10), vec![other], NOW, site_of).expect("decides");
    assert_eq!(waits, [change.hash]);
    edge.sync(&hq);
    assert_eq!(hq.text("notes:1", "topic/a").as_deref(), Some("mine"));
}

#[test]
fn a_site_that_sends_nothing_but_rubbish_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    let key = DocumentKey::first("notes:1".parse().expect("an id"));
    let rubbish = |number: u64| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        DocumentChange { key, hash: ChangeHash(hash), bytes: vec![7; 10] }
    };
    let changes: Vec<_> = (0..REFUSALS.at_once).map(rubbish).collect();
    hq.documents.take(&sender(10), changes, NOW, site_of).expect("decides");
    // What is known as refused costs nothing again.
    hq.documents.take(&sender(10), vec![rubbish(1)], NOW, site_of).expect("decides");
    let more = rubbish(REFUSALS.at_once);
    let waits = |now| hq.documents.take(&sender(10), vec![more.clone()], now, site_of);
    assert_eq!(waits(NOW).expect("decides"), [more.hash]);
    let kept = || hq.documents.refused().expect("reads").len() as u64;
    assert_eq!(kept(), REFUSALS.at_once);
    let told = hq.documents.held_back(sender(10).site, NOW).expect("so many").to_string();
    assert!(told.contains("hq-server document quarantine"), "{told}");
    // A day later there is room for some.
    assert_eq!(waits(Timestamp(NOW.0 + 86_400_000)).expect("decides"), []);
    assert_eq!(kept(), REFUSALS.at_once + 1);
    let other = Edge::open(folder.path(), 20);
    other.put("notes:2", "topic/a", "mine");
    other.sync(&hq);
    assert_eq!(hq.text("notes:2", "topic/a").as_deref(), Some("mine"));
}

#[test]
fn what_a_site_writes_beyond_all_measure_waits_and_holds_up_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    hq.documents.allow(Allowance { at_once: 40_000, a_day: 8_000 });
    let (edge, other) = (Edge::open(folder.path(), 10), Edge::open(folder.path(), 20));
    for sheet in 1..=60 {
        edge.put(&format!("count-sheet:10-{sheet}:1"), "title", &"x".repeat(1_000));
    }
    let day = |day: i64| Timestamp(NOW.0 + day * 86_400_000);
    let site = sender(10).site;
    let offer = |now| loop {
        let waiting = edge.documents.waiting_changes(0, 4).expect("reads");
        let offered = waiting.into_iter().map(|(_, change)| change).collect();
        let waits = hq.documents.take(&sender(10), offered, now, site_of).expect("decides");
        while edge.hear(&hq, &[]) {}
        if !waits.is_empty() || edge.documents.waiting() == Ok(0) {
            return hq.documents.names().len();
        }
    };
    // Four come at a time, of about 1,260 bytes each.
    assert_eq!(offer(day(0)), 32);
    let told = hq.documents.held_back(site, day(0)).expect("it wrote 40,000 bytes").to_string();
    assert!(told.contains("hq-server document list"), "{told}");
    assert_eq!([0, 1, 2, 9].map(|days| offer(day(days))), [32, 40, 48, 60]);
    assert_eq!(hq.documents.held_back(site, day(9)), None);
    assert_eq!(hq.documents.refused().expect("reads"), []);
    other.put("notes:2", "topic/a", "mine");
    other.sync(&hq);
    assert_eq!(hq.text("notes:2", "topic/a").as_deref(), Some("mine"));
}

#[test]
fn an_hq_that_lost_documents_gets_them_back_from_their_authors() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (Edge::open(folder.path(), 10), Edge::open(folder.path(), 20));
    {
        let hq = Hq::open(folder.path(), 1);
        one.put(TRANSFER, "line/10-1", "5\npc\n1");
        one.sync(&hq);
        two.sync(&hq);
        two.put(TRANSFER, "remark", "seen");
        two.sync(&hq);
        one.sync(&hq);
    }
    // Restored from nothing: another history.
    std::fs::remove_file(folder.path().join("hq.redb")).expect("removes");
    let hq = Hq::open(folder.path(), 2);
    // The one that builds on the other's waits for it.
    two.sync(&hq);
    assert_eq!(two.documents.waiting(), Ok(1));
    one.sync(&hq);
    two.sync(&hq);
    one.sync(&hq);
    assert_eq!((one.documents.waiting(), two.documents.waiting()), (Ok(0), Ok(0)));
    assert_eq!(hq.text(TRANSFER, "remark").as_deref(), Some("seen"));
    assert_eq!(hq.text(TRANSFER, "line/10-1").as_deref(), Some("5\npc\n1"));
    let heads = |edge: &Edge| edge.replica(TRANSFER).expect("there").heads();
    assert_eq!(heads(&one), heads(&two));
}

#[test]
fn a_new_installation_hears_everything_and_a_new_log_writes_as_somebody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    let edge = Edge::open(folder.path(), 10);
    for number in 0..40 {
        edge.put("notes:1", "topic/a", &format!("{number} {}", "x".repeat(900)));
    }
    edge.sync(&hq);
    // The file is lost: HQ tells everything again, the node's own changes with their bytes.
    drop(edge);
    std::fs::write(folder.path().join("10.redb"), b"no store").expect("writes");
    let edge = Edge::open(folder.path(), 10);
    assert!(folder.path().join("10.damaged").exists());
    edge.sync(&hq);
    let id: DocumentId = "notes:1".parse().expect("an id");
    assert_eq!(
        edge.replica("notes:1").map(|it| it.heads()),
        Some(hq.documents.get(id).expect("there").replica.heads())
    );
    edge.put("notes:1", "topic/a", "goes on");
    edge.sync(&hq);
    assert_eq!(
        (edge.reasons().len(), hq.text("notes:1", "topic/a").as_deref()),
        (0, Some("goes on"))
    );
    drop(edge);
    // Enrolled anew in the same folder.
    let owner = Owner { site: SiteNo(1), device: DeviceNo(11), log: LogId([99; 32]) };
    let again = EdgeDocuments::open(&folder.path().join("10.redb"), owner).expect("opens");
    assert_eq!(again.cursor(), Ok(StateCursor::START));
    again.edit(id, NOW, &[("topic/b", "new".to_owned())]).expect("an edit");
    let newest = again.get(id).expect("reads").expect("there").replica.values("topic/b").remove(0);
    assert_eq!(newest.actor, Actor::of(SiteNo(1), DeviceNo(11), &LogId([99; 32])));
}

#[test]
fn a_copy_of_a_node_can_not_write_in_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = Hq::open(folder.path(), 1);
    let edge = Edge::open(folder.path(), 10);
    edge.put("notes:1", "topic/a", "before");
    edge.sync(&hq);
    drop(edge);
    let copied = tempfile::tempdir().expect("a folder");
    std::fs::copy(folder.path().join("10.redb"), copied.path().join("10.redb")).expect("copies");
    let (edge, copy) = (Edge::open(folder.path(), 10), Edge::open(copied.path(), 10));
    edge.put("notes:1", "topic/a", "by the box");
    copy.put("notes:1", "topic/a", "by the copy");
    edge.sync(&hq);
    copy.sync(&hq);
    let reasons = copy.reasons();
    assert!(reasons[0].contains("its author's change"), "{reasons:?}");
    assert_eq!(hq.text("notes:1", "topic/a").as_deref(), Some("by the box"));
    assert_eq!(copy.text("notes:1", "topic/a").as_deref(), Some("by the box"));
}

#[test]
fn every_place_ends_with_what_hq_decided() {
    for seed in 1..=12 {
        let mut dice = Dice(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let mut hq = Hq::open(folder.path(), 1);
        let mut edges: Vec<_> = [10, 11, 20].map(|device| Edge::open(folder.path(), device)).into();
        let ids = [TRANSFER, "notes:1", "count-sheet:10-1:1"];
        for number in 0..120 {
            let who = usize::try_from(dice.below(3)).expect("small");
            let id = ids[usize::try_from(dice.below(3)).expect("small")];
            let text = format!("{number}");
            match dice.below(10) {
                0 => drop(edges[who].send(&hq, 3)),
                1 => drop(edges[who].hear(&hq, &[])),
                2 => edges[who].sync(&hq),
                3 => {
                    let device = edges[who].device;
                    drop(edges.remove(who));
                    edges.insert(who, Edge::open(folder.path(), device));
                }
                4 => {
                    drop(hq);
                    hq = Hq::open(folder.path(), 1);
                }
                5 => hq.put(id, "remark", &text),
                6 if dice.below(4) == 0 => {
                    drop(hq.documents.renew(id.parse().expect("an id"), &sender(OWN), NOW));
                }
                _ => {
                    let edge = &edges[who];
                    let parsed: DocumentId = id.parse().expect("an id");
                    if parsed.is_of(edge.documents.owner().site) {
                        edge.put(id, ["remark", "topic/a"][usize::from(dice.below(2) == 0)], &text);
                    }
                }
            }
        }
        for _ in 0..2 {
            for edge in &edges {
                edge.sync(&hq);
            }
        }
        for edge in &edges {
            assert_eq!(edge.documents.waiting(), Ok(0), "seed {seed}");
            for key in hq.documents.names() {
                if !key.id.is_of(edge.documents.owner().site) {
                    continue;
                }
                let there = hq.documents.get(key.id).expect("there").replica;
                let here = edge.replica(&key.id.to_string()).expect("there");
                assert_eq!(here.key(), there.key(), "seed {seed}");
                assert_eq!(here.heads(), there.heads(), "seed {seed}");
                for name in there.keys() {
                    assert_eq!(here.values(&name), there.values(&name), "seed {seed}");
                }
            }
        }
        // Nothing was lost: what is not in a document was refused, and its author knows.
        let refused: usize = edges.iter().map(|edge| edge.reasons().len()).sum();
        let at_hq = hq.documents.refused().expect("reads").len();
        assert!(refused >= at_hq, "seed {seed}: {refused} of {at_hq}");
    }
}
