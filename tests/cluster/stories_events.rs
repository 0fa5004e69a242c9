//! Stories of what the backend is told, and of copies for the other devices of a sender, step by step. Each ends as a random
//! run does: everything is healed, everybody comes back, and the model is asked.

use crate::model::To;
use crate::redis::Cut;
use crate::run::Run;

/// Seeds of quiet runs in which Redis loses nothing, and in which the backend is told of each message: with one Redis, and
/// with two.
const WHOLE: u64 = 0;
const TWO: u64 = 6;

/// The clients that the stories are about: two devices of a user, and one of another user.
const WRITER: usize = 5;
const DEVICE: usize = 0;
const OTHER_DEVICE: usize = 1;
const NODE: usize = 1;
const OTHER_NODE: usize = 0;

/// The writer is connected to a node, and in a group.
fn begin(seed: u64) -> Run {
    let mut run = Run::new(seed);
    run.advance(5_000);
    run.connect_to(WRITER, NODE);
    run.advance(500);
    run.change(WRITER, 0, true);
    run.advance(500);
    run
}

#[test]
fn the_backend_is_told_once_of_a_message_whose_node_is_killed_before_it_has_read_the_reply() {
    // How many commands Redis runs for the message until its event is there.
    let several = To::Users(vec![0, 1, 2]);
    for (seed, to, runs) in [
        (WHOLE, To::Users(vec![2]), 1),
        (WHOLE, several.clone(), 1),
        (WHOLE, To::Group(0), 3),
        (TWO, several, 1),
    ] {
        let mut run = begin(seed);
        run.cut_all_commands(NODE, Cut { runs, answers: runs - 1 });
        run.write_to(WRITER, &to, false);
        run.advance(90);
        run.kill_node(NODE);
        run.advance(1_000);
        run.connect_to(WRITER, OTHER_NODE);
        run.advance(1_000);
        run.finish();
    }
}

#[test]
fn the_backend_is_told_once_of_a_message_to_several_users_that_two_nodes_have_given_to_them() {
    for (seed, runs) in [(WHOLE, 1), (WHOLE, 2), (TWO, 1), (TWO, 2)] {
        let mut run = begin(seed);
        run.cut_all_commands(NODE, Cut { runs, answers: runs - 1 });
        run.write_to(WRITER, &To::Users(vec![0, 1, 2, 4]), false);
        run.advance(20);
        // The client goes to another node, and the first one comes to what is left.
        run.cut(WRITER);
        run.connect_to(WRITER, OTHER_NODE);
        run.advance(5_000);
        run.finish();
    }
}

#[test]
fn a_message_that_is_not_kept_does_not_come_back_to_its_device_when_the_device_has_connected_again()
{
    // The Redis of the receiver is frozen, and that of the sender is not.
    for (shard, receiver) in [(0, 2), (0, 4), (1, 2), (1, 4)] {
        let mut run = Run::new(TWO);
        run.advance(5_000);
        run.connect_to(DEVICE, NODE);
        run.connect_to(OTHER_DEVICE, NODE);
        run.advance(1_000);
        run.freeze_redis(shard, true);
        // This one is under way, so that the next one is surely not given to Redis.
        run.write_to(DEVICE, &To::Users(vec![receiver]), true);
        run.advance(50);
        run.write_to(DEVICE, &To::Users(vec![receiver]), true);
        run.advance(50);
        run.cut(DEVICE);
        run.connect_to(DEVICE, NODE);
        run.advance(10_000);
        run.freeze_redis(shard, false);
        run.advance(10_000);
        run.finish();
    }
}
