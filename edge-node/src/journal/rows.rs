//! The tables of the journal's file and the bytes of their rows. Knows redb's key and value types
//! and nothing of transactions. Invariant: a row written by this version reads back the same, and
//! every row but plain facts starts with a version byte.

use redb::TableDefinition;
use shared::document::journal::JournalTip;
use shared::fact::{Fact, Malformed};
use shared::ids::{ChangeHash, Head, LogId, Seq};
use shared::segment::chain::WINDOW;
use shared::segment::seal::{Seal, SignedSeal, chunk_of};
use shared::varint::{self, VarintError};

use super::keys::{InputHash, KeyEntry, KeyHash};

/// By name: see the `META_...` names.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// First seq of a commit's facts to a [`TailRow`]: what is not sealed yet.
pub(super) const TAIL: TableDefinition<u64, &[u8]> = TableDefinition::new("tail");
/// First seq of a sealed range to a [`SegmentRow`].
pub(super) const SEGMENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("segments");
/// First seq of a page of sealed facts' idempotency keys to a [`super::key_page::KeyPage`].
pub(super) const KEYS: TableDefinition<u64, &[u8]> = TableDefinition::new("keys");
/// HQ's keyed state: [`shared::catalogue::StateKey`] to a fact.
pub(super) const STATE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("state");
/// (handle, place where it ends) to a batch of keyed state as HQ signed it: what HQ loses can be given
/// back to it.
pub(super) const STATE_SIGNED: TableDefinition<(u64, u64), &[u8]> =
    TableDefinition::new("state_signed");
/// Facts of a checkpoint of keyed state that has not come whole, in order of arrival.
pub(super) const STATE_PENDING: TableDefinition<u64, &[u8]> = TableDefinition::new("state_pending");

/// First seq of a span of facts to what HQ told of them, a [`shared::sync::Span`].
pub(super) const POSTINGS: TableDefinition<u64, &[u8]> = TableDefinition::new("postings");

/// The version of the file: one byte.
pub(super) const META_VERSION: &str = "version";
/// The log's genesis record.
pub(super) const META_GENESIS: &str = "genesis";
/// A snapshot of what is on hand.
pub(super) const META_ON_HAND: &str = "on_hand";
/// What was on hand when the log began, where it follows another.
pub(super) const META_OPENING: &str = "opening";
/// HQ's newest acknowledgement.
pub(super) const META_ACKNOWLEDGEMENT: &str = "acknowledgement";
/// The last time that HQ stated.
pub(super) const META_HQ_TIME: &str = "hq_time";
/// Up to where keyed state is stored, and the handle that is in force.
pub(super) const META_STATE_CURSOR: &str = "state_cursor";
/// The life of HQ's store that told what is in [`POSTINGS`].
pub(super) const META_POSTINGS: &str = "postings";
/// Present in a store that came out of a backup: it records nothing.
pub(super) const META_RESTORED: &str = "restored";

/// The version of the file that this program writes.
pub(super) const VERSION: u8 = 3;
const ROW_VERSION: u8 = 1;

/// The largest value that shares a page of 4 KiB with nothing but its key.
pub(super) const PAGE_VALUE_MAX: usize = 4_040;

/// Bytes that are no row of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRow {
    #[error("a row ends too early")]
    Truncated,
    #[error("a row is of version {0}, which this program does not know")]
    Version(u8),
    #[error("a number in a row is out of range: {0}")]
    Number(#[from] VarintError),
    #[error("a fact in a row does not read: {0}")]
    Fact(#[from] Malformed),
    #[error("bytes follow a row")]
    Trailing,
}

fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], BadRow> {
    let (bytes, rest) = input.split_first_chunk().ok_or(BadRow::Truncated)?;
    *input = rest;
    Ok(*bytes)
}

fn version(input: &mut &[u8]) -> Result<(), BadRow> {
    match take(input)? {
        [ROW_VERSION] => Ok(()),
        [other] => Err(BadRow::Version(other)),
    }
}

/// The facts of one commit, and the keys they were asked for with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TailRow {
    pub(super) facts: Vec<Fact>,
    pub(super) keys: Vec<(KeyHash, KeyEntry)>,
}

impl TailRow {
    pub(super) fn encode(first: Seq, facts: &[Fact], keys: &[(KeyHash, KeyEntry)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + facts.len() * 64 + keys.len() * 24);
        out.push(ROW_VERSION);
        varint::write_unsigned(&mut out, facts.len() as u64);
        for fact in facts {
            fact.encode(&mut out);
        }
        varint::write_unsigned(&mut out, keys.len() as u64);
        for (key, entry) in keys {
            out.extend_from_slice(&key.0);
            varint::write_unsigned(&mut out, entry.first.0 - first.0);
            out.extend_from_slice(&entry.input.0);
        }
        out
    }

    pub(super) fn decode(first: Seq, mut input: &[u8]) -> Result<Self, BadRow> {
        let input = &mut input;
        version(input)?;
        let mut row = Self::default();
        for _ in 0..varint::read_unsigned(input)? {
            row.facts.push(Fact::decode(input)?);
        }
        for _ in 0..varint::read_unsigned(input)? {
            let key = KeyHash(take(input)?);
            let first = Seq(first.0 + varint::read_unsigned(input)?);
            row.keys.push((key, KeyEntry { first, input: InputHash(take(input)?) }));
        }
        if input.is_empty() { Ok(row) } else { Err(BadRow::Trailing) }
    }
}

/// A sealed range: the seal, where its chain and document stand, and the packed facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentRow {
    pub(super) seal: SignedSeal,
    /// The document's tip after the range.
    pub(super) tip: JournalTip,
    /// The head at the start of the window that the next fact belongs to.
    pub(super) window_head: Head,
    pub(super) packed: Vec<u8>,
}

impl SegmentRow {
    /// How much of the row is not facts, at most.
    pub(super) const OVERHEAD_MAX: usize = 1 + 3 + 3 * 32 + 64 + 2 * 5;

    pub(super) fn encode(&self) -> Vec<u8> {
        let Seal { first, last, head, document_head, .. } = self.seal.seal;
        let mut out = Vec::with_capacity(Self::OVERHEAD_MAX + self.packed.len());
        out.push(ROW_VERSION);
        varint::write_unsigned(&mut out, last.0 - first.0);
        out.extend_from_slice(&head.0);
        out.extend_from_slice(&document_head.0);
        out.extend_from_slice(&self.seal.signature);
        varint::write_unsigned(&mut out, self.tip.changes);
        varint::write_unsigned(&mut out, self.tip.max_op);
        out.extend_from_slice(&self.window_head.0);
        out.extend_from_slice(&self.packed);
        out
    }

    pub(super) fn decode(log: LogId, first: Seq, mut input: &[u8]) -> Result<Self, BadRow> {
        let input = &mut input;
        version(input)?;
        let last = Seq(first.0 + varint::read_unsigned(input)?);
        let head = Head(take(input)?);
        let document_head = ChangeHash(take(input)?);
        let seal = Seal { log, first, last, head, document_head };
        let signature = take(input)?;
        let (changes, max_op) = (varint::read_unsigned(input)?, varint::read_unsigned(input)?);
        let tip = JournalTip { chunk: chunk_of(first), changes, max_op, head: Some(document_head) };
        let window_head = Head(take(input)?);
        let seal = SignedSeal { seal, signature };
        Ok(Self { seal, tip, window_head, packed: input.to_vec() })
    }

    /// Where the window begins that the fact after the range belongs to.
    pub(super) const fn window_start(&self) -> Seq {
        let last = self.seal.seal.last.0;
        Seq(last - last % WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::fact::Kind;

    #[test]
    fn rows_read_back() {
        let first = Seq(70_000);
        let facts = vec![Fact::new(Kind::Receipt), Fact::new(Kind::Count)];
        let entry = KeyEntry { first: Seq(70_001), input: InputHash([3; 4]) };
        let keys = vec![(KeyHash([2; 12]), entry)];
        let bytes = TailRow::encode(first, &facts, &keys);
        assert_eq!(TailRow::decode(first, &bytes), Ok(TailRow { facts, keys }));
        for cut in 0..bytes.len() {
            assert!(TailRow::decode(first, &bytes[..cut]).is_err(), "cut at {cut}");
        }
        let (log, head) = (LogId([1; 32]), Head([4; 32]));
        let document_head = ChangeHash([5; 32]);
        let seal = Seal { log, first, last: Seq(70_500), head, document_head };
        let row = SegmentRow {
            seal: SignedSeal { seal, signature: [6; 64] },
            tip: JournalTip { chunk: 1, changes: 9, max_op: 9, head: Some(document_head) },
            window_head: Head([7; 32]),
            packed: vec![1, 2, 3],
        };
        let bytes = row.encode();
        assert!(bytes.len() <= SegmentRow::OVERHEAD_MAX + row.packed.len());
        assert_eq!(SegmentRow::decode(log, first, &bytes), Ok(row));
        assert_eq!(TailRow::decode(first, &[9]), Err(BadRow::Version(9)));
    }
}
