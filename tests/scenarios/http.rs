//! Plain requests, handshakes among them, and the end of the server.

use crate::*;
use longlink::http::{Request, Response};
use longlink::sim::Watch;
use longlink::sim::frames::{Got, handshake, request, text};
use longlink::{Accept, Handler, Message, Reject, Reply, Upgrade};

/// Answers a plain request with the status that its path names.
struct Answers;

impl Handler for Answers {
    type Session = ();
    type Event = ();

    fn on_upgrade(&mut self, _: &mut Context, _: ConnId, _: Upgrade<'_>) -> Result<Accept, Reject> {
        Ok(Accept::anonymous())
    }

    fn on_request(&mut self, _: &mut Context, _: ConnId, request: &Request<'_>) -> Reply {
        Reply::Now(Response::new(request.path()[1..].parse().expect("a status")))
    }

    fn on_message(&mut self, _: &mut Context, _: ConnId, (): &mut (), _: Message<'_>) {}
}

impl Watch for Answers {}

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
    link.advance(10 + longlink::run::TICK_MS);
    assert!(link.pipes[idle].closed);
    leak_check(link);
}

#[test]
fn a_next_request_that_has_begun_has_its_own_time() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    let next = request("GET", "/healthz", "");
    link.send(pipe, &next);
    link.advance(4_900);
    link.send(pipe, &next[..10]);
    link.advance(7_900);
    link.send(pipe, &next[10..]);
    link.settle();
    assert_eq!(statuses(&link, pipe), [200, 200]);
    link.send(pipe, &next[..10]);
    link.advance(8_000 + longlink::run::TICK_MS);
    assert!(link.pipes[pipe].closed, "the next request has eight seconds");
    leak_check(link);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_the_rest_waits_while_the_client_reads_nothing() {
    let mut link = link();
    link.capacity = 60;
    let pipe = link.connect().unwrap();
    let paths = ["/healthz", "/nowhere", "/healthz", "/websocket/A", "/"];
    let five: Vec<u8> = paths.iter().flat_map(|path| request("GET", path, "")).collect();
    link.set_reading(pipe, false);
    link.send(pipe, &five.repeat(18));
    link.advance(1_000);
    let queued = link.hub.queued(link.pipes[pipe].conn);
    assert!((16_000..26_000).contains(&queued), "some answers are queued, not ninety: {queued}");
    link.set_reading(pipe, true);
    link.settle();
    assert_eq!(statuses(&link, pipe), [200, 404, 200, 426, 200].repeat(18));
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
fn answers_have_a_date_only_if_the_host_has_set_one() {
    use std::time::{Duration, UNIX_EPOCH};
    let mut link = link();
    let dates = |link: &mut Link| {
        let (page, user) = (link.connect().unwrap(), link.connect().unwrap());
        link.send(page, &request("GET", "/healthz", ""));
        link.send(user, &handshake("/websocket/A", ""));
        link.settle();
        [page, user].map(|pipe| {
            let Some(Got::Http(_, head, _)) = link.pipes[pipe].got.first() else { panic!() };
            let date = head.lines().find_map(|line| line.strip_prefix("Date: "));
            date.map(str::to_owned)
        })
    };
    assert_eq!(dates(&mut link), [None, None]);
    link.hub.set_date(UNIX_EPOCH + Duration::from_secs(784_111_777));
    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
    assert_eq!(dates(&mut link), [date.clone(), date]);
    link.hub.set_date(UNIX_EPOCH - Duration::from_secs(1));
    assert_eq!(dates(&mut link), [None, None], "a date before 1970 counts as none");
    leak_check(link);
}

#[test]
fn a_shutdown_closes_every_open_connection_with_1001() {
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
    let gone = open.iter().chain([&parked]).all(|pipe| link.pipes[*pipe].closed);
    assert!(gone, "a client that has answered is gone at once");
    link.finish(shaking);
    link.advance(4_900);
    assert!(!link.hub.is_drained(), "the client that does not read has the close timeout");
    link.advance(100 + longlink::run::TICK_MS);
    assert!(link.hub.is_drained(), "the close timeout is over");
    leak_check(link);
}

#[test]
fn an_answer_that_has_no_content_ends_with_its_head() {
    let mut world = World::new(Config::default(), Answers, Instant::now());
    let pipe = world.connect().expect("room");
    for status in [204, 304, 200] {
        world.send(pipe, &request("GET", &format!("/{status}"), ""));
        world.settle();
        let last = world.pipes[pipe].got.last();
        let Some(Got::Http(got, head, body)) = last else { panic!("no answer {status}") };
        assert_eq!((*got, body.len()), (status, 0), "{head}");
    }
    assert_eq!(world.pipes[pipe].got.len(), 3);
    world.hub.check_invariants();
}
