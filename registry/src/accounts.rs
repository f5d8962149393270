//! Accounts: people and programs that sign in with a password.
//!
//! Owns: their names, the verifiers of their passwords, the rules of both. Does not own: the exchange that proves a
//! password (`server`), what an account may do ([`crate::grants`]).
//!
//! The password itself is never here: a SCRAM verifier (RFC 5802) can check a login and cannot make one.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};
use serde_json::{Value, json};

use crate::cache::{Cache, Edit};
use crate::error::{Error, ErrorKind};
use crate::{Grant, Holder, Registry, audit, check, grants};

/// Accounts of one registry: each is set up by a person.
pub const ACCOUNTS_MAX: usize = 10_000;

/// Rounds of a verifier: at least what RFC 7677 asks for, at most what a login may cost a client.
pub const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;

/// Bytes of a verifier's salt.
pub const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;

/// What checks a password by SCRAM-SHA-256. Printing it prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Random bytes that make equal passwords differ.
    pub salt: Vec<u8>,
    /// Rounds of the password's derivation.
    pub iterations: u32,
    /// What a client's proof is checked with.
    pub stored_key: [u8; 32],
    /// What the server proves itself with.
    pub server_key: [u8; 32],
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// What checks its password.
    pub verifier: Verifier,
    /// When it was created, microseconds since the epoch.
    pub created_micros: i64,
}

impl Registry {
    /// The account called `name`.
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.cache().account(name).cloned()
    }

    /// All accounts, by name.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.cache().accounts().cloned().collect()
    }

    /// Creates an account.
    ///
    /// # Errors
    /// `Input` for a bad name or verifier, `Conflict` where the name is taken.
    pub fn create_account(
        &self,
        name: &str,
        verifier: Verifier,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<Account>, Error> {
        self.create_account_with(name, verifier, None, operator, now_micros)
    }

    /// Creates an account that is limited to these grants, where there are any.
    ///
    /// # Errors
    /// As [`create_account`](Registry::create_account), and as [`grant`](Registry::grant).
    pub fn create_account_with(
        &self,
        name: &str,
        verifier: Verifier,
        grants: Option<&[Grant]>,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<Account>, Error> {
        let item = item(name);
        check::identifier("account", "name", name)?;
        check_verifier(&item, &verifier)?;
        self.change(|transaction, cache| {
            if cache.account(name).is_some() {
                return Err(Error::conflict(item, "name", "is taken"));
            }
            if cache.accounts().count() >= ACCOUNTS_MAX {
                return Err(Error::new(ErrorKind::Input, item, format!("there are {ACCOUNTS_MAX} already")));
            }
            let account = Account { name: name.to_owned(), verifier, created_micros: now_micros };
            save(transaction, &account)?;
            let first = grants::first(transaction, cache, Holder::account(name), None, grants)?;
            let mut after = json!({"name": name});
            let account = Arc::new(account);
            let mut edits = vec![Edit::Account(Arc::clone(&account))];
            if let Some((edit, told)) = first {
                after["grants"] = told;
                edits.push(edit);
            }
            note(transaction, operator, "create account", name, None, Some(after), now_micros)?;
            Ok((account, Edit::Several(edits)))
        })
    }

    /// Gives an account another password. Connections that are open stay.
    ///
    /// # Errors
    /// `NotFound` where there is no such account, `Input` for a bad verifier.
    pub fn set_account_verifier(
        &self,
        name: &str,
        verifier: Verifier,
        operator: &str,
        now_micros: i64,
    ) -> Result<(), Error> {
        check_verifier(&item(name), &verifier)?;
        self.change(|transaction, cache| {
            let account = cache.account(name).ok_or_else(|| Error::not_found(item(name)))?;
            let account = Account { verifier, ..(**account).clone() };
            save(transaction, &account)?;
            note(transaction, operator, "change password", name, None, None, now_micros)?;
            Ok(((), Edit::Account(Arc::new(account))))
        })
    }

    /// Removes an account with its grants. Connections that are open stay, and may do nothing any more.
    ///
    /// # Errors
    /// `NotFound` where there is no such account.
    pub fn delete_account(&self, name: &str, operator: &str, now_micros: i64) -> Result<(), Error> {
        self.change(|transaction, cache| {
            cache.account(name).ok_or_else(|| Error::not_found(item(name)))?;
            transaction
                .execute("DELETE FROM accounts WHERE name = ?1", [name])
                .map_err(|e| Error::sqlite("delete an account", e))?;
            grants::save(transaction, Holder::account(name), None)?;
            let before = Some(json!({"name": name}));
            note(transaction, operator, "delete account", name, before, None, now_micros)?;
            Ok(((), Edit::NoAccount(name.to_owned())))
        })
    }
}

fn item(name: &str) -> String {
    format!("account {name}")
}

fn check_verifier(item: &str, verifier: &Verifier) -> Result<(), Error> {
    if !ITERATIONS.contains(&verifier.iterations) {
        let reason = format!("wants {} to {} iterations", ITERATIONS.start(), ITERATIONS.end());
        return Err(Error::input(item, "verifier", reason));
    }
    if !SALT_BYTES.contains(&verifier.salt.len()) {
        let reason = format!("wants {} to {} bytes of salt", SALT_BYTES.start(), SALT_BYTES.end());
        return Err(Error::input(item, "verifier", reason));
    }
    Ok(())
}

fn save(transaction: &Transaction<'_>, account: &Account) -> Result<(), Error> {
    let verifier = &account.verifier;
    transaction
        .execute(
            "INSERT OR REPLACE INTO accounts (name, salt, iterations, stored_key, server_key, created_micros)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                account.name,
                verifier.salt,
                verifier.iterations,
                verifier.stored_key,
                verifier.server_key,
                account.created_micros
            ],
        )
        .map_err(|e| Error::sqlite("save an account", e))?;
    Ok(())
}

fn note(
    transaction: &Transaction<'_>,
    operator: &str,
    action: &str,
    item: &str,
    before: Option<Value>,
    after: Option<Value>,
    micros: i64,
) -> Result<(), Error> {
    audit::note(transaction, &audit::Note { operator, action, item, before, after, micros })
}

/// Reads all accounts into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read accounts", e);
    let sql = "SELECT rowid, name, salt, iterations, stored_key, server_key, created_micros FROM accounts";
    let mut statement = connection.prepare(sql).map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    while let Some(row) = rows.next().map_err(act)? {
        let id: i64 = row.get(0).map_err(act)?;
        let key = |column: usize, field: &str| -> Result<[u8; 32], Error> {
            let bytes: Vec<u8> = row.get(column).map_err(act)?;
            let length = bytes.len();
            let wrong = |_| Error::damaged("accounts", id, field, format!("has {length} bytes, not 32"));
            bytes.try_into().map_err(wrong)
        };
        let verifier = Verifier {
            salt: row.get(2).map_err(act)?,
            iterations: row.get(3).map_err(act)?,
            stored_key: key(4, "stored_key")?,
            server_key: key(5, "server_key")?,
        };
        let (name, created_micros) = (row.get(1).map_err(act)?, row.get(6).map_err(act)?);
        cache.apply(Edit::Account(Arc::new(Account { name, verifier, created_micros })));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(byte: u8) -> Verifier {
        Verifier { salt: vec![byte; 16], iterations: 4_096, stored_key: [byte; 32], server_key: [!byte; 32] }
    }

    #[test]
    fn accounts_outlive_a_restart_and_changes_are_noted_without_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry");
        let registry = Registry::open(&path).unwrap();
        registry.create_account("ann", verifier(1), "api", 10).unwrap();
        registry.create_account("bob", verifier(2), "api", 11).unwrap();
        let taken = registry.create_account("ann", verifier(3), "api", 12).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::Conflict);
        registry.set_account_verifier("ann", verifier(4), "api", 13).unwrap();
        registry.delete_account("bob", "api", 14).unwrap();
        assert_eq!(registry.delete_account("bob", "api", 15).unwrap_err().kind(), ErrorKind::NotFound);
        drop(registry);

        let registry = Registry::open(&path).unwrap();
        let names: Vec<String> = registry.accounts().iter().map(|a| a.name.clone()).collect();
        assert_eq!(names, ["ann"]);
        let ann = registry.account("ann").unwrap();
        assert_eq!((&ann.verifier, ann.created_micros), (&verifier(4), 10));
        assert!(registry.account("Ann").is_none());
        let actions: Vec<String> = registry.audit(0, 10).unwrap().into_iter().map(|e| e.action).collect();
        assert_eq!(actions, ["delete account", "change password", "create account", "create account"]);
        assert_eq!(format!("{:?}", ann.verifier), "***");
    }

    #[test]
    fn names_and_verifiers_have_rules() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry")).unwrap();
        for name in ["", "a b", "é", "-x", "a\"b"] {
            let refused = registry.create_account(name, verifier(1), "api", 0).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Input, "{name}");
        }
        for (salt, iterations) in [(0, 4_096), (65, 4_096), (16, 4_095), (16, 1_000_001)] {
            let weak = Verifier { salt: vec![0; salt], iterations, ..verifier(1) };
            let refused = registry.create_account("ann", weak, "api", 0).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Input, "{salt} {iterations}");
        }
    }
}
