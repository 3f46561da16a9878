//! The sequencer: puts durable facts into one order, lets the books take them, and makes their
//! effects durable together with their place. Knows no connection and no page.
//!
//! One thread appends; readers see the books as of the last durable commit. Invariant: what is
//! published has been stored, and replaying the stored sequence gives the same books.

mod feed;
mod replay;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use shared::catalogue::Catalogue;
use shared::fact::effective::LogRank;
use shared::fact::{Fact, Kind, field};
use shared::ids::{LogId, Seq, SiteNo};
use shared::sync::VouchersGiven;
use tokio::sync::{broadcast, watch};

use crate::books::{Books, RULES};
use crate::gateway::intake::Intake;
use crate::gateway::keyed_state::News;
use crate::report::tally::Tally;
use crate::store::{EntryNo, FileError, Store};
pub use feed::Feed;
pub use replay::{Replay, ReplayError, Replayed, Step};
use worker::Worker;
pub use worker::{Fold, Turns};

/// How many commits a slow reader of events may be behind before it must ask anew.
const EVENTS_KEPT: usize = 256;

/// What a commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last entry of the commit.
    pub last: EntryNo,
    /// How many vouchers it made.
    pub vouchers: usize,
    /// The logs that moved, and how far they are posted now.
    pub logs: Vec<(SiteNo, LogRank, Seq)>,
    /// The value of all stock after it, minor units.
    pub stock_value: i128,
}

/// The books and what is counted beside them.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// The books.
    pub books: Books,
    /// Running figures for the dashboard.
    pub tally: Tally,
}

/// The books as of the last durable commit.
#[derive(Debug)]
pub struct Published {
    ledgers: RwLock<Ledgers>,
    catalogue: RwLock<Catalogue>,
    /// Logs that HQ's own log states.
    stated_logs: RwLock<BTreeSet<LogId>>,
    /// Up to where branches were compared with the logs that they leave.
    rulings: RwLock<BTreeMap<LogId, Seq>>,
    store: Arc<dyn Store>,
    events: broadcast::Sender<Arc<Event>>,
    last: watch::Sender<EntryNo>,
    failure: watch::Sender<Option<String>>,
}

impl Published {
    /// The books. Hold them briefly: the sequencer waits meanwhile.
    pub fn ledgers(&self) -> RwLockReadGuard<'_, Ledgers> {
        self.ledgers.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Master data by number and by code, accounts included.
    pub fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether HQ's own log states a site's log and its key.
    pub fn is_log_stated(&self, log: &LogId) -> bool {
        self.stated_logs.read().unwrap_or_else(PoisonError::into_inner).contains(log)
    }

    /// Up to where a branch was compared with the log that it leaves.
    pub fn ruled(&self, log: &LogId) -> Seq {
        let rulings = self.rulings.read().unwrap_or_else(PoisonError::into_inner);
        rulings.get(log).copied().unwrap_or_default()
    }

    /// The sequence with its vouchers.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Tells of every commit from now on.
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// The last entry, and its changes.
    pub fn last(&self) -> watch::Receiver<EntryNo> {
        self.last.subscribe()
    }

    /// Why posting stopped, should it.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }
}

/// Why the sequencer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The stored sequence does not replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The books follow newer rules.
    #[error(
        "the books follow rules {0}, this program knows those up to {RULES}: install the version \
         that wrote them, or a newer one"
    )]
    NewerRules(i64),
    /// The store fails.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A handle of the sequencer; clones share everything.
#[derive(Clone, Debug)]
pub struct Sequencer {
    published: Arc<Published>,
    intake: Intake,
    stop: Arc<AtomicBool>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Sequencer {
    /// Rebuilds the books from the stored sequence, then takes whatever is in the intake.
    pub fn start(store: Arc<dyn Store>, intake: Intake) -> Result<Self, StartError> {
        Self::start_with(store, intake, Books::apply)
    }

    /// As [`Sequencer::start`], without a thread: the caller says when something is sequenced, and
    /// how the books take it.
    pub fn start_by_turns(
        store: Arc<dyn Store>,
        intake: Intake,
        fold: Fold,
    ) -> Result<(Self, Turns), StartError> {
        let (sequencer, worker) = Self::prepare(store, intake, fold)?;
        Ok((sequencer, Turns::new(worker)))
    }

    fn start_with(store: Arc<dyn Store>, intake: Intake, fold: Fold) -> Result<Self, StartError> {
        let (sequencer, worker) = Self::prepare(store, intake, fold)?;
        let thread =
            std::thread::Builder::new().name("sequencer".to_owned()).spawn(move || worker.run());
        let thread = thread.map_err(FileError::from)?;
        *sequencer.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(sequencer)
    }

    fn prepare(
        store: Arc<dyn Store>,
        intake: Intake,
        fold: Fold,
    ) -> Result<(Self, Worker), StartError> {
        let mut catalogue = Catalogue::new();
        let mut tally = Tally::new();
        let mut feed = Feed::default();
        let mut rules = RULES;
        let (mut stated_logs, mut rulings) = (BTreeSet::new(), BTreeMap::new());
        let replayed = Replay::new(&*store, &intake).run(|step| {
            let news = feed.after_entry(step.books, step.site, step.facts, step.released);
            for fact in news.iter().filter_map(News::fact) {
                catalogue.apply(fact);
                stated_logs.extend(stated_log(fact));
                rulings.extend(ruling(fact));
            }
            rules = step.rules.unwrap_or(rules);
            let Step { books, no, received_at, effects, released, .. } = *step;
            tally.note(books, no.0, received_at, &effects.vouchers, released);
            intake.update_state(|state| news.into_iter().for_each(|each| state.take(each)));
            Ok(())
        })?;
        if rules > RULES {
            return Err(StartError::NewerRules(rules));
        }
        // Those of the last months, as if they had been given last.
        let mut months: Vec<_> = replayed.books.voucher_counts().collect();
        months.sort_unstable_by_key(|(company, month, _)| (*month, *company));
        let given = |(company, month, last)| VouchersGiven { company, month, last };
        intake.note_vouchers(months.into_iter().map(given));
        let published = Arc::new(Published {
            ledgers: RwLock::new(Ledgers { books: replayed.books, tally }),
            catalogue: RwLock::new(catalogue),
            stated_logs: RwLock::new(stated_logs),
            rulings: RwLock::new(rulings),
            store,
            events: broadcast::Sender::new(EVENTS_KEPT),
            last: watch::Sender::new(replayed.last),
            failure: watch::Sender::new(None),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let worker =
            Worker::new(Arc::clone(&published), intake.clone(), feed, fold, Arc::clone(&stop))?;
        Ok((Self { published, intake, stop, thread: Arc::default() }, worker))
    }

    /// The books as of the last durable commit.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Ends after the commit under way and writes a checkpoint.
    pub fn close(&self) {
        self.stop.store(true, Ordering::Release);
        self.intake.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the sequencer ended by a panic");
        }
    }
}

/// The branch that a fact rules on, and up to where.
fn ruling(fact: &Fact) -> Option<(LogId, Seq)> {
    let log = (fact.kind() == Some(Kind::Ruling)).then(|| field::LOG.of(fact)).flatten()?;
    Some((LogId(log.try_into().ok()?), Seq(field::LOG_SEQ.of(fact)?)))
}

/// The log that a fact states.
fn stated_log(fact: &Fact) -> Option<LogId> {
    let log = (fact.kind() == Some(Kind::SiteLog)).then(|| field::LOG.of(fact)).flatten()?;
    log.try_into().ok().map(LogId)
}
