//! The steps on an open connection: heartbeats, pings, a message, and a close.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::handshake::client::generate_key;

use super::handshake::Handshake;
use super::report::{Check, Ms, Report};
use super::silence::RESTARTED;
use super::socket::{End, Event, Socket};
use crate::cli::client::frame;

/// How many heartbeats are sent. The report shows the median of their times.
const SAMPLES: usize = 5;
/// A heartbeat that takes longer gets a warning, because pages give up after some seconds.
const SLOW: Duration = Duration::from_secs(2);

/// Sends every kind of message on one connection, until it ends. Returns whether all of it went
/// well.
pub fn talk(handshake: &Handshake<'_>, user: Option<&str>, report: &mut Report) -> bool {
    let Some(mut socket) = handshake.open("heartbeat", report) else { return false };
    let timeout = handshake.way.timeout;
    let mut is_well = true;
    let mut goes_on = |step, done: Result<Check, End>, remedy: &str| match done {
        Ok(check) => {
            report.add(check);
            true
        }
        Err(end) => {
            let remedy = if end.is_restart() { RESTARTED } else { remedy };
            report.add(Check::fail(step, end.tell(timeout), remedy));
            is_well = false;
            // If only the answer is missing, the connection can still be used for the next step.
            matches!(end, End::Timeout)
        }
    };
    let alive = goes_on(
        "heartbeat",
        heartbeat(&mut socket),
        "`ping` gets {\"type\":\"pong\"} from longlink: is it another server, or does the proxy \
         hold data back?",
    ) && goes_on(
        "ping",
        ping(&mut socket),
        "RFC 6455 wants a pong: something between does not pass control frames on",
    ) && user.is_none_or(|user| {
        goes_on(
            "message",
            message(&mut socket, user),
            "is this user connected elsewhere at the same time? Only the newest connection of a \
             user and device gets messages: use an id of its own",
        )
    });
    if alive {
        report.add(close(socket, timeout));
    }
    is_well
}

fn heartbeat(socket: &mut Socket) -> Result<Check, End> {
    let mut times = (0..SAMPLES).map(|_| beat(socket)).collect::<Result<Vec<_>, _>>()?;
    times.sort_unstable();
    let (median, worst) = (times[SAMPLES / 2], times[SAMPLES - 1]);
    let seen = format!("{SAMPLES} round trips, median {}, worst {}", Ms(median), Ms(worst));
    let check = match median > SLOW {
        true => Check::warn("heartbeat", seen, "a slow way there, or an overloaded server"),
        false => Check::ok("heartbeat", seen),
    };
    Ok(check.took(median))
}

/// Sends one heartbeat as pages send it, and waits for the pong.
pub fn beat(socket: &mut Socket) -> Result<Duration, End> {
    let began = Instant::now();
    socket.send(frame::TEXT, b"ping")?;
    socket.wait(|event| match event {
        Event::Text(text) => field(text, "type").is_some_and(|it| it == "pong"),
        _ => false,
    })?;
    Ok(began.elapsed())
}

fn field(text: &[u8], name: &str) -> Option<Value> {
    serde_json::from_slice::<Value>(text).ok()?.get(name).cloned()
}

fn ping(socket: &mut Socket) -> Result<Check, End> {
    let payload = generate_key().into_bytes();
    let began = Instant::now();
    socket.send(frame::PING, &payload)?;
    socket.wait(|event| matches!(event, Event::Pong(echo) if *echo == payload))?;
    let time = began.elapsed();
    Ok(Check::ok("ping", format!("a WebSocket ping is answered in {}", Ms(time))).took(time))
}

/// Sends a message to the doctor's own user, and waits for it.
fn message(socket: &mut Socket, user: &str) -> Result<Check, End> {
    // No other client sends this text at the same time.
    let text = format!("longlink doctor {}", generate_key());
    let began = Instant::now();
    let frame = json!({ "toUserId": user, "message": text }).to_string();
    socket.send(frame::TEXT, frame.as_bytes())?;
    socket.wait(|event| match event {
        Event::Text(bytes) => field(bytes, "message").is_some_and(|it| it == text.as_str()),
        _ => false,
    })?;
    let time = began.elapsed();
    let seen = format!("a message to {user} comes back in {}", Ms(time));
    Ok(Check::ok("message", seen).took(time))
}

fn close(socket: Socket, timeout: Duration) -> Check {
    const STEP: &str = "close";
    match socket.close() {
        Ok(1_000) => Check::ok(STEP, "answered with 1000"),
        Ok(code) => Check::warn(
            STEP,
            format!("1000 was answered with {code}"),
            "harmless; longlink answers with the same code",
        ),
        Err(end) => Check::warn(
            STEP,
            end.tell(timeout),
            "harmless for pages; but longlink answers a close: is it another server?",
        ),
    }
}
