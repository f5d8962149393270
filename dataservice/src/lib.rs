//! The data service: what applications ask for over the EnOS-compatible API, answered from the store without SQL.
//!
//! Owns: parameters and their rules, who may call, how often, and what a caller sees, the reads of latest values, history,
//! aggregates, energy and states, deletions as the API has them, and the JSON of answers. Does not own: HTTP
//! (`server` maps URLs and bodies onto [`Operation`] and [`Params`]), entities (`registry`), samples (`storage`), the
//! meaning of functions of time series (`series`), the life of deletion jobs (`server`).
//!
//! One call: *parameters → organization → selection (assets, points, models, zones) → read → items → envelope*. All of
//! it is synchronous; whoever calls decides on which thread.
//!
//! Reading order: [`params`], `time`, `selection` → [`service`] → `stored`, `history`, `read` → `cell`, `items`,
//! `answer`; beside that path [`access`], [`rates`], [`deletions`], `meta`, [`v1`], [`expression`], [`search`], `events`,
//! [`manage`] (who exists), [`error`], [`limits`].
//!
//! The contract is EnOS's public data service; where that is silent or contradicts itself, `docs/compatibility.md`
//! says what is done here.

pub mod access;
mod answer;
mod cell;
pub mod deletions;
pub mod error;
mod events;
pub mod expression;
mod history;
mod items;
pub mod limits;
pub mod manage;
mod meta;
pub mod params;
pub mod rates;
mod read;
pub mod search;
mod selection;
pub mod service;
mod stored;
mod time;
pub mod v1;

pub use access::{Access, Refusal};
pub use answer::refusal;
pub use error::{Error, ErrorKind, Result};
pub use params::{Params, Version};
pub use selection::Caller;
pub use service::{Call, DataService, Operation};

#[cfg(test)]
mod tests;
