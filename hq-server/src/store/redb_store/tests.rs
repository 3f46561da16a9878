//! The store as its callers see it.

use redb::backends::InMemoryBackend;
use shared::ids::{AccountNo, Capture, CompanyNo, DeviceNo, ItemNo, SiteNo};
use shared::money::Amount;
use shared::time::{Day, Month, Timestamp};

use super::*;
use crate::books::{Cause, Line, Side, Voucher};
use crate::store::RunEntry;

fn record(log: u32, first: u64, last: u64, numbers: std::ops::Range<u32>) -> Record {
    let run = RunEntry {
        log: LogNo(log),
        first: Seq(first),
        last: Seq(last),
        head: Head([9; 32]),
        received_at: Timestamp(5),
    };
    let voucher = |number| Voucher {
        company: CompanyNo(1),
        month: Month(24_320),
        number,
        day: Day(20_000),
        cause: Cause::Fact,
        fact: Some(Capture { device: DeviceNo(log), counter: u64::from(number) }),
        lines: [Side::Debit, Side::Credit]
            .map(|side| Line {
                account: AccountNo(side as u32 + 1),
                side,
                amount: Amount(i64::from(number)),
                site: SiteNo(1),
                item: Some(ItemNo(7)),
                partner: None,
                fact: Some(Capture { device: DeviceNo(log), counter: u64::from(number) }),
            })
            .to_vec(),
    };
    Record {
        entry: SequenceEntry::Run(run),
        vouchers: numbers.map(voucher).collect(),
        waiting: vec![],
        released: vec![],
    }
}

fn store() -> RedbStore {
    RedbStore::open_backend(InMemoryBackend::new(), HistoryId([1; 32])).expect("opens")
}

#[test]
fn what_was_appended_is_found_by_place_voucher_and_fact() {
    let store = store();
    let settle = Record {
        entry: SequenceEntry::Settle,
        vouchers: vec![],
        waiting: vec![3],
        released: vec![2],
    };
    let first = [record(1, 1, 10, 1..11), record(2, 1, 5, 11..16), settle];
    let second = [record(1, 11, 20, 16..26)];
    store.append(&first).expect("appends");
    store.append(&second).expect("appends");
    assert_eq!(store.last().expect("reads"), EntryNo(4));
    for (no, block) in [(1, 1), (3, 1), (4, 4)] {
        let found = store.block(EntryNo(no)).expect("reads").expect("is there");
        assert_eq!(found.first, EntryNo(block));
    }
    let found = store.block(EntryNo(2)).expect("reads").expect("is there");
    assert_eq!(found.records, first);
    assert_eq!(store.block(EntryNo(5)).expect("reads"), None);
    assert_eq!(store.entries(EntryNo(5)).expect("reads"), None);
    let entries = store.entries(EntryNo(2)).expect("reads").expect("is there");
    assert_eq!((entries.0, entries.1.len()), (EntryNo(1), 3));
    let key = |number| VoucherKey { company: CompanyNo(1), month: Month(24_320), number };
    for (number, block) in [(1, Some(1)), (15, Some(1)), (16, Some(4)), (25, Some(4)), (26, None)] {
        let found = store.voucher_block(key(number)).expect("reads");
        assert_eq!(found.map(|block| block.first.0), block, "voucher {number}");
    }
    for (log, seq, block) in [(1, 10, Some(1)), (1, 11, Some(4)), (2, 5, Some(1)), (2, 6, None)] {
        let found = store.fact_block(LogNo(log), Seq(seq)).expect("reads");
        assert_eq!(found.map(|block| block.first.0), block, "fact {seq} of log {log}");
    }
    let sequenced = store.sequenced().expect("reads");
    let places: Vec<_> =
        sequenced.iter().map(|each| (each.position.last.0, each.entry.0)).collect();
    assert_eq!(places, [(20, 4), (5, 2)]);
}

#[test]
fn facts_and_places_of_many_logs_are_found_after_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("books.redb");
    let mut store = RedbStore::create(&path, HistoryId([1; 32]), 1 << 20).expect("is made");
    for turn in 1..=150 {
        // Log 1 in every block, log 2 seldom, and others once.
        let mut records =
            vec![record(1, turn, turn, 1..2), record(100 + turn_no(turn), 1, 3, 2..3)];
        if turn % 40 == 0 {
            records.push(record(2, turn / 40, turn / 40, 3..4));
        }
        store.append(&records).expect("appends");
        if turn % 50 == 0 {
            let known = store.sequenced().expect("reads");
            drop(store);
            store = RedbStore::open(&path, 1 << 20).expect("opens");
            assert_eq!(store.sequenced().expect("reads"), known);
        }
        let places: Vec<_> = store.sequenced().expect("reads");
        assert_eq!(places[0].position.last, Seq(turn));
        for seen in [1, turn / 2, turn] {
            let entry = |log, seq| {
                let block = store.fact_block(LogNo(log), Seq(seq)).expect("reads");
                block.map(|block| block.first)
            };
            let block = EntryNo((seen.max(1) - 1) * 2 + 1 + (seen.max(1) - 1) / 40);
            assert_eq!(entry(1, seen.max(1)), Some(block), "fact {seen} at {turn}");
            assert_eq!(entry(100 + turn_no(seen.max(1)), 2), Some(block));
        }
        let found = store.fact_block(LogNo(2), Seq(1)).expect("reads");
        assert_eq!(found.map(|block| block.first), (turn >= 40).then_some(EntryNo(79)));
    }
}

fn turn_no(turn: u64) -> u32 {
    u32::try_from(turn).expect("few turns")
}

#[test]
fn large_commits_are_cut_into_blocks() {
    let store = store();
    let records: Vec<Record> =
        (0..40).map(|run| record(1, run * 500 + 1, run * 500 + 500, 1..501)).collect();
    store.append(&records).expect("appends");
    let mut no = EntryNo(1);
    let (mut read, mut blocks) = (Vec::new(), 0);
    while let Some(block) = store.block(no).expect("reads") {
        no = block.last().next();
        read.extend(block.records);
        blocks += 1;
    }
    assert_eq!((read, blocks), (records, 3));
}

#[test]
fn checkpoints_and_history_stay() {
    let mut store = store();
    assert_eq!(store.checkpoint().expect("reads"), None);
    let checkpoint = Checkpoint { entry: EntryNo(7), state: [3; 32] };
    store.put_checkpoint(checkpoint).expect("writes");
    assert_eq!(store.checkpoint().expect("reads"), Some(checkpoint));
    store.renew_history(HistoryId([2; 32])).expect("writes");
    assert_eq!(store.history(), HistoryId([2; 32]));
}
