//! A thousand sites at one HQ: what a live connection costs in memory while nothing is said and while
//! much is, and how soon all are back after HQ was killed. HQ is a process; in this one are the links of
//! all nodes, with real certificates. Invariant: HQ's memory is what its process has resident.

use std::path::Path;
use std::time::{Duration, Instant};

use edge_node::link::Network;
use tokio::task::JoinSet;

use super::figure::{Durations, Figure, each};
use super::links::{self, Node};
use super::machine::resident_bytes_of;
use super::{BenchError, Outcome, Settings, Within};
use crate::demo::stage::Headquarters;

const SITES: u32 = 1_000;
/// Movements of a site in a simulated day.
const DAY: usize = 200;
/// They come in bursts, as goods do.
const BURSTS: usize = 4;
/// Enrolments under way at a time.
const ENROLLING: usize = 16;
/// How long memory settles.
const SETTLE: Duration = Duration::from_secs(3);

/// Runs the benchmark.
pub fn run(settings: &Settings) -> Outcome {
    links::run(settings, measure)
}

async fn measure(settings: &Settings, folder: &Path) -> Outcome {
    settings.say(&format!("sites: starting HQ, enrolling {SITES} nodes"));
    let (mut hq, codes) = links::headquarters(folder, SITES).await?;
    let mut nodes = enrolled(folder, &codes, &hq).await?;
    tokio::time::sleep(SETTLE).await;
    let before = resident_bytes_of(hq.server.id())?;

    settings.say("sites: all connect, and take HQ's master data");
    let started = Instant::now();
    let linked: Vec<_> = nodes.iter().map(|node| node.link(hq.link, Network::default())).collect();
    for node in &nodes {
        node.online().await?;
    }
    let connected = started.elapsed();
    settled(&hq).await?;
    let idle = resident_bytes_of(hq.server.id())?.saturating_sub(before);

    settings.say(&format!("sites: a day of {DAY} movements each, in {BURSTS} bursts"));
    let mut bursts = Durations::default();
    for _ in 0..BURSTS {
        let started = Instant::now();
        for node in &mut nodes {
            node.record(DAY / BURSTS);
        }
        for node in &nodes {
            node.acknowledged().await?;
        }
        bursts.add(started.elapsed());
    }
    let peak = hq.server.peak_memory().unwrap_or(0);
    settled(&hq).await?;
    let after = resident_bytes_of(hq.server.id())?;
    let active = peak.saturating_sub(after);

    settings.say("sites: HQ is killed, all record meanwhile, HQ starts again");
    let died = Instant::now();
    hq.server.kill();
    for node in &mut nodes {
        node.record(DAY);
    }
    let hq = tokio::task::spawn_blocking(move || hq.restart().map(|()| hq)).await;
    let hq = hq.within("starting HQ again")??;
    let back = Instant::now();
    let mut caught_up = Durations::default();
    for node in &nodes {
        node.acknowledged().await?;
        caught_up.add(back.elapsed());
    }
    let peak_again = hq.server.peak_memory().unwrap_or(0);
    links::stop(linked).await?;
    let count = u64::from(SITES);
    let kib = |bytes: u64| each(bytes, count * 1_024);
    let started_in = back.duration_since(died);
    Ok(vec![
        Figure::new("HQ, an idle site", kib(idle), "KiB").at_most(64.0),
        Figure::new("HQ, an active site, on top", kib(active), "KiB"),
        Figure::new("all connect", milliseconds(connected), "ms"),
        Figure::new("a burst of 50 each acknowledged, p50", bursts.milliseconds(500), "ms"),
        Figure::new("HQ starts again", milliseconds(started_in), "ms"),
        Figure::new("half of 200 each acknowledged then", caught_up.milliseconds(500), "ms"),
        Figure::new("all acknowledged then", caught_up.milliseconds(1_000), "ms"),
        Figure::new("HQ's peak while all come back", each(peak_again, 1 << 20), "MiB"),
    ])
}

fn milliseconds(elapsed: Duration) -> f64 {
    let mut durations = Durations::default();
    durations.add(elapsed);
    durations.milliseconds(1_000)
}

async fn enrolled(
    folder: &Path,
    codes: &[String],
    hq: &Headquarters,
) -> Result<Vec<Node>, BenchError> {
    let mut nodes = Vec::new();
    let mut enrolling = JoinSet::new();
    for (number, code) in codes.iter().enumerate() {
        let (folder, code, hq) = (folder.join(format!("node-{number}")), code.clone(), hq.link);
        enrolling.spawn(async move { Node::enrol(folder, &code, hq).await });
        if enrolling.len() == ENROLLING
            && let Some(done) = enrolling.join_next().await
        {
            nodes.push(done.within("enrolling")??);
        }
    }
    while let Some(done) = enrolling.join_next().await {
        nodes.push(done.within("enrolling")??);
    }
    Ok(nodes)
}

/// Waits until HQ's memory moves no more.
async fn settled(hq: &Headquarters) -> Result<(), BenchError> {
    let mut known = resident_bytes_of(hq.server.id())?;
    loop {
        tokio::time::sleep(SETTLE).await;
        let now = resident_bytes_of(hq.server.id())?;
        if now.abs_diff(known) < 1 << 20 {
            return Ok(());
        }
        known = now;
    }
}
