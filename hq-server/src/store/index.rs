//! Which block has which facts, and how far logs are: what the tables do not have yet. A commit
//! with something of each of many logs would write a page for each; so rows wait here until their
//! log has several, and are read again from the blocks' entries when a file is opened. Knows no
//! table.
//!
//! Invariant: the tables have all rows of a log up to its row of how far it is; what is here is
//! after that.

use std::collections::{BTreeSet, HashMap, VecDeque};

use shared::ids::Seq;
use shared::sync::Position;

use super::{EntryNo, SequenceEntry, Sequenced};
use crate::gateway::intake::LogNo;

/// How many rows may wait; the oldest logs are written then.
const ROWS_MAX: usize = 65_536;

/// How many blocks a log's oldest row may be behind; so many blocks are read at opening.
const BLOCKS_MAX: u64 = 64;

/// The rows of one log that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// (first fact of the log in a block, the block's first entry), ascending.
    pub(super) rows: Vec<(Seq, EntryNo)>,
    /// How far the log is.
    pub(super) last: Sequenced,
}

/// What blocks bring that nothing has yet.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    logs: HashMap<LogNo, Waiting>,
    /// In the order of their first facts.
    order: Vec<(EntryNo, LogNo)>,
    rows: usize,
    blocks: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    logs: HashMap<LogNo, Waiting>,
    /// Where the rows of logs start, the oldest first: the block's number among all that were
    /// seen, its first entry. Some have been written since.
    starts: VecDeque<(u64, EntryNo, LogNo)>,
    rows: usize,
    blocks: u64,
}

impl Fresh {
    /// Notes a block's entries.
    pub(super) fn add<'a>(
        &mut self,
        block: EntryNo,
        entries: impl IntoIterator<Item = &'a SequenceEntry>,
    ) {
        self.blocks += 1;
        for (entry, each) in (block.0..).map(EntryNo).zip(entries) {
            let (SequenceEntry::Run(run) | SequenceEntry::Held { run, .. }) = each else {
                continue;
            };
            let position = Position { last: run.last, head: run.head };
            let last = Sequenced { log: run.log, position, entry };
            let Self { logs, order, .. } = &mut *self;
            let waiting = logs.entry(run.log).or_insert_with(|| {
                order.push((block, run.log));
                Waiting { rows: Vec::new(), last }
            });
            waiting.last = last;
            if waiting.rows.last().is_none_or(|(_, known)| *known != block) {
                waiting.rows.push((run.first, block));
                self.rows += 1;
            }
        }
    }

    /// What it has of a log.
    pub(super) fn of(&self, log: LogNo) -> Option<&Waiting> {
        self.logs.get(&log)
    }
}

impl Index {
    /// Takes a stored block, in their order. `written` says how far the tables have a log.
    pub(super) fn load(
        &mut self,
        block: EntryNo,
        entries: &[SequenceEntry],
        written: &HashMap<LogNo, Sequenced>,
    ) {
        let mut fresh = Fresh::default();
        fresh.add(block, entries);
        let is_written = |log: &LogNo, last: &Sequenced| {
            written.get(log).is_some_and(|written| written.entry >= last.entry)
        };
        let known: BTreeSet<LogNo> = fresh
            .logs
            .iter()
            .filter(|(log, waiting)| is_written(log, &waiting.last))
            .map(|(log, _)| *log)
            .collect();
        self.apply(fresh, &known, true);
    }

    /// The logs whose rows are to be written with a commit: old ones, and not many more than it
    /// brings, so that commits take about the same time.
    pub(super) fn due(&self, fresh: &Fresh) -> BTreeSet<LogNo> {
        let mut due = BTreeSet::new();
        let (mut rows, mut budget) = (self.rows + fresh.rows, 2 * fresh.rows + 64);
        let now = self.blocks + fresh.blocks;
        let starts = self.starts.iter().filter(|start| self.is_start(**start));
        for (block, _, log) in starts {
            if (rows <= ROWS_MAX && now - block <= BLOCKS_MAX) || budget == 0 {
                break;
            }
            let count = self.logs[log].rows.len() + fresh.of(*log).map_or(0, |new| new.rows.len());
            rows = rows.saturating_sub(count);
            budget = budget.saturating_sub(count);
            due.insert(*log);
        }
        due
    }

    fn is_start(&self, (_, block, log): (u64, EntryNo, LogNo)) -> bool {
        self.logs
            .get(&log)
            .and_then(|waiting| waiting.rows.first())
            .is_some_and(|(_, first)| *first == block)
    }

    /// The first block that is not whole in the tables once `due` is written; `end` if all are.
    pub(super) fn from(&self, fresh: &Fresh, due: &BTreeSet<LogNo>, end: EntryNo) -> EntryNo {
        let old = self.starts.iter().filter(|start| self.is_start(**start));
        let old = old.map(|(_, block, log)| (*block, *log));
        let mut starts = old.chain(fresh.order.iter().copied());
        starts.find(|(_, log)| !due.contains(log)).map_or(end, |(block, _)| block)
    }

    /// Takes what became durable, and forgets what is in the tables.
    pub(super) fn take(&mut self, fresh: Fresh, written: &BTreeSet<LogNo>) {
        self.apply(fresh, written, false);
    }

    /// `keeps` the rows that wait already of logs that are written: they came later.
    fn apply(&mut self, mut fresh: Fresh, written: &BTreeSet<LogNo>, keeps: bool) {
        if !keeps {
            for log in written {
                let gone = self.logs.remove(log);
                self.rows -= gone.map_or(0, |waiting| waiting.rows.len());
            }
        }
        let first = self.blocks;
        self.blocks += fresh.blocks;
        for (block, log) in fresh.order {
            if written.contains(&log) {
                continue;
            }
            let new = fresh.logs.remove(&log).expect("what is in the order is there");
            self.rows += new.rows.len();
            if let Some(waiting) = self.logs.get_mut(&log) {
                waiting.rows.extend(new.rows);
                waiting.last = new.last;
            } else {
                self.starts.push_back((first, block, log));
                self.logs.insert(log, new);
            }
        }
        while self.starts.front().is_some_and(|start| !self.is_start(*start)) {
            self.starts.pop_front();
        }
    }

    /// What waits of a log.
    pub(super) fn of(&self, log: LogNo) -> Option<&Waiting> {
        self.logs.get(&log)
    }

    /// The block that may have a fact; `None` where that is in the tables.
    pub(super) fn find(&self, log: LogNo, seq: Seq) -> Option<EntryNo> {
        let rows = &self.logs.get(&log)?.rows;
        let after = rows.partition_point(|(first, _)| *first <= seq);
        rows.get(after.checked_sub(1)?).map(|(_, block)| *block)
    }

    /// How far the logs are that wait here.
    pub(super) fn sequenced(&self) -> impl Iterator<Item = Sequenced> {
        self.logs.values().map(|waiting| waiting.last)
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::Head;
    use shared::time::Timestamp;

    use super::*;
    use crate::store::RunEntry;

    fn run(log: u32, first: u64, last: u64) -> SequenceEntry {
        SequenceEntry::Run(RunEntry {
            log: LogNo(log),
            first: Seq(first),
            last: Seq(last),
            head: Head([3; 32]),
            received_at: Timestamp(5),
        })
    }

    /// One commit of one block; gives what it wrote and where the next opening reads from.
    fn commit(index: &mut Index, block: u64, entries: &[SequenceEntry]) -> (Vec<LogNo>, EntryNo) {
        let mut fresh = Fresh::default();
        fresh.add(EntryNo(block), entries);
        let due = index.due(&fresh);
        let from = index.from(&fresh, &due, EntryNo(block + entries.len() as u64));
        index.take(fresh, &due);
        let mut due: Vec<_> = due.into_iter().collect();
        due.sort_unstable();
        (due, from)
    }

    #[test]
    fn rows_wait_until_they_are_old_and_are_found_meanwhile() {
        let mut index = Index::default();
        let first = [run(1, 1, 2), run(2, 1, 1), SequenceEntry::Settle, run(1, 3, 4)];
        assert_eq!(commit(&mut index, 1, &first), (vec![], EntryNo(1)));
        let mut block = 5;
        for turn in 1..BLOCKS_MAX {
            assert_eq!(commit(&mut index, block, &[run(2, turn + 1, turn + 1)]).0, []);
            block += 1;
        }
        assert_eq!(index.find(LogNo(1), Seq(4)), Some(EntryNo(1)));
        assert_eq!(index.find(LogNo(2), Seq(3)), Some(EntryNo(6)));
        assert_eq!(index.find(LogNo(3), Seq(1)), None);
        assert_eq!(index.of(LogNo(1)).expect("waits").last.entry, EntryNo(4));
        let (written, from) = commit(&mut index, block, &[run(2, 65, 65), run(3, 1, 1)]);
        assert_eq!((written, from), (vec![LogNo(1), LogNo(2)], EntryNo(block)));
        assert_eq!((index.find(LogNo(2), Seq(65)), index.rows), (None, 1));
        assert_eq!(index.sequenced().map(|each| each.log).collect::<Vec<_>>(), [LogNo(3)]);
    }

    #[test]
    fn many_rows_leave_a_few_at_a_time() {
        let mut index = Index::default();
        let logs = 4_000;
        let (mut block, mut most, mut written) = (1, 0, 0);
        for turn in 1..=60 {
            let entries: Vec<_> = (1..=logs).map(|log| run(log, turn, turn)).collect();
            written += commit(&mut index, block, &entries).0.len();
            block += u64::from(logs);
            most = most.max(index.rows);
        }
        assert!(most <= ROWS_MAX + logs as usize, "{most} rows waited");
        assert!((4_000..8_000).contains(&written), "{written} times a log was written");
    }

    #[test]
    fn loading_gives_what_waited() {
        let mut index = Index::default();
        let (mut block, mut blocks, mut from) = (1, Vec::new(), EntryNo(1));
        let mut written = HashMap::new();
        for turn in 1..=200 {
            let logs = [1, 2 + turn % 7, 100 + turn % 50, 1_000 + turn];
            let entries: Vec<_> = logs
                .into_iter()
                .map(|log| run(u32::try_from(log).expect("small"), turn, turn))
                .collect();
            let mut fresh = Fresh::default();
            fresh.add(EntryNo(block), &entries);
            for log in index.due(&fresh) {
                let last = fresh.of(log).or(index.of(log)).expect("it is due").last;
                written.insert(log, last);
            }
            from = commit(&mut index, block, &entries).1;
            blocks.push((EntryNo(block), entries));
            block += 4;
            let mut again = Index::default();
            for (block, entries) in blocks.iter().filter(|(block, _)| *block >= from) {
                again.load(*block, entries, &written);
            }
            assert_eq!((&again.logs, again.rows), (&index.logs, index.rows), "turn {turn}");
        }
        assert!(
            from > EntryNo(1) && blocks.iter().filter(|(block, _)| *block >= from).count() < 70
        );
    }
}
