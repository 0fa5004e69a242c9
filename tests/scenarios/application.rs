//! What an application is promised: its sessions, its timers, its later answers, its events, and
//! its last word on a connection that the server closes.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use longlink::http::{Request, Response};
use longlink::limits::GroupError;
use longlink::sim::Watch;
use longlink::sim::frames::{self, request};
use longlink::{Accept, Handler, Message, Reject, Reply, Upgrade};

use super::*;

/// A session that counts how many of its kind exist.
struct Kept(Rc<Cell<usize>>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// An application that records its callbacks.
#[derive(Default)]
struct App {
    alive: Rc<Cell<usize>>,
    made: usize,
    /// Sessions that were given back to `on_close` and to `on_turned_away`.
    closed: usize,
    turned_away: usize,
    reasons: Vec<CloseReason>,
    timers: Vec<u32>,
    asked: Vec<ConnId>,
    answered: Vec<bool>,
    /// A connection that is greeted in the last word of another one.
    other: Option<ConnId>,
}

enum Event {
    Answer(ConnId, &'static str),
}

impl Handler for App {
    type Session = Kept;
    type Event = Event;

    fn on_upgrade(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<Kept>, Reject> {
        self.made += 1;
        self.alive.set(self.alive.get() + 1);
        if upgrade.path() == "/ended" {
            cx.abort(conn);
        }
        let accept = match upgrade.path().strip_prefix("/user/") {
            Some(user) => Accept::user(user),
            None => Accept::anonymous(),
        };
        Ok(accept.session(Kept(Rc::clone(&self.alive))))
    }

    fn on_turned_away(&mut self, _: &mut Context, _: Kept) {
        self.turned_away += 1;
    }

    fn on_request(&mut self, _: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        if request.path() == "/later" {
            self.asked.push(conn);
            return Reply::Later;
        }
        Response::text(200, "now").into()
    }

    fn on_message(&mut self, cx: &mut Context, conn: ConnId, _: &mut Kept, m: Message<'_>) {
        match m {
            Message::Text("close") => {
                cx.close(conn, 4000, "asked for");
                assert!(!cx.send(conn, "too late"), "only the last word may still be sent");
                assert_eq!(cx.broadcast("to everyone else"), cx.phases().open);
            }
            Message::Text("abort") => cx.abort(conn),
            _ => {}
        }
    }

    fn on_closing(&mut self, cx: &mut Context, conn: ConnId, _: &mut Kept, reason: &CloseReason) {
        self.reasons.push(reason.clone());
        assert!(cx.send(conn, "bye"));
        if let Some(other) = self.other {
            cx.send(other, "somebody leaves");
        }
    }

    fn on_timer(&mut self, cx: &mut Context, key: u32) {
        self.timers.push(key);
        if key == 7 {
            assert!(cx.set_timer(8, cx.now() + Duration::from_secs(1)));
        }
    }

    fn on_event(&mut self, cx: &mut Context, event: Event) {
        let Event::Answer(conn, text) = event;
        self.answered.push(cx.respond_to(conn, &Response::text(200, text)));
    }

    fn on_close(&mut self, _: &mut Context, _: ConnId, _: Kept, _: &CloseReason) {
        self.closed += 1;
    }
}

impl Watch for App {}

fn world(change: impl FnOnce(&mut Config)) -> World<App> {
    let mut config = Config::default();
    change(&mut config);
    World::new(config, App::default(), Instant::now())
}

fn enter(world: &mut World<App>, path: &str) -> usize {
    let pipe = world.connect().expect("room");
    world.send(pipe, &handshake(path, ""));
    world.settle();
    pipe
}

fn ask(world: &mut World<App>, method: &str, path: &str) -> usize {
    let pipe = world.connect().expect("room");
    world.send(pipe, &request(method, path, ""));
    world.settle();
    pipe
}

fn answer(world: &mut World<App>, conn: ConnId, text: &'static str) {
    let now = world.instant();
    world.hub.deliver(Event::Answer(conn, text), now);
    world.settle();
}

fn answers(world: &World<App>, pipe: usize) -> Vec<(u16, String)> {
    let http = |got: &Got| match got {
        Got::Http(status, _, body) => Some((*status, String::from_utf8(body.clone()).unwrap())),
        _ => None,
    };
    world.pipes[pipe].got.iter().filter_map(http).collect()
}

/// Lets all clients leave, and checks that each session was given back once.
fn everything_is_given_back(mut world: World<App>) {
    for pipe in 0..world.pipes.len() {
        world.set_reading(pipe, true);
        world.finish(pipe);
    }
    world.settle();
    assert_eq!(world.hub.connections(), 0, "a client that reads and ends its side is gone at once");
    world.advance(40_000);
    world.assert_nothing_is_left();
    let app = world.handler();
    assert_eq!(app.alive.get(), 0);
    assert_eq!(app.made, app.closed + app.turned_away);
}

#[test]
fn a_session_is_given_back_once_however_an_open_connection_ends() {
    type End = fn(&mut World<App>, usize);
    let ends: [(&str, End); 7] = [
        ("the peer ends its stream", |world, pipe| world.finish(pipe)),
        ("the connection breaks", |world, pipe| {
            world.reset(pipe, std::io::ErrorKind::ConnectionReset);
        }),
        ("the peer closes", |world, pipe| {
            world.send(pipe, &frames::close(1000));
        }),
        ("the handler closes", |world, pipe| world.send(pipe, &text("close"))),
        ("the handler aborts", |world, pipe| world.send(pipe, &text("abort"))),
        ("the connection is idle", |world, _| world.advance(120_000)),
        ("the server goes down", |world, _| world.shutdown()),
    ];
    for (name, end) in ends {
        let mut world = world(|_| {});
        let pipe = enter(&mut world, "/user/A");
        assert_eq!(world.handler().alive.get(), 1, "{name}");
        end(&mut world, pipe);
        // The peer answers nothing, and ends its side.
        world.settle();
        world.finish(pipe);
        world.settle();
        assert_eq!((world.handler().closed, world.handler().turned_away), (1, 0), "{name}");
        everything_is_given_back(world);
    }
}

#[test]
fn a_session_is_given_back_when_its_reader_is_slow() {
    let mut world = world(|_| {});
    world.capacity = 1_000;
    let pipe = enter(&mut world, "/user/A");
    world.set_reading(pipe, false);
    let conn = world.pipes[pipe].conn;
    for _ in 0..20 {
        world.hub.send(conn, &*"x".repeat(60_000));
        world.settle();
    }
    assert_eq!((world.handler().closed, world.handler().alive.get()), (1, 0));
    everything_is_given_back(world);
}

#[test]
fn a_session_is_given_back_when_the_server_refuses_the_handshake_all_the_same() {
    let mut full = world(|config| config.max_connections = 1);
    enter(&mut full, "/");
    let refused = enter(&mut full, "/");
    assert_eq!(answers(&full, refused)[0].0, 503);
    assert_eq!(full.handler().turned_away, 1);
    everything_is_given_back(full);

    let mut crowded = world(|config| config.max_per_user = 1);
    enter(&mut crowded, "/user/A");
    enter(&mut crowded, "/user/A");
    assert_eq!(crowded.handler().turned_away, 1);
    everything_is_given_back(crowded);

    let mut ended = world(|_| {});
    enter(&mut ended, "/ended");
    assert_eq!((ended.handler().turned_away, ended.handler().closed), (1, 0));
    everything_is_given_back(ended);

    let mut going = world(|_| {});
    let late = going.connect().unwrap();
    going.shutdown();
    going.send(late, &handshake("/", ""));
    going.settle();
    assert_eq!((going.handler().made, going.handler().turned_away), (1, 1));
    everything_is_given_back(going);
}

#[test]
fn sessions_are_dropped_with_the_hub() {
    let mut world = world(|_| {});
    enter(&mut world, "/user/A");
    let alive = Rc::clone(&world.handler().alive);
    drop(world);
    assert_eq!(alive.get(), 0);
}

#[test]
fn the_last_word_of_an_application_precedes_the_close_frame() {
    type Close = fn(&mut World<App>, usize);
    let closes: [(u16, Close); 3] = [
        (4000, |world, pipe| world.send(pipe, &text("close"))),
        (1001, |world, _| world.shutdown()),
        (1002, |world, pipe| world.send(pipe, &frames::masked(0xF1, b""))),
    ];
    for (code, close) in closes {
        let mut world = world(|_| {});
        let (pipe, other) = (enter(&mut world, "/user/A"), enter(&mut world, "/user/B"));
        world.handler_mut().other = Some(world.pipes[other].conn);
        world.pipes[pipe].got.clear();
        close(&mut world, pipe);
        world.settle();
        let got = &world.pipes[pipe].got;
        assert!(
            matches!(&got[..], [Got::Text(bye), Got::Close(it, _)] if bye == "bye" && *it == code),
            "{code}: {got:?}"
        );
        everything_is_given_back(world);
    }
}

#[test]
fn there_is_no_last_word_when_the_peer_closes_or_the_handler_aborts() {
    let mut world = world(|_| {});
    let closing = enter(&mut world, "/user/A");
    world.send(closing, &frames::close(1000));
    let aborted = enter(&mut world, "/user/B");
    world.send(aborted, &text("abort"));
    world.settle();
    assert_eq!(world.handler().reasons, []);
    everything_is_given_back(world);
}

#[test]
fn timers_are_set_replaced_cleared_and_set_again_from_a_callback() {
    let mut world = world(|_| {});
    let in_seconds = |world: &World<App>, n| world.instant() + Duration::from_secs(n);
    for (key, seconds) in [(1, 5), (2, 2), (3, 3), (1, 1), (7, 4)] {
        let at = in_seconds(&world, seconds);
        assert!(world.hub.set_timer(key, at));
    }
    world.hub.clear_timer(3);
    world.hub.clear_timer(4);
    world.advance(4_500);
    assert_eq!(world.handler().timers, [1, 2, 7]);
    world.advance(10_000);
    assert_eq!(world.handler().timers, [1, 2, 7, 8]);
    let at = in_seconds(&world, 1);
    assert!(!world.hub.set_timer(Context::MOST_TIMERS, at));
    assert_eq!(world.hub.next_deadline(), None);
    assert!(world.hub.set_timer(Context::MOST_TIMERS - 1, at));
    world.hub.clear_timer(Context::MOST_TIMERS - 1);
    for key in 100..1_100 {
        assert!(world.hub.set_timer(key, at));
    }
    world.advance(2_000);
    assert_eq!(world.handler().timers.len(), 4 + 1_000, "each of them once");
    everything_is_given_back(world);
}

#[test]
fn a_request_is_answered_later_once_and_the_next_one_waits_for_that() {
    let mut world = world(|_| {});
    let pipe = world.connect().unwrap();
    world.send(pipe, &[request("GET", "/later", ""), request("GET", "/now", "")].concat());
    world.settle();
    assert_eq!(answers(&world, pipe), []);
    let conn = world.handler().asked[0];
    answer(&mut world, conn, "found");
    let expected = [(200, "found".to_owned()), (200, "now".to_owned())];
    let trimmed = |world: &World<App>| -> Vec<_> {
        answers(world, pipe).into_iter().map(|(s, body)| (s, body.trim().to_owned())).collect()
    };
    assert_eq!(trimmed(&world), expected);
    answer(&mut world, conn, "found again");
    assert_eq!(world.handler().answered, [true, false]);
    assert_eq!(trimmed(&world), expected);
    everything_is_given_back(world);
}

#[test]
fn the_end_of_an_earlier_answer_does_not_let_a_request_overtake_one_that_is_answered_later() {
    let mut world = world(|_| {});
    let pipe = world.connect().unwrap();
    let requests = ["/now", "/later", "/now"].map(|path| request("GET", path, ""));
    world.send(pipe, &requests.concat());
    world.settle();
    assert_eq!(answers(&world, pipe).len(), 1, "the first answer is written");
    let conn = world.handler().asked[0];
    answer(&mut world, conn, "found");
    let bodies = answers(&world, pipe).into_iter().map(|(_, body)| body.trim().to_owned());
    assert_eq!(bodies.collect::<Vec<_>>(), ["now", "found", "now"]);
    everything_is_given_back(world);
}

#[test]
fn a_later_answer_that_never_comes_becomes_503_after_the_message_timeout() {
    let mut world = world(|_| {});
    let pipe = ask(&mut world, "GET", "/later");
    world.advance(29_000);
    assert_eq!(answers(&world, pipe), []);
    world.advance(2_000);
    assert_eq!(answers(&world, pipe)[0].0, 503);
    let conn = world.handler().asked[0];
    answer(&mut world, conn, "too late");
    assert_eq!(world.handler().answered, [false]);
    everything_is_given_back(world);
}

#[test]
fn a_later_answer_to_a_connection_that_is_gone_is_not_sent() {
    let mut world = world(|_| {});
    ask(&mut world, "GET", "/later");
    let conn = world.handler().asked[0];
    world.hub.abort(conn);
    world.settle();
    answer(&mut world, conn, "nobody reads this");
    assert_eq!(world.handler().answered, [false]);
    everything_is_given_back(world);
}

#[test]
fn a_later_answer_to_head_has_no_body_and_one_to_a_broken_connection_leaves_nothing_behind() {
    let mut world = world(|_| {});
    let head = ask(&mut world, "HEAD", "/later");
    let broken = ask(&mut world, "GET", "/later");
    world.reset(broken, std::io::ErrorKind::ConnectionReset);
    world.settle();
    let asked = world.handler().asked.clone();
    assert_eq!(asked.len(), 2);
    for conn in asked {
        answer(&mut world, conn, "found");
    }
    // The reader of this world waits for the body that the answer's length promises.
    assert!(world.pipes[head].got.is_empty());
    assert!(!world.pipes[head].decoder.is_clean(), "a head has come");
    everything_is_given_back(world);
}

#[test]
fn a_later_answer_is_awaited_while_the_server_goes_down() {
    let mut world = world(|_| {});
    let pipe = ask(&mut world, "GET", "/later");
    world.shutdown();
    world.settle();
    assert!(!world.hub.is_drained());
    let conn = world.handler().asked[0];
    answer(&mut world, conn, "found");
    assert_eq!(world.handler().answered, [true]);
    assert_eq!(answers(&world, pipe)[0].0, 200);
    everything_is_given_back(world);
}

#[test]
fn binary_messages_reach_users_groups_and_everyone_and_the_members_of_a_group_are_listed() {
    let mut world = world(|_| {});
    let (a, b) = (enter(&mut world, "/user/A"), enter(&mut world, "/user/B"));
    let (conn_a, conn_b) = (world.pipes[a].conn, world.pipes[b].conn);
    assert_eq!(world.hub.join(conn_a, "room"), Ok(true));
    assert_eq!(world.hub.members("room").collect::<Vec<_>>(), [conn_a]);
    assert_eq!(world.hub.join(conn_b, "room"), Ok(true));
    assert_eq!(world.hub.members("room").count(), 2);
    assert!(world.hub.leave(conn_a, "room"));
    assert_eq!(world.hub.members("room").collect::<Vec<_>>(), [conn_b]);
    assert_eq!(world.hub.members("no such room").count(), 0);
    assert_eq!(world.hub.send_to_user("A", &b"one"[..]), 1);
    assert_eq!(world.hub.send_to_group("room", &b"two"[..]), 1);
    assert_eq!(world.hub.broadcast(&b"\xFF\x00"[..]), 2);
    world.settle();
    let binary = |world: &World<App>, pipe: usize| -> Vec<Vec<u8>> {
        let data = |got: &Got| if let Got::Binary(it) = got { Some(it.clone()) } else { None };
        world.pipes[pipe].got.iter().filter_map(data).collect()
    };
    assert_eq!(binary(&world, a), [b"one".to_vec(), b"\xFF\x00".to_vec()]);
    assert_eq!(binary(&world, b), [b"two".to_vec(), b"\xFF\x00".to_vec()]);
    everything_is_given_back(world);
}

#[test]
fn a_group_has_a_name_of_1_to_128_bytes() {
    let mut world = world(|_| {});
    let pipe = enter(&mut world, "/user/A");
    let conn = world.pipes[pipe].conn;
    for name in ["", &"g".repeat(129)] {
        assert_eq!(world.hub.join(conn, name), Err(GroupError::BadName));
    }
    assert_eq!(world.hub.join(conn, &"g".repeat(128)), Ok(true));
    assert_eq!(GroupError::BadName.to_string(), "a group's name has 1 to 128 bytes");
    everything_is_given_back(world);
}

#[test]
fn the_session_and_the_last_bytes_of_a_connection_can_be_looked_at_between_turns() {
    let mut link = link();
    let a = crate::enter(&mut link, "A");
    let conn = link.pipes[a].conn;
    assert!(link.hub.session(conn).is_some());
    assert_eq!(link.hub.id_at(conn.index()), Some(conn));
    assert_eq!(link.hub.id_at(usize::MAX), None);
    link.hub.close(conn, 4_000, "enough");
    assert!(link.hub.pending(conn).is_none(), "the last word comes first");
    link.hub.say_last_words();
    assert!(link.hub.pending(conn).is_some());
    link.finish(a);
    link.settle();
    assert!(link.hub.session(conn).is_none());
    leak_check(link);
}

#[test]
fn a_relay_gives_its_configuration_back() {
    let mut config = RelayConfig::default();
    config.allow_hosts = vec![RelayConfig::read_host("relay.example").unwrap()];
    let relay = Relay::new(config);
    assert_eq!(relay.config().allow_hosts, ["relay.example"]);
    assert!(RelayConfig::read_host("http://relay.example").is_err());
}
