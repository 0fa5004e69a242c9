//! Plain HTTP for everybody: the demo page, the files of the client, and the health check. A new page
//! or file that anybody may load is a row of `ASSETS`; pages for operators are in `backend/ops`. What is
//! answered with `--demo off`, too, stands beside `/healthz` in `answer`. A path that the backend's
//! listener answers, too, is an exception in `Backend::is_ours`.

use crate::engine::LinkState;
use crate::journal::Health;
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use super::config::RelayConfig;
use super::door;

/// What the demo page and the ops page may load and connect to: their own server, and any
/// WebSocket, because some browsers do not count `ws:` to the same host as `'self'`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// A file that is part of the program.
pub(crate) struct Asset {
    pub path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

pub(crate) const fn asset(
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
) -> Asset {
    Asset { path, content_type, body }
}

impl Asset {
    /// Returns the answer to a request for this file.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Response {
        if !is_reading(request) {
            return read_only();
        }
        Response::new(200)
            .field("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            .field("Referrer-Policy", "no-referrer")
            .field("X-Content-Type-Options", "nosniff")
            .field("Cache-Control", "no-cache")
            .body(self.content_type, self.body)
    }
}

fn is_reading(request: &Request<'_>) -> bool {
    matches!(request.method(), "GET" | "HEAD")
}

fn read_only() -> Response {
    Response::text(405, "only GET and HEAD are allowed").field("Allow", "GET, HEAD")
}

/// The client is in the folder of the sample mini-program, because WeChat's tools follow no link
/// out of a project. This file is the only original.
macro_rules! client {
    () => {
        include_str!("../../examples/miniprogram/longlink/longlink.js")
    };
}

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const CSS: &str = "text/css; charset=utf-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";

/// The demo page and the files of the client. With `--demo off` none of them is served.
const ASSETS: [Asset; 15] = [
    asset("/", HTML, include_bytes!("demo/index.html")),
    asset("/demo/layout.css", CSS, include_bytes!("demo/layout.css")),
    asset("/demo/phone.css", CSS, include_bytes!("demo/phone.css")),
    asset("/demo/main.js", SCRIPT, include_bytes!("demo/main.js")),
    asset("/demo/chat.js", SCRIPT, include_bytes!("demo/chat.js")),
    asset("/demo/memory.js", SCRIPT, include_bytes!("demo/memory.js")),
    asset("/demo/peer.js", SCRIPT, include_bytes!("demo/peer.js")),
    asset("/demo/network.js", SCRIPT, include_bytes!("demo/network.js")),
    asset("/demo/log.js", SCRIPT, include_bytes!("demo/log.js")),
    asset("/demo/phone.js", SCRIPT, include_bytes!("demo/phone.js")),
    asset("/demo/strip.js", SCRIPT, include_bytes!("demo/strip.js")),
    asset("/demo/words.js", SCRIPT, include_bytes!("demo/words.js")),
    asset("/longlink.js", SCRIPT, client!().as_bytes()),
    // The client as an ES module. It defines a `module` of its own, so that a bundle's `module` is
    // not used.
    asset(
        "/longlink.mjs",
        SCRIPT,
        concat!("const module = { exports: {} };\n", client!(), "\nexport { connect };\n")
            .as_bytes(),
    ),
    asset(
        "/longlink.d.ts",
        "text/plain; charset=utf-8",
        include_bytes!("../../examples/miniprogram/longlink/longlink.d.ts"),
    ),
];

/// The file that tells the demo page whether tickets are required, because no page can see the 401 of
/// a handshake, and where messages are kept: in a file, so that they survive a crash of the server; in
/// Redis, so that they survive it, too, and other nodes have them; or only in the memory of the server.
const fn about_server(body: &'static [u8]) -> Asset {
    asset("/demo/server.json", JSON, body)
}

/// The file without and with tickets, each for a server with its memory, with a file, and over Redis.
static ABOUT_SERVER: [[Asset; 3]; 2] = [
    [
        about_server(br#"{"tickets":false,"store":false}"#),
        about_server(br#"{"tickets":false,"store":true}"#),
        about_server(br#"{"tickets":false,"store":false,"redis":true}"#),
    ],
    [
        about_server(br#"{"tickets":true,"store":false}"#),
        about_server(br#"{"tickets":true,"store":true}"#),
        about_server(br#"{"tickets":true,"store":false,"redis":true}"#),
    ],
];

/// What the pages say about the server.
#[derive(Clone, Copy, Debug)]
pub struct State {
    pub asks_for_tickets: bool,
    pub is_draining: bool,
    pub health: Health,
    /// Whether other nodes can be reached; `None` if this server is alone.
    pub link: Option<LinkState>,
}

impl State {
    fn find(self, path: &str) -> Option<&'static Asset> {
        let kept = match self.health {
            _ if self.link.is_some() => 2,
            Health::Stored | Health::Full => 1,
            Health::Memory | Health::Failed => 0,
        };
        let about = &ABOUT_SERVER[usize::from(self.asks_for_tickets)][kept];
        ASSETS.iter().chain([about]).find(|asset| asset.path == path)
    }

    /// Answers `/healthz`. A server without a store answers with a text, as it always has.
    fn health(self) -> Response {
        if self.is_draining {
            return Response::text(503, "the server is stopping").field("Retry-After", "2");
        }
        let (status, body) = match self.link {
            Some(LinkState::Up) => (200, r#"{"status":"ok","cluster":{"state":"up"}}"#),
            // A balancer sends new clients to a node that still reaches the others.
            Some(LinkState::Down) => (
                503,
                r#"{"status":"failed","cluster":{"state":"down","why":"Redis cannot be reached: messages are delivered to users of this node only, and none is kept"}}"#,
            ),
            None => return self.health_alone(),
        };
        Response::new(status).field("Cache-Control", "no-store").body(JSON, body.as_bytes())
    }

    fn health_alone(self) -> Response {
        let (status, body) = match self.health {
            Health::Memory => {
                return Response::text(200, "ok").field("Cache-Control", "no-store");
            }
            Health::Stored => (200, r#"{"status":"ok","store":{"state":"ok"}}"#),
            // Messages are still accepted and delivered, and clients are told that they are not
            // stored. A balancer that took the server away would make it worse.
            Health::Full => (
                200,
                r#"{"status":"warning","store":{"state":"full","why":"the disk is full: messages are kept in memory until there is room"}}"#,
            ),
            Health::Failed => (
                503,
                r#"{"status":"failed","store":{"state":"failed","why":"the file was given up after an error: messages are kept in memory, and are lost when the server ends"}}"#,
            ),
        };
        Response::new(status).field("Cache-Control", "no-store").body(JSON, body.as_bytes())
    }
}

/// Answers a request that is not a handshake. The checks have the protocol's order: 404, then 405,
/// then the answer of the path.
pub fn answer(config: &RelayConfig, state: State, request: &Request<'_>) -> Response {
    if door::user_of(request.path()).is_some() {
        return match request.method() {
            "GET" => request.upgrade_required(),
            _ => Response::text(405, "only GET").field("Allow", "GET"),
        };
    }
    let asset = if config.demo { state.find(request.path()) } else { None };
    if let Some(asset) = asset {
        return asset.answer(request);
    }
    match request.path() {
        "/healthz" if !is_reading(request) => read_only(),
        "/healthz" => state.health(),
        _ => Response::text(404, "no such page"),
    }
}
