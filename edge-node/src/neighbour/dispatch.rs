//! Dispatch notes: what this node has shipped to a site, as that site may read it before HQ has told
//! it; and what a note says of goods on their way here. Knows no connection. Invariant: a note says
//! what the log says, reversals included, and nothing of anybody else.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ed25519_dalek::VerifyingKey;
use shared::catalogue::{Catalogue, OpenTransfer};
use shared::fact::statement::{Movement, Stamp, Statement, parse_fact};
use shared::fact::{Fact, Kind, field};
use shared::ids::{Capture, LogId, Seq, SiteNo};
use shared::sync::bundle::{BundleError, BundleHead, Direction, NOTE_FACTS_MAX, Seed, write_note};
use shared::sync::carry::Gift;
use shared::time::Timestamp;

use crate::bundle::Keys;
use crate::journal::{Journal, StoreError};
use crate::record::Arrival;

/// This node's notes, and what they are made of.
#[derive(Debug, Default)]
pub(super) struct Dispatch {
    /// The log was looked through up to this fact.
    seen: Seq,
    /// What was shipped lately, by site, in the order of the log; also what was reversed.
    ships: BTreeMap<SiteNo, BTreeMap<Seq, Fact>>,
    /// The site that a ship went to, and that of what a reversal is about in the end.
    concerns: BTreeMap<Capture, SiteNo>,
    /// The newest note to each installation, and up to where its site's ships were known.
    notes: BTreeMap<LogId, (Seq, Gift)>,
    /// The last ship or reversal of a ship to each site, and when it was recorded.
    changed: BTreeMap<SiteNo, (Seq, Timestamp)>,
}

/// What was shipped longer ago is told by HQ, or on paper.
const LATELY_MS: i64 = 30 * 86_400_000;

/// Why no note was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DispatchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl Dispatch {
    /// A note to every installation of a site that something was shipped to lately, but for those
    /// that HQ has revoked: nobody knows who has their keys. Whether HQ has
    /// told of it the receiver knows best.
    pub(super) fn notes(
        &mut self,
        journal: &Journal,
        catalogue: &Catalogue,
        keys: &Keys,
        now: Timestamp,
    ) -> Result<Vec<Gift>, DispatchError> {
        let since = Timestamp(now.0.saturating_sub(LATELY_MS));
        self.look_through(journal)?;
        let is_late = |fact: &Fact| field::RECORDED_AT.of(fact).is_some_and(|at| at >= since.0);
        for ships in self.ships.values_mut() {
            ships.retain(|_, fact| is_late(fact));
        }
        self.changed.retain(|_, (_, at)| *at >= since);
        let mut gifts = Vec::new();
        for (site, (changed, _)) in &self.changed {
            for (log, of) in catalogue.site_logs().filter(|(_, of)| of.site == *site && !of.revoked)
            {
                let known = self.notes.get(log).filter(|(up_to, _)| up_to == changed);
                let gift = if let Some((_, gift)) = known {
                    gift.clone()
                } else {
                    let ships = self.ships.get(site).into_iter().flatten().rev();
                    let there = ships.filter(|(seq, _)| !journal.is_reversed(**seq));
                    let newest = there.take(NOTE_FACTS_MAX).map(|(_, fact)| fact.clone());
                    let newest: Vec<Fact> = newest.collect();
                    note(journal, keys, *log, &of.public_key, *changed, &newest)?
                };
                self.notes.insert(*log, (*changed, gift.clone()));
                gifts.push(gift);
            }
        }
        Ok(gifts)
    }

    /// Takes what was recorded since.
    fn look_through(&mut self, journal: &Journal) -> Result<(), StoreError> {
        if journal.position().last <= self.seen {
            return Ok(());
        }
        journal.for_each_fact(self.seen.next(), |seq, fact| {
            match fact.kind() {
                Some(Kind::TransferShip) => {
                    if let Some((stamp, ship)) = shipped(fact)
                        && let Some(site) = ship.other_site
                    {
                        self.ships.entry(site).or_default().insert(seq, fact.clone());
                        self.concerns.insert(stamp.capture, site);
                        self.changed.insert(site, (seq, stamp.recorded_at));
                    }
                }
                Some(Kind::Reversal) => {
                    let (stamp, statement) = parse_fact(fact);
                    if let (Ok(stamp), Ok(Statement::Reversal { refers_to, .. })) =
                        (stamp, statement)
                    {
                        self.take_back(refers_to, stamp.capture, (seq, stamp.recorded_at));
                    }
                }
                _ => {}
            }
            self.seen = seq;
            ControlFlow::Continue(())
        })
    }

    /// A ship that was reversed is not on its way, until its reversal is reversed, and so on: the
    /// journal knows. Whatever it comes to, the site is told anew.
    fn take_back(&mut self, refers_to: Capture, reversal: Capture, at: (Seq, Timestamp)) {
        if let Some(site) = self.concerns.get(&refers_to).copied() {
            self.concerns.insert(reversal, site);
            self.changed.insert(site, at);
        }
    }
}

fn shipped(fact: &Fact) -> Option<(Stamp, Movement)> {
    match parse_fact(fact) {
        (Ok(stamp), Ok(Statement::Movement(movement))) if movement.kind == Kind::TransferShip => {
            Some((stamp, movement))
        }
        _ => None,
    }
}

fn note(
    journal: &Journal,
    keys: &Keys,
    receiver: LogId,
    receiver_key: &[u8; 32],
    last: Seq,
    ships: &[Fact],
) -> Result<Gift, DispatchError> {
    let key = VerifyingKey::from_bytes(receiver_key).map_err(|_| BundleError::UnusableKey)?;
    let head = BundleHead {
        direction: Direction::ToSite(receiver),
        history: keys.history,
        log: journal.log(),
        after: Seq::ZERO,
        last,
    };
    let mut seed = Seed([0; 32]);
    getrandom::fill(&mut seed.0).map_err(DispatchError::Random)?;
    Ok(Gift::of(write_note(&head, &key, keys.own.clone(), &seed, ships)?)?)
}

/// What the facts of a note from one site say of goods on their way to another.
pub(super) fn arrivals(facts: &[Fact], from: SiteNo, to: SiteNo) -> Vec<Arrival> {
    let arrival = |fact: &Fact| {
        let (stamp, ship) = shipped(fact)?;
        let transfer = OpenTransfer {
            ship: stamp.capture,
            from,
            to,
            item: ship.item,
            quantity: ship.quantity,
            lot: ship.lot,
            document: ship.document,
            shipped_at: stamp.occurred_at,
            open: true,
        };
        (ship.other_site == Some(to)).then_some(Arrival { transfer, price: ship.price })
    };
    facts.iter().filter_map(arrival).collect()
}
