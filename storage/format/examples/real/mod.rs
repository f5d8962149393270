//! The rows of the real files that examples measure.

use std::path::Path;

/// The files, and how the time in their first column is written.
pub(crate) const FILES: [(&str, ReadTime); 2] =
    [("wind_scada_10min.csv", wind_time), ("transformer_hourly.csv", transformer_time)];

/// One asset's rows.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) times: Vec<i64>,
    pub(crate) columns: Vec<Vec<f64>>,
}

/// Reads the time column of a file, in microseconds.
pub(crate) type ReadTime = fn(&str) -> Option<i64>;

/// Rows of a CSV of numbers whose first field is a time; rows that repeat or go back in time are left out.
pub(crate) fn read(path: &Path, time: ReadTime) -> std::io::Result<Table> {
    let bytes = std::fs::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut table = Table::default();
    for line in text.lines().skip(1) {
        let mut fields = line.split(',');
        let Some(time) = fields.next().and_then(time) else { continue };
        let values: Vec<f64> = fields.filter_map(|f| f.trim().parse().ok()).collect();
        if table.times.last().is_some_and(|&last| last >= time) {
            continue;
        }
        table.times.push(time);
        table.columns.resize(values.len().max(table.columns.len()), Vec::new());
        table.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    Ok(table)
}

/// `dd mm yyyy HH:MM`
fn wind_time(text: &str) -> Option<i64> {
    let n: Vec<i64> = text.split([' ', ':']).map_while(|p| p.parse().ok()).collect();
    let [day, month, year, hour, minute] = n[..] else { return None };
    Some(micros(year, month, day, hour, minute))
}

/// `yyyy-mm-dd HH:MM:SS`
fn transformer_time(text: &str) -> Option<i64> {
    let n: Vec<i64> = text.split([' ', ':', '-']).map_while(|p| p.parse().ok()).collect();
    let [year, month, day, hour, minute, _] = n[..] else { return None };
    Some(micros(year, month, day, hour, minute))
}

/// Days from civil, after Howard Hinnant.
fn micros(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    ((days * 24 + hour) * 60 + minute) * 60_000_000
}
