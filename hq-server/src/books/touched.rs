//! Earlier facts whose target changed since it was posted, and why. Knows no targets. Invariant: a
//! fact is in it at most once, and it is given out in the order of facts.

use super::valuation::FactId;
use super::voucher::Cause;

/// How many facts share a page.
const PAGE: usize = 1_024;

/// A mark for each fact, so that a million facts are marked in their pool's order without a search.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// In pages, so that a mark costs nothing for the facts between.
    causes: Vec<Option<Box<[Option<Cause>; PAGE]>>>,
    /// Those that were marked; some may not be so any more, some stand here twice.
    marked: Vec<FactId>,
    count: usize,
}

impl Touched {
    /// Whether nothing is marked.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a fact is marked.
    pub(super) fn holds(&self, id: FactId) -> bool {
        self.count > 0 && self.cause(id).is_some()
    }

    /// Marks a fact, whatever its cause was before.
    pub(super) fn insert(&mut self, id: FactId, cause: Cause) {
        if self.slot(id).replace(cause).is_none() {
            self.marked.push(id);
            self.count += 1;
        }
    }

    /// Marks a fact that is not marked yet: the first cause stays.
    pub(super) fn note(&mut self, id: FactId, cause: Cause) {
        if self.slot(id).is_none() {
            self.insert(id, cause);
        }
    }

    /// Takes a mark back.
    pub(super) fn remove(&mut self, id: FactId) {
        let page = self.causes.get_mut(id.index() / PAGE).and_then(Option::as_mut);
        let held = page.and_then(|page| page[id.index() % PAGE].take());
        self.count -= usize::from(held.is_some());
    }

    /// Everything marked, in the order of facts.
    pub(super) fn in_order(&mut self) -> Vec<(FactId, Cause)> {
        // Stable, for it is the one that sees what is in order already.
        self.marked.sort();
        self.marked.dedup();
        let marked = self.marked.iter().copied();
        marked.filter_map(|id| Some((id, self.cause(id)?))).collect()
    }

    /// As [`Self::in_order`]; nothing is marked afterwards.
    pub(super) fn take(&mut self) -> Vec<(FactId, Cause)> {
        let all = self.in_order();
        for id in self.marked.drain(..) {
            if let Some(page) = &mut self.causes[id.index() / PAGE] {
                page[id.index() % PAGE] = None;
            }
        }
        self.count = 0;
        all
    }

    fn cause(&self, id: FactId) -> Option<Cause> {
        self.causes.get(id.index() / PAGE)?.as_ref()?[id.index() % PAGE]
    }

    fn slot(&mut self, id: FactId) -> &mut Option<Cause> {
        let page = id.index() / PAGE;
        if page >= self.causes.len() {
            self.causes.resize_with(page + 1, || None);
        }
        let page = self.causes[page].get_or_insert_with(|| Box::new([None; PAGE]));
        &mut page[id.index() % PAGE]
    }
}

/// Why a fact is among these, where it is.
pub(super) fn cause_of(touched: &[(FactId, Cause)], id: FactId) -> Option<Cause> {
    let at = touched.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(touched[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_stays_unless_another_is_set() {
        let mut touched = Touched::default();
        for (id, cause) in [(9, Cause::Invoice), (2, Cause::LateFact), (9, Cause::Followed)] {
            touched.note(FactId(id), cause);
        }
        touched.remove(FactId(2));
        touched.remove(FactId(40));
        assert!(!touched.is_empty());
        touched.note(FactId(2), Cause::Reversal);
        touched.insert(FactId(5), Cause::Invoice);
        touched.insert(FactId(5), Cause::Settings);
        touched.note(FactId(7), Cause::Invoice);
        touched.remove(FactId(7));
        let all = touched.take();
        let expected = [(2, Cause::Reversal), (5, Cause::Settings), (9, Cause::Invoice)]
            .map(|(id, cause)| (FactId(id), cause));
        assert_eq!(all, expected);
        assert_eq!(
            (cause_of(&all, FactId(5)), cause_of(&all, FactId(7))),
            (Some(Cause::Settings), None)
        );
        assert!(touched.is_empty() && touched.take().is_empty());
    }
}
