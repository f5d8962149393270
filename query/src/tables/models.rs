//! `models`: a row for each measure point of each model.
//!
//! Owns: the columns and rows. Does not own: the models (`registry`).

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use wattline_model::{Model, Point};
use wattline_registry::{Reach, Registry, Right};

use crate::error::Error;
use crate::scan::record_batch;
use crate::scope::Limit;
use crate::tables::RowsSource;

/// The source of `models`.
pub(crate) struct Models {
    registry: Registry,
    limit: Option<Limit>,
    schema: SchemaRef,
}

impl Models {
    /// The models of `registry` that some right reaches something of.
    pub(crate) fn new(registry: Registry, limit: Option<Limit>) -> Models {
        let text = |name: &str, nullable| Field::new(name, ArrowType::Utf8View, nullable);
        let schema = Schema::new(vec![
            text("model", false),
            text("path", false),
            text("point", true),
            text("data_type", true),
            text("signal_type", true),
            text("unit", true),
            Field::new("has_quality", ArrowType::Boolean, true),
        ]);
        Models { registry, limit, schema: Arc::new(schema) }
    }
}

#[async_trait]
impl RowsSource for Models {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let mut models = self.registry.models();
        if let Some(limit) = &self.limit {
            let reaches = |right, model: &Model| limit.permissions.reach(right, model) != Reach::None;
            models.retain(|model| Right::ALL.into_iter().any(|right| reaches(right, model)));
        }
        models.sort_by(|a, b| a.path.cmp(&b.path).then(a.id.cmp(&b.id)));
        // A model without points has one row, so that it is seen.
        let rows: Vec<(&Model, Option<&Point>)> = models
            .iter()
            .flat_map(|model| {
                let none = model.points.is_empty().then_some((&**model, None));
                model.points.iter().map(move |point| (&**model, Some(point))).chain(none)
            })
            .collect();
        let text = |of: &dyn Fn(&Model, Option<&Point>) -> Option<String>| -> ArrayRef {
            Arc::new(rows.iter().map(|&(model, point)| of(model, point)).collect::<StringViewArray>())
        };
        let has_quality = BooleanArray::from_iter(rows.iter().map(|(_, point)| point.map(|p| p.has_quality)));
        let arrays: Vec<ArrayRef> = vec![
            text(&|model, _| Some(model.key.clone())),
            text(&|model, _| Some(model.path.clone())),
            text(&|_, point| point.map(|p| p.key.clone())),
            text(&|_, point| point.map(|p| p.data_type.name().to_owned())),
            text(&|_, point| point.map(|p| p.signal.name().to_owned())),
            text(&|_, point| point.and_then(|p| p.unit.clone())),
            Arc::new(has_quality),
        ];
        record_batch(&self.schema, arrays, rows.len())
    }
}
