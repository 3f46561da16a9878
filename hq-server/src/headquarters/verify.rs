//! Whether everything is proved, from the files alone: chains, signatures, journal documents, the
//! sequence folded again, voucher numbers, and the books' own invariants.

use std::collections::BTreeMap;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use shared::document::journal::{self, JournalTip};
use shared::fact::field;
use shared::ids::{CompanyNo, Head, Seq};
use shared::segment::chain::{Chain, Genesis};
use shared::segment::columns;
use shared::segment::seal::SignedSeal;
use shared::time::Month;
use utoipa::ToSchema;

use super::Headquarters;
use crate::books::VoucherLoss;
use crate::gateway::intake::{LogNo, LogStatus};
use crate::sequencer::{Replay, Step};
use crate::store::{Block, FileError, Record, RunEntry, SequenceEntry, Store};

/// How many seals are read at a time.
const SEALS_AT_ONCE: usize = 64;

/// How many problems are listed; more would say nothing new.
const PROBLEMS_MAX: usize = 100;

/// What was proved, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyReport {
    /// Everything holds.
    pub ok: bool,
    /// Logs whose chain was followed from its beginning.
    pub logs: u64,
    /// Facts in them.
    pub facts: u64,
    /// Seals whose signature, head and journal document were checked.
    pub seals: u64,
    /// Entries of the sequence that were folded again.
    pub entries: u64,
    /// Vouchers that came out as stored.
    pub vouchers: u64,
    /// Entries that are set aside.
    pub held: u64,
    /// What does not hold, the first of it.
    pub problems: Vec<String>,
}

impl VerifyReport {
    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }
}

impl Headquarters {
    /// Proves everything that is stored. Reads it all.
    pub fn verify(&self) -> Result<VerifyReport, FileError> {
        let mut report = VerifyReport::default();
        for log in self.intake().logs() {
            self.verify_log(&log, &mut report)?;
        }
        self.verify_sequence(&mut report)?;
        report.ok = report.problems.is_empty();
        Ok(report)
    }

    fn verify_log(&self, log: &LogStatus, report: &mut VerifyReport) -> Result<(), FileError> {
        let name = log.record.log.short();
        let genesis = Genesis::decode(&log.record.genesis);
        if genesis.ok().map(|genesis| genesis.log_id()) != Some(log.record.log) {
            report.problem(format!("log {name}: its id is not the hash of its genesis"));
        }
        let mut chain = Chain::start(log.record.log);
        let device = u64::from(log.record.device.0);
        while chain.seq() < log.received.last {
            let next = chain.seq().next();
            let Some(piece) = self.intake().piece(log.record.no, next)? else {
                report.problem(format!("log {name}: fact {next} is missing"));
                return Ok(());
            };
            let facts = piece.part(next, piece.last);
            chain.extend(facts);
            report.facts += facts.len() as u64;
            if chain.head() != piece.head {
                report.problem(format!(
                    "log {name}: the chain breaks at or before fact {}",
                    piece.last
                ));
                return Ok(());
            }
            if facts.iter().any(|fact| field::CAPTURE_DEVICE.of(fact) != Some(device)) {
                report.problem(format!("log {name}: a fact after {next} is of another device"));
            }
        }
        if chain.head() != log.received.head {
            report.problem(format!("log {name}: its stored head is not that of its facts"));
        }
        report.logs += 1;
        self.verify_seals(log, report)
    }

    fn verify_seals(&self, log: &LogStatus, report: &mut VerifyReport) -> Result<(), FileError> {
        let name = log.record.log.short();
        let Ok(key) = VerifyingKey::from_bytes(&log.record.public_key) else {
            report.problem(format!("log {name}: its key is no key"));
            return Ok(());
        };
        let mut chain = Chain::start(log.record.log);
        let mut tip = JournalTip::start(0);
        while chain.seq() < log.sealed {
            let seals = self.intake().seals(log.record.no, chain.seq().next(), SEALS_AT_ONCE)?;
            if seals.is_empty() {
                report
                    .problem(format!("log {name}: the seal after fact {} is missing", chain.seq()));
                return Ok(());
            }
            for signed in seals {
                match self.verify_seal(log.record.no, &key, &signed, &mut chain, &tip)? {
                    Ok(next) => tip = next,
                    Err(why) => {
                        let (first, last) = (signed.seal.first, signed.seal.last);
                        report.problem(format!("log {name}: the seal of {first} to {last}: {why}"));
                        return Ok(());
                    }
                }
                report.seals += 1;
            }
        }
        Ok(())
    }

    fn verify_seal(
        &self,
        log: LogNo,
        key: &VerifyingKey,
        signed: &SignedSeal,
        chain: &mut Chain,
        tip: &JournalTip,
    ) -> Result<Result<JournalTip, &'static str>, FileError> {
        let seal = &signed.seal;
        if seal.first != chain.seq().next() {
            return Ok(Err("it does not follow the one before"));
        }
        if signed.verify(key).is_err() {
            return Ok(Err("its signature does not hold"));
        }
        let facts = self.intake().facts(log, seal.first, seal.last)?;
        if facts.len() as u64 != seal.last.0 - seal.first.0 + 1 {
            return Ok(Err("its facts are missing"));
        }
        chain.extend(&facts);
        if chain.head() != seal.head {
            return Ok(Err("its head is not that of its facts"));
        }
        let (tip, _) = journal::append(&seal.log, tip, seal.first, &columns::encode(&facts));
        if tip.head != Some(seal.document_head) {
            return Ok(Err("its journal document is not that of its facts"));
        }
        Ok(Ok(tip))
    }

    fn verify_sequence(&self, report: &mut VerifyReport) -> Result<(), FileError> {
        let mut check = SequenceCheck {
            store: &**self.store(),
            logs: self.intake().logs().into_iter().map(|log| (log.record.no, log)).collect(),
            chains: BTreeMap::new(),
            numbers: BTreeMap::new(),
            block: None,
            report,
            failed: None,
        };
        let replayed = Replay::new(&**self.store(), self.intake()).run(|step| {
            let held = match step.entry {
                SequenceEntry::Held { run, .. } => {
                    self.intake().facts(run.log, run.first, run.last)?
                }
                _ => Vec::new(),
            };
            let facts = if held.is_empty() { step.facts } else { &held };
            check.step(step, facts);
            Ok(())
        });
        if let Some(error) = check.failed.take() {
            return Err(error);
        }
        match replayed {
            Ok(replayed) => {
                if let Err(broken) = replayed.books.check() {
                    report.problem(format!("the books: {broken}"));
                }
            }
            Err(error) => report.problem(format!("the sequence: {error}")),
        }
        Ok(())
    }
}

/// Compares every step of a replay with what is stored.
struct SequenceCheck<'a> {
    store: &'a dyn Store,
    logs: BTreeMap<LogNo, LogStatus>,
    chains: BTreeMap<LogNo, Chain>,
    numbers: BTreeMap<(CompanyNo, Month), u32>,
    block: Option<Block>,
    report: &'a mut VerifyReport,
    failed: Option<FileError>,
}

impl SequenceCheck<'_> {
    fn step(&mut self, step: &Step<'_>, facts: &[shared::fact::Fact]) {
        self.report.entries += 1;
        if let SequenceEntry::Run(run) | SequenceEntry::Held { run, .. } = step.entry {
            self.run(step, run, facts);
        }
        self.report.held += u64::from(matches!(step.entry, SequenceEntry::Held { .. }));
        if self.block.as_ref().is_none_or(|block| block.last() < step.no) {
            match self.store.block(step.no) {
                Ok(block) => self.block = block,
                Err(error) => {
                    self.failed.get_or_insert(error);
                    return;
                }
            }
        }
        let stored = self.block.as_ref().and_then(|block| {
            let index = usize::try_from(step.no.0 - block.first.0).ok()?;
            block.records.get(index)
        });
        let same = |record: &Record| {
            record.vouchers == step.effects.vouchers
                && record.waiting == step.effects.waiting
                && record.released == step.effects.released
        };
        if !stored.is_some_and(same) {
            self.report
                .problem(format!("entry {}: stored effects are not those of its facts", step.no));
        }
        for voucher in &step.effects.vouchers {
            let number = self.numbers.entry((voucher.company, voucher.month)).or_default();
            let losses = step.books.losses().vouchers().iter();
            let of_month = |loss: &&VoucherLoss| {
                (loss.company, loss.month) == (voucher.company, voucher.month)
            };
            // What was left out is stated, before what follows it.
            for loss in losses.filter(of_month) {
                if loss.free == *number + 1 {
                    *number = loss.last.max(*number);
                }
            }
            *number += 1;
            if voucher.number != *number {
                let (month, expected) = (voucher.month, *number);
                let text = format!("voucher {month}-{} where {expected} is next", voucher.number);
                self.report.problem(text);
            }
            self.report.vouchers += 1;
        }
    }

    fn run(&mut self, step: &Step<'_>, run: &RunEntry, facts: &[shared::fact::Fact]) {
        let Some(log) = self.logs.get(&run.log) else {
            let text = format!("entry {}: log {} is not in the intake file", step.no, run.log.0);
            return self.report.problem(text);
        };
        let chain = self.chains.entry(run.log).or_insert_with(|| Chain::start(log.record.log));
        if run.first != chain.seq().next() {
            let (expected, first) = (chain.seq().next(), run.first);
            let text = format!("entry {}: takes fact {first} where {expected} is next", step.no);
            return self.report.problem(text);
        }
        chain.extend(facts);
        let head: Head = chain.head();
        if head != run.head || chain.seq() != run.last {
            self.report.problem(format!("entry {}: its head is not that of its facts", step.no));
        }
        debug_assert!(run.first > Seq::ZERO);
    }
}
