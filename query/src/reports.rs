//! What only the server knows and `system` shows: settings and operations.
//!
//! Owns: the trait [`Reports`] by which the server tells it. Does not own: the tables (`tables`), the figures.

/// What the server tells about itself. Asked each time a table is read; answers come from memory.
pub trait Reports: Send + Sync {
    /// Every setting, in the order of the settings file.
    fn settings(&self) -> Vec<SettingReport>;

    /// Operations that run (backups, checks, flushes on request) and those that are remembered, oldest first.
    fn operations(&self) -> Vec<OperationReport>;
}

/// A row of `system.settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingReport {
    /// Its dotted name.
    pub name: String,
    /// The value in force, as the settings file would have it; never a secret.
    pub value: String,
    /// The value where nobody sets one.
    pub default: String,
    /// Where the value comes from: a default, a line of a file, the environment, a flag.
    pub origin: String,
    /// What it may be.
    pub allowed: String,
    /// What it does.
    pub description: String,
}

/// An operation of `system.jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationReport {
    /// What it does: `backup`, `check`, `flush`.
    pub kind: &'static str,
    /// Its number among the operations.
    pub id: u64,
    /// `running`, `finished`, `failed` or `cancelled`.
    pub state: &'static str,
    /// When it began, microseconds since the epoch.
    pub started_micros: i64,
    /// How long it took, or takes so far, microseconds.
    pub elapsed_micros: i64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes that there are to do, as far as is known.
    pub bytes_total: u64,
    /// Why it failed.
    pub error: Option<String>,
}
