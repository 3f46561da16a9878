//! The QUIC server: lets nodes in and serves their sessions. Knows no facts and no books; what it
//! needs of the store is [`HqStore`]. Invariants: nobody's frame is read before the register has
//! confirmed the certificate; a revoked installation's connection closes at once.

mod driver;
mod frames;
mod live;
mod socket;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::HandshakeData;
use quinn::rustls::pki_types::CertificateDer;
use quinn::{Connection, Endpoint, Incoming as IncomingConnection, Runtime, TokioRuntime};
use shared::sync::carry::Meet;
use shared::sync::hq::{HqSettings, HqStart};
use shared::sync::{Code, Frame, Introduction, Refusal, VERSIONS};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::bundle::Desk;
use super::carry::{Meeting, Unfinished};
use super::enrol;
use super::store::{HqStore, Peer};
use crate::authority::{ALPN_COPIES, ALPN_ENROL, Admission, Authority, KeyFileError};
use crate::clock::Clock;
use driver::Driver;
use live::LiveLinks;
use socket::{Asked, Copying};

pub(in crate::gateway) use frames::{Incoming, Outgoing};
pub(in crate::gateway) use live::close;

/// How long a handshake, and then a first frame, may take.
pub(in crate::gateway) const HANDSHAKE: Duration = Duration::from_secs(20);

/// The most streams on which neighbours' bundles come at a time.
const CARRIERS_MAX: usize = 32;

/// The most of them on one connection: a carrier may open its next before HQ has seen its last one end.
const MEETINGS_MAX: usize = 2;

/// How long connections get to close when HQ stops.
const CLOSING: Duration = Duration::from_secs(2);

/// Program and version, as edges see it.
pub(in crate::gateway) const PROGRAM: &str = concat!("hq-server ", env!("CARGO_PKG_VERSION"));

/// How the QUIC server behaves.
#[derive(Clone, Copy, Debug)]
pub struct LinkSettings {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The most connections at a time, those in the handshake included.
    pub connections_max: usize,
    /// How sessions are treated.
    pub session: HqSettings,
}

impl LinkSettings {
    /// Usual settings at an address.
    pub fn at(listen: SocketAddr) -> Self {
        Self { listen, connections_max: 8_192, session: HqSettings::default() }
    }
}

/// Why the QUIC server does not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "UDP port {0} is in use: stop the other program (another hq-server?), or choose another address with --link"
    )]
    InUse(SocketAddr),
    /// The operating system says no.
    #[error("can't listen at {0}: {1}")]
    Io(SocketAddr, #[source] io::Error),
    /// A key file fails.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
}

/// The QUIC server.
#[derive(Debug)]
pub struct Link<S> {
    endpoint: Endpoint,
    gate: Arc<Gate<S>>,
}

/// What the streams of one connection are for.
struct Streams {
    has_session: AtomicBool,
    /// So that no carrier takes the places of all others.
    meetings: Semaphore,
}

/// What every connection needs.
#[derive(Debug)]
struct Gate<S> {
    authority: Authority,
    store: Arc<S>,
    clock: Clock,
    settings: LinkSettings,
    live: LiveLinks,
    /// Whose datagrams leave twice.
    asked: Arc<Asked>,
    /// Each carrier at work may make HQ hold a bundle and an answer.
    carriers: Semaphore,
    unfinished: Unfinished,
}

impl<S: HqStore> Link<S> {
    /// Takes the port. Needs a tokio runtime around it.
    pub fn bind(
        settings: LinkSettings,
        authority: Authority,
        store: Arc<S>,
        clock: Clock,
    ) -> Result<Self, BindError> {
        let listen = settings.listen;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(listen),
            _ => BindError::Io(listen, error),
        };
        let socket = std::net::UdpSocket::bind(listen).map_err(failed)?;
        let mut server = authority.server_config()?;
        server.transport_config(Arc::new(transport::transport()));
        let (runtime, asked) = (Arc::new(TokioRuntime), Asked::new());
        let inner = runtime.wrap_udp_socket(socket).map_err(failed)?;
        let endpoint = Endpoint::new_with_abstract_socket(
            authority.endpoint_config(),
            Some(server),
            Arc::new(Copying { inner, asked: Arc::clone(&asked) }),
            runtime,
        )
        .map_err(failed)?;
        let (live, carriers) = (LiveLinks::default(), Semaphore::new(CARRIERS_MAX));
        let unfinished = Unfinished::default();
        let gate = Gate { authority, store, clock, settings, live, asked, carriers, unfinished };
        Ok(Self { endpoint, gate: Arc::new(gate) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Who is connected now.
    pub fn connected(&self) -> Vec<Peer> {
        self.gate.live.peers()
    }

    /// Serves until `shutdown` is done, then closes every connection.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let mut connections = JoinSet::new();
        let mut revocations = self.gate.authority.changes();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.take(incoming, &mut connections),
                    None => break,
                },
                Ok(()) = revocations.changed() => self.close_revoked(),
                // Ended ones are taken out as they end.
                Some(_) = connections.join_next() => {}
            }
        }
        let stopping = Refusal::new(Code::LEAVING, "HQ is stopping");
        self.endpoint.close(stopping.code.0.into(), stopping.text.as_bytes());
        let _ = tokio::time::timeout(CLOSING, async {
            while connections.join_next().await.is_some() {}
            self.endpoint.wait_idle().await;
        })
        .await;
    }

    fn close_revoked(&self) {
        self.gate.live.close_where(|peer| self.gate.authority.revocation(peer));
    }

    fn take(&self, incoming: IncomingConnection, connections: &mut JoinSet<()>) {
        let open = self.endpoint.open_connections();
        let limit = self.gate.settings.connections_max;
        if open >= limit {
            incoming.refuse();
        } else if open >= limit / 2 && incoming.may_retry() && !incoming.remote_address_validated()
        {
            // Under load only addresses that can answer take up room.
            incoming.retry().expect("it was asked whether it may");
        } else {
            connections.spawn(Arc::clone(&self.gate).serve(incoming));
        }
    }
}

impl<S: HqStore> Gate<S> {
    async fn serve(self: Arc<Self>, incoming: IncomingConnection) {
        let from = incoming.remote_address();
        let Ok(connecting) = incoming.accept() else { return };
        let connection = match tokio::time::timeout(HANDSHAKE, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::info!(%from, "a handshake failed: {error}"),
            Err(_) => return tracing::info!(%from, "a handshake took too long"),
        };
        if alpn(&connection).as_deref() == Some(ALPN_ENROL) {
            // Boxed, here and below: what is over soon takes no room in every connection's future.
            Box::pin(enrol::serve(&connection, &self.authority, &*self.store, &self.clock)).await;
        } else {
            self.serve_site(connection).await;
        }
    }

    async fn serve_site(self: Arc<Self>, connection: Connection) {
        let from = connection.remote_address();
        let admission = match self.admit(&connection) {
            Ok(admission) => admission,
            Err(refusal) => {
                tracing::warn!(%from, code = %refusal.code, "refused: {}", refusal.text);
                return close(&connection, &refusal);
            }
        };
        let peer = admission.peer;
        self.live.enter(peer, &connection);
        // Between the check and the entry the installation may have been revoked.
        let revocation = self.authority.revocation(peer);
        if let Some(refusal) = revocation.filter(|_| !admission.is_forgotten) {
            close(&connection, &refusal);
        }
        tracing::info!(%from, site = %peer.site, device = %peer.device, "connected");
        let why = Arc::clone(&self).serve_streams(&connection, admission).await;
        tracing::info!(%from, site = %peer.site, device = %peer.device, "disconnected: {why}");
        self.live.leave(peer, &connection);
    }

    /// The register decides, whatever the handshake said: it knows what was revoked.
    fn admit(&self, connection: &Connection) -> Result<Admission, Refusal> {
        let identity = connection.peer_identity();
        let chain = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let leaf = chain.and_then(|chain| chain.into_iter().next()).ok_or_else(|| {
            let text = "this node showed no certificate: enrol it with a code from HQ (edge-node enrol CODE)";
            Refusal::new(Code::NO_CERTIFICATE, text)
        })?;
        self.authority.admit(&leaf, self.clock.now())
    }

    async fn serve_streams(
        self: Arc<Self>,
        connection: &Connection,
        admission: Admission,
    ) -> String {
        let uses =
            Streams { has_session: AtomicBool::new(false), meetings: Semaphore::new(MEETINGS_MAX) };
        let uses = Arc::new(uses);
        let mut streams = JoinSet::new();
        let why = loop {
            tokio::select! {
                stream = connection.accept_bi() => match stream {
                    Ok((send, recv)) => {
                        self.live.take_over(admission.peer, connection);
                        let (gate, uses) = (Arc::clone(&self), Arc::clone(&uses));
                        let (incoming, outgoing) = (Incoming::new(recv), Outgoing::new(send));
                        let peer = (admission, connection.clone());
                        streams.spawn(async move {
                            gate.serve_stream(incoming, outgoing, peer, &uses).await
                        });
                    }
                    Err(error) => break error.to_string(),
                },
                Some(ended) = streams.join_next() => {
                    // The session's end is the connection's end.
                    if let Ok(Some(why)) = ended {
                        connection.close(Code::LEAVING.0.into(), why.as_bytes());
                        break why;
                    }
                }
            }
        };
        // What they began they end.
        while streams.join_next().await.is_some() {}
        why
    }

    /// The first frame says what a stream is for. Gives why the session ended, if it was one.
    async fn serve_stream(
        &self,
        mut incoming: Incoming,
        mut outgoing: Outgoing,
        (admission, connection): (Admission, Connection),
        uses: &Streams,
    ) -> Option<String> {
        let first = tokio::time::timeout(HANDSHAKE, incoming.frame()).await.ok()?.ok()?;
        match first {
            Ok(None) => None,
            Ok(Some(Frame::Renew(request))) => {
                let answer = Box::pin(self.renew(admission.peer, request)).await;
                outgoing.last(answer).await.ok()?;
                None
            }
            Ok(Some(Frame::Meet(meet))) => {
                Box::pin(self.carry(meet, incoming, outgoing, admission, uses)).await;
                None
            }
            Ok(Some(Frame::AskStock)) if !admission.is_expired && !admission.is_forgotten => {
                let answer = self.store.stock(admission.peer.site);
                let answer = answer.map_or_else(Frame::Refuse, Frame::Stock);
                outgoing.last(answer).await.ok()?;
                None
            }
            Ok(Some(Frame::Introduce(introduction))) => {
                let answer = Box::pin(self.introduce(admission, introduction)).await;
                outgoing.last(answer).await.ok()?;
                None
            }
            _ if uses.has_session.swap(true, Ordering::AcqRel) => {
                let text = "there is a session on this connection already";
                let refusal = Refusal::new(Code::PROTOCOL, text);
                outgoing.last(Frame::Refuse(refusal)).await.ok()?;
                None
            }
            Ok(Some(frame)) => {
                let mut driver = self.session(incoming, outgoing, (admission, connection));
                driver.take(Ok(frame));
                Some(driver.run().await)
            }
            Err(error) => {
                let mut driver = self.session(incoming, outgoing, (admission, connection));
                driver.take(Err(error));
                Some(driver.run().await)
            }
        }
    }

    /// The node brings bundles of its neighbours.
    async fn carry(
        &self,
        first: Meet,
        incoming: Incoming,
        mut outgoing: Outgoing,
        admission: Admission,
        uses: &Streams,
    ) {
        if admission.is_expired {
            // An answer that is lost is no loss: the session says the same.
            let refusal = Refusal::new(Code::CERTIFICATE_EXPIRED, "the certificate has expired");
            return drop(outgoing.last(Frame::Refuse(refusal)).await);
        }
        let places = (uses.meetings.try_acquire(), self.carriers.try_acquire());
        let (Ok(_own), Ok(_at_work)) = places else {
            let text = "many neighbours bring bundles just now: it is tried again by itself";
            return drop(outgoing.last(Frame::Refuse(Refusal::new(Code::BUSY, text))).await);
        };
        let desk = Desk { store: &*self.store, authority: &self.authority, clock: &self.clock };
        let (peer, unfinished) = (admission.peer, &self.unfinished);
        Meeting::new(desk, peer, unfinished, incoming, outgoing).run(first).await;
    }

    fn session(
        &self,
        incoming: Incoming,
        outgoing: Outgoing,
        (admission, connection): (Admission, Connection),
    ) -> Box<Driver<S>> {
        let refusal = if admission.is_forgotten {
            let text = "HQ was restored from a backup and does not know this node any more: the node introduces itself now, by itself";
            Some(Refusal::new(Code::FORGOTTEN, text))
        } else {
            admission.is_expired.then(|| {
                let text = "this node's certificate has expired: it is renewed now, by itself";
                Refusal::new(Code::CERTIFICATE_EXPIRED, text)
            })
        };
        let start = HqStart { refusal, versions: VERSIONS, program: PROGRAM.to_owned() };
        let (store, clock) = (Arc::clone(&self.store), self.clock.clone());
        let settings = self.settings.session;
        let asks = alpn(&connection).as_deref() == Some(ALPN_COPIES);
        let asker = asks.then(|| self.asked.ask(connection.remote_address()));
        let peer = (admission.peer, connection);
        Driver::new(store, peer, clock, start, settings, incoming, outgoing).asked_by(asker)
    }

    /// An installation whose enrolment was lost is let in again, with its log and a new certificate.
    async fn introduce(&self, admission: Admission, introduction: Introduction) -> Frame {
        match self.let_in(admission, &introduction).await {
            Ok(()) => self.renew(admission.peer, introduction.tls_request).await,
            Err(refusal) => Frame::Refuse(refusal),
        }
    }

    async fn let_in(
        &self,
        admission: Admission,
        introduction: &Introduction,
    ) -> Result<(), Refusal> {
        let peer = admission.peer;
        if !admission.is_forgotten && self.authority.revocation(peer).is_some() {
            let text = "HQ lets in by an introduction only whom it forgot: enrol with a code";
            return Err(Refusal::new(Code::UNKNOWN_SITE, text));
        }
        let (authority, now) = (self.authority.clone(), self.clock.now());
        let asked = introduction.clone();
        let introduced =
            tokio::task::spawn_blocking(move || authority.introduce(peer, &asked, now));
        introduced
            .await
            .unwrap_or_else(|_| Err(Refusal::new(Code::STORAGE, "HQ failed: try again later")))?;
        let Introduction { company, genesis, .. } = introduction;
        self.store.register_log(peer, *company, genesis.clone()).await?;
        tracing::warn!(site = %peer.site, device = %peer.device, "let in again after a restore");
        Ok(())
    }

    /// A device with a certificate, valid or expired but not revoked, gets a new one.
    async fn renew(&self, peer: Peer, request: Vec<u8>) -> Frame {
        let (authority, now) = (self.authority.clone(), self.clock.now());
        let issued = tokio::task::spawn_blocking(move || {
            authority.revocation(peer).map_or_else(|| authority.issue(peer, &request, now), Err)
        });
        match issued.await {
            Ok(Ok(issued)) => Frame::Renewed(issued.chain, issued.valid_until),
            Ok(Err(refusal)) => Frame::Refuse(refusal),
            Err(_) => Frame::Refuse(Refusal::new(Code::STORAGE, "HQ failed: try again later")),
        }
    }
}

fn alpn(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}
