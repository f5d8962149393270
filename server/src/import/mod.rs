//! `wattline import`: CSV and Parquet files into a running server.
//!
//! Owns: reading files, naming what is wrong with them, sending what is right. Does not own: checks against the model
//! (the server does them again, for everybody), durability (the server's answer says it).
//!
//! Reading order: [`args`] → [`csv`] → [`text`] → [`infer`] → [`columns`] → [`time`] → [`rows`] (or [`parquet`]) →
//! [`send`] over [`rest`] → [`rejects`], [`progress`]; [`create`] makes models and assets.

pub mod args;
pub mod columns;
pub mod create;
pub mod csv;
pub mod infer;
pub mod parquet;
pub mod plan;
pub mod progress;
pub mod rejects;
pub mod rest;
pub mod rows;
pub mod send;
pub mod text;
pub mod time;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};

pub use args::Args;
use args::{Options, Owner};
use plan::{Content, Plan, Source};
use progress::{Progress, grouped, short};
use rejects::Rejects;
use rest::Rest;
use rows::{CELLS_MAX, Chunk, Rows};
use send::{Handoff, Target};
use time::TimeReader;

/// Runs the command. Exit codes: 0 all imported, 3 some lines refused and the rest imported, 1 failed, 2 wrong usage.
///
/// # Errors
/// `Partly` where lines were refused; `Failed` where the import did not come to its end, also for want of a server.
pub fn run(args: Args) -> Result<()> {
    match import(&args) {
        Ok(0) => Ok(()),
        Ok(refused) => Err(Error::new(
            ErrorKind::Partly,
            format!("{} lines were refused, the rest was imported", grouped(refused)),
        )),
        Err(error) if error.kind() == ErrorKind::Unreachable => Err(Error::failed(error)),
        Err(error) => Err(error),
    }
}

/// Local times a clock change skipped, and that happened twice.
#[derive(Default)]
struct ClockChanges {
    skipped: u64,
    repeated: u64,
}

/// Imports everything; how many lines were refused.
fn import(args: &Args) -> Result<u64> {
    let options = args.options()?;
    let plan = plan::make(args, &options)?;
    let header = plan.sources.iter().find_map(|s| match &s.content {
        Content::Csv { header } => Some(header.raw.clone()),
        Content::Parquet => None,
    });
    let progress = Progress::new(plan.sources.iter().map(|s| s.bytes).sum());
    let rejects =
        Rejects::open(&args.files, args.rejects.as_deref(), &header.unwrap_or_default(), args.max_rejects)?;
    let rejects = Mutex::new(rejects);
    let mut changes = ClockChanges::default();
    let job = Job { args, options: &options, plan: &plan, progress: &progress, rejects: &rejects };
    let outcome = if args.dry_run {
        job.read_all(&mut changes, &mut |chunk| {
            progress.acknowledged(chunk.rows.num_rows() as u64, chunk.samples);
            Ok(true)
        })
    } else {
        let target =
            Target { server: &args.server, model: &args.model, progress: &progress, rejects: &rejects };
        let mut assets = AssetMaker::new(args, &plan)?;
        send::pump(&target, |handoff: &Handoff<'_>| {
            job.read_all(&mut changes, &mut |chunk| {
                assets.make(&chunk)?;
                Ok(handoff.give(chunk))
            })
        })
    };
    let flushed = rejects.lock().finish();
    progress.finish();
    let refused = rejects.lock().count();
    summary(args, &progress, refused, &changes);
    outcome.and(flushed)?;
    Ok(refused)
}

/// What reading needs.
struct Job<'a> {
    args: &'a Args,
    options: &'a Options,
    plan: &'a Plan,
    progress: &'a Progress,
    rejects: &'a Mutex<Rejects>,
}

type Give<'a> = dyn FnMut(Chunk) -> Result<bool> + 'a;

impl Job<'_> {
    fn read_all(&self, changes: &mut ClockChanges, give: &mut Give<'_>) -> Result<()> {
        let mut before = 0;
        for (file, source) in self.plan.sources.iter().enumerate() {
            let go_on = match &source.content {
                Content::Csv { .. } => self.read_csv(file, source, before, changes, give)?,
                Content::Parquet => self.read_parquet(file, source, before, changes, give)?,
            };
            if !go_on {
                return Ok(());
            }
            before += source.bytes;
            self.progress.read_to(before);
        }
        Ok(())
    }

    fn read_csv(
        &self,
        file: usize,
        source: &Source,
        before: u64,
        changes: &mut ClockChanges,
        give: &mut Give<'_>,
    ) -> Result<bool> {
        let dialect = &self.options.dialect;
        let mut records = infer::open(&source.path, dialect)?;
        if dialect.header {
            records.next_record().map_err(|s| infer::stopped(&source.path, s))?;
        }
        let mut rows = Rows::new(
            file,
            Arc::clone(&source.layout),
            self.options.owner.clone(),
            dialect,
            self.time(source),
        );
        let mut go_on = true;
        while go_on {
            let Some(record) = records.next_record().map_err(|s| infer::stopped(&source.path, s))? else {
                break;
            };
            if let Err(refusal) = rows.push(&record) {
                let mark =
                    rows::Mark { line: record.line, offset: record.offset, len: record.raw.len() as u32 };
                let mut rejects = self.rejects.lock();
                rejects.refuse(self.progress, file, mark, refusal.column.as_deref(), &refusal.reason)?;
            }
            if rows.is_full(self.options.batch_rows)
                && let Some(chunk) = rows.take()
            {
                go_on = give(chunk)?;
                self.progress.read_to(before + records.bytes_read());
            }
        }
        if go_on && let Some(chunk) = rows.take() {
            go_on = give(chunk)?;
        }
        let (skipped, repeated) = rows.clock_changes();
        changes.skipped += skipped;
        changes.repeated += repeated;
        Ok(go_on)
    }

    fn read_parquet(
        &self,
        file: usize,
        source: &Source,
        before: u64,
        changes: &mut ClockChanges,
        give: &mut Give<'_>,
    ) -> Result<bool> {
        let mut converter = parquet::Converter {
            file,
            layout: Arc::clone(&source.layout),
            owner: self.options.owner.clone(),
            time: self.time(source),
            rows: 0,
            nan_is_null: self.options.dialect.nulls.iter().any(|n| n == b"NaN"),
        };
        let rows = self.options.batch_rows.min(CELLS_MAX / source.layout.points.len().max(1));
        for batch in parquet::open(&source.path, rows.max(1))? {
            let batch = batch.map_err(|e| Error::failed(format!("{}: {e}", source.path.display())))?;
            let (chunk, refused) = converter.convert(&batch)?;
            for (mark, refusal) in refused {
                let mut rejects = self.rejects.lock();
                rejects.refuse(self.progress, file, mark, refusal.column.as_deref(), &refusal.reason)?;
            }
            if let Some(chunk) = chunk
                && !give(chunk)?
            {
                return Ok(false);
            }
            let part = source.bytes as f64 * converter.rows as f64 / source.rows.max(1) as f64;
            self.progress.read_to(before + part as u64);
        }
        changes.skipped += converter.time.skipped;
        changes.repeated += converter.time.repeated;
        Ok(true)
    }

    fn time(&self, source: &Source) -> TimeReader {
        TimeReader::new(source.format.clone(), self.options.zone.clone(), self.args.dst)
    }
}

/// Creates assets as they first appear.
struct AssetMaker<'a> {
    rest: Option<Rest>,
    product: String,
    column: bool,
    known: std::collections::HashSet<String>,
    args: &'a Args,
}

impl<'a> AssetMaker<'a> {
    fn new(args: &'a Args, plan: &Plan) -> Result<AssetMaker<'a>> {
        let wanted = args.create_device || plan.model_created;
        let product = args.product.clone().unwrap_or_else(|| format!("import-{}", args.model));
        let owner = args.options()?.owner;
        let mut maker = AssetMaker {
            rest: if wanted { Some(Rest::new(&args.server)?) } else { None },
            product,
            column: matches!(owner, Owner::Column(_)),
            known: std::collections::HashSet::new(),
            args,
        };
        if let Some(rest) = &mut maker.rest {
            match &owner {
                Owner::Device(product, device) => {
                    create::product(rest, product, &args.model)?;
                    create::device(rest, product, device, None)?;
                }
                Owner::Asset(asset) => {
                    create::product(rest, &maker.product, &args.model)?;
                    create::device(rest, &maker.product, asset, Some(asset))?;
                }
                Owner::Column(_) => create::product(rest, &maker.product, &args.model)?,
            }
        }
        Ok(maker)
    }

    /// Makes sure the assets of a chunk are there.
    fn make(&mut self, chunk: &Chunk) -> Result<()> {
        use arrow::array::AsArray;
        let (Some(rest), true) = (&mut self.rest, self.column) else {
            return Ok(());
        };
        let Some(assets) = chunk.rows.column_by_name("asset_id").and_then(|c| c.as_string_opt::<i32>())
        else {
            return Ok(());
        };
        let mut last = "";
        for asset in assets.iter().flatten() {
            // Rows of one asset mostly stand together: the set is asked once a run.
            if asset != last && !self.known.contains(asset) {
                create::device(rest, &self.product, asset, Some(asset)).map_err(|e| {
                    e.within(format!("asset {asset:?} of {}", self.args.files[chunk.file].display()))
                })?;
                self.known.insert(asset.to_owned());
            }
            last = asset;
        }
        Ok(())
    }
}

fn summary(args: &Args, progress: &Progress, refused: u64, changes: &ClockChanges) {
    let rows = progress.rows.load(Ordering::Relaxed);
    let samples = progress.samples.load(Ordering::Relaxed);
    let retries = progress.retries.load(Ordering::Relaxed);
    let seconds = progress.elapsed().as_secs_f64();
    let verb = if args.dry_run { "checked" } else { "imported" };
    eprintln!(
        "{verb} {} rows, {} samples into {} in {seconds:.1} s ({} samples/s), {} lines refused",
        grouped(rows),
        grouped(samples),
        args.model,
        short(samples as f64 / seconds.max(1e-3)),
        grouped(refused),
    );
    if changes.skipped > 0 {
        eprintln!("{} local times do not exist in {} (--dst {:?})", changes.skipped, args.timezone, args.dst);
    }
    if changes.repeated > 0 {
        eprintln!(
            "{} local times happened twice in {} (--dst {:?})",
            changes.repeated, args.timezone, args.dst
        );
    }
    if retries > 0 {
        eprintln!("{retries} requests were sent again");
    }
}

#[cfg(test)]
mod tests;
