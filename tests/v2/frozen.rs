//! Stories of a node that stands still for a while, and of connections that wait for Redis.

use longlink::sim::World;
use longlink::sim::frames::{Got, handshake, text};
use longlink::{Config, Relay, RelayConfig};

use super::Link;
use super::phone::Phone;

const V2: &str = "Sec-WebSocket-Protocol: longlink.v2\r\n";

/// Two nodes that serve the same users.
struct Nodes {
    first: Link,
    second: Link,
}

impl Nodes {
    fn new() -> Self {
        let first = super::link();
        let second = first.beside(Config::default(), Relay::new(RelayConfig::default()));
        let mut nodes = Nodes { first, second };
        nodes.advance(4_000);
        nodes
    }

    fn advance(&mut self, millis: u64) {
        for _ in 0..millis / 500 {
            self.first.advance(500);
            self.second.advance(500);
            self.first.settle();
        }
    }

    /// The first node has been frozen for so long, and goes on.
    fn thaw(&mut self, millis: u64) {
        World::advance(&mut self.first, millis);
        for _ in 0..3 {
            self.first.settle();
            self.second.settle();
        }
    }
}

/// A handshake reaches the kernel of a node that does not run.
fn attempt(link: &mut Link, path: &str) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &handshake(path, V2));
    pipe
}

/// The last text that a client got, and the code with which it was closed.
fn end_of(link: &Link, pipe: usize) -> (String, Option<u16>) {
    let pipe = &link.pipes[pipe];
    let code = match pipe.got.last() {
        Some(Got::Close(code, _)) => Some(*code),
        _ => None,
    };
    (pipe.texts().last().map_or(String::new(), |it| (*it).to_owned()), code)
}

#[test]
fn a_phone_that_gave_up_on_a_frozen_node_keeps_its_place_on_another_one_when_the_frozen_node_goes_on()
 {
    let mut nodes = Nodes::new();
    let attempt = attempt(&mut nodes.first, "/websocket/ann?device=phone");
    nodes.second.advance(3_000);
    let mut ann = Phone::new("ann", "phone");
    ann.connect(&mut nodes.second);
    nodes.second.advance(2_000);
    nodes.thaw(5_000);
    ann.read(&nodes.second);
    assert!(ann.is_open(&nodes.second), "{:?}", ann.frames);
    // If somebody is still there, it is the newest connection when it comes again.
    let (last, code) = end_of(&nodes.first, attempt);
    assert!(last.contains(r#""code":"unavailable""#) && last.contains(r#""retry":true"#), "{last}");
    assert_eq!(code, Some(4013));
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut nodes.first);
    bob.write_to(&mut nodes.first, "c1", "ann", "hi");
    nodes.second.settle();
    ann.read(&nodes.second);
    assert_eq!(ann.messages.len(), 1, "the phone gets its messages where it is");
    nodes.advance(6_000);
    ann.connect(&mut nodes.first);
    assert_eq!(ann.welcomes.len(), 2, "now it is certainly the newest connection");
}

#[test]
fn a_phone_that_has_connected_to_a_frozen_node_and_to_no_other_one_is_let_in_when_the_node_goes_on()
{
    let mut nodes = Nodes::new();
    let mut ann = Phone::new("ann", "phone");
    ann.connect(&mut nodes.second);
    nodes.advance(1_000);
    let attempts = [0, 1].map(|_| attempt(&mut nodes.first, "/websocket/ann?device=phone"));
    nodes.second.advance(5_000);
    nodes.thaw(5_000);
    let (last, _) = end_of(&nodes.first, attempts[1]);
    assert!(last.contains("live"), "the second attempt is the newest connection: {last}");
    assert_eq!(end_of(&nodes.first, attempts[0]).1, Some(4509), "the first attempt is older");
    ann.read(&nodes.second);
    assert!(!ann.is_open(&nodes.second), "the connection before the attempts is older");
}

#[test]
fn a_page_that_gave_up_on_a_frozen_node_has_its_place_on_another_one_when_the_frozen_node_goes_on()
{
    let mut nodes = Nodes::new();
    let old = nodes.first.connect().expect("room");
    nodes.first.send(old, &handshake("/websocket/ann", ""));
    nodes.second.advance(3_000);
    let page = nodes.second.connect().expect("room");
    nodes.second.send(page, &handshake("/websocket/ann", ""));
    nodes.second.advance(2_000);
    nodes.thaw(5_000);
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut nodes.first);
    bob.write_to(&mut nodes.first, "c1", "ann", "hi");
    nodes.second.settle();
    assert_eq!(nodes.second.pipes[page].texts().len(), 1, "the page gets what is for its user");
}

#[test]
fn a_client_that_has_not_entered_yet_is_asked_to_come_again_when_its_node_stops() {
    let mut link = super::link();
    let pipe = attempt(&mut link, "/websocket/ann?device=phone");
    World::settle(&mut link);
    assert_eq!(link.hub.online(), 1, "its handshake is answered");
    link.shutdown();
    World::settle(&mut link);
    let (last, code) = end_of(&link, pipe);
    assert!(last.contains(r#""type":"bye""#) && last.contains(r#""after":["#), "{last}");
    assert_eq!(code, Some(4012));
}

#[test]
fn a_client_that_has_not_entered_yet_is_told_that_a_newer_connection_has_its_place() {
    let mut link = super::link();
    let older = attempt(&mut link, "/websocket/ann?device=phone");
    World::settle(&mut link);
    let newer = attempt(&mut link, "/websocket/ann?device=phone");
    World::settle(&mut link);
    let (last, code) = end_of(&link, older);
    assert!(last.contains(r#""type":"kick""#) && last.contains("4509"), "{last}");
    assert_eq!(code, Some(4509));
    link.settle();
    assert!(end_of(&link, newer).0.contains("live"));
    link.send(newer, &text(r#"{"type":"presence","users":["ann"]}"#));
    link.settle();
    assert!(end_of(&link, newer).0.contains(r#""ann":true"#));
}
