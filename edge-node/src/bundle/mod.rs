//! The log as a file for HQ, and HQ's answer out of one: what the link does, for a warehouse that
//! has none. Knows no HTTP and no command. Invariants: a file for HQ ends with a head that is
//! signed; nothing of a file from HQ counts that would not count over a connection, and a file that
//! is damaged anywhere changes nothing.

mod export;
mod import;

use std::io;

use ed25519_dalek::{SigningKey, VerifyingKey};
use shared::ids::{HistoryId, LogId, Seq};
use shared::sync::bundle::BundleError;
use shared::sync::edge::EdgeEnd;

use crate::documents::Documents;
use crate::journal::{Journal, StateError, StoreError, is_full};
use crate::link::{Identity, Wall};

pub use export::{Export, Since};
pub use import::Imported;

/// How much is read or written at once.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// The keys of both sides.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Signs this node's log, and decrypts what HQ sends.
    pub own: SigningKey,
    /// Signs what HQ says, and is encrypted to.
    pub hq: VerifyingKey,
    /// The life of HQ's store when this node enrolled.
    pub history: HistoryId,
}

impl Keys {
    /// Those of an enrolled node; `None` before.
    pub fn of(identity: &Identity) -> Option<Self> {
        let enrolment = identity.enrolment()?;
        Some(Self {
            own: identity.log_key().clone(),
            hq: enrolment.hq_key,
            history: enrolment.history,
        })
    }
}

/// Makes and takes bundles of one node.
#[derive(Clone, Debug)]
pub struct Bundles {
    journal: Journal,
    keys: Keys,
    wall: Wall,
    documents: Option<Documents>,
}

impl Bundles {
    /// Bundles of the log in `journal`, on the node's clock.
    pub const fn new(journal: Journal, keys: Keys, wall: Wall) -> Self {
        Self { journal, keys, wall, documents: None }
    }

    /// The same with the node's shared documents.
    #[must_use]
    pub fn with_documents(self, documents: Documents) -> Self {
        Self { documents: Some(documents), ..self }
    }
}

/// Why a bundle is not made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store came out of a backup.
    #[error(
        "this node was restored from a backup, and its log is not its own any more: get a code at HQ \
         (hq-server site code) and run 'edge-node enrol CODE'"
    )]
    Restored,
    /// The log is shorter.
    #[error(
        "this node's log ends at fact {last}, so there is nothing after fact {after}: see 'edge-node status'"
    )]
    BeyondEnd {
        /// Where it was to start.
        after: Seq,
        /// Where the log ends.
        last: Seq,
    },
    /// The outside or the keys.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The journal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// No room where it is written.
    #[error("there is no room for the bundle: free some space and export it again")]
    NoRoom,
    /// It can't be written.
    #[error("the bundle can't be written: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::NoRoom } else { Self::Io(error) }
    }
}

/// Why a bundle is not taken. Nothing changed, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is damaged, somebody else's, or goes the other way.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It is about another log.
    #[error(
        "this bundle answers log {}, and this node writes log {}: it is for another installation; \
         import it there", .bundle.short(), .own.short()
    )]
    OtherLog {
        /// What the bundle is about.
        bundle: LogId,
        /// This node's.
        own: LogId,
    },
    /// What ends a connection.
    #[error(transparent)]
    Session(#[from] EdgeEnd),
    /// Master data that does not read.
    #[error("HQ's master data can't be read ({0}): update edge-node, then import the bundle again")]
    BadState(String),
    /// The journal.
    #[error("{0}; what came before it in the bundle is kept: import it again")]
    Store(#[from] StoreError),
    /// The file can't be read.
    #[error("the bundle can't be read: {0}")]
    Io(#[from] io::Error),
}

impl From<StateError> for ImportError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Store(error) => Self::Store(error),
            error => Self::BadState(error.to_string()),
        }
    }
}
