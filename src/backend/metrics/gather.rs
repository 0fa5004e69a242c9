//! Every metric there is: what it is called, what it says, where its value comes from.

use crate::hub::Hub;
use crate::relay::Counters;

use super::super::webhooks::WebhookStats;
use super::family::{Family, Values};
use super::process::Process;

/// Metrics that are being put together.
#[derive(Clone, Debug, Default)]
pub struct Sheet(pub Vec<Family>);

impl Sheet {
    fn put(&mut self, name: &'static str, help: &'static str, values: Values) {
        self.0.push(Family { name, unit: None, help, values });
    }

    fn put_in(
        &mut self,
        name: &'static str,
        unit: &'static str,
        help: &'static str,
        values: Values,
    ) {
        self.0.push(Family { name, unit: Some(unit), help, values });
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: usize) {
        self.put(name, help, Values::Gauge(value as f64));
    }

    fn total(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.put(name, help, Values::Counter(value as f64));
    }

    pub fn hub(&mut self, hub: &Hub) {
        let stats = hub.stats();
        self.gauge("longlink_users", "Users with at least one open connection.", hub.online());
        self.total("longlink_messages_received", "Messages from clients.", stats.messages_in);
        self.total("longlink_deliveries", "Messages queued, once a receiver.", stats.deliveries);
    }

    pub fn relay(&mut self, counters: &Counters) {
        self.total(
            "longlink_offline",
            "One-to-one messages to users who were offline: dropped.",
            counters.offline,
        );
    }

    pub fn webhooks(&mut self, stats: &WebhookStats) {
        self.total("longlink_webhook_delivered", "Events the backend took.", stats.delivered);
    }

    pub fn process(&mut self, process: &Process) {
        let resident = Values::Gauge(process.resident as f64);
        self.put_in("process_resident_memory", "bytes", "Resident memory.", resident);
        self.put_in(
            "process_cpu",
            "seconds",
            "Processor time, the system's for this process included.",
            Values::Counter(process.cpu),
        );
        self.put_in(
            "process_start_time",
            "seconds",
            "When the process began, in seconds since 1970.",
            Values::Gauge(process.started),
        );
    }
}
