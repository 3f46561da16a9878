//! What the local API answers, and the commands print as JSON. Figures are texts with a decimal
//! point. Made from the journal; knows no HTTP.

use serde::{Deserialize, Serialize};
use shared::catalogue::{Catalogue, Item};
use shared::fact::field;
use shared::fact::statement::{Movement, Stamp, Statement};
use shared::fact::{Fact, Kind};
use shared::ids::{DeviceNo, Seq, SiteNo};
use shared::money::Price;
use shared::sync::bundle::{BundleError, Scanned};
use shared::sync::edge::EdgeEnd;
use shared::sync::{Outcome, Span};
use shared::time::{OffsetMinutes, Timestamp};
use utoipa::ToSchema;

use crate::bundle::{ExportError, ImportError, Imported};
use crate::documents::Documents;
use crate::journal::{Recorded, StockLine, StoreError};
use crate::link::LinkStatus;
use crate::neighbour::{AnnouncedName, FoundNeighbour, NeighbourStatus};
use crate::record::{GroupInput, Moment, Recorder, Refused};

/// A group that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedView {
    /// The capture id of each line: what references name, for ever.
    #[schema(example = json!(["3-1042"]))]
    pub captures: Vec<String>,
    /// The place of the first line in this node's log.
    pub first: u64,
    /// The place of the last.
    pub last: u64,
    /// By the node's clock, in its zone.
    pub recorded_at: String,
    /// Why the clock is doubted, if it is: HQ shows the quantity and values it once time is clear.
    pub time_in_doubt: Vec<String>,
    /// The key was known and nothing was recorded again: this is the earlier answer.
    pub already_recorded: bool,
}

/// What went wrong, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A word for programs; never changes.
    #[schema(example = "unknown_item")]
    pub code: String,
    /// For people.
    pub message: String,
    /// The line it is about, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// The body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemView {
    /// What went wrong.
    pub error: Problem,
}

/// Groups of an import.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchInput {
    /// Each recorded whole or not at all, independent of the others.
    pub groups: Vec<GroupInput>,
}

/// The outcome of one group of a batch: one of the two.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchOutcome {
    /// It is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedView>,
    /// It is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// The outcomes of a batch, in the order of its groups.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchView {
    /// One for each group.
    pub outcomes: Vec<BatchOutcome>,
}

/// What is on hand of an item, by this node's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockView {
    /// The item's code.
    pub item: String,
    /// Its name.
    pub name: String,
    /// The lot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    /// How much.
    #[schema(example = "12.5")]
    pub on_hand: String,
    /// In the item's own unit.
    pub unit: String,
    /// When it last changed.
    pub changed_at: String,
    /// When it was last counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<String>,
}

/// How far a fact has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Durable here, not yet at HQ.
    Recorded,
    /// Durable at HQ.
    Received,
    /// In the books.
    Posted,
    /// Set aside at HQ until something comes that it needs.
    Waits,
}

impl Progress {
    /// The word of lists.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Received => "received",
            Self::Posted => "posted",
            Self::Waits => "waits at HQ",
        }
    }
}

/// One fact of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogView {
    /// Its place.
    pub seq: u64,
    /// Its capture id.
    pub capture: String,
    /// Its kind.
    pub kind: String,
    /// When it was recorded.
    pub recorded_at: String,
    /// When it happened.
    pub occurred_at: String,
    /// How many facts of the same group follow.
    pub group_left: u16,
    /// How far it has come.
    pub progress: Option<Progress>,
    /// HQ's voucher of it: ledger month and number there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-42")]
    pub voucher: Option<String>,
    /// Why it waits at HQ, and what has to be done there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The item's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// As stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// As stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Of one unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// Of one unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// Of price and cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The partner's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The reason's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The other site's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The movement it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refers_to: Option<String>,
    /// The lot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    /// An outside document's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Why the clock was doubted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub time_in_doubt: Vec<String>,
}

/// A page of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// In order.
    pub facts: Vec<LogView>,
    /// The log's last place.
    pub last: u64,
}

/// An item, as the keeper may name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemView {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Units it can be stated in, its own first.
    pub units: Vec<String>,
    /// Decimals of its own unit.
    pub decimals: u8,
    /// A service is sold and never stocked.
    pub service: bool,
}

/// Items that HQ found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundView {
    /// By code.
    pub items: Vec<FoundItem>,
    /// There are more: search for more of the code or name.
    pub more: bool,
}

/// An item that HQ found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundItem {
    /// As HQ tells it.
    #[serde(flatten)]
    pub item: ItemView,
    /// This site handles it already.
    pub handled: bool,
}

/// Items that this site is to handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandledInput {
    /// Their codes.
    pub items: Vec<String>,
}

/// Goods on their way to this site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransferView {
    /// The ship movement: what the receive refers to.
    pub ship: String,
    /// The site they left.
    pub from: String,
    /// The item's code.
    pub item: String,
    /// Still on its way.
    pub quantity: String,
    /// In this unit.
    pub unit: String,
    /// When they left.
    pub shipped_at: String,
    /// Their sender told of them itself; HQ has not yet.
    #[serde(default)]
    pub announced: bool,
    /// The price of one unit, where another company sent them and told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// Its currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// How this node stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// Program version.
    pub version: String,
    /// The site's code, once HQ has sent it; else its number.
    pub site: String,
    /// The site's name.
    pub site_name: String,
    /// This installation.
    pub device: u32,
    /// The log's id.
    pub log: String,
    /// The last fact.
    pub last: u64,
    /// The head after it.
    pub head: String,
    /// Facts up to this one are sealed.
    pub sealed: u64,
    /// Durable at HQ up to this one.
    pub received: u64,
    /// Also safe against the loss of HQ's machine.
    pub safe: u64,
    /// In the books.
    pub posted: u64,
    /// HQ told the voucher, or why there is none, of the facts up to this one.
    pub told: u64,
    /// Of those HQ has set so many aside: see the log for why.
    pub set_aside: u64,
    /// Not yet at HQ.
    pub waiting: u64,
    /// When the oldest of those was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<String>,
    /// Items known.
    pub items: usize,
    /// Partners known.
    pub partners: usize,
    /// Transfers on their way here.
    pub open_transfers: usize,
    /// Shared documents of this site.
    pub documents: usize,
    /// Edits of them that HQ did not decide on.
    pub edits_waiting: u64,
    /// Edits of them that HQ refused.
    pub edits_refused: u64,
    /// How the link to HQ stands.
    pub link: LinkView,
    /// Neighbours that carry for this node, and what it carries for them.
    #[serde(default, skip_serializing_if = "NeighboursView::is_empty")]
    pub neighbours: NeighboursView,
}

/// Neighbours that carry for this node, and what it carries for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeighboursView {
    /// Where neighbours find this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Configured neighbours.
    pub addresses: Vec<NeighbourView>,
    /// The local network, where neighbours are looked for there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<DiscoveryView>,
    /// Who has facts of this node that HQ has not acknowledged.
    pub carried_by: Vec<CarriedByView>,
    /// What lies here of others on its way to HQ.
    pub carries: Vec<CarriesView>,
    /// What was wrong with neighbours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl NeighboursView {
    /// Nobody is configured and nothing is carried.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A configured neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeighbourView {
    /// As configured.
    pub address: String,
    /// It is connected now.
    pub connected: bool,
    /// Its site's code, once it was connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The local network, where neighbours are looked for there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiscoveryView {
    /// As what this node is announced.
    #[schema(example = "warebook-3-7-8a1f0c2b9d4e6f70")]
    pub name: String,
    /// Why nobody can be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Who was found. What they announce proves nothing: a site here is by its certificate.
    pub found: Vec<FoundNeighbourView>,
}

/// A node that was found on the local network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundNeighbourView {
    /// As what it is announced.
    pub name: String,
    /// Where it says it is.
    pub addresses: Vec<String>,
    /// It is connected now.
    pub connected: bool,
    /// Its site's code, once it showed its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Why it is not met, or the last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A neighbour that has facts of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CarriedByView {
    /// Its site's code.
    pub site: String,
    /// It has facts up to this one.
    pub last: u64,
    /// Since when.
    pub at: String,
}

/// Facts of another site that lie here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CarriesView {
    /// The other site's code.
    pub site: String,
    /// Facts after this one.
    pub after: u64,
    /// Up to this one.
    pub last: u64,
    /// Bytes of the sealed bundles.
    pub bytes: u64,
    /// Since when the first of them lies here.
    pub since: String,
    /// Why HQ did not take it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How the link to HQ stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkView {
    /// waiting, connecting, online, refused, or stopped where no process runs.
    pub state: String,
    /// The last error and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When HQ was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<String>,
    /// What HQ lost, if it did, and what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// How far this node's clock is ahead of HQ's, in milliseconds; negative behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    /// How the link is treated: normal, lossy, satellite or metered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The shortest round trip of the last connection, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<u32>,
    /// Of a thousand packets that were sent to HQ, how many were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_per_mille: Option<u32>,
    /// The most bytes a second that arrived at HQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// A log that was proved from its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedView {
    /// The log's id.
    pub log: String,
    /// How many facts.
    pub facts: u64,
    /// The head after the last.
    pub head: String,
    /// How many seals.
    pub seals: u64,
    /// The last sealed fact.
    pub sealed: u64,
    /// Journal documents: the Automerge head of each.
    pub documents: Vec<DocumentView>,
}

/// A journal document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentView {
    /// Facts 65,536 x chunk + 1 and following.
    pub chunk: u64,
    /// Its Automerge head.
    pub head: String,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupView {
    /// Where it lies.
    pub file: String,
    /// The log's id.
    pub log: String,
    /// The last fact in it.
    pub last: u64,
    /// Its size.
    pub bytes: u64,
}

/// A bundle for HQ that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleMadeView {
    /// Where it lies.
    pub file: String,
    /// The log's id.
    pub log: String,
    /// Facts after this one are in it.
    pub after: u64,
    /// Up to this one.
    pub last: u64,
    /// How many.
    pub facts: u64,
    /// Its size.
    pub bytes: u64,
}

/// A bundle from HQ that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleTakenView {
    /// The log's id.
    pub log: String,
    /// Durable at HQ up to this fact, as this node knows now.
    pub received: u64,
    /// Also safe against the loss of HQ's machine.
    pub safe: u64,
    /// In the books.
    pub posted: u64,
    /// When HQ said what is in the bundle.
    pub said_at: String,
    /// This node knew as much before: nothing changed about that.
    pub known_before: bool,
    /// Durable at HQ as this node knew it before.
    pub received_before: u64,
    /// In the books as this node knew it before.
    pub posted_before: u64,
    /// How many pieces of master data were taken.
    pub master_data: u64,
    /// Master data that comes before what is in the bundle is missing: ask HQ for another bundle.
    pub master_data_missing: bool,
    /// What HQ lost, if it did, and what becomes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Why a clock is doubted, in words.
pub fn doubts(bits: u8) -> Vec<String> {
    use crate::journal::{AHEAD_OF_HQ, BELOW_FLOOR, JUMPED};
    let words = [
        (BELOW_FLOOR, "the clock is behind a time that has passed already"),
        (JUMPED, "the clock jumped"),
        (AHEAD_OF_HQ, "the clock is a day or more ahead of HQ's"),
    ];
    let doubted = words.into_iter().filter(|(bit, _)| bits & bit != 0);
    doubted.map(|(_, word)| word.to_owned()).collect()
}

pub(super) fn moment(at: Timestamp, offset: OffsetMinutes) -> String {
    Moment { at, offset }.to_string()
}

impl RecordedView {
    /// The view of what the journal answered.
    pub fn of(answer: &Recorded, recorder: &Recorder) -> Self {
        let at = answer.recorded_at;
        Self {
            captures: answer.captures().map(|capture| capture.to_string()).collect(),
            first: answer.first.0,
            last: answer.last.0,
            recorded_at: moment(at, recorder.offset(at)),
            time_in_doubt: doubts(answer.time_in_doubt),
            already_recorded: answer.again,
        }
    }
}

impl Problem {
    /// The view of a refusal.
    pub fn of(refused: &Refused) -> Self {
        Self { code: refused.code().to_owned(), message: refused.to_string(), line: refused.line() }
    }

    /// The view of a bundle that was not made.
    pub fn of_export(error: &ExportError) -> Self {
        let code = match error {
            ExportError::Restored => "restored",
            ExportError::BeyondEnd { .. } => "beyond_end",
            ExportError::Bundle(error) => bundle_code(error),
            ExportError::Store(StoreError::Damaged(_)) => "damaged",
            ExportError::NoRoom | ExportError::Store(StoreError::DiskFull) => "disk_full",
            ExportError::Store(_) | ExportError::Random(_) | ExportError::Io(_) => "store",
        };
        Self { code: code.to_owned(), message: error.to_string(), line: None }
    }

    /// The view of a bundle that was not taken.
    pub fn of_import(error: &ImportError) -> Self {
        let code = match error {
            ImportError::Bundle(error) => bundle_code(error),
            ImportError::OtherLog { .. } => "other_log",
            ImportError::Session(EdgeEnd::Fork(_)) => "fork",
            ImportError::Session(EdgeEnd::Restored { .. }) => "restored",
            ImportError::Session(EdgeEnd::BadSignature(_)) => "bad_signature",
            ImportError::Session(_) | ImportError::BadState(_) => "protocol",
            ImportError::Store(StoreError::Damaged(_)) => "damaged",
            ImportError::Store(StoreError::DiskFull) => "disk_full",
            ImportError::Store(_) | ImportError::Io(_) => "store",
        };
        Self { code: code.to_owned(), message: error.to_string(), line: None }
    }
}

impl BundleMadeView {
    /// The view of a file that was written whole.
    pub fn of(file: &std::path::Path, scanned: &Scanned) -> Self {
        let head = scanned.head();
        Self {
            file: file.display().to_string(),
            log: head.log.to_string(),
            after: head.after.0,
            last: head.last.0,
            facts: head.facts(),
            bytes: scanned.bytes(),
        }
    }
}

impl BundleTakenView {
    /// The view of what came of a file.
    pub fn of(imported: &Imported, recorder: &Recorder) -> Self {
        let before = imported.known.map(|known| (known.received.last.0, known.posted.0));
        let (received_before, posted_before) = before.unwrap_or((0, 0));
        let known = imported.known.filter(|_| imported.is_old);
        let now = known.unwrap_or(imported.said);
        let said_at = imported.said.at;
        Self {
            log: imported.head.log.to_string(),
            received: now.received.last.0,
            safe: now.safe.0,
            posted: now.posted.0,
            said_at: moment(said_at, recorder.offset(said_at)),
            known_before: imported.is_old,
            received_before,
            posted_before,
            master_data: imported.state_facts,
            master_data_missing: imported.state_gap,
            warning: imported.lost(),
        }
    }
}

/// The word for programs.
const fn bundle_code(error: &BundleError) -> &'static str {
    match error {
        BundleError::NotABundle => "not_a_bundle",
        BundleError::OtherVersion(_) => "other_version",
        BundleError::Truncated => "bundle_cut",
        BundleError::Trailing | BundleError::Outside(_) | BundleError::Changed => "bundle_changed",
        BundleError::BadSignature => "bad_signature",
        BundleError::WrongWay(_) => "wrong_way",
        BundleError::OtherReceiver => "other_receiver",
        BundleError::UnusableKey => "unusable_key",
        BundleError::Inside(_) => "protocol",
    }
}

impl ItemView {
    fn of(item: &Item, catalogue: &Catalogue, now: Timestamp) -> Self {
        Self {
            code: item.code.clone(),
            name: item.name.clone(),
            units: catalogue.units(item, now).iter().map(ToString::to_string).collect(),
            decimals: item.decimals,
            service: item.service,
        }
    }
}

/// Items whose code or name contains `search`, by code, at most `count_max`.
pub fn items(recorder: &Recorder, search: &str, count_max: usize) -> Vec<ItemView> {
    let catalogue = recorder.journal().catalogue();
    let search = search.to_lowercase();
    let fits = |item: &&Item| {
        search.is_empty()
            || item.code.to_lowercase().contains(&search)
            || item.name.to_lowercase().contains(&search)
    };
    let now = recorder.now();
    let found = catalogue.items().filter(fits);
    let mut items: Vec<_> = found.map(|item| ItemView::of(item, &catalogue, now)).collect();
    items.sort_by(|one, other| one.code.cmp(&other.code));
    items.truncate(count_max);
    items
}

/// What HQ found, by code.
pub fn found(recorder: &Recorder, at_hq: &Catalogue) -> Vec<FoundItem> {
    let known = recorder.journal().catalogue();
    let now = recorder.now();
    let mut items: Vec<FoundItem> = at_hq
        .items()
        .map(|item| FoundItem {
            item: ItemView::of(item, at_hq, now),
            handled: known.item(item.item).is_some(),
        })
        .collect();
    items.sort_by(|one, other| one.item.code.cmp(&other.item.code));
    items
}

/// Transfers on their way to this site.
pub fn transfers(recorder: &Recorder) -> Vec<TransferView> {
    let catalogue = recorder.journal().catalogue();
    let site = recorder.journal().genesis().site;
    let code = |found: Option<String>, number: String| found.unwrap_or(number);
    let view = |transfer: &shared::catalogue::OpenTransfer, announced, price: Option<Price>| {
        let from = catalogue.site(transfer.from).map(|site| site.code.clone());
        let item = catalogue.item(transfer.item).map(|item| item.code.clone());
        TransferView {
            ship: transfer.ship.to_string(),
            from: code(from, transfer.from.to_string()),
            item: code(item, transfer.item.to_string()),
            quantity: transfer.quantity.figure.to_string(),
            unit: transfer.quantity.unit.to_string(),
            shipped_at: moment(transfer.shipped_at, recorder.offset(transfer.shipped_at)),
            announced,
            price: price.map(|price| price.figure.to_string()),
            currency: price.map(|price| price.currency.to_string()),
        }
    };
    let told = catalogue.open_transfers().filter(|each| each.to == site);
    let coming = recorder.arrivals().coming(&catalogue);
    let announced = coming.iter().map(|arrival| view(&arrival.transfer, true, arrival.price));
    told.map(|transfer| view(transfer, false, None)).chain(announced).collect()
}

/// The stock list: by item's code and lot, only `item` where one is named.
pub fn stock(recorder: &Recorder, lines: Vec<StockLine>, item: Option<&str>) -> Vec<StockView> {
    let catalogue = recorder.journal().catalogue();
    let view = |line: StockLine| {
        let item = catalogue.item(line.bucket.item);
        let decimals = item.map_or(0, |item| item.decimals);
        let text = |at: Timestamp| moment(at, recorder.offset(at));
        StockView {
            item: item.map_or_else(|| line.bucket.item.to_string(), |item| item.code.clone()),
            name: item.map_or_else(String::new, |item| item.name.clone()),
            lot: line.bucket.lot.as_deref().map(|lot| String::from_utf8_lossy(lot).into_owned()),
            on_hand: line.quantity.display(decimals),
            unit: item.map_or_else(String::new, |item| item.unit.to_string()),
            changed_at: text(line.changed_at),
            counted_at: line.counted_at.map(text),
        }
    };
    let mut views: Vec<_> = lines.into_iter().map(view).collect();
    if let Some(code) = item {
        views.retain(|view| view.item == code);
    }
    views.sort_by(|one, other| (&one.item, &one.lot).cmp(&(&other.item, &other.lot)));
    views
}

/// A page of the log from `first` on, at most `count_max` facts.
pub fn log(recorder: &Recorder, first: Seq, count_max: usize) -> Result<LogPage, StoreError> {
    let journal = recorder.journal();
    let catalogue = journal.catalogue();
    let acknowledged = journal.acknowledgement().map(|signed| signed.acknowledgement);
    let (received, posted) =
        acknowledged.map_or((Seq::ZERO, Seq::ZERO), |known| (known.received.last, known.posted));
    let told = journal.postings(first, count_max)?;
    let mut facts = Vec::new();
    journal.for_each_fact(first, |seq, fact| {
        let progress = match seq {
            _ if seq <= posted => Progress::Posted,
            _ if seq <= received => Progress::Received,
            _ => Progress::Recorded,
        };
        let mut view = log_view(seq, fact, progress, &catalogue);
        add_posting(&mut view, seq, &told);
        facts.push(view);
        if facts.len() < count_max {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    })?;
    Ok(LogPage { facts, last: journal.position().last.0 })
}

/// What HQ told of a fact.
fn add_posting(view: &mut LogView, seq: Seq, told: &[(Seq, Span)]) {
    let before = told.partition_point(|(first, _)| *first <= seq);
    let Some((first, span)) = told[..before].last() else { return };
    let Some(left) = span.after((seq.0 - first.0) / span.facts_each * span.facts_each) else {
        return;
    };
    match left.outcome {
        Outcome::NoVoucher => {}
        Outcome::Vouchers { month, first } => view.voucher = Some(format!("{month}-{first}")),
        Outcome::Waits { why } => {
            (view.progress, view.waits_for) = (Some(Progress::Waits), Some(why));
        }
    }
}

fn log_view(seq: Seq, fact: &Fact, progress: Progress, catalogue: &Catalogue) -> LogView {
    let kind = fact.kind().map_or_else(
        || format!("kind {} (unknown to this version)", fact.kind_no().0),
        |kind| kind.word().to_owned(),
    );
    let mut view = LogView { seq: seq.0, kind, progress: Some(progress), ..LogView::default() };
    if let Ok(stamp) = Stamp::parse(fact) {
        view.capture = stamp.capture.to_string();
        view.recorded_at = moment(stamp.recorded_at, stamp.utc_offset);
        view.occurred_at = moment(stamp.occurred_at, stamp.utc_offset);
        view.group_left = stamp.group_left;
        view.time_in_doubt = doubts(stamp.time_in_doubt);
    }
    view.document = field::DOCUMENT.text(fact).map(str::to_owned);
    match Statement::parse(fact) {
        Ok(Statement::Movement(movement)) => add_movement(&mut view, &movement, catalogue),
        Ok(Statement::Reversal { refers_to, reason }) => {
            view.refers_to = Some(refers_to.to_string());
            view.reason = reason.map(|reason| reason_code(reason, catalogue));
        }
        _ => {}
    }
    view
}

fn reason_code(reason: shared::ids::ReasonNo, catalogue: &Catalogue) -> String {
    catalogue.reason(reason).map_or_else(|| reason.to_string(), |reason| reason.code.clone())
}

fn add_movement(view: &mut LogView, movement: &Movement, catalogue: &Catalogue) {
    let item = catalogue.item(movement.item).map(|item| item.code.clone());
    view.item = Some(item.unwrap_or_else(|| movement.item.to_string()));
    view.quantity = Some(movement.quantity.figure.to_string());
    view.unit = Some(movement.quantity.unit.to_string());
    view.price = movement.price.map(|price| price.figure.to_string());
    view.cost = movement.cost.map(|cost| cost.figure.to_string());
    view.currency = movement.price.or(movement.cost).map(|price| price.currency.to_string());
    view.partner = movement.partner.map(|partner| {
        let known = catalogue.partner(partner).map(|partner| partner.code.clone());
        known.unwrap_or_else(|| partner.to_string())
    });
    view.reason = movement.reason.map(|reason| reason_code(reason, catalogue));
    view.site = movement.other_site.map(|site| {
        catalogue.site(site).map_or_else(|| site.to_string(), |site| site.code.clone())
    });
    view.refers_to = movement.refers_to.map(|capture| capture.to_string());
    view.lot = movement.lot.as_deref().map(|lot| String::from_utf8_lossy(lot).into_owned());
    debug_assert!(movement.kind != Kind::Reversal, "a reversal is no movement of an item");
}

/// How the node stands; `link` and `neighbours` are `None` where no process runs.
pub fn status(
    recorder: &Recorder,
    documents: &Documents,
    link: Option<&LinkStatus>,
    neighbours: Option<&NeighbourStatus>,
) -> Result<StatusView, StoreError> {
    let journal = recorder.journal();
    let catalogue = journal.catalogue();
    let genesis = journal.genesis();
    let position = journal.position();
    let known = journal.acknowledgement().map(|signed| signed.acknowledgement);
    let received = known.map_or(Seq::ZERO, |known| known.received.last);
    let told = journal.postings_known();
    let site = catalogue.site(genesis.site);
    let oldest = journal.fact(received.next())?;
    let waiting_since = oldest.and_then(|fact| Stamp::parse(&fact).ok());
    Ok(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        site: site.map_or_else(|| genesis.site.to_string(), |site| site.code.clone()),
        site_name: site.map_or_else(String::new, |site| site.name.clone()),
        device: genesis.device.0,
        log: journal.log().to_string(),
        last: position.last.0,
        head: position.head.to_string(),
        sealed: journal.sealed().0,
        received: received.0,
        safe: known.map_or(0, |known| known.safe.0),
        posted: known.map_or(0, |known| known.posted.0),
        told: told.up_to.0,
        set_aside: told.waiting.iter().map(|each| each.last.0 + 1 - each.first.0).sum(),
        waiting: position.last.0.saturating_sub(received.0),
        waiting_since: waiting_since.map(|stamp| moment(stamp.recorded_at, stamp.utc_offset)),
        items: catalogue.items().count(),
        partners: catalogue.partners().count(),
        open_transfers: transfers(recorder).len(),
        documents: documents.names(None).len(),
        edits_waiting: documents.waiting()?,
        edits_refused: documents.refused_count()?,
        link: link.map_or_else(stopped_link, |status| link_view(status, recorder)),
        neighbours: neighbours
            .map_or_else(NeighboursView::default, |status| neighbours_view(status, recorder)),
    })
}

fn neighbours_view(status: &NeighbourStatus, recorder: &Recorder) -> NeighboursView {
    let catalogue = recorder.journal().catalogue();
    let code = |site: SiteNo| {
        catalogue.site(site).map_or_else(|| site.to_string(), |site| site.code.clone())
    };
    let at = |at: Timestamp| moment(at, recorder.offset(at));
    let addresses = status.addresses.iter().map(|(address, state)| NeighbourView {
        address: address.clone(),
        connected: state.connected,
        site: state.site.map(code),
        problem: state.problem.clone(),
    });
    let found = |(name, found): (&AnnouncedName, &FoundNeighbour)| FoundNeighbourView {
        name: name.as_str().to_owned(),
        addresses: found.addresses.iter().map(ToString::to_string).collect(),
        connected: found.state.connected,
        site: found.state.site.map(code),
        problem: found.state.problem.clone(),
    };
    let discovery = status.discovery.as_ref().map(|discovery| DiscoveryView {
        name: discovery.name.as_str().to_owned(),
        problem: discovery.problem.clone(),
        found: discovery.found.iter().map(found).collect(),
    });
    let carried_by = status.carried_by.iter().map(|carried| CarriedByView {
        site: code(carried.site),
        last: carried.last.0,
        at: at(carried.at),
    });
    let carries = status.carries.iter().map(|carries| CarriesView {
        site: code(carries.site),
        after: carries.after.0,
        last: carries.last.0,
        bytes: carries.bytes,
        since: at(carries.since),
        problem: carries.problem.clone(),
    });
    let accused = |(site, why): (&SiteNo, &String)| format!("site {}: {why}", code(*site));
    let turned_away = |(site, device): &(SiteNo, DeviceNo)| {
        let site = code(*site);
        format!(
            "HQ has revoked the installation {device} of site {site}: nothing is taken from it or given \
             to it any more; where it is in use, ask HQ for a code and enrol anew"
        )
    };
    let warnings = status.turned_away.iter().map(turned_away);
    NeighboursView {
        listen: status.listen.map(|address| address.to_string()),
        addresses: addresses.collect(),
        discovery,
        carried_by: carried_by.collect(),
        carries: carries.collect(),
        warnings: warnings.chain(status.accused.iter().map(accused)).collect(),
    }
}

fn stopped_link() -> LinkView {
    LinkView { state: "stopped".to_owned(), ..LinkView::default() }
}

fn link_view(status: &LinkStatus, recorder: &Recorder) -> LinkView {
    LinkView {
        state: status.state.word().to_owned(),
        problem: status.problem.clone(),
        heard_at: status.heard_at.map(|at| moment(at, recorder.offset(at))),
        warning: status.warning.clone(),
        clock_ahead_ms: status.clock_ahead_ms,
        profile: Some(status.profile.word().to_owned()),
        rtt_ms: status.measured.map(|measured| measured.rtt_ms),
        lost_per_mille: status.measured.map(|measured| measured.lost_per_mille),
        bytes_per_second: status.measured.map(|measured| measured.rate),
    }
}

impl From<crate::journal::Verified> for VerifiedView {
    fn from(verified: crate::journal::Verified) -> Self {
        let document = |(chunk, head): (u64, shared::ids::ChangeHash)| DocumentView {
            chunk,
            head: head.to_string(),
        };
        Self {
            log: verified.log.to_string(),
            facts: verified.facts,
            head: verified.head.to_string(),
            seals: verified.seals,
            sealed: verified.sealed.0,
            documents: verified.documents.into_iter().map(document).collect(),
        }
    }
}
