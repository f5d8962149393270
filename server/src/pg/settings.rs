//! The settings of a session: which there are, what they may be, what they are.
//!
//! Owns: SET, RESET and SHOW. Does not own: what a setting does (the time zone: `time`; the timeout: `session`).
//!
//! Settings that PostgreSQL has and clients set by habit are known here only where the value is one that holds: a value
//! that would change what a statement means and does not is refused, not swallowed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{PgError, state};
use super::limits::SETTING_BYTES_MAX;
use super::time::Zone;

/// The version of PostgreSQL whose behaviour clients may count on.
pub const SERVER_VERSION: &str = "15.0";

/// Settings of a client's own, `name.name`, one session may have.
const OWN_MAX: usize = 64;

/// What may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Any text.
    Any,
    /// One of these, in any case; the first is the default.
    OneOf(&'static [&'static str]),
    /// A time span in milliseconds or with a unit; 0 is none.
    Span,
    /// A number from the first to the second.
    Number(i64, i64),
    /// The name of a time zone.
    Zone,
    /// A list of schemas that begins with ours.
    Path,
    /// Nothing: it is what it is.
    Fixed,
}

/// Name, rule, default, whether clients are told of changes. In the order of SHOW ALL.
const KNOWN: &[(&str, Rule, &str, bool)] = &[
    ("application_name", Rule::Any, "", true),
    ("bytea_output", Rule::OneOf(&["hex"]), "hex", false),
    ("client_encoding", Rule::OneOf(&["UTF8", "UTF-8", "unicode"]), "UTF8", true),
    ("client_min_messages", Rule::Any, "notice", false),
    (
        "DateStyle",
        Rule::OneOf(&["ISO, MDY", "ISO", "ISO, YMD", "ISO, DMY", "ISO,MDY", "YMD"]),
        "ISO, MDY",
        true,
    ),
    ("default_transaction_isolation", Rule::Any, "read committed", false),
    ("default_transaction_read_only", Rule::OneOf(&["off", "on", "false", "true"]), "off", true),
    ("extra_float_digits", Rule::Number(-15, 3), "1", false),
    ("idle_in_transaction_session_timeout", Rule::Span, "0", false),
    ("in_hot_standby", Rule::Fixed, "off", true),
    ("integer_datetimes", Rule::Fixed, "on", true),
    ("IntervalStyle", Rule::OneOf(&["postgres"]), "postgres", true),
    ("is_superuser", Rule::Fixed, "off", true),
    ("lock_timeout", Rule::Span, "0", false),
    ("max_identifier_length", Rule::Fixed, "63", false),
    ("search_path", Rule::Path, "\"$user\", public", false),
    ("server_encoding", Rule::Fixed, "UTF8", true),
    ("server_version", Rule::Fixed, SERVER_VERSION, true),
    ("server_version_num", Rule::Fixed, "150000", false),
    ("session_authorization", Rule::Fixed, "", true),
    ("standard_conforming_strings", Rule::OneOf(&["on", "true"]), "on", true),
    ("statement_timeout", Rule::Span, "0", false),
    ("TimeZone", Rule::Zone, "UTC", true),
    ("transaction_isolation", Rule::Any, "read committed", false),
    ("transaction_read_only", Rule::OneOf(&["off", "on", "false", "true"]), "off", false),
];

/// The settings of one session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What was set, by the name in lower case.
    values: BTreeMap<String, String>,
    /// What they were when the session began.
    initial: BTreeMap<String, String>,
    zone: Zone,
    timeout: Option<Duration>,
}

impl Settings {
    /// The defaults, for `user`.
    pub fn new(user: &str) -> Settings {
        let mut values: BTreeMap<String, String> =
            KNOWN.iter().map(|(name, _, default, _)| (name.to_lowercase(), (*default).to_owned())).collect();
        values.insert("session_authorization".to_owned(), user.to_owned());
        Settings { initial: values.clone(), values, zone: Zone::utc(), timeout: None }
    }

    /// What holds now is what RESET goes back to: the settings of the login.
    pub fn begin(&mut self) {
        self.initial = self.values.clone();
    }

    /// The time zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// How long a statement may run.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The name and value of `name`, in any case.
    ///
    /// # Errors
    /// Where there is none.
    pub fn get(&self, name: &str) -> Result<(&str, &str), PgError> {
        let lower = name.to_lowercase();
        let lower = if lower == "timezone" || lower == "time zone" { "timezone".to_owned() } else { lower };
        match self.values.get_key_value(&lower) {
            Some((key, value)) => Ok((known(key).map_or(key, |(name, ..)| name), value)),
            None => Err(unknown(name)),
        }
    }

    /// All of them: name and value.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (known(key).map_or(key.as_str(), |(name, ..)| name), value.as_str()))
    }

    /// Those clients are told of.
    pub fn told(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let told = KNOWN.iter().filter(|(.., told)| *told);
        told.map(|(name, ..)| (*name, self.values.get(&name.to_lowercase()).map_or("", String::as_str)))
    }

    /// Sets `name`, or resets it where there is no value. What comes back is to be told to the client.
    ///
    /// # Errors
    /// Where there is no such setting, or the value is none of its values.
    pub fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<(&'static str, String)>, PgError> {
        let lower = name.to_lowercase();
        let Some((name, rule, _, told)) = known(&lower) else {
            if !lower.contains('.') {
                return Err(unknown(name));
            }
            return self.set_own(&lower, value).map(|()| None);
        };
        let value = match value {
            Some(value) if value.len() > SETTING_BYTES_MAX => {
                return Err(PgError::new(state::INVALID_VALUE, format!("the value of {name} is too long")));
            }
            Some(value) => check(name, *rule, value)?,
            None => self.initial.get(&lower).cloned().unwrap_or_default(),
        };
        match *name {
            "TimeZone" => self.zone = Zone::named(&value).unwrap_or_else(Zone::utc),
            "statement_timeout" => {
                self.timeout = span_ms(&value).filter(|&ms| ms > 0).map(Duration::from_millis);
            }
            _ => {}
        }
        self.values.insert(lower, value.clone());
        Ok(told.then_some((*name, value)))
    }

    /// Resets all; what comes back is to be told to the client.
    pub fn reset(&mut self) -> Vec<(&'static str, String)> {
        self.values.retain(|name, _| self.initial.contains_key(name));
        let names: Vec<&str> =
            KNOWN.iter().filter(|(_, rule, ..)| *rule != Rule::Fixed).map(|(name, ..)| *name).collect();
        names.into_iter().filter_map(|name| self.set(name, None).ok().flatten()).collect()
    }

    /// A client's own `name.name`.
    fn set_own(&mut self, name: &str, value: Option<&str>) -> Result<(), PgError> {
        match value {
            None => {
                self.values.remove(name);
            }
            Some(value) => {
                let own = self.values.keys().filter(|key| key.contains('.')).count();
                if own >= OWN_MAX && !self.values.contains_key(name)
                    || name.len() + value.len() > SETTING_BYTES_MAX
                {
                    return Err(PgError::new(
                        state::LIMIT,
                        format!("a session may have {OWN_MAX} short settings of its own"),
                    ));
                }
                self.values.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }
}

fn known(lower: &str) -> Option<&'static (&'static str, Rule, &'static str, bool)> {
    KNOWN.iter().find(|(name, ..)| name.eq_ignore_ascii_case(lower))
}

fn unknown(name: &str) -> PgError {
    PgError::new(state::NO_SETTING, format!("unrecognized configuration parameter \"{name}\""))
}

/// The value as it is kept.
fn check(name: &str, rule: Rule, value: &str) -> Result<String, PgError> {
    let wrong = |what: &str| {
        PgError::new(state::INVALID_VALUE, format!("invalid value for parameter \"{name}\": \"{value}\""))
            .hint(what.to_owned())
    };
    // asyncpg quotes what it sends at the login.
    let bare = value.trim_matches('\'');
    match rule {
        Rule::Any => Ok(value.to_owned()),
        Rule::Fixed => Err(PgError::new("55P02", format!("parameter \"{name}\" cannot be changed"))),
        Rule::OneOf(values) if bare.eq_ignore_ascii_case("default") => Ok(values[0].to_owned()),
        Rule::OneOf(values) => match values.iter().find(|known| known.eq_ignore_ascii_case(bare)) {
            // All but the switches are other spellings of the first.
            Some(known) if matches!(*known, "on" | "true") && values[0] == "off" => Ok("on".to_owned()),
            Some(_) => Ok(values[0].to_owned()),
            None => Err(wrong(&format!("only {} is served", values[0]))),
        },
        Rule::Number(low, high) => match value.trim().parse::<i64>() {
            Ok(n) if (low..=high).contains(&n) => Ok(n.to_string()),
            _ => Err(wrong(&format!("a number from {low} to {high}"))),
        },
        Rule::Span => span_ms(value)
            .map(|ms| ms.to_string())
            .ok_or_else(|| wrong("milliseconds, or a span like 5s or 2min")),
        Rule::Zone => match Zone::named(value) {
            Some(zone) => Ok(zone.name),
            None => Err(wrong("an IANA name like Europe/Berlin, or an offset like +02")),
        },
        Rule::Path => {
            let mut schemas = value.split(',').map(|schema| schema.trim().trim_matches(['"', '\'']));
            match schemas.find(|schema| !["$user", "pg_catalog"].contains(schema)) {
                Some("public") => Ok(value.to_owned()),
                _ => Err(wrong(
                    "names without a schema are looked up in public; name other schemas in the statement",
                )),
            }
        }
    }
}

/// Milliseconds of `1500`, `5s`, `2min`, `1h`, `1d`.
fn span_ms(value: &str) -> Option<u64> {
    let value = value.trim();
    let split = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..split].parse().ok()?;
    let factor = match value[split..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor).filter(|&ms| ms <= i32::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_shown_and_goes_back() {
        let mut settings = Settings::new("ann");
        assert_eq!(
            settings.set("timezone", Some("Europe/Berlin")).unwrap(),
            Some(("TimeZone", "Europe/Berlin".into()))
        );
        assert_eq!(settings.get("TIMEZONE").unwrap(), ("TimeZone", "Europe/Berlin"));
        assert_eq!(settings.zone().offset_at(0), 3_600);
        settings.begin();
        settings.set("timezone", Some("UTC")).unwrap();
        settings.set("my.own", Some("x")).unwrap();
        settings.reset();
        assert_eq!(settings.get("timezone").unwrap().1, "Europe/Berlin");
        assert_eq!(settings.zone().offset_at(0), 3_600);
        assert!(settings.get("my.own").is_err());
        assert_eq!(settings.get("session_authorization").unwrap().1, "ann");
    }

    #[test]
    fn values_that_would_not_hold_are_refused() {
        let mut settings = Settings::new("ann");
        for (name, value) in [
            ("timezone", "Europe/Atlantis"),
            ("datestyle", "German"),
            ("client_encoding", "LATIN1"),
            ("standard_conforming_strings", "off"),
            ("search_path", "latest"),
            ("statement_timeout", "soon"),
            ("server_version", "99"),
            ("extra_float_digits", "4"),
            ("bytea_output", "escape"),
            ("nothing", "1"),
        ] {
            assert!(settings.set(name, Some(value)).is_err(), "{name}");
        }
        for (name, value) in
            [("search_path", "\"$user\", public"), ("datestyle", "iso"), ("client_encoding", "'utf-8'")]
        {
            settings.set(name, Some(value)).unwrap();
        }
        assert_eq!(settings.get("client_encoding").unwrap().1, "UTF8");
    }

    #[test]
    fn timeouts_have_units() {
        let mut settings = Settings::new("ann");
        for (value, expected) in
            [("1500", Some(1_500)), ("5s", Some(5_000)), ("2min", Some(120_000)), ("0", None)]
        {
            settings.set("statement_timeout", Some(value)).unwrap();
            assert_eq!(settings.timeout(), expected.map(Duration::from_millis));
        }
    }
}
