//! One setting: its kind, its value, how text becomes the value and the value text.
//!
//! Owns: kinds and their text forms. Does not own: which settings there are (`keys`), where their text comes from
//! (`sources`).

use std::time::Duration;

/// What a setting may hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text, empty for "not set".
    Text,
    /// A text that is never printed.
    Secret,
    /// A path, empty for "not set".
    Path,
    /// `host:port`, or `off`.
    Listen,
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Count(u64, u64),
    /// A size such as `64MiB` within bounds.
    Bytes(u64, u64),
    /// A time span such as `30s` within bounds, in milliseconds.
    Duration(u64, u64),
    /// One of a few words.
    Choice(&'static [&'static str]),
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Of kinds that are texts.
    Text(String),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Count`].
    Count(u64),
    /// Of [`Kind::Bytes`].
    Bytes(u64),
    /// Of [`Kind::Duration`].
    Duration(Duration),
}

const BYTE_UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Longest unit first, so that `ms` is not read as `m`.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Kind {
    /// The value `text` stands for.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn decode(self, text: &str) -> Result<Setting, String> {
        let text = text.trim();
        match self {
            Kind::Text | Kind::Secret | Kind::Path => Ok(Setting::Text(text.to_owned())),
            Kind::Listen => decode_listen(text),
            Kind::Flag => match text {
                "true" | "1" | "yes" | "on" => Ok(Setting::Flag(true)),
                "false" | "0" | "no" | "off" => Ok(Setting::Flag(false)),
                _ => Err("expected true or false".to_owned()),
            },
            Kind::Count(min, max) => match text.replace('_', "").parse::<u64>() {
                Ok(n) if (min..=max).contains(&n) => Ok(Setting::Count(n)),
                _ => Err(format!("expected a whole number from {min} to {max}")),
            },
            Kind::Bytes(min, max) => match scaled(text, &BYTE_UNITS) {
                Some(n) if (min..=max).contains(&n) => Ok(Setting::Bytes(n)),
                _ => Err(format!("expected a size from {} to {}, like \"64MiB\"", bytes(min), bytes(max))),
            },
            Kind::Duration(min, max) => match scaled(text, &TIME_UNITS) {
                Some(n) if (min..=max).contains(&n) => Ok(Setting::Duration(Duration::from_millis(n))),
                _ => Err(format!("expected a time span from {} to {}, like \"30s\"", span(min), span(max))),
            },
            Kind::Choice(words) if words.contains(&text) => Ok(Setting::Text(text.to_owned())),
            Kind::Choice(words) => Err(format!("expected one of {}", words.join(", "))),
        }
    }

    /// Whether a value of this kind may stand in a file as a TOML value of type `toml_type`.
    pub fn accepts(self, toml_type: &str) -> bool {
        match self {
            Kind::Flag => toml_type == "boolean",
            Kind::Count(..) => toml_type == "integer",
            Kind::Bytes(..) => toml_type == "integer" || toml_type == "string",
            _ => toml_type == "string",
        }
    }

    /// What kind of value this is, for people.
    pub fn describe(self) -> String {
        match self {
            Kind::Text => "text".to_owned(),
            Kind::Secret => "text (secret)".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Listen => "host:port or \"off\"".to_owned(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Count(min, u64::MAX) => format!("{min} or more"),
            Kind::Count(min, max) => format!("{min} to {max}"),
            Kind::Bytes(min, max) => format!("{} to {}", bytes(min), bytes(max)),
            Kind::Duration(min, max) => format!("{} to {}", span(min), span(max)),
            Kind::Choice(words) => words.join(", "),
        }
    }
}

impl Setting {
    /// The value as it stands in a TOML file.
    pub fn to_toml(&self) -> String {
        match self {
            Setting::Text(text) => quote(text),
            Setting::Flag(flag) => flag.to_string(),
            Setting::Count(n) => n.to_string(),
            Setting::Bytes(n) => quote(&bytes(*n)),
            Setting::Duration(d) => quote(&span(d.as_millis() as u64)),
        }
    }
}

/// A TOML basic string. JSON escapes are TOML escapes; only DEL, which JSON leaves alone, needs one more.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn decode_listen(text: &str) -> Result<Setting, String> {
    let fits = text == "off"
        || text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if fits {
        Ok(Setting::Text(text.to_owned()))
    } else {
        Err("expected host:port, like \"127.0.0.1:8080\", or \"off\"".to_owned())
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start();
    if unit.is_empty() {
        // A bare number is bytes; a bare time span would leave its unit to guesswork, so only 0 may do without.
        let bytes = units.iter().any(|&(name, _)| name == "B");
        return (bytes || number == 0).then_some(number);
    }
    let &(_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(factor)
}

/// `n` bytes in the largest binary unit that divides it.
pub fn bytes(n: u64) -> String {
    for (name, factor) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if n >= factor && n.is_multiple_of(factor) {
            return format!("{}{name}", n / factor);
        }
    }
    format!("{n}B")
}

fn span(ms: u64) -> String {
    for (name, factor) in TIME_UNITS.iter().rev() {
        if ms >= *factor && ms.is_multiple_of(*factor) {
            return format!("{}{name}", ms / factor);
        }
    }
    "0s".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_read_with_their_units() {
        let size = Kind::Bytes(0, u64::MAX);
        for (text, n) in [("64MiB", 67_108_864), ("1gib", 1_073_741_824), ("12", 12), ("3 KB", 3_000)] {
            assert_eq!(size.decode(text), Ok(Setting::Bytes(n)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "64 parsecs", "99999999999TiB"] {
            assert!(size.decode(text).is_err(), "{text}");
        }
        let time = Kind::Duration(0, u64::MAX);
        for (text, ms) in [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("2d", 172_800_000), ("0", 0)] {
            assert_eq!(time.decode(text), Ok(Setting::Duration(Duration::from_millis(ms))), "{text}");
        }
        assert!(time.decode("30").is_err(), "a span without unit is ambiguous");
    }

    #[test]
    fn values_survive_printing() {
        for (kind, text) in [
            (Kind::Bytes(0, u64::MAX), "1536KiB"),
            (Kind::Duration(0, u64::MAX), "90s"),
            (Kind::Count(0, 10), "7"),
            (Kind::Flag, "true"),
            (Kind::Listen, "[::1]:80"),
        ] {
            let value = kind.decode(text).unwrap();
            assert_eq!(kind.decode(value.to_toml().trim_matches('"')), Ok(value));
        }
    }

    #[test]
    fn addresses_need_a_port() {
        for text in ["localhost", "127.0.0.1", ":80", "127.0.0.1:99999", ""] {
            assert!(Kind::Listen.decode(text).is_err(), "{text}");
        }
        assert!(Kind::Listen.decode("off").is_ok());
    }
}
