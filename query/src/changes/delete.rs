//! `DELETE FROM <model> [WHERE …]`: conditions that are exactly assets and a range of time.
//!
//! Owns: from the condition to a [`Deletion`]. Does not own: reading conditions (`prune`, which scans use too),
//! deletion jobs.
//!
//! The condition goes through the optimizer, so that `'2026-01-01'` is an instant and `now() - INTERVAL '1 day'` is
//! worked out. What the scan could answer alone, without looking at values, is a deletion; anything that is left is
//! not.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, FromTable, TableFactor};
use wattline_model::{AssetId, Deletion, DeletionTarget, Model};
use wattline_registry::{Device, Permissions, Reach, Right, Rights};

use super::names::wrong;
use super::{Asked, without};
use crate::engine::{Description, Engine, plan, with_params};
use crate::error::Error;
use crate::prune::{self, AssetFilter};

impl Engine {
    pub(super) async fn ask_delete(
        &self,
        state: &mut SessionState,
        delete: ast::Delete,
        params: Vec<ScalarValue>,
    ) -> Result<Asked, Error> {
        let (model, rows) = self.plan_delete(state, delete).await?;
        let rows = with_params(rows, params)?;
        let rows = state.optimize(&rows).map_err(|e| self.planning(&e))?;
        let Some(filters) = filters_of(&rows)? else { return Ok(Asked::Delete(None)) };
        let pruned = prune::prune_all(filters);
        if !pruned.exact {
            return Err(not_exact(filters));
        }
        if pruned.is_empty() {
            return Ok(Asked::Delete(None));
        }
        let assets = match pruned.assets {
            AssetFilter::All => {
                let rights = |permissions: &Permissions| match permissions.reach(Right::Write, &model) {
                    Reach::All => Right::Write.into(),
                    Reach::Some | Reach::None => Rights::NONE,
                };
                self.scope().demand(Right::Write, rights, || {
                    format!("all assets of model {}; name those to delete from", model.key)
                })?;
                None
            }
            AssetFilter::Only(texts) => Some(self.assets_named(&model, texts.iter().map(String::as_str))?),
        };
        let target = DeletionTarget::History;
        let deletion = Deletion { target, model: model.id, points: None, assets, range: pruned.range };
        deletion.check().map_err(|e| wrong(e.to_string()))?;
        Ok(Asked::Delete(Some(deletion)))
    }

    pub(super) async fn describe_delete(
        &self,
        state: &mut SessionState,
        delete: ast::Delete,
    ) -> Result<Description, Error> {
        let (_, rows) = self.plan_delete(state, delete).await?;
        Ok(Description { schema: Description::of_nothing().schema, ..Description::of(&rows)? })
    }

    /// The model, and the plan of the rows to delete.
    async fn plan_delete(
        &self,
        state: &mut SessionState,
        delete: ast::Delete,
    ) -> Result<(Arc<Model>, LogicalPlan), Error> {
        without(
            "DELETE",
            &[
                ("RETURNING", delete.returning.is_some() || delete.output.is_some()),
                ("USING", delete.using.is_some()),
                ("LIMIT", delete.limit.is_some()),
                ("ORDER BY", !delete.order_by.is_empty()),
                ("a second table", !delete.tables.is_empty()),
            ],
        )?;
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let model = match &from[..] {
            [one] if one.joins.is_empty() => match &one.relation {
                TableFactor::Table { name, alias: None, .. } => self.model_named(name)?,
                _ => return Err(wrong("DELETE goes to a table by its name, without an alias")),
            },
            _ => return Err(wrong("DELETE goes to one table")),
        };
        let statement = Statement::Statement(Box::new(ast::Statement::Delete(delete)));
        match plan(state, statement).await.map_err(|e| self.planning(&e))? {
            LogicalPlan::Dml(dml) => Ok((model, Arc::unwrap_or_clone(dml.input))),
            _ => Err(wrong("DELETE could not be planned")),
        }
    }

    /// The numbers of assets of `model`, ascending. One that is not there is a mistake, as in every other way to
    /// delete.
    fn assets_named<'a>(
        &self,
        model: &Model,
        texts: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<AssetId>, Error> {
        let registry = self.catalog().registry();
        let of_all_models = registry.is_of_all_models(model.id);
        let limit = self.catalog().limit();
        let may = |right, device: &Device| limit.is_none_or(|limit| limit.permissions.may(right, device));
        // What may not be read does not exist.
        let seen = |device: &Arc<Device>| may(Right::Read, device) || may(Right::Write, device);
        let number = |text: &str| match registry.asset_by_key(text).filter(seen) {
            None => Err(wrong(format!("asset_id: asset {text} does not exist"))),
            Some(device) if !of_all_models && device.model != model.id => {
                Err(wrong(format!("asset_id: asset {text} is not of model {}", model.key)))
            }
            Some(device) => match limit {
                Some(limit) if !limit.permissions.may(Right::Write, &device) => {
                    Err(limit.denied(Right::Write, &format!("asset {text}")))
                }
                _ => Ok(device.asset),
            },
        };
        let mut assets = texts.map(number).collect::<Result<Vec<_>, _>>()?;
        assets.sort_unstable();
        Ok(assets)
    }
}

/// What the scan is left to answer alone; `None` where there can be no row.
fn filters_of(mut plan: &LogicalPlan) -> Result<Option<&[Expr]>, Error> {
    loop {
        plan = match plan {
            LogicalPlan::TableScan(scan) => return Ok(Some(&scan.filters)),
            LogicalPlan::EmptyRelation(_) => return Ok(None),
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Filter(filter) => return Err(not_exact(std::slice::from_ref(&filter.predicate))),
            _ => return Err(not_exact(&[])),
        };
    }
}

fn not_exact(left: &[Expr]) -> Error {
    let left: Vec<String> = left.iter().map(|expr| expr.human_display().to_string()).collect();
    let what = if left.is_empty() { "it".to_owned() } else { left.join(" AND ") };
    wrong(format!(
        "the condition of DELETE must be assets and one range of time, such as asset_id IN ('a', 'b') AND time >= \
         '2026-01-01' AND time < '2026-02-01'; {what} is more than that"
    ))
}
