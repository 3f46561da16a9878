//! The journal through its public face: what is answered is durable, runs and seals read back as
//! they were written, and the whole proves.

#![expect(clippy::cast_possible_truncation, reason = "places in the test's small logs")]

mod common;

use common::{
    DEVICE, NOON, batch, create, fact_of, genesis, group, line, log_key, options, policy, receipt,
    recorder, sale, teach, transfer,
};
use edge_node::journal::{
    BELOW_FLOOR, Clock as _, FixedClock, Journal, OpenError, RecordError, StockLine,
};
use edge_node::record::{GroupInput, Origin, Refused};
use shared::fact::statement::{MasterData, PolicyKind, Stamp};
use shared::fact::{Fact, field};
use shared::ids::{Capture, DeviceNo, Seq};
use shared::segment::chain::Chain;
use shared::sync::StateCursor;
use shared::time::Timestamp;

fn stock(journal: &Journal) -> Vec<(u32, i64)> {
    let lines = journal.stock_blocking().expect("reads");
    lines
        .into_iter()
        .map(|StockLine { bucket, quantity, .. }| (bucket.item.0, quantity.0))
        .collect()
}

#[test]
fn what_was_recorded_reads_back_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let recorder = recorder(&journal, &clock);
    let groups = [
        group(vec![receipt("PEN", "2", "3.20"), receipt("INK", "1.5", "40")]),
        group(vec![sale("PEN", "5", "5")]),
    ];
    let mut boxed = groups[0].clone();
    boxed.lines[0].unit = Some("box".to_owned());
    let answers = recorder.record_many_blocking(&[boxed, groups[1].clone()], Origin::Keeper);
    let first = answers[0].as_ref().expect("recorded");
    assert_eq!((first.first, first.last, first.recorded_at), (Seq(1), Seq(2), NOON));
    assert_eq!(first.captures().last(), Some(Capture { device: DEVICE, counter: 2 }));
    assert_eq!(stock(&journal), [(1, 19), (2, 1_500)]);
    let position = journal.position();
    drop(recorder);
    journal.close_blocking().expect("closes");

    let journal = Journal::open(&path, options(&clock)).expect("opens");
    assert_eq!(journal.position(), position);
    assert_eq!(journal.sealed(), Seq(3));
    assert_eq!(stock(&journal), [(1, 19), (2, 1_500)]);
    assert_eq!(journal.catalogue().items().count(), 3);
    let verified = journal.verify().expect("proves");
    assert_eq!((verified.facts, verified.seals, verified.head), (3, 1, position.head));
    journal.close_blocking().expect("closes");
}

/// A group that no packing makes small.
fn bulky(number: u64) -> GroupInput {
    let mut line = receipt("PEN", "1", "2");
    line.document = Some(blake3::hash(&number.to_le_bytes()).to_hex().to_string());
    group(vec![line])
}

#[test]
fn a_killed_journal_goes_on_although_it_saw_more_than_it_seals() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, killed) = (folder.path().join("journal.redb"), folder.path().join("killed.redb"));
    let clock = FixedClock::at(NOON);
    let journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let record = |journal: &Journal, number: u64| {
        let answers =
            recorder(journal, &clock).record_many_blocking(&[bulky(number)], Origin::Keeper);
        assert!(answers[0].is_ok(), "fact {number}: {answers:?}");
    };
    (1..480).for_each(|number| record(&journal, number));
    assert_eq!(journal.sealed(), Seq(0), "all of it is tail");
    std::fs::copy(&path, &killed).expect("copies");
    let after = Journal::open(&killed, options(&clock)).expect("opens");
    (480..500).for_each(|number| record(&after, number));
    assert!((1..479).contains(&after.sealed().0), "a part was sealed: {}", after.sealed());
    assert_eq!(after.verify().expect("proves").facts, 499);
    after.close_blocking().expect("closes");
    journal.close_blocking().expect("closes");
}

#[test]
fn runs_end_at_groups_and_carry_the_head_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = FixedClock::at(NOON);
    let journal = create(&folder.path().join("journal.redb"), &clock);
    teach(&journal, common::master_data());
    let recorder = recorder(&journal, &clock);
    let mut seed = 1u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut all = Vec::new();
    while journal.position().last.0 < 6_000 {
        let groups: Vec<GroupInput> = (0..=random(30))
            .map(|_| group((0..=random(40)).map(|_| receipt("PEN", "1", "2.5")).collect()))
            .collect();
        for answer in recorder.record_many_blocking(&groups, Origin::Keeper) {
            answer.expect("recorded");
        }
        clock.pass_ms(700);
    }
    journal
        .for_each_fact(Seq(1), |_, fact| {
            all.push(fact.clone());
            std::ops::ControlFlow::Continue(())
        })
        .expect("reads");
    let last = journal.position().last;
    assert_eq!(all.len() as u64, last.0);
    assert!(journal.sealed() > Seq(4_000) && journal.sealed() < last, "{}", journal.sealed());
    let heads: Vec<_> = {
        let mut chain = Chain::start(journal.log());
        all.iter()
            .map(|fact| {
                chain.append(&fact.to_bytes());
                chain.head()
            })
            .collect()
    };
    let group_start = |seq: u64| {
        seq == 1 || Stamp::parse(&all[seq as usize - 2]).expect("a stamp").group_left == 0
    };
    for facts_max in [1, 7, 100, 512, 4_096, 100_000] {
        for _ in 0..40 {
            let mut first = 1 + random(last.0);
            while !group_start(first) {
                first -= 1;
            }
            let run = journal.run_from(Seq(first), facts_max).expect("reads").expect("is there");
            let end = run.last.0 as usize;
            assert_eq!(run.first, Seq(first));
            assert_eq!(run.facts, all[first as usize - 1..end]);
            assert_eq!(run.head, heads[end - 1]);
            assert_eq!(Stamp::parse(&all[end - 1]).expect("a stamp").group_left, 0);
            assert!(run.facts.len() <= facts_max.max(41), "{} facts", run.facts.len());
        }
    }
    assert_eq!(journal.run_from(last.next(), 10), Ok(None));
    journal.seal_now_blocking().expect("seals");
    let seals = journal.seals_from(Seq(1), 1_000).expect("reads");
    assert_eq!((seals[0].seal.first, seals[seals.len() - 1].seal.last), (Seq(1), last));
    assert!(seals.windows(2).all(|pair| pair[0].seal.last.next() == pair[1].seal.first));
    assert!(seals.iter().all(|seal| seal.verify(&log_key().verifying_key()).is_ok()));
    let verified = journal.verify().expect("proves");
    assert_eq!((verified.seals as usize, verified.sealed), (seals.len(), last));
    let documents = journal.export_documents().expect("exports");
    assert_eq!(documents.len(), 1);
    let loaded =
        automerge::Automerge::load(&documents[0].1).expect("any Automerge program loads it");
    assert_eq!(loaded.get_heads()[0].0, verified.documents[0].1.0);
    journal.close_blocking().expect("closes");
}

#[test]
fn a_key_has_one_input_and_one_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let mut journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let keyed =
        GroupInput { key: Some("scan-1".to_owned()), ..group(vec![receipt("PEN", "1", "2")]) };
    let mut other = keyed.clone();
    other.lines[0].quantity = Some("2".to_owned());
    let first = recorder(&journal, &clock)
        .record_many_blocking(std::slice::from_ref(&keyed), Origin::Keeper);
    let first = *first[0].as_ref().expect("recorded");
    assert!(!first.again);
    // In the tail, sealed, and after a restart.
    for round in 0..3 {
        clock.pass_ms(60_000);
        let groups = [keyed.clone(), other.clone()];
        let answers = recorder(&journal, &clock).record_many_blocking(&groups, Origin::Keeper);
        let again = answers[0].as_ref().expect("the same answer");
        assert!(again.again, "round {round}");
        assert_eq!((again.first, again.last, again.recorded_at), (first.first, first.last, NOON));
        assert_eq!(answers[1], Err(Refused::Journal(RecordError::KeyReused)));
        if round == 0 {
            journal.seal_now_blocking().expect("seals");
        } else {
            journal.close_blocking().expect("closes");
            journal = Journal::open(&path, options(&clock)).expect("opens");
        }
    }
    assert_eq!(journal.position().last, Seq(1));
}

#[test]
fn stock_follows_events_not_arrival() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let recorder = recorder(&journal, &clock);
    let at = |hours: i64, lines| {
        let moment = edge_node::record::Moment {
            at: Timestamp(NOON.0 + hours * 3_600_000),
            offset: shared::time::OffsetMinutes(0),
        };
        GroupInput { occurred_at: Some(moment), ..group(lines) }
    };
    let record = |group: GroupInput| {
        recorder.record_many_blocking(&[group], Origin::Keeper).remove(0).expect("recorded")
    };
    record(at(-10, vec![receipt("PEN", "100", "1")]));
    record(at(-2, vec![sale("PEN", "10", "2")]));
    assert_eq!(stock(&journal), [(1, 90)]);
    // A count of before the sale: what came before it is settled, the sale stays.
    let count = record(at(-5, vec![line("count", "PEN", "97")]));
    assert_eq!(stock(&journal), [(1, 87)]);
    // A receipt of before the count changes nothing.
    record(at(-8, vec![receipt("PEN", "5", "1")]));
    assert_eq!(stock(&journal), [(1, 87)]);
    // The count did not happen.
    let reversal = |capture: Capture| {
        let mut line = line("reversal", "", "");
        (line.item, line.quantity) = (None, None);
        line.refers_to = Some(capture.to_string());
        group(vec![line])
    };
    let count = count.captures().next().expect("one line");
    let undo = record(reversal(count)).captures().next().expect("one line");
    assert_eq!(stock(&journal), [(1, 95)]);
    let twice = recorder.record_many_blocking(&[reversal(count)], Origin::Keeper).remove(0);
    assert_eq!(
        twice,
        Err(Refused::Journal(RecordError::AlreadyReversed { line: 0, capture: count }))
    );
    // Nor did the reversal.
    record(reversal(undo));
    assert_eq!(stock(&journal), [(1, 87)]);
    drop(recorder);
    journal.close_blocking().expect("closes");
    let journal = Journal::open(&path, options(&clock)).expect("opens");
    assert_eq!(stock(&journal), [(1, 87)]);
    journal.close_blocking().expect("closes");
}

#[test]
fn a_fact_counts_while_no_reversal_that_stands_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let mut journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let record = |journal: &Journal, group: GroupInput| {
        let mut answers = recorder(journal, &clock).record_many_blocking(&[group], Origin::Keeper);
        answers.remove(0).expect("recorded").captures().next().expect("one line")
    };
    let reverse = |journal: &Journal, capture: Capture| {
        let mut line = line("reversal", "", "");
        (line.item, line.quantity) = (None, None);
        line.refers_to = Some(capture.to_string());
        record(journal, group(vec![line]))
    };
    record(&journal, group(vec![receipt("PEN", "100", "1")]));
    let sale = record(&journal, group(vec![sale("PEN", "10", "2")]));
    let first = reverse(&journal, sale);
    let second = reverse(&journal, first);
    assert_eq!(stock(&journal), [(1, 90)]);
    // The first reversal stands again.
    let third = reverse(&journal, second);
    assert_eq!(stock(&journal), [(1, 100)]);
    reverse(&journal, third);
    assert_eq!(stock(&journal), [(1, 90)]);
    // Two name the sale, and one of them is enough.
    let another = reverse(&journal, sale);
    reverse(&journal, second);
    for _ in 0..2 {
        assert_eq!(stock(&journal), [(1, 100)]);
        journal.close_blocking().expect("closes");
        journal = Journal::open(&path, options(&clock)).expect("opens");
    }
    reverse(&journal, another);
    assert_eq!(stock(&journal), [(1, 100)]);
    journal.close_blocking().expect("closes");
}

#[test]
fn a_repack_is_reversed_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = FixedClock::at(NOON);
    let journal = create(&folder.path().join("journal.redb"), &clock);
    teach(&journal, common::master_data());
    let recorder = recorder(&journal, &clock);
    let record = |group: GroupInput| {
        recorder.record_many_blocking(&[group], Origin::Keeper).remove(0).expect("recorded")
    };
    record(group(vec![receipt("PEN", "20", "1")]));
    let repack = group(vec![line("repack_out", "PEN", "12"), line("repack_in", "INK", "1")]);
    let captures: Vec<_> = record(repack).captures().collect();
    let before = stock(&journal);
    assert_ne!(before, [(1, 20)]);
    let reversal = |capture: Capture| {
        let mut line = line("reversal", "", "");
        (line.item, line.quantity) = (None, None);
        line.refers_to = Some(capture.to_string());
        group(vec![line])
    };
    let undo = record(reversal(captures[1])).captures().next().expect("one line");
    let moved: Vec<_> = stock(&journal).into_iter().filter(|(_, units)| *units != 0).collect();
    assert_eq!(moved, [(1, 20)]);
    record(reversal(undo));
    assert_eq!(stock(&journal), before);
    drop(recorder);
    journal.close_blocking().expect("closes");
}

#[test]
fn stock_of_before_1970_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    // A board without a battery, an hour after it was switched on.
    let clock = FixedClock::at(Timestamp(3_600_000));
    let journal = create(&folder.path().join("journal.redb"), &clock);
    teach(&journal, common::master_data());
    let recorder = recorder(&journal, &clock);
    let record = |hours: i64, line| {
        let moment = edge_node::record::Moment {
            at: Timestamp(3_600_000 - hours * 3_600_000),
            offset: shared::time::OffsetMinutes(0),
        };
        let group = GroupInput { occurred_at: Some(moment), ..group(vec![line]) };
        recorder.record_many_blocking(&[group], Origin::Keeper).remove(0).expect("recorded");
    };
    record(10, receipt("PEN", "100", "1"));
    assert_eq!(stock(&journal), [(1, 100)]);
    record(5, line("count", "PEN", "97"));
    // All these times are in doubt: the order of the log is what is left, as at HQ.
    record(8, receipt("PEN", "5", "1"));
    assert_eq!(stock(&journal), [(1, 102)]);
    record(9, line("count", "PEN", "90"));
    assert_eq!(stock(&journal), [(1, 90)]);
    drop(recorder);
    journal.close_blocking().expect("closes");
}

#[test]
fn a_count_whose_time_is_in_doubt_hides_nothing_that_comes_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let mut journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let record = |journal: &Journal, line| {
        let answers =
            recorder(journal, &clock).record_many_blocking(&[group(vec![line])], Origin::Keeper);
        *answers[0].as_ref().expect("recorded")
    };
    record(&journal, receipt("PEN", "10", "1"));
    // A clock that is set two days ahead, and back.
    let day = 86_400_000;
    clock.set(Timestamp(NOON.0 + 2 * day));
    let count = record(&journal, line("count", "PEN", "3"));
    assert_ne!(count.time_in_doubt, 0);
    clock.set(Timestamp(NOON.0 + 60_000));
    journal.note_hq_time(clock.now());
    assert_eq!(record(&journal, receipt("PEN", "2", "1")).time_in_doubt, 0);
    assert_eq!(stock(&journal), [(1, 5)]);
    let earlier = edge_node::record::Moment {
        at: Timestamp(NOON.0 - day),
        offset: shared::time::OffsetMinutes(0),
    };
    let late = GroupInput { occurred_at: Some(earlier), ..group(vec![receipt("PEN", "4", "1")]) };
    let answers = recorder(&journal, &clock).record_many_blocking(&[late], Origin::Keeper);
    assert!(answers[0].is_ok(), "{answers:?}");
    assert_eq!(stock(&journal), [(1, 5)], "it was there when it was counted");
    journal.close_blocking().expect("closes");
    journal = Journal::open(&path, options(&clock)).expect("opens");
    assert_eq!(stock(&journal), [(1, 5)]);
    let mut undo = line("reversal", "", "");
    (undo.item, undo.quantity) = (None, None);
    undo.refers_to = count.captures().next().map(|capture| capture.to_string());
    record(&journal, undo);
    assert_eq!(stock(&journal), [(1, 16)]);
    journal.close_blocking().expect("closes");
}

#[test]
fn stock_policy_is_checked_where_the_order_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = FixedClock::at(NOON);
    let journal = create(&folder.path().join("journal.redb"), &clock);
    let mut data = common::master_data();
    data.push(policy(PolicyKind::NegativeStock, 0));
    teach(&journal, data);
    let recorder = recorder(&journal, &clock);
    let groups = [
        group(vec![receipt("PEN", "10", "1")]),
        group(vec![sale("PEN", "6", "2"), sale("PEN", "5", "2")]),
        group(vec![sale("PEN", "10", "2")]),
        group(vec![sale("PEN", "1", "2")]),
        group(vec![receipt("PEN", "2", "1"), sale("PEN", "2", "2")]),
    ];
    let answers = recorder.record_many_blocking(&groups, Origin::Keeper);
    let ok: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true, false, true]);
    let message = answers[1].as_ref().expect_err("short").to_string();
    assert_eq!(
        message,
        "line 2: only 4 EA of item 'PEN' are on hand, 5 are wanted: record the receipt first, or count the item"
    );
    assert_eq!(stock(&journal), [(1, 0)]);
    journal.close_blocking().expect("closes");
}

#[test]
fn a_clock_that_went_back_is_doubted_and_the_log_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let record = |journal: &Journal| {
        let answers = recorder(journal, &clock)
            .record_many_blocking(&[group(vec![receipt("PEN", "1", "1")])], Origin::Keeper);
        *answers[0].as_ref().expect("recorded")
    };
    assert_eq!(record(&journal).time_in_doubt, 0);
    journal.close_blocking().expect("closes");
    clock.set(Timestamp(NOON.0 - 365 * 86_400_000));
    let journal = Journal::open(&path, options(&clock)).expect("opens");
    let recorded = record(&journal);
    assert_eq!((recorded.recorded_at, recorded.time_in_doubt), (NOON, BELOW_FLOOR));
    journal.verify().expect("recorded-at never runs backwards");
    journal.close_blocking().expect("closes");
}

#[test]
fn keyed_state_comes_into_force_by_whole_checkpoints() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let journal = create(&path, &clock);
    let facts: Vec<_> = common::master_data().into_iter().map(fact_of).collect();
    let items = |journal: &Journal| journal.catalogue().items().count();
    journal.apply_state_blocking(batch((9, 0), 5, 12, &facts[..6])).expect("the first part");
    assert_eq!(items(&journal), 0);
    journal.close_blocking().expect("closes");
    let journal = Journal::open(&path, options(&clock)).expect("opens");
    assert_eq!(journal.state_cursor().at, 5);
    let wrong = journal.apply_state_blocking(batch((9, 7), 12, 12, &facts[6..]));
    assert!(wrong.is_err(), "a gap is refused");
    journal.apply_state_blocking(batch((9, 5), 12, 12, &facts[6..])).expect("the rest");
    assert_eq!(items(&journal), 3);
    // A change, then another selection that replaces everything once it is whole.
    let ship = Capture { device: DeviceNo(8), counter: 2 };
    let moving = transfer(ship, 1, "4", "EA").to_fact().expect("short texts");
    journal.apply_state_blocking(batch((9, 12), 13, 13, &[moving])).expect("a change");
    assert_eq!(journal.catalogue().open_transfers().count(), 1);
    journal.apply_state_blocking(batch((10, 0), 1, 2, &facts[..4])).expect("a new selection");
    assert_eq!(items(&journal), 3);
    journal.apply_state_blocking(batch((10, 1), 2, 2, &[])).expect("whole");
    assert_eq!((items(&journal), journal.catalogue().open_transfers().count()), (1, 0));
    journal.close_blocking().expect("closes");
    let journal = Journal::open(&path, options(&clock)).expect("opens");
    assert_eq!((items(&journal), journal.state_cursor().handle), (1, 10));
    journal.close_blocking().expect("closes");
}

#[test]
fn what_hq_signed_can_be_given_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let journal = create(&path, &FixedClock::at(NOON));
    let stated = |counter, of: &MasterData| {
        let mut fact = common::fact_of(of.clone());
        field::CAPTURE_COUNTER.put(&mut fact, Some(counter)).expect("a legal field");
        fact
    };
    let data = common::master_data();
    let apply = |at: u64, facts: &[Fact]| {
        let batch = batch((9, at), at + 1, at + 1, facts);
        journal.apply_state_blocking(batch.clone()).expect("a batch");
        batch
    };
    let first = apply(0, &[stated(1, &data[0]), stated(2, &data[1])]);
    let second = apply(1, &[stated(3, &data[2])]);
    let moving = transfer(Capture { device: DeviceNo(8), counter: 2 }, 1, "4", "EA");
    apply(2, &[moving.to_fact().expect("short texts")]);
    let hq = |counter| [Capture { device: DeviceNo(1), counter }];
    let given =
        |known: &[Capture], at| journal.given(known, StateCursor { handle: 9, at }).expect("reads");
    assert_eq!(given(&hq(1), 0), Some(first.clone()));
    assert_eq!(given(&hq(1), 1), Some(second.clone()));
    assert_eq!((given(&hq(2), 0), given(&hq(2), 2)), (Some(second), None));
    assert_eq!(given(&hq(3), 0), None, "open work is nothing that HQ had stated");
    assert_eq!(given(&[], 0), Some(first), "of a life that HQ does not know");
    // What has newer versions goes after a while.
    let newest: Vec<_> = (3..103).map(|at| apply(at, &[stated(at + 1, &data[3])])).collect();
    let kept = (3..103).filter(|&at| given(&hq(3), at) == Some(newest[index(at - 3)].clone()));
    assert!((1..70).contains(&kept.count()), "some were pruned, and the newest was not");
    assert_eq!(given(&hq(102), 0), newest.last().cloned());
    journal.close_blocking().expect("closes");
}

fn index(place: u64) -> usize {
    usize::try_from(place).expect("small")
}

#[test]
fn a_backup_comes_back_as_a_store_that_records_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = FixedClock::at(NOON);
    let journal = create(&folder.path().join("journal.redb"), &clock);
    teach(&journal, common::master_data());
    let groups = vec![group(vec![receipt("PEN", "1", "2.5")]); 1_500];
    recorder(&journal, &clock).record_many_blocking(&groups, Origin::Keeper);
    let file = folder.path().join("it.backup");
    let made = journal.backup_blocking(&file).expect("backs up while open");
    assert_eq!(made.last, Seq(1_500));
    assert!(journal.backup_blocking(&file).is_err(), "overwrites nothing");

    let to = folder.path().join("restored.redb");
    let bytes = std::fs::read(&file).expect("reads");
    let mut broken = bytes.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    std::fs::write(folder.path().join("broken.backup"), broken).expect("writes");
    let error =
        edge_node::journal::restore(&folder.path().join("broken.backup"), &to, &options(&clock));
    assert!(error.expect_err("damaged").to_string().contains("checksum does not hold"));
    assert!(!to.exists());
    edge_node::journal::restore(&file, &to, &options(&clock)).expect("restores");
    assert!(
        edge_node::journal::restore(&file, &to, &options(&clock)).is_err(),
        "overwrites nothing"
    );

    let restored = Journal::open(&to, options(&clock)).expect("opens");
    assert!(restored.is_restored());
    assert_eq!(restored.position(), journal.position());
    let refused = recorder(&restored, &clock).record_many_blocking(&groups[..1], Origin::Keeper);
    assert_eq!(refused[0], Err(Refused::Journal(RecordError::Restored)));

    let mut next = genesis();
    (next.device, next.random) = (DeviceNo(6), [1; 32]);
    let path = folder.path().join("next.redb");
    let next = Journal::create(&path, &next, Some(&restored), options(&clock)).expect("a new log");
    teach(&next, common::master_data());
    recorder(&next, &clock).record_many_blocking(&groups[..2], Origin::Keeper);
    assert_eq!(stock(&next), [(1, 1_502)]);
    next.close_blocking().expect("closes");
    let next = Journal::open(&path, options(&clock)).expect("opens");
    assert_eq!(stock(&next), [(1, 1_502)]);
    for journal in [journal, restored, next] {
        journal.close_blocking().expect("closes");
    }
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = FixedClock::at(NOON);
    let journal = create(&path, &clock);
    teach(&journal, common::master_data());
    let groups = vec![group(vec![receipt("PEN", "1", "2.5")]); 2_000];
    recorder(&journal, &clock).record_many_blocking(&groups, Origin::Keeper);
    journal.close_blocking().expect("closes");
    let good = std::fs::read(&path).expect("reads");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("writes");
        let opened = Journal::open(&path, options(&clock));
        let outcome = opened.map(|journal| {
            let position = journal.position();
            let proved = journal.verify().is_ok();
            journal.close_blocking().expect("closes");
            (position.last, proved)
        });
        if outcome.is_err() {
            assert!(std::fs::read(&path).expect("reads") == bytes, "a refused file is untouched");
        }
        outcome
    };
    assert_eq!(open(&good).ok(), Some((Seq(2_000), true)));
    let good = std::fs::read(&path).expect("reads");
    assert!(matches!(open(b"not a store"), Err(OpenError::NotAStore(_))));
    assert!(matches!(open(b""), Err(OpenError::NotAStore(_))));
    for length in [9, 100, 4_096, good.len() / 2, good.len() - 4_096] {
        let error = open(&good[..length]).expect_err("cut short");
        assert!(error.to_string().contains("Nothing was changed"), "{length}: {error}");
    }
    let mut found = 0;
    let mut seed = 3u64;
    for _ in 0..60 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bytes = good.clone();
        let at = (seed >> 20) as usize % bytes.len();
        bytes[at] ^= 1 << (seed % 8);
        match open(&bytes) {
            // In a page that is free, or where nothing depends on it.
            Ok((last, proved)) => {
                assert!(last == Seq(2_000) && proved, "byte {at} loses facts unseen");
            }
            Err(error) => {
                found += 1;
                assert!(error.to_string().contains("Nothing was changed"), "byte {at}: {error}");
            }
        }
    }
    assert!(found > 5, "only {found} of 60 hits noticed");
}
