//! A year of a real wind turbine, imported from its CSV and replayed over MQTT, against DuckDB on the file itself.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use wattline_tests::admin::model_json;
use wattline_tests::server::{repo, run_wattline};
use wattline_tests::{Device, Http, Packet, Server, python};

use super::{data_dir, start};

const FILE: &str = "wind_scada_10min.csv";
const POINTS: [&str; 4] = ["active_power", "wind_speed", "theoretical_power", "wind_direction"];
/// Istanbul in 2018: UTC+3, no clock change.
const ZONE_SECONDS: i64 = 3 * 3_600;
/// Messages on their way in the replay.
const WINDOW: usize = 200;
/// Sums of floats depend on the order of adding.
const TOLERANCE: f64 = 1e-9;

#[test]
fn a_year_of_wind_imported_and_replayed_equals_duckdb() {
    let Some(file) = real_file() else { return };
    let truth: Value = serde_json::from_str(&python::run("duckdb_wind.py", &[file.to_str().unwrap()]))
        .expect("JSON from DuckDB");
    assert_eq!((truth["rows"].as_u64(), truth["gaps"].as_array().unwrap().len()), (Some(50_530), 32));

    let dir = data_dir();
    let server = start(dir.path());
    let http = server.http();
    http.create_model(&model_json("wind", &POINTS.map(|p| (p, "DOUBLE"))));
    http.create_product("pk-wind", "wind");
    let imported = http.create_device("pk-wind", "imported");
    let replayed = http.create_device("pk-wind", "replayed");

    import(&server, &file);
    replay(&server, &replayed, &file);
    check(&http, &imported, &truth);
    check(&http, &replayed, &truth);
    assert_eq!(
        different_rows(&http, &imported, &replayed),
        0.0,
        "both ways in give the same values bit for bit"
    );

    // Again: replay is harmless.
    import(&server, &file);
    check(&http, &imported, &truth);

    // And the same after flush and restart.
    assert!(server.terminate().success());
    let server = start(dir.path());
    let http = server.http();
    check(&http, &imported, &truth);
    check(&http, &replayed, &truth);
    assert_eq!(different_rows(&http, &imported, &replayed), 0.0);
}

fn real_file() -> Option<PathBuf> {
    let file = repo().join("../shared/data").join(FILE);
    if !file.exists() {
        println!("SKIPPED: {} is not there; the real-data test needs it", file.display());
        return None;
    }
    Some(file)
}

fn import(server: &Server, file: &std::path::Path) {
    let url = format!("http://{}", server.http);
    let (code, stdout, stderr) = run_wattline(&[
        "import",
        file.to_str().unwrap(),
        "--server",
        &url,
        "--model=wind",
        "--device=pk-wind/imported",
        "--encoding=gb2312",
        "--timezone=Europe/Istanbul",
        "--time-column=Date/Time",
        "--time-format=%d %m %Y %H:%M",
        "--map=ActivePower=active_power",
        "--map=Wind Speed (m/s)=wind_speed",
        "--map=TheoreticalPower=theoretical_power",
        "--map=Wind Direction (°)=wind_direction",
    ]);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
}

/// Sends every line as one message with QoS 1, the numbers exactly as they stand in the file.
fn replay(server: &Server, device: &Device, file: &std::path::Path) {
    let bytes = std::fs::read(file).unwrap();
    // Past the header everything is ASCII.
    let text = String::from_utf8_lossy(&bytes);
    let mut mqtt = device.connect_bare(server);
    let mut outstanding = HashSet::new();
    let mut acknowledged = 0;
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        let payload = format!(
            "{{\"id\":\"1\",\"version\":\"1.0\",\"method\":\"thing.measurepoint.post\",\"params\":{{\"measurepoints\":\
             {{\"active_power\":{},\"wind_speed\":{},\"theoretical_power\":{},\"wind_direction\":{}}},\"time\":{}}}}}",
            fields[1],
            fields[2],
            fields[3],
            fields[4],
            (local_seconds(fields[0]) - ZONE_SECONDS) * 1_000
        );
        outstanding.insert(mqtt.publish(&device.topic("post"), payload.as_bytes(), 1).unwrap());
        while outstanding.len() >= WINDOW {
            acknowledged += acknowledge(&mut mqtt, &mut outstanding);
        }
    }
    while !outstanding.is_empty() {
        acknowledged += acknowledge(&mut mqtt, &mut outstanding);
    }
    assert_eq!(acknowledged, 50_530);
}

fn acknowledge(mqtt: &mut wattline_tests::Mqtt, outstanding: &mut HashSet<u16>) -> u32 {
    match mqtt.receive(Duration::from_secs(30)).unwrap() {
        Packet::PubAck(id, 0) => assert!(outstanding.remove(&id), "a PUBACK for what was not sent"),
        other => panic!("unexpected {other:?}"),
    }
    1
}

/// `DD MM YYYY HH:MM` as seconds since 1970-01-01 of the same local calendar.
fn local_seconds(text: &str) -> i64 {
    let n = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let (day, month, year, hour, minute) = (n(0..2), n(3..5), n(6..10), n(11..13), n(14..16));
    // Days from the civil date (H. Hinnant's algorithm, March-based years).
    let y = if month <= 2 { year - 1 } else { year };
    let shifted = (month + 9) % 12;
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * shifted + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + hour * 3_600 + minute * 60
}

fn check(http: &Http, device: &Device, truth: &Value) {
    let asset = &device.asset_id;
    let months = http.sql(&format!(
        "SELECT CAST(date_part('month', time + INTERVAL '3 hours') AS INT) AS month, sum(active_power) / 6, \
         avg(wind_speed), count(*) FROM wind WHERE asset_id = '{asset}' GROUP BY month ORDER BY month"
    ));
    let expected = truth["months"].as_array().unwrap();
    assert_eq!(months.len(), expected.len());
    for (row, expected) in months.iter().zip(expected) {
        assert_eq!(row[0], expected[0].as_u64().unwrap().to_string());
        close(&row[1], &expected[1], "energy");
        close(&row[2], &expected[2], "mean wind");
        assert_eq!(row[3], expected[3].as_u64().unwrap().to_string());
    }
    let mean = http.sql(&format!("SELECT avg(wind_speed), count(*) FROM wind WHERE asset_id = '{asset}'"));
    close(&mean[0][0], &truth["mean_wind"], "mean wind of the year");
    assert_eq!(mean[0][1], truth["rows"].to_string());

    let gaps = http.sql(&format!(
        "SELECT to_unixtime(before), to_unixtime(time) FROM (SELECT time, lag(time) OVER (ORDER BY time) AS before \
         FROM wind WHERE asset_id = '{asset}') AS t WHERE time - before > INTERVAL '10 minutes' ORDER BY time"
    ));
    let by_lead = http.sql(&format!(
        "SELECT to_unixtime(time), to_unixtime(next) FROM (SELECT time, lead(time) OVER (ORDER BY time) AS next \
         FROM wind WHERE asset_id = '{asset}') AS t WHERE next - time > INTERVAL '10 minutes' ORDER BY time"
    ));
    assert_eq!(gaps, by_lead, "the gaps by LAG and by LEAD");
    let expected: Vec<Vec<String>> = truth["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| (0..2).map(|i| (gap[i].as_i64().unwrap() - ZONE_SECONDS).to_string()).collect())
        .collect();
    assert_eq!(gaps, expected);
}

fn close(text: &str, expected: &Value, what: &str) {
    let (value, expected) = (text.parse::<f64>().unwrap(), expected.as_f64().unwrap());
    assert!(
        (value - expected).abs() <= TOLERANCE * expected.abs(),
        "{what}: {value}, DuckDB says {expected}"
    );
}

/// Rows of either device that the other does not have with the same values.
fn different_rows(http: &Http, a: &Device, b: &Device) -> f64 {
    let select = |device: &Device| {
        format!("SELECT time, {} FROM wind WHERE asset_id = '{}'", POINTS.join(", "), device.asset_id)
    };
    let except = |x: &Device, y: &Device| {
        http.sql_number(&format!("SELECT count(*) FROM ({} EXCEPT {}) AS t", select(x), select(y)))
    };
    except(a, b) + except(b, a)
}
