//! Accounts over HTTP: who runs a statement.
//!
//! Owns: what `/sql` takes as proof, how many passwords are checked at a time. Does not own: accounts (`registry`), what
//! a password is checked against ([`crate::pg::scram`]), the operator's token ([`super::authorize`]).

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::Semaphore;
use wattline_query::Caller;

use super::error::{ApiError, ApiKind};
use super::{App, blocking};
use crate::pg::limits::WRONG_PASSWORD_PAUSE;
use crate::pg::scram;

/// Passwords that are checked at a time: each costs milliseconds of a core, and statements want the cores too.
const CHECKS_MAX: usize = 2;

/// Checks of passwords.
pub struct Logins(Semaphore);

impl Default for Logins {
    fn default() -> Logins {
        Logins(Semaphore::new(CHECKS_MAX))
    }
}

/// Whether a request shows a name and a password, and not the operator's token.
pub(super) fn shows_password(headers: &HeaderMap) -> bool {
    basic(headers).is_some()
}

/// What follows `Authorization: Basic`.
fn basic(headers: &HeaderMap) -> Option<&[u8]> {
    let shown = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = shown.split_at_checked(b"Basic ".len())?;
    scheme.eq_ignore_ascii_case(b"Basic ").then_some(rest)
}

impl Logins {
    /// Who makes a request: the account whose name and password it shows, or the operator.
    ///
    /// # Errors
    /// `Unauthorized` where name or password are wrong.
    pub(super) async fn caller(
        &self,
        app: &App,
        headers: &HeaderMap,
        origin: Option<Arc<str>>,
    ) -> Result<Caller, ApiError> {
        let caller = |account| Caller { account, wire: "http", origin: origin.clone() };
        let Some(shown) = basic(headers) else { return Ok(caller(None)) };
        let wrong = || ApiError::new(ApiKind::Unauthorized, "user name or password is wrong");
        let text = BASE64.decode(shown).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text =
            text.ok_or_else(|| ApiError::new(ApiKind::Unauthorized, "authorization: no Basic login"))?;
        let (name, password) = text.split_once(':').ok_or_else(wrong)?;
        let (name, password) = (name.to_owned(), password.to_owned());
        let verifier = app.registry.account(&name).map(|account| account.verifier.clone());
        let turn = self.0.acquire().await;
        let account = name.clone();
        let checked =
            blocking(move || Ok::<_, ApiError>(scram::is_password(verifier.as_ref(), &account, &password)));
        let checked = checked.await?;
        drop(turn);
        if checked {
            return Ok(caller(Some(Arc::from(name))));
        }
        tracing::info!(user = %name, "HTTP login refused");
        app.audit.refused_login(&name, "http", origin.clone());
        tokio::time::sleep(WRONG_PASSWORD_PAUSE).await;
        Err(wrong())
    }
}
