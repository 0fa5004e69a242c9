//! What clients and peers have done, or could do, on a virtual clock. Each name
//! says what must come of it; each ends with nothing left behind.

mod world;

use std::time::Duration;

use longlink::{
    Accept, CloseReason, Config, ConnId, Handler, Hub, Message, Reject, Relay, RelayConfig, Reply,
    Request, Upgrade,
};
use world::codec::{self, Got, frame, handshake, request, text};
use world::{Watch, World};

const PING: &str = "ping";

/// The real relay, and a list of who came and went.
struct Recorded {
    relay: Relay,
    opened: u64,
    closed: Vec<(String, CloseReason)>,
}

impl Handler for Recorded {
    fn on_upgrade(&mut self, h: &mut Hub, c: ConnId, u: Upgrade<'_>) -> Result<Accept, Reject> {
        self.relay.on_upgrade(h, c, u)
    }

    fn on_request(&mut self, hub: &mut Hub, conn: ConnId, request: &Request<'_>) -> Reply {
        self.relay.on_request(hub, conn, request)
    }

    fn on_open(&mut self, hub: &mut Hub, conn: ConnId) {
        self.opened += 1;
        self.relay.on_open(hub, conn);
    }

    fn on_message(&mut self, hub: &mut Hub, conn: ConnId, message: Message<'_>) {
        self.relay.on_message(hub, conn, message);
    }

    fn on_close(&mut self, hub: &mut Hub, conn: ConnId, reason: &CloseReason) {
        let user = hub.user(conn).expect("the user answers inside on_close");
        self.closed.push((user.to_owned(), reason.clone()));
    }
}

impl Watch for Recorded {}

type Link = World<Recorded>;

fn link_with(config: Config) -> Link {
    let relay = Relay::new(RelayConfig::default());
    World::new(config, Recorded { relay, opened: 0, closed: Vec::new() })
}

fn link() -> Link {
    link_with(Config::default())
}

/// A client connects as this user, and its handshake is answered.
fn enter(link: &mut Link, path: &str) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &handshake(&format!("/websocket/{path}"), ""));
    link.settle();
    pipe
}

fn say(link: &mut Link, pipe: usize, message: &str) {
    link.send(pipe, &text(message));
    link.settle();
}

fn is_parked(link: &Link, pipe: usize) -> bool {
    link.hub.is_parked(link.pipes[pipe].conn)
}

fn is_open(link: &Link, pipe: usize) -> bool {
    link.hub.is_open(link.pipes[pipe].conn)
}

fn status(link: &Link, pipe: usize) -> Option<u16> {
    match link.pipes[pipe].got.first() {
        Some(Got::Http(status, ..)) => Some(*status),
        _ => None,
    }
}

fn statuses(link: &Link, pipe: usize) -> Vec<u16> {
    let status = |got: &Got| if let Got::Http(status, ..) = got { Some(*status) } else { None };
    link.pipes[pipe].got.iter().filter_map(status).collect()
}

fn close_code(link: &Link, pipe: usize) -> Option<u16> {
    match link.pipes[pipe].got.last() {
        Some(Got::Close(code, _)) => Some(*code),
        _ => None,
    }
}

fn pings(link: &Link, pipe: usize) -> usize {
    link.pipes[pipe].got.iter().filter(|got| matches!(got, Got::Ping(_))).count()
}

fn to(user: &str, message: &str) -> String {
    format!(r#"{{"toUserId":"{user}","message":"{message}"}}"#)
}

fn from(sender: &str, user: &str, message: &str) -> String {
    format!(
        r#"{{"type":"message","formUserId":"{sender}","toUserId":"{user}","message":"{message}"}}"#
    )
}

/// Everybody leaves; nothing is left of them.
fn leak_check(mut link: Link) {
    for pipe in 0..link.pipes.len() {
        link.set_reading(pipe, true);
        link.finish(pipe);
    }
    link.advance(20_000);
    link.assert_nothing_is_left();
    assert_eq!(link.handler.opened, link.handler.closed.len() as u64);
}

/// The published page: a heartbeat every 10 s that is re-armed by whatever
/// arrives, a wait of 3 s for its answer, and then another socket, without
/// closing the old one; any close of any of its sockets reconnects after 2 s.
struct Page {
    path: &'static str,
    /// Whether what is below the page answers WebSocket pings.
    answers_pings: bool,
    sockets: Vec<usize>,
    /// How much of each socket has been looked at.
    seen: Vec<usize>,
    told_of_close: Vec<bool>,
    connects: u64,
    heartbeat_at: u64,
    answer_by: Option<u64>,
    connect_at: Option<u64>,
}

impl Page {
    fn new(path: &'static str, answers_pings: bool) -> Self {
        Page {
            path,
            answers_pings,
            sockets: Vec::new(),
            seen: Vec::new(),
            told_of_close: Vec::new(),
            connects: 0,
            heartbeat_at: 0,
            answer_by: None,
            connect_at: Some(0),
        }
    }

    fn step(&mut self, link: &mut Link) {
        for i in 0..self.sockets.len() {
            let pipe = &link.pipes[self.sockets[i]];
            let (shut, got) = (pipe.shut || pipe.closed, pipe.got[self.seen[i]..].to_vec());
            self.seen[i] += got.len();
            for got in got {
                match got {
                    Got::Text(_) => {
                        self.heartbeat_at = link.now + 10_000;
                        self.answer_by = None;
                    }
                    Got::Ping(payload) if self.answers_pings => {
                        let pong = frame(0x80 | codec::PONG, &payload, [1, 2, 3, 4]);
                        link.send(self.sockets[i], &pong);
                    }
                    _ => {}
                }
            }
            if shut && !self.told_of_close[i] {
                self.told_of_close[i] = true;
                self.connect_at.get_or_insert(link.now + 2_000);
                let socket = self.sockets[i];
                link.finish(socket);
            }
        }
        if self.answer_by.is_some_and(|at| at <= link.now) {
            self.answer_by = None;
            self.connect_at = Some(link.now);
        }
        if self.connect_at.is_some_and(|at| at <= link.now) {
            self.connect_at = None;
            let socket = enter(link, self.path);
            self.sockets.push(socket);
            self.seen.push(0);
            self.told_of_close.push(false);
            self.connects += 1;
            self.heartbeat_at = link.now + 10_000;
        } else if self.heartbeat_at <= link.now && self.connect_at.is_none() {
            let socket = *self.sockets.last().expect("a socket");
            say(link, socket, PING);
            self.heartbeat_at = link.now + 10_000;
            self.answer_by = Some(link.now + 3_000);
        }
    }
}

/// Half an hour of a page of which nothing is heard, and which hears nothing,
/// for 32 s: how often it connected.
fn connects_after_a_stall(answers_pings: bool) -> u64 {
    let mut link = link();
    let mut page = Page::new("A", answers_pings);
    for second in 0..30 * 60 {
        let stalled = (60..92).contains(&second);
        for socket in page.sockets.clone() {
            link.set_reading(socket, !stalled);
        }
        page.step(&mut link);
        link.advance(1_000);
    }
    leak_check(link);
    page.connects
}

#[test]
fn one_stall_of_a_page_does_not_start_a_reconnect_loop() {
    let connects = connects_after_a_stall(true);
    assert!((2..=5).contains(&connects), "{connects} connects in 30 minutes");
}

#[test]
fn nor_does_it_when_nobody_answers_websocket_pings() {
    let connects = connects_after_a_stall(false);
    assert!((2..=5).contains(&connects), "{connects} connects in 30 minutes");
}

#[test]
fn two_phones_with_one_id_do_not_throw_each_other_out() {
    for answers_pings in [true, false] {
        let mut link = link();
        let mut phones = [Page::new("A", answers_pings), Page::new("A", answers_pings)];
        for _ in 0..10 * 60 {
            phones.iter_mut().for_each(|phone| phone.step(&mut link));
            link.advance(1_000);
        }
        let connects: u64 = phones.iter().map(|phone| phone.connects).sum();
        assert_eq!(connects, 2);
        leak_check(link);
    }
}

#[test]
fn when_the_active_connection_ends_the_parked_one_heard_last_gets_the_messages() {
    let mut link = link();
    let [first, second, third] = [(); 3].map(|()| {
        link.advance(100);
        enter(&mut link, "A")
    });
    let other = enter(&mut link, "B");
    link.advance(500);
    say(&mut link, first, PING);
    assert!(is_parked(&link, first) && is_parked(&link, second) && !is_parked(&link, third));
    link.finish(third);
    link.settle();
    assert!(!is_parked(&link, first) && is_parked(&link, second));
    say(&mut link, other, &to("A", "who is it"));
    assert_eq!(link.pipes[first].texts().last(), Some(&&from("B", "A", "who is it")[..]));
    assert!(link.pipes[second].texts().is_empty() && link.pipes[third].texts().is_empty());
    assert!(link.hub.is_online("A"));
    leak_check(link);
}

#[test]
fn a_parked_connection_that_speaks_after_two_seconds_of_silence_becomes_active() {
    let mut link = link();
    let old = enter(&mut link, "A");
    let new = enter(&mut link, "A");
    link.advance(2_000);
    say(&mut link, old, PING);
    assert!(is_parked(&link, old), "a heartbeat does not promote");
    say(&mut link, old, &to("A", "it is me"));
    assert!(!is_parked(&link, old) && is_parked(&link, new));
    assert_eq!(link.pipes[old].texts(), [r#"{"type":"pong"}"#, &from("A", "A", "it is me")]);
    leak_check(link);
}

#[test]
fn a_parked_connection_stays_parked_while_the_active_one_speaks() {
    let mut link = link();
    let old = enter(&mut link, "A");
    let new = enter(&mut link, "A");
    link.advance(1_000);
    say(&mut link, new, PING);
    link.advance(9_000);
    say(&mut link, old, &to("A", "it is me"));
    assert!(is_parked(&link, old) && !is_parked(&link, new));
    assert_eq!(link.pipes[new].texts().last(), Some(&&from("A", "A", "it is me")[..]));
    leak_check(link);
}

#[test]
fn bytes_in_flight_do_not_promote_a_dead_socket() {
    let mut link = link();
    let old = enter(&mut link, "A");
    let new = enter(&mut link, "A");
    link.advance(1_999);
    say(&mut link, old, &to("B", "late"));
    assert!(is_parked(&link, old) && !is_parked(&link, new));
    leak_check(link);
}

#[test]
fn a_fifth_parked_connection_ends_the_one_silent_longest_but_only_every_30_seconds() {
    let mut link = link();
    let mut pipes = Vec::new();
    for _ in 0..5 {
        pipes.push(enter(&mut link, "A"));
        link.advance(1_000);
    }
    say(&mut link, pipes[0], PING);
    let sixth = enter(&mut link, "A");
    assert!(!is_parked(&link, sixth));
    assert_eq!(close_code(&link, pipes[1]), Some(1008), "the second was silent longest");
    assert!(is_open(&link, pipes[0]));

    let seventh = enter(&mut link, "A");
    assert_eq!(status(&link, seventh), None, "held for a moment");
    link.advance(900);
    assert_eq!(status(&link, seventh), None);
    link.advance(200);
    assert_eq!(status(&link, seventh), Some(503));
    let Got::Http(_, head, _) = &link.pipes[seventh].got[0] else { unreachable!() };
    assert!(head.contains("Retry-After: "));

    for _ in 0..4 {
        link.advance(7_000);
        for pipe in [pipes[0], pipes[2], pipes[3], pipes[4], sixth] {
            say(&mut link, pipe, PING);
        }
    }
    link.advance(1_000);
    let eighth = enter(&mut link, "A");
    assert_eq!(status(&link, eighth), Some(101));
    assert_eq!(close_code(&link, pipes[0]), Some(1008));
    leak_check(link);
}

#[test]
fn all_connections_of_a_user_together_are_at_most_25() {
    let mut link = link();
    for device in 0..25 {
        let pipe = enter(&mut link, &format!("A?device={device}"));
        assert_eq!(status(&link, pipe), Some(101));
    }
    let pipe = enter(&mut link, "A?device=25");
    link.advance(2_000);
    assert_eq!(status(&link, pipe), Some(503));
    assert_eq!(link.hub.connections_of("A").len(), 25);
    leak_check(link);
}

#[test]
fn a_busy_receiver_that_never_sends_lives_until_it_has_once_answered_a_ping() {
    let mut link = link();
    let silent = enter(&mut link, "A");
    let sender = enter(&mut link, "B");
    for _ in 0..60 {
        link.advance(5_000);
        say(&mut link, sender, &to("A", "are you there"));
    }
    assert!(is_open(&link, silent), "what was written to it is a sign of life");
    assert_eq!(pings(&link, silent), 0);

    link.send(silent, &frame(0x80 | codec::PONG, b"", [1, 2, 3, 4]));
    for _ in 0..11 {
        link.advance(5_000);
        say(&mut link, sender, &to("A", "are you there"));
    }
    assert!(is_open(&link, silent));
    assert_eq!(pings(&link, silent), 1);
    link.advance(5_100);
    assert_eq!(close_code(&link, silent), Some(1001));
    assert!(is_open(&link, sender));
    leak_check(link);
}

#[test]
fn silence_is_pinged_after_25_seconds_and_expired_after_60() {
    let mut link = link();
    let pipe = enter(&mut link, "A");
    link.advance(24_999);
    assert_eq!(pings(&link, pipe), 0);
    link.advance(1 + longlink::TICK_MS);
    assert_eq!(pings(&link, pipe), 1);
    link.advance(34_980);
    assert!(is_open(&link, pipe));
    link.advance(4 + longlink::TICK_MS);
    assert_eq!((close_code(&link, pipe), pings(&link, pipe)), (Some(1001), 1));
    link.finish(pipe);
    link.settle();
    assert_eq!(link.handler.closed, [("A".to_owned(), CloseReason::Idle)]);
    leak_check(link);
}

#[test]
fn a_message_that_trickles_in_is_ended_after_its_time() {
    let mut link = link();
    let pipe = enter(&mut link, "A");
    let bytes = text("a message with a byte every five seconds");
    for byte in &bytes[..6] {
        link.send(pipe, &[*byte]);
        link.advance(5_000);
    }
    link.advance(longlink::TICK_MS);
    assert_eq!(close_code(&link, pipe), Some(1008));
    leak_check(link);
}

#[test]
fn pings_cut_at_every_read_are_not_a_message_that_takes_too_long() {
    let mut link = link();
    let pipe = enter(&mut link, "A");
    let ping = frame(0x80 | codec::PING, b"keepalive", [1, 2, 3, 4]);
    link.send(pipe, &ping[..5]);
    for _ in 0..20 {
        link.advance(5_000);
        let next = [&ping[5..], &ping[..5]].concat();
        link.send(pipe, &next);
    }
    link.settle();
    assert!(is_open(&link, pipe), "{:?}", link.pipes[pipe].got);
    leak_check(link);
}

#[test]
fn a_head_has_eight_seconds_however_it_trickles() {
    let mut link = link();
    let silent = link.connect().unwrap();
    let trickling = link.connect().unwrap();
    for byte in &handshake("/websocket/A", "")[..79] {
        link.send(trickling, &[*byte]);
        link.advance(100);
    }
    assert!(!link.pipes[silent].closed && !link.pipes[trickling].closed);
    link.advance(100 + longlink::TICK_MS);
    assert!(link.pipes[silent].closed && link.pipes[trickling].closed);
    leak_check(link);
}

#[test]
fn a_plain_connection_is_kept_for_five_seconds_and_a_hundred_requests() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    for _ in 0..99 {
        link.send(pipe, &request("GET", "/healthz", ""));
        link.advance(4_900);
    }
    assert_eq!(statuses(&link, pipe), [200; 99]);
    link.send(pipe, &request("GET", "/healthz", ""));
    link.settle();
    let Some(Got::Http(200, head, _)) = link.pipes[pipe].got.last() else { panic!("no answer") };
    assert!(head.contains("Connection: close") && link.pipes[pipe].shut);

    let idle = link.connect().unwrap();
    link.send(idle, &request("GET", "/healthz", ""));
    link.advance(4_990);
    assert!(!link.pipes[idle].closed);
    link.advance(10 + longlink::TICK_MS);
    assert!(link.pipes[idle].closed);
    leak_check(link);
}

#[test]
fn pipelined_requests_are_answered_one_at_a_time_and_in_order() {
    let mut link = link();
    link.capacity = 60;
    let pipe = link.connect().unwrap();
    let paths = ["/healthz", "/nowhere", "/healthz", "/websocket/A", "/"];
    let all: Vec<u8> = paths.iter().flat_map(|path| request("GET", path, "")).collect();
    link.set_reading(pipe, false);
    link.send(pipe, &all);
    link.advance(1_000);
    assert!(link.hub.queued(link.pipes[pipe].conn) < 200, "one answer is queued, not five");
    link.set_reading(pipe, true);
    link.settle();
    assert_eq!(statuses(&link, pipe), [200, 404, 200, 426, 200]);
    leak_check(link);
}

#[test]
fn a_request_and_a_handshake_in_one_segment_with_a_message_are_all_handled() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    let all = [request("GET", "/healthz", ""), handshake("/websocket/A", ""), text(PING)].concat();
    link.send(pipe, &all);
    link.finish(pipe);
    link.settle();
    assert_eq!(statuses(&link, pipe), [200, 101]);
    assert_eq!(link.pipes[pipe].texts(), [r#"{"type":"pong"}"#]);
    leak_check(link);
}

#[test]
fn a_shutdown_tells_everyone_1001() {
    let mut link = link();
    let open: Vec<usize> = (0..20).map(|user| enter(&mut link, &format!("u{user}"))).collect();
    let parked = enter(&mut link, "u0");
    let stalled = enter(&mut link, "stalled");
    link.set_reading(stalled, false);
    let shaking = link.connect().unwrap();
    link.shutdown();
    link.settle();
    for pipe in open.iter().chain([&parked]) {
        assert_eq!(close_code(&link, *pipe), Some(1001));
        link.finish(*pipe);
    }
    link.send(shaking, &handshake("/websocket/late", ""));
    link.settle();
    assert_eq!(status(&link, shaking), Some(503));
    assert!(!link.hub.is_drained());
    link.advance(6_000);
    assert!(link.hub.is_drained(), "within the close timeout, whoever does not read");
    leak_check(link);
}

#[test]
fn a_spent_work_budget_loses_nothing() {
    let mut config = Config::default();
    config.work_per_turn = 3;
    config.writes_per_turn = 2;
    let mut link = link_with(config);
    let pipes: Vec<usize> = (0..10).map(|user| enter(&mut link, &format!("u{user}"))).collect();
    for (user, &pipe) in pipes.iter().enumerate() {
        let all: Vec<u8> = (0..200)
            .flat_map(|n| text(&to(&format!("u{}", (user + 1) % 10), &n.to_string())))
            .collect();
        link.send(pipe, &all);
        link.finish(pipe);
    }
    link.settle();
    assert!(link.turns > 600);
    // Whoever finished first was gone before its sender was done; nobody got
    // anything twice or out of order.
    let mut total = 0;
    for (user, &pipe) in pipes.iter().enumerate() {
        let sender = format!("u{}", (user + 9) % 10);
        let receiver = format!("u{user}");
        for (n, got) in link.pipes[pipe].texts().iter().enumerate() {
            assert_eq!(*got, from(&sender, &receiver, &n.to_string()));
            total += 1;
        }
    }
    assert!(total > 1_500, "{total}");
    leak_check(link);
}

#[test]
fn a_flood_of_broadcasts_does_not_keep_others_from_being_heard() {
    let mut config = Config::default();
    config.work_per_turn = 100;
    let mut link = link_with(config);
    let flooder = enter(&mut link, "flooder");
    let other = enter(&mut link, "other");
    for user in 0..200 {
        enter(&mut link, &format!("u{user}"));
    }
    let flood: Vec<u8> = (0..300).flat_map(|_| text("x")).collect();
    link.send(flooder, &flood);
    link.turn();
    link.turn();
    link.send(other, &text(PING));
    for _ in 0..20 {
        link.turn();
    }
    let pong = r#"{"type":"pong"}"#;
    assert!(link.pipes[other].texts().contains(&pong), "it waits behind the whole flood");
    link.settle();
    leak_check(link);
}

/// One segment of 9,000 broadcasts of one byte each, with the default limits.
fn flood(receivers: usize) {
    let due = r#"{"type":"broadcast","formUserId":"s","message":"x"}"#;
    let mut config = Config::default();
    config.max_connections = receivers + 1;
    let mut link = link_with(config);
    for user in 0..receivers {
        let pipe = link.connect().unwrap();
        link.pipes[pipe].counted.0 = due.to_owned();
        link.send(pipe, &handshake(&format!("/websocket/u{user}"), ""));
    }
    link.settle();
    let sender = enter(&mut link, "s");
    link.pipes[sender].counted.0 = due.to_owned();
    let flood: Vec<u8> = (0..9_000).flat_map(|_| text("x")).collect();
    assert!(flood.len() <= longlink::READ_SIZE);
    link.send(sender, &flood);
    link.settle();
    for pipe in &link.pipes {
        assert_eq!((pipe.counted.1, pipe.got.len()), (9_000, 1), "all of them, and the 101");
    }
    leak_check(link);
}

#[test]
fn nine_thousand_one_byte_broadcasts_in_one_segment_reach_a_thousand() {
    flood(1_000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "90,000,000 deliveries: in a release build")]
fn nine_thousand_one_byte_broadcasts_in_one_segment_reach_ten_thousand() {
    flood(10_000);
}

#[test]
fn a_long_escaped_broadcast_throws_nobody_out() {
    let mut link = link();
    let sender = enter(&mut link, "A");
    let reader = enter(&mut link, "B");
    let slow = enter(&mut link, "C");
    link.set_reading(slow, false);
    say(&mut link, sender, "hello");
    say(&mut link, sender, &"\u{1}".repeat(65_536));
    assert!([sender, reader, slow].into_iter().all(|pipe| is_open(&link, pipe)));
    assert_eq!(link.hub.stats().too_long, 1);
    say(&mut link, sender, "on we go");
    assert_eq!(link.pipes[reader].texts().len(), 2);
    leak_check(link);
}

#[test]
fn what_is_written_in_time_costs_nobody_a_connection_when_memory_is_short() {
    let mut config = Config::default();
    config.max_buffered = 10_000;
    let mut link = link_with(config);
    let slow_sender = enter(&mut link, "A");
    let sender = enter(&mut link, "B");
    // Half a message waits; it is no more than a few bytes.
    link.send(slow_sender, &text("half of this")[..8]);
    link.settle();
    say(&mut link, sender, &to("B", &"x".repeat(20_000)));
    assert_eq!(link.pipes[sender].texts().len(), 1, "it was written in its turn");
    assert!(is_open(&link, slow_sender), "and nobody had to go for it");
    leak_check(link);
}

#[test]
fn past_max_buffered_those_go_who_hold_most() {
    let mut config = Config::default();
    config.max_buffered = 100_000;
    let mut link = link_with(config);
    link.capacity = 100;
    let stalled: Vec<usize> = (0..3).map(|user| enter(&mut link, &format!("s{user}"))).collect();
    stalled.iter().for_each(|&pipe| link.set_reading(pipe, false));
    let sender = enter(&mut link, "A");
    for round in 0..9 {
        for (user, _) in stalled.iter().enumerate() {
            let message = "x".repeat(3_000 + 1_000 * user);
            say(&mut link, sender, &to(&format!("s{user}"), &message));
            assert!(link.hub.buffered() <= 100_000, "in round {round}");
        }
    }
    let open: Vec<bool> = stalled.iter().map(|&pipe| is_open(&link, pipe)).collect();
    assert_eq!(open, [true, true, false]);
    assert_eq!(link.handler.closed, [("s2".to_owned(), CloseReason::Memory)]);
    leak_check(link);
}

#[test]
fn a_thousand_who_never_read_cost_no_more_than_the_bounds() {
    let mut config = Config::default();
    config.max_queue = 70_000;
    config.max_message = 60_000;
    config.max_buffered = 4_000_000;
    let mut link = link_with(config);
    link.capacity = 1_000;
    for user in 0..1_000 {
        let pipe = link.connect().unwrap();
        link.send(pipe, &handshake(&format!("/websocket/s{user}"), ""));
    }
    link.settle();
    (0..1_000).for_each(|pipe| link.set_reading(pipe, false));
    link.capacity = 1 << 20;
    let sender = enter(&mut link, "A");
    for _ in 0..30 {
        say(&mut link, sender, &"x".repeat(5_000));
        assert!(link.hub.buffered() <= 4_000_000);
    }
    assert_eq!(link.pipes[sender].texts().len(), 30, "whoever reads gets everything");
    assert_eq!(link.hub.stats().slow_readers, 1_000);
    leak_check(link);
}

#[test]
fn a_slow_reader_that_does_read_is_not_expired() {
    let mut config = Config::default();
    config.ping_after = Duration::from_secs(25);
    let mut link = link_with(config);
    link.capacity = 500;
    let slow = enter(&mut link, "A");
    link.capacity = 1 << 20;
    let sender = enter(&mut link, "B");
    // It reads 500 bytes a second, and always has more to read.
    link.set_reading(slow, false);
    for second in 0..180 {
        if second % 2 == 0 {
            say(&mut link, sender, &to("A", &"x".repeat(900)));
        }
        link.set_reading(slow, true);
        link.turn();
        link.set_reading(slow, false);
        link.advance(1_000);
        say(&mut link, sender, PING);
    }
    assert!(is_open(&link, slow), "closed: {:?}", link.handler.closed);
    leak_check(link);
}
