//! The documents' file: what was decided on changes of shared documents, in order. Knows redb and
//! bytes; knows no rule. Invariant: a place is given once, and what stands there never changes.

use std::path::Path;

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    WriteTransaction,
};
use shared::document::DocumentKey;
use shared::ids::{ChangeHash, DeviceNo, LogId, SiteNo};
use shared::planted::{self, Fault};
use shared::sync::{StateCursor, limits};
use shared::time::Timestamp;
use shared::varint;

use crate::store::copy::copy_table;
use crate::store::{DamagedFile, FileError, guard};

/// The file's name.
pub(super) const FILE: &str = "documents.redb";

/// The version of this file's layout.
const FORMAT: u64 = 1;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Place -> a decision.
const DECISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("decisions");

/// What was decided on a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The document's generation.
    pub(super) key: DocumentKey,
    /// The site that sent it; HQ's own for a change of its own.
    pub(super) site: SiteNo,
    /// The installation that sent it.
    pub(super) device: DeviceNo,
    /// When it came.
    pub(super) at: Timestamp,
    /// The change, as it came.
    pub(super) bytes: Vec<u8>,
    /// Whether it is in.
    pub(super) verdict: Verdict,
}

/// See [`Decision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the document, which then had these heads.
    Accepted(Vec<ChangeHash>),
    /// It never comes in.
    Refused {
        /// The log that it was sent for.
        log: LogId,
        /// The name that it was announced with.
        hash: ChangeHash,
        /// Why.
        reason: String,
    },
}

pub(super) const fn damaged(what: &'static str) -> FileError {
    FileError::Damaged(DamagedFile { file: FILE, what })
}

const ACCEPTED: u64 = 1;
const REFUSED: u64 = 2;

impl Decision {
    /// About, in the file.
    pub(super) fn size(&self) -> u64 {
        let heads = match &self.verdict {
            Verdict::Accepted(heads) => heads.len(),
            Verdict::Refused { .. } => 0,
        };
        (self.bytes.len() + 32 * heads + 128) as u64
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 128);
        let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
            varint::write_unsigned(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        };
        bytes(&mut out, &self.key.encode());
        varint::write_unsigned(&mut out, self.site.into());
        varint::write_unsigned(&mut out, self.device.into());
        varint::write_signed(&mut out, self.at.0);
        match &self.verdict {
            Verdict::Accepted(heads) => {
                varint::write_unsigned(&mut out, ACCEPTED);
                varint::write_unsigned(&mut out, heads.len() as u64);
                for head in heads {
                    out.extend_from_slice(&head.0);
                }
            }
            Verdict::Refused { log, hash, reason } => {
                varint::write_unsigned(&mut out, REFUSED);
                out.extend_from_slice(&log.0);
                out.extend_from_slice(&hash.0);
                bytes(&mut out, reason.as_bytes());
            }
        }
        out.extend_from_slice(&self.bytes);
        out
    }

    fn decode(mut input: &[u8]) -> Option<Self> {
        let input = &mut input;
        let key = DocumentKey::decode(take_bytes(input)?)?;
        let site = SiteNo(u32::try_from(varint::read_unsigned(input).ok()?).ok()?);
        let device = DeviceNo(u32::try_from(varint::read_unsigned(input).ok()?).ok()?);
        let at = Timestamp(varint::read_signed(input).ok()?);
        let verdict = match varint::read_unsigned(input).ok()? {
            ACCEPTED => {
                let count = varint::read_unsigned(input).ok()?;
                let heads = (0..count).map(|_| take(input).map(ChangeHash)).collect::<Option<_>>();
                Verdict::Accepted(heads?)
            }
            REFUSED => Verdict::Refused {
                log: LogId(take(input)?),
                hash: ChangeHash(take(input)?),
                reason: String::from_utf8(take_bytes(input)?.to_vec()).ok()?,
            },
            _ => return None,
        };
        Some(Self { key, site, device, at, bytes: input.to_vec(), verdict })
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*taken)
}

fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint::read_unsigned(input).ok()?).ok()?;
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken)
}

/// The open file.
#[derive(Debug)]
pub(super) struct DocumentsFile {
    database: Database,
}

impl DocumentsFile {
    /// Opens the file; makes it where there is none.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, FileError> {
        if path.exists() {
            return Self::prepare(guard::open(path, FILE, cache_bytes)?);
        }
        Self::prepare(Database::builder().set_cache_size(cache_bytes).create(path)?)
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
                None => drop(meta.insert("format", FORMAT.to_le_bytes().as_slice())?),
                Some(bytes) if bytes == FORMAT.to_le_bytes() => {}
                Some(_) => return Err(FileError::OtherVersion(FILE)),
            }
            transaction.open_table(DECISIONS)?;
        }
        transaction.commit()?;
        Ok(Self { database })
    }

    /// Says which life decides from here on; gives those that are over, and their last places here.
    /// Another life than the last one's begins where a backup was put back.
    pub(super) fn begin_life(&self, handle: u64) -> Result<Vec<StateCursor>, FileError> {
        let transaction = self.database.begin_write()?;
        let mut lives;
        {
            let mut meta = transaction.open_table(META)?;
            lives =
                meta.get("lives")?.map_or_else(|| Ok(Vec::new()), |row| read_lives(row.value()))?;
            if lives.last().is_none_or(|life| life.handle != handle) {
                if let Some(life) = lives.last_mut() {
                    let decisions = transaction.open_table(DECISIONS)?;
                    life.at = decisions.last()?.map_or(0, |(place, _)| place.value());
                }
                lives.push(StateCursor { handle, at: 0 });
                lives.drain(..lives.len().saturating_sub(limits::HQ_LOGS_MAX));
                meta.insert("lives", write_lives(&lives).as_slice())?;
            }
        }
        transaction.commit()?;
        lives.pop();
        Ok(lives)
    }

    /// Adds decisions after `last`, durably, all or none.
    pub(super) fn append(&self, last: u64, decisions: &[Decision]) -> Result<(), FileError> {
        let mut transaction = self.database.begin_write()?;
        if planted::is(Fault::DecidedBeforeDurable) {
            let unsaved = transaction.set_durability(Durability::None);
            unsaved.expect("nothing is saved in this transaction");
        }
        {
            let mut table = transaction.open_table(DECISIONS)?;
            for (place, decision) in (last + 1..).zip(decisions) {
                let before = table.insert(place, decision.encode().as_slice())?;
                assert!(before.is_none(), "a place is given once");
            }
        }
        Ok(transaction.commit()?)
    }

    /// Every decision, in order.
    pub(super) fn each(&self, mut see: impl FnMut(u64, Decision)) -> Result<(), FileError> {
        let transaction = self.database.begin_read()?;
        for row in transaction.open_table(DECISIONS)?.iter()? {
            let (place, bytes) = row?;
            see(place.value(), decision(bytes.value())?);
        }
        Ok(())
    }

    /// The decisions at these places.
    pub(super) fn at(&self, places: &[u64]) -> Result<Vec<Decision>, FileError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(DECISIONS)?;
        let read = |place: &u64| {
            let row = table.get(*place)?.ok_or_else(|| damaged("a decision"))?;
            decision(row.value())
        };
        places.iter().map(read).collect()
    }

    /// Copies everything, as of one commit, to a new file.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), FileError> {
        let from = self.database.begin_read()?;
        let copy = Database::create(path)?;
        let to: WriteTransaction = copy.begin_write()?;
        copy_table(&from, &to, META)?;
        copy_table(&from, &to, DECISIONS)?;
        Ok(to.commit()?)
    }
}

fn write_lives(lives: &[StateCursor]) -> Vec<u8> {
    let bytes = lives.iter().flat_map(|life| [life.handle.to_be_bytes(), life.at.to_be_bytes()]);
    bytes.flatten().collect()
}

fn read_lives(bytes: &[u8]) -> Result<Vec<StateCursor>, FileError> {
    let (numbers, []) = bytes.as_chunks::<8>() else { return Err(damaged("its lives")) };
    let (lives, []) = numbers.as_chunks::<2>() else { return Err(damaged("its lives")) };
    let life = |[handle, at]: &[[u8; 8]; 2]| StateCursor {
        handle: u64::from_be_bytes(*handle),
        at: u64::from_be_bytes(*at),
    };
    Ok(lives.iter().map(life).collect())
}

fn decision(bytes: &[u8]) -> Result<Decision, FileError> {
    Decision::decode(bytes).ok_or_else(|| damaged("a decision"))
}
