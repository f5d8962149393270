//! The harness that drives the real `wattline` binary from outside: as its users do, over its sockets.
//!
//! Owns: starting and stopping servers ([`server`]), a small MQTT client ([`mqtt`]) and HTTP calls ([`http`]) that
//! share no code with the product, signing a device's login ([`sign`]), running Python clients ([`python`]),
//! emulators of object stores ([`objects`]), and a
//! seeded source of chance ([`chance`]).
//!
//! Does not own: any test (they are in `e2e/`), any knowledge of the product's insides. Nothing here depends on a
//! crate of the product, so that an error there cannot hide in the test as well.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a harness of tests: a failure here is a failed test"
)]

pub mod admin;
pub mod chance;
pub mod http;
pub mod metrics;
pub mod mqtt;
pub mod objects;
pub mod python;
pub mod server;
pub mod sign;

pub use admin::{Device, turbine_model};
pub use chance::Chance;
pub use http::Http;
pub use mqtt::{Connect, Mqtt, Packet};
pub use server::Server;
