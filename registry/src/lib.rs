//! Placeholder head; see Cargo.toml description.
