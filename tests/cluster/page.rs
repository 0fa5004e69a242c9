//! A page of the dialect v1, which goes from node to node and is never told what it has missed.

use std::io::ErrorKind;

use longlink::sim::frames::{FIN, Got, PONG, handshake, masked, text};
use serde_json::Value;

use crate::machine::Hub;
use crate::model::Model;
use crate::record::Of;

/// The close code of a connection whose user was blocked.
pub const BLOCKED: u16 = 4503;

#[derive(Debug)]
pub struct Page {
    /// Its number, behind those of the clients.
    pub at: usize,
    pub user: usize,
    pub conn: Option<Conn>,
    pub written: u64,
}

#[derive(Debug)]
pub struct Conn {
    pub node: usize,
    pub pipe: usize,
    seen: usize,
    is_open: bool,
    ping_at: u64,
}

impl Page {
    pub fn new(at: usize, user: usize) -> Self {
        Page { at, user, conn: None, written: 0 }
    }

    pub fn connect(&mut self, now: u64, node: usize, hub: &mut Hub, model: &mut Model) {
        let Some(pipe) = hub.connect() else { return };
        model.connected(self.at);
        let what = format!("page {} connects to n{node}", self.at);
        model.tell(now, Of::Client(self.at), what);
        hub.send(pipe, &handshake(&format!("/websocket/u{}?device=d{}", self.user, self.at), ""));
        self.conn = Some(Conn { node, pipe, seen: 0, is_open: false, ping_at: now + 15_000 });
    }

    /// Sends a message, of which the page hears nothing any more.
    pub fn write(&mut self, hub: &mut Hub, to: usize, message: &str) {
        self.written += 1;
        if let Some(conn) = &self.conn {
            let frame = format!(r#"{{"type":"message","toUserId":"u{to}","message":"{message}"}}"#);
            hub.send(conn.pipe, &text(&frame));
        }
    }

    pub fn cut(&mut self, hub: &mut Hub) {
        if let Some(conn) = self.conn.take() {
            hub.reset(conn.pipe, ErrorKind::ConnectionReset);
        }
    }

    /// When the page does something by itself.
    pub fn due(&self) -> u64 {
        self.conn.as_ref().map_or(u64::MAX, |conn| conn.ping_at)
    }

    /// Handles what has come, and does what a page does as time passes.
    pub fn live(&mut self, hub: &mut Hub, model: &mut Model) {
        let Some(conn) = &mut self.conn else { return };
        if hub.now >= conn.ping_at {
            conn.ping_at = hub.now + 15_000;
            hub.send(conn.pipe, &text(r#"{"type":"ping"}"#));
        }
        let (pipe, node) = (conn.pipe, conn.node);
        let got: Vec<Got> = hub.pipes[pipe].got[conn.seen..].to_vec();
        conn.seen += got.len();
        conn.is_open |= got.iter().any(|got| matches!(got, Got::Http(101, ..)));
        let is_open = conn.is_open;
        for got in got {
            match got {
                Got::Text(frame) => {
                    let what = format!("page {} <- {frame}", self.at);
                    model.tell(hub.now, Of::Client(self.at), what);
                    let frame: Value = serde_json::from_str(&frame).expect("JSON");
                    match frame["type"].as_str() {
                        Some("pong") => {}
                        Some("message" | "broadcast") => model.shown(self.at, &frame, node),
                        _ => panic!("page {}: {frame}", self.at),
                    }
                }
                Got::Ping(payload) => hub.send(pipe, &masked(FIN | PONG, &payload)),
                Got::Http(101, ..) => {}
                Got::Http(status, head, _) => {
                    assert_eq!(status, 403, "page {}: {head}", self.at);
                    model.kept_away(hub.now, self.at);
                    hub.finish(pipe);
                    self.conn = None;
                    return;
                }
                Got::Close(code, why) => {
                    let what = format!("page {} is closed with {code} {why}", self.at);
                    model.tell(hub.now, Of::Client(self.at), what);
                    if code == BLOCKED {
                        model.kept_away(hub.now, self.at);
                    }
                    hub.finish(pipe);
                    self.conn = None;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        if hub.pipes[pipe].closed {
            self.conn = None;
        } else if is_open {
            model.is_let_in(hub.now, self.at, node);
        }
    }
}
