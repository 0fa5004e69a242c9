//! The settings that name the certificate's files, and what these files hold.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use longlink::tls::Certificate;

use crate::cli::refusal::Refusal;

/// The longest of them in bytes. A chain takes some thousands.
const MOST: u64 = 1 << 20;

/// Where chain and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What was in them.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    pub cert: Vec<u8>,
    pub key: Vec<u8>,
}

impl Files {
    /// Both or none.
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
        Ok(Contents { cert: bytes(&self.cert)?, key: bytes(&self.key)? })
    }

    /// Checks that the key belongs to the certificate. The error names both files, since
    /// the fault may be in either.
    pub fn check(&self, contents: &Contents) -> Result<Certificate, String> {
        Certificate::from_pem(&contents.cert, &contents.key).map_err(|error| {
            format!("tls-cert {}, tls-key {}: {error}", self.cert.display(), self.key.display())
        })
    }
}

/// What is in a file of certificates or keys.
///
/// # Errors
/// One line that names it, also if it is far too long.
pub fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST {
            return Err(io::Error::other("it is longer than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|error| format!("cannot read {}: {error}", path.display()))
}
