//! Pages of a search: which of what was found, and which of its members.
//!
//! Owns: `pagination` and `projection`. Does not own: what is found.

use serde_json::{Map, Value as Json, json};

use crate::error::{Error, Result};
use crate::params::Params;

/// A page of a search.
pub(super) struct Page {
    number: usize,
    size: usize,
    /// How many were found in all.
    total: usize,
    /// The members that are wanted; nothing = all.
    members: Option<Vec<String>>,
}

impl Page {
    /// The page that a call asks for.
    pub(super) fn read(params: &Params, default: usize, max: usize) -> Result<Page> {
        let asked = params.nested("pagination");
        let number = |name: &str, default: usize, max: usize| {
            let value = asked.and_then(|asked| asked.get(name)).filter(|value| !value.is_null());
            let Some(value) = value else { return Ok(default) };
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            let number = number.and_then(|number| usize::try_from(number).ok());
            number
                .filter(|number| (1..=max).contains(number))
                .ok_or_else(|| Error::invalid(format!("pagination.{name}: {value} is not from 1 to {max}")))
        };
        let (page_no, size) = (number("pageNo", 1, usize::MAX)?, number("pageSize", default, max)?);
        let sorters = asked.and_then(|asked| asked.get("sorters"));
        if sorters.is_some_and(|sorters| {
            sorters.as_array().is_none_or(|list| !list.is_empty()) && !sorters.is_null()
        }) {
            return Err(Error::invalid("pagination.sorters: the order is fixed; leave it out"));
        }
        let members = match params.nested("projection") {
            None => None,
            Some(list) => {
                let name = |entry: &Json| entry.as_str().map(str::to_owned);
                let list = list.as_array().and_then(|list| list.iter().map(name).collect::<Option<Vec<_>>>());
                Some(list.ok_or_else(|| Error::invalid("projection: expected a list of texts"))?)
            }
        };
        Ok(Page { number: page_no, size, total: 0, members })
    }

    /// Counts what is found, and keeps what is on the page.
    pub(super) fn take<T>(&mut self, found: impl Iterator<Item = T>) -> Vec<T> {
        let (first, size) = ((self.number - 1).saturating_mul(self.size), self.size);
        let mut kept = Vec::new();
        for (i, item) in found.enumerate() {
            if i >= first && kept.len() < size {
                kept.push(item);
            }
            self.total = i + 1;
        }
        kept
    }

    /// The members of `item` that are wanted: those named, or of `a.b` member `b` of `a`; `*` stands for every member.
    pub(super) fn cut(&self, item: Json) -> Json {
        match &self.members {
            Some(members) if !members.is_empty() => {
                let paths: Vec<Vec<&str>> = members.iter().map(|path| path.split('.').collect()).collect();
                cut(item, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
            }
            _ => item,
        }
    }

    pub(super) fn json(&self) -> Json {
        json!({"sortedBy": null, "pageNo": self.number, "pageSize": self.size, "totalSize": self.total})
    }
}

/// The members of `item` that `paths` lead to. Each step is a step into the document, so this ends with it.
fn cut(item: Json, paths: &[&[&str]]) -> Json {
    if paths.iter().any(|path| path.is_empty()) {
        return item;
    }
    let Json::Object(members) = item else { return item };
    let mut kept = Map::new();
    for (name, value) in members {
        let rest: Vec<&[&str]> = paths
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(first, _)| **first == name || **first == "*")
            .map(|(_, rest)| rest)
            .collect();
        if !rest.is_empty() {
            kept.insert(name, cut(value, &rest));
        }
    }
    Json::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Version;

    fn page(body: &str) -> Result<Page> {
        Page::read(&Params::from_json(Version::V21, [], body.as_bytes()).unwrap(), 10, 200)
    }

    #[test]
    fn a_page_is_a_piece_and_the_count_of_all() {
        let mut second = page(r#"{"pagination":{"pageNo":2,"pageSize":"3"}}"#).unwrap();
        assert_eq!(second.take(0..7), [3, 4, 5]);
        assert_eq!(second.json(), json!({"sortedBy": null, "pageNo": 2, "pageSize": 3, "totalSize": 7}));
        let mut far = page(r#"{"pagination":{"pageNo":18446744073709551615}}"#).unwrap();
        assert!(far.take(0..7).is_empty());
        for wrong in [
            r#"{"pagination":{"pageNo":0}}"#,
            r#"{"pagination":{"pageSize":201}}"#,
            r#"{"pagination":{"pageSize":"x"}}"#,
            r#"{"pagination":{"sorters":[{"field":"name"}]}}"#,
            r#"{"projection":{"a":1}}"#,
        ] {
            assert_eq!(page(wrong).err().unwrap().managed_code(), 99_400, "{wrong}");
        }
    }

    #[test]
    fn a_projection_keeps_what_it_names() {
        let item =
            || json!({"assetId": "a", "name": {"defaultValue": "n", "i18nValue": {}}, "tags": {"k": "v"}});
        let cut = |body: &str| page(body).unwrap().cut(item());
        assert_eq!(cut("{}"), item());
        assert_eq!(cut(r#"{"projection":["assetId","none"]}"#), json!({"assetId": "a"}));
        assert_eq!(
            cut(r#"{"projection":["name.defaultValue","tags.*"]}"#),
            json!({"name": {"defaultValue": "n"}, "tags": {"k": "v"}})
        );
        assert_eq!(cut(r#"{"projection":["name","name.defaultValue"]}"#), json!({"name": item()["name"]}));
    }
}
