//! Where backups go: a folder, or an object store named by a URL.
//!
//! Owns: telling the two apart, and an object store as a [`Vault`]. Does not own: what is put there (`storage`).
//!
//! Credentials and endpoints of object stores come from the environment, under the names their own tools use
//! (`AWS_ACCESS_KEY_ID`, `AZURE_STORAGE_ACCOUNT_NAME`, …), so that no secret stands in a settings file or on a command
//! line.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart, parse_url_opts};
use tokio::runtime::{Builder, Runtime};
use url::Url;
use wattline_env::World;
use wattline_storage::{Folder, Vault};

use crate::error::{Error, Result};

/// Files up to this size go up in one request; larger ones in parts of it.
const PART_BYTES: usize = 16 << 20;

/// Parts on their way at a time: what a link is filled with, and 64 MiB of memory.
const PARTS_MAX: usize = 4;

/// Files above this size come down into a file without a name rather than into memory.
const MEMORY_MAX: u64 = 64 << 20;

/// How long one request may take, a part of 16 MiB included: 0.5 Mbit/s suffice.
const REQUEST_TIMEOUT: &str = "300s";

/// The place that `setting` names: a URL such as `s3://bucket/plant-7` or `az://container/plant-7`, or else a folder.
///
/// # Errors
/// Where the URL names no object store there is.
pub fn open(setting: &str) -> Result<Arc<dyn Vault>> {
    if !setting.contains("://") {
        return Ok(Arc::new(Folder::new(World::real().disk, setting)));
    }
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let known = |name: &String| name.starts_with("AWS_") || name.starts_with("AZURE_");
    let options = env.filter(|(name, _)| known(name)).chain([("timeout".into(), REQUEST_TIMEOUT.into())]);
    Objects::open(setting, options).map(|objects| Arc::new(objects) as Arc<dyn Vault>)
}

/// A prefix in an object store. Its calls block; make and use it where that is allowed.
struct Objects {
    shown: String,
    store: Box<dyn ObjectStore>,
    prefix: Path,
    runtime: Option<Runtime>,
}

impl Objects {
    fn open(url: &str, options: impl Iterator<Item = (String, String)>) -> Result<Objects> {
        let wrong = |e: &dyn fmt::Display| Error::usage(format!("{url} names no object store: {e}"));
        let parsed = Url::parse(url).map_err(|e| wrong(&e))?;
        if !matches!(parsed.scheme(), "s3" | "s3a" | "az" | "azure" | "adl" | "abfs" | "abfss" | "https") {
            return Err(wrong(&"s3://bucket/prefix and az://container/prefix are known"));
        }
        let (store, prefix) = parse_url_opts(&parsed, options).map_err(|e| wrong(&e))?;
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("objects").build();
        let runtime = Some(runtime.map_err(|e| Error::failed(format!("threads: {e}")))?);
        Ok(Objects { shown: url.trim_end_matches('/').to_owned(), store, prefix, runtime })
    }

    fn path(&self, name: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(name).parts()))
    }

    /// Runs `act` to its end.
    fn wait<T>(&self, act: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        let Some(runtime) = &self.runtime else { return Err(io::Error::other("closed")) };
        runtime.block_on(act).map_err(|error| {
            let kind = match &error {
                object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
                object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, error)
        })
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // A runtime must not wait for its threads where it may be dropped by one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Vault for Objects {
    fn put(&self, name: &str, bytes: &Bytes) -> io::Result<()> {
        let path = self.path(name);
        if bytes.len() <= PART_BYTES {
            return self.wait(self.store.put(&path, bytes.clone().into())).map(drop);
        }
        self.wait(async {
            let upload = self.store.put_multipart(&path).await?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            for part in bytes.chunks(PART_BYTES) {
                upload.wait_for_capacity(PARTS_MAX).await?;
                upload.put(bytes.slice_ref(part));
            }
            // What was sent so far of an upload that fails is nothing to anybody.
            upload.finish().await
        })
        .map(drop)
    }

    fn get(&self, name: &str) -> io::Result<Bytes> {
        let path = self.path(name);
        let found = self.wait(self.store.get(&path))?;
        if found.meta.size <= MEMORY_MAX {
            return self.wait(found.bytes());
        }
        let file = tempfile::NamedTempFile::new()?;
        let mut stream = found.into_stream();
        while let Some(piece) = self.wait(async { stream.next().await.transpose() })? {
            io::Write::write_all(&mut file.as_file(), &piece)?;
        }
        // The mapping keeps the file when its name is gone.
        World::real().disk.map(file.path())
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        match self.wait(self.store.head(&self.path(name))) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let listed = self.wait(self.store.list_with_delimiter(Some(&self.path(folder))))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.wait(self.store.delete(&self.path(name))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
