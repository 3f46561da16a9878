//! Discounts that suppliers grant for early payment: less is owed for a bill, and what is not owed
//! takes from the cost of the bill's goods or is income. Knows bills and receipts, and pools only to
//! mark them or to get a step in one.
//!
//! Invariant: of a discount that lowers cost, the landed cost clearing account holds nothing once its
//! goods are known: the receipt takes what the discount gives. A discount is late or it is not when it
//! and its goods become known; nothing that is voided later changes that.

use super::prepare::discount_goods;
use super::valuation::FactId;
use super::voucher::Cause;
use super::{Books, Effects};

impl Books {
    /// What a new discount does.
    pub(super) fn value_discount(&mut self, id: FactId) {
        if let Some(receipt) = self.facts[id].origin {
            self.forward_document(id, receipt);
        }
        self.refresh_discount(id);
    }

    /// What a discount does, or does no more where it or its bill did not happen.
    pub(super) fn refresh_discount(&mut self, id: FactId) {
        self.refresh_document(id);
        let record = &self.facts[id];
        let Some(receipt) = record.origin else { return };
        if record.forwarded {
            self.mark_own_pool(id, Cause::CashDiscount);
        }
        self.add_landed_cost(receipt, Cause::CashDiscount);
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
}
