//! The timer wheel with a million deadlines.
//!
//! ```text
//! cargo bench --bench wheel
//! ```
//!
//! The benchmark measures what it costs to move one deadline, and to run a tick over a thousand
//! deadlines that are due. Its last line is `wheel: armed=… rearm_ns=… due_1000_us=…
//! with_moves_us=…`: medians, and the mean of all ticks, which includes ticks in which many
//! deadlines move to a finer level. It fails above the limits below.

mod support;

use std::iter;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use longlink::run::{TICK_MS, Wheel};
use support::{Samples, is_bench, order};

/// The longest time in which a deadline may be moved, in nanoseconds.
const MOST_REARM_NS: f64 = 60.0;
/// The longest time that a tick over [`DUE`] deadlines may take, in microseconds.
const MOST_DUE_US: f64 = 100.0;
/// How many deadlines are due in the measured tick.
const DUE: u32 = 1_000;
/// The idle timeout in milliseconds; deadlines are spread over this time.
const IDLE_MS: u64 = 60_000;

fn armed() -> u32 {
    if is_bench() { 1_000_000 } else { 10_000 }
}

/// A wheel at `now` with this many deadlines, spread over [`IDLE_MS`].
fn full_wheel(armed: u32) -> Wheel {
    let mut wheel = Wheel::with_capacity(armed as usize);
    for key in 0..armed {
        wheel.arm(key, IDLE_MS + u64::from(key) * IDLE_MS / u64::from(armed));
    }
    assert_eq!(wheel.len(), armed as usize);
    wheel
}

/// One deadline among all is moved to a later time, as a sign of life does.
fn rearm(criterion: &mut Criterion, samples: &Samples) {
    let armed = armed();
    let mut wheel = full_wheel(armed);
    let keys = order::shuffled(armed);
    let (mut at, mut later) = (0, 2 * IDLE_MS);
    criterion.bench_function(&format!("wheel/rearm one of {armed}"), |bencher| {
        samples.iter(bencher, || {
            wheel.arm(keys[at], later + at as u64 % IDLE_MS);
            at += 1;
            if at == keys.len() {
                (at, later) = (0, later + TICK_MS);
            }
        });
    });
    assert_eq!(wheel.len(), armed as usize);
}

/// A thousand deadlines, spread over the wheel, are due in each tick and get their next deadline.
/// One tick in 64 also moves all deadlines of a coarser slot. The mean, which criterion shows,
/// includes a share of this work; the median tick does not.
fn due(criterion: &mut Criterion, samples: &Samples) {
    let armed = armed();
    let ticks = u64::from(armed / DUE);
    let mut wheel = Wheel::with_capacity(armed as usize);
    for (position, key) in (0..).zip(order::shuffled(armed)) {
        wheel.arm(key, (1 + position / u64::from(DUE)) * TICK_MS);
    }
    let (mut now, mut popped) = (0, Vec::with_capacity(DUE as usize));
    let mut group = criterion.benchmark_group("wheel");
    group.throughput(Throughput::Elements(DUE.into()));
    group.bench_function(format!("{DUE} due of {armed}"), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut time = Duration::ZERO;
            for _ in 0..iterations {
                now += TICK_MS;
                popped.clear();
                let start = Instant::now();
                popped.extend(iter::from_fn(|| wheel.pop_due(now, &mut u32::MAX.clone())));
                let tick = start.elapsed();
                samples.record(1, tick);
                time += tick;
                assert_eq!(popped.len(), DUE as usize, "all of them, and each once");
                // What arming costs is measured above.
                popped.iter().for_each(|&key| wheel.arm(key, now + ticks * TICK_MS));
            }
            time
        });
    });
    group.finish();
}

/// A turn in which no deadline is due.
fn idle(criterion: &mut Criterion) {
    let armed = armed();
    let mut wheel = full_wheel(armed);
    criterion.bench_function(&format!("wheel/nothing due of {armed}"), |bencher| {
        bencher.iter(|| wheel.pop_due(std::hint::black_box(1), &mut 1));
    });
}

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    let (rearmed, came_due) = (Samples::default(), Samples::default());
    rearm(&mut criterion, &rearmed);
    due(&mut criterion, &came_due);
    idle(&mut criterion);
    criterion.final_summary();
    let measured = (rearmed.median(), came_due.median(), came_due.mean());
    let (Some(rearm_ns), Some(due_ns), Some(mean_ns)) = measured else { return ExitCode::SUCCESS };
    if !is_bench() {
        return ExitCode::SUCCESS;
    }
    let (due_us, mean_us) = (due_ns / 1_000.0, mean_ns / 1_000.0);
    println!(
        "wheel: armed={} rearm_ns={rearm_ns:.1} due_1000_us={due_us:.1} with_moves_us={mean_us:.1}",
        armed()
    );
    if rearm_ns > MOST_REARM_NS || due_us > MOST_DUE_US {
        eprintln!("more than {MOST_REARM_NS} ns to move one, or {MOST_DUE_US} µs for {DUE} due");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
