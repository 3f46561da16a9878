//! Dials neighbours: those that the operator named, and those that were found on the local network.
//! Knows no bundle. Invariants: nobody is dialled before it is of use; whoever was found is met only
//! if it has HQ's certificate, HQ lets the one carry for the other, and it is not connected already.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection, Endpoint};
use shared::sync::AuthorityPin;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::found::PlaceKey;
use super::live::Installation;
use super::meeting::stopped;
use super::post::Peer;
use super::{DEFAULT_PORT, Discovery, HANDSHAKE, NeighbourState, Neighbours, discovery, tls};
use crate::link::{Backoff, Identity, Incoming, Outgoing, resolve};

/// What dialling needs.
#[derive(Clone, Debug)]
pub(super) struct Dialling {
    pub(super) pin: AuthorityPin,
    pub(super) identity: Identity,
}

impl Neighbours {
    /// Keeps a connection to a neighbour that the operator named, for as long as it is of use.
    pub(super) async fn dial_configured(
        self,
        address: String,
        dialling: Dialling,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut backoff = Backoff::default();
        while !*stop.borrow() {
            tokio::select! {
                () = self.useful() => {}
                () = stopped(&mut stop) => return,
            }
            let met = tokio::select! {
                met = self.meet_configured(&address, &dialling) => met,
                () = stopped(&mut stop) => return,
            };
            let problem = outcome(met, &mut backoff);
            if let Some(why) = &problem {
                tracing::info!("neighbour {address}: {why}");
            }
            self.note(&address, |state| (state.connected, state.problem) = (false, problem));
            tokio::select! {
                () = wait(&mut backoff) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    async fn meet_configured(&self, address: &str, dialling: &Dialling) -> Result<(), String> {
        let addresses = resolve(address, DEFAULT_PORT).await.map_err(|error| {
            format!("'{address}' leads nowhere ({error}): write HOST:PORT, and check the network")
        })?;
        let met = Met::at(addresses, dialling).await?;
        let site = Some(met.peer.0);
        self.note(address, |state| {
            *state = NeighbourState { connected: true, site, problem: None };
        });
        self.meet(met, true).await
    }

    /// Dials whoever is found on the local network.
    pub(super) async fn dial_found(
        self,
        discovery: Arc<Discovery>,
        dialling: Dialling,
        mut stop: watch::Receiver<bool>,
    ) {
        let (own, heard) = (discovery.announcement.clone(), Arc::clone(&discovery));
        let hear = move |news| heard.hear(news);
        let listening = tokio::spawn(discovery::run(own, hear, stop.clone()));
        let mut changes = discovery.changes.subscribe();
        changes.mark_changed();
        let mut dialled = JoinSet::new();
        loop {
            tokio::select! {
                _ = changes.changed() => for key in discovery.found().take_new() {
                    let (each, discovery) = (self.clone(), Arc::clone(&discovery));
                    dialled.spawn(each.dial_one(key, discovery, dialling.clone(), stop.clone()));
                },
                Some(_) = dialled.join_next() => {}
                () = stopped(&mut stop) => break,
            }
        }
        while dialled.join_next().await.is_some() {}
        drop(listening.await);
    }

    /// Keeps a connection to one that was found, for as long as it has its place and is of use.
    async fn dial_one(
        self,
        key: PlaceKey,
        discovery: Arc<Discovery>,
        dialling: Dialling,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut backoff = Backoff::default();
        let mut changes = discovery.changes.subscribe();
        loop {
            tokio::select! {
                () = self.useful() => {}
                () = left(&discovery, &key, &mut changes) => return,
                () = stopped(&mut stop) => return,
            }
            let Some(found) = discovery.found().get(&key) else { return };
            // HQ's leave is looked up here: for that nobody is dialled again.
            let is_refused = found.state.site.is_some_and(|site| self.post.may_meet(site).is_err());
            let problem = if is_refused {
                found.state.problem
            } else {
                let met = tokio::select! {
                    met = self.meet_found(found.addresses, &key, &discovery, &dialling) => met,
                    () = stopped(&mut stop) => return,
                };
                outcome(met, &mut backoff)
            };
            discovery.found().ended(&key, problem);
            discovery.changes.send_replace(());
            tokio::select! {
                () = wait(&mut backoff) => {}
                () = left(&discovery, &key, &mut changes) => return,
                () = stopped(&mut stop) => return,
            }
        }
    }

    async fn meet_found(
        &self,
        addresses: Vec<SocketAddr>,
        key: &PlaceKey,
        discovery: &Discovery,
        dialling: &Dialling,
    ) -> Result<(), String> {
        let met = Met::at(addresses, dialling).await?;
        let peer = met.peer;
        discovery.found().named(key, peer.0);
        if let Err(why) = self.may_meet(peer) {
            met.leave(b"HQ does not let the two meet").await;
            return Err(why);
        }
        discovery.found().connected(key);
        if self.live.has(peer) {
            met.leave(b"you are connected already").await;
            self.live.without(peer).await;
            return Ok(());
        }
        self.meet(met, false).await
    }

    /// Whether somebody that nobody named is met.
    fn may_meet(&self, peer: Installation) -> Result<(), String> {
        if peer == self.own {
            return Err("this is this node itself".to_owned());
        }
        if let Some(refusal) = self.post.revocation(Peer::Neighbour(peer.0, peer.1)) {
            return Err(refusal.text);
        }
        self.post.may_meet(peer.0)
    }

    /// One connection from beginning to end.
    async fn meet(&self, met: Met, named: bool) -> Result<(), String> {
        let Met { connection, peer: (site, device), .. } = &met;
        let _listed = self.live.list((*site, *device), connection);
        let (send, recv) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let (leave_in, mut leave) = watch::channel(false);
        let meeting = self.meeting(Peer::Neighbour(*site, *device), named, None);
        let running = meeting.run(Incoming::new(recv), Outgoing::new(send), &mut leave);
        tokio::pin!(running);
        let why = tokio::select! {
            why = &mut running => why,
            () = self.useless() => {
                leave_in.send_replace(true);
                running.await
            }
        };
        met.leave(b"the meeting is over").await;
        why.map_or(Ok(()), Err)
    }
}

/// A connection to an installation of the same authority.
struct Met {
    endpoint: Endpoint,
    connection: Connection,
    peer: Installation,
}

impl Met {
    /// Tries each address in turn.
    async fn at(
        addresses: impl IntoIterator<Item = SocketAddr>,
        dialling: &Dialling,
    ) -> Result<Self, String> {
        let settings =
            tls::client(dialling.pin, &dialling.identity).map_err(|error| error.to_string())?;
        let mut why = "no address".to_owned();
        for address in addresses {
            match connect(address, settings.clone()).await {
                Ok((endpoint, connection)) => {
                    let peer = tls::peer(&connection);
                    let peer = peer.ok_or("its certificate names no site")?;
                    return Ok(Self { endpoint, connection, peer });
                }
                Err(error) => why = error,
            }
        }
        Err(format!("it does not answer ({why}): check the address, and that its node listens"))
    }

    async fn leave(self, why: &[u8]) {
        self.connection.close(0_u8.into(), why);
        let _ = tokio::time::timeout(Duration::from_millis(500), self.endpoint.wait_idle()).await;
    }
}

async fn connect(
    address: SocketAddr,
    settings: ClientConfig,
) -> Result<(Endpoint, Connection), String> {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let endpoint = Endpoint::client(SocketAddr::new(any, 0)).map_err(|error| error.to_string())?;
    let connecting = endpoint
        .connect_with(settings, address, tls::SERVER_NAME)
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(HANDSHAKE, connecting).await {
        Ok(Ok(connection)) => Ok((endpoint, connection)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", HANDSHAKE.as_secs())),
    }
}

/// What is told of a meeting that ended.
fn outcome(met: Result<(), String>, backoff: &mut Backoff) -> Option<String> {
    if met.is_ok() {
        backoff.reset();
    }
    met.err()
}

async fn wait(backoff: &mut Backoff) {
    tokio::time::sleep(backoff.next(getrandom::u64().unwrap_or(0))).await;
}

/// Waits until somebody has its place no more.
async fn left(discovery: &Discovery, key: &PlaceKey, changes: &mut watch::Receiver<()>) {
    while discovery.found().get(key).is_some() {
        if changes.changed().await.is_err() {
            return;
        }
    }
}
