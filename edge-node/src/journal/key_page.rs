//! A page of remembered keys: the keys of consecutive facts, in the log's order, so that pages are
//! only ever added at the end and dropped at the beginning. Bytes alone; knows no store.
//! Invariant: what was put in reads back, and a page never outgrows a page of the store.
//!
//! The bytes: version (1), recorded-at of the newest key (8, little-endian), then per key: hash
//! (12), seq less the one before as a varint (the first: less the page's own), input hash (4).

use shared::ids::Seq;
use shared::time::Timestamp;
use shared::varint;

use super::keys::{InputHash, KeyEntry, KeyHash};
use super::rows::{BadRow, PAGE_VALUE_MAX};

const VERSION: u8 = 1;
const HEADER: usize = 1 + 8;
/// A key's bytes, at most.
const ENTRY_MAX: usize = 12 + 10 + 4;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyPage {
    /// The page's own place: the first fact of its first key.
    pub(super) first: Seq,
    /// The first fact of its last key.
    pub(super) last: Seq,
    /// When that was recorded.
    pub(super) newest: Timestamp,
    bytes: Vec<u8>,
}

impl KeyPage {
    /// An empty page for keys from `first` on.
    pub(super) fn begin(first: Seq) -> Self {
        let mut bytes = Vec::with_capacity(PAGE_VALUE_MAX);
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; 8]);
        Self { first, last: first, newest: Timestamp(0), bytes }
    }

    /// Reads a stored page.
    pub(super) fn decode(first: Seq, bytes: &[u8]) -> Result<Self, BadRow> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(BadRow::Truncated)?;
        if header[0] != VERSION {
            return Err(BadRow::Version(header[0]));
        }
        let newest = i64::from_le_bytes(*header.last_chunk().expect("nine bytes end with eight"));
        let mut page =
            Self { first, last: first, newest: Timestamp(newest), bytes: bytes.to_vec() };
        page.last = page.entries().last().transpose()?.map_or(first, |(_, entry)| entry.first);
        Ok(page)
    }

    /// As it is stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a page of the store has no room for another key.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() + ENTRY_MAX > PAGE_VALUE_MAX
    }

    /// Adds the key of a fact that comes after all others here.
    pub(super) fn push(&mut self, key: KeyHash, entry: KeyEntry, recorded_at: Timestamp) {
        assert!(!self.is_full(), "whoever adds asks first");
        self.bytes.extend_from_slice(&key.0);
        let step = entry.first.0.checked_sub(self.last.0).expect("keys come in the log's order");
        varint::write_unsigned(&mut self.bytes, step);
        self.bytes.extend_from_slice(&entry.input.0);
        self.last = entry.first;
        self.newest = self.newest.max(recorded_at);
        self.bytes[1..HEADER].copy_from_slice(&self.newest.0.to_le_bytes());
    }

    /// The keys in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<(KeyHash, KeyEntry), BadRow>> {
        let mut input = &self.bytes[HEADER..];
        let mut last = self.first.0;
        std::iter::from_fn(move || {
            if input.is_empty() {
                return None;
            }
            let entry = read_entry(&mut input, last);
            match &entry {
                Ok((_, entry)) => last = entry.first.0,
                Err(_) => input = &[],
            }
            Some(entry)
        })
    }

    /// What stands under a key here.
    pub(super) fn find(&self, wanted: KeyHash) -> Result<Option<KeyEntry>, BadRow> {
        for entry in self.entries() {
            let (key, entry) = entry?;
            if key == wanted {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

fn read_entry(input: &mut &[u8], last: u64) -> Result<(KeyHash, KeyEntry), BadRow> {
    let (key, rest) = input.split_first_chunk().ok_or(BadRow::Truncated)?;
    *input = rest;
    let step = varint::read_unsigned(input)?;
    let first = Seq(last.checked_add(step).ok_or(BadRow::Truncated)?);
    let (hash, rest) = input.split_first_chunk().ok_or(BadRow::Truncated)?;
    *input = rest;
    Ok((KeyHash(*key), KeyEntry { first, input: InputHash(*hash) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> (KeyHash, KeyEntry) {
        let mut hash = [0; 12];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        (KeyHash(hash), KeyEntry { first: Seq(number), input: InputHash([7; 4]) })
    }

    #[test]
    fn a_page_reads_back_and_fits_a_page_of_the_store() {
        let mut page = KeyPage::begin(Seq(70_000));
        let mut count = 0;
        while !page.is_full() {
            let (hash, entry) = key(70_000 + 3 * count);
            page.push(hash, entry, Timestamp(i64::try_from(count).expect("small")));
            count += 1;
        }
        assert!(count > 230, "{count} keys share a page");
        assert!(page.bytes().len() <= PAGE_VALUE_MAX);
        let read = KeyPage::decode(Seq(70_000), page.bytes()).expect("reads back");
        assert_eq!(read, page);
        assert_eq!(read.newest.0.unsigned_abs(), count - 1);
        let (hash, entry) = key(70_000 + 3 * (count - 1));
        assert_eq!(page.find(hash), Ok(Some(entry)));
        assert_eq!(page.find(key(1).0), Ok(None));
    }

    #[test]
    fn what_is_no_page_says_so() {
        let mut page = KeyPage::begin(Seq(5));
        let (hash, entry) = key(9);
        page.push(hash, entry, Timestamp(1));
        for cut in (0..HEADER).chain(HEADER + 1..page.bytes().len()) {
            assert!(KeyPage::decode(Seq(5), &page.bytes()[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(KeyPage::decode(Seq(5), &[9; 30]), Err(BadRow::Version(9)));
    }
}
