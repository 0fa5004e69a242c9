//! A reload: SIGHUP makes a running server read its settings again. Each setting that a reload can
//! change takes effect, no connection ends by it, and wrong settings change nothing.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use longlink::tickets::Ticket;
use tungstenite::{Message, WebSocket};

use crate::program::{DEADLINE, Folder, Lines, Patient, Program, longlink, run, shown};
use crate::tickets::{NEXT, SECRET, sign, status_on};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";
const OTHER_KEY: &str = "another key of the backend is 32";
const PONG: &str = r#"{"type":"pong"}"#;

/// A server with a configuration file that can be changed.
pub struct Live {
    pub program: Program,
    pub log: Lines,
    pub folder: Folder,
}

impl Live {
    /// Starts a server with this file. In it, `@name` stands for the file `name` of the folder.
    pub fn start(text: &str) -> Self {
        let folder = Folder::new();
        folder.file("secret", SECRET);
        folder.file("next", NEXT);
        folder.file("key", KEY);
        folder.file("other", &OTHER_KEY.replace(' ', "-"));
        let live = folder.path("longlink.toml");
        std::fs::write(&live, expand(&folder, text)).unwrap();
        let args = ["--listen", "127.0.0.1:0", "--config", live.to_str().unwrap()];
        let mut program = Program::spawn(&mut longlink(&args), 1);
        let log = program.log();
        Live { program, log, folder }
    }

    pub fn write(&self, text: &str) {
        self.folder.file("longlink.toml", &expand(&self.folder, text));
    }

    /// Changes the file and reloads it.
    pub fn reload(&self, text: &str) {
        self.write(text);
        self.program.signal("HUP");
        self.log.find("reload: done");
    }

    /// The status of a handshake.
    fn upgrade(&self, user: &str, fields: &str) -> u16 {
        let request = format!(
            "GET /websocket/{user} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
        );
        crate::program::status_of(self.program.connect(), request.as_bytes())
    }

    fn with_ticket(&self, secret: &str) -> u16 {
        let ticket = Ticket::new("alice", std::time::SystemTime::now() + DEADLINE);
        status_on(Patient(self.program.connect()), "alice", &sign(secret, &ticket))
    }

    pub fn ask(&self, method: &str, path: &str, key: &str, body: &str) -> String {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = self.program.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends kept messages to a user who is away, and returns how many of them wait.
    fn waiting(&self, texts: &[&str]) -> usize {
        for text in texts {
            let body = format!(r#"{{"user":"away","message":"{text}","keep":true}}"#);
            let answer = self.ask("POST", "/api/send", KEY, &body);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let answer = self.ask("GET", "/api/users/away/messages", KEY, "");
        answer.matches("\"seq\"").count()
    }
}

fn expand(folder: &Folder, text: &str) -> String {
    let directory = shown(&folder.path(""));
    text.replace('@', &directory)
}

/// Whether the stream ends, whatever comes before.
fn ends(mut stream: impl Read) -> bool {
    std::io::copy(&mut stream, &mut std::io::sink()).is_ok()
}

/// How long it takes until a heartbeat is answered.
fn beat(user: &mut WebSocket<Patient>) -> Duration {
    let began = Instant::now();
    user.send(Message::text("ping")).unwrap();
    assert_eq!(user.read().unwrap(), Message::text(PONG));
    began.elapsed()
}

/// Sends a text to oneself, and returns whether it comes back.
fn takes(live: &Live, length: usize) -> bool {
    let mut user = live.program.user("A");
    user.send(Message::text("x".repeat(length))).unwrap();
    matches!(user.read(), Ok(Message::Text(_)))
}

/// A frame of a client with a mask of zeros, of which only the beginning is sent.
fn half_a_frame(program: &Program, length: u16, sent: usize) -> TcpStream {
    let user = program.user("half");
    let mut stream = user.get_ref().0.try_clone().unwrap();
    // The connection must not be closed by tungstenite.
    std::mem::forget(user);
    let mut frame = vec![0x81, 0xfe];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(vec![b'x'; sent]);
    stream.write_all(&frame).unwrap();
    stream
}

/// The settings, the file before and after the reload, and what must hold after it.
type Row = (&'static [&'static str], &'static str, &'static str, fn(&Live));

const TICKETS: &str = "secret-file = \"@/secret\"\n";
const API: &str = "api-key-file = \"@/key\"\n";

fn rows() -> Vec<Row> {
    vec![
        (&["max-message"], "", "max-message = 10\n", |live| {
            assert!(takes(live, 10) && !takes(live, 11));
        }),
        (&["max-queue"], "", "max-queue = \"2mb\"\nmax-message = \"1mb\"\n", |live| {
            assert!(takes(live, 1 << 20), "more than the old queue");
        }),
        (&["max-head"], "", "max-head = 1000\n", |live| {
            assert_eq!(live.program.status(&format!("/{}", "x".repeat(1000))), 431);
        }),
        (&["max-buffered"], "", "max-buffered = \"1kb\"\n", |live| {
            assert!(ends(half_a_frame(&live.program, 60_000, 40_000)));
        }),
        (&["max-connections"], "", "max-connections = 1\n", |live| {
            let _one = live.program.user("A");
            assert_eq!(live.program.status("/healthz"), 503);
        }),
        (&["max-per-user"], "reject-delay = 0\n", "max-per-user = 1\n", |live| {
            let _one = live.program.user("A");
            assert_eq!(live.upgrade("A?device=other", ""), 503);
        }),
        (
            &["trust-proxy", "max-per-address"],
            "",
            "trust-proxy = \"127.0.0.1\"\nmax-per-address = 1\n",
            |live| {
                let url = format!("ws://{}/websocket/A", live.program.addr());
                let request = tungstenite::ClientRequestBuilder::new(url.parse().unwrap())
                    .with_header("X-Forwarded-For", "203.0.113.7");
                let stream = Patient(live.program.connect());
                let _one = tungstenite::client(request, stream).unwrap();
                assert_eq!(live.upgrade("B", "X-Forwarded-For: 203.0.113.7\r\n"), 503);
            },
        ),
        (&["message-rate", "rate-burst"], "", "message-rate = 4\nrate-burst = 0\n", |live| {
            let mut user = live.program.user("A");
            let slowest = (0..3).map(|_| beat(&mut user)).max();
            assert!(slowest > Some(Duration::from_millis(100)), "{slowest:?}");
        }),
        (&["broadcast-rate"], "", "broadcast-rate = 4\nrate-burst = 0\n", |live| {
            let mut user = live.program.user("A");
            let began = Instant::now();
            for _ in 0..3 {
                user.send(Message::text(r#"{"message":"x"}"#)).unwrap();
            }
            (0..3).for_each(|_| assert!(user.read().unwrap().is_text()));
            assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
        }),
        (&["accept-rate"], "", "accept-rate = 1\n", |live| {
            let began = Instant::now();
            (0..3).for_each(|_| assert_eq!(live.program.status("/healthz"), 200));
            assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
        }),
        (
            &["reject-delay"],
            "secret-file = \"@/secret\"\nreject-delay = \"1h\"\n",
            "secret-file = \"@/secret\"\nreject-delay = 0\n",
            |live| assert_eq!(live.upgrade("A", ""), 401),
        ),
        (&["handshake-timeout"], "handshake-timeout = \"1h\"\n", "handshake-timeout = 0.1\n", {
            |live| assert!(ends(live.program.connect()))
        }),
        (&["message-timeout"], "message-timeout = 0\n", "message-timeout = 0.1\n", |live| {
            assert!(ends(half_a_frame(&live.program, 1000, 10)));
        }),
        (&["ping-after"], "ping-after = 0\n", "ping-after = 0.1\n", |live| {
            assert!(matches!(live.program.user("A").read(), Ok(Message::Ping(_))));
        }),
        (
            &["idle-timeout"],
            "ping-after = 0\nidle-timeout = 0\n",
            "ping-after = 0\nidle-timeout = 0.1\n",
            |live| assert!(ends(live.program.user("A").into_inner())),
        ),
        (&["close-timeout"], "close-timeout = \"1h\"\n", "close-timeout = 0.1\n", |live| {
            let _deaf = live.program.user("A");
            live.program.signal("TERM");
            live.log.find("stopped");
        }),
        (&["log"], "log = \"warn\"\n", "log = \"debug\"\n", |live| {
            let _user = live.program.user("A");
            live.log.find("open user A");
        }),
        (&["demo"], "", "demo = false\n", |live| assert_eq!(live.program.status("/"), 404)),
        (&["broadcast"], "", "broadcast = false\n", |live| {
            let mut user = live.program.user("A");
            user.send(Message::text(r#"{"message":"x"}"#)).unwrap();
            beat(&mut user);
        }),
        (&["presence"], "", "presence = false\n", |live| {
            let url = format!("ws://{}/websocket/A", live.program.addr());
            let request = tungstenite::ClientRequestBuilder::new(url.parse().unwrap())
                .with_sub_protocol("longlink.v2");
            let stream = Patient(live.program.connect());
            let (mut user, _) = tungstenite::client(request, stream).unwrap();
            user.send(Message::text(r#"{"type":"presence","users":["B"]}"#)).unwrap();
            let answer = std::iter::from_fn(|| user.read().ok().map(|it| it.to_string()))
                .find(|frame| frame.contains("presence") || frame.contains("error"));
            assert!(answer.as_ref().is_some_and(|it| it.contains("error")), "{answer:?}");
        }),
        (&["allow-origin"], "", "allow-origin = \"a.example\"\n", |live| {
            assert_eq!(live.upgrade("A", "Origin: https://a.example\r\n"), 101);
            assert_eq!(live.upgrade("A", "Origin: https://b.example\r\n"), 403);
        }),
        (&["allow-host"], "", "allow-host = \"a.test\"\n", |live| {
            let url = "ws://a.test/websocket/A";
            assert!(tungstenite::client(url, Patient(live.program.connect())).is_ok());
        }),
        (&["secret-file"], TICKETS, "secret-file = \"@/next\"\nreject-delay = 0\n", |live| {
            assert_eq!((live.with_ticket(SECRET), live.with_ticket(NEXT)), (401, 101));
        }),
        (&["open"], "open = true\n", TICKETS, |live| {
            assert_eq!((live.upgrade("A", ""), live.with_ticket(SECRET)), (401, 101));
        }),
        (
            &["ticket-at-door-only"],
            TICKETS,
            "secret-file = \"@/secret\"\nticket-at-door-only = true\n",
            |live| {
                let end = std::time::SystemTime::now() + Duration::from_secs(1);
                let ticket = sign(SECRET, &Ticket::new("A", end));
                let url = format!("ws://localhost/websocket/A?ticket={ticket}");
                let stream = Patient(live.program.connect());
                let (mut user, _) = tungstenite::client(url, stream).unwrap();
                let timeout = Some(Duration::from_millis(2500));
                user.get_ref().0.set_read_timeout(timeout).unwrap();
                assert!(user.read().is_err_and(|error| error.to_string().contains("temporarily")));
            },
        ),
        (&["api-key-file"], API, "api-key-file = \"@/other\"\n", |live| {
            let answer = |key: &str| live.ask("GET", "/api/online", key, "");
            assert!(answer(KEY).starts_with("HTTP/1.1 401"));
            assert!(answer(&OTHER_KEY.replace(' ', "-")).starts_with("HTTP/1.1 200"));
        }),
        (&["api-from"], "", "api-from = \"shop\"\n", |live| {
            assert_eq!(live.upgrade("shop", ""), 403);
        }),
        (&["mailbox-messages"], API, "api-key-file = \"@/key\"\nmailbox-messages = 2\n", |live| {
            assert_eq!(live.waiting(&["a", "b", "c"]), 2);
        }),
        (&["mailbox-bytes"], API, "api-key-file = \"@/key\"\nmailbox-bytes = 1500\n", |live| {
            let long = "x".repeat(1000);
            assert_eq!(live.waiting(&[&long, &long]), 1);
        }),
        (&["mailbox-ttl"], API, "api-key-file = \"@/key\"\nmailbox-ttl = \"1s\"\n", |live| {
            assert_eq!(live.waiting(&["a"]), 1);
            let until = Instant::now() + DEADLINE;
            while live.waiting(&[]) > 0 {
                assert!(Instant::now() < until, "it still waits");
                std::thread::sleep(Duration::from_millis(50));
            }
        }),
        (&["mailbox-memory"], API, "api-key-file = \"@/key\"\nmailbox-memory = 1\n", |live| {
            assert_eq!(live.waiting(&["a"]), 0);
        }),
        (&["v1-mailbox"], API, "api-key-file = \"@/key\"\nv1-mailbox = true\n", |live| {
            assert_eq!(live.waiting(&["hello"]), 1);
            let got = live.program.user("away").read().unwrap().to_string();
            assert!(got.contains("hello"), "{got}");
        }),
    ]
}

#[test]
fn each_setting_that_a_reload_can_change_takes_effect_on_a_running_server() {
    let mut held = BTreeSet::new();
    for (names, before, after, check) in rows() {
        let live = Live::start(before);
        live.reload(after);
        check(&live);
        held.extend(names);
    }
    // What these do is held by tests in tls.rs and reload_webhooks.rs.
    held.extend(["tls-cert", "tls-key"]);
    held.extend(["webhook", "webhook-secret-file", "webhook-ca", "webhook-queue"]);
    let (code, out, err) = run(&mut longlink(&["--print-config"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let lines = out.lines().filter(|line| line.contains("  # ") && !line.ends_with(", restart"));
    let name = |line: &'_ str| {
        let line = line.trim_start_matches("# ").to_owned();
        line.split([' ', ':']).next().unwrap_or_default().to_owned()
    };
    let reloadable = lines.map(name).collect::<BTreeSet<_>>();
    let held = held.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(reloadable, held);
}

#[test]
fn a_reload_says_what_has_changed_and_what_needs_a_restart_and_ends_no_connection() {
    let live = Live::start("secret-file = \"@/secret\"\n");
    let ticket = sign(SECRET, &Ticket::new("A", std::time::SystemTime::now() + DEADLINE));
    let url = format!("ws://localhost/websocket/A?ticket={ticket}");
    let (mut user, _) = tungstenite::client(url, Patient(live.program.connect())).unwrap();
    live.write(
        "secret-file = \"@/next\"\nmax-message = \"32kb\"\nidle-timeout = \"2m\"\n\
         devices = \"one\"\nstore-size = \"2gb\"\nstore = \"@/messages.db\"\n",
    );
    live.program.signal("HUP");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.contains("reload: done")) {
        lines.push(live.log.next().expect("more lines"));
    }
    for text in [
        "reload: secret-file has changed",
        "reload: max-message: 65536 -> 32768",
        "reload: idle-timeout: 60 -> 120",
        "WARN  [longlink::cli::commands::serve::reload] reload: devices stays \"many\" until the \
         server is started again: \"one\" is not used",
        "reload: store-size stays 1073741824",
        "reload: store stays not set",
        "reload: done, and 3 settings have changed",
    ] {
        let has = |line: &String| line.contains(text) || line.replace("  ", " ").contains(text);
        assert!(lines.iter().any(has), "{text}: {lines:#?}");
    }
    assert!(lines.iter().all(|line| !line.contains(SECRET) && !line.contains(NEXT)));
    beat(&mut user);
}

#[test]
fn a_file_that_is_wrong_or_gone_changes_nothing_and_all_problems_are_logged() {
    let live = Live::start("max-message = 10\n");
    let mut user = live.program.user("A");
    let file = shown(&live.folder.path("longlink.toml"));
    live.write("max-message = 20\nmax-haed = 5\nlog = \"loud\"\nsecret-file = \"/nowhere\"\n");
    live.program.signal("HUP");
    for problem in ["2:1: unknown key \"max-haed\"", "3:7: log: ", "4:15: secret-file: cannot"] {
        assert!(live.log.find("reload: ").contains(&format!("{file}:{problem}")));
    }
    assert!(live.log.find("reload: ").contains("nothing was changed"));
    assert!(!takes(&live, 11));

    std::fs::remove_file(&file).unwrap();
    live.program.signal("HUP");
    assert!(live.log.find("reload: ").contains("--config: cannot read"));
    live.log.find("nothing was changed");
    live.write("open = true\nsecret-file = \"@/secret\"\n");
    live.program.signal("HUP");
    live.log.find("open lets everyone in");
    live.log.find("nothing was changed");
    live.reload("max-message = 20\n");
    assert!(takes(&live, 20) && !takes(&live, 21));
    beat(&mut user);
}

#[test]
fn a_hundred_reloads_while_messages_arrive_lose_no_message_and_no_connection() {
    let live = Live::start("");
    let mut user = live.program.user("A");
    user.get_ref().0.set_nodelay(true).unwrap();
    let pid = live.program.child.id();
    let script = format!("for i in $(seq 100); do kill -HUP {pid}; sleep 0.01; done");
    let mut shell = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let mut round = 0;
    while shell.try_wait().unwrap().is_none() {
        round += 1;
        live.write(&format!("max-message = {}\nmessage-rate = 0\n", 1000 + round));
        for number in 0..20 {
            user.send(Message::text(format!("{round}-{number}"))).unwrap();
        }
        for number in 0..20 {
            let got = user.read().unwrap().to_string();
            assert!(got.contains(&format!("{round}-{number}")), "{got}");
        }
    }
    live.write("max-message = 999\n");
    live.program.signal("HUP");
    live.log.find("-> 999");
    live.log.find("reload: done");
    assert!(takes(&live, 999) && !takes(&live, 1000));
    let Live { mut program, .. } = live;
    program.stop();
}
