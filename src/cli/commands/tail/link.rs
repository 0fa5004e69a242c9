//! The connection to the server: it is opened and read event by event. Each error says what to do.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::http::{Request, Response};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, WebSocket};

use super::args::Options;
use crate::cli::client::api::Api;
use crate::cli::client::stream::Stream;
use crate::cli::client::url::percent_encode;

/// The server sends a ping when nothing has come for 25 s. If no whole message comes for this time,
/// the server is gone.
const SILENCE: Duration = Duration::from_secs(90);
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
        let api = &options.api;
        let authority = &api.url.authority;
        let failed = |error: io::Error| Failure::Unreachable(api.unreachable(&error));
        let stream = api.connect().map_err(failed)?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_EVENT))
            .max_frame_size(Some(MAX_EVENT));
        match tungstenite::client::client_with_config(request(options)?, stream, Some(limits)) {
            Ok((socket, _)) => Ok(Link(socket)),
            Err(HandshakeError::Interrupted(_)) => Err(failed(ErrorKind::TimedOut.into())),
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(refusal(api, &answer))
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

fn request(options: &Options) -> Result<Request<()>, Failure> {
    let api = &options.api;
    let path = api.path(&format!("/api/trace/{}", percent_encode(&options.user)));
    let mut request = Request::get(format!("ws://{}{path}", api.url.authority))
        .header("Host", &api.url.authority)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", tungstenite::handshake::client::generate_key());
    if let Some(key) = &api.key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    request.body(()).map_err(|error| Failure::Refused(format!("cannot ask so: {error}")))
}

/// Returns what a refusal means, with the text of the server.
fn refusal(api: &Api, answer: &Response<Option<Vec<u8>>>) -> Failure {
    let refused =
        api.refusal(answer.status().as_u16(), answer.body().as_deref().unwrap_or_default());
    match refused.status {
        401 => Failure::Key(refused.said),
        429 | 500.. => Failure::Busy(refused.said),
        _ => Failure::Refused(refused.said),
    }
}
