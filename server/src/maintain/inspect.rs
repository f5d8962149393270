//! `wattline inspect`: a file of the store in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;
use wattline_format::log::{Change, Step};
use wattline_format::segment::Reader;
use wattline_format::{latest, log, manifest, segment};
use wattline_model::PointId;

use crate::client::output::{Table, print, terminal_width};
use crate::error::{Error, ErrorKind, Result};

/// Records of a log and blocks of a segment that are listed where `--all` is not given.
const LISTED_MAX: usize = 40;

/// Show what is in a file of the store. The file may belong to a running server.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Segment (.wls), log (.wll), manifest (.wlm) or latest-value checkpoint (.wlc)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// List every record or block
    #[arg(long)]
    all: bool,
}

/// Runs the command.
///
/// # Errors
/// Where a file cannot be read, is of no known kind, or is damaged.
pub fn run(args: &Args) -> Result<()> {
    for path in &args.files {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| Error::failed(format!("{name}: {e}")))?;
        let listed_max = if args.all { usize::MAX } else { LISTED_MAX };
        print(&describe(&name, bytes.into(), listed_max)?)?;
    }
    Ok(())
}

fn describe(name: &str, bytes: Bytes, listed_max: usize) -> Result<String> {
    let damaged = |e: wattline_format::Error| Error::new(ErrorKind::Damaged, e.to_string());
    let version = bytes.get(8..12).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_le_bytes(*b));
    let text = match bytes.get(..8) {
        Some(magic) if magic == segment::MAGIC => of_segment(name, bytes.clone(), listed_max),
        Some(magic) if magic == log::MAGIC => of_log(name, &bytes, listed_max),
        Some(magic) if magic == manifest::MAGIC => of_manifest(name, &bytes),
        Some(magic) if magic == latest::MAGIC => of_latest(name, &bytes),
        _ => {
            return Err(Error::usage(format!("{name}: it begins like no file of a store")));
        }
    };
    let text = text.map_err(damaged)?;
    Ok(format!("{name}: {} bytes, format version {version}\n{text}", bytes.len()))
}

fn time(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| format!("{micros} us"), |time| time.to_string())
}

fn of_segment(
    name: &str,
    bytes: Bytes,
    listed_max: usize,
) -> std::result::Result<String, wattline_format::Error> {
    let reader = Reader::open(name, bytes)?;
    reader.verify()?;
    let (header, summary) = (reader.header(), reader.summary());
    let mut out = format!(
        "segment of shard {} (store {:016x}), level {}, partition from {}, batches {} to {}\n\
         {} samples in {} rows of {} models, {:.3} bytes a sample, times {} to {}\nall checksums are right\n",
        header.shard.0,
        header.store,
        header.level,
        time(header.partition),
        header.first_seqno.0,
        header.last_seqno.0,
        summary.samples,
        summary.rows,
        summary.models,
        summary.bytes as f64 / summary.samples.max(1) as f64,
        time(summary.first_time),
        time(summary.last_time),
    );
    let mut chunks = Table::new(&["model", "chunk", "assets", "rows", "blocks", "points", "first", "last"]);
    let mut points = Table::new(&["model", "point", "kind", "samples", "blocks", "min", "max"]);
    for model in reader.models() {
        let mut of_point: BTreeMap<PointId, PointLine> = BTreeMap::new();
        for (i, chunk) in reader.chunks(model).iter().enumerate() {
            let first = chunk.blocks.iter().map(|b| b.first_time).min().unwrap_or_default();
            let last = chunk.blocks.iter().map(|b| b.last_time).max().unwrap_or_default();
            let numbers = [i, chunk.runs.len(), chunk.rows as usize, chunk.blocks.len()];
            let row = std::iter::once(Value::from(model.0)).chain(numbers.map(Value::from));
            let times = [Value::from(time(first)), Value::from(time(last))];
            chunks.push(row.chain([Value::from(reader.points(chunk).len())]).chain(times));
            for &point in reader.points(chunk) {
                let line = of_point.entry(point).or_default();
                for block in 0..chunk.blocks.len() {
                    line.add(reader.stats(chunk, block, point)?);
                }
            }
        }
        for (point, line) in of_point {
            points.push(line.row(model.0, point));
        }
    }
    for mut table in [chunks, points] {
        let left_out = table.rows.len().saturating_sub(listed_max);
        table.rows.truncate(listed_max);
        out.push('\n');
        out.push_str(&table.render(terminal_width()));
        if left_out > 0 {
            let _ = writeln!(out, "… and {left_out} more (--all lists them)");
        }
    }
    Ok(out)
}

/// What the statistics of all blocks say of a point.
#[derive(Default)]
struct PointLine {
    samples: u64,
    blocks: u64,
    min: Option<wattline_model::Value>,
    max: Option<wattline_model::Value>,
}

impl PointLine {
    fn add(&mut self, stats: Option<segment::Stats>) {
        let Some(stats) = stats else { return };
        self.samples += u64::from(stats.count);
        self.blocks += 1;
        if self.min.as_ref().is_none_or(|min| is_less(&stats.min, min)) {
            self.min = Some(stats.min);
        }
        if self.max.as_ref().is_none_or(|max| is_less(max, &stats.max)) {
            self.max = Some(stats.max);
        }
    }

    fn row(&self, model: u32, point: PointId) -> [Value; 7] {
        let shown = |value: &Option<wattline_model::Value>| {
            Value::from(value.as_ref().map_or_else(String::new, |value| match value {
                wattline_model::Value::Float(v) => v.to_string(),
                wattline_model::Value::Int(v) => v.to_string(),
                wattline_model::Value::Bool(v) => v.to_string(),
                wattline_model::Value::Text(v) => v.chars().take(24).collect(),
            }))
        };
        let kind = self.min.as_ref().map_or("", |value| value.as_ref().kind().name());
        [
            model.into(),
            point.0.into(),
            kind.into(),
            self.samples.into(),
            self.blocks.into(),
            shown(&self.min),
            shown(&self.max),
        ]
    }
}

fn is_less(a: &wattline_model::Value, b: &wattline_model::Value) -> bool {
    use wattline_model::Value::{Bool, Float, Int, Text};
    match (a, b) {
        (Float(a), Float(b)) => a.total_cmp(b).is_lt(),
        (Int(a), Int(b)) => a < b,
        (Bool(a), Bool(b)) => a < b,
        (Text(a), Text(b)) => a < b,
        _ => false,
    }
}

fn of_log(
    name: &str,
    bytes: &[u8],
    listed_max: usize,
) -> std::result::Result<String, wattline_format::Error> {
    let mut reader = log::Reader::open(name, bytes)?;
    let header = *reader.header();
    let mut out = format!(
        "log of shard {} (store {:016x}), from batch {} on\n",
        header.shard.0, header.store, header.first.0
    );
    let mut table = Table::new(&["seqno", "what", "model", "rows", "samples", "source", "first", "last"]);
    let (mut records, mut samples) = (0_u64, 0_u64);
    let end = loop {
        let (seqno, change) = match reader.next()? {
            Step::Record { seqno, change, .. } => (seqno, change),
            Step::End { .. } => break "the file ends with a whole record".to_owned(),
            Step::Torn { valid_len, what } => {
                break format!("torn at {valid_len}: {what}; what follows was never acknowledged");
            }
        };
        records += 1;
        if let Change::Batch(batch) = &change {
            samples += batch.points() as u64;
        }
        if table.rows.len() < listed_max {
            table.push(record_row(seqno.0, &change));
        }
    };
    out.push_str(&table.render(terminal_width()));
    if records as usize > table.rows.len() {
        let _ = writeln!(out, "… and {} more (--all lists them)", records as usize - table.rows.len());
    }
    let _ = writeln!(out, "{records} records, {samples} samples; {end}");
    Ok(out)
}

fn record_row(seqno: u64, change: &Change) -> [Value; 8] {
    match change {
        Change::Batch(batch) => {
            let times = || batch.times.iter().map(|t| t.micros());
            let shown = |t: Option<i64>| Value::from(t.map_or_else(String::new, time));
            [
                seqno.into(),
                format!("{:?}", batch.channel).into(),
                batch.model.0.into(),
                batch.rows().into(),
                batch.points().into(),
                format!("{:?}", batch.source).into(),
                shown(times().min()),
                shown(times().max()),
            ]
        }
        Change::Deletion(deletion) => [
            seqno.into(),
            format!("delete {:?}", deletion.target).into(),
            deletion.model.0.into(),
            Value::Null,
            Value::Null,
            Value::Null,
            time(deletion.range.start.0).into(),
            time(deletion.range.end.0).into(),
        ],
    }
}

fn of_manifest(name: &str, bytes: &[u8]) -> std::result::Result<String, wattline_format::Error> {
    let decoded = manifest::decode(name, bytes)?;
    let state = decoded.state;
    let mut out = format!(
        "manifest of shard {} of {} (store {:016x}), partitions of {} h\n\
         batches up to {} are in segments; the next segment is {}; latest values are of batch {}\n",
        state.shard.0,
        state.shards,
        state.store,
        state.partition_micros / 3_600_000_000,
        state.flushed.0,
        state.next_segment,
        state.latest_checkpoint.map_or_else(|| "none".to_owned(), |seqno| seqno.to_string()),
    );
    let mut table =
        Table::new(&["id", "level", "partition", "samples", "bytes", "first", "last", "batches", "file"]);
    for s in &state.segments {
        table.push([
            s.id.into(),
            s.level.into(),
            time(s.partition).into(),
            s.samples.into(),
            s.bytes.into(),
            time(s.first_time).into(),
            time(s.last_time).into(),
            format!("{} to {}", s.first_seqno.0, s.last_seqno.0).into(),
            s.file.clone().into(),
        ]);
    }
    out.push_str(&table.render(terminal_width()));
    for tombstone in &state.tombstones {
        let _ = writeln!(out, "deletion {}: {:?}", tombstone.seqno.0, tombstone.deletion);
    }
    if let Some(what) = decoded.torn {
        let _ = writeln!(out, "torn at {}: {what}; that edit was never acted on", decoded.valid_len);
    }
    Ok(out)
}

fn of_latest(name: &str, bytes: &[u8]) -> std::result::Result<String, wattline_format::Error> {
    let (shard, seqno, models) = latest::decode(name, bytes)?;
    let mut out = format!("latest values of shard {} as of batch {}\n", shard.0, seqno.0);
    let mut table = Table::new(&["model", "assets", "points", "values"]);
    for model in &models {
        let values: usize = model.columns.iter().map(|c| c.times.len()).sum();
        let numbers = [model.assets.len(), model.columns.len(), values];
        table.push(std::iter::once(Value::from(model.model.0)).chain(numbers.map(Value::from)));
    }
    out.push_str(&table.render(terminal_width()));
    Ok(out)
}
