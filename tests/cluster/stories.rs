//! Stories of faults that random runs have found, step by step. Each ends as a random run does: everything is
//! healed, everybody comes back, and the model is asked.

use crate::model::To;
use crate::redis::{Cut, Survives};
use crate::run::Run;

/// Seeds of quiet runs with one Redis: in the first one Redis loses nothing, in the second one it may.
const WHOLE: u64 = 0;
const FRAIL: u64 = 1;

/// The clients and the page that the stories are about, and their users.
const READER: usize = 4;
const READERS_USER: usize = 2;
const WRITER: usize = 5;
const PAGES_USER: usize = 1;
const BESIDE_THE_PAGE: usize = 3;
const PAGE: usize = 2;

fn user(user: usize) -> To {
    To::Users(vec![user])
}

/// The reader and the writer are connected to different nodes.
fn begin(seed: u64) -> Run {
    let mut run = Run::new(seed);
    run.advance(5_000);
    run.connect_to(READER, 0);
    run.connect_to(WRITER, 1);
    run.advance(500);
    run
}

fn write(run: &mut Run, count: usize, to: &To) {
    for _ in 0..count {
        run.write_to(WRITER, to, false);
        run.advance(5);
    }
}

#[test]
fn the_last_number_in_a_mailbox_that_a_failover_has_lost_is_unknown_also_two_epochs_later() {
    let mut run = begin(FRAIL);
    write(&mut run, 3, &user(READERS_USER));
    run.cut(READER);
    // The replica does not know the reader.
    run.fail_over(0, 1_500);
    run.advance(20_000);
    run.connect_to(WRITER, 1);
    run.advance(500);
    write(&mut run, 5, &user(READERS_USER));
    run.kill_redis(0);
    run.start_redis(0, Survives::All, 0);
    run.advance(20_000);
    run.finish();
}

#[test]
fn an_acknowledgement_of_an_earlier_epoch_acknowledges_nothing_in_a_new_one() {
    for wait in [200, 400, 600, 800] {
        let mut run = begin(FRAIL);
        write(&mut run, 3, &user(READERS_USER));
        // The reader acknowledges, and its node waits for more before it tells Redis.
        run.advance(1_000);
        run.kill_redis(0);
        run.advance(10);
        run.start_redis(0, Survives::Nothing, 0);
        run.advance(wait);
        run.connect_to(WRITER, 1);
        write(&mut run, 3, &user(READERS_USER));
        run.advance(5_000);
        run.finish();
    }
}

#[test]
fn a_page_of_the_older_dialect_hides_no_message_that_a_client_of_its_user_has_missed() {
    let mut run = begin(WHOLE);
    run.connect_to(BESIDE_THE_PAGE, 0);
    run.connect_page_to(PAGE, 0);
    run.advance(500);
    run.cut_subscriber(0, 0);
    write(&mut run, 3, &user(PAGES_USER));
    run.advance(3_000);
    write(&mut run, 1, &user(PAGES_USER));
    run.advance(500);
    run.finish();
}

#[test]
fn a_message_to_several_users_or_to_a_group_is_not_overtaken_by_a_later_one_to_one_of_them() {
    for seed in [WHOLE, WHOLE + 2] {
        let mut run = begin(seed);
        for (client, node) in [(0, 0), (1, 2), (2, 0)] {
            run.connect_to(client, node);
        }
        run.advance(500);
        run.change(0, 0, true);
        run.change(WRITER, 0, true);
        run.advance(500);
        for to in [To::Users(vec![0, 1, READERS_USER]), To::Group(0)] {
            for to in [&to, &user(0), &user(READERS_USER), &to, &user(1), &user(0)] {
                run.write_to(WRITER, to, false);
            }
            run.advance(500);
        }
        run.finish();
    }
}

#[test]
fn a_message_to_a_group_that_nobody_is_in_comes_to_the_other_devices_of_its_sender() {
    let mut run = begin(WHOLE);
    run.connect_to(0, 0);
    run.connect_to(1, 1);
    run.advance(500);
    run.change(0, 0, true);
    run.advance(500);
    run.change(1, 0, false);
    // The node of the sender does not know yet that the user has left.
    run.write_to(0, &To::Group(0), false);
    run.advance(500);
    run.finish();
}

#[test]
fn without_room_in_redis_a_message_that_is_only_passed_on_does_not_come_twice() {
    let mut run = begin(WHOLE);
    run.connect_page_to(0, 0);
    run.advance(500);
    run.fill_redis(0, true);
    write(&mut run, 1, &user(4));
    run.advance(1_000);
    run.fill_redis(0, false);
    run.advance(5_000);
    run.finish();
}

#[test]
fn a_user_is_told_to_be_offline_also_if_a_message_finds_first_that_the_node_has_died() {
    let mut run = begin(WHOLE);
    run.kill_node(0);
    for _ in 0..300 {
        write(&mut run, 1, &user(READERS_USER));
        run.advance(45);
    }
    run.advance(10_000);
    assert_eq!(run.told_online(READERS_USER), Some(false));
    run.finish();
}

#[test]
fn a_redis_whose_memory_is_full_is_not_asked_for_room_for_events_all_the_time() {
    let mut run = begin(WHOLE);
    run.fill_redis(0, true);
    run.see_something(1, READERS_USER);
    let before = run.commands();
    run.advance(10_000);
    assert!(run.commands() < before + 500, "{}", run.commands() - before);
    run.fill_redis(0, false);
    run.finish();
}

#[test]
fn a_device_goes_on_where_it_was_also_if_more_waits_for_another_one_than_one_reply_has() {
    let mut run = begin(WHOLE);
    run.connect_to(BESIDE_THE_PAGE, 0);
    run.connect_to(BESIDE_THE_PAGE - 1, 1);
    run.advance(500);
    run.cut(BESIDE_THE_PAGE - 1);
    for _ in 0..10 {
        write(&mut run, 30, &user(PAGES_USER));
        run.advance(1_500);
    }
    // It has had all of them, and goes to another node.
    run.cut(BESIDE_THE_PAGE);
    run.advance(500);
    run.connect_to(BESIDE_THE_PAGE, 2);
    run.advance(500);
    write(&mut run, 30, &user(PAGES_USER));
    run.finish();
}

#[test]
fn a_user_whose_leaving_a_restart_has_forgotten_is_not_online_for_ever() {
    let mut run = begin(FRAIL);
    run.connect_to(BESIDE_THE_PAGE, 0);
    run.advance(3_000);
    run.cut(READER);
    run.advance(300);
    run.kill_redis(0);
    run.start_redis(0, Survives::AllBut(1_000), 0);
    run.advance(20_000);
    assert_eq!(run.told_online(READERS_USER), Some(false));
    run.finish();
}

#[test]
fn an_epoch_of_events_that_a_failover_has_lost_gives_its_name_to_no_other_one() {
    let mut run = begin(FRAIL);
    run.see_something(1, READERS_USER);
    run.advance(1_000);
    // The name of an epoch has its time, which has to be above that of the one before.
    run.set_clock(0, -60_000);
    run.fail_over(0, 0);
    run.advance(9_000);
    run.see_something(1, READERS_USER);
    run.advance(2_000);
    // The replica does not know that there was this epoch.
    run.fail_over(0, 11_500);
    run.advance(9_000);
    run.see_something(1, READERS_USER);
    run.advance(2_000);
    run.finish();
}

#[test]
fn a_message_of_a_page_does_not_come_twice_if_redis_is_lost_before_its_reply() {
    for runs in 1..8 {
        let mut run = begin(WHOLE);
        run.connect_to(BESIDE_THE_PAGE, 0);
        run.connect_page_to(PAGE, 0);
        run.advance(1_000);
        run.cut_commands(0, 0, Cut { runs, answers: runs - 1 });
        for _ in 0..4 {
            run.write_as_page(PAGE, PAGES_USER);
            run.advance(0);
        }
        run.advance(10_000);
        run.finish();
    }
}
