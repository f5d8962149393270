//! From a socket to a session: TLS, the startup packet, who it is, the first settings.
//!
//! Owns: the login and its rules. Does not own: the arithmetic of passwords (`scram`), what comes after (`session`).
//!
//! Who may come in:
//! * under the name of an account, whoever proves its password, from anywhere;
//! * under any other name, from this machine's own loopback address, without a password, as HTTP has it;
//! * where the listener has TLS, from elsewhere only with it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wattline_query::Caller;

use super::Listener;
use super::backends::Backend;
use super::error::{PgError, state};
use super::frontend::{First, Message};
use super::limits::{LOGIN_BYTES_MAX, WRONG_PASSWORD_PAUSE};
use super::scram::{Exchange, MECHANISM};
use super::session::Session;
use super::settings::{SERVER_VERSION, Settings};
use super::wire::{Gone, Io, Wire};
use crate::audit::origin;

/// The one database.
const DATABASE: &str = "wattline";

/// Names that tools connect to where they are told none.
const OTHER_NAMES: [&str; 2] = ["postgres", "template1"];

/// The first byte of a TLS handshake, which some clients begin without asking.
const TLS_HANDSHAKE: u8 = 0x16;

/// Requests for encryption one client makes at most: TLS and GSSAPI once each, and once more.
const REQUESTS_MAX: usize = 3;

/// Logs a client in; `None` where it wanted something else, which is done.
///
/// # Errors
/// Where it could not; the client has been told, as far as it takes that.
pub async fn log_in(
    listener: &Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
) -> Result<Option<Session>, Gone> {
    let Some((mut wire, parameters)) = first_packets(listener, stream, peer).await? else {
        return Ok(None);
    };
    let refused = match settle(listener, &mut wire, peer, parameters).await {
        Ok((backend, caller, settings)) => {
            return Ok(Some(Session {
                listener: Arc::clone(listener),
                wire,
                backend,
                caller,
                settings,
                transaction: super::backend::Transaction::Idle,
                statements: std::collections::HashMap::new(),
                portals: std::collections::HashMap::new(),
                shutdown,
            }));
        }
        Err(Refusal::Gone(gone)) => return Err(gone),
        Err(Refusal::Told(error)) => error,
    };
    listener.metrics.failed(refused.state);
    tracing::info!(%peer, reason = %refused, "PostgreSQL login refused");
    wire.out.error(&PgError { fatal: true, ..refused });
    wire.flush().await?;
    wire.end().await;
    Ok(None)
}

enum Refusal {
    Told(PgError),
    Gone(Gone),
}

impl From<PgError> for Refusal {
    fn from(error: PgError) -> Refusal {
        Refusal::Told(error)
    }
}

impl From<Gone> for Refusal {
    fn from(gone: Gone) -> Refusal {
        Refusal::Gone(gone)
    }
}

/// Startup parameters, names and values.
type Parameters = Vec<(String, String)>;

/// Encryption where it is asked for, then the startup packet.
async fn first_packets(
    listener: &Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<Option<(Wire, Parameters)>, Gone> {
    let mut byte = [0];
    if stream.peek(&mut byte).await? == 0 {
        return Err(Gone::Left);
    }
    let plain: Pin<Box<dyn Io>> = Box::pin(stream);
    let mut wire = Wire::new(plain, BytesMut::new(), listener.settings.write_timeout);
    let mut encrypted = false;
    if byte[0] == TLS_HANDSHAKE {
        let Some(tls) = &listener.tls else { return Err(Gone::Malformed("TLS where there is none")) };
        wire = encrypt(wire, tls, listener.settings.write_timeout).await?;
        encrypted = true;
    }
    for _ in 0..=REQUESTS_MAX {
        match wire.first().await? {
            First::Gss => wire.byte(b'N').await?,
            First::Tls => match &listener.tls {
                Some(tls) if !encrypted => {
                    wire.byte(b'S').await?;
                    wire = encrypt(wire, tls, listener.settings.write_timeout).await?;
                    encrypted = true;
                }
                _ => wire.byte(b'N').await?,
            },
            First::Cancel { pid, secret } => {
                listener.backends.cancel(pid, &secret);
                wire.end().await;
                return Ok(None);
            }
            First::Startup { minor, parameters } => {
                if listener.tls.is_some() && !encrypted && !peer.ip().to_canonical().is_loopback() {
                    let message = "this server wants TLS from other machines: connect with sslmode=require";
                    wire.out.error(&PgError::fatal(state::INVALID_LOGIN, message));
                    wire.flush().await?;
                    wire.end().await;
                    return Ok(None);
                }
                let (options, parameters): (Vec<_>, Vec<_>) =
                    parameters.into_iter().partition(|(name, _)| name.starts_with("_pq_."));
                if minor > 0 || !options.is_empty() {
                    wire.out.negotiate(options.into_iter().map(|(name, _)| name).collect());
                }
                return Ok(Some((wire, parameters)));
            }
        }
    }
    Err(Gone::Malformed("too many requests for encryption"))
}

async fn encrypt(wire: Wire, tls: &TlsAcceptor, patience: Duration) -> Result<Wire, Gone> {
    let (stream, input) = wire.into_stream();
    // Bytes that came before the handshake could be anybody's: a way to smuggle statements in.
    if !input.is_empty() {
        return Err(Gone::Malformed("bytes before the TLS handshake"));
    }
    let stream = tls.accept(stream).await?;
    Ok(Wire::new(Box::pin(stream), BytesMut::new(), patience))
}

/// Who it is, and with which settings.
async fn settle(
    listener: &Arc<Listener>,
    wire: &mut Wire,
    peer: SocketAddr,
    parameters: Parameters,
) -> Result<(Backend, Caller, Settings), Refusal> {
    let of = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let user = of("user").unwrap_or_default();
    if user.is_empty() || user.len() > 128 {
        return Err(PgError::new(state::INVALID_LOGIN, "the startup packet names no user").into());
    }
    if of("replication").is_some_and(|value| !["", "false", "off", "no", "0"].contains(&value)) {
        return Err(PgError::new(state::UNSUPPORTED, "replication is not served").into());
    }
    let account = authenticate(listener, wire, peer, user).await?;
    let database = of("database").unwrap_or(user);
    if database != DATABASE && database != user && !OTHER_NAMES.contains(&database) {
        let message = format!("database \"{database}\" does not exist");
        return Err(Refusal::Told(
            PgError::new(state::NO_DATABASE, message).hint(format!("there is one: {DATABASE}")),
        ));
    }
    if listener.app.is_stopping() {
        return Err(PgError::new(state::CANNOT_CONNECT, "the server is stopping").into());
    }
    let mut settings = Settings::new(user);
    for (name, value) in &parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value)? {
                    settings.set(&name, Some(&value))?;
                }
            }
            name => drop(settings.set(name, Some(value))?),
        }
    }
    settings.begin();
    let backend = listener.backends.enter().map_err(|e| PgError::new(state::BUG, e.to_string()))?;
    wire.out.logged_in();
    for (name, value) in settings.told() {
        // The product's own version is told as well, for people; programs read the number before it.
        match name {
            "server_version" => {
                let shown = format!("{SERVER_VERSION} (Wattline {})", env!("CARGO_PKG_VERSION"));
                wire.out.parameter(name, &shown);
            }
            _ => wire.out.parameter(name, value),
        }
    }
    wire.out.key(backend.pid, backend.secret);
    tracing::debug!(%peer, user, pid = backend.pid, "PostgreSQL login");
    Ok((backend, Caller { account, wire: "pg", origin: Some(origin(peer.ip())) }, settings))
}

/// The account's name, where it is one.
async fn authenticate(
    listener: &Arc<Listener>,
    wire: &mut Wire,
    peer: SocketAddr,
    user: &str,
) -> Result<Option<Arc<str>>, Refusal> {
    let account = listener.app.registry.account(user);
    if account.is_none() && peer.ip().to_canonical().is_loopback() {
        return Ok(None);
    }
    wire.out.ask_sasl(&[MECHANISM]);
    wire.flush().await?;
    let bytes = password_message(wire).await?;
    let first = initial_response(&bytes)
        .ok_or_else(|| PgError::new(state::PROTOCOL, "a SASL response for SCRAM-SHA-256 is expected"))?;
    let verifier = account.as_ref().map(|account| account.verifier.clone());
    let (exchange, answer) =
        Exchange::begin(first, user, verifier).map_err(|e| PgError::new(state::PROTOCOL, e))?;
    wire.out.sasl_continue(&answer);
    wire.flush().await?;
    let bytes = password_message(wire).await?;
    let last = std::str::from_utf8(&bytes).unwrap_or_default();
    match exchange.finish(last).map_err(|e| PgError::new(state::PROTOCOL, e))? {
        Some(proof) => {
            wire.out.sasl_final(&proof);
            Ok(Some(Arc::from(user)))
        }
        None => {
            listener.app.audit.refused_login(user, "pg", Some(origin(peer.ip())));
            tokio::time::sleep(WRONG_PASSWORD_PAUSE).await;
            let message = format!("password authentication failed for user \"{user}\"");
            Err(PgError::new(state::INVALID_PASSWORD, message).into())
        }
    }
}

async fn password_message(wire: &mut Wire) -> Result<bytes::Bytes, Refusal> {
    match wire.message(LOGIN_BYTES_MAX).await? {
        Ok(Message::Password(bytes)) => Ok(bytes),
        Ok(Message::Terminate) => Err(Gone::Left.into()),
        _ => Err(PgError::new(state::PROTOCOL, "a password message is expected").into()),
    }
}

/// `SCRAM-SHA-256`, zero, length, message.
fn initial_response(bytes: &[u8]) -> Option<&str> {
    let rest = bytes.strip_prefix(MECHANISM.as_bytes())?.strip_prefix(&[0])?;
    let (length, message) = rest.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (length as usize == message.len()).then_some(())?;
    std::str::from_utf8(message).ok()
}

/// Settings of `-c name=value --name=value`, with backslashes before blanks that belong to a value.
fn options(text: &str) -> Result<Vec<(String, String)>, PgError> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut escaped) = (String::new(), false);
    for c in text.chars().chain([' ']) {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            c if c.is_whitespace() && !escaped => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
        escaped = false;
    }
    let mut found = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let pair = match (word.strip_prefix("-c"), word.strip_prefix("--")) {
            (Some(""), _) => words.next().unwrap_or_default(),
            (Some(pair), _) | (None, Some(pair)) => pair.to_owned(),
            (None, None) => String::new(),
        };
        match pair.split_once('=') {
            Some((name, value)) => found.push((name.replace('-', "_"), value.to_owned())),
            None => {
                let message = format!("startup option {word}: only -c name=value is served");
                return Err(PgError::new(state::INVALID_VALUE, message));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_with_their_escapes() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            options(r"-c TimeZone=Europe/Berlin -cstatement_timeout=5s --application-name=a\ b"),
            Ok(vec![
                pair("TimeZone", "Europe/Berlin"),
                pair("statement_timeout", "5s"),
                pair("application_name", "a b")
            ])
        );
        assert_eq!(options("  "), Ok(vec![]));
        assert!(options("-x").is_err() && options("-c").is_err() && options("geqo=off").is_err());
    }

    #[test]
    fn sasl_responses_are_read() {
        assert_eq!(initial_response(b"SCRAM-SHA-256\0\0\0\0\x03n,,"), Some("n,,"));
        for wrong in
            [&b""[..], b"SCRAM-SHA-1\0\0\0\0\0", b"SCRAM-SHA-256\0\0\0\0\x04n,,", b"SCRAM-SHA-256\0\0\0"]
        {
            assert_eq!(initial_response(wrong), None);
        }
    }
}
