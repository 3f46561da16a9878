//! Instants, days and months as integers. Knows no clock and no time-zone database: a company's
//! zone is a fixed offset that its master data states.

use std::fmt;

use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 86_400_000;

/// UTC milliseconds since 1970-01-01.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// How far local time is ahead of UTC, in minutes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct OffsetMinutes(pub i16);

/// A calendar day, counted from 1970-01-01.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Day(pub i32);

/// A ledger month: year x 12 + (month - 1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Month(pub i32);

impl Timestamp {
    /// The calendar day in a zone that is `offset` ahead of UTC.
    pub fn day(self, offset: OffsetMinutes) -> Day {
        let local = self.0 + i64::from(offset.0) * 60_000;
        Day(i32::try_from(local.div_euclid(DAY_MS))
            .expect("instants are below 2^53 ms, so days fit 32 bits"))
    }

    /// Milliseconds into the local day.
    pub fn ms_of_day(self, offset: OffsetMinutes) -> i64 {
        (self.0 + i64::from(offset.0) * 60_000).rem_euclid(DAY_MS)
    }
}

impl Day {
    /// (year, month 1-12, day 1-31), proleptic Gregorian.
    ///
    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    pub fn civil(self) -> (i32, u32, u32) {
        let z = i64::from(self.0) + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |number: i64| i32::try_from(number).expect("a day of 32 bits has a small year");
        (small(year), small(month).cast_unsigned(), small(day).cast_unsigned())
    }

    /// The day of a civil date; `None` where there is no such date.
    ///
    /// Source: as [`Day::civil`], `days_from_civil`.
    pub fn from_civil(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year.abs() > 200_000 {
            return None;
        }
        let shifted_year = i64::from(year) - i64::from(month <= 2);
        let era = shifted_year.div_euclid(400);
        let year_of_era = shifted_year.rem_euclid(400);
        let shifted_month = (i64::from(month) + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let found = Self(i32::try_from(era * 146_097 + day_of_era - 719_468).ok()?);
        (found.civil() == (year, month, day)).then_some(found)
    }

    /// The month the day lies in.
    pub fn month(self) -> Month {
        let (year, month, _) = self.civil();
        Month(year * 12 + month.cast_signed() - 1)
    }

    /// The day after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Midnight at the start of the day in a zone that is `offset` ahead of UTC.
    pub fn start(self, offset: OffsetMinutes) -> Timestamp {
        Timestamp(i64::from(self.0) * DAY_MS - i64::from(offset.0) * 60_000)
    }
}

impl Month {
    /// The month after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The month before it.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0 - 1)
    }

    /// Its first day; `None` beyond the years that days can tell.
    pub fn first_day(self) -> Option<Day> {
        let (year, month) = (self.0.div_euclid(12), self.0.rem_euclid(12) + 1);
        Day::from_civil(year, month.unsigned_abs(), 1)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

impl fmt::Display for Timestamp {
    /// ISO 8601 in UTC, to the millisecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = OffsetMinutes(0);
        let ms = self.ms_of_day(utc);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}.{:03}Z", self.day(utc), ms % 1_000)
    }
}

/// A text that is no date of the form 2026-11-24, or no month of the form 2026-11.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a date: write YEAR-MONTH-DAY, for example 2026-11-24")]
pub struct NotADate(pub String);

impl std::str::FromStr for Day {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        let mut parts = text.splitn(3, '-').map(str::parse::<u32>);
        let (Some(Ok(year)), Some(Ok(month)), Some(Ok(day))) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(NotADate(text.to_owned()));
        };
        i32::try_from(year)
            .ok()
            .and_then(|year| Self::from_civil(year, month, day))
            .ok_or_else(|| NotADate(text.to_owned()))
    }
}

impl std::str::FromStr for Month {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        Ok(format!("{text}-01").parse::<Day>().map_err(|_| NotADate(text.to_owned()))?.month())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months() {
        for (text, days) in
            [("1970-01-01", 0), ("1969-12-31", -1), ("2000-02-29", 11_016), ("2026-11-24", 20_781)]
        {
            let day: Day = text.parse().expect("a date");
            assert_eq!((day.0, day.to_string()), (days, text.to_owned()));
        }
        for wrong in ["2026-02-29", "2026-13-01", "2026-00-10", "24.11.2026", "2026-11", ""] {
            assert_eq!(wrong.parse::<Day>(), Err(NotADate(wrong.to_owned())));
        }
        assert_eq!(Timestamp(0).day(OffsetMinutes(-60)).to_string(), "1969-12-31");
        assert_eq!(Timestamp(1).day(OffsetMinutes(480)).month().to_string(), "1970-01");
        assert_eq!(Timestamp(1_795_519_885_123).to_string(), "2026-11-24T11:31:25.123Z");
    }
}
