//! Who may ask.
//!
//! Owns: what a client shows of itself in the headers of a call. Does not own: on which addresses the listener may be
//! (`serve`).
//!
//! There are no accounts yet, so the listener is on loopback addresses only and nobody signs in. Credentials that
//! come all the same are refused rather than ignored: whoever sends them believes that they protect something.

use tonic::Status;
use tonic::metadata::MetadataMap;
use wattline_query::Caller;

/// The way in, as statements know it.
const WIRE: &str = "flight";

/// Who makes the call with these headers.
///
/// # Errors
/// `Unauthenticated` where credentials came that cannot be checked.
pub fn caller(headers: &MetadataMap) -> Result<Caller, Status> {
    match headers.contains_key("authorization") {
        true => Err(no_accounts()),
        false => Ok(Caller { account: None, wire: WIRE }),
    }
}

/// What a client that wants to sign in is told.
pub fn no_accounts() -> Status {
    Status::unauthenticated("this server has no accounts: connect without user name and password")
}
