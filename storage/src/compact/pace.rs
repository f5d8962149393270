//! How fast a merge may go.
//!
//! Owns: giving way to flushes and writers, the limit on bytes a second, and stopping when the store closes. Does not
//! own: what is merged.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::settings::Driver;
use crate::shard::Shard;

/// Bytes written between two looks at the limit: a merge is never further ahead than this.
const STRIDE: u64 = 1 << 20;
/// How long one wait lasts at most before it looks again whether the store closes.
const NAP: Duration = Duration::from_millis(10);
/// How long a merge gives way at a stretch: it goes on under constant load, or segments would pile up.
const GIVE_WAY: Duration = Duration::from_millis(100);

/// The pace of one merge.
pub(crate) struct Pace {
    shard: Arc<Shard>,
    started: u64,
    /// Bytes at which it looks next.
    next: u64,
}

impl Pace {
    pub(crate) fn new(shard: &Arc<Shard>) -> Pace {
        Pace { shard: Arc::clone(shard), started: shard.world.clock.monotonic_nanos(), next: STRIDE }
    }

    /// Waits until the merge, which has written `bytes` so far, may go on. `Closed` where it must stop.
    pub(crate) fn wait(&mut self, bytes: u64) -> Result<()> {
        if self.shard.maintenance.stopped() {
            return Err(Error::closed());
        }
        if bytes < self.next || self.shard.settings.driver == Driver::Inline {
            return Ok(());
        }
        self.next = bytes + STRIDE;
        let mut gave_way = Duration::ZERO;
        while gave_way < GIVE_WAY && self.shard.is_pressed() {
            self.nap(NAP)?;
            gave_way += NAP;
        }
        if let Some(limit) = self.shard.settings.merge_bytes_per_second {
            loop {
                let spent = self.shard.world.clock.monotonic_nanos().saturating_sub(self.started);
                let due = u128::from(bytes) * 1_000_000_000 / u128::from(limit.max(1));
                let ahead = due.saturating_sub(u128::from(spent));
                if ahead == 0 {
                    break;
                }
                self.nap(NAP.min(Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX))))?;
            }
        }
        Ok(())
    }

    fn nap(&self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        if self.shard.maintenance.stopped() { Err(Error::closed()) } else { Ok(()) }
    }
}
