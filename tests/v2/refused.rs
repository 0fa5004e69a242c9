//! Clients and frames that the server refuses, and the errors that they get.

use super::phone::Phone;
use super::{KEPT, Link, link, link_of};
use longlink::sim::frames::{Got, handshake, header, masked, text};
use longlink::{Config, Peer, RelayConfig};

fn say(link: &mut Link, phone: &mut Phone, bytes: &[u8]) {
    link.send(phone.pipe, bytes);
    link.settle();
    phone.read(link);
}

#[test]
fn a_frame_that_is_too_long_is_answered_with_an_error_and_the_connection_stays_open() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    bob.connect(&mut link);
    alice.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "before");
    let long = format!(
        r#"{{"type":"send","cid":"c2","toUserId":"bob","message":"{}"}}"#,
        "x".repeat(65_536)
    );
    say(&mut link, &mut alice, &text(&long));
    assert_eq!(alice.types(), ["error"]);
    assert_eq!(alice.error(), ("too-big", false));
    assert!(alice.errors[0]["cid"].is_null(), "the cid could not be read");
    // The same holds for fragments, with a WebSocket ping between them.
    let mut pieces = masked(0x01, &[b'x'; 40_000]);
    pieces.extend(masked(0x89, b"there?"));
    pieces.extend(masked(0x00, &[b'x'; 40_000]));
    pieces.extend(masked(0x80, b"end"));
    say(&mut link, &mut alice, &pieces);
    assert_eq!(alice.types(), ["error"]);
    alice.write_to(&mut link, "c3", "bob", "after");
    assert_eq!(alice.state(), KEPT);
    bob.read(&link);
    assert_eq!(bob.texts(), ["before", "after"]);
    // The connection of a v1 page is closed, as before.
    let anna = link.connect().unwrap();
    link.send(anna, &handshake("/websocket/anna", ""));
    link.send(anna, &text(&long));
    link.settle();
    assert!(matches!(link.pipes[anna].got.last(), Some(Got::Close(1009, _))));
}

#[test]
fn a_long_frame_is_dropped_as_it_arrives_and_holds_no_memory() {
    let mut link = link();
    let mut eve = Phone::new("eve", "e");
    eve.connect(&mut link);
    let frame = masked(0x82, &vec![7; 16 << 20]);
    for (at, piece) in frame.chunks(1 << 16).enumerate() {
        link.send(eve.pipe, piece);
        link.settle();
        assert!(link.hub.buffered() < 4_096, "{} bytes are held", link.hub.buffered());
        if at % 64 == 0 {
            // The whole frame takes longer than a message may take.
            link.advance(20_000);
        }
    }
    eve.read(&link);
    assert_eq!(eve.types(), ["error"]);
    assert!(eve.is_open(&link));
    let head = header(0x82, (16 << 20) + 1);
    say(&mut link, &mut eve, &head);
    assert!(matches!(link.pipes[eve.pipe].got.last(), Some(Got::Close(1009, _))));
}

#[test]
fn bytes_that_are_dropped_count_for_the_rate_of_their_sender() {
    let mut config = Config::default();
    (config.message_rate, config.rate_burst) = (10, std::time::Duration::from_secs(1));
    let mut link = link_of(config, RelayConfig::default());
    let mut eve = Phone::new("eve", "e");
    eve.connect(&mut link);
    let frame = masked(0x82, &vec![7; 1 << 20]);
    for piece in frame.chunks(1_000) {
        link.send(eve.pipe, piece);
        link.settle();
    }
    eve.read(&link);
    assert!(eve.frames.is_empty(), "the sender is held back");
    assert!(link.hub.stats().held_back > 0);
    for _ in 0..20 {
        link.advance(10_000);
    }
    eve.read(&link);
    assert_eq!(eve.types(), ["error"]);
}

#[test]
fn a_client_gets_an_error_from_a_full_server_before_its_connection_is_closed() {
    let mut config = Config::default();
    config.max_connections = 2;
    let mut link = link_of(config, RelayConfig::default());
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    let mut carol = Phone::new("carol", "c");
    carol.connect(&mut link);
    assert_eq!(carol.types(), ["error"]);
    assert_eq!(carol.error(), ("full", true));
    alice.write_to(&mut link, "c1", "carol", "hi");
    carol.write_to(&mut link, "c1", "alice", "let me in");
    carol.read(&link);
    assert!(carol.frames.is_empty(), "frames of a refused client are ignored");
    assert!(!link.hub.is_online("carol"));
    link.advance(2_100);
    let got = &link.pipes[carol.pipe].got;
    assert!(matches!(got.last(), Some(Got::Close(4013, _))), "{got:?}");
    // The dialect v1 has no frame for an error, so a v1 page gets the status 503.
    let anna = link.connect().unwrap();
    link.send(anna, &handshake("/websocket/anna", ""));
    link.settle();
    assert!(matches!(link.pipes[anna].got[0], Got::Http(503, ..)));
    link.advance(10_000);
    assert_eq!(link.hub.stats().expired, 0, "no ticket has ended");
    alice.cut(&mut link);
    carol.connect(&mut link);
    assert_eq!(carol.texts(), ["hi"]);
}

#[test]
fn a_user_with_too_many_connections_gets_errors_on_a_bounded_number_of_them_at_a_time() {
    let mut config = Config::default();
    (config.max_per_user, config.max_connections) = (3, 1_000);
    let mut link = link_of(config, RelayConfig::default());
    let mut phones: Vec<Phone> = (0..40).map(|n| Phone::new("bob", &format!("d{n}"))).collect();
    for phone in &mut phones {
        phone.connect(&mut link);
    }
    let told = phones.iter().filter(|phone| phone.types() == ["error"]).count();
    assert_eq!(told, 16, "half of the places above the limit");
    link.advance(3_000);
    let refused = |got: &Got| matches!(got, Got::Http(503, ..));
    let rest = phones.iter().filter(|it| link.pipes[it.pipe].got.iter().any(refused)).count();
    assert_eq!(rest, 40 - 3 - 16);
    link.advance(10_000);
    assert_eq!(link.hub.connections(), 3);
    let mut again = Phone::new("bob", "again");
    again.connect(&mut link);
    assert_eq!(again.error(), ("full", true));
    let mut newest = Phone::new("bob", "d1");
    newest.connect(&mut link);
    assert_eq!(
        newest.types()[0],
        "welcome",
        "a newer connection replaces the older one of its device"
    );
}

#[test]
fn a_client_gets_an_error_when_its_address_has_too_many_connections_and_other_addresses_are_let_in()
{
    let mut config = Config::default();
    config.max_per_address = 2;
    let mut link = link_of(config, RelayConfig::default());
    let peer = |ip: [u8; 4]| Peer::from(std::net::SocketAddr::from((ip, 40_000)));
    let (one, other) = (peer([203, 0, 113, 7]), peer([203, 0, 113, 8]));
    let mut phones: Vec<Phone> = (0..11).map(|n| Phone::new(&format!("u{n}"), "d")).collect();
    for phone in &mut phones[..10] {
        phone.connect_from(&mut link, one);
    }
    assert!(phones[..2].iter().all(|phone| phone.types()[0] == "welcome"));
    for phone in &phones[2..10] {
        assert_eq!(phone.types(), ["error"], "{}", phone.user);
        assert_eq!(phone.error(), ("full", true));
        assert!(!link.hub.is_online(&phone.user));
    }
    // Beyond these, connections of this address are closed without an answer.
    assert_eq!(link.connect_from(one), None);
    phones[10].connect_from(&mut link, other);
    assert_eq!(phones[10].types()[0], "welcome");
    link.advance(2_100);
    for phone in &phones[2..10] {
        let got = &link.pipes[phone.pipe].got;
        assert!(matches!(got.last(), Some(Got::Close(4013, _))), "{got:?}");
    }
    link.advance(10_000);
    phones[0].cut(&mut link);
    phones[2].connect_from(&mut link, one);
    assert_eq!(phones[2].types()[0], "welcome", "there is room again");
}
