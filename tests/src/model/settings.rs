//! Master data as the model reads it: every version kept in a list, looked up by walking it.
//! Knows no movements.

use std::collections::BTreeMap;

use shared::fact::Kind;
use shared::fact::statement::{
    CostMethod, CostScope, MasterData, PolicyKind, ReceiptFx, Role, StandardVariance,
};
use shared::ids::{AccountNo, CategoryNo, CompanyNo, ItemNo, PartnerNo, ReasonNo, SiteNo};
use shared::money::{Currency, Price};
use shared::quantity::Unit;
use shared::time::OffsetMinutes;

use super::figure::{Figure, decimal, power_of_ten, whole};

/// What a piece of master data is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Company(CompanyNo),
    Site(SiteNo),
    Item(ItemNo),
    Unit(ItemNo, Unit),
    Partner(PartnerNo),
    Reason(ReasonNo),
    Account(AccountNo),
    Mapping(CompanyNo, Role),
    Costing(CompanyNo, Option<CategoryNo>),
    Policy(CompanyNo, PolicyKind),
    Rate(CompanyNo, Currency),
}

/// A company's settings.
#[derive(Clone, Copy, Debug)]
pub struct Company {
    /// Its functional currency.
    pub currency: Currency,
    /// Its zone.
    pub zone: OffsetMinutes,
    /// Its cost pools.
    pub scope: CostScope,
}

/// An item's settings.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its category.
    pub category: CategoryNo,
    /// Its base unit.
    pub unit: Unit,
    /// Decimals of its smallest unit.
    pub decimals: u8,
    /// Never stocked.
    pub service: bool,
    /// Cost before anything is known.
    pub fallback_cost: Option<Price>,
}

/// What an account is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The company.
    pub company: CompanyNo,
    /// The role.
    pub role: Role,
    /// The item's category.
    pub category: Option<CategoryNo>,
    /// The site; 0 where the line has none.
    pub site: SiteNo,
    /// The kind of fact.
    pub movement: Kind,
    /// The reason.
    pub reason: Option<ReasonNo>,
}

/// Every version of all master data, as (valid-from, data) in the order HQ stated it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    versions: BTreeMap<About, Vec<(i64, MasterData)>>,
    /// The first role each account was mapped to.
    roles: BTreeMap<AccountNo, Role>,
}

/// Roles whose balance a subledger proves: such an account has no other role.
const PROVED: [Role; 12] = [
    Role::StockVariance,
    Role::Inventory,
    Role::ReceivedNotInvoiced,
    Role::BoughtInTransit,
    Role::InterSiteTransit,
    Role::Receivable,
    Role::UnbilledReceivable,
    Role::Payable,
    Role::SupplierPrepayment,
    Role::CustomerAdvance,
    Role::InterCompanyReceivable,
    Role::InterCompanyPayable,
];

impl Settings {
    /// Takes a statement of HQ; false where it contradicts what can't change.
    pub fn take(&mut self, valid_from: Option<i64>, data: &MasterData) -> bool {
        let Some(about) = about(data) else { return true };
        if let MasterData::Mapping { account, role, .. } = data {
            self.claim(*account, *role);
            let held = self.roles[account];
            if held != *role && (PROVED.contains(&held) || PROVED.contains(role)) {
                return false;
            }
        }
        let versions = self.versions.entry(about).or_default();
        if versions.iter().any(|(_, held)| contradicts(held, data)) {
            return false;
        }
        versions.push((valid_from.unwrap_or(i64::MIN), data.clone()));
        true
    }

    /// An account has the role it was first used for.
    pub fn claim(&mut self, account: AccountNo, role: Role) {
        self.roles.entry(account).or_insert(role);
    }

    /// Whether a payment may go through an account.
    pub fn can_take_payments(&self, account: AccountNo, company: CompanyNo) -> bool {
        let known = match self.at(&About::Account(account), i64::MAX) {
            Some(MasterData::Account { company: of, .. }) => *of == company,
            _ => false,
        };
        known && !self.roles.get(&account).is_some_and(|role| PROVED.contains(role))
    }

    /// Of the versions valid at `time` the one with the latest valid-from, of those the last.
    fn at(&self, about: &About, time: i64) -> Option<&MasterData> {
        let valid = self.versions.get(about)?.iter().filter(|(from, _)| *from <= time);
        valid.max_by_key(|(from, _)| *from).map(|(_, data)| data)
    }

    /// The company at a time.
    pub fn company(&self, company: CompanyNo, time: i64) -> Option<Company> {
        match self.at(&About::Company(company), time)? {
            MasterData::Company { currency, zone, scope, .. } => {
                Some(Company { currency: *currency, zone: *zone, scope: *scope })
            }
            _ => None,
        }
    }

    /// The company of a site at a time.
    pub fn company_of(&self, site: SiteNo, time: i64) -> Option<CompanyNo> {
        match self.at(&About::Site(site), time)? {
            MasterData::Site { company, .. } => Some(*company),
            _ => None,
        }
    }

    /// The item at a time.
    pub fn item(&self, item: ItemNo, time: i64) -> Option<Item> {
        match self.at(&About::Item(item), time)? {
            MasterData::Item { category, unit, decimals, service, fallback_cost, .. } => {
                Some(Item {
                    category: *category,
                    unit: unit.clone(),
                    decimals: *decimals,
                    service: *service,
                    fallback_cost: *fallback_cost,
                })
            }
            _ => None,
        }
    }

    /// How goods of a category are costed at a time: as stated for it, else for the company.
    pub fn method(&self, company: CompanyNo, category: CategoryNo, time: i64) -> CostMethod {
        let stated = |category| match self.at(&About::Costing(company, category), time)? {
            MasterData::Costing { method, .. } => Some(*method),
            _ => None,
        };
        stated(Some(category)).or_else(|| stated(None)).unwrap_or(CostMethod::MovingAverage)
    }

    /// Whether goods bear what an exchange rate moved between their receipt and their invoice.
    pub fn goods_bear_rates(&self, company: CompanyNo, time: i64) -> bool {
        match self.at(&About::Policy(company, PolicyKind::ReceiptFx), time) {
            Some(MasterData::Policy { setting, .. }) => *setting == ReceiptFx::Cost as i64,
            _ => false,
        }
    }

    /// Whether variances from a standard are shared with the goods from a time on.
    pub fn allocates(&self, company: CompanyNo, time: i64) -> bool {
        match self.at(&About::Policy(company, PolicyKind::StandardVariance), time) {
            Some(MasterData::Policy { setting, .. }) => {
                *setting == StandardVariance::Allocate as i64
            }
            _ => false,
        }
    }

    /// Whether a company may carry variances at all: it chose to at some time, costs some goods at
    /// standard at some time, and states an account for all of them from the beginning on.
    pub fn may_carry(&self, company: CompanyNo) -> bool {
        let all = || self.versions.values().flatten();
        let chose = all().any(|(_, data)| {
            matches!(data, MasterData::Policy { company: Some(of), policy, setting, .. }
                if *of == company
                    && *policy == PolicyKind::StandardVariance
                    && *setting == StandardVariance::Allocate as i64)
        });
        let at_standard = all().any(|(_, data)| {
            matches!(data, MasterData::Costing { company: of, method: CostMethod::Standard, .. }
                if *of == company)
        });
        let has_account = all().any(|(from, data)| match data {
            MasterData::Mapping {
                company: of,
                role: Role::StockVariance,
                account,
                category: None,
                site: None,
                movement: None,
                reason: None,
            } => *of == company && *from == i64::MIN && self.knows_account(*account, i64::MIN),
            _ => false,
        });
        chose && at_standard && has_account
    }

    /// What one unit of a currency costs: of the rates that hold the one that began last, of those
    /// the last.
    pub fn rate(&self, company: CompanyNo, currency: Currency, time: i64) -> Option<Figure> {
        let stated = self.versions.get(&About::Rate(company, currency))?.iter();
        let holding = stated.filter_map(|(from, data)| match data {
            MasterData::Rate { rate, until, .. } if *from <= time && time < until.0 => {
                Some((*from, *rate))
            }
            _ => None,
        });
        holding.max_by_key(|(from, _)| *from).map(|(_, rate)| decimal(rate))
    }

    /// How many of the item's smallest units one of `unit` is.
    pub fn smallest_units(&self, item: ItemNo, unit: &Unit, time: i64) -> Option<Figure> {
        let held = self.item(item, time)?;
        let smallest = power_of_ten(held.decimals.cast_signed());
        if held.unit == *unit {
            return Some(smallest);
        }
        match self.at(&About::Unit(item, unit.clone()), time)? {
            MasterData::UnitConversion { numerator, denominator, .. } => {
                Some(smallest * whole(*numerator) / whole(*denominator))
            }
            _ => None,
        }
    }

    /// Whether a partner is known at a time.
    pub fn knows_partner(&self, partner: PartnerNo, time: i64) -> bool {
        self.at(&About::Partner(partner), time).is_some()
    }

    /// Whether a reason is known at a time.
    pub fn knows_reason(&self, reason: ReasonNo, time: i64) -> bool {
        self.at(&About::Reason(reason), time).is_some()
    }

    /// Whether an account is known at a time.
    pub fn knows_account(&self, account: AccountNo, time: i64) -> bool {
        self.at(&About::Account(account), time).is_some()
    }

    /// The account for a role: of the rules whose account is known the narrowest, of those the
    /// latest valid-from, of those the last.
    pub fn account(&self, asked: &Asked, time: i64) -> Option<AccountNo> {
        let rules = self.versions.get(&About::Mapping(asked.company, asked.role))?;
        let mut best: Option<((u8, i64), AccountNo)> = None;
        for (from, rule) in rules.iter().filter(|(from, _)| *from <= time) {
            let MasterData::Mapping { account, category, site, movement, reason, .. } = rule else {
                continue;
            };
            let wanted = [
                (8, reason.is_some(), asked.reason == *reason),
                (4, movement.is_some(), Some(asked.movement) == *movement),
                (2, site.is_some(), Some(asked.site) == *site),
                (1, category.is_some(), asked.category == *category),
            ];
            if wanted.iter().any(|(_, stated, met)| *stated && !met) {
                continue;
            }
            let weight = wanted.iter().filter(|(_, stated, _)| *stated).map(|each| each.0).sum();
            let known = self.knows_account(*account, time);
            if known && best.is_none_or(|(held, _)| (weight, *from) >= held) {
                best = Some(((weight, *from), *account));
            }
        }
        best.map(|(_, account)| account)
    }
}

/// A price of one base unit in minor units for one smallest unit.
pub fn unit_cost(price: &Price, item: &Item) -> Figure {
    decimal(price.figure) * power_of_ten(price.currency.decimals().cast_signed())
        / power_of_ten(item.decimals.cast_signed())
}

fn about(data: &MasterData) -> Option<About> {
    Some(match data {
        MasterData::Company { company, .. } => About::Company(*company),
        MasterData::Site { site, .. } => About::Site(*site),
        MasterData::Item { item, .. } => About::Item(*item),
        MasterData::UnitConversion { item, unit, .. } => About::Unit(*item, unit.clone()),
        MasterData::Partner { partner, .. } => About::Partner(*partner),
        MasterData::Reason { reason, .. } => About::Reason(*reason),
        MasterData::Account { account, .. } => About::Account(*account),
        MasterData::Mapping { company, role, .. } => About::Mapping(*company, *role),
        MasterData::Costing { company, category, .. } => About::Costing(*company, *category),
        MasterData::Policy { company: Some(company), policy, .. } => {
            About::Policy(*company, *policy)
        }
        MasterData::Rate { company, currency, .. } => About::Rate(*company, *currency),
        MasterData::Category { .. }
        | MasterData::ItemMeasure { .. }
        | MasterData::HandledItem { .. }
        | MasterData::Policy { company: None, .. }
        | MasterData::SiteLog { .. }
        | MasterData::Carrier { .. }
        | MasterData::Restored { .. }
        | MasterData::VoucherGap { .. }
        | MasterData::Ruling { .. }
        | MasterData::Rules { .. } => return None,
    })
}

/// Whether two statements about one thing can't both hold.
fn contradicts(held: &MasterData, new: &MasterData) -> bool {
    match (held, new) {
        (
            MasterData::Company { currency: a, zone: b, scope: c, .. },
            MasterData::Company { currency, zone, scope, .. },
        ) => (a, b, c) != (currency, zone, scope),
        (MasterData::Site { company: held, .. }, MasterData::Site { company, .. }) => {
            held != company
        }
        (
            MasterData::Item { unit: a, decimals: b, service: c, .. },
            MasterData::Item { unit, decimals, service, .. },
        ) => (a, b, c) != (unit, decimals, service),
        _ => false,
    }
}
