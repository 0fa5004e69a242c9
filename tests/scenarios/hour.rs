//! The last hour that the server remembers, told by `GET /api/stats/hour`.

use longlink::backend::{ApiKey, Backend, BackendConfig};
use longlink::sim::frames::{Got, request};
use longlink::{Config, Relay, RelayConfig};
use serde_json::{Value, json};

use crate::{Link, enter, link_of, say};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn site() -> Link {
    let mut backend = BackendConfig::default();
    backend.keys = vec![ApiKey::new(KEY).unwrap()];
    let relay = Relay::new(RelayConfig::default()).with_backend(Backend::new(backend));
    link_of(Config::default(), relay)
}

/// Asks on a connection of its own, which ends then.
fn ask(link: &mut Link, path: &str) -> Value {
    let pipe = link.connect().expect("room");
    let fields = format!("Authorization: Bearer {KEY}\r\nConnection: close\r\n");
    link.send(pipe, &request("GET", path, &fields));
    link.settle();
    let Some(Got::Http(200, _, body)) = link.pipes[pipe].got.first() else {
        panic!("{path}: {:?}", link.pipes[pipe].got)
    };
    let answer = serde_json::from_slice(body).expect("JSON");
    link.finish(pipe);
    link.settle();
    answer
}

#[test]
fn the_hour_begins_with_the_first_client_and_has_a_sample_every_ten_seconds() {
    let mut link = site();
    link.advance(500_000);
    let alice = enter(&mut link, "alice");
    link.advance(9_000);
    let hour = ask(&mut link, "/api/stats/hour");
    assert_eq!((&hour["period"], &hour["now"]), (&json!(10), &json!(link.now)));
    assert_eq!((&hour["times"], &hour["series"]["users"]), (&json!([]), &json!([])), "too early");
    for _ in 0..5 {
        say(&mut link, alice, r#"{"toUserId":"alice","message":1}"#);
        say(&mut link, alice, r#"{"toUserId":"nobody","message":1}"#);
    }
    link.advance(12_000);
    let hour = ask(&mut link, "/api/stats/hour");
    let times = hour["times"].as_array().unwrap();
    assert_eq!(times.len(), 2, "{hour}");
    let between = times[1].as_u64().unwrap() - times[0].as_u64().unwrap();
    assert!((9_900..=10_100).contains(&between), "{times:?}");
    let series = |name: &str| &hour["series"][name];
    assert_eq!(series("users"), &json!([1.0, 1.0]));
    assert_eq!(series("connections"), &json!([1.0, 1.0]));
    let sum = |name: &str| {
        let values = series(name).as_array().unwrap();
        values.iter().map(|it| it.as_f64().unwrap() * 10.0).sum::<f64>().round()
    };
    assert_eq!((sum("received"), sum("sent"), sum("offline")), (10.0, 5.0, 5.0));
    assert_eq!((sum("lost"), sum("waiting")), (0.0, 0.0));
    assert!(sum("bytesIn") > 100.0 && sum("bytesOut") > 100.0);
    link.finish(alice);
    link.settle();
}

#[test]
fn the_hour_has_the_latest_360_samples_and_its_timer_wakes_the_loop_no_more_often() {
    let mut link = site();
    let alice = enter(&mut link, "alice");
    link.finish(alice);
    link.settle();
    let turns = link.turns;
    link.advance(3_600_000);
    let woken = link.turns - turns;
    assert!((360..=3 * 360).contains(&woken), "the loop has made {woken} turns");
    link.advance(1_000_000);
    let now = link.now;
    let hour = ask(&mut link, "/api/stats/hour");
    let times: Vec<u64> =
        hour["times"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    assert_eq!(times.len(), 360);
    assert!(times.is_sorted() && now - times[359] < 10_100 && now - times[0] < 3_610_000);
    for (name, values) in hour["series"].as_object().unwrap() {
        assert_eq!(values.as_array().unwrap().len(), 360, "{name}");
    }
}

#[test]
fn the_age_of_a_connection_is_told_with_its_user_and_with_all_users() {
    let mut link = site();
    let alice = enter(&mut link, "alice");
    link.advance(30_000);
    say(&mut link, alice, "ping");
    let phone = enter(&mut link, "alice?device=phone");
    let bob = enter(&mut link, "bob");
    link.advance(15_000);
    let user = ask(&mut link, "/api/users/alice");
    let mut ages: Vec<u64> = user["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["age"].as_u64().unwrap())
        .collect();
    ages.sort_unstable();
    assert_eq!(ages, [15, 45]);
    let online = ask(&mut link, "/api/online?details=true&contains=LI");
    let expected = json!([{"user":"alice","connections":2,"waiting":0,"age":45}]);
    assert_eq!((&online["count"], &online["users"]), (&json!(2), &expected));
    for pipe in [alice, phone, bob] {
        link.finish(pipe);
    }
    link.settle();
}
