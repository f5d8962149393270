//! The file system, as a seam: files that only grow, directories, and an explicit moment at which each is durable.
//!
//! The rules both implementations keep, and nothing more may be relied upon:
//!
//! * Bytes written are readable at once, and durable after [`WriteFile::sync`] has returned `Ok`.
//! * After a failed `sync` nothing is known about the bytes it should have covered, whatever later syncs say.
//! * A created, renamed or removed *name* is durable after [`Disk::sync_dir`] on its directory has returned `Ok`;
//!   syncing the file alone does not make its name durable.
//! * Files are written at their end only. What needs changing in the middle is written anew and renamed.

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::path::Path;

use bytes::Bytes;

/// A place that keeps files. See the module head for what is durable when.
pub trait Disk: Send + Sync + Debug {
    /// Creates the directory and those above it where they are missing, durably. Existing ones are no error.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Names of the files in the directory, sorted; directories are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a file that must not exist yet ([`io::ErrorKind::AlreadyExists`] where it does).
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Opens an existing file for writing at its end.
    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// The whole file for reading, as long as it is now; an empty file gives empty bytes.
    ///
    /// The bytes stay valid when the file is removed or renamed. A file that is mapped must not be truncated.
    fn map(&self, path: &Path) -> io::Result<Bytes>;

    /// The whole file, copied.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Length of the file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Cuts (or, with zeros, extends) the file to `len` bytes and syncs it.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Takes back what a failed append left after the first `len` bytes, and opens the file at its new end.
    fn cut_back(&self, path: &Path, len: u64) -> io::Result<Box<dyn WriteFile>> {
        self.truncate(path, len)?;
        let file = self.append(path)?;
        match file.len() {
            now if now == len => Ok(file),
            now => Err(io::Error::other(format!("cut back to {len} bytes, the file has {now}"))),
        }
    }

    /// Writes a whole new file: it bears its name only once all of it is on the medium, and the name with it. What an
    /// interrupted attempt leaves bears the name with `.tmp` behind it.
    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        if self.exists(temporary) {
            self.remove(temporary)?;
        }
        let mut file = self.create(temporary)?;
        file.write_all(bytes)?;
        file.sync()?;
        drop(file);
        self.rename(temporary, path)?;
        path.parent().map_or(Ok(()), |dir| self.sync_dir(dir))
    }

    /// Gives a file another name, replacing what bears it. Durable by [`Disk::sync_dir`] of both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable by [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in the directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether a file or directory bears this name.
    fn exists(&self, path: &Path) -> bool;

    /// Takes an exclusive lock, creating the file where needed; it is held until the returned value is dropped.
    ///
    /// Fails at once with [`io::ErrorKind::WouldBlock`] where another process or another handle holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// A file open for writing at its end.
#[expect(clippy::len_without_is_empty, reason = "a position to write at, not a collection")]
pub trait WriteFile: Send + Debug {
    /// Appends the bytes. After an error, [`WriteFile::len`] tells how many of them did arrive.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written so far durable, and the length with it.
    fn sync(&mut self) -> io::Result<()>;

    /// Length of the file, with what was written through this handle.
    fn len(&self) -> u64;
}
