//! Events that other threads send into a loop: into a server's own, and into a host's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longlink::http::{Request, Response};
use longlink::{
    Accept, Config, ConnId, Context, Driver, Handler, Inbox, Listener, Message, Reject, Reply,
    SendError, Sender, Server, Upgrade,
};
use mio::{Events, Poll, Token, Waker};

use crate::support::client::{DEADLINE, Raw, Socket};
use crate::support::serve::patient;

/// A handler that records the events it gets, and lets a worker thread answer requests.
#[derive(Default)]
struct Listening {
    heard: Vec<u32>,
    worker: Option<Sender<Event>>,
    sessions: Arc<()>,
}

enum Event {
    Number(u32),
    Answer(ConnId, String),
}

impl Handler for Listening {
    type Session = Arc<()>;
    type Event = Event;

    fn on_upgrade(
        &mut self,
        _: &mut Context,
        _: ConnId,
        _: Upgrade<'_>,
    ) -> Result<Accept<Arc<()>>, Reject> {
        Ok(Accept::anonymous().session(Arc::clone(&self.sessions)))
    }

    fn on_message(&mut self, _: &mut Context, _: ConnId, _: &mut Arc<()>, _: Message<'_>) {}

    fn on_request(&mut self, _: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        let (worker, path) = (self.worker.clone().unwrap(), request.path().to_owned());
        std::thread::spawn(move || worker.send(Event::Answer(conn, path)).is_ok());
        Reply::Later
    }

    fn on_event(&mut self, cx: &mut Context, event: Event) {
        match event {
            Event::Number(number) => {
                self.heard.push(number);
                cx.broadcast(&number.to_string());
            }
            Event::Answer(conn, path) => {
                assert!(cx.respond_to(conn, &Response::text(200, path)));
            }
        }
    }
}

#[test]
fn events_of_another_thread_wake_a_sleeping_server_and_arrive_in_order() {
    let mut server = Server::bind("127.0.0.1:0", patient(), Listening::default()).unwrap();
    let sender = server.sender();
    server.turn(Some(Duration::ZERO)).unwrap();
    let worker = std::thread::spawn(move || {
        (0..1_000).for_each(|number| assert!(sender.send(Event::Number(number)).is_ok()));
    });
    let limit = Instant::now() + DEADLINE;
    // Without the sender's waking each of these turns would sleep until the limit.
    while server.parts().1.heard.len() < 1_000 {
        server.turn(Some(limit.saturating_duration_since(Instant::now()))).unwrap();
        assert!(Instant::now() < limit, "the loop was not woken");
    }
    worker.join().unwrap();
    assert_eq!(server.parts().1.heard, (0..1_000).collect::<Vec<_>>());
}

#[test]
fn a_worker_thread_answers_a_request_later_through_the_server() {
    let mut server = Server::bind("127.0.0.1:0", patient(), Listening::default()).unwrap();
    server.parts().1.worker = Some(server.sender());
    let addr = server.listeners().next().unwrap().tcp_addr().unwrap();
    let stopper = server.stopper();
    let client = std::thread::spawn(move || {
        let status = Raw::connect(addr).status(b"GET /found HTTP/1.1\r\nHost: a\r\n\r\n");
        stopper.stop();
        status
    });
    server.run().unwrap();
    assert_eq!(client.join().unwrap(), 200);
}

#[test]
fn a_host_has_an_inbox_in_its_own_loop_and_a_dropped_driver_drops_the_sessions() {
    const WAKE: Token = Token(0);
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(64);
    let waker = Arc::new(Waker::new(poll.registry(), WAKE).unwrap());
    let inbox = Inbox::new(waker, 2);
    let sender = inbox.sender();
    let config = Config::default();
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), &config).unwrap();
    let addr = listener.tcp_addr().unwrap();
    let handler = Listening::default();
    let sessions = Arc::clone(&handler.sessions);
    let now = Instant::now();
    let mut driver =
        Driver::new(vec![listener], poll.registry(), Token(1), config, handler, now).unwrap();

    let client = std::thread::spawn(move || {
        let mut client = Socket::connect(addr, "/", "");
        assert!(sender.send(Event::Number(1)).is_ok());
        assert_eq!(client.text(), "1");
        (client, sender)
    });
    let limit = Instant::now() + DEADLINE;
    let mut wakes = 0;
    while !client.is_finished() {
        // The end of the client's thread is not an event, so the loop looks for it now and then.
        poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
        let now = Instant::now();
        assert!(now < limit, "the client has not finished in time");
        for event in &events {
            wakes += usize::from(!driver.handle_event(event, now));
        }
        for event in inbox.take() {
            driver.deliver(event, now);
        }
        driver.tick(now);
    }
    let (client, sender) = client.join().unwrap();
    assert_eq!(wakes, 1, "one event wakes the host's poll once");
    assert!(sender.send(Event::Number(2)).is_ok());
    assert!(sender.send(Event::Number(3)).is_ok());
    assert!(matches!(sender.send(Event::Number(4)), Err(SendError::Full(Event::Number(4)))));

    assert_eq!(Arc::strong_count(&sessions), 3, "the test's, the handler's and the session");
    drop(driver);
    assert_eq!(Arc::strong_count(&sessions), 1);
    drop((client, inbox));
    assert!(matches!(sender.send(Event::Number(5)), Err(SendError::Closed(Event::Number(5)))));
}

#[test]
fn a_host_reads_and_changes_a_session_between_turns() {
    let handler = Listening::default();
    let sessions = Arc::clone(&handler.sessions);
    let mut server = Server::bind("127.0.0.1:0", Config::default(), handler).unwrap();
    let addr = server.listeners().next().unwrap().tcp_addr().unwrap();
    let client = std::thread::spawn(move || Socket::connect(addr, "/", ""));
    let limit = Instant::now() + DEADLINE;
    while !client.is_finished() {
        assert!(Instant::now() < limit, "the client is not connected in time");
        server.turn(Some(Duration::from_millis(20))).unwrap();
    }
    let client = client.join().unwrap();
    let conn = server.parts().0.id_at(0).unwrap();
    let session = server.session(conn).unwrap();
    assert!(Arc::ptr_eq(session, &sessions));
    *session = Arc::default();
    assert_eq!(Arc::strong_count(&sessions), 2, "the test's and the handler's");

    server.stopper().stop();
    drop(client);
    while !server.is_stopped() {
        assert!(Instant::now() < limit, "the server does not stop in time");
        server.turn(Some(Duration::from_millis(20))).unwrap();
    }
    assert!(server.session(conn).is_none(), "the session of a connection that has gone");
}
