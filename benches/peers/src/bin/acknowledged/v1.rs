//! longlink's dialect v1, in which nothing is acknowledged. With `floor` the receiver answers each
//! message by a message to its sender, so that as many frames pass the server as in a protocol with
//! acknowledgements, and the server keeps nothing.

use crate::frame::{self, TEXT};
use crate::talk::{self, Fan, Heard, Talk, Upgrade};

pub struct Client {
    user: String,
    answers: bool,
    /// Whether the first heartbeat of this connection was answered.
    is_ready: bool,
}

impl Client {
    pub fn new(user: String, answers: bool) -> Self {
        Client { user, answers, is_ready: false }
    }
}

const FROM: &[u8] = br#""formUserId":""#;
const MESSAGE: &[u8] = br#""message":""#;
/// What the message of an answer begins with.
const ANSWER: u8 = b'a';

impl Talk for Client {
    fn upgrade(&self) -> Upgrade {
        Upgrade { path: format!("/websocket/{}", self.user), fields: "" }
    }

    fn opened(&mut self, out: &mut Vec<u8>, _: &mut Vec<Heard>) {
        self.is_ready = false;
        self.ping(out);
    }

    fn take(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        let Some(body) = talk::after(message, MESSAGE) else {
            if message == br#"{"type":"pong"}"# {
                heard.push(if self.is_ready { Heard::Pong } else { Heard::Ready });
                self.is_ready = true;
                return Ok(());
            }
            return Err(format!("not a message: {}", talk::shown(message)));
        };
        if let Some((&ANSWER, number)) = body.split_first() {
            heard.push(Heard::Taken(talk::number(number)?));
            return Ok(());
        }
        heard.push(Heard::Got(talk::number(body)?));
        if self.answers {
            let to = talk::between(message, FROM, b'"').ok_or("a message without a sender")?;
            let mark: &[u8] = br#"","message":"a"#;
            frame::put(out, TEXT, &[br#"{"toUserId":""#, to, mark, &body[..8], br#""}"#]);
        }
        Ok(())
    }

    fn send(&mut self, to: &str, number: u32, _: bool, out: &mut Vec<u8>) {
        let (to, body) = (to.as_bytes(), talk::body(number));
        frame::put(out, TEXT, &[br#"{"toUserId":""#, to, br#"","message":""#, &body, br#""}"#]);
    }

    fn is_answered(&self) -> bool {
        self.answers
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        frame::put(out, TEXT, &[b"ping"]);
    }

    fn fan(&self) -> Fan {
        Fan { joins: false, echoes: true, is_answered: false }
    }

    fn send_to_all(&mut self, _: &str, number: u32, out: &mut Vec<u8>) {
        frame::put(out, TEXT, &[br#"{"message":""#, &talk::body(number), br#""}"#]);
    }
}
