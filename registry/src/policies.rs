//! Storage policy groups: which points of which models are kept as what, and for how long.
//!
//! Owns: groups with their rules (data service §3.3), their rows, and what follows from all of them for the write
//! path ([`Registry::policies`]) and for retention ([`Registry::horizons`]). Does not own: carrying them out
//! (`storage`).
//!
//! A group is changed as a whole: the document a person keeps is the document that rules. Every change is audited.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rusqlite::{Connection, Row, Transaction, params};
use wattline_model::{
    HistoryRule, Kind, ModelId, ModelPolicy, OrgId, PointId, PointPolicy, Policies, Retention, StorageType,
    Thinning, Tolerance,
};

use crate::cache::{Cache, Edit};
use crate::error::Error;
use crate::{Registry, audit, number, secret};

pub mod by_id;
pub mod json;

/// Groups of one organization (EnOS gives 2 to 5): more than a person keeps apart.
pub const POLICY_GROUPS_MAX: usize = 50;

/// Characters of a group's name.
pub const GROUP_NAME_CHARS_MAX: usize = 64;

/// Models × points of LAST_CHANGED in one group (data service §3.8).
pub const LAST_CHANGED_MAX: usize = 10_000;

/// Models that share storage policies.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyGroup {
    /// The organization it belongs to.
    pub org: OrgId,
    /// Its name, unique in the organization.
    pub name: String,
    /// Its models, ascending; a model belongs to at most one group.
    pub models: Vec<ModelId>,
    /// At most one policy a storage type, in the order of [`StorageType::ALL`].
    pub policies: Vec<Policy>,
}

/// What one storage type means in a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// A UUID: `policyId` in the APIs. Empty in a group to save: the one it has stays, a new policy gets a new one.
    pub id: String,
    /// The storage type.
    pub storage: StorageType,
    /// How long history is kept; `None`: for ever.
    pub retention: Option<Retention>,
    /// Whether a later write for a time replaces the one before.
    pub modifiable: bool,
    /// Its points, by model and number.
    pub points: Vec<PolicyPoint>,
}

/// A point under a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyPoint {
    /// Its model.
    pub model: ModelId,
    /// Its number.
    pub point: PointId,
    /// Which of its samples are kept.
    pub thinning: Thinning,
}

/// From when on samples are kept. As the engine wants it, without knowing the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepFrom {
    /// The model, or its minute table.
    pub model: ModelId,
    /// Some of its points, ascending; `None`: all.
    pub points: Option<Vec<PointId>>,
    /// Microseconds since the epoch.
    pub micros: i64,
}

impl Registry {
    /// The policy groups of an organization, by name.
    pub fn policy_groups(&self, org: OrgId) -> Vec<PolicyGroup> {
        self.cache().policy_groups().iter().filter(|group| group.org == org).cloned().collect()
    }

    /// The policy group of this name.
    pub fn policy_group(&self, org: OrgId, name: &str) -> Option<PolicyGroup> {
        find(self.cache().policy_groups(), org, name).cloned()
    }

    /// Makes a group what `group` says, or makes it. What history holds already stays as it is.
    ///
    /// # Errors
    /// `Input` where the document breaks a rule, `Conflict` where a model belongs to another group, `NotFound` where a
    /// model does not exist.
    pub fn save_policy_group(
        &self,
        group: PolicyGroup,
        operator: &str,
        now_micros: i64,
    ) -> Result<PolicyGroup, Error> {
        self.change(|transaction, cache| save(transaction, cache, group, operator, now_micros))
    }

    /// Removes a group that has no models any more. What history holds stays until somebody deletes it.
    ///
    /// # Errors
    /// `Conflict` where it has models, `NotFound` where there is no such group.
    pub fn delete_policy_group(
        &self,
        org: OrgId,
        name: &str,
        operator: &str,
        now_micros: i64,
    ) -> Result<(), Error> {
        self.change(|transaction, cache| {
            let mut groups = Vec::clone(cache.policy_groups());
            let group = find(&groups, org, name);
            let group = group.ok_or_else(|| Error::not_found(format!("policy group {name}")))?;
            if !group.models.is_empty() {
                let reason = format!("has {} models; remove them from it first", group.models.len());
                return Err(Error::conflict(format!("policy group {name}"), "models", reason));
            }
            delete(transaction, org, name)?;
            let before = Some(json::group(cache, group));
            let action = "delete policy group";
            let note = audit::Note { operator, action, item: name, before, after: None, micros: now_micros };
            audit::note(transaction, &note)?;
            groups.retain(|g| (g.org, g.name.as_str()) != (org, name));
            Ok(((), Edit::PolicyGroups(groups)))
        })
    }

    /// What all groups together mean for what is written. `others_latest_only`: whether models without a group keep
    /// latest values only.
    pub fn policies(&self, others_latest_only: bool) -> Policies {
        let mut policies = Policies { others_latest_only, ..Policies::default() };
        for group in self.cache().policy_groups().iter() {
            for &model in &group.models {
                policies.models.insert(model, ModelPolicy::default());
            }
            for policy in &group.policies {
                for point in &policy.points {
                    let points = &mut policies.models.entry(point.model).or_default().points;
                    let number = point.point.0 as usize;
                    if points.len() <= number {
                        points.resize_with(number + 1, Default::default);
                    }
                    let rule = HistoryRule {
                        by_minute: policy.storage == StorageType::Pi,
                        modifiable: policy.modifiable,
                        thinning: point.thinning,
                    };
                    match policy.storage {
                        StorageType::AiNormalized => points[number].normalized = true,
                        StorageType::LastChanged => points[number].last_changed = true,
                        _ => points[number].history = Some(rule),
                    }
                }
            }
        }
        let rest = PointPolicy { history: Some(HistoryRule::AS_SENT), ..PointPolicy::default() };
        let cache = self.cache();
        let system = cache.unformatted().iter().map(|kept| kept.model);
        for model in system.chain(cache.records().iter().map(|records| records.model)) {
            policies.models.insert(model, ModelPolicy { rest, ..ModelPolicy::default() });
        }
        policies
    }

    /// From when on samples are kept at the time `now_micros`, by the retentions of all policies. Months are those of
    /// the calendar in UTC. Rows of a model go when the last of its policies lets them go; points of policies with a
    /// shorter retention go before.
    pub fn horizons(&self, now_micros: i64) -> Vec<KeepFrom> {
        let mut horizons = Vec::new();
        for group in self.cache().policy_groups().iter() {
            for &model in &group.models {
                let of_model = |policy: &Policy| {
                    let points = policy.points.iter().filter(|p| p.model == model).map(|p| p.point);
                    (policy.retention.map(|r| keep_from(now_micros, r)), points.collect::<Vec<_>>())
                };
                let (mut history, mut minutes) = (Vec::new(), Vec::new());
                for policy in &group.policies {
                    match policy.storage {
                        StorageType::LastChanged => {}
                        StorageType::AiNormalized => minutes.push(of_model(policy)),
                        _ => history.push(of_model(policy)),
                    }
                }
                add_horizons(&mut horizons, model, history);
                add_horizons(&mut horizons, model.by_minute(), minutes);
            }
        }
        for kept in self.cache().unformatted() {
            let micros = kept.retention.map(|retention| keep_from(now_micros, retention));
            horizons.extend(micros.map(|micros| KeepFrom { model: kept.model, points: None, micros }));
        }
        for records in self.cache().records() {
            let micros = records.keep_from(now_micros, keep_from);
            horizons.extend(micros.map(|micros| KeepFrom { model: records.model, points: None, micros }));
        }
        horizons
    }
}

/// Makes a group what `group` says, as part of a change.
fn save(
    transaction: &Transaction<'_>,
    cache: &Cache,
    mut group: PolicyGroup,
    operator: &str,
    now_micros: i64,
) -> Result<(PolicyGroup, Edit), Error> {
    check(cache, &mut group)?;
    let mut groups = Vec::clone(cache.policy_groups());
    let before = find(&groups, group.org, &group.name).cloned();
    groups.retain(|g| (g.org, &g.name) != (group.org, &group.name));
    check_against(cache, &group, &groups)?;
    for policy in &mut group.policies {
        let old = before.as_ref().and_then(|g| g.policies.iter().find(|p| p.storage == policy.storage));
        policy.id = old.map_or_else(secret::random_uuid, |old| Ok(old.id.clone()))?;
    }
    delete(transaction, group.org, &group.name)?;
    insert(transaction, &group)?;
    let action = if before.is_none() { "create policy group" } else { "change policy group" };
    let note = audit::Note {
        operator,
        action,
        item: &group.name,
        before: before.map(|g| json::group(cache, &g)),
        after: Some(json::group(cache, &group)),
        micros: now_micros,
    };
    audit::note(transaction, &note)?;
    groups.push(group.clone());
    sort(&mut groups);
    Ok((group, Edit::PolicyGroups(groups)))
}

fn find<'a>(groups: &'a [PolicyGroup], org: OrgId, name: &str) -> Option<&'a PolicyGroup> {
    groups.iter().find(|group| group.org == org && group.name == name)
}

fn sort(groups: &mut [PolicyGroup]) {
    groups.sort_by(|a, b| (a.org, &a.name).cmp(&(b.org, &b.name)));
}

fn add_horizons(out: &mut Vec<KeepFrom>, model: ModelId, mut policies: Vec<(Option<i64>, Vec<PointId>)>) {
    policies.retain(|(_, points)| !points.is_empty());
    let Some(rows) = policies.iter().map(|(from, _)| from.unwrap_or(i64::MIN)).min() else { return };
    if rows > i64::MIN {
        out.push(KeepFrom { model, points: None, micros: rows });
    }
    for (from, points) in policies {
        if let Some(micros) = from.filter(|&from| from > rows) {
            out.push(KeepFrom { model, points: Some(points), micros });
        }
    }
}

/// The instant that many months of the calendar before `now`, in UTC.
fn keep_from(now_micros: i64, retention: Retention) -> i64 {
    let months = Span::new().months(i64::from(retention.months()));
    let back = || {
        let now: DateTime = Timestamp::from_microsecond(now_micros)?.to_zoned(TimeZone::UTC).datetime();
        Ok::<_, jiff::Error>(now.checked_sub(months)?.to_zoned(TimeZone::UTC)?.timestamp().as_microsecond())
    };
    // Out of the calendar's range nothing has expired.
    back().unwrap_or(i64::MIN)
}

/// Puts the document in order and checks it for itself and against the models.
fn check(cache: &Cache, group: &mut PolicyGroup) -> Result<(), Error> {
    let item = format!("policy group {}", group.name);
    let wrong = |field: &str, reason: String| Err(Error::input(item.as_str(), field, reason));
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let chars = group.name.chars().count();
    if chars == 0 || chars > GROUP_NAME_CHARS_MAX || !group.name.chars().all(fits) {
        return wrong("name", format!("wants 1 to {GROUP_NAME_CHARS_MAX} letters, digits, '_' and '-'"));
    }
    if cache.org(group.org).is_none() {
        return Err(Error::not_found(group.org.to_string()));
    }
    group.models.sort_unstable();
    if group.models.windows(2).any(|w| w[0] == w[1]) {
        return wrong("models", "one is given twice".to_owned());
    }
    group.policies.sort_by_key(|p| p.storage);
    if let Some(twice) = group.policies.windows(2).find(|w| w[0].storage == w[1].storage) {
        return wrong("policies", format!("{} is given twice", twice[0].storage));
    }
    for policy in &mut group.policies {
        policy.points.sort_by_key(|p| (p.model, p.point));
        check_policy(cache, &item, &group.models, policy)?;
    }
    Ok(())
}

fn check_policy(cache: &Cache, item: &str, models: &[ModelId], policy: &Policy) -> Result<(), Error> {
    let storage = policy.storage;
    let field = format!("policy {storage}");
    let wrong = |reason: String| Err(Error::input(item, &field, reason));
    if !policy.modifiable && !storage.may_refuse_changes() {
        return wrong("modifiable can be false for AI_RAW, DI and GENERIC only".to_owned());
    }
    if storage == StorageType::LastChanged {
        if policy.retention.is_some() {
            return wrong("there is one last change a point, and no retention of it".to_owned());
        }
        if policy.points.len() > LAST_CHANGED_MAX {
            let given = policy.points.len();
            return wrong(format!("{given} points over all models; at most {LAST_CHANGED_MAX} are allowed"));
        }
    }
    for (i, at) in policy.points.iter().enumerate() {
        let model = cache.model(at.model).ok_or_else(|| Error::not_found(at.model.to_string()))?;
        let model = &model.model;
        if models.binary_search(&at.model).is_err() {
            return wrong(format!("model {} is not in the group", model.key));
        }
        let Some(point) = model.point(at.point) else {
            return wrong(format!("model {} has no {}", model.key, at.point));
        };
        let named = format!("point {} of model {}", point.key, model.key);
        if i > 0 && (policy.points[i - 1].model, policy.points[i - 1].point) == (at.model, at.point) {
            return wrong(format!("{named} is given twice"));
        }
        if let Some(signal) = storage.signal()
            && signal != point.signal
        {
            return wrong(format!("{named} has signalType {}, not {}", point.signal.name(), signal.name()));
        }
        if at.thinning.is_none() {
            continue;
        }
        if !storage.may_thin() {
            return wrong(format!("{named}: AI_RAW and GENERIC may be thinned out, {storage} may not"));
        }
        if !matches!(point.data_type.kind(), Kind::Float | Kind::Int) {
            return wrong(format!("{named}: only numbers can be thinned out"));
        }
        let tolerances = [("deadBand", at.thinning.dead_band), ("swingingDoor", at.thinning.swinging_door)];
        for (name, tolerance) in tolerances {
            if let Some(reason) = tolerance.and_then(|t| reason_against(&t)) {
                return wrong(format!("{named}: {name} {reason}"));
            }
        }
    }
    Ok(())
}

fn reason_against(tolerance: &Tolerance) -> Option<&'static str> {
    let Tolerance { deviation, spacing_min, spacing_max } = *tolerance;
    if !(deviation.is_finite() && deviation >= 0.0) {
        return Some("deviation must be a number of at least 0");
    }
    if spacing_min < 0 || spacing_max.is_some_and(|max| max <= 0 || max < spacing_min) {
        return Some("spacingMin must be at least 0 and spacingMax above it");
    }
    None
}

/// Checks the group against the others there are.
fn check_against(cache: &Cache, group: &PolicyGroup, others: &[PolicyGroup]) -> Result<(), Error> {
    let item = format!("policy group {}", group.name);
    for &model in &group.models {
        let entry = cache.model(model).ok_or_else(|| Error::not_found(model.to_string()))?;
        if entry.model.org != group.org {
            return Err(Error::not_found(format!("model {}", entry.model.key)));
        }
    }
    let mut siblings = 0;
    for other in others {
        siblings += usize::from(other.org == group.org);
        let shared = other.models.iter().find(|m| group.models.binary_search(m).is_ok());
        if let Some(&model) = shared {
            let key = cache.model(model).map_or_else(|| model.to_string(), |e| e.model.key.clone());
            let reason = format!("{key} belongs to group {} already", other.name);
            return Err(Error::conflict(item, "models", reason));
        }
    }
    if siblings >= POLICY_GROUPS_MAX {
        let reason = format!("the organization has {POLICY_GROUPS_MAX} groups already");
        return Err(Error::input(item, "name", reason));
    }
    Ok(())
}

fn delete(transaction: &Transaction<'_>, org: OrgId, name: &str) -> Result<(), Error> {
    let act = |e| Error::sqlite("change a policy group", e);
    // Models, policies and their points go with the group's row.
    transaction
        .execute("DELETE FROM policy_groups WHERE org = ?1 AND name = ?2", params![org.0, name])
        .map_err(act)?;
    Ok(())
}

fn insert(transaction: &Transaction<'_>, group: &PolicyGroup) -> Result<(), Error> {
    let act = |e| Error::sqlite("save a policy group", e);
    transaction
        .execute("INSERT INTO policy_groups (org, name) VALUES (?1, ?2)", params![group.org.0, group.name])
        .map_err(act)?;
    let id = transaction.last_insert_rowid();
    for model in &group.models {
        transaction
            .execute("INSERT INTO policy_models (model, policy_group) VALUES (?1, ?2)", params![model.0, id])
            .map_err(act)?;
    }
    let mut statement = transaction
        .prepare_cached(
            "INSERT INTO policy_points (policy, model, point, band, band_min, band_max, door, door_min, door_max)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .map_err(act)?;
    for policy in &group.policies {
        let retention = policy.retention.map(Retention::name);
        transaction
            .execute(
                "INSERT INTO policies (id, policy_group, storage, retention, modifiable) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![policy.id, id, policy.storage.name(), retention, policy.modifiable],
            )
            .map_err(act)?;
        for at in &policy.points {
            let (band, door) = (at.thinning.dead_band, at.thinning.swinging_door);
            let row = params![
                policy.id,
                at.model.0,
                at.point.0,
                band.map(|t| t.deviation),
                band.map(|t| t.spacing_min),
                band.and_then(|t| t.spacing_max),
                door.map(|t| t.deviation),
                door.map(|t| t.spacing_min),
                door.and_then(|t| t.spacing_max),
            ];
            statement.execute(row).map_err(act)?;
        }
    }
    Ok(())
}

/// Reads all groups into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let mut groups: BTreeMap<i64, PolicyGroup> = BTreeMap::new();
    each(connection, "SELECT id, org, name FROM policy_groups", |id, row| {
        let org = OrgId(number("policy_groups", row.get(1).map_err(read)?)?);
        let name = row.get(2).map_err(read)?;
        groups.insert(id, PolicyGroup { org, name, models: Vec::new(), policies: Vec::new() });
        Ok(())
    })?;
    let lost = |table, id| Error::damaged(table, id, "policy_group", "does not exist");
    each(connection, "SELECT policy_group, model FROM policy_models ORDER BY model", |id, row| {
        let model = ModelId(number("policy_models", row.get(1).map_err(read)?)?);
        groups.get_mut(&id).ok_or_else(|| lost("policy_models", id))?.models.push(model);
        Ok(())
    })?;
    let mut points = load_points(connection)?;
    each(connection, "SELECT policy_group, id, storage, retention, modifiable FROM policies", |id, row| {
        let group = groups.get_mut(&id).ok_or_else(|| lost("policies", id))?;
        let wrong = |field: &str| Error::damaged("policies", id, field, "is unknown");
        let (policy, storage): (String, String) = (row.get(1).map_err(read)?, row.get(2).map_err(read)?);
        let retention: Option<String> = row.get(3).map_err(read)?;
        let retention =
            retention.map(|name| Retention::by_name(&name).ok_or_else(|| wrong("retention"))).transpose()?;
        group.policies.push(Policy {
            points: points.remove(&policy).unwrap_or_default(),
            id: policy,
            storage: StorageType::by_name(&storage).ok_or_else(|| wrong("storage"))?,
            retention,
            modifiable: row.get(4).map_err(read)?,
        });
        Ok(())
    })?;
    let mut groups: Vec<PolicyGroup> = groups.into_values().collect();
    groups.iter_mut().for_each(|group| group.policies.sort_by_key(|p| p.storage));
    sort(&mut groups);
    cache.apply(Edit::PolicyGroups(groups));
    Ok(())
}

fn load_points(connection: &Connection) -> Result<BTreeMap<String, Vec<PolicyPoint>>, Error> {
    let mut points: BTreeMap<String, Vec<PolicyPoint>> = BTreeMap::new();
    let sql = "SELECT model, point, policy, band, band_min, band_max, door, door_min, door_max
               FROM policy_points ORDER BY model, point";
    each(connection, sql, |model, row| {
        let tolerance = |first: usize| -> Result<Option<Tolerance>, Error> {
            let deviation: Option<f64> = row.get(first).map_err(read)?;
            let Some(deviation) = deviation else { return Ok(None) };
            let (min, spacing_max) =
                (row.get::<_, Option<i64>>(first + 1).map_err(read)?, row.get(first + 2).map_err(read)?);
            Ok(Some(Tolerance { deviation, spacing_min: min.unwrap_or(0), spacing_max }))
        };
        let point = PolicyPoint {
            model: ModelId(number("policy_points", model)?),
            point: PointId(row.get(1).map_err(read)?),
            thinning: Thinning { dead_band: tolerance(3)?, swinging_door: tolerance(6)? },
        };
        points.entry(row.get(2).map_err(read)?).or_default().push(point);
        Ok(())
    })?;
    Ok(points)
}

/// Hands every row of `sql` with its first column to `take`.
fn each(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(i64, &Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(sql).map_err(read)?;
    let mut rows = statement.query([]).map_err(read)?;
    while let Some(row) = rows.next().map_err(read)? {
        take(row.get(0).map_err(read)?, row)?;
    }
    Ok(())
}

fn read(error: rusqlite::Error) -> Error {
    Error::sqlite("read policy groups", error)
}

#[cfg(test)]
mod tests;
