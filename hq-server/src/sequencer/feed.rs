//! What each entry of the sequence gives the sites to know: master data, and goods on their way.
//! Pure: a function of the sequence, so that a restart gives every version its old number.

use std::collections::BTreeSet;

use shared::catalogue::OpenTransfer;
use shared::fact::statement::{Measure, Statement};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, DeviceNo, SiteNo};
use shared::quantity::Scaled;

use crate::books::Books;
use crate::books::valuation::FactId;
use crate::gateway::keyed_state::Audience;

/// Remembers what can't be told yet.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// Transfer facts and reversals that the books let wait.
    unseen: BTreeSet<Capture>,
}

impl Feed {
    /// What is new after an entry that was just applied.
    pub fn after_entry(
        &mut self,
        books: &Books,
        site: SiteNo,
        facts: &[Fact],
        released: bool,
    ) -> Vec<(Audience, Fact)> {
        let mut news = Vec::new();
        let mut concerned = BTreeSet::new();
        for fact in facts {
            match fact.kind() {
                Some(kind) if kind.is_master_data() && site == SiteNo::HQ => {
                    if let Ok(Statement::MasterData { data, .. }) = Statement::parse(fact) {
                        news.push((Audience::of(&data), fact.clone()));
                    }
                }
                Some(Kind::TransferShip | Kind::TransferReceive | Kind::Reversal) => {
                    concerned.extend(capture(fact));
                }
                _ => {}
            }
        }
        if released {
            concerned.append(&mut self.unseen);
        }
        let mut ships = BTreeSet::new();
        for capture in concerned {
            match books.facts().find(capture) {
                Some(id) => ships.extend(ship_of(books, id)),
                None => drop(self.unseen.insert(capture)),
            }
        }
        news.extend(ships.into_iter().filter_map(|ship| transfer_news(books, ship)));
        news
    }
}

fn capture(fact: &Fact) -> Option<Capture> {
    let device = u32::try_from(field::CAPTURE_DEVICE.of(fact)?).ok()?;
    Some(Capture { device: DeviceNo(device), counter: field::CAPTURE_COUNTER.of(fact)? })
}

/// The ship that a fact is about, through any reversals.
fn ship_of(books: &Books, mut id: FactId) -> Option<FactId> {
    loop {
        let record = &books.facts()[id];
        match record.kind {
            Kind::TransferShip => return Some(id),
            Kind::TransferReceive | Kind::Reversal => id = record.origin?,
            _ => return None,
        }
    }
}

/// How much of a ship is still on its way.
fn transfer_news(books: &Books, ship: FactId) -> Option<(Audience, Fact)> {
    let facts = books.facts();
    let record = &facts[ship];
    let (to, item) = (record.other_site?, record.item?);
    let at = record.key.effective_at();
    let settings = books.settings().item(item, at)?;
    let received: i64 = facts
        .dependents(ship)
        .iter()
        .map(|id| &facts[*id])
        .filter(|each| each.kind == Kind::TransferReceive && each.is_active())
        .map(|each| each.quantity.0)
        .sum();
    let left = if record.is_active() { (record.quantity.0 - received).max(0) } else { 0 };
    let exponent = -i8::try_from(settings.decimals).ok()?;
    let transfer = OpenTransfer {
        ship: record.capture,
        from: record.site,
        to,
        item,
        quantity: Measure {
            figure: Scaled::new(left, exponent).ok()?,
            unit: settings.unit.clone(),
        },
        lot: None,
        document: record.document.clone(),
        shipped_at: at,
        open: left > 0,
    };
    Some((Audience::Only(to), transfer.to_fact().ok()?))
}
