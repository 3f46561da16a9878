//! Facts a second from frames as they come off the wire to durable postings, through HQ's real
//! path: frame, intake, sequence, books, store. Invariant: the time ends when the books' commit of
//! the last fact is durable, and the books that come of it prove.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hq_server::headquarters::Headquarters;
use hq_server::sequencer::Event;
use shared::ids::{LogId, Seq, SiteNo};
use shared::sync::FactsFrame;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use super::company::{self, Hands, SiteLog, headquarters};
use super::figure::{Figure, each, per_second, share};
use super::machine::thread_nanoseconds;
use super::mix::Shape;
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
    shape: Shape,
    aim: Option<f64>,
}

const PLAIN: Shape = Shape { priced: false, numbered_by_use: false };
const PRICED: Shape = Shape { priced: true, numbered_by_use: false };

const LOADS: [Load; 5] = [
    Load { run: 1, sites: 2_000, warm: 50, facts: 100, shape: PLAIN, aim: Some(100_000.0) },
    Load { run: 10, sites: 256, warm: 500, facts: 2_000, shape: PLAIN, aim: None },
    Load { run: 100, sites: 64, warm: 2_000, facts: 12_000, shape: PLAIN, aim: None },
    Load { run: 1_000, sites: 64, warm: 2_000, facts: 16_000, shape: PLAIN, aim: Some(300_000.0) },
    Load { run: 1_000, sites: 64, warm: 2_000, facts: 12_000, shape: PRICED, aim: None },
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
    let Load { run, sites, shape, .. } = load;
    let priced = if shape.priced { ", with prices and partners" } else { "" };
    format!("runs of {run}, {sites} sites{priced}")
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
        let hq = headquarters(&folder.path().join("hq"), load.sites, &Hands::default()).await?;
        let mut logs: Vec<SiteLog> =
            (1..=load.sites).map(|site| SiteLog::new(SiteNo(site), load.shape)).collect();
        company::register(&hq, &logs).await?;
        let warm = frames(&mut logs, load.warm, WARM_RUN);
        send(&hq, warm).await?;
        let measured = frames(&mut logs, load.facts, load.run);
        let counted = tokio::spawn(count(hq.published().events()));
        let before = threads()?;
        let started = Instant::now();
        send(&hq, measured).await?;
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
        let facts = u64::from(load.sites) * load.facts as u64;
        Ok(Posted { facts, vouchers, commits, elapsed, threads })
    })
}

/// What every site sends, with the place of its last fact.
type Sending = Vec<(LogId, Seq, Vec<FactsFrame>)>;

fn frames(logs: &mut [SiteLog], facts: usize, run: usize) -> Sending {
    let frames = |log: &mut SiteLog| {
        let frames = log.frames(facts, run);
        (log.log(), log.last(), frames)
    };
    logs.iter_mut().map(frames).collect()
}

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
