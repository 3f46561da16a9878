//! HQ's intake, sequencer and books on disks that lose power together.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hq_server::clock::Clock;
use hq_server::gateway::intake::{Intake, IntakeError, IntakeOptions};
use hq_server::sequencer::{Published, Sequencer};
use hq_server::store::RedbStore;
use shared::document::journal::{self, JournalTip};
use shared::fact::Fact;
use shared::fact::effective::LogRank;
use shared::fact::statement::CostScope;
use shared::ids::{DeviceNo, HistoryId, LogId, Seq};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::segment::columns;
use shared::segment::seal::{Seal, SignedSeal, last_sealable};
use shared::time::Timestamp;
use tests::agreement::{Standing, deliver};
use tests::arrival::Arrival;
use tests::history::{self, Shape, history};
use tests::power_cut::{Disk, Power, Sync};
use tests::random::Random;
use tokio::runtime::{Builder, Runtime};

use super::{Machine, caught, check_store, cut_all};

/// How many cuts one HQ lives through.
const CUTS_EACH: u64 = 20;

const HISTORY: HistoryId = HistoryId([2; 32]);

/// A log whose writer keeps it, and how much of it HQ acknowledged.
struct Sent {
    key: SigningKey,
    genesis: Genesis,
    held: history::Log,
    acknowledged: Seq,
    sealed: Seq,
    tip: JournalTip,
    /// Made and not acknowledged yet: a range has one seal.
    seal: Option<(SignedSeal, JournalTip)>,
}

struct Headquarters {
    intake: Disk,
    books: Disk,
    /// Both files were made to the end once. A setup that was cut is begun anew.
    is_made: bool,
    logs: Vec<Sent>,
    /// How many entries of the sequence were said to be durable.
    entries: u64,
}

/// What runs while there is power.
struct Running {
    runtime: Runtime,
    intake: Intake,
    sequencer: Sequencer,
}

fn headquarters(seed: u64, sync: Sync) -> Headquarters {
    let shape = Shape { scope: CostScope::Site, steps: 400, ..Shape::draw(&mut Random::new(seed)) };
    let sent = |held: history::Log| {
        let mark = u8::try_from(held.site.0 + 1).expect("few sites");
        let key = SigningKey::from_bytes(&[mark; 32]);
        let genesis = Genesis {
            format: FORMAT,
            site: held.site,
            device: DeviceNo(held.site.0 + 1),
            random: [mark; 32],
            public_key: key.verifying_key().to_bytes(),
            predecessor: None,
        };
        let (acknowledged, sealed) = (Seq::ZERO, Seq::ZERO);
        let (tip, seal) = (JournalTip::start(0), None);
        Sent { key, genesis, held, acknowledged, sealed, tip, seal }
    };
    Headquarters {
        intake: Disk::new(&Power::steady(), sync),
        books: Disk::new(&Power::steady(), sync),
        is_made: false,
        logs: history(seed, &shape).logs.into_iter().map(sent).collect(),
        entries: 0,
    }
}

impl Sent {
    fn log(&self) -> LogId {
        self.genesis.log_id()
    }

    fn upto(&self, last: Seq) -> &[Fact] {
        &self.held.facts[..usize::try_from(last.0).expect("a small log")]
    }

    fn is_whole(&self) -> bool {
        self.acknowledged.0 == self.held.facts.len() as u64
    }

    fn chain(&self, last: Seq) -> Chain {
        let mut chain = Chain::start(self.log());
        chain.extend(self.upto(last));
        chain
    }

    /// Some groups after what was acknowledged, sometimes with what HQ has already.
    async fn send(&mut self, intake: &Intake, random: &mut Random) -> Result<(), IntakeError> {
        let ends: Vec<u64> = self.held.groups().into_iter().map(|group| group.end as u64).collect();
        let known = ends.partition_point(|end| *end <= self.acknowledged.0);
        let last = ends[(known + random.index(6)).min(ends.len() - 1)];
        let from = known.saturating_sub(random.index(3)).checked_sub(1);
        let first = Seq(from.map_or(0, |group| ends[group]) + 1);
        let facts = self.upto(Seq(last))[usize::try_from(first.0 - 1).expect("small")..].to_vec();
        let head = self.chain(Seq(last)).head();
        let position = intake.accept(&self.log(), first, facts, head).await?;
        self.acknowledged = self.acknowledged.max(position.last);
        Ok(())
    }

    /// Seals what was acknowledged, or sends the seal again that was not.
    async fn seal(&mut self, intake: &Intake) -> Result<(), IntakeError> {
        if self.sealed >= self.acknowledged {
            return Ok(());
        }
        let (seal, tip) = self.seal.take().unwrap_or_else(|| self.next_seal());
        self.seal = Some((seal, tip));
        intake.accept_seal(seal).await?;
        (self.sealed, self.tip, self.seal) = (seal.seal.last, tip, None);
        Ok(())
    }

    fn next_seal(&self) -> (SignedSeal, JournalTip) {
        let (log, first) = (self.log(), self.sealed.next());
        let last = last_sealable(first, self.acknowledged);
        let facts = &self.upto(last)[usize::try_from(first.0 - 1).expect("small")..];
        let (tip, _) = journal::append(&log, &self.tip, first, &columns::encode(facts));
        let document_head = tip.head.expect("a change was appended");
        let seal = Seal { log, first, last, head: self.chain(last).head(), document_head };
        (seal.sign(&self.key), tip)
    }
}

impl Headquarters {
    fn start(&self) -> Result<Running, String> {
        let runtime = Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        let options = IntakeOptions {
            key: SigningKey::from_bytes(&[1; 32]),
            history: HISTORY,
            clock: Clock::from_fn(|| Timestamp(1_795_521_600_000)),
            cache_bytes: 1 << 20,
        };
        let intake = Intake::open_backend(self.intake.clone(), options)
            .map_err(|error| format!("the intake does not open: {error}"))?;
        let started = RedbStore::open_backend(self.books.clone(), HISTORY)
            .map_err(|error| format!("the books do not open: {error}"))
            .and_then(|store| {
                Sequencer::start(Arc::new(store), intake.clone())
                    .map_err(|error| format!("the sequence does not replay: {error}"))
            });
        match started {
            Ok(sequencer) => Ok(Running { runtime, intake, sequencer }),
            Err(why) => {
                intake.close();
                Err(why)
            }
        }
    }

    /// What was acknowledged is there as it was sent; the books follow the intake.
    fn prove(&self, running: &Running) -> Result<(), String> {
        let published = running.sequencer.published();
        let last = published.store().last().map_err(|error| error.to_string())?;
        if last.0 < self.entries {
            return Err(format!("{} entries were durable, now {last:?} is the last", self.entries));
        }
        for sent in &self.logs {
            let Some(status) = running.intake.log(&sent.log()) else {
                if sent.acknowledged > Seq::ZERO {
                    return Err(format!("the log of site {} is gone", sent.held.site));
                }
                continue;
            };
            let received = status.received;
            if received.last < sent.acknowledged || status.sealed < sent.sealed {
                let site = sent.held.site;
                return Err(format!(
                    "site {site}: {} acknowledged, {received:?}",
                    sent.acknowledged
                ));
            }
            let facts = running.intake.facts(status.record.no, Seq(1), received.last);
            let facts = facts.map_err(|error| error.to_string())?;
            if facts != sent.upto(received.last)
                || sent.chain(received.last).head() != received.head
            {
                return Err(format!("site {}: other facts than were sent", sent.held.site));
            }
            if status.posted > received.last {
                return Err(format!("site {}: posted before it was received", sent.held.site));
            }
        }
        self.prove_books(published)
    }

    fn prove_books(&self, published: &Published) -> Result<(), String> {
        let ledgers = published.ledgers();
        ledgers.books.check().map_err(|broken| broken.to_string())?;
        for sequenced in published.store().sequenced().map_err(|error| error.to_string())? {
            let last = sequenced.position.last;
            let fits = |sent: &&Sent| {
                sent.chain(last.min(Seq(sent.held.facts.len() as u64))).head()
                    == sequenced.position.head
            };
            if !self.logs.iter().any(|sent| fits(&sent)) {
                return Err(format!("the sequence has a log up to {last} with another head"));
            }
        }
        Ok(())
    }

    fn work(&mut self, running: &Running, random: &mut Random) -> Result<(), IntakeError> {
        let Running { runtime, intake, .. } = running;
        runtime.block_on(async {
            for sent in &self.logs {
                intake.register(sent.held.site, sent.genesis.device, &sent.genesis).await?;
            }
            for _ in 0..10 + random.below(40) {
                let log = random.index(self.logs.len());
                let sent = &mut self.logs[log];
                if !sent.is_whole() {
                    sent.send(intake, random).await?;
                }
                if random.chance(1, 6) {
                    sent.seal(intake).await?;
                }
                if random.chance(1, 4) {
                    wait(running, &self.logs).await;
                }
            }
            Ok(())
        })
    }
}

/// Until what was acknowledged is in the books, or they stopped.
async fn wait(running: &Running, logs: &[Sent]) {
    let mut failure = running.sequencer.published().failure();
    for sent in logs {
        let Some(mut posted) = running.intake.posted(&sent.log()) else { continue };
        tokio::select! {
            _ = posted.wait_for(|posted| *posted >= sent.acknowledged) => {}
            _ = failure.wait_for(Option::is_some) => return,
        }
    }
}

impl Machine for Headquarters {
    fn live(&mut self, power: &Power, random: &mut Random) -> Result<(), String> {
        if self.is_made {
            check_store(&self.intake)?;
            check_store(&self.books)?;
            (self.intake, self.books) = (self.intake.moved_to(power), self.books.moved_to(power));
        } else {
            (self.intake, self.books) = (self.intake.emptied(power), self.books.emptied(power));
        }
        let running = match self.start() {
            Ok(running) => {
                self.is_made = true;
                running
            }
            Err(_) if !power.is_on() => return Ok(()),
            Err(why) => return Err(why),
        };
        let proved = self.prove(&running);
        if power.is_on() {
            proved?;
        }
        let worked = self.work(&running, random);
        self.entries = running.sequencer.published().last().borrow().0;
        running.sequencer.close();
        running.intake.close();
        match worked {
            Err(IntakeError::File(_) | IntakeError::Stopped) if !power.is_on() => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(()) => Ok(()),
        }
    }

    fn lose_power(&mut self, random: &mut Random) {
        self.intake = self.intake.after_cut(&Power::steady(), random);
        self.books = self.books.after_cut(&Power::steady(), random);
    }

    /// Every fact once: the books are those of all the logs.
    fn finish(&mut self, random: &mut Random) -> Result<(), String> {
        while !self.logs.iter().all(Sent::is_whole) {
            self.live(&Power::steady(), random)?;
        }
        let running = self.start()?;
        running.runtime.block_on(wait(&running, &self.logs));
        let arrivals: Vec<Arrival> = self
            .logs
            .iter()
            .map(|sent| Arrival::Run {
                site: sent.held.site,
                rank: LogRank::of(&sent.log()),
                first: Seq(1),
                facts: sent.held.facts.clone(),
            })
            .collect();
        // What was closed when it arrived decides the month, and nothing else.
        let expected = Standing::of_books(&deliver(&arrivals)).without_months();
        let found = Standing::of_books(&running.sequencer.published().ledgers().books);
        let found = found.without_months();
        running.sequencer.close();
        running.intake.close();
        let differences = expected.differences(&found);
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }
}

#[test]
fn what_hq_acknowledged_is_posted_once() {
    cut_all(CUTS_EACH, headquarters);
}

#[test]
fn disks_that_lie_are_found_out() {
    let stories = 6;
    let caught = caught(stories, headquarters);
    assert!(caught > stories / 2, "only {caught} of {stories} losses were seen");
}
