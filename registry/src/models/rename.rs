//! Another key for a point.
//!
//! Samples, policies and deletions know a point by its number, so its history goes on under the new key. Devices know
//! it by its key: one that sends the old one names a point the model no longer has.

use std::sync::Arc;

use rusqlite::params;
use wattline_model::{Model, ModelId};

use super::{RESERVED_POINT_KEYS, family, quality_columns};
use crate::audit::{self, Note};
use crate::cache::{Edit, ModelEntry};
use crate::error::Error;
use crate::{Registry, check};

impl Registry {
    /// Gives the point `from` of a model, and of all that inherit it, the key `to`.
    ///
    /// # Errors
    /// `NotFound` where the model has no such point, `Conflict` where the point is inherited or the key is taken,
    /// `Input` for a key that no point may have; then nothing is changed.
    pub fn rename_point(
        &self,
        id: ModelId,
        from: &str,
        to: &str,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<Model>, Error> {
        let found = self.model(id).ok_or_else(|| Error::not_found(id.to_string()))?;
        let item = format!("model {}", found.key);
        check::identifier(&item, "point identifier", to)?;
        if RESERVED_POINT_KEYS.contains(&to) {
            let reason = "is the name of a column that every table has";
            return Err(Error::input(item, &format!("point {to}"), reason));
        }
        self.change(|transaction, cache| {
            let top = cache.model(id).ok_or_else(|| Error::bug(id.to_string(), "vanished"))?;
            if top.model.point_by_key(from).is_none() {
                return Err(Error::not_found(format!("{item}: point {from}")));
            }
            let parent = top.parent.and_then(|parent| cache.model(parent));
            if let Some(parent) = parent.filter(|parent| parent.model.point_by_key(from).is_some()) {
                let reason = format!("is inherited from model {}; rename it there", parent.model.key);
                return Err(Error::conflict(item, &format!("point {from}"), reason));
            }
            let mut changed = Vec::new();
            for entry in family(cache, top) {
                let model = renamed(&entry.model, from, to)?;
                let act = |e| Error::sqlite("rename a point", e);
                let sql = "UPDATE points SET key = ?3 WHERE model = ?1 AND key = ?2";
                transaction.execute(sql, params![model.id.0, from, to]).map_err(act)?;
                let sql = "UPDATE models SET version = version + 1 WHERE id = ?1";
                transaction.execute(sql, [model.id.0]).map_err(act)?;
                changed.push(ModelEntry { model: Arc::new(model), ..entry.clone() });
            }
            let (before, after) = (Some(from.into()), Some(to.into()));
            let note = Note {
                operator,
                action: "rename point",
                item: &found.key,
                before,
                after,
                micros: now_micros,
            };
            audit::note(transaction, &note)?;
            let now = changed.iter().find(|entry| entry.model.id == id).map(|entry| Arc::clone(&entry.model));
            let now = now.ok_or_else(|| Error::bug(item, "is not of its own family"))?;
            Ok((now, Edit::Models(changed)))
        })
    }
}

/// The next version of `old`, with the point `from` called `to`.
fn renamed(old: &Model, from: &str, to: &str) -> Result<Model, Error> {
    let item = format!("model {}", old.key);
    if old.point_by_key(to).is_some() {
        return Err(Error::conflict(item, &format!("point {to}"), "is there already"));
    }
    let mut points = old.points.clone();
    for point in points.iter_mut().filter(|point| point.key == from) {
        to.clone_into(&mut point.key);
    }
    quality_columns(&item, &points)?;
    Ok(Model::new(old.id, old.org, old.key.clone(), old.path.clone(), points, old.version + 1))
}

#[cfg(test)]
mod tests {
    use wattline_model::{DataType, PointId};

    use crate::{DEFAULT_ORG, ErrorKind, NewModel, NewPoint, Registry};

    #[test]
    fn a_point_keeps_its_number_under_its_new_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.db");
        let registry = Registry::open(&path).unwrap();
        let create = |key: &str, parent: Option<&str>, points: &[&str]| {
            let points = points.iter().map(|&key| NewPoint::new(key, DataType::Double)).collect();
            let (org, parent) = (DEFAULT_ORG, parent.map(str::to_owned));
            let new = NewModel { org, key: key.to_owned(), name: String::new(), parent, points };
            registry.create_model(new).unwrap()
        };
        let root = create("root", None, &["a", "b"]);
        let child = create("child", Some("root"), &["c"]);
        let rename = |model, from, to| registry.rename_point(model, from, to, "ann", 7);

        let now = rename(root.id, "b", "power").unwrap();
        assert_eq!((now.version, now.point_by_key("power").map(|p| p.id)), (2, Some(PointId(1))));
        assert!(now.point_by_key("b").is_none());
        assert_eq!(registry.model(child.id).unwrap().point_by_key("power").map(|p| p.id), Some(PointId(1)));

        let kind = |model, from, to| rename(model, from, to).unwrap_err().kind();
        assert_eq!(kind(child.id, "power", "x"), ErrorKind::Conflict, "is inherited");
        assert_eq!(kind(root.id, "a", "c"), ErrorKind::Conflict, "is taken in a child");
        assert_eq!(kind(root.id, "a", "power"), ErrorKind::Conflict);
        assert_eq!(kind(root.id, "b", "x"), ErrorKind::NotFound);
        assert_eq!(kind(root.id, "a", "time"), ErrorKind::Input);
        assert_eq!(kind(root.id, "a", "a/b"), ErrorKind::Input);
        assert_eq!(registry.audit(0, 9).unwrap().len(), 1, "only what was done is noted");

        drop(registry);
        let registry = Registry::open(&path).unwrap();
        let keys = |key: &str| -> Vec<String> {
            let model = registry.model_by_key(DEFAULT_ORG, key).unwrap();
            model.points.iter().map(|p| p.key.clone()).collect()
        };
        assert_eq!(keys("root"), ["a", "power"]);
        assert_eq!(keys("child"), ["a", "power", "c"]);
    }
}
