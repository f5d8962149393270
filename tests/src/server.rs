//! Starting and stopping the real binary.
//!
//! A server listens on free ports, lives as long as its [`Server`] value, and is killed with the thread that started
//! it (`setpriv --pdeathsig`), so that neither a failed nor an interrupted test leaves one behind.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::Http;

/// How long a start may take on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a graceful stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Lines of output shown for a failed test.
const LOG_LINES_SHOWN: usize = 60;

/// A running `wattline serve`.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where HTTP is.
    pub http: SocketAddr,
    /// Where MQTT is.
    pub mqtt: SocketAddr,
    /// Where MQTT over TLS is, if it is on.
    pub mqtt_tls: Option<SocketAddr>,
    /// Where PostgreSQL's clients are served, if they are.
    pub pg: Option<SocketAddr>,
    /// Where Flight SQL is, if it is on.
    pub flight: Option<SocketAddr>,
    /// From the start of the process to `ready`.
    pub ready_after: Duration,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server on `dir` and waits until it is ready.
    pub fn start(dir: &Path, args: &[&str]) -> Server {
        Server::try_start(dir, args).unwrap_or_else(|log| panic!("wattline did not start:\n{log}"))
    }

    /// Like [`Server::start`], with variables of the environment.
    pub fn start_in(dir: &Path, args: &[&str], env: &[(&str, String)]) -> Server {
        Server::launch(dir, args, env).unwrap_or_else(|log| panic!("wattline did not start:\n{log}"))
    }

    /// Like [`Server::start`], but a server that ends instead of becoming ready is an error with its output.
    pub fn try_start(dir: &Path, args: &[&str]) -> Result<Server, String> {
        Server::launch(dir, args, &[])
    }

    fn launch(dir: &Path, args: &[&str], env: &[(&str, String)]) -> Result<Server, String> {
        let begin = Instant::now();
        let mut command = command(&wattline_bin());
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.arg("serve").arg("--data-dir").arg(dir);
        for (flag, value) in [("--http", "127.0.0.1:0"), ("--mqtt", "127.0.0.1:0")] {
            if !args.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        follow(stdout, Arc::clone(&log));
        follow(stderr, Arc::clone(&log));
        // From here on Drop stops the process.
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server {
            child,
            http: none,
            mqtt: none,
            mqtt_tls: None,
            pg: None,
            flight: None,
            ready_after: Duration::ZERO,
            log,
        };
        loop {
            if let Some(ready_after) = server.look_for_addresses(begin) {
                server.ready_after = ready_after;
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait().expect("the process can be asked") {
                std::thread::sleep(Duration::from_millis(50)); // the last lines
                return Err(format!("{}\n{status}", server.log_text()));
            }
            if begin.elapsed() > START_TIMEOUT {
                return Err(format!("{}\nnot ready after {START_TIMEOUT:?}", server.log_text()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Reads the start-up lines; the time it took once HTTP and MQTT are known and `/readyz` answers 200.
    fn look_for_addresses(&mut self, begin: Instant) -> Option<Duration> {
        for line in self.log.lock().expect("no reader panics").iter() {
            if let Some((name, address)) = listening(line) {
                match name.as_str() {
                    "http" => self.http = address,
                    "mqtt" => self.mqtt = address,
                    "flight" => self.flight = Some(address),
                    "mqtts" => self.mqtt_tls = Some(address),
                    "postgresql" => self.pg = Some(address),
                    _ => {}
                }
            }
        }
        if self.http.port() == 0 || self.mqtt.port() == 0 {
            return None;
        }
        let says_ready =
            || self.log.lock().expect("no reader panics").iter().any(|l| l.starts_with("ready in"));
        let ready = self.http().try_get("/readyz").is_ok_and(|answer| match answer.status {
            // With an operator's token it tells strangers nothing.
            401 => says_ready(),
            status => status == 200,
        });
        ready.then(|| begin.elapsed())
    }

    /// A client of its HTTP side.
    pub fn http(&self) -> Http {
        Http::new(self.http)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it wrote so far.
    pub fn log_text(&self) -> String {
        let log = self.log.lock().expect("no reader panics");
        log[log.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Whether the process is there.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_none()
    }

    /// SIGTERM, then waits for a graceful end.
    pub fn terminate(self) -> ExitStatus {
        self.ask_to_stop();
        self.wait()
    }

    /// Waits for the end of a server that was told to stop.
    pub fn wait(mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                return status;
            }
            assert!(begin.elapsed() < STOP_TIMEOUT, "no end after it was told to stop:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// Tells it to stop gracefully and does not wait.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- output of the server\n{}\n---", self.log_text());
        }
    }
}

/// A command that is killed when the thread that starts it ends, by whatever cause.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    // Settings of whoever runs the tests are not those of the server under test.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WATTLINE_")) {
        command.env_remove(name);
    }
    command
}

/// Runs `wattline` with `args` to its end: exit code, stdout, stderr.
pub fn run_wattline(args: &[&str]) -> (i32, String, String) {
    run_wattline_in(args, &[])
}

/// Runs `wattline` with variables of the environment; its standard output, or all it wrote where it failed.
///
/// # Errors
/// Where it ends with another code than 0.
pub fn try_run_wattline(args: &[&str], env: &[(&str, String)]) -> Result<String, String> {
    match run_wattline_in(args, env) {
        (0, out, _) => Ok(out),
        (code, out, err) => Err(format!("wattline {args:?} ended with {code}:\n{out}\n{err}")),
    }
}

fn run_wattline_in(args: &[&str], env: &[(&str, String)]) -> (i32, String, String) {
    let mut command = command(&wattline_bin());
    command.envs(env.iter().map(|(name, value)| (name, value)));
    let output = command.args(args).stdin(Stdio::null()).output().expect("wattline runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The binary under test: `WATTLINE_BIN`, or the one of this build, which is brought up to date first.
pub fn wattline_bin() -> PathBuf {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        if let Ok(path) = std::env::var("WATTLINE_BIN") {
            return PathBuf::from(path);
        }
        // target/<profile>/deps/e2e-… or target/<profile>/wattline-bench
        let own = std::env::current_exe().expect("a running program has a path");
        let profile = own
            .ancestors()
            .find(|dir| dir.file_name().is_some_and(|name| name == "debug" || name == "release"))
            .expect("tests and benches run from a cargo target directory")
            .to_owned();
        let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        cargo.args(["build", "--quiet", "-p", "wattline", "--target-dir"]);
        cargo.arg(profile.parent().expect("a profile has a parent")).current_dir(repo());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success(), "wattline does not build");
        profile.join("wattline")
    })
    .clone()
}

/// The root of the repository.
pub fn repo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

fn follow(stream: impl std::io::Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().expect("no reader panics").push(line);
        }
    });
}

/// Protocol and address of a start-up line such as `listening http http://127.0.0.1:8080`.
fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let (protocol, url) = line.strip_prefix("listening ")?.split_once(' ')?;
    let address = url.rsplit('/').next()?.parse().ok()?;
    Some((protocol.to_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_up_lines_name_their_address() {
        let port = |line| listening(line).map(|(name, address)| (name, address.port()));
        assert_eq!(port("listening http http://127.0.0.1:8080"), Some(("http".into(), 8080)));
        assert_eq!(port("listening mqtts mqtts://[::1]:18883"), Some(("mqtts".into(), 18883)));
        assert_eq!(port("ready in 12 ms"), None);
    }
}
