//! What is owed, by document and age: receivables, payables, and receipts not yet invoiced (暂估).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::fact::Kind;
use shared::fact::statement::Role;
use shared::ids::{Capture, PartnerNo};
use shared::time::Day;
use utoipa::ToSchema;

use super::figure::{Figure, Named, as_text, as_text_or_none};
use super::lens::Lens;
use super::part::{Opens, Part};
use crate::books::valuation::FactId;

/// Upper ends of the age buckets in days; the last bucket is open.
pub const AGE_DAYS: [i32; 4] = [30, 60, 90, 180];

/// How many age buckets there are.
pub const AGE_BUCKETS: usize = AGE_DAYS.len() + 1;

/// The bucket of an age in days.
pub fn age_bucket(days: i32) -> usize {
    AGE_DAYS.iter().position(|end| days <= *end).unwrap_or(AGE_DAYS.len())
}

/// Everything that is open on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenItems {
    /// The currency of every amount here.
    pub currency: String,
    /// Ages count up to this day.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = Date)]
    pub day: Day,
    /// Of this customer or supplier only.
    pub partner: Option<Named>,
    /// Differences of late facts are about to be posted; until then items and accounts may differ.
    pub settling: bool,
    /// Receivable and payable, then what else is open: unbilled, advances, prepayments.
    pub sides: Vec<OpenSide>,
    /// Received, not invoiced.
    pub received_not_invoiced: OpenReceipts,
    /// The page shown of every list, from 1.
    pub page: u64,
    /// How many pages the longest list has.
    pub pages: u64,
}

/// One control account's open items, and the account they must equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenSide {
    /// The word of the role of its account.
    pub role: String,
    /// Every partner with something open, the largest first.
    pub partners: Vec<PartnerAges>,
    /// How many items are open.
    pub count: u64,
    /// The open items of the page, oldest first.
    pub rows: Vec<OpenItem>,
    /// Sum of all items by age: up to 30, 60, 90, 180 days, and older.
    #[schema(value_type = Vec<String>)]
    pub buckets: [Figure; AGE_BUCKETS],
    /// Sum of all items.
    #[schema(value_type = String)]
    pub total: Figure,
    /// The account, on its own side.
    #[schema(value_type = String)]
    pub ledger: Figure,
    /// Items less account: nothing, always.
    #[schema(value_type = String)]
    pub difference: Figure,
}

/// What one customer or supplier has open, by age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartnerAges {
    /// Customer or supplier.
    pub partner: Named,
    /// Sum by age, as [`OpenSide::buckets`].
    #[schema(value_type = Vec<String>)]
    pub buckets: [Figure; AGE_BUCKETS],
    /// Sum.
    #[schema(value_type = String)]
    pub total: Figure,
}

/// One open item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenItem {
    /// Customer or supplier.
    pub partner: Named,
    /// The fact that opened it.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// The outside document's number.
    pub document: Option<String>,
    /// The day that ageing starts from.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = Date)]
    pub day: Day,
    /// When it is due.
    #[serde(with = "as_text_or_none")]
    #[schema(value_type = Option<String>, format = Date)]
    pub due: Option<Day>,
    /// What it was opened with.
    #[schema(value_type = String)]
    pub amount: Figure,
    /// What is still open.
    #[schema(value_type = String)]
    pub open: Figure,
    /// Its age in days.
    pub age: i32,
}

impl OpenItem {
    /// Due before `day`.
    pub fn is_overdue(&self, day: &Day) -> bool {
        self.due.is_some_and(|due| due < *day)
    }
}

/// Receipts that no invoice covers yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenReceipts {
    /// How many receipts are open.
    pub count: u64,
    /// The receipts of the page, oldest first.
    pub rows: Vec<OpenReceipt>,
    /// Sum of all open values.
    #[schema(value_type = String)]
    pub total: Figure,
    /// The account.
    #[schema(value_type = String)]
    pub ledger: Figure,
    /// Receipts less account: nothing, always.
    #[schema(value_type = String)]
    pub difference: Figure,
}

/// A receipt not yet, or not wholly, invoiced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenReceipt {
    /// The receipt.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// The supplier.
    pub partner: Option<Named>,
    /// Where.
    pub site: Named,
    /// What.
    pub item: Named,
    /// The day of the receipt.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = Date)]
    pub day: Day,
    /// How much is not invoiced.
    #[schema(value_type = String)]
    pub quantity: Figure,
    /// Its base unit.
    pub unit: String,
    /// Its value at the best known price.
    #[schema(value_type = String)]
    pub value: Figure,
    /// Its age in days.
    pub age: i32,
}

/// The open-item accounts in the order of the page, and whether they show when nothing is open.
const SIDES: [(Role, bool); 6] = [
    (Role::Receivable, true),
    (Role::UnbilledReceivable, false),
    (Role::CustomerAdvance, false),
    (Role::Payable, true),
    (Role::SupplierPrepayment, false),
    (Role::BoughtInTransit, false),
];

/// 1 where an account of this role stands on the debit side, else -1.
const fn own_side(role: Role) -> i128 {
    match role {
        Role::Payable | Role::CustomerAdvance | Role::ReceivedNotInvoiced => -1,
        _ => 1,
    }
}

/// Which open items.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenFilter {
    /// Of this customer or supplier only.
    pub partner: Option<PartnerNo>,
    /// The page of every list, from 1.
    pub page: u64,
}

impl OpenItems {
    /// What is open, aged up to `day`.
    pub fn of(lens: &Lens<'_>, filter: OpenFilter, day: Day) -> Self {
        let sides: Vec<Gathered> = SIDES
            .iter()
            .map(|(role, always)| (Gathered::of(lens, *role, filter, day), always))
            .filter(|(side, always)| **always || !side.partners.is_empty())
            .map(|(side, _)| side)
            .collect();
        let receipts = Gathered::of(lens, Role::ReceivedNotInvoiced, filter, day);
        let longest = sides.iter().chain([&receipts]).map(|side| side.chosen.len()).max();
        let part = Part::of(longest.unwrap_or(0) as u64, filter.page, Opens::AtTop);
        Self {
            currency: lens.currency(),
            day,
            partner: filter.partner.map(|partner| lens.partner(partner)),
            settling: lens.books.is_dirty(),
            sides: sides.into_iter().map(|side| OpenSide::of(lens, side, part.page, day)).collect(),
            received_not_invoiced: OpenReceipts::of(lens, &receipts, part.page, day),
            page: part.page,
            pages: part.pages,
        }
    }
}

/// Sums of minor units by age.
#[derive(Clone, Copy, Debug, Default)]
struct Ages([i128; AGE_BUCKETS]);

impl Ages {
    fn add(&mut self, days: i32, amount: i128) {
        self.0[age_bucket(days)] += amount;
    }

    fn total(&self) -> i128 {
        self.0.iter().sum()
    }
}

/// What is open on one control account, on its own side.
struct Gathered {
    role: Role,
    all: Ages,
    partners: BTreeMap<Option<PartnerNo>, Ages>,
    /// What the filter lets through, oldest first.
    chosen: Vec<(FactId, i128)>,
}

impl Gathered {
    fn of(lens: &Lens<'_>, role: Role, filter: OpenFilter, day: Day) -> Self {
        let facts = lens.books.facts();
        let mut all = Ages::default();
        let mut partners: BTreeMap<_, Ages> = BTreeMap::new();
        let mut chosen = Vec::new();
        for (id, open) in lens.open(role) {
            let record = &facts[id];
            let (age, open) = (day.0 - record.document_day.0, open * own_side(role));
            all.add(age, open);
            partners.entry(record.partner).or_default().add(age, open);
            if filter.partner.is_none_or(|only| record.partner == Some(only)) {
                chosen.push((id, open));
            }
        }
        chosen.sort_unstable_by_key(|(id, _)| (facts[*id].document_day, facts[*id].capture));
        Self { role, all, partners, chosen }
    }

    /// The rows of a page; none where this list is shorter than the longest one.
    fn page(&self, page: u64) -> &[(FactId, i128)] {
        let own = Part::of(self.chosen.len() as u64, page, Opens::AtTop);
        if own.page < page { &[] } else { &self.chosen[own.range()] }
    }
}

impl OpenSide {
    fn of(lens: &Lens<'_>, gathered: Gathered, page: u64, day: Day) -> Self {
        let role = gathered.role;
        let rows = gathered.page(page).iter();
        let rows = rows.map(|(id, open)| OpenItem::of(lens, role, *id, *open, day)).collect();
        let mut partners: Vec<PartnerAges> = gathered
            .partners
            .into_iter()
            .map(|(partner, ages)| PartnerAges {
                partner: partner.map(|partner| lens.partner(partner)).unwrap_or_default(),
                buckets: ages.0.map(|sum| lens.money(sum)),
                total: lens.money(ages.total()),
            })
            .collect();
        partners.sort_by_key(|ages| std::cmp::Reverse(ages.total.units()));
        let (total, ledger) = (gathered.all.total(), lens.balance(role) * own_side(role));
        Self {
            role: role.word().to_owned(),
            partners,
            count: gathered.chosen.len() as u64,
            rows,
            buckets: gathered.all.0.map(|sum| lens.money(sum)),
            total: lens.money(total),
            ledger: lens.money(ledger),
            difference: lens.money(total - ledger),
        }
    }
}

impl OpenReceipts {
    fn of(lens: &Lens<'_>, gathered: &Gathered, page: u64, day: Day) -> Self {
        let rows = gathered.page(page).iter();
        let ledger = lens.balance(gathered.role) * own_side(gathered.role);
        let total = gathered.all.total();
        Self {
            count: gathered.chosen.len() as u64,
            rows: rows.filter_map(|(id, open)| OpenReceipt::of(lens, *id, *open, day)).collect(),
            total: lens.money(total),
            ledger: lens.money(ledger),
            difference: lens.money(total - ledger),
        }
    }
}

impl OpenItem {
    fn of(lens: &Lens<'_>, role: Role, id: FactId, open: i128, day: Day) -> Self {
        let facts = lens.books.facts();
        let record = &facts[id];
        let of_role = |account| lens.books.settings().role_of(account) == Some(role);
        // What the lines of its own group opened it with.
        let group = (record.group.0..).take(usize::from(record.group_len)).map(FactId);
        let opened: i128 = group
            .map(|line| {
                let line = &facts[line];
                let main = line.main_item == id && of_role(line.accounts.main);
                let against = line.against_item == id && of_role(line.accounts.against);
                i128::from(if main { line.target.main } else { 0 })
                    + i128::from(if against { line.target.against } else { 0 })
            })
            .sum();
        Self {
            partner: record.partner.map(|partner| lens.partner(partner)).unwrap_or_default(),
            capture: record.capture,
            document: record
                .document
                .as_ref()
                .map(|document| String::from_utf8_lossy(document).into_owned()),
            day: record.document_day,
            due: record.due_day,
            amount: lens.money(opened * own_side(role)),
            open: lens.money(open),
            age: day.0 - record.document_day.0,
        }
    }
}

impl OpenReceipt {
    fn of(lens: &Lens<'_>, id: FactId, open: i128, day: Day) -> Option<Self> {
        let facts = lens.books.facts();
        let record = &facts[id];
        let item = record.item?;
        let taken: i64 = facts
            .dependents(id)
            .iter()
            .map(|dependent| &facts[*dependent])
            .filter(|dependent| dependent.is_active())
            .filter(|dependent| {
                matches!(dependent.kind, Kind::SupplierInvoice | Kind::SupplierReturn)
            })
            .map(|dependent| dependent.quantity.0.abs())
            .sum();
        let received = lens.moment(record.key.effective_at()).day();
        Some(Self {
            capture: record.capture,
            partner: record.partner.map(|partner| lens.partner(partner)),
            site: lens.site(record.site),
            item: lens.item(item),
            day: received,
            quantity: lens.quantity(item, record.quantity.0 - taken),
            unit: lens.unit(item).0,
            value: lens.money(open),
            age: day.0 - received.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_fall_into_buckets() {
        for (days, bucket) in [(-3, 0), (0, 0), (30, 0), (31, 1), (90, 2), (180, 3), (181, 4)] {
            assert_eq!(age_bucket(days), bucket, "{days} days");
        }
    }
}
