//! Runs that are too small for rows of their own. What many logs bring in one commit lies in one
//! block, and in memory until the log has enough for a piece: so a commit writes a few pages and
//! not one for each log. Knows bytes; knows no table and no chain rule.
//!
//! Invariant: a log's tail is consecutive and follows its last piece, and a block is kept as long
//! as a run of it is in a tail.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use shared::fact::Fact;
use shared::ids::{Head, Seq};
use shared::segment::SEGMENT_FACTS_MAX;
use shared::sync::Position;
use shared::time::Timestamp;
use shared::varint;

use super::rows::{LogNo, Piece, damaged, take_hash, take_number};
use crate::store::FileError;

/// A commit's facts of one log are a small run below this.
pub(super) const RUN_FACTS_MAX: usize = 256;

/// A tail becomes a piece once it has this many facts, or some more: see [`Tails::has_room`].
const TAIL_FACTS_MIN: usize = 512;

/// How many facts all tails have together; the oldest tails become pieces. They are in memory, a
/// single fact with its place in about 300 bytes.
const FACTS_MAX: usize = 131_072;

/// How many facts the blocks have, those that moved since included.
const STORED_FACTS_MAX: usize = 4 * FACTS_MAX;

/// The layout of a block.
const LAYOUT: u64 = 1;

const WHAT: &str = "small runs of logs";

/// A block's place: they ascend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlockNo(pub(super) u64);

/// A small run, and whose it is.
pub(super) type LogRun = (LogNo, Arc<Piece>);

/// A run where it stands in a tail.
#[derive(Debug)]
struct Placed {
    first: Seq,
    block: BlockNo,
    run: Arc<Piece>,
}

#[derive(Debug, Default)]
struct Tail {
    runs: VecDeque<Placed>,
    facts: usize,
}

#[derive(Debug)]
struct Block {
    /// Runs that are in a tail.
    live: usize,
    facts: usize,
}

/// The tails of all logs.
#[derive(Debug, Default)]
pub(super) struct Tails {
    logs: HashMap<LogNo, Tail>,
    blocks: BTreeMap<BlockNo, Block>,
    /// Where tails start, the oldest first. Some have moved since.
    starts: VecDeque<(BlockNo, LogNo)>,
    facts: usize,
    stored_facts: usize,
}

/// Cuts the runs of a commit into what one block holds each.
pub(super) fn cut(runs: &[LogRun]) -> Vec<&[LogRun]> {
    let (mut blocks, mut rest) = (Vec::new(), runs);
    while !rest.is_empty() {
        let mut facts = 0;
        let fits = |(_, run): &&LogRun| {
            facts += run.facts.len();
            facts <= SEGMENT_FACTS_MAX
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        blocks.push(now);
        rest = later;
    }
    blocks
}

/// The bytes of a block.
pub(super) fn encode(received_at: Timestamp, runs: &[LogRun]) -> Vec<u8> {
    let facts: usize = runs.iter().map(|(_, run)| run.facts.len()).sum();
    let mut out = Vec::with_capacity(16 + runs.len() * 44 + facts * 64);
    varint::write_unsigned(&mut out, LAYOUT);
    varint::write_signed(&mut out, received_at.0);
    varint::write_unsigned(&mut out, runs.len() as u64);
    for (log, run) in runs {
        varint::write_unsigned(&mut out, log.0.into());
        varint::write_unsigned(&mut out, run.first.0);
        varint::write_unsigned(&mut out, run.facts.len() as u64);
        out.extend_from_slice(&run.head.0);
        // As they are: they will be packed with their neighbours of the same log.
        run.facts.iter().for_each(|fact| fact.encode(&mut out));
    }
    out
}

/// The runs of a block.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Vec<LogRun>, FileError> {
    let input = &mut bytes;
    if take_number(input, WHAT)? != LAYOUT {
        return Err(damaged(WHAT));
    }
    let received_at = Timestamp(varint::read_signed(input).map_err(|_| damaged(WHAT))?);
    let mut runs = Vec::new();
    for _ in 0..take_number(input, WHAT)? {
        let log = u32::try_from(take_number(input, WHAT)?).map_err(|_| damaged(WHAT))?;
        let first = Seq(take_number(input, WHAT)?);
        let count = take_number(input, WHAT)?;
        let last = count.checked_sub(1).and_then(|more| first.0.checked_add(more));
        let last = Seq(last.filter(|_| first > Seq::ZERO).ok_or_else(|| damaged(WHAT))?);
        let head = Head(take_hash(input, WHAT)?);
        let facts = (0..count).map(|_| Fact::decode(input)).collect::<Result<_, _>>();
        let facts = facts.map_err(|_| damaged(WHAT))?;
        runs.push((LogNo(log), Arc::new(Piece { first, last, head, received_at, facts })));
    }
    if input.is_empty() { Ok(runs) } else { Err(damaged(WHAT)) }
}

impl Tails {
    /// Takes a stored block, in their order. `moved` knows the last fact in a log's pieces: what
    /// is in them is no tail.
    pub(super) fn load(
        &mut self,
        no: BlockNo,
        runs: Vec<LogRun>,
        moved: &HashMap<LogNo, Seq>,
    ) -> Result<(), FileError> {
        let facts = runs.iter().map(|(_, run)| run.facts.len()).sum();
        let mut live = Vec::new();
        for (log, run) in runs {
            let moved = *moved.get(&log).ok_or_else(|| damaged(WHAT))?;
            let known = self.position(log).map_or(moved, |tail| tail.last);
            if run.last <= moved {
                continue;
            }
            if run.first != known.next() {
                return Err(damaged(WHAT));
            }
            live.push((log, run));
        }
        if live.is_empty() {
            return Err(damaged(WHAT));
        }
        self.add(no, facts, &live);
        Ok(())
    }

    fn add(&mut self, no: BlockNo, facts: usize, runs: &[LogRun]) {
        for (log, run) in runs {
            let tail = self.logs.entry(*log).or_default();
            if tail.runs.is_empty() {
                self.starts.push_back((no, *log));
            }
            tail.runs.push_back(Placed { first: run.first, block: no, run: Arc::clone(run) });
            tail.facts += run.facts.len();
            self.facts += run.facts.len();
        }
        self.blocks.insert(no, Block { live: runs.len(), facts });
        self.stored_facts += facts;
    }

    /// Adds what became durable in a block.
    pub(super) fn add_stored(&mut self, no: BlockNo, runs: &[LogRun]) {
        self.add(no, runs.iter().map(|(_, run)| run.facts.len()).sum(), runs);
    }

    /// Forgets tails that became pieces; their blocks went with them.
    pub(super) fn forget(&mut self, moved: &BTreeSet<LogNo>) {
        for log in moved {
            let tail = self.logs.remove(log).unwrap_or_default();
            self.facts -= tail.facts;
            for Placed { block: no, .. } in tail.runs {
                let block = self.blocks.get_mut(&no).expect("a run in a tail has a block");
                block.live -= 1;
                if block.live == 0 {
                    self.stored_facts -= block.facts;
                    self.blocks.remove(&no);
                }
            }
        }
        while self.starts.front().is_some_and(|start| !self.is_start(*start)) {
            self.starts.pop_front();
        }
    }

    fn is_start(&self, (no, log): (BlockNo, LogNo)) -> bool {
        let first = self.logs.get(&log).and_then(|tail| tail.runs.front());
        first.is_some_and(|first| first.block == no)
    }

    /// The blocks that nothing needs once some tails are pieces.
    pub(super) fn emptied(&self, moved: &BTreeSet<LogNo>) -> Vec<BlockNo> {
        let mut left: BTreeMap<BlockNo, usize> = BTreeMap::new();
        let runs = moved.iter().filter_map(|log| self.logs.get(log)).flat_map(|tail| &tail.runs);
        for Placed { block, .. } in runs {
            *left.entry(*block).or_insert_with(|| self.blocks[block].live) -= 1;
        }
        left.into_iter().filter(|(_, left)| *left == 0).map(|(no, _)| no).collect()
    }

    /// The oldest tails, as many as must become pieces before so many facts are added.
    pub(super) fn overdue(&self, adding: usize) -> Vec<LogNo> {
        let (mut facts, mut stored) = (self.facts + adding, self.stored_facts + adding);
        let mut blocks = self.blocks.iter();
        let mut next = blocks.next();
        let mut overdue = Vec::new();
        for start in self.starts.iter().filter(|start| self.is_start(**start)) {
            // Every tail that started in an earlier block is chosen: it will be empty.
            while let Some((_, block)) = next.filter(|(no, _)| **no < start.0) {
                stored = stored.saturating_sub(block.facts);
                next = blocks.next();
            }
            if facts <= FACTS_MAX && stored <= STORED_FACTS_MAX {
                break;
            }
            facts -= self.len(start.1);
            overdue.push(start.1);
        }
        overdue
    }

    /// Whether a log's tail has room for so many facts. Logs differ, so that many of the same
    /// pace do not become pieces all in one commit.
    pub(super) fn has_room(&self, log: LogNo, facts: usize) -> bool {
        let more = log.0.wrapping_mul(0x9e37_79b1) >> 23;
        self.len(log) + facts <= TAIL_FACTS_MIN + more as usize
    }

    fn len(&self, log: LogNo) -> usize {
        self.logs.get(&log).map_or(0, |tail| tail.facts)
    }

    /// How far a log's tail goes.
    pub(super) fn position(&self, log: LogNo) -> Option<Position> {
        let run = &self.logs.get(&log)?.runs.back()?.run;
        Some(Position { last: run.last, head: run.head })
    }

    /// The run that holds a fact.
    pub(super) fn find(&self, log: LogNo, seq: Seq) -> Option<Arc<Piece>> {
        let runs = &self.logs.get(&log)?.runs;
        // Mostly the last one is asked for.
        let placed = match runs.back() {
            Some(last) if last.first <= seq => last,
            _ => runs.get(runs.partition_point(|placed| placed.first <= seq).checked_sub(1)?)?,
        };
        (placed.run.last >= seq).then(|| Arc::clone(&placed.run))
    }

    /// A log's tail as one piece, received when its first run was.
    pub(super) fn joined(&self, log: LogNo) -> Option<Piece> {
        let tail = self.logs.get(&log)?;
        let (front, back) = (&tail.runs.front()?.run, &tail.runs.back()?.run);
        let mut facts = Vec::with_capacity(tail.facts);
        tail.runs.iter().for_each(|placed| facts.extend_from_slice(&placed.run.facts));
        Some(Piece {
            first: front.first,
            last: back.last,
            head: back.head,
            received_at: front.received_at,
            facts,
        })
    }

    /// The last block.
    pub(super) fn last_block(&self) -> BlockNo {
        self.blocks.last_key_value().map_or(BlockNo(0), |(no, _)| *no)
    }
}

#[cfg(test)]
mod tests {
    use shared::fact::Kind;

    use super::*;

    fn run(log: u32, first: u64, facts: usize) -> LogRun {
        let last = Seq(first + facts as u64 - 1);
        let facts = vec![Fact::new(Kind::Receipt); facts];
        let piece = Piece {
            first: Seq(first),
            last,
            head: Head([log.to_le_bytes()[0]; 32]),
            received_at: Timestamp(7),
            facts,
        };
        (LogNo(log), Arc::new(piece))
    }

    fn set(logs: &[u32]) -> BTreeSet<LogNo> {
        logs.iter().copied().map(LogNo).collect()
    }

    #[test]
    fn blocks_read_back_and_are_refused_where_they_end_early() {
        let runs = [run(1, 5, 2), run(9, 1, 1), run(70_000, 1 << 40, 3)];
        let bytes = encode(Timestamp(7), &runs);
        assert_eq!(decode(&bytes).expect("just written"), runs);
        for length in 0..bytes.len() {
            decode(&bytes[..length]).expect_err("the end is missing");
        }
        decode(&[&bytes[..], &[0]].concat()).expect_err("something follows");
    }

    #[test]
    fn a_block_has_as_many_facts_as_a_segment() {
        let runs: Vec<LogRun> = (1..=40).map(|log| run(log, 1, 250)).collect();
        let blocks = cut(&runs);
        assert_eq!(blocks.iter().map(|runs| runs.len()).collect::<Vec<_>>(), [16, 16, 8]);
        assert!(blocks.concat() == runs && cut(&[]).is_empty());
    }

    #[test]
    fn a_block_goes_with_the_last_of_its_runs() {
        let mut tails = Tails::default();
        tails.add_stored(BlockNo(1), &[run(1, 1, 2), run(2, 1, 1)]);
        tails.add_stored(BlockNo(2), &[run(2, 2, 3)]);
        assert_eq!(tails.emptied(&set(&[1])), []);
        assert_eq!(tails.emptied(&set(&[2])), [BlockNo(2)]);
        assert_eq!(tails.emptied(&set(&[1, 2])), [BlockNo(1), BlockNo(2)]);
        let joined = tails.joined(LogNo(2)).expect("has a tail");
        assert_eq!((joined.first, joined.last, joined.facts.len()), (Seq(1), Seq(4), 4));
        tails.forget(&set(&[2]));
        assert_eq!((tails.facts, tails.stored_facts, tails.blocks.len()), (2, 3, 1));
        assert_eq!((tails.find(LogNo(2), Seq(1)), tails.position(LogNo(2))), (None, None));
        assert!(tails.find(LogNo(1), Seq(2)).is_some() && tails.find(LogNo(1), Seq(3)).is_none());
        tails.forget(&set(&[1]));
        assert_eq!((tails.facts, tails.stored_facts, tails.blocks.len()), (0, 0, 0));
        assert!(tails.starts.is_empty());
    }

    #[test]
    fn the_oldest_tails_leave_when_there_are_too_many_facts_or_blocks() {
        let mut tails = Tails::default();
        // One quiet log in the first block, then others that come and go.
        tails.add_stored(BlockNo(1), &[run(1, 1, 1)]);
        let mut no = 1;
        while tails.stored_facts < STORED_FACTS_MAX {
            no += 1;
            let next = tails.position(LogNo(2)).map_or(1, |tail| tail.last.0 + 1);
            tails.add_stored(BlockNo(no), &[run(2, next, 255), run(3, no, 1)]);
            tails.forget(&set(&[2]));
        }
        assert!(tails.facts < FACTS_MAX);
        assert_eq!(tails.overdue(0), [LogNo(1)]);
        assert_eq!(tails.overdue(256), [LogNo(1), LogNo(3)]);
        tails.forget(&set(&[1, 3]));
        assert_eq!(tails.stored_facts, 0);
        for log in 1..=4 {
            tails.add_stored(BlockNo(no + u64::from(log)), &[run(log, 1, FACTS_MAX / 4)]);
        }
        assert_eq!((tails.overdue(0), tails.overdue(1)), (vec![], vec![LogNo(1)]));
    }

    #[test]
    fn what_is_in_pieces_is_no_tail_and_gaps_are_damage() {
        let moved: HashMap<LogNo, Seq> = [(LogNo(1), Seq(3)), (LogNo(2), Seq(0))].into();
        let mut tails = Tails::default();
        tails.load(BlockNo(4), vec![run(1, 2, 2), run(2, 1, 1)], &moved).expect("follows");
        tails.load(BlockNo(5), vec![run(1, 4, 1), run(2, 2, 1)], &moved).expect("follows");
        assert_eq!((tails.facts, tails.stored_facts), (3, 5));
        assert_eq!(tails.position(LogNo(1)).expect("has a tail").last, Seq(4));
        for wrong in [run(1, 6, 1), run(1, 4, 1), run(1, 1, 1), run(7, 1, 1)] {
            tails.load(BlockNo(6), vec![wrong], &moved).expect_err("does not follow");
        }
    }
}
