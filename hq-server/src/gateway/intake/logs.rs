//! What is known of each log while HQ runs: how far it is in the file, the books and the backups.
//! Knows no file. Invariant: nothing here overtakes what is durable.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::VerifyingKey;
use shared::fact::Fact;
use shared::fact::effective::LogRank;
use shared::ids::{LogId, Seq, SiteNo};
use shared::sync::Position;
use shared::time::Timestamp;
use tokio::sync::watch;

use super::RegisterRefused;
use super::rows::{Cursor, LogNo, LogRecord, damaged};
use crate::store::FileError;

/// What is known of a log right now.
#[derive(Debug)]
pub(super) struct LogEntry {
    pub(super) record: LogRecord,
    pub(super) key: VerifyingKey,
    pub(super) received: watch::Sender<Position>,
    pub(super) posted: watch::Sender<Seq>,
    pub(super) safe: AtomicU64,
    pub(super) sealed: AtomicU64,
    /// What the site itself says it has.
    pub(super) announced: AtomicU64,
    /// When anything was last heard from the site; 0 for never.
    pub(super) heard_at: AtomicI64,
    /// The recorded-at of the last fact received.
    pub(super) recorded_at: AtomicI64,
    pub(super) refusal: Mutex<Option<String>>,
}

/// How a log stands, for pages and commands.
#[derive(Clone, Debug)]
pub struct LogStatus {
    /// The log as registered.
    pub record: LogRecord,
    /// Durable here.
    pub received: Position,
    /// Sealed by its writer.
    pub sealed: Seq,
    /// In the books.
    pub posted: Seq,
    /// Also in a verified backup.
    pub safe: Seq,
    /// What the site said it has, if it said so since HQ started.
    pub announced: Option<Seq>,
    /// When anything was last heard from it since HQ started.
    pub heard_at: Option<Timestamp>,
    /// When the last received fact was recorded.
    pub complete_to: Option<Timestamp>,
    /// Why something of it was refused: makes the site doubtful.
    pub refusal: Option<String>,
}

/// A log as the sequencer sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedLog {
    /// The log.
    pub(crate) no: LogNo,
    /// Its site.
    pub(crate) site: SiteNo,
    /// Its rank among logs.
    pub(crate) rank: LogRank,
    /// Its last durable fact.
    pub(crate) last: Seq,
}

/// All logs, by what they are looked up by.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) by_id: BTreeMap<LogId, Arc<LogEntry>>,
    pub(super) by_no: BTreeMap<LogNo, Arc<LogEntry>>,
    /// HQ's own newest one.
    pub(super) own: Option<Arc<LogEntry>>,
}

impl Logs {
    pub(super) fn add(&mut self, entry: LogEntry) {
        let entry = Arc::new(entry);
        if entry.record.site == SiteNo::HQ {
            self.own = Some(Arc::clone(&entry));
        }
        self.by_no.insert(entry.record.no, Arc::clone(&entry));
        self.by_id.insert(entry.record.log, entry);
    }

    /// Whether a new log may stand beside these.
    pub(super) fn allows(&self, record: &LogRecord) -> Result<(), RegisterRefused> {
        let rank = LogRank::of(&record.log);
        for entry in self.by_no.values() {
            if entry.record.device == record.device {
                return Err(RegisterRefused::DeviceHasLog(record.device));
            }
            if LogRank::of(&entry.record.log) == rank {
                return Err(RegisterRefused::SameRank);
            }
        }
        Ok(())
    }
}

impl LogEntry {
    pub(super) fn new(
        record: LogRecord,
        cursor: &Cursor,
        recorded_at: Timestamp,
    ) -> Result<Self, FileError> {
        let key =
            VerifyingKey::from_bytes(&record.public_key).map_err(|_| damaged("a log's key"))?;
        Ok(Self {
            record,
            key,
            received: watch::Sender::new(Position { last: cursor.last, head: cursor.head }),
            posted: watch::Sender::new(Seq::ZERO),
            safe: AtomicU64::new(0),
            sealed: AtomicU64::new(cursor.sealed.0),
            announced: AtomicU64::new(0),
            heard_at: AtomicI64::new(0),
            recorded_at: AtomicI64::new(recorded_at.0),
            refusal: Mutex::new(None),
        })
    }

    pub(super) fn as_received(&self, last: Seq) -> ReceivedLog {
        let LogRecord { no, site, log, .. } = &self.record;
        ReceivedLog { no: *no, site: *site, rank: LogRank::of(log), last }
    }

    pub(super) fn status(&self) -> LogStatus {
        let seq = |value: &AtomicU64| Seq(value.load(Ordering::Acquire));
        let time = |value: &AtomicI64| match value.load(Ordering::Acquire) {
            0 => None,
            at => Some(Timestamp(at)),
        };
        // What follows received is read before it, so that no status overtakes it.
        let (posted, safe, sealed) = (*self.posted.borrow(), seq(&self.safe), seq(&self.sealed));
        LogStatus {
            record: self.record.clone(),
            received: *self.received.borrow(),
            sealed,
            posted,
            safe,
            announced: Some(seq(&self.announced)).filter(|last| *last != Seq::ZERO),
            heard_at: time(&self.heard_at),
            complete_to: time(&self.recorded_at),
            refusal: self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// When the last of some facts was recorded.
pub(super) fn recorded(facts: &[Fact]) -> Timestamp {
    let at = facts.last().and_then(|fact| shared::fact::field::RECORDED_AT.of(fact));
    Timestamp(at.unwrap_or(0))
}
