//! `check`: whether the files of a store are what was written, and fit together.
//!
//! Owns: reading every manifest, log, checkpoint and segment of a folder, or every segment of an open store, and
//! saying what does not check out. Does not own: repair; nothing here changes a file.
//!
//! A store that is open is checked through [`Store::check`](crate::Store::check): its log and manifest change while
//! they are read, its segments do not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wattline_env::World;
use wattline_format::latest as checkpoint;
use wattline_format::log::{Change, Reader as LogReader, Step};
use wattline_format::manifest::{SegmentMeta, State};
use wattline_format::segment::Reader;
use wattline_model::{Seqno, ShardId};

use crate::error::{Error, ErrorKind, Result};
use crate::flush::{checkpoint_name, open_segment};
use crate::log::first_of;
use crate::manifest::{Manifest, is_manifest};
use crate::recover::{is_referred_to, shard_dir};
use crate::version::Kept;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Shards looked at.
    pub shards: u64,
    /// Files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments read.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Samples in them.
    pub samples: u64,
    /// Batches and deletions in logs.
    pub records: u64,
    /// What does not check out.
    pub findings: Vec<Finding>,
}

/// Something that does not check out.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The file, or the folder where one is missing.
    pub path: PathBuf,
    /// How much it matters.
    pub severity: Severity,
    /// What was expected and found.
    pub what: String,
}

/// How much a [`Finding`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The next start clears it away; nothing that was acknowledged is touched.
    Notice,
    /// Acknowledged data is lost or cannot be read.
    Damage,
}

/// How far a check is.
#[derive(Clone, Copy, Debug)]
pub struct CheckProgress<'a> {
    /// The file that was read.
    pub path: &'a Path,
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes there are to read.
    pub bytes_total: u64,
}

/// Told after each file. To end the check early, answer `false`.
pub type Watch<'a> = &'a mut dyn FnMut(CheckProgress<'_>) -> bool;

impl CheckReport {
    /// Whether something that was acknowledged is lost or cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Damage)
    }

    pub(crate) fn find(&mut self, path: &Path, severity: Severity, what: impl ToString) {
        self.findings.push(Finding { path: path.to_owned(), severity, what: what.to_string() });
    }
}

/// Checks the store in the folder `dir`, which no process may have open.
///
/// # Errors
/// `Busy` where a process has it open, `Damaged` where there is no store, `Io` where the folder cannot be read,
/// `Closed` where `watch` ended it. What is wrong with files is in the report, not an error.
pub fn check(dir: &Path, world: &World, watch: Watch<'_>) -> Result<CheckReport> {
    let first = shard_dir(dir, ShardId(0));
    if !Manifest::exists(&*world.disk, &first) {
        return Err(Error::new(ErrorKind::Damaged, format!("{}: no store is there", dir.display())));
    }
    let _lock = world
        .disk
        .lock(&dir.join("LOCK"))
        .map_err(|e| Error::io(format_args!("{} (stop the server first)", dir.display()), &e))?;
    let mut walk = Walk { world, watch, report: CheckReport::default(), total: 0 };
    let shards = match Manifest::peek(&*world.disk, &first) {
        Ok(state) => state.shards,
        Err(error) => {
            walk.report.find(&first, Severity::Damage, error);
            return Ok(walk.report);
        }
    };
    let dirs: Vec<PathBuf> = (0..shards).map(|s| shard_dir(dir, ShardId(s))).collect();
    walk.total = dirs.iter().map(|dir| walk.bytes_in(dir)).sum();
    for dir in &dirs {
        walk.shard(dir)?;
    }
    Ok(walk.report)
}

struct Walk<'a> {
    world: &'a World,
    watch: Watch<'a>,
    report: CheckReport,
    total: u64,
}

impl Walk<'_> {
    fn bytes_in(&self, dir: &Path) -> u64 {
        let names = self.world.disk.list(dir).unwrap_or_default();
        names.iter().filter_map(|name| self.world.disk.len(&dir.join(name)).ok()).sum()
    }

    fn shard(&mut self, dir: &Path) -> Result<()> {
        self.report.shards += 1;
        let state = match Manifest::peek(&*self.world.disk, dir) {
            Ok(state) => state,
            Err(error) => {
                self.report.find(dir, Severity::Damage, error);
                return Ok(());
            }
        };
        let names =
            self.world.disk.list(dir).map_err(|e| Error::io(format_args!("list {}", dir.display()), &e))?;
        for name in names.iter().filter(|name| is_manifest(name)) {
            self.done(&dir.join(name))?;
        }
        self.state(dir, &state);
        for meta in &state.segments {
            let path = dir.join(&meta.file);
            let kept = Arc::new(Kept::new(0));
            let opened = open_segment(&self.world.disk, dir, meta.clone(), &kept);
            match opened.and_then(|s| check_segment(&s.reader, meta, Some(&state))) {
                Ok(()) => {
                    self.report.rows += meta.rows;
                    self.report.samples += meta.samples;
                }
                Err(error) => self.report.find(&path, Severity::Damage, error),
            }
            self.report.segments += 1;
            self.done(&path)?;
        }
        self.checkpoint(dir, &state)?;
        self.logs(dir, &state, &names)?;
        for name in &names {
            if !is_referred_to(name, &state) && first_of(name).is_none() {
                self.report.find(
                    &dir.join(name),
                    Severity::Notice,
                    "nothing refers to it; the next start removes it",
                );
            }
        }
        Ok(())
    }

    /// What a manifest says must agree with itself.
    fn state(&mut self, dir: &Path, state: &State) {
        let mut ids = BTreeSet::new();
        for s in &state.segments {
            let wrong = if !ids.insert(s.id) || s.id >= state.next_segment {
                Some(format!(
                    "segment {} is listed twice or above the next number {}",
                    s.id, state.next_segment
                ))
            } else if s.first_seqno > state.flushed {
                // It may *end* later: where it reflects a deletion that is still in the log.
                Some(format!(
                    "segment {} begins at {}, after the flush mark {}",
                    s.id, s.first_seqno, state.flushed
                ))
            } else {
                None
            };
            if let Some(wrong) = wrong {
                self.report.find(dir, Severity::Damage, wrong);
            }
        }
    }

    fn checkpoint(&mut self, dir: &Path, state: &State) -> Result<()> {
        let Some(seqno) = state.latest_checkpoint else { return Ok(()) };
        let path = dir.join(checkpoint_name(seqno));
        let read = self.world.disk.map(&path).map_err(|e| Error::io("open", &e));
        let decoded = read.and_then(|bytes| Ok(checkpoint::decode(&path.display().to_string(), &bytes)?));
        match decoded {
            Ok((shard, found, _)) if (shard, found) == (state.shard, Seqno(seqno)) => {}
            Ok((shard, found, _)) => {
                let what = format!("it is of {shard} at {found}, not of {} at {seqno}", state.shard);
                self.report.find(&path, Severity::Damage, what);
            }
            Err(error) => self.report.find(&path, Severity::Damage, error),
        }
        self.done(&path)
    }

    /// Every record of every file that may hold batches that are not in segments.
    fn logs(&mut self, dir: &Path, state: &State, names: &[String]) -> Result<()> {
        let mut firsts: Vec<(Seqno, &String)> =
            names.iter().filter_map(|n| first_of(n).map(|first| (first, n))).collect();
        firsts.sort_unstable();
        let mut expected = state.flushed.next();
        for (i, (first, name)) in firsts.iter().enumerate() {
            let path = dir.join(name);
            let superfluous = firsts.get(i + 1).is_some_and(|next| next.0 <= state.flushed.next());
            if superfluous {
                self.report.find(
                    &path,
                    Severity::Notice,
                    "all of it is in segments; the next start removes it",
                );
            } else if *first > expected {
                let what = format!("it begins at {first}; batches from {expected} on are missing");
                self.report.find(&path, Severity::Damage, what);
            }
            match self.log(&path, state, i + 1 == firsts.len()) {
                Ok(next) => expected = expected.max(next),
                Err(error) => self.report.find(&path, Severity::Damage, error),
            }
            self.done(&path)?;
        }
        Ok(())
    }

    /// Reads one log file; returns the number after its last record.
    fn log(&mut self, path: &Path, state: &State, is_last: bool) -> Result<Seqno> {
        let bytes = self.world.disk.map(path).map_err(|e| Error::io("open", &e))?;
        let mut reader = LogReader::open(&path.display().to_string(), &bytes)?;
        let header = *reader.header();
        if reader.is_stub() && !is_last {
            self.report.find(path, Severity::Notice, "it never held a batch; the next start removes it");
            return Ok(Seqno::ZERO);
        }
        if !reader.is_stub() && (header.store, header.shard) != (state.store, state.shard) {
            return Err(Error::new(ErrorKind::Damaged, format!("{}: of another store", path.display())));
        }
        let mut next = header.first;
        loop {
            match reader.next()? {
                Step::Record { seqno, change, .. } => {
                    self.report.records += 1;
                    next = seqno.next();
                    if let Change::Batch(batch) = change {
                        let wrong = |e| Error::new(ErrorKind::Damaged, format!("batch {seqno}: {e}"));
                        batch.check().map_err(wrong)?;
                    }
                }
                Step::End { .. } => return Ok(next),
                Step::Torn { valid_len, what } if is_last => {
                    let what =
                        format!("it is torn at {valid_len} ({what}); what follows was never acknowledged");
                    self.report.find(path, Severity::Notice, what);
                    return Ok(next);
                }
                Step::Torn { what, .. } => {
                    let what = format!("{}: {what}, though a later file follows", path.display());
                    return Err(Error::new(ErrorKind::Damaged, what));
                }
            }
        }
    }

    fn done(&mut self, path: &Path) -> Result<()> {
        self.report.files += 1;
        self.report.bytes += self.world.disk.len(path).unwrap_or(0);
        let progress = CheckProgress { path, bytes: self.report.bytes, bytes_total: self.total };
        if (self.watch)(progress) { Ok(()) } else { Err(Error::closed()) }
    }
}

/// Whether a segment is sound through and through, and the one that `meta` describes.
pub(crate) fn check_segment(
    reader: &Reader,
    meta: &SegmentMeta,
    state: Option<&State>,
) -> std::result::Result<(), Error> {
    let (header, summary) = (reader.header(), reader.summary());
    let found = (summary.bytes, summary.rows, summary.samples, summary.models, summary.checksum);
    let listed = (meta.bytes, meta.rows, meta.samples, meta.models, meta.checksum);
    let places = (header.partition, header.level, header.first_seqno, header.last_seqno);
    let listed_places = (meta.partition, meta.level, meta.first_seqno, meta.last_seqno);
    let belongs = state.is_none_or(|s| (header.store, header.shard) == (s.store, s.shard));
    if found != listed || places != listed_places || !belongs {
        let what = format!("{}: it is not the file that the manifest lists", reader.file());
        return Err(Error::new(ErrorKind::Damaged, what));
    }
    reader.verify()?;
    reader.check_values()?;
    Ok(())
}
