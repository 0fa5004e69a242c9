//! What the interface tells of the file in which messages are kept, and copies of that file.

use longlink::Handler;
use longlink::backend::ApiKey;
use longlink::keeping::{
    Append, Backup, Completed, Completion, Counts, Health, Journal, Kept, Numbers, Progress,
    Question, Ticket,
};
use longlink::{Relay, RelayConfig};
use serde_json::json;

use crate::client::{KEY, Place, place, place_of};

/// A journal with made-up numbers, which makes copies when the test says so.
#[derive(Debug)]
struct OnDisk;

impl Journal for OnDisk {
    fn epoch(&self) -> &str {
        "disk1"
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn health(&self) -> Health {
        Health::Full
    }

    fn numbers(&self) -> Option<Numbers> {
        let mut numbers = Numbers::default();
        numbers.commit_micros =
            Counts { sum: 5_000, buckets: vec![(Some(1_000), 2), (Some(4_000), 1), (None, 0)] };
        numbers.commit_requests =
            Counts { sum: 70, buckets: vec![(Some(1), 1), (Some(64), 2), (None, 0)] };
        (numbers.failed_commits, numbers.queued, numbers.queued_bytes) = (1, 2, 300);
        (numbers.unwritten, numbers.unwritten_bytes, numbers.given_up) = (4, 500, 6);
        (numbers.file_bytes, numbers.wal_bytes, numbers.limit_bytes) = (7_000, 800, 9_000);
        (numbers.free_bytes, numbers.segments, numbers.dropped_by_size) = (Some(0), 11, 12);
        (numbers.damaged, numbers.oldest_millis) = (13, 1_764_000_000_500);
        Some(numbers)
    }

    fn back_up(&mut self, _: Ticket) -> Progress {
        Progress::Later
    }

    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, _: Ticket, _: &Append<'_>) -> Progress {
        Progress::Done(Completion::Appended(Kept::default()))
    }

    fn acknowledge(&mut self, _: Ticket, _: &str, _: &str, _: u64) -> Progress {
        Progress::Done(Completion::Acknowledged)
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, _: Ticket, _: &str, _: u64) -> Progress {
        Progress::Done(Completion::Forgotten)
    }
}

fn on_disk() -> Place {
    let relay = Relay::new(RelayConfig::default()).with_journal(Box::new(OnDisk));
    place_of(relay, |config| config.keys = vec![ApiKey::new(KEY).unwrap()])
}

/// The worker of the journal has ended its copy in this way. Its ticket is the one that the relay
/// has for copies.
fn end_copy(place: &Place, result: Result<Backup, String>) {
    place.site.ask(move |cx, relay| {
        let completion = Completion::BackedUp(result.clone());
        relay.on_event(cx, Completed { ticket: Ticket::MAX - 1, completion }.into());
    });
}

#[test]
fn a_copy_of_the_file_is_begun_once_at_a_time_and_asked_for_until_it_is_complete() {
    let place = on_disk();
    let mut backend = place.backend();
    let path = "/api/store/backup";
    assert_eq!(backend.get(path), (200, json!({"state": "never"})));
    assert_eq!(backend.post(path, "{}"), (200, json!({"state": "running"})));
    let (status, answer) = backend.post(path, "{}");
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("backup_running")));
    assert_eq!(backend.get(path), (200, json!({"state": "running"})));

    end_copy(&place, Ok(Backup { path: "/x/y.backup".to_owned(), bytes: 4_096 }));
    let done = json!({"state": "done", "path": "/x/y.backup", "bytes": 4_096});
    assert_eq!(backend.get(path), (200, done));

    assert_eq!(backend.post(path, "{}").0, 200, "after a copy the next one may begin");
    end_copy(&place, Err("no space".to_owned()));
    assert_eq!(backend.get(path), (200, json!({"state": "failed", "why": "no space"})));
    let (status, answer) = backend.post(path, r#"{"to":"/etc/passwd"}"#);
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("unknown_field")));
}

#[test]
fn a_server_that_keeps_messages_in_its_memory_has_no_file_to_copy() {
    let place = place();
    let mut backend = place.backend();
    for method in ["GET", "POST"] {
        let body = if method == "POST" { "{}" } else { "" };
        let (status, answer) = backend.ask(method, "/api/store/backup", body);
        assert_eq!((status, &answer["error"]["code"]), (404, &json!("store_off")), "{method}");
    }
    let (_, stats) = backend.get("/api/stats");
    assert!(stats.as_object().unwrap().keys().all(|name| !name.starts_with("longlink_store")));
}

#[test]
fn the_metrics_have_the_numbers_of_the_file_and_name_its_state() {
    let place = on_disk();
    let mut backend = place.backend();
    let (_, stats) = backend.get("/api/stats");
    for (name, value) in [
        ("longlink_store_state", json!({"ok": 0, "full": 1, "failed": 0})),
        (
            "longlink_store_commit_seconds",
            json!({"sum": 0.005, "count": 3, "buckets": [{"le": 0.001, "count": 2},
                {"le": 0.004, "count": 1}, {"le": null, "count": 0}]}),
        ),
        (
            "longlink_store_commit_requests",
            json!({"sum": 70, "count": 3, "buckets": [{"le": 1, "count": 1},
                {"le": 64, "count": 2}, {"le": null, "count": 0}]}),
        ),
        ("longlink_store_commits_failed_total", json!(1)),
        ("longlink_store_queued", json!(2)),
        ("longlink_store_memory_bytes", json!({"queued": 300, "unwritten": 500})),
        ("longlink_store_unwritten", json!(4)),
        ("longlink_store_given_up_total", json!(6)),
        ("longlink_store_size_bytes", json!({"file": 7_000, "wal": 800, "limit": 9_000})),
        ("longlink_store_free_bytes", json!(0)),
        ("longlink_store_segments", json!(11)),
        ("longlink_store_segments_dropped_total", json!(12)),
        ("longlink_store_damaged_total", json!(13)),
        ("longlink_store_oldest_seconds", json!(1_764_000_000.5)),
    ] {
        assert_eq!(stats[name], value, "{name}");
    }
    let answer = backend.answer("GET", "/metrics", "");
    let text = String::from_utf8(answer.body).unwrap();
    for line in [
        "longlink_store_commit_seconds_bucket{le=\"0.004\"} 3",
        "longlink_store_commit_seconds_bucket{le=\"+Inf\"} 3",
        "longlink_store_state{state=\"full\"} 1",
        "longlink_store_given_up_total 6",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is missing in {text}");
    }
}
