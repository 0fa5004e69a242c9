//! Measures how long a silent connection lives.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::handshake::Handshake;
use super::report::{Check, Report};
use super::socket::{End, Event};
use super::talk::beat;

/// A silent connection should get a ping within this time: proxies end it after 60 s, and the
/// networks of some carriers forget it earlier.
const PING_WITHIN: Duration = Duration::from_secs(30);

/// What to do when the server has gone away by itself.
pub const RESTARTED: &str = "the server was stopped or restarted meanwhile, and nothing between has cut the \
    connection: run longlink doctor again when the server is up";

/// Sends nothing for the time `time`, except answers to pings, as WeChat does.
pub fn watch(handshake: &Handshake<'_>, time: Duration, report: &mut Report) {
    const STEP: &str = "silence";
    let Some(mut socket) = handshake.open(STEP, report) else { return };
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ =
            writeln!(stderr, "watching a silent connection for {time:?}; --quick leaves it out");
    }
    let began = Instant::now();
    let (mut first_ping, mut pings, mut others) = (None, 0, 0);
    let end = loop {
        match socket.next(began + time) {
            Ok(Event::Ping) => {
                first_ping = first_ping.or(Some(began.elapsed()));
                pings += 1;
            }
            Ok(Event::Text(_) | Event::Binary) => others += 1,
            Ok(Event::Pong(_)) => {}
            Err(End::Timeout) => break None,
            Err(end) => break Some(end),
        }
    };
    let lived = began.elapsed();
    report.add(judge_ping(first_ping, lived, end.is_some()));
    let lived = lived.as_secs_f64();
    let mut answered = format!("{pings} pings answered");
    if others > 0 {
        answered += &format!(", {others} messages of others, so not quite silent");
    }
    let check = match end {
        Some(end) => {
            let seen = format!(
                "ended after {lived:.1} s, {answered}: {}",
                end.tell(handshake.way.timeout)
            );
            match end.is_restart() {
                // A server that says why it closes the connection was not cut off by something between.
                true => Check::warn(STEP, seen, RESTARTED),
                false => Check::fail(STEP, seen, remedy(&end, lived, pings > 0)),
            }
        }
        None => match beat(&mut socket) {
            Ok(_) => Check::ok(STEP, format!("open after {lived:.0} s, {answered}")),
            Err(end) => Check::fail(
                STEP,
                format!("dead after {lived:.0} s, {answered}: {}", end.tell(handshake.way.timeout)),
                "something between has forgotten the connection without a word: a shorter \
                 --ping-after keeps it in mind",
            ),
        },
    };
    report.add(check.with("seconds", lived));
    let _ = socket.close();
}

fn judge_ping(at: Option<Duration>, watched: Duration, ended: bool) -> Check {
    const STEP: &str = "server ping";
    let remedy = "silent connections die in proxies and carriers' networks: --ping-after 25 in \
        longlink; if it is set, something between swallows pings";
    match at {
        Some(at) => {
            let seconds = at.as_secs_f64();
            let seen = format!("the first after {seconds:.1} s of silence");
            match at <= PING_WITHIN {
                true => Check::ok(STEP, seen),
                false => Check::warn(STEP, seen, remedy),
            }
            .with("seconds", seconds)
        }
        None if watched >= PING_WITHIN => {
            Check::warn(STEP, format!("none in {:.0} s", watched.as_secs_f64()), remedy)
        }
        None => {
            let seen = format!("none in {:.1} s, too short to tell", watched.as_secs_f64());
            match ended {
                true => Check::warn(STEP, seen, "see the next line"),
                false => Check::warn(STEP, seen, "longlink pings after 25 s: --silent 75"),
            }
        }
    }
}

fn remedy(end: &End, lived: f64, pinged: bool) -> String {
    match (end, pinged) {
        (End::Closed(1_001), true) => "the answers to pings do not reach the server: something \
             between swallows pongs, or --idle-timeout is shorter than --ping-after"
            .to_owned(),
        (End::Closed(1_001), false) => {
            "the server ends who is silent without asking: --ping-after \
             has to be shorter than --idle-timeout"
                .to_owned()
        }
        (End::Closed(1_008), _) => {
            "this user has too many connections: use an id of its own".to_owned()
        }
        (_, false) => format!(
            "a timeout of a proxy or balancer, {lived:.0} s: in nginx proxy_read_timeout 75s; and \
             --ping-after shorter than it"
        ),
        (_, true) => format!(
            "a timeout of a proxy or balancer, {lived:.0} s, that pings do not count for: raise it"
        ),
    }
}
