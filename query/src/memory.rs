//! The memory that statements hold: of one, and of all together.
//!
//! Owns: [`StatementMemory`], which counts and bounds what the operators of one statement reserve. Does not own: what
//! an operator does when there is no more (spill, or give up), the memory of scans (`storage`).
//!
//! Within a statement the operators that can spill get fair parts of its memory: were it first come, first served, a
//! sort above an aggregate would find nothing left and could not even begin to spill. Between statements it is first
//! come, first served, as most need little.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

use crate::settings::QuerySettings;

/// The memory of one statement: a part of that of all.
pub(crate) struct StatementMemory {
    all: Arc<dyn MemoryPool>,
    own: FairSpillPool,
    bytes_max: usize,
    /// Whether `bytes_max` is a limit of this statement's own.
    has_limit: bool,
    most: AtomicUsize,
}

impl StatementMemory {
    /// A statement's part of `all`.
    pub(crate) fn new(all: Arc<dyn MemoryPool>, settings: &QuerySettings) -> StatementMemory {
        let bytes_max = settings.statement_bytes();
        StatementMemory {
            all,
            own: FairSpillPool::new(bytes_max),
            bytes_max,
            has_limit: bytes_max < settings.memory_bytes,
            most: AtomicUsize::new(0),
        }
    }

    /// The most that was held at a time.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn note(&self) {
        self.most.fetch_max(self.own.reserved(), Ordering::Relaxed);
    }

    fn refused(&self, reservation: &MemoryReservation, own: bool) -> DataFusionError {
        let (who, setting) = match own && self.has_limit {
            true => ("one statement", "sql.memory_max"),
            false => ("all statements together", "memory_budget"),
        };
        let bytes = if own { Some(self.bytes_max) } else { all_bytes(&*self.all) };
        let bytes = bytes.map_or_else(String::new, |bytes| format!(" {bytes} bytes of"));
        let wants = reservation.consumer().name();
        DataFusionError::ResourcesExhausted(format!(
            "the operators of {who} may hold{bytes} memory (setting {setting}); {wants} wants more, and has nothing \
             left to put on disk"
        ))
    }
}

fn all_bytes(pool: &dyn MemoryPool) -> Option<usize> {
    match pool.memory_limit() {
        MemoryLimit::Finite(bytes) => Some(bytes),
        _ => None,
    }
}

impl fmt::Debug for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatementMemory({} of {} bytes)", self.own.reserved(), self.bytes_max)
    }
}

impl MemoryPool for StatementMemory {
    fn name(&self) -> &str {
        "StatementMemory"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.all.register(consumer);
        self.own.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.all.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.all.grow(reservation, additional);
        self.own.grow(reservation, additional);
        self.note();
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional).map_err(|_| self.refused(reservation, true))?;
        if self.all.try_grow(reservation, additional).is_err() {
            self.own.shrink(reservation, additional);
            return Err(self.refused(reservation, false));
        }
        self.note();
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}
