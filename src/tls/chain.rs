//! A server's chain of certificates, seen by a client that fetches no missing certificate, such as
//! Android: where it leads, for which names, and for which time it is valid.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// Certificates as a server sends them, beginning with its own.
///
/// [`Certificate`](crate::tls::Certificate) uses it to refuse a chain that clients would refuse; a
/// client can use it to find out what is wrong with a server's chain.
pub struct CertificateChain<'a> {
    shown: &'a [CertificateDer<'a>],
    parsed: Vec<EndEntityCert<'a>>,
}

/// Where a chain of certificates ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The chain leads to a root that browsers know.
    Public,
    /// The chain leads to one of the additional roots that were given.
    Private,
    /// The chain leads only to a root that is in the chain itself.
    Brought,
    /// The server's certificate is signed with its own key.
    SelfSigned,
    /// The chain leads nowhere: the certificate of the server's issuer is missing.
    Incomplete,
    /// The chain leads beyond the issuer's certificate to one that is neither in it nor known.
    Unknown,
    /// A certificate of the chain, the server's own or an issuer's, has expired or is not valid
    /// yet.
    NotNow,
    /// Something else is wrong with the chain, such as a signature, or the use that a certificate
    /// allows.
    Unusable,
}

impl<'a> CertificateChain<'a> {
    /// Reads the certificates, in DER as rustls has them. `None` if there is none, or one cannot be
    /// read.
    pub fn new(shown: &'a [CertificateDer<'a>]) -> Option<Self> {
        let parsed = shown.iter().map(EndEntityCert::try_from).collect::<Result<Vec<_>, _>>();
        parsed.ok().filter(|parsed| !parsed.is_empty()).map(|parsed| Self { shown, parsed })
    }

    /// Looks for a path from the server's certificate to a root that browsers know, to one of
    /// `roots`, or to a root that is in the chain.
    pub fn trust(&self, roots: &[CertificateDer<'_>], now: SystemTime) -> Trust {
        let own = &self.shown[0];
        if roots.contains(own) {
            return Trust::Private;
        }
        let is_self_signed = |it: &EndEntityCert<'_>| it.issuer() == it.subject();
        if is_self_signed(&self.parsed[0]) {
            return Trust::SelfSigned;
        }
        let brought = self.shown.iter().zip(&self.parsed).filter(|(_, it)| is_self_signed(it));
        let brought = brought.map(|(der, _)| der);
        let is_issuer = |it: &EndEntityCert<'_>| it.subject() == self.parsed[0].issuer();
        let mut trust = match self.parsed[1..].iter().any(is_issuer) {
            true => Trust::Unknown,
            false => Trust::Incomplete,
        };
        for (found, roots) in [
            (Trust::Public, webpki_roots::TLS_SERVER_ROOTS.to_vec()),
            (Trust::Private, anchors(roots)),
            (Trust::Brought, anchors(brought)),
        ] {
            trust = match self.verify(&roots, now) {
                Ok(()) => return found,
                Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) => {
                    Trust::NotNow
                }
                // There is no path to this root; the result of an earlier root stays.
                Err(webpki::Error::UnknownIssuer) => trust,
                Err(_) => Trust::Unusable,
            };
        }
        trust
    }

    /// Whether the server's certificate is for this name or address.
    pub fn is_for(&self, name: &str) -> bool {
        let name = ServerName::try_from(name);
        name.is_ok_and(|name| self.parsed[0].verify_is_valid_for_subject_name(&name).is_ok())
    }

    /// The names that the server's certificate is for, wildcards as they are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parsed[0].valid_dns_names()
    }

    /// Returns from when until when the server's own certificate is valid; `None` if that cannot be
    /// read.
    pub fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        let time = |at: UnixTime| UNIX_EPOCH.checked_add(Duration::from_secs(at.as_secs()));
        // webpki checks the time first, whatever else is wrong.
        let far_off = UNIX_EPOCH + Duration::from_secs(u64::MAX >> 4);
        match (self.verify(&[], UNIX_EPOCH), self.verify(&[], far_off)) {
            (
                Err(webpki::Error::CertNotValidYet { not_before, .. }),
                Err(webpki::Error::CertExpired { not_after, .. }),
            ) => Some((time(not_before)?, time(not_after)?)),
            // The certificate is valid from before 1970 on.
            (_, Err(webpki::Error::CertExpired { not_after, .. })) => {
                Some((UNIX_EPOCH, time(not_after)?))
            }
            _ => None,
        }
    }

    fn verify(&self, roots: &[TrustAnchor<'_>], now: SystemTime) -> Result<(), webpki::Error> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let verified = self.parsed[0].verify_for_usage(
            ring::default_provider().signature_verification_algorithms.all,
            roots,
            &self.shown[1..],
            UnixTime::since_unix_epoch(now),
            KeyUsage::server_auth(),
            None,
            None,
        );
        verified.map(drop)
    }
}

fn anchors<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>,
) -> Vec<TrustAnchor<'a>> {
    let anchors = certificates.into_iter().map(webpki::anchor_from_trusted_cert);
    anchors.filter_map(Result::ok).collect()
}

impl fmt::Debug for CertificateChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateChain").field("certificates", &self.shown.len()).finish()
    }
}
