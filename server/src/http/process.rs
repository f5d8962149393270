//! What the operating system knows about this process, from `/proc`.

use std::fs;

/// CPU, memory and files of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Seconds of CPU, user and system, of all threads.
    pub cpu_seconds: f64,
    /// Bytes of resident memory.
    pub resident_bytes: u64,
    /// Bytes of resident memory at its highest.
    pub resident_peak_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many file descriptors may be open; 0 where there is no limit.
    pub max_fds: u64,
}

impl Process {
    /// What is known now; zeros where there is no `/proc`.
    pub fn now() -> Process {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let mut process =
            parse(&read("/proc/self/stat"), &read("/proc/self/status"), &read("/proc/self/limits"));
        // One of them is the folder being read.
        process.open_fds =
            fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count().saturating_sub(1) as u64);
        process
    }
}

fn parse(stat: &str, status: &str, limits: &str) -> Process {
    // The name in parentheses may hold anything; fields are counted from behind it (proc(5): utime is 14, stime 15).
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    Process {
        cpu_seconds: (ticks(11) + ticks(12)) as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes: kib("VmRSS:") * 1_024,
        resident_peak_bytes: kib("VmHWM:") * 1_024,
        threads: kib("Threads:"),
        open_fds: 0,
        max_fds: max_fds.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_proc_5_says() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 900 0 0 0 250 50 0 0 20 0 7 0 100 1000000 500 184";
        let status = "Name:\ta\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t7\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        let process = parse(stat, status, limits);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(process.cpu_seconds, 300.0 / ticks);
        assert_eq!((process.resident_bytes, process.resident_peak_bytes), (1 << 20, 2 << 20));
        assert_eq!((process.threads, process.max_fds), (7, 1_024));
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let process = Process::now();
        assert!(process.resident_bytes > 1 << 20 && process.open_fds >= 3, "{process:?}");
        assert_eq!(parse("", "", ""), Process::default());
    }
}
