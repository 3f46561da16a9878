//! Where the time of a posted fact goes: every stage of HQ's path alone, on one thread, over the
//! same facts. Knows what the stages are; the path itself is in `hq_post`.

use std::time::{Duration, Instant};

use hq_server::books::{Books, Entry, Run};
use hq_server::gateway::intake::LogNo;
use hq_server::headquarters::Headquarters;
use hq_server::report::tally::Tally;
use hq_server::sequencer::Feed;
use hq_server::store::{Record, RedbStore, RunEntry, SequenceEntry, Store};
use redb::backends::InMemoryBackend;
use shared::fact::Fact;
use shared::fact::effective::LogRank;
use shared::ids::{HistoryId, LogId, Seq, SiteNo};
use shared::segment::chain::Chain;
use shared::segment::{columns, packing};
use shared::sync::{self, FactsFrame};
use shared::time::Timestamp;
use tokio::runtime::Runtime;

use super::company::{Hands, SiteLog, headquarters};
use super::figure::{Figure, nanoseconds_each};
use super::mix::Shape;
use super::{BenchError, Outcome, Settings, Within};

const SITES: u32 = 64;
/// (facts of a run, facts of a commit).
const CUTS: [(usize, usize); 2] = [(1_000, 16_000), (1, 1_000)];
/// Facts for five seconds of measuring.
const FACTS: usize = 320_000;
const CACHE_BYTES: usize = 64 << 20;

/// Times every stage.
pub fn run(settings: &Settings, runtime: &Runtime) -> Outcome {
    let folder = settings.scratch()?;
    let hq = runtime.block_on(headquarters(&folder.path().join("hq"), SITES, &Hands::default()))?;
    let mut figures = Vec::new();
    for (run, commit) in CUTS {
        settings.say(&format!("hq-post: stages at runs of {run}, {commit} facts a commit"));
        let path = folder.path().join(format!("stages-{run}.redb"));
        figures.extend(stages(settings, &hq, run, commit, &path)?);
    }
    runtime.block_on(hq.close());
    Ok(figures)
}

/// A frame on its way, and whose it is.
struct Sent {
    site: SiteNo,
    log: LogId,
    frame: FactsFrame,
}

/// The same, unpacked.
struct Taken {
    site: SiteNo,
    log: LogId,
    run: sync::Run,
}

fn stages(
    settings: &Settings,
    hq: &Headquarters,
    run: usize,
    commit: usize,
    path: &std::path::Path,
) -> Outcome {
    let sent = frames(settings, run);
    let (decode, taken) = decode(sent)?;
    let facts: u64 = taken.iter().map(|taken| taken.run.facts.len() as u64).sum();
    let chain = chain(&taken);
    let pack = pack(&taken, run, commit);
    let (fold, notes, records) = fold(hq, &taken)?;
    let per_append = (commit / run).max(1);
    let memory = RedbStore::open_backend(InMemoryBackend::new(), HistoryId([1; 32]));
    let encoding = append(&memory.within("making a store")?, &records, per_append)?;
    let file = RedbStore::create(path, HistoryId([1; 32]), CACHE_BYTES).within("making a store")?;
    let durable = append(&file, &records, per_append)?;
    let stages = [
        ("decode", decode),
        ("chain", chain),
        ("pack for the intake's rows", pack),
        ("fold", fold),
        ("feed and tally", notes),
        ("blocks and indexes, in memory", encoding),
        ("commit of the books, fdatasync included", durable.saturating_sub(encoding)),
    ];
    let figure = |(stage, elapsed)| {
        let metric = format!("runs of {run}: {stage}");
        Figure::new(metric, nanoseconds_each(elapsed, facts), "ns/fact")
    };
    Ok(stages.into_iter().map(figure).collect())
}

/// Runs of all sites in turn.
fn frames(settings: &Settings, run: usize) -> Vec<Sent> {
    let tenths = usize::try_from(settings.measure.as_millis() / 100).unwrap_or(usize::MAX).max(1);
    let of_site = (FACTS * tenths / 50 / SITES as usize / run).max(1);
    let mut logs: Vec<SiteLog> =
        (1..=SITES).map(|site| SiteLog::new(SiteNo(site), Shape::default())).collect();
    let mut sent = Vec::new();
    for _ in 0..of_site {
        for log in &mut logs {
            for frame in log.frames(run, run) {
                sent.push(Sent { site: log.site, log: log.log(), frame });
            }
        }
    }
    sent
}

fn decode(sent: Vec<Sent>) -> Result<(Duration, Vec<Taken>), BenchError> {
    let mut taken = Vec::with_capacity(sent.len());
    let started = Instant::now();
    for Sent { site, log, frame } in sent {
        taken.push(Taken { site, log, run: frame.unpack().within("reading a frame")? });
    }
    Ok((started.elapsed(), taken))
}

fn chain(taken: &[Taken]) -> Duration {
    let mut chains = std::collections::BTreeMap::new();
    let started = Instant::now();
    for Taken { log, run, .. } in taken {
        let chain = chains.entry(*log).or_insert_with(|| Chain::start(*log));
        chain.extend(&run.facts);
        assert_eq!(chain.head(), run.head, "what was packed unpacks the same");
    }
    started.elapsed()
}

/// The intake packs what a log brings within one commit as one piece.
fn pack(taken: &[Taken], run: usize, commit: usize) -> Duration {
    let mut elapsed = Duration::ZERO;
    for commit in taken.chunks((commit / run).max(1)) {
        let mut pieces: std::collections::BTreeMap<LogId, Vec<Fact>> =
            std::collections::BTreeMap::default();
        for Taken { log, run, .. } in commit {
            pieces.entry(*log).or_default().extend_from_slice(&run.facts);
        }
        let started = Instant::now();
        for facts in pieces.values() {
            std::hint::black_box(packing::pack(&columns::encode(facts)));
        }
        elapsed += started.elapsed();
    }
    elapsed
}

fn fold(
    hq: &Headquarters,
    taken: &[Taken],
) -> Result<(Duration, Duration, Vec<Record>), BenchError> {
    let received_at = hq.clock().now();
    let mut books = books(hq)?;
    let (mut feed, mut tally) = (Feed::default(), Tally::new());
    let (mut fold, mut notes) = (Duration::ZERO, Duration::ZERO);
    let mut records = Vec::with_capacity(taken.len());
    for (number, Taken { site, log, run }) in taken.iter().enumerate() {
        let started = Instant::now();
        let entry = Run {
            site: *site,
            log: LogRank::of(log),
            first: run.first,
            received_at,
            facts: &run.facts,
        };
        let effects = books.apply(&Entry::Run(entry));
        let folded = started.elapsed();
        let released = !effects.released.is_empty();
        std::hint::black_box(feed.after_entry(&books, *site, &run.facts, released));
        tally.note(&books, number as u64, received_at, &effects.vouchers, released);
        notes += started.elapsed().saturating_sub(folded);
        fold += folded;
        records.push(Record {
            entry: SequenceEntry::Run(RunEntry {
                log: LogNo(site.0),
                first: run.first,
                last: run.last,
                head: run.head,
                received_at,
            }),
            vouchers: effects.vouchers,
            waiting: effects.waiting,
            released: effects.released,
        });
    }
    Ok((fold, notes, records))
}

/// Books that know what HQ has stated.
pub(super) fn books(hq: &Headquarters) -> Result<Books, BenchError> {
    let log = hq.own_log().log();
    let intake = hq.intake();
    let (no, position) = (intake.log_no(&log), intake.cursor(&log));
    let (no, last) = no.zip(position).map(|(no, at)| (no, at.last)).expect("HQ has a log");
    let facts = intake.facts(no, Seq(1), last).within("reading HQ's own log")?;
    let mut books = Books::new();
    books.apply(&Entry::Run(Run {
        site: SiteNo::HQ,
        log: LogRank::of(&log),
        first: Seq(1),
        received_at: Timestamp(0),
        facts: &facts,
    }));
    Ok(books)
}

fn append(
    store: &dyn Store,
    records: &[Record],
    per_append: usize,
) -> Result<Duration, BenchError> {
    let started = Instant::now();
    for records in records.chunks(per_append) {
        store.append(records).within("appending to the sequence")?;
    }
    Ok(started.elapsed())
}
