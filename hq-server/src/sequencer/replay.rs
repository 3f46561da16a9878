//! The stored sequence, folded again from the beginning: how books start, and how `verify` proves
//! them. Pure but for reading.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use shared::fact::effective::LogRank;
use shared::fact::{Fact, Kind, field};
use shared::ids::{Seq, SiteNo};
use shared::time::Timestamp;

use crate::books::{Books, Effects, Entry, Run};
use crate::gateway::intake::{Intake, LogNo, Piece};
use crate::store::{EntryNo, FileError, RunEntry, SequenceEntry, Store};

/// Why the stored sequence does not replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file fails.
    #[error(transparent)]
    File(#[from] FileError),
    /// The intake file does not have what the sequence names.
    #[error(
        "the sequence names facts {first} to {last} of log {}, which the intake file does not \
         have: both files must come from one backup", log.0
    )]
    MissingFacts {
        /// The log.
        log: LogNo,
        /// The first fact.
        first: Seq,
        /// The last fact.
        last: Seq,
    },
    /// The books came out otherwise than they were.
    #[error(
        "the books differ from the state stored at entry {0}: they were written by other rules or \
         are damaged; run 'hq-server verify', and restore a backup if it finds damage"
    )]
    OtherState(EntryNo),
    /// What is stored beside an entry is not what it leads to.
    #[error("what is stored for entry {0} is not what its facts lead to: restore a backup")]
    OtherEffects(EntryNo),
}

/// One entry, applied.
pub struct Step<'a> {
    /// Its place.
    pub no: EntryNo,
    /// The entry.
    pub entry: &'a SequenceEntry,
    /// Whose log it is of; HQ's for a settle.
    pub site: SiteNo,
    /// Its facts; none for a settle and for what is held.
    pub facts: &'a [Fact],
    /// When HQ received it; for a settle, what was received before it.
    pub received_at: Timestamp,
    /// What it led to.
    pub effects: &'a Effects,
    /// Groups that had waited were released.
    pub released: bool,
    /// The rules that hold from here on, where it says so.
    pub rules: Option<i64>,
    /// The books after it.
    pub books: &'a Books,
}

/// What a replay ends with.
#[derive(Debug)]
pub struct Replayed {
    /// The books.
    pub books: Books,
    /// The last entry.
    pub last: EntryNo,
}

/// A replay that is about to run.
pub struct Replay<'a> {
    store: &'a dyn Store,
    intake: &'a Intake,
    logs: BTreeMap<LogNo, (SiteNo, LogRank)>,
}

impl<'a> Replay<'a> {
    /// Over a store and the facts that its sequence names.
    pub fn new(store: &'a dyn Store, intake: &'a Intake) -> Self {
        let logs = intake.received_logs().into_iter();
        let logs = logs.map(|log| (log.no, (log.site, log.rank))).collect();
        Self { store, intake, logs }
    }

    /// Folds everything, shows each step, and compares with the last checkpoint.
    pub fn run(
        &self,
        mut see: impl FnMut(&Step<'_>) -> Result<(), ReplayError>,
    ) -> Result<Replayed, ReplayError> {
        let checkpoint = self.store.checkpoint()?;
        let mut books = Books::new();
        let mut received_at = Timestamp(0);
        let mut next = EntryNo::ZERO.next();
        let mut facts = Facts::default();
        while let Some((first, entries)) = self.store.entries(next)? {
            for (no, entry) in (first.0..).map(EntryNo).zip(&entries) {
                if let SequenceEntry::Run(run) = entry {
                    received_at = run.received_at;
                }
                self.step(&mut books, &mut facts, (no, received_at), entry, &mut see)?;
                if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.entry == no)
                    && books.state_hash() != checkpoint.state
                {
                    return Err(ReplayError::OtherState(no));
                }
                next = no.next();
            }
        }
        Ok(Replayed { books, last: EntryNo(next.0 - 1) })
    }

    /// The books of what was received up to a time. The sequence is in the order of receiving but
    /// for what waited for the sequencer together; what follows the first later run is not known.
    pub fn as_known(&self, at: Timestamp) -> Result<Books, ReplayError> {
        let mut books = Books::new();
        let mut next = EntryNo::ZERO.next();
        let mut facts = Facts::default();
        'sequence: while let Some((first, entries)) = self.store.entries(next)? {
            for (no, entry) in (first.0..).map(EntryNo).zip(&entries) {
                if matches!(entry, SequenceEntry::Run(run) if run.received_at > at) {
                    break 'sequence;
                }
                self.step(&mut books, &mut facts, (no, at), entry, &mut |_| Ok(()))?;
                next = no.next();
            }
        }
        books.apply(&Entry::Settle);
        Ok(books)
    }

    fn step(
        &self,
        books: &mut Books,
        pieces: &mut Facts,
        (no, received_at): (EntryNo, Timestamp),
        entry: &SequenceEntry,
        see: &mut impl FnMut(&Step<'_>) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let (site, facts, effects) = match entry {
            SequenceEntry::Settle => {
                (SiteNo::HQ, Cow::Borrowed([].as_slice()), books.apply(&Entry::Settle))
            }
            SequenceEntry::Held { .. } => {
                (SiteNo::HQ, Cow::Borrowed([].as_slice()), Effects::default())
            }
            SequenceEntry::Run(run) => {
                let facts = pieces.of(self.intake, run)?;
                let (site, rank) = self.logs[&run.log];
                let effects = books.apply(&Entry::Run(Run {
                    site,
                    log: rank,
                    first: run.first,
                    received_at: run.received_at,
                    facts: &facts,
                }));
                (site, Cow::Owned(facts), effects)
            }
        };
        let released = !effects.released.is_empty();
        let rules = rules_in(site, &facts);
        see(&Step {
            rules,
            no,
            entry,
            site,
            facts: &facts,
            received_at,
            effects: &effects,
            released,
            books,
        })
    }
}

/// The last rules that HQ's log states among some facts.
fn rules_in(site: SiteNo, facts: &[Fact]) -> Option<i64> {
    let stated = facts.iter().rfind(|fact| fact.kind() == Some(Kind::Rules))?;
    if site == SiteNo::HQ { field::SETTING.of(stated) } else { None }
}

/// How many facts a replay keeps at hand.
const FACTS_KEPT_MAX: usize = 524_288;

/// The piece of each log that was read last: many runs in a row may lie in it.
#[derive(Default)]
struct Facts {
    pieces: HashMap<LogNo, Arc<Piece>>,
    facts: usize,
}

impl Facts {
    /// The facts of a run.
    fn of(&mut self, intake: &Intake, run: &RunEntry) -> Result<Vec<Fact>, ReplayError> {
        let RunEntry { log, first, last, .. } = *run;
        let mut facts = Vec::new();
        let mut next = first;
        while next <= last {
            let piece = self.piece(intake, log, next)?;
            let piece = piece.ok_or(ReplayError::MissingFacts { log, first, last })?;
            facts.extend_from_slice(piece.part(next, last));
            next = Seq(first.0 + facts.len() as u64);
        }
        Ok(facts)
    }

    fn piece(
        &mut self,
        intake: &Intake,
        log: LogNo,
        seq: Seq,
    ) -> Result<Option<Arc<Piece>>, FileError> {
        let holds = |piece: &&Arc<Piece>| (piece.first..=piece.last).contains(&seq);
        if let Some(piece) = self.pieces.get(&log).filter(holds) {
            return Ok(Some(Arc::clone(piece)));
        }
        let Some(piece) = intake.piece(log, seq)? else { return Ok(None) };
        self.facts += piece.facts.len();
        if self.facts > FACTS_KEPT_MAX {
            self.pieces.clear();
            self.facts = piece.facts.len();
        }
        if let Some(before) = self.pieces.insert(log, Arc::clone(&piece)) {
            self.facts -= before.facts.len();
        }
        Ok(Some(piece))
    }
}
