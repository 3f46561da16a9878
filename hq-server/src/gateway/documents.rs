//! Shared documents at HQ: the place where it is decided, for everybody and for ever, whether a
//! change is in. Knows no connection and no books: nothing here moves stock or money.
//!
//! Invariants: a decision is durable before anybody hears of it; decisions are numbered in one
//! order, so a cursor says what a site knows; a site hears of the documents that it handles, and of
//! refusals of its own changes; whatever bytes come, they cost bounded time and room, and no site
//! takes more of it than is allowed at once and each day.

mod file;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ed25519_dalek::SigningKey;
use redb::StorageBackend;
use shared::document::{
    Actor, Admission, Change, DocumentId, DocumentKey, EditError, Flaw, Outcome, Replica, Value,
};
use shared::ids::{ChangeHash, DeviceNo, HistoryId, LogId, SiteNo};
use shared::planted::{self, Fault};
use shared::sync::{
    AcceptedHeads, DocumentBatch, DocumentChange, DocumentNews, GivenDocuments, Lives,
    SignedDocumentBatch, StateCursor, limits,
};
use shared::time::Timestamp;
use tokio::sync::watch;

use super::keyed_state::handle_of;
use crate::store::FileError;
use file::{Decision, DocumentsFile, Verdict};
use room::Room;

pub use room::{Allowance, HeldBack, REFUSALS};

/// Says in a file of documents whose life it is of: what a restore does before it begins another.
pub fn note_life(path: &Path, history: &HistoryId) -> Result<(), FileError> {
    let file = DocumentsFile::open(path, 1 << 20)?;
    file.begin_life(handle_of(history, NUMBERING)).map(drop)
}

/// Raised when decisions are numbered in another way.
const NUMBERING: u64 = 0;

/// How many documents are kept ready in memory.
const READY_MAX: usize = 64;

/// How many puts HQ's own changes have at a time when it begins a generation.
const CARRIED_PUTS: usize = 8;

/// Who sent a change, as its connection proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The site.
    pub site: SiteNo,
    /// The installation.
    pub device: DeviceNo,
    /// Its log.
    pub log: LogId,
}

/// Why a change never comes in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// The document is none of the site's.
    #[error("this site does not handle {0}")]
    OtherSite(DocumentId),
    /// The name says that somebody began it who is not there.
    #[error("{0} names an installation that its site does not have")]
    NotBegunThere(DocumentId),
    /// The generation is over.
    #[error("{id} goes on in generation {newest}: make the change there")]
    Over {
        /// The document.
        id: DocumentId,
        /// The generation that takes changes.
        newest: u32,
    },
    /// HQ began no such generation.
    #[error("HQ began no generation {} of {}", .0.generation, .0.id)]
    NotBegun(DocumentKey),
    /// The change itself.
    #[error("{0}")]
    Flaw(#[from] Flaw),
}

impl ChangeRefused {
    /// Whether it may be HQ that does not know any more, where it was restored.
    const fn may_be_a_loss(&self) -> bool {
        matches!(self, Self::NotBegun(_) | Self::NotBegunThere(_))
    }
}

/// Why HQ can't change a document.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is none.
    #[error("there is no document {0}: see 'hq-server document list'")]
    Unknown(DocumentId),
    /// What is wanted can't be.
    #[error("{0}")]
    Edit(#[from] EditError),
    /// People have to settle something first.
    #[error("{0} values at '{1}' wait for a person to settle them: put the one that holds first")]
    Unsettled(usize, String),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A document as HQ has it.
#[derive(Clone, Debug)]
pub struct DocumentState {
    /// The newest generation, read.
    pub replica: Replica,
    /// When its last change came.
    pub changed_at: Timestamp,
}

impl DocumentState {
    /// Keys whose values a person has to settle.
    pub fn conflicts(&self) -> impl Iterator<Item = (String, Vec<Value>)> + '_ {
        let keys = self.replica.keys().into_iter();
        keys.filter_map(|key| self.replica.conflict(&key).map(|values| (key, values)))
    }
}

/// A change that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedChange {
    /// Its place among all decisions.
    pub place: u64,
    /// The document that it was for.
    pub key: DocumentKey,
    /// The site that sent it.
    pub site: SiteNo,
    /// The installation that sent it.
    pub device: DeviceNo,
    /// When it came.
    pub at: Timestamp,
    /// The name that it was announced with.
    pub hash: ChangeHash,
    /// Why.
    pub reason: String,
    /// As it came.
    pub bytes: Vec<u8>,
}

/// Every shared document; clones share everything.
#[derive(Clone, Debug)]
pub struct Documents {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: DocumentsFile,
    handle: u64,
    /// Of this installation, up to the backups that it was put back to.
    lives_over: Vec<StateCursor>,
    key: SigningKey,
    state: Mutex<State>,
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    last: u64,
    /// The places of every generation's changes that are in.
    accepted: BTreeMap<DocumentKey, Vec<u64>>,
    /// The places that a site may hear of, refusals of its own included.
    by_site: BTreeMap<SiteNo, Vec<u64>>,
    /// The places of refusals.
    refused: BTreeMap<(LogId, DocumentKey, ChangeHash), u64>,
    refusals: Room,
    room: Room,
    /// Documents that were used last, the last one at the end.
    ready: Vec<Replica>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            last: 0,
            accepted: BTreeMap::new(),
            by_site: BTreeMap::new(),
            refused: BTreeMap::new(),
            refusals: Room::new(REFUSALS),
            room: Room::new(room::BYTES),
            ready: Vec::new(),
        }
    }
}

impl State {
    fn note(&mut self, place: u64, decision: &Decision) {
        self.last = place;
        match &decision.verdict {
            Verdict::Accepted(_) => {
                self.accepted.entry(decision.key).or_default().push(place);
                self.room.take(decision.site, decision.at, decision.size());
                for site in decision.key.id.sites() {
                    self.by_site.entry(site).or_default().push(place);
                }
                if planted::is(Fault::ToldOfAll) {
                    let others = self.by_site.iter_mut();
                    let others = others.filter(|(site, _)| !decision.key.id.is_of(**site));
                    others.for_each(|(_, told)| told.push(place));
                }
            }
            Verdict::Refused { log, hash, .. } => {
                self.refused.insert((*log, decision.key, *hash), place);
                self.refusals.take(decision.site, decision.at, 1);
                self.by_site.entry(decision.site).or_default().push(place);
            }
        }
    }

    fn held_back(&self, site: SiteNo, now: Timestamp) -> Option<HeldBack> {
        let Self { room, refusals, .. } = self;
        let bytes = |taken| HeldBack::Bytes { taken, a_day: room.allowance.a_day };
        let refused = |taken| HeldBack::Refusals { taken, a_day: refusals.allowance.a_day };
        let by_bytes = room.is_full(site, now).map(bytes);
        by_bytes.or_else(|| refusals.is_full(site, now).map(refused))
    }

    /// The newest generation of a document that has changes.
    fn newest(&self, id: DocumentId) -> Option<DocumentKey> {
        let all = DocumentKey::first(id)..=DocumentKey { id, generation: u32::MAX };
        self.accepted.range(all).next_back().map(|(key, _)| *key)
    }

    fn keep_ready(&mut self, replica: Replica) {
        self.ready.retain(|known| known.key() != replica.key());
        if self.ready.len() == READY_MAX {
            self.ready.remove(0);
        }
        self.ready.push(replica);
    }
}

/// Decisions that become durable together.
struct Deciding<'a> {
    inner: &'a Inner,
    state: MutexGuard<'a, State>,
    replicas: BTreeMap<DocumentKey, Replica>,
    decisions: Vec<Decision>,
}

impl Documents {
    /// Opens the file, or makes it.
    pub fn open(
        path: &Path,
        history: &HistoryId,
        key: SigningKey,
        cache_bytes: usize,
    ) -> Result<Self, FileError> {
        Self::start(DocumentsFile::open(path, cache_bytes)?, history, key)
    }

    /// As [`Self::open`], over storage that a test controls.
    pub fn with_backend(
        backend: impl StorageBackend,
        history: &HistoryId,
        key: SigningKey,
    ) -> Result<Self, FileError> {
        Self::start(DocumentsFile::open_backend(backend)?, history, key)
    }

    fn start(file: DocumentsFile, history: &HistoryId, key: SigningKey) -> Result<Self, FileError> {
        let mut state = State::default();
        file.each(|place, decision| state.note(place, &decision))?;
        let last = watch::Sender::new(state.last);
        let handle = handle_of(history, NUMBERING);
        let lives_over = file.begin_life(handle)?;
        let state = Mutex::new(state);
        Ok(Self { inner: Arc::new(Inner { file, handle, lives_over, key, state, last }) })
    }

    /// Changes with every decision.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.last.subscribe()
    }

    /// Copies everything, as of one commit, to a new file.
    pub fn copy_to(&self, path: &Path) -> Result<(), FileError> {
        self.inner.file.copy_to(path)
    }

    /// Decides on changes, in order: durable when it returns. Gives those that build on changes
    /// that are not here, and those that are too much at once; nothing is kept of them. `site_of`
    /// says whose an installation is.
    pub fn take(
        &self,
        sender: &Sender,
        changes: Vec<DocumentChange>,
        at: Timestamp,
        site_of: impl Fn(DeviceNo) -> Option<SiteNo>,
    ) -> Result<Vec<ChangeHash>, FileError> {
        let mut deciding = self.inner.deciding();
        let waits = deciding.take(sender, changes, at, &site_of)?;
        deciding.commit()?;
        Ok(waits)
    }

    /// The lives of this installation, where some are over: sites may know of decisions that are lost.
    pub fn lives(&self) -> Option<Lives> {
        let Inner { handle, lives_over, .. } = &*self.inner;
        let lives = || Lives { now: *handle, before: lives_over.clone() };
        (!lives_over.is_empty()).then(lives)
    }

    /// Takes back what HQ decided in a life that is over, as it told a site: durable when it returns. What
    /// is here is left, and so is what came too late: its document's generation is over. False where
    /// something builds on changes that are not here: it is to come again.
    pub fn take_back(&self, given: &GivenDocuments, at: Timestamp) -> Result<bool, FileError> {
        if given.told.verify(&self.inner.key.verifying_key()).is_err() {
            // Of another HQ, where the node once was: nobody here wants it.
            tracing::warn!("documents were given back that this HQ did not sign");
            return Ok(true);
        }
        let (mut deciding, mut is_whole) = (self.inner.deciding(), true);
        for (key, name, bytes) in given.changes() {
            is_whole &= deciding.take_back(key, name, bytes, at)?;
        }
        deciding.commit()?;
        Ok(is_whole)
    }

    /// Why a site's changes wait, where it wrote so much, or so much that was refused.
    pub fn held_back(&self, site: SiteNo, now: Timestamp) -> Option<HeldBack> {
        self.inner.state().held_back(site, now)
    }

    /// Allows sites less, where a test has not so much to write.
    pub fn allow(&self, allowance: Allowance) {
        self.inner.state().room.allowance = allowance;
    }

    /// What a site does not know yet after `from`: changes of the documents that it handles, and
    /// what became of its own. Of those in `sent` the sender has the bytes.
    pub fn since(
        &self,
        site: SiteNo,
        log: &LogId,
        from: StateCursor,
        sent: &[ChangeHash],
    ) -> Result<Option<SignedDocumentBatch>, FileError> {
        let handle = self.inner.handle;
        let places: Vec<u64> = {
            let state = self.inner.state();
            let after = if from.handle == handle { from.at } else { 0 };
            let all = state.by_site.get(&site).map(Vec::as_slice).unwrap_or_default();
            let rest = all.partition_point(|place| *place <= after);
            all[rest..].iter().take(limits::DOCUMENT_NEWS_MAX).copied().collect()
        };
        // Who knows another history hears at once that this is a new one, and offers its own again.
        let is_new = from.handle != handle && from != StateCursor::START;
        let from = if from.handle == handle { from } else { StateCursor { handle, at: 0 } };
        let mut batch = DocumentBatch { site, from, to: from, news: Vec::new(), heads: Vec::new() };
        let mut bytes = 0;
        let mut heads = BTreeMap::new();
        for pieces in places.chunks(64) {
            for (place, decision) in pieces.iter().zip(self.inner.file.at(pieces)?) {
                let Some(Told { news, size, accepted }) = news(decision, log, sent) else {
                    batch.to.at = *place;
                    continue;
                };
                bytes += size;
                if bytes > limits::DOCUMENTS_BYTES_AIM && !batch.news.is_empty() {
                    return Ok(Some(self.signed(batch, heads)));
                }
                batch.to.at = *place;
                heads.extend(accepted.map(|accepted| (news.key(), accepted)));
                batch.news.push(news);
            }
        }
        Ok((is_new || batch.to.at > batch.from.at).then(|| self.signed(batch, heads)))
    }

    fn signed(
        &self,
        mut batch: DocumentBatch,
        heads: BTreeMap<DocumentKey, Vec<ChangeHash>>,
    ) -> SignedDocumentBatch {
        let heads = heads.into_iter().map(|(key, heads)| AcceptedHeads { key, heads });
        batch.heads = heads.collect();
        batch.sign(&self.inner.key)
    }

    /// The newest generation of every document, in order of their names.
    pub fn names(&self) -> Vec<DocumentKey> {
        let state = self.inner.state();
        let ids: BTreeSet<_> = state.accepted.keys().map(|key| key.id).collect();
        ids.into_iter().filter_map(|id| state.newest(id)).collect()
    }

    /// A document's newest generation.
    pub fn get(&self, id: DocumentId) -> Result<DocumentState, ChangeError> {
        let mut state = self.inner.state();
        let key = state.newest(id).ok_or(ChangeError::Unknown(id))?;
        let replica = self.inner.replica(&state, key)?;
        state.keep_ready(replica.clone());
        let last = state.accepted[&key].last().copied();
        drop(state);
        let last = self.inner.file.at(last.as_slice())?;
        let changed_at = last.first().map_or(Timestamp(0), |decision| decision.at);
        Ok(DocumentState { replica, changed_at })
    }

    /// Every change that was refused, the newest first.
    pub fn refused(&self) -> Result<Vec<RefusedChange>, FileError> {
        let mut places: Vec<u64> = self.inner.state().refused.values().copied().collect();
        places.sort_unstable_by(|one, next| next.cmp(one));
        let refused = places.iter().zip(self.inner.file.at(&places)?).filter_map(|(place, it)| {
            let Decision { key, site, device, at, bytes, verdict } = it;
            let Verdict::Refused { hash, reason, .. } = verdict else { return None };
            Some(RefusedChange { place: *place, key, site, device, at, hash, reason, bytes })
        });
        Ok(refused.collect())
    }

    /// HQ's own change of a document, which it may begin.
    pub fn edit(
        &self,
        id: DocumentId,
        own: &Sender,
        at: Timestamp,
        puts: &[(&str, String)],
    ) -> Result<(), ChangeError> {
        let mut deciding = self.inner.deciding();
        let key = deciding.state.newest(id).unwrap_or_else(|| DocumentKey::first(id));
        deciding.write(key, own, at, puts)?;
        Ok(deciding.commit()?)
    }

    /// Begins a document's next generation with what the last one says; the history stays in the
    /// last one, which takes no more changes.
    pub fn renew(
        &self,
        id: DocumentId,
        own: &Sender,
        at: Timestamp,
    ) -> Result<DocumentKey, ChangeError> {
        let before = self.get(id)?;
        if let Some((key, values)) = before.conflicts().next() {
            return Err(ChangeError::Unsettled(values.len(), key));
        }
        let next = before.replica.key().next();
        let keys = before.replica.keys();
        let texts: Vec<_> = keys.iter().map(|key| before.replica.text(key)).collect();
        let puts = keys.iter().map(String::as_str).zip(texts);
        let puts: Vec<_> = puts.filter_map(|(key, text)| Some((key, text?))).collect();
        let mut deciding = self.inner.deciding();
        for puts in puts.chunks(CARRIED_PUTS) {
            deciding.write(next, own, at, puts)?;
        }
        deciding.commit()?;
        Ok(next)
    }
}

/// What a site hears of a decision.
struct Told {
    news: DocumentNews,
    /// About, on the wire.
    size: usize,
    /// The document's heads after it, where it is in.
    accepted: Option<Vec<ChangeHash>>,
}

/// What the installation with this log hears of a decision; refusals are for their author alone.
fn news(decision: Decision, log: &LogId, sent: &[ChangeHash]) -> Option<Told> {
    let Decision { key, bytes, verdict, .. } = decision;
    match verdict {
        Verdict::Accepted(heads) => {
            let read = (!sent.is_empty()).then(|| Change::read(&bytes).ok()).flatten();
            let known = read.map(|change| change.hash).filter(|hash| sent.contains(hash));
            // Also where the site has it: all of a batch may have to come back one day.
            let size = bytes.len() + 64;
            let change = || DocumentNews::Change { key, bytes };
            let news = known.map_or_else(change, |hash| DocumentNews::Taken { key, hash });
            Some(Told { news, size, accepted: Some(heads) })
        }
        Verdict::Refused { log: of, hash, reason } => (of == *log).then(|| {
            let size = reason.len() + 64;
            let news = DocumentNews::Refused { key, hash, reason };
            Told { news, size, accepted: None }
        }),
    }
}

/// Changes that follow each other in one document are decided on together.
fn by_document(changes: Vec<DocumentChange>) -> Vec<Vec<DocumentChange>> {
    let mut groups: Vec<Vec<DocumentChange>> = Vec::new();
    for change in changes {
        match groups.last_mut() {
            Some(group) if group[0].key == change.key => group.push(change),
            _ => groups.push(vec![change]),
        }
    }
    groups
}

/// The change that was announced, by whoever sent it.
fn check(change: &DocumentChange, actor: Actor) -> Result<Change, Flaw> {
    let read = Change::read(&change.bytes)?;
    if read.hash != change.hash {
        return Err(Flaw::OtherHash);
    }
    let is_own = read.actor == actor || planted::is(Fault::AnybodysChange);
    if is_own { Ok(read) } else { Err(Flaw::OtherActor) }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // It changes only after a commit, by operations that do not fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deciding(&self) -> Deciding<'_> {
        let state = self.state();
        Deciding { inner: self, state, replicas: BTreeMap::new(), decisions: Vec::new() }
    }

    /// A generation as it stands, or at its beginning.
    fn replica(&self, state: &State, key: DocumentKey) -> Result<Replica, FileError> {
        if let Some(ready) = state.ready.iter().find(|replica| replica.key() == key) {
            return Ok(ready.clone());
        }
        let places = state.accepted.get(&key).map(Vec::as_slice).unwrap_or_default();
        let decisions = self.file.at(places)?;
        let changes = decisions.iter().map(|decision| decision.bytes.as_slice());
        Replica::load(key, changes).map_err(|flaw| {
            tracing::error!("{key} does not read: {flaw}");
            file::damaged("a shared document")
        })
    }
}

impl Deciding<'_> {
    fn take(
        &mut self,
        sender: &Sender,
        changes: Vec<DocumentChange>,
        at: Timestamp,
        site_of: &impl Fn(DeviceNo) -> Option<SiteNo>,
    ) -> Result<Vec<ChangeHash>, FileError> {
        let actor = Actor::of(sender.site, sender.device, &sender.log);
        let (mut new, mut waits) = (Vec::new(), Vec::new());
        for change in changes {
            // Its author has not heard yet what was decided, whatever became of the document since.
            let is_refused =
                self.state.refused.contains_key(&(sender.log, change.key, change.hash));
            let is_in = change.key.id.is_of(sender.site) && self.has(&change)?;
            if !is_refused && !is_in {
                new.push(change);
            }
        }
        if self.state.held_back(sender.site, at).is_some() {
            return Ok(new.into_iter().map(|change| change.hash).collect());
        }
        for of_one in by_document(new) {
            let key = of_one[0].key;
            if let Err(why) = self.allows(sender, key, site_of) {
                if why.may_be_a_loss() && !self.inner.lives_over.is_empty() {
                    waits.extend(of_one.iter().map(|change| change.hash));
                    continue;
                }
                for change in of_one {
                    self.refuse(sender, at, change, &why);
                }
                continue;
            }
            let (mut sound, mut read) = (Vec::new(), Vec::new());
            for change in of_one {
                match check(&change, actor) {
                    Ok(checked) => {
                        sound.push(change);
                        read.push(checked);
                    }
                    Err(flaw) => self.refuse(sender, at, change, &flaw.into()),
                }
            }
            let outcomes = self.admit(key, at, &read, Replica::admit)?;
            for (change, outcome) in sound.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Taken | Outcome::Known => {}
                    Outcome::Waits(_) => waits.push(change.hash),
                    Outcome::Refused(flaw) => self.refuse(sender, at, change, &flaw.into()),
                }
            }
        }
        Ok(waits)
    }

    /// Decides again as HQ once did; false where it builds on what is not here. A change that does not read,
    /// or is not the one that HQ named, can't be taken.
    fn take_back(
        &mut self,
        key: DocumentKey,
        name: Option<ChangeHash>,
        bytes: &[u8],
        at: Timestamp,
    ) -> Result<bool, FileError> {
        let read = Change::read(bytes).ok();
        let named = read.filter(|change| name.is_none_or(|name| name == change.hash));
        let Some(change) = named else { return Ok(true) };
        let newest = self.state.newest(key.id).map_or(1, |newest| newest.generation);
        if newest > key.generation && !self.replica(key)?.has(&change.hash) {
            tracing::warn!(
                "a change of {key} that was lost came back after generation {newest} began"
            );
            return Ok(true);
        }
        let outcomes = self.admit(key, at, &[change], Replica::admit_decided)?;
        Ok(!matches!(outcomes[..], [Outcome::Waits(_)]))
    }

    /// Whether it is in its document.
    fn has(&mut self, change: &DocumentChange) -> Result<bool, FileError> {
        if !self.state.accepted.contains_key(&change.key) {
            return Ok(false);
        }
        let known = self.replica(change.key)?;
        let is_same =
            |known: &Change| (known.hash, known.bytes()) == (change.hash, &change.bytes[..]);
        Ok(known.has(&change.hash) && known.changes().any(is_same))
    }

    /// Whether the sender may write in a document's generation at all.
    fn allows(
        &self,
        sender: &Sender,
        key: DocumentKey,
        site_of: impl Fn(DeviceNo) -> Option<SiteNo>,
    ) -> Result<(), ChangeRefused> {
        let DocumentKey { id, generation } = key;
        if !id.is_of(sender.site) && !planted::is(Fault::OtherSitesChange) {
            return Err(ChangeRefused::OtherSite(id));
        }
        if let Some((site, device)) = id.begun_by()
            && site_of(device) != Some(site)
        {
            return Err(ChangeRefused::NotBegunThere(id));
        }
        match self.state.newest(id).map_or(1, |newest| newest.generation) {
            newest if newest > generation => Err(ChangeRefused::Over { id, newest }),
            newest if newest < generation => Err(ChangeRefused::NotBegun(key)),
            _ => Ok(()),
        }
    }

    fn replica(&mut self, key: DocumentKey) -> Result<&mut Replica, FileError> {
        if !self.replicas.contains_key(&key) {
            let replica = self.inner.replica(&self.state, key)?;
            self.replicas.insert(key, replica);
        }
        Ok(self.replicas.get_mut(&key).expect("it was just put there"))
    }

    fn admit(
        &mut self,
        key: DocumentKey,
        at: Timestamp,
        changes: &[Change],
        admit: impl FnOnce(&mut Replica, Vec<Change>) -> Admission,
    ) -> Result<Vec<Outcome>, FileError> {
        let replica = self.replica(key)?;
        let mut heads: BTreeSet<_> = replica.heads().into_iter().collect();
        let outcomes = admit(replica, changes.to_vec()).outcomes;
        let taken = changes.iter().zip(&outcomes).filter(|(_, made)| **made == Outcome::Taken);
        for (change, _) in taken {
            // As if each had come alone: a batch to a site may end after any of them.
            heads.retain(|head| !change.dependencies.contains(head));
            heads.insert(change.hash);
            self.decisions.push(Decision {
                key,
                site: change.actor.site(),
                device: change.actor.device(),
                at,
                bytes: change.bytes().to_vec(),
                verdict: Verdict::Accepted(heads.iter().copied().collect()),
            });
        }
        Ok(outcomes)
    }

    /// HQ's own change.
    fn write(
        &mut self,
        key: DocumentKey,
        own: &Sender,
        at: Timestamp,
        puts: &[(&str, String)],
    ) -> Result<(), ChangeError> {
        let actor = Actor::of(own.site, own.device, &own.log);
        let seconds = at.0.div_euclid(1_000);
        let replica = self.replica(key)?;
        let change = replica.edit(actor, seconds, puts)?;
        let verdict = Verdict::Accepted(replica.heads());
        let (site, device, bytes) = (own.site, own.device, change.bytes().to_vec());
        self.decisions.push(Decision { key, site, device, at, bytes, verdict });
        Ok(())
    }

    fn refuse(
        &mut self,
        sender: &Sender,
        at: Timestamp,
        change: DocumentChange,
        why: &ChangeRefused,
    ) {
        let DocumentChange { key, hash, bytes } = change;
        let (Sender { site, device, log }, reason) = (*sender, why.to_string());
        let is_same = |decision: &Decision| match &decision.verdict {
            Verdict::Refused { log: of, hash: known, .. } => {
                (decision.key, *of, *known) == (key, log, hash)
            }
            Verdict::Accepted(_) => false,
        };
        let is_known = self.state.refused.contains_key(&(log, key, hash))
            || self.decisions.iter().any(is_same);
        if is_known {
            return;
        }
        tracing::warn!(%site, %device, "a change of {key} is refused: {reason}");
        let verdict = Verdict::Refused { log, hash, reason };
        self.decisions.push(Decision { key, site, device, at, bytes, verdict });
    }

    fn commit(mut self) -> Result<(), FileError> {
        if self.decisions.is_empty() {
            return Ok(());
        }
        let last = self.state.last;
        self.inner.file.append(last, &self.decisions)?;
        for (place, decision) in (last + 1..).zip(&self.decisions) {
            self.state.note(place, decision);
        }
        for replica in self.replicas.into_values() {
            self.state.keep_ready(replica);
        }
        let last = self.state.last;
        drop(self.state);
        self.inner.last.send_replace(last);
        Ok(())
    }
}
