//! Events for the log: what a tenant was refused, held back from, or lost.
//!
//! A tenant that causes many must not fill the host's log: of each kind it gets one line a second,
//! and that says how many there were. Lines are words with values, for people and for programs:
//!
//! ```text
//! event=refused accelerator=gpu0 client=3 pid=712 comm="clpeak" count=1 call=clCreateBuffer code=-61
//! ```

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between lines of one kind about one tenant.
const INTERVAL: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A call or a batch was refused.
    Refused,
    /// A client was ended by force, or its worker.
    Lost,
    /// A call waits because there were too many, or too many bytes, in a second.
    Throttled,
    /// A command was on the device for longer than it may be.
    TimedOut,
}

impl Kind {
    const COUNT: usize = 4;

    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Throttled => "throttled",
            Self::TimedOut => "timed-out",
        }
    }
}

/// One tenant's events on one accelerator.
#[derive(Debug, Default)]
pub(super) struct Events {
    kinds: [Mutex<Limit>; Kind::COUNT],
}

/// When a line may be written again, and how many events have had none.
#[derive(Debug, Default)]
struct Limit {
    next: Option<Instant>,
    unsaid: u64,
}

impl Limit {
    /// An event at `now`. Returns for how many events a line is to be written, if one is.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + INTERVAL);
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Events {
    /// Notes an event about `who`; `what` says more, in words with values.
    pub(super) fn note(&self, kind: Kind, who: &dyn fmt::Display, what: fmt::Arguments<'_>) {
        if !log::log_enabled!(log::Level::Warn) {
            return;
        }
        let mut limit = self.kinds[kind as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = limit.count(Instant::now()) {
            log::warn!("event={} {who} count={count} {what}", kind.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_events_one_in_a_second_has_a_line() {
        let mut limit = Limit::default();
        let begin = Instant::now();
        assert_eq!(limit.count(begin), Some(1));
        for millis in 1..1000 {
            assert_eq!(limit.count(begin + Duration::from_millis(millis)), None);
        }
        assert_eq!(limit.count(begin + INTERVAL), Some(1000));
        assert_eq!(limit.count(begin + 3 * INTERVAL), Some(1));
    }
}
