//! The audit log: who changed what, when, from what to what.
//!
//! Owns: the entries and how many are kept. Does not own: which changes are noted (whoever makes them notes them in
//! the same transaction, so that there is no change without its entry).

use rusqlite::{Transaction, params};
use serde_json::Value;

use crate::Registry;
use crate::error::Error;

/// Entries that are kept; the oldest beyond go. Years of changes by hand.
pub const AUDIT_ENTRIES_MAX: i64 = 100_000;

/// A change that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub id: i64,
    /// When, microseconds since the epoch.
    pub micros: i64,
    /// Who.
    pub operator: String,
    /// What was done, such as `change policy group`.
    pub action: String,
    /// To which thing of that kind.
    pub item: String,
    /// What it was before; nothing where it was created.
    pub before: Option<Value>,
    /// What it became; nothing where it was removed.
    pub after: Option<Value>,
}

/// An entry to make.
pub(crate) struct Note<'a> {
    pub(crate) operator: &'a str,
    pub(crate) action: &'a str,
    pub(crate) item: &'a str,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    pub(crate) micros: i64,
}

/// Makes an entry as part of the change it is about.
pub(crate) fn note(transaction: &Transaction<'_>, note: &Note<'_>) -> Result<(), Error> {
    let act = |e| Error::sqlite("note a change", e);
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    transaction
        .execute(
            "INSERT INTO audit (micros, operator, action, item, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![note.micros, note.operator, note.action, note.item, text(&note.before), text(&note.after)],
        )
        .map_err(act)?;
    let oldest = transaction.last_insert_rowid() - AUDIT_ENTRIES_MAX;
    transaction.execute("DELETE FROM audit WHERE id <= ?1", [oldest]).map_err(act)?;
    Ok(())
}

impl Registry {
    /// Entries of the audit log, the newest first, from number `offset` of that order on.
    ///
    /// # Errors
    /// `Io` where the file cannot be read.
    pub fn audit(&self, offset: u32, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        let act = |e| Error::sqlite("read the audit log", e);
        let writer = self.inner.writer.lock();
        let sql = "SELECT id, micros, operator, action, item, before, after FROM audit
                   ORDER BY id DESC LIMIT ?1 OFFSET ?2";
        let mut statement = writer.connection.prepare_cached(sql).map_err(act)?;
        let mut rows = statement.query([limit, offset]).map_err(act)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next().map_err(act)? {
            let id = row.get(0).map_err(act)?;
            let json = |text: Option<String>, field: &str| {
                let parse = |text: String| serde_json::from_str(&text);
                text.map(parse).transpose().map_err(|_| Error::damaged("audit", id, field, "is no JSON"))
            };
            entries.push(AuditEntry {
                id,
                micros: row.get(1).map_err(act)?,
                operator: row.get(2).map_err(act)?,
                action: row.get(3).map_err(act)?,
                item: row.get(4).map_err(act)?,
                before: json(row.get(5).map_err(act)?, "before")?,
                after: json(row.get(6).map_err(act)?, "after")?,
            });
        }
        Ok(entries)
    }
}
