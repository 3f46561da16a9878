//! What each entry of the sequence gives the sites to know: master data, goods on their way, and which
//! items a site handles.
//! Pure: a function of the sequence, so that a restart gives every version its old number.

use std::collections::{BTreeMap, BTreeSet};

use shared::catalogue::OpenTransfer;
use shared::fact::statement::{MasterData, Measure, PolicyKind, Statement};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, ItemNo, SiteNo};
use shared::quantity::Scaled;

use crate::books::valuation::FactId;
use crate::books::{Books, Item, ShipInDoubt};
use crate::gateway::keyed_state::{Audience, News};

/// Remembers what can't be told yet.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// Transfer facts and reversals that the books let wait.
    unseen: BTreeSet<Capture>,
    /// Sites that are told only what they handle: by default, and where one has a policy of its own.
    handled_only: bool,
    handled_only_at: BTreeMap<SiteNo, bool>,
}

impl Feed {
    /// What is new after an entry that was just applied.
    pub fn after_entry(
        &mut self,
        books: &Books,
        site: SiteNo,
        facts: &[Fact],
        released: bool,
    ) -> Vec<News> {
        let mut news = Vec::new();
        let mut concerned = BTreeSet::new();
        for fact in facts {
            match fact.kind() {
                Some(kind) if kind.is_master_data() && site == SiteNo::HQ => {
                    if let Ok(Statement::MasterData { data, .. }) = Statement::parse(fact) {
                        news.push(News::Tell(Audience::of(&data), fact.clone()));
                        self.note(books, &data, &mut news);
                    }
                }
                Some(Kind::TransferShip | Kind::TransferReceive | Kind::Reversal) => {
                    concerned.extend(field::capture(fact));
                }
                _ => {}
            }
        }
        if released {
            concerned.append(&mut self.unseen);
        }
        if self.is_handled_only(site) {
            let items: BTreeSet<ItemNo> = facts.iter().filter_map(moved).collect();
            news.extend(items.into_iter().map(|item| News::Handles(site, item)));
        }
        let (mut ships, mut in_doubt) = (BTreeSet::new(), BTreeMap::new());
        for capture in concerned {
            if let Some(id) = books.facts().find(capture) {
                ships.extend(ship_of(books, id));
            } else {
                // Who gets the goods needs no value of them.
                in_doubt.extend(books.ship_in_doubt(capture));
                self.unseen.insert(capture);
            }
        }
        let in_doubt = in_doubt.into_iter().filter_map(|(ship, it)| in_doubt_news(books, ship, it));
        let placed = ships.into_iter().filter_map(|ship| transfer_news(books, ship));
        for transfer in placed.chain(in_doubt) {
            let Ok(fact) = transfer.to_fact() else { continue };
            news.push(News::Handles(transfer.to, transfer.item));
            news.push(News::Tell(Audience::Only(transfer.to), fact));
        }
        news
    }

    fn is_handled_only(&self, site: SiteNo) -> bool {
        self.handled_only_at.get(&site).copied().unwrap_or(self.handled_only)
    }

    /// Master data that say which items a site is told.
    fn note(&mut self, books: &Books, data: &MasterData, news: &mut Vec<News>) {
        match data {
            MasterData::HandledItem { site, item } => news.push(News::Handles(*site, *item)),
            MasterData::Site { site, .. } if self.is_handled_only(*site) => {
                news.push(News::HandledOnly(*site, true));
            }
            MasterData::Policy { policy: PolicyKind::HandledOnly, site, setting, .. } => {
                let before = self.clone();
                match site {
                    Some(site) => drop(self.handled_only_at.insert(*site, *setting != 0)),
                    None => self.handled_only = *setting != 0,
                }
                let sites = books.settings().sites().map(|(site, _)| site);
                for site in sites.filter(|site| *site != SiteNo::HQ) {
                    let only = self.is_handled_only(site);
                    if only != before.is_handled_only(site) {
                        news.push(News::HandledOnly(site, only));
                        news.extend(handled(books, site).map(|item| News::Handles(site, item)));
                    }
                }
            }
            _ => {}
        }
    }
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

/// The item that a movement is of.
fn moved(fact: &Fact) -> Option<ItemNo> {
    fact.kind().filter(|kind| kind.is_movement())?;
    u32::try_from(field::ITEM.of(fact)?).ok().map(ItemNo)
}

/// The items that ever moved at a site.
fn handled(books: &Books, site: SiteNo) -> impl Iterator<Item = ItemNo> {
    let of_site = books.facts().iter().filter(|(_, record)| record.site == site);
    of_site.filter_map(|(_, record)| record.item).collect::<BTreeSet<_>>().into_iter()
}

/// How much of a ship is still on its way.
fn transfer_news(books: &Books, ship: FactId) -> Option<OpenTransfer> {
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
    Some(OpenTransfer {
        ship: record.capture,
        from: record.site,
        to,
        item,
        quantity: in_base_units(left, settings)?,
        lot: None,
        document: record.document.clone(),
        shipped_at: at,
        open: left > 0,
    })
}

/// How much of a ship in doubt is still on its way.
fn in_doubt_news(books: &Books, ship: Capture, stated: ShipInDoubt) -> Option<OpenTransfer> {
    let ShipInDoubt { from, movement, until, left } = stated;
    let settings = books.settings().item(movement.item, until)?;
    Some(OpenTransfer {
        ship,
        from,
        to: movement.other_site?,
        item: movement.item,
        quantity: in_base_units(left, settings)?,
        lot: None,
        document: movement.document,
        shipped_at: until,
        open: left > 0,
    })
}

fn in_base_units(units: i64, item: &Item) -> Option<Measure> {
    let exponent = -i8::try_from(item.decimals).ok()?;
    Some(Measure { figure: Scaled::new(units, exponent).ok()?, unit: item.unit.clone() })
}
