//! The steps of doctor for the dialect v2: the welcome, and one resume. Doctor sends itself a
//! message, ends the connection without acknowledging it, and expects it again on the next
//! connection.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::handshake::client::generate_key;

use super::handshake::Handshake;
use super::report::{Check, Ms, Report};
use super::socket::{End, Event, Socket};
use crate::cli::client::frame;

const WELCOME: &str = "welcome v2";
const KEPT: &str = "kept";
const RESUME: &str = "resume";
/// For how many seconds the doctor's message may wait, so that it is soon forgotten if the doctor
/// is ended in between.
const TTL: u32 = 60;

/// Checks the dialect v2 with a user of its own.
pub fn check(handshake: &Handshake<'_>, user: &str, report: &mut Report) {
    let Some((mut socket, welcome)) = begin(handshake, report) else { return };
    let began = Instant::now();
    let timeout = handshake.way.timeout;
    let sent = send(&mut socket, user, timeout);
    let _ = socket.close();
    let check = match sent {
        Ok(sent) => {
            report.add(Check::ok(KEPT, sent.whereabouts()));
            resume(handshake, &welcome, &sent, began)
        }
        Err(why) => Err(why),
    };
    report.add(check.unwrap_or_else(|Trouble(seen)| {
        Check::fail(
            RESUME,
            seen,
            "is this user connected elsewhere at the same time? Only the newest connection of a \
             user and device gets messages: use an id of its own",
        )
    }));
}

/// A sentence that says what is wrong.
struct Trouble(String);

/// What a device must remember to resume.
struct Welcome {
    epoch: String,
    seq: u64,
}

/// The message that was sent, and has not been acknowledged.
struct Sent {
    id: String,
    seq: u64,
    /// Whether the server has said that the message is on a disk.
    is_stored: bool,
}

impl Sent {
    /// Says where the message waits.
    fn whereabouts(&self) -> &'static str {
        match self.is_stored {
            true => "stored: a message that waits survives a crash of the server",
            false => {
                "queued: a message waits in memory, of the server or of its Redis: a crash may lose it"
            }
        }
    }
}

/// Connects, and acknowledges the waiting messages of the user. Returns `None` if the server does
/// not speak the dialect, or breaks its rules; the report says so.
fn begin(handshake: &Handshake<'_>, report: &mut Report) -> Option<(Socket, Welcome)> {
    let (mut socket, is_spoken) = handshake.open_v2(WELCOME, None, report)?;
    if !is_spoken {
        report.add(Check::warn(
            WELCOME,
            "longlink.v2 was offered and does not come back: what is sent to a user who is away is lost",
            "--mailbox on in longlink; if it is on, the proxy has to pass Sec-WebSocket-Protocol on",
        ));
        let _ = socket.close();
        return None;
    }
    let timeout = handshake.way.timeout;
    let began = Instant::now();
    match welcome(&mut socket, timeout).and_then(|welcome| {
        let message = json!({"type": "ack", "seq": welcome.seq});
        say(&mut socket, &message, timeout)?;
        Ok(welcome)
    }) {
        Ok(welcome) => {
            let time = began.elapsed();
            let seen = format!("epoch {}, newest number {}, live", welcome.epoch, welcome.seq);
            report.add(Check::ok(WELCOME, seen).took(time));
            Some((socket, welcome))
        }
        Err(Trouble(seen)) => {
            let remedy = "longlink sends a welcome first: is it another server, or does the proxy \
                          hold data back?";
            report.add(Check::fail(WELCOME, seen, remedy));
            None
        }
    }
}

/// Waits for the welcome, which is the first frame, and for the end of the replay.
fn welcome(socket: &mut Socket, timeout: Duration) -> Result<Welcome, Trouble> {
    let first = next(socket, timeout, |frame| Some(frame.clone()))?;
    let welcome = read_welcome(&first)?;
    next(socket, timeout, |frame| (frame["type"] == "live").then_some(()))?;
    Ok(welcome)
}

/// Reads a welcome, and checks that it has all fields that a client needs.
fn read_welcome(frame: &Value) -> Result<Welcome, Trouble> {
    let kind = frame["type"].as_str().unwrap_or_default();
    if kind == "error" {
        let (code, reason) = (frame["code"].as_str(), frame["reason"].as_str());
        let (code, reason) = (code.unwrap_or_default(), reason.unwrap_or_default());
        return Err(Trouble(format!("refused with {code}: {reason}")));
    }
    if kind != "welcome" {
        return Err(Trouble("the first frame is no welcome".to_owned()));
    }
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let epoch = frame["epoch"].as_str().filter(|it| (1..=32).contains(&it.len()));
    let epoch = epoch.filter(|it| it.bytes().all(is_name));
    let numbers = ["seq", "cursor", "ping", "idle", "maxMessage", "window", "now"];
    let missing = numbers.into_iter().find(|name| frame[name].as_u64().is_none());
    match (epoch, missing) {
        (None, _) => Err(Trouble("the welcome has no epoch".to_owned())),
        (_, Some(name)) => Err(Trouble(format!("the welcome has no {name}"))),
        _ if !frame["resumed"].is_boolean() => {
            Err(Trouble("the welcome has no resumed".to_owned()))
        }
        (Some(epoch), None) => {
            Ok(Welcome { epoch: epoch.to_owned(), seq: frame["seq"].as_u64().unwrap_or_default() })
        }
    }
}

/// Sends a message to the user of doctor, and waits for the answer and the message. The message is
/// not acknowledged.
fn send(socket: &mut Socket, user: &str, timeout: Duration) -> Result<Sent, Trouble> {
    // No other client sends this text at the same time.
    let text = generate_key();
    let cid = format!("doctor-{text}");
    let message = format!("longlink doctor {text}");
    let send = json!({
        "type": "send", "cid": cid, "toUserId": user, "message": message, "ttl": TTL,
    });
    say(socket, &send, timeout)?;
    let (mut id, mut seq, mut is_stored) = (None, None, false);
    while id.is_none() || seq.is_none() {
        let frame = next(socket, timeout, |frame| {
            let is_answer = frame["cid"] == *cid;
            (is_answer || frame["message"] == *message).then(|| frame.clone())
        })?;
        match frame["type"].as_str() {
            Some("ack") => match frame["state"].as_str() {
                Some(state @ ("queued" | "stored")) => {
                    id = frame["id"].as_str().map(str::to_owned);
                    is_stored = state == "stored";
                }
                state => {
                    let state = state.unwrap_or("nothing");
                    return Err(Trouble(format!("a message is answered with {state}")));
                }
            },
            Some("message") => seq = frame["seq"].as_u64(),
            _ => {
                let code = frame["code"].as_str().unwrap_or_default();
                return Err(Trouble(format!("a message is refused with {code}")));
            }
        }
    }
    Ok(Sent { id: id.unwrap_or_default(), seq: seq.unwrap_or_default(), is_stored })
}

/// Connects again with the cursor from before the message, waits for the message, and acknowledges
/// it.
fn resume(
    handshake: &Handshake<'_>,
    before: &Welcome,
    sent: &Sent,
    began: Instant,
) -> Result<Check, Trouble> {
    let timeout = handshake.way.timeout;
    let last = format!("{}-{}", before.epoch, before.seq);
    let mut report = Report::new(true, Vec::new());
    let Some((mut socket, _)) = handshake.open_v2(RESUME, Some(&last), &mut report) else {
        return Err(Trouble("the second connection was not let in".to_owned()));
    };
    let first = next(&mut socket, timeout, |frame| Some(frame.clone()))?;
    let welcome = read_welcome(&first)?;
    if first["resumed"] != true || first["cursor"].as_u64() != Some(before.seq) {
        return Err(Trouble(format!("the server does not know {last} any more")));
    }
    let again = next(&mut socket, timeout, |frame| match frame["type"].as_str() {
        Some("message") if frame["id"] == *sent.id => Some(frame["seq"].as_u64()),
        Some("live") => Some(None),
        _ => None,
    })?;
    if again != Some(sent.seq) {
        return Err(Trouble(
            "the message that was not acknowledged does not come again".to_owned(),
        ));
    }
    next(&mut socket, timeout, |frame| (frame["type"] == "live").then_some(()))?;
    say(&mut socket, &json!({"type": "ack", "seq": welcome.seq}), timeout)?;
    let took = began.elapsed();
    let _ = socket.close();
    let seen =
        format!("a message that was not acknowledged comes again behind {last}, in {}", Ms(took));
    Ok(Check::ok(RESUME, seen).took(took))
}

fn say(socket: &mut Socket, frame: &Value, timeout: Duration) -> Result<(), Trouble> {
    let sent = socket.send(frame::TEXT, frame.to_string().as_bytes());
    sent.map_err(|end| Trouble(end.tell(timeout)))
}

/// Waits for a frame for which `find` returns something.
fn next<T>(
    socket: &mut Socket,
    timeout: Duration,
    find: impl Fn(&Value) -> Option<T>,
) -> Result<T, Trouble> {
    let until = Instant::now() + timeout;
    let told = |end: End| Trouble(end.tell(timeout));
    loop {
        if let Event::Text(text) = socket.next(until).map_err(told)?
            && let Ok(frame) = serde_json::from_slice::<Value>(&text)
            && let Some(found) = find(&frame)
        {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_welcome_has_everything_that_a_client_relies_on() {
        let good = json!({
            "type": "welcome", "epoch": "k3f9", "seq": 7, "cursor": 5, "resumed": true,
            "ping": 15_000, "idle": 60_000, "maxMessage": 65_536, "window": 64, "now": 1,
        });
        let Ok(read) = read_welcome(&good) else { panic!("it was refused") };
        assert_eq!((&*read.epoch, read.seq), ("k3f9", 7));
        for name in good.as_object().unwrap().keys() {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(name);
            assert!(read_welcome(&bad).is_err(), "{name}");
        }
        for (name, value) in [
            ("epoch", json!("")),
            ("epoch", json!("K3F9")),
            ("epoch", json!("a/../b?ticket=x")),
            ("epoch", json!("x".repeat(33))),
            ("seq", json!(-1)),
            ("seq", json!("7")),
            ("resumed", json!("true")),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(read_welcome(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_report_of_doctor_quotes_an_error_that_comes_instead_of_a_welcome() {
        let refusal = json!({"type": "error", "code": "ticket", "reason": "expired"});
        let Err(Trouble(seen)) = read_welcome(&refusal) else { panic!("it was taken") };
        assert!(seen.contains("ticket") && seen.contains("expired"), "{seen}");
    }
}
