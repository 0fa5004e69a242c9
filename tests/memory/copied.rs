//! Checks how often bytes that arrive in small pieces are copied: not more often when there are
//! more pieces. The tests count allocations and their sizes, because all bytes of a buffer are
//! copied only into a new block.

use std::time::Duration;

use longlink::ConnId;
use longlink::run::READ_SIZE;
use longlink::sim::frames::{frame, text};

use crate::rig::Rig;

/// How many bytes a segment of a network carries.
const SEGMENT: usize = 1_400;
/// A block that doubles its size is seldom resized more often than this.
const DOUBLINGS: usize = 24;
/// Allocations of the test harness, which starts and reports other tests meanwhile: the counters are
/// those of the whole process.
const HARNESS: usize = 100;

/// A binary message of `size` bytes, each in a fragment of its own.
fn in_fragments_of_one_byte(size: usize) -> Vec<u8> {
    let of = |first: u8| frame(first, b"a", [1, 2, 3, 4]);
    [of(0x02), of(0x00).repeat(size - 2), of(0x80)].concat()
}

fn messages(rig: &Rig) -> u64 {
    rig.hub.stats().messages_in
}

/// The buffer of no connection can grow in place, because the buffer of another one is behind it.
#[test]
fn messages_in_tiny_fragments_of_several_connections_are_not_copied_at_each_fragment() {
    const CONNECTIONS: usize = 20;
    const SIZE: usize = 65_000;
    let mut rig = Rig::new(|_| ());
    let conns: Vec<ConnId> = (0..CONNECTIONS).map(|n| rig.enter(&format!("u{n}"))).collect();
    let message = in_fragments_of_one_byte(SIZE);
    let mut copies = vec![message; CONNECTIONS];
    let before = messages(&rig);
    let (calls, total) = rig.allocations(|rig| {
        for from in (0..copies[0].len()).step_by(SEGMENT) {
            for (conn, bytes) in conns.iter().zip(&mut copies) {
                let to = (from + SEGMENT).min(bytes.len());
                rig.receive_in_place(*conn, &mut bytes[from..to]);
            }
            rig.turn();
        }
    });
    assert_eq!(messages(&rig) - before, CONNECTIONS as u64, "all messages are whole");
    println!("{CONNECTIONS} messages in {SIZE} fragments: {calls} allocations of {total} bytes");
    assert!(calls <= CONNECTIONS * DOUBLINGS, "{calls} allocations");
    assert!(total <= CONNECTIONS * 4 * SIZE, "{total} bytes");
}

/// Each read has more fragments than the work of one turn allows, so a part of each read waits.
#[test]
fn a_message_in_tiny_fragments_is_not_copied_at_each_fragment_however_long_it_is() {
    let mut rig = Rig::new(|config| {
        config.max_message = 1 << 20;
        config.max_queue = 2 << 20;
    });
    let conn = rig.enter("u");
    for size in [1 << 16, 1 << 17, 1 << 18, 1 << 19] {
        let mut bytes = in_fragments_of_one_byte(size);
        let before = messages(&rig);
        let (calls, total) = rig.allocations(|rig| {
            for read in bytes.chunks_mut(READ_SIZE) {
                rig.receive_in_place(conn, read);
                rig.settle();
            }
        });
        assert_eq!(messages(&rig) - before, 1, "the message is whole");
        println!("{size} fragments: {calls} allocations of {total} bytes");
        let (length, reads) = (bytes.len(), bytes.len().div_ceil(READ_SIZE));
        // The message itself, and what waits of a read: once as it is, and its halves.
        assert!(total <= 4 * size + 2 * length, "{total} bytes for {size} fragments");
        assert!(calls <= DOUBLINGS + 4 * reads, "{calls} allocations for {size} fragments");
    }
}

/// One message is handled in each 100 ms, and the bytes behind it stay where they are.
#[test]
fn input_that_waits_for_the_rate_is_copied_once_however_much_it_is() {
    for waiting in [6_000, 60_000] {
        let mut rig = Rig::new(|config| {
            config.message_rate = 10;
            config.rate_burst = Duration::from_secs(1);
        });
        let conn = rig.enter("u");
        rig.advance(Duration::from_secs(2));
        let pings = text("ping").repeat(waiting / 10);
        rig.receive(conn, &pings);
        let before = messages(&rig);
        let (calls, total) = rig.allocations(|rig| {
            while rig.hub.buffered_input() > 0 {
                rig.advance(Duration::from_millis(100));
            }
        });
        let handled = (messages(&rig) - before) as usize;
        println!("{waiting} bytes wait: {handled} messages, {calls} allocations of {total} bytes");
        assert!(handled > waiting / 10 - 30, "{handled} messages");
        // The record of waiting input is allocated again for each message, but its bytes are not.
        assert!(calls <= DOUBLINGS + handled + HARNESS, "{calls} allocations");
        assert!(total <= 2 * waiting + 256 * handled, "{total} bytes");
    }
}

/// The requests have long heads, long bodies and bodies in chunks of one byte.
#[test]
fn a_request_that_arrives_byte_by_byte_is_not_copied_at_each_byte() {
    let mut rig = Rig::new(|_| ());
    let field = format!("X-Field: {}\r\n", "x".repeat(1_000));
    let head = |more: &str| {
        format!(
            "POST /api/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n{more}\r\n"
        )
    };
    let body = format!(r#"{{"user":"u","message":"{}"}}"#, "x".repeat(60_000));
    let plain = head(&format!("Content-Length: {}\r\n", body.len())) + &body;
    let chunks: String = body.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let chunked = head("Transfer-Encoding: chunked\r\n") + &chunks + "0\r\n\r\n";
    let long = head(&field.repeat(15)) + "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (what, request) in [("a head", long), ("a body", plain), ("chunks", chunked)] {
        let conn = rig.connect();
        rig.takes(conn, 0);
        let mut bytes = request.into_bytes();
        let (calls, total) = rig.allocations(|rig| {
            for segment in bytes.chunks_mut(SEGMENT) {
                for byte in segment.chunks_mut(1) {
                    rig.receive_in_place(conn, byte);
                }
                rig.turn();
            }
        });
        println!("{what} of {} bytes: {calls} allocations of {total} bytes", bytes.len());
        assert!(rig.hub.queued(conn) > 0, "{what} is answered");
        assert!(calls <= 3 * DOUBLINGS, "{what}: {calls} allocations");
        assert!(total <= 8 * bytes.len(), "{what}: {total} bytes for {}", bytes.len());
    }
}
