//! Echoes text and binary messages on any path: the endpoint that conformance
//! tests talk to.
//!
//! ```text
//! cargo run --release --example echo 127.0.0.1:9001
//! ```

use longlink::{Accept, Config, ConnId, Context, Handler, Message, Reject, Server, Upgrade};

const MAX_MESSAGE: usize = 16 << 20;

struct Echo;

impl Handler for Echo {
    type Session = ();
    type Event = ();

    fn on_upgrade(
        &mut self,
        _: &mut Context,
        _: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        Ok(Accept::anonymous().protocol(upgrade.protocols().next()))
    }

    fn on_message(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        _: &mut Self::Session,
        message: Message<'_>,
    ) {
        match message {
            Message::Text(text) => cx.send(conn, text),
            Message::Binary(data) => cx.send(conn, data),
        };
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let mut config = Config::default();
    config.max_message = MAX_MESSAGE;
    config.max_queue = 4 * MAX_MESSAGE;
    // Conformance tests send long messages in very many small fragments, and each small fragment
    // counts as a message.
    config.message_rate = 0;
    let mut server = Server::bind(addr, config, Echo)?;
    for listener in server.listeners() {
        println!("listening on http://{listener}");
    }
    server.run()
}
