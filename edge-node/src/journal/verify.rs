//! Proof of a log from its file alone: the chain from the genesis, every seal's signature, the
//! journal documents' heads, capture ids and times. Trusts nothing that was stored beside facts.

use std::ops::ControlFlow;

use ed25519_dalek::VerifyingKey;
use shared::document::journal::{self as document, JournalTip};
use shared::fact::field;
use shared::ids::{ChangeHash, Head, LogId, Seq};
use shared::segment::chain::Chain;
use shared::segment::{columns, seal};

use super::store::{self, StoreError, StoredRange};
use super::{Journal, on_hand};

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The log.
    pub log: LogId,
    /// How many facts.
    pub facts: u64,
    /// The head after the last.
    pub head: Head,
    /// How many seals, each with a good signature.
    pub seals: u64,
    /// The last sealed fact.
    pub sealed: Seq,
    /// Journal documents: chunk and head after its last change.
    pub documents: Vec<(u64, ChangeHash)>,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something does not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A place is not there, or there twice.
    #[error("fact {expected} is missing: fact {found} follows")]
    Gap {
        /// What should come.
        expected: Seq,
        /// What comes.
        found: Seq,
    },
    /// The genesis names a key that is none.
    #[error("the log's key is no Ed25519 key")]
    BadKey,
    /// A seal states another head.
    #[error("the seal of facts {first} to {last} states another head than the chain has")]
    Head {
        /// The range.
        first: Seq,
        /// The range.
        last: Seq,
    },
    /// A seal is not signed by the log's key.
    #[error("the seal of facts {first} to {last} is not signed by the log's key")]
    Signature {
        /// The range.
        first: Seq,
        /// The range.
        last: Seq,
    },
    /// A seal states another document head.
    #[error("the seal of facts {first} to {last} states another head of the journal document")]
    Document {
        /// The range.
        first: Seq,
        /// The range.
        last: Seq,
    },
    /// A fact carries another capture id.
    #[error("fact {0} carries the capture id of another place")]
    Capture(Seq),
    /// Recorded-at runs backwards.
    #[error("fact {0} was recorded before the one before it")]
    Time(Seq),
    /// The log ends inside a group.
    #[error("the log ends inside a group, at fact {0}")]
    CutGroup(Seq),
}

struct Proof<'a> {
    log: LogId,
    key: &'a VerifyingKey,
    device: u64,
    chain: Chain,
    tip: JournalTip,
    recorded_at: i64,
    group_left: u64,
    found: Verified,
}

impl Proof<'_> {
    fn range(&mut self, range: &StoredRange) -> Result<(), Fault> {
        let expected = self.chain.seq().next();
        if range.first != expected {
            return Err(Fault::Gap { expected, found: range.first });
        }
        let mut seq = range.first;
        for fact in &range.facts {
            self.fact(seq, fact)?;
            seq = seq.next();
        }
        self.chain.extend(&range.facts);
        let Some(row) = &range.seal else { return Ok(()) };
        let stated = row.seal.seal;
        let (first, last) = (stated.first, stated.last);
        if (stated.log, last, stated.head) != (self.log, self.chain.seq(), self.chain.head())
            || seal::last_sealable(first, last) != last
        {
            return Err(Fault::Head { first, last });
        }
        row.seal.verify(self.key).map_err(|_| Fault::Signature { first, last })?;
        let columns = columns::encode(&range.facts);
        let (tip, _) = document::append(&self.log, &self.tip, first, &columns);
        let head = tip.head.ok_or(Fault::Document { first, last })?;
        if tip != row.tip || head != stated.document_head {
            return Err(Fault::Document { first, last });
        }
        self.tip = tip;
        match self.found.documents.last_mut() {
            Some((chunk, newest)) if *chunk == tip.chunk => *newest = head,
            _ => self.found.documents.push((tip.chunk, head)),
        }
        self.found.seals += 1;
        self.found.sealed = last;
        Ok(())
    }

    fn fact(&mut self, seq: Seq, fact: &shared::fact::Fact) -> Result<(), Fault> {
        let capture = (field::CAPTURE_DEVICE.of(fact), field::CAPTURE_COUNTER.of(fact));
        if capture != (Some(self.device), Some(seq.0)) {
            return Err(Fault::Capture(seq));
        }
        let recorded_at = field::RECORDED_AT.of(fact).unwrap_or(i64::MIN);
        if recorded_at < self.recorded_at {
            return Err(Fault::Time(seq));
        }
        self.recorded_at = recorded_at;
        self.group_left = on_hand::group_left(fact);
        Ok(())
    }
}

impl Journal {
    /// Proves the log from its file, or says what is wrong first. Reads everything.
    pub fn verify(&self) -> Result<Verified, Fault> {
        let view = &self.inner.view;
        let key = VerifyingKey::from_bytes(&view.genesis.public_key).map_err(|_| Fault::BadKey)?;
        let found = Verified {
            log: view.log,
            facts: 0,
            head: Head(view.log.0),
            seals: 0,
            sealed: Seq::ZERO,
            documents: Vec::new(),
        };
        let mut proof = Proof {
            log: view.genesis.log_id(),
            key: &key,
            device: view.genesis.device.into(),
            chain: Chain::start(view.log),
            tip: JournalTip::default(),
            recorded_at: i64::MIN,
            group_left: 0,
            found,
        };
        let mut fault = None;
        store::for_each_range(&view.transaction()?, view.log, Seq(1), |range| {
            Ok(match proof.range(&range) {
                Ok(()) => ControlFlow::Continue(()),
                Err(found) => {
                    fault = Some(found);
                    ControlFlow::Break(())
                }
            })
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if proof.group_left != 0 {
            return Err(Fault::CutGroup(proof.chain.seq()));
        }
        proof.found.facts = proof.chain.seq().0;
        proof.found.head = proof.chain.head();
        Ok(proof.found)
    }

    /// The journal documents as Automerge files: chunk and bytes. Seal first, so that all is in.
    pub fn export_documents(&self) -> Result<Vec<(u64, Vec<u8>)>, ExportError> {
        let view = &self.inner.view;
        let mut chunks: Vec<(u64, Vec<Vec<u8>>)> = Vec::new();
        let mut tip = JournalTip::default();
        store::for_each_range(&view.transaction()?, view.log, Seq(1), |range| {
            let Some(row) = &range.seal else { return Ok(ControlFlow::Break(())) };
            let columns = columns::encode(&range.facts);
            let (next, change) = document::append(&view.log, &tip, row.seal.seal.first, &columns);
            tip = next;
            match chunks.last_mut() {
                Some((chunk, changes)) if *chunk == tip.chunk => changes.push(change),
                _ => chunks.push((tip.chunk, vec![change])),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let export =
            |(chunk, changes): (u64, Vec<Vec<u8>>)| Ok((chunk, document::export(&changes)?));
        chunks.into_iter().map(export).collect()
    }
}

/// Why the documents are not exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The library refuses what was made here.
    #[error(transparent)]
    Document(#[from] document::ExportError),
}
