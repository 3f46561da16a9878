//! A shared document as one place has it, and the gate through which changes of others come in.
//!
//! The gate (automerge 0.12 panics, hangs or spoils a document over changes that are well-formed
//! and wrong): a change is read column by column ([`Change::read`]), has to fit what is here
//! exactly, is applied to a copy where a panic is an answer, and the copy is written, read back
//! and compared, change by change and value by value, before it takes the document's place.
//!
//! Invariants: a replica that was saved and loaded is the same; equal sets of changes give equal
//! heads and values; no change of any origin comes in but through the gate, those made here
//! included, so that whatever one place makes the others take.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{Automerge, ObjId, ROOT, ReadDoc};

use super::change::{self, Change, Content, NotAChange, Put, ValueId};
use super::field::{self, GENERATION, NAME, RESERVED, Rule};
use super::id::{Actor, DocumentKey};
use super::limits;
use crate::ids::ChangeHash;
use crate::planted::{self, Fault};
use crate::time::Timestamp;

/// Why a change has no place in a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The bytes are no change of a shared document.
    #[error("the bytes are no change of a shared document: {0}")]
    NotAChange(#[from] NotAChange),
    /// It hashes to something else than was announced.
    #[error("it is not the change that was announced")]
    OtherHash,
    /// Another installation's, by its actor.
    #[error("it is written in the name of another installation, or of a log that is no more")]
    OtherActor,
    /// It does not build on the document's beginning.
    #[error("it does not build on this document")]
    OtherDocument,
    /// Its author's number is not the next one.
    #[error(
        "its author's change {expected} comes next, and it says it is {found}: the \
             installation was copied or restored; enrol it anew"
    )]
    Sequence {
        /// What comes next.
        expected: u64,
        /// What it says.
        found: u64,
    },
    /// It does not build on its author's own last change.
    #[error("it does not build on its author's own last change")]
    OwnPast,
    /// Its first put is not numbered after what it builds on.
    #[error("its first put is numbered {found}, after what it builds on it is {expected}")]
    Counter {
        /// The number that follows.
        expected: u64,
        /// What it says.
        found: u64,
    },
    /// It replaces what is not there, or not at that key, or what it could not have seen.
    #[error("it replaces values at '{0}' that are not there or that it could not have seen")]
    Replaced(String),
    /// A key that only a document's beginning has.
    #[error("the key '{0}' is kept for a document's beginning")]
    Reserved(String),
    /// The document is full.
    #[error("the document has {0}, as many as it may have: ask HQ to begin its next generation")]
    Full(&'static str),
    /// The library panicked over it.
    #[error("applying it failed")]
    Panicked,
    /// The library did not take it.
    #[error("it could not be applied: {0}")]
    Refused(String),
    /// The document would not be the same once saved and loaded.
    #[error("the document would not be the same once saved and loaded")]
    Unsound,
}

/// What the gate made of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the document now.
    Taken,
    /// It was there already.
    Known,
    /// It builds on changes that are not here yet: offered again once they are, it may be taken.
    Waits(Vec<ChangeHash>),
    /// It never comes in.
    Refused(Flaw),
}

/// What came of the changes that were offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// For each, in order.
    pub outcomes: Vec<Outcome>,
}

/// Why an edit can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Everything is there already.
    #[error("this is what the document says already")]
    NothingNew,
    /// A key or text that may not be, or the document is full.
    #[error("{0}")]
    Flaw(#[from] Flaw),
}

/// A value at a key, with who put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Who put it.
    pub actor: Actor,
    /// When, by that installation's clock, in seconds since 1970.
    pub time: i64,
    /// The change that put it.
    pub change: ChangeHash,
}

impl Value {
    /// When it was put, within the years that a calendar has: an author may say anything.
    pub fn put_at(&self) -> Timestamp {
        const LAST: i64 = 253_402_300_799;
        Timestamp(self.time.clamp(-LAST, LAST) * 1_000)
    }
}

/// A change in the document, with what it builds on.
#[derive(Clone, Debug)]
struct Placed {
    change: Change,
    /// The last change of each actor among what it builds on and itself.
    past: BTreeMap<Actor, u64>,
    /// The highest counter of its past, itself included.
    last_op: u64,
}

/// What is asked of a change before it is applied.
type Check = fn(&Replica, &Change) -> Result<(), Flaw>;

/// A generation of a document, as one place has it.
#[derive(Clone, Debug)]
pub struct Replica {
    key: DocumentKey,
    document: Automerge,
    /// In the order in which they came in; the beginning first.
    changes: Vec<Placed>,
    places: BTreeMap<ChangeHash, usize>,
    /// The change of every value that was ever put.
    values: BTreeMap<ValueId, usize>,
    last_seq: BTreeMap<Actor, u64>,
    bytes: usize,
}

impl Replica {
    /// A document at its beginning: the same at every place.
    pub fn begin(key: DocumentKey) -> Self {
        let mut replica = Self {
            key,
            document: Automerge::new(),
            changes: Vec::new(),
            places: BTreeMap::new(),
            values: BTreeMap::new(),
            last_seq: BTreeMap::new(),
            bytes: 0,
        };
        let put = |key: &str, text: String| Put { key: key.to_owned(), text, replaces: Vec::new() };
        let content = Content {
            actor: Actor::of_genesis(key),
            seq: 1,
            start_op: 1,
            time: 0,
            dependencies: &[],
            puts: &[put(NAME, key.id.to_string()), put(GENERATION, key.generation.to_string())],
        };
        let beginning = Change::make(&content).expect("names are short");
        replica.put_in(beginning).expect("an empty document takes its beginning");
        replica
    }

    /// A document of changes that were in it before, in any order.
    pub fn load<'a>(
        key: DocumentKey,
        changes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, Flaw> {
        let mut replica = Self::begin(key);
        let changes: Result<Vec<_>, _> = changes.into_iter().map(Change::read).collect();
        let mut left = changes?;
        while !left.is_empty() {
            let count = left.len();
            let mut early = Vec::new();
            for change in left {
                if !replica.missing(&change).is_empty() {
                    early.push(change);
                } else if !replica.has(&change.hash) {
                    replica.check_fit(&change)?;
                    replica.put_in(change)?;
                }
            }
            if early.len() == count {
                return Err(Flaw::OtherDocument);
            }
            left = early;
        }
        replica.proved()
    }

    /// Which generation of which document.
    pub const fn key(&self) -> DocumentKey {
        self.key
    }

    /// The changes that nothing builds on, in order.
    pub fn heads(&self) -> Vec<ChangeHash> {
        let mut heads: Vec<_> = self.document.get_heads().iter().map(|h| ChangeHash(h.0)).collect();
        heads.sort_unstable();
        heads
    }

    /// Whether a change is in it.
    pub fn has(&self, hash: &ChangeHash) -> bool {
        self.places.contains_key(hash)
    }

    /// Its changes after the beginning, in the order in which they came in.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().skip(1).map(|placed| &placed.change)
    }

    /// How many changes it has, the beginning included.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing was said in it yet.
    pub fn is_empty(&self) -> bool {
        self.changes.len() == 1
    }

    /// How many bytes its changes have.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// An Automerge document that any Automerge program loads.
    pub fn save(&self) -> Vec<u8> {
        self.document.save()
    }

    /// Its keys, without those of its beginning, in order.
    pub fn keys(&self) -> Vec<String> {
        let keys = self.document.keys(ROOT);
        keys.filter(|key| !key.starts_with(RESERVED)).collect()
    }

    /// The values at a key that nothing replaces: the one that holds first. More than one where
    /// people put them without seeing each other's.
    pub fn values(&self, key: &str) -> Vec<Value> {
        let mut values = self.all_values(key);
        values.reverse();
        if planted::is(Fault::DroppedConflict) {
            values.truncate(1);
        }
        values
    }

    /// The value that holds at a key, the same at every place with the same changes.
    pub fn text(&self, key: &str) -> Option<String> {
        self.values(key).into_iter().next().map(|value| value.text)
    }

    /// What a person has to settle: values at a key that differ, where the key's rule keeps them.
    pub fn conflict(&self, key: &str) -> Option<Vec<Value>> {
        if field::rule(self.key.id.kind(), key) == Rule::LastWins {
            return None;
        }
        let values = self.values(key);
        let texts: BTreeSet<_> = values.iter().map(|value| &value.text).collect();
        (texts.len() > 1).then_some(values)
    }

    /// In the library's order: the one that holds last.
    fn all_values(&self, key: &str) -> Vec<Value> {
        let found = self.document.get_all(ROOT, key);
        let found = found.expect("the root is a map, and its keys are texts");
        let value = |(value, id): (automerge::Value<'_>, ObjId)| {
            let ObjId::Id(counter, actor, _) = id else { return None };
            let actor = Actor(actor.to_bytes().try_into().ok()?);
            let change = &self.changes[*self.values.get(&ValueId { counter, actor })?].change;
            let text = value.as_str()?.to_owned();
            Some(Value { text, actor, time: change.time, change: change.hash })
        };
        found.into_iter().filter_map(value).collect()
    }

    /// Makes a change here: puts texts at keys, replacing what is seen there. Texts that are there
    /// already, alone, are left out.
    pub fn edit(
        &mut self,
        actor: Actor,
        time: i64,
        puts: &[(&str, String)],
    ) -> Result<Change, EditError> {
        for (key, text) in puts {
            change::check_key(key).map_err(Flaw::from)?;
            change::check_text(text).map_err(Flaw::from)?;
        }
        let is_new = |(key, text): &&(&str, String)| {
            let values = self.values(key);
            values.len() != 1 || values[0].text != *text
        };
        let put = |(key, text): &(&str, String)| Put {
            key: (*key).to_owned(),
            text: text.clone(),
            replaces: self.value_ids(key),
        };
        let puts: Vec<_> = puts.iter().filter(is_new).map(put).collect();
        if puts.is_empty() {
            return Err(EditError::NothingNew);
        }
        let dependencies = self.heads();
        let (_, last_op) = self.past(&dependencies);
        let content = Content {
            actor,
            seq: self.last_seq.get(&actor).copied().unwrap_or(0) + 1,
            start_op: last_op + 1,
            time,
            dependencies: &dependencies,
            puts: &puts,
        };
        let change = Change::make(&content).map_err(Flaw::from)?;
        let Admission { mut outcomes } = self.admit([change.clone()]);
        match outcomes.pop() {
            Some(Outcome::Taken) => Ok(change),
            Some(Outcome::Refused(flaw)) => Err(flaw.into()),
            _ => unreachable!("a change that is made here builds on what is here, and is new"),
        }
    }

    /// What a put at a key replaces that has seen everything here, in order.
    fn value_ids(&self, key: &str) -> Vec<ValueId> {
        let found = self.document.get_all(ROOT, key);
        let found = found.expect("the root is a map, and its keys are texts");
        let id = |(_, id): (automerge::Value<'_>, ObjId)| {
            let ObjId::Id(counter, actor, _) = id else { return None };
            Some(ValueId { counter, actor: Actor(actor.to_bytes().try_into().ok()?) })
        };
        let mut ids: Vec<_> = found.into_iter().filter_map(id).collect();
        ids.sort_unstable();
        ids
    }

    /// The gate: takes changes that were read, in order, all or some of them. Whoever calls has
    /// checked who sent them.
    ///
    /// All that fit come in together, at the price of one proof; only where that fails each is
    /// tried alone.
    pub fn admit(&mut self, changes: impl IntoIterator<Item = Change>) -> Admission {
        self.admit_by(changes.into_iter().collect(), Self::check)
    }

    /// As [`Self::admit`], of changes that HQ decided are in: how many a document may have was asked
    /// there, in the order in which they came there.
    pub fn admit_decided(&mut self, changes: impl IntoIterator<Item = Change>) -> Admission {
        self.admit_by(changes.into_iter().collect(), Self::check_fit)
    }

    fn admit_by(&mut self, changes: Vec<Change>, check: Check) -> Admission {
        let mut copy = self.clone();
        let outcomes: Vec<_> = changes.iter().map(|change| copy.offer(change, check)).collect();
        let taken = outcomes.iter().filter(|outcome| **outcome == Outcome::Taken).count();
        let has_failed = |outcome: &Outcome| {
            matches!(outcome, Outcome::Refused(Flaw::Panicked | Flaw::Refused(_)))
        };
        if taken == 0 && !outcomes.iter().any(has_failed) {
            return Admission { outcomes };
        }
        // A copy over which the library failed is worth nothing any more.
        let proved =
            if outcomes.iter().any(has_failed) { Err(Flaw::Unsound) } else { copy.proved() };
        match proved {
            Ok(proved) => {
                *self = proved;
                Admission { outcomes }
            }
            Err(flaw) if changes.len() == 1 => {
                let flaw = match outcomes.into_iter().next() {
                    Some(Outcome::Refused(flaw)) => flaw,
                    _ => flaw,
                };
                Admission { outcomes: vec![Outcome::Refused(flaw)] }
            }
            Err(_) => {
                let alone = |change| self.admit_by(vec![change], check).outcomes;
                Admission { outcomes: changes.into_iter().flat_map(alone).collect() }
            }
        }
    }

    /// Applies a change that fits; the result is not proved.
    fn offer(&mut self, change: &Change, check: Check) -> Outcome {
        if self.has(&change.hash) {
            return Outcome::Known;
        }
        let missing = self.missing(change);
        if !missing.is_empty() {
            return Outcome::Waits(missing);
        }
        match check(self, change).and_then(|()| self.put_in(change.clone())) {
            Ok(()) => Outcome::Taken,
            Err(flaw) => Outcome::Refused(flaw),
        }
    }

    fn missing(&self, change: &Change) -> Vec<ChangeHash> {
        change.dependencies.iter().filter(|hash| !self.has(hash)).copied().collect()
    }

    /// Whether a change fits, and the document has room for it.
    fn check(&self, change: &Change) -> Result<(), Flaw> {
        self.check_fit(change)?;
        if self.changes.len() >= limits::DOCUMENT_CHANGES_MAX {
            return Err(Flaw::Full("1000 changes"));
        }
        if self.bytes + change.bytes().len() > limits::DOCUMENT_BYTES_MAX {
            return Err(Flaw::Full("256 KiB of changes"));
        }
        for put in &change.puts {
            let after = self.all_values(&put.key).len() + 1;
            if after.saturating_sub(put.replaces.len()) > limits::VALUES_MAX {
                return Err(Flaw::Full("32 values at one key"));
            }
        }
        Ok(())
    }

    /// Whether a change whose dependencies are here fits exactly what is here.
    fn check_fit(&self, change: &Change) -> Result<(), Flaw> {
        if change.dependencies.is_empty() {
            return Err(Flaw::OtherDocument);
        }
        let expected = self.last_seq.get(&change.actor).copied().unwrap_or(0) + 1;
        if change.seq != expected {
            return Err(Flaw::Sequence { expected, found: change.seq });
        }
        let (past, last_op) = self.past(&change.dependencies);
        if past.get(&change.actor).copied().unwrap_or(0) != change.seq - 1 {
            return Err(Flaw::OwnPast);
        }
        if change.start_op != last_op + 1 {
            return Err(Flaw::Counter { expected: last_op + 1, found: change.start_op });
        }
        for put in &change.puts {
            if put.key.starts_with(RESERVED) {
                return Err(Flaw::Reserved(put.key.clone()));
            }
            if put.replaces.iter().any(|id| !self.was_seen(*id, &put.key, &past)) {
                return Err(Flaw::Replaced(put.key.clone()));
            }
        }
        Ok(())
    }

    /// The past of a change that builds on these: the last change of each actor, and the highest
    /// counter.
    fn past(&self, dependencies: &[ChangeHash]) -> (BTreeMap<Actor, u64>, u64) {
        let (mut past, mut last_op) = (BTreeMap::<Actor, u64>::new(), 0);
        for hash in dependencies {
            let Some(place) = self.places.get(hash) else { continue };
            let placed = &self.changes[*place];
            for (actor, seq) in &placed.past {
                let known = past.entry(*actor).or_default();
                *known = (*known).max(*seq);
            }
            last_op = last_op.max(placed.last_op);
        }
        (past, last_op)
    }

    /// Whether a value was put at a key by a change of that past.
    fn was_seen(&self, id: ValueId, key: &str, past: &BTreeMap<Actor, u64>) -> bool {
        let Some(place) = self.values.get(&id) else { return false };
        let change = &self.changes[*place].change;
        let index = usize::try_from(id.counter - change.start_op).expect("a change is small");
        change.puts[index].key == key && past.get(&change.actor) >= Some(&change.seq)
    }

    /// Applies a change that was checked. What the library does over it is not trusted.
    fn put_in(&mut self, change: Change) -> Result<(), Flaw> {
        let read = automerge::Change::try_from(change.bytes());
        let read = read.map_err(|error| Flaw::Refused(error.to_string()))?;
        if read.hash().0 != change.hash.0 {
            return Err(Flaw::OtherHash);
        }
        let document = &mut self.document;
        catch_unwind(AssertUnwindSafe(|| document.apply_changes([read])))
            .map_err(|_| Flaw::Panicked)?
            .map_err(|error| Flaw::Refused(error.to_string()))?;
        let (mut past, _) = self.past(&change.dependencies);
        past.insert(change.actor, change.seq);
        let place = self.changes.len();
        self.places.insert(change.hash, place);
        for (counter, _) in (change.start_op..).zip(&change.puts) {
            self.values.insert(ValueId { counter, actor: change.actor }, place);
        }
        self.last_seq.insert(change.actor, change.seq);
        self.bytes += change.bytes().len();
        let last_op = change.last_op();
        self.changes.push(Placed { change, past, last_op });
        Ok(())
    }

    /// Writes the document, reads it back, and compares; goes on with what was read.
    fn proved(mut self) -> Result<Self, Flaw> {
        let loaded = catch_unwind(AssertUnwindSafe(|| self.loaded()));
        self.document = loaded.map_err(|_| Flaw::Panicked)?.ok_or(Flaw::Unsound)?;
        Ok(self)
    }

    fn loaded(&self) -> Option<Automerge> {
        let loaded = Automerge::load(&self.document.save()).ok()?;
        let changes = loaded.get_changes(&[]);
        let is_same = |change: &automerge::Change| {
            let place = self.places.get(&ChangeHash(change.hash().0));
            place.is_some_and(|place| self.changes[*place].change.bytes() == change.raw_bytes())
        };
        let same_changes = changes.len() == self.changes.len() && changes.iter().all(is_same);
        let same_heads = loaded.get_heads() == self.document.get_heads();
        let values = |document: &Automerge| -> Option<Vec<_>> {
            let all = |key: String| {
                let found = document.get_all(ROOT, key.as_str()).ok()?;
                let texts = found.iter().map(|(value, id)| {
                    let ObjId::Id(counter, actor, _) = id else { return None };
                    Some((value.as_str()?.to_owned(), *counter, actor.clone()))
                });
                Some((key, texts.collect::<Option<Vec<_>>>()?))
            };
            document.keys(ROOT).map(all).collect()
        };
        let known = values(&self.document)?;
        let same_values = values(&loaded)? == known && known.iter().all(|(_, all)| !all.is_empty());
        (same_changes && same_heads && same_values).then_some(loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::{DocumentId, DocumentKind};
    use super::*;
    use crate::ids::{DeviceNo, LogId, SiteNo};

    fn notes() -> DocumentKey {
        DocumentKey::first(DocumentId::SiteNotes { site: SiteNo(5) })
    }

    fn actor(device: u32) -> Actor {
        Actor::of(SiteNo(5), DeviceNo(device), &LogId([7; 32]))
    }

    fn say(replica: &mut Replica, device: u32, key: &str, text: &str) -> Change {
        let puts = [(key, text.to_owned())];
        replica.edit(actor(device), 1_795_000_000, &puts).expect("an edit")
    }

    #[test]
    fn a_beginning_is_the_same_everywhere() {
        let (one, other) = (Replica::begin(notes()), Replica::begin(notes()));
        assert_eq!(one.heads(), other.heads());
        // It stands in documents for ever: another library or program must give the same.
        let expected = "df8e2bc580fd19d14ab200ac738c6e2ee19b8536df53c2bbce09baab28a75d09";
        assert_eq!(one.heads().iter().map(ChangeHash::to_string).collect::<Vec<_>>(), [expected]);
        assert_ne!(one.heads(), Replica::begin(notes().next()).heads());
        assert!(one.is_empty() && one.keys().is_empty());
    }

    #[test]
    fn values_that_do_not_know_of_each_other_are_kept_until_a_person_settles() {
        let mut one = Replica::begin(notes());
        let mut other = one.clone();
        let first = say(&mut one, 3, "item/7", "leaks");
        let second = say(&mut other, 4, "item/7", "does not leak");
        assert_eq!(one.admit([second]).outcomes, [Outcome::Taken]);
        assert_eq!(other.admit([first]).outcomes, [Outcome::Taken]);
        assert_eq!((one.heads(), one.values("item/7")), (other.heads(), other.values("item/7")));
        let texts = |replica: &Replica| {
            let conflict = replica.conflict("item/7")?;
            Some(conflict.into_iter().map(|value| value.text).collect::<BTreeSet<_>>())
        };
        let both = BTreeSet::from(["leaks".to_owned(), "does not leak".to_owned()]);
        assert_eq!(texts(&one), Some(both));
        let settled = say(&mut other, 4, "item/7", "leaks when full");
        assert_eq!(one.admit([settled]).outcomes, [Outcome::Taken]);
        assert_eq!((texts(&one), one.text("item/7")), (None, Some("leaks when full".to_owned())));
    }

    #[test]
    fn the_last_one_holds_where_nothing_is_kept() {
        assert_eq!(field::rule(DocumentKind::Transfer, "carrier"), Rule::LastWins);
        let id = "transfer:3-1:5:6".parse().expect("an id");
        let mut one = Replica::begin(DocumentKey::first(id));
        let mut other = one.clone();
        let first = say(&mut one, 3, "carrier", "SF");
        let second = say(&mut other, 4, "carrier", "own lorry");
        one.admit([second]);
        other.admit([first]);
        assert_eq!(one.text("carrier"), other.text("carrier"));
        assert_eq!(one.conflict("carrier"), None);
    }

    #[test]
    fn changes_equal_those_of_the_library() {
        use automerge::transaction::{CommitOptions, Transactable};
        use automerge::{ActorId, AutomergeError, ScalarValue};
        let (mut replicas, mut number) = ([Replica::begin(notes()), Replica::begin(notes())], 0);
        for round in 0..40 {
            let own = round % 2;
            if round % 5 == 0 {
                let theirs: Vec<_> = replicas[1 - own].changes().cloned().collect();
                replicas[own].admit(theirs);
            }
            // Keys and lengths in runs and lists, what is there and what is not.
            let puts: Vec<_> = (0..=round % 7)
                .map(|index| {
                    number += 1;
                    let text = "x".repeat(index / 2 * 100) + &number.to_string();
                    (format!("topic/{}", (index * 3 + round) % 11), text)
                })
                .collect();
            let puts: Vec<_> =
                puts.iter().map(|(key, text)| (key.as_str(), text.clone())).collect();
            let device = u32::try_from(own).expect("small") + 3;
            let mut library = replicas[own].document.clone();
            library.set_actor(ActorId::from(actor(device).0));
            let time = i64::try_from(round).expect("small") * 1_000 - 7_000;
            let made = library.transact_with::<_, _, AutomergeError, _>(
                |()| CommitOptions::default().with_time(time),
                |transaction| {
                    puts.iter().try_for_each(|(key, text)| {
                        transaction.put(ROOT, *key, ScalarValue::Str(text.as_str().into()))
                    })
                },
            );
            let hash = made.expect("puts can't fail").hash.expect("a change");
            let expected = library.get_change_by_hash(&hash).expect("just made");
            let change = replicas[own].edit(actor(device), time, &puts).expect("an edit");
            assert!(change.bytes() == expected.raw_bytes(), "round {round}");
        }
    }

    #[test]
    fn a_put_of_what_holds_already_settles() {
        let mut one = Replica::begin(notes());
        let mut other = one.clone();
        say(&mut one, 3, "item/7", "leaks");
        let second = say(&mut other, 4, "item/7", "does not leak");
        one.admit([second]);
        let holds = one.text("item/7").expect("one of them");
        say(&mut one, 3, "item/7", &holds);
        assert_eq!((one.conflict("item/7"), one.text("item/7")), (None, Some(holds)));
    }

    #[test]
    fn what_is_said_already_is_no_change() {
        let mut replica = Replica::begin(notes());
        say(&mut replica, 3, "item/7", "leaks");
        let puts = [("item/7", "leaks".to_owned())];
        assert_eq!(replica.edit(actor(4), 0, &puts), Err(EditError::NothingNew));
        assert_eq!(replica.len(), 2);
    }

    #[test]
    fn edits_keep_to_the_limits() {
        let mut replica = Replica::begin(notes());
        let long = "x".repeat(limits::VALUE_BYTES_MAX + 1);
        let cases = [
            ("", String::new(), Flaw::NotAChange(NotAChange::Key)),
            ("a\n", String::new(), Flaw::NotAChange(NotAChange::Key)),
            ("item/7", long, Flaw::NotAChange(NotAChange::Text)),
            ("item/7", "\u{7}".to_owned(), Flaw::NotAChange(NotAChange::Text)),
            (".document", "mine".to_owned(), Flaw::Reserved(".document".to_owned())),
        ];
        for (key, text, flaw) in cases {
            let puts = [(key, text)];
            assert_eq!(replica.edit(actor(3), 0, &puts), Err(EditError::Flaw(flaw)), "{key}");
        }
        assert!(replica.is_empty());
    }

    #[test]
    fn a_change_whose_past_is_missing_waits() {
        let mut one = Replica::begin(notes());
        let first = say(&mut one, 3, "item/7", "leaks");
        let second = say(&mut one, 3, "item/8", "too");
        let mut other = Replica::begin(notes());
        let outcome = other.admit([second.clone()]).outcomes;
        assert_eq!(outcome, [Outcome::Waits(vec![first.hash])]);
        let outcomes = other.admit([first.clone(), second, first]).outcomes;
        assert_eq!(outcomes, [Outcome::Taken, Outcome::Taken, Outcome::Known]);
        assert_eq!(one.heads(), other.heads());
    }

    #[test]
    fn a_key_has_a_bounded_number_of_values_unless_hq_decided_otherwise() {
        let mut replica = Replica::begin(notes());
        let begun = replica.clone();
        let count = u32::try_from(limits::VALUES_MAX).expect("small") + 1;
        let apart = |device: u32| say(&mut begun.clone(), device, "topic/a", &device.to_string());
        let changes: Vec<_> = (1..=count).map(apart).collect();
        let outcomes = replica.clone().admit(changes.clone()).outcomes;
        let (last, before) = outcomes.split_last().expect("some");
        assert!(before.iter().all(|outcome| *outcome == Outcome::Taken));
        assert_eq!(last, &Outcome::Refused(Flaw::Full("32 values at one key")));
        let decided = replica.admit_decided(changes).outcomes;
        assert!(decided.iter().all(|outcome| *outcome == Outcome::Taken));
        let bytes: Vec<_> = replica.changes().map(|change| change.bytes().to_vec()).collect();
        let loaded = Replica::load(notes(), bytes.iter().map(Vec::as_slice)).expect("loads");
        assert_eq!(loaded.values("topic/a").len(), limits::VALUES_MAX + 1);
    }

    #[test]
    fn a_full_document_takes_no_more() {
        let mut replica = Replica::begin(notes());
        let text = |number: usize| format!("{number} {}", "x".repeat(limits::VALUE_BYTES_MAX - 8));
        let full = (0..limits::DOCUMENT_CHANGES_MAX).find_map(|number| {
            let puts = [("topic/a", text(number)), ("topic/b", text(number))];
            replica.edit(actor(3), 0, &puts).err()
        });
        assert_eq!(full, Some(EditError::Flaw(Flaw::Full("256 KiB of changes"))));
        assert!(replica.bytes() <= limits::DOCUMENT_BYTES_MAX);
        let bytes: Vec<_> = replica.changes().map(|change| change.bytes().to_vec()).collect();
        let loaded = Replica::load(notes(), bytes.iter().map(Vec::as_slice)).expect("loads");
        assert_eq!(loaded.heads(), replica.heads());
    }
}
