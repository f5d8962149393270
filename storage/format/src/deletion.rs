//! The layout of a deletion, in log records and in manifests.

use wattline_model::limits::{DELETION_ASSETS_MAX, MODEL_POINTS_MAX};
use wattline_model::{AssetId, Deletion, DeletionTarget, ModelId, PointId, TimeRange, Timestamp};

use crate::error::Error;
use crate::varint::{Input, put_varint, put_zigzag};

/// Bits of the first byte.
const LATEST: u8 = 0b001;
const SOME_POINTS: u8 = 0b010;
const SOME_ASSETS: u8 = 0b100;

/// Appends `deletion`.
pub(crate) fn put(out: &mut Vec<u8>, deletion: &Deletion) {
    debug_assert_eq!(deletion.check(), Ok(()));
    let mut flags = if deletion.target == DeletionTarget::Latest { LATEST } else { 0 };
    flags |= if deletion.points.is_some() { SOME_POINTS } else { 0 };
    flags |= if deletion.assets.is_some() { SOME_ASSETS } else { 0 };
    out.push(flags);
    put_varint(out, u64::from(deletion.model.0));
    put_zigzag(out, deletion.range.start.0);
    put_zigzag(out, deletion.range.end.0);
    if let Some(points) = &deletion.points {
        put_ascending(out, points.iter().map(|p| p.0));
    }
    if let Some(assets) = &deletion.assets {
        put_ascending(out, assets.iter().map(|a| a.0));
    }
}

/// Reads a deletion.
pub(crate) fn get(input: &mut Input<'_>) -> Result<Deletion, Error> {
    let flags = input.u8()?;
    if flags & !(LATEST | SOME_POINTS | SOME_ASSETS) != 0 {
        return Err(input.unknown("deletion flags", format!("{flags:#04x}")));
    }
    let target = if flags & LATEST == 0 { DeletionTarget::History } else { DeletionTarget::Latest };
    let model = ModelId(input.varint_u32()?);
    let range = TimeRange::new(Timestamp(input.zigzag()?), Timestamp(input.zigzag()?));
    let points =
        (flags & SOME_POINTS != 0).then(|| ascending(input, "points", MODEL_POINTS_MAX)).transpose()?;
    let assets =
        (flags & SOME_ASSETS != 0).then(|| ascending(input, "assets", DELETION_ASSETS_MAX)).transpose()?;
    let points = points.map(|list| list.into_iter().map(PointId).collect());
    let assets = assets.map(|list| list.into_iter().map(AssetId).collect());
    Ok(Deletion { target, model, points, assets, range })
}

/// Count, then gaps: a number minus the one before minus 1, the first as it is.
fn put_ascending(out: &mut Vec<u8>, list: impl ExactSizeIterator<Item = u32>) {
    put_varint(out, list.len() as u64);
    let mut next = 0;
    for number in list {
        put_varint(out, u64::from(number) - next);
        next = u64::from(number) + 1;
    }
}

fn ascending(input: &mut Input<'_>, what: &str, max: usize) -> Result<Vec<u32>, Error> {
    let count = input.count(what, max.min(input.left()))?;
    let mut list = Vec::with_capacity(count);
    let mut next = 0_u64;
    for _ in 0..count {
        let number = next.saturating_add(input.varint()?);
        let number = u32::try_from(number).map_err(|_| input.damaged("a number of 32 bits", number))?;
        list.push(number);
        next = u64::from(number) + 1;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers() -> impl Strategy<Value = Option<Vec<u32>>> {
        prop::option::of(
            prop::collection::btree_set(any::<u32>(), 0..40).prop_map(|s| s.into_iter().collect()),
        )
    }

    proptest! {
        #[test]
        fn deletions_come_back(
            latest in any::<bool>(), model in any::<u32>(), points in numbers(), assets in numbers(),
            start in any::<i64>(), end in any::<i64>(), cut in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let deletion = Deletion {
                target: if latest { DeletionTarget::Latest } else { DeletionTarget::History },
                model: ModelId(model),
                points: points.map(|list: Vec<u32>| list.into_iter().map(PointId).collect()),
                assets: assets.map(|list: Vec<u32>| list.into_iter().map(AssetId).collect()),
                range: TimeRange::new(Timestamp(start), Timestamp(end)),
            };
            let mut bytes = Vec::new();
            put(&mut bytes, &deletion);
            let mut input = Input::new("t", 0, &bytes);
            prop_assert_eq!(get(&mut input).unwrap(), deletion);
            prop_assert_eq!(input.end(), Ok(()));
            // Other bytes are another deletion or an error.
            let at = cut.index(bytes.len());
            prop_assert!(get(&mut Input::new("t", 0, &bytes[..at])).is_err());
            bytes[at] = byte;
            if let Ok(other) = get(&mut Input::new("t", 0, &bytes)) {
                prop_assert_eq!(other.check(), Ok(()));
            }
        }
    }
}
