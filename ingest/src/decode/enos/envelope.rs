//! The names in an envelope and its entries, and the short fields beside the data.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

use crate::check::quote;
use crate::limits::MESSAGE_ID_BYTES_MAX;

/// A name of the envelope or of an entry. One list serves both: no name means two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Id,
    Method,
    Params,
    AllowOffline,
    SkipInvalid,
    Measurepoints,
    Time,
    ProductKey,
    DeviceKey,
    Other,
}

/// A name, and the text that follows it in the payload where the name stood there without escapes.
pub(super) struct Named<'de> {
    pub(super) name: Name,
    /// The name as it stands in the payload.
    pub(super) text: Option<&'de str>,
}

pub(super) struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Named<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

fn name(text: &str) -> Name {
    match text {
        "id" => Name::Id,
        "method" => Name::Method,
        "params" => Name::Params,
        "allowOfflineSubDevice" => Name::AllowOffline,
        "skipInvalidMeasurepoints" => Name::SkipInvalid,
        "measurepoints" => Name::Measurepoints,
        "time" => Name::Time,
        "productKey" => Name::ProductKey,
        "deviceKey" => Name::DeviceKey,
        _ => Name::Other,
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Named<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Named<'de>, E> {
        Ok(Named { name: name(text), text: Some(text) })
    }

    fn visit_str<E>(self, text: &str) -> Result<Named<'de>, E> {
        Ok(Named { name: name(text), text: None })
    }
}

/// A message id: a text, or a number, which becomes its text; `null` is none.
pub(super) struct IdSeed;

impl<'de> DeserializeSeed<'de> for IdSeed {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let id = deserializer.deserialize_any(self)?;
        match &id {
            Some(id) if id.len() > MESSAGE_ID_BYTES_MAX => {
                Err(D::Error::custom(format!("id has more than {MESSAGE_ID_BYTES_MAX} bytes")))
            }
            _ => Ok(id),
        }
    }
}

impl<'de> Visitor<'de> for IdSeed {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("id to be a text or a number")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(v.to_owned())))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(v.to_string())))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(v.to_string())))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(v.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A text field; the empty text, which the published Python SDK sends for a key left out, and `null` are none.
pub(super) struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok((!v.is_empty()).then_some(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok((!v.is_empty()).then(|| Cow::Owned(v.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A flag: `true` and `"true"` are set; `false`, `"false"`, `null` and the empty text are not. The published Python SDK
/// sends flags that nobody set as empty texts.
pub(super) struct FlagSeed;

impl<'de> DeserializeSeed<'de> for FlagSeed {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for FlagSeed {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E>(self, v: bool) -> Result<bool, E> {
        Ok(v)
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<bool, E> {
        match v {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            other => Err(E::custom(format!("expected true or false, got {:?}", quote(other)))),
        }
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}
