//! The keys of shared documents: stable ids, so that two people who say something of one thing say
//! it in one place. Knows no value. Invariant: a key means the same for ever; one that this program
//! does not know is kept and shown as it is.

use super::id::DocumentKind;

/// What becomes of values that several people put without seeing each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One of them holds, the same at every place.
    LastWins,
    /// All are kept and shown until a person puts one who has seen them.
    Kept,
}

/// A key, or the beginning of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key; with a `/` at its end the beginning of keys that go on with an id.
    pub key: &'static str,
    /// What becomes of values that do not know of each other.
    pub rule: Rule,
    /// What it says, for people.
    pub meaning: &'static str,
}

const fn field(key: &'static str, rule: Rule, meaning: &'static str) -> Field {
    Field { key, rule, meaning }
}

/// Keys that only a document's beginning and HQ's next generation have.
pub const RESERVED: char = '.';
/// The document's name, in its beginning.
pub(super) const NAME: &str = ".document";
/// The number of the generation, in its beginning.
pub(super) const GENERATION: &str = ".generation";

/// A line of a transfer: "ITEM QUANTITY UNIT LOT", by ship movement. The fact counts, not this.
pub const LINE: &str = "line/";
/// A receive, by its movement: "SHIP-MOVEMENT QUANTITY UNIT".
pub const RECEIVED: &str = "received/";
/// When goods are expected.
pub const EXPECTED: &str = "expected";
/// Who carries goods.
pub const CARRIER: &str = "carrier";
/// What anybody has to say.
pub const REMARK: &str = "remark";
/// What the receiver found different, by ship movement.
pub const DIFFERENCE: &str = "difference/";
/// Who works on an order.
pub const PICKER: &str = "picker";
/// What was picked, by line.
pub const PICKED: &str = "picked/";
/// What a count sheet is called.
pub const TITLE: &str = "title";
/// A counter's figure, by item, lot and counter.
pub const COUNT: &str = "count/";
/// The figure that a person settled on, by item and lot.
pub const SETTLED: &str = "settled/";
/// The count that was recorded, by item and lot: its fact.
pub const RECORDED: &str = "recorded/";
/// A note on an item.
pub const ITEM: &str = "item/";
/// A note on anything else.
pub const TOPIC: &str = "topic/";

const TRANSFER: &[Field] = &[
    field(EXPECTED, Rule::LastWins, "when the goods are expected"),
    field(CARRIER, Rule::LastWins, "who carries them"),
    field(REMARK, Rule::Kept, "remark"),
    field(LINE, Rule::LastWins, "what was shipped"),
    field(RECEIVED, Rule::LastWins, "what was received"),
    field(DIFFERENCE, Rule::Kept, "what the receiver found different"),
];

const ORDER: &[Field] = &[
    field(PICKER, Rule::LastWins, "who works on it"),
    field(EXPECTED, Rule::LastWins, "when it is expected"),
    field(REMARK, Rule::Kept, "remark"),
    field(PICKED, Rule::Kept, "what was picked"),
];

const COUNT_SHEET: &[Field] = &[
    field(TITLE, Rule::LastWins, "what it is called"),
    field(REMARK, Rule::Kept, "remark"),
    field(COUNT, Rule::Kept, "a counter's figure"),
    field(SETTLED, Rule::Kept, "the figure settled on"),
    field(RECORDED, Rule::Kept, "the count recorded"),
];

const SITE_NOTES: &[Field] =
    &[field(ITEM, Rule::Kept, "a note on an item"), field(TOPIC, Rule::Kept, "a note")];

/// The fields of a kind.
pub const fn fields(kind: DocumentKind) -> &'static [Field] {
    match kind {
        DocumentKind::Transfer => TRANSFER,
        DocumentKind::Order => ORDER,
        DocumentKind::CountSheet => COUNT_SHEET,
        DocumentKind::SiteNotes => SITE_NOTES,
    }
}

/// The field that a key belongs to; `None` for one that this program does not know.
pub fn of(kind: DocumentKind, key: &str) -> Option<Field> {
    let belongs = |field: &&Field| match field.key.strip_suffix('/') {
        Some(_) => key.len() > field.key.len() && key.starts_with(field.key),
        None => key == field.key,
    };
    fields(kind).iter().find(belongs).copied()
}

/// What becomes of values at a key that do not know of each other. What is not known is not lost.
pub fn rule(kind: DocumentKind, key: &str) -> Rule {
    of(kind, key).map_or(Rule::Kept, |field| field.rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_belong_to_one_field() {
        let cases = [
            (DocumentKind::Transfer, "carrier", Some(CARRIER)),
            (DocumentKind::Transfer, "carrier/x", None),
            (DocumentKind::Transfer, "line/3-7", Some(LINE)),
            (DocumentKind::Transfer, "line/", None),
            (DocumentKind::CountSheet, "count/A//Li", Some(COUNT)),
            (DocumentKind::SiteNotes, "carrier", None),
        ];
        for (kind, key, expected) in cases {
            assert_eq!(of(kind, key).map(|field| field.key), expected, "{kind} {key}");
        }
        assert_eq!(rule(DocumentKind::Transfer, "of-later"), Rule::Kept);
        for kind in DocumentKind::ALL {
            for field in fields(kind) {
                let belongs = |other: &&Field| other.key == field.key;
                assert_eq!(fields(kind).iter().filter(belongs).count(), 1, "{kind} {}", field.key);
            }
        }
    }
}
