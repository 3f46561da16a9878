//! The edge node's journal on a disk that loses power.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use edge_node::journal::{
    FixedClock, IdempotencyKey, Journal, Line, Options, RecordError, Recorded, Submission,
};
use shared::fact::statement::{Measure, Movement, Statement};
use shared::fact::{Fact, Kind};
use shared::ids::{DeviceNo, HistoryId, ItemNo, ReasonNo, Seq, SiteNo};
use shared::quantity::{Scaled, Unit};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::sync::{Acknowledgement, Given, Position};
use shared::time::{OffsetMinutes, Timestamp};
use tests::power_cut::{Disk, Power, Sync};
use tests::random::Random;

use super::{Machine, caught, check_store, cut_all};

/// How many cuts one journal lives through.
const CUTS_EACH: u64 = 20;

/// A keeper who asks again until he gets an answer.
struct Keeper {
    disk: Disk,
    /// The file was made to the end once. One whose making was cut is made anew: the node makes it
    /// under another name first.
    is_made: bool,
    genesis: Genesis,
    clock: Arc<FixedClock>,
    /// What was answered, group by group.
    acknowledged: Vec<Recorded>,
    /// The last fact that was said to be sealed.
    sealed: Seq,
    /// HQ was heard to have the facts up to here: their keys may be forgotten at once.
    heard: Seq,
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn keeper(seed: u64, sync: Sync) -> Keeper {
    let genesis = Genesis {
        format: FORMAT,
        site: SiteNo(1),
        device: DeviceNo(2),
        random: [u8::try_from(seed % 256).expect("a byte"); 32],
        public_key: key().verifying_key().to_bytes(),
        predecessor: None,
    };
    Keeper {
        disk: Disk::new(&Power::steady(), sync),
        is_made: false,
        genesis,
        clock: FixedClock::at(Timestamp(1_795_521_600_000)),
        acknowledged: Vec::new(),
        sealed: Seq::ZERO,
        heard: Seq::ZERO,
    }
}

/// How many lines the group with this number has.
const fn lines(number: usize) -> usize {
    1 + number % 4
}

/// What line `index` of group `number` says: both stand in the quantity.
fn statement(number: usize, index: usize) -> Statement {
    let digits = i64::try_from(number * 10 + index + 1).expect("small numbers");
    let figure = Scaled::new(digits, 0).expect("in range");
    let unit = Unit::from_bytes(b"EA").expect("a unit");
    let mut movement = Movement::new(Kind::Adjustment, ItemNo(1), Measure { figure, unit });
    movement.reason = Some(ReasonNo(1));
    Statement::Movement(movement)
}

fn submission(number: usize) -> Submission {
    let line = |index| Line { statement: statement(number, index), occurred_at: None };
    let text = format!("group-{number}");
    Submission {
        key: Some(IdempotencyKey::new(&text, text.as_bytes())),
        lines: (0..lines(number)).map(line).collect(),
        person: None,
        utc_offset: OffsetMinutes(480),
        company: None,
        negative_stock: true,
    }
}

impl Keeper {
    fn open(&self, power: &Power) -> Result<Option<Journal>, String> {
        let mut options = Options::new(Some(key()));
        options.clock = Arc::clone(&self.clock) as Arc<dyn edge_node::journal::Clock>;
        options.cache_bytes = 1 << 20;
        options.keys_kept_days = 0;
        match Journal::with_backend(self.disk.clone(), &self.genesis, options) {
            Ok(journal) => Ok(Some(journal)),
            Err(_) if !power.is_on() => Ok(None),
            Err(error) => Err(format!("it does not open: {error}")),
        }
    }

    /// Everything that was acknowledged is there, and nothing is there twice.
    fn prove(&self, journal: &Journal) -> Result<(), String> {
        let position = journal.position();
        let mut facts: Vec<Fact> = Vec::new();
        let visit = |_, fact: &Fact| {
            facts.push(fact.clone());
            std::ops::ControlFlow::Continue(())
        };
        journal.for_each_fact(Seq(1), visit).map_err(|error| format!("unreadable: {error}"))?;
        let mut chain = Chain::start(journal.log());
        chain.extend(&facts);
        if (chain.seq(), chain.head()) != (position.last, position.head) {
            return Err(format!("{} facts, but the log says {}", facts.len(), position.last));
        }
        let statements: Vec<Statement> = facts
            .iter()
            .map(|fact| Statement::parse(fact).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?;
        // One writer in order: group after group, each whole, each once.
        let expected: Vec<Statement> = (0..)
            .flat_map(|number| (0..lines(number)).map(move |index| statement(number, index)))
            .take(statements.len())
            .collect();
        if statements != expected {
            return Err("a group is missing, cut, or there twice".to_owned());
        }
        let last = self.acknowledged.last().map_or(Seq::ZERO, |recorded| recorded.last);
        if position.last < last {
            return Err(format!("{last} was acknowledged, the log ends at {}", position.last));
        }
        if journal.sealed() < self.sealed {
            return Err(format!("{} was sealed, now {} is", self.sealed, journal.sealed()));
        }
        let verified = journal.verify().map_err(|fault| format!("it does not prove: {fault}"))?;
        if (verified.facts, verified.head) != (position.last.0, position.head) {
            return Err("the proof is of another log".to_owned());
        }
        Ok(())
    }

    /// Records the next groups; a group whose answer was lost is asked for again.
    fn work(&mut self, journal: &Journal, random: &mut Random) -> Result<(), String> {
        for _ in 0..20 + random.below(60) {
            let next = self.acknowledged.len();
            let count = 1 + random.index(5);
            let submissions = (next..next + count).map(submission).collect();
            for answer in journal.record_many_blocking(submissions) {
                match answer {
                    Ok(recorded) => self.note(recorded)?,
                    Err(RecordError::Store(_)) => return Ok(()),
                    Err(other) => return Err(format!("refused: {other}")),
                }
            }
            self.clock.pass_ms(random.between(0, 3_000));
            if random.chance(1, 8) && !self.hear(journal, random) {
                return Ok(());
            }
            if random.chance(1, 8) {
                self.ask_again(journal, random)?;
            }
            if random.chance(1, 8) {
                if journal.seal_now_blocking().is_err() {
                    return Ok(());
                }
                self.sealed = journal.sealed();
            }
        }
        Ok(())
    }

    /// HQ says that it has some of what was acknowledged; false where that could not be noted.
    fn hear(&mut self, journal: &Journal, random: &mut Random) -> bool {
        let Some(recorded) = self.acknowledged.get(random.index(self.acknowledged.len().max(1)))
        else {
            return true;
        };
        let last = recorded.last.max(self.heard);
        let at = edge_node::journal::Clock::now(&*self.clock);
        let (history, log) = (HistoryId([2; 32]), journal.log());
        let received = Position { last, head: journal.position().head };
        let heard = Acknowledgement {
            history,
            log,
            received,
            safe: Seq::ZERO,
            posted: Seq::ZERO,
            at,
            given: Given::default(),
        };
        journal.note_hq_time(at);
        self.heard = last;
        journal.note_acknowledgement_blocking(heard.sign(&key())).is_ok()
    }

    /// A key whose facts HQ does not have is remembered, through every cut.
    fn ask_again(&self, journal: &Journal, random: &mut Random) -> Result<(), String> {
        let unheard = self.acknowledged.partition_point(|recorded| recorded.last <= self.heard);
        if unheard == self.acknowledged.len() {
            return Ok(());
        }
        let number = unheard + random.index(self.acknowledged.len() - unheard);
        let known = self.acknowledged[number];
        let mut answers = journal.record_many_blocking(vec![submission(number)]);
        match answers.pop().expect("one answer per group") {
            Ok(again) if again.again && (again.first, again.last) == (known.first, known.last) => {
                Ok(())
            }
            Err(RecordError::Store(_)) => Ok(()),
            other => Err(format!("group {number} is {known:?}, asked again: {other:?}")),
        }
    }

    fn note(&mut self, recorded: Recorded) -> Result<(), String> {
        let number = self.acknowledged.len();
        let before = self.acknowledged.last().map_or(0, |recorded| recorded.last.0);
        let last = before + lines(number) as u64;
        if (recorded.first.0, recorded.last.0) != (before + 1, last) {
            return Err(format!("group {number} stands at {recorded:?}"));
        }
        self.acknowledged.push(recorded);
        Ok(())
    }
}

impl Machine for Keeper {
    fn live(&mut self, power: &Power, random: &mut Random) -> Result<(), String> {
        if self.is_made {
            check_store(&self.disk)?;
            self.disk = self.disk.moved_to(power);
        } else {
            self.disk = self.disk.emptied(power);
        }
        let Some(journal) = self.open(power)? else { return Ok(()) };
        self.is_made = true;
        let proved = self.prove(&journal);
        if power.is_on() {
            proved?;
        }
        let worked = self.work(&journal, random);
        // Without power closing fails; the thread ends all the same.
        let closed = journal.close_blocking();
        worked?;
        if power.is_on() && closed.is_err() {
            return Err("it does not close".to_owned());
        }
        Ok(())
    }

    fn lose_power(&mut self, random: &mut Random) {
        self.disk = self.disk.after_cut(&Power::steady(), random);
    }

    fn finish(&mut self, _: &mut Random) -> Result<(), String> {
        check_store(&self.disk)
    }
}

#[test]
fn what_the_journal_acknowledged_survives() {
    cut_all(CUTS_EACH, keeper);
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let stories = 10;
    let caught = caught(stories, keeper);
    assert!(caught > stories / 2, "only {caught} of {stories} losses were seen");
}
