//! The books alone, without nodes or links, for sets that are about what goods cost. Knows how facts
//! are stamped and what a company must have, and no data set.

use std::collections::BTreeMap;

use hq_server::books::{Books, Entry, Run};
use shared::catalogue::Catalogue;
use shared::fact::Fact;
use shared::fact::effective::LogRank;
use shared::fact::statement::{
    AccountType, CostMethod, CostScope, MasterData, Role, Stamp, Statement,
};
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, PartnerNo, Seq, SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, Unit};
use shared::time::{OffsetMinutes, Timestamp};

use crate::processes::ProcessError;

/// The one who sells, buys and carries.
pub(super) const PARTNER: (PartnerNo, &str) = (PartnerNo(1), "PARTNER");
/// Dates of the sets have no zone.
pub(super) const ZONE: OffsetMinutes = OffsetMinutes(0);

/// The log of a site, or of HQ. A site may have several, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Log {
    /// Whose it is.
    pub site: SiteNo,
    /// Which of all; its device has this number as well.
    pub number: u32,
}

impl Log {
    const HQ: Self = Self { site: SiteNo::HQ, number: 1 };
}

/// Books, the catalogue that drafts are checked against, and how far each log is written.
#[derive(Debug, Default)]
pub(super) struct BooksAlone {
    pub(super) books: Books,
    pub(super) catalogue: Catalogue,
    written: BTreeMap<Log, u64>,
}

impl BooksAlone {
    /// A company with one currency and method, a site for each code, an item for each code, and an
    /// account for each role.
    pub(super) fn new<'a>(
        method: CostMethod,
        sites: impl IntoIterator<Item = &'a str>,
        items: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ProcessError> {
        let mut alone = Self::default();
        for data in master_data(method, sites, items) {
            alone.catalogue.apply_master_data(None, data.clone());
            let statement = Statement::MasterData { valid_from: None, data };
            alone.state(Log::HQ, (Timestamp(0), Timestamp(0)), &[statement])?;
        }
        Ok(alone)
    }

    /// Writes a group to a log and takes it, and says which capture its first fact has. The times
    /// are when it happened and when it was recorded.
    pub(super) fn state(
        &mut self,
        log: Log,
        (occurred_at, recorded_at): (Timestamp, Timestamp),
        statements: &[Statement],
    ) -> Result<Capture, ProcessError> {
        let written = self.written.entry(log).or_default();
        let first = Capture { device: DeviceNo(log.number), counter: *written + 1 };
        let mut facts: Vec<Fact> = Vec::with_capacity(statements.len());
        for (statement, left) in statements.iter().zip((0..statements.len()).rev()) {
            *written += 1;
            let stamp = Stamp {
                capture: Capture { counter: *written, ..first },
                recorded_at,
                occurred_at,
                utc_offset: ZONE,
                group_left: u16::try_from(left).expect("a small group"),
                person: None,
                time_in_doubt: 0,
                company: None,
            };
            let fact = statement.to_fact(&stamp);
            facts.push(fact.map_err(|error| ProcessError::Answer(error.to_string()))?);
        }
        let run = Run {
            site: log.site,
            log: LogRank(log.number.into()),
            first: Seq(first.counter),
            received_at: recorded_at,
            facts: &facts,
        };
        self.books.apply(&Entry::Run(run));
        Ok(first)
    }

    /// Writes a group to HQ's own log.
    pub(super) fn state_at_hq(
        &mut self,
        times: (Timestamp, Timestamp),
        statements: &[Statement],
    ) -> Result<Capture, ProcessError> {
        self.state(Log::HQ, times, statements)
    }

    /// Posts every difference, and says what does not hold.
    pub(super) fn settle(&mut self, wrong: &mut Vec<String>) {
        self.books.apply(&Entry::Settle);
        if let Some((_, group)) = self.books.waiting().next() {
            wrong.push(format!("fact {} of {} waits: {}", group.first, group.site, group.why));
        }
        if let Err(broken) = self.books.check() {
            wrong.push(broken.to_string());
        }
    }
}

/// All sets of this kind are in dollars.
pub(super) fn currency() -> Currency {
    "USD".parse().expect("a currency's code")
}

/// A price as it stands in a fact.
pub(super) fn price(mantissa: i64, exponent: i8) -> Result<Price, ProcessError> {
    let figure = Scaled::new(mantissa, exponent);
    let figure = figure.map_err(|error| ProcessError::Answer(format!("{mantissa} {error}")))?;
    Ok(Price { figure: figure.normalized(), currency: currency() })
}

/// Pieces.
pub(super) fn unit() -> Unit {
    Unit::from_bytes(b"EA").expect("a unit")
}

fn master_data<'a>(
    method: CostMethod,
    sites: impl IntoIterator<Item = &'a str>,
    items: impl IntoIterator<Item = &'a str>,
) -> Vec<MasterData> {
    let company = CompanyNo::FIRST;
    let named = |code: &str| (code.to_owned(), code.to_owned());
    let (code, name) = named("COMPANY");
    let (currency, zone, scope) = (currency(), ZONE, CostScope::Site);
    let mut data = vec![
        MasterData::Company { company, code, name, currency, zone, scope },
        MasterData::Costing { company, category: None, method },
    ];
    for (number, code) in (1..).zip(sites) {
        let (code, name) = named(code);
        data.push(MasterData::Site { site: SiteNo(number), company, code, name });
    }
    for (number, code) in (1..).zip(items) {
        let (code, name) = named(code);
        data.push(MasterData::Item {
            item: ItemNo(number),
            category: CategoryNo(1),
            code,
            name,
            unit: unit(),
            decimals: 0,
            service: false,
            fallback_cost: None,
        });
    }
    let (partner, (code, name)) = (PARTNER.0, named(PARTNER.1));
    data.push(MasterData::Partner { partner, code, name, customer: true, supplier: true });
    for role in Role::ALL.iter().copied() {
        let (account, account_type) = (AccountNo(role as u32), AccountType::Asset);
        let (code, name) = named(role.word());
        data.push(MasterData::Account { account, company, code, name, account_type });
        let (category, site, movement, reason) = (None, None, None, None);
        data.push(MasterData::Mapping { company, role, account, category, site, movement, reason });
    }
    data
}
