//! The installation as the link sees it. Knows no connection.

use std::sync::PoisonError;

use shared::catalogue::Catalogue;
use shared::fact::statement::MasterData;
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
use tokio::sync::watch;

use super::{BundleNews, Headquarters, LinkState, postings};
use crate::gateway::answers::{self, refusal, storage, unknown_log};
use crate::gateway::branches::BranchError;
use crate::gateway::documents::Sender;
use crate::gateway::intake::LogRecord;
use crate::gateway::store::{Carried, HqStore, LinkNews, LogWriter, Peer, Place};
use crate::own_log::{Draft, DraftError, RecordError};
use crate::web::desk::Change;

impl Headquarters {
    /// An installation number for a branch of an installation's log.
    fn number_branch(&self, peer: Peer) -> Result<DeviceNo, String> {
        let now = self.inner.clock.now();
        self.inner.authority.branch_add(peer, now).map_err(|error| error.to_string())
    }

    /// A branch is stated as other logs are, once its facts are stored.
    async fn state_branch(&self, log: &LogId) -> Result<(), Refusal> {
        if self.published().is_log_stated(log) {
            return Ok(());
        }
        let status = self.inner.intake.log(log).ok_or_else(unknown_log)?;
        let LogRecord { site, device, genesis, .. } = status.record;
        let genesis = Genesis::decode(&genesis).expect("the intake registered it");
        self.state_site_log(Peer { site, device }, &genesis).await
    }

    /// An older bundle that comes later says nothing of how its installation stands.
    fn note_bundle(&self, link: &mut LinkState, carried: &Carried) {
        if link.bundle.is_some_and(|known| known.made_at > carried.made_at) {
            return;
        }
        let (made_at, taken_at) = (carried.made_at, self.inner.clock.now());
        let (known, by) = (carried.known(), carried.by);
        link.bundle = Some(BundleNews { made_at, taken_at, known, by });
        if !link.connected {
            link.program = Some(carried.program.clone());
        }
    }

    /// A site that the register knows, and whose statement was lost, is stated again.
    async fn state_site(&self, site: SiteNo) -> Result<(), Refusal> {
        let is_stated = |catalogue: &Catalogue| catalogue.site(site).is_some();
        let registered = self.inner.authority.sites().into_iter().find(|known| known.site == site);
        let Some(registered) = registered.filter(|_| !is_stated(&self.published().catalogue()))
        else {
            return Ok(());
        };
        let stated = self.inner.own_log.record(|published, _| {
            let mut draft = Draft::new(&published.catalogue());
            if !is_stated(draft.known()) {
                let (company, name) = (registered.company, registered.name.clone());
                draft.again(None, MasterData::Site { site, company, code: name.clone(), name });
            }
            Ok::<_, DraftError>((draft.into_groups(), ()))
        });
        stated.await.map(drop).map_err(|error| storage(&error))
    }

    /// A site's log is stated in HQ's own, for whoever proves seals without certificates.
    async fn state_site_log(&self, peer: Peer, genesis: &Genesis) -> Result<(), Refusal> {
        let (log, key) = (genesis.log_id(), genesis.public_key);
        let stated = self.inner.own_log.record(|published, _| {
            let mut draft = Draft::new(&published.catalogue());
            draft.site_log(peer.site, peer.device, log, key);
            Ok::<_, DraftError>((draft.into_groups(), ()))
        });
        stated.await.map(drop).map_err(|error| storage(&error))
    }
}

impl HqStore for Headquarters {
    async fn hear_witness(&self, witness: SignedAcknowledgement) {
        let heard = self.recovery().hear(&witness).await.and_then(|skipped| match skipped {
            0 => Ok(()),
            // Whoever was let in, and whatever was made a site, was stated as well.
            more => self.inner.authority.leave_out(more).map_err(|error| error.to_string()),
        });
        if let Err(error) = heard {
            tracing::error!("what a node is a witness of was not stated: {error}");
        }
    }

    fn asks_back(&self, known: StateCursor) -> Option<Vec<Capture>> {
        self.recovery().asks_back(known)
    }

    fn stock(&self, site: SiteNo) -> Result<SignedSiteStock, Refusal> {
        let at = self.inner.clock.now();
        let stock = answers::site_stock(&self.inner.intake, self.published(), site, at)?;
        stock.sign(self.inner.authority.hq_key()).ok_or_else(|| {
            let text = "this site has more stock lines than one answer holds: enrol and count";
            Refusal::new(Code::STORAGE, text)
        })
    }

    async fn take_back(&self, batch: SignedStateBatch) {
        if let Err(error) = self.recovery().take_back(&batch).await {
            tracing::error!("what a node gave back was not stated again: {error}");
        }
        if let Err(error) = self.agree_on_revoked().await {
            tracing::error!("who was revoked before the restore is let in: {error}");
        }
    }

    fn open_log(&self, peer: Peer, log: &LogId) -> Result<OpenedLog, Refusal> {
        answers::open_log(&self.inner.intake, peer, log)
    }

    async fn open_branch(
        &self,
        peer: Peer,
        log: LogId,
        places: [Position; 2],
    ) -> Result<(OpenedLog, Place), Refusal> {
        answers::owned_log(&self.inner.intake, peer, &log)?;
        let place = self.inner.branches.common(&log, &places).await;
        let place = place.map_err(|error| storage(&error))?;
        self.inner.intake.forget_announced(&log);
        let (history, cursor) = (self.inner.store.history(), place.position);
        Ok((OpenedLog { history, cursor, sealed: cursor.last }, place))
    }

    async fn accept_branch(&self, peer: Peer, log: LogId, run: Run) -> Result<Place, Refusal> {
        // Whoever brings it, a branch is one of the installation that wrote the log.
        let device = answers::owned_log(&self.inner.intake, peer, &log)?.record.device;
        let writer = Peer { device, ..peer };
        let placed = self.inner.branches.accept(&log, run, || self.number_branch(writer)).await;
        let place = placed.map_err(|error| match error {
            BranchError::Intake(error) => refusal(&error),
            error => Refusal::new(Code::FORK, error.to_string()),
        })?;
        self.state_branch(&place.log).await?;
        Ok(place)
    }

    fn writer_of(&self, log: &LogId) -> Option<LogWriter> {
        answers::writer_of(&self.inner.intake, log)
    }

    fn may_carry(&self, carrier: SiteNo, of: SiteNo) -> bool {
        self.published().catalogue().may_carry(carrier, of)
    }

    async fn accept(&self, log: LogId, run: Run) -> Result<Position, Refusal> {
        let Run { first, facts, head, .. } = run;
        let accepted = self.inner.intake.accept(&log, first, facts, head).await;
        accepted.map_err(|error| refusal(&error))
    }

    async fn accept_seal(&self, seal: SignedSeal) -> Result<(), Refusal> {
        self.inner.intake.accept_seal(seal).await.map_err(|error| refusal(&error))
    }

    async fn accept_seals(&self, seals: Vec<SignedSeal>) -> Result<(), Refusal> {
        self.inner.intake.accept_seals(&seals).await.map_err(|error| refusal(&error))
    }

    fn acknowledgement(&self, log: &LogId) -> Result<SignedAcknowledgement, Refusal> {
        self.inner.intake.acknowledgement(log).ok_or_else(unknown_log)
    }

    fn branch_acknowledgement(
        &self,
        log: &LogId,
        place: &Place,
    ) -> Result<SignedAcknowledgement, Refusal> {
        let signed = self.inner.intake.acknowledgement_at(log, &place.log, place.position);
        signed.ok_or_else(unknown_log)
    }

    fn posted(&self, log: &LogId) -> Result<watch::Receiver<Seq>, Refusal> {
        self.inner.intake.posted(log).ok_or_else(unknown_log)
    }

    fn state_since(
        &self,
        site: SiteNo,
        cursor: StateCursor,
        facts_max: usize,
    ) -> Result<Option<SignedStateBatch>, Refusal> {
        Ok(self.inner.intake.state_since(site, cursor, facts_max))
    }

    fn postings(&self, log: &LogId, asked: PostingsAsked) -> Result<SignedPostings, Refusal> {
        let told = postings::told(&self.inner.intake, self.published(), log, asked);
        let told = told.map_err(|error| storage(&error))?;
        Ok(told.sign(self.inner.authority.hq_key()))
    }

    fn look_up(&self, text: &str) -> Found {
        answers::look_up(&self.inner.intake, &self.published().catalogue(), text)
    }

    async fn handle_items(&self, site: SiteNo, items: Vec<ItemNo>) -> Result<(), Refusal> {
        let stated = self.inner.own_log.record(|published, _| {
            let mut draft = Draft::new(&published.catalogue());
            for item in items {
                draft.handled_item(site, item)?;
            }
            Ok::<_, DraftError>((draft.into_groups(), ()))
        });
        stated.await.map(drop).map_err(|error| match error {
            RecordError::Refused(error) => Refusal::new(Code::PROTOCOL, error.to_string()),
            error => storage(&error),
        })
    }

    fn state_changes(&self) -> watch::Receiver<u64> {
        self.inner.intake.state_watch()
    }

    fn take_changes(
        &self,
        peer: Peer,
        log: &LogId,
        changes: Vec<DocumentChange>,
    ) -> Result<Vec<ChangeHash>, Refusal> {
        let sender = Sender { site: peer.site, device: peer.device, log: *log };
        let site_of = |device| self.site_of(device);
        let (documents, now) = (&self.inner.documents, self.inner.clock.now());
        let waits = documents.take(&sender, changes, now, site_of);
        let waits = waits.map_err(|error| storage(&error))?;
        if let Some(why) = documents.held_back(peer.site, now).filter(|_| !waits.is_empty()) {
            self.note_link(peer, Some(log), LinkNews::HeldBack(why.to_string()));
        }
        Ok(waits)
    }

    fn documents_since(
        &self,
        peer: Peer,
        log: &LogId,
        cursor: StateCursor,
        sent: &[ChangeHash],
    ) -> Result<Option<SignedDocumentBatch>, Refusal> {
        let batch = self.inner.documents.since(peer.site, log, cursor, sent);
        batch.map_err(|error| storage(&error))
    }

    fn document_lives(&self) -> Option<Lives> {
        self.inner.documents.lives()
    }

    fn take_documents(&self, given: &GivenDocuments) -> Result<bool, Refusal> {
        let taken = self.inner.documents.take_back(given, self.inner.clock.now());
        taken.map_err(|error| storage(&error))
    }

    fn document_news(&self) -> watch::Receiver<u64> {
        self.inner.documents.watch()
    }

    async fn register_log(
        &self,
        peer: Peer,
        _company: CompanyNo,
        genesis: Genesis,
    ) -> Result<(), Refusal> {
        let registered = self.inner.intake.register(peer.site, peer.device, &genesis).await;
        registered.map_err(|error| refusal(&error))?;
        self.state_site(peer.site).await?;
        if self.is_stated_revoked(peer.site, peer.device) {
            // A restored HQ forgot it, and neighbours gave it back.
            self.agree_on_revoked().await.map_err(|error| storage(&error))?;
            return self.inner.authority.revocation(peer).map_or(Ok(()), Err);
        }
        if self.published().is_log_stated(&genesis.log_id()) {
            return Ok(());
        }
        self.state_site_log(peer, &genesis).await
    }

    fn hq_key(&self) -> [u8; 32] {
        self.inner.authority.hq_key().verifying_key().to_bytes()
    }

    fn history(&self) -> HistoryId {
        self.inner.store.history()
    }

    fn note_link(&self, peer: Peer, log: Option<&LogId>, news: LinkNews) {
        let mut links = self.inner.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry(peer.device).or_default();
        let changed = match &news {
            LinkNews::Connected { program, announced, clock_ahead_ms, .. } => {
                *link = LinkState {
                    connected: true,
                    program: Some(program.clone()),
                    clock_ahead_ms: Some(*clock_ahead_ms),
                    bundle: link.bundle,
                    forged: link.forged.take(),
                    since: Some(self.inner.clock.now()),
                    quality: None,
                    last_error: link.last_error.take(),
                };
                if let Some(log) = log {
                    self.inner.intake.note_announced(log, announced.last);
                }
                true
            }
            LinkNews::Forged(why) => {
                link.forged = Some(why.clone());
                true
            }
            LinkNews::Heard(quality) => link.quality.replace(*quality).is_none(),
            LinkNews::Carried(carried) => {
                self.note_bundle(link, carried);
                if let Some(log) = log {
                    let (last, made_at) = (carried.announced.last, carried.made_at);
                    self.inner.intake.note_carried(log, last, made_at);
                }
                true
            }
            LinkNews::HeldBack(why) => {
                let known = link.last_error.as_ref().is_some_and(|(_, known)| known == why);
                link.last_error = Some((self.inner.clock.now(), why.clone()));
                !known
            }
            LinkNews::Disconnected { why, is_problem } => {
                if *is_problem {
                    link.last_error = Some((self.inner.clock.now(), why.clone()));
                }
                std::mem::take(&mut link.connected) || *is_problem
            }
        };
        drop(links);
        if let Some(log) = log.filter(|_| !matches!(news, LinkNews::Carried(_))) {
            self.inner.intake.note_heard(log);
        }
        if changed {
            // Nobody may be looking.
            drop(self.inner.changes.send(Change::Links));
        }
    }
}
