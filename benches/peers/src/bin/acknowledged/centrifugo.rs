//! Centrifugo's JSON protocol, with the history and the recovery of a channel for each user. A
//! receiver has no frame to acknowledge with, so a message has three frames and not four.

use crate::frame::{self, TEXT};
use crate::talk::{self, Fan, Heard, Talk, Upgrade};

/// The ids of the commands; a message has its own number behind the last of them.
const CONNECT: u64 = 1;
const SUBSCRIBE: u64 = 2;
const JOIN: u64 = 3;
const FIRST_MESSAGE: u64 = 10;

pub struct Client {
    user: String,
    epoch: String,
    /// The offset of the last message to this user.
    offset: u64,
    /// The channel of a group, with the offset of its last message.
    group: Option<(String, u64)>,
}

impl Client {
    pub fn new(user: String) -> Self {
        Client { user, epoch: String::new(), offset: 0, group: None }
    }

    fn subscribed(&mut self, reply: &[u8], heard: &mut Vec<Heard>) -> Result<(), String> {
        let epoch = talk::between(reply, br#""epoch":""#, b'"').ok_or("no epoch")?;
        if talk::after(reply, br#""was_recovering":true"#).is_some()
            && talk::after(reply, br#""recovered":true"#).is_none()
        {
            heard.push(Heard::Told(0));
            self.offset = 0;
        }
        self.epoch = talk::shown(epoch);
        heard.push(Heard::Ready);
        let mut rest = reply;
        while let Some(publication) = talk::after(rest, br#""data":""#) {
            Self::publication(&mut self.offset, publication, heard)?;
            rest = publication;
        }
        Ok(())
    }

    /// A publication, from the value of its `data` on. `last` is the offset of the channel's last message.
    fn publication(last: &mut u64, data: &[u8], heard: &mut Vec<Heard>) -> Result<(), String> {
        let offset = talk::digits(data, br#""offset":"#).ok_or("no offset")?;
        if offset > *last {
            *last = offset;
            heard.push(Heard::Got(talk::number(data)?));
        }
        Ok(())
    }

    fn reply(
        &mut self,
        reply: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        if reply == b"{}" {
            frame::put(out, TEXT, &[b"{}"]);
            return Ok(());
        }
        if let Some(rest) = reply.strip_prefix(br#"{"push":"#) {
            let Some(data) = talk::after(rest, br#""data":""#) else { return Ok(()) };
            let channel = talk::between(rest, br#""channel":""#, b'"').unwrap_or_default();
            let last = match &mut self.group {
                Some((group, last)) if group.as_bytes() == channel => last,
                _ => &mut self.offset,
            };
            return Self::publication(last, data, heard);
        }
        let id = talk::digits(reply, br#"{"id":"#);
        match id {
            _ if talk::after(reply, br#""error":"#).is_some() => {
                return Err(format!("refused: {}", talk::shown(reply)));
            }
            Some(CONNECT) => {
                let Client { user, epoch, offset, .. } = self;
                let recover = match epoch.as_str() {
                    "" => String::new(),
                    epoch => {
                        format!(
                            r#","recover":true,"recoverable":true,"offset":{offset},"epoch":"{epoch}""#
                        )
                    }
                };
                let subscribe = format!(
                    r#"{{"id":{SUBSCRIBE},"subscribe":{{"channel":"to:{user}"{recover}}}}}"#
                );
                frame::put(out, TEXT, &[subscribe.as_bytes()]);
            }
            Some(SUBSCRIBE) => self.subscribed(reply, heard)?,
            Some(JOIN) => heard.push(Heard::Joined),
            Some(id) if id >= FIRST_MESSAGE => {
                heard.push(Heard::Taken((id - FIRST_MESSAGE) as u32));
            }
            _ => return Err(format!("not a reply: {}", talk::shown(reply))),
        }
        Ok(())
    }
}

impl Talk for Client {
    fn upgrade(&self) -> Upgrade {
        Upgrade { path: "/connection/websocket".into(), fields: "" }
    }

    fn opened(&mut self, out: &mut Vec<u8>, _: &mut Vec<Heard>) {
        let connect = format!(r#"{{"id":{CONNECT},"connect":{{}}}}"#);
        frame::put(out, TEXT, &[connect.as_bytes()]);
    }

    fn take(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        let replies = message.split(|&byte| byte == b'\n').filter(|reply| !reply.is_empty());
        for reply in replies {
            self.reply(reply, out, heard)?;
        }
        Ok(())
    }

    fn send(&mut self, to: &str, number: u32, _: bool, out: &mut Vec<u8>) {
        let id = (u64::from(number) + FIRST_MESSAGE).to_string();
        let body = talk::body(number);
        let parts: [&[u8]; 7] = [
            br#"{"id":"#,
            id.as_bytes(),
            br#","publish":{"channel":"to:"#,
            to.as_bytes(),
            br#"","data":""#,
            &body,
            br#""}}"#,
        ];
        frame::put(out, TEXT, &parts);
    }

    fn fan(&self) -> Fan {
        Fan { joins: true, echoes: true, is_answered: true }
    }

    fn join(&mut self, group: &str, out: &mut Vec<u8>) {
        let channel = format!("to:{group}");
        let subscribe = format!(r#"{{"id":{JOIN},"subscribe":{{"channel":"{channel}"}}}}"#);
        frame::put(out, TEXT, &[subscribe.as_bytes()]);
        self.group = Some((channel, 0));
    }

    fn send_to_all(&mut self, group: &str, number: u32, out: &mut Vec<u8>) {
        self.send(group, number, false, out);
    }
}
