//! `system.policies`: a row for each point under a storage policy.
//!
//! Owns: the columns and rows. Does not own: the policies (`registry`).

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use wattline_model::{Retention, Thinning, Tolerance};
use wattline_registry::{Policy, PolicyGroup, PolicyPoint, Reach, Registry, Right};

use crate::error::Error;
use crate::scan::record_batch;
use crate::scope::Limit;
use crate::tables::RowsSource;

/// The source of `system.policies`.
pub(crate) struct Policies {
    registry: Registry,
    limit: Option<Limit>,
    schema: SchemaRef,
}

impl Policies {
    /// The policies of `registry` for models of which something may be read.
    pub(crate) fn new(registry: Registry, limit: Option<Limit>) -> Policies {
        let text = |name: &str, nullable| Field::new(name, ArrowType::Utf8View, nullable);
        let number = |name: &str| Field::new(name, ArrowType::Float64, true);
        let schema = Schema::new(vec![
            text("org", false),
            text("policy_group", false),
            text("storage_type", false),
            text("retention", true),
            Field::new("modifiable", ArrowType::Boolean, false),
            text("model", false),
            text("point", false),
            number("dead_band"),
            number("swinging_door"),
        ]);
        Policies { registry, limit, schema: Arc::new(schema) }
    }
}

/// A row: a point with all it belongs to.
type Row<'a> = (&'a PolicyGroup, &'a Policy, &'a PolicyPoint);

#[async_trait]
impl RowsSource for Policies {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _: &dyn Session) -> Result<RecordBatch, Error> {
        let groups: Vec<PolicyGroup> =
            self.registry.orgs().iter().flat_map(|org| self.registry.policy_groups(org.id)).collect();
        let is_shown = |at: &PolicyPoint| match (&self.limit, self.registry.model(at.model)) {
            (None, _) => true,
            (Some(limit), model) => {
                model.is_some_and(|model| limit.permissions.reach(Right::Read, &model) != Reach::None)
            }
        };
        let rows: Vec<Row<'_>> = groups
            .iter()
            .flat_map(|group| group.policies.iter().map(move |policy| (group, policy)))
            .flat_map(|(group, policy)| policy.points.iter().map(move |point| (group, policy, point)))
            .filter(|(.., at)| is_shown(at))
            .collect();
        let text = |of: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef {
            Arc::new(rows.iter().map(of).collect::<StringViewArray>())
        };
        let deviation = |of: fn(&Thinning) -> Option<Tolerance>| -> ArrayRef {
            let values = rows.iter().map(|(.., at)| of(&at.thinning).map(|t| t.deviation));
            Arc::new(Float64Array::from_iter(values))
        };
        let model = |at: &PolicyPoint| self.registry.model(at.model);
        let arrays: Vec<ArrayRef> = vec![
            text(&|(group, ..)| self.registry.org(group.org).map(|org| org.key.clone())),
            text(&|(group, ..)| Some(group.name.clone())),
            text(&|(_, policy, _)| Some(policy.storage.name().to_owned())),
            text(&|(_, policy, _)| policy.retention.map(Retention::name)),
            Arc::new(rows.iter().map(|(_, policy, _)| Some(policy.modifiable)).collect::<BooleanArray>()),
            text(&|(.., at)| model(at).map(|model| model.key.clone())),
            text(&|(.., at)| Some(model(at)?.point(at.point)?.key.clone())),
            deviation(|thinning| thinning.dead_band),
            deviation(|thinning| thinning.swinging_door),
        ];
        record_batch(&self.schema, arrays, rows.len())
    }
}
