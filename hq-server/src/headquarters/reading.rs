//! What reports read of the installation: books under a short lock, vouchers and facts from the
//! files. Knows no report.

use std::ops::RangeInclusive;

use ed25519_dalek::VerifyingKey;
use shared::document::{DocumentId, DocumentKey};
use shared::fact::{Fact, field};
use shared::ids::{Capture, CompanyNo, DeviceNo, Seq};
use shared::time::{Month, Timestamp};

use super::Headquarters;
use crate::books::{Books, VoucherLoss};
use crate::gateway::documents::{ChangeError, DocumentState, Documents, RefusedChange};
use crate::gateway::intake::{LogStatus, Piece};
use crate::report::archive::{Archive, ArchiveError, StoredFact, StoredSeal, StoredVoucher};
use crate::report::documents::Shelf;
use crate::report::tally::Tally;
use crate::sequencer::Replay;
use crate::store::{Block, EntryNo, FileError, Record, SequenceEntry, VoucherKey};
use crate::web::books_desk::Lender;

impl From<FileError> for ArchiveError {
    fn from(error: FileError) -> Self {
        Self(error.to_string())
    }
}

impl Lender for Headquarters {
    fn lend(&self, read: &mut dyn FnMut(&Books, &Tally)) {
        let ledgers = self.published().ledgers();
        read(&ledgers.books, &ledgers.tally);
    }

    fn as_known(&self, at: Timestamp) -> Result<Books, ArchiveError> {
        let known = Replay::new(&**self.store(), self.intake()).as_known(at);
        known.map_err(|error| ArchiveError(error.to_string()))
    }
}

impl Shelf for Documents {
    fn names(&self) -> Vec<DocumentKey> {
        Self::names(self)
    }

    fn document(&self, id: DocumentId) -> Result<Option<DocumentState>, ArchiveError> {
        match self.get(id) {
            Ok(state) => Ok(Some(state)),
            Err(ChangeError::Unknown(_)) => Ok(None),
            Err(error) => Err(ArchiveError(error.to_string())),
        }
    }

    fn refused(&self) -> Result<Vec<RefusedChange>, ArchiveError> {
        Ok(Self::refused(self)?)
    }
}

/// When HQ received what each record of a block posts.
fn received(block: &Block) -> impl Iterator<Item = (EntryNo, Timestamp, &Record)> {
    let mut at = Timestamp(0);
    block.numbered().map(move |(no, record)| {
        if let SequenceEntry::Run(run) = &record.entry {
            at = run.received_at;
        }
        (no, at, record)
    })
}

fn stored(block: &Block, wanted: impl Fn(&crate::books::Voucher) -> bool) -> Vec<StoredVoucher> {
    let mut found = Vec::new();
    for (no, posted_at, record) in received(block) {
        for voucher in record.vouchers.iter().filter(|voucher| wanted(voucher)) {
            found.push(StoredVoucher { voucher: voucher.clone(), position: no.0, posted_at });
        }
    }
    found
}

impl Archive for Headquarters {
    fn vouchers(
        &self,
        company: CompanyNo,
        month: Month,
        numbers: RangeInclusive<u32>,
    ) -> Result<Vec<StoredVoucher>, ArchiveError> {
        let mut found: Vec<StoredVoucher> = Vec::new();
        let mut number = *numbers.start();
        while number <= *numbers.end() {
            let key = VoucherKey { company, month, number };
            let Some(block) = self.store().voucher_block(key)? else {
                let Some(next) = self.after_gap(key) else { break };
                number = next;
                continue;
            };
            found.extend(stored(&block, |voucher| {
                (voucher.company, voucher.month) == (company, month)
                    && (number..=*numbers.end()).contains(&voucher.number)
            }));
            let last = found.last().map_or(number, |last| last.voucher.number);
            number = last.saturating_add(1);
        }
        Ok(found)
    }

    fn fact(&self, device: DeviceNo, seq: Seq) -> Result<Option<StoredFact>, ArchiveError> {
        let logs = self.intake().logs();
        let Some(log) = logs.into_iter().find(|log| log.record.device == device) else {
            return Ok(None);
        };
        let Some(piece) = self.intake().piece(log.record.no, seq)? else { return Ok(None) };
        let block = self.store().fact_block(log.record.no, seq)?;
        let received_at = block.is_some().then_some(piece.received_at);
        let fact = piece.part(seq, seq)[0].clone();
        let members = group_of(&piece, seq);
        let captures: Vec<Capture> = members.iter().filter_map(field::capture).collect();
        let vouchers = block.map_or_else(Vec::new, |block| {
            stored(&block, |voucher| {
                let lines = voucher.lines.iter().filter_map(|line| line.fact);
                lines.chain(voucher.fact).any(|fact| captures.contains(&fact))
            })
        });
        let own = field::capture(&fact);
        Ok(Some(StoredFact {
            head: self.intake().head_at(&log.record.log, seq)?.unwrap_or(log.received.head),
            seal: self.seal_of(&log, seq)?,
            site: log.record.site,
            log: log.record.log,
            seq,
            received_at,
            group: captures.into_iter().filter(|each| Some(*each) != own).collect(),
            vouchers,
            fact,
        }))
    }
}

impl Headquarters {
    /// The number after those that were left out, where `key` is one of them.
    fn after_gap(&self, key: VoucherKey) -> Option<u32> {
        let ledgers = self.published().ledgers();
        let mut losses = ledgers.books.losses().vouchers().iter();
        let holds = |loss: &&VoucherLoss| {
            (loss.company, loss.month) == (key.company, key.month)
                && loss.left_out().contains(&key.number)
        };
        losses.find(holds).and_then(|loss| loss.last.checked_add(1))
    }

    fn seal_of(&self, log: &LogStatus, seq: Seq) -> Result<Option<StoredSeal>, ArchiveError> {
        let found = self.intake().seals(log.record.no, seq, 1)?.into_iter().next();
        let Some(signed) =
            found.filter(|signed| signed.seal.first <= seq && seq <= signed.seal.last)
        else {
            return Ok(None);
        };
        let key = VerifyingKey::from_bytes(&log.record.public_key);
        let signature_holds = key.is_ok_and(|key| signed.verify(&key).is_ok());
        let head = self.intake().head_at(&log.record.log, signed.seal.last)?;
        Ok(Some(StoredSeal {
            verified: signature_holds && head == Some(signed.seal.head),
            public_key: log.record.public_key,
            seal: signed,
        }))
    }
}

/// The facts of a piece that belong to the same group as the one at `seq`.
fn group_of(piece: &Piece, seq: Seq) -> &[Fact] {
    let left = |fact: &Fact| field::GROUP_LEFT.of(fact).unwrap_or(0);
    let facts = piece.part(piece.first, piece.last);
    let at = usize::try_from(seq.0 - piece.first.0).expect("a piece fits memory");
    let ends = |fact: &Fact| left(fact) == 0;
    let first = facts[..at].iter().rposition(ends).map_or(0, |before| before + 1);
    let last = facts[at..].iter().position(ends).map_or(facts.len() - 1, |after| at + after);
    &facts[first..=last]
}
