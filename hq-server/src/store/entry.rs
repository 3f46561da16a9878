//! The sequence: which facts HQ took, in which order, and what each entry led to. Knows no facts
//! (they are in the intake file) and no file.

use std::fmt;

use shared::ids::{Head, Seq};
use shared::time::Timestamp;

use crate::books::Voucher;
use crate::gateway::intake::LogNo;

/// A place in the sequence; the first entry is 1. There are no gaps and none ever changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryNo(pub u64);

impl EntryNo {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The next place.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for EntryNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Consecutive facts of a log, whole groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEntry {
    /// The log.
    pub log: LogNo,
    /// Its first fact in the run.
    pub first: Seq,
    /// Its last fact in the run.
    pub last: Seq,
    /// The chain's head after the last fact.
    pub head: Head,
    /// When HQ received the first of them.
    pub received_at: Timestamp,
}

/// One entry of the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequenceEntry {
    /// Facts for the books.
    Run(RunEntry),
    /// Pools that late facts changed are folded again.
    Settle,
    /// Facts that the books can't take: set aside, so that later ones of the site still post.
    Held {
        /// The facts.
        run: RunEntry,
        /// Why.
        reason: String,
    },
}

/// An entry with what it led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The entry.
    pub entry: SequenceEntry,
    /// Its vouchers, in order.
    pub vouchers: Vec<Voucher>,
    /// Groups that wait from then on, by their number among all that ever waited.
    pub waiting: Vec<u64>,
    /// Groups that waited and then had effect.
    pub released: Vec<u64>,
}

/// Consecutive entries that were committed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The place of the first record.
    pub first: EntryNo,
    /// The records.
    pub records: Vec<Record>,
}

impl Block {
    /// The place of the last record.
    pub fn last(&self) -> EntryNo {
        EntryNo(self.first.0 + self.records.len() as u64 - 1)
    }

    /// The records with their places.
    pub fn numbered(&self) -> impl Iterator<Item = (EntryNo, &Record)> {
        (self.first.0..).map(EntryNo).zip(&self.records)
    }
}
