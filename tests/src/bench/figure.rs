//! One figure of a benchmark, its aim, and how it is written: a JSON line for programs, a row for
//! people. The one place with floats: a rate or a share is no money and no stock.

#![expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "rates, shares and percentiles of a benchmark; no money, no stock"
)]

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use super::machine::Machine;

/// What a figure should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured, for example `one writer, p99`.
    pub metric: String,
    /// How much.
    pub value: f64,
    /// Of what, for example `movements/s`.
    pub unit: &'static str,
    /// What it should be.
    pub aim: Option<Aim>,
}

impl Figure {
    /// A figure without an aim.
    pub fn new(metric: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { metric: metric.into(), value, unit, aim: None }
    }

    /// A count without an aim.
    pub fn count(metric: impl Into<String>, count: u64, unit: &'static str) -> Self {
        Self::new(metric, count as f64, unit)
    }

    /// With what it should reach at least.
    #[must_use]
    pub fn at_least(self, aim: f64) -> Self {
        Self { aim: Some(Aim::AtLeast(aim)), ..self }
    }

    /// With what it should not exceed.
    #[must_use]
    pub fn at_most(self, aim: f64) -> Self {
        Self { aim: Some(Aim::AtMost(aim)), ..self }
    }

    /// Whether the aim is reached; `None` without one.
    pub fn reached(&self) -> Option<bool> {
        Some(match self.aim? {
            Aim::AtLeast(aim) => self.value >= aim,
            Aim::AtMost(aim) => self.value <= aim,
        })
    }

    /// One line of JSON, with the same members in every run.
    pub fn json(&self, name: &str, machine: &Machine) -> String {
        json!({
            "name": name,
            "metric": self.metric,
            "value": rounded(self.value),
            "unit": self.unit,
            "machine": machine.text,
            "commit": machine.commit,
        })
        .to_string()
    }
}

/// So many in a second.
pub fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}

/// `part` for each of `count`.
pub fn each(part: u64, count: u64) -> f64 {
    part as f64 / count.max(1) as f64
}

/// Nanoseconds for each of `count`.
pub fn nanoseconds_each(elapsed: Duration, count: u64) -> f64 {
    elapsed.as_nanos() as f64 / count.max(1) as f64
}

/// One measurement as a share of another.
pub fn share(of: f64, reference: f64) -> f64 {
    of / reference.max(1e-9)
}

/// How long each of many took.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    nanoseconds: Vec<u64>,
}

impl Durations {
    /// One more.
    pub fn add(&mut self, elapsed: Duration) {
        self.nanoseconds.push(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Those of another.
    pub fn extend(&mut self, other: Self) {
        self.nanoseconds.extend(other.nanoseconds);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.nanoseconds.len() as u64
    }

    /// The one that `per_mille` of all do not exceed, in milliseconds.
    pub fn milliseconds(&mut self, per_mille: usize) -> f64 {
        if self.nanoseconds.is_empty() {
            return 0.0;
        }
        self.nanoseconds.sort_unstable();
        let rank = (self.nanoseconds.len() * per_mille).div_ceil(1_000).max(1);
        self.nanoseconds[rank - 1] as f64 / 1e6
    }
}

/// A table of a benchmark's figures.
pub fn table(name: &str, figures: &[Figure]) -> String {
    let rows: Vec<[String; 5]> = figures
        .iter()
        .map(|figure| {
            let (aim, reached) = match figure.aim {
                None => (String::new(), String::new()),
                Some(aim) => {
                    let (sign, aim) = match aim {
                        Aim::AtLeast(aim) => (">=", aim),
                        Aim::AtMost(aim) => ("<=", aim),
                    };
                    let word = if figure.reached() == Some(true) { "reached" } else { "missed" };
                    (format!("{sign} {}", readable(aim)), word.to_owned())
                }
            };
            [figure.metric.clone(), readable(figure.value), figure.unit.to_owned(), aim, reached]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [first, second, third, fourth] = [width(0), width(1), width(2), width(3)];
    let mut out = format!("{name}\n");
    for [metric, value, unit, aim, reached] in &rows {
        let row =
            format!("  {metric:first$}  {value:>second$} {unit:third$}  {aim:>fourth$} {reached}");
        writeln!(out, "{}", row.trim_end()).expect("a string takes everything");
    }
    out
}

/// Three significant digits at least, thousands apart.
fn readable(value: f64) -> String {
    if value.abs() < 100.0 {
        let decimals = if value.abs() < 10.0 { 2 } else { 1 };
        let text = format!("{value:.decimals$}");
        let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
        return text.trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
    let mut out = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Four decimals are more than any figure here is good for.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let mut durations = Durations::default();
        assert_eq!(format!("{:.1}", durations.milliseconds(500)), "0.0");
        for ms in (1..=200).rev() {
            durations.add(Duration::from_millis(ms));
        }
        for (per_mille, expected) in [(500, "100.0"), (990, "198.0"), (1_000, "200.0"), (0, "1.0")]
        {
            assert_eq!(format!("{:.1}", durations.milliseconds(per_mille)), expected);
        }
    }

    #[test]
    fn a_table_says_what_was_reached() {
        let figures = [
            Figure::new("many", 1_234_567.2, "facts/s").at_least(300_000.0),
            Figure::new("few", 12.34, "B").at_most(7.0),
            Figure::new("share", 0.7, "of it"),
        ];
        let expected = "a name\n  many   1,234,567 facts/s  >= 300,000 reached\n  \
                        few         12.3 B              <= 7 missed\n  \
                        share        0.7 of it\n";
        assert_eq!(table("a name", &figures), expected);
    }
}
