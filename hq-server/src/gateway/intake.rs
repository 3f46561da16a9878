//! The intake: verified facts of every log, durable before anything is acknowledged. Knows no
//! connection and nothing of the books, so that receiving never waits for posting.
//!
//! One thread writes. Whatever is queued becomes durable in one commit; consecutive runs of a log
//! are stored as one piece, small ones together with those of other logs. Invariant: a log's stored
//! facts are consecutive from 1, end with a whole group, and their chain gives the stored head.

mod backlog;
mod commit;
mod file;
mod log;
mod logs;
mod rows;
mod tails;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use ed25519_dalek::SigningKey;
use redb::StorageBackend;
use shared::catalogue::StateKey;
use shared::document::journal::JournalTip;
use shared::fact::Fact;
use shared::ids::{Capture, DeviceNo, Head, HistoryId, ItemNo, LogId, Seq, SiteNo};
use shared::planted::{self, Fault};
use shared::segment::chain::{Chain, Genesis};
use shared::segment::seal::SignedSeal;
use shared::sync::{
    Acknowledgement, Given, MONTHS_TOLD, Position, Run, SignedAcknowledgement, SignedStateBatch,
    StateCursor, VouchersGiven,
};
use shared::time::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::branches::Branches;
use super::keyed_state::KeyedState;
use crate::clock::Clock;
use crate::store::FileError;
use backlog::Backlog;
use file::IntakeFile;
pub use log::RunRefused;
pub use logs::LogStatus;
pub(crate) use logs::ReceivedLog;
use logs::{LogEntry, Logs, recorded};
use rows::damaged;
pub use rows::{LogNo, LogRecord, Piece};
pub use writer::Turns;
use writer::{Request, Writer};

/// How many facts may wait for the writer; more make their connections wait.
const QUEUE_FACTS_MAX: u32 = 65_536;

/// How many requests may wait for the writer.
const QUEUE_REQUESTS_MAX: usize = 1_024;

/// What the intake needs beside its file.
#[derive(Clone, Debug)]
pub struct IntakeOptions {
    /// HQ's log key: signs acknowledgements and keyed state.
    pub key: SigningKey,
    /// The life of HQ's store.
    pub history: HistoryId,
    /// Where received-at comes from.
    pub clock: Clock,
    /// How much of the file is kept in memory.
    pub cache_bytes: usize,
}

/// Why a log is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterRefused {
    /// The record speaks of another site, device or key.
    #[error("the log's genesis record names another site, device or key")]
    OtherGenesis,
    /// One installation, one log.
    #[error("device {0} already has a log: enrol the installation anew")]
    DeviceHasLog(DeviceNo),
    /// Two logs must not rank the same.
    #[error("the log's id begins like another one's: make a new one by enrolling again")]
    SameRank,
    /// Not a key.
    #[error("the log's key is no Ed25519 key")]
    BadKey,
}

/// Why a seal is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealRefused {
    /// Not signed by the log's key.
    #[error("the seal of facts {first} to {last} is not signed by the log's key")]
    BadSignature {
        /// Its first fact.
        first: Seq,
        /// Its last fact.
        last: Seq,
    },
    /// Seals come in order, and a node has all of its own.
    #[error(
        "a seal that starts at {expected} is missing before the one that starts at {first}: another installation has this log"
    )]
    Gap {
        /// Where the next seal starts.
        expected: Seq,
        /// Where this one starts.
        first: Seq,
    },
    /// Its facts are not here yet.
    #[error("the seal covers fact {last}, but facts have come up to {received}: send them first")]
    Beyond {
        /// Its last fact.
        last: Seq,
        /// The last received fact.
        received: Seq,
    },
    /// Another seal of the same range was taken before.
    #[error("another seal that starts at {0} was taken before: the installation was cloned")]
    OtherSeal(Seq),
    /// The head differs.
    #[error("the seal's head differs from that of the facts up to {0}")]
    OtherHead(Seq),
    /// The journal document's head differs.
    #[error("the seal's journal document differs from that of the facts up to {0}")]
    OtherDocument(Seq),
}

impl SealRefused {
    /// One installation seals a fact once, so another one has the key: it was copied, or restored
    /// from an image.
    pub const fn is_of_a_copy(&self) -> bool {
        matches!(
            self,
            Self::Gap { .. } | Self::OtherSeal(_) | Self::OtherHead(_) | Self::OtherDocument(_)
        )
    }
}

/// Why the intake did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntakeError {
    /// The log was never registered.
    #[error("log {0} is not known: enrol its installation")]
    UnknownLog(LogId),
    /// The run is not taken.
    #[error(transparent)]
    Run(#[from] RunRefused),
    /// The seal is not taken.
    #[error(transparent)]
    Seal(#[from] SealRefused),
    /// The log is not registered.
    #[error(transparent)]
    Register(#[from] RegisterRefused),
    /// The file failed; nothing more is taken until the program starts again.
    #[error("{0}")]
    File(Arc<FileError>),
    /// The program is ending.
    #[error("HQ is shutting down: try again")]
    Stopped,
}

impl From<FileError> for IntakeError {
    fn from(error: FileError) -> Self {
        Self::File(Arc::new(error))
    }
}

#[derive(Debug)]
struct Shared {
    file: IntakeFile,
    options: IntakeOptions,
    logs: RwLock<Logs>,
    backlog: Backlog,
    state: RwLock<KeyedState>,
    state_at: watch::Sender<u64>,
    /// Voucher numbers, as acknowledgements tell of them.
    vouchers: Mutex<[VouchersGiven; MONTHS_TOLD]>,
    failure: watch::Sender<Option<String>>,
}

/// A handle of the intake; clones share everything.
#[derive(Clone, Debug)]
pub struct Intake {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Intake {
    /// Makes a new file and starts the writer.
    pub fn create(path: &Path, options: IntakeOptions) -> Result<Self, FileError> {
        let file = IntakeFile::create(path, options.cache_bytes)?;
        Self::start(file, options)
    }

    /// Opens a file and starts the writer.
    pub fn open(path: &Path, options: IntakeOptions) -> Result<Self, FileError> {
        let file = IntakeFile::open(path, options.cache_bytes)?;
        Self::start(file, options)
    }

    /// As [`Intake::open`], over storage that a test controls; a new file where that is empty.
    pub fn open_backend(
        backend: impl StorageBackend,
        options: IntakeOptions,
    ) -> Result<Self, FileError> {
        Self::start(IntakeFile::open_backend(backend)?, options)
    }

    /// As [`Intake::open_backend`], without a thread: the caller says when the writer has its turn.
    pub fn open_by_turns(
        backend: impl StorageBackend,
        options: IntakeOptions,
    ) -> Result<(Self, Turns), FileError> {
        let (intake, queue) = Self::load(IntakeFile::open_backend(backend)?, options)?;
        let writer = Writer::new(Arc::clone(&intake.shared));
        Ok((intake, Turns::new(writer, queue)))
    }

    fn start(file: IntakeFile, options: IntakeOptions) -> Result<Self, FileError> {
        let (intake, queue) = Self::load(file, options)?;
        let writer = Writer::new(Arc::clone(&intake.shared));
        let thread = std::thread::Builder::new()
            .name("intake".to_owned())
            .spawn(move || writer.run(queue))?;
        *intake.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(intake)
    }

    fn load(
        file: IntakeFile,
        options: IntakeOptions,
    ) -> Result<(Self, mpsc::Receiver<Request>), FileError> {
        let (mut logs, safe) = (Logs::default(), file.safe()?);
        for (record, cursor) in file.logs()? {
            let recorded_at = match cursor.last {
                Seq::ZERO => Timestamp(0),
                last => file
                    .piece(record.no, last)?
                    .map_or(Timestamp(0), |piece| recorded(&piece.facts)),
            };
            let safe = safe.get(&record.no).copied().unwrap_or_default();
            let entry = LogEntry::new(record, &cursor, recorded_at)?;
            entry.safe.store(safe.min(cursor.last).0, Ordering::Release);
            logs.add(entry);
        }
        let state = RwLock::new(KeyedState::new(&options.history));
        let shared = Arc::new(Shared {
            file,
            options,
            logs: RwLock::new(logs),
            backlog: Backlog::default(),
            state,
            state_at: watch::Sender::new(0),
            vouchers: Mutex::default(),
            failure: watch::Sender::new(None),
        });
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let room = Arc::new(Semaphore::new(QUEUE_FACTS_MAX as usize));
        Ok((Self { shared, requests, room, thread: Arc::default() }, queue))
    }

    /// Lets the writer finish what is queued and ends it.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.room.close();
            let requests = self.requests.clone();
            // The queue takes the last request from a thread that may block; no runtime is needed.
            let stop = std::thread::spawn(move || drop(requests.blocking_send(Request::Stop)));
            let _ = stop.join();
            if thread.join().is_err() {
                tracing::error!("the intake's writer ended by a panic");
            }
        }
    }

    /// Adds a log of an installation. Asking again for the same log changes nothing.
    pub async fn register(
        &self,
        site: SiteNo,
        device: DeviceNo,
        genesis: &Genesis,
    ) -> Result<LogNo, IntakeError> {
        if (genesis.site, genesis.device) != (site, device) {
            return Err(RegisterRefused::OtherGenesis.into());
        }
        let genesis = genesis.clone();
        self.ask(|reply| Request::Register { genesis, reply }).await
    }

    /// Takes facts of a log. What is known already is harmless. When this returns, the facts are
    /// durable up to the position given back.
    pub async fn accept(
        &self,
        log: &LogId,
        first: Seq,
        facts: Vec<Fact>,
        head: Head,
    ) -> Result<Position, IntakeError> {
        let entry = self.entry(log).ok_or(IntakeError::UnknownLog(*log))?;
        let last = Seq(first.0.saturating_add(facts.len() as u64).saturating_sub(1));
        let run = Run { first, facts, last, head };
        log::check_size(&run)?;
        let weight = u32::try_from(run.facts.len()).expect("a segment's facts fit 32 bits");
        let room = Arc::clone(&self.room).acquire_many_owned(weight).await;
        let room = room.map_err(|_| IntakeError::Stopped)?;
        self.ask(|reply| Request::Accept { entry, run, room, reply }).await
    }

    /// Takes a seal: checks its signature, and recomputes chain head and journal-document head.
    pub async fn accept_seal(&self, seal: SignedSeal) -> Result<(), IntakeError> {
        let log = seal.seal.log;
        let entry = self.entry(&log).ok_or(IntakeError::UnknownLog(log))?;
        self.ask(|reply| Request::Seal { entry, seal, reply }).await
    }

    /// As [`Self::accept_seal`], of seals that follow each other: they share commits. The first
    /// one that is refused says why.
    pub async fn accept_seals(&self, seals: &[SignedSeal]) -> Result<(), IntakeError> {
        let mut answers = Vec::with_capacity(seals.len());
        for seal in seals {
            let log = seal.seal.log;
            let entry = self.entry(&log).ok_or(IntakeError::UnknownLog(log))?;
            let (reply, answer) = oneshot::channel();
            let request = Request::Seal { entry, seal: *seal, reply };
            self.requests.send(request).await.map_err(|_| IntakeError::Stopped)?;
            answers.push(answer);
        }
        for answer in answers {
            answer.await.map_err(|_| IntakeError::Stopped)??;
        }
        Ok(())
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, IntakeError>>) -> Request,
    ) -> Result<T, IntakeError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| IntakeError::Stopped)?;
        answer.await.map_err(|_| IntakeError::Stopped)?
    }

    /// How far a log is durable here; `None` for a log that was never registered.
    pub fn cursor(&self, log: &LogId) -> Option<Position> {
        self.entry(log).map(|entry| *entry.received.borrow())
    }

    /// Tells of every new fact of a log once it is durable.
    pub fn received(&self, log: &LogId) -> Option<watch::Receiver<Position>> {
        self.entry(log).map(|entry| entry.received.subscribe())
    }

    /// Tells how far a log is in the books.
    pub fn posted(&self, log: &LogId) -> Option<watch::Receiver<Seq>> {
        self.entry(log).map(|entry| entry.posted.subscribe())
    }

    /// The life of HQ's store.
    pub fn history(&self) -> HistoryId {
        self.shared.options.history
    }

    /// What HQ acknowledges of a log, signed.
    pub fn acknowledgement(&self, log: &LogId) -> Option<SignedAcknowledgement> {
        let entry = self.entry(log)?;
        // Posted and safe first: both only ever follow received.
        let mut posted = *entry.posted.borrow();
        let safe = Seq(entry.safe.load(Ordering::Acquire));
        let received = *entry.received.borrow();
        if planted::is(Fault::PostedTooEarly) {
            posted = received.last;
        }
        Some(self.sign(log, received, safe, posted))
    }

    /// The same of a log that differs from HQ's, whose facts up to `received` lie in `branch`, as
    /// its installation counts.
    pub fn acknowledgement_at(
        &self,
        log: &LogId,
        branch: &LogId,
        received: Position,
    ) -> Option<SignedAcknowledgement> {
        let entry = self.entry(branch)?;
        let before = Branches::left(&entry.record).map_or(0, |(_, last)| last.0);
        let level = |last: Seq| Seq(before + last.0).min(received.last);
        let posted = level(*entry.posted.borrow());
        let safe = level(Seq(entry.safe.load(Ordering::Acquire)));
        Some(self.sign(log, received, safe, posted))
    }

    fn sign(
        &self,
        log: &LogId,
        received: Position,
        safe: Seq,
        posted: Seq,
    ) -> SignedAcknowledgement {
        let IntakeOptions { key, history, clock, .. } = &self.shared.options;
        let (history, log, at) = (*history, *log, clock.now());
        let given = self.given();
        Acknowledgement { history, log, received, safe, posted, at, given }.sign(key)
    }

    /// The numbers that HQ has given.
    pub fn given(&self) -> Given {
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        let stated = logs.own.as_ref().map_or(Capture::default(), |own| Capture {
            device: own.record.device,
            // HQ's own log counts its facts as its installation does.
            counter: own.received.borrow().last.0,
        });
        drop(logs);
        let vouchers = *self.shared.vouchers.lock().unwrap_or_else(PoisonError::into_inner);
        Given { stated, vouchers }
    }

    /// The books gave these voucher numbers, oldest first.
    pub(crate) fn note_vouchers(&self, given: impl IntoIterator<Item = VouchersGiven>) {
        let mut told = self.shared.vouchers.lock().unwrap_or_else(PoisonError::into_inner);
        for given in given {
            let same = |known: &VouchersGiven| {
                known.last == 0 || (known.company, known.month) == (given.company, given.month)
            };
            let end = told.iter().position(same).unwrap_or(MONTHS_TOLD - 1);
            told[..=end].rotate_right(1);
            told[0] = given;
        }
    }

    /// What a site does not know yet of its keyed state; `None` when it knows everything.
    pub fn state_since(
        &self,
        site: SiteNo,
        from: StateCursor,
        facts_max: usize,
    ) -> Option<SignedStateBatch> {
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        let batch = state.since(site, from, facts_max)?;
        drop(state);
        Some(batch.sign(&self.shared.options.key))
    }

    /// Whether a site that knows keyed state up to a cursor has it from this life of HQ, or has none.
    pub fn tells(&self, known: StateCursor) -> bool {
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        known == StateCursor::START || known.handle == state.handle()
    }

    /// The newest version of a piece of keyed state.
    pub fn newest_state(&self, key: &StateKey) -> Option<Fact> {
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        state.newest(key).cloned()
    }

    /// What sites are told of items.
    pub fn state_about(&self, items: &[ItemNo]) -> Vec<Fact> {
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        items.iter().flat_map(|item| state.about(*item)).cloned().collect()
    }

    /// Tells when keyed state has news for somebody.
    pub fn state_watch(&self) -> watch::Receiver<u64> {
        self.shared.state_at.subscribe()
    }

    /// Changes the keyed state, then tells whoever waits for it.
    pub(crate) fn update_state(&self, change: impl FnOnce(&mut KeyedState)) {
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let at = state.at();
        drop(state);
        self.shared.state_at.send_if_modified(|known| std::mem::replace(known, at) != at);
    }

    /// Why nothing more is taken, should the file have failed.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.failure.subscribe()
    }

    /// Something was heard from a log's installation.
    pub fn note_heard(&self, log: &LogId) {
        if let Some(entry) = self.entry(log) {
            entry.heard_at.store(self.shared.options.clock.now().0, Ordering::Release);
        }
    }

    /// A bundle of a log came: how far its installation had recorded then, and when that was.
    pub fn note_carried(&self, log: &LogId, last: Seq, made_at: Timestamp) {
        if let Some(entry) = self.entry(log) {
            entry.announced.fetch_max(last.0, Ordering::AcqRel);
            entry.heard_at.fetch_max(made_at.0, Ordering::AcqRel);
        }
    }

    /// The installation says how far it has recorded.
    pub fn note_announced(&self, log: &LogId, last: Seq) {
        if let Some(entry) = self.entry(log) {
            entry.announced.fetch_max(last.0, Ordering::AcqRel);
            entry.heard_at.store(self.shared.options.clock.now().0, Ordering::Release);
        }
    }

    /// What the installation said it has is not of this log.
    pub(crate) fn forget_announced(&self, log: &LogId) {
        if let Some(entry) = self.entry(log) {
            entry.announced.store(0, Ordering::Release);
        }
    }

    /// How every log stands.
    pub fn logs(&self) -> Vec<LogStatus> {
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.by_no.values().map(|entry| entry.status()).collect()
    }

    /// How far every log is durable.
    pub(crate) fn received_logs(&self) -> Vec<ReceivedLog> {
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.by_no.values().map(|entry| entry.as_received(entry.received.borrow().last)).collect()
    }

    /// As [`Self::received_logs`], of the logs that have news since the last call.
    pub(crate) fn news(&self) -> Vec<ReceivedLog> {
        let news = self.shared.backlog.take_news();
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        let received = |(no, last)| logs.by_no.get(&no).map(|entry| entry.as_received(last));
        news.into_iter().filter_map(received).collect()
    }

    /// How one log stands.
    pub fn log(&self, log: &LogId) -> Option<LogStatus> {
        self.entry(log).map(|entry| entry.status())
    }

    /// The installation number that the next enrolment gets.
    pub fn next_device(&self) -> DeviceNo {
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        let devices = logs.by_no.values().map(|entry| entry.record.device.0);
        DeviceNo(devices.max().unwrap_or(0) + 1)
    }

    /// One fact of a log, as it was signed.
    pub fn fact(&self, log: LogNo, seq: Seq) -> Result<Option<Fact>, FileError> {
        let Some(piece) = self.piece(log, seq)? else { return Ok(None) };
        let index = usize::try_from(seq.0 - piece.first.0).expect("a piece fits memory");
        Ok(piece.facts.get(index).cloned())
    }

    /// The piece that holds a fact.
    pub(crate) fn piece(&self, log: LogNo, seq: Seq) -> Result<Option<Arc<Piece>>, FileError> {
        self.shared.piece(log, seq)
    }

    /// The chain's head after a stored fact; `None` beyond the last one.
    pub fn head_at(&self, log: &LogId, seq: Seq) -> Result<Option<Head>, FileError> {
        Ok(self.chain_at(log, seq)?.map(|chain| chain.head()))
    }

    /// As [`Self::head_at`], of a stored fact by its log's number.
    pub(crate) fn head_of(&self, log: LogNo, seq: Seq) -> Result<Head, FileError> {
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        let id = logs.by_no.get(&log).map(|entry| entry.record.log);
        drop(logs);
        let head = id.map(|id| self.head_at(&id, seq)).transpose()?.flatten();
        head.ok_or_else(|| damaged("facts of a log"))
    }

    /// The chain after a stored fact; `None` beyond the last one.
    pub(crate) fn chain_at(&self, log: &LogId, seq: Seq) -> Result<Option<Chain>, FileError> {
        let Some(entry) = self.entry(log) else { return Ok(None) };
        if seq > entry.received.borrow().last {
            return Ok(None);
        }
        let no = entry.record.no;
        let mut chain = match self.shared.file.window(no, seq)? {
            Some((at, head)) => Chain::resume(*log, at, head),
            None => Chain::start(*log),
        };
        while chain.seq() < seq {
            let next = chain.seq().next();
            let piece = self.piece(no, next)?.ok_or_else(|| damaged("facts of a log"))?;
            chain.extend(piece.part(next, seq));
        }
        Ok(Some(chain))
    }

    /// Facts of a log, as they were signed; fewer where the log ends before `last`.
    pub fn facts(&self, log: LogNo, first: Seq, last: Seq) -> Result<Vec<Fact>, FileError> {
        let mut facts = Vec::new();
        let mut next = first;
        while next <= last {
            let Some(piece) = self.piece(log, next)? else { break };
            facts.extend_from_slice(piece.part(next, last));
            next = piece.last.next();
        }
        Ok(facts)
    }

    /// The last sealed fact of a log, and its journal document there.
    pub(crate) fn seal_start(&self, log: LogNo) -> Result<(Seq, JournalTip), FileError> {
        let cursor = self.shared.file.cursor(log)?;
        Ok((cursor.sealed, cursor.tip))
    }

    /// The seals of a log from the one that holds `from` on.
    pub fn seals(
        &self,
        log: LogNo,
        from: Seq,
        count_max: usize,
    ) -> Result<Vec<SignedSeal>, FileError> {
        let rows = self.shared.file.seals(log, from, count_max)?;
        rows.iter().map(|bytes| file::read_seal(bytes)).collect()
    }

    /// A log's number by its id.
    pub fn log_no(&self, log: &LogId) -> Option<LogNo> {
        self.entry(log).map(|entry| entry.record.no)
    }

    /// Waits until something is durable that was not at the last call, or `timeout_ms` have gone.
    pub(crate) fn wait_for_facts(&self, timeout_ms: u64) {
        self.shared.backlog.wait(timeout_ms);
    }

    /// Ends a waiting [`Self::wait_for_facts`].
    pub(crate) fn wake(&self) {
        self.shared.backlog.wake();
    }

    /// The books have logs up to here.
    pub(crate) fn set_posted(&self, moved: &[(LogNo, Seq)]) {
        self.shared.backlog.drop_through(moved);
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        for (log, posted) in moved {
            if let Some(entry) = logs.by_no.get(log) {
                entry.posted.send_if_modified(|known| std::mem::replace(known, *posted) != *posted);
            }
        }
    }

    /// A verified backup has logs up to here. Durable when it returns: what was called safe once is
    /// not called less after a restart.
    pub fn set_safe(&self, safe: &[(LogNo, Seq)]) -> Result<(), FileError> {
        self.shared.file.put_safe(safe)?;
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        for (log, last) in safe {
            if let Some(entry) = logs.by_no.get(log) {
                entry.safe.fetch_max(last.0, Ordering::AcqRel);
                // Whoever tells a node how far its log is posted tells this too.
                entry.posted.send_if_modified(|_| true);
            }
        }
        Ok(())
    }

    /// Copies everything, as of one commit, to a new file.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), FileError> {
        self.shared.file.copy_to(path)
    }

    /// How far every log is in a file that nobody has open.
    pub(crate) fn cursors_of(path: &Path) -> Result<Vec<(LogNo, Seq)>, FileError> {
        let logs = IntakeFile::open(path, 1 << 20)?.logs()?;
        Ok(logs.into_iter().map(|(record, cursor)| (record.no, cursor.last)).collect())
    }

    /// Bytes in allocated pages, and the rows' own bytes.
    pub fn size(&self) -> Result<(u64, u64), FileError> {
        self.shared.file.size()
    }

    fn entry(&self, log: &LogId) -> Option<Arc<LogEntry>> {
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.by_id.get(log).map(Arc::clone)
    }
}

impl Shared {
    /// From memory where it still is, else from the file.
    fn piece(&self, log: LogNo, seq: Seq) -> Result<Option<Arc<Piece>>, FileError> {
        if let Some(piece) = self.backlog.find(log, seq) {
            return Ok(Some(piece));
        }
        self.file.piece(log, seq)
    }

    fn entry_of(&self, log: LogNo) -> Option<Arc<LogEntry>> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.by_no.get(&log).map(Arc::clone)
    }
}
