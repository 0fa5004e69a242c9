//! The events that all nodes of a cluster share. The engine numbers them and keeps them until the backend has
//! taken them; it gives them to one node, whose thread sends them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::{Engine, Happened, Request, Told, Wants};
use crate::journal::Ticket;
use crate::relay::Event;

use super::config::WebhookEvents;
use super::queue::{Batch, MAX_BATCH_BYTES, MAX_BATCH_EVENTS};

/// The events of one request of this kind.
#[derive(Clone, Debug)]
pub struct Relayed {
    pub epoch: Box<str>,
    /// The name of the last event.
    pub last: Box<str>,
    pub batch: Arc<Batch>,
}

/// The events of webhooks that this node gives to the engine, and those that the engine makes this node tell the
/// backend.
#[derive(Debug)]
pub struct Exchange {
    engine: Box<dyn Engine>,
    waiting: VecDeque<Relayed>,
    text: String,
}

/// A text that has grown beyond this number of bytes is freed.
const MOST_TEXT: usize = 64 * 1024;

impl Exchange {
    /// Makes an exchange, and says which events are wanted.
    pub fn new(mut engine: Box<dyn Engine>, events: WebhookEvents, most: usize) -> Self {
        let wanted = WebhookEvents::ALL.iter().filter(|kind| events.has(**kind));
        let kinds: String = wanted.filter_map(|kind| kind.letter()).collect();
        let wants = Wants { kinds: &kinds, most: most as u64 };
        engine.ask(Ticket::MAX, Request::Wants(wants));
        Exchange { engine, waiting: VecDeque::new(), text: String::new() }
    }

    /// Something has happened on this node. Of users who come online or go offline the engine finds out by itself.
    pub fn tell(&mut self, event: &Event<'_>, at: u64) {
        let (Some(kind), Some(user)) = (event.kind().letter(), user_of(event)) else { return };
        self.text.clear();
        self.text.shrink_to(MOST_TEXT);
        event.write_unnumbered(at, &mut self.text);
        let event = &*self.text;
        self.engine.ask(Ticket::MAX, Request::Tell { user, kind, event });
    }

    /// Handles what the engine tells: events for the backend, or that another node tells it from now on.
    pub fn hear(&mut self, told: &Told) {
        match told {
            Told::Events(events) => self.append(events),
            Told::NoEvents => self.waiting.clear(),
            _ => {}
        }
    }

    fn append(&mut self, events: &[Happened]) {
        let mut batch = Batch::default();
        let mut before = None::<&Happened>;
        for event in events {
            let is_full = batch.events == MAX_BATCH_EVENTS
                || batch.events > 0 && batch.text.len() + event.text.len() >= MAX_BATCH_BYTES;
            if let Some(last) = before.filter(|last| is_full || last.epoch != event.epoch) {
                self.push(std::mem::take(&mut batch), last);
            }
            if batch.events == 0 {
                batch.first = event.seq;
                batch.since = time_of(&event.text);
            } else {
                batch.text.push(',');
            }
            batch.text.push_str(&format!(r#"{{"seq":{},"#, event.seq));
            batch.text.push_str(&event.text);
            batch.events += 1;
            before = Some(event);
        }
        if let Some(last) = before {
            self.push(batch, last);
        }
    }

    fn push(&mut self, batch: Batch, last: &Happened) {
        let (epoch, last) = (last.epoch.clone(), last.name.clone());
        self.waiting.push_back(Relayed { epoch, last, batch: Arc::new(batch) });
    }

    /// Returns the events that are to be sent next. They stay the same until [`Exchange::done`] is called.
    pub fn first(&self) -> Option<Relayed> {
        self.waiting.front().cloned()
    }

    /// Whether there are events to be sent.
    pub fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The backend has taken these events.
    pub fn done(&mut self, relayed: &Relayed) {
        if self.waiting.front().is_some_and(|it| it.last == relayed.last) {
            self.waiting.pop_front();
        }
        self.engine.ask(Ticket::MAX, Request::Accept { event: &relayed.last });
    }

    /// How many events wait, how many bytes they have, and the time of the oldest one.
    pub fn waiting(&self) -> (usize, usize, Option<u64>) {
        let events = self.waiting.iter().map(|it| it.batch.events).sum();
        let bytes = self.waiting.iter().map(|it| it.batch.text.len()).sum();
        (events, bytes, self.waiting.front().map(|it| it.batch.since))
    }
}

fn user_of<'a>(event: &Event<'a>) -> Option<&'a str> {
    match *event {
        Event::Message { user, .. }
        | Event::Undelivered { user, .. }
        | Event::Receipt { user, .. } => Some(user),
        _ => None,
    }
}

/// The time of an event, which is its last field.
fn time_of(text: &str) -> u64 {
    let at = text.rfind(r#""at":"#).map(|at| &text[at + 5..]);
    at.and_then(|at| at.trim_end_matches('}').parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::{LinkState, Numbers};

    /// An engine that writes down what it is asked.
    #[derive(Clone, Debug, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl Engine for Notes {
        fn ask(&mut self, _: Ticket, request: Request<'_>) {
            self.0.lock().unwrap().push(match request {
                Request::Wants(wants) => format!("wants {} {}", wants.kinds, wants.most),
                Request::Tell { user, kind, event } => format!("tell {user} {kind} {event}"),
                Request::Accept { event } => format!("accept {event}"),
                other => panic!("{other:?}"),
            });
        }

        fn link(&self) -> LinkState {
            LinkState::Up
        }

        fn node(&self) -> &str {
            "n1"
        }

        fn online_elsewhere(&self) -> u64 {
            0
        }

        fn numbers(&self) -> Numbers {
            Numbers::default()
        }
    }

    fn exchange() -> (Exchange, Notes) {
        let (notes, events) = (Notes::default(), ["online", "message"]);
        let events = WebhookEvents::named(events).unwrap();
        (Exchange::new(Box::new(notes.clone()), events, 1_000), notes)
    }

    fn happened(epoch: &str, seq: u64, text: &str) -> Happened {
        let name = format!("{epoch}-{seq}").into();
        Happened { name, epoch: epoch.into(), seq, text: text.into() }
    }

    fn bodies(exchange: &mut Exchange) -> Vec<String> {
        let all = std::iter::from_fn(|| {
            let relayed = exchange.first()?;
            exchange.done(&relayed);
            Some(format!("{}: {}", relayed.epoch, relayed.batch.text))
        });
        all.collect()
    }

    #[test]
    fn the_engine_is_told_what_happens_on_the_node_and_finds_out_presence_by_itself() {
        let (mut exchange, notes) = exchange();
        let frame = &["{", "}"];
        exchange.tell(&Event::Message { user: "A", device: "p", to: None, frame }, 7);
        exchange.tell(&Event::Online { user: "A", device: "p" }, 7);
        let message = r#"tell A m "type":"message","user":"A","device":"p","toUserId":null,"frame":"{}","at":7}"#;
        assert_eq!(*notes.0.lock().unwrap(), ["wants om 1000", message]);
    }

    #[test]
    fn events_are_sent_in_batches_of_one_epoch_and_each_batch_is_accepted_when_it_has_arrived() {
        let (mut exchange, notes) = exchange();
        exchange.hear(&Told::Events(vec![
            happened("e1", 8, r#""type":"online","at":5}"#),
            happened("e1", 9, r#""type":"offline","at":6}"#),
            happened("e2", 1, r#""type":"online","at":7}"#),
        ]));
        assert_eq!(exchange.waiting(), (3, 98, Some(5)));
        assert_eq!(
            bodies(&mut exchange),
            [
                r#"e1: {"seq":8,"type":"online","at":5},{"seq":9,"type":"offline","at":6}"#,
                r#"e2: {"seq":1,"type":"online","at":7}"#,
            ]
        );
        assert_eq!(notes.0.lock().unwrap()[1..], ["accept e1-9", "accept e2-1"]);
    }

    #[test]
    fn a_batch_is_bounded_and_events_are_dropped_when_another_node_tells() {
        let (mut exchange, _) = exchange();
        let events = (1..=2_500).map(|seq| happened("e", seq, r#""at":1}"#)).collect();
        exchange.hear(&Told::Events(events));
        let sizes: Vec<usize> = exchange.waiting.iter().map(|it| it.batch.events).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
        let firsts: Vec<u64> = exchange.waiting.iter().map(|it| it.batch.first).collect();
        assert_eq!(firsts, [1, 1_001, 2_001]);
        exchange.hear(&Told::NoEvents);
        assert!(exchange.first().is_none());
        let long = format!(r#""x":"{}","at":1}}"#, "x".repeat(100_000));
        exchange.hear(&Told::Events((1..=5).map(|seq| happened("e", seq, &long)).collect()));
        let sizes: Vec<usize> = exchange.waiting.iter().map(|it| it.batch.events).collect();
        assert_eq!(sizes, [2, 2, 1]);
    }
}
