//! Every route of the interface is one row of [`ROUTES`]: its path, its methods with the function
//! that answers each, and the keys that its query may have.
//!
//! To add a route, add a row here, a file with the function beside this one, the path in
//! `tests/fuzz/src/api.rs`, and tell of it in `docs/openapi.yaml` and `docs/api.md`. A path that does
//! not begin with `/api/` is also named in `Backend::is_ours`.
//!
//! A request to a route must show the key. Pages that anybody may load are rows of
//! [`ops`](super::super::ops) instead.

use crate::relay::Relay;
use crate::wire::http::head::Request;

use super::failure::Failure;
#[cfg(feature = "tickets")]
use super::ticket;
use super::{
    Answer, Call, backup, batch, blocks, body, cluster, groups, hour, kick, mailbox, online, query,
    send, stats, users,
};

/// The parts of a request's path that are in the places of the names in braces, in their order.
type Names<'a> = [&'a str; 2];
type Function = fn(&mut Call<'_>, Names<'_>) -> Answer;

const PAGE: &[&str] = &["limit", "after"];
const ONLINE: &[&str] = &["limit", "after", "contains", "details"];
const HISTORY: &[&str] = &["limit", "before"];

/// The routes that are used most come first, because they are searched in this order.
const ROUTES: [Row; 21] = [
    row("/api/send", &[("POST", |call, _| send::send(call))], &[]),
    row("/api/batch", &[("POST", |call, _| batch::send_all(call))], &[]),
    row("/api/kick", &[("POST", |call, _| kick::kick(call))], &[]),
    row("/api/block", &[("POST", |call, _| blocks::block(call))], &[]),
    row("/api/blocks", &[("GET", |call, _| blocks::page(call))], PAGE),
    row("/api/ticket", &[("POST", |call, _| mint(call))], &[]),
    row("/api/online", &[("GET", |call, _| online::page(call))], ONLINE),
    row("/api/stats", &[("GET", |call, _| stats::json(call))], &[]),
    row("/api/stats/hour", &[("GET", |call, _| hour::json(call))], &[]),
    row("/api/nodes", &[("GET", |call, _| cluster::list(call))], &[]),
    row("/metrics", &[("GET", |call, _| Ok(stats::text(call)))], &[]),
    row("/api/blocks/{user}", &[("DELETE", |call, [user, _]| blocks::lift(call, user))], &[]),
    row("/api/users/{user}", &[("GET", |call, [user, _]| users::look_up(call, user))], &[]),
    row(
        "/api/users/{user}/messages",
        &[("GET", |call, [user, _]| mailbox::messages(call, user))],
        &["limit", "after", "before", "order"],
    ),
    row(
        "/api/conversations/{user}/{other}/messages",
        &[("GET", |call, [user, other]| mailbox::of_pair(call, user, other))],
        HISTORY,
    ),
    row(
        "/api/users/{user}/mailbox",
        &[("DELETE", |call, [user, _]| mailbox::forget(call, user))],
        &[],
    ),
    row(
        "/api/store/backup",
        &[("GET", |call, _| backup::state(call)), ("POST", |call, _| backup::begin(call))],
        &[],
    ),
    row(TRACE, &[("GET", |call, _| Err(Failure::not_a_handshake(call.request)))], &[]),
    row("/api/groups/{group}", &[("GET", |call, [group, _]| groups::page(call, group))], PAGE),
    row(
        "/api/groups/{group}/messages",
        &[("GET", |call, [group, _]| mailbox::of_group(call, group))],
        HISTORY,
    ),
    row(
        "/api/groups/{group}/members/{user}",
        &[
            ("PUT", |call, [group, user]| groups::add(call, group, user)),
            ("DELETE", |call, [group, user]| groups::remove(call, group, user)),
        ],
        &[],
    ),
];

/// The path of the only route that is a WebSocket.
const TRACE: &str = "/api/trace/{user}";

struct Row {
    path: &'static str,
    methods: &'static [(&'static str, Function)],
    query: &'static [&'static str],
    has_names: bool,
}

/// A row of the table.
const fn row(
    path: &'static str,
    methods: &'static [(&'static str, Function)],
    query: &'static [&'static str],
) -> Row {
    let (mut has_names, mut at) = (false, 0);
    while at < path.len() {
        has_names |= path.as_bytes()[at] == b'{';
        at += 1;
    }
    Row { path, methods, query, has_names }
}

impl Row {
    /// Returns the names in a path, if the path belongs to this route and the route has names.
    fn names<'a>(&self, path: &'a str) -> Option<Names<'a>> {
        let (mut names, mut count) = ([""; 2], 0);
        let mut segments = path.split('/');
        for expected in self.path.split('/') {
            let segment = segments.next()?;
            if expected.starts_with('{') {
                *names.get_mut(count)? = segment;
                count += 1;
            } else if segment != expected {
                return None;
            }
        }
        segments.next().is_none().then_some(names)
    }

    /// Returns the names of a route's path, as they are called in an error's `field`.
    fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.path.split(['{', '}']).skip(1).step_by(2)
    }

    fn function(&self, method: &str) -> Option<Function> {
        let found = self.methods.iter().find(|(name, _)| *name == method);
        found.map(|&(_, function)| function)
    }
}

/// A route, and the names in the path of a request.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    row: &'static Row,
    names: Names<'a>,
}

impl<'a> Route<'a> {
    /// Returns the route of a path, if there is one.
    #[inline]
    pub fn find(path: &'a str) -> Option<Self> {
        static ROWS: [Row; ROUTES.len()] = ROUTES;
        if let Some(row) = ROWS.iter().find(|row| !row.has_names && row.path == path) {
            return Some(Route { row, names: [""; 2] });
        }
        let mut rows = ROWS.iter().filter(|row| row.has_names);
        rows.find_map(|row| row.names(path).map(|names| Route { row, names }))
    }

    /// Returns the user whom a handshake for this route wants to watch.
    pub fn watched(&self) -> Option<&'a str> {
        (self.row.path == TRACE).then_some(self.names[0])
    }

    /// Checks the method, the names in the path, the query and the body's type of a request.
    pub fn check(route: Option<Self>, request: &Request<'_>) -> Result<Self, Failure> {
        let route = route.ok_or_else(|| Failure::new(404, "no_such_path", "no such path"))?;
        let Route { row, names } = route;
        if row.function(request.method()).is_none() {
            let methods: Vec<_> = row.methods.iter().map(|(name, _)| *name).collect();
            return Err(Failure::wrong_method(methods.join(", ")));
        }
        query::check(request, row.query)?;
        if request.method() == "POST" {
            body::check_type(request)?;
        }
        if row.has_names {
            for (field, name) in row.fields().zip(names) {
                // Groups have the same rules for names as users.
                if !Relay::is_user_id(name) {
                    return Err(Failure::bad_name(field));
                }
            }
        }
        Ok(route)
    }

    /// Answers a request that has arrived whole.
    pub fn answer(self, call: &mut Call<'_>) -> Answer {
        let method = call.request.method();
        if method != "POST" && call.request.body().is_some_and(|body| !body.is_empty()) {
            return Err(Failure::new(
                400,
                "unexpected_body",
                "a request with this method must not have a body",
            ));
        }
        match self.row.function(method) {
            Some(function) => function(call, self.names),
            None => Err(Failure::new(405, "wrong_method", "this path does not have this method")),
        }
    }
}

#[cfg(feature = "tickets")]
use ticket::mint;

/// Answers a request for a ticket in a build without the feature `tickets`.
#[cfg(not(feature = "tickets"))]
fn mint(_: &mut Call<'_>) -> Answer {
    Err(Failure::tickets_off())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(&str, Names<'_>)> {
        Route::find(path).map(|route| (route.row.path, route.names))
    }

    #[test]
    fn a_path_has_the_route_whose_row_it_fits_and_no_other() {
        for row in &ROUTES {
            assert_eq!(row.has_names, row.path.contains('{'), "{}", row.path);
        }
        assert_eq!(found("/api/send"), Some(("/api/send", ["", ""])));
        assert_eq!(found("/api/users/{user}"), Some(("/api/users/{user}", ["{user}", ""])));
        assert_eq!(found("/api/users/"), Some(("/api/users/{user}", ["", ""])));
        assert_eq!(
            found("/api/groups/g/members/u"),
            Some(("/api/groups/{group}/members/{user}", ["g", "u"]))
        );
        for path in [
            "",
            "/",
            "/api",
            "/api/",
            "/api/send/",
            "/metrics/",
            "/api/metrics",
            "/api/users",
            "/api/users/a/b",
            "/api/groups/g/members",
            "/api/groups/g/members/u/v",
            "/api/groups/g/u",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
