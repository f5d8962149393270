//! Records of devices: their events and the commands they were sent, kept as samples.
//!
//! Owns: the models these samples are of, one a kind in each organization that has any, and how long they are kept. Does
//! not own: what a sample of them holds (`ingest` and `server`), reading them (`dataservice`).
//!
//! Such a model is like the one of unformatted data: its assets are those of all models, and its key is reserved. The
//! points of the model of events are the events' identifiers, added as they come; that of commands has one point.

use rusqlite::{Connection, params};
use wattline_model::{DataType, Model, ModelId, OrgId, Retention};

use crate::cache::{Cache, Edit};
use crate::error::{Error, ErrorKind};
use crate::models::{NewModel, NewPoint};
use crate::{Registry, audit, number};

/// The key of the model of events.
pub const DEVICE_EVENTS: &str = "device_events";

/// The key of the model of commands.
pub const DEVICE_COMMANDS: &str = "device_commands";

/// The one point of the model of commands.
pub const COMMAND_POINT: &str = "command";

/// How long commands are kept (device protocol §4.6: history kept 7 days).
const COMMANDS_KEPT_MICROS: i64 = 7 * 86_400_000_000;

/// What records are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// What devices said happened.
    Events,
    /// What devices were told to do.
    Commands,
}

impl RecordKind {
    /// Its name in the file.
    const fn name(self) -> &'static str {
        match self {
            RecordKind::Events => "events",
            RecordKind::Commands => "commands",
        }
    }

    /// The key of its model.
    pub const fn model_key(self) -> &'static str {
        match self {
            RecordKind::Events => DEVICE_EVENTS,
            RecordKind::Commands => DEVICE_COMMANDS,
        }
    }
}

/// That an organization has records of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// The organization.
    pub org: OrgId,
    /// What they are of.
    pub kind: RecordKind,
    /// The model they are kept in.
    pub model: ModelId,
    /// How long; `None`: for ever. Commands go after seven days whatever it says.
    pub retention: Option<Retention>,
}

impl Records {
    /// From when on they are kept at the time `now_micros`; `None`: since ever. `by_calendar` counts months back.
    pub(crate) fn keep_from(
        &self,
        now_micros: i64,
        by_calendar: impl FnOnce(i64, Retention) -> i64,
    ) -> Option<i64> {
        match self.kind {
            RecordKind::Commands => Some(now_micros.saturating_sub(COMMANDS_KEPT_MICROS)),
            RecordKind::Events => self.retention.map(|retention| by_calendar(now_micros, retention)),
        }
    }
}

impl Registry {
    /// Where records of this kind are, once there are any.
    pub fn records(&self, org: OrgId, kind: RecordKind) -> Option<Records> {
        self.cache().records().iter().find(|r| (r.org, r.kind) == (org, kind)).copied()
    }

    /// All places of records of this kind.
    pub fn all_records(&self, kind: RecordKind) -> Vec<Records> {
        self.cache().records().iter().filter(|r| r.kind == kind).copied().collect()
    }

    /// The model of the organization's events, once there were any.
    pub fn events_model(&self, org: OrgId) -> Option<std::sync::Arc<Model>> {
        self.records(org, RecordKind::Events).and_then(|records| self.model(records.model))
    }

    /// Whether `model` is one of the system's, whose assets are those of other models.
    pub fn is_of_all_models(&self, model: ModelId) -> bool {
        self.is_unformatted(model) || self.cache().records().iter().any(|records| records.model == model)
    }

    /// Where records of this kind are to go; the flag says that this was decided just now, so that whoever carries out
    /// policies must learn of it.
    ///
    /// # Errors
    /// `NotFound` where there is no such organization, `Conflict` where a release before this one let somebody give the
    /// model's key to a model of their own.
    pub fn ensure_records(&self, org: OrgId, kind: RecordKind) -> Result<(Records, bool), Error> {
        if let Some(found) = self.records(org, kind) {
            return Ok((found, false));
        }
        let key = kind.model_key().to_owned();
        let points = match kind {
            RecordKind::Events => Vec::new(),
            RecordKind::Commands => vec![NewPoint::new(COMMAND_POINT, DataType::Struct)],
        };
        let new = NewModel { org, key, name: String::new(), parent: None, points };
        let made = self.create_any_model(new, Vec::new(), None);
        let model = match (made, self.records(org, kind)) {
            // Another caller came first.
            (_, Some(found)) => return Ok((found, false)),
            (made, None) => match made {
                Ok(model) => model.id,
                // A stop between the two transactions left a model without points or samples behind.
                Err(e) if e.kind() == ErrorKind::Conflict => self.orphan(org, kind).ok_or(e)?,
                Err(e) => return Err(e),
            },
        };
        let records = Records { org, kind, model, retention: None };
        self.change(|transaction, cache| {
            if let Some(found) = cache.records().iter().find(|r| (r.org, r.kind) == (org, kind)) {
                return Ok(((*found, false), Edit::Nothing));
            }
            transaction
                .execute(
                    "INSERT INTO records (org, kind, model, retention) VALUES (?1, ?2, ?3, NULL)",
                    params![org.0, kind.name(), model.0],
                )
                .map_err(|e| Error::sqlite("note records of devices", e))?;
            let all = cache.records().iter().copied().chain([records]);
            Ok(((records, true), Edit::Records(all.collect())))
        })
    }

    /// The model with the reserved key that no row names, where it looks as one of ours does at first.
    fn orphan(&self, org: OrgId, kind: RecordKind) -> Option<ModelId> {
        let model = self.model_by_key(org, kind.model_key())?;
        let keys: Vec<&str> = model.points.iter().map(|point| point.key.as_str()).collect();
        let expected: &[&str] = if kind == RecordKind::Events { &[] } else { &[COMMAND_POINT] };
        (keys == expected && self.assets_of(model.id).is_empty()).then_some(model.id)
    }

    /// From now on the organization's events are kept for `retention`, `None` being for ever.
    ///
    /// # Errors
    /// As [`Registry::ensure_records`].
    pub fn keep_events(
        &self,
        org: OrgId,
        retention: Option<Retention>,
        operator: &str,
        now_micros: i64,
    ) -> Result<Records, Error> {
        let (before, _) = self.ensure_records(org, RecordKind::Events)?;
        let kept = Records { retention, ..before };
        self.change(|transaction, cache| {
            transaction
                .execute(
                    "UPDATE records SET retention = ?1 WHERE org = ?2 AND kind = ?3",
                    params![retention.map(Retention::name), org.0, RecordKind::Events.name()],
                )
                .map_err(|e| Error::sqlite("keep events", e))?;
            let shown = |kept: Records| serde_json::json!({"retention": kept.retention.map(Retention::name)});
            let (before, after) = (Some(shown(before)), Some(shown(kept)));
            let (action, item) = ("keep events", DEVICE_EVENTS);
            let note = audit::Note { operator, action, item, before, after, micros: now_micros };
            audit::note(transaction, &note)?;
            let others = cache.records().iter().filter(|r| r.model != kept.model).copied();
            Ok((kept, Edit::Records(others.chain([kept]).collect())))
        })
    }
}

/// Reads all places of records into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read who has records of devices", e);
    let mut statement =
        connection.prepare("SELECT org, kind, model, retention FROM records ORDER BY rowid").map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(act)? {
        let org = row.get(0).map_err(act)?;
        let wrong = |field: &str| Error::damaged("records", org, field, "is unknown");
        let kind: String = row.get(1).map_err(act)?;
        let kind = [RecordKind::Events, RecordKind::Commands].into_iter().find(|k| k.name() == kind);
        let retention: Option<String> = row.get(3).map_err(act)?;
        let retention =
            retention.map(|name| Retention::by_name(&name).ok_or_else(|| wrong("retention"))).transpose()?;
        all.push(Records {
            org: OrgId(number("records", org)?),
            kind: kind.ok_or_else(|| wrong("kind"))?,
            model: ModelId(number("records", row.get(2).map_err(act)?)?),
            retention,
        });
    }
    cache.apply(Edit::Records(all));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_ORG;

    #[test]
    fn records_have_a_place_once_there_are_any_and_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.db");
        let registry = Registry::open(&path).unwrap();
        assert_eq!(registry.records(DEFAULT_ORG, RecordKind::Events), None);
        let (events, new) = registry.ensure_records(DEFAULT_ORG, RecordKind::Events).unwrap();
        assert!(new && registry.is_of_all_models(events.model));
        assert_eq!(registry.ensure_records(DEFAULT_ORG, RecordKind::Events).unwrap(), (events, false));
        registry.keep_events(DEFAULT_ORG, Retention::by_name("1y"), "ann", 5).unwrap();
        let (commands, _) = registry.ensure_records(DEFAULT_ORG, RecordKind::Commands).unwrap();
        drop(registry);

        let registry = Registry::open(&path).unwrap();
        let kept = registry.records(DEFAULT_ORG, RecordKind::Events).unwrap();
        assert_eq!((kept.model, kept.retention), (events.model, Retention::by_name("1y")));
        let rest = |model| registry.policies(true).of(model).unwrap().point(wattline_model::PointId(7));
        for model in [events.model, commands.model] {
            assert_eq!(
                rest(model).history,
                Some(wattline_model::HistoryRule::AS_SENT),
                "whatever others keep"
            );
        }
        // 2024-03-08: a year before, and seven days before.
        let horizons = registry.horizons(1_709_856_000_000_000);
        let from = |model| horizons.iter().find(|h| h.model == model).unwrap().micros;
        assert_eq!(from(events.model), 1_678_233_600_000_000);
        assert_eq!(from(commands.model), 1_709_251_200_000_000);
    }

    #[test]
    fn a_key_that_somebody_uses_is_not_taken_from_them() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry.db")).unwrap();
        let key = DEVICE_EVENTS.to_owned();
        let points = vec![NewPoint::new("theirs", DataType::Double)];
        let new = NewModel { org: DEFAULT_ORG, key, name: String::new(), parent: None, points };
        assert_eq!(registry.create_model(new.clone()).unwrap_err().kind(), ErrorKind::Input, "reserved now");
        registry.create_any_model(new, Vec::new(), None).unwrap();
        let error = registry.ensure_records(DEFAULT_ORG, RecordKind::Events).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
}
