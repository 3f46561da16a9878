//! What HQ itself states: master data, invoices, payments. They are facts in HQ's own log and go
//! the way of every other fact: intake, sequence, books. Knows no connection and no page.
//!
//! Invariant: one statement is checked, recorded and posted before the next is checked, so numbers
//! are dense and codes are never given twice.

mod draft;
mod finance;
mod mapping_check;

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use shared::document::journal;
use shared::fact::statement::{GROUP_MAX, MasterData, Stamp, Statement};
use shared::fact::{Fact, Malformed};
use shared::ids::{Capture, CompanyNo, DeviceNo, Head, LogId, Seq, SiteNo};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::segment::seal::{Seal, last_sealable};
use shared::segment::{SEGMENT_FACTS_MAX, columns};
use shared::sync::Position;
use shared::time::{OffsetMinutes, Timestamp};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::gateway::documents::Sender;
use crate::gateway::intake::{Intake, IntakeError, LogNo, LogStatus};
use crate::sequencer::Published;
use crate::store::FileError;
pub use draft::{Draft, DraftError, ItemDraft, MappingDraft, PartnerDraft};
pub use finance::{
    AllocationDraft, Desk, DiscountDraft, FinanceError, InvoiceDraft, InvoiceLineDraft,
    LandedCostDraft, LandedOnDraft, LogOfSite, PaymentDraft, PeriodDraft, PoolDraft, RetimeDraft,
    RevaluationDraft, StandardCostDraft, WriteDownDraft, known_closely,
};
pub use mapping_check::{Missing, check_mapping};

/// HQ's own first installation. One that was restored from a backup is another.
pub const HQ_DEVICE: DeviceNo = DeviceNo(1);

/// Statements that take effect together.
#[derive(Clone, Debug)]
pub struct Group {
    /// When it happened, where that is not now.
    pub occurred_at: Option<Timestamp>,
    /// The company whose book it is for, where the statements do not name one themselves.
    pub company: Option<CompanyNo>,
    /// One to [`GROUP_MAX`] statements.
    pub statements: Vec<Statement>,
}

impl Group {
    /// One statement of now.
    pub fn one(statement: Statement) -> Self {
        Self { occurred_at: None, company: None, statements: vec![statement] }
    }
}

/// Why HQ's statement was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError<E> {
    /// It is refused.
    #[error(transparent)]
    Refused(E),
    /// A text is over the size of a field.
    #[error("a text is too long: {0}")]
    TooLong(Malformed),
    /// More lines than a group may have.
    #[error("a document has at most {GROUP_MAX} lines: enter the rest as another one")]
    TooManyLines,
    /// The intake did not take it.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// It is recorded, and posting has stopped.
    #[error("it is recorded, but posting has stopped: {0}")]
    NotPosted(String),
}

/// Where the log stands.
#[derive(Debug)]
struct Tip {
    chain: Chain,
    counter: u64,
    recorded_at: Timestamp,
}

/// HQ's log; clones share everything.
#[derive(Clone, Debug)]
pub struct OwnLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: LogId,
    device: DeviceNo,
    key: SigningKey,
    clock: Clock,
    intake: Intake,
    published: Arc<Published>,
    tip: Mutex<Tip>,
}

/// Why HQ's log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error("HQ has no log of its own: run 'hq-server init' on an empty directory")]
    NoLog,
    /// The key is another.
    #[error("HQ's key is not the one that its log was started with: restore its key file")]
    OtherKey,
    /// A file fails.
    #[error(transparent)]
    File(#[from] FileError),
    /// It can't go on after a restore.
    #[error("HQ's log can't go on after a restore: {0}")]
    Intake(#[from] IntakeError),
}

impl OwnLog {
    /// Starts HQ's log in an intake that has none.
    pub async fn create(intake: &Intake, key: &SigningKey) -> Result<LogNo, IntakeError> {
        let genesis = genesis(intake, key, HQ_DEVICE, None);
        intake.register(SiteNo::HQ, HQ_DEVICE, &genesis).await
    }

    /// Where HQ was restored from a backup, starts another log, after the one that may have gone
    /// further in the history that is lost: so no capture id is given twice. `device` gives HQ's new
    /// installation number; `skipped` numbers of things are left out.
    ///
    /// A log is of the history whose id is in its genesis, so this does nothing when it was done.
    pub async fn go_on<E: From<OpenError>>(
        intake: &Intake,
        key: &SigningKey,
        clock: &Clock,
        skipped: u32,
        device: impl FnOnce() -> Result<DeviceNo, E>,
    ) -> Result<(), E> {
        let newest = newest(intake).ok_or(OpenError::NoLog)?;
        let begun = Genesis::decode(&newest.record.genesis).ok();
        let begun = begun.filter(|begun| begun.random == intake.history().0);
        let genesis = if let Some(begun) = begun {
            begun
        } else {
            seal(intake, key, &newest).await.map_err(OpenError::from)?;
            let Position { last, head } = newest.received;
            let predecessor = Some((newest.record.log, last, head));
            genesis(intake, key, device()?, predecessor)
        };
        let Some((log, after, _)) = genesis.predecessor else { return Ok(()) };
        intake.register(SiteNo::HQ, genesis.device, &genesis).await.map_err(OpenError::from)?;
        let id = genesis.log_id();
        if intake.cursor(&id).is_some_and(|at| at.last > Seq::ZERO) {
            return Ok(());
        }
        let data = MasterData::Restored { log, after, skipped, lost: None };
        let at = clock.now().max(newest.complete_to.unwrap_or_default());
        let stamp = Stamp {
            capture: Capture { device: genesis.device, counter: 1 },
            recorded_at: at,
            occurred_at: at,
            utc_offset: OffsetMinutes(0),
            group_left: 0,
            person: None,
            time_in_doubt: 0,
            company: None,
        };
        let fact = Statement::MasterData { valid_from: None, data }.to_fact(&stamp);
        let fact = fact.expect("a fact without text is no longer than allowed");
        let mut chain = Chain::start(id);
        chain.extend(std::slice::from_ref(&fact));
        let accepted = intake.accept(&id, Seq(1), vec![fact], chain.head()).await;
        Ok(accepted.map(drop).map_err(OpenError::from)?)
    }

    /// Goes on with HQ's log.
    pub fn open(
        intake: &Intake,
        published: &Arc<Published>,
        key: SigningKey,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let status = newest(intake).ok_or(OpenError::NoLog)?;
        let record = status.record;
        if record.public_key != key.verifying_key().to_bytes() {
            return Err(OpenError::OtherKey);
        }
        let last = status.received.last;
        let chain = intake.chain_at(&record.log, last)?.ok_or(OpenError::NoLog)?;
        let newest = match last {
            Seq::ZERO => None,
            last => intake.fact(record.no, last)?,
        };
        let stamp = newest.and_then(|fact| Stamp::parse(&fact).ok());
        let tip = Tip {
            chain,
            counter: stamp.map_or(0, |stamp| stamp.capture.counter),
            recorded_at: stamp.map_or(Timestamp(0), |stamp| stamp.recorded_at),
        };
        let inner = Inner {
            log: record.log,
            device: record.device,
            key,
            clock,
            intake: intake.clone(),
            published: Arc::clone(published),
            tip: Mutex::new(tip),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The log.
    pub fn log(&self) -> LogId {
        self.inner.log
    }

    /// HQ as it writes in documents: by this log, so that an HQ that was restored writes as somebody
    /// else and numbers none of its changes twice.
    pub fn sender(&self) -> Sender {
        Sender { site: SiteNo::HQ, device: self.inner.device, log: self.inner.log }
    }

    /// Makes statements from what is known now, records them and waits until they are posted.
    ///
    /// `make` runs alone, with the books and the capture that its first statement will have: what
    /// it checks still holds when its statements take effect. Gives the capture of every statement,
    /// and what `make` wants to tell.
    pub async fn record<T, E>(
        &self,
        make: impl FnOnce(&Published, Capture) -> Result<(Vec<Group>, T), E>,
    ) -> Result<(Vec<Capture>, T), RecordError<E>> {
        let inner = &*self.inner;
        let mut tip = inner.tip.lock().await;
        // What was recorded before HQ stopped may not be posted yet.
        inner.posted(tip.chain.seq()).await.map_err(RecordError::NotPosted)?;
        let next = Capture { device: inner.device, counter: tip.counter + 1 };
        let (groups, told) = make(&inner.published, next).map_err(RecordError::Refused)?;
        let (facts, captures) = inner.facts(&tip, &groups)?;
        let mut rest = facts.as_slice();
        while !rest.is_empty() {
            let count = shared::segment::whole_groups(rest, SEGMENT_FACTS_MAX);
            let (now, later) = rest.split_at(count);
            inner.append(&mut tip, now).await?;
            rest = later;
        }
        inner.posted(tip.chain.seq()).await.map_err(RecordError::NotPosted)?;
        Ok((captures, told))
    }

    /// Signs what is not sealed yet.
    pub async fn seal(&self) -> Result<(), IntakeError> {
        let inner = &*self.inner;
        let _tip = inner.tip.lock().await;
        let status = inner.intake.log(&inner.log).expect("HQ's own log is registered");
        seal(&inner.intake, &inner.key, &status).await
    }
}

/// HQ's newest log.
fn newest(intake: &Intake) -> Option<LogStatus> {
    intake.logs().into_iter().rfind(|log| log.record.site == SiteNo::HQ)
}

/// What a log of HQ starts with: the history that it is of stands for chance.
fn genesis(
    intake: &Intake,
    key: &SigningKey,
    device: DeviceNo,
    predecessor: Option<(LogId, Seq, Head)>,
) -> Genesis {
    Genesis {
        format: FORMAT,
        site: SiteNo::HQ,
        device,
        random: intake.history().0,
        public_key: key.verifying_key().to_bytes(),
        predecessor,
    }
}

/// Signs what is not sealed yet of a log of HQ.
async fn seal(intake: &Intake, key: &SigningKey, of: &LogStatus) -> Result<(), IntakeError> {
    let (no, log, end) = (of.record.no, of.record.log, of.received.last);
    loop {
        let (sealed, document) = intake.seal_start(no)?;
        if sealed >= end {
            return Ok(());
        }
        let first = sealed.next();
        let last = last_sealable(first, end);
        let facts = intake.facts(no, first, last)?;
        let (document, _) = journal::append(&log, &document, first, &columns::encode(&facts));
        let head = intake.head_at(&log, last)?;
        let seal = Seal {
            log,
            first,
            last,
            head: head.expect("the facts up to the log's end are stored"),
            document_head: document.head.expect("a change was just appended"),
        };
        intake.accept_seal(seal.sign(key)).await?;
    }
}

/// When HQ stated the newest of it before: of master data what it had lost has a time of its own.
fn stated_before(groups: &[Group]) -> Timestamp {
    let is_master_data =
        |group: &&Group| matches!(group.statements[..], [Statement::MasterData { .. }]);
    let again = groups.iter().filter(is_master_data).filter_map(|group| group.occurred_at);
    again.max().unwrap_or_default()
}

impl Inner {
    fn facts<E>(
        &self,
        tip: &Tip,
        groups: &[Group],
    ) -> Result<(Vec<Fact>, Vec<Capture>), RecordError<E>> {
        // What is stated later has a later time, whatever the clock does, also than what a lost life of
        // this log stated: by that the newest one is found of what nodes give back.
        let later = Timestamp(tip.recorded_at.0.saturating_add(1));
        let recorded_at = self.clock.now().max(later).max(stated_before(groups));
        let zone = self.published.catalogue().company(CompanyNo::FIRST).map(|company| company.zone);
        let (mut facts, mut captures) = (Vec::new(), Vec::new());
        for group in groups {
            if group.statements.is_empty() || group.statements.len() > GROUP_MAX {
                return Err(RecordError::TooManyLines);
            }
            for (left, statement) in (0..group.statements.len()).rev().zip(&group.statements) {
                let counter = tip.counter + captures.len() as u64 + 1;
                let capture = Capture { device: self.device, counter };
                let stamp = Stamp {
                    capture,
                    recorded_at,
                    occurred_at: group.occurred_at.unwrap_or(recorded_at).min(recorded_at),
                    utc_offset: zone.unwrap_or(OffsetMinutes(0)),
                    group_left: u16::try_from(left).expect("a group fits 16 bits"),
                    person: None,
                    time_in_doubt: 0,
                    company: group.company,
                };
                facts.push(statement.to_fact(&stamp).map_err(RecordError::TooLong)?);
                captures.push(capture);
            }
        }
        Ok((facts, captures))
    }

    async fn append(&self, tip: &mut Tip, facts: &[Fact]) -> Result<(), IntakeError> {
        let mut chain = tip.chain.clone();
        let first = chain.seq().next();
        chain.extend(facts);
        self.intake.accept(&self.log, first, facts.to_vec(), chain.head()).await?;
        let stamp = facts.last().and_then(|fact| Stamp::parse(fact).ok());
        let stamp = stamp.expect("a fact that was just made reads back");
        *tip = Tip { chain, counter: stamp.capture.counter, recorded_at: stamp.recorded_at };
        Ok(())
    }

    /// Waits for the books; the text says why they stopped.
    async fn posted(&self, seq: Seq) -> Result<(), String> {
        let mut failure = self.published.failure();
        let mut posted = self.intake.posted(&self.log).expect("HQ's own log is registered");
        tokio::select! {
            done = posted.wait_for(|posted| *posted >= seq) => {
                done.map(drop).map_err(|_| "HQ is shutting down".to_owned())
            }
            failed = failure.wait_for(Option::is_some) => {
                Err(failed.ok().and_then(|why| why.clone()).unwrap_or_default())
            }
        }
    }
}
