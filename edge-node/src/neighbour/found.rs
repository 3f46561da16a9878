//! Who was found on the local network: a table of places, each with one that is dialled, and a queue
//! of those that wait for one. Knows no network. Invariants: what is announced is believed nothing;
//! both are bounded, whatever is announced; who proved to be a neighbour keeps its place until it is
//! gone, and anybody else makes room once it was tried.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use shared::ids::SiteNo;

use super::NeighbourState;

/// So many are dialled at a time: each costs a task, and a handshake now and then.
const PLACES: usize = 16;

/// So many wait for a place; the one that waits longest goes first when there are more.
const WAITING_MAX: usize = 32;

/// So many addresses of one are tried.
const ADDRESSES_MAX: usize = 4;

/// The most bytes of a name: a label of DNS.
const NAME_BYTES_MAX: usize = 63;

/// Under which name a node is announced. Anybody may announce any name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnnouncedName(String);

impl AnnouncedName {
    /// A name that people can be shown; `None` for one that no node announces.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let is_legal = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_legal);
        fits.then(|| Self(name.to_owned()))
    }

    /// As it is announced.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One that was found, as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundNeighbour {
    /// Where it says it is.
    pub addresses: Vec<SocketAddr>,
    /// What came of it.
    pub state: NeighbourState,
}

/// Who has a place. Another one under the same name later is somebody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlaceKey {
    name: AnnouncedName,
    number: u64,
}

#[derive(Debug)]
struct Place {
    number: u64,
    found: FoundNeighbour,
    /// It was met once: a neighbour by its certificate and by HQ's leave.
    is_proved: bool,
    /// It is still announced.
    is_announced: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Found {
    places: BTreeMap<AnnouncedName, Place>,
    waiting: VecDeque<(AnnouncedName, Vec<SocketAddr>)>,
    /// Has a place, and nobody dials it yet.
    new: Vec<PlaceKey>,
    last: u64,
}

impl Found {
    /// Somebody is announced.
    pub(super) fn announced(&mut self, name: AnnouncedName, mut addresses: Vec<SocketAddr>) {
        addresses.truncate(ADDRESSES_MAX);
        if let Some(place) = self.places.get_mut(&name) {
            place.is_announced = true;
            if place.found.addresses != addresses {
                // Somebody else may be there.
                place.found.addresses = addresses;
                place.found.state.site.take_if(|_| !place.found.state.connected);
            }
            return;
        }
        self.waiting.retain(|(known, _)| *known != name);
        self.waiting.push_back((name, addresses));
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
        self.fill();
    }

    /// It is announced no more. Who is connected stays so: anybody can say that somebody is gone.
    pub(super) fn gone(&mut self, name: &AnnouncedName) {
        self.waiting.retain(|(known, _)| known != name);
        if let Some(place) = self.places.get_mut(name) {
            place.is_announced = false;
            if !place.found.state.connected {
                self.leave(name);
            }
        }
    }

    /// Nobody knows any more who is announced.
    pub(super) fn all_gone(&mut self) {
        self.waiting.clear();
        let names: Vec<_> = self.places.keys().cloned().collect();
        for name in &names {
            self.gone(name);
        }
    }

    /// Who has a place since this was asked last.
    pub(super) fn take_new(&mut self) -> Vec<PlaceKey> {
        std::mem::take(&mut self.new)
    }

    /// Who has this place; `None` once it is another's.
    pub(super) fn get(&self, key: &PlaceKey) -> Option<FoundNeighbour> {
        let place = self.places.get(&key.name).filter(|place| place.number == key.number);
        place.map(|place| place.found.clone())
    }

    /// Who it is, by its certificate.
    pub(super) fn named(&mut self, key: &PlaceKey, site: SiteNo) {
        if let Some(place) = self.place(key) {
            place.found.state.site = Some(site);
        }
    }

    /// It is a neighbour, and connected.
    pub(super) fn connected(&mut self, key: &PlaceKey) {
        if let Some(place) = self.place(key) {
            place.is_proved = true;
            place.found.state.connected = true;
            place.found.state.problem = None;
        }
    }

    /// A connection to it ended, or did not come about.
    pub(super) fn ended(&mut self, key: &PlaceKey, problem: Option<String>) {
        let someone_waits = !self.waiting.is_empty();
        let Some(place) = self.place(key) else { return };
        place.found.state.connected = false;
        place.found.state.problem = problem;
        if !place.is_announced {
            return self.leave(&key.name);
        }
        if !place.is_proved && someone_waits {
            let addresses = std::mem::take(&mut place.found.addresses);
            self.places.remove(&key.name);
            self.fill();
            self.waiting.push_back((key.name.clone(), addresses));
        }
    }

    /// Everybody that has a place.
    pub(super) fn all(&self) -> BTreeMap<AnnouncedName, FoundNeighbour> {
        let all = self.places.iter();
        all.map(|(name, place)| (name.clone(), place.found.clone())).collect()
    }

    fn place(&mut self, key: &PlaceKey) -> Option<&mut Place> {
        self.places.get_mut(&key.name).filter(|place| place.number == key.number)
    }

    fn leave(&mut self, name: &AnnouncedName) {
        self.places.remove(name);
        self.fill();
    }

    fn fill(&mut self) {
        while self.places.len() < PLACES {
            let Some((name, addresses)) = self.waiting.pop_front() else { return };
            self.last += 1;
            let (number, found) =
                (self.last, FoundNeighbour { addresses, ..FoundNeighbour::default() });
            let place = Place { number, found, is_proved: false, is_announced: true };
            self.new.retain(|key| key.name != name);
            self.new.push(PlaceKey { name: name.clone(), number });
            self.places.insert(name, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AnnouncedName {
        AnnouncedName::parse(text).expect("a legal name")
    }

    fn at(port: u16) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([10, 0, 0, 1], port))]
    }

    fn addresses(found: &Found, key: &PlaceKey) -> Option<Vec<SocketAddr>> {
        found.get(key).map(|found| found.addresses)
    }

    /// Everybody that is dialled fails; how often each had a turn.
    fn turns(found: &mut Found, rounds: usize) -> BTreeMap<String, usize> {
        let (mut turns, mut dialled) = (BTreeMap::new(), Vec::new());
        for _ in 0..rounds {
            dialled.extend(found.take_new());
            dialled.retain(|key| found.get(key).is_some());
            for key in dialled.clone() {
                *turns.entry(key.name.as_str().to_owned()).or_insert(0) += 1;
                found.ended(&key, Some("it does not answer".to_owned()));
            }
        }
        turns
    }

    #[test]
    fn everybody_has_a_turn_however_many_are_announced() {
        let mut found = Found::default();
        for number in 0..40 {
            found.announced(name(&format!("n{number}")), at(number));
        }
        assert_eq!((found.places.len(), found.waiting.len()), (16, 24));
        let turns = turns(&mut found, 6);
        assert_eq!(turns.len(), 40, "{turns:?}");
        assert!(turns.values().all(|turns| (1..=3).contains(turns)), "{turns:?}");
    }

    #[test]
    fn a_flood_takes_no_memory_and_no_place_of_a_neighbour() {
        let mut found = Found::default();
        found.announced(name("real"), at(1));
        let real = found.take_new().remove(0);
        found.connected(&real);
        for number in 0..1_000 {
            found.announced(name(&format!("n{number}")), at(number));
        }
        assert_eq!((found.places.len(), found.waiting.len(), found.new.len()), (16, 32, 15));
        found.ended(&real, Some("the connection was lost".to_owned()));
        turns(&mut found, 20);
        assert_eq!(addresses(&found, &real), Some(at(1)), "it was met before");
        assert_eq!((found.places.len(), found.waiting.len()), (16, 32));
    }

    #[test]
    fn who_is_gone_leaves_once_it_is_not_connected() {
        let mut found = Found::default();
        found.announced(name("a"), at(1));
        found.announced(name("b"), at(2));
        let keys = found.take_new();
        found.connected(&keys[0]);
        for key in &keys {
            found.gone(&key.name);
        }
        assert_eq!(found.all().keys().collect::<Vec<_>>(), [&name("a")]);
        assert_eq!(addresses(&found, &keys[1]), None);
        // It comes again under the same name: that is another one.
        found.announced(name("b"), at(3));
        assert_eq!((addresses(&found, &keys[1]), found.take_new().len()), (None, 1));
        found.announced(name("c"), at(4));
        found.all_gone();
        assert_eq!(found.all().keys().collect::<Vec<_>>(), [&name("a")]);
        found.ended(&keys[0], None);
        assert_eq!(addresses(&found, &keys[0]), None);
    }

    #[test]
    fn another_address_is_taken_and_few_of_them() {
        let mut found = Found::default();
        found.announced(name("a"), at(1));
        let key = found.take_new().remove(0);
        found.announced(name("a"), (1..=9).flat_map(at).collect());
        assert_eq!(addresses(&found, &key).map(|addresses| addresses.len()), Some(4));
        assert_eq!(found.take_new(), []);
    }

    #[test]
    fn names_that_no_terminal_should_show_are_none() {
        for bad in ["", "a\u{1b}[2J", "站", "a\nb", &"x".repeat(64)] {
            assert_eq!(AnnouncedName::parse(bad), None, "{bad:?}");
        }
    }
}
