//! What a site is told on demand: items that it does not handle yet. Knows no catalogue. Invariant: an
//! answer is for people to choose from; what a site may record is keyed state alone.

use super::limits;
use super::payload::{self, PayloadError};
use super::wire::{FrameError, Reader, Writer};
use crate::fact::Fact;
use crate::ids::ItemNo;

/// The most bytes of what is searched for.
pub const SEARCH_BYTES_MAX: usize = 64;

/// The most items that an answer names.
pub const FOUND_MAX: usize = 20;

/// The most items that a site takes up at once.
pub const HANDLED_MAX: usize = 64;

/// The most packed bytes of an answer: twenty items with their units.
pub(super) const FOUND_BYTES_MAX: usize = limits::STATE_BYTES_MAX;

/// Items that HQ knows, as facts of keyed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    packed: Vec<u8>,
    count: u64,
    /// There are more that fit the search.
    pub more: bool,
}

impl Found {
    /// Packs facts of at most [`FOUND_MAX`] items.
    pub fn new(facts: &[Fact], more: bool) -> Self {
        Self { packed: payload::pack(facts), count: facts.len() as u64, more }
    }

    /// The items with what belongs to them.
    pub fn facts(&self) -> Result<Vec<Fact>, PayloadError> {
        payload::unpack(&self.packed, self.count)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.unsigned(self.more);
        out.unsigned(self.count);
        out.bytes(&self.packed);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let more = input.flag("whether there is more")?;
        let count = input.unsigned()?;
        let packed = input.bytes(FOUND_BYTES_MAX, "items that were found")?.to_vec();
        Ok(Self { packed, count, more })
    }
}

pub(super) fn write_items(out: &mut Writer, items: &[ItemNo]) {
    out.unsigned(items.len() as u64);
    for item in items {
        out.unsigned(*item);
    }
}

pub(super) fn read_items(input: &mut Reader<'_>) -> Result<Vec<ItemNo>, FrameError> {
    let count = input.unsigned()?;
    if count == 0 || count > HANDLED_MAX as u64 {
        return Err(FrameError::BadValue("how many items a site takes up"));
    }
    (0..count).map(|_| Ok(ItemNo(input.small("an item")?))).collect()
}
