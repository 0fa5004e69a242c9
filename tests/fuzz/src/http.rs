//! HTTP requests and WebSocket handshakes: given whole against given cut into pieces, and what was
//! taken against a strict reader.

use std::time::Instant;

use longlink::http::{Refused, Request, Response};
use longlink::{
    Accept, CloseReason, Config, ConnId, Context, Handler, Message, Peer, Reject, Reply, Upgrade,
};

use crate::input::{Input, pieces};
use crate::stream::{Server, answers};
use crate::{Target, reached, strict};

pub const TARGET: Target = Target {
    name: "http",
    run,
    branches: &[
        "cut",
        "no body",
        "a body",
        "chunks",
        "upgraded",
        "two requests",
        "refused",
        "frames",
    ],
    words: &[
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"\r\n",
        b"\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Host: ",
        b"Connection: Upgrade",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Expect: 100-continue",
        b"HTTP/1.0",
        b"HEAD ",
        b"http://a/",
        b"0\r\n\r\n",
        b"3;a=\"b\"\r\n",
        b"%2e%2f",
        b"\x81\x84\0\0\0\0ping",
    ],
};

/// The longest body that is read here.
const MAX_BODY: usize = 1_000;

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let cuts = input.cuts(5);
    let bytes = input.0;
    let whole = serve(&[bytes]);
    let cut = pieces(bytes, &cuts);
    if cut.len() > 1 {
        reached("cut");
    }
    let in_pieces = serve(&cut);
    assert_eq!(whole, in_pieces, "bytes in pieces are handled in another way than the whole");
    if !whole.refused.is_empty() {
        reached("refused");
    }
    if whole.requests.len() > 1 {
        reached("two requests");
    }
    if !whole.messages.is_empty() {
        reached("frames");
    }
    against_strict(bytes, &whole);
}

/// Checks that a strict reader takes each request that was taken, too, and ends it at the same place.
fn against_strict(bytes: &[u8], seen: &Seen) {
    let mut rest = bytes;
    for request in &seen.requests {
        let Some((strict, after)) = strict::request(rest) else {
            panic!("a strict reader refuses what was taken: {:?}", String::from_utf8_lossy(rest));
        };
        reached(match (strict.is_chunked, strict.body.is_empty()) {
            (true, _) => "chunks",
            (false, true) => "no body",
            (false, false) => "a body",
        });
        assert_eq!(request.method, strict.method);
        if let Some(body) = &request.body {
            assert_eq!(*body, strict.body, "a strict reader reads another body");
        } else {
            reached("upgraded");
            assert!(strict.body.is_empty(), "a handshake has no body");
        }
        rest = after;
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    method: String,
    path: String,
    query: String,
    /// None for a handshake.
    body: Option<Vec<u8>>,
}

/// What a handler was told, and what the client was answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    requests: Vec<Asked>,
    refused: Vec<u16>,
    messages: Vec<Vec<u8>>,
    closed: Option<CloseReason>,
    answered: Vec<(u16, String, Vec<u8>)>,
    is_over: bool,
}

impl Handler for Seen {
    type Session = ();
    type Event = ();

    fn on_upgrade(
        &mut self,
        _: &mut Context,
        _: ConnId,
        it: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        let (method, path, query) = ("GET".into(), it.path().into(), it.query().into());
        self.requests.push(Asked { method, path, query, body: None });
        Ok(Accept::user("u"))
    }

    fn on_request(&mut self, _: &mut Context, _: ConnId, it: &Request<'_>) -> Reply {
        let Some(body) = it.body() else { return Reply::Read { at_most: MAX_BODY } };
        let body = Some(body.to_vec());
        let (method, path, query) = (it.method().into(), it.path().into(), it.query().into());
        self.requests.push(Asked { method, path, query, body });
        Reply::Now(Response::text(200, format!("request {}", self.requests.len())))
    }

    fn on_refused(&mut self, _: &mut Context, _: ConnId, refused: Refused<'_>) -> Response {
        self.refused.push(refused.status);
        // If a head is wrong in two ways, its pieces may show the second mistake first.
        Response::text(refused.status, "refused")
    }

    fn on_message(&mut self, hub: &mut Context, conn: ConnId, _: &mut (), message: Message<'_>) {
        match message {
            Message::Text(text) => {
                self.messages.push(text.into());
                hub.send(conn, text);
            }
            Message::Binary(bytes) => {
                self.messages.push(bytes.into());
                hub.send(conn, bytes);
            }
        }
    }

    fn on_close(&mut self, _: &mut Context, _: ConnId, _: (), reason: &CloseReason) {
        self.closed = Some(reason.clone());
    }
}

/// Gives these pieces to a server, one after the other and at one time.
fn serve(pieces: &[&[u8]]) -> Seen {
    let now = Instant::now();
    let mut config = Config::default();
    (config.max_connections, config.max_requests) = (4, 5);
    (config.message_rate, config.broadcast_rate) = (0, 0);
    (config.max_head, config.max_message) = (600, 300);
    let mut server = Server::new(config, Seen::default(), now);
    let conn = server.hub.open(Peer::UNKNOWN, true, now).expect("room for one connection");
    for piece in pieces {
        server.receive(conn, piece, now);
    }
    let written = server.take_written();
    let mut seen = std::mem::take(server.hub.parts().1);
    let answers = if seen.requests.iter().any(|request| request.method == "HEAD") {
        // Whether a body follows depends on the request; the bytes alone are compared.
        seen.answered.push((0, String::new(), written));
        Vec::new()
    } else {
        answers(&written)
    };
    // A client that waits for a body may be told to go on, or has sent it already.
    let final_ones = answers.into_iter().filter(|answer| answer.status != 100);
    seen.answered.extend(final_ones.map(|answer| (answer.status, answer.head, answer.body)));
    seen.is_over = !server.hub.may_read(conn);
    server.leave(conn, now);
    assert_eq!(server.hub.connections(), 0, "a connection that has ended is gone");
    assert_eq!(server.hub.buffered(), 0, "bytes are held for no connection");
    seen
}
