//! One direction of a connection: bytes in order, late, slow, cut anywhere. What QUIC mends below
//! (loss, reordering, another address) is delay here. Knows no frame.

use std::collections::VecDeque;

use crate::random::Random;

/// More than this is not taken before some of it arrived.
const UNDER_WAY_MAX: usize = 96 * 1024;

/// How a network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quality {
    /// How long a byte takes at least.
    pub(super) delay_ms: i64,
    /// How much longer it may take.
    pub(super) jitter_ms: u64,
    /// How much goes through it.
    pub(super) bytes_per_s: i64,
}

impl Quality {
    /// Any, from a wire in the house to a satellite behind a modem.
    pub(super) fn draw(random: &mut Random) -> Self {
        Self {
            delay_ms: *random.pick(&[1, 5, 20, 60, 300, 700]),
            jitter_ms: *random.pick(&[1, 3, 30, 400]),
            bytes_per_s: *random.pick(&[2_000, 12_000, 100_000, 1_000_000, 50_000_000]),
        }
    }

    /// What it is once nothing is wrong any more.
    pub(super) const GOOD: Self = Self { delay_ms: 20, jitter_ms: 5, bytes_per_s: 1_000_000 };
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pipe {
    quality: Quality,
    /// When the last byte has left.
    left_at: i64,
    /// When the last byte arrives.
    arrives_at: i64,
    under_way: VecDeque<(i64, Vec<u8>)>,
    bytes: usize,
}

impl Pipe {
    pub(super) const fn new(quality: Quality, now: i64) -> Self {
        let under_way = VecDeque::new();
        Self { quality, left_at: now, arrives_at: now, under_way, bytes: 0 }
    }

    /// Whether it takes more.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes < UNDER_WAY_MAX
    }

    /// When the last byte that was sent arrives.
    pub(super) const fn last_arrival(&self) -> i64 {
        self.arrives_at
    }

    /// Sends; cut into a few parts that arrive one after the other.
    pub(super) fn send(&mut self, mut bytes: Vec<u8>, now: i64, random: &mut Random) -> Vec<i64> {
        self.bytes += bytes.len();
        let mut arrivals = Vec::new();
        while !bytes.is_empty() {
            let cut = if random.chance(1, 2) { bytes.len() } else { 1 + random.index(bytes.len()) };
            let rest = bytes.split_off(cut);
            let length = i64::try_from(bytes.len()).expect("frames are small");
            self.left_at = self.left_at.max(now) + length * 1_000 / self.quality.bytes_per_s;
            let delay = self.quality.delay_ms + random.below(self.quality.jitter_ms).cast_signed();
            self.arrives_at = self.arrives_at.max(self.left_at + delay);
            self.under_way.push_back((self.arrives_at, bytes));
            arrivals.push(self.arrives_at);
            bytes = rest;
        }
        arrivals
    }

    /// What has arrived by now.
    pub(super) fn arrived(&mut self, now: i64) -> Vec<u8> {
        let mut arrived = Vec::new();
        while self.under_way.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.under_way.pop_front().expect("there is a front");
            self.bytes -= bytes.len();
            arrived.extend(bytes);
        }
        arrived
    }

    /// Nothing arrives before: packets are lost and sent again, or an address changed. Gives when
    /// things arrive now.
    pub(super) fn hold_until(&mut self, until: i64) -> Vec<i64> {
        self.left_at = self.left_at.max(until);
        self.arrives_at = self.arrives_at.max(until);
        for (at, _) in &mut self.under_way {
            *at = (*at).max(until);
        }
        self.under_way.iter().map(|(at, _)| *at).collect()
    }
}
