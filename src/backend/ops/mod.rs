//! The ops page: what the server is doing, in a browser. It is static and holds nothing that
//! is secret; what it shows it asks the interface for, with the key that it is given.

use crate::conn::head::Request;
use crate::conn::response::Response;
use crate::relay::page::{self, Asset};

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 7] = [
    Asset {
        path: "/ops",
        content_type: "text/html; charset=utf-8",
        body: include_bytes!("index.html"),
    },
    Asset {
        path: "/ops/ops.css",
        content_type: "text/css; charset=utf-8",
        body: include_bytes!("ops.css"),
    },
    Asset { path: "/ops/ops.js", content_type: SCRIPT, body: include_bytes!("ops.js") },
    Asset { path: "/ops/server.js", content_type: SCRIPT, body: include_bytes!("server.js") },
    Asset { path: "/ops/chart.js", content_type: SCRIPT, body: include_bytes!("chart.js") },
    Asset { path: "/ops/people.js", content_type: SCRIPT, body: include_bytes!("people.js") },
    Asset { path: "/ops/words.js", content_type: SCRIPT, body: include_bytes!("words.js") },
];

/// Whether a path is the page's.
pub fn has(path: &str) -> bool {
    path == "/ops" || path.starts_with("/ops/")
}

/// The answer to a request for the page or a part of it; `None` for other paths.
pub fn answer(request: &Request<'_>) -> Option<Response> {
    page::serve(&ASSETS, request)
}
