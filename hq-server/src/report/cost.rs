//! How a unit cost came to be: a pool's movements step by step, the layers left, and for what was
//! posted otherwise at first the facts that changed it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use shared::fact::Kind;
use shared::ids::{Capture, DeviceNo, ItemNo, Seq, SiteNo};
use shared::time::Day;
use utoipa::ToSchema;

use super::archive::StoredVoucher;
use super::figure::{Figure, Moment, Named, as_text, as_text_or_none};
use super::lens::Lens;
use super::part::{Opens, Part};
use super::stock::Balance;
use super::voucher::voucher_id;
use crate::books::valuation::{FactId, UnitCost};
use crate::books::{Cause, CostStep, PoolId};

/// How many causes of a difference are named.
const CAUSES_MAX: usize = 8;

/// How the cost of an item at a site came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostReport {
    /// The currency of every amount here.
    pub currency: String,
    /// The item.
    pub item: Named,
    /// Its base unit.
    pub unit: String,
    /// The site; none where the whole company is one pool.
    pub site: Option<Named>,
    /// The lot, where each lot is costed by itself.
    pub lot: Option<String>,
    /// The word of the method.
    pub method: String,
    /// The last day, where one was asked for.
    #[serde(default, with = "as_text_or_none")]
    #[schema(value_type = Option<String>)]
    pub at: Option<Day>,
    /// The steps, in the order in which they take effect.
    pub lines: Vec<CostLine>,
    /// What is left of each inflow, where the method has layers.
    pub layers: Vec<CostPart>,
    /// What stands after the last step.
    pub closing: Balance,
    /// What that cost beyond its value at standard, where stock carries it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub variance: Option<Figure>,
    /// How many steps there are in all.
    pub count: u64,
    /// The page shown, from 1.
    pub page: u64,
    /// How many pages there are.
    pub pages: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostLine {
    /// When it took effect.
    #[schema(value_type = String)]
    pub at: Moment,
    /// The word of its kind.
    pub kind: String,
    /// The fact.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// The voucher that first posted it.
    pub voucher: Option<String>,
    /// In, or negative out.
    #[schema(value_type = String)]
    pub quantity: Figure,
    /// What it brought or took when it was its turn.
    #[schema(value_type = String)]
    pub value: Figure,
    /// What stands after it.
    pub balance: Balance,
    /// The inflows it was taken from, where the method has layers.
    pub taken: Vec<CostPart>,
    /// What it brought or took beyond its value at standard, where stock carries that.
    #[serde(default)]
    pub variance: Option<CostVariance>,
    /// Earlier movements that had taken what was not there, and by how much this one changed them.
    pub repriced: Vec<CostChange>,
    /// What was posted first, where it is another value now.
    pub first: Option<FirstPosted>,
}

/// A variance that a movement brought, or that was shared with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostVariance {
    /// What it brought, or negative took.
    #[schema(value_type = String)]
    pub amount: Figure,
    /// What stands after it.
    #[schema(value_type = String)]
    pub balance: Figure,
    /// The rate of the month, once it is taken: this amount is shared over
    #[schema(value_type = Option<String>)]
    pub shared: Option<Figure>,
    /// this value at standard.
    #[schema(value_type = Option<String>)]
    pub over: Option<Figure>,
}

/// Part of an inflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostPart {
    /// The movement that brought it in.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// How much of it.
    #[schema(value_type = String)]
    pub quantity: Figure,
    /// What that is worth.
    #[schema(value_type = String)]
    pub value: Figure,
}

/// A movement whose cost was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostChange {
    /// The movement.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// By how much its cost went up.
    #[schema(value_type = String)]
    pub change: Figure,
}

/// What was posted at first, and what it became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirstPosted {
    /// At first.
    #[schema(value_type = String)]
    pub value: Figure,
    /// Now.
    #[schema(value_type = String)]
    pub now: Figure,
    /// What was posted since.
    #[schema(value_type = String)]
    pub difference: Figure,
    /// What became known in between and may have changed it, the first ones in the order in which
    /// they became known.
    pub causes: Vec<CostCause>,
}

/// A fact that changed the cost of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostCause {
    /// The fact.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "3-1042")]
    pub capture: Capture,
    /// The word of its kind.
    pub kind: String,
}

/// Which cost.
#[derive(Clone, Debug)]
pub struct CostFilter {
    /// The item.
    pub item: ItemNo,
    /// The site.
    pub site: SiteNo,
    /// The lot.
    pub lot: Option<String>,
    /// The last day; everything where absent.
    pub at: Option<Day>,
    /// Which page; the last one where 0.
    pub page: u64,
}

/// A report whose vouchers are still to be read.
#[derive(Debug)]
pub struct CostDraft {
    report: CostReport,
    facts: Vec<FactId>,
    /// The inflows that priced what movements had taken before it was there.
    coverers: BTreeMap<FactId, Vec<FactId>>,
    /// The installation and place of each line's fact.
    pub places: Vec<(DeviceNo, Seq)>,
}

impl CostDraft {
    /// The steps of a page; `None` where no such pool ever held anything.
    pub fn of(lens: &Lens<'_>, filter: &CostFilter) -> Option<Self> {
        let pool_id = pool_of(lens, filter)?;
        let pool = &lens.books.pools()[pool_id.index()];
        let until = lens.end_of(filter.at);
        let (steps, state) = lens.books.explain(pool_id, until);
        let part = Part::of(steps.len() as u64, filter.page, Opens::AtEnd);
        let (unit, decimals) = lens.unit(pool.item);
        let figures = Figures { lens, decimals };
        let shown = &steps[part.range()];
        let report = CostReport {
            currency: lens.currency(),
            item: lens.item(pool.item),
            unit,
            site: pool.site.map(|site| lens.site(site)),
            lot: pool.lot.as_ref().map(|lot| String::from_utf8_lossy(lot).into_owned()),
            method: state.stock.method_word().to_owned(),
            at: filter.at,
            lines: shown.iter().map(|step| figures.line(step)).collect(),
            layers: state
                .stock
                .layers()
                .map(|layer| figures.part(layer.inflow, layer.units, layer.value))
                .collect(),
            closing: figures.balance(state.stock.quantity(), state.stock.value()),
            variance: state.stock.carries().then(|| lens.money(state.stock.beyond())),
            count: steps.len() as u64,
            page: part.page,
            pages: part.pages,
        };
        let facts: Vec<FactId> = shown.iter().map(|step| step.fact).collect();
        let mut coverers: BTreeMap<FactId, Vec<FactId>> = BTreeMap::new();
        for step in &steps {
            for covered in &step.covered {
                coverers.entry(covered.fact).or_default().push(step.fact);
            }
        }
        let place = |id: &FactId| {
            let record = &lens.books.facts()[*id];
            (record.capture.device, record.seq)
        };
        let places = facts.iter().map(place).collect();
        Some(Self { report, facts, coverers, places })
    }

    /// Puts in what was posted first. `vouchers` are those that name each line's fact.
    pub fn with(self, lens: &Lens<'_>, vouchers: &[Vec<StoredVoucher>]) -> CostReport {
        let Self { mut report, facts, coverers, .. } = self;
        let causes = Causes::of(lens, &facts, coverers);
        for ((line, id), vouchers) in report.lines.iter_mut().zip(&facts).zip(vouchers) {
            let own = vouchers.iter().find(|stored| stored.voucher.cause == Cause::Fact);
            let Some(first) = own else { continue };
            line.voucher = Some(voucher_id(&first.voucher));
            let record = &lens.books.facts()[*id];
            let stock = lens.books.accounts_of(*id).stock;
            let lines = first.voucher.lines.iter();
            let posted = lines.filter(|line| line.fact == Some(record.capture));
            let posted = posted.filter(|line| line.account == stock);
            let value: i128 = posted.map(|line| i128::from(line.signed())).sum();
            let now = i128::from(record.target.stock);
            if value != now {
                line.first = Some(FirstPosted {
                    value: lens.money(value),
                    now: lens.money(now),
                    difference: lens.money(now - value),
                    causes: causes.after(lens, *id),
                });
            }
        }
        report
    }
}

fn pool_of(lens: &Lens<'_>, filter: &CostFilter) -> Option<PoolId> {
    let lot = filter.lot.as_deref().map(str::as_bytes);
    let here = |pool: &crate::books::Pool| {
        let at_site = pool.site.is_none() || pool.site == Some(filter.site);
        pool.company == lens.company && pool.item == filter.item && at_site
    };
    let pools = (0u32..).map(PoolId).zip(lens.books.pools());
    let found = pools.filter(|(_, pool)| here(pool) && pool.lot.as_deref() == lot);
    found.map(|(id, _)| id).next()
}

/// What became known late about the pools of some facts.
struct Causes(BTreeMap<FactId, BTreeSet<FactId>>);

impl Causes {
    /// Facts of a pool that were taken after another that takes effect after them, and documents
    /// of its receipts: for each of `shown` what was learnt after it.
    fn of(lens: &Lens<'_>, shown: &[FactId], mut coverers: BTreeMap<FactId, Vec<FactId>>) -> Self {
        let facts = lens.books.facts();
        let Some(pool) = shown.first().and_then(|id| facts[*id].pool) else {
            return Self(BTreeMap::new());
        };
        let wanted: BTreeSet<FactId> = shown.iter().copied().collect();
        let (mut known, mut found) = (BTreeSet::new(), BTreeMap::new());
        for id in lens.books.pools()[pool.index()].history.iter() {
            known.insert(*id);
            let changes = |dependent: &&FactId| {
                let kind = facts[**dependent].kind;
                kind == Kind::Reversal || (!kind.is_movement() && kind != Kind::Allocation)
            };
            known.extend(facts.dependents(*id).iter().filter(changes));
            known.extend(
                facts[*id]
                    .origin
                    .filter(|_| facts[*id].pool.is_some())
                    .iter()
                    .flat_map(|origin| facts.dependents(*origin).iter().filter(changes)),
            );
            if wanted.contains(id) {
                let later = known.range((Bound::Excluded(*id), Bound::Unbounded));
                let mut causes: BTreeSet<FactId> = later.take(CAUSES_MAX).copied().collect();
                causes.extend(coverers.remove(id).into_iter().flatten());
                found.insert(*id, causes);
            }
        }
        Self(found)
    }

    fn after(&self, lens: &Lens<'_>, id: FactId) -> Vec<CostCause> {
        let named = self.0.get(&id).into_iter().flatten().take(CAUSES_MAX).map(|cause| {
            let record = &lens.books.facts()[*cause];
            CostCause { capture: record.capture, kind: record.kind.word().to_owned() }
        });
        named.collect()
    }
}

struct Figures<'a> {
    lens: &'a Lens<'a>,
    decimals: u8,
}

impl Figures<'_> {
    fn balance(&self, units: i64, value: i64) -> Balance {
        Balance {
            quantity: Figure::new(units.into(), self.decimals),
            value: self.lens.money(value),
        }
    }

    fn part(&self, inflow: FactId, units: i64, value: i64) -> CostPart {
        CostPart {
            capture: self.lens.books.facts()[inflow].capture,
            quantity: Figure::new(units.into(), self.decimals),
            value: self.lens.money(value),
        }
    }

    fn variance(&self, step: &CostStep) -> Option<CostVariance> {
        let rate = step.rate.map(UnitCost::parts);
        let (shared, over) = rate.filter(|(shared, _)| *shared != 0).unzip();
        let stands = (step.beyond, step.beyond_after) != (0, 0);
        stands.then(|| CostVariance {
            amount: self.lens.money(step.beyond),
            balance: self.lens.money(step.beyond_after),
            shared: shared.map(|amount| self.lens.money(amount)),
            over: over.map(|value| self.lens.money(value)),
        })
    }

    fn line(&self, step: &CostStep) -> CostLine {
        let record = &self.lens.books.facts()[step.fact];
        let changed = |covered: &crate::books::valuation::Covered| CostChange {
            capture: self.lens.books.facts()[covered.fact].capture,
            change: self.lens.money(covered.change),
        };
        CostLine {
            at: self.lens.moment(record.key.effective_at()),
            kind: record.kind.word().to_owned(),
            capture: record.capture,
            voucher: None,
            quantity: Figure::new(step.units.into(), self.decimals),
            value: self.lens.money(step.value),
            balance: self.balance(step.quantity_after, step.value_after),
            taken: step
                .taken
                .iter()
                .map(|layer| self.part(layer.inflow, layer.units, layer.value))
                .collect(),
            variance: self.variance(step),
            repriced: step.covered.iter().map(changed).collect(),
            first: None,
        }
    }
}
