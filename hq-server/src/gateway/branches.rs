//! Logs that were continued twice: an installation was copied, or restored from an older image and
//! used on. What differs from the log that HQ has is a *branch*, a log of its own, and this file
//! finds for each run of facts where it belongs. Knows no connection and no books.
//!
//! A branch begins with the first fact that differs. Its installation numbers its facts on from
//! there; HQ keeps them as a log from 1, under an installation number that HQ gave the branch, so
//! that the two facts that carry one capture id are told apart for ever (`renames.rs`).
//!
//! Invariant: a fact that HQ has in the log or in a branch is in no second one, and what makes a
//! branch's log depends on its facts alone: told again, they are known.

mod renames;

use std::collections::HashMap;

use shared::fact::{Fact, field};
use shared::ids::{DeviceNo, Head, LogId, Seq, SiteNo};
use shared::planted::{self, Fault};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::segment::{SEGMENT_FACTS_MAX, context};
use shared::sync::{Position, Run};
use tokio::sync::Mutex;

use super::intake::{Intake, IntakeError, LogRecord};
use crate::store::FileError;
use renames::Renames;

/// More branches of one log than this are no accident.
const BRANCHES_MAX: usize = 64;

/// Why a run of a log that differs is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// The run goes on from something that HQ never had.
    #[error(
        "facts from {0} on do not go on from anything that HQ knows of this log: connect again, so \
         that HQ asks for them from an earlier place"
    )]
    Unconnected(Seq),
    /// Someone makes branches on purpose, or a machine makes one with every start.
    #[error(
        "this node's log has {BRANCHES_MAX} branches already: stop it, and enrol it anew with a \
         code from HQ (hq-server site code)"
    )]
    TooMany,
    /// No number for the branch.
    #[error("HQ can't number the branch: {0}")]
    Number(String),
    /// The intake did not take it.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

impl From<FileError> for BranchError {
    fn from(error: FileError) -> Self {
        Self::Intake(error.into())
    }
}

/// Where facts of a log went, and up to where HQ has them, as their installation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The log itself, or a branch of it.
    pub log: LogId,
    /// How far.
    pub position: Position,
}

/// A branch, or the log that branches leave.
#[derive(Clone, Debug)]
struct Known {
    record: LogRecord,
    /// The log that it leaves, and after which fact, as the installation counts. The log itself
    /// leaves nothing.
    leaves: Option<(LogId, Seq)>,
    renames: Renames,
}

/// See the module.
#[derive(Debug)]
pub struct Branches {
    intake: Intake,
    /// The chain of each branch at its end, as the installation chains; work on one log at a time.
    tips: Mutex<HashMap<LogId, Chain>>,
}

/// What a run is to a log that has what is before it.
struct Fit {
    /// Facts that the log has, whole groups.
    known: usize,
    /// The log ends there.
    at_end: bool,
}

impl Branches {
    /// Over an intake.
    pub fn new(intake: &Intake) -> Self {
        Self { intake: intake.clone(), tips: Mutex::default() }
    }

    /// The first of some places that HQ knows of a log or its branches; else the beginning.
    pub async fn common(&self, root: &LogId, places: &[Position]) -> Result<Place, FileError> {
        let mut tips = self.tips.lock().await;
        let family = self.family(root)?;
        for position in places {
            for log in self.begun(&family) {
                let chain = self.chain_at(&mut tips, &family, log, position.last)?;
                if chain.is_some_and(|chain| chain.head() == position.head) {
                    return Ok(Place { log: log.record.log, position: *position });
                }
            }
        }
        Ok(Place { log: *root, position: Position { last: Seq::ZERO, head: Head(root.0) } })
    }

    /// Stores what HQ does not have of a run: where it belongs, in a new branch where that is
    /// nowhere. `number` gives the branch its installation number.
    pub async fn accept<N>(&self, root: &LogId, run: Run, number: N) -> Result<Place, BranchError>
    where
        N: FnOnce() -> Result<DeviceNo, String>,
    {
        let mut tips = self.tips.lock().await;
        let family = self.family(root)?;
        let mut best: Option<(&Known, Fit)> = None;
        for log in self.begun(&family) {
            let Some(fit) = self.fit(&mut tips, &family, log, &run)? else { continue };
            let rank = |fit: &Fit| (fit.known, fit.at_end);
            if best.as_ref().is_none_or(|(_, before)| rank(before) < rank(&fit)) {
                best = Some((log, fit));
            }
        }
        let (log, fit) = best.ok_or(BranchError::Unconnected(run.first))?;
        let position = run.position();
        if fit.known == run.facts.len() {
            return Ok(Place { log: log.record.log, position });
        }
        let rest = &run.facts[fit.known..];
        let left = Seq(run.first.0 - 1 + fit.known as u64);
        let log = if fit.at_end {
            log.clone()
        } else {
            let branches = family.len() - 1;
            if branches >= BRANCHES_MAX {
                return Err(BranchError::TooMany);
            }
            self.begin(&mut tips, &family, (log, left), rest, number).await?
        };
        self.append(&mut tips, &family, &log, left, rest).await?;
        Ok(Place { log: log.record.log, position })
    }

    /// The log that a branch leaves, and after which fact, as its installation counts.
    pub fn left(record: &LogRecord) -> Option<(LogId, Seq)> {
        // HQ's own log begins anew after a restore, and leaves nothing in doubt by that.
        if record.site == SiteNo::HQ {
            return None;
        }
        let genesis = Genesis::decode(&record.genesis).ok();
        genesis.and_then(|genesis| genesis.predecessor).map(|(log, last, _)| (log, last))
    }

    /// The log and its branches, each after what it leaves.
    fn family(&self, root: &LogId) -> Result<Vec<Known>, FileError> {
        let mut family: Vec<Known> = Vec::new();
        // Numbers are given in order, so a branch stands after what it leaves.
        for status in self.intake.logs() {
            let record = status.record;
            let leaves = Self::left(&record);
            if record.log == *root {
                let renames = Renames::of(record.device);
                family.push(Known { record, leaves: None, renames });
            } else if let Some((parent, last)) = leaves
                && let Some(parent) = family.iter().find(|log| log.record.log == parent)
            {
                let (leaves, mut renames) =
                    (Some((parent.record.log, last)), parent.renames.clone());
                // A branch whose first fact is not stored yet renames nothing.
                if let Some(first) = self.intake.fact(record.no, Seq(1))? {
                    renames.add(&first, record.device);
                }
                family.push(Known { record, leaves, renames });
            }
        }
        Ok(family)
    }

    /// The logs of a family that hold a fact of their own. A branch that was registered, and HQ
    /// stopped before its first fact was stored, is for that fact alone.
    fn begun<'a>(&'a self, family: &'a [Known]) -> impl Iterator<Item = &'a Known> {
        let holds = |log: &&Known| log.leaves.is_none_or(|(_, left)| self.end(log) > left);
        family.iter().filter(holds)
    }

    /// How a run continues a log; `None` where the log does not have what is before the run.
    fn fit(
        &self,
        tips: &mut HashMap<LogId, Chain>,
        family: &[Known],
        log: &Known,
        run: &Run,
    ) -> Result<Option<Fit>, FileError> {
        let before = Seq(run.first.0 - 1);
        let Some(mut chain) = self.chain_at(tips, family, log, before)? else { return Ok(None) };
        chain.extend(&run.facts);
        if chain.head() != run.head {
            return Ok(None);
        }
        let end = self.end(log);
        let has = self.facts(family, log, run.first, run.last.min(end))?;
        let same = has.iter().zip(&run.facts).take_while(|(has, told)| has == told).count();
        let whole = |count: &usize| {
            let last = count.checked_sub(1).map(|index| &run.facts[index]);
            last.is_none_or(|fact| field::GROUP_LEFT.of(fact).unwrap_or(0) == 0)
        };
        let known = (0..=same).rev().find(whole).unwrap_or(0);
        Ok(Some(Fit { known, at_end: known == has.len() }))
    }

    /// The last fact of a log, as its installation counts.
    fn end(&self, log: &Known) -> Seq {
        let last = self.intake.cursor(&log.record.log).map_or(Seq::ZERO, |at| at.last);
        Seq(log.leaves.map_or(0, |(_, left)| left.0) + last.0)
    }

    /// The chain after a fact, as the installation chains; `None` beyond the end.
    fn chain_at(
        &self,
        tips: &mut HashMap<LogId, Chain>,
        family: &[Known],
        log: &Known,
        seq: Seq,
    ) -> Result<Option<Chain>, FileError> {
        if seq > self.end(log) {
            return Ok(None);
        }
        let Some((parent, left)) = log.leaves else {
            return self.intake.chain_at(&log.record.log, seq);
        };
        if seq <= left {
            return self.chain_at(tips, family, parent_in(family, parent), seq);
        }
        if let Some(tip) = tips.get(&log.record.log).filter(|tip| tip.seq() == seq) {
            return Ok(Some(tip.clone()));
        }
        let start = self.chain_at(tips, family, parent_in(family, parent), left)?;
        let Some(mut chain) = start else { return Ok(None) };
        while chain.seq() < seq {
            let next = chain.seq().next();
            let last = seq.min(Seq(chain.seq().0 + SEGMENT_FACTS_MAX as u64));
            chain.extend(&self.facts(family, log, next, last)?);
        }
        if seq == self.end(log) {
            tips.insert(log.record.log, chain.clone());
        }
        Ok(Some(chain))
    }

    /// Facts as the installation recorded them.
    fn facts(
        &self,
        family: &[Known],
        log: &Known,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Fact>, FileError> {
        if last < first {
            return Ok(Vec::new());
        }
        let Some((parent, left)) = log.leaves else {
            return self.intake.facts(log.record.no, first, last);
        };
        let mut facts = if first <= left {
            self.facts(family, parent_in(family, parent), first, last.min(left))?
        } else {
            Vec::new()
        };
        if last > left {
            let own = |seq: Seq| Seq(seq.0.saturating_sub(left.0).max(1));
            let stored = self.intake.facts(log.record.no, own(first), own(last))?;
            facts.extend(stored.iter().map(|fact| log.renames.recorded(fact)));
        }
        Ok(facts)
    }

    /// Makes the log of a branch that leaves `log` after a fact, with `rest`.
    async fn begin<N>(
        &self,
        tips: &mut HashMap<LogId, Chain>,
        family: &[Known],
        (log, left): (&Known, Seq),
        rest: &[Fact],
        number: N,
    ) -> Result<Known, BranchError>
    where
        N: FnOnce() -> Result<DeviceNo, String>,
    {
        let first = rest.first().expect("a branch begins with a fact");
        let root = &family[0].record;
        let random = context::hash(context::BRANCH, &first.to_bytes());
        let chain = self.chain_at(tips, family, log, left)?;
        let head = chain.expect("the run was compared with the log up to there").head();
        let predecessor = Some((log.record.log, left, head));
        let same = |each: &&Known| {
            Genesis::decode(&each.record.genesis)
                .is_ok_and(|known| (known.random, known.predecessor) == (random, predecessor))
        };
        let mut renames = log.renames.clone();
        // Made before, and stopped before its first fact was stored.
        if let Some(made) = family.iter().find(same) {
            renames.add(first, made.record.device);
            return Ok(Known { renames, ..made.clone() });
        }
        let (site, public_key) = (root.site, root.public_key);
        let device = number().map_err(BranchError::Number)?;
        let genesis = Genesis { format: FORMAT, site, device, random, public_key, predecessor };
        self.intake.register(site, device, &genesis).await?;
        let status = self.intake.log(&genesis.log_id()).expect("it was registered just now");
        tracing::warn!(
            site = site.0,
            device = root.device.0,
            branch = device.0,
            "a log was continued twice after fact {left}: its installation was copied or restored"
        );
        renames.add(first, device);
        Ok(Known { record: status.record, leaves: Some((log.record.log, left)), renames })
    }

    /// Stores facts at the end of a log.
    async fn append(
        &self,
        tips: &mut HashMap<LogId, Chain>,
        family: &[Known],
        log: &Known,
        left: Seq,
        facts: &[Fact],
    ) -> Result<(), BranchError> {
        let id = log.record.log;
        let begins_after = log.leaves.map_or(0, |(_, left)| left.0);
        let mut booked: Vec<Fact> = facts.iter().map(|fact| log.renames.booked(fact)).collect();
        if planted::is(Fault::BranchKeepsNumbers) {
            booked = facts.to_vec();
        }
        let own = Seq(left.0 - begins_after);
        let chain = self.intake.chain_at(&id, own)?;
        let mut chain = chain.expect("the log was found to end there");
        chain.extend(&booked);
        // The log's own chain is the intake's to keep.
        let tip = log.leaves.map(|_| self.chain_at(tips, family, log, left)).transpose()?.flatten();
        self.intake.accept(&id, own.next(), booked, chain.head()).await?;
        if let Some(mut tip) = tip {
            tip.extend(facts);
            tips.insert(id, tip);
        }
        Ok(())
    }
}

fn parent_in(family: &[Known], parent: LogId) -> &Known {
    let found = family.iter().find(|log| log.record.log == parent);
    found.expect("a family holds whatever its branches leave")
}
