//! The intake file: logs, their facts in packed pieces, seals and chain heads. Knows redb and
//! bytes; knows no chain rule and no books. Invariant: a row is at most a page, so nothing is
//! rounded up to powers of two.
//!
//! Keys are fixed-width integers: (log number 32 bits, seq 64 bits, part 32 bits) in one `u128`.

use std::path::Path;

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, WriteTransaction,
};
use shared::document::journal::JournalTip;
use shared::fact::Fact;
use shared::ids::{DeviceNo, Head, LogId, Seq, SiteNo};
use shared::segment::seal::SignedSeal;
use shared::segment::{columns, packing};
use shared::time::Timestamp;
use shared::varint;

use crate::store::copy::copy_table;
use crate::store::guard;
use crate::store::{DamagedFile, FileError};

/// What the file is called in words to people.
const FILE: &str = "intake.redb";

/// The version of this file's layout.
const FORMAT: u64 = 1;

/// The largest value that leaves a 4 KiB page for itself.
const VALUE_MAX: usize = 4_040;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Log number -> site, device, key, genesis.
const LOGS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("logs");
/// Log number -> last fact, head, seals.
const CURSORS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("cursors");
/// (log, first, part) -> a piece: received-at, last, head, packed columns.
const PIECES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("pieces");
/// (log, seq, 0) -> the chain's head at a multiple of the window.
const WINDOWS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("windows");
/// (log, first, 0) -> signed seal.
const SEALS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("seals");

/// The number of a log inside HQ's files, dense from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogNo(pub u32);

/// A log as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The number inside HQ's files.
    pub no: LogNo,
    /// The log.
    pub log: LogId,
    /// Its site.
    pub site: SiteNo,
    /// Its installation.
    pub device: DeviceNo,
    /// The key that signs its seals.
    pub public_key: [u8; 32],
    /// The genesis record's bytes.
    pub genesis: Vec<u8>,
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The last fact.
    pub(super) last: Seq,
    /// The chain's head after it.
    pub(super) head: Head,
    /// The last sealed fact.
    pub(super) sealed: Seq,
    /// The journal document after the last seal.
    pub(super) tip: JournalTip,
}

/// Consecutive facts of a log, as they came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The place of the first fact.
    pub first: Seq,
    /// The place of the last one.
    pub last: Seq,
    /// The chain's head after the last one.
    pub head: Head,
    /// When HQ received them.
    pub received_at: Timestamp,
    /// The facts.
    pub facts: Vec<Fact>,
}

fn key(log: LogNo, seq: Seq, part: u32) -> u128 {
    u128::from(log.0) << 96 | u128::from(seq.0) << 32 | u128::from(part)
}

fn seq_of(key: u128) -> Seq {
    Seq(u64::try_from(key << 32 >> 64).expect("64 bits are left"))
}

pub(super) fn damaged(what: &'static str) -> FileError {
    FileError::Damaged(DamagedFile { file: FILE, what })
}

/// A stored seal.
pub(super) fn read_seal(bytes: &[u8]) -> Result<SignedSeal, FileError> {
    SignedSeal::decode(bytes).map_err(|_| damaged("a seal"))
}

fn take<'a>(
    input: &mut &'a [u8],
    length: usize,
    what: &'static str,
) -> Result<&'a [u8], FileError> {
    let bytes = input.get(..length).ok_or_else(|| damaged(what))?;
    *input = &input[length..];
    Ok(bytes)
}

fn take_hash(input: &mut &[u8], what: &'static str) -> Result<[u8; 32], FileError> {
    take(input, 32, what).map(|bytes| bytes.try_into().expect("32 bytes were taken"))
}

fn take_number(input: &mut &[u8], what: &'static str) -> Result<u64, FileError> {
    varint::read_raw(input).map_err(|_| damaged(what))
}

impl LogRecord {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        varint::write_unsigned(&mut out, self.site.0.into());
        varint::write_unsigned(&mut out, self.device.0.into());
        out.extend_from_slice(&self.log.0);
        out.extend_from_slice(&self.public_key);
        out.extend_from_slice(&self.genesis);
        out
    }

    fn decode(no: LogNo, mut bytes: &[u8]) -> Result<Self, FileError> {
        const WHAT: &str = "a log's record";
        let small = |value: u64| u32::try_from(value).map_err(|_| damaged(WHAT));
        let input = &mut bytes;
        Ok(Self {
            no,
            site: SiteNo(small(take_number(input, WHAT)?)?),
            device: DeviceNo(small(take_number(input, WHAT)?)?),
            log: LogId(take_hash(input, WHAT)?),
            public_key: take_hash(input, WHAT)?,
            genesis: input.to_vec(),
        })
    }
}

impl Cursor {
    /// Before the first fact.
    pub(super) fn start(head: Head) -> Self {
        Self { last: Seq::ZERO, head, sealed: Seq::ZERO, tip: JournalTip::start(0) }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        varint::write_unsigned(&mut out, self.last.0);
        out.extend_from_slice(&self.head.0);
        varint::write_unsigned(&mut out, self.sealed.0);
        out.extend_from_slice(&self.tip.encode());
        out
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, FileError> {
        const WHAT: &str = "a log's cursor";
        let input = &mut bytes;
        Ok(Self {
            last: Seq(take_number(input, WHAT)?),
            head: Head(take_hash(input, WHAT)?),
            sealed: Seq(take_number(input, WHAT)?),
            tip: JournalTip::decode(input).map_err(|_| damaged(WHAT))?,
        })
    }
}

impl Piece {
    /// The facts of a range, as far as they are in the piece. `first` is in it.
    pub fn part(&self, first: Seq, last: Seq) -> &[Fact] {
        let index = |seq: Seq| usize::try_from(seq.0 - self.first.0).expect("a piece fits memory");
        &self.facts[index(first)..=index(last.min(self.last))]
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.facts.len() * 8);
        varint::write_unsigned(&mut out, self.last.0 - self.first.0);
        varint::write_signed(&mut out, self.received_at.0);
        out.extend_from_slice(&self.head.0);
        out.extend_from_slice(&packing::pack(&columns::encode(&self.facts)));
        out
    }

    fn decode(first: Seq, mut bytes: &[u8]) -> Result<Self, FileError> {
        const WHAT: &str = "facts of a log";
        let input = &mut bytes;
        let last = Seq(first.0 + take_number(input, WHAT)?);
        let received_at = Timestamp(varint::read_signed(input).map_err(|_| damaged(WHAT))?);
        let head = Head(take_hash(input, WHAT)?);
        let columns = packing::unpack(input).map_err(|_| damaged(WHAT))?;
        let facts = columns::decode(&columns).map_err(|_| damaged(WHAT))?;
        if facts.len() as u64 != last.0 - first.0 + 1 {
            return Err(damaged(WHAT));
        }
        Ok(Self { first, last, head, received_at, facts })
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct IntakeFile {
    database: Database,
}

/// Rows that become durable together.
pub(super) struct Batch {
    transaction: WriteTransaction,
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
        let file = Self { database };
        let transaction = file.database.begin_write()?;
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
            transaction.open_table(WINDOWS)?;
            transaction.open_table(SEALS)?;
        }
        transaction.commit()?;
        Ok(file)
    }

    /// Starts a batch.
    pub(super) fn batch(&self) -> Result<Batch, FileError> {
        Ok(Batch { transaction: self.database.begin_write()? })
    }

    /// How far a log has come.
    pub(super) fn cursor(&self, log: LogNo) -> Result<Cursor, FileError> {
        let transaction = self.database.begin_read()?;
        let cursors = transaction.open_table(CURSORS)?;
        let row = cursors.get(log.0)?.ok_or_else(|| damaged("a log's cursor"))?;
        Cursor::decode(row.value())
    }

    /// Every log with how far it has come.
    pub(super) fn logs(&self) -> Result<Vec<(LogRecord, Cursor)>, FileError> {
        let transaction = self.database.begin_read()?;
        let (logs, cursors) = (transaction.open_table(LOGS)?, transaction.open_table(CURSORS)?);
        let mut found = Vec::new();
        for row in logs.iter()? {
            let (no, record) = row?;
            let record = LogRecord::decode(LogNo(no.value()), record.value())?;
            let cursor = cursors.get(no.value())?.ok_or_else(|| damaged("a log's cursor"))?;
            found.push((record, Cursor::decode(cursor.value())?));
        }
        Ok(found)
    }

    /// The piece that holds a fact; `None` beyond the log's last one.
    pub(super) fn piece(&self, log: LogNo, seq: Seq) -> Result<Option<Piece>, FileError> {
        find_piece(&self.database.begin_read()?.open_table(PIECES)?, log, seq)
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
        copy_table(&from, &to, WINDOWS)?;
        copy_table(&from, &to, SEALS)?;
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
    /// As [`IntakeFile::piece`], with the facts of this batch.
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

    /// How many pieces start in a range of facts.
    pub(super) fn pieces_between(
        &self,
        log: LogNo,
        first: Seq,
        last: Seq,
    ) -> Result<usize, FileError> {
        let pieces = self.transaction.open_table(PIECES)?;
        let mut count = 0;
        for row in pieces.range(key(log, first, 0)..=key(log, last, u32::MAX))? {
            count += usize::from(row?.0.value().trailing_zeros() >= u32::BITS);
        }
        Ok(count)
    }

    /// Puts one piece in the place of all that start in its range.
    pub(super) fn replace_pieces(&mut self, log: LogNo, piece: &Piece) -> Result<(), FileError> {
        let range = key(log, piece.first, 0)..=key(log, piece.last, u32::MAX);
        self.transaction.open_table(PIECES)?.retain_in(range, |_, _| false)?;
        self.put_piece(log, piece)
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

    /// Sets how far a log has come.
    pub(super) fn put_cursor(&mut self, log: LogNo, cursor: &Cursor) -> Result<(), FileError> {
        let mut cursors = self.transaction.open_table(CURSORS)?;
        cursors.insert(log.0, cursor.encode().as_slice())?;
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

    /// Makes the batch durable.
    pub(super) fn commit(self) -> Result<(), FileError> {
        Ok(self.transaction.commit()?)
    }
}
