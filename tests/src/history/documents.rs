//! What HQ states of goods and money: invoices, credit notes, payments, allocations.

use shared::fact::Kind;
use shared::fact::statement::{
    Allocation, Direction, InvoiceLine, Money, Payment, Role, Statement,
};
use shared::ids::{AccountNo, Capture, CompanyNo, PartnerNo, SiteNo};
use shared::quantity::Scaled;
use shared::time::{Day, OffsetMinutes, Timestamp};

use super::{DAY, Made, PETTY_CASH, SECOND, THIRD, Writer, kinds, measure, scaled};

impl Writer {
    pub(super) fn hq_step(&mut self) {
        let back = if self.chance(1, 3) { self.back() } else { 0 };
        if self.shape.costs && self.chance(1, 2) {
            return self.cost_step(back);
        }
        match self.random.below(20) {
            0..9 => self.supplier_invoice(back),
            9..12 => self.customer_invoice(back),
            12..15 => self.payment(back),
            15..18 => self.allocation(back),
            _ => {
                let group = self.reversal(None);
                if matches!(group[0], Statement::Reversal { .. }) {
                    self.write_goods(0, &group, 0);
                }
            }
        }
    }

    /// Sometimes for a receipt that a site has yet to write.
    pub(super) fn supplier_invoice(&mut self, back: i64) {
        let invoiced = self.invoiced.clone();
        let again = self.shape.costs && self.chance(1, 3);
        let receipt = self.find(|made| {
            made.kind == Kind::Receipt && (!again || invoiced.contains(&made.capture))
        });
        let Some(receipt) = receipt else { return };
        let figure = self.part_of(receipt.quantity);
        let mut refers_to = receipt.capture;
        if self.chance(1, 6) {
            let log = receipt.capture.device.0 as usize - 1;
            refers_to.counter = self.clocks[log].2 + self.random.below(3);
        }
        self.invoiced.insert(refers_to);
        let mut line = self.invoice_line(&receipt, refers_to, figure);
        line.price = self.abroad(Some(line.price)).unwrap_or(line.price);
        self.write_invoice(Statement::SupplierInvoice(line), &receipt, back);
    }

    /// The company whose documents speak of a site's goods; seldom the wrong one.
    pub(super) fn company_for(&mut self, site: SiteNo) -> Option<CompanyNo> {
        let wrong = self.chance(1, 20);
        let company = self.company_of(site);
        (company != CompanyNo::FIRST && !wrong).then_some(company)
    }

    pub(super) fn company_of(&self, site: SiteNo) -> CompanyNo {
        let from_last = self.shape.sites.wrapping_sub(site.0);
        match from_last {
            0 if self.shape.second_company => SECOND,
            1 if self.has_third() => THIRD,
            _ => CompanyNo::FIRST,
        }
    }

    pub(super) const fn has_third(&self) -> bool {
        self.shape.second_company && self.shape.third_company && self.shape.sites > 2
    }

    pub(super) fn customer_invoice(&mut self, back: i64) {
        let sale = self.find(|made| made.kind == Kind::SaleIssue && made.invoice_later);
        let Some(sale) = sale else { return };
        let figure = self.part_of(sale.quantity);
        let line = self.invoice_line(&sale, sale.capture, figure);
        self.write_invoice(Statement::CustomerInvoice(line), &sale, back);
    }

    pub(super) fn invoice_line(
        &mut self,
        goods: &Made,
        refers_to: Capture,
        figure: Scaled,
    ) -> InvoiceLine {
        let dated = self.chance(1, 2);
        let date = Timestamp(self.now - self.random.between(0, 10) * DAY).day(OffsetMinutes(480));
        let mut quantity = measure(figure.mantissa(), figure.exponent(), goods.unit);
        if self.chance(1, 10) {
            // In the item's other unit, or in one that it has not.
            let other = kinds(goods.item).other_unit.map_or("PALLET", |other| other.0);
            quantity = measure(self.random.between(1, 3), 0, other);
        }
        InvoiceLine {
            partner: goods.partner.unwrap_or(PartnerNo(1)),
            refers_to,
            quantity,
            price: self.price(),
            document: None,
            document_date: dated.then_some(date),
            due_date: dated.then_some(Day(date.0 + 30)),
            tax_code: None,
        }
    }

    /// Sometimes with a second line for the same goods.
    pub(super) fn write_invoice(&mut self, statement: Statement, goods: &Made, back: i64) {
        let kind = statement.kind();
        let company = self.company_for(goods.site);
        let lines = if self.chance(1, 6) { 2 } else { 1 };
        let captures = self.write_for(company, 0, &vec![statement; lines], back);
        for capture in captures {
            let made = Made::bare(capture, SiteNo::HQ, kind);
            self.made.push(Made { partner: goods.partner, company, ..made });
        }
    }

    pub(super) fn payment(&mut self, back: i64) {
        let direction = if self.chance(1, 2) { Direction::In } else { Direction::Out };
        let account = match self.random.below(20) {
            0 => Some(AccountNo(Role::Inventory as u32 * 10)),
            1 => Some(AccountNo(PETTY_CASH.0 + 1)),
            2..5 => Some(PETTY_CASH),
            _ => None,
        };
        let payment = Payment {
            partner: self.partner(),
            direction,
            amount: self.amount(),
            account,
            document: None,
            document_date: None,
        };
        let second = self.shape.second_company && self.chance(1, 4);
        let company = second.then_some(SECOND);
        let payments = if self.chance(1, 8) { 2 } else { 1 };
        let group = vec![Statement::Payment(payment); payments];
        for capture in self.write_for(company, 0, &group, back) {
            let made = Made::bare(capture, SiteNo::HQ, Kind::Payment);
            self.made.push(Made { direction: Some(direction), company, ..made });
        }
    }

    pub(super) fn amount(&mut self) -> Money {
        let extreme = self.shape.extreme && self.chance(1, 2);
        let digits = if extreme { self.extreme() } else { self.random.between(1, 90_000) };
        let exponent = -self.currency.decimals().cast_signed();
        Money { figure: scaled(digits, exponent), currency: self.currency }
    }

    pub(super) fn allocation(&mut self, back: i64) {
        let Some(payment) = self.find(|made| made.kind == Kind::Payment) else { return };
        let inward = payment.direction == Some(Direction::In);
        let open = self.find(|made| match made.kind {
            Kind::SupplierInvoice | Kind::LandedCost => !inward,
            Kind::CustomerInvoice | Kind::ServiceSale => inward,
            Kind::SaleIssue => inward && made.priced && !made.invoice_later,
            _ => false,
        });
        let Some(open) = open else { return };
        let allocation =
            Allocation { open_item: open.capture, payment: payment.capture, amount: self.amount() };
        let company = payment.company;
        let captures = self.write_for(company, 0, &[Statement::Allocation(allocation)], back);
        self.made.push(Made::bare(captures[0], SiteNo::HQ, Kind::Allocation));
    }
}
