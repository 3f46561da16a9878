//! HQ as a process, and in this one the nodes of its sites: the real link of each, its journal in memory,
//! a relay before it where the network is to be bad. Knows what a figure needs and no figure.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edge_node::link::{self, Identity, LinkConfig, LinkState, Network, Wall};
use shared::ids::{CompanyNo, SiteNo};
use shared::sync::Acknowledgement;
use shared::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::company::{self, Hands};
use super::mix::{Mix, Shape, Writer};
use super::{BenchError, Outcome, Settings, Within};
use crate::demo::stage::Headquarters;
use crate::memory_edge::MemoryEdge;

/// A node that does not get this far in so long never does.
pub const PATIENCE: Duration = Duration::from_secs(170);

/// A new HQ with the mix's master data, as a process, and a code for each of its sites.
pub async fn headquarters(
    folder: &Path,
    sites: u32,
) -> Result<(Headquarters, Vec<String>), BenchError> {
    let folder = folder.join("hq");
    let hands = Hands::default();
    let now = now();
    hands.set(now);
    let hq = company::headquarters(&folder, sites, &hands).await?;
    let mut codes = Vec::new();
    for site in 1..=sites {
        let name = format!("Site {site}");
        let code = hq.authority().site_add(SiteNo(site), &name, CompanyNo::FIRST, now);
        codes.push(code.within("adding a site")?.to_string());
    }
    hq.close().await;
    drop(hq);
    let running = tokio::task::spawn_blocking(move || Headquarters::run(&folder)).await;
    Ok((running.within("starting HQ")??, codes))
}

/// This machine's time.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// An enrolled node.
pub struct Node {
    /// Its journal.
    pub journal: Arc<MemoryEdge>,
    identity: Identity,
    writer: Writer,
    folder: PathBuf,
}

/// A node's link while it runs.
pub struct Linked {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Node {
    /// Enrols a new node with a code.
    pub async fn enrol(folder: PathBuf, code: &str, hq: SocketAddr) -> Result<Self, BenchError> {
        let made = Identity::create(&folder.join("identity"));
        let mut identity = made.within("making keys")?;
        let wall = Wall::from_fn(now);
        let enrolled = link::enrol(&mut identity, code, &hq.to_string(), &wall).await;
        let genesis = enrolled.within("enrolling a node")?.genesis;
        let mix = Mix::new(genesis.site.0.into(), Shape::default());
        let writer = Writer::new(genesis.device, mix);
        let journal = MemoryEdge::forgetful(genesis, identity.log_key());
        Ok(Self { journal, identity, writer, folder })
    }

    /// Records so many movements.
    pub fn record(&mut self, movements: usize) {
        self.journal.append(&self.writer.write(movements));
    }

    /// Where its link keeps what it measured.
    pub fn measured(&self) -> PathBuf {
        self.folder.join("link.measured")
    }

    /// Starts its link to HQ, or to a relay before it.
    pub fn link(&self, hq: SocketAddr, network: Network) -> Linked {
        let config = LinkConfig {
            network,
            measured: Some(self.measured()),
            ..LinkConfig::to(hq.to_string(), Wall::from_fn(now))
        };
        let stop = watch::Sender::new(false);
        let (store, identity, stops) =
            (Arc::clone(&self.journal), self.identity.clone(), stop.subscribe());
        let task = tokio::spawn(async move {
            link::run(store, identity, config, link::questions().1, stops)
                .await
                .expect("the node is enrolled");
        });
        Linked { stop, task }
    }

    /// Waits until HQ has everything.
    pub async fn acknowledged(&self) -> Result<Acknowledgement, BenchError> {
        let late = || BenchError::Product {
            what: "waiting for HQ",
            why: format!("{:?}", *self.journal.status().borrow()),
        };
        self.journal.acknowledged(PATIENCE).await.ok_or_else(late)
    }

    /// Waits until HQ takes part.
    pub async fn online(&self) -> Result<(), BenchError> {
        let mut status = self.journal.status();
        let online = status.wait_for(|status| status.state == LinkState::Online);
        let waited = tokio::time::timeout(PATIENCE, online).await;
        waited.within("waiting for HQ")?.map(drop).within("waiting for HQ")
    }
}

/// All of them take their leave, at once.
pub async fn stop(linked: Vec<Linked>) -> Result<(), BenchError> {
    for link in &linked {
        link.stop.send_replace(true);
    }
    for link in linked {
        link.task.await.within("stopping a link")?;
    }
    Ok(())
}

/// Runs a bench that waits for networks.
pub fn run(settings: &Settings, bench: impl AsyncFnOnce(&Settings, &Path) -> Outcome) -> Outcome {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all();
    let folder = settings.scratch()?;
    runtime.build()?.block_on(bench(settings, folder.path()))
}
