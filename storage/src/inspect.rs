//! What is in a file of a store, as lines and tables for people.
//!
//! Owns: telling the four kinds of file apart and what is worth saying of each. Does not own: reading the file,
//! laying the tables out.

use std::collections::BTreeMap;

use bytes::Bytes;
use wattline_format::log::{Change, Step};
use wattline_format::segment::{Reader, Stats};
use wattline_format::{latest, log, manifest, segment};
use wattline_model::{ModelId, PointId, Value};

use crate::error::{Error, ErrorKind, Result};

/// What is in a file.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// What it is, in words and numbers.
    pub facts: Vec<(&'static str, Cell)>,
    /// What it holds.
    pub tables: Vec<InspectedTable>,
    /// What stands at its end.
    pub remarks: Vec<String>,
}

/// One table of an [`Inspection`].
#[derive(Clone, Debug)]
pub struct InspectedTable {
    /// Names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows, a cell a column.
    pub rows: Vec<Vec<Cell>>,
}

/// A value of an [`Inspection`].
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A count, an id, a size.
    Number(u64),
    /// Microseconds since the epoch.
    Time(i64),
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Cell {
        Cell::Number(u64::from(number))
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Cell {
        Cell::Number(number as u64)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

/// What is in the file `name` with the content `bytes`.
///
/// # Errors
/// `Input` where it begins like no file of a store, `Damaged` where it is not what was written.
pub fn inspect(name: &str, bytes: Bytes) -> Result<Inspection> {
    let version = bytes.get(8..12).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_le_bytes(*b));
    let len = bytes.len();
    let (kind, found) = match bytes.get(..8) {
        Some(magic) if magic == segment::MAGIC => ("segment", of_segment(name, bytes)?),
        Some(magic) if magic == log::MAGIC => ("log", of_log(name, &bytes)?),
        Some(magic) if magic == manifest::MAGIC => ("manifest", of_manifest(name, &bytes)?),
        Some(magic) if magic == latest::MAGIC => ("latest values", of_latest(name, &bytes)?),
        _ => return Err(Error::new(ErrorKind::Input, format!("{name}: it begins like no file of a store"))),
    };
    let head =
        [("kind", Cell::Text(kind.to_owned())), ("bytes", len.into()), ("format version", version.into())];
    Ok(Inspection { facts: head.into_iter().chain(found.facts).collect(), ..found })
}

fn of_segment(name: &str, bytes: Bytes) -> Result<Inspection> {
    let reader = Reader::open(name, bytes)?;
    reader.verify()?;
    let (header, summary) = (reader.header(), reader.summary());
    let a_sample = summary.bytes as f64 / summary.samples.max(1) as f64;
    let facts = vec![
        ("store", format!("{:016x}", header.store).into()),
        ("shard", header.shard.0.into()),
        ("level", u32::from(header.level).into()),
        ("partition", Cell::Time(header.partition)),
        ("batches", format!("{} to {}", header.first_seqno.0, header.last_seqno.0).into()),
        ("rows", summary.rows.into()),
        ("samples", summary.samples.into()),
        ("bytes a sample", format!("{a_sample:.3}").into()),
        ("first time", Cell::Time(summary.first_time)),
        ("last time", Cell::Time(summary.last_time)),
    ];
    let mut chunks = InspectedTable {
        columns: vec!["model", "chunk", "assets", "rows", "blocks", "points", "first", "last"],
        rows: Vec::new(),
    };
    let mut points = InspectedTable {
        columns: vec!["model", "point", "kind", "samples", "blocks", "min", "max"],
        rows: Vec::new(),
    };
    for model in reader.models() {
        let mut of_point: BTreeMap<PointId, PointLine> = BTreeMap::new();
        for (i, chunk) in reader.chunks(model).iter().enumerate() {
            let first = chunk.blocks.iter().map(|b| b.first_time).min().unwrap_or_default();
            let last = chunk.blocks.iter().map(|b| b.last_time).max().unwrap_or_default();
            chunks.rows.push(vec![
                model.0.into(),
                i.into(),
                chunk.runs.len().into(),
                chunk.rows.into(),
                chunk.blocks.len().into(),
                reader.points(chunk).len().into(),
                Cell::Time(first),
                Cell::Time(last),
            ]);
            for &point in reader.points(chunk) {
                let line = of_point.entry(point).or_default();
                for block in 0..chunk.blocks.len() {
                    line.add(reader.stats(chunk, block, point)?);
                }
            }
        }
        points.rows.extend(of_point.into_iter().map(|(point, line)| line.row(model, point)));
    }
    Ok(Inspection {
        facts,
        tables: vec![chunks, points],
        remarks: vec!["all checksums are right".to_owned()],
    })
}

/// What the statistics of all blocks say of a point.
#[derive(Default)]
struct PointLine {
    samples: u64,
    blocks: u64,
    min: Option<Value>,
    max: Option<Value>,
}

impl PointLine {
    fn add(&mut self, stats: Option<Stats>) {
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

    fn row(&self, model: ModelId, point: PointId) -> Vec<Cell> {
        let shown = |value: &Option<Value>| {
            Cell::Text(value.as_ref().map_or_else(String::new, |value| match value {
                Value::Float(v) => v.to_string(),
                Value::Int(v) => v.to_string(),
                Value::Bool(v) => v.to_string(),
                Value::Text(v) => v.chars().take(24).collect(),
            }))
        };
        let kind = self.min.as_ref().map_or("", |value| value.as_ref().kind().name());
        vec![
            model.0.into(),
            point.0.into(),
            kind.to_owned().into(),
            self.samples.into(),
            self.blocks.into(),
            shown(&self.min),
            shown(&self.max),
        ]
    }
}

fn is_less(a: &Value, b: &Value) -> bool {
    use Value::{Bool, Float, Int, Text};
    match (a, b) {
        (Float(a), Float(b)) => a.total_cmp(b).is_lt(),
        (Int(a), Int(b)) => a < b,
        (Bool(a), Bool(b)) => a < b,
        (Text(a), Text(b)) => a < b,
        _ => false,
    }
}

fn of_log(name: &str, bytes: &[u8]) -> Result<Inspection> {
    let mut reader = log::Reader::open(name, bytes)?;
    let header = *reader.header();
    let mut table = InspectedTable {
        columns: vec!["seqno", "what", "model", "rows", "samples", "source", "first", "last"],
        rows: Vec::new(),
    };
    let mut samples = 0_u64;
    let end = loop {
        match reader.next()? {
            Step::Record { seqno, change, .. } => {
                samples += if let Change::Batch(batch) = &change { batch.points() as u64 } else { 0 };
                table.rows.push(record_row(seqno.0, &change));
            }
            Step::End { .. } => break "the file ends with a whole record".to_owned(),
            Step::Torn { valid_len, what } => {
                break format!("torn at {valid_len}: {what}; what follows was never acknowledged");
            }
        }
    };
    let facts = vec![
        ("store", format!("{:016x}", header.store).into()),
        ("shard", header.shard.0.into()),
        ("first batch", header.first.0.into()),
        ("records", table.rows.len().into()),
        ("samples", samples.into()),
    ];
    Ok(Inspection { facts, tables: vec![table], remarks: vec![end] })
}

fn record_row(seqno: u64, change: &Change) -> Vec<Cell> {
    let none = || Cell::Text(String::new());
    match change {
        Change::Batch(batch) => {
            let times = || batch.times.iter().map(|t| t.micros());
            vec![
                seqno.into(),
                format!("{:?}", batch.channel).into(),
                batch.model.0.into(),
                batch.rows().into(),
                batch.points().into(),
                format!("{:?}", batch.source).into(),
                times().min().map_or_else(none, Cell::Time),
                times().max().map_or_else(none, Cell::Time),
            ]
        }
        Change::Deletion(deletion) => vec![
            seqno.into(),
            format!("delete {:?}", deletion.target).into(),
            deletion.model.0.into(),
            none(),
            none(),
            none(),
            Cell::Time(deletion.range.start.0),
            Cell::Time(deletion.range.end.0),
        ],
    }
}

fn of_manifest(name: &str, bytes: &[u8]) -> Result<Inspection> {
    let decoded = manifest::decode(name, bytes)?;
    let state = decoded.state;
    let latest = state.latest_checkpoint.map_or_else(|| "none".to_owned(), |seqno| seqno.to_string());
    let facts = vec![
        ("store", format!("{:016x}", state.store).into()),
        ("shard", format!("{} of {}", state.shard.0, state.shards).into()),
        ("partitions", format!("{} h", state.partition_micros / 3_600_000_000).into()),
        ("flushed up to batch", state.flushed.0.into()),
        ("next segment", state.next_segment.into()),
        ("latest values of batch", latest.into()),
    ];
    let row = |s: &manifest::SegmentMeta| {
        vec![
            s.id.into(),
            u32::from(s.level).into(),
            Cell::Time(s.partition),
            s.samples.into(),
            s.bytes.into(),
            Cell::Time(s.first_time),
            Cell::Time(s.last_time),
            format!("{} to {}", s.first_seqno.0, s.last_seqno.0).into(),
            s.file.clone().into(),
        ]
    };
    let columns = vec!["id", "level", "partition", "samples", "bytes", "first", "last", "batches", "file"];
    let table = InspectedTable { columns, rows: state.segments.iter().map(row).collect() };
    let deletion = |t: &manifest::Tombstone| format!("deletion {}: {:?}", t.seqno.0, t.deletion);
    let mut remarks: Vec<String> = state.tombstones.iter().map(deletion).collect();
    let valid_len = decoded.valid_len;
    remarks.extend(
        decoded.torn.map(|what| format!("torn at {valid_len}: {what}; that edit was never acted on")),
    );
    Ok(Inspection { facts, tables: vec![table], remarks })
}

fn of_latest(name: &str, bytes: &[u8]) -> Result<Inspection> {
    let (shard, seqno, models) = latest::decode(name, bytes)?;
    let row = |model: &latest::ModelLatest| {
        let values: usize = model.columns.iter().map(|c| c.times.len()).sum();
        vec![model.model.0.into(), model.assets.len().into(), model.columns.len().into(), values.into()]
    };
    let columns = vec!["model", "assets", "points", "values"];
    let table = InspectedTable { columns, rows: models.iter().map(row).collect() };
    let facts = vec![("shard", shard.0.into()), ("as of batch", seqno.0.into())];
    Ok(Inspection { facts, tables: vec![table], remarks: Vec::new() })
}
