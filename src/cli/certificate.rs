//! The certificate's files: read at start, and again when they were renewed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use longlink::{Certificate, TlsAcceptor};

use super::Refusal;
use super::units;
use super::values::Values;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(60);
/// The longest of them in bytes. A chain takes some thousands.
const MOST: u64 = 1 << 20;

/// Where chain and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What was in them.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Both or none.
    pub fn read(values: &Values) -> Result<Option<Self>, Refusal> {
        let cert = values.read("tls-cert", units::text)?;
        let key = values.read("tls-key", units::text)?;
        match (cert, key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(Files { cert: cert.into(), key: key.into() })),
            (Some(_), None) => Err(Refusal("tls-cert needs tls-key, its private key".to_owned())),
            (None, Some(_)) => Err(Refusal("tls-key needs tls-cert, its certificate".to_owned())),
        }
    }

    fn contents(&self) -> Result<Contents, String> {
        Ok(Contents { cert: bytes(&self.cert)?, key: bytes(&self.key)? })
    }

    /// Names both: what is wrong may be in either.
    fn check(&self, contents: &Contents) -> Result<Certificate, String> {
        Certificate::from_pem(&contents.cert, &contents.key).map_err(|error| {
            format!("tls-cert {}, tls-key {}: {error}", self.cert.display(), self.key.display())
        })
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
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

/// The certificate in use, and what its files held when they were last read.
pub struct Renewal {
    files: Files,
    seen: Result<Contents, String>,
    acceptor: TlsAcceptor,
    warning: Option<&'static str>,
}

impl Renewal {
    /// Reads the certificate for the first time: what is wrong is refused.
    pub fn start(files: Files) -> Result<Self, Refusal> {
        let contents = files.contents().map_err(Refusal)?;
        let certificate = files.check(&contents).map_err(Refusal)?;
        let warning = certificate.warning();
        let acceptor = TlsAcceptor::new(certificate);
        Ok(Renewal { files, seen: Ok(contents), acceptor, warning })
    }

    /// What to warn of at start.
    pub fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Looks at the files every minute, and when it is told to, from a thread
    /// of its own.
    pub fn watch(mut self) -> io::Result<Sender<()>> {
        let (tell, told) = mpsc::channel();
        let wait = move || {
            loop {
                match told.recv_timeout(INTERVAL) {
                    Ok(()) => self.look(true),
                    Err(RecvTimeoutError::Timeout) => self.look(false),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        thread::Builder::new().name("certificate".to_owned()).spawn(wait)?;
        Ok(tell)
    }

    /// Takes a new certificate up; a broken one is told of once, unless
    /// somebody `asked`, and the one in use stays.
    fn look(&mut self, asked: bool) {
        let contents = self.files.contents();
        if contents == self.seen {
            if asked && contents.is_ok() {
                log::info!("the certificate has not changed");
            }
            if !asked || contents.is_ok() {
                return;
            }
        }
        let certificate = match &contents {
            Ok(contents) => self.files.check(contents),
            Err(error) => Err(error.clone()),
        };
        match certificate {
            Ok(certificate) => {
                log::info!("a new certificate is in use: {}", self.files.cert.display());
                if let Some(warning) = certificate.warning() {
                    log::warn!("{warning}");
                }
                self.acceptor.replace(certificate);
            }
            Err(error) => log::error!("the certificate stays as it was: {error}"),
        }
        self.seen = contents;
    }
}
