//! What QUIC is set to at HQ, and how fast HQ sends. HQ does not know what network a site has, so
//! its congestion controller finds out: it begins as Cubic, and where packets get lost whatever is
//! sent it goes on as BBR. Knows no session. Invariant: a jam, which also loses packets, is not
//! taken for a bad link.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{BbrConfig, Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn::{TransportConfig, VarInt};
use quinn_proto::RttEstimator;

/// How long a connection may be silent; edges keep theirs alive within this.
const IDLE: Duration = Duration::from_secs(90);

pub(super) fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IDLE.try_into().expect("90 seconds are a legal time-out");
    transport
        .max_idle_timeout(Some(idle))
        // A lost packet holds up what comes after it for some round trips: what a fast link far away
        // carries in them has room. Held only while it waits.
        .stream_receive_window(VarInt::from_u32(1024 * 1024))
        .receive_window(VarInt::from_u32(1024 * 1024))
        .send_window(1024 * 1024)
        .max_concurrent_bidi_streams(VarInt::from_u32(8))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // HQ sends little. To hand the system ten datagrams at a time, QUIC would keep room for ten, 13
        // KiB, with every connection that has ever sent.
        .enable_segmentation_offload(false)
        .congestion_controller_factory(Arc::new(AdaptiveConfig));
    transport
}

/// So many bytes are sent after the first loss before anything is concluded.
const JUDGED_BYTES: u64 = 24_000;
/// Of a hundred bytes: a jam that Cubic answers to loses fewer.
const LOSSY_PERCENT: u64 = 10;
/// BBR's own, two hundred packets, floods a thin link.
const BBR_FIRST_WINDOW: u64 = 12_000;

/// Makes a controller for each path of each connection.
struct AdaptiveConfig;

impl ControllerFactory for AdaptiveConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::new(CubicConfig::default()).build(now, current_mtu);
        Box::new(Adaptive { inner, mtu: current_mtu, judging: Some(Judging::default()) })
    }
}

struct Adaptive {
    inner: Box<dyn Controller>,
    mtu: u16,
    /// Until the link is found to be lossy.
    judging: Option<Judging>,
}

/// What became of packets that were sent after the first loss was noticed: the first window grows
/// until it is too large, and loses many of its last packets on any link.
#[derive(Clone, Debug, Default)]
struct Judging {
    since: Option<Instant>,
    arrived: u64,
    lost: u64,
}

impl Judging {
    fn counts(&self, sent: Instant) -> bool {
        self.since.is_some_and(|since| sent > since)
    }

    const fn finds_lossy(&self) -> bool {
        let all = self.arrived + self.lost;
        all >= JUDGED_BYTES && self.lost * 100 >= all * LOSSY_PERCENT
    }
}

impl Controller for Adaptive {
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
        if let Some(judging) = self.judging.as_mut().filter(|judging| judging.counts(sent)) {
            judging.arrived += bytes;
        }
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
        if let Some(judging) = &mut self.judging {
            if judging.counts(sent) {
                judging.lost += lost_bytes;
            }
            judging.since.get_or_insert(now);
            if judging.finds_lossy() {
                let mut bbr = BbrConfig::default();
                bbr.initial_window(BBR_FIRST_WINDOW);
                self.inner = Arc::new(bbr).build(now, self.mtu);
                self.judging = None;
            }
        }
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let (inner, judging) = (self.inner.clone_box(), self.judging.clone());
        Box::new(Self { inner, mtu: self.mtu, judging })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends packets of which every `nth` is lost, from the `from`th on; says whether the link was
    /// found to be lossy.
    fn is_found_lossy(packets: u32, nth: u32, from: u32) -> bool {
        let start = Instant::now();
        let mut controller = Adaptive {
            inner: Arc::new(CubicConfig::default()).build(start, 1_200),
            mtu: 1_200,
            judging: Some(Judging::default()),
        };
        for number in 0..packets {
            let sent = start + Duration::from_millis(u64::from(number) * 10);
            controller.on_sent(sent, 1_200, u64::from(number));
            if number >= from && number % nth == 0 {
                controller.on_congestion_event(sent + Duration::from_millis(1), sent, false, 1_200);
            } else if let Some(judging) = &mut controller.judging
                && judging.counts(sent)
            {
                judging.arrived += 1_200;
            }
        }
        controller.judging.is_none()
    }

    #[test]
    fn a_link_that_loses_much_is_found_and_a_jam_is_not() {
        assert!(is_found_lossy(200, 3, 0), "every third packet");
        assert!(is_found_lossy(200, 9, 0), "every ninth packet");
        assert!(!is_found_lossy(2_000, 50, 0), "two in a hundred");
        assert!(!is_found_lossy(18, 3, 0), "too few packets to know");
    }

    #[test]
    fn a_first_window_that_was_too_large_proves_nothing() {
        let start = Instant::now();
        let mut controller = Adaptive {
            inner: Arc::new(CubicConfig::default()).build(start, 1_200),
            mtu: 1_200,
            judging: Some(Judging::default()),
        };
        // A hundred packets sent within a round trip, half of them lost, noticed one after the other.
        for number in 0..50 {
            let noticed = start + Duration::from_millis(600 + number);
            let sent = start + Duration::from_millis(number);
            controller.on_congestion_event(noticed, sent, false, 1_200);
        }
        assert!(controller.judging.is_some());
    }
}
