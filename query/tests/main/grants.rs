//! What accounts see that are limited to grants: over every kind of table, in plans that are kept, after a change.
//!
//! The data is that of the scripts; see `fixture`.

use std::sync::Arc;

use tokio::runtime::Runtime;
use wattline_model::ValueRef;
use wattline_query::{Caller, Engine, ErrorKind};
use wattline_registry::{Grant, Holder, Registry, Verifier};

use crate::fixture::{Fixture, MINUTE, OPERATOR, START, rows_for};

/// An account with these grants.
fn account(registry: &Registry, name: &str, grants: &[&str]) -> Caller {
    let verifier =
        Verifier { salt: vec![1; 16], iterations: 4_096, stored_key: [0; 32], server_key: [0; 32] };
    let grants: Vec<Grant> = grants.iter().map(|text| registry.read_grant(text).unwrap()).collect();
    registry.create_account_with(name, verifier, Some(&grants), "test", 0).unwrap();
    caller(name)
}

fn caller(name: &str) -> Caller {
    Caller { account: Some(Arc::from(name)), wire: "test", origin: None }
}

struct Asking {
    engine: Engine,
    runtime: Runtime,
}

impl Asking {
    fn new(fixture: &Fixture) -> Asking {
        Asking { engine: fixture.engine.clone(), runtime: Runtime::new().unwrap() }
    }

    /// The rows of a statement, columns with `|` between.
    #[track_caller]
    fn rows(&self, caller: &Caller, sql: &str) -> Vec<String> {
        let rows = self.runtime.block_on(rows_for(&self.engine, caller, sql));
        rows.unwrap_or_else(|e| panic!("{sql}: {e}")).iter().map(|row| row.join("|")).collect()
    }

    #[track_caller]
    fn refused(&self, caller: &Caller, sql: &str) -> (ErrorKind, String) {
        let error = self.runtime.block_on(rows_for(&self.engine, caller, sql)).unwrap_err();
        (error.kind(), error.message().to_owned())
    }
}

/// Statements, and what an account sees that may read T1 alone.
const OF_T1: &[(&str, &[&str])] = &[
    ("SELECT asset_id, count(*) FROM turbine GROUP BY asset_id", &["T1|4"]),
    ("SELECT count(*) FROM turbine", &["4"]),
    ("SELECT count(windSpeed), sum(windSpeed), max(activePower) FROM turbine", &["3|18.5|200.0"]),
    (
        "SELECT asset_id, time_bucket('1 hour', time) AS t, avg(activePower) FROM turbine GROUP BY asset_id, t",
        &["T1|2026-01-01T00:00:00Z|150.0"],
    ),
    (
        "SELECT time_bucket('1 day', time) AS t, min(windSpeed), count(*) FROM turbine GROUP BY t",
        &["2026-01-01T00:00:00Z|5.0|4"],
    ),
    ("SELECT last(activePower, time) FROM turbine", &["200.0"]),
    ("SELECT DISTINCT asset_id FROM turbine WHERE asset_id IN ('T1', 'T2', 'T3')", &["T1"]),
    ("SELECT activePower FROM turbine WHERE asset_id = 'T2'", &[]),
    ("SELECT max(activePower) FROM turbine WHERE asset_id = 'T2'", &["NULL"]),
    ("SELECT asset_id FROM turbine WHERE asset_id <> 'T1'", &[]),
    ("SELECT asset_id FROM turbine ORDER BY time DESC LIMIT 1", &["T1"]),
    ("WITH w AS (SELECT * FROM turbine) SELECT count(*) FROM w a JOIN w b ON a.time = b.time", &["4"]),
    ("SELECT (SELECT count(*) FROM turbine t WHERE t.asset_id = a.asset_id) FROM assets a", &["4"]),
    ("SELECT asset_id, activePower FROM latest.turbine", &["T1|200.0"]),
    ("SELECT asset_id FROM latest.turbine WHERE asset_id IN ('T1', 'T2')", &["T1"]),
    ("SELECT count(*) FROM latest.turbine", &["1"]),
    ("SELECT asset_id FROM latest.turbine WHERE asset_id = 'T2'", &[]),
    ("SELECT asset_id FROM assets", &["T1"]),
    ("SELECT DISTINCT model FROM models", &["turbine"]),
    (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name",
        &["assets", "models", "turbine"],
    ),
    ("SELECT table_name FROM information_schema.tables WHERE table_schema = 'latest'", &["turbine"]),
    (
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'public' ORDER BY 1",
        &["assets", "models", "turbine"],
    ),
    ("SELECT to_regclass('meter') IS NULL, to_regclass('turbine') IS NULL", &["true|false"]),
    ("SELECT count(*) FROM system.policies", &["0"]),
];

#[test]
fn a_limited_account_sees_its_assets_in_every_table() {
    let mut fixture = Fixture::of_scripts();
    let eva = account(&fixture.registry, "eva", &["read:asset:T1"]);
    for round in ["memtables", "segments"] {
        let asking = Asking::new(&fixture);
        for (sql, expected) in OF_T1 {
            // The third time it may run as a kept plan.
            (0..3).for_each(|_| assert_eq!(asking.rows(&eva, sql), *expected, "{round}: {sql}"));
        }
        let explained = asking.rows(&eva, "EXPLAIN SELECT count(*) FROM turbine").concat();
        assert!(explained.contains("assets=1"), "{explained}");
        assert_eq!(asking.rows(&OPERATOR, "SELECT count(*) FROM turbine"), ["7"], "{round}");
        // Both ways into segments: with statistics of blocks, and without.
        drop(asking);
        fixture = fixture.reopen();
    }
}

#[test]
fn what_is_not_for_an_account_is_not_there_or_refused() {
    let fixture = Fixture::of_scripts();
    let eva = account(&fixture.registry, "eva", &["read:asset:T1", "write:asset:M1"]);
    let asking = Asking::new(&fixture);
    for sql in ["SELECT * FROM kinds", "SELECT * FROM \"acme.meter\"", "EXPLAIN SELECT * FROM latest.kinds"] {
        let (kind, message) = asking.refused(&eva, sql);
        assert_eq!(kind, ErrorKind::Input, "{sql}");
        assert!(message.starts_with("there is no table"), "{sql}: {message}");
    }
    // A right to write is none to read; the table is there, for it can be written.
    assert_eq!(asking.rows(&eva, "SELECT count(*) FROM meter"), ["0"]);
    assert_eq!(asking.rows(&eva, "SELECT * FROM latest.meter"), [""; 0]);
    for table in ["segments", "shards", "blocks", "jobs", "settings", "audit"] {
        let (kind, message) = asking.refused(&eva, &format!("SELECT * FROM system.{table}"));
        assert_eq!(kind, ErrorKind::Denied, "{table}: {message}");
        asking.rows(&OPERATOR, &format!("SELECT count(*) FROM system.{table}"));
    }
    let own = asking.rows(&eva, "SELECT DISTINCT account FROM system.queries");
    assert_eq!(own, ["eva"]);
    assert!(asking.rows(&OPERATOR, "SELECT DISTINCT account FROM system.queries").len() > 1);
    // Whoever is no account, or none any more, sees nothing.
    fixture.registry.delete_account("eva", "test", 1).unwrap();
    for caller in [eva, caller("nobody")] {
        assert_eq!(asking.refused(&caller, "SELECT * FROM turbine").0, ErrorKind::Input);
        assert_eq!(asking.rows(&caller, "SELECT count(*) FROM assets"), ["0"]);
    }
}

#[test]
fn kept_plans_are_of_one_account() {
    let fixture = Fixture::of_scripts();
    let one = account(&fixture.registry, "one", &["read:asset:T1"]);
    let two = account(&fixture.registry, "two", &["read:asset:T2"]);
    let asking = Asking::new(&fixture);
    let statements = [
        ("SELECT count(*) FROM turbine WHERE time >= '2026-01-01'", ["7", "4", "3"]),
        ("SELECT max(activePower) FROM turbine WHERE asset_id IN ('T1', 'T2')", ["200.0", "200.0", "80.0"]),
        ("SELECT count(*) FROM latest.turbine WHERE asset_id IN ('T1', 'T2')", ["2", "1", "1"]),
    ];
    for _ in 0..4 {
        for (sql, expected) in statements {
            for (caller, expected) in [&OPERATOR, &one, &two].into_iter().zip(expected) {
                assert_eq!(asking.rows(caller, sql), [expected], "{sql}, {caller:?}");
            }
        }
    }
    assert!(asking.engine.plans_reused() > 0);
}

#[test]
fn a_change_of_grants_takes_effect_with_the_next_statement() {
    let fixture = Fixture::of_scripts();
    let eva = account(&fixture.registry, "eva", &[]);
    let asking = Asking::new(&fixture);
    let sql = "SELECT count(*) FROM turbine WHERE time >= '2026-01-01'";
    let expect = |expected: Option<&str>| match expected {
        Some(count) => (0..3).for_each(|_| assert_eq!(asking.rows(&eva, sql), [count])),
        None => assert_eq!(asking.refused(&eva, sql).0, ErrorKind::Input),
    };
    let grants = |texts: &[&str]| -> Vec<Grant> {
        texts.iter().map(|text| fixture.registry.read_grant(text).unwrap()).collect()
    };
    let holder = Holder::account("eva");
    expect(None);
    fixture.registry.grant(holder, &grants(&["read:asset:T2"]), "test", 0).unwrap();
    expect(Some("3"));
    fixture.registry.grant(holder, &grants(&["read:model:turbine"]), "test", 0).unwrap();
    expect(Some("7"));
    // An asset that is new is of the model as well.
    crate::fixture::create_device(&fixture.registry, "pTurbine", "T4", "New", "north");
    let power = [("activePower", ValueRef::Float(1.0), None)];
    fixture.write("turbine", &[("T4", START + MINUTE, &power)]);
    expect(Some("8"));
    fixture.registry.revoke_grants(holder, &grants(&["read:model:turbine"]), "test", 0).unwrap();
    expect(Some("3"));
    fixture.registry.set_grants(holder, None, "test", 0).unwrap();
    expect(Some("8"));
    fixture.registry.set_grants(holder, Some(&[]), "test", 0).unwrap();
    expect(None);
}
