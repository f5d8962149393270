//! Maps of texts (translations, tags) in a column.

use std::collections::BTreeMap;

/// As JSON; nothing where there are none.
pub(crate) fn encode_texts(texts: &BTreeMap<String, String>) -> Option<String> {
    (!texts.is_empty()).then(|| serde_json::json!(texts).to_string())
}

/// What [`encode_texts`] made of it, or why that cannot be.
pub(crate) fn decode_texts(text: Option<&str>) -> Result<BTreeMap<String, String>, String> {
    text.map_or_else(|| Ok(BTreeMap::new()), |text| serde_json::from_str(text).map_err(|e| e.to_string()))
}
