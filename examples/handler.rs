//! A handler with chat rooms, state and a timer: a text at `/room/{name}` goes to everyone in the
//! room.
//!
//! `/topic TEXT` gives the room a topic, which everyone who enters is told. A room that has been
//! silent for five minutes is closed.
//!
//! ```text
//! cargo run --example handler 127.0.0.1:9002
//! ```

use std::collections::HashMap;
use std::time::Duration;

use longlink::http::Response;
use longlink::{
    Accept, CloseReason, Config, ConnId, Context, Handler, Message, Reject, Server, Upgrade,
};

const SILENCE: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Rooms {
    by_key: HashMap<u32, Room>,
}

/// A room exists while somebody is in it. Its key is also the key of its timer.
struct Room {
    name: String,
    topic: String,
}

impl Rooms {
    /// Returns the key of the room with this name; makes the room if there is none.
    fn key(&mut self, name: &str) -> u32 {
        if let Some((key, _)) = self.by_key.iter().find(|(_, room)| room.name == name) {
            return *key;
        }
        let key = (0..).find(|key| !self.by_key.contains_key(key)).unwrap_or_default();
        self.by_key.insert(key, Room { name: name.to_owned(), topic: "no topic".to_owned() });
        key
    }
}

impl Handler for Rooms {
    /// The name of the connection's room.
    type Session = String;
    type Event = ();

    fn on_upgrade(
        &mut self,
        _: &mut Context,
        _: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<String>, Reject> {
        match upgrade.path().strip_prefix("/room/") {
            Some(name) if !name.is_empty() => Ok(Accept::anonymous().session(name.to_owned())),
            _ => Err(Response::text(404, "try /room/NAME").into()),
        }
    }

    fn on_open(&mut self, cx: &mut Context, conn: ConnId, name: &mut String) {
        if let Err(error) = cx.join(conn, name) {
            return cx.close(conn, 1008, &error.to_string());
        }
        let key = self.key(name);
        cx.set_timer(key, cx.now() + SILENCE);
        let (topic, count) = (&self.by_key[&key].topic, cx.group_size(name));
        cx.send(conn, &format!("{topic}; {count} here"));
    }

    fn on_message(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        name: &mut String,
        message: Message<'_>,
    ) {
        let Message::Text(text) = message else { return cx.close(conn, 1003, "text only") };
        let key = self.key(name);
        cx.set_timer(key, cx.now() + SILENCE);
        if let (Some(topic), Some(room)) = (text.strip_prefix("/topic "), self.by_key.get_mut(&key))
        {
            room.topic = topic.to_owned();
        }
        cx.send_to_group(name, text);
    }

    fn on_timer(&mut self, cx: &mut Context, key: u32) {
        let Some(room) = self.by_key.get(&key) else { return };
        let members: Vec<ConnId> = cx.members(&room.name).collect();
        for conn in members {
            cx.close(conn, 4000, "silent room");
        }
    }

    fn on_closing(&mut self, cx: &mut Context, conn: ConnId, name: &mut String, _: &CloseReason) {
        cx.send(conn, &format!("you leave {name}"));
    }

    fn on_close(&mut self, cx: &mut Context, conn: ConnId, name: String, _: &CloseReason) {
        cx.leave(conn, &name);
        if cx.group_size(&name) > 0 {
            return;
        }
        if let Some(key) =
            self.by_key.iter().find(|(_, room)| room.name == name).map(|(key, _)| *key)
        {
            self.by_key.remove(&key);
            cx.clear_timer(key);
        }
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9002".to_owned());
    Server::bind(addr, Config::default(), Rooms::default())?.run()
}
