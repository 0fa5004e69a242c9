//! What a backend is told of by webhooks: which events there were, and in which order the backend took them.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::coverage::Coverage;

/// A node that is killed takes events with it that it could not give to Redis within this time.
const HELD: u64 = 45_000;

/// An event that a node has seen.
#[derive(Debug)]
struct Seen {
    user: usize,
    /// The run of the node.
    run: u64,
    at: u64,
    /// It may be lost with its node.
    may_be_lost: bool,
    /// How often it was told under another number.
    told: u64,
}

#[derive(Debug, Default)]
pub struct Events {
    seen: Vec<Seen>,
    /// What each number names, by epochs.
    told: BTreeMap<(String, u64), String>,
    /// The last event of each user and run of a node.
    last: HashMap<(usize, u64), usize>,
    /// Whether each user was online when the backend was told last.
    online: HashMap<String, bool>,
    /// The node that told the last event.
    teller: Option<u64>,
    /// How many numbers were told to be lost.
    lost: u64,
    /// How often the backend was told of each message, by its text and the user to whom it was sent; no user for a message
    /// to a group.
    messages: HashMap<(String, Option<String>), u64>,
    /// The last message of each client, with a name, of which the backend was told.
    named: HashMap<u64, u64>,
}

impl Events {
    /// A node has seen something of a user. Returns the JSON of the event, without its number.
    pub fn saw(&mut self, user: usize, run: u64, now: u64) -> String {
        let number = self.seen.len();
        self.seen.push(Seen { user, run, at: now, may_be_lost: false, told: 0 });
        format!(r#""type":"message","user":"u{user}","serial":{number}}}"#)
    }

    /// A node is killed, which could reach Redis since a time, or could not.
    pub fn killed(&mut self, run: u64, up_since: Option<u64>, now: u64) {
        for seen in self.seen.iter_mut().filter(|it| it.run == run) {
            let since = up_since.map_or(now, |up_since| up_since.max(seen.at));
            seen.may_be_lost |= now < since + HELD;
        }
    }

    /// A node tells the backend of an event, which takes it unless it knows the number.
    pub fn told(
        &mut self,
        run: u64,
        (epoch, seq): (&str, u64),
        text: &str,
        most_lost: u64,
        is_named: impl Fn(&str) -> bool,
        coverage: &mut Coverage,
    ) {
        let is_whole = most_lost < u64::MAX;
        coverage.count("events: told");
        if self.teller.replace(run).is_some_and(|before| before != run) {
            coverage.count("events: another node tells");
        }
        if let Some(known) = self.told.get(&(epoch.to_owned(), seq)) {
            assert_eq!(known, text, "event {seq} of {epoch} is one event");
            return coverage.count("events: told again");
        }
        self.told.insert((epoch.to_owned(), seq), text.to_owned());
        let event: Value = serde_json::from_str(&format!("{{{text}")).expect("JSON");
        let kind = event["type"].as_str().expect("a type");
        if kind == "lost" {
            // With each epoch of a database one of its events begins, in which the first number counts as lost.
            let number = |name: &str| event[name].as_u64().expect("a number");
            self.lost += 1 + number("to") - number("from");
            assert!(self.lost <= most_lost, "{most_lost} may be lost: {event}");
            return coverage.count("events: lost");
        }
        let user = event["user"].as_str().expect("a user").to_owned();
        match kind {
            "online" | "offline" => {
                coverage.count(match kind {
                    "online" => "events: online",
                    _ => "events: offline",
                });
                let is_online = kind == "online";
                let was = self.online.insert(user, is_online);
                assert!(!is_whole || was.unwrap_or(false) != is_online, "{event} twice");
            }
            "message" if event.get("frame").is_some() => {
                self.told_of_message(&event, is_whole, is_named, coverage);
            }
            "message" => {
                let number = event["serial"].as_u64().expect("a number") as usize;
                let seen = &mut self.seen[number];
                assert_eq!(user, format!("u{}", seen.user), "{event}");
                seen.told += 1;
                assert!(!is_whole || seen.told == 1, "{event} is told twice");
                coverage.add("events: of a node that was killed", u64::from(seen.may_be_lost));
                let last = self.last.insert((seen.user, seen.run), number);
                assert!(
                    !is_whole || last.is_none_or(|last| last < number),
                    "{event} after {last:?}"
                );
            }
            _ => panic!("{event}"),
        }
    }

    /// The backend is told of a message. Those to which their client has given a name come in the order of the client's
    /// sends; of others no node knows what another node has told.
    fn told_of_message(
        &mut self,
        event: &Value,
        is_whole: bool,
        is_named: impl Fn(&str) -> bool,
        coverage: &mut Coverage,
    ) {
        coverage.count("events: messages");
        let frame: Value = serde_json::from_str(event["frame"].as_str().expect("a frame"))
            .expect("JSON in a string");
        assert_eq!(frame["formUserId"], event["user"], "{event}");
        let text = frame["message"].as_str().expect("a text");
        let to = event["toUserId"].as_str().map(str::to_owned);
        let times = self.messages.entry((text.to_owned(), to)).or_default();
        *times += 1;
        assert!(!is_whole || *times == 1, "the backend is told {times} times of {event}");
        let (source, serial) = text.split_once('.').expect("a source and a serial");
        let [source, serial] = [source, serial].map(|it| it.parse::<u64>().expect("a number"));
        if is_named(text) {
            let last = self.named.insert(source, serial);
            let is_behind = last.is_none_or(|last| last <= serial);
            assert!(!is_whole || is_behind, "{event} after {last:?}");
        }
    }

    /// How often the backend was told of a message to a user, or to a group.
    pub fn times(&self, text: &str, to: Option<&str>) -> u64 {
        let name = (text.to_owned(), to.map(str::to_owned));
        self.messages.get(&name).copied().unwrap_or(0)
    }

    /// Whether the backend was told last that a user is online, or offline.
    pub fn told_online(&self, user: usize) -> Option<bool> {
        self.online.get(&format!("u{user}")).copied()
    }

    /// Checks, when the backend was told of everything, that nothing is missing.
    pub fn check(&self, is_whole: bool, may_be_lost: impl Fn(u64) -> bool, online: &[String]) {
        for (number, seen) in self.seen.iter().enumerate() {
            let is_fine = seen.told > 0 || seen.may_be_lost || may_be_lost(seen.at);
            assert!(is_fine, "event {number} was never told: {seen:?}");
        }
        if !is_whole {
            return;
        }
        let mut before = None::<&(String, u64)>;
        for (place, text) in &self.told {
            let is_next = match before {
                Some((epoch, seq)) if *epoch == place.0 => {
                    let is_lost = format!(r#""lost","from":{},"to":{},"#, seq + 1, place.1 - 1);
                    place.1 == seq + 1 || text.contains(&is_lost)
                }
                _ => true,
            };
            assert!(is_next, "after event {before:?} comes {place:?}");
            before = Some(place);
        }
        for user in online {
            assert_eq!(
                self.online.get(user),
                Some(&true),
                "the backend knows that {user} is online"
            );
        }
    }
}
