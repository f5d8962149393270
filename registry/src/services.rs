//! Service accounts: applications that call the data service.
//!
//! Owns: their access keys and secrets, and which organization each belongs to. Does not own: digests, tokens
//! (`dataservice`), people who sign in with a password ([`crate::accounts`]).
//!
//! A call proves itself with a plain digest over the secret (data service §1.2), so the secret itself is kept, as a
//! device's is; see [`crate::secret`].

use std::sync::Arc;

use rusqlite::{Connection, params};
use serde_json::json;
use wattline_model::OrgId;

use crate::cache::{Cache, Edit};
use crate::error::{Error, ErrorKind};
use crate::secret::random_uuid;
use crate::{Grant, Holder, Registry, Secret, audit, check, grants, number};

/// Service accounts of one registry: each is an application that a person set up.
pub const SERVICE_ACCOUNTS_MAX: usize = 10_000;

/// A service account.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    /// Its access key, `appKey` in the API, unique in the registry.
    pub access_key: String,
    /// Its secret.
    pub secret: Secret,
    /// Its organization: it sees nothing of another.
    pub org: OrgId,
    /// Display name.
    pub name: String,
    /// When it was created, microseconds since the epoch.
    pub created_micros: i64,
}

/// A service account to create.
#[derive(Clone, Debug)]
pub struct NewServiceAccount {
    /// Its organization.
    pub org: OrgId,
    /// Display name.
    pub name: String,
    /// Its access key; none = generated.
    pub access_key: Option<String>,
    /// Its secret; none = generated.
    pub secret: Option<Secret>,
}

impl Registry {
    /// The service account with this access key.
    pub fn service_account(&self, access_key: &str) -> Option<Arc<ServiceAccount>> {
        self.cache().service_account(access_key).cloned()
    }

    /// All service accounts, by access key.
    pub fn service_accounts(&self) -> Vec<Arc<ServiceAccount>> {
        self.cache().service_accounts().cloned().collect()
    }

    /// Whether there is any.
    pub fn has_service_accounts(&self) -> bool {
        self.cache().service_accounts().next().is_some()
    }

    /// Creates a service account.
    ///
    /// # Errors
    /// `Input` for a bad name, key or secret, `NotFound` for the organization, `Conflict` where the key is taken.
    pub fn create_service_account(
        &self,
        new: NewServiceAccount,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<ServiceAccount>, Error> {
        self.create_service_account_with(new, None, operator, now_micros)
    }

    /// Creates a service account that is limited to these grants, where there are any.
    ///
    /// # Errors
    /// As [`create_service_account`](Registry::create_service_account), and as [`grant`](Registry::grant).
    pub fn create_service_account_with(
        &self,
        new: NewServiceAccount,
        grants: Option<&[Grant]>,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<ServiceAccount>, Error> {
        let access_key = new.access_key.map_or_else(random_uuid, Ok)?;
        let secret = new.secret.map_or_else(Secret::generate, Ok)?;
        let item = item(&access_key);
        check::identifier("service account", "accessKey", &access_key)?;
        check::name(&item, "name", &new.name)?;
        check::secret(&item, "secretKey", &secret)?;
        let (org, name) = (new.org, new.name);
        self.change(|transaction, cache| {
            let owner = cache.org(org).ok_or_else(|| Error::not_found(org.to_string()))?;
            if cache.service_account(&access_key).is_some() {
                return Err(Error::conflict(item, "accessKey", "is taken"));
            }
            if cache.service_accounts().count() >= SERVICE_ACCOUNTS_MAX {
                let reason = format!("there are {SERVICE_ACCOUNTS_MAX} already");
                return Err(Error::new(ErrorKind::Input, item, reason));
            }
            transaction
                .execute(
                    "INSERT INTO service_accounts (access_key, secret, org, name, created_micros)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![access_key, secret.expose(), org.0, name, now_micros],
                )
                .map_err(|e| Error::sqlite("create a service account", e))?;
            let first = grants::first(transaction, cache, Holder::service(&access_key), Some(org), grants)?;
            let mut after = json!({"orgId": owner.key, "name": name});
            let (first, told) = first.unzip();
            if let Some(told) = told {
                after["grants"] = told;
            }
            let (action, after) = ("create service account", Some(after));
            let note =
                audit::Note { operator, action, item: &access_key, before: None, after, micros: now_micros };
            audit::note(transaction, &note)?;
            let account = ServiceAccount { access_key, secret, org, name, created_micros: now_micros };
            let account = Arc::new(account);
            let edits = std::iter::once(Edit::ServiceAccount(Arc::clone(&account))).chain(first);
            Ok((account, Edit::Several(edits.collect())))
        })
    }

    /// Revokes a service account; its tokens and grants end with it.
    ///
    /// # Errors
    /// `NotFound` where there is no such account.
    pub fn revoke_service_account(
        &self,
        access_key: &str,
        operator: &str,
        now_micros: i64,
    ) -> Result<(), Error> {
        self.change(|transaction, cache| {
            let account = cache.service_account(access_key);
            let account = account.ok_or_else(|| Error::not_found(item(access_key)))?;
            transaction
                .execute("DELETE FROM service_accounts WHERE access_key = ?1", [access_key])
                .map_err(|e| Error::sqlite("revoke a service account", e))?;
            grants::save(transaction, Holder::service(access_key), None)?;
            let before = Some(json!({"name": account.name}));
            let action = "revoke service account";
            let note =
                audit::Note { operator, action, item: access_key, before, after: None, micros: now_micros };
            audit::note(transaction, &note)?;
            Ok(((), Edit::NoServiceAccount(access_key.to_owned())))
        })
    }
}

fn item(access_key: &str) -> String {
    format!("service account {access_key}")
}

/// Reads all service accounts into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read service accounts", e);
    let sql = "SELECT access_key, secret, org, name, created_micros FROM service_accounts";
    let mut statement = connection.prepare(sql).map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    while let Some(row) = rows.next().map_err(act)? {
        let secret: String = row.get(1).map_err(act)?;
        let account = ServiceAccount {
            access_key: row.get(0).map_err(act)?,
            secret: secret.into(),
            org: OrgId(number("service_accounts", row.get(2).map_err(act)?)?),
            name: row.get(3).map_err(act)?,
            created_micros: row.get(4).map_err(act)?,
        };
        cache.apply(Edit::ServiceAccount(Arc::new(account)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_ORG;

    fn new(key: Option<&str>) -> NewServiceAccount {
        let access_key = key.map(str::to_owned);
        NewServiceAccount { org: DEFAULT_ORG, name: "reports".into(), access_key, secret: None }
    }

    #[test]
    fn service_accounts_outlive_a_restart_and_are_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry");
        let registry = Registry::open(&path).unwrap();
        assert!(!registry.has_service_accounts());
        let made = registry.create_service_account(new(None), "api", 10).unwrap();
        registry.create_service_account(new(Some("demoKey")), "api", 11).unwrap();
        let taken = registry.create_service_account(new(Some("demoKey")), "api", 12).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::Conflict);
        registry.revoke_service_account("demoKey", "api", 13).unwrap();
        let gone = registry.revoke_service_account("demoKey", "api", 14).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        drop(registry);

        let registry = Registry::open(&path).unwrap();
        let found = registry.service_account(&made.access_key).unwrap();
        assert_eq!(found.secret.expose(), made.secret.expose());
        assert_eq!((found.org, found.name.as_str(), found.created_micros), (DEFAULT_ORG, "reports", 10));
        assert_eq!(registry.service_accounts().len(), 1);
        let noted = registry.audit(0, 10).unwrap();
        let actions: Vec<&str> = noted.iter().map(|e| e.action.as_str()).collect();
        let made_two = "create service account";
        assert_eq!(actions, ["revoke service account", made_two, made_two]);
        assert!(!format!("{noted:?} {found:?}").contains(made.secret.expose()));
    }

    #[test]
    fn service_accounts_have_rules() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry")).unwrap();
        for wrong in [
            new(Some("a b")),
            NewServiceAccount { name: String::new(), ..new(None) },
            NewServiceAccount { secret: Some("".into()), ..new(None) },
        ] {
            let refused = registry.create_service_account(wrong, "api", 0).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Input);
        }
        let elsewhere = NewServiceAccount { org: OrgId(9), ..new(None) };
        let refused = registry.create_service_account(elsewhere, "api", 0).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
    }
}
