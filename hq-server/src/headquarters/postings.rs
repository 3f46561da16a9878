//! What became of a site's facts, as its node is told: the voucher of each group, or why it waits.
//! Reads the files; holds the books only for a moment. Invariant: it speaks of what is posted, from
//! the first fact asked about on, without a gap.

use std::collections::BTreeMap;

use shared::fact::{Fact, field};
use shared::ids::{Capture, CompanyNo, LogId, Seq};
use shared::sync::{Outcome, Postings, PostingsAsked, Span, WHY_BYTES_MAX, limits};

use crate::books::Cause;
use crate::gateway::intake::{Intake, LogStatus};
use crate::sequencer::Published;
use crate::store::{Block, FileError, Record, SequenceEntry};

/// What became of the facts asked about, as far as one answer goes.
pub fn told(
    intake: &Intake,
    published: &Published,
    log: &LogId,
    asked: PostingsAsked,
) -> Result<Postings, FileError> {
    let mut told = Postings::new(intake.history(), *log, asked.first);
    let Some(status) = intake.log(log) else { return Ok(told) };
    let last = asked.last.min(status.posted);
    let teller = Teller::new(published, &status);
    let mut next = asked.first;
    while next <= last {
        let Some(piece) = intake.piece(status.record.no, next)? else { break };
        let Some(block) = published.store().fact_block(status.record.no, next)? else { break };
        let Some((record, end)) = record_of(&block, &status, next) else { break };
        let vouchers = teller.vouchers(record);
        let facts = piece.part(next, last.min(end).min(piece.last));
        let ends = |fact: &Fact| field::GROUP_LEFT.of(fact).unwrap_or(0) == 0;
        for group in facts.split_inclusive(ends) {
            let outcome = teller.outcome(record, &vouchers, group);
            let span = Span { groups: 1, facts_each: group.len() as u64, outcome };
            let is_whole = group.last().is_some_and(ends);
            if !is_whole || !told.push(span) {
                return Ok(told);
            }
        }
        next = Seq(next.0 + facts.len() as u64);
    }
    Ok(told)
}

/// The record of a block that took a fact of a log, and the last fact that it took.
fn record_of<'a>(block: &'a Block, status: &LogStatus, seq: Seq) -> Option<(&'a Record, Seq)> {
    block.records.iter().find_map(|record| match &record.entry {
        SequenceEntry::Run(run) | SequenceEntry::Held { run, .. } => {
            let has = run.log == status.record.no && (run.first..=run.last).contains(&seq);
            has.then_some((record, run.last))
        }
        SequenceEntry::Settle => None,
    })
}

/// A voucher by a fact that it posts.
type Vouchers = BTreeMap<Capture, Outcome>;

struct Teller<'a> {
    published: &'a Published,
    /// The site's: goods that go to another company have a voucher there too.
    company: Option<CompanyNo>,
    /// Why groups of the site wait, by their first fact.
    waiting: BTreeMap<Capture, String>,
}

impl<'a> Teller<'a> {
    fn new(published: &'a Published, status: &LogStatus) -> Self {
        let site = status.record.site;
        let ledgers = published.ledgers();
        let of_site = ledgers.books.waiting().filter(|(_, group)| group.site == site);
        let waiting = of_site
            .filter_map(|(_, group)| {
                let first = field::capture(group.facts.first()?)?;
                Some((first, ledgers.books.reason(group).to_string()))
            })
            .collect();
        drop(ledgers);
        let company = published.catalogue().site(site).map(|site| site.company);
        Self { published, company, waiting }
    }

    fn vouchers(&self, record: &Record) -> Vouchers {
        let own = record.vouchers.iter().filter(|voucher| {
            voucher.cause == Cause::Fact
                && self.company.is_none_or(|company| company == voucher.company)
        });
        let mut vouchers = Vouchers::new();
        for voucher in own {
            if let Some(fact) = voucher.fact {
                let outcome = Outcome::Vouchers { month: voucher.month, first: voucher.number };
                vouchers.entry(fact).or_insert(outcome);
            }
        }
        vouchers
    }

    fn outcome(&self, record: &Record, vouchers: &Vouchers, group: &[Fact]) -> Outcome {
        let mut captures = group.iter().filter_map(field::capture);
        if let SequenceEntry::Held { reason, .. } = &record.entry {
            return waits(reason.clone());
        }
        if let Some(found) = captures.clone().find_map(|fact| vouchers.get(&fact)) {
            return found.clone();
        }
        if let Some(why) = captures.clone().find_map(|fact| self.waiting.get(&fact)) {
            return waits(why.clone());
        }
        let ledgers = self.published.ledgers();
        let late = captures.find_map(|fact| ledgers.tally.released(fact));
        late.map_or(Outcome::NoVoucher, |(_, month, first)| Outcome::Vouchers { month, first })
    }
}

fn waits(mut why: String) -> Outcome {
    limits::cut(&mut why, WHY_BYTES_MAX);
    Outcome::Waits { why }
}
