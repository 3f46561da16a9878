//! Replicas that are edited apart and meet, from seeds: equal changes give equal heads and values,
//! in whatever order they came, and the same once saved and loaded.

use std::collections::BTreeMap;

use automerge::{Automerge, ROOT, ReadDoc};

use super::hostile::Dice;
use super::{Actor, Change, DocumentId, DocumentKey, Outcome, Replica, Value};
use crate::ids::{ChangeHash, DeviceNo, LogId, SiteNo};

fn key() -> DocumentKey {
    DocumentKey::first(DocumentId::SiteNotes { site: SiteNo(5) })
}

fn actor(index: usize) -> Actor {
    let device = u32::try_from(index).expect("small") + 1;
    Actor::of(SiteNo(5), DeviceNo(device), &LogId([7; 32]))
}

type Shown = (Vec<ChangeHash>, BTreeMap<String, Vec<Value>>);

fn shown(replica: &Replica) -> Shown {
    let values = replica.keys().into_iter().map(|key| {
        let values = replica.values(&key);
        (key, values)
    });
    (replica.heads(), values.collect())
}

/// What the values must be by the puts alone: those that no other put replaces.
fn expected(replica: &Replica) -> BTreeMap<String, Vec<(u64, Actor, String)>> {
    let mut alive: BTreeMap<String, Vec<(u64, Actor, String)>> = BTreeMap::new();
    let mut replaced = Vec::new();
    for change in replica.changes() {
        for (counter, put) in (change.start_op..).zip(&change.puts) {
            let value = (counter, change.actor, put.text.clone());
            alive.entry(put.key.clone()).or_default().push(value);
            replaced.extend(put.replaces.iter().map(|id| (id.counter, id.actor)));
        }
    }
    for values in alive.values_mut() {
        values.retain(|(counter, actor, _)| !replaced.contains(&(*counter, *actor)));
        // The one that holds comes first.
        values.sort_by_key(|value| std::cmp::Reverse((value.0, value.1)));
    }
    alive
}

fn exchange(replicas: &mut [Replica], from: usize, to: usize, dice: &mut Dice) {
    // A part of it, out of order where it may be: what builds on something else waits for it.
    let mut changes: Vec<Change> = replicas[from].changes().cloned().collect();
    if changes.is_empty() {
        return;
    }
    let cut = dice.below(changes.len()) + 1;
    changes.truncate(cut);
    if dice.below(2) == 0 {
        changes.reverse();
    }
    let outcomes = replicas[to].admit(changes).outcomes;
    let fine = |outcome: &Outcome| !matches!(outcome, Outcome::Refused(_));
    assert!(outcomes.iter().all(fine), "{outcomes:?}");
}

#[test]
fn replicas_that_meet_are_equal_also_once_saved_and_loaded() {
    for seed in 1..=60 {
        let mut dice = Dice(seed);
        let count = dice.below(3) + 2;
        let mut replicas = vec![Replica::begin(key()); count];
        for number in 0..30 {
            let own = dice.below(count);
            match dice.below(4) {
                0 => {
                    let other = dice.below(count);
                    exchange(&mut replicas, other, own, &mut dice);
                }
                1 => {
                    let changes: Vec<_> = replicas[own].changes().map(Change::bytes).collect();
                    let loaded = Replica::load(key(), changes).expect("loads");
                    assert_eq!(shown(&loaded), shown(&replicas[own]), "seed {seed}");
                    replicas[own] = loaded;
                }
                _ => {
                    let puts = [
                        (format!("item/{}", dice.below(5)), format!("{number} of {own}")),
                        (format!("topic/{}", dice.below(3)), format!("{}", dice.below(3))),
                    ];
                    let puts = puts.each_ref().map(|(key, text)| (key.as_str(), text.clone()));
                    replicas[own].edit(actor(own), number, &puts).expect("an edit");
                }
            }
        }
        // Everybody hears everybody.
        for from in 0..count {
            for to in 0..count {
                let changes: Vec<Change> = replicas[from].changes().cloned().collect();
                replicas[to].admit(changes);
            }
        }
        for to in 0..count {
            let changes: Vec<Change> = replicas[count - 1].changes().cloned().collect();
            replicas[to].admit(changes);
        }
        let known = shown(&replicas[0]);
        for replica in &replicas {
            assert_eq!(shown(replica), known, "seed {seed}");
            let by_puts: BTreeMap<_, _> = expected(replica)
                .into_iter()
                .map(|(key, values)| {
                    (
                        key,
                        values
                            .into_iter()
                            .map(|(_, actor, text)| (actor, text))
                            .collect::<Vec<_>>(),
                    )
                })
                .collect();
            let by_library: BTreeMap<_, _> = shown(replica)
                .1
                .into_iter()
                .map(|(key, values)| {
                    (
                        key,
                        values
                            .into_iter()
                            .map(|value| (value.actor, value.text))
                            .collect::<Vec<_>>(),
                    )
                })
                .collect();
            assert_eq!(by_library, by_puts, "seed {seed}");
        }
        let plain = Automerge::load(&replicas[0].save()).expect("any Automerge program loads it");
        assert_eq!(
            plain.keys(ROOT).filter(|key| !key.starts_with('.')).collect::<Vec<_>>(),
            replicas[0].keys()
        );
    }
}
