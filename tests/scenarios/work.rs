//! How much work of a turn is left for others when a connection with a rate has sent something.

use std::time::Duration;

use longlink::Config;
use longlink::sim::frames::{frame, text};

use crate::*;

/// A hub whose turn handles 100 messages to nobody, a connection A whose rate is limited, and others.
struct Measured {
    link: Link,
    a: usize,
    others: Vec<usize>,
}

impl Measured {
    /// A may send ten messages at once, and there are forty other connections. All of them have
    /// sent something before, and owe nothing any more.
    fn new(broadcasts: u32) -> Self {
        let mut config = Config::default();
        (config.message_rate, config.broadcast_rate) = (100, broadcasts);
        config.rate_burst = Duration::from_millis(100);
        (config.work_per_turn, config.max_per_address) = (200, 0);
        let mut link = link_with(config);
        let a = enter(&mut link, "A");
        let others: Vec<usize> = (0..40).map(|n| enter(&mut link, &format!("u{n}"))).collect();
        for _ in 0..3 {
            link.advance(1_000);
            others.iter().for_each(|&pipe| link.send(pipe, &text(PING)));
        }
        link.advance(1_000);
        Measured { link, a, others }
    }

    /// Hands the hub bytes of a connection at once, in the middle of a turn. Returns how many
    /// messages it has handled.
    fn receive(&mut self, pipe: usize, bytes: &[u8]) -> u64 {
        let before = self.link.hub.stats().messages_in;
        let (conn, now) = (self.link.pipes[pipe].conn, self.link.instant());
        self.link.hub.receive(conn, &mut bytes.to_vec(), now);
        self.link.hub.stats().messages_in - before
    }

    /// Returns how many of A's messages were handled, and how many messages of others the turn
    /// handles after them.
    fn handled_and_left(mut self, read: &[u8]) -> (u64, u64) {
        let handled = self.receive(self.a, read);
        let mut left = 0;
        for pipe in self.others.repeat(3) {
            if !self.link.hub.is_exhausted() {
                left += self.receive(pipe, &text(&to("nobody", "x")));
            }
        }
        assert!(self.link.hub.is_exhausted(), "the others have sent enough");
        self.link.settle();
        leak_check_later(self.link);
        (handled, left)
    }
}

/// A message to a user who is not there. It takes one unit of work.
fn to_nobody(length: usize) -> Vec<u8> {
    text(&to("nobody", &"x".repeat(length)))
}

#[test]
fn a_turn_handles_as_many_messages_of_others_as_a_limited_sender_leaves_work_for() {
    // A sends nothing.
    assert_eq!(Measured::new(0).handled_and_left(b""), (0, 100));
    // A sends more bytes than ten short messages have, but only four messages.
    assert_eq!(Measured::new(0).handled_and_left(&to_nobody(200).repeat(4)), (4, 96));
    // A sends more messages than it may send at once.
    assert_eq!(Measured::new(0).handled_and_left(&to_nobody(1).repeat(20)), (10, 90));
}

#[test]
fn the_deliveries_of_a_limited_sender_are_work_of_the_turn_even_if_they_exceed_its_share() {
    // The message to everyone is queued 41 times when the next message is sent.
    let read = [to_nobody(200), text("to all"), text(&to("u1", &"x".repeat(200)))].concat();
    assert_eq!(Measured::new(0).handled_and_left(&read), (3, 100 - 3 - 41 - 1));
}

#[test]
fn a_message_to_everyone_that_shortens_a_read_gives_the_rest_of_the_work_back() {
    // The message to everyone is queued 41 times when the first of the others sends something.
    let read = [to_nobody(1), text("to all")].concat();
    assert_eq!(Measured::new(50).handled_and_left(&read), (2, 100 - 2 - 41));
}

#[test]
fn large_fragments_of_a_limited_sender_are_work_of_the_turn() {
    let large = frame(0x00, &[b'x'; 1_024], [1, 2, 3, 4]);
    let read = [frame(0x01, &[b'x'; 1_024], [1, 2, 3, 4]), large.repeat(14)].concat();
    assert_eq!(Measured::new(0).handled_and_left(&read), (0, 90));
}

#[test]
fn a_read_with_fewer_messages_than_the_credit_is_handled_whole_whatever_is_delivered() {
    let mut measured = Measured::new(0);
    let read = [text(PING), text("to all"), text(PING), text(PING)].concat();
    let a = measured.a;
    assert_eq!(measured.receive(a, &read), 4);
}
