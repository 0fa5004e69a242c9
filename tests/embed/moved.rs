//! A server on a thread of its own.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use longlink::{Config, Listener, Relay, RelayConfig, Server};

use crate::support::client::{DEADLINE, Socket};
use crate::support::serve::patient;
use longlink::sim::frames::{ACCEPT, handshake};

fn server() -> Server<Relay> {
    let relay = Relay::new(RelayConfig::default());
    Server::bind("127.0.0.1:0", patient(), relay).unwrap()
}

#[test]
fn a_server_runs_on_a_thread_until_it_is_stopped() {
    let mut server = server();
    let addr = server.listeners().next().unwrap().tcp_addr().unwrap();
    let stopper = server.stopper();
    let (tell, stopped) = channel();
    std::thread::spawn(move || {
        server.run().unwrap();
        tell.send(server).unwrap();
    });
    let mut sockets: Vec<_> =
        (0..20).map(|n| Socket::connect(addr, &format!("/websocket/{n}"), "")).collect();
    sockets[0].send("hello");
    for socket in &mut sockets {
        assert!(socket.text().contains("hello"));
    }
    // The server can be stopped from any thread, and more than once.
    let second = stopper.clone();
    std::thread::spawn(move || second.stop()).join().unwrap();
    stopper.stop();
    for socket in &mut sockets {
        assert_eq!(socket.close_code(), Some(1001));
    }
    let mut server = stopped.recv_timeout(DEADLINE).expect("it returns");
    assert!(server.is_stopped());
    assert_eq!(server.parts().0.connections(), 0);
    server.parts().0.check_invariants();
    assert!(std::net::TcpStream::connect_timeout(&addr, DEADLINE).is_err());
    // Waking a server that is gone does nothing.
    drop(server);
    stopper.wake();
}

#[test]
fn a_server_without_connections_stops_at_once() {
    let mut server = server();
    let stopper = server.stopper();
    stopper.stop();
    let start = Instant::now();
    server.run().unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_peer_that_does_not_end_its_side_holds_a_stop_no_longer_than_the_close_timeout() {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(300);
    let mut server =
        Server::bind("127.0.0.1:0", config, Relay::new(RelayConfig::default())).unwrap();
    let addr = server.listeners().next().unwrap().tcp_addr().unwrap();
    let stopper = server.stopper();
    let (tell, stopped) = channel();
    std::thread::spawn(move || {
        server.run().unwrap();
        tell.send(()).unwrap();
    });
    let stubborn = Socket::connect(addr, "/websocket/A", "");
    // Another connection has not sent anything yet.
    let silent = crate::support::client::Raw::connect(addr);
    let start = Instant::now();
    stopper.stop();
    stopped.recv_timeout(DEADLINE).expect("it stops all the same");
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
    drop((stubborn, silent));
}

#[test]
fn a_turn_ends_when_it_is_woken_or_has_waited_long_enough() {
    let mut server = server();
    let start = Instant::now();
    server.turn(Some(Duration::from_millis(50))).unwrap();
    assert!(start.elapsed() < DEADLINE);
    let stopper = server.stopper();
    std::thread::spawn(move || stopper.wake());
    // Without the wake it would sleep for ever: nothing is due.
    server.turn(None).unwrap();
    assert!(!server.is_stopped());
}

#[test]
fn a_unix_socket_is_served_beside_tcp_and_its_file_is_removed() {
    let path = std::env::temp_dir().join(format!("longlink-embed-{}.sock", std::process::id()));
    let config = Config::default();
    // The file of a server that has gone is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listeners = vec![
        Listener::tcp("127.0.0.1:0".parse().unwrap(), &config).unwrap(),
        Listener::unix(&path).unwrap(),
    ];
    let addr = listeners[0].tcp_addr().unwrap();
    assert!(Listener::unix(&path).is_err(), "somebody listens there");
    let mut server = Server::new(listeners, config, Relay::new(RelayConfig::default())).unwrap();
    let stopper = server.stopper();
    let (tell, stopped) = channel();
    let thread = std::thread::spawn(move || {
        server.run().unwrap();
        tell.send(()).unwrap();
    });
    let mut over_tcp = Socket::connect(addr, "/websocket/A", "");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // A Unix socket is no loopback listener, so a request may name any host.
    let request = String::from_utf8(handshake("/websocket/B", "")).unwrap();
    let request = request.replace("Host: 127.0.0.1", "Host: proxy.example");
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let message = br#"{"type":"message","formUserId":"A","toUserId":"B","message":1}"#;
    let mut seen = Vec::new();
    let mut sent = false;
    while !seen.ends_with(message) {
        let mut bytes = [0; 1_024];
        let length = std::io::Read::read(&mut stream, &mut bytes).unwrap();
        assert_ne!(length, 0, "{:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&bytes[..length]);
        if !sent && seen.windows(4).any(|window| window == b"\r\n\r\n") {
            assert!(String::from_utf8_lossy(&seen).contains(ACCEPT));
            over_tcp.send(r#"{"toUserId":"B","message":1}"#);
            sent = true;
        }
    }
    drop((stream, over_tcp));
    stopper.stop();
    stopped.recv_timeout(DEADLINE).unwrap();
    thread.join().unwrap();
    assert!(!path.exists());
}
