//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's half, and verifiers of passwords.
//!
//! Owns: the exchange and its arithmetic. Does not own: accounts (`registry`), messages around the exchange (`startup`).
//!
//! An account that does not exist is asked like one that does, with a salt that stays the same while the server runs, so
//! that logins do not tell who exists.

use std::num::NonZeroU32;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq as _;
use wattline_registry::Verifier;

use crate::error::{Error, Result};

/// The name of the mechanism.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// Rounds of new verifiers: ten milliseconds or so for a client.
const ITERATIONS: u32 = 10_000;

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;

/// The longest password; what is longer adds nothing.
pub const PASSWORD_BYTES_MAX: usize = 128;

/// The verifier of a password with a fresh salt.
///
/// # Errors
/// Usage where the password is empty, too long, or has other characters than printable ASCII: others need a
/// normalisation that not every client does alike.
pub fn verifier_of(password: &str) -> Result<Verifier> {
    let fits = (1..=PASSWORD_BYTES_MAX).contains(&password.len())
        && password.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !fits {
        return Err(Error::usage(format!(
            "a password has 1 to {PASSWORD_BYTES_MAX} letters, digits, blanks and signs of ASCII"
        )));
    }
    let salt = random::<SALT_BYTES>()?;
    Ok(derive(password, &salt, ITERATIONS))
}

fn derive(password: &str, salt: &[u8], iterations: u32) -> Verifier {
    let mut salted = [0; 32];
    let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
    let client_key = sign(&salted, b"Client Key");
    Verifier {
        salt: salt.to_vec(),
        iterations,
        stored_key: sha256(&client_key),
        server_key: sign(&salted, b"Server Key"),
    }
}

/// Whether `password` is that of `account`, the verifier of the account `user` if there is one. Takes as long where there is
/// none, or the password is wrong.
pub fn is_password(account: Option<&Verifier>, user: &str, password: &str) -> bool {
    let stranger = account.is_none().then(|| stranger(user));
    let Some(verifier) = account.or(stranger.as_ref()) else { return false };
    // What is longer is nobody's.
    let fits = password.len() <= PASSWORD_BYTES_MAX;
    let shown = derive(if fits { password } else { "" }, &verifier.salt, verifier.iterations);
    let good = shown.stored_key.ct_eq(&verifier.stored_key);
    bool::from(good) && fits && account.is_some()
}

/// A verifier as text: `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, as PostgreSQL has it.
pub fn verifier_text(verifier: &Verifier) -> String {
    let part = |bytes: &[u8]| BASE64.encode(bytes);
    format!(
        "{MECHANISM}${}:{}${}:{}",
        verifier.iterations,
        part(&verifier.salt),
        part(&verifier.stored_key),
        part(&verifier.server_key)
    )
}

/// Reads what [`verifier_text`] writes.
pub fn read_verifier(text: &str) -> Option<Verifier> {
    let (head, keys) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once('$')?;
    let (iterations, salt) = head.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let key = |text: &str| <[u8; 32]>::try_from(BASE64.decode(text).ok()?).ok();
    Some(Verifier {
        salt: BASE64.decode(salt).ok()?,
        iterations: iterations.parse().ok()?,
        stored_key: key(stored)?,
        server_key: key(server)?,
    })
}

/// The exchange after the client's first message.
pub struct Exchange {
    verifier: Verifier,
    /// Whether there is such an account; without, no proof is good.
    exists: bool,
    /// What both sign: the messages so far.
    first: String,
    nonce: String,
    binding: String,
}

impl Exchange {
    /// Reads the client's first message; what comes back is the answer to it. `account` is the verifier of the account
    /// the client names, if there is one.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn begin(
        message: &str,
        user: &str,
        account: Option<Verifier>,
    ) -> std::result::Result<(Exchange, String), &'static str> {
        let (binding, bare) = match message.split_at_checked(3) {
            Some((head @ ("n,," | "y,,"), bare)) => (head, bare),
            _ if message.starts_with('p') => return Err("channel binding was not offered"),
            _ => return Err("malformed SCRAM message: no header that is served"),
        };
        let mut parts = bare.split(',');
        // The name in it is ignored, as PostgreSQL does: the startup packet has it.
        if !parts.next().is_some_and(|part| part.starts_with("n=")) {
            return Err("malformed SCRAM message: no name");
        }
        let client_nonce = parts.next().and_then(|part| part.strip_prefix("r=")).unwrap_or_default();
        if client_nonce.is_empty()
            || client_nonce.len() > 256
            || !client_nonce.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err("malformed SCRAM message: no nonce");
        }
        let server_nonce = random::<NONCE_BYTES>().map_err(|_| "no random bytes")?;
        let exists = account.is_some();
        let verifier = account.unwrap_or_else(|| stranger(user));
        let nonce = format!("{client_nonce}{}", BASE64.encode(server_nonce));
        let answer = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let first = format!("{bare},{answer}");
        Ok((Exchange { verifier, exists, first, nonce, binding: BASE64.encode(binding) }, answer))
    }

    /// Reads the client's last message; what comes back proves the server. `None` where the password is wrong, or there
    /// is no such account.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn finish(self, message: &str) -> std::result::Result<Option<String>, &'static str> {
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or("malformed SCRAM message: no proof")?;
        let mut parts = without_proof.split(',');
        if parts.next().and_then(|part| part.strip_prefix("c=")) != Some(self.binding.as_str()) {
            return Err("SCRAM channel binding does not match");
        }
        if parts.next().and_then(|part| part.strip_prefix("r=")) != Some(self.nonce.as_str()) {
            return Err("SCRAM nonce does not match");
        }
        let proof: [u8; 32] = BASE64
            .decode(proof)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or("malformed SCRAM message: the proof is no 32 bytes in Base64")?;
        let signed = format!("{},{without_proof}", self.first);
        let signature = sign(&self.verifier.stored_key, signed.as_bytes());
        let mut client_key = [0; 32];
        for (out, (a, b)) in client_key.iter_mut().zip(proof.iter().zip(signature)) {
            *out = a ^ b;
        }
        let good = sha256(&client_key).ct_eq(&self.verifier.stored_key);
        if !(bool::from(good) && self.exists) {
            return Ok(None);
        }
        let server = sign(&self.verifier.server_key, signed.as_bytes());
        Ok(Some(format!("v={}", BASE64.encode(server))))
    }
}

/// A verifier that no password fits, always the same for a name.
fn stranger(user: &str) -> Verifier {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    let key = KEY.get_or_init(|| random::<32>().unwrap_or([0; 32]));
    let salt = sign(key, user.as_bytes());
    Verifier { salt: salt[..SALT_BYTES].to_vec(), iterations: ITERATIONS, stored_key: salt, server_key: salt }
}

fn sign(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

fn sha256(message: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, message).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::failed(format!("random bytes: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3: user `user`, password `pencil`.
    #[test]
    fn the_example_of_the_rfc() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = derive("pencil", &salt, 4_096);
        let first = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                     r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let exchange = || Exchange {
            verifier: verifier.clone(),
            exists: true,
            first: first.to_owned(),
            nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
            binding: BASE64.encode("n,,"),
        };
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let proof = exchange().finish(last).unwrap();
        assert_eq!(proof.as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert_eq!(exchange().finish(&last.replace("p=dHz", "p=dHy")), Ok(None), "another password");
        assert_eq!(Exchange { exists: false, ..exchange() }.finish(last), Ok(None), "no such account");
        assert!(exchange().finish(&last.replace("biws", "eSws")).is_err(), "another channel binding");
        assert!(exchange().finish(&last.replace("r=rOp", "r=rOq")).is_err(), "another nonce");
        for wrong in ["", "c=biws", "c=biws,r=x,p=", "p=x"] {
            assert!(exchange().finish(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn first_messages() {
        let (_, answer) = Exchange::begin("n,,n=,r=abc", "ann", None).unwrap();
        assert!(answer.starts_with("r=abc") && answer.ends_with(",i=10000"), "{answer}");
        let salt = |answer: &str| answer.split(',').nth(1).unwrap().to_owned();
        let again = Exchange::begin("y,,n=,r=abc", "ann", None).unwrap().1;
        assert_eq!(salt(&answer), salt(&again), "strangers keep their salt");
        assert_ne!(answer, again, "and not their nonce");
        for wrong in ["", "n,", "p=tls-unique,,n=,r=abc", "n,,r=abc", "n,,n=", "n,,n=,r=", "n,,n=,r=é"] {
            assert!(Exchange::begin(wrong, "ann", None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plain_password_is_checked_against_a_verifier() {
        let verifier = verifier_of("pencil").unwrap();
        assert!(is_password(Some(&verifier), "user", "pencil"));
        for wrong in ["", "Pencil", "pencil ", &"x".repeat(PASSWORD_BYTES_MAX + 1)] {
            assert!(!is_password(Some(&verifier), "user", wrong), "{wrong}");
        }
        assert!(!is_password(None, "user", "pencil") && !is_password(None, "user", ""));
    }

    #[test]
    fn verifiers_are_texts_and_back() {
        let verifier = verifier_of("correct horse").unwrap();
        assert_eq!(read_verifier(&verifier_text(&verifier)).as_ref(), Some(&verifier));
        assert_ne!(verifier_of("correct horse").unwrap(), verifier, "salted");
        for wrong in ["", "SCRAM-SHA-256", "SCRAM-SHA-256$1:AA==$AA==:AA==", "md5abc"] {
            assert!(read_verifier(wrong).is_none(), "{wrong}");
        }
        for wrong in [String::new(), "é".to_owned(), "a\n".to_owned(), "x".repeat(129)] {
            assert!(verifier_of(&wrong).is_err());
        }
    }
}
