//! Settings as text: the default file with its comments, the effective settings with where each came from.

use std::fmt::Write as _;

use super::keys::{KEYS, Key};
use super::setting::{Kind, Setting};
use super::sources::Gathered;

/// The default `wattline.toml`: every setting with what it does, its bounds, its variable and its flag.
pub fn default_file() -> String {
    let mut out = String::from(
        "# wattline.toml: every setting, with its default.\n\
         # A flag goes over an environment variable, that over this file, this over the default.\n",
    );
    let defaults = Gathered::defaults();
    let mut section = "";
    for key in KEYS {
        section = head(&mut out, section, key);
        out.push('\n');
        for line in key.doc.lines() {
            let _ = writeln!(out, "# {line}");
        }
        let flag = key.flag.map_or_else(String::new, |flag| format!(", flag {flag}"));
        let _ = writeln!(out, "# {}; environment {}{flag}", key.kind.describe(), key.env);
        let _ = writeln!(out, "{} = {}", last(key), defaults.get(key.name).0.to_toml());
    }
    out
}

/// The settings in effect as a file that can be read back (but for secrets, which are masked), each with where it
/// came from.
pub fn effective(gathered: &Gathered) -> String {
    let mut out = String::new();
    let mut section = "";
    for key in KEYS {
        section = head(&mut out, section, key);
        let (value, origin) = gathered.get(key.name);
        let _ = writeln!(out, "{} = {} # {origin}", last(key), masked(key, value).to_toml());
    }
    out
}

/// The value of `key` as it may be shown: a secret that is set is not.
pub fn masked(key: &Key, value: &Setting) -> Setting {
    match (key.kind, value) {
        (Kind::Secret, Setting::Text(text)) if !text.is_empty() => Setting::Text("***".to_owned()),
        _ => value.clone(),
    }
}

fn head(out: &mut String, section: &'static str, key: &'static Key) -> &'static str {
    let own = key.name.rsplit_once('.').map_or("", |(section, _)| section);
    if own != section {
        let _ = writeln!(out, "\n[{own}]");
    }
    own
}

fn last(key: &Key) -> &'static str {
    key.name.rsplit_once('.').map_or(key.name, |(_, last)| last)
}
