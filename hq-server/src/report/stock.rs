//! Stock in quantity and money: the balance by item and site, and one item's ledger (存货明细账).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::fact::effective::EffectiveKey;
use shared::ids::{Capture, ItemNo, SiteNo};
use shared::money::round_div;
use shared::quantity::ShortText;
use shared::time::Day;
use utoipa::ToSchema;

use super::dashboard::StockTie;
use super::figure::{Figure, Moment, Named, as_text, as_text_or_none};
use super::lens::Lens;
use super::part::{Opens, Part};
use crate::books::valuation::FactId;
use crate::books::{Held, Pool, PoolId, PoolStep};

/// What is on hand where, and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockBalance {
    /// The currency of every amount here.
    pub currency: String,
    /// At this site only.
    pub site: Option<Named>,
    /// Only items whose code or name has this text.
    pub search: Option<String>,
    /// At the end of this day; now where absent.
    #[serde(default, with = "as_text_or_none")]
    #[schema(value_type = Option<String>)]
    pub at: Option<Day>,
    /// As HQ knew it at the end of this day; as it knows it now where absent.
    #[serde(default, with = "as_text_or_none")]
    #[schema(value_type = Option<String>)]
    pub known_at: Option<Day>,
    /// The rows of the page.
    pub rows: Vec<StockRow>,
    /// Value of all rows that the filter lets through, on every page.
    #[schema(value_type = String)]
    pub value: Figure,
    /// What goods cost beyond that value at standard, where stock carries it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub variance: Option<Figure>,
    /// What stands against that value after write-downs to market, where there is any.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub allowance: Option<Figure>,
    /// Value and variance less allowance, where there is either.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub carrying: Option<Figure>,
    /// Some goods moved at a time in doubt: rows say how many of theirs have no value yet.
    #[serde(default)]
    pub any_without_value: bool,
    /// How many rows the filter lets through.
    pub count: u64,
    /// The page shown, from 1.
    pub page: u64,
    /// How many pages there are.
    pub pages: u64,
    /// All stock of the company beside its inventory accounts; not for a past day.
    pub tie: Option<StockTie>,
}

/// One item at one site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockRow {
    /// The item.
    pub item: Named,
    /// The site.
    pub site: Named,
    /// The lot, where each lot is costed by itself.
    #[serde(default)]
    pub lot: Option<String>,
    /// Its base unit.
    pub unit: String,
    /// How much.
    #[schema(value_type = String)]
    pub quantity: Figure,
    /// So much of that moved at a time in doubt and has no value yet.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub without_value: Option<Figure>,
    /// Value of one unit of the rest.
    #[schema(value_type = Option<String>)]
    pub unit_cost: Option<Figure>,
    /// Its value: what it cost.
    #[schema(value_type = String)]
    pub value: Figure,
    /// What it cost beyond that value at standard, where stock carries it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub variance: Option<Figure>,
    /// What it was written down by, where it was.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub allowance: Option<Figure>,
    /// Value and variance less allowance, where there is either.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub carrying: Option<Figure>,
}

/// Every movement of one item with the running balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemLedger {
    /// The currency of every amount here.
    pub currency: String,
    /// The item.
    pub item: Named,
    /// Its base unit.
    pub unit: String,
    /// At this site only.
    pub site: Option<Named>,
    /// What stood before the first line shown.
    pub opening: Balance,
    /// The movements in the order in which they take effect.
    pub lines: Vec<ItemLine>,
    /// What stands after the last line: the stock balance's row.
    pub closing: Balance,
    /// How many lines there are in all.
    pub count: u64,
    /// The page shown, from 1.
    pub page: u64,
    /// How many pages there are.
    pub pages: u64,
}

/// A quantity and its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// How much.
    #[schema(value_type = String)]
    pub quantity: Figure,
    /// Its value.
    #[schema(value_type = String)]
    pub value: Figure,
}

impl Balance {
    /// Value of one unit.
    pub fn unit_cost(&self) -> Option<Figure> {
        Figure::unit_cost(self.value, self.quantity)
    }
}

/// One movement of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemLine {
    /// When it took effect.
    #[schema(value_type = String)]
    pub at: Moment,
    /// Where.
    pub site: Named,
    /// The word of its kind.
    pub kind: String,
    /// The fact.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// Customer or supplier.
    pub partner: Option<Named>,
    /// In, or negative out.
    #[schema(value_type = String)]
    pub quantity: Figure,
    /// Its value, signed as the quantity.
    #[schema(value_type = String)]
    pub value: Figure,
    /// What stands after it.
    pub balance: Balance,
    /// The cost is not final: the price is not known yet.
    pub provisional: bool,
}

impl ItemLine {
    /// It takes goods away.
    pub const fn is_out(&self) -> bool {
        self.quantity.is_negative()
    }

    /// How much it takes away.
    pub const fn quantity_out(&self) -> Figure {
        self.quantity.negated()
    }

    /// The value it takes away.
    pub const fn value_out(&self) -> Figure {
        self.value.negated()
    }
}

/// A site's part of a pool; without a site what is on its way between sites of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) site: Option<SiteNo>,
    pub(super) units: i64,
    pub(super) value: i64,
}

/// What a pool is worth, at standard and beyond, by site. Values follow units; the last part takes
/// the rest, so that they sum to the pool.
pub(super) fn shares(pool: &Pool) -> Vec<Share> {
    share_now(pool, pool.state.stock.worth())
}

fn shared_out(
    sites: impl Iterator<Item = (SiteNo, i64)>,
    on_the_way: i64,
    whole: (i64, i64),
) -> Vec<Share> {
    let on_the_way = Some((None, on_the_way)).filter(|(_, units)| *units != 0);
    let parts = sites.map(|(site, units)| (Some(site), units)).chain(on_the_way);
    let mut rest = whole.1;
    let mut shares: Vec<Share> = parts
        .map(|(site, units)| {
            let value = value_of(units, whole);
            rest -= value;
            Share { site, units, value }
        })
        .collect();
    if let Some(last) = shares.last_mut() {
        last.value += rest;
    }
    shares
}

/// An amount of a pool by site, as its units are.
fn share_now(pool: &Pool, amount: i64) -> Vec<Share> {
    let whole = (pool.state.stock.quantity(), amount);
    shared_out(pool.state.sites.iter().copied(), pool.state.on_the_way, whole)
}

/// Value, variance and allowance of a pool by site now.
fn parts_now(pool: &Pool, allowance: i64) -> [Vec<Share>; 3] {
    let stock = &pool.state.stock;
    [stock.value(), stock.beyond(), allowance].map(|amount| share_now(pool, amount))
}

/// As [`parts_now`], at the end of a day.
fn parts_at(lens: &Lens<'_>, pool: PoolId, day: Day, allowance: i64) -> [Vec<Share>; 3] {
    let standing = lens.books.standing(pool, lens.end_of(Some(day)));
    let quantity = standing.quantity();
    let shared = |amount| {
        let sites = standing.sites.iter().map(|(site, units)| (*site, *units));
        shared_out(sites, standing.on_the_way, (quantity, amount))
    };
    [standing.value, standing.beyond, allowance].map(shared)
}

/// What stands beside a value.
struct Beside {
    variance: Option<Figure>,
    allowance: Option<Figure>,
    carrying: Option<Figure>,
}

impl Beside {
    fn of(lens: &Lens<'_>, value: i128, variance: i128, allowance: i128) -> Self {
        let there_is = |amount: i128| (amount != 0).then(|| lens.money(amount));
        let (variance_shown, allowance_shown) = (there_is(variance), there_is(allowance));
        let any = variance_shown.or(allowance_shown);
        let carrying = any.map(|_| lens.money(value + variance - allowance));
        Self { variance: variance_shown, allowance: allowance_shown, carrying }
    }
}

/// The value of some units of a (quantity, value).
fn value_of(units: i64, (quantity, value): (i64, i64)) -> i64 {
    if quantity == 0 {
        return 0;
    }
    let share = round_div(i128::from(value) * i128::from(units), quantity.into());
    i64::try_from(share).expect("units and value of a pool are below 2^53")
}

/// Which rows of the stock balance.
#[derive(Clone, Copy, Debug, Default)]
pub struct StockFilter<'a> {
    /// At this site only.
    pub site: Option<SiteNo>,
    /// Only items whose code or name has this text, whatever the case.
    pub search: Option<&'a str>,
    /// At the end of this day.
    pub at: Option<Day>,
    /// The books are those of the end of this day.
    pub known_at: Option<Day>,
}

/// A row before anything of it is written out.
struct Found<'a> {
    code: &'a str,
    item: ItemNo,
    lot: Option<ShortText>,
    site: SiteNo,
    units: i64,
    without_value: i128,
    value: i64,
    variance: i64,
    allowance: i64,
}

impl StockBalance {
    /// What the filter lets through, by item code and site.
    pub fn of(lens: &Lens<'_>, filter: StockFilter<'_>, page: u64) -> Self {
        let mut found = found(lens, filter);
        found.sort_unstable_by(|one, other| {
            let place = (one.code, one.item, one.site, &one.lot);
            place.cmp(&(other.code, other.item, other.site, &other.lot))
        });
        let part = Part::of(found.len() as u64, page, Opens::AtTop);
        let sum = |of: fn(&Found<'_>) -> i64| found.iter().map(|row| i128::from(of(row))).sum();
        let value: i128 = sum(|row| row.value);
        let (variance, allowance) = (sum(|row| row.variance), sum(|row| row.allowance));
        let Beside { variance, allowance, carrying } = Beside::of(lens, value, variance, allowance);
        Self {
            variance,
            allowance,
            carrying,
            currency: lens.currency(),
            site: filter.site.map(|site| lens.site(site)),
            search: filter.search.map(str::to_owned),
            at: filter.at,
            known_at: filter.known_at,
            value: lens.money(value),
            any_without_value: found.iter().any(|row| row.without_value != 0),
            count: found.len() as u64,
            page: part.page,
            pages: part.pages,
            rows: found[part.range()].iter().map(|row| StockRow::of(lens, row)).collect(),
            tie: filter.at.is_none().then(|| StockTie::of(lens)),
        }
    }
}

impl StockRow {
    fn of(lens: &Lens<'_>, found: &Found<'_>) -> Self {
        let (unit, decimals) = lens.unit(found.item);
        let valued = Figure::new(found.units.into(), decimals);
        let without_value = found.without_value;
        let quantity = Figure::new(i128::from(found.units) + without_value, decimals);
        let value = lens.money(found.value);
        let [at_standard, beyond, lost] = [found.value, found.variance, found.allowance];
        let Beside { variance, allowance, carrying } =
            Beside::of(lens, at_standard.into(), beyond.into(), lost.into());
        Self {
            variance,
            allowance,
            carrying,
            item: lens.item(found.item),
            site: lens.site(found.site),
            lot: found.lot.as_ref().map(|lot| String::from_utf8_lossy(lot).into_owned()),
            unit,
            quantity,
            without_value: (without_value != 0).then(|| Figure::new(without_value, decimals)),
            unit_cost: Figure::unit_cost(value, valued),
            value,
        }
    }
}

fn found<'a>(lens: &Lens<'a>, filter: StockFilter<'_>) -> Vec<Found<'a>> {
    let wanted = filter.search.map(str::to_lowercase);
    let stated = |item: ItemNo| {
        let stated = lens.stated_item(item)?;
        let matches = wanted.as_ref().is_none_or(|wanted| {
            [&stated.code, &stated.name].iter().any(|text| text.to_lowercase().contains(wanted))
        });
        matches.then_some(stated)
    };
    let is_wanted = |site: &SiteNo| filter.site.is_none_or(|only| only == *site);
    let mut found = Vec::new();
    // What nobody can place in time is there now, and nobody knows on which days before.
    let mut in_doubt = lens.books.without_value();
    in_doubt.retain(|held, _| held.company == lens.company && filter.at.is_none());
    let allowances = lens.books.allowances(lens.end_of(filter.at));
    let pools = (0u32..).map(PoolId).zip(lens.books.pools());
    for (id, pool) in pools.filter(|(_, pool)| pool.company == lens.company) {
        let Some(item) = stated(pool.item) else { continue };
        let allowance = allowances.of(pool);
        let [parts, variances, losses] = match filter.at {
            None => parts_now(pool, allowance),
            Some(day) => parts_at(lens, id, day, allowance),
        };
        let beside = variances.into_iter().zip(losses);
        let beside = beside.map(|(variance, loss)| (variance.value, loss.value));
        for (Share { site, units, value }, (variance, allowance)) in parts.into_iter().zip(beside) {
            let Some(site) = site.filter(is_wanted) else { continue };
            let (company, item_no, lot) = (pool.company, pool.item, pool.lot.clone());
            let held = Held { company, site, item: item_no, lot };
            let without_value = in_doubt.remove(&held).unwrap_or(0);
            if (units, value, variance, allowance, without_value) != (0, 0, 0, 0, 0) {
                found.push(Found {
                    code: &item.code,
                    item: item_no,
                    lot: held.lot,
                    site,
                    units,
                    without_value,
                    value,
                    variance,
                    allowance,
                });
            }
        }
    }
    for (Held { site, item: item_no, lot, .. }, without_value) in in_doubt {
        if let Some(item) = stated(item_no).filter(|_| is_wanted(&site)) {
            let (code, units, value, variance, allowance) = (item.code.as_str(), 0, 0, 0, 0);
            let item = item_no;
            let row =
                Found { code, item, lot, site, units, without_value, value, variance, allowance };
            found.push(row);
        }
    }
    found
}

impl ItemLedger {
    /// The item's movements in effective order; `None` where no such item is known.
    pub fn of(lens: &Lens<'_>, item: ItemNo, site: Option<SiteNo>, page: u64) -> Option<Self> {
        let known = lens.books.settings().items().any(|(no, _)| no == item);
        known.then(|| {
            let steps = steps(lens, item, site);
            let part = Part::of(steps.len() as u64, page, Opens::AtEnd);
            let range = part.range();
            let (unit, decimals) = lens.unit(item);
            let balance = |(units, value): (i64, i128)| Balance {
                quantity: Figure::new(units.into(), decimals),
                value: lens.money(value),
            };
            let before =
                |place: usize| place.checked_sub(1).map_or((0, 0), |last| steps[last].after);
            Self {
                currency: lens.currency(),
                item: lens.item(item),
                unit,
                site: site.map(|site| lens.site(site)),
                opening: balance(before(range.start)),
                closing: balance(before(steps.len())),
                lines: steps[range]
                    .iter()
                    .map(|step| {
                        let record = &lens.books.facts()[step.id];
                        ItemLine {
                            at: lens.moment(record.key.effective_at()),
                            site: lens.site(record.site),
                            kind: record.kind.word().to_owned(),
                            capture: record.capture,
                            partner: record.partner.map(|partner| lens.partner(partner)),
                            quantity: Figure::new(step.units.into(), decimals),
                            value: lens.money(step.value),
                            balance: balance(step.after),
                            provisional: record.target != record.posted,
                        }
                    })
                    .collect(),
                count: steps.len() as u64,
                page: part.page,
                pages: part.pages,
            }
        })
    }
}

/// A movement with what it changed and what stands after it.
struct Step {
    key: EffectiveKey,
    id: FactId,
    units: i64,
    value: i64,
    after: (i64, i128),
}

/// All movements of an item, or those at one site, with running sums.
fn steps(lens: &Lens<'_>, item: ItemNo, site: Option<SiteNo>) -> Vec<Step> {
    let mut steps = Vec::new();
    let of_item = |pool: &&Pool| pool.company == lens.company && pool.item == item;
    for pool in lens.books.pools().iter().filter(of_item) {
        pool_steps(lens, pool, &mut steps);
    }
    steps.retain(|step| site.is_none_or(|only| lens.books.facts()[step.id].site == only));
    steps.sort_by_key(|step| step.key);
    let mut sum = (0, 0);
    for step in &mut steps {
        sum.0 += step.units;
        sum.1 += i128::from(step.value);
        step.after = sum;
    }
    steps
}

/// A pool's movements. A count states what is there: its change follows from what stood before.
fn pool_steps(lens: &Lens<'_>, pool: &Pool, steps: &mut Vec<Step>) {
    let mut on_hand: BTreeMap<SiteNo, i64> = BTreeMap::new();
    let records = pool.history.iter().map(|id| (*id, &lens.books.facts()[*id]));
    let active = records.filter(|(_, record)| record.is_active());
    // Units move when they moved, whichever month bears what they cost.
    let mut moved: Vec<_> = active.map(|(id, record)| (record.moved_at(), id, record)).collect();
    moved.sort_by_key(|(key, ..)| *key);
    for (key, id, record) in moved {
        let held = on_hand.entry(record.site).or_default();
        let units = match record.step {
            PoolStep::None => continue,
            PoolStep::In | PoolStep::MoveIn => record.quantity.0,
            PoolStep::Out | PoolStep::MoveOut => -record.quantity.0.abs(),
            PoolStep::Count => record.quantity.0 - *held,
            PoolStep::Revalue | PoolStep::Restate | PoolStep::AddLate => 0,
        };
        *held += units;
        let value = record.target.stock;
        steps.push(Step { key, id, units, value, after: (0, 0) });
    }
}
