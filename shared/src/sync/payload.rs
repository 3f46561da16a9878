//! Facts as frames carry them: canonical columns, packed. Knows no places and no groups.

use crate::fact::Fact;
use crate::segment::columns::{self, ColumnsError};
use crate::segment::packing::{self, PackingError};

/// Bytes that are no facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The packing is damaged.
    #[error("packed facts can't be unpacked: {0}")]
    Packing(#[from] PackingError),
    /// The columns are no facts in their one legal form.
    #[error("columns are no facts: {0}")]
    Columns(#[from] ColumnsError),
    /// Another number of facts than announced.
    #[error("{announced} facts were announced and {found} came")]
    Count {
        /// What the frame says.
        announced: u64,
        /// What it holds.
        found: usize,
    },
}

/// Packs facts for the wire.
pub(super) fn pack(facts: &[Fact]) -> Vec<u8> {
    packing::pack(&columns::encode(facts))
}

/// Unpacks exactly `count` facts.
pub(super) fn unpack(packed: &[u8], count: u64) -> Result<Vec<Fact>, PayloadError> {
    let facts = columns::decode(&packing::unpack(packed)?)?;
    if facts.len() as u64 == count {
        Ok(facts)
    } else {
        Err(PayloadError::Count { announced: count, found: facts.len() })
    }
}
