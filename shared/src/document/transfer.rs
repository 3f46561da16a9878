//! A transfer's document: what was shipped and received, by name of the facts, beside what people
//! say of it. Knows no stock. Invariant: what is on its way is what the facts say; figures here are
//! for people to read, and a fact that nobody named here counts all the same.

use std::collections::BTreeMap;

use super::field::{LINE, RECEIVED};
use super::replica::Replica;
use crate::decimal;
use crate::fact::Kind;
use crate::fact::statement::Movement;
use crate::ids::{Capture, ItemNo};

/// A line that was shipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The ship movement.
    pub ship: Capture,
    /// The item.
    pub item: ItemNo,
    /// How much, as the sender wrote it.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// Lot or batch.
    pub lot: Option<String>,
}

/// A receive that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The receive movement.
    pub receive: Capture,
    /// The ship movement that it answers.
    pub ship: Capture,
    /// How much, as the receiver wrote it.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
}

/// How far a transfer has come, as far as its document tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was received.
    OnItsWay,
    /// Something was.
    PartlyReceived,
    /// Of every line at least what was shipped.
    Received,
}

impl Progress {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OnItsWay => "on its way",
            Self::PartlyReceived => "partly received",
            Self::Received => "received",
        }
    }
}

/// What a ship or a receive puts into the document; `None` for another movement.
pub fn put_of(capture: Capture, movement: &Movement) -> Option<(String, String)> {
    let (figure, unit) = (movement.quantity.figure, &movement.quantity.unit);
    match movement.kind {
        Kind::TransferShip => {
            let mut text = format!("{figure}\n{unit}\n{}", movement.item);
            if let Some(lot) = &movement.lot {
                text.push('\n');
                text.push_str(&String::from_utf8_lossy(lot));
            }
            Some((format!("{LINE}{capture}"), text))
        }
        Kind::TransferReceive => {
            let ship = movement.refers_to?;
            Some((format!("{RECEIVED}{capture}"), format!("{ship}\n{figure}\n{unit}")))
        }
        _ => None,
    }
}

/// The lines that were shipped, by movement.
pub fn lines(document: &Replica) -> Vec<Line> {
    let line = |key: String| {
        let ship = key.strip_prefix(LINE)?.parse().ok()?;
        let text = document.text(&key)?;
        let mut parts = text.split('\n').map(str::to_owned);
        let (quantity, unit) = (parts.next()?, parts.next()?);
        let item = ItemNo(parts.next()?.parse().ok()?);
        Some(Line { ship, item, quantity, unit, lot: parts.next() })
    };
    let mut lines: Vec<_> = document.keys().into_iter().filter_map(line).collect();
    lines.sort_by_key(|line| line.ship);
    lines
}

/// What was received, by movement.
pub fn received(document: &Replica) -> Vec<Received> {
    let one = |key: String| {
        let receive = key.strip_prefix(RECEIVED)?.parse().ok()?;
        let text = document.text(&key)?;
        let mut parts = text.split('\n').map(str::to_owned);
        let ship = parts.next()?.parse().ok()?;
        Some(Received { receive, ship, quantity: parts.next()?, unit: parts.next()? })
    };
    let mut received: Vec<_> = document.keys().into_iter().filter_map(one).collect();
    received.sort_by_key(|one| one.receive);
    received
}

/// How far the transfer has come. Figures in different units are not compared: such a line is
/// received in part until a person says otherwise.
pub fn progress(document: &Replica) -> Progress {
    let (lines, received) = (lines(document), received(document));
    if received.is_empty() {
        return Progress::OnItsWay;
    }
    let mut sums: BTreeMap<(Capture, &str), rust_decimal::Decimal> = BTreeMap::new();
    for one in &received {
        let Ok(figure) = decimal::parse(&one.quantity) else { continue };
        let sum = sums.entry((one.ship, &one.unit)).or_default();
        *sum = sum.saturating_add(decimal::to_decimal(figure));
    }
    let is_whole = |line: &Line| {
        let shipped = decimal::parse(&line.quantity).ok().map(decimal::to_decimal);
        let sum = sums.get(&(line.ship, line.unit.as_str())).copied().unwrap_or_default();
        shipped.is_some_and(|shipped| sum >= shipped)
    };
    if !lines.is_empty() && lines.iter().all(is_whole) {
        Progress::Received
    } else {
        Progress::PartlyReceived
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Actor, DocumentKey};
    use crate::ids::{DeviceNo, LogId, SiteNo};

    #[test]
    fn a_transfer_is_received_when_every_line_is() {
        let id = "transfer:3-10:5:6".parse().expect("an id");
        let mut document = Replica::begin(DocumentKey::first(id));
        let actor = Actor::of(SiteNo(5), DeviceNo(3), &LogId([7; 32]));
        let mut put = |key: &str, text: &str| {
            document.edit(actor, 0, &[(key, text.to_owned())]).expect("an edit");
            progress(&document)
        };
        assert_eq!(put("line/3-10", "10\npc\n4\nL1"), Progress::OnItsWay);
        assert_eq!(put("line/3-11", "2.5\nkg\n5"), Progress::OnItsWay);
        assert_eq!(put("received/4-1", "3-10\n9\npc"), Progress::PartlyReceived);
        assert_eq!(put("received/4-2", "3-11\n2.5\nkg"), Progress::PartlyReceived);
        assert_eq!(put("received/4-3", "3-10\n1\nbox"), Progress::PartlyReceived);
        assert_eq!(put("received/4-4", "3-10\n1.0\npc"), Progress::Received);
        assert_eq!(put("received/nonsense", "x"), Progress::Received);
        let lines = lines(&document);
        assert_eq!((lines.len(), lines[0].lot.as_deref()), (2, Some("L1")));
        assert_eq!(received(&document).len(), 4);
    }
}
