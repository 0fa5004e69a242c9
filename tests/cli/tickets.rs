//! Tickets as an operator meets them: the secret, the flags, what is minted,
//! and that none of it is ever printed.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, SystemTime};

use longlink::tickets::{Ticket, Tickets};
use tungstenite::{Error, HandshakeError, Message};

use crate::program::{Folder, Patient, Program, longlink, run};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const NEXT: &str = "the next secret is long enough, too";

/// Signs a ticket with the command.
fn mint(args: &[&str], secret: &str) -> String {
    let all = [&["ticket"], args].concat();
    let (code, out, err) = run(longlink(&all).env("LONGLINK_SECRET", secret));
    assert_eq!((code, err.as_str()), (0, ""));
    let ticket = out.strip_suffix('\n').expect("a line").to_owned();
    assert_eq!(ticket.split('.').count(), 3, "{ticket}");
    ticket
}

/// Signs a ticket without the command.
pub fn sign(secret: &str, ticket: &Ticket) -> String {
    Tickets::new(&[secret], |_| SystemTime::now()).unwrap().sign(ticket).unwrap()
}

pub fn alice(secret: &str) -> String {
    mint(&["alice", "--ttl", "2h"], secret)
}

/// The status of the answer to a handshake; 101 if it is accepted.
fn status(program: &Program, user: &str, ticket: &str) -> u16 {
    let port = program.addr().rsplit(':').next().unwrap();
    let stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.set_read_timeout(Some(crate::program::DEADLINE)).unwrap();
    status_on(Patient(stream), user, ticket)
}

/// Returns the status that a handshake gets on a stream of any kind; 101 if it is accepted.
pub fn status_on(stream: impl Read + Write, user: &str, ticket: &str) -> u16 {
    match tungstenite::client(format!("ws://a.test/websocket/{user}?ticket={ticket}"), stream) {
        Ok(_) => 101,
        Err(HandshakeError::Failure(Error::Http(response))) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
    }
}

fn secret_file(folder: &Folder, lines: &[&str]) -> String {
    folder.file("secret", &format!("{}\n", lines.join("\n")))
}

#[test]
fn with_a_secret_clients_need_a_ticket_and_the_server_may_listen_on_any_address() {
    let folder = Folder::new();
    let file = secret_file(&folder, &[SECRET]);
    let mut command =
        longlink(&["--listen", "0.0.0.0:0", "--reject-delay", "0", "--secret-file", &file]);
    let mut program = Program::spawn(&mut command, 1);
    assert_eq!(status(&program, "alice", &alice(SECRET)), 101);
    assert_eq!(status(&program, "bob", &alice(SECRET)), 401);
    assert_eq!(status(&program, "alice", &alice(NEXT)), 401);
    program.stop();
    let log = program.log().rest().join("\n");
    assert!(!log.contains("may connect as anyone"), "{log}");
    assert!(log.contains("0.0.0.0:0 has no TLS: tickets travel in the clear"), "{log}");
}

#[test]
fn a_server_with_tickets_on_loopback_does_not_warn_that_there_is_no_tls() {
    let folder = Folder::new();
    let mut program = Program::start(&["--secret-file", &secret_file(&folder, &[SECRET])]);
    assert_eq!(status(&program, "alice", &alice(SECRET)), 101);
    program.stop();
    let log = program.log().rest().join("\n");
    assert!(!log.contains("in the clear"), "{log}");
}

#[test]
fn tickets_of_the_old_and_the_new_secret_are_accepted_while_the_secret_is_changed() {
    let folder = Folder::new();
    let file = secret_file(&folder, &[NEXT, "", SECRET]);
    let program = Program::start(&["--secret-file", &file]);
    assert_eq!(status(&program, "alice", &alice(SECRET)), 101);
    assert_eq!(status(&program, "alice", &alice(NEXT)), 101);
    let (code, out, _) =
        run(&mut longlink(&["ticket", "alice", "--ttl", "1m", "--secret-file", &file]));
    assert_eq!(code, 0);
    let only_new = secret_file(&folder, &[NEXT]);
    let program = Program::start(&["--secret-file", &only_new, "--reject-delay", "0"]);
    assert_eq!(status(&program, "alice", out.trim()), 101, "the first secret in the file signs");
    assert_eq!(status(&program, "alice", &alice(SECRET)), 401);
}

#[test]
fn a_ticket_of_the_command_allows_broadcasts_only_if_they_were_asked_for() {
    let program =
        Program::spawn(longlink(&["--listen", "127.0.0.1:0"]).env("LONGLINK_SECRET", SECRET), 1);
    let connect = |user: &str, ticket: &str| {
        let url = format!("ws://{}/websocket/{user}?ticket={ticket}", program.addr());
        tungstenite::client(url, Patient(program.connect())).expect("it is let in").0
    };
    let mut quiet = connect("quiet", &mint(&["quiet", "--ttl", "1h"], SECRET));
    let loud =
        ["loud", "--ttl", "1h", "--broadcast", "--group", "a", "--group", "b", "--device", "d"];
    let mut loud = connect("loud", &mint(&loud, SECRET));
    quiet.send(Message::text("nobody hears this")).unwrap();
    quiet.send(Message::text("ping")).unwrap();
    assert!(quiet.read().unwrap().to_text().unwrap().contains("pong"));
    loud.send(Message::text("everybody hears this")).unwrap();
    let heard = quiet.read().unwrap();
    assert!(heard.to_text().unwrap().contains("everybody hears this"), "{heard}");
    let heard = loud.read().unwrap();
    assert!(heard.to_text().unwrap().contains("everybody hears this"), "{heard}");
}

#[test]
fn a_connection_ends_when_its_ticket_expires_unless_tickets_count_only_at_the_door() {
    let ends = |args: &[&str]| {
        let all = [&["--listen", "127.0.0.1:0", "--idle-timeout", "4", "--ping-after", "0"], args];
        let program = Program::spawn(longlink(&all.concat()).env("LONGLINK_SECRET", SECRET), 1);
        // Clocks may differ by 5 s, so this ticket is accepted for two or three seconds more.
        let ticket = Ticket::new("a", SystemTime::now() - Duration::from_secs(2));
        let url = format!("ws://{}/websocket/a?ticket={}", program.addr(), sign(SECRET, &ticket));
        let mut socket = tungstenite::client(url, Patient(program.connect())).unwrap().0;
        match socket.read() {
            Ok(Message::Close(Some(frame))) => u16::from(frame.code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ends(&[]), 4501);
    assert_eq!(ends(&["--ticket-at-door-only"]), 1001, "the connection was idle");
}

/// The one line of a refusal.
fn refusal(command: &mut Command) -> String {
    let (code, out, err) = run(command);
    assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
    err
}

#[test]
fn secrets_that_do_not_protect_are_refused() {
    let folder = Folder::new();
    for (lines, words) in [
        (&["short"][..], "32 bytes"),
        (&[], "one secret is needed"),
        (&[SECRET, NEXT, SECRET], "one secret is needed, or two"),
        (&[SECRET, "x"], "32 bytes"),
        (&[&"\0".repeat(64)], "a line of text"),
        (&[&format!("\u{FEFF}{SECRET}")], "a line of text"),
    ] {
        let file = secret_file(&folder, lines);
        let line = refusal(&mut longlink(&["--secret-file", &file]));
        assert!(line.contains(words), "{line}");
    }
    let line = refusal(longlink(&[]).env("LONGLINK_SECRET", ""));
    assert!(line.contains("LONGLINK_SECRET"), "an empty secret is refused: {line}");
    let file = secret_file(&folder, &[SECRET]);
    let line = refusal(longlink(&["--secret-file", &file]).env("LONGLINK_SECRET", SECRET));
    assert!(line.contains("both"), "{line}");
    let line = refusal(&mut longlink(&["--open", "--secret-file", &file]));
    assert!(line.contains("open") && line.contains("secret"), "{line}");
    let line = refusal(&mut longlink(&["--ticket-at-door-only"]));
    assert!(line.contains("ticket-at-door-only"), "{line}");
    let line = refusal(&mut longlink(&["ticket", "alice", "--ttl", "2h"]));
    assert!(line.contains("--secret-file") && line.contains("LONGLINK_SECRET"), "{line}");
    for args in [
        &["ticket", "alice"][..],
        &["ticket", "alice", "--ttl", "2"],
        &["ticket", "", "--ttl", "2h"],
        &["ticket", "a/b", "--ttl", "2h"],
        &["ticket", "alice", "--ttl", "2h", "--group", ""],
        &["ticket", "--ttl", "2h"],
    ] {
        refusal(longlink(args).env("LONGLINK_SECRET", SECRET));
    }
}

#[test]
fn no_secret_and_no_ticket_is_ever_printed() {
    let folder = Folder::new();
    // The secret is given instead of a file's name, is too short, is a flag, or stands in a broken file.
    let line = refusal(&mut longlink(&["--secret-file", SECRET]));
    assert!(!line.contains(&SECRET[..8]), "{line}");
    let short = &SECRET[..20];
    let line = refusal(longlink(&[]).env("LONGLINK_SECRET", short));
    assert!(!line.contains(&SECRET[..8]), "{line}");
    let line = refusal(longlink(&["--secret", SECRET]).env("LONGLINK_SECRET", SECRET));
    assert!(!line.contains(&SECRET[..8]), "{line}");
    let file = folder.file("c.toml", &format!("secret = \"{SECRET}\"\n"));
    let line = refusal(&mut longlink(&["--config", &file]));
    assert!(!line.contains(&SECRET[..8]), "{line}");

    let args = ["--listen", "127.0.0.1:0", "--log", "trace", "--reject-delay", "0"];
    let mut program = Program::spawn(longlink(&args).env("LONGLINK_SECRET", SECRET), 1);
    let (good, foreign) = (alice(SECRET), alice(NEXT));
    assert_eq!(status(&program, "alice", &good), 101);
    assert_eq!(status(&program, "alice", &foreign), 401);
    assert_eq!(status(&program, "bob", &good), 401);
    assert_eq!(status(&program, "alice", &format!("{good}&marker=query")), 101);
    program.stop();
    let log = program.log().rest().join("\n");
    assert!(log.contains("open user alice"), "the log is there: {log}");
    for secret in [SECRET, &good, &foreign, "eyJ", "marker", "ticket=", "?"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn the_limits_that_are_set_by_flags_are_applied() {
    let args = ["--message-rate", "2", "--rate-burst", "1", "--broadcast-rate", "0"];
    let more = ["--max-per-user", "1", "--reject-delay", "0", "--accept-rate", "0"];
    let program = Program::start(&[&args[..], &more[..], &["--max-per-address=0"]].concat());
    let mut user = program.user("A");
    let start = std::time::Instant::now();
    for _ in 0..5 {
        user.send(Message::text("ping")).unwrap();
    }
    for _ in 0..5 {
        assert!(user.read().unwrap().to_text().unwrap().contains("pong"));
    }
    // Two pings are handled at once, and the others half a second after each other.
    assert!(start.elapsed().as_millis() >= 1_300, "{:?}", start.elapsed());
    let second = format!("ws://{}/websocket/A?device=second", program.addr());
    match tungstenite::client(second, Patient(program.connect())) {
        Ok(_) => {}
        Err(HandshakeError::Failure(Error::Http(response))) => assert_eq!(response.status(), 503),
        Err(other) => panic!("{other:?}"),
    }
}
