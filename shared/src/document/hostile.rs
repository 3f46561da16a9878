//! Changes that a hostile or broken peer could send, with checksums that hold: every known way to
//! make the library panic, hang or spoil a document, and mutations of good changes from seeds. None
//! panics, none takes a second, none leaves a document that does not load as it is.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::change::NotAChange;
use super::id::{Actor, DocumentId, DocumentKey};
use super::replica::{Flaw, Outcome, Replica};
use super::{Change, limits};
use crate::ids::{ChangeHash, DeviceNo, LogId, SiteNo};
use crate::varint;

/// Longer than this no change may take. Debug builds on a busy machine are slow.
const PATIENCE: Duration = Duration::from_secs(1);

fn key() -> DocumentKey {
    DocumentKey::first(DocumentId::SiteNotes { site: SiteNo(5) })
}

fn actor(device: u32) -> Actor {
    Actor::of(SiteNo(5), DeviceNo(device), &LogId([7; 32]))
}

/// A chunk of a type with contents, whose checksum holds.
fn chunk(kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut hashed = vec![kind];
    varint::write_unsigned(&mut hashed, contents.len() as u64);
    hashed.extend_from_slice(contents);
    let hash: [u8; 32] = Sha256::digest(&hashed).into();
    [&[0x85, 0x6f, 0x4a, 0x83], &hash[..4], &hashed].concat()
}

/// A change as its author pleases.
#[derive(Clone)]
struct Crafted {
    dependencies: Vec<ChangeHash>,
    actor: Vec<u8>,
    seq: u64,
    start_op: u64,
    message: Vec<u8>,
    others: Vec<Vec<u8>>,
    columns: Vec<(u64, Vec<u8>)>,
    extra: Vec<u8>,
}

impl Crafted {
    /// A good put of "x" at "k" on top of a document.
    fn good(document: &Replica) -> Self {
        Self {
            dependencies: document.heads(),
            actor: actor(3).0.to_vec(),
            seq: 1,
            start_op: 3,
            message: Vec::new(),
            others: Vec::new(),
            columns: vec![
                (0x15, vec![0x7f, 1, b'k']),
                (0x34, vec![1]),
                (0x42, vec![0x7f, 1]),
                (0x56, vec![0x7f, 1 << 4 | 6]),
                (0x57, vec![b'x']),
                (0x70, vec![0x7f, 0]),
            ],
            extra: Vec::new(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn column(mut self, specification: u64, data: &[u8]) -> Self {
        self.columns.retain(|(known, _)| *known != specification);
        self.columns.push((specification, data.to_vec()));
        self.columns.sort_by_key(|(known, _)| *known & !8);
        self
    }

    fn contents(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let unsigned = |out: &mut Vec<u8>, value: u64| {
            // Any 64-bit number, as LEB128 has it.
            let mut value = value;
            while value >= 0x80 {
                out.push(value.to_le_bytes()[0] | 0x80);
                value >>= 7;
            }
            out.push(value.to_le_bytes()[0]);
        };
        let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
            unsigned(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        };
        unsigned(&mut out, self.dependencies.len() as u64);
        self.dependencies.iter().for_each(|hash| out.extend_from_slice(&hash.0));
        bytes(&mut out, &self.actor);
        unsigned(&mut out, self.seq);
        unsigned(&mut out, self.start_op);
        out.push(0);
        bytes(&mut out, &self.message);
        unsigned(&mut out, self.others.len() as u64);
        self.others.iter().for_each(|other| bytes(&mut out, other));
        unsigned(&mut out, self.columns.len() as u64);
        for (specification, data) in &self.columns {
            unsigned(&mut out, *specification);
            unsigned(&mut out, data.len() as u64);
        }
        self.columns.iter().for_each(|(_, data)| out.extend_from_slice(data));
        out.extend_from_slice(&self.extra);
        out
    }

    fn bytes(&self) -> Vec<u8> {
        chunk(1, &self.contents())
    }
}

/// A run: count and value.
fn run(count: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = count;
    loop {
        let byte = rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
        if rest == 0 && byte & 0x40 == 0 || rest == -1 && byte & 0x40 != 0 {
            out.push(byte);
            break;
        }
        out.push(byte | 0x80);
    }
    [out, value.to_vec()].concat()
}

/// A document with values of two authors, one of which was not seen by the other.
fn document() -> Replica {
    let mut one = Replica::begin(key());
    let mut other = one.clone();
    one.edit(actor(8), 0, &[("k", "a".to_owned())]).expect("an edit");
    let second = other.edit(actor(9), 0, &[("k", "b".to_owned()), ("l", "c".to_owned())]);
    one.admit([second.expect("an edit")]);
    one
}

/// What becomes of bytes at a document, within a second, which stays as it is unless they are taken.
fn offer(document: &mut Replica, bytes: &[u8]) -> Outcome {
    let started = Instant::now();
    let (heads, len) = (document.heads(), document.len());
    let outcome = match Change::read(bytes) {
        Ok(change) => document.admit([change]).outcomes.remove(0),
        Err(flaw) => Outcome::Refused(flaw.into()),
    };
    assert!(started.elapsed() < PATIENCE, "{outcome:?} took {:?}", started.elapsed());
    if outcome != Outcome::Taken {
        assert_eq!((document.heads(), document.len()), (heads, len), "{outcome:?}");
    }
    outcome
}

/// What is refused while it is read.
#[expect(clippy::too_many_lines, reason = "a table")]
fn refused_bytes() -> Vec<(&'static str, Vec<u8>, NotAChange)> {
    let begun = Replica::begin(key());
    let good = || Crafted::good(&begun);
    let whole = good().bytes();
    let unknown = [9; 16].to_vec();
    let inflating = chunk(2, &[0xff; 64]);
    let many = i64::try_from(limits::CHANGE_PUTS_MAX).expect("small") + 1;
    let cut = |length: usize| whole[..length].to_vec();
    let wrong_sum = {
        let mut bytes = whole.clone();
        bytes[5] ^= 1;
        bytes
    };
    vec![
        ("the largest number", good().with(|c| c.seq = u64::MAX).bytes(), NotAChange::Number),
        ("seq 0", good().with(|c| c.seq = 0).bytes(), NotAChange::Number),
        ("start_op 0", good().with(|c| c.start_op = 0).bytes(), NotAChange::Number),
        (
            "an actor that is not needed",
            good().with(|c| c.others = vec![unknown]).bytes(),
            NotAChange::Order,
        ),
        (
            "an object that is not there",
            good().column(0x01, &[0x7f, 0]).column(0x02, &[0x7f, 9]).bytes(),
            NotAChange::Column(0x01),
        ),
        (
            "an object of actor 77",
            good().column(0x01, &run(-1, &[77])).bytes(),
            NotAChange::Column(0x01),
        ),
        (
            "an insert after a missing element",
            good().column(0x11, &[0x7f, 0]).column(0x13, &[0x7f, 9]).column(0x34, &[0, 1]).bytes(),
            NotAChange::Column(0x11),
        ),
        ("an insert", good().column(0x34, &[0, 1]).bytes(), NotAChange::OtherOperation),
        (
            "a million puts",
            good().column(0x15, &run(1_000_000, &[1, b'k'])).bytes(),
            NotAChange::TooMany("puts"),
        ),
        (
            "ten million puts",
            good().column(0x15, &run(10_000_000, &[1, b'k'])).bytes(),
            NotAChange::TooMany("puts"),
        ),
        (
            "2^60 literals",
            good().column(0x15, &run(-(1 << 60), &[1, b'k'])).bytes(),
            NotAChange::Number,
        ),
        (
            "one put too many",
            good().column(0x15, &run(many, &[1, b'k'])).bytes(),
            NotAChange::TooMany("puts"),
        ),
        (
            "ten million actions",
            good().column(0x42, &run(10_000_000, &[1])).bytes(),
            NotAChange::TooMany("actions"),
        ),
        (
            "ten million nulls",
            good().column(0x42, &run(0, &[0x80, 0xad, 0xe2, 4])).bytes(),
            NotAChange::OtherOperation,
        ),
        (
            "2^40 replaced values",
            good().column(0x70, &run(-1, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x20])).bytes(),
            NotAChange::TooMany("replaced values"),
        ),
        (
            "replaced values that are not there",
            good().column(0x70, &run(-1, &[2])).bytes(),
            NotAChange::Columns,
        ),
        (
            "a replaced value of actor 1",
            good()
                .column(0x70, &run(-1, &[1]))
                .column(0x71, &run(-1, &[1]))
                .column(0x73, &run(-1, &[2]))
                .bytes(),
            NotAChange::Replaced,
        ),
        (
            "a replaced value of later",
            good()
                .column(0x70, &run(-1, &[1]))
                .column(0x71, &run(-1, &[0]))
                .column(0x73, &run(-1, &[3]))
                .bytes(),
            NotAChange::Replaced,
        ),
        ("an inflating chunk", inflating, NotAChange::OtherChunk),
        ("a document chunk", chunk(0, &good().contents()), NotAChange::OtherChunk),
        ("a bundle", chunk(3, &good().contents()), NotAChange::OtherChunk),
        (
            "a sync message",
            vec![0x42, 0, 0, 1, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            NotAChange::OtherChunk,
        ),
        (
            "an inflating column",
            good().column(0x15 | 8, &[0x7f, 1, b'k']).bytes(),
            NotAChange::Column(0x1d),
        ),
        ("a second chunk behind", [whole.clone(), whole.clone()].concat(), NotAChange::Length),
        ("a chunk cut short", cut(whole.len() - 1), NotAChange::Length),
        ("nothing", Vec::new(), NotAChange::OtherChunk),
        ("action 99", good().column(0x42, &run(-1, &[99])).bytes(), NotAChange::OtherOperation),
        ("an increment", good().column(0x42, &run(-1, &[5])).bytes(), NotAChange::OtherOperation),
        ("a counter", good().column(0x56, &[0x7f, 1 << 4 | 8]).bytes(), NotAChange::OtherOperation),
        (
            "an unknown value",
            good().column(0x56, &[0x7f, 1 << 4 | 15]).bytes(),
            NotAChange::OtherOperation,
        ),
        ("a wrong checksum", wrong_sum, NotAChange::Checksum),
        ("an actor of 17 bytes", good().with(|c| c.actor = vec![1; 17]).bytes(), NotAChange::Actor),
        ("an actor without bytes", good().with(|c| c.actor.clear()).bytes(), NotAChange::Actor),
        ("a message", good().with(|c| c.message = b"hi".to_vec()).bytes(), NotAChange::Extras),
        ("bytes at the end", good().with(|c| c.extra = vec![1]).bytes(), NotAChange::Extras),
        (
            "its own actor again",
            good().with(|c| c.others = vec![c.actor.clone()]).bytes(),
            NotAChange::Order,
        ),
        (
            "three hundred dependencies",
            good().with(|c| c.dependencies = vec![ChangeHash([1; 32]); 300]).bytes(),
            NotAChange::TooMany("dependencies"),
        ),
        (
            "a dependency twice",
            good().with(|c| c.dependencies = vec![c.dependencies[0]; 2]).bytes(),
            NotAChange::Order,
        ),
        (
            "three hundred actors",
            good().with(|c| c.others = vec![vec![1; 16]; 300]).bytes(),
            NotAChange::TooMany("actors"),
        ),
        (
            "a text without end",
            good().column(0x56, &run(-1, &[0x86, 0x80, 0x80, 1])).bytes(),
            NotAChange::Columns,
        ),
        ("text that is no text", good().column(0x57, &[0xff]).bytes(), NotAChange::Text),
        ("more text than stated", good().column(0x57, b"xy").bytes(), NotAChange::Columns),
        ("an empty key", good().column(0x15, &[0x7f, 0]).bytes(), NotAChange::Key),
        ("no puts", good().with(|c| c.columns.clear()).bytes(), NotAChange::Columns),
        ("a key twice", twice(good()).bytes(), NotAChange::Key),
        (
            "a longer form of a number",
            good().column(0x42, &[0xff, 0x7f, 1]).bytes(),
            NotAChange::Number,
        ),
        (
            "a change of 16 KiB",
            good().column(0x57, &vec![b'x'; limits::CHANGE_BYTES_MAX]).bytes(),
            NotAChange::TooLarge(limits::CHANGE_BYTES_MAX + 92),
        ),
    ]
}

/// Two puts at one key.
fn twice(good: Crafted) -> Crafted {
    good.column(0x15, &run(2, &[1, b'k']))
        .column(0x34, &[2])
        .column(0x42, &run(2, &[1]))
        .column(0x56, &run(2, &[1 << 4 | 6]))
        .column(0x57, b"xy")
        .column(0x70, &run(2, &[0]))
}

#[test]
fn hostile_bytes_are_no_changes() {
    let mut begun = Replica::begin(key());
    assert_eq!(offer(&mut begun.clone(), &Crafted::good(&begun).bytes()), Outcome::Taken);
    for (name, bytes, flaw) in refused_bytes() {
        assert_eq!(offer(&mut begun, &bytes), Outcome::Refused(flaw.into()), "{name}");
    }
}

#[test]
fn changes_that_do_not_fit_never_reach_the_library() {
    let mut begun = Replica::begin(key());
    let good = {
        let begun = begun.clone();
        move || Crafted::good(&begun)
    };
    let there = document();
    let on = |document: &Replica| Crafted::good(document).with(|c| c.start_op = 5);
    let replacing = |number: u8, counter: u8, others: Vec<Actor>| {
        on(&there)
            .with(|c| c.others = others.iter().map(|other| other.0.to_vec()).collect())
            .column(0x70, &run(-1, &[1]))
            .column(0x71, &run(-1, &[number]))
            .column(0x73, &run(-1, &[counter]))
    };
    let of_first = |c: &mut Crafted| c.dependencies = vec![first_hash(&there)];
    let cases = [
        ("seq 5 first", good().with(|c| c.seq = 5), Flaw::Sequence { expected: 1, found: 5 }),
        (
            "start_op at its end, two puts",
            good().with(|c| c.start_op = u32::MAX.into()),
            Flaw::Counter { expected: 3, found: u32::MAX.into() },
        ),
        (
            "start_op before its past",
            good().with(|c| c.start_op = 2),
            Flaw::Counter { expected: 3, found: 2 },
        ),
        ("another beginning", good().with(|c| c.dependencies.clear()), Flaw::OtherDocument),
        (
            "a reserved key",
            good().column(0x15, &[0x7f, 2, b'.', b'k']),
            Flaw::Reserved(".k".to_owned()),
        ),
    ];
    for (name, crafted, flaw) in cases {
        assert_eq!(offer(&mut begun, &crafted.bytes()), Outcome::Refused(flaw), "{name}");
    }
    let replaced = || Flaw::Replaced("k".to_owned());
    let cases = [
        ("a value that never was", replacing(1, 4, vec![actor(8)]), replaced()),
        ("a value of an actor that never wrote", replacing(1, 3, vec![Actor([9; 16])]), replaced()),
        ("a value of another key", replacing(1, 4, vec![actor(9)]), replaced()),
        (
            "a value that it could not see",
            replacing(1, 3, vec![actor(9)]).with(of_first).with(|c| c.start_op = 4),
            replaced(),
        ),
        (
            "not on its own past",
            on(&there)
                .with(of_first)
                .with(|c| (c.actor, c.seq, c.start_op) = (actor(9).0.to_vec(), 2, 4)),
            Flaw::OwnPast,
        ),
        (
            "a seq that was used",
            on(&there).with(|c| c.actor = actor(9).0.to_vec()),
            Flaw::Sequence { expected: 2, found: 1 },
        ),
    ];
    let mut document = there.clone();
    for (name, crafted, flaw) in cases {
        assert_eq!(offer(&mut document, &crafted.bytes()), Outcome::Refused(flaw), "{name}");
    }
    let sound = replacing(1, 3, vec![actor(9)]);
    assert_eq!(offer(&mut document, &sound.bytes()), Outcome::Taken);
    let orphan = good().with(|c| c.dependencies = vec![ChangeHash([1; 32])]);
    let waits = Outcome::Waits(vec![ChangeHash([1; 32])]);
    assert_eq!(offer(&mut begun.clone(), &orphan.bytes()), waits);
}

/// The hash of the change by device 8.
fn first_hash(document: &Replica) -> ChangeHash {
    let change = document.changes().find(|change| change.actor == actor(8));
    change.expect("it is there").hash
}

#[test]
fn a_change_that_would_be_written_otherwise_spoils_nothing() {
    // Two equal values as literals: well-formed, and no writer writes them so. Whoever rebuilt the
    // change would give it another hash.
    let mut begun = Replica::begin(key());
    let literals = Crafted::good(&begun)
        .column(0x15, &run(-2, &[1, b'k', 1, b'l']))
        .column(0x34, &[2])
        .column(0x42, &run(-2, &[1, 1]))
        .column(0x56, &run(2, &[1 << 4 | 6]))
        .column(0x57, b"xy")
        .column(0x70, &run(2, &[0]));
    assert_eq!(offer(&mut begun, &literals.bytes()), Outcome::Refused(Flaw::Unsound));
    // One bad change among good ones costs the good ones nothing.
    let good = Crafted::good(&begun).with(|c| c.actor = actor(4).0.to_vec());
    let read = |crafted: &Crafted| Change::read(&crafted.bytes()).expect("a change");
    let admission = begun.admit([read(&literals), read(&good)]);
    assert_eq!(admission.outcomes, [Outcome::Refused(Flaw::Unsound), Outcome::Taken]);
}

/// xorshift64*: enough for choosing what is broken next.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn % limit as u64).expect("below a usize")
    }
}

/// Good changes, each with the document before it.
fn history(dice: &mut Dice) -> Vec<(Replica, Vec<u8>)> {
    let mut replicas = vec![Replica::begin(key()); 3];
    let mut found = Vec::new();
    for number in 0..16 {
        let (own, other) = (dice.below(3), dice.below(3));
        if dice.below(2) == 0 {
            let theirs: Vec<_> = replicas[other].changes().cloned().collect();
            replicas[own].admit(theirs);
        }
        let before = replicas[own].clone();
        let count = dice.below(4) + 1;
        let keys: Vec<_> = (0..count).map(|key| format!("topic/{}", key * 3 % 5)).collect();
        let text = |key: &String| format!("{number} {}", key.len() * number);
        let puts: Vec<_> = keys.iter().map(|key| (key.as_str(), text(key))).collect();
        let device = u32::try_from(own).expect("small") + 1;
        let change = replicas[own].edit(actor(device), 1_795_000_000, &puts).expect("an edit");
        found.push((before, change.bytes().to_vec()));
    }
    found
}

fn mutate(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    // The contents alone: length and checksum are made to hold again.
    let mut rest = &bytes[9..];
    varint::read_unsigned(&mut rest).expect("a length");
    let mut contents = rest.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(contents.len());
        let random = u8::try_from(dice.below(256)).expect("below 256");
        match dice.below(6) {
            0 => contents[at] = random,
            1 => contents[at] ^= 1 << dice.below(8),
            2 => contents.insert(at, random),
            3 if contents.len() > 1 => drop(contents.remove(at)),
            4 => contents[at] = [0, 1, 0x7f, 0x80, 0xff, 0x40][dice.below(6)],
            _ => {
                let from = dice.below(contents.len());
                contents[at] = contents[from];
            }
        }
    }
    chunk(1, &contents)
}

#[test]
fn mutations_are_refused_or_sound() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 1..=8 {
        let mut dice = Dice(seed);
        let history = history(&mut dice);
        for _ in 0..2_500 {
            let (before, bytes) = &history[dice.below(history.len())];
            let mutant = mutate(bytes, &mut dice);
            let mut document = before.clone();
            match offer(&mut document, &mutant) {
                Outcome::Taken => {
                    taken += 1;
                    let changes: Vec<_> = document.changes().map(Change::bytes).collect();
                    let again = Replica::load(key(), changes).expect("loads again");
                    assert_eq!(again.heads(), document.heads(), "seed {seed}");
                    for key in document.keys() {
                        assert_eq!(again.values(&key), document.values(&key), "seed {seed}");
                    }
                }
                Outcome::Refused(Flaw::Panicked) => panic!("the library panicked, seed {seed}"),
                Outcome::Refused(_) | Outcome::Waits(_) => refused += 1,
                Outcome::Known => assert_eq!(&mutant, bytes),
            }
        }
    }
    // Both happen, else this proves nothing.
    assert!(taken > 500 && refused > 5_000, "{taken} taken, {refused} refused");
}
