//! What HQ learns after a restore of what it had stated and given before: from the acknowledgements and
//! the keyed state that nodes hold. Knows no connection and no register. Invariant: what is learnt is
//! stated in HQ's own log, once, and numbers go on above it from then on.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use shared::catalogue::StateKey;
use shared::fact::statement::{MasterData, Stamp, Statement};
use shared::ids::{Capture, LogId, Seq, SiteNo};
use shared::planted::{self, Fault};
use shared::sync::{
    Given, SignedAcknowledgement, SignedStateBatch, StateCursor, VouchersGiven, limits,
};

use super::Headquarters;
use crate::books::Losses;
use crate::gateway::intake::{Intake, LogStatus};
use crate::own_log::{Draft, DraftError, OwnLog};
use crate::sequencer::Published;

/// HQ as it hears of what it lost.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Facts of every log.
    pub intake: Intake,
    /// What HQ knows.
    pub published: Arc<Published>,
    /// Where it states what it learns.
    pub own_log: OwnLog,
    /// Its key: what it once said is signed with it.
    pub key: VerifyingKey,
}

/// What a node is a witness of, and HQ did not know.
#[derive(Debug)]
struct News {
    vouchers: Vec<VouchersGiven>,
    own: Option<OwnNews>,
}

/// HQ lost more of what it had stated than it knew.
#[derive(Clone, Copy, Debug)]
struct OwnNews {
    log: LogId,
    after: Seq,
    lost: Capture,
    /// How many numbers are left out for it, besides those that are left out already.
    skipped: u32,
}

impl Headquarters {
    /// Whether HQ was ever put back to a backup.
    pub fn was_restored(&self) -> bool {
        self.recovery().was_restored()
    }

    /// What a restored HQ learns from nodes.
    pub(super) fn recovery(&self) -> Recovery {
        Recovery {
            intake: self.inner.intake.clone(),
            published: Arc::clone(self.published()),
            own_log: self.inner.own_log.clone(),
            key: self.inner.authority.hq_key().verifying_key(),
        }
    }
}

impl Recovery {
    /// States what a node is a witness of, where that is of a history that is lost and as far as it is
    /// news. How many numbers more than before are left out.
    pub async fn hear(&self, witness: &SignedAcknowledgement) -> Result<u32, String> {
        let said = &witness.acknowledgement;
        let is_known = said.history == self.intake.history() || witness.verify(&self.key).is_err();
        if is_known || self.news(&self.published, &said.given).is_none() {
            return Ok(0);
        }
        let stated = self.own_log.record(|published, _| {
            let mut draft = Draft::new(&published.catalogue());
            // Another node may have told meanwhile.
            let news = self.news(published, &said.given);
            let (vouchers, own) = news.map_or_else(Default::default, |it| (it.vouchers, it.own));
            for VouchersGiven { company, month, last } in vouchers {
                draft.voucher_gap(company, month, last);
            }
            if let Some(OwnNews { log, after, lost, skipped }) = own {
                draft.restored(log, after, skipped, lost);
            }
            Ok::<_, DraftError>((draft.into_groups(), own))
        });
        let (_, own) = stated.await.map_err(|error| error.to_string())?;
        if let Some(OwnNews { lost, .. }) = own {
            tracing::warn!(%lost, "HQ was restored, and lost what it had stated up to this fact");
        }
        Ok(own.map_or(0, |own| own.skipped))
    }

    /// How far HQ's own logs go, for a node that may have keyed state of a life that is lost; `None`
    /// where there is nothing to ask back.
    pub fn asks_back(&self, known: StateCursor) -> Option<Vec<Capture>> {
        (self.was_restored() && !self.intake.tells(known)).then(|| self.own_ends())
    }

    /// Whether HQ may have lost what it had stated.
    pub fn was_restored(&self) -> bool {
        !self.published.ledgers().books.losses().own().is_empty()
    }

    /// How far HQ's own logs go, by installation.
    fn own_ends(&self) -> Vec<Capture> {
        let own = self.intake.logs().into_iter();
        let own = own.filter(|log| log.record.site == SiteNo::HQ);
        let end =
            |log: LogStatus| Capture { device: log.record.device, counter: log.received.last.0 };
        let ends: Vec<Capture> = own.map(end).collect();
        // The newest ones, should there ever be more: what is given back twice is known.
        ends[ends.len().saturating_sub(limits::HQ_LOGS_MAX)..].to_vec()
    }

    /// States again what HQ had stated and lost, as a node gave it back: what is not newer than what
    /// HQ has is left. The time when it was first stated stays, so that of two versions the newer one
    /// holds, whichever comes back first. That an installation is revoked holds whatever was stated
    /// since by an HQ that had forgotten it.
    pub async fn take_back(&self, batch: &SignedStateBatch) -> Result<(), String> {
        batch.verify(&self.key).map_err(|_| "HQ did not sign it".to_owned())?;
        let facts = batch.batch.facts().map_err(|error| error.to_string())?;
        let ends = self.own_ends();
        let mut lost = BTreeMap::new();
        for fact in facts {
            let (Ok(stamp), Ok(Statement::MasterData { valid_from, data })) =
                (Stamp::parse(&fact), Statement::parse(&fact))
            else {
                continue;
            };
            let has = ends.iter().any(|end| {
                end.device == stamp.capture.device && stamp.capture.counter <= end.counter
            });
            if !has {
                let key = StateKey::of(&fact);
                lost.insert(stamp.capture, (stamp.occurred_at, key, valid_from, data));
            }
        }
        if lost.is_empty() || planted::is(Fault::GivenBackIgnored) {
            return Ok(());
        }
        let stated = self.own_log.record(|published, _| {
            let (mut draft, mut times) = (Draft::new(&published.catalogue()), Vec::new());
            for (at, key, valid_from, data) in lost.into_values() {
                let newest = self.intake.newest_state(&key);
                let newer = newest.and_then(|fact| Stamp::parse(&fact).ok());
                let newer = newer.filter(|newest| newest.occurred_at >= at);
                let revokes = match &data {
                    MasterData::SiteLog { site, device, revoked, .. } => {
                        *revoked && !published.catalogue().is_revoked(*site, *device)
                    }
                    _ => false,
                };
                if newer.is_none() || revokes {
                    draft.again(valid_from, data);
                    times.push(newer.is_none().then_some(at));
                }
            }
            let mut groups = draft.into_groups();
            for (group, at) in groups.iter_mut().zip(&times) {
                group.occurred_at = *at;
            }
            Ok::<_, DraftError>((groups, times.len()))
        });
        let (_, count) = stated.await.map_err(|error| error.to_string())?;
        if count > 0 {
            tracing::warn!("{count} statements that HQ had lost were given back by a node");
        }
        Ok(())
    }

    fn news(&self, published: &Published, given: &Given) -> Option<News> {
        let ledgers = published.ledgers();
        let vouchers: Vec<_> =
            given.vouchers().filter(|told| ledgers.books.is_news(*told)).collect();
        let own = self.own_news(given.stated, ledgers.books.losses());
        (!vouchers.is_empty() || own.is_some()).then_some(News { vouchers, own })
    }

    fn own_news(&self, stated: Capture, losses: &Losses) -> Option<OwnNews> {
        let told = losses.own().iter().filter_map(|loss| loss.lost);
        let known = told.filter(|lost| lost.device == stated.device).map(|lost| lost.counter);
        let mut own = self.intake.logs().into_iter();
        let is_it =
            |log: &LogStatus| (log.record.site, log.record.device) == (SiteNo::HQ, stated.device);
        let log = own.find(is_it);
        let end = log.as_ref().map_or(0, |log| log.received.last.0);
        if stated.counter <= known.max().unwrap_or(0).max(end) {
            return None;
        }
        let (log, after, needed) = if let Some(log) = log {
            (log.record.log, log.received.last, stated.counter - end)
        } else {
            // Of a life of HQ between this one and the backup that both began with: it had left out
            // numbers before it gave any.
            let loss = losses.own().last()?;
            (loss.log, loss.after, u64::from(loss.skipped) + stated.counter)
        };
        let of_log = losses.own().iter().filter(|loss| loss.log == log);
        let skipped: u64 = of_log.map(|loss| u64::from(loss.skipped)).sum();
        let skipped = u32::try_from(needed.saturating_sub(skipped)).unwrap_or(u32::MAX);
        Some(OwnNews { log, after, lost: stated, skipped })
    }
}
