//! Which devices are connected, and how often each tried to.
//!
//! Owns: that a device has at most one session, and the limits on logins. Does not own: the connections.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;
use wattline_model::AssetId;

use crate::limits::LIMITER_DEVICES_MAX;

/// The sessions of all listeners of one server.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_asset: FxHashMap<AssetId, (u64, CancellationToken)>,
    last: u64,
}

impl Sessions {
    /// Notes that `asset` is now connected by a connection that ends when `end` is cancelled, and ends the one it had
    /// before. Returns the number of the session and whether there was another.
    pub(crate) fn begin(&self, asset: AssetId, end: CancellationToken) -> (u64, bool) {
        let mut open = self.open.lock();
        open.last += 1;
        let number = open.last;
        let before = open.by_asset.insert(asset, (number, end));
        drop(open);
        match before {
            Some((_, end)) => {
                end.cancel();
                (number, true)
            }
            None => (number, false),
        }
    }

    /// Forgets session `number`, unless another has taken its place.
    pub(crate) fn end(&self, asset: AssetId, number: u64) {
        let mut open = self.open.lock();
        if open.by_asset.get(&asset).is_some_and(|(n, _)| *n == number) {
            open.by_asset.remove(&asset);
        }
    }

    /// Ends the session of a device, where it has one. It is forgotten when its connection is through with it.
    pub(crate) fn cut(&self, asset: AssetId) {
        let end = self.open.lock().by_asset.get(&asset).map(|(_, end)| end.clone());
        if let Some(end) = end {
            end.cancel();
        }
    }

    /// Whether a device has a session.
    pub(crate) fn is_online(&self, asset: AssetId) -> bool {
        self.open.lock().by_asset.contains_key(&asset)
    }
}

/// Logins within this time count against a device.
const WINDOW: Duration = Duration::from_secs(120);
/// More than so many in the window lock it.
const WINDOW_LOGINS_MAX: usize = 4;
/// For so long.
const LOCK: Duration = Duration::from_secs(300);
/// Two logins are at least so far apart.
const GAP: Duration = Duration::from_secs(1);

/// The documented limits on logins (device protocol §4.9), where the operator wants them.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    on: std::sync::atomic::AtomicBool,
    devices: Mutex<FxHashMap<AssetId, Attempts>>,
}

#[derive(Debug, Default)]
struct Attempts {
    recent: VecDeque<Instant>,
    locked_until: Option<Instant>,
}

impl Limiter {
    pub(crate) fn turn_on(&self) {
        self.on.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Counts a login and says whether it may go on.
    pub(crate) fn admit(&self, asset: AssetId) -> Result<(), String> {
        if !self.on.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        self.admit_at(asset, Instant::now())
    }

    fn admit_at(&self, asset: AssetId, now: Instant) -> Result<(), String> {
        let mut devices = self.devices.lock();
        if devices.len() >= LIMITER_DEVICES_MAX && !devices.contains_key(&asset) {
            devices.retain(|_, a| a.locked_until.is_some_and(|until| now < until));
            if devices.len() >= LIMITER_DEVICES_MAX {
                return Ok(());
            }
        }
        let attempts = devices.entry(asset).or_default();
        if let Some(until) = attempts.locked_until {
            if now < until {
                return Err(format!(
                    "locked for {} s more after too many logins",
                    (until - now).as_secs() + 1
                ));
            }
            *attempts = Attempts::default();
        }
        while attempts.recent.front().is_some_and(|&first| now - first >= WINDOW) {
            attempts.recent.pop_front();
        }
        let too_soon = attempts.recent.back().is_some_and(|&last| now - last < GAP);
        attempts.recent.push_back(now);
        // The first login of the window is no reconnect.
        if attempts.recent.len() > WINDOW_LOGINS_MAX + 1 {
            *attempts = Attempts { recent: VecDeque::new(), locked_until: Some(now + LOCK) };
            return Err(format!("locked for {} s after too many logins", LOCK.as_secs()));
        }
        if too_soon { Err("more than one login a second".to_owned()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_session_ends_the_first_and_outlives_its_end() {
        let sessions = Sessions::default();
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        let (number, other) = sessions.begin(AssetId(1), first.clone());
        assert!(!other && sessions.is_online(AssetId(1)) && !sessions.is_online(AssetId(2)));
        let (_, other) = sessions.begin(AssetId(1), second.clone());
        assert!(other && first.is_cancelled() && !second.is_cancelled());
        sessions.end(AssetId(1), number);
        assert!(sessions.is_online(AssetId(1)));
        sessions.cut(AssetId(2));
        assert!(!second.is_cancelled());
        sessions.cut(AssetId(1));
        assert!(second.is_cancelled());
    }

    #[test]
    fn a_device_that_reconnects_too_often_is_locked_for_a_while() {
        let limiter = Limiter::default();
        let start = Instant::now();
        let at = |s: u64| limiter.admit_at(AssetId(1), start + Duration::from_secs(s));
        assert!(limiter.admit_at(AssetId(1), start).is_ok());
        assert!(limiter.admit_at(AssetId(1), start + Duration::from_millis(500)).is_err(), "within a second");
        for s in [10, 20, 30] {
            assert!(at(s).is_ok(), "{s}");
        }
        assert!(at(40).unwrap_err().contains("locked"));
        assert!(at(339).unwrap_err().contains("locked"));
        assert!(at(341).is_ok());
        assert!(limiter.admit_at(AssetId(2), start).is_ok(), "others do not notice");
    }

    #[test]
    fn the_limiter_is_off_until_asked_for() {
        let limiter = Limiter::default();
        for _ in 0..100 {
            assert!(limiter.admit(AssetId(1)).is_ok());
        }
        limiter.turn_on();
        assert!(limiter.admit(AssetId(1)).is_ok() && limiter.admit(AssetId(1)).is_err());
    }
}
