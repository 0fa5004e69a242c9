//! The report, as a summary for people and as JSON for programs.

use std::time::Duration;

use serde::Serializer;
use serde_json::{Value, json};

use super::args::Mode;
use super::options::Options;
use super::session::{Memory, Session, Spent, Stop};
use crate::cli::lang::shown;
use crate::cli::text::Escaped;

/// Figures that only one mode has: keys and values, in order.
pub type Extras = Vec<(&'static str, Value)>;

/// The figures of a run by name, in order.
#[derive(Debug)]
pub struct Report(Vec<(&'static str, Value)>);

impl Report {
    pub fn new(session: &Session, stop: Option<&Stop>) -> Self {
        let Session { options, memory, spent, .. } = session;
        let tally = &session.clients.tally;
        let operations = tally.operations();
        let seconds = spent.time.as_secs_f64();
        let micros = |share: fn(&Spent) -> Option<Duration>| {
            let time = share(spent).filter(|_| operations > 0)?;
            Some(rounded(time.as_secs_f64() * 1e6 / operations as f64, 4))
        };
        let quantile = |share| tally.quantile(share).map(|micros| rounded(micros, 1));
        let ratio = |part: Duration| rounded(part.as_secs_f64() / seconds.max(1e-9), 3);
        let mut figures = vec![
            ("mode", json!(options.mode.name())),
            ("connections", json!(options.connections)),
            ("in_flight", json!(in_flight(options))),
            ("size", json!(size(options))),
            ("operations", json!(operations)),
            ("seconds", json!(rounded(seconds, 6))),
            ("rate", json!((seconds > 0.0).then(|| rounded(operations as f64 / seconds, 1)))),
            (
                "latency_us",
                json!({
                    "p50": quantile(0.5),
                    "p90": quantile(0.9),
                    "p99": quantile(0.99),
                    "p999": quantile(0.999),
                    "max": quantile(1.0),
                }),
            ),
            ("cpu_us_per_op", json!(micros(|spent| spent.server.map(|cpu| cpu.total())))),
            ("user_us_per_op", json!(micros(|spent| spent.server.map(|cpu| cpu.user)))),
            ("server_cpu", json!(spent.server.map(|cpu| ratio(cpu.total())))),
            ("generator_cpu", json!(ratio(spent.generator.total()))),
            (
                "rss_bytes",
                json!({"before": memory.before, "peak": memory.peak, "after": memory.after}),
            ),
            ("bytes_per_connection", json!(per_connection(memory, options))),
            ("unmatched", json!(tally.unmatched)),
        ];
        #[cfg(feature = "tls")]
        if let Some(version) = tally.tls.version {
            let (full, resumed) = (tally.tls.full, tally.tls.resumed);
            figures.push(("tls", json!({"version": version, "full": full, "resumed": resumed})));
        }
        figures.extend(session.extras.iter().cloned());
        let limits: Vec<String> = tally.limits().iter().map(ToString::to_string).collect();
        figures.push(("limits", json!(limits)));
        figures.push(("interrupted", json!(stop == Some(&Stop::Interrupted))));
        figures.push(("errors", json!(tally.errors())));
        let failed = match stop {
            Some(Stop::Failed(why)) => Some(why.as_str()),
            _ => tally.first_error(),
        };
        figures.push(("error", json!(failed)));
        Report(figures)
    }

    /// Returns one JSON object on one line.
    pub fn json(&self) -> String {
        let mut bytes = Vec::new();
        let entries = self.0.iter().map(|(name, value)| (name, value));
        // This cannot fail: writing into a `Vec` does not fail, and the keys are strings.
        let _ = serde_json::Serializer::new(&mut bytes).collect_map(entries);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns a few lines for people, in their language.
    pub fn summary(&self, options: &Options) -> String {
        let mut text = self.headline(options) + "\n";
        for line in self.lines() {
            // What a server has answered may be part of a line.
            text += &format!("{}\n", Escaped(&shown(&line)));
        }
        text
    }

    /// What was measured.
    fn headline(&self, options: &Options) -> String {
        let connections = grouped(options.connections as f64);
        let mut parts = vec![format!("{}: {connections} connections", options.mode.name())];
        parts.extend(in_flight(options).map(|in_flight| format!(", {in_flight} in flight")));
        parts.extend(size(options).map(|size| format!(", messages of {size} bytes")));
        if self.value("interrupted") == &json!(true) {
            parts.push("; it was interrupted".to_owned());
        }
        parts.iter().map(|part| shown(part)).collect()
    }

    /// The lines below the headline, in English.
    fn lines(&self) -> Vec<String> {
        let number = |name| self.value(name).as_f64();
        let seconds = number("seconds").unwrap_or_default();
        let operations = grouped(number("operations").unwrap_or_default());
        let mut lines = vec![format!("  operations   {operations} in {seconds:.2} s")];
        if let Some(rate) = number("rate") {
            lines.push(format!("  rate         {} a second", grouped(rate)));
        }
        let latency = self.value("latency_us");
        if latency["p50"].is_number() {
            let figure = |name| format!("{name} {}", latency[name]);
            let figures = ["p50", "p90", "p99", "p999", "max"].map(figure).join(", ");
            lines.push(format!("  latency      {figures} us"));
        }
        if let (Some(cpu), Some(user), Some(share)) =
            (number("cpu_us_per_op"), number("user_us_per_op"), number("server_cpu"))
        {
            let share = share * 100.0;
            lines.push(format!(
                "  server       {cpu:.2} us an operation, {user:.2} of them user; {share:.0} % of a core"
            ));
        }
        if let Some(share) = number("generator_cpu") {
            lines.push(format!("  generator    {:.0} % of a core", share * 100.0));
        }
        lines.extend(self.memory());
        let told_below = ["interrupted", "errors", "error", "limits"];
        let extras = self.0.iter().skip_while(|(name, _)| *name != "unmatched").skip(1);
        for (name, value) in extras.filter(|(name, _)| !told_below.contains(name)) {
            lines.push(format!("  {:<12} {}", name.replace('_', " "), plain(value)));
        }
        for limit in self.value("limits").as_array().into_iter().flatten() {
            lines.push(format!("  limit        {}", plain(limit)));
        }
        if number("errors").is_some_and(|errors| errors > 0.0) {
            let error = plain(self.value("error"));
            lines.push(format!("  errors       {}: {error}", self.value("errors")));
        }
        lines
    }

    fn memory(&self) -> Option<String> {
        let rss = self.value("rss_bytes");
        let (before, peak) = (rss["before"].as_u64()?, rss["peak"].as_u64()?);
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let (before, peak) = (mib(before), mib(peak));
        let after = rss["after"].as_u64().map_or("-".to_owned(), mib);
        Some(match self.value("bytes_per_connection").as_f64().map(grouped) {
            Some(bytes) => format!(
                "  memory       {before} MiB before, {peak} peak, {after} after; {bytes} bytes a connection"
            ),
            None => format!("  memory       {before} MiB before, {peak} peak, {after} after"),
        })
    }

    fn value(&self, name: &str) -> &Value {
        self.0.iter().find(|(key, _)| *key == name).map_or(&Value::Null, |(_, value)| value)
    }
}

fn in_flight(options: &Options) -> Option<usize> {
    let none = matches!(options.mode, Mode::Connect | Mode::Heartbeat | Mode::Resume);
    (!none).then_some(options.in_flight)
}

fn size(options: &Options) -> Option<usize> {
    matches!(options.mode, Mode::P2p | Mode::Fanout | Mode::Slow | Mode::Api | Mode::Resume)
        .then_some(options.size)
}

/// Returns the growth of the server's memory for each open connection.
fn per_connection(memory: &Memory, options: &Options) -> Option<f64> {
    let grown = memory.held?.saturating_sub(memory.before?);
    Some(rounded(grown as f64 / options.sockets() as f64, 1))
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

/// Writes a number without its fraction, in groups of three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a value without JSON's quotes and braces.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name} {}", plain(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("; "),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_report_are_rounded_and_grouped() {
        for (number, text) in [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1e7, "10,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(plain(&json!({"a": 1, "b": [2, null]})), "a 1, b 2; -");
        assert_eq!(rounded(1.23456, 2), 1.23);
    }

    #[test]
    fn the_keys_of_the_json_report_keep_their_order() {
        let report = Report(vec![("b", json!(1)), ("a", json!({"x": null}))]);
        assert_eq!(report.json(), r#"{"b":1,"a":{"x":null}}"#);
    }
}
