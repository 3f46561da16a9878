//! A keeper at a site: thinks of groups of movements from what the node shows him, and asks again
//! until each is answered. Knows no store. Invariant: every group has a number of its own, which
//! stands in its document field, so that a group that counts twice is seen.

use std::collections::VecDeque;

use edge_node::journal::{IdempotencyKey, Line, Submission};
use shared::catalogue::Catalogue;
use shared::fact::statement::{Measure, Movement, Statement};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, DeviceNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo};
use shared::money::Price;
use shared::quantity::{Scaled, ShortText, Unit};
use shared::time::{OffsetMinutes, Timestamp};

use crate::random::Random;

const HOUR: i64 = 3_600_000;

/// What nobody knows: a movement of it waits at HQ for ever and must hold up nothing.
const UNKNOWN_ITEM: ItemNo = ItemNo(9_999);
const UNKNOWN_REASON: ReasonNo = ReasonNo(9_999);

/// The end of the document of a group that the books can't take: no version of them is without a
/// fault that nobody has seen yet.
const UNBEARABLE: &[u8] = b"!";

/// Whether a fact is of a group that the books can't take.
pub(super) fn is_unbearable(fact: &Fact) -> bool {
    field::DOCUMENT.of(fact).is_some_and(|document| document.ends_with(UNBEARABLE))
}

/// What a keeper sees when he records.
pub(super) struct Sight<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) site: SiteNo,
    pub(super) sites: u32,
    pub(super) device: DeviceNo,
    /// The log so far.
    pub(super) facts: &'a [Fact],
    /// By the node's clock.
    pub(super) now: Timestamp,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    /// Tells his groups from those of other nodes.
    name: String,
    next: u64,
    /// Asked and not answered: asked again after a crash.
    pub(super) open: VecDeque<(u64, Submission)>,
    /// Stock may go below zero.
    pub(super) negative_stock: bool,
    /// How many of a thousand groups nobody at HQ can post.
    pub(super) poison_per_mille: u64,
    /// How many of a thousand groups HQ's books can't take.
    unbearable_per_mille: u64,
}

impl Keeper {
    pub(super) fn new(name: String, random: &mut Random) -> Self {
        Self {
            name,
            next: 1,
            open: VecDeque::new(),
            negative_stock: random.chance(3, 4),
            poison_per_mille: *random.pick(&[0, 0, 20, 100]),
            unbearable_per_mille: *random.pick(&[0, 0, 0, 20]),
        }
    }

    /// The same keeper at a copy of the node: his groups are his own from here on.
    pub(super) fn renamed(&self, name: String) -> Self {
        Self { name, open: VecDeque::new(), ..self.clone() }
    }

    /// What stands on a paper is entered once more, as something new.
    pub(super) fn enter_again(&mut self, lines: Vec<Line>) {
        let number = self.next;
        self.next += 1;
        let key = format!("{}-{number} again", self.name);
        let submission = Submission {
            key: Some(IdempotencyKey::new(&key, key.as_bytes())),
            lines,
            person: None,
            utc_offset: OffsetMinutes(480),
            company: None,
            negative_stock: true,
        };
        self.open.push_back((number, submission));
    }

    /// Thinks of some groups, to be recorded in one go.
    pub(super) fn think(&mut self, groups: usize, sight: &Sight<'_>, random: &mut Random) {
        if sight.catalogue.items().next().is_none() {
            // A node that heard nothing yet knows no item.
            return;
        }
        for _ in 0..groups {
            let number = self.next;
            self.next += 1;
            let is_unbearable = random.chance(self.unbearable_per_mille, 1_000);
            let mark = if is_unbearable { "!" } else { "" };
            let document = format!("{}-{number}{mark}", self.name);
            let lines = self.lines(sight, &document, random);
            let submission = Submission {
                key: Some(IdempotencyKey::new(&document, document.as_bytes())),
                lines,
                person: None,
                utc_offset: OffsetMinutes(480),
                company: None,
                negative_stock: self.negative_stock,
            };
            self.open.push_back((number, submission));
        }
    }

    fn lines(&self, sight: &Sight<'_>, document: &str, random: &mut Random) -> Vec<Line> {
        let poison = random.chance(self.poison_per_mille, 1_000);
        let back = match random.below(12) {
            0 => Some(random.between(1, 72) * HOUR),
            1 => Some(random.between(1, 50) * 60_000),
            _ => None,
        };
        let occurred_at = back.map(|back| Timestamp(sight.now.0.saturating_sub(back)));
        let count = if random.chance(1, 4) { 1 + random.index(6) } else { 1 };
        let mut statements = match random.below(20) {
            0..3 => receive(sight, random),
            3..6 => ship(sight, random),
            6 => reverse(sight, random),
            _ => None,
        }
        .unwrap_or_else(|| goods(sight, count, random));
        for statement in &mut statements {
            let Statement::Movement(movement) = statement else { continue };
            movement.document = Some(ShortText::from_slice(document.as_bytes()));
            if poison {
                movement.item = UNKNOWN_ITEM;
                movement.reason = movement.reason.map(|_| UNKNOWN_REASON);
            }
        }
        statements.into_iter().map(|statement| Line { statement, occurred_at }).collect()
    }
}

fn measure(item: ItemNo, sight: &Sight<'_>, random: &mut Random) -> Measure {
    let known = sight.catalogue.item(item);
    let decimals = known.map_or(0, |item| item.decimals);
    let unit =
        known.map_or_else(|| Unit::from_bytes(b"EA").expect("a unit"), |item| item.unit.clone());
    let exponent =
        if random.chance(1, 2) { 0 } else { -i8::try_from(decimals).expect("at most 6") };
    let figure = Scaled::new(random.between(1, 60), exponent).expect("a small figure");
    Measure { figure, unit }
}

fn price(random: &mut Random) -> Price {
    let figure = Scaled::new(random.between(1, 5_000), -2).expect("a small figure");
    Price { figure, currency: "CNY".parse().expect("a currency") }
}

fn any_item(sight: &Sight<'_>, random: &mut Random) -> ItemNo {
    let items: Vec<ItemNo> = sight.catalogue.items().map(|item| item.item).collect();
    *random.pick(&items)
}

/// Movements without reference, of one kind and partner.
fn goods(sight: &Sight<'_>, lines: usize, random: &mut Random) -> Vec<Statement> {
    let kind = *random.pick(&[
        Kind::Receipt,
        Kind::Receipt,
        Kind::Receipt,
        Kind::SaleIssue,
        Kind::SaleIssue,
        Kind::Issue,
        Kind::Scrap,
        Kind::Adjustment,
        Kind::Count,
    ]);
    let partner = PartnerNo(1 + random.number(2));
    let line = |_| {
        let item = any_item(sight, random);
        let mut movement = Movement::new(kind, item, measure(item, sight, random));
        match kind {
            Kind::Receipt => {
                (movement.partner, movement.price) = (Some(partner), Some(price(random)));
            }
            Kind::SaleIssue => {
                (movement.partner, movement.price) = (Some(partner), Some(price(random)));
                movement.invoice_later = random.chance(1, 4);
            }
            Kind::Issue | Kind::Scrap | Kind::Adjustment => {
                let known = sight
                    .catalogue
                    .reasons()
                    .find(|reason| reason.movement.is_none_or(|movement| movement == kind));
                movement.reason = Some(known.map_or(ReasonNo(1), |reason| reason.reason));
                if kind == Kind::Adjustment && random.chance(1, 2) {
                    let figure = movement.quantity.figure;
                    let less = Scaled::new(-figure.mantissa(), figure.exponent());
                    movement.quantity.figure = less.expect("a small figure");
                }
            }
            _ => {}
        }
        Statement::Movement(movement)
    };
    (0..lines).map(line).collect()
}

fn ship(sight: &Sight<'_>, random: &mut Random) -> Option<Vec<Statement>> {
    let to = SiteNo(1 + random.number(sight.sites));
    if to == sight.site {
        return None;
    }
    let item = any_item(sight, random);
    let mut movement = Movement::new(Kind::TransferShip, item, measure(item, sight, random));
    movement.other_site = Some(to);
    Some(vec![Statement::Movement(movement)])
}

/// What the node shows as on its way.
fn receive(sight: &Sight<'_>, random: &mut Random) -> Option<Vec<Statement>> {
    let coming: Vec<_> =
        sight.catalogue.open_transfers().filter(|transfer| transfer.to == sight.site).collect();
    if coming.is_empty() {
        return None;
    }
    let transfer = *random.pick(&coming);
    let quantity = transfer.quantity.clone();
    let mut movement = Movement::new(Kind::TransferReceive, transfer.item, quantity);
    movement.refers_to = Some(transfer.ship);
    Some(vec![Statement::Movement(movement)])
}

fn reverse(sight: &Sight<'_>, random: &mut Random) -> Option<Vec<Statement>> {
    let last = sight.facts.len();
    let seq = Seq((last.checked_sub(1 + random.index(8))? + 1) as u64);
    let counter = field::CAPTURE_COUNTER.of(&sight.facts[usize::try_from(seq.0 - 1).ok()?])?;
    let refers_to = Capture { device: sight.device, counter };
    Some(vec![Statement::Reversal { refers_to, reason: None }])
}
