//! Parameters: a flat map of names to texts, whichever way they came.
//!
//! Owns: the versions of the API and how each calls a parameter, the rules all parameters share (data service §1.4):
//! an empty text is no value, booleans and integers may be texts, lists are separated by commas, unknown keys do no
//! harm. Does not own: what a parameter means.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value as Json;

mod body;

use body::Member;

use crate::error::{Error, Result};
use crate::limits::{PAGE_SIZE_DEFAULT, ROWS_MAX};

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Query or form parameters, `status`.
    V20,
    /// A flat JSON object, `code`.
    V21,
}

impl Version {
    /// Its name in paths.
    pub const fn name(self) -> &'static str {
        match self {
            Version::V20 => "v2.0",
            Version::V21 => "v2.1",
        }
    }

    /// What the list of points is called.
    pub const fn points(self) -> &'static str {
        match self {
            Version::V20 => "measurepoints",
            Version::V21 => "pointIds",
        }
    }

    /// What one point is called, in parameters and answers.
    pub const fn point(self) -> &'static str {
        match self {
            Version::V20 => "measurepoint",
            Version::V21 => "pointId",
        }
    }

    /// What the list of points with functions is called.
    pub const fn points_with_logic(self) -> &'static str {
        match self {
            Version::V20 => "measurepointsWithLogic",
            Version::V21 => "pointIdsWithLogic",
        }
    }
}

/// The parameters of one call.
#[derive(Clone, Debug)]
pub struct Params {
    version: Version,
    texts: BTreeMap<String, String>,
    /// Members of a JSON body that are lists or objects.
    nested: BTreeMap<String, Json>,
}

impl Params {
    /// Parameters of a query or a form. Of a name that comes twice the first one counts.
    pub fn from_pairs(version: Version, pairs: impl IntoIterator<Item = (String, String)>) -> Params {
        let mut texts = BTreeMap::new();
        for (name, text) in pairs {
            texts.entry(name).or_insert(text);
        }
        Params { version, texts, nested: BTreeMap::new() }
    }

    /// Parameters of a query and a JSON body. The organization is that of the query, where it names one.
    ///
    /// # Errors
    /// Invalid where the body is not a JSON object.
    pub fn from_json(
        version: Version,
        query: impl IntoIterator<Item = (String, String)>,
        body: &[u8],
    ) -> Result<Params> {
        let mut params = Params::from_pairs(version, query);
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(params);
        }
        let wrong = |why: String| Error::invalid(format!("request body: {why}"));
        let in_query = params.text("orgId").is_some();
        for (name, member) in body::members(body).map_err(|e| wrong(e.to_string()))? {
            match member {
                Member::Absent => {}
                Member::Text(_) if in_query && name == "orgId" => {}
                Member::Text(text) => drop(params.texts.insert(name, text)),
                Member::Nested(value) => drop(params.nested.insert(name, value)),
            }
        }
        Ok(params)
    }

    /// The version it was called in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A parameter, unless it is missing or empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// How many series are asked for, by the lengths of the lists: what a read of one row each is admitted by.
    pub fn series_asked(&self) -> usize {
        let entries = |name: &str| self.texts.get(name).map_or(1, |text| text.split(',').count());
        let version = self.version;
        let points = entries(version.points()).max(entries(version.points_with_logic()));
        entries("assetIds").saturating_mul(points)
    }

    /// About how many rows the answer may have, by the lists and `pageSize`: what a read of pages is admitted by.
    pub fn rows_asked(&self) -> usize {
        let size = self.text("pageSize").and_then(|text| text.parse().ok()).unwrap_or(PAGE_SIZE_DEFAULT);
        self.series_asked().saturating_mul(size).clamp(1, ROWS_MAX)
    }

    /// Whether a parameter is there, empty or not.
    pub fn is_given(&self, name: &str) -> bool {
        self.texts.contains_key(name) || self.nested.contains_key(name)
    }

    /// A list or an object of the body.
    pub(crate) fn nested(&self, name: &str) -> Option<&Json> {
        self.nested.get(name)
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str> {
        match self.text(name) {
            Some(text) => Ok(text),
            None if self.nested.contains_key(name) => {
                Err(Error::invalid(format!("{name} must be a text, lists separated by commas")))
            }
            None => Err(Error::required(name)),
        }
    }

    /// A boolean, or `default`.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.flag_given(name)?.unwrap_or(default))
    }

    /// A boolean, if there is one.
    pub(crate) fn flag_given(&self, name: &str) -> Result<Option<bool>> {
        match self.text(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => Err(Error::invalid(format!("{name}: {text:?} is neither true nor false"))),
        }
    }

    /// An integer, if there is one.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let int = text.parse::<i64>();
        int.map(Some).map_err(|_| Error::invalid(format!("{name}: {text:?} is not a valid integer")))
    }

    /// An integer from `least` to `greatest`, or `default`.
    pub(crate) fn int_within(&self, name: &str, default: i64, least: i64, greatest: i64) -> Result<i64> {
        let value = self.int(name)?.unwrap_or(default);
        if (least..=greatest).contains(&value) {
            return Ok(value);
        }
        Err(Error::invalid(format!("{name}: {value} is not from {least} to {greatest}")))
    }

    /// The entries of a list that must be there, each once, in order.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<&str>> {
        let list = split_list(self.required(name)?);
        if list.is_empty() { Err(Error::required(name)) } else { Ok(list) }
    }
}

/// Entries of a list from which on those that were seen are hashed: fewer are looked through faster.
const HASHED_FROM: usize = 16;

/// The entries of a list, each once, in order.
pub(crate) fn split_list(text: &str) -> Vec<&str> {
    let mut entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.len() < HASHED_FROM {
        for i in (1..entries.len()).rev() {
            if entries[..i].contains(&entries[i]) {
                entries.remove(i);
            }
        }
    } else {
        let mut seen = HashSet::with_capacity(entries.len());
        entries.retain(|&entry| seen.insert(entry));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Params {
        let query = [("orgId".to_owned(), "o1".to_owned())];
        Params::from_json(Version::V21, query, body.as_bytes()).unwrap()
    }

    #[test]
    fn booleans_and_integers_may_be_texts_and_empty_is_absent() {
        let params = json(
            r#"{"a":true,"b":"TRUE","c":"","d":10,"e":"10","f":null,"g":" x ","action":"search","orgId":"o2"}"#,
        );
        assert!(params.flag("a", false).unwrap() && params.flag("b", false).unwrap());
        assert_eq!((params.flag_given("c").unwrap(), params.int("c").unwrap()), (None, None));
        assert_eq!((params.int("d").unwrap(), params.int("e").unwrap()), (Some(10), Some(10)));
        assert_eq!((params.text("f"), params.text("g"), params.text("orgId")), (None, Some("x"), Some("o1")));
        assert_eq!(params.required("c").unwrap_err().to_string(), "c is required");
        let numbers =
            json(r#"{"a":1e3,"b":-7,"c":18446744073709551615,"d":0.1,"e":"\u00fc\n","f":{"g":[1]}}"#);
        let shown = ["a", "b", "c", "d", "e"].map(|name| numbers.text(name).unwrap());
        assert_eq!(shown, ["1000.0", "-7", "18446744073709551615", "0.1", "ü"]);
        assert_eq!(numbers.nested("f").unwrap()["g"][0], 1);
        assert!(params.flag("d", false).is_err() && params.int("a").is_err());
    }

    #[test]
    fn lists_are_one_text_each_entry_once() {
        let params = json(r#"{"assetIds":"b, a,,b","none":" , ","nested":["a"]}"#);
        assert_eq!(params.list("assetIds").unwrap(), ["b", "a"]);
        assert_eq!(params.list("none").unwrap_err().to_string(), "none is required");
        assert!(params.list("nested").unwrap_err().to_string().contains("commas"));
        assert!(params.is_given("nested") && params.is_given("none") && !params.is_given("other"));
        // Few and many go different ways.
        for length in [3, 15, 16, 1_000] {
            let text: Vec<String> = (0..length * 2).map(|i| format!(" e{}", i % length)).collect();
            let once: Vec<String> = (0..length).map(|i| format!("e{i}")).collect();
            assert_eq!(split_list(&text.join(",")), once);
        }
    }

    #[test]
    fn bodies_that_are_no_object_are_refused() {
        for body in ["[]", "1", "{", "{\"a\":1}{", "\u{feff}{}"] {
            let refused = Params::from_json(Version::V21, [], body.as_bytes()).unwrap_err();
            assert_eq!(refused.code(Version::V21), 80_400, "{body}");
        }
        assert!(Params::from_json(Version::V21, [], b" ").unwrap().text("a").is_none());
    }
}
