//! Times of operations.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Bencher;

/// How long operations took, as a list of samples.
#[derive(Debug, Default)]
pub struct Samples(RefCell<Vec<Sample>>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Nanoseconds of one operation.
    nanos: f64,
    operations: u64,
}

impl Samples {
    /// Adds a sample: `operations` took `time`.
    pub fn record(&self, operations: u64, time: Duration) {
        let nanos = time.as_nanos() as f64 / operations as f64;
        self.0.borrow_mut().push(Sample { nanos, operations });
    }

    /// The time in nanoseconds that half of the operations took at most. Samples are weighted by
    /// their operations, so the short samples of a warm-up count little. `None` without samples, as
    /// when a filter left the benchmark out.
    pub fn median(&self) -> Option<f64> {
        let mut samples = self.0.borrow_mut();
        samples.sort_unstable_by(|a, b| a.nanos.total_cmp(&b.nanos));
        let half = samples.iter().map(|sample| sample.operations).sum::<u64>().div_ceil(2);
        let mut operations = 0;
        let middle = samples.iter().find(|sample| {
            operations += sample.operations;
            operations >= half
        });
        middle.map(|sample| sample.nanos)
    }

    /// The mean time of all operations in nanoseconds.
    pub fn mean(&self) -> Option<f64> {
        let samples = self.0.borrow();
        let operations = samples.iter().map(|sample| sample.operations).sum::<u64>() as f64;
        let nanos: f64 = samples.iter().map(|it| it.nanos * it.operations as f64).sum();
        (operations > 0.0).then(|| nanos / operations)
    }

    /// Has criterion measure `operation`, and adds its samples.
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
