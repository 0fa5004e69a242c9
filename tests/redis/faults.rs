//! The faults of the simulated Redis are those that its comments promise.

use ::redis::Value;

use crate::redis::{ConnId, Cut, Got, ServerId, Survives, World, command};

fn world() -> (World, ServerId, ConnId) {
    let mut world = World::new(1);
    let server = world.add();
    let conn = world.connect(server).expect("a connection");
    (world, server, conn)
}

fn run(world: &mut World, conn: ConnId, line: &str) -> Vec<Got> {
    write(world, conn, line);
    let now = world.now;
    world.advance(now);
    world.read(conn)
}

fn write(world: &mut World, conn: ConnId, line: &str) {
    world.write(conn, &command(&line.split(' ').collect::<Vec<_>>()));
}

fn error(value: &Value) -> String {
    let Value::ServerError(error) = value else { panic!("{value:?} is no error") };
    format!("{} {}", error.code(), error.details().unwrap_or_default())
}

fn number(value: i64) -> Vec<Got> {
    vec![Got::Reply(Value::Int(value))]
}

fn field(world: &mut World, server: ServerId, name: &str) -> String {
    let Value::BulkString(text) = world.ask(server, &["info"]) else { panic!("no text") };
    let text = String::from_utf8(text).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.expect("the field").to_owned()
}

#[test]
fn a_cut_connection_has_run_and_answered_as_many_commands_as_the_test_says() {
    for runs in 0..=3 {
        for answers in 0..=runs {
            let (mut world, server, conn) = world();
            (0..3).for_each(|_| write(&mut world, conn, "incr n"));
            world.cut(conn, Cut { runs, answers });
            world.advance(1);
            let mut expected: Vec<Got> = (1..=answers).flat_map(|at| number(at as i64)).collect();
            expected.push(Got::Closed);
            assert_eq!(world.read(conn), expected, "{runs} run, {answers} answered");
            let count =
                if runs == 0 { Value::Nil } else { Value::BulkString(runs.to_string().into()) };
            assert_eq!(world.ask(server, &["get", "n"]), count);
        }
    }
}

#[test]
fn a_killed_server_starts_with_what_its_disk_had_a_new_run_id_and_no_scripts() {
    for (survives, left) in [
        (Survives::All, &b"3"[..]),
        (Survives::AllBut(1_000), b"2"),
        (Survives::AllBut(5_000), b"1"),
        (Survives::Nothing, b""),
    ] {
        let (mut world, server, conn) = world();
        run(&mut world, conn, "set n 1");
        run(&mut world, conn, "script load return");
        world.advance(3_000);
        run(&mut world, conn, "set n 2");
        world.advance(4_500);
        run(&mut world, conn, "set n 3");
        world.advance(5_000);
        let before = field(&mut world, server, "run_id");
        world.kill(server);
        assert_eq!(world.read(conn), [Got::Closed]);
        assert_eq!(world.connect(server), None);
        let lost = world.start(server, survives, 100);
        assert_eq!(
            lost,
            match left {
                b"2" => 1,
                b"1" => 2,
                _ => 0,
            }
        );
        assert_ne!(field(&mut world, server, "run_id"), before);
        assert_eq!(
            error(&world.ask(server, &["get", "n"])),
            "LOADING Redis is loading the dataset in memory"
        );
        world.advance(5_101);
        let value = if left.is_empty() { Value::Nil } else { Value::BulkString(left.into()) };
        assert_eq!(world.ask(server, &["get", "n"]), value);
        let gone = world.ask(server, &["evalsha", "63143b6f8007b98c53ca2149822777b3566f9241", "0"]);
        assert_eq!(error(&gone), "NOSCRIPT No matching script. Please use EVAL.");
    }
}

#[test]
fn a_frozen_server_accepts_and_runs_later_what_clients_have_written_that_are_gone() {
    let (mut world, server, conn) = world();
    world.freeze(server, true);
    let late = world.connect(server).expect("the kernel accepts");
    write(&mut world, late, "incr n");
    assert_eq!(run(&mut world, conn, "incr n"), []);
    assert_eq!(world.next_due(), None);
    world.advance(9_000);
    assert_eq!(world.read(conn), []);
    world.freeze(server, false);
    world.advance(9_000);
    let mut both: Vec<Got> = [world.read(conn), world.read(late)].concat();
    both.sort_by_key(|got| format!("{got:?}"));
    assert_eq!(both, [number(1), number(2)].concat());
}

#[test]
fn a_failover_loses_the_tail_that_the_replica_lacks_and_names_the_id_before() {
    let (mut world, server, conn) = world();
    let first = field(&mut world, server, "master_replid");
    world.attach_replica(server);
    let id = field(&mut world, server, "master_replid");
    assert_ne!(first, id, "the first replica changes the id of a healthy master");
    assert!(field(&mut world, server, "master_replid2").starts_with("000"));
    run(&mut world, conn, "set n 1");
    world.advance(500);
    run(&mut world, conn, "set n 2");
    world.advance(600);
    let (new, lost) = world.promote(server, 300);
    assert_eq!(lost, 1);
    assert_eq!(world.ask(new, &["get", "n"]), Value::BulkString(b"1".into()));
    assert_ne!(field(&mut world, new, "master_replid"), id);
    assert_eq!(field(&mut world, new, "master_replid2"), id);
    assert_ne!(field(&mut world, new, "run_id"), field(&mut world, server, "run_id"));
    // The old master still takes writes until it is told.
    assert_eq!(run(&mut world, conn, "set n 3"), [Got::Reply(Value::Okay)]);
    world.demote(server, new, false);
    let [Got::Reply(refused)] = &run(&mut world, conn, "set n 4")[..] else { panic!("no reply") };
    assert_eq!(error(refused), "READONLY You can't write against a read only replica.");
    assert_eq!(world.ask(server, &["get", "n"]), Value::BulkString(b"1".into()));
    let script = ["eval", "return redis.call('set', 'n', 1)", "0"];
    assert!(error(&world.ask(server, &script)).starts_with("READONLY You can't write"));
}

#[test]
fn a_deaf_subscriber_looks_healthy_and_gets_nothing_and_is_counted() {
    let (mut world, server, conn) = world();
    run(&mut world, conn, "subscribe c");
    assert_eq!(world.ask(server, &["publish", "c", "one"]), Value::Int(1));
    write(&mut world, conn, "ping");
    world.advance(1);
    let got = world.read(conn);
    let pong = Value::Array(vec![Value::BulkString(b"pong".into()), Value::BulkString(Vec::new())]);
    assert_eq!(got, [Got::Message(b"c".into(), b"one".into()), Got::Reply(pong.clone())]);
    world.deafen(conn, true);
    let publisher = world.connect(server).expect("a connection");
    assert_eq!(run(&mut world, publisher, "publish c two"), number(1));
    assert_eq!(run(&mut world, conn, "ping"), [Got::Reply(pong)]);
    world.vanish(conn);
    assert_eq!(run(&mut world, publisher, "publish c three"), number(1));
    world.bury(conn);
    assert_eq!(run(&mut world, publisher, "publish c four"), number(0));
}

#[test]
fn a_stalled_connection_goes_on_where_it_was_and_delays_keep_the_order() {
    let (mut world, _, conn) = world();
    world.set_delays(conn, 50, 50);
    (0..20).for_each(|_| write(&mut world, conn, "incr n"));
    world.stall(conn, true);
    world.advance(200);
    assert_eq!(world.read(conn), []);
    world.stall(conn, false);
    let mut got = Vec::new();
    while let Some(due) = world.next_due() {
        world.advance(due);
        got.extend(world.read(conn));
    }
    let expected: Vec<Got> = (1..=20).flat_map(number).collect();
    assert_eq!(got, expected);
}

#[test]
fn the_clock_of_a_server_can_jump_and_keys_expire_by_it() {
    let (mut world, server, conn) = world();
    run(&mut world, conn, "set lease x px 10000");
    world.advance(9_000);
    assert_eq!(world.ask(server, &["pttl", "lease"]), Value::Int(1_000));
    world.jump(server, -5_000);
    assert_eq!(world.ask(server, &["pttl", "lease"]), Value::Int(6_000));
    world.jump(server, 20_000);
    assert_eq!(world.ask(server, &["exists", "lease"]), Value::Int(0));
}
