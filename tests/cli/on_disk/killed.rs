//! The program is killed at random moments and started again with the same file.
//!
//! `KILL_ROUNDS` sets how often (default 20), `KILL_SEED` when.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use longlink::sim::Rng;

use super::crowd::{Crowd, check, of_absent, read_absent};
use crate::network::Network;
use crate::program::{Folder, Program, shown};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// The flags of a server whose mailboxes have room for everything that a test writes.
pub const FLAGS: [&str; 10] = [
    "--close-timeout",
    "1",
    "--mailbox-messages",
    "1000000",
    "--mailbox-bytes",
    "500m",
    "--mailbox-memory",
    "1g",
    "--message-rate",
    "0",
];

fn start(file: &str) -> Program {
    Program::start(&[&["--store", file], &FLAGS[..]].concat())
}

pub fn addr_of(program: &Program) -> SocketAddr {
    program.addr().parse().expect("an address")
}

pub fn kill(program: &mut Program) {
    program.signal("KILL");
    program.child.wait().expect("it has ended");
}

#[test]
fn whatever_was_stored_is_there_once_and_under_its_number_however_often_the_server_is_killed() {
    let rounds = setting("KILL_ROUNDS").unwrap_or(20);
    let mut rng = Rng::new(setting("KILL_SEED").unwrap_or(1));
    let folder = Folder::new();
    let file = shown(&folder.path("messages.db"));
    let mut program = start(&file);
    let network = Network::to(addr_of(&program));
    let crowd = Crowd::connect(network.addr, 3, Duration::ZERO);
    for round in 1..=rounds {
        crowd.until("everybody is back", |crowd| crowd.is_back(round));
        let answered = crowd.answered() + rng.below(1_500);
        crowd.until("some messages are answered", |crowd| crowd.answered() >= answered);
        // A kill that follows an answer at once would always come at the same moment of a commit.
        let until = Instant::now() + Duration::from_micros(rng.below(20_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        kill(&mut program);
        program = start(&file);
        network.lead_to(addr_of(&program));
    }
    crowd.until("everybody is back", |crowd| crowd.is_back(rounds + 1));
    assert_eq!(crowd.queued(), 0, "a disk that is well keeps everything");
    let clients = crowd.finish();
    kill(&mut program);
    let mut program = start(&file);
    let answers = of_absent(&clients);
    let absent = read_absent(addr_of(&program), answers.len());
    check(&clients, &absent);
    let all: usize = clients.iter().map(|it| it.answered.len()).sum();
    let again: usize =
        clients.iter().flat_map(|it| &it.answered).filter(|it| it.is_duplicate).count();
    println!(
        "{rounds} rounds: {all} messages stored, {} of them for a user who was away; {again} were \
         repeated and recognised, {} came again and were dropped",
        answers.len(),
        clients.iter().map(|it| it.repeated.len()).sum::<usize>()
    );
    assert!(all as u64 > rounds * 100 && !answers.is_empty());
    assert!(again > 0 || rounds < 20, "no send was repeated whose answer was lost");
    program.stop();
}
