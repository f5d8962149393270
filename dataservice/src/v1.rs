//! The names of May 2019 (data service §2.17): `/dataService/…` and its page.
//!
//! Owns: the paths of that release, what it demanded beyond v2.0, how its calls are signed, and its page around items. Does
//! not own: anything else: its calls are those of v2.0.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;
use wattline_registry::{Registry, ServiceAccount};

use crate::access::{Refusal, in_time};
use crate::error::{Error, Result};
use crate::params::Params;
use crate::service::Operation;

/// Operations and their paths. Three of them the documentation names without a path; theirs are ours.
pub const PATHS: [(Operation, &str); 9] = [
    (Operation::Latest, "/dataService/assets/latest/measurepoints"),
    (Operation::FilterLatest, "/dataService/assets/latest/measurepoints/filter"),
    (Operation::Ai, "/dataService/assets/tsdb/ai/rawData/measurepoints"),
    (Operation::AiNormalized, "/dataService/assets/tsdb/ai/normalizedData/measurepoints"),
    (Operation::Di, "/dataService/assets/tsdb/di/measurepoints"),
    (Operation::Generic, "/dataService/assets/tsdb/generic/measurepoints"),
    (Operation::Raw, "/dataService/assets/tsdb/rawData/timeRange"),
    (Operation::CurrentDay, "/dataService/assets/tsdb/pi/currentDay/measurepoints"),
    (Operation::ElectricPower, "/dataService/assets/tsdb/pi/measurepoints"),
];

/// A second path of [`Operation::Raw`], which older clients have.
pub const RAW_BEFORE: &str = "/dataService/assets/rawData/timeRange";

/// Where storage types of points are told.
pub const METADATA: &str = "/dataService/metaData/storage/tsdb/";

/// Holds a call to the rules of that release.
///
/// # Errors
/// Where `modelId` is missing (newest values do without), or a page is to be continued: there is one page.
pub fn check(operation: Operation, params: &Params) -> Result<()> {
    if operation != Operation::Latest {
        params.required("modelId")?;
    }
    if params.text("pageToken").is_some() {
        let how = "pageToken: there is one page; ask again from a later startTime";
        return Err(Error::invalid(how));
    }
    if params.text("dataQuality").is_some() {
        return Err(Error::invalid("dataQuality: samples are not chosen by quality here"));
    }
    Ok(())
}

/// Who makes a call that is signed as the clients of that release sign: `sign` is SHA-1 of the access key, each other
/// parameter of the query in the order of their names with its value, and the secret. `None` where it is not signed so.
///
/// # Errors
/// Where the account is unknown, the clock is too far off, or the signature is wrong.
pub fn signed(
    registry: &Registry,
    query: &[(String, String)],
    now_micros: i64,
) -> Option<std::result::Result<Arc<ServiceAccount>, Refusal>> {
    let find = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let (key, time, sign) = (find("accessKey")?, find("requestTimestamp")?, find("sign")?);
    let verify = || {
        in_time(time, now_micros).map_err(|why| Refusal(format!("requestTimestamp: {why}")))?;
        let account = registry.service_account(key);
        let account = account.ok_or_else(|| Refusal("accessKey is unknown".to_owned()))?;
        let expected = signature(key, query, account.secret.expose());
        let given = sign.to_ascii_uppercase();
        if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
            return Err(Refusal("sign is wrong".to_owned()));
        }
        Ok(account)
    };
    Some(verify())
}

fn signature(key: &str, query: &[(String, String)], secret: &str) -> String {
    let mut params: Vec<&(String, String)> =
        query.iter().filter(|(name, _)| name != "accessKey" && name != "sign").collect();
    params.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    for (name, value) in params {
        hash.update(name.as_bytes());
        hash.update(value.as_bytes());
    }
    hash.update(secret.as_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    submsg: &'a RawValue,
    #[serde(borrow)]
    data: Items<'a>,
}

#[derive(Deserialize)]
struct Items<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// The answer of v2.0 with the page of V1 around its items.
///
/// # Errors
/// `Internal` where it is no answer of v2.0.
pub fn page(answer: &[u8], page_size: Option<i64>) -> Result<Vec<u8>> {
    let Answer { submsg, data } = serde_json::from_slice(answer).map_err(Error::internal)?;
    let total = data.items.len();
    let size = page_size.map_or(total, |size| usize::try_from(size).unwrap_or(total));
    let mut out = Vec::with_capacity(answer.len() + 128);
    let head = format!(
        "{{\"status\":0,\"msg\":\"success\",\"submsg\":{},\"data\":{{\"pageToken\":null,\"pageSize\":{size},\"totalSize\":{total},\
         \"nextPageToken\":null,\"data\":[",
        submsg.get()
    );
    out.extend_from_slice(head.as_bytes());
    for (i, item) in data.items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.get().as_bytes());
    }
    out.extend_from_slice(b"]}}");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_signed_as_the_documents_example_says() {
        let query = [("productKey", "12345"), ("orgId", "123"), ("requestTimestamp", "1536560363020")];
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sign = signature("accessKeyExample", &query, "secretKeyExample");
        assert_eq!(sign, "4A6936C442CC34C5C42B9E06D97F2FA268B7E52F");
    }

    #[test]
    fn the_page_is_that_of_the_specs_example() {
        let v20 = br#"{"status":0,"requestId":null,"msg":"success","submsg":null,"data":{"items":[{"assetId":"aX7pQ2Lm","timestamp":1709596800000,"wind_speed":7.4}]}}"#;
        let expected = r#"{"status":0,"msg":"success","submsg":null,"data":{"pageToken":null,"pageSize":100,"totalSize":1,"nextPageToken":null,"data":[{"assetId":"aX7pQ2Lm","timestamp":1709596800000,"wind_speed":7.4}]}}"#;
        assert_eq!(String::from_utf8(page(v20, Some(100)).unwrap()).unwrap(), expected);
    }
}
