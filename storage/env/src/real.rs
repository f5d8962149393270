//! The real world: the operating system's clock, file system and randomness.

use std::any::Any;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memmap2::Mmap;

use crate::{Chance, Clock, Disk, WriteFile};

/// The operating system's clocks.
#[derive(Clone, Debug)]
pub struct RealClock {
    /// What [`Clock::monotonic_nanos`] counts from.
    start: Instant,
}

impl RealClock {
    /// A clock whose monotonic reading starts at zero, now.
    pub fn new() -> RealClock {
        RealClock { start: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> RealClock {
        RealClock::new()
    }
}

impl Clock for RealClock {
    fn now_micros(&self) -> i64 {
        // A clock set before 1970 gives a negative reading rather than a panic; one past the year 294,000 saturates.
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        }
    }

    fn monotonic_nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealChance;

impl Chance for RealChance {
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("the operating system gives random numbers once it has started")
    }
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|path| !is_here(path)).collect();
        fs::create_dir_all(dir)?;
        // From the top down, so that a crash in between leaves a path without holes. The parent of `dir` is synced even
        // where nothing was missing: the process that made it may have been killed before it synced.
        for path in missing.iter().skip(1).rev().chain([&dir]) {
            sync_directory(parent_of(path))?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                // The engine's own names are ASCII; a stranger's odd name must not stop the start.
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile { file, len: 0 }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = OpenOptions::new().append(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Box::new(RealFile { file, len }))
    }

    #[expect(unsafe_code, reason = "a memory map is the only way to read a segment without copying it")]
    fn map(&self, path: &Path) -> io::Result<Bytes> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: the map is read only and private to this process. Its bytes can change under us only if somebody
        // writes into or truncates the file; the engine holds the directory's lock, never writes in the middle of a
        // file, and truncates a log only before it maps it.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Bytes::from_owner(map))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_directory(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        is_here(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A file of the operating system, written at its end.
#[derive(Debug)]
struct RealFile {
    file: File,
    len: u64,
}

impl WriteFile for RealFile {
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        // By hand, so that `len` stays true when the disk fills up halfway.
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(written) => {
                    self.len += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> u64 {
        self.len
    }
}

fn is_here(path: &Path) -> bool {
    // A relative path's outermost ancestor is "", the current directory.
    path.as_os_str().is_empty() || path.exists()
}

/// The directory a name stands in; the current one for a bare name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(unix)]
fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Windows has no way to sync a directory; NTFS journals names on its own.
#[cfg(not(unix))]
fn sync_directory(dir: &Path) -> io::Result<()> {
    fs::metadata(dir).map(|_| ())
}

#[cfg(test)]
mod tests;
