//! Accounts, TLS and patience of Arrow Flight SQL, with real clients.

use std::path::Path;
use std::process::{Command, Stdio};

use wattline_tests::server::{repo, run_wattline};
use wattline_tests::{Server, python};

use super::data_dir;

/// Creates the account `eva`; its password.
fn create_account(server: &Server) -> String {
    let url = format!("http://{}", server.http);
    let (code, out, log) = run_wattline(&["account", "create", "eva", "--generate", "--server", &url]);
    assert_eq!(code, 0, "{log}");
    out.lines().find_map(|line| line.strip_prefix("password  ")).expect("a password is shown").to_owned()
}

#[test]
fn accounts_sign_in_and_tokens_expire() {
    let dir = data_dir();
    let server = Server::start(dir.path(), &["--flight=127.0.0.1:0", "--set=flight.token_lifetime=3s"]);
    let password = create_account(&server);
    let uri = format!("grpc://{}", server.flight.expect("the listener is on"));
    // From loopback nobody has to sign in.
    let plain = python::run("flight_select.py", &[uri.strip_prefix("grpc://").unwrap()]);
    assert_eq!(plain.trim(), "[{'one': 1}]");
    assert_eq!(python::run("flight_accounts.py", &[&uri, "eva", &password, "", "4"]).trim(), "ok");
    assert!(!server.log_text().contains(&password));
    // Whoever is deleted is nobody at once.
    let url = format!("http://{}", server.http);
    assert_eq!(run_wattline(&["account", "delete", "eva", "--server", &url]).0, 0);
    let refused = python::try_run("flight_accounts.py", &[&uri, "eva", &password, ""]).unwrap_err();
    assert!(refused.contains("user name or password is wrong"), "{refused}");
}

#[test]
fn from_elsewhere_with_tls_and_an_account_only() {
    let dir = data_dir();
    let (data, certs) = (dir.path().join("data"), dir.path().join("certs"));
    super::tls::make_certificates(&certs);
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let refused = Server::try_start(&data, &["--flight", "0.0.0.0:0"]).unwrap_err();
    assert!(refused.contains("flight.listen") && refused.contains("flight.tls.cert"), "{refused}");
    let cert = format!("--set=flight.tls.cert={}", file("server.pem"));
    let key = format!("--set=flight.tls.key={}", file("server.key"));
    let refused = Server::try_start(&data, &["--flight", "0.0.0.0:0", &cert, &key]).unwrap_err();
    assert!(refused.contains("there are no accounts"), "{refused}");

    let server = Server::start(&data, &["--flight", "127.0.0.1:0", &cert, &key]);
    let password = create_account(&server);
    assert!(server.terminate().success());
    let server = Server::start(&data, &["--flight", "0.0.0.0:0", &cert, &key]);
    let port = server.flight.expect("the listener is on").port();
    let uri = format!("grpc+tls://localhost:{port}");
    assert_eq!(python::run("flight_accounts.py", &[&uri, "eva", &password, &file("ca.pem")]).trim(), "ok");
    // Another authority's certificate is not trusted, and plain text is no TLS.
    assert!(python::try_run("flight_accounts.py", &[&uri, "eva", &password, &file("foreign.pem")]).is_err());
    assert!(python::try_run("flight_select.py", &[&format!("localhost:{port}")]).is_err());
    // With an address of this machine that is not loopback nobody comes in unnamed.
    let Some(address) = own_address() else { return };
    let args = [format!("{address}:{port}"), file("ca.pem")];
    let refused = python::try_run("flight_unnamed.py", &[&args[0], &args[1]]).unwrap_err();
    assert!(refused.contains("sign in with the name and password of an account"), "{refused}");
}

/// An address of this machine that others could use, where there is one.
fn own_address() -> Option<std::net::IpAddr> {
    // Nothing is sent: the system only chooses a way.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn the_jdbc_driver_signs_in() {
    if Command::new("mvn").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status().is_err() {
        eprintln!("not tried: there is no JDK with Maven here");
        return;
    }
    let jar = python::run_program(&repo().join("tests/services/jdbc.sh"), std::iter::once("flight"));
    let dir = data_dir();
    let server = Server::start(dir.path(), &["--flight=127.0.0.1:0"]);
    let password = create_account(&server);
    let program = repo().join("tests/clients/FlightJdbcLogin.java");
    let address = server.flight.expect("the listener is on").to_string();
    let open = "--add-opens=java.base/java.nio=ALL-UNNAMED";
    let program = program.to_str().expect("a UTF-8 path");
    let args = [open, "-Duser.timezone=UTC", "-cp", jar.trim(), program, &address, "eva", &password];
    let said = python::run_program(Path::new("java"), args.into_iter());
    assert_eq!(said.trim().lines().last(), Some("eva"));
}

#[test]
fn a_client_that_stops_sending_rows_is_told() {
    let dir = data_dir();
    let server = Server::start(dir.path(), &["--flight=127.0.0.1:0", "--set=flight.read_timeout=500ms"]);
    let assets = server.http().create_fleet("flight", 1);
    let address = server.flight.expect("the listener is on").to_string();
    let said = python::run("flight_silent.py", &[&address, &assets[0].asset_id]);
    assert!(said.contains("no more rows came for 500 ms"), "{said}");
    assert_eq!(server.http().sql_number("SELECT count(*) FROM flight"), 0.0);
}
