//! The last minute of samples.

use std::collections::VecDeque;
use std::time::Duration;

use super::rates::{Rates, between};
use super::sample::Sample;

/// Samples, oldest first, as many as the longest window needs.
#[derive(Debug)]
pub struct History {
    longest: Duration,
    samples: VecDeque<Sample>,
}

impl History {
    /// Room for windows of up to `longest`.
    pub fn new(longest: Duration) -> Self {
        Self {
            longest,
            samples: VecDeque::new(),
        }
    }

    /// Adds the newest sample. One from before the last, as when the clock is set back, begins
    /// anew.
    pub fn push(&mut self, sample: Sample) {
        if self
            .samples
            .back()
            .is_some_and(|last| last.time_ms > sample.time_ms)
        {
            self.samples.clear();
        }
        // One that is older than the window stays, for the window begins at it.
        while self
            .samples
            .get(1)
            .is_some_and(|second| sample.since(second) >= self.longest)
        {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The newest sample.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// What happened in about the last `window`, or in all the time there is, to each tenant of the
    /// newest sample.
    pub fn rates(&self, window: Duration) -> Vec<Rates> {
        let Some(last) = self.last() else {
            return Vec::new();
        };
        let old_enough = |sample: &&Sample| last.since(sample) >= window;
        let begin = self.samples.iter().rev().find(old_enough);
        between(begin.unwrap_or(&self.samples[0]), last)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::used;
    use super::*;

    #[test]
    fn windows_look_back_as_far_as_they_are_long() {
        let mut history = History::new(Duration::from_secs(60));
        for second in 0..100 {
            // Busy from the second 90 on.
            let busy = 1000 * u64::saturating_sub(second, 90);
            history.push(Sample {
                time_ms: 1000 * second,
                tenants: vec![used("alice", 1, 1000 * second, busy)],
            });
        }
        assert_eq!(history.samples.len(), 61);
        let used = |seconds| history.rates(Duration::from_secs(seconds))[0].used;
        assert_eq!((used(1), used(9)), (1.0, 1.0));
        assert_eq!(used(60), 0.15);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut history = History::new(Duration::from_secs(60));
        for time_ms in [5000, 1000, 2000] {
            let tenants = vec![used("alice", 1, time_ms, 0)];
            history.push(Sample { time_ms, tenants });
        }
        assert_eq!(history.samples.len(), 2);
    }
}
