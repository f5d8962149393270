//! A device's MQTT login (device protocol §4.1).

use sha2::{Digest, Sha256};

/// What a device puts into its CONNECT.
#[derive(Clone, Debug)]
pub struct Login {
    /// `{clientId}|securemode=…,signmethod=…,timestamp=…|`
    pub client_id: String,
    /// `{deviceKey}&{productKey}`
    pub username: String,
    /// The digest, in hex.
    pub password: String,
}

/// The login of `device_key` with SHA-256 and `secure_mode` 2 (device secret) or 3 (product secret).
pub fn login(product_key: &str, device_key: &str, secret: &str, secure_mode: u8, timestamp: &str) -> Login {
    let inner = format!("c-{device_key}");
    let text =
        format!("clientId{inner}deviceKey{device_key}productKey{product_key}timestamp{timestamp}{secret}");
    Login {
        client_id: format!("{inner}|securemode={secure_mode},signmethod=sha256,timestamp={timestamp}|"),
        username: format!("{device_key}&{product_key}"),
        password: hex(&Sha256::digest(text.as_bytes())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

#[cfg(test)]
mod tests {
    /// The worked vector of the device protocol, §4.1.
    #[test]
    fn the_worked_vector() {
        let text = "clientIdgw-0001deviceKeydk7788productKeypkA1B2C3timestamp1767225600000s3cr3tDemo";
        let digest = super::hex(&<sha2::Sha256 as sha2::Digest>::digest(text.as_bytes()));
        assert_eq!(digest, "7E486B01FCCA4FAC250D344234428940455472A789C400916EB4FF66C9799E1E");
    }
}
