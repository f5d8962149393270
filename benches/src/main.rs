//! `wattline-bench`: scenario benchmarks of the real binary, from another process.
//!
//! Owns: the load generators, reading the server's own CPU time and memory, the tables. Does not own: anything of the
//! product; what is measured is what a user of the sockets gets, *durable and visible*: only points whose
//! acknowledgement arrived are counted.
//!
//! Reading order: [`procfs`] → [`report`] → [`payload`] → [`mqtt_load`] → [`bulk_load`] → [`http_load`] → [`scenario`].

#![allow(clippy::unwrap_used, reason = "a benchmark: whatever goes wrong ends the run with its reason")]

mod bulk_load;
mod http_load;
mod mqtt_load;
mod payload;
mod procfs;
mod report;
mod scenario;

use std::path::PathBuf;

use clap::Parser;

/// Scenario benchmarks of wattline; prints Markdown tables, and writes them with a JSON line each to --out.
#[derive(Parser, Clone, Debug)]
#[command(name = "wattline-bench")]
struct Args {
    /// Scenarios to run: all, or names separated by commas
    #[arg(long, default_value = "all")]
    scenario: String,
    /// Seconds each timed scenario measures, after its warm-up
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// MQTT connections
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// Unacknowledged messages a connection has at most
    #[arg(long, default_value_t = 32)]
    window: usize,
    /// Points per second offered while latest values are asked for; 0 = as fast as possible
    #[arg(long, default_value_t = 300_000)]
    background_rate: u64,
    /// Assets whose newest values the data service has
    #[arg(long, default_value_t = 100_000)]
    assets: u64,
    /// Meters whose energy of today the data service is asked for; a call takes 3,000
    #[arg(long, default_value_t = 3_000)]
    meters: u64,
    /// Calls of the data service to measure: all, or some of latest, filter-named, filter-model, raw-items, raw-columns,
    /// averages, current-day, separated by commas
    #[arg(long, default_value = "all")]
    calls: String,
    /// Points on disk for the cold start, in millions
    #[arg(long, default_value_t = 100)]
    cold_start_millions: u64,
    /// Further arguments of `wattline serve`, separated by blanks
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    serve_args: String,
    /// Folder of the real data files
    #[arg(long, default_value = "../shared/data")]
    data: PathBuf,
    /// Where data directories are made (default: the system's folder for temporary files)
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// Folder for results
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() {
    let args = Args::parse();
    let known = scenario::ALL;
    let wanted: Vec<&str> = match args.scenario.as_str() {
        "all" => known.iter().map(|(name, _)| *name).collect(),
        list => list.split(',').map(str::trim).collect(),
    };
    for name in &wanted {
        if !known.iter().any(|(known, _)| known == name) {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            eprintln!("no scenario is called {name}; there are: {}", names.join(", "));
            std::process::exit(2);
        }
    }
    for (name, run) in known.iter().filter(|(name, _)| wanted.contains(name)) {
        eprintln!("running {name} …");
        let report = run(&args);
        print!("{}", report.markdown(name));
        if let Some(out) = &args.out {
            report.save(name, out);
        }
    }
}
