//! Times.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Bencher;

/// The time of an operation in several samples.
#[derive(Debug, Default)]
pub struct Samples(RefCell<Vec<f64>>);

impl Samples {
    /// Takes in that `operations` took `time`.
    pub fn record(&self, operations: u64, time: Duration) {
        if operations > 0 {
            self.0.borrow_mut().push(time.as_nanos() as f64 / operations as f64);
        }
    }

    /// The median in nanoseconds; `None` without samples, as under a filter.
    pub fn median(&self) -> Option<f64> {
        let mut samples = self.0.borrow_mut();
        samples.sort_unstable_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    }

    /// The mean in nanoseconds, of samples of as many operations each.
    pub fn mean(&self) -> Option<f64> {
        let samples = self.0.borrow();
        (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
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
