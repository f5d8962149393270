//! What clients send: bytes → messages.
//!
//! Owns: the layouts of the client's messages, and what is refused about them. Does not own: reading sockets (`wire`),
//! what a message does (`session`).
//!
//! Pure, and total: every sequence of bytes is a message or a [`Malformed`], never a panic, and no length from the wire
//! is believed before that many bytes are there. Messages are cut out of their frame first, so that a wrong length
//! inside one cannot reach into the next.

use bytes::{Buf as _, Bytes, BytesMut};

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

type Result<T> = std::result::Result<T, Malformed>;

/// The first packet of a connection, or one of its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// Asks for TLS.
    Tls,
    /// Asks for encryption by GSSAPI.
    Gss,
    /// Asks to cancel what another connection does.
    Cancel {
        /// Which connection.
        pid: u32,
        /// The secret it was given.
        secret: Bytes,
    },
    /// Logs in.
    Startup {
        /// The protocol's version: 3 and this.
        minor: u16,
        /// Names and values: `user`, `database`, settings.
        parameters: Vec<(String, String)>,
    },
}

/// A prepared statement or a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// Text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As people read it.
    Text,
    /// As machines do.
    Binary,
}

/// `Bind`: a prepared statement gets its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The portal to make.
    pub portal: String,
    /// The statement to make it of.
    pub statement: String,
    /// Forms of the parameters: none (all text), one for all, or one each.
    pub formats: Vec<Format>,
    /// The parameters; `None` is NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// Forms of the columns of the answer, as above.
    pub results: Vec<Format>,
}

/// A message after the first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Statements, to be run at once.
    Query(String),
    /// A statement to prepare.
    Parse {
        /// Its name; empty for the one without.
        name: String,
        /// Its text.
        text: String,
        /// Types of its first parameters; 0 where the client leaves it open.
        types: Vec<u32>,
    },
    /// See [`Bind`].
    Bind(Bind),
    /// Asks what a statement or portal gives.
    Describe(Target, String),
    /// Asks for rows of a portal.
    Execute {
        /// Which.
        portal: String,
        /// How many; `None` for all.
        rows: Option<u64>,
    },
    /// Forgets a statement or portal.
    Close(Target, String),
    /// Asks for what is ready.
    Flush,
    /// Ends a series of messages.
    Sync,
    /// Goes.
    Terminate,
    /// An answer of the login; what it says depends on the question.
    Password(Bytes),
    /// A piece of COPY's data.
    CopyData(Bytes),
    /// The end of COPY's data.
    CopyDone,
    /// COPY is given up.
    CopyFail(String),
    /// A function call by number, which nobody uses any more.
    FunctionCall,
}

const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;

/// Takes the body of a packet without type from `input`: one of the first. `None` until all of it is there.
///
/// # Errors
/// Where its length is not from 8 to `bytes_max`.
pub fn take_packet(input: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>> {
    let Some(length) = length_at(input, 0) else { return Ok(None) };
    if length < 8 || length > bytes_max {
        return Err(Malformed("invalid length of startup packet"));
    }
    if input.len() < length {
        return Ok(None);
    }
    let mut packet = input.split_to(length).freeze();
    packet.advance(4);
    Ok(Some(packet))
}

/// Takes a message's type and body from `input`. `None` until all of it is there.
///
/// # Errors
/// Where its length is not from 4 to `bytes_max`, which is known before the rest is.
pub fn take_message(input: &mut BytesMut, bytes_max: usize) -> Result<Option<(u8, Bytes)>> {
    let Some(length) = length_at(input, 1) else { return Ok(None) };
    if length < 4 || length > bytes_max {
        return Err(Malformed("invalid message length"));
    }
    if input.len() < length + 1 {
        return Ok(None);
    }
    let mut message = input.split_to(length + 1).freeze();
    let kind = message[0];
    message.advance(5);
    Ok(Some((kind, message)))
}

fn length_at(input: &[u8], at: usize) -> Option<usize> {
    let bytes = input.get(at..at + 4)?;
    // A length beyond the memory of a small machine is refused like any that is too long.
    Some(usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).unwrap_or(usize::MAX))
}

/// Reads a packet that [`take_packet`] took.
///
/// # Errors
/// Where it is none of [`First`].
pub fn first(packet: Bytes) -> Result<First> {
    let mut body = Body(packet);
    match body.u32()? {
        TLS => body.end(First::Tls),
        GSS => body.end(First::Gss),
        CANCEL => {
            let pid = body.u32()?;
            // Version 3.2 allows up to 256 bytes; ours are always four.
            if !(4..=256).contains(&body.0.len()) {
                return Err(Malformed("invalid cancellation key"));
            }
            Ok(First::Cancel { pid, secret: body.0 })
        }
        version if version >> 16 == 3 => {
            let mut parameters = Vec::new();
            loop {
                let name = body.text()?;
                if name.is_empty() {
                    break;
                }
                parameters.push((name, body.text()?));
            }
            body.end(First::Startup { minor: (version & 0xffff) as u16, parameters })
        }
        _ => Err(Malformed("unsupported frontend protocol: 3.0 is served")),
    }
}

/// Reads a message that [`take_message`] took.
///
/// # Errors
/// Where its type is unknown or its body does not fit its type.
pub fn message(kind: u8, body: Bytes) -> Result<Message> {
    let mut body = Body(body);
    let message = match kind {
        b'Q' => Message::Query(body.text()?),
        b'P' => Message::Parse { name: body.text()?, text: body.text()?, types: body.types()? },
        b'B' => Message::Bind(Bind {
            portal: body.text()?,
            statement: body.text()?,
            formats: body.formats()?,
            parameters: body.parameters()?,
            results: body.formats()?,
        }),
        b'D' => Message::Describe(body.target()?, body.text()?),
        b'E' => {
            let portal = body.text()?;
            let rows = u64::try_from(body.i32()?).ok().filter(|&rows| rows > 0);
            Message::Execute { portal, rows }
        }
        b'C' => Message::Close(body.target()?, body.text()?),
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'c' => Message::CopyDone,
        b'f' => Message::CopyFail(body.text()?),
        b'F' => return Ok(Message::FunctionCall),
        b'd' => return Ok(Message::CopyData(body.0)),
        b'p' => return Ok(Message::Password(body.0)),
        _ => return Err(Malformed("invalid frontend message type")),
    };
    body.end(message)
}

/// What is left of a message.
struct Body(Bytes);

impl Body {
    fn end<T>(self, whole: T) -> Result<T> {
        if self.0.is_empty() {
            Ok(whole)
        } else {
            Err(Malformed("invalid message format: bytes are left over"))
        }
    }

    fn take(&mut self, n: usize) -> Result<Bytes> {
        if self.0.len() < n {
            return Err(Malformed("invalid message format: it ends too soon"));
        }
        Ok(self.0.split_to(n))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(self.take(2)?.get_u16())
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.get_u32())
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(self.take(4)?.get_i32())
    }

    fn text(&mut self) -> Result<String> {
        let end = self.0.iter().position(|&byte| byte == 0);
        let text = self.take(end.ok_or(Malformed("invalid message format: a text has no end"))?)?;
        self.0.advance(1);
        match std::str::from_utf8(&text) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Malformed("invalid byte sequence for encoding \"UTF8\"")),
        }
    }

    fn types(&mut self) -> Result<Vec<u32>> {
        let n = self.u16()?;
        (0..n).map(|_| self.u32()).collect()
    }

    fn formats(&mut self) -> Result<Vec<Format>> {
        let n = self.u16()?;
        (0..n)
            .map(|_| match self.u16()? {
                0 => Ok(Format::Text),
                1 => Ok(Format::Binary),
                _ => Err(Malformed("unsupported format code: neither text nor binary")),
            })
            .collect()
    }

    fn parameters(&mut self) -> Result<Vec<Option<Bytes>>> {
        let n = self.u16()?;
        (0..n)
            .map(|_| match self.i32()? {
                -1 => Ok(None),
                length => match usize::try_from(length) {
                    Ok(length) => self.take(length).map(Some),
                    Err(_) => Err(Malformed("invalid message format: a parameter has a negative length")),
                },
            })
            .collect()
    }

    fn target(&mut self) -> Result<Target> {
        match self.u8()? {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            _ => Err(Malformed("invalid message format: neither statement nor portal")),
        }
    }
}

/// The form of item `i` by a list as `Bind` has it.
///
/// # Errors
/// Where the list has neither none, nor one, nor `n`.
pub fn format_of(formats: &[Format], i: usize, n: usize) -> Result<Format> {
    match formats {
        [] => Ok(Format::Text),
        [one] => Ok(*one),
        all if all.len() == n => Ok(all[i]),
        _ => Err(Malformed("the number of format codes fits neither parameters nor columns")),
    }
}

#[cfg(test)]
mod tests;
