//! A handler of one's own: at `/room/{name}` text goes to all in the room.
//!
//! ```text
//! cargo run --example handler 127.0.0.1:9002
//! ```

use longlink::http::Response;
use longlink::{Accept, Config, ConnId, Context, Handler, Message, Reject, Server, Upgrade};

struct Rooms;

impl Handler for Rooms {
    type Session = ();
    type Event = ();

    fn on_upgrade(
        &mut self,
        _: &mut Context,
        _: ConnId,
        up: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        match up.path().strip_prefix("/room/") {
            // The room is kept as the connection's device.
            Some(room) if !room.is_empty() => Ok(Accept::anonymous().device(room)),
            _ => Err(Response::text(404, "no such room").into()),
        }
    }

    fn on_open(&mut self, hub: &mut Context, conn: ConnId, _: &mut Self::Session) {
        let room = hub.device(conn).unwrap_or_default().to_owned();
        if let Err(error) = hub.join(conn, &room) {
            hub.close(conn, 1008, &error.to_string());
        }
    }

    fn on_message(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        _: &mut Self::Session,
        message: Message<'_>,
    ) {
        let room = hub.device(conn).unwrap_or_default().to_owned();
        match message {
            Message::Text(text) => _ = hub.send_to_group(&room, text),
            Message::Binary(_) => hub.close(conn, 1003, "text only"),
        }
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9002".to_owned());
    Server::bind(addr, Config::default(), Rooms)?.run()
}
