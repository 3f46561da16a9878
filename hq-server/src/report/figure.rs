//! Figures, moments and names as reports print them. Knows nothing of the books; invariant: a
//! figure is exact, and its text reads back to the same figure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::money::{Amount, round_div};
use shared::quantity::Quantity;
use shared::time::{Day, OffsetMinutes, Timestamp};

/// An exact decimal: money in a currency's minor units, or a quantity in an item's smallest unit.
/// In JSON it is a string, so that no reader turns it into a binary fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    units: i128,
    decimals: u8,
}

/// A text that is no figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a decimal figure")]
pub struct NotAFigure(pub String);

impl Figure {
    /// `units` x 10^-`decimals`.
    pub const fn new(units: i128, decimals: u8) -> Self {
        Self { units, decimals }
    }

    /// An amount in a currency with `decimals`.
    pub const fn money(amount: Amount, decimals: u8) -> Self {
        Self::new(amount.0 as i128, decimals)
    }

    /// A quantity of an item with `decimals`.
    pub const fn quantity(quantity: Quantity, decimals: u8) -> Self {
        Self::new(quantity.0 as i128, decimals)
    }

    /// Value of one unit to four decimals beyond the currency's, for reading only; `None` when
    /// there is no quantity.
    pub fn unit_cost(value: Self, quantity: Self) -> Option<Self> {
        const EXTRA: u8 = 2;
        if quantity.units == 0 {
            return None;
        }
        let power = 10i128.pow(u32::from(quantity.decimals) + u32::from(EXTRA));
        let units = round_div(value.units.checked_mul(power)?, quantity.units);
        Some(Self::new(units, value.decimals + EXTRA))
    }

    /// The whole in smallest units.
    pub const fn units(self) -> i128 {
        self.units
    }

    /// How many digits stand after the point.
    pub const fn decimals(self) -> u8 {
        self.decimals
    }

    /// Nothing.
    pub const fn is_zero(self) -> bool {
        self.units == 0
    }

    /// Below nothing.
    pub const fn is_negative(self) -> bool {
        self.units < 0
    }

    /// The same figure with the other sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self::new(self.units.saturating_neg(), self.decimals)
    }

    /// The text with a comma between thousands, as people read it.
    pub fn grouped(self) -> String {
        let plain = self.to_string();
        let digits = plain.trim_start_matches('-');
        let (whole, part) = digits.split_once('.').map_or((digits, None), |(w, p)| (w, Some(p)));
        let mut text = String::with_capacity(plain.len() + whole.len() / 3 + 1);
        if self.units < 0 {
            text.push('-');
        }
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        if let Some(part) = part {
            text.push('.');
            text.push_str(part);
        }
        text
    }

    /// As [`Figure::grouped`], and nothing for zero: columns of debits and credits stay readable.
    pub fn grouped_or_blank(self) -> String {
        if self.is_zero() { String::new() } else { self.grouped() }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.decimals);
        let digits = format!("{:0>width$}", self.units.unsigned_abs(), width = places + 1);
        let (whole, part) = digits.split_at(digits.len() - places);
        let sign = if self.units < 0 { "-" } else { "" };
        if places == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{part}") }
    }
}

impl FromStr for Figure {
    type Err = NotAFigure;

    fn from_str(text: &str) -> Result<Self, NotAFigure> {
        let fail = || NotAFigure(text.to_owned());
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || whole.is_empty() {
            return Err(fail());
        }
        let units = format!("{whole}{part}").parse().map_err(|_| fail())?;
        Ok(Self::new(units, u8::try_from(part.len()).map_err(|_| fail())?))
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        as_text::deserialize(deserializer)
    }
}

/// An instant as the company's zone shows it: `2026-11-24T19:31:25.123+08:00` in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// The zone it is shown in.
    pub zone: OffsetMinutes,
}

/// A text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time of the form 2026-11-24T19:31:25.123+08:00")]
pub struct NotAMoment(pub String);

impl Moment {
    /// The calendar day.
    pub fn day(self) -> Day {
        self.at.day(self.zone)
    }

    /// `19:31:25`.
    pub fn clock(self) -> String {
        let seconds = self.at.ms_of_day(self.zone) / 1_000;
        format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }

    /// Only what differs from `now`: `19:31:25` today, `11-23 19:31` this year, else with the year.
    pub fn short(self, now: &Self) -> String {
        let (day, today) = (self.day().to_string(), now.day().to_string());
        let (date, minute) = (&day[day.len() - 5..], &self.clock()[..5]);
        if day == today {
            self.clock()
        } else if day[..day.len() - 5] == today[..today.len() - 5] {
            format!("{date} {minute}")
        } else {
            format!("{day} {minute}")
        }
    }

    /// `2026-11-24 19:31:25`.
    pub fn text(self) -> String {
        format!("{} {}", self.day(), self.clock())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.0;
        let (sign, minutes) = (if zone < 0 { '-' } else { '+' }, zone.unsigned_abs());
        let ms = self.at.0.rem_euclid(1_000);
        write!(f, "{}T{}.{ms:03}{sign}", self.day(), self.clock())?;
        write!(f, "{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        parse_moment(text).ok_or_else(|| NotAMoment(text.to_owned()))
    }
}

fn parse_moment(text: &str) -> Option<Moment> {
    if !text.is_ascii() || text.len() != 29 {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i16>().ok();
    let day: Day = text[..10].parse().ok()?;
    let minutes = number(24, 26)? * 60 + number(27, 29)?;
    let zone = OffsetMinutes(if text.as_bytes()[23] == b'-' { -minutes } else { minutes });
    let seconds = i64::from(number(11, 13)?) * 3_600
        + i64::from(number(14, 16)?) * 60
        + i64::from(number(17, 19)?);
    let at = day.start(zone).0 + seconds * 1_000 + i64::from(number(20, 23)?);
    Some(Moment { at: Timestamp(at), zone })
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        as_text::deserialize(deserializer)
    }
}

/// Something with a permanent number, a code that people type and a name that they read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Named {
    /// The permanent number.
    pub no: u32,
    /// The code.
    pub code: String,
    /// The name.
    pub name: String,
}

/// JSON of what has a text that reads back: days, months, capture ids.
pub mod as_text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// The text.
    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    /// Back from the text.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Cow::<str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// As [`as_text`], where there may be none.
pub mod as_text_or_none {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// The text or null.
    pub fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    /// Back from the text or null.
    pub fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Option::<String>::deserialize(from)?
            .map(|text| text.parse().map_err(de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_group_and_read_back() {
        let cases = [
            (0, 2, "0.00", "0.00"),
            (-5, 2, "-0.05", "-0.05"),
            (123_456_789, 2, "1234567.89", "1,234,567.89"),
            (-123_456, 0, "-123456", "-123,456"),
            (1_000, 3, "1.000", "1.000"),
            (999, 0, "999", "999"),
        ];
        for (units, decimals, plain, grouped) in cases {
            let figure = Figure::new(units, decimals);
            assert_eq!((figure.to_string(), figure.grouped()), (plain.into(), grouped.into()));
            assert_eq!(plain.parse(), Ok(figure));
        }
        for wrong in
            ["", ".", "x", "1.x", "1.-2", "1e5", "999999999999999999999999999999999999999999"]
        {
            assert_eq!(wrong.parse::<Figure>(), Err(NotAFigure(wrong.to_owned())));
        }
    }

    #[test]
    fn unit_cost_is_value_over_quantity() {
        let cost = |value, quantity| Figure::unit_cost(Figure::new(value, 2), quantity);
        assert_eq!(cost(1_000, Figure::new(3, 0)), Some(Figure::new(33_333, 4)));
        assert_eq!(cost(1_000, Figure::new(3_000, 3)), Some(Figure::new(33_333, 4)));
        assert_eq!(cost(1_000, Figure::new(0, 0)), None);
    }

    #[test]
    fn moments_read_back() {
        for zone in [0, 480, -210] {
            let moment = Moment { at: Timestamp(1_795_519_885_123), zone: OffsetMinutes(zone) };
            assert_eq!(moment.to_string().parse(), Ok(moment));
        }
        let shanghai = Moment { at: Timestamp(1_795_519_885_123), zone: OffsetMinutes(480) };
        assert_eq!(shanghai.to_string(), "2026-11-24T19:31:25.123+08:00");
        assert_eq!(shanghai.text(), "2026-11-24 19:31:25");
        let days =
            |count: i64| Moment { at: Timestamp(shanghai.at.0 + count * 86_400_000), ..shanghai };
        assert_eq!(shanghai.short(&shanghai), "19:31:25");
        assert_eq!(shanghai.short(&days(1)), "11-24 19:31");
        assert_eq!(shanghai.short(&days(60)), "2026-11-24 19:31");
        assert!("2026-11-24".parse::<Moment>().is_err());
    }
}
