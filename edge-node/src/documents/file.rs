//! The documents' file: changes of shared documents with what is known of each, and what HQ
//! refused; and what HQ told, as it signed it. Knows redb and bytes; knows no rule. Invariant: a change
//! has one row, and while HQ did not decide on one that was made here it stands in the outbox.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata as _,
    StorageBackend, TableDefinition, WriteTransaction,
};
use shared::document::DocumentKey;
use shared::ids::{ChangeHash, LogId, Seq};
use shared::planted::{self, Fault};
use shared::sync::{DocumentChange, SignedDocumentBatch, StateCursor};
use shared::time::Timestamp;
use shared::varint;

use crate::journal::{OpenError, StoreError, open_looked_at};

const FORMAT: u8 = 1;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// (document, number) -> standing, change.
const CHANGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("changes");
/// Number -> hash, document: changes made here that HQ did not decide on.
const OUTBOX: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("outbox");
/// Number -> a change that never came in.
const REFUSED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("refused");
/// (device, counter) of a ship movement -> receives that wait for the document that names it.
const UNPLACED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("unplaced");
/// Number -> cursor, signed batch: what HQ told, to be given back to it should it be restored.
const TOLD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("told");

/// What HQ told is kept up to so many bytes, the newest of it. A change takes some 300; a backup of HQ
/// that is so far behind is no backup.
const TOLD_BYTES_MAX: u64 = 16 << 20;

/// What is known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// HQ has decided that it is in.
    Accepted,
    /// It was made here, and HQ did not decide.
    Waiting,
    /// HQ had decided that it is in before it was restored, and has not said so again. Whoever
    /// made it offers it again.
    Heard,
}

/// A stored change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// In the order in which changes were stored here.
    pub(super) number: u64,
    /// What is known of it.
    pub(super) standing: Standing,
    /// The change.
    pub(super) bytes: Vec<u8>,
}

/// A change that never came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// The document that it was for.
    pub key: DocumentKey,
    /// The change's name.
    pub hash: ChangeHash,
    /// When this node heard of it.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// The change.
    pub bytes: Vec<u8>,
}

/// What was read when the file was opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Meta {
    /// Whose changes stand in the outbox.
    pub(super) owner: Option<LogId>,
    /// How far HQ's decisions are known.
    pub(super) cursor: StateCursor,
    /// The number of the next row.
    pub(super) next: u64,
    /// Facts of the node's log whose documents are opened up to here.
    pub(super) followed: Option<Seq>,
    /// How much of what HQ told is kept.
    told_bytes: u64,
}

/// The open file.
#[derive(Debug)]
pub(super) struct DocumentsFile {
    database: Database,
}

/// Rows that become durable together.
pub(super) struct Batch {
    transaction: WriteTransaction,
    pub(super) meta: Meta,
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} of documents.redb does not read"))
}

fn row_key(key: DocumentKey, number: u64) -> Vec<u8> {
    let mut bytes = key.encode();
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes
}

fn number_of(row: &[u8]) -> Result<u64, StoreError> {
    row.last_chunk().map(|number| u64::from_be_bytes(*number)).ok_or_else(|| damaged("a key"))
}

fn cursor_bytes(cursor: StateCursor) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&cursor.handle.to_be_bytes());
    bytes[8..].copy_from_slice(&cursor.at.to_be_bytes());
    bytes
}

fn read_cursor(bytes: &[u8]) -> Result<StateCursor, StoreError> {
    let (handle, at) = bytes.split_at_checked(8).ok_or_else(|| damaged("the cursor"))?;
    Ok(StateCursor { handle: read_u64(handle)?, at: read_u64(at)? })
}

fn read_u64(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = bytes.try_into().map_err(|_| damaged("a number"))?;
    Ok(u64::from_be_bytes(bytes))
}

impl RefusedRow {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 128);
        let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
            varint::write_unsigned(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        };
        bytes(&mut out, &self.key.encode());
        out.extend_from_slice(&self.hash.0);
        varint::write_signed(&mut out, self.at.0);
        bytes(&mut out, self.reason.as_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }

    fn decode(mut input: &[u8]) -> Option<Self> {
        fn part<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
            let length = usize::try_from(varint::read_unsigned(input).ok()?).ok()?;
            let (taken, rest) = input.split_at_checked(length)?;
            *input = rest;
            Some(taken)
        }
        let input = &mut input;
        let key = DocumentKey::decode(part(input)?)?;
        let (hash, rest) = input.split_first_chunk()?;
        *input = rest;
        let at = Timestamp(varint::read_signed(input).ok()?);
        let reason = String::from_utf8(part(input)?.to_vec()).ok()?;
        Some(Self { key, hash: ChangeHash(*hash), at, reason, bytes: input.to_vec() })
    }
}

impl DocumentsFile {
    /// Opens the file; makes it where there is none.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, OpenError> {
        if path.exists() {
            let look = |database: &Database| Ok(meta(database).map(drop)?);
            return Ok(Self { database: open_looked_at(path, cache_bytes, look)? }.begun()?);
        }
        let mut builder = Database::builder();
        let made = builder.set_cache_size(cache_bytes).create(path);
        let database = made.map_err(|error| OpenError::Io(std::io::Error::other(error)))?;
        Ok(Self { database }.begun()?)
    }

    /// As [`Self::open`], over storage that a test controls.
    pub(super) fn open_backend(backend: impl StorageBackend) -> Result<Self, OpenError> {
        let opened = Database::builder().create_with_backend(backend);
        let database = opened.map_err(|error| OpenError::Damaged(error.to_string()))?;
        Ok(Self { database }.begun()?)
    }

    fn begun(self) -> Result<Self, StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let known = meta.get("format")?.map(|row| row.value().to_vec());
            match known.as_deref() {
                None => drop(meta.insert("format", [FORMAT].as_slice())?),
                Some([FORMAT]) => {}
                Some(_) => return Err(damaged("the format")),
            }
            transaction.open_table(CHANGES)?;
            transaction.open_table(OUTBOX)?;
            transaction.open_table(REFUSED)?;
            transaction.open_table(UNPLACED)?;
            transaction.open_table(TOLD)?;
        }
        transaction.commit()?;
        Ok(self)
    }

    /// What opening needs.
    pub(super) fn meta(&self) -> Result<Meta, StoreError> {
        meta(&self.database)
    }

    /// Every document, with how many changes of it are here.
    pub(super) fn names(&self) -> Result<BTreeMap<DocumentKey, usize>, StoreError> {
        let transaction = self.database.begin_read()?;
        let mut names = BTreeMap::new();
        for row in transaction.open_table(CHANGES)?.iter()? {
            let (key, _) = row?;
            let document = key.value().split_last_chunk::<8>().map(|(document, _)| document);
            let document = document.and_then(DocumentKey::decode);
            *names.entry(document.ok_or_else(|| damaged("a key"))?).or_default() += 1;
        }
        Ok(names)
    }

    /// A document's changes, in the order in which they were stored.
    pub(super) fn rows(&self, key: DocumentKey) -> Result<Vec<Row>, StoreError> {
        read_rows(&self.database.begin_read()?.open_table(CHANGES)?, key)
    }

    /// Changes that HQ did not decide on, numbered higher than `after`.
    pub(super) fn outbox(
        &self,
        after: u64,
        count_max: usize,
    ) -> Result<Vec<(u64, DocumentChange)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let changes = transaction.open_table(CHANGES)?;
        let mut found = Vec::new();
        for row in transaction.open_table(OUTBOX)?.range(after + 1..)?.take(count_max) {
            let (number, bytes) = row?;
            let (hash, key) = outbox_row(bytes.value())?;
            let change = changes.get(row_key(key, number.value()).as_slice())?;
            let change = change.ok_or_else(|| damaged("the outbox"))?;
            let bytes = read_row(number.value(), change.value())?.bytes;
            found.push((number.value(), DocumentChange { key, hash, bytes }));
        }
        Ok(found)
    }

    /// How many changes HQ did not decide on.
    pub(super) fn waiting(&self) -> Result<u64, StoreError> {
        Ok(self.database.begin_read()?.open_table(OUTBOX)?.len()?)
    }

    /// How many changes never came in.
    pub(super) fn refused_count(&self) -> Result<u64, StoreError> {
        Ok(self.database.begin_read()?.open_table(REFUSED)?.len()?)
    }

    /// Changes that never came in, the newest first.
    pub(super) fn refused(&self) -> Result<Vec<RefusedRow>, StoreError> {
        let transaction = self.database.begin_read()?;
        let mut found = Vec::new();
        for row in transaction.open_table(REFUSED)?.iter()?.rev() {
            let (_, bytes) = row?;
            found.push(RefusedRow::decode(bytes.value()).ok_or_else(|| damaged("a refusal"))?);
        }
        Ok(found)
    }

    /// Starts a batch.
    pub(super) fn batch(&self) -> Result<Batch, StoreError> {
        let mut transaction = self.database.begin_write()?;
        if planted::is(Fault::EditBeforeDurable) {
            let unsaved = transaction.set_durability(Durability::None);
            unsaved.expect("nothing is saved in this transaction");
        }
        Ok(Batch { meta: meta(&self.database)?, transaction })
    }
}

fn meta(database: &Database) -> Result<Meta, StoreError> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) => {
            return Ok(Meta { next: 1, ..Meta::default() });
        }
        table => table?,
    };
    let read = |name: &str| -> Result<Option<Vec<u8>>, StoreError> {
        Ok(table.get(name)?.map(|row| row.value().to_vec()))
    };
    let owner = read("owner")?.map(|bytes| bytes.try_into().map(LogId));
    let cursor = match read("cursor")?.as_deref() {
        Some(bytes) => read_cursor(bytes)?,
        None => StateCursor::START,
    };
    Ok(Meta {
        owner: owner.transpose().map_err(|_| damaged("the owner"))?,
        cursor,
        next: read("next")?.map_or(Ok(1), |bytes| read_u64(&bytes))?,
        followed: read("followed")?.map(|bytes| read_u64(&bytes).map(Seq)).transpose()?,
        told_bytes: read("told bytes")?.map_or(Ok(0), |bytes| read_u64(&bytes))?,
    })
}

fn read_row(number: u64, value: &[u8]) -> Result<Row, StoreError> {
    let (standing, bytes) = match value {
        [1, bytes @ ..] => (Standing::Accepted, bytes),
        [2, bytes @ ..] => (Standing::Waiting, bytes),
        [3, bytes @ ..] => (Standing::Heard, bytes),
        _ => return Err(damaged("a change")),
    };
    Ok(Row { number, standing, bytes: bytes.to_vec() })
}

fn read_rows(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: DocumentKey,
) -> Result<Vec<Row>, StoreError> {
    let (first, last) = (row_key(key, 0), row_key(key, u64::MAX));
    let mut rows = Vec::new();
    for row in table.range(first.as_slice()..=last.as_slice())? {
        let (key, value) = row?;
        rows.push(read_row(number_of(key.value())?, value.value())?);
    }
    Ok(rows)
}

fn outbox_row(bytes: &[u8]) -> Result<(ChangeHash, DocumentKey), StoreError> {
    let parts = bytes
        .split_first_chunk()
        .and_then(|(hash, key)| Some((ChangeHash(*hash), DocumentKey::decode(key)?)));
    parts.ok_or_else(|| damaged("the outbox"))
}

impl Batch {
    /// A document's changes as this batch leaves them.
    pub(super) fn rows(&self, key: DocumentKey) -> Result<Vec<Row>, StoreError> {
        read_rows(&self.transaction.open_table(CHANGES)?, key)
    }

    /// Adds a change.
    pub(super) fn add(
        &mut self,
        key: DocumentKey,
        hash: ChangeHash,
        standing: Standing,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let number = self.meta.next;
        self.meta.next += 1;
        self.put(key, number, standing, bytes)?;
        if standing == Standing::Waiting {
            let row = [hash.0.as_slice(), &key.encode()].concat();
            self.transaction.open_table(OUTBOX)?.insert(number, row.as_slice())?;
        }
        Ok(())
    }

    /// What is known of a change from now on.
    pub(super) fn set(
        &mut self,
        key: DocumentKey,
        hash: ChangeHash,
        row: &Row,
        standing: Standing,
    ) -> Result<(), StoreError> {
        self.put(key, row.number, standing, &row.bytes)?;
        let mut outbox = self.transaction.open_table(OUTBOX)?;
        match standing {
            Standing::Accepted | Standing::Heard => drop(outbox.remove(row.number)?),
            Standing::Waiting => {
                let entry = [hash.0.as_slice(), &key.encode()].concat();
                outbox.insert(row.number, entry.as_slice())?;
            }
        }
        Ok(())
    }

    fn put(
        &self,
        key: DocumentKey,
        number: u64,
        standing: Standing,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let mark = match standing {
            Standing::Accepted => 1,
            Standing::Waiting => 2,
            Standing::Heard => 3,
        };
        let value = [&[mark], bytes].concat();
        let row = row_key(key, number);
        self.transaction.open_table(CHANGES)?.insert(row.as_slice(), value.as_slice())?;
        Ok(())
    }

    /// Takes a change out, and keeps it beside with the reason.
    pub(super) fn refuse(
        &mut self,
        number: Option<u64>,
        refused: &RefusedRow,
    ) -> Result<(), StoreError> {
        if let Some(number) = number {
            let row = row_key(refused.key, number);
            self.transaction.open_table(CHANGES)?.remove(row.as_slice())?;
            self.transaction.open_table(OUTBOX)?.remove(number)?;
        }
        if planted::is(Fault::ForgottenRefusal) {
            return Ok(());
        }
        let number = self.meta.next;
        self.meta.next += 1;
        self.transaction.open_table(REFUSED)?.insert(number, refused.encode().as_slice())?;
        Ok(())
    }

    /// Keeps what waits for the document that names a ship movement.
    pub(super) fn put_unplaced(&self, ship: &[u8], puts: &[u8]) -> Result<(), StoreError> {
        self.transaction.open_table(UNPLACED)?.insert(ship, puts)?;
        Ok(())
    }

    /// What waits for it, if anything does: taken out.
    pub(super) fn take_unplaced(&self, ship: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut table = self.transaction.open_table(UNPLACED)?;
        let taken = table.remove(ship)?.map(|row| row.value().to_vec());
        Ok(taken)
    }

    /// Keeps what HQ told; the oldest goes where there is no more room.
    pub(super) fn keep_told(&mut self, signed: &SignedDocumentBatch) -> Result<(), StoreError> {
        let bytes = [&cursor_bytes(signed.batch.to)[..], &signed.encode()].concat();
        let mut table = self.transaction.open_table(TOLD)?;
        self.meta.told_bytes += bytes.len() as u64;
        while self.meta.told_bytes > TOLD_BYTES_MAX
            && let Some((_, oldest)) = table.pop_first()?
        {
            self.meta.told_bytes -= oldest.value().len() as u64;
        }
        table.insert(self.meta.next, bytes.as_slice())?;
        self.meta.next += 1;
        Ok(())
    }

    /// What HQ told first after a number, in another life than the one with this handle: until where, and
    /// as it signed it, where that reads.
    pub(super) fn told_after(
        &self,
        after: u64,
        now: u64,
    ) -> Result<Option<(u64, StateCursor, Option<SignedDocumentBatch>)>, StoreError> {
        let table = self.transaction.open_table(TOLD)?;
        for row in table.range(after + 1..)? {
            let (number, bytes) = row?;
            let (to, signed) =
                bytes.value().split_at_checked(16).ok_or_else(|| damaged("what HQ told"))?;
            let to = read_cursor(to)?;
            if to.handle != now {
                let told = SignedDocumentBatch::decode(signed).ok();
                return Ok(Some((number.value(), to, told)));
            }
        }
        Ok(None)
    }

    /// It need not be given back any more.
    pub(super) fn forget_told(&mut self, number: u64) -> Result<(), StoreError> {
        let mut table = self.transaction.open_table(TOLD)?;
        if let Some(row) = table.remove(number)? {
            self.meta.told_bytes -= row.value().len() as u64;
        }
        Ok(())
    }

    /// Makes it durable.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        let Meta { owner, cursor, next, followed, told_bytes } = &self.meta;
        {
            let mut table = self.transaction.open_table(META)?;
            if let Some(owner) = owner {
                table.insert("owner", owner.0.as_slice())?;
            }
            table.insert("cursor", cursor_bytes(*cursor).as_slice())?;
            table.insert("next", next.to_be_bytes().as_slice())?;
            table.insert("told bytes", told_bytes.to_be_bytes().as_slice())?;
            if let Some(followed) = followed {
                table.insert("followed", followed.0.to_be_bytes().as_slice())?;
            }
        }
        Ok(self.transaction.commit()?)
    }
}
