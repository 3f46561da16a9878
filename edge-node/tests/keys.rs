//! Idempotency keys over the weeks: remembered as long as a retry may come, then forgotten, so that
//! they don't fill the file for ever.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{DEVICE, NOON, create, group, options, receipt, recorder, teach};
use ed25519_dalek::SigningKey;
use edge_node::journal::{FixedClock, Journal, Recorded};
use edge_node::record::{GroupInput, Origin};
use shared::ids::{HistoryId, Seq};
use shared::sync::{Acknowledgement, Given, Position, SignedAcknowledgement};
use shared::time::Timestamp;

const DAY_MS: i64 = 86_400_000;
/// More than two commits forget: 38 pages of keys and some.
const KEYS: u64 = 9_000;

fn keyed(number: u64) -> GroupInput {
    GroupInput { key: Some(format!("till/{number}")), ..group(vec![receipt("PEN", "1", "2")]) }
}

fn record(journal: &Journal, clock: &Arc<FixedClock>, groups: &[GroupInput]) -> Vec<Recorded> {
    let answers = recorder(journal, clock).record_many_blocking(groups, Origin::Keeper);
    answers.into_iter().map(|answer| answer.expect("recorded")).collect()
}

/// Whether a request is known, which changes nothing where it is.
fn is_known(journal: &Journal, clock: &Arc<FixedClock>, number: u64) -> bool {
    record(journal, clock, &[keyed(number)])[0].again
}

fn acknowledgement(journal: &Journal, last: u64, at: Timestamp) -> SignedAcknowledgement {
    let head = journal.position().head;
    let received = Position { last: Seq(last), head };
    let (history, log) = (HistoryId([2; 32]), journal.log());
    Acknowledgement {
        history,
        log,
        received,
        safe: Seq::ZERO,
        posted: Seq::ZERO,
        at,
        given: Given::default(),
    }
    .sign(&SigningKey::from_bytes(&[1; 32]))
}

/// A journal with keys 0 to [`KEYS`] at facts 1 and following, of which HQ has all but 1,000.
fn journal_with_keys(path: &Path, clock: &Arc<FixedClock>) -> Journal {
    let journal = create(path, clock);
    teach(&journal, common::master_data());
    let groups: Vec<_> = (0..KEYS).map(keyed).collect();
    for groups in groups.chunks(700) {
        record(&journal, clock, groups);
    }
    journal.seal_now_blocking().expect("seals");
    let heard = acknowledgement(&journal, KEYS - 1_000, clock_now(clock));
    journal.note_acknowledgement_blocking(heard).expect("noted");
    journal
}

fn clock_now(clock: &Arc<FixedClock>) -> Timestamp {
    edge_node::journal::Clock::now(&**clock)
}

/// Records and seals something without a key: a commit.
fn commit(journal: &Journal, clock: &Arc<FixedClock>) {
    record(journal, clock, &[group(vec![receipt("PEN", "1", "2")])]);
    journal.seal_now_blocking().expect("seals");
}

fn open(path: &Path, clock: &Arc<FixedClock>) -> Journal {
    Journal::open(path, options(clock)).expect("opens")
}

#[test]
fn keys_are_forgotten_once_hq_has_their_facts_and_they_are_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let journal = journal_with_keys(&path, &clock);

    clock.pass_ms(29 * DAY_MS);
    journal.note_hq_time(clock_now(&clock));
    commit(&journal, &clock);
    assert!(is_known(&journal, &clock, 0), "29 days are not 30");

    clock.pass_ms(2 * DAY_MS);
    journal.note_hq_time(clock_now(&clock));
    // The age is that of the log's own newest fact.
    journal.seal_now_blocking().expect("seals");
    assert!(is_known(&journal, &clock, 0));
    commit(&journal, &clock);
    // A commit forgets some pages of them, some commits all: those were two.
    assert!(is_known(&journal, &clock, KEYS - 1_300), "a commit stays short");
    for _ in 0..3 {
        commit(&journal, &clock);
    }
    journal.close_blocking().expect("closes");
    let journal = open(&path, &clock);
    let last = journal.position().last;
    assert!(is_known(&journal, &clock, KEYS - 1_000), "HQ does not have it");
    assert!(is_known(&journal, &clock, KEYS - 1));
    assert_eq!(journal.position().last, last);
    let again = record(&journal, &clock, &[keyed(0), keyed(KEYS - 1_300), keyed(0)]);
    let known: Vec<bool> = again.iter().map(|each| each.again).collect();
    assert_eq!(known, [false, false, true], "what is forgotten is recorded anew, once");
    assert_eq!(again[0].captures().next().map(|capture| capture.device), Some(DEVICE));
    journal.verify().expect("proves");
    journal.close_blocking().expect("closes");
}

#[test]
fn a_clock_that_jumps_makes_no_key_old() {
    // The node's clock, HQ's clock, in days after the keys were recorded.
    for (own, hq) in [(400, 0), (1, 400), (-400, 400)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.redb");
        let clock = FixedClock::at(NOON);
        let journal = journal_with_keys(&path, &clock);
        clock.pass_ms(DAY_MS);
        journal.note_hq_time(clock_now(&clock));
        commit(&journal, &clock);
        clock.set(Timestamp(NOON.0 + own * DAY_MS));
        for _ in 0..2 {
            journal.note_hq_time(Timestamp(NOON.0 + hq * DAY_MS));
            commit(&journal, &clock);
        }
        assert!(is_known(&journal, &clock, 0), "own {own}, HQ {hq}");
        journal.close_blocking().expect("closes");
        let journal = open(&path, &clock);
        commit(&journal, &clock);
        assert!(is_known(&journal, &clock, 0), "own {own}, HQ {hq}, after a restart");
        journal.close_blocking().expect("closes");
    }
}

#[test]
fn keys_take_little_room_and_give_it_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let size = || std::fs::metadata(&path).expect("is there").len();
    let count = 60_000;
    for first in (0..count).step_by(2_000) {
        let groups: Vec<_> = (first..first + 2_000).map(keyed).collect();
        record(&journal, &clock, &groups);
    }
    journal.close_blocking().expect("closes");
    let with_keys = size() / count;
    assert!(with_keys <= 40, "{with_keys} bytes a movement while its key lives");

    let journal = open(&path, &clock);
    clock.pass_ms(31 * DAY_MS);
    let heard = acknowledgement(&journal, count, clock_now(&clock));
    journal.note_acknowledgement_blocking(heard).expect("noted");
    journal.note_hq_time(clock_now(&clock));
    for _ in 0..=count / 230 / 16 {
        commit(&journal, &clock);
    }
    journal.close_blocking().expect("closes");
    let without = size() / count;
    assert!(without <= 5, "{without} bytes a movement once its key is forgotten");
    let journal = open(&path, &clock);
    assert_eq!(journal.verify().expect("proves").facts, journal.position().last.0);
    assert!(!is_known(&journal, &clock, count - 1));
    journal.close_blocking().expect("closes");
}
