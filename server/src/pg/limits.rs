//! Limits of the PostgreSQL wire, each with its reason.

use std::time::Duration;

/// Bytes of a packet before the login: names and options; what PostgreSQL takes as well.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// Bytes of a message during the login: the longest SCRAM message has a few hundred.
pub const LOGIN_BYTES_MAX: usize = 10_000;

/// Bytes of any later message: a statement of the longest length with parameters as long again, many times over.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Bytes of one row of COPY: as many as of a message, as most clients send a row in one.
pub const COPY_ROW_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// Bytes that are read ahead of the message that is being worked on: clients pipeline, and one that has vanished is
/// only noticed by reading.
pub const AHEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes of an answer gathered before they are written.
pub const PIECE_BYTES: usize = 64 << 10;

/// Pieces of an answer that wait for the client.
pub const PIECES_MAX: usize = 2;

/// Prepared statements of one connection: drivers keep a few hundred.
pub const STATEMENTS_MAX: usize = 4_096;

/// Bytes of the texts of prepared statements of one connection.
pub const STATEMENTS_BYTES_MAX: usize = 16 << 20;

/// Portals and cursors of one connection. Each that has begun holds one of the server's turns.
pub const PORTALS_MAX: usize = 64;

/// Statements in one simple query.
pub const SCRIPT_STATEMENTS_MAX: usize = 10_000;

/// Bytes of a parameter's name or value in SET.
pub const SETTING_BYTES_MAX: usize = 1_024;

/// How long a client may take from connecting to being logged in.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long after a wrong password the answer comes: slows guessing, hardly a person.
pub const WRONG_PASSWORD_PAUSE: Duration = Duration::from_millis(500);

/// How long the last message may take to leave when a connection is ended.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
