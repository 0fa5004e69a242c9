//! Requests: what it costs to accept a handshake, or to refuse one.
//!
//! ```text
//! cargo bench --bench handshake
//! ```
//!
//! Each request has a connection of its own through hub and relay: the connection is opened, its
//! request is read, the answer is written, and the connection is dropped and freed.

mod support;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longlink::{Relay, RelayConfig};
use support::line::Lines;

const SWITCHING: &str = "HTTP/1.1 101 ";

/// The request that WeChat sends for `wx.connectSocket`.
const MINI_PROGRAM: &str = "GET /websocket/user-00000000042 HTTP/1.1\r\n\
    Host: chat.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: https://servicewechat.com\r\n\
    User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) MicroMessenger/8.0.50\r\n\
    Referer: https://servicewechat.com/wx0123456789abcdef/devtools/page-frame.html\r\n\r\n";

/// The request that a browser sends through a reverse proxy.
const BROWSER: &str = "GET /websocket/%E5%BC%A0%E4%B8%89?device=laptop HTTP/1.1\r\n\
    Host: chat.example.com\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\
    X-Real-IP: 203.0.113.7\r\nConnection: upgrade\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 \
    (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\n\
    Origin: https://chat.example.com\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: zh-CN,zh;q=0.9,en;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// The request of a web page on a foreign site.
const FOREIGN: &str = "GET /websocket/user-00000000042 HTTP/1.1\r\n\
    Host: chat.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: https://evil.example.net\r\n\r\n";

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: chat.example.com\r\n\r\n";
const GARBAGE: &str = "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0";

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    let cases = [
        ("mini-program", MINI_PROGRAM, SWITCHING, usize::MAX),
        ("browser", BROWSER, SWITCHING, usize::MAX),
        ("browser, byte by byte", BROWSER, SWITCHING, 1),
        ("foreign origin", FOREIGN, "HTTP/1.1 403 ", usize::MAX),
        ("health check", HEALTH, "HTTP/1.1 200 ", usize::MAX),
        ("not HTTP", GARBAGE, "HTTP/1.1 400 ", usize::MAX),
    ];
    for (name, head, answer, piece) in cases {
        let mut lines = Lines::new(8, Relay::new(RelayConfig::default()));
        // The connections do not come from a loopback address, where `Host` would be checked as
        // well.
        lines.loopback = false;
        let mut pieces: Vec<Vec<u8>> =
            head.as_bytes().chunks(piece.min(head.len())).map(<[u8]>::to_vec).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let conn = lines.open();
                for piece in &mut pieces {
                    lines.receive(conn, piece);
                }
                let answered = lines.hub.pending(conn).and_then(|pending| pending.single());
                assert!(answered.is_some_and(|bytes| bytes.starts_with(answer.as_bytes())));
                lines.turn();
                lines.hub.abort(conn);
                lines.turn();
            });
        });
        assert_eq!(lines.hub.connections(), 0, "all were freed");
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = requests }
criterion_main!(benches);
