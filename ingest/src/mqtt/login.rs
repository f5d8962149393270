//! Who is connecting, and may it?
//!
//! Owns: the decision over a CONNECT, from memory alone. Does not own: the digest ([`crate::sign`]), registering what
//! the decision says to register, the packet that answers.

use std::sync::Arc;

use wattline_registry::{Device, Product, Secret};

use super::packet::{Version, reason};
use super::sessions::Limiter;
use crate::check::quote;
use crate::code::Code;
use crate::counters::Refused;
use crate::ingestor::Ingestor;
use crate::sign::{ClientId, SecureMode, decode_username, verify};

/// What a CONNECT says about its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
    /// Whether it came with a client certificate that one of our authorities signed.
    pub(crate) has_certificate: bool,
}

/// A login that is right.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) device: Arc<Device>,
    pub(crate) product: Arc<Product>,
    /// Signed with the product's secret: the device is told its own and may do nothing else.
    pub(crate) activation: bool,
}

/// What follows from a claim that is right.
#[derive(Debug)]
pub(crate) enum Verdict {
    Known(Login),
    /// The device is to be registered first, with this secret or a fresh one.
    Register {
        product: Arc<Product>,
        device_key: String,
        secret: Option<Secret>,
        activation: bool,
    },
}

/// Why a claim is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) why: Refused,
    pub(crate) code: Option<Code>,
    pub(crate) message: String,
}

impl Denial {
    pub(crate) fn new(why: Refused, code: Option<Code>, message: impl Into<String>) -> Denial {
        Denial { why, code, message: message.into() }
    }

    /// The code of the CONNACK.
    pub(crate) fn connack(&self, version: Version) -> u8 {
        let (v311, v5) = match self.why {
            Refused::Identity => (2, reason::CLIENT_ID),
            Refused::Unknown | Refused::Signature => (4, reason::CREDENTIALS),
            Refused::Disabled | Refused::Activation | Refused::Certificate => (5, reason::NOT_AUTHORIZED),
            Refused::Rate => (3, reason::RATE),
            _ => (3, reason::UNAVAILABLE),
        };
        if version == Version::V311 { v311 } else { v5 }
    }

    /// The text of the CONNACK, with the protocol's code before it.
    pub(crate) fn text(&self) -> String {
        match self.code {
            Some(code) => format!("{code} {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// Decides over a claim.
pub(crate) fn decide(ingestor: &Ingestor, limiter: &Limiter, claim: &Claim<'_>) -> Result<Verdict, Denial> {
    let id = ClientId::decode(claim.client_id).map_err(|e| Denial::new(Refused::Identity, None, e))?;
    let username = claim.username.unwrap_or_default();
    let (device_key, product_key) = decode_username(username).ok_or_else(|| {
        let message = format!("user name {:?} is not deviceKey&productKey", quote(username));
        Denial::new(Refused::Identity, None, message)
    })?;
    let registry = ingestor.registry();
    let unknown = || {
        let message = format!("no device {}&{}", quote(device_key), quote(product_key));
        Denial::new(Refused::Unknown, Some(Code::UnknownDevice), message)
    };
    let product = registry.product(product_key).ok_or_else(unknown)?;
    let device = registry.device(product_key, device_key);
    if device.is_none() && !ingestor.settings().auto_register_devices {
        return Err(unknown());
    }
    if let Some(device) = &device {
        limiter.admit(device.asset).map_err(|message| Denial::new(Refused::Rate, None, message))?;
    }
    let activation = id.secure_mode == SecureMode::Product;
    // A device nobody has registered has no secret of its own: it must know its product's.
    let secret = match &device {
        Some(device) if !activation => device.secret.expose(),
        _ => product.secret.expose(),
    };
    let parts = [
        ("clientId", id.inner),
        ("deviceKey", device_key),
        ("productKey", product_key),
        ("timestamp", id.timestamp),
    ];
    if !verify(id.algorithm, &parts, secret, claim.password.unwrap_or_default()) {
        let message = format!("signature of {}&{} does not match", quote(device_key), quote(product_key));
        return Err(Denial::new(Refused::Signature, Some(Code::BadSignature), message));
    }
    if activation && !product.dynamic_activation {
        let message = format!("product {} does not allow dynamic activation", quote(product_key));
        return Err(Denial::new(Refused::Activation, Some(Code::NoDynamicActivation), message));
    }
    if product.require_certificate && !claim.has_certificate {
        let message = format!("product {} demands TLS with a client certificate", quote(product_key));
        return Err(Denial::new(Refused::Certificate, Some(Code::NeedsTls), message));
    }
    match device {
        Some(device) if !device.enabled => {
            let message = format!("device {}&{} is disabled", quote(device_key), quote(product_key));
            Err(Denial::new(Refused::Disabled, Some(Code::Disabled), message))
        }
        Some(device) => Ok(Verdict::Known(Login { device, product, activation })),
        None => {
            // What signs with the product's secret for good keeps it as its own; what came to be activated gets one.
            let secret = (!activation).then(|| product.secret.clone());
            Ok(Verdict::Register { product, device_key: device_key.to_owned(), secret, activation })
        }
    }
}
