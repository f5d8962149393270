//! Writes rows and what they take to a folder, for `benches/peers`.
//!
//! `times` holds the microseconds of every row as i64, asset after asset; `0`, `1`, … hold the columns the same way, as
//! i64 or f64, little-endian, as numpy maps them without reading. `about.json` tells names, types and Wattline's figures.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use wattline_model::Values;

use crate::{Figures, Run};

/// Writes the runs of one fleet, and what a file of them takes with partitions of each kind.
pub(crate) fn write(
    dir: &Path,
    name: &str,
    runs: impl IntoIterator<Item = Run>,
    figures: &[(&str, Figures)],
) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let create = |name: &str| File::create(dir.join(name)).map(BufWriter::new);
    let (mut times, mut columns) = (create("times")?, Vec::new());
    let (mut rows, mut types) = (Vec::new(), Vec::new());
    for run in runs {
        rows.push(run.times.len().to_string());
        put(&mut times, run.times.iter().map(|t| t.to_le_bytes()))?;
        types = run.values.iter().map(type_of).collect();
        for (i, values) in run.values.iter().enumerate() {
            if columns.len() == i {
                columns.push(create(&i.to_string())?);
            }
            match values {
                Values::Float(v) => put(&mut columns[i], v.iter().map(|v| v.to_le_bytes()))?,
                Values::Int(v) => put(&mut columns[i], v.iter().map(|v| v.to_le_bytes()))?,
                Values::Bool(_) | Values::Text(_) => unreachable!("numbers alone are measured"),
            }
        }
    }
    columns.iter_mut().chain([&mut times]).try_for_each(Write::flush)?;
    let figures: Vec<String> =
        figures.iter().map(|(partitions, figures)| about(partitions, figures)).collect();
    let about = format!(
        "{{\"name\": \"{name}\", \"rows_by_asset\": [{}], \"types\": [{}], \"wattline\": [{}]}}\n",
        rows.join(", "),
        types.join(", "),
        figures.join(", ")
    );
    std::fs::write(dir.join("about.json"), about)
}

fn put(file: &mut impl Write, mut numbers: impl Iterator<Item = [u8; 8]>) -> std::io::Result<()> {
    numbers.try_for_each(|number| file.write_all(&number))
}

fn type_of(values: &Values) -> &'static str {
    match values {
        Values::Int(_) => "\"int64\"",
        _ => "\"float64\"",
    }
}

fn about(partitions: &str, figures: &Figures) -> String {
    format!(
        "{{\"depth\": \"{:?}\", \"partitions\": \"{partitions}\", \"bytes\": {}, \"decode_seconds\": {}}}",
        figures.depth,
        figures.bytes,
        figures.decode.as_secs_f64()
    )
}
