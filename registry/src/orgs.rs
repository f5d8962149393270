//! Organizations: who owns models, products and devices.

use std::sync::Arc;

use rusqlite::{Connection, Transaction};
use wattline_model::OrgId;

use crate::cache::{Cache, Edit};
use crate::error::{Error, ErrorKind};
use crate::{Registry, check, number};

/// The organization that always exists, with the key `default`.
pub const DEFAULT_ORG: OrgId = OrgId(1);

/// Organizations of one registry. Each is an administrative unit a person set up.
pub const ORGS_MAX: usize = 10_000;

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Org {
    /// Its number.
    pub id: OrgId,
    /// Its identifier, `orgId` in the APIs.
    pub key: String,
    /// Display name.
    pub name: String,
}

/// An organization to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewOrg {
    /// Its identifier, unique.
    pub key: String,
    /// Display name; empty = the key.
    pub name: String,
}

impl Registry {
    /// The organization with this number.
    pub fn org(&self, id: OrgId) -> Option<Arc<Org>> {
        self.cache().org(id).cloned()
    }

    /// The organization with this identifier.
    pub fn org_by_key(&self, key: &str) -> Option<Arc<Org>> {
        self.cache().org_by_key(key).cloned()
    }

    /// All organizations, oldest first.
    pub fn orgs(&self) -> Vec<Arc<Org>> {
        self.cache().orgs().cloned().collect()
    }

    /// Creates an organization.
    ///
    /// # Errors
    /// `Input` for a bad key or name, `Conflict` where the key is taken.
    pub fn create_org(&self, new: NewOrg) -> Result<Arc<Org>, Error> {
        let item = format!("organization {}", new.key);
        check::identifier("organization", "key", &new.key)?;
        let name = if new.name.is_empty() { new.key.clone() } else { new.name };
        check::name(&item, "name", &name)?;
        self.change(|transaction, cache| {
            if cache.org_by_key(&new.key).is_some() {
                return Err(Error::conflict(item, "key", "is taken"));
            }
            if cache.orgs().count() >= ORGS_MAX {
                return Err(Error::new(ErrorKind::Input, item, format!("there are {ORGS_MAX} already")));
            }
            let org = insert(transaction, new.key, name)?;
            Ok((Arc::clone(&org), Edit::Org(org)))
        })
    }
}

fn insert(transaction: &Transaction<'_>, key: String, name: String) -> Result<Arc<Org>, Error> {
    transaction
        .execute("INSERT INTO orgs (key, name) VALUES (?1, ?2)", [&key, &name])
        .map_err(|e| Error::sqlite("create an organization", e))?;
    let id = OrgId(number("orgs", transaction.last_insert_rowid())?);
    Ok(Arc::new(Org { id, key, name }))
}

/// Reads all organizations into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read organizations", e);
    let mut statement = connection.prepare("SELECT id, key, name FROM orgs ORDER BY id").map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    while let Some(row) = rows.next().map_err(act)? {
        let id = OrgId(number("orgs", row.get(0).map_err(act)?)?);
        let (key, name) = (row.get(1).map_err(act)?, row.get(2).map_err(act)?);
        cache.apply(Edit::Org(Arc::new(Org { id, key, name })));
    }
    Ok(())
}
