//! Clients of a server that stops.

use super::phone::Phone;
use super::{link, link_of};
use longlink::sim::frames::{Got, handshake};
use longlink::{Config, RelayConfig};

#[test]
fn twenty_thousand_clients_get_a_bye_in_two_seconds_and_ten_seconds_for_their_return() {
    let mut config = Config::default();
    (config.max_connections, config.max_per_address, config.accept_rate) = (20_100, 0, 0);
    let mut link = link_of(config, RelayConfig::default());
    let mut pipes = Vec::new();
    for user in 0..20_000 {
        let pipe = link.connect().unwrap();
        link.send(pipe, &handshake(&format!("/websocket/u{user}?v=2"), ""));
        pipes.push(pipe);
        if user % 500 == 0 {
            link.settle();
        }
    }
    let page = link.connect().unwrap();
    link.send(page, &handshake("/websocket/page", ""));
    link.settle();
    assert_eq!(link.hub.online(), 20_001);
    link.shutdown();
    let told = |link: &super::Link| {
        let is_told =
            |pipe: &&usize| link.pipes[**pipe].texts().last().is_some_and(|it| it.contains("bye"));
        pipes.iter().filter(is_told).count()
    };
    link.settle();
    let first = told(&link);
    assert!((1..=200).contains(&first), "{first} in one turn");
    assert!(matches!(link.pipes[page].got.last(), Some(Got::Close(1001, _))));
    link.advance(1_000);
    let after_a_second = told(&link);
    assert!((9_900..=10_300).contains(&after_a_second), "{after_a_second} in a second");
    link.advance(1_100);
    assert_eq!(told(&link), 20_000);
    for pipe in &pipes {
        let last = *link.pipes[*pipe].texts().last().unwrap();
        assert!(last.contains(r#""after":[500,10500]"#), "{last}");
        assert!(matches!(link.pipes[*pipe].got.last(), Some(Got::Close(4012, _))));
    }
    link.advance(10_000);
    assert!(link.hub.is_drained());
}

#[test]
fn a_send_that_comes_while_the_server_stops_is_refused_with_retry() {
    let mut config = Config::default();
    config.close_timeout = std::time::Duration::from_secs(60);
    let mut link = link_of(config, RelayConfig::default());
    let mut phones: Vec<Phone> = (0..300).map(|n| Phone::new(&format!("u{n}"), "d")).collect();
    for phone in &mut phones {
        phone.connect(&mut link);
    }
    link.shutdown();
    link.settle();
    let is_open = |phone: &&mut Phone| phone.is_open(&link);
    let late = phones.iter_mut().find(is_open).expect("a client that gets its bye later");
    late.write_to(&mut link, "c1", "u1", "too late");
    assert_eq!(late.error(), ("unavailable", true));
}

#[test]
fn a_hidden_app_gets_a_bye_when_the_server_stops() {
    let mut link = link();
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    bob.say(&mut link, r#"{"type":"background"}"#);
    link.shutdown();
    link.settle();
    bob.read(&link);
    assert_eq!(bob.types(), ["bye"]);
}
