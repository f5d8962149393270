//! The file: one SQLite database, its settings, its tables and how they move from one release to the next.
//!
//! Owns: opening, locking, schema versions, and reading everything once at start. Does not own: what the rows mean
//! (`models`, `products`, `devices`, `orgs`).

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, ErrorKind};

/// "WTLR": marks the file as a Wattline registry in the SQLite header.
const APPLICATION_ID: i32 = 0x5754_4C52;

/// How long opening waits for another process to let go of the file: a server that is being replaced.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Room for pages: generated asset keys touch their index everywhere, and SQLite's 2 MiB hold only 50,000 of them.
/// Taken only where a registry is that large.
const PAGE_CACHE_KIB: i64 = 32 * 1_024;

/// Migrations in order; `MIGRATIONS[i]` leads from version `i` to `i + 1`. Shipped ones are frozen.
const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5, V6, V7, V8];

const V1: &str = "
CREATE TABLE orgs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL
) STRICT;
CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    org INTEGER NOT NULL REFERENCES orgs (id),
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    parent INTEGER REFERENCES models (id),
    version INTEGER NOT NULL,
    UNIQUE (org, key)
) STRICT;
CREATE TABLE points (
    model INTEGER NOT NULL REFERENCES models (id),
    id INTEGER NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    data_type TEXT NOT NULL,
    signal TEXT NOT NULL,
    has_quality INTEGER NOT NULL,
    unit TEXT,
    enum_values TEXT,
    PRIMARY KEY (model, id),
    UNIQUE (model, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE products (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    org INTEGER NOT NULL REFERENCES orgs (id),
    model INTEGER NOT NULL REFERENCES models (id),
    secret TEXT NOT NULL,
    dynamic_activation INTEGER NOT NULL,
    require_certificate INTEGER NOT NULL,
    gateway INTEGER NOT NULL
) STRICT;
CREATE TABLE devices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    asset_key TEXT NOT NULL UNIQUE,
    product INTEGER NOT NULL REFERENCES products (id),
    device_key TEXT NOT NULL,
    name TEXT NOT NULL,
    secret TEXT NOT NULL,
    timezone TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    active INTEGER NOT NULL,
    tags TEXT,
    attributes TEXT,
    created_micros INTEGER NOT NULL,
    UNIQUE (product, device_key)
) STRICT;
INSERT INTO orgs (id, key, name) VALUES (1, 'default', 'default');
";

const V2: &str = "
CREATE TABLE deletion_jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model INTEGER NOT NULL,
    target TEXT NOT NULL,
    points TEXT,
    assets TEXT,
    start_micros INTEGER NOT NULL,
    end_micros INTEGER NOT NULL,
    operator TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    submitted_micros INTEGER NOT NULL,
    ended_micros INTEGER
) STRICT;
";

const V3: &str = "
CREATE TABLE policy_groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    org INTEGER NOT NULL REFERENCES orgs (id),
    name TEXT NOT NULL,
    UNIQUE (org, name)
) STRICT;
CREATE TABLE policy_models (
    model INTEGER PRIMARY KEY REFERENCES models (id),
    policy_group INTEGER NOT NULL REFERENCES policy_groups (id) ON DELETE CASCADE
) STRICT;
CREATE TABLE policies (
    id TEXT PRIMARY KEY,
    policy_group INTEGER NOT NULL REFERENCES policy_groups (id) ON DELETE CASCADE,
    storage TEXT NOT NULL,
    retention TEXT,
    modifiable INTEGER NOT NULL,
    UNIQUE (policy_group, storage)
) STRICT;
CREATE TABLE policy_points (
    policy TEXT NOT NULL REFERENCES policies (id) ON DELETE CASCADE,
    model INTEGER NOT NULL,
    point INTEGER NOT NULL,
    band REAL,
    band_min INTEGER,
    band_max INTEGER,
    door REAL,
    door_min INTEGER,
    door_max INTEGER,
    PRIMARY KEY (policy, model, point),
    FOREIGN KEY (model, point) REFERENCES points (model, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE unformatted (
    org INTEGER PRIMARY KEY REFERENCES orgs (id),
    model INTEGER NOT NULL REFERENCES models (id),
    retention TEXT
) STRICT;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    micros INTEGER NOT NULL,
    operator TEXT NOT NULL,
    action TEXT NOT NULL,
    item TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;
";

const V4: &str = "
CREATE TABLE accounts (
    name TEXT PRIMARY KEY,
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    created_micros INTEGER NOT NULL
) STRICT;
";

const V5: &str = "
CREATE TABLE service_accounts (
    access_key TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    org INTEGER NOT NULL REFERENCES orgs (id),
    name TEXT NOT NULL,
    created_micros INTEGER NOT NULL
) STRICT;
";

/// Assets that no device stands behind, names in further languages and descriptions; devices that are gone and leave
/// their keys to others; attributes that models define; asset trees. SQLite cannot drop a constraint, so the table of
/// devices is made anew; its numbers go on where they were.
const V6: &str = "
CREATE TABLE assets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    asset_key TEXT NOT NULL,
    product INTEGER REFERENCES products (id),
    device_key TEXT,
    name TEXT NOT NULL,
    secret TEXT NOT NULL,
    timezone TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    active INTEGER NOT NULL,
    tags TEXT,
    attributes TEXT,
    created_micros INTEGER NOT NULL,
    model INTEGER REFERENCES models (id),
    names TEXT,
    description TEXT,
    gone INTEGER NOT NULL DEFAULT 0,
    CHECK ((product IS NULL) = (model IS NOT NULL)),
    CHECK ((product IS NULL) = (device_key IS NULL))
) STRICT;
INSERT INTO assets (id, asset_key, product, device_key, name, secret, timezone, enabled, active, tags, attributes,
    created_micros)
SELECT id, asset_key, product, device_key, name, secret, timezone, enabled, active, tags, attributes, created_micros
FROM devices;
DELETE FROM sqlite_sequence WHERE name = 'assets';
INSERT INTO sqlite_sequence (name, seq) SELECT 'assets', seq FROM sqlite_sequence WHERE name = 'devices';
DROP TABLE devices;
ALTER TABLE assets RENAME TO devices;
CREATE UNIQUE INDEX devices_by_asset ON devices (asset_key) WHERE gone = 0;
CREATE UNIQUE INDEX devices_by_key ON devices (product, device_key) WHERE gone = 0;
CREATE TABLE model_attributes (
    model INTEGER NOT NULL REFERENCES models (id),
    id INTEGER NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    data_type TEXT NOT NULL,
    required INTEGER NOT NULL,
    unit TEXT,
    enum_values TEXT,
    PRIMARY KEY (model, id),
    UNIQUE (model, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE trees (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    org INTEGER NOT NULL REFERENCES orgs (id),
    name TEXT NOT NULL,
    names TEXT,
    tags TEXT,
    created_micros INTEGER NOT NULL
) STRICT;
CREATE TABLE tree_nodes (
    tree INTEGER NOT NULL REFERENCES trees (id) ON DELETE CASCADE,
    asset INTEGER NOT NULL REFERENCES devices (id),
    parent INTEGER,
    rank INTEGER NOT NULL,
    PRIMARY KEY (tree, asset),
    FOREIGN KEY (tree, parent) REFERENCES tree_nodes (tree, asset)
) STRICT, WITHOUT ROWID;
CREATE INDEX tree_children ON tree_nodes (tree, parent, rank);
";

/// What accounts are limited to (where `scope` is no branch, `tree` is 0), and calls in the audit log.
const V7: &str = "
CREATE TABLE limited (
    kind TEXT NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (kind, holder)
) STRICT;
CREATE TABLE grants (
    kind TEXT NOT NULL,
    holder TEXT NOT NULL,
    scope TEXT NOT NULL,
    tree INTEGER NOT NULL,
    item INTEGER NOT NULL,
    rights INTEGER NOT NULL,
    PRIMARY KEY (kind, holder, scope, tree, item),
    FOREIGN KEY (kind, holder) REFERENCES limited (kind, holder) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    micros INTEGER NOT NULL,
    last_micros INTEGER NOT NULL,
    count INTEGER NOT NULL,
    account TEXT,
    wire TEXT NOT NULL,
    origin TEXT,
    action TEXT NOT NULL,
    item TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT
) STRICT;
CREATE INDEX calls_by_time ON calls (micros);
";

/// Where events of devices and commands to them are kept.
const V8: &str = "
CREATE TABLE records (
    org INTEGER NOT NULL REFERENCES orgs (id),
    kind TEXT NOT NULL,
    model INTEGER NOT NULL REFERENCES models (id),
    retention TEXT,
    PRIMARY KEY (org, kind)
) STRICT;
";

/// Opens `path`, takes it for this process alone, and brings its tables to this release.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    own_file(path)?;
    let mut connection = Connection::open(path).map_err(|e| Error::sqlite("open", e))?;
    configure(&connection).map_err(|e| Error::sqlite("open", e))?;
    migrate(&mut connection, MIGRATIONS).map_err(|e| {
        if e.item() == "registry" { e.about(format!("registry {}", path.display())) } else { e }
    })?;
    Ok(connection)
}

/// Makes the file, readable and writable by its owner alone: it holds secrets. SQLite gives its side files the same mode.
fn own_file(path: &Path) -> Result<(), Error> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => restrict(path),
        Err(error) => Err(Error::io(path, "create", &error)),
    }
}

/// Takes an existing file's rights from everybody else, without opening it: closing a file gives up all locks that
/// this process has on it.
#[cfg(unix)]
pub(crate) fn restrict(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map(|m| m.permissions().mode() & 0o777);
    match mode {
        Ok(0o600) => Ok(()),
        Ok(_) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)),
        Err(error) => Err(error),
    }
    .map_err(|e| Error::io(path, "restrict to its owner", &e))
}

#[cfg(not(unix))]
pub(crate) fn restrict(_path: &Path) -> Result<(), Error> {
    Ok(())
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Everything is cached in memory, so a second process would work on stale answers: the lock keeps it out.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Kibibytes, negative by SQLite's convention.
    connection.pragma_update(None, "cache_size", -PAGE_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Applies what is missing of `migrations`, all or nothing.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), Error> {
    let known = migrations.len() as i64;
    let found = version(connection)?;
    if found > known {
        let reason =
            format!("has schema version {found}, written by a newer release; this one knows up to {known}");
        return Err(Error::new(ErrorKind::Input, "registry", reason));
    }
    // Immediate also where nothing is missing: it takes the lock on the file now rather than at the first change.
    let act = |e| Error::sqlite("migrate", e);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(act)?;
    if found == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(act)?;
        transaction
            .execute_batch("CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT; INSERT INTO schema_version VALUES (0);")
            .map_err(act)?;
    }
    for migration in migrations.iter().skip(found as usize) {
        transaction.execute_batch(migration).map_err(act)?;
    }
    transaction.execute("UPDATE schema_version SET version = ?1", [known]).map_err(act)?;
    transaction.commit().map_err(act)
}

/// The schema version of the file; 0 where it is new.
fn version(connection: &Connection) -> Result<i64, Error> {
    let act = |e| Error::sqlite("read the schema version", e);
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(act)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(act)?;
    if tables == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(Error::new(
            ErrorKind::Input,
            "registry",
            "is an SQLite database, but not a Wattline registry",
        ));
    }
    let version: i64 =
        connection.query_row("SELECT version FROM schema_version", [], |r| r.get(0)).map_err(act)?;
    if version < 1 {
        return Err(Error::damaged("schema_version", 1, "version", format!("is {version}")));
    }
    Ok(version)
}

#[cfg(test)]
mod tests;
