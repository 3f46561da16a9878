//! The log of this node in one redb file: facts appended durably, packed, signed, and read back
//! for the link. Knows no network, no HTTP and no master-data rules beyond the stock policy's.
//!
//! Invariant: what was answered is durable; a group is stored whole or not at all; the chain's
//! head commits to every fact.
//!
//! [`Journal`] is a cheap handle. One thread writes (`writer`), whoever likes reads (`view`).

mod backup;
mod clock;
mod guard;
mod key_book;
mod key_index;
mod key_page;
mod keys;
pub mod on_hand;
mod postings;
mod rows;
mod store;
mod verify;
mod view;
mod writer;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use redb::StorageBackend;
use shared::catalogue::{Catalogue, UnitError};
use shared::fact::statement::Statement;
use shared::fact::{Fact, Malformed};
use shared::ids::{Capture, CompanyNo, DeviceNo, Head, LogId, PersonNo, Seq};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::{
    Position, PostingsKnown, Run, SignedAcknowledgement, SignedPostings, SignedStateBatch, Span,
    StateCursor, StockLevel,
};
use shared::time::{OffsetMinutes, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

pub use backup::{BackupError, BackupSummary, restore};
pub use clock::{
    AHEAD_OF_HQ, BELOW_FLOOR, Clock, FixedClock, JUMPED, RELEASED, SystemClock, Timekeeper,
};
pub use keys::{IdempotencyKey, InputHash, KeyHash};
pub use on_hand::{Bucket, StockLine};
pub use store::{OpenError, StoreError};
pub(crate) use store::{is_full, open_looked_at, sync_folder};
pub use verify::{ExportError, Fault, Verified};
pub use writer::{StateError, Turns};

use on_hand::OnHand;
use view::View;
use writer::{Answer, Command, Source, Writer};

/// How many requests may wait for the writer; whoever comes then waits for room.
const QUEUE_MAX: usize = 1_024;

/// For how long idempotency keys are remembered unless the operator says otherwise.
pub const KEYS_KEPT_DAYS: u16 = 30;

/// What the journal gets from outside.
#[derive(Clone)]
pub struct Options {
    /// Signs seals. Without it nothing is sealed: for reading only.
    pub signing_key: Option<SigningKey>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What redb may keep in memory.
    pub cache_bytes: usize,
    /// For how long an idempotency key is remembered once HQ has what was recorded under it.
    pub keys_kept_days: u16,
}

impl Options {
    /// The machine's clock, 32 MiB of cache, keys for 30 days.
    pub fn new(signing_key: Option<SigningKey>) -> Self {
        Self {
            signing_key,
            clock: Arc::new(SystemClock::default()),
            cache_bytes: 32 << 20,
            keys_kept_days: KEYS_KEPT_DAYS,
        }
    }
}

/// One line of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub statement: Statement,
    /// When it happened; now where absent.
    pub occurred_at: Option<Timestamp>,
}

/// A group to record: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Makes a retry harmless.
    pub key: Option<IdempotencyKey>,
    /// 1 to 256 lines.
    pub lines: Vec<Line>,
    /// Who records.
    pub person: Option<PersonNo>,
    /// The recorder's zone.
    pub utc_offset: OffsetMinutes,
    /// The owner, where it is not the site's company.
    pub company: Option<CompanyNo>,
    /// Whether stock may go below zero.
    pub negative_stock: bool,
}

/// What was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The device of the capture ids.
    pub device: DeviceNo,
    /// The group's first fact.
    pub first: Seq,
    /// Its last.
    pub last: Seq,
    /// By the node's clock.
    pub recorded_at: Timestamp,
    /// Bits as in the field `TIME_IN_DOUBT`.
    pub time_in_doubt: u8,
    /// The key was known: this is the earlier answer.
    pub again: bool,
}

impl Recorded {
    /// The capture ids, line by line. A device writes one log, so its counter is the seq.
    pub fn captures(&self) -> impl Iterator<Item = Capture> + use<> {
        let device = self.device;
        (self.first.0..=self.last.0).map(move |counter| Capture { device, counter })
    }
}

/// Why a group is not recorded; in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The store came out of a backup.
    #[error(
        "this node was restored from a backup and records nothing until it is a new device: get a \
         code at HQ (hq-server site code) and run 'edge-node enrol CODE'"
    )]
    Restored,
    /// No line, or too many.
    #[error("a group has 1 to 256 lines, this one has {0}: split it")]
    GroupSize(usize),
    /// The key was used for something else.
    #[error(
        "the idempotency key was used before with other input: use a new key for a new request"
    )]
    KeyReused,
    /// A reversal of what another device recorded.
    #[error("line {}: {capture} was recorded by another device: reverse it there or at HQ", .line + 1)]
    ReversalOfOthers {
        /// Counts from 0.
        line: usize,
        /// What it refers to.
        capture: Capture,
    },
    /// A reversal of a fact that does not exist.
    #[error("line {}: there is no {capture}: see 'edge-node log' for what can be reversed", .line + 1)]
    ReversalOfNothing {
        /// Counts from 0.
        line: usize,
        /// What it refers to.
        capture: Capture,
    },
    /// A second reversal.
    #[error("line {}: {capture} is reversed already", .line + 1)]
    AlreadyReversed {
        /// Counts from 0.
        line: usize,
        /// What it refers to.
        capture: Capture,
    },
    /// No whole number of smallest units.
    #[error("line {}: {why}", .line + 1)]
    Unit {
        /// Counts from 0.
        line: usize,
        /// Why.
        why: Box<UnitError>,
    },
    /// The stock policy.
    #[error(transparent)]
    NegativeStock(Box<Shortage>),
    /// A text over the size of a field.
    #[error("line {}: {why}", .line + 1)]
    TooLarge {
        /// Counts from 0.
        line: usize,
        /// Why.
        why: Malformed,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Less is on hand than was to leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {}: only {on_hand} {unit} of item '{item}'{} are on hand, {wanted} are wanted: record the \
     receipt first, or count the item", .line + 1, lot_text(.lot.as_deref())
)]
pub struct Shortage {
    /// Counts from 0.
    pub line: usize,
    /// The item's code.
    pub item: String,
    /// The lot.
    pub lot: Option<String>,
    /// How much is there.
    pub on_hand: String,
    /// How much was to leave.
    pub wanted: String,
    /// The unit of both.
    pub unit: String,
}

fn lot_text(lot: Option<&str>) -> String {
    lot.map_or_else(String::new, |lot| format!(" in lot '{lot}'"))
}

struct Inner {
    view: Arc<View>,
    queue: mpsc::Sender<Command>,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Tells that the writer's thread is gone, however it went.
struct WriterEnded(Arc<View>);

impl Drop for WriterEnded {
    fn drop(&mut self) {
        self.0.note_writer_ended();
    }
}

/// A handle to the log of this node.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("log", &self.inner.view.log).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the file of an enrolled node.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let database = store::open_file(path, options.cache_bytes)?;
        Self::start(database, Source::File(path.to_owned()), options)
    }

    /// Makes the file of a node that was just enrolled. `predecessor` is the journal it continues.
    pub fn create(
        path: &Path,
        genesis: &Genesis,
        predecessor: Option<&Self>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let opening = match predecessor {
            Some(journal) => Some(journal.fresh_on_hand_blocking()?.as_opening()),
            None => None,
        };
        Self::begin(path, genesis, opening.as_ref(), options)
    }

    /// As [`Journal::create`], for a node that takes the place of one that is lost: it begins with the
    /// stock that HQ has.
    pub fn create_with_stock(
        path: &Path,
        genesis: &Genesis,
        levels: &[StockLevel],
        options: Options,
    ) -> Result<Self, OpenError> {
        Self::begin(path, genesis, Some(&OnHand::of_levels(levels)), options)
    }

    fn begin(
        path: &Path,
        genesis: &Genesis,
        opening: Option<&OnHand>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let beginning = store::Beginning { genesis, opening };
        store::create_file(path, options.cache_bytes, &beginning)?;
        Self::open(path, options)
    }

    /// Opens the journal on any storage, for tests that break it. An empty one begins with
    /// `genesis`.
    pub fn with_backend(
        backend: impl StorageBackend,
        genesis: &Genesis,
        options: Options,
    ) -> Result<Self, OpenError> {
        let database = Self::open_or_begin(backend, genesis, None, &options)?;
        Self::start(database, Source::Given, options)
    }

    /// As [`Journal::with_backend`], without a thread: the caller says when the writer has its turn.
    /// Only what is asked without blocking can be served. An empty one begins with the stock that HQ
    /// has, where it takes the place of another.
    pub fn by_turns(
        backend: impl StorageBackend,
        genesis: &Genesis,
        levels: Option<&[StockLevel]>,
        options: Options,
    ) -> Result<(Self, Turns), OpenError> {
        let opening = levels.map(OnHand::of_levels);
        let database = Self::open_or_begin(backend, genesis, opening.as_ref(), &options)?;
        let (journal, writer, queue) = Self::load(database, Source::Given, options)?;
        Ok((journal, Turns::new(writer, queue)))
    }

    fn open_or_begin(
        backend: impl StorageBackend,
        genesis: &Genesis,
        opening: Option<&OnHand>,
        options: &Options,
    ) -> Result<redb::Database, OpenError> {
        let database = store::open_backend(backend, options.cache_bytes)?;
        if store::is_empty(&database)? {
            store::begin(&database, &store::Beginning { genesis, opening })?;
        }
        Ok(database)
    }

    fn start(
        database: redb::Database,
        source: Source,
        options: Options,
    ) -> Result<Self, OpenError> {
        let (journal, writer, queue) = Self::load(database, source, options)?;
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn({
            let ended = WriterEnded(Arc::clone(&journal.inner.view));
            move || {
                let _ended = ended;
                writer.run(queue);
            }
        })?;
        *journal.inner.thread.lock().expect("no holder panics") = Some(thread);
        Ok(journal)
    }

    fn load(
        database: redb::Database,
        source: Source,
        options: Options,
    ) -> Result<(Self, Writer, mpsc::Receiver<Command>), OpenError> {
        let loaded = store::load(&database)?;
        let database = Arc::new(database);
        let view = Arc::new(View::new(&database, &loaded));
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let writer = Writer::new(source, options, Arc::clone(&view), database, loaded);
        let thread = std::sync::Mutex::default();
        Ok((Self { inner: Arc::new(Inner { view, queue, thread }) }, writer, receiver))
    }

    /// What the log starts with: site, device, key.
    pub fn genesis(&self) -> &Genesis {
        &self.inner.view.genesis
    }

    /// The log's id.
    pub fn log(&self) -> LogId {
        self.inner.view.log
    }

    /// The last durable fact and the head after it.
    pub fn position(&self) -> Position {
        self.inner.view.position()
    }

    /// Changes whenever facts become durable.
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.inner.view.watch()
    }

    /// The last sealed fact.
    pub fn sealed(&self) -> Seq {
        self.inner.view.sealed()
    }

    /// Changes whenever facts are sealed.
    pub fn watch_sealed(&self) -> watch::Receiver<Seq> {
        self.inner.view.watch_sealed()
    }

    /// Facts from `first` on, at most about `facts_max`, whole groups, one group at least.
    pub fn run_from(&self, first: Seq, facts_max: usize) -> Result<Option<Run>, StoreError> {
        self.inner.view.run_from(first, facts_max.max(1))
    }

    /// The chain's head after a fact of the log.
    pub fn head_at(&self, seq: Seq) -> Result<Head, StoreError> {
        self.inner.view.head_at(seq)
    }

    /// Seals whose range begins at `first` or later, in order, at most `count_max`.
    pub fn seals_from(&self, first: Seq, count_max: usize) -> Result<Vec<SignedSeal>, StoreError> {
        let view = &self.inner.view;
        let rows = store::segments_from(&view.transaction()?, view.log, first, count_max)?;
        Ok(rows.into_iter().map(|row| row.seal).collect())
    }

    /// The fact at a place.
    pub fn fact(&self, seq: Seq) -> Result<Option<Fact>, StoreError> {
        if seq == Seq::ZERO || seq > self.position().last {
            return Ok(None);
        }
        let view = &self.inner.view;
        store::read_fact(&view.transaction()?, view.log, seq)
    }

    /// Visits facts from `first` on in order, until `visit` breaks.
    pub fn for_each_fact(
        &self,
        first: Seq,
        mut visit: impl FnMut(Seq, &Fact) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let view = &self.inner.view;
        let first = first.max(Seq(1));
        store::for_each_range(&view.transaction()?, view.log, first, |range| {
            let mut seq = range.first.max(first);
            for fact in range.since(first) {
                if visit(seq, fact).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                seq = seq.next();
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Records groups, each whole or not at all; every answer is durable when this returns.
    pub async fn record_many(&self, submissions: Vec<Submission>) -> Vec<Answer> {
        let count = submissions.len();
        let (answer, answered) = oneshot::channel();
        let command = Command::Record { submissions, answer };
        if self.inner.queue.send(command).await.is_err() {
            return vec![Err(StoreError::Closed.into()); count];
        }
        answered.await.unwrap_or_else(|_| vec![Err(StoreError::Closed.into()); count])
    }

    /// Records one group.
    pub async fn record(&self, submission: Submission) -> Result<Recorded, RecordError> {
        let mut answers = self.record_many(vec![submission]).await;
        answers.pop().expect("one answer per submission")
    }

    /// As [`Journal::record_many`], from a thread that may block.
    pub fn record_many_blocking(&self, submissions: Vec<Submission>) -> Vec<Answer> {
        let count = submissions.len();
        let (answer, answered) = oneshot::channel();
        let command = Command::Record { submissions, answer };
        if self.inner.queue.blocking_send(command).is_err() {
            return vec![Err(StoreError::Closed.into()); count];
        }
        answered.blocking_recv().unwrap_or_else(|_| vec![Err(StoreError::Closed.into()); count])
    }

    async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.send(make(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    fn ask_blocking<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.blocking_send(make(answer)).map_err(|_| StoreError::Closed)?;
        answered.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Seals what has waited long enough. Called about every second.
    pub async fn seal_due(&self) -> Result<(), StoreError> {
        self.ask(|answer| Command::Seal { only_due: true, answer }).await
    }

    /// Seals everything: before a backup, an export, a file for a neighbour.
    pub async fn seal_now(&self) -> Result<(), StoreError> {
        self.ask(|answer| Command::Seal { only_due: false, answer }).await
    }

    /// As [`Journal::seal_now`], from a thread that may block.
    pub fn seal_now_blocking(&self) -> Result<(), StoreError> {
        self.ask_blocking(|answer| Command::Seal { only_due: false, answer })
    }

    /// Keeps HQ's newest acknowledgement, whose signature the caller has checked. It is durable
    /// with the next commit, a second later at the latest.
    pub fn note_acknowledgement_blocking(
        &self,
        acknowledgement: SignedAcknowledgement,
    ) -> Result<(), StoreError> {
        let acknowledgement = Box::new(acknowledgement);
        self.ask_blocking(|answer| Command::Acknowledge { acknowledgement, answer })
    }

    /// As [`Journal::note_acknowledgement_blocking`], for whoever may not block.
    pub async fn note_acknowledgement(
        &self,
        acknowledgement: SignedAcknowledgement,
    ) -> Result<(), StoreError> {
        let acknowledgement = Box::new(acknowledgement);
        self.ask(|answer| Command::Acknowledge { acknowledgement, answer }).await
    }

    /// Keeps what HQ told of facts; not durable at once.
    pub fn note_postings_blocking(&self, signed: SignedPostings) -> Result<(), StoreError> {
        let told = Box::new(signed.postings);
        self.ask_blocking(|answer| Command::Postings { told, answer })
    }

    /// As [`Journal::note_postings_blocking`], for whoever may not block.
    pub async fn note_postings(&self, signed: SignedPostings) -> Result<(), StoreError> {
        let told = Box::new(signed.postings);
        self.ask(|answer| Command::Postings { told, answer }).await
    }

    /// How far HQ has told what became of facts.
    pub fn postings_known(&self) -> PostingsKnown {
        self.inner.view.postings_known()
    }

    /// What HQ told of facts from `first` on, at most `spans_max` spans, with the places of their
    /// first facts. The first may begin before. What came within the last seconds may be missing.
    pub fn postings(&self, first: Seq, spans_max: usize) -> Result<Vec<(Seq, Span)>, StoreError> {
        postings::read(&self.inner.view.transaction()?, first, spans_max)
    }

    /// HQ's newest acknowledgement.
    pub fn acknowledgement(&self) -> Option<SignedAcknowledgement> {
        self.inner.view.acknowledgement()
    }

    /// Changes whenever HQ acknowledges more.
    pub fn watch_acknowledgement(&self) -> watch::Receiver<Option<SignedAcknowledgement>> {
        self.inner.view.watch_acknowledgement()
    }

    /// HQ's time, heard just now over an authenticated connection. May be forgotten where the
    /// queue is full: HQ says it again.
    pub fn note_hq_time(&self, at: Timestamp) {
        drop(self.inner.queue.try_send(Command::HqTime { at }));
    }

    /// Whether the store came out of a backup: then it records nothing.
    pub fn is_restored(&self) -> bool {
        self.inner.view.restored
    }

    /// How far keyed state is stored.
    pub fn state_cursor(&self) -> StateCursor {
        self.inner.view.state_cursor()
    }

    /// Keyed state as HQ signed it: the next batch after `after` with a fact that is not among `known`,
    /// which says for each installation of HQ how far it goes.
    pub fn given(
        &self,
        known: &[Capture],
        after: StateCursor,
    ) -> Result<Option<SignedStateBatch>, StoreError> {
        store::given(&self.inner.view.transaction()?, known, after)
    }

    /// Stores a batch of keyed state, whose signature the caller has checked.
    pub fn apply_state_blocking(&self, batch: SignedStateBatch) -> Result<StateCursor, StateError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::State { batch: Box::new(batch), answer };
        let closed = || StateError::Store(StoreError::Closed);
        self.inner.queue.blocking_send(command).map_err(|_| closed())?;
        answered.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    /// As [`Journal::apply_state_blocking`], for whoever may not block.
    pub async fn apply_state(&self, batch: SignedStateBatch) -> Result<StateCursor, StateError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::State { batch: Box::new(batch), answer };
        let closed = || StateError::Store(StoreError::Closed);
        self.inner.queue.send(command).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Master data and open work as HQ last sent them.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.inner.view.catalogue()
    }

    /// What is on hand by this log, with every late count taken into account.
    pub async fn stock(&self) -> Result<Vec<StockLine>, StoreError> {
        if self.inner.view.on_hand().is_stale() {
            self.ask(|answer| Command::FoldAgain { answer }).await?;
        }
        Ok(self.inner.view.on_hand().lines().collect())
    }

    /// As [`Journal::stock`], from a thread that may block.
    pub fn stock_blocking(&self) -> Result<Vec<StockLine>, StoreError> {
        Ok(self.fresh_on_hand_blocking()?.lines().collect())
    }

    /// Whether a fact of this log was reversed, and its reversal was not.
    pub fn is_reversed(&self, seq: Seq) -> bool {
        self.inner.view.on_hand().is_reversed(seq)
    }

    fn fresh_on_hand_blocking(&self) -> Result<OnHand, StoreError> {
        if self.inner.view.on_hand().is_stale() {
            self.ask_blocking(|answer| Command::FoldAgain { answer })?;
        }
        Ok(self.inner.view.on_hand().clone())
    }

    /// Writes and seals what waits, then closes the file. Later calls are refused.
    pub async fn close(&self) -> Result<(), StoreError> {
        let closed = self.ask(|answer| Command::Stop { answer }).await;
        self.wait_for_thread();
        closed
    }

    /// Done when nothing is written any more: after a close, or a fault in the program.
    pub async fn ended(&self) {
        let mut ended = self.inner.view.watch_writer_ended();
        // The sender lives in the view that this handle holds.
        drop(ended.wait_for(|ended| *ended).await);
    }

    /// As [`Journal::close`], from a thread that may block.
    pub fn close_blocking(&self) -> Result<(), StoreError> {
        let closed = self.ask_blocking(|answer| Command::Stop { answer });
        self.wait_for_thread();
        closed
    }

    fn wait_for_thread(&self) {
        let thread = self.inner.thread.lock().expect("no holder panics").take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
        self.inner.view.close_database(StoreError::Closed);
    }
}
