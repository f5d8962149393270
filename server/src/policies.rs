//! Storage policies at work: what the registry says is what the store does.
//!
//! Owns: handing policies to the store when they change, and retention, at start and every hour. Does not own: the
//! rules of a policy (`registry`), carrying them out (`storage`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wattline_model::{Retention, Timestamp};
use wattline_registry::{KeepFrom, PolicyGroup, Registry, Unformatted};
use wattline_storage::{Horizon, Store};

use crate::http::error::ApiError;
use crate::http::{App, OPERATOR, blocking, now_micros};

/// How often it is looked what has passed its retention. Partitions are days long at least.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// Keeps the store to the registry's policies.
#[derive(Debug)]
pub struct Ruling {
    registry: Registry,
    /// Whether models without a group keep latest values only.
    others_latest_only: bool,
    /// One change at a time, so that the store ends with what the registry ended with.
    applying: Mutex<()>,
}

impl Ruling {
    /// Of what `registry` says.
    pub fn new(registry: Registry, others_latest_only: bool) -> Ruling {
        Ruling { registry, others_latest_only, applying: Mutex::new(()) }
    }

    /// Tells the store what the policies are now, and what has passed its retention. Blocking.
    ///
    /// # Errors
    /// Where the store is closed.
    pub fn apply(&self, store: &Store) -> std::result::Result<(), wattline_storage::Error> {
        let _one_at_a_time = self.applying.lock();
        store.rule(Arc::new(self.registry.policies(self.others_latest_only)))?;
        self.expire(store)
    }

    /// Tells the store what has passed its retention by now. Blocking.
    fn expire(&self, store: &Store) -> std::result::Result<(), wattline_storage::Error> {
        let horizon = |keep: KeepFrom| Horizon {
            model: keep.model,
            points: keep.points,
            keep_from: Timestamp(keep.micros),
        };
        let horizons = self.registry.horizons(now_micros());
        store.expire(&horizons.into_iter().map(horizon).collect::<Vec<_>>())
    }
}

/// Saves a group and lets it rule.
///
/// # Errors
/// Where the registry or the store refuses.
pub async fn save(app: &Arc<App>, group: PolicyGroup) -> std::result::Result<PolicyGroup, ApiError> {
    app.take_changes()?;
    let app = Arc::clone(app);
    blocking(move || {
        let saved = app.registry.save_policy_group(group, OPERATOR, now_micros())?;
        app.ruling.apply(&app.store)?;
        Ok::<_, ApiError>(saved)
    })
    .await
}

/// Removes a group; its models rule themselves.
///
/// # Errors
/// As [`save`].
pub async fn delete(
    app: &Arc<App>,
    org: wattline_model::OrgId,
    name: String,
) -> std::result::Result<(), ApiError> {
    app.take_changes()?;
    let app = Arc::clone(app);
    blocking(move || {
        app.registry.delete_policy_group(org, &name, OPERATOR, now_micros())?;
        Ok::<_, ApiError>(app.ruling.apply(&app.store)?)
    })
    .await
}

/// Keeps an organization's unformatted data from now on, or refuses it.
///
/// # Errors
/// As [`save`].
pub async fn keep_unformatted(
    app: &Arc<App>,
    org: wattline_model::OrgId,
    kept: Option<Option<Retention>>,
) -> std::result::Result<Option<Unformatted>, ApiError> {
    app.take_changes()?;
    let app = Arc::clone(app);
    blocking(move || {
        match kept {
            Some(retention) => {
                app.registry.keep_unformatted(org, retention, OPERATOR, now_micros())?;
            }
            None => app.registry.refuse_unformatted(org, OPERATOR, now_micros())?,
        }
        app.ruling.apply(&app.store)?;
        Ok::<_, ApiError>(app.registry.unformatted(org))
    })
    .await
}

/// Lets go of what has passed its retention, now and every hour, until `stop`.
pub async fn watch(app: Arc<App>, stop: CancellationToken) {
    loop {
        let looking = Arc::clone(&app);
        if let Err(error) = blocking(move || looking.ruling.expire(&looking.store)).await {
            tracing::warn!(%error, "retention could not be applied; it will be tried again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
