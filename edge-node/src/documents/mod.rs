//! Shared documents of this node's site: edited here without asking anybody, sent to HQ, and as HQ
//! decided. Knows no network, no HTTP and no rule of stock: a document names facts, and nothing in
//! it moves goods or money.
//!
//! Invariants: an edit is durable before it leaves; what HQ decided is final, so an edit that HQ
//! refuses leaves the document and is kept beside, with the reason, for its author; a document
//! shown here is HQ's, with this node's own waiting edits on top; an HQ that was restored gets back
//! what it told, as it signed it.

mod file;
mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use shared::document::{
    Actor, Change, DocumentId, DocumentKey, DocumentKind, EditError, Outcome, Replica, transfer,
};
use shared::ids::{ChangeHash, DeviceNo, LogId, Seq, SiteNo};
use shared::planted::{self, Fault};
use shared::sync::{
    DocumentChange, DocumentNews, Following, GivenDocuments, Lives, SignedDocumentBatch,
    StateCursor,
};
use shared::time::Timestamp;
use tokio::sync::watch;

use crate::journal::{OpenError, StoreError};
pub use file::RefusedRow;
use file::{Batch, DocumentsFile, Row, Standing};

/// How much of the file is kept in memory.
const CACHE_BYTES: usize = 8 << 20;

/// Who writes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The site.
    pub site: SiteNo,
    /// The installation.
    pub device: DeviceNo,
    /// Its log.
    pub log: LogId,
}

/// Why a document can't be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another site's.
    #[error("this site does not handle {0}: only its sites and HQ write in it")]
    OtherSite(DocumentId),
    /// Nothing new, too long, too much.
    #[error("{0}")]
    Edit(#[from] EditError),
    /// The file.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A document as it stands here.
#[derive(Clone, Debug)]
pub struct DocumentState {
    /// What it says, this node's waiting edits included.
    pub replica: Replica,
    /// Changes that HQ did not decide on.
    pub waiting: BTreeSet<ChangeHash>,
}

/// Every shared document of this node; clones share everything.
#[derive(Clone, Debug)]
pub struct Documents {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: DocumentsFile,
    owner: Owner,
    actor: Actor,
    /// Held while something is changed.
    names: Mutex<BTreeMap<DocumentKey, usize>>,
    edits: watch::Sender<u64>,
}

/// A document while it is changed.
struct Open {
    key: DocumentKey,
    rows: Vec<(Row, Change)>,
}

impl Documents {
    /// Opens the file, or makes it. One that does not read is set aside: HQ tells again what it
    /// decided, and facts are not held up.
    pub fn open(path: &Path, owner: Owner) -> Result<Self, OpenError> {
        let file = match DocumentsFile::open(path, CACHE_BYTES) {
            Err(error @ (OpenError::Damaged(_) | OpenError::NotAStore(_))) => {
                let aside = path.with_extension("damaged");
                tracing::error!(
                    "{} does not read ({error}): it is set aside as {}; HQ tells again what it has, \
                     and edits that HQ did not have yet are in the old file alone",
                    path.display(),
                    aside.display()
                );
                std::fs::rename(path, aside)?;
                DocumentsFile::open(path, CACHE_BYTES)?
            }
            opened => opened?,
        };
        Ok(Self::start(file, owner)?)
    }

    /// As [`Self::open`], over storage that a test controls.
    pub fn with_backend(backend: impl StorageBackend, owner: Owner) -> Result<Self, OpenError> {
        Ok(Self::start(DocumentsFile::open_backend(backend)?, owner)?)
    }

    fn start(file: DocumentsFile, owner: Owner) -> Result<Self, StoreError> {
        let meta = file.meta()?;
        if meta.owner != Some(owner.log) {
            // What HQ told another log, or another site, says nothing of what this one knows.
            let mut batch = file.batch()?;
            if batch.meta.owner.is_some() {
                batch.meta.followed = Some(Seq::ZERO);
            }
            batch.meta.owner = Some(owner.log);
            batch.meta.cursor = StateCursor::START;
            batch.commit()?;
        }
        let names = Mutex::new(file.names()?);
        let actor = Actor::of(owner.site, owner.device, &owner.log);
        let edits = watch::Sender::new(0);
        Ok(Self { inner: Arc::new(Inner { file, owner, actor, names, edits }) })
    }

    /// Who writes here.
    pub fn owner(&self) -> Owner {
        self.inner.owner
    }

    /// How far HQ's decisions are known.
    pub fn cursor(&self) -> Result<StateCursor, StoreError> {
        Ok(self.inner.file.meta()?.cursor)
    }

    /// Changes when something was edited here.
    pub fn edits(&self) -> watch::Receiver<u64> {
        self.inner.edits.subscribe()
    }

    /// Changes that HQ did not decide on, by number, in the order in which they were made.
    pub fn waiting_changes(
        &self,
        after: u64,
        count_max: usize,
    ) -> Result<Vec<(u64, DocumentChange)>, StoreError> {
        self.inner.file.outbox(after, count_max)
    }

    /// How many changes HQ did not decide on.
    pub fn waiting(&self) -> Result<u64, StoreError> {
        self.inner.file.waiting()
    }

    /// How many edits HQ refused.
    pub fn refused_count(&self) -> Result<u64, StoreError> {
        self.inner.file.refused_count()
    }

    /// Edits that HQ refused, the newest first.
    pub fn refused(&self) -> Result<Vec<RefusedRow>, StoreError> {
        self.inner.file.refused()
    }

    /// The newest generation of every document, of one kind where that is said.
    pub fn names(&self, kind: Option<DocumentKind>) -> Vec<DocumentKey> {
        let names = self.inner.names();
        let mut newest = BTreeMap::new();
        for key in names.keys().filter(|key| kind.is_none_or(|kind| key.id.kind() == kind)) {
            newest.insert(key.id, *key);
        }
        newest.into_values().collect()
    }

    /// A document; `None` where nothing of it is here.
    pub fn get(&self, id: DocumentId) -> Result<Option<DocumentState>, StoreError> {
        let key = newest(&self.inner.names(), id);
        let Some(key) = key else { return Ok(None) };
        let rows = self.inner.file.rows(key)?;
        let open = Open::read(key, rows)?;
        let waiting = open.of(Standing::Waiting).map(|change| change.hash).collect();
        Ok(Some(DocumentState { replica: open.replica()?, waiting }))
    }

    /// Puts texts at keys of a document, which begins with it where it is not here. Durable when it
    /// returns.
    pub fn edit(
        &self,
        id: DocumentId,
        now: Timestamp,
        puts: &[(&str, String)],
    ) -> Result<(), ChangeError> {
        if !id.is_of(self.inner.owner.site) {
            return Err(ChangeError::OtherSite(id));
        }
        let mut names = self.inner.names();
        let mut batch = self.inner.file.batch()?;
        let key = newest(&names, id).unwrap_or_else(|| DocumentKey::first(id));
        let mut replica = Open::read(key, batch.rows(key)?)?.replica()?;
        self.inner.put(&mut batch, &mut replica, now, puts)?;
        batch.commit()?;
        *names.entry(key).or_default() += 1;
        self.inner.tell(names);
        Ok(())
    }

    /// Takes what HQ says, whose signature was checked: durable, as a whole, when it returns. Gives
    /// how it stood to what was known; only what was next is taken. Another way may have brought
    /// something meanwhile, also from another life of HQ.
    pub fn apply(
        &self,
        signed: &SignedDocumentBatch,
        now: Timestamp,
    ) -> Result<Following, StoreError> {
        let told = &signed.batch;
        let mut names = self.inner.names();
        let mut batch = self.inner.file.batch()?;
        let following = told.following(batch.meta.cursor);
        if following != Following::Next {
            return Ok(following);
        }
        let is_other = batch.meta.cursor.handle != told.from.handle;
        if is_other {
            self.inner.offer_again(&mut batch, &names)?;
        }
        let mut by_document: BTreeMap<DocumentKey, Vec<&DocumentNews>> = BTreeMap::new();
        for news in &told.news {
            by_document.entry(news.key()).or_default().push(news);
        }
        batch.meta.cursor = told.to;
        if told.news.iter().any(|news| !matches!(news, DocumentNews::Refused { .. })) {
            batch.keep_told(signed)?;
        }
        let mut counts = Vec::new();
        for (key, news) in by_document {
            let accepted = told.heads.iter().find(|heads| heads.key == key);
            let heads = self.inner.apply_to(&mut batch, key, &news, now)?;
            if accepted.is_some_and(|accepted| accepted.heads != heads) {
                tracing::error!("{key} is not as HQ has it: update edge-node");
            }
            counts.push((key, batch.rows(key)?.len()));
        }
        batch.commit()?;
        for (key, count) in counts {
            match count {
                0 => drop(names.remove(&key)),
                count => drop(names.insert(key, count)),
            }
        }
        self.inner.tell(names);
        Ok(following)
    }
}

/// For an HQ that was restored.
impl Documents {
    /// What HQ told in lives that are over and may lack now: the first of it after `after`, with its number
    /// and this site's own changes that it names; `None` where there is no more. `back` is what HQ has
    /// again: that, what it says that it has, and what does not read is kept no longer.
    pub fn give(
        &self,
        lives: &Lives,
        after: u64,
        back: Option<u64>,
    ) -> Result<Option<(u64, GivenDocuments)>, StoreError> {
        let _names = self.inner.names();
        let mut batch = self.inner.file.batch()?;
        if let Some(number) = back {
            batch.forget_told(number)?;
        }
        let (mut from, mut found, mut forgets) = (after, None, back.is_some());
        while let Some((number, to, told)) = batch.told_after(from, lives.now)? {
            from = number;
            if let Some(told) = told.filter(|_| lives.lack(to)) {
                found = Some((number, told));
                break;
            }
            batch.forget_told(number)?;
            forgets = true;
        }
        let own = |key, hash| {
            let mut open = Open::read(key, batch.rows(key)?)?;
            Ok::<_, StoreError>(open.find(hash).map(|(row, _)| row.bytes.clone()))
        };
        let given = match found.filter(|_| !planted::is(Fault::KeptToItself)) {
            Some((number, told)) => Some((number, GivenDocuments::new(told, own)?)),
            None => None,
        };
        if forgets {
            batch.commit()?;
        }
        Ok(given)
    }
}

/// The newest generation of a document.
fn newest(names: &BTreeMap<DocumentKey, usize>, id: DocumentId) -> Option<DocumentKey> {
    let all = DocumentKey::first(id)..=DocumentKey { id, generation: u32::MAX };
    names.range(all).next_back().map(|(key, _)| *key)
}

fn unreadable(key: DocumentKey, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("{key} in documents.redb does not read: {why}"))
}

impl Open {
    fn read(key: DocumentKey, rows: Vec<Row>) -> Result<Self, StoreError> {
        let read = |row: Row| {
            let change = Change::read(&row.bytes).map_err(|flaw| unreadable(key, &flaw))?;
            Ok((row, change))
        };
        Ok(Self { key, rows: rows.into_iter().map(read).collect::<Result<_, StoreError>>()? })
    }

    fn of(&self, standing: Standing) -> impl Iterator<Item = &Change> {
        let rows = self.rows.iter().filter(move |(row, _)| row.standing == standing);
        rows.map(|(_, change)| change)
    }

    fn find(&mut self, hash: ChangeHash) -> Option<&mut (Row, Change)> {
        self.rows.iter_mut().find(|(_, change)| change.hash == hash)
    }

    /// As HQ decided.
    fn accepted(&self) -> Result<Replica, StoreError> {
        let changes = self.of(Standing::Accepted).map(Change::bytes);
        Replica::load(self.key, changes).map_err(|flaw| unreadable(self.key, &flaw))
    }

    /// With this node's waiting edits.
    fn replica(&self) -> Result<Replica, StoreError> {
        let changes = self.rows.iter().map(|(_, change)| change.bytes());
        Replica::load(self.key, changes).map_err(|flaw| unreadable(self.key, &flaw))
    }
}

impl Inner {
    fn names(&self) -> MutexGuard<'_, BTreeMap<DocumentKey, usize>> {
        // It changes only after a commit.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, names: MutexGuard<'_, BTreeMap<DocumentKey, usize>>) {
        drop(names);
        self.edits.send_modify(|count| *count += 1);
    }

    /// Makes a change of a document that is open, and stores it.
    fn put(
        &self,
        batch: &mut Batch,
        replica: &mut Replica,
        now: Timestamp,
        puts: &[(&str, String)],
    ) -> Result<(), ChangeError> {
        let change = replica.edit(self.actor, now.0.div_euclid(1_000), puts)?;
        batch.add(replica.key(), change.hash, Standing::Waiting, change.bytes())?;
        Ok(())
    }

    /// HQ lives another life and may lack what it had decided: this node's own changes go out again,
    /// and those of others wait until HQ has them from there.
    fn offer_again(
        &self,
        batch: &mut Batch,
        names: &BTreeMap<DocumentKey, usize>,
    ) -> Result<(), StoreError> {
        for key in names.keys() {
            for (row, change) in Open::read(*key, batch.rows(*key)?)?.rows {
                if row.standing == Standing::Accepted {
                    let is_own = change.actor == self.actor;
                    let standing = if is_own { Standing::Waiting } else { Standing::Heard };
                    batch.set(*key, change.hash, &row, standing)?;
                }
            }
        }
        Ok(())
    }

    /// Takes news of one document: what HQ decided first, then this node's own edits as far as they
    /// still fit. Gives the heads of what HQ decided.
    fn apply_to(
        &self,
        batch: &mut Batch,
        key: DocumentKey,
        news: &[&DocumentNews],
        now: Timestamp,
    ) -> Result<Vec<ChangeHash>, StoreError> {
        let mut open = Open::read(key, batch.rows(key)?)?;
        let mut replica = open.accepted()?;
        let mut decided: Vec<Change> = Vec::new();
        let refused = |hash, reason: String, bytes: &[u8]| {
            let bytes = bytes.to_vec();
            RefusedRow { key, hash, at: now, reason, bytes }
        };
        for news in news {
            match news {
                DocumentNews::Taken { hash, .. } => {
                    let known = open.find(*hash).map(|(_, change)| change.clone());
                    if known.is_none() {
                        tracing::error!("HQ took a change of {key} that is not here");
                    }
                    decided.extend(known);
                }
                DocumentNews::Change { bytes, .. } => match Change::read(bytes) {
                    Ok(change) => decided.push(change),
                    Err(flaw) => {
                        tracing::error!("a change of {key} that HQ accepted does not read: {flaw}");
                    }
                },
                DocumentNews::Refused { hash, reason, .. } => {
                    // What HQ took is final, whatever came under its name later.
                    let is_taken = decided.iter().any(|change| change.hash == *hash);
                    let refusable =
                        open.find(*hash).filter(|(row, _)| row.standing != Standing::Accepted);
                    if let Some((row, change)) = refusable.filter(|_| !is_taken) {
                        let row = (row.number, refused(*hash, reason.clone(), change.bytes()));
                        batch.refuse(Some(row.0), &row.1)?;
                        tracing::warn!("HQ refused an edit of {key}: {reason}");
                        open.rows.retain(|(_, change)| change.hash != *hash);
                    }
                }
            }
        }
        let outcomes = replica.admit_decided(decided.iter().cloned()).outcomes;
        for (change, outcome) in decided.iter().zip(outcomes) {
            match (open.find(change.hash), outcome) {
                (Some((row, _)), Outcome::Taken | Outcome::Known) => {
                    batch.set(key, change.hash, row, Standing::Accepted)?;
                    row.standing = Standing::Accepted;
                }
                (None, Outcome::Taken) => {
                    batch.add(key, change.hash, Standing::Accepted, change.bytes())?;
                }
                (None, Outcome::Known) => {}
                (known, outcome) => {
                    let text = format!("this program can't take what HQ accepted ({outcome:?})");
                    tracing::error!("{key}: {text}: update edge-node");
                    let number = known.map(|(row, _)| row.number);
                    batch.refuse(number, &refused(change.hash, text, change.bytes()))?;
                    open.rows.retain(|(_, known)| known.hash != change.hash);
                }
            }
        }
        let heads = replica.heads();
        let undecided = open.rows.iter().filter(|(row, _)| row.standing != Standing::Accepted);
        let waiting: Vec<_> = undecided.map(|(_, change)| change.clone()).collect();
        let outcomes = replica.admit(waiting.iter().cloned()).outcomes;
        for (change, outcome) in waiting.iter().zip(outcomes) {
            let reason = match outcome {
                Outcome::Taken | Outcome::Known => continue,
                Outcome::Waits(_) => "it builds on an edit that HQ refused".to_owned(),
                Outcome::Refused(flaw) => flaw.to_string(),
            };
            let number = open.find(change.hash).map(|(row, _)| row.number);
            batch.refuse(number, &refused(change.hash, reason, change.bytes()))?;
        }
        self.place_receives(batch, &mut replica, now)?;
        Ok(heads)
    }

    /// Receives that were recorded before the transfer's document came are named in it now.
    fn place_receives(
        &self,
        batch: &mut Batch,
        replica: &mut Replica,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let DocumentId::Transfer { to, .. } = replica.key().id else { return Ok(()) };
        if to != self.owner.site {
            return Ok(());
        }
        for line in transfer::lines(replica) {
            let Some(puts) = batch.take_unplaced(&follow::ship_key(line.ship))? else { continue };
            let puts = follow::read_puts(&puts);
            let puts: Vec<_> =
                puts.iter().map(|(key, text)| (key.as_str(), text.clone())).collect();
            self.put_quietly(batch, replica, now, &puts)?;
        }
        Ok(())
    }

    /// What follows from a fact stands in a document if it can; the fact counts all the same.
    fn put_quietly(
        &self,
        batch: &mut Batch,
        replica: &mut Replica,
        now: Timestamp,
        puts: &[(&str, String)],
    ) -> Result<(), StoreError> {
        match self.put(batch, replica, now, puts) {
            Err(ChangeError::Store(error)) => Err(error),
            Err(ChangeError::Edit(EditError::NothingNew)) | Ok(()) => Ok(()),
            Err(error) => {
                tracing::warn!("{} does not name a movement: {error}", replica.key());
                Ok(())
            }
        }
    }
}
