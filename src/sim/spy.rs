//! A wrapper around a handler that forwards every callback, and shows each of them to an observer.

use super::{Note, Watch};
use crate::hub::{Accept, ConnId, Context, Handler, Refused, Reject, Reply, Traced, Upgrade};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;
use crate::wire::ws::close::CloseReason;
use crate::wire::ws::decode::Message;

/// A callback of a [`Handler`], with those of its arguments that an observer may want.
#[derive(Debug)]
pub enum Call<'a> {
    /// [`Handler::on_upgrade`].
    Upgrade(ConnId),
    /// [`Handler::on_turned_away`].
    TurnedAway,
    /// [`Handler::on_request`].
    Request(ConnId, &'a Request<'a>),
    /// [`Handler::on_refused`].
    Refused(ConnId, &'a Refused<'a>),
    /// [`Handler::on_open`].
    Open(ConnId),
    /// [`Handler::on_message`].
    Message(ConnId, Message<'a>),
    /// [`Handler::on_too_long`].
    TooLong(ConnId),
    /// [`Handler::on_drain`].
    Drain(ConnId),
    /// [`Handler::on_closing`].
    Closing(ConnId, &'a CloseReason),
    /// [`Handler::on_trace`]: the events, and how many further events were missed.
    Trace(&'a [Traced], u64),
    /// [`Handler::on_timer`].
    Timer(u32),
    /// [`Handler::on_event`].
    Event,
    /// [`Handler::on_close`].
    Close(ConnId, &'a CloseReason),
}

/// An observer of a handler's callbacks, for a [`Spy`].
pub trait Look {
    /// Called just before the handler is called.
    fn look(&mut self, cx: &mut Context, call: &Call<'_>);

    /// Called with what [`Watch::note`] is told.
    fn note(&mut self, _cx: &Context, _now: u64, _note: Note<'_>) {}
}

/// No observer: the handler's callbacks are only forwarded.
impl Look for () {
    fn look(&mut self, _: &mut Context, _: &Call<'_>) {}
}

/// A handler with an observer of its callbacks. Every callback is first shown to the observer and
/// then forwarded to the handler. The observer changes neither the arguments nor the answers.
///
/// ```
/// use std::time::Instant;
///
/// use longlink::sim::frames::{handshake, text};
/// use longlink::sim::{Call, Look, Spy, World};
/// use longlink::{Config, Context, Relay, RelayConfig};
///
/// /// Records why connections end. `Spy` shows it every callback of the handler.
/// #[derive(Default)]
/// struct Ends(Vec<String>);
///
/// impl Look for Ends {
///     fn look(&mut self, _: &mut Context, call: &Call<'_>) {
///         if let Call::Close(_, reason) = call {
///             self.0.push(reason.to_string());
///         }
///     }
/// }
///
/// let handler = Spy { handler: Relay::new(RelayConfig::default()), looker: Ends::default() };
/// let mut world = World::new(Config::default(), handler, Instant::now());
///
/// let [alice, bob] = ["alice", "bob"].map(|user| {
///     let pipe = world.connect().expect("there is room");
///     world.send(pipe, &handshake(&format!("/websocket/{user}"), ""));
///     pipe
/// });
/// world.settle(); // turns are taken until the loop would sleep
///
/// world.send(alice, &text(r#"{"toUserId":"bob","message":"hello"}"#));
/// world.settle();
/// assert!(world.pipes[bob].texts()[0].contains("hello"));
///
/// world.finish(alice);    // Alice's client ends its side of the connection
/// world.advance(120_000); // two minutes pass, from deadline to deadline; Bob answers no ping
/// assert_eq!(world.handler().looker.0, ["stream ended without close frame", "idle"]);
/// world.assert_nothing_is_left();
/// ```
#[derive(Debug, Default)]
pub struct Spy<H, L> {
    /// The handler.
    pub handler: H,
    /// The observer, which is shown each callback before the handler is called.
    pub looker: L,
}

// The test below reads the trait `Handler`, and fails when one of its callbacks is missing here.
impl<H: Handler, L: Look> Handler for Spy<H, L> {
    type Session = H::Session;
    type Event = H::Event;

    fn on_upgrade(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<H::Session>, Reject> {
        self.looker.look(cx, &Call::Upgrade(conn));
        self.handler.on_upgrade(cx, conn, upgrade)
    }

    fn on_turned_away(&mut self, cx: &mut Context, session: H::Session) {
        self.looker.look(cx, &Call::TurnedAway);
        self.handler.on_turned_away(cx, session);
    }

    fn on_request(&mut self, cx: &mut Context, conn: ConnId, request: &Request<'_>) -> Reply {
        self.looker.look(cx, &Call::Request(conn, request));
        self.handler.on_request(cx, conn, request)
    }

    fn on_refused(&mut self, cx: &mut Context, conn: ConnId, refused: Refused<'_>) -> Response {
        self.looker.look(cx, &Call::Refused(conn, &refused));
        self.handler.on_refused(cx, conn, refused)
    }

    fn on_open(&mut self, cx: &mut Context, conn: ConnId, session: &mut H::Session) {
        self.looker.look(cx, &Call::Open(conn));
        self.handler.on_open(cx, conn, session);
    }

    fn on_message(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut H::Session,
        message: Message<'_>,
    ) {
        self.looker.look(cx, &Call::Message(conn, message));
        self.handler.on_message(cx, conn, session, message);
    }

    fn on_too_long(&mut self, cx: &mut Context, conn: ConnId, session: &mut H::Session) {
        self.looker.look(cx, &Call::TooLong(conn));
        self.handler.on_too_long(cx, conn, session);
    }

    fn on_drain(&mut self, cx: &mut Context, conn: ConnId, session: &mut H::Session) {
        self.looker.look(cx, &Call::Drain(conn));
        self.handler.on_drain(cx, conn, session);
    }

    fn on_closing(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &mut H::Session,
        reason: &CloseReason,
    ) {
        self.looker.look(cx, &Call::Closing(conn, reason));
        self.handler.on_closing(cx, conn, session, reason);
    }

    fn on_trace(&mut self, cx: &mut Context, events: &[Traced], missed: u64) {
        self.looker.look(cx, &Call::Trace(events, missed));
        self.handler.on_trace(cx, events, missed);
    }

    fn on_timer(&mut self, cx: &mut Context, key: u32) {
        self.looker.look(cx, &Call::Timer(key));
        self.handler.on_timer(cx, key);
    }

    fn on_event(&mut self, cx: &mut Context, event: H::Event) {
        self.looker.look(cx, &Call::Event);
        self.handler.on_event(cx, event);
    }

    fn on_close(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: H::Session,
        reason: &CloseReason,
    ) {
        self.looker.look(cx, &Call::Close(conn, reason));
        self.handler.on_close(cx, conn, session, reason);
    }
}

impl<H: Handler, L: Look> Watch for Spy<H, L> {
    fn note(&mut self, cx: &Context, now: u64, note: Note<'_>) {
        self.looker.note(cx, now, note);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    use super::*;
    use crate::hub::Config;
    use crate::sim::World;
    use crate::sim::frames::{handshake, request, text};

    /// The names of the callbacks that `text` defines, which is a trait or an `impl` of it.
    fn callbacks(text: &str) -> BTreeSet<&str> {
        let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn on_"));
        names.map(|rest| rest.split(['(', '<']).next().unwrap_or_default()).collect()
    }

    /// The block that begins with `line`, up to the brace that closes it at the start of a line.
    fn block<'a>(source: &'a str, line: &str) -> &'a str {
        let block = &source[source.find(line).expect(line)..];
        &block[..block.find("\n}").expect("a block that ends")]
    }

    /// The names of all callbacks of a handler.
    fn all_callbacks() -> BTreeSet<&'static str> {
        callbacks(block(include_str!("../hub/handler.rs"), "\npub trait Handler {"))
    }

    fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("target") {
                rust_files(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }

    #[test]
    fn each_handler_that_forwards_one_callback_defines_all_callbacks() {
        let all = all_callbacks();
        let mut files = Vec::new();
        for folder in ["src", "tests", "benches/support", "examples"] {
            rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
        }
        let mut wrappers = Vec::new();
        for file in files {
            let source = fs::read_to_string(&file).expect("a source file");
            let heads = source.lines().filter(|line| line.starts_with("impl"));
            for head in heads.filter(|line| line.contains(" Handler for ")) {
                let body = block(&source, head);
                // The extension of the relay is no handler: the relay asks it some things first.
                let body = body.replace("extension.on_", "").replace("| it.on_", "");
                if !all.iter().any(|name| body.contains(&format!(".on_{name}("))) {
                    continue;
                }
                let defined = callbacks(&body);
                let forgotten: Vec<_> = all.difference(&defined).collect();
                assert!(forgotten.is_empty(), "{}: {head} {forgotten:?}", file.display());
                wrappers.push(head.to_owned());
            }
        }
        assert!(wrappers.iter().any(|head| head.contains("for Spy<")), "{wrappers:?}");
    }

    /// Records the names of the callbacks, both as a handler and as an observer of a handler.
    #[derive(Debug, Default)]
    struct Diary(Vec<&'static str>);

    impl Look for Diary {
        fn look(&mut self, _: &mut Context, call: &Call<'_>) {
            self.0.push(match call {
                Call::Upgrade(..) => "upgrade",
                Call::TurnedAway => "turned_away",
                Call::Request(..) => "request",
                Call::Refused(..) => "refused",
                Call::Open(..) => "open",
                Call::Message(..) => "message",
                Call::TooLong(..) => "too_long",
                Call::Drain(..) => "drain",
                Call::Closing(..) => "closing",
                Call::Trace(..) => "trace",
                Call::Timer(..) => "timer",
                Call::Event => "event",
                Call::Close(..) => "close",
            });
        }
    }

    impl Handler for Diary {
        type Session = ();
        type Event = ();

        fn on_upgrade(
            &mut self,
            _: &mut Context,
            _: ConnId,
            upgrade: Upgrade<'_>,
        ) -> Result<Accept, Reject> {
            self.0.push("upgrade");
            Ok(Accept::user(&upgrade.path()[1..]).outlasts_long_messages())
        }

        fn on_turned_away(&mut self, _: &mut Context, (): ()) {
            self.0.push("turned_away");
        }

        fn on_request(&mut self, _: &mut Context, _: ConnId, _: &Request<'_>) -> Reply {
            self.0.push("request");
            Reply::Now(Response::text(200, "from the handler"))
        }

        fn on_refused(&mut self, _: &mut Context, _: ConnId, refused: Refused<'_>) -> Response {
            self.0.push("refused");
            Response::text(refused.status, "from the handler")
        }

        fn on_open(&mut self, _: &mut Context, _: ConnId, (): &mut ()) {
            self.0.push("open");
        }

        fn on_message(&mut self, cx: &mut Context, conn: ConnId, (): &mut (), _: Message<'_>) {
            self.0.push("message");
            cx.send(conn, &"x".repeat(5_000));
        }

        fn on_too_long(&mut self, _: &mut Context, _: ConnId, (): &mut ()) {
            self.0.push("too_long");
        }

        fn on_drain(&mut self, _: &mut Context, _: ConnId, (): &mut ()) {
            self.0.push("drain");
        }

        fn on_closing(&mut self, _: &mut Context, _: ConnId, (): &mut (), _: &CloseReason) {
            self.0.push("closing");
        }

        fn on_trace(&mut self, _: &mut Context, _: &[Traced], _: u64) {
            self.0.push("trace");
        }

        fn on_timer(&mut self, _: &mut Context, _: u32) {
            self.0.push("timer");
        }

        fn on_event(&mut self, _: &mut Context, (): ()) {
            self.0.push("event");
        }

        fn on_close(&mut self, _: &mut Context, _: ConnId, (): (), _: &CloseReason) {
            self.0.push("close");
        }
    }

    impl Watch for Diary {}

    /// Runs a handler through every callback. Returns what its clients have got.
    fn drive<H: Watch<Event = ()>>(handler: H) -> (World<H>, String) {
        let config = Config { max_connections: 1, ..Config::default() };
        let mut world = World::new(config, handler, Instant::now());
        for bytes in [request("GET", "/", "Connection: close\r\n"), b"?\r\n\r\n".to_vec()] {
            let pipe = world.connect().expect("room");
            world.send(pipe, &bytes);
            world.settle();
            world.finish(pipe);
            world.advance(20_000);
        }
        world.hub.trace("alice");
        world.capacity = 1_000;
        let alice = world.connect().expect("room");
        world.send(alice, &handshake("/alice", ""));
        world.settle();
        let late = world.connect().expect("room for an answer");
        world.send(late, &handshake("/late", ""));
        world.settle();
        world.send(alice, &text(&"x".repeat(70_000)));
        world.settle();
        world.set_reading(alice, false);
        world.send(alice, &text("hello"));
        world.settle();
        world.set_reading(alice, true);
        world.settle();
        let soon = world.instant() + std::time::Duration::from_millis(200);
        world.hub.set_timer(7, soon);
        world.advance(1_000);
        let now = world.instant();
        world.hub.deliver((), now);
        let conn = world.pipes[alice].conn;
        world.hub.close(conn, 1000, "the end");
        world.settle();
        world.finish(alice);
        world.finish(late);
        world.advance(20_000);
        world.assert_nothing_is_left();
        let got = world.pipes.iter().map(|pipe| format!("{:?}\n", pipe.got)).collect();
        (world, got)
    }

    #[test]
    fn a_spy_changes_neither_the_callbacks_of_its_handler_nor_what_clients_get() {
        let (alone, got_alone) = drive(Diary::default());
        let spied = Spy { handler: Diary::default(), looker: Diary::default() };
        let (spied, got_spied) = drive(spied);
        assert_eq!(spied.handler().handler.0, alone.handler().0);
        assert_eq!(spied.handler().looker.0, alone.handler().0, "each callback is shown");
        assert_eq!(got_spied, got_alone);
        let heard: BTreeSet<&str> = alone.handler().0.iter().copied().collect();
        assert_eq!(heard, all_callbacks(), "this test calls every callback");
    }
}
