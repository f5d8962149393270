//! Server-side TLS from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::TlsFiles;
use crate::error::{Error, Result};

/// Whether clients must show a certificate, where authorities are given at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They must.
    Required,
    /// They may; the protocol decides for whom it is needed.
    Accepted,
}

/// The configuration `files` describe.
///
/// # Errors
/// Names the file that cannot be read or does not fit.
pub fn server_config(
    files: &TlsFiles,
    clients: ClientCertificates,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong = |what: &str, path: &Path, e: &dyn std::fmt::Display| {
        Error::usage(format!("TLS {what} {}: {e}", path.display()))
    };
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong("key", &files.key, &e))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::failed(format!("TLS versions: {e}")))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| wrong("authority", path, &e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match clients {
                ClientCertificates::Required => verifier,
                ClientCertificates::Accepted => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| wrong("authority", path, &e))?)
        }
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|e| wrong("certificate", &files.cert, &e))?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |e: &dyn std::fmt::Display| Error::usage(format!("TLS certificate {}: {e}", path.display()));
    let found: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))?.collect();
    match found {
        Ok(list) if list.is_empty() => Err(wrong(&"no certificate in it")),
        Ok(list) => Ok(list),
        Err(error) => Err(wrong(&error)),
    }
}
