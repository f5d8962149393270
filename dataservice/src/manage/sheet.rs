//! Spreadsheets: the cells of an .xlsx file from outside, and files to fill in.
//!
//! Owns: the container, as much of its XML as cells need, and the limits of both. Does not own: what rows and columns mean
//! ([`super::batch`]).
//!
//! An .xlsx file is a ZIP archive of XML, so a small one may become anything. It is read as it is unpacked, event by event,
//! against one budget of bytes for the whole file: what is too large is refused when it has become so, and never held. Rows
//! and cells are kept where something stands in them, because the corners of a sheet alone span 17 billion cells.
//! (Decision 21 tells why this is not a library's work.)

use std::cell::Cell as Budget;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read, Write as _};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipArchiveWriter, ZipSliceArchive};

use crate::error::{Error, Result};

/// Bytes of a file (data service §7.4).
pub(super) const FILE_BYTES_MAX: usize = 2 << 20;

/// Bytes of what is read of it, unpacked: a thousand rows of two hundred attributes have nine million.
const UNPACKED_BYTES_MAX: u64 = 16 << 20;

/// Entries of the archive: sheets, styles and drawings of a workbook, many times.
const ENTRIES_MAX: usize = 1_000;

/// Columns: the fixed ones and those of two hundred attributes, and some that are left empty.
const COLUMNS_MAX: u32 = 256;

/// Texts that cells share: one for each cell there may be.
const STRINGS_MAX: usize = 300_000;

/// Bytes of the texts of all cells: a text that is kept once may stand in every one of them.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Text(String),
    Number(f64),
    Flag(bool),
}

impl Cell {
    /// As a person would write it down.
    pub(super) fn text(&self) -> String {
        match self {
            Cell::Text(text) => text.trim().to_owned(),
            Cell::Number(number) => number.to_string(),
            Cell::Flag(flag) => flag.to_string(),
        }
    }
}

/// Rows with anything in them, by their number from 1, each with its cells by column from 0.
pub(super) type Rows = BTreeMap<u32, BTreeMap<u32, Cell>>;

/// A sheet.
#[derive(Debug)]
pub(super) struct Sheet {
    /// Its rows.
    pub(super) rows: Rows,
    /// Whether days are counted from 1904, as old programs do, and not from 1900.
    pub(super) since_1904: bool,
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("file: {what}"))
}

fn no_xlsx(what: impl std::fmt::Display) -> Error {
    wrong(format!("is no .xlsx file: {what}"))
}

/// The first sheet of an .xlsx file, with at most `rows_max` rows.
pub(super) fn read(file: &[u8], rows_max: usize) -> Result<Sheet> {
    if file.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("has {} bytes; at most {FILE_BYTES_MAX} are allowed", file.len())));
    }
    let book = Book::open(file)?;
    let (id, since_1904) = book.first_sheet()?;
    let path = book.target(&id)?;
    let strings = book.strings()?;
    let rows = book.rows(&path, &strings, rows_max)?;
    Ok(Sheet { rows, since_1904 })
}

type Xml<'a> = Reader<BufReader<Unpacked<'a>>>;

/// An archive, and how much of it may still be unpacked.
struct Book<'a> {
    archive: ZipSliceArchive<&'a [u8]>,
    entries: HashMap<String, (ZipArchiveEntryWayfinder, CompressionMethod)>,
    left: Budget<u64>,
}

/// What is unpacked of an entry, counted against the budget of the whole.
struct Unpacked<'a> {
    bytes: Box<dyn Read + 'a>,
    left: &'a Budget<u64>,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.bytes.read(buffer)?;
        let left = self.left.get().checked_sub(n as u64).ok_or_else(|| {
            std::io::Error::other(format!("has more than {UNPACKED_BYTES_MAX} bytes when it is unpacked"))
        })?;
        self.left.set(left);
        Ok(n)
    }
}

impl<'a> Book<'a> {
    fn open(file: &'a [u8]) -> Result<Book<'a>> {
        let archive = ZipArchive::from_slice(file).map_err(no_xlsx)?;
        let mut entries = HashMap::new();
        let mut listed = archive.entries();
        while let Some(entry) = listed.next_entry().map_err(no_xlsx)? {
            if entries.len() >= ENTRIES_MAX {
                return Err(wrong(format!("has more than {ENTRIES_MAX} entries")));
            }
            // Names lead nowhere but into this table.
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).trim_start_matches('/').to_owned();
            entries.insert(name, (entry.wayfinder(), entry.compression_method()));
        }
        Ok(Book { archive, entries, left: Budget::new(UNPACKED_BYTES_MAX) })
    }

    /// A part of the book as XML, where there is one of that name.
    fn part(&'a self, name: &str) -> Result<Option<Xml<'a>>> {
        let Some((way, method)) = self.entries.get(name) else { return Ok(None) };
        let data = self.archive.get_entry(*way).map_err(no_xlsx)?.data();
        let bytes: Box<dyn Read + 'a> = match *method {
            CompressionMethod::STORE => Box::new(data),
            CompressionMethod::DEFLATE => Box::new(flate2::bufread::DeflateDecoder::new(data)),
            _ => return Err(no_xlsx(format!("{name} is packed in another way than deflate"))),
        };
        Ok(Some(Reader::from_reader(BufReader::new(Unpacked { bytes, left: &self.left }))))
    }

    fn required(&'a self, name: &str) -> Result<Xml<'a>> {
        self.part(name)?.ok_or_else(|| no_xlsx(format!("it has no {name}")))
    }

    /// The relation that leads to the first sheet, and whether days are counted from 1904.
    fn first_sheet(&'a self) -> Result<(String, bool)> {
        let (mut xml, mut since_1904) = (self.required("xl/workbook.xml")?, false);
        let mut buffer = Vec::new();
        loop {
            match next(&mut xml, &mut buffer)? {
                Event::Start(tag) | Event::Empty(tag) => match tag.local_name().as_ref() {
                    b"workbookPr" => {
                        let value = attribute(&tag, b"date1904")?;
                        since_1904 = value.is_some_and(|value| matches!(value.as_str(), "1" | "true"));
                    }
                    b"sheet" => {
                        let id = attribute(&tag, b"id")?;
                        return id.map(|id| (id, since_1904)).ok_or_else(|| no_xlsx("a sheet has no id"));
                    }
                    _ => {}
                },
                Event::Eof => return Err(no_xlsx("it has no sheet")),
                _ => {}
            }
        }
    }

    /// The path of the part that a relation of the workbook leads to.
    fn target(&'a self, id: &str) -> Result<String> {
        let mut xml = self.required("xl/_rels/workbook.xml.rels")?;
        let mut buffer = Vec::new();
        loop {
            match next(&mut xml, &mut buffer)? {
                Event::Start(tag) | Event::Empty(tag) if tag.local_name().as_ref() == b"Relationship" => {
                    if attribute(&tag, b"Id")?.as_deref() == Some(id)
                        && let Some(target) = attribute(&tag, b"Target")?
                    {
                        let path = target.strip_prefix('/').map(str::to_owned);
                        return Ok(path.unwrap_or_else(|| format!("xl/{target}")));
                    }
                }
                Event::Eof => return Err(no_xlsx("the first sheet leads nowhere")),
                _ => {}
            }
        }
    }

    /// The texts that cells share.
    fn strings(&'a self) -> Result<Vec<String>> {
        let Some(mut xml) = self.part("xl/sharedStrings.xml")? else { return Ok(Vec::new()) };
        let (mut strings, mut buffer) = (Vec::new(), Vec::new());
        loop {
            match next(&mut xml, &mut buffer)? {
                Event::Start(tag) if tag.local_name().as_ref() == b"si" => {
                    strings.push(rich_text(&mut xml, b"si")?)
                }
                Event::Empty(tag) if tag.local_name().as_ref() == b"si" => strings.push(String::new()),
                Event::Eof => return Ok(strings),
                _ => {}
            }
            if strings.len() > STRINGS_MAX {
                return Err(wrong(format!("has more than {STRINGS_MAX} texts")));
            }
        }
    }

    /// The rows of a sheet.
    fn rows(&'a self, path: &str, strings: &[String], rows_max: usize) -> Result<Rows> {
        let (mut xml, mut buffer) = (self.required(path)?, Vec::new());
        let (mut rows, mut text_bytes) = (Rows::new(), 0);
        // Places may be left out: then a row follows the one before, and a cell likewise.
        let (mut row, mut column) = (0_u32, 0_u32);
        loop {
            let (tag, is_empty) = match next(&mut xml, &mut buffer)? {
                Event::Start(tag) => (tag, false),
                Event::Empty(tag) => (tag, true),
                Event::Eof => return Ok(rows),
                _ => continue,
            };
            match tag.local_name().as_ref() {
                b"row" => {
                    let number = attribute(&tag, b"r")?.map(|text| text.parse::<u32>());
                    row = number.transpose().map_err(no_xlsx)?.unwrap_or(row.saturating_add(1));
                    column = 0;
                }
                b"c" => {
                    if let Some(place) = attribute(&tag, b"r")? {
                        (column, row) =
                            position(&place).ok_or_else(|| no_xlsx(format!("{place:?} is no cell")))?;
                    }
                    let kind = attribute(&tag, b"t")?.unwrap_or_default();
                    let at = column;
                    column = column.saturating_add(1);
                    let held = if is_empty { String::new() } else { rich_text(&mut xml, b"c")? };
                    let Some(cell) = cell(&kind, held, strings)? else { continue };
                    if at >= COLUMNS_MAX {
                        return Err(wrong(format!("has more than {COLUMNS_MAX} columns")));
                    }
                    if let Cell::Text(text) = &cell {
                        text_bytes += text.len();
                        if text_bytes > TEXT_BYTES_MAX {
                            return Err(wrong(format!("has texts of more than {TEXT_BYTES_MAX} bytes")));
                        }
                    }
                    rows.entry(row).or_default().insert(at, cell);
                    if rows.len() > rows_max {
                        return Err(wrong(format!("has more than {rows_max} rows, headings among them")));
                    }
                }
                _ => {}
            }
        }
    }
}

fn next<'b>(xml: &mut Xml<'_>, buffer: &'b mut Vec<u8>) -> Result<Event<'b>> {
    buffer.clear();
    xml.read_event_into(buffer).map_err(no_xlsx)
}

/// An attribute of a tag, whatever its prefix.
fn attribute(tag: &BytesStart<'_>, name: &[u8]) -> Result<Option<String>> {
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(no_xlsx)?;
        if attribute.key.local_name().as_ref() == name {
            return attribute.unescape_value().map(|value| Some(value.into_owned())).map_err(no_xlsx);
        }
    }
    Ok(None)
}

/// The texts up to the end of element `end`: those of `t` and `v`, which are what a reader sees. Readings (`rPh`) and
/// formulas (`f`) are not.
fn rich_text(xml: &mut Xml<'_>, end: &[u8]) -> Result<String> {
    let (mut text, mut seen, mut hidden, mut buffer) = (String::new(), false, 0_usize, Vec::new());
    loop {
        match next(xml, &mut buffer)? {
            Event::Start(tag) => match tag.local_name().as_ref() {
                b"rPh" | b"f" => hidden += 1,
                b"t" | b"v" => seen = true,
                _ => {}
            },
            Event::End(tag) => match tag.local_name().as_ref() {
                b"rPh" | b"f" => hidden = hidden.saturating_sub(1),
                b"t" | b"v" => seen = false,
                name if name == end => return Ok(text),
                _ => {}
            },
            Event::Text(part) if seen && hidden == 0 => text.push_str(&part.decode().map_err(no_xlsx)?),
            Event::CData(part) if seen && hidden == 0 => text.push_str(&part.decode().map_err(no_xlsx)?),
            Event::GeneralRef(part) if seen && hidden == 0 => {
                let name = part.decode().map_err(no_xlsx)?;
                match part.resolve_char_ref().map_err(no_xlsx)? {
                    Some(c) => text.push(c),
                    None => text.push_str(
                        quick_xml::escape::resolve_xml_entity(&name)
                            .ok_or_else(|| no_xlsx(format!("&{name}; stands for nothing")))?,
                    ),
                }
            }
            Event::Eof => return Err(no_xlsx("it ends inside a cell")),
            _ => {}
        }
    }
}

/// What a cell of this kind holds; nothing where it is blank.
fn cell(kind: &str, held: String, strings: &[String]) -> Result<Option<Cell>> {
    let text = |text: String| (!text.trim().is_empty()).then_some(Cell::Text(text));
    Ok(match kind {
        _ if held.trim().is_empty() => None,
        "s" => {
            let place = held.trim().parse::<usize>().ok();
            let shared = place.and_then(|place| strings.get(place));
            text(shared.cloned().ok_or_else(|| no_xlsx("a cell has a text that is not there"))?)
        }
        "b" => Some(Cell::Flag(held.trim() == "1")),
        "" | "n" => {
            let number = held.trim().parse::<f64>().map_err(|e| no_xlsx(format!("a number: {e}")))?;
            Some(Cell::Number(number))
        }
        _ => text(held),
    })
}

/// Column from 0 and row from 1 of a place such as `B2`.
fn position(place: &str) -> Option<(u32, u32)> {
    let digits = place.find(|c: char| c.is_ascii_digit())?;
    let (letters, row) = place.split_at(digits);
    if letters.is_empty() || letters.len() > 3 || !letters.bytes().all(|c| c.is_ascii_uppercase()) {
        return None;
    }
    let column = letters.bytes().fold(0, |column, c| column * 26 + u32::from(c - b'A') + 1);
    Some((column - 1, row.parse().ok()?))
}

const PACKAGE: [(&str, &str); 4] = [
    (
        "[Content_Types].xml",
        r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>"#,
    ),
    (
        "_rels/.rels",
        r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#,
    ),
    (
        "xl/workbook.xml",
        r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="devices" sheetId="1" r:id="rId1"/></sheets></workbook>"#,
    ),
    (
        "xl/_rels/workbook.xml.rels",
        r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#,
    ),
];

/// An .xlsx file of these rows, every cell a text.
pub(super) fn write(rows: &[Vec<String>]) -> Result<Vec<u8>> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let mut sheet = format!(
        r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cols><col min="1" max="{columns}" width="24" customWidth="1"/></cols><sheetData>"#
    );
    for (number, cells) in rows.iter().enumerate() {
        sheet.push_str(&format!(r#"<row r="{}">"#, number + 1));
        for text in cells {
            // XML has no way to write most control characters.
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            let text = quick_xml::escape::escape(&text);
            sheet.push_str(&format!(r#"<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>"#));
        }
        sheet.push_str("</row>");
    }
    sheet.push_str("</sheetData></worksheet>");
    let parts = PACKAGE.into_iter().chain([("xl/worksheets/sheet1.xml", sheet.as_str())]);
    archive(parts).map_err(|e| Error::internal(format!("template: {e}")))
}

/// A ZIP archive of these entries.
fn archive<'a>(
    parts: impl Iterator<Item = (&'a str, &'a str)>,
) -> std::result::Result<Vec<u8>, rawzip::Error> {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (name, text) in parts {
        let new = archive.new_file(name).compression_method(CompressionMethod::DEFLATE);
        let (mut entry, config) = new.start()?;
        let packed = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
        let mut writer = config.wrap(packed);
        writer.write_all(text.as_bytes())?;
        let (packed, descriptor) = writer.finish()?;
        packed.finish()?;
        entry.finish(descriptor)?;
    }
    archive.finish()
}

#[cfg(test)]
pub(super) fn archive_of(parts: &[(&str, &str)]) -> Vec<u8> {
    archive(parts.iter().copied()).unwrap()
}
