//! An installation whose program is newer than HQ's: it records kinds of facts that HQ does not know.
//! They are received, wait in the books, and hold up nobody. Knows no journal: its log is in memory.

use ed25519_dalek::SigningKey;
use shared::fact::{Fact, KindNo, Value, field};
use shared::ids::{DeviceNo, Seq, SiteNo};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::sync::Run;

use super::Wrong;
use super::clock::START;
use super::hq::{Hq, bytes};
use super::link::LinkNo;
use crate::random::Random;

/// No kind of this program.
const UNKNOWN: KindNo = KindNo(60_000);

/// Nobody waits for an answer on this link.
pub(super) const NOBODY: LinkNo = LinkNo(u64::MAX - 1);

/// See the module.
#[derive(Debug)]
pub(super) struct Newer {
    pub(super) genesis: Genesis,
    pub(super) facts: Vec<Fact>,
}

impl Newer {
    pub(super) fn new(site: SiteNo, device: DeviceNo, random: &mut Random) -> Self {
        let key = SigningKey::from_bytes(&bytes(random));
        let genesis = Genesis {
            format: FORMAT,
            site,
            device,
            random: bytes(random),
            public_key: key.verifying_key().to_bytes(),
            predecessor: None,
        };
        Self { genesis, facts: Vec::new() }
    }

    /// Records a fact that only a newer program understands.
    pub(super) fn record(&mut self, now: i64) {
        let mut fact = Fact::with_number(UNKNOWN);
        let mut set = |number, value| fact.set(number, value).expect("a legal field");
        let counter = self.facts.len() as u64 + 1;
        set(field::CAPTURE_DEVICE.number, Value::Unsigned(self.genesis.device.into()));
        set(field::CAPTURE_COUNTER.number, Value::Unsigned(counter));
        set(field::RECORDED_AT.number, Value::Signed(START + now));
        set(field::OCCURRED_AT.number, Value::Signed(START + now));
        self.facts.push(fact);
    }

    /// Sends what HQ does not have.
    pub(super) fn send(&self, hq: &mut Hq) -> Result<(), Wrong> {
        let log = self.genesis.log_id();
        let Some(known) = hq.cursor(&log) else { return Ok(()) };
        let start = usize::try_from(known.last.0).expect("a small log");
        let Some(facts) = self.facts.get(start..).filter(|facts| !facts.is_empty()) else {
            return Ok(());
        };
        let mut chain = Chain::start(log);
        chain.extend(&self.facts);
        let run = Run::new(known.last.next(), facts.to_vec(), chain.head());
        let run = run.map_err(|error| Wrong(format!("a newer program's run: {error}")))?;
        hq.accept(NOBODY, log, run);
        Ok(())
    }

    /// How far it is.
    pub(super) fn last(&self) -> Seq {
        Seq(self.facts.len() as u64)
    }
}
