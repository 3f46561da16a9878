//! A count sheet: who counted what, and on what people settled, before it is a fact. Knows no
//! stock. Invariant: a figure is one of everybody's who counted, until they agree or a person
//! settles; only then it may be recorded, once.

use std::collections::BTreeMap;

use super::field::{COUNT, RECORDED, SETTLED};
use super::replica::{Replica, Value};
use crate::decimal;
use crate::ids::ItemNo;
use crate::quantity::Scaled;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// The item.
    pub item: ItemNo,
    /// Lot or batch.
    pub lot: Option<String>,
}

/// A line of a sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SheetLine {
    /// Figures by counter; several of one counter who counted at two places.
    pub counts: Vec<(String, Value)>,
    /// On what people settled; several where they did not know of each other.
    pub settled: Vec<Value>,
    /// The facts that were recorded; several where two places did.
    pub recorded: Vec<Value>,
}

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Counters, or people who settled, differ: a person has to settle.
    Differs,
    /// All who counted have this figure.
    Agreed(Scaled),
    /// A person settled on this figure.
    Settled(Scaled),
    /// It is a fact.
    Recorded,
}

impl Bucket {
    fn tail(&self) -> String {
        let lot = self.lot.as_deref().map_or_else(String::new, |lot| format!("/{lot}"));
        format!("{}{lot}", self.item)
    }

    /// The key of a counter's figure. A counter's name has no `/`.
    pub fn count_key(&self, counter: &str) -> String {
        format!("{COUNT}{counter}/{}", self.tail())
    }

    /// The key of the figure that a person settled on.
    pub fn settled_key(&self) -> String {
        format!("{SETTLED}{}", self.tail())
    }

    /// The key of the fact.
    pub fn recorded_key(&self) -> String {
        format!("{RECORDED}{}", self.tail())
    }

    fn of_tail(tail: &str) -> Option<Self> {
        let (item, lot) =
            tail.split_once('/').map_or((tail, None), |(item, lot)| (item, Some(lot)));
        Some(Self { item: ItemNo(item.parse().ok()?), lot: lot.map(str::to_owned) })
    }
}

impl SheetLine {
    /// How it stands; `None` where nobody counted and nobody settled, or no figure reads.
    pub fn standing(&self) -> Option<Standing> {
        let one = |values: &mut dyn Iterator<Item = &Value>| {
            let mut figures = values.filter_map(|value| decimal::parse(&value.text).ok());
            let first = figures.next()?;
            Some(figures.all(|figure| figure == first).then_some(first))
        };
        if !self.recorded.is_empty() {
            return Some(Standing::Recorded);
        }
        let settled = one(&mut self.settled.iter());
        if let Some(settled) = settled {
            return Some(settled.map_or(Standing::Differs, Standing::Settled));
        }
        let counted = one(&mut self.counts.iter().map(|(_, value)| value));
        counted.map(|counted| counted.map_or(Standing::Differs, Standing::Agreed))
    }
}

/// The lines of a sheet, by item and lot.
pub fn lines(document: &Replica) -> BTreeMap<Bucket, SheetLine> {
    let mut lines: BTreeMap<Bucket, SheetLine> = BTreeMap::new();
    for key in document.keys() {
        let values = || document.values(&key);
        if let Some((counter, tail)) = key.strip_prefix(COUNT).and_then(|rest| rest.split_once('/'))
        {
            let Some(bucket) = Bucket::of_tail(tail) else { continue };
            let counts = values().into_iter().map(|value| (counter.to_owned(), value));
            lines.entry(bucket).or_default().counts.extend(counts);
        } else if let Some(bucket) = key.strip_prefix(SETTLED).and_then(Bucket::of_tail) {
            lines.entry(bucket).or_default().settled = values();
        } else if let Some(bucket) = key.strip_prefix(RECORDED).and_then(Bucket::of_tail) {
            lines.entry(bucket).or_default().recorded = values();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Actor, Change, DocumentKey};
    use crate::ids::{DeviceNo, LogId, SiteNo};

    fn put(document: &mut Replica, device: u32, key: &str, text: &str) -> Change {
        let actor = Actor::of(SiteNo(5), DeviceNo(device), &LogId([7; 32]));
        document.edit(actor, 0, &[(key, text.to_owned())]).expect("an edit")
    }

    #[test]
    fn two_counters_differ_until_a_person_settles() {
        let id = "count-sheet:3-1:5".parse().expect("an id");
        let mut one = Replica::begin(DocumentKey::first(id));
        let mut other = one.clone();
        let bucket = Bucket { item: ItemNo(7), lot: Some("L/1".to_owned()) };
        let standing = |document: &Replica| lines(document)[&bucket].standing();
        let first = put(&mut one, 3, &bucket.count_key("Li"), "10");
        let second = put(&mut other, 4, &bucket.count_key("Wang"), "12");
        assert_eq!(standing(&one), Some(Standing::Agreed(decimal::parse("10").expect("a figure"))));
        one.admit([second]);
        other.admit([first]);
        assert_eq!(standing(&one), Some(Standing::Differs));
        assert_eq!(lines(&one), lines(&other));
        // Both settle, apart.
        let first = put(&mut one, 3, &bucket.settled_key(), "12");
        let second = put(&mut other, 4, &bucket.settled_key(), "11");
        one.admit([second]);
        other.admit([first]);
        assert_eq!(
            (standing(&one), standing(&other)),
            (Some(Standing::Differs), Some(Standing::Differs))
        );
        put(&mut one, 3, &bucket.settled_key(), "12.0");
        assert_eq!(
            standing(&one),
            Some(Standing::Settled(decimal::parse("12").expect("a figure")))
        );
        put(&mut one, 3, &bucket.recorded_key(), "3-9");
        assert_eq!(standing(&one), Some(Standing::Recorded));
        assert_eq!(lines(&one).len(), 1);
    }
}
