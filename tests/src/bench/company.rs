//! A whole HQ in this process, with the mix's master data, and sites whose logs are written without
//! a network. Knows the gateway's entrance and where the books say that something is posted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ed25519_dalek::SigningKey;
use hq_server::chart::GENERIC;
use hq_server::clock::Clock;
use hq_server::headquarters::{Config, Headquarters, InitOptions};
use hq_server::own_log::Group;
use shared::fact::Fact;
use shared::fact::statement::{CostScope, MasterData, Statement};
use shared::ids::{CompanyNo, DeviceNo, LogId, Seq, SiteNo};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::sync::{FactsFrame, Run};
use shared::time::Timestamp;
use tokio::task::JoinSet;

use super::mix::{self, Mix, Shape, Writer};
use super::{BenchError, Within};

/// Long after everything that is recorded.
const HQ_NOW: i64 = mix::START.0 + 40 * 86_400_000;

/// HQ's clock in the bench's hand.
#[derive(Clone, Debug)]
pub struct Hands(Arc<AtomicI64>);

impl Default for Hands {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(HQ_NOW)))
    }
}

impl Hands {
    /// Puts it to a time.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Clock::from_fn(move || Timestamp(hands.load(Ordering::Relaxed)))
    }
}

/// A new HQ with the mix's master data and sites 1 to `sites`, a pool for each site and item.
pub async fn headquarters(
    folder: &Path,
    sites: u32,
    hands: &Hands,
) -> Result<Headquarters, BenchError> {
    headquarters_with(folder, sites, CostScope::Site, mix::master_data(), hands).await
}

/// A new HQ with this master data and sites 1 to `sites`.
pub async fn headquarters_with(
    folder: &Path,
    sites: u32,
    scope: CostScope,
    stated: Vec<MasterData>,
    hands: &Hands,
) -> Result<Headquarters, BenchError> {
    let options = InitOptions {
        code: "bench".to_owned(),
        name: "Bench Ltd".to_owned(),
        currency: mix::currency(),
        zone: mix::ZONE,
        scope,
        chart: &GENERIC,
        config: Config::default(),
    };
    let hq = Headquarters::init(folder, options, hands.clock()).await.within("making HQ")?;
    let sites = (1..=sites).map(|site| MasterData::Site {
        site: SiteNo(site),
        company: CompanyNo::FIRST,
        code: format!("S{site:05}"),
        name: format!("Site {site}"),
    });
    let stated = sites.chain(stated);
    let groups: Vec<Group> =
        stated.map(|data| Group::one(Statement::MasterData { valid_from: None, data })).collect();
    let recorded = hq.own_log().record(|_, _| Ok::<_, std::fmt::Error>((groups, ())));
    recorded.await.within("stating master data")?;
    Ok(hq)
}

/// A site's log as far as it is written.
#[derive(Debug)]
pub struct SiteLog {
    /// Whose log it is.
    pub site: SiteNo,
    /// Its first record.
    pub genesis: Genesis,
    writer: Writer,
    chain: Chain,
}

impl SiteLog {
    /// The log of a site, empty.
    pub fn new(site: SiteNo, shape: Shape) -> Self {
        let genesis = genesis(site);
        let chain = Chain::start(genesis.log_id());
        let writer = Writer::new(genesis.device, Mix::new(site.0.into(), shape));
        Self { site, genesis, writer, chain }
    }

    /// The log's id.
    pub fn log(&self) -> LogId {
        self.genesis.log_id()
    }

    /// How far it is written.
    pub fn last(&self) -> Seq {
        self.chain.seq()
    }

    /// The next facts as a run.
    pub fn run(&mut self, count: usize) -> Run {
        let facts = self.writer.write(count);
        self.append(facts)
    }

    /// Facts that another wrote for this log, as a run.
    pub fn append(&mut self, facts: Vec<Fact>) -> Run {
        run_after(&mut self.chain, facts)
    }

    /// The next `count` facts, packed for the wire in runs of `run_facts`.
    pub fn frames(&mut self, count: usize, run_facts: usize) -> Vec<FactsFrame> {
        let mut left = count;
        let mut frames = Vec::with_capacity(count.div_ceil(run_facts));
        while left > 0 {
            let run = self.run(left.min(run_facts));
            left -= run.facts.len();
            frames.push(FactsFrame::pack(&run));
        }
        frames
    }
}

/// Makes HQ know the logs, many in one commit.
pub async fn register(hq: &Headquarters, logs: &[SiteLog]) -> Result<(), BenchError> {
    let mut registering = JoinSet::new();
    for SiteLog { site, genesis, .. } in logs {
        let (intake, site, genesis) = (hq.intake().clone(), *site, genesis.clone());
        registering.spawn(async move { intake.register(site, genesis.device, &genesis).await });
    }
    while let Some(registered) = registering.join_next().await {
        registered.within("registering logs")?.within("registering a log")?;
    }
    Ok(())
}

/// Facts as the run that follows a chain.
pub fn run_after(chain: &mut Chain, facts: Vec<Fact>) -> Run {
    let first = chain.seq().next();
    chain.extend(&facts);
    Run::new(first, facts, chain.head()).expect("every fact is a group")
}

/// The first record of a site's log.
pub fn genesis(site: SiteNo) -> Genesis {
    Genesis {
        format: FORMAT,
        site,
        device: DeviceNo(site.0 + 1),
        random: *blake3::hash(&site.0.to_le_bytes()).as_bytes(),
        public_key: signing_key(site).verifying_key().to_bytes(),
        predecessor: None,
    }
}

/// The key of a site's log.
pub fn signing_key(site: SiteNo) -> SigningKey {
    let seed = blake3::derive_key("warebook bench site key", &site.0.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

/// Says whether the books took everything as it was meant.
pub fn check(hq: &Headquarters) -> Result<(), BenchError> {
    let ledgers = hq.published().ledgers();
    if let Some((_, group)) = ledgers.books.waiting().next() {
        let why = format!("fact {} of site {} waits: {}", group.first, group.site, group.why);
        return Err(BenchError::Product { what: "posting", why });
    }
    ledgers.books.check().within("checking the books")
}
