//! Which certificates are accepted.

use longlink::tls::{Certificate, CertificateError};

use crate::certs::{Authority, Server, self_signed};

fn check(cert: &str, key: &str) -> Result<Option<&'static str>, CertificateError> {
    Certificate::from_pem(cert.as_bytes(), key.as_bytes()).map(|it| it.warning())
}

#[test]
fn a_chain_to_a_root_is_complete_and_anything_less_is_not() {
    let authority = Authority::new();
    let Server { cert, key } = authority.server();
    let (issuer, root) = (authority.issuer(), authority.root());
    assert_eq!(check(&[&cert, &issuer, &root].map(String::as_str).concat(), &key), Ok(None));
    for lacking in [
        cert.clone(),
        format!("{cert}{issuer}"),
        format!("{cert}{root}"),
        // The chain of another authority with equal names.
        format!("{cert}{}{root}", Authority::new().issuer()),
        format!("{cert}{issuer}{}", Authority::new().root()),
    ] {
        assert_eq!(check(&lacking, &key), Err(CertificateError::Incomplete));
    }
}

#[test]
fn a_self_signed_or_expired_certificate_is_accepted_with_a_warning() {
    let Server { cert, key } = self_signed();
    assert!(check(&cert, &key).unwrap().unwrap().contains("self-signed"));
    let authority = Authority::new();
    let Server { cert, key } = authority.expired_server();
    let warning = check(&(cert + &authority.issuer() + &authority.root()), &key);
    assert!(warning.unwrap().unwrap().contains("not valid today"));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new();
    let (one, other) = (authority.chain(), authority.chain());
    assert_eq!(check(&one.cert, &other.key), Err(CertificateError::KeyMismatch));
    assert_eq!(check(&one.cert, &one.key), Ok(None));
}

#[test]
fn a_certificate_file_that_is_cut_anywhere_is_refused() {
    let authority = Authority::new();
    let Server { cert, key } = authority.chain();
    for cut in (0..cert.trim_end().len() - 1).step_by(97) {
        assert!(check(&cert[..cut], &key).is_err(), "{cut}");
    }
    for cut in (0..key.trim_end().len() - 1).step_by(13) {
        assert_eq!(check(&cert, &key[..cut]), Err(CertificateError::NoKey), "{cut}");
    }
}

#[test]
fn an_error_says_whether_the_certificate_or_the_key_is_not_valid() {
    let Server { cert, key } = self_signed();
    assert_eq!(check("", &key), Err(CertificateError::NoCertificate));
    assert_eq!(check(&key, &key), Err(CertificateError::NoCertificate));
    assert_eq!(check(&cert, &cert), Err(CertificateError::NoKey));
    assert_eq!(check(&cert, ""), Err(CertificateError::NoKey));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(check(garbage, &key), Err(CertificateError::Malformed));
    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(check(&cert, garbage), Err(CertificateError::BadKey));
    // The error says nothing of what is in the files.
    for error in [CertificateError::BadKey, CertificateError::KeyMismatch] {
        assert!(!error.to_string().contains("BEGIN"));
    }
}
