//! What documents do to each other and to receipts: invoices take receipts and shipments,
//! reversals take facts back, allocations need both sides. Knows no pools but to mark them.

use std::collections::BTreeMap;

use shared::fact::Kind;
use shared::fact::statement::{InvoiceLine, ReceiptFx, Statement};
use shared::ids::Capture;

use super::follow::Before;
use super::pool::{Fill, share};
use super::posting::{Postings, difference_lines};
use super::prepare::{find_accounts, inherit_accounts, link_invoice};
use super::valuation::{FactId, in_range};
use super::voucher::Cause;
use super::{Area, Books, Effects, FactRecord, Head, Target};

/// What a part of a bill comes to: all of it as stated.
fn part_of_bill(bill: &FactRecord, units: i64, amount: i64) -> i64 {
    if units == bill.quantity.0 {
        return amount;
    }
    // In the company's own currency asked for when the bill was taken: a part of a stated amount.
    // In another a part is beyond the range where all of it is, and then counts as nothing too.
    bill.unit_cost.and_then(|cost| cost.times(units).ok()).unwrap_or(0)
}

/// Invoices that price no receipt yet, by the receipt they name.
pub(super) type Awaited = BTreeMap<Capture, Vec<(FactId, InvoiceLine)>>;

impl Books {
    /// An invoice without a receipt waits for one, or for its unit; a receipt takes the invoices
    /// that wait for it.
    pub(super) fn meet_invoices(
        &mut self,
        id: FactId,
        statement: &Statement,
        effects: &mut Effects,
    ) {
        match statement {
            Statement::SupplierInvoice(line) | Statement::CreditNote(line)
                if self.facts[id].origin.is_none() =>
            {
                self.awaited.entry(line.refers_to).or_default().push((id, line.clone()));
            }
            Statement::Movement(movement) if movement.kind == Kind::Receipt => {
                self.link_invoices(self.facts[id].capture, effects);
            }
            _ => {}
        }
    }

    /// A unit became known: invoices in that unit may price their receipts now.
    pub(super) fn meet_invoices_again(&mut self, effects: &mut Effects) {
        let named: Vec<Capture> = self.awaited.keys().copied().collect();
        for capture in named {
            self.link_invoices(capture, effects);
        }
    }

    /// Lets the invoices that wait for a fact price it, where it is a receipt and has their unit.
    fn link_invoices(&mut self, named: Capture, effects: &mut Effects) {
        let Some(receipt) = self.facts.find(named) else { return };
        let Some(invoices) = self.awaited.remove(&named) else { return };
        let all = invoices.len();
        let (mut left, mut linked) = (Vec::new(), 0);
        for (id, line) in invoices {
            if self.link_invoice(id, &line, receipt, effects) {
                linked += 1;
                self.link_discounts(id, receipt, effects);
                self.stop_keeping(id);
            } else {
                left.push((id, line));
            }
        }
        debug_assert!(left.len() + linked == all);
        if !left.is_empty() {
            self.awaited.insert(named, left);
        }
        if linked > 0 {
            self.price_receipt(receipt);
        }
    }

    fn link_invoice(
        &mut self,
        id: FactId,
        line: &InvoiceLine,
        receipt: FactId,
        effects: &mut Effects,
    ) -> bool {
        let mut record = self.facts[id].clone();
        if !link_invoice(&self.settings, &mut record, line, receipt, &self.facts[receipt]) {
            return false;
        }
        self.link(id, record, receipt, effects);
        let record = &mut self.facts[id];
        if !record.reversed {
            record.target.main = record.document_target.0;
        }
        self.forward_document(id, receipt);
        true
    }

    /// Puts a record that became known to be about a receipt in the place of the one before.
    pub(super) fn link(
        &mut self,
        id: FactId,
        mut record: FactRecord,
        receipt: FactId,
        effects: &mut Effects,
    ) {
        // Dimensions and accounts change: what is posted is taken back first.
        self.withdraw(id, Cause::Invoice, effects);
        if find_accounts(&self.settings, &mut record).is_err() {
            record.accounts = self.facts[id].accounts;
        }
        inherit_accounts(&mut record, |origin| &self.facts[origin].accounts);
        record.target = Target::default();
        record.posted = record.target;
        record.origin = None;
        self.facts[id] = record;
        self.facts.link(receipt, id);
        self.touched.insert(id, Cause::Invoice);
    }

    /// Takes back what is posted for a fact whose dimensions change.
    pub(super) fn withdraw(&mut self, id: FactId, cause: Cause, effects: &mut Effects) {
        let record = &self.facts[id];
        // A ship that becomes a sale to another company is trade by now.
        let area = if record.kind == Kind::CashDiscount { record.area() } else { Area::Trade };
        let month = self.month_of(record, area);
        let record = &mut self.facts[id];
        record.target = Target::default();
        let mut postings = Postings::new();
        difference_lines(id, record, true, &mut postings);
        record.posted = record.target;
        let head = Head::of(record, cause, month);
        self.post(head, postings, effects);
    }

    /// Takes the invoices and credit notes of a receipt in the order of their own dates and fills
    /// the receipt, and adds up its landed cost.
    pub(super) fn price_receipt(&mut self, receipt: FactId) {
        self.fill_receipt(receipt, Cause::Invoice);
    }

    /// The same where rates changed.
    pub(super) fn price_receipt_again(&mut self, receipt: FactId) {
        self.fill_receipt(receipt, Cause::Settings);
    }

    fn fill_receipt(&mut self, receipt: FactId, cause: Cause) {
        let named = &self.facts[receipt];
        let (mut room, mut invoiced) = (if named.reversed { 0 } else { named.quantity.0 }, 0);
        let mut fills = Vec::new();
        for id in self.documents_of(receipt, &[Kind::SupplierInvoice, Kind::CreditNote]) {
            let record = &self.facts[id];
            let (amount, asked) = if record.reversed {
                (0, 0)
            } else {
                (record.stated.unwrap_or(0), record.quantity.0)
            };
            let (sign, limit) =
                if record.kind == Kind::CreditNote { (-1, invoiced) } else { (1, room) };
            let units = asked.min(limit);
            let (goods, owed) = if units > 0 {
                let owed = part_of_bill(record, units, amount);
                (self.worth_to_receipt(record, receipt, units).unwrap_or(owed), owed)
            } else {
                (0, 0)
            };
            if record.forwarded {
                self.add_late(id, receipt, sign * units, sign * goods);
            } else if units > 0 {
                fills.push(Fill { units: sign * units, amount: sign * goods });
            }
            (room, invoiced) = (room - sign * units, invoiced + sign * units);
            self.set_bill(id, (-sign * amount, sign * goods), sign * (owed - goods), cause);
        }
        let before = self.fills.get(&receipt).map_or(&[][..], Vec::as_slice);
        if before != fills {
            self.fills.insert(receipt, fills);
            self.mark_own_pool(receipt, cause);
        }
        let landed = if cause == Cause::Settings { cause } else { Cause::LandedCost };
        self.add_landed_cost(receipt, landed);
    }

    /// What a part of a bill in another currency is worth to the goods: at the rate of the day they
    /// came, unless the company lets them bear what the rate moved until the bill's own day.
    fn worth_to_receipt(&self, bill: &FactRecord, receipt: FactId, units: i64) -> Option<i64> {
        let (named, foreign) = (&self.facts[receipt], bill.foreign.as_ref()?);
        let at = named.moved_at().effective_at();
        if self.settings.receipt_fx(named.company, at) == ReceiptFx::Cost {
            return None;
        }
        let rate = self.settings.rate(named.company, foreign.price.currency, at)?;
        Some(foreign.worth_of(units, bill.quantity.0, rate))
    }

    /// What is landed on a receipt, its bills whole and in any order, less the discounts on all its
    /// bills. A sum that no pool could hold is none.
    pub(super) fn add_landed_cost(&mut self, receipt: FactId, cause: Cause) {
        let bills = self.facts.dependents(receipt).iter().map(|id| &self.facts[*id]);
        let bills = bills.filter(|bill| !bill.forwarded);
        let landed = bills.filter_map(|bill| bill.lands(&self.facts)).map(i128::from).sum();
        let landed = in_range(landed).unwrap_or(0);
        let record = &mut self.facts[receipt];
        if record.landed() != landed {
            record.document_target.0 = -landed;
            let target = if record.reversed { (0, 0) } else { record.document_target };
            self.set_document(receipt, target, cause);
            self.mark_own_pool(receipt, cause);
        }
    }

    /// Takes the invoices of a sale in the order of their own dates, each up to what was shipped;
    /// the last takes the rest of what is unbilled, and more than was shipped is more revenue.
    pub(super) fn bill_sale(&mut self, sale: FactId) {
        let named = &self.facts[sale];
        let (mut room, mut unbilled) =
            if named.reversed { (0, 0) } else { (named.quantity.0, named.document_target.0) };
        for id in self.documents_of(sale, &[Kind::CustomerInvoice]) {
            let record = &self.facts[id];
            let (amount, asked) = if record.reversed {
                (0, 0)
            } else {
                (record.document_target.0, record.quantity.0)
            };
            let units = asked.min(room);
            let part = share(unbilled, units, room).unwrap_or(0);
            room -= units;
            unbilled -= part;
            self.set_document(id, (amount, -part), Cause::Invoice);
        }
    }

    /// The documents that name a fact, by (own date, recorded-at, log, seq).
    fn documents_of(&self, named: FactId, kinds: &[Kind]) -> Vec<FactId> {
        let mut invoices: Vec<FactId> = self.facts.dependents(named).to_vec();
        invoices.retain(|id| kinds.contains(&self.facts[*id].kind));
        invoices.sort_unstable_by_key(|id| {
            let record = &self.facts[*id];
            let own = record.key.own_place();
            (record.document_day, own.recorded_at, own.log, own.seq)
        });
        invoices
    }

    /// Sets what a document posts by itself, whether it is active or not, and what it moves a pool by.
    pub(super) fn refresh_document(&mut self, id: FactId) {
        self.land_late(id);
        let record = &self.facts[id];
        let active = record.document_is_active(&self.facts);
        let target = if active { record.document_target } else { (0, 0) };
        self.set_document(id, target, Cause::Reversal);
    }

    /// Sets what a bill posts, with what the exchange rate moved between it and its receipt.
    fn set_bill(&mut self, id: FactId, target: (i64, i64), exchange: i64, cause: Cause) {
        let record = &mut self.facts[id];
        if record.target.residue != exchange {
            record.target.residue = exchange;
            self.touched.note(id, cause);
        }
        self.set_document(id, target, cause);
    }

    /// Sets what a document posts by itself after its figures changed with a rate.
    pub(super) fn restate_document(&mut self, id: FactId) {
        let record = &self.facts[id];
        if record.document_is_active(&self.facts) {
            self.set_document(id, record.document_target, Cause::Settings);
        }
    }

    fn set_document(&mut self, id: FactId, target: (i64, i64), cause: Cause) {
        let record = &mut self.facts[id];
        if (record.target.main, record.target.against) != target {
            (record.target.main, record.target.against) = target;
            self.touched.note(id, cause);
        }
    }

    /// A reversal takes effect, or loses it: what it names did not happen, or did. That can be a
    /// reversal again, and so on.
    pub(super) fn reverse(&mut self, reversal: FactId) {
        let mut next = self.facts[reversal].origin;
        while let Some(named) = next.take() {
            let mut members = self.effect_group(named);
            let reversed = members.iter().any(|member| self.is_named_by_a_reversal(*member));
            members.retain(|member| self.facts[*member].reversed != reversed);
            for member in members {
                self.facts[member].reversed = reversed;
                self.follow_reversal(member);
                if self.facts[member].kind == Kind::Reversal {
                    next = self.facts[member].origin;
                }
            }
        }
    }

    fn is_named_by_a_reversal(&self, id: FactId) -> bool {
        self.facts.dependents(id).iter().any(|dependent| {
            let record = &self.facts[*dependent];
            record.kind == Kind::Reversal && !record.reversed
        })
    }

    /// What follows from a fact's being reversed, or no longer so.
    pub(super) fn follow_reversal(&mut self, id: FactId) {
        self.touched.note(id, Cause::Reversal);
        self.refresh_document(id);
        self.mark_own_pool(id, Cause::Reversal);
        let mut before = Before::new();
        match (self.facts[id].kind, self.facts[id].origin) {
            (Kind::SupplierInvoice | Kind::CreditNote | Kind::LandedCost, Some(receipt)) => {
                self.price_receipt(receipt);
            }
            (Kind::CashDiscount, _) => self.refresh_discount(id),
            (Kind::CustomerInvoice, Some(sale)) => self.bill_sale(sale),
            (Kind::Receipt, _) => self.price_receipt(id),
            (Kind::SaleIssue, _) => self.bill_sale(id),
            (Kind::TransferReceive, Some(ship)) => {
                self.restate_after(id);
                self.share_out(ship, &mut before);
            }
            _ => {
                self.share_out(id, &mut before);
            }
        }
        self.mark_changed(&before, &[]);
        // A reference to a fact that did not happen is no reference.
        for index in 0..self.facts.dependents(id).len() {
            let dependent = self.facts.dependents(id)[index];
            self.mark_own_pool(dependent, Cause::Reversal);
            match self.facts[dependent].kind {
                Kind::Allocation => self.refresh_document(dependent),
                Kind::CashDiscount => self.refresh_discount(dependent),
                _ => {}
            }
        }
    }
}
