//! The books: a pure fold over the sequence.
//!
//! [`Books::apply`] takes the next entry of the sequence and returns what is to be stored beside
//! its place. No clock, I/O, randomness or hash-map order: the same entries give the same books.
//! For every fact the fold knows its *target*, a function of the set of known facts, and posts
//! target minus posted; a posted line never changes. A posting is made in [`Books::post_group`]
//! (the fact itself) and in `settle.rs` (differences of earlier facts).
//!
//! | file | what it decides |
//! | --- | --- |
//! | `rules.rs` | which rules understand what |
//! | `settings.rs` | master data valid at a time, account determination |
//! | `prepare.rs` | whether a group can have an effect, and its figures |
//! | `pool.rs`, `valuation/` | what goods cost |
//! | `month_end.rs` | what goods cost in a month, at month-end average |
//! | `settle.rs` | folding pools again after late facts, posting differences |
//! | `history.rs` | the facts of a pool in effective order |
//! | `redo.rs`, `kept.rs` | which pools are folded again, and from where |
//! | `flows.rs`, `follow.rs` | which pools and facts pass costs on to which |
//! | `in_transit.rs` | goods on their way when their standard changes |
//! | `exchange.rs` | what is stated in another currency |
//! | `group.rs` | what goods cost the group of companies |
//! | `documents.rs` | invoices, reversals, allocations |
//! | `discounts.rs` | what suppliers let the company off |
//! | `doubt.rs` | facts whose clock was in doubt, and where HQ says they belong |
//! | `touched.rs` | which facts have a difference to post |
//! | `differences.rs` | what is posted of differences, summed |
//! | `late_settings.rs` | accounts and categories found again |
//! | `without_value.rs` | what is on hand and has no value yet |
//! | `write_down.rs` | what goods were written down to market |
//! | `posting.rs` | lines of a target |
//! | `explain.rs` | how the cost of a pool came to be |
//! | `forward.rs` | what becomes known after a close, where the open month bears it |
//! | `periods.rs` | which months are closed, and so the month of a voucher |
//! | `months.rs` | a month as it would be |
//! | `ledger.rs` | balances and open items |
//! | `check.rs` | the invariants |

mod check;
mod differences;
mod discounts;
mod documents;
mod doubt;
mod exchange;
mod explain;
mod fact_table;
mod flows;
mod follow;
mod forward;
mod group;
mod history;
mod in_transit;
mod kept;
mod late_settings;
mod ledger;
mod losses;
mod month_end;
mod months;
mod periods;
mod pool;
mod posting;
mod prepare;
mod redo;
mod rules;
mod settings;
mod settle;
mod touched;
pub mod valuation;
mod voucher;
mod without_value;
mod write_down;

#[cfg(test)]
mod scenario_tests;

use std::collections::{BTreeMap, BTreeSet};

use shared::fact::effective::{EffectiveKey, LogRank};
use shared::fact::statement::{CostScope, Payment, PeriodAction, Stamp, Statement, parse_fact};
use shared::fact::{Fact, Kind};
use shared::ids::{Capture, CompanyNo, ItemNo, Seq, SiteNo};
use shared::quantity::{Quantity, ShortText};
use shared::sync::VouchersGiven;
use shared::time::{Month, Timestamp};
use smallvec::SmallVec;

pub use check::Broken;
pub use doubt::Doubtful;
pub use exchange::{Foreign, Rate};
pub use explain::{CostStep, PoolStanding};
pub use fact_table::{FactRecord, FactTable, PoolId, PoolStep, TakenOver, Target};
pub use group::{Group, OnTheWay, Sold};
pub use history::History;
pub use ledger::{Ledger, OpenItems, Turnover};
pub use losses::{Losses, OwnLoss, VoucherLoss};
pub use months::MonthLine;
pub use periods::{Area, Closed};
pub use pool::{Fill, Pool, PoolState};
pub use posting::{Roles, Situation, roles};
pub use prepare::Waits;
pub use rules::RULES;
pub use settings::{Account, Company, Item, Lookup, Named, Refused, Settings, Site, is_control};
pub use voucher::{Cause, Line, Side, Voucher};
pub use without_value::{Held, ShipInDoubt};
pub use write_down::Allowances;

use documents::Awaited;
use doubt::Doubt;
use fact_table::Accounts;
use flows::Flows;
use in_transit::InTransit;
use kept::{KeptEvery, KeptStates};
use periods::Periods;
use pool::Folding;
use posting::{Posting, Postings, difference_lines};
use prepare::{Preparation, Source};
use redo::Dirty;
use touched::Touched;
use valuation::{FactId, Layer};

/// Facts of one log in the order it states them, never cutting a group.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The site whose log it is; 0 for HQ's own.
    pub site: SiteNo,
    /// The log's rank among logs.
    pub log: LogRank,
    /// The place of the first fact.
    pub first: Seq,
    /// When HQ received it.
    pub received_at: Timestamp,
    /// The facts.
    pub facts: &'a [Fact],
}

/// One entry of the sequence.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Facts.
    Run(Run<'a>),
    /// Folds dirty pools again and posts the differences.
    Settle,
}

/// A group that has no effect yet, and why.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The site whose log states it.
    pub site: SiteNo,
    /// The log's rank.
    pub log: LogRank,
    /// The place of its first fact.
    pub first: Seq,
    /// When HQ received it.
    pub received_at: Timestamp,
    /// The facts.
    pub facts: Vec<Fact>,
    /// Why.
    pub why: Waits,
    /// It was in the books before, at another time: what it posts now is a difference.
    pub again: bool,
}

impl Waiting {
    /// How many facts it has.
    pub fn len(&self) -> u64 {
        self.facts.len() as u64
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }
}

/// What an entry leads to.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// New vouchers, in order.
    pub vouchers: Vec<Voucher>,
    /// Groups that wait from now on, by their number among all that ever waited.
    pub waiting: Vec<u64>,
    /// Groups that waited and now have effect.
    pub released: Vec<u64>,
    /// Facts that were in the books already and had no effect again.
    pub duplicates: u64,
}

/// How far a log is in the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogProgress {
    /// The last fact taken.
    pub last: Seq,
    /// When the last fact was recorded.
    pub recorded_at: Timestamp,
    /// The latest time at which anything in it happened.
    pub occurred_at: Timestamp,
    /// Facts taken, waiting ones included.
    pub facts: u64,
    /// The latest time at which the log surely was, by facts whose clock was not in doubt.
    pub trusted_at: Option<Timestamp>,
    /// The clock of the last fact was in doubt.
    pub in_doubt: bool,
}

/// All state of the fold.
#[derive(Clone, Debug, Default)]
pub struct Books {
    settings: Settings,
    facts: FactTable,
    pools: Vec<Pool>,
    /// By company and site (0 for a company-wide pool), then by item number.
    pool_index: BTreeMap<(CompanyNo, SiteNo), Vec<Option<PoolId>>>,
    /// Pools of single lots, by company and site, item, lot.
    lot_pools: BTreeMap<((CompanyNo, SiteNo), ItemNo, ShortText), PoolId>,
    /// The sum of what all pools are worth, at standard and beyond.
    pool_value: i128,
    /// The layers that ships took and receives bring, where the method has layers.
    layers_out: BTreeMap<FactId, Vec<Layer>>,
    layers_in: BTreeMap<FactId, Vec<Layer>>,
    /// Invoiced units of receipts.
    fills: BTreeMap<FactId, Vec<Fill>>,
    awaited: Awaited,
    /// Facts whose clock was in doubt.
    doubt: Doubt,
    /// Which months are closed.
    periods: Periods,
    /// Captures of master data and period actions, which have effect once as well.
    master: BTreeSet<Capture>,
    /// Items whose settings changed, and whether a mapping did, since accounts were last found.
    changed_items: BTreeSet<ItemNo>,
    mapping_changed: bool,
    /// What is stated in another currency than its company's.
    foreign: Vec<FactId>,
    /// Write-downs to market and what took them back.
    write_downs: Vec<FactId>,
    /// Goods that went from one company to another: ships and receives.
    between: Vec<FactId>,
    /// Ships that older rules took without asking whose the other site is.
    unasked: Vec<FactId>,
    /// A rate changed, or who bears one, since those were last converted.
    rates_changed: bool,
    /// Goods that were on their way when their standard changed.
    in_transit: InTransit,
    /// How goods are costed changed since pools were last folded.
    methods_changed: bool,
    /// Which pools pass costs on to which.
    flows: Flows,
    /// What passes costs around a loop of one month, at month-end average.
    looped: BTreeSet<FactId>,
    dirty: Dirty,
    /// How often states of pools are kept.
    kept_every: KeptEvery,
    /// Earlier facts whose target changed since it was posted, and why.
    touched: Touched,
    ledger: Ledger,
    open_items: OpenItems,
    numbers: BTreeMap<(CompanyNo, Month), u32>,
    /// What was lost when HQ was restored from backups.
    losses: Losses,
    waiting: BTreeMap<u64, Waiting>,
    /// Those that wait for a fact, by it.
    waiting_for: BTreeMap<Capture, BTreeSet<u64>>,
    waited: u64,
    progress: BTreeMap<(SiteNo, LogRank), LogProgress>,
    entries: u64,
}

/// A group's facts with what they say.
struct Parsed {
    stamps: Vec<Stamp>,
    statements: Vec<Statement>,
}

impl Books {
    /// Books before the first entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Self::new`], keeping a pool's state once in so many facts at most: pools are folded again
    /// from there. Only time and memory depend on it.
    pub fn keeping_states_every(facts: usize) -> Self {
        Self { kept_every: KeptEvery(facts), ..Self::default() }
    }

    /// Takes the next entry of the sequence.
    pub fn apply(&mut self, entry: &Entry<'_>) -> Effects {
        self.entries += 1;
        let mut effects = Effects::default();
        match entry {
            Entry::Run(run) => self.apply_run(run, &mut effects),
            Entry::Settle => self.settle(&mut effects),
        }
        for voucher in &effects.vouchers {
            assert!(
                voucher.debit() == voucher.credit(),
                "debits equal credits in every voucher: {voucher:?}"
            );
        }
        effects
    }

    /// Whether a settle entry would change anything.
    pub fn is_dirty(&self) -> bool {
        let settings = self.mapping_changed
            || self.methods_changed
            || self.rates_changed
            || !self.changed_items.is_empty();
        settings || !self.dirty.is_empty() || !self.touched.is_empty()
    }

    fn apply_run(&mut self, run: &Run<'_>, effects: &mut Effects) {
        let mut start = 0;
        while start < run.facts.len() {
            let len = group_len(&run.facts[start..]);
            let group = Waiting {
                site: run.site,
                log: run.log,
                first: Seq(run.first.0 + start as u64),
                received_at: run.received_at,
                facts: Vec::new(),
                why: Waits::PartlyKnown,
                again: false,
            };
            let facts = &run.facts[start..start + len];
            let parsed = parse_group(facts);
            self.note_progress(run, facts, group.first, &parsed);
            self.take_group(&group, facts, parsed, effects);
            start += len;
        }
    }

    fn note_progress(
        &mut self,
        run: &Run<'_>,
        facts: &[Fact],
        first: Seq,
        parsed: &Result<Parsed, Waits>,
    ) {
        let progress = self.progress.entry((run.site, run.log)).or_default();
        let known = progress.last;
        progress.last = Seq(first.0 + facts.len() as u64 - 1);
        progress.facts += facts.len() as u64;
        let doubt = &mut self.doubt;
        let mut note = |seq: u64, stamp: &Stamp| {
            progress.recorded_at = progress.recorded_at.max(stamp.recorded_at);
            progress.occurred_at = progress.occurred_at.max(stamp.occurred_at);
            if Seq(seq) > known {
                note_clock(progress, doubt, (run, Seq(seq)), stamp);
            }
        };
        if let Ok(parsed) = parsed {
            (first.0..).zip(&parsed.stamps).for_each(|(seq, stamp)| note(seq, stamp));
        } else {
            // A fact that can't be read does not hide the times of the others.
            for (seq, stamp) in (first.0..).zip(facts.iter().map(Stamp::parse)) {
                if let Ok(stamp) = stamp {
                    note(seq, &stamp);
                }
            }
        }
    }

    /// Gives a group its effect, or lets it wait.
    fn take_group(
        &mut self,
        group: &Waiting,
        facts: &[Fact],
        parsed: Result<Parsed, Waits>,
        effects: &mut Effects,
    ) {
        match parsed.and_then(|parsed| self.try_group(group, facts, &parsed, effects)) {
            Ok(()) => {}
            Err(why) => {
                let number = self.waited;
                self.waited += 1;
                self.wait(number, Waiting { facts: facts.to_vec(), why, ..group.clone() });
                effects.waiting.push(number);
            }
        }
    }

    fn try_group(
        &mut self,
        group: &Waiting,
        facts: &[Fact],
        parsed: &Parsed,
        effects: &mut Effects,
    ) -> Result<(), Waits> {
        let is_known =
            |capture| self.facts.find(capture).is_some() || self.master.contains(&capture);
        let known = parsed.stamps.iter().filter(|stamp| is_known(stamp.capture));
        match known.count() {
            0 => {}
            all if all == parsed.stamps.len() => {
                effects.duplicates += all as u64;
                return Ok(());
            }
            _ => return Err(Waits::PartlyKnown),
        }
        let needed = parsed.statements.iter().map(rules::first_rules).max().unwrap_or(0);
        if needed > self.settings.rules() {
            return Err(Waits::NewerRules(needed));
        }
        if parsed.statements.iter().all(|each| matches!(each, Statement::MasterData { .. })) {
            return self.take_master_data(group.site, parsed, effects);
        }
        if parsed.statements.iter().all(|each| matches!(each, Statement::PeriodAction(_))) {
            return self.take_period_actions(group.site, parsed, effects);
        }
        if parsed.statements.iter().all(|each| matches!(each, Statement::Retime(_))) {
            return self.take_retimes(group, parsed, effects);
        }
        self.claim_banks(group.site, &parsed.statements);
        let stamps = self.placed(group, &parsed.stamps)?;
        let source = Source { site: group.site, log: group.log, first: group.first };
        let preparation = Preparation {
            settings: &self.settings,
            facts: &self.facts,
            periods: &self.periods,
            source,
            stamps: &stamps,
            prepared: Vec::with_capacity(parsed.stamps.len()),
        };
        let records = preparation.group(&parsed.statements)?;
        self.note_standing(group, facts, parsed);
        let cause = if group.again { Cause::LateFact } else { Cause::Fact };
        self.post_group(records, &parsed.statements, cause, effects);
        self.release_for_captures(&parsed.stamps, effects);
        Ok(())
    }

    /// Whether a payment is taken must not depend on mappings that HQ states later.
    fn claim_banks(&mut self, site: SiteNo, statements: &[Statement]) {
        for statement in statements.iter().filter(|_| site == SiteNo::HQ) {
            if let Statement::Payment(Payment { account: Some(account), .. }) = statement {
                self.settings.claim_for_payments(*account);
            }
        }
    }

    fn take_master_data(
        &mut self,
        site: SiteNo,
        parsed: &Parsed,
        effects: &mut Effects,
    ) -> Result<(), Waits> {
        if site != SiteNo::HQ {
            return Err(Waits::NotForASite(parsed.statements[0].kind()));
        }
        // All of a group or nothing; most groups are of one.
        let before = (parsed.statements.len() > 1).then(|| self.settings.clone());
        let (carrying, rules) = (self.settings.carrying(), self.settings.rules());
        for (stamp, statement) in parsed.stamps.iter().zip(&parsed.statements) {
            let Statement::MasterData { valid_from, data } = statement else { continue };
            if let Err(refused) = self.settings.take(*valid_from, data) {
                if let Some(before) = before {
                    self.settings = before;
                }
                return Err(refused.into());
            }
            self.note_change(data);
            self.losses.take(data, stamp, &mut self.numbers);
        }
        if self.settings.carrying() != carrying && !self.facts.is_empty() {
            (self.mapping_changed, self.methods_changed) = (true, true);
        }
        self.master.extend(parsed.stamps.iter().map(|stamp| stamp.capture));
        if rules < rules::RETIMES && self.settings.rules() >= rules::RETIMES {
            self.doubt_what_stands(effects);
        }
        self.sell_what_was_unasked(effects);
        self.release(effects, self.waiting.keys().copied().collect());
        self.meet_invoices_again(effects);
        Ok(())
    }

    /// A month is closed as the facts known so far have it: what is dirty is settled before, and
    /// its averages are taken into it.
    fn take_period_actions(
        &mut self,
        site: SiteNo,
        parsed: &Parsed,
        effects: &mut Effects,
    ) -> Result<(), Waits> {
        if site != SiteNo::HQ {
            return Err(Waits::NotForASite(Kind::PeriodAction));
        }
        let company_of = |stamp: &Stamp| stamp.company.unwrap_or(CompanyNo::FIRST);
        for stamp in &parsed.stamps {
            let company = company_of(stamp);
            let known = self.settings.company(company, stamp.occurred_at);
            known.ok_or(Waits::NoCompany(company))?;
        }
        for (stamp, statement) in parsed.stamps.iter().zip(&parsed.statements) {
            if let Statement::PeriodAction(action) = statement {
                self.take_period_action(company_of(stamp), action, effects);
            }
        }
        self.master.extend(parsed.stamps.iter().map(|stamp| stamp.capture));
        Ok(())
    }

    fn take_period_action(
        &mut self,
        company: CompanyNo,
        action: &PeriodAction,
        effects: &mut Effects,
    ) {
        if self.periods.average(company, action) {
            self.mark_averaged(company);
        }
        if self.is_dirty() {
            self.settle(effects);
        }
        self.periods.lock(company, action);
    }

    /// The month that a voucher of a fact is posted in: its own, or the first open one after it.
    fn month_of(&self, record: &FactRecord, area: Area) -> Month {
        self.periods.of(record.company).open_month(record.month, area)
    }

    /// Registers the facts of a group, values them and posts them.
    fn post_group(
        &mut self,
        records: Vec<FactRecord>,
        statements: &[Statement],
        cause: Cause,
        effects: &mut Effects,
    ) {
        let first = self.facts.next();
        for (mut record, statement) in records.into_iter().zip(statements) {
            (record.target.main, record.target.against) = record.document_target;
            record.pool = self.pool_for(&record);
            let is_foreign = record.foreign.is_some();
            let id = self.facts.push(record);
            if is_foreign {
                self.foreign.push(id);
            }
            if statement.kind() == Kind::WriteDown {
                self.write_downs.push(id);
            }
            self.note_transfer(id);
            self.meet_invoices(id, statement, effects);
        }
        let ids = (first.0..self.facts.next().0).map(FactId);
        // What a repack becomes costs what went into it: the outs are valued first.
        for is_valued_last in [false, true] {
            for id in ids.clone() {
                if (self.facts[id].kind == Kind::RepackIn) == is_valued_last {
                    self.value(id);
                }
            }
        }
        if let Some(member) = ids.clone().find(|id| self.facts[*id].kind == Kind::RepackIn) {
            self.balance_repack(member);
        }
        self.post_first(ids, cause, effects);
    }

    /// Posts new facts: one voucher for the group, or one a month where it spans months. It goes
    /// whole into the first month where nothing that it touches is closed.
    fn post_first(
        &mut self,
        ids: impl Iterator<Item = FactId> + Clone,
        cause: Cause,
        effects: &mut Effects,
    ) {
        let areas = ids.clone().map(|id| self.facts[id].area());
        let area = areas.min().unwrap_or(Area::Ledger);
        let mut vouchers: SmallVec<[(Head, Postings); 1]> = SmallVec::new();
        for id in ids {
            self.touched.remove(id);
            let month = self.month_of(&self.facts[id], area);
            let record = &mut self.facts[id];
            let of = |head: &Head| (head.company, head.month);
            let found = vouchers.iter().position(|(head, _)| of(head) == (record.company, month));
            let at = found.unwrap_or_else(|| {
                vouchers.push((Head::of(record, cause, month), Postings::new()));
                vouchers.len() - 1
            });
            let (_, postings) = &mut vouchers[at];
            difference_lines(id, record, true, postings);
            record.posted = record.target;
            self.post_transit(id, true, postings);
        }
        vouchers.sort_by_key(|(head, _)| (head.company, head.month));
        for (head, postings) in vouchers {
            self.post(head, postings, effects);
        }
    }

    /// First effect of a fact on its pool, or on what it names.
    fn value(&mut self, id: FactId) {
        match self.facts[id].kind {
            Kind::Reversal => self.reverse(id),
            Kind::SupplierInvoice | Kind::CreditNote | Kind::LandedCost => {
                if let Some(receipt) = self.facts[id].origin {
                    self.forward_document(id, receipt);
                    self.price_receipt(receipt);
                }
            }
            Kind::CustomerInvoice => {
                if let Some(sale) = self.facts[id].origin {
                    self.bill_sale(sale);
                }
            }
            Kind::Allocation => self.refresh_document(id),
            Kind::CashDiscount => self.value_discount(id),
            _ if self.facts[id].pool.is_some() => self.place(id),
            _ => {}
        }
    }

    fn pool_for(&mut self, record: &FactRecord) -> Option<PoolId> {
        if record.step == PoolStep::None {
            return None;
        }
        let item = record.item?;
        let site = (!record.one_pool).then_some(record.site);
        let place = (record.company, site.unwrap_or(SiteNo::HQ));
        if let Some(lot) = record.lot.as_ref().filter(|_| self.is_by_lot(record)) {
            let key = (place, item, lot.clone());
            if let Some(id) = self.lot_pools.get(&key) {
                return Some(*id);
            }
            let id = self.new_pool(record.company, site, item, Some(lot.clone()));
            self.lot_pools.insert(key, id);
            return Some(id);
        }
        let row = self.pool_index.entry(place).or_default();
        let index = item.0 as usize;
        if index >= row.len() {
            row.resize(index + 1, None);
        }
        if let Some(id) = row[index] {
            return Some(id);
        }
        let id = self.new_pool(record.company, site, item, None);
        self.pool_index.entry(place).or_default()[index] = Some(id);
        Some(id)
    }

    /// Whether a fact's goods are costed lot by lot.
    fn is_by_lot(&self, record: &FactRecord) -> bool {
        record.category.is_some_and(|category| {
            let at = record.key.effective_at();
            self.settings.method(record.company, category, at).by_lot()
        })
    }

    fn new_pool(
        &mut self,
        company: CompanyNo,
        site: Option<SiteNo>,
        item: ItemNo,
        lot: Option<ShortText>,
    ) -> PoolId {
        let id = PoolId(u32::try_from(self.pools.len()).expect("fewer than 2^32 pools"));
        self.pools.push(Pool {
            company,
            site,
            item,
            lot,
            state: PoolState::default(),
            history: History::default(),
            last: EffectiveKey::default(),
            dirty: false,
            cause: Cause::Fact,
            restless: false,
            folding: Folding { in_one_pass: true, by_month: false },
            kept: KeptStates::default(),
        });
        id
    }

    /// Numbers a voucher, adds its lines to the ledger and the open items.
    fn post(&mut self, head: Head, postings: Postings, effects: &mut Effects) {
        if postings.is_empty() {
            return;
        }
        let mut lines = Vec::with_capacity(postings.len());
        for Posting { line, open_item } in postings {
            self.ledger.post(head.month, &line);
            match self.settings.role_of(line.account) {
                Some(role) if is_control(role) => {
                    self.open_items.add(role, open_item, line.signed().into());
                }
                _ => {}
            }
            lines.push(line);
        }
        self.number(head, lines, effects);
    }

    fn number(&mut self, head: Head, lines: Vec<Line>, effects: &mut Effects) {
        let number = self.numbers.entry((head.company, head.month)).or_default();
        *number += 1;
        let zone = self.settings.company(head.company, head.at).map(|company| company.zone);
        let day = head.at.day(zone.unwrap_or_default());
        // What belongs to a closed month stands on the first day of the open one.
        let moved = head.month.first_day().filter(|_| day.month() != head.month);
        effects.vouchers.push(Voucher {
            company: head.company,
            month: head.month,
            number: *number,
            day: moved.unwrap_or(day),
            cause: head.cause,
            fact: head.fact,
            lines,
        });
    }

    fn release_for_captures(&mut self, stamps: &[Stamp], effects: &mut Effects) {
        if self.waiting_for.is_empty() {
            return;
        }
        let waiting = stamps.iter().filter_map(|stamp| self.waiting_for.get(&stamp.capture));
        let numbers: BTreeSet<u64> = waiting.flatten().copied().collect();
        self.release(effects, numbers);
    }

    /// Tries waiting groups again, in the order they began to wait.
    fn release(&mut self, effects: &mut Effects, numbers: BTreeSet<u64>) {
        for number in numbers {
            // A group released by another one's release is gone by now.
            let Some(mut group) = self.stop_waiting(number) else { continue };
            let facts = std::mem::take(&mut group.facts);
            let parsed = parse_group(&facts);
            match parsed.and_then(|parsed| self.try_group(&group, &facts, &parsed, effects)) {
                Ok(()) => effects.released.push(number),
                Err(why) => self.wait(number, Waiting { facts, why, ..group }),
            }
        }
    }

    fn wait(&mut self, number: u64, group: Waiting) {
        match group.why {
            Waits::NoReference(capture) => {
                self.waiting_for.entry(capture).or_default().insert(number);
            }
            Waits::TimeInDoubt => self.doubt.begin_waiting(&group),
            _ => {}
        }
        self.waiting.insert(number, group);
    }

    fn stop_waiting(&mut self, number: u64) -> Option<Waiting> {
        let group = self.waiting.remove(&number)?;
        if group.why == Waits::TimeInDoubt {
            self.doubt.stop_waiting(&group);
        }
        if let Waits::NoReference(capture) = group.why
            && let Some(numbers) = self.waiting_for.get_mut(&capture)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.waiting_for.remove(&capture);
            }
        }
        Some(group)
    }
}

/// What a voucher is about, before it has a number.
#[derive(Clone, Copy, Debug)]
struct Head {
    company: CompanyNo,
    month: Month,
    cause: Cause,
    fact: Option<Capture>,
    at: Timestamp,
}

impl Head {
    /// A voucher of one fact, or of a group that begins with it, posted in a month.
    const fn of(record: &FactRecord, cause: Cause, month: Month) -> Self {
        Self {
            company: record.company,
            month,
            cause,
            fact: Some(record.capture),
            at: record.key.effective_at(),
        }
    }
}

/// How many of the facts at the front belong to one group.
fn group_len(facts: &[Fact]) -> usize {
    let left = shared::fact::field::GROUP_LEFT.of(&facts[0]).unwrap_or(0);
    usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1).min(facts.len())
}

/// Notes what a fact that is new says of its log's clock.
fn note_clock(
    progress: &mut LogProgress,
    doubt: &mut Doubt,
    (run, seq): (&Run<'_>, Seq),
    stamp: &Stamp,
) {
    let doubted = stamp.time_in_doubt > 0 && run.site != SiteNo::HQ;
    if doubted {
        doubt.note(run.log, seq, progress.trusted_at);
    } else {
        if progress.in_doubt {
            doubt.end_stretch(run.log, stamp.recorded_at.min(run.received_at));
        }
        // A log whose clock once was ahead goes on there; what it does then happens now.
        let ahead = stamp.recorded_at > run.received_at;
        let surely = if ahead { stamp.occurred_at } else { stamp.recorded_at };
        progress.trusted_at = progress.trusted_at.max(Some(surely.min(run.received_at)));
    }
    progress.in_doubt = doubted;
}

fn parse_group(facts: &[Fact]) -> Result<Parsed, Waits> {
    let room = facts.len();
    let mut parsed =
        Parsed { stamps: Vec::with_capacity(room), statements: Vec::with_capacity(room) };
    let mut unreadable = None;
    for fact in facts {
        let (stamp, statement) = parse_fact(fact);
        // A stamp that can't be read is the reason before any statement that can't.
        parsed.stamps.push(stamp?);
        match statement {
            Ok(statement) => parsed.statements.push(statement),
            Err(why) => unreadable = unreadable.or(Some(why)),
        }
    }
    unreadable.map_or(Ok(parsed), |why| Err(why.into()))
}

/// Reading the books.
impl Books {
    /// Master data.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Facts that have effect, with what they cost.
    pub const fn facts(&self) -> &FactTable {
        &self.facts
    }

    /// Balances.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Open items.
    pub const fn open_items(&self) -> &OpenItems {
        &self.open_items
    }

    /// Cost pools, in the order they came up.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The pool of an item at a site, or of the whole company where it has one for all; without
    /// those of single lots.
    pub fn pool(&self, company: CompanyNo, site: SiteNo, item: ItemNo) -> Option<&Pool> {
        let of = |site| {
            let row = self.pool_index.get(&(company, site))?;
            row.get(item.0 as usize).copied().flatten()
        };
        let id = of(site).or_else(|| of(SiteNo::HQ))?;
        Some(&self.pools[id.0 as usize])
    }

    /// How far a company's months are closed.
    pub fn closed(&self, company: CompanyNo) -> Closed {
        self.periods.of(company)
    }

    /// Every company with a closed month, and how far.
    pub(super) fn all_closed(&self) -> impl Iterator<Item = (CompanyNo, Closed)> {
        self.periods.all()
    }

    /// The value of all stock on hand, minor units, with what it carries beyond its standard. Goods
    /// between two sites' pools are not in it.
    pub const fn stock_value(&self) -> i128 {
        self.pool_value
    }

    /// Units on hand of an item at a site.
    pub fn on_hand(&self, company: CompanyNo, site: SiteNo, item: ItemNo) -> Quantity {
        let pools = self.pools.iter().filter(|pool| (pool.company, pool.item) == (company, item));
        Quantity(pools.map(|pool| pool.state.on_hand(site)).sum())
    }

    /// Groups that wait, by number.
    pub fn waiting(&self) -> impl Iterator<Item = (u64, &Waiting)> {
        self.waiting.iter().map(|(number, group)| (*number, group))
    }

    /// How far each log is.
    pub fn progress(&self) -> impl Iterator<Item = (SiteNo, LogRank, LogProgress)> {
        self.progress.iter().map(|((site, log), progress)| (*site, *log, *progress))
    }

    /// What was lost when HQ was restored from backups.
    pub const fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Whether a node tells of voucher numbers that a lost history gave and nobody stated yet.
    pub fn is_news(&self, told: VouchersGiven) -> bool {
        let number = self.numbers.get(&(told.company, told.month)).copied().unwrap_or_default();
        self.losses.is_news(told, number)
    }

    /// How many vouchers a company has.
    pub fn vouchers_of(&self, company: CompanyNo) -> u64 {
        let numbers = self.voucher_counts().filter(|(of, ..)| *of == company);
        let gaps = self.losses.vouchers().iter().filter(|gap| gap.company == company);
        let left_out: u64 = gaps.map(|gap| gap.left_out().count() as u64).sum();
        numbers.map(|(.., last)| u64::from(last)).sum::<u64>() - left_out
    }

    /// The number of the last voucher that each company has in each month.
    pub fn voucher_counts(&self) -> impl Iterator<Item = (CompanyNo, Month, u32)> {
        self.numbers.iter().map(|((company, month), count)| (*company, *month, *count))
    }

    /// How many entries of the sequence were taken.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether a company has one pool for all sites.
    pub fn scope(&self, company: CompanyNo) -> CostScope {
        let found = self.settings.companies().find(|(number, _)| *number == company);
        found.map_or(CostScope::Site, |(_, company)| company.scope)
    }

    /// The accounts a fact posts to, for explanations.
    pub fn accounts_of(&self, id: FactId) -> Accounts {
        self.facts[id].accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::fact::field;

    /// A count at this time that names no item, so it says nothing.
    fn says_nothing(at: i64) -> Fact {
        let mut fact = Fact::new(Kind::Count);
        field::CAPTURE_DEVICE.put(&mut fact, Some(1u64)).expect("a legal field");
        field::CAPTURE_COUNTER.put(&mut fact, Some(at.unsigned_abs())).expect("a legal field");
        field::RECORDED_AT.put(&mut fact, Some(at)).expect("a legal field");
        field::UTC_OFFSET.put(&mut fact, Some(0)).expect("a legal field");
        fact
    }

    #[test]
    fn a_bad_stamp_is_the_reason_before_a_bad_statement() {
        let why = |facts: &[Fact]| parse_group(facts).err().map(|why| why.to_string());
        let fact = says_nothing(5);
        assert_eq!(why(std::slice::from_ref(&fact)).as_deref(), Some("a count needs ITEM"));
        let stranger = Fact::with_number(shared::fact::KindNo(31));
        let unknown = "a fact of kind 31 is not understood by this version: update the program";
        assert_eq!(why(&[fact, stranger]).as_deref(), Some(unknown));
    }

    #[test]
    fn progress_is_noted_also_of_what_is_not_understood() {
        let stranger = Fact::with_number(shared::fact::KindNo(31));
        let facts = [says_nothing(7), stranger, says_nothing(5)];
        let run = |facts| Run {
            site: SiteNo(1),
            log: LogRank(1),
            first: Seq(1),
            received_at: Timestamp(9),
            facts,
        };
        let mut books = Books::new();
        let effects = books.apply(&Entry::Run(run(&facts)));
        assert_eq!(effects.waiting.len(), 3);
        let (_, _, progress) = books.progress().next().expect("one log");
        assert_eq!((progress.last, progress.facts), (Seq(3), 3));
        assert_eq!(progress.recorded_at, Timestamp(7));
    }
}
