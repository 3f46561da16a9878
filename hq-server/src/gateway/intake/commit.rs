//! The facts of one commit: which of them become pieces, and which lie with those of other logs in
//! a tail block. Knows no request and no chain rule.
//!
//! Invariant: whole runs are taken and joined, and none is ever cut. A run ends with a whole group,
//! so every piece does; where a seal ends plays no part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::fact::Fact;
use shared::ids::Seq;
use shared::segment::SEGMENT_FACTS_MAX;
use shared::segment::seal::SignedSeal;
use shared::sync::Run;
use shared::time::Timestamp;

use super::Shared;
use super::file::Batch;
use super::rows::{Cursor, LogNo, Piece, damaged};
use super::tails::{LogRun, RUN_FACTS_MAX};
use crate::store::FileError;

/// See the module.
pub(super) struct Commit {
    shared: Arc<Shared>,
    pub(super) batch: Batch,
    /// When all of it was received.
    received_at: Timestamp,
    /// Facts that are not yet rows: consecutive runs of a log become one piece.
    pending: BTreeMap<LogNo, Vec<Piece>>,
    /// Logs whose tails are in pieces with this commit, and which get none with it.
    moved: BTreeSet<LogNo>,
    /// New facts in pieces, in order.
    stored: Vec<LogRun>,
    /// New facts in tails, one run of a log.
    tails: Vec<LogRun>,
}

/// What a commit made durable.
pub(super) struct Committed {
    /// New facts in pieces, in order.
    pub(super) stored: Vec<LogRun>,
    /// New facts in tails, one run of a log.
    pub(super) tails: Vec<LogRun>,
}

impl Commit {
    /// An empty one.
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self, FileError> {
        Ok(Self {
            shared: Arc::clone(shared),
            batch: shared.file.batch()?,
            received_at: shared.options.clock.now(),
            pending: BTreeMap::new(),
            moved: BTreeSet::new(),
            stored: Vec::new(),
            tails: Vec::new(),
        })
    }

    /// The logs that have all their facts in pieces with this commit.
    pub(super) const fn moved(&self) -> &BTreeSet<LogNo> {
        &self.moved
    }

    /// Makes it durable, with how far the logs are whose facts are in pieces. All facts are rows by
    /// now.
    pub(super) fn end<'a>(
        mut self,
        cursor_of: impl Fn(LogNo) -> &'a Cursor,
    ) -> Result<Committed, FileError> {
        assert!(self.pending.is_empty(), "facts are stored before a commit ends");
        self.batch.put_cursors(self.moved.iter().map(|log| (*log, cursor_of(*log))))?;
        self.shared.file.commit(self.batch, &self.moved)?;
        Ok(Committed { stored: self.stored, tails: self.tails })
    }

    /// Adds a run, to the last waiting piece of its log where that has room.
    pub(super) fn add(&mut self, log: LogNo, run: Run) {
        let received_at = self.received_at;
        let pieces = self.pending.entry(log).or_default();
        match pieces.last_mut() {
            Some(last) if last.facts.len() + run.facts.len() <= SEGMENT_FACTS_MAX => {
                assert_eq!(last.last.next(), run.first, "runs of a log are consecutive");
                last.facts.extend(run.facts);
                (last.last, last.head) = (run.last, run.head);
            }
            _ => pieces.push(Piece {
                first: run.first,
                last: run.last,
                head: run.head,
                received_at,
                facts: run.facts,
            }),
        }
    }

    /// Makes rows of all waiting facts: small runs lie together.
    pub(super) fn store(&mut self) -> Result<(), FileError> {
        let shared = Arc::clone(&self.shared);
        let (mut whole, mut adding) = (Vec::new(), 0);
        let tails = shared.file.tails();
        for (log, pieces) in &self.pending {
            match pieces.as_slice() {
                [run]
                    if run.facts.len() < RUN_FACTS_MAX
                        && !self.moved.contains(log)
                        && tails.has_room(*log, run.facts.len()) =>
                {
                    adding += run.facts.len();
                }
                _ => whole.push(*log),
            }
        }
        whole.extend(tails.overdue(adding));
        let last = tails.last_block();
        drop(tails);
        whole.into_iter().try_for_each(|log| self.flush(log))?;
        for (log, pieces) in std::mem::take(&mut self.pending) {
            self.tails.extend(pieces.into_iter().map(|run| (log, Arc::new(run))));
        }
        self.batch.put_tails(last, self.received_at, &self.tails)
    }

    /// Makes pieces of a log's tail and its waiting facts.
    fn flush(&mut self, log: LogNo) -> Result<(), FileError> {
        let mut tail = None;
        if self.moved.insert(log) {
            tail = self.shared.file.tails().joined(log);
        }
        for piece in self.pending.remove(&log).unwrap_or_default() {
            match &mut tail {
                Some(tail) if tail.facts.len() + piece.facts.len() <= SEGMENT_FACTS_MAX => {
                    tail.append(&piece);
                }
                _ => {
                    if let Some(tail) = tail.take() {
                        self.batch.put_piece(log, &tail)?;
                    }
                    self.batch.put_piece(log, &piece)?;
                }
            }
            self.stored.push((log, Arc::new(piece)));
        }
        tail.map_or(Ok(()), |tail| self.batch.put_piece(log, &tail))
    }

    /// Facts of a log, waiting ones included.
    pub(super) fn facts(&self, log: LogNo, first: Seq, last: Seq) -> Result<Vec<Fact>, FileError> {
        let mut facts = Vec::new();
        let mut next = first;
        while next <= last {
            let waiting = self.pending.get(&log).and_then(|pieces| {
                pieces.iter().find(|piece| piece.first <= next && next <= piece.last)
            });
            let read = if waiting.is_some() { None } else { self.stored_piece(log, next)? };
            let piece = waiting.or(read.as_deref()).ok_or_else(|| damaged("the facts of a log"))?;
            facts.extend_from_slice(piece.part(next, last));
            next = piece.last.next();
        }
        Ok(facts)
    }

    fn stored_piece(&self, log: LogNo, seq: Seq) -> Result<Option<Arc<Piece>>, FileError> {
        let tail = self.shared.file.tails().find(log, seq);
        Ok(if tail.is_some() { tail } else { self.batch.piece(log, seq)?.map(Arc::new) })
    }

    /// Joins the pieces of a sealed range: small ones take several times the room. None is cut,
    /// so pieces keep whole groups where a seal does not.
    pub(super) fn pack_sealed(&mut self, log: LogNo, seal: &SignedSeal) -> Result<(), FileError> {
        self.flush(log)?;
        let (mut pieces, mut next) = (Vec::new(), seal.seal.first);
        while next <= seal.seal.last {
            let piece = self.batch.piece(log, next)?;
            let piece = piece.ok_or_else(|| damaged("the facts of a log"))?;
            next = piece.last.next();
            pieces.push(piece);
        }
        for joined in joined(pieces, seal.seal.first) {
            self.batch.replace_pieces(log, &joined)?;
        }
        Ok(())
    }
}

/// What consecutive pieces become: as few as segments hold. Gives those that are new.
fn joined(pieces: Vec<Piece>, sealed_from: Seq) -> Vec<Piece> {
    let facts: usize = pieces.iter().map(|piece| piece.facts.len()).sum();
    // What starts before the range was joined with the last one: again only if that doubles it,
    // or a log with many small seals would be written again and again.
    let is_done = |piece: &&Piece| piece.first < sealed_from && piece.facts.len() * 2 > facts;
    let done = pieces.first().filter(is_done).map_or(0, |_| 1);
    let mut joined: Vec<(Piece, bool)> = Vec::new();
    for piece in pieces.into_iter().skip(done) {
        match joined.last_mut() {
            Some((last, is_new)) if last.facts.len() + piece.facts.len() <= SEGMENT_FACTS_MAX => {
                last.append(&piece);
                *is_new = true;
            }
            _ => joined.push((piece, false)),
        }
    }
    joined.into_iter().filter(|(_, is_new)| *is_new).map(|(piece, _)| piece).collect()
}

#[cfg(test)]
mod tests {
    use shared::fact::Kind;
    use shared::ids::Head;

    use super::*;

    fn sizes(pieces: &[(u64, usize)], sealed_from: u64) -> Vec<(u64, usize)> {
        let piece = |&(first, facts): &(u64, usize)| Piece {
            first: Seq(first),
            last: Seq(first + facts as u64 - 1),
            head: Head([0; 32]),
            received_at: Timestamp(0),
            facts: vec![Fact::new(Kind::Receipt); facts],
        };
        let joined = joined(pieces.iter().map(piece).collect(), Seq(sealed_from));
        joined.iter().map(|piece| (piece.first.0, piece.facts.len())).collect()
    }

    #[test]
    fn pieces_are_joined_where_that_makes_fewer() {
        assert_eq!(sizes(&[(1, 50)], 1), []);
        assert_eq!(sizes(&[(1, 1), (2, 1), (3, 5)], 1), [(1, 7)]);
        assert_eq!(sizes(&[(1, 4_000), (4_001, 90), (4_091, 90)], 1), [(1, 4_090)]);
        assert_eq!(sizes(&[(1, 4_000), (4_001, 97)], 1), []);
        assert_eq!(sizes(&[(1, 4_000), (4_001, 97), (4_098, 3)], 1), [(4_001, 100)]);
    }

    #[test]
    fn what_was_joined_is_joined_again_once_it_doubles() {
        assert_eq!(sizes(&[(1, 300), (301, 299)], 200), []);
        assert_eq!(sizes(&[(1, 300), (301, 300)], 200), [(1, 600)]);
        assert_eq!(sizes(&[(1, 300), (301, 10), (311, 10)], 200), [(301, 20)]);
    }
}
