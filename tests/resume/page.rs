//! A page of the dialect v1, beside the clients of v2.

use std::collections::BTreeSet;

use longlink::sim::frames::{FIN, Got, PONG, handshake, masked, text};
use serde_json::Value;

use super::model::Model;
use super::server::Link;

/// The page of a user. It outlives its connections.
#[derive(Debug, Default)]
pub struct Page {
    pub user: String,
    pub pipe: Option<usize>,
    seen: usize,
    ping_at: u64,
    /// What the page has got on this connection.
    texts: BTreeSet<String>,
}

impl Page {
    pub fn new(user: &str) -> Self {
        Page { user: user.to_owned(), ..Page::default() }
    }

    pub fn connect(&mut self, link: &mut Link) {
        let Some(pipe) = link.connect() else { return };
        link.send(pipe, &handshake(&format!("/websocket/{}?device=page", self.user), ""));
        link.settle();
        (self.pipe, self.seen, self.ping_at) = (Some(pipe), 0, link.now + 15_000);
        self.texts.clear();
    }

    pub fn say(&mut self, link: &mut Link, frame: &str) {
        if let Some(pipe) = self.pipe {
            link.send(pipe, &text(frame));
        }
    }

    pub fn close(&mut self, link: &mut Link) {
        if let Some(pipe) = self.pipe.take() {
            link.finish(pipe);
            link.settle();
        }
    }

    /// What the page does by itself as time passes.
    pub fn live(&mut self, link: &mut Link, model: &mut Model) {
        let Some(pipe) = self.pipe else { return };
        if link.now >= self.ping_at {
            self.ping_at = link.now + 15_000;
            self.say(link, "ping");
        }
        let got: Vec<Got> = link.pipes[pipe].got[self.seen..].to_vec();
        self.seen += got.len();
        for got in got {
            match got {
                Got::Text(text) => self.take(&text, model),
                Got::Ping(payload) => link.send(pipe, &masked(FIN | PONG, &payload)),
                Got::Http(status, head, _) => assert_eq!(status, 101, "{head}"),
                Got::Close(..) => {
                    link.finish(pipe);
                    self.pipe = None;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        if link.pipes[pipe].closed {
            self.pipe = None;
        }
    }

    fn take(&mut self, text: &str, model: &mut Model) {
        let frame: Value = serde_json::from_str(text).expect(text);
        match frame["type"].as_str() {
            Some("pong") => {}
            Some("message" | "broadcast") | None => {
                assert!(frame["seq"].is_null() && frame["id"].is_null(), "{frame} is not of v1");
                let name = model.shown(&self.user, &frame);
                assert!(self.texts.insert(name) || model.has_shed, "comes twice: {frame}");
            }
            _ => panic!("{frame} is not of v1"),
        }
    }
}
