//! What an ordinary client sees, with messages of every size, at every speed and in both TLS versions.

use std::io::Write;
use std::time::Instant;

use rustls::version::{TLS12, TLS13};

use crate::client::{BOTH, Client, Secure, Tcp, secure};
use crate::support::client::DEADLINE;
use longlink::sim::frames;

/// A one-to-one message that is as long as `text` says.
fn to(user: &str, text: &str) -> String {
    format!(r#"{{"toUserId":"{user}","message":"{text}"}}"#)
}

/// A server with long queues for clients that read late, because the kernel keeps little.
fn roomy() -> Secure {
    secure(|config| {
        config.max_queue = 16 << 20;
        config.send_buffer = 8_192;
    })
}

#[test]
fn users_with_tls_1_2_and_tls_1_3_chat_with_each_other() {
    let secure = secure(|_| {});
    let (mut a, mut b) = (secure.connect(&TLS13, "A"), secure.connect(&TLS12, "B"));
    for _ in 0..20 {
        a.beat();
        a.say(&to("B", "hello"));
        assert!(b.text().contains(r#""formUserId":"A""#));
        b.say(&to("A", "hello"));
        assert!(a.text().contains(r#""formUserId":"B""#));
    }
}

#[test]
fn a_tls_handshake_may_arrive_byte_by_byte() {
    let secure = secure(|_| {});
    for version in BOTH {
        let mut tcp = Tcp::connect(secure.site.addr);
        tcp.trickles = true;
        let mut client = Client::over(tcp, secure.trust(version));
        client.upgrade("A");
        client.beat();
    }
}

#[test]
fn a_message_of_many_tls_records_and_reads_arrives_whole_and_in_order() {
    let secure = secure(|config| config.max_queue = 16 << 20);
    for version in BOTH {
        let mut client = secure.connect(version, "A");
        let texts: Vec<String> =
            (0..60).map(|n| format!("{n} {}", "x".repeat(1_000 * n))).collect();
        let mut bytes = Vec::new();
        for text in &texts {
            bytes.extend(frames::text(&to("A", text)));
        }
        // rustls writes into its own buffer: all of it is there before anything is read.
        client.tls.conn.set_buffer_limit(None);
        let addressed = r#"{"type":"message","formUserId":"A","toUserId":"A","message":"#;
        client.send(&bytes);
        for text in &texts {
            assert_eq!(client.text(), format!(r#"{addressed}"{text}"}}"#));
        }
        client.beat();
    }
}

#[test]
fn a_tls_client_that_reads_late_gets_everything_in_order() {
    const MESSAGES: usize = 200;
    let secure = roomy();
    for version in BOTH {
        let mut late = secure.connect(version, "late");
        let mut sender = secure.connect(version, "sender");
        let text = "y".repeat(30_000);
        for n in 0..MESSAGES {
            sender.say(&to("late", &format!("{n} {text}")));
        }
        sender.beat();
        secure.site.until("bytes wait for the late client", |hub| {
            hub.connections_of("late").first().is_some_and(|&conn| hub.queued(conn) > 1 << 20)
        });
        for n in 0..MESSAGES {
            assert!(late.text().contains(&format!(r#""{n} yyy"#)), "{n}");
        }
        late.beat();
        drop((late, sender));
        secure.site.until("nothing is left", |hub| hub.connections() == 0 && hub.buffered() == 0);
    }
}

#[test]
fn a_tls_client_that_never_reads_is_dropped_when_its_queue_is_full() {
    let secure = secure(|config| config.send_buffer = 8_192);
    let _deaf = secure.connect(&TLS13, "deaf");
    let mut sender = secure.connect(&TLS13, "sender");
    let text = to("deaf", &"z".repeat(50_000));
    let limit = Instant::now() + DEADLINE;
    while secure.site.ask(|hub, _| hub.stats().slow_readers) == 0 {
        assert!(Instant::now() < limit);
        sender.say(&text);
        sender.beat();
    }
}

#[test]
fn a_connection_that_ends_in_order_ends_tls_with_close_notify() {
    let secure = secure(|_| {});
    for version in BOTH {
        // The client closes the connection.
        let mut client = secure.connect(version, "A");
        client.send(&frames::close(1000));
        assert_eq!(client.frame().unwrap().close_code(), Some(1000));
        assert_eq!(client.frame(), None, "the stream ends with close_notify");
        // The server ends a connection after the last answer.
        let mut client = Client::dial(secure.site.addr, secure.trust(version));
        client.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.end().unwrap(), b"ok\n");
    }
    // The server stops.
    let mut clients = BOTH.map(|version| secure.connect(version, "B"));
    secure.site.stop();
    for client in &mut clients {
        assert_eq!(client.frame().unwrap().close_code(), Some(1001));
        assert_eq!(client.frame(), None);
    }
}

#[test]
fn a_client_may_end_a_connection_with_or_without_close_notify() {
    let secure = secure(|_| {});
    for version in BOTH {
        let mut told = secure.connect(version, "told");
        told.tls.conn.send_close_notify();
        told.tls.conn.complete_io(&mut told.tls.sock).unwrap();
        let untold = secure.connect(version, "untold");
        untold.tls.sock.stream.shutdown(std::net::Shutdown::Write).unwrap();
        secure.site.until("both are gone", |hub| hub.connections() == 0);
        // The answer to a request that came with the end is still sent.
        let mut last = Client::dial(secure.site.addr, secure.trust(version));
        last.shake_hands().unwrap();
        last.tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        last.tls.conn.send_close_notify();
        last.tls.flush().unwrap();
        assert!(last.head().starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn tls_keys_may_be_renewed_at_any_time() {
    let secure = secure(|_| {});
    let mut client = secure.connect(&TLS13, "A");
    for _ in 0..10 {
        client.tls.conn.refresh_traffic_keys().unwrap();
        client.beat();
    }
}

#[test]
fn many_small_messages_share_tls_records_and_stay_in_order() {
    const MESSAGES: usize = 3_000;
    let secure = roomy();
    for version in BOTH {
        let mut late = secure.connect(version, "late");
        let mut sender = secure.connect(version, "sender");
        // The messages alternate with pings, so the bytes that wait for the late client are in many pieces.
        for n in 0..MESSAGES {
            sender.say(&to("late", &format!("{n} {}", "z".repeat(n % 500))));
            sender.say("ping");
        }
        for _ in 0..MESSAGES {
            assert_eq!(sender.text(), r#"{"type":"pong"}"#);
        }
        for n in 0..MESSAGES {
            assert!(late.text().contains(&format!(r#""{n} {}""#, "z".repeat(n % 500))), "{n}");
        }
        late.beat();
        drop((late, sender));
        secure.site.until("nothing is left", |hub| hub.connections() == 0 && hub.buffered() == 0);
    }
}
