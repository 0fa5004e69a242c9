//! URLs that the command is given, against the crate `http` and against themselves.

use tungstenite::http::Uri;

use crate::client_url::{Url, percent_encode};
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "url",
    run,
    branches: &[
        "ws",
        "wss",
        "http",
        "refused",
        "IPv6",
        "a port",
        "a query",
        "also for the crate http",
    ],
    words: &[
        b"ws://",
        b"wss://",
        b"http://",
        b"https://",
        b"[::1]",
        b"[::ffff:1.2.3.4]",
        b":8080",
        b":0",
        b":65536",
        b":+80",
        b"@",
        b"?a=b",
        b"#",
        b"%41",
        b"{user}",
        b"//",
    ],
};

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(
        decode(&percent_encode(text)),
        bytes,
        "a text that was escaped and decoded is the same"
    );
    let parsed = [Url::parse(text), Url::parse_http(text)];
    if parsed.iter().all(Result::is_err) {
        reached("refused");
    }
    assert!(parsed[0].is_err() || parsed[1].is_err(), "a URL has one scheme");
    for url in parsed.into_iter().flatten() {
        look_at(text, &url);
    }
}

fn look_at(text: &str, url: &Url) {
    let (scheme, rest) = text.split_once("://").expect("a URL has a scheme");
    reached(match scheme {
        "ws" => "ws",
        "wss" => "wss",
        _ => "http",
    });
    assert_eq!(url.tls, scheme.ends_with('s') && scheme != "ws");
    assert!(!url.host.is_empty() && url.port > 0);
    // What is written into a request must stay in its place.
    for part in [&url.host, &url.authority, &url.target] {
        assert!(part.bytes().all(|byte| byte.is_ascii_graphic()), "{part:?} would end a line");
        assert!(!part.contains('#'));
    }
    assert!(url.target.starts_with('/') && !url.authority.contains(['/', '?', '@']));
    assert!(rest.starts_with(&url.authority));
    if url.host.contains(':') {
        reached("IPv6");
        assert!(url.host.parse::<std::net::Ipv6Addr>().is_ok(), "{:?} is no address", url.host);
    }
    if url.authority.ends_with(&format!(":{}", url.port)) {
        reached("a port");
    }
    if url.target.contains('?') {
        reached("a query");
        assert!(!url.path().contains('?'));
    }
    let again = format!("{scheme}://{}{}", url.authority, url.target);
    let parsed =
        if scheme.starts_with("ws") { Url::parse(&again) } else { Url::parse_http(&again) };
    assert_eq!(parsed.as_ref(), Ok(url), "a URL that is written again is read as another one");
    if let Ok(theirs) = again.parse::<Uri>() {
        reached("also for the crate http");
        let host = theirs.host().unwrap_or_default().trim_matches(['[', ']']);
        assert_eq!(url.host, host);
        if let Some(port) = theirs.port_u16() {
            assert_eq!(url.port, port);
        }
        assert_eq!(url.path(), theirs.path());
    }
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (digit(), digit());
                (high.expect("a digit") << 4 | low.expect("a digit")) as u8
            }
            byte => byte,
        });
    }
    decoded
}
