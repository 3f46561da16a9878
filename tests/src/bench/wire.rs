//! Bytes of one movement: on the wire, in the edge's file, in HQ's two files. Runs in memory where
//! there is a file system for it: bytes do not depend on the disk. Invariant: file sizes are
//! allocated pages, so that indexes, postings and waste are in them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use edge_node::bundle::{Bundles, Keys, Since};
use edge_node::journal::{Clock, IdempotencyKey, Journal};
use edge_node::link::Wall;
use hq_server::gateway::keyed_state::{Audience, KeyedState, News};
use hq_server::headquarters::Headquarters;
use shared::fact::Fact;
use shared::ids::{HistoryId, ItemNo, LogId, Seq, SiteNo};
use shared::segment::chain::Chain;
use shared::segment::seal::SignedSeal;
use shared::sync::{FactsFrame, Frame, Run, StateCursor, limits};
use shared::time::Timestamp;

use super::company::{self, Hands, headquarters};
use super::edge_record::{self, journal, record};
use super::figure::{Figure, each};
use super::mix::{self, Mix, Shape};
use super::{BenchError, Outcome, Settings, Within};

const SITE: SiteNo = SiteNo(1);
const MOVEMENTS: u64 = 100_000;
const BATCHES: [usize; 4] = [1, 100, 1_000, 10_000];
/// What a file carries that is made now and then.
const CARRIED: u64 = 10_000;
/// The batch that the aims are for.
const AIMED: usize = 1_000;
/// A frame holds a segment at most.
const FRAME_FACTS_MAX: usize = shared::segment::SEGMENT_FACTS_MAX;
/// What HQ has, and what sites handle of it.
const HQ_ITEMS: u32 = 100_000;
const HANDLED: [u32; 3] = [100, 1_000, 10_000];
const MEMORY: &str = "/dev/shm";

/// Runs the benchmark.
pub fn run(settings: &Settings) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let mut figures = Vec::new();
    settings.say(&format!("wire: {MOVEMENTS} movements recorded one by one"));
    let plain = Recorded::new(settings, Shape::default(), false)?;
    for batch in BATCHES {
        settings.say(&format!("wire: sent to HQ in batches of {batch}"));
        let wire = each(plain.wire_bytes(batch), MOVEMENTS);
        let (intake, books) = runtime.block_on(plain.hq_bytes(settings, batch))?;
        let (both, intake, books) =
            (each(intake + books, MOVEMENTS), each(intake, MOVEMENTS), each(books, MOVEMENTS));
        let of = |what: &str| format!("{what}, batches of {batch}");
        let (mut wire, mut both) =
            (Figure::new(of("wire"), wire, "B"), Figure::new(of("HQ's files"), both, "B"));
        if batch == AIMED {
            (wire, both) = (wire.at_most(7.0), both.at_most(25.0));
        }
        figures.extend([wire, both]);
        figures.push(Figure::new(of("HQ, intake file"), intake, "B"));
        figures.push(Figure::new(of("HQ, books file"), books, "B"));
    }
    let alone: u64 = plain.frames(1).map(|frame| frame.packed.len() as u64).sum();
    figures.push(
        Figure::new("payload of a live single one", each(alone, MOVEMENTS), "B").at_most(16.0),
    );
    let carried = each(plain.bundle_bytes, CARRIED);
    figures.push(Figure::new(format!("a bundle of {CARRIED}"), carried, "B").at_most(7.0));
    figures.push(Figure::new("edge's file", each(plain.edge_bytes, MOVEMENTS), "B").at_most(12.0));
    figures.push(Figure::new(
        "edge's file, its rows alone",
        each(plain.edge_stored, MOVEMENTS),
        "B",
    ));
    figures.extend(variants(settings, &runtime)?);
    figures.extend(first_syncs(settings));
    Ok(figures)
}

/// What HQ sends a new site that handles some of its items.
fn first_syncs(settings: &Settings) -> Vec<Figure> {
    settings.say(&format!("wire: first syncs of sites that handle some of {HQ_ITEMS} items"));
    let mut state = KeyedState::new(&HistoryId([9; 32]));
    let site = |handled: u32| SiteNo(handled);
    for handled in HANDLED {
        state.take(News::HandledOnly(site(handled), true));
    }
    for data in mix::items(HQ_ITEMS) {
        state.put(Audience::of(&data), edge_record::told(data));
    }
    let mut figures = Vec::new();
    for handled in HANDLED {
        for number in (1..=HQ_ITEMS).step_by((HQ_ITEMS / handled) as usize) {
            state.take(News::Handles(site(handled), ItemNo(number)));
        }
        let bytes = state_bytes(&state, site(handled));
        let figure = Figure::count(format!("first sync, {handled} items handled"), bytes, "B");
        figures.push(figure);
    }
    let all = state_bytes(&state, SiteNo(7));
    figures.push(Figure::count(format!("first sync, all {HQ_ITEMS} items"), all, "B"));
    figures
}

fn state_bytes(state: &KeyedState, site: SiteNo) -> u64 {
    let key = company::signing_key(SiteNo::HQ);
    let (mut cursor, mut bytes) = (StateCursor::START, 0);
    while let Some(batch) = state.since(site, cursor, limits::STATE_FACTS_MAX) {
        cursor = batch.to;
        bytes += Frame::State(batch.sign(&key)).encode().len() as u64;
    }
    bytes
}

/// What the mix leaves out, each alone.
fn variants(settings: &Settings, runtime: &tokio::runtime::Runtime) -> Outcome {
    settings.say("wire: the mix with keys, numbered by use, and with prices and partners");
    let keyed = Recorded::new(settings, Shape::default(), true)?;
    let by_use = Shape { numbered_by_use: true, ..Shape::default() };
    let by_use = Recorded::new(settings, by_use, false)?;
    let priced = Recorded::new(settings, Shape { priced: true, ..Shape::default() }, false)?;
    let (intake, books) = runtime.block_on(priced.hq_bytes(settings, AIMED))?;
    let figure = |what: &str, bytes| Figure::new(what, each(bytes, MOVEMENTS), "B");
    Ok(vec![
        figure("edge's file, a client's key each", keyed.edge_bytes),
        figure("wire, items numbered by use, batches of 1000", by_use.wire_bytes(AIMED)),
        figure("wire, prices and partners, batches of 1000", priced.wire_bytes(AIMED)),
        figure("edge's file, prices and partners", priced.edge_bytes),
        figure("HQ's files, prices and partners, batches of 1000", intake + books),
    ])
}

/// A clock that stands at the next movement's time.
#[derive(Debug, Default)]
struct MixClock {
    now: AtomicI64,
}

impl Clock for MixClock {
    fn now(&self) -> Timestamp {
        Timestamp(mix::START.0 + self.steady_ms())
    }

    fn steady_ms(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }
}

/// A log that an edge node recorded, and how large its file became.
struct Recorded {
    log: LogId,
    facts: Vec<Fact>,
    seals: Vec<SignedSeal>,
    edge_bytes: u64,
    edge_stored: u64,
    bundle_bytes: u64,
}

impl Recorded {
    fn new(settings: &Settings, shape: Shape, keyed: bool) -> Result<Self, BenchError> {
        let folder = scratch(settings)?;
        let clock = Arc::new(MixClock::default());
        let journal = journal(folder.path(), Arc::clone(&clock) as Arc<dyn Clock>)?;
        journal.seal_now_blocking().within("sealing")?;
        let before = allocated(&journal, folder.path())?;
        let journal = reopened(folder.path(), &clock)?;
        let mut mix = Mix::new(1, shape);
        // A twin draws the times ahead: the clock must stand there when the journal looks at it.
        let mut twin = Mix::new(1, shape);
        for number in 0..MOVEMENTS {
            clock.now.fetch_add(twin.draw().after_ms, Ordering::Relaxed);
            let key = keyed.then(|| {
                let key = format!("scanner-1/{number}");
                IdempotencyKey::new(&key, key.as_bytes())
            });
            record(&journal, &mut mix, key)?;
        }
        journal.seal_now_blocking().within("sealing")?;
        let log = journal.log();
        let mut facts = Vec::new();
        let read = journal.for_each_fact(Seq(1), |_, fact| {
            facts.push(fact.clone());
            std::ops::ControlFlow::Continue(())
        });
        read.within("reading the journal")?;
        let seals = journal.seals_from(Seq(1), usize::MAX).within("reading seals")?;
        let bundle_bytes = bundle_bytes(&journal)?;
        let after = allocated(&journal, folder.path())?;
        Ok(Self {
            log,
            facts,
            seals,
            edge_bytes: after.0 - before.0,
            edge_stored: after.1 - before.1,
            bundle_bytes,
        })
    }

    /// The facts in runs of `batch`, as many as frames take.
    fn runs(&self, batch: usize) -> impl Iterator<Item = Run> {
        let mut chain = Chain::start(self.log);
        let parts = self.facts.chunks(batch).flat_map(|batch| batch.chunks(FRAME_FACTS_MAX));
        parts.map(move |facts| company::run_after(&mut chain, facts.to_vec()))
    }

    /// The frames of one connection that carry them.
    fn frames(&self, batch: usize) -> impl Iterator<Item = FactsFrame> {
        let mut before = None;
        self.runs(batch).map(move |mut run| {
            let frame = FactsFrame::pack_after(&run, before.as_ref());
            before = run.facts.pop();
            frame
        })
    }

    /// What leaves the node for all facts: their frames, and the seals that its journal made.
    fn wire_bytes(&self, batch: usize) -> u64 {
        let facts = self.frames(batch).map(|frame| Frame::Facts(frame).encode().len() as u64);
        let seals = self.seals.iter().map(|seal| Frame::Seal(*seal).encode().len() as u64);
        facts.chain(seals).sum()
    }

    /// What HQ's intake and books file grow by, where each batch is posted before the next comes.
    async fn hq_bytes(&self, settings: &Settings, batch: usize) -> Result<(u64, u64), BenchError> {
        let folder = scratch(settings)?;
        let hands = Hands::default();
        hands.set(mix::START);
        let hq = headquarters(&folder.path().join("hq"), 1, &hands).await?;
        let genesis = company::genesis(SITE);
        let registered = hq.intake().register(SITE, genesis.device, &genesis).await;
        registered.within("registering a log")?;
        let sizes = |hq: &Headquarters| -> Result<(u64, u64), BenchError> {
            let intake = hq.intake().size().within("measuring the intake file")?;
            let books = hq.store().size().within("measuring the books file")?;
            Ok((intake.0, books.0))
        };
        let before = sizes(&hq)?;
        let mut posted = hq.intake().posted(&self.log).expect("just registered");
        let mut seals = self.seals.iter().peekable();
        let mut taken = 0;
        for run in self.runs(batch) {
            let recorded =
                run.facts.last().and_then(|fact| shared::fact::field::RECORDED_AT.of(fact));
            // The network takes a while, and never the same.
            hands.set(Timestamp(recorded.unwrap_or(0) + 20 + i64::from(run.head.0[0])));
            taken += run.facts.len();
            let (last, ends_batch) =
                (run.last, taken.is_multiple_of(batch) || taken == self.facts.len());
            let accepted = hq.intake().accept(&self.log, run.first, run.facts, run.head).await;
            accepted.within("handing facts to HQ")?;
            if ends_batch {
                posted.wait_for(|posted| *posted >= last).await.within("posting")?;
            }
            while let Some(seal) = seals.next_if(|signed| signed.seal.last <= last) {
                hq.intake().accept_seal(*seal).await.within("handing a seal to HQ")?;
            }
        }
        company::check(&hq)?;
        let after = sizes(&hq)?;
        hq.close().await;
        Ok((after.0 - before.0, after.1 - before.1))
    }
}

/// The size of a file for HQ with the newest movements.
fn bundle_bytes(journal: &Journal) -> Result<u64, BenchError> {
    let hq = company::signing_key(SiteNo::HQ).verifying_key();
    let keys = Keys { own: company::signing_key(SITE), hq, history: HistoryId([0; 32]) };
    let bundles = Bundles::new(journal.clone(), keys, Wall::from_fn(|| mix::START));
    let export = bundles.export(Since::Fact(Seq(MOVEMENTS - CARRIED))).within("making a bundle")?;
    export.write(&mut std::io::sink()).within("writing a bundle")
}

fn scratch(settings: &Settings) -> Result<tempfile::TempDir, BenchError> {
    let memory = tempfile::Builder::new().prefix("warebook-bench-").tempdir_in(MEMORY);
    memory.or_else(|_| settings.scratch())
}

fn reopened(folder: &Path, clock: &Arc<MixClock>) -> Result<Journal, BenchError> {
    let mut options = edge_node::journal::Options::new(Some(company::signing_key(SITE)));
    options.clock = Arc::clone(clock) as Arc<dyn Clock>;
    Journal::open(&folder.join("journal.redb"), options).within("opening a journal")
}

/// Closes a journal and says how much room its pages take, and its rows in them.
fn allocated(journal: &Journal, folder: &Path) -> Result<(u64, u64), BenchError> {
    journal.close_blocking().within("closing a journal")?;
    let database = redb::Database::open(folder.join("journal.redb")).within("opening a file")?;
    let transaction = database.begin_write().within("reading a file")?;
    let stats = transaction.stats().within("measuring a file")?;
    let sizes = (stats.allocated_pages() * stats.page_size() as u64, stats.stored_bytes());
    transaction.abort().within("reading a file")?;
    Ok(sizes)
}
