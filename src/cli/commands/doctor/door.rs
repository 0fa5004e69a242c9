//! Who is let in: the upgrade through whatever is in between, and what a page may
//! send along with it.

use std::time::Duration;

use super::answer::NoAnswer;
use super::report::{Check, Ms, Report};
use super::socket::{Asked, Socket, Way};
use crate::cli::client::url::Url;

/// Where mini-programs' requests come from, in development tools too.
const ORIGIN: &str = "https://servicewechat.com";
/// A subprotocol's name as a page may offer it.
const PROTOCOL: &str = "longlink.v1";

/// How long a close frame of a connection that has done its part is awaited.
const LEAVE: Duration = Duration::from_secs(1);

/// Opens the connections that pages open.
#[derive(Debug)]
pub struct Door<'a> {
    pub url: &'a Url,
    pub way: &'a Way,
    pub ticket: Option<&'a str>,
}

impl Door<'_> {
    /// Sends a handshake with the ticket in a field, and others.
    fn ask(&self, fields: &[(&str, &str)]) -> Result<Asked, NoAnswer> {
        let bearer = self.ticket.map(|ticket| format!("Bearer {ticket}"));
        let mut all = fields.to_vec();
        all.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        self.way.ask(&self.way.target, &all)
    }

    /// Opens a WebSocket for the steps after this one.
    pub fn open(&self, step: &'static str, report: &mut Report) -> Option<Socket> {
        self.judge(step, self.ask(&[]), report).map(|asked| asked.open(self.way.timeout))
    }

    /// The answer if it is a good one; if not, its line is added.
    fn judge(
        &self,
        step: &'static str,
        asked: Result<Asked, NoAnswer>,
        report: &mut Report,
    ) -> Option<Asked> {
        let check = match asked {
            Err(none) => {
                let (seen, remedy) = none.tell(self.url);
                Check::fail(step, seen, remedy)
            }
            Ok(asked) if asked.answer.status != 101 => {
                let has_ticket = self.ticket.is_some() || self.way.target.contains("ticket=");
                let remedy = asked.answer.remedy(self.url, has_ticket);
                Check::fail(step, asked.answer.tell(), remedy)
            }
            Ok(asked) => match asked.answer.flaw(&asked.accept) {
                Some((seen, remedy)) => Check::fail(step, seen, remedy),
                None => return Some(asked),
            },
        };
        report.add(check);
        None
    }

    /// The plain handshake. Without it there is nothing more to examine.
    pub fn upgrade(&self, report: &mut Report) -> Option<()> {
        const STEP: &str = "upgrade";
        let asked = self.judge(STEP, self.ask(&[]), report)?;
        let time = asked.began.elapsed();
        let by = asked.answer.field("Server").map_or(String::new(), |it| format!(", through {it}"));
        let seen = format!("101 in {}, connecting included{by}", Ms(time));
        report.add(match asked.answer.field("Sec-WebSocket-Protocol") {
            None => Check::ok(STEP, seen).took(time),
            Some(_) => Check::fail(
                STEP,
                "101 with a subprotocol that was not offered",
                "clients close such a connection: have the proxy leave Sec-WebSocket-Protocol out",
            ),
        });
        self.leave(asked);
        Some(())
    }

    /// A page of a mini-program, as development tools and some phones name it.
    pub fn origin(&self, report: &mut Report) {
        const STEP: &str = "origin";
        let asked = self.ask(&[("Origin", ORIGIN)]);
        if let Ok(asked) = &asked
            && asked.answer.status == 403
        {
            let remedy =
                "longlink lets it in: have the proxy, or what else answers, not judge Origin";
            report.add(Check::fail(STEP, format!("{}: {ORIGIN}", asked.answer.tell()), remedy));
        } else if let Some(asked) = self.judge(STEP, asked, report) {
            report.add(Check::ok(STEP, format!("{ORIGIN} is let in")));
            self.leave(asked);
        }
    }

    /// What `wx.connectSocket({ protocols })` offers has to come back.
    pub fn subprotocol(&self, report: &mut Report) {
        const STEP: &str = "subprotocol";
        let asked = self.ask(&[("Sec-WebSocket-Protocol", PROTOCOL)]);
        let Some(asked) = self.judge(STEP, asked, report) else { return };
        report.add(echo(STEP, &asked, PROTOCOL.to_owned() + " comes back"));
        self.leave(asked);
    }

    /// The ticket in the other places where it may be, and that one is needed.
    pub fn tickets(&self, report: &mut Report) {
        let Some(ticket) = self.ticket else { return };
        let mark = if self.way.target.contains('?') { '&' } else { '?' };
        let asked = self.way.ask(&format!("{}{mark}ticket={ticket}", self.way.target), &[]);
        if let Some(asked) = self.judge("ticket query", asked, report) {
            report.add(Check::ok("ticket query", "?ticket= is let in"));
            self.leave(asked);
        }
        let offer = format!("{PROTOCOL}, ticket.{ticket}");
        let asked = self.way.ask(&self.way.target, &[("Sec-WebSocket-Protocol", &offer)]);
        if let Some(asked) = self.judge("ticket offer", asked, report) {
            let seen = format!("{PROTOCOL}, ticket.… is let in, and {PROTOCOL} comes back");
            report.add(echo("ticket offer", &asked, seen));
            self.leave(asked);
        }
        let none = self.way.ask(&self.way.target, &[]);
        report.add(match none {
            Ok(asked) if asked.answer.status == 101 => {
                self.leave(asked);
                Check::warn(
                    "no ticket",
                    "who has none is let in, too",
                    "anybody may be this user: turn tickets on in the server",
                )
            }
            Ok(asked) if asked.answer.status == 401 => Check::ok("no ticket", "refused with 401"),
            Ok(asked) => Check::warn(
                "no ticket",
                format!("refused with {}, not with 401", asked.answer.tell()),
                "something else than longlink refuses it",
            ),
            Err(none) => Check::ok("no ticket", format!("refused: {}", none.tell(self.url).0)),
        });
    }

    /// Closes politely, so that it is not in the way of the next one.
    fn leave(&self, asked: Asked) {
        let _ = asked.open(self.way.timeout.min(LEAVE)).close();
    }
}

fn echo(step: &'static str, asked: &Asked, seen: String) -> Check {
    match asked.answer.field("Sec-WebSocket-Protocol") {
        Some(PROTOCOL) => Check::ok(step, seen),
        Some(_) => Check::fail(
            step,
            "another one than was offered comes back",
            "clients close such a connection: has the proxy changed it?",
        ),
        None => Check::fail(
            step,
            format!("{PROTOCOL} was offered and does not come back"),
            "pages that pass `protocols` cannot connect: the proxy has to pass \
             Sec-WebSocket-Protocol on, both ways",
        ),
    }
}
