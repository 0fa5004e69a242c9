//! Times.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Bencher;

/// The shortest time of an operation over several samples: whatever else the
/// machine does only adds to it.
#[derive(Debug)]
pub struct Best(Cell<f64>);

impl Best {
    pub const fn new() -> Self {
        Best(Cell::new(f64::INFINITY))
    }

    /// Takes in that `operations` took `time`.
    pub fn record(&self, operations: u64, time: Duration) {
        if operations > 0 {
            self.0.set(self.0.get().min(time.as_secs_f64() / operations as f64));
        }
    }

    /// Nanoseconds; 0 when nothing was recorded, as under a filter.
    pub fn nanos(&self) -> f64 {
        if self.0.get().is_finite() { self.0.get() * 1e9 } else { 0.0 }
    }

    /// Has criterion measure `operation`, and takes in its samples.
    pub fn iter<T>(&self, bencher: &mut Bencher<'_>, mut operation: impl FnMut() -> T) {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                black_box(operation());
            }
            let time = start.elapsed();
            self.record(iterations, time);
            time
        });
    }
}
