//! Who was revoked: the register, which lets nobody in, and what HQ states, which neighbours hear. Knows
//! no connection. Invariant: what one of the two says the other says, too, once this was done; nobody
//! is let in again.

use shared::catalogue::SiteLog;
use shared::ids::{DeviceNo, LogId, SiteNo};

use super::Headquarters;
use crate::authority::SiteError;
use crate::own_log::{Draft, DraftError, RecordError};
use crate::sequencer::Published;

/// Why the register and what HQ states still differ.
#[derive(Debug, thiserror::Error)]
pub enum RevokedError {
    /// The register.
    #[error(transparent)]
    Register(#[from] SiteError),
    /// HQ's own log.
    #[error(transparent)]
    Stated(#[from] RecordError<DraftError>),
}

impl Headquarters {
    /// Makes the two say the same: a revocation is stated for neighbours; one that a restored HQ was
    /// given back is in the register again. How many were stated.
    pub async fn agree_on_revoked(&self) -> Result<usize, RevokedError> {
        let (hq, now) = (self.clone(), self.inner.clock.now());
        let registered = tokio::task::spawn_blocking(move || hq.revoke_as_stated(now));
        registered.await.expect("the register does not panic")?;
        if self.unstated(self.published()).is_empty() {
            return Ok(0);
        }
        let stated = self.inner.own_log.record(|published, _| {
            let mut draft = Draft::new(&published.catalogue());
            let unstated = self.unstated(published);
            let count = unstated.len();
            for (log, of) in unstated {
                draft.log_revoked(log, of);
            }
            Ok::<_, DraftError>((draft.into_groups(), count))
        });
        let (_, count) = stated.await?;
        Ok(count)
    }

    /// Whether HQ has stated that an installation is revoked.
    pub(super) fn is_stated_revoked(&self, site: SiteNo, device: DeviceNo) -> bool {
        self.published().catalogue().is_revoked(site, device)
    }

    fn revoke_as_stated(&self, now: shared::time::Timestamp) -> Result<(), SiteError> {
        let authority = &self.inner.authority;
        let let_in = authority.devices().into_iter().filter(|record| record.revoked_at.is_none());
        for record in let_in.filter(|record| self.is_stated_revoked(record.site, record.device)) {
            authority.device_revoke(record.device, now)?;
        }
        Ok(())
    }

    /// Logs of which HQ did not state that their installation is revoked.
    fn unstated(&self, published: &Published) -> Vec<(LogId, SiteLog)> {
        let devices = self.inner.authority.devices().into_iter();
        let revoked = devices.filter(|record| record.revoked_at.is_some());
        let revoked: Vec<_> = revoked.map(|record| (record.site, record.device)).collect();
        let catalogue = published.catalogue();
        let logs = catalogue.site_logs().filter(|(_, of)| !of.revoked);
        let logs = logs.filter(|(_, of)| revoked.contains(&(of.site, of.device)));
        logs.map(|(log, of)| (*log, *of)).collect()
    }
}
