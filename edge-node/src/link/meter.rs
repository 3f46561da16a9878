//! How a connection does: round trip, loss, and the rate at which data arrives. Knows no session.
//! Invariant: a rate counts what arrived, over a while, so that a burst into a queue is none.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::time::Instant;

use super::controller::Tally;
use super::profile::{Choice, JUDGED_PACKETS, Measured, Network, Profile, Seen};

/// What a rate is taken over.
const SPAN: Duration = Duration::from_secs(2);
/// Fewer facts than this are not worth another handshake.
const MUCH: u64 = 4_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Meter {
    tally: Arc<Tally>,
    /// Set where nobody but measurements chose a normal link.
    may_misfit: bool,
    since: Instant,
    arrived: u64,
    rate: u64,
}

impl Meter {
    pub(super) fn new(network: &Network, profile: Profile) -> Self {
        Self {
            tally: Arc::default(),
            may_misfit: network.choice == Choice::Auto && profile == Profile::Normal,
            since: Instant::now(),
            arrived: 0,
            rate: 0,
        }
    }

    /// What the connection's controllers count into.
    pub(super) const fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Looks again, now and then; whether another profile would serve the facts that are left.
    pub(super) fn finds_misfit(&mut self, connection: &Connection, facts_left: u64) -> bool {
        if !self.looks() || !self.may_misfit || facts_left < MUCH {
            return false;
        }
        let seen = self.seen(connection);
        let fitting = Profile::fitting(Some(Measured::after(None, &seen)));
        seen.sent_packets >= JUDGED_PACKETS && fitting != Profile::Normal
    }

    fn looks(&mut self) -> bool {
        let span = self.since.elapsed();
        if span < SPAN {
            return false;
        }
        let arrived = self.tally.arrived();
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
        self.rate = self.rate.max((arrived - self.arrived).saturating_mul(1_000) / millis);
        (self.since, self.arrived) = (Instant::now(), arrived);
        true
    }

    /// What was seen so far.
    pub(super) fn seen(&self, connection: &Connection) -> Seen {
        let path = connection.stats().path;
        // Where packets queue, those that are lost found the queue full: that says nothing of the link.
        let is_jammed = path.rtt > path.min_rtt * 2;
        Seen {
            rtt: path.min_rtt,
            sent_packets: if is_jammed { 0 } else { path.sent_packets },
            lost_packets: path.lost_packets,
            rate: self.rate,
        }
    }
}
