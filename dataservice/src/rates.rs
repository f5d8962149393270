//! How much one account may ask.
//!
//! Owns: calls a second and large reads at a time, by account. Does not own: the limits' values (settings), how much all
//! accounts together may read (`server`), what is told (HTTP).
//!
//! Calls are paid from a bucket that fills evenly and holds one second's worth, so an account may come in bursts and not
//! for long above its rate. There is an entry for each account that called, and there are no more than service accounts
//! may be; those whose buckets are full again are let go first.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wattline_registry::services::SERVICE_ACCOUNTS_MAX;

/// What one account may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls in a second; 0 is no limit.
    pub calls_per_second: u32,
    /// Large reads at a time; 0 is no limit.
    pub reads_max: u32,
}

/// Why an account has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Calls in a second.
    Calls,
    /// Large reads at a time.
    Reads,
}

/// What the accounts ask.
#[derive(Debug)]
pub struct Rates {
    limits: Limits,
    accounts: Arc<Mutex<HashMap<String, Used>>>,
}

#[derive(Debug)]
struct Used {
    /// Micros of a second that calls may still be paid from.
    left_micros: i64,
    /// When that was.
    at_micros: i64,
    reads: u32,
}

/// What a bucket holds: one second.
const FULL_MICROS: i64 = 1_000_000;

impl Used {
    fn fill(&mut self, now_micros: i64) {
        let passed = now_micros.saturating_sub(self.at_micros).max(0);
        self.left_micros = self.left_micros.saturating_add(passed).min(FULL_MICROS);
        self.at_micros = now_micros;
    }
}

impl Rates {
    /// With these limits for each account.
    pub fn new(limits: Limits) -> Rates {
        Rates { limits, accounts: Arc::default() }
    }

    /// An account calls.
    ///
    /// # Errors
    /// Where it has called too often.
    pub fn call(&self, account: &str, now_micros: i64) -> Result<(), Exceeded> {
        if self.limits.calls_per_second == 0 {
            return Ok(());
        }
        let price = FULL_MICROS / i64::from(self.limits.calls_per_second).min(FULL_MICROS);
        let mut accounts = self.accounts.lock();
        let used = entry(&mut accounts, account, now_micros);
        used.fill(now_micros);
        if used.left_micros < price {
            return Err(Exceeded::Calls);
        }
        used.left_micros -= price;
        Ok(())
    }

    /// An account begins a large read, which ends when what is returned is dropped.
    ///
    /// # Errors
    /// Where it has as many under way as it may.
    pub fn read(&self, account: &str, now_micros: i64) -> Result<Reading, Exceeded> {
        let mut accounts = self.accounts.lock();
        let used = entry(&mut accounts, account, now_micros);
        if self.limits.reads_max > 0 && used.reads >= self.limits.reads_max {
            return Err(Exceeded::Reads);
        }
        used.reads += 1;
        Ok(Reading { account: account.to_owned(), accounts: Arc::clone(&self.accounts) })
    }
}

fn entry<'a>(accounts: &'a mut HashMap<String, Used>, account: &str, now_micros: i64) -> &'a mut Used {
    if !accounts.contains_key(account) {
        if accounts.len() >= SERVICE_ACCOUNTS_MAX {
            // Accounts that are gone, and those that have not called for a second, lose nothing.
            accounts.retain(|_, used| {
                used.fill(now_micros);
                used.reads > 0 || used.left_micros < FULL_MICROS
            });
        }
        let used = Used { left_micros: FULL_MICROS, at_micros: now_micros, reads: 0 };
        accounts.insert(account.to_owned(), used);
    }
    accounts.get_mut(account).expect("it was just inserted")
}

/// A large read under way.
#[derive(Debug)]
pub struct Reading {
    account: String,
    accounts: Arc<Mutex<HashMap<String, Used>>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(used) = self.accounts.lock().get_mut(&self.account) {
            used.reads = used.reads.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_in_bursts_and_not_above_the_rate_for_long() {
        let rates = Rates::new(Limits { calls_per_second: 10, reads_max: 1 });
        let now = 1_000_000_000;
        let good = |account: &str, at: i64| (0..100).take_while(|_| rates.call(account, at).is_ok()).count();
        assert_eq!(good("a", now), 10, "a second's worth at once");
        assert_eq!(good("a", now + 50_000), 0);
        assert_eq!(good("a", now + 100_000), 1, "one each tenth of a second");
        assert_eq!(good("a", now + 400_000), 3);
        assert_eq!(good("b", now + 400_000), 10, "each account for itself");
        assert_eq!(good("a", now + 60_000_000), 10, "no more than a second is saved up");
        assert_eq!(good("a", now), 0, "a clock that goes back gives nothing");
    }

    #[test]
    fn reads_end_when_they_are_dropped() {
        let rates = Rates::new(Limits { calls_per_second: 0, reads_max: 2 });
        let first = rates.read("a", 0).unwrap();
        let second = rates.read("a", 0).unwrap();
        assert_eq!(rates.read("a", 0).unwrap_err(), Exceeded::Reads);
        drop(rates.read("b", 0).unwrap());
        drop(first);
        drop(rates.read("a", 0).unwrap());
        drop(second);
        assert!((0..10_000).all(|_| rates.call("a", 0).is_ok()), "0 is no limit");
        let unlimited = Rates::new(Limits { calls_per_second: 0, reads_max: 0 });
        let all: Vec<_> = (0..100).map(|_| unlimited.read("a", 0)).collect();
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn accounts_that_are_gone_make_room() {
        let rates = Rates::new(Limits { calls_per_second: 1, reads_max: 1 });
        let held = rates.read("held", 0).unwrap();
        for i in 0..SERVICE_ACCOUNTS_MAX + 10 {
            let now = 2_000_000 * i64::from(i >= SERVICE_ACCOUNTS_MAX - 1);
            assert_eq!(rates.call(&i.to_string(), now), Ok(()));
        }
        assert!(rates.accounts.lock().len() < 20);
        assert_eq!(rates.read("held", 3_000_000).unwrap_err(), Exceeded::Reads);
        drop(held);
    }
}
