//! Several connections of one user: the published page never closes its old socket.

use crate::*;
use longlink::sim::frames::{self, Got, frame};

/// The published page. It sends a heartbeat 10 s after the last text has arrived, waits 3 s for the answer,
/// and then opens another socket without closing the old one. When any of its sockets is closed, it
/// connects again after 2 s.
struct Page {
    path: &'static str,
    /// Whether the platform of the page answers WebSocket pings.
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
                        let pong = frame(0x80 | frames::PONG, &payload, [1, 2, 3, 4]);
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

/// Runs a page for half an hour, in which for 32 s no byte passes in either direction. Returns how
/// often the page connected.
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
fn one_stall_of_a_page_that_answers_no_websocket_pings_starts_no_reconnect_loop() {
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
fn the_30_seconds_after_a_connection_was_ended_count_for_its_device_alone_and_to_the_millisecond() {
    let mut link = link();
    for device in ["pad", "phone"] {
        for _ in 0..5 {
            enter(&mut link, &format!("A?device={device}"));
            link.advance(100);
        }
    }
    let came = |link: &mut Link, device: &str| {
        let pipe = enter(link, &format!("A?device={device}"));
        status(link, pipe) == Some(101)
    };
    let first = link.now;
    assert!(came(&mut link, "pad") && !came(&mut link, "pad"));
    link.advance(10_000);
    assert!(came(&mut link, "phone") && !came(&mut link, "phone"));
    link.advance(first + 29_999 - link.now);
    assert!(!came(&mut link, "pad"));
    link.advance(1);
    assert!(came(&mut link, "pad") && !came(&mut link, "phone"));
    leak_check(link);
}
