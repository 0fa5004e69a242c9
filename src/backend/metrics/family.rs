//! One metric: its name, its help text, and its values.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// A metric with all its values.
#[derive(Clone, Debug)]
pub struct Family {
    /// The name without the unit, and without the `_total` of a counter.
    pub name: &'static str,
    pub unit: Option<&'static str>,
    pub help: &'static str,
    pub values: Values,
}

/// A label's values, which are a fixed set. They must never contain anything that a client can
/// choose.
pub type Labelled = (&'static str, Vec<(Cow<'static, str>, u64)>);

/// The values, by the kind of the metric.
#[derive(Clone, Debug)]
pub enum Values {
    /// A total, which only grows while the process lives.
    Counter(f64),
    Counters(Labelled),
    Gauge(f64),
    Gauges(Labelled),
    Histogram(Buckets),
    /// A fact about the process that is text.
    Info(&'static str, &'static str),
}

/// The values of a histogram.
#[derive(Clone, Debug)]
pub struct Buckets {
    pub sum: f64,
    /// The buckets in ascending order: the upper bound of each, of which the last is infinite, and
    /// how many values are in it, without the buckets before it.
    pub buckets: Vec<(f64, u64)>,
}

impl Buckets {
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Family {
    /// Returns the name under which the metric appears in both formats.
    pub fn full_name(&self) -> String {
        let unit = self.unit.map_or(String::new(), |unit| format!("_{unit}"));
        let suffix = match self.values {
            Values::Counter(_) | Values::Counters(_) => "_total",
            Values::Info(..) => "_info",
            _ => "",
        };
        format!("{}{unit}{suffix}", self.name)
    }
}

impl Serialize for Values {
    /// Writes a number, an object of numbers by label, or the sum, the count and the buckets of a
    /// histogram.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Values::Counter(value) | Values::Gauge(value) => number(*value).serialize(to),
            Values::Counters((_, values)) | Values::Gauges((_, values)) => {
                to.collect_map(values.iter().map(|(label, value)| (label, value)))
            }
            Values::Info(label, text) => to.collect_map([(label, text)]),
            Values::Histogram(histogram) => {
                let mut map = to.serialize_map(Some(3))?;
                map.serialize_entry("sum", &number(histogram.sum))?;
                map.serialize_entry("count", &histogram.count())?;
                let bucket = |(most, count): &(f64, u64)| {
                    serde_json::json!({
                        "le": if most.is_finite() { number(*most) } else { Value::Null },
                        "count": count,
                    })
                };
                let buckets: Vec<_> = histogram.buckets.iter().map(bucket).collect();
                map.serialize_entry("buckets", &buckets)?;
                map.end()
            }
        }
    }
}

fn number(value: f64) -> Value {
    whole(value).map_or(value.into(), Value::from)
}

/// Returns a whole number without its fraction; `None` for other numbers.
pub fn whole(value: f64) -> Option<u64> {
    let whole = value as u64;
    (whole as f64 == value).then_some(whole)
}
