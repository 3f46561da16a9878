//! What the tests of the edge node share: a node with master data, without HQ.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use edge_node::bundle::{Bundles, Keys};
use edge_node::documents::{Documents, Owner};
use edge_node::journal::{Clock, FixedClock, Journal, Options};
use edge_node::link::Wall;
use edge_node::record::{GroupInput, LineInput, Recorder};
use shared::catalogue::OpenTransfer;
use shared::fact::Fact;
use shared::fact::statement::{
    AccountType, CostScope, MasterData, Measure, PolicyKind, Stamp, Statement,
};
use shared::ids::{
    Capture, CategoryNo, CompanyNo, DeviceNo, HistoryId, ItemNo, PartnerNo, ReasonNo, SiteNo,
};
use shared::quantity::Unit;
use shared::segment::chain::{FORMAT, Genesis};
use shared::sync::{SignedStateBatch, StateBatch, StateCursor};
use shared::time::{OffsetMinutes, Timestamp};

/// 2026-11-24, noon UTC.
pub(crate) const NOON: Timestamp = Timestamp(1_795_521_600_000);
pub(crate) const SITE: SiteNo = SiteNo(3);
pub(crate) const DEVICE: DeviceNo = DeviceNo(5);

pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        format: FORMAT,
        site: SITE,
        device: DEVICE,
        random: [9; 32],
        public_key: log_key().verifying_key().to_bytes(),
        predecessor: None,
    }
}

pub(crate) fn options(clock: &Arc<FixedClock>) -> Options {
    let mut options = Options::new(Some(log_key()));
    options.clock = Arc::clone(clock) as Arc<dyn Clock>;
    options
}

pub(crate) fn create(path: &Path, clock: &Arc<FixedClock>) -> Journal {
    Journal::create(path, &genesis(), None, options(clock)).expect("a new journal")
}

/// HQ's key, as the node knows it.
pub(crate) fn hq_key() -> SigningKey {
    SigningKey::from_bytes(&[8; 32])
}

pub(crate) fn bundles(journal: &Journal) -> Bundles {
    let history = HistoryId([6; 32]);
    let keys = Keys { own: log_key(), hq: hq_key().verifying_key(), history };
    Bundles::new(journal.clone(), keys, Wall::from_fn(|| NOON))
}

pub(crate) fn documents(file: &Path, journal: &Journal) -> Documents {
    let genesis = journal.genesis();
    let owner = Owner { site: genesis.site, device: genesis.device, log: journal.log() };
    Documents::open(file, owner).expect("opens")
}

pub(crate) fn unit(text: &str) -> Unit {
    Unit::from_bytes(text.as_bytes()).expect("a unit")
}

pub(crate) fn measure(figure: &str, of: &str) -> Measure {
    Measure { figure: shared::decimal::parse(figure).expect("a figure"), unit: unit(of) }
}

fn item(number: u32, code: &str, base: &str, decimals: u8, service: bool) -> MasterData {
    MasterData::Item {
        item: ItemNo(number),
        category: CategoryNo(1),
        code: code.to_owned(),
        name: format!("The {code}"),
        unit: unit(base),
        decimals,
        service,
        fallback_cost: None,
    }
}

fn partner(number: u32, code: &str, customer: bool, supplier: bool) -> MasterData {
    let name = format!("The {code}");
    MasterData::Partner {
        partner: PartnerNo(number),
        code: code.to_owned(),
        name,
        customer,
        supplier,
    }
}

fn site(number: u32, code: &str) -> MasterData {
    let name = format!("The {code}");
    MasterData::Site { site: SiteNo(number), company: CompanyNo(1), code: code.to_owned(), name }
}

fn reason(number: u32, code: &str, movement: Option<shared::fact::Kind>) -> MasterData {
    MasterData::Reason {
        reason: ReasonNo(number),
        code: code.to_owned(),
        name: code.to_owned(),
        movement,
    }
}

pub(crate) fn policy(policy: PolicyKind, setting: i64) -> MasterData {
    MasterData::Policy { company: None, site: Some(SITE), policy, setting }
}

/// Items PEN (EA, box of 12) and INK (kg, 3 decimals), service FIT; customer CUST, supplier SUPP;
/// this site S3 and another S4.
pub(crate) fn master_data() -> Vec<MasterData> {
    vec![
        MasterData::Company {
            company: CompanyNo(1),
            code: "C1".to_owned(),
            name: "The company".to_owned(),
            currency: "CNY".parse().expect("a code"),
            zone: OffsetMinutes(480),
            scope: CostScope::Site,
        },
        site(3, "S3"),
        site(4, "S4"),
        item(1, "PEN", "EA", 0, false),
        MasterData::UnitConversion {
            item: ItemNo(1),
            unit: unit("box"),
            numerator: 12,
            denominator: 1,
        },
        item(2, "INK", "kg", 3, false),
        item(3, "FIT", "EA", 0, true),
        partner(1, "CUST", true, false),
        partner(2, "SUPP", false, true),
        reason(1, "BROKEN", Some(shared::fact::Kind::Scrap)),
        reason(2, "FOUND", None),
        MasterData::Account {
            account: shared::ids::AccountNo(1),
            company: CompanyNo(1),
            code: "1405".to_owned(),
            name: "Stock".to_owned(),
            account_type: AccountType::Asset,
        },
    ]
}

pub(crate) fn fact_of(data: MasterData) -> Fact {
    let stamp = Stamp {
        capture: Capture { device: DeviceNo(1), counter: 1 },
        recorded_at: NOON,
        occurred_at: NOON,
        utc_offset: OffsetMinutes(0),
        group_left: 0,
        person: None,
        time_in_doubt: 0,
        company: None,
    };
    Statement::MasterData { valid_from: None, data }.to_fact(&stamp).expect("short texts")
}

pub(crate) fn batch(
    from: (u64, u64),
    to: u64,
    checkpoint: u64,
    facts: &[Fact],
) -> SignedStateBatch {
    let (handle, at) = from;
    let from = StateCursor { handle, at };
    let to = StateCursor { handle, at: to };
    StateBatch::new(SITE, from, to, checkpoint, facts).sign(&SigningKey::from_bytes(&[1; 32]))
}

/// Gives the journal its master data as HQ would.
pub(crate) fn teach(journal: &Journal, data: Vec<MasterData>) {
    let facts: Vec<Fact> = data.into_iter().map(fact_of).collect();
    let batches = facts.chunks(1_000);
    let checkpoint = batches.len() as u64;
    for (at, facts) in batches.enumerate() {
        let at = at as u64;
        let batch = batch((1, at), at + 1, checkpoint, facts);
        journal.apply_state_blocking(batch).expect("a snapshot");
    }
}

pub(crate) fn transfer(ship: Capture, item: u32, figure: &str, of: &str) -> OpenTransfer {
    OpenTransfer {
        ship,
        from: SiteNo(4),
        to: SITE,
        item: ItemNo(item),
        quantity: measure(figure, of),
        lot: None,
        document: None,
        shipped_at: NOON,
        open: true,
    }
}

pub(crate) fn recorder(journal: &Journal, clock: &Arc<FixedClock>) -> Recorder {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    Recorder::new(journal.clone(), Arc::clone(clock) as Arc<dyn Clock>, zone)
}

pub(crate) fn line(kind: &str, item: &str, quantity: &str) -> LineInput {
    LineInput {
        kind: kind.to_owned(),
        item: Some(item.to_owned()),
        quantity: Some(quantity.to_owned()),
        ..LineInput::default()
    }
}

pub(crate) fn receipt(item: &str, quantity: &str, price: &str) -> LineInput {
    LineInput {
        partner: Some("SUPP".to_owned()),
        price: Some(price.to_owned()),
        ..line("receipt", item, quantity)
    }
}

pub(crate) fn sale(item: &str, quantity: &str, price: &str) -> LineInput {
    LineInput {
        partner: Some("CUST".to_owned()),
        price: Some(price.to_owned()),
        ..line("sale_issue", item, quantity)
    }
}

pub(crate) fn group(lines: Vec<LineInput>) -> GroupInput {
    GroupInput { lines, ..GroupInput::default() }
}
