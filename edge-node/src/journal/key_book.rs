//! The keys that this journal remembers: those of unsealed facts in memory and in the tail, older
//! ones in pages of the store that [`KeyIndex`] finds. Knows redb's table of pages; asks for no
//! time. Invariant: a key is forgotten only once HQ has its facts and it is old enough, a whole
//! page at a time, and never more than a few pages with one commit.

use std::collections::{HashMap, VecDeque};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, Table};
use shared::ids::Seq;
use shared::time::Timestamp;

use super::key_index::KeyIndex;
use super::key_page::KeyPage;
use super::keys::{KeyEntry, KeyHash};
use super::rows::KEYS;
use super::store::StoreError;

/// How many pages one commit drops at most: more than it adds, and few beside what it writes.
const PAGES_DROPPED_MAX: usize = 16;

/// Which keys may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    /// HQ has the facts up to here.
    pub(super) received: Seq,
    /// Recorded before this.
    pub(super) before: Timestamp,
}

/// What is known of a stored page without reading it.
#[derive(Clone, Copy, Debug)]
struct PageNote {
    first: Seq,
    last: Seq,
    newest: Timestamp,
    keys: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KeyBook {
    /// Keys of unsealed facts.
    recent: HashMap<KeyHash, KeyEntry>,
    /// The stored pages in order.
    pages: VecDeque<PageNote>,
    /// The number of the first of them.
    oldest: u64,
    index: KeyIndex,
    /// The last stored page, while it has room.
    open: Option<KeyPage>,
}

impl KeyBook {
    /// What is stored, and what the tail names.
    pub(super) fn load(
        transaction: &ReadTransaction,
        recent: impl IntoIterator<Item = (KeyHash, KeyEntry)>,
    ) -> Result<Self, StoreError> {
        let mut book = Self { recent: recent.into_iter().collect(), ..Self::default() };
        let mut keys = Vec::new();
        for entry in transaction.open_table(KEYS)?.iter()? {
            let (first, bytes) = entry?;
            let page = KeyPage::decode(Seq(first.value()), bytes.value())?;
            let number = book.pages.len() as u64;
            let before = keys.len();
            for entry in page.entries() {
                keys.push((entry?.0, number));
            }
            book.note(&page, keys.len() - before);
            book.open = Some(page);
        }
        book.index.add(keys);
        Ok(book)
    }

    fn note(&mut self, page: &KeyPage, keys: usize) {
        let KeyPage { first, last, newest, .. } = *page;
        match self.pages.back_mut().filter(|note| note.first == first) {
            Some(note) => *note = PageNote { first, last, newest, keys: note.keys + keys },
            None => self.pages.push_back(PageNote { first, last, newest, keys }),
        }
    }

    /// Remembers the key of a group that is about to be stored.
    pub(super) fn remember(&mut self, key: KeyHash, entry: KeyEntry) {
        self.recent.insert(key, entry);
    }

    /// Keys of unsealed facts.
    pub(super) fn recent(&self) -> Vec<(KeyHash, KeyEntry)> {
        self.recent.iter().map(|(key, entry)| (*key, *entry)).collect()
    }

    /// What stands under a key, if it is remembered.
    pub(super) fn find(
        &self,
        database: &Database,
        key: KeyHash,
    ) -> Result<Option<KeyEntry>, StoreError> {
        if let Some(entry) = self.recent.get(&key) {
            return Ok(Some(*entry));
        }
        for number in self.index.pages(key) {
            let at = number.checked_sub(self.oldest).and_then(|at| usize::try_from(at).ok());
            let Some(note) = at.and_then(|at| self.pages.get(at)) else { continue };
            let found = match self.open.as_ref().filter(|open| open.first == note.first) {
                Some(open) => open.find(key)?,
                None => find_stored(database, note.first, key)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Stores the keys of the facts up to `sealed` in pages; `recorded_at` knows those facts.
    pub(super) fn seal(
        &mut self,
        table: &mut Table<'_, u64, &'static [u8]>,
        sealed: Seq,
        recorded_at: impl Fn(Seq) -> Timestamp,
    ) -> Result<(), StoreError> {
        let of_sealed = |(_, entry): &(&KeyHash, &KeyEntry)| entry.first <= sealed;
        let moved = self.recent.iter().filter(of_sealed).map(|(key, entry)| (*key, *entry));
        let mut moved: Vec<_> = moved.collect();
        moved.sort_unstable_by_key(|(_, entry)| entry.first);
        let mut keys = Vec::with_capacity(moved.len());
        let mut rest = moved.as_slice();
        while let Some((_, next)) = rest.first() {
            let open = self.open.take().filter(|open| !open.is_full());
            let mut page = open.unwrap_or_else(|| KeyPage::begin(next.first));
            let before = rest.len();
            while let Some(((key, entry), later)) = rest.split_first().filter(|_| !page.is_full()) {
                page.push(*key, *entry, recorded_at(entry.first));
                rest = later;
            }
            table.insert(page.first.0, page.bytes())?;
            let added = &moved[moved.len() - before..moved.len() - rest.len()];
            self.note(&page, added.len());
            let number = self.oldest + self.pages.len() as u64 - 1;
            keys.extend(added.iter().map(|(key, _)| (*key, number)));
            self.open = Some(page);
        }
        self.index.add(keys);
        self.recent.retain(|_, entry| entry.first > sealed);
        Ok(())
    }

    /// Whether [`KeyBook::forget`] has something to do.
    pub(super) fn has_expired(&self, expiry: &Expiry) -> bool {
        self.pages.front().is_some_and(|page| page.is_expired(expiry))
    }

    /// Drops the oldest pages as far as they have expired, a few at a time.
    pub(super) fn forget(
        &mut self,
        table: &mut Table<'_, u64, &'static [u8]>,
        expiry: &Expiry,
    ) -> Result<(), StoreError> {
        for _ in 0..PAGES_DROPPED_MAX {
            let oldest = self.pages.front().filter(|page| page.is_expired(expiry)).copied();
            let Some(page) = oldest else { return Ok(()) };
            self.pages.pop_front();
            table.remove(page.first.0)?;
            self.open.take_if(|open| open.first == page.first);
            self.oldest += 1;
            self.index.forget_before(self.oldest, page.keys);
        }
        Ok(())
    }
}

impl PageNote {
    fn is_expired(&self, expiry: &Expiry) -> bool {
        // HQ takes whole groups: it has all of the last one.
        self.last <= expiry.received && self.newest < expiry.before
    }
}

fn find_stored(
    database: &Database,
    page: Seq,
    key: KeyHash,
) -> Result<Option<KeyEntry>, StoreError> {
    let table = database.begin_read()?.open_table(KEYS)?;
    let Some(bytes) = table.get(page.0)? else { return Ok(None) };
    Ok(KeyPage::decode(page, bytes.value())?.find(key)?)
}
