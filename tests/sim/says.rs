//! The messages of clients and their effects: the frames of the relay's protocol with the frames
//! that they cause, and the operations of the custom handler.

use super::actors::{Client, Sim, USERS};
use super::shadow::{Op, Say};
use longlink::sim::Rng;

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

impl Client {
    /// Returns a text within the limits, and its effect.
    pub fn compose(&self, sim: &Sim, rng: &mut Rng) -> (String, Say) {
        loop {
            let (text, say) = self.propose(sim, rng);
            if text.len() <= sim.hub.config().max_message {
                return (text, say);
            }
        }
    }

    fn propose(&self, sim: &Sim, rng: &mut Rng) -> (String, Say) {
        if sim.handler().relay.is_none() {
            let ops = (0..rng.range(1, 3)).map(|_| self.op(rng)).collect();
            return (format!("do {}", rng.below(1_000)), Say::Do(ops));
        }
        let from = json(&self.user);
        let long = "长".repeat(rng.range(0, 40) * rng.range(0, 8));
        let words = ["hi", "", "[1]", "5", "\"x\"", "a\nb\u{2028}", &long];
        let word = *rng.pick(&words);
        let to = rng.pick(USERS).0;
        let broadcast = |message: &str| {
            format!(r#"{{"type":"broadcast","formUserId":{from},"message":{message}}}"#)
        };
        match rng.below(100) {
            0..25 => ((*rng.pick(&["ping", "PING", r#"{"type":"ping"}"#])).into(), Say::Heartbeat),
            25..60 => {
                let quoted = json(word);
                let raw = *rng.pick(&["1e400", "null", r#"{"a":["\ud800"]}"#, &quoted]);
                let (to_json, from_field) = (json(to), *rng.pick(&["", r#""formUserId":"Z","#]));
                let text = format!(r#"{{{from_field}"toUserId":{to_json},"message":{raw}}}"#);
                let due = format!(
                    r#"{{"type":"message","formUserId":{from},"toUserId":{to_json},"message":{raw}}}"#
                );
                (text, Say::To(to.to_owned(), due))
            }
            60..80 => (word.to_owned(), Say::All(broadcast(&json(word)))),
            80..86 => {
                let due = format!(r#"{{"formUserId":{from},"message":{},"n":1}}"#, json(word));
                let text = format!(r#"{{"formUserId":"Z","message":{},"n": 1}}"#, json(word));
                (text, Say::All(due))
            }
            86..90 => (r#"{"type":"welcome","message":7}"#.to_owned(), Say::All(broadcast("7"))),
            _ => {
                let nothing = [
                    r#"{"toUserId":null,"message":"x"}"#,
                    r#"{"formUserId":"A"}"#,
                    "{not json",
                    r#"{"toUserId":"u0"}"#,
                    r#"{"type":"pong"}"#,
                ];
                ((*rng.pick(&nothing)).to_owned(), Say::Nothing)
            }
        }
    }

    fn op(&self, rng: &mut Rng) -> Op {
        Op::any(&self.user, rng)
    }
}

impl Op {
    /// Returns an operation that a handler may do at any time, with texts that name `who`.
    pub fn any(who: &str, rng: &mut Rng) -> Op {
        let group = (*rng.pick(&["lobby", "red", "blue", "张"])).to_owned();
        let text = format!("{who} {}", "x".repeat(rng.range(0, 300)));
        let user = rng.pick(USERS).0.to_owned();
        match rng.below(100) {
            0..3 => Op::Trace(user),
            3..6 => Op::Untrace(user),
            6..20 => Op::Echo(text),
            20..30 => Op::EchoBinary(text.into_bytes()),
            30..45 => Op::ToUser(user, text),
            45..55 => Op::All(text),
            55..70 => Op::Group(group, text),
            70..82 => Op::Join(group),
            82..88 => Op::Leave(group),
            88..95 => Op::Reclaim,
            95 => Op::Close(3000 + rng.below(1_000) as u16, "bye".into()),
            96 => Op::Abort,
            97 => Op::CloseUser(user),
            98 => Op::AbortUser(user),
            _ => Op::Close(1000, String::new()),
        }
    }
}
