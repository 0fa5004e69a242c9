//! Three real nodes and a Redis, each in a network of its own: a namespace of the kernel with a link to Redis and
//! one to the clients. Links are cut, slow and lossy, while clients on all nodes write to each other.
//!
//! A test runs itself again in a namespace, in which it is root and may make networks. Nothing leaves the
//! namespaces, and the kernel removes them when the test ends.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cluster_faults::{NODES, finish_whole, until};
use crate::program::{Program, longlink};
use crate::redis_server::RedisServer;
use crate::resume::{Crowd, is_in_the_middle};

/// Is set in the process that runs in the namespace.
const INSIDE: &str = "LONGLINK_TEST_IS_IN_A_NETWORK_OF_ITS_OWN";

/// A network of its own, which ends with the process that keeps it.
struct Host {
    keeper: Child,
}

/// Runs one of the tools that configure networks, as root of the namespace, and returns what it prints.
fn tool(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error} (iproute2 and nftables)"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Host {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let keeper = command.spawn().expect("unshare of util-linux is there");
        let host = Host { keeper };
        let link = format!("/proc/{}/ns/net", host.keeper.id());
        let mine = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        until("the keeper has a network of its own", || {
            std::fs::read_link(&link).is_ok_and(|its| its != mine)
        });
        host.run("ip link set lo up");
        host
    }

    /// What is written before a command that runs on this host.
    fn before(&self) -> [String; 4] {
        ["nsenter".into(), "--target".into(), self.keeper.id().to_string(), "--net".into()]
    }

    fn run(&self, line: &str) -> String {
        tool(&format!("{} {line}", self.before().join(" ")))
    }

    /// Makes a link between two hosts; the names are those of its two ends.
    fn connect(&self, name: &str, addr: &str, other: &Host, its_name: &str, its_addr: &str) {
        let (mine, its) = (self.keeper.id(), other.keeper.id());
        tool(&format!(
            "ip link add {name} netns {mine} type veth peer name {its_name} netns {its}"
        ));
        for (host, name, addr) in [(self, name, addr), (other, its_name, its_addr)] {
            host.run(&format!("ip addr add {addr}/30 dev {name}"));
            host.run(&format!("ip link set {name} up"));
        }
    }

    /// What comes over a link is lost with this chance from now on.
    fn lose(&self, link: &str, percent: u32) {
        self.run("nft add table inet lossy");
        self.run("nft add chain inet lossy input { type filter hook input priority 0 ; }");
        self.run(&format!(
            "nft add rule inet lossy input iifname {link} numgen random mod 100 < {percent} counter drop"
        ));
    }

    /// How many packets were lost.
    fn lost(&self) -> u64 {
        let rules = self.run("nft list table inet lossy");
        let counts = rules.split("counter packets ").skip(1);
        counts.map(|it| it.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap()).sum()
    }

    /// A link takes so many kilobits a second from now on, and lets packets wait.
    fn slow(&self, link: &str, kilobits: u32) {
        self.run(&format!(
            "tc qdisc add dev {link} root tbf rate {kilobits}kbit burst 4kb latency 400ms"
        ));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The clients' host, from which each node is one link away, as Redis is from each node.
struct Hosts {
    /// The clients are on the host of the test itself, which enters no other.
    of_redis: Host,
    of_nodes: Vec<Host>,
    _redis: RedisServer,
    nodes: Vec<Program>,
}

impl Hosts {
    fn start() -> Self {
        tool("ip link set lo up");
        let of_redis = Host::new();
        let of_nodes: Vec<Host> = (0..NODES).map(|_| Host::new()).collect();
        for (at, host) in of_nodes.iter().enumerate() {
            let addr = |net: usize, end: usize| format!("10.77.{net}.{}", 4 * at + end);
            host.connect("redis", &addr(1, 2), &of_redis, &format!("node{at}"), &addr(1, 1));
            let its = host.keeper.id();
            tool(&format!("ip link add node{at} type veth peer name clients netns {its}"));
            tool(&format!("ip addr add {}/30 dev node{at}", addr(2, 1)));
            tool(&format!("ip link set node{at} up"));
            host.run(&format!("ip addr add {}/30 dev clients", addr(2, 2)));
            host.run("ip link set clients up");
        }
        let options = ["--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no"];
        let redis = RedisServer::start_behind(&of_redis.before(), &options);
        let nodes = of_nodes.iter().enumerate().map(|(at, host)| {
            let before = host.before();
            let mut command = Command::new(&before[0]);
            let program = longlink(&[]);
            command.args(&before[1..]).arg(program.get_program()).env_clear();
            let (listen, redis) = (addr_of(at).to_string(), format!("10.77.1.{}", 4 * at + 1));
            command.args(["--listen", &listen, "--redis", &format!("redis://{redis}")]);
            command.args(["--open", "--node", &format!("n{at}"), "--close-timeout", "1"]);
            Program::spawn(command.stdin(Stdio::null()), 1)
        });
        let nodes = nodes.collect();
        Hosts { of_redis, of_nodes, _redis: redis, nodes }
    }

    fn crowd(&self) -> Crowd {
        let addrs: Vec<SocketAddr> = (0..NODES).map(addr_of).collect();
        Crowd::connect_to(&addrs, Duration::from_millis(20))
    }

    fn is_healthy(&self, at: usize) -> bool {
        self.nodes[at].status("/healthz") == 200
    }
}

/// Where the clients find a node.
fn addr_of(at: usize) -> SocketAddr {
    SocketAddr::from(([10, 77, 2, 4 * at as u8 + 2], 8080))
}

/// Runs a test in a network of its own. Returns whether this process is in it already.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let me = std::env::current_exe().expect("a path");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(me).args([&format!("cluster_network::{test}"), "--exact", "--nocapture"]);
    // The tools are not in the path of every user.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).env(INSIDE, "yes").stdin(Stdio::null());
    let output = command.output();
    let output = output.expect("unshare of util-linux is there");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "in a network of its own (`unshare --map-root-user --net` must be allowed here: \
         kernel.unprivileged_userns_clone, or root): {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[test]
fn a_link_that_is_cut_between_two_hosts_loses_nothing() {
    if !is_inside("a_link_that_is_cut_between_two_hosts_loses_nothing") {
        return;
    }
    let hosts = Hosts::start();
    let crowd = hosts.crowd();
    crowd.until("a third is written", is_in_the_middle);
    // Nobody is told that this link is cut: packets simply do not come.
    hosts.of_redis.run("ip link set node0 down");
    // And for a moment the clients of another node do not reach it.
    tool("ip link set node1 down");
    crowd.until("the clients of the node have noticed", |states| {
        states.iter().skip(1).step_by(NODES).all(|state| !state.is_live)
    });
    tool("ip link set node1 up");
    until("the node has noticed", || !hosts.is_healthy(0));
    assert!(hosts.is_healthy(1) && hosts.is_healthy(2));
    hosts.of_redis.run("ip link set node0 up");
    until("the node is healthy", || hosts.is_healthy(0));
    finish_whole(crowd);
}

#[test]
fn slow_links_that_lose_packets_lose_no_message() {
    if !is_inside("slow_links_that_lose_packets_lose_no_message") {
        return;
    }
    let hosts = Hosts::start();
    for (at, host) in hosts.of_nodes.iter().enumerate() {
        hosts.of_redis.slow(&format!("node{at}"), 1_500);
        host.slow("redis", 1_500);
        host.slow("clients", 3_000);
        host.lose("redis", 3);
    }
    hosts.of_nodes[0].lose("clients", 3);
    finish_whole(hosts.crowd());
    for host in &hosts.of_nodes {
        assert!(host.lost() > 10, "only {} packets were lost", host.lost());
        let queue = host.run("tc -s qdisc show dev redis");
        assert!(!queue.contains("overlimits 0 "), "no packet had to wait: {queue}");
    }
}
