//! Integration messages from bytes to durable: what every door that takes them calls.
//!
//! Owns: creating what a message needs and may create (points where the operator allows it, keys of unformatted data,
//! the place of events and their names), writing. Does not own: the message ([`crate::decode::integration`]), the door.

use std::sync::Arc;

use wattline_model::OrgId;
use wattline_registry::{Permissions, RecordKind};
use wattline_storage::ErrorKind as StoreError;

use crate::code::Code;
use crate::counters::add;
use crate::decode::integration::{Context, Feature, Message, Outcome, decode};
use crate::error::{Error, ErrorKind};
use crate::ingestor::Ingestor;

/// Who writes what.
#[derive(Clone, Debug)]
pub struct Integration {
    /// The organization that is written for.
    pub org: OrgId,
    /// What the writer may do there, where it may not do all: assets it may not write to do not exist.
    pub permissions: Option<Arc<Permissions>>,
    /// The product of devices that are named by their key alone.
    pub product: Option<String>,
    /// What the items hold.
    pub feature: Feature,
}

impl Ingestor {
    /// Decodes a message and writes what it holds; when this returns, that is durable and visible. Refuses at once where
    /// the store's queue is full.
    ///
    /// # Errors
    /// Where the store refuses or the registry fails; what is wrong with the message is in the outcome.
    pub async fn integrate(
        &self,
        integration: &Integration,
        message: &Message<'_>,
    ) -> Result<Outcome, Error> {
        if integration.feature == Feature::Events {
            self.ensure_records(integration.org, RecordKind::Events).await?;
        }
        let now = self.now();
        let mut context = Context {
            registry: self.registry(),
            org: integration.org,
            permissions: integration.permissions.as_deref(),
            product: integration.product.as_deref(),
            shards: self.store().shards(),
            now,
            time_max: self.time_max(now),
            collect_missing: self.settings().auto_register_points,
            collect_system: true,
        };
        let mut outcome = decode(&context, integration.feature, message);
        if !outcome.missing.is_empty() {
            let (ingestor, missing) = (self.clone(), std::mem::take(&mut outcome.missing));
            let registered = tokio::task::spawn_blocking(move || ingestor.register_points(missing)).await;
            match registered {
                Ok(Ok(())) => {}
                // The message is decoded again, and then refused for its unknown points.
                Ok(Err(e)) => tracing::info!(error = %e, "points were not registered"),
                Err(e) => return Err(Error::new(ErrorKind::Bug, format!("registering points failed: {e}"))),
            }
            (context.collect_missing, context.collect_system) = (false, false);
            outcome = decode(&context, integration.feature, message);
        }
        for fault in &outcome.faults {
            self.count().rejects(fault.code, 1);
        }
        if outcome.code == Code::Ok && outcome.fault_count > 0 {
            add(&self.count().skipped, outcome.fault_count);
        }
        if !outcome.batches.is_empty() {
            let batches = std::mem::take(&mut outcome.batches);
            self.try_write(batches).await.map_err(|e| {
                let kind = match e.kind() {
                    StoreError::Busy => ErrorKind::Busy,
                    StoreError::Closed => ErrorKind::Closed,
                    StoreError::Bug => ErrorKind::Bug,
                    _ => ErrorKind::Io,
                };
                Error::new(kind, e.to_string())
            })?;
        }
        Ok(outcome)
    }

    /// Makes sure that records of this kind have a place. IO only where they had none.
    ///
    /// # Errors
    /// Where the registry or the store refuses.
    pub async fn ensure_records(&self, org: OrgId, kind: RecordKind) -> Result<(), Error> {
        if self.registry().records(org, kind).is_some() {
            return Ok(());
        }
        let ingestor = self.clone();
        let task = tokio::task::spawn_blocking(move || ingestor.ensure_records_blocking(org, kind));
        task.await.map_err(|e| Error::new(ErrorKind::Bug, format!("making room for records failed: {e}")))?
    }

    /// [`ensure_records`](Ingestor::ensure_records) for threads that may wait.
    pub(crate) fn ensure_records_blocking(&self, org: OrgId, kind: RecordKind) -> Result<(), Error> {
        let (_, new) = self
            .registry()
            .ensure_records(org, kind)
            .map_err(|e| Error::new(ErrorKind::Input, e.to_string()))?;
        if new {
            self.tell_of_models().map_err(|e| Error::new(ErrorKind::Io, e.to_string()))?;
        }
        Ok(())
    }
}
