//! Pieces that are durable and not yet in the books, kept in memory while there is room, and which
//! logs have news. The file has them too: nothing depends on what is here but speed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::ids::Seq;

use super::rows::{LogNo, Piece};
use super::tails::LogRun;

/// How many facts are kept; a fact takes a few hundred bytes of memory.
const FACTS_MAX: usize = 131_072;

#[derive(Debug, Default)]
struct Kept {
    pieces: HashMap<LogNo, VecDeque<Arc<Piece>>>,
    facts: usize,
    /// How far logs became durable since somebody asked.
    news: HashMap<LogNo, Seq>,
    is_awake: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    kept: Mutex<Kept>,
    changed: Condvar,
}

impl Backlog {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps pieces that just became durable, as far as there is room, and wakes the sequencer.
    /// `tails` are in memory elsewhere.
    pub(super) fn add(&self, pieces: Vec<LogRun>, tails: &[LogRun]) {
        let mut kept = self.kept();
        kept.news.extend(pieces.iter().chain(tails).map(|(log, piece)| (*log, piece.last)));
        for (log, piece) in pieces {
            if kept.facts + piece.facts.len() <= FACTS_MAX {
                kept.facts += piece.facts.len();
                kept.pieces.entry(log).or_default().push_back(piece);
            }
        }
        kept.is_awake = true;
        drop(kept);
        self.changed.notify_all();
    }

    /// The logs that became durable further since the last call, and how far.
    pub(super) fn take_news(&self) -> HashMap<LogNo, Seq> {
        std::mem::take(&mut self.kept().news)
    }

    /// The piece that holds a fact.
    pub(super) fn find(&self, log: LogNo, seq: Seq) -> Option<Arc<Piece>> {
        let kept = self.kept();
        let pieces = kept.pieces.get(&log)?;
        let after = pieces.partition_point(|piece| piece.first <= seq);
        let piece = pieces.get(after.checked_sub(1)?)?;
        (piece.last >= seq).then(|| Arc::clone(piece))
    }

    /// Forgets what the books have.
    pub(super) fn drop_through(&self, moved: &[(LogNo, Seq)]) {
        let mut kept = self.kept();
        for (log, seq) in moved {
            let Some(pieces) = kept.pieces.get_mut(log) else { continue };
            let mut dropped = 0;
            while let Some(piece) = pieces.front().filter(|piece| piece.last <= *seq) {
                dropped += piece.facts.len();
                pieces.pop_front();
            }
            if pieces.is_empty() {
                kept.pieces.remove(log);
            }
            kept.facts -= dropped;
        }
    }

    /// Waits for [`Self::add`] or [`Self::wake`] since the last wait, or the time out.
    pub(super) fn wait(&self, timeout_ms: u64) {
        let kept = self.kept();
        let timeout = Duration::from_millis(timeout_ms);
        let waited = self.changed.wait_timeout_while(kept, timeout, |kept| !kept.is_awake);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_awake = false;
    }

    /// Ends a wait.
    pub(super) fn wake(&self) {
        self.kept().is_awake = true;
        self.changed.notify_all();
    }
}
