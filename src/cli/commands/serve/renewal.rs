//! Renews the certificate while the server runs: the thread that waits for reloads looks at its
//! files once a minute, and at each reload.

use std::time::Duration;

use longlink::tls::TlsAcceptor;

use crate::cli::settings::certificate::{Contents, Files, Loaded};

/// How often the files are looked at.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// The certificate in use, and what its files held when they were last read.
pub struct Renewal {
    files: Files,
    in_use: Contents,
    seen: Result<Contents, String>,
    acceptor: TlsAcceptor,
    warning: Option<&'static str>,
}

/// The result of reading the files again.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Same,
    /// A new certificate is in use now; this is its warning, if it has one.
    New(Option<&'static str>),
    Broken(String),
}

impl Renewal {
    /// Takes the certificate that was read with the settings.
    pub fn start(loaded: Loaded) -> Self {
        let Loaded { files, contents, certificate } = loaded;
        let warning = certificate.warning();
        let acceptor = TlsAcceptor::new(certificate);
        Renewal { files, in_use: contents.clone(), seen: Ok(contents), acceptor, warning }
    }

    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Logs the certificate's warning, if it has one.
    pub fn announce(&self) {
        if let Some(warning) = self.warning {
            log::warn!("{warning}");
        }
    }

    /// Looks at the files, and logs what has changed. `asked` says that somebody wants to know also
    /// when nothing has changed.
    pub fn renew(&mut self, asked: bool) {
        if let Some(found) = self.look(asked) {
            self.tell(&found);
        }
    }

    /// Takes the certificate from other files from now on.
    pub fn set_files(&mut self, files: Files) {
        self.files = files;
    }

    /// Uses a new certificate; if it is broken, the current one stays. Returns `None` if there is
    /// nothing to log: nothing has changed, and there was no request.
    fn look(&mut self, asked: bool) -> Option<Found> {
        let contents = self.files.contents();
        if contents == self.seen && !asked {
            return None;
        }
        self.seen = contents.clone();
        let checked = contents.and_then(|it| self.files.check(&it).map(|checked| (it, checked)));
        Some(match checked {
            Ok((contents, _)) if contents == self.in_use => Found::Same,
            Ok((contents, certificate)) => {
                let warning = certificate.warning();
                self.acceptor.replace(certificate);
                self.in_use = contents;
                Found::New(warning)
            }
            Err(error) => Found::Broken(error),
        })
    }

    fn tell(&self, found: &Found) {
        match found {
            Found::Same => log::info!("the certificate has not changed"),
            Found::New(warning) => {
                let file = self.files.cert.display();
                log::info!(
                    event = "certificate_new", file:%;
                    "a new certificate is in use: {file}"
                );
                if let Some(warning) = warning {
                    log::warn!("{warning}");
                }
            }
            Found::Broken(error) => log::error!(
                event = "certificate_kept", error:%;
                "the certificate stays as it was: {error}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &Files) -> Contents {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files.contents().unwrap()
    }

    #[test]
    fn each_change_of_the_certificate_is_reported_once_and_its_state_whenever_somebody_asks() {
        let folder = std::env::temp_dir().join(format!("longlink-renewal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Files { cert: folder.join("cert"), key: folder.join("key") };
        let first = write(&files);
        let certificate = files.check(&first).unwrap();
        let loaded = Loaded { files: files.clone(), contents: first.clone(), certificate };
        let mut renewal = Renewal::start(loaded);
        assert_eq!((renewal.look(false), renewal.look(true)), (None, Some(Found::Same)));

        std::fs::write(&files.cert, "half").unwrap();
        for asked in [false, true] {
            assert!(matches!(renewal.look(asked), Some(Found::Broken(_))));
            assert_eq!(renewal.look(false), None, "told once");
        }
        std::fs::remove_file(&files.cert).unwrap();
        assert!(matches!(renewal.look(false), Some(Found::Broken(_))));
        assert_eq!(renewal.look(false), None);
        std::fs::write(&files.cert, &first.cert).unwrap();
        assert_eq!(renewal.look(false), Some(Found::Same), "it has come back");

        write(&files);
        assert!(matches!(renewal.look(false), Some(Found::New(Some(_)))));
        assert_eq!(renewal.look(false), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
