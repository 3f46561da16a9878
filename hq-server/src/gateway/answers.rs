//! What intake and books say, as an edge is told it: refusals instead of errors. Knows no connection.
//! Invariant: a log is opened only for an installation of the site that it was registered for.

use ed25519_dalek::VerifyingKey;
use shared::catalogue::{Catalogue, Item};
use shared::ids::{ItemNo, LogId, Seq, SiteNo};
use shared::quantity::Quantity;
use shared::sync::hq::OpenedLog;
use shared::sync::{Code, CompleteTo, FOUND_MAX, Found, Refusal, SiteStock, StockLevel};
use shared::time::Timestamp;

use super::branches::Branches;
use super::intake::{Intake, IntakeError, LogStatus, RunRefused};
use super::store::{LogWriter, Peer};
use crate::sequencer::Published;

/// Why the intake did not do what an edge asked.
pub fn refusal(error: &IntakeError) -> Refusal {
    let code = match error {
        IntakeError::UnknownLog(_) => Code::UNKNOWN_LOG,
        IntakeError::Run(RunRefused::Fork(_)) => Code::FORK,
        IntakeError::Seal(refused) if refused.is_of_a_copy() => Code::FORK,
        IntakeError::Run(_) | IntakeError::Seal(_) => Code::BAD_FACTS,
        IntakeError::Register(_) => Code::KEYS_TAKEN,
        IntakeError::File(_) => Code::STORAGE,
        IntakeError::Stopped => Code::LEAVING,
    };
    Refusal::new(code, error.to_string())
}

/// Nobody enrolled with this log, or another installation did.
pub fn unknown_log() -> Refusal {
    let text = "HQ does not know this log: enrol the node again with a code from HQ";
    Refusal::new(Code::UNKNOWN_LOG, text)
}

/// The intake's file does not read.
pub fn storage(error: &dyn std::error::Error) -> Refusal {
    tracing::error!("the intake: {error}");
    Refusal::new(Code::STORAGE, "HQ can't read its store: try again later")
}

/// A log, for an installation of the site that it is of: one that takes the place of another brings
/// what that one had not sent. It could state the same in its own log.
pub(crate) fn owned_log(intake: &Intake, peer: Peer, log: &LogId) -> Result<LogStatus, Refusal> {
    let status = intake.log(log).ok_or_else(unknown_log)?;
    if status.record.site == peer.site { Ok(status) } else { Err(unknown_log()) }
}

/// Who writes a log, where that is a site's installation: a branch has no key that proves anything.
pub fn writer_of(intake: &Intake, log: &LogId) -> Option<LogWriter> {
    let record = intake.log(log)?.record;
    let key = VerifyingKey::from_bytes(&record.public_key).ok()?;
    let peer = Peer { site: record.site, device: record.device };
    let is_own = record.site != SiteNo::HQ && Branches::left(&record).is_none();
    is_own.then_some(LogWriter { peer, key })
}

/// How far `peer`'s log is at HQ.
pub fn open_log(intake: &Intake, peer: Peer, log: &LogId) -> Result<OpenedLog, Refusal> {
    let status = owned_log(intake, peer, log)?;
    let (history, cursor) = (intake.history(), status.received);
    Ok(OpenedLog { history, cursor, sealed: status.sealed })
}

/// What is on hand at a site, by the books.
pub fn site_stock(
    intake: &Intake,
    published: &Published,
    site: SiteNo,
    at: Timestamp,
) -> Result<SiteStock, Refusal> {
    let company = published.catalogue().site(site).map(|known| known.company);
    let company = company.ok_or_else(|| {
        let text = format!("HQ's books know no site {site}: see 'hq-server site list'");
        Refusal::new(Code::UNKNOWN_SITE, text)
    })?;
    let logs = intake.logs().into_iter().filter(|log| log.record.site == site);
    let begun = logs.filter(|log| log.posted > Seq::ZERO);
    let logs = begun.map(|log| CompleteTo {
        device: log.record.device,
        last: log.posted,
        recorded_at: log.complete_to.unwrap_or_default(),
    });
    let logs = logs.collect();
    let ledgers = published.ledgers();
    let pools = ledgers.books.pools().iter().filter(|pool| pool.company == company);
    let levels = pools.map(|pool| StockLevel {
        item: pool.item,
        lot: pool.lot.clone(),
        quantity: Quantity(pool.state.on_hand(site)),
    });
    let levels = levels.filter(|level| level.quantity.0 != 0).collect();
    Ok(SiteStock { site, at, logs, levels })
}

/// Items whose code or name has `text` in it, as sites are told of them.
pub fn look_up(intake: &Intake, known: &Catalogue, text: &str) -> Found {
    let wanted = text.to_lowercase();
    let fits = |item: &&Item| {
        [&item.code, &item.name].iter().any(|text| text.to_lowercase().contains(&wanted))
    };
    // The code itself goes first.
    let exact = known.item_by_code(text).map(|item| item.item);
    let others = known.items().filter(fits).map(|item| item.item);
    let mut items: Vec<ItemNo> = exact
        .into_iter()
        .chain(others.filter(|item| Some(*item) != exact))
        .take(FOUND_MAX + 1)
        .collect();
    let more = items.len() > FOUND_MAX;
    items.truncate(FOUND_MAX);
    Found::new(&intake.state_about(&items), more)
}
