//! A server's certificates as a client sees them that fetches none by itself,
//! as on Android: what they lead to, for whom and until when they are good.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// Certificates as a server shows them, its own first.
///
/// [`Certificate`](crate::tls::Certificate) refuses by it what clients would; it also
/// tells a client what is wrong with another's.
pub struct CertificateChain<'a> {
    shown: &'a [CertificateDer<'a>],
    parsed: Vec<EndEntityCert<'a>>,
}

/// What a chain leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// To a root that browsers know.
    Public,
    /// To one of the further roots that were given.
    Private,
    /// Only to a root that is in the chain itself.
    Brought,
    /// The server has signed for itself.
    SelfSigned,
    /// Nowhere: the certificate of the server's issuer is not there.
    Incomplete,
    /// Beyond the issuer's certificate to one that is neither there nor known.
    Unknown,
    /// A certificate on the way, the server's own or an issuer's, is no longer,
    /// or not yet, valid.
    NotNow,
    /// Something else is wrong with it: a signature, or what it may be used for.
    Unusable,
}

impl<'a> CertificateChain<'a> {
    /// Reads the certificates, in DER as rustls has them. `None` if there is none
    /// or one cannot be read.
    pub fn new(shown: &'a [CertificateDer<'a>]) -> Option<Self> {
        let parsed = shown.iter().map(EndEntityCert::try_from).collect::<Result<Vec<_>, _>>();
        parsed.ok().filter(|parsed| !parsed.is_empty()).map(|parsed| Self { shown, parsed })
    }

    /// Looks for a way from the server's certificate to a root that browsers
    /// know, to one of `roots`, or to one that the chain brings itself.
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
                // Without a way there the reason may still be another's.
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

    /// From when until when the server's own certificate is valid. `None` if that
    /// cannot be read.
    pub fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        let time = |at: UnixTime| UNIX_EPOCH.checked_add(Duration::from_secs(at.as_secs()));
        // The time is what is looked at first, whatever else is wrong.
        let far_off = UNIX_EPOCH + Duration::from_secs(u64::MAX >> 4);
        match (self.verify(&[], UNIX_EPOCH), self.verify(&[], far_off)) {
            (
                Err(webpki::Error::CertNotValidYet { not_before, .. }),
                Err(webpki::Error::CertExpired { not_after, .. }),
            ) => Some((time(not_before)?, time(not_after)?)),
            // Since the beginning of time.
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
