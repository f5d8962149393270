//! The manifest of a shard on disk: which segments it consists of, and up to where its log is in them.
//!
//! Owns: appending edits durably, starting a new file when the edits outgrow the state, finding the file at open.
//! Does not own: record bytes (`wattline_format::manifest`), deciding on edits (`flush`, `compact`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wattline_env::{Disk, WriteFile};
use wattline_format::manifest::{Decoded, Edit, State, decode, encode_edit, encode_start};

use crate::error::{Error, ErrorKind, Result};

/// The manifest of one shard, open for appending.
pub(crate) struct Manifest {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    generation: u64,
    file: Box<dyn WriteFile>,
    start_bytes: u64,
    /// Bytes of the file after which a new one is started, unless the state alone is larger.
    edit_bytes_max: u64,
    state: State,
    /// Set when nobody knows what the medium holds: only a restart, which reads it, can tell.
    failed: Option<Error>,
}

fn file_name(generation: u64) -> String {
    format!("manifest-{generation:012}.wlm")
}

fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix("manifest-")?.strip_suffix(".wlm")?.parse().ok()
}

/// The name of a shard's first manifest.
pub(crate) fn first_file_name() -> String {
    file_name(1)
}

/// Whether `name` is one a manifest may have, finished or not.
pub(crate) fn is_manifest(name: &str) -> bool {
    name.starts_with("manifest-")
}

impl Manifest {
    /// Whether there is a manifest in `dir`.
    pub(crate) fn exists(disk: &dyn Disk, dir: &Path) -> bool {
        disk.list(dir).is_ok_and(|names| names.iter().any(|n| generation_of(n).is_some()))
    }

    /// Writes the first manifest of a shard.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, state: &State) -> Result<()> {
        write_start(disk, dir, 1, state).map(drop)
    }

    /// What the manifest in `dir` says, without touching it.
    pub(crate) fn peek(disk: &dyn Disk, dir: &Path) -> Result<State> {
        Ok(read_newest(disk, dir)?.1.state)
    }

    /// Reads the manifest in `dir` and leaves a fresh file, so that nothing follows a torn edit.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, edit_bytes_max: u64) -> Result<Manifest> {
        let names = list(&*disk, dir)?;
        let (generation, decoded) = read_newest(&*disk, dir)?;
        if let Some(torn) = &decoded.torn {
            let file = dir.join(file_name(generation));
            tracing::warn!(file = %file.display(), torn, "the last edit of the manifest was cut off; it was never acknowledged");
        }
        let (file, start_bytes) = write_start(&*disk, dir, generation + 1, &decoded.state)?;
        let manifest = Manifest {
            disk,
            dir: dir.to_owned(),
            generation: generation + 1,
            file,
            start_bytes,
            edit_bytes_max,
            state: decoded.state,
            failed: None,
        };
        manifest.remove_old(&names);
        Ok(manifest)
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Records `edit`: when this returns, the next start sees it. After an error of kind `Full` it certainly does
    /// not; after any other nobody knows, and nothing more is recorded.
    pub(crate) fn record(&mut self, edit: &Edit) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.try_record(edit);
        if let Err(error) = &result
            && error.kind() != ErrorKind::Full
        {
            self.failed = Some(error.clone());
        }
        result
    }

    fn try_record(&mut self, edit: &Edit) -> Result<()> {
        let mut state = self.state.clone();
        state.apply(edit)?;
        if self.file.len() > self.edit_bytes_max.max(2 * self.start_bytes) {
            let names = vec![file_name(self.generation)];
            let (file, start_bytes) = write_start(&*self.disk, &self.dir, self.generation + 1, &state)?;
            (self.file, self.start_bytes, self.state) = (file, start_bytes, state);
            self.generation += 1;
            self.remove_old(&names);
            return Ok(());
        }
        let mut record = Vec::new();
        encode_edit(&mut record, edit);
        let before = self.file.len();
        let path = self.dir.join(file_name(self.generation));
        if let Err(error) = self.file.write_all(&record) {
            let error = Error::io(format_args!("append to {}", path.display()), &error);
            if error.kind() == ErrorKind::Full {
                self.file = self
                    .disk
                    .cut_back(&path, before)
                    .map_err(|e| Error::new(ErrorKind::Io, format!("cut back {}: {e}", path.display())))?;
            }
            return Err(error);
        }
        self.file.sync().map_err(|e| Error::new(ErrorKind::Io, format!("sync {}: {e}", path.display())))?;
        self.state = state;
        Ok(())
    }

    /// Removes manifests before this one. A leftover is harmless: the newest counts.
    fn remove_old(&self, names: &[String]) {
        for name in names.iter().filter(|n| is_manifest(n) && **n != file_name(self.generation)) {
            if let Err(error) = self.disk.remove(&self.dir.join(name)) {
                tracing::warn!(file = name, %error, "an old manifest could not be removed");
            }
        }
    }
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>> {
    disk.list(dir).map_err(|e| Error::io(format_args!("list {}", dir.display()), &e))
}

fn read_newest(disk: &dyn Disk, dir: &Path) -> Result<(u64, Decoded)> {
    let generation = list(disk, dir)?.iter().filter_map(|n| generation_of(n)).max();
    let Some(generation) = generation else {
        return Err(Error::new(ErrorKind::Damaged, format!("no manifest in {}", dir.display())));
    };
    let path = dir.join(file_name(generation));
    let bytes = disk.read(&path).map_err(|e| Error::io(format_args!("read {}", path.display()), &e))?;
    Ok((generation, decode(&path.display().to_string(), &bytes)?))
}

/// Writes a manifest that begins with `state`, under a name it gets only when it is complete.
fn write_start(
    disk: &dyn Disk,
    dir: &Path,
    generation: u64,
    state: &State,
) -> Result<(Box<dyn WriteFile>, u64)> {
    let path = dir.join(file_name(generation));
    let bytes = encode_start(state);
    let write = || {
        disk.put(&path, &bytes)?;
        disk.append(&path)
    };
    let file = write().map_err(|e| Error::io(format_args!("write {}", path.display()), &e))?;
    Ok((file, bytes.len() as u64))
}
