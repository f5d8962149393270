//! Every setting there is: one table, from which the default file, the documentation and the checks all come.

use super::setting::Kind;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its dotted name in `wattline.toml`.
    pub name: &'static str,
    /// Its environment variable.
    pub env: &'static str,
    /// Its flag of `wattline serve`, where it has one of its own; every setting can be given as `--set name=value`.
    pub flag: Option<&'static str>,
    /// What it may hold.
    pub kind: Kind,
    /// Its default, in the form of the environment.
    pub default: &'static str,
    /// What it does, as lines of a comment.
    pub doc: &'static str,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

/// Every setting, in the order of the default file: those without a section first, then section by section.
pub const KEYS: &[Key] = &[
    Key {
        name: "data_dir",
        env: "WATTLINE_DATA_DIR",
        flag: Some("--data-dir"),
        kind: Kind::Path,
        default: "./data",
        doc: "Where everything is kept. One process at a time; created where it is missing.",
    },
    Key {
        name: "shards",
        env: "WATTLINE_SHARDS",
        flag: Some("--shards"),
        kind: Kind::Count(0, wattline_model::limits::SHARDS_MAX as u64),
        default: "0",
        doc: "How many shards a new data directory gets; an existing one keeps what it has.\n\
              0 = one for each processor, at most 64.",
    },
    Key {
        name: "memory_budget",
        env: "WATTLINE_MEMORY_BUDGET",
        flag: Some("--memory-budget"),
        kind: Kind::Bytes(128 * MIB, 16_384 * GIB),
        default: "1GiB",
        doc: "What the process may use. 45 % goes to memtables, 10 % to the queues before the writers,\n\
              20 % to queries, 5 % to directories of segments; the rest is for latest values, connections, request\n\
              bodies and the allocator.\n\
              Full means push-back: MQTT stops reading, HTTP answers 429, a query fails by name.",
    },
    Key {
        name: "shutdown_timeout",
        env: "WATTLINE_SHUTDOWN_TIMEOUT",
        flag: None,
        kind: Kind::Duration(SECOND, 3_600 * SECOND),
        default: "30s",
        doc: "How long requests and connections may take to end after SIGTERM or SIGINT before they are cut.\n\
              What was acknowledged is safe either way. A second signal ends the process at once.",
    },
    Key {
        name: "log.format",
        env: "WATTLINE_LOG_FORMAT",
        flag: Some("--log-format"),
        kind: Kind::Choice(&["text", "json"]),
        default: "text",
        doc: "Form of the log on standard error: text or json (one object a line).",
    },
    Key {
        name: "log.level",
        env: "WATTLINE_LOG",
        flag: Some("--log-level"),
        kind: Kind::Text,
        default: "info",
        doc: "What is logged: error, warn, info, debug or trace, or directives by module such as\n\
              \"info,wattline_ingest=debug\".",
    },
    Key {
        name: "http.listen",
        env: "WATTLINE_HTTP",
        flag: Some("--http"),
        kind: Kind::Listen,
        default: "127.0.0.1:8080",
        doc: "Address of the HTTP listener. Port 0 picks a free one (the start-up line names it); \"off\" = none.",
    },
    Key {
        name: "http.token",
        env: "WATTLINE_HTTP_TOKEN",
        flag: None,
        kind: Kind::Secret,
        default: "",
        doc: "When set, every request but /healthz needs \"Authorization: Bearer <token>\".",
    },
    Key {
        name: "http.allow_unauthenticated_remote",
        env: "WATTLINE_HTTP_ALLOW_UNAUTHENTICATED_REMOTE",
        flag: None,
        kind: Kind::Flag,
        default: "false",
        doc: "Without a token whoever reaches the HTTP listener may read and write everything.\n\
              So it binds to loopback addresses only, unless http.token is set or this is true.",
    },
    Key {
        name: "http.body_max",
        env: "WATTLINE_HTTP_BODY_MAX",
        flag: None,
        kind: Kind::Bytes(1_024, GIB),
        default: "16MiB",
        doc: "Largest JSON or SQL request body; more is answered 413.",
    },
    Key {
        name: "http.batch_max",
        env: "WATTLINE_HTTP_BATCH_MAX",
        flag: None,
        kind: Kind::Bytes(64 * 1_024, GIB),
        default: "32MiB",
        doc: "Largest single record batch of a bulk write (Arrow IPC). The body as a whole has no limit:\n\
              each batch is written and waited for before the next but one is read.",
    },
    Key {
        name: "http.connections_max",
        env: "WATTLINE_HTTP_CONNECTIONS_MAX",
        flag: None,
        kind: Kind::Count(1, 1_000_000),
        default: "1024",
        doc: "HTTP connections at a time; further ones wait to be accepted.",
    },
    Key {
        name: "http.header_timeout",
        env: "WATTLINE_HTTP_HEADER_TIMEOUT",
        flag: None,
        kind: Kind::Duration(100, 3_600 * SECOND),
        default: "30s",
        doc: "How long a client may take to send a request's head (an idle connection is closed after it too),\n\
              and to finish a TLS handshake.",
    },
    Key {
        name: "http.read_timeout",
        env: "WATTLINE_HTTP_READ_TIMEOUT",
        flag: None,
        kind: Kind::Duration(100, 3_600 * SECOND),
        default: "30s",
        doc: "How long a client may be silent in the middle of a request body.",
    },
    Key {
        name: "http.write_timeout",
        env: "WATTLINE_HTTP_WRITE_TIMEOUT",
        flag: None,
        kind: Kind::Duration(100, 3_600 * SECOND),
        default: "60s",
        doc: "How long a client may take none of its answer before the connection is closed.",
    },
    Key {
        name: "http.tls.cert",
        env: "WATTLINE_HTTP_TLS_CERT",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with the certificate chain. When set, http.listen speaks TLS (https).",
    },
    Key {
        name: "http.tls.key",
        env: "WATTLINE_HTTP_TLS_KEY",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with the private key of http.tls.cert.",
    },
    Key {
        name: "http.tls.client_ca",
        env: "WATTLINE_HTTP_TLS_CLIENT_CA",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with authorities. When set, clients must show a certificate of one of them.",
    },
    Key {
        name: "flight.listen",
        env: "WATTLINE_FLIGHT",
        flag: Some("--flight"),
        kind: Kind::Listen,
        default: "off",
        doc: "Address of the Arrow Flight SQL listener. From loopback no password is asked; to be reached from elsewhere it\n\
              needs TLS, and accounts (`wattline account create`) or flight.tls.client_ca.",
    },
    Key {
        name: "flight.batch_max",
        env: "WATTLINE_FLIGHT_BATCH_MAX",
        flag: None,
        kind: Kind::Bytes(64 * 1_024, GIB),
        default: "32MiB",
        doc: "Largest message, and so the largest record batch of a bulk write. The rows as a whole have no limit.",
    },
    Key {
        name: "flight.connections_max",
        env: "WATTLINE_FLIGHT_CONNECTIONS_MAX",
        flag: None,
        kind: Kind::Count(1, 1_000_000),
        default: "256",
        doc: "Flight connections at a time; further ones wait to be accepted.",
    },
    Key {
        name: "flight.read_timeout",
        env: "WATTLINE_FLIGHT_READ_TIMEOUT",
        flag: None,
        kind: Kind::Duration(100, 3_600 * SECOND),
        default: "1m",
        doc: "How long a client may be silent in the middle of the rows it writes.",
    },
    Key {
        name: "flight.token_lifetime",
        env: "WATTLINE_FLIGHT_TOKEN_LIFETIME",
        flag: None,
        kind: Kind::Duration(1_000, 30 * 24 * 3_600 * SECOND),
        default: "24h",
        doc: "How long the token is good that a client gets for user name and password. It ends with the server as well,\n\
              and when the account gets another password or is deleted.",
    },
    Key {
        name: "flight.tls.cert",
        env: "WATTLINE_FLIGHT_TLS_CERT",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with the certificate chain. When set, flight.listen speaks TLS (grpc+tls).",
    },
    Key {
        name: "flight.tls.key",
        env: "WATTLINE_FLIGHT_TLS_KEY",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with the private key of flight.tls.cert.",
    },
    Key {
        name: "flight.tls.client_ca",
        env: "WATTLINE_FLIGHT_TLS_CLIENT_CA",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with authorities. When set, clients must show a certificate of one of them.",
    },
    Key {
        name: "pg.listen",
        env: "WATTLINE_PG",
        flag: Some("--pg"),
        kind: Kind::Listen,
        default: "off",
        doc: "Address of the listener for PostgreSQL's clients; --pg alone is 127.0.0.1:5432. From loopback no password is\n\
              asked, but under an account's name; from elsewhere there must be accounts (`wattline account create`).",
    },
    Key {
        name: "pg.connections_max",
        env: "WATTLINE_PG_CONNECTIONS_MAX",
        flag: None,
        kind: Kind::Count(1, 1_000_000),
        default: "10000",
        doc: "PostgreSQL connections at a time; further ones are told so. Idle ones cost little.",
    },
    Key {
        name: "pg.read_timeout",
        env: "WATTLINE_PG_READ_TIMEOUT",
        flag: None,
        kind: Kind::Duration(100, 3_600 * SECOND),
        default: "5m",
        doc: "How long a client may be silent in the middle of the rows of a COPY FROM STDIN.",
    },
    Key {
        name: "pg.write_timeout",
        env: "WATTLINE_PG_WRITE_TIMEOUT",
        flag: None,
        kind: Kind::Duration(100, 3_600 * SECOND),
        default: "60s",
        doc: "How long a client may take none of its answer before the connection is closed.",
    },
    Key {
        name: "pg.tls.cert",
        env: "WATTLINE_PG_TLS_CERT",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with the certificate chain. When set, clients may use TLS, and those from elsewhere must.",
    },
    Key {
        name: "pg.tls.key",
        env: "WATTLINE_PG_TLS_KEY",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with the private key of pg.tls.cert.",
    },
    Key {
        name: "pg.tls.client_ca",
        env: "WATTLINE_PG_TLS_CLIENT_CA",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with authorities. When set, clients that use TLS must show a certificate of one of them.",
    },
    Key {
        name: "mqtt.listen",
        env: "WATTLINE_MQTT",
        flag: Some("--mqtt"),
        kind: Kind::Listen,
        default: "127.0.0.1:11883",
        doc: "Address of the plain MQTT listener. Devices sign their login; values travel in the clear.",
    },
    Key {
        name: "mqtt.connections_max",
        env: "WATTLINE_MQTT_CONNECTIONS_MAX",
        flag: None,
        kind: Kind::Count(1, 1_000_000),
        default: "20000",
        doc: "MQTT connections at a time, plain and TLS together; further ones are refused.",
    },
    Key {
        name: "mqtt.login_limits",
        env: "WATTLINE_MQTT_LOGIN_LIMITS",
        flag: None,
        kind: Kind::Flag,
        default: "false",
        doc: "Whether a device may log in once a second only, and is locked out for five minutes after four\n\
              reconnects in two. Protects a shared server; punishes a plant behind a bad line.",
    },
    Key {
        name: "mqtt.tls.listen",
        env: "WATTLINE_MQTT_TLS",
        flag: Some("--mqtt-tls"),
        kind: Kind::Listen,
        default: "127.0.0.1:18883",
        doc: "Address of the MQTT listener with TLS; it starts when mqtt.tls.cert is set.",
    },
    Key {
        name: "mqtt.tls.cert",
        env: "WATTLINE_MQTT_TLS_CERT",
        flag: Some("--mqtt-tls-cert"),
        kind: Kind::Path,
        default: "",
        doc: "PEM file with the certificate chain.",
    },
    Key {
        name: "mqtt.tls.key",
        env: "WATTLINE_MQTT_TLS_KEY",
        flag: Some("--mqtt-tls-key"),
        kind: Kind::Path,
        default: "",
        doc: "PEM file with the private key of mqtt.tls.cert.",
    },
    Key {
        name: "mqtt.tls.client_ca",
        env: "WATTLINE_MQTT_TLS_CLIENT_CA",
        flag: None,
        kind: Kind::Path,
        default: "",
        doc: "PEM file with authorities. When set, devices may show a certificate of one of them, and must where\n\
              their product requires certificates.",
    },
    Key {
        name: "ingest.auto_register_devices",
        env: "WATTLINE_AUTO_REGISTER_DEVICES",
        flag: Some("--auto-register-devices"),
        kind: Kind::Flag,
        default: "false",
        doc: "Whether an unknown device of a known product is registered when it first sends.",
    },
    Key {
        name: "ingest.auto_register_points",
        env: "WATTLINE_AUTO_REGISTER_POINTS",
        flag: Some("--auto-register-points"),
        kind: Kind::Flag,
        default: "false",
        doc: "Whether an unknown measure point is added to the model when it first comes.",
    },
    Key {
        name: "ingest.future_limit",
        env: "WATTLINE_FUTURE_LIMIT",
        flag: None,
        kind: Kind::Duration(0, 36_500 * DAY),
        default: "1d",
        doc: "How far ahead of the server's clock a sample may be. Later ones are rejected: a clock that runs\n\
              years ahead would pin its latest value.",
    },
    Key {
        name: "sql.concurrency_max",
        env: "WATTLINE_SQL_CONCURRENCY_MAX",
        flag: None,
        kind: Kind::Count(1, 10_000),
        default: "16",
        doc: "SQL statements that run at a time; further ones wait a few seconds for their turn, then get 429.",
    },
    Key {
        name: "sql.timeout",
        env: "WATTLINE_SQL_TIMEOUT",
        flag: None,
        kind: Kind::Duration(SECOND, DAY),
        default: "5m",
        doc: "How long a statement may run, sending its answer included.",
    },
    Key {
        name: "sql.rows_max",
        env: "WATTLINE_SQL_ROWS_MAX",
        flag: None,
        kind: Kind::Count(0, u64::MAX),
        default: "0",
        doc: "How many rows an answer may have; 0 = any number. Answers are streamed, so many rows cost the client,\n\
              not the server.",
    },
    Key {
        name: "sql.memory_max",
        env: "WATTLINE_SQL_MEMORY_MAX",
        flag: None,
        kind: Kind::Bytes(0, 16_384 * GIB),
        default: "0B",
        doc: "How much memory the sorts, joins and groups of one statement may hold; 0 = as much as all together, which\n\
              is a fifth of memory_budget. At least 8MiB. What does not fit is put on disk, or the statement fails.",
    },
    Key {
        name: "sql.spill_max",
        env: "WATTLINE_SQL_SPILL_MAX",
        flag: None,
        kind: Kind::Bytes(0, 16_384 * GIB),
        default: "10GiB",
        doc: "How much statements together may put on disk, in data_dir/spill, for want of memory; 0 = nothing: a\n\
              statement that needs more memory fails. The folder is emptied at each start.",
    },
    Key {
        name: "dataservice.calls_max",
        env: "WATTLINE_DATASERVICE_CALLS_MAX",
        flag: None,
        kind: Kind::Count(0, 1_000_000),
        default: "5000",
        doc: "Calls of the data service in a second by one service account; more are answered 429. 0 = any number.",
    },
    Key {
        name: "dataservice.reads_max",
        env: "WATTLINE_DATASERVICE_READS_MAX",
        flag: None,
        kind: Kind::Count(0, 10_000),
        default: "16",
        doc: "Reads of history at a time by one service account; more are answered 429. 0 = any number: then what all\n\
              accounts together may read is the only bound.",
    },
    Key {
        name: "storage.without_policy",
        env: "WATTLINE_WITHOUT_POLICY",
        flag: None,
        kind: Kind::Choice(&["history", "latest"]),
        default: "history",
        doc: "What is kept of models that belong to no storage policy group: history = every sample, for ever;\n\
              latest = latest values only, as EnOS does.",
    },
    Key {
        name: "storage.merge_rate_max",
        env: "WATTLINE_MERGE_RATE_MAX",
        flag: None,
        kind: Kind::Bytes(0, 16_384 * GIB),
        default: "0B",
        doc: "How many bytes a second compaction writes at most, in each shard; 0 = no limit of its own. It gives way\n\
              to flushes and writers either way.",
    },
    Key {
        name: "storage.settle_after",
        env: "WATTLINE_SETTLE_AFTER",
        flag: None,
        kind: Kind::Duration(0, 86_400 * SECOND),
        default: "10s",
        doc: "How long a shard must not have flushed until compaction merges segments for the sake of readers alone:\n\
              those of the same times, though they are few. Such merges wait for all others.",
    },
    Key {
        name: "backup.dir",
        env: "WATTLINE_BACKUP_DIR",
        flag: None,
        kind: Kind::Text,
        default: "",
        doc: "Where `wattline backup` puts backups; empty = the server takes none. A folder, not inside data_dir and\n\
              better on another disk; or an object store: s3://bucket/prefix, az://container/prefix, with credentials\n\
              in the environment (AWS_ACCESS_KEY_ID, AZURE_STORAGE_ACCOUNT_NAME, and so on).",
    },
    Key {
        name: "backup.every",
        env: "WATTLINE_BACKUP_EVERY",
        flag: None,
        kind: Kind::Duration(0, 365 * DAY),
        default: "0s",
        doc: "How often the server takes a backup by itself; 0 = only when asked. Segments are copied once, so backups\n\
              every few minutes cost little, and each is a point in time to go back to.",
    },
    Key {
        name: "backup.keep",
        env: "WATTLINE_BACKUP_KEEP",
        flag: None,
        kind: Kind::Count(0, 1_000_000),
        default: "0",
        doc: "How many backups are left when the server has taken one by itself; the oldest go. 0 = all stay.",
    },
    Key {
        name: "backup.journal",
        env: "WATTLINE_BACKUP_JOURNAL",
        flag: None,
        kind: Kind::Duration(0, DAY),
        default: "0s",
        doc: "How often the server sends what was written since to backup.dir, so that every second between backups can\n\
              be gone back to; 0 = never. It takes a backup at each start then: a journal begins with one.",
    },
    Key {
        name: "backup.journal_keep",
        env: "WATTLINE_BACKUP_JOURNAL_KEEP",
        flag: None,
        kind: Kind::Bytes(16 * MIB, 16_384 * GIB),
        default: "1GiB",
        doc: "How much log stays in data_dir, beyond what a restart needs, while backup.dir cannot be reached. Beyond it\n\
              the journal has a gap, up to the next backup, which is taken at once.",
    },
];

/// The setting called `name`.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The name among `names` that `wrong` was probably meant to be.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    names
        .map(|name| {
            let whole = strsim::jaro_winkler(&wrong, &name.to_lowercase());
            // `listen` in the wrong place should find `http.listen`.
            let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_lowercase();
            (whole.max(0.95 * strsim::jaro_winkler(&last(&wrong), &last(name))), name)
        })
        .filter(|&(score, _)| score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
