//! Facts a second from frames as they come off the wire to durable postings, through HQ's real
//! path: frame, intake, sequence, books, store. Invariant: the time ends when the books' commit of
//! the last fact is durable, and the books that come of it prove.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hq_server::headquarters::Headquarters;
use hq_server::own_log::Group;
use hq_server::sequencer::Event;
use shared::fact::statement::CostScope;
use shared::ids::{LogId, Seq, SiteNo};
use shared::sync::FactsFrame;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use super::company::{self, Hands, SiteLog, headquarters_with};
use super::figure::{Figure, each, per_second, share};
use super::machine::thread_nanoseconds;
use super::mix::{self, Shape};
use super::trade::{self, Trade};
use super::{BenchError, Outcome, Settings, Within, postgresql, stages};

/// Threads that read frames, as many as the machine for the figures has cores.
const READERS: usize = 2;
const READER_NAME: &str = "gateway";
/// What is sent before the clock runs: pools are there, memory and files have grown.
const WARM_RUN: usize = 1_000;

/// One way of sending.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Facts of a run.
    run: usize,
    /// Sites that send at the same time, each one run after the other.
    sites: u32,
    /// Facts of each site before the clock runs.
    warm: usize,
    /// Facts of each site for five seconds of measuring.
    facts: usize,
    goods: Goods,
    aim: Option<f64>,
}

/// What the sites write, and how it is costed.
#[derive(Clone, Copy, Debug)]
enum Goods {
    /// The mix, at moving average by site.
    Mix(Shape),
    /// Everything, while HQ states the bills of what was sent before the clock runs. Sites begin up
    /// to so many hours apart.
    Trade { scope: CostScope, apart_hours: i64 },
}

const PLAIN: Goods = Goods::Mix(Shape { priced: false, numbered_by_use: false });
const PRICED: Goods = Goods::Mix(Shape { priced: true, numbered_by_use: false });
const TRADE: Goods = Goods::Trade { scope: CostScope::Site, apart_hours: 0 };
const ONE_POOL: Goods = Goods::Trade { scope: CostScope::Company, apart_hours: 48 };
/// HQ states so many bills at a time, and one for so many facts of sites: a person's hand is slower
/// than a site's.
const BILLS: usize = 8_192;
const FACTS_A_BILL: usize = 12;

const LOADS: [Load; 7] = [
    Load { run: 1, sites: 2_000, warm: 50, facts: 100, goods: PLAIN, aim: Some(100_000.0) },
    Load { run: 10, sites: 256, warm: 500, facts: 2_000, goods: PLAIN, aim: None },
    Load { run: 100, sites: 64, warm: 2_000, facts: 12_000, goods: PLAIN, aim: None },
    Load { run: 1_000, sites: 64, warm: 2_000, facts: 16_000, goods: PLAIN, aim: Some(300_000.0) },
    Load { run: 1_000, sites: 64, warm: 2_000, facts: 12_000, goods: PRICED, aim: None },
    Load { run: 1_000, sites: 64, warm: 4_000, facts: 8_000, goods: TRADE, aim: Some(200_000.0) },
    Load {
        run: 1_000,
        sites: 64,
        warm: 4_000,
        facts: 8_000,
        goods: ONE_POOL,
        aim: Some(200_000.0),
    },
];

/// What one load came to.
struct Posted {
    facts: u64,
    vouchers: u64,
    commits: u64,
    elapsed: Duration,
    /// Processor time by thread.
    threads: [(&'static str, u64); 3],
}

/// Runs the benchmark.
pub fn run(settings: &Settings) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(READERS)
        .thread_name(READER_NAME)
        .enable_time()
        .build()?;
    let mut figures = Vec::new();
    let mut rates = Vec::new();
    for load in LOADS {
        let load = scaled(load, settings.measure);
        let posted = post(settings, &runtime, load)?;
        let name = name(load);
        let rate = per_second(posted.facts, posted.elapsed);
        rates.push(rate);
        let mut figure = Figure::new(&name, rate, "facts/s");
        figure.aim = load.aim.map(super::figure::Aim::AtLeast);
        figures.push(figure);
        figures.push(Figure::new(
            format!("{name}, in one commit"),
            each(posted.facts, posted.commits),
            "facts",
        ));
        for (thread, nanoseconds) in posted.threads {
            let metric = format!("{name}, {thread}");
            figures.push(Figure::new(metric, each(nanoseconds, posted.facts), "cpu ns/fact"));
        }
        assert!(posted.vouchers > 0, "what is posted makes vouchers");
    }
    figures.extend(stages::run(settings, &runtime)?);
    match postgresql::run(settings) {
        Ok((of_postgresql, best)) => {
            figures.extend(of_postgresql);
            let metric = "runs of 1000 to PostgreSQL's best";
            figures.push(Figure::new(metric, share(rates[3], best), "times"));
        }
        Err(error) => settings.say(&format!("hq-post: PostgreSQL is left out: {error}")),
    }
    Ok(figures)
}

fn name(load: Load) -> String {
    let Load { run, sites, goods, .. } = load;
    let what = match goods {
        Goods::Mix(Shape { priced: false, .. }) => "",
        Goods::Mix(_) => ", with prices and partners",
        Goods::Trade { scope: CostScope::Site, .. } => ", everything",
        Goods::Trade { scope: CostScope::Company, .. } => ", everything, one pool for all sites",
    };
    format!("runs of {run}, {sites} sites{what}")
}

/// As many facts as about the wanted time takes; whole runs.
fn scaled(load: Load, measure: Duration) -> Load {
    let tenths = usize::try_from(measure.as_millis() / 100).unwrap_or(usize::MAX).max(1);
    let runs = (load.facts * tenths / 50 / load.run).max(1);
    Load { facts: runs * load.run, ..load }
}

fn post(settings: &Settings, runtime: &Runtime, load: Load) -> Result<Posted, BenchError> {
    settings.say(&format!("hq-post: {}", name(load)));
    let folder = settings.scratch()?;
    runtime.block_on(async {
        let (scope, master_data) = match load.goods {
            Goods::Mix(_) => (CostScope::Site, mix::master_data()),
            Goods::Trade { scope, .. } => (scope, trade::master_data()),
        };
        let folder = folder.path().join("hq");
        let hq =
            headquarters_with(&folder, load.sites, scope, master_data, &Hands::default()).await?;
        let mut sites = Sites::new(load);
        company::register(&hq, &sites.logs).await?;
        let warm = sites.frames(load.warm, WARM_RUN);
        send(&hq, warm).await?;
        let mut bills = sites.bills();
        bills.truncate(load.sites as usize * load.facts / FACTS_A_BILL);
        let measured = sites.frames(load.facts, load.run);
        let facts = u64::from(load.sites) * load.facts as u64 + bills.len() as u64;
        let counted = tokio::spawn(count(hq.published().events()));
        let before = threads()?;
        let started = Instant::now();
        tokio::try_join!(send(&hq, measured), state(&hq, bills))?;
        let elapsed = started.elapsed();
        let after = threads()?;
        company::check(&hq)?;
        hq.close().await;
        drop(hq);
        let (commits, vouchers) = counted.await.within("counting commits")?;
        let mut threads = after;
        for ((_, now), (_, then)) in threads.iter_mut().zip(before) {
            *now -= then;
        }
        Ok(Posted { facts, vouchers, commits, elapsed, threads })
    })
}

/// Those who write.
struct Sites {
    logs: Vec<SiteLog>,
    /// Who writes for all of them, where what they write hangs together.
    trade: Option<Trade>,
}

impl Sites {
    fn new(load: Load) -> Self {
        let (shape, trade) = match load.goods {
            Goods::Mix(shape) => (shape, None),
            Goods::Trade { apart_hours, .. } => {
                (Shape::default(), Some(Trade::new(load.sites, apart_hours)))
            }
        };
        let logs = (1..=load.sites).map(|site| SiteLog::new(SiteNo(site), shape)).collect();
        Self { logs, trade }
    }

    /// The next facts of every site, packed for the wire in runs.
    fn frames(&mut self, facts: usize, run: usize) -> Sending {
        let mut frames: Vec<Vec<FactsFrame>> = vec![Vec::new(); self.logs.len()];
        match &mut self.trade {
            None => {
                for (log, frames) in self.logs.iter_mut().zip(&mut frames) {
                    *frames = log.frames(facts, run);
                }
            }
            // In turn: what one site ships another receives.
            Some(trade) => {
                for start in (0..facts).step_by(run) {
                    for (log, frames) in self.logs.iter_mut().zip(&mut frames) {
                        let facts = trade.write(log.site, run.min(facts - start));
                        frames.push(FactsFrame::pack(&log.append(facts)));
                    }
                }
            }
        }
        let sent = |(log, frames): (&SiteLog, _)| (log.log(), log.last(), frames);
        self.logs.iter().zip(frames).map(sent).collect()
    }

    /// What HQ has to state about what was written.
    fn bills(&mut self) -> Vec<Group> {
        self.trade.as_mut().map(Trade::bills).unwrap_or_default()
    }
}

/// HQ's own statements, until they are in the books.
async fn state(hq: &Headquarters, bills: Vec<Group>) -> Result<(), BenchError> {
    for bills in bills.chunks(BILLS) {
        let bills = bills.to_vec();
        let recorded = hq.own_log().record(|_, _| Ok::<_, std::fmt::Error>((bills, ())));
        recorded.await.within("stating bills")?;
    }
    Ok(())
}

/// What every site sends, with the place of its last fact.
type Sending = Vec<(LogId, Seq, Vec<FactsFrame>)>;

/// Every site sends one run after the other, and goes on once the last one is durable, as a session
/// of the link does. Done when everything is in the books.
async fn send(hq: &Headquarters, sending: Sending) -> Result<(), BenchError> {
    let mut sites = JoinSet::new();
    for (log, last, frames) in sending {
        let intake = hq.intake().clone();
        sites.spawn(async move {
            for frame in frames {
                let run = frame.unpack().within("reading a frame")?;
                let accepted = intake.accept(&log, run.first, run.facts, run.head).await;
                accepted.within("handing facts to HQ")?;
            }
            let mut posted = intake.posted(&log).expect("every log is registered");
            posted.wait_for(|posted| *posted >= last).await.map(drop).within("posting")
        });
    }
    while let Some(done) = sites.join_next().await {
        done.within("sending")??;
    }
    Ok(())
}

/// Counts commits and vouchers until HQ is closed.
async fn count(mut events: broadcast::Receiver<Arc<Event>>) -> (u64, u64) {
    let (mut commits, mut vouchers) = (0, 0);
    loop {
        match events.recv().await {
            Ok(event) => {
                commits += 1;
                vouchers += event.vouchers as u64;
            }
            Err(RecvError::Lagged(missed)) => commits += missed,
            Err(RecvError::Closed) => return (commits, vouchers),
        }
    }
}

fn threads() -> Result<[(&'static str, u64); 3], BenchError> {
    let of = |name| thread_nanoseconds(name).map(|nanoseconds| (name, nanoseconds));
    Ok([of(READER_NAME)?, of("intake")?, of("sequencer")?])
}
