//! What a bulk decoder hands back: batches and rejects, never one without the other.

use wattline_model::Batch;

use crate::limits::REJECTS_LISTED_MAX;

/// One thing refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The row, counted from 0.
    pub row: u64,
    /// The column or key.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// Rejects: the first [`REJECTS_LISTED_MAX`] by name, all by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejects {
    /// The first ones.
    pub listed: Vec<Reject>,
    /// How many there are in all.
    pub total: u64,
}

impl Rejects {
    /// Adds one; `reason` is only asked for while there is room to list it.
    pub fn push(&mut self, row: usize, field: &str, reason: impl FnOnce() -> String) {
        self.total += 1;
        if self.listed.len() < REJECTS_LISTED_MAX {
            self.listed.push(Reject { row: row as u64, field: field.to_owned(), reason: reason() });
        }
    }

    /// Whether nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

/// What a bulk body came to.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// What to write.
    pub batches: Vec<Batch>,
    /// Rows in those batches.
    pub rows: u64,
    /// Samples in those batches.
    pub samples: u64,
    /// Rows and samples refused.
    pub rejects: Rejects,
}
