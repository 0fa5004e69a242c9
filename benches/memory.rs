//! What connections cost in memory, counted by the allocator.
//!
//! ```text
//! cargo bench --bench memory
//! ```
//!
//! 100,000 connections on fake streams, each of a user with an id of 16 bytes:
//! the bytes the library has asked the allocator for, after all of them have
//! connected, after each has exchanged a heartbeat, and after each has
//! exchanged a message of 16 KiB. And the allocations of an echoed message in
//! the steady state, of which there are none.
//!
//! It fails when an idle connection takes more than [`MOST`] bytes, or when a
//! message in the steady state allocates. `cargo test --benches` runs it small.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, IoSlice, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use longlink::{Config, Driver, Listen, Peer, Readiness, Relay, RelayConfig, Transport};
use mio::event::Source;
use mio::{Interest, Poll, Registry, Token};

/// The most bytes an idle connection may take.
const MOST: usize = 256;

/// Counts what is allocated and not freed.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// A benchmark needs to see the allocator; the library itself has no unsafe code.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A peer without a network: a request to read, and a sink. It holds nothing
/// on the heap, so every byte counted is the library's.
#[derive(Debug)]
struct Fake {
    user: u32,
    step: Step,
    /// Bytes of the large message that were read.
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Connect,
    Idle,
    Ping,
    Large,
}

const MASK: [u8; 4] = [0x5A, 0xC3, 0x17, 0x99];
const LARGE: usize = 16 * 1024;

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.step == Step::Idle {
            self.step = match STEP.load(Ordering::Relaxed) {
                1 => Step::Ping,
                2 => Step::Large,
                _ => Step::Idle,
            };
        }
        let mut rest = &mut buffer[..];
        let room = rest.len();
        match self.step {
            Step::Idle => return Err(io::ErrorKind::WouldBlock.into()),
            Step::Connect => {
                write!(
                    rest,
                    "GET /websocket/user-{:011} HTTP/1.1\r\nHost: localhost\r\n\
                     Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                    self.user
                )?;
                self.step = Step::Idle;
            }
            Step::Ping => {
                rest.write_all(&[0x81, 0x84])?;
                rest.write_all(&MASK)?;
                masked(rest, b"ping", 0);
                rest = &mut rest[4..];
                self.step = Step::Idle;
            }
            // In two halves, so that the first has to be kept.
            Step::Large if self.at == 0 => {
                rest.write_all(&[0x81, 0xFE])?;
                rest.write_all(&(LARGE as u16).to_be_bytes())?;
                rest.write_all(&MASK)?;
                masked(rest, &[b' '; LARGE / 2], 0);
                rest = &mut rest[LARGE / 2..];
                self.at = LARGE / 2;
            }
            Step::Large => {
                masked(rest, &[b' '; LARGE / 2], LARGE / 2);
                rest = &mut rest[LARGE / 2..];
                self.at = 0;
                self.step = Step::Idle;
            }
        }
        let left = rest.len();
        Ok(room - left)
    }
}

fn masked(out: &mut [u8], payload: &[u8], from: usize) {
    for (position, (out, byte)) in out.iter_mut().zip(payload).enumerate() {
        *out = byte ^ MASK[(from + position) % 4];
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Fake {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands out as many connections as it was told to. What each is to send next
/// is told through a shared step, since the sockets belong to the driver.
struct Peers {
    left: u32,
}

static STEP: AtomicUsize = AtomicUsize::new(0);

impl Listen for Peers {
    type Stream = Fake;

    fn accept(&mut self) -> io::Result<(Fake, Peer)> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        self.left = left;
        let addr = std::net::SocketAddr::from(([10, 0, 0, 1], left as u16));
        Ok((Fake { user: left, step: Step::Connect, at: 0 }, addr.into()))
    }

    fn is_loopback(&self) -> bool {
        true
    }
}

macro_rules! unregistered {
    ($($type:ty),*) => {$(
        impl Source for $type {
            fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
                Ok(())
            }
            fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
                Ok(())
            }
            fn deregister(&mut self, _: &Registry) -> io::Result<()> {
                Ok(())
            }
        }
    )*};
}
unregistered!(Fake, Peers);

fn main() -> ExitCode {
    // `cargo test --benches` passes no `--bench`: then a small run will do.
    let full = std::env::args().any(|arg| arg == "--bench");
    let connections: u32 = if full { 100_000 } else { 5_000 };

    let poll = Poll::new().expect("a poll");
    let mut config = Config::default();
    config.max_connections = connections as usize;
    let mut relay = RelayConfig::default();
    relay.broadcast = false;
    let start = Instant::now();
    let before = BYTES.load(Ordering::Relaxed);
    let mut driver = Driver::new(
        vec![Peers { left: connections }],
        poll.registry(),
        Token(0),
        config,
        Relay::new(relay),
        start,
    )
    .expect("a driver");
    let empty = BYTES.load(Ordering::Relaxed) - before;
    println!("{:>12} bytes reserved for {connections} connections and the loop's buffers", empty);

    let mut now = start;
    let mut turn = |driver: &mut Driver<Relay, Peers>, reads: usize| {
        now += Duration::from_millis(1);
        if reads > 0 {
            for token in 1..=connections as usize {
                let readiness = Readiness { readable: true, ..Readiness::default() };
                for _ in 0..reads {
                    driver.handle_readiness(Token(token), readiness, now);
                }
                if token % 64 == 0 {
                    driver.tick(now);
                }
            }
        }
        driver.tick(now);
        while driver.next_deadline().is_some_and(|at| at <= now) {
            driver.tick(now);
        }
    };
    let per = |bytes: usize| (bytes - before) / connections as usize;
    let report = |what: &str| {
        let each = per(BYTES.load(Ordering::Relaxed));
        println!("{each:>12} bytes a connection, {what}");
        each
    };

    turn(&mut driver, 0);
    turn(&mut driver, 1);
    assert_eq!(driver.hub().online(), connections as usize);
    let idle = report("idle");
    STEP.store(1, Ordering::Relaxed);
    turn(&mut driver, 1);
    let pinged = report("after a heartbeat");
    let calls = CALLS.load(Ordering::Relaxed);
    turn(&mut driver, 1);
    let calls = CALLS.load(Ordering::Relaxed) - calls;
    println!("{calls:>12} allocations for {connections} heartbeats in the steady state");
    STEP.store(2, Ordering::Relaxed);
    turn(&mut driver, 2);
    let large = report("after a message of 16 KiB in two pieces");

    assert_eq!(driver.hub().stats().messages_in, 3 * u64::from(connections));
    if idle.max(pinged).max(large) > MOST || calls > 0 {
        eprintln!("more than {MOST} bytes a connection, or an allocation in the steady state");
        return ExitCode::FAILURE;
    }
    println!("1 passed, 0 failed");
    ExitCode::SUCCESS
}
