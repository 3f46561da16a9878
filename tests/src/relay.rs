//! A network between one edge node and HQ, as bad as wanted: datagrams are delayed, lost, doubled,
//! overtaken and throttled, the node's address as HQ sees it changes, the link comes and goes. Knows no
//! frame. Invariant: what is drawn comes from the seed; what a datagram holds is never touched.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::random::Random;

/// IPv4 and UDP, which count where a rate does.
const HEADER_BYTES: usize = 28;

/// How bad it is, either way alike.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// One way.
    pub delay: Duration,
    /// Up to so much more, for each datagram anew: some overtake others.
    pub jitter: Duration,
    /// Of a thousand datagrams, how many are lost.
    pub lost: u64,
    /// Of a thousand, how many come twice.
    pub doubled: u64,
    /// What passes in a second, headers counted.
    pub bits_per_second: Option<u64>,
    /// How long a datagram may wait for its turn; one that would wait longer is dropped.
    pub queue: Duration,
    /// After how long HQ sees another address.
    pub moves_every: Option<Duration>,
    /// The link is up so long, in every so long.
    pub up: Option<(Duration, Duration)>,
    /// The addresses that HQ sees in turn; each time the port is another one.
    pub outside: Vec<IpAddr>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            lost: 0,
            doubled: 0,
            bits_per_second: None,
            queue: Duration::from_millis(600),
            moves_every: None,
            up: None,
            outside: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        }
    }
}

impl Conditions {
    /// A satellite in a storm: 600 ms there and back, every third datagram lost, 2 Mbit/s.
    pub fn storm() -> Self {
        Self {
            delay: Duration::from_millis(295),
            jitter: Duration::from_millis(10),
            lost: 300,
            doubled: 10,
            bits_per_second: Some(2_000_000),
            ..Self::default()
        }
    }

    /// A phone at the edge of the town: 128 kbit/s, now and then a datagram lost, another address
    /// twice a minute.
    pub fn phone() -> Self {
        Self {
            delay: Duration::from_millis(100),
            jitter: Duration::from_millis(20),
            lost: 20,
            doubled: 10,
            bits_per_second: Some(128_000),
            moves_every: Some(Duration::from_secs(30)),
            ..Self::default()
        }
    }

    /// A good link that is there for `up` in every `every`.
    pub fn sometimes(up: Duration, every: Duration) -> Self {
        Self { delay: Duration::from_millis(20), up: Some((up, every)), ..Self::default() }
    }
}

/// What passed.
#[derive(Debug, Default)]
struct Counts {
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    moves: AtomicU64,
}

/// See the module. Passes nothing any more once it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    hq: SocketAddr,
    route: watch::Sender<Option<SocketAddr>>,
    counts: Arc<Counts>,
}

impl Relay {
    /// A good network, on a free port of this machine, to `hq`.
    pub fn start(hq: SocketAddr) -> io::Result<Self> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_at(listen, hq, Conditions::default(), 0)
    }

    /// A network as bad as `conditions` say, for a node that takes `listen` for HQ.
    pub fn start_at(
        listen: SocketAddr,
        hq: SocketAddr,
        conditions: Conditions,
        seed: u64,
    ) -> io::Result<Self> {
        let (route, counts) = (watch::Sender::new(Some(hq)), Arc::new(Counts::default()));
        let (bound, wait) = mpsc::channel();
        let (leads, passed) = (route.subscribe(), Arc::clone(&counts));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let made = runtime.and_then(|runtime| {
                let pass = runtime.block_on(Pass::new(listen, conditions, seed, leads, passed))?;
                Ok((runtime, pass))
            });
            match made {
                Ok((runtime, pass)) => {
                    drop(bound.send(pass.inside.local_addr()));
                    runtime.block_on(pass.run());
                }
                Err(error) => drop(bound.send(Err(error))),
            }
        });
        let address = wait.recv().map_err(io::Error::other)??;
        Ok(Self { address, hq, route, counts })
    }

    /// Where the node finds HQ.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams go there from now on, or nowhere.
    pub fn lead(&self, hq: Option<SocketAddr>) {
        self.route.send_replace(hq);
    }

    /// Drops everything from now on, or passes it again.
    pub fn set_cut(&self, cut: bool) {
        self.lead((!cut).then_some(self.hq));
    }

    /// Bytes of datagrams that the node sent, headers of IP and UDP not counted.
    pub fn bytes_up(&self) -> u64 {
        self.counts.bytes_up.load(Ordering::Relaxed)
    }

    /// Bytes of datagrams that HQ sent.
    pub fn bytes_down(&self) -> u64 {
        self.counts.bytes_down.load(Ordering::Relaxed)
    }

    /// How often HQ saw another address.
    pub fn moves(&self) -> u64 {
        self.counts.moves.load(Ordering::Relaxed)
    }
}

/// One way: when its line is free again.
#[derive(Debug)]
struct Way {
    free_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Up,
    Down,
}

type Waiting = Reverse<(Instant, u64, Direction, Vec<u8>)>;

/// What the relay's thread does.
struct Pass {
    conditions: Conditions,
    random: Random,
    leads: watch::Receiver<Option<SocketAddr>>,
    counts: Arc<Counts>,
    inside: UdpSocket,
    outside: UdpSocket,
    node: Option<SocketAddr>,
    ways: [Way; 2],
    waiting: BinaryHeap<Waiting>,
    number: u64,
    started: Instant,
    moves_at: Option<Instant>,
}

enum Happened {
    Came(Direction, usize),
    Due,
    Moved,
    Led(bool),
    /// A port that nobody has any more, or the like.
    Nothing,
}

impl Pass {
    async fn new(
        listen: SocketAddr,
        conditions: Conditions,
        seed: u64,
        leads: watch::Receiver<Option<SocketAddr>>,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        let inside = UdpSocket::bind(listen).await?;
        let outside = UdpSocket::bind((conditions.outside[0], 0)).await?;
        let started = Instant::now();
        let moves_at = conditions.moves_every.map(|every| started + every);
        let way = || Way { free_at: started };
        Ok(Self {
            random: Random::new(seed),
            ways: [way(), way()],
            conditions,
            leads,
            counts,
            inside,
            outside,
            node: None,
            waiting: BinaryHeap::new(),
            number: 0,
            started,
            moves_at,
        })
    }

    async fn run(mut self) {
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            let due = self.waiting.peek().map(|Reverse((due, ..))| *due);
            let happened = tokio::select! {
                biased;
                led = self.leads.changed() => Happened::Led(led.is_ok()),
                () = until(due) => Happened::Due,
                () = until(self.moves_at) => Happened::Moved,
                came = self.outside.recv_from(&mut down) => match came {
                    // Only from where the way leads: another HQ may live on the old one's port.
                    Ok((length, from)) if *self.leads.borrow() == Some(from) => {
                        Happened::Came(Direction::Down, length)
                    }
                    _ => Happened::Nothing,
                },
                came = self.inside.recv_from(&mut up) => match came {
                    Ok((length, from)) => {
                        self.node = Some(from);
                        Happened::Came(Direction::Up, length)
                    }
                    Err(_) => Happened::Nothing,
                },
            };
            match happened {
                Happened::Led(false) => return,
                Happened::Led(true) | Happened::Nothing => {}
                Happened::Due => self.send_due().await,
                Happened::Moved => self.move_on().await,
                Happened::Came(Direction::Up, length) => self.take(Direction::Up, &up[..length]),
                Happened::Came(Direction::Down, length) => {
                    self.take(Direction::Down, &down[..length]);
                }
            }
        }
    }

    fn is_up(&self, now: Instant) -> bool {
        self.conditions.up.is_none_or(|(up, every)| {
            let since = (now - self.started).as_millis() % every.as_millis().max(1);
            since < up.as_millis()
        })
    }

    /// A datagram sets out, if it does.
    fn take(&mut self, direction: Direction, datagram: &[u8]) {
        let now = Instant::now();
        let bytes = datagram.len() as u64;
        let (conditions, way) = (&self.conditions, &mut self.ways[direction as usize]);
        let counted = match direction {
            Direction::Up => &self.counts.bytes_up,
            Direction::Down => &self.counts.bytes_down,
        };
        counted.fetch_add(bytes, Ordering::Relaxed);
        let start = way.free_at.max(now);
        if start - now > conditions.queue {
            return;
        }
        way.free_at = start + conditions.takes(datagram.len());
        let sent = way.free_at;
        let lost = self.random.chance(self.conditions.lost, 1_000);
        let copies = 1 + u32::from(self.random.chance(self.conditions.doubled, 1_000));
        if lost || !self.is_up(now) {
            return;
        }
        for _ in 0..copies {
            let jitter = u64::try_from(self.conditions.jitter.as_micros()).unwrap_or(u64::MAX);
            let jitter = Duration::from_micros(self.random.below(jitter.saturating_add(1).max(1)));
            self.number += 1;
            let due = sent + self.conditions.delay + jitter;
            self.waiting.push(Reverse((due, self.number, direction, datagram.to_vec())));
        }
    }

    async fn send_due(&mut self) {
        let now = Instant::now();
        while self.waiting.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, _, direction, datagram))) = self.waiting.pop() else { return };
            let hq = *self.leads.borrow();
            // Whoever is gone is told nothing, as on a real network.
            match (direction, hq, self.node) {
                (Direction::Up, Some(hq), _) => {
                    drop(self.outside.send_to(&datagram, hq).await);
                }
                (Direction::Down, Some(_), Some(node)) => {
                    drop(self.inside.send_to(&datagram, node).await);
                }
                _ => {}
            }
        }
    }

    /// What is on its way to the old address is lost.
    async fn move_on(&mut self) {
        let number = self.counts.moves.fetch_add(1, Ordering::Relaxed) + 1;
        let addresses = &self.conditions.outside;
        let next = addresses[usize::try_from(number).unwrap_or(0) % addresses.len()];
        self.moves_at = self.conditions.moves_every.map(|every| Instant::now() + every);
        if let Ok(outside) = UdpSocket::bind((next, 0)).await {
            self.outside = outside;
        }
    }
}

impl Conditions {
    /// How long a datagram keeps the line.
    fn takes(&self, length: usize) -> Duration {
        let bits = (length + HEADER_BYTES) as u64 * 8;
        let rate = self.bits_per_second;
        rate.map_or(Duration::ZERO, |rate| Duration::from_micros(bits * 1_000_000 / rate.max(1)))
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("it may wait");
        socket
    }

    fn relay(hq: &UdpSocket, conditions: Conditions, seed: u64) -> Relay {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Relay::start_at(listen, hq.local_addr().expect("bound"), conditions, seed).expect("a port")
    }

    /// Which of a hundred datagrams come, and how often.
    fn come(conditions: &Conditions, seed: u64) -> Vec<u8> {
        let (node, hq) = (socket(), socket());
        let relay = relay(&hq, conditions.clone(), seed);
        for number in 0..100 {
            node.send_to(&[number; 100], relay.address()).expect("sent");
        }
        let mut came = Vec::new();
        let mut datagram = [0; 200];
        while let Ok((100, _)) = hq.recv_from(&mut datagram) {
            came.push(datagram[0]);
        }
        came
    }

    #[test]
    fn a_seed_loses_the_same_datagrams() {
        let bad = Conditions { lost: 300, doubled: 100, ..Conditions::default() };
        let first = come(&bad, 5);
        assert!((55..95).contains(&first.len()), "{}", first.len());
        assert_eq!(first, come(&bad, 5));
        assert_ne!(first, come(&bad, 6));
        assert_eq!(come(&Conditions::default(), 5), (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn a_line_has_its_rate_and_drops_what_would_wait_too_long() {
        // 128 bytes with headers: 8 ms each; a hundred of them would take 800 ms.
        let thin = Conditions {
            bits_per_second: Some(128_000),
            queue: Duration::from_millis(160),
            ..Conditions::default()
        };
        let started = std::time::Instant::now();
        let came = come(&thin, 1).len();
        assert!((20..30).contains(&came), "{came}");
        assert!(started.elapsed() > Duration::from_millis(160));
    }

    #[test]
    fn hq_sees_other_addresses_and_answers_reach_the_node() {
        let (node, hq) = (socket(), socket());
        let moves = Conditions {
            moves_every: Some(Duration::from_millis(20)),
            outside: vec!["127.0.0.1".parse().expect("one"), "127.0.0.2".parse().expect("two")],
            ..Conditions::default()
        };
        let relay = relay(&hq, moves, 1);
        let mut seen = std::collections::BTreeSet::new();
        let mut datagram = [0; 200];
        while seen.len() < 4 {
            node.send_to(b"up", relay.address()).expect("sent");
            let Ok((2, from)) = hq.recv_from(&mut datagram) else { continue };
            seen.insert(from);
            hq.send_to(b"down", from).expect("sent");
        }
        assert!(seen.iter().any(|from| from.ip() != seen.first().expect("some").ip()));
        let (length, _) = node.recv_from(&mut datagram).expect("an answer");
        assert_eq!(&datagram[..length], b"down");
        assert!(relay.moves() >= 3);
    }

    #[test]
    fn a_link_comes_and_goes() {
        let (node, hq) = (socket(), socket());
        let (up, every) = (Duration::from_millis(60), Duration::from_millis(120));
        let relay = relay(&hq, Conditions { up: Some((up, every)), ..Conditions::default() }, 1);
        hq.set_read_timeout(Some(Duration::from_millis(5))).expect("it may wait");
        let (mut came, mut lost) = (0, 0);
        let mut datagram = [0; 200];
        while came < 10 || lost < 10 {
            node.send_to(b"up", relay.address()).expect("sent");
            match hq.recv_from(&mut datagram) {
                Ok(_) => came += 1,
                Err(_) => lost += 1,
            }
        }
    }
}
