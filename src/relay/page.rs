//! Plain HTTP: the demo page, the client for pages of one's own, and the
//! health check.

use crate::conn::head::Request;
use crate::conn::response::Response;

use super::config::RelayConfig;
use super::door;

/// What the demo page and the ops page may load and connect to: itself, and any WebSocket,
/// since browsers do not all count `ws:` to the same host as `'self'`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// A file that is part of the program.
pub(crate) struct Asset {
    pub path: &'static str,
    pub content_type: &'static str,
    pub body: &'static [u8],
}

/// The answer to a request for one of these files; `None` for other paths.
pub(crate) fn serve(assets: &[Asset], request: &Request<'_>) -> Option<Response> {
    let asset = assets.iter().find(|asset| asset.path == request.path())?;
    if !is_reading(request) {
        return Some(read_only());
    }
    let response = Response::new(200)
        .field("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        .field("Referrer-Policy", "no-referrer")
        .field("X-Content-Type-Options", "nosniff")
        .field("Cache-Control", "no-cache");
    Some(response.body(asset.content_type, asset.body))
}

fn is_reading(request: &Request<'_>) -> bool {
    matches!(request.method(), "GET" | "HEAD")
}

fn read_only() -> Response {
    Response::text(405, "only GET and HEAD").field("Allow", "GET, HEAD")
}

/// The client stands in the sample mini-program, whose tools follow no link
/// out of its folder: this is the one original.
macro_rules! client {
    () => {
        include_str!("../../examples/miniprogram/longlink/longlink.js")
    };
}

const ASSETS: [Asset; 6] = [
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_bytes!("demo/index.html"),
    },
    Asset {
        path: "/demo.css",
        content_type: "text/css; charset=utf-8",
        body: include_bytes!("demo/demo.css"),
    },
    Asset {
        path: "/demo.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_bytes!("demo/demo.js"),
    },
    Asset {
        path: "/longlink.js",
        content_type: "text/javascript; charset=utf-8",
        body: client!().as_bytes(),
    },
    // The same as an ES module. The `module` of its own keeps it from the one
    // of a bundle that it may end up in.
    Asset {
        path: "/longlink.mjs",
        content_type: "text/javascript; charset=utf-8",
        body: concat!("const module = { exports: {} };\n", client!(), "\nexport { connect };\n")
            .as_bytes(),
    },
    Asset {
        path: "/longlink.d.ts",
        content_type: "text/plain; charset=utf-8",
        body: include_bytes!("../../examples/miniprogram/longlink/longlink.d.ts"),
    },
];

/// Answers a request that is not a handshake, in the protocol's order: 404,
/// 405, then what the path has to say.
pub fn answer(config: &RelayConfig, draining: bool, request: &Request<'_>) -> Response {
    if door::user_of(request.path()).is_some() {
        return match request.method() {
            "GET" => request.upgrade_required(),
            _ => Response::text(405, "only GET").field("Allow", "GET"),
        };
    }
    if let Some(response) = serve(&ASSETS, request).filter(|_| config.demo) {
        return response;
    }
    match request.path() {
        "/healthz" if !is_reading(request) => read_only(),
        "/healthz" if draining => Response::text(503, "going down").field("Retry-After", "2"),
        "/healthz" => Response::text(200, "ok").field("Cache-Control", "no-store"),
        _ => Response::text(404, "no such page"),
    }
}
