//! Requests that are repeated with the same key. A backend may repeat a request if it got no
//! answer, or if the answer said that a user was offline. What was carried out is not carried out
//! again; what was not is tried again.
//!
//! A journal that keeps more than the process has the keys, too. It keeps them together with the
//! messages of their requests, so that after a crash both are there or none.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::nodes::{Next, cut_off};
use crate::engine::{Claim, Request, Told};
use crate::hub::Context;
use crate::journal::Ticket;
use crate::relay::{Pushed, Reached, RecoveredRequest, Relay, stable_hash};

use super::body::Text;
use super::failure::Failure;
use super::late::Unfinished;
use super::{Answer, Call};

/// The length of the longest key in bytes.
const MOST_KEY: usize = 128;
/// The largest number of requests that are remembered; beyond it the oldest are forgotten. With the
/// longest keys, and with a thousand messages each, all of them take 6 MiB.
const MOST_REQUESTS: usize = 10_000;
/// The largest number of messages of one request.
const MOST_MESSAGES: usize = super::send::MOST_USERS;

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
    /// Whether what became of a message is not known.
    is_unsure: bool,
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
        self.is_unsure |= state == Pushed::Busy;
        let (word, shift) = (at / PER_WORD, 2 * (at % PER_WORD));
        let how = match state {
            Pushed::Sent => SENT,
            // Until the journal has said more, it counts as kept.
            Pushed::Queued | Pushed::Later => QUEUED,
            Pushed::Stored => STORED,
            Pushed::Offline | Pushed::Busy | Pushed::TooLarge => 0,
        };
        if self.carried_out.len() <= word && how != 0 {
            self.carried_out.resize(word + 1, 0);
        }
        if let Some(bits) = self.carried_out.get_mut(word) {
            *bits = *bits & !(0b11 << shift) | how << shift;
        }
    }

    /// Whether the message to many was carried out.
    pub fn is_sent(&self) -> bool {
        self.carried_out.first().is_some_and(|bits| bits & 0b11 != 0)
    }

    /// Writes what was carried out, for the nodes that may get the request again.
    fn write_for_nodes(&self) -> Vec<u8> {
        let words = self.carried_out.iter().flat_map(|word| word.to_le_bytes());
        let connections = (self.connections as u64).to_le_bytes();
        let form = if self.is_unsure { UNSURE } else { FORM };
        [form].into_iter().chain(connections).chain(words).collect()
    }

    /// Writes what was carried out in the form that is kept in a file. A message that the journal has
    /// is `stored` there, because the file has it, too, when it has this.
    fn write(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend((self.connections as u64).to_le_bytes());
        for word in &self.carried_out {
            // A queued message becomes a stored one: the lower bit of its two is set.
            let queued = word >> 1 & ONES & !word;
            bytes.extend((word | queued).to_le_bytes());
        }
        bytes
    }

    /// Reads what was written; `None` if it has another form.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (&(FORM | UNSURE), bytes) = bytes.split_first()? else { return None };
        let (words, rest) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let connections = usize::try_from(words.next()?).ok()?;
        let carried_out: Vec<u64> = words.collect();
        let is_whole = rest.is_empty() && carried_out.len() <= MOST_MESSAGES.div_ceil(PER_WORD);
        is_whole.then(|| Done { carried_out, connections, ..Done::default() })
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
/// The lower bit of each message in a word.
const ONES: u64 = 0x5555_5555_5555_5555;
/// The first byte of what is kept in a file, which names its form.
const FORM: u8 = 1;
/// The first byte of what other nodes are told, if what became of a message is not known. Redis then remembers the
/// messages that were made.
const UNSURE: u8 = 2;

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
    /// The name of the request, as long as its answer waits for the journal.
    waits: Option<u32>,
    /// Whether the key is claimed for this node, and other nodes remember the request.
    is_claimed: bool,
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
        if call.relay.is_shared() {
            return Replays::once_of_all(call, (key, request), act);
        }
        call.replays.recover(call.cx, call.relay);
        call.replays.forget_old(now);
        let mut done = match call.replays.kept.get(key) {
            Some(kept) if kept.request == request => {
                if kept.waits.is_some() {
                    call.joins = kept.waits;
                    return Ok(super::ok(Vec::new()));
                }
                kept.done.clone()
            }
            Some(_) => {
                let message = "this key was used for another request";
                return Err(Failure::new(409, "key_reused", message).field("idempotencyKey"));
            }
            None => Done { was_tried: true, ..Done::default() },
        };
        call.relay.begin_request(call.cx);
        let answer = act(call, Some(&mut done));
        let was_tried = std::mem::take(&mut done.was_tried) && answer.is_ok();
        let note = was_tried.then(|| (key, request, done.write()));
        let is_noted_later = call.relay.end_request(call.cx, note, call.request_name);
        let answer = answer?;
        if !was_tried {
            return Ok(answer.field("Idempotent-Replayed", "true"));
        }
        if is_noted_later {
            call.unfinished
                .get_or_insert_with(|| Unfinished::whole(answer.clone()))
                .wait_for_note();
        }
        let waits = call.unfinished.as_mut().map(|unfinished| {
            unfinished.key = Some(key.to_owned());
            call.request_name
        });
        let kept = Kept { request, done, at: now, turn: 0, waits, is_claimed: false };
        call.replays.keep(key, kept);
        Ok(answer)
    }

    /// Does the same on a node that shares its users with others. Whichever node gets a request with this key,
    /// one of them carries it out: the key is claimed first, and then the request comes here again.
    fn once_of_all(
        call: &mut Call<'_>,
        (key, request): (&str, u64),
        act: impl FnOnce(&mut Call<'_>, Option<&mut Done>) -> Answer,
    ) -> Answer {
        let Some(before) = call.claimed.take() else { return claim(call, key, request) };
        let mut done = match before.as_deref().and_then(Done::read) {
            Some(done) => done,
            None => Done { was_tried: true, ..Done::default() },
        };
        call.shared_key = Some(key.into());
        let answer = act(call, Some(&mut done));
        let was_tried = std::mem::take(&mut done.was_tried) && answer.is_ok();
        if was_tried && let Some(unfinished) = &mut call.unfinished {
            unfinished.key = Some(key.to_owned());
            if let Some(kept) = call.replays.kept.get_mut(key) {
                kept.done = done;
            }
            return answer;
        }
        call.replays.kept.remove(key);
        let bytes = was_tried.then(|| done.write_for_nodes());
        let finish = Request::Finish { key, request, done: bytes.as_deref() };
        call.relay.ask_engine(Ticket::MAX, finish);
        let answer = answer?;
        Ok(if was_tried { answer } else { answer.field("Idempotent-Replayed", "true") })
    }

    /// A request that has claimed its key, or waits for it, is answered with a failure.
    pub fn give_up(&mut self, name: u32) {
        self.kept.retain(|_, kept| !(kept.is_claimed && kept.waits == Some(name)));
    }

    /// A request that has claimed its key was refused before anything of it was carried out, because meanwhile other
    /// nodes cannot be reached. The key is free again, and what was done `before` stays known.
    pub fn give_back(&mut self, relay: &mut Relay, name: u32, before: Option<Vec<u8>>) {
        let is_it = |kept: &Kept| kept.is_claimed && kept.waits == Some(name);
        let found = self.kept.iter().find(|(_, kept)| is_it(kept));
        let Some((key, request)) = found.map(|(key, kept)| (Arc::clone(key), kept.request)) else {
            return;
        };
        self.kept.remove(&key);
        // A node that has died may have made some messages, which Redis then goes on to remember.
        let nothing = || Done { is_unsure: true, ..Done::default() }.write_for_nodes();
        let done = before.unwrap_or_else(nothing);
        let finish = Request::Finish { key: &key, request, done: Some(&done) };
        relay.ask_engine(Ticket::MAX, finish);
    }

    /// Takes over what earlier runs of the server have kept.
    fn recover(&mut self, cx: &Context, relay: &mut Relay) {
        let requests = relay.take_recovered_requests();
        if requests.is_empty() {
            return;
        }
        let (now, second) = (cx.now(), cx.unix_millis() / 1_000);
        for RecoveredRequest { key, request, done, at } in requests {
            let age = Duration::from_secs(second.saturating_sub(at));
            let Some(at) = now.checked_sub(age).filter(|_| age < self.time) else { continue };
            if let Some(done) = Done::read(&done) {
                let kept = Kept { request, done, at, turn: 0, waits: None, is_claimed: false };
                self.keep(&key, kept);
            }
        }
    }

    fn keep(&mut self, key: &str, kept: Kept) {
        self.turn += 1;
        let turn = self.turn;
        // Each key is stored once.
        let known = self.kept.get_key_value(key).map(|(key, _)| Arc::clone(key));
        let key = known.unwrap_or_else(|| key.into());
        self.order.push_back((Arc::clone(&key), turn));
        self.kept.insert(key, Kept { turn, ..kept });
        while self.order.len() > MOST_REQUESTS {
            self.forget_oldest();
        }
    }

    /// The answer to a request does not wait any more.
    pub fn settle(&mut self, relay: &mut Relay, key: &str, name: u32) {
        if let Some(kept) = self.kept.get_mut(key)
            && kept.waits == Some(name)
        {
            kept.waits = None;
            if kept.is_claimed {
                let (request, done) = (kept.request, kept.done.write_for_nodes());
                self.kept.remove(key);
                let finish = Request::Finish { key, request, done: Some(&done) };
                relay.ask_engine(Ticket::MAX, finish);
            }
        }
    }

    /// So many connections have got the message to a group, or to all users.
    pub fn note_connections(&mut self, key: &str, connections: usize) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.done.connections = connections;
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

/// Claims the key of a request for this node. The same request that comes meanwhile gets the answer of
/// this one.
fn claim(call: &mut Call<'_>, key: &str, request: u64) -> Answer {
    let reused = || {
        let message = "this key was used for another request";
        Failure::new(409, "key_reused", message).field("idempotencyKey")
    };
    match call.replays.kept.get(key) {
        Some(kept) if kept.request != request => return Err(reused()),
        Some(kept) => {
            call.joins = kept.waits;
            return Ok(super::ok(Vec::new()));
        }
        None => {}
    }
    if call.replays.kept.len() >= MOST_REQUESTS || !call.has_room_for_copy {
        return Err(Failure::unavailable("too many requests wait for their keys"));
    }
    let (at, waits) = (call.cx.now(), Some(call.request_name));
    let kept = Kept { request, done: Done::default(), at, turn: 0, waits, is_claimed: true };
    call.replays.kept.insert(key.into(), kept);
    call.copies_request = true;
    let answer = super::nodes(call, |turn| {
        turn.ask(Request::Claim { key, request }, move |_, told| match told {
            Told::Claimed(_, Claim::Yours(done)) => Next::CarryOut(done),
            Told::Claimed(_, Claim::Other) => reused().into(),
            Told::Claimed(_, Claim::Busy) => {
                Failure::unavailable("another node carries this request out: ask again").into()
            }
            _ => cut_off().into(),
        })
    });
    if answer.is_err() {
        call.replays.kept.remove(key);
    }
    answer
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
            let done = Done::default();
            replays.keep(
                &key.to_string(),
                Kept { request: 0, done, at, turn: 0, waits: None, is_claimed: false },
            );
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

    #[test]
    fn what_was_carried_out_is_read_as_it_was_written_and_what_was_queued_is_stored_then() {
        let mut done = Done { connections: 7, ..Done::default() };
        let states = [Pushed::Sent, Pushed::Queued, Pushed::Later, Pushed::Stored, Pushed::Offline];
        for at in 0..MOST_MESSAGES {
            done.note(at, states[at % states.len()]);
        }
        let mut read = Done::read(&done.write()).unwrap();
        assert_eq!(read.connections, 7);
        for at in 0..MOST_MESSAGES {
            let found = read.deliver(at, || Pushed::Busy);
            let expected =
                [Pushed::Sent, Pushed::Stored, Pushed::Stored, Pushed::Stored, Pushed::Busy];
            assert_eq!(found, expected[at % states.len()], "{at}");
        }
        let bytes = done.write();
        for bad in [&bytes[..8], &bytes[..bytes.len() - 1], &[], &[3; 9], &[1; 9 + 33 * 8]] {
            assert!(Done::read(bad).is_none(), "{} bytes", bad.len());
        }
    }
}
