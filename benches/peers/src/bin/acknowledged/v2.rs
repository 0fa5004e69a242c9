//! longlink's dialect v2, in which the server keeps messages and says so.

use crate::frame::{self, TEXT};
use crate::talk::{self, Fan, Heard, Talk, Upgrade};

pub struct Client {
    user: String,
    epoch: String,
    /// The last message that the app has handled.
    cursor: u64,
    /// How many messages were handled since the last acknowledgement.
    handled: u32,
    ack_every: u32,
}

impl Client {
    pub fn new(user: String, ack_every: u32) -> Self {
        Client { user, epoch: String::new(), cursor: 0, handled: 0, ack_every }
    }

    fn acknowledge(&mut self, out: &mut Vec<u8>) {
        self.handled = 0;
        let seq = self.cursor.to_string();
        frame::put(out, TEXT, &[br#"{"type":"ack","seq":"#, seq.as_bytes(), b"}"]);
    }

    /// Writes a send; `to` is the field that names the receiver, up to its value.
    fn put_send(to: &[u8], name: &str, number: u32, out: &mut Vec<u8>) {
        let body = talk::body(number);
        let parts: [&[u8]; 8] = [
            br#"{"type":"send","cid":"c"#,
            &body[..8],
            br#"",""#,
            to,
            name.as_bytes(),
            br#"","message":""#,
            &body,
            br#""}"#,
        ];
        frame::put(out, TEXT, &parts);
    }
}

impl Talk for Client {
    fn upgrade(&self) -> Upgrade {
        let Client { user, epoch, cursor, .. } = self;
        let mut path = format!("/websocket/{user}?device=phone");
        if !epoch.is_empty() {
            path.push_str(&format!("&last={epoch}-{cursor}"));
        }
        Upgrade { path, fields: "Sec-WebSocket-Protocol: longlink.v2\r\n" }
    }

    fn opened(&mut self, _: &mut Vec<u8>, _: &mut Vec<Heard>) {
        self.handled = 0;
    }

    fn take(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        let kind = talk::between(message, br#""type":""#, b'"').unwrap_or_default();
        let number = |mark: &[u8]| {
            talk::digits(message, mark)
                .ok_or_else(|| format!("no {}: {}", talk::shown(mark), talk::shown(message)))
        };
        match kind {
            b"message" => {
                let seq = number(br#""seq":"#)?;
                if seq > self.cursor {
                    let body = talk::after(message, br#""message":""#).ok_or("no message")?;
                    heard.push(Heard::Got(talk::number(body)?));
                    self.cursor = seq;
                }
                self.handled += 1;
                if self.handled >= self.ack_every {
                    self.acknowledge(out);
                }
            }
            b"ack" => {
                let cid = talk::after(message, br#""cid":"c"#).ok_or("an answer without cid")?;
                heard.push(Heard::Taken(talk::number(cid)?));
            }
            b"welcome" => {
                let epoch = talk::between(message, br#""epoch":""#, b'"').ok_or("no epoch")?;
                if self.epoch.is_empty() || talk::after(message, br#""resumed":false"#).is_some() {
                    self.cursor = number(br#""cursor":"#)?;
                }
                self.epoch = talk::shown(epoch);
                heard.push(Heard::Ready);
            }
            b"live" => {
                if self.handled > 0 {
                    self.acknowledge(out);
                }
                heard.push(Heard::Live);
            }
            b"gap" => {
                let to = number(br#""to":"#)?;
                let from = talk::digits(message, br#""from":"#);
                heard.push(Heard::Told(from.map_or(0, |from| (to + 1).saturating_sub(from))));
                self.cursor = self.cursor.max(to);
            }
            b"joined" => heard.push(Heard::Joined),
            b"pong" => heard.push(Heard::Pong),
            b"presence" | b"receipt" => {}
            _ => return Err(format!("refused: {}", talk::shown(message))),
        }
        Ok(())
    }

    fn send(&mut self, to: &str, number: u32, _: bool, out: &mut Vec<u8>) {
        Self::put_send(br#"toUserId":""#, to, number, out);
    }

    fn says_live(&self) -> bool {
        true
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        frame::put(out, TEXT, &[br#"{"type":"ping"}"#]);
    }

    fn fan(&self) -> Fan {
        Fan { joins: true, echoes: false, is_answered: true }
    }

    fn join(&mut self, group: &str, out: &mut Vec<u8>) {
        frame::put(out, TEXT, &[br#"{"type":"join","group":""#, group.as_bytes(), br#""}"#]);
    }

    fn send_to_all(&mut self, group: &str, number: u32, out: &mut Vec<u8>) {
        Self::put_send(br#"group":""#, group, number, out);
    }
}
