//! The TLS side of the endpoint.
//!
//! Owns: a server configuration from PEM texts. Does not own: reading files, choosing ports (`server`).
//!
//! With an authority for clients, a client *may* present a certificate; one that does must present a valid one. Whether
//! it *must* is its product's setting. The certificate admits to the door, the signature says who came in: the name
//! in the certificate is not compared with the device's keys.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, ErrorKind};

/// A configuration for TLS 1.2 and 1.3 from a certificate chain, its key, and the authority that signs the
/// certificates of clients, all PEM.
///
/// # Errors
/// Kind `Config`, naming the part that is wrong.
pub fn server_config(
    certificates_pem: &[u8],
    key_pem: &[u8],
    client_authority_pem: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, Error> {
    let wrong = |what: &str, e: &dyn std::fmt::Display| Error::new(ErrorKind::Config, format!("{what}: {e}"));
    let chain = certificates("tls certificate", certificates_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|e| wrong("tls key", &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("tls versions", &e))?;
    let builder = match client_authority_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("tls client authority", pem)? {
                roots.add(certificate).map_err(|e| wrong("tls client authority", &e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|e| wrong("tls client authority", &e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|e| wrong("tls certificate and key", &e))?;
    Ok(Arc::new(config))
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let list = list.map_err(|e| Error::new(ErrorKind::Config, format!("{what}: {e}")))?;
    if list.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("{what}: no certificate in it")));
    }
    Ok(list)
}
