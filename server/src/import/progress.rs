//! How far the import is.
//!
//! Owns: the counters, the bar on a terminal, a plain line every few seconds elsewhere, the summary. Does not own:
//! anything that decides.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Counters shared by the reader and the senders.
pub struct Progress {
    started: Instant,
    bytes_total: u64,
    bytes_read: AtomicU64,
    /// Rows the server has acknowledged.
    pub rows: AtomicU64,
    /// Samples the server has acknowledged.
    pub samples: AtomicU64,
    /// Requests sent again.
    pub retries: AtomicU64,
    bar: Option<ProgressBar>,
    said: Mutex<Instant>,
}

impl Progress {
    /// Progress over `bytes_total` bytes of input.
    pub fn new(bytes_total: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(bytes_total);
            let style = ProgressStyle::with_template(
                "{bar:32.cyan/blue} {percent:>3} %  {bytes}/{total_bytes}  {msg}  eta {eta}",
            )
            .expect("the template is a constant");
            bar.set_style(style);
            bar
        });
        Progress {
            started: Instant::now(),
            bytes_total,
            bytes_read: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bar,
            said: Mutex::new(Instant::now()),
        }
    }

    /// Notes how far the input was read, and shows it where it is time to.
    pub fn read_to(&self, bytes: u64) {
        self.bytes_read.store(bytes, Ordering::Relaxed);
        let rates = self.rates();
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(rates);
            return;
        }
        let mut said = self.said.lock();
        if said.elapsed() >= LINE_EVERY {
            *said = Instant::now();
            let percent = (bytes * 100).checked_div(self.bytes_total).unwrap_or(100);
            eprintln!("{percent:>3} %  {rates}");
        }
    }

    /// Adds what one answer acknowledged.
    pub fn acknowledged(&self, rows: u64, samples: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.samples.fetch_add(samples, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_message(self.rates());
        }
    }

    /// Says something without breaking the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn rates(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let rate = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64 / seconds;
        format!("{} rows/s  {} samples/s", short(rate(&self.rows)), short(rate(&self.samples)))
    }
}

/// A number for people: 1234567 as `1.23 M`.
pub fn short(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// A whole number with blanks between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(short(999.4), "999");
        assert_eq!(short(12_340.0), "12.3 k");
        assert_eq!(short(1_540_000.0), "1.54 M");
        assert_eq!(grouped(50_530), "50 530");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1 000 000");
    }
}
