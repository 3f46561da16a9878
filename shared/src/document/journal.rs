//! The journal document: the sealed part of a log as Automerge sees it, one document per log and
//! chunk, a map from first seq to canonical columns. Reads no Automerge bytes of others.
//! Invariant: the change that holds a seal is a pure function of log, place and columns, so every
//! replica computes the same hash; it equals what the pinned library makes of the same put.

use automerge::{Automerge, Change, ReadDoc};
use sha2::{Digest, Sha256};

use crate::ids::{ChangeHash, LogId, Seq};
use crate::segment::context;
use crate::segment::seal::chunk_of;
use crate::varint::{self, VarintError};

/// How far the document of a chunk has come: all that the next change needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalTip {
    /// The chunk.
    pub chunk: u64,
    /// How many changes the document has.
    pub changes: u64,
    /// The counter of its last operation.
    pub max_op: u64,
    /// The hash of its last change; `None` before the first.
    pub head: Option<ChangeHash>,
}

/// Bytes that are no journal tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TipError {
    /// A number has no legal form.
    #[error("a number of a journal tip is out of range: {0}")]
    Number(#[from] VarintError),
    /// Neither no head nor one of 32 bytes follows the numbers.
    #[error("a journal tip ends in {0} bytes: a head has 32 and follows the first change only")]
    BadHead(usize),
}

impl JournalTip {
    /// Before the first change of a chunk.
    pub const fn start(chunk: u64) -> Self {
        Self { chunk, changes: 0, max_op: 0, head: None }
    }

    /// Bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        varint::write_unsigned(&mut out, self.chunk);
        varint::write_unsigned(&mut out, self.changes);
        varint::write_unsigned(&mut out, self.max_op);
        out.extend_from_slice(self.head.as_ref().map_or(&[], |head| &head.0));
        out
    }

    /// Reads what [`JournalTip::encode`] wrote.
    pub fn decode(mut input: &[u8]) -> Result<Self, TipError> {
        let input = &mut input;
        let chunk = varint::read_unsigned(input)?;
        let changes = varint::read_unsigned(input)?;
        let max_op = varint::read_unsigned(input)?;
        let head = match (changes, <[u8; 32]>::try_from(*input)) {
            (0, _) if input.is_empty() => None,
            (1.., Ok(head)) => Some(ChangeHash(head)),
            _ => return Err(TipError::BadHead(input.len())),
        };
        Ok(Self { chunk, changes, max_op, head })
    }
}

/// The key of a sealed range in the document's root map: its first seq, 16 digits, so that keys
/// sort as places do.
pub fn key(first: Seq) -> String {
    format!("{:016}", first.0)
}

/// The actor of a chunk's document: one writer, so every replica can name it.
pub fn actor(log: &LogId, chunk: u64) -> [u8; 16] {
    let input = [log.0.as_slice(), &chunk.to_be_bytes()].concat();
    let hash = context::hash(context::JOURNAL_ACTOR, &input);
    *hash.first_chunk().expect("a hash has 32 bytes")
}

/// Puts the canonical columns of the range that starts at `first` into the document of its chunk.
///
/// `tip` is that of the range before; where `first` lies in a later chunk, its document starts.
/// Returns the tip after it, whose head is the seal's `document_head`, and the raw bytes of the
/// change.
pub fn append(log: &LogId, tip: &JournalTip, first: Seq, columns: &[u8]) -> (JournalTip, Vec<u8>) {
    let chunk = chunk_of(first);
    let tip = if tip.chunk == chunk { *tip } else { JournalTip::start(chunk) };
    let contents = change_contents(&actor(log, chunk), &tip, &key(first), columns);
    let (hash, bytes) = change_chunk(&contents);
    let next =
        JournalTip { chunk, changes: tip.changes + 1, max_op: tip.max_op + 1, head: Some(hash) };
    (next, bytes)
}

/// Automerge's number for a value of bytes, in the low four bits beside its length.
const VALUE_BYTES: u64 = 7;

/// The contents of a change chunk: one put of bytes at a new key of the root map.
///
/// Source: Automerge binary format, "Change chunks".
fn change_contents(actor: &[u8; 16], tip: &JournalTip, key: &str, columns: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(columns.len() + 160);
    varint::write_unsigned(&mut out, u64::from(tip.head.is_some())); // dependencies
    out.extend_from_slice(tip.head.as_ref().map_or(&[], |head| &head.0));
    put_bytes(&mut out, actor);
    varint::write_unsigned(&mut out, tip.changes + 1); // sequence number of the actor
    varint::write_unsigned(&mut out, tip.max_op + 1); // counter of the only operation
    out.extend_from_slice(&[0, 0, 0]); // time 0, no message, no other actors

    // A run of one literal (-1 as signed LEB128), then the value.
    let mut key_column = vec![0x7f];
    put_bytes(&mut key_column, key.as_bytes());
    let mut value_meta = vec![0x7f];
    varint::write_unsigned(&mut value_meta, (columns.len() as u64) << 4 | VALUE_BYTES);
    // (specification: column number x 16 + type, bytes)
    let column_data: [(u64, &[u8]); 6] = [
        (0x15, &key_column), // key, string
        (0x34, &[1]),        // insert: one false
        (0x42, &[0x7f, 1]),  // action: put
        (0x56, &value_meta), // value: type and length
        (0x57, columns),     // value: bytes
        (0x70, &[0x7f, 0]),  // predecessors: none
    ];
    let present = || column_data.iter().filter(|(_, data)| !data.is_empty());
    varint::write_unsigned(&mut out, present().count() as u64);
    for (specification, data) in present() {
        varint::write_unsigned(&mut out, *specification);
        varint::write_unsigned(&mut out, data.len() as u64);
    }
    present().for_each(|(_, data)| out.extend_from_slice(data));
    out
}

/// A length and that many bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::write_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A change chunk around its contents, and the change's hash.
pub(super) fn change_chunk(contents: &[u8]) -> (ChangeHash, Vec<u8>) {
    let mut hashed = vec![1]; // type: change
    varint::write_unsigned(&mut hashed, contents.len() as u64);
    let hash: [u8; 32] =
        Sha256::new().chain_update(&hashed).chain_update(contents).finalize().into();
    let mut bytes = Vec::with_capacity(contents.len() + 16);
    bytes.extend_from_slice(&[0x85, 0x6f, 0x4a, 0x83]);
    bytes.extend_from_slice(&hash[..4]);
    bytes.extend_from_slice(&hashed);
    bytes.extend_from_slice(contents);
    (ChangeHash(hash), bytes)
}

/// Changes that make no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A change does not read as one.
    #[error("change {index} of the journal document does not read: {reason}")]
    BadChange {
        /// Counts from 0.
        index: usize,
        /// In the library's words.
        reason: String,
    },
    /// The changes do not follow each other.
    #[error("the changes make no document: {0}")]
    NotADocument(String),
    /// A change is missing: give all of a chunk, in order.
    #[error("the journal document lacks {0} changes that others build on: give all of a chunk")]
    Missing(usize),
}

/// An Automerge document of the changes that [`append`] made for one chunk: any Automerge program
/// loads it.
///
/// For changes made here only: the library must not be given bytes of strangers.
pub fn export(changes: &[Vec<u8>]) -> Result<Vec<u8>, ExportError> {
    let read = |(index, bytes): (usize, &Vec<u8>)| {
        Change::try_from(bytes.as_slice())
            .map_err(|error| ExportError::BadChange { index, reason: error.to_string() })
    };
    let changes: Vec<_> = changes.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let mut document = Automerge::new();
    document
        .apply_changes(changes)
        .map_err(|error| ExportError::NotADocument(error.to_string()))?;
    match document.get_missing_deps(&[]).len() {
        0 => Ok(document.save()),
        missing => Err(ExportError::Missing(missing)),
    }
}

#[cfg(test)]
mod tests {
    use automerge::transaction::{CommitOptions, Transactable};
    use automerge::{ActorId, AutomergeError, ROOT, ScalarValue};

    use super::*;
    use crate::segment::seal::CHUNK_FACTS;

    const LOG: LogId = LogId([3; 32]);

    /// What the library makes of the same puts.
    struct Library {
        document: Automerge,
    }

    impl Library {
        fn new(chunk: u64) -> Self {
            let actor = ActorId::from(actor(&LOG, chunk).as_slice());
            Self { document: Automerge::new().with_actor(actor) }
        }

        fn put(&mut self, first: Seq, columns: &[u8]) -> Vec<u8> {
            let hash = self
                .document
                .transact_with::<_, _, AutomergeError, _>(
                    |()| CommitOptions::default().with_time(0),
                    |tx| tx.put(ROOT, key(first), ScalarValue::Bytes(columns.to_vec())),
                )
                .expect("a put can't fail")
                .hash
                .expect("a put is a change");
            self.document.get_change_by_hash(&hash).expect("just made").raw_bytes().to_vec()
        }
    }

    fn columns(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 31 + seed * 7).to_le_bytes()[0]).collect()
    }

    #[test]
    fn changes_equal_those_of_the_library_over_many_seals() {
        for chunk in [0, 1, 700] {
            let mut library = Library::new(chunk);
            let mut tip = JournalTip::start(chunk);
            let mut changes = Vec::new();
            let mut first = Seq(chunk * CHUNK_FACTS + 1);
            let lengths = [0, 1, 7, 8, 127, 128, 255, 256, 1_023, 1_024, 5_000, 200_000];
            for (seed, length) in lengths.iter().cycle().take(300).enumerate() {
                let columns = columns(*length, seed);
                let (next, change) = append(&LOG, &tip, first, &columns);
                assert!(change == library.put(first, &columns), "seal {seed} of chunk {chunk}");
                let heads = library.document.get_heads();
                assert_eq!(
                    heads.iter().map(|head| head.0).collect::<Vec<_>>(),
                    [next.head.expect("made").0]
                );
                tip = next;
                changes.push(change);
                first = Seq(first.0 + 1 + seed as u64 % 200);
            }
            let saved = export(&changes).expect("exports");
            assert!(saved == library.document.save(), "the exported document of chunk {chunk}");
            let loaded = Automerge::load(&saved).expect("loads");
            assert_eq!(loaded.get_heads(), library.document.get_heads());
            let stored = loaded.get(ROOT, key(Seq(chunk * CHUNK_FACTS + 1))).expect("reads");
            assert_eq!(stored.expect("is there").0.as_bytes(), Some([].as_slice()));
        }
    }

    #[test]
    fn a_later_chunk_starts_its_own_document() {
        let (tip, _) = append(&LOG, &JournalTip::default(), Seq(1), b"columns");
        let (next, change) = append(&LOG, &tip, Seq(CHUNK_FACTS + 1), b"columns");
        let (fresh, same) = append(&LOG, &JournalTip::start(1), Seq(CHUNK_FACTS + 1), b"columns");
        assert_eq!((next, &change), (fresh, &same));
        assert_eq!((next.chunk, next.changes), (1, 1));
    }

    #[test]
    fn export_wants_whole_documents() {
        let (tip, first) = append(&LOG, &JournalTip::default(), Seq(1), b"a");
        let (_, second) = append(&LOG, &tip, Seq(2), b"b");
        assert_eq!(export(std::slice::from_ref(&second)), Err(ExportError::Missing(1)));
        assert!(export(&[second, first]).is_ok());
        assert!(matches!(export(&[vec![1, 2]]), Err(ExportError::BadChange { index: 0, .. })));
    }

    #[test]
    fn tips_read_back() {
        let (after, _) = append(&LOG, &JournalTip::default(), Seq(1), b"a");
        for tip in [JournalTip::default(), JournalTip::start(9), after] {
            assert_eq!(JournalTip::decode(&tip.encode()), Ok(tip));
        }
        assert_eq!(JournalTip::decode(&[0, 1, 1]), Err(TipError::BadHead(0)));
        assert_eq!(JournalTip::decode(&[0, 0, 0, 9]), Err(TipError::BadHead(1)));
    }
}
