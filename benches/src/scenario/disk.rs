//! Bytes per point on disk for the real files, beside Parquet with zstd and DuckDB on the same rows.

use serde_json::{Value, json};
use wattline_tests::admin::model_json;
use wattline_tests::python;
use wattline_tests::server::{repo, run_wattline};

use super::{serve, work_dir};
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

/// Imports each file into a fresh server, flushes by a graceful stop, and compares.
pub(crate) fn disk(args: &Args) -> Report {
    let mut report = Report::default();
    for real in REAL {
        let path = args.data.join(real.file);
        if !path.exists() {
            report.note(format!("{} is not there: skipped.", path.display()));
            continue;
        }
        let dir = work_dir(args);
        let server = serve(args, dir.path());
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
        assert!(server.terminate().success(), "a graceful stop flushes");
        let server = serve(args, dir.path());
        let sum = "SELECT sum(bytes), sum(samples), sum(rows) FROM system.segments";
        let row = server.http().sql(sum).remove(0);
        let number = |i: usize| row[i].parse::<f64>().expect("a number");
        let samples = number(1);
        assert_eq!(samples, number(2) * real.points.len() as f64, "every row has every point");
        let script = repo().join("benches/scripts/other_formats.py");
        let python = python::python_for("bench");
        let script_args = [script.to_str().expect("a UTF-8 path"), path.to_str().expect("a UTF-8 path")];
        let out = python::run_program(&python, script_args.into_iter());
        let others: Value =
            serde_json::from_str(out.lines().last().unwrap_or("")).expect("JSON from the script");
        report.row(&[
            ("file", json!(real.file)),
            ("points", json!(samples as u64)),
            ("Wattline segments B/point", json!(number(0) / samples)),
            ("Parquet zstd B/point", json!(others["parquet_zstd"].as_f64().expect("bytes") / samples)),
            (
                "Parquet byte-stream-split zstd B/point",
                json!(others["parquet_bss_zstd"].as_f64().expect("bytes") / samples),
            ),
            ("DuckDB B/point", json!(others["duckdb"].as_f64().expect("bytes") / samples)),
        ]);
    }
    report.note("Time column and all file overheads included; a point is one value of one row.");
    report
}
