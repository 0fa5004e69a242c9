//! Reading: a short message costs one read, every connection gets its turn, and no end of a stream is
//! missed.

use std::io::ErrorKind;
use std::time::Duration;

use longlink::CloseReason;
use longlink::run::READ_SIZE;
use mio::Token;

use crate::fake::{BASE, ENDED, READABLE, Rig, WRITABLE};
use longlink::sim::frames::{self, PING, PONG, text, texts};

#[test]
fn after_a_short_read_a_socket_is_not_read_again_without_an_event() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    for count in 1..=20 {
        rig.receive(&client, &text("hello"));
        assert_eq!((client.reads(), client.writes()), (count, count));
        assert_eq!(texts(&client.take()), ["hello"]);
        assert!(!rig.is_busy(), "nothing is left over");
    }
}

#[test]
fn sixteen_pings_in_one_segment_cost_one_read_and_one_write() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    let pings: Vec<u8> = (0..16u8).flat_map(|n| frames::masked(frames::FIN | PING, &[n])).collect();
    rig.receive(&client, &pings);
    assert_eq!((client.reads(), client.writes()), (1, 1));
    let pongs = frames::all(&client.take());
    let payloads: Vec<u8> = pongs.iter().map(|pong| pong.payload[0]).collect();
    assert!(pongs.iter().all(|pong| pong.opcode == PONG));
    assert_eq!(payloads, (0..16).collect::<Vec<u8>>());
}

#[test]
fn a_socket_that_filled_the_buffer_is_read_on_in_the_next_turn_without_another_event() {
    let mut rig = Rig::new(|config| {
        config.max_message = 4 * READ_SIZE;
        config.max_queue = 8 * READ_SIZE;
    });
    let client = rig.connect("a");
    let long = "x".repeat(3 * READ_SIZE);
    client.feed(&text(&long));
    rig.event(&client, READABLE);
    assert_eq!(client.reads(), 1);
    assert!(rig.is_busy());
    for turn in 2..=4 {
        rig.tick();
        assert_eq!(client.reads(), turn, "one read a turn");
    }
    rig.settle();
    assert_eq!(client.reads(), 4);
    assert_eq!(texts(&client.take()), [long]);
}

#[test]
fn a_read_that_fills_the_buffer_exactly_is_followed_by_one_more_read() {
    let mut rig = Rig::new(|config| {
        config.max_message = 2 * READ_SIZE;
        config.max_queue = 4 * READ_SIZE;
    });
    let client = rig.connect("a");
    // A message whose frame is as long as the buffer: its header takes 8.
    rig.receive(&client, &text(&"x".repeat(READ_SIZE - 8)));
    rig.settle();
    assert_eq!(client.reads(), 2);
    assert_eq!(texts(&client.take()).len(), 1);
    rig.receive(&client, &text("more"));
    assert_eq!(texts(&client.take()), ["more"]);
}

#[test]
fn a_connection_that_always_has_data_starves_no_other() {
    let mut rig = Rig::new(|config| config.work_per_turn = 64);
    let greedy = rig.connect("greedy");
    let modest = rig.connect("modest");
    greedy.feed(&text("again").repeat(200_000));
    rig.event(&greedy, READABLE);
    rig.tick();
    for n in 0..10 {
        rig.receive(&modest, &text(&format!("{n}")));
        let mut answer = client_answer(&modest);
        for _ in 0..2 {
            if answer.is_empty() {
                rig.tick();
                answer = client_answer(&modest);
            }
        }
        assert_eq!(answer, [n.to_string()], "answered while the other has more to say");
    }
    assert!(rig.is_busy(), "the greedy client has yet more to send");
    assert!(!greedy.take().is_empty(), "the greedy client is served too");
}

fn client_answer(client: &crate::fake::Client) -> Vec<String> {
    texts(&client.take())
}

#[test]
fn a_hundred_connections_that_always_have_data_share_the_turns() {
    let mut rig = Rig::new(|config| config.work_per_turn = 200);
    let clients: Vec<_> = (0..100).map(|n| rig.connect(&n.to_string())).collect();
    for client in &clients {
        client.feed(&text("x").repeat(20_000));
        rig.event(client, READABLE);
    }
    let mut served = vec![0; clients.len()];
    for _ in 0..400 {
        rig.tick();
        for (client, served) in clients.iter().zip(&mut served) {
            *served += texts(&client.take()).len();
        }
    }
    let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    assert!(*least > 0 && most - least <= 4 * 200, "least {least}, most {most}");
}

#[test]
fn input_left_over_by_a_spent_budget_is_handled_in_order_and_keeps_the_loop_awake() {
    let mut rig = Rig::new(|config| config.work_per_turn = 10);
    let client = rig.connect("a");
    let all: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let bytes: Vec<u8> = all.iter().flat_map(|n| text(n)).collect();
    rig.receive(&client, &bytes);
    assert!(rig.is_busy(), "the rest must not wait for an event");
    assert!(rig.settle() > 10);
    assert_eq!(texts(&client.take()), all);
    assert_eq!(rig.hub().buffered(), 0, "nothing is kept");
}

#[test]
fn an_end_of_the_stream_behind_data_in_the_same_event_is_noticed() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    client.feed(&text("last words"));
    client.end();
    rig.event(&client, ENDED);
    rig.tick();
    rig.settle();
    assert_eq!(texts(&client.take()), ["last words"], "what came before the end is answered");
    assert!(client.is_dropped());
    assert_eq!(rig.handler().closed[0].1, CloseReason::Eof);
}

#[test]
fn a_socket_whose_end_is_announced_is_read_until_the_end_of_the_stream() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    for word in ["one", "two", "three"] {
        client.feed_apart(&text(word));
    }
    client.end();
    rig.event(&client, ENDED);
    rig.tick();
    rig.settle();
    assert_eq!(client.reads(), 4, "three short reads and the end");
    assert_eq!(texts(&client.take()), ["one", "two", "three"]);
    assert!(client.is_dropped());
}

#[test]
fn an_announced_end_that_does_not_come_is_waited_for() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    rig.event(&client, ENDED);
    rig.tick();
    rig.settle();
    assert_eq!(client.reads(), 1, "the read has found nothing");
    rig.receive(&client, &text("still here"));
    assert_eq!(client.reads(), 2, "the announcement is forgotten");
    assert_eq!(texts(&client.take()), ["still here"]);
}

#[test]
fn an_interrupted_read_is_tried_again() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    client.fail(ErrorKind::Interrupted);
    client.feed(&text("hello"));
    rig.event(&client, READABLE);
    rig.settle();
    assert_eq!(texts(&client.take()), ["hello"]);
}

#[test]
fn a_socket_that_fails_ends_only_its_connection() {
    let mut rig = Rig::new(|_| {});
    let (victim, bystander) = (rig.connect("a"), rig.connect("b"));
    victim.fail(ErrorKind::ConnectionReset);
    rig.event(&victim, READABLE);
    rig.tick();
    assert!(victim.is_dropped());
    let (_, reason) = rig.handler().closed[0].clone();
    assert_eq!(reason, CloseReason::Io(ErrorKind::ConnectionReset));
    rig.receive(&bystander, &text("here"));
    assert_eq!(texts(&bystander.take()), ["here"]);
    assert_eq!(rig.handler().closed.len(), 1);
}

#[test]
fn spurious_and_stale_events_end_no_connection() {
    let mut rig = Rig::new(|_| {});
    let old = rig.connect("a");
    let token = old.0.borrow().token.unwrap();
    for readiness in [READABLE, WRITABLE, ENDED] {
        rig.event(&old, readiness);
        rig.tick();
        rig.settle();
    }
    assert_eq!(rig.driver.hub().connections(), 1);
    old.end();
    rig.event(&old, READABLE);
    rig.tick();
    assert!(old.is_dropped());
    // The slot of the connection is empty. An event that was already on its way changes nothing.
    assert!(rig.driver.handle_readiness(token, ENDED, rig.now));
    rig.tick();
    // Such events do not end the next connection that uses the slot either.
    let new = rig.connect("b");
    assert_eq!(new.0.borrow().token, Some(token));
    for readiness in [ENDED, WRITABLE, READABLE] {
        assert!(rig.driver.handle_readiness(token, readiness, rig.now));
        rig.tick();
        rig.settle();
    }
    rig.receive(&new, &text("mine"));
    assert_eq!(texts(&new.take()), ["mine"]);
}

#[test]
fn events_with_tokens_of_the_host_are_left_to_the_host() {
    let mut rig = Rig::new(|config| config.max_connections = 5);
    let tokens = rig.driver.tokens();
    assert_eq!(tokens, BASE..BASE + 1 + 5 + longlink::run::SURPLUS);
    for foreign in [0, BASE - 1, tokens.end, tokens.end + 1, usize::MAX] {
        assert!(!rig.driver.handle_readiness(Token(foreign), ENDED, rig.now), "{foreign}");
    }
    for own in tokens {
        assert!(rig.driver.handle_readiness(Token(own), ENDED, rig.now), "{own}");
    }
    rig.tick();
    rig.settle();
}

#[test]
fn an_answered_request_is_followed_by_the_next_of_the_pipeline() {
    let mut rig = Rig::new(|_| {});
    let client = rig.knock();
    rig.tick();
    let request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    client.feed(request.repeat(3).as_bytes());
    client.end();
    rig.event(&client, ENDED);
    rig.tick();
    rig.settle();
    let answers = String::from_utf8(client.take()).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 426").count(), 3, "{answers}");
    assert!(client.is_dropped(), "the end of the stream is not forgotten");
}

#[test]
fn half_a_request_head_followed_by_the_end_of_the_stream_is_not_answered() {
    let mut rig = Rig::new(|_| {});
    let client = rig.knock();
    rig.tick();
    client.feed(b"GET /x HTTP/1.1\r\nHo");
    client.end();
    rig.event(&client, ENDED);
    rig.tick();
    rig.settle();
    assert!(client.take().is_empty());
    assert!(client.is_dropped());
}

#[test]
fn control_frames_that_arrive_in_pieces_do_not_count_as_a_slow_message() {
    let mut rig = Rig::new(|config| config.message_timeout = Duration::from_secs(5));
    let client = rig.connect("a");
    // Each read ends inside a ping, so something is always incomplete.
    let ping = frames::masked(frames::FIN | PING, b"beat");
    client.feed(&ping[..3]);
    rig.event(&client, READABLE);
    for _ in 0..20 {
        rig.pass(Duration::from_secs(1));
        client.feed(&[&ping[3..], &ping[..3]].concat());
        rig.event(&client, READABLE);
        rig.tick();
    }
    assert!(rig.handler().closed.is_empty(), "{:?}", rig.handler().closed);
    assert_eq!(frames::all(&client.take()).len(), 20);
}

#[test]
fn work_of_a_stream_beyond_its_bytes_counts_as_work_of_the_turn() {
    let mut rig = Rig::new(|config| config.work_per_turn = 200);
    let clients: Vec<_> = (0..10).map(|n| rig.connect(&n.to_string())).collect();
    let read = |client: &crate::fake::Client| client.0.borrow().reads;
    let before: Vec<usize> = clients.iter().map(read).collect();
    for client in &clients {
        // The stream reports as much work as a TLS stream whose read has opened sixty records.
        client.0.borrow_mut().work = 60;
        client.feed(&text("x"));
        rig.event(client, READABLE);
    }
    let are_read = clients.iter().zip(&before).filter(|(client, before)| read(client) > **before);
    assert_eq!(are_read.count(), 2, "half of a turn's work is for what arrives");
    rig.settle();
    assert!(clients.iter().all(|client| texts(&client.take()) == ["x"]), "the others follow");
}
