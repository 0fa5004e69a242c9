//! Plain HTTP: the demo page, the client for pages of one's own, and the
//! health check.

use crate::conn::head::Request;
use crate::conn::response::Response;

use super::config::RelayConfig;
use super::door;

/// What the demo page may load and connect to: itself, and any WebSocket,
/// since browsers do not all count `ws:` to the same host as `'self'`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
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
    let asset = ASSETS.iter().find(|asset| config.demo && asset.path == request.path());
    if asset.is_none() && request.path() != "/healthz" {
        return Response::text(404, "no such page");
    }
    if !matches!(request.method(), "GET" | "HEAD") {
        return Response::text(405, "only GET and HEAD").field("Allow", "GET, HEAD");
    }
    match asset {
        Some(asset) => Response::new(200)
            .field("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            .field("Referrer-Policy", "no-referrer")
            .field("X-Content-Type-Options", "nosniff")
            .field("Cache-Control", "no-cache")
            .body(asset.content_type, asset.body),
        None if draining => Response::text(503, "going down").field("Retry-After", "2"),
        None => Response::text(200, "ok").field("Cache-Control", "no-store"),
    }
}
