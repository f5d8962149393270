//! `wattline demo`: a simulated wind farm that publishes to a running server.
//!
//! Owns: the clock of the simulation and the start and stop of everything. Does not own: the farm (`farm` and what it
//! is made of), the wire (`publish`), the screen (`view`).
//!
//! Reading order: [`chance`] → [`wind`] → [`turbine`], [`meter`], [`mast`] → [`farm`] → [`reading`] → [`register`] →
//! [`publish`] with [`stats`] → [`view`].

pub mod chance;
pub mod farm;
pub mod mast;
pub mod meter;
pub mod publish;
pub mod reading;
pub mod register;
pub mod stats;
pub mod turbine;
pub mod view;
pub mod wind;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::client::connection::ServerArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::import::rest::Rest;

use farm::Farm;
use publish::{Broker, Fresh, Publisher};
use stats::Stats;
use view::Scene;

/// Turbines at most: a connection each, and one each for their meters.
const TURBINES_MAX: usize = 2_000;
/// Real time between two looks at the clock. Samples due within it travel in one message.
const TICK: Duration = Duration::from_millis(100);
/// Steps within one tick at most, so that stopping never waits long.
const STEPS_PER_TICK_MAX: u32 = 2_000;
/// Samples that wait between the simulation and one device.
const QUEUE: usize = 256;
/// How far back a fast simulation begins where nothing is said.
const BACKFILL_HOURS_DEFAULT: f64 = 24.0;
/// Patience for a server that is just starting.
const SERVER_WAIT: Duration = Duration::from_secs(30);
/// Patience for devices at the end.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Runs a simulated wind farm against a server.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The server
    #[command(flatten)]
    pub server: ServerArgs,
    /// Address of the server's MQTT listener
    #[arg(long, default_value = "127.0.0.1:11883", value_name = "HOST:PORT")]
    pub mqtt: String,
    /// How many turbines
    #[arg(long, default_value_t = 12, value_name = "N")]
    pub turbines: usize,
    /// Simulated time between two samples of a device, such as 1s, 500ms, 1m
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub interval: Duration,
    /// Simulated seconds in one real second, until the simulation has caught up with the clock
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub speed: f64,
    /// Hours in the past the simulation begins at; needs --speed above 1 [default: 24 with --speed]
    #[arg(long, value_name = "HOURS")]
    pub backfill: Option<f64>,
    /// Stop after so much real time, such as 90s, 10m, 2h
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub duration: Option<Duration>,
    /// The same seed, start and interval give the same samples
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Plain status lines instead of the screen
    #[arg(long)]
    pub no_view: bool,
}

/// `500ms`, `90s`, `10m`, `2h`, or plain seconds.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_s = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("is not a duration such as 500ms, 90s, 10m, 2h".to_owned()),
    };
    let number: f64 =
        digits.parse().map_err(|_| "is not a duration such as 500ms, 90s, 10m, 2h".to_owned())?;
    match Duration::try_from_secs_f64(number * unit_s) {
        Ok(duration) if duration >= Duration::from_millis(1) => Ok(duration),
        _ => Err("must be at least a millisecond".to_owned()),
    }
}

/// Runs the demo until its time is over or somebody stops it.
///
/// # Errors
/// Where the arguments contradict, or the server cannot be reached at the start.
pub fn run(args: Args) -> Result<()> {
    let backfill = check(&args)?;
    let broker = broker(&args.mqtt)?;
    let step_ms =
        i64::try_from(args.interval.as_millis()).map_err(|_| Error::usage("--interval is too long"))?;
    let now = now_ms();
    let start = now - (backfill * 3_600_000.0) as i64;
    // On multiples of the interval, so that samples of all devices, and of two runs, stand side by side.
    let start = (start + step_ms - 1).div_euclid(step_ms) * step_ms;
    let farm = Farm::new(args.seed, args.turbines, start, step_ms);
    let logins = register_patiently(&args, &farm)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Error::failed(format!("no runtime: {e}")))?;
    let stats = Arc::new(Stats::new());
    let stop = CancellationToken::new();
    let scene = Arc::new(Mutex::new(Scene::new(&farm)));
    let show_screen = !args.no_view && std::io::stdout().is_terminal();
    let screen = {
        let (scene, stats, stop) = (Arc::clone(&scene), Arc::clone(&stats), stop.clone());
        std::thread::spawn(move || {
            if show_screen {
                view::screen(&scene, &stats, &stop)
            } else {
                view::lines(&scene, &stats, &stop);
                Ok(())
            }
        })
    };
    runtime.block_on(async {
        let mut senders = Vec::new();
        let mut devices = tokio::task::JoinSet::new();
        for login in logins {
            let (sender, samples) = mpsc::channel(QUEUE);
            let publisher = Publisher::new(login, broker.clone(), Arc::clone(&stats), stop.clone());
            devices.spawn(publisher.run(samples));
            senders.push(sender);
        }
        let pace = Pace { speed: args.speed, start_ms: start, step_ms };
        tokio::select! {
            () = drive(farm, &pace, &senders, &scene) => {}
            () = signal() => {}
            () = after(args.duration) => {}
            () = stop.cancelled() => {}
        }
        stop.cancel();
        // A device that does not come to its end in time is ended with the runtime.
        let _ = tokio::time::timeout(STOP_WAIT, async { while devices.join_next().await.is_some() {} }).await;
    });
    let shown = screen.join().unwrap_or_else(|_| Err(Error::failed("the view ended in a panic")));
    println!("{}", view::farewell(&stats));
    shown
}

fn check(args: &Args) -> Result<f64> {
    if args.turbines == 0 || args.turbines > TURBINES_MAX {
        return Err(Error::usage(format!("--turbines is {}: it must be 1 to {TURBINES_MAX}", args.turbines)));
    }
    if !(1.0..=100_000.0).contains(&args.speed) {
        return Err(Error::usage(format!("--speed is {}: it must be 1 to 100000", args.speed)));
    }
    let is_fast = args.speed > 1.0;
    match args.backfill {
        None => Ok(if is_fast { BACKFILL_HOURS_DEFAULT } else { 0.0 }),
        // Ten years: more is no demo.
        Some(hours) if !(0.0..=87_600.0).contains(&hours) => {
            Err(Error::usage(format!("--backfill is {hours}: it must be 0 to 87600 hours")))
        }
        Some(hours) if hours > 0.0 && !is_fast => {
            Err(Error::usage("--backfill needs --speed above 1, or the farm would stay behind for ever"))
        }
        Some(hours) => Ok(hours),
    }
}

fn broker(text: &str) -> Result<Broker> {
    let refuse = || Error::usage(format!("--mqtt {text:?} is not HOST:PORT"));
    let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
    let port = port.parse().map_err(|_| refuse())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(refuse()) } else { Ok(Broker { host: host.to_owned(), port }) }
}

/// Registers the farm; a server that is just starting is waited for.
fn register_patiently(args: &Args, farm: &Farm) -> Result<Vec<register::Login>> {
    let mut rest = Rest::new(&args.server)?;
    let since = Instant::now();
    let mut said = false;
    loop {
        match register::register(&mut rest, farm.devices()) {
            Err(e) if e.kind() == ErrorKind::Unreachable && since.elapsed() < SERVER_WAIT => {
                if !said {
                    eprintln!("waiting for the server: {e}");
                    said = true;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
            outcome => return outcome,
        }
    }
}

/// How simulated time follows real time.
struct Pace {
    speed: f64,
    start_ms: i64,
    step_ms: i64,
}

impl Pace {
    /// The simulated time after `elapsed`: never later than `now_ms`.
    fn target_ms(&self, elapsed: Duration, now_ms: i64) -> i64 {
        let passed = (elapsed.as_secs_f64() * 1000.0 * self.speed) as i64;
        self.start_ms.saturating_add(passed).min(now_ms)
    }
}

/// Moves the farm on and hands out what it says, for ever.
async fn drive(mut farm: Farm, pace: &Pace, devices: &[mpsc::Sender<Fresh>], scene: &Mutex<Scene>) {
    let since = Instant::now();
    let mut ticks = tokio::time::interval(TICK.min(Duration::from_millis(pace.step_ms as u64)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let target = pace.target_ms(since.elapsed(), now_ms());
        for _ in 0..STEPS_PER_TICK_MAX {
            if farm.time_ms() + pace.step_ms > target {
                break;
            }
            for sample in farm.step() {
                let fresh = Fresh { entry: sample.entry(), linked: farm.is_linked(sample.device) };
                // Waits where a device is slow: then simulated time falls behind, and nothing piles up.
                if devices[sample.device].send(fresh).await.is_err() {
                    return;
                }
            }
            scene.lock().update(&farm);
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Waits for SIGINT or SIGTERM.
async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5_400)));
        for bad in ["", "s", "-1s", "0", "1 week"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn simulated_time_is_never_in_the_future() {
        let pace = Pace { speed: 60.0, start_ms: 1_000_000, step_ms: 1_000 };
        assert_eq!(pace.target_ms(Duration::from_secs(2), 10_000_000), 1_120_000);
        assert_eq!(pace.target_ms(Duration::from_secs(600), 10_000_000), 10_000_000);
    }
}
