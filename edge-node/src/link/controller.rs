//! A congestion controller around another one: counts what arrives, and may keep a floor under the
//! window. Knows no profile. Invariant: without floor and nudge the window is the inner controller's.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

/// A floor that is lower than this would hold up the handshake.
const FLOOR_MIN: u64 = 12_000;

/// What a nudge adds to the window until something arrives again: room for two packets.
const NUDGE: u64 = 2_400;

/// What arrived on all paths of a connection, and how.
#[derive(Debug, Default)]
pub(super) struct Tally {
    arrived: AtomicU64,
    nudged: AtomicU64,
    jammed: AtomicBool,
}

impl Tally {
    /// Bytes that the other side confirmed.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Makes room for a sign of life in a window that may be full of what was lost.
    pub(super) fn nudge(&self) {
        self.nudged.fetch_add(NUDGE, Ordering::Relaxed);
    }

    fn note(&self, bytes: u64) {
        self.arrived.fetch_add(bytes, Ordering::Relaxed);
        self.nudged.store(0, Ordering::Relaxed);
    }

    /// Whether packets wait for others on their way: round trips take half as long again as the shortest.
    pub(super) fn is_jammed(&self) -> bool {
        self.jammed.load(Ordering::Relaxed)
    }

    fn note_round_trip(&self, now: Duration, shortest: Duration) {
        self.jammed.store(now > shortest * 3 / 2, Ordering::Relaxed);
    }

    fn room(&self) -> u64 {
        self.nudged.load(Ordering::Relaxed)
    }
}

/// Makes controllers for a connection, one for each path it takes.
pub(super) struct MeasuringConfig {
    pub(super) inner: Arc<dyn ControllerFactory + Send + Sync>,
    /// Bytes a second that are sent whatever is lost.
    pub(super) floor: Option<u64>,
    /// The round trip until one was measured.
    pub(super) rtt: Duration,
    pub(super) tally: Arc<Tally>,
}

impl ControllerFactory for MeasuringConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::clone(&self.inner).build(now, current_mtu);
        let floor = self.floor_window(self.rtt);
        Box::new(Measuring { inner, floor, config: self })
    }
}

impl MeasuringConfig {
    /// What the floor's rate carries in a round trip.
    fn floor_window(&self, rtt: Duration) -> u64 {
        self.floor.map_or(0, |rate| {
            let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
            (rate.saturating_mul(micros) / 1_000_000).max(FLOOR_MIN)
        })
    }
}

struct Measuring {
    config: Arc<MeasuringConfig>,
    inner: Box<dyn Controller>,
    floor: u64,
}

impl Controller for Measuring {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.config.tally.note(bytes);
        self.config.tally.note_round_trip(rtt.get(), rtt.min());
        self.floor = self.config.floor_window(rtt.min());
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window().max(self.floor) + self.config.tally.room()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let (config, inner) = (Arc::clone(&self.config), self.inner.clone_box());
        Box::new(Self { config, inner, floor: self.floor })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window().max(self.floor)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use quinn::congestion::CubicConfig;

    use super::*;

    fn controller(floor: Option<u64>, tally: Arc<Tally>) -> Box<dyn Controller> {
        let rtt = Duration::from_millis(600);
        let inner = Arc::new(CubicConfig::default());
        Arc::new(MeasuringConfig { inner, floor, rtt, tally }).build(Instant::now(), 1_200)
    }

    #[test]
    fn packets_that_wait_for_others_are_a_jam() {
        let tally = Tally::default();
        for (millis, is_jammed) in [(600, false), (850, false), (950, true), (700, false)] {
            tally.note_round_trip(Duration::from_millis(millis), Duration::from_millis(600));
            assert_eq!(tally.is_jammed(), is_jammed, "{millis}");
        }
    }

    #[test]
    fn loss_does_not_shrink_a_window_below_its_floor() {
        // What 2 Mbit/s carry in 600 ms; a rate that is hardly one; none.
        for (floor, start, after) in
            [(Some(250_000), 150_000, 150_000), (Some(100), 12_000, 12_000), (None, 12_000, 2_400)]
        {
            let tally: Arc<Tally> = Arc::default();
            let mut controller = controller(floor, Arc::clone(&tally));
            assert_eq!(controller.window(), start, "{floor:?}");
            for second in 1..60 {
                let sent = Instant::now() + Duration::from_secs(second);
                controller.on_congestion_event(sent, sent, true, 1_200);
            }
            assert_eq!(controller.window(), after, "{floor:?}");
            tally.nudge();
            assert_eq!(controller.window(), after + NUDGE, "{floor:?}");
            tally.note(1_200);
            assert_eq!(controller.window(), after, "{floor:?}");
        }
    }
}
