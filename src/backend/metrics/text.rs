//! The metrics in the text format of OpenMetrics 1.0, which Prometheus reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::family::{Family, Values, whole};

/// The `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes all metrics.
pub fn write(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::with_capacity(16 << 10);
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Values that were already gathered. The counters of the crate prometheus-client are not used,
/// because they would have to be kept in addition to those of the hub.
#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let unit = self.unit.map(|unit| Unit::Other(unit.to_owned()));
        let kind = match self.values {
            Values::Counter(_) | Values::Counters(_) => MetricType::Counter,
            Values::Gauge(_) | Values::Gauges(_) => MetricType::Gauge,
            Values::Histogram(_) => MetricType::Histogram,
            Values::Info(..) => MetricType::Info,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, unit.as_ref(), kind)?;
        match &self.values {
            Values::Counter(value) => match whole(*value) {
                Some(value) => ConstCounter::new(value).encode(metric),
                None => ConstCounter::new(*value).encode(metric),
            },
            Values::Gauge(value) => match whole(*value) {
                Some(value) => ConstGauge::new(value).encode(metric),
                None => ConstGauge::new(*value).encode(metric),
            },
            Values::Counters((label, values)) => values.iter().try_for_each(|(name, value)| {
                let labels = [(*label, &**name)];
                ConstCounter::new(*value).encode(metric.encode_family(&labels)?)
            }),
            Values::Gauges((label, values)) => values.iter().try_for_each(|(name, value)| {
                let labels = [(*label, &**name)];
                ConstGauge::new(*value).encode(metric.encode_family(&labels)?)
            }),
            Values::Info(label, text) => metric.encode_info(&[(*label, *text)]),
            Values::Histogram(it) => {
                metric.encode_histogram::<NoLabelSet>(it.sum, it.count(), &it.buckets, None)
            }
        }
    }
}
