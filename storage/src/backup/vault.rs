//! Where backups are kept: whole files under names with slashes, in a folder or wherever a [`Vault`] puts them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use wattline_env::Disk;

/// A place for whole files. Names are parts joined by `/`, of characters that every file system and object store takes.
pub trait Vault: Send + Sync + fmt::Display {
    /// Keeps a file, durably, replacing one of this name. Nobody ever sees a part of it.
    fn put(&self, name: &str, bytes: &Bytes) -> io::Result<()>;

    /// The whole file.
    fn get(&self, name: &str) -> io::Result<Bytes>;

    /// How long the file is; `None` where there is none.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;

    /// The names behind `folder/` of files right in it, sorted; none where there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Removes a file; one that is not there is no error.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A folder on a disk.
#[derive(Clone, Debug)]
pub struct Folder {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Folder {
    /// The folder `path`, made when something is put into it.
    pub fn new(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Folder {
        Folder { disk, path: path.into() }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Vault for Folder {
    fn put(&self, name: &str, bytes: &Bytes) -> io::Result<()> {
        let path = self.path.join(name);
        path.parent().map_or(Ok(()), |dir| self.disk.create_dir_all(dir))?;
        self.disk.put(&path, bytes)
    }

    fn get(&self, name: &str) -> io::Result<Bytes> {
        self.disk.map(&self.path.join(name))
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        let path = self.path.join(name);
        if self.disk.exists(&path) { self.disk.len(&path).map(Some) } else { Ok(None) }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let dir = self.path.join(folder);
        if self.disk.exists(&dir) { self.disk.list(&dir) } else { Ok(Vec::new()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        if self.disk.exists(&path) { self.disk.remove(&path) } else { Ok(()) }
    }
}
