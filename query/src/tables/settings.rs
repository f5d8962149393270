//! `system.settings`: every setting of the server, its value and where that comes from.
//!
//! Owns: the columns and rows. Does not own: the settings (whoever implements [`Reports`]).

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;

use crate::error::Error;
use crate::reports::{Reports, SettingReport};
use crate::scan::record_batch;
use crate::tables::RowsSource;

/// A column's name and where its value comes from.
type Column = (&'static str, fn(&SettingReport) -> &str);

const COLUMNS: [Column; 6] = [
    ("name", |setting| &setting.name),
    ("value", |setting| &setting.value),
    ("default", |setting| &setting.default),
    ("origin", |setting| &setting.origin),
    ("allowed", |setting| &setting.allowed),
    ("description", |setting| &setting.description),
];

/// The source of `system.settings`.
pub(crate) struct SettingsTable {
    reports: Arc<OnceLock<Arc<dyn Reports>>>,
    schema: SchemaRef,
}

impl SettingsTable {
    /// The settings that `reports` tells, once it is there.
    pub(crate) fn new(reports: Arc<OnceLock<Arc<dyn Reports>>>) -> SettingsTable {
        let fields = COLUMNS.map(|(name, _)| Field::new(name, ArrowType::Utf8View, false));
        SettingsTable { reports, schema: Arc::new(Schema::new(fields.to_vec())) }
    }
}

#[async_trait]
impl RowsSource for SettingsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let settings = self.reports.get().map(|reports| reports.settings()).unwrap_or_default();
        let column = |of: fn(&SettingReport) -> &str| -> ArrayRef {
            Arc::new(settings.iter().map(|setting| Some(of(setting))).collect::<StringViewArray>())
        };
        let arrays = COLUMNS.iter().map(|(_, of)| column(*of)).collect();
        record_batch(&self.schema, arrays, settings.len())
    }
}
