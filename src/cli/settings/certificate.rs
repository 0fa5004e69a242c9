//! The settings that name the certificate's files, and what these files hold.

use std::path::PathBuf;

use longlink::tls::Certificate;

use crate::cli::files;
use crate::cli::refusal::Refusal;

/// The paths of the chain and of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The contents of the files.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    pub cert: Vec<u8>,
    pub key: Vec<u8>,
}

impl Files {
    /// Takes the names of both files, or of none.
    pub fn pair(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Self>, Refusal> {
        match (cert, key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(Files { cert, key })),
            (Some(_), None) => Err(Refusal("tls-cert needs tls-key, its private key".to_owned())),
            (None, Some(_)) => Err(Refusal("tls-key needs tls-cert, its certificate".to_owned())),
        }
    }

    /// Reads both files.
    ///
    /// # Errors
    /// One line that names the file that could not be read.
    pub fn contents(&self) -> Result<Contents, String> {
        Ok(Contents { cert: files::read(&self.cert)?, key: files::read(&self.key)? })
    }

    /// Checks that the key belongs to the certificate. The error names both files, since
    /// the fault may be in either.
    pub fn check(&self, contents: &Contents) -> Result<Certificate, String> {
        Certificate::from_pem(&contents.cert, &contents.key).map_err(|error| {
            format!("tls-cert {}, tls-key {}: {error}", self.cert.display(), self.key.display())
        })
    }
}
