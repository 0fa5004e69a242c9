//! A disk of a few megabytes is filled and emptied while clients write to each other.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::crowd::{Crowd, check, of_absent, read_absent};
use super::killed::{FLAGS, addr_of, kill};
use crate::network::Network;
use crate::program::{DEADLINE, Folder, Program, shown};

/// A small disk in memory, which exists in a name space of its own as long as this value.
struct SmallDisk {
    keeper: Child,
    /// Where a program that is started with [`SmallDisk::start`] finds the disk.
    inside: PathBuf,
    _folder: Folder,
}

impl SmallDisk {
    fn new(bytes: u64) -> Self {
        let folder = Folder::new();
        let inside = folder.path("disk");
        std::fs::create_dir(&inside).expect("a folder");
        let mount =
            format!("mount -t tmpfs -o size={bytes} disk {} && echo ready && cat", shown(&inside));
        let mut keeper = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux is there");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(
            line, "ready\n",
            "this test needs a small disk: `unshare --map-root-user --mount` and a mount of tmpfs must be \
             allowed here (kernel.unprivileged_userns_clone, or root)"
        );
        SmallDisk { keeper, inside, _folder: folder }
    }

    /// A path on the disk as this process finds it.
    fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.inside.strip_prefix("/").expect("an absolute path")).join(name)
    }

    /// Starts a server that keeps its messages on the disk.
    fn start(&self) -> Program {
        Program::spawn(self.command().args(FLAGS), 1)
    }

    /// A server that keeps its messages on the disk.
    fn command(&self) -> Command {
        let keeper = self.keeper.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &keeper, "--user", "--preserve-credentials", "--mount"]);
        command.args([env!("CARGO_BIN_EXE_longlink"), "--listen", "127.0.0.1:0", "--store"]);
        command.arg(self.inside.join("messages.db")).stdin(Stdio::null());
        command
    }

    /// Writes a file until the disk is full.
    fn fill(&self) {
        let mut file = File::create(self.path("filler")).expect("a file");
        for size in [64 << 10, 512] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path("filler")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// The status and the body of the health check.
fn health(program: &Program) -> (u16, String) {
    use std::io::Read;
    let mut stream = program.connect();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer[9..12].parse().expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The longest time that a heartbeat took of so many.
fn longest_heartbeat(program: &Program, count: u32) -> Duration {
    let mut user = program.user("heart");
    let beat = |_| {
        let began = Instant::now();
        user.send("ping".into()).expect("it is open");
        user.read().expect("a pong");
        began.elapsed()
    };
    (0..count).map(beat).max().expect("one")
}

#[test]
fn while_a_disk_is_full_messages_are_queued_and_they_are_on_disk_when_there_is_room_again() {
    let disk = SmallDisk::new(32 << 20);
    let mut program = disk.start();
    let crowd = Crowd::connect(addr_of(&program), 2, Duration::from_millis(2));
    crowd.until("some messages are stored", |crowd| crowd.answered() >= 200);
    assert_eq!(crowd.queued(), 0);
    assert_eq!(health(&program).0, 200);

    disk.fill();
    crowd.until("messages are queued", |crowd| crowd.queued() >= 200);
    let (status, body) = health(&program);
    assert_eq!(status, 200, "the server still delivers");
    assert!(body.contains(r#""state":"full""#), "{body}");
    // A loop that waited for the disk would answer no heartbeat meanwhile. A second is long on any machine.
    let longest = longest_heartbeat(&program, 50);
    assert!(longest < Duration::from_secs(1), "a heartbeat took {longest:?}");

    disk.make_room();
    until("the disk has room", || health(&program).1.contains(r#""store":{"state":"ok"}"#));
    let (queued, answered) = (crowd.queued(), crowd.answered());
    crowd.until("messages are stored again", |crowd| crowd.answered() >= answered + 200);
    // Those that were given when the last queued ones were written may still have been answered so.
    assert!(crowd.queued() - queued < 100, "of 200 messages many were only queued");
    let clients = crowd.finish();

    // Everything that was queued is on disk: the program is killed, and so has nothing else.
    kill(&mut program);
    let mut program = disk.start();
    let answers = of_absent(&clients);
    let queued = answers.iter().filter(|it| it.state == "queued").count();
    assert!(queued > 10, "messages to a user who was away were queued: {queued}");
    let absent = read_absent(addr_of(&program), answers.len());
    check(&clients, &absent);
    println!(
        "{} messages of a user who was away, {queued} of them while the disk was full",
        answers.len()
    );
    program.stop();
}

#[test]
fn a_server_that_is_started_on_a_full_disk_serves_and_writes_what_came_when_there_is_room() {
    let disk = SmallDisk::new(16 << 20);
    let mut program = disk.start();
    let network = Network::to(addr_of(&program));
    let crowd = Crowd::connect(network.addr, 2, Duration::from_millis(2));
    crowd.until("some messages are stored", |crowd| crowd.answered() >= 200);
    assert_eq!(crowd.queued(), 0);
    kill(&mut program);
    disk.fill();

    program = disk.start();
    network.lead_to(addr_of(&program));
    crowd.until("messages are queued", |crowd| crowd.queued() >= 200);
    let (status, body) = health(&program);
    assert_eq!(status, 200, "the server delivers");
    assert!(body.contains(r#""state":"full""#), "{body}");
    disk.make_room();
    until("the disk has room", || health(&program).1.contains(r#""store":{"state":"ok"}"#));
    let answered = crowd.answered();
    crowd.until("messages are stored again", |crowd| crowd.answered() >= answered + 200);
    let clients = crowd.finish();
    kill(&mut program);

    let mut program = disk.start();
    check(&clients, &read_absent(addr_of(&program), of_absent(&clients).len()));
    program.stop();
}

#[test]
fn a_new_file_on_a_full_disk_ends_the_start_with_the_exit_code_after_which_it_is_tried_again() {
    let disk = SmallDisk::new(256 << 10);
    disk.fill();
    let (code, out, err) = crate::program::run(&mut disk.command());
    assert_eq!((code, &*out), (1, ""), "{err}");
    assert_eq!(err.lines().count(), 1, "one line says why: {err}");
    assert!(err.contains("messages.db"), "{err}");
    let left = disk.path("messages.db");
    assert!(!Path::new(&left).exists() || left.metadata().unwrap().len() == 0, "nothing is left");
}
