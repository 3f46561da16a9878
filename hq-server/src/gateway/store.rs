//! What the link needs of HQ's intake, so that it can be tried with another one. Knows no file and
//! no books. Invariant: what a reply calls stored is durable.

use std::future::Future;

use shared::ids::{CompanyNo, DeviceNo, HistoryId, LogId, Seq, SiteNo};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::hq::OpenedLog;
use shared::sync::{Position, Refusal, Run, SignedAcknowledgement, SignedStateBatch, StateCursor};
use tokio::sync::watch;

/// Who is at the other end, as its certificate says and the site register confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The site.
    pub site: SiteNo,
    /// The installation.
    pub device: DeviceNo,
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
    Heard,
    /// The connection ended; why, for people.
    Disconnected(String),
}

/// The intake as the link sees it. What fails comes back as the refusal that the edge is told.
pub trait HqStore: Send + Sync + 'static {
    /// How far `peer`'s log is here: unknown logs and those of another installation are refused.
    ///
    /// `edge` is how far the edge has it; where that is less than here, the head at that place
    /// tells a restored log from a forked one, if the store can say it.
    fn open_log(&self, peer: Peer, log: &LogId, edge: Position) -> Result<OpenedLog, Refusal>;

    /// Stores a run that follows what is stored. Facts that are stored already are skipped. Durable
    /// when it returns.
    fn accept(
        &self,
        log: LogId,
        run: Run,
    ) -> impl Future<Output = Result<Position, Refusal>> + Send;

    /// Checks and stores a seal over stored facts.
    fn accept_seal(&self, seal: SignedSeal) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Signs how far the log is received, safe and posted.
    fn acknowledgement(&self, log: &LogId) -> Result<SignedAcknowledgement, Refusal>;

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

    /// Changes when there may be keyed state for somebody.
    fn state_changes(&self) -> watch::Receiver<u64>;

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
