//! Landed cost, revaluations, new standard costs and write-downs before they are recorded. Pure.
//!
//! Invariant: the shares of a bill sum to the bill.

use shared::fact::Kind;
use shared::fact::statement::{
    CostMethod, CostScope, LandedCost, MasterData, Money, Permission, PoolName, Revaluation,
    SharedBy, StandardCost, Statement, WriteDown,
};
use shared::ids::{Capture, CategoryNo, ItemNo, ReasonNo, SiteNo};
use shared::money::Currency;
use shared::quantity::{Scaled, ShortText};
use shared::time::Day;

use super::{Desk, FinanceError, Group, Side, decimal, money, positive, short};
use crate::books::{FactRecord, Pool};

/// The weight of a written figure, so that figures of up to twelve decimals compare.
const WEIGHT_EXPONENT: i8 = -12;

/// Quantities of any item compare in millionths of its base unit.
const QUANTITY_POWER: i128 = 1_000_000;

/// A bill of freight, duty or the like.
#[derive(Clone, Debug, Default)]
pub struct LandedCostDraft {
    /// How much, without tax; negative where it is taken back.
    pub amount: String,
    /// Its currency; the company's where absent.
    pub currency: Option<String>,
    /// How it is shared.
    pub by: Option<String>,
    /// The receipts it belongs to.
    pub receipts: Vec<LandedOnDraft>,
    /// Whom it is owed to; accrued where absent.
    pub partner: Option<String>,
    /// The bill's number.
    pub document: Option<String>,
    /// Its date.
    pub date: Option<Day>,
    /// When it is due.
    pub due: Option<Day>,
}

/// A receipt that shares in a bill.
#[derive(Clone, Debug, Default)]
pub struct LandedOnDraft {
    /// Its capture id.
    pub of: String,
    /// The weight or volume of all of it, where the bill is shared by that and the item's own is not
    /// to count.
    pub weight: Option<String>,
}

/// Which pool is meant.
#[derive(Clone, Debug, Default)]
pub struct PoolDraft {
    /// The item's code.
    pub item: String,
    /// The site's code, where each site is a pool.
    pub site: Option<String>,
    /// The lot, where each lot is a pool.
    pub lot: Option<String>,
}

/// An amount added to what a pool holds.
#[derive(Clone, Debug, Default)]
pub struct RevaluationDraft {
    /// The pool.
    pub pool: PoolDraft,
    /// How much; negative where it is taken off.
    pub amount: String,
    /// Only the goods of these receipts.
    pub receipts: Vec<String>,
    /// Why: a reason's code.
    pub reason: Option<String>,
    /// When.
    pub date: Option<Day>,
}

/// A new standard cost.
#[derive(Clone, Debug, Default)]
pub struct StandardCostDraft {
    /// The pool; every pool of the item where no site is named.
    pub pool: PoolDraft,
    /// The cost of one base unit.
    pub cost: String,
    /// Why: a reason's code.
    pub reason: Option<String>,
    /// When.
    pub date: Option<Day>,
}

/// What goods are worth less than they cost.
#[derive(Clone, Debug, Default)]
pub struct WriteDownDraft {
    /// The pool.
    pub pool: PoolDraft,
    /// By how much; negative where earlier write-downs are taken back.
    pub amount: String,
    /// Why: a reason's code.
    pub reason: Option<String>,
    /// When.
    pub date: Option<Day>,
}

impl Desk<'_> {
    /// A supplier's credit note: one group.
    pub fn supplier_credit(&self, draft: &super::InvoiceDraft) -> Result<Group, FinanceError> {
        let partner = self.partner(&draft.partner, Side::Supplier)?;
        let lines = self.lines(draft, partner, &[Kind::Receipt], "receipt")?;
        self.group(draft.date, lines.into_iter().map(Statement::CreditNote).collect())
    }

    /// A bill over receipts: one group, shared.
    pub fn landed_cost(&self, draft: &LandedCostDraft) -> Result<Group, FinanceError> {
        let currency = self.currency_named(draft.currency.as_deref())?;
        let amount = signed_amount(&draft.amount, currency)?;
        let by = match &draft.by {
            None => SharedBy::Quantity,
            Some(word) => {
                SharedBy::from_word(word).ok_or_else(|| FinanceError::UnknownBasis(word.clone()))?
            }
        };
        let partner = draft.partner.as_deref().map(|code| self.partner(code, Side::Supplier));
        let partner = partner.transpose()?;
        if draft.receipts.is_empty() {
            return Err(FinanceError::NoLines);
        }
        let mut receipts: Vec<Capture> = Vec::new();
        let mut weights = Vec::new();
        for receipt in &draft.receipts {
            let capture = receipt.of.parse::<Capture>()?;
            let record = self.record(capture)?;
            must_be_receipt(capture, record)?;
            if receipts.contains(&capture) {
                return Err(FinanceError::Twice(capture));
            }
            receipts.push(capture);
            weights.push(self.weight(by, record, receipt)?);
        }
        let minor = amount.figure.units(currency.decimals()).map_err(|_| FinanceError::TooLarge)?;
        let shares = shared::money::share_out(minor, &weights).ok_or(FinanceError::TooLarge)?;
        let parts = receipts.into_iter().zip(shares).filter(|(_, share)| *share != 0);
        let statement = |(refers_to, share)| {
            Statement::LandedCost(LandedCost {
                refers_to,
                amount: of_minor(share, currency),
                shared_by: (draft.receipts.len() > 1).then_some(by),
                partner,
                document: draft.document.as_deref().map(short),
                document_date: draft.date,
                due_date: draft.due,
            })
        };
        self.group(draft.date, parts.map(statement).collect())
    }

    /// An amount added to a pool that holds something: one group.
    pub fn revaluation(&self, draft: &RevaluationDraft) -> Result<Group, FinanceError> {
        let pool = self.pool_name(&draft.pool)?;
        let holds = self.pools_of(&pool).any(|pool| pool.state.stock.quantity() > 0);
        if !holds {
            return Err(FinanceError::NothingThere(draft.pool.item.clone()));
        }
        let amount = signed_amount(&draft.amount, self.currency)?;
        let mut receipts = Vec::new();
        for written in &draft.receipts {
            let capture = written.parse::<Capture>()?;
            let record = self.record(capture)?;
            must_be_receipt(capture, record)?;
            if record.item != Some(pool.item) {
                return Err(FinanceError::OtherItem(capture));
            }
            receipts.push(Some(capture));
        }
        if receipts.is_empty() {
            receipts.push(None);
        }
        let reason = self.reason(draft.reason.as_deref())?;
        let amounts = std::iter::once(Some(amount)).chain(std::iter::repeat(None));
        let statement = |(refers_to, amount)| {
            Statement::Revaluation(Revaluation { pool: pool.clone(), amount, refers_to, reason })
        };
        self.group(draft.date, receipts.into_iter().zip(amounts).map(statement).collect())
    }

    /// A new standard cost: one group, a statement for each pool.
    pub fn standard_cost(&self, draft: &StandardCostDraft) -> Result<Group, FinanceError> {
        let name = self.pool_name_or_all(&draft.pool)?;
        let figure = self.price(&draft.cost)?;
        let reason = self.reason(draft.reason.as_deref())?;
        let of = |pool| Statement::StandardCost(StandardCost { pool, cost: figure, reason });
        let statements: Vec<_> = match name {
            (name, true) => vec![of(name)],
            (name, false) => self.pools_of(&name).map(named).map(of).collect(),
        };
        if statements.is_empty() {
            return Err(FinanceError::NoPool(draft.pool.item.clone()));
        }
        self.group(draft.date, statements)
    }

    /// Goods are worth less than they cost, or no longer: one group.
    pub fn write_down(&self, draft: &WriteDownDraft) -> Result<Group, FinanceError> {
        let pool = self.pool_name(&draft.pool)?;
        let amount = signed_amount(&draft.amount, self.currency)?;
        let decimals = self.currency.decimals();
        let change = amount.figure.units(decimals).map_err(|_| FinanceError::TooLarge)?;
        let allowances = self.books.allowances(self.now);
        let of_name = || self.pools_of(&pool);
        let written_down: i128 = of_name().map(|pool| i128::from(allowances.of(pool))).sum();
        if change < 0 {
            let barred = self.books.settings().write_down_reversal(self.company, self.now);
            if barred == Permission::Barred {
                return Err(FinanceError::WriteDownStands);
            }
            if written_down + i128::from(change) < 0 {
                return Err(FinanceError::MoreThanWrittenDown(self.shown(written_down)));
            }
        } else {
            if !of_name().any(|pool| pool.state.stock.quantity() > 0) {
                return Err(FinanceError::NothingThere(draft.pool.item.clone()));
            }
            let value: i128 = of_name().map(|pool| i128::from(pool.state.stock.value())).sum();
            if i128::from(change) > value - written_down {
                return Err(FinanceError::MoreThanCarried(self.shown(value - written_down)));
            }
        }
        let reason = self.reason(draft.reason.as_deref())?;
        let stated = WriteDown { pool, amount, reason };
        self.group(draft.date, vec![Statement::WriteDown(stated)])
    }

    /// How goods are costed: the method, and where a standard begins from now on, the standards of
    /// what is there. One group each.
    pub fn costing(
        &self,
        method: CostMethod,
        category: Option<&str>,
        from_the_beginning: bool,
    ) -> Result<Vec<Group>, FinanceError> {
        if method.by_lot() && !from_the_beginning {
            return Err(FinanceError::LotsFromTheBeginning);
        }
        let barred = || self.books.settings().lifo(self.company, self.now);
        if method == CostMethod::Lifo && barred() == Permission::Barred {
            return Err(FinanceError::LifoBarred);
        }
        let category = category.map(|code| {
            let found = self.catalogue.category_by_code(code).map(|category| category.category);
            found.ok_or_else(|| FinanceError::UnknownCategory(code.to_owned()))
        });
        let category = category.transpose()?;
        let data = MasterData::Costing { company: self.company, category, method };
        let valid_from = (!from_the_beginning).then_some(self.now);
        let mut groups = vec![Group::one(Statement::MasterData { valid_from, data })];
        if method == CostMethod::Standard && !from_the_beginning {
            let statements = self.first_standards(category);
            let together = shared::fact::statement::GROUP_MAX;
            for part in statements.chunks(together) {
                groups.push(self.group(None, part.to_vec())?);
            }
        }
        Ok(groups)
    }

    /// Goods that are there begin at the standard of their item.
    fn first_standards(&self, category: Option<CategoryNo>) -> Vec<Statement> {
        let standard = |pool: &Pool| {
            let item = self.catalogue.item(pool.item)?;
            let concerned = category.is_none_or(|category| category == item.category);
            let cost =
                item.fallback_cost.filter(|_| concerned && pool.state.stock.quantity() != 0)?;
            Some(Statement::StandardCost(StandardCost { pool: named(pool), cost, reason: None }))
        };
        self.pools().filter_map(standard).collect()
    }

    fn weight(
        &self,
        by: SharedBy,
        record: &FactRecord,
        draft: &LandedOnDraft,
    ) -> Result<i128, FinanceError> {
        match by {
            SharedBy::Value => Ok(i128::from(record.stated.unwrap_or(0))),
            SharedBy::Quantity => {
                let item = record.item.and_then(|item| self.catalogue.item(item));
                let decimals = item.map_or(0, |item| u32::from(item.decimals));
                // Decimals are at most 6, quantities below 2^53.
                Ok(i128::from(record.quantity.0) * 10i128.pow(6 - decimals.min(6)))
            }
            SharedBy::Weight | SharedBy::Volume => match draft.weight.as_deref() {
                Some(written) => {
                    let stated = scaled(positive("a weight or volume", written)?)?;
                    stated.checked_mul(QUANTITY_POWER).ok_or(FinanceError::TooLarge)
                }
                None => self.weight_of_item(by, record),
            },
        }
    }

    /// What the item's units weigh or take up, as it was known of them when they came.
    fn weight_of_item(&self, by: SharedBy, record: &FactRecord) -> Result<i128, FinanceError> {
        let item = record.item.and_then(|item| self.catalogue.item(item));
        let item = item.ok_or(FinanceError::NotInBooks(record.capture))?;
        let (settings, at) = (self.books.settings(), record.key.effective_at());
        let of_one = match by {
            SharedBy::Volume => settings.volume(item.item, at),
            _ => settings.weight(item.item, at),
        };
        let of_one = of_one.ok_or_else(|| {
            let (item, receipt) = (item.code.clone(), record.capture);
            FinanceError::NoWeight { by, receipt, item }
        })?;
        // Decimals are at most 6.
        let units = i128::from(record.quantity.0) * 10i128.pow(6 - u32::from(item.decimals).min(6));
        scaled(of_one)?.checked_mul(units).ok_or(FinanceError::TooLarge)
    }

    fn pool_name(&self, draft: &PoolDraft) -> Result<PoolName, FinanceError> {
        match self.pool_name_or_all(draft)? {
            (name, true) => Ok(name),
            (_, false) => Err(FinanceError::NameASite),
        }
    }

    /// The pool, and whether the draft names one and not all of the item.
    fn pool_name_or_all(&self, draft: &PoolDraft) -> Result<(PoolName, bool), FinanceError> {
        let item = self.catalogue.item_by_code(&draft.item).map(|item| item.item);
        let item = item.ok_or_else(|| FinanceError::UnknownItem(draft.item.clone()))?;
        let one_pool = self.books.scope(self.company) == CostScope::Company;
        let site = draft.site.as_ref().map(|code| self.site(code));
        let site = site.transpose()?.filter(|_| !one_pool);
        let lot = draft.lot.as_deref().map(|lot| ShortText::from_slice(lot.as_bytes()));
        let names_one = one_pool || site.is_some();
        Ok((PoolName { item, site, lot }, names_one))
    }

    /// A warehouse of the company.
    fn site(&self, code: &str) -> Result<SiteNo, FinanceError> {
        let site = self.catalogue.site_by_code(code);
        let site = site.ok_or_else(|| FinanceError::UnknownSite(code.to_owned()))?;
        if site.company == self.company {
            return Ok(site.site);
        }
        let (what, company) = (format!("site '{code}'"), self.code_of(site.company));
        Err(FinanceError::OtherCompany { what, company })
    }

    /// The company's pools.
    fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.books.pools().iter().filter(|pool| pool.company == self.company)
    }

    /// The pools that a name means; all of the item's where it names no site.
    fn pools_of(&self, name: &PoolName) -> impl Iterator<Item = &Pool> {
        let (item, site, lot): (ItemNo, Option<SiteNo>, _) =
            (name.item, name.site, name.lot.clone());
        self.pools().filter(move |pool| {
            let here = site.is_none() || pool.site == site;
            pool.item == item && here && (lot.is_none() || pool.lot == lot)
        })
    }

    pub(super) fn reason(&self, code: Option<&str>) -> Result<Option<ReasonNo>, FinanceError> {
        let find = |code: &str| {
            let reason = self.catalogue.reason_by_code(code).map(|reason| reason.reason);
            reason.ok_or_else(|| FinanceError::UnknownReason(code.to_owned()))
        };
        code.map(find).transpose()
    }
}

fn signed_amount(written: &str, currency: Currency) -> Result<Money, FinanceError> {
    let figure = decimal::parse(written)?;
    if figure.mantissa() == 0 {
        return Err(FinanceError::Nothing);
    }
    money(figure, currency, written)
}

pub(super) fn of_minor(amount: i64, currency: Currency) -> Money {
    let exponent = -currency.decimals().cast_signed();
    let figure = Scaled::new(amount, exponent).expect("a share of an amount that was written");
    Money { figure, currency }
}

fn must_be_receipt(capture: Capture, record: &FactRecord) -> Result<(), FinanceError> {
    if record.kind == Kind::Receipt {
        return Ok(());
    }
    Err(FinanceError::WrongKind { capture, found: record.kind, needed: "receipt" })
}

fn named(pool: &Pool) -> PoolName {
    PoolName { item: pool.item, site: pool.site, lot: pool.lot.clone() }
}

fn scaled(figure: Scaled) -> Result<i128, FinanceError> {
    let figure = figure.normalized();
    let shift = i32::from(figure.exponent()) - i32::from(WEIGHT_EXPONENT);
    let power = u32::try_from(shift).ok().and_then(|shift| 10i128.checked_pow(shift));
    let scaled = power.and_then(|power| i128::from(figure.mantissa()).checked_mul(power));
    scaled.ok_or(FinanceError::TooLarge)
}
