//! The MQTT endpoint: 3.1.1 and 5, QoS 0 and 1, the device protocol on top.
//!
//! Owns: connections from accept to close, logins, topics, acknowledgements. Does not own: what messages mean
//! ([`crate::decode::enos`]), durability (`storage`), certificates on disk (`server`).
//!
//! One task a connection, in one circle: *read what is there → decode every whole packet of it into one batch →
//! `write(batch).await` → send the acknowledgements of all of them at once*. While it waits for the store it does not
//! read, so a slow store stops its clients by TCP, and memory stays what one buffer and one batch take.
//!
//! Reading order: [`serve`] (accept) → `connection` (the circle) → `login` → `session` (packets) → `topics`,
//! `answer`, `packet`, `sessions`, `subscribe`, `combine`, [`tls`].

mod answer;
mod combine;
mod connection;
mod events;
mod login;
mod packet;
mod session;
mod sessions;
mod subscribe;
pub mod tls;
mod topics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::counters::{Refused, add};
use crate::error::{Error, ErrorKind};
use crate::ingestor::Ingestor;
pub(crate) use sessions::{Limiter, Sessions};

/// A bound socket, with TLS or without.
pub struct MqttListener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl MqttListener {
    /// Plain TCP.
    pub fn plain(socket: TcpListener) -> MqttListener {
        MqttListener { socket, tls: None }
    }

    /// TLS; see [`tls::server_config`].
    pub fn tls(socket: TcpListener, config: Arc<ServerConfig>) -> MqttListener {
        MqttListener { socket, tls: Some(TlsAcceptor::from(config)) }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Kind `Io`, where the operating system does not tell.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.socket
            .local_addr()
            .map_err(|e| Error::new(ErrorKind::Io, format!("address of the listener: {e}")))
    }
}

/// What the operator decides about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MqttSettings {
    /// Connections open at once, over all listeners.
    pub connections_max: usize,
    /// How long a client may take from TCP to CONNECT, TLS included.
    pub connect_timeout: Duration,
    /// How long a client may leave its answers unread before it is dropped.
    pub write_timeout: Duration,
    /// How long a client that asked for no keep-alive may be silent.
    pub idle_timeout: Duration,
    /// How long a stop waits for messages that are being written.
    pub shutdown_timeout: Duration,
    /// Memory for messages that are larger than a read buffer, over all connections of a listener; who finds none
    /// left waits with reading.
    pub large_message_bytes: usize,
    /// Whether the documented limits on logins hold: one a second, and a lock of five minutes after four reconnects
    /// in two. Off by default: they protect a shared cloud, and punish a plant behind a bad line.
    pub login_limits: bool,
}

impl Default for MqttSettings {
    fn default() -> MqttSettings {
        MqttSettings {
            connections_max: 20_000,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3_600),
            shutdown_timeout: Duration::from_secs(10),
            large_message_bytes: 64 << 20,
            login_limits: false,
        }
    }
}

/// How long accepting rests after the operating system refused, for example for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What the connections of a listener share.
pub(crate) struct Endpoint {
    ingestor: Ingestor,
    settings: MqttSettings,
    /// Kibibytes for messages larger than a read buffer.
    large: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Serves one listener until `shutdown` is cancelled. Sessions, login limits and the limit on connections are shared
/// by all listeners of one [`Ingestor`].
///
/// # Errors
/// None at present: trouble with one connection ends that connection, trouble with accepting is waited out.
pub async fn serve(
    listener: MqttListener,
    ingestor: Ingestor,
    settings: MqttSettings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    if settings.login_limits {
        ingestor.limiter().turn_on();
    }
    let large = Semaphore::new((settings.large_message_bytes / 1024).clamp(1024, Semaphore::MAX_PERMITS));
    let large = Arc::new(large);
    let endpoint = Arc::new(Endpoint { ingestor, settings, large, shutdown: shutdown.clone() });
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(e) = done {
                    tracing::error!(error = %e, "a connection task failed");
                }
            }
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, peer)) => accept(&mut tasks, &endpoint, stream, peer, listener.tls.clone()),
                Err(e) => {
                    add(&endpoint.ingestor.count().accept_errors, 1);
                    tracing::warn!(error = %e, "accepting a connection failed");
                    sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(endpoint.settings.shutdown_timeout, all).await.is_err() {
        tracing::warn!("connections did not end in time and were cut");
    }
    Ok(())
}

/// Counts a connection while it lives.
struct Counted(Arc<Endpoint>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.ingestor.count().connections.fetch_sub(1, Relaxed);
    }
}

fn accept(
    tasks: &mut JoinSet<()>,
    endpoint: &Arc<Endpoint>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
) {
    let counters = endpoint.ingestor.count();
    add(&counters.accepted, 1);
    let open = counters.connections.fetch_add(1, Relaxed);
    let counted = Counted(Arc::clone(endpoint));
    if open >= endpoint.settings.connections_max as u64 {
        counters.refused(Refused::Full);
        return;
    }
    // Answers are small and written in one piece: waiting to fill a segment would only delay them.
    if let Err(e) = stream.set_nodelay(true) {
        tracing::debug!(%peer, error = %e, "TCP_NODELAY refused");
    }
    tasks.spawn(async move {
        let endpoint = &counted.0;
        match tls {
            None => connection::run(endpoint, stream, false, peer).await,
            Some(acceptor) => match timeout(endpoint.settings.connect_timeout, acceptor.accept(stream)).await
            {
                Ok(Ok(stream)) => {
                    let has_certificate =
                        stream.get_ref().1.peer_certificates().is_some_and(|c| !c.is_empty());
                    Box::pin(connection::run(endpoint, stream, has_certificate, peer)).await;
                }
                Ok(Err(e)) => {
                    endpoint.ingestor.count().refused(Refused::Tls);
                    tracing::debug!(%peer, error = %e, "TLS handshake failed");
                }
                Err(_) => endpoint.ingestor.count().refused(Refused::Timeout),
            },
        }
    });
}

/// Takes a stream apart as a connection does, for the fuzzer.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_packets(version_5: bool, mut stream: &[u8]) {
    let version = if version_5 { packet::Version::V5 } else { packet::Version::V311 };
    while let Ok(packet::Frame::Whole(first, body, length)) = packet::frame(stream, 64 * 1_024) {
        if let Ok(publish) = packet::publish(version, first, body) {
            let _ = topics::keys(publish.topic).is_some() || topics::is_filter(publish.topic);
        }
        stream = &stream[length..];
    }
}

#[cfg(test)]
mod tests;
