//! Queries, which say which part of a list is wanted.

use std::borrow::Cow;

use crate::wire::http::fields::number;
use crate::wire::http::head::Request;
use crate::wire::http::target::percent_decode;

use super::failure::Failure;

/// The largest number of entries of a page, and the default.
const MOST: usize = 1_000;

/// Refuses a query with a key that the route does not know.
pub fn check(request: &Request<'_>, known: &[&str]) -> Result<(), Failure> {
    if request.query().is_empty() {
        return Ok(());
    }
    for pair in request.query().split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let name = percent_decode(name).unwrap_or(Cow::Borrowed(name));
        if !known.contains(&&*name) {
            let failure =
                Failure::new(400, "unknown_field", "this path does not have this key in the query");
            return Err(failure.field(name.into_owned()));
        }
    }
    Ok(())
}

/// Returns how many entries are wanted.
pub fn limit(request: &Request<'_>) -> Result<usize, Failure> {
    let Some(text) = value(request, "limit")? else { return Ok(MOST) };
    let limit = number(text.as_bytes()).filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or_else(|| Failure::bad_value("limit", "1 to 1000"))
}

/// The longest part of an id that can be searched for: as long as an id can be.
const MOST_OF_ID: usize = 128;

/// Returns the part that the ids of the users have to contain; `None` if all users are wanted.
pub fn contains<'a>(request: &'a Request<'_>) -> Result<Option<Cow<'a, str>>, Failure> {
    let part = value(request, "contains")?;
    if part.as_ref().is_some_and(|part| !(1..=MOST_OF_ID).contains(&part.len())) {
        return Err(Failure::bad_value("contains", "1 to 128 bytes"));
    }
    Ok(part)
}

/// Whether more is to be told of each user than the id.
pub fn wants_details(request: &Request<'_>) -> Result<bool, Failure> {
    match value(request, "details")?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Failure::bad_value("details", "true or false")),
    }
}

/// Returns `after`, the `next` of the page before. The page begins after this entry.
pub fn after<'a>(request: &'a Request<'_>) -> Result<Option<Cow<'a, str>>, Failure> {
    value(request, "after")
}

/// Returns `after` as the number of a message; 0 if it is not there.
pub fn after_number(request: &Request<'_>) -> Result<u64, Failure> {
    let Some(text) = value(request, "after")? else { return Ok(0) };
    let number = text.parse::<u64>().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit()));
    number.ok_or_else(|| Failure::bad_value("after", "the number of a message"))
}

/// The most messages of one page of history, and how many there are if the request does not say it.
const MOST_OF_HISTORY: u64 = 100;
const USUAL_OF_HISTORY: u64 = 50;

/// Returns how many older messages are wanted.
pub fn limit_of_history(request: &Request<'_>) -> Result<u64, Failure> {
    let Some(text) = value(request, "limit")? else { return Ok(USUAL_OF_HISTORY) };
    let limit: Option<u64> = number(text.as_bytes());
    let limit = limit.filter(|limit| (1..=MOST_OF_HISTORY).contains(limit));
    limit.ok_or_else(|| Failure::bad_value("limit", "1 to 100 of history"))
}

/// Returns `before`, the id of the last message of the page before. The page has older ones.
pub fn before<'a>(request: &'a Request<'_>) -> Result<Option<Cow<'a, str>>, Failure> {
    value(request, "before")
}

/// Whether the newest messages of all are wanted first, and not the oldest that wait: `order` says
/// so, or `before` does.
pub fn asks_for_newest(request: &Request<'_>) -> Result<bool, Failure> {
    let has_before = value(request, "before")?.is_some();
    let is_newest = match value(request, "order")?.as_deref() {
        None => has_before,
        Some("newest") => true,
        Some("oldest") if has_before => {
            return Err(Failure::bad_value("before", "not together with order=oldest"));
        }
        Some("oldest") => false,
        Some(_) => return Err(Failure::bad_value("order", "oldest or newest")),
    };
    if is_newest && value(request, "after")?.is_some() {
        return Err(Failure::bad_value("after", "not together with before or order=newest"));
    }
    Ok(is_newest)
}

fn value<'a>(
    request: &'a Request<'_>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, Failure> {
    request.query_value(name).map_err(|_| Failure::bad_value(name, "bad escape"))
}
