//! The user index, by how many users are online.
//!
//! ```text
//! cargo bench --bench users
//! ```
//!
//! Users are looked up in the way in which a message finds its receiver. They come by a handshake
//! and go when their connection is dropped, since the index has no other interface. The cost of a
//! connection without a user is measured for comparison.

mod support;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use longlink::ConnId;
use support::frames::{self, upgrade};
use support::line::{Lines, Listener};
use support::{is_bench, order};

fn sizes() -> &'static [u32] {
    if is_bench() { &[1_000, 10_000, 100_000, 1_000_000] } else { &[1_000] }
}

/// How many users come or go between two readings of the clock.
const BATCH: usize = 64;

struct Online {
    lines: Lines<Listener>,
    conns: Vec<ConnId>,
    /// The order in which users are looked up, and in which they go.
    order: Vec<u32>,
    /// How many batches of users have gone.
    batches: usize,
}

fn online(users: u32) -> Online {
    let mut lines = Lines::new(users as usize + BATCH, Listener::default());
    let mut conns = Vec::with_capacity(users as usize);
    for user in 0..users {
        conns.push(lines.connect(&mut head(user)));
        lines.turn();
    }
    assert_eq!(lines.hub.online(), users as usize);
    Online { lines, conns, order: order::shuffled(users), batches: 0 }
}

fn head(user: u32) -> Vec<u8> {
    upgrade(&format!("/{}", frames::user(user)))
}

fn find(criterion: &mut Criterion) {
    for &users in sizes() {
        let Online { lines, order, .. } = online(users);
        let mut group = criterion.benchmark_group("users");
        // The ids are made before, because making an id takes longer than finding it. Only some are
        // made, because otherwise the ids would not be in the cache.
        let ids = |numbers: &mut dyn Iterator<Item = u32>| -> Vec<String> {
            numbers.take(4_096).map(frames::user).collect()
        };
        let here = ids(&mut order.iter().copied());
        let gone = ids(&mut (users..));
        for (name, ids, expected) in [("find", &here, true), ("miss", &gone, false)] {
            let mut ids = ids.iter().cycle();
            group.bench_function(BenchmarkId::new(name, users), |bencher| {
                bencher.iter(|| {
                    let id = ids.next().expect("an endless circle");
                    assert_eq!(lines.hub.is_online(id), expected);
                });
            });
        }
        group.finish();
    }
}

fn come_and_go(criterion: &mut Criterion) {
    for &users in sizes() {
        let mut online = online(users);
        let mut group = criterion.benchmark_group("users");
        let (come, go) = (Watch::Coming, Watch::Going);
        for (name, named, watch) in [
            ("insert", true, come),
            ("insert nobody", false, come),
            ("remove", true, go),
            ("remove nobody", false, go),
        ] {
            group.bench_function(BenchmarkId::new(name, users), |bencher| {
                bencher.iter_custom(|iterations| {
                    let batches = iterations.div_ceil(BATCH as u64);
                    let time: Duration =
                        (0..batches).map(|_| batch(&mut online, named, watch)).sum();
                    // The time for as many users as criterion asked for.
                    time.mul_f64(iterations as f64 / (batches * BATCH as u64) as f64)
                });
            });
        }
        group.finish();
        assert_eq!(online.lines.hub.online(), users as usize);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Watch {
    Coming,
    Going,
}

/// Some users, spread over the index, go and come back; or as many connections without a user come
/// and go. Returns the time of the part that is watched.
fn batch(online: &mut Online, named: bool, watch: Watch) -> Duration {
    let Online { lines, conns, order, batches } = online;
    let (moving, users): (Vec<ConnId>, Vec<u32>) = if named {
        let users: Vec<u32> = order
            .iter()
            .copied()
            .cycle()
            .skip(*batches * BATCH % order.len())
            .take(BATCH)
            .collect();
        *batches += 1;
        (users.iter().map(|&user| conns[user as usize]).collect(), users)
    } else {
        let nobody: Vec<ConnId> = (0..BATCH).map(|_| lines.connect(&mut upgrade("/"))).collect();
        lines.turn();
        (nobody, Vec::new())
    };
    let start = Instant::now();
    for conn in moving {
        lines.hub.abort(conn);
    }
    let going = start.elapsed();
    lines.turn();

    let mut heads: Vec<Vec<u8>> = match named {
        true => users.iter().map(|&user| head(user)).collect(),
        false => vec![upgrade("/"); BATCH],
    };
    let start = Instant::now();
    let came: Vec<ConnId> = heads.iter_mut().map(|head| lines.connect(head)).collect();
    let coming = start.elapsed();
    lines.turn();
    if named {
        for (&user, conn) in users.iter().zip(came) {
            conns[user as usize] = conn;
        }
    } else {
        came.into_iter().for_each(|conn| lines.hub.abort(conn));
        lines.turn();
    }
    if watch == Watch::Coming { coming } else { going }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = find, come_and_go }
criterion_main!(benches);
