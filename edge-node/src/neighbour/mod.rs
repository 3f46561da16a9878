//! Neighbouring warehouses: a node that does not reach HQ hands its log, sealed, to a neighbour, who
//! carries it, and brings HQ's answers back (`PROTOCOL.md`, "Between neighbours"). Knows no facts.
//! Invariants: recording never waits for a neighbour; a node dials only while it does not reach HQ,
//! or has something for a neighbour.

mod depot;
mod dial;
mod discovery;
mod dispatch;
mod found;
mod live;
mod meeting;
mod post;
mod tls;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Connection, Endpoint};
use shared::ids::{DeviceNo, Seq, SiteNo};
use shared::sync::AuthorityPin;
use shared::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bundle::{Bundles, Keys};
use crate::journal::Journal;
use crate::link::{Identity, Incoming, LinkState, LinkStatus, Outgoing, Wall};
use crate::record::Arrivals;
use dial::Dialling;
use discovery::{Announcement, Heard};
use found::Found;
use live::{Installation, Live};
use meeting::{Meeting, stopped};
use post::SharedPost;

pub use depot::Depot;
pub use found::{AnnouncedName, FoundNeighbour};
pub use post::{CarriedBy, Counterpart, Peer, Post};

/// The port where neighbours listen unless an address says another.
pub const DEFAULT_PORT: u16 = 7421;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A stream to HQ closes once nothing went over it for so long.
const HQ_IDLE: Duration = Duration::from_secs(45);

/// What HQ did not take is offered to it again after so long.
const AGAIN: Duration = Duration::from_secs(60);

/// The most neighbours that are connected at a time: each may make this node hold a bundle.
const CONNECTIONS_MAX: usize = 16;

/// What the operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourConfig {
    /// Where neighbours find this node; `None` does not listen.
    pub listen: Option<SocketAddr>,
    /// Where this node finds neighbours: "host:port" or "host".
    pub addresses: Vec<String>,
    /// Neighbours are looked for on the local network, and this node is announced there.
    pub discover: bool,
    /// How long HQ is not reached before a neighbour is asked.
    pub after: Duration,
    /// The most bytes kept for others.
    pub quota_bytes: u64,
}

impl Default for NeighbourConfig {
    fn default() -> Self {
        Self {
            listen: None,
            addresses: Vec::new(),
            discover: false,
            after: Duration::from_secs(60),
            quota_bytes: 256 << 20,
        }
    }
}

/// A neighbour that is dialled, as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourState {
    /// It is connected.
    pub connected: bool,
    /// Its site, once it was connected.
    pub site: Option<SiteNo>,
    /// The last error.
    pub problem: Option<String>,
}

/// What this node carries of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carries {
    /// Whose log.
    pub site: SiteNo,
    /// Facts after this one.
    pub after: Seq,
    /// Up to this one.
    pub last: Seq,
    /// How many bytes.
    pub bytes: u64,
    /// Since when the first of them lies here.
    pub since: Timestamp,
    /// Why HQ did not take it yet.
    pub problem: Option<String>,
}

/// How neighbours stand, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourStatus {
    /// Where this node listens.
    pub listen: Option<SocketAddr>,
    /// Configured neighbours, by address.
    pub addresses: BTreeMap<String, NeighbourState>,
    /// The local network, where neighbours are looked for there.
    pub discovery: Option<DiscoveryStatus>,
    /// Who has this node's log beyond what HQ acknowledged.
    pub carried_by: Vec<CarriedBy>,
    /// What this node carries for others.
    pub carries: Vec<Carries>,
    /// What was wrong with a neighbour, by site.
    pub accused: BTreeMap<SiteNo, String>,
    /// Installations that came although HQ has revoked them.
    pub turned_away: Vec<(SiteNo, DeviceNo)>,
}

/// What the local network holds, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryStatus {
    /// As what this node is announced.
    pub name: AnnouncedName,
    /// Why nobody can be found.
    pub problem: Option<String>,
    /// Who was found.
    pub found: BTreeMap<AnnouncedName, FoundNeighbour>,
}

/// The neighbours of a running node; clones share everything.
#[derive(Clone, Debug)]
pub struct Neighbours {
    post: SharedPost,
    wall: Wall,
    own: Installation,
    listen: Option<SocketAddr>,
    addresses: Arc<Mutex<BTreeMap<String, NeighbourState>>>,
    discovery: Option<Arc<Discovery>>,
    live: Live,
    away: watch::Receiver<bool>,
}

/// The local network.
#[derive(Debug)]
struct Discovery {
    announcement: Announcement,
    found: Mutex<Found>,
    problem: Mutex<Option<String>>,
    /// Somebody was found or is gone.
    changes: watch::Sender<()>,
}

/// What neighbours need of the node.
#[derive(Debug)]
pub struct NeighbourParts {
    /// The log.
    pub journal: Journal,
    /// Makes bundles of it.
    pub bundles: Bundles,
    /// Where goods on their way here are announced.
    pub arrivals: Arrivals,
    /// Who this node is.
    pub identity: Identity,
    /// The node's clock.
    pub wall: Wall,
    /// Where what is carried lies.
    pub folder: PathBuf,
    /// How the link to HQ stands.
    pub link: watch::Receiver<LinkStatus>,
    /// The connection to HQ while it takes part.
    pub hq: watch::Receiver<Option<Connection>>,
    /// True once the node stops.
    pub stop: watch::Receiver<bool>,
}

/// Why neighbours can't be met.
#[derive(Debug, thiserror::Error)]
pub enum NeighbourError {
    /// The node has no certificate.
    #[error("this node is not enrolled: neighbours know each other by HQ's certificates")]
    NotEnrolled,
    /// The address.
    #[error(
        "neighbours can't be listened for on {address} ({why}): change 'listen' under [neighbours] in node.toml, or stop who has the port"
    )]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// The folder.
    #[error("what is carried for neighbours can't be read: {0}")]
    Depot(io::Error),
    /// The certificate.
    #[error("this node's certificate can't be used: {0}")]
    Certificate(quinn::rustls::Error),
}

impl Neighbours {
    /// Takes the port and begins; ends by itself once the node stops.
    pub fn start(config: NeighbourConfig, parts: NeighbourParts) -> Result<Self, NeighbourError> {
        let NeighbourParts { journal, bundles, arrivals, identity, wall, folder, link, hq, stop } =
            parts;
        let pin = identity.enrolment().ok_or(NeighbourError::NotEnrolled)?.pin;
        let keys = Keys::of(&identity).ok_or(NeighbourError::NotEnrolled)?;
        let depot = Depot::open(folder, config.quota_bytes, wall.now());
        let depot = depot.map_err(NeighbourError::Depot)?;
        let (genesis, log) = (journal.genesis(), journal.log());
        let own = (genesis.site, genesis.device);
        let post = Arc::new(Post::new(depot, journal, bundles, keys, wall.clone(), arrivals));
        let endpoint = listener(&config, pin, &identity)?;
        let listen = endpoint.as_ref().and_then(|endpoint| endpoint.local_addr().ok());
        let discovery = listen
            .filter(|_| config.discover)
            .map(|listen| Arc::new(Discovery::new(Announcement::new(own.0, own.1, log, listen))));
        let (away_in, away) = watch::channel(false);
        let known = config.addresses.iter();
        let known = known.map(|address| (address.clone(), NeighbourState::default())).collect();
        let addresses = Arc::new(Mutex::new(known));
        let live = Live::default();
        let neighbours = Self { post, wall, own, listen, addresses, discovery, live, away };
        tokio::spawn(watch_hq(link, away_in, config.after, stop.clone()));
        tokio::spawn(neighbours.clone().carry_to_hq(hq, stop.clone()));
        if let Some(endpoint) = endpoint {
            tokio::spawn(neighbours.clone().listen(endpoint, stop.clone()));
        }
        let dialling = Dialling { pin, identity };
        for address in config.addresses {
            tokio::spawn(neighbours.clone().dial_configured(
                address,
                dialling.clone(),
                stop.clone(),
            ));
        }
        if let Some(discovery) = neighbours.discovery.clone() {
            tokio::spawn(neighbours.clone().dial_found(discovery, dialling, stop));
        }
        Ok(neighbours)
    }

    /// How everything stands.
    pub fn status(&self) -> NeighbourStatus {
        let mut carries: Vec<Carries> = Vec::new();
        for held in self.post.depot.held() {
            let Some(author) = self.post.author(&held) else { continue };
            let head = held.offer.head;
            match carries.last_mut() {
                Some(last) if last.site == author.site && last.last == head.after => {
                    last.last = head.last;
                    last.bytes += held.offer.bytes;
                    last.since = last.since.min(held.since);
                    last.problem = last.problem.take().or(held.problem);
                }
                _ => carries.push(Carries {
                    site: author.site,
                    after: head.after,
                    last: head.last,
                    bytes: held.offer.bytes,
                    since: held.since,
                    problem: held.problem,
                }),
            }
        }
        NeighbourStatus {
            listen: self.listen,
            addresses: self.states().clone(),
            discovery: self.discovery.as_deref().map(Discovery::status),
            carried_by: self.post.carried_by(),
            carries,
            accused: self.post.accused(),
            turned_away: self.post.turned_away(),
        }
    }

    fn meeting(&self, peer: Peer, named: bool, idle: Option<Duration>) -> Meeting {
        let (post, wall, away) = (Arc::clone(&self.post), self.wall.clone(), self.away.clone());
        Meeting { post, peer, named, wall, away, idle }
    }

    /// Serves neighbours that dial.
    async fn listen(self, endpoint: Endpoint, mut stop: watch::Receiver<bool>) {
        let mut meetings = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                Some(_) = meetings.join_next() => {}
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) if meetings.len() < CONNECTIONS_MAX => {
                        meetings.spawn(self.clone().answer(incoming, stop.clone()));
                    }
                    Some(incoming) => incoming.refuse(),
                    None => break,
                },
            }
        }
        while meetings.join_next().await.is_some() {}
        endpoint.close(0_u8.into(), b"this node is stopping");
        let _ = tokio::time::timeout(Duration::from_millis(500), endpoint.wait_idle()).await;
    }

    async fn answer(self, incoming: quinn::Incoming, mut stop: watch::Receiver<bool>) {
        let from = incoming.remote_address();
        let greeted = tokio::time::timeout(HANDSHAKE, async {
            let connection = incoming.await?;
            let streams = connection.accept_bi().await?;
            Ok::<_, quinn::ConnectionError>((connection, streams))
        });
        let (connection, (send, recv)) = match greeted.await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(error)) => return tracing::info!(%from, "no neighbour: {error}"),
            Err(_) => return tracing::info!(%from, "a neighbour's handshake took too long"),
        };
        let Some((site, device)) = tls::peer(&connection) else {
            return connection.close(0_u8.into(), b"this certificate names nobody");
        };
        tracing::info!(%from, %site, %device, "a neighbour connected");
        let _listed = self.live.list((site, device), &connection);
        let meeting = self.meeting(Peer::Neighbour(site, device), false, None);
        let why = meeting.run(Incoming::new(recv), Outgoing::new(send), &mut stop).await;
        let why = why.unwrap_or_default();
        tracing::info!(%from, %site, "a neighbour left{}{why}", if why.is_empty() { "" } else { ": " });
        connection.close(0_u8.into(), b"the meeting is over");
    }

    /// Whether a neighbour is of use: it may carry for this node, or wants what lies here.
    fn is_useful(&self) -> bool {
        *self.away.borrow() || !self.post.depot.answers().is_empty() || self.post.has_notes()
    }

    async fn useful(&self) {
        self.until(|| self.is_useful()).await;
    }

    async fn useless(&self) {
        self.until(|| !self.is_useful()).await;
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        let (mut away, mut changes) = (self.away.clone(), self.post.depot.changes());
        while !is_so() {
            tokio::select! {
                Ok(()) = away.changed() => {}
                Ok(()) = changes.changed() => {}
                else => return std::future::pending().await,
            }
        }
    }

    /// Hands what lies here to HQ whenever the link to HQ stands.
    async fn carry_to_hq(
        self,
        mut hq: watch::Receiver<Option<Connection>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut news = self.post.depot.changes();
        loop {
            let connection = hq.borrow_and_update().clone();
            if let Some(connection) = connection.filter(|_| !self.post.depot.held().is_empty())
                && let Ok((send, recv)) = connection.open_bi().await
            {
                let meeting = self.meeting(Peer::Hq, false, Some(HQ_IDLE));
                let met = meeting.run(Incoming::new(recv), Outgoing::new(send), &mut stop).await;
                if let Some(why) = met {
                    tracing::warn!("what is carried to HQ: {why}");
                }
            }
            let left = !self.post.depot.held().is_empty();
            tokio::select! {
                changed = hq.changed() => if changed.is_err() { return },
                _ = news.changed() => {}
                () = tokio::time::sleep(AGAIN), if left => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    fn note(&self, address: &str, change: impl FnOnce(&mut NeighbourState)) {
        change(self.states().entry(address.to_owned()).or_default());
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, NeighbourState>> {
        // The map is whole after every operation.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Discovery {
    fn new(announcement: Announcement) -> Self {
        let (found, problem) = (Mutex::default(), Mutex::default());
        Self { announcement, found, problem, changes: watch::Sender::new(()) }
    }

    fn status(&self) -> DiscoveryStatus {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = self.announcement.name.clone();
        DiscoveryStatus { name, problem, found: self.found().all() }
    }

    fn hear(&self, heard: Heard) {
        match heard {
            Heard::Announced(name, addresses) => self.found().announced(name, addresses),
            Heard::Gone(name) => self.found().gone(&name),
            Heard::Anew => self.found().all_gone(),
            Heard::Works(works) => {
                *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = works.err();
            }
        }
        self.changes.send_replace(());
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        // The table is whole after every operation.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the port. A node that is announced listens, at a free port where none is set.
fn listener(
    config: &NeighbourConfig,
    pin: AuthorityPin,
    identity: &Identity,
) -> Result<Option<Endpoint>, NeighbourError> {
    match config.listen {
        Some(address) => bind(address, pin, identity).map(Some),
        None if config.discover => {
            let any = bind((Ipv6Addr::UNSPECIFIED, 0).into(), pin, identity);
            let any = any.or_else(|_| bind((Ipv4Addr::UNSPECIFIED, 0).into(), pin, identity));
            any.map(Some)
        }
        None => Ok(None),
    }
}

fn bind(
    address: SocketAddr,
    pin: AuthorityPin,
    identity: &Identity,
) -> Result<Endpoint, NeighbourError> {
    let settings = tls::server(pin, identity).map_err(NeighbourError::Certificate)?;
    Endpoint::server(settings, address)
        .map_err(|error| NeighbourError::Listen { address, why: error.to_string() })
}

/// Says when HQ was not reached for a while, and when it is.
async fn watch_hq(
    mut link: watch::Receiver<LinkStatus>,
    away: watch::Sender<bool>,
    after: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut patience = Box::pin(tokio::time::sleep(after));
    loop {
        let online = link.borrow_and_update().state == LinkState::Online;
        if online {
            away.send_replace(false);
            patience.as_mut().reset(tokio::time::Instant::now() + after);
        }
        tokio::select! {
            changed = link.changed() => if changed.is_err() { return },
            () = &mut patience, if !online && !*away.borrow() => drop(away.send_replace(true)),
            () = stopped(&mut stop) => return,
        }
    }
}
