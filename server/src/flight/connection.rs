//! Connections: accepted within a limit, given TLS where wanted, served, and ended in good order.
//!
//! Owns: handshakes, the patience of HTTP/2, limits on messages and streams. Does not own: what a call means
//! (`service`).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::metrics::Open;
use super::service::Service;
use crate::config::FlightSettings;
use crate::error::{Error, Result};
use crate::http::App;
use crate::http::connection::next;

/// How long a TLS handshake may take: as long as HTTP lets it by default.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a silent client is asked whether it is there, and how long it may take to say so. One that vanished
/// without a word is found out after both, and its statements end.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Calls at a time on one connection: drivers use one for each statement.
const STREAMS_MAX: u32 = 128;

/// Bytes of a call's headers.
const HEADER_BYTES_MAX: u32 = 16 * 1_024;

/// Bytes that may be under way to us on one stream and on one connection: a batch or two, so that bulk writes do not
/// wait for the line.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Connections past their handshake that wait to be served.
const READY_MAX: usize = 16;

/// Serves Flight SQL on `listener` until `stop`, then until every call ended. The caller bounds the latter.
///
/// # Errors
/// Where the listener cannot go on.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
    settings: FlightSettings,
    stop: CancellationToken,
) -> Result<()> {
    let service = FlightServiceServer::new(Service::new(Arc::clone(&app), settings.clone())?)
        .max_decoding_message_size(settings.batch_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let (sender, receiver) = mpsc::channel(READY_MAX);
    let accepting = tokio::spawn(accept(listener, tls, app, settings.connections_max, stop.clone(), sender));
    let incoming = futures::stream::unfold(receiver, |mut receiver| async {
        let connection: Connection = receiver.recv().await?;
        Some((Ok::<_, io::Error>(connection), receiver))
    });
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    accepting.abort();
    served.map_err(|e| Error::failed(format!("flight listener: {e}")))
}

/// Accepts until `stop`. Handshakes run beside each other, so that a slow one delays nobody.
async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
    connections_max: usize,
    stop: CancellationToken,
    ready: mpsc::Sender<Connection>,
) {
    let room = Arc::new(Semaphore::new(connections_max));
    while let Some((stream, permit)) = next(&listener, &room, &stop).await {
        // A client that is gone already is nobody.
        let Ok(peer) = stream.peer_addr().map(Peer) else { continue };
        let open = Open::new(&app.flight);
        let Some(tls) = tls.clone() else {
            let connection = Connection { io: Box::pin(stream), peer, _permit: permit, _open: open };
            if ready.send(connection).await.is_err() {
                return;
            }
            continue;
        };
        let ready = ready.clone();
        tokio::spawn(async move {
            match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let connection = Connection { io: Box::pin(stream), peer, _permit: permit, _open: open };
                    // Nobody takes it any more where the server stops.
                    let _ = ready.send(connection).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake took too long"),
            }
        });
    }
}

/// Where a call comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection, plain or not, with its place among those allowed.
struct Connection {
    io: Pin<Box<dyn Io>>,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
    _open: Open,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}
