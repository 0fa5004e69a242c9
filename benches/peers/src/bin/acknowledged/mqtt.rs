//! MQTT 3.1.1 over WebSocket: QoS 1, and a session that the server keeps.

use std::collections::VecDeque;

use crate::frame::{self, BINARY};
use crate::talk::{self, Fan, Heard, Talk, Upgrade};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 9;
const PINGREQ: u8 = 0xc0;
const PINGRESP: u8 = 13;
/// The packet ids of the two subscriptions. They are made before the first message is sent.
const OWN: u8 = 1;
const GROUP: u8 = 2;
/// PUBLISH with QoS 1, and the bit that marks a repetition.
const PUBLISH_1: u8 = 0x32;
const AGAIN: u8 = 0x08;
/// A session that is kept, in the flags of CONNECT.
const KEPT: u8 = 0;
const KEEP_ALIVE_SECONDS: u16 = 600;
/// Packet ids have 16 bits, and 0 is none.
const PACKET_IDS: u32 = 65_535;

pub struct Client {
    user: String,
    /// Messages without an answer, oldest first.
    unanswered: VecDeque<u32>,
    /// The part of a packet that has arrived.
    partial: Vec<u8>,
}

impl Client {
    pub fn new(user: String) -> Self {
        Client { user, unanswered: VecDeque::new(), partial: Vec::new() }
    }

    fn packet(
        &mut self,
        first: u8,
        rest: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        match (first >> 4, rest) {
            (CONNACK, [present, 0]) => {
                if present & 1 == 1 {
                    heard.push(Heard::Ready);
                } else {
                    subscribe(OWN, &topic(&self.user), out);
                }
            }
            (SUBACK, [0, OWN, 0 | 1]) => heard.push(Heard::Ready),
            (SUBACK, [0, GROUP, 0 | 1]) => heard.push(Heard::Joined),
            (PINGRESP, []) => heard.push(Heard::Pong),
            (PUBLISH, [high, low, rest @ ..]) => {
                let topic = usize::from(u16::from_be_bytes([*high, *low]));
                let rest = rest.get(topic..).ok_or("a topic is too long")?;
                let (id, body) = rest.split_at_checked(2).ok_or("a message without an id")?;
                heard.push(Heard::Got(talk::number(body)?));
                put(out, PUBACK << 4, &[id]);
            }
            (PUBACK, &[high, low]) => {
                let id = u16::from_be_bytes([high, low]);
                let at = self.unanswered.iter().position(|&number| packet_id(number) == id);
                let at = at.ok_or_else(|| format!("an answer to {id}, which was not sent"))?;
                heard.extend(self.unanswered.remove(at).map(Heard::Taken));
            }
            _ => return Err(format!("the packet {first:#04x} {rest:?}")),
        }
        Ok(())
    }
}

fn subscribe(id: u8, topic: &[u8], out: &mut Vec<u8>) {
    let length = (topic.len() as u16).to_be_bytes();
    put(out, SUBSCRIBE, &[&[0, id], &length, topic, &[1]]);
}

/// A message with QoS 1.
fn publish(topic: &[u8], number: u32, again: bool, out: &mut Vec<u8>) {
    let length = (topic.len() as u16).to_be_bytes();
    let id = packet_id(number).to_be_bytes();
    let first = if again { PUBLISH_1 | AGAIN } else { PUBLISH_1 };
    put(out, first, &[&length, topic, &id, &talk::body(number)]);
}

fn group_topic(group: &str) -> Vec<u8> {
    [b"g/", group.as_bytes()].concat()
}

fn topic(user: &str) -> Vec<u8> {
    [b"u/", user.as_bytes()].concat()
}

fn packet_id(number: u32) -> u16 {
    (number % PACKET_IDS + 1) as u16
}

/// Writes a packet, which is one WebSocket message.
fn put(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    // Seven bits a byte, the lowest first; no packet here needs more than two bytes.
    let (low, high) = ((length & 127) as u8, (length >> 7) as u8);
    let head = [first, if high == 0 { low } else { low | 128 }, high];
    let head = if high == 0 { &head[..2] } else { &head[..] };
    let mut all = Vec::with_capacity(1 + parts.len());
    all.push(head);
    all.extend_from_slice(parts);
    frame::put(out, BINARY, &all);
}

/// The length of the first packet's head and of the whole packet; `None` if it is not whole.
fn first_packet(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(1).take(4) {
        length |= usize::from(byte & 127) << (7 * (at - 1));
        if byte < 128 {
            let (head, end) = (at + 1, at + 1 + length);
            return (bytes.len() >= end).then_some((head, end));
        }
    }
    None
}

impl Talk for Client {
    fn upgrade(&self) -> Upgrade {
        Upgrade { path: "/mqtt".into(), fields: "Sec-WebSocket-Protocol: mqtt\r\n" }
    }

    fn opened(&mut self, out: &mut Vec<u8>, _: &mut Vec<Heard>) {
        self.partial.clear();
        let user = self.user.as_bytes();
        let length = (user.len() as u16).to_be_bytes();
        let keep_alive = KEEP_ALIVE_SECONDS.to_be_bytes();
        put(out, CONNECT, &[b"\0\x04MQTT\x04", &[KEPT], &keep_alive, &length, user]);
    }

    fn take(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        // A WebSocket message may have parts of packets.
        let mut whole = std::mem::take(&mut self.partial);
        let mut rest = message;
        if !whole.is_empty() {
            whole.extend_from_slice(message);
            rest = &whole;
        }
        while let Some((head, end)) = first_packet(rest) {
            self.packet(rest[0], &rest[head..end], out, heard)?;
            rest = &rest[end..];
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn send(&mut self, to: &str, number: u32, again: bool, out: &mut Vec<u8>) {
        if !again {
            self.unanswered.push_back(number);
        }
        publish(&topic(to), number, again, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        put(out, PINGREQ, &[]);
    }

    fn fan(&self) -> Fan {
        Fan { joins: true, echoes: true, is_answered: true }
    }

    fn join(&mut self, group: &str, out: &mut Vec<u8>) {
        subscribe(GROUP, &group_topic(group), out);
    }

    fn send_to_all(&mut self, group: &str, number: u32, out: &mut Vec<u8>) {
        self.unanswered.push_back(number);
        publish(&group_topic(group), number, false, out);
    }
}
