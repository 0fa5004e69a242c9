//! `longlink tail`: what it prints, also after a restart of the server, and what it says when it
//! cannot connect.

use std::io::Write;
use std::process::{Child, Stdio};

use serde_json::Value;

#[cfg(feature = "tls")]
use crate::certs::Authority;
use crate::fake;
use crate::program::{DEADLINE, Folder, Lines, Program, longlink, run};
#[cfg(feature = "tls")]
use crate::tls::Files;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A running `longlink tail`, which is killed when this is dropped.
pub struct Tail {
    child: Child,
    pub out: Lines,
    notices: Lines,
}

impl Tail {
    pub fn start(args: &[&str]) -> Tail {
        let mut command = longlink(&[&["tail"], args].concat());
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("it starts");
        let out = Lines::of(child.stdout.take().unwrap());
        let notices = Lines::of(child.stderr.take().unwrap());
        Tail { child, out, notices }
    }

    /// The next line without its time.
    fn line(&self) -> String {
        let line = self.out.next().expect("tail goes on");
        assert_eq!(line.find("  "), Some("00:00:00.000".len()), "{line}");
        line["00:00:00.000  ".len()..].to_owned()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server whose interface has an address of its own. Nobody reads its log. Returns also
/// the address of the interface.
fn server(addresses: [&str; 2], args: &[&str]) -> (Program, String) {
    let listen = ["--listen", addresses[0], "--api-listen", addresses[1]];
    let mut program = Program::spawn(&mut longlink(&[&listen[..], args].concat()), 1);
    let api = program.stdout.next().expect("it announces the interface");
    drop(program.log());
    (program, api.strip_prefix("api on ").expect("the announced form").to_owned())
}

fn failing(args: &[&str]) -> (i32, String) {
    let (code, out, err) = run(&mut longlink(&[&["tail", "A"], args].concat()));
    assert_eq!(out, "", "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    (code, err)
}

#[test]
fn tail_prints_each_event_as_a_line_without_colours() {
    let (program, api) = server(["127.0.0.1:0"; 2], &[]);
    let tail = Tail::start(&["小明", "--url", &api]);
    assert_eq!(tail.line(), "-       trace     小明, connections: 0");
    let mut user = program.user("%E5%B0%8F%E6%98%8E?device=phone");
    assert!(tail.line().contains("  open      phone 127.0.0.1:"));
    user.send("ping".into()).unwrap();
    assert!(tail.line().contains("  in        text         4 B"));
    assert!(tail.line().contains("  out       text        15 B"));
    user.close(None).unwrap();
    assert!(tail.line().contains("  in        close        0 B"));
    assert!(tail.line().contains("  out       close        0 B"));
    assert!(tail.line().contains("  close     closed by peer (1005)"));
}

#[test]
fn tail_shows_the_replay_and_the_acknowledgement_of_a_device_that_resumes() {
    let (program, api) = server(["127.0.0.1:0"; 2], &[]);
    let tail = Tail::start(&["A", "--url", &api]);
    assert!(tail.line().contains("trace     A"));
    // Past the frames, and what they are numbered with.
    let told = || loop {
        let line = tail.line();
        if !line.contains("  in    ") && !line.contains("  out   ") {
            return line.split_once("  ").unwrap().1.trim_start().to_owned();
        }
    };
    let mut phone = program.user("A?v=2&device=phone");
    assert!(told().starts_with("open      phone 127.0.0.1:"));
    assert_eq!(told(), "welcome   behind 0 of 0, resumed");
    assert_eq!(told(), "live      has everything up to 0");
    let send = r#"{"type":"send","cid":"1","toUserId":"A","message":"hello"}"#;
    phone.send(send.into()).unwrap();
    assert_eq!(told(), "answer    queued");
    phone.close(None).unwrap();
    assert!(told().starts_with("close  "));
    let mut phone = program.user("A?v=2&device=phone");
    assert!(told().starts_with("open  "));
    assert_eq!(told(), "welcome   behind 0 of 1, resumed");
    assert_eq!(told(), "live      has everything up to 1");
    phone.send(r#"{"type":"ack","seq":1}"#.into()).unwrap();
    assert_eq!(told(), "ack       up to 1");
}

#[test]
fn tail_with_json_prints_each_event_as_an_object() {
    let folder = Folder::new();
    let key = folder.file("key", &format!("{KEY}\n"));
    let (program, api) = server(["127.0.0.1:0"; 2], &["--api-key-file", &key]);
    let user = program.user("A");
    let tail = Tail::start(&["A", "--url", &api, "--key-file", &key, "--json"]);
    let began: Value = serde_json::from_str(&tail.out.next().unwrap()).unwrap();
    assert_eq!((&began["event"], &began["user"]), (&"trace".into(), &"A".into()));
    assert_eq!(began["connections"].as_array().map(Vec::len), Some(1));
    assert!(began["time"].as_u64() > Some(1_700_000_000_000));
    drop(user);
    let closed: Value = serde_json::from_str(&tail.out.next().unwrap()).unwrap();
    assert_eq!(closed["event"], "close");
}

#[test]
fn tail_connects_again_after_a_restart_of_the_server() {
    let (mut program, api) = server(["127.0.0.1:0"; 2], &[]);
    let addresses = [program.addr().to_owned(), api.strip_prefix("http://").unwrap().to_owned()];
    let tail = Tail::start(&["A", "--url", &api]);
    assert!(tail.line().contains("trace     A"));
    program.stop();
    let notice = tail.notices.next().unwrap();
    assert!(notice.contains("gone away") && notice.contains("1001"), "{notice}");
    assert!(notice.contains("trying again"), "{notice}");
    let (program, _) = server([&addresses[0], &addresses[1]], &[]);
    assert!(tail.line().contains("trace     A"));
    let _user = program.user("A");
    assert!(tail.line().contains("  open  "));
}

#[test]
fn tail_says_in_one_line_why_it_cannot_connect() {
    let folder = Folder::new();
    let key = folder.file("key", &format!("{KEY}\n"));
    let other = folder.file("other", &KEY.to_uppercase());
    let (program, api) = server(["127.0.0.1:0"; 2], &["--api-key-file", &key]);
    let main = format!("http://{}", program.addr());

    for args in [&["--url", &api][..], &["--url", &main], &["--url", &api, "--key-file", &other]] {
        let (code, err) = failing(args);
        assert!(code == 1 && err.contains("401") && err.contains("--key-file"), "{err}");
    }
    let plain = Program::start(&[]);
    let (code, err) = failing(&["--url", &format!("http://{}", plain.addr())]);
    assert!(code == 1 && err.contains("no backend's interface") && err.contains("404"), "{err}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, err) = failing(&["--url", &format!("http://{closed}")]);
    assert!(code == 1 && err.contains("cannot reach") && err.contains("--api-listen"), "{err}");

    let mute = fake::serve(|mut stream| {
        fake::read_head(&mut stream);
        let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n");
    });
    let (code, err) = failing(&["--url", &format!("http://{mute}")]);
    assert!(code == 1 && err.contains("does not speak HTTP"), "{err}");

    let (code, err) = failing(&["--url", "127.0.0.1:9090"]);
    assert!(code == 2 && err.contains("--url") && err.contains("http://"), "{err}");
    let short = folder.file("short", "s3cr3t");
    let (code, err) = failing(&["--key-file", &short]);
    assert!(code == 2 && err.contains("32 to 1024 bytes") && !err.contains("s3cr3t"), "{err}");
}

#[cfg(feature = "tls")]
#[test]
fn tail_over_tls_trusts_only_the_given_root() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let files = Files::new(&folder, &authority.chain_at("127.0.0.1"));
    let (key, root) = (folder.file("key", KEY), folder.file("root.pem", &authority.root()));
    let program = Program::start(&[&files.flags()[..], &["--api-key-file", &key]].concat());
    let args = ["A", "--url", &program.addresses[0], "--key-file", &key];
    let (code, err) = failing(&args[1..]);
    assert!(code == 1 && err.contains("certificate"), "{err}");
    let tail = Tail::start(&[&args[..], &["--ca", &root]].concat());
    assert!(tail.line().contains("trace     A"));
}

#[test]
fn tail_gives_up_in_time_on_a_server_that_answers_byte_by_byte() {
    let addr = fake::serve(|mut stream| {
        fake::read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nX-Drip: ");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(std::time::Duration::from_secs(2));
        }
    });
    let began = std::time::Instant::now();
    let (code, err) = failing(&["--url", &format!("http://{addr}")]);
    assert!(code == 1 && err.contains("timed out"), "{err}");
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
}

#[test]
fn tail_does_not_collect_an_event_that_is_too_long() {
    let addr = fake::serve(|mut stream| {
        let head = fake::read_head(&mut stream);
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = tungstenite::handshake::derive_accept_key(key.unwrap_or_default().as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
        // The header of a text of 1 GiB.
        let _ = stream.write_all(&[0x81, 127, 0, 0, 0, 0, 0x40, 0, 0, 0]);
        while stream.write_all(&[b'x'; 4_096]).is_ok() {}
    });
    let tail = Tail::start(&["A", "--url", &format!("http://{addr}")]);
    let notice = tail.notices.next().unwrap();
    assert!(notice.contains("gone away") && notice.contains("1048576"), "{notice}");
}

#[test]
fn tail_ends_when_its_output_is_closed() {
    let (program, api) = server(["127.0.0.1:0"; 2], &[]);
    let mut child =
        longlink(&["tail", "A", "--url", &api]).stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let until = std::time::Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < until, "tail has not ended");
        drop(program.user("A"));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
