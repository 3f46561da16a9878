//! The chart of the last days as plain SVG, for readers without scripts. Whole numbers only.

use crate::report::dashboard::DayValue;
use crate::report::figure::Figure;

const WIDTH: i128 = 720;
const HEIGHT: i128 = 160;
const PAD: i128 = 6;

/// A line over days.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chart {
    /// Points of the line, as SVG writes them.
    pub(super) line: String,
    /// Points of the area below.
    pub(super) area: String,
    /// The highest value.
    pub(super) high: Figure,
    /// The lowest value.
    pub(super) low: Figure,
    /// The days and values for the script: `2026-11-24=12.50` with commas between.
    pub(super) data: String,
}

impl Chart {
    /// Draws the days from left to right.
    pub(super) fn of(days: &[DayValue]) -> Self {
        let values = || days.iter().map(|day| day.value);
        let by_units = |figure: &Figure| figure.units();
        let (Some(low), Some(high)) =
            (values().min_by_key(by_units), values().max_by_key(by_units))
        else {
            return Self::default();
        };
        let points: Vec<String> = values()
            .enumerate()
            .map(|(place, value)| {
                let (x, y) = (across(place, days.len()), up(value, low, high));
                format!("{x},{y}")
            })
            .collect();
        let line = points.join(" ");
        let last = across(days.len() - 1, days.len());
        let area = format!("{},{HEIGHT} {line} {last},{HEIGHT}", across(0, days.len()));
        let data: Vec<String> =
            days.iter().map(|day| format!("{}={}", day.day, day.value)).collect();
        Self { line, area, high, low, data: data.join(",") }
    }
}

fn across(place: usize, count: usize) -> i128 {
    let steps = i128::try_from(count).expect("a list fits memory") - 1;
    let place = i128::try_from(place).expect("a list fits memory");
    if steps == 0 { WIDTH / 2 } else { place * WIDTH / steps }
}

fn up(value: Figure, low: Figure, high: Figure) -> i128 {
    let (span, above) = (high.units() - low.units(), value.units() - low.units());
    let room = HEIGHT - 2 * PAD;
    if span == 0 { HEIGHT / 2 } else { HEIGHT - PAD - above * room / span }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::time::Day;

    #[test]
    fn draws_within_its_frame() {
        let day = |day, value| DayValue { day: Day(day), value: Figure::new(value, 2) };
        let chart = Chart::of(&[day(0, 100), day(1, i128::from(i64::MAX)), day(2, -50)]);
        assert_eq!(chart.line, "0,154 360,6 720,154");
        assert_eq!(
            (chart.low, chart.high),
            (Figure::new(-50, 2), Figure::new(i128::from(i64::MAX), 2))
        );
        assert_eq!(Chart::of(&[day(0, 7)]).line, "360,80");
        assert_eq!(Chart::of(&[]), Chart::default());
    }
}
