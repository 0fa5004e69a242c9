//! A server that is one of several nodes, as an operator sees it: what is refused at the start, what is
//! logged, what the health check says, and how it ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use redis::Value;

use crate::doctor::{Found, doctor};
use crate::program::{DEADLINE, Folder, Program, longlink, run};
use crate::redis_server::RedisServer;
use crate::refusals::{assert_refused, refusal};

fn node(redis: &str, more: &[&str]) -> Command {
    longlink(&[&["--listen", "127.0.0.1:0", "--redis", redis], more].concat())
}

fn start(redis: &RedisServer, more: &[&str]) -> Program {
    Program::spawn(&mut node(&redis.url(), more), 1)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: this did not come");
        thread::sleep(Duration::from_millis(10));
    }
}

fn get(program: &Program, path: &str) -> String {
    let mut stream = program.connect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn keys(redis: &RedisServer, pattern: &str) -> usize {
    match redis.ask(&["KEYS", pattern]) {
        Value::Array(keys) => keys.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_of_a_node_that_do_not_fit_together_are_refused() {
    assert_refused(&["--redis", "redis://:s3cr3t@h:x"], &["--redis:", "port"]);
    assert_refused(&["--redis", "http://h"], &["--redis:", "redis://"]);
    assert_refused(&["--node", "a"], &["--node", "needs redis"]);
    assert_refused(&["--redis-prefix", "a:"], &["--redis-prefix", "needs redis"]);
    assert_refused(&["--redis", "redis://h", "--node", "a b"], &["--node", "visible"]);
    let folder = Folder::new();
    let file = folder.file("ca.pem", "no certificate");
    assert_refused(&["--redis", "redis://h", "--redis-ca", &file], &["rediss://"]);
    assert_refused(&["--redis", "rediss://h", "--redis-ca", &file], &["redis-ca", "PEM"]);
    assert_refused(&["--redis", "redis://h", "--redis", "redis://H:6379/0"], &["twice"]);
    #[cfg(feature = "store")]
    assert_refused(&["--redis", "redis://h", "--store", "a.db"], &["store", "redis"]);
    let line = refusal(&mut longlink(&["--redis", "redis://:s3cr3t@h:x"]));
    assert!(!line.contains("s3cr3t"), "{line}");
}

#[test]
fn a_redis_that_cannot_be_used_is_refused_before_a_socket_is_opened() {
    for (options, words) in [
        (&["--maxmemory-policy", "allkeys-lru"][..], &["maxmemory-policy", "noeviction"][..]),
        (&["--replicaof", "127.0.0.1", "1"], &["replica"]),
        (&["--requirepass", "s3cr3t"], &["password"]),
        (&["--databases", "2"], &["database 7"]),
    ] {
        let redis = RedisServer::start(options);
        let url = format!("{}?db={}", redis.url(), if options[0] == "--databases" { 7 } else { 0 });
        let began = Instant::now();
        let line = refusal(&mut node(&url, &[]));
        assert!(line.starts_with("redis unix:/"), "{line}");
        for word in words {
            assert!(line.contains(word), "{line} lacks {word:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(8), "trying again would be of no use");
    }
}

#[test]
fn a_wrong_password_is_refused_and_is_in_no_line() {
    let redis = RedisServer::start(&["--requirepass", "right"]);
    let mut command = longlink(&["--listen", "127.0.0.1:0", "--log", "trace"]);
    command.env("LONGLINK_REDIS", format!("{}?user=default&pass=s3cr3t", redis.url()));
    let line = refusal(&mut command);
    assert!(line.contains("the user or the password is wrong"), "{line}");
    assert!(!line.contains("s3cr3t"), "{line}");
}

#[test]
fn a_redis_that_is_not_there_is_tried_for_ten_seconds() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let began = Instant::now();
    let line = refusal(&mut node(&format!("redis://{gone}"), &[]));
    assert!(line.starts_with(&format!("redis redis://{gone}/0: ")), "{line}");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(13), "{took:?}");
}

#[test]
fn a_server_that_does_not_know_the_login_does_not_make_the_password_visible() {
    // It repeats the arguments of an unknown command, as Redis does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes);
            let _ = stream
                .write_all(b"-ERR unknown command 'AUTH', with args beginning with: 's3cr3t' \r\n");
        }
    });
    let url = format!("redis://:s3cr3t@{addr}");
    let line = refusal(&mut node(&url, &[]));
    assert!(line.contains("it refuses the password"), "{line}");
    assert!(!line.contains("s3cr3t"), "{line}");
    let found = doctor_of(&url, &[]);
    found.has("FAIL", "connect", &["it refuses the password"]).failed(1);
    assert!(!found.lines.concat().contains("s3cr3t"), "{:?}", found.lines);
}

#[test]
fn the_loss_and_the_return_of_redis_are_one_line_each_and_change_the_health_check() {
    let mut redis = RedisServer::start(&["--requirepass", "s3cr3t"]);
    let mut command = longlink(&["--listen", "127.0.0.1:0", "--log", "info", "--node", "one"]);
    command.env("LONGLINK_REDIS", format!("{}?pass=s3cr3t", redis.url()));
    let mut program = Program::spawn(&mut command, 1);
    let log = program.log();
    assert!(get(&program, "/healthz").contains(r#"{"status":"ok","cluster":{"state":"up"}}"#));
    redis.kill();
    until("the health check fails", || program.status("/healthz") == 503);
    assert!(get(&program, "/healthz").contains("Redis cannot be reached"));
    // The node is away for some tries.
    thread::sleep(Duration::from_millis(1_500));
    redis.run();
    until("the health check succeeds", || program.status("/healthz") == 200);
    program.stop();
    let lines = log.rest();
    for (word, count) in
        [("the connection is lost", 1), ("connected again", 1), ("this is the node one", 1)]
    {
        let found = lines.iter().filter(|line| line.contains(word)).count();
        assert_eq!(found, count, "{word}: {lines:#?}");
    }
    assert!(!lines.concat().contains("s3cr3t"), "{lines:#?}");
}

#[test]
fn a_node_that_ends_gives_its_lease_back_and_its_name_is_free_at_once() {
    let redis = RedisServer::start(&[]);
    let mut first = start(&redis, &["--node", "one"]);
    assert_eq!(keys(&redis, "longlink:l:*"), 1);
    first.stop();
    assert_eq!(keys(&redis, "longlink:l:*"), 0);
    let began = Instant::now();
    let mut second = start(&redis, &["--node", "one"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    second.stop();
}

#[test]
fn the_name_of_a_node_that_runs_is_refused_and_that_of_a_killed_one_is_free_after_its_lease() {
    let redis = RedisServer::start(&[]);
    let mut first = start(&redis, &["--node", "one"]);
    let line = refusal(&mut node(&redis.url(), &["--node", "one"]));
    assert!(line.contains("the name one is taken"), "{line}");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let mut second = start(&redis, &["--node", "one"]);
    assert_eq!(second.status("/healthz"), 200);
    second.stop();
}

#[test]
fn nodes_with_different_prefixes_in_one_redis_do_not_meet() {
    let redis = RedisServer::start(&[]);
    let mut one = start(&redis, &["--node", "one", "--redis-prefix", "a:"]);
    let mut other = start(&redis, &["--node", "one", "--redis-prefix", "b:"]);
    assert_eq!((keys(&redis, "a:l:*"), keys(&redis, "b:l:*")), (1, 1));
    assert_eq!(keys(&redis, "longlink:*"), 0);
    one.stop();
    other.stop();
}

fn doctor_of(redis: &str, more: &[&str]) -> Found {
    doctor("--redis", &[&[redis, "--timeout", "5"], more].concat())
}

#[test]
fn doctor_examines_a_redis_that_is_well() {
    let redis = RedisServer::start(&["--appendonly", "yes", "--maxmemory", "100mb"]);
    let found = doctor_of(&redis.url(), &[]);
    found
        .has("ok", "connect", &["ms"])
        .has("ok", "version", &[&redis.version()])
        .has("ok", "role", &["master"])
        .has("ok", "policy", &["noeviction"])
        .has("ok", "memory", &["100 MiB"])
        .has("ok", "persistence", &["every second", "queued"])
        .has("ok", "round trip", &["median", "longest of 20"])
        .has("ok", "pub/sub", &["to itself"])
        .failed(0);
    assert!(found.lines.iter().any(|line| line.contains("scripts like that of a message")));
    assert_eq!(keys(&redis, "*"), 0, "the doctor leaves nothing behind");
    redis.ask(&["CONFIG", "SET", "appendfsync", "always"]);
    doctor_of(&redis.url(), &[]).has("ok", "persistence", &["stored"]).failed(0);
}

#[test]
fn doctor_says_what_is_wrong_with_a_redis() {
    let options = ["--maxmemory-policy", "volatile-ttl", "--replicaof", "127.0.0.1", "1"];
    let redis = RedisServer::start(&options);
    let found = doctor_of(&redis.url(), &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&found.lines.concat()).unwrap();
    assert_eq!((found.code, report["verdict"].as_str()), (1, Some("fail")));
    let checks = report["checks"].as_array().unwrap();
    let check = |step: &str| {
        checks.iter().find(|check| check["step"] == step).unwrap_or_else(|| panic!("no {step}"))
    };
    assert_eq!(check("policy")["verdict"], "fail");
    assert_eq!(check("role")["verdict"], "fail");
    assert_eq!(check("persistence")["verdict"], "warn");
    assert_eq!(check("script")["verdict"], "fail", "a replica takes no writes");
    assert!(check("round trip")["ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn doctor_examines_either_a_server_or_a_redis() {
    for args in [
        &["doctor"][..],
        &["doctor", "ws://a/b", "--redis", "redis://c"],
        &["doctor", "--redis", "redis://c", "--quick"],
        &["doctor", "ws://a/b", "--redis-prefix", "x"],
        &["doctor", "--redis", "redis://:s3cr3t@c:x"],
    ] {
        let (code, _, err) = run(&mut longlink(args));
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(!err.contains("s3cr3t"), "{err}");
    }
}

#[test]
fn a_user_of_redis_with_the_rights_that_the_guide_names_is_enough_for_a_node() {
    let guide = std::fs::read_to_string("docs/cluster.md").unwrap();
    let rights = guide.split("and these commands: `").nth(1).unwrap().split('`').next().unwrap();
    let redis = RedisServer::start(&[]);
    let mut words = vec!["ACL", "SETUSER", "app", "on", ">s3cr3t"];
    words.extend(rights.split(' '));
    assert_eq!(redis.ask(&words), Value::Okay);
    let url = format!("{}?user=app&pass=s3cr3t", redis.url());
    doctor_of(&url, &[]).failed(0);
    let mut program = Program::spawn(&mut node(&url, &[]), 1);
    assert_eq!(program.status("/healthz"), 200);
    program.stop();
    assert_eq!(keys(&redis, "longlink:l:*"), 0);
}

/// A sentinel that names one master for ever.
fn sentinel(master: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let answer = |stream: &mut TcpStream| {
                let mut bytes = [0; 1024];
                let read = stream.read(&mut bytes)?;
                let asked = String::from_utf8_lossy(&bytes[..read]).into_owned();
                let (ip, port) = (master.ip().to_string(), master.port().to_string());
                let known = format!("*2\r\n${}\r\n{ip}\r\n${}\r\n{port}\r\n", ip.len(), port.len());
                let knows = asked.contains("get-master-addr-by-name") && asked.contains("main");
                stream.write_all(if knows { known.as_bytes() } else { b"*-1\r\n" })
            };
            let _ = answer(&mut stream);
        }
    });
    addr
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_master_is_found_through_a_sentinel_that_answers() {
    let port = free_port();
    let redis = RedisServer::start(&["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    let master = format!("127.0.0.1:{port}").parse().unwrap();
    let (dead, good) = (free_port(), sentinel(master));
    let url = format!("redis-sentinel://127.0.0.1:{dead},{good}/main");
    doctor_of(&url, &[]).has("ok", "role", &["master"]).failed(0);
    let mut program = Program::spawn(&mut node(&url, &[]), 1);
    assert_eq!(program.status("/healthz"), 200);
    assert_eq!(keys(&redis, "longlink:l:*"), 1);
    program.stop();
    let unknown = format!("redis-sentinel://{good}/other");
    let found = doctor_of(&unknown, &[]);
    found.has("FAIL", "connect", &["does not know \"other\""]).failed(1);
}

#[cfg(feature = "tls")]
#[test]
fn the_way_to_redis_is_encrypted_and_its_certificate_is_judged() {
    let authority = crate::certs::Authority::new();
    let server = authority.chain_at("localhost");
    let folder = Folder::new();
    let cert = folder.file("cert.pem", &server.cert);
    let key = folder.file("key.pem", &server.key);
    let root = folder.file("root.pem", &authority.root());
    let port = free_port().to_string();
    let redis = RedisServer::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &root,
        "--tls-auth-clients",
        "no",
        "--bind",
        "127.0.0.1",
    ]);
    let url = format!("rediss://localhost:{port}");
    doctor_of(&url, &["--redis-ca", &root]).has("ok", "pub/sub", &[]).failed(0);
    doctor_of(&url, &[]).has("FAIL", "connect", &["TLS", "redis-ca"]).failed(1);
    let found = doctor_of(&format!("rediss://127.0.0.1:{port}"), &["--redis-ca", &root]);
    found.has("FAIL", "connect", &["another name"]).failed(1);
    let mut program = Program::spawn(&mut node(&url, &["--redis-ca", &root]), 1);
    assert_eq!(program.status("/healthz"), 200);
    program.stop();
    drop(redis);
}
