//! What lies here for others: bundles on their way to HQ, HQ's words on their way back, dispatch notes. Knows no
//! connection and no key. Invariants: what is kept is durable; bundles for others never take more than
//! their quota, and notes for others an eighth of it beside; nothing of another site goes before HQ has acknowledged it, or said that it
//! does not take it.
//!
//! ```text
//! carried/LOG-AFTER-LAST.bundle   facts of another site's log, sealed to HQ
//! carried/LOG.word                HQ's newest acknowledgement of that log
//! carried/LOG.answer              HQ's answer to its site, sealed to it
//! carried/LOG-RECEIVER.note       the newest dispatch note of one site's log to another's, sealed to it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::ids::{LogId, Seq};
use shared::planted::{self, Fault};
use shared::sync::bundle::{BundleDigest, Direction};
use shared::sync::carry::{Gift, Offer};
use shared::sync::{Acknowledgement, SignedAcknowledgement};
use shared::time::Timestamp;
use tokio::sync::watch;

use super::post::Peer;

const BUNDLE: &str = "bundle";
const WORD: &str = "word";
const ANSWER: &str = "answer";
const NOTE: &str = "note";
/// Dispatch notes for others take at most this part of the quota, beside it.
const NOTES_PART: u64 = 8;
/// A file that is being written.
const NEXT: &str = "next";

/// See the module.
#[derive(Debug)]
pub struct Depot {
    folder: PathBuf,
    /// For bundles on their way to HQ.
    quota_bytes: u64,
    inner: Mutex<Inner>,
    /// Held while a file is written and entered, or let go: two neighbours may bring the same, or the
    /// next one while the last is delivered.
    keeping: Mutex<()>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    bundles: BTreeMap<Place, Held>,
    words: BTreeMap<LogId, Word>,
    /// Dispatch notes by sender and receiver.
    notes: BTreeMap<(LogId, LogId), (Offer, Presence)>,
    /// What came of a bundle over a connection that ended, and from whom: nobody has proved it.
    unfinished: Option<(Peer, Offer, Vec<u8>)>,
}

/// Whose facts, up to which, after which: in this order HQ wants them, and what only asks HQ for its
/// word comes last.
type Place = (LogId, Seq, Seq);

const fn place(offer: &Offer) -> Place {
    (offer.head.log, offer.head.last, offer.head.after)
}

/// A bundle on its way to HQ.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// What it is.
    pub(super) offer: Offer,
    /// Since when it lies here, by this node's clock; when the program started, for older ones.
    pub(super) since: Timestamp,
    /// Why HQ did not take it, where a later one may succeed.
    pub(super) problem: Option<String>,
}

/// What HQ said of a log.
#[derive(Clone, Debug)]
struct Word {
    signed: SignedAcknowledgement,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// None came with this word.
    Missing,
    Here(Offer),
    /// Its site has it.
    Delivered,
}

/// Whether a dispatch note lies here, or its receiver has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    Delivered,
}

/// Why a bundle can't be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum DepotError {
    #[error(
        "this node keeps at most {0} bytes for its neighbours, and has as many: it takes more once it \
         reaches HQ (or raise 'carry_mib' under [neighbours] in node.toml)"
    )]
    Full(u64),
    #[error(
        "this node keeps at most {0} bytes of dispatch notes for its neighbours, and has as many: it \
         takes more once some are delivered (or raise 'carry_mib' under [neighbours] in node.toml)"
    )]
    NotesFull(u64),
    #[error("this node can't keep anything for its neighbours: {0}")]
    Io(#[from] io::Error),
}

impl Depot {
    /// Opens the folder; what is damaged in it goes, for its author has it still.
    pub fn open(folder: PathBuf, quota_bytes: u64, now: Timestamp) -> io::Result<Self> {
        let mut inner = Inner::default();
        if folder.exists() {
            let mut answers = Vec::new();
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
                let known = match kind {
                    BUNDLE => inner.read_bundle(&path, now)?,
                    NOTE => inner.read_note(&path)?,
                    WORD => inner.read_word(&path)?,
                    ANSWER => {
                        answers.push(path.clone());
                        true
                    }
                    _ => kind != NEXT,
                };
                if !known {
                    tracing::warn!("{} is damaged or incomplete: it goes", path.display());
                    fs::remove_file(&path)?;
                }
            }
            for path in answers {
                inner.read_answer(&path)?;
            }
        }
        let (inner, keeping) = (Mutex::new(inner), Mutex::default());
        Ok(Self { folder, quota_bytes, inner, keeping, changes: watch::Sender::new(0) })
    }

    /// Changes with whatever comes or goes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Bundles on their way to HQ, in the order in which HQ wants them.
    pub(super) fn held(&self) -> Vec<Held> {
        self.lock().bundles.values().cloned().collect()
    }

    /// HQ's newest word on every log that something was carried of.
    pub(super) fn words(&self) -> Vec<SignedAcknowledgement> {
        self.lock().words.values().map(|word| word.signed).collect()
    }

    /// HQ's answers that their sites do not have yet.
    pub(super) fn answers(&self) -> Vec<Offer> {
        let inner = self.lock();
        let here = |word: &Word| match word.answer {
            Answer::Here(offer) => Some(offer),
            Answer::Missing | Answer::Delivered => None,
        };
        inner.words.values().filter_map(here).collect()
    }

    /// How far a log is here or at HQ, for someone who has it up to `after` there.
    pub(super) fn covered(&self, log: &LogId, after: Seq) -> Seq {
        let inner = self.lock();
        let word = inner.words.get(log).map(|word| word.signed.acknowledgement.received.last);
        let mut covered = after.max(word.unwrap_or(Seq::ZERO));
        let all = (*log, Seq::ZERO, Seq::ZERO)..=(*log, Seq(u64::MAX), Seq(u64::MAX));
        for held in inner.bundles.range(all) {
            if held.1.offer.head.after <= covered {
                covered = covered.max(held.1.offer.head.last);
            }
        }
        covered
    }

    /// Whether a bundle lies here that asks HQ for its word on a log as it stands.
    pub(super) fn is_asked(&self, log: &LogId, last: Seq) -> bool {
        self.lock().bundles.contains_key(&(*log, last, last))
    }

    /// Whether an answer is wanted: HQ's word that it came with is here, and no answer to it.
    pub(super) fn wants_answer(&self, log: &LogId) -> bool {
        self.lock().words.get(log).is_some_and(|word| word.answer == Answer::Missing)
    }

    /// Dispatch notes that lie here.
    pub(super) fn notes(&self) -> Vec<Offer> {
        let inner = self.lock();
        let here = inner.notes.values().filter(|(_, presence)| *presence == Presence::Here);
        here.map(|(offer, _)| *offer).collect()
    }

    /// Up to where a sender's log is told of in the newest note to a receiver that came by here.
    pub(super) fn noted(&self, sender: LogId, receiver: LogId) -> Seq {
        let inner = self.lock();
        let newest = inner.notes.get(&(sender, receiver));
        newest.map_or(Seq::ZERO, |(offer, _)| offer.head.last)
    }

    /// Keeps a dispatch note whose signature was proved, instead of an older one. Durable when it
    /// returns.
    pub(super) fn keep_note(&self, gift: &Gift) -> Result<(), DepotError> {
        let Some(key) = note_key(&gift.offer) else { return Ok(()) };
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&note_name(key), &gift.bytes)?;
        self.lock().notes.insert(key, (gift.offer, Presence::Here));
        self.changed();
        Ok(())
    }

    /// Whether there is room for a bundle, once what HQ has is gone.
    pub(super) fn make_room(&self, bytes: u64) -> Result<(), DepotError> {
        let mut inner = self.lock();
        if inner.bytes() + bytes > self.quota_bytes {
            self.drop_where(&mut inner, |held, word| {
                word.is_some_and(|word| word.received.last >= held.offer.head.last)
            })?;
        }
        if inner.bytes() + bytes > self.quota_bytes {
            return Err(DepotError::Full(self.quota_bytes));
        }
        Ok(())
    }

    /// Whether there is room for a dispatch note to somebody else. Who may be carried for may name any
    /// receiver.
    pub(super) fn make_room_for_note(&self, offer: &Offer) -> Result<(), DepotError> {
        let inner = self.lock();
        let others = inner.notes.iter().filter(|(key, _)| note_key(offer) != Some(**key));
        let others = others.filter(|(_, (_, presence))| *presence == Presence::Here);
        let bytes: u64 = others.map(|(_, (offer, _))| offer.bytes).sum();
        let most = self.quota_bytes / NOTES_PART;
        if bytes + offer.bytes <= most { Ok(()) } else { Err(DepotError::NotesFull(most)) }
    }

    /// Keeps a bundle to HQ whose signature was proved, while there is room: others may have come since
    /// that was asked. Durable when it returns.
    pub(super) fn keep(&self, gift: &Gift, now: Timestamp) -> Result<(), DepotError> {
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let key = place(&gift.offer);
        if self.lock().bundles.contains_key(&key) {
            return Ok(());
        }
        self.make_room(gift.offer.bytes)?;
        self.write(&bundle_name(&gift.offer), &gift.bytes)?;
        let held = Held { offer: gift.offer, since: now, problem: None };
        self.lock().bundles.insert(key, held);
        self.changed();
        Ok(())
    }

    /// Keeps HQ's answer to a site, whose signature was proved. Durable when it returns.
    pub(super) fn keep_answer(&self, gift: &Gift) -> Result<(), DepotError> {
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let log = gift.offer.head.log;
        self.write(&format!("{log}.{ANSWER}"), &gift.bytes)?;
        if let Some(word) = self.lock().words.get_mut(&log) {
            word.answer = Answer::Here(gift.offer);
        }
        self.changed();
        Ok(())
    }

    /// Keeps HQ's word on a log, whose signature was proved, where it is newer than what is known.
    /// What HQ then has for good goes. `copies`: HQ has called something else safe.
    pub(super) fn note(
        &self,
        signed: SignedAcknowledgement,
        copies: bool,
    ) -> Result<(), DepotError> {
        let said = signed.acknowledgement;
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.lock().words.get(&said.log).map(|word| word.signed.acknowledgement.at);
        if known.is_some_and(|known| known >= said.at) {
            return Ok(());
        }
        self.write(&format!("{}.{WORD}", said.log), &signed.encode())?;
        let mut inner = self.lock();
        inner.words.insert(said.log, Word { signed, answer: Answer::Missing });
        let is_safe = |word: &Word| word.signed.acknowledgement.safe > Seq::ZERO;
        let copies = copies || inner.words.values().any(is_safe);
        self.drop_where(&mut inner, |held, word| {
            word.is_some_and(|word| is_for_good(word, held.offer.head.last, copies))
        })?;
        // What is in HQ's books HQ itself tells the receiver.
        let told = |offer: &Offer| offer.head.log == said.log && offer.head.last <= said.posted;
        let told: Vec<_> = inner
            .notes
            .values()
            .filter(|(offer, presence)| *presence == Presence::Here && told(offer))
            .map(|(offer, _)| *offer)
            .collect();
        drop(inner);
        told.iter().try_for_each(|offer| self.let_go(offer))?;
        self.changed();
        Ok(())
    }

    /// The site has HQ's answer, or the receiver its note.
    pub(super) fn delivered(&self, offer: &Offer) -> io::Result<()> {
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        self.let_go(offer)
    }

    fn let_go(&self, offer: &Offer) -> io::Result<()> {
        let log = offer.head.log;
        let mut inner = self.lock();
        if let Some(key) = note_key(offer) {
            match inner.notes.get_mut(&key) {
                Some((newest, presence)) if newest == offer => *presence = Presence::Delivered,
                _ => return Ok(()),
            }
            return fs::remove_file(self.folder.join(note_name(key)));
        }
        if let Some(word) = inner.words.get_mut(&log)
            && word.answer == Answer::Here(*offer)
        {
            word.answer = Answer::Delivered;
            fs::remove_file(self.folder.join(format!("{log}.{ANSWER}")))?;
        }
        Ok(())
    }

    /// A bundle's bytes; `None` where it is gone, or not what it was.
    pub(super) fn read(&self, offer: &Offer) -> io::Result<Option<Gift>> {
        let name = match offer.head.direction {
            Direction::ToHq => bundle_name(offer),
            Direction::FromHq => format!("{}.{ANSWER}", offer.head.log),
            Direction::ToSite(receiver) => note_name((offer.head.log, receiver)),
        };
        match fs::read(self.folder.join(name)) {
            Ok(bytes) => Ok(Gift::of(bytes).ok().filter(|gift| gift.offer == *offer)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets a bundle go that HQ never takes.
    pub(super) fn drop_bundle(&self, offer: &Offer) -> io::Result<()> {
        let mut inner = self.lock();
        self.drop_where(&mut inner, |held, _| held.offer == *offer)?;
        drop(inner);
        self.changed();
        Ok(())
    }

    /// Remembers why HQ did not take a bundle now.
    pub(super) fn note_problem(&self, offer: &Offer, why: &str) {
        let key = place(offer);
        if let Some(held) = self.lock().bundles.get_mut(&key) {
            held.problem = Some(why.to_owned());
        }
    }

    /// Keeps the beginning of a bundle until the next connection with whom it came from.
    pub(super) fn park(&self, by: Peer, (offer, bytes): (Offer, Vec<u8>)) {
        self.lock().unfinished = Some((by, offer, bytes));
    }

    /// The beginning of a bundle that came from there.
    pub(super) fn parked(&self, by: Peer, offer: &Offer) -> Vec<u8> {
        let mut inner = self.lock();
        let there = inner.unfinished.take_if(|(from, parked, _)| (*from, &*parked) == (by, offer));
        there.map_or_else(Vec::new, |(_, _, bytes)| bytes)
    }

    fn drop_where(
        &self,
        inner: &mut Inner,
        goes: impl Fn(&Held, Option<&Acknowledgement>) -> bool,
    ) -> io::Result<()> {
        let Inner { bundles, words, .. } = inner;
        let word_on = |log| words.get(log).map(|word| &word.signed.acknowledgement);
        let gone = bundles.iter().filter(|((log, ..), held)| goes(held, word_on(log)));
        let gone: Vec<_> = gone.map(|(key, held)| (*key, held.offer)).collect();
        for (key, offer) in gone {
            bundles.remove(&key);
            match fs::remove_file(self.folder.join(bundle_name(&offer))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a file whole or not at all, durably.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut next =
            tempfile::Builder::new().suffix(&format!(".{NEXT}")).tempfile_in(&self.folder)?;
        next.write_all(bytes)?;
        next.as_file().sync_all()?;
        next.persist(self.folder.join(name)).map_err(|error| error.error)?;
        File::open(&self.folder)?.sync_all()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is one insertion or removal.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// HQ has it where losing one machine does not lose it; where HQ makes no copies, at all.
fn is_for_good(said: &Acknowledgement, last: Seq, copies: bool) -> bool {
    let is_enough = !copies || planted::is(Fault::TrimAtReceived);
    let level = if is_enough { said.received.last } else { said.safe };
    level >= last
}

impl Inner {
    fn bytes(&self) -> u64 {
        self.bundles.values().map(|held| held.offer.bytes).sum()
    }

    fn read_bundle(&mut self, path: &Path, now: Timestamp) -> io::Result<bool> {
        let Ok(gift) = Gift::of(fs::read(path)?) else { return Ok(false) };
        let key = place(&gift.offer);
        let held = Held { offer: gift.offer, since: now, problem: None };
        self.bundles.insert(key, held);
        Ok(path.file_name().is_some_and(|name| *name == *bundle_name(&gift.offer)))
    }

    fn read_note(&mut self, path: &Path) -> io::Result<bool> {
        let gift = Gift::of(fs::read(path)?).ok();
        let key = gift.as_ref().and_then(|gift| note_key(&gift.offer));
        let (Some(gift), Some(key)) = (gift, key) else { return Ok(false) };
        self.notes.insert(key, (gift.offer, Presence::Here));
        Ok(path.file_name().is_some_and(|name| *name == *note_name(key)))
    }

    fn read_word(&mut self, path: &Path) -> io::Result<bool> {
        let Ok(signed) = SignedAcknowledgement::decode(&fs::read(path)?) else { return Ok(false) };
        // An answer that was delivered before may come again: its site skips it.
        let word = Word { signed, answer: Answer::Missing };
        self.words.insert(signed.acknowledgement.log, word);
        Ok(true)
    }

    fn read_answer(&mut self, path: &Path) -> io::Result<()> {
        let gift = Gift::of(fs::read(path)?).ok();
        let word = gift.as_ref().and_then(|gift| self.words.get_mut(&gift.offer.head.log));
        match (word, gift) {
            (Some(word), Some(gift)) => word.answer = Answer::Here(gift.offer),
            _ => fs::remove_file(path)?,
        }
        Ok(())
    }
}

/// Sender and receiver of a dispatch note.
const fn note_key(offer: &Offer) -> Option<(LogId, LogId)> {
    match offer.head.direction {
        Direction::ToSite(receiver) => Some((offer.head.log, receiver)),
        Direction::ToHq | Direction::FromHq => None,
    }
}

fn note_name((sender, receiver): (LogId, LogId)) -> String {
    format!("{sender}-{receiver}.{NOTE}")
}

fn bundle_name(offer: &Offer) -> String {
    let head = offer.head;
    format!("{}-{}-{}.{BUNDLE}", head.log, head.after, head.last)
}

/// What names a bundle, in few letters, for people.
pub(super) fn short(digest: &BundleDigest) -> String {
    data_encoding::HEXLOWER.encode(&digest.0[..4])
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use shared::ids::{Head, HistoryId};
    use shared::sync::Position;
    use shared::sync::bundle::{BundleHead, BundleWriter, Seed};

    use super::*;

    const LOG: LogId = LogId([7; 32]);
    const NOW: Timestamp = Timestamp(5);

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[1; 32])
    }

    fn gift(direction: Direction, after: u64, last: u64) -> Gift {
        let (after, last) = (Seq(after), Seq(last));
        let head = BundleHead { direction, history: HistoryId([8; 32]), log: LOG, after, last };
        let writer = BundleWriter::new(&head, &key().verifying_key(), key(), &Seed([9; 32]));
        Gift::of(writer.expect("a usable key").finish()).expect("a bundle by its outside")
    }

    fn word(received: u64, safe: u64, at: i64) -> SignedAcknowledgement {
        let received = Position { last: Seq(received), head: Head([3; 32]) };
        let (safe, posted, at) = (Seq(safe), Seq::ZERO, Timestamp(at));
        let (history, given) = (HistoryId([8; 32]), shared::sync::Given::default());
        Acknowledgement { history, log: LOG, received, safe, posted, at, given }.sign(&key())
    }

    fn depot(folder: &Path, quota_bytes: u64) -> Depot {
        Depot::open(folder.join("carried"), quota_bytes, NOW).expect("a folder")
    }

    fn lasts(depot: &Depot) -> Vec<u64> {
        depot.held().iter().map(|held| held.offer.head.last.0).collect()
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let before = depot(folder.path(), 1_000_000);
        for (after, last) in [(0, 10), (10, 20), (30, 40)] {
            before.keep(&gift(Direction::ToHq, after, last), NOW).expect("room");
        }
        before.note(word(5, 0, 1), false).expect("room");
        before.keep_answer(&gift(Direction::FromHq, 0, 5)).expect("room");
        for depot in [before, depot(folder.path(), 1_000_000)] {
            assert_eq!(lasts(&depot), [10, 20, 40]);
            let covered = [(0, 20), (15, 20), (20, 20), (30, 40)];
            for (after, expected) in covered {
                assert_eq!(depot.covered(&LOG, Seq(after)), Seq(expected), "after {after}");
            }
            assert_eq!(depot.answers(), [gift(Direction::FromHq, 0, 5).offer]);
            let first = depot.held()[0].offer;
            assert_eq!(depot.read(&first).expect("there"), Some(gift(Direction::ToHq, 0, 10)));
        }
    }

    #[test]
    fn what_hq_has_goes_once_it_is_safe() {
        let folder = tempfile::tempdir().expect("a folder");
        let depot = depot(folder.path(), 1_000_000);
        for (after, last) in [(0, 10), (10, 20), (20, 30)] {
            depot.keep(&gift(Direction::ToHq, after, last), NOW).expect("room");
        }
        // The log is in none of HQ's backups yet.
        depot.note(word(10, 0, 0), true).expect("room");
        assert_eq!(lasts(&depot), [10, 20, 30]);
        // An HQ that makes no backups never says safe.
        depot.note(word(10, 0, 1), false).expect("room");
        assert_eq!(lasts(&depot), [20, 30]);
        depot.note(word(30, 19, 2), false).expect("room");
        assert_eq!(lasts(&depot), [20, 30]);
        depot.note(word(30, 20, 3), false).expect("room");
        assert_eq!(lasts(&depot), [30]);
        // An older word comes late.
        depot.note(word(10, 0, 2), false).expect("room");
        assert_eq!(depot.words(), [word(30, 20, 3)]);
        assert_eq!(depot.covered(&LOG, Seq::ZERO), Seq(30));
    }

    #[test]
    fn a_full_depot_lets_go_what_hq_has_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let size = gift(Direction::ToHq, 0, 10).offer.bytes;
        let depot = depot(folder.path(), 2 * size);
        for (after, last) in [(0, 10), (10, 20)] {
            depot.make_room(size).expect("room");
            depot.keep(&gift(Direction::ToHq, after, last), NOW).expect("room");
        }
        assert!(matches!(depot.make_room(size), Err(DepotError::Full(_))));
        depot.note(word(10, 5, 1), false).expect("room");
        assert_eq!(lasts(&depot), [10, 20], "not safe yet");
        depot.make_room(size).expect("HQ has the first one");
        assert_eq!(lasts(&depot), [20]);
    }

    #[test]
    fn what_came_meanwhile_is_no_more_than_the_quota() {
        let folder = tempfile::tempdir().expect("a folder");
        let size = gift(Direction::ToHq, 0, 10).offer.bytes;
        let depot = depot(folder.path(), size);
        // Two neighbours begin before either has brought all of its bundle.
        depot.make_room(size).expect("room");
        depot.make_room(size).expect("room");
        depot.keep(&gift(Direction::ToHq, 0, 10), NOW).expect("room");
        let second = depot.keep(&gift(Direction::ToHq, 10, 20), NOW);
        assert!(matches!(second, Err(DepotError::Full(_))), "{second:?}");
        assert_eq!(lasts(&depot), [10]);
    }

    #[test]
    fn notes_to_whomever_take_a_part_of_the_quota() {
        let folder = tempfile::tempdir().expect("a folder");
        let to = |receiver: u8, last| gift(Direction::ToSite(LogId([receiver; 32])), 0, last);
        let size = to(1, 4).offer.bytes;
        let depot = depot(folder.path(), 2 * size * NOTES_PART);
        for note in [to(1, 4), to(2, 4), to(2, 5)] {
            depot.make_room_for_note(&note.offer).expect("room");
            depot.keep_note(&note).expect("a disk");
        }
        let third = depot.make_room_for_note(&to(3, 4).offer);
        assert!(matches!(third, Err(DepotError::NotesFull(_))), "{third:?}");
        depot.make_room(2 * size * NOTES_PART).expect("bundles have their own");
        depot.delivered(&to(1, 4).offer).expect("there");
        depot.make_room_for_note(&to(3, 4).offer).expect("room");
    }

    #[test]
    fn a_note_that_comes_while_the_one_before_is_delivered_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let depot = depot(folder.path(), 1_000_000);
        for receiver in 1..=20 {
            let [older, newer] =
                [4, 9].map(|last| gift(Direction::ToSite(LogId([receiver; 32])), 0, last));
            depot.keep_note(&older).expect("room");
            let path = depot.folder.join(note_name((LOG, LogId([receiver; 32]))));
            std::thread::scope(|scope| {
                scope.spawn(|| depot.keep_note(&newer).expect("room"));
                while fs::read(&path).expect("a note")[..] != newer.bytes[..] {
                    std::hint::spin_loop();
                }
                depot.delivered(&older.offer).expect("there");
            });
            assert_eq!(depot.read(&newer.offer).expect("reads"), Some(newer), "{receiver}");
        }
    }

    #[test]
    fn damaged_files_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let before = depot(folder.path(), 1_000_000);
        before.keep(&gift(Direction::ToHq, 0, 10), NOW).expect("room");
        let carried = folder.path().join("carried");
        let cut = gift(Direction::ToHq, 10, 20);
        let name = bundle_name(&cut.offer);
        fs::write(carried.join(&name), &cut.bytes[..cut.bytes.len() - 1]).expect("written");
        fs::write(carried.join("half.next"), b"half").expect("written");
        fs::write(carried.join(format!("{LOG}.answer")), b"no answer").expect("written");
        assert_eq!(lasts(&depot(folder.path(), 1_000_000)), [10]);
        assert_eq!(fs::read_dir(carried).expect("a folder").count(), 1);
    }

    #[test]
    fn an_answer_goes_once_its_site_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let depot = depot(folder.path(), 1_000_000);
        assert!(!depot.wants_answer(&LOG), "without HQ's word it can't be placed");
        depot.note(word(5, 0, 1), false).expect("room");
        assert!(depot.wants_answer(&LOG));
        let answer = gift(Direction::FromHq, 0, 5);
        depot.keep_answer(&answer).expect("room");
        assert!(!depot.wants_answer(&LOG));
        depot.delivered(&answer.offer).expect("there");
        assert_eq!(depot.answers(), []);
        assert!(!depot.wants_answer(&LOG));
        depot.note(word(6, 0, 2), false).expect("room");
        assert!(depot.wants_answer(&LOG));
    }

    #[test]
    fn the_newest_note_stays_until_its_receiver_or_hq_has_it() {
        const TO: LogId = LogId([6; 32]);
        let folder = tempfile::tempdir().expect("a folder");
        let before = depot(folder.path(), 1_000_000);
        for last in [4, 9] {
            before.keep_note(&gift(Direction::ToSite(TO), 0, last)).expect("room");
        }
        let newest = gift(Direction::ToSite(TO), 0, 9);
        for depot in [&before, &depot(folder.path(), 1_000_000)] {
            assert_eq!(depot.notes(), [newest.offer]);
            assert_eq!((depot.noted(LOG, TO), depot.noted(TO, LOG)), (Seq(9), Seq::ZERO));
            assert_eq!(depot.read(&newest.offer).expect("there"), Some(newest.clone()));
        }
        before.delivered(&gift(Direction::ToSite(TO), 0, 4).offer).expect("it is gone already");
        assert_eq!(before.notes(), [newest.offer], "an older one was delivered");
        before.delivered(&newest.offer).expect("there");
        assert_eq!((before.notes(), before.noted(LOG, TO)), (vec![], Seq(9)));

        before.keep_note(&gift(Direction::ToSite(TO), 0, 12)).expect("room");
        let posted = |posted, at| {
            let said = word(12, 0, at).acknowledgement;
            Acknowledgement { posted: Seq(posted), ..said }.sign(&key())
        };
        before.note(posted(11, 1), false).expect("room");
        assert_eq!(before.notes().len(), 1);
        before.note(posted(12, 2), false).expect("room");
        assert_eq!(before.notes(), [], "HQ tells the receiver itself");
    }
}
