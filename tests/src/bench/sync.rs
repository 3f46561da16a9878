//! From the first packet to HQ's acknowledgement over bad networks, beside what the bytes alone would take
//! at the network's rate, and beside a sender that keeps its window whatever is lost. HQ is a process;
//! relays are between. Invariant: HQ's clock and the disk are the machine's own, chance is from seeds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_node::link::Network;
use quinn::congestion::{Controller, ControllerFactory};
use quinn::{ClientConfig, Endpoint, IdleTimeout, ServerConfig, TransportConfig};
use shared::ids::Seq;
use shared::sync::FactsFrame;
use tokio::task::JoinSet;

use super::figure::{Durations, Figure, each, share};
use super::links::{self, Node, PATIENCE};
use super::{BenchError, Outcome, Settings, Within};
use crate::relay::{Conditions, Relay};

/// Nodes that connect at a time, each over a network of its own.
const NODES: u32 = 24;
const ROUNDS: u32 = 3;
const MOVEMENTS: usize = 500;
const LARGE_BYTES: u64 = 500_000;
/// Those that send much at a time: so few that HQ posts beside it.
const LARGE: usize = 6;
/// How often: one in a storm takes up to three times as long as another.
const LARGE_ROUNDS: u64 = 4;
/// What the storm's link carries in a round trip.
const WINDOW: u64 = 150_000;
const RTT: Duration = Duration::from_millis(600);

/// Runs the benchmark.
pub fn run(settings: &Settings) -> Outcome {
    links::run(settings, measure)
}

async fn measure(settings: &Settings, folder: &Path) -> Outcome {
    settings.say("sync: starting HQ, enrolling nodes");
    let (hq, codes) = links::headquarters(folder, NODES).await?;
    let mut nodes = Vec::new();
    for (number, code) in codes.iter().enumerate() {
        nodes.push(Node::enrol(folder.join(format!("node-{number}")), code, hq.link).await?);
    }
    let mut figures = Vec::new();
    settings.say("sync: over a good link, so that HQ's master data is there");
    let good = Conditions::default();
    figures.extend(
        nodes_sync(settings, &mut nodes, hq.link, &good, 1).await?.figures("loopback", None),
    );

    settings.say("sync: 600 ms, nothing lost");
    let far = Conditions { delay: RTT / 2, ..Conditions::default() };
    known(&nodes, "rtt_ms = 600\nlost_per_mille = 0\nrate = 250000\n")?;
    let mut calm = nodes_sync(settings, &mut nodes[..4], hq.link, &far, 2).await?;
    let trips = share(calm.durations.milliseconds(500), 600.0);
    figures
        .push(Figure::new("connect and first acknowledgement", trips, "round trips").at_most(2.1));

    settings.say("sync: the storm, for the first time");
    let storm = Conditions::storm();
    forget(&nodes);
    let first = nodes_sync(settings, &mut nodes[..12], hq.link, &storm, 3).await?;
    figures.extend(first.figures("500 over the storm, first connection", None));
    settings.say("sync: the storm, known from the connection before");
    let mut all = Sample::default();
    for round in 0..ROUNDS {
        known(&nodes, "rtt_ms = 600\nlost_per_mille = 300\nrate = 250000\n")?;
        all.extend(nodes_sync(settings, &mut nodes, hq.link, &storm, 10 + u64::from(round)).await?);
    }
    figures.extend(all.figures("500 over the storm", Some((6_000.0, 20_000.0))));
    let payload = payload_bytes(&nodes[0], MOVEMENTS);
    let alone = share(each(payload, 1), 250.0);
    figures.push(Figure::new("500 at the link's rate alone", alone, "ms"));

    settings.say("sync: 500 kB over the storm, and as much by a sender with a fixed window");
    let (mut sent, mut theirs) = (Sample::default(), Durations::default());
    for (round, nodes) in (0..LARGE_ROUNDS).zip(nodes.chunks_mut(LARGE)) {
        known(nodes, "rtt_ms = 600\nlost_per_mille = 300\nrate = 250000\n")?;
        let ours = large(settings, nodes, hq.link, &storm, 90 + round);
        let (ours, fixed) = tokio::try_join!(ours, reference(&storm, 90 + round))?;
        sent.extend(ours);
        theirs.extend(fixed);
    }
    let count = sent.durations.count();
    let mut ours = sent.durations;
    let times = share(ours.milliseconds(500), theirs.milliseconds(500));
    for (what, durations) in
        [("500 kB over the storm", &mut ours), ("fixed window, 500 kB", &mut theirs)]
    {
        for (part, per_mille) in
            [("p25", 250), ("p50", 500), ("p75", 750), ("p95", 950), ("slowest", 1_000)]
        {
            let took = durations.milliseconds(per_mille);
            figures.push(Figure::new(format!("{what}, {part}"), took, "ms"));
        }
    }
    figures.push(Figure::new("500 kB over the storm, up", each(sent.bytes_up, count), "B"));
    figures.push(Figure::new("500 kB to a fixed window, p50", times, "times").at_most(1.5));
    figures.push(Figure::new("500 kB at the link's rate alone", 2_000.0, "ms"));
    Ok(figures)
}

/// What a link's last connection left for the next.
fn known(nodes: &[Node], text: &str) -> Result<(), BenchError> {
    nodes.iter().try_for_each(|node| Ok(std::fs::write(node.measured(), text)?))
}

fn forget(nodes: &[Node]) {
    for node in nodes {
        // One that has nothing has forgotten already.
        drop(std::fs::remove_file(node.measured()));
    }
}

/// What some nodes' connections took.
#[derive(Default)]
struct Sample {
    durations: Durations,
    bytes_up: u64,
    bytes_down: u64,
}

impl Sample {
    fn extend(&mut self, other: Self) {
        self.durations.extend(other.durations);
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
    }

    fn figures(mut self, what: &str, aims: Option<(f64, f64)>) -> Vec<Figure> {
        let count = self.durations.count();
        let mut p50 = Figure::new(format!("{what}, p50"), self.durations.milliseconds(500), "ms");
        let mut p95 = Figure::new(format!("{what}, p95"), self.durations.milliseconds(950), "ms");
        if let Some((half, most)) = aims {
            (p50, p95) = (p50.at_most(half), p95.at_most(most));
        }
        let worst = self.durations.milliseconds(1_000);
        vec![
            p50,
            p95,
            Figure::new(format!("{what}, slowest of {count}"), worst, "ms"),
            Figure::new(format!("{what}, up"), each(self.bytes_up, count), "B"),
            Figure::new(format!("{what}, down"), each(self.bytes_down, count), "B"),
        ]
    }
}

fn relay(hq: SocketAddr, conditions: &Conditions, seed: u64) -> Result<Relay, BenchError> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Ok(Relay::start_at(listen, hq, conditions.clone(), seed)?)
}

/// Each node records movements and connects, all at once, each over a network of its own.
async fn nodes_sync(
    settings: &Settings,
    nodes: &mut [Node],
    hq: SocketAddr,
    conditions: &Conditions,
    seed: u64,
) -> Result<Sample, BenchError> {
    for node in nodes.iter_mut() {
        node.record(MOVEMENTS);
    }
    sync_all(settings, nodes, hq, conditions, seed).await
}

async fn sync_all(
    settings: &Settings,
    nodes: &[Node],
    hq: SocketAddr,
    conditions: &Conditions,
    seed: u64,
) -> Result<Sample, BenchError> {
    let mut sample = Sample::default();
    let mut running = Vec::new();
    for (number, node) in (0..).zip(nodes) {
        let relay = relay(hq, conditions, seed * 1_000 + number)?;
        let started = Instant::now();
        running.push((node, node.link(relay.address(), Network::default()), relay, started));
    }
    let waits = running.iter().map(|(node, _, relay, started)| async move {
        node.acknowledged().await?;
        Ok::<_, BenchError>((started.elapsed(), relay.bytes_up(), relay.bytes_down()))
    });
    for done in futures_all(waits).await {
        let (elapsed, up, down) = done?;
        sample.durations.add(elapsed);
        sample.bytes_up += up;
        sample.bytes_down += down;
    }
    let (linked, relays): (Vec<_>, Vec<_>) =
        running.into_iter().map(|(_, linked, relay, _)| (linked, relay)).unzip();
    links::stop(linked).await?;
    drop(relays);
    let (half, most) = (sample.durations.milliseconds(500), sample.durations.milliseconds(1_000));
    settings.say(&format!("sync:   {} nodes, {half:.0} ms, at most {most:.0} ms", nodes.len()));
    Ok(sample)
}

/// Waits for all of them at once.
async fn futures_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Some(Box::pin(future)), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut waiting {
            if let Some(pinned) = future
                && let std::task::Poll::Ready(done) = pinned.as_mut().poll(context)
            {
                (*future, *output) = (None, Some(done));
            }
        }
        let done = waiting.iter().all(|(future, _)| future.is_none());
        if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// The bytes of a node's newest facts in frames of a thousand.
fn payload_bytes(node: &Node, count: usize) -> u64 {
    let log = node.journal.log();
    let facts = log.facts();
    let newest = &facts[facts.len() - count..];
    let first = Seq((facts.len() - count) as u64 + 1);
    let runs = newest.chunks(1_000).zip((first.0..).step_by(1_000));
    let bytes = runs.map(|(facts, first)| {
        let head = log.position().head;
        let run = shared::sync::Run::new(Seq(first), facts.to_vec(), head).expect("whole groups");
        FactsFrame::pack(&run).packed.len() as u64
    });
    bytes.sum()
}

/// Nodes that send half a megabyte each.
async fn large(
    settings: &Settings,
    nodes: &mut [Node],
    hq: SocketAddr,
    conditions: &Conditions,
    seed: u64,
) -> Result<Sample, BenchError> {
    for node in nodes.iter_mut() {
        node.record(1_000);
        let each = payload_bytes(node, 1_000);
        let thousands = usize::try_from(LARGE_BYTES / each.max(1)).unwrap_or(1);
        node.record(thousands.saturating_sub(1) * 1_000);
    }
    sync_all(settings, nodes, hq, conditions, seed).await
}

/// A window that never moves.
#[derive(Clone)]
struct Fixed;

impl ControllerFactory for Fixed {
    fn build(self: Arc<Self>, _: Instant, _: u16) -> Box<dyn Controller> {
        Box::new(Fixed)
    }
}

impl Controller for Fixed {
    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: u64) {}

    fn on_mtu_update(&mut self, _: u16) {}

    fn window(&self) -> u64 {
        WINDOW
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }
}

/// QUIC alone with a fixed window: connect, send, hear that all is there.
async fn reference(conditions: &Conditions, seed: u64) -> Result<Durations, BenchError> {
    let made = rcgen::generate_simple_self_signed(vec!["hq".to_owned()]);
    let made = made.within("making a certificate")?;
    let certificate = made.cert.der().clone();
    let key = quinn::rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::with_single_cert(vec![certificate.clone()], key.into());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut server = server.within("setting up TLS")?;
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(idle()));
    server.transport_config(Arc::new(transport));
    let server = Endpoint::server(server, any)?;
    let hq = server.local_addr()?;
    let serving = tokio::spawn(serve(server));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).within("trusting a certificate")?;
    let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).within("TLS")?;
    let mut transport = TransportConfig::default();
    transport.congestion_controller_factory(Arc::new(Fixed)).max_idle_timeout(Some(idle()));
    client.transport_config(Arc::new(transport));
    let mut sending = JoinSet::new();
    for number in 0..LARGE {
        let relay = relay(hq, conditions, seed * 1_000 + number as u64)?;
        sending.spawn(send(relay, client.clone()));
    }
    let mut durations = Durations::default();
    while let Some(sent) = sending.join_next().await {
        durations.add(sent.within("sending")??);
    }
    serving.abort();
    Ok(durations)
}

/// How long the reference may be silent: as long as the product.
fn idle() -> IdleTimeout {
    Duration::from_secs(90).try_into().expect("90 seconds are a legal time-out")
}

async fn serve(server: Endpoint) {
    while let Some(incoming) = server.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await.ok()?;
            let (mut answer, mut all) = connection.accept_bi().await.ok()?;
            let read = all.read_to_end(1 << 20).await.ok()?;
            answer.write_all(&[u8::from(read.len() as u64 == LARGE_BYTES)]).await.ok()?;
            answer.finish().ok()?;
            connection.closed().await;
            Some(())
        });
    }
}

async fn send(relay: Relay, client: ClientConfig) -> Result<Duration, BenchError> {
    let bytes = vec![0x5a; usize::try_from(LARGE_BYTES).unwrap_or(0)];
    let started = Instant::now();
    // A handshake that is held up too long is begun again, as the product does.
    while started.elapsed() < PATIENCE {
        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let connecting = endpoint.connect_with(client.clone(), relay.address(), "hq");
        let connecting = connecting.within("connecting")?;
        let patience = Duration::from_secs(20);
        let Ok(Ok(connection)) = tokio::time::timeout(patience, connecting).await else { continue };
        let (mut all, mut answer) = connection.open_bi().await.within("opening a stream")?;
        all.write_all(&bytes).await.within("sending")?;
        all.finish().within("sending")?;
        answer.read_to_end(1).await.within("waiting for the answer")?;
        return Ok(started.elapsed());
    }
    Err(BenchError::Product { what: "the reference", why: "it did not connect".to_owned() })
}
