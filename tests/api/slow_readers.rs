//! A user who does not read. Messages to such a user have equal results in one batch and in single requests.

use serde_json::Value;

use crate::client::{Client, place};

/// A message of sixty thousand bytes.
fn message(user: &str) -> String {
    format!(r#"{{"user":"{user}","message":"{}"}}"#, "x".repeat(60_000))
}

/// Sends six messages in one batch.
fn batch(backend: &mut Client, user: &str) -> Vec<String> {
    let messages = vec![message(user); 6].join(",");
    let (status, answer) = backend.post("/api/batch", &format!(r#"{{"messages":[{messages}]}}"#));
    assert_eq!(status, 200);
    states(&answer)
}

/// Sends the six messages at once, each in a request of its own.
fn pipelined(backend: &mut Client, user: &str) -> Vec<String> {
    let request = backend.request("POST", "/api/send", &message(user));
    backend.raw.send(request.repeat(6).as_bytes());
    let answers = (0..6).map(|_| backend.raw.answer().expect("an answer"));
    answers.flat_map(|it| states(&serde_json::from_slice(&it.body).unwrap())).collect()
}

fn states(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_user_who_reads_nothing_is_dropped_when_the_queue_is_full_and_then_is_offline() {
    let place = place();
    let mut backend = place.backend();
    for (user, send) in
        [("batch", batch as fn(&mut Client, &str) -> Vec<String>), ("pipelined", pipelined)]
    {
        let _reads_nothing = place.site.connect(user);
        let mut told = Vec::new();
        while !told.ends_with(&["offline".to_owned()]) {
            told.extend(send(&mut backend, user));
            // The messages fill the kernel's buffers and the queue, which holds 256 KiB.
            assert!(told.len() < 2_000, "{user} is never dropped");
        }
        let first = told.iter().position(|state| state == "offline").unwrap();
        assert!(told[..first].iter().any(|state| state == "sent"), "{user}: {told:?}");
        // After the user has gone every state is `offline`.
        assert!(told[first..].iter().all(|state| state == "offline"), "{user}: {told:?}");
        let slow = place.site.ask(|hub, _| hub.stats().slow_readers);
        assert_eq!(slow, if user == "batch" { 1 } else { 2 });
    }
}

#[test]
fn a_user_who_reads_is_never_busy_for_requests_that_follow_each_other() {
    let place = place();
    let mut backend = place.backend();
    let mut reads = place.site.connect("reads");
    for _ in 0..10 {
        assert_eq!(pipelined(&mut backend, "reads"), ["sent"; 6]);
        assert_eq!(reads.texts().len(), 6);
        // A batch is carried out in one turn, so it can be more than a queue holds.
        let told = batch(&mut backend, "reads");
        let delivered = told.iter().filter(|state| *state == "sent").count();
        assert!(told.iter().all(|state| state != "offline"), "{told:?}");
        assert!(delivered > 0 && reads.texts().len() == delivered);
    }
}
