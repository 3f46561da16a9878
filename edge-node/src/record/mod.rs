//! From what a keeper typed to a durable fact: texts are checked against master data, then given to
//! the journal. Knows no HTTP and no terminal. Invariant: what is refused leaves no trace.

pub mod arrivals;
pub mod check;
pub mod input;
pub mod refusal;

use std::sync::Arc;

use shared::fact::statement::PolicyKind;
use shared::ids::{Capture, PersonNo};
use shared::time::{OffsetMinutes, Timestamp};

pub use arrivals::{Arrival, Arrivals};
pub use check::Origin;
pub use input::{GroupInput, LineInput, Moment};
pub use refusal::{Refusal, Refused};

use crate::journal::{Clock, IdempotencyKey, Journal, Recorded, Submission};

const KEY_BYTES_MAX: usize = 200;

/// Checks and records groups.
#[derive(Clone)]
pub struct Recorder {
    journal: Journal,
    clock: Arc<dyn Clock>,
    zone: jiff::tz::TimeZone,
    arrivals: Arrivals,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Records into `journal`; dates without a zone are of `zone`.
    pub fn new(journal: Journal, clock: Arc<dyn Clock>, zone: jiff::tz::TimeZone) -> Self {
        Self { journal, clock, zone, arrivals: Arrivals::default() }
    }

    /// Goods on their way here that their senders told of.
    pub const fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// The journal.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The site's zone.
    pub const fn zone(&self) -> &jiff::tz::TimeZone {
        &self.zone
    }

    /// By the node's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How far the site's time is ahead of UTC now.
    pub fn offset(&self, at: Timestamp) -> OffsetMinutes {
        offset_in(&self.zone, at)
    }

    /// Records groups, each whole or not at all; answers in the same order, all durable.
    pub async fn record_many(
        &self,
        groups: &[GroupInput],
        origin: Origin,
    ) -> Vec<Result<Recorded, Refused>> {
        let (checked, submissions) = self.check_many(groups, origin);
        let received = received(&submissions);
        let answers = match submissions.len() {
            0 => Vec::new(),
            _ => self.journal.record_many(submissions).await,
        };
        self.note_received(&received, &answers);
        merge(checked, answers)
    }

    /// As [`Recorder::record_many`], from a thread that may block.
    pub fn record_many_blocking(
        &self,
        groups: &[GroupInput],
        origin: Origin,
    ) -> Vec<Result<Recorded, Refused>> {
        let (checked, submissions) = self.check_many(groups, origin);
        let received = received(&submissions);
        let answers = match submissions.len() {
            0 => Vec::new(),
            _ => self.journal.record_many_blocking(submissions),
        };
        self.note_received(&received, &answers);
        merge(checked, answers)
    }

    /// Records one group of a keeper.
    pub async fn record(&self, group: GroupInput) -> Result<Recorded, Refused> {
        let mut answers = self.record_many(&[group], Origin::Keeper).await;
        answers.pop().expect("one answer per group")
    }

    /// What is received is not announced any more.
    fn note_received(
        &self,
        received: &[Vec<Capture>],
        answers: &[Result<Recorded, crate::journal::RecordError>],
    ) {
        let recorded = received.iter().zip(answers).filter(|(_, answer)| answer.is_ok());
        recorded.flat_map(|(ships, _)| ships).for_each(|ship| self.arrivals.receive(*ship));
    }

    fn check_many(
        &self,
        groups: &[GroupInput],
        origin: Origin,
    ) -> (Vec<Option<Refused>>, Vec<Submission>) {
        let catalogue = self.journal.catalogue();
        let now = self.clock.now();
        let site = self.journal.genesis().site;
        let offset = self.offset(now);
        let arrivals = &self.arrivals.coming(&catalogue);
        let context = check::Context { catalogue: &catalogue, site, now, offset, origin, arrivals };
        let negative = catalogue.policy(PolicyKind::NegativeStock, site, now);
        let company = catalogue.site(site).map(|site| site.company);
        let mut submissions = Vec::with_capacity(groups.len());
        let checked = groups.iter().map(|group| {
            let lines = check_key(group).and_then(|()| check::check_group(&context, group));
            match lines {
                Err(refused) => Some(refused),
                Ok(lines) => {
                    let stated = group.occurred_at.map(|moment| moment.offset);
                    submissions.push(Submission {
                        key: idempotency_key(group),
                        lines,
                        person: group.person.map(PersonNo),
                        utc_offset: stated.unwrap_or(offset),
                        company,
                        negative_stock: negative != Some(0),
                    });
                    None
                }
            }
        });
        (checked.collect(), submissions)
    }
}

/// The ships that each group receives.
fn received(submissions: &[Submission]) -> Vec<Vec<Capture>> {
    let of_line = |line: &crate::journal::Line| line.statement.received_ship();
    let of_group = |group: &Submission| group.lines.iter().filter_map(of_line).collect();
    submissions.iter().map(of_group).collect()
}

fn check_key(group: &GroupInput) -> Result<(), Refused> {
    match &group.key {
        Some(key) if key.is_empty() || key.len() > KEY_BYTES_MAX => Err(Refused::Key(key.len())),
        _ => Ok(()),
    }
}

fn idempotency_key(group: &GroupInput) -> Option<IdempotencyKey> {
    group.key.as_deref().map(|key| IdempotencyKey::new(key, &group.content()))
}

fn merge(
    checked: Vec<Option<Refused>>,
    answers: Vec<Result<Recorded, crate::journal::RecordError>>,
) -> Vec<Result<Recorded, Refused>> {
    let mut answers = answers.into_iter();
    let merge = |refused: Option<Refused>| match refused {
        Some(refused) => Err(refused),
        None => answers.next().expect("one answer per submission").map_err(Refused::Journal),
    };
    checked.into_iter().map(merge).collect()
}

/// How far a zone is ahead of UTC at a time.
pub fn offset_in(zone: &jiff::tz::TimeZone, at: Timestamp) -> OffsetMinutes {
    let seconds = jiff::Timestamp::from_millisecond(at.0)
        .map_or(0, |instant| zone.to_offset(instant).seconds());
    OffsetMinutes(i16::try_from(seconds / 60).unwrap_or(0))
}
