//! Which page of remembered keys may hold a key: 8 bytes of memory for each. Knows no page and no
//! store. Invariant: a key that was put in is found as long as its page is not forgotten; a page
//! that is named need not hold it, one key in a million million is like another here.

use super::keys::KeyHash;

/// Entries are 40 bits of the key's hash, then 24 of the page's number.
const PAGE_BITS: u32 = 24;
const PAGE_MASK: u64 = (1 << PAGE_BITS) - 1;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    /// Each sorted, each more than the next: what was put in together, then merged like with like.
    tiers: Vec<Vec<u64>>,
    /// Pages before this one are forgotten.
    oldest: u64,
    /// How many entries are of forgotten pages, at least.
    forgotten: usize,
}

fn print(key: KeyHash) -> u64 {
    let bytes: &[u8; 8] = key.0.first_chunk().expect("a hash has 12 bytes");
    u64::from_be_bytes(*bytes) >> PAGE_BITS
}

impl KeyIndex {
    /// Puts keys in that were written together, each with its page.
    pub(super) fn add(&mut self, keys: impl IntoIterator<Item = (KeyHash, u64)>) {
        let entry = |(key, page): (KeyHash, u64)| {
            assert!(page <= PAGE_MASK, "4 thousand million keys are beyond any edge");
            print(key) << PAGE_BITS | page
        };
        let mut tier: Vec<u64> = keys.into_iter().map(entry).collect();
        if tier.is_empty() {
            return;
        }
        tier.sort_unstable();
        while let Some(smaller) = self.tiers.pop_if(|last| last.len() <= tier.len() * 2) {
            tier.extend(smaller);
            tier.sort_unstable();
        }
        self.tiers.push(tier);
    }

    /// The pages that may hold a key, the newest last.
    pub(super) fn pages(&self, key: KeyHash) -> Vec<u64> {
        let wanted = print(key);
        let mut pages = Vec::new();
        for tier in &self.tiers {
            let from = tier.partition_point(|entry| entry >> PAGE_BITS < wanted);
            let same = tier[from..].iter().take_while(|entry| *entry >> PAGE_BITS == wanted);
            pages.extend(same.map(|entry| entry & PAGE_MASK).filter(|page| *page >= self.oldest));
        }
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    /// Forgets the pages before `oldest`, which held `keys` keys.
    pub(super) fn forget_before(&mut self, oldest: u64, keys: usize) {
        self.oldest = oldest;
        self.forgotten += keys;
        let all: usize = self.tiers.iter().map(Vec::len).sum();
        if self.forgotten * 2 < all {
            return;
        }
        for tier in &mut self.tiers {
            tier.retain(|entry| entry & PAGE_MASK >= oldest);
            tier.shrink_to_fit();
        }
        self.tiers.retain(|tier| !tier.is_empty());
        self.forgotten = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> KeyHash {
        let hash = blake3::hash(&number.to_le_bytes());
        KeyHash(*hash.as_bytes().first_chunk().expect("32 bytes"))
    }

    #[test]
    fn keys_are_found_until_their_page_is_forgotten() {
        let mut index = KeyIndex::default();
        for page in 0..300 {
            index.add((0..7).map(|of| (key(page * 7 + of), page)));
        }
        assert!(index.tiers.len() < 12, "like merges with like: {}", index.tiers.len());
        for number in 0..2_100 {
            assert_eq!(index.pages(key(number)), [number / 7], "key {number}");
        }
        assert!(index.pages(key(5_000)).is_empty());
        for oldest in 1..=290 {
            index.forget_before(oldest, 7);
        }
        for number in 0..2_100 {
            let found = index.pages(key(number));
            assert_eq!(found, if number / 7 < 290 { vec![] } else { vec![number / 7] });
        }
        let kept: usize = index.tiers.iter().map(Vec::len).sum();
        assert!(kept <= 2 * 70 + 7, "memory is given back: {kept}");
    }

    #[test]
    fn a_key_in_two_pages_names_both() {
        let mut index = KeyIndex::default();
        index.add([(key(1), 5)]);
        index.add([(key(1), 9), (key(2), 9)]);
        assert_eq!(index.pages(key(1)), [5, 9]);
    }
}
