//! A connection to a running server: HTTP or HTTPS, one request at a time.
//!
//! Owns: the flags that name a server, requests, refusals read back. Does not own: what is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::{Error, ErrorKind, Result};

/// Patience for a connection: a server on the same network answers in milliseconds.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Bytes of an answer that is held as a whole: more is no answer for a terminal.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Flags that name a server.
#[derive(clap::Args, Clone, Debug)]
pub struct ServerArgs {
    /// Address of the server
    #[arg(long, env = "WATTLINE_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub server: String,
    /// Token of the server, where it wants one (http.token)
    #[arg(long, env = "WATTLINE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Authorities of the server's certificate, for https
    #[arg(long, env = "WATTLINE_CA", value_name = "PEM")]
    pub ca: Option<PathBuf>,
}

/// What a server refused, as it said it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// Line and column in the statement, from 1.
    pub position: Option<(usize, usize)>,
}

impl Refusal {
    /// The refusal in `error`, the member of a JSON answer.
    pub fn from_json(error: &Value) -> Refusal {
        let number = |name: &str| error[name].as_u64().map(|n| n as usize);
        Refusal {
            message: error["message"].as_str().unwrap_or("no reason given").to_owned(),
            position: number("line").zip(number("column")),
        }
    }
}

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    host: String,
    port: u16,
    authority: String,
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
}

impl Client {
    /// A client of the server `args` name; connects with each request.
    ///
    /// # Errors
    /// Where the address or the authorities are not understood.
    pub fn new(args: &ServerArgs) -> Result<Client> {
        let refuse = |why: &str| Error::usage(format!("--server {:?} {why}", args.server));
        let uri: Uri = args.server.parse().map_err(|_| refuse("is no URL"))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(refuse("has a path; only http://HOST:PORT is wanted"));
        }
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(client_config(args)?),
            _ => return Err(refuse("is neither http://HOST:PORT nor https://HOST:PORT")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("has no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Client { host, port, authority: authority.to_string(), tls, token: args.token.clone() })
    }

    /// Sends a request; the answer's head is there, its body still comes. Dropping the future or the answer ends the
    /// connection, and the server ends what it was doing for it.
    ///
    /// # Errors
    /// `Unreachable` where there is no server or it breaks off.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        types: (&str, &str),
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let unreachable = |e: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Unreachable,
                format!("no answer from the server at {}: {e}", self.authority),
            )
        };
        let (content_type, accept) = types;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, content_type);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|e| Error::usage(format!("{path:?}: {e}")))?;
        let connect = timeout(CONNECT_WAIT, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream =
            connect.map_err(|_| unreachable(&"no connection in time"))?.map_err(|e| unreachable(&e))?;
        stream.set_nodelay(true).map_err(|e| unreachable(&e))?;
        match &self.tls {
            None => exchange(stream, request).await.map_err(|e| unreachable(&e)),
            Some(config) => {
                let name = ServerName::try_from(self.host.clone())
                    .map_err(|e| Error::usage(format!("--server: {:?}: {e}", self.host)))?;
                let shaken =
                    timeout(CONNECT_WAIT, TlsConnector::from(Arc::clone(config)).connect(name, stream)).await;
                let stream =
                    shaken.map_err(|_| unreachable(&"no TLS in time"))?.map_err(|e| unreachable(&e))?;
                exchange(stream, request).await.map_err(|e| unreachable(&e))
            }
        }
    }

    /// Sends JSON, or nothing, and reads JSON; blocks.
    ///
    /// # Errors
    /// `Failed` with the server's reason where it refuses, `Interrupted` on Ctrl-C.
    pub fn json(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Value> {
        block_on(async {
            let types = ("application/json", "application/json");
            let response = self.send(method, path, types, body.unwrap_or_default()).await?;
            let success = response.status().is_success();
            let status = response.status();
            let body = whole(response).await?;
            let json: Value = serde_json::from_slice(&body).map_err(|_| {
                Error::failed(format!("the server answered {status} without JSON; is it Wattline?"))
            })?;
            if success { Ok(json) } else { Err(Error::failed(Refusal::from_json(&json["error"]).message)) }
        })?
    }

    /// `GET path`
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn get(&self, path: &str) -> Result<Value> {
        self.json(Method::GET, path, None)
    }
}

/// The whole body of an answer.
///
/// # Errors
/// Where it is too large to hold, or breaks off.
pub async fn whole(response: Response<Incoming>) -> Result<Bytes> {
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Error::failed(format!(
            "the answer is larger than {} MiB: ask for less, or for --format csv",
            ANSWER_BYTES_MAX >> 20
        ))),
        Err(error) => Err(Error::new(ErrorKind::Unreachable, format!("the answer broke off: {error}"))),
    }
}

/// Runs `future` to its end on this thread, or to Ctrl-C.
///
/// # Errors
/// `Interrupted` on Ctrl-C.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::failed(format!("threads: {e}")))?;
    runtime.block_on(async {
        tokio::select! {
            value = future => Ok(value),
            _ = tokio::signal::ctrl_c() => Err(Error::new(ErrorKind::Interrupted, "interrupted")),
        }
    })
}

/// `text` as one segment of a path.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its error comes with the request or the body.
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await
}

fn client_config(args: &ServerArgs) -> Result<Arc<ClientConfig>> {
    let Some(path) = &args.ca else {
        return Err(Error::usage("https wants --ca FILE: the authorities of the server's certificate"));
    };
    let wrong = |e: &dyn std::fmt::Display| Error::usage(format!("--ca {}: {e}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))? {
        roots.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| Error::failed(format!("TLS versions: {e}")))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
