//! What HQ tells the sites: the newest version per key, in the order in which versions came.
//! Pure: knows no connection and no key that signs.
//!
//! Invariant: the same sequence gives the same versions, so a cursor holds across restarts; another
//! history of the store has another handle.

use std::collections::{BTreeMap, BTreeSet};

use shared::catalogue::{OpenTransfer, StateKey};
use shared::fact::Fact;
use shared::fact::statement::{MasterData, Statement};
use shared::ids::{HistoryId, SiteNo};
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
            | MasterData::Rules { .. } => Self::Nobody,
            MasterData::SiteLog { site, .. } | MasterData::Carrier { site, .. } => {
                Self::Neighbours(*site)
            }
            _ => Self::Everybody,
        }
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
    at: u64,
}

/// Another order of versions is told under another handle: every site then begins with a snapshot.
const NUMBERING: u64 = 1;

impl KeyedState {
    /// Nothing told yet, in a history of the store.
    pub fn new(history: &HistoryId) -> Self {
        Self {
            handle: handle_of(history, NUMBERING),
            newest: BTreeMap::new(),
            order: BTreeMap::new(),
            neighbours: BTreeSet::new(),
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

    fn is_for(&self, audience: Audience, site: SiteNo) -> bool {
        let is_neighbour = |site| self.neighbours.contains(&site);
        match audience {
            Audience::Nobody => false,
            Audience::Everybody => true,
            Audience::Only(only) => only == site,
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
        let (mut facts, mut to) = (Vec::new(), self.at);
        for (at, key) in self.order.range(from.at + 1..) {
            let version = &self.newest[key];
            if !self.is_for(version.audience, site) {
                continue;
            }
            if facts.len() == facts_max.max(1) {
                to = at - 1;
                break;
            }
            facts.push(version.fact.clone());
        }
        let to = StateCursor { handle: self.handle, at: to };
        Some(StateBatch::new(site, from, to, self.at, &facts))
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
            let (audience, fact) = stated(MasterData::SiteLog { site, device, log, public_key });
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
