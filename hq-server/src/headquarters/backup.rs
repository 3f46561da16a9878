//! Backups: a folder with copies of the files, the authority and a manifest of hashes. Knows no
//! schedule and no other machine.
//!
//! Invariant: the copy of the intake file is taken after that of the books, so that every fact that
//! the sequence names is in it. A restored installation starts another history.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::ids::HistoryId;
use shared::time::Timestamp;

use super::{
    AUTHORITY_DIRECTORY, BOOKS_FILE, CACHE_BYTES, DOCUMENTS_FILE, Headquarters, HeadquartersError,
    INTAKE_FILE, config, random,
};
use crate::authority::Authority;
use crate::gateway::documents;
use crate::gateway::intake::Intake;
use crate::store::{FileError, RedbStore, Store as _};

const MANIFEST: &str = "backup.json";

/// The version of the manifest.
const VERSION: u32 = 1;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The manifest's version.
    pub version: u32,
    /// When it was made.
    pub made_at: Timestamp,
    /// The history it is of, in hex.
    pub history: String,
    /// The last entry of the sequence.
    pub position: u64,
    /// Every file.
    pub files: Vec<ManifestFile>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Its path inside the backup.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3 hash, in hex.
    pub hash: String,
}

/// Why a backup can't be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder exists.
    #[error("{} exists already: choose a new folder; nothing was changed", .0.display())]
    Exists(PathBuf),
    /// It can't be read or written.
    #[error("can't use {}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// A store fails.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no manifest, or it does not read.
    #[error("{} is no backup of HQ: {why}", path.display())]
    NoBackup {
        /// The folder.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file is not what the manifest says.
    #[error(
        "{0} is damaged: its hash is not the manifest's; take another backup. Nothing was changed"
    )]
    Damaged(String),
    /// No random bytes.
    #[error(transparent)]
    Headquarters(Box<HeadquartersError>),
}

impl From<HeadquartersError> for BackupError {
    fn from(error: HeadquartersError) -> Self {
        Self::Headquarters(Box::new(error))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::Io { path, error }
}

impl Headquarters {
    /// Copies everything to a new folder, reads it back, and calls its facts safe.
    pub fn backup(&self, to: &Path) -> Result<Manifest, BackupError> {
        if to.exists() {
            return Err(BackupError::Exists(to.to_owned()));
        }
        // What was begun and not finished is no backup, and would stand in the way of the next.
        self.backup_into(to).inspect_err(|_| drop(fs::remove_dir_all(to)))
    }

    fn backup_into(&self, to: &Path) -> Result<Manifest, BackupError> {
        fs::create_dir_all(to.join(AUTHORITY_DIRECTORY)).map_err(at(to))?;
        self.store().copy_to(&to.join(BOOKS_FILE))?;
        self.intake().copy_to(&to.join(INTAKE_FILE))?;
        self.documents().copy_to(&to.join(DOCUMENTS_FILE))?;
        self.authority().while_unchanged(|| {
            let from = self.directory().join(AUTHORITY_DIRECTORY);
            copy_folder(&from, &to.join(AUTHORITY_DIRECTORY))
        })?;
        for file in [config::FILE, config::TOKEN_FILE] {
            copy_file(&self.directory().join(file), &to.join(file))?;
        }
        // Opening a store writes to it: the hashes are taken afterwards.
        let position = RedbStore::open(&to.join(BOOKS_FILE), CACHE_BYTES)?.last()?;
        let cursors = Intake::cursors_of(&to.join(INTAKE_FILE))?;
        let manifest = Manifest {
            version: VERSION,
            made_at: self.clock().now(),
            history: self.store().history().to_string(),
            position: position.0,
            files: listed(to)?,
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is JSON");
        config::write_private(&to.join(MANIFEST), &text).map_err(HeadquartersError::from)?;
        check(to, &manifest)?;
        self.intake().set_safe(&cursors)?;
        Ok(manifest)
    }
}

/// At least so many numbers of things are left out by a restore.
const SKIPPED_MIN: i64 = 1_000;

/// At most so many.
const SKIPPED_MAX: i64 = 100_000;

/// How many numbers may have been given since a backup was made, and are left out: one for each
/// minute, besides a thousand. More are left out once a node says that more was lost. Restored twice,
/// a backup gives the numbers of the first life no second time.
fn skipped(made_at: Timestamp, now: Timestamp) -> u32 {
    let minutes = now.0.saturating_sub(made_at.0) / 60_000;
    let skipped = minutes.clamp(0, SKIPPED_MAX).saturating_add(SKIPPED_MIN).min(SKIPPED_MAX);
    u32::try_from(skipped).expect("between its two bounds")
}

/// Makes an installation out of a backup. It starts another history: sites notice, and send again
/// what the backup does not have.
pub fn restore(from: &Path, directory: &Path, now: Timestamp) -> Result<Manifest, BackupError> {
    let manifest = read(from)?;
    check(from, &manifest)?;
    if directory.join(config::FILE).exists() || directory.join(BOOKS_FILE).exists() {
        return Err(BackupError::Exists(directory.to_owned()));
    }
    fs::create_dir_all(directory.join(AUTHORITY_DIRECTORY)).map_err(at(directory))?;
    // The configuration comes last: where it is, everything is.
    let (last, files): (Vec<_>, Vec<_>) =
        manifest.files.iter().partition(|file| file.path == config::FILE);
    for file in files {
        copy_file(&from.join(&file.path), &directory.join(&file.path))?;
    }
    let mut store = RedbStore::open(&directory.join(BOOKS_FILE), CACHE_BYTES)?;
    // A backup that an older program made does not say so itself.
    documents::note_life(&directory.join(DOCUMENTS_FILE), &store.history())?;
    store.renew_history(HistoryId(random()?))?;
    drop(store);
    let authority = Authority::open(&directory.join(AUTHORITY_DIRECTORY));
    let authority = authority.map_err(HeadquartersError::from)?;
    authority.note_restore(skipped(manifest.made_at, now), manifest.made_at, now)?;
    drop(authority);
    for file in last {
        copy_file(&from.join(&file.path), &directory.join(&file.path))?;
    }
    Ok(manifest)
}

fn read(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST);
    let no_backup = |why: String| BackupError::NoBackup { path: from.to_owned(), why };
    let text = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_backup(format!("there is no {MANIFEST} in it")),
        _ => no_backup(error.to_string()),
    })?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| no_backup(error.to_string()))?;
    if manifest.version != VERSION {
        let text = format!("its version is {}: this program reads {VERSION}", manifest.version);
        return Err(no_backup(text));
    }
    Ok(manifest)
}

/// Compares every file with the manifest.
fn check(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    for file in &manifest.files {
        let path = folder.join(&file.path);
        let inside = Path::new(&file.path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !inside || measured(&path, &file.path)? != *file {
            return Err(BackupError::Damaged(file.path.clone()));
        }
    }
    Ok(())
}

fn measured(path: &Path, name: &str) -> Result<ManifestFile, BackupError> {
    let mut hasher = blake3::Hasher::new();
    let mut file = fs::File::open(path).map_err(at(path))?;
    let bytes = io::copy(&mut file, &mut hasher).map_err(at(path))?;
    let hash = hasher.finalize().to_hex().to_string();
    Ok(ManifestFile { path: name.to_owned(), bytes, hash })
}

/// Every file of a backup but the manifest, by path.
fn listed(folder: &Path) -> Result<Vec<ManifestFile>, BackupError> {
    let mut paths = vec![];
    for (directory, prefix) in
        [(folder.to_owned(), ""), (folder.join(AUTHORITY_DIRECTORY), "authority/")]
    {
        for entry in fs::read_dir(&directory).map_err(at(&directory))? {
            let entry = entry.map_err(at(&directory))?;
            if entry.path().is_file() {
                paths.push((
                    entry.path(),
                    format!("{prefix}{}", entry.file_name().to_string_lossy()),
                ));
            }
        }
    }
    paths.sort();
    paths.iter().map(|(path, name)| measured(path, name)).collect()
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        if entry.path().is_file() {
            copy_file(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// A copy keeps the rights of the file: keys stay private.
fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::copy(from, to).map_err(at(from))?;
    fs::File::open(to).and_then(|file| file.sync_all()).map_err(at(to))
}
