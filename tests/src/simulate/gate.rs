//! HQ as bundles see it, over the simulation's intake and documents: what the real gate does with them,
//! less what only a connection asks for. Knows no disk.

use ed25519_dalek::SigningKey;
use hq_server::clock::Clock;
use hq_server::gateway::answers::{self, refusal, storage};
use hq_server::gateway::bundle::{Admits, Desk};
use hq_server::gateway::documents::{Documents, Sender};
use hq_server::gateway::store::{HqStore, LinkNews, LogWriter, Peer, Place};
use hq_server::headquarters::losses::Recovery;
use hq_server::headquarters::postings;
use shared::ids::{
    Capture, ChangeHash, CompanyNo, DeviceNo, HistoryId, ItemNo, LogId, Seq, SiteNo,
};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::hq::OpenedLog;
use shared::sync::{
    DocumentChange, Found, GivenDocuments, Position, PostingsAsked, Refusal, Run,
    SignedAcknowledgement, SignedDocumentBatch, SignedPostings, SignedSiteStock, SignedStateBatch,
    StateCursor,
};
use tokio::sync::watch;

/// See the module.
pub(super) struct Gate {
    pub(super) recovery: Recovery,
    pub(super) documents: Documents,
    pub(super) key: SigningKey,
    pub(super) clock: Clock,
}

impl Gate {
    /// Where bundles are taken and answered.
    pub(super) fn desk(&self) -> Desk<'_, Self> {
        Desk { store: self, authority: self, clock: &self.clock }
    }
}

impl Admits for Gate {
    fn hq_key(&self) -> &SigningKey {
        &self.key
    }

    /// Nobody is revoked in these histories.
    fn revocation(&self, _peer: Peer) -> Option<Refusal> {
        None
    }
}

const NOT_BY_BUNDLE: &str = "only a connection asks for it";

impl HqStore for Gate {
    fn open_log(&self, peer: Peer, log: &LogId) -> Result<OpenedLog, Refusal> {
        answers::open_log(&self.recovery.intake, peer, log)
    }

    async fn hear_witness(&self, witness: SignedAcknowledgement) {
        // As in the program: another node may tell of it.
        drop(self.recovery.hear(&witness).await);
    }

    async fn accept(&self, log: LogId, run: Run) -> Result<Position, Refusal> {
        let Run { first, facts, head, .. } = run;
        let accepted = self.recovery.intake.accept(&log, first, facts, head).await;
        accepted.map_err(|error| refusal(&error))
    }

    async fn accept_seal(&self, seal: SignedSeal) -> Result<(), Refusal> {
        self.recovery.intake.accept_seal(seal).await.map_err(|error| refusal(&error))
    }

    async fn accept_seals(&self, seals: Vec<SignedSeal>) -> Result<(), Refusal> {
        self.recovery.intake.accept_seals(&seals).await.map_err(|error| refusal(&error))
    }

    fn writer_of(&self, log: &LogId) -> Option<LogWriter> {
        answers::writer_of(&self.recovery.intake, log)
    }

    fn acknowledgement(&self, log: &LogId) -> Result<SignedAcknowledgement, Refusal> {
        self.recovery.intake.acknowledgement(log).ok_or_else(answers::unknown_log)
    }

    fn state_since(
        &self,
        site: SiteNo,
        cursor: StateCursor,
        facts_max: usize,
    ) -> Result<Option<SignedStateBatch>, Refusal> {
        Ok(self.recovery.intake.state_since(site, cursor, facts_max))
    }

    fn posted(&self, log: &LogId) -> Result<watch::Receiver<Seq>, Refusal> {
        self.recovery.intake.posted(log).ok_or_else(answers::unknown_log)
    }

    fn history(&self) -> HistoryId {
        self.recovery.intake.history()
    }

    fn hq_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn note_link(&self, _peer: Peer, log: Option<&LogId>, news: LinkNews) {
        if let (Some(log), LinkNews::Carried(carried)) = (log, news) {
            self.recovery.intake.note_carried(log, carried.announced.last, carried.made_at);
        }
    }

    fn may_carry(&self, carrier: SiteNo, of: SiteNo) -> bool {
        self.recovery.published.catalogue().may_carry(carrier, of)
    }

    fn take_changes(
        &self,
        peer: Peer,
        log: &LogId,
        changes: Vec<DocumentChange>,
    ) -> Result<Vec<ChangeHash>, Refusal> {
        let sender = Sender { site: peer.site, device: peer.device, log: *log };
        let logs = self.recovery.intake.logs();
        let site_of = |device: DeviceNo| {
            let known = logs.iter().find(|log| log.record.device == device);
            known.map(|log| log.record.site)
        };
        let taken = self.documents.take(&sender, changes, self.clock.now(), site_of);
        taken.map_err(|error| storage(&error))
    }

    fn documents_since(
        &self,
        peer: Peer,
        log: &LogId,
        cursor: StateCursor,
        sent: &[ChangeHash],
    ) -> Result<Option<SignedDocumentBatch>, Refusal> {
        let batch = self.documents.since(peer.site, log, cursor, sent);
        batch.map_err(|error| storage(&error))
    }

    fn take_documents(&self, given: &GivenDocuments) -> Result<bool, Refusal> {
        let taken = self.documents.take_back(given, self.clock.now());
        taken.map_err(|error| storage(&error))
    }

    fn asks_back(&self, known: StateCursor) -> Option<Vec<Capture>> {
        self.recovery.asks_back(known)
    }

    async fn take_back(&self, _batch: SignedStateBatch) {
        unreachable!("{NOT_BY_BUNDLE}")
    }

    fn stock(&self, _site: SiteNo) -> Result<SignedSiteStock, Refusal> {
        unreachable!("{NOT_BY_BUNDLE}")
    }

    async fn open_branch(
        &self,
        _peer: Peer,
        _log: LogId,
        _places: [Position; 2],
    ) -> Result<(OpenedLog, Place), Refusal> {
        unreachable!("{NOT_BY_BUNDLE}")
    }

    async fn accept_branch(&self, _peer: Peer, _log: LogId, _run: Run) -> Result<Place, Refusal> {
        unreachable!("{NOT_BY_BUNDLE}")
    }

    fn branch_acknowledgement(
        &self,
        _log: &LogId,
        _place: &Place,
    ) -> Result<SignedAcknowledgement, Refusal> {
        unreachable!("{NOT_BY_BUNDLE}")
    }

    fn postings(&self, log: &LogId, asked: PostingsAsked) -> Result<SignedPostings, Refusal> {
        let told = postings::told(&self.recovery.intake, &self.recovery.published, log, asked);
        told.map(|told| told.sign(&self.key)).map_err(|error| answers::storage(&error))
    }

    fn look_up(&self, _text: &str) -> Found {
        unreachable!("{NOT_BY_BUNDLE}")
    }

    async fn handle_items(&self, _site: SiteNo, _items: Vec<ItemNo>) -> Result<(), Refusal> {
        unreachable!("{NOT_BY_BUNDLE}")
    }

    fn state_changes(&self) -> watch::Receiver<u64> {
        self.recovery.intake.state_watch()
    }

    async fn register_log(
        &self,
        _peer: Peer,
        _company: CompanyNo,
        _genesis: Genesis,
    ) -> Result<(), Refusal> {
        unreachable!("{NOT_BY_BUNDLE}")
    }
}
