//! The metrics in the text format of OpenMetrics 1.0, which Prometheus reads.
//!
//! Names, help texts and labels are words of this program, so nothing has to be escaped.

use std::fmt::{self, Write};

use super::family::{Buckets, Family, Values, whole};

/// The `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes all metrics.
pub fn write(families: &[Family]) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(16 << 10);
    families.iter().try_for_each(|family| family.write(&mut out))?;
    out.push_str("# EOF\n");
    Ok(out)
}

impl Family {
    fn write(&self, out: &mut String) -> fmt::Result {
        let (kind, suffix) = match self.values {
            Values::Counter(_) | Values::Counters(_) => ("counter", "_total"),
            Values::Gauge(_) | Values::Gauges(_) => ("gauge", ""),
            Values::Histogram(_) => ("histogram", ""),
            Values::Info(..) => ("info", "_info"),
        };
        let mut name = String::with_capacity(64);
        name.push_str(self.name);
        if let Some(unit) = self.unit {
            name.push('_');
            name.push_str(unit);
        }
        push(out, &["# HELP ", &name, " ", self.help, "\n# TYPE ", &name, " ", kind, "\n"]);
        if let Some(unit) = self.unit {
            push(out, &["# UNIT ", &name, " ", unit, "\n"]);
        }
        name.push_str(suffix);
        match &self.values {
            Values::Counter(value) | Values::Gauge(value) => {
                push(out, &[&name, " "]);
                write_number(*value, out)?;
                out.push('\n');
                Ok(())
            }
            Values::Counters((label, values)) | Values::Gauges((label, values)) => {
                values.iter().try_for_each(|(word, value)| {
                    push(out, &[&name, "{", label, "=\"", word, "\"} "]);
                    writeln!(out, "{value}")
                })
            }
            Values::Info(label, word) => {
                push(out, &[&name, "{", label, "=\"", word, "\"} 1\n"]);
                Ok(())
            }
            Values::Histogram(histogram) => write_histogram(&name, histogram, out),
        }
    }
}

/// Writes a histogram. The count of a bucket includes those of the buckets before it.
fn write_histogram(name: &str, histogram: &Buckets, out: &mut String) -> fmt::Result {
    push(out, &[name, "_sum "]);
    write_number(histogram.sum, out)?;
    push(out, &["\n", name, "_count "]);
    writeln!(out, "{}", histogram.count())?;
    let mut count = 0;
    for (most, within) in &histogram.buckets {
        count += within;
        push(out, &[name, "_bucket{le=\""]);
        // OpenMetrics wants a float in this place, also for a whole number.
        match whole(*most) {
            _ if most.is_infinite() => out.push_str("+Inf"),
            Some(most) => write!(out, "{most}.0")?,
            None => write!(out, "{most}")?,
        }
        push(out, &["\"} "]);
        writeln!(out, "{count}")?;
    }
    Ok(())
}

/// Writes a whole number without a fraction.
fn write_number(value: f64, out: &mut String) -> fmt::Result {
    match whole(value) {
        Some(value) => write!(out, "{value}"),
        None => write!(out, "{value}"),
    }
}

fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &'static str, unit: Option<&'static str>, values: Values) -> String {
        let family = Family { name, unit, help: "What it is.", values };
        write(&[family]).unwrap()
    }

    #[test]
    fn a_counter_ends_with_total_behind_its_unit() {
        assert_eq!(
            written("longlink_sent", Some("bytes"), Values::Counter(17.0)),
            "# HELP longlink_sent_bytes What it is.\n# TYPE longlink_sent_bytes counter\n\
             # UNIT longlink_sent_bytes bytes\nlonglink_sent_bytes_total 17\n# EOF\n"
        );
    }

    #[test]
    fn a_gauge_may_have_a_fraction_and_a_label() {
        let text = written("up", Some("seconds"), Values::Gauge(0.25));
        assert!(text.ends_with("\nup_seconds 0.25\n# EOF\n"), "{text}");
        let values = vec![("a".into(), 1), ("b".into(), u64::MAX)];
        let text = written("open", None, Values::Gauges(("phase", values)));
        assert!(
            text.ends_with(
                "gauge\nopen{phase=\"a\"} 1\nopen{phase=\"b\"} 18446744073709551615\n# EOF\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_bucket_counts_what_is_in_those_before_it_too() {
        let buckets = vec![(0.000_05, 1), (1.0, 2), (f64::INFINITY, 3)];
        let text = written("t", None, Values::Histogram(Buckets { sum: 4.5, buckets }));
        let ends = "histogram\nt_sum 4.5\nt_count 6\nt_bucket{le=\"0.00005\"} 1\n\
            t_bucket{le=\"1.0\"} 3\nt_bucket{le=\"+Inf\"} 6\n# EOF\n";
        assert!(text.ends_with(ends), "{text}");
    }

    #[test]
    fn an_information_is_a_label_of_a_one() {
        let text = written("build", None, Values::Info("version", "0.1.0"));
        assert!(text.ends_with("info\nbuild_info{version=\"0.1.0\"} 1\n# EOF\n"), "{text}");
    }
}
