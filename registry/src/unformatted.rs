//! Unformatted data: what devices send that their models do not define, kept as text where an organization asks for it.
//!
//! Owns: whether an organization keeps it and for how long, and the model it is kept in: one an organization, called
//! [`UNFORMATTED`], whose points are the keys that came, all STRING. Does not own: telling a defined point from another
//! one (`ingest`).
//!
//! Source: data service §3.2: no model, one retention for the organization.

use rusqlite::{Connection, params};
use wattline_model::{ModelId, OrgId, Retention};

use crate::cache::{Cache, Edit};
use crate::error::Error;
use crate::models::NewModel;
use crate::{Registry, audit, number};

/// The key of the model, in each organization that keeps unformatted data.
pub const UNFORMATTED: &str = "unformatted";

/// That an organization keeps unformatted data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unformatted {
    /// The organization.
    pub org: OrgId,
    /// The model it is kept in.
    pub model: ModelId,
    /// How long; `None`: for ever.
    pub retention: Option<Retention>,
}

impl Registry {
    /// Whether and how the organization keeps unformatted data.
    pub fn unformatted(&self, org: OrgId) -> Option<Unformatted> {
        self.cache().unformatted().iter().find(|u| u.org == org).copied()
    }

    /// Whether `model` is one that unformatted data is kept in: its assets are those of other models.
    pub fn is_unformatted(&self, model: ModelId) -> bool {
        self.model(model).is_some_and(|model| model.key == UNFORMATTED)
    }

    /// From now on the organization keeps unformatted data for `retention`, `None` being for ever.
    ///
    /// # Errors
    /// `NotFound` where there is no such organization.
    pub fn keep_unformatted(
        &self,
        org: OrgId,
        retention: Option<Retention>,
        operator: &str,
        now_micros: i64,
    ) -> Result<Unformatted, Error> {
        let key = UNFORMATTED.to_owned();
        let new = NewModel { org, key, name: String::new(), parent: None, points: Vec::new() };
        let model = match self.model_by_key(org, UNFORMATTED) {
            Some(model) => model,
            None => self.create_any_model(new, Vec::new(), None)?,
        };
        let kept = Unformatted { org, model: model.id, retention };
        self.change(|transaction, cache| {
            let act = |e| Error::sqlite("keep unformatted data", e);
            let sql = "INSERT INTO unformatted (org, model, retention) VALUES (?1, ?2, ?3)
                       ON CONFLICT (org) DO UPDATE SET retention = excluded.retention";
            let name = retention.map(Retention::name);
            transaction.execute(sql, params![org.0, model.id.0, name]).map_err(act)?;
            let before = cache.unformatted().iter().find(|u| u.org == org);
            note(transaction, before.copied(), Some(kept), operator, now_micros)?;
            let others = cache.unformatted().iter().filter(|u| u.org != org).copied();
            Ok((kept, Edit::Unformatted(others.chain([kept]).collect())))
        })
    }

    /// From now on the organization's devices may send what their models define, and nothing else. What is kept
    /// stays.
    ///
    /// # Errors
    /// `Io` where the file cannot be written.
    pub fn refuse_unformatted(&self, org: OrgId, operator: &str, now_micros: i64) -> Result<(), Error> {
        self.change(|transaction, cache| {
            let Some(before) = cache.unformatted().iter().find(|u| u.org == org) else {
                return Ok(((), Edit::Nothing));
            };
            transaction
                .execute("DELETE FROM unformatted WHERE org = ?1", [org.0])
                .map_err(|e| Error::sqlite("refuse unformatted data", e))?;
            note(transaction, Some(*before), None, operator, now_micros)?;
            let others = cache.unformatted().iter().filter(|u| u.org != org).copied();
            Ok(((), Edit::Unformatted(others.collect())))
        })
    }
}

fn note(
    transaction: &rusqlite::Transaction<'_>,
    before: Option<Unformatted>,
    after: Option<Unformatted>,
    operator: &str,
    micros: i64,
) -> Result<(), Error> {
    let shown = |kept: Unformatted| serde_json::json!({"retention": kept.retention.map(Retention::name)});
    let action = if after.is_some() { "keep unformatted data" } else { "refuse unformatted data" };
    let (before, after) = (before.map(shown), after.map(shown));
    audit::note(transaction, &audit::Note { operator, action, item: UNFORMATTED, before, after, micros })
}

/// Reads all organizations that keep unformatted data into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read who keeps unformatted data", e);
    let mut statement = connection.prepare("SELECT org, model, retention FROM unformatted").map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(act)? {
        let org = row.get(0).map_err(act)?;
        let retention: Option<String> = row.get(2).map_err(act)?;
        let wrong = || Error::damaged("unformatted", org, "retention", "is unknown");
        let named = |name: String| Retention::by_name(&name).ok_or_else(wrong);
        all.push(Unformatted {
            org: OrgId(number("unformatted", org)?),
            model: ModelId(number("unformatted", row.get(1).map_err(act)?)?),
            retention: retention.map(named).transpose()?,
        });
    }
    cache.apply(Edit::Unformatted(all));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DEFAULT_ORG, ErrorKind};

    #[test]
    fn an_organization_keeps_unformatted_data_until_told_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.db");
        let registry = Registry::open(&path).unwrap();
        assert_eq!(registry.unformatted(DEFAULT_ORG), None);
        let kept = registry.keep_unformatted(DEFAULT_ORG, Retention::by_name("1y"), "ann", 5).unwrap();
        drop(registry);
        let registry = Registry::open(&path).unwrap();
        assert_eq!(registry.unformatted(DEFAULT_ORG), Some(kept));
        assert!(registry.is_unformatted(kept.model));
        let policies = registry.policies(true);
        let rest = policies.of(kept.model).unwrap().point(wattline_model::PointId(7));
        assert_eq!(rest.history, Some(wattline_model::HistoryRule::AS_SENT), "whatever others keep");
        assert_eq!(registry.horizons(0).len(), 1);

        let key = UNFORMATTED.to_owned();
        let new = NewModel { org: DEFAULT_ORG, key, name: String::new(), parent: None, points: Vec::new() };
        assert_eq!(registry.create_model(new).unwrap_err().kind(), ErrorKind::Input, "the key is reserved");
        registry.refuse_unformatted(DEFAULT_ORG, "bob", 6).unwrap();
        assert_eq!(registry.unformatted(DEFAULT_ORG), None);
        let again = registry.keep_unformatted(DEFAULT_ORG, None, "ann", 7).unwrap();
        assert_eq!((again.model, again.retention), (kept.model, None), "in the same model");
        let actions: Vec<String> = registry.audit(0, 9).unwrap().into_iter().map(|e| e.action).collect();
        assert_eq!(actions, ["keep unformatted data", "refuse unformatted data", "keep unformatted data"]);
    }
}
