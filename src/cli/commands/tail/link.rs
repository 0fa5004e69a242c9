//! The connection to the server: it is opened and read event by event. Each error says what to do.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::http::{Request, Response};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, WebSocket};

use super::args::Options;
use crate::cli::client::stream::{Stream, Timed};
use crate::cli::client::url::percent_encode;

/// How long connecting may take. The answer to the handshake may then take as long again in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// The server sends a ping when nothing has come for 25 s. If no whole message comes for this time,
/// the server is gone.
const SILENCE: Duration = Duration::from_secs(90);
/// How many characters of another server's answer are shown.
const MAX_SHOWN: usize = 120;
/// The length of the longest event in bytes. A usual event has some hundred bytes.
const MAX_EVENT: usize = 1 << 20;

/// An open trace.
pub struct Link(WebSocket<Stream>);

/// Why there is no trace, or the trace has ended.
#[derive(Debug)]
pub enum Failure {
    /// The server does not answer.
    Unreachable(String),
    /// The key is wrong, or is missing.
    Key(String),
    /// The server answers, but it is not longlink's interface, or it refuses the request.
    Refused(String),
    /// The server cannot start a trace now.
    Busy(String),
    /// The trace was open and has ended.
    Lost(String),
}

impl Failure {
    /// Whether another attempt makes no sense.
    pub fn is_final(&self) -> bool {
        matches!(self, Failure::Key(_) | Failure::Refused(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Unreachable(why)
        | Failure::Key(why)
        | Failure::Refused(why)
        | Failure::Busy(why)
        | Failure::Lost(why)) = self;
        f.write_str(why)
    }
}

impl Link {
    /// Connects and asks for the trace.
    pub fn open(options: &Options) -> Result<Self, Failure> {
        let authority = &options.url.authority;
        let failed = |error: io::Error| {
            Failure::Unreachable(format!(
                "cannot reach {authority}: {error}; is longlink there, with --api-listen?"
            ))
        };
        let timed = connect(options).map_err(failed)?;
        let stream = encrypt(options, timed).map_err(failed)?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_EVENT))
            .max_frame_size(Some(MAX_EVENT));
        match tungstenite::client::client_with_config(request(options)?, stream, Some(limits)) {
            Ok((socket, _)) => Ok(Link(socket)),
            Err(HandshakeError::Interrupted(_)) => Err(failed(ErrorKind::TimedOut.into())),
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(refusal(authority, &answer))
            }
            Err(HandshakeError::Failure(tungstenite::Error::Io(error))) => Err(failed(error)),
            Err(HandshakeError::Failure(error)) => {
                Err(Failure::Refused(format!("{authority} does not speak HTTP: {error}")))
            }
        }
    }

    /// Waits for the next event.
    pub fn event(&mut self) -> Result<Value, Failure> {
        let lost = |why: String| Failure::Lost(format!("the server has gone away: {why}"));
        loop {
            self.0.get_mut().set_deadline(Instant::now() + SILENCE);
            match self.0.read() {
                Ok(Message::Text(text)) => match serde_json::from_str(&text) {
                    Ok(event) => return Ok(event),
                    Err(_) => {
                        return Err(Failure::Refused("what it tells is no event".to_owned()));
                    }
                },
                Ok(Message::Close(Some(frame))) => {
                    return Err(lost(format!("closed with code {}", u16::from(frame.code))));
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                    return Err(lost(format!("nothing whole has come for {SILENCE:?}")));
                }
                Err(error) => return Err(lost(error.to_string())),
            }
        }
    }
}

/// Connects to the first of the host's addresses that answers.
fn connect(options: &Options) -> io::Result<Timed> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in (options.url.host.as_str(), options.url.port).to_socket_addrs()? {
        match Timed::connect(address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(feature = "tls")]
fn encrypt(options: &Options, stream: Timed) -> io::Result<Stream> {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

    if !options.url.tls {
        return Ok(Stream::Plain(stream));
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(options.roots.iter().cloned());
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(options.url.host.clone()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(config.into(), name).map_err(io::Error::other)?;
    Ok(Stream::Tls(Box::new(StreamOwned::new(connection, stream))))
}

#[cfg(not(feature = "tls"))]
fn encrypt(_: &Options, stream: Timed) -> io::Result<Stream> {
    Ok(Stream::Plain(stream))
}

fn request(options: &Options) -> Result<Request<()>, Failure> {
    let base = options.url.target.trim_end_matches('/');
    let path = format!("{base}/api/trace/{}", percent_encode(&options.user));
    let mut request = Request::get(format!("ws://{}{path}", options.url.authority))
        .header("Host", &options.url.authority)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", tungstenite::handshake::client::generate_key());
    if let Some(key) = &options.key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    request.body(()).map_err(|error| Failure::Refused(format!("cannot ask so: {error}")))
}

/// Returns what a refusal means, with the text of the server.
fn refusal(authority: &str, answer: &Response<Option<Vec<u8>>>) -> Failure {
    let status = answer.status().as_u16();
    let body = answer.body().as_deref().unwrap_or_default();
    let error = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let said = match error["error"]["message"].as_str() {
        Some(message) => format!("HTTP {status}, {message}"),
        None => {
            let text = String::from_utf8_lossy(body);
            let line: String = text.lines().next().unwrap_or("").chars().take(MAX_SHOWN).collect();
            format!("HTTP {status} {line}").trim_end().to_owned()
        }
    };
    match status {
        401 => Failure::Key(format!("{authority} asks for its key ({said}): pass --key-file")),
        429 | 500.. => Failure::Busy(format!("{authority} cannot now: {said}")),
        _ if error["error"]["code"].is_string() && status != 404 => {
            Failure::Refused(format!("{authority} refuses: {said}"))
        }
        _ => Failure::Refused(format!(
            "{authority} has no backend's interface ({said}): it is where --api-listen says, or \
             with --api-key-file on every address"
        )),
    }
}
