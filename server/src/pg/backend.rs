//! What the server sends: messages → bytes.
//!
//! Owns: the bytes that wait to be written, and every message but rows. Does not own: values (`encode`), sockets (`wire`).
//!
//! The layouts of single messages are `pgwire`'s; rows are written by `encode` straight from Arrow's columns.

use bytes::{BufMut as _, Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};
use wattline_query::pg::types::by_oid;

use super::error::PgError;
use super::frontend::Format;

/// Bytes of a message's text at most: clients refuse errors of more than 30,000 bytes altogether.
const TEXT_BYTES_MAX: usize = 8_000;

/// A column as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The number of its type.
    pub oid: u32,
    /// How its values come.
    pub format: Format,
}

/// Whether a transaction is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Transaction {
    /// None.
    #[default]
    Idle,
    /// One.
    Open,
    /// One in which a statement failed: nothing but its end is taken.
    Failed,
}

/// Messages that wait to be written.
#[derive(Debug, Default)]
pub struct Out {
    /// Their bytes.
    pub bytes: BytesMut,
}

impl Out {
    fn put(&mut self, message: &impl Message) {
        // It fails where a text makes a message too long, and texts are cut before they come here.
        if let Err(error) = message.encode(&mut self.bytes) {
            tracing::error!(%error, "a message for a PostgreSQL client could not be encoded");
        }
    }

    /// The login is done.
    pub fn logged_in(&mut self) {
        self.put(&Authentication::Ok);
    }

    /// Asks for a login by SASL, with one of `mechanisms`.
    pub fn ask_sasl(&mut self, mechanisms: &[&str]) {
        self.put(&Authentication::SASL(mechanisms.iter().map(|&name| name.to_owned()).collect()));
    }

    /// The server's first answer in SASL.
    pub fn sasl_continue(&mut self, data: &str) {
        self.put(&Authentication::SASLContinue(Bytes::copy_from_slice(data.as_bytes())));
    }

    /// The server's last answer in SASL.
    pub fn sasl_final(&mut self, data: &str) {
        self.put(&Authentication::SASLFinal(Bytes::copy_from_slice(data.as_bytes())));
    }

    /// Of the protocol asked for, this is what is spoken: minor version 0, and none of `options`.
    pub fn negotiate(&mut self, options: Vec<String>) {
        // Version 3.0 in full, as newer servers write it; clients mask the major part.
        self.put(&NegotiateProtocolVersion::new(3 << 16, options));
    }

    /// The value of a setting that clients want to know of.
    pub fn parameter(&mut self, name: &str, value: &str) {
        self.put(&ParameterStatus::new(name.to_owned(), value.to_owned()));
    }

    /// What a request to cancel must show.
    pub fn key(&mut self, pid: u32, secret: [u8; 4]) {
        self.put(&BackendKeyData::new(pid.cast_signed(), SecretKey::I32(i32::from_be_bytes(secret))));
    }

    /// The next statement may come.
    pub fn ready(&mut self, transaction: Transaction) {
        self.put(&ReadyForQuery::new(match transaction {
            Transaction::Idle => TransactionStatus::Idle,
            Transaction::Open => TransactionStatus::Transaction,
            Transaction::Failed => TransactionStatus::Error,
        }));
    }

    /// A statement was prepared.
    pub fn parsed(&mut self) {
        self.put(&ParseComplete::new());
    }

    /// A portal was made.
    pub fn bound(&mut self) {
        self.put(&BindComplete::new());
    }

    /// A statement or portal was forgotten.
    pub fn closed(&mut self) {
        self.put(&CloseComplete::new());
    }

    /// The portal has more, perhaps.
    pub fn suspended(&mut self) {
        self.put(&PortalSuspended::new());
    }

    /// There was no statement.
    pub fn empty(&mut self) {
        self.put(&EmptyQueryResponse::new());
    }

    /// The statement gives no rows.
    pub fn no_data(&mut self) {
        self.put(&NoData::new());
    }

    /// The statement is done.
    pub fn complete(&mut self, tag: &str) {
        self.put(&CommandComplete::new(tag.to_owned()));
    }

    /// The types of a statement's parameters.
    pub fn parameters(&mut self, types: &[u32]) {
        self.put(&ParameterDescription::new(types.to_vec()));
    }

    /// The columns of the rows to come.
    pub fn columns(&mut self, columns: &[Column]) {
        let fields = columns.iter().map(|column| {
            let length = by_oid(column.oid).map_or(-1, |t| t.length);
            FieldDescription::new(column.name.clone(), 0, 0, column.oid, length, -1, column.format.code())
        });
        self.put(&RowDescription::new(fields.collect()));
    }

    /// A row of texts.
    pub fn texts(&mut self, row: &[Option<String>]) {
        let at = begin(&mut self.bytes, b'D');
        self.bytes.put_u16(row.len() as u16);
        for text in row {
            match text {
                None => self.bytes.put_i32(-1),
                Some(text) => {
                    self.bytes.put_u32(text.len() as u32);
                    self.bytes.put_slice(text.as_bytes());
                }
            }
        }
        end(&mut self.bytes, at);
    }

    /// COPY's data come.
    pub fn copy_out(&mut self, format: Format, columns: usize) {
        let (code, n) = (format.code(), columns.min(i16::MAX as usize));
        self.put(&CopyOutResponse::new(code as i8, n as i16, vec![code; n]));
    }

    /// COPY's data may come.
    pub fn copy_in(&mut self, format: Format, columns: usize) {
        let (code, n) = (format.code(), columns.min(i16::MAX as usize));
        self.put(&CopyInResponse::new(code as i8, n as i16, vec![code; n]));
    }

    /// That was COPY's data.
    pub fn copy_done(&mut self) {
        self.put(&CopyDone::new());
    }

    /// What went wrong.
    pub fn error(&mut self, error: &PgError) {
        let severity = if error.fatal { "FATAL" } else { "ERROR" };
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', error.state.to_owned()),
            (b'M', text(&error.message)),
        ];
        fields.extend(error.hint.as_ref().map(|hint| (b'H', text(hint))));
        fields.extend(error.context.as_ref().map(|context| (b'W', text(context))));
        fields.extend(error.position.map(|position| (b'P', position.to_string())));
        self.put(&ErrorResponse::new(fields));
    }

    /// Something to know that is no error.
    pub fn notice(&mut self, severity: &str, state: &str, message: &str) {
        self.put(&NoticeResponse::new(vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', state.to_owned()),
            (b'M', text(message)),
        ]));
    }
}

impl Format {
    /// The number that stands for it.
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// Begins a message of `kind`; [`end`] must follow with what this gave.
pub fn begin(bytes: &mut BytesMut, kind: u8) -> usize {
    bytes.put_u8(kind);
    let at = bytes.len();
    bytes.put_u32(0);
    at
}

/// Ends the message that begins at `at`: its length is known now.
pub fn end(bytes: &mut BytesMut, at: usize) {
    let length = u32::try_from(bytes.len() - at).expect("pieces of an answer are far below 4 GiB");
    bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Without the zeros that would end it, and not too long.
fn text(message: &str) -> String {
    let end = message.char_indices().map(|(i, _)| i).find(|&i| i >= TEXT_BYTES_MAX).unwrap_or(message.len());
    message[..end].replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::error::state;

    #[test]
    fn an_error_is_laid_out_as_documented() {
        let mut out = Out::default();
        let mut error = PgError::new(state::NO_TABLE, "there is\0no table");
        error.position = Some(15);
        out.error(&error.hint("did you mean x?"));
        let body = b"SERROR\0VERROR\0C42P01\0Mthere is no table\0Hdid you mean x?\0P15\0\0";
        assert_eq!(out.bytes[0], b'E');
        assert_eq!(out.bytes[1..5], u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        assert_eq!(&out.bytes[5..], body);
    }

    #[test]
    fn the_longest_error_is_one_that_clients_take() {
        let mut out = Out::default();
        out.error(&PgError::new(state::BUG, "ü".repeat(1 << 20)).hint("ß".repeat(1 << 20)));
        assert!((10_000..30_000).contains(&out.bytes.len()), "{}", out.bytes.len());
    }

    #[test]
    fn columns_are_laid_out_as_documented() {
        let mut out = Out::default();
        out.columns(&[Column { name: "n".to_owned(), oid: 23, format: Format::Binary }]);
        let expected = b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01";
        assert_eq!(&out.bytes[..], expected);
    }
}
