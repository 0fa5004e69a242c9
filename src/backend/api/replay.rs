//! Answers that are given again: a backend that has sent something and got no answer may
//! send it again under the same key, and it happens once.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use foldhash::quality::RandomState;

use crate::conn::response::Response;

use crate::relay::Observer;

use super::body::Text;
use super::failure::Failure;
use super::{Answer, Call};

/// The longest key in bytes.
const MOST_KEY: usize = 128;
/// How many answers are kept at most, and how many bytes of them; beyond that the oldest go.
const MOST_ANSWERS: usize = 10_000;
const MOST_BYTES: usize = 4 << 20;

/// Answers by key, for a time.
#[derive(Debug)]
pub struct Replays {
    kept: HashMap<CompactString, Kept>,
    /// The keys, oldest first.
    order: VecDeque<CompactString>,
    bytes: usize,
    time: Duration,
    hasher: RandomState,
}

#[derive(Debug)]
struct Kept {
    /// What was asked for.
    request: u64,
    answer: Response,
    at: Instant,
}

impl Replays {
    /// None, to be kept for so long.
    pub fn new(time: Duration) -> Self {
        Replays {
            kept: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            time,
            hasher: RandomState::default(),
        }
    }

    /// Does what a request asks for, unless one with the same key was answered: then that
    /// answer is given again.
    pub fn once<O: Observer>(
        call: &mut Call<'_, O>,
        key: Option<&Text<'_>>,
        act: impl FnOnce(&mut Call<'_, O>) -> Answer,
    ) -> Answer {
        let Some(key) = key.map(Text::get) else { return act(call) };
        if !(1..=MOST_KEY).contains(&key.len()) {
            return Err(Failure::bad_value("idempotencyKey", "1 to 128 bytes"));
        }
        let now = call.hub.now();
        let request = (call.request.path(), call.request.body());
        let request = call.replays.hasher.hash_one(request);
        call.replays.forget_old(now);
        match call.replays.kept.get(key) {
            Some(kept) if kept.request == request => {
                Ok(kept.answer.clone().field("Idempotent-Replayed", "true"))
            }
            Some(_) => {
                let message = "this key was used for another request";
                Err(Failure::new(409, "key_reused", message).field("idempotencyKey"))
            }
            None => {
                let answer = act(call)?;
                call.replays.keep(key.into(), Kept { request, answer: answer.clone(), at: now });
                Ok(answer)
            }
        }
    }

    fn keep(&mut self, key: CompactString, kept: Kept) {
        self.bytes += kept.answer.body_len();
        self.order.push_back(key.clone());
        self.kept.insert(key, kept);
        while self.order.len() > MOST_ANSWERS || self.bytes > MOST_BYTES {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(kept) = self.order.front().and_then(|key| self.kept.get(key))
            && now.saturating_duration_since(kept.at) >= self.time
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(kept) = self.order.pop_front().and_then(|key| self.kept.remove(&key)) {
            self.bytes -= kept.answer.body_len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answers_go_when_there_are_too_many_or_too_much_or_they_are_old() {
        let start = Instant::now();
        let mut replays = Replays::new(Duration::from_secs(60));
        let keep = |replays: &mut Replays, key: usize, length: usize, seconds: u64| {
            let answer = Response::new(200).body("application/json", vec![0; length]);
            let at = start + Duration::from_secs(seconds);
            replays.keep(format!("{key}").into(), Kept { request: 0, answer, at });
        };
        for key in 0..MOST_ANSWERS + 5 {
            keep(&mut replays, key, 10, 0);
        }
        assert_eq!((replays.kept.len(), replays.order.len()), (MOST_ANSWERS, MOST_ANSWERS));
        assert!(!replays.kept.contains_key("4") && replays.kept.contains_key("5"));
        for key in 0..5 {
            keep(&mut replays, 1_000_000 + key, MOST_BYTES / 4, 1);
        }
        assert_eq!(replays.kept.len(), 4);
        assert!(replays.bytes <= MOST_BYTES);
        replays.forget_old(start + Duration::from_secs(60));
        assert_eq!(replays.kept.len(), 4);
        replays.forget_old(start + Duration::from_secs(61));
        assert_eq!((replays.kept.len(), replays.order.len(), replays.bytes), (0, 0, 0));
    }
}
