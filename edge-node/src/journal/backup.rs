//! A consistent copy of the journal in one file, with its checksum, made while the node runs; and
//! the way back. Private keys are not in it: a restored node becomes a new device.
//!
//! The file: one line of text that says what it is and the BLAKE3 hash of the rest, then a store.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, Key, ReadTransaction, ReadableTable, StorageError, TableDefinition,
    Value,
};
use shared::ids::{LogId, Seq};

use super::rows::{
    KEYS, META, META_RESTORED, POSTINGS, SEGMENTS, STATE, STATE_PENDING, STATE_SIGNED, TAIL,
};
use super::store::{OpenError, StoreError, is_full, sync_folder};
use super::{Journal, Options};

const FIRST_LINE: &str = "warebook journal backup 1 blake3 ";

/// Why a backup or a restore fails.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{} exists: it is left as it is; give another name or move it away", .0.display())]
    Exists(PathBuf),
    /// The file is no backup.
    #[error("{} is no journal backup of this version", .0.display())]
    NotABackup(PathBuf),
    /// The file is damaged.
    #[error("{} is damaged: its checksum does not hold. Use another backup", .0.display())]
    Damaged(PathBuf),
    /// What is in it does not open.
    #[error("the backup holds no journal: {0}")]
    Open(#[from] OpenError),
    /// The store.
    #[error(transparent)]
    Store(StoreError),
    /// No room.
    #[error("the disk is full, so there is no backup: free some space and try again")]
    DiskFull,
    /// The disk.
    #[error("the backup can't be written or read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::DiskFull } else { Self::Io(error) }
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        if error == StoreError::DiskFull { Self::DiskFull } else { Self::Store(error) }
    }
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// The log.
    pub log: LogId,
    /// Its last fact.
    pub last: Seq,
    /// The file's size.
    pub bytes: u64,
}

impl Journal {
    /// Writes a backup to `to`, which must not exist. Facts recorded meanwhile are not in it.
    pub fn backup_blocking(&self, to: &Path) -> Result<BackupSummary, BackupError> {
        if to.exists() {
            return Err(BackupError::Exists(to.to_owned()));
        }
        self.seal_now_blocking()?;
        let last = self.position().last;
        let beside = |suffix: &str| {
            let mut name = to.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let (store, whole) = (beside(".store"), beside(".part"));
        let made = self.copy_to(&store).and_then(|()| Ok(wrap(&store, &whole)?));
        drop(fs::remove_file(&store));
        let bytes = made.inspect_err(|_| drop(fs::remove_file(&whole)))?;
        fs::rename(&whole, to)?;
        sync_folder(to)?;
        Ok(BackupSummary { log: self.log(), last, bytes })
    }

    fn copy_to(&self, path: &Path) -> Result<(), BackupError> {
        drop(fs::remove_file(path)); // left by an earlier try
        let from = self.inner.view.transaction()?;
        let into = Database::create(path).map_err(|error| match error {
            DatabaseError::Storage(StorageError::Io(error)) => error,
            error => io::Error::other(format!("the copy can't be made: {error}")),
        })?;
        let transaction = into.begin_write().map_err(StoreError::from)?;
        copy(&from, &transaction, META)?;
        copy(&from, &transaction, TAIL)?;
        copy(&from, &transaction, SEGMENTS)?;
        copy(&from, &transaction, KEYS)?;
        copy(&from, &transaction, STATE)?;
        copy(&from, &transaction, STATE_PENDING)?;
        copy(&from, &transaction, STATE_SIGNED)?;
        copy(&from, &transaction, POSTINGS)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(())
    }
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    into: &redb::WriteTransaction,
    table: TableDefinition<K, V>,
) -> Result<(), StoreError> {
    let from = from.open_table(table)?;
    let mut into = into.open_table(table)?;
    for entry in from.iter()? {
        let (key, value) = entry?;
        into.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Puts the first line before the store; the size of the whole.
fn wrap(store: &Path, whole: &Path) -> io::Result<u64> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(store)?)?;
    let mut out = BufWriter::new(File::create(whole)?);
    writeln!(out, "{FIRST_LINE}{}", hasher.finalize())?;
    io::copy(&mut File::open(store)?, &mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Puts a backup back as the journal at `to`, which must not exist, after proving it; marks it so
/// that it records nothing until the node is enrolled again.
pub fn restore(backup: &Path, to: &Path, options: &Options) -> Result<BackupSummary, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let mut part = to.as_os_str().to_owned();
    part.push(".restoring");
    let part = PathBuf::from(part);
    let restored = unwrap(backup, &part).and_then(|bytes| {
        mark_restored(&part)?;
        let journal = Journal::open(&part, Options { signing_key: None, ..options.clone() })?;
        let verified = journal
            .verify()
            .map_err(|fault| BackupError::Open(OpenError::Damaged(fault.to_string())));
        journal.close_blocking()?;
        let verified = verified?;
        Ok(BackupSummary { log: verified.log, last: Seq(verified.facts), bytes })
    });
    let summary = restored.inspect_err(|_| drop(fs::remove_file(&part)))?;
    fs::rename(&part, to)?;
    sync_folder(to)?;
    Ok(summary)
}

fn unwrap(backup: &Path, part: &Path) -> Result<u64, BackupError> {
    let mut from = BufReader::new(File::open(backup)?);
    let mut line = Vec::new();
    io::Read::take(&mut from, 200).read_until(b'\n', &mut line)?;
    let stated = std::str::from_utf8(&line)
        .ok()
        .and_then(|line| line.strip_prefix(FIRST_LINE))
        .and_then(|hash| hash.trim_end().parse::<blake3::Hash>().ok())
        .ok_or_else(|| BackupError::NotABackup(backup.to_owned()))?;
    let mut out = BufWriter::new(File::create(part)?);
    let bytes = io::copy(&mut from, &mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(part)?)?;
    if hasher.finalize() == stated {
        Ok(bytes)
    } else {
        Err(BackupError::Damaged(backup.to_owned()))
    }
}

fn mark_restored(part: &Path) -> Result<(), BackupError> {
    let database = super::store::open_file(part, 16 << 20)?;
    let transaction = database.begin_write().map_err(StoreError::from)?;
    {
        let mut meta = transaction.open_table(META).map_err(StoreError::from)?;
        meta.insert(META_RESTORED, [1].as_slice()).map_err(StoreError::from)?;
    }
    transaction.commit().map_err(StoreError::from)?;
    Ok(())
}
