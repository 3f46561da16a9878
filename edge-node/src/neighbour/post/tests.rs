use std::path::Path;

use ed25519_dalek::SigningKey;
use shared::fact::Fact;
use shared::fact::statement::{MasterData, Measure, Movement, Stamp};
use shared::ids::{Capture, HistoryId, ItemNo};
use shared::quantity::{Scaled, Unit};
use shared::segment::chain::{FORMAT, Genesis};
use shared::sync::bundle::BundleReader;
use shared::sync::carry::{CarryEnd, CarrySession};
use shared::sync::{Frame, Moment, Now, Position, StateBatch, StateCursor};
use shared::time::OffsetMinutes;
use tempfile::TempDir;

use super::*;
use crate::journal::{Line, Options, Submission};

const HISTORY: HistoryId = HistoryId([6; 32]);
const ITEM: ItemNo = ItemNo(1);
const NOW: Timestamp = Timestamp(1_795_521_600_000);

fn hq_key() -> SigningKey {
    SigningKey::from_bytes(&[8; 32])
}

/// A site whose node has a log, a directory and a post.
struct Site {
    no: SiteNo,
    journal: Journal,
    post: Post,
    arrivals: Arrivals,
    folder: TempDir,
}

fn key_of(site: u8) -> SigningKey {
    SigningKey::from_bytes(&[site; 32])
}

fn genesis_of(site: u8) -> Genesis {
    Genesis {
        format: FORMAT,
        site: SiteNo(site.into()),
        device: DeviceNo(site.into()),
        random: [site; 32],
        public_key: key_of(site).verifying_key().to_bytes(),
        predecessor: None,
    }
}

fn stated(data: MasterData, counter: u64) -> Fact {
    let stamp = Stamp {
        capture: Capture { device: DeviceNo(1), counter },
        recorded_at: NOW,
        occurred_at: NOW,
        utc_offset: OffsetMinutes(0),
        group_left: 0,
        person: None,
        time_in_doubt: 0,
        company: None,
    };
    let statement = Statement::MasterData { valid_from: None, data };
    statement.to_fact(&stamp).expect("a legal fact")
}

impl Site {
    /// A node that knows the logs of sites 2 to 4, and that `carriers` carry: for whom, who.
    fn new(site: u8, carriers: &[(u8, u8)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, genesis) = (key_of(site), genesis_of(site));
        let path = folder.path().join("journal.redb");
        let options = Options::new(Some(key.clone()));
        let journal = Journal::create(&path, &genesis, None, options).expect("a new journal");
        let logs = (2..=4).map(|site| {
            let Genesis { site, device, public_key, .. } = genesis_of(site);
            let log = genesis_of(u8::try_from(site.0).expect("small")).log_id();
            MasterData::SiteLog { site, device, log, public_key, revoked: false }
        });
        let carriers = carriers.iter().map(|(site, by)| MasterData::Carrier {
            site: SiteNo((*site).into()),
            carrier: SiteNo((*by).into()),
            allowed: true,
        });
        let facts: Vec<_> =
            logs.chain(carriers).zip(1..).map(|(data, counter)| stated(data, counter)).collect();
        let at = |at| StateCursor { handle: 5, at };
        let end = facts.len() as u64;
        let batch = StateBatch::new(genesis.site, at(0), at(end), end, &facts);
        journal.apply_state_blocking(batch.sign(&hq_key())).expect("the directory");
        let arrivals = Arrivals::default();
        let post = post_in(folder.path(), &journal, key, arrivals.clone());
        Self { no: genesis.site, journal, post, arrivals, folder }
    }

    /// HQ tells that it has revoked the installation of a site.
    fn hear_revoked(&self, site: u8) {
        let genesis = genesis_of(site);
        let Genesis { site, device, public_key, .. } = genesis;
        let log = genesis.log_id();
        let data = MasterData::SiteLog { site, device, log, public_key, revoked: true };
        let from = self.journal.state_cursor();
        let to = StateCursor { at: from.at + 1, ..from };
        let batch = StateBatch::new(self.no, from, to, to.at, &[stated(data, to.at)]);
        self.journal.apply_state_blocking(batch.sign(&hq_key())).expect("it goes on");
    }

    /// What was only in memory is gone.
    fn restart(&mut self) {
        let key = key_of(u8::try_from(self.no.0).expect("small"));
        self.post = post_in(self.folder.path(), &self.journal, key, self.arrivals.clone());
    }

    fn record(&self, count: u64, ship_to: Option<SiteNo>) {
        let unit = Unit::from_bytes(b"EA").expect("a unit");
        let figure = Scaled::new(1, 0).expect("one");
        let kind = if ship_to.is_some() { Kind::TransferShip } else { Kind::Adjustment };
        let mut movement = Movement::new(kind, ITEM, Measure { figure, unit });
        movement.other_site = ship_to;
        self.record_each(&Statement::Movement(movement), count);
    }

    fn reverse(&self, refers_to: Capture) {
        self.record_each(&Statement::Reversal { refers_to, reason: None }, 1);
    }

    fn record_each(&self, statement: &Statement, count: u64) {
        let group = |_| Submission {
            key: None,
            lines: vec![Line { statement: statement.clone(), occurred_at: None }],
            person: None,
            utc_offset: OffsetMinutes(0),
            company: None,
            negative_stock: true,
        };
        let answers = self.journal.record_many_blocking((0..count).map(group).collect());
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    /// As others meet this site.
    fn counterpart(&self) -> Counterpart {
        Counterpart::new(Peer::Neighbour(self.no, DeviceNo(self.no.0)), true)
    }

    /// Where the bundles end that it carries, but for those that only ask.
    fn lasts(&self) -> Vec<u64> {
        let held = self.post.depot.held();
        let bundles = held.iter().filter(|held| held.offer.head.facts() > 0);
        bundles.map(|held| held.offer.head.last.0).collect()
    }

    /// What HQ says of this site's log.
    fn word(&self, last: u64, key: &SigningKey) -> SignedAcknowledgement {
        let last = Seq(last);
        let head = self.journal.head_at(last).expect("a fact of the log");
        let received = Position { last, head };
        // HQ says more later.
        let at = NOW.0 + i64::try_from(last.0).expect("small") + 1;
        let (log, safe, at) = (self.journal.log(), Seq::ZERO, Timestamp(at));
        let (history, posted, given) = (HISTORY, last, shared::sync::Given::default());
        shared::sync::Acknowledgement { history, log, received, safe, posted, at, given }.sign(key)
    }
}

fn post_in(folder: &Path, journal: &Journal, key: SigningKey, arrivals: Arrivals) -> Post {
    let wall = Wall::from_fn(|| NOW);
    let keys = Keys { own: key, hq: hq_key().verifying_key(), history: HISTORY };
    let bundles = Bundles::new(journal.clone(), keys.clone(), wall.clone());
    let depot = Depot::open(folder.join("carried"), 1 << 20, NOW).expect("a folder");
    Post::new(depot, journal.clone(), bundles, keys, wall, arrivals)
}

/// Lets two sites meet, both away from HQ, and changes what goes over; why it ended, either side.
fn meet(sites: [&Site; 2], change: impl FnMut(Frame) -> Frame) -> [Option<CarryEnd>; 2] {
    meet_until(sites, usize::MAX, change)
}

/// As [`meet`]; the connection is lost after so many frames.
fn meet_until(
    sites: [&Site; 2],
    mut frames: usize,
    mut change: impl FnMut(Frame) -> Frame,
) -> [Option<CarryEnd>; 2] {
    let now = Now { moment: Moment(0), wall: NOW };
    let mut sessions = [0, 1].map(|_| CarrySession::new("test", now.moment));
    let mut with = [sites[1].counterpart(), sites[0].counterpart()];
    loop {
        let mut quiet = true;
        for (from, to) in [(0, 1), (1, 0)] {
            while let Some(request) = sessions[from].poll_request() {
                if let Some(event) = sites[from].post.perform(&mut with[from], true, request) {
                    sessions[from].handle_event(event, now.moment);
                }
            }
            while frames > 0
                && sessions[to].wants_frames()
                && let Some(frame) = sessions[from].poll_frame(now)
            {
                (quiet, frames) = (false, frames - 1);
                sessions[to].handle_frame(change(frame), now.moment);
            }
        }
        if quiet {
            let ends = [0, 1].map(|side: usize| sessions[side].end().cloned());
            for ((site, with), session) in sites.into_iter().zip(&with).zip(sessions) {
                if let Some(unfinished) = session.into_unfinished() {
                    site.post.park(with, unfinished);
                }
            }
            return ends;
        }
    }
}

#[test]
fn a_log_goes_on_until_hq_has_it_and_its_word_comes_back() {
    let carriers = [(2, 3), (2, 4), (3, 4)];
    let [far, middle, near] = [2, 3, 4].map(|site| Site::new(site, &carriers));
    far.record(3_000, None);
    assert_eq!(meet([&far, &middle], |frame| frame), [None, None]);
    let lasts = middle.lasts();
    let [first, .., 3_000] = lasts[..] else { panic!("all of it in parts: {lasts:?}") };
    assert!(first <= PART_MAX as u64, "{lasts:?}");
    assert_eq!(far.post.carried_by().len(), 1);
    assert_eq!(meet([&middle, &near], |frame| frame), [None, None]);
    assert_eq!(near.lasts(), lasts);

    let mut with = Counterpart::new(Peer::Hq, false);
    let mut given = Vec::new();
    loop {
        let next = near.post.perform(&mut with, false, CarryRequest::Next);
        let Some(CarryEvent::Next(said, gift)) = next else { panic!("{next:?}") };
        assert_eq!(said, [], "HQ knows its own words");
        let Some(gift) = gift else { break };
        if gift.offer.head.log == far.journal.log() {
            given.push(gift.offer.head.last.0);
        }
    }
    assert_eq!(given, lasts, "in the order of the log");
    // HQ has the first one only.
    let noted = CarryRequest::Note(far.word(first, &hq_key()));
    let noted = near.post.perform(&mut with, false, noted);
    assert_eq!(noted, Some(CarryEvent::Noted(Ok(()))));
    let rest = &lasts[1..];
    assert_eq!(near.lasts(), rest);
    assert_eq!(meet([&near, &middle], |frame| frame), [None, None]);
    assert_eq!(middle.lasts(), rest);
    assert_eq!(meet([&middle, &far], |frame| frame), [None, None]);
    let known = far.journal.acknowledgement().expect("HQ's word");
    assert_eq!(known.acknowledgement.received.last, Seq(first));
    // HQ's word reached its author: nothing goes round.
    assert_eq!((near.lasts(), middle.lasts(), far.lasts()), (rest.to_vec(), rest.to_vec(), vec![]));
}

#[test]
fn a_word_that_hq_did_not_sign_counts_nowhere_and_names_who_brought_it() {
    let carriers = [(2, 3)];
    let [far, near] = [2, 3].map(|site| Site::new(site, &carriers));
    far.record(10, None);
    meet([&far, &near], |frame| frame);
    for forger in [key_of(3), key_of(2), key_of(9)] {
        let forged = far.word(10, &forger);
        let mut with = near.counterpart();
        let noted = far.post.perform(&mut with, true, CarryRequest::Note(forged));
        assert!(matches!(noted, Some(CarryEvent::Noted(Err(why))) if why.code == Code::FORGED));
        let noted = near.post.perform(&mut far.counterpart(), true, CarryRequest::Note(forged));
        assert!(matches!(noted, Some(CarryEvent::Noted(Err(why))) if why.code == Code::FORGED));
    }
    assert_eq!(far.journal.acknowledgement(), None);
    assert_eq!(near.lasts(), [10], "what HQ does not have stays");
    assert!(far.post.accused()[&near.no].contains("not signed by HQ"));
    assert!(near.post.accused()[&far.no].contains("not signed by HQ"));
}

#[test]
fn whatever_is_changed_on_the_way_is_declined() {
    let carriers = [(2, 3)];
    for place in [0, 20, 60, 200, usize::MAX] {
        let [far, near] = [2, 3].map(|site| Site::new(site, &carriers));
        far.record(5, None);
        let ends = meet([&far, &near], |frame| match frame {
            Frame::Piece(from, mut bytes) => {
                let place = place.min(bytes.len() - 1);
                bytes[place] ^= 4;
                Frame::Piece(from, bytes)
            }
            frame => frame,
        });
        assert_eq!(ends, [None, None]);
        assert!(near.lasts().is_empty(), "byte {place}");
        assert!(near.post.accused().contains_key(&far.no), "byte {place}");
        assert_eq!(far.post.carried_by(), []);
        // The next meeting is without a liar between them.
        assert_eq!(meet([&far, &near], |frame| frame), [None, None]);
        assert_eq!(near.lasts(), [5]);
    }
}

#[test]
fn a_liars_beginning_is_not_taken_for_the_next_ones() {
    let carriers = [(2, 3), (2, 4), (4, 3)];
    let [far, middle, near] = [2, 3, 4].map(|site| Site::new(site, &carriers));
    far.record(5, None);
    meet([&far, &middle], |frame| frame);
    let offer = middle.post.depot.held()[0].offer;
    let liar = Counterpart::new(Peer::Neighbour(SiteNo(9), DeviceNo(9)), false);
    near.post.park(&liar, (offer, vec![7; 100]));
    assert_eq!(meet([&middle, &near], |frame| frame), [None, None]);
    assert_eq!(near.post.accused(), BTreeMap::new());
    assert_eq!(near.lasts(), [5]);
}

#[test]
fn nobody_carries_without_hqs_leave() {
    let [far, near] = [2, 3].map(|site| Site::new(site, &[(3, 2)]));
    far.record(5, None);
    near.record(7, None);
    meet([&far, &near], |frame| frame);
    assert_eq!((far.lasts(), near.lasts()), (vec![7], vec![]));
    assert!(far.post.accused()[&near.no].contains("may not carry"));
}

#[test]
fn a_revoked_neighbour_is_turned_away_and_what_it_wrote_goes_nowhere() {
    let carriers = [(2, 3), (2, 4), (4, 3), (3, 2)];
    let [far, near, middle] = [2, 3, 4].map(|site| Site::new(site, &carriers));
    far.record(3, None);
    near.record(1, None);
    assert_eq!(meet([&far, &near], |frame| frame), [None, None]);
    assert_eq!((near.lasts(), near.post.carried_by().len()), (vec![3], 1));
    near.hear_revoked(2);
    assert_eq!(near.post.carried_by(), [], "HQ takes nothing of whom it has revoked");

    far.record(2, None);
    let [told, refused] = meet([&far, &near], |frame| frame);
    let Some(CarryEnd::Refused(told)) = told else { panic!("{told:?}") };
    assert_eq!(told.code, Code::REVOKED);
    assert_eq!(refused, Some(CarryEnd::Broken(told)));
    assert_eq!(near.lasts(), [3]);
    assert_eq!(near.post.turned_away(), [(SiteNo(2), DeviceNo(2))]);

    // One that HQ did not tell yet takes it, and keeps it for HQ whatever a neighbour says of it.
    assert_eq!(meet([&far, &middle], |frame| frame), [None, None]);
    assert_eq!(middle.lasts(), [5]);
    assert_eq!(meet([&middle, &near], |frame| frame), [None, None]);
    assert_eq!((middle.lasts(), near.lasts()), (vec![5], vec![3]));
    assert_eq!(middle.post.turned_away(), [], "that is HQ's to say");
}

#[test]
fn nobody_tells_a_revoked_site_what_is_on_its_way_to_it() {
    let carriers = [(2, 3), (3, 4)];
    let [to, near, other] = [2, 3, 4].map(|site| Site::new(site, &carriers));
    near.record(1, Some(to.no));
    assert_eq!(meet([&near, &other], |frame| frame), [None, None]);
    assert!(other.post.has_notes());
    let [to, near, other] = [2, 3, 4].map(|site| Site::new(site, &carriers));
    near.record(1, Some(to.no));
    near.hear_revoked(2);
    assert_eq!(meet([&near, &other], |frame| frame), [None, None]);
    assert!(!other.post.has_notes());
}

#[test]
fn a_dispatch_note_says_what_is_on_its_way_to_one_site() {
    let carriers = [(2, 3)];
    let [far, middle, to] = [2, 3, 4].map(|site| Site::new(site, &carriers));
    far.record(2, Some(to.no));
    far.record(1, Some(middle.no));
    far.record(3, None);
    meet([&far, &middle], |frame| frame);
    let coming = |site: &Site| site.arrivals.coming(&site.journal.catalogue());
    assert_eq!((coming(&middle).len(), coming(&to).len()), (1, 0));
    meet([&middle, &to], |frame| frame);
    let told = coming(&to);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|arrival| arrival.transfer.from == far.no));
    let ship = Capture { device: DeviceNo(2), counter: 1 };
    to.arrivals.receive(ship);
    assert_eq!(coming(&to).len(), 1);
    // What is told anew is the same, and what was received is not announced again.
    meet([&far, &to], |frame| frame);
    assert_eq!(coming(&to).len(), 1);
    // What its sender takes back does not come, and the next note says so.
    far.reverse(Capture { device: DeviceNo(2), counter: 2 });
    meet([&far, &to], |frame| frame);
    assert_eq!((coming(&middle).len(), coming(&to).len()), (1, 0));
    assert!(to.lasts().is_empty(), "nobody lets site 4 carry");
    // What takes a reversal back puts the ship on its way again, and so on; so does a note after a
    // restart.
    let mut far = far;
    for (reversal, expected) in [(7, 1), (8, 0), (9, 1)] {
        far.reverse(Capture { device: DeviceNo(2), counter: reversal });
        if reversal == 9 {
            far.restart();
        }
        meet([&far, &to], |frame| frame);
        assert_eq!(coming(&to).len(), expected, "after the reversal of {reversal}");
    }
}

#[test]
fn a_node_that_has_nothing_to_send_asks_hq_for_its_word() {
    let carriers = [(2, 3)];
    let [far, near] = [2, 3].map(|site| Site::new(site, &carriers));
    far.record(5, None);
    meet([&far, &near], |frame| frame);
    assert_eq!(near.lasts(), [5]);
    far.post.bundles.take_word(far.word(5, &hq_key())).expect("HQ's word");
    // Its neighbour learns that HQ has the facts, and gets the question.
    meet([&far, &near], |frame| frame);
    let held = near.post.depot.held();
    let [held] = held.as_slice() else { panic!("{held:?}") };
    assert_eq!((held.offer.head.after, held.offer.head.last), (Seq(5), Seq(5)));
    // It is asked once.
    meet([&far, &near], |frame| frame);
    assert_eq!(near.post.depot.held().len(), 1);
}

/// HQ as carriers meet it: takes what goes on from what it has, and says so.
#[derive(Default)]
struct Hq(BTreeMap<LogId, Seq>);

impl Hq {
    /// A site comes with what it carries, and leaves after so many bundles.
    fn visit(&mut self, site: &Site, all: &[Site], bundles: usize) {
        let mut with = Counterpart::new(Peer::Hq, false);
        for _ in 0..bundles {
            let next = site.post.perform(&mut with, false, CarryRequest::Next);
            let Some(CarryEvent::Next(_, Some(gift))) = next else { return };
            let author = all.iter().find(|each| each.journal.log() == gift.offer.head.log);
            let author = author.expect("a log of somebody");
            let told = match self.take(&gift, author) {
                Ok(()) => CarryRequest::Given(gift.offer),
                Err((held, code)) => {
                    let declined = Declined::new(&gift.offer, held, code, "no");
                    CarryRequest::Refused(gift.offer, declined)
                }
            };
            site.post.perform(&mut with, false, told);
            let has = self.0.get(&gift.offer.head.log).copied().unwrap_or(Seq::ZERO);
            let word = author.word(has.0, &hq_key());
            let noted = site.post.perform(&mut with, false, CarryRequest::Note(word));
            assert_eq!(noted, Some(CarryEvent::Noted(Ok(()))));
        }
    }

    fn take(&mut self, gift: &Gift, author: &Site) -> Result<(), (Seq, Code)> {
        let head = gift.offer.head;
        let key = key_of(u8::try_from(author.no.0).expect("small")).verifying_key();
        let mut scan = BundleScan::new();
        scan.push(&gift.bytes).expect("a bundle");
        let verified =
            scan.finish().and_then(|scanned| scanned.verify(&key)).expect("its author's");
        let mut reader = BundleReader::new(verified, &hq_key()).expect("sealed to HQ");
        reader.push(&gift.bytes).expect("whole");
        let mut facts = 0;
        while let Some(frame) = reader.next_frame().expect("frames in order") {
            if let Frame::Facts(run) = frame {
                facts += run.count;
            }
        }
        assert_eq!(facts, head.facts());
        let has = self.0.entry(head.log).or_default();
        match (head.after <= *has, head.last > *has) {
            (false, _) => Err((*has, Code::GAP)),
            (true, false) if facts > 0 => Err((*has, Code::HELD)),
            _ => {
                *has = head.last.max(*has);
                Ok(())
            }
        }
    }
}

/// From a seed: some sites record, meet, lose each other in the middle, are started anew; now and
/// then one reaches HQ. In the end one of them does, and everything is there.
fn muddle(seed: u64) {
    let mut state = seed;
    let mut random = |below: usize| {
        let mixed = shared::segment::context::hash("test", &state.to_be_bytes());
        state = u64::from_be_bytes(mixed[..8].try_into().expect("8 bytes"));
        usize::try_from(state % below as u64).expect("small")
    };
    let carriers: Vec<_> = (2..=4).flat_map(|of| (2..=4).map(move |by| (of, by))).collect();
    let mut sites = [2, 3, 4].map(|site| Site::new(site, &carriers));
    let mut hq = Hq::default();
    for _ in 0..30 {
        let (one, other) = (random(3), random(2));
        let other = (one + 1 + other) % 3;
        match random(8) {
            0 | 1 => sites[one].record(1 + random(40) as u64, None),
            2 => sites[one].restart(),
            3 => hq.visit(&sites[one], &sites, random(4)),
            _ => {
                let frames = 1 + random(60);
                let ends = meet_until([&sites[one], &sites[other]], frames, |frame| frame);
                assert_eq!(ends, [None, None], "seed {seed}");
            }
        }
    }
    let mut rounds = 0;
    loop {
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            meet([&sites[one], &sites[other]], |frame| frame);
        }
        hq.visit(&sites[2], &sites, usize::MAX);
        // HQ's own link to the one that reaches it.
        let last = sites[2].journal.position().last;
        hq.0.insert(sites[2].journal.log(), last);
        sites[2].post.bundles.take_word(sites[2].word(last.0, &hq_key())).expect("HQ's word");
        let done = |site: &Site| {
            site.post.received() == site.journal.position().last && site.lasts().is_empty()
        };
        if sites.iter().all(done) {
            break;
        }
        rounds += 1;
        assert!(rounds < 10, "seed {seed}: {:?}", sites.each_ref().map(Site::lasts));
    }
    for site in &sites {
        assert_eq!(hq.0[&site.journal.log()], site.journal.position().last, "seed {seed}");
        assert_eq!(site.post.accused(), BTreeMap::new(), "seed {seed}");
    }
}

#[test]
fn however_neighbours_meet_everything_comes_to_hq_once() {
    (1..=12).for_each(muddle);
}
