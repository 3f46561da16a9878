//! Discounts that suppliers grant for early payment: less is owed for a bill, and what is not owed
//! takes from the cost of the bill's goods or is income. Knows bills and receipts, and no pools but
//! to mark them.
//!
//! Invariant: of a discount that lowers cost, the landed cost clearing account holds nothing once its
//! goods are known: the receipt takes what the discount gives.

use super::prepare::discount_goods;
use super::valuation::FactId;
use super::voucher::Cause;
use super::{Books, Effects};

impl Books {
    /// What a discount does, or does no more where it or its bill did not happen.
    pub(super) fn value_discount(&mut self, id: FactId) {
        self.refresh_document(id);
        if let Some(receipt) = self.facts[id].origin {
            self.discount_receipt(id, receipt);
        }
    }

    /// A bill became known to be for the goods of a receipt: so are the discounts on it.
    pub(super) fn link_discounts(&mut self, bill: FactId, receipt: FactId, effects: &mut Effects) {
        for index in 0..self.facts.dependents(bill).len() {
            let id = self.facts.dependents(bill)[index];
            let record = &self.facts[id];
            if !record.lowers_cost() || record.origin.is_some() {
                continue;
            }
            let mut record = record.clone();
            discount_goods(&mut record, receipt, &self.facts[receipt]);
            self.link(id, record, receipt, effects);
            self.value_discount(id);
        }
    }

    /// With the receipt's landed cost while its month is open, later a step of its own in the pool.
    fn discount_receipt(&mut self, id: FactId, receipt: FactId) {
        if !self.facts[id].forwarded {
            self.forward_document(id, receipt);
        }
        let record = &self.facts[id];
        if record.forwarded {
            let amount = if record.document_is_active(&self.facts) { record.stated } else { None };
            self.facts[id].taken_over.cost = Some(-amount.unwrap_or(0));
            self.mark_own_pool(id, Cause::CashDiscount);
        }
        self.add_landed_cost(receipt, Cause::CashDiscount);
    }
}
