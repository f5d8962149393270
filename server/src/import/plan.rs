//! What an import will do, decided before the first row is sent.
//!
//! Owns: opening every file, its columns, the model they go to. Does not own: the rows.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

use super::args::{Args, Options};
use super::columns::{self, Kind, Layout, NewColumn, PointInfo, Role};
use super::create;
use super::infer::{self, Header};
use super::parquet;
use super::rest::Rest;
use super::time::Format;

/// One file.
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its rows, where the format says it (0 for CSV).
    pub rows: u64,
    /// What is in it.
    pub content: Content,
    /// What its columns are.
    pub layout: Arc<Layout>,
    /// The form of its times.
    pub format: Format,
}

/// What is in a file.
pub enum Content {
    /// CSV.
    Csv {
        /// Its header.
        header: Header,
    },
    /// Parquet.
    Parquet,
}

/// The whole import.
pub struct Plan {
    /// Files in the order given.
    pub sources: Vec<Source>,
    /// Whether the model is new: then nothing can have assets of it yet.
    pub model_created: bool,
}

/// A file whose model is not known yet.
struct Opened {
    path: PathBuf,
    bytes: u64,
    rows: u64,
    content: Content,
    names: Vec<String>,
    fixed: Vec<Option<Role>>,
    format: Format,
}

/// Opens the files, asks for the model, creates it where wanted, matches the columns.
pub fn make(args: &Args, options: &Options) -> Result<Plan> {
    let opened = args.files.iter().map(|path| open(path, args, options)).collect::<Result<Vec<_>>>()?;
    let mut rest = Rest::new(&args.server)?;
    let found = match create::points(&mut rest, &args.model) {
        // Trying a file out needs no server, where the model would come from the file.
        Err(e) if e.kind() == ErrorKind::Unreachable && args.dry_run && args.create_model => None,
        found => found?,
    };
    let (points, model_created) = match found {
        Some(points) => (points, false),
        None if args.create_model => {
            let (points, json) = infer_model(args, options, &opened)?;
            if !args.dry_run {
                create::model(&mut rest, json)?;
            }
            describe(&args.model, &points);
            (points, true)
        }
        None => {
            return Err(Error::usage(format!(
                "the server has no model {:?}; --create-model makes it from the file",
                args.model
            )));
        }
    };
    let sources = opened
        .into_iter()
        .map(|file| {
            // Columns without any value have no type and became no point of a new model.
            let lenient = args.skip_unknown || model_created;
            let layout = columns::match_points(&file.names, &file.fixed, &points, options, lenient)
                .map_err(|e| e.within(file.path.display()))?;
            let Opened { path, bytes, rows, content, format, .. } = file;
            Ok(Source { path, bytes, rows, content, layout: Arc::new(layout), format })
        })
        .collect::<Result<_>>()?;
    Ok(Plan { sources, model_created })
}

fn describe(model: &str, points: &[PointInfo]) {
    let list: Vec<String> = points.iter().map(|p| format!("{} {:?}", p.key, p.kind).to_lowercase()).collect();
    eprintln!("new model {model}: {}", list.join(", "));
}

fn open(path: &PathBuf, args: &Args, options: &Options) -> Result<Opened> {
    let within = |e: Error| e.within(path.display());
    let bytes = std::fs::metadata(path).map_err(|e| within(Error::failed(e)))?.len();
    let is_parquet = parquet::is_parquet(path)?;
    let (content, names, rows) = if is_parquet {
        let names = parquet::schema(path)?.into_iter().map(|(name, _)| name).collect();
        (Content::Parquet, names, parquet::rows(path)?)
    } else {
        let header = infer::header(path, &options.dialect)?;
        let names = header.names.clone();
        (Content::Csv { header }, names, 0)
    };
    let fixed = columns::fixed_roles(&names, args, options).map_err(within)?;
    let time = fixed.iter().position(|r| *r == Some(Role::Time)).expect("a time column was found or refused");
    let format = match &options.format {
        Some(format) => format.clone(),
        None => {
            let samples = if is_parquet {
                parquet::time_samples(path, time)?
            } else {
                Some(infer::sample_times(path, &options.dialect, time)?)
            };
            match samples {
                Some(samples) => detect(&samples)
                    .map_err(|e| within(Error::usage(format!("time column {:?}: {e}", names[time]))))?,
                None => Format::Iso,
            }
        }
    };
    Ok(Opened { path: path.clone(), bytes, rows, content, names, fixed, format })
}

/// One broken line must not decide the form: a few samples may be left unread, if the rest agree.
fn detect(samples: &[String]) -> std::result::Result<Format, String> {
    let texts: Vec<&str> = samples.iter().map(String::as_str).collect();
    match Format::detect(&texts) {
        Ok(format) => Ok(format),
        Err(all) => {
            let Some(Ok(format)) = texts.first().map(|first| Format::detect(&[first])) else {
                return Err(all);
            };
            Ok(format)
        }
    }
}

/// The model that holds the columns of every file.
fn infer_model(args: &Args, options: &Options, files: &[Opened]) -> Result<(Vec<PointInfo>, String)> {
    let mut columns: Vec<(NewColumn, Kind)> = Vec::new();
    for file in files {
        let within = |e: Error| e.within(file.path.display());
        let fresh = columns::new_columns(&file.names, &file.fixed, options).map_err(within)?;
        let kinds: Vec<Option<Kind>> = match &file.content {
            Content::Parquet => parquet::schema(&file.path)?.into_iter().map(|(_, kind)| kind).collect(),
            Content::Csv { .. } => {
                let survey = infer::survey(&file.path, &options.dialect, file.names.len())?;
                for (name, guess) in file.names.iter().zip(&survey.guesses) {
                    if let Some(note) = guess.misfits() {
                        eprintln!("{}: column {name:?}: {note}", file.path.display());
                    }
                }
                survey.guesses.iter().map(|g| g.kind(survey.whole_file)).collect()
            }
        };
        for column in fresh {
            let Some(kind) = kinds[column.column] else {
                eprintln!(
                    "{}: column {:?} has no value of a known type and is left out",
                    file.path.display(),
                    column.name
                );
                continue;
            };
            match columns.iter_mut().find(|(known, _)| known.key == column.key) {
                Some((_, known)) => *known = wider(*known, kind),
                None => columns.push((column, kind)),
            }
        }
    }
    if columns.is_empty() {
        return Err(Error::usage("no column has a value, so there is no model to create"));
    }
    let json = create::model_json(&args.model, &columns);
    let points =
        columns.into_iter().map(|(c, kind)| PointInfo { key: c.key, name: c.header, kind }).collect();
    Ok((points, json))
}

/// The kind that holds values of both.
fn wider(a: Kind, b: Kind) -> Kind {
    match (a, b) {
        (a, b) if a == b => a,
        (Kind::Float, Kind::Int) | (Kind::Int, Kind::Float) => Kind::Float,
        _ => Kind::Text,
    }
}
