//! What has happened in a run, line by line. When a check fails, the lines are printed that tell of what it names: a
//! message, a client, an event; and all that has happened to nodes, Redis and the network.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Once;

/// So many of the last lines are printed in any case, and so many of the others at most.
const LAST: usize = 25;
const MOST: usize = 600;

/// Whom a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Nodes, Redis and the network between them.
    World,
    /// A client, or a page, by its number.
    Client(usize),
    /// What the backend is told and what it asks.
    Backend,
}

struct Line {
    at: u64,
    of: Of,
    text: String,
}

#[derive(Default)]
pub struct Record {
    lines: RefCell<Vec<Line>>,
    /// With `CLUSTER_LOG` set, each line is printed at once.
    is_printed: bool,
}

thread_local! {
    static FAILURE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Remembers what a panic of this thread says, beside what is done with it otherwise.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default().to_owned();
            FAILURE.with(|it| *it.borrow_mut() = text);
            usual(info);
        }));
    });
}

impl Record {
    pub fn new() -> Self {
        listen();
        let is_printed = std::env::var_os("CLUSTER_LOG").is_some();
        Record { is_printed, ..Record::default() }
    }

    pub fn is_printed(&self) -> bool {
        self.is_printed
    }

    pub fn note(&self, at: u64, of: Of, text: String) {
        if self.is_printed {
            eprintln!("{at:>8} {text}");
        }
        self.lines.borrow_mut().push(Line { at, of, text });
    }

    /// Prints what has led to a failure.
    pub fn explain(&self) {
        let subjects = Subjects::of(&FAILURE.with(|it| it.borrow().clone()));
        let lines = self.lines.borrow();
        let last = lines.len().saturating_sub(LAST);
        let chosen = |(at, line): &(usize, &Line)| *at >= last || subjects.concern(line);
        let chosen: Vec<&Line> =
            lines.iter().enumerate().filter(chosen).map(|(_, line)| line).collect();
        eprintln!(
            "what has happened to nodes, Redis and the network, to {subjects}, and at last to all (in milliseconds):"
        );
        let left_out = chosen.len().saturating_sub(MOST);
        if left_out > 0 {
            eprintln!("         … {left_out} earlier lines are left out");
        }
        for line in &chosen[left_out..] {
            eprintln!("{:>8} {}", line.at, line.text);
        }
    }
}

/// What a failure names.
#[derive(Debug, Default)]
struct Subjects {
    /// Texts of messages, such as `3.17`: the 17th of client 3.
    messages: BTreeSet<String>,
    clients: BTreeSet<usize>,
    has_event: bool,
}

impl Subjects {
    fn of(failure: &str) -> Self {
        let mut subjects = Subjects::default();
        let words: Vec<&str> = words(failure).collect();
        for (at, word) in words.iter().enumerate() {
            if let Some((source, serial)) = word.split_once('.')
                && let (Ok(source), Ok(_)) = (source.parse(), serial.parse::<u64>())
            {
                subjects.messages.insert((*word).to_owned());
                subjects.clients.insert(source);
            }
            let number = words.get(at + 1).and_then(|next| next.parse().ok());
            if let ("client" | "page", Some(number)) = (*word, number) {
                subjects.clients.insert(number);
            }
            subjects.has_event |= matches!(*word, "event" | "online" | "offline");
        }
        subjects
    }

    fn concern(&self, line: &Line) -> bool {
        let is_of = match line.of {
            Of::World => true,
            Of::Client(at) => self.clients.contains(&at),
            Of::Backend => self.has_event,
        };
        is_of || words(&line.text).any(|word| self.messages.contains(word))
    }
}

impl std::fmt::Display for Subjects {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clients: Vec<String> = self.clients.iter().map(usize::to_string).collect();
        let messages: Vec<&str> = self.messages.iter().map(String::as_str).collect();
        let event = if self.has_event { " and the backend" } else { "" };
        write!(out, "clients [{}] and messages [{}]{event}", clients.join(" "), messages.join(" "))
    }
}

/// The words of a text, among them numbers with a point such as `3.17`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '.'));
    words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty())
}

#[test]
fn a_failure_is_explained_by_the_lines_about_the_clients_and_messages_that_it_names() {
    let failure = r#"client 2 of u1 got {"message":"4.17","ts":1700000000.} after 12"#;
    let subjects = Subjects::of(failure);
    let line = |of, text: &str| Line { at: 0, of, text: text.to_owned() };
    assert!(subjects.concern(&line(Of::World, "n1 is killed")));
    assert!(subjects.concern(&line(Of::Client(4), "client 4 connects to n0")));
    assert!(subjects.concern(&line(Of::Client(2), "client 2 is cut")));
    assert!(subjects.concern(&line(Of::Client(7), r#"page 7 <- {"message":"4.17"}"#)));
    assert!(!subjects.concern(&line(Of::Client(7), r#"page 7 <- {"message":"4.171"}"#)));
    assert!(!subjects.concern(&line(Of::Backend, "the backend is told of 1")));
    assert!(Subjects::of("event 7 was never told").has_event);
}
