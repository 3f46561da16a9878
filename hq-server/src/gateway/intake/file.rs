//! The intake file: logs, their facts in packed pieces and tails, seals and chain heads. Knows redb
//! and bytes; knows no chain rule and no books. Invariant: a row is at most a page, so nothing is
//! rounded up to powers of two; and every fact of a log is in a piece or after them in its tail.
//!
//! Keys are fixed-width integers: (log number 32 bits, seq 64 bits, part 32 bits) in one `u128`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, WriteTransaction,
};
use shared::ids::{Head, Seq};
use shared::segment::seal::SignedSeal;
use shared::time::Timestamp;

use super::rows::{Cursor, FILE, LogNo, LogRecord, Piece, damaged, take_hash};
use super::tails::{self, BlockNo, LogRun, Tails};
use crate::store::copy::copy_table;
use crate::store::{FileError, guard};

/// The version of this file's layout.
const FORMAT: u64 = 2;

/// The largest value that leaves a 4 KiB page for itself.
const VALUE_MAX: usize = 4_040;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Log number -> site, device, key, genesis.
const LOGS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("logs");
/// Log number -> last fact in pieces, head, seals.
const CURSORS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("cursors");
/// (log, first, part) -> a piece: received-at, last, head, packed columns.
const PIECES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("pieces");
/// (block, part) -> small runs of many logs: see [`tails`].
const TAILS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("tails");
/// (log, seq, 0) -> the chain's head at a multiple of the window.
const WINDOWS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("windows");
/// (log, first, 0) -> signed seal.
const SEALS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("seals");
/// Log number -> the last fact that a verified backup has.
const SAFE: TableDefinition<'_, u32, u64> = TableDefinition::new("safe");

fn key(log: LogNo, seq: Seq, part: u32) -> u128 {
    u128::from(log.0) << 96 | u128::from(seq.0) << 32 | u128::from(part)
}

fn tail_key(no: BlockNo, part: u32) -> u128 {
    u128::from(no.0) << 32 | u128::from(part)
}

fn tail_block_of(key: u128) -> BlockNo {
    BlockNo(u64::try_from(key >> 32).expect("keys are 96 bits here"))
}

fn seq_of(key: u128) -> Seq {
    Seq(u64::try_from(key << 32 >> 64).expect("64 bits are left"))
}

/// A stored seal.
pub(super) fn read_seal(bytes: &[u8]) -> Result<SignedSeal, FileError> {
    SignedSeal::decode(bytes).map_err(|_| damaged("a seal"))
}

/// The open file.
#[derive(Debug)]
pub(super) struct IntakeFile {
    database: Database,
    /// Only what is durable. A tail leaves when it can be read as a piece.
    tails: RwLock<Tails>,
}

/// Rows that become durable together.
pub(super) struct Batch {
    transaction: WriteTransaction,
    blocks: Vec<(BlockNo, Vec<LogRun>)>,
}

impl IntakeFile {
    /// Makes a new file.
    pub(super) fn create(path: &Path, cache_bytes: usize) -> Result<Self, FileError> {
        Self::prepare(Database::builder().set_cache_size(cache_bytes).create(path)?)
    }

    /// Opens a file.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, FileError> {
        Self::prepare(guard::open(path, FILE, cache_bytes)?)
    }

    /// As [`Self::open`], over storage that a test controls.
    pub(super) fn open_backend(backend: impl StorageBackend) -> Result<Self, FileError> {
        Self::prepare(Database::builder().create_with_backend(backend)?)
    }

    fn prepare(database: Database) -> Result<Self, FileError> {
        let transaction = database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let format = meta.get("format")?.map(|row| row.value().to_vec());
            match format {
                None => {
                    meta.insert("format", FORMAT.to_le_bytes().as_slice())?;
                }
                Some(bytes) if bytes == FORMAT.to_le_bytes() => {}
                Some(_) => return Err(FileError::OtherVersion(FILE)),
            }
            transaction.open_table(LOGS)?;
            transaction.open_table(CURSORS)?;
            transaction.open_table(PIECES)?;
            transaction.open_table(TAILS)?;
            transaction.open_table(WINDOWS)?;
            transaction.open_table(SEALS)?;
            transaction.open_table(SAFE)?;
        }
        transaction.commit()?;
        let mut file = Self { database, tails: RwLock::default() };
        file.tails = RwLock::new(file.read_tails()?);
        Ok(file)
    }

    fn read_tails(&self) -> Result<Tails, FileError> {
        let moved = self.logs()?.into_iter().map(|(log, cursor)| (log.no, cursor.last)).collect();
        let transaction = self.database.begin_read()?;
        let (mut tails, mut reading) = (Tails::default(), None::<(BlockNo, Vec<u8>)>);
        for row in transaction.open_table(TAILS)?.iter()? {
            let (key, part) = row?;
            let no = tail_block_of(key.value());
            if let Some((before, bytes)) = reading.take_if(|(before, _)| *before != no) {
                tails.load(before, tails::decode(&bytes)?, &moved)?;
            }
            reading.get_or_insert((no, Vec::new())).1.extend_from_slice(part.value());
        }
        if let Some((no, bytes)) = reading {
            tails.load(no, tails::decode(&bytes)?, &moved)?;
        }
        Ok(tails)
    }

    /// The tails as of the last commit.
    pub(super) fn tails(&self) -> RwLockReadGuard<'_, Tails> {
        self.tails.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a batch.
    pub(super) fn batch(&self) -> Result<Batch, FileError> {
        Ok(Batch { transaction: self.database.begin_write()?, blocks: Vec::new() })
    }

    /// Makes a batch durable. `moved` are the logs whose tails are in pieces with it.
    pub(super) fn commit(
        &self,
        mut batch: Batch,
        moved: &BTreeSet<LogNo>,
    ) -> Result<(), FileError> {
        batch.drop_tail_blocks(&self.tails().emptied(moved))?;
        batch.transaction.commit()?;
        let mut tails = self.tails.write().unwrap_or_else(PoisonError::into_inner);
        tails.forget(moved);
        for (no, runs) in batch.blocks {
            tails.add_stored(no, &runs);
        }
        Ok(())
    }

    /// How far a log has come.
    pub(super) fn cursor(&self, log: LogNo) -> Result<Cursor, FileError> {
        let tail = self.tails().position(log);
        let transaction = self.database.begin_read()?;
        let cursors = transaction.open_table(CURSORS)?;
        let row = cursors.get(log.0)?.ok_or_else(|| damaged("a log's cursor"))?;
        Ok(Cursor::decode(row.value())?.with_tail(tail))
    }

    /// Every log with how far it has come.
    pub(super) fn logs(&self) -> Result<Vec<(LogRecord, Cursor)>, FileError> {
        let tails = self.tails();
        let transaction = self.database.begin_read()?;
        let (logs, cursors) = (transaction.open_table(LOGS)?, transaction.open_table(CURSORS)?);
        let mut found = Vec::new();
        for row in logs.iter()? {
            let (no, record) = row?;
            let record = LogRecord::decode(LogNo(no.value()), record.value())?;
            let cursor = cursors.get(no.value())?.ok_or_else(|| damaged("a log's cursor"))?;
            let tail = tails.position(record.no);
            found.push((record, Cursor::decode(cursor.value())?.with_tail(tail)));
        }
        Ok(found)
    }

    /// The last fact of each log that a verified backup has.
    pub(super) fn safe(&self) -> Result<BTreeMap<LogNo, Seq>, FileError> {
        let transaction = self.database.begin_read()?;
        let mut found = BTreeMap::new();
        for row in transaction.open_table(SAFE)?.iter()? {
            let (log, last) = row?;
            found.insert(LogNo(log.value()), Seq(last.value()));
        }
        Ok(found)
    }

    /// Notes durably what a verified backup has.
    pub(super) fn put_safe(&self, logs: &[(LogNo, Seq)]) -> Result<(), FileError> {
        let transaction = self.database.begin_write()?;
        let mut safe = transaction.open_table(SAFE)?;
        for (log, last) in logs {
            let known = safe.get(log.0)?.map_or(0, |known| known.value());
            safe.insert(log.0, last.0.max(known))?;
        }
        drop(safe);
        Ok(transaction.commit()?)
    }

    /// The piece that holds a fact; `None` beyond the log's last one.
    pub(super) fn piece(&self, log: LogNo, seq: Seq) -> Result<Option<Arc<Piece>>, FileError> {
        // The tails first: what left them meanwhile is in a piece for whoever reads from now on.
        let tail = self.tails().find(log, seq);
        if tail.is_some() {
            return Ok(tail);
        }
        let piece = find_piece(&self.database.begin_read()?.open_table(PIECES)?, log, seq)?;
        Ok(piece.map(Arc::new))
    }

    /// The chain's head at the last multiple of the window at or before `seq`.
    pub(super) fn window(&self, log: LogNo, seq: Seq) -> Result<Option<(Seq, Head)>, FileError> {
        find_window(&self.database.begin_read()?.open_table(WINDOWS)?, log, seq)
    }

    /// The encoded seals of a log from the one that holds `seq` on.
    pub(super) fn seals(
        &self,
        log: LogNo,
        from: Seq,
        count_max: usize,
    ) -> Result<Vec<Vec<u8>>, FileError> {
        let transaction = self.database.begin_read()?;
        let seals = transaction.open_table(SEALS)?;
        let before = seals.range(key(log, Seq::ZERO, 0)..=key(log, from, u32::MAX))?.next_back();
        let start = before.transpose()?.map_or(key(log, from, 0), |(at, _)| at.value());
        let mut found = Vec::new();
        for row in seals.range(start..=key(log, Seq(u64::MAX), u32::MAX))?.take(count_max) {
            found.push(row?.1.value().to_vec());
        }
        Ok(found)
    }

    /// Copies everything, as of one commit, to a new file.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), FileError> {
        let from = self.database.begin_read()?;
        let mut copy = Database::create(path)?;
        let to = copy.begin_write()?;
        copy_table(&from, &to, META)?;
        copy_table(&from, &to, LOGS)?;
        copy_table(&from, &to, CURSORS)?;
        copy_table(&from, &to, PIECES)?;
        copy_table(&from, &to, TAILS)?;
        copy_table(&from, &to, WINDOWS)?;
        copy_table(&from, &to, SEALS)?;
        copy_table(&from, &to, SAFE)?;
        to.commit()?;
        copy.compact()?;
        Ok(())
    }

    /// Bytes in allocated pages, and the rows' own bytes.
    pub(super) fn size(&self) -> Result<(u64, u64), FileError> {
        let transaction = self.database.begin_write()?;
        let stats = transaction.stats()?;
        let size = (stats.allocated_pages() * stats.page_size() as u64, stats.stored_bytes());
        transaction.abort()?;
        Ok(size)
    }
}

fn find_piece(
    pieces: &impl ReadableTable<u128, &'static [u8]>,
    log: LogNo,
    seq: Seq,
) -> Result<Option<Piece>, FileError> {
    let Some(row) = pieces.range(key(log, Seq::ZERO, 0)..=key(log, seq, u32::MAX))?.next_back()
    else {
        return Ok(None);
    };
    let first = seq_of(row?.0.value());
    let mut bytes = Vec::new();
    for row in pieces.range(key(log, first, 0)..=key(log, first, u32::MAX))? {
        bytes.extend_from_slice(row?.1.value());
    }
    let piece = Piece::decode(first, &bytes)?;
    Ok((piece.last >= seq).then_some(piece))
}

fn find_window(
    windows: &impl ReadableTable<u128, &'static [u8]>,
    log: LogNo,
    seq: Seq,
) -> Result<Option<(Seq, Head)>, FileError> {
    let Some(row) = windows.range(key(log, Seq::ZERO, 0)..=key(log, seq, 0))?.next_back() else {
        return Ok(None);
    };
    let (at, head) = row?;
    Ok(Some((seq_of(at.value()), Head(take_hash(&mut head.value(), "a chain head")?))))
}

impl Batch {
    /// The piece that holds a fact, those of this batch included; no tail.
    pub(super) fn piece(&self, log: LogNo, seq: Seq) -> Result<Option<Piece>, FileError> {
        find_piece(&self.transaction.open_table(PIECES)?, log, seq)
    }

    /// The chain's head at the last multiple of the window at or before `seq`.
    pub(super) fn window(&self, log: LogNo, seq: Seq) -> Result<Option<(Seq, Head)>, FileError> {
        find_window(&self.transaction.open_table(WINDOWS)?, log, seq)
    }

    /// The seal that starts at `first`.
    pub(super) fn seal(&self, log: LogNo, first: Seq) -> Result<Option<Vec<u8>>, FileError> {
        let seals = self.transaction.open_table(SEALS)?;
        Ok(seals.get(key(log, first, 0))?.map(|row| row.value().to_vec()))
    }

    /// Puts one piece in the place of all that start in its range.
    pub(super) fn replace_pieces(&mut self, log: LogNo, piece: &Piece) -> Result<(), FileError> {
        let range = key(log, piece.first, 0)..=key(log, piece.last, u32::MAX);
        self.transaction.open_table(PIECES)?.retain_in(range, |_, _| false)?;
        self.put_piece(log, piece)
    }

    /// Adds the small runs of this batch, one or none of each log, as blocks after `last`.
    pub(super) fn put_tails(
        &mut self,
        last: BlockNo,
        received_at: Timestamp,
        runs: &[LogRun],
    ) -> Result<(), FileError> {
        let mut tails = self.transaction.open_table(TAILS)?;
        for (no, runs) in (last.0 + 1..).map(BlockNo).zip(tails::cut(runs)) {
            let bytes = tails::encode(received_at, runs);
            for (part, bytes) in (0..).zip(bytes.chunks(VALUE_MAX)) {
                tails.insert(tail_key(no, part), bytes)?;
            }
            self.blocks.push((no, runs.to_vec()));
        }
        Ok(())
    }

    fn drop_tail_blocks(&mut self, blocks: &[BlockNo]) -> Result<(), FileError> {
        let mut tails = self.transaction.open_table(TAILS)?;
        for no in blocks {
            tails.retain_in(tail_key(*no, 0)..=tail_key(*no, u32::MAX), |_, _| false)?;
        }
        Ok(())
    }

    /// Adds a log.
    pub(super) fn put_log(&mut self, record: &LogRecord) -> Result<(), FileError> {
        let mut logs = self.transaction.open_table(LOGS)?;
        logs.insert(record.no.0, record.encode().as_slice())?;
        Ok(())
    }

    /// How many logs there are, those of this batch included.
    pub(super) fn log_count(&self) -> Result<u64, FileError> {
        Ok(self.transaction.open_table(LOGS)?.len()?)
    }

    /// Sets how far the pieces of logs go.
    pub(super) fn put_cursors<'a>(
        &mut self,
        logs: impl IntoIterator<Item = (LogNo, &'a Cursor)>,
    ) -> Result<(), FileError> {
        let mut cursors = self.transaction.open_table(CURSORS)?;
        for (log, cursor) in logs {
            cursors.insert(log.0, cursor.encode().as_slice())?;
        }
        Ok(())
    }

    /// Adds facts.
    pub(super) fn put_piece(&mut self, log: LogNo, piece: &Piece) -> Result<(), FileError> {
        let mut pieces = self.transaction.open_table(PIECES)?;
        for (part, bytes) in (0..).zip(piece.encode().chunks(VALUE_MAX)) {
            pieces.insert(key(log, piece.first, part), bytes)?;
        }
        Ok(())
    }

    /// Adds the chain's head at a multiple of the window.
    pub(super) fn put_window(&mut self, log: LogNo, at: Seq, head: Head) -> Result<(), FileError> {
        let mut windows = self.transaction.open_table(WINDOWS)?;
        windows.insert(key(log, at, 0), head.0.as_slice())?;
        Ok(())
    }

    /// Adds a signed seal.
    pub(super) fn put_seal(
        &mut self,
        log: LogNo,
        first: Seq,
        seal: &[u8],
    ) -> Result<(), FileError> {
        let mut seals = self.transaction.open_table(SEALS)?;
        seals.insert(key(log, first, 0), seal)?;
        Ok(())
    }
}
