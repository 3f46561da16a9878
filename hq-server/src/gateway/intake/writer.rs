//! The one thread that writes the intake file: takes whatever is queued, checks it, stores it in
//! one commit, then answers. Knows nothing of who asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use shared::document::journal;
use shared::ids::{Head, Seq};
use shared::planted::{self, Fault};
use shared::segment::chain::{Chain, Genesis};
use shared::segment::columns;
use shared::segment::seal::SignedSeal;
use shared::sync::{Position, Run};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::commit::Commit;
use super::log::{self, RunRefused};
use super::rows::{Cursor, LogNo, LogRecord, damaged};
use super::{IntakeError, LogEntry, RegisterRefused, SealRefused, Shared, recorded};
use crate::store::FileError;

/// How many facts one commit takes at most.
const COMMIT_FACTS_MAX: usize = 65_536;

type Reply<T> = oneshot::Sender<Result<T, IntakeError>>;

/// What is asked of the writer.
#[derive(Debug)]
pub(super) enum Request {
    /// Add a log.
    Register {
        /// Its record.
        genesis: Genesis,
        /// Where the answer goes.
        reply: Reply<LogNo>,
    },
    /// Take facts.
    Accept {
        /// Of which log.
        entry: Arc<LogEntry>,
        /// The facts.
        run: Run,
        /// Their room in the queue.
        room: OwnedSemaphorePermit,
        /// Where the answer goes.
        reply: Reply<Position>,
    },
    /// Take a seal.
    Seal {
        /// Of which log.
        entry: Arc<LogEntry>,
        /// The seal.
        seal: SignedSeal,
        /// Where the answer goes.
        reply: Reply<()>,
    },
    /// End.
    Stop,
}

impl Request {
    /// Answers with the error that ended the writer; whether it asks for the end.
    fn refuse(self, error: &Arc<FileError>) -> bool {
        let error = IntakeError::File(Arc::clone(error));
        match self {
            Self::Register { reply, .. } => drop(reply.send(Err(error))),
            Self::Accept { reply, .. } => drop(reply.send(Err(error))),
            Self::Seal { reply, .. } => drop(reply.send(Err(error))),
            Self::Stop => return true,
        }
        false
    }
}

/// A log as the writer follows it.
struct Followed {
    chain: Chain,
    cursor: Cursor,
}

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    followed: HashMap<LogNo, Followed>,
    /// Nothing more is taken after the file failed.
    failed: Option<Arc<FileError>>,
}

/// The writer of an intake without a thread: whoever holds it says when something is written.
pub struct Turns {
    writer: Writer,
    queue: mpsc::Receiver<Request>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turns")
    }
}

impl Turns {
    pub(super) const fn new(writer: Writer, queue: mpsc::Receiver<Request>) -> Self {
        Self { writer, queue }
    }

    /// One commit of whatever is queued; whether there was anything.
    pub fn take(&mut self) -> bool {
        let first = self.queue.try_recv().ok();
        first.map(|first| self.writer.turn(first, &mut self.queue)).is_some()
    }
}

/// What becomes durable with the next commit, and who waits for it.
struct Work {
    commit: Commit,
    touched: BTreeMap<LogNo, Arc<LogEntry>>,
    registered: Vec<LogEntry>,
    answers: Vec<Answer>,
}

/// An answer that waits for the commit.
enum Answer {
    Registered(Reply<LogNo>, LogNo),
    Accepted(Reply<Position>, Position),
    Sealed(Reply<()>),
}

impl Answer {
    fn send(self, failed: Option<&Arc<FileError>>) {
        let failed = failed.map(|error| IntakeError::File(Arc::clone(error)));
        // Whoever asked may have gone.
        match self {
            Self::Registered(reply, no) => drop(reply.send(failed.map_or(Ok(no), Err))),
            Self::Accepted(reply, at) => drop(reply.send(failed.map_or(Ok(at), Err))),
            Self::Sealed(reply) => drop(reply.send(failed.map_or(Ok(()), Err))),
        }
    }
}

impl Writer {
    /// A writer that has seen nothing yet.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, followed: HashMap::new(), failed: None }
    }

    /// Serves requests until told to stop; refuses them all once the file fails.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.blocking_recv() {
            if self.turn(first, &mut queue) {
                break;
            }
        }
    }

    /// One commit of whatever is queued; whether that ends the writer.
    fn turn(&mut self, first: Request, queue: &mut mpsc::Receiver<Request>) -> bool {
        if let Some(error) = &self.failed {
            return first.refuse(error);
        }
        let mut stop = false;
        if let Err(error) = self.commit_queued(first, queue, &mut stop) {
            tracing::error!("the intake stops: {error}");
            self.shared.failure.send_replace(Some(error.to_string()));
            self.failed = Some(error);
        }
        stop
    }

    fn commit_queued(
        &mut self,
        first: Request,
        queue: &mut mpsc::Receiver<Request>,
        stop: &mut bool,
    ) -> Result<(), Arc<FileError>> {
        let mut work = Work {
            commit: Commit::new(&self.shared)?,
            touched: BTreeMap::new(),
            registered: Vec::new(),
            answers: Vec::new(),
        };
        let (mut next, mut facts, mut failed) = (Some(first), 0, None);
        while let Some(request) = next.take() {
            match request {
                Request::Stop => {
                    *stop = true;
                    break;
                }
                Request::Register { genesis, reply } => {
                    failed = self.register(&mut work, &genesis, reply).err();
                }
                Request::Accept { entry, run, room, reply } => {
                    facts += run.facts.len();
                    failed = self.accept(&mut work, entry, run, reply).err();
                    drop(room);
                }
                Request::Seal { entry, seal, reply } => {
                    failed = self.seal(&mut work, entry, &seal, reply).err();
                }
            }
            if failed.is_some() || facts >= COMMIT_FACTS_MAX {
                break;
            }
            next = queue.try_recv().ok();
        }
        self.finish(work, failed)
    }

    /// Writes what waits, commits, and answers.
    fn finish(&mut self, mut work: Work, failed: Option<FileError>) -> Result<(), Arc<FileError>> {
        let answers = std::mem::take(&mut work.answers);
        let written = match failed {
            Some(error) => Err(error),
            None if answers.is_empty() && work.touched.is_empty() => return Ok(()),
            None => self.write(work),
        };
        let written = written.map_err(Arc::new);
        for answer in answers {
            answer.send(written.as_ref().err());
        }
        written
    }

    fn write(&mut self, mut work: Work) -> Result<(), FileError> {
        work.commit.store()?;
        self.follow_moved(&work)?;
        let committed = work.commit.end(|log| &self.followed[&log].cursor)?;
        for (log, entry) in &work.touched {
            let cursor = &self.followed[log].cursor;
            entry.sealed.store(cursor.sealed.0, Ordering::Release);
            let position = Position { last: cursor.last, head: cursor.head };
            entry.received.send_if_modified(|known| std::mem::replace(known, position) != position);
        }
        if !work.registered.is_empty() {
            let mut logs = self.shared.logs.write().unwrap_or_else(PoisonError::into_inner);
            work.registered.into_iter().for_each(|entry| logs.add(entry));
        }
        for (log, piece) in committed.stored.iter().chain(&committed.tails) {
            let Some(entry) = work.touched.get(log) else { continue };
            entry.recorded_at.store(recorded(&piece.facts).0, Ordering::Release);
        }
        self.shared.backlog.add(committed.stored, &committed.tails);
        Ok(())
    }

    fn register(
        &mut self,
        work: &mut Work,
        genesis: &Genesis,
        reply: Reply<LogNo>,
    ) -> Result<(), FileError> {
        let log = genesis.log_id();
        let record = LogRecord {
            no: LogNo(u32::try_from(work.commit.batch.log_count()? + 1).expect("logs fit 32 bits")),
            log,
            site: genesis.site,
            device: genesis.device,
            public_key: genesis.public_key,
            genesis: genesis.encode(),
        };
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        let waiting = |entry: &&LogEntry| entry.record.log == log;
        let known = logs.by_id.get(&log).map(|entry| entry.record.no);
        let known = known.or(work.registered.iter().find(waiting).map(|entry| entry.record.no));
        if let Some(no) = known {
            work.answers.push(Answer::Registered(reply, no));
            return Ok(());
        }
        let same_device = work.registered.iter().any(|entry| entry.record.device == record.device);
        let allowed = if same_device {
            Err(RegisterRefused::DeviceHasLog(record.device))
        } else {
            logs.allows(&record)
        };
        drop(logs);
        let cursor = Cursor::start(Head(log.0));
        let entry = match allowed {
            Ok(()) => LogEntry::new(record.clone(), &cursor, shared::time::Timestamp(0)),
            Err(refused) => {
                drop(reply.send(Err(refused.into())));
                return Ok(());
            }
        };
        let Ok(entry) = entry else {
            drop(reply.send(Err(RegisterRefused::BadKey.into())));
            return Ok(());
        };
        work.commit.batch.put_log(&record)?;
        work.commit.batch.put_cursors([(record.no, &cursor)])?;
        work.registered.push(entry);
        work.answers.push(Answer::Registered(reply, record.no));
        Ok(())
    }

    fn accept(
        &mut self,
        work: &mut Work,
        entry: Arc<LogEntry>,
        run: Run,
        reply: Reply<Position>,
    ) -> Result<(), FileError> {
        let (no, device) = (entry.record.no, entry.record.device);
        self.follow(work, &entry)?;
        let chain = &self.followed[&no].chain;
        if run.last <= chain.seq() {
            let same = Self::head_at(work, &entry, chain, run.last)? == run.head;
            let answer =
                if same { Ok(log::position(chain)) } else { Err(RunRefused::Fork(run.last)) };
            match answer {
                Ok(position) => work.answers.push(Answer::Accepted(reply, position)),
                Err(refused) => Self::refuse(&entry, reply, refused.into()),
            }
            return Ok(());
        }
        let accepted = match log::check(chain, device, run) {
            Ok(accepted) => accepted,
            Err(refused) => {
                Self::refuse(&entry, reply, refused.into());
                return Ok(());
            }
        };
        let position = accepted.run.position();
        for (at, head) in accepted.windows {
            work.commit.batch.put_window(no, at, head)?;
        }
        work.commit.add(no, accepted.run);
        let followed = self.followed.get_mut(&no).expect("the log is followed above");
        followed.chain = accepted.chain;
        followed.cursor.last = position.last;
        followed.cursor.head = position.head;
        if planted::is(Fault::AckBeforeDurable) {
            entry.received.send_replace(position);
            work.touched.insert(no, entry);
            drop(reply.send(Ok(position)));
            return Ok(());
        }
        work.touched.insert(no, entry);
        work.answers.push(Answer::Accepted(reply, position));
        Ok(())
    }

    /// Answers at once: a refusal waits for no commit.
    fn refuse<T>(entry: &LogEntry, reply: Reply<T>, error: IntakeError) {
        let is_doubtful = match &error {
            IntakeError::Run(refused) => matches!(refused, RunRefused::Fork(_)),
            IntakeError::Seal(refused) => refused.is_of_a_copy(),
            _ => false,
        };
        if is_doubtful {
            tracing::warn!(site = entry.record.site.0, log = %entry.record.log.short(), "{error}");
            let mut refusal = entry.refusal.lock().unwrap_or_else(PoisonError::into_inner);
            *refusal = Some(error.to_string());
        }
        drop(reply.send(Err(error)));
    }

    /// Reads how far a log is, once.
    fn follow(&mut self, work: &Work, entry: &LogEntry) -> Result<(), FileError> {
        let no = entry.record.no;
        if self.followed.contains_key(&no) {
            return Ok(());
        }
        let cursor = self.shared.file.cursor(no)?;
        let chain = Self::chain_at(work, entry, cursor.last)?;
        if chain.head() != cursor.head {
            return Err(damaged("the chain of a log"));
        }
        self.followed.insert(no, Followed { chain, cursor });
        Ok(())
    }

    /// Tails also move for others' sake: their logs may not have been heard of yet.
    fn follow_moved(&mut self, work: &Work) -> Result<(), FileError> {
        for log in work.commit.moved() {
            if !self.followed.contains_key(log) {
                let entry = self.shared.entry_of(*log);
                let entry = entry.ok_or_else(|| damaged("small runs of logs"))?;
                self.follow(work, &entry)?;
            }
        }
        Ok(())
    }

    fn head_at(work: &Work, entry: &LogEntry, chain: &Chain, seq: Seq) -> Result<Head, FileError> {
        if seq == chain.seq() {
            return Ok(chain.head());
        }
        Ok(Self::chain_at(work, entry, seq)?.head())
    }

    /// The chain after a stored fact: from the last window on.
    fn chain_at(work: &Work, entry: &LogEntry, seq: Seq) -> Result<Chain, FileError> {
        let (no, log) = (entry.record.no, entry.record.log);
        let mut chain = match work.commit.batch.window(no, seq)? {
            Some((at, head)) => Chain::resume(log, at, head),
            None => log::start(log),
        };
        if chain.seq() < seq {
            chain.extend(&work.commit.facts(no, chain.seq().next(), seq)?);
        }
        Ok(chain)
    }

    fn seal(
        &mut self,
        work: &mut Work,
        entry: Arc<LogEntry>,
        seal: &SignedSeal,
        reply: Reply<()>,
    ) -> Result<(), FileError> {
        self.follow(work, &entry)?;
        match self.checked_seal(work, &entry, seal)? {
            Ok(tip) => {
                let no = entry.record.no;
                if let Some(tip) = tip {
                    work.commit.batch.put_seal(no, seal.seal.first, &seal.encode())?;
                    work.commit.pack_sealed(no, seal)?;
                    let followed = self.followed.get_mut(&no).expect("the log is followed above");
                    followed.cursor.sealed = seal.seal.last;
                    followed.cursor.tip = tip;
                    work.touched.insert(no, entry);
                }
                work.answers.push(Answer::Sealed(reply));
            }
            Err(refused) => Self::refuse(&entry, reply, refused.into()),
        }
        Ok(())
    }

    /// The journal document's tip after a new seal; `None` for a seal that was taken before.
    fn checked_seal(
        &self,
        work: &Work,
        entry: &LogEntry,
        signed: &SignedSeal,
    ) -> Result<Result<Option<journal::JournalTip>, SealRefused>, FileError> {
        let (no, seal) = (entry.record.no, &signed.seal);
        let cursor = &self.followed[&no].cursor;
        if signed.verify(&entry.key).is_err() {
            return Ok(Err(SealRefused::BadSignature { first: seal.first, last: seal.last }));
        }
        if seal.first <= cursor.sealed {
            let same = work
                .commit
                .batch
                .seal(no, seal.first)?
                .is_some_and(|taken| taken == signed.encode());
            return Ok(if same { Ok(None) } else { Err(SealRefused::OtherSeal(seal.first)) });
        }
        if seal.first != cursor.sealed.next() {
            let expected = cursor.sealed.next();
            return Ok(Err(SealRefused::Gap { expected, first: seal.first }));
        }
        if seal.last > cursor.last {
            return Ok(Err(SealRefused::Beyond { last: seal.last, received: cursor.last }));
        }
        if Self::head_at(work, entry, &self.followed[&no].chain, seal.last)? != seal.head {
            return Ok(Err(SealRefused::OtherHead(seal.last)));
        }
        let columns = columns::encode(&work.commit.facts(no, seal.first, seal.last)?);
        let (tip, _) = journal::append(&seal.log, &cursor.tip, seal.first, &columns);
        if tip.head != Some(seal.document_head) {
            return Ok(Err(SealRefused::OtherDocument(seal.last)));
        }
        Ok(Ok(Some(tip)))
    }
}
