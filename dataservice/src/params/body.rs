//! Members of a JSON body.
//!
//! Owns: reading them without a tree of the whole: a list of a fleet's assets is a megabyte of text, which is read once,
//! into the place where it stays. Does not own: what a parameter means.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value as Json};

/// The value of a member.
pub(super) enum Member {
    /// `null`: the parameter is not there.
    Absent,
    /// A text; a number or a boolean as one.
    Text(String),
    /// A list or an object.
    Nested(Json),
}

/// The members of the object that `body` is, in its order.
pub(super) fn members(body: &[u8]) -> Result<Vec<(String, Member)>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let members = json.deserialize_map(Members)?;
    json.end()?;
    Ok(members)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Member)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(OfMember)
    }
}

struct OfMember;

impl<'de> Visitor<'de> for OfMember {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Absent)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Member, E> {
        Ok(Member::Text(flag.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Member, E> {
        Ok(Member::Text(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Member, E> {
        Ok(Member::Text(number.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Member, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("a number without an end"))?;
        Ok(Member::Text(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Member, E> {
        Ok(Member::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Member, A::Error> {
        let list = Json::deserialize(SeqAccessDeserializer::new(list)).map_err(A::Error::custom)?;
        Ok(Member::Nested(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Member, A::Error> {
        let object = Json::deserialize(MapAccessDeserializer::new(object)).map_err(A::Error::custom)?;
        Ok(Member::Nested(object))
    }
}
