//! What a command fails with: a sentence for people, a word for programs, an exit code. Knows no
//! command.
//!
//! Exit codes: 0 done; 1 failed, or what was asked about does not hold; 2 wrong usage; 3 refused,
//! with the reason; 4 no installation, or in use; 5 a store is damaged or the disk is full.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::headquarters::{BackupError, ConfigError, HeadquartersError};
use crate::runtime::RunError;
use crate::sequencer::StartError;
use crate::store::{FileError, is_full};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Headquarters(#[from] HeadquartersError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("the runtime fails: {0}")]
    Runtime(#[from] std::io::Error),
    /// The API says no.
    #[error("{text}")]
    Answer { status: StatusCode, text: String },
    /// A file that was named, or something in it.
    #[error("{0}")]
    Refused(String),
    /// The running server can't be asked.
    #[error("{0}")]
    Unanswered(String),
}

/// A word and an exit code.
type Kind = (&'static str, u8);

const FAILED: Kind = ("failed", 1);
const REFUSED: Kind = ("refused", 3);
const NOT_READY: Kind = ("not_ready", 4);
const DAMAGED: Kind = ("damaged", 5);
const DISK_FULL: Kind = ("disk_full", 5);

impl CliError {
    fn kind(&self) -> Kind {
        match self {
            Self::Headquarters(error) | Self::Run(RunError::Headquarters(error)) => {
                of_headquarters(error)
            }
            Self::Run(RunError::Config(error)) => of_config(error),
            Self::Run(RunError::DiskFull) => DISK_FULL,
            Self::Run(RunError::MappingGaps(_)) => NOT_READY,
            Self::Backup(error) => of_backup(error),
            Self::Answer { status, .. } if status.is_server_error() => FAILED,
            Self::Answer { status, .. } if *status == StatusCode::UNAUTHORIZED => FAILED,
            Self::Answer { .. } | Self::Refused(_) => REFUSED,
            Self::Run(_) | Self::Runtime(_) | Self::Unanswered(_) => FAILED,
        }
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        self.kind().1
    }

    /// As programs read it.
    pub(super) fn view(&self) -> Value {
        json!({ "error": { "code": self.kind().0, "message": self.to_string() } })
    }
}

fn of_headquarters(error: &HeadquartersError) -> Kind {
    match error {
        HeadquartersError::Missing(_) | HeadquartersError::Unfinished(_) => NOT_READY,
        HeadquartersError::Exists(_) => REFUSED,
        HeadquartersError::Config(error) => of_config(error),
        HeadquartersError::Directory { error, .. } if is_full(error) => DISK_FULL,
        HeadquartersError::File(error) | HeadquartersError::Start(StartError::File(error)) => {
            of_file(error)
        }
        HeadquartersError::Start(StartError::Replay(_)) => DAMAGED,
        _ => FAILED,
    }
}

fn of_config(error: &ConfigError) -> Kind {
    match error {
        ConfigError::Io { error, .. } if is_full(error) => DISK_FULL,
        _ => FAILED,
    }
}

fn of_backup(error: &BackupError) -> Kind {
    match error {
        BackupError::Exists(_) | BackupError::NoBackup { .. } => REFUSED,
        BackupError::Damaged(_) => DAMAGED,
        BackupError::Io { error, .. } if is_full(error) => DISK_FULL,
        BackupError::File(error) => of_file(error),
        BackupError::Headquarters(error) => of_headquarters(error),
        BackupError::Io { .. } => FAILED,
    }
}

const fn of_file(error: &FileError) -> Kind {
    match error {
        FileError::InUse => NOT_READY,
        FileError::DiskFull => DISK_FULL,
        FileError::Damaged(_) | FileError::Unreadable { .. } | FileError::Corrupted(_) => DAMAGED,
        FileError::OtherVersion(_) | FileError::Io(_) | FileError::Other(_) => FAILED,
    }
}
