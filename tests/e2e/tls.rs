//! MQTT over TLS: a server certificate, and client certificates where a product demands them.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wattline_tests::admin::turbine_model;
use wattline_tests::metrics::Metrics;
use wattline_tests::{Connect, Device, Mqtt, Server, python};

use super::{BASE_MS, data_dir};

#[test]
fn tls_serves_devices_and_demands_certificates_where_the_product_does() {
    let dir = data_dir();
    let certs = dir.path().join("certs");
    make_certificates(&certs);
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let client_ca = format!("--set=mqtt.tls.client_ca={}", file("ca.pem"));
    let (cert, key) =
        (format!("--mqtt-tls-cert={}", file("server.pem")), format!("--mqtt-tls-key={}", file("server.key")));
    let args = ["--mqtt-tls=127.0.0.1:0", &cert, &key, &client_ca];
    let server = Server::start(&dir.path().join("data"), &args);
    let http = server.http();
    http.create_model(&turbine_model("tls"));
    http.create_product("pk-tls", "tls");
    let strict = json!({"productKey": "pk-strict", "productName": "strict", "modelId": "tls", "requireCertificate": true});
    http.post_json("/api/v1/products", &strict).ok();
    let easy = http.create_device("pk-tls", "dk-easy");
    let strict = http.create_device("pk-strict", "dk-strict");

    // Without a certificate of its own: fine for one product, refused by the other, there and on the plain port.
    assert_eq!(post(&server, &easy, &[&file("ca.pem")]), Ok(json!({"1": 200, "2": 200})));
    let before = refused(&server);
    assert!(post(&server, &strict, &[&file("ca.pem")]).is_err());
    let plain = Mqtt::connect(server.mqtt, &Connect::new(strict.login())).unwrap();
    assert!(plain.is_err(), "a product that demands certificates is refused on the plain port");
    assert!(refused(&server) >= before + 2.0);
    // With one: fine.
    let with = [file("ca.pem"), file("device.pem"), file("device.key")];
    let with: Vec<&str> = with.iter().map(String::as_str).collect();
    assert_eq!(post(&server, &strict, &with), Ok(json!({"1": 200, "2": 200})));
    // One of another authority: no.
    let foreign = [file("ca.pem"), file("foreign.pem"), file("foreign.key")];
    let foreign: Vec<&str> = foreign.iter().map(String::as_str).collect();
    assert!(post(&server, &strict, &foreign).is_err());
    // A client that does not trust the server's authority goes away by itself, and nobody notices.
    assert!(post(&server, &easy, &[&file("foreign.pem")]).is_err());
    assert_eq!(http.sql_number("SELECT sum(p0) FROM tls"), 2.0 * 30.75);
}

fn refused(server: &Server) -> f64 {
    Metrics::read(&server.http()).sum("wattline_mqtt_connections_refused_total", "certificate")
}

/// What the paho client got, with the certificate files given.
fn post(server: &Server, device: &Device, files: &[&str]) -> Result<Value, String> {
    let port = server.mqtt_tls.expect("a TLS listener").port().to_string();
    let time = BASE_MS.to_string();
    let Device { product_key, device_key, secret, .. } = device;
    let mut args = vec!["localhost", &port, product_key, device_key, secret, &time, "4", "sha256"];
    args.extend(files);
    python::try_run("paho_post.py", &args).map(|out| serde_json::from_str(&out).unwrap())
}

/// An authority, a server's and a device's certificate of it, and one of a stranger.
pub(crate) fn make_certificates(dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let self_signed = |name: &str| {
        let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let mut args = vec!["req", "-x509", "-subj", &subject, "-keyout", &key, "-out", &cert];
        args.extend(new_key);
        openssl(dir, &args);
    };
    self_signed("ca");
    self_signed("foreign");
    std::fs::write(dir.join("san"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    for (name, subject) in [("server", "/CN=localhost"), ("device", "/CN=dk-strict")] {
        let (key, request, cert) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let mut args = vec!["req", "-new", "-subj", subject, "-keyout", &key, "-out", &request];
        args.extend(&new_key[..5]);
        openssl(dir, &args);
        openssl(
            dir,
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                "san",
                "-out",
                &cert,
            ],
        );
    }
}

fn openssl(dir: &Path, args: &[&str]) {
    let output =
        Command::new("openssl").current_dir(dir).args(args).stdin(Stdio::null()).output().expect("openssl");
    assert!(output.status.success(), "openssl {args:?}\n{}", String::from_utf8_lossy(&output.stderr));
}
