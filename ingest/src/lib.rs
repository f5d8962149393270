//! Bytes to checked, resolved batches.
//!
//! Owns: the device protocol (login, uploads, replies), the MQTT endpoint, the bulk formats, what is refused and why,
//! and counters of all of it. Does not own: durability and order (`storage`), who exists (`registry`), HTTP
//! (`server`).
//!
//! The path of a message: [`mqtt`] or HTTP takes bytes → [`decode`] reads them as rows and rejects → [`check`] applies
//! the model's types and the limits of time → [`resolve`] turns keys into points → rows go into a
//! [`BatchBuilder`](wattline_model::BatchBuilder) → [`ingestor`] writes the batches and only then is anything
//! acknowledged.

pub mod check;
pub mod code;
pub mod counters;
pub mod decode;
pub mod downlink;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod ingestor;
pub mod integrate;
pub mod limits;
pub mod mqtt;
pub mod resolve;
pub mod sign;

pub use code::Code;
pub use counters::{Counter, Counters};
pub use decode::{Decoded, Reject, Rejects};
pub use downlink::{Listener, Reply, Unanswered};
pub use error::{Error, ErrorKind};
pub use ingestor::{IngestSettings, Ingestor};
pub use integrate::Integration;
