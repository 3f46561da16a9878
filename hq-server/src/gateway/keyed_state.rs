//! What HQ tells the sites: the newest version per key, in the order in which versions came. Sites
//! are told all items, or those that they handle; an item that a site takes up later gets a place of
//! its own for that site. Pure: knows no connection and no key that signs.
//!
//! Invariant: the same sequence gives the same places, so a cursor holds across restarts; another
//! history of the store has another handle. A site is told a key at one place, its last.

use std::collections::{BTreeMap, BTreeSet};

use shared::catalogue::{OpenTransfer, StateKey};
use shared::fact::Fact;
use shared::fact::statement::{MasterData, Statement};
use shared::ids::{HistoryId, ItemNo, SiteNo};
use shared::planted::{self, Fault};
use shared::sync::{StateBatch, StateCursor};
use shared::varint;

/// Who is told a piece of master data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Only HQ needs it.
    Nobody,
    /// Every site.
    Everybody,
    /// One site.
    Only(SiteNo),
    /// The sites that carry for others or are carried for, once this is one of them.
    Neighbours(SiteNo),
    /// Sites that handle an item, and those that are told of all.
    Handlers(ItemNo),
}

/// What changes what sites are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something for an audience.
    Tell(Audience, Fact),
    /// From now on a site is told only the items that it handles, or all again.
    HandledOnly(SiteNo, bool),
    /// A site handles an item.
    Handles(SiteNo, ItemNo),
}

impl News {
    /// What is told, if anything.
    pub const fn fact(&self) -> Option<&Fact> {
        match self {
            Self::Tell(_, fact) => Some(fact),
            Self::HandledOnly(..) | Self::Handles(..) => None,
        }
    }
}

impl Audience {
    /// Who needs a piece of master data.
    pub const fn of(data: &MasterData) -> Self {
        match data {
            MasterData::Policy { site: Some(site), .. } => Self::Only(*site),
            MasterData::Policy { company: Some(_), .. }
            | MasterData::Account { .. }
            | MasterData::Mapping { .. }
            | MasterData::Costing { .. }
            | MasterData::Rate { .. }
            | MasterData::ItemMeasure { .. }
            | MasterData::Restored { .. }
            | MasterData::VoucherGap { .. }
            | MasterData::Ruling { .. }
            | MasterData::HandledItem { .. }
            | MasterData::Rules { .. } => Self::Nobody,
            MasterData::Item { item, .. } | MasterData::UnitConversion { item, .. } => {
                Self::Handlers(*item)
            }
            MasterData::SiteLog { site, .. } | MasterData::Carrier { site, .. } => {
                Self::Neighbours(*site)
            }
            _ => Self::Everybody,
        }
    }
}

/// What is a site's own in what it is told.
#[derive(Clone, Debug, Default)]
struct SiteState {
    /// The items that it handles; `None` where it is told all.
    handled: Option<BTreeSet<ItemNo>>,
    /// Keys that it is told at another place than others, and those places.
    places: BTreeMap<StateKey, u64>,
    order: BTreeMap<u64, StateKey>,
}

impl SiteState {
    fn handles(&self, item: ItemNo) -> bool {
        self.handled.as_ref().is_none_or(|handled| handled.contains(&item))
    }

    fn place(&mut self, key: &StateKey, at: u64) {
        if let Some(before) = self.places.insert(key.clone(), at) {
            self.order.remove(&before);
        }
        self.order.insert(at, key.clone());
    }
}

#[derive(Clone, Debug)]
struct Version {
    at: u64,
    audience: Audience,
    fact: Fact,
}

/// What cursors of a history of the store, and of a way of numbering, are told apart by.
pub(super) fn handle_of(history: &HistoryId, numbering: u64) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&history.0[..8]);
    // 0 is the handle of a site that knows nothing.
    (u64::from_be_bytes(first).wrapping_add(numbering) % (varint::LIMIT - 1)) + 1
}

/// Everything that is told to sites.
#[derive(Clone, Debug)]
pub struct KeyedState {
    handle: u64,
    newest: BTreeMap<StateKey, Version>,
    order: BTreeMap<u64, StateKey>,
    /// Sites that carry for others, or are carried for.
    neighbours: BTreeSet<SiteNo>,
    /// The keys about each item.
    items: BTreeMap<ItemNo, BTreeSet<StateKey>>,
    sites: BTreeMap<SiteNo, SiteState>,
    at: u64,
}

/// Another order of versions is told under another handle: every site then begins with a snapshot.
const NUMBERING: u64 = 1;

/// A site that has nothing to learn between its cursor and the end is not told so before the two are
/// this far apart.
const SILENT_MAX: u64 = 4_096;

impl KeyedState {
    /// Nothing told yet, in a history of the store.
    pub fn new(history: &HistoryId) -> Self {
        Self {
            handle: handle_of(history, NUMBERING),
            newest: BTreeMap::new(),
            order: BTreeMap::new(),
            neighbours: BTreeSet::new(),
            items: BTreeMap::new(),
            sites: BTreeMap::new(),
            at: 0,
        }
    }

    /// The handle of everything told.
    pub const fn handle(&self) -> u64 {
        self.handle
    }

    /// The newest version of a piece of it.
    pub fn newest(&self, key: &StateKey) -> Option<&Fact> {
        self.newest.get(key).map(|version| &version.fact)
    }

    /// How many versions have come.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Takes what changed.
    pub fn take(&mut self, news: News) {
        match news {
            News::Tell(audience, fact) => self.put(audience, fact),
            News::HandledOnly(site, only) => self.set_handled_only(site, only),
            News::Handles(site, item) => self.take_up(site, item),
        }
    }

    fn set_handled_only(&mut self, site: SiteNo, only: bool) {
        let own = self.sites.entry(site).or_default();
        if only {
            own.handled.get_or_insert_default();
            return;
        }
        let Some(handled) = own.handled.take() else { return };
        // It is told now what it was not told before.
        for (_, keys) in self.items.iter().filter(|(item, _)| !handled.contains(item)) {
            for key in keys {
                self.at += 1;
                own.place(key, self.at);
            }
        }
    }

    fn take_up(&mut self, site: SiteNo, item: ItemNo) {
        let Some(own) = self.sites.get_mut(&site) else { return };
        let is_new = own.handled.as_mut().is_some_and(|handled| handled.insert(item));
        let is_told = is_new && !planted::is(Fault::SilentItem);
        for key in self.items.get(&item).filter(|_| is_told).into_iter().flatten() {
            self.at += 1;
            own.place(key, self.at);
        }
    }

    /// Takes a new version; one that says the same as before changes nothing.
    pub fn put(&mut self, audience: Audience, fact: Fact) {
        let key = StateKey::of(&fact);
        let before = self.newest.get(&key);
        let same = |before: &Version| before.fact == fact && before.audience == audience;
        if audience == Audience::Nobody || before.is_some_and(same) {
            return;
        }
        if let Ok(Statement::MasterData {
            data: MasterData::Carrier { site, carrier, allowed: true },
            ..
        }) = Statement::parse(&fact)
        {
            self.join([site, carrier]);
        }
        self.number(key, audience, fact);
    }

    fn number(&mut self, key: StateKey, audience: Audience, fact: Fact) {
        self.at += 1;
        if let Audience::Handlers(item) = audience {
            self.items.entry(item).or_default().insert(key.clone());
        }
        let version = Version { at: self.at, audience, fact };
        if let Some(before) = self.newest.insert(key.clone(), version) {
            self.order.remove(&before.at);
        }
        self.order.insert(self.at, key);
    }

    /// What only neighbours are told is news to a site that becomes one, and what concerns that
    /// site is news to the others: numbered again, for cursors have passed it.
    fn join(&mut self, sites: [SiteNo; 2]) {
        let before = self.neighbours.len();
        self.neighbours.extend(sites);
        if self.neighbours.len() == before {
            return;
        }
        let told = self.order.values().filter_map(|key| Some((key.clone(), self.newest.get(key)?)));
        let told = told.filter(|(_, version)| matches!(version.audience, Audience::Neighbours(_)));
        let told: Vec<_> =
            told.map(|(key, version)| (key, version.audience, version.fact.clone())).collect();
        for (key, audience, fact) in told {
            self.number(key, audience, fact);
        }
    }

    fn is_for(&self, audience: Audience, site: SiteNo, own: Option<&SiteState>) -> bool {
        let is_neighbour = |site| self.neighbours.contains(&site);
        match audience {
            Audience::Nobody => false,
            Audience::Everybody => true,
            Audience::Only(only) => only == site,
            Audience::Handlers(item) => own.is_none_or(|own| own.handles(item)),
            Audience::Neighbours(of) => is_neighbour(of) && is_neighbour(site),
        }
    }

    /// What `site` does not know yet after `from`, at most `facts_max` facts; `None` when it knows
    /// everything.
    pub fn since(&self, site: SiteNo, from: StateCursor, facts_max: usize) -> Option<StateBatch> {
        let from = if from.handle == self.handle && from.at <= self.at {
            from
        } else {
            StateCursor { handle: self.handle, at: 0 }
        };
        if from.at == self.at {
            return None;
        }
        let own = self.sites.get(&site);
        let (mut facts, mut to) = (Vec::new(), self.at);
        for (at, key) in self.places(own, from.at + 1) {
            let version = &self.newest[key];
            if !self.is_for(version.audience, site, own) {
                continue;
            }
            if facts.len() == facts_max.max(1) {
                to = at - 1;
                break;
            }
            facts.push(version.fact.clone());
        }
        let is_known = from.handle == self.handle && from.at > 0;
        if facts.is_empty() && is_known && to - from.at < SILENT_MAX {
            return None;
        }
        let to = StateCursor { handle: self.handle, at: to };
        Some(StateBatch::new(site, from, to, self.at, &facts))
    }

    /// Keys with the places at which a site is told them, from one on.
    fn places<'a>(
        &'a self,
        own: Option<&'a SiteState>,
        first: u64,
    ) -> impl Iterator<Item = (u64, &'a StateKey)> {
        let is_last = move |at: u64, key: &StateKey| {
            let place = own.and_then(|own| own.places.get(key)).copied().unwrap_or(0);
            at == place.max(self.newest[key].at)
        };
        let mut all = self.order.range(first..).peekable();
        let mut extra = own.into_iter().flat_map(move |own| own.order.range(first..)).peekable();
        std::iter::from_fn(move || match (all.peek(), extra.peek()) {
            (Some((one, _)), Some((other, _))) if one > other => extra.next(),
            (None, Some(_)) => extra.next(),
            _ => all.next(),
        })
        .map(|(at, key)| (*at, key))
        .filter(move |(at, key)| is_last(*at, key))
    }

    /// What is told of an item.
    pub fn about(&self, item: ItemNo) -> impl Iterator<Item = &Fact> {
        let keys = self.items.get(&item).into_iter().flatten();
        keys.map(|key| &self.newest[key].fact)
    }

    /// Goods on their way, as their sites are told.
    pub fn open_transfers(&self) -> impl Iterator<Item = OpenTransfer> {
        let told = self.newest.values().filter_map(|version| OpenTransfer::parse(&version.fact));
        told.filter(|transfer| transfer.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::fact::statement::Stamp;
    use shared::fact::{Kind, Value, field};
    use shared::ids::{Capture, DeviceNo, LogId};
    use shared::time::{OffsetMinutes, Timestamp};

    fn item(number: u64, mark: u64) -> Fact {
        let mut fact = Fact::new(Kind::Item);
        fact.push(field::ITEM.number, Value::Unsigned(number)).expect("a legal field");
        fact.push(field::NUMBER.number, Value::Unsigned(mark)).expect("a legal field");
        fact
    }

    fn marks(batch: &StateBatch) -> Vec<u64> {
        let facts = batch.facts().expect("just packed");
        facts.iter().map(|fact| field::NUMBER.of(fact).expect("set above")).collect()
    }

    #[test]
    fn newest_per_key_resumable_and_only_for_its_site() {
        let mut state = KeyedState::new(&HistoryId([9; 32]));
        for (number, mark) in [(1, 10), (2, 20), (1, 11), (3, 30), (3, 30)] {
            state.put(Audience::Everybody, item(number, mark));
        }
        state.put(Audience::Only(SiteNo(7)), item(4, 40));
        state.put(Audience::Nobody, item(5, 50));

        let first = state.since(SiteNo(5), StateCursor::START, 2).expect("news");
        assert_eq!((marks(&first), first.reaches_checkpoint()), (vec![20, 11], false));
        let second = state.since(SiteNo(5), first.to, 2).expect("news");
        assert_eq!((marks(&second), second.reaches_checkpoint()), (vec![30], true));
        assert_eq!(state.since(SiteNo(5), second.to, 2), None);
        let other = state.since(SiteNo(7), second.from, 9).expect("news");
        assert_eq!(marks(&other), [30, 40]);

        state.put(Audience::Everybody, item(2, 21));
        assert_eq!(marks(&state.since(SiteNo(5), second.to, 9).expect("news")), [21]);
    }

    fn stated(data: MasterData) -> (Audience, Fact) {
        let stamp = Stamp {
            capture: Capture { device: DeviceNo(1), counter: 1 },
            recorded_at: Timestamp(0),
            occurred_at: Timestamp(0),
            utc_offset: OffsetMinutes(0),
            group_left: 0,
            person: None,
            time_in_doubt: 0,
            company: None,
        };
        let audience = Audience::of(&data);
        let statement = Statement::MasterData { valid_from: None, data };
        (audience, statement.to_fact(&stamp).expect("a legal fact"))
    }

    #[test]
    fn a_site_learns_of_the_others_once_it_carries_or_is_carried_for() {
        let mut state = KeyedState::new(&HistoryId([9; 32]));
        for site in 2..=4_u8 {
            let (device, public_key) = (DeviceNo(site.into()), [site; 32]);
            let (site, log) = (SiteNo(site.into()), LogId([site; 32]));
            let (audience, fact) =
                stated(MasterData::SiteLog { site, device, log, public_key, revoked: false });
            state.put(audience, fact);
        }
        state.put(Audience::Everybody, item(1, 10));
        let handle = state.since(SiteNo(2), StateCursor::START, 9).expect("news").to.handle;
        let mut at = [StateCursor { handle, at: state.at() }; 5];
        let mut told = |state: &KeyedState, site: u32| {
            let cursor = &mut at[site as usize];
            let Some(batch) = state.since(SiteNo(site), *cursor, 9) else { return vec![] };
            *cursor = batch.to;
            let facts = batch.facts().expect("just packed");
            let site_of = |fact: &Fact| (fact.kind(), field::SITE.of(fact));
            facts.iter().map(site_of).collect::<Vec<_>>()
        };
        let log = |site| (Some(Kind::SiteLog), Some(site));
        let carrier = |site| (Some(Kind::Carrier), Some(site));
        let put = |state: &mut KeyedState, site, carrier, allowed| {
            let (site, carrier) = (SiteNo(site), SiteNo(carrier));
            let (audience, fact) = stated(MasterData::Carrier { site, carrier, allowed });
            state.put(audience, fact);
        };
        put(&mut state, 2, 3, true);
        for site in [2, 3] {
            assert_eq!(told(&state, site), [log(2), log(3), carrier(2)]);
        }
        assert_eq!(told(&state, 4), []);
        put(&mut state, 4, 3, true);
        assert_eq!(told(&state, 2), [log(2), log(3), log(4), carrier(2), carrier(4)]);
        assert_eq!(told(&state, 4), [log(2), log(3), log(4), carrier(2), carrier(4)]);
        put(&mut state, 2, 3, false);
        assert_eq!(told(&state, 4), [carrier(2)]);
        let (site, device, of) = (SiteNo(3), DeviceNo(3), LogId([3; 32]));
        let data =
            MasterData::SiteLog { site, device, log: of, public_key: [3; 32], revoked: true };
        let (audience, fact) = stated(data);
        state.put(audience, fact);
        assert_eq!(told(&state, 4), [log(3)], "a revocation is news to its neighbours");
    }

    #[test]
    fn a_site_is_told_what_it_handles_and_takes_up_more() {
        let mut state = KeyedState::new(&HistoryId([9; 32]));
        let site = SiteNo(5);
        state.take(News::HandledOnly(site, true));
        for number in 1..=9 {
            let item_no = ItemNo(u32::try_from(number).expect("small"));
            state.put(Audience::Handlers(item_no), item(number, number * 10));
        }
        state.take(News::Handles(site, ItemNo(4)));
        let told = |state: &KeyedState, site, from| {
            let batch = state.since(site, from, 99).expect("news");
            (marks(&batch), batch.to)
        };
        let (first, cursor) = told(&state, site, StateCursor::START);
        assert_eq!(first, [40]);
        assert_eq!(told(&state, SiteNo(6), StateCursor::START).0.len(), 9, "others get all");
        state.take(News::Handles(site, ItemNo(4)));
        assert_eq!(state.since(site, cursor, 99), None, "it is known");
        state.take(News::Handles(site, ItemNo(2)));
        state.take(News::Handles(site, ItemNo(7)));
        let (more, cursor) = told(&state, site, cursor);
        assert_eq!(more, [20, 70]);
        state.put(Audience::Handlers(ItemNo(2)), item(2, 21));
        state.put(Audience::Handlers(ItemNo(3)), item(3, 31));
        let (changed, cursor) = told(&state, site, cursor);
        assert_eq!(changed, [21], "once, and nothing of what it does not handle");
        assert_eq!(told(&state, site, StateCursor::START).0, [40, 70, 21], "each key once");
        state.take(News::HandledOnly(site, false));
        let (all, _) = told(&state, site, cursor);
        assert_eq!(all, [10, 31, 50, 60, 80, 90]);
    }

    #[test]
    fn another_history_starts_with_a_snapshot() {
        let mut state = KeyedState::new(&HistoryId([9; 32]));
        state.put(Audience::Everybody, item(1, 10));
        let known = state.since(SiteNo(5), StateCursor::START, 9).expect("news").to;
        let mut restored = KeyedState::new(&HistoryId([8; 32]));
        assert_eq!(restored.since(SiteNo(5), known, 9), None);
        restored.put(Audience::Everybody, item(1, 10));
        let again = restored.since(SiteNo(5), known, 9).expect("news");
        assert_eq!((again.from.at, marks(&again)), (0, vec![10]));
    }
}
