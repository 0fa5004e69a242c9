//! The interface of two nodes that serve the same users, over a real Redis: every call has the same answer on
//! each node.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use longlink::backend::{ApiKey, Backend, BackendConfig};
use longlink::cluster::{Cluster, ClusterConfig, Event, RedisUrl};
use longlink::sim::frames::handshake;
use longlink::{Incoming, Listener, Relay, RelayConfig, SendError, Server, Stopper};
use serde_json::{Value, json};

use crate::client::{Client, KEY};
use crate::redis_server::RedisServer;
use crate::support::client::{DEADLINE, Raw, Socket};
use crate::support::serve::patient;

/// A node with an address for clients and one for a backend.
struct Node {
    clients: SocketAddr,
    api: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    fn start(redis: &RedisServer, name: &str) -> Self {
        let mut config = patient();
        // The clients of a test go after its nodes.
        config.close_timeout = Duration::from_millis(50);
        let url = RedisUrl::parse(&redis.url()).unwrap();
        let cluster = Cluster::connect(ClusterConfig::new(url, name)).unwrap();
        let clients = Listener::tcp(([127, 0, 0, 1], 0).into(), &config).unwrap();
        let api = Listener::tcp(([127, 0, 0, 1], 0).into(), &config).unwrap();
        let addresses = (clients.tcp_addr().unwrap(), api.tcp_addr().unwrap());
        let mut backend = BackendConfig::default();
        backend.keys = vec![ApiKey::new(KEY).unwrap()];
        let relay = Relay::new(RelayConfig::default())
            .with_journal(Box::new(cluster.journal()))
            .with_engine(Box::new(cluster.engine()))
            .with_backend(Backend::new(backend));
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let listeners = vec![clients, api.with_tag(Backend::LISTENER)];
            let mut server = Server::new(listeners, config, relay).unwrap();
            tell.send(server.stopper()).unwrap();
            let sender = server.sender();
            let _member = cluster.start(Box::new(move |event| {
                let mut next = match event {
                    Event::Journal(completed) => Incoming::Journal(completed),
                    Event::Engine(told) => Incoming::Engine(told),
                };
                while let Err(SendError::Full(again)) = sender.send(next) {
                    next = again;
                    std::thread::yield_now();
                }
            }));
            while !server.is_stopped() {
                server.turn(None).unwrap();
            }
        });
        let stopper = told.recv_timeout(DEADLINE).unwrap();
        Node { clients: addresses.0, api: addresses.1, stopper, thread: Some(thread) }
    }

    fn backend(&self) -> Client {
        Client::connect(self.api, KEY)
    }

    fn connect(&self, path: &str) -> Socket {
        Socket::connect(self.clients, path, "")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stopper.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|it| it.is_ok()));
    }
}

/// Two nodes, each with a page, a phone that speaks v2 at the second one, and a backend's connection to each.
struct Pair {
    nodes: [Node; 2],
    backends: [Client; 2],
    ann: Socket,
    bob: Socket,
    _phone: Socket,
    redis: RedisServer,
}

fn pair() -> Pair {
    let redis = RedisServer::start(&[]);
    let nodes = ["one", "two"].map(|name| Node::start(&redis, name));
    let mut backends = [nodes[0].backend(), nodes[1].backend()];
    let ann = nodes[0].connect("/websocket/ann");
    let bob = nodes[1].connect("/websocket/bob");
    let v2 = "Sec-WebSocket-Protocol: longlink.v2\r\n";
    let mut phone = Socket::connect(nodes[1].clients, "/websocket/carol?device=phone", v2);
    assert!(phone.text().contains("welcome"));
    for backend in &mut backends {
        until(|| backend.get("/api/online").1["count"] == 3);
        until(|| backend.get("/api/nodes").1["nodes"].as_array().unwrap().len() == 2);
    }
    Pair { nodes, backends, ann, bob, _phone: phone, redis }
}

fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The answers of both nodes to a request, which have to be the same.
fn same(pair: &mut Pair, method: &str, path: &str, body: &str) -> (u16, Value) {
    let [first, second] = &mut pair.backends;
    let (one, two) = (first.ask(method, path, body), second.ask(method, path, body));
    assert_eq!(one, two, "{method} {path} {body}");
    one
}

#[test]
fn every_node_knows_who_is_online_on_any_node() {
    let mut pair = pair();
    let (_, online) = same(&mut pair, "GET", "/api/online", "");
    assert_eq!(online, json!({"count":3,"users":["ann","bob","carol"],"next":null}));
    let (_, page) = same(&mut pair, "GET", "/api/online?limit=2", "");
    assert_eq!(page, json!({"count":3,"users":["ann","bob"],"next":"bob"}));
    let (_, page) = same(&mut pair, "GET", "/api/online?limit=2&after=bob", "");
    assert_eq!(page, json!({"count":3,"users":["carol"],"next":null}));
    let (_, found) = same(&mut pair, "GET", "/api/online?contains=A&limit=1", "");
    assert_eq!(found, json!({"count":3,"users":["ann"],"next":"ann"}));
    let (_, found) = same(&mut pair, "GET", "/api/online?contains=A&limit=1&after=ann", "");
    assert_eq!(found, json!({"count":3,"users":["carol"],"next":null}));
    for (user, node) in [("ann", "one"), ("bob", "two"), ("carol", "two")] {
        let (_, found) = same(&mut pair, "GET", &format!("/api/users/{user}"), "");
        assert_eq!(
            (&found["online"], &found["connections"][0]["node"]),
            (&json!(true), &json!(node))
        );
    }
    let (_, nobody) = same(&mut pair, "GET", "/api/users/nobody", "");
    let expected = json!({"user":"nobody","online":false,"connections":[],"groups":[],"mailbox":null,"block":null});
    assert_eq!(nobody, expected);
}

#[test]
fn details_of_users_are_the_same_on_every_node() {
    let mut pair = pair();
    let _second = pair.nodes[1].connect("/websocket/ann?device=pad");
    until(|| {
        pair.backends[0].get("/api/users/ann").1["connections"].as_array().unwrap().len() == 2
    });
    for _ in 0..2 {
        pair.backends[0].post("/api/send", r#"{"user":"carol","message":1}"#);
    }
    for backend in &mut pair.backends {
        let (status, mut page) = backend.get("/api/online?details=true");
        assert_eq!(status, 200, "{page}");
        for user in page["users"].as_array_mut().unwrap() {
            let age = user.as_object_mut().unwrap().remove("age").unwrap();
            assert!(age.as_u64().unwrap() < 60, "{age}");
        }
        let users = json!([
            {"user":"ann","connections":2,"waiting":0},
            {"user":"bob","connections":1,"waiting":0},
            {"user":"carol","connections":1,"waiting":2},
        ]);
        assert_eq!(page, json!({"count":3,"users":users,"next":null}));
        let (status, hour) = backend.get("/api/stats/hour");
        assert_eq!((status, &hour["period"], &hour["missing"]), (200, &json!(10), &json!(0)));
    }
}

#[test]
fn every_node_sends_to_users_on_any_node_and_says_what_became_of_each_message() {
    let mut pair = pair();
    let to = r#"{"users":["ann","bob","carol","nobody"],"message":1}"#;
    let (_, sent) = same(&mut pair, "POST", "/api/send", to);
    let expected = json!([
        {"user":"ann","state":"sent","online":true},
        {"user":"bob","state":"sent","online":true},
        {"user":"carol","state":"queued","online":true},
        {"user":"nobody","state":"offline","online":false},
    ]);
    assert_eq!(sent["results"], expected);
    let batch =
        r#"{"messages":[{"user":"bob","message":2},{"user":"dave","message":3,"keep":true}]}"#;
    let (_, sent) = same(&mut pair, "POST", "/api/batch", batch);
    let expected = json!([
        {"user":"bob","state":"sent","online":true},
        {"user":"dave","state":"queued","online":false},
    ]);
    assert_eq!(sent["results"], expected);
    for from in [1, 1, 2, 2] {
        assert!(pair.bob.text().ends_with(&format!(r#""message":{from}}}"#)));
    }
    let (_, sent) =
        same(&mut pair, "POST", "/api/send", r#"{"all":true,"message":4,"exclude":["bob"]}"#);
    assert_eq!(sent["results"], json!([{"all":true,"state":"sent","connections":2}]));
    let (_, waiting) = same(&mut pair, "GET", "/api/users/dave/messages", "");
    let numbers: Vec<&Value> =
        waiting["messages"].as_array().unwrap().iter().map(|it| &it["seq"]).collect();
    assert_eq!((numbers, &waiting["more"]), (vec![&json!(1), &json!(2)], &json!(false)));
    let (_, page) = same(&mut pair, "GET", "/api/users/dave/messages?limit=1", "");
    assert_eq!((page["messages"].as_array().unwrap().len(), &page["more"]), (1, &json!(true)));
    let (_, dave) = same(&mut pair, "GET", "/api/users/dave", "");
    assert_eq!((&dave["mailbox"]["seq"], &dave["mailbox"]["waiting"]), (&json!(2), &json!(2)));
    let deleted = pair.backends[0].ask("DELETE", "/api/users/dave/mailbox", "");
    assert_eq!(deleted, (200, json!({"user":"dave","forgotten":true})));
    let (_, waiting) = same(&mut pair, "GET", "/api/users/dave/messages", "");
    assert_eq!(waiting["messages"], json!([]));
    let deleted = pair.backends[1].ask("DELETE", "/api/users/nobody/mailbox", "");
    assert_eq!(deleted, (200, json!({"user":"nobody","forgotten":false})));
}

#[test]
fn every_node_shows_all_that_waits_for_a_user_however_much_it_is() {
    let mut pair = pair();
    let message = |number: u32| json!({"user":"carol","message":number});
    let messages: Vec<Value> = (1..=200).map(message).collect();
    let batch = json!({"messages": messages}).to_string();
    assert_eq!(pair.backends[0].ask("POST", "/api/batch", &batch).0, 200);
    let (_, carol) = same(&mut pair, "GET", "/api/users/carol", "");
    let mailbox = &carol["mailbox"];
    assert_eq!((&mailbox["seq"], &mailbox["waiting"]), (&json!(200), &json!(200)));
    let list = |pair: &mut Pair, query: &str| {
        let path = format!("/api/users/carol/messages{query}");
        let (_, page) = same(pair, "GET", &path, "");
        let all = page["messages"].as_array().unwrap();
        let number = |it: Option<&Value>| it.map_or(0, |it| it["seq"].as_u64().unwrap());
        (number(all.first()), number(all.last()), page["more"] == true)
    };
    assert_eq!(list(&mut pair, "?limit=150"), (1, 150, true));
    assert_eq!(list(&mut pair, "?limit=150&after=150"), (151, 200, false));
    assert_eq!(list(&mut pair, "?limit=200"), (1, 200, false));
    assert_eq!(list(&mut pair, "?limit=20&after=200"), (0, 0, false));
}

#[test]
fn a_user_who_was_kicked_is_offline_for_every_node_before_the_client_has_answered_the_close() {
    let mut pair = pair();
    // A page on the first node and a client of v2 on the second one, which do not read.
    for (at, user, left) in [(0, "ann", &["bob", "carol"][..]), (1, "carol", &["bob"])] {
        let kick = json!({"user":user,"reason":"signed out"}).to_string();
        let kicked = pair.backends[at].ask("POST", "/api/kick", &kick);
        let online = pair.backends[at].ask("GET", "/api/online", "");
        let found = pair.backends[at].ask("GET", &format!("/api/users/{user}"), "");
        assert_eq!(kicked, (200, json!({"closed":1})));
        let expected = json!({"count":left.len(),"users":left,"next":null});
        assert_eq!(online, (200, expected), "after {user} was kicked");
        assert_eq!((&found.1["online"], &found.1["connections"]), (&json!(false), &json!([])));
        let send = json!({"user":user,"message":1}).to_string();
        let sent = pair.backends[at].ask("POST", "/api/send", &send).1;
        assert_eq!(sent["results"][0]["online"], false, "{sent}");
    }
}

#[test]
fn groups_are_the_same_on_every_node() {
    let mut pair = pair();
    let path = |user: &str| format!("/api/groups/g/members/{user}");
    for (at, user) in [(0, "ann"), (1, "bob"), (0, "bob"), (1, "dave")] {
        let (status, put) = pair.backends[at].ask("PUT", &path(user), "");
        assert_eq!((status, put), (200, json!({"group":"g","user":user,"member":true})));
    }
    let (_, group) = same(&mut pair, "GET", "/api/groups/g?limit=2", "");
    assert_eq!(group, json!({"group":"g","count":3,"members":["ann","bob"],"next":"bob"}));
    let (_, ann) = same(&mut pair, "GET", "/api/users/ann", "");
    assert_eq!(ann["groups"], json!(["g"]));
    let (_, sent) = same(&mut pair, "POST", "/api/send", r#"{"group":"g","message":1}"#);
    assert_eq!(sent["results"], json!([{"group":"g","state":"sent","connections":2}]));
    for page in [&mut pair.ann, &mut pair.bob] {
        let text = page.text();
        assert!(text.contains(r#""group":"g""#), "{text}");
    }
    pair.backends[1].ask("DELETE", &path("ann"), "");
    let (_, group) = same(&mut pair, "GET", "/api/groups/g", "");
    assert_eq!(group["members"], json!(["bob", "dave"]));
    for group in 0..64 {
        assert_eq!(
            pair.backends[0].ask("PUT", &format!("/api/groups/{group}/members/eve"), "").0,
            200
        );
    }
    let (status, full) = same(&mut pair, "PUT", "/api/groups/more/members/eve", "");
    assert_eq!((status, &full["error"]["code"]), (409, &json!("too_many_groups")));
}

#[test]
fn a_user_on_another_node_is_kicked() {
    let mut pair = pair();
    let kicked = pair.backends[0].post("/api/kick", r#"{"user":"bob","reason":"out"}"#);
    assert_eq!(kicked, (200, json!({"closed":1})));
    assert_eq!(pair.bob.close_code(), Some(4503));
    let kicked = pair.backends[1].post("/api/kick", r#"{"user":"nobody"}"#);
    assert_eq!(kicked, (200, json!({"closed":0})));
}

#[test]
fn a_user_who_is_blocked_on_one_node_is_closed_and_refused_on_all_and_all_tell_the_same() {
    let mut pair = pair();
    let mut page = pair.nodes[0].connect("/websocket/bob?device=pad");
    until(|| {
        pair.backends[0].get("/api/users/bob").1["connections"].as_array().unwrap().len() == 2
    });
    let body = r#"{"user":"bob","for":3600,"reason":"spam"}"#;
    let (status, blocked) = pair.backends[0].post("/api/block", body);
    assert_eq!((status, &blocked["closed"]), (200, &json!(2)));
    assert_eq!((page.close_code(), pair.bob.close_code()), (Some(4503), Some(4503)));
    let block = json!({"until":blocked["until"],"reason":"spam"});
    for backend in &mut pair.backends {
        until(|| backend.get("/api/users/bob").1["online"] == false);
    }
    assert_eq!(same(&mut pair, "GET", "/api/users/bob", "").1["block"], block);
    let (_, page) = same(&mut pair, "GET", "/api/blocks", "");
    let listed = json!([{"user":"bob","until":blocked["until"],"reason":"spam"}]);
    assert_eq!(page, json!({"count":1,"blocks":listed,"next":null}));
    for node in &pair.nodes {
        let mut raw = Raw::connect(node.clients);
        assert_eq!(raw.status(&handshake("/websocket/bob", "")), 403);
    }
    // A node that starts later knows it from the beginning.
    let third = Node::start(&pair.redis, "three");
    until(|| third.backend().get("/api/blocks").1 == page);
    assert_eq!(Raw::connect(third.clients).status(&handshake("/websocket/bob", "")), 403);
    until(|| pair.backends[1].get("/api/nodes").1["nodes"].as_array().unwrap().len() == 3);

    let lifted = pair.backends[1].ask("DELETE", "/api/blocks/bob", "");
    assert_eq!(lifted, (200, json!({"user":"bob","blocked":false})));
    assert_eq!(same(&mut pair, "GET", "/api/blocks", "").1["count"], 0);
    for node in pair.nodes.iter().chain([&third]) {
        node.connect("/websocket/bob");
    }
}

#[test]
fn a_request_with_a_key_is_carried_out_once_whichever_nodes_get_it() {
    let mut pair = pair();
    let body = r#"{"users":["ann","bob"],"message":"once","idempotencyKey":"k1"}"#;
    let (_, sent) = same(&mut pair, "POST", "/api/send", body);
    assert_eq!(sent["results"][1], json!({"user":"bob","state":"sent","online":true}));
    for backend in &mut pair.backends {
        let again = backend.answer("POST", "/api/send", body);
        assert_eq!(again.field("Idempotent-Replayed"), Some("true"));
    }
    let other = r#"{"user":"bob","message":"other","idempotencyKey":"k1"}"#;
    let (status, reused) = same(&mut pair, "POST", "/api/send", other);
    assert_eq!((status, &reused["error"]["code"]), (409, &json!("key_reused")));
    let batch = r#"{"messages":[{"user":"bob","message":"two"}],"idempotencyKey":"k2"}"#;
    same(&mut pair, "POST", "/api/batch", batch);
    let group = r#"{"all":true,"message":"three","idempotencyKey":"k3"}"#;
    let (_, sent) = same(&mut pair, "POST", "/api/send", group);
    assert_eq!(sent["results"], json!([{"all":true,"state":"sent","connections":3}]));
    // A wrong request claims nothing.
    let wrong = r#"{"user":"","message":1,"idempotencyKey":"k4"}"#;
    let (status, _) = same(&mut pair, "POST", "/api/send", wrong);
    assert_eq!(status, 400);
    assert_eq!(
        same(
            &mut pair,
            "POST",
            "/api/send",
            r#"{"user":"bob","message":"last","idempotencyKey":"k4"}"#
        )
        .0,
        200
    );
    let texts: Vec<String> = (0..4).map(|_| pair.bob.text()).collect();
    for (text, word) in texts.iter().zip(["once", "two", "three", "last"]) {
        assert!(text.contains(&format!(r#""message":"{word}""#)), "{texts:?}");
    }
}

#[test]
fn the_same_request_at_the_same_time_on_both_nodes_is_carried_out_once() {
    let mut pair = pair();
    for round in 0..20 {
        let body = format!(r#"{{"user":"bob","message":{round},"idempotencyKey":"k{round}"}}"#);
        let mut more = [pair.nodes[0].backend(), pair.nodes[1].backend()];
        let all = pair.backends.iter_mut().chain(&mut more);
        let mut asked: Vec<&mut Client> = all.collect();
        for backend in &mut asked {
            let request = backend.request("POST", "/api/send", &body);
            backend.raw.send(request.as_bytes());
        }
        let answers = asked.iter_mut().map(|backend| backend.raw.answer().expect("an answer"));
        let replayed = answers.map(|answer| {
            assert_eq!(answer.status, 200);
            answer.field("Idempotent-Replayed").is_some()
        });
        assert_eq!(replayed.filter(|is| !is).count(), 1, "one of them has carried it out");
        assert!(pair.bob.text().ends_with(&format!(r#""message":{round}}}"#)));
    }
}

#[test]
fn while_redis_does_not_answer_every_call_about_users_is_refused_and_later_all_is_well() {
    let mut pair = pair();
    pair.redis.signal("STOP");
    until(|| pair.backends[0].get("/api/online").0 == 503);
    for (method, path, body) in [
        ("POST", "/api/send", r#"{"user":"ann","message":1}"#),
        ("POST", "/api/send", r#"{"user":"ann","message":1,"idempotencyKey":"k"}"#),
        ("POST", "/api/batch", r#"{"messages":[{"user":"ann","message":1}]}"#),
        ("GET", "/api/users/ann", ""),
        ("PUT", "/api/groups/g/members/ann", ""),
        ("POST", "/api/kick", r#"{"user":"bob"}"#),
        ("POST", "/api/block", r#"{"user":"bob","for":60}"#),
        ("GET", "/api/blocks", ""),
        ("DELETE", "/api/blocks/bob", ""),
    ] {
        let answer = pair.backends[0].answer(method, path, body);
        assert_eq!((answer.status, answer.field("Retry-After")), (503, Some("1")), "{path}");
    }
    assert_eq!(pair.backends[0].get("/api/nodes").1["up"], false);
    pair.redis.signal("CONT");
    until(|| pair.backends[0].get("/api/online").0 == 200);
    until(|| pair.backends[1].get("/api/online").1["count"] == 3);
    let (_, sent) = same(&mut pair, "POST", "/api/send", r#"{"users":["ann","bob"],"message":1}"#);
    assert_eq!(sent["results"][0]["state"], "sent");
}

#[test]
fn a_trace_follows_a_user_from_node_to_node() {
    let mut pair = pair();
    let head = format!("Authorization: Bearer {KEY}\r\n");
    let mut trace = Socket::connect(pair.nodes[0].api, "/api/trace/bob", &head);
    let mut next = move || serde_json::from_str::<Value>(&trace.text()).unwrap();
    let begun = next();
    assert_eq!(
        (&begun["event"], &begun["connections"][0]["node"]),
        (&json!("trace"), &json!("two"))
    );
    pair.bob.send("ping");
    let seen = next();
    assert_eq!(
        (&seen["event"], &seen["node"], &seen["bytes"]),
        (&json!("in"), &json!("two"), &json!(4))
    );
    assert_eq!(next()["event"], "out");
    // Bob comes to the other node, too.
    let _second = pair.nodes[0].connect("/websocket/bob?device=pad");
    let seen = next();
    assert_eq!((&seen["event"], &seen["node"]), (&json!("open"), &json!("one")));
}

#[test]
fn the_numbers_of_all_nodes_are_added_up_and_those_of_each_are_told() {
    let mut pair = pair();
    for backend in &mut pair.backends {
        let (_, stats) = backend.get("/api/stats");
        assert_eq!((&stats["longlink_users"], &stats["missing"]), (&json!(3), &json!(0)));
        assert_eq!(stats["nodes"]["one"]["longlink_users"], 1);
        assert_eq!(stats["nodes"]["two"]["longlink_users"], 2);
        let buckets = &stats["longlink_turn_seconds"]["buckets"];
        assert_eq!(
            buckets[0]["le"],
            stats["nodes"]["one"]["longlink_turn_seconds"]["buckets"][0]["le"]
        );
        let (_, nodes) = backend.get("/api/nodes");
        let names: Vec<&Value> =
            nodes["nodes"].as_array().unwrap().iter().map(|it| &it["node"]).collect();
        assert_eq!(names, ["one", "two"]);
        // The threads tell the loop of the node what they count when they are done with their work.
        until(|| {
            let text = String::from_utf8(backend.answer("GET", "/metrics", "").body).unwrap();
            ["up 1", "nodes 2"]
                .iter()
                .all(|it| text.contains(&format!("\nlonglink_cluster_{it}\n")))
                && !text.contains("\nlonglink_cluster_round_trip_seconds 0\n")
        });
    }
}
