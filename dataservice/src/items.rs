//! Items: samples of a call in the shape the caller wants (data service §1.6).
//!
//! Owns: `itemFormat`, the names of members, local times beside timestamps. Does not own: which samples (`read`), the
//! envelope around them (`answer`).
//!
//! Written as text at once: an answer has up to 640,000 rows, and a tree of them would cost many times the text.

use wattline_model::Quality;

use crate::cell::{Cell, push_json};
use crate::error::{Error, Result};
use crate::params::{Params, Version};
use crate::selection::Selection;
use crate::time::LocalForm;

/// A sample of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Microseconds since the epoch.
    pub(crate) time: i64,
    pub(crate) value: Cell,
    pub(crate) quality: Option<Quality>,
}

/// The rows of one point of one asset.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// The place of the asset in the selection.
    pub(crate) asset: usize,
    /// What its values are called.
    pub(crate) key: String,
    /// Whether the point has a quality.
    pub(crate) has_quality: bool,
    /// In the order of the answer.
    pub(crate) rows: Vec<Row>,
}

/// What stands under `localtime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalTime {
    /// There is no such member.
    Absent,
    /// `null`: v2.0 where times were asked for with an offset.
    Null,
    /// The local time.
    Written(LocalForm),
}

/// How samples are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    format: i64,
    local: LocalTime,
    quality: bool,
    descending: bool,
}

impl Shape {
    /// `itemFormat`, with these local times.
    pub(crate) fn read(params: &Params, local: LocalTime) -> Result<Shape> {
        let format = match params.version() {
            Version::V20 => 0,
            Version::V21 => params.int_within("itemFormat", 0, 0, 2)?,
        };
        Ok(Shape { format, local, quality: false, descending: false })
    }

    /// For an operation that has `withQuality`.
    pub(crate) fn with_quality(self, params: &Params) -> Result<Shape> {
        Ok(Shape { quality: params.flag("withQuality", false)?, ..self })
    }

    /// For rows whose times descend.
    pub(crate) fn descending(self, descending: bool) -> Shape {
        Shape { descending, ..self }
    }

    /// Whether qualities are wanted.
    pub(crate) fn wants_quality(&self) -> bool {
        self.quality
    }

    /// All items of `series`, which come asset by asset, without the brackets around them.
    ///
    /// # Errors
    /// Too large where the text passes its limit.
    pub(crate) fn write(&self, selection: &mut Selection, series: &[Series]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        match self.format {
            0 => {
                let mut member = Vec::new();
                for one in series {
                    // What all rows of a series have in common is escaped once.
                    member.clear();
                    self.member(&mut member, &one.key);
                    let head = head_of_item(&selection.assets[one.asset].device.asset_key);
                    out.reserve(one.rows.len() * (head.len() + member.len() + ROW_BYTES));
                    for row in &one.rows {
                        self.begin_item(&mut out, &head, selection, one.asset, row.time);
                        out.extend_from_slice(&member);
                        row.value.write(&mut out);
                        if self.quality {
                            self.member(&mut out, "quality");
                            write_quality(&mut out, one, row);
                        }
                        out.push(b'}');
                    }
                    check_size(&out)?;
                }
            }
            1 => {
                for of_asset in series.chunk_by(|a, b| a.asset == b.asset) {
                    self.write_merged(&mut out, selection, of_asset);
                    check_size(&out)?;
                }
            }
            _ => {
                for one in series.iter().filter(|one| !one.rows.is_empty()) {
                    self.write_columns(&mut out, selection, one);
                    check_size(&out)?;
                }
            }
        }
        Ok(out)
    }

    /// One item for each time, with the values of all points.
    fn write_merged(&self, out: &mut Vec<u8>, selection: &mut Selection, of_asset: &[Series]) {
        let places = of_asset.iter().enumerate();
        let mut places: Vec<(i64, usize, usize)> = places
            .flat_map(|(s, one)| one.rows.iter().enumerate().map(move |(r, row)| (row.time, s, r)))
            .collect();
        places.sort_unstable_by_key(|&(time, s, r)| (if self.descending { -time } else { time }, s, r));
        let head = head_of_item(&selection.assets[of_asset[0].asset].device.asset_key);
        for instant in places.chunk_by(|a, b| a.0 == b.0) {
            self.begin_item(out, &head, selection, of_asset[0].asset, instant[0].0);
            for &(_, s, r) in instant {
                self.member(out, &of_asset[s].key);
                of_asset[s].rows[r].value.write(out);
            }
            if self.quality {
                self.member(out, "quality");
                out.push(b'{');
                for (i, &(_, s, r)) in instant.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    push_json(out, &of_asset[s].key);
                    out.push(b':');
                    write_quality(out, &of_asset[s], &of_asset[s].rows[r]);
                }
                out.push(b'}');
            }
            out.push(b'}');
        }
    }

    /// One item for the point, with arrays.
    fn write_columns(&self, out: &mut Vec<u8>, selection: &mut Selection, one: &Series) {
        separate(out);
        out.extend_from_slice(b"{\"assetId\":");
        let asset = &selection.assets[one.asset];
        push_json(out, &*asset.device.asset_key);
        out.extend_from_slice(b",\"pointId\":");
        push_json(out, &one.key);
        if let LocalTime::Written(form) = self.local {
            let clock = selection.zones.clock(asset.zone);
            self.array(out, "localTime", one, |out, row| {
                out.push(b'"');
                clock.write(out, row.time, form);
                out.push(b'"');
            });
        }
        self.array(out, "timestamp", one, |out, row| push_json(out, &row.time.div_euclid(1_000)));
        self.array(out, "value", one, |out, row| row.value.write(out));
        if self.quality {
            self.array(out, "dataQuality", one, |out, row| match quality(one, row) {
                Some(code) => push_json(out, &code),
                None => out.extend_from_slice(b"null"),
            });
        }
        out.push(b'}');
    }

    fn array(&self, out: &mut Vec<u8>, name: &str, one: &Series, mut write: impl FnMut(&mut Vec<u8>, &Row)) {
        self.member(out, name);
        out.push(b'[');
        for (i, row) in one.rows.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write(out, row);
        }
        out.push(b']');
    }

    fn member(&self, out: &mut Vec<u8>, name: &str) {
        out.push(b',');
        push_json(out, name);
        out.push(b':');
    }

    /// `{"assetId":…,"timestamp":…,"localtime":…` of an item.
    fn begin_item(&self, out: &mut Vec<u8>, head: &[u8], selection: &mut Selection, asset: usize, time: i64) {
        separate(out);
        out.extend_from_slice(head);
        push_json(out, &time.div_euclid(1_000));
        match self.local {
            LocalTime::Absent => {}
            LocalTime::Null => out.extend_from_slice(b",\"localtime\":null"),
            LocalTime::Written(form) => {
                out.extend_from_slice(b",\"localtime\":\"");
                selection.zones.clock(selection.assets[asset].zone).write(out, time, form);
                out.push(b'"');
            }
        }
    }
}

/// `{"assetId":…,"timestamp":` of the items of an asset.
fn head_of_item(asset_key: &str) -> Vec<u8> {
    let mut head = b"{\"assetId\":".to_vec();
    push_json(&mut head, asset_key);
    head.extend_from_slice(b",\"timestamp\":");
    head
}

/// About what a row has besides: timestamp, local time, a number, brackets.
const ROW_BYTES: usize = 72;

/// A comma, unless `out` holds nothing yet.
pub(crate) fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
}

/// What is not reported counts as good, where a point has a quality at all.
fn quality(one: &Series, row: &Row) -> Option<u8> {
    let known = one.has_quality && row.value != Cell::Null;
    row.quality.map(Quality::code).or(known.then_some(Quality::GOOD.code()))
}

fn write_quality(out: &mut Vec<u8>, one: &Series, row: &Row) {
    match quality(one, row) {
        Some(code) => push_json(out, &code.to_string()),
        None => out.extend_from_slice(b"null"),
    }
}

/// Bytes of the items of one answer at most: what 640,000 rows of numbers with local times take.
const ITEMS_BYTES_MAX: usize = 128 << 20;

pub(crate) fn check_size(out: &[u8]) -> Result<()> {
    if out.len() > ITEMS_BYTES_MAX {
        let reason = format!("result set too large: more than {} MiB", ITEMS_BYTES_MAX >> 20);
        return Err(Error::new(crate::error::ErrorKind::TooLarge, reason));
    }
    Ok(())
}
