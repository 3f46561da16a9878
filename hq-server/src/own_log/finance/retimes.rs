//! Saying when facts in doubt happened, before it is recorded: a person's word, and what HQ knows by
//! itself. Pure.

use std::collections::BTreeMap;

use shared::fact::effective::LogRank;
use shared::fact::statement::{DoubtfulTime, Retime, Statement};
use shared::ids::{DeviceNo, LogId, Seq, SiteNo};
use shared::time::{Day, OffsetMinutes, Timestamp};

use super::{Desk, FinanceError};
use crate::books::{Books, Doubtful};
use crate::own_log::Group;

/// HQ places a fact by itself where it knows the time to within so much.
const CERTAIN_MS: i64 = 24 * 3_600_000;

/// A log of a site.
#[derive(Clone, Copy, Debug)]
pub struct LogOfSite {
    /// The site.
    pub site: SiteNo,
    /// The installation that writes it.
    pub device: DeviceNo,
    /// The log.
    pub log: LogId,
}

/// When facts in doubt happened.
#[derive(Clone, Debug)]
pub struct RetimeDraft {
    /// The site's code.
    pub site: String,
    /// The installation, where more than one of the site has such facts.
    pub device: Option<DeviceNo>,
    /// Every log of every site.
    pub logs: Vec<LogOfSite>,
    /// The first fact, by its place in the log.
    pub first: Seq,
    /// The last.
    pub last: Seq,
    /// When they happened: YEAR-MONTH-DAYTHOUR:MINUTE in the company's zone.
    pub at: String,
    /// A reason's code.
    pub reason: Option<String>,
}

impl Desk<'_> {
    /// Facts of a site whose time was in doubt happened then: one group. Where several say so of one
    /// fact, the last one holds.
    pub fn retime(&self, draft: &RetimeDraft) -> Result<Group, FinanceError> {
        let RetimeDraft { first, last, .. } = *draft;
        if last < first {
            return Err(FinanceError::BackwardsRange { first, last });
        }
        let log = self.log_in_doubt(draft)?;
        let rank = LogRank::of(&log);
        for seq in [first, last] {
            if !self.books.was_in_doubt(rank, seq) {
                return Err(FinanceError::NotInDoubt { site: draft.site.clone(), seq });
            }
        }
        let at = local_time(&draft.at, self.zone)?;
        let received = self.books.doubt_received_at(rank, first);
        if let Some(received) = received.filter(|received| at > *received) {
            return Err(FinanceError::AfterReceipt { seq: first, received });
        }
        let reason = self.reason(draft.reason.as_deref())?;
        let statements = vec![Statement::Retime(Retime { log, first, last, reason })];
        Ok(Group { occurred_at: Some(at), company: None, statements })
    }

    /// The log of a site that has the first of the facts, in doubt.
    fn log_in_doubt(&self, draft: &RetimeDraft) -> Result<LogId, FinanceError> {
        let (code, seq) = (draft.site.clone(), draft.first);
        let stated = self.catalogue.site_by_code(&draft.site);
        let stated = stated.ok_or_else(|| FinanceError::UnknownSite(code.clone()))?;
        if stated.company != self.company {
            let (what, company) = (format!("site '{code}'"), self.code_of(stated.company));
            return Err(FinanceError::OtherCompany { what, company });
        }
        let wanted = |of: &&LogOfSite| {
            of.site == stated.site && draft.device.is_none_or(|device| device == of.device)
        };
        let own: Vec<&LogOfSite> = draft.logs.iter().filter(wanted).collect();
        let progress: BTreeMap<LogRank, Seq> =
            self.books.progress().map(|(_, log, progress)| (log, progress.last)).collect();
        let has = |of: &&&LogOfSite| {
            progress.get(&LogRank::of(&of.log)).is_some_and(|last| draft.last <= *last)
        };
        let mut there = own.iter().filter(has).peekable();
        if there.peek().is_none() {
            return Err(FinanceError::NotReceived { site: code, seq: draft.last });
        }
        let mut doubted = there.filter(|of| self.books.was_in_doubt(LogRank::of(&of.log), seq));
        match (doubted.next(), doubted.next()) {
            (None, _) => Err(FinanceError::NotInDoubt { site: code, seq }),
            (Some(one), None) => Ok(one.log),
            (Some(_), Some(_)) => Err(FinanceError::SeveralLogs { site: code, seq }),
        }
    }
}

/// What HQ states by itself: facts in doubt whose time is known to within a day of one month happened at
/// the beginning of that span, just after what their log had before. A company may leave that to people.
pub fn known_closely(books: &Books, logs: &[LogOfSite]) -> Vec<Group> {
    let ids: BTreeMap<LogRank, LogId> =
        logs.iter().map(|of| (LogRank::of(&of.log), of.log)).collect();
    let mut known: Vec<(LogRank, Retime, Timestamp)> = Vec::new();
    let mut doubted: Vec<Doubtful<'_>> = books.in_doubt().collect();
    doubted.sort_by_key(|doubt| (doubt.group.log, doubt.group.first));
    for doubt in doubted {
        let rank = doubt.group.log;
        let (Some(log), Some(at)) = (ids.get(&rank), certain(books, &doubt)) else { continue };
        let (first, end) = (doubt.group.first, doubt.group.first.0 + doubt.group.len());
        match known.last_mut() {
            Some((of, retime, when)) if (*of, retime.last.next(), *when) == (rank, first, at) => {
                retime.last = Seq(end - 1);
            }
            _ => {
                let last = Seq(end - 1);
                known.push((rank, Retime { log: *log, first, last, reason: None }, at));
            }
        }
    }
    let group = |(_, retime, at)| Group {
        occurred_at: Some(at),
        company: None,
        statements: vec![Statement::Retime(retime)],
    };
    known.into_iter().map(group).collect()
}

/// When a group in doubt happened, where that is known closely enough for its company.
fn certain(books: &Books, doubt: &Doubtful<'_>) -> Option<Timestamp> {
    let (since, until) = (doubt.since?, doubt.until);
    let company_no = books.settings().site(doubt.group.site, until)?.company;
    let company = books.settings().company(company_no, until)?;
    let policy = books.settings().doubtful_time(company_no, until);
    let month = |at: Timestamp| at.day(company.zone).month();
    let close = since <= until && until.0 - since.0 <= CERTAIN_MS && month(since) == month(until);
    (close && policy == DoubtfulTime::WithinDay).then_some(since)
}

/// A time as people of the company write it.
fn local_time(written: &str, zone: OffsetMinutes) -> Result<Timestamp, FinanceError> {
    let parsed = || {
        let (day, time) = written.split_once(['T', ' '])?;
        let (hour, minute) = time.split_once(':')?;
        let two = |text: &str, limit: i64| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i64>().ok().filter(|number| digits && *number < limit)
        };
        let minutes = two(hour, 24)? * 60 + two(minute, 60)?;
        let day = day.parse::<Day>().ok()?;
        Some(Timestamp(day.start(zone).0 + minutes * 60_000))
    };
    parsed().ok_or_else(|| FinanceError::NotATime(written.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_companys_zone() {
        let zone = OffsetMinutes(480);
        let at = |text: &str| local_time(text, zone).map(|at| at.to_string());
        assert_eq!(at("2026-11-24T16:30").as_deref(), Ok("2026-11-24T08:30:00.000Z"));
        assert_eq!(at("2026-12-01 00:00").as_deref(), Ok("2026-11-30T16:00:00.000Z"));
        for wrong in ["2026-11-24", "2026-11-24T24:00", "2026-11-24T8:30", "2026-11-24T08:3x", "x"]
        {
            assert_eq!(at(wrong), Err(FinanceError::NotATime(wrong.to_owned())));
        }
    }
}
