//! Envelopes: what stands around every answer (data service §1.3).

use crate::cell::push_json;
use crate::error::Error;
use crate::params::Version;

/// The body of an answer whose `data` is this JSON; `refused` are assets that were asked for and are not the caller's.
pub(crate) fn success(version: Version, data: &[u8], refused: &[String]) -> Vec<u8> {
    envelope(version, [b"", data, b""], refused)
}

/// The envelope around `data`, which comes in three pieces, so that large ones are copied once.
fn envelope(version: Version, data: [&[u8]; 3], refused: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.iter().map(|piece| piece.len()).sum::<usize>() + 128);
    out.extend_from_slice(match version {
        Version::V20 => b"{\"status\":0,\"requestId\":null,\"msg\":\"success\",\"submsg\":".as_slice(),
        Version::V21 => b"{\"code\":0,\"msg\":\"OK\",\"submsg\":".as_slice(),
    });
    if refused.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        push_json(&mut out, &format!("no permission for the following assets: {}", refused.join(",")));
    }
    out.extend_from_slice(b",\"data\":");
    data.iter().for_each(|piece| out.extend_from_slice(piece));
    out.push(b'}');
    out
}

/// As [`success`], of items without the brackets around them.
pub(crate) fn of_items(version: Version, items: &[u8], refused: &[String]) -> Vec<u8> {
    envelope(version, [b"{\"items\":[", items, b"]}"], refused)
}

impl Error {
    /// The body of the answer.
    pub fn body(&self, version: Version) -> Vec<u8> {
        let (message, reason) = self.texts(version);
        refusal(version, self.code(version), message, reason)
    }
}

/// The body of a refusal with this code.
pub fn refusal(version: Version, code: u32, message: &str, reason: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let name = if version == Version::V20 { "status" } else { "code" };
    out.extend_from_slice(format!("{{\"{name}\":{code}").as_bytes());
    if version == Version::V20 {
        out.extend_from_slice(b",\"requestId\":null");
    }
    out.extend_from_slice(b",\"msg\":");
    push_json(&mut out, message);
    out.extend_from_slice(b",\"submsg\":");
    push_json(&mut out, &reason);
    out.extend_from_slice(b",\"data\":null}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_those_of_the_versions() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let missing = Error::required("startTime");
        // The spec's example of §1.8.
        assert_eq!(
            text(missing.body(Version::V21)),
            r#"{"code":80400,"msg":"Invalid param error","submsg":"startTime is required","data":null}"#
        );
        assert_eq!(
            text(missing.body(Version::V20)),
            r#"{"status":400,"requestId":null,"msg":"startTime is required","submsg":null,"data":null}"#
        );
        assert_eq!(
            text(of_items(Version::V20, b"", &[])),
            r#"{"status":0,"requestId":null,"msg":"success","submsg":null,"data":{"items":[]}}"#
        );
        assert_eq!(
            text(of_items(Version::V21, b"1", &["a".into(), "b".into()])),
            r#"{"code":0,"msg":"OK","submsg":"no permission for the following assets: a,b","data":{"items":[1]}}"#
        );
    }
}
