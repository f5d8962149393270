//! PostgreSQL's wire: SQL for the tools that analysts have.
//!
//! Owns: the protocol, version 3, and what a session is. Does not own: what may be said and what comes back (`query`), who
//! has an account (`registry`).
//!
//! One connection: *accept → [`startup`] (TLS, login) → [`session`] (message by message)*; one statement: [`lex`] →
//! [`command`] (the session's own) or [`prepared`] → [`portal`] → [`running`] → [`encode`] ([`values`], [`time`]). Below:
//! [`frontend`] and [`backend`] (bytes), [`wire`] (buffers), [`params`], [`copy`], [`copy_in`], [`settings`], [`scram`], [`backends`],
//! [`metrics`], [`limits`], [`error`].
//!
//! Statements run on threads of their own; a connection's task only moves bytes. An idle connection is that task, a socket
//! and a few hundred bytes.

pub mod backend;
pub mod backends;
pub mod command;
pub mod copy;
pub mod copy_in;
pub mod encode;
pub mod error;
pub mod frontend;
pub mod lex;
pub mod limits;
pub mod metrics;
pub mod params;
pub mod portal;
pub mod prepared;
pub mod running;
pub mod scram;
pub mod session;
pub mod settings;
pub mod startup;
pub mod time;
pub mod values;
pub mod wire;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backends::Backends;
use self::error::{PgError, state};
use self::limits::{FAREWELL_TIMEOUT, LOGIN_TIMEOUT};
use self::metrics::Metrics;
use self::wire::{Gone, Wire};
use crate::config::PgSettings;
use crate::http::App;

/// How long to wait after an accept failed (out of file descriptors, mostly): others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the connections of a listener share.
pub struct Listener {
    /// The rest of the server.
    pub app: Arc<App>,
    /// TLS, where it is there.
    pub tls: Option<TlsAcceptor>,
    /// Limits and patience.
    pub settings: PgSettings,
    /// The connections there are.
    pub backends: Arc<Backends>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// Serves `socket` until `shutdown`, then until every connection ended: each ends its statement first. The caller bounds
/// that.
pub async fn serve(
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
    settings: PgSettings,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(settings.connections_max));
    let connections = TaskTracker::new();
    let metrics = Arc::clone(&app.pg);
    let listener = Arc::new(Listener { app, tls, settings, backends: Arc::default(), metrics });
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "PostgreSQL connection not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Clients do not wait to be accepted as those of HTTP do: they are told.
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            listener.metrics.refused();
            connections.spawn(turn_away(stream));
            continue;
        };
        let (listener, shutdown) = (Arc::clone(&listener), shutdown.clone());
        connections.spawn(async move {
            let served = AssertUnwindSafe(connection(&listener, stream, peer, shutdown)).catch_unwind().await;
            match served {
                Ok(Ok(())) => {}
                Ok(Err(gone)) => tracing::debug!(%peer, ?gone, "PostgreSQL connection ended"),
                // The panic hook has logged message and place.
                Err(_) => tracing::error!(%peer, "PostgreSQL connection ended in a panic"),
            }
            drop(permit);
        });
    }
    drop(socket);
    connections.close();
    connections.wait().await;
}

async fn connection(
    listener: &Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
) -> Result<(), Gone> {
    let _open = listener.metrics.open();
    // Answers are written whole; waiting to fill a packet would only delay them.
    stream.set_nodelay(true)?;
    let login = Box::pin(startup::log_in(listener, stream, peer, shutdown));
    let session = match timeout(LOGIN_TIMEOUT, login).await {
        Ok(session) => session?,
        Err(_) => return Err(Gone::Slow),
    };
    let Some(mut session) = session.map(Box::new) else { return Ok(()) };
    let served = Box::pin(session.serve()).await;
    if let Err(Gone::Malformed(what)) = served {
        let error = PgError::fatal(state::PROTOCOL, what);
        listener.metrics.failed(error.state);
        session.wire.out.error(&error);
        let _ = timeout(FAREWELL_TIMEOUT, session.wire.flush()).await;
    }
    let _ = timeout(FAREWELL_TIMEOUT, session.wire.end()).await;
    served
}

/// Tells one connection too many so, once it has said anything.
async fn turn_away(stream: TcpStream) {
    let mut wire = Wire::new(Box::pin(stream), BytesMut::new(), FAREWELL_TIMEOUT);
    let told = async {
        loop {
            match wire.first().await? {
                frontend::First::Tls | frontend::First::Gss => wire.byte(b'N').await?,
                frontend::First::Cancel { .. } => return Ok::<(), Gone>(()),
                frontend::First::Startup { .. } => break,
            }
        }
        let message = "sorry, too many clients already";
        wire.out
            .error(&PgError::fatal(state::TOO_MANY_CONNECTIONS, message).hint("setting pg.connections_max"));
        wire.flush().await?;
        wire.end().await;
        Ok(())
    };
    let _ = timeout(FAREWELL_TIMEOUT, told).await;
}
