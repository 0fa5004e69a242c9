//! Certificates that are made for a test: of a root, of an issuer under it, and of servers.

#![allow(dead_code, reason = "every test target uses another part")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// The name that every certificate is for.
pub const NAME: &str = "chat.example.com";

/// An authority that signs certificates of servers as a public one does: with an issuer between
/// the root and the certificate of the server.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The certificate and the key of one server, in PEM.
#[derive(Clone)]
pub struct Server {
    pub cert: String,
    pub key: String,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn signer(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    pub fn new() -> Self {
        let root = CertifiedIssuer::self_signed(signer("root"), KeyPair::generate().unwrap());
        let root = root.unwrap();
        let issuer =
            CertifiedIssuer::signed_by(signer("issuer"), KeyPair::generate().unwrap(), &root);
        Authority { issuer: issuer.unwrap(), root }
    }

    pub fn root(&self) -> String {
        self.root.pem()
    }

    pub fn root_der(&self) -> Vec<u8> {
        self.root.der().to_vec()
    }

    pub fn issuer(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a server's certificate, without a chain.
    pub fn server(&self) -> Server {
        Self::sign(&params("server"), &self.issuer)
    }

    /// Signs a server's certificate that expired long ago, without a chain.
    pub fn expired_server(&self) -> Server {
        let mut params = params("server");
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        Self::sign(&params, &self.issuer)
    }

    /// Signs a server's certificate for so many days from now, with its chain except the root.
    pub fn server_for(&self, days: u64) -> Server {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut params = params("server");
        params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(days * 86_400);
        let Server { cert, key } = Self::sign(&params, &self.issuer);
        Server { cert: cert + &self.issuer(), key }
    }

    fn sign(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Server {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, issuer).unwrap();
        Server { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// Signs a server's certificate with its complete chain: the issuer and the root.
    pub fn chain(&self) -> Server {
        self.chained(&params("server"))
    }

    /// Signs a certificate for another name or an address, with its complete chain.
    pub fn chain_at(&self, name: &str) -> Server {
        self.chained(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    fn chained(&self, params: &CertificateParams) -> Server {
        let Server { cert, key } = Self::sign(params, &self.issuer);
        Server { cert: cert + &self.issuer() + &self.root(), key }
    }
}

/// Returns a server with a self-signed certificate.
pub fn self_signed() -> Server {
    let key = KeyPair::generate().unwrap();
    let cert = params("self").self_signed(&key).unwrap();
    Server { cert: cert.pem(), key: key.serialize_pem() }
}
