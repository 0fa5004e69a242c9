//! The hot paths. Each goes from the driver through the hub and the relay and back, on streams
//! without a network. The handler is the command's: the relay with a backend's interface. Each path
//! checks at its end what it has done.

use std::time::Duration;

use longlink::backend::{ApiKey, Backend, BackendConfig};
use longlink::{Config, Relay, RelayConfig};
use mio::Token;

use crate::kept;
use crate::stored;
use crate::support::stream::{self, Totals};
use crate::support::{self, Input, frames};

type World = support::World<Relay>;

/// One hot path.
pub struct Path {
    pub name: &'static str,
    /// How many operations the short run and the long run have. The cost of an operation must not
    /// depend on this number.
    pub operations: [u32; 2],
    /// Sets everything up and carries out this many operations.
    pub run: fn(u32),
}

pub const PATHS: [Path; 14] = [
    Path { name: "ping", operations: [1_600, 33_600], run: ping },
    Path { name: "ping-without-rates", operations: [1_600, 33_600], run: ping_without_rates },
    Path { name: "ping-pipelined", operations: [16_000, 144_000], run: ping_pipelined },
    Path { name: "one-to-one", operations: [1_600, 33_600], run: one_to_one },
    Path { name: "fan-out", operations: [20_000, 180_000], run: fan_out },
    Path { name: "fan-out-after-peak", operations: [100, 1_100], run: fan_out_after_peak },
    Path { name: "kept-one-to-one", operations: [1_600, kept::MOST], run: kept::one_to_one },
    Path { name: "kept-fan-out", operations: [15_984, 159_840], run: kept::fan_out },
    Path { name: "kept-return", operations: [400, 2_000], run: kept::come_back },
    Path { name: "stored-one-to-one", operations: [1_600, 33_600], run: stored::one_to_one },
    Path { name: "connection", operations: [100, 1_700], run: connection },
    Path { name: "api-send", operations: [1_600, 17_600], run: api_send },
    Path { name: "api-batch", operations: [2_000, 22_000], run: api_batch },
    Path { name: "scrape", operations: [10, 110], run: scrape },
];

/// How many connections have something to read in one turn, as in a busy loop.
pub const READY: usize = 16;
/// How many connections take their turns in those reads.
pub const CLIENTS: u32 = 256;
/// How many messages one read has, on paths where it has several.
const PIPELINED: usize = 16;
/// How many receivers a fan-out has.
pub const RECEIVERS: u32 = 1_000;

/// How many connections there were at the peak, and how many are left, in slots that are far apart.
const PEAK: u32 = 10_000;
const LEFT: usize = 10;

const PONG: usize = r#"{"type":"pong"}"#.len();

/// A `ping` and its pong, one in each read.
fn ping(operations: u32) {
    pings(operations, 1, world);
}

/// A `ping` and its pong, without any rate.
fn ping_without_rates(operations: u32) {
    pings(operations, 1, unpaced);
}

/// Sixteen pings in each read; an operation is one ping.
fn ping_pipelined(operations: u32) {
    pings(operations, PIPELINED, world);
}

fn pings(operations: u32, in_a_read: usize, world: fn(u32) -> World) {
    let mut world = world(CLIENTS);
    let clients = world.connect_all(CLIENTS);
    let pings = frames::texts(vec!["ping"; in_a_read]);
    let reads = operations as usize / in_a_read;
    let written = measure(&mut world, |world| {
        exchange(world, reads, |turn| (clients[turn % clients.len()], pings));
    });
    assert_eq!(written.bytes, (reads * in_a_read * frames::server_frame_len(PONG)) as u64);
    assert_eq!(written.writes, reads as u64);
}

/// A message from one user to another.
fn one_to_one(operations: u32) {
    let mut world = world(CLIENTS);
    let clients = world.connect_all(CLIENTS);
    let message = r#""hello, how are you doing today?""#;
    let to_next: Vec<&[u8]> = (0..CLIENTS)
        .map(|user| {
            let to = frames::user((user + 1) % CLIENTS);
            frames::texts([format!(r#"{{"toUserId":"{to}","message":{message}}}"#).as_str()])
        })
        .collect();
    let (from, to) = (frames::user(0), frames::user(1));
    let received = format!(
        r#"{{"type":"message","formUserId":"{from}","toUserId":"{to}","message":{message}}}"#
    );
    let written = measure(&mut world, |world| {
        exchange(world, operations as usize, |turn| {
            (clients[turn % clients.len()], to_next[turn % clients.len()])
        });
    });
    let length = frames::server_frame_len(received.len());
    assert_eq!(written.bytes, u64::from(operations) * length as u64);
    assert_eq!(written.writes, u64::from(operations));
}

/// A message to everyone; an operation is one delivery.
fn fan_out(operations: u32) {
    let mut world = world(RECEIVERS);
    // A broadcast takes nine turns to be written. The clock moves so slowly that the sender stays
    // within its rate.
    world.step = Duration::from_millis(6);
    let clients = world.connect_all(RECEIVERS);
    broadcast(&mut world, clients[0], operations / RECEIVERS, u64::from(operations));
}

/// A message to everyone who is left after the peak; an operation is the whole message.
fn fan_out_after_peak(operations: u32) {
    let mut world = unpaced(PEAK);
    let clients = world.connect_all(PEAK);
    let apart = clients.len() / LEFT;
    let (close, written) = (frames::close(), u64::from(PEAK) - LEFT as u64);
    let gone = measure(&mut world, |world| {
        for (position, client) in clients.iter().enumerate() {
            if position % apart != apart / 2 {
                world.read(*client, Input::Bytes(close));
            }
            if position % READY == 0 {
                world.settle();
            }
        }
        world.settle();
    });
    assert_eq!(gone.freed, written);
    broadcast(&mut world, clients[apart / 2], operations, u64::from(operations) * LEFT as u64);
}

/// User 0 sends this many messages to everyone, which make this many deliveries.
fn broadcast(world: &mut World, from: Token, broadcasts: u32, deliveries: u64) {
    let message = r#""hello, how are you doing today?""#;
    let sent = frames::texts([format!(r#"{{"message":{message}}}"#).as_str()]);
    let received = format!(r#"{{"formUserId":"{}","message":{message}}}"#, frames::user(0));
    let written = measure(world, |world| {
        for _ in 0..broadcasts {
            world.read(from, Input::Bytes(sent));
            world.settle();
        }
    });
    assert_eq!(written.bytes, deliveries * frames::server_frame_len(received.len()) as u64);
    assert_eq!(written.writes, deliveries);
}

/// A connection's life: connect, handshake, `ping`, close.
fn connection(operations: u32) {
    let mut world = world(RECEIVERS);
    // The connection comes and goes among others.
    world.connect_all(RECEIVERS - 1);
    let (ping, close) = (frames::texts(["ping"]), frames::close());
    let written = measure(&mut world, |world| {
        for user in 0..operations {
            let token = world.connect(RECEIVERS + user);
            world.read(token, Input::Bytes(ping));
            world.turn();
            world.read(token, Input::Bytes(close));
            world.turn();
        }
    });
    assert_eq!(written.freed, u64::from(operations));
    assert_eq!(written.writes, 3 * u64::from(operations));
    assert_eq!(world.driver.hub().stats().closed, u64::from(operations));
}

/// A backend's request that sends a message to one user, on a connection that is kept.
fn api_send(operations: u32) {
    let mut world = world(CLIENTS);
    world.connect_all(CLIENTS - READY as u32);
    let backends: Vec<Token> = (0..READY).map(|_| world.accept()).collect();
    let requests: Vec<&[u8]> = (0..CLIENTS - READY as u32)
        .map(|user| request("send", &format!("{{{}}}", api_message(user))))
        .collect();
    let written = measure(&mut world, |world| {
        exchange(world, operations as usize, |turn| {
            (backends[turn % READY], requests[turn % requests.len()])
        });
    });
    assert_eq!(written.writes, 2 * u64::from(operations), "a message and an answer");
    assert_eq!(world.driver.hub().stats().deliveries, u64::from(operations));
}

/// A backend's messages to one user in batches; an operation is one message.
fn api_batch(operations: u32) {
    const MESSAGES: u32 = 200;
    let mut world = world(CLIENTS);
    world.connect_all(MESSAGES);
    let backend = world.accept();
    let messages: Vec<String> =
        (0..MESSAGES).map(|user| format!("{{{}}}", api_message(user))).collect();
    let batch = request("batch", &format!(r#"{{"messages":[{}]}}"#, messages.join(",")));
    let batches = operations / MESSAGES;
    let written = measure(&mut world, |world| {
        for _ in 0..batches {
            world.read(backend, Input::Bytes(batch));
            world.settle();
        }
    });
    assert_eq!(written.writes, u64::from(batches * (MESSAGES + 1)));
    assert_eq!(world.driver.hub().stats().deliveries, u64::from(batches * MESSAGES));
}

/// Prometheus asks for the metrics of a server that has many connections.
fn scrape(operations: u32) {
    let mut world = unpaced(PEAK);
    world.connect_all(PEAK - 1);
    let backend = world.accept();
    let request = head("GET", "/metrics", "").into_bytes();
    let request: &[u8] = Box::leak(request.into());
    let written = measure(&mut world, |world| {
        for _ in 0..operations {
            world.read(backend, Input::Bytes(request));
            world.settle();
        }
    });
    assert_eq!(written.writes, u64::from(operations));
    assert!(written.bytes > 5_000 * u64::from(operations), "all that there is to tell");
    assert_eq!(world.driver.hub().stats().answers.of(200), u64::from(operations));
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The message of [`one_to_one`], as a backend sends it.
fn api_message(user: u32) -> String {
    format!(r#""user":"{}","message":"hello, how are you doing today?""#, frames::user(user))
}

/// A request as a usual HTTP client writes it.
fn request(route: &str, body: &str) -> &'static [u8] {
    let about = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let head = head("POST", &format!("/api/{route}"), &about);
    Box::leak((head + body).into_bytes().into())
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:9090\r\nUser-Agent: backend/1.0\r\n\
         Accept: */*\r\nAuthorization: Bearer {KEY}\r\n{more}\r\n"
    )
}

fn world(connections: u32) -> World {
    world_with(connections, Config::default())
}

/// A world without rates, and without a limit of connections from one address, because all
/// connections come from one address.
pub fn unpaced(connections: u32) -> World {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate) = (0, 0);
    // All connections come from one address.
    config.max_per_address = 0;
    world_with(connections, config)
}

fn world_with(connections: u32, mut config: Config) -> World {
    config.max_connections = connections as usize;
    let mut backend = BackendConfig::default();
    backend.keys = vec![ApiKey::new(KEY).expect("a key")];
    World::with(config, Relay::new(RelayConfig::default()).with_backend(Backend::new(backend)))
}

/// Carries out this many reads, [`READY`] in each turn; `next` says which connection reads, and
/// what.
fn exchange(world: &mut World, reads: usize, next: impl Fn(usize) -> (Token, &'static [u8])) {
    for at in 0..reads {
        let (token, bytes) = next(at);
        world.read(token, Input::Bytes(bytes));
        if (at + 1) % READY == 0 {
            world.turn();
        }
    }
    world.settle();
}

/// Returns what `work` wrote, and how many streams it closed.
pub fn measure(world: &mut World, work: impl FnOnce(&mut World)) -> Totals {
    let before = stream::totals();
    work(world);
    let after = stream::totals();
    Totals {
        writes: after.writes - before.writes,
        bytes: after.bytes - before.bytes,
        freed: after.freed - before.freed,
    }
}
