//! Where the sequence and its effects are kept. Knows no rule of the books.
//!
//! Storage stays behind [`Store`]: nothing outside this folder knows which database it is.
//! Invariant: an entry and what it led to become durable in one commit, or not at all.

mod block;
pub(crate) mod copy;
mod entry;
mod error;
pub(crate) mod guard;
mod index;
mod packing;
mod redb_store;

use std::fmt::Debug;
use std::path::Path;

use shared::ids::{CompanyNo, HistoryId, Seq};
use shared::sync::Position;
use shared::time::Month;

pub use entry::{Block, EntryNo, Record, RunEntry, SequenceEntry};
pub(crate) use error::is_full;
pub use error::{DamagedFile, FileError};
pub use redb_store::RedbStore;

use crate::gateway::intake::LogNo;

/// How far a log is in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequenced {
    /// The log.
    pub log: LogNo,
    /// Its last sequenced fact, with the head after it.
    pub position: Position,
    /// The entry that took it.
    pub entry: EntryNo,
}

/// A state hash that was written beside the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// After this entry.
    pub entry: EntryNo,
    /// The hash of the books.
    pub state: [u8; 32],
}

/// A numbered place for a voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VoucherKey {
    /// The company.
    pub company: CompanyNo,
    /// The ledger month.
    pub month: Month,
    /// Its number there.
    pub number: u32,
}

/// The sequence with its effects.
pub trait Store: Debug + Send + Sync {
    /// The life of this store; a restore starts another.
    fn history(&self) -> HistoryId;

    /// The last entry.
    fn last(&self) -> Result<EntryNo, FileError>;

    /// Appends records after the last entry, durably.
    fn append(&self, records: &[Record]) -> Result<(), FileError>;

    /// The entries of the block that holds `no`, with the place of the first; `None` beyond the
    /// last entry.
    fn entries(&self, no: EntryNo) -> Result<Option<(EntryNo, Vec<SequenceEntry>)>, FileError>;

    /// The block that holds an entry; `None` beyond the last one.
    fn block(&self, no: EntryNo) -> Result<Option<Block>, FileError>;

    /// The block that holds a voucher, if there is such a voucher.
    fn voucher_block(&self, key: VoucherKey) -> Result<Option<Block>, FileError>;

    /// The block that took a fact, if it is sequenced.
    fn fact_block(&self, log: LogNo, seq: Seq) -> Result<Option<Block>, FileError>;

    /// How far every log is.
    fn sequenced(&self) -> Result<Vec<Sequenced>, FileError>;

    /// The last checkpoint.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, FileError>;

    /// Writes the books' state hash beside the last entry.
    fn put_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), FileError>;

    /// Copies everything, as of one commit, to a new file.
    fn copy_to(&self, path: &Path) -> Result<(), FileError>;

    /// Bytes in allocated pages, and the rows' own bytes.
    fn size(&self) -> Result<(u64, u64), FileError>;
}
