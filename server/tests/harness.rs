//! Starts and stops the real binary, and speaks HTTP to it without using its own client.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a start or stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command on the binary, without settings of the environment it is started in.
pub fn wattline() -> Command {
    let built = std::env::var_os("WATTLINE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_wattline").into());
    let mut command = Command::new(built);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WATTLINE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the binary to its end: exit code, standard output, standard error.
pub fn run(args: &[&str]) -> (i32, String, String) {
    finish(wattline().args(args))
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Runs the binary against a server.
pub fn cli(server: &Server, args: &[&str]) -> (i32, String, String) {
    finish(wattline().args(args).env("WATTLINE_SERVER", server.url()))
}

/// What the binary prints against a server, where all is well.
pub fn ok(server: &Server, args: &[&str]) -> String {
    let (code, out, log) = cli(server, args);
    assert_eq!(code, 0, "{args:?}: {log}");
    out
}

/// A running server.
pub struct Server {
    child: Child,
    /// What it wrote to standard output up to `ready`.
    pub lines: Vec<String>,
    pub http: SocketAddr,
    stderr: Receiver<String>,
}

impl Server {
    pub fn start(dir: &Path) -> Server {
        Server::start_with(dir, &[])
    }

    pub fn start_with(dir: &Path, args: &[&str]) -> Server {
        let mut command = wattline();
        command.arg("serve").arg("--data-dir").arg(dir);
        command.args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]).args(args);
        Server::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Server {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (said, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let (said, stderr) = channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let mut found = Vec::new();
        while !found.last().is_some_and(|line: &String| line.starts_with("ready")) {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => found.push(line),
                Err(error) => {
                    let _ = child.kill();
                    let log: Vec<String> = stderr.iter().collect();
                    panic!("no ready line ({error}): {found:?}\n{}", log.join("\n"));
                }
            }
        }
        let address = found.iter().find_map(|line| line.strip_prefix("listening http http://"));
        let http = address.map_or(SocketAddr::from(([0; 4], 0)), |text| text.parse().unwrap());
        Server { child, lines: found, http, stderr }
    }

    /// `http://…`, for the command line.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    pub fn wait(mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "the server does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM; asserts a good end.
    pub fn stop(self) {
        self.signal("TERM");
        assert_eq!(self.wait().code(), Some(0));
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.stderr.try_iter().collect::<Vec<_>>().join("\n")
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.http).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "content-length") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // The server may have answered and closed before it took all of a body that is too large.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Answer::parse(&bytes)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    pub fn sql(&self, text: &str) -> Value {
        let answer = self.request("POST", "/sql", &[("content-type", "application/sql")], text.as_bytes());
        assert_eq!(answer.status, 200, "{text}: {}", answer.text());
        answer.json()["rows"].clone()
    }

    /// A model `turbine` with `wind_speed` DOUBLE and `n` LONG, a product `pk` of it, and devices `d0`, `d1`, … with
    /// assets `a0`, `a1`, ….
    pub fn fleet(&self, devices: usize) {
        let model = json!({"modelId": "turbine", "points": {
            "wind_speed": {"dataType": "DOUBLE", "hasQuality": true, "unit": "m/s"}, "n": {"dataType": "LONG"}}});
        assert_eq!(self.post("/api/v1/models", &model).ok(201)["modelId"], "turbine");
        self.post("/api/v1/products", &json!({"productKey": "pk", "modelId": "turbine"})).ok(201);
        let list: Vec<Value> = (0..devices)
            .map(|i| json!({"productKey": "pk", "deviceKey": format!("d{i}"), "assetId": format!("a{i}")}))
            .collect();
        assert_eq!(self.post("/api/v1/devices", &list.into()).ok(201).as_array().unwrap().len(), devices);
    }

    pub fn ndjson(&self, model: &str, lines: &str) -> Answer {
        let path = format!("/api/v1/models/{model}/samples");
        self.request("POST", &path, &[("content-type", "application/x-ndjson")], lines.as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}\n---", self.log());
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut rest = &bytes[end + 4..];
        if !head.contains("transfer-encoding: chunked") {
            return Answer { status, head, body: rest.to_vec(), whole: true };
        }
        let mut body = Vec::new();
        let whole = loop {
            let Some(line) = rest.windows(2).position(|w| w == b"\r\n") else { break false };
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            rest = &rest[line + 2..];
            if size == 0 {
                break true;
            }
            if rest.len() < size + 2 {
                break false;
            }
            body.extend_from_slice(&rest[..size]);
            rest = &rest[size + 2..];
        };
        Answer { status, head, body, whole }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }

    /// The JSON of an answer with this status.
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.whole, "the answer broke off");
        self.json()
    }

    /// Kind and message of a refusal with this status.
    pub fn refused(&self, status: u16) -> (String, String) {
        let error = self.ok(status)["error"].clone();
        let text =
            |name: &str| error[name].as_str().unwrap_or_else(|| panic!("no {name}: {error}")).to_owned();
        (text("kind"), text("message"))
    }
}

pub fn dir() -> TempDir {
    tempfile::tempdir().expect("a folder for the test")
}
