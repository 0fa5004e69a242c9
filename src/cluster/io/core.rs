//! What the threads need of a [node](crate::cluster::node). Tests put another one in its place.

use redis::Value;

use crate::cluster::Event;
use crate::cluster::ask::Ask;
use crate::cluster::info::Server;
use crate::cluster::node::{Batch, Claim, Node, ServerInfo};
use crate::engine::Numbers;

/// Decides what is sent to Redis and what a reply means. Times are milliseconds of a clock that only
/// goes forward.
pub trait Core: Send + 'static {
    /// Moves out what the loop is to be told.
    fn events(&mut self, out: &mut Vec<Event>);

    /// Takes a request of the loop.
    fn ask(&mut self, ask: Ask, now: u64);

    /// Adds the commands for a shard that are to be sent now. Their replies come before this is called
    /// again for the shard.
    fn take(&mut self, shard: usize, now: u64, batch: &mut Batch);

    /// Whether [`Core::take`] would add commands for this shard.
    fn has_commands(&self, shard: usize) -> bool;

    /// Takes the replies to a batch, in the order of its commands.
    fn replied(&mut self, shard: usize, replies: Vec<Value>, now: u64);

    /// The exchange of a batch and its replies has taken so many microseconds.
    fn exchanged(&mut self, shard: usize, micros: u64);

    /// The connection is lost. Whether the commands without a reply were carried out is unknown.
    fn broken(&mut self, shard: usize, now: u64);

    /// There is a new connection.
    fn connected(&mut self, shard: usize, server: &Server, now: u64);

    /// Whether the connection has to be made anew, because it leads to a server that cannot be used any
    /// more. True once.
    fn wants_reconnect(&mut self, shard: usize) -> bool;

    /// The channels that a subscriber listens to; none before they are known.
    fn channels(&self) -> Vec<String>;

    /// All channels are subscribed.
    fn subscribed(&mut self, shard: usize, now: u64);

    /// The channels are not subscribed any more.
    fn unsubscribed(&mut self, shard: usize, now: u64);

    /// Whether the subscriber has to connect anew, because the channels have changed or because what the
    /// node has sent to itself did not come back. True once.
    fn wants_subscriber(&mut self, shard: usize) -> bool;

    /// Takes what came over a channel.
    fn published(&mut self, shard: usize, payload: &[u8], now: u64);

    /// Does what is due.
    fn tick(&mut self, now: u64);

    /// When [`Core::tick`] has something to do, if nothing else happens before.
    fn next_due(&self) -> Option<u64>;

    /// Whether this node may use its name.
    fn claim(&self) -> Claim;

    /// Begins to give everything back: connections, the lease and the name.
    fn leave(&mut self, now: u64);

    /// Whether everything is given back.
    fn has_left(&self) -> bool;

    /// Numbers for operators.
    fn numbers(&self) -> Numbers;

    /// How many users are online on other nodes.
    fn online_elsewhere(&self) -> u64;
}

impl Core for Node {
    fn events(&mut self, out: &mut Vec<Event>) {
        Node::events(self, out);
    }

    fn ask(&mut self, ask: Ask, now: u64) {
        Node::ask(self, ask, now);
    }

    fn take(&mut self, shard: usize, now: u64, batch: &mut Batch) {
        Node::take(self, shard, now, batch);
    }

    fn has_commands(&self, shard: usize) -> bool {
        Node::has_commands(self, shard)
    }

    fn replied(&mut self, shard: usize, replies: Vec<Value>, now: u64) {
        Node::replied(self, shard, replies, now);
    }

    fn exchanged(&mut self, shard: usize, micros: u64) {
        Node::exchanged(self, shard, micros);
    }

    fn broken(&mut self, shard: usize, now: u64) {
        Node::broken(self, shard, now);
    }

    fn connected(&mut self, shard: usize, server: &Server, now: u64) {
        let info = ServerInfo {
            run_id: server.run_id.clone(),
            replid: server.replid.clone(),
            replid2: server.replid2.clone(),
            version: (server.version.0, server.version.1),
            syncs_always: server.is_durable(),
        };
        Node::connected(self, shard, info, now);
    }

    fn wants_reconnect(&mut self, shard: usize) -> bool {
        Node::wants_reconnect(self, shard)
    }

    fn channels(&self) -> Vec<String> {
        Node::channels(self)
    }

    fn subscribed(&mut self, shard: usize, now: u64) {
        Node::subscribed(self, shard, now);
    }

    fn unsubscribed(&mut self, shard: usize, now: u64) {
        Node::unsubscribed(self, shard, now);
    }

    fn wants_subscriber(&mut self, shard: usize) -> bool {
        Node::wants_subscriber(self, shard)
    }

    fn published(&mut self, shard: usize, payload: &[u8], now: u64) {
        Node::published(self, shard, payload, now);
    }

    fn tick(&mut self, now: u64) {
        Node::tick(self, now);
    }

    fn next_due(&self) -> Option<u64> {
        Node::next_due(self)
    }

    fn claim(&self) -> Claim {
        Node::claim(self)
    }

    fn leave(&mut self, now: u64) {
        Node::leave(self, now);
    }

    fn has_left(&self) -> bool {
        Node::has_left(self)
    }

    fn numbers(&self) -> Numbers {
        Node::numbers(self)
    }

    fn online_elsewhere(&self) -> u64 {
        Node::online_elsewhere(self)
    }
}
