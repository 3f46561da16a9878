//! What HQ states of its companies, sites, items and accounts, at first and later.

use shared::fact::Kind;
use shared::fact::statement::{CostMethod, CostScope, MasterData, Role, Statement};
use shared::ids::{AccountNo, CategoryNo, CompanyNo, ItemNo, PartnerNo, ReasonNo, SiteNo};
use shared::time::{OffsetMinutes, Timestamp};

use super::{Group, ITEMS, PETTY_CASH, SECOND, THIRD, Writer, account, kinds, unit};

impl Writer {
    /// What HQ states first; some of it only later.
    pub(super) fn master_data(&mut self) {
        let company = CompanyNo::FIRST;
        let named = |name: &str| (name.to_owned(), name.to_owned());
        let (code, name) = named("company");
        let zone = OffsetMinutes(480);
        let (currency, scope) = (self.currency, self.shape.scope);
        let mut all = vec![MasterData::Company { company, code, name, currency, zone, scope }];
        self.methods(&mut all);
        self.rates(&mut all);
        if self.shape.second_company {
            let (code, name) = named("second");
            let (company, zone) = (SECOND, OffsetMinutes(-60));
            let currency = self.currency_of(SECOND);
            all.push(MasterData::Company { company, code, name, currency, zone, scope });
        }
        if self.has_third() {
            let (code, name) = named("third");
            let (company, zone) = (THIRD, OffsetMinutes(480));
            let scope = if scope == CostScope::Site { CostScope::Company } else { CostScope::Site };
            all.push(MasterData::Company { company, code, name, currency, zone, scope });
        }
        for site in 1..=self.shape.sites {
            let (code, name) = named(&format!("site{site}"));
            let company = self.company_of(SiteNo(site));
            all.push(MasterData::Site { site: SiteNo(site), company, code, name });
        }
        for number in 1..=self.shape.items {
            self.item(ItemNo(number), &mut all);
        }
        for number in 1..=3 {
            let (code, name) = named(&format!("partner{number}"));
            let partner = PartnerNo(number);
            all.push(MasterData::Partner { partner, code, name, customer: true, supplier: true });
            let (code, name) = named(&format!("reason{number}"));
            all.push(MasterData::Reason { reason: ReasonNo(number), code, name, movement: None });
        }
        self.mappings(&mut all);
        for data in all {
            // What is posted keeps its account: none may be missing for a category that an item
            // comes to later.
            let leads = matches!(data, MasterData::Mapping { .. } | MasterData::Account { .. });
            let needed = leads && self.shape.changing_settings;
            let costs = matches!(data, MasterData::Costing { .. });
            let needed = needed || (costs && self.shape.method == CostMethod::Specific);
            // Goods move in base units before anyone states the others.
            let often = matches!(data, MasterData::UnitConversion { .. });
            let of = if often { 3 } else { 25 };
            if self.shape.late_settings && !needed && self.chance(1, of) {
                self.late.push((None, data));
            } else {
                self.write(0, &[Statement::MasterData { valid_from: None, data }], 0);
            }
        }
    }

    pub(super) fn item(&mut self, item: ItemNo, all: &mut Vec<MasterData>) {
        let service = item == self.service();
        let plain = service || self.shape.plain_units;
        let kinds = if plain { ITEMS[2] } else { kinds(item) };
        let code = format!("item{item}");
        all.push(MasterData::Item {
            item,
            category: CategoryNo(1 + item.0 % 2),
            name: code.clone(),
            code,
            unit: unit(kinds.unit),
            decimals: kinds.decimals,
            service,
            fallback_cost: self.maybe_price(1, 2),
        });
        if let Some((other, numerator, denominator)) = kinds.other_unit {
            let unit = unit(other);
            all.push(MasterData::UnitConversion { item, unit, numerator, denominator });
        }
    }

    /// Every role has an account, some have others for a category, site, kind or reason.
    pub(super) fn mappings(&mut self, all: &mut Vec<MasterData>) {
        for role in Role::ALL.iter().copied() {
            let special = if self.shape.special_accounts { self.random.number(4) } else { 0 };
            for variant in 0..=special.saturating_sub(1) {
                self.map(CompanyNo::FIRST, role, variant, all);
            }
            if self.shape.second_company {
                self.map(SECOND, role, 0, all);
            }
            if self.has_third() {
                self.map(THIRD, role, 0, all);
            }
        }
        all.push(account(CompanyNo::FIRST, PETTY_CASH, "petty cash"));
    }

    /// An account and the rule that leads to it; variant 0 is for everything.
    pub(super) fn map(
        &mut self,
        company: CompanyNo,
        role: Role,
        variant: u32,
        all: &mut Vec<MasterData>,
    ) {
        let number = AccountNo(company.0 * 1_000 - 1_000 + role as u32 * 10 + variant);
        all.push(account(company, number, role.word()));
        let (mut category, mut site, mut movement, mut reason) = (None, None, None, None);
        if variant > 0 {
            match self.random.below(4) {
                0 => category = Some(CategoryNo(1 + self.random.number(2))),
                1 => site = Some(SiteNo(1 + self.random.number(3))),
                2 => {
                    let kinds = [Kind::Receipt, Kind::SaleIssue, Kind::Count, Kind::Issue];
                    movement = Some(*self.random.pick(&kinds));
                }
                _ => reason = Some(self.reason()),
            }
        }
        let account = number;
        all.push(MasterData::Mapping { company, role, account, category, site, movement, reason });
    }

    /// HQ states something anew, from now on or from a time before.
    pub(super) fn change_a_setting(&mut self) {
        let mut all = Vec::new();
        match self.random.below(6) {
            0..3 => {
                let item = ItemNo(1 + self.random.number(self.shape.items));
                self.item(item, &mut all);
                if let MasterData::Item { category, .. } = &mut all[0] {
                    *category = CategoryNo(1 + self.random.number(2));
                }
                all.truncate(1);
            }
            3..5 => {
                let role = *self.random.pick(Role::ALL);
                let variant = self.random.number(8);
                self.map(CompanyNo::FIRST, role, variant, &mut all);
            }
            _ => {
                // Somebody tries to give an account a second role.
                let role = *self.random.pick(Role::ALL);
                let other = *self.random.pick(Role::ALL);
                self.map(CompanyNo::FIRST, role, 0, &mut all);
                if let Some(MasterData::Mapping { role, .. }) = all.get_mut(1) {
                    *role = other;
                }
            }
        }
        let back = self.back();
        let from = (!self.chance(1, 3)).then_some(Timestamp(self.now - back));
        let stated = |data| Statement::MasterData { valid_from: from, data };
        let group: Group = all.into_iter().map(stated).collect();
        if self.chance(1, 2) {
            self.write(0, &group, 0);
        } else {
            for each in group {
                self.write(0, &[each], 0);
            }
        }
    }
}
