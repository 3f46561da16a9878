//! The sequencer's thread. Takes what is durable and not yet in the books, fairly over the logs,
//! and commits all of it at once.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use shared::fact::effective::LogRank;
use shared::fact::{Fact, field};
use shared::ids::{Seq, SiteNo};
use shared::planted::{self, Fault};
use shared::time::Timestamp;

use super::{Event, Feed, Ledgers, Published, Replay, ReplayError, ruling, stated_log};
use crate::books::{Books, Effects, Entry, Run, Voucher};
use crate::gateway::intake::{Intake, LogNo, Piece, ReceivedLog};
use crate::gateway::keyed_state::News;
use crate::headquarters::INTAKE_FILE;
use crate::report::tally::Tally;
use crate::store::{Checkpoint, DamagedFile, EntryNo, FileError, Record, RunEntry, SequenceEntry};

/// How many facts one commit takes at most.
const COMMIT_FACTS_MAX: usize = 65_536;

/// How many facts of one log a commit takes at least, if it has them.
const LOG_FACTS_MIN: usize = 4_096;

/// Pieces below this become one entry with those that follow.
const JOINED_FACTS_MAX: usize = 256;

/// How many groups may be held before posting stops: so many are no accident of one site.
const HELD_MAX: u32 = 64;

/// How long the thread sleeps when nothing wakes it.
const IDLE_MS: u64 = 1_000;

/// What is durable must be readable.
const MISSING: DamagedFile = DamagedFile { file: INTAKE_FILE, what: "facts of a log" };

/// How the books take an entry: [`Books::apply`], or what a test puts in its place.
pub type Fold = fn(&mut Books, &Entry<'_>) -> Effects;

/// Facts that are about to be sequenced.
#[derive(Clone, Debug)]
struct Taken {
    log: LogNo,
    site: SiteNo,
    rank: LogRank,
    piece: Arc<Piece>,
    first: Seq,
    last: Seq,
}

impl Taken {
    fn facts(&self) -> &[Fact] {
        self.piece.part(self.first, self.last)
    }

    fn run(&self) -> Run<'_> {
        Run {
            site: self.site,
            log: self.rank,
            first: self.first,
            received_at: self.piece.received_at,
            facts: self.facts(),
        }
    }
}

/// Entries that were applied and not yet stored.
struct Work {
    fold: Fold,
    records: Vec<Record>,
    news: Vec<News>,
    /// The logs that moved, each once.
    moved: Vec<Moved>,
    feed: Feed,
}

/// How far a log is.
struct Moved {
    log: LogNo,
    site: SiteNo,
    rank: LogRank,
    last: Seq,
}

/// See the module.
pub(super) struct Worker {
    published: Arc<Published>,
    intake: Intake,
    feed: Feed,
    /// The last sequenced fact of every log.
    sequenced: HashMap<LogNo, Seq>,
    /// The logs that have more than that.
    waiting: BTreeMap<LogNo, ReceivedLog>,
    /// Which log is served first: moves on with every commit.
    turn: usize,
    held: u32,
    fold: Fold,
    /// The received-at of the last sequenced run.
    received_at: Timestamp,
    stop: Arc<AtomicBool>,
}

/// The work of a sequencer without a thread: whoever holds it says when something is sequenced.
pub struct Turns(Worker);

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turns")
    }
}

impl Turns {
    pub(super) const fn new(worker: Worker) -> Self {
        Self(worker)
    }

    /// One commit of what is received and not in the books; whether there was anything. Nothing is
    /// taken once posting has stopped.
    pub fn take(&mut self) -> bool {
        let stopped = self.0.published.failure.borrow().is_some();
        !stopped && self.0.turn() == Some(true)
    }

    /// What a sequencer does last: writes a checkpoint.
    pub fn end(self) {
        self.0.checkpoint();
    }
}

impl Worker {
    /// Starts where the stored sequence ends.
    pub(super) fn new(
        published: Arc<Published>,
        intake: Intake,
        feed: Feed,
        fold: Fold,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, FileError> {
        let sequenced = published.store.sequenced()?.into_iter();
        let sequenced: Vec<_> = sequenced.map(|each| (each.log, each.position.last)).collect();
        intake.set_posted(&sequenced);
        let waiting = intake.received_logs().into_iter().map(|log| (log.no, log)).collect();
        Ok(Self {
            published,
            intake,
            feed,
            sequenced: sequenced.into_iter().collect(),
            waiting,
            turn: 0,
            held: 0,
            fold,
            received_at: Timestamp(0),
            stop,
        })
    }

    /// Serves until told to stop or until something fails that only a person can mend.
    pub(super) fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            match self.turn() {
                Some(true) => {}
                Some(false) => self.intake.wait_for_facts(IDLE_MS),
                None => return,
            }
        }
        self.checkpoint();
    }

    /// One commit of what waits; whether there was anything, `None` where posting has stopped.
    fn turn(&mut self) -> Option<bool> {
        let committed = self.commit_waiting().inspect_err(|error| {
            tracing::error!("posting stops: {error}");
            self.published.failure.send_replace(Some(error.to_string()));
        });
        committed.ok()
    }

    fn checkpoint(&self) {
        let entry = *self.published.last.borrow();
        if entry == EntryNo::ZERO {
            return;
        }
        let state = self.published.ledgers().books.state_hash();
        if let Err(error) = self.published.store.put_checkpoint(Checkpoint { entry, state }) {
            tracing::error!("the checkpoint was not written: {error}");
        }
    }

    /// Takes one commit's worth; whether there was any.
    fn commit_waiting(&mut self) -> Result<bool, WorkerError> {
        let taken = self.take()?;
        if taken.is_empty() {
            return Ok(false);
        }
        let published = Arc::clone(&self.published);
        let mut ledgers = published.ledgers.write().unwrap_or_else(PoisonError::into_inner);
        let Ledgers { books, tally } = &mut *ledgers;
        let applied = catch_unwind(AssertUnwindSafe(|| self.apply(books, &taken)));
        let work = match applied {
            Ok(work) => work,
            Err(panic) => {
                tracing::error!("the books refused a batch: {}", panic_text(&*panic));
                if planted::is(Fault::PoisonStopsAll) {
                    return Err(WorkerError::TooManyHeld(panic_text(&*panic)));
                }
                self.isolate(books, &taken)?
            }
        };
        published.store.append(&work.records)?;
        self.note(books, tally, &work.records);
        let stock_value = books.stock_value();
        drop(ledgers);
        self.publish(work, stock_value);
        Ok(true)
    }

    /// What waits, at most one commit's worth, each log in turn.
    fn take(&mut self) -> Result<Vec<Taken>, FileError> {
        self.waiting.extend(self.intake.news().into_iter().map(|log| (log.no, log)));
        let sequenced = &self.sequenced;
        let is_behind =
            |log: &ReceivedLog| sequenced.get(&log.no).copied().unwrap_or_default() < log.last;
        self.waiting.retain(|_, log| is_behind(log));
        let mut waiting: Vec<_> = self.waiting.values().copied().collect();
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        // HQ's own log goes first: what sites record refers to what HQ has stated.
        let hq = waiting.iter().position(|log| log.site == SiteNo::HQ).map(|at| waiting.remove(at));
        if !waiting.is_empty() {
            self.turn = (self.turn + 1) % waiting.len();
            waiting.rotate_left(self.turn);
        }
        let share = (COMMIT_FACTS_MAX / (waiting.len() + 1)).max(LOG_FACTS_MIN);
        let (mut taken, mut room) = (Vec::new(), COMMIT_FACTS_MAX);
        for log in hq.into_iter().chain(waiting) {
            let mut of_log = share.min(room);
            let mut next = self.sequenced.get(&log.no).copied().unwrap_or_default().next();
            while of_log > 0 && next <= log.last {
                let piece = self.waiting_piece(&log, next)?;
                let last = piece.last;
                let facts = usize::try_from(last.0 - next.0 + 1).expect("a piece fits memory");
                let (log, site, rank) = (log.no, log.site, log.rank);
                taken.push(Taken { log, site, rank, piece, first: next, last });
                of_log = of_log.saturating_sub(facts);
                room = room.saturating_sub(facts);
                next = last.next();
            }
            if room == 0 {
                break;
            }
        }
        Ok(taken)
    }

    /// The piece that holds a fact, with small ones that follow: one entry takes them.
    fn waiting_piece(&self, log: &ReceivedLog, seq: Seq) -> Result<Arc<Piece>, FileError> {
        let mut piece = self.intake.piece(log.no, seq)?.ok_or(MISSING)?;
        while piece.last < log.last && piece.facts.len() < JOINED_FACTS_MAX {
            let next = self.intake.piece(log.no, piece.last.next())?.ok_or(MISSING)?;
            if next.facts.len() >= JOINED_FACTS_MAX {
                break;
            }
            Arc::make_mut(&mut piece).go_on_in(&next);
        }
        Ok(piece)
    }

    /// Counts what is durable now.
    fn note(&mut self, books: &Books, tally: &mut Tally, records: &[Record]) {
        let first = self.published.last.borrow().next().0;
        for (no, record) in (first..).zip(records) {
            if let SequenceEntry::Run(run) = &record.entry {
                self.received_at = run.received_at;
            }
            let released = !record.released.is_empty();
            tally.note(books, no, self.received_at, &record.vouchers, released);
        }
    }

    fn apply(&self, books: &mut Books, taken: &[Taken]) -> Work {
        let mut work = Work::new(self.feed.clone(), self.fold);
        for each in taken {
            work.apply(books, each);
        }
        work.settle(books);
        work
    }

    /// Finds the first group that the books can't take, sets it aside, and keeps what is before it.
    /// What comes after it waits for the next commit.
    fn isolate(&mut self, books: &mut Books, taken: &[Taken]) -> Result<Work, WorkerError> {
        *books = self.rebuilt()?;
        let groups: Vec<Taken> = taken.iter().flat_map(groups).collect();
        let mut reached = 0;
        let found = catch_unwind(AssertUnwindSafe(|| {
            let mut work = Work::new(self.feed.clone(), self.fold);
            for group in &groups {
                work.apply(books, group);
                work.settle(books);
                reached += 1;
            }
            work
        }));
        let panic = match found {
            // One by one they pass: the fault was not in one of them alone, but nothing is wrong.
            Ok(mut work) => {
                self.fill_heads(&mut work)?;
                return Ok(work);
            }
            Err(panic) => panic,
        };
        self.held += 1;
        if self.held > HELD_MAX {
            return Err(WorkerError::TooManyHeld(panic_text(&*panic)));
        }
        *books = self.rebuilt()?;
        let mut work = Work::new(self.feed.clone(), self.fold);
        for group in &groups[..reached] {
            work.apply(books, group);
            work.settle(books);
        }
        work.hold(&groups[reached], panic_text(&*panic));
        self.fill_heads(&mut work)?;
        Ok(work)
    }

    /// Runs that end inside a piece get the chain's head there.
    fn fill_heads(&self, work: &mut Work) -> Result<(), FileError> {
        for record in &mut work.records {
            if let SequenceEntry::Run(run) | SequenceEntry::Held { run, .. } = &mut record.entry {
                run.head = self.intake.head_of(run.log, run.last)?;
            }
        }
        Ok(())
    }

    fn rebuilt(&self) -> Result<Books, ReplayError> {
        Replay::new(&*self.published.store, &self.intake).run(|_| Ok(())).map(|done| done.books)
    }

    /// Shows what is durable now.
    fn publish(&mut self, work: Work, stock_value: i128) {
        let published = Arc::clone(&self.published);
        self.feed = work.feed;
        if !work.news.is_empty() {
            let mut catalogue = published.catalogue.write().unwrap_or_else(PoisonError::into_inner);
            let mut stated = published.stated_logs.write().unwrap_or_else(PoisonError::into_inner);
            let mut rulings = published.rulings.write().unwrap_or_else(PoisonError::into_inner);
            for fact in work.news.iter().filter_map(News::fact) {
                catalogue.apply(fact);
                stated.extend(stated_log(fact));
                rulings.extend(ruling(fact));
            }
            drop((catalogue, stated, rulings));
            self.intake.update_state(|state| {
                work.news.into_iter().for_each(|each| state.take(each));
            });
        }
        let vouchers = work.records.iter().flat_map(|record| &record.vouchers);
        self.intake.note_vouchers(vouchers.map(Voucher::given));
        let posted: Vec<_> = work.moved.iter().map(|moved| (moved.log, moved.last)).collect();
        self.intake.set_posted(&posted);
        self.sequenced.extend(posted);
        let last = EntryNo(published.last.borrow().0 + work.records.len() as u64);
        published.last.send_replace(last);
        let vouchers = work.records.iter().map(|record| record.vouchers.len()).sum();
        let moved = work.moved.into_iter();
        let logs = moved.map(|Moved { site, rank, last, .. }| (site, rank, last)).collect();
        // Nobody may be listening.
        drop(published.events.send(Arc::new(Event { last, vouchers, logs, stock_value })));
    }
}

impl Work {
    fn new(feed: Feed, fold: Fold) -> Self {
        Self { fold, records: Vec::new(), news: Vec::new(), moved: Vec::new(), feed }
    }

    fn apply(&mut self, books: &mut Books, taken: &Taken) {
        let effects = (self.fold)(books, &Entry::Run(taken.run()));
        let released = !effects.released.is_empty();
        self.news.extend(self.feed.after_entry(books, taken.site, taken.facts(), released));
        self.add(SequenceEntry::Run(entry_of(taken)), effects);
        self.note(taken);
    }

    fn settle(&mut self, books: &mut Books) {
        if books.is_dirty() && !planted::is(Fault::SkippedSettle) {
            let effects = (self.fold)(books, &Entry::Settle);
            let released = !effects.released.is_empty();
            self.news.extend(self.feed.after_entry(books, SiteNo::HQ, &[], released));
            self.add(SequenceEntry::Settle, effects);
        }
    }

    fn hold(&mut self, taken: &Taken, reason: String) {
        self.add(SequenceEntry::Held { run: entry_of(taken), reason }, Effects::default());
        self.note(taken);
    }

    /// The runs of a log come one after the other.
    fn note(&mut self, taken: &Taken) {
        let Taken { log, site, rank, last, .. } = *taken;
        match self.moved.last_mut().filter(|moved| moved.log == log) {
            Some(moved) => moved.last = last,
            None => self.moved.push(Moved { log, site, rank, last }),
        }
    }

    fn add(&mut self, entry: SequenceEntry, effects: Effects) {
        let Effects { vouchers, waiting, released, .. } = effects;
        self.records.push(Record { entry, vouchers, waiting, released });
    }
}

/// The entry of a run. The head is that of its piece: a run that ends before it gets its own later.
fn entry_of(taken: &Taken) -> RunEntry {
    RunEntry {
        log: taken.log,
        first: taken.first,
        last: taken.last,
        head: taken.piece.head,
        received_at: taken.piece.received_at,
    }
}

/// A run cut into its groups.
fn groups(taken: &Taken) -> Vec<Taken> {
    let (mut groups, mut first) = (Vec::new(), taken.first);
    for (seq, fact) in (taken.first.0..).zip(taken.facts()) {
        if field::GROUP_LEFT.of(fact).unwrap_or(0) == 0 {
            groups.push(Taken { first, last: Seq(seq), ..taken.clone() });
            first = Seq(seq + 1);
        }
    }
    groups
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("an unnamed fault").to_owned()
}

/// Why posting stops.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("{HELD_MAX} groups in a row could not be posted (the last: {0}): update the program")]
    TooManyHeld(String),
}
