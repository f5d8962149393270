//! What may enter: rules for identifiers, names, units, time zones, secrets, tags and attributes.
//!
//! Owns: the rules and their limits. Does not own: whether a key is taken (that is decided under the writer's lock).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use wattline_model::limits::{IDENTIFIER_BYTES_MAX, JSON_BYTES_MAX};

use crate::error::Error;
use crate::secret::Secret;

/// Characters of a display name (device protocol: 64, newer pages more).
pub const NAME_CHARS_MAX: usize = 128;

/// Characters of a unit; the longest in use (`kg/(m2.s)`-like) are far shorter.
pub const UNIT_CHARS_MAX: usize = 64;

/// Bytes of a secret: longer ones add nothing to a digest of 256 bits.
pub const SECRET_BYTES_MAX: usize = 128;

/// Tags of one device (device protocol §4.9).
pub const TAGS_MAX: usize = 100;

/// Bytes of a tag's key (device protocol §4.9).
pub const TAG_KEY_BYTES_MAX: usize = 50;

/// Characters of a tag's value (device protocol §4.9).
pub const TAG_VALUE_CHARS_MAX: usize = 200;

/// Attributes of one device (device protocol §4.9).
pub const ATTRIBUTES_MAX: usize = 200;

/// Languages of one display name: more than a product is translated into.
pub const LOCALES_MAX: usize = 20;

/// Bytes of a locale such as `zh_Hans_CN`.
pub const LOCALE_BYTES_MAX: usize = 16;

/// Characters of a description: some sentences, which are kept in memory.
pub const DESCRIPTION_CHARS_MAX: usize = 1_024;

/// Values of one ENUM: a list that a person still reads.
pub const ENUM_VALUES_MAX: usize = 1_024;

/// Characters of one ENUM text (data service §8).
pub const ENUM_TEXT_CHARS_MAX: usize = 32;

const _: () = assert!(TAGS_MAX * (TAG_KEY_BYTES_MAX + TAG_VALUE_CHARS_MAX * 4) < 128 * 1024);

/// An identifier of an organization, model, point or product: 1 to 128 letters, digits, `_`, `.` and `-`, beginning
/// with a letter, a digit or `_`. It becomes an SQL name, a JSON key or part of a topic or a path, so nothing that
/// separates or matches there (`/ + # & | "` and blanks) can be in it.
pub(crate) fn identifier(item: &str, field: &str, text: &str) -> Result<(), Error> {
    characters(item, field, text, "letters, digits, '_', '.' and '-'", |c| {
        c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-')
    })?;
    if text.starts_with(['.', '-']) {
        return Err(Error::input(item, field, "must begin with a letter, a digit or '_'"));
    }
    Ok(())
}

/// A key of a device or asset: 1 to 128 letters, digits, `_`, `.`, `-` and `:` (data service §7.4, without its
/// minimum of four).
pub(crate) fn device_key(item: &str, field: &str, text: &str) -> Result<(), Error> {
    characters(item, field, text, "letters, digits, '_', '.', '-' and ':'", |c| {
        c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-' | b':')
    })
}

fn characters(
    item: &str,
    field: &str,
    text: &str,
    allowed: &str,
    is_allowed: impl Fn(u8) -> bool,
) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::input(item, field, "is empty"));
    }
    if text.len() > IDENTIFIER_BYTES_MAX {
        let reason = format!("has {} bytes; at most {IDENTIFIER_BYTES_MAX} are allowed", text.len());
        return Err(Error::input(item, field, reason));
    }
    match text.chars().find(|&c| !u8::try_from(c).is_ok_and(&is_allowed)) {
        None => Ok(()),
        Some(c) => Err(Error::input(item, field, format!("{c:?} is not allowed; use {allowed}"))),
    }
}

/// A display name: any text of 1 to 128 characters without control characters.
pub(crate) fn name(item: &str, field: &str, text: &str) -> Result<(), Error> {
    printable(item, field, text, NAME_CHARS_MAX)
}

/// Display names in further languages: locales such as `zh_CN`, each with a text as [`name`] wants it.
pub(crate) fn names(item: &str, field: &str, names: &BTreeMap<String, String>) -> Result<(), Error> {
    if names.len() > LOCALES_MAX {
        let reason = format!("{} languages given; at most {LOCALES_MAX} are allowed", names.len());
        return Err(Error::input(item, field, reason));
    }
    for (locale, text) in names {
        let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
        if locale.is_empty() || locale.len() > LOCALE_BYTES_MAX || !locale.bytes().all(fits) {
            return Err(Error::input(item, field, format!("{locale:?} is no locale such as zh_CN")));
        }
        name(item, &format!("{field}.{locale}"), text)?;
    }
    Ok(())
}

/// A description: any text up to a page, line breaks among it.
pub(crate) fn description(item: &str, text: &str) -> Result<(), Error> {
    let chars = text.chars().count();
    if chars > DESCRIPTION_CHARS_MAX {
        let reason = format!("has {chars} characters; at most {DESCRIPTION_CHARS_MAX} are allowed");
        return Err(Error::input(item, "description", reason));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Error::input(item, "description", "has a control character"));
    }
    Ok(())
}

/// Any text of 1 to `chars_max` characters without control characters.
pub(crate) fn printable(item: &str, field: &str, text: &str, chars_max: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::input(item, field, "is empty"));
    }
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(Error::input(
            item,
            field,
            format!("has {chars} characters; at most {chars_max} are allowed"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::input(item, field, "has a control character"));
    }
    Ok(())
}

/// A given secret: 1 to 128 bytes, no control characters. The message never repeats it.
pub(crate) fn secret(item: &str, field: &str, secret: &Secret) -> Result<(), Error> {
    printable(item, field, secret.expose(), SECRET_BYTES_MAX)?;
    if secret.expose().len() > SECRET_BYTES_MAX {
        return Err(Error::input(item, field, format!("has more than {SECRET_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// The time zone that `text` names: an IANA name (`Europe/Berlin`, any case) or an offset (`+08:00`, to ±25:59).
///
/// The names are those of the database built into this program, so every machine gives the same answer.
///
/// # Errors
/// Kind `Input` for any other text.
pub fn timezone(text: &str) -> Result<TimeZone, Error> {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    if text.starts_with(['+', '-']) {
        return offset(text).ok_or_else(|| not_a_zone(text));
    }
    let found = ZONES.get_or_init(TimeZoneDatabase::bundled).get(text);
    found.ok().filter(|zone| !zone.is_unknown()).ok_or_else(|| not_a_zone(text))
}

/// How `zone`, made by [`timezone`] of `text`, is written down: the IANA name in its own case, or the offset.
pub(crate) fn timezone_name<'a>(zone: &'a TimeZone, text: &'a str) -> &'a str {
    // A fixed offset of nothing has the name UTC too; what was written as an offset stays one.
    if text.starts_with(['+', '-']) { text } else { zone.iana_name().unwrap_or(text) }
}

fn not_a_zone(text: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    let reason =
        format!("{shown:?} is neither an IANA name such as Europe/Berlin nor an offset such as +08:00");
    Error::input("device", "timezone", reason)
}

/// `±HH:MM`, exactly.
fn offset(text: &str) -> Option<TimeZone> {
    let &[sign, h1, h2, b':', m1, m2] = text.as_bytes() else { return None };
    let digit = |c: u8| c.is_ascii_digit().then(|| i32::from(c - b'0'));
    let (hours, minutes) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
    if minutes > 59 {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    let seconds = if sign == b'-' { -seconds } else { seconds };
    jiff::tz::Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

/// Tags: at most 100, keys of 1 to 50 letters, digits, `_ / - .`, values of 1 to 200 characters not framed by blanks.
pub(crate) fn tags(item: &str, tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.len() > TAGS_MAX {
        return Err(Error::input(
            item,
            "tags",
            format!("{} given; at most {TAGS_MAX} are allowed", tags.len()),
        ));
    }
    for (key, value) in tags {
        let is_allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'/' | b'-' | b'.');
        if key.is_empty() || key.len() > TAG_KEY_BYTES_MAX || !key.bytes().all(is_allowed) {
            let reason =
                format!("key {key:?} is not 1 to {TAG_KEY_BYTES_MAX} letters, digits, '_', '/', '-' and '.'");
            return Err(Error::input(item, "tags", reason));
        }
        let field = format!("tags.{key}");
        printable(item, &field, value, TAG_VALUE_CHARS_MAX)?;
        if value.trim() != value {
            return Err(Error::input(item, &field, "begins or ends with a blank"));
        }
    }
    Ok(())
}

/// Attributes: at most 200, keys are identifiers, together at most 16 KiB as JSON. Returns them as JSON.
pub(crate) fn attributes(
    item: &str,
    attributes: &BTreeMap<String, serde_json::Value>,
) -> Result<Option<String>, Error> {
    if attributes.len() > ATTRIBUTES_MAX {
        let reason = format!("{} given; at most {ATTRIBUTES_MAX} are allowed", attributes.len());
        return Err(Error::input(item, "attributes", reason));
    }
    for key in attributes.keys() {
        identifier(item, "attributes", key)?;
    }
    if attributes.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_string(attributes).map_err(|e| Error::bug(item, e.to_string()))?;
    if json.len() > JSON_BYTES_MAX {
        let reason = format!("{} bytes of JSON; at most {JSON_BYTES_MAX} are allowed", json.len());
        return Err(Error::input(item, "attributes", reason));
    }
    Ok(Some(json))
}
