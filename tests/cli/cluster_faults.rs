//! Three real nodes over a real Redis, of which one part after another fails while pairs of clients, each on
//! another node than its peer, write to each other. Each row of the table *What survives what* in
//! `docs/cluster.md` is a test here.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use redis::Value;

use crate::network::Network;
use crate::program::{DEADLINE, Program};
use crate::redis_server::RedisServer;
use crate::resume::{Crowd, State, addr_of, is_in_the_middle, lost_and_doubled};
use crate::v2::Client;

pub const NODES: usize = 3;
/// How long a client waits between two messages.
const PACE: Duration = Duration::from_millis(20);

/// Nodes, each with a network to its clients, which stands for a load balancer, and a network to Redis.
struct Cluster {
    redis: RedisServer,
    to_redis: Vec<Network>,
    nodes: Vec<Program>,
    doors: Vec<Network>,
}

fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

fn redis_at(addr: SocketAddr, options: &[&str]) -> RedisServer {
    let port = addr.port().to_string();
    RedisServer::start(&[&["--port", &*port, "--bind", "127.0.0.1"], options].concat())
}

fn start_node(at: usize, to_redis: &Network) -> Program {
    let (name, url) = (format!("n{at}"), format!("redis://{}", to_redis.addr));
    // A client that is away for long on a slow machine loses nothing to a bound.
    let bounds = ["--mailbox-messages", "10000", "--mailbox-bytes", "16m"];
    let node = ["--close-timeout", "1", "--redis", &url, "--node", &name];
    Program::start(&[&node[..], &bounds].concat())
}

pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: this did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Cluster {
    fn start(options: &[&str]) -> Self {
        let addr = free_addr();
        let redis = redis_at(addr, options);
        let to_redis: Vec<Network> = (0..NODES).map(|_| Network::to(addr)).collect();
        let nodes: Vec<Program> =
            to_redis.iter().enumerate().map(|(at, it)| start_node(at, it)).collect();
        let doors = nodes.iter().map(|node| Network::to(addr_of(node))).collect();
        Cluster { redis, to_redis, nodes, doors }
    }

    /// Connects the clients, and waits until they are in the middle of what they write.
    fn crowd(&self) -> Crowd {
        let addrs: Vec<SocketAddr> = self.doors.iter().map(|door| door.addr).collect();
        let crowd = Crowd::connect_to(&addrs, PACE);
        crowd.until("a third is written", is_in_the_middle);
        crowd
    }

    /// Waits until everybody has come again, because the epoch of the messages so far has ended.
    fn wait_for_a_new_epoch(&self, crowd: &Crowd, before: &str) {
        until("the nodes are healthy", || (0..NODES).all(|at| self.is_healthy(at)));
        crowd.until("everybody is in the new epoch", |states| {
            states.iter().all(|state| state.is_live && state.epoch != before)
        });
    }

    /// Clients of a node come to another one from now on.
    fn lead(&self, from: usize, to: usize) {
        self.doors[from].lead_to(addr_of(&self.nodes[to]));
        self.doors[from].cut();
    }

    /// How many nodes have a lease.
    fn leases(&self) -> usize {
        match self.redis.ask(&["KEYS", "longlink:l:*"]) {
            Value::Array(keys) => keys.len(),
            other => panic!("{other:?}"),
        }
    }

    fn is_healthy(&self, at: usize) -> bool {
        self.nodes[at].status("/healthz") == 200
    }
}

fn all_are_live(states: &[State]) -> bool {
    states.iter().all(|state| state.is_live)
}

/// Waits until everything is answered and has come, and checks that each message has come once.
fn finish(crowd: Crowd) -> Vec<Client> {
    let clients = crowd.finish();
    let (lost, doubled) = lost_and_doubled(&clients);
    assert!(lost.is_empty() && doubled.is_empty(), "lost: {lost:?}, doubled: {doubled:?}");
    clients
}

/// Like `finish`, and nobody has been told of a loss.
pub fn finish_whole(crowd: Crowd) -> Vec<Client> {
    let clients = finish(crowd);
    for client in &clients {
        assert!(client.gaps.is_empty(), "{:?}", client.gaps);
    }
    clients
}

#[test]
fn a_node_that_is_killed_costs_its_clients_a_reconnect_and_nothing_else() {
    let mut cluster = Cluster::start(&[]);
    let crowd = cluster.crowd();
    cluster.nodes[0].signal("KILL");
    cluster.nodes[0].child.wait().expect("it has ended");
    cluster.lead(0, 1);
    let clients = finish_whole(crowd);
    for (at, client) in clients.iter().enumerate() {
        let is_of_the_node = at % NODES == 0;
        assert_eq!(client.welcomes >= 2, is_of_the_node, "client {at}: {}", client.welcomes);
    }
}

#[test]
fn a_node_that_is_frozen_is_given_up_by_the_others_and_registers_again_when_it_goes_on() {
    let cluster = Cluster::start(&[]);
    let crowd = cluster.crowd();
    cluster.nodes[0].signal("STOP");
    cluster.lead(0, 1);
    crowd.until("everybody is on a node that runs", all_are_live);
    until("the lease of the frozen node runs out", || cluster.leases() == NODES - 1);
    cluster.nodes[0].signal("CONT");
    until("the node registers again", || cluster.leases() == NODES);
    until("the node is healthy", || cluster.is_healthy(0));
    finish_whole(crowd);
}

#[test]
fn a_node_that_is_frozen_for_a_moment_goes_on_with_its_clients() {
    let cluster = Cluster::start(&[]);
    let crowd = cluster.crowd();
    cluster.nodes[0].signal("STOP");
    crowd.until("its clients have noticed", |states| {
        states.iter().step_by(NODES).all(|state| !state.is_live)
    });
    cluster.nodes[0].signal("CONT");
    crowd.until("everybody is back", all_are_live);
    finish_whole(crowd);
}

#[test]
fn a_redis_that_is_restarted_with_its_data_loses_nothing_and_makes_no_gap() {
    let mut cluster = Cluster::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let crowd = cluster.crowd();
    let epoch = crowd.epoch();
    cluster.redis.kill();
    until("the nodes have noticed", || (0..NODES).all(|at| !cluster.is_healthy(at)));
    cluster.redis.run();
    cluster.wait_for_a_new_epoch(&crowd, &epoch);
    let clients = crowd.finish();
    for (at, client) in clients.iter().enumerate() {
        assert!(client.gaps.is_empty(), "{:?}", client.gaps);
        // On a busy machine a client may have given up its connection before it was asked.
        let has_left = client.byes + client.silences > 0;
        assert!(has_left, "client {at} was asked to come again, because the epoch is new");
        let peer = &clients[at ^ 1];
        for answered in &peer.answered {
            // What was sent again is answered with what is known of the first time.
            let is_stored = answered.state == "stored" || answered.is_duplicate;
            assert!(is_stored, "Redis syncs every write: {answered:?}");
            let count = client.received.iter().filter(|it| it.text == answered.text).count();
            assert_eq!(count, 1, "{answered:?} has come {count} times");
        }
    }
}

#[test]
fn a_redis_that_is_restarted_without_data_makes_a_gap_for_each_client() {
    let mut cluster = Cluster::start(&["--appendonly", "no"]);
    let crowd = cluster.crowd();
    let epoch = crowd.epoch();
    cluster.redis.kill();
    until("the nodes have noticed", || (0..NODES).all(|at| !cluster.is_healthy(at)));
    cluster.redis.run();
    cluster.wait_for_a_new_epoch(&crowd, &epoch);
    for client in finish(crowd) {
        let has_gap = client.gaps.iter().any(|gap| gap.reason == "lost" && gap.from.is_none());
        assert!(has_gap, "{:?}", client.gaps);
    }
}

#[test]
fn a_redis_that_is_frozen_delays_everything_and_loses_nothing() {
    let cluster = Cluster::start(&[]);
    let crowd = cluster.crowd();
    cluster.redis.signal("STOP");
    until("the nodes have noticed", || (0..NODES).all(|at| !cluster.is_healthy(at)));
    cluster.redis.signal("CONT");
    until("the nodes are healthy", || (0..NODES).all(|at| cluster.is_healthy(at)));
    finish_whole(crowd);
}

#[test]
fn a_failover_that_has_lost_its_tail_is_a_gap_and_never_silence() {
    let mut cluster = Cluster::start(&[]);
    let master = cluster.redis.ask(&["CONFIG", "GET", "port"]);
    let Value::Array(pair) = &master else { panic!("{master:?}") };
    let Value::BulkString(port) = &pair[1] else { panic!("{master:?}") };
    let port: u16 = String::from_utf8_lossy(port).parse().expect("a port");
    let replication = Network::to(SocketAddr::from(([127, 0, 0, 1], port)));
    let addr = free_addr();
    let replica = redis_at(addr, &[]);
    let to = replication.addr.port().to_string();
    replica.ask(&["REPLICAOF", "127.0.0.1", &to]);
    until("the replica is in step", || {
        let info = replica.ask(&["INFO", "replication"]);
        matches!(info, Value::BulkString(text)
            if String::from_utf8_lossy(&text).contains("master_link_status:up"))
    });
    let crowd = cluster.crowd();
    let epoch = crowd.epoch();
    replication.swallow(true);
    crowd.until("more is written, which the replica does not get", |states| {
        states.iter().all(|state| state.answered >= 45)
    });
    cluster.redis.kill();
    replica.ask(&["REPLICAOF", "NO", "ONE"]);
    for network in &cluster.to_redis {
        network.lead_to(addr);
        network.cut();
    }
    cluster.wait_for_a_new_epoch(&crowd, &epoch);
    let clients = finish(crowd);
    let is_told = |client: &&Client| client.gaps.iter().any(|gap| gap.reason == "lost");
    assert!(clients.iter().filter(is_told).count() > 0, "what was lost is told");
}

#[test]
fn a_node_that_is_cut_off_from_redis_refuses_to_keep_messages_and_loses_nothing() {
    let cluster = Cluster::start(&[]);
    let crowd = cluster.crowd();
    cluster.to_redis[0].swallow(true);
    until("the node has noticed", || !cluster.is_healthy(0));
    assert!(cluster.is_healthy(1) && cluster.is_healthy(2));
    cluster.to_redis[0].swallow(false);
    cluster.to_redis[0].cut();
    until("the node is healthy", || cluster.is_healthy(0));
    finish_whole(crowd);
}
