//! People write into shared documents, at sites whatever their link and at HQ: remarks and counts,
//! count sheets that become facts, orders' documents, next generations. Both stores and the gate
//! between them are the real ones. Knows no connection.

use std::collections::BTreeSet;
use std::sync::Arc;

use edge_node::api::documents::begin_sheet;
use edge_node::counting::{self, SheetError};
use edge_node::documents::{ChangeError, Documents};
use edge_node::journal::StoreError;
use edge_node::record::Recorder;
use hq_server::gateway::documents::{self, DocumentState};
use shared::document::count_sheet::Bucket;
use shared::document::field::{CARRIER, DIFFERENCE, EXPECTED, PICKED, PICKER, REMARK, TOPIC};
use shared::document::{DocumentId, DocumentKey, DocumentKind, EditError};
use shared::ids::{Capture, ChangeHash, ItemNo, SiteNo};
use shared::sync::edge::EdgeEvent;
use shared::sync::hq::HqEvent;
use shared::sync::{DocumentNews, Following, SignedDocumentBatch, StateCursor};

use super::Wrong;
use super::link::LinkNo;
use super::node::Node;
use super::trace::note;
use super::world::{Event, NodeNo, World};
use crate::random::Random;

/// What a node's people wrote, and what came back.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    /// Every change that was made here.
    pub(super) made: BTreeSet<ChangeHash>,
    /// Those that never came in, and lie with their author.
    pub(super) returned: BTreeSet<ChangeHash>,
    /// How far HQ's decisions are known.
    cursor: StateCursor,
}

/// Texts for keys of a document.
type Puts = Vec<(String, String)>;

fn any_puts(id: DocumentId, who: &str, random: &mut Random) -> Puts {
    let text = || format!("{who} says so");
    let item = Bucket { item: ItemNo(1 + random.number(3)), lot: None };
    let figure = random.below(4).to_string();
    let one = match id.kind() {
        DocumentKind::Transfer => {
            let keys = [REMARK, REMARK, REMARK, CARRIER, EXPECTED, "of-later"].map(str::to_owned);
            let keys = [keys.as_slice(), &[format!("{DIFFERENCE}1-1")]].concat();
            (random.pick(&keys).clone(), text())
        }
        DocumentKind::Order => {
            let picked = format!("{PICKED}{}", random.below(3));
            let keys = [REMARK, PICKER, EXPECTED, &picked];
            ((*random.pick(&keys)).to_owned(), text())
        }
        DocumentKind::CountSheet => match random.below(4) {
            0 => (item.settled_key(), figure),
            1 => (REMARK.to_owned(), text()),
            counter => (item.count_key(["Li", "Wang"][usize::from(counter == 2)]), figure),
        },
        DocumentKind::SiteNotes => (format!("{TOPIC}{}", random.below(3)), text()),
    };
    let mut puts = vec![one];
    if random.chance(1, 5) && puts[0].0 != REMARK {
        puts.push((REMARK.to_owned(), text()));
    }
    puts
}

fn by_key(puts: &Puts) -> Vec<(&str, String)> {
    puts.iter().map(|(key, text)| (key.as_str(), text.clone())).collect()
}

impl Node {
    fn papers(&self) -> &Documents {
        &self.running.as_ref().expect("people write while it runs").documents
    }

    /// What was written is there: it waits for HQ, or HQ decided, or it came back.
    pub(super) fn look_at_documents(&mut self) -> Result<(), Wrong> {
        let Some(running) = self.running.as_ref().filter(|running| running.power.is_on()) else {
            return Ok(());
        };
        let documents = &running.documents;
        let read = || -> Result<_, StoreError> {
            let waiting = documents.waiting_changes(0, usize::MAX)?;
            Ok((waiting, documents.refused()?, documents.cursor()?))
        };
        let (waiting, refused, cursor) =
            read().map_err(|error| self.wrong(&format!("its documents do not read: {error}")))?;
        let returned: BTreeSet<_> = refused.iter().map(|row| row.hash).collect();
        let before = &self.written;
        if cursor.handle == before.cursor.handle && cursor.at < before.cursor.at {
            let why = format!("documents were told up to {:?}, now {cursor:?}", before.cursor);
            return Err(self.wrong(&why));
        }
        if let Some(gone) = before.returned.difference(&returned).next() {
            return Err(self.wrong(&format!("a refused edit is gone: {gone:?}")));
        }
        self.written.made.extend(waiting.iter().map(|(_, change)| change.hash));
        (self.written.returned, self.written.cursor) = (returned, cursor);
        Ok(())
    }

    /// A person writes something; what it was, if it was anything.
    fn write(&mut self, who: &str, random: &mut Random) -> Result<Option<DocumentId>, Wrong> {
        let known = self.papers().names(None);
        let id = match random.below(12) {
            0 => return self.begin_sheet(who),
            1 => DocumentId::SiteNotes { site: self.site },
            2 | 3 => return self.record_sheet(random),
            _ if known.is_empty() => DocumentId::SiteNotes { site: self.site },
            _ => random.pick(&known).id,
        };
        let puts = any_puts(id, who, random);
        let edited = self.papers().edit(id, self.clock.wall(), &by_key(&puts));
        self.after_edit(edited.map(|()| id))
    }

    /// What may go wrong: nothing new, a document that is full, the power.
    fn after_edit(
        &mut self,
        edited: Result<DocumentId, ChangeError>,
    ) -> Result<Option<DocumentId>, Wrong> {
        match edited {
            Ok(id) => Ok(Some(id)),
            Err(ChangeError::Edit(EditError::NothingNew)) => Ok(None),
            Err(ChangeError::Store(_)) if !self.has_power() => Ok(None),
            Err(error) => Err(self.wrong(&format!("a document is not changed: {error}"))),
        }
    }

    fn recorder(&self) -> Recorder {
        let running = self.running.as_ref().expect("people write while it runs");
        let clock = Arc::clone(&self.clock) as Arc<dyn edge_node::journal::Clock>;
        Recorder::new(running.journal.clone(), clock, jiff::tz::TimeZone::UTC)
    }

    fn begin_sheet(&mut self, who: &str) -> Result<Option<DocumentId>, Wrong> {
        let begun = begin_sheet(&self.recorder(), self.papers(), &format!("sheet of {who}"));
        self.after_edit(begun)
    }

    /// A sheet's figures become counts, as far as people agree.
    fn record_sheet(&mut self, random: &mut Random) -> Result<Option<DocumentId>, Wrong> {
        let sheets = self.papers().names(Some(DocumentKind::CountSheet));
        if sheets.is_empty() {
            return Ok(None);
        }
        let id = random.pick(&sheets).id;
        let (recorder, documents) = (self.recorder(), self.papers().clone());
        let counted = self.while_served(|| counting::record_blocking(&recorder, &documents, id))?;
        match counted {
            Ok(_) => Ok(Some(id)),
            // Others differ, or know no such item yet.
            Err(SheetError::Differs { .. } | SheetError::Nothing | SheetError::Refused { .. }) => {
                Ok(None)
            }
            Err(SheetError::Document(error)) => self.after_edit(Err(error)),
            Err(error) => Err(self.wrong(&format!("a sheet is not recorded: {error}"))),
        }
    }

    /// Takes what HQ says of documents, as the link does.
    pub(super) fn apply_documents(&self, signed: &SignedDocumentBatch) -> EdgeEvent {
        match self.papers().apply(signed, self.clock.wall()) {
            Ok(Following::Next | Following::Known) => EdgeEvent::DocumentsApplied,
            Ok(Following::Gap) => EdgeEvent::Overtaken,
            Err(_) => EdgeEvent::DocumentsFailed,
        }
    }
}

impl World {
    pub(super) fn write_later(&mut self, no: NodeNo) {
        if self.plan.writes_each == 0 || self.is_healed {
            return;
        }
        let mean = self.plan.duration_ms / self.plan.writes_each;
        let delay = match self.random.below(3) {
            0 => self.random.between(0, 5_000),
            _ => self.random.between(0, 3 * mean),
        };
        self.after(delay, Event::Write(no));
    }

    /// A person at a site writes into a document, or what it says becomes facts.
    pub(super) fn write(&mut self, no: NodeNo) -> Result<(), Wrong> {
        if self.places[no.0].is_retired || self.is_healed {
            return Ok(());
        }
        self.write_later(no);
        self.finish_turns(no)?;
        let place = &mut self.places[no.0];
        let Some(before) = place.node.reached() else { return Ok(()) };
        self.next_text += 1;
        let who = format!("{} at {}", self.next_text, no.0);
        let wrote = place.node.write(&who, &mut self.random)?;
        if let Some(id) = wrote {
            self.trace().figures.edits += 1;
            note!(self.trace(), "node {}: somebody writes in {id}", no.0);
        }
        if self.documents_moved(no)? {
            self.after_node_turn(no, before)?;
        }
        Ok(())
    }

    /// After something was written or heard: false where the power went over it.
    pub(super) fn documents_moved(&mut self, no: NodeNo) -> Result<bool, Wrong> {
        let place = &mut self.places[no.0];
        if place.node.running.is_none() {
            return Ok(false);
        }
        if !place.node.has_power() {
            self.node_lost_power(no);
            return Ok(false);
        }
        place.node.look_at_documents()?;
        place.edited_at = self.time.now();
        if let Some(link) = place.link {
            let delay = self.random.between(0, 5);
            self.after(delay, Event::EdgeReply(link, Box::new(EdgeEvent::DocumentsChanged)));
        }
        Ok(true)
    }

    /// As the node's own task does once something is recorded.
    pub(super) fn follow_later(&mut self, no: NodeNo) {
        if !std::mem::replace(&mut self.places[no.0].follow_is_due, true) {
            let delay = self.random.between(0, 200);
            self.after(delay, Event::Follow(no));
        }
    }

    /// Transfers' documents name what was recorded.
    pub(super) fn follow(&mut self, no: NodeNo) -> Result<(), Wrong> {
        let place = &mut self.places[no.0];
        place.follow_is_due = false;
        let Some(running) = &place.node.running else { return Ok(()) };
        let followed = running.documents.follow(&running.journal);
        if let Err(error) = followed
            && running.power.is_on()
        {
            return Err(Wrong(format!("node {}: documents do not follow: {error}", no.0)));
        }
        self.documents_moved(no).map(drop)
    }

    /// An edge takes what HQ says of documents. What is in then, HQ said for ever.
    pub(super) fn hear_documents(
        &mut self,
        link: LinkNo,
        no: NodeNo,
        signed: &SignedDocumentBatch,
    ) -> Result<(), Wrong> {
        let reply = self.places[no.0].node.apply_documents(signed);
        if matches!(reply, EdgeEvent::DocumentsApplied) {
            self.hq.promise_documents(signed);
        }
        if self.documents_moved(no)? {
            let delay = self.random.between(0, 3);
            self.after(delay, Event::EdgeReply(link, Box::new(reply)));
        }
        Ok(())
    }

    /// HQ's people write into a document, begin one of an order, or a next generation.
    pub(super) fn write_at_hq(&mut self) -> Result<(), Wrong> {
        let Some(own) = self.hq.own_sender() else { return Ok(()) };
        let documents = self.hq.running.as_ref().expect("it has a sender").documents.clone();
        let (names, at) = (documents.names(), self.hq.now());
        self.next_text += 1;
        let who = format!("{} at HQ", self.next_text);
        let id = if names.is_empty() || self.random.chance(1, 4) {
            self.hq.orders += 1;
            let order = Capture { device: own.device, counter: self.hq.orders };
            DocumentId::Order { site: SiteNo(1 + self.random.number(self.plan.sites)), order }
        } else {
            self.random.pick(&names).id
        };
        if names.iter().any(|key| key.id == id) && self.random.chance(1, 4) {
            let renewed = documents.renew(id, &own, at).map(drop);
            note!(self.trace(), "HQ: the next generation of {id}: {}", renewed.is_ok());
            return self.wrote_at_hq(renewed);
        }
        let puts = any_puts(id, &who, &mut self.random);
        let edited = documents.edit(id, &own, at, &by_key(&puts));
        note!(self.trace(), "HQ: somebody writes in {id}: {}", edited.is_ok());
        self.trace().figures.edits += 1;
        self.wrote_at_hq(edited)
    }

    fn wrote_at_hq(&mut self, wrote: Result<(), documents::ChangeError>) -> Result<(), Wrong> {
        let has_power = self.hq.running.as_ref().is_some_and(|running| running.power.is_on());
        match wrote {
            Ok(())
            | Err(
                documents::ChangeError::Edit(EditError::NothingNew)
                | documents::ChangeError::Unsettled(..),
            ) => {}
            Err(_) if !has_power => {}
            Err(error) => return Err(Wrong(format!("HQ does not change a document: {error}"))),
        }
        self.decided()
    }

    /// After HQ may have decided on something: everybody is told, or its power went over it.
    pub(super) fn decided(&mut self) -> Result<(), Wrong> {
        self.hq.note_decisions();
        self.after_hq_turn()?;
        self.tell_sessions()
    }

    /// HQ's answer about documents reaches its session.
    pub(super) fn hq_reply(&mut self, link: LinkNo, event: HqEvent) -> Result<(), Wrong> {
        let has_power = self.hq.running.as_ref().is_some_and(|running| running.power.is_on());
        if has_power {
            self.hq_event(link, event)?;
        }
        self.decided()
    }
}

impl super::hq::Hq {
    /// What a site was told is in stays in, in this history.
    fn promise_documents(&mut self, signed: &SignedDocumentBatch) {
        if self.documents_handle != Some(signed.batch.to.handle) {
            return;
        }
        let hash = |news: &DocumentNews| match news {
            DocumentNews::Taken { hash, .. } => Some(*hash),
            DocumentNews::Change { bytes, .. } => {
                shared::document::Change::read(bytes).ok().map(|change| change.hash)
            }
            DocumentNews::Refused { .. } => None,
        };
        self.promises.taken.extend(signed.batch.news.iter().filter_map(hash));
    }
}

/// What is compared: heads, and for each key what is shown there, and what a person has to settle.
pub(super) type Shown = (Vec<ChangeHash>, Vec<(String, Vec<String>, bool)>);

/// A document as a place shows it.
pub(super) fn shown(replica: &shared::document::Replica) -> Shown {
    let key = |key: String| {
        let texts = replica.values(&key).into_iter().map(|value| value.text).collect();
        let differs = replica.conflict(&key).is_some();
        (key, texts, differs)
    };
    (replica.heads(), replica.keys().into_iter().map(key).collect())
}

/// The generation that HQ has, by name.
pub(super) fn at_hq(
    documents: &documents::Documents,
    key: DocumentKey,
) -> Result<DocumentState, Wrong> {
    documents.get(key.id).map_err(|error| Wrong(format!("HQ's {key}: {error}")))
}
