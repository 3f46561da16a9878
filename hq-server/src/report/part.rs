//! Parts of long lists. Knows only counts.

use std::ops::Range;

/// Rows on a page.
pub const PAGE_ROWS: u64 = 100;

/// Where a long list opens when nobody says which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// With its first rows.
    AtTop,
    /// With its last rows: lists that grow downwards.
    AtEnd,
}

/// One page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub page: u64,
    /// At least 1.
    pub pages: u64,
    count: u64,
}

impl Part {
    /// The page asked for, or the nearest there is; 0 asks for where the list opens.
    pub fn of(count: u64, asked: u64, opens: Opens) -> Self {
        let pages = count.div_ceil(PAGE_ROWS).max(1);
        let page = match (asked, opens) {
            (0, Opens::AtTop) => 1,
            (0, Opens::AtEnd) => pages,
            (asked, _) => asked.min(pages),
        };
        Self { page, pages, count }
    }

    /// The places of its rows in the whole list.
    pub fn range(&self) -> Range<usize> {
        let place = |row: u64| usize::try_from(row.min(self.count)).expect("a list fits memory");
        place((self.page - 1) * PAGE_ROWS)..place(self.page * PAGE_ROWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_page_there_is() {
        let cases = [
            (0, 0, Opens::AtTop, (1, 1, 0..0)),
            (250, 0, Opens::AtTop, (1, 3, 0..100)),
            (250, 0, Opens::AtEnd, (3, 3, 200..250)),
            (250, 2, Opens::AtEnd, (2, 3, 100..200)),
            (250, 9, Opens::AtTop, (3, 3, 200..250)),
            (200, 0, Opens::AtEnd, (2, 2, 100..200)),
        ];
        for (count, asked, opens, expected) in cases {
            let part = Part::of(count, asked, opens);
            assert_eq!((part.page, part.pages, part.range()), expected);
        }
    }
}
