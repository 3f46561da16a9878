//! Pieces that are durable and not yet in the books, kept in memory while there is room. The file
//! has them too: nothing depends on what is here but speed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::ids::Seq;

use super::file::{LogNo, Piece};

/// How many facts are kept; a fact takes about half a kilobyte of memory.
const FACTS_MAX: usize = 131_072;

#[derive(Debug, Default)]
struct Kept {
    pieces: BTreeMap<LogNo, VecDeque<Arc<Piece>>>,
    facts: usize,
    news: bool,
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
    pub(super) fn add(&self, pieces: impl IntoIterator<Item = (LogNo, Piece)>) {
        let mut kept = self.kept();
        for (log, piece) in pieces {
            if kept.facts + piece.facts.len() <= FACTS_MAX {
                kept.facts += piece.facts.len();
                kept.pieces.entry(log).or_default().push_back(Arc::new(piece));
            }
        }
        kept.news = true;
        drop(kept);
        self.changed.notify_all();
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
    pub(super) fn drop_through(&self, log: LogNo, seq: Seq) {
        let mut kept = self.kept();
        let Some(pieces) = kept.pieces.get_mut(&log) else { return };
        let mut dropped = 0;
        while let Some(piece) = pieces.front().filter(|piece| piece.last <= seq) {
            dropped += piece.facts.len();
            pieces.pop_front();
        }
        kept.facts -= dropped;
    }

    /// Waits for [`Self::add`] or [`Self::wake`] since the last wait, or the time out.
    pub(super) fn wait(&self, timeout_ms: u64) {
        let kept = self.kept();
        let timeout = Duration::from_millis(timeout_ms);
        let waited = self.changed.wait_timeout_while(kept, timeout, |kept| !kept.news);
        waited.unwrap_or_else(PoisonError::into_inner).0.news = false;
    }

    /// Ends a wait.
    pub(super) fn wake(&self) {
        self.kept().news = true;
        self.changed.notify_all();
    }
}
