//! Master data that became known after facts that read it: accounts and categories are found again,
//! what is stated in another currency is converted again. What is posted on an account that no longer
//! holds is taken back.

use std::collections::{BTreeMap, BTreeSet};

use shared::fact::Kind;
use shared::fact::statement::{MasterData, PolicyKind};

use super::differences::Differences;
use super::fact_table::{Accounts, FactRecord, PoolStep};
use super::follow::Before;
use super::posting::{self, Postings, Situation, difference_lines};
use super::prepare::{convert, find_accounts, inherit_accounts, rate_of};
use super::redo::Change;
use super::rules::BETWEEN_COMPANIES;
use super::valuation::FactId;
use super::voucher::Cause;
use super::{Books, Effects, Target};

impl Books {
    /// Facts that are posted already may read what HQ states now.
    pub(super) fn note_change(&mut self, data: &MasterData) {
        if self.facts.is_empty() {
            return;
        }
        match data {
            MasterData::Item { item, .. } => {
                self.changed_items.insert(*item);
            }
            MasterData::Mapping { .. } | MasterData::Account { .. } => self.mapping_changed = true,
            // Other rules may cost everything otherwise.
            MasterData::Costing { .. }
            | MasterData::Rules { .. }
            | MasterData::Policy { policy: PolicyKind::StandardVariance, .. } => {
                self.methods_changed = true;
            }
            MasterData::Rate { .. } | MasterData::Policy { policy: PolicyKind::ReceiptFx, .. } => {
                self.rates_changed = true;
            }
            _ => {}
        }
    }

    /// Pools may be costed otherwise from their first fact on.
    pub(super) fn fold_by_new_methods(&mut self) {
        if std::mem::take(&mut self.methods_changed) {
            self.rehouse_lots();
            self.note_by_month_again();
            self.mark_pools(Cause::Settings, |_| true);
        }
    }

    /// What is stated in another currency is worth what the rates of today's knowledge make of it.
    /// A rate that is known stays known, so nothing loses the one it has.
    pub(super) fn convert_again(&mut self) {
        if !std::mem::take(&mut self.rates_changed) {
            return;
        }
        let mut priced = BTreeSet::new();
        for index in 0..self.foreign.len() {
            let id = self.foreign[index];
            let record = &self.facts[id];
            if record.between {
                self.share_again(id);
                continue;
            }
            priced.extend(if record.kind == Kind::Receipt { Some(id) } else { record.origin });
            let mut found = record.clone();
            let Some(rate) = rate_of(&self.settings, &found) else { continue };
            convert(&mut found, rate);
            let record = &mut self.facts[id];
            if (found.stated, found.unit_cost) == (record.stated, record.unit_cost) {
                continue;
            }
            (record.stated, record.unit_cost) = (found.stated, found.unit_cost);
            record.document_target = found.document_target;
            self.land_late(id);
            self.restate_document(id);
            self.mark_own_pool(id, Cause::Settings);
        }
        for receipt in priced {
            if self.facts[receipt].kind == Kind::Receipt {
                self.price_receipt_again(receipt);
            }
        }
    }

    /// Goods of another company may be worth something else in the currency of the receiver's books.
    fn share_again(&mut self, receive: FactId) {
        let Some(ship) = self.facts[receive].origin else { return };
        let mut before = Before::new();
        self.share_out(ship, &mut before);
        for id in before.into_keys() {
            self.mark_own_pool(id, Cause::Settings);
        }
    }

    /// Remembers goods that go between companies, and ships under rules that did not ask.
    pub(super) fn note_transfer(&mut self, id: FactId) {
        let record = &self.facts[id];
        if record.between {
            self.between.push(id);
        } else if record.kind == Kind::TransferShip && self.settings.rules() < BETWEEN_COMPANIES {
            self.unasked.push(id);
        }
    }

    /// What went to another company at a price under rules that did not ask whose the other site is
    /// was sold to it. What went there without a price, or came back, stays on its way.
    pub(super) fn sell_what_was_unasked(&mut self, effects: &mut Effects) {
        if self.settings.rules() < BETWEEN_COMPANIES {
            return;
        }
        for id in std::mem::take(&mut self.unasked) {
            let record = &self.facts[id];
            let at = record.key.effective_at();
            let site = record.other_site.and_then(|to| self.settings.site(to, at));
            let Some(site) = site else {
                self.unasked.push(id);
                continue;
            };
            let sold = site.company != record.company
                && record.stated.is_some()
                && record.foreign.is_none()
                && self.facts.dependents(id).iter().all(|other| !self.is_receive(*other));
            if sold && !self.sell(id, effects) {
                self.unasked.push(id);
            }
        }
    }

    fn is_receive(&self, id: FactId) -> bool {
        self.facts[id].kind == Kind::TransferReceive
    }

    /// Turns a ship into a sale to the other company, where that has its accounts.
    fn sell(&mut self, id: FactId, effects: &mut Effects) -> bool {
        let mut record = self.facts[id].clone();
        let price = record.stated.unwrap_or(0);
        let situation = Situation { between: true, ..Situation::PLAIN };
        record.roles = posting::roles(record.kind, situation);
        if find_accounts(&self.settings, &mut record).is_err() {
            return false;
        }
        self.withdraw(id, Cause::Settings, effects);
        (record.between, record.step) = (true, PoolStep::Out);
        (record.main_item, record.against_item) = (id, id);
        record.document_target = (price, -price);
        (record.target, record.posted) = (Target::default(), Target::default());
        self.facts[id] = record;
        self.between.push(id);
        self.refresh_document(id);
        self.touched.insert(id, Cause::Settings);
        self.mark_own_pool(id, Cause::Settings);
        true
    }

    /// Lots may have pools of their own now, or none.
    fn rehouse_lots(&mut self) {
        for id in (0..self.facts.next().0).map(FactId) {
            let (Some(_), Some(from)) = (&self.facts[id].lot, self.facts[id].pool) else {
                continue;
            };
            let record = self.facts[id].clone();
            let Some(to) = self.pool_for(&record).filter(|to| *to != from) else { continue };
            self.pools[from.index()].history.remove(id);
            let at = self.place_in(to, record.key);
            self.pools[to.index()].history.insert_all(&[(at, record.key, id)]);
            self.facts[id].pool = Some(to);
            for pool in [from, to] {
                self.pools[pool.index()].kept.clear();
                self.mark_dirty(pool, Cause::Settings, Change::Anywhere);
            }
            self.note_flows(id);
            for index in 0..self.facts.dependents(id).len() {
                self.note_flows(self.facts.dependents(id)[index]);
            }
        }
    }

    /// Looks up accounts, categories and fallback costs again where master data changed.
    pub(super) fn find_accounts_again(&mut self, sums: &mut Differences) {
        if !self.mapping_changed && self.changed_items.is_empty() {
            return;
        }
        let found = self.accounts_as_of_now();
        let accounts: BTreeMap<FactId, Accounts> =
            found.iter().map(|(id, record)| (*id, record.accounts)).collect();
        for (id, mut record) in found {
            inherit_accounts(&mut record, |origin| {
                accounts.get(&origin).unwrap_or(&self.facts[origin].accounts)
            });
            if record.accounts != self.facts[id].accounts {
                self.move_accounts(id, &record, sums);
            }
            self.facts[id].category = record.category;
        }
        self.rehouse_lots();
        self.note_by_month_again();
        let items = std::mem::take(&mut self.changed_items);
        self.mapping_changed = false;
        self.mark_pools(Cause::Settings, |held| items.contains(&held.item));
    }

    /// The facts whose accounts may be others now, with those accounts.
    fn accounts_as_of_now(&self) -> BTreeMap<FactId, FactRecord> {
        let mut found = BTreeMap::new();
        for (id, record) in self.facts.iter() {
            if !self.mapping_changed && !self.reads_changed_item(record) {
                continue;
            }
            let mut record = record.clone();
            let at = record.key.effective_at();
            if let Some(item) = record.item.and_then(|item| self.settings.item(item, at)) {
                record.category = record.category.map(|_| item.category);
            }
            if find_accounts(&self.settings, &mut record).is_ok() {
                found.insert(id, record);
            }
        }
        found
    }

    /// Whether a fact, or one whose account it takes over, is about an item that changed.
    fn reads_changed_item(&self, record: &FactRecord) -> bool {
        let named = [record.origin, record.second].into_iter().flatten();
        let items = named.filter_map(|id| self.facts[id].item).chain(record.item);
        items.into_iter().any(|item| self.changed_items.contains(&item))
    }

    fn move_accounts(&mut self, id: FactId, found: &FactRecord, sums: &mut Differences) {
        let month = self.month_of(&self.facts[id], self.facts[id].area());
        let record = &mut self.facts[id];
        let target = std::mem::take(&mut record.target);
        let mut postings = Postings::new();
        difference_lines(id, record, false, &mut postings);
        let group = (record.company, month, Cause::Settings);
        let at = record.key.effective_at();
        record.posted = Target::default();
        record.accounts = found.accounts;
        record.target = target;
        sums.add(group, at, &mut postings, (&self.settings, &mut self.open_items));
        self.touched.insert(id, Cause::Settings);
        self.touch_statements_of(id);
    }
}
