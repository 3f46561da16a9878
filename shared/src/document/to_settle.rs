//! What waits for a person in a shared document. Knows no storage. Invariant: what differs is counted
//! once, and each of its keys is named.

use std::collections::BTreeSet;

use super::count_sheet::{self, Standing};
use super::id::DocumentKind;
use super::replica::Replica;

/// What a person has to settle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToSettle {
    /// How many things.
    pub things: usize,
    /// The keys that say something different of them.
    pub keys: BTreeSet<String>,
}

impl ToSettle {
    /// In a document: the lines of a sheet whose figures differ, and every other key with values of
    /// people who did not see each other's.
    pub fn of(document: &Replica) -> Self {
        let (mut open, mut figures) = (Self::default(), BTreeSet::new());
        if document.key().id.kind() == DocumentKind::CountSheet {
            for (bucket, line) in count_sheet::lines(document) {
                let counts = line.counts.iter().map(|(counter, _)| bucket.count_key(counter));
                let settled = bucket.settled_key();
                if line.standing() == Some(Standing::Differs) {
                    open.things += 1;
                    if line.settled.is_empty() {
                        open.keys.extend(counts.clone());
                    } else {
                        open.keys.insert(settled.clone());
                    }
                }
                figures.extend(counts.chain([settled]));
            }
        }
        for key in document.keys() {
            if !figures.contains(&key) && document.conflict(&key).is_some() {
                open.things += 1;
                open.keys.insert(key);
            }
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Actor, DocumentKey};
    use crate::ids::{DeviceNo, LogId, SiteNo};

    #[test]
    fn lines_of_a_sheet_count_once_and_other_keys_each() {
        type Puts<'a> = &'a [(&'a str, &'a str)];
        // What two people put apart, and what is left to settle.
        let cases: [(&str, [Puts<'_>; 2], usize, &[&str]); 7] = [
            ("notes:5", [&[("topic/a", "1")], &[("topic/b", "1")]], 0, &[]),
            ("notes:5", [&[("topic/a", "1")], &[("topic/a", "2")]], 1, &["topic/a"]),
            ("count-sheet:3-1:5", [&[("remark", "1")], &[("remark", "2")]], 1, &["remark"]),
            (
                "count-sheet:3-1:5",
                [
                    &[("count/Li/7", "1"), ("remark", "1")],
                    &[("count/Wang/7", "2"), ("remark", "2")],
                ],
                2,
                &["count/Li/7", "count/Wang/7", "remark"],
            ),
            ("count-sheet:3-1:5", [&[("count/Li/7", "1")], &[("count/Wang/7", "1.0")]], 0, &[]),
            // One counter at two boxes.
            (
                "count-sheet:3-1:5",
                [&[("count/Li/7", "1")], &[("count/Li/7", "2")]],
                1,
                &["count/Li/7"],
            ),
            (
                "count-sheet:3-1:5",
                [
                    &[("count/Li/7", "1"), ("settled/7", "1")],
                    &[("count/Li/7", "2"), ("settled/7", "1")],
                ],
                0,
                &[],
            ),
        ];
        for (id, puts, things, keys) in cases {
            let mut document = Replica::begin(DocumentKey::first(id.parse().expect("an id")));
            let edits = [3, 4].into_iter().zip(puts).map(|(device, puts)| {
                let actor = Actor::of(SiteNo(5), DeviceNo(device), &LogId([7; 32]));
                let puts: Vec<_> =
                    puts.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
                document.clone().edit(actor, 0, &puts).expect("an edit")
            });
            let edits: Vec<_> = edits.collect();
            document.admit(edits);
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(ToSettle::of(&document), ToSettle { things, keys }, "{id}, {puts:?}");
        }
    }
}
