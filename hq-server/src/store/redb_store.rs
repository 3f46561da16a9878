//! The store in one redb file. Values stay within a page; keys are fixed-width integers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    WriteTransaction,
};
use shared::ids::{Head, HistoryId, Seq};
use shared::sync::Position;

use super::block::{self, BlockWriter};
use super::copy::copy_table;
use super::guard;
use super::index::{Fresh, Index};
use super::packing::{Unpackable, read_bytes, read_number, write_number};
use super::{
    Block, Checkpoint, DamagedFile, EntryNo, FileError, Record, SequenceEntry, Sequenced, Store,
    VoucherKey,
};
use crate::gateway::intake::LogNo;

/// What the file is called in words to people.
const FILE: &str = "books.redb";

/// The version of this file's layout.
const FORMAT: u64 = 2;

/// The largest value that leaves a 4 KiB page for itself.
const VALUE_MAX: usize = 4_040;

/// A block ends once it has this many lines, so that reading one voucher stays cheap.
const BLOCK_LINES_MAX: usize = 16_384;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// (first entry, part) -> a part of a block.
const BLOCKS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("blocks");
/// (company, month, first number in the block) -> the block's first entry.
const VOUCHERS: TableDefinition<'_, u128, u64> = TableDefinition::new("vouchers");
/// (log, first fact in the block) -> the block's first entry. The last ones are in [`Index`].
const FACTS: TableDefinition<'_, u128, u64> = TableDefinition::new("facts");
/// Log -> how far it is in FACTS.
const LOGS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("logs");
/// Entry -> state hash.
const CHECKPOINTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("checkpoints");

fn damaged(what: &'static str) -> FileError {
    FileError::Damaged(DamagedFile { file: FILE, what })
}

fn block_key(first: EntryNo, part: u32) -> u128 {
    u128::from(first.0) << 32 | u128::from(part)
}

fn block_first(key: u128) -> EntryNo {
    EntryNo(u64::try_from(key >> 32).expect("keys are 96 bits here"))
}

fn fact_key(log: LogNo, seq: Seq) -> u128 {
    u128::from(log.0) << 64 | u128::from(seq.0)
}

fn voucher_key(key: VoucherKey) -> u128 {
    // Shifts months so that their order is that of unsigned numbers.
    let month = key.month.0.cast_unsigned() ^ 1 << 31;
    u128::from(key.company.0) << 64 | u128::from(month) << 32 | u128::from(key.number)
}

fn sequenced_bytes(sequenced: &Sequenced) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    write_number(&mut out, sequenced.position.last.0);
    write_number(&mut out, sequenced.entry.0);
    out.extend_from_slice(&sequenced.position.head.0);
    out
}

fn read_sequenced(log: LogNo, mut bytes: &[u8]) -> Result<Sequenced, Unpackable> {
    let input = &mut bytes;
    let last = Seq(read_number(input)?);
    let entry = EntryNo(read_number(input)?);
    let head = Head(read_bytes(input, 32)?.try_into().map_err(|_| Unpackable)?);
    Ok(Sequenced { log, position: Position { last, head }, entry })
}

/// See the module.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    history: HistoryId,
    writer: Mutex<BlockWriter>,
    /// Rows that wait: only what is durable.
    index: RwLock<Index>,
}

impl RedbStore {
    /// Makes a new file with a history of its own.
    pub fn create(path: &Path, history: HistoryId, cache_bytes: usize) -> Result<Self, FileError> {
        let database = Database::builder().set_cache_size(cache_bytes).create(path)?;
        Self::prepare(database, Some(history))
    }

    /// Opens a file.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, FileError> {
        Self::prepare(guard::open(path, FILE, cache_bytes)?, None)
    }

    /// Opens storage that a test controls; a new one gets `history`.
    pub fn open_backend(
        backend: impl StorageBackend,
        history: HistoryId,
    ) -> Result<Self, FileError> {
        let database = Database::builder().create_with_backend(backend)?;
        Self::prepare(database, Some(history))
    }

    fn prepare(database: Database, new: Option<HistoryId>) -> Result<Self, FileError> {
        let transaction = database.begin_write()?;
        let history = Self::history_in(&transaction, new)?;
        transaction.open_table(BLOCKS)?;
        transaction.open_table(VOUCHERS)?;
        transaction.open_table(FACTS)?;
        transaction.open_table(LOGS)?;
        transaction.open_table(CHECKPOINTS)?;
        transaction.commit()?;
        let writer = Mutex::new(BlockWriter::new());
        let mut store = Self { database, history, writer, index: RwLock::default() };
        store.index = RwLock::new(store.read_index()?);
        Ok(store)
    }

    fn read_index(&self) -> Result<Index, FileError> {
        let written = self.sequenced()?.into_iter().map(|each| (each.log, each)).collect();
        let transaction = self.database.begin_read()?;
        let from = number_in(&transaction.open_table(META)?, "indexed")?;
        drop(transaction);
        let (mut index, mut next) = (Index::default(), EntryNo(from.max(1)));
        while let Some((first, entries)) = self.entries(next)? {
            index.load(first, &entries, &written);
            next = EntryNo(first.0 + entries.len() as u64);
        }
        Ok(index)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn history_in(
        transaction: &WriteTransaction,
        new: Option<HistoryId>,
    ) -> Result<HistoryId, FileError> {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get("format")?.map(|row| row.value().to_vec());
        match format {
            Some(format) if format != FORMAT.to_le_bytes() => {
                return Err(FileError::OtherVersion(FILE));
            }
            Some(_) => {}
            None => {
                let history = new.ok_or_else(|| damaged("the file's format"))?;
                meta.insert("format", FORMAT.to_le_bytes().as_slice())?;
                meta.insert("history", history.0.as_slice())?;
            }
        }
        let row = meta.get("history")?.ok_or_else(|| damaged("the history"))?;
        let bytes = row.value().try_into().map_err(|_| damaged("the history"))?;
        Ok(HistoryId(bytes))
    }

    /// Starts another history: what a restore does.
    pub fn renew_history(&mut self, history: HistoryId) -> Result<(), FileError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert("history", history.0.as_slice())?;
        transaction.commit()?;
        self.history = history;
        Ok(())
    }

    fn block_bytes(
        transaction: &ReadTransaction,
        no: EntryNo,
    ) -> Result<Option<(EntryNo, Vec<u8>)>, FileError> {
        let blocks = transaction.open_table(BLOCKS)?;
        let Some(row) = blocks.range(..=block_key(no, u32::MAX))?.next_back() else {
            return Ok(None);
        };
        let first = block_first(row?.0.value());
        let mut bytes = Vec::new();
        for row in blocks.range(block_key(first, 0)..=block_key(first, u32::MAX))? {
            bytes.extend_from_slice(row?.1.value());
        }
        Ok(Some((first, bytes)))
    }

    /// The block at or before `no`, whether or not it reaches it.
    fn block_at(transaction: &ReadTransaction, no: EntryNo) -> Result<Option<Block>, FileError> {
        let Some((first, bytes)) = Self::block_bytes(transaction, no)? else { return Ok(None) };
        let records = block::read_records(&bytes).map_err(|_| damaged("a block"))?;
        Ok(Some(Block { first, records }))
    }

    fn append_block(
        &self,
        transaction: &WriteTransaction,
        first: EntryNo,
        records: &[Record],
    ) -> Result<(), FileError> {
        let bytes = self.writer.lock().unwrap_or_else(PoisonError::into_inner).write(records);
        let mut blocks = transaction.open_table(BLOCKS)?;
        for (part, bytes) in (0..).zip(bytes.chunks(VALUE_MAX)) {
            blocks.insert(block_key(first, part), bytes)?;
        }
        let mut vouchers = transaction.open_table(VOUCHERS)?;
        for ((company, month), number) in block::first_numbers(records) {
            vouchers.insert(voucher_key(VoucherKey { company, month, number }), first.0)?;
        }
        Ok(())
    }

    /// Writes the rows of some logs, those that come with the commit included.
    fn write_rows(
        transaction: &WriteTransaction,
        index: &Index,
        fresh: &Fresh,
        due: &BTreeSet<LogNo>,
    ) -> Result<(), FileError> {
        let mut facts = transaction.open_table(FACTS)?;
        let mut logs = transaction.open_table(LOGS)?;
        for log in due {
            for waiting in index.of(*log).into_iter().chain(fresh.of(*log)) {
                for (seq, block) in &waiting.rows {
                    facts.insert(fact_key(*log, *seq), block.0)?;
                }
                logs.insert(log.0, sequenced_bytes(&waiting.last).as_slice())?;
            }
        }
        Ok(())
    }
}

/// A number of META; 0 where it is not there yet.
fn number_in(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<u64, FileError> {
    meta.get(name)?.map_or(Ok(0), |row| {
        row.value().try_into().map(u64::from_le_bytes).map_err(|_| damaged(name))
    })
}

/// How many of the records at the front make one block.
fn block_len(records: &[Record]) -> usize {
    let mut lines = 0;
    for (index, record) in records.iter().enumerate() {
        lines += record.vouchers.iter().map(|voucher| voucher.lines.len()).sum::<usize>();
        if lines >= BLOCK_LINES_MAX {
            return index + 1;
        }
    }
    records.len()
}

impl Store for RedbStore {
    fn history(&self) -> HistoryId {
        self.history
    }

    fn last(&self) -> Result<EntryNo, FileError> {
        let transaction = self.database.begin_read()?;
        number_in(&transaction.open_table(META)?, "last").map(EntryNo)
    }

    fn append(&self, records: &[Record]) -> Result<(), FileError> {
        let transaction = self.database.begin_write()?;
        let mut meta = transaction.open_table(META)?;
        let mut last = EntryNo(number_in(&meta, "last")?);
        let (mut rest, mut fresh) = (records, Fresh::default());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(block_len(rest));
            self.append_block(&transaction, last.next(), now)?;
            fresh.add(last.next(), now.iter().map(|record| &record.entry));
            last = EntryNo(last.0 + now.len() as u64);
            rest = later;
        }
        let index = self.index();
        let due = index.due(&fresh);
        Self::write_rows(&transaction, &index, &fresh, &due)?;
        let indexed = index.from(&fresh, &due, last.next());
        drop(index);
        meta.insert("last", last.0.to_le_bytes().as_slice())?;
        meta.insert("indexed", indexed.0.to_le_bytes().as_slice())?;
        drop(meta);
        transaction.commit()?;
        self.index.write().unwrap_or_else(PoisonError::into_inner).take(fresh, &due);
        Ok(())
    }

    fn entries(&self, no: EntryNo) -> Result<Option<(EntryNo, Vec<SequenceEntry>)>, FileError> {
        let transaction = self.database.begin_read()?;
        let Some((first, bytes)) = Self::block_bytes(&transaction, no)? else { return Ok(None) };
        let entries = block::read_entries(&bytes).map_err(|_| damaged("a block"))?;
        Ok((no.0 < first.0 + entries.len() as u64).then_some((first, entries)))
    }

    fn block(&self, no: EntryNo) -> Result<Option<Block>, FileError> {
        let block = Self::block_at(&self.database.begin_read()?, no)?;
        Ok(block.filter(|block| no <= block.last()))
    }

    fn voucher_block(&self, key: VoucherKey) -> Result<Option<Block>, FileError> {
        let transaction = self.database.begin_read()?;
        let vouchers = transaction.open_table(VOUCHERS)?;
        let first = VoucherKey { number: 0, ..key };
        let row = vouchers.range(voucher_key(first)..=voucher_key(key))?.next_back();
        let Some(row) = row.transpose()? else { return Ok(None) };
        let block = Self::block_at(&transaction, EntryNo(row.1.value()))?;
        Ok(block.filter(|block| {
            let vouchers = block.records.iter().flat_map(|record| &record.vouchers);
            vouchers.clone().any(|voucher| {
                (voucher.company, voucher.month, voucher.number)
                    == (key.company, key.month, key.number)
            })
        }))
    }

    fn fact_block(&self, log: LogNo, seq: Seq) -> Result<Option<Block>, FileError> {
        // What waits first: what is written meanwhile is there for whoever reads from now on.
        let waiting = self.index().find(log, seq);
        let transaction = self.database.begin_read()?;
        let first = if waiting.is_some() {
            waiting
        } else {
            let facts = transaction.open_table(FACTS)?;
            let row = facts.range(fact_key(log, Seq::ZERO)..=fact_key(log, seq))?.next_back();
            row.transpose()?.map(|row| EntryNo(row.1.value()))
        };
        let Some(first) = first else { return Ok(None) };
        let block = Self::block_at(&transaction, first)?;
        Ok(block.filter(|block| {
            block.records.iter().any(|record| match &record.entry {
                SequenceEntry::Run(run) | SequenceEntry::Held { run, .. } => {
                    run.log == log && run.first <= seq && seq <= run.last
                }
                SequenceEntry::Settle => false,
            })
        }))
    }

    fn sequenced(&self) -> Result<Vec<Sequenced>, FileError> {
        let waiting: Vec<_> = self.index().sequenced().collect();
        let transaction = self.database.begin_read()?;
        let mut found = BTreeMap::new();
        for row in transaction.open_table(LOGS)?.iter()? {
            let (log, bytes) = row?;
            let log = LogNo(log.value());
            let sequenced = read_sequenced(log, bytes.value());
            found.insert(log, sequenced.map_err(|_| damaged("how far a log is"))?);
        }
        for each in waiting {
            let known = found.entry(each.log).or_insert(each);
            if known.entry < each.entry {
                *known = each;
            }
        }
        Ok(found.into_values().collect())
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, FileError> {
        let transaction = self.database.begin_read()?;
        let checkpoints = transaction.open_table(CHECKPOINTS)?;
        let Some((entry, state)) = checkpoints.last()? else { return Ok(None) };
        let state = state.value().try_into().map_err(|_| damaged("a checkpoint"))?;
        Ok(Some(Checkpoint { entry: EntryNo(entry.value()), state }))
    }

    fn put_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), FileError> {
        let transaction = self.database.begin_write()?;
        transaction
            .open_table(CHECKPOINTS)?
            .insert(checkpoint.entry.0, checkpoint.state.as_slice())?;
        transaction.commit()?;
        Ok(())
    }

    fn copy_to(&self, path: &Path) -> Result<(), FileError> {
        let from = self.database.begin_read()?;
        let mut copy = Database::create(path)?;
        let to = copy.begin_write()?;
        copy_table(&from, &to, META)?;
        copy_table(&from, &to, BLOCKS)?;
        copy_table(&from, &to, VOUCHERS)?;
        copy_table(&from, &to, FACTS)?;
        copy_table(&from, &to, LOGS)?;
        copy_table(&from, &to, CHECKPOINTS)?;
        to.commit()?;
        copy.compact()?;
        Ok(())
    }

    fn size(&self) -> Result<(u64, u64), FileError> {
        let transaction = self.database.begin_write()?;
        let stats = transaction.stats()?;
        let size = (stats.allocated_pages() * stats.page_size() as u64, stats.stored_bytes());
        transaction.abort()?;
        Ok(size)
    }
}

#[cfg(test)]
mod tests;
