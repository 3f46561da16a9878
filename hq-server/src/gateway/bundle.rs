//! Bundles at HQ: takes facts that were carried, by the intake's own path, and makes the answer.
//! Knows no file's name and no books. Invariants: nothing is taken of a file before its signature
//! is proved over every byte; what is told as taken is durable; a bundle that is refused holds
//! nobody else up.

use std::io::Write;

use ed25519_dalek::SigningKey;
use shared::ids::{LogId, Seq};
use shared::segment::seal::SignedSeal;
use shared::sync::bundle::{
    BUNDLE_BYTES_MAX, BundleError, BundleHead, BundleReader, BundleScan, BundleWriter, Direction,
    Seed, Verified,
};
use shared::sync::{
    DocumentChange, FactsFrame, Frame, Hello, PostingsAsked, Refusal, SignedAcknowledgement,
    StateCursor, VERSION, VERSIONS, Welcome, limits,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _};

use super::link::PROGRAM;
use super::store::{Carried, HqStore, LinkNews, LogWriter, Peer};
use crate::authority::Authority;
use crate::clock::Clock;

/// The most seals that go to the store together.
const SEALS_WAITING_MAX: usize = 256;

/// Of so many facts at the log's end an answer tells what became of them in any case. They cost HQ a
/// few milliseconds to read, and the answer some hundred bytes.
const POSTINGS_WINDOW: u64 = 16_384;

/// How much is read at once.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// What came of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whose it is.
    pub peer: Peer,
    /// What stands outside.
    pub head: BundleHead,
    /// How large it is.
    pub bytes: u64,
    /// HQ had facts up to this one before.
    pub before: Seq,
    /// It has them up to this one now.
    pub received: Seq,
    /// How many seals are new.
    pub seals: u64,
    /// The first fact whose seal HQ does not have, where a seal before those in the bundle is
    /// missing.
    pub seal_missing: Option<Seq>,
    /// What it brought along.
    pub carried: Carried,
}

impl Taken {
    /// How many facts are new.
    pub const fn new_facts(&self) -> u64 {
        self.received.0 - self.before.0
    }
}

/// Why a bundle is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleRefused {
    /// It is damaged, somebody else's, or goes the other way.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Nobody whom HQ knows writes this log.
    #[error(
        "this bundle is of log {}, which HQ does not know: its node is enrolled at another HQ, or HQ \
         was restored to a time before it; give the node a new code (hq-server site code)", .0.short()
    )]
    UnknownLog(LogId),
    /// An earlier bundle is missing.
    #[error(
        "facts {} to {} of this log are missing, which come before this bundle: import the bundle that \
         has them first, or let the node make one that begins there (edge-node bundle export --after \
         {} FILE)", .has.next(), .after, .has
    )]
    Gap {
        /// HQ has facts up to this one.
        has: Seq,
        /// The bundle begins after this one.
        after: Seq,
    },
    /// Revoked, forked, or facts that no log may hold.
    #[error("{}", .0.text)]
    Refused(Refusal),
    /// The file can't be read.
    #[error("the bundle can't be read: {0}")]
    Io(#[from] std::io::Error),
}

impl From<Refusal> for BundleRefused {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// How far an installation knows what HQ tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Keyed state.
    pub state: StateCursor,
    /// Shared documents.
    pub documents: StateCursor,
    /// It may lack what became of its facts from this one on; `None` where its program does not read
    /// that in a bundle.
    pub postings: Option<Seq>,
}

/// What a desk needs of HQ's authority.
pub trait Admits: Sync {
    /// The key that bundles are encrypted to, and that signs answers.
    fn hq_key(&self) -> &SigningKey;

    /// What a revoked installation is told; `None` for one that is not.
    fn revocation(&self, peer: Peer) -> Option<Refusal>;
}

impl Admits for Authority {
    fn hq_key(&self) -> &SigningKey {
        self.hq_key()
    }

    fn revocation(&self, peer: Peer) -> Option<Refusal> {
        self.revocation(peer)
    }
}

/// Who takes bundles, and by which clock.
pub struct Desk<'a, S> {
    /// Where facts go.
    pub store: &'a S,
    /// Who may send them, and the key that they are encrypted to.
    pub authority: &'a dyn Admits,
    /// HQ's clock.
    pub clock: &'a Clock,
}

impl<S: HqStore> Desk<'_, S> {
    /// Proves the whole file, then takes what is in it. `by` is the neighbour that brought it.
    pub async fn take(
        &self,
        file: &mut (impl AsyncRead + AsyncSeek + Unpin),
        by: Option<Peer>,
    ) -> Result<Taken, BundleRefused> {
        let (verified, writer) = self.prove(file).await?;
        file.rewind().await?;
        let (head, bytes) = (*verified.head(), verified.bytes());
        let mut reader = BundleReader::new(verified, self.authority.hq_key())?;
        let mut taking = Taking::new(self.store, writer.peer, head);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = file.read(&mut piece).await?;
            if length == 0 {
                break;
            }
            reader.push(&piece[..length])?;
            while let Some(frame) = reader.next_frame()? {
                taking.take(frame).await?;
            }
        }
        taking.store_seals().await?;
        reader.finish()?;
        let taken = taking.finish(bytes, by, self.clock)?;
        let news = LinkNews::Carried(taken.carried.clone());
        self.store.note_link(taken.peer, Some(&head.log), news);
        Ok(taken)
    }

    /// Signature, log, register: before anything is decrypted.
    async fn prove(
        &self,
        file: &mut (impl AsyncRead + Unpin),
    ) -> Result<(Verified, LogWriter), BundleRefused> {
        let mut scan = BundleScan::new();
        let mut piece = vec![0; PIECE_BYTES];
        let mut bytes = 0;
        loop {
            let length = file.read(&mut piece).await?;
            if length == 0 {
                break;
            }
            bytes += length as u64;
            if bytes > BUNDLE_BYTES_MAX {
                return Err(BundleError::NotABundle.into());
            }
            scan.push(&piece[..length])?;
        }
        let scanned = scan.finish()?;
        scanned.check_direction(Direction::ToHq)?;
        let log = scanned.head().log;
        let writer = self.store.writer_of(&log).ok_or(BundleRefused::UnknownLog(log))?;
        let verified = scanned.verify(&writer.key)?;
        if let Some(refusal) = self.authority.revocation(writer.peer) {
            return Err(refusal.into());
        }
        Ok((verified, writer))
    }

    /// What HQ answers an installation, about to be written: acknowledgement, and documents and
    /// keyed state after what is `known`.
    pub fn answer(
        &self,
        log: &LogId,
        known: Known,
        seed: &Seed,
    ) -> Result<Answer<'_, S>, BundleRefused> {
        let writer = self.store.writer_of(log).ok_or(BundleRefused::UnknownLog(*log))?;
        if let Some(refusal) = self.authority.revocation(writer.peer) {
            return Err(refusal.into());
        }
        let acknowledgement = self.store.acknowledgement(log)?;
        let received = acknowledgement.acknowledgement.received;
        let opened = self.store.open_log(writer.peer, log)?;
        let head = BundleHead {
            direction: Direction::FromHq,
            history: self.store.history(),
            log: *log,
            after: Seq::ZERO,
            last: received.last,
        };
        let key: SigningKey = self.authority.hq_key().clone();
        let mut bundle = BundleWriter::new(&head, &writer.key, key, seed)?;
        bundle.push(&Frame::Welcome(Welcome {
            version: if known.postings.is_some() { VERSION } else { VERSIONS.lowest },
            history: head.history,
            cursor: received,
            sealed: opened.sealed.min(received.last),
            time: self.clock.now(),
            program: PROGRAM.to_owned(),
        }));
        bundle.push(&Frame::Acknowledgement(acknowledgement));
        Ok(Answer { store: self.store, writer, head, acknowledgement, bundle, known })
    }
}

/// A bundle while its frames come.
struct Taking<'a, S> {
    store: &'a S,
    peer: Peer,
    head: BundleHead,
    hello: Option<Hello>,
    before: Seq,
    received: Seq,
    sealed: Seq,
    /// Seals on their way to the store, some at a time: most of a slow site's bundle are seals.
    waiting: Vec<SignedSeal>,
    seals: u64,
    seal_missing: Option<Seq>,
    /// Changes of documents on their way to the store, some at a time.
    changes: Vec<DocumentChange>,
    documents: StateCursor,
}

impl<'a, S: HqStore> Taking<'a, S> {
    fn new(store: &'a S, peer: Peer, head: BundleHead) -> Self {
        Self {
            store,
            peer,
            head,
            hello: None,
            before: Seq::ZERO,
            received: Seq::ZERO,
            sealed: Seq::ZERO,
            waiting: Vec::new(),
            seals: 0,
            seal_missing: None,
            changes: Vec::new(),
            documents: StateCursor::START,
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), BundleRefused> {
        match frame {
            Frame::Hello(hello) => self.open(hello).await,
            Frame::Facts(facts) => self.take_facts(&facts).await,
            Frame::Seal(seal) => self.take_seal(seal).await,
            Frame::DocumentsTaken(cursor) => {
                self.documents = cursor;
                Ok(())
            }
            Frame::DocumentChange(change) => {
                self.changes.push(change);
                let waits = self.changes.len() < limits::DOCUMENT_CHANGES_WINDOW;
                if waits { Ok(()) } else { self.decide() }
            }
            // The reader lets nothing else through but the last good-bye.
            _ => Ok(()),
        }
    }

    /// Unlike on a connection HQ may have more than the other side: then the bundle is an old one.
    /// Where its facts differ from what HQ has, their heads tell.
    async fn open(&mut self, hello: Hello) -> Result<(), BundleRefused> {
        if let Some(witness) = hello.witness {
            self.store.hear_witness(witness).await;
        }
        let opened = self.store.open_log(self.peer, &self.head.log)?;
        let has = opened.cursor.last;
        if self.head.after > has {
            return Err(BundleRefused::Gap { has, after: self.head.after });
        }
        (self.before, self.received, self.sealed) = (has, has, opened.sealed);
        self.hello = Some(hello);
        Ok(())
    }

    async fn take_facts(&mut self, facts: &FactsFrame) -> Result<(), BundleRefused> {
        let run = facts.unpack().map_err(|error| BundleError::Inside(error.to_string()))?;
        self.store_seals().await?;
        // Also a run that is known: its head shows a fork.
        let stored = self.store.accept(self.head.log, run).await?;
        self.received = self.received.max(stored.last);
        Ok(())
    }

    /// Seals stand in order at HQ. Where one is missing, later ones wait for it, and the facts are
    /// taken all the same.
    async fn take_seal(&mut self, seal: SignedSeal) -> Result<(), BundleRefused> {
        if seal.seal.first > self.sealed.next() {
            self.seal_missing = Some(self.sealed.next());
            return Ok(());
        }
        self.seals += u64::from(seal.seal.last > self.sealed);
        self.sealed = self.sealed.max(seal.seal.last);
        self.waiting.push(seal);
        if self.waiting.len() < SEALS_WAITING_MAX { Ok(()) } else { self.store_seals().await }
    }

    async fn store_seals(&mut self) -> Result<(), BundleRefused> {
        Ok(self.store.accept_seals(std::mem::take(&mut self.waiting)).await?)
    }

    /// What HQ can't decide on yet stays with the node, which sends it again.
    fn decide(&mut self) -> Result<(), BundleRefused> {
        let changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            self.store.take_changes(self.peer, &self.head.log, changes)?;
        }
        Ok(())
    }

    fn finish(
        mut self,
        bytes: u64,
        by: Option<Peer>,
        clock: &Clock,
    ) -> Result<Taken, BundleRefused> {
        self.decide()?;
        let hello =
            self.hello.ok_or_else(|| BundleError::Inside("nobody says hello".to_owned()))?;
        Ok(Taken {
            peer: self.peer,
            head: self.head,
            bytes,
            before: self.before,
            received: self.received,
            seals: self.seals,
            seal_missing: self.seal_missing,
            carried: Carried {
                program: hello.program,
                announced: hello.position,
                made_at: hello.time.min(clock.now()),
                state: hello.state,
                by,
                documents: self.documents,
                postings: hello
                    .versions
                    .read_postings_in_bundles()
                    .then_some(self.head.after.next()),
            },
        })
    }
}

/// A bundle for an installation, about to be written.
pub struct Answer<'a, S> {
    store: &'a S,
    writer: LogWriter,
    head: BundleHead,
    acknowledgement: SignedAcknowledgement,
    bundle: BundleWriter,
    known: Known,
}

impl<S: HqStore> Answer<'_, S> {
    /// Writes it: what became of facts, all news of documents and keyed state, or no more once
    /// `bytes_max` are written.
    pub fn write(
        mut self,
        out: &mut dyn Write,
        bytes_max: Option<usize>,
    ) -> Result<(), BundleRefused> {
        let (peer, log) = (self.writer.peer, self.head.log);
        let mut written = 0;
        let has_room = |written| bytes_max.is_none_or(|max| written < max);
        let mut next = self.postings_from();
        while has_room(written)
            && let Some(first) = next
        {
            // What can't be told now is not worth the rest of the answer.
            let asked = PostingsAsked::up_to(first, self.head.last);
            let Ok(told) = self.store.postings(&log, asked) else { break };
            let Some(last) = told.postings.last() else { break };
            next = Some(last.next()).filter(|next| *next <= self.head.last);
            self.bundle.push(&Frame::Postings(told));
            let bytes = self.bundle.take();
            written += bytes.len();
            out.write_all(&bytes)?;
        }
        while has_room(written)
            && let Some(news) = self.store.documents_since(peer, &log, self.known.documents, &[])?
        {
            self.known.documents = news.batch.to;
            self.bundle.push(&Frame::Documents(news));
            let bytes = self.bundle.take();
            written += bytes.len();
            out.write_all(&bytes)?;
        }
        // A node forgets what it knew under another handle. What HQ asks back goes over a connection.
        let is_told = self.store.asks_back(self.known.state).is_none();
        while is_told
            && has_room(written)
            && let Some(state) =
                self.store.state_since(peer.site, self.known.state, limits::STATE_FACTS_MAX)?
        {
            self.known.state = state.batch.to;
            self.bundle.push(&Frame::State(state));
            let bytes = self.bundle.take();
            written += bytes.len();
            out.write_all(&bytes)?;
        }
        Ok(out.write_all(&self.bundle.finish())?)
    }

    /// From where on it tells what became of facts: of those that its question brought, and of the
    /// last ones before, for an earlier answer may be lost, and what waited then may be posted.
    fn postings_from(&self) -> Option<Seq> {
        let window = Seq(self.head.last.0.saturating_sub(POSTINGS_WINDOW)).next();
        let first = self.known.postings?.min(window);
        (first <= self.head.last).then_some(first)
    }

    /// What will stand outside.
    pub const fn head(&self) -> &BundleHead {
        &self.head
    }

    /// What HQ says in it.
    pub const fn acknowledgement(&self) -> SignedAcknowledgement {
        self.acknowledgement
    }
}
