//! `longlink bench` in the dialect v2: acknowledged messages, and clients that are cut and resume.

use std::io::{Read, Write};

use serde_json::{Value, json};

use longlink::sim::frames;

use crate::bench::{assert_sound, measured, url, whole};
use crate::bench_failures::failed;
use crate::fake;
use crate::program::Program;

/// Reads the metrics of a server from its interface.
fn stats(server: &Program) -> Value {
    let request = "GET /api/stats HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let api = server.stdout.next().expect("the interface");
    let addr = api.strip_prefix("api on http://").expect("the announced form");
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn server() -> Program {
    let args = ["--message-rate", "0", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
    Program::spawn(&mut crate::program::longlink(&args), 1)
}

#[test]
fn bench_acknowledges_messages_and_counts_the_answers_to_its_sends() {
    let server = server();
    for (ack_every, args) in [("16", &[][..]), ("1", &["--ack-every", "1"])] {
        let more = ["--connections", "4", "--in-flight", "16", "--operations", "2000"];
        let args = [&more[..], &["--warmup", "0", "--v2"], args].concat();
        let figures = measured(&server, "p2p", &args);
        assert_sound(&figures);
        assert_eq!((&figures["dialect"], whole(&figures, "unmatched")), (&json!("v2"), 0));
        assert_eq!(figures["ack_every"].to_string(), ack_every);
        assert!((2_000..2_032).contains(&whole(&figures, "operations")), "{figures}");
    }
    let stats = stats(&server);
    let kept = whole(&stats["longlink_mailbox_messages_total"], "kept");
    assert!(kept >= 4_000, "{stats}");
    // The first run acknowledges up to 16 messages at a time, the second one each message.
    let acks = whole(&stats, "longlink_mailbox_acknowledgements_total");
    assert!((2_000 + 2_000 / 64..=kept).contains(&acks), "{acks} of {kept}");
}

#[test]
fn bench_sends_acknowledged_messages_at_the_given_rate() {
    let server = server();
    let args = ["--v2", "--connections", "2", "--rate", "100", "--operations", "20"];
    let figures = measured(&server, "p2p", &[&args[..], &["--warmup", "0"]].concat());
    assert_sound(&figures);
    // The twentieth message is sent 190 ms after the first.
    assert!(figures["seconds"].as_f64().unwrap() >= 0.185, "{figures}");
}

#[test]
fn bench_resume_cuts_all_clients_and_they_get_their_unacknowledged_messages_again() {
    let server = server();
    let args = ["--connections", "30", "--waiting", "5", "--size", "100", "--rounds", "3"];
    let figures = measured(&server, "resume", &args);
    assert_sound(&figures);
    assert_eq!((whole(&figures, "operations"), whole(&figures, "waiting")), (90, 5));
    let rounds = figures["rounds"].as_array().unwrap();
    assert!(rounds.len() == 3 && rounds.iter().all(|it| it["seconds"].as_f64() > Some(0.0)));
    assert_eq!((&figures["in_flight"], &figures["size"]), (&Value::Null, &json!(100)));
    let stats = stats(&server);
    assert_eq!(stats["longlink_mailbox_resumes_total"], 90, "{stats}");
    let messages = &stats["longlink_mailbox_messages_total"];
    assert_eq!((&messages["kept"], &messages["delivered"]), (&json!(450), &json!(900)));
    assert_eq!(stats["longlink_mailbox_waiting"], 0, "all messages were acknowledged");
}

#[test]
fn a_second_run_of_bench_is_not_disturbed_by_messages_of_the_first() {
    let server = server();
    for mode in ["resume", "p2p", "resume"] {
        let args: &[&str] = match mode {
            "p2p" => &["--v2", "--connections", "4", "--operations", "30", "--warmup", "0"],
            _ => &["--connections", "4", "--waiting", "0"],
        };
        assert_sound(&measured(&server, mode, args));
    }
}

#[test]
fn bench_reports_a_server_without_v2_and_options_that_do_not_fit() {
    let server = Program::start(&["--mailbox", "off"]);
    for (mode, args) in [("p2p", &["--v2", "--connections", "2"][..]), ("resume", &[])] {
        let (code, _, line) = failed(mode, &url(&server), args);
        assert_eq!(code, 1, "{line}");
        assert!(line.contains("the server does not speak longlink.v2"), "{line}");
    }
    let url = url(&server);
    for (mode, args, words) in [
        ("p2p", &["--ack-every", "2"][..], &["--ack-every", "--v2"][..]),
        ("p2p", &["--v2", "--ack-every", "65"], &["--ack-every", "1 to 64"]),
        ("pingpong", &["--v2"], &["--v2", "pingpong"]),
        ("resume", &["--waiting", "65"], &["--waiting", "0 to 64"]),
        ("resume", &["--duration", "5"], &["--duration", "resume"]),
        ("resume", &["--in-flight", "5"], &["--in-flight", "resume"]),
    ] {
        let (code, figures, line) = failed(mode, &url, args);
        assert_eq!((code, figures), (2, None), "{line}");
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
}

/// Starts a server that accepts every handshake and then sends these frames.
fn saying(texts: &'static [&'static str]) -> String {
    let addr = fake::serve(move |mut stream| {
        fake::read_head(&mut stream);
        let accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Protocol: longlink.v2\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let mut bytes = accepted.as_bytes().to_vec();
        for text in texts {
            bytes.extend(frames::server_frame(frames::TEXT, text.as_bytes()));
        }
        let _ = stream.write_all(&bytes);
        let mut rest = [0; 4_096];
        while matches!(stream.read(&mut rest), Ok(1..)) && rest[0] != 0x88 {}
    });
    format!("ws://{addr}/{{user}}")
}

#[test]
fn bench_reports_a_server_that_breaks_the_rules_of_v2() {
    const WELCOME: &str = r#"{"type":"welcome","epoch":"k3f9","seq":0,"cursor":0,"resumed":true}"#;
    const LIVE: &str = r#"{"type":"live","seq":0}"#;
    let short = ["--connections", "2", "--timeout", "0.5"];
    for (mode, texts, words) in [
        ("p2p", &[WELCOME][..], &["not live"][..]),
        ("p2p", &[WELCOME, LIVE], &["did not arrive, or was not answered"]),
        (
            "p2p",
            &[WELCOME, LIVE, r#"{"type":"gap","from":1,"to":1,"reason":"lost"}"#],
            &["gap", "lost"],
        ),
        ("resume", &[WELCOME], &["0 of 2 clients ready"]),
        ("resume", &[r#"{"type":"welcome","epoch":"NO"}"#], &["no welcome"]),
        ("resume", &[WELCOME, r#"{"type":"error","code":"full"}"#], &["full"]),
    ] {
        let more: &[&str] = if mode == "p2p" { &["--v2", "--warmup", "0"] } else { &[] };
        let more =
            if mode == "p2p" { [more, &["--operations", "5"]].concat() } else { more.into() };
        let (code, _, line) = failed(mode, &saying(texts), &[&short[..], &more].concat());
        assert_eq!(code, 1, "{mode} {texts:?}: {line}");
        assert!(words.iter().all(|word| line.contains(word)), "{mode} {texts:?}: {line}");
    }
}
