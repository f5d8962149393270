//! The Python client of `clients/python`, by its own tests: units, every operation against real servers, the examples
//! of its README, types and style, and a wheel that holds what it should.

use std::time::Duration;

use wattline_tests::{Server, python};

use super::{data_dir, start};

const FOLDER: &str = "clients/python";
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn the_python_client_passes_its_tests() {
    let (open, guarded) = (data_dir(), data_dir());
    let token = "operators-token-of-this-test";
    let plain = start(open.path());
    let with_token = Server::start_in(guarded.path(), &[], &[("WATTLINE_HTTP_TOKEN", token.to_owned())]);
    let env = [
        ("WATTLINE_TEST_URL", format!("http://{}", plain.http)),
        ("WATTLINE_TEST_GUARDED_URL", format!("http://{}", with_token.http)),
        ("WATTLINE_TEST_TOKEN", token.to_owned()),
    ];
    let out = python::run_module(FOLDER, &["pytest", "-rs"], &env, LIMIT);
    assert!(out.contains(" passed") && !out.contains("skipped"), "{out}");
}

#[test]
fn the_python_client_is_typed_and_tidy() {
    python::run_module(FOLDER, &["mypy"], &[], LIMIT);
    python::run_module(FOLDER, &["ruff", "check", "."], &[], LIMIT);
    python::run_module(FOLDER, &["ruff", "format", "--check", "."], &[], LIMIT);
}

#[test]
fn the_python_clients_wheel_holds_its_types() {
    let out = data_dir();
    let folder = out.path().to_str().unwrap();
    let args = ["build", "--wheel", "--no-isolation", "--outdir", folder];
    python::run_module(FOLDER, &args, &[], LIMIT);
    let wheel = format!("{folder}/wattline-0.1.0-py3-none-any.whl");
    let held = python::run_module(FOLDER, &["zipfile", "--list", &wheel], &[], LIMIT);
    for file in ["wattline/py.typed", "wattline/client.py", "wattline-0.1.0.dist-info/METADATA"] {
        assert!(held.contains(file), "{file}: {held}");
    }
}
