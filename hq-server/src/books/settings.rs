//! Master data as the books read it: every setting with its valid-from, looked up at a fact's
//! effective time. Knows no facts but master data, and no arrival.

use std::collections::{BTreeMap, BTreeSet};

use shared::fact::Kind;
use shared::fact::statement::{
    AccountType, CostMethod, CostScope, DoubtfulTime, LateCost, MasterData, Permission, PolicyKind,
    PurchaseCashDiscount, ReceiptFx, Role, StandardVariance,
};
use shared::ids::{AccountNo, CategoryNo, CompanyNo, ItemNo, PartnerNo, ReasonNo, SiteNo};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, Unit};
use shared::time::{OffsetMinutes, Timestamp};

use super::exchange::Rate;

/// Numbers of master data are dense; a larger one is a mistake and would waste memory.
const NUMBER_LIMIT: u32 = 1 << 24;

/// A setting over time: newest valid-from first wins, and of equal ones the one learnt last.
#[derive(Clone, Debug)]
struct Versions<T>(Vec<(Timestamp, T)>);

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Versions<T> {
    fn add(&mut self, valid_from: Timestamp, setting: T) {
        let at = self.0.partition_point(|(from, _)| *from <= valid_from);
        self.0.insert(at, (valid_from, setting));
    }

    fn at(&self, time: Timestamp) -> Option<&T> {
        let after = self.0.partition_point(|(from, _)| *from <= time);
        after.checked_sub(1).map(|index| &self.0[index].1)
    }

    /// Every one that began by then, the latest first.
    fn before(&self, time: Timestamp) -> impl Iterator<Item = &T> {
        let after = self.0.partition_point(|(from, _)| *from <= time);
        self.0[..after].iter().rev().map(|(_, setting)| setting)
    }

    fn newest(&self) -> Option<&T> {
        self.0.last().map(|(_, setting)| setting)
    }
}

/// Settings of one kind by their dense number.
#[derive(Clone, Debug)]
struct Table<T>(Vec<Versions<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Table<T> {
    fn add(&mut self, number: u32, valid_from: Timestamp, setting: T) -> Result<(), Refused> {
        if number >= NUMBER_LIMIT {
            return Err(Refused::NumberTooLarge(number));
        }
        let index = number as usize;
        if index >= self.0.len() {
            self.0.resize_with(index + 1, Versions::default);
        }
        self.0[index].add(valid_from, setting);
        Ok(())
    }

    fn at(&self, number: u32, time: Timestamp) -> Option<&T> {
        self.0.get(number as usize).and_then(|versions| versions.at(time))
    }

    fn newest(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = self.0.iter().enumerate();
        numbered.filter_map(|(number, versions)| {
            Some((u32::try_from(number).ok()?, versions.newest()?))
        })
    }
}

/// A company's settings.
#[derive(Clone, Debug)]
pub struct Company {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its functional currency.
    pub currency: Currency,
    /// Its zone: decides days and ledger months.
    pub zone: OffsetMinutes,
    /// Its cost pools.
    pub scope: CostScope,
}

/// A warehouse.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its company.
    pub company: CompanyNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// An item.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its category.
    pub category: CategoryNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its base unit.
    pub unit: Unit,
    /// Decimals of its smallest unit.
    pub decimals: u8,
    /// Sold, never stocked.
    pub service: bool,
    /// Cost before anything else is known.
    pub fallback_cost: Option<Price>,
}

/// A customer or supplier, or whatever else has only a code and a name.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// A ledger account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its company.
    pub company: CompanyNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// What it is in the statements.
    pub account_type: AccountType,
}

/// Where a mapping rule holds; `None` is everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Condition {
    category: Option<CategoryNo>,
    site: Option<SiteNo>,
    movement: Option<Kind>,
    reason: Option<ReasonNo>,
}

/// What an account is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lookup {
    /// The company.
    pub company: CompanyNo,
    /// The role.
    pub role: Role,
    /// The item's category.
    pub category: Option<CategoryNo>,
    /// The site.
    pub site: SiteNo,
    /// The kind of fact.
    pub movement: Kind,
    /// The reason.
    pub reason: Option<ReasonNo>,
}

impl Condition {
    /// How narrow the rule is: reason before kind before site before category.
    fn weight(&self) -> u8 {
        u8::from(self.reason.is_some()) * 8
            + u8::from(self.movement.is_some()) * 4
            + u8::from(self.site.is_some()) * 2
            + u8::from(self.category.is_some())
    }

    fn covers(&self, lookup: &Lookup) -> bool {
        self.category.is_none_or(|category| lookup.category == Some(category))
            && self.site.is_none_or(|site| lookup.site == site)
            && self.movement.is_none_or(|movement| lookup.movement == movement)
            && self.reason.is_none_or(|reason| lookup.reason == Some(reason))
    }
}

#[derive(Clone, Debug)]
struct MappingRule {
    condition: Condition,
    valid_from: Timestamp,
    account: AccountNo,
}

/// Why the books do not take a piece of master data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Numbers are dense.
    #[error("the number {0} is too large: numbers are given one after another")]
    NumberTooLarge(u32),
    /// A control account has one role: its balance is proved against one subledger.
    #[error(
        "account {account} already is {}: {} needs an account of its own",
        held.word(), wanted.word()
    )]
    SharedControlAccount {
        /// The account.
        account: AccountNo,
        /// What it is already.
        held: Role,
        /// What it should be too.
        wanted: Role,
    },
    /// The decimals, scope or currency of something with facts can't change.
    #[error("{0} can't change once it is set: make a new one instead")]
    Fixed(&'static str),
}

/// Whether a subledger proves the balance of accounts with this role.
pub const fn is_control(role: Role) -> bool {
    matches!(
        role,
        Role::Inventory
            | Role::ReceivedNotInvoiced
            | Role::BoughtInTransit
            | Role::InterSiteTransit
            | Role::Receivable
            | Role::UnbilledReceivable
            | Role::Payable
            | Role::SupplierPrepayment
            | Role::CustomerAdvance
            | Role::InterCompanyReceivable
            | Role::InterCompanyPayable
            | Role::StockVariance
    )
}

/// All master data the books need.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    companies: Table<Company>,
    sites: Table<Site>,
    categories: Table<Named>,
    items: Table<Item>,
    units: BTreeMap<(ItemNo, Unit), Versions<(u64, u64)>>,
    weights: BTreeMap<ItemNo, Versions<Scaled>>,
    volumes: BTreeMap<ItemNo, Versions<Scaled>>,
    partners: Table<Named>,
    reasons: Table<Named>,
    accounts: Table<Account>,
    mapping: BTreeMap<(CompanyNo, Role), Vec<MappingRule>>,
    methods: BTreeMap<(CompanyNo, Option<CategoryNo>), Versions<CostMethod>>,
    methods_vary: bool,
    /// Some goods are costed at month-end average.
    costs_by_month: bool,
    policies: BTreeMap<(CompanyNo, PolicyKind), Versions<i64>>,
    /// Each with its end.
    rates: BTreeMap<(CompanyNo, Currency), Versions<(Timestamp, Scaled)>>,
    /// The role an account was first mapped to.
    roles: BTreeMap<AccountNo, Role>,
    rules: Option<i64>,
    /// See [`Settings::carries`].
    carrying: BTreeSet<CompanyNo>,
}

impl Settings {
    /// Takes one statement of HQ. Kinds that only the edge needs change nothing here.
    pub fn take(
        &mut self,
        valid_from: Option<Timestamp>,
        data: &MasterData,
    ) -> Result<(), Refused> {
        self.take_one(valid_from, data)?;
        match data {
            MasterData::Policy { .. }
            | MasterData::Costing { .. }
            | MasterData::Mapping { .. }
            | MasterData::Account { .. }
            | MasterData::Rules { .. } => self.find_carrying(),
            _ => {}
        }
        Ok(())
    }

    fn take_one(
        &mut self,
        valid_from: Option<Timestamp>,
        data: &MasterData,
    ) -> Result<(), Refused> {
        let from = valid_from.unwrap_or(Timestamp(i64::MIN));
        match data.clone() {
            MasterData::Company { company, code, name, currency, zone, scope } => {
                if self.companies.0.get(company.0 as usize).and_then(Versions::newest).is_some_and(
                    |held| (held.currency, held.zone, held.scope) != (currency, zone, scope),
                ) {
                    return Err(Refused::Fixed("the currency, zone and cost scope of a company"));
                }
                self.companies.add(company.0, from, Company { code, name, currency, zone, scope })
            }
            MasterData::Site { site, company, code, name } => {
                if self.sites.newest().any(|(no, held)| no == site.0 && held.company != company) {
                    return Err(Refused::Fixed("the company of a site"));
                }
                self.sites.add(site.0, from, Site { company, code, name })
            }
            MasterData::Category { category, code, name } => {
                self.categories.add(category.0, from, Named { code, name })
            }
            MasterData::Item {
                item,
                category,
                code,
                name,
                unit,
                decimals,
                service,
                fallback_cost,
            } => {
                let held = self.items.0.get(item.0 as usize).and_then(Versions::newest);
                if held.is_some_and(|held| {
                    (&held.unit, held.decimals, held.service) != (&unit, decimals, service)
                }) {
                    return Err(Refused::Fixed(
                        "the base unit, decimals and service mark of an item",
                    ));
                }
                // Of another category, the item may be costed otherwise.
                self.methods_vary |= held.is_some_and(|held| held.category != category);
                let item_of = Item { category, code, name, unit, decimals, service, fallback_cost };
                self.items.add(item.0, from, item_of)
            }
            MasterData::UnitConversion { item, unit, numerator, denominator } => {
                self.units.entry((item, unit)).or_default().add(from, (numerator, denominator));
                Ok(())
            }
            MasterData::Partner { partner, code, name, .. } => {
                self.partners.add(partner.0, from, Named { code, name })
            }
            MasterData::Reason { reason, code, name, .. } => {
                self.reasons.add(reason.0, from, Named { code, name })
            }
            MasterData::Account { account, company, code, name, account_type } => {
                self.accounts.add(account.0, from, Account { company, code, name, account_type })
            }
            MasterData::Mapping { company, role, account, category, site, movement, reason } => {
                self.claim(account, role)?;
                let condition = Condition { category, site, movement, reason };
                let rule = MappingRule { condition, valid_from: from, account };
                self.mapping.entry((company, role)).or_default().push(rule);
                Ok(())
            }
            MasterData::Costing { company, category, method } => {
                self.methods_vary |= valid_from.is_some();
                self.costs_by_month |= method == CostMethod::MonthEndAverage;
                self.methods.entry((company, category)).or_default().add(from, method);
                Ok(())
            }
            MasterData::Policy { company: Some(company), policy, setting, .. } => {
                self.policies.entry((company, policy)).or_default().add(from, setting);
                Ok(())
            }
            MasterData::Rate { company, currency, rate, until } => {
                self.rates.entry((company, currency)).or_default().add(from, (until, rate));
                Ok(())
            }
            MasterData::ItemMeasure { item, weight, volume } => {
                for (stated, held) in [(weight, &mut self.weights), (volume, &mut self.volumes)] {
                    if let Some(figure) = stated {
                        held.entry(item).or_default().add(from, figure);
                    }
                }
                Ok(())
            }
            MasterData::Policy { company: None, .. }
            | MasterData::HandledItem { .. }
            | MasterData::SiteLog { .. }
            | MasterData::Carrier { .. }
            | MasterData::Restored { .. }
            | MasterData::VoucherGap { .. }
            | MasterData::Ruling { .. } => Ok(()),
            MasterData::Rules { number } => {
                self.rules = Some(number);
                Ok(())
            }
        }
    }

    /// How a category's goods are costed at a time: by its own method, else by the company's, else
    /// by moving average.
    pub fn method(&self, company: CompanyNo, category: CategoryNo, at: Timestamp) -> CostMethod {
        let of = |category| self.methods.get(&(company, category))?.at(at);
        of(Some(category)).or_else(|| of(None)).copied().unwrap_or(CostMethod::MovingAverage)
    }

    /// What a company chose of a policy at a time: the number of the choice, the first where it
    /// stated none.
    fn choice(&self, company: CompanyNo, policy: PolicyKind, at: Timestamp) -> u64 {
        let stated = self.policies.get(&(company, policy)).and_then(|versions| versions.at(at));
        stated.and_then(|setting| u64::try_from(*setting).ok()).unwrap_or(1)
    }

    /// The word of what a company chose of a policy at a time; none for policies of sites.
    pub fn chosen(
        &self,
        company: CompanyNo,
        policy: PolicyKind,
        at: Timestamp,
    ) -> Option<&'static str> {
        policy.word_of(self.choice(company, policy, at).cast_signed())
    }

    /// Who bears an exchange rate that moves between a receipt and its invoice.
    pub fn receipt_fx(&self, company: CompanyNo, at: Timestamp) -> ReceiptFx {
        let choice = self.choice(company, PolicyKind::ReceiptFx, at);
        ReceiptFx::from_number(choice).unwrap_or(ReceiptFx::Exchange)
    }

    /// What becomes of standard cost variances.
    pub fn standard_variance(&self, company: CompanyNo, at: Timestamp) -> StandardVariance {
        let choice = self.choice(company, PolicyKind::StandardVariance, at);
        StandardVariance::from_number(choice).unwrap_or(StandardVariance::Expense)
    }

    /// Whether stock of a company may carry variances: it has goods at standard cost, chose to
    /// allocate at some time, and has an account for them whatever the goods and the time. Once so,
    /// it stays so.
    pub fn carries(&self, company: CompanyNo) -> bool {
        self.carrying.contains(&company)
    }

    fn find_carrying(&mut self) {
        if self.rules() < super::rules::CARRIED_VARIANCES {
            return;
        }
        let allocate = StandardVariance::Allocate as i64;
        let chosen = self.policies.iter().filter(|((_, policy), versions)| {
            *policy == PolicyKind::StandardVariance
                && versions.0.iter().any(|(_, setting)| *setting == allocate)
        });
        let carry = chosen.map(|((company, _), _)| *company).filter(|company| {
            !self.carries(*company)
                && self.costs_at_standard(*company)
                && self.has_account_for_all(*company, Role::StockVariance)
        });
        let carry: Vec<CompanyNo> = carry.collect();
        self.carrying.extend(carry);
    }

    fn costs_at_standard(&self, company: CompanyNo) -> bool {
        let of_company = self.methods.iter().filter(|((of, _), _)| *of == company);
        { of_company }.any(|(_, versions)| {
            versions.0.iter().any(|(_, method)| *method == CostMethod::Standard)
        })
    }

    /// Whether a role has an account from the beginning on, under no condition.
    pub fn has_account_for_all(&self, company: CompanyNo, role: Role) -> bool {
        let rules = self.mapping.get(&(company, role)).into_iter().flatten();
        let begins = Timestamp(i64::MIN);
        { rules }.any(|rule| {
            (rule.valid_from, rule.condition) == (begins, Condition::default())
                && self.accounts.at(rule.account.0, begins).is_some()
        })
    }

    /// Where value goes that became known after the month of its goods was closed.
    pub fn late_cost(&self, company: CompanyNo, at: Timestamp) -> LateCost {
        let choice = self.choice(company, PolicyKind::LateCost, at);
        LateCost::from_number(choice).unwrap_or(LateCost::Trace)
    }

    /// Whether goods may be costed last in, first out.
    pub fn lifo(&self, company: CompanyNo, at: Timestamp) -> Permission {
        let choice = self.choice(company, PolicyKind::Lifo, at);
        Permission::from_number(choice).unwrap_or(Permission::Allowed)
    }

    /// Whether a write-down may be taken back.
    pub fn write_down_reversal(&self, company: CompanyNo, at: Timestamp) -> Permission {
        let choice = self.choice(company, PolicyKind::WriteDownReversal, at);
        Permission::from_number(choice).unwrap_or(Permission::Allowed)
    }

    /// Whose a discount is that a supplier grants for early payment.
    pub fn purchase_cash_discount(
        &self,
        company: CompanyNo,
        at: Timestamp,
    ) -> PurchaseCashDiscount {
        let choice = self.choice(company, PolicyKind::PurchaseCashDiscount, at);
        PurchaseCashDiscount::from_number(choice).unwrap_or(PurchaseCashDiscount::Cost)
    }

    /// Who says when something happened whose time is in doubt.
    pub fn doubtful_time(&self, company: CompanyNo, at: Timestamp) -> DoubtfulTime {
        let choice = self.choice(company, PolicyKind::DoubtfulTime, at);
        DoubtfulTime::from_number(choice).unwrap_or(DoubtfulTime::WithinDay)
    }

    /// What one unit of a currency costs a company at a time: of the rates that hold the one that
    /// began last. None where no rate holds: nobody says that an older one would do.
    pub fn rate(&self, company: CompanyNo, currency: Currency, at: Timestamp) -> Option<Rate> {
        let own = self.companies.0.get(company.0 as usize)?.newest()?.currency;
        let holds = |&&(until, _): &&(Timestamp, Scaled)| at < until;
        let rate = self.rates.get(&(company, currency))?.before(at).find(holds);
        rate.map(|(_, figure)| Rate { figure: *figure, currency: own })
    }

    /// Rates of a company as they were stated, by currency and beginning: from, until, rate.
    pub fn rates(
        &self,
        company: CompanyNo,
    ) -> impl Iterator<Item = (Currency, Timestamp, Timestamp, Scaled)> {
        let of_company = self.rates.iter().filter(move |((of, _), _)| *of == company);
        of_company.flat_map(|((_, currency), versions)| {
            let each = versions.0.iter();
            each.map(|(from, (until, rate))| (*currency, *from, *until, *rate))
        })
    }

    /// Whether some goods are costed otherwise from some day on.
    pub const fn methods_vary(&self) -> bool {
        self.methods_vary
    }

    /// The rules that the books follow now.
    pub fn rules(&self) -> i64 {
        self.rules.unwrap_or(super::RULES)
    }

    /// Whether some goods are costed by months: at month-end average, or with variances that are
    /// shared month by month.
    pub fn costs_by_month(&self) -> bool {
        self.costs_by_month || self.carries_any()
    }

    /// Whether any company's stock may carry variances.
    pub fn carries_any(&self) -> bool {
        !self.carrying.is_empty()
    }

    /// How many companies' stock may.
    pub(super) fn carrying(&self) -> usize {
        self.carrying.len()
    }

    /// A payment goes through an account: from now on it is no control account.
    pub fn claim_for_payments(&mut self, account: AccountNo) {
        self.roles.entry(account).or_insert(Role::Bank);
    }

    fn claim(&mut self, account: AccountNo, wanted: Role) -> Result<(), Refused> {
        let held = *self.roles.entry(account).or_insert(wanted);
        if held != wanted && (is_control(held) || is_control(wanted)) {
            return Err(Refused::SharedControlAccount { account, held, wanted });
        }
        Ok(())
    }

    /// The company at a time.
    pub fn company(&self, company: CompanyNo, time: Timestamp) -> Option<&Company> {
        self.companies.at(company.0, time)
    }

    /// The site at a time.
    pub fn site(&self, site: SiteNo, time: Timestamp) -> Option<&Site> {
        self.sites.at(site.0, time)
    }

    /// The item at a time.
    pub fn item(&self, item: ItemNo, time: Timestamp) -> Option<&Item> {
        self.items.at(item.0, time)
    }

    /// Whether the partner is known at a time.
    pub fn partner(&self, partner: PartnerNo, time: Timestamp) -> Option<&Named> {
        self.partners.at(partner.0, time)
    }

    /// Whether the reason is known at a time.
    pub fn reason(&self, reason: ReasonNo, time: Timestamp) -> Option<&Named> {
        self.reasons.at(reason.0, time)
    }

    /// How many of the item's base units one of `unit` is, at a time.
    pub fn unit_factor(&self, item: ItemNo, unit: &Unit, time: Timestamp) -> Option<(u64, u64)> {
        if self.item(item, time)?.unit == *unit {
            return Some((1, 1));
        }
        self.units.get(&(item, unit.clone()))?.at(time).copied()
    }

    /// What one base unit of an item weighs at a time, in kilograms.
    pub fn weight(&self, item: ItemNo, time: Timestamp) -> Option<Scaled> {
        self.weights.get(&item)?.at(time).copied()
    }

    /// What one base unit of an item takes up at a time, in litres.
    pub fn volume(&self, item: ItemNo, time: Timestamp) -> Option<Scaled> {
        self.volumes.get(&item)?.at(time).copied()
    }

    /// The account for a role: the narrowest rule that holds; of equally narrow ones the newest.
    /// A rule does not hold before its account is known: so what once had an account keeps one.
    pub fn account(&self, lookup: &Lookup, time: Timestamp) -> Option<AccountNo> {
        let rules = self.mapping.get(&(lookup.company, lookup.role))?;
        rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.valid_from <= time && rule.condition.covers(lookup))
            .filter(|(_, rule)| self.accounts.at(rule.account.0, time).is_some())
            .max_by_key(|(index, rule)| (rule.condition.weight(), rule.valid_from, *index))
            .map(|(_, rule)| rule.account)
    }

    /// The role an account is mapped to.
    pub fn role_of(&self, account: AccountNo) -> Option<Role> {
        self.roles.get(&account).copied()
    }

    /// Companies as they stand now.
    pub fn companies(&self) -> impl Iterator<Item = (CompanyNo, &Company)> {
        self.companies.newest().map(|(number, company)| (CompanyNo(number), company))
    }

    /// Sites as they stand now.
    pub fn sites(&self) -> impl Iterator<Item = (SiteNo, &Site)> {
        self.sites.newest().map(|(number, site)| (SiteNo(number), site))
    }

    /// Categories as they stand now.
    pub fn categories(&self) -> impl Iterator<Item = (CategoryNo, &Named)> {
        self.categories.newest().map(|(number, category)| (CategoryNo(number), category))
    }

    /// Items as they stand now.
    pub fn items(&self) -> impl Iterator<Item = (ItemNo, &Item)> {
        self.items.newest().map(|(number, item)| (ItemNo(number), item))
    }

    /// Partners as they stand now.
    pub fn partners(&self) -> impl Iterator<Item = (PartnerNo, &Named)> {
        self.partners.newest().map(|(number, partner)| (PartnerNo(number), partner))
    }

    /// Reasons as they stand now.
    pub fn reasons(&self) -> impl Iterator<Item = (ReasonNo, &Named)> {
        self.reasons.newest().map(|(number, reason)| (ReasonNo(number), reason))
    }

    /// Accounts as they stand now.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountNo, &Account)> {
        self.accounts.newest().map(|(number, account)| (AccountNo(number), account))
    }
}

/// Why a figure and unit are no quantity of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// Not a whole number of the item's smallest unit.
    #[error("is no whole number of the item's smallest unit ({decimals} decimals)")]
    NotWhole {
        /// Decimals of the smallest unit.
        decimals: u8,
    },
    /// Beyond 2^53 smallest units.
    #[error("is too large")]
    TooLarge,
}

/// A figure in a unit of numerator / denominator base units, in smallest units.
pub(super) fn smallest_units(
    figure: Scaled,
    (numerator, denominator): (u64, u64),
    decimals: u8,
) -> Result<i64, MeasureError> {
    let shift = i32::from(figure.exponent()) + i32::from(decimals);
    let power = 10i128.checked_pow(shift.unsigned_abs()).ok_or(MeasureError::TooLarge)?;
    let product = i128::from(figure.mantissa())
        .checked_mul(numerator.into())
        .ok_or(MeasureError::TooLarge)?;
    let (product, divisor) = if shift >= 0 {
        (product.checked_mul(power).ok_or(MeasureError::TooLarge)?, i128::from(denominator))
    } else {
        let divisor = power.checked_mul(denominator.into()).ok_or(MeasureError::TooLarge)?;
        (product, divisor)
    };
    if product % divisor != 0 {
        return Err(MeasureError::NotWhole { decimals });
    }
    i64::try_from(product / divisor)
        .ok()
        .filter(|units| units.unsigned_abs() < shared::varint::LIMIT)
        .ok_or(MeasureError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_valid_at_the_time_holds() {
        let mut versions = Versions::default();
        versions.add(Timestamp(10), "b");
        versions.add(Timestamp(0), "a");
        versions.add(Timestamp(10), "c");
        let found: Vec<_> =
            [-1, 0, 9, 10, 99].map(|time| versions.at(Timestamp(time)).copied()).into();
        assert_eq!(found, [None, Some("a"), Some("a"), Some("c"), Some("c")]);
    }

    #[test]
    fn a_company_chooses_for_itself_and_from_a_day_on() {
        let mut settings = Settings::default();
        let mut choose = |company, from, choice: ReceiptFx| {
            let policy = PolicyKind::ReceiptFx;
            let (company, setting) = (Some(CompanyNo(company)), choice as i64);
            let data = MasterData::Policy { company, site: None, policy, setting };
            settings.take(Some(Timestamp(from)), &data).expect("taken");
        };
        choose(1, 5, ReceiptFx::Cost);
        choose(1, 9, ReceiptFx::Exchange);
        let at = |company, at| settings.receipt_fx(CompanyNo(company), Timestamp(at));
        let found = [(1, 4), (1, 5), (1, 9), (2, 5)].map(|(company, time)| at(company, time));
        let [exchange, cost] = [ReceiptFx::Exchange, ReceiptFx::Cost];
        assert_eq!(found, [exchange, cost, exchange, exchange]);
    }

    #[test]
    fn a_rate_holds_to_its_end_and_the_last_to_begin_counts() {
        let mut settings = Settings::default();
        let (company, usd) = (CompanyNo(1), "USD".parse().expect("a code"));
        let data = MasterData::Company {
            company,
            code: String::new(),
            name: String::new(),
            currency: "CNY".parse().expect("a code"),
            zone: OffsetMinutes(0),
            scope: CostScope::Site,
        };
        settings.take(None, &data).expect("taken");
        for (from, until, rate) in [(10, 20, 1), (0, 12, 2), (14, 15, 3), (14, 15, 4)] {
            let (until, rate) = (Timestamp(until), Scaled::new(rate, 0).expect("in range"));
            let data = MasterData::Rate { company, currency: usd, rate, until };
            settings.take(Some(Timestamp(from)), &data).expect("taken");
        }
        let at = |at| settings.rate(company, usd, Timestamp(at)).map(|rate| rate.figure.mantissa());
        let found: Vec<_> = [-1, 0, 9, 10, 11, 13, 14, 15, 19, 20].map(at).into();
        let expected =
            [None, Some(2), Some(2), Some(1), Some(1), Some(1), Some(4), Some(1), Some(1), None];
        assert_eq!(found, expected);
    }

    #[test]
    fn quantities_in_smallest_units() {
        let figure = |mantissa, exponent| Scaled::new(mantissa, exponent).expect("in range");
        let cases = [
            (figure(3, 0), (12, 1), 0, Ok(36)),
            (figure(25, -1), (1, 1), 3, Ok(2_500)),
            (figure(25, -1), (1, 1), 0, Err(MeasureError::NotWhole { decimals: 0 })),
            (figure(1, 0), (1, 3), 0, Err(MeasureError::NotWhole { decimals: 0 })),
            (figure(9, 0), (1, 3), 0, Ok(3)),
            (figure(9, 12), (4_294_967_295, 1), 6, Err(MeasureError::TooLarge)),
        ];
        for (figure, factor, decimals, expected) in cases {
            assert_eq!(smallest_units(figure, factor, decimals), expected);
        }
    }

    #[test]
    fn the_narrowest_mapping_rule_wins() {
        let mut settings = Settings::default();
        let company = CompanyNo(1);
        for number in 1..=4 {
            let account = MasterData::Account {
                account: AccountNo(number),
                company,
                code: number.to_string(),
                name: String::new(),
                account_type: AccountType::Expense,
            };
            settings.take(None, &account).expect("taken");
        }
        let mut map = |account, category, site, reason, from: Option<i64>| {
            let data = MasterData::Mapping {
                company,
                role: Role::StockAdjustment,
                account: AccountNo(account),
                category,
                site,
                movement: None,
                reason,
            };
            settings.take(from.map(Timestamp), &data).expect("taken");
        };
        map(1, None, None, None, None);
        map(2, Some(CategoryNo(7)), Some(SiteNo(3)), None, None);
        map(3, None, None, Some(ReasonNo(9)), None);
        map(4, None, None, None, Some(100));
        let find = |category, site, reason, time| {
            let lookup = Lookup {
                company,
                role: Role::StockAdjustment,
                category: Some(CategoryNo(category)),
                site: SiteNo(site),
                movement: Kind::Count,
                reason,
            };
            settings.account(&lookup, Timestamp(time)).map(|account| account.0)
        };
        assert_eq!(find(1, 1, None, 0), Some(1));
        assert_eq!(find(7, 3, None, 0), Some(2));
        assert_eq!(find(7, 3, Some(ReasonNo(9)), 0), Some(3));
        assert_eq!(find(1, 1, None, 100), Some(4));
    }
}
