//! What an open connection is for: heartbeats, pings, a message, a polite end; and
//! how long it lives when nobody says anything.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::handshake::client::generate_key;

use super::door::Door;
use super::report::{Check, Report};
use super::socket::{End, Event, Socket};
use crate::client::frame;

/// Heartbeats of which the median is told.
const SAMPLES: usize = 5;
/// A heartbeat that takes longer is worth a look: pages give up after some seconds.
const SLOW: Duration = Duration::from_secs(2);
/// Within so long a silent connection should see a ping: proxies end one after 60 s,
/// some carriers' networks forget it earlier.
const PING_WITHIN: Duration = Duration::from_secs(30);

/// Heartbeats, a WebSocket ping, a message to oneself, and the end.
pub fn talk(door: &Door<'_>, user: Option<&str>, report: &mut Report) {
    let Some(mut socket) = door.open("heartbeat", report) else { return };
    let timeout = door.way.timeout;
    type Step = fn(&mut Socket, &mut Vec<Check>) -> Result<(), End>;
    for (step, act, remedy) in [
        (
            "heartbeat",
            heartbeat as Step,
            "`ping` gets {\"type\":\"pong\"} from longlink: is it another server, or does the \
             proxy hold data back (proxy_buffering)?",
        ),
        ("ping", ping, "RFC 6455 wants a pong: what is between does not pass control frames on"),
    ] {
        let mut checks = Vec::new();
        let done = act(&mut socket, &mut checks);
        checks.into_iter().for_each(|check| report.add(check));
        match done {
            Ok(()) => {}
            Err(end) => {
                report.add(Check::fail(step, end.tell(timeout), remedy));
                // After its time a connection may go on, after its end it does not.
                if !matches!(end, End::Timeout) {
                    return;
                }
            }
        }
    }
    if let Some(user) = user {
        match to_oneself(&mut socket, user) {
            Ok(ms) => {
                let seen = format!("a message to {user} comes back in {ms:.1} ms");
                report.add(Check::ok("message", seen).with("ms", ms));
            }
            Err(end) => {
                let remedy = "is this user connected elsewhere at the same time? Only the newest \
                     connection of a user and device gets messages: use an id of its own";
                report.add(Check::fail("message", end.tell(timeout), remedy));
                if !matches!(end, End::Timeout) {
                    return;
                }
            }
        }
    }
    report.add(match socket.close() {
        Ok(1_000) => Check::ok("close", "answered with 1000"),
        Ok(code) => Check::warn(
            "close",
            format!("1000 was answered with {code}"),
            "harmless; longlink answers with the same code",
        ),
        Err(end) => Check::warn(
            "close",
            end.tell(timeout),
            "harmless for pages; longlink answers a close: is it another server?",
        ),
    });
}

fn heartbeat(socket: &mut Socket, checks: &mut Vec<Check>) -> Result<(), End> {
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        times.push(beat(socket)?);
    }
    times.sort_unstable();
    let (median, worst) = (times[SAMPLES / 2], times[SAMPLES - 1]);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let seen =
        format!("{SAMPLES} round trips, median {:.1} ms, worst {:.1} ms", ms(median), ms(worst));
    let check = match median > SLOW {
        true => Check::warn("heartbeat", seen, "a slow way there, or an overloaded server"),
        false => Check::ok("heartbeat", seen),
    };
    checks.push(check.with("ms", ms(median)));
    Ok(())
}

/// One heartbeat as pages send it.
fn beat(socket: &mut Socket) -> Result<Duration, End> {
    let began = Instant::now();
    socket.send(frame::TEXT, b"ping")?;
    socket.wait(|event| match event {
        Event::Text(text) => is_pong(&text).then(|| began.elapsed()),
        _ => None,
    })
}

fn is_pong(text: &[u8]) -> bool {
    serde_json::from_slice(text).is_ok_and(|value: Value| value["type"] == "pong")
}

fn ping(socket: &mut Socket, checks: &mut Vec<Check>) -> Result<(), End> {
    let payload = generate_key().into_bytes();
    let began = Instant::now();
    socket.send(frame::PING, &payload)?;
    let time =
        socket.wait(|event| (event == Event::Pong(payload.clone())).then(|| began.elapsed()))?;
    let ms = time.as_secs_f64() * 1e3;
    checks.push(
        Check::ok("ping", format!("a WebSocket ping is answered in {ms:.1} ms")).with("ms", ms),
    );
    Ok(())
}

/// Milliseconds until a message to oneself has come back.
fn to_oneself(socket: &mut Socket, user: &str) -> Result<f64, End> {
    // One that nobody else sends at the same time.
    let text = format!("longlink doctor {}", generate_key());
    let began = Instant::now();
    let message = json!({ "toUserId": user, "message": text }).to_string();
    socket.send(frame::TEXT, message.as_bytes())?;
    socket.wait(|event| match event {
        Event::Text(bytes) => serde_json::from_slice(&bytes)
            .is_ok_and(|value: Value| value["message"] == text.as_str())
            .then(|| began.elapsed().as_secs_f64() * 1e3),
        _ => None,
    })
}

/// Says nothing for that long, but answers pings, as WeChat does.
pub fn silence(door: &Door<'_>, time: Duration, report: &mut Report) {
    const STEP: &str = "silence";
    let Some(mut socket) = door.open(STEP, report) else { return };
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ =
            writeln!(stderr, "watching a silent connection for {time:?}; --quick leaves it out");
    }
    let (began, mut pings) = (Instant::now(), Vec::new());
    let end = loop {
        match socket.next(began + time) {
            Ok(Event::Ping) => pings.push(began.elapsed()),
            // Somebody else's broadcast.
            Ok(_) => {}
            Err(End::Timeout) => break None,
            Err(end) => break Some(end),
        }
    };
    let lived = began.elapsed().as_secs_f64();
    report.add(first_ping(pings.first().copied(), began.elapsed(), end.is_some()));
    let answered = match pings.len() {
        0 => "without a ping".to_owned(),
        count => format!("{count} pings answered"),
    };
    let check = match end {
        Some(end) => {
            let seen =
                format!("ended after {lived:.0} s, {answered}: {}", end.tell(door.way.timeout));
            Check::fail(STEP, seen, remedy(&end, lived, !pings.is_empty()))
        }
        None => match beat(&mut socket) {
            Ok(_) => Check::ok(STEP, format!("open after {lived:.0} s, {answered}")),
            Err(end) => Check::fail(
                STEP,
                format!("dead after {lived:.0} s, {answered}: {}", end.tell(door.way.timeout)),
                "something between has forgotten the connection without a word: a shorter \
                 --ping-after keeps it in mind",
            ),
        },
    };
    report.add(check.with("seconds", lived));
    let _ = socket.close();
}

fn first_ping(at: Option<Duration>, watched: Duration, ended: bool) -> Check {
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
        (End::Closed(1_001), false) => "the server went down, or ends who is silent without \
             asking: --ping-after has to be shorter than --idle-timeout"
            .to_owned(),
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
