//! The ops page, which shows in a browser what the server is doing. The page is static and contains
//! no secret. It gets its data from the interface, with the key that the user enters.

use crate::relay::page::{Asset, CSS, HTML, SCRIPT, asset};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

const ASSETS: [Asset; 11] = [
    asset("/ops", HTML, include_bytes!("index.html")),
    asset("/ops/ops.css", CSS, include_bytes!("ops.css")),
    asset("/ops/ops.js", SCRIPT, include_bytes!("ops.js")),
    asset("/ops/server.js", SCRIPT, include_bytes!("server.js")),
    asset("/ops/nodes.js", SCRIPT, include_bytes!("nodes.js")),
    asset("/ops/store.js", SCRIPT, include_bytes!("store.js")),
    asset("/ops/board.js", SCRIPT, include_bytes!("board.js")),
    asset("/ops/chart.js", SCRIPT, include_bytes!("chart.js")),
    asset("/ops/online.js", SCRIPT, include_bytes!("online.js")),
    asset("/ops/people.js", SCRIPT, include_bytes!("people.js")),
    asset("/ops/words.js", SCRIPT, include_bytes!("words.js")),
];

/// Whether a path belongs to the page.
pub fn has(path: &str) -> bool {
    ASSETS.iter().any(|asset| asset.path == path)
}

/// Answers a request for the page or one of its files; `None` for other paths.
pub fn answer(request: &Request<'_>) -> Option<Response> {
    let asset = ASSETS.iter().find(|asset| asset.path == request.path())?;
    Some(asset.answer(request))
}
