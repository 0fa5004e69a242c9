//! v2 clients in pairs that write to each other, and to a user who is away, as long as a test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::program::DEADLINE;
use crate::v2::{Answered, Client, Patience, Received};

/// The user who is away until the end.
pub const ABSENT: &str = "absent";
/// How many messages of a client may wait for their answers.
const WINDOW: usize = 32;
const PATIENCE: Patience = Patience {
    ping_after: Duration::from_millis(2_000),
    silence: Duration::from_millis(8_000),
    retry: Duration::from_millis(10),
};

/// What a test reads while a client runs.
#[derive(Debug, Default)]
pub struct State {
    pub answered: AtomicU64,
    /// The number of answers that say that a message is not on disk yet.
    pub queued: AtomicU64,
    unanswered: AtomicU64,
    welcomes: AtomicU64,
    is_live: AtomicBool,
    received: AtomicU64,
}

/// The clients of a test, each on a thread of its own.
pub struct Crowd {
    threads: Vec<JoinHandle<Client>>,
    pub states: Vec<Arc<State>>,
    /// The clients write no more, and stop.
    is_quiet: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

impl Crowd {
    /// Connects `pairs` pairs of clients.
    pub fn connect(addr: SocketAddr, pairs: usize, pace: Duration) -> Self {
        let mut crowd = Crowd {
            threads: Vec::new(),
            states: Vec::new(),
            is_quiet: Arc::default(),
            is_over: Arc::default(),
        };
        for at in 0..pairs * 2 {
            let client = Client::new(addr, &name(at), "phone", PATIENCE);
            let state = Arc::new(State::default());
            crowd.states.push(state.clone());
            let (is_quiet, is_over) = (crowd.is_quiet.clone(), crowd.is_over.clone());
            let talk = move || talk(client, (at, pace), &state, &is_quiet, &is_over);
            crowd.threads.push(thread::spawn(talk));
        }
        crowd
    }

    pub fn answered(&self) -> u64 {
        self.states.iter().map(|it| it.answered.load(Ordering::Relaxed)).sum()
    }

    pub fn queued(&self) -> u64 {
        self.states.iter().map(|it| it.queued.load(Ordering::Relaxed)).sum()
    }

    /// Whether each client has seen so many welcomes, and is connected.
    pub fn is_back(&self, welcomes: u64) -> bool {
        self.states.iter().all(|it| {
            it.welcomes.load(Ordering::Relaxed) >= welcomes && it.is_live.load(Ordering::Relaxed)
        })
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !holds(self) {
            let failed = self.threads.iter().any(JoinHandle::is_finished);
            assert!(!failed && Instant::now() < until, "in vain: {what}: {:?}", self.states);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets the clients write no more, and waits until everything is answered and has come. Returns the
    /// clients.
    pub fn finish(self) -> Vec<Client> {
        self.is_quiet.store(true, Ordering::SeqCst);
        self.until("everything is answered", |crowd| {
            crowd.states.iter().all(|it| it.unanswered.load(Ordering::Relaxed) == 0)
        });
        // What was answered is delivered before. A last message that waits is awaited by its number.
        self.until("everything has come", |crowd| {
            (0..crowd.states.len()).all(|at| {
                let taken = crowd.states[at ^ 1].answered.load(Ordering::Relaxed);
                let to_peer = taken - to_absent(taken);
                crowd.states[at].received.load(Ordering::Relaxed) >= to_peer
            })
        });
        self.is_over.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|it| it.join().expect("a client is well")).collect()
    }
}

pub fn name(at: usize) -> String {
    format!("u{at}")
}

/// Each tenth message is for the user who is away.
fn is_to_absent(number: u64) -> bool {
    number.is_multiple_of(10)
}

/// How many of the first messages are for the user who is away.
fn to_absent(count: u64) -> u64 {
    count / 10
}

fn talk(
    mut client: Client,
    (at, pace): (usize, Duration),
    state: &State,
    is_quiet: &AtomicBool,
    is_over: &AtomicBool,
) -> Client {
    let peer = name(at ^ 1);
    let (mut written, mut seen) = (0, 0);
    let mut next = Instant::now();
    while !is_over.load(Ordering::SeqCst) {
        let now = Instant::now();
        let may_write =
            client.is_live && client.unanswered() < WINDOW && !is_quiet.load(Ordering::SeqCst);
        if may_write && now >= next {
            written += 1;
            next = now + pace;
            let to = if is_to_absent(written) { ABSENT } else { &peer };
            client.write(to, &format!("{at}-{written}"));
        }
        if !may_write || now < next || written % 8 == 0 {
            client.pump();
        }
        if !client.is_live {
            // Without a connection there is nothing to read, so the thread waits for its next attempt.
            thread::park_timeout(Duration::from_millis(1));
        }
        let queued = client.answered[seen..].iter().filter(|it| it.state == "queued").count();
        seen = client.answered.len();
        state.queued.fetch_add(queued as u64, Ordering::Relaxed);
        state.unanswered.store(client.unanswered() as u64, Ordering::Relaxed);
        state.welcomes.store(client.welcomes, Ordering::Relaxed);
        state.is_live.store(client.is_live, Ordering::Relaxed);
        state.received.store(client.received.len() as u64, Ordering::Relaxed);
        state.answered.store(seen as u64, Ordering::Relaxed);
    }
    client
}

/// Connects a device of the user who is away. Returns what waits for the user: at least so many messages.
pub fn read_absent(addr: SocketAddr, count: usize) -> Client {
    let mut client = Client::new(addr, ABSENT, "phone", PATIENCE);
    let until = Instant::now() + DEADLINE;
    while !client.is_live || client.received.len() < count {
        client.pump();
        assert!(
            Instant::now() < until,
            "{} of {count} messages of the user who was away have come; gaps: {:?}",
            client.received.len(),
            client.gaps
        );
    }
    client
}

/// The answered messages of all clients that were sent to the user who is away.
pub fn of_absent(clients: &[Client]) -> Vec<&Answered> {
    let answered = clients.iter().flat_map(|client| &client.answered);
    answered.filter(|it| is_to_absent(number_of(&it.text))).collect()
}

fn number_of(text: &str) -> u64 {
    text.split_once('-').expect("a number").1.parse().expect("a number")
}

/// Checks what the clients were told and what has come, over all starts of the server.
pub fn check(clients: &[Client], absent: &Client) {
    for (at, client) in clients.iter().enumerate() {
        let answers = clients[at ^ 1].answered.iter();
        let to_peer: Vec<_> = answers.filter(|it| !is_to_absent(number_of(&it.text))).collect();
        check_receiver(client, &to_peer);
    }
    check_receiver(absent, &of_absent(clients));
}

/// Checks that everything that was answered has come once, with its id, in order, and without a gap.
fn check_receiver(client: &Client, answered: &[&Answered]) {
    assert!(client.gaps.is_empty(), "nothing is lost: {:?}", client.gaps);
    let mut by_text = BTreeMap::new();
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last = 0;
    for received in &client.received {
        assert!(received.seq > last, "numbers only grow: {received:?} after {last}");
        last = received.seq;
        let old = by_text.insert(&*received.text, received);
        assert!(old.is_none(), "a message has come twice: {old:?} {received:?}");
        let (sender, number) = received.text.split_once('-').expect("a number");
        let number = number.parse().expect("a number");
        let before = numbers.insert(sender, number).unwrap_or(0);
        assert!(number > before, "out of order: {received:?} after {before}");
    }
    for answered in answered {
        let received = by_text.get(&*answered.text);
        let received = received.unwrap_or_else(|| panic!("{answered:?} has not come"));
        assert_eq!(received.id, answered.id, "{answered:?} {received:?}");
    }
    let known: BTreeSet<(u64, &str)> =
        client.received.iter().map(|it: &Received| (it.seq, &*it.id)).collect();
    for repeated in &client.repeated {
        assert!(
            known.contains(&(repeated.seq, &*repeated.id)),
            "a client has dropped a new message because of an old cursor: {repeated:?}"
        );
    }
}
