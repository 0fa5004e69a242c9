//! Requests whose handler wants their bodies: in pieces, in chunks, pipelined, too long,
//! too slow, and such as are made to be read in two ways.

use std::time::{Duration, Instant};

use longlink::http::{Refused, Request, Response};
use longlink::{Accept, Config, ConnId, Context, Handler, Message, Reject, Reply, Upgrade};

use longlink::sim::Rng;
use longlink::sim::frames::Got;
use longlink::sim::{Watch, World};

const AT_MOST: usize = 1_000;

/// A handler that answers with the body that it was sent.
struct Echo;

impl Handler for Echo {
    type Session = ();
    type Event = ();

    fn on_upgrade(&mut self, _: &mut Context, _: ConnId, _: Upgrade<'_>) -> Result<Accept, Reject> {
        Ok(Accept::anonymous())
    }

    fn on_request(&mut self, hub: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        match request.body() {
            _ if request.path() == "/abort" => {
                hub.abort(conn);
                Reply::Read { at_most: AT_MOST }
            }
            _ if request.path() == "/unread" => Reply::Now(Response::text(200, "unread")),
            _ if request.path() == "/again" => Reply::Read { at_most: AT_MOST },
            None => Reply::Read { at_most: AT_MOST },
            Some(body) => {
                let said = [request.path().as_bytes(), b"=", body].concat();
                let response = Response::new(200).body("text/plain", said);
                Reply::Now(if request.path() == "/known" { response.keep() } else { response })
            }
        }
    }

    fn on_refused(&mut self, _: &mut Context, _: ConnId, refused: Refused<'_>) -> Response {
        let path = refused.request.map_or("", |request| request.path());
        Response::text(refused.status, format!("{path}: {}", refused.why))
    }

    fn on_message(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        _: &mut Self::Session,
        _: Message<'_>,
    ) {
        hub.send(conn, "heard");
    }
}

impl Watch for Echo {}

type Link = World<Echo>;

fn link() -> Link {
    World::new(Config::default(), Echo, Instant::now())
}

fn plain(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn chunked(path: &str, chunks: &[&str]) -> String {
    let mut all = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in chunks {
        all += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    all + "0\r\n\r\n"
}

/// The status and the body of each answer so far.
fn answers(link: &Link, pipe: usize) -> Vec<(u16, String)> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    let answer = |got: &Got| match got {
        Got::Http(status, _, body) => (*status, text(body)),
        other => panic!("not an answer: {other:?}"),
    };
    link.pipes[pipe].got.iter().map(answer).collect()
}

fn said(path: &str, body: &str) -> (u16, String) {
    (200, format!("{path}={body}"))
}

/// Sends bytes at once on one connection. Returns the answers.
fn ask(bytes: &str) -> Vec<(u16, String)> {
    let mut link = link();
    let pipe = link.connect().unwrap();
    link.send(pipe, bytes.as_bytes());
    link.settle();
    let answers = answers(&link, pipe);
    leave(link);
    answers
}

/// Lets all clients leave, and checks that nothing of them is left.
fn leave(mut link: Link) {
    for pipe in 0..link.pipes.len() {
        link.set_reading(pipe, true);
        link.finish(pipe);
    }
    link.settle();
    assert_eq!(link.hub.connections(), 0, "a client that reads and ends its side is gone at once");
    link.advance(40_000);
    link.assert_nothing_is_left();
}

#[test]
fn a_body_is_handed_over_whole_with_its_request() {
    assert_eq!(ask(&plain("/a", "hello")), [said("/a", "hello")]);
    assert_eq!(ask(&plain("/a", "")), [said("/a", "")]);
    assert_eq!(ask(&chunked("/b", &["hel", "lo"])), [said("/b", "hello")]);
    assert_eq!(ask("GET /c HTTP/1.1\r\nHost: a\r\n\r\n"), [said("/c", "")]);
}

#[test]
fn a_body_that_nobody_asks_for_ends_the_connection() {
    let all = plain("/unread", "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(ask(&all), [(200, "unread\n".to_owned())]);
}

#[test]
fn a_handler_that_asks_for_a_body_that_it_already_has_causes_500() {
    assert_eq!(ask(&plain("/again", "x")), [(500, "/again: internal error\n".to_owned())]);
    let empty = "GET /again HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ask(empty), [(500, "/again: internal error\n".to_owned())]);
}

#[test]
fn requests_are_the_same_however_their_bytes_are_cut() {
    let long = "x".repeat(900);
    let all = [
        plain("/1", "one"),
        chunked("/2", &["t", "wo", &long[..500]]),
        "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        plain("/4", &long),
        chunked("/5", &[]),
        plain("/6", "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]
    .concat();
    let expected = [
        said("/1", "one"),
        said("/2", &["two", &long[..500]].concat()),
        said("/3", ""),
        said("/4", &long),
        said("/5", ""),
        said("/6", "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    let mut pieces = 0;
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let mut link = link();
        link.capacity = *rng.pick(&[1 << 20, 1 << 20, 100]);
        let pipe = link.connect().unwrap();
        let most = *rng.pick(&[3, 40, 2_000]);
        let mut rest = all.as_bytes();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rng.range(1, most.min(rest.len())));
            link.send(pipe, piece);
            rest = after;
            pieces += 1;
            if rng.percent(50) {
                link.turn();
            } else {
                link.settle();
            }
        }
        link.settle();
        assert_eq!(answers(&link, pipe), expected, "seed {seed}");
        leave(link);
    }
    assert!(pieces > 5_000, "{pieces}");
}

#[test]
fn a_client_that_expects_100_continue_is_told_once_to_send_its_body() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n";
    link.send(pipe, head.as_bytes());
    link.settle();
    assert_eq!(answers(&link, pipe), [(100, String::new())]);
    link.send(pipe, b"hel");
    link.settle();
    link.send(pipe, b"lo");
    link.settle();
    assert_eq!(answers(&link, pipe), [(100, String::new()), said("/a", "hello")]);
    // There is no 100 if the body is there, if it is refused, or if the client speaks HTTP/1.0.
    assert_eq!(ask(&format!("{head}hello")), [said("/a", "hello")]);
    let long = head.replace(": 5", ": 5000");
    assert_eq!(ask(&long), [(413, "/a: the body is too long\n".to_owned())]);
    assert_eq!(ask(&head.replace("1.1", "1.0")), []);
    leave(link);
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let too_long = [(413, "/a: the body is too long\n".to_owned())];
    assert_eq!(ask("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"), too_long);
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(ask(&format!("{head}3e9\r\n")), too_long);
    assert_eq!(ask(&format!("{head}1\r\nx\r\n3e8\r\n")), too_long);
    let whole = "x".repeat(AT_MOST);
    assert_eq!(ask(&chunked("/a", &[&whole])), [said("/a", &whole)]);
    assert_eq!(ask(&plain("/a", &whole)), [said("/a", &whole)]);
}

#[test]
fn a_request_that_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\r\n folded: x\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n",
    ] {
        let all = format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n01234{evil}");
        let statuses: Vec<u16> = ask(&all).iter().map(|answer| answer.0).collect();
        assert_eq!(statuses, [400], "{fields:?}");
    }
    let old = "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(ask(old)[0].0, 400, "HTTP/1.0 knows no chunks");
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["+5\r\n01234\r\n0\r\n\r\n", "5\r\n012345\r\n0\r\n\r\n", "5\n01234\r\n0\r\n\r\n"] {
        let answers = ask(&format!("{head}{body}{evil}"));
        assert_eq!(answers.len(), 1, "{body:?}");
        assert!(answers[0].0 == 400 && answers[0].1.starts_with("/a: "), "{answers:?}");
    }
}

#[test]
fn an_upload_that_is_too_slow_is_answered_408() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    link.send(pipe, plain("/a", "hello").strip_suffix("hello").unwrap().as_bytes());
    link.settle();
    for byte in ["h", "e", "l"] {
        link.advance(9_000);
        link.send(pipe, byte.as_bytes());
        link.settle();
    }
    assert_eq!(answers(&link, pipe), []);
    link.advance(3_100);
    assert_eq!(answers(&link, pipe), [(408, "/a: the body took too long\n".to_owned())]);
    leave(link);
}

#[test]
fn a_body_that_ends_early_is_dropped_and_leaves_nothing_behind() {
    for body in ["Content-Length: 5\r\n\r\nhel", "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n"] {
        let mut link = link();
        let pipe = link.connect().unwrap();
        link.send(
            pipe,
            format!("{}POST /b HTTP/1.1\r\nHost: a\r\n{body}", plain("/a", "x")).as_bytes(),
        );
        link.finish(pipe);
        link.settle();
        assert_eq!(answers(&link, pipe), [said("/a", "x")]);
        assert!(link.pipes[pipe].closed);
        leave(link);
    }
}

#[test]
fn a_body_holds_no_more_than_has_arrived() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    link.send(pipe, b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..900 {
        link.send(pipe, b"1;padding=of-many-bytes-that-mean-nothing\r\nx\r\n");
        link.settle();
    }
    assert!(link.hub.buffered() < 3_000, "{}", link.hub.buffered());
    link.send(pipe, b"0\r\n\r\n");
    link.settle();
    assert_eq!(answers(&link, pipe), [said("/a", &"x".repeat(900))]);
    assert_eq!(link.hub.buffered(), 0);
    leave(link);
}

#[test]
fn uploads_count_as_buffered_bytes_and_the_connection_with_the_largest_one_is_ended_first() {
    let mut config = Config::default();
    config.max_buffered = 2_000;
    let mut link = World::new(config, Echo, Instant::now());
    let pipes: Vec<usize> = (0..4).map(|_| link.connect().unwrap()).collect();
    for (at, &pipe) in pipes.iter().enumerate() {
        let body = "x".repeat(600 + 50 * at);
        link.send(pipe, plain("/a", &body).strip_suffix('x').unwrap().as_bytes());
    }
    link.settle();
    assert!(link.hub.buffered() <= 2_000);
    assert!(!link.pipes[pipes[0]].closed && link.pipes[pipes[3]].closed);
    leave(link);
}

#[test]
fn a_client_that_the_handler_knows_is_kept_for_more_requests_and_for_a_longer_time() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    for _ in 0..300 {
        link.send(pipe, plain("/known", "x").as_bytes());
        link.settle();
    }
    link.advance(74_000);
    link.send(pipe, plain("/a", "once more").as_bytes());
    link.settle();
    assert_eq!(answers(&link, pipe).len(), 301);
    link.advance(74_900);
    assert!(!link.pipes[pipe].closed, "it stays known");
    link.advance(100 + longlink::run::TICK_MS);
    assert!(link.pipes[pipe].closed);
    leave(link);
}

#[test]
fn pipelined_requests_are_answered_with_one_write() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    let all: String = (0..50).map(|n| plain(&format!("/{n}"), "body")).collect();
    link.send(pipe, all.as_bytes());
    link.turn();
    link.turn();
    let expected: Vec<_> = (0..50).map(|n| said(&format!("/{n}"), "body")).collect();
    link.settle();
    assert_eq!(answers(&link, pipe), expected);
    assert_eq!(link.pipes[pipe].writes, 1);
    leave(link);
}

#[test]
fn the_last_of_several_answers_ends_the_connection_as_soon_as_the_client_does() {
    let mut link = link();
    let pipe = link.connect().unwrap();
    link.send(pipe, format!("{}nonsense\r\n\r\n", plain("/a", "x")).as_bytes());
    link.settle();
    assert_eq!(answers(&link, pipe), [said("/a", "x"), (400, ": not an HTTP request\n".into())]);
    link.finish(pipe);
    link.settle();
    assert!(link.pipes[pipe].closed, "the connection does not wait for the close timeout");
    leave(link);
}

#[test]
fn a_handler_may_end_a_connection_whose_body_it_asks_for() {
    for bytes in [plain("/abort", "x"), plain("/abort", "x").replace("\r\n\r\nx", "\r\n\r\n")] {
        assert_eq!(ask(&bytes), []);
        assert_eq!(ask(&bytes.replace("Host", "Expect: 100-continue\r\nHost")), []);
    }
}

#[test]
fn a_connection_above_the_limit_is_refused_before_a_body_is_read() {
    let mut config = Config::default();
    config.max_connections = 1;
    let mut link = World::new(config, Echo, Instant::now());
    let _first = link.connect().unwrap();
    let pipe = link.connect().unwrap();
    link.send(pipe, b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    link.settle();
    assert_eq!(answers(&link, pipe), [(503, "no more connections\n".to_owned())]);
    leave(link);
}

#[test]
fn a_flood_of_requests_whose_answers_nobody_reads_is_not_read_either() {
    let mut config = Config::default();
    config.message_timeout = Duration::from_secs(60);
    let mut link = World::new(config, Echo, Instant::now());
    link.capacity = 1_000;
    let pipe = link.connect().unwrap();
    link.set_reading(pipe, false);
    let all: String = (0..5_000).map(|_| plain("/known", &"x".repeat(900))).collect();
    link.send(pipe, all.as_bytes());
    link.advance(1_000);
    let conn = link.pipes[pipe].conn;
    assert!(link.hub.queued(conn) < 20_000, "{}", link.hub.queued(conn));
    assert!(link.hub.buffered() < 200_000, "{}", link.hub.buffered());
    link.set_reading(pipe, true);
    link.settle();
    assert_eq!(answers(&link, pipe).len(), 5_000);
    leave(link);
}

/// A hub whose timeouts are shorter than what counts as an absence of the server itself.
fn hasty() -> Link {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_secs(3);
    config.message_timeout = Duration::from_secs(4);
    World::new(config, Echo, Instant::now())
}

/// Lets time pass and bytes arrive without an event for them.
fn pass_without_events(link: &mut Link, millis: u64, pipe: usize, bytes: &[u8]) {
    link.batch = 0;
    link.now += millis;
    link.send(pipe, bytes);
    link.turn();
    link.batch = usize::MAX;
}

#[test]
fn a_body_whose_head_waited_in_the_kernel_has_the_whole_time_of_a_body() {
    let mut link = hasty();
    let pipe = link.connect().unwrap();
    link.turn();
    let all = plain("/a", "hello");
    pass_without_events(&mut link, 3_500, pipe, &all.as_bytes()[..all.len() - 2]);
    link.settle();
    assert_eq!(answers(&link, pipe), []);
    link.advance(3_900);
    link.send(pipe, &all.as_bytes()[all.len() - 2..]);
    link.settle();
    assert_eq!(answers(&link, pipe), [said("/a", "hello")]);
    leave(link);
}

#[test]
fn a_body_whose_rest_takes_several_reads_is_not_late_while_the_rest_waits_in_the_kernel() {
    let mut link = hasty();
    let pipe = link.connect().unwrap();
    let body = "x".repeat(100);
    let all = plain("/a", &body);
    link.send(pipe, &all.as_bytes()[..all.len() - 60]);
    link.settle();
    link.read_size = 10;
    pass_without_events(&mut link, 4_500, pipe, &all.as_bytes()[all.len() - 60..]);
    link.settle();
    assert_eq!(answers(&link, pipe), [said("/a", &body)]);
    leave(link);
}

#[test]
fn a_body_has_its_whole_time_again_after_an_absence() {
    let mut link = hasty();
    let pipe = link.connect().unwrap();
    let all = plain("/a", "hello");
    link.send(pipe, &all.as_bytes()[..all.len() - 2]);
    link.settle();
    link.jump(60_000);
    link.advance(3_900);
    link.send(pipe, &all.as_bytes()[all.len() - 2..]);
    link.settle();
    assert_eq!(answers(&link, pipe), [said("/a", "hello")]);
    leave(link);
}

#[test]
fn each_chunk_of_a_body_is_work_of_the_turn() {
    for step in [usize::MAX, 2_000, 7] {
        let mut config = Config::default();
        config.work_per_turn = 200;
        let mut link = World::new(config, Echo, Instant::now());
        let pipe = link.connect().unwrap();
        let (conn, now) = (link.pipes[pipe].conn, link.instant());
        let bytes = chunked("/a", &["x"; 500]).into_bytes();
        for piece in bytes.chunks(step.min(bytes.len())) {
            link.hub.receive(conn, &mut piece.to_vec(), now);
        }
        assert!(link.hub.is_exhausted(), "in pieces of {step}");
    }
}
