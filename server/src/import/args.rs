//! The command line of `wattline import`, and what of it can be refused before a file or a server is touched.
//!
//! Owns: the flags and their checks. Does not own: defaults that depend on the file (`infer`).

use std::path::PathBuf;

use encoding_rs::Encoding;
use jiff::tz::TimeZone;

use super::time::{Dst, Format};
use crate::client::connection::ServerArgs;
use crate::error::Error;

/// Rows of one request where nothing else is said: about 3 MB of five columns, some ten group commits a second.
const BATCH_ROWS_DEFAULT: usize = 50_000;
/// Rows of one request at most: a tenth of what the storage takes in one batch, so that memory stays small.
const BATCH_ROWS_MAX: usize = 100_000;
/// What counts as "no value" where no `--null` is given.
const NULLS_DEFAULT: [&str; 8] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"];

/// Imports CSV or Parquet files through a running server.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// CSV or Parquet files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The server
    #[command(flatten)]
    pub server: ServerArgs,
    /// Model whose points the columns are
    #[arg(long, short = 'm', value_name = "MODEL")]
    pub model: String,
    /// Asset all rows belong to, by its asset id
    #[arg(long, value_name = "ASSET_ID", conflicts_with_all = ["asset_column", "device"])]
    pub asset: Option<String>,
    /// Column that holds the asset id
    #[arg(long, value_name = "COLUMN", conflicts_with = "device")]
    pub asset_column: Option<String>,
    /// Device all rows belong to, by product key and device key
    #[arg(long, value_name = "PK/DK")]
    pub device: Option<String>,
    /// Column that holds the time; without it the column is found by its name
    #[arg(long, value_name = "COLUMN")]
    pub time_column: Option<String>,
    /// Form of the times: auto, iso, epoch-s, epoch-ms, epoch-us, epoch-ns or a strptime pattern
    #[arg(long, default_value = "auto", value_name = "FORMAT")]
    pub time_format: String,
    /// Zone of times that carry none: an IANA name or an offset such as +08:00
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub timezone: String,
    /// What to do with local times that the clock change skips or repeats
    #[arg(long, value_enum, default_value_t = Dst::Compatible)]
    pub dst: Dst,
    /// Character encoding: auto, utf-8, gb2312, latin1 or any other label of the WHATWG encoding list
    #[arg(long, default_value = "auto", value_name = "ENCODING")]
    pub encoding: String,
    /// Field delimiter: one character, or "tab"
    #[arg(long, default_value = ",", value_name = "CHAR")]
    pub delimiter: String,
    /// Quote character; empty for none
    #[arg(long, default_value = "\"", value_name = "CHAR")]
    pub quote: String,
    /// Lines that begin with this character are skipped
    #[arg(long, value_name = "CHAR")]
    pub comment: Option<String>,
    /// The first line is data; columns are then called column_1, column_2, …
    #[arg(long)]
    pub no_header: bool,
    /// Column to point, repeatable
    #[arg(long, value_name = "COLUMN=POINT")]
    pub map: Vec<String>,
    /// Column to leave out, repeatable
    #[arg(long, value_name = "COLUMN")]
    pub skip: Vec<String>,
    /// Leave out columns that are no point of the model, instead of stopping
    #[arg(long)]
    pub skip_unknown: bool,
    /// Text that stands for "no value", repeatable; replaces the usual list (empty, NA, N/A, NaN, nan, null, NULL, None)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub null: Vec<String>,
    /// Numbers are written with a decimal comma
    #[arg(long)]
    pub decimal_comma: bool,
    /// Create the model from the file's columns where the server does not have it; assets are then created too
    #[arg(long)]
    pub create_model: bool,
    /// Create assets the server does not know
    #[arg(long)]
    pub create_device: bool,
    /// Product that new devices belong to; created where absent [default: import-MODEL]
    #[arg(long, value_name = "PRODUCT_KEY")]
    pub product: Option<String>,
    /// File for lines that were refused, with the reason before each
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Stop after more refused lines than this
    #[arg(long, value_name = "N")]
    pub max_rejects: Option<u64>,
    /// Read and check everything, send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Rows of one request
    #[arg(long, default_value_t = BATCH_ROWS_DEFAULT, value_name = "N")]
    pub batch_rows: usize,
}

/// Whom the rows belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One asset, by asset id.
    Asset(String),
    /// The asset id stands in this column.
    Column(String),
    /// One device, by product key and device key.
    Device(String, String),
}

/// How to read CSV, checked.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// Field delimiter.
    pub delimiter: u8,
    /// Quote character, or none.
    pub quote: Option<u8>,
    /// First character of lines to skip.
    pub comment: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The encoding given, or none for "find out".
    pub encoding: Option<&'static Encoding>,
    /// Decimal comma instead of decimal point.
    pub decimal_comma: bool,
    /// Texts that stand for "no value".
    pub nulls: Vec<Vec<u8>>,
}

/// The checked arguments.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom the rows belong to.
    pub owner: Owner,
    /// How to read CSV.
    pub dialect: Dialect,
    /// The form of times, or none for "find out".
    pub format: Option<Format>,
    /// Zone of times that carry none.
    pub zone: TimeZone,
    /// Column to point.
    pub map: Vec<(String, String)>,
    /// Rows of one request.
    pub batch_rows: usize,
}

impl Args {
    /// Checks everything that can be checked without a file or a server.
    pub fn options(&self) -> Result<Options, Error> {
        let decimal_comma = self.decimal_comma;
        let encoding = encoding(&self.encoding)?;
        let delimiter = one_byte("--delimiter", &self.delimiter)?
            .ok_or_else(|| Error::usage("--delimiter is empty: give one character"))?;
        let quote = one_byte("--quote", &self.quote)?;
        let comment = self.comment.as_deref().map(|c| one_byte("--comment", c)).transpose()?.flatten();
        if let Some(encoding) = encoding {
            check_bytes_apart(encoding, delimiter, quote)?;
        }
        if decimal_comma && delimiter == b',' {
            return Err(Error::usage(
                "--decimal-comma needs another delimiter than the comma: add --delimiter ';' (or tab)",
            ));
        }
        if self.batch_rows == 0 || self.batch_rows > BATCH_ROWS_MAX {
            return Err(Error::usage(format!(
                "--batch-rows is {}: it must be 1 to {BATCH_ROWS_MAX}",
                self.batch_rows
            )));
        }
        let nulls = if self.null.is_empty() {
            NULLS_DEFAULT.iter().map(|n| n.as_bytes().to_vec()).collect()
        } else {
            self.null.iter().map(|n| n.as_bytes().to_vec()).collect()
        };
        Ok(Options {
            owner: self.owner()?,
            dialect: Dialect {
                delimiter,
                quote,
                comment,
                header: !self.no_header,
                encoding,
                decimal_comma,
                nulls,
            },
            format: Format::from_flag(&self.time_format)?,
            zone: zone(&self.timezone)?,
            map: self.map.iter().map(|m| mapping(m)).collect::<Result<_, _>>()?,
            batch_rows: self.batch_rows,
        })
    }

    fn owner(&self) -> Result<Owner, Error> {
        if let Some(asset) = &self.asset {
            return Ok(Owner::Asset(asset.clone()));
        }
        if let Some(column) = &self.asset_column {
            return Ok(Owner::Column(column.clone()));
        }
        let Some(device) = &self.device else {
            return Err(Error::usage(
                "whose rows are these? give --asset ASSET_ID, --asset-column COLUMN or --device PRODUCT_KEY/DEVICE_KEY",
            ));
        };
        match device.split_once('/') {
            Some((product, key)) if !product.is_empty() && !key.is_empty() => {
                Ok(Owner::Device(product.to_owned(), key.to_owned()))
            }
            _ => Err(Error::usage(format!("--device {device:?} is not PRODUCT_KEY/DEVICE_KEY"))),
        }
    }
}

fn mapping(text: &str) -> Result<(String, String), Error> {
    // The last '=': a header may hold one, an identifier cannot.
    match text.rsplit_once('=') {
        Some((column, point)) if !column.is_empty() && !point.is_empty() => {
            Ok((column.to_owned(), point.to_owned()))
        }
        _ => Err(Error::usage(format!("--map {text:?} is not COLUMN=POINT"))),
    }
}

fn one_byte(flag: &str, text: &str) -> Result<Option<u8>, Error> {
    match text {
        "" => Ok(None),
        "tab" | "\\t" => Ok(Some(b'\t')),
        _ if text.len() == 1 && text.is_ascii() && text != "\n" && text != "\r" => {
            Ok(Some(text.as_bytes()[0]))
        }
        _ => Err(Error::usage(format!("{flag} {text:?} is not one ASCII character"))),
    }
}

fn encoding(label: &str) -> Result<Option<&'static Encoding>, Error> {
    if label.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    let Some(encoding) = Encoding::for_label(label.as_bytes()) else {
        return Err(Error::usage(format!(
            "--encoding {label:?} is not known; common ones are utf-8, gb2312, gb18030, latin1, windows-1252, shift_jis"
        )));
    };
    if !encoding.is_ascii_compatible() {
        return Err(Error::usage(format!(
            "--encoding {label:?}: fields of {} cannot be told apart byte by byte; convert the file to UTF-8 first",
            encoding.name()
        )));
    }
    Ok(Some(encoding))
}

/// Second bytes of two-byte characters may look like ASCII from 0x30 on; a delimiter there would cut characters.
fn check_bytes_apart(encoding: &'static Encoding, delimiter: u8, quote: Option<u8>) -> Result<(), Error> {
    let clash = |byte: u8| !encoding.is_single_byte() && encoding != encoding_rs::UTF_8 && byte >= 0x30;
    for byte in [Some(delimiter), quote].into_iter().flatten() {
        if clash(byte) {
            return Err(Error::usage(format!(
                "{:?} may be half a character in {}; convert the file to UTF-8 first",
                byte as char,
                encoding.name()
            )));
        }
    }
    Ok(())
}

/// The zone `name`: an IANA name, or an offset such as `+08:00`.
pub fn zone(name: &str) -> Result<TimeZone, Error> {
    if name.starts_with(['+', '-']) {
        let offset = jiff::fmt::strtime::parse("%:z", name).ok().and_then(|parsed| parsed.offset());
        return offset
            .map(TimeZone::fixed)
            .ok_or_else(|| Error::usage(format!("--timezone {name:?} is not an offset such as +08:00")));
    }
    TimeZone::get(name).map_err(|_| {
        Error::usage(format!(
            "--timezone {name:?} is no zone of the IANA database (Europe/Istanbul, UTC, +08:00, …)"
        ))
    })
}
