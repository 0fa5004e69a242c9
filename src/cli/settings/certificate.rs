//! The settings that name the certificate's files, and what these files hold.

use std::fmt;
use std::path::PathBuf;

use longlink::tls::Certificate;

use super::values::Values;
use crate::cli::files;
use crate::cli::problems::Problems;

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

/// A certificate that was read from its files, and checked.
#[derive(Clone)]
pub struct Loaded {
    pub files: Files,
    pub contents: Contents,
    pub certificate: Certificate,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

impl Files {
    /// Takes the names of both files, if both are given.
    pub fn pair(cert: Option<PathBuf>, key: Option<PathBuf>) -> Option<Self> {
        Some(Files { cert: cert?, key: key? })
    }

    /// Reads both files.
    ///
    /// # Errors
    /// One line that names the file that could not be read.
    pub fn contents(&self) -> Result<Contents, String> {
        Ok(Contents { cert: files::read(&self.cert)?, key: files::read(&self.key)? })
    }

    /// Reads and checks both files at the start. What is wrong is added to the problems, each file
    /// that cannot be read with the name of its own setting.
    pub fn load(self, values: &Values, problems: &mut Problems) -> Option<Loaded> {
        let mut read = |name, path| {
            let read = files::read(path).map_err(|why| problems.add(values.refuse(name, why)));
            read.ok()
        };
        let (cert, key) = (read("tls-cert", &self.cert), read("tls-key", &self.key));
        let contents = Contents { cert: cert?, key: key? };
        match self.check(&contents) {
            Ok(certificate) => Some(Loaded { files: self, contents, certificate }),
            Err(why) => {
                problems.add(values.contradict(&["tls-cert", "tls-key"], why));
                None
            }
        }
    }

    /// Checks that the key belongs to the certificate. The error names both files, since
    /// the fault may be in either.
    pub fn check(&self, contents: &Contents) -> Result<Certificate, String> {
        Certificate::from_pem(&contents.cert, &contents.key).map_err(|error| {
            format!("tls-cert {}, tls-key {}: {error}", self.cert.display(), self.key.display())
        })
    }
}
