//! TLS to a Redis: whom its certificate may come from.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, StreamOwned};

use super::link::LinkError;
use super::stream::{Stream, Timed};

/// The authorities that are trusted.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts the authorities of this PEM text alone, or, without one, those that browsers know.
    ///
    /// # Errors
    /// If the text has no whole certificate.
    pub fn new(pem: Option<&[u8]>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match pem {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| NO_CERTIFICATE)?;
                    roots.add(certificate).map_err(|_| NO_CERTIFICATE)?;
                }
                if roots.is_empty() {
                    return Err(NO_CERTIFICATE.to_owned());
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(Trust(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }

    /// Encrypts a connection to the host of this name. The handshake is made with the first bytes.
    pub fn encrypt(&self, host: &str, timed: Timed) -> Result<Stream, LinkError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| LinkError::Tls("no certificate can be for this name".to_owned()))?;
        let session = ClientConnection::new(Arc::clone(&self.0), name)
            .map_err(|error| LinkError::Tls(explain(&error)))?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(session, timed))))
    }
}

const NO_CERTIFICATE: &str = "expected certificates in PEM";

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

/// What an operator can do about an error of TLS.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate comes from an authority that is not known: name it by redis-ca"
                .to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the certificate is for another name than that of the URL".to_owned(),
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the certificate has expired".to_owned(),
        Error::InvalidMessage(_) => "this port does not speak TLS: use redis://".to_owned(),
        other => other.to_string(),
    }
}
