//! Requests that are repeated with the same key. A backend may repeat a request if it got no
//! answer, or if the answer said that a user was offline. What was carried out is not carried out
//! again; what was not is tried again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::relay::{Pushed, Reached, stable_hash};

use super::body::Text;
use super::failure::Failure;
use super::{Answer, Call};

/// The length of the longest key in bytes.
const MOST_KEY: usize = 128;
/// The largest number of requests that are remembered; beyond it the oldest are forgotten. With the
/// longest keys, and with a thousand messages each, all of them take 6 MiB.
const MOST_REQUESTS: usize = 10_000;

/// What was carried out of the messages of one request.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Two bits for each message to one user: 0 if it was not carried out, else how it was.
    carried_out: Vec<u64>,
    /// How many connections of a group, or of all users, have got the message. Its state is that of
    /// the first message.
    connections: usize,
    /// Whether a message was tried since the request came.
    was_tried: bool,
}

impl Done {
    /// Delivers the message with the index `at`, unless it was carried out before. Returns what has
    /// become of it, now or before.
    pub fn deliver(&mut self, at: usize, deliver: impl FnOnce() -> Pushed) -> Pushed {
        let (word, shift) = (at / PER_WORD, 2 * (at % PER_WORD));
        match self.carried_out.get(word).map_or(0, |bits| bits >> shift & 0b11) {
            SENT => return Pushed::Sent,
            QUEUED => return Pushed::Queued,
            STORED => return Pushed::Stored,
            _ => {}
        }
        self.was_tried = true;
        let state = deliver();
        self.note(at, state);
        state
    }

    /// Notes what has become of the message with the index `at`.
    fn note(&mut self, at: usize, state: Pushed) {
        let (word, shift) = (at / PER_WORD, 2 * (at % PER_WORD));
        let how = match state {
            Pushed::Sent => SENT,
            // Until the journal has said more, it counts as kept.
            Pushed::Queued | Pushed::Later => QUEUED,
            Pushed::Stored => STORED,
            Pushed::Offline | Pushed::Busy => 0,
        };
        if self.carried_out.len() <= word && how != 0 {
            self.carried_out.resize(word + 1, 0);
        }
        if let Some(bits) = self.carried_out.get_mut(word) {
            *bits = *bits & !(0b11 << shift) | how << shift;
        }
    }

    /// Sends the request's message to a group or to everyone, unless it was carried out before.
    /// `send` returns what has become of it. Returns that, as it is now or was before.
    pub fn send_to_many(&mut self, send: impl FnOnce() -> Reached) -> Reached {
        let mut connections = self.connections;
        let state = self.deliver(0, || {
            let reached = send();
            connections = reached.connections;
            reached.state
        });
        self.connections = connections;
        Reached { state, connections }
    }
}

/// How a message was carried out, in the two bits that are remembered of it.
const SENT: u64 = 1;
const QUEUED: u64 = 2;
const STORED: u64 = 3;
/// How many messages are in one word.
const PER_WORD: usize = 32;

/// The remembered requests, by key. They are forgotten after some time.
#[derive(Debug)]
pub struct Replays {
    kept: HashMap<Arc<str>, Kept>,
    /// The keys that are remembered, each with the turn of its request, the oldest first. A key
    /// whose request was kept again occurs once more; the turn tells which of its entries is valid.
    order: VecDeque<(Arc<str>, u64)>,
    turn: u64,
    time: Duration,
}

#[derive(Debug)]
struct Kept {
    /// A hash of the request.
    request: u64,
    done: Done,
    /// When a message of the request was last tried.
    at: Instant,
    turn: u64,
}

impl Replays {
    /// Makes an empty store that remembers a request for the time `time`.
    pub fn new(time: Duration) -> Self {
        Replays { kept: HashMap::new(), order: VecDeque::new(), turn: 0, time }
    }

    /// Carries out a request. If a request with the same key was made before, only what was not
    /// carried out then is done; if there is nothing left to do, the answer says so in a header
    /// field.
    pub fn once(
        call: &mut Call<'_>,
        key: Option<&Text<'_>>,
        act: impl FnOnce(&mut Call<'_>, Option<&mut Done>) -> Answer,
    ) -> Answer {
        let Some(key) = key.map(Text::get) else { return act(call, None) };
        if !(1..=MOST_KEY).contains(&key.len()) {
            return Err(Failure::bad_value("idempotencyKey", "1 to 128 bytes"));
        }
        let now = call.cx.now();
        let body = call.request.body().unwrap_or_default();
        let request = stable_hash(&[call.request.path().as_bytes(), body]);
        call.replays.forget_old(now);
        let mut done = match call.replays.kept.get(key) {
            Some(kept) if kept.request == request => kept.done.clone(),
            Some(_) => {
                let message = "this key was used for another request";
                return Err(Failure::new(409, "key_reused", message).field("idempotencyKey"));
            }
            None => Done { was_tried: true, ..Done::default() },
        };
        let answer = act(call, Some(&mut done))?;
        if let Some(unfinished) = &mut call.unfinished {
            unfinished.key = Some(key.to_owned());
        }
        if !std::mem::take(&mut done.was_tried) {
            return Ok(answer.field("Idempotent-Replayed", "true"));
        }
        call.replays.keep(key, request, done, now);
        Ok(answer)
    }

    fn keep(&mut self, key: &str, request: u64, done: Done, at: Instant) {
        self.turn += 1;
        let turn = self.turn;
        // Each key is stored once.
        let known = self.kept.get_key_value(key).map(|(key, _)| Arc::clone(key));
        let key = known.unwrap_or_else(|| key.into());
        self.order.push_back((Arc::clone(&key), turn));
        self.kept.insert(key, Kept { request, done, at, turn });
        while self.order.len() > MOST_REQUESTS {
            self.forget_oldest();
        }
    }

    /// The journal has said what became of one message of a request. One that could not be kept is
    /// tried again when the request comes again.
    pub fn note(&mut self, key: &str, at: usize, state: Pushed) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.done.note(at, state);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((key, turn)) = self.order.front() {
            let kept = self.kept.get(key).filter(|kept| kept.turn == *turn);
            if kept.is_some_and(|kept| now.saturating_duration_since(kept.at) < self.time) {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((key, turn)) = self.order.pop_front()
            && self.kept.get(&key).is_some_and(|kept| kept.turn == turn)
        {
            self.kept.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_requests_are_forgotten_when_there_are_too_many_or_they_are_old() {
        let start = Instant::now();
        let mut replays = Replays::new(Duration::from_secs(60));
        let keep = |replays: &mut Replays, key: usize, seconds: u64| {
            let at = start + Duration::from_secs(seconds);
            replays.keep(&key.to_string(), 0, Done::default(), at);
        };
        for key in 0..MOST_REQUESTS + 5 {
            keep(&mut replays, key, 0);
        }
        assert_eq!((replays.kept.len(), replays.order.len()), (MOST_REQUESTS, MOST_REQUESTS));
        assert!(!replays.kept.contains_key("4") && replays.kept.contains_key("5"));
        // A key that was kept again is as old as its last try, and is no longer the oldest.
        for _ in 0..3 {
            keep(&mut replays, 9, 1);
        }
        assert_eq!((replays.kept.len(), replays.order.len()), (MOST_REQUESTS - 3, MOST_REQUESTS));
        replays.forget_old(start + Duration::from_secs(60));
        assert_eq!((replays.kept.len(), replays.order.len()), (1, 1));
        assert!(replays.kept.contains_key("9"));
        replays.forget_old(start + Duration::from_secs(61));
        assert_eq!((replays.kept.len(), replays.order.len()), (0, 0));
    }

    #[test]
    fn each_message_is_delivered_once_and_tried_until_it_is() {
        let mut done = Done::default();
        for (at, state) in
            [(0, Pushed::Sent), (31, Pushed::Queued), (32, Pushed::Sent), (999, Pushed::Queued)]
        {
            assert_eq!(done.deliver(at, || Pushed::Offline), Pushed::Offline, "{at}");
            assert_eq!(done.deliver(at, || Pushed::Busy), Pushed::Busy, "{at}");
            assert_eq!(done.deliver(at, || state), state, "{at}");
            done.was_tried = false;
            assert_eq!(done.deliver(at, || panic!("{at} was carried out")), state);
            assert!(!done.was_tried);
        }
        for at in [1, 30, 33, 998, 1_000] {
            assert_eq!(done.deliver(at, || Pushed::Offline), Pushed::Offline, "{at}");
        }
    }

    #[test]
    fn a_message_to_a_group_is_sent_or_kept_once_and_tried_until_it_is() {
        let reached = |state, connections| Reached { state, connections };
        let mut done = Done::default();
        for nobody in [reached(Pushed::Offline, 0), reached(Pushed::Busy, 0)] {
            assert_eq!(done.send_to_many(|| nobody), nobody);
        }
        let sent = reached(Pushed::Sent, 3);
        assert_eq!(done.send_to_many(|| sent), sent);
        assert_eq!(done.send_to_many(|| panic!("it was sent")), sent);
        let mut done = Done::default();
        let kept = reached(Pushed::Queued, 0);
        assert_eq!(done.send_to_many(|| kept), kept);
        assert_eq!(done.send_to_many(|| panic!("it was kept")), kept);
        // The journal says later what became of it.
        let mut done = Done::default();
        done.send_to_many(|| reached(Pushed::Later, 2));
        done.note(0, Pushed::Stored);
        let stored = reached(Pushed::Stored, 2);
        assert_eq!(done.send_to_many(|| panic!("it was stored")), stored);
        done.note(0, Pushed::Busy);
        assert_eq!(done.send_to_many(|| sent), sent, "what was not stored is tried again");
    }
}
