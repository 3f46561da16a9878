//! An installation in a temporary folder, and sites that write their own logs without a network.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ed25519_dalek::SigningKey;
use hq_server::chart::GENERIC;
use hq_server::clock::Clock;
use hq_server::gateway::store::{HqStore, Peer};
use hq_server::headquarters::{Config, Headquarters, InitOptions};
use hq_server::own_log::{Draft, DraftError, ItemDraft, PartnerDraft};
use shared::document::journal::{self, JournalTip};
use shared::fact::statement::{CostScope, Measure, Movement, Stamp, Statement};
use shared::fact::{Fact, Kind};
use shared::ids::{Capture, CompanyNo, DeviceNo, ItemNo, LogId, Seq, SiteNo};
use shared::money::{Currency, Price};
use shared::quantity::Unit;
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::segment::columns;
use shared::segment::seal::{Seal, last_sealable};
use shared::sync::{EnrolRequest, Position, Run, VERSIONS};
use shared::time::{OffsetMinutes, Timestamp};

/// 2026-11-02T08:00:00Z.
pub const START: i64 = 1_793_606_400_000;

pub fn currency() -> Currency {
    "CNY".parse().expect("a code")
}

/// A clock that a test moves.
#[derive(Clone)]
pub struct Hands(Arc<AtomicI64>);

impl Hands {
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START + 30 * 86_400_000)))
    }

    pub fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Clock::from_fn(move || Timestamp(hands.load(Ordering::Relaxed)))
    }

    pub fn move_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

pub async fn init(directory: &Path, scope: CostScope, clock: Clock) -> Headquarters {
    let options = InitOptions {
        code: "demo".to_owned(),
        name: "Demo Ltd".to_owned(),
        currency: currency(),
        zone: OffsetMinutes(480),
        scope,
        chart: &GENERIC,
        config: Config::default(),
    };
    Headquarters::init(directory, options, clock).await.expect("a new installation")
}

/// Two items, one partner that is both, and sites 1 to `sites`.
pub async fn populate(hq: &Headquarters, sites: u32) {
    let made = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        for (code, cost) in [("bolt", Some("1.25")), ("nut", None)] {
            draft.item(&ItemDraft {
                code: code.to_owned(),
                name: code.to_owned(),
                category: "goods".to_owned(),
                unit: "EA".to_owned(),
                decimals: 0,
                service: false,
                cost: cost.map(str::to_owned),
            })?;
        }
        draft.partner(&PartnerDraft {
            code: "acme".to_owned(),
            name: "Acme".to_owned(),
            customer: true,
            supplier: true,
        })?;
        for site in 1..=sites {
            draft.site(SiteNo(site), &format!("site-{site}"), &format!("Site {site}"))?;
        }
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    made.await.expect("recorded");
}

pub fn measure(written: &str) -> Measure {
    Measure {
        figure: shared::decimal::parse(written).expect("a figure"),
        unit: Unit::from_bytes(b"EA").expect("a unit"),
    }
}

pub fn price(written: &str) -> Price {
    Price { figure: shared::decimal::parse(written).expect("a figure"), currency: currency() }
}

pub fn receipt(item: u32, quantity: &str, cost: &str) -> Movement {
    let mut movement = Movement::new(Kind::Receipt, ItemNo(item), measure(quantity));
    movement.price = Some(price(cost));
    movement.partner = Some(shared::ids::PartnerNo(1));
    movement
}

pub fn sale(item: u32, quantity: &str, at: &str) -> Movement {
    let mut movement = Movement::new(Kind::SaleIssue, ItemNo(item), measure(quantity));
    movement.price = Some(price(at));
    movement.partner = Some(shared::ids::PartnerNo(1));
    movement
}

/// A site's log as its writer holds it.
pub struct Site {
    pub peer: Peer,
    pub genesis: Genesis,
    key: SigningKey,
    pub facts: Vec<Fact>,
    tip: JournalTip,
    sealed: u64,
    now: i64,
    /// Why its clock is in doubt.
    pub doubt: u8,
}

impl Site {
    pub fn new(site: u32, device: u32) -> Self {
        let mark = u8::try_from(device).expect("few devices in a test");
        let key = SigningKey::from_bytes(&[mark; 32]);
        let peer = Peer { site: SiteNo(site), device: DeviceNo(device) };
        let genesis = Genesis {
            format: FORMAT,
            site: peer.site,
            device: peer.device,
            random: [mark; 32],
            public_key: key.verifying_key().to_bytes(),
            predecessor: None,
        };
        Self {
            peer,
            genesis,
            key,
            facts: Vec::new(),
            tip: JournalTip::start(0),
            sealed: 0,
            now: START,
            doubt: 0,
        }
    }

    pub fn log(&self) -> LogId {
        self.genesis.log_id()
    }

    /// Adds a movement as a group of its own; one minute passes.
    pub fn record(&mut self, movement: Movement) -> Capture {
        self.now += 60_000;
        self.record_at(movement, self.now)
    }

    pub fn record_at(&mut self, movement: Movement, at: i64) -> Capture {
        self.state(&Statement::Movement(movement), at)
    }

    pub fn state(&mut self, statement: &Statement, at: i64) -> Capture {
        self.now = self.now.max(at);
        let capture = Capture { device: self.peer.device, counter: self.facts.len() as u64 + 1 };
        let stamp = Stamp {
            capture,
            recorded_at: Timestamp(self.now),
            occurred_at: Timestamp(at),
            utc_offset: OffsetMinutes(480),
            group_left: 0,
            person: None,
            time_in_doubt: self.doubt,
            company: None,
        };
        self.facts.push(statement.to_fact(&stamp).expect("fits"));
        capture
    }

    pub fn run(&self, first: u64, last: u64) -> Run {
        let mut chain = Chain::start(self.log());
        let index = |seq: u64| usize::try_from(seq).expect("small");
        chain.extend(&self.facts[..index(last)]);
        let facts = self.facts[index(first) - 1..index(last)].to_vec();
        Run { first: Seq(first), last: Seq(last), facts, head: chain.head() }
    }

    pub async fn register(&self, hq: &Headquarters) {
        let registered = hq.register_log(self.peer, CompanyNo::FIRST, self.genesis.clone()).await;
        registered.expect("registered");
    }

    /// As [`Self::register`], through HQ's site register: the site's first installation.
    pub async fn enrol(&self, hq: &Headquarters) {
        let now = hq.clock().now();
        let code = hq.authority().site_add(self.peer.site, "site", CompanyNo::FIRST, now);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let request = rcgen::CertificateParams::default().serialize_request(&key);
        let request = request.expect("a request").der().to_vec();
        let (code, random) = (code.expect("a code"), self.genesis.random);
        let request = EnrolRequest::new(VERSIONS, &code, request, random, &self.key);
        let redeemed = hq.authority().redeem(&request, now).expect("let in");
        assert_eq!(redeemed.peer, self.peer);
        self.register(hq).await;
    }

    /// The installation as it was after some facts: restored, or copied then.
    pub fn image(&self, facts: usize) -> Self {
        let mut image = Self::new(self.peer.site.0, self.peer.device.0);
        (image.facts, image.now) = (self.facts[..facts].to_vec(), self.now);
        image
    }

    /// How far its log goes.
    pub fn position(&self) -> Position {
        let mut chain = Chain::start(self.log());
        chain.extend(&self.facts);
        Position { last: chain.seq(), head: chain.head() }
    }

    /// Sends what HQ does not have, in runs of at most `facts`.
    pub async fn send(&self, hq: &Headquarters, facts: u64) -> Position {
        let mut at = hq.intake().cursor(&self.log()).expect("registered");
        while at.last.0 < self.facts.len() as u64 {
            let last = (at.last.0 + facts).min(self.facts.len() as u64);
            at = hq.accept(self.log(), self.run(at.last.0 + 1, last)).await.expect("taken");
        }
        at
    }

    /// Signs what is not sealed yet, and sends the seals.
    pub async fn seal(&mut self, hq: &Headquarters) {
        while self.sealed < self.facts.len() as u64 {
            let first = Seq(self.sealed + 1);
            let last = last_sealable(first, Seq(self.facts.len() as u64));
            let run = self.run(first.0, last.0);
            let log = self.log();
            (self.tip, _) = journal::append(&log, &self.tip, first, &columns::encode(&run.facts));
            let document_head = self.tip.head.expect("a change was appended");
            let seal = Seal { log, first, last, head: run.head, document_head }.sign(&self.key);
            hq.accept_seal(seal).await.expect("taken");
            self.sealed = last.0;
        }
    }

    /// Waits until everything is in the books.
    pub async fn posted(&self, hq: &Headquarters) {
        let mut posted = hq.intake().posted(&self.log()).expect("registered");
        let last = Seq(self.facts.len() as u64);
        posted.wait_for(|posted| *posted >= last).await.expect("HQ runs");
    }
}

/// A site's facts as consecutive runs; follows the chain once.
pub struct Runs<'a> {
    facts: &'a [Fact],
    chain: Chain,
}

impl<'a> Runs<'a> {
    pub fn new(site: &'a Site) -> Self {
        Self { facts: &site.facts, chain: Chain::start(site.log()) }
    }

    pub fn next(&mut self, facts: u64) -> Run {
        let first = self.chain.seq().next();
        let count = usize::try_from(facts).expect("small").min(self.facts.len());
        let (now, later) = self.facts.split_at(count);
        self.chain.extend(now);
        self.facts = later;
        let (last, head) = (self.chain.seq(), self.chain.head());
        Run { first, last, facts: now.to_vec(), head }
    }
}
