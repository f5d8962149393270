//! Gathers every setting from file, environment and flags, the later over the earlier.
//!
//! Owns: precedence, and the refusal of what is unknown or malformed, by name and place. Does not own: which settings
//! there are (`keys`), what the server does with them (`super::Settings`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, find, nearest};
use super::setting::Setting;
use crate::error::{Error, Result};

/// Largest settings file that is read: a thousand times the default file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Environment variables of other commands, which are not settings of the server.
const OTHER_ENV: [&str; 5] =
    ["WATTLINE_CONFIG", "WATTLINE_SERVER", "WATTLINE_TOKEN", "WATTLINE_CA", "WATTLINE_HISTORY"];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table of settings.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(&'static str),
    /// The command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The value of every setting, with where it came from.
#[derive(Clone, Debug)]
pub struct Gathered {
    values: BTreeMap<&'static str, (Setting, Origin)>,
    /// What is odd but no reason to refuse, to be logged once there is a log.
    pub warnings: Vec<String>,
}

/// What was said on the command line: the flag, the setting's name, its text.
pub type Flags = Vec<(String, String, String)>;

impl Gathered {
    /// The defaults alone.
    pub fn defaults() -> Gathered {
        let values = KEYS.iter().map(|key| {
            let value = key.kind.decode(key.default).expect("the tests decode every default");
            (key.name, (value, Origin::Default))
        });
        Gathered { values: values.collect(), warnings: Vec::new() }
    }

    /// Every setting: flag over environment over file over default.
    ///
    /// # Errors
    /// Names the first setting that is unknown or malformed, and its place.
    pub fn gather(file: Option<&Path>, env: &[(String, String)], flags: &Flags) -> Result<Gathered> {
        let mut gathered = Gathered::defaults();
        if let Some(path) = file {
            gathered.take_file(path)?;
        }
        gathered.take_environment(env)?;
        gathered.take_flags(flags)?;
        Ok(gathered)
    }

    /// The value of setting `name`, and where it came from.
    ///
    /// # Panics
    /// Where there is no such setting: the caller misspelt it.
    pub fn get(&self, name: &str) -> &(Setting, Origin) {
        self.values.get(name).unwrap_or_else(|| panic!("no setting is called {name}"))
    }

    fn put(&mut self, key: &'static Key, text: &str, origin: Origin) -> Result<()> {
        let value = key
            .kind
            .decode(text)
            .map_err(|reason| Error::usage(format!("setting {} ({origin}): {reason}", key.name)))?;
        self.values.insert(key.name, (value, origin));
        Ok(())
    }

    fn take_file(&mut self, path: &Path) -> Result<()> {
        let shown = path.display();
        let size =
            std::fs::metadata(path).map_err(|e| Error::usage(format!("settings file {shown}: {e}")))?.len();
        if size > FILE_BYTES_MAX {
            return Err(Error::usage(format!("settings file {shown}: larger than {FILE_BYTES_MAX} bytes")));
        }
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::usage(format!("settings file {shown}: {e}")))?;
        let table = DeTable::parse(&text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(&text, span.start));
            Error::usage(format!("settings file {shown}, line {line}: {}", e.message()))
        })?;
        let mut strangers = Vec::new();
        self.take_table(path, &text, "", table.get_ref(), &mut strangers)?;
        // All of them at once: a file from elsewhere has many, and one a start is tiresome.
        if strangers.is_empty() { Ok(()) } else { Err(Error::usage(strangers.join("\n"))) }
    }

    fn take_table(
        &mut self,
        path: &Path,
        text: &str,
        prefix: &str,
        table: &DeTable<'_>,
        strangers: &mut Vec<String>,
    ) -> Result<()> {
        for (word, value) in table {
            let name = format!("{prefix}{}", word.get_ref());
            let line = line_of(text, word.span().start);
            let section = format!("{name}.");
            match (find(&name), value.get_ref()) {
                (Some(key), value) => {
                    let kind = value.type_str();
                    if !key.kind.accepts(kind) {
                        let expected = key.kind.describe();
                        return Err(Error::usage(format!(
                            "setting {name} ({}, line {line}): expected {expected}, found a TOML {kind}",
                            path.display()
                        )));
                    }
                    self.put(key, &scalar(value), Origin::File(path.to_owned(), line))?;
                }
                // A section nobody knows is gone through too, so that what stands in it is named.
                (None, DeValue::Table(inner)) if !inner.is_empty() => {
                    self.take_table(path, text, &section, inner, strangers)?;
                }
                (None, DeValue::Table(_)) if KEYS.iter().any(|key| key.name.starts_with(&section)) => {}
                (None, _) => strangers.push(unknown(&name, &format!("{}, line {line}", path.display()))),
            }
        }
        Ok(())
    }

    fn take_environment(&mut self, env: &[(String, String)]) -> Result<()> {
        for (name, text) in env.iter().filter(|(name, _)| name.starts_with("WATTLINE_")) {
            if let Some(key) = KEYS.iter().find(|key| key.env == name) {
                self.put(key, text, Origin::Environment(key.env))?;
            } else if !OTHER_ENV.contains(&name.as_str()) {
                // Not refused: orchestrators put variables of their own there, WATTLINE_SERVICE_HOST for one.
                let hint = nearest(name, KEYS.iter().map(|key| key.env));
                let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"));
                self.warnings.push(format!("environment variable {name} is no setting{hint}"));
            }
        }
        Ok(())
    }

    fn take_flags(&mut self, flags: &Flags) -> Result<()> {
        for (flag, name, text) in flags {
            let key = find(name).ok_or_else(|| Error::usage(unknown(name, flag)))?;
            self.put(key, text, Origin::Flag(flag.clone()))?;
        }
        Ok(())
    }
}

fn unknown(name: &str, place: &str) -> String {
    let hint = nearest(name, KEYS.iter().map(|key| key.name));
    let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"));
    format!("unknown setting {name} ({place}){hint}")
}

fn scalar(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        // Only decimal integers decode further on; 0x10 is refused as "expected a whole number".
        DeValue::Integer(number) => number.to_string(),
        other => other.type_str().to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&b| b == b'\n').count()
}
