//! Assets that a subquery tells: `asset_id IN (SELECT ...)` below an aggregate.
//!
//! Owns: reading the subquery's answer before the aggregate begins, so that no other asset is read at all. Does not own:
//! recognising such a join (`shape`).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::TryStreamExt as _;
use wattline_model::AssetId;

use crate::scan::ScanSpec;

/// A plan whose answer names assets.
#[derive(Clone)]
pub(crate) struct Chosen {
    pub(crate) input: Arc<dyn ExecutionPlan>,
    /// The column with their ids.
    pub(crate) column: usize,
}

/// The assets of `spec` that column `column` of `rows` names, ascending. They are at most those of the registry.
///
/// # Errors
/// Those of the plan; Internal where the column holds no texts.
pub(super) async fn assets(
    mut rows: SendableRecordBatchStream,
    column: usize,
    spec: &ScanSpec,
) -> Result<Vec<AssetId>> {
    let of_all_models = spec.registry.is_unformatted(spec.model.id);
    let among = spec.request.assets.as_ref().map(|assets| assets.iter().copied().collect::<BTreeSet<_>>());
    let mut assets = BTreeSet::new();
    while let Some(batch) = rows.try_next().await? {
        let Some(texts) = batch.columns().get(column) else {
            return internal_err!("the subquery of an aggregate has no column {column}");
        };
        let texts = cast(texts, &DataType::Utf8View)?;
        for text in texts.as_string_view().iter().flatten() {
            let device = spec.registry.asset_by_key(text);
            let known = device.filter(|device| of_all_models || device.model == spec.model.id);
            let asked = known.filter(|device| among.as_ref().is_none_or(|some| some.contains(&device.asset)));
            assets.extend(asked.map(|device| device.asset));
        }
    }
    Ok(assets.into_iter().collect())
}
