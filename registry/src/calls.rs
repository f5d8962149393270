//! Calls in the audit log: who was denied what, and who changed data.
//!
//! Owns: the entries, how many are kept and for how long. Does not own: which calls are noted and how calls that are
//! alike are counted together (`server`); changes of what the registry holds, which are noted with what they changed
//! ([`crate::audit`]).

use rusqlite::params;

use crate::Registry;
use crate::cache::Edit;
use crate::error::Error;

/// Entries that are kept; the oldest beyond go. Two a minute for two months: whoever wants more exports them.
pub const CALLS_MAX: i64 = 200_000;

/// How long an entry is kept: a year and what an audit of it takes.
pub const CALLS_KEPT_MICROS: i64 = 400 * 86_400 * 1_000_000;

/// A call, or several that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedCall {
    /// When, or when the first of them was: microseconds since the epoch.
    pub micros: i64,
    /// When the last of them was.
    pub last_micros: i64,
    /// How many there were.
    pub count: u64,
    /// Who; nothing where nobody proved who they are.
    pub account: Option<String>,
    /// The way in: `rest`, `http`, `pg`, `flight`.
    pub wire: String,
    /// From where: the address of the other side.
    pub origin: Option<String>,
    /// What was asked for, such as `INSERT` or `latest`.
    pub action: String,
    /// Of what: a table, a path.
    pub item: String,
    /// `done`, `denied` or `failed`.
    pub outcome: String,
    /// Why it was not done, of the last of them.
    pub reason: Option<String>,
}

impl Registry {
    /// Notes calls, and lets go of what is too old or too much.
    ///
    /// # Errors
    /// `Io` where the file cannot be written.
    pub fn note_calls(&self, calls: &[AuditedCall], now_micros: i64) -> Result<(), Error> {
        let act = |e| Error::sqlite("note calls", e);
        self.change(|transaction, _| {
            let sql = "INSERT INTO calls (micros, last_micros, count, account, wire, origin, action, item, outcome, reason)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
            let mut statement = transaction.prepare_cached(sql).map_err(act)?;
            for call in calls {
                let count = i64::try_from(call.count).unwrap_or(i64::MAX);
                statement
                    .execute(params![
                        call.micros,
                        call.last_micros,
                        count,
                        call.account,
                        call.wire,
                        call.origin,
                        call.action,
                        call.item,
                        call.outcome,
                        call.reason
                    ])
                    .map_err(act)?;
            }
            let newest = transaction.last_insert_rowid();
            let sql = "DELETE FROM calls WHERE id <= ?1 OR micros < ?2";
            let old = now_micros.saturating_sub(CALLS_KEPT_MICROS);
            transaction.execute(sql, params![newest - CALLS_MAX, old]).map_err(act)?;
            Ok(((), Edit::Calls))
        })
    }

    /// The calls that are kept, the newest first, at most so many.
    ///
    /// # Errors
    /// `Io` where the file cannot be read.
    pub fn audited_calls(&self, limit: u32) -> Result<Vec<AuditedCall>, Error> {
        let act = |e| Error::sqlite("read audited calls", e);
        let writer = self.inner.writer.lock();
        let sql = "SELECT micros, last_micros, count, account, wire, origin, action, item, outcome, reason
                   FROM calls ORDER BY id DESC LIMIT ?1";
        let mut statement = writer.connection.prepare_cached(sql).map_err(act)?;
        let mut rows = statement.query([limit]).map_err(act)?;
        let mut calls = Vec::new();
        while let Some(row) = rows.next().map_err(act)? {
            let count: i64 = row.get(2).map_err(act)?;
            calls.push(AuditedCall {
                micros: row.get(0).map_err(act)?,
                last_micros: row.get(1).map_err(act)?,
                count: count.unsigned_abs(),
                account: row.get(3).map_err(act)?,
                wire: row.get(4).map_err(act)?,
                origin: row.get(5).map_err(act)?,
                action: row.get(6).map_err(act)?,
                item: row.get(7).map_err(act)?,
                outcome: row.get(8).map_err(act)?,
                reason: row.get(9).map_err(act)?,
            });
        }
        Ok(calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(micros: i64, item: &str) -> AuditedCall {
        AuditedCall {
            micros,
            last_micros: micros + 5,
            count: 3,
            account: Some("eva".into()),
            wire: "pg".into(),
            origin: Some("192.0.2.1".into()),
            action: "INSERT".into(),
            item: item.into(),
            outcome: "denied".into(),
            reason: Some("permission denied".into()),
        }
    }

    #[test]
    fn calls_outlive_a_restart_and_go_when_they_are_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry");
        let registry = Registry::open(&path).unwrap();
        let year = 365 * 86_400 * 1_000_000;
        registry.note_calls(&[call(0, "a"), call(10, "b")], 10).unwrap();
        registry.note_calls(&[call(year, "c")], year).unwrap();
        drop(registry);
        let registry = Registry::open(&path).unwrap();
        assert_eq!(registry.audited_calls(10).unwrap(), [call(year, "c"), call(10, "b"), call(0, "a")]);
        assert_eq!(registry.audited_calls(1).unwrap(), [call(year, "c")]);
        registry.note_calls(&[call(2 * year, "d")], CALLS_KEPT_MICROS + 11).unwrap();
        assert_eq!(registry.audited_calls(10).unwrap(), [call(2 * year, "d"), call(year, "c")]);
    }
}
