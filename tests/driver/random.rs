//! Random sockets: bytes cut anywhere, writes that take a part, blocks, ends, resets and stale events, in
//! any order, while broadcasts are written and connections park each other. The bytes that arrive are
//! compared with those that were sent. A failure names its seed; `DRIVER_SEED` runs that seed alone.

use std::io::ErrorKind;
use std::time::Duration;

use mio::Token;

use crate::fake::{BASE, Client, ENDED, Output, READABLE, Rig, WRITABLE};
use longlink::sim::Rng;
use longlink::sim::frames::{self, handshake, text};

const SEEDS: u64 = 30;
const STEPS: usize = 1_500;

/// A client: the bytes that it still has to send, how many messages it has made, and what it has got.
struct Guest {
    client: Client,
    outgoing: Vec<u8>,
    said: usize,
    /// What the host has sent to it, to its group or to everyone.
    told: Vec<String>,
    grouped: bool,
    /// All bytes that were written to the client.
    seen: Vec<u8>,
    /// Whether the client has gone or was told to go, so that messages may be missing.
    leaving: bool,
}

#[derive(Debug, Default)]
struct Coverage {
    echoed: usize,
    broadcasts: usize,
    /// How many broadcasts were not queued at once.
    walks: usize,
    /// How many steps there were while such a broadcast was being written.
    walking: usize,
    parked: usize,
    pinged: u64,
    blocked: usize,
    ended: usize,
}

struct Run {
    rig: Rig,
    random: Rng,
    guests: Vec<Guest>,
    said: usize,
    /// Whether sockets seldom block, so that broadcasts are written without being queued.
    calm: bool,
    /// How many deliveries there are when the last broadcast has reached everyone.
    delivered: u64,
    coverage: Coverage,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Rng::new(seed);
        let rig = Rig::new(|config| {
            config.work_per_turn = 1 + random.index(50) as u32;
            config.writes_per_turn = 1 + random.index(5) as u32;
            config.accepts_per_turn = 1 + random.index(3) as u32;
            config.max_connections = 20;
            config.max_queue = 1 << 20;
            // Only pings come with time.
            config.idle_timeout = Duration::ZERO;
            config.message_timeout = Duration::ZERO;
            config.handshake_timeout = Duration::ZERO;
        });
        let (guests, coverage) = (Vec::new(), Coverage::default());
        Run { rig, random, guests, said: 0, calm: !seed.is_multiple_of(3), delivered: 0, coverage }
    }

    fn arrive(&mut self) {
        if self.guests.iter().filter(|guest| !guest.client.is_dropped()).count() < 15 {
            let client = self.rig.knock();
            // Two clients have the same user, so the second one parks the first one.
            let outgoing = handshake(&format!("/{}", self.guests.len() / 2), "");
            self.guests.push(Guest {
                client,
                outgoing,
                said: 0,
                told: Vec::new(),
                grouped: false,
                seen: Vec::new(),
                leaving: false,
            });
        }
    }

    fn step(&mut self) {
        if self.guests.is_empty() || self.random.percent(3) {
            self.arrive();
        }
        if self.random.percent(30) {
            self.rig.tick();
        }
        if self.random.percent(12) {
            self.tell();
        }
        if self.random.percent(1) {
            self.rig.pass(Duration::from_secs(30));
        }
        self.coverage.walking += usize::from(self.rig.hub().stats().deliveries < self.delivered);
        if self.random.percent(5) {
            // An event for a connection, or for a token without one.
            let token = Token(BASE + self.random.index(60));
            let readiness = [READABLE, WRITABLE, ENDED][self.random.index(3)];
            self.rig.driver.handle_readiness(token, readiness, self.rig.now);
        }
        let at = self.random.index(self.guests.len());
        if self.guests[at].client.0.borrow().token.is_some() {
            self.act(at);
        }
    }

    /// Lets the host send a message to one client, to a group or to everyone.
    fn tell(&mut self) {
        let length = if self.random.percent(5) { 70_000 } else { self.random.index(300) };
        self.said += 1;
        let message = format!("host {} {}", self.said, "z".repeat(length));
        match self.random.index(6) {
            0 => self.tell_one(&message),
            1 => {
                let got = self.expect(&message, |guest| guest.grouped);
                assert_eq!(self.rig.hub().send_to_group("group", &message), got);
            }
            _ => {
                if self.calm {
                    self.calm_down();
                }
                let got = self.expect(&message, |_| true);
                let hub = self.rig.hub();
                let before = hub.stats().deliveries;
                assert_eq!(hub.broadcast(&message), got);
                self.delivered = before + got as u64;
                let walks = hub.stats().deliveries < self.delivered;
                self.coverage.walks += usize::from(walks);
                self.coverage.broadcasts += got;
            }
        }
    }

    fn tell_one(&mut self, message: &str) {
        let at = self.random.index(self.guests.len());
        let guest = &mut self.guests[at];
        let Some(conn) = self.rig.open(&guest.client) else { return };
        if self.random.percent(30) {
            let joined = self.rig.hub().join(conn, "group");
            assert_eq!(joined, Ok(!std::mem::replace(&mut guest.grouped, true)));
        }
        match self.random.index(12) {
            0 if !guest.leaving => {
                guest.leaving = true;
                self.rig.hub().close(conn, 4000, "enough");
            }
            1 if !guest.leaving => {
                guest.leaving = true;
                self.rig.hub().abort(conn);
            }
            _ => {
                guest.told.push(message.to_owned());
                assert!(self.rig.hub().send(conn, message));
            }
        }
    }

    /// Records that each active client of which `of` is true must get the message. Returns how many
    /// clients these are.
    fn expect(&mut self, message: &str, of: impl Fn(&Guest) -> bool) -> usize {
        let mut count = 0;
        for guest in &mut self.guests {
            let Some(conn) = self.rig.open(&guest.client) else { continue };
            if self.rig.hub().is_parked(conn) {
                self.coverage.parked += 1;
            } else if of(guest) {
                guest.told.push(message.to_owned());
                count += 1;
            }
        }
        count
    }

    /// Takes turns until everything that is queued was written.
    fn calm_down(&mut self) {
        for guest in &self.guests {
            if self.rig.open(&guest.client).is_some() {
                self.rig.event(&guest.client, WRITABLE);
            }
        }
        self.rig.settle();
    }

    fn act(&mut self, at: usize) {
        let Run { rig, random, guests, coverage, calm, .. } = self;
        let guest = &mut guests[at];
        if guest.client.is_dropped() {
            return;
        }
        match random.index(20) {
            0..=5 if !guest.leaving => {
                for _ in 0..random.index(20) {
                    let padding = "y".repeat(random.index(200));
                    guest.outgoing.extend(text(&format!("{} {padding}", guest.said)));
                    guest.said += 1;
                }
            }
            6..=13 if !guest.leaving => {
                let length = random.index(guest.outgoing.len() + 1);
                let piece: Vec<u8> = guest.outgoing.drain(..length).collect();
                guest.client.feed(&piece);
                rig.event(&guest.client, READABLE);
            }
            14 | 15 if !*calm || random.percent(20) => {
                coverage.blocked += 1;
                guest.client.script(match random.index(3) {
                    0 => Output::Error(ErrorKind::WouldBlock),
                    1 => Output::Error(ErrorKind::Interrupted),
                    _ => {
                        let most = if random.percent(10) { 80_000 } else { 500 };
                        Output::Take(random.index(most))
                    }
                });
            }
            16..=18 => rig.event(&guest.client, WRITABLE),
            19 if random.percent(10) && !guest.leaving => {
                guest.leaving = true;
                coverage.ended += 1;
                let how = random.index(4);
                if how > 1 {
                    // The bytes that follow must not be taken for the rest of a message.
                    guest.client.feed(&std::mem::take(&mut guest.outgoing));
                }
                match how {
                    0 => guest.client.end(),
                    1 => guest.client.fail(ErrorKind::ConnectionReset),
                    2 => guest.client.feed(&[frames::close(1000), text("late")].concat()),
                    _ => guest.client.feed(&[0xFF; 20]),
                }
                let readiness = if random.percent(50) { READABLE } else { ENDED };
                rig.event(&guest.client, readiness);
            }
            _ => {}
        }
    }

    /// Lets all clients send what they have, and takes turns until no socket blocks any more.
    fn rest(&mut self) {
        for guest in &mut self.guests {
            if !guest.leaving {
                let rest = std::mem::take(&mut guest.outgoing);
                guest.client.feed(&rest);
            }
            guest.client.0.borrow_mut().output.clear();
        }
        self.rig.settle();
        for at in 0..self.guests.len() {
            let client = self.guests[at].client.clone();
            if !client.is_dropped() {
                self.rig.event(&client, READABLE);
                self.rig.event(&client, WRITABLE);
                self.rig.settle();
            }
        }
        self.rig.settle();
    }

    fn check(&mut self) {
        for (number, guest) in self.guests.iter_mut().enumerate() {
            guest.seen.extend(guest.client.take());
            let Some(end) = guest.seen.windows(4).position(|window| window == b"\r\n\r\n") else {
                assert!(guest.leaving, "guest {number} was not answered");
                continue;
            };
            if !guest.seen.starts_with(b"HTTP/1.1 101 ") {
                assert!(guest.leaving, "guest {number} was refused");
                continue;
            }
            let (mut echoed, mut told) = (0, 0);
            let mut bytes = guest.seen[end + 4..].to_vec();
            while let Some(frame) = frames::take(&mut bytes) {
                match frame.opcode {
                    frames::CLOSE => assert!(guest.leaving, "guest {number} was closed"),
                    frames::PING => {}
                    _ if frame.text().starts_with("host ") => {
                        let due = guest.told.get(told).map(String::as_str);
                        assert!(due == Some(frame.text()), "guest {number}: message {told}");
                        told += 1;
                    }
                    _ => {
                        let word = frame.text().split(' ').next();
                        assert_eq!(word, Some(&echoed.to_string()[..]), "guest {number}");
                        echoed += 1;
                    }
                }
            }
            self.coverage.echoed += echoed;
            if !guest.leaving {
                assert!(bytes.is_empty() && !guest.client.is_dropped(), "guest {number}");
                assert_eq!(echoed, guest.said, "guest {number}: all is echoed");
                assert_eq!(told, guest.told.len(), "guest {number}: all has come");
            }
        }
    }

    fn all_leave(&mut self) {
        for guest in &self.guests {
            if !guest.client.is_dropped() {
                guest.client.end();
                self.rig.event(&guest.client, ENDED);
            }
        }
        self.rig.tick();
        self.rig.settle();
        assert!(self.guests.iter().all(|guest| guest.client.is_dropped()));
        assert_eq!(self.rig.driver.hub().connections(), 0);
        assert_eq!(self.rig.driver.hub().buffered(), 0);
        let wires = self.guests.iter().map(|guest| guest.client.0.borrow());
        let (read, written) = wires.fold((0, 0), |(read, written), wire| {
            (read + wire.bytes_read, written + wire.bytes_written)
        });
        let stats = *self.rig.hub().stats();
        assert_eq!((stats.bytes_in, stats.bytes_out), (read, written), "every byte is counted");
        assert_eq!(stats.closes.iter().map(|(_, count)| count).sum::<u64>(), stats.closed);
        let handler = self.rig.handler();
        assert_eq!(handler.opened.len(), handler.closed.len());
    }
}

#[test]
fn every_message_arrives_once_and_in_order_whatever_the_sockets_do() {
    let only: Option<u64> = std::env::var("DRIVER_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut total = Coverage::default();
    for seed in only.map_or(1..SEEDS + 1, |seed| seed..seed + 1) {
        let told = OnPanic(seed);
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.rest();
        run.check();
        run.all_leave();
        total.echoed += run.coverage.echoed;
        total.broadcasts += run.coverage.broadcasts;
        total.walks += run.coverage.walks;
        total.walking += run.coverage.walking;
        total.parked += run.coverage.parked;
        total.pinged += run.rig.hub().stats().pings;
        total.blocked += run.coverage.blocked;
        total.ended += run.coverage.ended;
        std::mem::forget(told);
    }
    println!("{total:?}");
    assert!(total.echoed > 1_000 && total.broadcasts > 500, "{total:?}");
    assert!(total.walks > 500 && total.walking > 1_000, "{total:?}");
    assert!(total.parked > 500 && total.pinged > 500, "{total:?}");
    assert!(total.blocked > 100 && total.ended > 5, "{total:?}");
}

/// Names the seed when a run fails.
struct OnPanic(u64);

impl Drop for OnPanic {
    fn drop(&mut self) {
        eprintln!("failed with DRIVER_SEED={}", self.0);
    }
}
