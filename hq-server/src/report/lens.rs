//! One company's books through the eyes of a report: names, figures and times as they are shown.
//! Knows how things are called and nothing of how they are valued.

use shared::fact::statement::Role;
use shared::ids::{AccountNo, CompanyNo, ItemNo, PartnerNo, SiteNo};
use shared::money::Currency;
use shared::quantity::Quantity;
use shared::time::{Day, Month, OffsetMinutes, Timestamp};

use super::archive::StoredVoucher;
use super::figure::{Figure, Moment, Named};
use super::voucher::{Summary, VoucherHead, voucher_id};
use crate::books::valuation::FactId;
use crate::books::{Books, Item, Line, Voucher};

/// Names are shown as they stand now.
const NOW: Timestamp = Timestamp(i64::MAX);

/// One company's books.
#[derive(Clone, Copy, Debug)]
pub struct Lens<'a> {
    /// The books.
    pub books: &'a Books,
    /// The company.
    pub company: CompanyNo,
    currency: Option<Currency>,
    zone: OffsetMinutes,
}

impl<'a> Lens<'a> {
    /// A company's books, even before the company is stated.
    pub fn new(books: &'a Books, company: CompanyNo) -> Self {
        let stated = books.settings().company(company, NOW);
        Self {
            books,
            company,
            currency: stated.map(|company| company.currency),
            zone: stated.map(|company| company.zone).unwrap_or_default(),
        }
    }

    /// Debits less credits of the company's accounts that are mapped to a role.
    pub fn balance(&self, role: Role) -> i128 {
        let settings = self.books.settings();
        let accounts = settings.accounts().filter(|(no, account)| {
            account.company == self.company && settings.role_of(*no) == Some(role)
        });
        accounts.map(|(no, _)| self.books.ledger().balance(no)).sum()
    }

    /// The company's open items of a role.
    pub fn open(&self, role: Role) -> impl Iterator<Item = (FactId, i128)> {
        let (facts, company) = (self.books.facts(), self.company);
        let all = self.books.open_items().of_role(role);
        all.filter(move |(id, _)| facts[*id].company == company)
    }

    /// Their sum.
    pub fn open_total(&self, role: Role) -> i128 {
        if self.books.settings().companies().count() > 1 {
            return self.open(role).map(|(_, amount)| amount).sum();
        }
        self.books.open_items().total(role)
    }

    /// The currency's code.
    pub fn currency(&self) -> String {
        self.currency.map(|currency| currency.to_string()).unwrap_or_default()
    }

    /// An amount in the company's currency.
    pub fn money(&self, minor: impl Into<i128>) -> Figure {
        Figure::new(minor.into(), self.currency.map_or(2, Currency::decimals))
    }

    /// An instant in the company's zone.
    pub const fn moment(&self, at: Timestamp) -> Moment {
        Moment { at, zone: self.zone }
    }

    /// The ledger month of an instant.
    pub fn month_of(&self, at: Timestamp) -> Month {
        at.day(self.zone).month()
    }

    /// The last instant of a day in the company's zone; the end of time where no day is named.
    pub fn end_of(&self, day: Option<Day>) -> Timestamp {
        let next = day.and_then(|day| day.0.checked_add(1)).map(Day);
        next.map_or(Timestamp(i64::MAX), |next| Timestamp(next.start(self.zone).0 - 1))
    }

    /// The company's name.
    pub fn company_name(&self) -> Named {
        let stated = self.books.settings().company(self.company, NOW);
        named(self.company.0, stated.map(|company| (&company.code, &company.name)))
    }

    /// A site's name.
    pub fn site(&self, site: SiteNo) -> Named {
        let stated = self.books.settings().site(site, NOW);
        named(site.0, stated.map(|site| (&site.code, &site.name)))
    }

    /// A site's name, where it is one of the company's warehouses.
    pub fn warehouse(&self, site: SiteNo) -> Option<Named> {
        (site != SiteNo::HQ).then(|| self.site(site))
    }

    /// An item as it stands now.
    pub fn stated_item(&self, item: ItemNo) -> Option<&'a Item> {
        self.books.settings().item(item, NOW)
    }

    /// An item's name.
    pub fn item(&self, item: ItemNo) -> Named {
        let stated = self.stated_item(item);
        named(item.0, stated.map(|item| (&item.code, &item.name)))
    }

    /// An item's base unit and decimals.
    pub fn unit(&self, item: ItemNo) -> (String, u8) {
        let stated = self.stated_item(item);
        stated.map_or_else(Default::default, |item| (item.unit.to_string(), item.decimals))
    }

    /// A quantity of an item.
    pub fn quantity(&self, item: ItemNo, units: i64) -> Figure {
        Figure::quantity(Quantity(units), self.unit(item).1)
    }

    /// A customer's or supplier's name.
    pub fn partner(&self, partner: PartnerNo) -> Named {
        let stated = self.books.settings().partner(partner, NOW);
        named(partner.0, stated.map(|partner| (&partner.code, &partner.name)))
    }

    /// An account's name.
    pub fn account(&self, account: AccountNo) -> Named {
        let stated = self.books.settings().accounts().find(|(no, _)| *no == account);
        named(account.0, stated.map(|(_, account)| (&account.code, &account.name)))
    }

    /// What a fact is about.
    pub fn summary(&self, id: FactId) -> Summary {
        let record = &self.books.facts()[id];
        Summary {
            kind: record.kind.word().to_owned(),
            site: self.warehouse(record.site),
            item: record.item.map(|item| self.item(item)),
            more_items: 0,
            partner: record.partner.map(|partner| self.partner(partner)),
            document: record
                .document
                .as_ref()
                .map(|document| String::from_utf8_lossy(document).into_owned()),
        }
    }

    /// What a voucher is about: its first fact and how many more items, or a settling of many.
    pub fn voucher_summary(&self, voucher: &Voucher) -> Summary {
        let first = voucher.fact.and_then(|capture| self.books.facts().find(capture));
        let Some(first) = first else {
            return Summary { kind: "settle".to_owned(), ..Summary::default() };
        };
        let record = &self.books.facts()[first];
        let group = (record.group.0..).take(usize::from(record.group_len)).map(FactId);
        let mut items: Vec<ItemNo> = group.filter_map(|id| self.books.facts()[id].item).collect();
        items.sort_unstable();
        items.dedup();
        let more_items = items.len().saturating_sub(1) as u64;
        Summary { more_items, ..self.summary(first) }
    }

    /// What a line without a fact is about: differences of many facts, summed.
    pub fn line_summary(&self, line: &Line) -> Summary {
        Summary {
            kind: "settle".to_owned(),
            site: self.warehouse(line.site),
            item: line.item.map(|item| self.item(item)),
            more_items: 0,
            partner: line.partner.map(|partner| self.partner(partner)),
            document: None,
        }
    }

    /// A stored voucher as lists show it.
    pub fn voucher_head(&self, stored: &StoredVoucher) -> VoucherHead {
        let voucher = &stored.voucher;
        VoucherHead {
            id: voucher_id(voucher),
            month: voucher.month,
            number: voucher.number.into(),
            day: voucher.day,
            posted_at: self.moment(stored.posted_at),
            position: stored.position,
            cause: voucher.cause.word().to_owned(),
            summary: self.voucher_summary(voucher),
            total: self.money(voucher.debit()),
        }
    }
}

fn named(no: u32, stated: Option<(&String, &String)>) -> Named {
    match stated {
        Some((code, name)) => Named { no, code: code.clone(), name: name.clone() },
        // Nothing named it yet: its number is all there is to show.
        None => Named { no, code: no.to_string(), name: no.to_string() },
    }
}
