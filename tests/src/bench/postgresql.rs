//! The same two-legged postings into PostgreSQL, the reference of the posting benchmark. Starts a
//! server of its own in a temporary folder and stops it. Knows nothing of the product.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, Statement};
use shared::fact::Kind;

use super::figure::{Figure, per_second};
use super::mix::{Mix, Shape};
use super::{BenchError, Settings, Within};
use crate::random::Random;

/// Where Debian keeps the servers, one folder a version.
const SERVERS: &str = "/usr/lib/postgresql";
/// The version that figures are compared with, where it is there.
const VERSION: &str = "15";
/// The user that a server runs as when we are root: it refuses to be root.
const USER: &str = "postgres";
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/packages");

/// A key that nobody guesses, and an index on either account, as a ledger's table has.
const TABLE: &str = "
    create table posting (
        id uuid primary key,
        debit_account integer not null,
        credit_account integer not null,
        amount bigint not null,
        site integer not null,
        item integer not null,
        posted_at bigint not null
    );
    create index on posting (debit_account);
    create index on posting (credit_account);";
const INSERT: &str = "
    insert into posting
    select * from unnest($1::text[]::uuid[], $2::integer[], $3::integer[], $4::bigint[],
        $5::integer[], $6::integer[], $7::bigint[])";

/// (postings of a statement, connections).
const LOADS: [(usize, usize); 8] =
    [(1, 1), (1, 32), (10, 1), (100, 1), (1_000, 1), (1_000, 2), (1_000, 4), (10_000, 2)];

/// Its figures, and the best rate among them.
pub fn run(settings: &Settings) -> Result<(Vec<Figure>, f64), BenchError> {
    let programs = programs(settings)?;
    let folder = settings.scratch()?;
    let server = Server::start(&programs, folder.path())?;
    let version = server.connect()?.query_one("show server_version", &[]);
    let version: String = version.within("asking PostgreSQL")?.get(0);
    let version = version.split(' ').next().unwrap_or_default().to_owned();
    let mut figures = Vec::new();
    let mut best: f64 = 0.0;
    for (batch, connections) in LOADS {
        settings.say(&format!("hq-post: PostgreSQL {version}, {connections} x {batch} postings"));
        let rate = insert(&server, batch, connections, settings.measure / 2)?;
        best = best.max(rate);
        let metric =
            format!("PostgreSQL {version}, {batch} a statement, {connections} connections");
        figures.push(Figure::new(metric, rate, "postings/s"));
    }
    Ok((figures, best))
}

/// The folder with `initdb`, installed where it is missing.
fn programs(settings: &Settings) -> Result<PathBuf, BenchError> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    settings.say("hq-post: PostgreSQL is not installed; installing it with deploy/packages");
    let output = Command::new(PACKAGES).arg("postgresql").output()?;
    succeeded("deploy/packages postgresql", &output)?;
    let nowhere = || missing("no server under /usr/lib/postgresql: install postgresql-15");
    installed().ok_or_else(nowhere)
}

fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir(SERVERS).ok()?.filter_map(Result::ok);
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    found.sort();
    let wanted = Path::new(SERVERS).join(VERSION).join("bin");
    if found.contains(&wanted) { Some(wanted) } else { found.pop() }
}

fn missing(why: impl Into<String>) -> BenchError {
    BenchError::Product { what: "PostgreSQL", why: why.into() }
}

fn succeeded(command: &str, output: &Output) -> Result<(), BenchError> {
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    Err(missing(format!("'{command}' failed: {}", String::from_utf8_lossy(&said).trim())))
}

/// A running server; stopped when this goes.
struct Server {
    programs: PathBuf,
    folder: PathBuf,
    as_user: bool,
}

impl Server {
    fn start(programs: &Path, folder: &Path) -> Result<Self, BenchError> {
        let as_user = std::fs::metadata("/proc/self")?.uid() == 0;
        let server = Self { programs: programs.to_owned(), folder: folder.join("pg"), as_user };
        std::fs::create_dir(&server.folder)?;
        if as_user {
            // Its user must get through to its folder.
            std::fs::set_permissions(folder, Permissions::from_mode(0o755))?;
            let own = Command::new("chown").arg(USER).arg(&server.folder).output()?;
            succeeded("chown", &own)?;
        }
        let data = server.text("data");
        server.call("initdb", &["-D", &data, "-U", "bench", "-A", "trust", "-E", "UTF8"])?;
        let options = format!(
            "-k {} -c listen_addresses='' -c fsync=on -c synchronous_commit=on \
             -c shared_buffers=512MB -c max_wal_size=4GB -c max_connections=50",
            server.folder.display()
        );
        let log = server.text("log");
        server.call("pg_ctl", &["-D", &data, "-l", &log, "-w", "-o", &options, "start"])?;
        Ok(server)
    }

    fn text(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Result<(), BenchError> {
        let path = self.programs.join(program);
        let mut command = if self.as_user {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        let output = command.args(arguments).current_dir(&self.folder).output()?;
        succeeded(program, &output)
    }

    fn connect(&self) -> Result<Client, BenchError> {
        let mut config = postgres::Config::new();
        config.host_path(&self.folder).user("bench").dbname("postgres");
        config.connect(NoTls).within("connecting to PostgreSQL")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.text("data");
        if let Err(error) = self.call("pg_ctl", &["-D", &data, "-m", "immediate", "stop"]) {
            eprintln!("PostgreSQL did not stop: {error}");
        }
    }
}

/// Postings a second into a fresh table.
fn insert(
    server: &Server,
    batch: usize,
    connections: usize,
    measure: Duration,
) -> Result<f64, BenchError> {
    let mut owner = server.connect()?;
    owner.batch_execute("drop table if exists posting; checkpoint").within("clearing the table")?;
    owner.batch_execute(TABLE).within("making the table")?;
    let mut writers = Vec::new();
    for number in 0..connections {
        writers.push(PostingWriter::new(server.connect()?, number as u64, batch)?);
    }
    let started = Instant::now();
    let written = std::thread::scope(|scope| {
        let work = |mut writer: PostingWriter| {
            let mut written = 0;
            while started.elapsed() < measure {
                written += writer.write()?;
            }
            Ok::<u64, BenchError>(written)
        };
        let threads: Vec<_> =
            writers.into_iter().map(|writer| scope.spawn(move || work(writer))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let elapsed = started.elapsed();
    let mut sum = 0;
    for each in written {
        sum += each.expect("no writer panics")?;
    }
    Ok(per_second(sum, elapsed))
}

/// One connection with its postings.
struct PostingWriter {
    client: Client,
    insert: Statement,
    random: Random,
    mix: Mix,
    batch: usize,
    now: i64,
}

/// Columns of one statement.
#[derive(Default)]
struct Postings {
    ids: Vec<String>,
    debits: Vec<i32>,
    credits: Vec<i32>,
    amounts: Vec<i64>,
    sites: Vec<i32>,
    items: Vec<i32>,
    times: Vec<i64>,
}

impl PostingWriter {
    fn new(mut client: Client, seed: u64, batch: usize) -> Result<Self, BenchError> {
        let insert = client.prepare(INSERT).within("preparing a statement")?;
        let (random, mix) = (Random::new(seed), Mix::new(seed, Shape::default()));
        Ok(Self { client, insert, random, mix, batch, now: 0 })
    }

    /// One statement, which is one transaction; how many postings.
    fn write(&mut self) -> Result<u64, BenchError> {
        let mut rows = Postings::default();
        for _ in 0..self.batch {
            self.draw(&mut rows);
        }
        let Postings { ids, debits, credits, amounts, sites, items, times } = &rows;
        let written = self
            .client
            .execute(&self.insert, &[ids, debits, credits, amounts, sites, items, times]);
        written.within("inserting postings")
    }

    fn draw(&mut self, rows: &mut Postings) {
        let drawn = self.mix.draw();
        let quantity = drawn.movement.quantity.figure.mantissa();
        let (debit, credit) = match drawn.movement.kind {
            Kind::ProductionIn => (1410, 1430),
            Kind::Issue | Kind::Scrap => (5121, 1410),
            _ if quantity > 0 => (1410, 5119),
            _ => (5119, 1410),
        };
        self.now += drawn.after_ms;
        rows.ids.push(format!("{:016x}{:016x}", self.random.bits(), self.random.bits()));
        rows.debits.push(debit);
        rows.credits.push(credit);
        rows.amounts.push(quantity.abs() * 1_234);
        rows.sites.push(i32::try_from(self.random.number(64)).expect("a small number"));
        rows.items.push(i32::try_from(drawn.movement.item.0).expect("a small number"));
        rows.times.push(self.now);
    }
}
