//! New master data before it is recorded: checked against what is known, numbered densely. Pure.
//!
//! Invariant: a number is never given twice, and no two things of one kind share a code.

use shared::catalogue::{Catalogue, SiteLog};
use shared::decimal::{self, DecimalError};
use shared::fact::Kind;
use shared::fact::statement::{
    AccountType, CostScope, MasterData, PolicyKind, Role, StandardVariance, Statement,
};
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, LogId, PartnerNo, ReasonNo, Seq,
    SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::Unit;
use shared::time::{Day, Month, OffsetMinutes, Timestamp};

use super::Group;
use crate::books::Settings;
use crate::chart::Chart;

/// The largest code or name in bytes: what a page can show.
const TEXT_BYTES_MAX: usize = 200;

/// Decimals that an item's smallest unit may have.
const DECIMALS_MAX: u8 = 6;

/// Why new master data is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The code is taken.
    #[error("there is {what} '{code}' already: choose another code")]
    DuplicateCode {
        /// What kind of thing, with its article.
        what: &'static str,
        /// The code.
        code: String,
    },
    /// The code or name is empty, too long, or has line breaks.
    #[error("a code or name is 1 to {TEXT_BYTES_MAX} bytes of text in one line, not '{0}'")]
    BadText(String),
    /// What it names is not known.
    #[error("there is no {what} '{code}': {}", where_to_look(what))]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// What was written.
        code: String,
    },
    /// Not a unit.
    #[error("'{0}' is no unit: write 1 to 16 bytes of text without blanks, for example EA or kg")]
    BadUnit(String),
    /// Too many decimals.
    #[error("an item has at most {DECIMALS_MAX} decimals, not {0}")]
    TooManyDecimals(u8),
    /// Not a figure.
    #[error(transparent)]
    BadFigure(#[from] DecimalError),
    /// A cost below nothing.
    #[error("a cost is not negative: '{0}'")]
    Negative(String),
    /// A conversion by zero.
    #[error("a unit is numerator / denominator base units, both 1 to 4,294,967,295")]
    BadFactor,
    /// The base unit itself.
    #[error("'{0}' is the item's base unit: it needs no conversion")]
    BaseUnit(String),
    /// A site needs no leave to bring its own data.
    #[error("site '{0}' brings its own data as it is: name another site with --by")]
    CarriesItself(String),
    /// A weight or volume of nothing.
    #[error("a weight or volume is more than nothing, not '{0}'")]
    NotPositive(String),
    /// Neither weight nor volume.
    #[error("say what one unit weighs or takes up: --weight or --volume")]
    NoMeasure,
    /// Neither customer nor supplier.
    #[error("a partner is a customer, a supplier, or both: say --customer or --supplier")]
    NoPartnerRole,
    /// There is no company.
    #[error("there is no company yet: run 'hq-server init'")]
    NoCompany,
    /// A rate is of another currency than the company's.
    #[error("the books are in {0}: a rate is of another currency")]
    OwnCurrency(Currency),
    /// A rate of nothing.
    #[error("a rate is more than nothing, not '{0}'")]
    NoRate(String),
    /// A rate that ends before it begins.
    #[error("a rate from {from} can't hold only until {until}: name a later day")]
    EndsBefore {
        /// Its first day.
        from: Day,
        /// Its last day.
        until: Day,
    },
    /// No figure, or no choice of the policy.
    #[error("{} is {}, not '{written}'", policy.word(), choices(*policy))]
    BadSetting {
        /// The policy.
        policy: PolicyKind,
        /// What was written.
        written: String,
    },
    /// A site can't choose what holds for a company.
    #[error("{} holds for the whole company: leave out the site", .0.word())]
    NotOfASite(PolicyKind),
    /// Nothing takes what stock is to carry.
    #[error(
        "no account takes the variances that stock is to carry: state one, 'hq-server mapping add \
         stock_variance ACCOUNT', and then the policy"
    )]
    NoVarianceAccount,
    /// The books refuse the mapping.
    #[error("{0}")]
    Books(String),
}

/// A new item, as somebody typed it.
#[derive(Clone, Debug, Default)]
pub struct ItemDraft {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its category's code.
    pub category: String,
    /// Its base unit.
    pub unit: String,
    /// Decimals of its smallest unit.
    pub decimals: u8,
    /// Sold, never stocked.
    pub service: bool,
    /// Cost of one unit before anything else is known.
    pub cost: Option<String>,
}

/// A new partner.
#[derive(Clone, Debug, Default)]
pub struct PartnerDraft {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// May be sold to.
    pub customer: bool,
    /// May be bought from.
    pub supplier: bool,
}

/// A new mapping rule.
#[derive(Clone, Debug, Default)]
pub struct MappingDraft {
    /// The role's word.
    pub role: String,
    /// The account's code.
    pub account: String,
    /// Only for this category.
    pub category: Option<String>,
    /// Only at this site.
    pub site: Option<String>,
    /// Only for this movement kind.
    pub movement: Option<String>,
    /// Only for this reason.
    pub reason: Option<String>,
}

/// Statements in the making: what is drafted counts as known for what follows.
#[derive(Clone, Debug)]
pub struct Draft {
    known: Catalogue,
    statements: Vec<Statement>,
    valid_from: Option<Timestamp>,
    /// Whose books are spoken of.
    company: CompanyNo,
}

impl Draft {
    /// On top of what is known; of the first company where nothing else is said.
    pub fn new(known: &Catalogue) -> Self {
        Self::of(known, CompanyNo::FIRST)
    }

    /// As [`Self::new`], of a company.
    pub fn of(known: &Catalogue, company: CompanyNo) -> Self {
        let (known, statements) = (known.clone(), Vec::new());
        Self { known, statements, valid_from: None, company }
    }

    /// What follows is of this company; of the first where none is named.
    pub fn of_company(&mut self, code: Option<&str>) -> Result<(), DraftError> {
        self.company = match code {
            None => CompanyNo::FIRST,
            Some(code) => {
                let found = self.known.company_by_code(code);
                found.ok_or_else(|| unknown("company", code))?.company
            }
        };
        Ok(())
    }

    /// What follows holds from a time on, not from the beginning.
    pub fn valid_from(&mut self, from: Timestamp) {
        self.valid_from = Some(from);
    }

    /// When a day begins in the company's zone.
    pub fn start_of(&self, day: Option<Day>) -> Option<Timestamp> {
        let zone = self.known.company(self.company)?.zone;
        day.map(|day| day.start(zone))
    }

    /// What is known, drafts included.
    pub const fn known(&self) -> &Catalogue {
        &self.known
    }

    /// The statements, each a group of its own.
    pub fn into_groups(self) -> Vec<Group> {
        self.statements.into_iter().map(Group::one).collect()
    }

    fn state(&mut self, data: MasterData) {
        self.known.apply_master_data(self.valid_from, data.clone());
        self.statements.push(Statement::MasterData { valid_from: self.valid_from, data });
    }

    /// A company with its number; what follows is of it.
    pub fn company(
        &mut self,
        code: &str,
        name: &str,
        currency: Currency,
        zone: OffsetMinutes,
        scope: CostScope,
    ) -> Result<CompanyNo, DraftError> {
        new_code("a company", code, self.known.company_by_code(code).is_some())?;
        let company = self.known.next_company();
        let (code, name) = (text(code)?, text(name)?);
        self.state(MasterData::Company { company, code, name, currency, zone, scope });
        self.company = company;
        Ok(company)
    }

    /// A site with a number that the site register gave.
    pub fn site(&mut self, site: SiteNo, code: &str, name: &str) -> Result<(), DraftError> {
        new_code("a site", code, self.known.site_by_code(code).is_some())?;
        let company = self.own_company()?;
        let (code, name) = (text(code)?, text(name)?);
        self.state(MasterData::Site { site, company, code, name });
        Ok(())
    }

    /// What was stated before, and is lost, under its old number. Where another thing has its code by
    /// now, the number is added to the code: both are known, and a person decides.
    pub fn again(&mut self, valid_from: Option<Timestamp>, mut data: MasterData) {
        let known = &self.known;
        let (code, number, taken_by) = match &mut data {
            MasterData::Company { company, code, .. } => {
                let held = known.company_by_code(code).map(|held| held.company.0);
                (code, company.0, held)
            }
            MasterData::Site { site, code, .. } => {
                let held = known.site_by_code(code).map(|held| held.site.0);
                (code, site.0, held)
            }
            MasterData::Category { category, code, .. } => {
                let held = known.category_by_code(code).map(|held| held.category.0);
                (code, category.0, held)
            }
            MasterData::Item { item, code, .. } => {
                let held = known.item_by_code(code).map(|held| held.item.0);
                (code, item.0, held)
            }
            MasterData::Partner { partner, code, .. } => {
                let held = known.partner_by_code(code).map(|held| held.partner.0);
                (code, partner.0, held)
            }
            MasterData::Reason { reason, code, .. } => {
                let held = known.reason_by_code(code).map(|held| held.reason.0);
                (code, reason.0, held)
            }
            _ => (&mut String::new(), 0, None),
        };
        if taken_by.is_some_and(|held| held != number) {
            *code = format!("{code}-{number}");
        }
        self.valid_from = valid_from;
        self.state(data);
        self.valid_from = None;
    }

    /// A category.
    pub fn category(&mut self, code: &str, name: &str) -> Result<CategoryNo, DraftError> {
        new_code("a category", code, self.known.category_by_code(code).is_some())?;
        let category = self.known.next_category();
        self.state(MasterData::Category { category, code: text(code)?, name: text(name)? });
        Ok(category)
    }

    /// An item.
    pub fn item(&mut self, draft: &ItemDraft) -> Result<ItemNo, DraftError> {
        new_code("an item", &draft.code, self.known.item_by_code(&draft.code).is_some())?;
        let item = self.known.next_item();
        self.state(self.item_data(item, draft)?);
        Ok(item)
    }

    /// An item as it is from now on; its code stays.
    pub fn item_change(&mut self, draft: &ItemDraft) -> Result<ItemNo, DraftError> {
        let known = self.known.item_by_code(&draft.code);
        let item = known.ok_or_else(|| unknown("item", &draft.code))?.item;
        self.state(self.item_data(item, draft)?);
        Ok(item)
    }

    fn item_data(&self, item: ItemNo, draft: &ItemDraft) -> Result<MasterData, DraftError> {
        if draft.decimals > DECIMALS_MAX {
            return Err(DraftError::TooManyDecimals(draft.decimals));
        }
        let category = self.known.category_by_code(&draft.category);
        Ok(MasterData::Item {
            item,
            category: category.ok_or_else(|| unknown("category", &draft.category))?.category,
            code: text(&draft.code)?,
            name: text(&draft.name)?,
            unit: unit(&draft.unit)?,
            decimals: draft.decimals,
            service: draft.service,
            fallback_cost: draft.cost.as_deref().map(|cost| self.cost(cost)).transpose()?,
        })
    }

    fn cost(&self, written: &str) -> Result<Price, DraftError> {
        let figure = decimal::parse(written)?;
        if figure.mantissa() < 0 {
            return Err(DraftError::Negative(written.to_owned()));
        }
        Ok(Price { figure, currency: self.currency()? })
    }

    /// Another unit of an item: one of it is numerator / denominator base units.
    pub fn unit(
        &mut self,
        item: &str,
        written: &str,
        numerator: u64,
        denominator: u64,
    ) -> Result<(), DraftError> {
        let known = self.known.item_by_code(item).ok_or_else(|| unknown("item", item))?;
        let (item, base) = (known.item, known.unit.clone());
        let unit = unit(written)?;
        if unit == base {
            return Err(DraftError::BaseUnit(written.to_owned()));
        }
        let legal = 1..=u64::from(u32::MAX);
        if !legal.contains(&numerator) || !legal.contains(&denominator) {
            return Err(DraftError::BadFactor);
        }
        self.state(MasterData::UnitConversion { item, unit, numerator, denominator });
        Ok(())
    }

    /// What one base unit of an item weighs, in kilograms, and takes up, in litres.
    pub fn item_measure(
        &mut self,
        item: &str,
        weight: Option<&str>,
        volume: Option<&str>,
    ) -> Result<(), DraftError> {
        let item = self.known.item_by_code(item).ok_or_else(|| unknown("item", item))?.item;
        let measure = |written: &str| {
            let figure = decimal::parse(written)?;
            if figure.mantissa() > 0 {
                Ok(figure)
            } else {
                Err(DraftError::NotPositive(written.to_owned()))
            }
        };
        let weight = weight.map(measure).transpose()?;
        let volume = volume.map(measure).transpose()?;
        if weight.is_none() && volume.is_none() {
            return Err(DraftError::NoMeasure);
        }
        self.state(MasterData::ItemMeasure { item, weight, volume });
        Ok(())
    }

    /// The item with this code.
    pub fn item_coded(&self, code: &str) -> Result<ItemNo, DraftError> {
        Ok(self.known.item_by_code(code).ok_or_else(|| unknown("item", code))?.item)
    }

    /// A site handles an item from now on.
    pub fn handled_item(&mut self, site: SiteNo, item: ItemNo) -> Result<(), DraftError> {
        self.known.item(item).ok_or_else(|| unknown("item", &item.to_string()))?;
        self.state(MasterData::HandledItem { site, item });
        Ok(())
    }

    /// A partner.
    pub fn partner(&mut self, draft: &PartnerDraft) -> Result<PartnerNo, DraftError> {
        new_code("a partner", &draft.code, self.known.partner_by_code(&draft.code).is_some())?;
        if !draft.customer && !draft.supplier {
            return Err(DraftError::NoPartnerRole);
        }
        let partner = self.known.next_partner();
        self.state(MasterData::Partner {
            partner,
            code: text(&draft.code)?,
            name: text(&draft.name)?,
            customer: draft.customer,
            supplier: draft.supplier,
        });
        Ok(partner)
    }

    /// A reason.
    pub fn reason(
        &mut self,
        code: &str,
        name: &str,
        movement: Option<Kind>,
    ) -> Result<ReasonNo, DraftError> {
        new_code("a reason", code, self.known.reason_by_code(code).is_some())?;
        let reason = self.known.next_reason();
        self.state(MasterData::Reason { reason, code: text(code)?, name: text(name)?, movement });
        Ok(reason)
    }

    /// An account.
    pub fn account(
        &mut self,
        code: &str,
        name: &str,
        account_type: AccountType,
    ) -> Result<AccountNo, DraftError> {
        let company = self.own_company()?;
        new_code("an account", code, self.known.account_by_code(company, code).is_some())?;
        let account = self.known.next_account();
        let (code, name) = (text(code)?, text(name)?);
        self.state(MasterData::Account { account, company, code, name, account_type });
        Ok(account)
    }

    /// A mapping rule.
    pub fn mapping(&mut self, draft: &MappingDraft) -> Result<(), DraftError> {
        let company = self.own_company()?;
        let known = &self.known;
        let role = Role::from_word(&draft.role).ok_or_else(|| unknown("role", &draft.role))?;
        let account = known.account_by_code(company, &draft.account);
        let category = |code: &String| {
            let found = known.category_by_code(code).map(|category| category.category);
            found.ok_or_else(|| unknown("category", code))
        };
        let site = |code: &String| {
            let found = known.site_by_code(code).map(|site| site.site);
            found.ok_or_else(|| unknown("site", code))
        };
        let reason = |code: &String| {
            let found = known.reason_by_code(code).map(|reason| reason.reason);
            found.ok_or_else(|| unknown("reason", code))
        };
        let movement = |word: &String| Kind::from_word(word).ok_or_else(|| unknown("kind", word));
        let data = MasterData::Mapping {
            company,
            role,
            account: account.ok_or_else(|| unknown("account", &draft.account))?.account,
            category: draft.category.as_ref().map(category).transpose()?,
            site: draft.site.as_ref().map(site).transpose()?,
            movement: draft.movement.as_ref().map(movement).transpose()?,
            reason: draft.reason.as_ref().map(reason).transpose()?,
        };
        self.state(data);
        Ok(())
    }

    /// A policy: of the company, as the word of a choice; else a figure for all sites or for one.
    pub fn policy(
        &mut self,
        policy: PolicyKind,
        written: &str,
        site: Option<&str>,
    ) -> Result<(), DraftError> {
        let bad = || DraftError::BadSetting { policy, written: written.to_owned() };
        if policy.is_of_company() {
            if site.is_some() {
                return Err(DraftError::NotOfASite(policy));
            }
            let setting = policy.setting_of(written).ok_or_else(bad)?;
            return self.company_policy(policy, setting);
        }
        let setting = written.parse().map_err(|_| bad())?;
        let site = match site {
            None => None,
            Some(code) => {
                let found = self.known.site_by_code(code).ok_or_else(|| unknown("site", code))?;
                Some(found.site)
            }
        };
        self.state(MasterData::Policy { company: None, site, policy, setting });
        Ok(())
    }

    fn company_policy(&mut self, policy: PolicyKind, setting: i64) -> Result<(), DraftError> {
        let company = Some(self.own_company()?);
        self.state(MasterData::Policy { company, site: None, policy, setting });
        Ok(())
    }

    /// What one unit of a currency costs, from a day on until another, that day too; for its first
    /// day alone where no other is named.
    pub fn rate(
        &mut self,
        currency: Currency,
        written: &str,
        from: Day,
        until: Option<Day>,
    ) -> Result<(), DraftError> {
        let company = self.own_company()?;
        if currency == self.currency()? {
            return Err(DraftError::OwnCurrency(currency));
        }
        let rate = decimal::parse(written)?;
        if rate.mantissa() <= 0 {
            return Err(DraftError::NoRate(written.to_owned()));
        }
        let until = until.unwrap_or(from);
        if until < from {
            return Err(DraftError::EndsBefore { from, until });
        }
        let start = self.start_of(Some(from)).ok_or(DraftError::NoCompany)?;
        let end = self.start_of(Some(until.next())).ok_or(DraftError::NoCompany)?;
        self.valid_from(start);
        self.state(MasterData::Rate { company, currency, rate, until: end });
        Ok(())
    }

    /// A log of a site: for whoever audits seals without certificates.
    pub fn site_log(&mut self, site: SiteNo, device: DeviceNo, log: LogId, public_key: [u8; 32]) {
        self.state(MasterData::SiteLog { site, device, log, public_key, revoked: false });
    }

    /// The installation that writes a log was revoked.
    pub fn log_revoked(&mut self, log: LogId, of: SiteLog) {
        let SiteLog { site, device, public_key, .. } = of;
        self.state(MasterData::SiteLog { site, device, log, public_key, revoked: true });
    }

    /// A site may carry another one's data, or no longer.
    pub fn carrier(&mut self, site: &str, by: &str, allowed: bool) -> Result<(), DraftError> {
        let find = |code: &str| {
            let found = self.known.site_by_code(code).map(|site| site.site);
            found.ok_or_else(|| unknown("site", code))
        };
        let (site, carrier) = (find(site)?, find(by)?);
        if site == carrier {
            return Err(DraftError::CarriesItself(by.to_owned()));
        }
        self.state(MasterData::Carrier { site, carrier, allowed });
        Ok(())
    }

    /// Numbers of a lost history are left out.
    pub fn restored(&mut self, log: LogId, after: Seq, skipped: u32, lost: Capture) {
        self.state(MasterData::Restored { log, after, skipped, lost: Some(lost) });
    }

    /// Voucher numbers that a lost history gave are left out.
    pub fn voucher_gap(&mut self, company: CompanyNo, month: Month, last: u32) {
        self.state(MasterData::VoucherGap { company, month, last });
    }

    /// A branch was compared with the log that it leaves.
    pub fn ruling(&mut self, log: LogId, upto: Seq) {
        self.state(MasterData::Ruling { log, upto });
    }

    /// The books follow these rules from here on.
    pub fn rules(&mut self, number: i64) {
        self.state(MasterData::Rules { number });
    }

    /// Whether the books would take every draft: what they refuse must not be recorded.
    pub fn check(&self, settings: &Settings) -> Result<(), DraftError> {
        let mut settings = settings.clone();
        for statement in &self.statements {
            if let Statement::MasterData { valid_from, data } = statement {
                let taken = settings.take(*valid_from, data);
                taken.map_err(|why| DraftError::Books(why.to_string()))?;
            }
        }
        if self.statements.iter().any(|statement| has_no_variance_account(statement, &settings)) {
            return Err(DraftError::NoVarianceAccount);
        }
        Ok(())
    }

    /// Policies, accounts, default mapping, and the categories and reasons of a chart that are new:
    /// those all companies share.
    pub fn chart(&mut self, chart: &Chart) -> Result<(), DraftError> {
        for (policy, setting) in chart.policies {
            self.company_policy(*policy, *setting)?;
        }
        for (code, name) in chart.categories {
            if self.known.category_by_code(code).is_none() {
                self.category(code, name)?;
            }
        }
        for account in chart.accounts {
            self.account(account.code, account.name, account.account_type)?;
            for role in account.roles {
                let rule = MappingDraft {
                    role: role.word().to_owned(),
                    account: account.code.to_owned(),
                    ..MappingDraft::default()
                };
                self.mapping(&rule)?;
            }
        }
        for reason in chart.reasons {
            if self.known.reason_by_code(reason.code).is_none() {
                self.reason(reason.code, reason.name, reason.movement)?;
            }
            if let Some(account) = reason.account {
                let rule = MappingDraft {
                    role: Role::StockAdjustment.word().to_owned(),
                    account: account.to_owned(),
                    reason: Some(reason.code.to_owned()),
                    ..MappingDraft::default()
                };
                self.mapping(&rule)?;
            }
        }
        Ok(())
    }

    fn own_company(&self) -> Result<CompanyNo, DraftError> {
        let company = self.known.company(self.company).ok_or(DraftError::NoCompany)?;
        Ok(company.company)
    }

    fn currency(&self) -> Result<Currency, DraftError> {
        let company = self.known.company(self.company).ok_or(DraftError::NoCompany)?;
        Ok(company.currency)
    }
}

fn choices(policy: PolicyKind) -> String {
    match policy.choices().as_slice() {
        [] => "a whole number".to_owned(),
        choices => choices.join(" or "),
    }
}

fn where_to_look(what: &str) -> String {
    match what {
        "role" => "'hq-server account list' shows the roles".to_owned(),
        "kind" => "'edge-node record --help' names the movement kinds".to_owned(),
        what => format!("add it first, or see 'hq-server {what} list'"),
    }
}

fn unknown(what: &'static str, code: &str) -> DraftError {
    DraftError::Unknown { what, code: code.to_owned() }
}

fn new_code(what: &'static str, code: &str, taken: bool) -> Result<(), DraftError> {
    text(code)?;
    if taken { Err(DraftError::DuplicateCode { what, code: code.to_owned() }) } else { Ok(()) }
}

fn text(written: &str) -> Result<String, DraftError> {
    let trimmed = written.trim();
    let fits = !trimmed.is_empty() && trimmed.len() <= TEXT_BYTES_MAX;
    if fits && !trimmed.chars().any(char::is_control) {
        Ok(trimmed.to_owned())
    } else {
        Err(DraftError::BadText(written.to_owned()))
    }
}

/// Whether a statement lets stock carry its variances where no account takes them.
fn has_no_variance_account(statement: &Statement, settings: &Settings) -> bool {
    let Statement::MasterData { data, .. } = statement else { return false };
    match data {
        MasterData::Policy { company: Some(company), policy, setting, .. } => {
            *policy == PolicyKind::StandardVariance
                && *setting == StandardVariance::Allocate as i64
                && !settings.has_account_for_all(*company, Role::StockVariance)
        }
        _ => false,
    }
}

fn unit(written: &str) -> Result<Unit, DraftError> {
    Unit::from_bytes(written.trim().as_bytes()).map_err(|_| DraftError::BadUnit(written.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::GENERIC;

    fn started() -> Draft {
        let mut draft = Draft::new(&Catalogue::new());
        let currency = "CNY".parse().expect("a code");
        draft
            .company("1", "First", currency, OffsetMinutes(480), CostScope::Site)
            .expect("a company");
        draft.chart(&GENERIC).expect("the chart is whole");
        draft
    }

    fn item(code: &str) -> ItemDraft {
        ItemDraft {
            code: code.to_owned(),
            name: "Something".to_owned(),
            category: "goods".to_owned(),
            unit: "EA".to_owned(),
            ..ItemDraft::default()
        }
    }

    #[test]
    fn numbers_are_dense_and_codes_single() {
        let mut draft = started();
        assert_eq!(draft.item(&item("A")), Ok(ItemNo(1)));
        assert_eq!(draft.item(&item("B")), Ok(ItemNo(2)));
        let again = DraftError::DuplicateCode { what: "an item", code: "A".to_owned() };
        assert_eq!(draft.item(&item("A")), Err(again));
        assert_eq!(draft.item(&item("C")), Ok(ItemNo(3)));
        let partner =
            PartnerDraft { code: "P".to_owned(), name: "P".to_owned(), ..Default::default() };
        assert_eq!(draft.partner(&partner), Err(DraftError::NoPartnerRole));
    }

    #[test]
    fn what_is_wrong_with_an_item() {
        let cases = [
            (ItemDraft { category: "none".to_owned(), ..item("A") }, "there is no category 'none'"),
            (ItemDraft { unit: "a box".to_owned(), ..item("A") }, "'a box' is no unit"),
            (ItemDraft { decimals: 7, ..item("A") }, "at most 6 decimals"),
            (
                ItemDraft { cost: Some("1,5".to_owned()), ..item("A") },
                "'1,5' is not a decimal number",
            ),
            (ItemDraft { cost: Some("-1".to_owned()), ..item("A") }, "a cost is not negative"),
            (ItemDraft { code: " ".to_owned(), ..item("A") }, "a code or name is 1 to 200 bytes"),
            (
                ItemDraft { cost: Some("1000000000000000000000000000000".to_owned()), ..item("A") },
                "too large",
            ),
        ];
        for (draft, expected) in cases {
            let error = started().item(&draft).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn policies_are_words_of_a_company_or_figures_of_sites() {
        let cases = [
            (PolicyKind::ReceiptFx, "cost", None, ""),
            (PolicyKind::ReceiptFx, "2", None, "receipt_fx is exchange or cost, not '2'"),
            (PolicyKind::Lifo, "barred", Some("X"), "lifo holds for the whole company"),
            (PolicyKind::BackdatingDays, "30", None, ""),
            (PolicyKind::BackdatingDays, "few", None, "is a whole number, not 'few'"),
            (PolicyKind::BackdatingDays, "30", Some("X"), "there is no site 'X'"),
        ];
        for (policy, written, site, expected) in cases {
            let stated = started().policy(policy, written, site);
            match stated {
                Ok(()) => assert_eq!(expected, ""),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!expected.is_empty() && error.contains(expected), "{error}");
                }
            }
        }
    }

    #[test]
    fn units_other_than_the_base_unit() {
        let mut draft = started();
        draft.item(&item("A")).expect("an item");
        assert_eq!(draft.unit("A", "EA", 1, 1), Err(DraftError::BaseUnit("EA".to_owned())));
        assert_eq!(draft.unit("A", "box", 12, 0), Err(DraftError::BadFactor));
        assert_eq!(draft.unit("A", "box", 12, 1), Ok(()));
        assert!(matches!(draft.unit("Z", "box", 12, 1), Err(DraftError::Unknown { .. })));
    }
}
