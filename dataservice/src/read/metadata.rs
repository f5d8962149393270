//! How points are stored, as the policy API tells it (data service §3.9).

use wattline_registry::Right;

use crate::answer::success;
use crate::cell::push_json;
use crate::error::{Error, Result};
use crate::limits::COMBINATIONS_MAX;
use crate::params::split_list;
use crate::service::Asked;
use crate::stored::types;

pub(crate) fn metadata(asked: &Asked<'_>) -> Result<Vec<u8>> {
    let params = asked.params;
    let models = params.list("modelIds")?;
    let wanted = params.text("measurepoints").map(split_list);
    let mut combinations = 0;
    let mut data = vec![b'['];
    for (i, key) in models.iter().enumerate() {
        let model = asked.model(Right::Read, key)?;
        if i > 0 {
            data.push(b',');
        }
        data.extend_from_slice(b"{\"modelId\":");
        push_json(&mut data, key);
        data.extend_from_slice(b",\"tsdb_metadata\":{");
        let named = |key: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(&key));
        let mut first = true;
        for point in model.points.iter().filter(|point| named(&point.key)) {
            combinations += 1;
            let stored = types(&asked.policies, &model, point);
            if stored.is_empty() {
                continue;
            }
            if !std::mem::take(&mut first) {
                data.push(b',');
            }
            push_json(&mut data, &point.key);
            data.push(b':');
            push_json(&mut data, &stored.iter().map(|storage| storage.name()).collect::<Vec<_>>());
        }
        data.extend_from_slice(b"}}");
        if combinations > COMBINATIONS_MAX {
            let what = format!("models × measurepoints: at most {COMBINATIONS_MAX} are allowed");
            return Err(Error::invalid(what));
        }
    }
    data.push(b']');
    Ok(success(asked.version(), &data, &[]))
}
