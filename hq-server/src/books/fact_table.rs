//! What the books keep of every fact they took: its place, its figures, what it refers to.
//! Invariant: a capture stands here once.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use shared::fact::Kind;
use shared::fact::effective::EffectiveKey;
use shared::fact::statement::Role;
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo,
};
use shared::quantity::{Quantity, ShortText};
use shared::time::{Day, Month, Timestamp};
use smallvec::SmallVec;

use super::exchange::Foreign;
use super::periods::Area;
use super::posting::Roles;
use super::valuation::{FactId, UnitCost};

/// The dense number of a cost pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);

impl PoolId {
    /// The index into the list of pools.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a fact does to its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolStep {
    /// Nothing: no stock moves.
    None,
    /// Units come in.
    In,
    /// Units leave.
    Out,
    /// The balance becomes what was counted.
    Count,
    /// Units go to another site of the same pool, or on their way there.
    MoveOut,
    /// Units arrive from another site of the same pool.
    MoveIn,
    /// An amount is added to the value.
    Revalue,
    /// What is there is restated to a new cost.
    Restate,
    /// An amount that became known after the month of its goods was closed is added to the value.
    AddLate,
}

/// What is to be posted for a fact, debits positive. All zero once it is reversed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// On the inventory account.
    pub stock: i64,
    /// On the account that stands against it.
    pub counter: i64,
    /// On the price variance account: what remained at zero quantity. For an invoice in another
    /// currency, on the exchange difference account: what the rate moved since the receipt.
    pub residue: i64,
    /// On the account of what stock costs beyond its standard, where it carries that.
    pub beyond: i64,
    /// On the main account of the document: receivable, payable, bank.
    pub main: i64,
    /// On the account against the main one.
    pub against: i64,
}

/// The accounts a fact posts to, found once at its effective time. 0 where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Inventory.
    pub stock: AccountNo,
    /// Against inventory.
    pub counter: AccountNo,
    /// Takes what is left between the two.
    pub difference: AccountNo,
    /// Takes the residue at zero quantity, or the exchange difference of an invoice.
    pub variance: AccountNo,
    /// What stock costs beyond its standard.
    pub beyond: AccountNo,
    /// The document's main account.
    pub main: AccountNo,
    /// Against it.
    pub against: AccountNo,
    /// Takes what is left between the two.
    pub rest: AccountNo,
}

/// What a fact takes over from the fact it answers, or from what a repack took out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// For a transfer or repack its own share of the cost, for a return the answered fact's cost.
    pub cost: Option<i64>,
    /// Units that came out of transit.
    pub units: i64,
    /// What more arrived of a transfer than was on its way, at the ship's unit cost; negative what
    /// never arrived of goods from another company, at their price.
    pub excess: i64,
    /// Tells the layers that arrive from any others of the same sum; 0 where there are none.
    pub layers: u64,
}

/// A fact in the books. First stands what folding a pool again and posting its differences read, in
/// the order in which they do: a million records are walked faster so.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct FactRecord {
    /// What should stand in the ledger.
    pub target: Target,
    /// What does stand in the ledger.
    pub posted: Target,
    /// Its pool, where stock moves.
    pub pool: Option<PoolId>,
    /// The fact it answers or names.
    pub origin: Option<FactId>,
    /// In the item's smallest unit; signed for an adjustment, absolute for a count.
    pub quantity: Quantity,
    /// The site it concerns.
    pub site: SiteNo,
    /// The company.
    pub company: CompanyNo,
    /// Its kind.
    pub kind: Kind,
    /// What it does there.
    pub step: PoolStep,
    /// The company has one pool for all its sites, so inventory has no site.
    pub one_pool: bool,
    /// A shipment that is invoiced later, with or without a price of its own.
    pub invoice_later: bool,
    /// Goods go from one company of the group to another, at a price.
    pub between: bool,
    /// It became known after its month was closed, and takes effect in the first open one.
    pub forwarded: bool,
    /// Active reversals name it.
    pub reversed: bool,
    /// It took more than there was at its time.
    pub short: bool,
    /// Its figures are beyond what its pool can hold: it has no effect there.
    pub out_of_range: bool,
    /// The ledger month of its key.
    pub month: Month,
    /// The site of the open item that `main` belongs to.
    pub main_site: SiteNo,
    /// Where the facts that refer to it stand, if there are any.
    pub(super) answers: Option<Answers>,
    /// Its accounts.
    pub accounts: Accounts,
    /// What it takes over from the fact it answers.
    pub taken_over: TakenOver,
    /// What the document itself says for `main` and `against` while it is active; for a receipt
    /// its landed cost less discounts, waiting in `main` for its bills.
    pub document_target: (i64, i64),
    /// What the fact itself says it is worth: price x quantity, minor units.
    pub stated: Option<i64>,
    /// The item, for whatever has one.
    pub item: Option<ItemNo>,
    /// The item's category at its effective time.
    pub category: Option<CategoryNo>,
    /// Its place in effective order.
    pub key: EffectiveKey,
    /// The customer or supplier.
    pub partner: Option<PartnerNo>,
    /// The price of one smallest unit, where the fact states one.
    pub unit_cost: Option<UnitCost>,
    /// The open item that `main` belongs to, and `against`.
    pub main_item: FactId,
    /// See `main_item`.
    pub against_item: FactId,
    /// The first fact of its group.
    pub group: FactId,
    /// Its name for ever.
    pub capture: Capture,
    /// The second fact it names: the open item of an allocation, the bill of a discount.
    pub second: Option<FactId>,
    /// The reason.
    pub reason: Option<ReasonNo>,
    /// The other site of a transfer.
    pub other_site: Option<SiteNo>,
    /// Its place in that log.
    pub seq: Seq,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Lot or batch.
    pub lot: Option<ShortText>,
    /// An outside document's number.
    pub document: Option<ShortText>,
    /// The outside document's day, else its own.
    pub document_day: Day,
    /// When money is due.
    pub due_day: Option<Day>,
    /// What it states in another currency: found again where a rate changes.
    pub foreign: Option<Box<Foreign>>,
    /// How many facts the group has.
    pub group_len: u16,
    /// The site whose log states it; 0 for HQ.
    pub stated_by: SiteNo,
    /// The roles its accounts were found for.
    pub roles: Roles,
}

impl FactRecord {
    /// Whether it has an effect.
    pub const fn is_active(&self) -> bool {
        !self.reversed && !self.out_of_range
    }

    /// Whether its document has effect: an allocation also needs both sides that it names, a
    /// discount its bill. What is out of range is so in its pool only.
    pub fn document_is_active(&self, facts: &FactTable) -> bool {
        let named = match self.kind {
            Kind::Allocation => [self.origin, self.second],
            Kind::CashDiscount => [None, self.second],
            _ => [None, None],
        };
        !self.reversed && named.into_iter().flatten().all(|id| !facts[id].reversed)
    }

    /// Whether goods cost less by it: a supplier's discount that is no income.
    pub fn lowers_cost(&self) -> bool {
        self.kind == Kind::CashDiscount && self.roles.against == Some(Role::LandedCostClearing)
    }

    /// What landed cost adds to the goods of its receipt, and a discount takes from them; nothing while
    /// it, or a discount's bill, did not happen. `None` for other kinds.
    pub fn lands(&self, facts: &FactTable) -> Option<i64> {
        let sign = match self.kind {
            Kind::LandedCost => 1,
            Kind::CashDiscount => -1,
            _ => return None,
        };
        let stated = self.stated.filter(|_| self.document_is_active(facts));
        Some(sign * stated.unwrap_or(0))
    }

    /// Where its units moved: its place in effective order, but for what takes effect later than it
    /// happened its own.
    pub const fn moved_at(&self) -> EffectiveKey {
        moved_at(self.key, self.forwarded)
    }

    /// What is closed of its month where its own voucher can't be posted in it any more: goods that
    /// go to another company or come from one are bought and sold, and a discount that became a step
    /// of a pool moves stock.
    pub const fn area(&self) -> Area {
        match self.kind {
            _ if self.between => Area::Trade,
            Kind::CashDiscount if self.forwarded => Area::Stock,
            kind => Area::of(kind),
        }
    }

    /// The landed cost of a receipt, less the discounts on its bills.
    pub const fn landed(&self) -> i64 {
        -self.document_target.0
    }

    /// The open item that `counter` belongs to.
    pub fn counter_item(&self, id: FactId) -> FactId {
        match self.kind {
            Kind::TransferReceive
            | Kind::SupplierReturn
            | Kind::SupplierInvoice
            | Kind::CreditNote => self.origin.unwrap_or(id),
            _ => id,
        }
    }

    /// What it took out of its pool or brought in, never negative for those kinds. What a supplier
    /// return leaves behind at zero quantity is no cost of the goods.
    pub const fn cost(&self) -> i64 {
        match (self.step, self.kind) {
            (PoolStep::Out, Kind::SupplierReturn) => -(self.worth() + self.target.residue),
            (PoolStep::Out, _) => -self.worth(),
            _ => self.worth(),
        }
    }

    /// By how much it changed what its pool is worth, at standard and beyond.
    pub const fn worth(&self) -> i64 {
        self.target.stock + self.target.beyond
    }
}

/// See [`FactRecord::moved_at`].
pub(super) const fn moved_at(key: EffectiveKey, forwarded: bool) -> EffectiveKey {
    if forwarded { EffectiveKey::own(key.own_place()) } else { key }
}

/// All facts by dense number, by capture, and by what they refer to.
#[derive(Clone, Debug, Default)]
pub struct FactTable {
    /// Full chunks and one that grows: a table of millions is never copied to make room.
    chunks: Vec<Vec<FactRecord>>,
    len: usize,
    by_capture: BTreeMap<(u32, u64), Box<[Option<FactId>; PAGE]>>,
    /// Facts that refer to one and the same, in the order they were taken.
    answers: Vec<SmallVec<[FactId; 4]>>,
}

/// A place in the table's lists of facts that refer to one, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answers(NonZeroU32);

impl Answers {
    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Captures of a device are dense: a page of them shares one entry.
const PAGE: usize = 256;

/// The place of a capture in its page.
fn in_page(capture: Capture) -> usize {
    usize::try_from(capture.counter % PAGE as u64).expect("a remainder of 256 fits")
}

/// How many records are looked at together: as many as memory brings at once.
pub(super) const LOOK_AHEAD: usize = 16;

/// Facts of one chunk.
const CHUNK: usize = 4_096;

impl FactTable {
    /// What folding pools again reads of the facts: no captures.
    pub(super) fn copied_to_fold(&self) -> Self {
        let (chunks, answers) = (self.chunks.clone(), self.answers.clone());
        Self { chunks, len: self.len, by_capture: BTreeMap::new(), answers }
    }

    /// How many facts there are; the next fact gets this number.
    pub fn next(&self) -> FactId {
        FactId(u32::try_from(self.len).expect("fewer than 2^32 facts in one installation"))
    }

    /// Adds a fact under the next number.
    pub fn push(&mut self, record: FactRecord) -> FactId {
        let id = self.next();
        for named in [record.origin, record.second].into_iter().flatten() {
            self.note_dependent(named, id);
        }
        let slot = self.slot(record.capture);
        assert!(slot.is_none(), "a capture has effect once");
        *slot = Some(id);
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[self.len / CHUNK].push(record);
        self.len += 1;
        id
    }

    fn slot(&mut self, capture: Capture) -> &mut Option<FactId> {
        let page = (capture.device.0, capture.counter / PAGE as u64);
        let page = self.by_capture.entry(page).or_insert_with(|| Box::new([None; PAGE]));
        &mut page[in_page(capture)]
    }

    /// The fact with this capture.
    pub fn find(&self, capture: Capture) -> Option<FactId> {
        let page = self.by_capture.get(&(capture.device.0, capture.counter / PAGE as u64))?;
        page[in_page(capture)]
    }

    /// Looks at records that will be folded soon. They lie all over the table: one at a time each
    /// would be waited for, together they come from memory at once.
    pub(super) fn look_ahead(&self, ids: impl Iterator<Item = FactId>) {
        let figures = ids.map(|id| {
            let record = &self[id];
            // One of each cache line that a fold reads.
            record.target.stock
                ^ record.posted.counter
                ^ record.quantity.0
                ^ record.taken_over.units
                ^ record.document_target.0
                ^ record.key.effective_at().0
        });
        std::hint::black_box(figures.fold(0, |all, figure| all ^ figure));
    }

    /// A later fact turned out to refer to this one.
    pub fn link(&mut self, origin: FactId, dependent: FactId) {
        self[dependent].origin = Some(origin);
        self.note_dependent(origin, dependent);
    }

    fn note_dependent(&mut self, named: FactId, dependent: FactId) {
        let answers = self[named].answers.unwrap_or_else(|| {
            self.answers.push(SmallVec::new());
            let count = u32::try_from(self.answers.len()).ok().and_then(NonZeroU32::new);
            Answers(count.expect("fewer lists than facts, of which there are fewer than 2^32"))
        });
        self[named].answers = Some(answers);
        self.answers[answers.index()].push(dependent);
    }

    /// Takes a fact out whose effects are taken back: its capture is free, and nothing refers to it.
    /// What it refers to keeps only some of the facts that refer to that.
    pub(super) fn forget(&mut self, id: FactId, keeps: impl Fn(&FactId) -> bool) {
        let record = &self[id];
        let nothing = Target::default();
        assert!(
            record.reversed && (record.target, record.posted) == (nothing, nothing),
            "what is taken out of the books has nothing posted"
        );
        let (capture, named) = (record.capture, [record.origin, record.second]);
        let named = named.into_iter().flatten().filter_map(|named| self[named].answers);
        for answers in named.collect::<SmallVec<[Answers; 2]>>() {
            self.answers[answers.index()].retain(|dependent| keeps(dependent));
        }
        *self.slot(capture) = None;
        let record = &mut self[id];
        (record.origin, record.second, record.answers) = (None, None, None);
        (record.pool, record.step, record.foreign) = (None, PoolStep::None, None);
        (record.between, record.forwarded) = (false, false);
    }

    /// The facts that refer to this one, in the order they were taken.
    pub fn dependents(&self, origin: FactId) -> &[FactId] {
        let answers = self[origin].answers;
        answers.map_or(&[], |answers| self.answers[answers.index()].as_slice())
    }

    /// All facts, in the order they were taken.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (FactId, &FactRecord)> {
        (0..self.len).map(|index| {
            let id = FactId(u32::try_from(index).expect("fewer than 2^32 facts, asserted on push"));
            (id, &self[id])
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl std::ops::Index<FactId> for FactTable {
    type Output = FactRecord;

    fn index(&self, id: FactId) -> &FactRecord {
        &self.chunks[id.index() / CHUNK][id.index() % CHUNK]
    }
}

impl std::ops::IndexMut<FactId> for FactTable {
    fn index_mut(&mut self, id: FactId) -> &mut FactRecord {
        &mut self.chunks[id.index() / CHUNK][id.index() % CHUNK]
    }
}
