//! Facts of sites whose time is in doubt, and what HQ knows of it by itself. Knows no clock and no
//! connection. Invariant: what HQ decides about a time is a statement in its own log, so it stays decided
//! whatever is learnt later.

use shared::ids::SiteNo;

use super::Headquarters;
use crate::own_log::{DraftError, LogOfSite, known_closely};

impl Headquarters {
    /// Every log of every site.
    pub fn logs_of_sites(&self) -> Vec<LogOfSite> {
        let logs = self.inner.intake.logs().into_iter();
        let sites = logs.filter(|log| log.record.site != SiteNo::HQ);
        sites
            .map(|log| {
                let record = log.record;
                LogOfSite { site: record.site, device: record.device, log: record.log }
            })
            .collect()
    }

    /// States when facts in doubt happened, where their logs and their arrival tell it closely enough.
    /// How many such statements were made.
    pub async fn place_what_is_known(&self) -> Result<usize, String> {
        // Asked after every commit: what waits for anything else is not looked at.
        if !self.published().ledgers().books.has_doubts() {
            return Ok(0);
        }
        let logs = self.logs_of_sites();
        if known_closely(&self.published().ledgers().books, &logs).is_empty() {
            return Ok(0);
        }
        let stated = self.inner.own_log.record(|published, _| {
            // A person may have said so meanwhile.
            let groups = known_closely(&published.ledgers().books, &logs);
            let count = groups.len();
            Ok::<_, DraftError>((groups, count))
        });
        stated.await.map(|(_, count)| count).map_err(|error| error.to_string())
    }
}
