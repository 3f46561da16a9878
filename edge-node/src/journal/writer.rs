//! The one thread that writes the journal: takes whatever is queued, stamps and chains it, makes
//! it durable in one commit, then answers. Knows no network and no catalogue rules but the stock
//! policy's, which must be checked where the order is made.
//!
//! Invariant: nobody hears of a fact that is not durable; a failed commit leaves no trace in
//! memory, for everything is read again from the store.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use redb::{ReadableTable, ReadableTableMetadata};
use shared::catalogue::{Catalogue, StateKey};
use shared::document::journal::{self as document, JournalTip};
use shared::fact::statement::{GROUP_MAX, Stamp, Statement};
use shared::fact::{Fact, field};
use shared::ids::{Capture, DeviceNo, LogId, Seq};
use shared::planted::{self, Fault};
use shared::segment::chain::Chain;
use shared::segment::seal::{Seal, last_sealable};
use shared::segment::{columns, packing, whole_groups};
use shared::sync::{
    Following, Position, Postings, SignedAcknowledgement, SignedStateBatch, StateCursor,
};
use shared::time::Timestamp;
use shared::varint;
use tokio::sync::{mpsc, oneshot};

use super::clock::{DAY_MS, LastStamp, Moment, Timekeeper};
use super::key_book::{Expiry, KeyBook};
use super::keys::{KeyEntry, KeyHash};
use super::on_hand::{self, Bucket, Change, OnHand};
use super::postings;
use super::rows::{
    KEYS, META, META_ACKNOWLEDGEMENT, META_HQ_TIME, META_ON_HAND, META_STATE_CURSOR,
    PAGE_VALUE_MAX, SEGMENTS, STATE, STATE_PENDING, STATE_SIGNED, SegmentRow, TAIL, TailRow,
};
use super::store::{self, Loaded, SharedDatabase, StateProgress, StoreError, StoredRange};
use super::view::{Block, View};
use super::{Options, RecordError, Recorded, Shortage, Submission};

/// The most facts that one commit takes from the queue.
const COMMIT_FACTS_MAX: usize = 16_384;
/// The newest facts are sealed when the oldest unsealed one is this old.
const SEAL_AGE_MS: i64 = 8_000;
/// How often what is on hand is written down, in sealed facts.
const SNAPSHOT_FACTS: u64 = 16_384;
/// So many signed batches of keyed state are kept before any is looked at.
const SIGNED_MIN: u64 = 64;
/// A block in memory ends a run: short enough for one frame.
const BLOCK_FACTS_MAX: usize = 2_048;

/// What the writer is asked for.
pub(super) enum Command {
    Record { submissions: Vec<Submission>, answer: oneshot::Sender<Vec<Answer>> },
    Seal { only_due: bool, answer: oneshot::Sender<Result<(), StoreError>> },
    State { batch: Box<SignedStateBatch>, answer: oneshot::Sender<Result<StateCursor, StateError>> },
    Acknowledge { acknowledgement: Box<SignedAcknowledgement>, answer: Done },
    Postings { told: Box<Postings>, answer: Done },
    HqTime { at: Timestamp },
    FoldAgain { answer: Done },
    Stop { answer: Done },
}

pub(super) type Answer = Result<Recorded, RecordError>;
type Done = oneshot::Sender<Result<(), StoreError>>;

/// Why a batch of keyed state is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It does not follow what is stored.
    #[error("a batch of state starts at {}, but {} is stored: ask again from there", .from.at, .stored.at)]
    NotNext {
        /// Where the batch starts.
        from: StateCursor,
        /// What is stored.
        stored: StateCursor,
    },
    /// Its facts do not read.
    #[error("a batch of state does not read: {0}")]
    Malformed(String),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the journal's bytes are: a file can be opened again after a failure.
pub(super) enum Source {
    File(PathBuf),
    Given,
}

/// The log in memory, as far as writing needs it.
struct State {
    database: SharedDatabase,
    log: LogId,
    device: DeviceNo,
    chain: Chain,
    sealed_chain: Chain,
    tip: JournalTip,
    /// Facts after the last sealed one.
    unsealed: Vec<Fact>,
    /// When the oldest unsealed fact came, by the steady clock.
    unsealed_since_ms: Option<i64>,
    keys: KeyBook,
    keys_kept_ms: i64,
    time: Timekeeper,
    keyed: StateProgress,
    snapshot_at: Seq,
    restored: bool,
    opening: OnHand,
    /// The sealed range that was read last.
    unpacked: RefCell<Option<StoredRange>>,
    /// Rows that may wait for the next commit.
    lazy: BTreeMap<&'static str, Vec<u8>>,
    /// What HQ told of facts: may wait as well.
    lazy_postings: Vec<Postings>,
    /// Bytes of a packed fact times 256, smoothed.
    packed_bytes_x256: u64,
    /// How many signed batches of keyed state were left when they were last looked through.
    signed_kept: u64,
}

/// What one turn adds; written in one commit.
#[derive(Default)]
struct Staged {
    first: Option<Seq>,
    facts: Vec<Fact>,
    keys: Vec<(KeyHash, KeyEntry)>,
    blocks: Vec<Block>,
    metas: Vec<(&'static str, Vec<u8>)>,
    state: Vec<StateWrite>,
    postings: Vec<Postings>,
    seal: Sealing,
    catalogue: Option<Catalogue>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sealing {
    /// What fills a page.
    #[default]
    FullPages,
    /// Everything.
    All,
}

enum StateWrite {
    /// What came of an unfinished checkpoint under another handle goes.
    Begin,
    /// Facts of a checkpoint, kept until it is whole; and as HQ signed them.
    Pending(StateCursor, Vec<u8>, Vec<u8>),
    /// The checkpoint is whole; under another handle it replaces everything.
    Apply { replace: bool },
}

impl Staged {
    fn is_empty(&self) -> bool {
        self.facts.is_empty()
            && self.metas.is_empty()
            && self.state.is_empty()
            && self.postings.is_empty()
            && self.seal == Sealing::FullPages
    }
}

/// An answer that is given once the commit is durable.
enum Pending {
    Record(oneshot::Sender<Vec<Answer>>, Vec<Answer>),
    Done(Done),
    State(oneshot::Sender<Result<StateCursor, StateError>>, Result<StateCursor, StateError>),
}

impl Pending {
    fn answer(self, outcome: &Result<(), StoreError>) {
        // Nobody may be waiting any more; what is durable stays durable.
        match (self, outcome) {
            (Self::Record(to, answers), Ok(())) => drop(to.send(answers)),
            (Self::Record(to, answers), Err(error)) => {
                let failed = |answer: Answer| answer.and(Err(RecordError::Store(error.clone())));
                drop(to.send(answers.into_iter().map(failed).collect()));
            }
            (Self::Done(to), outcome) => drop(to.send(outcome.clone())),
            (Self::State(to, answer), Ok(())) => drop(to.send(answer)),
            (Self::State(to, answer), Err(error)) => {
                drop(to.send(answer.and(Err(StateError::Store(error.clone())))));
            }
        }
    }
}

/// The thread's own things.
pub(super) struct Writer {
    source: Source,
    options: Options,
    view: Arc<View>,
    /// `None` after a failed commit, until the store is open again.
    state: Option<State>,
}

impl Writer {
    pub(super) fn new(
        source: Source,
        options: Options,
        view: Arc<View>,
        database: SharedDatabase,
        loaded: Loaded,
    ) -> Self {
        let state = State::new(database, loaded, &options);
        Self { source, options, view, state: Some(state) }
    }

    /// Serves the queue until it is told to stop or nobody can ask any more.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(first) = queue.blocking_recv() {
            if self.turn(queued(first, &mut queue)) {
                return self.give_back();
            }
        }
        if let Some(state) = &mut self.state {
            drop(state.stop(&self.view));
        }
    }

    /// Gives free pages back to the disk where they are most of the file: after keys were forgotten,
    /// or much was rewritten.
    fn give_back(&mut self) {
        let (Some(state), Source::File(path)) = (self.state.take(), &self.source) else { return };
        self.view.close_database(StoreError::Closed);
        // Whoever still reads keeps the file open: then it is done another time.
        let Some(database) = Arc::into_inner(state.database) else { return };
        if let Err(error) = store::compact_if_loose(database, path) {
            tracing::warn!("free pages stay in the journal's file: {error}");
        }
    }

    /// One commit; true when the writer is to stop.
    fn turn(&mut self, commands: Vec<Command>) -> bool {
        let opened = self.open_again();
        let Some(state) = self.state.as_mut().filter(|_| opened.is_ok()) else {
            let error = opened.err().unwrap_or(StoreError::Closed);
            let mut stop = false;
            for command in commands {
                stop |= matches!(command, Command::Stop { .. });
                command.refuse(&error);
            }
            return stop;
        };
        let mut staged = Staged::default();
        let mut pending = Vec::new();
        let mut stop = false;
        for command in commands {
            stop |= matches!(command, Command::Stop { .. });
            state.stage(command, &self.view, &mut staged, &mut pending);
        }
        let outcome = if staged.is_empty() {
            Ok(())
        } else {
            state.commit(&mut staged, &self.view, &self.options)
        };
        match &outcome {
            Ok(()) => state.publish(staged, &self.view),
            Err(error) => {
                tracing::error!(%error, "the journal could not be written");
                self.state = None;
                self.view.close_database(error.clone());
                // So that reading goes on; where it fails, the next turn tries again.
                drop(self.open_again());
            }
        }
        for each in pending {
            each.answer(&outcome);
        }
        stop
    }

    /// After a failure the outcome of the last commit is known only from the store itself.
    fn open_again(&mut self) -> Result<(), StoreError> {
        if self.state.is_some() {
            return Ok(());
        }
        let Source::File(path) = &self.source else {
            return Err(StoreError::Disk("the store failed before".to_owned()));
        };
        let as_store_error = |error: store::OpenError| match error {
            store::OpenError::DiskFull => StoreError::DiskFull,
            other => StoreError::Disk(other.to_string()),
        };
        let opened = store::open_file(path, self.options.cache_bytes)
            .and_then(|database| Ok((store::load(&database)?, database)))
            .map_err(as_store_error);
        let (loaded, database) =
            opened.inspect_err(|error| self.view.close_database(error.clone()))?;
        let database = Arc::new(database);
        self.view.reopen(&database, &loaded);
        self.state = Some(State::new(database, loaded, &self.options));
        Ok(())
    }
}

/// What one commit takes of the queue.
fn queued(first: Command, queue: &mut mpsc::Receiver<Command>) -> Vec<Command> {
    let mut facts = first.facts();
    let mut commands = vec![first];
    while facts < COMMIT_FACTS_MAX
        && !matches!(commands.last(), Some(Command::Stop { .. }))
        && let Ok(next) = queue.try_recv()
    {
        facts += next.facts();
        commands.push(next);
    }
    commands
}

/// The writer of a journal without a thread: whoever holds it says when something is written.
pub struct Turns {
    writer: Writer,
    queue: mpsc::Receiver<Command>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turns")
    }
}

impl Turns {
    pub(super) const fn new(writer: Writer, queue: mpsc::Receiver<Command>) -> Self {
        Self { writer, queue }
    }

    /// One commit of whatever is queued; whether there was anything.
    pub fn take(&mut self) -> bool {
        let Ok(first) = self.queue.try_recv() else { return false };
        if self.writer.turn(queued(first, &mut self.queue)) {
            self.writer.give_back();
        }
        true
    }
}

impl Command {
    fn facts(&self) -> usize {
        match self {
            Self::Record { submissions, .. } => {
                submissions.iter().map(|each| each.lines.len()).sum()
            }
            Self::State { .. } => COMMIT_FACTS_MAX / 4,
            _ => 1,
        }
    }

    fn refuse(self, error: &StoreError) {
        match self {
            Self::Record { submissions, answer } => {
                let refused = || Err(RecordError::Store(error.clone()));
                drop(answer.send(submissions.iter().map(|_| refused()).collect()));
            }
            Self::State { answer, .. } => {
                drop(answer.send(Err(StateError::Store(error.clone()))));
            }
            Self::Seal { answer, .. }
            | Self::Acknowledge { answer, .. }
            | Self::Postings { answer, .. }
            | Self::FoldAgain { answer }
            | Self::Stop { answer } => drop(answer.send(Err(error.clone()))),
            Self::HqTime { .. } => {}
        }
    }
}

impl State {
    fn new(database: SharedDatabase, loaded: Loaded, options: &Options) -> Self {
        let steady = options.clock.steady_ms();
        let unsealed: Vec<Fact> =
            loaded.tail.iter().flat_map(|(_, row)| row.facts.iter().cloned()).collect();
        let stamped = LastStamp { at: loaded.last_recorded_at, trusted: loaded.trusted_at };
        let time = Timekeeper::new(Arc::clone(&options.clock), stamped, loaded.hq_time);
        Self {
            database,
            log: loaded.log,
            device: loaded.genesis.device,
            chain: loaded.chain,
            sealed_chain: loaded.sealed_chain,
            tip: loaded.tip,
            unsealed_since_ms: (!unsealed.is_empty()).then_some(steady),
            unsealed,
            keys: loaded.keys,
            keys_kept_ms: i64::from(options.keys_kept_days) * DAY_MS,
            time,
            keyed: loaded.state,
            snapshot_at: loaded.snapshot_at,
            restored: loaded.restored,
            opening: loaded.opening,
            unpacked: RefCell::new(None),
            lazy: BTreeMap::new(),
            lazy_postings: Vec::new(),
            packed_bytes_x256: 8 * 256,
            signed_kept: 0,
        }
    }

    fn stage(
        &mut self,
        command: Command,
        view: &View,
        staged: &mut Staged,
        pending: &mut Vec<Pending>,
    ) {
        match command {
            Command::Record { submissions, answer } => {
                let record = |submission| self.record(&submission, view, staged);
                let answers = submissions.into_iter().map(record).collect();
                pending.push(Pending::Record(answer, answers));
            }
            Command::Seal { only_due, answer } => {
                if !self.unsealed.is_empty() && (!only_due || self.is_seal_due()) {
                    staged.seal = Sealing::All;
                }
                self.stage_lazy(staged);
                pending.push(Pending::Done(answer));
            }
            Command::State { batch, answer } => {
                let stored = self.stage_state(&batch, staged);
                pending.push(Pending::State(answer, stored));
            }
            Command::Acknowledge { acknowledgement, answer } => {
                self.time.raise_floor(acknowledgement.acknowledgement.at);
                self.lazy.insert(META_ACKNOWLEDGEMENT, acknowledgement.encode());
                self.lazy.insert(META_HQ_TIME, self.hq_time());
                view.set_acknowledgement(*acknowledgement);
                pending.push(Pending::Done(answer));
            }
            Command::Postings { told, answer } => {
                view.take_postings(&told);
                self.lazy_postings.push(*told);
                pending.push(Pending::Done(answer));
            }
            Command::HqTime { at } => {
                self.time.compare_with_hq(at);
                self.lazy.insert(META_HQ_TIME, self.hq_time());
            }
            Command::FoldAgain { answer } => {
                let folded = self.fold_again(view, staged);
                if let Err(error) = folded {
                    drop(answer.send(Err(error)));
                } else {
                    pending.push(Pending::Done(answer));
                }
            }
            Command::Stop { answer } => {
                if !self.unsealed.is_empty() || !staged.facts.is_empty() {
                    staged.seal = Sealing::All;
                }
                self.stage_lazy(staged);
                staged.metas.extend(self.snapshot(view).map(|bytes| (META_ON_HAND, bytes)));
                pending.push(Pending::Done(answer));
            }
        }
    }

    /// What is on hand, if the store's own snapshot says less.
    fn snapshot(&mut self, view: &View) -> Option<Vec<u8>> {
        let on_hand = view.on_hand();
        let at = on_hand.at();
        let snapshot = (at != self.snapshot_at).then(|| on_hand.encode()).flatten()?;
        self.snapshot_at = at;
        Some(snapshot)
    }

    fn hq_time(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint::write_signed(&mut bytes, self.time.hq_floor().0);
        bytes
    }

    fn stage_lazy(&mut self, staged: &mut Staged) {
        staged.metas.extend(std::mem::take(&mut self.lazy));
        staged.postings.append(&mut self.lazy_postings);
    }

    fn is_seal_due(&self) -> bool {
        let now = self.time.clock().steady_ms();
        self.unsealed_since_ms.is_some_and(|since| now - since >= SEAL_AGE_MS)
    }

    /// Stamps one group and adds it to the turn, or says why not.
    fn record(&mut self, submission: &Submission, view: &View, staged: &mut Staged) -> Answer {
        if self.restored {
            return Err(RecordError::Restored);
        }
        if submission.lines.is_empty() || submission.lines.len() > GROUP_MAX {
            return Err(RecordError::GroupSize(submission.lines.len()));
        }
        if let Some(key) = submission.key
            && let Some(entry) = self.keys.find(&self.database, key.key)?
            && !planted::is(Fault::SkippedDuplicateCheck)
        {
            if entry.input != key.input {
                return Err(RecordError::KeyReused);
            }
            return self.answer_again(entry.first, staged);
        }
        let catalogue = view.catalogue();
        self.check_reversals(submission, view)?;
        self.check_stock(submission, &catalogue, view, staged)?;
        let moment = self.time.stamp();
        let Moment { recorded_at, in_doubt: time_in_doubt, .. } = moment;
        let facts = self.facts_of(submission, moment)?;
        let first = self.chain.seq().next();
        self.take(&facts, first, &catalogue, view, staged);
        self.chain.extend(&facts);
        let last = self.chain.seq();
        if let Some(key) = submission.key {
            let entry = KeyEntry { first, input: key.input };
            self.keys.remember(key.key, entry);
            staged.keys.push((key.key, entry));
        }
        staged.first.get_or_insert(first);
        self.add_to_block(&facts, first, staged);
        staged.facts.extend(facts);
        Ok(Recorded { device: self.device, first, last, recorded_at, time_in_doubt, again: false })
    }

    /// Runs end where blocks end, so a block is closed, with its head, before it is too long for one
    /// frame.
    fn add_to_block(&self, facts: &[Fact], first: Seq, staged: &mut Staged) {
        match staged.blocks.last_mut().filter(|block| block.head.is_none()) {
            Some(open) => open.facts.extend(facts.iter().cloned()),
            None => staged.blocks.push(Block { first, facts: facts.to_vec(), head: None }),
        }
        let block = staged.blocks.last_mut().expect("just added to");
        if block.facts.len() > BLOCK_FACTS_MAX - GROUP_MAX {
            block.head = Some(self.chain.head());
        }
    }

    fn facts_of(&self, submission: &Submission, moment: Moment) -> Result<Vec<Fact>, RecordError> {
        let first = self.chain.seq().next();
        let count = submission.lines.len();
        let reused = u64::from(planted::is(Fault::ReusedSequence) && first > Seq(1));
        let fact = |(index, line): (usize, &super::Line)| {
            let stamp = Stamp {
                capture: Capture { device: self.device, counter: first.0 - reused + index as u64 },
                recorded_at: moment.recorded_at,
                occurred_at: line.occurred_at.unwrap_or(moment.now),
                utc_offset: submission.utc_offset,
                group_left: u16::try_from(count - 1 - index).expect("a group is at most 256"),
                person: submission.person,
                time_in_doubt: moment.in_doubt,
                company: submission.company,
            };
            line.statement.to_fact(&stamp).map_err(|why| RecordError::TooLarge { line: index, why })
        };
        submission.lines.iter().enumerate().map(fact).collect()
    }

    fn take(
        &self,
        facts: &[Fact],
        first: Seq,
        catalogue: &Catalogue,
        view: &View,
        staged: &Staged,
    ) {
        let referred = |seq| self.fact(seq, staged);
        let mut on_hand = view.on_hand_mut();
        for (index, fact) in facts.iter().enumerate() {
            let seq = Seq(first.0 + index as u64);
            on_hand.apply(seq, fact, self.device, catalogue, referred);
        }
    }

    /// A fact that is stored, or staged in this turn.
    fn fact(&self, seq: Seq, staged: &Staged) -> Option<Fact> {
        let sealed = self.sealed_chain.seq();
        if seq > sealed {
            let at = usize::try_from(seq.0 - sealed.0 - 1).ok()?;
            let staged_at = at.checked_sub(self.unsealed.len());
            return match staged_at {
                None => self.unsealed.get(at).cloned(),
                Some(at) => staged.facts.get(at).cloned(),
            };
        }
        self.sealed_fact(seq).ok().flatten()
    }

    /// Retries come in the order of the first try, so the range that was unpacked for one mostly
    /// holds the next. What is sealed never changes.
    fn sealed_fact(&self, seq: Seq) -> Result<Option<Fact>, StoreError> {
        let mut unpacked = self.unpacked.borrow_mut();
        let holds = |range: &StoredRange| range.first <= seq && !range.since(seq).is_empty();
        if !unpacked.as_ref().is_some_and(holds) {
            let transaction = super::view::read(&self.database)?;
            *unpacked = store::read_range(&transaction, self.log, seq)?;
        }
        Ok(unpacked.as_ref().and_then(|range| range.since(seq).first().cloned()))
    }

    /// The answer that was given when this key was first used.
    fn answer_again(&self, first: Seq, staged: &Staged) -> Answer {
        let missing =
            || StoreError::Damaged(format!("fact {first}, which a key names, is missing"));
        let fact = self.fact(first, staged).ok_or_else(missing)?;
        Ok(Recorded {
            device: self.device,
            first,
            last: Seq(first.0 + on_hand::group_left(&fact)),
            recorded_at: Timestamp(field::RECORDED_AT.of(&fact).unwrap_or(0)),
            time_in_doubt: u8::try_from(field::TIME_IN_DOUBT.of(&fact).unwrap_or(0)).unwrap_or(0),
            again: true,
        })
    }

    fn check_reversals(&self, submission: &Submission, view: &View) -> Result<(), RecordError> {
        for (index, line) in submission.lines.iter().enumerate() {
            let Statement::Reversal { refers_to, .. } = &line.statement else { continue };
            let (line, capture) = (index, *refers_to);
            if capture.device != self.device {
                return Err(RecordError::ReversalOfOthers { line, capture });
            }
            if capture.counter == 0 || capture.counter > self.chain.seq().0 {
                return Err(RecordError::ReversalOfNothing { line, capture });
            }
            if view.on_hand().is_reversed(Seq(capture.counter)) {
                return Err(RecordError::AlreadyReversed { line, capture });
            }
        }
        Ok(())
    }

    /// Where the policy says so, no bucket may go below zero.
    fn check_stock(
        &mut self,
        submission: &Submission,
        catalogue: &Catalogue,
        view: &View,
        staged: &Staged,
    ) -> Result<(), RecordError> {
        if submission.negative_stock {
            return Ok(());
        }
        let mut moved: HashMap<Bucket, i64> = HashMap::new();
        for (index, line) in submission.lines.iter().enumerate() {
            let Statement::Movement(movement) = &line.statement else { continue };
            let at = line.occurred_at.unwrap_or_else(|| self.time.clock().now());
            let change = on_hand::change_of(movement, catalogue, at)
                .map_err(|why| RecordError::Unit { line: index, why: Box::new(why) })?;
            let Some((bucket, change)) = change else { continue };
            let stale = view.on_hand().is_stale_at(&bucket);
            if stale {
                self.fold_again(view, staged)?;
            }
            let on_hand = view.on_hand().quantity(&bucket).0;
            let entry = moved.entry(bucket.clone()).or_insert(on_hand);
            match change {
                Change::Count(quantity) => *entry = quantity.0,
                Change::Move(quantity) => {
                    let left = entry.saturating_add(quantity.0);
                    if quantity.0 < 0 && left < 0 {
                        return Err(short_of_stock(index, &bucket, *entry, quantity.0, catalogue));
                    }
                    *entry = left;
                }
            }
        }
        Ok(())
    }

    fn fold_again(&self, view: &View, staged: &Staged) -> Result<(), StoreError> {
        let transaction = super::view::read(&self.database)?;
        let catalogue = view.catalogue();
        let mut on_hand = view.on_hand_mut();
        on_hand.fold_again(&self.opening, self.device, &catalogue, |visit| {
            let mut seq = Seq(1);
            store::for_each_range(&transaction, self.log, seq, |range| {
                for fact in &range.facts {
                    visit(seq, fact);
                    seq = seq.next();
                }
                Ok(std::ops::ControlFlow::Continue(()))
            })?;
            for fact in &staged.facts {
                visit(seq, fact);
                seq = seq.next();
            }
            Ok(())
        })
    }

    /// Takes a batch of keyed state; a checkpoint comes into force as a whole.
    fn stage_state(
        &mut self,
        signed: &SignedStateBatch,
        staged: &mut Staged,
    ) -> Result<StateCursor, StateError> {
        let batch = &signed.batch;
        let stored = self.keyed.stored;
        if batch.following(stored) != Following::Next {
            return Err(StateError::NotNext { from: batch.from, stored });
        }
        let begins = batch.from.handle != stored.handle;
        let signed = signed.encode();
        let facts = batch.facts().map_err(|error| StateError::Malformed(error.to_string()))?;
        if begins {
            staged.state.push(StateWrite::Begin);
        }
        self.keyed.stored = batch.to;
        staged.state.push(StateWrite::Pending(batch.to, encode_facts(&facts), signed));
        if batch.reaches_checkpoint() {
            let replace = self.keyed.in_force != batch.to.handle;
            self.keyed.in_force = batch.to.handle;
            staged.state.push(StateWrite::Apply { replace });
        }
        staged.metas.push((META_STATE_CURSOR, self.keyed.encode()));
        Ok(batch.to)
    }

    /// Writes the turn durably.
    fn commit(
        &mut self,
        staged: &mut Staged,
        view: &View,
        options: &Options,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write()?;
        if planted::is(Fault::RecordBeforeDurable) {
            transaction
                .set_durability(redb::Durability::None)
                .map_err(|error| StoreError::Disk(error.to_string()))?;
        }
        if !staged.facts.is_empty() || staged.seal == Sealing::All {
            self.commit_facts(&transaction, staged, view, options)?;
        }
        self.stage_lazy(staged);
        for told in &staged.postings {
            postings::write(&transaction, told)?;
        }
        if !staged.metas.is_empty() {
            let mut meta = transaction.open_table(META)?;
            for (name, bytes) in &staged.metas {
                meta.insert(*name, bytes.as_slice())?;
            }
        }
        if !staged.state.is_empty() {
            staged.catalogue = write_state(&transaction, &staged.state, &view.catalogue())?;
            if staged.catalogue.is_some() {
                self.prune_signed(&transaction)?;
            }
        }
        let expiry = self.expiry(view);
        if self.keys.has_expired(&expiry) {
            self.keys.forget(&mut transaction.open_table(KEYS)?, &expiry)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Signed batches go with the handle that they are of; of this one those go, now and then, whose
    /// facts all have newer versions.
    fn prune_signed(&mut self, transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
        let mut signed = transaction.open_table(STATE_SIGNED)?;
        let in_force = self.keyed.in_force;
        signed.retain(|(handle, _), _| handle == in_force)?;
        if signed.len()? < 2 * self.signed_kept + SIGNED_MIN {
            return Ok(());
        }
        let (mut newer, mut gone) = (HashSet::new(), Vec::new());
        for entry in signed.iter()?.rev() {
            let (place, bytes) = entry?;
            let batch = store::read_signed(bytes.value())?.batch;
            let facts = batch.facts().map_err(|error| StoreError::Damaged(error.to_string()))?;
            let mut is_newest = false;
            for fact in &facts {
                is_newest |= newer.insert(StateKey::of(fact));
            }
            if !is_newest {
                gone.push(place.value());
            }
        }
        for place in gone {
            signed.remove(place)?;
        }
        self.signed_kept = signed.len()?;
        Ok(())
    }

    /// Keys go by two clocks: that of the log's own facts, where it was not in doubt, and HQ's. A
    /// clock that jumps, here or there, makes nothing old.
    fn expiry(&self, view: &View) -> Expiry {
        let now = self.time.trusted().min(self.time.hq_floor());
        let received = view.acknowledgement();
        Expiry {
            received: received.map_or(Seq::ZERO, |known| known.acknowledgement.received.last),
            before: Timestamp(now.0.saturating_sub(self.keys_kept_ms)),
        }
    }

    fn commit_facts(
        &mut self,
        transaction: &redb::WriteTransaction,
        staged: &mut Staged,
        view: &View,
        options: &Options,
    ) -> Result<(), StoreError> {
        self.unsealed.extend(staged.facts.iter().cloned());
        let sealed_before = self.sealed_chain.seq();
        let segments = match &options.signing_key {
            Some(key) => self.seal(staged.seal, key),
            None => Vec::new(),
        };
        let mut tail = transaction.open_table(TAIL)?;
        if segments.is_empty() {
            if let Some(first) = staged.first {
                let row = TailRow::encode(first, &staged.facts, &staged.keys);
                tail.insert(first.0, row.as_slice())?;
                self.unsealed_since_ms.get_or_insert(self.time.clock().steady_ms());
            }
            return Ok(());
        }
        let mut table = transaction.open_table(SEGMENTS)?;
        for row in &segments {
            table.insert(row.seal.seal.first.0, row.encode().as_slice())?;
        }
        let sealed = self.sealed_chain.seq();
        let recorded_at = |seq: Seq| {
            let at = usize::try_from(seq.0 - sealed_before.0 - 1).expect("facts in memory");
            Timestamp(field::RECORDED_AT.of(&self.unsealed[at]).unwrap_or(0))
        };
        self.keys.seal(&mut transaction.open_table(KEYS)?, sealed, recorded_at)?;
        tail.retain(|_, _| false)?;
        let count = usize::try_from(sealed.0 - sealed_before.0).expect("facts in memory");
        self.unsealed.drain(..count);
        self.unsealed_since_ms = None;
        if !self.unsealed.is_empty() {
            let row = TailRow::encode(sealed.next(), &self.unsealed, &self.keys.recent());
            tail.insert(sealed.next().0, row.as_slice())?;
            self.unsealed_since_ms = Some(self.time.clock().steady_ms());
        }
        if sealed.0.saturating_sub(self.snapshot_at.0) >= SNAPSHOT_FACTS
            && let Some(snapshot) = self.snapshot(view)
        {
            staged.metas.push((META_ON_HAND, snapshot));
        }
        Ok(())
    }

    /// Packs and signs unsealed facts: as many as fill pages, or all.
    fn seal(&mut self, sealing: Sealing, key: &SigningKey) -> Vec<SegmentRow> {
        let mut rows = Vec::new();
        let mut at = 0;
        while at < self.unsealed.len() {
            let first = self.sealed_chain.seq().next();
            let newest = Seq(first.0 + (self.unsealed.len() - at) as u64 - 1);
            let limit = last_sealable(first, newest).0 - first.0 + 1;
            let limit = usize::try_from(limit).expect("at most 4096");
            let page = self.facts_per_page();
            if sealing == Sealing::FullPages && limit == self.unsealed.len() - at && limit < page {
                break;
            }
            let (count, row) = self.seal_one(at, limit, page, key);
            at += count;
            rows.push(row);
        }
        rows
    }

    fn facts_per_page(&self) -> usize {
        let room = (PAGE_VALUE_MAX - SegmentRow::OVERHEAD_MAX) as u64;
        usize::try_from(room * 256 / self.packed_bytes_x256).expect("below 2^20").clamp(1, 4_096)
    }

    /// Seals the facts from `at` on that fit a page; at most `limit`, and whole groups unless a
    /// chunk ends inside one.
    fn seal_one(
        &mut self,
        at: usize,
        limit: usize,
        page: usize,
        key: &SigningKey,
    ) -> (usize, SegmentRow) {
        let rest = &self.unsealed[at..];
        let room = PAGE_VALUE_MAX - SegmentRow::OVERHEAD_MAX;
        let mut count = whole_groups_of(rest, page.min(limit), limit);
        let (column_bytes, packed) = loop {
            let column_bytes = columns::encode(&rest[..count]);
            let packed = packing::pack(&column_bytes);
            let smaller = whole_groups(rest, (count * room / packed.len().max(1)).min(count - 1));
            if packed.len() <= room || smaller == 0 {
                break (column_bytes, packed);
            }
            count = smaller;
        };
        let seen = packed.len() as u64 * 256 / count as u64;
        self.packed_bytes_x256 = ((self.packed_bytes_x256 * 3 + seen) / 4).max(256);
        let first = self.sealed_chain.seq().next();
        self.sealed_chain.extend(&rest[..count]);
        let (tip, _change) = document::append(&self.log, &self.tip, first, &column_bytes);
        self.tip = tip;
        let seal = Seal {
            log: self.log,
            first,
            last: self.sealed_chain.seq(),
            head: self.sealed_chain.head(),
            document_head: tip.head.expect("a tip after a change has a head"),
        };
        let window_head = self.sealed_chain.window().1;
        (count, SegmentRow { seal: seal.sign(key), tip, window_head, packed })
    }

    /// Makes the turn visible.
    fn publish(&mut self, staged: Staged, view: &View) {
        if let Some(catalogue) = staged.catalogue {
            view.set_catalogue(catalogue);
        }
        view.publish(
            staged.blocks,
            Position { last: self.chain.seq(), head: self.chain.head() },
            self.sealed_chain.seq(),
            self.keyed.stored,
        );
    }

    /// The last commit when everybody has gone.
    fn stop(&mut self, view: &View) -> Result<(), StoreError> {
        let Some(snapshot) = self.snapshot(view) else { return Ok(()) };
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert(META_ON_HAND, snapshot.as_slice())?;
        transaction.commit()?;
        Ok(())
    }
}

/// As many facts as fit `wanted`, whole groups; a larger group goes whole, up to `limit`, where a
/// chunk or the largest segment ends.
fn whole_groups_of(facts: &[Fact], wanted: usize, limit: usize) -> usize {
    match whole_groups(facts, wanted) {
        0 => {}
        count => return count,
    }
    let end = facts[..limit].iter().position(|fact| on_hand::group_left(fact) == 0);
    end.map_or(limit, |end| end + 1)
}

fn short_of_stock(
    line: usize,
    bucket: &Bucket,
    on_hand: i64,
    quantity: i64,
    catalogue: &Catalogue,
) -> RecordError {
    let item = catalogue.item(bucket.item);
    let decimals = item.map_or(0, |item| item.decimals);
    let show = |units: i64| shared::quantity::Quantity(units).display(decimals);
    RecordError::NegativeStock(Box::new(Shortage {
        line,
        item: item.map_or_else(|| bucket.item.to_string(), |item| item.code.clone()),
        lot: bucket.lot.as_deref().map(|lot| String::from_utf8_lossy(lot).into_owned()),
        on_hand: show(on_hand),
        wanted: show(-quantity),
        unit: item.map_or_else(String::new, |item| item.unit.to_string()),
    }))
}

fn encode_facts(facts: &[Fact]) -> Vec<u8> {
    let mut out = Vec::new();
    for fact in facts {
        fact.encode(&mut out);
    }
    out
}

/// Writes steps of keyed state; the catalogue that comes of it, if a checkpoint came into force.
fn write_state(
    transaction: &redb::WriteTransaction,
    writes: &[StateWrite],
    current: &Catalogue,
) -> Result<Option<Catalogue>, StoreError> {
    let mut pending = transaction.open_table(STATE_PENDING)?;
    let mut signed = transaction.open_table(STATE_SIGNED)?;
    let mut state = transaction.open_table(STATE)?;
    let mut catalogue = None;
    for write in writes {
        match write {
            StateWrite::Begin => pending.retain(|_, _| false)?,
            StateWrite::Pending(to, facts, as_signed) => {
                pending.insert(to.at, facts.as_slice())?;
                signed.insert((to.handle, to.at), as_signed.as_slice())?;
            }
            StateWrite::Apply { replace } => {
                if *replace {
                    state.retain(|_, _| false)?;
                    catalogue = Some(Catalogue::new());
                }
                let known = catalogue.get_or_insert_with(|| current.clone());
                for entry in pending.iter()? {
                    apply_facts(entry?.1.value(), &mut state, known)?;
                }
                pending.retain(|_, _| false)?;
            }
        }
    }
    Ok(catalogue)
}

fn apply_facts(
    mut bytes: &[u8],
    state: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    catalogue: &mut Catalogue,
) -> Result<(), StoreError> {
    while !bytes.is_empty() {
        let fact =
            Fact::decode(&mut bytes).map_err(|error| StoreError::Damaged(error.to_string()))?;
        catalogue.apply(&fact);
        state.insert(StateKey::of(&fact).as_bytes(), fact.to_bytes().as_slice())?;
    }
    Ok(())
}
