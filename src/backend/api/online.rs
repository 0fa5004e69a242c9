//! `GET /api/online`: who is there.

use serde::Serialize;

use super::{Answer, Call};

#[derive(Serialize)]
struct Online<'a> {
    /// All who are online, not only those of this page.
    count: usize,
    users: Vec<&'a str>,
    /// Where the next page begins.
    next: Option<usize>,
}

/// The most users of a page.
const PAGE: usize = 1_000;

pub fn online(call: &mut Call<'_>) -> Answer {
    let (users, next) = call.hub.users(0, PAGE);
    super::json(&Online { count: call.hub.online(), users, next })
}
