//! Takes HQ's answer out of a file: acknowledgement and keyed state, by the checks of a session
//! (`shared::sync::edge`). What a session would call out of order is here an older file: skipped,
//! and said.

use std::io::{Read, Seek};

use shared::sync::bundle::{
    BUNDLE_BYTES_MAX, BundleError, BundleHead, BundleReader, BundleScan, Direction, Verified,
};
use shared::sync::edge::EdgeEnd;
use shared::sync::{
    Acknowledgement, Following, Frame, SignedAcknowledgement, SignedDocumentBatch, SignedPostings,
    SignedStateBatch, Welcome,
};

use super::{Bundles, ImportError, PIECE_BYTES};
use crate::journal::StateError;

/// What came of a bundle from HQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What stands outside.
    pub head: BundleHead,
    /// What HQ says there.
    pub said: Acknowledgement,
    /// What this node knew before.
    pub known: Option<Acknowledgement>,
    /// The node knew as much or more.
    pub is_old: bool,
    /// How many pieces of master data were taken.
    pub state_facts: u64,
    /// Master data that comes before what is in the bundle is missing.
    pub state_gap: bool,
}

impl Imported {
    /// What HQ lost, should it have lost something: it had acknowledged more than it has now.
    pub fn lost(&self) -> Option<String> {
        let known = self.known.filter(|_| !self.is_old)?;
        (known.history != self.said.history).then(|| {
            format!(
                "HQ was restored from a backup: it had acknowledged facts up to {} and has {} now; the next \
                 bundle begins there by itself",
                known.received.last, self.said.received.last
            )
        })
    }
}

impl Bundles {
    /// Proves the whole file, then takes what is in it.
    pub fn import(&self, file: &mut (impl Read + Seek)) -> Result<Imported, ImportError> {
        let verified = self.prove(file)?;
        file.rewind()?;
        let mut taking = Taking::new(self, *verified.head());
        let mut reader = BundleReader::new(verified, &self.keys.own)?;
        pieces(file, |piece| {
            reader.push(piece)?;
            while let Some(frame) = reader.next_frame()? {
                taking.take(frame)?;
            }
            Ok(())
        })?;
        reader.finish()?;
        let imported = taking.finish()?;
        // What was taken is durable when this answers.
        self.journal.seal_now_blocking()?;
        Ok(imported)
    }

    /// Takes HQ's word on this log that came without a bundle; whether it says anything new.
    pub fn take_word(&self, signed: SignedAcknowledgement) -> Result<bool, ImportError> {
        let said = signed.acknowledgement;
        if signed.verify(&self.keys.hq).is_err() {
            return Err(EdgeEnd::BadSignature("an acknowledgement").into());
        }
        let (own, received) = (self.journal.position().last, said.received);
        if received.last > own {
            return Err(EdgeEnd::Restored { hq: received.last, own }.into());
        }
        if self.journal.head_at(received.last)? != received.head {
            return Err(EdgeEnd::Fork(received.last).into());
        }
        let known = self.witness();
        let is_news = known.is_none_or(|known| is_news(&said, &known.acknowledgement));
        if is_news {
            self.journal.note_acknowledgement_blocking(signed)?;
        }
        Ok(is_news)
    }

    fn prove(&self, file: &mut impl Read) -> Result<Verified, ImportError> {
        let mut scan = BundleScan::new();
        pieces(file, |piece| Ok(scan.push(piece)?))?;
        let scanned = scan.finish()?;
        scanned.check_direction(Direction::FromHq)?;
        let (bundle, own) = (scanned.head().log, self.journal.log());
        if bundle != own {
            return Err(ImportError::OtherLog { bundle, own });
        }
        Ok(scanned.verify(&self.keys.hq)?)
    }
}

/// Reads a file to its end, piece by piece; no more than a bundle may have.
fn pieces(
    file: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut file = file.take(BUNDLE_BYTES_MAX + 1);
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        take(&piece[..length])?;
    }
    if file.limit() == 0 { Err(BundleError::NotABundle.into()) } else { Ok(()) }
}

/// A bundle while its frames come.
struct Taking<'a> {
    bundles: &'a Bundles,
    head: BundleHead,
    known: Option<SignedAcknowledgement>,
    said: Option<Acknowledgement>,
    is_old: bool,
    state_facts: u64,
    state_gap: bool,
}

impl<'a> Taking<'a> {
    fn new(bundles: &'a Bundles, head: BundleHead) -> Self {
        let known = bundles.witness();
        Self { bundles, head, known, said: None, is_old: false, state_facts: 0, state_gap: false }
    }

    fn take(&mut self, frame: Frame) -> Result<(), ImportError> {
        match frame {
            Frame::Welcome(welcome) => self.take_welcome(&welcome),
            Frame::Acknowledgement(signed) => self.take_acknowledgement(signed),
            Frame::State(signed) => self.take_state(signed),
            Frame::Documents(signed) => self.take_documents(&signed),
            Frame::Postings(signed) => self.take_postings(signed),
            // The reader lets nothing else through but the last good-bye.
            _ => Ok(()),
        }
    }

    fn take_welcome(&self, welcome: &Welcome) -> Result<(), ImportError> {
        let own = self.bundles.journal.position();
        let hq = welcome.cursor;
        if hq.last > own.last {
            return Err(EdgeEnd::Restored { hq: hq.last, own: own.last }.into());
        }
        if self.bundles.journal.head_at(hq.last)? == hq.head {
            Ok(())
        } else {
            Err(EdgeEnd::Fork(hq.last).into())
        }
    }

    fn take_acknowledgement(&mut self, signed: SignedAcknowledgement) -> Result<(), ImportError> {
        self.is_old = !self.bundles.take_word(signed)?;
        self.said = Some(signed.acknowledgement);
        Ok(())
    }

    fn take_state(&mut self, signed: SignedStateBatch) -> Result<(), ImportError> {
        let journal = &self.bundles.journal;
        if signed.verify(&self.bundles.keys.hq).is_err() {
            return Err(EdgeEnd::BadSignature("keyed state").into());
        }
        if signed.batch.site != journal.genesis().site {
            let text = "master data of another site".to_owned();
            return Err(BundleError::Inside(text).into());
        }
        match signed.batch.following(journal.state_cursor()) {
            // What an earlier life of HQ's store said must not replace what this one says.
            Following::Next if self.is_old && !self.lives_on() => {}
            Following::Next => {
                let facts = signed.batch.facts_count();
                match journal.apply_state_blocking(signed) {
                    Ok(_) => self.state_facts += facts,
                    // A link that came up meanwhile was faster.
                    Err(StateError::NotNext { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Following::Known => {}
            Following::Gap => self.state_gap = true,
        }
        Ok(())
    }

    fn take_documents(&self, signed: &SignedDocumentBatch) -> Result<(), ImportError> {
        let Some(documents) = &self.bundles.documents else { return Ok(()) };
        if signed.verify(&self.bundles.keys.hq).is_err() {
            return Err(EdgeEnd::BadSignature("a batch of documents").into());
        }
        if signed.batch.site != documents.owner().site {
            return Err(BundleError::Inside("documents of another site".to_owned()).into());
        }
        let is_next = signed.batch.following(documents.cursor()?) == Following::Next;
        // As with master data: what an earlier life of HQ's store said is no news.
        if is_next && (self.lives_on() || !self.is_old) {
            documents.apply(signed, self.bundles.wall.now())?;
        }
        Ok(())
    }

    /// What became of facts. HQ's word that was held before may be the one of this bundle, for a
    /// neighbour brings it first; an older one would say again what waited then.
    fn take_postings(&self, signed: SignedPostings) -> Result<(), ImportError> {
        if signed.verify(&self.bundles.keys.hq).is_err() {
            return Err(EdgeEnd::BadSignature("what became of facts").into());
        }
        let known = self.known.map(|known| known.acknowledgement.at);
        let is_older = self.said.zip(known).is_some_and(|(said, known)| said.at < known);
        if !is_older {
            self.bundles.journal.note_postings_blocking(signed)?;
        }
        Ok(())
    }

    /// Whether HQ is in the same life as when the node last heard of it.
    fn lives_on(&self) -> bool {
        self.known.is_none_or(|known| known.acknowledgement.history == self.head.history)
    }

    fn finish(self) -> Result<Imported, ImportError> {
        let said = self
            .said
            .ok_or_else(|| BundleError::Inside("it brings no acknowledgement".to_owned()))?;
        Ok(Imported {
            head: self.head,
            said,
            known: self.known.map(|signed| signed.acknowledgement),
            is_old: self.is_old,
            state_facts: self.state_facts,
            state_gap: self.state_gap,
        })
    }
}

/// Whether an acknowledgement says more than the one that is held. Of one life of HQ's store, none
/// of its levels goes back; of two, the later word counts.
fn is_news(said: &Acknowledgement, known: &Acknowledgement) -> bool {
    if said.history != known.history {
        return said.at > known.at;
    }
    let levels = |of: &Acknowledgement| [of.received.last, of.safe, of.posted];
    let pairs = || levels(said).into_iter().zip(levels(known));
    pairs().all(|(said, known)| said >= known) && pairs().any(|(said, known)| said > known)
}
