//! Preparing what HQ states about cost: landed cost, cash discounts, revaluations, new standard costs, write-downs.
//! As its parent: looks up, changes nothing.

use shared::fact::Kind;
use shared::fact::statement::{
    CashDiscount, CostScope, LandedCost, PoolName, PurchaseCashDiscount, Revaluation, Stamp,
    StandardCost, Unreadable, WriteDown,
};
use shared::ids::SiteNo;

use super::super::fact_table::{FactRecord, PoolStep};
use super::super::posting::{self, Situation};
use super::super::settings::Item;
use super::super::valuation::FactId;
use super::foreign::foreign_amount;
use super::{Draft, Preparation, Waits, blank, convert, money, unit_cost};

impl<'a> Preparation<'a> {
    /// A bill has its own date; what it adds has that of the receipt.
    pub(super) fn landed_cost(
        &self,
        stamp: &'a Stamp,
        index: usize,
        landed: &LandedCost,
    ) -> Result<FactRecord, Waits> {
        self.only_hq(Kind::LandedCost)?;
        let receipt = self.need(landed.refers_to)?;
        let named = self.record(receipt);
        if named.kind != Kind::Receipt {
            return Err(Waits::WrongReference(landed.refers_to, "receipt"));
        }
        let mut draft = self.draft(stamp, index, Kind::LandedCost, SiteNo::HQ, None)?;
        if named.company != draft.company_no {
            return Err(Waits::OtherCompany(landed.refers_to));
        }
        draft.site = named.site;
        draft.origin = Some(receipt);
        let mut record = blank(&draft, self.facts.next(), self.stamps.len());
        record.document_day = landed.document_date.unwrap_or(record.document_day);
        let currency = landed.amount.currency;
        let (amount, foreign) = if currency == draft.company.currency {
            (money(&draft, landed.amount)?, None)
        } else {
            let foreign = foreign_amount(landed.amount)?;
            let day = record.document_day.start(draft.company.zone);
            (0, Some((foreign, self.rate(&draft, currency, day)?)))
        };
        self.check_named(landed.partner, None, draft.key.effective_at())?;
        let owed = landed.partner.is_some();
        record.roles =
            posting::roles(Kind::LandedCost, Situation { priced: owed, ..Situation::PLAIN });
        record.item = named.item;
        record.category = named.category;
        record.partner = landed.partner;
        record.document.clone_from(&landed.document);
        record.due_day = landed.due_date;
        record.stated = Some(amount);
        record.document_target = if owed { (-amount, amount) } else { (0, 0) };
        if let Some((foreign, rate)) = foreign {
            record.foreign = Some(Box::new(foreign));
            convert(&mut record, rate);
        }
        self.find_accounts(&mut record)?;
        Ok(record)
    }

    /// Less is owed for the bill. Whose that is stands in the fact; where the goods are, in the bill.
    pub(super) fn cash_discount(
        &self,
        stamp: &'a Stamp,
        index: usize,
        stated: &CashDiscount,
    ) -> Result<FactRecord, Waits> {
        self.only_hq(Kind::CashDiscount)?;
        let bill = self.need(stated.refers_to)?;
        let named = self.record(bill);
        let is_bill = match named.kind {
            Kind::SupplierInvoice => true,
            // What is accrued is owed to nobody yet.
            Kind::LandedCost => named.partner.is_some(),
            _ => false,
        };
        if !is_bill {
            return Err(Waits::WrongReference(stated.refers_to, "supplier's bill"));
        }
        let draft = self.draft(stamp, index, Kind::CashDiscount, SiteNo::HQ, None)?;
        if named.company != draft.company_no {
            return Err(Waits::OtherCompany(stated.refers_to));
        }
        let amount = money(&draft, stated.amount)?;
        let mut record = blank(&draft, self.facts.next(), self.stamps.len());
        let of_goods = stated.of == PurchaseCashDiscount::Cost;
        record.roles =
            posting::roles(Kind::CashDiscount, Situation { of_goods, ..Situation::PLAIN });
        record.document.clone_from(&stated.document);
        record.document_day = stated.document_date.unwrap_or(record.document_day);
        record.partner = named.partner;
        record.stated = Some(amount);
        record.document_target = (amount, -amount);
        record.second = Some(bill);
        (record.main_item, record.main_site) = (named.main_item, named.main_site);
        if let Some(receipt) = named.origin.filter(|_| of_goods) {
            discount_goods(&mut record, receipt, self.record(receipt));
        }
        self.find_accounts(&mut record)?;
        Ok(record)
    }

    /// The first of a group states the amount, the others further receipts.
    pub(super) fn revaluation(
        &self,
        stamp: &'a Stamp,
        index: usize,
        stated: &Revaluation,
    ) -> Result<FactRecord, Waits> {
        let receipt = stated.refers_to.map(|capture| self.need(capture)).transpose()?;
        if let (Some(receipt), Some(capture)) = (receipt, stated.refers_to) {
            let named = self.record(receipt);
            if named.kind != Kind::Receipt || named.item != Some(stated.pool.item) {
                return Err(Waits::WrongReference(capture, "receipt"));
            }
        }
        let is_first = self.prepared.iter().all(|record| record.kind != Kind::Revaluation);
        if is_first != stated.amount.is_some() {
            let (kind, field) = (Kind::Revaluation, "AMOUNT");
            let why = "stands on another than the first of its group";
            return Err(Waits::Unreadable(match stated.amount {
                Some(_) => Unreadable::BadValue { kind, field, why },
                None => Unreadable::Missing { kind, field },
            }));
        }
        let (draft, item) = self.of_pool(stamp, index, Kind::Revaluation, &stated.pool, receipt)?;
        self.check_named(None, stated.reason, draft.key.effective_at())?;
        let mut record = self.in_pool(&draft, item, &stated.pool);
        record.reason = stated.reason;
        if let Some(amount) = stated.amount {
            record.stated = Some(money(&draft, amount)?);
            record.step = PoolStep::Revalue;
        }
        self.find_accounts(&mut record)?;
        Ok(record)
    }

    pub(super) fn standard_cost(
        &self,
        stamp: &'a Stamp,
        index: usize,
        stated: &StandardCost,
    ) -> Result<FactRecord, Waits> {
        let (draft, item) = self.of_pool(stamp, index, Kind::StandardCost, &stated.pool, None)?;
        self.check_named(None, stated.reason, draft.key.effective_at())?;
        let currency = draft.company.currency;
        if stated.cost.currency != currency {
            return Err(Waits::ForeignCurrency(stated.cost.currency));
        }
        let mut record = self.in_pool(&draft, item, &stated.pool);
        record.reason = stated.reason;
        let cost = unit_cost(&stated.cost, (1, 1), currency.decimals(), item.decimals)?;
        record.unit_cost = Some(cost);
        record.step = PoolStep::Restate;
        self.find_accounts(&mut record)?;
        Ok(record)
    }

    /// What goods cost stays; the loss and the allowance stand beside it.
    pub(super) fn write_down(
        &self,
        stamp: &'a Stamp,
        index: usize,
        stated: &WriteDown,
    ) -> Result<FactRecord, Waits> {
        let (draft, item) = self.of_pool(stamp, index, Kind::WriteDown, &stated.pool, None)?;
        self.check_named(None, stated.reason, draft.key.effective_at())?;
        let amount = money(&draft, stated.amount)?;
        let mut record = self.in_pool(&draft, item, &stated.pool);
        record.reason = stated.reason;
        record.stated = Some(amount);
        record.document_target = (amount, -amount);
        self.find_accounts(&mut record)?;
        Ok(record)
    }

    /// A pool is named by its site, unless all sites are one pool.
    fn of_pool(
        &self,
        stamp: &'a Stamp,
        index: usize,
        kind: Kind,
        pool: &PoolName,
        receipt: Option<FactId>,
    ) -> Result<(Draft<'a>, &'a Item), Waits> {
        self.only_hq(kind)?;
        let site = pool.site.unwrap_or(SiteNo::HQ);
        let draft = self.draft(stamp, index, kind, site, receipt)?;
        if site == SiteNo::HQ && draft.company.scope == CostScope::Site {
            return Err(Waits::NoPoolSite(kind));
        }
        let time = draft.key.effective_at();
        let item = self.settings.item(pool.item, time).ok_or(Waits::NoItem(pool.item))?;
        if item.service {
            return Err(Waits::IsService(pool.item));
        }
        Ok((draft, item))
    }

    fn in_pool(&self, draft: &Draft<'_>, item: &Item, pool: &PoolName) -> FactRecord {
        let mut record = blank(draft, self.facts.next(), self.stamps.len());
        record.roles = posting::roles(draft.kind, Situation::PLAIN);
        record.item = Some(pool.item);
        record.category = Some(item.category);
        record.lot.clone_from(&pool.lot);
        record.one_pool = draft.company.scope == CostScope::Company;
        record
    }
}

/// Lets a discount that is the goods' be about the goods that its bill is for.
pub(in super::super) fn discount_goods(
    record: &mut FactRecord,
    receipt: FactId,
    named: &FactRecord,
) {
    record.origin = Some(receipt);
    (record.site, record.item, record.category) = (named.site, named.item, named.category);
}
