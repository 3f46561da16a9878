//! What HQ states about facts whose time was in doubt: when they happened. Knows the fields; what
//! follows from it is the books' to say.

use super::{Fact, Malformed, Reader, ReasonNo, Unreadable, field};
use crate::ids::{LogId, Seq};

/// Facts of a log that count as if they happened when the retime says it happened itself. Those in the
/// range whose time is not in doubt stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retime {
    /// The log.
    pub log: LogId,
    /// The first fact.
    pub first: Seq,
    /// The last, not before the first.
    pub last: Seq,
    /// Why a person says so.
    pub reason: Option<ReasonNo>,
}

impl Retime {
    pub(super) fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let first = Seq(reader.need("LOG_SEQ", field::LOG_SEQ.at(reader.fields))?);
        let last = Seq(reader.need("NUMBER", field::NUMBER.at(reader.fields))?);
        if last < first {
            return Err(reader.bad("NUMBER", "is before LOG_SEQ"));
        }
        let log = LogId(reader.hash(field::LOG)?);
        Ok(Self { log, first, last, reason: reader.number(field::REASON, ReasonNo)? })
    }

    pub(super) fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        field::REASON.put(fact, self.reason)?;
        field::NUMBER.put(fact, Some(self.last))?;
        field::LOG.put(fact, Some(self.log.0.as_slice()))?;
        field::LOG_SEQ.put(fact, Some(self.first))
    }

    /// Whether it speaks of a place in its log.
    pub fn covers(&self, seq: Seq) -> bool {
        (self.first..=self.last).contains(&seq)
    }
}
