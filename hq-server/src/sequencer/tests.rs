//! The sequencer over files in memory: order, restart, and a fold that fails.

use ed25519_dalek::SigningKey;
use redb::backends::InMemoryBackend;
use shared::catalogue::Catalogue;
use shared::fact::statement::{CostScope, Measure, Movement, Stamp, Statement};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, DeviceNo, HistoryId, ItemNo, ReasonNo};
use shared::quantity::{Scaled, Unit};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::time::{OffsetMinutes, Timestamp};

use super::*;
use crate::books::{Effects, Entry};
use crate::chart::GENERIC;
use crate::clock::Clock;
use crate::gateway::intake::IntakeOptions;
use crate::own_log::{Draft, HQ_DEVICE, ItemDraft};
use crate::store::{RedbStore, SequenceEntry};

/// A quantity that the failing fold does not bear.
const POISON: i64 = 13;

fn stamp(device: u32, counter: u64, group_left: u16) -> Stamp {
    let at = Timestamp(1_793_606_400_000 + counter.cast_signed() * 1_000);
    Stamp {
        capture: Capture { device: DeviceNo(device), counter },
        recorded_at: at,
        occurred_at: at,
        utc_offset: OffsetMinutes(0),
        group_left,
        person: None,
        time_in_doubt: 0,
        company: None,
    }
}

fn adjustment(device: u32, counter: u64, quantity: i64, group_left: u16) -> Fact {
    let quantity = Measure {
        figure: Scaled::new(quantity, 0).expect("in range"),
        unit: Unit::from_bytes(b"EA").expect("a unit"),
    };
    let mut movement = Movement::new(Kind::Adjustment, ItemNo(1), quantity);
    movement.reason = Some(ReasonNo(1));
    Statement::Movement(movement).to_fact(&stamp(device, counter, group_left)).expect("fits")
}

/// What HQ states before anything can be posted.
fn stated() -> Vec<Fact> {
    let mut draft = Draft::new(&Catalogue::new());
    let currency = "CNY".parse().expect("a code");
    draft.company("1", "First", currency, OffsetMinutes(0), CostScope::Site).expect("new");
    draft.chart(&GENERIC).expect("whole");
    draft.site(SiteNo(1), "one", "One").expect("new");
    draft.site(SiteNo(2), "two", "Two").expect("new");
    let item = ItemDraft {
        code: "A".to_owned(),
        name: "A".to_owned(),
        category: "goods".to_owned(),
        unit: "EA".to_owned(),
        cost: Some("2".to_owned()),
        ..ItemDraft::default()
    };
    draft.item(&item).expect("new");
    let groups = draft.into_groups();
    let statements = groups.iter().map(|group| &group.statements[0]);
    let numbered = (1..).zip(statements);
    numbered
        .map(|(counter, statement)| {
            statement.to_fact(&stamp(HQ_DEVICE.0, counter, 0)).expect("fits")
        })
        .collect()
}

async fn send(intake: &Intake, site: u32, device: u32, facts: Vec<Fact>) {
    let genesis = Genesis {
        format: FORMAT,
        site: SiteNo(site),
        device: DeviceNo(device),
        random: [9; 32],
        public_key: SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes(),
        predecessor: None,
    };
    intake.register(SiteNo(site), DeviceNo(device), &genesis).await.expect("registers");
    let mut chain = Chain::start(genesis.log_id());
    chain.extend(&facts);
    intake.accept(&genesis.log_id(), Seq(1), facts, chain.head()).await.expect("taken");
}

fn intake() -> Intake {
    let options = IntakeOptions {
        key: SigningKey::from_bytes(&[1; 32]),
        history: HistoryId([2; 32]),
        clock: Clock::from_fn(|| Timestamp(1_793_700_000_000)),
        cache_bytes: 1 << 20,
    };
    Intake::open_backend(InMemoryBackend::new(), options).expect("opens")
}

fn store() -> Arc<dyn Store> {
    let store = RedbStore::open_backend(InMemoryBackend::new(), HistoryId([2; 32]));
    Arc::new(store.expect("opens"))
}

/// Waits until every received fact is in the sequence.
async fn all_posted(intake: &Intake) {
    for log in intake.logs() {
        let mut posted = intake.posted(&log.record.log).expect("is known");
        posted.wait_for(|posted| *posted >= log.received.last).await.expect("goes on");
    }
}

fn entries(store: &dyn Store) -> Vec<SequenceEntry> {
    let (mut next, mut found) = (EntryNo(1), Vec::new());
    while let Some((first, entries)) = store.entries(next).expect("reads") {
        next = EntryNo(first.0 + entries.len() as u64);
        found.extend(entries);
    }
    found
}

fn fails_on_poison(books: &mut Books, entry: &Entry<'_>) -> Effects {
    if let Entry::Run(run) = entry {
        let poisoned = |fact: &Fact| field::QUANTITY.of(fact) == Some(POISON);
        assert!(!run.facts.iter().any(poisoned), "a figure that this version can't bear");
    }
    books.apply(entry)
}

#[tokio::test]
async fn a_group_that_the_fold_fails_on_is_held_and_later_ones_post() {
    let (intake, store) = (intake(), store());
    send(&intake, 0, HQ_DEVICE.0, stated()).await;
    let facts = vec![
        adjustment(2, 1, 5, 0),
        adjustment(2, 2, 1, 1),
        adjustment(2, 3, POISON, 0),
        adjustment(2, 4, 7, 0),
    ];
    send(&intake, 1, 2, facts).await;
    send(&intake, 2, 3, vec![adjustment(3, 1, 100, 0)]).await;
    let sequencer =
        Sequencer::start_with(Arc::clone(&store), intake.clone(), fails_on_poison).expect("starts");
    all_posted(&intake).await;

    let company = shared::ids::CompanyNo::FIRST;
    let on_hand = |books: &Books, site| books.on_hand(company, SiteNo(site), ItemNo(1)).0;
    let ledgers = sequencer.published().ledgers();
    assert_eq!((on_hand(&ledgers.books, 1), on_hand(&ledgers.books, 2)), (12, 100));
    ledgers.books.check().expect("holds");
    let state = ledgers.books.state_hash();
    drop(ledgers);
    let held: Vec<_> = entries(&*store)
        .into_iter()
        .filter_map(|entry| match entry {
            SequenceEntry::Held { run, reason } => Some((run.first.0, run.last.0, reason)),
            _ => None,
        })
        .collect();
    assert_eq!(held, [(2, 3, "a figure that this version can't bear".to_owned())]);
    sequencer.close();
    let last = *sequencer.published().last().borrow();
    drop(sequencer);

    // A restart replays what was held as held, under a fold that would bear it.
    let sequencer = Sequencer::start(Arc::clone(&store), intake.clone()).expect("starts");
    assert_eq!(sequencer.published().ledgers().books.state_hash(), state);
    assert_eq!(*sequencer.published().last().borrow(), last);
    sequencer.close();
    intake.close();
}

#[tokio::test]
async fn what_waits_is_taken_in_one_commit_hq_first() {
    let (intake, store) = (intake(), store());
    for device in 2..=40 {
        let facts = (1..=5).map(|counter| adjustment(device, counter, 1, 0)).collect();
        send(&intake, 1, device, facts).await;
    }
    // HQ's log has the last number of all, and still goes first.
    send(&intake, 0, HQ_DEVICE.0, stated()).await;
    let sequencer = Sequencer::start(Arc::clone(&store), intake.clone()).expect("starts");
    let mut last = sequencer.published().last();
    last.wait_for(|last| last.0 >= 40).await.expect("goes on");
    let found = entries(&*store);
    assert!(matches!(&found[0], SequenceEntry::Run(run) if run.log.0 == 40));
    let block = store.block(EntryNo(1)).expect("reads").expect("is there");
    assert_eq!(block.records.len(), found.len(), "one commit, one block");
    assert_eq!(sequencer.published().ledgers().books.waiting().count(), 0);
    let event_sites = sequencer.published().ledgers().books.progress().count();
    assert_eq!(event_sites, 40);
    sequencer.close();
    intake.close();
}
