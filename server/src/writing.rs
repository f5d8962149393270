//! What SQL changes, through the doors that HTTP uses.
//!
//! Owns: [`Writing`], which carries out what `query` read from a statement, and the errors on the way back. Does not
//! own: what statements may say (`query`), checks of samples (`ingest`), deletion jobs ([`crate::deletions`]), models
//! (`registry`), who may do what but for the assets that rows are of (`query`).
//!
//! Changes of models and deletions are carried out to their end even where the client that asked goes away in the
//! middle.

mod rows;

use std::sync::Arc;

use async_trait::async_trait;
use wattline_ingest::Ingestor;
use wattline_model::{Deletion, Model, ModelId};
use wattline_query::{Caller, Changes, Error, ErrorKind, SendableRecordBatchStream};
use wattline_registry::{Holder, NewModel, NewPoint, Registry};

use crate::deletions::Jobs;
use crate::http::error::{ApiError, ApiKind};
use crate::http::{OPERATOR, blocking, now_micros};

/// Carries out what statements change.
pub struct Writing {
    ingestor: Ingestor,
    deletions: Arc<Jobs>,
}

impl Writing {
    /// Changes by way of `ingestor`, its registry, and `deletions`.
    pub fn new(ingestor: Ingestor, deletions: Arc<Jobs>) -> Writing {
        Writing { ingestor, deletions }
    }

    /// Changes wait for the disk, so they run where blocking is allowed.
    async fn change<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Registry) -> Result<T, wattline_registry::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let registry = self.ingestor.registry().clone();
        blocking(move || act(&registry)).await.map_err(|e| of_api(&e))
    }
}

/// Who changes something, as it is noted.
fn operator(caller: &Caller) -> String {
    caller.account.as_deref().unwrap_or(OPERATOR).to_owned()
}

#[async_trait]
impl Changes for Writing {
    async fn insert(
        &self,
        caller: &Caller,
        model: &Model,
        rows: SendableRecordBatchStream,
    ) -> Result<u64, Error> {
        let account = caller.account.as_deref();
        let permissions = account.map(|name| self.ingestor.registry().permissions(Holder::account(name)));
        let permissions = permissions.filter(|permissions| !permissions.is_everything());
        Box::pin(rows::write(&self.ingestor, model, permissions, rows)).await
    }

    async fn delete(&self, caller: &Caller, deletion: Deletion) -> Result<i64, Error> {
        let (jobs, operator) = (Arc::clone(&self.deletions), operator(caller));
        let submitted = tokio::spawn(async move { jobs.submit(deletion, &operator).await });
        match submitted.await {
            Ok(Ok(job)) => Ok(job.id),
            Ok(Err(error)) => Err(of_api(&error)),
            Err(panic) => Err(Error::new(ErrorKind::Bug, format!("the deletion ended in a panic: {panic}"))),
        }
    }

    async fn create_model(&self, _: &Caller, model: NewModel) -> Result<(), Error> {
        self.change(move |registry| registry.create_model(model).map(drop)).await
    }

    async fn add_points(&self, _: &Caller, model: ModelId, points: Vec<NewPoint>) -> Result<(), Error> {
        self.change(move |registry| registry.add_points(model, points).map(drop)).await
    }

    async fn rename_point(
        &self,
        caller: &Caller,
        model: ModelId,
        from: String,
        to: String,
    ) -> Result<(), Error> {
        let operator = operator(caller);
        self.change(move |registry| {
            registry.rename_point(model, &from, &to, &operator, now_micros()).map(drop)
        })
        .await
    }
}

/// A refusal of the doors as one of a statement.
fn of_api(error: &ApiError) -> Error {
    let kind = match error.kind {
        ApiKind::Busy | ApiKind::Unavailable => ErrorKind::Busy,
        ApiKind::TooLarge | ApiKind::Resources => ErrorKind::Limit,
        ApiKind::Timeout | ApiKind::Overtime => ErrorKind::Timeout,
        ApiKind::Cancelled => ErrorKind::Cancelled,
        ApiKind::Full => ErrorKind::Full,
        ApiKind::Storage => ErrorKind::Damaged,
        ApiKind::Bug => ErrorKind::Bug,
        ApiKind::Forbidden => ErrorKind::Denied,
        ApiKind::Input
        | ApiKind::Unauthorized
        | ApiKind::NotFound
        | ApiKind::Method
        | ApiKind::Conflict
        | ApiKind::Unsupported => ErrorKind::Input,
    };
    Error::new(kind, &error.message)
}
