//! Lines that were refused.
//!
//! Owns: counting them, showing the first few, the rejects file, the limit. Does not own: deciding what is refused
//! (`rows` here, the model's rules in the server).
//!
//! The rejects file holds the header, and for each refused line a comment with the reason and the line as it came:
//! mended, it can be imported with `--comment '#'`.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

use super::progress::Progress;
use super::rows::Mark;

/// Refused lines shown on the terminal; the file has all of them.
const SHOWN_MAX: u64 = 5;

/// Where refused lines go.
pub struct Rejects {
    paths: Vec<PathBuf>,
    file: Option<(PathBuf, BufWriter<File>)>,
    max: Option<u64>,
    count: u64,
}

impl Rejects {
    /// Opens the rejects file, where one is wanted, and writes the header line into it.
    pub fn open(paths: &[PathBuf], file: Option<&Path>, header: &[u8], max: Option<u64>) -> Result<Rejects> {
        let file = match file {
            None => None,
            Some(path) => {
                if let Some(input) = paths.iter().find(|p| same_file(p, path)) {
                    return Err(Error::usage(format!("--rejects {} is an input file", input.display())));
                }
                let created = File::create(path).map_err(|e| cannot(path, &e))?;
                let mut writer = BufWriter::new(created);
                if !header.is_empty() {
                    write_line(&mut writer, header).map_err(|e| cannot(path, &e))?;
                }
                Some((path.to_owned(), writer))
            }
        };
        Ok(Rejects { paths: paths.to_vec(), file, max, count: 0 })
    }

    /// How many lines were refused.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Records one refused line; an error where they are more than allowed.
    pub fn refuse(
        &mut self,
        progress: &Progress,
        file: usize,
        mark: Mark,
        column: Option<&str>,
        reason: &str,
    ) -> Result<()> {
        self.count += 1;
        let path = &self.paths[file];
        let place = match column {
            Some(column) => format!("{}:{}: {column:?}: {reason}", path.display(), mark.line),
            None => format!("{}:{}: {reason}", path.display(), mark.line),
        };
        match self.count {
            ..=SHOWN_MAX => progress.say(&format!("refused {place}")),
            count if count == SHOWN_MAX + 1 => progress.say(match self.file {
                Some(_) => "more refused lines are in the rejects file",
                None => "more refused lines are not shown; --rejects FILE keeps them",
            }),
            _ => {}
        }
        if let Some((out, writer)) = &mut self.file {
            let verbatim = read_at(path, mark).map_err(|e| cannot(path, &e))?;
            // One line a reason: a line end inside it would no longer be a comment.
            write_line(writer, format!("# {}", place.replace(['\n', '\r'], " ")).as_bytes())
                .and_then(|()| if verbatim.is_empty() { Ok(()) } else { write_line(writer, &verbatim) })
                .map_err(|e| cannot(out, &e))?;
        }
        match self.max {
            Some(max) if self.count > max => {
                Err(Error::failed(format!("more than {max} lines were refused, the last one at {place}")))
            }
            _ => Ok(()),
        }
    }

    /// Counts lines of which nothing but their number is known.
    pub fn refuse_unnamed(&mut self, progress: &Progress, count: u64, place: &str) -> Result<()> {
        self.count += count;
        let note = format!("{count} more values of {place} were refused; the server does not list all");
        progress.say(&note);
        if let Some((out, writer)) = &mut self.file {
            write_line(writer, format!("# {note}").as_bytes()).map_err(|e| cannot(out, &e))?;
        }
        match self.max {
            Some(max) if self.count > max => {
                Err(Error::failed(format!("more than {max} lines were refused")))
            }
            _ => Ok(()),
        }
    }

    /// Writes what is still buffered.
    pub fn finish(&mut self) -> Result<()> {
        match &mut self.file {
            Some((path, writer)) => writer.flush().map_err(|e| cannot(path, &e)),
            None => Ok(()),
        }
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The line is read again: keeping the text of every row until the server has judged it would cost more.
fn read_at(path: &Path, mark: Mark) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; mark.len as usize];
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(mark.offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn write_line(writer: &mut impl Write, line: &[u8]) -> std::io::Result<()> {
    writer.write_all(line)?;
    writer.write_all(b"\n")
}

fn cannot(path: &Path, cause: &std::io::Error) -> Error {
    Error::failed(format!("{}: {cause}", path.display()))
}
