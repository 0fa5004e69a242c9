//! Where a host can listen: on addresses, on names, and on sockets that it was given.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use longlink::{Config, Listener, Relay, RelayConfig, Server};
use socket2::{Domain, Socket, Type};

use crate::support::client::DEADLINE;

/// Addresses that are reserved for documentation: no machine has them (RFC 3849, RFC 5737).
const NO_V6: &str = "[2001:db8::1]:0";
const NO_V4: &str = "192.0.2.1:0";
const HERE: &str = "127.0.0.1:0";

fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn bind(texts: &[&str]) -> Result<usize, ErrorKind> {
    let listeners = Listener::bind(&addrs(texts)[..], &Config::default());
    listeners.map(|listeners| listeners.len()).map_err(|error| error.kind())
}

fn server(texts: &[&str]) -> std::io::Result<Server<Relay>> {
    Server::bind(&addrs(texts)[..], Config::default(), Relay::new(RelayConfig::default()))
}

#[test]
fn a_server_listens_on_a_name_though_this_machine_lacks_one_of_its_addresses() {
    let mut server = server(&[NO_V6, HERE]).unwrap();
    let listening: Vec<_> = server.listeners().filter_map(|it| it.tcp_addr()).collect();
    assert!(matches!(listening[..], [addr] if addr.is_ipv4()), "{listening:?}");

    let mut socket = TcpStream::connect(listening[0]).unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    socket.set_nonblocking(true).unwrap();
    let limit = std::time::Instant::now() + DEADLINE;
    let mut answer = [0; 256];
    let length = loop {
        assert!(std::time::Instant::now() < limit, "no answer");
        server.turn(Some(Duration::from_millis(5))).unwrap();
        if let Ok(length) = socket.read(&mut answer) {
            break length;
        }
    };
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn localhost_can_be_listened_on_whatever_addresses_it_has() {
    let relay = Relay::new(RelayConfig::default());
    let server = Server::bind("localhost:0", Config::default(), relay).unwrap();
    assert!(server.listeners().all(|it| it.tcp_addr().unwrap().ip().is_loopback()));
}

#[test]
fn an_address_that_the_machine_lacks_is_left_out_only_if_one_of_the_other_ip_version_is_bound() {
    assert_eq!(bind(&[HERE, NO_V6]), Ok(1));
    assert_eq!(bind(&[HERE, NO_V4]), Err(ErrorKind::AddrNotAvailable));
    assert_eq!(bind(&[NO_V4]), Err(ErrorKind::AddrNotAvailable));
    assert!(bind(&[NO_V6, NO_V4]).is_err());
    assert_eq!(bind(&[]), Err(ErrorKind::InvalidInput));
}

#[test]
fn an_address_that_is_taken_is_named_and_nothing_is_listened_on() {
    let taken = TcpListener::bind(HERE).unwrap();
    let taken = taken.local_addr().unwrap();
    let free = TcpListener::bind(HERE).unwrap().local_addr().unwrap();
    let error = server(&[&free.to_string(), &taken.to_string()]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    assert_eq!(bind(&[&free.to_string()]), Ok(1), "the free address was given back");
}

#[test]
fn an_address_that_is_listed_twice_is_bound_once() {
    let free = TcpListener::bind(HERE).unwrap().local_addr().unwrap().to_string();
    assert_eq!(bind(&[&free, &free]), Ok(1));
}

#[test]
fn a_socket_that_does_not_listen_is_no_listener() {
    let tcp = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    tcp.bind(&HERE.parse::<SocketAddr>().unwrap().into()).unwrap();
    let error = Listener::from_tcp(tcp.into(), &Config::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let unix = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    assert_eq!(Listener::from_unix(unix.into()).err().unwrap().kind(), ErrorKind::InvalidInput);
}
