//! Socket.IO (Engine.IO 4) over WebSocket, with connection state recovery. The server's program is
//! `socketio/server.mjs`.

use crate::frame::{self, TEXT};
use crate::talk::{self, Fan, Heard, Talk, Upgrade};

/// The number of the event that joins a group. It is no number of a message.
const JOIN: u64 = 4_000_000_000;

pub struct Client {
    user: String,
    /// The name of the session, which only this client knows; empty before the first connection.
    session: String,
    /// The offset of the last message.
    offset: String,
}

impl Client {
    pub fn new(user: String) -> Self {
        Client { user, session: String::new(), offset: String::new() }
    }
}

impl Talk for Client {
    fn upgrade(&self) -> Upgrade {
        Upgrade { path: "/socket.io/?EIO=4&transport=websocket".into(), fields: "" }
    }

    fn opened(&mut self, _: &mut Vec<u8>, _: &mut Vec<Heard>) {}

    fn take(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        match message {
            // The Engine.IO connection is open.
            [b'0', ..] => {
                let Client { user, session, offset } = self;
                let came_back = match (session.as_str(), offset.as_str()) {
                    ("", _) => String::new(),
                    (session, "") => format!(r#","pid":"{session}""#),
                    (session, offset) => format!(r#","pid":"{session}","offset":"{offset}""#),
                };
                let connect = format!(r#"40{{"user":"{user}"{came_back}}}"#);
                frame::put(out, TEXT, &[connect.as_bytes()]);
            }
            // The ping of Engine.IO.
            [b'2'] => frame::put(out, TEXT, &[b"3"]),
            // The Socket.IO connection is open.
            [b'4', b'0', rest @ ..] => {
                let session = talk::between(rest, br#""pid":""#, b'"').ok_or("no session")?;
                let session = talk::shown(session);
                if session != self.session {
                    if !self.session.is_empty() {
                        heard.push(Heard::Told(0));
                    }
                    self.session = session;
                    self.offset.clear();
                }
                heard.push(Heard::Ready);
            }
            // The answer to an event.
            [b'4', b'3', rest @ ..] => {
                let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                heard.push(match talk::parse(&rest[..length])? {
                    JOIN => Heard::Joined,
                    number => Heard::Taken(number as u32),
                });
            }
            // An event.
            [b'4', b'2', rest @ ..] => {
                let body = talk::after(rest, br#"["message",""#).ok_or("an unknown event")?;
                let number = &body[..8.min(body.len())];
                heard.push(Heard::Got(talk::number(body)?));
                frame::put(out, TEXT, &[br#"42["got",""#, number, br#""]"#]);
                let offset = talk::between(body, br#"",""#, b'"').ok_or("no offset")?;
                self.offset.clear();
                self.offset.push_str(str::from_utf8(offset).map_err(|error| error.to_string())?);
            }
            _ => return Err(format!("refused: {}", talk::shown(message))),
        }
        Ok(())
    }

    fn send(&mut self, to: &str, number: u32, _: bool, out: &mut Vec<u8>) {
        let (id, body) = (number.to_string(), talk::body(number));
        let parts: [&[u8]; 7] =
            [b"42", id.as_bytes(), br#"["send",""#, to.as_bytes(), br#"",""#, &body, br#""]"#];
        frame::put(out, TEXT, &parts);
    }

    fn fan(&self) -> Fan {
        Fan { joins: true, echoes: true, is_answered: true }
    }

    fn join(&mut self, group: &str, out: &mut Vec<u8>) {
        let event = format!(r#"42{JOIN}["join","{group}"]"#);
        frame::put(out, TEXT, &[event.as_bytes()]);
    }

    fn send_to_all(&mut self, group: &str, number: u32, out: &mut Vec<u8>) {
        self.send(group, number, false, out);
    }
}
