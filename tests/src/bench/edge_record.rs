//! Durable movements a second at the edge, through the journal's real record path, beside the disk
//! itself and a bare store in the same run. Invariant: all four measure the same folder in turns,
//! so that a slow minute of the disk slows each of them.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_node::journal::{Clock, IdempotencyKey, Journal, Line, Options, Submission, SystemClock};
use redb::{Database, TableDefinition};
use shared::fact::Fact;
use shared::fact::statement::{CostScope, MasterData, Stamp, Statement};
use shared::ids::{Capture, CompanyNo, DeviceNo, SiteNo};
use shared::sync::{StateBatch, StateCursor};

use super::figure::{Durations, Figure, per_second, share};
use super::mix::{self, Mix, Shape};
use super::{BenchError, Outcome, Settings, Within, company};

const SITE: SiteNo = SiteNo(1);
const MANY: usize = 32;
/// Each contender gets its turn so often.
const ROUNDS: u32 = 4;
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
const ROW: [u8; 100] = [0x5a; 100];
/// As the journal's own default.
const CACHE_BYTES: usize = 32 << 20;

/// What one contender did in all its turns.
#[derive(Default)]
struct Turns {
    durations: Durations,
    elapsed: Duration,
}

impl Turns {
    fn rate(&self) -> f64 {
        per_second(self.durations.count(), self.elapsed)
    }

    fn figures(mut self, name: &str, unit: &'static str) -> [Figure; 3] {
        let rate = self.rate();
        [
            Figure::new(name, rate, unit),
            Figure::new(format!("{name}, p50"), self.durations.milliseconds(500), "ms"),
            Figure::new(format!("{name}, p99"), self.durations.milliseconds(990), "ms"),
        ]
    }

    /// Does `work` again and again for one turn.
    fn take(
        &mut self,
        turn: Duration,
        mut work: impl FnMut() -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let started = Instant::now();
        while started.elapsed() < turn {
            let before = Instant::now();
            work()?;
            self.durations.add(before.elapsed());
        }
        self.elapsed += started.elapsed();
        Ok(())
    }
}

/// Runs the benchmark.
pub fn run(settings: &Settings) -> Outcome {
    let folder = settings.scratch()?;
    let turn = settings.measure / ROUNDS;
    settings.say("edge-record: fdatasync, bare redb, journal with 1 and 32 writers, in turns");
    let mut file = Appended::create(&folder.path().join("appended"))?;
    let mut bare = Bare::create(&folder.path().join("bare.redb"))?;
    let mut edge = Edge::create(folder.path())?;
    let mut disk = Turns::default();
    let mut store = Turns::default();
    let mut one = Turns::default();
    let mut many = Turns::default();
    for _ in 0..ROUNDS {
        disk.take(turn, || file.append())?;
        store.take(turn, || bare.commit())?;
        edge.write(&mut one, turn, 1)?;
        edge.write(&mut many, turn, MANY)?;
    }
    edge.journal.close_blocking().within("closing the journal")?;
    let (of_store, of_one) = (share(one.rate(), store.rate()), share(many.rate(), one.rate()));
    let mut figures = Vec::new();
    figures.extend(disk.figures("fdatasync of a 100 B append", "syncs/s"));
    figures.extend(store.figures("bare redb, one 100 B row a commit", "commits/s"));
    figures.extend(one.figures("journal, 1 writer", "movements/s"));
    figures.extend(many.figures("journal, 32 writers", "movements/s"));
    figures.push(Figure::new("1 writer to bare redb", of_store, "times").at_least(0.7));
    figures.push(Figure::new("32 writers to 1", of_one, "times").at_least(8.0));
    Ok(figures)
}

/// A file that grows by what is appended to it.
struct Appended(std::fs::File);

impl Appended {
    fn create(path: &Path) -> Result<Self, BenchError> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(path)?))
    }

    fn append(&mut self) -> Result<(), BenchError> {
        self.0.write_all(&ROW)?;
        Ok(self.0.sync_data()?)
    }
}

/// redb with nothing around it, in the journal's durability mode: its default.
struct Bare {
    database: Database,
    next: u64,
}

impl Bare {
    fn create(path: &Path) -> Result<Self, BenchError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        Ok(Self { database: builder.create(path).within("making a store")?, next: 0 })
    }

    fn commit(&mut self) -> Result<(), BenchError> {
        let transaction = self.database.begin_write().within("beginning a commit")?;
        {
            let mut rows = transaction.open_table(ROWS).within("opening a table")?;
            rows.insert(self.next, ROW.as_slice()).within("adding a row")?;
        }
        self.next += 1;
        transaction.commit().within("committing")
    }
}

/// The journal of a node that knows its master data, and who records in it.
struct Edge {
    journal: Journal,
    clients: Vec<Client>,
}

/// Records one movement after the other, each with a key of its own, as a scanner does.
struct Client {
    number: usize,
    requests: u64,
    mix: Mix,
}

impl Client {
    fn record(&mut self, journal: &Journal) -> Result<(), BenchError> {
        self.requests += 1;
        let key = format!("scanner-{}/{}", self.number, self.requests);
        record(journal, &mut self.mix, Some(IdempotencyKey::new(&key, key.as_bytes())))
    }
}

impl Edge {
    fn create(folder: &Path) -> Result<Self, BenchError> {
        let journal = journal(folder, Arc::new(SystemClock::default()))?;
        let client =
            |number| Client { number, requests: 0, mix: Mix::new(number as u64, Shape::default()) };
        Ok(Self { journal, clients: (0..MANY).map(client).collect() })
    }

    /// The first `count` clients record at the same time.
    fn write(&mut self, turns: &mut Turns, turn: Duration, count: usize) -> Result<(), BenchError> {
        let journal = &self.journal;
        let work = |client: &mut Client| {
            let mut turns = Turns::default();
            turns.take(turn, || client.record(journal)).map(|()| turns.durations)
        };
        let started = Instant::now();
        let ended = std::thread::scope(|scope| {
            let clients = self.clients[..count].iter_mut();
            let threads: Vec<_> = clients.map(|client| scope.spawn(|| work(client))).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for each in ended {
            turns.durations.extend(each.expect("no client panics")?);
        }
        turns.elapsed += started.elapsed();
        Ok(())
    }
}

/// Records the next movement of a mix as a group of its own, durably.
pub fn record(
    journal: &Journal,
    mix: &mut Mix,
    key: Option<IdempotencyKey>,
) -> Result<(), BenchError> {
    let drawn = mix.draw();
    let submission = Submission {
        key,
        lines: vec![Line { statement: Statement::Movement(drawn.movement), occurred_at: None }],
        person: Some(drawn.person),
        utc_offset: mix::ZONE,
        company: Some(CompanyNo::FIRST),
        negative_stock: true,
    };
    let mut answers = journal.record_many_blocking(vec![submission]);
    answers.pop().expect("one answer per submission").within("recording")?;
    Ok(())
}

/// Master data as HQ states them.
pub fn told(data: MasterData) -> Fact {
    let stamp = Stamp {
        capture: Capture { device: DeviceNo(1), counter: 1 },
        recorded_at: mix::START,
        occurred_at: mix::START,
        utc_offset: mix::ZONE,
        group_left: 0,
        person: None,
        time_in_doubt: 0,
        company: None,
    };
    let statement = Statement::MasterData { valid_from: None, data };
    statement.to_fact(&stamp).expect("short texts only")
}

/// A new journal with the mix's master data, as HQ would have sent it.
pub fn journal(folder: &Path, clock: Arc<dyn Clock>) -> Result<Journal, BenchError> {
    let mut options = Options::new(Some(company::signing_key(SITE)));
    options.clock = clock;
    options.cache_bytes = CACHE_BYTES;
    let genesis = company::genesis(SITE);
    let journal = Journal::create(&folder.join("journal.redb"), &genesis, None, options)
        .within("making a journal")?;
    let mut stated = vec![MasterData::Company {
        company: CompanyNo::FIRST,
        code: "bench".to_owned(),
        name: "Bench Ltd".to_owned(),
        currency: mix::currency(),
        zone: mix::ZONE,
        scope: CostScope::Site,
    }];
    stated.extend(mix::master_data());
    let facts: Vec<_> = stated.into_iter().map(told).collect();
    let (from, to) = (StateCursor { handle: 1, at: 0 }, StateCursor { handle: 1, at: 1 });
    let batch = StateBatch::new(SITE, from, to, 1, &facts).sign(&company::signing_key(SITE));
    journal.apply_state_blocking(batch).within("teaching the journal its master data")?;
    Ok(journal)
}
