//! longlink inside a host's own `mio::Poll`, with a worker thread that sends into the loop.
//!
//! The worker reads lines `USER TEXT` from the standard input and pushes each to that user's
//! mini-program:
//!
//! ```text
//! echo 'A your order is ready' | cargo run --example embed 127.0.0.1:9003
//! ```

use std::io;
use std::sync::Arc;
use std::time::Instant;

use longlink::{Config, Driver, Inbox, Listener, Relay, RelayConfig};
use mio::{Events, Poll, Token, Waker};

const WAKE: Token = Token(0);
/// The driver's tokens begin here.
const LONGLINK: Token = Token(1);

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9003".to_owned());
    let addr = addr.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let inbox = Inbox::new(Arc::new(Waker::new(poll.registry(), WAKE)?), 1_000);
    let orders = inbox.sender();
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if orders.send(line).is_err() {
                eprintln!("an order is lost: the loop does not keep up");
            }
        }
    });

    let config = Config::default();
    let listener = Listener::tcp(addr, &config)?;
    println!("listening on http://{listener}");
    let relay = Relay::new(RelayConfig::default());
    let mut driver =
        Driver::new(vec![listener], poll.registry(), LONGLINK, config, relay, Instant::now())?;

    loop {
        let wait = driver.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        for event in &events {
            driver.handle_event(event, now); // false: the waker's token, or another of the host's
        }
        for order in inbox.take() {
            let Some((user, text)) = order.split_once(' ') else { continue };
            let message = serde_json::Value::from(text).to_string();
            let (cx, relay) = driver.parts();
            let devices = relay.push(cx, "orders", user, &message);
            println!("to {user:?} on {devices} devices: {text:?}");
        }
        // Once in each turn: what was queued above is written here.
        driver.tick(now);
    }
}
