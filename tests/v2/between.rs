//! Stories of users who are on two nodes: groups, presence, and messages that are not kept.

use longlink::sim::frames::{handshake, text};
use longlink::{Config, Relay, RelayConfig};

use super::Link;
use super::phone::Phone;

/// Two nodes that serve the same users.
struct Nodes {
    first: Link,
    second: Link,
}

impl Nodes {
    fn new() -> Self {
        let first = super::link();
        let second = first.beside(Config::default(), Relay::new(RelayConfig::default()));
        Nodes { first, second }
    }

    /// Lets both take turns, until neither has anything to do for the other.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.first.settle();
            self.second.settle();
        }
    }

    fn advance(&mut self, millis: u64) {
        for _ in 0..millis / 500 {
            self.first.advance(500);
            self.second.advance(500);
            self.settle();
        }
    }
}

fn phone(link: &mut Link, user: &str) -> Phone {
    let mut phone = Phone::new(user, "phone");
    phone.connect(link);
    phone
}

fn page(link: &mut Link, user: &str) -> usize {
    let pipe = link.connect().expect("room");
    link.send(pipe, &handshake(&format!("/websocket/{user}"), ""));
    link.settle();
    pipe
}

#[test]
fn a_broadcast_of_a_page_reaches_pages_and_clients_of_v2_on_the_other_node_once() {
    let mut nodes = Nodes::new();
    let ann = page(&mut nodes.first, "ann");
    let (near, far) = (page(&mut nodes.first, "near"), page(&mut nodes.second, "far"));
    let mut bob = phone(&mut nodes.second, "bob");
    nodes.first.send(ann, &text(r#"{"type":"broadcast","message":{"n":1}}"#));
    nodes.settle();
    let expected = nodes.first.pipes[near].texts();
    assert_eq!(expected.len(), 1, "{expected:?}");
    assert_eq!(nodes.second.pipes[far].texts(), expected, "the same frame on both nodes");
    bob.read(&nodes.second);
    assert_eq!(bob.passing.len(), 1);
    assert_eq!(
        (&bob.passing[0]["all"], &bob.passing[0]["message"]["n"]),
        (&true.into(), &1.into())
    );
    nodes.first.send(ann, &text("no object"));
    nodes.settle();
    assert_eq!(nodes.second.pipes[far].texts(), nodes.first.pipes[near].texts());
    bob.read(&nodes.second);
    assert_eq!((bob.passing.len(), &bob.passing[1]["message"]), (2, &"no object".into()));
}

#[test]
fn a_message_to_all_of_a_v2_client_reaches_the_other_node_and_her_other_devices_as_their_own() {
    let mut nodes = Nodes::new();
    let mut ann = phone(&mut nodes.first, "ann");
    let mut tablet = Phone::new("ann", "tablet");
    tablet.connect(&mut nodes.second);
    let far = page(&mut nodes.second, "far");
    let mut bob = phone(&mut nodes.second, "bob");
    // The nodes tell each other every three seconds how many users they have.
    nodes.advance(8_000);
    ann.say(&mut nodes.first, r#"{"type":"send","cid":"c1","all":true,"message":"hi"}"#);
    assert_eq!(ann.state(), "sent");
    nodes.settle();
    let expected = r#"{"type":"broadcast","formUserId":"ann","message":"hi"}"#;
    assert_eq!(nodes.second.pipes[far].texts(), [expected]);
    bob.read(&nodes.second);
    assert_eq!((&bob.passing[0]["message"], &bob.passing[0]["own"]), (&"hi".into(), &().into()));
    tablet.read(&nodes.second);
    assert_eq!(tablet.passing.len(), 1);
    assert_eq!(tablet.passing[0]["own"], true);
    assert!(ann.passing.is_empty());
}

#[test]
fn who_joins_a_group_on_one_node_writes_to_its_members_on_the_other() {
    let mut nodes = Nodes::new();
    let (mut ann, mut bob) = (phone(&mut nodes.first, "ann"), phone(&mut nodes.second, "bob"));
    let far = page(&mut nodes.second, "bob");
    bob.say(&mut nodes.second, r#"{"type":"join","group":"g"}"#);
    assert_eq!(bob.types(), ["joined"]);
    let send =
        |cid: u32| format!(r#"{{"type":"send","cid":"c{cid}","group":"g","message":{cid}}}"#);
    ann.say(&mut nodes.first, &send(1));
    assert_eq!(ann.error(), ("not-member", false));
    // A message that follows the join at once finds the new member.
    let frames = [text(r#"{"type":"join","group":"g"}"#), text(&send(2))].concat();
    nodes.first.send(ann.pipe, &frames);
    nodes.settle();
    ann.read(&nodes.first);
    assert!(ann.types().contains(&"joined") && ann.types().contains(&"ack"), "{:?}", ann.frames);
    bob.read(&nodes.second);
    assert_eq!(bob.messages.len(), 1, "{:?}", bob.frames);
    let pages = nodes.second.pipes[far].texts();
    assert_eq!(pages, [r#"{"type":"broadcast","formUserId":"ann","group":"g","message":2}"#]);
    bob.say(&mut nodes.second, r#"{"type":"leave","group":"g"}"#);
    assert_eq!(bob.types(), ["left"]);
    ann.say(&mut nodes.first, &send(3));
    nodes.settle();
    bob.read(&nodes.second);
    assert_eq!(bob.messages.len(), 1, "bob is not a member any more");
    assert_eq!(nodes.second.pipes[far].texts().len(), 1);
}

#[test]
fn a_user_who_connects_to_the_other_node_is_in_the_same_groups_there() {
    let mut nodes = Nodes::new();
    let (mut ann, mut bob) = (phone(&mut nodes.first, "ann"), phone(&mut nodes.first, "bob"));
    for phone in [&mut ann, &mut bob] {
        phone.say(&mut nodes.first, r#"{"type":"join","group":"g"}"#);
    }
    bob.cut(&mut nodes.first);
    bob.connect(&mut nodes.second);
    let frame = r#"{"type":"send","cid":"b1","group":"g","message":1}"#;
    bob.say(&mut nodes.second, frame);
    assert_eq!(bob.acks.len(), 1, "{:?}", bob.errors);
    nodes.settle();
    ann.read(&nodes.first);
    assert_eq!(ann.messages.len(), 1);
}

#[test]
fn a_watcher_hears_of_a_user_on_the_other_node() {
    let mut nodes = Nodes::new();
    let mut ann = phone(&mut nodes.first, "ann");
    ann.say(&mut nodes.first, r#"{"type":"presence","users":["bob","eve"],"watch":true}"#);
    assert_eq!(ann.types(), ["presence"]);
    assert_eq!(ann.frames[0]["users"], serde_json::json!({"bob": false, "eve": false}));
    nodes.advance(2_000);
    let mut bob = phone(&mut nodes.second, "bob");
    nodes.advance(1_000);
    ann.read(&nodes.first);
    assert_eq!(ann.types(), ["presence"]);
    assert_eq!(ann.frames[0]["users"], serde_json::json!({"bob": true}));
    // Bob changes the node, and was never offline.
    bob.cut(&mut nodes.second);
    nodes.advance(2_000);
    bob.connect(&mut nodes.first);
    nodes.advance(8_000);
    ann.read(&nodes.first);
    assert!(ann.frames.is_empty(), "{:?}", ann.frames);
    bob.cut(&mut nodes.first);
    nodes.advance(6_500);
    ann.read(&nodes.first);
    assert_eq!(ann.frames[0]["users"], serde_json::json!({"bob": false}));
    ann.say(&mut nodes.first, r#"{"type":"presence","users":["bob","ann"]}"#);
    assert_eq!(ann.frames[0]["users"], serde_json::json!({"bob": false, "ann": true}));
}

#[test]
fn a_user_is_offline_when_all_devices_have_left_although_the_oldest_of_six_had_made_way_before() {
    let mut nodes = Nodes::new();
    let mut ann = phone(&mut nodes.second, "ann");
    ann.say(&mut nodes.second, r#"{"type":"presence","users":["bob"],"watch":true}"#);
    let mut phones: Vec<Phone> = (0..6).map(|n| Phone::new("bob", &format!("d{n}"))).collect();
    for phone in &mut phones {
        phone.connect(&mut nodes.first);
        nodes.advance(500);
    }
    phones[0].read(&nodes.first);
    assert!(!phones[0].is_open(&nodes.first), "the sixth device takes the place of the oldest");
    ann.say(&mut nodes.second, r#"{"type":"presence","users":["bob"]}"#);
    assert_eq!(ann.frames.last().unwrap()["users"], serde_json::json!({"bob": true}));
    for phone in &mut phones {
        phone.cut(&mut nodes.first);
    }
    nodes.advance(6_500);
    ann.say(&mut nodes.second, r#"{"type":"presence","users":["bob"]}"#);
    assert_eq!(ann.frames.last().unwrap()["users"], serde_json::json!({"bob": false}));
}
