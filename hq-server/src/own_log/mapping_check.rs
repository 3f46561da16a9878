//! Whether every posting that can come finds its account: each item category x site x kind of
//! document x reason, for every role that the kind needs. Pure.

use std::collections::BTreeSet;

use shared::fact::Kind;
use shared::fact::statement::Role;
use shared::ids::{CategoryNo, CompanyNo, ReasonNo, SiteNo};
use shared::time::Timestamp;

use crate::books::{Lookup, Settings, Situation, roles};

/// A posting without an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The role.
    pub role: Role,
    /// The kind of document.
    pub kind: Kind,
    /// The item category.
    pub category: Option<CategoryNo>,
    /// The site; 0 for HQ's own documents.
    pub site: SiteNo,
    /// The reason.
    pub reason: Option<ReasonNo>,
}

impl Missing {
    /// What to say about it.
    pub fn sentence(&self, settings: &Settings) -> String {
        let category = self
            .category
            .and_then(|no| settings.categories().find(|(category, _)| *category == no));
        let site = settings.sites().find(|(site, _)| *site == self.site);
        let reason =
            self.reason.and_then(|no| settings.reasons().find(|(reason, _)| *reason == no));
        format!(
            "{} for {} has no account (category {}, site {}, reason {})",
            self.role.word(),
            self.kind.word(),
            category.map_or("any", |(_, category)| &category.code),
            site.map_or("HQ", |(_, site)| &site.code),
            reason.map_or("none", |(_, reason)| &reason.code),
        )
    }
}

/// Kinds that HQ's own log states.
const FINANCE: [Kind; 5] = [
    Kind::SupplierInvoice,
    Kind::CustomerInvoice,
    Kind::CreditNote,
    Kind::Payment,
    Kind::Allocation,
];

/// Kinds that HQ's own log states of the goods at a site.
const COSTS: [Kind; 5] =
    [Kind::LandedCost, Kind::CashDiscount, Kind::Revaluation, Kind::StandardCost, Kind::WriteDown];

/// Every posting of a company that has no account at a time.
pub fn check_mapping(settings: &Settings, company: CompanyNo, at: Timestamp) -> Vec<Missing> {
    let sites = settings.sites().filter(|(_, site)| site.company == company);
    let sites: Vec<SiteNo> = sites.map(|(site, _)| site).collect();
    let categories: Vec<_> = settings.categories().map(|(category, _)| category).collect();
    let reasons: Vec<_> =
        [None].into_iter().chain(settings.reasons().map(|(reason, _)| Some(reason))).collect();
    let mut missing = Vec::new();
    let several = settings.companies().count() > 1;
    for (kind, role) in needed(several) {
        let sites: &[SiteNo] = if FINANCE.contains(&kind) { &[SiteNo::HQ] } else { &sites };
        for site in sites {
            for category in [None].into_iter().chain(categories.iter().copied().map(Some)) {
                for reason in &reasons {
                    let lookup = Lookup {
                        company,
                        role,
                        category,
                        site: *site,
                        movement: kind,
                        reason: *reason,
                    };
                    if settings.account(&lookup, at).is_none() {
                        let (site, reason) = (*site, *reason);
                        missing.push(Missing { role, kind, category, site, reason });
                    }
                }
            }
        }
    }
    missing
}

/// Every kind with every role that it may post to; between companies only where there are several.
fn needed(several: bool) -> BTreeSet<(Kind, Role)> {
    let movements = Kind::ALL.iter().copied().filter(|kind| kind.is_movement());
    let kinds = movements.chain(FINANCE).chain(COSTS);
    let mut needed = BTreeSet::new();
    for kind in kinds {
        for bits in 0..128u8 {
            let situation = Situation {
                priced: bits & 1 != 0,
                invoice_later: bits & 2 != 0,
                one_pool: bits & 4 != 0,
                inward: bits & 8 != 0,
                foreign: bits & 16 != 0,
                between: several && bits & 32 != 0,
                of_goods: bits & 64 != 0,
            };
            let found = roles(kind, situation);
            let found = [
                found.stock,
                found.counter,
                found.difference,
                found.variance,
                found.main,
                found.against,
                found.rest,
            ];
            needed.extend(found.into_iter().flatten().map(|role| (kind, role)));
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use shared::catalogue::Catalogue;
    use shared::fact::statement::{CostScope, MasterData, Statement};
    use shared::ids::ReasonNo;
    use shared::time::OffsetMinutes;

    use super::*;
    use crate::chart::GENERIC;
    use crate::own_log::{Draft, MappingDraft};

    fn settings(without: Option<Role>, also: Option<MappingDraft>) -> Settings {
        let mut draft = Draft::new(&Catalogue::new());
        let currency = "EUR".parse().expect("a code");
        draft.company("1", "First", currency, OffsetMinutes(60), CostScope::Site).expect("new");
        draft.site(SiteNo(1), "north", "North").expect("new");
        draft.chart(&GENERIC).expect("the chart is whole");
        if let Some(rule) = also {
            draft.mapping(&rule).expect("a rule");
        }
        let mut settings = Settings::default();
        for group in draft.into_groups() {
            let Statement::MasterData { valid_from, data } = &group.statements[0] else { continue };
            let dropped =
                matches!(data, MasterData::Mapping { role, .. } if Some(*role) == without);
            if !dropped {
                settings.take(*valid_from, data).expect("taken");
            }
        }
        settings
    }

    #[test]
    fn the_generic_chart_is_complete() {
        assert_eq!(check_mapping(&settings(None, None), CompanyNo::FIRST, Timestamp(0)), []);
    }

    #[test]
    fn a_missing_role_is_named_for_each_place_it_is_needed() {
        let missing =
            check_mapping(&settings(Some(Role::Scrap), None), CompanyNo::FIRST, Timestamp(0));
        assert!(missing.iter().all(|each| (each.role, each.kind) == (Role::Scrap, Kind::Scrap)));
        // Three categories and none x eight reasons and none, at one site.
        assert_eq!(missing.len(), 4 * 9);
    }

    #[test]
    fn a_rule_for_one_reason_covers_that_reason_only() {
        let rule = MappingDraft {
            role: "scrap".to_owned(),
            account: "5121".to_owned(),
            reason: Some("damaged".to_owned()),
            ..MappingDraft::default()
        };
        let settings = settings(Some(Role::Revenue), Some(rule));
        let missing = check_mapping(&settings, CompanyNo::FIRST, Timestamp(0));
        assert!(missing.iter().all(|each| each.role == Role::Revenue));
        assert!(missing.iter().any(|each| each.kind == Kind::CustomerInvoice));
        assert!(settings.reasons().any(|(reason, _)| reason == ReasonNo(5)));
    }
}
