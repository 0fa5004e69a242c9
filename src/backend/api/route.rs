//! Which route a request is for.

use crate::relay::{Observer, Relay};
use crate::wire::http::head::Request;

use super::failure::Failure;
#[cfg(feature = "tickets")]
use super::ticket;
use super::{Answer, Call, batch, body, groups, kick, online, query, send, stats, users};

/// A path, with what it names.
#[derive(Clone, Copy, Debug)]
pub enum Route<'a> {
    Send,
    Batch,
    Kick,
    Ticket,
    Online,
    Stats,
    Metrics,
    User(&'a str),
    Trace(&'a str),
    Group(&'a str),
    Member { group: &'a str, user: &'a str },
}

impl<'a> Route<'a> {
    /// The route of a path, if there is one.
    pub fn find(path: &'a str) -> Option<Self> {
        if path == "/metrics" {
            return Some(Route::Metrics);
        }
        let path = path.strip_prefix("/api/")?;
        Some(match path {
            "send" => Route::Send,
            "batch" => Route::Batch,
            "kick" => Route::Kick,
            "ticket" => Route::Ticket,
            "online" => Route::Online,
            "stats" => Route::Stats,
            _ => {
                if let Some(user) = path.strip_prefix("users/") {
                    return (!user.contains('/')).then_some(Route::User(user));
                }
                if let Some(user) = path.strip_prefix("trace/") {
                    return (!user.contains('/')).then_some(Route::Trace(user));
                }
                let rest = path.strip_prefix("groups/")?;
                match rest.split_once('/') {
                    None => Route::Group(rest),
                    Some((group, rest)) => {
                        let user = rest.strip_prefix("members/")?;
                        return (!user.contains('/')).then_some(Route::Member { group, user });
                    }
                }
            }
        })
    }

    /// Looks at the rest of the head, which has to be as the route takes it.
    pub fn check(route: Option<Self>, request: &Request<'_>) -> Result<Self, Failure> {
        let route = route.ok_or_else(|| Failure::new(404, "no_such_path", "no such path"))?;
        if !route.takes(request.method()) {
            return Err(Failure::wrong_method(route.methods()));
        }
        query::check(request, route.query())?;
        match route {
            Route::Send | Route::Batch | Route::Kick | Route::Ticket => body::check_type(request)?,
            Route::User(user) | Route::Trace(user) => check_name("user", user)?,
            Route::Group(group) => check_name("group", group)?,
            Route::Member { group, user } => {
                check_name("group", group)?;
                check_name("user", user)?;
            }
            Route::Online | Route::Stats | Route::Metrics => {}
        }
        Ok(route)
    }

    fn takes(self, method: &str) -> bool {
        match self {
            Route::Send | Route::Batch | Route::Kick | Route::Ticket => method == "POST",
            Route::Online
            | Route::Stats
            | Route::Metrics
            | Route::User(_)
            | Route::Trace(_)
            | Route::Group(_) => method == "GET",
            Route::Member { .. } => matches!(method, "PUT" | "DELETE"),
        }
    }

    /// The same for `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Route::Send | Route::Batch | Route::Kick | Route::Ticket => "POST",
            Route::Online
            | Route::Stats
            | Route::Metrics
            | Route::User(_)
            | Route::Trace(_)
            | Route::Group(_) => "GET",
            Route::Member { .. } => "PUT, DELETE",
        }
    }

    /// The keys that its query may have.
    fn query(self) -> &'static [&'static str] {
        match self {
            Route::Online | Route::Group(_) => &["limit", "after"],
            _ => &[],
        }
    }

    /// Answers a request that has come whole.
    pub fn answer(self, call: &mut Call<'_, impl Observer>) -> Answer {
        if !self.takes("POST") && call.request.body().is_some_and(|body| !body.is_empty()) {
            return Err(Failure::new(400, "unexpected_body", "this takes no body"));
        }
        match self {
            Route::Send => send::send(call),
            Route::Batch => batch::send_all(call),
            Route::Kick => kick::kick(call),
            #[cfg(feature = "tickets")]
            Route::Ticket => ticket::mint(call),
            #[cfg(not(feature = "tickets"))]
            Route::Ticket => Err(Failure::tickets_off()),
            Route::Online => online::page(call),
            Route::Stats => Ok(stats::json(call)),
            Route::Metrics => Ok(stats::text(call)),
            Route::User(user) => users::look_up(call, user),
            Route::Trace(_) => Err(Failure::not_a_handshake(call.request)),
            Route::Group(group) => groups::page(call, group),
            Route::Member { group, user } if call.request.method() == "PUT" => {
                groups::add(call, group, user)
            }
            Route::Member { group, user } => groups::remove(call, group, user),
        }
    }
}

/// Groups are named as users are.
fn check_name(field: &'static str, name: &str) -> Result<(), Failure> {
    Relay::is_user_id(name).then_some(()).ok_or_else(|| Failure::bad_name(field))
}
