//! One connection, from CONNECT to the end.
//!
//! Owns: the socket, its buffers, every wait and its bound. Does not own: what packets mean (`session`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Endpoint;
use super::login::{Claim, Denial, Login, Verdict, decide};
use super::packet::{self, Frame, Version, kind, reason};
use super::session::{End, Session, Turn};
use crate::counters::{Closed, Refused, TopicKind, add};
use crate::decode::enos::Upload;
use crate::downlink::Outgoing;
use crate::limits::{
    CONNECT_BYTES_MAX, MAILBOX_MESSAGES_MAX, PACKET_BYTES_MAX, READ_BUFFER_BUSY_BYTES, READ_BUFFER_IDLE_BYTES,
};

/// How long a connection may be quiet before it gives back the buffers of busier times.
const QUIET: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(super) async fn run<S>(endpoint: &Arc<Endpoint>, stream: S, has_certificate: bool, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let input = BytesMut::with_capacity(READ_BUFFER_IDLE_BYTES);
    let endpoint_of_link = Arc::clone(endpoint);
    let mut link =
        Link { endpoint: endpoint_of_link, stream, input, output: Vec::new(), grow: 0, large: None };
    let connect = timeout(endpoint.settings.connect_timeout, link.read_connect());
    let connect = tokio::select! {
        connect = connect => connect,
        () = endpoint.shutdown.cancelled() => return,
    };
    let connect = match connect {
        Ok(Ok(connect)) => connect,
        Ok(Err(refused)) => return endpoint.ingestor.count().refused(refused),
        Err(_) => return endpoint.ingestor.count().refused(Refused::Timeout),
    };
    match log_in(endpoint, &connect, has_certificate).await {
        Err(denial) => {
            endpoint.ingestor.count().refused(denial.why);
            tracing::info!(%peer, reason = denial.why.label(), "login refused: {}", denial.text());
            let version = connect.version;
            packet::put_connack(&mut link.output, version, denial.connack(version), 0, &denial.text());
            // The connection ends either way.
            let _ = link.send().await;
        }
        Ok(login) => link.serve(login, connect, peer).await,
    }
}

/// What a CONNECT says, in our words.
struct Connect {
    version: Version,
    client_id: String,
    username: Option<String>,
    password: Option<Vec<u8>>,
    keep_alive: u16,
    wants_reasons: bool,
    packet_max: usize,
}

/// Decides over the login and registers what it says to register.
async fn log_in(endpoint: &Arc<Endpoint>, connect: &Connect, has_certificate: bool) -> Result<Login, Denial> {
    let ingestor = &endpoint.ingestor;
    let claim = Claim {
        client_id: &connect.client_id,
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
        has_certificate,
    };
    let failed = |e: &dyn std::fmt::Display| {
        tracing::error!(error = %e, "the registry failed at a login");
        Denial::new(Refused::Registry, None, "the registry failed; try again later")
    };
    let verdict = decide(ingestor, ingestor.limiter(), &claim)?;
    let ingestor = ingestor.clone();
    // Durable changes wait for the disk: not on a thread that serves sockets.
    let task = match verdict {
        Verdict::Known(login) if login.device.active => return Ok(login),
        Verdict::Known(login) => tokio::task::spawn_blocking(move || {
            ingestor.registry().activate(login.device.asset).map(|()| login)
        }),
        Verdict::Register { product, device_key, secret, activation } => {
            tokio::task::spawn_blocking(move || {
                let device = ingestor.register_device(&product, &device_key, secret)?;
                ingestor.registry().activate(device.asset)?;
                Ok(Login { device, product, activation })
            })
        }
    };
    match task.await {
        Ok(Ok(login)) => Ok(login),
        Ok(Err(e)) => Err(failed(&e)),
        Err(e) => Err(failed(&e)),
    }
}

/// A socket and its buffers.
struct Link<S> {
    endpoint: Arc<Endpoint>,
    stream: S,
    input: BytesMut,
    output: Vec<u8>,
    /// Bytes of room the next read should have, while traffic justifies more than the idle size.
    grow: usize,
    /// The part of the common budget that a large packet holds.
    large: Option<OwnedSemaphorePermit>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Reads the first packet, which must be a CONNECT.
    async fn read_connect(&mut self) -> Result<Connect, Refused> {
        loop {
            match packet::frame(&self.input, CONNECT_BYTES_MAX).map_err(|_| Refused::Protocol)? {
                Frame::Whole(first, body, length) if first == kind::CONNECT << 4 => {
                    let connect = decode_connect(body);
                    self.input.advance(length);
                    if let Err(Some(version)) = connect {
                        // Whatever version it is, this is how 3.1.1 says "not that one", and every client knows it.
                        packet::put_connack(&mut self.output, Version::V311, version, 0, "");
                        let _ = self.send().await;
                    }
                    return connect.map_err(|_| Refused::Protocol);
                }
                Frame::Partial(_) if self.input.first().is_none_or(|b| b >> 4 == kind::CONNECT) => {}
                _ => return Err(Refused::Protocol),
            }
            if self.read().await.is_err() {
                return Err(Refused::Protocol);
            }
        }
    }

    /// Serves a logged-in client to its end.
    async fn serve(mut self, login: Login, connect: Connect, peer: SocketAddr) {
        let endpoint = Arc::clone(&self.endpoint);
        let asset = login.device.asset;
        let end = endpoint.shutdown.child_token();
        let (mailbox, mut outgoing) = mpsc::channel(MAILBOX_MESSAGES_MAX);
        let session = Session::new(Arc::clone(&endpoint), connect.version, login, mailbox);
        let Some(mut session) = session else {
            return endpoint.ingestor.count().refused(Refused::Registry);
        };
        session.wants_reasons = connect.wants_reasons;
        session.packet_max = connect.packet_max;
        let keep_alive = match connect.keep_alive {
            0 => endpoint.settings.idle_timeout,
            s => Duration::from_millis(u64::from(s) * 1_500),
        };
        // An activation is a visit, not the device's session: it must not end the real one.
        let number =
            (!session.is_activation()).then(|| endpoint.ingestor.sessions().begin(asset, end.clone()));
        // Shut out between login and here: whoever did it may have found no session to end.
        if session.is_shut_out() {
            end.cancel();
        }
        if matches!(number, Some((_, true))) {
            add(&endpoint.ingestor.count().takeovers, 1);
        }
        add(&endpoint.ingestor.count().logins, 1);
        packet::put_connack(&mut self.output, connect.version, reason::SUCCESS, PACKET_BYTES_MAX, "");
        session.put_activation(&mut self.output);
        drop(connect);
        session.reach_all();
        let over = self.circle(&mut session, &mut outgoing, keep_alive, &end).await;
        session.lose_all();
        if let Some((number, _)) = number {
            endpoint.ingestor.sessions().end(asset, number);
        }
        endpoint.ingestor.count().closed(over.closed);
        let device = session.name();
        tracing::debug!(%peer, device, reason = over.closed.label(), "connection closed: {}", over.text);
        let farewell = !matches!(over.closed, Closed::Goodbye | Closed::Gone | Closed::NotReading);
        if farewell {
            self.output.clear();
            packet::put_disconnect(&mut self.output, session.version, over.reason, &over.text);
            let _ = self.send().await;
        }
        let _ = timeout(endpoint.settings.write_timeout, self.stream.shutdown()).await;
    }

    /// Reads, writes, answers; again and again.
    async fn circle(
        &mut self,
        session: &mut Session,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        keep_alive: Duration,
        end: &CancellationToken,
    ) -> End {
        let mut heard = Instant::now();
        let ended = end.cancelled();
        let clock = tokio::time::sleep(keep_alive);
        tokio::pin!(ended, clock);
        loop {
            if self.send().await.is_err() {
                return End::new(Closed::NotReading, reason::UNSPECIFIED, "answers were not read");
            }
            let turn = session.take(&self.input, &mut self.output);
            self.input.advance(turn.taken);
            let (again, partial) = (turn.taken > 0 || turn.is_to_register(), turn.partial);
            if let Some(over) = self.settle(session, turn).await {
                return over;
            }
            if again {
                // Waiting for the store was our silence, not the client's.
                heard = Instant::now();
                continue;
            }
            tokio::select! {
                () = self.reserve(partial) => {}
                () = &mut ended => return self.ended(session),
            }
            loop {
                tokio::select! {
                    biased;
                    () = &mut ended => return self.ended(session),
                    read = self.stream.read_buf(&mut self.input) => match read {
                        Ok(0) | Err(_) => return End::new(Closed::Gone, reason::SUCCESS, ""),
                        Ok(n) => {
                            heard = Instant::now();
                            self.note(n);
                            break;
                        }
                    },
                    // The session holds a sender, so this never ends.
                    Some(message) = outgoing.recv() => {
                        session.put_outgoing(message, &mut self.output);
                        if self.send().await.is_err() {
                            return End::new(Closed::NotReading, reason::UNSPECIFIED, "commands were not read");
                        }
                    }
                    () = &mut clock => {
                        let silent = heard.elapsed();
                        if silent >= keep_alive {
                            return End::new(Closed::Idle, reason::KEEP_ALIVE, "nothing came in time");
                        }
                        let soon = silent < QUIET && self.is_bulky();
                        if silent >= QUIET {
                            self.shrink();
                            session.shrink();
                        }
                        clock.as_mut().reset(heard + if soon { QUIET } else { keep_alive });
                    }
                }
            }
            // The buffers of a busy time are looked after sooner than the keep-alive would.
            if self.is_bulky() && clock.deadline() > heard + 2 * QUIET {
                clock.as_mut().reset(heard + QUIET);
            }
        }
    }

    /// Makes what a turn came to durable; only then may its answers go.
    async fn settle(&mut self, session: &mut Session, turn: Turn) -> Option<End> {
        let ingestor = self.endpoint.ingestor.clone();
        if !turn.rows.is_empty()
            && let Err(e) = ingestor.write(turn.rows.finish()).await
        {
            // Nothing of this turn is acknowledged: the client sends it again, to whoever answers then.
            self.output.clear();
            tracing::warn!(error = %e, "the store refused a batch; a connection is closed unacknowledged");
            return Some(End::new(Closed::Store, reason::BUSY, "the message could not be stored"));
        }
        for (upload, &n) in Upload::ALL.into_iter().zip(&turn.accepted) {
            if n > 0 {
                ingestor.count().accepted(TopicKind::Upload(upload), n);
            }
        }
        ingestor.count().accepted(TopicKind::Event, turn.events);
        if let Some(new) = turn.new_event {
            session.points_tried = true;
            let ingestor = ingestor.clone();
            match tokio::task::spawn_blocking(move || ingestor.register_event(&new)).await {
                Ok(Ok(())) => {}
                // The message is decoded again, and then refused.
                Ok(Err(e)) => tracing::info!(error = %e, "an event's name was not registered"),
                Err(e) => tracing::error!(error = %e, "registering an event's name failed"),
            }
        }
        if !turn.missing.is_empty() {
            session.points_tried = true;
            let task = tokio::task::spawn_blocking(move || ingestor.register_points(turn.missing));
            match task.await {
                Ok(Ok(())) => {}
                // The message is decoded again, and then refused for its unknown points.
                Ok(Err(e)) => tracing::info!(error = %e, "points were not registered"),
                Err(e) => tracing::error!(error = %e, "registering points failed"),
            }
        }
        if turn.end.is_some() && self.send().await.is_err() {
            return Some(End::new(Closed::NotReading, reason::UNSPECIFIED, "answers were not read"));
        }
        turn.end
    }

    fn ended(&self, session: &Session) -> End {
        if session.is_shut_out() {
            super::session::shut_out()
        } else if self.endpoint.shutdown.is_cancelled() {
            End::new(Closed::Shutdown, reason::SHUTTING_DOWN, "the server stops")
        } else {
            End::new(Closed::TakenOver, reason::TAKEN_OVER, "the device logged in again")
        }
    }

    /// Sends what is in the output buffer, all of it or not in time.
    async fn send(&mut self) -> Result<(), ()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sent = timeout(self.endpoint.settings.write_timeout, async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        });
        let sent = sent.await;
        add(&self.endpoint.ingestor.count().bytes_sent, self.output.len() as u64);
        self.output.clear();
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(()),
        }
    }

    async fn read(&mut self) -> Result<(), ()> {
        self.input.reserve(READ_BUFFER_IDLE_BYTES / 2);
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(()),
            Ok(n) => {
                self.note(n);
                Ok(())
            }
        }
    }

    fn note(&mut self, read: usize) {
        add(&self.endpoint.ingestor.count().bytes_received, read as u64);
        if self.input.len() == self.input.capacity() {
            self.grow = READ_BUFFER_BUSY_BYTES;
        }
    }

    /// Makes room for the next read. A packet larger than a read buffer first gets its bytes from the common budget,
    /// all of them at once, so that whoever has begun can finish; until then it is not read.
    async fn reserve(&mut self, partial: Option<usize>) {
        let missing = partial.map_or(0, |length| length.saturating_sub(self.input.len()));
        if missing <= READ_BUFFER_BUSY_BYTES {
            self.large = None;
            if self.input.is_empty() && self.input.capacity() > 2 * READ_BUFFER_BUSY_BYTES {
                self.input = BytesMut::new();
            }
        } else if self.large.is_none() {
            let kibibytes = u32::try_from(missing.div_ceil(1024)).unwrap_or(u32::MAX);
            // Fails only where the semaphore is closed, and nobody closes it.
            self.large = Arc::clone(&self.endpoint.large).acquire_many_owned(kibibytes).await.ok();
        }
        // Room follows what has come, not what was announced: an announcement alone costs nothing.
        let room = READ_BUFFER_IDLE_BYTES.max(self.grow);
        self.input.reserve(missing.min(self.input.len()).max(room / 2));
    }

    fn is_bulky(&self) -> bool {
        self.grow > 0 || self.input.capacity() > 2 * READ_BUFFER_IDLE_BYTES || self.output.capacity() > 4_096
    }

    fn shrink(&mut self) {
        self.grow = 0;
        if self.input.is_empty() {
            self.input = BytesMut::with_capacity(READ_BUFFER_IDLE_BYTES);
        }
        self.output = Vec::new();
    }
}

/// Reads a CONNECT. `Err(Some)`: answer with this return code of 3.1.1, then close.
fn decode_connect(body: &[u8]) -> Result<Connect, Option<u8>> {
    use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};
    match body.get(..7) {
        Some(b"\x00\x04MQTT\x04") => {
            let (packet, _) = v3_1_1::Connect::parse(body).map_err(|_| None)?;
            Ok(Connect {
                version: Version::V311,
                client_id: packet.client_id().to_owned(),
                username: packet.user_name().map(str::to_owned),
                password: packet.password().map(<[u8]>::to_vec),
                keep_alive: packet.keep_alive(),
                wants_reasons: false,
                packet_max: usize::MAX,
            })
        }
        Some(b"\x00\x04MQTT\x05") => {
            let (packet, _) = v5_0::Connect::parse(body).map_err(|_| None)?;
            let mut connect = Connect {
                version: Version::V5,
                client_id: packet.client_id().to_owned(),
                username: packet.user_name().map(str::to_owned),
                password: packet.password().map(<[u8]>::to_vec),
                keep_alive: packet.keep_alive(),
                wants_reasons: true,
                packet_max: usize::MAX,
            };
            for property in packet.props() {
                match property {
                    Property::RequestProblemInformation(p) => connect.wants_reasons = p.val() != 0,
                    Property::MaximumPacketSize(p) => connect.packet_max = p.val() as usize,
                    _ => {}
                }
            }
            Ok(connect)
        }
        // "Unacceptable protocol version" of 3.1.1.
        Some(_) => Err(Some(1)),
        None => Err(None),
    }
}

#[cfg(test)]
mod tests;
