//! A handler of one's own: rooms. `GET /room/{name}` joins, text goes to all in
//! the room, `/who` tells how many they are.
//!
//! ```text
//! cargo run --example handler 127.0.0.1:9002
//! ```

use longlink::{Accept, Config, ConnId, Handler, Hub, Message, Reject, Response, Server, Upgrade};

struct Rooms;

impl Handler for Rooms {
    fn on_upgrade(
        &mut self,
        _: &mut Hub,
        _: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        match upgrade.path().strip_prefix("/room/") {
            // The room is kept as the connection's device.
            Some(room) if !room.is_empty() => Ok(Accept::anonymous().device(room)),
            _ => Err(Reject(Response::text(404, "no such room"))),
        }
    }

    fn on_open(&mut self, hub: &mut Hub, conn: ConnId) {
        let room = hub.device(conn).unwrap_or_default().to_owned();
        if let Err(error) = hub.join(conn, &room) {
            hub.close(conn, 1008, &error.to_string());
        }
    }

    fn on_message(&mut self, hub: &mut Hub, conn: ConnId, message: Message<'_>) {
        let room = hub.device(conn).unwrap_or_default().to_owned();
        match message {
            Message::Text("/who") => {
                let count = hub.group_size(&room);
                hub.send_text(conn, &format!("{count} in {room}"));
            }
            Message::Text(text) => {
                hub.send_to_group(&room, text);
            }
            Message::Binary(_) => hub.close(conn, 1003, "text only"),
        }
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9002".to_owned());
    let mut server = Server::bind(addr, Config::default(), Rooms)?;
    for listener in server.listeners() {
        println!("listening on http://{listener}");
    }
    server.run()
}
