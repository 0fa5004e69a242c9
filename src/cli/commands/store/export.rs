//! `longlink store export`: writes everything that is in a file as lines of JSON.

use std::io::{self, Write};

use longlink::keeping::store::{Item, ReadError, Reader};
use longlink::keeping::{Kind, Stored};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::refusal::Failure;

/// Writes all lines to standard output. A closed output ends the export and is no error.
///
/// # Errors
/// If the file is damaged; within that result, if a line could not be written.
pub fn run(reader: &Reader) -> Result<Result<(), Failure>, ReadError> {
    let mut out = output::buffered();
    let mut written = Ok(());
    reader.each(&mut |item| {
        written = line_of(&item).and_then(|line| writeln!(out, "{line}"));
        written.is_ok()
    })?;
    let written = written.and_then(|()| out.flush());
    Ok(output::is_read(written).map(drop))
}

/// Returns one line.
fn line_of(item: &Item) -> io::Result<String> {
    let line = match item {
        Item::Epoch(it) => json!({"record": "epoch", "name": it.name, "last": it.last}),
        Item::Device { user, device, cursor, at } => {
            json!({"record": "device", "user": user, "device": device, "cursor": cursor, "at": at})
        }
        Item::Member { group, user } => json!({"record": "member", "group": group, "user": user}),
        Item::Block { user, until, reason } => {
            json!({"record": "block", "user": user, "until": until, "reason": reason})
        }
        Item::Request { key, at } => json!({"record": "request", "key": key, "at": at}),
        Item::Send { first, id, millis, until, send, states } => {
            let to = send.records.iter().zip(states).map(|(it, state)| {
                let mut to = json!({"user": it.user, "seq": it.seq, "as": kind(it.kind), "state": state.name()});
                if !it.to.is_empty() {
                    to["copyOf"] = json!(it.to);
                }
                to
            });
            let to: Vec<Value> = to.collect();
            let mut head = json!({
                "record": record(send),
                "seq": first,
                "id": id,
                "time": millis,
                "until": until,
                "from": send.user,
                "to": to,
            });
            let optional = [
                ("device", &send.device),
                ("cid", &send.cid),
                ("group", &send.group),
                ("key", &send.key),
            ];
            for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
                head[name] = json!(value);
            }
            return with_message(head, send);
        }
    };
    Ok(line.to_string())
}

/// Adds the text of a message as it was sent; the text of a receipt is the id that it is about.
fn with_message(mut head: Value, send: &Stored) -> io::Result<String> {
    if record(send) == "receipt" {
        head["about"] = json!(send.message);
        return Ok(head.to_string());
    }
    // The text is put in as it is, because reading it would change its numbers.
    match serde_json::from_str::<&RawValue>(&send.message) {
        Ok(message) => {
            let head = head.to_string();
            let head = head.strip_suffix('}').unwrap_or(&head);
            Ok(format!(r#"{head},"message":{message}}}"#))
        }
        // A host with a journal of its own may have written it.
        Err(_) => {
            head["text"] = json!(send.message);
            Ok(head.to_string())
        }
    }
}

fn record(send: &Stored) -> &'static str {
    let is_receipt = |it: &longlink::keeping::StoredRecord| it.kind == Kind::Receipt;
    match !send.records.is_empty() && send.records.iter().all(is_receipt) {
        true => "receipt",
        false => "message",
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::ToUser => "user",
        Kind::ToMember => "member",
        Kind::Own => "own",
        Kind::Receipt => "receipt",
    }
}
