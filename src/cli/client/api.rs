//! A client of the backend's interface: the flags that say where it is, its key, and the connection.

use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use longlink::backend::ApiKey;
use serde_json::Value;

use super::stream::{Stream, Timed};
use super::url::Url;
use crate::cli::settings::secret::read_file;

/// How long connecting may take. The answer may then take as long again in all.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How many characters of another server's answer are shown.
const MAX_SHOWN: usize = 120;

/// Where the interface is, and the key for it.
#[derive(Debug)]
pub struct Api {
    pub url: Url,
    pub key: Option<String>,
    /// Root certificates that are trusted in addition to those that browsers know.
    #[cfg(feature = "tls")]
    roots: Vec<rustls::pki_types::CertificateDer<'static>>,
}

/// An answer with another status than 200.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    /// The code of the error; empty if it is no answer of longlink.
    #[cfg_attr(not(feature = "store"), allow(dead_code))]
    pub code: String,
    /// One line that names the server and says what it said.
    pub said: String,
}

/// The heading under which the help lists these options.
const INTERFACE: &str = "The interface";

/// Adds the flags that say where the interface is.
pub fn with_flags(command: Command) -> Command {
    let command = command
        .arg(
            Arg::new("url")
                .long("url")
                .help_heading(INTERFACE)
                .value_name("URL")
                .default_value("http://127.0.0.1:9090")
                .help("The URL of the backend's interface"),
        )
        .arg(
            Arg::new("key-file")
                .long("key-file")
                .help_heading(INTERFACE)
                .value_name("FILE")
                .help("The file of the interface's key; its first line is used"),
        );
    match cfg!(feature = "tls") {
        true => command.arg(
            Arg::new("ca")
                .long("ca")
                .help_heading(INTERFACE)
                .value_name("FILE")
                .help("Trust these root certificates, too (PEM)"),
        ),
        false => command,
    }
}

impl Api {
    /// Reads the flags.
    ///
    /// # Errors
    /// One line that says which flag is wrong and why.
    pub fn read(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let url = Url::parse_http(text("url").unwrap_or_default());
        let url = url.map_err(|why| format!("--url: {why}"))?;
        if url.target.contains('?') {
            return Err("--url: a query is not part of it".to_owned());
        }
        if url.tls && !cfg!(feature = "tls") {
            return Err("--url: this build has no TLS; build it with --features tls".to_owned());
        }
        let key = text("key-file").map(read_key).transpose();
        let key = key.map_err(|why| format!("--key-file: {why}"))?;
        Ok(Api {
            url,
            key,
            #[cfg(feature = "tls")]
            roots: text("ca").map_or(Ok(Vec::new()), super::tls::roots)?,
        })
    }

    /// A warning, if others can read the key on its way.
    pub fn warning(&self) -> Option<String> {
        let ip = self.url.host.parse::<std::net::IpAddr>();
        let is_loopback = self.url.host.eq_ignore_ascii_case("localhost")
            || ip.is_ok_and(|ip| ip.to_canonical().is_loopback());
        let is_read = !self.url.tls && self.key.is_some() && !is_loopback;
        is_read.then(|| format!("the key goes unencrypted to {}", self.url.host))
    }

    /// The path of a route, below the path of the URL.
    pub fn path(&self, route: &str) -> String {
        format!("{}{route}", self.url.target.trim_end_matches('/'))
    }

    /// Connects to the first of the host's addresses that answers.
    pub fn connect(&self) -> io::Result<Stream> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in (self.url.host.as_str(), self.url.port).to_socket_addrs()? {
            match Timed::connect(address, PATIENCE) {
                Ok(stream) => return self.encrypt(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    #[cfg(feature = "tls")]
    fn encrypt(&self, stream: Timed) -> io::Result<Stream> {
        use rustls::pki_types::ServerName;
        use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

        if !self.url.tls {
            return Ok(Stream::Plain(stream));
        }
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(self.roots.iter().cloned());
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.url.host.clone()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(config.into(), name).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    #[cfg(not(feature = "tls"))]
    fn encrypt(&self, stream: Timed) -> io::Result<Stream> {
        Ok(Stream::Plain(stream))
    }

    /// The line for a server that cannot be reached.
    pub fn unreachable(&self, error: &io::Error) -> String {
        let authority = &self.url.authority;
        format!("cannot reach {authority}: {error}; is longlink there, with --api-listen?")
    }

    /// What a refusal means, with the text of the server.
    pub fn refusal(&self, status: u16, body: &[u8]) -> Refused {
        let authority = &self.url.authority;
        let error = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let said = match error["error"]["message"].as_str() {
            Some(message) => format!("HTTP {status}, {message}"),
            None => {
                let text = String::from_utf8_lossy(body);
                let line: String =
                    text.lines().next().unwrap_or("").chars().take(MAX_SHOWN).collect();
                format!("HTTP {status} {line}").trim_end().to_owned()
            }
        };
        let code = error["error"]["code"].as_str().unwrap_or_default().to_owned();
        let is_path_known = !code.is_empty() && code != "no_such_path";
        let said = match status {
            401 => format!("{authority} asks for its key ({said}): pass --key-file"),
            429 | 500.. => format!("{authority} cannot now: {said}"),
            _ if is_path_known => format!("{authority} refuses: {said}"),
            _ => format!(
                "{authority} has no backend's interface ({said}): it is where --api-listen says, \
                 or with --api-key-file on every address"
            ),
        };
        Refused { status, code, said }
    }
}

/// Reads the key. An error contains nothing of the file's contents, and not the file's name,
/// because some users will pass the key itself in place of the name.
fn read_key(path: &str) -> Result<String, String> {
    let text = String::from_utf8(read_file(path)?).map_err(|_| "it is not text".to_owned())?;
    let key = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    ApiKey::new(key).map_err(|error| error.to_string())?;
    Ok(key.to_owned())
}
