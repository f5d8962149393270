//! Searching records of devices: what a page is, and which times are meant.
//!
//! Owns: pagination, the range of a search, the newest rows of many without holding all of them, local times in answers.
//! Does not own: what is searched (`events`; commands are the `server`'s).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use wattline_model::{AssetId, Kind, ModelId, PointId, TimeRange, Timestamp, ValueRef};
use wattline_storage::ScanRequest;

use crate::error::{Error, Result};
use crate::limits::{SEARCH_DEPTH_MAX, SEARCH_PAGE_MAX};
use crate::service::{Call, DataService};
use crate::time::{Time, read_time, write_civil};

/// Which part of what was found is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    number: usize,
    size: usize,
}

impl Page {
    /// `pagination` of a body: `{"pageNo": 1, "pageSize": 10}`.
    ///
    /// # Errors
    /// Where it is no page, asks for an order, or lies deeper than a search looks.
    pub fn read(body: &Map<String, Json>, size_default: usize) -> Result<Page> {
        let asked = match body.get("pagination") {
            None | Some(Json::Null) => return Ok(Page { number: 1, size: size_default }),
            Some(Json::Object(asked)) => asked,
            Some(_) => return Err(Error::invalid("pagination: expected an object")),
        };
        let ordered = |value: &Json| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
        if let Some(name) = ["sorters", "sortedBy"].into_iter().find(|n| asked.get(*n).is_some_and(ordered)) {
            return Err(Error::invalid(format!("pagination.{name}: the newest come first, always")));
        }
        let number = |name: &str, default: usize, most: usize| match asked.get(name) {
            None | Some(Json::Null) => Ok(default),
            Some(value) => {
                let given = value.as_u64().or_else(|| value.as_str()?.parse().ok());
                let given = given.and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=most).contains(n));
                given.ok_or_else(|| {
                    Error::invalid(format!("pagination.{name}: {value} is not from 1 to {most}"))
                })
            }
        };
        let page = Page {
            number: number("pageNo", 1, SEARCH_DEPTH_MAX)?,
            size: number("pageSize", size_default, SEARCH_PAGE_MAX)?,
        };
        if page.number.saturating_mul(page.size) > SEARCH_DEPTH_MAX {
            let what = "ask for a shorter range of time";
            return Err(Error::invalid(format!(
                "pagination: only the first {SEARCH_DEPTH_MAX} are paged; {what}"
            )));
        }
        Ok(page)
    }

    /// How many rows must be known to answer it.
    pub fn rows(&self) -> usize {
        self.number * self.size
    }

    /// Its part of all rows in order.
    pub fn of<T>(&self, rows: Vec<T>) -> Vec<T> {
        rows.into_iter().skip((self.number - 1) * self.size).take(self.size).collect()
    }

    /// What is told of it.
    pub fn json(&self, total: usize) -> Json {
        json!({"sortedBy": null, "pageNo": self.number, "pageSize": self.size, "totalSize": total})
    }
}

/// The range of a search: each end as the clock of each asset shows it, or an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    start: Time,
    end: Time,
}

/// Local times lie at most so far from UTC.
const ZONES_APART_MICROS: i64 = 26 * 3_600_000_000;

impl Between {
    /// `startTime` and `endTime` of a body; where one is missing it is `length` before the other, or now.
    pub(crate) fn read(body: &Map<String, Json>, now_micros: i64, length: i64) -> Result<Between> {
        let given = |name: &str| match body.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Json::String(text)) => read_time(name, text.trim()).map(Some),
            Some(_) => Err(Error::invalid(format!("{name}: expected a text"))),
        };
        let now = Time::Absolute(Timestamp(now_micros.saturating_add(1)));
        let end = given("endTime")?.unwrap_or(now);
        let start = match (given("startTime")?, end) {
            (Some(start), _) => start,
            (None, Time::Absolute(end)) => Time::Absolute(Timestamp(end.0.saturating_sub(length))),
            (None, Time::Local(end)) => {
                let back = jiff::SignedDuration::from_micros(length);
                Time::Local(end.saturating_sub(back))
            }
        };
        Ok(Between { start, end })
    }

    /// A range that holds what is meant in every zone.
    pub(crate) fn widest(&self) -> Result<TimeRange> {
        let (start, end) = (instant(self.start, &TimeZone::UTC)?, instant(self.end, &TimeZone::UTC)?);
        let spare = |time: Time| if matches!(time, Time::Local(_)) { ZONES_APART_MICROS } else { 0 };
        Ok(TimeRange::new(
            Timestamp(start.0.saturating_sub(spare(self.start))),
            Timestamp(end.0.saturating_add(spare(self.end))),
        ))
    }

    /// What is meant in `zone`.
    pub(crate) fn of(&self, zone: &TimeZone) -> Result<TimeRange> {
        Ok(TimeRange::new(instant(self.start, zone)?, instant(self.end, zone)?))
    }
}

fn instant(time: Time, zone: &TimeZone) -> Result<Timestamp> {
    match time {
        Time::Absolute(instant) => Ok(instant),
        Time::Local(shown) => {
            let instant = zone.to_timestamp(shown);
            let instant = instant.map_err(|_| Error::invalid(format!("{shown} is beyond all time")))?;
            Ok(Timestamp(instant.as_microsecond()))
        }
    }
}

/// What the clock of `zone` shows at `micros`, as answers write it.
pub fn local_time(zone: &TimeZone, micros: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_microsecond(micros) else { return String::new() };
    let mut out = Vec::new();
    let offset = i64::from(zone.to_offset(time).seconds()) * 1_000_000;
    write_civil(&mut out, micros.saturating_add(offset), b' ', false);
    String::from_utf8(out).unwrap_or_default()
}

/// A text of a search as a time, on the clock of `zone` where it is local.
pub fn time_in(zone: &TimeZone, text: &str) -> Option<i64> {
    let time = read_time("expression", text).ok()?;
    instant(time, zone).ok().map(|time| time.0)
}

impl DataService {
    /// The newest `rows` samples of a text point of one asset in `range` that `keep` lets through, the newest first, and
    /// how many it lets through in all. Reads history.
    ///
    /// # Errors
    /// Where the store fails, or the call was given up.
    #[expect(clippy::too_many_arguments, reason = "where, what of it, and the call: each is one thing")]
    pub fn newest_records(
        &self,
        model: ModelId,
        point: PointId,
        asset: AssetId,
        range: TimeRange,
        rows: usize,
        keep: &dyn Fn(i64, &str) -> bool,
        call: &Call<'_>,
    ) -> Result<(Vec<(i64, String)>, usize)> {
        let request = ScanRequest {
            model,
            points: vec![(point, Kind::Text)],
            assets: Some(vec![asset]),
            range,
            every_row: false,
            batch_rows: 1_024,
        };
        let mut newest = NewestOf::new(rows);
        for scan in self.store.snapshot().scan(&request) {
            for batch in scan {
                if (call.stopped)() {
                    return Err(Error::stopped("the call was given up or took too long"));
                }
                let batch = batch?;
                for (row, &time) in batch.times.iter().enumerate() {
                    let ValueRef::Text(text) = batch.columns[0].values.get(row) else { continue };
                    if keep(time, text) {
                        newest.offer(time, asset, point, || text.to_owned());
                    }
                }
            }
        }
        let total = newest.total;
        Ok((newest.into_sorted().into_iter().map(|found| (found.time, found.text)).collect(), total))
    }
}

/// A record found: newest first, then by asset and point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) time: i64,
    pub(crate) asset: Reverse<AssetId>,
    pub(crate) point: Reverse<PointId>,
    pub(crate) text: String,
}

/// The newest of many.
pub(crate) struct NewestOf {
    most: usize,
    heap: BinaryHeap<Reverse<Found>>,
    /// How many were offered.
    pub(crate) total: usize,
}

impl NewestOf {
    pub(crate) fn new(most: usize) -> NewestOf {
        NewestOf { most, heap: BinaryHeap::new(), total: 0 }
    }

    /// Takes one into account. Its text is asked for only where it is one of the newest so far.
    pub(crate) fn offer(&mut self, time: i64, asset: AssetId, point: PointId, text: impl FnOnce() -> String) {
        self.total += 1;
        let (asset, point) = (Reverse(asset), Reverse(point));
        if self.heap.len() >= self.most {
            let Some(Reverse(oldest)) = self.heap.peek() else { return };
            if (oldest.time, oldest.asset, oldest.point) >= (time, asset, point) {
                return;
            }
            self.heap.pop();
        }
        self.heap.push(Reverse(Found { time, asset, point, text: text() }));
    }

    /// The newest, the very newest first.
    pub(crate) fn into_sorted(self) -> Vec<Found> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(found)| found).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_many_are_kept_in_order_whatever_order_they_come_in() {
        let mut newest = NewestOf::new(3);
        for time in [5, 1, 9, 7, 3, 9] {
            newest.offer(time, AssetId(1), PointId(0), || time.to_string());
        }
        assert_eq!(newest.total, 6);
        let times: Vec<i64> = newest.into_sorted().iter().map(|found| found.time).collect();
        assert_eq!(times, [9, 9, 7]);
    }

    #[test]
    fn pages_are_bounded_and_of_one_order() {
        let read = |json: Json| Page::read(&Map::from_iter([("pagination".to_owned(), json)]), 10);
        let page = read(json!({"pageNo": "2", "pageSize": 3})).unwrap();
        assert_eq!((page.rows(), page.of((0..9).collect())), (6, vec![3, 4, 5]));
        assert_eq!(Page::read(&Map::new(), 10).unwrap().rows(), 10);
        assert_eq!(read(json!({"sorters": []})).unwrap().rows(), 10);
        for bad in [
            json!(1),
            json!({"pageNo": 0}),
            json!({"pageSize": 1_001}),
            json!({"pageNo": 1_001, "pageSize": 10}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        let error = read(json!({"sorters": [{"field": "x"}]})).unwrap_err();
        assert!(error.to_string().contains("newest come first"), "{error}");
    }

    #[test]
    fn a_search_without_times_is_about_the_time_before_now() {
        let hour = 3_600_000_000;
        let between = |body: Json| {
            let body = body.as_object().unwrap().clone();
            Between::read(&body, 10 * hour, hour).unwrap()
        };
        assert_eq!(
            between(json!({})).widest().unwrap(),
            TimeRange::new(Timestamp(9 * hour + 1), Timestamp(10 * hour + 1))
        );
        let local = between(json!({"startTime": "1970-01-02 08:00:00", "endTime": "1970-01-02 09:00:00"}));
        let zone = wattline_registry::timezone("+08:00").unwrap();
        assert_eq!(local.of(&zone).unwrap(), TimeRange::new(Timestamp(24 * hour), Timestamp(25 * hour)));
        assert!(local.widest().unwrap().contains(Timestamp(24 * hour)));
        assert_eq!(local_time(&zone, 24 * hour), "1970-01-02 08:00:00");
    }
}
