//! `GET /api/online`: which users are online.

use serde::Serialize;

use super::failure::Failure;
use super::{Answer, Call, json, query};

#[derive(Serialize)]
struct Online<'a> {
    /// The number of all users who are online, not only those of this page.
    count: usize,
    users: Vec<&'a str>,
    /// The value of `after` for the next page.
    next: Option<String>,
    /// With webhooks, the last event that this page includes.
    #[serde(flatten)]
    position: Option<Position>,
}

#[derive(Serialize)]
struct Position {
    epoch: String,
    seq: u64,
}

pub fn page(call: &mut Call<'_>) -> Answer {
    let from = match query::after(call.request)? {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::bad_value("after", "use the value of next in the page before"))?,
    };
    let position = call.webhooks.map(|webhooks| {
        let (epoch, seq) = webhooks.list(call.cx.now());
        Position { epoch, seq }
    });
    let (users, next) = call.cx.users(from, query::limit(call.request)?);
    let next = next.map(|place| place.to_string());
    json(&Online { count: call.cx.online(), users, next, position })
}
