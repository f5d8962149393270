//! What `system.settings` and `system.jobs` tell of the server.
//!
//! Owns: [`ServerReports`], and that a secret is never among what is told. Does not own: the settings ([`crate::config`]),
//! the operations ([`crate::operations`]), the tables (`query`).

use std::sync::Arc;

use wattline_query::{OperationReport, Reports, SettingReport};

use crate::config::keys::{KEYS, Key};
use crate::config::print::masked;
use crate::config::setting::Setting;
use crate::config::sources::Gathered;
use crate::operations::Operations;

/// What a server tells of itself.
pub struct ServerReports {
    settings: Vec<SettingReport>,
    operations: Arc<Operations>,
}

impl ServerReports {
    /// Of a server that runs with what was `gathered`, over a store of so many `shards`.
    pub fn new(gathered: &Gathered, shards: u32, operations: Arc<Operations>) -> ServerReports {
        let defaults = Gathered::defaults();
        let report = |key: &'static Key| {
            let (value, origin) = gathered.get(key.name);
            // What the file leaves to the server, and a store keeps whatever is set later.
            let shards = (key.name == "shards").then_some(Setting::Count(u64::from(shards)));
            SettingReport {
                name: key.name.to_owned(),
                value: plain(&masked(key, shards.as_ref().unwrap_or(value))),
                default: plain(&defaults.get(key.name).0),
                origin: origin.to_string(),
                allowed: key.kind.describe(),
                description: key.doc.replace('\n', " "),
            }
        };
        ServerReports { settings: KEYS.iter().map(report).collect(), operations }
    }
}

/// The value as a text without the quotes of a file.
fn plain(value: &Setting) -> String {
    match value {
        Setting::Text(text) => text.clone(),
        other => other.to_toml().trim_matches('"').to_owned(),
    }
}

impl Reports for ServerReports {
    fn settings(&self) -> Vec<SettingReport> {
        self.settings.clone()
    }

    fn operations(&self) -> Vec<OperationReport> {
        self.operations.list().iter().map(|operation| operation.report()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_told_and_where_a_value_comes_from_is() {
        let flags = vec![
            ("--set".to_owned(), "http.token".to_owned(), "hush".to_owned()),
            ("--set".to_owned(), "sql.timeout".to_owned(), "90s".to_owned()),
        ];
        let gathered = Gathered::gather(None, &[], &flags).unwrap();
        let told = ServerReports::new(&gathered, 7, Arc::default()).settings();
        let of = |name: &str| told.iter().find(|setting| setting.name == name).unwrap();
        assert_eq!(told.len(), KEYS.len());
        assert!(told.iter().all(|setting| !format!("{setting:?}").contains("hush")));
        assert_eq!(of("http.token").value, "***");
        assert_eq!(of("http.token").default, "");
        let timeout = of("sql.timeout");
        assert_eq!((&*timeout.value, &*timeout.default, &*timeout.origin), ("90s", "5m", "flag --set"));
        assert_eq!((&*of("shards").value, &*of("shards").default), ("7", "0"));
    }
}
