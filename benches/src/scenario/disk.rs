//! Bytes per point on disk for the real files, beside Parquet with zstd and DuckDB on the same rows.

use serde_json::{Value, json};
use wattline_tests::admin::model_json;
use wattline_tests::server::{repo, run_wattline};
use wattline_tests::{Server, python};

use super::work_dir;
use crate::Args;
use crate::report::Report;

/// A real file: name, model, points, what `wattline import` must be told.
struct Real {
    file: &'static str,
    model: &'static str,
    points: &'static [&'static str],
    import: &'static [&'static str],
}

const REAL: &[Real] = &[
    Real {
        file: "wind_scada_10min.csv",
        model: "wind",
        points: &["active_power", "wind_speed", "theoretical_power", "wind_direction"],
        import: &[
            "--encoding=gb2312",
            "--timezone=Europe/Istanbul",
            "--time-column=Date/Time",
            "--time-format=%d %m %Y %H:%M",
            "--map=ActivePower=active_power",
            "--map=Wind Speed (m/s)=wind_speed",
            "--map=TheoreticalPower=theoretical_power",
            "--map=Wind Direction (°)=wind_direction",
        ],
    },
    Real {
        file: "transformer_hourly.csv",
        model: "transformer",
        points: &["hufl", "hull", "mufl", "mull", "lufl", "lull", "ot"],
        import: &[
            "--timezone=Asia/Shanghai",
            "--time-column=date",
            "--map=HUFL=hufl",
            "--map=HULL=hull",
            "--map=MUFL=mufl",
            "--map=MULL=mull",
            "--map=LUFL=lufl",
            "--map=LULL=lull",
            "--map=OT=ot",
        ],
    },
];

/// Memtables of about a mebibyte, so that nearly all of a small file is flushed to segments without being asked to.
const SMALL_MEMTABLES: &[&str] = &["--shards=18", "--memory-budget=128MiB"];

/// Imports each file into a fresh server, and compares what the flushed part of it takes.
pub(crate) fn disk(args: &Args) -> Report {
    let mut report = Report::default();
    for real in REAL {
        let path = args.data.join(real.file);
        if !path.exists() {
            report.note(format!("{} is not there: skipped.", path.display()));
            continue;
        }
        let dir = work_dir(args);
        let server = Server::start(dir.path(), SMALL_MEMTABLES);
        let points: Vec<(&str, &str)> = real.points.iter().map(|p| (*p, "DOUBLE")).collect();
        let http = server.http();
        http.create_model(&model_json(real.model, &points));
        http.create_product("pk-real", real.model);
        http.create_device("pk-real", "dk-real");
        let url = format!("http://{}", server.http);
        let mut command = vec!["import", path.to_str().expect("a UTF-8 path"), "--server", &url];
        command.extend(["--model", real.model, "--device", "pk-real/dk-real"]);
        command.extend(real.import);
        let (code, stdout, stderr) = run_wattline(&command);
        assert_eq!(code, 0, "{stdout}\n{stderr}");
        let row = settled(&server);
        let number = |i: usize| row[i].parse::<f64>().expect("a number");
        let samples = number(1);
        let rows = http.sql_number(&format!("SELECT count(*) FROM {}", real.model));
        assert_eq!(samples, number(2) * real.points.len() as f64, "every row has every point");
        let script = repo().join("benches/scripts/other_formats.py");
        let python = python::python_for("bench");
        let script_args = [script.to_str().expect("a UTF-8 path"), path.to_str().expect("a UTF-8 path")];
        let out = python::run_program(&python, script_args.into_iter());
        let others: Value =
            serde_json::from_str(out.lines().last().unwrap_or("")).expect("JSON from the script");
        let other = |name: &str| others[name].as_f64().expect("bytes") / (rows * real.points.len() as f64);
        report.row(&[
            ("file", json!(real.file)),
            ("points", json!(rows as u64 * real.points.len() as u64)),
            ("in segments", json!(format!("{:.0} %", 100.0 * number(2) / rows))),
            ("Wattline segments B/point", json!(number(0) / samples)),
            ("Parquet zstd B/point", json!(other("parquet_zstd"))),
            ("Parquet byte-stream-split zstd B/point", json!(other("parquet_bss_zstd"))),
            ("DuckDB B/point", json!(other("duckdb"))),
        ]);
    }
    report.note("Wattline: the part in segments, the rest being in the memtable still.");
    report.note("Time column and all file overheads included; a point is one value of one row.");
    report
}

/// Bytes, samples and rows of all segments, once flushing and merging have come to rest.
fn settled(server: &Server) -> Vec<String> {
    let sum = "SELECT sum(bytes), sum(samples), sum(rows) FROM system.segments";
    let mut before = Vec::new();
    for _ in 0..50 {
        let row = server.http().sql(sum).remove(0);
        if row == before && !row[0].is_empty() {
            return row;
        }
        before = row;
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    panic!("no segments came to rest: {before:?}");
}
