//! What the link needs of HQ's intake, so that it can be tried with another one. Knows no file and
//! no books. Invariant: what a reply calls stored is durable.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use shared::ids::{
    Capture, ChangeHash, CompanyNo, DeviceNo, HistoryId, ItemNo, LogId, Seq, SiteNo,
};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::hq::OpenedLog;
use shared::sync::{
    Code, DocumentChange, Found, GivenDocuments, Lives, Position, PostingsAsked, Refusal, Run,
    SignedAcknowledgement, SignedDocumentBatch, SignedPostings, SignedSiteStock, SignedStateBatch,
    StateCursor,
};
use shared::time::Timestamp;
use tokio::sync::watch;

use super::bundle::Known;

pub use super::branches::Place;

/// Who is at the other end, as its certificate says and the site register confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The site.
    pub site: SiteNo,
    /// The installation.
    pub device: DeviceNo,
}

/// Who writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogWriter {
    /// The installation.
    pub peer: Peer,
    /// The key that signs the log's seals.
    pub key: VerifyingKey,
}

/// What a bundle brought along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The program that made it.
    pub program: String,
    /// How far the log went.
    pub announced: Position,
    /// When it was made, by the installation's clock, or when it came where that is earlier.
    pub made_at: Timestamp,
    /// How far the installation knew keyed state.
    pub state: StateCursor,
    /// The neighbour that brought it; `None` for a file.
    pub by: Option<Peer>,
    /// How far it knew documents.
    pub documents: StateCursor,
    /// The first fact in it, where the program reads in a bundle what became of facts.
    pub postings: Option<Seq>,
}

impl Carried {
    /// From where on the installation is answered.
    pub const fn known(&self) -> Known {
        Known { state: self.state, documents: self.documents, postings: self.postings }
    }
}

/// How good a connection has been so far, as its QUIC sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Where the installation is reached now.
    pub address: SocketAddr,
    /// The smoothed round trip.
    pub rtt: Duration,
    /// Packets that HQ sent.
    pub sent: u64,
    /// Packets among them that were lost.
    pub lost: u64,
}

/// What the link tells of a connection, for the sites' status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNews {
    /// The edge said hello.
    Connected {
        /// Its program and version.
        program: String,
        /// How far its log goes.
        announced: Position,
        /// How far its clock is ahead of HQ's, in milliseconds.
        clock_ahead_ms: i64,
        /// The newest acknowledgement that it holds.
        witness: Option<Box<SignedAcknowledgement>>,
    },
    /// Something came from it.
    Heard(Quality),
    /// A bundle came from it.
    Carried(Carried),
    /// It brought something of another site that was not what its author signed.
    Forged(String),
    /// It sends so much that some of it waits.
    HeldBack(String),
    /// The connection ended.
    Disconnected {
        /// Why, for people.
        why: String,
        /// Nobody meant it to end.
        is_problem: bool,
    },
}

/// The intake as the link sees it. What fails comes back as the refusal that the edge is told.
pub trait HqStore: Send + Sync + 'static {
    /// How far `peer`'s log is here: unknown logs and those of another installation are refused.
    fn open_log(&self, peer: Peer, log: &LogId) -> Result<OpenedLog, Refusal>;

    /// Takes note of an acknowledgement that a node holds: should it be of a history that is lost,
    /// numbers go on above those that it is a witness of. One that HQ did not sign says nothing.
    fn hear_witness(&self, witness: SignedAcknowledgement) -> impl Future<Output = ()> + Send;

    /// How far HQ's own logs go, where it was restored and an edge that knows keyed state up to there
    /// may have some of a life that is lost; `None` where there is nothing to ask back.
    fn asks_back(&self, known: StateCursor) -> Option<Vec<Capture>>;

    /// Takes back what HQ had stated and lost. What it did not sign is left.
    fn take_back(&self, batch: SignedStateBatch) -> impl Future<Output = ()> + Send;

    /// What is on hand at a site.
    fn stock(&self, site: SiteNo) -> Result<SignedSiteStock, Refusal>;

    /// Where a log that differs from what is here goes on: the first of `places` that is known of
    /// it or of its branches, else its beginning.
    fn open_branch(
        &self,
        peer: Peer,
        log: LogId,
        places: [Position; 2],
    ) -> impl Future<Output = Result<(OpenedLog, Place), Refusal>> + Send;

    /// Stores a run that follows what is stored. Facts that are stored already are skipped. Durable
    /// when it returns.
    fn accept(
        &self,
        log: LogId,
        run: Run,
    ) -> impl Future<Output = Result<Position, Refusal>> + Send;

    /// Stores what is not here yet of a run of a log that differs, wherever it goes on from what is
    /// known. Durable when it returns.
    fn accept_branch(
        &self,
        peer: Peer,
        log: LogId,
        run: Run,
    ) -> impl Future<Output = Result<Place, Refusal>> + Send;

    /// Who writes a log of a site; `None` for one that HQ does not know, for a branch and for HQ's
    /// own.
    fn writer_of(&self, log: &LogId) -> Option<LogWriter>;

    /// Whether HQ lets one site carry another one's data.
    fn may_carry(&self, carrier: SiteNo, of: SiteNo) -> bool;

    /// Checks and stores a seal over stored facts.
    fn accept_seal(&self, seal: SignedSeal) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// As [`Self::accept_seal`], of seals that follow each other.
    fn accept_seals(
        &self,
        seals: Vec<SignedSeal>,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        async move {
            for seal in seals {
                self.accept_seal(seal).await?;
            }
            Ok(())
        }
    }

    /// Signs how far the log is received, safe and posted.
    fn acknowledgement(&self, log: &LogId) -> Result<SignedAcknowledgement, Refusal>;

    /// The same of a log that differs, whose facts went to `place`.
    fn branch_acknowledgement(
        &self,
        log: &LogId,
        place: &Place,
    ) -> Result<SignedAcknowledgement, Refusal>;

    /// Changes when the books have more of the log.
    fn posted(&self, log: &LogId) -> Result<watch::Receiver<Seq>, Refusal>;

    /// Keyed state of the site after `cursor`, at most `facts_max` facts; `None` where it has
    /// everything.
    fn state_since(
        &self,
        site: SiteNo,
        cursor: StateCursor,
        facts_max: usize,
    ) -> Result<Option<SignedStateBatch>, Refusal>;

    /// What became of facts of a log, signed; nothing where it can't be told now.
    fn postings(&self, log: &LogId, asked: PostingsAsked) -> Result<SignedPostings, Refusal>;

    /// Items whose code or name has `text` in it, as sites are told of them.
    fn look_up(&self, text: &str) -> Found;

    /// The site handles these items from now on. Durable when it returns.
    fn handle_items(
        &self,
        site: SiteNo,
        items: Vec<ItemNo>,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Changes when there may be keyed state for somebody.
    fn state_changes(&self) -> watch::Receiver<u64>;

    /// Decides on changes of shared documents that `peer` made under its log: durable when it
    /// returns. Those that wait, for changes that are not here or because they are too much at once,
    /// are named, and nothing is kept of them.
    fn take_changes(
        &self,
        _peer: Peer,
        _log: &LogId,
        _changes: Vec<DocumentChange>,
    ) -> Result<Vec<ChangeHash>, Refusal> {
        Err(Refusal::new(Code::PROTOCOL, "this HQ keeps no shared documents"))
    }

    /// What became of the documents of `peer`'s site after `cursor`, and of its own changes, of
    /// which `sent` need not be sent back; `None` where it knows everything.
    fn documents_since(
        &self,
        _peer: Peer,
        _log: &LogId,
        _cursor: StateCursor,
        _sent: &[ChangeHash],
    ) -> Result<Option<SignedDocumentBatch>, Refusal> {
        Ok(None)
    }

    /// HQ's lives, where it was restored and sites may know of documents what it lost.
    fn document_lives(&self) -> Option<Lives> {
        None
    }

    /// Takes back what HQ told a site of documents in a life that is over: durable when it returns. False
    /// where something of it builds on what is not here.
    fn take_documents(&self, _given: &GivenDocuments) -> Result<bool, Refusal> {
        Err(Refusal::new(Code::PROTOCOL, "this HQ keeps no shared documents"))
    }

    /// Changes when there may be news of documents for somebody.
    fn document_news(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Makes the log of a newly enrolled installation known. Asked again with the same genesis, it
    /// does nothing. Durable when it returns.
    fn register_log(
        &self,
        peer: Peer,
        company: CompanyNo,
        genesis: Genesis,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// The key that signs acknowledgements and keyed state.
    fn hq_key(&self) -> [u8; 32];

    /// The life of the store.
    fn history(&self) -> HistoryId;

    /// Takes note of what a connection does.
    fn note_link(&self, peer: Peer, log: Option<&LogId>, news: LinkNews);
}
