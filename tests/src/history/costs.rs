//! How goods are costed, and what HQ states about their cost beside invoices.

use shared::fact::Kind;
use shared::fact::statement::{
    CashDiscount, CostMethod, CostScope, LandedCost, LateCost, MasterData, Money, PeriodAction,
    PeriodStep, PolicyKind, PoolName, PurchaseCashDiscount, Revaluation, SharedBy, StandardCost,
    StandardVariance, Statement, WriteDown,
};
use shared::ids::{Capture, CategoryNo, CompanyNo, ItemNo, SiteNo};
use shared::quantity::ShortText;
use shared::time::{Month, OffsetMinutes, Timestamp};

use super::{Made, SECOND, Writer, scaled};

/// Methods that may begin at any time.
const METHODS: [CostMethod; 5] = [
    CostMethod::MovingAverage,
    CostMethod::Fifo,
    CostMethod::Lifo,
    CostMethod::Standard,
    CostMethod::MonthEndAverage,
];

fn allocate(company: CompanyNo, choice: StandardVariance) -> MasterData {
    let (policy, setting) = (PolicyKind::StandardVariance, choice as i64);
    MasterData::Policy { company: Some(company), site: None, policy, setting }
}

impl Writer {
    /// How goods are costed from the beginning.
    pub(super) fn methods(&mut self, all: &mut Vec<MasterData>) {
        let (company, method) = (CompanyNo::FIRST, self.shape.method);
        if self.shape.forward {
            let (policy, setting) = (PolicyKind::LateCost, LateCost::Forward as i64);
            all.push(MasterData::Policy { company: Some(company), site: None, policy, setting });
        }
        if self.shape.allocates && self.chance(3, 4) {
            all.push(allocate(company, StandardVariance::Allocate));
        }
        if method != CostMethod::MovingAverage || self.chance(1, 4) {
            all.push(MasterData::Costing { company, category: None, method });
        }
        // Which pool a fact moves is decided when it is taken: lots are there from the beginning,
        // and for all categories.
        if self.shape.mixed_methods && method != CostMethod::Specific {
            for category in [1, 2] {
                if self.chance(2, 3) {
                    let (category, method) = (Some(CategoryNo(category)), self.method());
                    all.push(MasterData::Costing { company, category, method });
                }
            }
        }
    }

    fn method(&mut self) -> CostMethod {
        *self.random.pick(&METHODS)
    }

    /// The way of costing changes, from now on or from a time before.
    pub(super) fn change_a_method(&mut self) {
        let second = self.shape.second_company && self.chance(1, 3);
        if self.has_lots() && !second {
            return;
        }
        let company = if second { SECOND } else { CompanyNo::FIRST };
        let category = self.chance(1, 2).then(|| CategoryNo(1 + self.random.number(2)));
        let data = MasterData::Costing { company, category, method: self.method() };
        let back = self.back();
        let valid_from = (!self.chance(1, 5)).then_some(Timestamp(self.now - back));
        self.write(0, &[Statement::MasterData { valid_from, data }], 0);
    }

    /// Who bears what goods cost beyond their standard changes, as a way of costing does.
    pub(super) fn change_who_bears_variances(&mut self) {
        let second = self.shape.second_company && self.chance(1, 3);
        let company = if second { SECOND } else { CompanyNo::FIRST };
        let choices = [StandardVariance::Allocate, StandardVariance::Expense];
        let data = allocate(company, *self.random.pick(&choices));
        let back = self.back();
        let valid_from = (!self.chance(1, 5)).then_some(Timestamp(self.now - back));
        self.write(0, &[Statement::MasterData { valid_from, data }], 0);
    }

    /// HQ takes the averages of a month near by, or closes or reopens it.
    pub(super) fn period_step(&mut self) {
        let closes = [
            PeriodStep::CloseTrade,
            PeriodStep::CloseStock,
            PeriodStep::CloseStock,
            PeriodStep::CloseOpenItems,
            PeriodStep::CloseLedger,
            PeriodStep::ReopenTrade,
            PeriodStep::ReopenStock,
            PeriodStep::ReopenLedger,
        ];
        let step = if self.shape.closes && self.chance(1, 2) {
            *self.random.pick(&closes)
        } else {
            PeriodStep::RunAverages
        };
        let now = Timestamp(self.now).day(OffsetMinutes(480)).month();
        let back = i32::try_from(self.random.below(3)).expect("below three");
        let action = PeriodAction { month: Month(now.0 - back), step, reason: None };
        let second = self.shape.second_company && self.chance(1, 3);
        let company = second.then_some(SECOND);
        self.write_for(company, 0, &[Statement::PeriodAction(action)], 0);
    }

    /// Whether each lot is costed on its own.
    pub(super) fn has_lots(&self) -> bool {
        self.shape.method == CostMethod::Specific
    }

    /// A lot, where each is costed on its own; elsewhere seldom one, and it does not matter.
    pub(super) fn lot(&mut self) -> Option<ShortText> {
        let of = if self.has_lots() { (4, 5) } else { (1, 15) };
        self.chance(of.0, of.1).then(|| {
            let lot = *self.random.pick(&["L1", "L2", "LOT-THAT-HAS-A-LONG-NAME"]);
            ShortText::from_slice(lot.as_bytes())
        })
    }

    /// What answers a movement seldom names its lot, and what comes back may be of another.
    pub(super) fn lot_of(&mut self, named: &Made, kind: Kind) -> Option<ShortText> {
        match self.random.below(12) {
            0..2 => named.lot.clone(),
            2 if kind != Kind::TransferReceive => self.lot(),
            _ => None,
        }
    }

    /// HQ states something about cost.
    pub(super) fn cost_step(&mut self, back: i64) {
        match self.random.below(14) {
            12.. => self.cash_discount(back),
            0..3 => self.credit_note(back),
            3..7 => self.landed_cost(back),
            7..9 => self.revaluation(back),
            9 => self.write_down(back),
            _ => self.standard_cost(back),
        }
    }

    fn write_down(&mut self, back: i64) {
        let item = if self.chance(1, 30) { self.service() } else { self.stocked() };
        let (pool, amount) = (self.pool_name(item), self.signed_amount());
        let reason = self.chance(1, 3).then(|| self.reason());
        let stated = Statement::WriteDown(WriteDown { pool, amount, reason });
        self.write_cost(Kind::WriteDown, &[stated], back);
    }

    /// Rather for a receipt that is invoiced than for one that is not.
    fn credit_note(&mut self, back: i64) {
        let invoiced = self.invoiced.clone();
        let any = self.chance(1, 6);
        let receipt = self
            .find(|made| made.kind == Kind::Receipt && (any || invoiced.contains(&made.capture)));
        let Some(receipt) = receipt else { return };
        let figure = self.part_of(receipt.quantity);
        let mut line = self.invoice_line(&receipt, receipt.capture, figure);
        line.price = self.abroad(Some(line.price)).unwrap_or(line.price);
        self.write_invoice(Statement::CreditNote(line), &receipt, back);
    }

    /// A bill over one or more receipts, sometimes of a receipt that a site has yet to write.
    fn landed_cost(&mut self, back: i64) {
        let wrong = self.chance(1, 20);
        let Some(first) = self.find(|made| made.kind == Kind::Receipt || wrong) else { return };
        let company = self.company_for(first.site);
        let partner = self.chance(1, 2).then(|| self.partner());
        let mut group = Vec::new();
        let stated = self.signed_amount();
        let amount = self.amount_abroad(stated);
        let several = self.chance(1, 4);
        for index in 0..if several { 1 + self.random.below(3) } else { 1 } {
            let mut refers_to = first.capture;
            if index > 0 {
                let further =
                    self.find(|made| made.kind == Kind::Receipt && made.site == first.site);
                refers_to = further.map_or(refers_to, |made| made.capture);
            } else if self.chance(1, 8) && refers_to.device.0 > 1 {
                refers_to = self.yet_to_come(refers_to);
            }
            group.push(Statement::LandedCost(LandedCost {
                refers_to,
                amount: if index == 0 { amount } else { self.signed_amount() },
                shared_by: self.chance(1, 2).then_some(SharedBy::Value),
                partner,
                document: None,
                document_date: None,
                due_date: None,
            }));
        }
        for capture in self.write_for(company, 0, &group, back) {
            let made = Made::bare(capture, SiteNo::HQ, Kind::LandedCost);
            self.made.push(Made { partner, company, ..made });
        }
    }

    /// On a line of a supplier's bill, whose goods may be known or not; seldom on something else.
    fn cash_discount(&mut self, back: i64) {
        let wrong = self.chance(1, 20);
        let bill = self
            .find(|made| wrong || matches!(made.kind, Kind::SupplierInvoice | Kind::LandedCost));
        let Some(bill) = bill else { return };
        let of = *self.random.pick(PurchaseCashDiscount::ALL);
        let amount = self.amount();
        let stated = |refers_to| {
            let (document, document_date) = (None, None);
            Statement::CashDiscount(CashDiscount { refers_to, amount, of, document, document_date })
        };
        let mut group = vec![stated(bill.capture)];
        if self.chance(1, 8) {
            group.push(stated(self.yet_to_come(bill.capture)));
        }
        let company = bill.company;
        for capture in self.write_for(company, 0, &group, back) {
            self.made.push(Made::bare(capture, SiteNo::HQ, Kind::CashDiscount));
        }
    }

    /// A capture that the same device will use soon.
    fn yet_to_come(&mut self, of: Capture) -> Capture {
        let log = of.device.0 as usize - 1;
        Capture { counter: self.clocks[log].2 + self.random.below(3), ..of }
    }

    /// Seldom zero or less.
    fn signed_amount(&mut self) -> Money {
        let amount = self.amount();
        let sign = if self.chance(1, 5) { -1 } else { 1 };
        let figure = scaled(sign * amount.figure.mantissa(), amount.figure.exponent());
        Money { figure, ..amount }
    }

    /// The pool of an item: of a site, unless the company has one for all.
    fn pool_name(&mut self, item: ItemNo) -> PoolName {
        let site = SiteNo(1 + self.random.number(self.shape.sites));
        let nameless = match self.shape.scope {
            CostScope::Company => self.chance(1, 2),
            CostScope::Site => self.chance(1, 30),
        };
        PoolName { item, site: (!nameless).then_some(site), lot: self.lot() }
    }

    /// Of a whole pool, or of the goods of some receipts.
    fn revaluation(&mut self, back: i64) {
        let item = if self.chance(1, 30) { self.service() } else { self.stocked() };
        let mut pool = self.pool_name(item);
        let mut named = Vec::new();
        if self.chance(1, 2) {
            for _ in 0..=self.random.below(3) {
                let found = self.find(|made| made.kind == Kind::Receipt && made.item == item);
                named.extend(found);
            }
        }
        if let Some(receipt) = named.first()
            && pool.site.is_some()
            && self.chance(3, 4)
        {
            pool.site = Some(receipt.site);
        }
        let mut receipts: Vec<_> = named.into_iter().map(|made| Some(made.capture)).collect();
        if receipts.is_empty() {
            receipts.push(None);
        }
        let mut group = Vec::new();
        for (index, refers_to) in receipts.into_iter().enumerate() {
            let stated = (index == 0) != self.chance(1, 40);
            let amount = stated.then(|| self.signed_amount());
            let reason = self.chance(1, 3).then(|| self.reason());
            let pool = pool.clone();
            group.push(Statement::Revaluation(Revaluation { pool, amount, refers_to, reason }));
        }
        self.write_cost(Kind::Revaluation, &group, back);
    }

    fn standard_cost(&mut self, back: i64) {
        let mut group = Vec::new();
        for _ in 0..if self.chance(1, 4) { 2 } else { 1 } {
            let item = self.stocked();
            let (pool, cost) = (self.pool_name(item), self.price());
            let reason = self.chance(1, 3).then(|| self.reason());
            group.push(Statement::StandardCost(StandardCost { pool, cost, reason }));
        }
        self.write_cost(Kind::StandardCost, &group, back);
    }

    fn write_cost(&mut self, kind: Kind, group: &[Statement], back: i64) {
        let second = self.shape.second_company && self.chance(1, 4);
        let captures = self.write_for(second.then_some(SECOND), 0, group, back);
        let made = captures.into_iter().map(|capture| Made::bare(capture, SiteNo::HQ, kind));
        self.made.extend(made);
    }
}
