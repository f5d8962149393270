//! How a device proves who it is: the texts of CONNECT and the digest over them.
//!
//! Owns: reading client id and user name, computing and comparing digests. Does not own: whose secret to use, or what
//! follows from a wrong one (`mqtt::login`).
//!
//! The digest is a plain hash over `name value name value … secret`, names in alphabetical order. The names
//! `hmacsha256`, `hmacsha1` and `hmacmd5` mean the same plain hashes: that is what the published SDKs compute.
//! Everything is signed as the text it came as; a timestamp with decimals stays one.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Which secret signs, and what the login is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureMode {
    /// 2: signed with the device's secret.
    Device,
    /// 3: signed with the product's secret, to be told the device's.
    Product,
}

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// MD5.
    Md5,
}

impl Algorithm {
    /// The algorithm of this name, letter case ignored.
    pub fn named(name: &str) -> Option<Algorithm> {
        const NAMES: [(&str, Algorithm); 6] = [
            ("sha256", Algorithm::Sha256),
            ("hmacsha256", Algorithm::Sha256),
            ("sha1", Algorithm::Sha1),
            ("hmacsha1", Algorithm::Sha1),
            ("md5", Algorithm::Md5),
            ("hmacmd5", Algorithm::Md5),
        ];
        NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|&(_, algorithm)| algorithm)
    }
}

/// The parts of an MQTT client id: `inner|securemode=2,signmethod=sha256,timestamp=1767225600000|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId<'a> {
    /// The device's own part, which is signed. The SDKs may end it with `{ip=…,compress=…}`; that is signed too.
    pub inner: &'a str,
    /// Which secret signs.
    pub secure_mode: SecureMode,
    /// How.
    pub algorithm: Algorithm,
    /// Signed as it stands.
    pub timestamp: &'a str,
}

impl<'a> ClientId<'a> {
    /// Takes `text` apart. Blanks around names and values do not count, nor does the letter case of names.
    ///
    /// # Errors
    /// Names the part that is missing or unknown.
    pub fn decode(text: &'a str) -> Result<ClientId<'a>, String> {
        let body = text.strip_suffix('|').ok_or("client id does not end with '|'")?;
        let (inner, parameters) =
            body.rsplit_once('|').ok_or("client id has no '|' before its parameters")?;
        if inner.is_empty() {
            return Err("client id has nothing before its parameters".to_owned());
        }
        let (mut mode, mut algorithm, mut timestamp) = (None, None, None);
        for parameter in parameters.split(',') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("securemode") {
                mode = Some(match value {
                    "2" => SecureMode::Device,
                    "3" => SecureMode::Product,
                    other => {
                        return Err(format!("securemode {:?} is not 2 or 3", crate::check::quote(other)));
                    }
                });
            } else if name.eq_ignore_ascii_case("signmethod") {
                let named = Algorithm::named(value);
                let unknown = || format!("signmethod {:?} is not known", crate::check::quote(value));
                algorithm = Some(named.ok_or_else(unknown)?);
            } else if name.eq_ignore_ascii_case("timestamp") {
                timestamp = Some(value);
            }
        }
        Ok(ClientId {
            inner,
            secure_mode: mode.ok_or("client id has no securemode")?,
            algorithm: algorithm.ok_or("client id has no signmethod")?,
            timestamp: timestamp.ok_or("client id has no timestamp")?,
        })
    }
}

/// The device key and product key of a user name `deviceKey&productKey`.
pub fn decode_username(text: &str) -> Option<(&str, &str)> {
    let (device_key, product_key) = text.split_once('&')?;
    let filled = !device_key.is_empty() && !product_key.is_empty() && !product_key.contains('&');
    filled.then_some((device_key, product_key))
}

/// Whether `signature`, in hexadecimal of either case, is the digest over `parts` (already in alphabetical order of
/// their names) and `secret`. Takes the same time wherever the first difference is.
pub fn verify(algorithm: Algorithm, parts: &[(&str, &str)], secret: &str, signature: &[u8]) -> bool {
    let mut text = String::new();
    for (name, value) in parts {
        text.push_str(name);
        text.push_str(value);
    }
    text.push_str(secret);
    let digest = match algorithm {
        Algorithm::Sha256 => Sha256::digest(&text).to_vec(),
        Algorithm::Sha1 => Sha1::digest(&text).to_vec(),
        Algorithm::Md5 => Md5::digest(&text).to_vec(),
    };
    decode_hex(signature).is_some_and(|given| digest.ct_eq(&given).into())
}

fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if !text.len().is_multiple_of(2) || text.len() > 128 {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3tDemo";

    /// The worked vector of the protocol page.
    const PARTS: [(&str, &str); 4] = [
        ("clientId", "gw-0001"),
        ("deviceKey", "dk7788"),
        ("productKey", "pkA1B2C3"),
        ("timestamp", "1767225600000"),
    ];
    const SHA256: &str = "7E486B01FCCA4FAC250D344234428940455472A789C400916EB4FF66C9799E1E";
    const SHA1: &str = "3953D9603001CA52C59E5D73B32A163C4123F5B7";
    /// `printf clientIdgw-0001…s3cr3tDemo | md5sum`
    const MD5: &str = "c59657063a637ac678884d45b8fa22fb";

    #[test]
    fn the_worked_vectors_verify_in_either_case() {
        for (algorithm, hex) in [(Algorithm::Sha256, SHA256), (Algorithm::Sha1, SHA1), (Algorithm::Md5, MD5)]
        {
            assert!(verify(algorithm, &PARTS, SECRET, hex.as_bytes()), "{algorithm:?}");
            assert!(verify(algorithm, &PARTS, SECRET, hex.to_lowercase().as_bytes()), "{algorithm:?}");
            assert!(verify(algorithm, &PARTS, SECRET, hex.to_uppercase().as_bytes()), "{algorithm:?}");
        }
    }

    #[test]
    fn anything_else_does_not_verify() {
        for hex in ["", "7E", &SHA256[..63], &SHA256[..62], SHA1, "zz", &"7E".repeat(500)] {
            assert!(!verify(Algorithm::Sha256, &PARTS, SECRET, hex.as_bytes()), "{hex}");
        }
        assert!(!verify(Algorithm::Sha256, &PARTS, "s3cr3tDemO", SHA256.as_bytes()));
        let mut flipped = SHA256.to_owned().into_bytes();
        flipped[63] = b'F';
        assert!(!verify(Algorithm::Sha256, &PARTS, SECRET, &flipped));
    }

    #[test]
    fn the_sub_device_vector_verifies() {
        let parts = [
            ("clientId", "sub-01"),
            ("deviceKey", "dkSub01"),
            ("productKey", "pkSUB001"),
            ("timestamp", "1767225600000"),
        ];
        let sign = b"1301C6C7F7D2AD1A350DE5A348B261E7D6376725B36CAD71E9FEDDF28194E0BD";
        assert!(verify(Algorithm::Sha256, &parts, "subSecretDemo", sign));
    }

    #[test]
    fn client_ids_come_apart() {
        let plain =
            ClientId::decode("gw-0001|securemode=2,signmethod=sha256,timestamp=1767225600000|").unwrap();
        assert_eq!((plain.inner, plain.timestamp), ("gw-0001", "1767225600000"));
        assert_eq!((plain.secure_mode, plain.algorithm), (SecureMode::Device, Algorithm::Sha256));
        let odd =
            "a{ip=10.0.0.1,compress=gzip}|secureMode=3, SignMethod=hmacSHA1 ,timestamp=1767225600000.123|";
        let odd = ClientId::decode(odd).unwrap();
        assert_eq!((odd.inner, odd.timestamp), ("a{ip=10.0.0.1,compress=gzip}", "1767225600000.123"));
        assert_eq!((odd.secure_mode, odd.algorithm), (SecureMode::Product, Algorithm::Sha1));
    }

    #[test]
    fn client_ids_say_what_they_lack() {
        for (text, lacks) in [
            ("gw", "end with"),
            ("gw|", "before its parameters"),
            ("|securemode=2,signmethod=md5,timestamp=1|", "nothing before"),
            ("gw|signmethod=md5,timestamp=1|", "no securemode"),
            ("gw|securemode=9,signmethod=md5,timestamp=1|", "securemode"),
            ("gw|securemode=2,timestamp=1|", "no signmethod"),
            ("gw|securemode=2,signmethod=crc,timestamp=1|", "crc"),
            ("gw|securemode=2,signmethod=md5|", "no timestamp"),
        ] {
            assert!(ClientId::decode(text).unwrap_err().contains(lacks), "{text}");
        }
    }

    #[test]
    fn user_names_come_apart() {
        assert_eq!(decode_username("dk7788&pkA1B2C3"), Some(("dk7788", "pkA1B2C3")));
        for bad in ["", "dk", "&pk", "dk&", "a&b&c"] {
            assert_eq!(decode_username(bad), None, "{bad}");
        }
    }
}
