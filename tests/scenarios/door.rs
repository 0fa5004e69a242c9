//! Which connections are refused, and how soon: those of pages that try again and again, and those
//! of addresses and users with too many connections.

use std::net::SocketAddr;
use std::time::Duration;

use longlink::http::TrustedProxies;
use longlink::{Config, Peer};

use crate::*;
use longlink::sim::frames::{Got, handshake};

const FOREIGN: &str = "Origin: https://evil.test\r\n";

fn from(address: &str) -> Peer {
    Peer::from(format!("{address}:5000").parse::<SocketAddr>().unwrap())
}

/// Opens a connection of a page that will be refused, and sends its handshake.
fn ask(link: &mut Link) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &handshake("/websocket/A", FOREIGN));
    link.settle();
    pipe
}

fn enter_from(link: &mut Link, peer: Peer, user: &str) -> Option<usize> {
    let pipe = link.connect_from(peer)?;
    link.send(pipe, &handshake(&format!("/websocket/{user}"), ""));
    link.settle();
    Some(pipe)
}

#[test]
fn a_page_of_a_foreign_origin_is_refused_after_a_second() {
    let mut link = link();
    let page = ask(&mut link);
    link.advance(980);
    assert_eq!(status(&link, page), None);
    link.advance(40);
    assert_eq!(status(&link, page), Some(403));
    assert_eq!(link.hub.refusals(link.pipes[page].conn), 1);
    // A refusal that is not caused by a page is answered at once.
    let typo = enter(&mut link, "a%0A");
    assert_eq!(status(&link, typo), Some(400));
    assert_eq!(link.hub.stats().rejected, 1);
    leak_check(link);
}

#[test]
fn the_delay_of_refusals_slows_down_a_page_that_tries_again_and_again() {
    let mut link = link();
    let mut tries = 0;
    while link.now < 60_000 {
        let page = ask(&mut link);
        tries += 1;
        while status(&link, page).is_none() {
            link.advance(10);
        }
        link.finish(page);
        link.advance(2_000);
    }
    assert!((19..=21).contains(&tries), "{tries}");
    leak_check(link);
}

#[test]
fn only_a_limited_number_of_refusals_is_held_and_the_others_are_answered_at_once() {
    let mut config = Config::default();
    config.max_connections = 80;
    let mut link = link_with(config);
    let pages: Vec<usize> = (0..14).map(|_| ask(&mut link)).collect();
    let answered = pages.iter().filter(|&&page| status(&link, page) == Some(403)).count();
    assert_eq!(answered, 4, "an eighth of all connections may be held");
    // A client that has ended its side is answered, and makes room for the next one.
    link.finish(pages[0]);
    link.settle();
    assert_eq!(status(&link, pages[0]), Some(403));
    let next = ask(&mut link);
    assert_eq!(status(&link, next), None);
    link.advance(1_100);
    assert!(pages.iter().all(|&page| status(&link, page) == Some(403)));
    assert_eq!(status(&link, next), Some(403));
    assert_eq!(link.hub.refusals(link.pipes[next].conn), 15);
    leak_check(link);
}

#[test]
fn input_of_a_client_whose_refusal_is_held_is_dropped_and_a_shutdown_refuses_it_at_once() {
    let mut link = link();
    let page = ask(&mut link);
    link.send(page, &handshake("/websocket/A", ""));
    link.settle();
    assert_eq!(link.hub.buffered(), 0);
    link.shutdown();
    link.settle();
    assert_eq!(statuses(&link, page), [403]);
    link.finish(page);
    link.settle();
    assert!(link.pipes[page].closed && link.hub.is_drained());
    leak_check(link);
}

#[test]
fn without_a_delay_refusals_are_answered_at_once() {
    let mut config = Config::default();
    config.reject_delay = Duration::ZERO;
    let mut link = link_with(config);
    let page = ask(&mut link);
    assert_eq!(status(&link, page), Some(403));
    leak_check(link);
}

#[test]
fn an_address_may_have_only_so_many_connections_and_other_addresses_are_not_affected() {
    let mut config = Config::default();
    config.max_per_address = 3;
    let mut link = link_with(config);
    let crowd = from("203.0.113.7");
    let inside: Vec<usize> =
        (0..3).map(|n| enter_from(&mut link, crowd, &format!("u{n}")).unwrap()).collect();
    assert!(inside.iter().all(|&pipe| is_open(&link, pipe)));
    // A few more connections are answered with 503, and further ones are not accepted.
    let told: Vec<usize> = (0..8).map(|_| link.connect_from(crowd).expect("to be told")).collect();
    assert!(link.connect_from(crowd).is_none());
    link.send(told[0], &handshake("/websocket/x", ""));
    link.settle();
    let Some(Got::Http(503, head, _)) = link.pipes[told[0]].got.first() else { panic!() };
    assert!(head.contains("Retry-After"));
    assert_eq!(link.hub.stats().refused_by_address, 9);
    let other = enter_from(&mut link, from("203.0.113.8"), "other").unwrap();
    assert!(is_open(&link, other));
    // A connection that sends nothing ends soon, and then there is room again.
    link.advance(7_000);
    assert!(told.iter().all(|&pipe| link.pipes[pipe].closed));
    link.finish(inside[0]);
    link.settle();
    let next = enter_from(&mut link, crowd, "next").unwrap();
    assert!(is_open(&link, next));
    leak_check(link);
}

#[test]
fn loopback_has_no_limit_of_connections_of_an_address() {
    let mut config = Config::default();
    config.max_per_address = 1;
    let mut link = link_with(config);
    for n in 0..5 {
        let proxied = enter_from(&mut link, from("127.0.0.1"), &format!("p{n}")).unwrap();
        let local = enter(&mut link, &format!("l{n}"));
        assert!(is_open(&link, proxied) && is_open(&link, local));
    }
    leak_check(link);
}

#[test]
fn a_user_may_have_only_so_many_connections_on_all_devices_together() {
    for (most, admitted) in [(2, 2), (0, 30), (25, 25)] {
        let mut config = Config::default();
        config.max_per_user = most;
        let mut link = link_with(config);
        let pipes: Vec<usize> =
            (0..30).map(|n| enter(&mut link, &format!("A?device=d{n}"))).collect();
        let open = pipes.iter().filter(|&&pipe| is_open(&link, pipe)).count();
        assert_eq!(open, admitted, "of {most}");
        link.advance(2_000);
        let refused = pipes.iter().filter(|&&pipe| status(&link, pipe) == Some(503)).count();
        assert_eq!(refused, 30 - admitted, "of {most}");
        leak_check(link);
    }
}

/// A hub behind a proxy. Each address except that of the proxy may have three connections.
fn behind_a_proxy() -> (Link, Peer) {
    let mut config = Config::default();
    config.max_per_address = 3;
    config.trusted_proxies = TrustedProxies::parse(["198.51.100.1"]).unwrap();
    (link_with(config), from("198.51.100.1"))
}

#[test]
fn a_proxy_has_no_limit_of_connections_and_each_client_behind_it_has_one() {
    let (mut link, proxy) = behind_a_proxy();
    let pipes: Vec<usize> = (0..20)
        .map(|n| {
            let pipe = link.connect_from(proxy).expect("a proxy has no limit");
            // Two clients have one address, and the last five clients another one.
            let client = if n < 15 { n / 2 } else { 99 };
            let field = format!("X-Forwarded-For: 203.0.113.{client}\r\n");
            link.send(pipe, &handshake(&format!("/websocket/u{n}"), &field));
            link.settle();
            pipe
        })
        .collect();
    assert!(pipes[..18].iter().all(|&pipe| is_open(&link, pipe)));
    assert_eq!((status(&link, pipes[18]), status(&link, pipes[19])), (Some(503), Some(503)));
    assert_eq!(link.hub.stats().refused_by_address, 2);
    // Clients of the same addresses without a proxy are counted together with these.
    let direct = enter_from(&mut link, from("203.0.113.0"), "direct").unwrap();
    assert!(is_open(&link, direct));
    let fourth = enter_from(&mut link, from("203.0.113.0"), "fourth").unwrap();
    assert_eq!(status(&link, fourth), Some(503));
    // A connection that has gone makes room.
    link.finish(pipes[0]);
    link.advance(6_000);
    let next = enter_from(&mut link, from("203.0.113.0"), "next").unwrap();
    assert!(is_open(&link, next));
    leak_check(link);
}

#[test]
fn a_proxy_header_counts_for_the_client_before_the_head_comes() {
    let (mut link, proxy) = behind_a_proxy();
    let client = from("203.0.113.7");
    let pipes: Vec<usize> = (0..5)
        .map(|_| {
            let pipe = link.connect_from(proxy).unwrap();
            link.hub.set_peer(link.pipes[pipe].conn, client);
            pipe
        })
        .collect();
    // Connections above the limit have one second for their head, and others have eight.
    link.advance(2_000);
    let closed: Vec<bool> = pipes.iter().map(|&pipe| link.pipes[pipe].closed).collect();
    assert_eq!(closed, [false, false, false, true, true]);
    leak_check(link);
}

#[test]
fn refusals_count_for_the_client_behind_the_proxy() {
    let (mut link, proxy) = behind_a_proxy();
    for (client, refusals) in [("203.0.113.7", 1), ("203.0.113.8", 1), ("203.0.113.7", 2)] {
        let pipe = link.connect_from(proxy).unwrap();
        let fields = format!("{FOREIGN}X-Forwarded-For: {client}\r\n");
        link.send(pipe, &handshake("/websocket/A", &fields));
        link.settle();
        assert_eq!(link.hub.refusals(link.pipes[pipe].conn), refusals, "{client}");
    }
    leak_check(link);
}

/// A proxy such as nginx puts the client's address behind whatever the client itself has sent,
/// in one value.
#[test]
fn a_byte_that_is_no_utf8_does_not_free_a_client_from_the_limit_of_its_address() {
    let mut config = Config::default();
    config.trusted_proxies = TrustedProxies::parse(["10.0.0.1"]).unwrap();
    config.max_per_address = 2;
    let mut link = link_with(config);
    let opened = (0..20).filter(|user| {
        let pipe = link.connect_from(from("10.0.0.1")).unwrap();
        let forwarded = "X-Forwarded-For: ?, 203.0.113.7\r\n";
        let mut bytes = handshake(&format!("/websocket/u{user}"), forwarded);
        let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
        bytes[at] = 0xFF;
        link.send(pipe, &bytes);
        link.settle();
        is_open(&link, pipe)
    });
    assert_eq!(opened.count(), 2, "connections of one address");
    leak_check(link);
}

#[test]
fn a_second_request_of_a_local_connection_is_checked_as_the_first_one_is() {
    let mut link = link();
    let head = String::from_utf8(handshake("/websocket/A", "")).unwrap();
    let elsewhere = head.replace("Host: 127.0.0.1", "Host: elsewhere.example");
    assert_ne!(head, elsewhere);
    for earlier in [0, 1, 2] {
        let a = link.connect().unwrap();
        link.send(a, &longlink::sim::frames::request("GET", "/healthz", "").repeat(earlier));
        link.settle();
        link.send(a, elsewhere.as_bytes());
        // A refusal is held for a while.
        link.advance(5_000);
        assert_eq!(statuses(&link, a).last(), Some(&403), "after {earlier} requests");
    }
    leak_check_later(link);
}
