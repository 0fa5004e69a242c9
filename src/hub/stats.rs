//! Running totals.

/// Totals since the hub was made. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// WebSocket connections opened.
    pub opened: u64,
    /// WebSocket connections ended.
    pub closed: u64,
    /// Plain HTTP answers, refused handshakes among them.
    pub answered: u64,
    /// Refused because the server was full or a user had too many connections.
    pub refused: u64,
    /// Connections refused because too many came from their address.
    pub crowded: u64,
    /// Handshakes refused by the handler.
    pub rejected: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages queued, each receiver counted.
    pub deliveries: u64,
    /// Messages longer than `max_queue`, sent to nobody.
    pub too_long: u64,
    /// Times a connection was not read because it was over its rate.
    pub held_back: u64,
    /// WebSocket pings sent for silence.
    pub pings: u64,
    /// Connections dropped because they read too slowly.
    pub slow_readers: u64,
    /// Connections ended because all buffers together were full.
    pub relieved: u64,
    /// Connections ended for silence.
    pub idle: u64,
    /// Connections ended because the right to be connected had.
    pub expired: u64,
    /// Connections parked by a newer one of the same user and device.
    pub parked: u64,
    /// Parked connections made active again.
    pub promoted: u64,
}
