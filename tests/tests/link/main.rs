//! The link over real QUIC on loopback: enrolment, sync, loss, revocation. Stores are fakes, so
//! that only the link is on trial.

mod fakes;
mod stranger;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use edge_node::link::{
    self, Choice, EdgeStore, EnrolError, Enrolled, Identity, LinkConfig, LinkState, LinkStatus,
    Profile, Wall, questions,
};
use fakes::{HqFake, PATIENCE, Recorded, TestClock, fact, wait_for};
use hq_server::authority::Authority;
use hq_server::clock::Clock;
use hq_server::gateway::link::{BindError, Link, LinkSettings};
use hq_server::gateway::store::{HqStore as _, LinkNews, Peer};
use shared::ids::{CompanyNo, DeviceNo, Seq, SiteNo};
use shared::segment::chain::Genesis;
use shared::sync::bundle::{BundleDigest, BundleHead, Direction};
use shared::sync::carry::{Meet, Offer};
use shared::sync::{
    Acknowledgement, Code, Frame, FrameBuffer, Refusal, VERSIONS, Versions, next_frame,
};
use shared::time::Timestamp;
use tempfile::TempDir;
use tests::bench::mix::{Mix, Shape, Writer};
use tests::memory_edge::MemoryEdge;
use tests::relay::{Conditions, Relay};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const SITE: SiteNo = SiteNo(1);

/// A running HQ.
struct Hq {
    store: Arc<HqFake>,
    authority: Authority,
    clock: TestClock,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    /// Gone with the test.
    #[expect(dead_code, reason = "it lives as long as HQ")]
    directory: Option<TempDir>,
}

impl Hq {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::create(&directory.path().join("authority")).expect("fresh");
        let store = HqFake::new(authority.hq_key());
        let mut hq = Self {
            store,
            authority,
            clock: TestClock::new(),
            address: "127.0.0.1:0".parse().expect("an address"),
            stop: watch::Sender::new(false),
            task: None,
            directory: Some(directory),
        };
        let link = hq.bind().expect("a free port");
        hq.run(link);
        hq
    }

    fn bind(&self) -> Result<Link<HqFake>, BindError> {
        let clock = self.clock.clone();
        let clock = Clock::from_fn(move || clock.now());
        let settings = LinkSettings::at(self.address);
        let (authority, store) = (self.authority.clone(), Arc::clone(&self.store));
        Link::bind(settings, authority, store, clock)
    }

    /// At the same address as before, once the socket there is gone.
    async fn start_again(&mut self) {
        let link = loop {
            match self.bind() {
                Ok(link) => break link,
                Err(BindError::InUse(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        self.run(link);
    }

    fn run(&mut self, link: Link<HqFake>) {
        self.address = link.local_addr().expect("bound");
        self.stop = watch::Sender::new(false);
        let mut stop = self.stop.subscribe();
        self.task = Some(tokio::spawn(async move {
            link.run(async move { drop(stop.wait_for(|stops| *stops).await) }).await;
        }));
    }

    async fn stop(&mut self) {
        self.stop.send_replace(true);
        let task = self.task.take().expect("it runs");
        tokio::time::timeout(PATIENCE, task).await.expect("in time").expect("no panic");
    }

    fn code(&self) -> String {
        let now = self.clock.now();
        self.authority
            .site_add(SITE, "Shanghai 03", CompanyNo::FIRST, now)
            .expect("a site")
            .to_string()
    }
}

/// A node's directory and what runs on it.
struct Node {
    identity: Identity,
    clock: TestClock,
    directory: TempDir,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let identity = Identity::create(&directory.path().join("identity")).expect("fresh");
        Self { identity, clock: TestClock::new(), directory }
    }

    fn wall(&self) -> Wall {
        let clock = self.clock.clone();
        Wall::from_fn(move || clock.now())
    }

    async fn enrol(&mut self, code: &str, hq: SocketAddr) -> Result<Enrolled, EnrolError> {
        let wall = self.wall();
        link::enrol(&mut self.identity, code, &hq.to_string(), &wall).await
    }

    fn identity_directory(&self) -> PathBuf {
        self.directory.path().join("identity")
    }

    fn store(&self) -> Arc<MemoryEdge> {
        MemoryEdge::new(self.identity.genesis().expect("enrolled"), self.identity.log_key())
    }

    fn config(&self, hq: SocketAddr) -> LinkConfig {
        let mut config = LinkConfig::to(hq.to_string(), self.wall());
        config.session.silence_ms = 400;
        config
    }

    fn run(&self, store: &Arc<MemoryEdge>, config: LinkConfig) -> Running {
        let stop = watch::Sender::new(false);
        let (store, identity) = (Arc::clone(store), self.identity.clone());
        let task =
            tokio::spawn(link::run(store, identity, config, questions().1, stop.subscribe()));
        Running { stop, task }
    }
}

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), link::NotEnrolled>>,
}

impl Running {
    async fn stop(self) {
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("in time");
        ended.expect("no panic").expect("enrolled");
    }
}

async fn enrolled(hq: &Hq) -> Node {
    let mut node = Node::new();
    node.enrol(&hq.code(), hq.address).await.expect("a good code");
    node
}

/// Waits until HQ has acknowledged everything.
async fn acknowledged(store: &MemoryEdge) -> Acknowledgement {
    store.acknowledged(PATIENCE).await.expect("the acknowledgement did not come")
}

async fn wait_state(status: &mut watch::Receiver<LinkStatus>, state: LinkState) {
    wait_for(status, state.word(), |status| status.state == state).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_facts_arrive_through_cuts() {
    let mut hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let relay = Relay::start(hq.address).expect("a free port");
    store.record(1_000, 3);
    let running = node.run(&store, node.config(relay.address()));
    acknowledged(&store).await;

    // The network goes away without a word, in the middle of it.
    store.record(3_000, 1);
    relay.lead(None);
    store.record(1_000, 2);
    let mut status = store.status();
    wait_for(&mut status, "the loss", |status| status.problem.is_some()).await;
    relay.lead(Some(hq.address));
    acknowledged(&store).await;

    // HQ stops and starts again.
    hq.stop().await;
    store.record(2_000, 1);
    hq.start_again().await;
    acknowledged(&store).await;
    store.seal();
    hq.store.add_state((1..=2_500).map(|number| fact(number, 0)).collect());
    store.record(1, 1);
    assert_eq!(acknowledged(&store).await.received.last, Seq(10_001));
    hq.store.assert_equals(&store);
    running.stop().await;

    // The rest goes over on the next connection.
    let running = node.run(&store, node.config(hq.address));
    wait_state(&mut store.status(), LinkState::Online).await;
    wait_for(&mut hq_sealed(&hq, &store), "the seals", |sealed| *sealed == Seq(10_000)).await;
    wait_for(&mut state_count(&store), "the state", |count| *count == 2_500).await;
    running.stop().await;
}

/// How often HQ let somebody in.
fn connections(hq: &Hq) -> usize {
    let news = hq.store.news.borrow();
    news.iter().filter(|(_, news)| matches!(news, LinkNews::Connected { .. })).count()
}

fn bad_network(hq: &Hq, conditions: Conditions) -> Relay {
    let listen = "127.0.0.1:0".parse().expect("an address");
    Relay::start_at(listen, hq.address, conditions, 1).expect("a free port")
}

#[tokio::test]
async fn a_log_that_was_set_aside_waits_while_hq_can_not_store_it() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let genesis = store.genesis();
    let peer = Peer { site: genesis.site, device: genesis.device };
    let genesis = Genesis { random: [1; 32], ..genesis };
    let registered = hq.store.register_log(peer, CompanyNo::FIRST, genesis.clone());
    registered.await.expect("a good key");
    let earlier = MemoryEdge::new(genesis, node.identity.log_key());
    earlier.record(10, 1);
    store.put_back(Arc::clone(&earlier));
    let full = Refusal::new(Code::STORAGE, "HQ's disk is full: try again later");
    *hq.store.refuses.lock().expect("no test panics with it") = Some(full);
    let running = node.run(&store, node.config(hq.address));
    acknowledged(&earlier).await;
    hq.store.assert_equals(&earlier);
    wait_state(&mut store.status(), LinkState::Online).await;
    assert_eq!(store.status().borrow().warning, None);
    running.stop().await;
}

#[tokio::test]
async fn a_renewal_that_nobody_answers_holds_no_node_up() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let settings = hq.authority.server_config().expect("its keys");
    let address = "127.0.0.1:0".parse().expect("an address");
    let silent = quinn::Endpoint::server(settings, address).expect("a free port");
    let running = node.run(&node.store(), node.config(silent.local_addr().expect("bound")));
    let accept = async || {
        let incoming = tokio::time::timeout(PATIENCE, silent.accept()).await.expect("in time");
        incoming.expect("it listens").await.expect("a handshake")
    };
    accept().await.close(Code::CERTIFICATE_EXPIRED.0.into(), b"expired");
    let renewing = accept().await;
    let (_send, mut recv) = renewing.accept_bi().await.expect("a stream");
    recv.read(&mut [0; 64]).await.expect("a request");
    running.stop().await;
}

/// A stream of somebody who carries, and what HQ said on it so far.
struct Carrying {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    frames: FrameBuffer,
}

impl Carrying {
    async fn begin(connection: &quinn::Connection) -> Self {
        let (send, recv) = connection.open_bi().await.expect("a stream");
        let mut begun = Self { send, recv, frames: FrameBuffer::new() };
        let program = "stranger".to_owned();
        begun.say(Frame::Meet(Meet { versions: VERSIONS, time: Timestamp(7), program })).await;
        begun
    }

    async fn say(&mut self, frame: Frame) {
        self.send.write_all(&frame.encode()).await.expect("it is open");
    }

    async fn hear(&mut self) -> Frame {
        loop {
            if let Some(frame) = next_frame(&mut self.frames).expect("a frame") {
                return frame;
            }
            let piece = tokio::time::timeout(PATIENCE, self.recv.read_chunk(1_024, true)).await;
            let piece = piece.expect("in time").expect("it is open").expect("more");
            self.frames.push(&piece.bytes);
        }
    }

    /// HQ has done with it.
    async fn end(mut self) {
        self.send.finish().expect("it is open");
        let rest = tokio::time::timeout(PATIENCE, self.recv.read_to_end(1_024)).await;
        // HQ ends it, or drops it.
        drop(rest.expect("in time"));
    }
}

#[tokio::test]
async fn one_carrier_leaves_room_for_others() {
    let hq = Hq::start();
    let (node, other) = (enrolled(&hq).await, enrolled(&hq).await);
    let [greedy, modest] =
        [&node, &other].map(|node| stranger::with_identity(&node.identity_directory()));
    let connection = greedy.dial(hq.address).await;
    let mut taken = Vec::new();
    for _ in 0..5 {
        let mut stream = Carrying::begin(&connection).await;
        match stream.hear().await {
            Frame::Meet(_) => taken.push(stream),
            Frame::Refuse(refusal) => assert_eq!(refusal.code, Code::BUSY),
            frame => panic!("a {} frame", frame.name()),
        }
    }
    assert_eq!(taken.len(), 2);
    let connection = modest.dial(hq.address).await;
    let frame = Carrying::begin(&connection).await.hear().await;
    assert!(matches!(frame, Frame::Meet(_)), "a {} frame", frame.name());
}

#[tokio::test]
async fn hq_wants_the_rest_of_a_bundle_that_was_cut() {
    let hq = Hq::start();
    let (node, other) = (enrolled(&hq).await, enrolled(&hq).await);
    let log = node.store().genesis().log_id();
    let (history, direction) = (hq.store.history(), Direction::ToHq);
    let head = BundleHead { direction, history, log, after: Seq(0), last: Seq(3) };
    let offer = Offer { head, bytes: 1_000, digest: BundleDigest([4; 32]) };
    // Who carries, up to where it brings the bundle, and from where HQ wants it.
    let cases = [(&node, 400, 0), (&node, 700, 400), (&other, 300, 0), (&node, 800, 700)];
    for (carrier, up_to, from) in cases {
        let stranger = stranger::with_identity(&carrier.identity_directory());
        let connection = stranger.dial(hq.address).await;
        let mut stream = Carrying::begin(&connection).await;
        assert!(matches!(stream.hear().await, Frame::Meet(_)));
        stream.say(Frame::Offer(offer)).await;
        match stream.hear().await {
            Frame::Want(digest, wanted) => assert_eq!((digest, wanted), (offer.digest, from)),
            frame => panic!("a {} frame", frame.name()),
        }
        let piece = vec![9; usize::try_from(up_to - from).expect("small")];
        stream.say(Frame::Piece(from, piece)).await;
        stream.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_begins_nothing_anew() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let relay = bad_network(
        &hq,
        Conditions {
            delay: Duration::from_millis(10),
            bits_per_second: Some(2_000_000),
            moves_every: Some(Duration::from_millis(300)),
            outside: ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().expect("an ip")).to_vec(),
            ..Conditions::default()
        },
    );
    let mut config = node.config(relay.address());
    config.session.silence_ms = 30_000;
    let running = node.run(&store, config);
    while relay.moves() < 8 {
        store.record(2_000, 1);
        acknowledged(&store).await;
    }
    hq.store.assert_equals(&store);
    assert_eq!(connections(&hq), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_turns_out_bad_is_treated_as_one() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let (delay, lost) = (Duration::from_millis(20), 200);
    let relay = bad_network(&hq, Conditions { delay, lost, ..Conditions::default() });
    let mut config = node.config(relay.address());
    config.session.silence_ms = 30_000;
    let kept = node.directory.path().join("link.measured");
    config.measured = Some(kept.clone());
    let mut status = store.status();
    // Real movements: facts of no meaning pack into a few packets.
    store.append(&Writer::new(DeviceNo(2), Mix::new(1, Shape::default())).write(60_000));
    let running = node.run(&store, config.clone());
    wait_for(&mut status, "another profile", |status| status.profile == Profile::Lossy).await;
    acknowledged(&store).await;
    hq.store.assert_equals(&store);
    running.stop().await;
    // The next connection begins with what this one measured; the operator's word goes before it.
    for (choice, profile) in
        [(Choice::Auto, Profile::Lossy), (Choice::Always(Profile::Satellite), Profile::Satellite)]
    {
        config.network.choice = choice;
        let running = node.run(&store, config.clone());
        wait_state(&mut status, LinkState::Online).await;
        assert_eq!(status.borrow().profile, profile);
        running.stop().await;
    }
    assert!(kept.exists());
}

#[tokio::test]
async fn a_metered_link_leaves_when_all_is_said_and_comes_back() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let mut config = node.config(hq.address);
    config.network.choice = Choice::Always(Profile::Metered);
    config.network.metered_every = Duration::from_millis(200);
    let running = node.run(&store, config);
    let mut news = hq.store.news.subscribe();
    for round in 1..=2 {
        store.record(10, 1);
        acknowledged(&store).await;
        wait_for(&mut news, "the leave", |news| {
            let left =
                news.iter().filter(|(_, news)| matches!(news, LinkNews::Disconnected { .. }));
            left.count() >= round
        })
        .await;
    }
    running.stop().await;
    assert!(connections(&hq) >= 2);
}

#[tokio::test]
async fn an_hq_that_was_killed_is_noticed_at_once() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let relay = Relay::start(hq.address).expect("a free port");
    let mut config = node.config(relay.address());
    config.session.silence_ms = 3_600_000;
    let running = node.run(&store, config);
    store.record(1, 1);
    acknowledged(&store).await;
    // As after a kill: the same HQ answers at the same place, and knows nothing of the connection.
    let mut again = Hq {
        store: Arc::clone(&hq.store),
        authority: hq.authority.clone(),
        clock: hq.clock.clone(),
        address: "127.0.0.1:0".parse().expect("an address"),
        stop: watch::Sender::new(false),
        task: None,
        directory: None,
    };
    let link = again.bind().expect("a free port");
    again.run(link);
    relay.lead(Some(again.address));
    store.record(1, 1);
    acknowledged(&store).await;
    hq.store.assert_equals(&store);
    running.stop().await;
}

/// Polls what a fake store holds: its own watch would be another thing to test.
fn polled<T: PartialEq + Send + Sync + 'static>(
    read: impl Fn() -> T + Send + 'static,
) -> watch::Receiver<T> {
    let (sender, receiver) = watch::channel(read());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while !sender.is_closed() {
            ticks.tick().await;
            sender.send_replace(read());
        }
    });
    receiver
}

fn hq_sealed(hq: &Hq, store: &Arc<MemoryEdge>) -> watch::Receiver<Seq> {
    let (hq, log) = (Arc::clone(&hq.store), store.genesis().log_id());
    polled(move || hq.sealed(&log))
}

fn state_count(store: &Arc<MemoryEdge>) -> watch::Receiver<usize> {
    let store = Arc::clone(store);
    polled(move || store.state_facts().len())
}

#[tokio::test]
async fn codes_that_let_nobody_in() {
    let hq = Hq::start();
    let good = hq.code();

    let mut wrong = good.clone();
    let place = wrong.len() - 2..wrong.len() - 1;
    let other = if &wrong[place.clone()] == "a" { "i" } else { "a" };
    wrong.replace_range(place, other);
    let refused = Node::new().enrol(&wrong, hq.address).await;
    assert!(matches!(refused, Err(EnrolError::WrongCode(_))), "{refused:?}");

    let other_site = good.replace(".1.", ".44.");
    let refused = Node::new().enrol(&other_site, hq.address).await;
    assert!(matches!(refused, Err(EnrolError::UnknownSite(_))), "{refused:?}");

    let refused = Node::new().enrol("wb1.nothing", hq.address).await;
    assert!(matches!(refused, Err(EnrolError::NotACode(_))), "{refused:?}");

    let other_hq = Hq::start();
    let refused = Node::new().enrol(&good, other_hq.address).await;
    assert!(matches!(refused, Err(EnrolError::OtherHq(_))), "{refused:?}");

    let mut node = Node::new();
    let enrolled = node.enrol(&good, hq.address).await.expect("a good code");
    assert_eq!((enrolled.enrolment.site, enrolled.enrolment.device), (SITE, DeviceNo(2)));
    assert_eq!(enrolled.enrolment.site_name, "Shanghai 03");
    assert_eq!(enrolled.genesis.device, DeviceNo(2));
    let refused = node.enrol(&good, hq.address).await;
    assert!(matches!(refused, Err(EnrolError::AlreadyEnrolled(_))), "{refused:?}");
    let refused = Node::new().enrol(&good, hq.address).await;
    assert!(matches!(refused, Err(EnrolError::CodeUsed(_))), "{refused:?}");

    let old = hq.code();
    hq.clock.move_days(8);
    let refused = Node::new().enrol(&old, hq.address).await;
    assert!(matches!(refused, Err(EnrolError::CodeExpired(_))), "{refused:?}");
}

#[tokio::test]
async fn an_interrupted_enrolment_goes_on_with_the_same_code() {
    let hq = Hq::start();
    let code = hq.code();
    let mut node = Node::new();
    let first = node.enrol(&code, hq.address).await.expect("a good code");
    // The box lost HQ's answer, but not its keys.
    let directory = node.identity_directory();
    std::fs::remove_file(directory.join("enrolment.toml")).expect("was there");
    node.identity = Identity::open(&directory).expect("keys are there");
    let second = node.enrol(&code, hq.address).await.expect("the same box");
    assert_eq!((first.enrolment, first.genesis), (second.enrolment, second.genesis));
}

#[tokio::test]
async fn keys_stay_private() {
    use std::os::unix::fs::PermissionsExt;
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    for entry in std::fs::read_dir(node.identity_directory()).expect("is there") {
        let entry = entry.expect("is there");
        let mode = entry.metadata().expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn a_clock_that_is_off_by_years_does_not_matter() {
    for days in [-365, 365, -20_000] {
        let hq = Hq::start();
        let mut node = Node::new();
        node.clock.move_days(days);
        let enrolled = node.enrol(&hq.code(), hq.address).await.expect("a good code");
        assert_eq!(enrolled.clock_ahead_ms, days * 86_400_000);
        assert!(link::clock_warning(enrolled.clock_ahead_ms).is_some());
        let store = node.store();
        store.record(3, 1);
        let running = node.run(&store, node.config(hq.address));
        acknowledged(&store).await;
        let ahead_ms = store.status().borrow().clock_ahead_ms;
        assert_eq!(ahead_ms, Some(days * 86_400_000));
        running.stop().await;
        let told = hq.store.news.borrow().iter().any(|(_, news)| {
            matches!(news, LinkNews::Connected { clock_ahead_ms, .. } if *clock_ahead_ms == days * 86_400_000)
        });
        assert!(told, "HQ knows how far the clock is off");
    }
}

#[tokio::test]
async fn revocation_closes_live_connections_and_bars_new_ones() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let stranger = stranger::with_identity(&node.identity_directory());
    let first = stranger.connect(hq.address).await.expect("not revoked yet");
    first.close(0u32.into(), b"");

    let store = node.store();
    let running = node.run(&store, node.config(hq.address));
    let mut status = store.status();
    wait_state(&mut status, LinkState::Online).await;
    hq.authority.site_revoke(SITE, hq.clock.now()).expect("a site");
    wait_state(&mut status, LinkState::Refused).await;
    let problem = status.borrow().problem.clone().expect("said");
    assert!(problem.contains("revoked"), "{problem}");
    store.record(1, 1);
    running.stop().await;
    assert_eq!(hq.store.received(&store.genesis().log_id()), Seq::ZERO);

    // A client that would resume and send early data gets nowhere either.
    assert!(!stranger.has_early_data(hq.address), "no tickets were given");
    let refused = stranger.connect(hq.address).await.err();
    assert_eq!(refused, Some(Code::REVOKED));
}

#[tokio::test]
async fn an_expired_certificate_renews_itself() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    store.record(2, 1);
    hq.clock.move_days(800);
    let before = std::fs::read(node.identity_directory().join("tls.pem")).expect("is there");
    let running = node.run(&store, node.config(hq.address));
    acknowledged(&store).await;
    running.stop().await;
    let after = std::fs::read(node.identity_directory().join("tls.pem")).expect("is there");
    assert_ne!(before, after, "another key and certificate");
    // The new one is read back and works.
    let identity = Identity::open(&node.identity_directory()).expect("whole");
    let node = Node { identity, ..node };
    store.record(1, 1);
    let running = node.run(&store, node.config(hq.address));
    acknowledged(&store).await;
    running.stop().await;
}

#[tokio::test]
async fn an_old_certificate_is_renewed_while_syncing() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    hq.clock.move_days(400);
    let path = node.identity_directory().join("tls.pem");
    let before = std::fs::read(&path).expect("is there");
    let running = node.run(&store, node.config(hq.address));
    let mut file = polled(move || std::fs::read(&path).expect("is there"));
    wait_for(&mut file, "another certificate", |file| *file != before).await;
    running.stop().await;
}

#[tokio::test]
async fn other_versions_are_refused_in_words() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let mut config = node.config(hq.address);
    config.versions = Versions { lowest: 7, highest: 9 };
    let running = node.run(&store, config);
    let mut status = store.status();
    wait_state(&mut status, LinkState::Refused).await;
    let problem = status.borrow().problem.clone().expect("said");
    assert!(problem.contains("update hq-server"), "{problem}");
    running.stop().await;

    let stranger = stranger::with_identity(&node.identity_directory());
    let asking = stranger.speaking(b"warebook/1+copies");
    assert!(asking.connect(hq.address).await.is_ok(), "a node may ask for copies");
    let stranger = asking.speaking(b"warebook/9");
    assert!(stranger.connect(hq.address).await.is_err(), "no protocol in common");
}

#[tokio::test]
async fn whoever_has_no_good_certificate_is_refused() {
    let hq = Hq::start();
    let refused = stranger::without_identity().connect(hq.address).await.err();
    assert_eq!(refused, Some(Code::NO_CERTIFICATE));

    let other_hq = Hq::start();
    let foreign = enrolled(&other_hq).await;
    let stranger = stranger::with_identity(&foreign.identity_directory());
    assert!(stranger.connect(hq.address).await.is_err(), "another authority's certificate");

    // A node whose HQ address leads to another HQ notices, and says nothing.
    let store = foreign.store();
    let running = foreign.run(&store, foreign.config(hq.address));
    let mut status = store.status();
    wait_state(&mut status, LinkState::Refused).await;
    let problem = status.borrow().problem.clone().expect("said");
    assert!(problem.contains("another key"), "{problem}");
    running.stop().await;
}

#[tokio::test]
async fn of_two_copies_the_newer_connection_stays() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let running = node.run(&store, node.config(hq.address));
    let mut status = store.status();
    wait_state(&mut status, LinkState::Online).await;
    let copy = stranger::with_identity(&node.identity_directory());
    let _newer = copy.connect(hq.address).await.expect("the same certificate");
    wait_state(&mut status, LinkState::Refused).await;
    let problem = status.borrow().problem.clone().expect("said");
    assert!(problem.contains("took over"), "{problem}");
    running.stop().await;
}

#[tokio::test]
async fn a_handshake_that_was_given_up_takes_nothing_over() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let running = node.run(&store, node.config(hq.address));
    let mut status = store.status();
    wait_state(&mut status, LinkState::Online).await;
    // Begun beside the one that counts, and done at HQ although nobody wants it any more.
    let same = stranger::with_identity(&node.identity_directory());
    let silent = same.dial(hq.address).await;
    let mut done = polled(move || silent.stats().frame_rx.handshake_done > 0);
    wait_for(&mut done, "HQ to be done with the handshake", |done| *done).await;
    store.record(1, 1);
    acknowledged(&store).await;
    assert_eq!(connections(&hq), 1);
    assert_eq!(status.borrow().state, LinkState::Online);
    running.stop().await;
}

#[tokio::test]
async fn an_hq_that_is_not_there_is_reported() {
    let hq = Hq::start();
    let node = enrolled(&hq).await;
    let store = node.store();
    let nobody = Relay::start(hq.address).expect("a free port");
    nobody.lead(None);
    let running = node.run(&store, node.config(nobody.address()));
    let mut status = store.status();
    wait_for(&mut status, "a problem", |status| status.problem.is_some()).await;
    let problem = status.borrow().problem.clone().expect("said");
    assert!(problem.contains("does not answer"), "{problem}");
    running.stop().await;
    assert!(
        hq.store
            .news
            .borrow()
            .iter()
            .all(|(peer, _)| *peer == Peer { site: SITE, device: DeviceNo(2) })
    );
    assert_eq!(store.status().borrow().hq_time, None::<Timestamp>);
}
