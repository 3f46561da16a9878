//! Facts that become known late: from their arrival in the books to every difference posted. The
//! books alone, in memory. Beside it the time the same facts took when they came in order.

use std::time::{Duration, Instant};

use hq_server::books::{Books, Entry, Run};
use shared::fact::effective::LogRank;
use shared::fact::statement::{Measure, Movement, Stamp, Statement};
use shared::fact::{Fact, Kind};
use shared::ids::{Capture, CompanyNo, DeviceNo, ItemNo, Seq, SiteNo};
use shared::money::Price;
use shared::quantity::{Scaled, Unit};
use shared::time::Timestamp;
use tokio::runtime::Runtime;

use super::company::{Hands, headquarters};
use super::figure::{Figure, nanoseconds_each};
use super::machine::available_bytes;
use super::mix::{ITEMS, START, ZONE, currency};
use super::{BenchError, Outcome, Settings, Within, stages};

const SITES: u32 = 5;
/// Movements of the one pool that everything happens in.
const ONE_POOL: u64 = 1_000_000;
/// Movements of the pools that one late receipt comes before, and facts of the books around them.
const BEFORE: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const BOOKS: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// More than a fact takes in memory: a book that does not fit is left out.
const FACT_BYTES_MAX: u64 = 1_200;
const LATE: u64 = 10_000;

/// Books with their master data and no movement.
pub(super) fn empty_books(settings: &Settings, sites: u32) -> Result<Books, BenchError> {
    let runtime = Runtime::new()?;
    let folder = settings.scratch()?;
    let hq = runtime.block_on(headquarters(&folder.path().join("hq"), sites, &Hands::default()))?;
    let empty = stages::books(&hq)?;
    runtime.block_on(hq.close());
    Ok(empty)
}

/// Measures one late fact, and ten thousand, in one pool and over as many.
pub fn run(settings: &Settings) -> Outcome {
    let empty = empty_books(settings, SITES)?;
    let mut figures = Vec::new();

    settings.say("late: a pool of a million movements");
    let mut busy = Story::new(&empty, SITES);
    let in_order = busy.fill(ONE_POOL, |_| 0)?;
    figures.push(Figure::new(
        "a million movements in order",
        nanoseconds_each(in_order, ONE_POOL),
        "ns/fact",
    ));
    let one = busy.late(1, |_| 0)?;
    figures.push(milliseconds("one late receipt before a million movements", one).at_most(100.0));
    let many = busy.late(LATE, |_| 0)?;
    figures.push(milliseconds("10,000 late receipts into that pool", many));
    drop(busy);

    settings.say("late: 10,000 pools of a hundred movements");
    let spread = |number: u64| number % u64::from(ITEMS * SITES);
    let mut wide = Story::new(&empty, SITES);
    wide.fill(ONE_POOL, spread)?;
    figures.push(milliseconds("10,000 late receipts over 10,000 pools", wide.late(LATE, spread)?));
    drop(wide);

    for facts in BOOKS {
        if facts * FACT_BYTES_MAX > available_bytes() {
            settings.say(&format!("late: a book of {facts} facts does not fit this machine"));
            continue;
        }
        settings.say(&format!("late: a book of {facts}"));
        figures.extend(curve(&empty, facts)?);
    }
    Ok(figures)
}

/// One late receipt before pools of growing length, in one book of so many facts.
fn curve(empty: &Books, facts: u64) -> Outcome {
    let long: Vec<(u64, u64)> =
        (0..).zip(BEFORE).filter(|(_, movements)| *movements < facts).collect();
    let pools = u64::from(ITEMS * SITES);
    let (first, others) =
        (BEFORE.len() as u64, facts - long.iter().map(|each| each.1).sum::<u64>());
    let mut story = Story::new(empty, SITES);
    story.fill(others, |number| first + number % (pools - first))?;
    for (pool, movements) in &long {
        story.fill(*movements, |_| *pool)?;
    }
    let mut figures = Vec::new();
    for (pool, movements) in long {
        let what = format!("one late receipt before {movements} movements, in a book of {facts}");
        figures.push(milliseconds(&what, story.late(1, |_| pool)?));
    }
    Ok(figures)
}

#[expect(clippy::float_arithmetic, reason = "a time for people; no money, no stock")]
fn milliseconds(what: &str, elapsed: Duration) -> Figure {
    Figure::new(what, elapsed.as_secs_f64() * 1_000.0, "ms")
}

/// Books, how far each site's log is written, and how far the books have it.
pub(super) struct Story {
    books: Books,
    written: Vec<u64>,
    taken: Vec<u64>,
    /// Of the last movement in order, since the first late one.
    seconds: i64,
}

impl Story {
    pub(super) fn new(empty: &Books, sites: u32) -> Self {
        let none = vec![0; sites as usize + 1];
        let seconds = i64::try_from(LATE).expect("a few");
        Self { books: empty.clone(), written: none.clone(), taken: none, seconds }
    }

    /// Movements in order: one comes in and nine leave, never more than there is.
    fn fill(&mut self, count: u64, pool: impl Fn(u64) -> u64) -> Result<Duration, BenchError> {
        let mut held = std::collections::BTreeMap::new();
        let mut elapsed = Duration::ZERO;
        for number in 0..count {
            let pool = pool(number);
            let held: &mut i64 = held.entry(pool).or_default();
            let (kind, quantity, price) = if *held == 0 {
                (Kind::ProductionIn, 90, Some(1_000 + i64::try_from(number % 97).expect("small")))
            } else {
                (Kind::Issue, 10, None)
            };
            *held += if kind == Kind::Issue { -quantity } else { quantity };
            elapsed += self.take(pool, (kind, quantity, price))?;
        }
        self.settle();
        Ok(elapsed)
    }

    /// The next movement in order.
    pub(super) fn take(
        &mut self,
        pool: u64,
        movement: (Kind, i64, Option<i64>),
    ) -> Result<Duration, BenchError> {
        self.seconds += 1;
        let (site, fact) = self.fact(pool, movement, self.seconds)?;
        Ok(self.apply(site, &fact))
    }

    /// Receipts before everything else; until every difference is posted.
    fn late(&mut self, count: u64, pool: impl Fn(u64) -> u64) -> Result<Duration, BenchError> {
        let mut facts = Vec::new();
        for number in 0..count {
            let second = i64::try_from(number).expect("a few");
            facts.push(self.fact(pool(number), (Kind::ProductionIn, 7, Some(1_500)), second)?);
        }
        let mut elapsed = Duration::ZERO;
        for (site, fact) in &facts {
            elapsed += self.apply(*site, fact);
        }
        Ok(elapsed + self.settle())
    }

    fn settle(&mut self) -> Duration {
        let started = Instant::now();
        std::hint::black_box(self.books.apply(&Entry::Settle));
        started.elapsed()
    }

    fn apply(&mut self, site: u32, fact: &Fact) -> Duration {
        let taken = &mut self.taken[site as usize];
        *taken += 1;
        let run = Run {
            site: SiteNo(site),
            log: LogRank(site.into()),
            first: Seq(*taken),
            received_at: START,
            facts: std::slice::from_ref(fact),
        };
        let started = Instant::now();
        std::hint::black_box(self.books.apply(&Entry::Run(run)));
        started.elapsed()
    }

    /// A fact and its site. Pools are counted from 0, those of a site together.
    fn fact(
        &mut self,
        pool: u64,
        (kind, quantity, price): (Kind, i64, Option<i64>),
        second: i64,
    ) -> Result<(u32, Fact), BenchError> {
        let pool = u32::try_from(pool).expect("some million pools at most");
        let (site, item) = (1 + pool / ITEMS, 1 + pool % ITEMS);
        let figure = Scaled::new(quantity, 0).expect("a small figure");
        let unit = Unit::from_bytes(b"EA").expect("a unit");
        let mut movement = Movement::new(kind, ItemNo(item), Measure { figure, unit });
        movement.price = price.map(|price| Price {
            figure: Scaled::new(price, -2).expect("a small price"),
            currency: currency(),
        });
        self.written[site as usize] += 1;
        let counter = self.written[site as usize];
        let at = Timestamp(START.0 + second * 1_000);
        let stamp = Stamp {
            capture: Capture { device: DeviceNo(site + 1), counter },
            recorded_at: at,
            occurred_at: at,
            utc_offset: ZONE,
            group_left: 0,
            person: None,
            time_in_doubt: 0,
            company: Some(CompanyNo::FIRST),
        };
        let fact = Statement::Movement(movement).to_fact(&stamp).within("writing a fact")?;
        Ok((site, fact))
    }
}
