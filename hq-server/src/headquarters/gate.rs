//! The installation as the link sees it: refusals instead of errors. Knows no connection.

use std::sync::PoisonError;

use shared::ids::{CompanyNo, HistoryId, LogId, Seq, SiteNo};
use shared::segment::chain::Genesis;
use shared::segment::seal::SignedSeal;
use shared::sync::hq::OpenedLog;
use shared::sync::{
    Code, Position, Refusal, Run, SignedAcknowledgement, SignedStateBatch, StateCursor,
};
use tokio::sync::watch;

use super::{Headquarters, LinkState};
use crate::gateway::intake::{IntakeError, RunRefused, SealRefused};
use crate::gateway::store::{HqStore, LinkNews, Peer};
use crate::own_log::{Draft, DraftError};
use crate::web::desk::Change;

fn refusal(error: &IntakeError) -> Refusal {
    let code = match error {
        IntakeError::UnknownLog(_) => Code::UNKNOWN_LOG,
        IntakeError::Run(RunRefused::Fork(_))
        | IntakeError::Seal(
            SealRefused::OtherSeal(_) | SealRefused::OtherHead(_) | SealRefused::OtherDocument(_),
        ) => Code::FORK,
        IntakeError::Run(_) | IntakeError::Seal(_) => Code::BAD_FACTS,
        IntakeError::Register(_) => Code::KEYS_TAKEN,
        IntakeError::File(_) => Code::STORAGE,
        IntakeError::Stopped => Code::LEAVING,
    };
    Refusal::new(code, error.to_string())
}

fn unknown_log() -> Refusal {
    let text = "HQ does not know this log: enrol the node again with a code from HQ";
    Refusal::new(Code::UNKNOWN_LOG, text)
}

fn storage(error: &dyn std::error::Error) -> Refusal {
    tracing::error!("the intake: {error}");
    Refusal::new(Code::STORAGE, "HQ can't read its store: try again later")
}

impl Headquarters {
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
    fn open_log(&self, peer: Peer, log: &LogId, edge: Position) -> Result<OpenedLog, Refusal> {
        let status = self.inner.intake.log(log).ok_or_else(unknown_log)?;
        if (status.record.site, status.record.device) != (peer.site, peer.device) {
            return Err(unknown_log());
        }
        let head_at_edge = if edge.last < status.received.last {
            self.inner.intake.head_at(log, edge.last).map_err(|error| storage(&error))?
        } else {
            None
        };
        Ok(OpenedLog {
            history: self.inner.store.history(),
            cursor: status.received,
            sealed: status.sealed,
            head_at_edge,
        })
    }

    async fn accept(&self, log: LogId, run: Run) -> Result<Position, Refusal> {
        let Run { first, facts, head, .. } = run;
        let accepted = self.inner.intake.accept(&log, first, facts, head).await;
        accepted.map_err(|error| refusal(&error))
    }

    async fn accept_seal(&self, seal: SignedSeal) -> Result<(), Refusal> {
        self.inner.intake.accept_seal(seal).await.map_err(|error| refusal(&error))
    }

    fn acknowledgement(&self, log: &LogId) -> Result<SignedAcknowledgement, Refusal> {
        self.inner.intake.acknowledgement(log).ok_or_else(unknown_log)
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

    fn state_changes(&self) -> watch::Receiver<u64> {
        self.inner.intake.state_watch()
    }

    async fn register_log(
        &self,
        peer: Peer,
        _company: CompanyNo,
        genesis: Genesis,
    ) -> Result<(), Refusal> {
        let registered = self.inner.intake.register(peer.site, peer.device, &genesis).await;
        registered.map_err(|error| refusal(&error))?;
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
                };
                if let Some(log) = log {
                    self.inner.intake.note_announced(log, announced.last);
                }
                true
            }
            LinkNews::Heard => false,
            LinkNews::Disconnected(_) => std::mem::take(&mut link.connected),
        };
        drop(links);
        if let Some(log) = log {
            self.inner.intake.note_heard(log);
        }
        if changed {
            // Nobody may be looking.
            drop(self.inner.changes.send(Change::Links));
        }
    }
}
