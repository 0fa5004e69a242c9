//! The clock of Redis, or of a node, jumps while clients on all nodes write to each other. The library `libfaketime`
//! gives the process another clock on the wall, as somebody does who sets the time of a machine; elapsed time is
//! not changed.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use redis::Value;

use crate::cluster_faults::{NODES, finish_whole, until};
use crate::program::{Folder, Program, longlink, shown};
use crate::redis_server::RedisServer;
use crate::resume::{Crowd, PATIENCE, addr_of, is_in_the_middle};
use crate::v2::Client;

/// The clock on the wall of a process, which differs from the real one by what a file says.
struct Clock {
    folder: Folder,
}

impl Clock {
    fn new() -> Self {
        let clock = Clock { folder: Folder::new() };
        clock.set(0);
        clock
    }

    /// So many seconds are added to the time from now on. The process notices it within a second.
    fn set(&self, seconds: i64) {
        // A file that is half written would be no time.
        self.folder.file("next", &format!("{seconds:+}"));
        let (next, now) = (self.folder.path("next"), self.folder.path("now"));
        std::fs::rename(next, now).expect("the file is there");
    }

    /// The variables of a process with this clock.
    fn variables(&self) -> Vec<(&'static str, String)> {
        // The memory of another allocator, which some builds of Redis have, needs a clock before the library has one.
        let libraries = format!("{}:libc.so.6", shown(&library()));
        vec![
            ("LD_PRELOAD", libraries),
            ("FAKETIME_TIMESTAMP_FILE", shown(&self.folder.path("now"))),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    let mut paths = folders.map(|it| it.path().join("faketime/libfaketimeMT.so.1"));
    paths.find(|it| it.exists()).expect("libfaketime is installed: apt install libfaketime")
}

struct Cluster {
    redis: RedisServer,
    nodes: Vec<Program>,
}

impl Cluster {
    /// Starts nodes, of which the first may have a clock of its own, and a Redis that may have one, too.
    fn start(of_redis: Option<&Clock>, of_node: Option<&Clock>) -> Self {
        let variables = of_redis.map(Clock::variables).unwrap_or_default();
        let variables = variables.into_iter().map(|(name, value)| format!("{name}={value}"));
        let before: Vec<String> = ["env".to_owned()].into_iter().chain(variables).collect();
        let redis = RedisServer::start_behind(&before, &[]);
        let nodes = (0..NODES).map(|at| {
            let name = format!("n{at}");
            let mut command = longlink(&["--listen", "127.0.0.1:0", "--close-timeout", "1"]);
            command.args(["--redis", &redis.url(), "--node", &name]);
            command.envs(of_node.filter(|_| at == 0).map(Clock::variables).unwrap_or_default());
            Program::spawn(&mut command, 1)
        });
        let nodes = nodes.collect();
        Cluster { redis, nodes }
    }

    fn crowd(&self) -> Crowd {
        let addrs: Vec<SocketAddr> = self.nodes.iter().map(addr_of).collect();
        Crowd::connect_to(&addrs, Duration::from_millis(25))
    }

    /// The leases of the nodes, which have the numbers of their lives in their names.
    fn leases(&self) -> Vec<String> {
        let Value::Array(keys) = self.redis.ask(&["KEYS", "longlink:l:*"]) else { panic!("keys") };
        keys.iter().map(|key| format!("{key:?}")).collect()
    }

    /// The hour that a node tells with each answer.
    fn hour(&self, at: usize) -> String {
        let mut stream = self.nodes[at].connect();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let date = answer.split("\r\nDate: ").nth(1).expect("a date");
        date.split(' ').nth(4).and_then(|time| time.get(..2)).expect("an hour").to_owned()
    }

    fn is_kept(&self, user: &str) -> bool {
        self.redis.ask(&["EXISTS", &format!("longlink:s:{user}")]) == Value::Int(1)
    }

    /// Writes to users who are away, through the first node. What is written waits for the seconds given.
    fn write(&self, writer: &str, messages: &[(&str, u64)]) {
        let mut client = Client::new(addr_of(&self.nodes[0]), writer, "phone", PATIENCE);
        until("the writer is connected", || {
            client.pump();
            client.is_live
        });
        for (to, ttl) in messages {
            client.write_with(to, &format!("{to}-1"), &format!(r#","ttl":{ttl}"#));
        }
        until("all is answered", || {
            client.pump();
            client.unanswered() == 0
        });
    }

    /// A message that may wait for three seconds ends then, and neither earlier nor much later.
    fn check_expiry(&self) {
        let began = Instant::now();
        self.write("strict", &[("late", 3)]);
        assert!(self.is_kept("late"));
        until("the message has expired", || !self.is_kept("late"));
        let took = began.elapsed();
        // Redis counts whole seconds, and a node looks once a second.
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(8), "{took:?}");
        assert_eq!(self.read("late"), [""; 0]);
    }

    /// What waits for a user who comes back.
    fn read(&self, user: &str) -> Vec<String> {
        let mut client = Client::new(addr_of(&self.nodes[1]), user, "phone", PATIENCE);
        until("what waits is read", || {
            client.pump();
            client.is_live
        });
        client.received.into_iter().map(|it| it.text).collect()
    }
}

#[test]
fn a_clock_of_redis_that_jumps_by_a_minute_loses_and_doubles_nothing() {
    let clock = Clock::new();
    let cluster = Cluster::start(Some(&clock), None);
    cluster.write("early", &[("away", 120), ("far", 3_600)]);
    let crowd = cluster.crowd();
    crowd.until("a third is written", is_in_the_middle);
    let before = cluster.leases();
    clock.set(60);
    // All leases have run out at once, and the nodes register again.
    until("all nodes have new lives", || {
        let leases = cluster.leases();
        leases.len() == NODES && leases.iter().all(|it| !before.contains(it))
    });
    crowd.until("half is written", |states| states.iter().all(|state| state.answered >= 60));
    let seconds = || match cluster.redis.ask(&["TIME"]) {
        Value::Array(time) => format!("{:?}", time[0]),
        other => panic!("{other:?}"),
    };
    let highest = seconds();
    clock.set(-60);
    until("the clock of Redis has gone back", || seconds() < highest);
    finish_whole(crowd);
    cluster.check_expiry();
    assert_eq!(
        (cluster.read("away"), cluster.read("far")),
        (vec!["away-1".to_owned()], vec!["far-1".to_owned()])
    );
}

#[test]
fn a_clock_of_a_node_that_jumps_by_an_hour_is_noticed_by_nobody() {
    let clock = Clock::new();
    let cluster = Cluster::start(None, Some(&clock));
    let before = cluster.leases();
    let crowd = cluster.crowd();
    crowd.until("a third is written", is_in_the_middle);
    let hours = || (cluster.hour(0), cluster.hour(1));
    clock.set(3_600);
    until("the clock of the node has jumped", || hours().0 != hours().1);
    crowd.until("half is written", |states| states.iter().all(|state| state.answered >= 60));
    cluster.write("early", &[("away", 1_800)]);
    let ahead = cluster.hour(0);
    clock.set(-3_600);
    until("the clock of the node is back", || ![ahead.clone(), hours().1].contains(&hours().0));
    for client in finish_whole(crowd) {
        assert_eq!((client.welcomes, client.byes), (1, 0), "nobody had to come again");
    }
    cluster.check_expiry();
    assert_eq!(cluster.read("away"), ["away-1"]);
    assert_eq!(cluster.leases().len(), NODES);
    assert!(cluster.leases().iter().all(|it| before.contains(it)), "no node has a new life");
}
