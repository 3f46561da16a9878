//! Makes a bundle for HQ, chunk by chunk: memory does not grow with the log. Knows where nothing
//! is written to.

use std::collections::VecDeque;
use std::io::Write;

use shared::fact::field;
use shared::ids::Seq;
use shared::planted::{self, Fault};
use shared::segment::SEGMENT_FACTS_MAX;
use shared::segment::seal::SignedSeal;
use shared::sync::bundle::{BundleHead, BundleWriter, Direction, Seed};
use shared::sync::{FactsFrame, Frame, Hello, Position, SignedAcknowledgement, VERSIONS};

use super::{Bundles, ExportError};
use crate::documents::Documents;
use crate::journal::Journal;
use crate::link::PROGRAM;

/// How many seals are read at once.
const SEALS_READ_MAX: usize = 64;

/// How many changes of documents are read at once.
const CHANGES_READ_MAX: usize = 64;

/// From where on facts go into a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After HQ's newest acknowledgement.
    Acknowledged,
    /// After this fact.
    Fact(Seq),
}

/// A bundle about to be written.
pub struct Export {
    journal: Journal,
    head: BundleHead,
    writer: BundleWriter,
    seals: Seals,
    documents: Option<Documents>,
}

impl Bundles {
    /// Seals the newest head and says what will be in the bundle.
    pub fn export(&self, since: Since) -> Result<Export, ExportError> {
        if self.journal.is_restored() {
            return Err(ExportError::Restored);
        }
        let witness = self.witness();
        let after = match since {
            Since::Fact(after) => after,
            Since::Acknowledged => {
                witness.map_or(Seq::ZERO, |signed| signed.acknowledgement.received.last)
            }
        };
        let last = sealed_end(&self.journal)?;
        if after > last {
            return Err(ExportError::BeyondEnd { after, last });
        }
        self.export_range(after, last)
    }

    /// The next part of the log after a fact, with at most so many facts and seals, but one sealed
    /// group at least; `None` where there is nothing.
    pub fn export_part(&self, after: Seq, max: usize) -> Result<Option<Export>, ExportError> {
        if self.journal.is_restored() {
            return Err(ExportError::Restored);
        }
        let end = sealed_end(&self.journal)?;
        if after >= end {
            return Ok(None);
        }
        let last = part_end(&self.journal, after, end, max)?;
        self.export_range(after, last).map(Some)
    }

    fn export_range(&self, after: Seq, last: Seq) -> Result<Export, ExportError> {
        let is_gap = planted::is(Fault::GapBeforeBundle) && after < last;
        let after = if is_gap { after.next() } else { after };
        let (journal, witness) = (self.journal.clone(), self.witness());
        let history = witness.map_or(self.keys.history, |signed| signed.acknowledgement.history);
        let log = journal.log();
        let head = BundleHead { direction: Direction::ToHq, history, log, after, last };
        let mut seed = Seed([0; 32]);
        getrandom::fill(&mut seed.0).map_err(ExportError::Random)?;
        let mut writer = BundleWriter::new(&head, &self.keys.hq, self.keys.own.clone(), &seed)?;
        writer.push(&Frame::Hello(Hello {
            versions: VERSIONS,
            log,
            position: Position { last, head: journal.head_at(last)? },
            state: journal.state_cursor(),
            witness,
            time: self.wall.now(),
            program: PROGRAM.to_owned(),
        }));
        let documents = self.documents.clone();
        Ok(Export { seals: Seals::after(after), journal, head, writer, documents })
    }

    /// HQ's newest acknowledgement of this log.
    pub(super) fn witness(&self) -> Option<SignedAcknowledgement> {
        let log = self.journal.log();
        self.journal.acknowledgement().filter(|signed| signed.acknowledgement.log == log)
    }
}

/// Seals what there is; the last fact under a seal, where a group ends.
fn sealed_end(journal: &Journal) -> Result<Seq, ExportError> {
    loop {
        journal.seal_now_blocking()?;
        let sealed = journal.sealed();
        // Somebody may record meanwhile, and a seal at the end of a chunk may cut a group.
        if ends_group(journal, sealed)? {
            return Ok(sealed);
        }
    }
}

fn ends_group(journal: &Journal, seq: Seq) -> Result<bool, ExportError> {
    let left = journal.fact(seq)?.and_then(|fact| field::GROUP_LEFT.of(&fact));
    Ok(left.unwrap_or(0) == 0)
}

/// The last seal within `max` facts and seals that ends a group, else the first one at all.
fn part_end(journal: &Journal, after: Seq, end: Seq, max: usize) -> Result<Seq, ExportError> {
    let limit = Seq(after.0.saturating_add(max as u64)).min(end);
    let (mut seals, mut ends) = (Seals::after(after), Vec::new());
    while ends.len() < max
        && let Some(signed) = seals.next(journal, limit)?
    {
        ends.push(signed.seal.last);
    }
    for last in ends.into_iter().rev() {
        if ends_group(journal, last)? {
            return Ok(last);
        }
    }
    while let Some(signed) = seals.next(journal, end)? {
        if ends_group(journal, signed.seal.last)? {
            return Ok(signed.seal.last);
        }
    }
    Ok(end)
}

impl Export {
    /// What will stand outside.
    pub const fn head(&self) -> &BundleHead {
        &self.head
    }

    /// Writes all of it; its size.
    pub fn write(mut self, out: &mut dyn Write) -> Result<u64, ExportError> {
        let (mut reached, mut bytes) = (self.head.after, 0);
        while reached < self.head.last {
            reached = self.push_run(reached.next())?;
            while let Some(seal) = self.seals.next(&self.journal, reached)? {
                self.writer.push(&Frame::Seal(seal));
            }
            bytes += write(&self.writer.take(), out)?;
        }
        if let Some(documents) = self.documents.take() {
            bytes += self.push_documents(&documents, out)?;
        }
        bytes += write(&self.writer.finish(), out)?;
        Ok(bytes)
    }

    /// Adds how far documents are known, and every change that HQ did not decide on.
    fn push_documents(
        &mut self,
        documents: &Documents,
        out: &mut dyn Write,
    ) -> Result<u64, ExportError> {
        self.writer.push(&Frame::DocumentsTaken(documents.cursor()?));
        let (mut after, mut bytes) = (0, 0);
        loop {
            let changes = documents.waiting_changes(after, CHANGES_READ_MAX)?;
            let Some((last, _)) = changes.last() else { return Ok(bytes) };
            after = *last;
            for (_, change) in changes {
                self.writer.push(&Frame::DocumentChange(change));
            }
            bytes += write(&self.writer.take(), out)?;
        }
    }

    /// Adds a run from `first` on; its last fact.
    fn push_run(&mut self, first: Seq) -> Result<Seq, ExportError> {
        let left = usize::try_from(self.head.last.0 - first.0 + 1).unwrap_or(usize::MAX);
        let run = self.journal.run_from(first, left.min(SEGMENT_FACTS_MAX))?;
        let run = run.expect("sealed facts are there");
        assert!(run.last <= self.head.last, "the range ends where a group ends");
        self.writer.push(&Frame::Facts(FactsFrame::pack(&run)));
        Ok(run.last)
    }
}

fn write(bytes: &[u8], out: &mut dyn Write) -> Result<u64, ExportError> {
    out.write_all(bytes)?;
    Ok(bytes.len() as u64)
}

/// Seals that end after a fact, in order, some at a time.
struct Seals {
    after: Seq,
    /// Where the next ones may begin.
    from: Seq,
    ready: VecDeque<SignedSeal>,
}

impl Seals {
    /// The first one may begin before that fact, and is no longer than a segment.
    fn after(after: Seq) -> Self {
        let from = after.0.saturating_sub(SEGMENT_FACTS_MAX as u64);
        Self { after, from: Seq(from).next(), ready: VecDeque::new() }
    }

    /// The next one, if its facts are all there.
    fn next(&mut self, journal: &Journal, reached: Seq) -> Result<Option<SignedSeal>, ExportError> {
        while self.ready.is_empty() && self.from <= reached {
            let seals = journal.seals_from(self.from, SEALS_READ_MAX)?;
            let Some(last) = seals.last() else { break };
            self.from = last.seal.last.next();
            self.ready.extend(seals.into_iter().filter(|signed| signed.seal.last > self.after));
        }
        Ok(match self.ready.front() {
            Some(signed) if signed.seal.last <= reached => self.ready.pop_front(),
            _ => None,
        })
    }
}
