//! Every metric: its name, its help text, and where its value comes from.
//!
//! To add a metric, add one call to the method of [`Sheet`] that it fits. A total is a field of `Stats`
//! in the hub (then `tests/sim/tally.rs` predicts it), of `Counters` in the relay or of
//! `WebhookStats`, and grows where the thing happens; a histogram is a field of `Distributions`. What
//! is written has `_total` or the unit behind the name, and so has `docs/metrics.md`.

use std::borrow::Cow;

use crate::hub::{Context, Distributions, Histogram, Statuses};
use crate::relay::{Counters, MailboxCounters, MailboxGauges};

use super::super::webhooks::WebhookStats;
use super::family::{Buckets, Family, Values};
use super::process::Process;

/// The metrics that are being gathered.
#[derive(Clone, Debug, Default)]
pub struct Sheet(pub Vec<Family>);

impl Sheet {
    pub(super) fn put(&mut self, name: &'static str, help: &'static str, values: Values) {
        self.0.push(Family { name, unit: None, help, values });
    }

    pub(super) fn put_in(
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

    pub(super) fn total(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.put(name, help, Values::Counter(value as f64));
    }

    fn totals(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (impl Into<Cow<'static, str>>, u64)>,
    ) {
        self.put(name, help, Values::Counters((label, labelled(values))));
    }

    pub(super) fn gauges<const N: usize>(
        &mut self,
        name: &'static str,
        unit: Option<&'static str>,
        help: &'static str,
        label: &'static str,
        values: [(&'static str, usize); N],
    ) {
        let values = labelled(values.map(|(value, count)| (value, count as u64)));
        self.0.push(Family { name, unit, help, values: Values::Gauges((label, values)) });
    }

    /// Adds a histogram. `scale` is how many of the histogram's units are one unit of the metric.
    fn histogram(
        &mut self,
        name: &'static str,
        unit: Option<&'static str>,
        help: &'static str,
        histogram: &Histogram,
        scale: f64,
    ) {
        let most = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| bound as f64 / scale);
        let buckets = histogram.buckets().map(|(bound, count)| (most(bound), count)).collect();
        let values = Values::Histogram(Buckets { sum: histogram.sum() as f64 / scale, buckets });
        self.0.push(Family { name, unit, help, values });
    }

    pub fn cx(&mut self, cx: &Context) {
        self.put(
            "longlink_build",
            "The version of longlink.",
            Values::Info("version", env!("CARGO_PKG_VERSION")),
        );
        self.put_in(
            "longlink_uptime",
            "seconds",
            "How long the server has run.",
            Values::Gauge(cx.uptime().as_secs_f64()),
        );
        self.connections(cx);
        self.messages(cx);
        self.buffers(cx);
        let Distributions { turns, timer_lag, .. } = cx.distributions();
        self.histogram(
            "longlink_turn",
            Some("seconds"),
            "How long a turn of the loop took, from the end of its sleep.",
            turns,
            1e6,
        );
        self.histogram(
            "longlink_timer_lag",
            Some("seconds"),
            "How late timers were, once for each turn with timers.",
            timer_lag,
            1e3,
        );
    }

    fn connections(&mut self, cx: &Context) {
        let (stats, phases) = (cx.stats(), cx.phases());
        self.gauges(
            "longlink_connections",
            None,
            "Connections by phase. handshake: a request is awaited or answered, plain HTTP \
             included; held: the refusal is delayed; parked: replaced by a newer one of its device.",
            "phase",
            [
                ("handshake", phases.handshake),
                ("held", phases.held),
                ("open", phases.open),
                ("parked", phases.parked),
                ("closing", phases.closing),
            ],
        );
        let most = cx.config().max_connections;
        self.gauge("longlink_connections_limit", "How many connections there may be.", most);
        self.gauge("longlink_users", "Users with at least one open connection.", cx.online());
        self.gauge("longlink_groups", "Groups with at least one connection.", cx.groups());
        self.total("longlink_connections_accepted", "Connections accepted.", stats.accepted);
        self.totals(
            "longlink_handshakes",
            "WebSocket handshakes by the status of the answer; 101: accepted.",
            "code",
            codes(&stats.handshakes),
        );
        self.totals(
            "longlink_http_responses",
            "Answers to plain HTTP and to refused handshakes, by status.",
            "code",
            codes(&stats.answers),
        );
        self.totals(
            "longlink_refusals",
            "Refused connections. full: no room, or none for the user; address: too many from \
             one address, some without an answer; not_allowed: 401 and 403.",
            "reason",
            [
                ("full", stats.refused),
                ("address", stats.refused_by_address),
                ("not_allowed", stats.rejected),
            ],
        );
        // The end of a plain HTTP connection is not the close of a WebSocket connection.
        let closes = stats.closes.iter().filter(|(kind, _)| *kind != "http");
        self.totals(
            "longlink_closes",
            "WebSocket connections that ended, by reason.",
            "reason",
            closes,
        );
        self.total(
            "longlink_parked",
            "Connections that a newer one of the same user and device replaced.",
            stats.parked,
        );
        self.total(
            "longlink_promoted",
            "Parked connections that became active again.",
            stats.promoted,
        );
        self.total("longlink_pings", "WebSocket pings sent to silent connections.", stats.pings);
    }

    fn messages(&mut self, cx: &Context) {
        let stats = cx.stats();
        let bytes = |count: u64| Values::Counter(count as f64);
        self.total("longlink_messages_received", "Messages from clients.", stats.messages_in);
        self.total(
            "longlink_messages_sent",
            "Messages queued for clients, each receiver counted.",
            stats.deliveries,
        );
        self.put_in(
            "longlink_received",
            "bytes",
            "Bytes received, with heads and frame headers; of TLS the decrypted bytes.",
            bytes(stats.bytes_in),
        );
        self.put_in("longlink_sent", "bytes", "Bytes sent, likewise.", bytes(stats.bytes_out));
        self.histogram(
            "longlink_fan_out_connections",
            None,
            "How many receivers a message to a group or to everyone had.",
            &cx.distributions().fan_outs,
            1.0,
        );
        self.total(
            "longlink_messages_too_long",
            "Messages longer than the queue of a connection, sent to nobody.",
            stats.too_long,
        );
        self.total(
            "longlink_messages_overfull",
            "Messages not queued, because too much was sent at once.",
            stats.overfull,
        );
        self.total(
            "longlink_held_back",
            "How often a connection was over its rate and was not read.",
            stats.held_back,
        );
    }

    fn buffers(&mut self, cx: &Context) {
        let input = cx.buffered_input() + cx.buffered_by_transports();
        self.gauges(
            "longlink_buffered",
            Some("bytes"),
            "Bytes that wait to be written (output), or for the rest of a message (input).",
            "direction",
            [("input", input), ("output", cx.buffered() - input)],
        );
        self.put_in(
            "longlink_buffered_limit",
            "bytes",
            "Above this number, the connection that holds most is dropped.",
            Values::Gauge(cx.config().max_buffered as f64),
        );
        self.gauge(
            "longlink_blocked_connections",
            "Connections whose sockets are full.",
            cx.waiting_for_peers(),
        );
    }

    pub fn relay(&mut self, counters: &Counters) {
        self.totals(
            "longlink_relay_messages",
            "One-to-one messages; offline: the user was offline, dropped.",
            "result",
            [("delivered", counters.delivered), ("offline", counters.offline)],
        );
        self.totals(
            "longlink_relay_broadcasts",
            "Messages to everyone or to a group; forbidden: ignored.",
            "result",
            [("sent", counters.broadcasts), ("forbidden", counters.forbidden)],
        );
        self.total(
            "longlink_relay_ignored",
            "Frames that were ignored because they mean nothing.",
            counters.ignored,
        );
    }

    pub fn blocks(&mut self, users: usize, refused: u64) {
        self.gauge("longlink_blocks", "Users whom the backend has blocked.", users);
        self.total(
            "longlink_blocks_refused",
            "Handshakes of blocked users, which were refused.",
            refused,
        );
    }

    /// Adds the figures of the dialect v2, and which dialects the `open` connections speak.
    pub fn mailboxes(&mut self, counters: &MailboxCounters, now: &MailboxGauges, open: usize) {
        self.gauges(
            "longlink_dialects",
            None,
            "Open connections by the dialect they speak, parked ones included.",
            "dialect",
            [("v1", open.saturating_sub(now.links + now.aside)), ("v2", now.links)],
        );
        self.gauge("longlink_mailboxes", "Users who have a mailbox.", now.mailboxes);
        self.gauge(
            "longlink_mailbox_waiting",
            "Messages in all mailboxes; one to a group counts once for each member.",
            now.waiting,
        );
        self.put_in(
            "longlink_mailbox_memory",
            "bytes",
            "Bytes of all mailboxes, which --mailbox-memory limits.",
            Values::Gauge(now.memory as f64),
        );
        let MailboxCounters { kept, delivered, acknowledged, .. } = *counters;
        self.totals(
            "longlink_mailbox_messages",
            "Messages of the dialect v2. kept: put into a mailbox; delivered: written to a device, \
             repetitions after a reconnect included; lost: dropped before any device had them; \
             expired: those of the lost ones that waited too long; undeliverable: three \
             connections of a device ended without acknowledging them.",
            "result",
            [
                ("kept", kept),
                ("delivered", delivered),
                ("lost", counters.lost),
                ("expired", counters.expired),
                ("undeliverable", counters.undeliverable),
            ],
        );
        self.total(
            "longlink_mailbox_acknowledgements",
            "Acknowledgements of devices that moved a cursor.",
            acknowledged,
        );
        self.total(
            "longlink_mailbox_resumes",
            "Connections whose replay began at the cursor that the client named.",
            counters.resumed,
        );
        let known = counters.gaps_expired + counters.gaps_overflow + counters.gaps_undeliverable;
        self.totals(
            "longlink_mailbox_gaps",
            "Gap frames that were sent to clients, by their reason.",
            "reason",
            [
                ("expired", counters.gaps_expired),
                ("overflow", counters.gaps_overflow),
                ("undeliverable", counters.gaps_undeliverable),
                ("lost", counters.gaps.saturating_sub(known)),
            ],
        );
        self.total(
            "longlink_mailbox_receipts",
            "Receipts that were made for senders who asked for them.",
            counters.receipts,
        );
        self.gauge("longlink_journal_pending", "Sends that wait for the journal.", now.pending);
        self.total(
            "longlink_journal_unavailable",
            "Sends that the journal could not keep, and that the client has to repeat.",
            counters.unavailable,
        );
        self.gauge(
            "longlink_presence_watches",
            "Users whose presence is watched, each watching connection counted.",
            now.watches,
        );
        self.totals(
            "longlink_v2_refused",
            "Frames of v2 clients that were not carried out. duplicate: a repeated send, answered \
             as before; conflict: another send with a known cid; error: any other frame that was \
             answered with an error.",
            "reason",
            [
                ("duplicate", counters.duplicates),
                ("conflict", counters.conflicts),
                ("error", counters.refused),
            ],
        );
        self.total(
            "longlink_v2_kicked",
            "Connections that were ended by a newer one of their device.",
            counters.kicked,
        );
        self.total(
            "longlink_v2_full_windows",
            "Times that a device got no further messages until it acknowledged earlier ones.",
            counters.full_windows,
        );
        self.total(
            "longlink_mailbox_shed",
            "Mailboxes that were dropped to make room for others.",
            counters.shed,
        );
        self.total(
            "longlink_mailbox_sends_forgotten",
            "Sends of connected users that are not remembered any more, to make room.",
            counters.forgotten,
        );
    }

    pub fn webhooks(&mut self, stats: &WebhookStats) {
        self.totals(
            "longlink_webhook_events",
            "Events for the backend; lost: they did not fit into the queue.",
            "result",
            [("delivered", stats.delivered), ("lost", stats.dropped)],
        );
        self.total(
            "longlink_webhook_retries",
            "Requests to the backend that failed and are repeated.",
            stats.failures,
        );
        self.gauge("longlink_webhook_waiting", "Events that wait for the backend.", stats.waiting);
        self.put_in(
            "longlink_webhook_waiting",
            "bytes",
            "Bytes of the events that wait.",
            Values::Gauge(stats.waiting_bytes as f64),
        );
        self.put_in(
            "longlink_webhook_oldest",
            "seconds",
            "How long the oldest event has waited; 0 if none waits.",
            Values::Gauge(stats.oldest.unwrap_or_default().as_secs_f64()),
        );
        self.gauge(
            "longlink_webhook_failing",
            "1 if the latest request has failed.",
            usize::from(stats.failing),
        );
    }

    pub fn process(&mut self, process: &Process, connections: usize) {
        let resident = process.resident as f64;
        self.put_in(
            "process_resident_memory",
            "bytes",
            "Resident memory of the process.",
            Values::Gauge(resident),
        );
        self.put_in(
            "longlink_memory_per_connection",
            "bytes",
            "Resident memory divided by the connections.",
            Values::Gauge((resident / connections.max(1) as f64).round()),
        );
        self.put_in(
            "process_cpu",
            "seconds",
            "Processor time, including the kernel's part.",
            Values::Counter(process.cpu),
        );
        self.put_in(
            "process_start_time",
            "seconds",
            "When the process started, in seconds since 1970.",
            Values::Gauge(process.started),
        );
    }
}

fn labelled(
    values: impl IntoIterator<Item = (impl Into<Cow<'static, str>>, u64)>,
) -> Vec<(Cow<'static, str>, u64)> {
    values.into_iter().map(|(value, count)| (value.into(), count)).collect()
}

fn codes(statuses: &Statuses) -> impl Iterator<Item = (String, u64)> {
    let name = |status: Option<u16>| status.map_or("other".to_owned(), |code| code.to_string());
    statuses.iter().map(move |(status, count)| (name(status), count))
}
