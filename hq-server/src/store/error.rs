//! What can go wrong with HQ's files, in words that say what to do. Knows redb's errors so that
//! nothing above the store has to.

use std::io;

/// A file whose content does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file} is damaged ({what} does not read); nothing was changed: restore a backup with \
     'hq-server restore', or run 'hq-server verify' to see how far it reads"
)]
pub struct DamagedFile {
    /// The file's name.
    pub file: &'static str,
    /// What does not read.
    pub what: &'static str,
}

/// Why a file could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it.
    #[error("the store is in use by another process: stop it, or let the command talk to it")]
    InUse,
    /// Written by a program of another version.
    #[error("{0} was written by another version of the program: install that version or newer")]
    OtherVersion(&'static str),
    /// A row that does not read.
    #[error(transparent)]
    Damaged(#[from] DamagedFile),
    /// The file does not open.
    #[error(
        "{file} is damaged ({why}); nothing was changed: keep the folder, restore a backup into a \
         new one ('hq-server --data NEW restore BACKUP'), and run it; sites send again what it lacks"
    )]
    Unreadable {
        /// The file's name.
        file: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The file as a whole does not read.
    #[error(
        "the store is damaged ({0}); nothing was changed: restore a backup with 'hq-server restore'"
    )]
    Corrupted(String),
    /// No room.
    #[error("the disk is full; nothing acknowledged is lost: free space and start again")]
    DiskFull,
    /// Anything else from the operating system.
    #[error("the store can't be read or written: {0}; see that this user may write the folder")]
    Io(io::Error),
    /// Anything else from the store.
    #[error("the store refused: {0}; start the program again")]
    Other(redb::Error),
}

impl From<redb::Error> for FileError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Corrupted(what) => Self::Corrupted(what),
            redb::Error::UpgradeRequired(_) => Self::OtherVersion("the store"),
            redb::Error::Io(error) => error.into(),
            other => Self::Other(other),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if is_full(&error) => Self::DiskFull,
            io::ErrorKind::InvalidData => Self::Corrupted(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

/// No room on the disk, for this user, or for a file of this size.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for FileError {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError);
