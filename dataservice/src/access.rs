//! Access: tokens of service accounts, and calls that are signed with them (data service §1.2).
//!
//! Owns: the token service's answers and codes, what is signed and how, the tables of live tokens and of requests
//! already seen. Does not own: accounts and secrets (`registry`), HTTP headers, whether anybody must sign at all.
//!
//! Both tables are in memory: after a restart a client is told that its token is unknown and asks for another one.
//! Digests are compared in constant time; tokens are looked up by their digest, so a lookup tells nothing either.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use wattline_model::OrgId;
use wattline_registry::services::SERVICE_ACCOUNTS_MAX;
use wattline_registry::{Registry, ServiceAccount};

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{CLOCK_SKEW_MICROS, REPLAYS_MAX, TOKEN_SECONDS};
use crate::params::{Params, Version};

/// The token service's name in its answers.
const BUSINESS: &str = "apim-token-service";

type Sha = [u8; 32];

/// Why a call is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// A signed call.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `apim-accesstoken`
    pub token: &'a str,
    /// `apim-signature`
    pub signature: &'a str,
    /// `apim-timestamp`, milliseconds
    pub timestamp: &'a str,
    /// The parameters of the query, decoded.
    pub query: &'a [(String, String)],
    /// The body where it is JSON, else nothing.
    pub body: &'a [u8],
}

/// A token that was given out.
#[derive(Clone)]
struct Token {
    access_key: String,
    /// Tells an account from a later one with the same key.
    account_created: i64,
    expires: i64,
}

/// Tokens of one account: the newest one, which is given out again until it expires, and the one it replaced.
struct Given {
    newest: String,
    before: Option<Sha>,
}

#[derive(Default)]
struct Tables {
    tokens: HashMap<Sha, Token>,
    given: HashMap<String, Given>,
    /// Requests for tokens, and until when they could be sent again.
    seen: HashMap<Sha, i64>,
}

/// Who is let in.
#[derive(Default)]
pub struct Access {
    tables: Mutex<Tables>,
}

/// Codes of the token service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Duplicate = 1_001,
    UnknownKey = 1_002,
    WrongEncryption = 1_003,
    InvalidParameter = 1_004,
    Service = 1_005,
    EmptyParameter = 1_202,
    TokenExpired = 1_203,
    RefreshFailed = 1_204,
}

type Denied = (Code, String);

/// What a client sends to the token service.
struct Request<'a> {
    account: Arc<ServiceAccount>,
    access_token: Option<&'a str>,
}

impl Access {
    /// The body of the answer to `POST …/token/get`.
    pub fn get(&self, registry: &Registry, body: &[u8], now_micros: i64) -> Vec<u8> {
        let given = read_body(body).and_then(|body| {
            let request = self.verify(registry, &body, now_micros)?;
            self.tables.lock().token(&request.account, now_micros)
        });
        answer(given)
    }

    /// The body of the answer to `POST …/token/refresh`: another token, good for the full time. The one shown stays
    /// good until it expires or is refreshed away a second time.
    pub fn refresh(&self, registry: &Registry, body: &[u8], now_micros: i64) -> Vec<u8> {
        let given = read_body(body).and_then(|body| {
            if text(&body, "accessToken").is_none() {
                return Err((Code::EmptyParameter, "accessToken is empty".to_owned()));
            }
            let request = self.verify(registry, &body, now_micros)?;
            let mut tables = self.tables.lock();
            let shown = sha(&[request.access_token.unwrap_or_default().as_bytes()]);
            match tables.tokens.get(&shown) {
                Some(token) if token.access_key != request.account.access_key => {
                    Err((Code::RefreshFailed, "the token is another account's".to_owned()))
                }
                None => Err((Code::RefreshFailed, "the token is unknown".to_owned())),
                Some(token) if token.expires <= now_micros => {
                    Err((Code::TokenExpired, "the token has expired".to_owned()))
                }
                Some(_) => tables.renew(&request.account, now_micros),
            }
        });
        answer(given)
    }

    /// Checks who asks for a token, once.
    fn verify<'a>(
        &self,
        registry: &Registry,
        body: &'a Json,
        now_micros: i64,
    ) -> std::result::Result<Request<'a>, Denied> {
        let empty = |name: &str| (Code::EmptyParameter, format!("{name} is empty"));
        let key = text(body, "appKey").ok_or_else(|| empty("appKey"))?;
        let encryption = text(body, "encryption").ok_or_else(|| empty("encryption"))?;
        let timestamp = match body.get("timestamp") {
            None | Some(Json::Null) => return Err(empty("timestamp")),
            Some(Json::Number(number)) => number.to_string(),
            Some(Json::String(text)) if !text.is_empty() => text.clone(),
            Some(Json::String(_)) => return Err(empty("timestamp")),
            Some(_) => return Err((Code::InvalidParameter, "timestamp is no number".to_owned())),
        };
        in_time(&timestamp, now_micros).map_err(|why| (Code::InvalidParameter, why))?;
        let unknown = || (Code::UnknownKey, "appKey is unknown".to_owned());
        let account = registry.service_account(key).ok_or_else(unknown)?;
        let expected = sha(&[key.as_bytes(), timestamp.as_bytes(), account.secret.expose().as_bytes()]);
        if !bool::from(hex(&expected).as_bytes().ct_eq(encryption.as_bytes())) {
            return Err((Code::WrongEncryption, "encryption is wrong".to_owned()));
        }
        self.tables.lock().remember(expected, now_micros)?;
        Ok(Request { account, access_token: text(body, "accessToken") })
    }

    /// Who makes a signed call.
    ///
    /// # Errors
    /// Where the token is not known or has expired, the clock is too far off, or the signature is wrong.
    pub fn signed(
        &self,
        registry: &Registry,
        call: &Signed<'_>,
        now_micros: i64,
    ) -> std::result::Result<Arc<ServiceAccount>, Refusal> {
        let account = self.bearer(registry, call.token, now_micros)?;
        in_time(call.timestamp, now_micros).map_err(|why| Refusal(format!("apim-timestamp: {why}")))?;
        let expected = hex(&signature(call, account.secret.expose()));
        if !bool::from(expected.as_bytes().ct_eq(call.signature.as_bytes())) {
            return Err(Refusal("apim-signature is wrong".to_owned()));
        }
        Ok(account)
    }

    /// Who makes a call that shows the token alone.
    ///
    /// # Errors
    /// Where the token is not known or has expired, or its account was revoked.
    pub fn bearer(
        &self,
        registry: &Registry,
        token: &str,
        now_micros: i64,
    ) -> std::result::Result<Arc<ServiceAccount>, Refusal> {
        let known = self.tables.lock().tokens.get(&sha(&[token.as_bytes()])).cloned();
        let known = known.ok_or_else(|| Refusal("the access token is unknown".to_owned()))?;
        if known.expires <= now_micros {
            return Err(Refusal("the access token has expired".to_owned()));
        }
        let account = registry.service_account(&known.access_key);
        let account = account.filter(|account| account.created_micros == known.account_created);
        account.ok_or_else(|| Refusal("the service account was revoked".to_owned()))
    }
}

impl Tables {
    /// Notes a request that proved the secret.
    fn remember(&mut self, request: Sha, now_micros: i64) -> std::result::Result<(), Denied> {
        if self.seen.len() >= REPLAYS_MAX {
            self.seen.retain(|_, until| *until > now_micros);
        }
        if self.seen.contains_key(&request) {
            return Err((Code::Duplicate, "duplicated request".to_owned()));
        }
        if self.seen.len() >= REPLAYS_MAX {
            return Err((Code::Service, "too many requests for tokens; try again later".to_owned()));
        }
        // Its timestamp may lie as far ahead as a clock may be off, and is refused as far after that.
        self.seen.insert(request, now_micros.saturating_add(2 * CLOCK_SKEW_MICROS));
        Ok(())
    }

    /// The account's token, a new one where it has none that is good.
    fn token(&mut self, account: &ServiceAccount, now_micros: i64) -> std::result::Result<Json, Denied> {
        if let Some(given) = self.given.get(&account.access_key)
            && let Some(token) = self.tokens.get(&sha(&[given.newest.as_bytes()]))
            && token.expires > now_micros
            && token.account_created == account.created_micros
        {
            let seconds = (token.expires - now_micros) / 1_000_000;
            return Ok(json!({"accessToken": given.newest, "expire": seconds}));
        }
        self.renew(account, now_micros)
    }

    /// A new token for the account.
    fn renew(&mut self, account: &ServiceAccount, now_micros: i64) -> std::result::Result<Json, Denied> {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random)
            .map_err(|e| (Code::Service, format!("no randomness from the operating system: {e}")))?;
        let text = hex(&random);
        // Two an account; those of revoked accounts go when there are more.
        if self.tokens.len() >= 2 * SERVICE_ACCOUNTS_MAX {
            self.tokens.retain(|_, token| token.expires > now_micros);
            self.given.retain(|_, given| self.tokens.contains_key(&sha(&[given.newest.as_bytes()])));
            if self.tokens.len() >= 2 * SERVICE_ACCOUNTS_MAX {
                return Err((Code::Service, "too many tokens; try again later".to_owned()));
            }
        }
        let newest = Given { newest: text.clone(), before: None };
        let replaced = self.given.insert(account.access_key.clone(), newest);
        if let Some(replaced) = replaced {
            if let Some(oldest) = replaced.before {
                self.tokens.remove(&oldest);
            }
            if let Some(given) = self.given.get_mut(&account.access_key) {
                given.before = Some(sha(&[replaced.newest.as_bytes()]));
            }
        }
        let token = Token {
            access_key: account.access_key.clone(),
            account_created: account.created_micros,
            expires: now_micros.saturating_add(TOKEN_SECONDS * 1_000_000),
        };
        self.tokens.insert(sha(&[text.as_bytes()]), token);
        Ok(json!({"accessToken": text, "expire": TOKEN_SECONDS}))
    }
}

/// `accessKey` of v2.0 names a service account of the organization. It proves nothing, so it lets nobody in.
pub(crate) fn check_access_key(registry: &Registry, params: &Params, org: OrgId) -> Result<()> {
    let Some(key) = params.text("accessKey").filter(|_| params.version() == Version::V20) else {
        return Ok(());
    };
    match registry.service_account(key) {
        Some(account) if account.org == org => Ok(()),
        _ => Err(Error::new(ErrorKind::AccessKey, "Invalid param accessKey")),
    }
}

/// SHA-256 of `accessToken + paramsData + timestamp + appSecret`, where `paramsData` are the parameters of the query in
/// the order of their names, each name followed by its value, and then the body.
fn signature(call: &Signed<'_>, secret: &str) -> Sha {
    let mut query: Vec<&(String, String)> = call.query.iter().collect();
    // Stable: of equal names the first one stays first.
    query.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    let mut parts: Vec<&[u8]> = vec![call.token.as_bytes()];
    for (name, value) in query {
        parts.extend([name.as_bytes(), value.as_bytes()]);
    }
    parts.extend([call.body, call.timestamp.as_bytes(), secret.as_bytes()]);
    sha(&parts)
}

pub(crate) fn in_time(timestamp: &str, now_micros: i64) -> std::result::Result<(), String> {
    let ms: i64 = timestamp.parse().map_err(|_| "timestamp is no number of milliseconds".to_owned())?;
    let apart = now_micros.abs_diff(ms.saturating_mul(1_000));
    if apart > CLOCK_SKEW_MICROS.unsigned_abs() {
        return Err(format!("timestamp is more than {} minutes from now", CLOCK_SKEW_MICROS / 60_000_000));
    }
    Ok(())
}

fn read_body(body: &[u8]) -> std::result::Result<Json, Denied> {
    let read: Option<Json> = serde_json::from_slice(body).ok();
    let read = read.filter(Json::is_object);
    read.ok_or_else(|| (Code::InvalidParameter, "the body is no JSON object".to_owned()))
}

fn text<'a>(body: &'a Json, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Json::as_str).filter(|text| !text.is_empty())
}

fn answer(given: std::result::Result<Json, Denied>) -> Vec<u8> {
    let (code, message, data) = match given {
        Ok(data) => (0, "SUCCESS".to_owned(), data),
        Err((code, why)) => (code as u32, why, Json::Null),
    };
    // Clients of both generations read it: one looks for `status`, the other one for `code`.
    let answer = json!({"status": code, "code": code, "msg": message, "business": BUSINESS, "data": data});
    answer.to_string().into_bytes()
}

fn sha(parts: &[&[u8]]) -> Sha {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests;
