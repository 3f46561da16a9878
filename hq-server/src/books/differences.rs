//! What earlier facts are to have in the ledger beyond what they have, summed: one voucher a
//! company, month and cause. Knows no pools.
//!
//! Most differences are of goods that left: inventory against one other account, many facts alike.
//! They are added up as they are found, so that a million of them are a million additions.
//! Invariant: a sum is of lines that differ in nothing but their amount and their fact.

use std::collections::BTreeMap;

use shared::fact::Kind;
use shared::fact::statement::Role;
use shared::ids::{AccountNo, CompanyNo, ItemNo, PartnerNo, SiteNo};
use shared::money::Amount;
use shared::time::{Month, Timestamp};

use super::fact_table::FactRecord;
use super::ledger::OpenItems;
use super::posting::{Posting, Postings, difference_lines};
use super::settings::{Settings, is_control};
use super::valuation::FactId;
use super::voucher::{Cause, Line, Side};

/// One line holds less than this; sums beyond it become several lines.
const LINE_MAX: i128 = 1 << 62;

/// What differences are summed in: one voucher each.
pub(super) type SumGroup = (CompanyNo, Month, Cause);

/// Differences by voucher.
#[derive(Default)]
pub(super) struct Differences {
    groups: BTreeMap<SumGroup, Group>,
    /// Where facts that are alike stand in `alike`.
    places: BTreeMap<AlikeKey, usize>,
    alike: Vec<Alike>,
    /// Where the last one stands: the next is often like it.
    last: usize,
}

/// The lines of one voucher.
#[derive(Default)]
struct Group {
    /// The latest effective time of its facts.
    at: Timestamp,
    lines: BTreeMap<LineKey, (Line, i128)>,
}

/// What lines are summed by.
type LineKey = (AccountNo, Side, SiteNo, Option<ItemNo>, Option<PartnerNo>);

const fn key_of(line: &Line) -> LineKey {
    (line.account, line.side, line.site, line.item, line.partner)
}

/// What makes the differences of goods that left alike. First stands what tells most of them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct AlikeKey {
    item: Option<ItemNo>,
    site: SiteNo,
    kind: Kind,
    accounts: [AccountNo; 2],
    one_pool: bool,
    group: SumGroup,
}

/// Facts whose differences are alike.
struct Alike {
    key: AlikeKey,
    /// Inventory and what stands against it; nothing where they can't be summed so.
    lines: Option<[Line; 2]>,
    at: Timestamp,
    /// Of the stock figures of their targets.
    sum: i128,
}

impl Group {
    fn add(&mut self, line: &Line, amount: i128) {
        let (_, sum) = self.lines.entry(key_of(line)).or_insert((*line, 0));
        *sum += amount;
    }
}

impl Differences {
    /// Takes lines of facts whose latest effective time is this.
    pub(super) fn add(
        &mut self,
        group: SumGroup,
        at: Timestamp,
        postings: &mut Postings,
        (settings, items): (&Settings, &mut OpenItems),
    ) {
        if postings.is_empty() {
            return;
        }
        let group = self.groups.entry(group).or_default();
        group.at = group.at.max(at);
        for Posting { line, open_item } in postings.drain(..) {
            match settings.role_of(line.account) {
                Some(role) if is_control(role) => {
                    items.add(role, open_item, line.signed().into());
                }
                _ => {}
            }
            group.add(&line, line.amount.0.into());
        }
    }

    /// Takes the difference of goods that left or came in, where that is all; whether it is.
    pub(super) fn add_goods(
        &mut self,
        group: SumGroup,
        id: FactId,
        record: &FactRecord,
        settings: &Settings,
    ) -> bool {
        let (from, to) = (&record.posted, &record.target);
        let moves_goods_only = matches!(
            record.kind,
            Kind::Issue
                | Kind::Scrap
                | Kind::SaleIssue
                | Kind::CustomerReturn
                | Kind::ProductionIn
                | Kind::ProductionOut
        ) && (to.main, to.against, to.residue)
            == (from.main, from.against, from.residue);
        let more = i128::from(to.stock) - i128::from(from.stock);
        let against = i128::from(to.counter) - i128::from(from.counter);
        if !moves_goods_only || more + against != 0 {
            return false;
        }
        let key = AlikeKey {
            item: record.item,
            site: record.site,
            kind: record.kind,
            accounts: [record.accounts.stock, record.accounts.counter],
            one_pool: record.one_pool,
            group,
        };
        let at = self.place_of(key, id, record, settings);
        self.last = at;
        let alike = &mut self.alike[at];
        if alike.lines.is_none() {
            return false;
        }
        alike.at = alike.at.max(record.key.effective_at());
        alike.sum += more;
        true
    }

    fn place_of(
        &mut self,
        key: AlikeKey,
        id: FactId,
        record: &FactRecord,
        settings: &Settings,
    ) -> usize {
        if self.alike.get(self.last).is_some_and(|alike| alike.key == key) {
            return self.last;
        }
        *self.places.entry(key).or_insert_with(|| {
            let lines = goods_lines(id, record, settings);
            self.alike.push(Alike { key, lines, at: Timestamp::default(), sum: 0 });
            self.alike.len() - 1
        })
    }

    /// Every voucher with its lines, the latest effective time of its facts beside it.
    pub(super) fn into_vouchers(
        mut self,
        items: &mut OpenItems,
    ) -> impl Iterator<Item = (SumGroup, Timestamp, Vec<Line>)> + use<> {
        for Alike { key, lines, at, sum } in self.alike {
            let Some([stock, counter]) = lines else { continue };
            items.add(Role::Inventory, FactId(0), sum);
            let group = self.groups.entry(key.group).or_default();
            group.at = group.at.max(at);
            let amount = if stock.side == Side::Debit { sum } else { -sum };
            group.add(&stock, amount);
            group.add(&counter, amount);
        }
        self.groups.into_iter().map(|(key, group)| {
            let sums = group.lines.into_values();
            (key, group.at, sums.flat_map(|(line, sum)| lines(line, sum)).collect())
        })
    }
}

/// The lines of a difference on inventory and one account that is no control account.
fn goods_lines(id: FactId, record: &FactRecord, settings: &Settings) -> Option<[Line; 2]> {
    let mut postings = Postings::new();
    difference_lines(id, record, false, &mut postings);
    let lines: Vec<Line> = postings.into_iter().map(|posting| posting.line).collect();
    let lines: [Line; 2] = lines.try_into().ok()?;
    let [stock, counter] = lines;
    let control = |line: &Line| settings.role_of(line.account).filter(|role| is_control(*role));
    let apart = stock.side != counter.side && stock.account != counter.account;
    let is_plain = control(&stock) == Some(Role::Inventory) && control(&counter).is_none();
    (apart && is_plain).then_some(lines)
}

/// Lines that are a sum together: none where it is zero, one where it fits.
fn lines(line: Line, mut sum: i128) -> Vec<Line> {
    let mut lines = Vec::new();
    while sum != 0 {
        let part = sum.clamp(-LINE_MAX, LINE_MAX);
        let amount = i64::try_from(part).expect("clamped to less than 63 bits");
        lines.push(Line { amount: Amount(amount), ..line });
        sum -= part;
    }
    lines
}
