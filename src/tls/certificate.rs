//! A certificate and its key. They are read from PEM, and refused if clients would refuse them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::chain::{CertificateChain, Trust};

/// A server's certificate with its chain and private key, checked.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    doubt: Option<Doubt>,
}

/// Why a certificate cannot be used. No variant contains anything of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// The PEM text contains no certificate, or an incomplete one.
    NoCertificate,
    /// The PEM text contains no private key, or an incomplete one.
    NoKey,
    /// The certificate cannot be read.
    Malformed,
    /// The key cannot be read, or is of a kind that is not supported.
    BadKey,
    /// The private key does not belong to the certificate.
    KeyMismatch,
    /// The issuer's certificate is missing. Clients that do not fetch it themselves, such as
    /// Android, refuse the connection.
    Incomplete,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateError::NoCertificate => "no whole PEM certificate in it",
            CertificateError::NoKey => "no whole PEM private key in it",
            CertificateError::Malformed => {
                "the certificate cannot be read; it has to be of version 3 of X.509"
            }
            CertificateError::BadKey => "the private key cannot be read",
            CertificateError::KeyMismatch => "the private key is not the certificate's",
            CertificateError::Incomplete => {
                "the chain is incomplete: add the issuer's certificate after the server's \
                 (fullchain.pem, not cert.pem), and a root of your own at the end"
            }
        })
    }
}

impl std::error::Error for CertificateError {}

/// What is wrong with a certificate that is used nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    SelfSigned,
    NotNow,
}

impl Certificate {
    /// Reads the chain, beginning with the server's own certificate, and the private key in PKCS#8,
    /// PKCS#1 or SEC1. The chain must lead to a root that browsers know or that it contains.
    ///
    /// # Errors
    /// If clients would refuse the certificate; see [`CertificateError`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CertificateError::NoCertificate)?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let doubt = examine(&chain)?;
        let key = ring::sign::any_supported_type(&key).map_err(|_| CertificateError::BadKey)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| CertificateError::KeyMismatch)?;
        Ok(Certificate { key: Arc::new(key), doubt })
    }

    /// Returns a warning about a certificate that is used although many clients refuse it: it is
    /// self-signed, or not valid now.
    pub fn warning(&self) -> Option<&'static str> {
        self.doubt.map(|doubt| match doubt {
            Doubt::SelfSigned => {
                "the certificate is self-signed: only clients that were told to trust it connect"
            }
            Doubt::NotNow => "the certificate is not valid today: clients refuse it",
        })
    }
}

/// Returns a doubt to warn about if the chain can be served, or the reason why it cannot.
fn examine(chain: &[CertificateDer<'static>]) -> Result<Option<Doubt>, CertificateError> {
    let chain = CertificateChain::new(chain).ok_or(CertificateError::Malformed)?;
    match chain.trust(&[], SystemTime::now()) {
        Trust::Public | Trust::Private | Trust::Brought => Ok(None),
        Trust::SelfSigned => Ok(Some(Doubt::SelfSigned)),
        Trust::NotNow => Ok(Some(Doubt::NotNow)),
        Trust::Incomplete | Trust::Unknown | Trust::Unusable => Err(CertificateError::Incomplete),
    }
}
