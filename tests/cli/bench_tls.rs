//! `longlink bench` with `wss://`.

use serde_json::Value;

use crate::bench::{assert_sound, measured_at, whole};
use crate::certs::Authority;
use crate::program::{Folder, Program, longlink, run};
use crate::tls::{Files, addr};

/// A server with a certificate, its URL, and the file of the root that clients have to trust.
struct Site {
    server: Program,
    url: String,
    ca: String,
    _folder: Folder,
}

impl Site {
    fn start(args: &[&str]) -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        let files = Files::new(&folder, &authority.chain_at("127.0.0.1"));
        let server = Program::start(&[&files.flags(), args].concat());
        let url = format!("wss://{}/websocket/{{user}}", addr(&server));
        Site { ca: folder.file("root.pem", &authority.root()), server, url, _folder: folder }
    }

    fn measured(&self, mode: &str, args: &[&str]) -> Value {
        let args = [&["--ca", &self.ca], args].concat();
        let figures = measured_at(&self.server, &self.url, mode, &args);
        assert_sound(&figures);
        figures
    }
}

#[test]
fn bench_resumes_tls_sessions_unless_it_is_told_not_to() {
    let site = Site::start(&[]);
    let cycles = ["--in-flight", "2", "--operations", "40", "--warmup", "0"];
    for version in ["1.2", "1.3"] {
        let args = [&["--tls", version], &cycles[..]].concat();
        let figures = site.measured("churn", &args);
        let (full, resumed) = (whole(&figures["tls"], "full"), whole(&figures["tls"], "resumed"));
        assert!(
            (1..=2).contains(&full) && resumed >= 38,
            "only the first handshake of each client is a full one: {figures}"
        );
        let figures = site.measured("churn", &[&args[..], &["--no-resume"]].concat());
        let (full, resumed) = (whole(&figures["tls"], "full"), whole(&figures["tls"], "resumed"));
        assert!(full >= 40 && resumed == 0, "{figures}");
        assert_eq!(figures["tls"]["version"], version);
    }
}

#[test]
fn each_client_of_bench_resumes_its_own_tls_session() {
    let site = Site::start(&[]);
    let args = ["--connections", "20", "--duration", "0", "--rounds", "3"];
    let figures = site.measured("connect", &args);
    let (full, resumed) = (whole(&figures["tls"], "full"), whole(&figures["tls"], "resumed"));
    assert_eq!((full, resumed, whole(&figures, "operations")), (20, 40, 60));
}

#[test]
fn bench_writes_messages_that_are_longer_than_the_buffer_of_a_tls_session() {
    let site = Site::start(&["--max-message", "1m", "--max-queue", "8m"]);
    for (version, size) in [("1.2", "60k"), ("1.3", "512k")] {
        let args = ["--connections", "4", "--in-flight", "5", "--size", size, "--tls", version];
        let args = [&args[..], &["--operations", "60", "--warmup", "0"]].concat();
        let figures = site.measured("p2p", &args);
        assert!(whole(&figures, "operations") >= 60, "{figures}");
        assert_eq!(whole(&figures, "unmatched"), 0, "{figures}");
    }
}

#[test]
fn bench_slow_sees_clients_that_do_not_read_dropped_over_tls() {
    let site = Site::start(&["--max-message", "8k", "--max-queue", "16k"]);
    let args = ["--connections", "10", "--stalled", "0.3", "--size", "4k", "--in-flight", "2"];
    let figures =
        site.measured("slow", &[&args[..], &["--warmup", "0", "--duration", "1.5"]].concat());
    assert_eq!(figures["complete_and_in_order"], Value::Bool(true));
    assert_eq!(figures["stalled"]["disconnected"], 3, "{figures}");
}

#[test]
fn bench_refuses_a_certificate_that_it_does_not_trust() {
    let site = Site::start(&[]);
    let bench = |url: &str, args: &[&str]| {
        let first = ["bench", "churn", url, "--operations", "5", "--warmup", "0"];
        run(&mut longlink(&[&first, args].concat()))
    };
    let by_name = site.url.replace("127.0.0.1", "localhost");
    for (url, args) in [(&site.url, &[][..]), (&by_name, &["--ca", &site.ca])] {
        let (code, _, err) = bench(url, args);
        assert_eq!(code, 1, "{err}");
        for word in ["cannot connect", "certificate", "--ca FILE", "--insecure"] {
            assert!(err.contains(word), "{err} lacks {word:?}");
        }
    }
    assert_eq!(bench(&by_name, &["--insecure"]).0, 0);
    let (code, _, err) = bench(&site.url.replace("wss:", "ws:"), &["--timeout", "3"]);
    assert!(code == 1 && err.contains("400"), "{err}");
}

#[test]
fn bench_says_that_it_cannot_connect_over_tls_to_a_plain_port() {
    let server = Program::start(&[]);
    let url = format!("wss://{}/websocket/{{user}}", server.addr());
    let (code, _, err) = run(&mut longlink(&["bench", "churn", &url, "--timeout", "3"]));
    assert!(code == 1 && err.contains("cannot connect"), "{err}");
}
