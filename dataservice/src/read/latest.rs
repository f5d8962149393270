//! Latest values, and those of them that meet a condition (data service §2.1, §2.2).

use std::cmp::Ordering;

use rustc_hash::FxHashSet;
use wattline_model::{AssetId, DataType, ModelId, PointId, Value};
use wattline_registry::Right;
use wattline_storage::{Comparison, Latest, LatestCondition};

use super::{fleet, shape_of_latest};
use crate::answer::of_items;
use crate::cell::{Cell, compare, read_literal};
use crate::error::{Error, Result};
use crate::items::{Row, Series};
use crate::limits::{FILTER_ASSETS_MAX, OPERANDS_MAX};
use crate::params::{Params, split_list};
use crate::selection::{ModelPart, Selection, Unknown};
use crate::service::Asked;

/// Assets from which on the condition runs over the whole column of a model first, 64 slots at a time.
const SELECT_FROM: usize = 1_000;

/// `timeWindow`: the instant after which a value must be stamped. With a window of nothing that is now.
pub(super) fn newer_than(params: &Params, now_micros: i64) -> Result<Option<i64>> {
    let minutes = params.int("timeWindow")?;
    match minutes {
        None => Ok(None),
        Some(minutes @ 0..) => Ok(Some(now_micros.saturating_sub(minutes.saturating_mul(60_000_000)))),
        Some(minutes) => Err(Error::invalid(format!("timeWindow: {minutes} is negative"))),
    }
}

pub(super) fn row(data_type: DataType, latest: &Latest) -> Row {
    let value = Cell::new(data_type, latest.value.as_ref());
    Row { time: latest.time.0, value, quality: latest.quality }
}

/// One series for each asset and point that `read` finds something of.
pub(super) fn gather(
    selection: &Selection,
    read: impl Fn(ModelId, AssetId, &[PointId]) -> Vec<Option<Latest>>,
    wanted: impl Fn(&Latest) -> bool,
) -> Vec<Series> {
    // Of each model once, not of each asset.
    let of_model = |part: &ModelPart| -> Vec<(PointId, usize)> {
        let places = 0..selection.points.len();
        places.filter_map(|p| part.point(p).map(|point| (point.id, p))).collect()
    };
    let models: Vec<(Vec<PointId>, Vec<usize>)> =
        selection.models.iter().map(|part| of_model(part).into_iter().unzip()).collect();
    let mut series = Vec::with_capacity(selection.assets.len() * selection.points.len());
    for (i, asset) in selection.assets.iter().enumerate() {
        let part = selection.model_of(i);
        let (ids, places) = &models[asset.model];
        let found = read(part.model.id, asset.device.asset, ids);
        for (point, latest) in places.iter().filter_map(|&p| part.point(p)).zip(found) {
            if let Some(latest) = latest.filter(&wanted) {
                let rows = vec![row(point.data_type, &latest)];
                let (key, has_quality) = (point.key.clone(), point.has_quality);
                series.push(Series { asset: i, key, has_quality, rows });
            }
        }
    }
    series
}

pub(crate) fn latest(asked: &Asked<'_>) -> Result<Vec<u8>> {
    let params = asked.params;
    let points = params.list(params.version().points())?;
    let mut selection = Selection::read(asked, Right::Read, &points, Unknown::Refuse)?;
    let newer = newer_than(params, asked.now_micros)?;
    let shape = shape_of_latest(params)?;
    let read = |model, asset, points: &[PointId]| asked.store.latest(model, asset, points);
    let series = gather(&selection, read, |latest| newer.is_none_or(|newer| latest.time.0 > newer));
    let items = shape.write(&mut selection, &series)?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}

pub(crate) fn filter(asked: &Asked<'_>) -> Result<Vec<u8>> {
    let params = asked.params;
    params.required("modelId")?;
    let name = params.version().point();
    let point = params.list(name)?;
    let [point] = point[..] else {
        return Err(Error::invalid(format!("only one {name} is allowed")));
    };
    if !params.is_given("assetIds") {
        return fleet::filter(asked, point);
    }
    let keys = params.list("assetIds")?;
    if keys.len() > FILTER_ASSETS_MAX {
        let what = format!("assetIds: {} assets, at most {FILTER_ASSETS_MAX} are allowed", keys.len());
        return Err(Error::invalid(what));
    }
    let mut selection = Selection::resolve(asked, Right::Read, &keys, &[point], Unknown::Refuse)?;
    let newer = newer_than(params, asked.now_micros)?;
    let shape = shape_of_latest(params)?;
    // Models that inherit from one another share the point's type.
    let data_type = selection.models.iter().find_map(|part| part.point(0)).map(|point| point.data_type);
    let data_type = data_type.ok_or_else(|| Error::internal("a point is known and has no type"))?;
    let condition = condition(params, data_type)?;
    if selection.assets.len() >= SELECT_FROM {
        let mut found: FxHashSet<AssetId> = FxHashSet::default();
        for part in &selection.models {
            let Some(point) = part.point(0) else { continue };
            found.extend(asked.store.select_latest(part.model.id, point.id, &condition)?);
        }
        selection.assets.retain(|asset| found.contains(&asset.device.asset));
    }
    let read = |model, asset, points: &[PointId]| asked.store.latest(model, asset, points);
    // Asked once more: a value may have changed since the column was searched.
    let series = gather(&selection, read, |latest| {
        newer.is_none_or(|newer| latest.time.0 > newer) && meets(&condition, &latest.value)
    });
    let items = shape.write(&mut selection, &series)?;
    Ok(of_items(asked.version(), &items, &selection.refused))
}

/// `operator` and `valueFilter`.
pub(super) fn condition(params: &Params, data_type: DataType) -> Result<LatestCondition> {
    let operator = params.required("operator")?;
    let operands = split_list(params.required("valueFilter")?);
    if operands.len() > OPERANDS_MAX {
        let what = format!("valueFilter: {} values, at most {OPERANDS_MAX} are allowed", operands.len());
        return Err(Error::invalid(what));
    }
    let values: Vec<Value> =
        operands.iter().map(|text| read_literal("valueFilter", data_type, text)).collect::<Result<_>>()?;
    let comparison = match operator {
        "eq" => Comparison::Eq,
        "nq" => Comparison::Ne,
        "gt" => Comparison::Gt,
        "ge" => Comparison::Ge,
        "lt" => Comparison::Lt,
        "le" => Comparison::Le,
        "in" if !values.is_empty() => return Ok(LatestCondition::In(values)),
        "between" => {
            // Both bounds may be the same, and a list has each entry once.
            return match <[Value; 2]>::try_from(values) {
                Ok([low, high]) => Ok(LatestCondition::Between(low, high)),
                Err(values) if values.len() == 1 && params.required("valueFilter")?.contains(',') => {
                    Ok(LatestCondition::Between(values[0].clone(), values[0].clone()))
                }
                Err(_) => Err(Error::invalid("valueFilter: between wants two values")),
            };
        }
        "in" => return Err(Error::required("valueFilter")),
        other => {
            let known = "eq, nq, gt, ge, lt, le, between and in";
            return Err(Error::invalid(format!("operator: {other:?} is none of {known}")));
        }
    };
    match <[Value; 1]>::try_from(values) {
        Ok([value]) => Ok(LatestCondition::Is(comparison, value)),
        Err(_) => Err(Error::invalid(format!("valueFilter: {operator} wants one value"))),
    }
}

pub(super) fn meets(condition: &LatestCondition, value: &Value) -> bool {
    let is = |other: &Value, test: fn(Ordering) -> bool| compare(value, other).is_some_and(test);
    match condition {
        LatestCondition::Is(Comparison::Eq, other) => is(other, Ordering::is_eq),
        LatestCondition::Is(Comparison::Ne, other) => !is(other, Ordering::is_eq),
        LatestCondition::Is(Comparison::Gt, other) => is(other, Ordering::is_gt),
        LatestCondition::Is(Comparison::Ge, other) => is(other, Ordering::is_ge),
        LatestCondition::Is(Comparison::Lt, other) => is(other, Ordering::is_lt),
        LatestCondition::Is(Comparison::Le, other) => is(other, Ordering::is_le),
        LatestCondition::Between(low, high) => is(low, Ordering::is_ge) && is(high, Ordering::is_le),
        LatestCondition::In(list) => list.iter().any(|other| is(other, Ordering::is_eq)),
    }
}
