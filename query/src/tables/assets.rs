//! `assets`: a row for each device, to join with.
//!
//! Owns: the columns and rows. Does not own: the devices (`registry`).

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use serde::Serialize;
use wattline_registry::{Device, Registry, Right};

use crate::arrays::instants;
use crate::columns::instant;
use crate::error::{Error, ErrorKind};
use crate::scan::record_batch;
use crate::scope::Limit;
use crate::tables::RowsSource;

/// The source of `assets`.
pub(crate) struct Assets {
    registry: Registry,
    limit: Option<Limit>,
    schema: SchemaRef,
}

impl Assets {
    /// The devices of `registry` that may be read.
    pub(crate) fn new(registry: Registry, limit: Option<Limit>) -> Assets {
        let text = |name: &str| Field::new(name, ArrowType::Utf8View, false);
        let flag = |name: &str| Field::new(name, ArrowType::Boolean, false);
        let schema = Schema::new(vec![
            text("asset_id"),
            text("model"),
            // A logical asset has none.
            Field::new("product_key", ArrowType::Utf8View, true),
            Field::new("device_key", ArrowType::Utf8View, true),
            text("name"),
            text("timezone"),
            text("tags"),
            text("attributes"),
            flag("enabled"),
            flag("active"),
            Field::new("created", instant(), false),
        ]);
        Assets { registry, limit, schema: Arc::new(schema) }
    }
}

fn json(what: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(what).map_err(|e| Error::new(ErrorKind::Bug, format!("attributes as JSON: {e}")))
}

#[async_trait]
impl RowsSource for Assets {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let mut devices = self.registry.assets();
        if let Some(limit) = &self.limit {
            devices.retain(|device| limit.permissions.may(Right::Read, device));
        }
        let text = |of: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new((0..devices.len()).map(|i| Some(of(i))).collect::<StringViewArray>())
        };
        let key = |of: &dyn Fn(&Device) -> &Arc<str>| -> ArrayRef {
            let keys = devices.iter().map(|device| device.is_device().then(|| of(device).to_string()));
            Arc::new(keys.collect::<StringViewArray>())
        };
        let model =
            |i: usize| self.registry.model(devices[i].model).map(|m| m.key.clone()).unwrap_or_default();
        let tags: Vec<String> = devices.iter().map(|d| json(&d.tags)).collect::<Result<_, _>>()?;
        let attributes: Vec<String> =
            devices.iter().map(|d| json(&d.attributes)).collect::<Result<_, _>>()?;
        let enabled = BooleanArray::from_iter(devices.iter().map(|d| Some(d.enabled)));
        let active = BooleanArray::from_iter(devices.iter().map(|d| Some(d.active)));
        let created = devices.iter().map(|d| d.created_micros).collect();
        let arrays: Vec<ArrayRef> = vec![
            text(&|i| devices[i].asset_key.to_string()),
            text(&model),
            key(&|device| &device.product_key),
            key(&|device| &device.device_key),
            text(&|i| devices[i].name.to_string()),
            text(&|i| devices[i].timezone.to_string()),
            Arc::new(tags.into_iter().map(Some).collect::<StringViewArray>()),
            Arc::new(attributes.into_iter().map(Some).collect::<StringViewArray>()),
            Arc::new(enabled),
            Arc::new(active),
            Arc::new(instants(created, None)),
        ];
        record_batch(&self.schema, arrays, devices.len())
    }
}
