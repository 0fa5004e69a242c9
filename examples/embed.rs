//! longlink inside a host's own `mio::Poll`, beside a UDP socket of the host.
//!
//! Every datagram `USER TEXT` that comes in by UDP is pushed to that user's
//! mini-program, from outside any callback:
//!
//! ```text
//! cargo run --example embed 127.0.0.1:9003 127.0.0.1:9004
//! echo -n 'A your order is ready' > /dev/udp/127.0.0.1/9004
//! ```

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use longlink::{Config, Driver, Listener, Relay, RelayConfig};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

const UDP: Token = Token(0);
/// The driver's tokens begin here and go on upward.
const LONGLINK: Token = Token(1);

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let web = args.next().unwrap_or_else(|| "127.0.0.1:9003".to_owned());
    let udp = args.next().unwrap_or_else(|| "127.0.0.1:9004".to_owned());

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut orders = UdpSocket::bind(parse(&udp)?)?;
    poll.registry().register(&mut orders, UDP, Interest::READABLE)?;

    let config = Config::default();
    let listener = Listener::tcp(parse(&web)?, &config)?;
    println!("listening on http://{listener}, pushing what comes to {}", orders.local_addr()?);
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
            if !driver.handle_event(event, now) {
                push_orders(&orders, &mut driver)?;
            }
        }
        // Once a turn: whatever was queued above leaves here.
        driver.tick(now);
    }
}

/// Hands every waiting datagram to its user.
fn push_orders(orders: &UdpSocket, driver: &mut Driver<Relay>) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let length = match orders.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        let Some((user, text)) = text.trim_end().split_once(' ') else { continue };
        let message = serde_json::Value::from(text).to_string();
        let (hub, relay) = driver.parts();
        let devices = relay.push(hub, "orders", user, &message);
        println!("to {user:?} on {devices} devices: {text:?}");
    }
}

fn parse(addr: &str) -> io::Result<SocketAddr> {
    addr.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}
