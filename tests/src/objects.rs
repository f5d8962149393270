//! Emulators of object stores: Azurite for Azure Blob Storage, moto for S3.
//!
//! Each listens on a free port of loopback, lives as long as its value, and is killed with the thread that started it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::python;
use crate::server::{command, repo};

/// The account that Azurite has, and its key: printed in its documentation, and the same everywhere.
const AZURITE_ACCOUNT: &str = "devstoreaccount1";
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The bucket or container that is made.
const BUCKET: &str = "backups";

/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running emulator with one empty bucket.
#[derive(Debug)]
pub struct ObjectStore {
    child: Child,
    kind: &'static str,
    port: u16,
    /// The URL of a prefix in the bucket, for `backup.dir`.
    pub url: String,
    /// What the server's environment needs to reach it.
    pub env: Vec<(&'static str, String)>,
    _dir: TempDir,
}

impl ObjectStore {
    /// Azurite.
    pub fn azurite() -> ObjectStore {
        let script = repo().join("tests/services/node-env.sh");
        let made = Command::new(&script).stdin(Stdio::null()).output().expect("node-env.sh runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let program = repo().join(".node/node_modules/.bin/azurite-blob");
        let port_text = port.to_string();
        let args = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobPort", &port_text];
        let args = args
            .map(str::to_owned)
            .into_iter()
            .chain(["--location".into(), dir.path().display().to_string()]);
        let env = vec![
            ("AZURE_STORAGE_ACCOUNT_NAME", AZURITE_ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY.to_owned()),
            ("AZURE_STORAGE_ENDPOINT", format!("http://127.0.0.1:{port}/{AZURITE_ACCOUNT}")),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
        ];
        ObjectStore::start("azure", program, args, dir, port, format!("az://{BUCKET}/plant-7"), env)
    }

    /// moto.
    pub fn s3() -> ObjectStore {
        let program = python::python().with_file_name("moto_server");
        let port = free_port();
        let args = ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        let env = vec![
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test-secret".to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ];
        let dir = tempfile::tempdir().unwrap();
        ObjectStore::start("s3", program, args.into_iter(), dir, port, format!("s3://{BUCKET}/plant-7"), env)
    }

    fn start(
        kind: &'static str,
        program: PathBuf,
        args: impl Iterator<Item = String>,
        dir: TempDir,
        port: u16,
        url: String,
        env: Vec<(&'static str, String)>,
    ) -> ObjectStore {
        let mut command = command(&program);
        command.args(args).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let store = ObjectStore { child, kind, port, url, env, _dir: dir };
        let begin = Instant::now();
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
            assert!(begin.elapsed() < PATIENCE, "{kind} does not listen on {port}");
            std::thread::sleep(Duration::from_millis(50));
        }
        store.client("create");
        store
    }

    /// The names of all objects, as the store's own client sees them.
    pub fn names(&self) -> Vec<String> {
        self.client("list").lines().map(str::to_owned).collect()
    }

    /// Turns a bit of the first object whose name ends like this.
    pub fn damage(&self, ending: &str) {
        self.client(&format!("damage:{ending}"));
    }

    fn client(&self, act: &str) -> String {
        python::run("object_store.py", &[self.kind, &self.port.to_string(), BUCKET, act])
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}
