//! The two directions of a connection: messages in, bytes out, both with patience that ends.
//!
//! Owns: the buffers of a connection and when they are given back. Does not own: the layouts (`frontend`, `backend`).
//!
//! An idle connection holds a few hundred bytes: a buffer that grew for a large message or answer is dropped after it.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::backend::Out;
use super::frontend::{First, Malformed, Message, first, message, take_message, take_packet};
use super::limits::{AHEAD_BYTES_MAX, PIECE_BYTES, STARTUP_BYTES_MAX};

/// Bytes a read makes room for at least: most messages are shorter.
const READ_BYTES: usize = 512;

/// A connection's stream, with TLS or without.
pub trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Why there is nobody to talk to any more.
#[derive(Debug)]
pub enum Gone {
    /// The client went.
    Left,
    /// The stream failed.
    Io(io::Error),
    /// The client took nothing for too long.
    Slow,
    /// What it sent is no message, and where the next begins nobody knows.
    Malformed(&'static str),
}

impl From<io::Error> for Gone {
    fn from(error: io::Error) -> Gone {
        Gone::Io(error)
    }
}

impl From<Malformed> for Gone {
    fn from(malformed: Malformed) -> Gone {
        Gone::Malformed(malformed.0)
    }
}

/// Both directions of a connection.
pub struct Wire {
    stream: Pin<Box<dyn Io>>,
    input: BytesMut,
    /// What waits to be written.
    pub out: Out,
    patience: Duration,
}

impl Wire {
    /// Over `stream`, of which `input` was read already; a client may take nothing for `patience`.
    pub fn new(stream: Pin<Box<dyn Io>>, input: BytesMut, patience: Duration) -> Wire {
        Wire { stream, input, out: Out::default(), patience }
    }

    /// The stream, to be wrapped; only before anything was read beyond the last packet.
    pub fn into_stream(self) -> (Pin<Box<dyn Io>>, BytesMut) {
        (self.stream, self.input)
    }

    /// One of the first packets.
    ///
    /// # Errors
    /// Where none comes.
    pub async fn first(&mut self) -> Result<First, Gone> {
        loop {
            if let Some(packet) = take_packet(&mut self.input, STARTUP_BYTES_MAX)? {
                return Ok(first(packet)?);
            }
            self.fill().await?;
        }
    }

    /// The next message, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Where none comes. A message whose frame is good and whose body is not is an inner error, with its kind: the next
    /// one can be read.
    pub async fn message(&mut self, bytes_max: usize) -> Result<Result<Message, (u8, Malformed)>, Gone> {
        loop {
            if let Some((kind, body)) = take_message(&mut self.input, bytes_max)? {
                if self.input.is_empty() && self.input.capacity() > READ_BYTES {
                    self.input = BytesMut::new();
                }
                return Ok(message(kind, body).map_err(|malformed| (kind, malformed)));
            }
            self.fill().await?;
        }
    }

    /// Reads what comes.
    ///
    /// # Errors
    /// Where the client left.
    pub async fn fill(&mut self) -> Result<(), Gone> {
        // Room for as much again: a long message takes few reads, and no more memory than twice what came.
        let room = READ_BYTES.max(self.input.len()).min(1 << 20);
        self.input.reserve(room);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(Gone::Left),
            _ => Ok(()),
        }
    }

    /// Reads ahead while a statement runs, to notice a client that left; waits for ever where enough is there.
    ///
    /// # Errors
    /// Where the client left.
    pub async fn watch(&mut self) -> Gone {
        loop {
            if self.input.len() >= AHEAD_BYTES_MAX {
                std::future::pending::<()>().await;
            }
            if let Err(gone) = self.fill().await {
                return gone;
            }
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// Where the client does not take it.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        while !self.out.bytes.is_empty() {
            let written = timeout(self.patience, self.stream.write(&self.out.bytes)).await;
            match written.map_err(|_| Gone::Slow)?? {
                0 => return Err(Gone::Left),
                n => self.out.bytes.advance(n),
            }
        }
        if self.out.bytes.capacity() > READ_BYTES {
            self.out.bytes = BytesMut::new();
        }
        timeout(self.patience, self.stream.flush()).await.map_err(|_| Gone::Slow)??;
        Ok(())
    }

    /// Writes what waits if it is much.
    ///
    /// # Errors
    /// Where the client does not take it.
    pub async fn flush_if_full(&mut self) -> Result<(), Gone> {
        if self.out.bytes.len() >= PIECE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Puts a piece of an answer behind what waits, without a copy where nothing does.
    pub fn put(&mut self, piece: BytesMut) {
        if self.out.bytes.is_empty() {
            self.out.bytes = piece;
        } else {
            self.out.bytes.extend_from_slice(&piece);
        }
    }

    /// One unframed byte, the answer to the questions before the login.
    ///
    /// # Errors
    /// Where the client does not take it.
    pub async fn byte(&mut self, byte: u8) -> Result<(), Gone> {
        self.put(BytesMut::from(&Bytes::copy_from_slice(&[byte])[..]));
        self.flush().await
    }

    /// Ends the stream.
    pub async fn end(&mut self) {
        let _ = timeout(self.patience, self.stream.shutdown()).await;
    }
}
