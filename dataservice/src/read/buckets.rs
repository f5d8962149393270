//! Cutting a range of a clock into stretches in which all buckets are equally long.
//!
//! Owns: what a change of clocks does to the buckets of a local range. Does not own: the grid itself
//! ([`wattline_series::Buckets`]), aggregating (`storage`, which counts microseconds from an origin).

use jiff::tz::TimeZone;
use wattline_model::{TimeRange, Timestamp};
use wattline_series::{Buckets as Grid, Step, Zone};
use wattline_storage::Buckets;

use crate::error::Result;

/// A stretch of a range. Its first bucket begins where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) range: TimeRange,
    pub(super) buckets: Buckets,
}

/// Buckets of `micros` from the start of `range` on, all equally long.
pub(super) fn absolute(range: TimeRange, micros: i64) -> Vec<Stretch> {
    vec![Stretch { range, buckets: Buckets::Every { origin: range.start.0, micros } }]
}

/// Buckets of `micros` on the clock of `zone` from the start of `range` on. Where the clocks change, the bucket that
/// holds the change is longer or shorter: a day has 23 or 25 hours.
pub(super) fn local(range: TimeRange, micros: i64, zone: &TimeZone) -> Result<Vec<Stretch>> {
    let zone = Zone::from(zone.clone());
    let mut grid = Grid::new(Step::Micros(micros), Some(range.start), zone.clone())?;
    let mut stretches = Vec::new();
    let mut at = range.start.0;
    while at < range.end.0 {
        let change = zone.span(at).until;
        if change >= range.end.0 {
            stretches.extend(absolute(TimeRange::new(Timestamp(at), range.end), micros));
            break;
        }
        let holds = grid.start(Timestamp(change))?.0.max(at);
        if holds > at {
            stretches.extend(absolute(TimeRange::new(Timestamp(at), Timestamp(holds)), micros));
        }
        let next = grid.next(Timestamp(change))?.0.min(range.end.0);
        let range = TimeRange::new(Timestamp(holds), Timestamp(next));
        stretches.push(Stretch { range, buckets: Buckets::Every { origin: holds, micros: next - holds } });
        at = next;
    }
    Ok(stretches)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    /// Starts and hours of all buckets.
    fn cut(start: &str, end: &str, hours: i64) -> Vec<(String, i64)> {
        let range = TimeRange::new(Timestamp(at(start)), Timestamp(at(end)));
        let zone = wattline_registry::timezone("Europe/Berlin").unwrap();
        let mut all = Vec::new();
        for stretch in local(range, hours * HOUR, &zone).unwrap() {
            let Buckets::Every { origin, micros } = stretch.buckets else { panic!("cut") };
            let mut from = origin;
            while from < stretch.range.end.0 {
                let to = (from + micros).min(stretch.range.end.0);
                let time = jiff::Timestamp::from_microsecond(from).unwrap().to_string();
                all.push((time, (to - from) / HOUR));
                from = to;
            }
        }
        all
    }

    fn expected(list: &[(&str, i64)]) -> Vec<(String, i64)> {
        list.iter().map(|&(time, hours)| (time.to_owned(), hours)).collect()
    }

    #[test]
    fn days_across_a_change_are_from_midnight_to_midnight() {
        // 30 March 24 h, 31 March 23 h, 1 April 24 h.
        assert_eq!(
            cut("2024-03-29T23:00:00Z", "2024-04-01T22:00:00Z", 24),
            expected(&[
                ("2024-03-29T23:00:00Z", 24),
                ("2024-03-30T23:00:00Z", 23),
                ("2024-03-31T22:00:00Z", 24)
            ])
        );
        assert_eq!(
            cut("2024-10-25T22:00:00Z", "2024-10-28T23:00:00Z", 24),
            expected(&[
                ("2024-10-25T22:00:00Z", 24),
                ("2024-10-26T22:00:00Z", 25),
                ("2024-10-27T23:00:00Z", 24)
            ])
        );
    }

    #[test]
    fn hours_are_hours() {
        let day = cut("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z", 1);
        assert_eq!(day.len(), 25);
        assert!(day.iter().all(|(_, hours)| *hours == 1), "{day:?}");
        assert_eq!(cut("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", 1).len(), 23);
    }

    #[test]
    fn longer_buckets_keep_to_the_clock() {
        // 0, 6, 12 and 18 o'clock: the first one has seven hours in October and five in March.
        let october = cut("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z", 6);
        assert_eq!(october.iter().map(|b| b.1).collect::<Vec<_>>(), [7, 6, 6, 6]);
        let march = cut("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", 6);
        assert_eq!(march.iter().map(|b| b.1).collect::<Vec<_>>(), [5, 6, 6, 6]);
        assert_eq!(march[1].0, "2024-03-31T04:00:00Z");
    }
}
