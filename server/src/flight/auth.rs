//! Who may ask.
//!
//! Owns: what a client shows of itself in the headers of a call, and the tokens that spare it its password. Does not
//! own: on which addresses the listener may be (`serve`), accounts (`registry`), what a password is checked against
//! ([`crate::pg::scram`]).
//!
//! Who may come in:
//! * whoever names an account and its password (`authorization: Basic …`, on a handshake or on any call), from anywhere;
//! * whoever shows a token that a handshake gave (`authorization: Bearer …`);
//! * without either, from this machine's own loopback address, as HTTP has it, and where the listener makes clients show
//!   certificates.
//!
//! Credentials that are wrong are refused also where none are needed: whoever sends them believes that they protect
//! something.
//!
//! Nothing is kept of a token: it says whose it is and until when, and a signature proves that. What is signed has the
//! account's verifier in it, so a token ends with its account and with a change of its password; the key is made at the
//! start, so it ends with the server as well. However many handshakes there are, nothing grows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ring::hmac;
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::metadata::MetadataMap;
use wattline_query::Caller;
use wattline_registry::{Registry, Verifier};

use crate::audit::origin;
use crate::error::Error;
use crate::http::now_micros;
use crate::pg::limits::WRONG_PASSWORD_PAUSE;
use crate::pg::scram;

/// The way in, as statements know it.
const WIRE: &str = "flight";

/// Passwords that are checked at a time: each costs milliseconds of a core, and statements want the cores too.
const CHECKS_MAX: usize = 2;

/// Who may ask, for all calls of a listener.
pub struct Door {
    registry: Registry,
    key: hmac::Key,
    lifetime: Duration,
    /// Whether clients have shown certificates before they come here.
    certified: bool,
    checks: Semaphore,
}

impl Door {
    /// For the accounts of `registry`; tokens are good for `lifetime`.
    ///
    /// # Errors
    /// Where the operating system gives no random bytes.
    pub fn new(registry: Registry, lifetime: Duration, certified: bool) -> crate::error::Result<Door> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::failed(format!("random bytes: {e}")))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(Door { registry, key, lifetime, certified, checks: Semaphore::new(CHECKS_MAX) })
    }

    /// Who makes the call with these headers from `peer`.
    ///
    /// # Errors
    /// `Unauthenticated` where credentials are wrong, or missing and needed.
    pub async fn caller(&self, headers: &MetadataMap, peer: Option<SocketAddr>) -> Result<Caller, Status> {
        let account = match Shown::of(headers)? {
            Shown::Nothing => {
                let is_local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
                if !is_local && !self.certified {
                    return Err(Status::unauthenticated("sign in with the name and password of an account"));
                }
                None
            }
            Shown::Password { name, password } => Some(self.signed_in(name, password).await?),
            Shown::Token(token) => {
                let name = self.holder(&token, now_micros());
                Some(name.ok_or_else(|| Status::unauthenticated("the token has expired: sign in again"))?)
            }
        };
        Ok(Caller { account, wire: WIRE, origin: peer.map(|peer| origin(peer.ip())) })
    }

    /// A token for whoever shows an account's name and password in these headers.
    ///
    /// # Errors
    /// `Unauthenticated` where they are wrong or missing.
    pub async fn token(&self, headers: &MetadataMap) -> Result<String, Status> {
        let Shown::Password { name, password } = Shown::of(headers)? else {
            return Err(Status::unauthenticated("a handshake shows user name and password (Basic)"));
        };
        let name = self.signed_in(name, password).await?;
        self.issue(&name, now_micros()).ok_or_else(wrong)
    }

    async fn signed_in(&self, name: String, password: String) -> Result<Arc<str>, Status> {
        let account = self.registry.account(&name).map(|account| account.verifier.clone());
        let turn = self.checks.acquire().await;
        let checked = {
            let name = name.clone();
            tokio::task::spawn_blocking(move || scram::is_password(account.as_ref(), &name, &password)).await
        };
        drop(turn);
        match checked {
            Ok(true) => Ok(Arc::from(name)),
            Ok(false) => {
                tracing::info!(user = %name, "Flight login refused");
                tokio::time::sleep(WRONG_PASSWORD_PAUSE).await;
                Err(wrong())
            }
            Err(panic) => Err(Status::internal(format!("the password could not be checked: {panic}"))),
        }
    }

    /// `<name>.<end>.<signature>`, the first and last in Base64, the end in microseconds; `None` where the account is gone.
    fn issue(&self, name: &str, now: i64) -> Option<String> {
        let account = self.registry.account(name)?;
        let lifetime = i64::try_from(self.lifetime.as_micros()).unwrap_or(i64::MAX);
        let end = now.saturating_add(lifetime);
        let signature = hmac::sign(&self.key, &signed(name, end, &account.verifier));
        let (name, signature) = (URL_SAFE_NO_PAD.encode(name), URL_SAFE_NO_PAD.encode(signature));
        Some(format!("{name}.{end}.{signature}"))
    }

    /// Whose token it is; `None` where it is none, or none any more.
    fn holder(&self, token: &str, now: i64) -> Option<Arc<str>> {
        let mut parts = token.splitn(3, '.');
        let name = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
        let end: i64 = parts.next()?.parse().ok()?;
        let signature = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let account = self.registry.account(&name)?;
        // Compares in constant time.
        hmac::verify(&self.key, &signed(&name, end, &account.verifier), &signature).ok()?;
        (now < end).then(|| Arc::from(name))
    }
}

fn signed(name: &str, end: i64, verifier: &Verifier) -> Vec<u8> {
    // Both others have a fixed length, so that no two of them are the same bytes.
    [&end.to_be_bytes()[..], &verifier.stored_key, name.as_bytes()].concat()
}

fn wrong() -> Status {
    Status::unauthenticated("user name or password is wrong")
}

/// What a call shows.
enum Shown {
    Nothing,
    Password { name: String, password: String },
    Token(String),
}

impl Shown {
    fn of(headers: &MetadataMap) -> Result<Shown, Status> {
        let Some(value) = headers.get("authorization") else { return Ok(Shown::Nothing) };
        let malformed = || Status::unauthenticated("authorization: Basic or Bearer is expected");
        let (scheme, rest) =
            value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Shown::Token(rest.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(malformed());
        }
        // Some clients leave the padding out.
        let bytes = BASE64.decode(rest).or_else(|_| STANDARD_NO_PAD.decode(rest)).map_err(|_| malformed())?;
        let text = String::from_utf8(bytes).map_err(|_| malformed())?;
        let (name, password) = text.split_once(':').ok_or_else(malformed)?;
        Ok(Shown::Password { name: name.to_owned(), password: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn door() -> (Door, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry.db")).unwrap();
        let verifier = scram::verifier_of("secret").unwrap();
        registry.create_account("eva", verifier, "test", 0).unwrap();
        (Door::new(registry, DAY, false).unwrap(), dir)
    }

    fn headers(value: &str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert("authorization", value.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_ends_with_its_time_its_account_and_its_password() {
        let (door, _dir) = door();
        let token = door.issue("eva", 1_000).unwrap();
        let end = 1_000 + 86_400_000_000;
        assert_eq!(door.holder(&token, 1_000).as_deref(), Some("eva"));
        assert_eq!(door.holder(&token, end - 1).as_deref(), Some("eva"));
        assert_eq!(door.holder(&token, end), None, "expired");
        let longer = token.replace(&end.to_string(), &(end + 1).to_string());
        assert_eq!(door.holder(&longer, 1_000), None, "another end");
        for wrong in ["", ".", "..", "a.b.c", "ZXZh.1", &token[1..], &token[..token.len() - 2]] {
            assert_eq!(door.holder(wrong, 1_000), None, "{wrong}");
        }
        let restarted = Door::new(door.registry.clone(), DAY, false).unwrap();
        assert_eq!(restarted.holder(&token, 1_000), None, "another start");
        door.registry.set_account_verifier("eva", scram::verifier_of("other").unwrap(), "test", 1).unwrap();
        assert_eq!(door.holder(&token, 1_000), None, "another password");
        let token = door.issue("eva", 1_000).unwrap();
        door.registry.delete_account("eva", "test", 2).unwrap();
        assert_eq!(door.holder(&token, 1_000), None, "no such account");
        assert_eq!(door.issue("eva", 1_000), None);
    }

    #[tokio::test]
    async fn who_shows_what_comes_in() {
        let (door, _dir) = door();
        let local = Some("127.0.0.1:5".parse().unwrap());
        let remote = Some("192.0.2.1:5".parse().unwrap());
        let basic = |text: &str| headers(&format!("Basic {}", BASE64.encode(text)));
        let account = |caller: Caller| caller.account.as_deref().map(str::to_owned);
        for peer in [local, remote] {
            let caller = door.caller(&basic("eva:secret"), peer).await.unwrap();
            assert_eq!(account(caller).as_deref(), Some("eva"));
            for wrong in ["eva:Secret", "eva:", "eve:secret", ":"] {
                let refused = door.caller(&basic(wrong), peer).await.unwrap_err();
                assert_eq!(refused.code(), tonic::Code::Unauthenticated);
                assert_eq!(refused.message(), wrong_message());
            }
            for wrong in ["Basic", "Basic !", "Bearer x", "Negotiate abc"] {
                assert!(door.caller(&headers(wrong), peer).await.is_err(), "{wrong}");
            }
        }
        let token = door.token(&basic("eva:secret")).await.unwrap();
        let caller = door.caller(&headers(&format!("Bearer {token}")), remote).await.unwrap();
        assert_eq!(account(caller).as_deref(), Some("eva"));
        let nothing = MetadataMap::new();
        assert_eq!(account(door.caller(&nothing, local).await.unwrap()), None);
        assert!(door.caller(&nothing, remote).await.is_err() && door.caller(&nothing, None).await.is_err());
        assert!(door.token(&nothing).await.is_err());
        let certified = Door { certified: true, ..door };
        assert!(certified.caller(&nothing, remote).await.is_ok());
    }

    fn wrong_message() -> String {
        wrong().message().to_owned()
    }
}
