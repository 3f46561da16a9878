//! The node's folder: what lies where, and that one process at a time has it.
//!
//! ```text
//! node.toml       what the operator sets
//! identity/       keys and certificate, readable by their owner alone
//! journal.redb    the log
//! journal-*.redb  logs that were set aside; journal-*.at-hq beside one: HQ has all of it
//! carried/        what neighbours gave to be carried, and HQ's answers to them
//! documents.redb  shared documents
//! backups/        made through the API
//! link.measured   how the link to HQ was when last connected
//! api.addr        where the running process serves its API
//! lock            held by the process that has the folder
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

/// Held while a process has the folder.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the folder can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "another process has {}: if it is 'edge-node run', wait until it is ready or see its log; \
         else let it finish", .0.display()
    )]
    Held(PathBuf),
    /// There is no such folder, or it can't be written.
    #[error("{} can't be used ({why}): run 'edge-node init' first, or name the right folder with --data", .root.display())]
    Unusable {
        /// The folder.
        root: PathBuf,
        /// Why.
        why: String,
    },
}

impl DataDir {
    /// The folder at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What lies here for neighbours.
    pub fn carried(&self) -> PathBuf {
        self.root.join("carried")
    }

    /// `node.toml`.
    pub fn config(&self) -> PathBuf {
        self.root.join("node.toml")
    }

    /// Keys and certificate.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The log.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.redb")
    }

    /// Logs that were set aside, by name.
    pub fn set_aside(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("journal-") && name.ends_with(".redb") {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Shared documents.
    pub fn documents(&self) -> PathBuf {
        self.root.join("documents.redb")
    }

    /// How the link was when last connected.
    pub fn link_measured(&self) -> PathBuf {
        self.root.join("link.measured")
    }

    /// Backups that the running process makes.
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// Where the running process serves its API.
    pub fn address_file(&self) -> PathBuf {
        self.root.join("api.addr")
    }

    /// Takes the folder for this process, until the lock is dropped.
    pub fn lock(&self) -> Result<Lock, LockError> {
        let unusable = |error: &io::Error| LockError::Unusable {
            root: self.root.clone(),
            why: error.to_string(),
        };
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(self.root.join("lock")).map_err(|error| unusable(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(self.root.clone())),
            Err(TryLockError::Error(error)) => Err(unusable(&error)),
        }
    }

    /// Says where the API is, whole or not at all.
    pub fn write_address(&self, address: std::net::SocketAddr) -> io::Result<()> {
        let part = self.root.join("api.addr.part");
        fs::write(&part, format!("{address}\n"))?;
        fs::rename(part, self.address_file())
    }

    /// Where the API is, if a process said so. It may have died since.
    pub fn read_address(&self) -> Option<std::net::SocketAddr> {
        fs::read_to_string(self.address_file()).ok()?.trim().parse().ok()
    }
}
