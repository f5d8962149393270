//! A statement with its parameters, as the bytes that a client holds and hands back.
//!
//! Owns: that form, `?` as another way to write `$1`, rows of parameters. Does not own: what a statement means
//! (`query`).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use prost::Message;
use tonic::Status;
use wattline_query::ScalarValue;

/// Bytes of bound parameters in a handle: clients send it with every call.
const PARAMETER_BYTES_MAX: usize = 1 << 20;

/// A statement with its parameters. Unknown fields are passed over, so a later version may add some.
#[derive(Clone, PartialEq, Message)]
pub struct Handle {
    /// The statement, with `$1` where a parameter stands.
    #[prost(string, tag = "1")]
    pub sql: String,
    /// Rows of parameters as an Arrow IPC stream; empty where none were bound.
    #[prost(bytes = "bytes", tag = "2")]
    pub parameters: Bytes,
    /// By which the statement is cancelled once it runs; 0 where it is not to be run yet.
    #[prost(fixed64, tag = "3")]
    pub id: u64,
}

impl Handle {
    /// The statement `sql` without parameters.
    pub fn new(sql: &str) -> Handle {
        Handle { sql: numbered(sql).into_owned(), parameters: Bytes::new(), id: 0 }
    }

    /// Reads a handle that a client sent.
    ///
    /// # Errors
    /// `InvalidArgument` where it is none.
    pub fn read(bytes: &Bytes) -> Result<Handle, Status> {
        Handle::decode(bytes.clone())
            .map_err(|e| Status::invalid_argument(format!("not a handle of this server: {e}")))
    }

    /// The handle as bytes.
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// The same statement with `rows` bound to it.
    ///
    /// # Errors
    /// `InvalidArgument` where they are too many.
    pub fn bind(&self, rows: &[RecordBatch]) -> Result<Handle, Status> {
        let Some(first) = rows.first() else { return Ok(self.clone()) };
        let wrong = |e: arrow::error::ArrowError| Status::invalid_argument(format!("parameters: {e}"));
        let mut writer = StreamWriter::try_new(Vec::new(), &first.schema()).map_err(wrong)?;
        for batch in rows {
            writer.write(batch).map_err(wrong)?;
        }
        let bytes = writer.into_inner().map_err(wrong)?;
        if bytes.len() > PARAMETER_BYTES_MAX {
            let what = format!("parameters take {} bytes, more than {PARAMETER_BYTES_MAX}", bytes.len());
            return Err(Status::invalid_argument(what));
        }
        Ok(Handle { parameters: bytes.into(), ..self.clone() })
    }

    /// The rows of parameters: one without any where none were bound.
    ///
    /// # Errors
    /// `InvalidArgument` where they cannot be read.
    pub fn bindings(&self) -> Result<Vec<Vec<ScalarValue>>, Status> {
        if self.parameters.is_empty() {
            return Ok(vec![Vec::new()]);
        }
        let wrong = |e: arrow::error::ArrowError| Status::invalid_argument(format!("parameters: {e}"));
        let mut rows = Vec::new();
        for batch in StreamReader::try_new(&self.parameters[..], None).map_err(wrong)? {
            let batch = batch.map_err(wrong)?;
            rows.extend(rows_of(&batch, 0, batch.num_rows())?);
        }
        Ok(rows)
    }
}

/// `len` rows of `batch` from `start` on, each as the values of `$1`, `$2`, ….
///
/// # Errors
/// `InvalidArgument` for values that no parameter can have.
pub fn rows_of(batch: &RecordBatch, start: usize, len: usize) -> Result<Vec<Vec<ScalarValue>>, Status> {
    let value = |column: &Arc<dyn arrow::array::Array>, row| {
        ScalarValue::try_from_array(column, row)
            .map_err(|e| Status::invalid_argument(format!("parameter: {e}")))
    };
    (start..start + len)
        .map(|row| batch.columns().iter().map(|column| value(column, row)).collect())
        .collect()
}

/// Writes each `?` that is a parameter as `$1`, `$2`, … in their order: JDBC and Python's database interface know no
/// other form.
fn numbered(sql: &str) -> Cow<'_, str> {
    if !sql.contains('?') {
        return Cow::Borrowed(sql);
    }
    let mut out = String::with_capacity(sql.len() + 16);
    let mut number = 0;
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            // A doubled quote ends one text and begins another at once.
            '\'' | '"' | '`' => rest[1..].find(c).map_or(rest.len(), |end| end + 2),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '?' => {
                number += 1;
                out.push_str(&format!("${number}"));
                rest = &rest[1..];
                continue;
            }
            c => c.len_utf8(),
        };
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn question_marks_are_numbered_where_they_are_parameters() {
        for (sql, expected) in [
            ("SELECT ?, ? + 1", "SELECT $1, $2 + 1"),
            ("SELECT '?', \"a?b\", ? -- why?\n, ?", "SELECT '?', \"a?b\", $1 -- why?\n, $2"),
            ("SELECT 'it''s ?' /* ? */ WHERE a = ?", "SELECT 'it''s ?' /* ? */ WHERE a = $1"),
            ("SELECT 'größe?' , ?é", "SELECT 'größe?' , $1é"),
            ("SELECT $1", "SELECT $1"),
            ("SELECT '?", "SELECT '?"),
            ("/*?", "/*?"),
            ("?", "$1"),
        ] {
            assert_eq!(numbered(sql), expected);
        }
    }

    #[test]
    fn parameters_come_back_as_they_were_bound() {
        let schema =
            Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
        let columns: Vec<Arc<dyn arrow::array::Array>> = vec![
            Arc::new(Int64Array::from(vec![Some(1), None])),
            Arc::new(StringArray::from(vec!["x", "y"])),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
        let handle = Handle::new("SELECT ?, ?").bind(&[batch]).unwrap();
        let read = Handle::read(&handle.to_bytes()).unwrap();
        assert_eq!(read.sql, "SELECT $1, $2");
        let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
        let expected =
            [vec![ScalarValue::Int64(Some(1)), text("x")], vec![ScalarValue::Int64(None), text("y")]];
        assert_eq!(read.bindings().unwrap(), expected);
        assert_eq!(Handle::new("SELECT 1").bindings().unwrap(), [vec![]], "one run without parameters");
    }

    #[test]
    fn no_bytes_of_a_handle_panic() {
        let whole = Handle { parameters: Bytes::from_static(&[7; 40]), ..Handle::new("SELECT 1") }.to_bytes();
        for end in 0..=whole.len() {
            if let Ok(handle) = Handle::read(&whole.slice(..end)) {
                let _ = handle.bindings();
            }
        }
    }
}
