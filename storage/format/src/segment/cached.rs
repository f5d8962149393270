//! Something that was read from a file, kept until it is forgotten.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Whoever got it may go on using it after it was forgotten.
pub(super) struct Cached<T>(RwLock<Option<Arc<T>>>);

impl<T> Cached<T> {
    pub(super) fn get(&self) -> Option<Arc<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps `value`, unless somebody was faster: then what he put.
    pub(super) fn put(&self, value: T) -> Arc<T> {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slot.get_or_insert_with(|| Arc::new(value)))
    }

    pub(super) fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<T> Default for Cached<T> {
    fn default() -> Cached<T> {
        Cached(RwLock::new(None))
    }
}

impl<T> Clone for Cached<T> {
    fn clone(&self) -> Cached<T> {
        Cached(RwLock::new(self.get()))
    }
}

impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.get().is_some() { "Cached" } else { "Cached(nothing)" })
    }
}
