//! What each operation reads.
//!
//! Owns: the rules of the operations. Does not own: parameters in general, resolving names, the shape of items, the
//! store.

pub(crate) mod aggregated;
mod boundary;
mod buckets;
pub(crate) mod changed;
mod fleet;
pub(crate) mod latest;
pub(crate) mod metadata;
pub(crate) mod raw;
pub(crate) mod states;

use crate::error::{Error, Result};
use crate::items::{LocalTime, Shape};
use crate::limits::{PAGE_SIZE_DEFAULT, ROWS_MAX};
use crate::params::{Params, Version};
use crate::time::{LocalForm, Range};

/// How the items of a range are written: v2.0 has local times for local ranges only.
fn shape_of_range(params: &Params, range: &Range, millis: bool) -> Result<Shape> {
    let form = LocalForm::read(params, millis)?;
    let local = match params.version() {
        Version::V20 if !range.is_local() => LocalTime::Null,
        _ => LocalTime::Written(form),
    };
    Shape::read(params, local)
}

/// How latest items are written: with local times where they are asked for.
fn shape_of_latest(params: &Params) -> Result<Shape> {
    let form = LocalForm::read(params, false)?;
    let wanted = params.flag("ifWithLocalTime", false)?;
    Shape::read(params, if wanted { LocalTime::Written(form) } else { LocalTime::Absent })
}

/// `pageSize`, which with the assets and points must stay below the limit of rows.
fn page_size(params: &Params, assets: usize, points: usize) -> Result<usize> {
    let size = params.int_within("pageSize", PAGE_SIZE_DEFAULT as i64, 1, ROWS_MAX as i64);
    // Where it is not given, three thousand combinations would always be too many with a thousand rows each.
    let given = params.text("pageSize").is_some();
    let size = size? as usize;
    let rows = assets.saturating_mul(points).saturating_mul(size);
    if rows <= ROWS_MAX {
        return Ok(size);
    }
    if !given {
        return Ok((ROWS_MAX / (assets * points).max(1)).max(1));
    }
    let name = params.version().points();
    Err(Error::invalid(format!(
        "assetIds size × {name} size × pageSize is too large to query: {rows} rows, at most {ROWS_MAX} are allowed"
    )))
}
