//! Runs the Python clients of `clients/` in the virtual environment of the repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::server::{command, repo};

/// The interpreter of `./.venv` with what the tests need.
pub fn python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| python_for("tests")).clone()
}

/// The interpreter of `./.venv` with what `purpose` (`tests` or `bench`) needs; `tests/services/python-env.sh` makes
/// it where it is missing.
pub fn python_for(purpose: &str) -> PathBuf {
    let script = repo().join("tests/services/python-env.sh");
    let output =
        Command::new(&script).arg(purpose).stdin(Stdio::null()).output().expect("python-env.sh runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{} failed:\n{stderr}", script.display());
    repo().join(".venv/bin/python")
}

/// How long a client may take; one that hangs must not hang the tests.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Runs `tests/clients/<script>` with `args`; its standard output. A failure of the script is a failure of the test.
pub fn run(script: &str, args: &[&str]) -> String {
    try_run(script, args).unwrap_or_else(|output| panic!("{output}"))
}

/// Like [`run`], for a script that may take longer than others.
pub fn run_within(script: &str, args: &[&str], limit: Duration) -> String {
    run_script(script, args, limit).unwrap_or_else(|output| panic!("{output}"))
}

/// Like [`run`], but a failure is an error that holds what the script wrote.
pub fn try_run(script: &str, args: &[&str]) -> Result<String, String> {
    run_script(script, args, TIMEOUT)
}

fn run_script(script: &str, args: &[&str], limit: Duration) -> Result<String, String> {
    let path = repo().join("tests/clients").join(script);
    let args = std::iter::once(path.to_str().expect("a UTF-8 path")).chain(args.iter().copied());
    try_run_program(&python(), args, limit)
}

/// Runs a module of Python (`python -m …`) in the folder `dir` of the repository, with variables of the environment;
/// its standard output.
pub fn run_module(dir: &str, args: &[&str], env: &[(&str, String)], limit: Duration) -> String {
    let mut command = command(Path::new("timeout"));
    command.args(["--kill-after=5", &limit.as_secs().to_string()]).arg(python()).arg("-m").args(args);
    command.envs(env.iter().map(|(name, value)| (name, value))).current_dir(repo().join(dir));
    finish(command, &args.join(" ")).unwrap_or_else(|output| panic!("{output}"))
}

/// Runs a program to its end; its standard output.
pub fn run_program<'a>(program: &Path, args: impl Iterator<Item = &'a str>) -> String {
    try_run_program(program, args, TIMEOUT).unwrap_or_else(|output| panic!("{output}"))
}

fn try_run_program<'a>(
    program: &Path,
    args: impl Iterator<Item = &'a str>,
    limit: Duration,
) -> Result<String, String> {
    let mut command = command(Path::new("timeout"));
    command.args(["--kill-after=5", &limit.as_secs().to_string()]).arg(program).args(args);
    finish(command, &program.display().to_string())
}

fn finish(mut command: Command, name: &str) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{name}: {e}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.success() {
        true => Ok(stdout),
        false => Err(format!("{name} {}:\n{stdout}\n{stderr}", output.status)),
    }
}
