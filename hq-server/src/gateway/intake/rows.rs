//! What the intake file's rows say: logs, how far they are, and their facts in pieces, as bytes and
//! back. Knows no table and no chain rule. Invariant: what reads is what was written; anything else
//! is damage.

use shared::document::journal::JournalTip;
use shared::fact::Fact;
use shared::ids::{DeviceNo, Head, LogId, Seq, SiteNo};
use shared::segment::{columns, packing};
use shared::sync::Position;
use shared::time::Timestamp;
use shared::varint;

use crate::store::{DamagedFile, FileError};

/// What the file is called in words to people.
pub(super) const FILE: &str = "intake.redb";

/// The number of a log inside HQ's files, dense from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogNo(pub u32);

/// A log as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The number inside HQ's files.
    pub no: LogNo,
    /// The log.
    pub log: LogId,
    /// Its site.
    pub site: SiteNo,
    /// Its installation.
    pub device: DeviceNo,
    /// The key that signs its seals.
    pub public_key: [u8; 32],
    /// The genesis record's bytes.
    pub genesis: Vec<u8>,
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The last fact.
    pub(super) last: Seq,
    /// The chain's head after it.
    pub(super) head: Head,
    /// The last sealed fact.
    pub(super) sealed: Seq,
    /// The journal document after the last seal.
    pub(super) tip: JournalTip,
}

/// Consecutive facts of a log, as they came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The place of the first fact.
    pub first: Seq,
    /// The place of the last one.
    pub last: Seq,
    /// The chain's head after the last one.
    pub head: Head,
    /// When HQ received them.
    pub received_at: Timestamp,
    /// The facts.
    pub facts: Vec<Fact>,
}

pub(super) fn damaged(what: &'static str) -> FileError {
    FileError::Damaged(DamagedFile { file: FILE, what })
}

fn take<'a>(
    input: &mut &'a [u8],
    length: usize,
    what: &'static str,
) -> Result<&'a [u8], FileError> {
    let bytes = input.get(..length).ok_or_else(|| damaged(what))?;
    *input = &input[length..];
    Ok(bytes)
}

pub(super) fn take_hash(input: &mut &[u8], what: &'static str) -> Result<[u8; 32], FileError> {
    take(input, 32, what).map(|bytes| bytes.try_into().expect("32 bytes were taken"))
}

pub(super) fn take_number(input: &mut &[u8], what: &'static str) -> Result<u64, FileError> {
    varint::read_raw(input).map_err(|_| damaged(what))
}

impl LogRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        varint::write_unsigned(&mut out, self.site.0.into());
        varint::write_unsigned(&mut out, self.device.0.into());
        out.extend_from_slice(&self.log.0);
        out.extend_from_slice(&self.public_key);
        out.extend_from_slice(&self.genesis);
        out
    }

    pub(super) fn decode(no: LogNo, mut bytes: &[u8]) -> Result<Self, FileError> {
        const WHAT: &str = "a log's record";
        let small = |value: u64| u32::try_from(value).map_err(|_| damaged(WHAT));
        let input = &mut bytes;
        Ok(Self {
            no,
            site: SiteNo(small(take_number(input, WHAT)?)?),
            device: DeviceNo(small(take_number(input, WHAT)?)?),
            log: LogId(take_hash(input, WHAT)?),
            public_key: take_hash(input, WHAT)?,
            genesis: input.to_vec(),
        })
    }
}

impl Cursor {
    /// Before the first fact.
    pub(super) fn start(head: Head) -> Self {
        Self { last: Seq::ZERO, head, sealed: Seq::ZERO, tip: JournalTip::start(0) }
    }

    /// As far as the tail goes, which was looked at before the row: it may have moved meanwhile.
    pub(super) fn with_tail(self, tail: Option<Position>) -> Self {
        match tail {
            Some(tail) if tail.last > self.last => {
                Self { last: tail.last, head: tail.head, ..self }
            }
            _ => self,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        varint::write_unsigned(&mut out, self.last.0);
        out.extend_from_slice(&self.head.0);
        varint::write_unsigned(&mut out, self.sealed.0);
        out.extend_from_slice(&self.tip.encode());
        out
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, FileError> {
        const WHAT: &str = "a log's cursor";
        let input = &mut bytes;
        Ok(Self {
            last: Seq(take_number(input, WHAT)?),
            head: Head(take_hash(input, WHAT)?),
            sealed: Seq(take_number(input, WHAT)?),
            tip: JournalTip::decode(input).map_err(|_| damaged(WHAT))?,
        })
    }
}

impl Piece {
    /// The facts of a range, as far as they are in the piece. `first` is in it.
    pub fn part(&self, first: Seq, last: Seq) -> &[Fact] {
        let index = |seq: Seq| usize::try_from(seq.0 - self.first.0).expect("a piece fits memory");
        &self.facts[index(first)..=index(last.min(self.last))]
    }

    /// Adds the facts that follow.
    pub(crate) fn append(&mut self, next: &Self) {
        assert_eq!(self.last.next(), next.first, "pieces of a log are consecutive");
        self.go_on_in(next);
    }

    /// Adds the facts that follow, out of a piece that holds the next one. It may begin earlier: small
    /// pieces are joined while they are read.
    pub(crate) fn go_on_in(&mut self, other: &Self) {
        let next = self.last.next();
        assert!((other.first..=other.last).contains(&next), "it holds the next fact");
        self.facts.extend_from_slice(other.part(next, other.last));
        (self.last, self.head) = (other.last, other.head);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.facts.len() * 8);
        varint::write_unsigned(&mut out, self.last.0 - self.first.0);
        varint::write_signed(&mut out, self.received_at.0);
        out.extend_from_slice(&self.head.0);
        out.extend_from_slice(&packing::pack(&columns::encode(&self.facts)));
        out
    }

    pub(super) fn decode(first: Seq, mut bytes: &[u8]) -> Result<Self, FileError> {
        const WHAT: &str = "facts of a log";
        let input = &mut bytes;
        let last = Seq(first.0 + take_number(input, WHAT)?);
        let received_at = Timestamp(varint::read_signed(input).map_err(|_| damaged(WHAT))?);
        let head = Head(take_hash(input, WHAT)?);
        let columns = packing::unpack(input).map_err(|_| damaged(WHAT))?;
        let facts = columns::decode(&columns).map_err(|_| damaged(WHAT))?;
        if facts.len() as u64 != last.0 - first.0 + 1 {
            return Err(damaged(WHAT));
        }
        Ok(Self { first, last, head, received_at, facts })
    }
}

#[cfg(test)]
mod tests {
    use shared::fact::Kind;
    use shared::fact::field::CAPTURE_COUNTER;

    use super::*;

    fn piece(first: u64, last: u64) -> Piece {
        let fact = |seq: u64| {
            let mut fact = Fact::new(Kind::Receipt);
            CAPTURE_COUNTER.put(&mut fact, Some(seq)).expect("a legal field");
            fact
        };
        Piece {
            first: Seq(first),
            last: Seq(last),
            head: Head([last.to_le_bytes()[0]; 32]),
            received_at: Timestamp(0),
            facts: (first..=last).map(fact).collect(),
        }
    }

    #[test]
    fn a_piece_goes_on_in_one_that_was_joined_meanwhile() {
        for begins in [1, 2, 4] {
            let mut read = piece(2, 3);
            read.go_on_in(&piece(begins, 6));
            assert_eq!(read, piece(2, 6));
        }
    }
}
