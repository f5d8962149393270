//! The data service: one call from parameters to the body of its answer.
//!
//! Owns: which operations there are, their paths, and the way of a call. Does not own: HTTP, who is allowed to call
//! (`access`).

use std::sync::Arc;

use wattline_model::{OrgId, Policies};
use wattline_registry::Registry;
use wattline_storage::Store;

use crate::error::Result;
use crate::params::{Params, Version};
use crate::read::{aggregated, changed, latest, metadata, raw, states};
use crate::selection::{Caller, organization};
use crate::stored::InForce;

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Latest values (§2.1).
    Latest,
    /// Assets whose latest value meets a condition (§2.2).
    FilterLatest,
    /// Measured values as they were sent (§2.3).
    Ai,
    /// Measured values by the minute, and aggregates of them (§2.4).
    AiNormalized,
    /// Changes of status (§2.5).
    Di,
    /// How long each status lasted (§2.6).
    DiDuration,
    /// Values of any type (§2.7).
    Generic,
    /// Values of every storage type (§2.8).
    Raw,
    /// Energy of today (§2.9).
    CurrentDay,
    /// Energy, and aggregates of it (§2.10).
    ElectricPower,
    /// Values inside and outside the model (§2.11).
    UnifiedRaw,
    /// Values outside the model (§2.12).
    Unformatted,
    /// When values last changed (§2.13).
    LastChanged,
    /// Whether values have not changed for too long (§2.14).
    CheckDead,
}

impl Operation {
    /// All of them, in the order of the specification.
    pub const ALL: [Operation; 14] = [
        Operation::Latest,
        Operation::FilterLatest,
        Operation::Ai,
        Operation::AiNormalized,
        Operation::Di,
        Operation::DiDuration,
        Operation::Generic,
        Operation::Raw,
        Operation::CurrentDay,
        Operation::ElectricPower,
        Operation::UnifiedRaw,
        Operation::Unformatted,
        Operation::LastChanged,
        Operation::CheckDead,
    ];

    /// Its path after the version.
    pub const fn path(self) -> &'static str {
        match self {
            Operation::Latest => "latest",
            Operation::FilterLatest => "latest/filter",
            Operation::Ai => "ai",
            Operation::AiNormalized => "ai-normalized",
            Operation::Di => "di",
            Operation::DiDuration => "di/duration",
            Operation::Generic => "generic",
            Operation::Raw => "raw",
            Operation::CurrentDay => "electric-power/current-day",
            Operation::ElectricPower => "electric-power",
            Operation::UnifiedRaw => "unified-raw",
            Operation::Unformatted => "unformatted",
            Operation::LastChanged => "data/last-changed",
            Operation::CheckDead => "data/latest/check-dead",
        }
    }

    /// Whether v2.0 has it.
    pub const fn in_v20(self) -> bool {
        !matches!(self, Operation::Unformatted | Operation::LastChanged | Operation::CheckDead)
    }

    /// Whether it never leaves memory: it may run where waiting is not allowed.
    pub const fn in_memory(self) -> bool {
        matches!(self, Operation::Latest | Operation::LastChanged | Operation::CheckDead)
    }
}

/// What a call knows beside its parameters.
pub struct Call<'a> {
    /// Who calls.
    pub caller: Caller,
    /// The time, microseconds since the epoch.
    pub now_micros: i64,
    /// Whether it was given up; asked now and then.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

/// The data service over one registry and store. Cheap to clone.
#[derive(Clone)]
pub struct DataService {
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    policies: Arc<InForce>,
}

/// A call under way.
pub(crate) struct Asked<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) store: &'a Store,
    pub(crate) params: &'a Params,
    pub(crate) org: OrgId,
    pub(crate) caller: &'a Caller,
    pub(crate) now_micros: i64,
    pub(crate) stopped: &'a dyn Fn() -> bool,
    pub(crate) policies: Arc<Policies>,
}

impl Asked<'_> {
    pub(crate) fn version(&self) -> Version {
        self.params.version()
    }
}

impl DataService {
    /// The service. `others_latest_only`: whether models outside policy groups keep latest values only.
    pub fn new(registry: Registry, store: Store, others_latest_only: bool) -> DataService {
        DataService { registry, store, policies: Arc::new(InForce::new(others_latest_only)) }
    }

    pub(crate) fn ask<'a>(&'a self, params: &'a Params, call: &'a Call<'a>) -> Result<Asked<'a>> {
        let org = organization(&self.registry, params, &call.caller)?;
        crate::access::check_access_key(&self.registry, params, org)?;
        Ok(Asked {
            registry: &self.registry,
            store: &self.store,
            params,
            org,
            caller: &call.caller,
            now_micros: call.now_micros,
            stopped: call.stopped,
            policies: self.policies.get(&self.registry),
        })
    }

    /// The body of the answer to `operation`. Reads of history wait for the disk.
    ///
    /// # Errors
    /// Whatever [`crate::ErrorKind`] says; [`crate::Error::body`] is the answer then.
    pub fn read(&self, operation: Operation, params: &Params, call: &Call<'_>) -> Result<Vec<u8>> {
        let asked = self.ask(params, call)?;
        match operation {
            Operation::Latest => latest::latest(&asked),
            Operation::FilterLatest => latest::filter(&asked),
            Operation::Ai => raw::ai(&asked),
            Operation::Generic => raw::generic(&asked),
            Operation::Raw => raw::raw(&asked),
            Operation::UnifiedRaw => raw::unified(&asked),
            Operation::Unformatted => raw::unformatted(&asked),
            Operation::AiNormalized => aggregated::ai_normalized(&asked),
            Operation::ElectricPower => aggregated::electric_power(&asked),
            Operation::CurrentDay => aggregated::current_day(&asked),
            Operation::Di => states::changes(&asked),
            Operation::DiDuration => states::durations(&asked),
            Operation::LastChanged => changed::last_changed(&asked),
            Operation::CheckDead => changed::check_dead(&asked),
        }
    }

    /// The body of the answer to a query of the policies' metadata: how points are stored (§3.9).
    ///
    /// # Errors
    /// As [`DataService::read`].
    pub fn metadata(&self, params: &Params, call: &Call<'_>) -> Result<Vec<u8>> {
        metadata::metadata(&self.ask(params, call)?)
    }
}
