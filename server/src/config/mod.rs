//! Settings of the server: data, gathered from four places, checked once.
//!
//! Owns: the list of settings, their sources and precedence, the typed [`Settings`], the division of the memory
//! budget. Does not own: what a setting means to the part that has it.
//!
//! Reading order: [`keys`] → [`setting`] → [`sources`] → [`mod@print`] → [`Settings`].

pub mod keys;
pub mod print;
pub mod setting;
pub mod sources;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::setting::Setting;
use self::sources::{Flags, Gathered};
use wattline_dataservice::rates::Limits;

use crate::error::{Error, Result};

/// Shards of a new data directory where the settings leave it open: more than this many writers bring nothing.
const SHARDS_DEFAULT_MAX: u32 = 64;

/// The smallest memtable worth having: below it, segments are too small to compress and merge well.
const MEMTABLE_BYTES_MIN: u64 = 1 << 20;

/// The least memory worth giving to one statement: below it a sort cannot even merge what it has put on disk.
const SQL_MEMORY_BYTES_MIN: u64 = 8 << 20;

/// Flags that give settings, of `serve` and `config`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct SettingsArgs {
    /// Settings file [default: $WATTLINE_CONFIG, else ./wattline.toml where there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Address of the HTTP listener, or "off"
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Listen for PostgreSQL's clients, at this address or at 127.0.0.1:5432
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:5432", require_equals = true)]
    pub pg: Option<String>,
    /// Address of the Flight SQL listener, or "off"
    #[arg(long, value_name = "ADDR")]
    pub flight: Option<String>,
    /// Address of the plain MQTT listener, or "off"
    #[arg(long, value_name = "ADDR")]
    pub mqtt: Option<String>,
    /// Address of the MQTT listener with TLS, or "off"
    #[arg(long, value_name = "ADDR")]
    pub mqtt_tls: Option<String>,
    /// Certificate chain of the MQTT listener with TLS
    #[arg(long, value_name = "PEM")]
    pub mqtt_tls_cert: Option<String>,
    /// Private key of the MQTT listener with TLS
    #[arg(long, value_name = "PEM")]
    pub mqtt_tls_key: Option<String>,
    /// Shards of a new data directory; 0 = one a processor
    #[arg(long, value_name = "N")]
    pub shards: Option<String>,
    /// What the process may use, like 1GiB
    #[arg(long, value_name = "SIZE")]
    pub memory_budget: Option<String>,
    /// Register unknown devices of known products when they first send
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub auto_register_devices: Option<String>,
    /// Add unknown measure points to their model when they first come
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub auto_register_points: Option<String>,
    /// Form of the log: text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Any setting by its name in wattline.toml; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

impl SettingsArgs {
    /// Gathers from these flags, the environment of the process, and the file they name.
    ///
    /// # Errors
    /// Names the first setting that is unknown or malformed.
    pub fn gather(&self) -> Result<Gathered> {
        let env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
            .collect();
        Gathered::gather(self.file().as_deref(), &env, &self.flags()?)
    }

    fn file(&self) -> Option<PathBuf> {
        if self.config.is_some() {
            return self.config.clone();
        }
        if let Some(path) = std::env::var_os("WATTLINE_CONFIG").filter(|path| !path.is_empty()) {
            return Some(path.into());
        }
        let here = Path::new("wattline.toml");
        here.exists().then(|| here.to_owned())
    }

    fn flags(&self) -> Result<Flags> {
        let own = [
            ("--data-dir", &self.data_dir),
            ("--http", &self.http),
            ("--pg", &self.pg),
            ("--flight", &self.flight),
            ("--mqtt", &self.mqtt),
            ("--mqtt-tls", &self.mqtt_tls),
            ("--mqtt-tls-cert", &self.mqtt_tls_cert),
            ("--mqtt-tls-key", &self.mqtt_tls_key),
            ("--shards", &self.shards),
            ("--memory-budget", &self.memory_budget),
            ("--auto-register-devices", &self.auto_register_devices),
            ("--auto-register-points", &self.auto_register_points),
            ("--log-format", &self.log_format),
            ("--log-level", &self.log_level),
        ];
        let mut flags = Flags::new();
        for pair in &self.set {
            let (name, text) = pair
                .split_once('=')
                .ok_or_else(|| Error::usage(format!("--set {pair}: expected NAME=VALUE")))?;
            flags.push(("--set".to_owned(), name.trim().to_owned(), text.to_owned()));
        }
        for (flag, text) in own {
            if let Some(text) = text {
                let key = keys::KEYS.iter().find(|key| key.flag == Some(flag));
                let key = key.expect("the tests look every flag up");
                flags.push((flag.to_owned(), key.name.to_owned(), text.clone()));
            }
        }
        Ok(flags)
    }
}

/// Certificate files of a TLS listener.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Authorities of client certificates.
    pub client_ca: Option<PathBuf>,
}

/// Settings of the HTTP listener.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `host:port`, `None` for no listener.
    pub listen: Option<String>,
    /// What every request must show.
    pub token: Option<String>,
    /// Whether a listener without token may bind to an address others can reach.
    pub allow_unauthenticated_remote: bool,
    /// Bytes of a JSON or SQL body.
    pub body_bytes_max: usize,
    /// Bytes of one record batch of a bulk write.
    pub batch_bytes_max: usize,
    /// Connections at a time.
    pub connections_max: usize,
    /// Time to send a request's head, and for a TLS handshake.
    pub header_timeout: Duration,
    /// Time a client may be silent in a request body.
    pub read_timeout: Duration,
    /// Time a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// TLS.
    pub tls: Option<TlsFiles>,
}

/// Settings of the PostgreSQL listener.
#[derive(Clone, Debug)]
pub struct PgSettings {
    /// `host:port`, `None` for no listener.
    pub listen: Option<String>,
    /// Connections at a time.
    pub connections_max: usize,
    /// Time a client may be silent while it sends rows.
    pub read_timeout: Duration,
    /// Time a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// TLS.
    pub tls: Option<TlsFiles>,
}

/// Settings of the Flight SQL listener.
#[derive(Clone, Debug)]
pub struct FlightSettings {
    /// `host:port`, `None` for no listener.
    pub listen: Option<String>,
    /// Bytes of one message, and so of one record batch that is written.
    pub batch_bytes_max: usize,
    /// Connections at a time.
    pub connections_max: usize,
    /// Time a client may be silent while it sends rows.
    pub read_timeout: Duration,
    /// How long a token that a handshake gives is good.
    pub token_lifetime: Duration,
    /// TLS.
    pub tls: Option<TlsFiles>,
}

/// Settings of the MQTT listeners.
#[derive(Clone, Debug)]
pub struct MqttSettings {
    /// `host:port` of the plain listener.
    pub listen: Option<String>,
    /// Connections at a time, over all listeners.
    pub connections_max: usize,
    /// Whether the documented limits on logins hold.
    pub login_limits: bool,
    /// `host:port` and files of the listener with TLS.
    pub tls: Option<(String, TlsFiles)>,
}

/// Settings of SQL.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    /// Statements at a time.
    pub concurrency_max: usize,
    /// How long one may run.
    pub timeout: Duration,
    /// How many rows an answer may have.
    pub rows_max: Option<u64>,
    /// Memory of one.
    pub memory_bytes_max: Option<usize>,
    /// Bytes that all together put on disk.
    pub spill_bytes_max: u64,
}

/// Settings of intake.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// Register unknown devices.
    pub auto_register_devices: bool,
    /// Add unknown points.
    pub auto_register_points: bool,
    /// How far ahead of the clock a sample may be.
    pub future_limit: Duration,
}

/// The memory budget, divided. The parts are fixed shares: see `memory_budget` in [`keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// All memtables of all shards: the active and the frozen ones.
    pub memtables: u64,
    /// All queues before the writers.
    pub queues: u64,
    /// All running queries.
    pub queries: u64,
    /// What is kept of segments' directories between reads.
    pub directories: u64,
}

impl MemoryShares {
    /// 45 % memtables, 10 % queues, 20 % queries, 5 % directories; what is left is not handed out.
    pub fn divide(budget: u64) -> MemoryShares {
        let percent = |share: u64| budget / 100 * share;
        MemoryShares {
            memtables: percent(45),
            queues: percent(10),
            queries: percent(20),
            directories: percent(5),
        }
    }
}

/// Everything `wattline serve` needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Shards of a new data directory.
    pub shards: u32,
    /// The memory budget.
    pub memory: MemoryShares,
    /// How long the end may take.
    pub shutdown_timeout: Duration,
    /// Whether the log is JSON.
    pub log_json: bool,
    /// What is logged.
    pub log_level: String,
    /// HTTP.
    pub http: HttpSettings,
    /// PostgreSQL's wire.
    pub pg: PgSettings,
    /// Flight SQL.
    pub flight: FlightSettings,
    /// MQTT.
    pub mqtt: MqttSettings,
    /// Intake.
    pub ingest: IngestSettings,
    /// SQL.
    pub sql: SqlSettings,
    /// What one service account may ask of the data service.
    pub account_limits: Limits,
    /// Whether models that belong to no storage policy group keep latest values only.
    pub others_latest_only: bool,
    /// Bytes a second that compaction writes at most, per shard.
    pub merge_bytes_per_second: Option<u64>,
    /// How long a shard must not have flushed until segments that overlap are merged.
    pub settle_after: Duration,
    /// Where backups go: a folder, or the URL of an object store.
    pub backup_dir: Option<String>,
    /// How often the server takes a backup by itself.
    pub backup_every: Option<Duration>,
    /// How many are left then.
    pub backup_keep: Option<usize>,
    /// How often the journal of the newest one is shipped.
    pub backup_journal: Option<Duration>,
    /// Bytes of log that wait for that at most, over all shards.
    pub journal_keep_bytes: u64,
}

impl Settings {
    /// Types the gathered values and checks what concerns several of them.
    ///
    /// # Errors
    /// Names the settings that do not go together.
    pub fn new(from: &Gathered) -> Result<Settings> {
        let get = Getter(from);
        let shards = match get.count("shards") {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get() as u32).min(SHARDS_DEFAULT_MAX),
            n => n as u32,
        };
        let memory = MemoryShares::divide(get.bytes("memory_budget"));
        if memory.memtables / u64::from(shards) < MEMTABLE_BYTES_MIN * 3 {
            return Err(Error::usage(format!(
                "setting memory_budget: {} is too small for {shards} shards; give each about 8MiB",
                setting::bytes(get.bytes("memory_budget"))
            )));
        }
        if (1..SQL_MEMORY_BYTES_MIN).contains(&get.bytes("sql.memory_max")) {
            return Err(Error::usage("setting sql.memory_max: expected 0 or at least 8MiB".to_owned()));
        }
        for name in ["backup.every", "backup.journal"] {
            if !get.duration(name).is_zero() && get.text("backup.dir").is_empty() {
                return Err(Error::usage(format!(
                    "setting {name}: it needs backup.dir, a place for backups"
                )));
            }
        }
        let http_tls = get.tls("http.tls")?;
        let pg_tls = get.tls("pg.tls")?;
        let mqtt_tls = get.tls("mqtt.tls")?;
        Ok(Settings {
            data_dir: get.text("data_dir").into(),
            shards,
            memory,
            shutdown_timeout: get.duration("shutdown_timeout"),
            log_json: get.text("log.format") == "json",
            log_level: get.text("log.level"),
            http: HttpSettings {
                listen: get.listen("http.listen"),
                token: Some(get.text("http.token")).filter(|token| !token.is_empty()),
                allow_unauthenticated_remote: get.flag("http.allow_unauthenticated_remote"),
                body_bytes_max: get.bytes("http.body_max") as usize,
                batch_bytes_max: get.bytes("http.batch_max") as usize,
                connections_max: get.count("http.connections_max") as usize,
                header_timeout: get.duration("http.header_timeout"),
                read_timeout: get.duration("http.read_timeout"),
                write_timeout: get.duration("http.write_timeout"),
                tls: http_tls,
            },
            pg: PgSettings {
                listen: get.listen("pg.listen"),
                connections_max: get.count("pg.connections_max") as usize,
                read_timeout: get.duration("pg.read_timeout"),
                write_timeout: get.duration("pg.write_timeout"),
                tls: pg_tls,
            },
            flight: FlightSettings {
                listen: get.listen("flight.listen"),
                batch_bytes_max: get.bytes("flight.batch_max") as usize,
                connections_max: get.count("flight.connections_max") as usize,
                read_timeout: get.duration("flight.read_timeout"),
                token_lifetime: get.duration("flight.token_lifetime"),
                tls: get.tls("flight.tls")?,
            },
            mqtt: MqttSettings {
                listen: get.listen("mqtt.listen"),
                connections_max: get.count("mqtt.connections_max") as usize,
                login_limits: get.flag("mqtt.login_limits"),
                tls: get.listen("mqtt.tls.listen").zip(mqtt_tls),
            },
            ingest: IngestSettings {
                auto_register_devices: get.flag("ingest.auto_register_devices"),
                auto_register_points: get.flag("ingest.auto_register_points"),
                future_limit: get.duration("ingest.future_limit"),
            },
            sql: SqlSettings {
                concurrency_max: get.count("sql.concurrency_max") as usize,
                timeout: get.duration("sql.timeout"),
                rows_max: Some(get.count("sql.rows_max")).filter(|&rows| rows > 0),
                memory_bytes_max: Some(get.bytes("sql.memory_max") as usize).filter(|&bytes| bytes > 0),
                spill_bytes_max: get.bytes("sql.spill_max"),
            },
            account_limits: Limits {
                calls_per_second: get.count("dataservice.calls_max") as u32,
                reads_max: get.count("dataservice.reads_max") as u32,
            },
            others_latest_only: get.text("storage.without_policy") == "latest",
            merge_bytes_per_second: Some(get.bytes("storage.merge_rate_max")).filter(|&rate| rate > 0),
            settle_after: get.duration("storage.settle_after"),
            backup_dir: Some(get.text("backup.dir")).filter(|dir| !dir.is_empty()),
            backup_every: Some(get.duration("backup.every")).filter(|every| !every.is_zero()),
            backup_keep: Some(get.count("backup.keep") as usize).filter(|&keep| keep > 0),
            backup_journal: Some(get.duration("backup.journal")).filter(|every| !every.is_zero()),
            journal_keep_bytes: get.bytes("backup.journal_keep"),
        })
    }
}

/// Typed access to gathered values; a wrong type is a bug of this module, which the tests would find.
struct Getter<'a>(&'a Gathered);

impl Getter<'_> {
    fn text(&self, name: &str) -> String {
        match &self.0.get(name).0 {
            Setting::Text(text) => text.clone(),
            other => panic!("setting {name} is {other:?}, not a text"),
        }
    }

    fn listen(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|address| address != "off")
    }

    fn flag(&self, name: &str) -> bool {
        match &self.0.get(name).0 {
            Setting::Flag(flag) => *flag,
            other => panic!("setting {name} is {other:?}, not a flag"),
        }
    }

    fn count(&self, name: &str) -> u64 {
        match &self.0.get(name).0 {
            Setting::Count(n) => *n,
            other => panic!("setting {name} is {other:?}, not a count"),
        }
    }

    fn bytes(&self, name: &str) -> u64 {
        match &self.0.get(name).0 {
            Setting::Bytes(n) => *n,
            other => panic!("setting {name} is {other:?}, not a size"),
        }
    }

    fn duration(&self, name: &str) -> Duration {
        match &self.0.get(name).0 {
            Setting::Duration(d) => *d,
            other => panic!("setting {name} is {other:?}, not a time span"),
        }
    }

    fn tls(&self, section: &str) -> Result<Option<TlsFiles>> {
        let path = |word: &str| {
            Some(self.text(&format!("{section}.{word}"))).filter(|text| !text.is_empty()).map(PathBuf::from)
        };
        match (path("cert"), path("key"), path("client_ca")) {
            (Some(cert), Some(key), client_ca) => Ok(Some(TlsFiles { cert, key, client_ca })),
            (None, None, None) => Ok(None),
            _ => Err(Error::usage(format!("settings {section}.cert and {section}.key go together"))),
        }
    }
}
