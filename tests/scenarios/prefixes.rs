//! Random handlers that send messages with prefixes, fan out, close and replace connections from
//! within every callback. A list of the messages that each receiver must get is compared with what
//! arrives.

use std::collections::HashMap;

use longlink::limits::Devices;
use longlink::sim::frames::{Got, handshake, text};
use longlink::sim::{Rng, Watch, World};
use longlink::{Accept, CloseReason, Config, ConnId, Context, Handler, Message, Reject, Upgrade};

use std::io::ErrorKind;
use std::time::Instant;

/// The code with which a replaced connection is closed.
const REPLACED: u16 = 4401;
/// The number of random worlds.
const SEEDS: u64 = 60;
/// The number of steps in each world.
const STEPS: u32 = 120;

/// A handler that does something random for each message, and remembers the messages that every
/// connection must get, in order.
struct Random {
    rng: Rng,
    open: Vec<ConnId>,
    expected: HashMap<ConnId, Vec<String>>,
    replaced: u64,
    fan_outs: u64,
    next: u64,
}

impl Random {
    fn new(seed: u64) -> Self {
        Random {
            rng: Rng::new(seed),
            open: Vec::new(),
            expected: HashMap::new(),
            replaced: 0,
            fan_outs: 0,
            next: 0,
        }
    }

    /// Makes a prefix that no other message has, and a rest. Their lengths are around those at
    /// which the header of a frame, or the way in which a message is stored, changes.
    fn message(&mut self) -> (String, String) {
        self.next += 1;
        let rng = &mut self.rng;
        let prefix = match rng.below(4) {
            0 => 0,
            1 => rng.below(20),
            2 => 235 + rng.below(25),
            _ => rng.below(300),
        };
        let rest = match rng.below(5) {
            0 => rng.below(10),
            1 => 250 + rng.below(12),
            2 => rng.below(3_000),
            3 => rng.below(9_000),
            _ => rng.below(1_100),
        };
        let prefix = format!("{}<{}>", self.next, "p".repeat(prefix as usize));
        (prefix, "r".repeat(rest as usize))
    }

    fn expect(&mut self, conn: ConnId, whole: String) {
        self.expected.entry(conn).or_default().push(whole);
    }

    fn act(&mut self, cx: &mut Context, conn: ConnId) {
        let (prefix, rest) = self.message();
        let whole = format!("{prefix}{rest}");
        match self.rng.below(9) {
            0..=3 => self.fan_out(cx, &prefix, &rest),
            4 => self.broadcast(cx, &whole),
            5 if cx.send_with_prefix(conn, &prefix, &rest) => self.expect(conn, whole),
            6 if cx.send(conn, &whole) => self.expect(conn, whole),
            5 | 6 => {}
            7 => drop(cx.reclaim(conn)),
            _ => {
                let to = *self.rng.pick(&self.open);
                cx.close(to, 4000, "bye");
            }
        }
    }

    /// Sends one rest to many connections, to some of them twice, each time with another prefix.
    fn fan_out(&mut self, cx: &mut Context, prefix: &str, rest: &str) {
        self.fan_outs += 1;
        let (twice, skips) = (self.rng.percent(20), self.rng.percent(30));
        let mut taken = Vec::new();
        cx.fan_out(rest, |out| {
            for (number, &to) in self.open.iter().enumerate() {
                if skips && number % 3 == 0 {
                    continue;
                }
                for time in 0..1 + usize::from(twice) {
                    let prefix = format!("{number}:{time}:{prefix}");
                    if out.send(to, &prefix) {
                        taken.push((to, format!("{prefix}{rest}")));
                    }
                }
            }
        });
        taken.into_iter().for_each(|(to, whole)| self.expect(to, whole));
    }

    fn broadcast(&mut self, cx: &mut Context, whole: &str) {
        let is_active = |conn: &ConnId| cx.is_open(*conn) && !cx.is_parked(*conn);
        let active: Vec<ConnId> = self.open.iter().copied().filter(is_active).collect();
        let queued = cx.broadcast(whole);
        if queued > 0 {
            assert_eq!(
                queued,
                active.len(),
                "a broadcast reaches every active connection, or none"
            );
            active.into_iter().for_each(|to| self.expect(to, whole.to_owned()));
        }
    }
}

impl Handler for Random {
    type Session = ();
    type Event = ();

    fn on_upgrade(&mut self, _: &mut Context, _: ConnId, u: Upgrade<'_>) -> Result<Accept, Reject> {
        let path = u.path().trim_start_matches('/');
        let (user, device) = path.split_once('/').unwrap_or((path, ""));
        let accept = Accept::user(user).device(device.trim_end_matches('!')).writes_are_life(true);
        Ok(if path.ends_with('!') { accept } else { accept.ends_when_replaced(REPLACED) })
    }

    fn on_open(&mut self, _: &mut Context, conn: ConnId, (): &mut ()) {
        self.open.push(conn);
    }

    fn on_message(&mut self, cx: &mut Context, conn: ConnId, (): &mut (), _: Message<'_>) {
        self.act(cx, conn);
    }

    fn on_closing(&mut self, cx: &mut Context, conn: ConnId, (): &mut (), _: &CloseReason) {
        let (prefix, rest) = self.message();
        if cx.send_with_prefix(conn, &prefix, &rest) {
            self.expect(conn, format!("{prefix}{rest}"));
        }
        let too_long = "x".repeat(2_000_000);
        assert!(
            !cx.send_with_prefix(conn, &too_long, "y"),
            "a last message that is too long is refused"
        );
    }

    fn on_close(&mut self, _: &mut Context, conn: ConnId, (): (), reason: &CloseReason) {
        self.open.retain(|known| *known != conn);
        self.replaced += u64::from(matches!(reason, CloseReason::Replaced { .. }));
    }
}

impl Watch for Random {}

/// Makes a world with bounds so low, and pipes so small, that every way of writing occurs.
fn world(seed: u64) -> World<Random> {
    let mut rng = Rng::new(!seed);
    let mut config = Config::default();
    config.max_queue = 200_000;
    config.message_rate = 0;
    config.broadcast_rate = 0;
    config.max_per_address = 0;
    config.writes_per_turn = *rng.pick(&[1, 3, 10, 1000]);
    config.work_per_turn = *rng.pick(&[2, 10, 100, 10_000]);
    config.max_per_user = *rng.pick(&[0, 1, 2, 3, 25]);
    config.devices = *rng.pick(&[Devices::One, Config::default().devices]);
    let mut world = World::new(config, Random::new(seed), Instant::now());
    world.by_sink = rng.percent(60);
    world.slices = *rng.pick(&[1, 2, 3, 64]);
    world
}

/// Does one random thing that a client or the network can do.
fn step(world: &mut World<Random>, rng: &mut Rng) {
    world.capacity = *rng.pick(&[900, 5_000, 60_000, 1 << 20]);
    let what = rng.below(14);
    let pipe = match world.pipes.len() {
        0 => None,
        count => Some(rng.index(count)),
    };
    match (what, pipe) {
        (0..=2, _) => {
            if let Some(pipe) = world.connect() {
                let mark = if rng.percent(50) { "!" } else { "" };
                let path = format!("/u{}/d{}{mark}", rng.below(3), rng.below(7));
                world.send(pipe, &handshake(&path, ""));
            }
        }
        (3..=6, Some(pipe)) if world.pipes[pipe].decoder.is_upgraded() => {
            world.send(pipe, &text("x"));
        }
        (9, Some(pipe)) => world.set_reading(pipe, rng.percent(70)),
        (10, Some(pipe)) if rng.percent(40) => world.finish(pipe),
        (10, Some(pipe)) if rng.percent(20) => world.reset(pipe, ErrorKind::ConnectionReset),
        (11, _) => world.advance(rng.below(4_000)),
        (12, _) => world.turn(),
        _ if rng.percent(30) => world.settle(),
        _ => {}
    }
}

/// Checks the messages of each receiver: it has got the first of its messages in order, and all of
/// them if its connection is open or was closed with a close frame because it was replaced.
fn check(world: &World<Random>, seed: u64) {
    let nothing = Vec::new();
    for pipe in &world.pipes {
        let expected = world.handler().expected.get(&pipe.conn).unwrap_or(&nothing);
        let got = pipe.texts();
        assert!(got.len() <= expected.len(), "seed {seed}: a receiver got more than was sent");
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let same = got == expected;
            assert!(same, "seed {seed}, message {at}: {got:.60} instead of {expected:.60}");
        }
        let is_open = world.hub.is_open(pipe.conn) && pipe.decoder.is_upgraded();
        let was_replaced = matches!(pipe.got.last(), Some(Got::Close(REPLACED, _)));
        if is_open || was_replaced {
            assert_eq!(got.len(), expected.len(), "seed {seed}: a receiver lost a message");
        }
    }
}

#[test]
fn every_receiver_gets_its_own_prefix_before_the_shared_rest_in_order() {
    let (mut fan_outs, mut replaced, mut blocks) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = world(seed);
        let mut rng = Rng::new(seed);
        for _ in 0..STEPS {
            step(&mut world, &mut rng);
        }
        for pipe in 0..world.pipes.len() {
            world.set_reading(pipe, true);
        }
        world.settle();
        check(&world, seed);
        fan_outs += world.handler().fan_outs;
        replaced += world.handler().replaced;
        blocks += world.blocks;
        for pipe in 0..world.pipes.len() {
            world.finish(pipe);
        }
        world.advance(200_000);
        world.assert_nothing_is_left();
    }
    assert!(fan_outs > 100, "only {fan_outs} fan-outs were tried");
    assert!(replaced > 10, "only {replaced} connections were replaced");
    assert!(blocks > 100, "sockets blocked only {blocks} times");
}
