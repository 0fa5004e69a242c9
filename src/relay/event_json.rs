//! Writes an event as the JSON that a backend gets.

use std::fmt::Write;

use crate::wire::json;

use super::events::Event;

impl Event<'_> {
    /// Appends the event as a JSON object; `at` is in milliseconds since 1970. What a client wrote
    /// is a string in the object, because a number or a nesting that the backend's library refuses
    /// would make the whole batch unreadable.
    pub(crate) fn write(&self, seq: u64, at: u64, out: &mut String) {
        // Writing to a string does not fail.
        let _ = write!(out, r#"{{"seq":{seq},"#);
        self.write_unnumbered(at, out);
    }

    /// Appends the same without the first field and the brace before it.
    pub(crate) fn write_unnumbered(&self, at: u64, out: &mut String) {
        let _ = write!(out, r#""type":"{}""#, self.kind().name());
        match *self {
            Event::Opened { user, device, .. }
            | Event::Closed { user, device, .. }
            | Event::Online { user, device }
            | Event::Offline { user, device } => {
                write_who(user, device, out);
            }
            Event::Message { user, device, to, frame } => {
                write_who(user, device, out);
                write_frame(to, frame, out);
            }
            Event::Undelivered { user, device, to, frame } => {
                write_who(user, device, out);
                write_frame(Some(to), frame, out);
            }
            Event::Receipt { user, device, to, id } => {
                write_who(user, device, out);
                out.push_str(r#","toUserId":"#);
                json::write_string(to, out);
                out.push_str(r#","id":"#);
                json::write_string(id, out);
            }
            Event::Lost { from, to } => {
                let _ = write!(out, r#","from":{from},"to":{to}"#);
            }
        }
        let _ = write!(out, r#","at":{at}}}"#);
    }
}

fn write_who(user: &str, device: &str, out: &mut String) {
    out.push_str(r#","user":"#);
    json::write_string(user, out);
    out.push_str(r#","device":"#);
    json::write_string(device, out);
}

fn write_frame(to: Option<&str>, frame: &[&str], out: &mut String) {
    out.push_str(r#","toUserId":"#);
    match to {
        Some(to) => json::write_string(to, out),
        None => out.push_str("null"),
    }
    out.push_str(r#","frame":""#);
    for piece in frame {
        json::escape(piece, out);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: Event<'_>) -> String {
        let mut out = String::new();
        event.write(7, 1_700_000_000_123, &mut out);
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "not JSON: {out}");
        out
    }

    #[test]
    fn events_are_flat_objects() {
        assert_eq!(
            written(Event::Online { user: "张\"", device: "" }),
            r#"{"seq":7,"type":"online","user":"张\"","device":"","at":1700000000123}"#
        );
        assert_eq!(
            written(Event::Lost { from: 3, to: 6 }),
            r#"{"seq":7,"type":"lost","from":3,"to":6,"at":1700000000123}"#
        );
        assert_eq!(
            written(Event::Message { user: "A", device: "p", to: None, frame: &["{\"m", "\":1}"] }),
            r#"{"seq":7,"type":"message","user":"A","device":"p","toUserId":null,"frame":"{\"m\":1}","at":1700000000123}"#
        );
    }

    #[test]
    fn text_of_a_client_cannot_break_the_json_of_a_batch() {
        let frame = format!(r#"{{"message":[1e999,"\ud800",{}]}}"#, "9".repeat(2_000));
        let out = written(Event::Undelivered { user: "A", device: "", to: "B", frame: &[&frame] });
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["frame"], frame);
        assert_eq!(value["toUserId"], "B");
    }
}
