//! Writes an event as a line.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cli::lang::shown;
use crate::cli::text::Escaped;

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    /// With colours, for a terminal.
    Coloured,
    /// As JSON, one object on each line.
    Json,
}

const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// Writes the lines of one trace.
#[derive(Debug)]
pub struct Lines {
    style: Style,
    /// When the trace began, by this machine's clock.
    began: SystemTime,
}

impl Lines {
    pub fn new(style: Style) -> Self {
        Lines { style, began: SystemTime::now() }
    }

    /// Writes an event as one line, or as several lines if it describes several connections.
    pub fn of(&mut self, event: &Value) -> String {
        if event["event"] == "trace" {
            self.began = SystemTime::now();
        }
        let passed = Duration::from_millis(event["at"].as_u64().unwrap_or_default());
        let since =
            self.began.checked_add(passed).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let millis = since.unwrap_or_default().as_millis() as u64;
        if self.style == Style::Json {
            let mut event = event.clone();
            event["time"] = json!(millis);
            return format!("{event}\n");
        }
        let mut text = String::new();
        self.put(millis, event, &mut text);
        text
    }

    fn put(&self, millis: u64, event: &Value, text: &mut String) {
        let word = |name: &str| event[name].as_str().unwrap_or_default();
        let kind = word("event");
        let (color, detail) = match kind {
            "trace" => {
                let connections = event["connections"].as_array();
                let count = connections.map_or(0, Vec::len);
                let detail = format!("{}, connections: {count}", word("user"));
                self.put_line(millis, None, ("trace", CYAN), &detail, text);
                for of in connections.into_iter().flatten() {
                    let number = of["connection"].as_u64();
                    self.put_line(millis, number, ("here", CYAN), &described(of), text);
                }
                return;
            }
            "open" => (GREEN, described(event)),
            "in" | "out" => {
                let bytes = event["bytes"].as_u64().unwrap_or_default();
                let color = if kind == "in" { "" } else { DIM };
                (color, format!("{:<6} {bytes:>7} B", word("kind")))
            }
            "parked" | "promoted" => (YELLOW, String::new()),
            "close" => (RED, word("reason").to_owned()),
            "welcome" => {
                let (cursor, seq) = (&event["cursor"], &event["seq"]);
                let detail = match event["resumed"] == true {
                    true => format!("behind {cursor} of {seq}, resumed"),
                    false => format!("behind {cursor} of {seq}, begins anew"),
                };
                (GREEN, detail)
            }
            "live" => (GREEN, format!("has everything up to {}", event["seq"])),
            "ack" => (CYAN, format!("up to {}", event["seq"])),
            "gap" => {
                let (to, reason) = (&event["to"], word("reason"));
                let from = event["from"].as_u64().map_or("?".to_owned(), |from| from.to_string());
                (RED, format!("from {from} to {to}: {reason}"))
            }
            "answer" => ("", word("state").to_owned()),
            "refused" => {
                let code = word("code");
                let may_come_again = event["retry"] == true;
                let detail = if may_come_again {
                    format!("{code}, may come again")
                } else {
                    code.to_owned()
                };
                (YELLOW, detail)
            }
            "hidden" | "shown" | "bye" => (YELLOW, String::new()),
            "kick" => (YELLOW, event["code"].to_string()),
            "missed" => (RED, format!("{} events that came too fast", event["count"])),
            // A newer server may send further kinds of events.
            _ => (DIM, event.to_string()),
        };
        self.put_line(millis, event["connection"].as_u64(), (kind, color), &detail, text);
    }

    fn put_line(
        &self,
        millis: u64,
        connection: Option<u64>,
        (kind, color): (&str, &str),
        detail: &str,
        text: &mut String,
    ) {
        let number = connection.map_or("-".to_owned(), |number| format!("#{number}"));
        let detail = shown(detail);
        let (kind, detail) = (Escaped(kind).to_string(), Escaped(&detail));
        let time = Clock(millis);
        let done = match self.style {
            Style::Coloured => writeln!(
                text,
                "\x1b[{DIM}m{time}\x1b[0m  {number:<6}  \x1b[{color}m{kind:<8}  {detail}\x1b[0m"
            ),
            _ => {
                let line = format!("{time}  {number:<6}  {kind:<8}  {detail}");
                writeln!(text, "{}", line.trim_end())
            }
        };
        debug_assert!(done.is_ok(), "a string takes everything");
    }
}

/// Describes a connection: its device, its peer, and whether it is parked or has queued bytes.
fn described(of: &Value) -> String {
    let text = |name: &str| of[name].as_str().unwrap_or_default();
    let mut parts = vec![text("device"), of["peer"].as_str().unwrap_or("local"), text("protocol")];
    if of["active"] == false {
        parts.push("parked");
    }
    parts.retain(|part| !part.is_empty());
    let queued = of["queued"].as_u64().filter(|queued| *queued > 0);
    parts.join(" ") + &queued.map_or(String::new(), |bytes| format!(" {bytes} B queued"))
}

/// The time of day in UTC, given in milliseconds since 1970.
struct Clock(u64);

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (millis, seconds) = (self.0 % 1_000, self.0 / 1_000 % 86_400);
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the part of a line after the time.
    fn plain(event: Value) -> String {
        let line = Lines { style: Style::Plain, began: UNIX_EPOCH }.of(&event);
        line.split_at("00:00:00.000  ".len()).1.trim_end().to_owned()
    }

    #[test]
    fn each_event_is_printed_as_a_line() {
        let text = json!({"event":"in","connection":7,"kind":"text","bytes":34});
        assert_eq!(plain(text), "#7      in        text        34 B");
        let open = json!({"event":"open","connection":8,"device":"phone","peer":"1.2.3.4:5",
            "active":true,"queued":0,"protocol":"longlink.v1"});
        assert_eq!(plain(open), "#8      open      phone 1.2.3.4:5 longlink.v1");
        assert_eq!(plain(json!({"event":"parked","connection":7})), "#7      parked");
        let close = json!({"event":"close","connection":7,"reason":"idle","code":1001});
        assert_eq!(plain(close), "#7      close     idle");
        let missed = json!({"event":"missed","count":3});
        assert_eq!(plain(missed), "-       missed    3 events that came too fast");
        assert_eq!(
            plain(json!({"event":"new","x":1})),
            r#"-       new       {"event":"new","x":1}"#
        );
    }

    #[test]
    fn each_event_of_the_dialect_v2_is_printed_as_a_line() {
        for (event, line) in [
            (
                json!({"event":"welcome","cursor":5,"seq":8,"resumed":true}),
                "behind 5 of 8, resumed",
            ),
            (
                json!({"event":"welcome","cursor":0,"seq":8,"resumed":false}),
                "behind 0 of 8, begins anew",
            ),
            (json!({"event":"live","seq":8}), "has everything up to 8"),
            (json!({"event":"ack","seq":7}), "up to 7"),
            (json!({"event":"gap","from":2,"to":4,"reason":"overflow"}), "from 2 to 4: overflow"),
            (json!({"event":"gap","to":4,"reason":"lost"}), "from ? to 4: lost"),
            (json!({"event":"answer","state":"queued"}), "queued"),
            (json!({"event":"refused","code":"rate","retry":true}), "rate, may come again"),
            (json!({"event":"refused","code":"frame","retry":false}), "frame"),
            (json!({"event":"kick","code":4509}), "4509"),
            (json!({"event":"hidden"}), ""),
        ] {
            let mut event = event;
            event["connection"] = json!(7);
            let expected = format!("#7      {:<8}  {line}", event["event"].as_str().unwrap());
            assert_eq!(plain(event), expected.trim_end());
        }
    }

    #[test]
    fn a_trace_first_prints_the_connections_that_exist_already() {
        let mut lines = Lines { style: Style::Plain, began: UNIX_EPOCH };
        let began = json!({"at":0,"event":"trace","user":"A","connections":[
            {"connection":1,"device":"","active":false,"peer":null,"queued":5}]});
        let text = lines.of(&began);
        let ends: Vec<_> = text.lines().map(|line| &line[14..]).collect();
        let here = "#1      here      local parked 5 B queued";
        assert_eq!(ends, ["-       trace     A, connections: 1", here]);
    }

    #[test]
    fn a_device_cannot_forge_a_line_or_a_colour() {
        for style in [Style::Plain, Style::Coloured] {
            let mut lines = Lines { style, began: UNIX_EPOCH };
            let event =
                json!({"event":"open\n","connection":1,"device":"a\nb\u{1b}[31m","peer":""});
            let line = lines.of(&event);
            assert_eq!(line.lines().count(), 1, "{line:?}");
            let escapes = line.matches('\u{1b}').count();
            assert_eq!(escapes, if style == Style::Plain { 0 } else { 4 }, "{line:?}");
        }
    }

    #[test]
    fn times_are_printed_as_times_of_the_day_and_in_json_as_milliseconds_since_1970() {
        let began = UNIX_EPOCH + Duration::from_millis(86_400_000 + 3_723_004);
        let event = json!({"at": 1_000, "event": "parked", "connection": 1});
        let mut lines = Lines { style: Style::Plain, began };
        assert!(lines.of(&event).starts_with("01:02:04.004  #1 "));
        lines.style = Style::Json;
        let line: Value = serde_json::from_str(&lines.of(&event)).unwrap();
        assert_eq!((&line["time"], &line["at"]), (&json!(90_124_004), &json!(1_000)));
    }
}
