//! Facts as frames carry them: canonical columns, packed; a few also as what differs from the fact
//! before. Knows no places and no groups.

use super::following::{self, BadFollowing, FOLLOWING_MAX};
use crate::fact::Fact;
use crate::segment::columns::{self, ColumnsError};
use crate::segment::packing::{self, PackingError};

/// What differs from the fact before follows; other first bytes are those of packed columns.
const FOLLOWING: u8 = 2;

/// Bytes that are no facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The packing is damaged.
    #[error("packed facts can't be unpacked: {0}")]
    Packing(#[from] PackingError),
    /// The columns are no facts in their one legal form.
    #[error("columns are no facts: {0}")]
    Columns(#[from] ColumnsError),
    /// What differs from the fact before makes no facts.
    #[error("facts can't be read after the one before: {0}")]
    Following(#[from] BadFollowing),
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

/// As [`pack`], for a reader that has the fact before.
pub(super) fn pack_after(before: Option<&Fact>, facts: &[Fact]) -> Vec<u8> {
    let packed = pack(facts);
    let Some(before) = before.filter(|_| facts.len() <= FOLLOWING_MAX) else { return packed };
    let mut following = vec![FOLLOWING];
    following::write(before, facts, &mut following);
    if following.len() < packed.len() { following } else { packed }
}

/// Unpacks exactly `count` facts.
pub(super) fn unpack(packed: &[u8], count: u64) -> Result<Vec<Fact>, PayloadError> {
    unpack_after(None, packed, count)
}

/// As [`unpack`], with the fact before: a few may say what differs from it.
pub(super) fn unpack_after(
    before: Option<&Fact>,
    packed: &[u8],
    count: u64,
) -> Result<Vec<Fact>, PayloadError> {
    if let [FOLLOWING, following @ ..] = packed {
        return Ok(following::read(before, count, following)?);
    }
    let facts = columns::decode(&packing::unpack(packed)?)?;
    if facts.len() as u64 == count {
        Ok(facts)
    } else {
        Err(PayloadError::Count { announced: count, found: facts.len() })
    }
}
