//! The opening handshake: whether it passes the proxies on the way, and whether the server accepts
//! what a page may send along with it (origin, subprotocol, ticket).

use std::time::Duration;

use super::answer::NoAnswer;
use super::report::{Check, Ms, Report};
use super::socket::{Asked, Socket, Way};
use crate::cli::client::url::Url;

/// The origin of mini-programs' requests, in the development tools too.
const ORIGIN: &str = "https://servicewechat.com";
/// A subprotocol's name as a page may offer it.
const PROTOCOL: &str = "longlink.v1";
/// The name of the dialect in which messages are kept.
const PROTOCOL_V2: &str = "longlink.v2";

/// How long the doctor waits for the close frame of a connection that it no longer needs.
const LEAVE: Duration = Duration::from_secs(1);

/// How the steps open connections: where to, over which way, and with which ticket.
#[derive(Debug)]
pub struct Handshake<'a> {
    pub url: &'a Url,
    pub way: &'a Way,
    pub ticket: Option<&'a str>,
}

impl Handshake<'_> {
    /// Sends a handshake with the ticket in a header field, and with further fields.
    fn ask(&self, fields: &[(&str, &str)]) -> Result<Asked, NoAnswer> {
        self.ask_at(&self.way.target, fields)
    }

    fn ask_at(&self, target: &str, fields: &[(&str, &str)]) -> Result<Asked, NoAnswer> {
        let bearer = self.ticket.map(|ticket| format!("Bearer {ticket}"));
        let mut all = fields.to_vec();
        all.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        self.way.ask(target, &all)
    }

    /// Returns the target of the URL with one more key in its query.
    fn target_with(&self, pair: &str) -> String {
        let mark = if self.way.target.contains('?') { '&' } else { '?' };
        format!("{}{mark}{pair}", self.way.target)
    }

    /// Opens a WebSocket that offers the dialect v2, for a device that has handled everything up to
    /// `last`. Returns also whether the server speaks it.
    pub fn open_v2(
        &self,
        step: &'static str,
        last: Option<&str>,
        report: &mut Report,
    ) -> Option<(Socket, bool)> {
        let target = match last {
            Some(last) => self.target_with(&format!("last={last}")),
            None => self.way.target.clone(),
        };
        let asked = self.ask_at(&target, &[("Sec-WebSocket-Protocol", PROTOCOL_V2)]);
        let asked = self.judge(step, asked, report)?;
        let is_spoken = asked.answer.field("Sec-WebSocket-Protocol") == Some(PROTOCOL_V2);
        Some((asked.open(self.way.timeout), is_spoken))
    }

    /// Opens a WebSocket for the steps after this one.
    pub fn open(&self, step: &'static str, report: &mut Report) -> Option<Socket> {
        self.judge(step, self.ask(&[]), report).map(|asked| asked.open(self.way.timeout))
    }

    /// Returns the answer if it is right; otherwise adds a line to the report that says what is
    /// wrong.
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

    /// Makes a handshake without further fields. If it fails, there is nothing more to examine.
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

    /// Makes a handshake with the origin that the development tools, and some phones, send for a
    /// mini-program.
    pub fn origin(&self, report: &mut Report) {
        const STEP: &str = "origin";
        let asked = self.ask(&[("Origin", ORIGIN)]);
        if let Ok(asked) = &asked
            && asked.answer.status == 403
        {
            let remedy = "longlink accepts it: the proxy, or another server that answers, must not check Origin";
            report.add(Check::fail(STEP, format!("{}: {ORIGIN}", asked.answer.tell()), remedy));
        } else if let Some(asked) = self.judge(STEP, asked, report) {
            report.add(Check::ok(STEP, format!("{ORIGIN} is accepted")));
            self.leave(asked);
        }
    }

    /// Checks that the subprotocol that `wx.connectSocket({ protocols })` offers comes back.
    pub fn subprotocol(&self, report: &mut Report) {
        const STEP: &str = "subprotocol";
        let asked = self.ask(&[("Sec-WebSocket-Protocol", PROTOCOL)]);
        let Some(asked) = self.judge(STEP, asked, report) else { return };
        report.add(echo(STEP, &asked, format!("{PROTOCOL} comes back")));
        self.leave(asked);
    }

    /// Checks the ticket in the other places where it may be, and that a ticket is needed.
    pub fn tickets(&self, report: &mut Report) {
        let Some(ticket) = self.ticket else { return };
        let asked = self.way.ask(&self.target_with(&format!("ticket={ticket}")), &[]);
        if let Some(asked) = self.judge("ticket query", asked, report) {
            report.add(Check::ok("ticket query", "?ticket= is accepted"));
            self.leave(asked);
        }
        let offer = format!("{PROTOCOL}, ticket.{ticket}");
        let asked = self.way.ask(&self.way.target, &[("Sec-WebSocket-Protocol", &offer)]);
        if let Some(asked) = self.judge("ticket offer", asked, report) {
            let seen = format!("{PROTOCOL}, ticket.… is accepted, and {PROTOCOL} comes back");
            report.add(echo("ticket offer", &asked, seen));
            self.leave(asked);
        }
        let none = self.way.ask(&self.way.target, &[]);
        report.add(match none {
            Ok(asked) if asked.answer.status == 101 => {
                self.leave(asked);
                Check::warn(
                    "no ticket",
                    "a client without a ticket is accepted, too",
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

    /// Closes with a close frame, so that the connection does not disturb the next one.
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
