//! Queries: which part of a list is asked for.

use std::borrow::Cow;

use crate::wire::http::fields::number;
use crate::wire::http::head::Request;
use crate::wire::http::target::percent_decode;

use super::failure::Failure;

/// The most entries of a page, and how many there are when nothing is asked for.
const MOST: usize = 1_000;

/// Refuses what a route does not know.
pub fn check(request: &Request<'_>, known: &[&str]) -> Result<(), Failure> {
    for pair in request.query().split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let name = percent_decode(name).unwrap_or(Cow::Borrowed(name));
        if !known.contains(&&*name) {
            let failure = Failure::new(400, "unknown_field", "no such key of the query");
            return Err(failure.field(name.into_owned()));
        }
    }
    Ok(())
}

/// How many entries are wanted.
pub fn limit(request: &Request<'_>) -> Result<usize, Failure> {
    let Some(text) = value(request, "limit")? else { return Ok(MOST) };
    let limit = number(text.as_bytes()).filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or_else(|| Failure::bad_value("limit", "1 to 1000"))
}

/// Behind what the page begins: the `next` of the page before.
pub fn after<'a>(request: &'a Request<'_>) -> Result<Option<Cow<'a, str>>, Failure> {
    value(request, "after")
}

fn value<'a>(
    request: &'a Request<'_>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, Failure> {
    request.query_value(name).map_err(|_| Failure::bad_value(name, "bad escape"))
}
