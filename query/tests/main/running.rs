//! What is known of statements while they run, and how one ends another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use wattline_query::{
    Answer, Caller, ENDED_STATEMENTS_MAX, Engine, Error, ErrorKind, QuerySettings, SHOWN_TEXT_BYTES_MAX,
};
use wattline_registry::{Registry, Verifier};

use crate::fixture::{Fixture, rows};
use crate::limits::{many_rows, runtime};

/// Longer than any test waits.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b";

/// The account that [`kill`] is of.
fn create_ann(registry: &Registry) {
    let verifier =
        Verifier { salt: vec![1; 16], iterations: 4_096, stored_key: [0; 32], server_key: [0; 32] };
    registry.create_account("ann", verifier, "test", 0).unwrap();
}

async fn kill(engine: &Engine, sql: &str) -> Result<(), Error> {
    let caller = Caller { account: Some(Arc::from("ann")), wire: "pg", origin: None };
    match engine.run(&caller, sql, Vec::new()).await? {
        Answer::Changed { tag: "KILL", rows: None, job: None } => Ok(()),
        _ => panic!("KILL gave something else"),
    }
}

/// The number of the statement that begins with `text`, once it is in `state`.
async fn number(engine: &Engine, text: &str, state: &str) -> String {
    let sql = format!(
        "SELECT id FROM system.queries WHERE statement LIKE '{text}%' AND state = '{state}' ORDER BY id DESC"
    );
    let begin = Instant::now();
    loop {
        if let Some(row) = rows(engine, &sql).await.unwrap().first() {
            return row[0].clone();
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{text} is never {state}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// State, rows and error of the last statement that begins with `text`.
async fn told(engine: &Engine, text: &str) -> Vec<String> {
    let sql = format!(
        "SELECT state, rows, error FROM system.queries WHERE statement LIKE '{text}%' ORDER BY id DESC LIMIT 1"
    );
    rows(engine, &sql).await.unwrap().remove(0)
}

#[test]
fn statements_are_known_while_they_run_and_after() {
    let fixture = Fixture::of_scripts();
    let engine = &fixture.engine;
    runtime().block_on(async {
        assert_eq!(
            rows(engine, "SELECT wire, account, state, rows, error, statement FROM system.queries")
                .await
                .unwrap(),
            [[
                "engine",
                "NULL",
                "running",
                "0",
                "NULL",
                "SELECT wire, account, state, rows, error, statement FROM system.queries"
            ]]
        );
        rows(engine, "  SELECT * FROM meter ").await.unwrap();
        assert_eq!(told(engine, "SELECT * FROM meter").await, ["done", "100", "NULL"]);
        rows(engine, "SELECT energy FROM meter LIMIT 7").await.unwrap();
        assert_eq!(told(engine, "SELECT energy").await, ["done", "7", "NULL"]);
        assert!(rows(engine, "SELECT nothing FROM meter").await.is_err());
        let failed = told(engine, "SELECT nothing").await;
        assert_eq!((&*failed[0], &*failed[1]), ("failed", "0"));
        assert!(failed[2].contains("there is no column nothing"), "{failed:?}");
        drop(engine.sql("SELECT time FROM meter", Vec::new()).await.unwrap());
        assert_eq!(
            told(engine, "SELECT time").await,
            ["cancelled", "0", "its client cancelled it or went away"]
        );

        let long = format!("SELECT 'x{}'", "ü".repeat(SHOWN_TEXT_BYTES_MAX));
        rows(engine, &long).await.unwrap();
        let shown = "SELECT max(octet_length(statement)) FROM system.queries";
        // The last letter of two bytes is not cut through.
        assert_eq!(rows(engine, shown).await.unwrap(), [[(SHOWN_TEXT_BYTES_MAX - 1).to_string()]]);
        for _ in 0..ENDED_STATEMENTS_MAX {
            rows(engine, "SELECT 1").await.unwrap();
        }
        let count = "SELECT count(*) FROM system.queries WHERE state = 'done'";
        assert_eq!(rows(engine, count).await.unwrap(), [[ENDED_STATEMENTS_MAX.to_string()]]);
    });
}

#[test]
fn a_killed_statement_says_who_did_it_and_others_go_on() {
    let fixture = Fixture::of_scripts();
    create_ann(&fixture.registry);
    let engine = &fixture.engine;
    let runtime = runtime();
    runtime.block_on(async {
        let at_work = engine.clone();
        let task = runtime.spawn(async move { rows(&at_work, ENDLESS).await });
        let id = number(engine, "SELECT count(*) FROM generate_series", "running").await;
        let begin = Instant::now();
        kill(engine, &format!("kill {id};")).await.unwrap();
        let error = task.await.unwrap().unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(20), "took {:?}", begin.elapsed());
        let message = "the statement was cancelled by account ann over pg";
        assert_eq!((error.kind(), error.message()), (ErrorKind::Cancelled, message));
        assert_eq!(told(engine, "SELECT count(*) FROM generate_series").await, ["cancelled", "0", message]);
        assert_eq!(rows(engine, "SELECT count(*) FROM turbine").await.unwrap(), [["7"]]);

        let error = kill(engine, &format!("KILL QUERY {id}")).await.unwrap_err();
        let message = format!("there is no running statement {id}: system.queries has those that run");
        assert_eq!((error.kind(), error.message()), (ErrorKind::Input, &*message));
        for wrong in
            ["KILL CONNECTION 1", "KILL", "KILL 'x'", "KILL -1", "KILL 1 2", "KILL 99999999999999999999"]
        {
            assert_eq!(kill(engine, wrong).await.unwrap_err().kind(), ErrorKind::Input, "{wrong}");
        }
    });
}

#[test]
fn what_a_killed_statement_holds_is_free_though_nobody_reads_it() {
    let fixture = many_rows();
    create_ann(&fixture.registry);
    let engine = fixture.engine_with(QuerySettings { statements_max: 1, ..QuerySettings::default() });
    let runtime = runtime();
    runtime.block_on(async {
        let mut unread = engine.sql("SELECT * FROM m ORDER BY p, asset_id, time", Vec::new()).await.unwrap();
        let first = unread.next().await.unwrap().unwrap();
        assert!(first.num_rows() > 0);
        // The server is full, and can still be looked into.
        let of = "SELECT id, rows, memory_bytes > 0, memory_peak_bytes >= memory_bytes FROM system.queries \
                  WHERE state = 'running' AND statement LIKE 'SELECT * FROM m%'";
        let found = rows(&engine, of).await.unwrap();
        assert_eq!(
            found,
            [[found[0][0].clone(), first.num_rows().to_string(), "true".to_owned(), "true".to_owned()]]
        );
        // One waits for its turn, and gets it.
        let waiting = engine.clone();
        let waiting = runtime.spawn(async move { rows(&waiting, "SELECT count(*) FROM m").await });
        number(&engine, "SELECT count(*) FROM m", "waiting").await;
        kill(&engine, &format!("KILL {}", found[0][0])).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), [["200000"]]);
        assert_eq!(
            rows(&engine, "SELECT sum(memory_bytes) FROM system.queries WHERE state <> 'running'")
                .await
                .unwrap(),
            [["0"]]
        );
        let error = Error::from(unread.next().await.unwrap().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(unread.next().await.is_none());

        // One that waits is ended like one that runs.
        let held = engine.sql("SELECT * FROM m", Vec::new()).await.unwrap();
        let waiting = engine.clone();
        let waiting = runtime.spawn(async move { rows(&waiting, "SELECT min(p) FROM m").await });
        let id = number(&engine, "SELECT min(p) FROM m", "waiting").await;
        kill(&engine, &format!("KILL {id}")).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        drop(held);
    });
    // Nothing of the killed scans holds on to the store.
    fixture.store.flush().unwrap();
    fixture.store.close().unwrap();
}
