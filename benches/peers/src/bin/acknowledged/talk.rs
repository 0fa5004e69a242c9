//! What a client says and hears, whatever protocol its server speaks.

use crate::frame::{self, PING};
use crate::{centrifugo, mqtt, nats, socketio, v1, v2};

/// What a client has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The client is connected, and may send and receive.
    Ready,
    /// The server has everything of a replay behind it.
    Live,
    /// The server, or with `floor` the receiver, has said that it has this message of the client.
    Taken(u32),
    /// This message has reached the app, and has been acknowledged.
    Got(u32),
    /// The server has said that messages are lost: how many, or 0 if it cannot know that.
    Told(u64),
    /// The client has become a member of a group.
    Joined,
    /// The server has answered a heartbeat.
    Pong,
    /// The connection has ended.
    Closed,
}

/// How a protocol sends one message to many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fan {
    /// Whether clients have to join; otherwise a message goes to everyone.
    pub joins: bool,
    /// Whether the sender gets its own message, too.
    pub echoes: bool,
    /// Whether the sender hears that the message was taken.
    pub is_answered: bool,
}

/// What has to be in the request of a handshake.
pub struct Upgrade {
    pub path: String,
    /// Further fields, each with its end of line.
    pub fields: &'static str,
}

/// One client of one server. It outlives its connections, and keeps what it needs to come back.
pub trait Talk {
    fn upgrade(&self) -> Upgrade;

    /// The handshake is done.
    fn opened(&mut self, out: &mut Vec<u8>, heard: &mut Vec<Heard>);

    /// A WebSocket message has arrived. What the client answers is put into `out`.
    ///
    /// # Errors
    /// If the message refuses something, or makes no sense.
    fn take(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String>;

    /// Sends a message to a user; `again` if its answer was lost with an earlier connection.
    fn send(&mut self, to: &str, number: u32, again: bool, out: &mut Vec<u8>);

    /// Whether the sender hears of each message that it was taken.
    fn is_answered(&self) -> bool {
        true
    }

    /// Whether the server says when a replay is over.
    fn says_live(&self) -> bool {
        false
    }

    /// Asks for a sign of life. The default is a ping of WebSocket (RFC 6455, section 5.5.2), for
    /// protocols that have no ping of the client.
    fn ping(&mut self, out: &mut Vec<u8>) {
        frame::put(out, PING, &[]);
    }

    /// How one message gets to many clients.
    fn fan(&self) -> Fan;

    /// Joins a group, if clients have to.
    fn join(&mut self, _group: &str, _out: &mut Vec<u8>) {}

    /// Sends a message to a group of which the client is a member, or to everyone.
    fn send_to_all(&mut self, group: &str, number: u32, out: &mut Vec<u8>);
}

/// The names of the protocols.
pub const NAMES: &[&str] = &["v1", "floor", "v2", "mqtt", "socketio", "centrifugo", "nats"];

/// Makes a client that acknowledges after every `ack_every` messages, where the protocol lets it
/// acknowledge several at once. The first client of a server prepares what all of them need.
pub fn make(protocol: &str, user: String, is_first: bool, ack_every: u32) -> Box<dyn Talk> {
    match protocol {
        "v1" => Box::new(v1::Client::new(user, false)),
        "floor" => Box::new(v1::Client::new(user, true)),
        "v2" => Box::new(v2::Client::new(user, ack_every)),
        "mqtt" => Box::new(mqtt::Client::new(user)),
        "socketio" => Box::new(socketio::Client::new(user)),
        "centrifugo" => Box::new(centrifugo::Client::new(user)),
        _ => Box::new(nats::Client::new(user, is_first)),
    }
}

/// The id of the user with this number: 16 bytes.
pub fn user(number: u32) -> String {
    format!("peer-user-{number:06}")
}

/// The bytes of a message: 64, of which the first eight are its number.
pub fn body(number: u32) -> [u8; 64] {
    let mut body = [b'x'; 64];
    let mut rest = number;
    for digit in body[..DIGITS].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    body
}

const DIGITS: usize = 8;

/// The number at the start of a message.
pub fn number(body: &[u8]) -> Result<u32, String> {
    let digits = body.get(..DIGITS).ok_or("a message is too short")?;
    parse(digits).map(|number| number as u32)
}

/// Reads digits that are nothing else.
pub fn parse(digits: &[u8]) -> Result<u64, String> {
    let text = str::from_utf8(digits).map_err(|error| error.to_string())?;
    text.parse().map_err(|_| format!("not a number: {text:?}"))
}

/// The bytes behind the first `mark`.
pub fn after<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find(bytes, mark).map(|at| &bytes[at + mark.len()..])
}

/// The bytes behind `mark` up to the next `end`.
pub fn between<'a>(bytes: &'a [u8], mark: &[u8], end: u8) -> Option<&'a [u8]> {
    let rest = after(bytes, mark)?;
    rest.iter().position(|&byte| byte == end).map(|length| &rest[..length])
}

/// The number behind `mark`, as JSON writes it.
pub fn digits(bytes: &[u8], mark: &[u8]) -> Option<u64> {
    let rest = after(bytes, mark)?;
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    parse(&rest[..length]).ok()
}

pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}
