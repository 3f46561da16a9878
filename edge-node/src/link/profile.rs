//! Link profiles: how a connection is treated on the networks that warehouses have. The operator
//! names one, or the last connections' measurements choose. Knows no connection and no session.
//! Invariant: whatever is chosen decides how fast and how dear data moves, never whether.
//!
//! | profile | for | what it does |
//! | --- | --- | --- |
//! | normal | wires, good mobile networks | Cubic |
//! | lossy | many packets lost, whatever is sent | BBR, which does not take a loss for a jam; packets leave twice while there is room |
//! | satellite | long round trips, with or without loss | either of these, with a floor: what the rate carries in a round trip |
//! | metered | every byte is paid for | Cubic; connects on a schedule, and leaves when all is said |

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::{TransportConfig, VarInt};
use serde::{Deserialize, Serialize};
use shared::sync::{Moment, Spare};

use super::connect::Care;
use super::controller::{MeasuringConfig, Tally};
use super::files::{self, KeyFileError};
use super::socket::Copies;

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(90);
/// How often an idle connection is kept alive: within HQ's time-out and that of most routers.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Of a thousand packets: from here on a loss says nothing of a jam.
const LOSSY: u32 = 50;
/// In milliseconds: from here on a link goes through space.
const FAR_MS: u32 = 400;
/// Fewer packets than this say nothing of loss.
pub(super) const JUDGED_PACKETS: u64 = 60;
/// BBR's own, two hundred packets, floods a thin link before anything is known of it.
const BBR_FIRST_WINDOW: u64 = 12_000;
/// What a link through space is taken for where nobody knows its rate, in bytes a second.
const FAR_RATE: u64 = 32_000;
/// Nearer networks are asked no sooner.
const NUDGE_MIN: Duration = Duration::from_millis(300);
/// Room for handshake, hello and a first run of facts, and for copies of them.
const COPIES_FIRST: u64 = 28_800;
/// Carries two handshakes, with copies, in half a second.
const HANDSHAKES_RATE: u64 = 60_000;
/// What is kept of a second's unused rate for later copies: a part, but two packets at least.
const COPIES_PART: u64 = 10;
const COPIES_MOST_MIN: u64 = 2_400;
/// Where nothing is known of the round trip.
const FIRST_RTT: Duration = Duration::from_millis(333);

/// A kind of network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Wires, good mobile networks.
    #[default]
    Normal,
    /// Many packets are lost, whatever is sent.
    Lossy,
    /// Long round trips, with or without loss.
    Satellite,
    /// Every byte is paid for.
    Metered,
}

impl Profile {
    const ALL: [Self; 4] = [Self::Normal, Self::Lossy, Self::Satellite, Self::Metered];

    /// The word of configuration, command line and reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Lossy => "lossy",
            Self::Satellite => "satellite",
            Self::Metered => "metered",
        }
    }

    /// What fits what was measured.
    pub(super) const fn fitting(measured: Option<Measured>) -> Self {
        match measured {
            Some(Measured { rtt_ms: FAR_MS.., .. }) => Self::Satellite,
            Some(Measured { lost_per_mille: LOSSY.., .. }) => Self::Lossy,
            _ => Self::Normal,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who chooses the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// What was measured.
    #[default]
    Auto,
    /// The operator.
    Always(Profile),
}

/// A word that is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no link profile: write auto, normal, lossy, satellite or metered")]
pub struct NoProfile(String);

impl FromStr for Choice {
    type Err = NoProfile;

    fn from_str(text: &str) -> Result<Self, NoProfile> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let named = Profile::ALL.into_iter().find(|profile| profile.word() == text);
        named.map(Self::Always).ok_or_else(|| NoProfile(text.to_owned()))
    }
}

/// What the operator says of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Who chooses the profile.
    pub choice: Choice,
    /// What the link carries, in kbit/s, where the operator knows.
    pub rate_kbits: Option<u32>,
    /// How often a metered link connects.
    pub metered_every: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Self { choice: Choice::Auto, rate_kbits: None, metered_every: Duration::from_secs(15 * 60) }
    }
}

/// How a link was when last connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The shortest round trip, in milliseconds.
    pub rtt_ms: u32,
    /// Of a thousand packets that this side sent, how many were lost.
    pub lost_per_mille: u32,
    /// The most bytes a second that arrived.
    pub rate: u64,
}

impl Measured {
    /// Reads what an earlier connection left; nothing where that says nothing.
    pub(super) fn read(file: &Path) -> Option<Self> {
        toml::from_str(&files::read(file).ok()?).ok()
    }

    /// Keeps it for the next connection.
    pub(super) fn write(&self, file: &Path) -> Result<(), KeyFileError> {
        let text = toml::to_string(self).expect("three numbers are TOML");
        files::write_private(file, text.as_bytes())
    }

    /// What is known after another connection. A rate that was not used is forgotten slowly; loss
    /// is judged over many packets only.
    pub(super) fn after(known: Option<Self>, seen: &Seen) -> Self {
        let known_rate = known.map_or(0, |known| known.rate);
        let lost = seen.lost_packets.min(seen.sent_packets) * 1_000;
        let judged = if seen.sent_packets >= JUDGED_PACKETS {
            lost.checked_div(seen.sent_packets)
        } else {
            None
        };
        let judged = judged.map(|lost| u32::try_from(lost).unwrap_or(1_000));
        Self {
            rtt_ms: u32::try_from(seen.rtt.as_millis()).unwrap_or(u32::MAX),
            lost_per_mille: judged.or(known.map(|known| known.lost_per_mille)).unwrap_or(0),
            rate: seen.rate.max(known_rate - known_rate / 8),
        }
    }
}

/// What one connection saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) rtt: Duration,
    pub(super) sent_packets: u64,
    pub(super) lost_packets: u64,
    /// The most bytes a second that arrived, over two seconds at least; 0 where nothing did.
    pub(super) rate: u64,
}

/// How one connection is treated.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) profile: Profile,
    rtt: Option<Duration>,
    /// Whether what is awaited is more likely lost than late.
    is_lossy: bool,
    /// Bytes a second.
    rate: Option<u64>,
    /// After how long without a word a connection that has nothing to say ends, and how long none
    /// is opened then.
    pub(super) leaves: Option<(Duration, Duration)>,
}

/// A metered connection that is quiet for so long has said everything.
const QUIET: Duration = Duration::from_secs(3);

impl Terms {
    /// Where nothing is known of a link, one that did not answer at first may lose much.
    pub(super) fn new(network: &Network, measured: Option<Measured>, failures: u32) -> Self {
        let profile = match network.choice {
            Choice::Auto => Profile::fitting(measured),
            Choice::Always(profile) => profile,
        };
        let stated = network.rate_kbits.map(|kbits| u64::from(kbits) * 125);
        let rate = stated.or(measured.map(|measured| measured.rate)).filter(|rate| *rate > 0);
        Self {
            profile,
            rtt: measured.map(|measured| Duration::from_millis(measured.rtt_ms.into())),
            is_lossy: profile == Profile::Lossy
                || measured.is_some_and(|measured| measured.lost_per_mille >= LOSSY)
                || (network.choice == Choice::Auto && measured.is_none() && failures > 0),
            rate,
            leaves: (profile == Profile::Metered).then_some((QUIET, network.metered_every)),
        }
    }

    /// How long an attempt to connect may take, after so many failures: the first ones are short, so
    /// that an HQ that comes back is found soon.
    pub(super) fn patience(&self, failures: u32) -> Duration {
        let seconds: [u64; 4] = match self.profile {
            Profile::Normal if !self.is_lossy => [3, 6, 12, 20],
            // A handshake takes its time, and one that is begun again takes longer.
            _ => [20; 4],
        };
        Duration::from_secs(seconds[(failures as usize).min(seconds.len() - 1)])
    }

    /// What is done where packets get lost: a lost one of a handshake does not hold up another handshake,
    /// and of most packets a copy arrives.
    pub(super) fn care(&self, tally: &Arc<Tally>) -> Option<Care> {
        // A byte that is paid for goes twice at the beginning only.
        let rate = self.rate.filter(|_| self.profile != Profile::Metered).unwrap_or(0);
        let most = (rate / COPIES_PART).max(COPIES_MOST_MIN);
        let spare = Spare::new(rate, COPIES_FIRST, most, Moment(0));
        let copies = Copies { spare, tally: Arc::clone(tally) };
        // HQ's answer is some packets, and each is needed. On a thin link the second handshake's packets
        // would be what the first one's wait for.
        let (first, again) = if rate >= HANDSHAKES_RATE {
            (2, self.overdue())
        } else {
            (1, self.rtt.unwrap_or(FIRST_RTT) * 2)
        };
        self.is_lossy.then_some(Care { first, again, copies })
    }

    /// Whether HQ should send its packets twice while there is room.
    pub(super) fn wants_copies(&self) -> bool {
        self.is_lossy && self.profile != Profile::Metered
    }

    /// After how long without a sign of life HQ is asked for one while something is awaited. QUIC's own
    /// timer doubles each time, and has it half a minute later after five losses in a row.
    pub(super) fn nudges(&self) -> Option<Duration> {
        self.is_lossy.then(|| self.overdue())
    }

    /// After how long an answer is more likely lost than late.
    fn overdue(&self) -> Duration {
        (self.rtt.unwrap_or(FIRST_RTT) * 5 / 4).max(NUDGE_MIN)
    }

    pub(super) fn transport(&self, tally: &Arc<Tally>) -> TransportConfig {
        let mut transport = TransportConfig::default();
        let idle = IDLE.try_into().expect("90 seconds are a legal time-out");
        let keep_alive = (self.profile != Profile::Metered).then_some(KEEP_ALIVE);
        transport
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(keep_alive)
            .initial_rtt(self.initial_rtt())
            .stream_receive_window(VarInt::from_u32(512 * 1024))
            .receive_window(VarInt::from_u32(1024 * 1024))
            .send_window(1024 * 1024)
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .congestion_controller_factory(Arc::new(self.controller(tally)));
        if self.profile != Profile::Normal {
            // Probes for larger packets cost as much as a hundred movements, and get lost.
            transport.mtu_discovery_config(None);
        }
        transport
    }

    /// What the first packets' timers go by: three times this is how long they wait for an answer.
    /// Where packets get lost they are better sent again soon, at the risk of once too often.
    fn initial_rtt(&self) -> Duration {
        match self.rtt {
            Some(rtt) if self.is_lossy => rtt * 2 / 5,
            Some(rtt) => rtt.max(FIRST_RTT),
            None => FIRST_RTT,
        }
    }

    fn controller(&self, tally: &Arc<Tally>) -> MeasuringConfig {
        let inner: Arc<dyn ControllerFactory + Send + Sync> = if self.is_lossy {
            let mut bbr = BbrConfig::default();
            bbr.initial_window(BBR_FIRST_WINDOW);
            Arc::new(bbr)
        } else {
            Arc::new(CubicConfig::default())
        };
        let floor = (self.profile == Profile::Satellite).then(|| self.rate.unwrap_or(FAR_RATE));
        let rtt = self.rtt.unwrap_or(Duration::from_millis(FAR_MS.into()));
        MeasuringConfig { inner, floor, rtt, tally: Arc::clone(tally) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn measured(rtt_ms: u32, lost_per_mille: u32) -> Measured {
        Measured { rtt_ms, lost_per_mille, rate: 100_000 }
    }

    #[test]
    fn what_was_measured_chooses() {
        for (seen, fits) in [
            (None, Profile::Normal),
            (Some(measured(30, 0)), Profile::Normal),
            (Some(measured(200, 20)), Profile::Normal),
            (Some(measured(80, 60)), Profile::Lossy),
            (Some(measured(600, 0)), Profile::Satellite),
            (Some(measured(600, 300)), Profile::Satellite),
        ] {
            assert_eq!(Profile::fitting(seen), fits, "{seen:?}");
        }
        let network =
            Network { choice: "metered".parse().expect("a profile"), ..Network::default() };
        let terms = Terms::new(&network, Some(measured(600, 300)), 0);
        assert_eq!((terms.profile, terms.leaves.is_some()), (Profile::Metered, true));
        // Nobody knows this one, and it does not answer.
        let unknown = [0, 1].map(|failures| Terms::new(&Network::default(), None, failures));
        assert_eq!(unknown.map(|terms| terms.care(&Arc::default()).is_some()), [false, true]);
        assert!("fast".parse::<Choice>().is_err());
    }

    #[test]
    fn a_thin_link_begins_one_handshake_at_a_time() {
        let first = |rate| {
            let measured = Measured { rate, ..measured(600, 300) };
            let terms = Terms::new(&Network::default(), Some(measured), 0);
            terms.care(&Arc::default()).map(|care| care.first)
        };
        assert_eq!([0, 16_000, 250_000].map(first), [Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn a_few_packets_say_nothing_of_loss_and_an_idle_link_nothing_of_its_rate() {
        let seen = |sent_packets, lost_packets, rate| Seen {
            rtt: Duration::from_millis(50),
            sent_packets,
            lost_packets,
            rate,
        };
        let first = Measured::after(None, &seen(1_000, 300, 80_000));
        assert_eq!(first, Measured { rtt_ms: 50, lost_per_mille: 300, rate: 80_000 });
        let quiet = Measured::after(Some(first), &seen(20, 0, 100));
        assert_eq!(quiet, Measured { rtt_ms: 50, lost_per_mille: 300, rate: 70_000 });
        let better = Measured::after(Some(quiet), &seen(500, 0, 90_000));
        assert_eq!(better, Measured { rtt_ms: 50, lost_per_mille: 0, rate: 90_000 });
    }

    #[test]
    fn a_measurement_outlives_the_program() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("link.measured");
        assert_eq!(Measured::read(&file), None);
        measured(600, 300).write(&file).expect("written");
        assert_eq!(Measured::read(&file), Some(measured(600, 300)));
        std::fs::write(&file, "rtt_ms = 'x'").expect("written");
        assert_eq!(Measured::read(&file), None);
    }
}
