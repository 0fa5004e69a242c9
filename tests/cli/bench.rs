//! `longlink bench` against a server of the same program: each mode measures what its name says, and
//! all modes print their figures in one form.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Lines, Program, longlink, run};

/// Where users of a server connect.
pub fn url(server: &Program) -> String {
    format!("ws://{}/websocket/{{user}}", server.addr())
}

/// Runs a mode, which must end without an error. Returns its figures.
pub fn measured(server: &Program, mode: &str, args: &[&str]) -> Value {
    measured_at(server, &url(server), mode, args)
}

/// Runs the same mode with another URL of the server.
pub fn measured_at(server: &Program, url: &str, mode: &str, args: &[&str]) -> Value {
    let pid = server.child.id().to_string();
    let all = [&["bench", mode, url, "--json", "--pid", &pid], args].concat();
    let (code, out, err) = run(&mut longlink(&all));
    assert_eq!((code, err.as_str()), (0, ""), "{mode} {args:?}: {out}");
    let line = out.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "more than one line: {out}");
    serde_json::from_str(line).expect("one JSON object")
}

pub fn whole(figures: &Value, name: &str) -> u64 {
    figures[name].as_u64().unwrap_or_else(|| panic!("{name} is no whole number: {figures}"))
}

/// Checks the figures that every mode has to report.
pub fn assert_sound(figures: &Value) {
    for name in [
        "mode",
        "connections",
        "in_flight",
        "size",
        "operations",
        "seconds",
        "rate",
        "latency_us",
        "cpu_us_per_op",
        "user_us_per_op",
        "rss_bytes",
        "bytes_per_connection",
        "limits",
        "errors",
    ] {
        assert!(figures.get(name).is_some(), "{name} is missing: {figures}");
    }
    assert_eq!((whole(figures, "errors"), &figures["error"]), (0, &Value::Null));
    let operations = whole(figures, "operations") as f64;
    let (seconds, rate) = (figures["seconds"].as_f64().unwrap(), figures["rate"].as_f64().unwrap());
    assert!((rate * seconds / operations - 1.0).abs() < 0.01, "{figures}");
    let latency = ["p50", "p90", "p99", "p999", "max"]
        .map(|name| figures["latency_us"][name].as_f64().expect("a latency"));
    assert!(latency.is_sorted() && latency[0] > 0.0, "{figures}");
    let rss = ["before", "peak", "after"].map(|name| figures["rss_bytes"][name].as_u64().unwrap());
    assert!(rss[1] >= rss[0] && rss[2] > 0, "{figures}");
    assert!(figures["cpu_us_per_op"].as_f64() >= figures["user_us_per_op"].as_f64());
}

#[test]
fn bench_pingpong_keeps_the_given_number_of_pings_in_flight() {
    let server = Program::start(&[]);
    let args = ["--connections", "5", "--in-flight", "4", "--operations", "2000", "--warmup", "0"];
    let figures = measured(&server, "pingpong", &args);
    assert_sound(&figures);
    assert_eq!((whole(&figures, "connections"), whole(&figures, "in_flight")), (5, 4));
    // The run stops at the end of a turn, so there are at most as many more operations as can be in
    // flight.
    assert!((2_000..2_020).contains(&whole(&figures, "operations")), "{figures}");
    assert_eq!(figures["size"], Value::Null);
}

#[test]
fn bench_p2p_sends_messages_of_any_size() {
    let server = Program::start(&[]);
    // The lengths of the frames take seven, sixteen and sixty-four bits.
    for size in ["9", "64", "1k", "60k"] {
        let args = ["--connections", "6", "--in-flight", "3", "--size", size];
        let args = [&args[..], &["--operations", "300", "--warmup", "0.01"]].concat();
        let figures = measured(&server, "p2p", &args);
        assert_sound(&figures);
        assert!(whole(&figures, "operations") >= 300, "{figures}");
        assert_eq!(whole(&figures, "unmatched"), 0, "{figures}");
    }
    let larger = Program::start(&["--max-message", "1m", "--max-queue", "8m"]);
    let args = ["--connections", "2", "--size", "512k", "--operations", "20", "--warmup", "0"];
    assert_sound(&measured(&larger, "p2p", &args));
}

#[test]
fn bench_p2p_keeps_the_given_rate() {
    let server = Program::start(&[]);
    let args = ["--connections", "6", "--rate", "100", "--operations", "20", "--warmup", "0"];
    let figures = measured(&server, "p2p", &args);
    assert_sound(&figures);
    // The twentieth message is sent 190 ms after the first.
    assert!(figures["seconds"].as_f64().unwrap() >= 0.185, "{figures}");
}

#[test]
fn the_url_of_bench_may_have_other_text_around_the_user() {
    let server = Program::start(&[]);
    let url = format!("ws://{}/websocket/u-{{user}}.x?device=a", server.addr());
    let args = ["bench", "p2p", &url, "--connections", "2", "--operations", "10", "--json"];
    let (code, out, err) = run(&mut longlink(&args));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
}

#[test]
fn bench_fanout_counts_one_operation_for_each_receiver_of_a_broadcast() {
    let server = Program::start(&[]);
    let args = ["--connections", "7", "--in-flight", "3", "--operations", "700", "--warmup", "0"];
    let figures = measured(&server, "fanout", &args);
    assert_sound(&figures);
    // At most three broadcasts are in flight.
    assert!((700..=721).contains(&whole(&figures, "operations")), "{figures}");
    assert_eq!(whole(&figures, "connections"), 7);
}

#[test]
fn bench_fanout_keeps_the_given_rate() {
    let server = Program::start(&[]);
    let args = ["--connections", "3", "--rate", "50", "--operations", "30", "--warmup", "0"];
    let figures = measured(&server, "fanout", &args);
    assert_sound(&figures);
    // The tenth broadcast is sent 180 ms after the first.
    assert!(figures["seconds"].as_f64().unwrap() >= 0.175, "{figures}");
}

#[test]
fn bench_churn_opens_and_closes_connections_in_rounds() {
    let server = Program::start(&[]);
    let args = ["--in-flight", "4", "--operations", "40", "--warmup", "0", "--rounds", "2"];
    let figures = measured(&server, "churn", &args);
    assert_sound(&figures);
    assert!((80..90).contains(&whole(&figures, "operations")), "{figures}");
    assert_eq!(figures["rounds"].as_array().unwrap().len(), 2);
    assert_eq!(figures["bytes_per_connection"], Value::Null);
}

#[test]
fn bench_connect_holds_its_connections_in_rounds_and_closes_them_with_1000() {
    let mut server = Program::start(&["--log", "debug"]);
    let log = server.log();
    let args =
        ["--connections", "20", "--duration", "0.05", "--rounds", "3", "--first-user", "500"];
    let figures = measured(&server, "connect", &args);
    assert_sound(&figures);
    assert_eq!(whole(&figures, "operations"), 60);
    let rounds = figures["rounds"].as_array().unwrap();
    assert!(rounds.len() == 3 && rounds.iter().all(|round| round["rss_after"].is_u64()));
    server.stop();
    let lines = log.rest();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("open user 0000500"), count("open user 0000519")), (3, 3));
    assert_eq!(
        count("closed by peer (1000)"),
        60,
        "all connections were closed with a close frame"
    );
}

#[test]
fn bench_connect_keeps_the_given_rate() {
    let server = Program::start(&[]);
    let args = ["--connections", "6", "--rate", "25", "--duration", "0"];
    let figures = measured(&server, "connect", &args);
    assert_sound(&figures);
    assert!(figures["seconds"].as_f64().unwrap() >= 0.2, "{figures}");
}

#[test]
fn bench_heartbeat_sends_pings_on_every_connection() {
    let server = Program::start(&[]);
    let args = ["--connections", "4", "--ping-interval", "0.05", "--operations", "20"];
    let figures = measured(&server, "heartbeat", &[&args[..], &["--warmup", "0"]].concat());
    assert_sound(&figures);
    // The twentieth ping is sent 237 ms after the first.
    assert!(figures["seconds"].as_f64().unwrap() >= 0.23, "{figures}");
}

#[test]
fn bench_slow_sees_clients_that_do_not_read_dropped_while_the_others_get_everything() {
    let server = Program::start(&["--max-message", "8k", "--max-queue", "16k"]);
    let args = ["--connections", "10", "--stalled", "0.3", "--size", "4k", "--in-flight", "2"];
    let args = [&args[..], &["--warmup", "0", "--duration", "1.5"]].concat();
    let figures = measured(&server, "slow", &args);
    assert_sound(&figures);
    assert_eq!(figures["complete_and_in_order"], Value::Bool(true));
    let stalled = &figures["stalled"];
    assert_eq!((&stalled["count"], &stalled["disconnected"]), (&3.into(), &3.into()), "{figures}");
    assert!(stalled["last_after_seconds"].as_f64() >= stalled["first_after_seconds"].as_f64());
}

#[test]
fn bench_connects_from_the_given_source_addresses_in_turn() {
    let mut server = Program::start(&["--log", "debug"]);
    let log = server.log();
    let args = ["--connections", "4", "--duration", "0", "--source", "127.0.0.3,127.0.1.0/30"];
    assert_sound(&measured(&server, "connect", &args));
    server.stop();
    let lines = log.rest();
    for (address, times) in [("127.0.0.3", 2), ("127.0.1.1", 1), ("127.0.1.2", 1)] {
        let of = |line: &&String| {
            line.contains("open user") && line.contains(&format!("from {address}:"))
        };
        assert_eq!(lines.iter().filter(of).count(), times, "{address}: {lines:?}");
    }
}

#[test]
fn bench_adds_up_the_memory_of_several_processes() {
    let server = Program::start(&[]);
    let (url, pid) = (url(&server), server.child.id().to_string());
    let resident = |pids: &str| {
        let args = ["--operations", "10", "--warmup", "0", "--json", "--pid", pids];
        let (code, out, _) = run(&mut longlink(&[&["bench", "churn", &url], &args[..]].concat()));
        assert_eq!(code, 0, "{out}");
        let figures: Value = serde_json::from_str(&out).unwrap();
        figures["rss_bytes"]["before"].as_f64().unwrap()
    };
    let ratio = resident(&format!("{pid},{pid}")) / resident(&pid);
    assert!((1.7..2.3).contains(&ratio), "{ratio}");
}

#[test]
fn bench_without_json_prints_a_summary_of_a_few_lines() {
    let server = Program::start(&[]);
    let (url, pid) = (url(&server), server.child.id().to_string());
    let args = ["--connections", "4", "--operations", "400", "--warmup", "0", "--pid", &pid];
    let (code, out, err) = run(&mut longlink(&[&["bench", "p2p", &url], &args[..]].concat()));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("p2p: 4 connections, 1 in flight, messages of 64 bytes\n"), "{out}");
    for word in ["operations", "rate", "latency", "server", "generator", "memory"] {
        assert!(out.contains(&format!("\n  {word} ")), "{word} is missing: {out}");
    }
}

#[test]
fn bench_ends_at_a_signal_and_prints_what_it_has_measured() {
    let mut server = Program::start(&["--log", "debug"]);
    let log = server.log();
    let args = ["bench", "pingpong", &url(&server), "--connections", "2", "--warmup", "0"];
    let args = [&args[..], &["--duration", "1000", "--json"]].concat();
    let mut bench =
        longlink(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let lines = Lines::of(bench.stdout.take().unwrap());
    log.find("open user 0000002");
    let mut err = String::new();
    let kill = format!("kill -TERM {}", bench.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let figures: Value = serde_json::from_str(&lines.next().expect("a line")).unwrap();
    bench.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((bench.wait().unwrap().code(), err.as_str()), (Some(0), ""));
    assert_eq!((&figures["interrupted"], whole(&figures, "errors")), (&Value::Bool(true), 0));
}
